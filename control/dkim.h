/*
 * dkim.h - DKIM signatures (RFC 6376, 8301, 8463) of a message in wire form (wire.h). Pure: bytes,
 * keys and time go in, header fields come out; the files of keys are dkim_key.h's.
 *
 *     dkim_message_scan()    which fields will be signed            (cheap: the header only)
 *     dkim_message_from()    whose message it is: the domain of From
 *     dkim_message_hash()    the body hash                          (as dear as the body is long)
 *     dkim_message_sign()    one DKIM-Signature field for each key  (RSA-2048: 0.3 ms)
 *
 * c=relaxed/relaxed, no l=. Every instance of a signed field is signed; those that make a message
 * what it seems to be are signed once more than they are there, so that nobody can add one (5.4,
 * 8.15). Equal input gives equal bytes: RSA PKCS#1 v1.5 and Ed25519 use no randomness.
 *
 * Left out on purpose: c=simple, l= (8.2), z=, rsa-sha1 (RFC 8301).
 *
 * Thread: any; a message and its signatures belong to one at a time, keys are shared.
 */
#ifndef WIREPOST_DKIM_H
#define WIREPOST_DKIM_H

#include "control/dkim_key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DKIM_FIELDS_MAX    256u   /* signed fields of a message */
#define DKIM_SIGNATURE_MAX 12288u /* bytes of a DKIM-Signature field */
#define DKIM_DOMAIN_MAX    254u   /* with NUL; A-labels, lower case */
#define DKIM_SELECTOR_MAX  64u
#define DKIM_IDENTITY_MAX  320u

/* Which fields a signature covers. */
#define DKIM_PROFILE_MAP(X)                                                                        \
    X(ALL, "all")       /* all that is worth it */                                                 \
    X(STABLE, "stable") /* but Date and Message-ID, which some relays write anew (Amazon SES) */

enum dkim_profile {
#define X(name, text) DKIM_PROFILE_##name,
    DKIM_PROFILE_MAP(X)
#undef X
        DKIM_PROFILES
};

struct dkim_field {
    const uint8_t *at; /* name, colon, value, without its last CRLF */
    uint32_t len;
    uint32_t kind; /* row of the table of dkim_fields.c */
};

struct dkim_message {
    const uint8_t *body; /* null: there is none, not even its blank line */
    size_t body_len;
    uint32_t n_fields;
    struct dkim_field fields[DKIM_FIELDS_MAX]; /* that can be signed, from the top */
    uint8_t body_hash[32];
};

/* Points into data. False with a sentence: it has more than DKIM_FIELDS_MAX fields to sign. */
bool dkim_message_scan(const uint8_t *data, size_t len, struct dkim_message *ret_message,
                       char *ret_error, size_t error_bytes);

/* The domain of the From field's first mailbox. False with a sentence: there is no such field, or
 * more than one (RFC 5322 3.6), or nothing in it is an address. */
bool dkim_message_from(const struct dkim_message *m, char ret_domain[DKIM_DOMAIN_MAX],
                       char *ret_error, size_t error_bytes);

/* False: OpenSSL could not. */
bool dkim_message_hash(struct dkim_message *m);

struct dkim_signer {
    const struct dkim_key *key;
    const char *domain, *selector; /* d=, s= */
    const char *identity;          /* i=; null or "": not said, which means "@domain" */
    int64_t signed_s;              /* t=; 0: not said */
    uint32_t expire_s;             /* x= is so much after t=; 0: not said */
};

/* The field with its last CRLF into out, of DKIM_SIGNATURE_MAX bytes, no NUL behind it. Its length;
 * 0: OpenSSL could not. After dkim_message_hash(). */
size_t dkim_message_sign(const struct dkim_message *m, const struct dkim_signer *signer,
                         enum dkim_profile profile, char *out);

/* ---- between dkim_fields.c and dkim_sign.c ---- */

/* Fields in the order of h=: name is as it is written there. What fn gets with a null field stands
 * in h= only: one more than there are. */
typedef void (*dkim_field_fn)(void *user, const char *name, const struct dkim_field *field);
void dkim_message_each(const struct dkim_message *m, enum dkim_profile profile, dkim_field_fn fn,
                       void *user);

#endif
