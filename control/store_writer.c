/*
 * store_writer.c - the writer thread: takes what has been given since its last commit, writes it in
 * one transaction, hands it back. See store.h.
 *
 * What follows a failure:
 *
 *   an operation could not be put    the transaction is thrown away and the batch is written again
 *                                    without it; when there was no room, accepts give way, and an
 *                                    outcome fails only when none is left
 *   no room at the commit            the environment is opened anew; the accepts have failed, the
 *                                    rest of the batch is tried once without them
 *   any other failure                the environment is opened anew; all of the batch has failed
 *
 * After a failed commit accepts are refused until a write has succeeded. Outcomes are tried as they
 * come; without any, the writer tries by itself once in STORE_PROBE_MS.
 */
#include "control/store_private.h"

#include "control/ctl_log.h"
#include "tcp/base.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* One transaction. LMDB keeps its changed pages in memory, and the first waits for the last. */
#define BATCH_BYTES (UINT64_C(64) << 20)
#define BATCH_OPS   4096u

#define DISK_FULL_BYTES (1u << 20)

/* ---- failures ---------------------------------------------------------------------------- */

static bool no_room(int error)
{
    return error == MDB_MAP_FULL || error == MDB_TXN_FULL || error == ENOSPC || error == EDQUOT ||
           error == EFBIG;
}

static void fail_op(struct store_op *op, enum store_status status)
{
    op->failed = true;
    op->status = status;
}

/* Accepts from `op` on; true when there were any. */
static bool fail_accepts(struct store_op *op, enum store_status status)
{
    bool any = false;
    for (; op; op = op->next) {
        if (op->kind == OP_ACCEPT && !op->failed) {
            fail_op(op, status);
            any = true;
        }
    }
    return any;
}

static void fail_all(struct store_op *list, enum store_status status)
{
    for (struct store_op *op = list; op; op = op->next) {
        if (!op->failed) {
            fail_op(op, status);
        }
    }
}

static bool anything_left(const struct store_op *list)
{
    while (list && list->failed) {
        list = list->next;
    }
    return list != NULL;
}

/* The operation is to blame, not the disk: nothing was written. */
static void op_refused(struct store *s, struct store_op *list, struct store_op *culprit, int error)
{
    if (!no_room(error)) {
        fail_op(culprit, STORE_E_IO);
        ctl_log(CTL_LOG_ERROR, "a message in the spool cannot be changed",
                "spool=%s id=%016llx error=\"%s\"", s->path,
                (unsigned long long)culprit->update.message_id, mdb_strerror(error));
    } else if (!fail_accepts(culprit->kind == OP_ACCEPT ? culprit : list, STORE_E_FULL)) {
        fail_op(culprit, STORE_E_FULL);
    }
}

/* The last durable state is what the file says. */
static void reopen(struct store *s)
{
    char text[1024];
    (void)pthread_mutex_lock(&s->env_lock);
    store_env_close(s);
    int result = store_env_open(s);
    (void)pthread_mutex_unlock(&s->env_lock);
    if (result != 0) {
        store_env_explain(s, result, text, sizeof text);
        ctl_log(CTL_LOG_ERROR, "the spool cannot be opened again", "reason=\"%s\"", text);
    }
}

/* A write that the disk took only a part of comes back from LMDB as EIO. */
static bool disk_is_full(const struct store *s)
{
    struct statvfs fs;
    return statvfs(s->path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < DISK_FULL_BYTES;
}

static void commit_failed(struct store *s, struct store_op *list, int error)
{
    error = error == EIO && disk_is_full(s) ? ENOSPC : error;
    enum store_status status = no_room(error) ? STORE_E_FULL : STORE_E_IO;
    if (s->failing == STORE_OK) {
        ctl_log(CTL_LOG_ERROR, "the spool could not be written: nothing is accepted until it can",
                "spool=%s error=\"%s\"", s->path, mdb_strerror(error));
    }
    s->failing = (int)status;
    s->failed_ms = store_clock_ms();
    if (!fail_accepts(list, status) || status == STORE_E_IO) {
        fail_all(list, status);
    }
    reopen(s);
}

/* A write that succeeds soon after a failure says little: what failed may just not be in it. */
static void commit_good(struct store *s)
{
    s->durable_seq = s->last_seq;
    if (s->failing != STORE_OK && store_clock_ms() - s->failed_ms >= STORE_PROBE_MS) {
        s->failing = STORE_OK;
        ctl_log(CTL_LOG_INFO, "the spool can be written again", "spool=%s", s->path);
    }
}

/* ---- batches ----------------------------------------------------------------------------- */

/* Errors of LMDB itself are negative, those of the system positive. */
static bool is_refusal(int error, const struct store_op *culprit)
{
    return culprit && error < 0 && error != MDB_PANIC;
}

/* An empty list is the writer's own try. */
static void write_all(struct store *s, struct store_op *list)
{
    const uint64_t seq = s->last_seq;
    if (s->failing != STORE_OK) {
        (void)fail_accepts(list, (enum store_status)s->failing);
    }
    do {
        struct store_op *culprit = NULL;
        int error = store_batch_write(s, list, &culprit);
        if (error == 0) {
            commit_good(s);
            return;
        }
        s->last_seq = seq;
        if (is_refusal(error, culprit)) {
            op_refused(s, list, culprit, error);
        } else {
            commit_failed(s, list, error);
        }
    } while (anything_left(list));
}

static void wait_for_probe(struct store *s)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += STORE_PROBE_MS / 1000;
    (void)pthread_cond_timedwait(&s->wake, &s->lock, &at);
}

/* Cuts a batch off the head of what waits. */
static struct store_op *cut_batch(struct store *s)
{
    struct store_op *list = s->waiting, **end = &list;
    uint64_t bytes = 0;
    for (uint32_t n = 0; *end && n < BATCH_OPS && (n == 0 || bytes + (*end)->bytes <= BATCH_BYTES);
         n++) {
        bytes += (*end)->bytes;
        end = &(*end)->next;
    }
    s->waiting = *end;
    *end = NULL;
    if (!s->waiting) {
        s->waiting_tail = &s->waiting;
    }
    return list;
}

/* Null: the store closes and nothing is left, or nothing came and it is time to try a write. */
static struct store_op *take(struct store *s, bool *ret_over)
{
    (void)pthread_mutex_lock(&s->lock);
    if (!s->waiting && !s->closing && s->failing != STORE_OK) {
        wait_for_probe(s);
    }
    while (!s->waiting && !s->closing && s->failing == STORE_OK) {
        (void)pthread_cond_wait(&s->wake, &s->lock);
    }
    struct store_op *list = s->waiting ? cut_batch(s) : NULL;
    *ret_over = !list && s->closing;
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
    bool over;
    for (;;) {
        struct store_op *list = take(s, &over);
        if (over) {
            return NULL;
        }
        write_all(s, list);
        if (list) {
            hand_back(s, list);
        }
    }
}
