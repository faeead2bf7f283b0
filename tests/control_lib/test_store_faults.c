/* test_store_faults.c - a disk that does not sync, or does not take the write that makes a commit
 * valid. */
#include "tests/control_lib/disk.h"
#include "tests/control_lib/spool.h"
#include "tests/control_lib/tap.h"

#include "tcp/base.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define DELIVERED STORE_RCPT_DELIVERED

static struct spool spool;

static void setup(void)
{
    spool_make(&spool);
    spool_open(&spool);
}

static void teardown(void)
{
    disk_repair();
    spool_remove(&spool);
}

static void reopen(void)
{
    spool_close(&spool);
    spool_open(&spool);
}

static bool is_writable(void)
{
    struct store_stats stats;
    store_stats(spool.store, &stats);
    return stats.writable;
}

/* The writer looks by itself; 20 s at most. */
static void wait_until_writable(void)
{
    for (int i = 0; i < 2000 && !is_writable(); i++) {
        (void)poll(NULL, 0, 10);
    }
    ck_assert(is_writable());
}

START_TEST(every_yes_stands_behind_a_sync)
{
    for (uint64_t id = 1; id <= 5; id++) {
        unsigned before = disk.n_syncs;
        ck_assert_int_eq(spool_accept(&spool, id, 1, 10), STORE_OK);
        ck_assert_uint_gt(disk.n_syncs, before);
    }
}
END_TEST

START_TEST(a_new_spool_has_its_names_on_the_disk_before_anything_is_accepted)
{
    char path[128];
    const char *dir = spool.config.path;
    (void)snprintf(path, sizeof path, "%s/new", dir);
    spool_close(&spool);
    disk.n_directory_syncs = 0;
    spool.config.path = path;
    spool_open(&spool);
    ck_assert_uint_ge(disk.n_directory_syncs, 2); /* of its files, and the one above */
    spool_close(&spool);
    spool.config.path = dir;
    static const char *const files[] = {"data.mdb", "lock.mdb", "spool.lock"};
    for (size_t i = 0; i < 3; i++) {
        char file[256];
        (void)snprintf(file, sizeof file, "%s/%s", path, files[i]);
        ck_assert_int_eq(unlink(file), 0);
    }
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

static bool count_event(void *user, uint64_t seq, uint64_t message_id, const char *json, size_t len)
{
    (void)seq;
    (void)message_id;
    (void)json;
    (void)len;
    ++*(uint32_t *)user;
    return true;
}

START_TEST(nothing_of_a_commit_that_was_not_synced_is_there)
{
    struct outcome_list list = {0};
    uint32_t n_events = 0;
    ck_assert_int_eq(spool_accept(&spool, 1, 2, 1000), STORE_OK);
    disk_shut_gate(spool.store);
    ck_assert(spool_give(&spool, 2, 1, 1000, &list));
    spool_update(&spool, 1, 0, DELIVERED, false, &list);
    store_event(spool.store, 0, "{}");
    store_on_event(spool.store, count_event, &n_events);
    disk.sync_error = EIO;
    disk_open_gate(); /* the event before them fails too */
    spool_wait(&spool, &list, 2);
    ck_assert_uint_eq(n_events, 0);
    ck_assert_int_eq(list.status[0], STORE_E_IO);
    ck_assert_int_eq(list.status[1], STORE_E_IO);
    ck_assert_uint_eq(spool_count(&spool), 1); /* it is read all the same */
    ck_assert_uint_eq(store_last_event(spool.store), 1);
    disk.sync_error = 0;
    reopen();
    ck_assert_uint_eq(spool_count(&spool), 1);
    spool_check_message(&spool, 1, 2, 1000);
    ck_assert_uint_eq(store_last_event(spool.store), 1);
}
END_TEST

START_TEST(one_failed_sync_fails_all_of_its_batch_and_nothing_before_it)
{
    struct outcome_list list = {0};
    ck_assert_int_eq(spool_accept(&spool, 1, 2, 1000), STORE_OK);
    disk_shut_gate(spool.store);
    ck_assert(spool_give(&spool, 2, 1, 1000, &list));
    spool_update(&spool, 1, 0, DELIVERED, true, &list);
    disk.n_good = 1; /* the one that waits, of the event */
    disk.once = true;
    disk.sync_error = EIO;
    disk_open_gate();
    spool_wait(&spool, &list, 2);
    ck_assert_int_eq(list.status[0], STORE_E_IO);
    ck_assert_int_eq(list.status[1], STORE_E_IO);
    reopen();
    ck_assert_uint_eq(store_last_event(spool.store), 2);
    ck_assert_uint_eq(spool_count(&spool), 1);
    spool_check_message(&spool, 1, 2, 1000);
}
END_TEST

START_TEST(an_accept_that_waited_behind_a_failure_is_refused_and_an_outcome_is_tried)
{
    struct outcome_list list = {0};
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 1000), STORE_OK);
    disk_shut_gate(spool.store);
    ck_assert(spool_give(&spool, 2, 1, 1000, &list));
    spool_update(&spool, 1, 0, DELIVERED, true, &list);
    disk.once = true;
    disk.sync_error = EIO;
    disk_open_gate();
    spool_wait(&spool, &list, 2);
    ck_assert_int_eq(list.status[0], STORE_E_IO);
    ck_assert_int_eq(list.status[1], STORE_OK);
    ck_assert_uint_eq(spool_count(&spool), 0);
}
END_TEST

/* LMDB gives up an environment of which it could not write the head: only a new one helps. */
START_TEST(after_a_failed_write_of_the_head_the_store_recovers)
{
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 1000), STORE_OK);
    disk.head_fails = true;
    ck_assert_int_eq(spool_finish(&spool, 1, 0, DELIVERED, true), STORE_E_IO);
    disk.head_fails = false;
    spool_check_message(&spool, 1, 1, 1000);
    ck_assert_int_eq(spool_finish(&spool, 1, 0, DELIVERED, true), STORE_OK);
    wait_until_writable();
    ck_assert_int_eq(spool_accept(&spool, 2, 1, 1000), STORE_OK);
    reopen();
    ck_assert_uint_eq(spool_count(&spool), 1);
    spool_check_message(&spool, 2, 1, 1000);
}
END_TEST

START_TEST(accepts_are_refused_until_a_write_succeeds_and_outcomes_are_tried)
{
    struct outcome_list list = {0};
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 1000), STORE_OK);
    disk.sync_error = EIO;
    ck_assert_int_eq(spool_accept(&spool, 2, 1, 1000), STORE_E_IO);
    ck_assert(!is_writable());
    ck_assert(!spool_give(&spool, 3, 1, 1000, &list));
    ck_assert_int_eq(list.status[0], STORE_E_IO);
    ck_assert_int_eq(spool_finish(&spool, 1, 0, DELIVERED, true), STORE_E_IO);
    ck_assert_int_eq(spool_finish(&spool, 1, 0, DELIVERED, true), STORE_E_IO);
    ck_assert_uint_eq(spool_count(&spool), 1);
    disk.sync_error = 0;
    ck_assert_int_eq(spool_finish(&spool, 1, 0, DELIVERED, true), STORE_OK);
    ck_assert_uint_eq(spool_count(&spool), 0);
    wait_until_writable();
    ck_assert_int_eq(spool_accept(&spool, 4, 1, 1000), STORE_OK);
    reopen();
    ck_assert_uint_eq(spool_count(&spool), 1);
    spool_check_message(&spool, 4, 1, 1000);
    ck_assert_uint_eq(store_last_event(spool.store),
                      4); /* accepted, deferred, finished, accepted */
}
END_TEST

START_TEST(the_store_finds_out_by_itself_that_it_can_write_again)
{
    disk.sync_error = EIO;
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 1000), STORE_E_IO);
    unsigned before = disk.n_syncs;
    (void)poll(NULL, 0, 300);
    ck_assert_uint_le(disk.n_syncs - before, 2); /* it looks now and then, not all the time */
    disk.sync_error = 0;
    wait_until_writable();
    ck_assert_int_eq(spool_accept(&spool, 2, 1, 1000), STORE_OK);
}
END_TEST

START_TEST(closing_a_store_that_cannot_write_ends)
{
    struct outcome_list list = {0};
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 1000), STORE_OK);
    disk.sync_error = EIO;
    spool_update(&spool, 1, 0, DELIVERED, true, &list);
    spool_close(&spool);
    ck_assert_uint_eq(list.n, 1);
    ck_assert_int_eq(list.status[0], STORE_E_IO);
    disk.sync_error = 0;
    spool_open(&spool);
    spool_check_message(&spool, 1, 1, 1000);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("faults");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, every_yes_stands_behind_a_sync);
    tcase_add_test(tc, a_new_spool_has_its_names_on_the_disk_before_anything_is_accepted);
    tcase_add_test(tc, nothing_of_a_commit_that_was_not_synced_is_there);
    tcase_add_test(tc, one_failed_sync_fails_all_of_its_batch_and_nothing_before_it);
    tcase_add_test(tc, an_accept_that_waited_behind_a_failure_is_refused_and_an_outcome_is_tried);
    tcase_add_test(tc, after_a_failed_write_of_the_head_the_store_recovers);
    tcase_add_test(tc, accepts_are_refused_until_a_write_succeeds_and_outcomes_are_tried);
    tcase_add_test(tc, the_store_finds_out_by_itself_that_it_can_write_again);
    tcase_add_test(tc, closing_a_store_that_cannot_write_ends);
    return tap_run("store faults", tc);
}
