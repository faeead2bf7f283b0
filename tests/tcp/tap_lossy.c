/*
 * tap_lossy.c - the stack against Linux' TCP over bad links, byte for byte, in both directions and
 * over both families: 200 transfers each way at four rates of loss, round trips from 1 to 200 ms
 * and some reordering; smaller MTUs and a black hole.
 *
 * Needs root and /dev/net/tun, else exits 77. `tap_lossy --pcap FILE` keeps the frames.
 */
#include "tests/tcp/tap_link.h"

#include <check.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define UPLOADS      25u /* and as many downloads, at the same time */
#define UPLOAD_BYTES (48u * 1024u)
#define WAIT_S       100u

static int tap_fd;
static unsigned next_host = 20;

struct transfer {
    uint32_t conn;
    bool upload, closed;
    uint64_t received;
    bool same;
    uint8_t answer[16];
    enum utcp_close_reason reason;
};

struct crowd {
    struct tap_link link;
    struct emu emu;
    struct utcp_extent pattern;
    struct transfer transfer[2 * UPLOADS];
    unsigned n, closed;
    bool done;
};

struct cell {
    const char *name;
    uint8_t family;
    uint16_t mtu;
    struct emu_config link;
};

static const struct cell cells[] = {
    {"clean, 1 ms", 4, 1500, {.delay_ns = 500 * NS_PER_US}},
    {"1 %, 1 ms", 6, 1500, {.delay_ns = 500 * NS_PER_US, .loss = 10000, .reorder = 10000}},
    {"1 %, 20 ms", 4, 1500, {.delay_ns = 10 * NS_PER_MS, .loss = 10000, .reorder = 10000}},
    {"3 %, 20 ms", 6, 1500, {.delay_ns = 10 * NS_PER_MS, .loss = 30000, .reorder = 10000}},
    {"10 %, 20 ms", 4, 1500, {.delay_ns = 10 * NS_PER_MS, .loss = 100000, .reorder = 10000}},
    {"10 %, 10 ms", 6, 1500, {.delay_ns = 5 * NS_PER_MS, .loss = 100000, .reorder = 10000}},
    {"1 %, 200 ms", 4, 1500, {.delay_ns = 100 * NS_PER_MS, .loss = 10000, .reorder = 10000}},
    {"clean, 200 ms", 6, 1500, {.delay_ns = 100 * NS_PER_MS}},
    {"MTU 1280", 6, 1280, {.delay_ns = 5 * NS_PER_MS, .loss = 10000}},
    {"MTU 576", 4, 576, {.delay_ns = 5 * NS_PER_MS, .loss = 10000}},
};

static struct transfer *transfer_of(struct crowd *t, uint32_t conn)
{
    for (unsigned i = 0; i < t->n; i++)
        if (t->transfer[i].conn == conn)
            return &t->transfer[i];
    ck_abort_msg("an event for nobody");
}

static void read_all(struct crowd *t, struct transfer *x)
{
    uint8_t buf[8192];
    uint32_t n;

    while ((n = utcp_recv(t->link.u, tap_now_ns(), x->conn, buf, sizeof buf)) > 0) {
        for (uint32_t i = 0; i < n; i++, x->received++) {
            if (x->upload && x->received < sizeof x->answer)
                x->answer[x->received] = buf[i];
            else if (!x->upload)
                x->same = x->same && buf[i] == pattern_byte(x->received);
        }
    }
}

static void on_event(struct tap_link *link, const struct utcp_event *event)
{
    struct crowd *t = link->test;
    struct transfer *x = transfer_of(t, event->conn);
    const uint64_t now = tap_now_ns();

    if ((event->events & UTCP_EV_CONNECTED) != 0 && x->upload) {
        ck_assert_int_eq(utcp_send(link->u, now, x->conn, &t->pattern, 0, UPLOAD_BYTES), UTCP_OK);
        ck_assert_int_eq(utcp_shutdown(link->u, now, x->conn), UTCP_OK);
    }
    read_all(t, x);
    if ((event->events & UTCP_EV_EOF) != 0)
        (void)utcp_shutdown(link->u, now, x->conn);
    if ((event->events & UTCP_EV_CLOSED) != 0) {
        x->closed = true;
        x->reason = event->reason;
        t->done = ++t->closed == t->n;
        utcp_release(link->u, now, x->conn);
    }
}

static void check_transfer(const struct crowd *t, const struct transfer *x)
{
    uint64_t answer[2];

    ck_assert_int_eq(x->reason, UTCP_CLOSE_NORMAL);
    if (!x->upload) {
        ck_assert_uint_eq(x->received, PEER_SMALL_BYTES);
        ck_assert(x->same);
        return;
    }
    memcpy(answer, x->answer, sizeof answer);
    ck_assert_uint_eq(answer[0], UPLOAD_BYTES);
    ck_assert_uint_eq(answer[1], hash_add(HASH_START, t->pattern.data, UPLOAD_BYTES));
}

static void local_text(uint8_t family, char text[static 32])
{
    (void)snprintf(text, 32, family == 6 ? "2001:db8::%u" : "192.0.2.%u", next_host++);
}

static void crowd_start(struct crowd *t, const struct cell *cell, unsigned n)
{
    static uint8_t bytes[UPLOAD_BYTES];
    struct utcp_connect req = {0};
    const bool never = false;
    char local[32];

    for (uint32_t i = 0; i < UPLOAD_BYTES; i++)
        bytes[i] = pattern_byte(i);
    memset(t, 0, sizeof *t);
    t->pattern = (struct utcp_extent){.data = bytes, .len = UPLOAD_BYTES, .refs = 1};
    t->link.on_event = on_event;
    t->link.test = t;
    t->link.mtu = cell->mtu;
    t->link.emu = &t->emu;
    emu_start(&t->emu, &cell->link, next_host);
    local_text(cell->family, local);
    tap_link_start(&t->link, tap_fd, local);
    if (cell->family == 6)
        (void)tap_link_run(&t->link, &never, 1); /* duplicate address detection */
    ck_assert(ip_addr_parse(local, &req.local));
    ck_assert(ip_addr_parse(cell->family == 6 ? TAP_PEER6 : TAP_PEER, &req.remote));
    for (t->n = 0; t->n < n; t->n++) {
        struct transfer *x = &t->transfer[t->n];

        x->upload = t->n % 2 == 0;
        x->same = true;
        req.remote_port = x->upload ? PEER_SINK : PEER_SMALL_SOURCE;
        ck_assert_int_eq(utcp_connect(t->link.u, tap_now_ns(), &req, &x->conn), UTCP_OK);
    }
}

static void crowd_finish(struct crowd *t, const char *name)
{
    ck_assert_msg(tap_link_run(&t->link, &t->done, WAIT_S), "%s: %u of %u are done", name,
                  t->closed, t->n);
    for (unsigned i = 0; i < t->n; i++)
        check_transfer(t, &t->transfer[i]);
    ck_assert_uint_eq(utcp_counters(t->link.u)[UTCP_N_drop_tcp_checksum], 0);
    utcp_check(t->link.u);
    tap_link_stop(&t->link);
    emu_stop(&t->emu);
    ck_assert_uint_eq(t->pattern.refs, 1);
}

START_TEST(every_byte_arrives_over_a_bad_link)
{
    static struct crowd crowd;

    crowd_start(&crowd, &cells[_i], 2 * UPLOADS);
    crowd_finish(&crowd, cells[_i].name);
}
END_TEST

/* Nothing longer than 1300 bytes passes, and nobody says so. */
START_TEST(a_black_hole_does_not_hold_mail_back)
{
    static const struct cell cell = {
        "black hole", 4, 1500, {.delay_ns = 5 * NS_PER_MS, .mtu = 1300}};
    static struct crowd crowd;
    const uint64_t start_ns = tap_now_ns();

    crowd_start(&crowd, &cell, 1); /* an upload: the other direction is Linux' affair */
    crowd_finish(&crowd, cell.name);
    ck_assert_uint_lt(tap_now_ns() - start_ns, 10 * NS_PER_S);
}
END_TEST

static Suite *lossy_suite(void)
{
    Suite *suite = suite_create("tcp against linux, bad links");
    TCase *tcase = tcase_create("tap");

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, every_byte_arrives_over_a_bad_link, 0,
                        sizeof cells / sizeof cells[0]);
    tcase_add_test(tcase, a_black_hole_does_not_hold_mail_back);
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
    runner = srunner_create(lossy_suite());
    srunner_set_fork_status(runner, CK_NOFORK); /* one device, one list of addresses */
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    (void)kill(peer, SIGKILL);
    (void)waitpid(peer, NULL, 0);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
