/*
 * test_store_faults.c - a disk that does not sync, a full map, damaged records.
 *
 * fdatasync(), which LMDB calls before it makes a commit valid, is this program's own and fails
 * when told to.
 */
#include "control/store_private.h"
#include "tests/control_lib/spool.h"
#include "tests/control_lib/tap.h"

#include "tcp/base.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DELIVERED STORE_RCPT_DELIVERED
#define PAGE      4096u

static struct spool spool;
static atomic_int sync_error;  /* errno of the next syncs; 0: they work */
static atomic_bool once;       /* only one of them fails */
static atomic_uint n_good;     /* so many work before */
static atomic_bool head_fails; /* the write of less than a page does */
static atomic_uint n_syncs, n_directory_syncs;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

int fdatasync(int fd)
{
    n_syncs++;
    (void)pthread_mutex_lock(&gate);
    int error = n_good > 0 ? 0 : sync_error;
    if (n_good > 0) {
        n_good--;
    } else if (once) {
        sync_error = 0;
    }
    (void)pthread_mutex_unlock(&gate);
    errno = error;
    return error ? -1 : (int)syscall(SYS_fdatasync, fd);
}

/* By its name in the C library, which the headers may change. */
ssize_t own_pwrite(int fd, const void *data, size_t bytes, off_t offset) __asm__("pwrite");

ssize_t own_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    if (head_fails && bytes < PAGE) {
        errno = EIO;
        return -1;
    }
    return (ssize_t)syscall(SYS_pwrite64, fd, data, bytes, offset);
}

/* The store itself calls it, on directories. */
int fsync(int fd)
{
    struct stat st;
    n_directory_syncs += fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    return (int)syscall(SYS_fsync, fd);
}

static void setup(void)
{
    spool_make(&spool);
    spool_open(&spool);
    sync_error = 0;
    n_good = 0;
    once = head_fails = false;
}

static void teardown(void)
{
    sync_error = 0;
    head_fails = false;
    spool_remove(&spool);
}

static void reopen(void)
{
    spool_close(&spool);
    spool_open(&spool);
}

/* The writer is in the sync of an event; what is given now is its next batch. */
static void shut_gate(void)
{
    unsigned before = n_syncs;
    (void)pthread_mutex_lock(&gate);
    store_event(spool.store, 0, "{}");
    while (n_syncs == before) {
        (void)poll(NULL, 0, 1);
    }
}

static void open_gate(void)
{
    (void)pthread_mutex_unlock(&gate);
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

/* ---- a disk that does not sync ----------------------------------------------------------- */

START_TEST(every_yes_stands_behind_a_sync)
{
    for (uint64_t id = 1; id <= 5; id++) {
        unsigned before = n_syncs;
        ck_assert_int_eq(spool_accept(&spool, id, 1, 10), STORE_OK);
        ck_assert_uint_gt(n_syncs, before);
    }
}
END_TEST

START_TEST(a_new_spool_has_its_names_on_the_disk_before_anything_is_accepted)
{
    char path[128];
    const char *dir = spool.config.path;
    (void)snprintf(path, sizeof path, "%s/new", dir);
    spool_close(&spool);
    n_directory_syncs = 0;
    spool.config.path = path;
    spool_open(&spool);
    ck_assert_uint_ge(n_directory_syncs, 2); /* that of its files, and the one that it stands in */
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

START_TEST(nothing_of_a_commit_that_was_not_synced_is_there)
{
    struct outcome_list list = {0};
    ck_assert_int_eq(spool_accept(&spool, 1, 2, 1000), STORE_OK);
    shut_gate();
    ck_assert(spool_give(&spool, 2, 1, 1000, &list));
    spool_update(&spool, 1, 0, DELIVERED, false, &list);
    store_event(spool.store, 0, "{}");
    sync_error = EIO;
    open_gate(); /* the event before them fails too */
    spool_wait(&spool, &list, 2);
    ck_assert_int_eq(list.status[0], STORE_E_IO);
    ck_assert_int_eq(list.status[1], STORE_E_IO);
    ck_assert_uint_eq(spool_count(&spool), 1); /* it is read all the same */
    ck_assert_uint_eq(store_last_event(spool.store), 1);
    sync_error = 0;
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
    shut_gate();
    ck_assert(spool_give(&spool, 2, 1, 1000, &list));
    spool_update(&spool, 1, 0, DELIVERED, true, &list);
    n_good = 1; /* the one that waits, of the event */
    once = true;
    sync_error = EIO;
    open_gate();
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
    shut_gate();
    ck_assert(spool_give(&spool, 2, 1, 1000, &list));
    spool_update(&spool, 1, 0, DELIVERED, true, &list);
    once = true;
    sync_error = EIO;
    open_gate();
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
    head_fails = true;
    ck_assert_int_eq(spool_finish(&spool, 1, 0, DELIVERED, true), STORE_E_IO);
    head_fails = false;
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
    sync_error = EIO;
    ck_assert_int_eq(spool_accept(&spool, 2, 1, 1000), STORE_E_IO);
    ck_assert(!is_writable());
    ck_assert(!spool_give(&spool, 3, 1, 1000, &list));
    ck_assert_int_eq(list.status[0], STORE_E_IO);
    ck_assert_int_eq(spool_finish(&spool, 1, 0, DELIVERED, true), STORE_E_IO);
    ck_assert_int_eq(spool_finish(&spool, 1, 0, DELIVERED, true), STORE_E_IO);
    ck_assert_uint_eq(spool_count(&spool), 1);
    sync_error = 0;
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
    sync_error = EIO;
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 1000), STORE_E_IO);
    unsigned before = n_syncs;
    (void)poll(NULL, 0, 300);
    ck_assert_uint_le(n_syncs - before, 2); /* it looks now and then, not all the time */
    sync_error = 0;
    wait_until_writable();
    ck_assert_int_eq(spool_accept(&spool, 2, 1, 1000), STORE_OK);
}
END_TEST

START_TEST(closing_a_store_that_cannot_write_ends)
{
    struct outcome_list list = {0};
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 1000), STORE_OK);
    sync_error = EIO;
    spool_update(&spool, 1, 0, DELIVERED, true, &list);
    spool_close(&spool);
    ck_assert_uint_eq(list.n, 1);
    ck_assert_int_eq(list.status[0], STORE_E_IO);
    sync_error = 0;
    spool_open(&spool);
    spool_check_message(&spool, 1, 1, 1000);
}
END_TEST

/* ---- no room ----------------------------------------------------------------------------- */

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
    while (spool_give(&spool, n + 1, 1, 100000, &list)) {
        n++;
    }
    spool_wait(&spool, &list, n + 1);
    for (uint32_t i = 0, full = 0; i < list.n; i++) {
        full += list.status[i] != STORE_OK;
        ck_assert_uint_le(full, 1);
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
    shut_gate();
    spool_update(&spool, 1, 0, STORE_RCPT_QUEUED, false, &list);
    ck_assert(spool_give(&spool, 2, 1, 10, &list));
    ck_assert(spool_give(&spool, 3, 1, 3000000, &list));
    ck_assert(spool_give(&spool, 4, 1, 10, &list));
    spool_update(&spool, 1, 0, STORE_RCPT_QUEUED, false, &list);
    open_gate();
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
    shut_gate();
    ck_assert(spool_give(&spool, 2, 1, 1000000, &list));
    store_update(spool.store, &update);
    spool_update(&spool, 1, 0, STORE_RCPT_QUEUED, false, &list);
    open_gate();
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

/* ---- damage ------------------------------------------------------------------------------ */

static void put_raw(const char *db, const uint8_t *key, size_t key_len, const void *data,
                    size_t bytes)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = {key_len, (void *)(uintptr_t)key}, v = {bytes, (void *)(uintptr_t)data};
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_set_mapsize(env, spool.config.max_bytes), 0);
    ck_assert_int_eq(mdb_env_open(env, spool.dir, MDB_NOTLS, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, db, 0, &dbi), 0);
    ck_assert_int_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static const uint8_t id_2[8] = {0, 0, 0, 0, 0, 0, 0, 2};

static bool on_any(void *user, const struct store_message *message,
                   const struct store_rcpt *recipients)
{
    (void)user;
    (void)message;
    (void)recipients;
    return true;
}

START_TEST(a_damaged_record_costs_its_message_only_and_can_be_deleted)
{
    static const struct {
        const char *db;
        uint8_t key[12];
        size_t key_len, bytes;
    } rows[] = {
        {"message", {0, 0, 0, 0, 0, 0, 0, 2}, 8, 0},
        {"message", {0, 0, 0, 0, 0, 0, 0, 2}, 8, 60},
        {"rcpt", {0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0}, 12, 0},
        {"rcpt", {0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1}, 12, 40},
    };
    static const uint8_t junk[64] = {1, 0, 0, 0, 0, 0, 0, 0, 2, 255, 255, 255, 255};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct outcome_list list = {0};
        for (uint64_t id = 1; id <= 3; id++) {
            ck_assert_int_eq(spool_accept(&spool, id, 2, 1000), STORE_OK);
        }
        spool_close(&spool);
        put_raw(rows[i].db, rows[i].key, rows[i].key_len, junk, rows[i].bytes);
        spool_open(&spool);
        ck_assert_uint_eq(spool_count(&spool), 2);
        ck_assert(!store_show(spool.store, 2, on_any, NULL));
        spool_check_message(&spool, 3, 2, 1000);
        spool_update(&spool, 1, 0, DELIVERED, false, &list);
        spool_update(&spool, 2, rows[i].key[11], DELIVERED, false, &list);
        spool_update(&spool, 3, 0, DELIVERED, false, &list);
        spool_wait(&spool, &list, 3);
        ck_assert_int_eq(list.status[0], STORE_OK);
        ck_assert_int_eq(list.status[1], rows[i].key_len == 12 ? STORE_E_IO : STORE_OK);
        ck_assert_int_eq(list.status[2], STORE_OK);
        for (uint64_t id = 1; id <= 3; id++) { /* index 9: no such recipient */
            ck_assert_int_eq(spool_finish(&spool, id, 9, DELIVERED, true), STORE_OK);
        }
    }
}
END_TEST

START_TEST(a_damaged_body_is_gone_and_not_read_beyond_its_end)
{
    static const uint8_t rows[][16] = {{0}, {255, 255, 255, 255}, {3, 0, 0, 0}};
    static const size_t bytes[] = {7, 16, 16};
    ck_assert_int_eq(spool_accept(&spool, 2, 1, 1000), STORE_OK);
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        struct store_body body = {0};
        spool_close(&spool);
        put_raw("body", id_2, sizeof id_2, rows[i], bytes[i]);
        spool_open(&spool);
        ck_assert(!store_body_read(spool.store, 2, &body));
    }
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
    tcase_add_test(tc, below_the_watermark_of_the_file_system_only_outcomes_are_taken);
    tcase_add_test(tc, at_max_bytes_only_outcomes_are_taken_until_there_is_room_again);
    tcase_add_test(tc, what_is_given_before_a_commit_counts_as_used);
    tcase_add_test(tc, an_accept_for_which_the_map_has_no_room_fails_and_no_outcome_with_it);
    tcase_add_test(tc, accepts_give_way_to_an_outcome_for_which_there_is_no_room_beside_them);
    tcase_add_test(tc, much_at_once_is_written_in_several_transactions);
    tcase_add_test(tc, a_damaged_record_costs_its_message_only_and_can_be_deleted);
    tcase_add_test(tc, a_damaged_body_is_gone_and_not_read_beyond_its_end);
    return tap_run("store faults", tc);
}
