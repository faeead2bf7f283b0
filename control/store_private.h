/*
 * store_private.h - between store.c (open, close, callbacks), store_write.c (the writer),
 * store_read.c and store_record.c.
 *
 * Databases (keys are big-endian, so that their order is that of the numbers):
 *
 *     message            id            -> message record
 *     rcpt               id, index     -> recipient record
 *     body               id            -> struct body_head, offsets of dots, wire form
 *     event              seq           -> message id (8 bytes), JSON
 *     event_by_message   id, seq       -> nothing
 *     meta               "id"          -> the highest message id given out
 *                        "seq"         -> the highest event number
 *                        "version"     -> STORE_VERSION
 *
 * Locks: `lock` guards the lists; `env_lock` is held for reading while the environment is read, for
 * writing when it is opened anew after a failed commit. Reads on the loop thread may nest.
 */
#ifndef WIREPOST_STORE_PRIVATE_H
#define WIREPOST_STORE_PRIVATE_H

#include "control/store.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#define STORE_VERSION 1u

enum store_db { DB_MESSAGE, DB_RCPT, DB_BODY, DB_EVENT, DB_EVENT_BY_MESSAGE, DB_META, STORE_DBS };

struct body_head {
    uint32_t n_stuff, pad;
};

/* What is to be written, and who is told. Strings are copies. */
struct store_op {
    struct store_op *next;
    enum { OP_ACCEPT, OP_UPDATE, OP_EVENT } kind;
    struct store_accept accept; /* of OP_ACCEPT, or the DSN of an update */
    bool has_dsn;
    struct store_update update;
    uint64_t event_message_id; /* of OP_EVENT */
    char *event_json;
    store_done_fn done;
    void *user;
    enum store_status status;
    uint64_t bytes;     /* that an accept will need, about */
    uint64_t first_seq; /* of its events, once written */
    uint32_t n_events;
    bool failed; /* by itself: left out of the batch */
};

struct store {
    struct store_config config;
    char *path;
    int lock_fd;
    MDB_env *env;
    MDB_dbi dbi[STORE_DBS];
    pthread_rwlock_t env_lock;

    pthread_t writer;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct store_op *waiting, **waiting_tail; /* given, not taken by the writer */
    struct store_op *done, **done_tail;       /* written or failed, callbacks not run */
    bool closing;
    int wake_fd;

    uint64_t last_id;  /* loop thread */
    uint64_t last_seq; /* writer; loop reads durable_seq */
    _Atomic uint64_t durable_seq;
    _Atomic uint64_t pending_bytes; /* of accepts that are not durable yet */
    _Atomic uint64_t used_bytes, messages;
    _Atomic bool writable;
    _Atomic int64_t failed_ms; /* monotonic time of the last failed write */

    int64_t free_checked_ms; /* loop thread: cache of statvfs() */
    uint64_t free_bytes, min_free_bytes;
    uint64_t given_bytes; /* accepts that free_bytes does not show yet */

    store_event_fn on_event;
    void *event_user;
    struct store_rcpt *scratch; /* loop thread: recipients of the message being read */
    uint32_t scratch_room;
    bool scratch_used;
};

int64_t store_clock_ms(void); /* monotonic */

/* ---- store.c ---- */
int store_env_open(struct store *s); /* 0, or an error of LMDB or errno */
void store_env_close(struct store *s);
void store_measure(struct store *s, MDB_txn *txn);

/* ---- store_write.c ---- */
void *store_writer(void *user);
void store_op_free(struct store_op *op);

/* ---- store_record.c ---- */
static inline void store_key64(uint8_t key[8], uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        key[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}
static inline uint64_t store_key64_get(const void *data)
{
    const uint8_t *key = data;
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | key[i];
    }
    return value;
}

/* Bytes of a record, and the record itself into `buf` of that size. */
size_t store_message_bytes(const struct store_message *message);
void store_message_encode(const struct store_message *message, uint8_t *buf);
size_t store_rcpt_bytes(const struct store_rcpt *rcpt);
void store_rcpt_encode(const struct store_rcpt *rcpt, uint8_t *buf);
/* Strings point into the record. False: damaged; nothing outside of it was read. */
bool store_message_decode(const uint8_t *data, size_t len, struct store_message *ret_message);
bool store_rcpt_decode(const uint8_t *data, size_t len, struct store_rcpt *ret_rcpt);

#endif
