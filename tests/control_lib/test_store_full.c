/*
 * test_store_full.c - the spool on a file system that is full, a small tmpfs in a mount namespace
 * of its own. Needs root; without it the exit status is 77.
 */
#include "tests/control_lib/disk.h"
#include "tests/control_lib/spool.h"
#include "tests/control_lib/tap.h"

#include "tcp/base.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_BYTES "16m"
#define DELIVERED  STORE_RCPT_DELIVERED

static struct spool spool;

static bool mount_disk(const char *dir)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("wirepost-test", dir, "tmpfs", 0, "size=" DISK_BYTES) == 0;
}

static void setup(void)
{
    spool_make(&spool);
    ck_assert(mount_disk(spool.dir)); /* ends with the process of this test */
    spool_open(&spool);
}

static void teardown(void)
{
    spool_close(&spool);
    spool_free_bodies();
    ck_assert_int_eq(umount(spool.dir), 0);
    ck_assert_int_eq(rmdir(spool.dir), 0);
}

/* Leaves so many bytes of the disk free. */
static void fill_disk(off_t leave)
{
    static uint8_t zeros[4096];
    char path[128];
    (void)snprintf(path, sizeof path, "%s/filler", spool.dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    ck_assert_int_ge(fd, 0);
    while (write(fd, zeros, sizeof zeros) > 0) {
    }
    ck_assert_int_eq(ftruncate(fd, lseek(fd, 0, SEEK_END) - leave), 0);
    ck_assert_int_eq(close(fd), 0);
}

static void empty_disk(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/filler", spool.dir);
    ck_assert_int_eq(unlink(path), 0);
}

/* Some messages, and some pages that were used and are free. */
static void use(void)
{
    for (uint64_t id = 1; id <= 20; id++) {
        ck_assert_int_eq(spool_accept(&spool, id, 1, 50000), STORE_OK);
    }
    for (uint64_t id = 11; id <= 20; id++) {
        ck_assert_int_eq(spool_finish(&spool, id, 0, DELIVERED, true), STORE_OK);
    }
}

/* With a little room a write is cut short, which looks different to LMDB. */
START_TEST(a_full_disk_refuses_the_accept_and_takes_the_outcome_given_with_it)
{
    static const off_t leave[] = {0, 4096, 65536};
    struct outcome_list list = {0};
    use();
    disk_shut_gate(spool.store);
    ck_assert(spool_give(&spool, 21, 1, 4000000, &list));
    spool_update(&spool, 1, 0, DELIVERED, true, &list);
    fill_disk(leave[_i]);
    disk_open_gate();
    spool_wait(&spool, &list, 2);
    ck_assert_int_eq(list.status[0], STORE_E_FULL);
    ck_assert_int_eq(list.status[1], STORE_OK);
    ck_assert(!spool_give(&spool, 22, 1, 100, &list)); /* refused at once now */
    ck_assert_int_eq(list.status[2], STORE_E_FULL);
    for (uint64_t id = 2; id <= 5; id++) {
        ck_assert_int_eq(spool_finish(&spool, id, 0, DELIVERED, true), STORE_OK);
    }
    spool_close(&spool);
    spool_open(&spool);
    ck_assert_uint_eq(spool_count(&spool), 5);
    for (uint64_t id = 6; id <= 10; id++) {
        spool_check_message(&spool, id, 1, 50000);
    }
}
END_TEST

START_TEST(with_room_again_everything_is_accepted_again)
{
    struct outcome_list list = {0};
    struct store_stats stats;
    use();
    fill_disk(0);
    ck_assert_int_eq(spool_accept(&spool, 21, 1, 4000000), STORE_E_FULL);
    empty_disk();
    for (int i = 0; i < 2000; i++) { /* 20 s at most */
        store_stats(spool.store, &stats);
        if (stats.writable) {
            break;
        }
        (void)poll(NULL, 0, 10);
    }
    ck_assert(spool_give(&spool, 22, 1, 4000000, &list));
    spool_wait(&spool, &list, 1);
    ck_assert_int_eq(list.status[0], STORE_OK);
    spool_check_message(&spool, 22, 1, 4000000);
}
END_TEST

START_TEST(the_watermark_refuses_before_the_disk_is_full)
{
    uint64_t id = 1;
    struct store_stats stats;
    spool.config.min_free_bytes = 8u << 20;
    spool_close(&spool);
    spool_open(&spool);
    while (spool_accept(&spool, id, 1, 500000) == STORE_OK) {
        id++;
    }
    store_stats(spool.store, &stats);
    ck_assert_uint_ge(stats.free_bytes, 7u << 20); /* what it counts with is about */
    ck_assert_uint_gt(id, 5);
    ck_assert_int_eq(spool_finish(&spool, 1, 0, DELIVERED, true), STORE_OK);
}
END_TEST

START_TEST(a_new_spool_on_a_full_disk_says_so)
{
    spool_close(&spool);
    ck_assert_int_eq(umount(spool.dir), 0);
    ck_assert(mount_disk(spool.dir));
    fill_disk(0);
    const char *error = spool_refused(&spool);
    ck_assert_msg(strstr(error, "No space left") && strstr(error, spool.dir), "%s", error);
    empty_disk();
    spool_open(&spool);
}
END_TEST

/* In a child, so that this process keeps its namespace. */
static bool may_mount(void)
{
    char dir[] = "/tmp/wirepost-test-XXXXXX";
    int status = 1;
    if (!mkdtemp(dir)) {
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        _exit(mount_disk(dir) ? 0 : 1);
    }
    (void)waitpid(child, &status, 0);
    (void)rmdir(dir);
    return status == 0;
}

int main(void)
{
    if (!may_mount()) {
        (void)printf("1..0 # SKIP needs root: it mounts a small tmpfs\n");
        return 77;
    }
    TCase *tc = tcase_create("full");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_full_disk_refuses_the_accept_and_takes_the_outcome_given_with_it, 0,
                        3);
    tcase_add_test(tc, with_room_again_everything_is_accepted_again);
    tcase_add_test(tc, the_watermark_refuses_before_the_disk_is_full);
    tcase_add_test(tc, a_new_spool_on_a_full_disk_says_so);
    return tap_run("store full", tc);
}
