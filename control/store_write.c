/*
 * store_write.c - the records of one batch, in one transaction: see store_private.h. Whatever
 * fails, the transaction is thrown away whole; store_writer.c decides what follows.
 */
#include "control/store_private.h"

#include "tcp/base.h"

#include <errno.h>

#define PRUNE_MIN 64u /* events removed with each commit beside twice as many as came */

struct batch {
    struct store *s;
    MDB_txn *txn;
    uint64_t last_id, events;
};

/* ---- events and messages ----------------------------------------------------------------- */

/* Room for a record, to be filled at once: the next change may move it. */
static int put_reserved(struct batch *b, enum store_db db, const void *key, size_t key_len,
                        size_t bytes, uint8_t **ret_at)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key}, v = {bytes, NULL};
    int result = mdb_put(b->txn, b->s->dbi[db], &k, &v, MDB_RESERVE);
    *ret_at = v.mv_data;
    return result;
}

static int put_none(struct batch *b, enum store_db db, const void *key, size_t key_len)
{
    uint8_t *at;
    return put_reserved(b, db, key, key_len, 0, &at);
}

static int delete_key(struct batch *b, enum store_db db, const void *key, size_t len)
{
    MDB_val k = {len, (void *)(uintptr_t)key};
    int result = mdb_del(b->txn, b->s->dbi[db], &k, NULL);
    return result == MDB_NOTFOUND ? 0 : result;
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
    return put_none(b, DB_EVENT_BY_MESSAGE, pair, sizeof pair);
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

/* Without a text the note goes. */
static int put_note(struct batch *b, const char *name, const char *text)
{
    MDB_val key = {strlen(name), (void *)(uintptr_t)name};
    if (!text) {
        return delete_key(b, DB_NOTE, key.mv_data, key.mv_size);
    }
    MDB_val value = {strlen(text), (void *)(uintptr_t)text};
    return mdb_put(b->txn, b->s->dbi[DB_NOTE], &key, &value, 0);
}

static void prefix_key(uint8_t key[9], uint64_t id, uint32_t kind)
{
    store_key64(key, id);
    key[8] = (uint8_t)kind;
}

static int put_prefixes(struct batch *b, const struct store_accept *a)
{
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < STORE_PREFIXES; i++) {
        uint8_t key[9], *at;
        if (a->prefix[i].len > 0) {
            prefix_key(key, a->message.id, i);
            result = put_reserved(b, DB_PREFIX, key, sizeof key, a->prefix[i].len, &at);
        }
        if (a->prefix[i].len > 0 && result == 0) {
            memcpy(at, a->prefix[i].data, a->prefix[i].len);
        }
    }
    return result;
}

static int put_accept(struct batch *b, const struct store_accept *a)
{
    uint8_t key[8], *at;
    store_key64(key, a->message.id);
    INVARIANT(a->message.id > 0);
    int result =
        put_reserved(b, DB_MESSAGE, key, sizeof key, store_message_bytes(&a->message), &at);
    if (result == 0) {
        store_message_encode(&a->message, at);
        result = put_body(b, a);
    }
    result = result ? result : put_prefixes(b, a);
    for (uint32_t i = 0; result == 0 && i < a->message.n_recipients; i++) {
        result = put_rcpt(b, a->message.id, i, &a->recipients[i]);
    }
    if (result == 0 && a->note_name) {
        result = put_note(b, a->note_name, a->note_text);
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

/* Whatever stands under the id, whether its message can be read or not. */
static int delete_recipients(struct batch *b, uint64_t id)
{
    MDB_cursor *cursor;
    uint8_t first[12];
    rcpt_key(first, id, 0);
    MDB_val key = {sizeof first, first}, value;
    int result = mdb_cursor_open(b->txn, b->s->dbi[DB_RCPT], &cursor);
    if (result != 0) {
        return result;
    }
    while ((result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)) == 0 &&
           key.mv_size == sizeof first && store_key64_get(key.mv_data) == id) {
        if ((result = mdb_cursor_del(cursor, 0)) != 0) {
            break;
        }
        key = (MDB_val){sizeof first, first};
    }
    mdb_cursor_close(cursor);
    return result == MDB_NOTFOUND ? 0 : result;
}

static int delete_prefixes(struct batch *b, uint64_t id)
{
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < STORE_PREFIXES; i++) {
        uint8_t key[9];
        prefix_key(key, id, i);
        result = delete_key(b, DB_PREFIX, key, sizeof key);
    }
    return result;
}

static int delete_message(struct batch *b, uint64_t id)
{
    uint8_t key[8];
    store_key64(key, id);
    int result = delete_recipients(b, id);
    result = result ? result : delete_prefixes(b, id);
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
    case OP_NOTE:
        return put_note(b, op->note_name, op->note_text);
    }
    return EINVAL;
}

/* ---- old events -------------------------------------------------------------------------- */

/* How many events go with this commit: enough to catch up, few enough not to hold it up. */
static uint64_t surplus_events(struct batch *b)
{
    MDB_stat stat;
    uint64_t keep = b->s->config.event_keep, limit = 2 * b->events + PRUNE_MIN;
    if (mdb_stat(b->txn, b->s->dbi[DB_EVENT], &stat) != 0 || stat.ms_entries <= keep) {
        return 0;
    }
    return stat.ms_entries - keep < limit ? stat.ms_entries - keep : limit;
}

static int delete_event(struct batch *b, MDB_cursor *cursor, const MDB_val *key,
                        const MDB_val *value)
{
    uint8_t pair[16];
    bool indexed = key->mv_size == 8 && value->mv_size >= 8;
    if (indexed) {
        memcpy(pair, value->mv_data, 8);
        memcpy(pair + 8, key->mv_data, 8);
    }
    int result = mdb_cursor_del(cursor, 0);
    return result || !indexed ? result : delete_key(b, DB_EVENT_BY_MESSAGE, pair, sizeof pair);
}

static int prune(struct batch *b)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t surplus = surplus_events(b);
    int result = surplus > 0 ? mdb_cursor_open(b->txn, b->s->dbi[DB_EVENT], &cursor) : 0;
    if (surplus == 0 || result != 0) {
        return result;
    }
    for (; result == 0 && surplus > 0; surplus--) {
        result = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        result = result ? result : delete_event(b, cursor, &key, &value);
    }
    mdb_cursor_close(cursor);
    return result == MDB_NOTFOUND ? 0 : result;
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
    return result || b->last_id == b->s->stored_id ? result : put_meta(b, "id", b->last_id);
}

/* ---- the whole --------------------------------------------------------------------------- */

int store_batch_write(struct store *s, struct store_op *list, struct store_op **ret_culprit)
{
    struct batch b = {.s = s, .last_id = s->stored_id};
    int result = s->env ? mdb_txn_begin(s->env, NULL, 0, &b.txn) : EIO;
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
    store_env_measure(s, b.txn);
    result = mdb_txn_commit(b.txn);
    s->stored_id = result == 0 ? b.last_id : s->stored_id;
    return result;
}
