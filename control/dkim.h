/*
 * dkim.h - DKIM signatures (RFC 6376, 8301, 8463): relaxed/relaxed, RSA with SHA-256 and Ed25519.
 * Bytes in, bytes out; the time is a parameter. Keys are OpenSSL's, in its secure heap (locked, not
 * in core dumps) when that has been set up.
 *
 * Each signed field is signed once more than it is there ("oversigned"), so that nobody can add
 * another From or Subject to a signed message.
 */
#ifndef WIREPOST_DKIM_H
#define WIREPOST_DKIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evp_pkey_st; /* EVP_PKEY of <openssl/evp.h> */

#define DKIM_NAME_MAX 256u

struct dkim_key {
    char domain[DKIM_NAME_MAX], selector[DKIM_NAME_MAX]; /* d= and s=, A-labels */
    struct evp_pkey_st *key;                             /* owned */
    bool is_ed25519;
    unsigned bits;
};

/* Reads a private key in PEM from a file that nobody but its owner (root or ourselves) may read:
 * RSA of 1024 to 8192 bits (RFC 8301 3.2), or Ed25519. False with a sentence that does not hold a
 * byte of the file. Fills key, is_ed25519 and bits. */
bool dkim_key_read(const char *file, struct dkim_key *ret_key, char *ret_error, size_t error_bytes);
void dkim_key_free(struct dkim_key *key);

/* The TXT record for SELECTOR._domainkey.DOMAIN: "v=DKIM1; k=rsa; p=...". False: too small. */
bool dkim_record(const struct dkim_key *key, char *text, size_t text_bytes);
/* A published record holds this key's public half. */
bool dkim_record_fits(const struct dkim_key *key, const char *record);

/* The domain of the first address in From, lower case. False: there is no From that makes sense. */
bool dkim_from_domain(const uint8_t *message, size_t len, char domain[DKIM_NAME_MAX]);
/* The same as the domain, or above it. */
bool dkim_is_aligned(const char *from_domain, const char *signing_domain);

/* Date and Message-ID are written anew on the way (Amazon SES does so): they are not signed. */
#define DKIM_DATES_CHANGE 1u

/* The fields "DKIM-Signature: ..." with CRLF, one for each key, to be put in front of the message
 * in wire form (CRLF line ends). malloc'ed. Null: no memory, or the key refuses. */
char *dkim_sign(const uint8_t *message, size_t len, const struct dkim_key *keys, uint32_t n_keys,
                int64_t unix_s, uint32_t flags, size_t *ret_len);

/* ---- its parts, for tests ---- */

typedef void (*dkim_sink)(void *user, const void *bytes, size_t n_bytes);

/* RFC 6376 3.4.4 and 3.4.2: canonical bytes go to the sink. field: with its CRLF; end: with CRLF
 * behind it. */
void dkim_body_relaxed(const uint8_t *body, size_t len, dkim_sink sink, void *user);
void dkim_field_relaxed(const uint8_t *field, size_t len, bool end, dkim_sink sink, void *user);

/* Where the body begins: behind the first empty line; len when there is none. */
size_t dkim_body_offset(const uint8_t *message, size_t len);

#endif
