/*
 * store_private.h - between the files of the store:
 *
 *     store.c         opening, closing, ids, limits, callbacks         loop thread
 *     store_op.c      what is to be written, and its copy              loop thread
 *     store_writer.c  batches, commits, and what follows a failure     writer thread
 *     store_write.c   the records of one batch                         writer thread
 *     store_read.c    what is durable                                  loop thread
 *     store_env.c     the LMDB environment                             both, see env_lock
 *     store_record.c  records as bytes                                 pure
 *
 * Databases (keys are big-endian, so that their order is that of the numbers):
 *
 *     message            id            -> message record
 *     rcpt               id, index     -> recipient record
 *     body               id            -> struct body_head, offsets of dots, wire form
 *     prefix             id, kind      -> header fields before the body (kind: 1 byte)
 *     event              seq           -> message id (8 bytes), JSON
 *     event_by_message   id, seq       -> nothing
 *     note               name          -> text
 *     meta               "id"          -> the highest message id made durable
 *                        "seq"         -> the highest event number
 *                        "version"     -> STORE_VERSION
 *
 * Invariants:
 *
 *  1. A message has all its recipients (index 0 to n - 1), its body and its prefixes, or nothing of
 * it is there.
 *  2. An event's number is greater than that of every event before it, also of those pruned.
 *  3. The map is larger than max_bytes by a headroom, and accepts are refused at max_bytes: an
 *     outcome always finds pages.
 *  4. What a failed transaction wrote is never written again: the environment is opened anew
 *     first, and each operation is then put into a new transaction or failed.
 *
 * Locks: `lock` guards the lists. The writer alone changes `env`, with `env_lock` held; the loop
 * thread holds it while it reads (reads may nest: `read_depth`).
 */
#ifndef WIREPOST_STORE_PRIVATE_H
#define WIREPOST_STORE_PRIVATE_H

#include "control/store.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#define STORE_VERSION  1u
#define STORE_PROBE_MS 1000 /* after a failed write: how soon another one is tried */

enum store_db {
    DB_MESSAGE,
    DB_RCPT,
    DB_BODY,
    DB_PREFIX,
    DB_EVENT,
    DB_EVENT_BY_MESSAGE,
    DB_NOTE,
    DB_META,
    STORE_DBS
};

struct body_head {
    uint32_t n_stuff, pad;
};

/* What is to be written, and who is told. Strings are copies. */
struct store_op {
    struct store_op *next;
    enum store_op_kind { OP_ACCEPT, OP_UPDATE, OP_EVENT, OP_NOTE } kind;
    struct store_accept accept; /* of OP_ACCEPT, or the DSN of an update */
    bool has_dsn;
    struct store_update update;
    uint64_t event_message_id; /* of OP_EVENT */
    char *event_json;
    char *note_name, *note_text; /* of OP_NOTE */
    store_done_fn done;
    void *user;
    uint64_t bytes;     /* that it will need, about */
    uint64_t first_seq; /* of its events, once written */
    enum store_status status;
    bool failed; /* left out of the batch; status says why */
};

struct store {
    struct store_config config;
    char *path;
    int lock_fd;
    MDB_env *env; /* null: it could not be opened again */
    MDB_dbi dbi[STORE_DBS];
    pthread_mutex_t env_lock;
    uint32_t read_depth; /* loop thread */

    pthread_t writer;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct store_op *waiting, **waiting_tail; /* given, not taken by the writer */
    struct store_op *done, **done_tail;       /* written or failed, callbacks not run */
    bool closing;
    int wake_fd;

    uint64_t last_id;   /* loop thread */
    uint64_t stored_id; /* writer: the highest that is durable */
    uint64_t last_seq;  /* writer; loop reads durable_seq */
    _Atomic uint64_t durable_seq;
    _Atomic uint64_t pending_bytes; /* of what is given and not handed back */
    _Atomic uint64_t used_bytes, messages;
    _Atomic int failing; /* enum store_status that accepts get; STORE_OK: the last write was good */
    int64_t failed_ms;   /* writer: when a write failed last */

    int64_t free_checked_ms; /* loop thread: cache of statvfs() */
    uint64_t free_bytes, min_free_bytes;
    uint64_t given_bytes; /* that free_bytes does not show yet */

    store_event_fn on_event;
    void *event_user;
    struct store_rcpt *scratch; /* loop thread: recipients of the message being read */
    uint32_t scratch_room;
    bool scratch_used;
};

/* ---- store.c ---- */
int64_t store_clock_ms(void); /* monotonic */
/* Whether an accept of so many bytes may be tried. */
enum store_status store_admit(struct store *s, uint64_t bytes);

/* ---- store_env.c ---- */
int store_env_open(struct store *s); /* 0, or an error of LMDB or errno */
void store_env_close(struct store *s);
/* A sentence for people about an error of store_env_open(). */
void store_env_explain(const struct store *s, int error, char *ret_text, size_t text_bytes);
/* Updates used_bytes and messages. */
void store_env_measure(struct store *s, MDB_txn *txn);

/* ---- store_op.c ---- */
void store_op_free(struct store_op *op);

/* ---- store_writer.c ---- */
void *store_writer(void *user);

/* ---- store_write.c ---- */
/* One transaction with all operations that have not failed. 0, or why nothing of it is durable;
 * *ret_culprit is the operation that could not be put, or null. */
int store_batch_write(struct store *s, struct store_op *list, struct store_op **ret_culprit);

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
