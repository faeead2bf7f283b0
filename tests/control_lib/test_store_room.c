/* test_store_room.c - the limits of the spool: the watermark, max_bytes, the map, one transaction.
 */
#include "control/store_private.h"
#include "tests/control_lib/disk.h"
#include "tests/control_lib/spool.h"
#include "tests/control_lib/tap.h"

#include "tcp/base.h"

#include <sys/resource.h>

#define DELIVERED STORE_RCPT_DELIVERED
#define PAGE      4096u

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

static bool is_writable(void)
{
    struct store_stats stats;
    store_stats(spool.store, &stats);
    return stats.writable;
}

START_TEST(below_the_watermark_of_the_file_system_only_outcomes_are_taken)
{
    struct store_stats stats;
    struct outcome_list list = {0};
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 1000), STORE_OK);
    store_stats(spool.store, &stats);
    spool.config.min_free_bytes = stats.free_bytes + (UINT64_C(1) << 40);
    reopen();
    ck_assert(!is_writable());
    ck_assert(!spool_give(&spool, 2, 1, 10, &list));
    ck_assert_int_eq(list.status[0], STORE_E_FULL);
    ck_assert_int_eq(spool_finish(&spool, 1, 0, DELIVERED, true), STORE_OK);
}
END_TEST

START_TEST(at_max_bytes_only_outcomes_are_taken_until_there_is_room_again)
{
    struct store_stats stats;
    uint64_t n = 0;
    spool.config.max_bytes = 8u << 20;
    reopen();
    while (spool_accept(&spool, n + 1, 1, 100000) == STORE_OK) {
        n++;
    }
    ck_assert_uint_gt(n, 60);
    ck_assert_uint_lt(n, 84);
    store_stats(spool.store, &stats);
    ck_assert_uint_le(stats.used_bytes, stats.max_bytes);
    for (uint64_t id = 1; id <= 2; id++) {
        ck_assert_int_eq(spool_finish(&spool, id, 0, DELIVERED, true), STORE_OK);
    }
    ck_assert_int_eq(spool_accept(&spool, 1000, 1, 100000), STORE_OK);
}
END_TEST

START_TEST(what_is_given_before_a_commit_counts_as_used)
{
    static struct outcome_list list;
    uint32_t n = 0;
    list.n = 0;
    spool.config.max_bytes = 8u << 20;
    reopen();
    disk_shut_gate(spool.store);
    while (n < 200 && spool_give(&spool, n + 1, 1, 100000, &list)) {
        n++;
    }
    ck_assert_uint_gt(n, 60);
    ck_assert_uint_lt(n, 84);
    disk_open_gate();
    spool_wait(&spool, &list, n + 1);
    ck_assert_int_eq(list.status[0], STORE_E_FULL); /* refused at once */
    for (uint32_t i = 1; i < list.n; i++) {
        ck_assert_int_eq(list.status[i], STORE_OK);
    }
    ck_assert_uint_eq(spool_count(&spool), n);
}
END_TEST

static uint64_t map_room(void)
{
    MDB_envinfo info;
    ck_assert_int_eq(mdb_env_info(spool.store->env, &info), 0);
    return info.me_mapsize - (info.me_last_pgno + 1) * PAGE;
}

struct step {
    void (*run)(void);
};

/* While somebody reads, no page that was freed since is used again: the map fills up. Here to less
 * than 1.6 MB. */
static bool fill_map(void *user, const struct store_message *message,
                     const struct store_rcpt *recipients)
{
    (void)message;
    (void)recipients;
    for (uint64_t id = 1000; map_room() > 1600000; id++) {
        ck_assert_int_eq(spool_accept(&spool, id, 1, 300000), STORE_OK);
        ck_assert_int_eq(spool_finish(&spool, id, 0, DELIVERED, true), STORE_OK);
        spool_free_bodies();
    }
    ck_assert_uint_gt(map_room(), 1200000); /* or what follows shows nothing */
    ((struct step *)user)->run();
    return false;
}

static void with_full_map(struct step step)
{
    spool.config.max_bytes = 8u << 20; /* and 64 MiB of headroom */
    reopen();
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 10), STORE_OK);
    store_each_message(spool.store, 0, fill_map, &step);
    for (int i = 0; i < 3; i++) { /* nobody reads any more: pages come back */
        ck_assert_int_eq(spool_finish(&spool, 1, 0, STORE_RCPT_QUEUED, false), STORE_OK);
    }
    ck_assert_int_eq(spool_accept(&spool, 5, 1, 1000000), STORE_OK);
    spool_check_message(&spool, 5, 1, 1000000);
}

static void accept_too_much(void)
{
    struct outcome_list list = {0};
    disk_shut_gate(spool.store);
    spool_update(&spool, 1, 0, STORE_RCPT_QUEUED, false, &list);
    ck_assert(spool_give(&spool, 2, 1, 10, &list));
    ck_assert(spool_give(&spool, 3, 1, 3000000, &list));
    ck_assert(spool_give(&spool, 4, 1, 10, &list));
    spool_update(&spool, 1, 0, STORE_RCPT_QUEUED, false, &list);
    disk_open_gate();
    spool_wait(&spool, &list, 5);
    ck_assert_int_eq(list.status[0], STORE_OK);
    ck_assert_int_eq(list.status[1], STORE_OK);
    ck_assert_int_eq(list.status[2], STORE_E_FULL);
    ck_assert_int_eq(list.status[3], STORE_E_FULL); /* not worth a transaction each */
    ck_assert_int_eq(list.status[4], STORE_OK);
    ck_assert_uint_eq(spool_count(&spool), 2);
}

START_TEST(an_accept_for_which_the_map_has_no_room_fails_and_no_outcome_with_it)
{
    with_full_map((struct step){accept_too_much});
}
END_TEST

static void update_too_much(void)
{
    struct outcome_list list = {0};
    struct store_accept dsn = *spool_message(3, 1, 1000000);
    const struct store_update update = {.message_id = 1, .dsn = &dsn};
    disk_shut_gate(spool.store);
    ck_assert(spool_give(&spool, 2, 1, 1000000, &list));
    store_update(spool.store, &update);
    spool_update(&spool, 1, 0, STORE_RCPT_QUEUED, false, &list);
    disk_open_gate();
    spool_wait(&spool, &list, 2);
    ck_assert_int_eq(list.status[0], STORE_E_FULL);
    ck_assert_int_eq(list.status[1], STORE_OK);
    spool_check_message(&spool, 3, 1, 1000000);
    ck_assert_uint_eq(spool_count(&spool), 2);
}

START_TEST(accepts_give_way_to_an_outcome_for_which_there_is_no_room_beside_them)
{
    with_full_map((struct step){update_too_much});
}
END_TEST

static void count_ok(void *user, enum store_status status)
{
    ck_assert_int_eq(status, STORE_OK);
    ++*(uint32_t *)user;
}

/* LMDB keeps what a transaction changes in memory. ASan keeps 256 MiB of what was freed. */
START_TEST(much_at_once_is_written_in_several_transactions)
{
    struct store_accept accept = *spool_message(1, 1, 20000000);
    struct rusage usage;
    enum store_status status;
    uint32_t n = 0;
    accept.done = count_ok;
    accept.user = &n;
    for (uint64_t id = 1; id <= 40; id++) {
        accept.message.id = id;
        ck_assert(store_accept(spool.store, &accept, &status));
    }
    spool_close(&spool);
    ck_assert_uint_eq(n, 40);
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    ck_assert_int_lt(usage.ru_maxrss, 550000); /* KiB */
    spool_open(&spool);
    ck_assert_uint_eq(spool_count(&spool), 40);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("room");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, below_the_watermark_of_the_file_system_only_outcomes_are_taken);
    tcase_add_test(tc, at_max_bytes_only_outcomes_are_taken_until_there_is_room_again);
    tcase_add_test(tc, what_is_given_before_a_commit_counts_as_used);
    tcase_add_test(tc, an_accept_for_which_the_map_has_no_room_fails_and_no_outcome_with_it);
    tcase_add_test(tc, accepts_give_way_to_an_outcome_for_which_there_is_no_room_beside_them);
    tcase_add_test(tc, much_at_once_is_written_in_several_transactions);
    return tap_run("store room", tc);
}
