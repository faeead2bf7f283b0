/* sim_tls.c - TLS of the scripted servers: see sim.h. */
#include "tests/dataplane/sim_private.h"

#include <check.h>
#include <openssl/err.h>

struct tls_context *sim_tls_context(struct sim *s, const char *ca_file)
{
    const struct tls_config config = {.ca_file = ca_file};
    if (ca_file) {
        ck_assert_int_eq(tls_context_new(&config, &s->tls), TLS_E_OK);
    }
    return s->tls;
}

/* One context for each server, so that its tickets are good on the next connection. */
static SSL_CTX *server_context(struct sim *s, uint32_t server)
{
    const struct sim_rules *r = &s->rules[server];
    if (s->tls_server[server]) {
        return s->tls_server[server];
    }
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    ck_assert_ptr_nonnull(context);
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_max_proto_version(context, r->tls_old ? TLS1_1_VERSION : 0);
    ck_assert_int_eq(SSL_CTX_use_certificate(context, r->cert->cert), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, r->cert->key), 1);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"sim", 3);
    s->tls_server[server] = context;
    return context;
}

void sim_tls_begin(struct sim *s, struct sim_conn *c)
{
    c->ssl = SSL_new(server_context(s, c->server));
    ck_assert_ptr_nonnull(c->ssl);
    SSL_set_bio(c->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(c->ssl);
}

/* What TLS has to say goes out, also an alert. */
static void flush(struct sim *s, struct sim_conn *c)
{
    uint8_t bytes[UTCP_COPY_MAX];
    int n;
    while (!c->mute && (n = BIO_read(SSL_get_wbio(c->ssl), bytes, sizeof bytes)) > 0) {
        sim_send(s, c, bytes, (uint32_t)n);
    }
}

static void shake_hands(struct sim *s, struct sim_conn *c)
{
    if (SSL_is_init_finished(c->ssl) || SSL_do_handshake(c->ssl) != 1) {
        return;
    }
    const char *name = SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name);
    (void)snprintf(s->sni, sizeof s->sni, "%s", name ? name : "");
    s->tls_resumed += SSL_session_reused(c->ssl) == 1;
    s->tls_full += SSL_session_reused(c->ssl) == 0;
}

void sim_tls_input(struct sim *s, struct sim_conn *c, const uint8_t *bytes, uint32_t n)
{
    uint8_t plain[4096];
    size_t got;
    ERR_clear_error();
    ck_assert(BIO_write(SSL_get_rbio(c->ssl), bytes, (int)n) == (int)n || n == 0);
    shake_hands(s, c);
    while (SSL_is_init_finished(c->ssl) && SSL_read_ex(c->ssl, plain, sizeof plain, &got) == 1) {
        sim_plain(s, c, plain, (uint32_t)got);
    }
    flush(s, c);
    ERR_clear_error();
}

void sim_tls_say(struct sim *s, struct sim_conn *c, const char *text)
{
    size_t n;
    ck_assert_int_eq(SSL_write_ex(c->ssl, text, strlen(text), &n), 1);
    flush(s, c);
}

void sim_tls_end(struct sim_conn *c)
{
    if (c->ssl) { /* its tickets stay good */
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(c->ssl);
}

void sim_tls_free(struct sim *s)
{
    for (uint32_t i = 0; i < SIM_SERVERS; i++) {
        SSL_CTX_free(s->tls_server[i]);
    }
    if (s->tls) {
        tls_context_free(s->tls);
    }
}
