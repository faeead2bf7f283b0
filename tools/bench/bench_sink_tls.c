/* bench_sink_tls.c - see bench_sink_tls.h. */
#include "tools/bench/bench_sink_tls.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

struct bench_tls_context {
    SSL_CTX *ssl;
};

struct bench_tls {
    SSL *ssl;
    BIO *in, *out; /* the SSL's */
};

/* Self-signed, for a day. */
static X509 *certificate_make(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    if (!certificate) {
        return NULL;
    }
    X509_NAME *name = X509_get_subject_name(certificate);
    bool good = X509_set_version(certificate, 2) == 1 &&
                ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
                X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != NULL &&
                X509_gmtime_adj(X509_getm_notAfter(certificate), 86400) != NULL &&
                X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                           (const unsigned char *)"sink.example", -1, -1, 0) == 1 &&
                X509_set_issuer_name(certificate, name) == 1 &&
                X509_set_pubkey(certificate, key) == 1 &&
                X509_sign(certificate, key, EVP_sha256()) > 0;
    if (!good) {
        X509_free(certificate);
        return NULL;
    }
    return certificate;
}

struct bench_tls_context *bench_tls_context_new(void)
{
    struct bench_tls_context *context = calloc(1, sizeof *context);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? certificate_make(key) : NULL;
    if (context) {
        context->ssl = SSL_CTX_new(TLS_server_method());
    }
    bool good = context && context->ssl && certificate &&
                SSL_CTX_use_certificate(context->ssl, certificate) == 1 &&
                SSL_CTX_use_PrivateKey(context->ssl, key) == 1 &&
                SSL_CTX_set_min_proto_version(context->ssl, TLS1_3_VERSION) == 1;
    X509_free(certificate);
    EVP_PKEY_free(key);
    if (!good) {
        bench_tls_context_free(context);
        return NULL;
    }
    return context;
}

void bench_tls_context_free(struct bench_tls_context *context)
{
    if (context) {
        SSL_CTX_free(context->ssl);
    }
    free(context);
}

struct bench_tls *bench_tls_new(struct bench_tls_context *context)
{
    struct bench_tls *tls = calloc(1, sizeof *tls);
    if (!tls) {
        return NULL;
    }
    tls->ssl = SSL_new(context->ssl);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->in || !tls->out) {
        BIO_free(tls->in);
        BIO_free(tls->out);
        SSL_free(tls->ssl);
        free(tls);
        return NULL;
    }
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void bench_tls_free(struct bench_tls *tls)
{
    if (tls) {
        SSL_free(tls->ssl);
    }
    free(tls);
}

void bench_tls_input(struct bench_tls *tls, const uint8_t *data, uint32_t len)
{
    (void)BIO_write(tls->in, data, (int)len);
}

uint32_t bench_tls_read(struct bench_tls *tls, uint8_t *buf, uint32_t cap, bool *ret_good)
{
    int n = SSL_read(tls->ssl, buf, (int)cap);
    *ret_good = n > 0 || SSL_get_error(tls->ssl, n) == SSL_ERROR_WANT_READ ||
                SSL_get_error(tls->ssl, n) == SSL_ERROR_ZERO_RETURN;
    return n > 0 ? (uint32_t)n : 0;
}

void bench_tls_write(struct bench_tls *tls, const uint8_t *data, uint32_t len)
{
    (void)SSL_write(tls->ssl, data, (int)len);
}

uint32_t bench_tls_output(struct bench_tls *tls, uint8_t *buf, uint32_t cap)
{
    int n = BIO_read(tls->out, buf, (int)cap);
    return n > 0 ? (uint32_t)n : 0;
}
