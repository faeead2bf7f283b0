/* bench_wire.c - see bench_wire.h. */
#include "tools/bench/bench_wire.h"

#include "dataplane/dp_worker_io.h"

#include <pthread.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_mbuf.h>

#define RING_FRAMES 1024u
#define POOL_FRAMES 8191u
#define POOL_CACHE  256u
#define SENDER      1u /* lcore; the receiver is the main one, 0 */

struct bench_wire {
    struct rte_ring *to_sink, *to_sender;
    struct rte_mempool *pool; /* of the receiver */
    struct rte_mbuf *spare;
    struct dp_devices devices;
    struct dp_worker_io io;
    bool opened;
    _Atomic bool running;
    pthread_t thread; /* of the lane, once running */
};

static bool fail(const char *what)
{
    (void)fprintf(stderr, "wirepost-bench: %s: %s\n", what, rte_strerror(rte_errno));
    return false;
}

static bool start_eal(uint16_t sender_cpu, uint16_t sink_cpu)
{
    static char words[][16] = {"wirepost-bench",
                               "--lcores",
                               "",
                               "--no-huge",
                               "-m",
                               "256",
                               "--no-pci",
                               "--no-telemetry",
                               "--no-shconf",
                               "--log-level",
                               "error"};
    char *args[RTE_DIM(words) + 1] = {NULL};
    (void)snprintf(words[2], sizeof words[2], "0@%u,1@%u", sink_cpu, sender_cpu);
    for (size_t i = 0; i < RTE_DIM(words); i++) {
        args[i] = words[i];
    }
    return rte_eal_init((int)RTE_DIM(words), args) >= 0 || fail("DPDK cannot start");
}

bool bench_wire_start(uint16_t sender_cpu, uint16_t sink_cpu, struct bench_wire **ret_wire)
{
    struct bench_wire *w = calloc(1, sizeof *w);
    if (!w || !start_eal(sender_cpu, sink_cpu)) {
        free(w);
        return false;
    }
    w->to_sink =
        rte_ring_create("to-sink", RING_FRAMES, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    w->to_sender =
        rte_ring_create("to-sender", RING_FRAMES, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    w->pool = rte_pktmbuf_pool_create("sink", POOL_FRAMES, POOL_CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                      SOCKET_ID_ANY);
    if (!w->to_sink || !w->to_sender || !w->pool ||
        rte_eth_from_rings("bench", &w->to_sender, 1, &w->to_sink, 1, 0) < 0) {
        free(w);
        return fail("rings");
    }
    *ret_wire = w;
    return true;
}

bool bench_wire_open(struct bench_wire *w, const struct dp_config *config, uint8_t ret_mac[6])
{
    struct config_errors errors = {0};
    w->opened = true;
    if (!dp_devices_open(&w->devices, config, &errors)) {
        (void)fprintf(stderr, "wirepost-bench: %s\n",
                      errors.count > 0 ? errors.list[0].message : "the device does not open");
        config_errors_free(&errors);
        return false;
    }
    memcpy(ret_mac, w->devices.ports[0].mac, 6);
    return true;
}

static int lane_main(void *arg)
{
    struct bench_wire *w = arg;
    w->thread = pthread_self();
    atomic_store(&w->running, true);
    return dp_worker_main(&w->io);
}

uint64_t bench_wire_cpu_ns(const struct bench_wire *w)
{
    clockid_t clock;
    struct timespec ts = {0};
    if (atomic_load(&w->running) && pthread_getcpuclockid(w->thread, &clock) == 0) {
        (void)clock_gettime(clock, &ts);
    }
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

bool bench_wire_launch(struct bench_wire *w, struct dp_worker *lane)
{
    w->io = (struct dp_worker_io){
        .lane = lane,
        .pool = w->devices.pools[0],
        .n_lanes = 1,
        .port_id = w->devices.ports[0].port_id,
        .tx_checksum_offload = w->devices.ports[0].tx_checksum_offload,
        .busy_poll = true,
    };
    return rte_eal_remote_launch(lane_main, w, SENDER) == 0 || fail("the sender's thread");
}

void bench_wire_wait(struct bench_wire *w)
{
    (void)w;
    rte_eal_mp_wait_lcore();
}

void bench_wire_close(struct bench_wire *w, const struct dp_config *config)
{
    rte_pktmbuf_free(w->spare);
    if (w->opened) {
        dp_devices_close(&w->devices, config);
    }
    (void)rte_eal_cleanup();
    free(w);
}

void bench_wire_idle(const struct bench_wire *w, uint64_t *ret_turns, uint64_t *ret_ns)
{
    *ret_turns = atomic_load_explicit(&w->io.idle_turns, memory_order_relaxed);
    *ret_ns = atomic_load_explicit(&w->io.idle_ns, memory_order_relaxed);
}

/* ---- the receiver's end ------------------------------------------------------------------ */

uint32_t bench_wire_receive(struct bench_wire *w, struct utcp *tcp, uint64_t now_ns)
{
    struct rte_mbuf *burst[DP_BURST];
    uint32_t n = rte_ring_sc_dequeue_burst(w->to_sink, (void **)burst, DP_BURST, NULL);
    struct utcp_rx rx[DP_BURST];
    for (uint32_t i = 0; i < n; i++) {
        rte_prefetch0(rte_pktmbuf_mtod(burst[i], const void *));
    }
    for (uint32_t i = 0; i < n; i++) {
        rx[i] = (struct utcp_rx){.data = rte_pktmbuf_mtod(burst[i], const uint8_t *),
                                 .len = burst[i]->data_len};
    }
    utcp_input_burst(tcp, now_ns, rx, n);
    rte_pktmbuf_free_bulk(burst, n);
    return n;
}

static struct rte_mbuf *next_frame(struct bench_wire *w, struct utcp *tcp, uint64_t now_ns)
{
    struct rte_mbuf *m = w->spare ? w->spare : rte_pktmbuf_alloc(w->pool);
    w->spare = NULL;
    if (!m) {
        return NULL;
    }
    uint8_t *at = rte_pktmbuf_mtod(m, uint8_t *);
    struct utcp_frame frame = {.head = at};
    if (!utcp_output(tcp, now_ns, &frame)) {
        w->spare = m;
        return NULL;
    }
    at += frame.head_len;
    for (uint32_t i = 0; i < frame.n_slices; i++) {
        memcpy(at, frame.slices[i].data, frame.slices[i].len);
        at += frame.slices[i].len;
    }
    m->data_len = (uint16_t)(frame.head_len + frame.payload_len);
    m->pkt_len = m->data_len;
    return m;
}

uint32_t bench_wire_send(struct bench_wire *w, struct utcp *tcp, uint64_t now_ns)
{
    struct rte_mbuf *out[DP_BURST];
    uint32_t n = 0;
    while (n < DP_BURST && n < rte_ring_free_count(w->to_sender)) {
        out[n] = next_frame(w, tcp, now_ns);
        if (!out[n]) {
            break;
        }
        n++;
    }
    return rte_ring_sp_enqueue_burst(w->to_sender, (void **)out, n, NULL);
}

uint64_t bench_cycles_hz(void)
{
    return rte_get_tsc_hz();
}
