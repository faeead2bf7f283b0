/* store_read.c - what is durable, read on the loop thread: see store.h. A damaged record is
 * reported and passed over. */
#include "control/store_private.h"

#include "control/ctl_log.h"
#include "tcp/base.h"

/* ---- transactions ------------------------------------------------------------------------ */

static void unlock(struct store *s)
{
    if (--s->read_depth == 0) {
        (void)pthread_mutex_unlock(&s->env_lock);
    }
}

/* Null: the spool cannot be read now. */
static MDB_txn *begin(struct store *s)
{
    MDB_txn *txn = NULL;
    if (s->read_depth++ == 0) {
        (void)pthread_mutex_lock(&s->env_lock);
    }
    if (s->env && mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) == 0) {
        return txn;
    }
    unlock(s);
    return NULL;
}

static void end(struct store *s, MDB_txn *txn)
{
    mdb_txn_abort(txn);
    unlock(s);
}

static MDB_cursor *cursor_open(struct store *s, MDB_txn *txn, enum store_db db)
{
    MDB_cursor *cursor = NULL;
    (void)mdb_cursor_open(txn, s->dbi[db], &cursor);
    return cursor;
}

static void damaged(const struct store *s, const char *what, uint64_t id)
{
    ctl_log(CTL_LOG_ERROR, "a message in the spool is damaged and passed over",
            "spool=%s id=%016llx what=\"%s\"", s->path, (unsigned long long)id, what);
}

/* ---- messages ---------------------------------------------------------------------------- */

/* The recipients of a message, into one block that grows; nested readers get one of their own. */
static struct store_rcpt *recipients_room(struct store *s, uint32_t n, bool *ret_owned)
{
    *ret_owned = s->scratch_used;
    if (s->scratch_used) {
        struct store_rcpt *own = calloc(n ? n : 1, sizeof own[0]);
        INVARIANT(own != NULL);
        return own;
    }
    if (n > s->scratch_room) {
        struct store_rcpt *list = realloc(s->scratch, n * sizeof list[0]);
        INVARIANT(list != NULL);
        s->scratch = list;
        s->scratch_room = n;
    }
    return s->scratch;
}

/* All recipients, in order from index 0. False: one is missing or damaged. */
static bool read_recipients(MDB_cursor *cursor, uint64_t id, uint32_t n, struct store_rcpt *list)
{
    uint8_t first[12] = {0};
    store_key64(first, id);
    MDB_val key = {sizeof first, first}, value;
    MDB_cursor_op op = MDB_SET_RANGE;
    for (uint32_t i = 0; i < n; i++, op = MDB_NEXT) {
        if (mdb_cursor_get(cursor, &key, &value, op) != 0 || key.mv_size != 12 ||
            store_key64_get(key.mv_data) != id || be32_get((const uint8_t *)key.mv_data + 8) != i ||
            !store_rcpt_decode(value.mv_data, value.mv_size, &list[i])) {
            return false;
        }
    }
    return true;
}

/* Gives one message to fn. *ret_go_on: what fn said. False: damaged. */
static bool give_message(struct store *s, MDB_cursor *rcpts, const MDB_val *record, uint64_t id,
                         store_message_fn fn, void *user, bool *ret_go_on)
{
    struct store_message message;
    bool owned;
    if (!store_message_decode(record->mv_data, record->mv_size, &message) || message.id != id) {
        damaged(s, "record", id);
        return false;
    }
    struct store_rcpt *list = recipients_room(s, message.n_recipients, &owned);
    bool whole = read_recipients(rcpts, id, message.n_recipients, list);
    if (whole) {
        s->scratch_used = true;
        *ret_go_on = fn(user, &message, list);
        s->scratch_used = owned;
    } else {
        damaged(s, "list of recipients", id);
    }
    if (owned) {
        free(list);
    }
    return whole;
}

void store_each_message(struct store *s, uint64_t from_id, store_message_fn fn, void *user)
{
    uint8_t first[8];
    store_key64(first, from_id);
    MDB_val key = {sizeof first, first}, value;
    MDB_txn *txn = begin(s);
    if (!txn) {
        return;
    }
    MDB_cursor *messages = cursor_open(s, txn, DB_MESSAGE), *rcpts = cursor_open(s, txn, DB_RCPT);
    bool go_on = messages && rcpts;
    for (MDB_cursor_op op = MDB_SET_RANGE;
         go_on && mdb_cursor_get(messages, &key, &value, op) == 0 && key.mv_size == 8;
         op = MDB_NEXT) {
        (void)give_message(s, rcpts, &value, store_key64_get(key.mv_data), fn, user, &go_on);
    }
    mdb_cursor_close(messages);
    mdb_cursor_close(rcpts);
    end(s, txn);
}

bool store_show(struct store *s, uint64_t id, store_message_fn fn, void *user)
{
    uint8_t name[8];
    store_key64(name, id);
    MDB_val key = {sizeof name, name}, value;
    bool found = false, go_on;
    MDB_txn *txn = begin(s);
    if (!txn) {
        return false;
    }
    MDB_cursor *rcpts = cursor_open(s, txn, DB_RCPT);
    if (rcpts && mdb_get(txn, s->dbi[DB_MESSAGE], &key, &value) == 0) {
        found = give_message(s, rcpts, &value, id, fn, user, &go_on);
    }
    mdb_cursor_close(rcpts);
    end(s, txn);
    return found;
}

/* ---- bodies ------------------------------------------------------------------------------ */

bool store_body_read(struct store *s, uint64_t id, struct store_body *body)
{
    uint8_t name[8];
    struct body_head head;
    bool found = false;
    store_key64(name, id);
    MDB_val key = {sizeof name, name}, value;
    MDB_txn *txn = begin(s);
    if (!txn) {
        return false;
    }
    if (mdb_get(txn, s->dbi[DB_BODY], &key, &value) == 0 && value.mv_size >= sizeof head) {
        const uint8_t *data = value.mv_data;
        memcpy(&head, data, sizeof head);
        size_t stuff_bytes = (size_t)head.n_stuff * sizeof(uint32_t);
        found = value.mv_size - sizeof head >= stuff_bytes;
        size_t len = found ? value.mv_size - sizeof head - stuff_bytes : 0;
        if (found && body->data && body->len >= len) {
            memcpy(body->data, data + sizeof head + stuff_bytes, len);
        }
        if (found && body->stuff && body->n_stuff >= head.n_stuff && stuff_bytes > 0) {
            memcpy(body->stuff, data + sizeof head, stuff_bytes);
        }
        body->len = len;
        body->n_stuff = head.n_stuff;
    }
    end(s, txn);
    return found;
}

size_t store_prefix_read(struct store *s, uint64_t id, uint32_t kind, void *data, size_t room)
{
    uint8_t name[9];
    size_t len = 0;
    store_key64(name, id);
    name[8] = (uint8_t)kind;
    MDB_val key = {sizeof name, name}, value;
    MDB_txn *txn = begin(s);
    if (!txn) {
        return 0;
    }
    if (mdb_get(txn, s->dbi[DB_PREFIX], &key, &value) == 0) {
        len = value.mv_size;
        if (len <= room) {
            memcpy(data, value.mv_data, len);
        }
    }
    end(s, txn);
    return len;
}

/* ---- events ------------------------------------------------------------------------------ */

static bool give_event(const MDB_val *value, uint64_t seq, store_event_fn fn, void *user)
{
    const char *data = value->mv_data;
    return value->mv_size < 8 || fn(user, seq, store_key64_get(data), data + 8, value->mv_size - 8);
}

static uint64_t events_of_all(struct store *s, MDB_txn *txn, uint64_t after, store_event_fn fn,
                              void *user)
{
    uint8_t first[8];
    store_key64(first, after + 1);
    MDB_val key = {sizeof first, first}, value;
    MDB_cursor *cursor = cursor_open(s, txn, DB_EVENT);
    for (MDB_cursor_op op = MDB_SET_RANGE;
         cursor && mdb_cursor_get(cursor, &key, &value, op) == 0 && key.mv_size == 8;
         op = MDB_NEXT) {
        after = store_key64_get(key.mv_data);
        if (!give_event(&value, after, fn, user)) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    return after;
}

static uint64_t events_of_message(struct store *s, MDB_txn *txn, uint64_t after, uint64_t id,
                                  store_event_fn fn, void *user)
{
    uint8_t first[16];
    store_key64(first, id);
    store_key64(first + 8, after + 1);
    MDB_val key = {sizeof first, first}, value;
    MDB_cursor *cursor = cursor_open(s, txn, DB_EVENT_BY_MESSAGE);
    for (MDB_cursor_op op = MDB_SET_RANGE;
         cursor && mdb_cursor_get(cursor, &key, &value, op) == 0 && key.mv_size == 16 &&
         store_key64_get(key.mv_data) == id;
         op = MDB_NEXT) {
        MDB_val seq = {8, (uint8_t *)key.mv_data + 8}, event;
        after = store_key64_get(seq.mv_data);
        if (mdb_get(txn, s->dbi[DB_EVENT], &seq, &event) == 0 &&
            !give_event(&event, after, fn, user)) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    return after;
}

uint64_t store_each_event(struct store *s, uint64_t after, uint64_t message_id, store_event_fn fn,
                          void *user)
{
    MDB_txn *txn = begin(s);
    if (!txn) {
        return after;
    }
    after = message_id ? events_of_message(s, txn, after, message_id, fn, user)
                       : events_of_all(s, txn, after, fn, user);
    end(s, txn);
    return after;
}

/* ---- notes ------------------------------------------------------------------------------- */

static char *text_of(const MDB_val *value)
{
    char *text = malloc(value->mv_size + 1);
    INVARIANT(text != NULL);
    memcpy(text, value->mv_data, value->mv_size);
    text[value->mv_size] = '\0';
    return text;
}

char *store_note_read(struct store *s, const char *name)
{
    MDB_val key = {strlen(name), (void *)(uintptr_t)name}, value;
    MDB_txn *txn = begin(s);
    if (!txn) {
        return NULL;
    }
    char *text = mdb_get(txn, s->dbi[DB_NOTE], &key, &value) == 0 ? text_of(&value) : NULL;
    end(s, txn);
    return text;
}

static bool give_note(const MDB_val *key, const MDB_val *value, store_note_fn fn, void *user)
{
    char *name = text_of(key), *text = text_of(value);
    bool more = fn(user, name, text);
    free(name);
    free(text);
    return more;
}

void store_each_note(struct store *s, const char *prefix, store_note_fn fn, void *user)
{
    MDB_val key = {strlen(prefix), (void *)(uintptr_t)prefix}, value;
    MDB_txn *txn = begin(s);
    if (!txn) {
        return;
    }
    MDB_cursor *cursor = cursor_open(s, txn, DB_NOTE);
    for (MDB_cursor_op op = MDB_SET_RANGE;
         cursor && mdb_cursor_get(cursor, &key, &value, op) == 0 && key.mv_size >= strlen(prefix) &&
         memcmp(key.mv_data, prefix, strlen(prefix)) == 0;
         op = MDB_NEXT) {
        if (!give_note(&key, &value, fn, user)) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    end(s, txn);
}
