/* peer.c - see peer.h. */
#include "tests/tls/peer.h"

#include <openssl/err.h>

#define MUST(cond) INVARIANT(cond)

/* ---- the server -------------------------------------------------------------------------- */

static int note_server_name(SSL *ssl, int *alert, void *arg)
{
    struct peer *p = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    (void)snprintf(p->server_name, sizeof p->server_name, "%s", name ? name : "");
    return SSL_TLSEXT_ERR_OK;
}

void peer_init(struct peer *p, const struct peer_options *options)
{
    memset(p, 0, sizeof *p);
    p->context = SSL_CTX_new(TLS_server_method());
    MUST(p->context);
    SSL_CTX_set_security_level(p->context, 0);
    MUST(SSL_CTX_set_min_proto_version(p->context, options->version_min) == 1);
    MUST(SSL_CTX_set_max_proto_version(p->context, options->version_max) == 1);
    MUST(SSL_CTX_set_cipher_list(p->context, options->ciphers ? options->ciphers : "ALL") == 1);
    MUST(SSL_CTX_use_certificate(p->context, options->leaf->cert) == 1);
    MUST(SSL_CTX_use_PrivateKey(p->context, options->leaf->key) == 1);
    if (options->chain) {
        MUST(SSL_CTX_add1_chain_cert(p->context, options->chain->cert) == 1);
    }
    if (options->wants_client_cert) {
        SSL_CTX_set_verify(p->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    if (options->ticket_life_s > 0) {
        SSL_CTX_set_timeout(p->context, options->ticket_life_s);
    }
    if (options->no_tickets) {
        SSL_CTX_set_options(p->context, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(p->context, 0);
        SSL_CTX_set_session_cache_mode(p->context, SSL_SESS_CACHE_OFF);
    }
    MUST(SSL_CTX_set_session_id_context(p->context, (const unsigned char *)"peer", 4) == 1);
    SSL_CTX_set_tlsext_servername_callback(p->context, note_server_name);
    SSL_CTX_set_tlsext_servername_arg(p->context, p);
    peer_accept(p);
}

void peer_accept(struct peer *p)
{
    if (p->ssl) { /* the session stays good */
        SSL_set_shutdown(p->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(p->ssl);
    p->ssl = SSL_new(p->context);
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    MUST(p->ssl && p->in && p->out);
    SSL_set_bio(p->ssl, p->in, p->out);
    SSL_set_accept_state(p->ssl);
    p->established = false;
    p->seen_len = 0;
    p->server_name[0] = '\0';
}

void peer_free(struct peer *p)
{
    SSL_free(p->ssl);
    SSL_CTX_free(p->context);
}

void peer_say_bytes(struct peer *p, const uint8_t *bytes, uint32_t len)
{
    size_t n;
    MUST(SSL_write_ex(p->ssl, bytes, len, &n) == 1 && n == len);
}

void peer_say(struct peer *p, const char *text)
{
    peer_say_bytes(p, (const uint8_t *)text, (uint32_t)strlen(text));
}

void peer_close(struct peer *p)
{
    (void)SSL_shutdown(p->ssl);
}

static void peer_step(struct peer *p)
{
    size_t n = 0;
    ERR_clear_error();
    if (!p->established) {
        p->established = SSL_do_handshake(p->ssl) == 1;
    }
    while (p->established && p->seen_len < PEER_SEEN_MAX &&
           SSL_read_ex(p->ssl, p->seen + p->seen_len, PEER_SEEN_MAX - p->seen_len, &n) == 1) {
        p->seen_len += (uint32_t)n;
    }
    ERR_clear_error();
}

/* ---- the wire ---------------------------------------------------------------------------- */

uint32_t wire_client_to_peer(struct tls_client *c, struct peer *p)
{
    struct tls_block *block;
    uint32_t carried = 0;
    while ((block = tls_client_output(c)) != NULL) {
        MUST(block->len > 0 && block->len <= TLS_BLOCK_BYTES);
        MUST(BIO_write(p->in, block->bytes, (int)block->len) == (int)block->len);
        carried += block->len;
        tls_block_release(block);
    }
    return carried;
}

/* One piece to the client, and all plaintext out of it. */
static void give(struct wire *w, struct tls_client *c, const uint8_t *bytes, uint32_t len)
{
    uint32_t n;
    uint64_t now_ns = w->now_ns > 0 ? w->now_ns : NS_PER_S;
    tls_client_input(c, now_ns, bytes, len);
    w->events |= tls_client_next_event(c);
    while ((n = tls_client_read(c, now_ns, w->plain + w->plain_len, PEER_SEEN_MAX - w->plain_len)) >
           0) {
        w->plain_len += n;
    }
    w->events |= tls_client_next_event(c);
}

void wire_inject(struct wire *w, struct tls_client *c, const void *bytes, uint32_t len)
{
    give(w, c, bytes, len);
}

static uint32_t piece_len(const struct wire *w, uint32_t left)
{
    uint32_t len = w->piece > 0 && w->piece < left ? w->piece : left;
    if (w->cut_at > w->carried && w->cut_at - w->carried < len) {
        len = w->cut_at - w->carried;
    }
    return len;
}

static uint32_t peer_to_client(struct wire *w, struct tls_client *c, struct peer *p)
{
    static uint8_t bytes[65536];
    int n = BIO_read(p->out, bytes, sizeof bytes);
    uint32_t len = n > 0 ? (uint32_t)n : 0;
    if (w->flip_at > w->carried && w->flip_at <= w->carried + len) {
        bytes[w->flip_at - 1 - w->carried] ^= w->flip_with;
    }
    for (uint32_t at = 0; at < len;) {
        uint32_t part = piece_len(w, len - at);
        give(w, c, bytes + at, part);
        at += part;
        w->carried += part;
    }
    return len;
}

void wire_run(struct wire *w, struct tls_client *c, struct peer *p)
{
    uint32_t moved;
    w->events |= tls_client_next_event(c);
    do {
        moved = wire_client_to_peer(c, p);
        peer_step(p);
        moved += peer_to_client(w, c, p);
    } while (moved > 0);
}
