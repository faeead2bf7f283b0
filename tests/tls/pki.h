/*
 * pki.h - keys and certificates made in the test, and TLSA records of them. All are valid around
 * PKI_NOW_S, whatever the clock says. A failure in here aborts.
 */
#ifndef WIREPOST_TESTS_TLS_PKI_H
#define WIREPOST_TESTS_TLS_PKI_H

#include "dataplane/tls_client.h"

#include <openssl/ssl.h>

#define PKI_NOW_S    INT64_C(1700000000)
#define PKI_DAY_S    INT64_C(86400)
#define PKI_TLSA_MAX 4096u

struct pki_cert {
    EVP_PKEY *key;
    X509 *cert;
};

struct pki_request {
    const char *common_name;
    const char *san;               /* "DNS:mx.example,DNS:*.example"; null: none */
    const struct pki_cert *issuer; /* null: it signs itself */
    bool is_ca;
    int64_t from_s, to_s; /* [a day before and after PKI_NOW_S] */
    uint32_t rsa_bits;    /* [an EC key on P-256] */
};

void pki_make(struct pki_cert *cert, const struct pki_request *request);
void pki_free(struct pki_cert *cert);

/* Writes the certificate as PEM into a new file; `path` is of mkstemp(). */
void pki_write(const struct pki_cert *cert, char *path);
void pki_write_key(const struct pki_cert *cert, char *path);

/* The record that matches the certificate: selector 0 or 1, matching type 0, 1 or 2. */
struct pki_tlsa {
    struct tls_tlsa record;
    uint8_t data[PKI_TLSA_MAX];
};
void pki_tlsa(struct pki_tlsa *tlsa, const struct pki_cert *cert, uint8_t usage, uint8_t selector,
              uint8_t matching_type);

#endif
