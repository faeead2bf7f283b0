/*
 * store_env.c - the LMDB environment of the store: opened, looked over, measured, closed.
 *
 * LMDB with both of its syncs (no MDB_NOSYNC, MDB_NOMETASYNC or MDB_WRITEMAP): data is written and
 * synced before the page that makes it valid, so that the file holds the last commit whenever the
 * machine stops. MDB_NOTLS, because reads on the loop thread nest.
 */
#include "control/store_private.h"

#include "control/ctl_log.h"
#include "tcp/base.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FREE_DBI     0                    /* LMDB keeps its list of free pages there */
#define HEADROOM_MIN (UINT64_C(64) << 20) /* of the map, for outcomes when accepts are refused */

static const char *const db_names[STORE_DBS] = {
    [DB_MESSAGE] = "message", [DB_RCPT] = "rcpt",   [DB_BODY] = "body",
    [DB_PREFIX] = "prefix",   [DB_EVENT] = "event", [DB_EVENT_BY_MESSAGE] = "event_by_message",
    [DB_NOTE] = "note",       [DB_META] = "meta",
};

/* ---- whole? ------------------------------------------------------------------------------ */

/* One record of that list: how many pages it has, then their numbers. */
static uint64_t count_from(const MDB_val *record, uint64_t first)
{
    uint64_t n = 0;
    size_t page;
    for (size_t at = sizeof page; at + sizeof page <= record->mv_size; at += sizeof page) {
        memcpy(&page, (const uint8_t *)record->mv_data + at, sizeof page);
        n += page >= first;
    }
    return n;
}

/* How many pages from `first` on are free: nobody has written them, nobody reads them. */
static uint64_t free_pages_from(MDB_env *env, uint64_t first)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t n = 0;
    if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0) {
        return 0;
    }
    if (mdb_cursor_open(txn, FREE_DBI, &cursor) == 0) {
        while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
            n += count_from(&value, first);
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return n;
}

/* A file that was cut short would end us with SIGBUS at the first read of what is missing. It may
 * be short by right: pages at its end that a transaction took and gave back were never written. To
 * find out, the list of free pages is read with the file made as long as it should be; a lost page
 * reads as zeros then, which LMDB refuses. */
static bool is_whole(MDB_env *env)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    mdb_filehandle_t fd;
    if (mdb_env_info(env, &info) != 0 || mdb_env_stat(env, &stat) != 0 ||
        mdb_env_get_fd(env, &fd) != 0 || fstat(fd, &file) != 0) {
        return false;
    }
    uint64_t pages = info.me_last_pgno + 1, there = (uint64_t)file.st_size / stat.ms_psize;
    if (there >= pages) {
        return true;
    }
    if (ftruncate(fd, (off_t)(pages * stat.ms_psize)) != 0) {
        return false;
    }
    bool whole = free_pages_from(env, there) == pages - there;
    return (ftruncate(fd, file.st_size) == 0) && whole;
}

/* ---- open, close ------------------------------------------------------------------------- */

static int open_databases(struct store *s)
{
    MDB_txn *txn;
    int result = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (result != 0) {
        return result;
    }
    for (int i = 0; result == 0 && i < STORE_DBS; i++) {
        result = mdb_dbi_open(txn, db_names[i], MDB_CREATE, &s->dbi[i]);
    }
    if (result != 0) {
        mdb_txn_abort(txn);
        return result;
    }
    store_env_measure(s, txn);
    return mdb_txn_commit(txn);
}

/* max_bytes may have been lowered below what is there: that must be able to drain. */
static int make_headroom(struct store *s, uint64_t headroom)
{
    MDB_envinfo info;
    MDB_stat stat;
    (void)mdb_env_info(s->env, &info);
    (void)mdb_env_stat(s->env, &stat);
    if (s->used_bytes + headroom <= info.me_mapsize) {
        return 0;
    }
    return mdb_env_set_mapsize(s->env, (info.me_last_pgno + 1) * stat.ms_psize + headroom);
}

/* A new file is safe only when its name is (fsync(2)). */
static int sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int result = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    return result;
}

int store_env_open(struct store *s)
{
    uint64_t headroom = s->config.max_bytes / 8;
    headroom = headroom > HEADROOM_MIN ? headroom : HEADROOM_MIN;
    int result = mdb_env_create(&s->env);
    if (result != 0) {
        s->env = NULL;
        return result;
    }
    (void)mdb_env_set_maxdbs(s->env, STORE_DBS);
    (void)mdb_env_set_mapsize(s->env, s->config.max_bytes + headroom);
    result = mdb_env_open(s->env, s->path, MDB_NOTLS, 0600);
    if (result == 0) {
        result = is_whole(s->env) ? open_databases(s) : MDB_CORRUPTED;
    }
    result = result ? result : make_headroom(s, headroom);
    result = result ? result : sync_directory(s->path);
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

/* ---- words and numbers ------------------------------------------------------------------- */

void store_env_explain(const struct store *s, int error, char *ret_text, size_t text_bytes)
{
    const char *remedy = "see the system's log";
    switch (error) {
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
        remedy = "data.mdb is damaged or cut short; put back a copy of it, or move it away to "
                 "begin with an empty queue";
        break;
    case MDB_VERSION_MISMATCH:
        remedy = "data.mdb was written with another version of LMDB; use that one until the queue "
                 "is empty, or move the file away to begin with an empty queue";
        break;
    case ENOMEM:
        remedy = "there is not enough address space for spool.max_mb; lower it";
        break;
    case EACCES:
    case EPERM:
        remedy = "let the daemon's user read and write data.mdb and lock.mdb in it";
        break;
    case EROFS:
        remedy = "mount the file system for writing, or name another directory in spool.path";
        break;
    case ENOSPC:
    case EDQUOT:
        remedy = "make room in its file system";
        break;
    default:
        break;
    }
    (void)snprintf(ret_text, text_bytes, "spool %s cannot be opened: %s: %s", s->path,
                   mdb_strerror(error), remedy);
}

/* What is really in use: the pages of all databases. */
void store_env_measure(struct store *s, MDB_txn *txn)
{
    uint64_t bytes = 0;
    for (int i = 0; i < STORE_DBS; i++) {
        MDB_stat stat;
        if (mdb_stat(txn, s->dbi[i], &stat) == 0) {
            bytes += (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
                     (uint64_t)stat.ms_psize;
            if (i == DB_MESSAGE) {
                s->messages = stat.ms_entries;
            }
        }
    }
    s->used_bytes = bytes;
}
