/*
 * tls_policy.c - what a policy wants of the peer, and how it fails, in the words of TLS-RPT.
 *
 * - MAY, ENCRYPT: no chain is built at all; old keys and signatures are good enough, since the
 *   alternative is to send in clear or not at all (RFC 7435 3). TLS 1.2 is the least in any case.
 * - DANE: OpenSSL matches TLSA records (RFC 7671) with digest agility. Usages 0 and 1 are unusable
 *   for SMTP (RFC 7672 3.1.3). Names are not looked at for usage 3 (3.1.1).
 * - VERIFY: SAN only, no name of the subject, a wildcard is a whole left-most label (RFC 8461 4.1).
 */
#include "dataplane/tls_private.h"

#include <ctype.h>

#define LEVEL_ANY      0 /* OpenSSL's security levels */
#define LEVEL_VERIFIED 1 /* 80 bits: RSA 1024, no SHA-1 */

/* ---- notes ------------------------------------------------------------------------------- */

const char *tls_failure_text(enum tls_failure failure)
{
    static const char *const texts[] = {
#define X(name, text) [TLS_FAILURE_##name] = text,
        TLS_FAILURE_MAP(X)
#undef X
    };
    return texts[failure];
}

void tls_policy_note(struct tls_client *c, enum tls_failure failure, const char *reason)
{
    c->result.failure = failure;
    (void)snprintf(c->result.reason, sizeof c->result.reason, "%s", reason);
}

static enum tls_failure failure_of_verify(long error)
{
    switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
        return TLS_FAILURE_HOST_MISMATCH;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return TLS_FAILURE_EXPIRED;
    default:
        return TLS_FAILURE_NOT_TRUSTED;
    }
}

static void note_verify(struct tls_client *c, long error)
{
    tls_policy_note(c, failure_of_verify(error), X509_verify_cert_error_string(error));
}

void tls_policy_note_error(struct tls_client *c)
{
    unsigned long error = ERR_peek_error();
    const char *text = ERR_reason_error_string(error);
    if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
        ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        note_verify(c, SSL_get_verify_result(c->ssl));
    } else {
        tls_policy_note(c, TLS_FAILURE_VALIDATION, text ? text : "the connection is broken");
    }
}

/* ---- settings ---------------------------------------------------------------------------- */

/* Letters, digits, hyphens, dots, underscores; not an address literal, which SNI cannot carry. */
static bool is_host_name(const char *name)
{
    size_t len = 0;
    bool letter = false;
    for (; name[len]; len++) {
        unsigned char byte = (unsigned char)name[len];
        if (byte > 0x7f || (!isalnum(byte) && !strchr("-._", byte))) {
            return false;
        }
        letter = letter || isalpha(byte);
    }
    return letter && len < TLS_NAME_MAX && name[len - 1] != '.';
}

static enum tls_error check_names(const struct tls_request *request)
{
    if (request->server_name && !is_host_name(request->server_name)) {
        return TLS_E_NAME;
    }
    for (uint32_t i = 0; i < request->n_names; i++) {
        if (!is_host_name(request->names[i])) {
            return TLS_E_NAME;
        }
    }
    bool named = request->server_name || request->n_names > 0;
    bool wants_name = request->policy == TLS_POLICY_VERIFY ||
                      (request->policy == TLS_POLICY_DANE && !request->server_name);
    return wants_name && !named ? TLS_E_NAME : TLS_E_OK;
}

static bool accept_names(struct tls_client *c, const struct tls_request *request)
{
    bool good = true;
    SSL_set_hostflags(c->ssl,
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (request->server_name) {
        good = SSL_add1_host(c->ssl, request->server_name) == 1;
    }
    for (uint32_t i = 0; i < request->n_names; i++) {
        good = good && SSL_add1_host(c->ssl, request->names[i]) == 1;
    }
    return good;
}

/* Number of records that OpenSSL takes, or negative. */
static int add_tlsa(struct tls_client *c, const struct tls_request *request)
{
    int usable = 0;
    for (uint32_t i = 0; i < request->n_tlsa; i++) {
        const struct tls_tlsa *r = &request->tlsa[i];
        if (r->usage != 2 && r->usage != 3) {
            continue;
        }
        int added =
            SSL_dane_tlsa_add(c->ssl, r->usage, r->selector, r->matching_type, r->data, r->len);
        if (added < 0) {
            return added;
        }
        usable += added;
    }
    ERR_clear_error(); /* a record that makes no sense leaves its reason there */
    return usable;
}

static enum tls_error apply_dane(struct tls_client *c, const struct tls_request *request)
{
    const char *base = request->server_name ? request->server_name : request->names[0];
    if (SSL_dane_enable(c->ssl, base) != 1) {
        return TLS_E_OPENSSL;
    }
    SSL_dane_set_flags(c->ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    int usable = add_tlsa(c, request);
    if (usable < 0) {
        return TLS_E_OPENSSL;
    }
    c->wants_verified = usable > 0;
    if (usable == 0) {
        tls_policy_note(c, TLS_FAILURE_TLSA_INVALID, "no TLSA record is usable");
    }
    return TLS_E_OK;
}

enum tls_error tls_policy_apply(struct tls_client *c, const struct tls_request *request)
{
    enum tls_error error = check_names(request);
    if (error != TLS_E_OK) {
        return error;
    }
    if (request->server_name && SSL_set_tlsext_host_name(c->ssl, request->server_name) != 1) {
        return TLS_E_OPENSSL;
    }
    if (request->policy == TLS_POLICY_DANE) {
        error = apply_dane(c, request);
    } else {
        c->wants_verified = request->policy == TLS_POLICY_VERIFY;
    }
    if (error == TLS_E_OK && c->wants_verified && !accept_names(c, request)) {
        error = TLS_E_OPENSSL;
    }
    if (error != TLS_E_OK) {
        return error;
    }
    c->enforces = c->wants_verified && !request->testing;
    SSL_set_security_level(c->ssl, c->wants_verified ? LEVEL_VERIFIED : LEVEL_ANY);
    SSL_set_verify(c->ssl, c->enforces ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    X509_VERIFY_PARAM_set_time(SSL_get0_param(c->ssl), (time_t)request->wall_s);
    return TLS_E_OK;
}

/* ---- verdicts ---------------------------------------------------------------------------- */

int tls_policy_verify(X509_STORE_CTX *store, void *arg)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    const struct tls_client *c = SSL_get_app_data(ssl);
    (void)arg;
    if (!c->wants_verified) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    return X509_verify_cert(store);
}

void tls_policy_judge(struct tls_client *c)
{
    long error = SSL_get_verify_result(c->ssl);
    bool has_cert = SSL_get0_peer_certificate(c->ssl) != NULL; /* if resumed: of the first one */
    c->result.verified = c->wants_verified && has_cert && error == X509_V_OK;
    if (c->wants_verified && !has_cert) {
        tls_policy_note(c, TLS_FAILURE_NOT_TRUSTED, "no certificate");
    } else if (c->wants_verified && error != X509_V_OK) {
        note_verify(c, error);
    }
}
