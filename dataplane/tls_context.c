/*
 * tls_context.c - what the clients of a thread share: OpenSSL's settings, the trust store, tickets,
 * output blocks, counters. All of our memory is allocated here.
 *
 * TLS 1.2 is the least (RFC 8996, 8997); no renegotiation, no compression, no client certificate.
 * What /etc/ssl/openssl.cnf says about versions, ciphers and levels is overridden. OpenSSL keeps no
 * sessions itself and lets go of its buffers between records.
 */
#include "dataplane/tls_private.h"
#include <unistd.h>

#define CA_FILE_DEFAULT "/etc/ssl/certs/ca-certificates.crt"
#define TICKETS_DEFAULT 4096u
#define BLOCKS_DEFAULT  1024u
#define BLOCKS_MIN      32u

/* Faster first where the server leaves it to us. */
#define SUITES_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CIPHERS_1_2                                                                                \
    "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES:"    \
    "!aNULL:!eNULL:!PSK:!SRP:!DSS"
#define GROUPS "X25519:P-256:X448:P-384:P-521"

const char *tls_error_text(enum tls_error error)
{
    static const char *const texts[] = {
#define X(name, text) [TLS_E_##name] = text,
        TLS_ERROR_MAP(X)
#undef X
    };
    return texts[error];
}

static bool set_strength(SSL_CTX *ssl)
{
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_security_level(ssl, 0); /* each client sets its own */
    return SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ssl, 0) == 1 &&
           SSL_CTX_set_cipher_list(ssl, CIPHERS_1_2) == 1 &&
           SSL_CTX_set_ciphersuites(ssl, SUITES_1_3) == 1 &&
           SSL_CTX_set1_groups_list(ssl, GROUPS) == 1 && SSL_CTX_dane_enable(ssl) == 1;
}

static void set_memory(SSL_CTX *ssl)
{
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl, tls_client_on_ticket);
    SSL_CTX_set_cert_verify_callback(ssl, tls_policy_verify, NULL);
}

static enum tls_error set_up(struct tls_context *context, const struct tls_config *config)
{
    const struct tls_limits *limits = &config->limits;
    uint32_t blocks = limits->blocks > 0 ? limits->blocks : BLOCKS_DEFAULT;
    context->ssl = SSL_CTX_new(TLS_client_method());
    context->bio = tls_bio_method();
    context->digest = EVP_MD_CTX_new();
    if (!context->ssl || !context->bio || !context->digest ||
        !tls_blocks_init(context, blocks > BLOCKS_MIN ? blocks : BLOCKS_MIN) ||
        !tls_tickets_init(&context->tickets,
                          limits->tickets_max > 0 ? limits->tickets_max : TICKETS_DEFAULT)) {
        return TLS_E_MEMORY;
    }
    if (!set_strength(context->ssl)) {
        return TLS_E_OPENSSL;
    }
    set_memory(context->ssl);
    const char *ca_file = config->ca_file ? config->ca_file : CA_FILE_DEFAULT;
    if (!config->ca_file && access(CA_FILE_DEFAULT, F_OK) != 0) {
        return TLS_E_OK; /* a system without authorities: VERIFY finds nobody trusted */
    }
    return SSL_CTX_load_verify_file(context->ssl, ca_file) == 1 ? TLS_E_OK : TLS_E_TRUST;
}

enum tls_error tls_context_new(const struct tls_config *config, struct tls_context **ret_context)
{
    struct tls_context *context = calloc(1, sizeof *context);
    if (!context) {
        return TLS_E_MEMORY;
    }
    enum tls_error error = set_up(context, config);
    ERR_clear_error();
    if (error != TLS_E_OK) {
        tls_context_free(context);
        return error;
    }
    *ret_context = context;
    return TLS_E_OK;
}

void tls_context_free(struct tls_context *context)
{
    INVARIANT(context->n_free == context->n_blocks);
    tls_tickets_free(&context->tickets);
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->bio);
    EVP_MD_CTX_free(context->digest);
    free(context->blocks);
    free(context);
}

const struct tls_counters *tls_context_counters(const struct tls_context *context)
{
    return &context->counters;
}

uint32_t tls_context_blocks_free(const struct tls_context *context)
{
    return context->n_free;
}
