/*
 * signing.h - DKIM signatures of accepted messages, off the loop. A message is signed once, at
 * acceptance, and the signature is stored as part of it: every attempt, by whatever route and after
 * whatever restart, carries the same bytes. Keys that are changed later sign later messages; the
 * old public key has to stay in DNS for as long as mail is tried (delivery.expire_s).
 */
#ifndef WIREPOST_SIGNING_H
#define WIREPOST_SIGNING_H

#include "control/ctl.h"
#include "control/wire.h"

/* Called on the loop. good: the signatures are at the front of the message. */
typedef void (*signing_done_fn)(void *user, bool good);

/* Those of the longest domain first; once, before the first of the functions below. */
void signing_sort(struct ctl_sender *sender);

/* The keys for a message of this sender. 0 with *ret_refused null: it is not signed; with a
 * sentence: it has to be, and cannot. */
uint32_t signing_keys(const struct ctl_sender *sender, const struct wire_message *message,
                      const struct dkim_key **ret_keys, const char **ret_refused);

/* keys: of signing_keys(); the message must not move until done is called, which is not from within
 * this call. */
void signing_start(struct ctl *ctl, struct wire_message *message, const struct dkim_key *keys,
                   uint32_t n_keys, int64_t unix_s, uint32_t flags, signing_done_fn done,
                   void *user);

#endif
