/*
 * tls_failure.h - how TLS to a receiver fails, in the words of TLS-RPT (RFC 8460 4.3). Types only:
 * the TLS engine finds the upper ones, DNS and the policy fetcher of the control plane the lower
 * ones, and the reporter counts them all.
 */
#ifndef WIREPOST_TLS_FAILURE_H
#define WIREPOST_TLS_FAILURE_H

/* (name, result-type of the report) */
#define TLS_FAILURE_MAP(X)                                                                         \
    X(NONE, "none")                                                                                \
    X(NOT_SUPPORTED, "starttls-not-supported")                                                     \
    X(HOST_MISMATCH, "certificate-host-mismatch")                                                  \
    X(EXPIRED, "certificate-expired")                                                              \
    X(NOT_TRUSTED, "certificate-not-trusted") /* also: no TLSA record matches the certificate */   \
    X(VALIDATION, "validation-failure")       /* all else: alerts, no common version or cipher */  \
    X(TLSA_INVALID, "tlsa-invalid")           /* no TLSA record is usable */                       \
    X(DNSSEC_INVALID, "dnssec-invalid")                                                            \
    X(DANE_REQUIRED, "dane-required")                                                              \
    X(STS_FETCH, "sts-policy-fetch-error")                                                         \
    X(STS_INVALID, "sts-policy-invalid")                                                           \
    X(STS_WEBPKI, "sts-webpki-invalid")

enum tls_failure {
#define X(name, text) TLS_FAILURE_##name,
    TLS_FAILURE_MAP(X)
#undef X
    TLS_N_FAILURES
};

const char *tls_failure_text(enum tls_failure failure);

#endif
