/*
 * bench_lane.c - see bench_lane.h.
 *
 * The configuration goes through the same parser as the operator's, the lane is dp_worker's with
 * the loop of dp_worker_io, and this thread is the rest of the world: the network's other end, and
 * control.
 */
#include "tools/bench/bench_lane.h"

#include "dataplane/dp_clock.h"
#include "tools/bench/bench_feed.h"
#include "tools/bench/bench_sink.h"
#include "tools/bench/bench_wire.h"

#include <sys/eventfd.h>
#include <sys/random.h>
#include <sysexits.h>
#include <unistd.h>

#define WARM_UP_NS       (3 * NS_PER_S)   /* the second announcement of the addresses is in it */
#define IDLE_TURN_NS_MAX (20 * NS_PER_US) /* longer: another process had the CPU */
#define STOP_NS          (5 * NS_PER_S)   /* for the jobs that are out at the end */

struct bench {
    const struct bench_options *options;
    char run_dir[64];
    struct dp_config config;
    struct ip_addr sink_addr;
    struct bench_wire *wire;
    struct bench_feed *feed;
    struct dp_worker *lane;
    struct utcp *sink_tcp;
    struct bench_sink *sink;
    uint64_t polls, idle_polls, idle_ns;
};

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "wirepost-bench: %s: %s\n", what, why);
    return EX_OSERR;
}

/* ---- making ------------------------------------------------------------------------------ */

static uint32_t power_of_two(uint32_t least)
{
    uint32_t n = 64;
    while (n < least) {
        n *= 2;
    }
    return n;
}

/* Sources from 10.1.0.1 on; the receiver is 10.0.0.1. */
static json_t *config_json(const struct bench_options *o)
{
    char range[64];
    uint32_t last = (10u << 24) + (1u << 16) + o->addresses;
    uint32_t jobs = power_of_two(2 * o->sessions);
    uint64_t arena = (uint64_t)jobs * (o->size + 64) + (uint64_t)o->addresses * 512;
    (void)snprintf(range, sizeof range, "10.1.0.1-%u.%u.%u.%u", last >> 24, last >> 16 & 255,
                   last >> 8 & 255, last & 255);
    return json_pack("{s:{s:i,s:i,s:i,s:[{s:s,s:s,s:i,s:{s:s,s:s},s:[{s:i,s:i,s:{s:[s]}}]}]},"
                     "s:{s:{s:s}}}",
                     "dataplane", "jobs", (int)jobs, "arena_mb", (int)(arena >> 20) + 1, "sessions",
                     (int)(o->sessions < 16 ? 16 : o->sessions), "ports", "name", "bench", "device",
                     BENCH_DEVICE, "mtu", 1500, "ipv4", "prefix", "10.0.0.0/8", "gateway",
                     "10.0.0.1", "queues", "queue", 0, "lcore", (int)o->sender_cpu, "addresses",
                     "bench", range, "pools", "bench", "ehlo", "out-{n}.bench.example");
}

static int make_config(struct bench *b)
{
    struct config_errors errors = {0};
    json_t *root = config_json(b->options);
    bool good = root && dp_config_parse(root, &b->config, &errors);
    if (!good) {
        (void)fail("configuration", errors.count > 0 ? errors.list[0].message : "no memory");
    }
    json_decref(root);
    config_errors_free(&errors);
    b->sink_addr = (struct ip_addr){.bytes = {10, 0, 0, 1}, .family = 4};
    return good ? EX_OK : EX_SOFTWARE;
}

static int make_wire(struct bench *b)
{
    return bench_wire_start(b->options->sender_cpu, b->options->sink_cpu, &b->wire) ? EX_OK
                                                                                    : EX_OSERR;
}

static int make_feed(struct bench *b)
{
    (void)snprintf(b->run_dir, sizeof b->run_dir, "/dev/shm/wirepost-bench-XXXXXX");
    if (!mkdtemp(b->run_dir)) {
        b->run_dir[0] = '\0';
        return fail("/dev/shm", "no folder can be made there");
    }
    b->feed = bench_feed_create(b->options, b->run_dir, &b->config, &b->sink_addr);
    return b->feed ? EX_OK : EX_OSERR;
}

static int make_lane(struct bench *b)
{
    const char *why = NULL;
    struct dp_worker_config config = {
        .config = &b->config, .run_dir = b->run_dir, .rx_fd = -1, .now_ns = dp_clock_ns()};
    if (!bench_wire_open(b->wire, &b->config, config.mac)) {
        return EX_OSERR;
    }
    b->lane = dp_worker_open(&config, &why);
    if (!b->lane) {
        return fail("lane", why);
    }
    (void)dp_worker_post_fds(b->lane, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
                             bench_feed_done_fd(b->feed));
    return EX_OK;
}

static int make_sink(struct bench *b)
{
    uint32_t n = b->options->sessions * 2 + 1024;
    struct utcp_config config = {
        .mac = {2, 0, 0, 0, 0, 9},
        .mtu = 1500,
        .prefix4 = {.bytes = {10}, .family = 4},
        .prefix4_len = 8,
        .limits = {.connections = n,
                   .half_open = n,
                   .addresses = 1,
                   .neighbours = b->options->addresses + 16,
                   .time_wait = 65536,
                   .rx_blocks = 16 * n},
    };
    int error = 0;
    if (getrandom(config.secret, sizeof config.secret, 0) != (ssize_t)sizeof config.secret) {
        return fail("random numbers", "there are none");
    }
    b->sink_tcp = utcp_create(&config, &error);
    if (!b->sink_tcp || utcp_address_add(b->sink_tcp, dp_clock_ns(), &b->sink_addr) != UTCP_OK) {
        return fail("receiver", utcp_error_text(error));
    }
    b->sink = bench_sink_create(b->sink_tcp, &b->sink_addr, n, b->options->tls);
    return b->sink ? EX_OK : fail("receiver", "no memory, or no TLS");
}

/* ---- running ----------------------------------------------------------------------------- */

/* One turn of the receiver and of control. */
static uint64_t turn(struct bench *b, uint64_t last_ns, bool was_idle)
{
    uint64_t now_ns = dp_clock_ns();
    uint32_t work = bench_wire_receive(b->wire, b->sink_tcp, now_ns);
    if (was_idle && now_ns - last_ns < IDLE_TURN_NS_MAX) {
        b->idle_ns += now_ns - last_ns;
    }
    if (now_ns >= utcp_deadline_ns(b->sink_tcp)) {
        utcp_on_deadline(b->sink_tcp, now_ns);
    }
    work += bench_sink_run(b->sink, now_ns);
    work += bench_feed_run(b->feed);
    work += bench_wire_send(b->wire, b->sink_tcp, now_ns);
    b->polls++;
    b->idle_polls += work == 0;
    return now_ns;
}

/* Until `until_ns`, or, when stopped, until no job is out. */
static void run_until(struct bench *b, uint64_t until_ns)
{
    uint64_t now_ns = dp_clock_ns();
    bool idle = false;
    do {
        uint64_t idle_polls = b->idle_polls;
        now_ns = turn(b, now_ns, idle);
        idle = b->idle_polls != idle_polls;
    } while (now_ns < until_ns && bench_feed_out(b->feed) > 0);
}

static uint64_t own_cpu_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* All that grows, now. */
static void look(const struct bench *b, struct bench_figures *f)
{
    const uint64_t *tcp = utcp_counters(b->lane->tcp);
    uint64_t idle_ns;
    double now_s = (double)dp_clock_ns() / 1e9;
    *f = (struct bench_figures){
        .seconds = now_s,
        .messages = bench_feed_delivered(b->feed),
        .failed = bench_feed_failed(b->feed),
        .wrong_digests = bench_sink_counters(b->sink)->wrong,
        .connections = bench_sink_counters(b->sink)->connections,
        .polls_sender = b->lane->counters.loops,
        .polls_sink = b->polls,
        .idle_polls_sink = b->idle_polls,
        .busy_seconds_sink = (double)(own_cpu_ns() - b->idle_ns) / 1e9,
        .frames_out = b->lane->counters.tx_frames,
        .frames_in = b->lane->counters.rx_frames,
        .retransmissions = tcp[UTCP_N_segs_retrans],
    };
    bench_wire_idle(b->wire, &f->idle_polls_sender, &idle_ns);
    f->busy_seconds_sender = (double)(bench_wire_cpu_ns(b->wire) - idle_ns) / 1e9;
}

static void subtract(struct bench_figures *f, const struct bench_figures *before)
{
    f->seconds -= before->seconds;
    f->messages -= before->messages;
    f->connections -= before->connections;
    f->polls_sender -= before->polls_sender;
    f->idle_polls_sender -= before->idle_polls_sender;
    f->polls_sink -= before->polls_sink;
    f->idle_polls_sink -= before->idle_polls_sink;
    f->busy_seconds_sender -= before->busy_seconds_sender;
    f->busy_seconds_sink -= before->busy_seconds_sink;
    f->frames_out -= before->frames_out;
    f->frames_in -= before->frames_in;
    f->retransmissions -= before->retransmissions;
}

/* One second; the best one is kept in *best. */
static void measure_second(struct bench *b, struct bench_figures *best)
{
    struct bench_figures before, after;
    look(b, &before);
    run_until(b, dp_clock_ns() + NS_PER_S);
    look(b, &after);
    subtract(&after, &before);
    if (best->best_messages < after.messages) {
        best->best_messages = after.messages;
        best->best_seconds = after.seconds;
        best->best_busy_seconds_sender = after.busy_seconds_sender;
    }
}

static int measure(struct bench *b, struct bench_figures *ret_figures)
{
    struct bench_figures before, best = {0};
    if (!bench_wire_launch(b->wire, b->lane)) {
        return EX_OSERR;
    }
    run_until(b, dp_clock_ns() + WARM_UP_NS);
    look(b, &before);
    for (uint32_t second = 0; second < b->options->seconds; second++) {
        measure_second(b, &best);
    }
    look(b, ret_figures);
    subtract(ret_figures, &before);
    ret_figures->best_messages = best.best_messages;
    ret_figures->best_seconds = best.best_seconds;
    ret_figures->best_busy_seconds_sender = best.best_busy_seconds_sender;
    ret_figures->cycles_hz = bench_cycles_hz();

    bench_feed_stop(b->feed);
    run_until(b, dp_clock_ns() + STOP_NS);
    ret_figures->failed = bench_feed_failed(b->feed) + bench_feed_out(b->feed);
    ret_figures->wrong_digests = bench_sink_counters(b->sink)->wrong;
    (void)snprintf(ret_figures->failure, sizeof ret_figures->failure, "%s",
                   bench_feed_failure(b->feed));
    dp_worker_order(b->lane, DP_ORDER_EXIT);
    while (!atomic_load(&b->lane->stopped)) {
        (void)turn(b, 0, false);
    }
    bench_wire_wait(b->wire);
    return EX_OK;
}

/* ---- all of it --------------------------------------------------------------------------- */

static void remove_channel(const struct bench *b)
{
    char path[96];
    if (b->run_dir[0] != '\0') {
        (void)snprintf(path, sizeof path, "%s/lane-0.chan", b->run_dir);
        (void)unlink(path);
        (void)rmdir(b->run_dir);
    }
}

static void tear_down(struct bench *b)
{
    dp_worker_close(b->lane, dp_clock_ns());
    bench_sink_destroy(b->sink);
    utcp_destroy(b->sink_tcp);
    bench_feed_destroy(b->feed);
    remove_channel(b);
    if (b->wire) {
        bench_wire_close(b->wire, &b->config);
    }
    dp_config_free(&b->config);
}

int bench_lane_run(const struct bench_options *options, struct bench_figures *ret_figures)
{
    static int (*const steps[])(struct bench *) = {make_config, make_wire, make_feed, make_lane,
                                                   make_sink};
    struct bench b = {.options = options};
    int status = EX_OK;
    for (size_t i = 0; status == EX_OK && i < sizeof steps / sizeof steps[0]; i++) {
        status = steps[i](&b);
    }
    if (status == EX_OK) {
        status = measure(&b, ret_figures);
    }
    tear_down(&b);
    return status;
}
