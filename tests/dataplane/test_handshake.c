/* test_handshake.c - the socket between control and the data plane, and the lock. */
#include "tests/dataplane/channel_file.h"
#include "tests/dataplane/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

static struct channel_file f;

static void setup(void)
{
    channel_file_make(&f, 8, 1 << 16);
    channel_file_attach(&f);
}

static void teardown(void)
{
    channel_file_remove(&f);
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static struct chan_hello hello_of(uint32_t n_lanes)
{
    return (struct chan_hello){
        .magic = CHAN_MAGIC,
        .version = CHAN_VERSION,
        .pid = 42,
        .n_lanes = n_lanes,
        .config_hash = chan_config_hash("abc", 3),
    };
}

START_TEST(the_handshake_carries_the_eventfds)
{
    char path[128];
    struct chan_hello hello = hello_of(1), got;
    struct chan_attachment attachment;
    int listener, fd;
    (void)snprintf(path, sizeof path, "%s/sock", f.dir);
    ck_assert_int_eq(chan_hello_connect(path, &fd), CHAN_E_SYSTEM);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(chan_control_listen(path, &listener), CHAN_OK);
    ck_assert_int_eq(chan_hello_connect(path, &fd), CHAN_OK);
    int accepted = accept(listener, NULL, NULL);
    ck_assert_int_eq(chan_control_recv_hello(accepted, &got), CHAN_E_AGAIN);

    /* The answer is put into the socket first, so that one thread is enough. */
    ck_assert_int_eq(chan_control_welcome(accepted, true, 7, &f.control, 1), CHAN_OK);
    ck_assert_int_eq(chan_hello_attach(fd, &hello, 1000, &attachment), CHAN_OK);
    ck_assert_int_eq(chan_control_recv_hello(accepted, &got), CHAN_OK);
    ck_assert_uint_eq(got.pid, 42);
    ck_assert_uint_eq(got.config_hash, UINT64_C(0xe71fa2190541574b));
    ck_assert_uint_eq(attachment.welcome.orphan_s, 7);

    f.lane.done_pushed = true;
    chan_lane_notify(&f.lane, attachment.done_fds[0]);
    ck_assert(readable(chan_control_done_fd(f.control)));
    (void)close(attachment.job_fds[0]);
    (void)close(attachment.done_fds[0]);
    (void)close(fd);
    ck_assert_int_eq(chan_control_recv_hello(accepted, &got), CHAN_E_CLOSED);
    (void)close(accepted);
    (void)close(listener);
    (void)unlink(path);
}
END_TEST

START_TEST(a_handshake_with_another_version_or_number_of_lanes_is_refused)
{
    struct chan_hello hello = hello_of(2), got;
    struct chan_attachment attachment;
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    ck_assert_int_eq(chan_control_welcome(pair[0], true, 0, &f.control, 1), CHAN_OK);
    ck_assert_int_eq(chan_hello_attach(pair[1], &hello, 1000, &attachment), CHAN_E_PEER);
    hello.version = 99;
    ck_assert_int_eq(send(pair[1], &hello, sizeof hello, 0), sizeof hello);
    ck_assert_int_eq(chan_control_recv_hello(pair[0], &got), CHAN_OK); /* the first one */
    ck_assert_int_eq(chan_control_recv_hello(pair[0], &got), CHAN_E_PEER);
    ck_assert_int_eq(send(pair[1], &hello, 3, 0), 3);
    ck_assert_int_eq(chan_control_recv_hello(pair[0], &got), CHAN_E_PEER);
    (void)close(pair[0]);
    (void)close(pair[1]);
}
END_TEST

START_TEST(a_welcome_that_says_exit_has_no_descriptors)
{
    struct chan_hello hello = hello_of(1);
    struct chan_attachment attachment;
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    ck_assert_int_eq(chan_control_welcome(pair[0], false, 0, &f.control, 1), CHAN_OK);
    ck_assert_int_eq(chan_hello_attach(pair[1], &hello, 1000, &attachment), CHAN_OK);
    ck_assert_uint_eq(attachment.welcome.go, 0);
    ck_assert_int_eq(attachment.job_fds[0], -1);
    ck_assert_int_eq(chan_hello_attach(pair[1], &hello, 1, &attachment), CHAN_E_AGAIN);
    (void)close(pair[0]);
    ck_assert_int_eq(chan_hello_attach(pair[1], &hello, 1, &attachment), CHAN_E_CLOSED);
    (void)close(pair[1]);
}
END_TEST

START_TEST(the_lock_tells_whether_a_data_plane_lives)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", f.dir, CHAN_LOCK_NAME);
    ck_assert(!chan_dataplane_alive(f.dir));
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    ck_assert(!chan_dataplane_alive(f.dir));
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    ck_assert(chan_dataplane_alive(f.dir));
    (void)close(fd);
    ck_assert(!chan_dataplane_alive(f.dir));
    (void)unlink(path);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("handshake");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_handshake_carries_the_eventfds);
    tcase_add_test(tc, a_handshake_with_another_version_or_number_of_lanes_is_refused);
    tcase_add_test(tc, a_welcome_that_says_exit_has_no_descriptors);
    tcase_add_test(tc, the_lock_tells_whether_a_data_plane_lives);
    return tap_run("handshake", tc);
}
