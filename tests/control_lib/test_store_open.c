/* test_store_open.c - when the spool does not open, a sentence says why and what to do; when it can
 * be opened, it is. */
#include "tests/control_lib/spool.h"
#include "tests/control_lib/tap.h"

#include "tcp/base.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u

static struct spool spool;

static void setup(void)
{
    spool_make(&spool);
}

static void teardown(void)
{
    spool_remove(&spool);
}

static const char *file(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", spool.dir, name);
    return path;
}

static void expect(const char *part, const char *path)
{
    const char *error = spool_refused(&spool);
    ck_assert_msg(strstr(error, part) && strstr(error, path), "\"%s\" is not in: %s", part, error);
}

/* A spool with a few messages in it, closed. */
static void fill(void)
{
    spool_open(&spool);
    for (uint64_t id = 1; id <= 50; id++) {
        ck_assert_int_eq(spool_accept(&spool, id, 2, 30000), STORE_OK);
    }
    spool_close(&spool);
}

START_TEST(a_directory_that_is_missing_is_made_for_its_owner_only)
{
    struct stat st;
    ck_assert_int_eq(rmdir(spool.dir), 0);
    spool_open(&spool);
    ck_assert_int_eq(stat(spool.dir, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0700);
}
END_TEST

START_TEST(a_missing_parent_and_a_file_in_its_place_are_named)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/no/spool", spool.dir);
    spool.config.path = path;
    expect("make its parent directory", path);
    (void)snprintf(path, sizeof path, "%s/file", spool.dir);
    ck_assert_int_ge(close(open(path, O_CREAT | O_RDWR, 0600)), 0);
    expect("is not a directory", path);
}
END_TEST

START_TEST(a_directory_without_rights_is_named)
{
    pid_t child = fork();
    if (child == 0) { /* root may write anywhere */
        char error[1024] = "";
        bool good = (getuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0)) &&
                    chmod(spool.dir, 0) <= 0 && !store_open(&spool.config, error, sizeof error) &&
                    strstr(error, "is not writable") && strstr(error, spool.dir);
        _exit(good ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_second_opener_is_refused_with_the_pid_of_the_first)
{
    char pid[32];
    spool_open(&spool);
    (void)snprintf(pid, sizeof pid, "pid %ld:", (long)getpid());
    expect(pid, spool.dir);
    pid_t child = fork();
    if (child == 0) {
        char error[1024] = "";
        _exit(!store_open(&spool.config, error, sizeof error) && strstr(error, pid) ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 10), STORE_OK);
    spool_close(&spool);
    spool_open(&spool);
}
END_TEST

START_TEST(a_lock_file_of_a_process_that_was_killed_locks_nobody_out)
{
    int fd = open(file("spool.lock"), O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(write(fd, "4711\n", 5), 5);
    ck_assert_int_eq(close(fd), 0);
    spool_open(&spool);
}
END_TEST

START_TEST(a_file_cut_short_is_refused_wherever_it_is_cut)
{
    struct stat st;
    fill();
    ck_assert_int_eq(stat(file("data.mdb"), &st), 0);
    static const unsigned rows[] = {1, 2, 10, 50, 100};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        off_t size = st.st_size - (off_t)rows[i] * PAGE;
        ck_assert_int_eq(truncate(file("data.mdb"), size), 0);
        expect("put back a copy of it", spool.dir);
        struct stat now;
        ck_assert_int_eq(stat(file("data.mdb"), &now), 0);
        ck_assert_int_eq(now.st_size, size); /* looking at it changes nothing */
    }
    ck_assert_int_eq(truncate(file("data.mdb"), 100), 0);
    expect("put back a copy of it", spool.dir);
    ck_assert_int_eq(truncate(file("data.mdb"), 0), 0);
    spool_open(&spool); /* as after a crash before the first write */
}
END_TEST

/* Takes many pages at the end of the file and gives them back in the same transaction. */
static void lengthen(MDB_env *env, size_t bytes)
{
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = {8, (void *)(uintptr_t) "12345678"}, value = {bytes, NULL};
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, "body", 0, &dbi), 0);
    ck_assert_int_eq(mdb_put(txn, dbi, &key, &value, MDB_RESERVE), 0);
    memset(value.mv_data, 0, bytes);
    ck_assert_int_eq(mdb_del(txn, dbi, &key, NULL), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
}

START_TEST(a_file_that_is_short_by_right_opens)
{
    struct stat st;
    MDB_env *env;
    MDB_envinfo info;
    fill();
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_set_mapsize(env, spool.config.max_bytes), 0);
    ck_assert_int_eq(mdb_env_open(env, spool.dir, MDB_NOTLS, 0600), 0);
    uint64_t there = 1, pages = 0;
    for (size_t bytes = 500000; there >= pages && bytes < 10000000; bytes += 500000) {
        lengthen(env, bytes);
        ck_assert_int_eq(mdb_env_info(env, &info), 0);
        ck_assert_int_eq(stat(file("data.mdb"), &st), 0);
        pages = info.me_last_pgno + 1;
        there = (uint64_t)st.st_size / PAGE;
    }
    mdb_env_close(env);
    ck_assert_uint_lt(there, pages); /* or this test shows nothing */
    spool_open(&spool);
    ck_assert_uint_eq(spool_count(&spool), 50);
    spool_check_message(&spool, 50, 2, 30000);
    ck_assert_int_eq(stat(file("data.mdb"), &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size / PAGE, there);
    ck_assert_int_eq(spool_accept(&spool, 51, 1, 3000000), STORE_OK);
    spool_close(&spool);
    spool_open(&spool);
    spool_check_message(&spool, 51, 1, 3000000);
}
END_TEST

static void overwrite(const char *name, off_t offset, uint8_t byte)
{
    int fd = open(file(name), O_WRONLY);
    ck_assert_int_eq(pwrite(fd, &byte, 1, offset), 1);
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(what_is_no_spool_is_refused)
{
    fill();
    for (off_t page = 0; page < 2; page++) { /* the two heads: magic at 16, version at 20 */
        overwrite("data.mdb", page * PAGE + 20, 77);
    }
    expect("another version of LMDB", spool.dir);
    for (off_t page = 0; page < 2; page++) {
        overwrite("data.mdb", page * PAGE + 16, 77);
    }
    expect("put back a copy of it", spool.dir);
}
END_TEST

static void put_meta_version(uint8_t version)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    uint8_t data[8] = {0, 0, 0, 0, 0, 0, 0, version};
    MDB_val key = {7, (void *)(uintptr_t) "version"}, value = {8, data};
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_open(env, spool.dir, MDB_NOTLS, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
    ck_assert_int_eq(mdb_put(txn, dbi, &key, &value, 0), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

START_TEST(a_spool_of_a_later_program_is_refused_and_left_as_it_is)
{
    fill();
    put_meta_version(2);
    expect("is of version 2", spool.dir);
    put_meta_version(1);
    spool_open(&spool);
    ck_assert_uint_eq(spool_count(&spool), 50);
}
END_TEST

START_TEST(a_limit_lowered_below_what_is_there_accepts_nothing_until_it_has_drained)
{
    struct outcome_list list = {0};
    spool_open(&spool);
    for (uint64_t id = 1; id <= 40; id++) { /* more than the smallest limit with its headroom */
        ck_assert_int_eq(spool_accept(&spool, id, 1, 2000000), STORE_OK);
        spool_free_bodies();
    }
    spool_close(&spool);
    spool.config.max_bytes = 1u << 20;
    spool_open(&spool);
    ck_assert_uint_eq(spool_count(&spool), 40);
    ck_assert(!spool_give(&spool, 41, 1, 10, &list));
    ck_assert_int_eq(list.status[0], STORE_E_FULL);
    for (uint64_t id = 1; id <= 40; id++) {
        ck_assert_int_eq(spool_finish(&spool, id, 0, STORE_RCPT_DELIVERED, true), STORE_OK);
    }
    ck_assert_int_eq(spool_accept(&spool, 41, 1, 10), STORE_OK);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("open");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_directory_that_is_missing_is_made_for_its_owner_only);
    tcase_add_test(tc, a_missing_parent_and_a_file_in_its_place_are_named);
    tcase_add_test(tc, a_directory_without_rights_is_named);
    tcase_add_test(tc, a_second_opener_is_refused_with_the_pid_of_the_first);
    tcase_add_test(tc, a_lock_file_of_a_process_that_was_killed_locks_nobody_out);
    tcase_add_test(tc, a_file_cut_short_is_refused_wherever_it_is_cut);
    tcase_add_test(tc, a_file_that_is_short_by_right_opens);
    tcase_add_test(tc, what_is_no_spool_is_refused);
    tcase_add_test(tc, a_spool_of_a_later_program_is_refused_and_left_as_it_is);
    tcase_add_test(tc, a_limit_lowered_below_what_is_there_accepts_nothing_until_it_has_drained);
    return tap_run("store open", tc);
}
