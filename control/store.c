/* store.c - opening, closing, ids, limits and callbacks: see store.h. */
#include "control/store_private.h"

#include "tcp/base.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define FREE_CACHE_MS    100
#define PROBE_MS         1000 /* after a failed write: how long accepts are refused before one is tried */
#define MIN_FREE_DEFAULT (UINT64_C(256) << 20)
#define HEADROOM_MIN     (UINT64_C(64) << 20) /* of the map, for outcomes when accepts are refused */

static const char *const db_names[STORE_DBS] = {
    [DB_MESSAGE] = "message",
    [DB_RCPT] = "rcpt",
    [DB_BODY] = "body",
    [DB_EVENT] = "event",
    [DB_EVENT_BY_MESSAGE] = "event_by_message",
    [DB_META] = "meta",
};

const char *store_status_text(enum store_status status)
{
    static const char *const texts[] = {
#define X(name, text) [name] = text,
        STORE_STATUS_MAP(X)
#undef X
    };
    return texts[status];
}

int64_t store_clock_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- the environment --------------------------------------------------------------------- */

static int open_databases(struct store *s)
{
    MDB_txn *txn;
    int result = mdb_txn_begin(s->env, NULL, 0, &txn);
    for (int i = 0; result == 0 && i < STORE_DBS; i++) {
        result = mdb_dbi_open(txn, db_names[i], MDB_CREATE, &s->dbi[i]);
    }
    if (result != 0) {
        mdb_txn_abort(txn);
        return result;
    }
    store_measure(s, txn);
    return mdb_txn_commit(txn);
}

/* A file that was cut short would end us with SIGBUS at the first read of what is missing. */
static bool is_whole(struct store *s)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    mdb_filehandle_t fd;
    return mdb_env_info(s->env, &info) == 0 && mdb_env_stat(s->env, &stat) == 0 &&
           mdb_env_get_fd(s->env, &fd) == 0 && fstat(fd, &file) == 0 &&
           (uint64_t)file.st_size >= (info.me_last_pgno + 1) * stat.ms_psize;
}

int store_env_open(struct store *s)
{
    uint64_t headroom = s->config.max_bytes / 8;
    headroom = headroom > HEADROOM_MIN ? headroom : HEADROOM_MIN;
    int dead, result = mdb_env_create(&s->env);
    if (result != 0) {
        s->env = NULL;
        return result;
    }
    (void)mdb_env_set_maxdbs(s->env, STORE_DBS);
    (void)mdb_env_set_mapsize(s->env, s->config.max_bytes + headroom);
    result = mdb_env_open(s->env, s->path, MDB_NOTLS, 0600);
    if (result == 0) {
        (void)mdb_reader_check(s->env, &dead);
        result = is_whole(s) ? open_databases(s) : MDB_CORRUPTED;
    }
    if (result != 0) {
        store_env_close(s);
    }
    return result;
}

void store_env_close(struct store *s)
{
    if (s->env) {
        mdb_env_close(s->env);
        s->env = NULL;
    }
}

/* What is really in use: pages of all databases. */
void store_measure(struct store *s, MDB_txn *txn)
{
    uint64_t pages = 0, psize = 4096;
    for (int i = 0; i < STORE_DBS; i++) {
        MDB_stat stat;
        if (mdb_stat(txn, s->dbi[i], &stat) == 0) {
            pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
            psize = stat.ms_psize;
            if (i == DB_MESSAGE) {
                s->messages = stat.ms_entries;
            }
        }
    }
    s->used_bytes = pages * psize;
}

/* ---- what is there ----------------------------------------------------------------------- */

static uint64_t read_meta(struct store *s, MDB_txn *txn, const char *name)
{
    MDB_val key = {strlen(name), (void *)(uintptr_t)name}, value;
    return mdb_get(txn, s->dbi[DB_META], &key, &value) == 0 && value.mv_size == 8
               ? store_key64_get(value.mv_data)
               : 0;
}

/* The highest key of a database, or 0. */
static uint64_t last_key(struct store *s, MDB_txn *txn, enum store_db db)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t last = 0;
    if (mdb_cursor_open(txn, s->dbi[db], &cursor) == 0) {
        if (mdb_cursor_get(cursor, &key, &value, MDB_LAST) == 0 && key.mv_size == 8) {
            last = store_key64_get(key.mv_data);
        }
        mdb_cursor_close(cursor);
    }
    return last;
}

static bool read_counters(struct store *s, char *ret_error, size_t error_bytes)
{
    MDB_txn *txn;
    if (mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) != 0) {
        (void)snprintf(ret_error, error_bytes, "spool %s: cannot be read", s->path);
        return false;
    }
    uint64_t version = read_meta(s, txn, "version"), id = read_meta(s, txn, "id");
    uint64_t seq = read_meta(s, txn, "seq"), last = last_key(s, txn, DB_MESSAGE);
    s->last_id = id > last ? id : last;
    last = last_key(s, txn, DB_EVENT);
    s->last_seq = seq > last ? seq : last;
    s->durable_seq = s->last_seq;
    mdb_txn_abort(txn);
    if (version != 0 && version != STORE_VERSION) {
        (void)snprintf(
            ret_error, error_bytes,
            "spool %s is of version %llu, this program of version %u: use the program that "
            "wrote it until its queue is empty",
            s->path, (unsigned long long)version, STORE_VERSION);
        return false;
    }
    return true;
}

/* ---- open -------------------------------------------------------------------------------- */

static bool make_directory(const char *path, char *ret_error, size_t error_bytes)
{
    struct stat st;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        (void)snprintf(ret_error, error_bytes,
                       "spool %s cannot be made: %s; make its parent directory, or "
                       "name another in spool.path",
                       path, strerror(errno));
        return false;
    }
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        (void)snprintf(ret_error, error_bytes,
                       "spool %s is not a directory: name one in spool.path", path);
        return false;
    }
    return true;
}

static long holder(int fd)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return n > 0 ? strtol(text, NULL, 10) : 0;
}

static bool take_lock(struct store *s, char *ret_error, size_t error_bytes)
{
    char path[4096], pid[32];
    (void)snprintf(path, sizeof path, "%s/spool.lock", s->path);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        (void)snprintf(ret_error, error_bytes, "spool %s is not writable: %s", s->path,
                       strerror(errno));
        return false;
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        (void)snprintf(
            ret_error, error_bytes,
            "spool %s is in use by pid %ld: stop that daemon, or name another spool.path", s->path,
            holder(s->lock_fd));
        return false;
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(s->lock_fd, 0) != 0 || pwrite(s->lock_fd, pid, (size_t)n, 0) != n) {
        (void)snprintf(ret_error, error_bytes, "spool %s is not writable: %s", s->path,
                       strerror(errno));
        return false;
    }
    return true;
}

static void explain_env(const struct store *s, int result, char *ret_error, size_t error_bytes)
{
    const char *remedy = "";
    if (result == MDB_INVALID || result == MDB_CORRUPTED || result == MDB_PAGE_NOTFOUND) {
        remedy =
            ": data.mdb is damaged or cut short; put back a copy of it, or move it away to begin "
            "with an empty queue";
    } else if (result == MDB_VERSION_MISMATCH) {
        remedy = ": data.mdb was written by another version of LMDB";
    } else if (result == ENOMEM) {
        remedy = ": there is not enough address space for spool.max_mb; lower it";
    }
    (void)snprintf(ret_error, error_bytes, "spool %s: %s%s", s->path, mdb_strerror(result), remedy);
}

static void init_limits(struct store *s)
{
    struct statvfs fs;
    s->min_free_bytes = s->config.min_free_bytes;
    if (s->min_free_bytes == 0 && statvfs(s->path, &fs) == 0) {
        uint64_t share = (uint64_t)fs.f_blocks * fs.f_frsize / 20;
        s->min_free_bytes = share < MIN_FREE_DEFAULT ? share : MIN_FREE_DEFAULT;
    }
    s->free_checked_ms = INT64_MIN / 2;
}

static bool start_writer(struct store *s, char *ret_error, size_t error_bytes)
{
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->wake_fd < 0 || pthread_create(&s->writer, NULL, store_writer, s) != 0) {
        (void)snprintf(ret_error, error_bytes,
                       "spool: the system refuses a thread or a descriptor");
        return false;
    }
    return true;
}

static void destroy(struct store *s)
{
    store_env_close(s);
    if (s->lock_fd >= 0) {
        (void)close(s->lock_fd); /* ends the lock */
    }
    if (s->wake_fd >= 0) {
        (void)close(s->wake_fd);
    }
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->wake);
    (void)pthread_rwlock_destroy(&s->env_lock);
    free(s->scratch);
    free(s->path);
    free(s);
}

struct store *store_open(const struct store_config *config, char *ret_error, size_t error_bytes)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(config->path))) {
        free(s);
        (void)snprintf(ret_error, error_bytes, "spool: out of memory");
        return NULL;
    }
    s->config = *config;
    s->config.path = s->path;
    s->lock_fd = s->wake_fd = -1;
    s->waiting_tail = &s->waiting;
    s->done_tail = &s->done;
    s->writable = true;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->wake, NULL);
    (void)pthread_rwlock_init(&s->env_lock, NULL);
    if (!make_directory(s->path, ret_error, error_bytes) || !take_lock(s, ret_error, error_bytes)) {
        destroy(s);
        return NULL;
    }
    int result = store_env_open(s);
    if (result != 0) {
        explain_env(s, result, ret_error, error_bytes);
        destroy(s);
        return NULL;
    }
    init_limits(s);
    if (!read_counters(s, ret_error, error_bytes) || !start_writer(s, ret_error, error_bytes)) {
        destroy(s);
        return NULL;
    }
    return s;
}

void store_close(struct store *s)
{
    if (!s) {
        return;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->closing = true;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_join(s->writer, NULL);
    store_poll(s);
    while (s->waiting) { /* given by those callbacks */
        struct store_op *op = s->waiting;
        s->waiting = op->next;
        if (op->done) {
            op->done(op->user, STORE_E_CLOSED);
        }
        store_op_free(op);
    }
    destroy(s);
}

/* ---- callbacks --------------------------------------------------------------------------- */

int store_wake_fd(const struct store *s)
{
    return s->wake_fd;
}

static void tell_events(struct store *s, const struct store_op *op)
{
    uint64_t seq = op->first_seq;
    if (!s->on_event || op->status != STORE_OK) {
        return;
    }
#define TELL(id, json)                                                                             \
    if (json) {                                                                                    \
        (void)s->on_event(s->event_user, seq++, (id), (json), strlen(json));                       \
    }
    if (op->kind == OP_EVENT) {
        TELL(op->event_message_id, op->event_json)
    }
    if (op->kind == OP_ACCEPT) {
        TELL(op->accept.message.id, op->accept.event_json)
    }
    if (op->kind == OP_UPDATE) {
        for (uint32_t i = 0; i < op->update.n_recipients; i++) {
            TELL(op->update.message_id, op->update.recipients[i].event_json)
        }
        TELL(op->update.message_id, op->update.finished_event_json)
        if (op->has_dsn) {
            TELL(op->accept.message.id, op->accept.event_json)
        }
    }
#undef TELL
}

void store_poll(struct store *s)
{
    uint64_t count;
    (void)!read(s->wake_fd, &count, sizeof count);
    (void)pthread_mutex_lock(&s->lock);
    struct store_op *list = s->done;
    s->done = NULL;
    s->done_tail = &s->done;
    (void)pthread_mutex_unlock(&s->lock);
    while (list) {
        struct store_op *op = list;
        list = op->next;
        tell_events(s, op);
        if (op->done) {
            op->done(op->user, op->status);
        }
        store_op_free(op);
    }
}

void store_on_event(struct store *s, store_event_fn fn, void *user)
{
    s->on_event = fn;
    s->event_user = user;
}

/* ---- ids and limits ---------------------------------------------------------------------- */

uint64_t store_next_id(struct store *s)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    uint64_t now = ((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000) << 16;
    s->last_id = now > s->last_id ? now : s->last_id + 1;
    return s->last_id;
}

uint64_t store_last_event(struct store *s)
{
    return s->durable_seq;
}

static uint64_t free_bytes(struct store *s)
{
    struct statvfs fs;
    int64_t now = store_clock_ms();
    if (now - s->free_checked_ms >= FREE_CACHE_MS && statvfs(s->path, &fs) == 0) {
        s->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        s->free_checked_ms = now;
        s->given_bytes = s->pending_bytes;
    }
    return s->free_bytes;
}

/* Whether an accept of so many bytes may be tried. */
static enum store_status admit(struct store *s, uint64_t bytes)
{
    uint64_t available = free_bytes(s), wanted = s->given_bytes + bytes;
    if (!s->writable && store_clock_ms() - s->failed_ms < PROBE_MS) {
        return STORE_E_IO;
    }
    if (s->used_bytes + s->pending_bytes + bytes > s->config.max_bytes ||
        available < s->min_free_bytes + wanted) {
        return STORE_E_FULL;
    }
    return STORE_OK;
}

void store_stats(struct store *s, struct store_stats *ret_stats)
{
    *ret_stats = (struct store_stats){
        .messages = s->messages,
        .used_bytes = s->used_bytes,
        .max_bytes = s->config.max_bytes,
        .free_bytes = free_bytes(s),
        .writable = s->writable && admit(s, 0) == STORE_OK,
    };
}

/* ---- giving operations to the writer ----------------------------------------------------- */

static char *copy(const char *text)
{
    char *result = strdup(text);
    INVARIANT(result != NULL);
    return result;
}

/* Its strings become the op's own; the body stays the caller's. */
static void own_accept(struct store_accept *a, const struct store_accept *from)
{
    struct store_rcpt *list = calloc(from->message.n_recipients + 1, sizeof list[0]);
    INVARIANT(list != NULL);
    *a = *from;
    a->message.sender = copy(from->message.sender);
    a->message.stream = copy(from->message.stream);
    a->message.mail_from = copy(from->message.mail_from);
    a->message.dsn_for = copy(from->message.dsn_for);
    for (uint32_t i = 0; i < from->message.n_recipients; i++) {
        list[i] = from->recipients[i];
        list[i].address = copy(from->recipients[i].address);
        list[i].domain = copy(from->recipients[i].domain);
        list[i].last = copy(from->recipients[i].last);
    }
    a->recipients = list;
    a->event_json = from->event_json ? copy(from->event_json) : NULL;
}

static struct store_op *op_new(int kind, store_done_fn done, void *user)
{
    struct store_op *op = calloc(1, sizeof *op);
    INVARIANT(op != NULL);
    op->kind = kind;
    op->done = done;
    op->user = user;
    return op;
}

static void give(struct store *s, struct store_op *op)
{
    (void)pthread_mutex_lock(&s->lock);
    *s->waiting_tail = op;
    s->waiting_tail = &op->next;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
}

static uint64_t accept_bytes(const struct store_accept *a)
{
    return a->message.body_bytes + a->n_stuff * sizeof a->stuff[0] + 4096 +
           (uint64_t)a->message.n_recipients * 512;
}

bool store_accept(struct store *s, const struct store_accept *accept, enum store_status *ret_status)
{
    uint64_t bytes = accept_bytes(accept);
    enum store_status status = s->closing ? STORE_E_CLOSED : admit(s, bytes);
    if (status != STORE_OK) {
        *ret_status = status;
        return false;
    }
    struct store_op *op = op_new(OP_ACCEPT, accept->done, accept->user);
    own_accept(&op->accept, accept);
    op->bytes = bytes;
    s->pending_bytes += bytes;
    s->given_bytes += bytes;
    give(s, op);
    return true;
}

void store_update(struct store *s, const struct store_update *update)
{
    struct store_op *op = op_new(OP_UPDATE, update->done, update->user);
    struct store_rcpt_update *list = calloc(update->n_recipients + 1, sizeof list[0]);
    INVARIANT(list != NULL);
    op->update = *update;
    for (uint32_t i = 0; i < update->n_recipients; i++) {
        list[i] = update->recipients[i];
        list[i].last = copy(update->recipients[i].last);
        list[i].event_json = copy(update->recipients[i].event_json);
    }
    op->update.recipients = list;
    if (update->finished_event_json) {
        op->update.finished_event_json = copy(update->finished_event_json);
    }
    if (update->dsn) {
        own_accept(&op->accept, update->dsn);
        op->has_dsn = true;
        op->update.dsn = NULL;
    }
    give(s, op);
}

void store_event(struct store *s, uint64_t message_id, const char *event_json)
{
    struct store_op *op = op_new(OP_EVENT, NULL, NULL);
    op->event_message_id = message_id;
    op->event_json = copy(event_json);
    give(s, op);
}
