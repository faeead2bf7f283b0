/*
 * test_so.c - the shared object as packetdrill uses it: loaded by name, calls that block in a
 * second thread, packets by hand, time that only goes on when it is asked to.
 */
#include "tcp/utcp_wire.h"
#include "tests/packetdrill/pd_interface.h"

#include <arpa/inet.h>
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>

static const char *so_path;
static struct packetdrill_interface pd;
static void *handle;

/* A packet of the stack, taken apart. */
struct seen {
    long long time_us;
    uint16_t src_port, dst_port, window;
    uint32_t seq, ack, len;
    uint8_t flags;
    uint8_t data[2048];
};

static void setup(void)
{
    void (*init)(const char *, struct packetdrill_interface *);
    void *symbol;

    handle = dlopen(so_path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(handle != NULL, "%s", dlerror());
    symbol = dlsym(handle, "packetdrill_interface_init");
    ck_assert_ptr_nonnull(symbol);
    memcpy(&init, &symbol, sizeof init); /* ISO C has no other way to a function */
    init("mtu=1500", &pd);
}

static void teardown(void)
{
    pd.free(pd.userdata);
    (void)dlclose(handle);
}

static long long now_us(void)
{
    struct timeval tv;

    ck_assert_int_eq(pd.gettimeofday(pd.userdata, &tv, NULL), 0);
    return tv.tv_sec * 1000000LL + tv.tv_usec;
}

/* False when there is none, however long one waits. */
static bool packet_out(struct seen *ret)
{
    uint8_t p[2048];
    size_t len = sizeof p;
    uint32_t header;

    ck_assert_int_eq(pd.netdev_receive(pd.userdata, p, &len, &ret->time_us), 0);
    if (len == 0)
        return false;
    ck_assert_uint_ge(len, 40);
    ck_assert_uint_eq(p[0], 0x45); /* raw IP, no Ethernet */
    header = 20 + (p[32] >> 4) * 4u;
    ret->src_port = be16_get(p + 20);
    ret->dst_port = be16_get(p + 22);
    ret->seq = be32_get(p + 24);
    ret->ack = be32_get(p + 28);
    ret->flags = p[33];
    ret->window = be16_get(p + 34);
    ret->len = (uint32_t)len - header;
    memcpy(ret->data, p + header, ret->len);
    return true;
}

/* An answer to what was seen, from 192.0.2.1. */
static void packet_in(const struct seen *to, uint8_t flags, uint32_t seq, uint32_t ack,
                      const char *data)
{
    const uint8_t src[4] = {192, 0, 2, 1}, dst[4] = {192, 168, 0, 1};
    const uint32_t len = (uint32_t)strlen(data);
    uint8_t p[256] = {0};
    bool odd = false;
    const struct utcp_ip_header ip = {
        .src = src, .dst = dst, .payload_len = 20 + len, .family = 4, .proto = IP_PROTO_TCP};
    const struct utcp_tcp_header tcp = {.src_port = to->dst_port,
                                        .dst_port = to->src_port,
                                        .seq = seq,
                                        .ack = ack,
                                        .window = 65535,
                                        .flags = flags};
    uint32_t sum = utcp_sum_pseudo(4, src, dst, IP_PROTO_TCP, 20 + len);

    (void)utcp_ip_put(p, &ip);
    utcp_tcp_put(p + 20, &tcp);
    memcpy(p + 40, data, len);
    sum = utcp_sum_add(sum, p + 20, 20 + len, &odd);
    be16_put(p + 20 + TCP_CHECKSUM_AT, (uint16_t)~utcp_sum_fold(sum));
    ck_assert_int_eq(pd.netdev_send(pd.userdata, p, 40 + len), 0);
}

static struct sockaddr_in address(const char *ip, uint16_t port)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};

    ck_assert_int_eq(inet_pton(AF_INET, ip, &sin.sin_addr), 1);
    return sin;
}

/* A connection to 192.0.2.1:8080 without blocking; the peer's ISN is 0. */
static int connect_now(struct seen *syn)
{
    const struct sockaddr_in to = address("192.0.2.1", 8080);
    const int fd = pd.socket(pd.userdata, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pd.connect(pd.userdata, fd, (const struct sockaddr *)&to, sizeof to), -1);
    ck_assert_int_eq(errno, EINPROGRESS);
    ck_assert(packet_out(syn));
    ck_assert_uint_eq(syn->flags, TCP_SYN);
    packet_in(syn, TCP_SYN | TCP_ACK, 0, syn->seq + 1, "");
    ck_assert(packet_out(syn));
    ck_assert_uint_eq(syn->flags, TCP_ACK);
    return fd;
}

static int error_of(int fd)
{
    int error = -1;
    socklen_t len = sizeof error;

    ck_assert_int_eq(pd.getsockopt(pd.userdata, fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    return error;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void *connect_blocking(void *arg)
{
    const struct sockaddr_in to = address("192.0.2.1", 8080);
    int *fd = arg;

    if (pd.connect(pd.userdata, *fd, (const struct sockaddr *)&to, sizeof to) != 0)
        *fd = -errno;
    return NULL;
}

START_TEST(a_blocking_connect_returns_after_the_handshake)
{
    int fd = pd.socket(pd.userdata, AF_INET, SOCK_STREAM, IPPROTO_TCP), result = fd;
    struct seen syn;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, connect_blocking, &result), 0);
    ck_assert(packet_out(&syn));
    ck_assert_uint_eq(syn.dst_port, 8080);
    packet_in(&syn, TCP_SYN | TCP_ACK, 0, syn.seq + 1, "");
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(result, fd);
    ck_assert_int_eq(pd.close(pd.userdata, fd), 0);
}
END_TEST

START_TEST(a_refused_connect_says_so)
{
    int result = pd.socket(pd.userdata, AF_INET, SOCK_STREAM, IPPROTO_TCP);
    struct seen syn;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, connect_blocking, &result), 0);
    ck_assert(packet_out(&syn));
    packet_in(&syn, TCP_RST | TCP_ACK, 0, syn.seq + 1, "");
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(result, -ECONNREFUSED);
}
END_TEST

/* Waiting for a packet moves the clock to the timer that sends it. */
START_TEST(a_syn_is_retransmitted_after_1_and_3_seconds_of_virtual_time)
{
    const struct sockaddr_in to = address("192.0.2.1", 8080);
    const int fd = pd.socket(pd.userdata, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
    struct seen syn[3];

    (void)pd.connect(pd.userdata, fd, (const struct sockaddr *)&to, sizeof to);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(packet_out(&syn[i]));
    ck_assert_int_eq((syn[1].time_us - syn[0].time_us + 5000) / 10000, 100);
    ck_assert_int_eq((syn[2].time_us - syn[0].time_us + 5000) / 10000, 300);
    while (packet_out(&syn[0]))
        ck_assert_uint_eq(syn[0].flags, TCP_SYN);
    ck_assert_int_eq(error_of(fd), ETIMEDOUT);
}
END_TEST

START_TEST(accept_gives_the_connection_of_a_handshake)
{
    const struct sockaddr_in here = address("192.168.0.1", 25);
    const int fd = pd.socket(pd.userdata, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
    struct seen syn_ack, peer = {.src_port = 25, .dst_port = 40000};
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    char text[8] = "";
    int child;

    ck_assert_int_eq(pd.bind(pd.userdata, fd, (const struct sockaddr *)&here, sizeof here), 0);
    ck_assert_int_eq(pd.listen(pd.userdata, fd, 1), 0);
    packet_in(&peer, TCP_SYN, 0, 0, "");
    ck_assert(packet_out(&syn_ack));
    ck_assert_uint_eq(syn_ack.flags, TCP_SYN | TCP_ACK);
    ck_assert_int_eq(pd.accept(pd.userdata, fd, NULL, NULL), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(pd.poll(pd.userdata, &poll_fd, 1, 0), 0);
    packet_in(&peer, TCP_ACK, 1, syn_ack.seq + 1, "");
    packet_in(&peer, TCP_ACK | TCP_PSH, 1, syn_ack.seq + 1, "hello");
    ck_assert_int_eq(pd.poll(pd.userdata, &poll_fd, 1, 0), 1);
    child = pd.accept(pd.userdata, fd, NULL, NULL);
    ck_assert_int_ge(child, 0);
    ck_assert_int_eq(pd.read(pd.userdata, child, text, sizeof text), 5);
    ck_assert_str_eq(text, "hello");
}
END_TEST

/* ---- bytes, and the end ---------------------------------------------------------------------- */

START_TEST(writev_is_one_segment_and_fin_follows_close)
{
    char one[] = "MAIL", two[] = " FROM:<>\r\n";
    const struct iovec iov[2] = {{.iov_base = one, .iov_len = 4}, {.iov_base = two, .iov_len = 10}};
    struct seen s;
    const int fd = connect_now(&s);

    ck_assert_int_eq(pd.writev(pd.userdata, fd, iov, 2), 14);
    ck_assert(packet_out(&s));
    ck_assert_uint_eq(s.len, 14);
    ck_assert_int_eq(memcmp(s.data, "MAIL FROM:<>\r\n", 14), 0);
    packet_in(&s, TCP_ACK, 1, s.seq + 14, "");
    ck_assert_int_eq(pd.close(pd.userdata, fd), 0);
    ck_assert(packet_out(&s));
    ck_assert_uint_eq(s.flags, TCP_FIN | TCP_ACK);
}
END_TEST

START_TEST(close_with_bytes_unread_or_without_lingering_resets)
{
    const struct linger at_once = {.l_onoff = 1};
    struct seen s;
    int fd = connect_now(&s);

    packet_in(&s, TCP_ACK | TCP_PSH, 1, s.seq, "220 nobody reads this\r\n");
    ck_assert_int_eq(pd.close(pd.userdata, fd), 0);
    ck_assert(packet_out(&s));
    ck_assert_uint_ne(s.flags & TCP_RST, 0);
    fd = connect_now(&s);
    ck_assert_int_eq(
        pd.setsockopt(pd.userdata, fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    ck_assert_int_eq(pd.close(pd.userdata, fd), 0);
    ck_assert(packet_out(&s));
    ck_assert_uint_ne(s.flags & TCP_RST, 0);
}
END_TEST

START_TEST(the_end_of_the_peer_reads_as_0_and_its_reset_as_an_error)
{
    char byte;
    struct seen s;
    int fd = connect_now(&s);

    ck_assert_int_eq(pd.read(pd.userdata, fd, &byte, 1), -1);
    ck_assert_int_eq(errno, EAGAIN);
    packet_in(&s, TCP_FIN | TCP_ACK, 1, s.seq, "");
    ck_assert_int_eq(pd.read(pd.userdata, fd, &byte, 1), 0);
    ck_assert(packet_out(&s)); /* the ACK of the FIN */
    fd = connect_now(&s);
    packet_in(&s, TCP_RST, 1, 0, "");
    ck_assert_int_eq(pd.read(pd.userdata, fd, &byte, 1), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}
END_TEST

START_TEST(tcp_info_tells_the_window_and_time_goes_on_by_usleep_only)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    struct seen s;
    const int fd = connect_now(&s);
    const long long before_us = now_us();

    ck_assert_int_eq(pd.getsockopt(pd.userdata, fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    ck_assert_uint_eq(info.tcpi_snd_cwnd, 10);
    ck_assert_int_eq(pd.usleep(pd.userdata, 3600000000u), 0);
    ck_assert_int_eq(now_us() - before_us, 3600000001LL);
}
END_TEST

START_TEST(what_is_not_there_is_refused)
{
    int fds[2];

    ck_assert_int_eq(pd.socket(pd.userdata, AF_INET, SOCK_DGRAM, 0), -1);
    ck_assert_int_eq(pd.read(pd.userdata, 12345, fds, 1), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(pd.pipe(pd.userdata, fds), -1);
    ck_assert_int_eq(errno, ENOSYS);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("packetdrill");
    TCase *tcase = tcase_create("shared object");
    SRunner *runner;

    so_path = argc > 1 ? argv[1] : "libwirepost_packetdrill.so";
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_blocking_connect_returns_after_the_handshake);
    tcase_add_test(tcase, a_refused_connect_says_so);
    tcase_add_test(tcase, a_syn_is_retransmitted_after_1_and_3_seconds_of_virtual_time);
    tcase_add_test(tcase, accept_gives_the_connection_of_a_handshake);
    tcase_add_test(tcase, writev_is_one_segment_and_fin_follows_close);
    tcase_add_test(tcase, close_with_bytes_unread_or_without_lingering_resets);
    tcase_add_test(tcase, the_end_of_the_peer_reads_as_0_and_its_reset_as_an_error);
    tcase_add_test(tcase, tcp_info_tells_the_window_and_time_goes_on_by_usleep_only);
    tcase_add_test(tcase, what_is_not_there_is_refused);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK); /* threads */
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    argc = srunner_ntests_failed(runner);
    srunner_free(runner);
    return argc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
