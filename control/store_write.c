/*
 * store_write.c - the writer: takes what has been given since its last commit and writes it in one
 * transaction. See store.h.
 *
 * When one operation fails by itself (the map is full, a record is damaged), the transaction is
 * thrown away and the batch is written again without it; when the map is full for an outcome, all
 * accepts of the batch give way first. When the commit fails, everything in the batch has failed,
 * and the environment is opened anew.
 */
#include "control/store_private.h"

#include "tcp/base.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DISK_FULL_BYTES (1u << 20)

#define PRUNE_MIN 64u /* events removed with each commit beside twice as many as came */

/* ---- freeing ----------------------------------------------------------------------------- */

static void drop(const void *pointer)
{
    free((void *)(uintptr_t)pointer);
}

static void accept_free(struct store_accept *a)
{
    for (uint32_t i = 0; a->recipients && i < a->message.n_recipients; i++) {
        drop(a->recipients[i].address);
        drop(a->recipients[i].domain);
        drop(a->recipients[i].last);
    }
    drop(a->recipients);
    drop(a->message.sender);
    drop(a->message.stream);
    drop(a->message.mail_from);
    drop(a->message.dsn_for);
    drop(a->event_json);
}

void store_op_free(struct store_op *op)
{
    accept_free(&op->accept);
    for (uint32_t i = 0; op->update.recipients && i < op->update.n_recipients; i++) {
        drop(op->update.recipients[i].last);
        drop(op->update.recipients[i].event_json);
    }
    drop(op->update.recipients);
    drop(op->update.finished_event_json);
    free(op->event_json);
    free(op);
}

/* ---- one operation ----------------------------------------------------------------------- */

struct batch {
    struct store *s;
    MDB_txn *txn;
    uint64_t last_id, events;
};

static int put_reserved(struct batch *b, enum store_db db, const uint8_t *key, size_t key_len,
                        size_t bytes, uint8_t **ret_at)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key}, v = {bytes, NULL};
    int result = mdb_put(b->txn, b->s->dbi[db], &k, &v, MDB_RESERVE);
    *ret_at = v.mv_data;
    return result;
}

static int put_event(struct batch *b, uint64_t message_id, const char *json)
{
    uint8_t key[8], pair[16], *at;
    size_t len;
    if (!json) {
        return 0;
    }
    len = strlen(json);
    b->events++;
    store_key64(key, ++b->s->last_seq);
    int result = put_reserved(b, DB_EVENT, key, sizeof key, 8 + len, &at);
    if (result != 0) {
        return result;
    }
    store_key64(at, message_id);
    memcpy(at + 8, json, len);
    if (message_id == 0) {
        return 0;
    }
    store_key64(pair, message_id);
    store_key64(pair + 8, b->s->last_seq);
    return put_reserved(b, DB_EVENT_BY_MESSAGE, pair, sizeof pair, 0, &at);
}

static void rcpt_key(uint8_t key[12], uint64_t id, uint32_t index)
{
    store_key64(key, id);
    be32_put(key + 8, index);
}

static int put_rcpt(struct batch *b, uint64_t id, uint32_t index, const struct store_rcpt *rcpt)
{
    uint8_t key[12], *at;
    rcpt_key(key, id, index);
    int result = put_reserved(b, DB_RCPT, key, sizeof key, store_rcpt_bytes(rcpt), &at);
    if (result == 0) {
        store_rcpt_encode(rcpt, at);
    }
    return result;
}

static int put_body(struct batch *b, const struct store_accept *a)
{
    uint8_t key[8], *at;
    const struct body_head head = {.n_stuff = a->n_stuff};
    size_t stuff_bytes = a->n_stuff * sizeof a->stuff[0];
    store_key64(key, a->message.id);
    int result = put_reserved(b, DB_BODY, key, sizeof key,
                              sizeof head + stuff_bytes + a->message.body_bytes, &at);
    if (result != 0) {
        return result;
    }
    memcpy(at, &head, sizeof head);
    if (stuff_bytes > 0) {
        memcpy(at + sizeof head, a->stuff, stuff_bytes);
    }
    memcpy(at + sizeof head + stuff_bytes, a->body, a->message.body_bytes);
    return 0;
}

static int put_accept(struct batch *b, const struct store_accept *a)
{
    uint8_t key[8], *at;
    store_key64(key, a->message.id);
    int result =
        put_reserved(b, DB_MESSAGE, key, sizeof key, store_message_bytes(&a->message), &at);
    if (result == 0) {
        store_message_encode(&a->message, at);
        result = put_body(b, a);
    }
    for (uint32_t i = 0; result == 0 && i < a->message.n_recipients; i++) {
        result = put_rcpt(b, a->message.id, i, &a->recipients[i]);
    }
    b->last_id = a->message.id > b->last_id ? a->message.id : b->last_id;
    return result ? result : put_event(b, a->message.id, a->event_json);
}

/* A recipient that is gone (its message finished before) is passed over. */
static int update_rcpt(struct batch *b, uint64_t id, const struct store_rcpt_update *u)
{
    uint8_t key[12];
    struct store_rcpt rcpt;
    rcpt_key(key, id, u->index);
    MDB_val k = {sizeof key, key}, v;
    int result = mdb_get(b->txn, b->s->dbi[DB_RCPT], &k, &v);
    if (result != 0) {
        return result == MDB_NOTFOUND ? 0 : result;
    }
    /* mdb_put() may move the page that the old record stands on. */
    uint8_t *old = malloc(v.mv_size);
    INVARIANT(old != NULL);
    memcpy(old, v.mv_data, v.mv_size);
    if (store_rcpt_decode(old, v.mv_size, &rcpt)) {
        rcpt.state = u->state;
        rcpt.attempts = u->attempts;
        rcpt.next_try_ms = u->next_try_ms;
        rcpt.last = u->last;
        result = put_rcpt(b, id, u->index, &rcpt);
    } else {
        result = MDB_CORRUPTED;
    }
    free(old);
    return result;
}

static int delete_key(struct batch *b, enum store_db db, const uint8_t *key, size_t len)
{
    MDB_val k = {len, (void *)(uintptr_t)key};
    int result = mdb_del(b->txn, b->s->dbi[db], &k, NULL);
    return result == MDB_NOTFOUND ? 0 : result;
}

static int delete_message(struct batch *b, uint64_t id)
{
    uint8_t key[8], rcpt[12];
    struct store_message message;
    store_key64(key, id);
    MDB_val k = {sizeof key, key}, v;
    int result = mdb_get(b->txn, b->s->dbi[DB_MESSAGE], &k, &v);
    if (result != 0) {
        return result == MDB_NOTFOUND ? 0 : result;
    }
    uint32_t n = store_message_decode(v.mv_data, v.mv_size, &message) ? message.n_recipients : 0;
    for (uint32_t i = 0; result == 0 && i < n; i++) {
        rcpt_key(rcpt, id, i);
        result = delete_key(b, DB_RCPT, rcpt, sizeof rcpt);
    }
    result = result ? result : delete_key(b, DB_BODY, key, sizeof key);
    return result ? result : delete_key(b, DB_MESSAGE, key, sizeof key);
}

static int put_update(struct batch *b, const struct store_op *op)
{
    const struct store_update *u = &op->update;
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < u->n_recipients; i++) {
        result = update_rcpt(b, u->message_id, &u->recipients[i]);
        result = result ? result : put_event(b, u->message_id, u->recipients[i].event_json);
    }
    if (result == 0 && u->finished) {
        result = delete_message(b, u->message_id);
    }
    result = result ? result : put_event(b, u->message_id, u->finished_event_json);
    return result || !op->has_dsn ? result : put_accept(b, &op->accept);
}

static int put_op(struct batch *b, struct store_op *op)
{
    op->first_seq = b->s->last_seq + 1;
    switch (op->kind) {
    case OP_ACCEPT:
        return put_accept(b, &op->accept);
    case OP_UPDATE:
        return put_update(b, op);
    case OP_EVENT:
        return put_event(b, op->event_message_id, op->event_json);
    }
    return EINVAL;
}

/* ---- old events -------------------------------------------------------------------------- */

static int prune(struct batch *b)
{
    MDB_stat stat;
    MDB_cursor *cursor;
    MDB_val key, value;
    int result = mdb_stat(b->txn, b->s->dbi[DB_EVENT], &stat);
    uint64_t surplus = result == 0 && stat.ms_entries > b->s->config.event_keep
                           ? stat.ms_entries - b->s->config.event_keep
                           : 0;
    uint64_t limit = 2 * b->events + PRUNE_MIN;
    surplus = surplus < limit ? surplus : limit;
    if (surplus == 0 || (result = mdb_cursor_open(b->txn, b->s->dbi[DB_EVENT], &cursor)) != 0) {
        return result;
    }
    for (; surplus > 0 && mdb_cursor_get(cursor, &key, &value, MDB_FIRST) == 0; surplus--) {
        uint8_t pair[16];
        uint64_t id = value.mv_size >= 8 ? store_key64_get(value.mv_data) : 0;
        store_key64(pair, id);
        memcpy(pair + 8, key.mv_data, 8);
        result = mdb_cursor_del(cursor, 0);
        result = result || id == 0 ? result : delete_key(b, DB_EVENT_BY_MESSAGE, pair, sizeof pair);
        if (result != 0) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    return result;
}

static int put_meta(struct batch *b, const char *name, uint64_t value)
{
    uint8_t data[8];
    MDB_val k = {strlen(name), (void *)(uintptr_t)name}, v = {sizeof data, data};
    store_key64(data, value);
    return mdb_put(b->txn, b->s->dbi[DB_META], &k, &v, 0);
}

static int finish_batch(struct batch *b)
{
    int result = prune(b);
    result = result ? result : put_meta(b, "version", STORE_VERSION);
    result = result ? result : put_meta(b, "seq", b->s->last_seq);
    return result || b->last_id == 0 ? result : put_meta(b, "id", b->last_id);
}

/* ---- the batch --------------------------------------------------------------------------- */

static void fail_op(struct store_op *op, int result)
{
    op->failed = true;
    op->status = result == MDB_MAP_FULL || result == ENOSPC ? STORE_E_FULL : STORE_E_IO;
}

/* The operation that made the transaction fail leaves the batch; an outcome for which there is no
 * room lets the accepts go first. */
static void give_way(struct store_op *list, struct store_op *culprit, int result)
{
    bool relieved = false;
    for (struct store_op *op = list; op && culprit->kind != OP_ACCEPT; op = op->next) {
        if (op->kind == OP_ACCEPT && !op->failed) {
            fail_op(op, result);
            relieved = true;
        }
    }
    if (!relieved) {
        fail_op(culprit, result);
    }
}

/* One transaction with all that have not failed by themselves. 0, or why nothing of it is durable;
 * *ret_culprit when one operation is to blame. */
static int write_batch(struct store *s, struct store_op *list, struct store_op **ret_culprit)
{
    struct batch b = {.s = s};
    int result = s->env ? mdb_txn_begin(s->env, NULL, 0, &b.txn) : EIO;
    *ret_culprit = NULL;
    if (result != 0) {
        return result;
    }
    for (struct store_op *op = list; op; op = op->next) {
        if (!op->failed && (result = put_op(&b, op)) != 0) {
            *ret_culprit = op;
            mdb_txn_abort(b.txn);
            return result;
        }
    }
    result = finish_batch(&b);
    if (result != 0) {
        mdb_txn_abort(b.txn);
        return result;
    }
    store_measure(s, b.txn);
    return mdb_txn_commit(b.txn);
}

static bool nothing_left(const struct store_op *list)
{
    for (; list; list = list->next) {
        if (!list->failed) {
            return false;
        }
    }
    return true;
}

/* The last durable state is what the file says; nothing of the failed transaction is tried again.
 */
static void reopen(struct store *s)
{
    (void)pthread_rwlock_wrlock(&s->env_lock);
    store_env_close(s);
    int result = store_env_open(s);
    (void)pthread_rwlock_unlock(&s->env_lock);
    if (result != 0) {
        (void)fprintf(stderr, "wirepostd: spool %s cannot be opened again: %s\n", s->path,
                      mdb_strerror(result));
    }
}

/* A write that the disk took only a part of comes back from LMDB as EIO. */
static bool disk_is_full(const struct store *s)
{
    struct statvfs fs;
    return statvfs(s->path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < DISK_FULL_BYTES;
}

static void fail_all(struct store *s, struct store_op *list, int result)
{
    result = result == EIO && disk_is_full(s) ? ENOSPC : result;
    for (struct store_op *op = list; op; op = op->next) {
        if (!op->failed) {
            fail_op(op, result);
        }
    }
    s->failed_ms = store_clock_ms();
    s->writable = false;
    (void)fprintf(stderr, "wirepostd: spool %s: a write failed, nothing of it was accepted: %s\n",
                  s->path, mdb_strerror(result));
    reopen(s);
}

static void write_all(struct store *s, struct store_op *list)
{
    uint64_t seq = s->last_seq;
    while (!nothing_left(list)) {
        struct store_op *culprit;
        s->last_seq = seq;
        int result = write_batch(s, list, &culprit);
        if (result == 0) {
            s->writable = true;
            s->durable_seq = s->last_seq;
            return;
        }
        s->last_seq = seq;
        if (!culprit) {
            fail_all(s, list, result);
            return;
        }
        give_way(list, culprit, result);
    }
}

/* ---- the thread -------------------------------------------------------------------------- */

/* Null: closing, and nothing is left. */
static struct store_op *take(struct store *s)
{
    (void)pthread_mutex_lock(&s->lock);
    while (!s->waiting && !s->closing) {
        (void)pthread_cond_wait(&s->wake, &s->lock);
    }
    struct store_op *list = s->waiting;
    s->waiting = NULL;
    s->waiting_tail = &s->waiting;
    (void)pthread_mutex_unlock(&s->lock);
    return list;
}

static void hand_back(struct store *s, struct store_op *list)
{
    const uint64_t one = 1;
    struct store_op **tail = &list;
    for (struct store_op *op = list; op; op = op->next) {
        s->pending_bytes -= op->bytes;
        tail = &op->next;
    }
    (void)pthread_mutex_lock(&s->lock);
    *s->done_tail = list;
    s->done_tail = tail;
    (void)pthread_mutex_unlock(&s->lock);
    (void)!write(s->wake_fd, &one, sizeof one);
}

void *store_writer(void *user)
{
    struct store *s = user;
    struct store_op *list;
    while ((list = take(s)) != NULL) {
        write_all(s, list);
        hand_back(s, list);
    }
    return NULL;
}
