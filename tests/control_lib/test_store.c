/* test_store.c - the store as its callers see it: store.h. */
#include "tests/control_lib/spool.h"
#include "tests/control_lib/tap.h"

#include "tcp/base.h"

#define QUEUED    STORE_RCPT_QUEUED
#define DELIVERED STORE_RCPT_DELIVERED
#define BOUNCED   STORE_RCPT_BOUNCED

static struct spool spool;

static void setup(void)
{
    spool_make(&spool);
    spool_open(&spool);
}

static void teardown(void)
{
    spool_remove(&spool);
}

static void reopen(void)
{
    spool_close(&spool);
    spool_open(&spool);
}

/* ---- messages ---------------------------------------------------------------------------- */

START_TEST(what_was_accepted_is_there_after_a_restart)
{
    static const struct {
        uint32_t n;
        size_t body_bytes;
    } rows[] = {{1, 1}, {1, 100}, {3, 5000}, {100, 70000}, {256, 3000000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_int_eq(spool_accept(&spool, 100 + i, rows[i].n, rows[i].body_bytes), STORE_OK);
        spool_check_message(&spool, 100 + i, rows[i].n, rows[i].body_bytes);
    }
    reopen();
    ck_assert_uint_eq(spool_count(&spool), sizeof rows / sizeof rows[0]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        spool_check_message(&spool, 100 + i, rows[i].n, rows[i].body_bytes);
    }
}
END_TEST

struct seen {
    struct store_message message;
    uint8_t state[8];
    uint32_t attempts[8];
    int64_t next_try_ms[8];
    char last[8][64];
};

static bool on_seen(void *user, const struct store_message *message,
                    const struct store_rcpt *recipients)
{
    struct seen *seen = user;
    seen->message = *message;
    for (uint32_t i = 0; i < message->n_recipients; i++) {
        seen->state[i] = recipients[i].state;
        seen->attempts[i] = recipients[i].attempts;
        seen->next_try_ms[i] = recipients[i].next_try_ms;
        (void)snprintf(seen->last[i], sizeof seen->last[i], "%s", recipients[i].last);
    }
    return true;
}

START_TEST(an_update_changes_its_recipient_and_no_other)
{
    struct seen seen;
    ck_assert_int_eq(spool_accept(&spool, 7, 3, 100), STORE_OK);
    ck_assert_int_eq(spool_finish(&spool, 7, 1, BOUNCED, false), STORE_OK);
    reopen();
    ck_assert(store_show(spool.store, 7, on_seen, &seen));
    ck_assert_uint_eq(seen.state[0], QUEUED);
    ck_assert_uint_eq(seen.state[1], BOUNCED);
    ck_assert_uint_eq(seen.state[2], QUEUED);
    ck_assert_uint_eq(seen.attempts[0], 0);
    ck_assert_uint_eq(seen.attempts[1], 1);
    ck_assert_int_eq(seen.next_try_ms[1], 42);
    ck_assert_int_eq(seen.next_try_ms[2], 2);
    ck_assert_str_eq(seen.last[1], "{\"kind\":\"deferred\"}");
    ck_assert_str_eq(seen.last[2], "");
    spool_check_message(&spool, 7, 3, 100);
}
END_TEST

START_TEST(a_finished_message_leaves_nothing_but_its_events)
{
    struct store_stats before, after;
    struct store_body body = {0};
    struct seen seen;
    store_stats(spool.store, &before);
    ck_assert_int_eq(spool_accept(&spool, 7, 2, 100000), STORE_OK);
    ck_assert_int_eq(spool_finish(&spool, 7, 0, DELIVERED, false), STORE_OK);
    ck_assert_int_eq(spool_finish(&spool, 7, 1, BOUNCED, true), STORE_OK);
    ck_assert(!store_show(spool.store, 7, on_seen, &seen));
    ck_assert(!store_body_read(spool.store, 7, &body));
    ck_assert_uint_eq(spool_count(&spool), 0);
    store_stats(spool.store, &after);
    ck_assert_uint_eq(after.messages, 0);
    ck_assert_uint_le(after.used_bytes, before.used_bytes + 8 * 4096);
    ck_assert_uint_eq(store_last_event(spool.store), 4);
}
END_TEST

START_TEST(callbacks_come_in_the_order_in_which_operations_were_given)
{
    static struct outcome_list list;
    list.n = 0;
    for (uint64_t id = 1; id <= 500; id++) {
        ck_assert(spool_give(&spool, id, 1, 50, &list));
        if (id % 5 == 0) {
            spool_update(&spool, id, 0, DELIVERED, true, &list);
        }
    }
    spool_wait(&spool, &list, 600);
    for (uint32_t i = 0; i < list.n; i++) {
        ck_assert_int_eq(list.status[i], STORE_OK);
        ck_assert_uint_eq(list.order[i], list.order[0] + i);
    }
    ck_assert_uint_eq(spool_count(&spool), 400);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("store");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_was_accepted_is_there_after_a_restart);
    tcase_add_test(tc, an_update_changes_its_recipient_and_no_other);
    tcase_add_test(tc, a_finished_message_leaves_nothing_but_its_events);
    tcase_add_test(tc, callbacks_come_in_the_order_in_which_operations_were_given);
    return tap_run("store", tc);
}
