/*
 * dkim_key.h - private keys of DKIM: RSA (RFC 8301) and Ed25519 (RFC 8463), and their DNS records
 * (RFC 6376 3.6.1).
 *
 * A file of a key is PEM, a plain file of ours or root's that nobody else can read. What is read
 * stands in memory that is locked and left out of core dumps (OpenSSL's secure heap), and nothing
 * here prints it.
 *
 * Thread: loading the first key sets up the heap: one thread. A loaded key may be used by any
 * number at once.
 */
#ifndef WIREPOST_DKIM_KEY_H
#define WIREPOST_DKIM_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DKIM_RSA_BITS_MIN  1024u /* RFC 8301 3.2: MUST NOT be less */
#define DKIM_RSA_BITS_GOOD 2048u /* SHOULD be at least */
#define DKIM_RSA_BITS_MAX  4096u /* what every verifier must understand */
#define DKIM_RECORD_MAX    1024u /* text of a record, with NUL */

/* Name in a=, name in k= of the record. */
#define DKIM_ALGORITHM_MAP(X)                                                                      \
    X(RSA, "rsa-sha256", "rsa")                                                                    \
    X(ED25519, "ed25519-sha256", "ed25519")

enum dkim_algorithm {
#define X(name, text, type) DKIM_##name,
    DKIM_ALGORITHM_MAP(X)
#undef X
        DKIM_ALGORITHMS
};
const char *dkim_algorithm_name(enum dkim_algorithm algorithm);
const char *dkim_algorithm_type(enum dkim_algorithm algorithm);

struct dkim_key;

/* Makes room for n keys, and for others that come later, before the first is loaded. Calls after
 * the first do nothing. */
void dkim_key_memory(uint32_t n);
enum dkim_memory {
    DKIM_MEMORY_NONE, /* no key has been loaded */
    DKIM_MEMORY_LOCKED,
    DKIM_MEMORY_UNLOCKED, /* the system does not lock as much (RLIMIT_MEMLOCK) */
};
enum dkim_memory dkim_key_memory_state(void);

/* Null with a sentence in ret_error: which never has anything of the file's content in it. */
struct dkim_key *dkim_key_load(const char *path, char *ret_error, size_t error_bytes);
/* The same from PEM in memory. */
struct dkim_key *dkim_key_read(const void *pem, size_t len, char *ret_error, size_t error_bytes);
/* Another owner; freed when each has freed it. */
struct dkim_key *dkim_key_ref(struct dkim_key *key);
void dkim_key_free(struct dkim_key *key);

enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *key);
uint32_t dkim_key_bits(const struct dkim_key *key);
bool dkim_key_same(const struct dkim_key *a, const struct dkim_key *b);

#define DKIM_SIGN_MAX 512u
/* Signs a SHA-256 hash; the signature's length, 0: OpenSSL could not. */
size_t dkim_key_sign(const struct dkim_key *key, const uint8_t hash[32],
                     uint8_t ret_signature[DKIM_SIGN_MAX]);

/* The public key as it stands in p=, before base64; its length, 0: no room. */
size_t dkim_key_public(const struct dkim_key *key, uint8_t *ret_data, size_t room);

/* ---- dkim_record.c: what DNS has to say -------------------------------------------------- */

/* The record that belongs to the key: "v=DKIM1; k=ed25519; p=...". */
void dkim_key_record(const struct dkim_key *key, char ret_text[DKIM_RECORD_MAX]);

#define DKIM_PUBLISHED_MAP(X)                                                                      \
    X(OK, "ok", "the record has this key")                                                         \
    X(UNKNOWN, "unknown", "DNS did not answer")                                                    \
    X(MISSING, "missing", "there is no record")                                                    \
    X(SEVERAL, "several",                                                                          \
      "there are several records, and receivers may take any (RFC 6376 3.6.2.2)")                  \
    X(REVOKED, "revoked", "the record says that the key is revoked (p= is empty)")                 \
    X(OTHER, "other", "the record has another key")                                                \
    X(UNUSABLE, "unusable", "the record does not allow this use, or makes no sense")

enum dkim_published {
#define X(name, text, meaning) DKIM_PUBLISHED_##name,
    DKIM_PUBLISHED_MAP(X)
#undef X
};
const char *dkim_published_name(enum dkim_published published);
const char *dkim_published_meaning(enum dkim_published published);

/* Compares the TXT records of selector._domainkey.domain with the key. identity: as in dkim.h. */
enum dkim_published dkim_key_published(const struct dkim_key *key, const char *const *records,
                                       uint32_t n, const char *domain, const char *identity,
                                       bool *ret_testing);

#endif
