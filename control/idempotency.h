/*
 * idempotency.h - keys that callers give to `inject`: a second injection with the same key is
 * answered with the first one's id and accepts nothing. A key is a sender's own, and is known for
 * IDEMPOTENCY_KEEP_S at least; it is made durable with the message, in the same commit, so that no
 * crash leaves one without the other.
 *
 * Kept as notes of the spool, "idem/BUCKET/SENDER/KEY", in buckets of six hours that are deleted as
 * a whole.
 */
#ifndef WIREPOST_IDEMPOTENCY_H
#define WIREPOST_IDEMPOTENCY_H

#include "control/ctl.h"

#define IDEMPOTENCY_KEY_MAX  128u
#define IDEMPOTENCY_KEEP_S   86400
#define IDEMPOTENCY_BUCKET_S 21600

#define IDEMPOTENCY_DIGEST_TEXT 65 /* SHA-256 in hexadecimal digits */

/* An injection under way; the caller's memory from idempotency_begin() until idempotency_end(). */
struct idempotency {
    struct idempotency *next;
    const char *sender, *key;
    char digest[IDEMPOTENCY_DIGEST_TEXT];
    char name[STORE_NOTE_NAME_MAX + 1];
    char text[256];
};

/* 1 to IDEMPOTENCY_KEY_MAX printable ASCII characters. */
bool idempotency_key_valid(const char *key);

/* What has to be the same for two injections to be one; the list of recipients in its order. */
void idempotency_digest(const char *mail_from, const json_t *rcpt_to, const char *stream,
                        const uint8_t *message, size_t len, char digest[IDEMPOTENCY_DIGEST_TEXT]);

enum idempotency_result {
    IDEMPOTENCY_NEW,       /* go on, and end it */
    IDEMPOTENCY_SAME,      /* *ret_answer: what the first one was answered; a new reference */
    IDEMPOTENCY_DIFFERENT, /* another message had this key */
    IDEMPOTENCY_UNDER_WAY  /* the first one is not durable yet */
};
/* sender, key and digest are filled in by the caller. */
enum idempotency_result idempotency_begin(struct ctl *ctl, struct idempotency *i, int64_t now_ms,
                                          json_t **ret_answer);
/* Fills name and text: the note that goes with the message. */
void idempotency_note(struct idempotency *i, int64_t now_ms, uint64_t id, uint32_t recipients,
                      uint64_t bytes);
void idempotency_end(struct ctl *ctl, struct idempotency *i);

/* Deletes a part of what is too old; to be called now and then. True: there is more. */
bool idempotency_sweep(struct ctl *ctl, int64_t now_ms);

#endif
