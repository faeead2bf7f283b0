/*
 * tap_linux.c - the stack against Linux' TCP over a TAP device, byte for byte.
 *
 * Needs root and /dev/net/tun, else exits 77. `tap_linux --pcap FILE` keeps the frames.
 */
#include "tests/tcp/tap_link.h"

#include <check.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_S 20u

static int tap_fd;
static unsigned next_host = 10; /* each test has an address of its own */

/* One connection of a test: sends `to_send` bytes of the pattern, keeps count of what comes. */
struct client {
    struct tap_link link;
    uint32_t conn;
    struct utcp_extent *pattern;
    uint64_t to_send, sent, received;
    uint64_t hash_sent;
    bool half_close; /* FIN after the last byte */
    bool all_sent;
    bool same; /* what came was the pattern */
    bool connected, eof, closed;
    enum utcp_close_reason reason;
    uint8_t last[64];
    uint32_t n_last;
};

static struct ip_addr addr_of(const char *text)
{
    struct ip_addr addr;

    ck_assert(ip_addr_parse(text, &addr));
    return addr;
}

/* An extent of `len` pattern bytes, on the heap. */
static struct utcp_extent *pattern_new(uint64_t len)
{
    struct utcp_extent *extent = malloc(sizeof *extent);
    uint8_t *data = malloc(len + 1);

    ck_assert(extent != NULL && data != NULL);
    for (uint64_t i = 0; i < len; i++)
        data[i] = pattern_byte(i);
    *extent = (struct utcp_extent){.data = data, .len = len, .refs = 1};
    return extent;
}

static void pattern_free(struct utcp_extent *extent)
{
    ck_assert_uint_eq(extent->refs, 1);
    free((void *)(uintptr_t)extent->data);
    free(extent);
}

static void send_more(struct client *t)
{
    const uint64_t now = tap_now_ns();

    if (t->all_sent)
        return;
    while (t->sent < t->to_send) {
        uint32_t n = 40000;

        if (n > t->to_send - t->sent)
            n = (uint32_t)(t->to_send - t->sent);
        if (utcp_send(t->link.u, now, t->conn, t->pattern, t->sent, n) != UTCP_OK)
            return;
        t->hash_sent = hash_add(t->hash_sent, t->pattern->data + t->sent, n);
        t->sent += n;
    }
    t->all_sent = true;
    utcp_push(t->link.u, now, t->conn);
    if (t->half_close)
        ck_assert_int_eq(utcp_shutdown(t->link.u, now, t->conn), UTCP_OK);
}

static void read_all(struct client *t)
{
    uint8_t buf[10000];
    uint32_t n;

    while ((n = utcp_recv(t->link.u, tap_now_ns(), t->conn, buf, sizeof buf)) > 0) {
        for (uint32_t i = 0; i < n; i++)
            t->same = t->same && buf[i] == pattern_byte(t->received + i);
        for (uint32_t i = 0; i < n && t->n_last < sizeof t->last; i++)
            t->last[t->n_last++] = buf[i];
        t->received += n;
    }
}

static void client_event(struct tap_link *link, const struct utcp_event *event)
{
    struct client *t = link->test;

    ck_assert_uint_eq(event->conn, t->conn);
    if ((event->events & UTCP_EV_CONNECTED) != 0)
        t->connected = true;
    if ((event->events & (UTCP_EV_CONNECTED | UTCP_EV_SENDABLE)) != 0)
        send_more(t);
    if ((event->events & UTCP_EV_READABLE) != 0)
        read_all(t);
    if ((event->events & UTCP_EV_EOF) != 0) {
        t->eof = true;
        (void)utcp_shutdown(link->u, tap_now_ns(), t->conn);
    }
    if ((event->events & UTCP_EV_CLOSED) != 0) {
        t->closed = true;
        t->reason = event->reason;
    }
}

static uint32_t connect_to(struct tap_link *link, const char *local, uint16_t port)
{
    const struct utcp_connect req = {
        .local = addr_of(local), .remote = addr_of(TAP_PEER), .remote_port = port};
    uint32_t conn = UTCP_CONN_NONE;

    ck_assert_int_eq(utcp_connect(link->u, tap_now_ns(), &req, &conn), UTCP_OK);
    return conn;
}

static void new_address(char text[static 16])
{
    (void)snprintf(text, 16, "192.0.2.%u", next_host++);
}

static void client_start(struct client *t, uint16_t port, uint64_t to_send, bool half_close)
{
    char local[16];

    memset(t, 0, sizeof *t);
    t->link.on_event = client_event;
    t->link.test = t;
    t->pattern = pattern_new(to_send);
    t->to_send = to_send;
    t->hash_sent = HASH_START;
    t->half_close = half_close;
    t->same = true;
    new_address(local);
    tap_link_start(&t->link, tap_fd, local);
    t->conn = connect_to(&t->link, local, port);
}

static uint64_t counter(const struct tap_link *link, enum utcp_counter which)
{
    return utcp_counters(link->u)[which];
}

/* On this link nothing is lost, so nothing may be sent twice or be found broken. */
static void client_stop(struct client *t)
{
    ck_assert_uint_eq(counter(&t->link, UTCP_N_segs_retrans), 0);
    ck_assert_uint_eq(counter(&t->link, UTCP_N_drop_tcp_checksum), 0);
    ck_assert_uint_eq(counter(&t->link, UTCP_N_drop_ip_checksum), 0);
    utcp_release(t->link.u, tap_now_ns(), t->conn);
    tap_link_stop(&t->link);
    pattern_free(t->pattern);
}

static void check_sink_answer(const struct client *t)
{
    uint64_t answer[2];

    ck_assert_uint_eq(t->received, sizeof answer);
    memcpy(answer, t->last, sizeof answer);
    ck_assert_uint_eq(answer[0], t->to_send);
    ck_assert_uint_eq(answer[1], t->hash_sent);
}

START_TEST(sends_eight_megabytes_to_linux_and_half_closes)
{
    struct client t;

    client_start(&t, PEER_SINK, 8u << 20, true);
    ck_assert(tap_link_run(&t.link, &t.closed, WAIT_S));
    ck_assert_int_eq(t.reason, UTCP_CLOSE_NORMAL);
    check_sink_answer(&t);
    client_stop(&t);
}
END_TEST

START_TEST(receives_five_megabytes_from_linux)
{
    struct client t;

    client_start(&t, PEER_SOURCE, 0, false);
    ck_assert(tap_link_run(&t.link, &t.closed, WAIT_S));
    ck_assert_int_eq(t.reason, UTCP_CLOSE_NORMAL);
    ck_assert_uint_eq(t.received, PEER_SOURCE_BYTES);
    ck_assert(t.same);
    client_stop(&t);
}
END_TEST

START_TEST(both_directions_at_once)
{
    struct client t;

    client_start(&t, PEER_ECHO, 3u << 20, true);
    ck_assert(tap_link_run(&t.link, &t.closed, WAIT_S));
    ck_assert_int_eq(t.reason, UTCP_CLOSE_NORMAL);
    ck_assert_uint_eq(t.received, 3u << 20);
    ck_assert(t.same);
    client_stop(&t);
}
END_TEST

START_TEST(a_receiver_that_does_not_read_shuts_the_window_and_loses_nothing)
{
    struct client t;
    struct utcp_info info;

    client_start(&t, PEER_SLOW_SINK, 300000, true);
    ck_assert(tap_link_run(&t.link, &t.closed, WAIT_S));
    ck_assert(utcp_info(t.link.u, tap_now_ns(), t.conn, &info));
    ck_assert_uint_gt(info.zero_window_ns, 100 * NS_PER_MS);
    check_sink_answer(&t);
    utcp_release(t.link.u, tap_now_ns(), t.conn); /* probes may count as retransmissions */
    tap_link_stop(&t.link);
    pattern_free(t.pattern);
}
END_TEST

START_TEST(linux_resets_and_received_bytes_stay)
{
    struct client t;

    client_start(&t, PEER_RESET, 10, false);
    ck_assert(tap_link_run(&t.link, &t.closed, WAIT_S));
    ck_assert_int_eq(t.reason, UTCP_CLOSE_RESET);
    client_stop(&t);
}
END_TEST

START_TEST(a_closed_port_refuses)
{
    struct client t;

    client_start(&t, PEER_NOBODY, 0, false);
    ck_assert(tap_link_run(&t.link, &t.closed, WAIT_S));
    ck_assert_int_eq(t.reason, UTCP_CLOSE_REFUSED);
    ck_assert(!t.connected);
    client_stop(&t);
}
END_TEST

START_TEST(linux_accepts_our_reset)
{
    struct client t;
    const bool never = false;

    client_start(&t, PEER_ECHO, 1000, false);
    ck_assert(!tap_link_run(&t.link, &never, 1));
    ck_assert_uint_eq(t.received, 1000);
    utcp_abort(t.link.u, tap_now_ns(), t.conn);
    ck_assert_uint_eq(t.pattern->refs, 1);
    ck_assert(!tap_link_run(&t.link, &never, 1));
    ck_assert_uint_eq(counter(&t.link, UTCP_N_rsts_out), 1);
    client_stop(&t);
}
END_TEST

START_TEST(a_neighbour_that_is_not_there_is_unreachable)
{
    struct client t;
    char local[16];
    struct utcp_connect req = {.remote = addr_of("192.0.2.253"), .remote_port = 25};

    client_start(&t, PEER_CLOSES, 0, false);
    ck_assert(tap_link_run(&t.link, &t.closed, WAIT_S));
    utcp_release(t.link.u, tap_now_ns(), t.conn);
    t.closed = false;
    (void)snprintf(local, sizeof local, "192.0.2.%u", next_host - 1);
    req.local = addr_of(local);
    ck_assert_int_eq(utcp_connect(t.link.u, tap_now_ns(), &req, &t.conn), UTCP_OK);
    ck_assert(tap_link_run(&t.link, &t.closed, WAIT_S));
    ck_assert_int_eq(t.reason, UTCP_CLOSE_UNREACHABLE);
    client_stop(&t);
}
END_TEST

/* ---- many connections ----------------------------------------------------------------------- */

#define CROWD_TOTAL   2000u
#define CROWD_AT_ONCE 100u

struct crowd {
    struct tap_link link;
    char local[16];
    unsigned started, finished;
    uint16_t port;
    bool done;
};

static void crowd_event(struct tap_link *link, const struct utcp_event *event)
{
    struct crowd *t = link->test;
    uint8_t buf[64];

    if ((event->events & UTCP_EV_CONNECTED) != 0 && t->port == PEER_ECHO) {
        ck_assert_int_eq(utcp_send_copy(link->u, tap_now_ns(), event->conn,
                                        (const uint8_t *)"220 hello\r\n", 11),
                         UTCP_OK);
        ck_assert_int_eq(utcp_shutdown(link->u, tap_now_ns(), event->conn), UTCP_OK);
    }
    if ((event->events & UTCP_EV_EOF) != 0) {
        ck_assert_uint_eq(utcp_recv(link->u, tap_now_ns(), event->conn, buf, sizeof buf), 11);
        ck_assert_mem_eq(buf, "220 hello\r\n", 11);
        utcp_release(link->u, tap_now_ns(), event->conn);
        t->finished++;
        if (t->started < CROWD_TOTAL) {
            (void)connect_to(link, t->local, t->port);
            t->started++;
        }
    } else {
        ck_assert_uint_eq(event->events & UTCP_EV_CLOSED, 0);
    }
    t->done = t->finished == CROWD_TOTAL && utcp_connections(link->u) == 0;
}

static void run_crowd(uint16_t port)
{
    struct crowd t = {.link = {.on_event = crowd_event, .test = &t}, .port = port};
    const uint64_t start = tap_now_ns();

    new_address(t.local);
    tap_link_start(&t.link, tap_fd, t.local);
    for (; t.started < CROWD_AT_ONCE; t.started++)
        (void)connect_to(&t.link, t.local, port);
    while (t.finished < CROWD_TOTAL || utcp_connections(t.link.u) > 0) {
        const bool never = false;

        ck_assert_uint_lt(tap_now_ns() - start, WAIT_S * NS_PER_S);
        if (t.finished < CROWD_TOTAL)
            (void)tap_link_run(&t.link, &t.done, 1);
        else
            (void)tap_link_run(&t.link, &never, 1);
    }
    ck_assert_uint_eq(counter(&t.link, UTCP_N_active_opens), CROWD_TOTAL);
    tap_link_stop(&t.link);
}

START_TEST(two_thousand_short_connections_that_linux_closes_first)
{
    run_crowd(PEER_CLOSES);
}
END_TEST

START_TEST(two_thousand_short_connections_that_we_close_first)
{
    run_crowd(PEER_ECHO);
}
END_TEST

/* ---- passive open --------------------------------------------------------------------------- */

struct callee {
    struct tap_link link;
    uint32_t caller; /* our connection that asked for the call */
    char verdict;
    bool eof, done;
};

/* Reads no more than can be sent back: the peer's window shuts instead. True when all is back. */
static bool echo_back(struct tap_link *link, uint32_t conn)
{
    uint8_t buf[UTCP_COPY_MAX];
    bool all = false;

    while (!all && utcp_send_room(link->u, conn) >= sizeof buf) {
        const uint32_t n = utcp_recv(link->u, tap_now_ns(), conn, buf, sizeof buf);

        all = n == 0;
        if (!all)
            ck_assert_int_eq(utcp_send_copy(link->u, tap_now_ns(), conn, buf, n), UTCP_OK);
    }
    utcp_push(link->u, tap_now_ns(), conn);
    return all;
}

static void callee_event(struct tap_link *link, const struct utcp_event *event)
{
    struct callee *t = link->test;
    uint8_t byte;

    if (event->conn == t->caller) {
        if (utcp_recv(link->u, tap_now_ns(), event->conn, &byte, 1) == 1) {
            t->verdict = (char)byte;
            t->done = true;
        }
        return;
    }
    if ((event->events & UTCP_EV_EOF) != 0)
        t->eof = true;
    if ((event->events & UTCP_EV_CLOSED) != 0)
        utcp_release(link->u, tap_now_ns(), event->conn);
    else if (echo_back(link, event->conn) && t->eof)
        (void)utcp_shutdown(link->u, tap_now_ns(), event->conn);
}

START_TEST(linux_connects_to_our_listener_and_gets_its_bytes_back)
{
    struct callee t = {.link = {.on_event = callee_event, .test = &t}};
    struct ip_addr addr;
    char local[16];

    new_address(local);
    addr = addr_of(local);
    tap_link_start(&t.link, tap_fd, local);
    ck_assert_int_eq(utcp_listen(t.link.u, &addr, LISTEN_PORT, NULL), UTCP_OK);
    t.caller = connect_to(&t.link, local, PEER_CALLS_BACK);
    ck_assert(tap_link_run(&t.link, &t.done, WAIT_S));
    ck_assert_int_eq(t.verdict, 'Y');
    tap_link_stop(&t.link);
}
END_TEST

static Suite *tap_suite(void)
{
    Suite *suite = suite_create("tcp against linux");
    TCase *tcase = tcase_create("tap");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, sends_eight_megabytes_to_linux_and_half_closes);
    tcase_add_test(tcase, receives_five_megabytes_from_linux);
    tcase_add_test(tcase, both_directions_at_once);
    tcase_add_test(tcase, a_receiver_that_does_not_read_shuts_the_window_and_loses_nothing);
    tcase_add_test(tcase, linux_resets_and_received_bytes_stay);
    tcase_add_test(tcase, a_closed_port_refuses);
    tcase_add_test(tcase, linux_accepts_our_reset);
    tcase_add_test(tcase, a_neighbour_that_is_not_there_is_unreachable);
    tcase_add_test(tcase, two_thousand_short_connections_that_linux_closes_first);
    tcase_add_test(tcase, two_thousand_short_connections_that_we_close_first);
    tcase_add_test(tcase, linux_connects_to_our_listener_and_gets_its_bytes_back);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(int argc, char **argv)
{
    const char *missing = tap_open(&tap_fd);
    SRunner *runner;
    pid_t peer;
    int failed;

    if (missing != NULL) {
        (void)printf("1..0 # SKIP %s\n", missing);
        return EXIT_SUCCESS;
    }
    if (argc == 3 && strcmp(argv[1], "--pcap") == 0 && !tap_capture(argv[2]))
        return EXIT_FAILURE;
    peer = tap_peer_start();
    runner = srunner_create(tap_suite());
    srunner_set_fork_status(runner, CK_NOFORK); /* one device, one list of addresses */
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    (void)kill(peer, SIGKILL);
    (void)waitpid(peer, NULL, 0);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
