/*
 * store.h - the spool: what was accepted and what became of it, in LMDB. All disk I/O of the queue
 * goes through this interface.
 *
 * The promise: when a callback says STORE_OK, the operation is on stable storage (mdb_txn_commit
 * with sync); when it says anything else, nothing of it is. Operations given between two commits
 * share one (group commit) and each is atomic.
 *
 * Threads: one writer thread inside; all functions and callbacks belong to the caller's (loop)
 * thread. store_wake_fd() becomes readable when store_poll() has callbacks to run.
 *
 * After a failed write or sync the store never tries the same dirty pages again: it fails what was
 * in the commit, closes the environment, opens it anew (which recovers the last durable state) and
 * refuses accepts, also those that wait, until a write succeeds (RFC 5321 4.2.5: no yes without
 * responsibility). Updates are tried as they come. It looks by itself once a second.
 *
 * Without room (in the map, on the file system) accepts fail with STORE_E_FULL and make way for the
 * updates given with them; the map keeps a headroom over max_bytes that only updates use.
 *
 * A second process on the same spool is refused by a lock on `spool.lock`, with the pid of the
 * holder in the error.
 */
#ifndef WIREPOST_STORE_H
#define WIREPOST_STORE_H

#include "dataplane/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

#define STORE_STATUS_MAP(X)                                                                        \
    X(STORE_OK, "ok")                                                                              \
    X(STORE_E_FULL, "no space left in the spool")                                                  \
    X(STORE_E_IO, "the spool could not be written")                                                \
    X(STORE_E_CLOSED, "the spool is closing")

enum store_status {
#define X(name, text) name,
    STORE_STATUS_MAP(X)
#undef X
};
const char *store_status_text(enum store_status status);

struct store_config {
    const char *path;        /* directory, made with mode 0700 when missing */
    uint64_t max_bytes;      /* map size: the most that the spool may ever hold */
    uint64_t min_free_bytes; /* of the file system: accepts are refused below; 0: the smaller of
                                256 MiB and 5 % of it */
    uint64_t event_keep;     /* events kept for `message.why` and cursors */
};

/* Null with a sentence in ret_error (not writable, locked by pid N, damaged ...). */
struct store *store_open(const struct store_config *config, char *ret_error, size_t error_bytes);
/* Commits what was given, runs its callbacks, closes. */
void store_close(struct store *s);
int store_wake_fd(const struct store *s);
void store_poll(struct store *s);

/* A new id: greater than any before it, also over restarts. Time in its upper bits. */
uint64_t store_next_id(struct store *s);

enum store_rcpt_state { STORE_RCPT_QUEUED, STORE_RCPT_DELIVERED, STORE_RCPT_BOUNCED };

struct store_message {
    uint64_t id;
    int64_t accepted_ms; /* Unix time */
    int64_t expires_ms;
    const char *sender, *stream, *mail_from;
    uint32_t needs; /* CHAN_NEED_* */
    uint32_t n_recipients;
    uint64_t body_bytes;
    const char *dsn_for; /* "" or the id of the message that this DSN reports */
    const char *envid;   /* RFC 3461 4.4; null or "": none */
    uint8_t ret;         /* RFC 3461 4.3: enum smtp_ret */
};

struct store_rcpt {
    const char *address, *domain;
    uint32_t attempts;
    int64_t next_try_ms; /* Unix time; 0: at once */
    uint8_t state;       /* enum store_rcpt_state */
    const char *last;    /* JSON of the last outcome as in API.md, or "" */
    const char *orcpt;   /* RFC 3461 4.2; null or "": none */
    uint8_t notify;      /* RFC 3461 4.1: SMTP_NOTIFY_*; 0: not said */
};

typedef void (*store_done_fn)(void *user, enum store_status status);

/* Header fields made for a kind of route, that stand before the body on the wire (DKIM). */
#define STORE_PREFIXES 2u /* kinds: enum dkim_profile */
struct store_prefix {
    const void *data;
    size_t len; /* 0: there is none */
};

/* The message, its recipients, its body and the JSON of its event, all or nothing. Everything is
 * copied before it returns but `body`, `stuff` and `prefix`, which stay the caller's until `done`.
 * Refused at once (false, *ret_status) when the watermark or a limit says so; `done` is not called
 * then. */
struct store_accept {
    struct store_message message;
    const struct store_rcpt *recipients;
    const uint8_t *body;
    const uint32_t *stuff;
    uint32_t n_stuff;
    struct store_prefix prefix[STORE_PREFIXES];
    const char *event_json; /* object without seq; the store gives it one; or null */
    const char *note_name, *note_text; /* a note that becomes durable with it; or null */
    store_done_fn done;
    void *user;
};
bool store_accept(struct store *s, const struct store_accept *accept,
                  enum store_status *ret_status);

/* What became of some recipients of a message, with events, and perhaps a DSN message, in one
 * atomic step. When no recipient is queued any more the message and its body are deleted. Outcomes
 * are never refused for the watermark. */
struct store_rcpt_update {
    uint32_t index;
    uint8_t state;
    uint32_t attempts;
    int64_t next_try_ms;
    const char *last;       /* JSON */
    const char *event_json; /* or null */
};
struct store_update {
    uint64_t message_id;
    const struct store_rcpt_update *recipients;
    uint32_t n_recipients;
    bool finished;                   /* no recipient is queued any more */
    const char *finished_event_json; /* or null */
    const struct store_accept *dsn;  /* or null; its done is not called */
    store_done_fn done;
    void *user;
};
void store_update(struct store *s, const struct store_update *update);

/* An event that belongs to no update (dataplane restarted, held ...). message_id 0: none. Durable
 * with the next commit. */
void store_event(struct store *s, uint64_t message_id, const char *event_json);

/* A note that is no mail: a name of at most 300 bytes and a text; null: the note goes. Durable with
 * the next commit, or, when that fails, not: nobody is told. */
#define STORE_NOTE_NAME_MAX 300u
void store_note(struct store *s, const char *name, const char *text);

/* ---- reading: sees what is durable ---- */

/* Every queued message in order of id, at start and for queue.list. Stops when fn returns false. */
typedef bool (*store_message_fn)(void *user, const struct store_message *message,
                                 const struct store_rcpt *recipients);
void store_each_message(struct store *s, uint64_t from_id, store_message_fn fn, void *user);
/* One message; false when it is not (any more) in the queue. */
bool store_show(struct store *s, uint64_t id, store_message_fn fn, void *user);

/* Copies the body: sizes first (data null), then into the caller's room. False when it is gone. */
struct store_body {
    uint8_t *data;
    uint64_t len;
    uint32_t *stuff;
    uint32_t n_stuff;
};
bool store_body_read(struct store *s, uint64_t id, struct store_body *body);

/* Copies the prefix of this kind into room bytes when it fits; its length, 0: there is none. */
size_t store_prefix_read(struct store *s, uint64_t id, uint32_t kind, void *data, size_t room);

/* Events with seq > after (of one message when message_id is not 0), in order. */
typedef bool (*store_event_fn)(void *user, uint64_t seq, uint64_t message_id, const char *json,
                               size_t len);
uint64_t store_each_event(struct store *s, uint64_t after, uint64_t message_id, store_event_fn fn,
                          void *user); /* returns the last seq given */
uint64_t store_last_event(struct store *s);
/* Called on the loop thread for each event once it is durable. */
void store_on_event(struct store *s, store_event_fn fn, void *user);

/* A copy of the note's text, to be freed; null: there is none. */
char *store_note_read(struct store *s, const char *name);
/* Notes whose names begin with the prefix, in order of names. Stops when fn returns false. */
typedef bool (*store_note_fn)(void *user, const char *name, const char *text);
void store_each_note(struct store *s, const char *prefix, store_note_fn fn, void *user);

struct store_stats {
    uint64_t messages, used_bytes, max_bytes, free_bytes;
    bool writable;
};
void store_stats(struct store *s, struct store_stats *ret_stats);

#endif
