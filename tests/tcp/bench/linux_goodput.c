/*
 * linux_goodput.c - goodput of the stack against that of Linux' CUBIC, on the very same emulated
 * link in the same run. Prints a table; it is no test, for a busy machine moves the figures.
 *
 *     bench_linux_goodput [RUNS [RTT_MS LOSS_PERCENT]]
 *
 * Two network namespaces with a TAP device each: A has the sink, B the sender of Linux. The
 * emulator stands between A and B, or between A and the stack. Each cell is the median of RUNS
 * transfers of each sender, in turns. With loss a transfer's time depends on which frames are lost
 * far more than on who sends, so the ratio comes with the interval that it lies in with 95 %
 * confidence (bootstrap over the runs): few runs prove nothing.
 */
#include "tests/tcp/tap_link.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINUX_SENDER "192.0.2.2"
#define RATE         2500000u /* bytes a second: 20 Mbit/s */
#define WAIT_S       120u
#define RUNS_MAX     1000u
#define RESAMPLES    2000u

struct cell {
    uint32_t rtt_ms, loss, bytes;
};

static const struct cell cells[] = {
    {1, 0, 2000000},   {1, 10000, 2000000},  {1, 30000, 1000000},  {1, 100000, 400000},
    {20, 0, 2000000},  {20, 10000, 1000000}, {20, 30000, 500000},  {20, 100000, 200000},
    {100, 0, 2000000}, {100, 10000, 500000}, {100, 30000, 200000}, {100, 100000, 60000},
    {200, 0, 2000000}, {200, 10000, 200000}, {200, 30000, 100000}, {200, 100000, 30000},
};

static struct emu_config link_of(const struct cell *cell)
{
    struct emu_config config = {.loss = cell->loss,
                                .delay_ns = cell->rtt_ms * NS_PER_MS / 2,
                                .bytes_per_s = RATE,
                                .queue_bytes = RATE / 1000 * cell->rtt_ms};

    if (config.queue_bytes < 30000)
        config.queue_bytes = 30000;
    return config;
}

/* ---- Linux sends ---------------------------------------------------------------------------- */

static uint64_t send_and_wait(uint32_t bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PEER_SINK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const uint64_t start_ns = tap_now_ns();
    static uint8_t data[65536];
    uint8_t answer[16];

    (void)inet_pton(AF_INET, TAP_PEER, &to.sin_addr);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
    INVARIANT(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    while (bytes > 0) {
        const size_t n = bytes < sizeof data ? bytes : sizeof data;
        const ssize_t sent = write(fd, data, n);

        INVARIANT(sent > 0);
        bytes -= (uint32_t)sent;
    }
    (void)shutdown(fd, SHUT_WR);
    INVARIANT(recv(fd, answer, sizeof answer, MSG_WAITALL) == (ssize_t)sizeof answer);
    (void)close(fd);
    return tap_now_ns() - start_ns;
}

/* A process in namespace B: reads how many bytes, answers how many nanoseconds. */
static void sender_start(int pipe_fd)
{
    uint32_t bytes;

    if (fork() != 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(pipe_fd, &bytes, sizeof bytes) == (ssize_t)sizeof bytes) {
        const uint64_t ns = send_and_wait(bytes);

        INVARIANT(write(pipe_fd, &ns, sizeof ns) == (ssize_t)sizeof ns);
    }
    _exit(0);
}

static void pump(int fd, struct emu *emu, unsigned port)
{
    uint8_t frame[EMU_FRAME_MAX];
    ssize_t n;

    while ((n = read(fd, frame, sizeof frame)) > 0)
        emu_put(emu, tap_now_ns(), port, frame, (uint32_t)n);
}

static uint64_t linux_ns(const struct cell *cell, const int fds[2], int pipe_fd, uint64_t seed)
{
    const struct emu_config config = link_of(cell);
    struct emu emu;
    uint64_t ns = 0;
    struct pollfd pfds[3] = {{.fd = fds[0], .events = POLLIN},
                             {.fd = fds[1], .events = POLLIN},
                             {.fd = pipe_fd, .events = POLLIN}};

    emu_start(&emu, &config, seed);
    INVARIANT(write(pipe_fd, &cell->bytes, sizeof cell->bytes) > 0);
    while (ns == 0) {
        const uint64_t now_ns = tap_now_ns(), deadline_ns = emu_deadline_ns(&emu);
        struct emu_frame *frame;
        int ms = 100;

        if (deadline_ns != TIME_NEVER_NS)
            ms = deadline_ns <= now_ns ? 0 : (int)((deadline_ns - now_ns) / NS_PER_MS);
        (void)poll(pfds, 3, ms);
        pump(fds[0], &emu, 0);
        pump(fds[1], &emu, 1);
        while ((frame = emu_take(&emu, tap_now_ns())) != NULL) {
            INVARIANT(write(fds[frame->to], frame->bytes, frame->len) > 0);
            free(frame);
        }
        if ((pfds[2].revents & POLLIN) != 0)
            INVARIANT(read(pipe_fd, &ns, sizeof ns) == (ssize_t)sizeof ns);
    }
    emu_stop(&emu);
    return ns;
}

/* ---- the stack sends ------------------------------------------------------------------------ */

struct ours {
    struct tap_link link;
    struct utcp_extent data;
    uint32_t conn, received;
    uint64_t sent, bytes;
    bool done;
};

static void ours_event(struct tap_link *link, const struct utcp_event *event)
{
    struct ours *t = link->test;
    uint8_t buf[64];

    if ((event->events & UTCP_EV_CONNECTED) != 0) {
        INVARIANT(utcp_send(link->u, tap_now_ns(), t->conn, &t->data, 0, (uint32_t)t->bytes) ==
                  UTCP_OK);
        INVARIANT(utcp_shutdown(link->u, tap_now_ns(), t->conn) == UTCP_OK);
    }
    t->received += utcp_recv(link->u, tap_now_ns(), t->conn, buf, sizeof buf);
    t->done = t->received == 16;
    INVARIANT((event->events & UTCP_EV_CLOSED) == 0 || t->done);
}

static uint64_t ours_ns(const struct cell *cell, int fd, uint64_t seed, unsigned host)
{
    static uint8_t zeros[4u << 20];
    const struct emu_config config = link_of(cell);
    struct emu emu;
    struct ours t = {.link = {.on_event = ours_event, .emu = &emu, .tx_queue_bytes = 4u << 20},
                     .data = {.data = zeros, .len = sizeof zeros, .refs = 1},
                     .bytes = cell->bytes};
    struct utcp_connect req = {.remote_port = PEER_SINK};
    uint64_t start_ns;
    char local[32];

    t.link.test = &t;
    emu_start(&emu, &config, seed);
    (void)snprintf(local, sizeof local, "192.0.2.%u", 10 + host % 200);
    (void)ip_addr_parse(local, &req.local);
    (void)ip_addr_parse(TAP_PEER, &req.remote);
    tap_link_start(&t.link, fd, local);
    start_ns = tap_now_ns();
    INVARIANT(utcp_connect(t.link.u, start_ns, &req, &t.conn) == UTCP_OK);
    INVARIANT(tap_link_run(&t.link, &t.done, WAIT_S));
    start_ns = tap_now_ns() - start_ns;
    utcp_release(t.link.u, tap_now_ns(), t.conn);
    tap_link_stop(&t.link);
    emu_stop(&emu);
    return start_ns;
}

/* ---- table ---------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static uint64_t median(uint64_t *values, unsigned n)
{
    qsort(values, n, sizeof *values, compare);
    return values[n / 2];
}

/* The ratio of medians when the runs are drawn again. */
static double resampled(const uint64_t *theirs, const uint64_t *ours, unsigned n, unsigned *seed)
{
    uint64_t a[RUNS_MAX], b[RUNS_MAX];

    for (unsigned i = 0; i < n; i++) {
        a[i] = theirs[(unsigned)rand_r(seed) % n];
        b[i] = ours[(unsigned)rand_r(seed) % n];
    }
    return (double)median(a, n) / (double)median(b, n);
}

static int compare_ratios(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print_confidence(const uint64_t *theirs, const uint64_t *ours, unsigned n)
{
    double ratios[RESAMPLES];
    unsigned seed = 1;

    for (unsigned i = 0; i < RESAMPLES; i++)
        ratios[i] = resampled(theirs, ours, n, &seed);
    qsort(ratios, RESAMPLES, sizeof ratios[0], compare_ratios);
    (void)printf("  %5.2f .. %.2f\n", ratios[RESAMPLES / 40], ratios[RESAMPLES - RESAMPLES / 40]);
}

static void run_cell(const struct cell *cell, const int fds[2], int pipe_fd, unsigned runs)
{
    uint64_t theirs[RUNS_MAX], ours[RUNS_MAX], a, b;
    static unsigned host;

    for (unsigned i = 0; i < runs; i++, host++) {
        ours[i] = ours_ns(cell, fds[1], 7 * host + 1, host);
        theirs[i] = linux_ns(cell, fds, pipe_fd, 7 * host + 1);
    }
    a = cell->bytes * NS_PER_S / median(ours, runs) / 1000;
    b = cell->bytes * NS_PER_S / median(theirs, runs) / 1000;
    (void)printf("%4u ms %5.1f %%  %6lu  %6lu  %5.2f", cell->rtt_ms, cell->loss / 10000.0,
                 (unsigned long)a, (unsigned long)b, (double)a / (double)b);
    print_confidence(theirs, ours, runs);
    (void)fflush(stdout);
}

/* All cells, or the one that the command line names. */
static bool is_wanted(const struct cell *cell, int argc, char **argv)
{
    return argc < 4 || (cell->rtt_ms == (uint32_t)atoi(argv[2]) &&
                        cell->loss == (uint32_t)atoi(argv[3]) * 10000);
}

int main(int argc, char **argv)
{
    const unsigned wanted = argc > 1 ? (unsigned)atoi(argv[1]) : 5;
    const unsigned runs = wanted < 1 ? 1 : (wanted > RUNS_MAX ? RUNS_MAX : wanted);
    const char *missing;
    int fds[2], pipe_fds[2];
    pid_t peer;

    missing = tap_open(&fds[1]);
    if (missing == NULL) {
        peer = tap_peer_start();
        missing = tap_open_at(LINUX_SENDER, &fds[0]);
    }
    if (missing != NULL) {
        (void)fprintf(stderr, "skipped: %s\n", missing);
        return 77;
    }
    INVARIANT(socketpair(AF_UNIX, SOCK_STREAM, 0, pipe_fds) == 0);
    sender_start(pipe_fds[1]);
    (void)printf("goodput in KB/s through 20 Mbit/s, median of %u\n"
                 "  RTT    loss    ours   Linux  ratio   95 %%\n",
                 runs);
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++)
        if (is_wanted(&cells[i], argc, argv))
            run_cell(&cells[i], fds, pipe_fds[0], runs);
    (void)kill(peer, SIGKILL);
    (void)waitpid(peer, NULL, 0);
    return EXIT_SUCCESS;
}
