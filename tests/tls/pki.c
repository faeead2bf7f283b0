/* pki.c - see pki.h. */
#include "tests/tls/pki.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#define MUST(cond) INVARIANT(cond)

static void set_name(X509_NAME *name, const char *common_name)
{
    MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name,
                                    -1, -1, 0) == 1);
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    MUST(extension && X509_add_ext(cert, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static void set_dates(X509 *cert, const struct pki_request *request)
{
    int64_t from_s = request->from_s != 0 ? request->from_s : PKI_NOW_S - PKI_DAY_S;
    int64_t to_s = request->to_s != 0 ? request->to_s : PKI_NOW_S + PKI_DAY_S;
    MUST(ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from_s));
    MUST(ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)to_s));
}

void pki_make(struct pki_cert *cert, const struct pki_request *request)
{
    static long serial = 1;
    cert->key = request->rsa_bits > 0 ? EVP_RSA_gen(request->rsa_bits) : EVP_EC_gen("P-256");
    cert->cert = X509_new();
    MUST(cert->key && cert->cert);
    X509 *issuer = request->issuer ? request->issuer->cert : cert->cert;
    EVP_PKEY *issuer_key = request->issuer ? request->issuer->key : cert->key;
    MUST(X509_set_version(cert->cert, X509_VERSION_3) == 1);
    MUST(ASN1_INTEGER_set(X509_get_serialNumber(cert->cert), serial++) == 1);
    set_dates(cert->cert, request);
    set_name(X509_get_subject_name(cert->cert), request->common_name);
    MUST(X509_set_issuer_name(cert->cert, X509_get_subject_name(issuer)) == 1);
    MUST(X509_set_pubkey(cert->cert, cert->key) == 1);
    add_extension(cert->cert, issuer, NID_basic_constraints,
                  request->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (request->san) {
        add_extension(cert->cert, issuer, NID_subject_alt_name, request->san);
    }
    MUST(X509_sign(cert->cert, issuer_key, EVP_sha256()) > 0);
}

void pki_free(struct pki_cert *cert)
{
    X509_free(cert->cert);
    EVP_PKEY_free(cert->key);
}

static FILE *new_file(char *path)
{
    int fd = mkstemp(path);
    MUST(fd >= 0);
    FILE *file = fdopen(fd, "w");
    MUST(file);
    return file;
}

void pki_write(const struct pki_cert *cert, char *path)
{
    FILE *file = new_file(path);
    MUST(PEM_write_X509(file, cert->cert) == 1);
    MUST(fclose(file) == 0);
}

void pki_write_key(const struct pki_cert *cert, char *path)
{
    FILE *file = new_file(path);
    MUST(PEM_write_PrivateKey(file, cert->key, NULL, NULL, 0, NULL, NULL) == 1);
    MUST(fclose(file) == 0);
}

/* ---- TLSA (RFC 6698 2.1) ----------------------------------------------------------------- */

static size_t selected(const struct pki_cert *cert, uint8_t selector, uint8_t *bytes)
{
    unsigned char *p = bytes;
    int len = selector == 0 ? i2d_X509(cert->cert, NULL)
                            : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert->cert), NULL);
    MUST(len > 0 && (size_t)len <= PKI_TLSA_MAX);
    (void)(selector == 0 ? i2d_X509(cert->cert, &p)
                         : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert->cert), &p));
    return (size_t)len;
}

void pki_tlsa(struct pki_tlsa *tlsa, const struct pki_cert *cert, uint8_t usage, uint8_t selector,
              uint8_t matching_type)
{
    uint8_t bytes[PKI_TLSA_MAX];
    size_t len = selected(cert, selector, bytes);
    if (matching_type == 0) {
        memcpy(tlsa->data, bytes, len);
    } else {
        const EVP_MD *digest = matching_type == 1 ? EVP_sha256() : EVP_sha512();
        MUST(EVP_Q_digest(NULL, EVP_MD_get0_name(digest), NULL, bytes, len, tlsa->data, &len) == 1);
    }
    tlsa->record = (struct tls_tlsa){
        .usage = usage,
        .selector = selector,
        .matching_type = matching_type,
        .data = tlsa->data,
        .len = (uint32_t)len,
    };
}
