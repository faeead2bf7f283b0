/*
 * test_store_crash.c - kill -9 at random moments. A child writes a fixed sequence of operations and
 * tells through a pipe how far it has been acknowledged; whatever the moment of its death, the
 * spool must be in the state after exactly k operations of the sequence, with k no less than that.
 *
 * The sequence, four operations for each m = 0, 1, 2 ...:
 *
 *     4m      message m + 1 is accepted, with two recipients
 *     4m + 1  its recipient 0 is delivered, for message m - 4
 *     4m + 2  recipient 1 bounces, for message m - 7, which is finished; every third with a bounce
 *             message (id: DSN_BASE more)
 *     4m + 3  an event of no message
 */
#include "tests/control_lib/spool.h"
#include "tests/control_lib/tap.h"

#include "tcp/base.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DSN_BASE     UINT64_C(1000000000)
#define FIRST_LATER  5u /* 4m + 1 is about the message of so many m ago */
#define SECOND_LATER 8u
#define OUTSTANDING  64u
#define KILLS        30
#define KILL_MS_MAX  300u

static struct spool spool;

static void setup(void)
{
    spool_make(&spool);
}

static void teardown(void)
{
    spool_remove(&spool);
}

/* ---- the sequence ------------------------------------------------------------------------ */

static size_t body_bytes(uint64_t id)
{
    return 1 + id * 7919 % (id % 10 == 0 ? 200000 : 5000);
}

static bool has_dsn(uint64_t m)
{
    return m % 3 == 0;
}

/* Events that the first k operations leave. */
static uint64_t events_after(uint64_t k)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < k; i++) {
        uint64_t m = i / 4;
        switch (i % 4) {
        case 1:
            n += m >= FIRST_LATER;
            break;
        case 2:
            n += m >= SECOND_LATER ? 2u + has_dsn(m) : 0u;
            break;
        default:
            n++;
            break;
        }
    }
    return n;
}

/* ---- the child --------------------------------------------------------------------------- */

struct child {
    struct store *store;
    int pipe;
    uint32_t outstanding;
    uint64_t acknowledged; /* operations with a callback come in order: a count is enough */
};

static void on_acknowledged(void *user, enum store_status status)
{
    struct child *child = user;
    child->outstanding--;
    child->acknowledged++;
    if (status != STORE_OK ||
        write(child->pipe, &child->acknowledged, sizeof child->acknowledged) != 8) {
        _exit(2);
    }
}

static void give_message(struct child *child, uint64_t id)
{
    struct store_accept accept = *spool_message(id, 2, body_bytes(id));
    enum store_status status;
    accept.done = on_acknowledged;
    accept.user = child;
    child->outstanding++;
    if (!store_accept(child->store, &accept, &status)) {
        _exit(3);
    }
}

static void give_update(struct child *child, uint64_t id, uint32_t index, uint8_t state,
                        bool finished, bool dsn)
{
    struct store_accept bounce = {0};
    const struct store_rcpt_update rcpt = {.index = index,
                                           .state = state,
                                           .attempts = 1,
                                           .last = "{}",
                                           .event_json = "{\"type\":\"outcome\"}"};
    if (dsn) {
        bounce = *spool_message(DSN_BASE + id, 2, body_bytes(DSN_BASE + id));
    }
    const struct store_update update = {
        .message_id = id,
        .recipients = &rcpt,
        .n_recipients = 1,
        .finished = finished,
        .finished_event_json = finished ? "{\"type\":\"finished\"}" : NULL,
        .dsn = dsn ? &bounce : NULL,
        .done = on_acknowledged,
        .user = child,
    };
    child->outstanding++;
    store_update(child->store, &update);
}

static void give_operation(struct child *child, uint64_t i)
{
    uint64_t m = i / 4;
    switch (i % 4) {
    case 0:
        give_message(child, m + 1);
        break;
    case 1:
        if (m >= FIRST_LATER) {
            give_update(child, m + 1 - FIRST_LATER, 0, STORE_RCPT_DELIVERED, false, false);
        }
        break;
    case 2:
        if (m >= SECOND_LATER) {
            give_update(child, m + 1 - SECOND_LATER, 1, STORE_RCPT_BOUNCED, true, has_dsn(m));
        }
        break;
    default:
        store_event(child->store, 0, "{\"type\":\"drain\"}");
        break;
    }
}

static void child_run(int pipe, uint64_t first)
{
    char error[1024];
    struct child child = {.pipe = pipe};
    child.store = store_open(&spool.config, error, sizeof error);
    if (!child.store) {
        _exit(4);
    }
    for (uint64_t i = first;; i++) {
        while (child.outstanding >= OUTSTANDING) {
            struct pollfd fd = {.fd = store_wake_fd(child.store), .events = POLLIN};
            (void)poll(&fd, 1, -1);
            store_poll(child.store);
        }
        if (child.outstanding == 0) {
            spool_free_bodies();
        }
        give_operation(&child, i);
    }
}

/* ---- the judge --------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Runs a child from operation `first` on, kills it after so many ms; how many of its operations
 * with a callback were acknowledged. */
static uint64_t run_and_kill(uint64_t first, int after_ms)
{
    int ends[2], status;
    uint64_t acknowledged = 0, value;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void)close(ends[0]);
        child_run(ends[1], first);
    }
    (void)close(ends[1]);
    for (int64_t end = now_ms() + after_ms, left; (left = end - now_ms()) > 0;) {
        struct pollfd fd = {.fd = ends[0], .events = POLLIN};
        if (poll(&fd, 1, (int)left) == 1 && read(ends[0], &value, sizeof value) == 8) {
            acknowledged = value;
        }
    }
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    while (read(ends[0], &value, sizeof value) == 8) {
        acknowledged = value;
    }
    (void)close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status), "the child ended by itself: %d", WEXITSTATUS(status));
    return acknowledged;
}

/* The first k operations from `first` on of which so many have a callback. */
static uint64_t least_k(uint64_t first, uint64_t acknowledged)
{
    uint64_t k = first;
    for (; acknowledged > 0; k++) {
        uint64_t m = k / 4;
        acknowledged -=
            k % 4 == 0 || (k % 4 == 1 && m >= FIRST_LATER) || (k % 4 == 2 && m >= SECOND_LATER);
    }
    return k;
}

struct expected {
    uint64_t k;
    uint32_t n;
};

static bool on_message(void *user, const struct store_message *message,
                       const struct store_rcpt *recipients)
{
    struct expected *expected = user;
    expected->n++;
    if (message->id < DSN_BASE) {
        bool delivered = 4 * (message->id - 1 + FIRST_LATER) + 1 < expected->k;
        ck_assert_uint_le(4 * (message->id - 1), expected->k - 1);
        ck_assert_uint_eq(recipients[0].state,
                          delivered ? STORE_RCPT_DELIVERED : STORE_RCPT_QUEUED);
        ck_assert_uint_eq(recipients[1].state, STORE_RCPT_QUEUED);
    }
    if (message->id < DSN_BASE || message->id % 20 == 0) {
        spool_check_message(&spool, message->id, 2, body_bytes(message->id));
    }
    return true;
}

static uint32_t messages_after(uint64_t k)
{
    uint32_t n = 0;
    for (uint64_t i = 0; i < k; i++) {
        uint64_t m = i / 4;
        n += i % 4 == 0;
        n -= i % 4 == 2 && m >= SECOND_LATER && !has_dsn(m);
    }
    return n;
}

/* The spool is as after exactly k operations; returns k. */
static uint64_t judge(uint64_t at_least)
{
    uint64_t k = at_least, last = store_last_event(spool.store);
    while (events_after(k) < last) {
        k++;
    }
    ck_assert_uint_eq(events_after(k), last); /* else: less than was acknowledged, or half of one */
    while (events_after(k + 1) == last) {
        k++; /* operations that leave nothing */
    }
    struct expected expected = {.k = k};
    store_each_message(spool.store, 0, on_message, &expected);
    ck_assert_uint_eq(expected.n, messages_after(k));
    return k;
}

START_TEST(kill_9_at_any_moment_loses_nothing_acknowledged_and_leaves_nothing_partial)
{
    uint64_t k = 0;
    srand(20261123);
    for (int i = 0; i < KILLS; i++) {
        uint64_t acknowledged = run_and_kill(k, 1 + (int)((unsigned)rand() % KILL_MS_MAX));
        spool_open(&spool);
        k = judge(least_k(k, acknowledged));
        spool_close(&spool);
        spool_free_bodies();
    }
    ck_assert_uint_gt(k, 100); /* or nothing was tested */
    (void)printf("# %llu operations survived %d kills\n", (unsigned long long)k, KILLS);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("crash");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, kill_9_at_any_moment_loses_nothing_acknowledged_and_leaves_nothing_partial);
    return tap_run("store crash", tc);
}
