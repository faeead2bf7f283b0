/* sink_tls.c - STARTTLS of the sink, by memory BIOs: see sink.h. */
#include "tests/sink/sink.h"

#include <openssl/err.h>

SSL_CTX *sink_tls_context(const char *cert, const char *key, int version_max)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    INVARIANT(context != NULL);
    SSL_CTX_set_security_level(context, 0);
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_set_max_proto_version(context, version_max) != 1) {
        ERR_print_errors_fp(stderr);
        SSL_CTX_free(context);
        return NULL;
    }
    (void)SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    (void)SSL_CTX_set_session_id_context(context, (const unsigned char *)"sink", 4);
    return context;
}

void sink_tls_begin(struct sink_session *s)
{
    INVARIANT(s->script->tls && !s->ssl);
    s->ssl = SSL_new(s->script->tls);
    INVARIANT(s->ssl != NULL);
    SSL_set_bio(s->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(s->ssl);
}

/* What TLS has to say, also an alert, goes to the socket in clear. */
static void flush(struct sink_session *s)
{
    uint8_t bytes[4096];
    int n;
    SSL *ssl = s->ssl;
    s->ssl = NULL; /* sink_send() would encrypt it */
    while ((n = BIO_read(SSL_get_wbio(ssl), bytes, sizeof bytes)) > 0) {
        sink_send(s, bytes, (size_t)n);
    }
    s->ssl = ssl;
}

void sink_tls_input(struct sink_session *s, const uint8_t *bytes, size_t len)
{
    uint8_t plain[4096];
    size_t n;
    bool open = SSL_is_init_finished(s->ssl);
    (void)BIO_write(SSL_get_rbio(s->ssl), bytes, (int)len);
    ERR_clear_error();
    if (!open && SSL_do_handshake(s->ssl) == 1) {
        open = true;
        flush(s);
        sink_happens(s, SINK_SECURED, SSL_get_version(s->ssl));
    }
    while (open && SSL_read_ex(s->ssl, plain, sizeof plain, &n) == 1) {
        sink_plain(s, plain, n);
    }
    flush(s);
    ERR_clear_error();
}

void sink_tls_send(struct sink_session *s, const void *bytes, size_t len)
{
    size_t n;
    if (SSL_is_init_finished(s->ssl)) {
        (void)SSL_write_ex(s->ssl, bytes, len, &n);
        flush(s);
    }
}
