/*
 * signing.h - DKIM signatures of accepted messages, off the loop.
 *
 * A message is signed once, at acceptance, for each kind of route that its sender may use (enum
 * dkim_profile), and made durable with its signatures in one transaction: every attempt, after
 * whatever restart, carries the same bytes. They stand beside the body, not in it, and go into the
 * slot's prefix, so that routes which rewrite fields get a signature that survives it. Keys that
 * are changed later sign later messages; the old public key has to stay in DNS for as long as mail
 * is tried (delivery.expire_s).
 */
#ifndef WIREPOST_SIGNING_H
#define WIREPOST_SIGNING_H

#include "control/ctl.h"
#include "control/wire.h"

#define SIGNING_BYTES_MAX (DKIM_ALGORITHMS * DKIM_SIGNATURE_MAX)

enum signing_begun {
    SIGNING_NOT_WANTED, /* the sender has no keys */
    SIGNING_BEGUN,      /* done will be called */
    SIGNING_REFUSED,    /* it has to be signed, and cannot be: a sentence says why */
};

struct signing_result {
    bool good;
    struct store_prefix fields[DKIM_PROFILES]; /* hold until signing_free() */
};

typedef void (*signing_done_fn)(void *user, const struct signing_result *result);

struct signing;

/* The message must not move until done is called, on the loop and not from within this call. */
enum signing_begun signing_begin(struct ctl *ctl, uint32_t sender,
                                 const struct wire_message *message, int64_t unix_s,
                                 signing_done_fn done, void *user, struct signing **ret_signing,
                                 char *ret_error, size_t error_bytes);
/* Not before done was called; null is fine. */
void signing_free(struct signing *signing);

/* The signatures of a stored message for a route with this profile (DKIM_PROFILES: it is to have
 * none) into room for SIGNING_BYTES_MAX; their length. */
size_t signing_read(struct store *store, uint64_t id, enum dkim_profile profile, void *data);

#endif
