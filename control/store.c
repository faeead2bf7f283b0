/* store.c - opening, closing, ids, limits and callbacks: see store.h. */
#include "control/store_private.h"

#include "control/ctl_log.h"
#include "tcp/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define FREE_CACHE_MS    100
#define MIN_FREE_DEFAULT (UINT64_C(256) << 20)

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
    s->last_id = s->stored_id = id > last ? id : last;
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

/* Its name in the directory above must last as well; one that cannot be opened was not made by us.
 */
static void sync_parent(const char *path)
{
    char parent[PATH_MAX];
    (void)snprintf(parent, sizeof parent, "%s/..", path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

static bool make_directory(const char *path, char *ret_error, size_t error_bytes)
{
    struct stat st;
    if (mkdir(path, 0700) == 0) {
        sync_parent(path);
    } else if (errno != EEXIST) {
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

static bool not_writable(const struct store *s, char *ret_error, size_t error_bytes)
{
    (void)snprintf(ret_error, error_bytes,
                   "spool %s is not writable: %s; let the daemon's user write there, or name "
                   "another in spool.path",
                   s->path, strerror(errno));
    return false;
}

static bool take_lock(struct store *s, char *ret_error, size_t error_bytes)
{
    char path[PATH_MAX], pid[32];
    (void)snprintf(path, sizeof path, "%s/spool.lock", s->path);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        return not_writable(s, ret_error, error_bytes);
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
        return not_writable(s, ret_error, error_bytes);
    }
    return true;
}

static bool open_env(struct store *s, char *ret_error, size_t error_bytes)
{
    struct statvfs fs;
    int result = store_env_open(s);
    if (result != 0) {
        store_env_explain(s, result, ret_error, error_bytes);
        return false;
    }
    if (s->used_bytes > s->config.max_bytes) {
        ctl_log(CTL_LOG_WARN,
                "the spool holds more than spool.max_mb: nothing is accepted until less is queued",
                "spool=%s bytes=%llu", s->path, (unsigned long long)s->used_bytes);
    }
    s->min_free_bytes = s->config.min_free_bytes;
    if (s->min_free_bytes == 0 && statvfs(s->path, &fs) == 0) {
        uint64_t share = (uint64_t)fs.f_blocks * fs.f_frsize / 20;
        s->min_free_bytes = share < MIN_FREE_DEFAULT ? share : MIN_FREE_DEFAULT;
    }
    s->free_checked_ms = INT64_MIN / 2;
    return true;
}

/* Signals are for the loop thread: none may cut a write short. */
static bool start_writer(struct store *s, char *ret_error, size_t error_bytes)
{
    sigset_t all, before;
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool good = s->wake_fd >= 0 && pthread_create(&s->writer, NULL, store_writer, s) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!good) {
        (void)snprintf(ret_error, error_bytes,
                       "spool: the system refuses a thread or a descriptor: raise the limits of "
                       "the daemon's user (ulimit -u, -n)");
    }
    return good;
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
    (void)pthread_mutex_destroy(&s->env_lock);
    free(s->scratch);
    free(s->path);
    free(s);
}

static struct store *store_new(const struct store_config *config)
{
    struct store *s = calloc(1, sizeof *s);
    pthread_condattr_t monotonic;
    if (!s || !(s->path = strdup(config->path))) {
        free(s);
        return NULL;
    }
    s->config = *config;
    s->config.path = s->path;
    s->lock_fd = s->wake_fd = -1;
    s->waiting_tail = &s->waiting;
    s->done_tail = &s->done;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_mutex_init(&s->env_lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    return s;
}

struct store *store_open(const struct store_config *config, char *ret_error, size_t error_bytes)
{
    struct store *s = store_new(config);
    if (!s) {
        (void)snprintf(ret_error, error_bytes, "spool: out of memory");
        return NULL;
    }
    if (!make_directory(s->path, ret_error, error_bytes) || !take_lock(s, ret_error, error_bytes) ||
        !open_env(s, ret_error, error_bytes) || !read_counters(s, ret_error, error_bytes) ||
        !start_writer(s, ret_error, error_bytes)) {
        destroy(s);
        return NULL;
    }
    return s;
}

static void refuse_waiting(struct store *s)
{
    while (s->waiting) {
        struct store_op *op = s->waiting;
        s->waiting = op->next;
        s->waiting_tail = s->waiting ? s->waiting_tail : &s->waiting;
        if (op->done) {
            op->done(op->user, STORE_E_CLOSED);
        }
        store_op_free(op);
    }
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
    refuse_waiting(s); /* given by those callbacks */
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

enum store_status store_admit(struct store *s, uint64_t bytes)
{
    uint64_t available = free_bytes(s), wanted = s->given_bytes + bytes;
    if (s->closing || s->failing != STORE_OK) {
        return s->closing ? STORE_E_CLOSED : (enum store_status)s->failing;
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
        .writable = store_admit(s, 0) == STORE_OK,
    };
}
