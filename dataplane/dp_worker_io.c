/*
 * dp_worker_io.c - the loop of a lane's thread. See dp_worker_io.h, and dp_worker.h for a turn.
 *
 * Each turn reads the clock once. Frames are copied out of their mbuf by utcp_input() and into a
 * fresh one from utcp_output(), so no mbuf outlives a turn but in the device's rings and in the
 * hand-over rings.
 */
#include "dataplane/dp_worker_io.h"

#include "dataplane/dp_clock.h"

#include <rte_ethdev.h>
#include <rte_pause.h>

#define STUCK_NS         (1 * NS_PER_S)
#define IDLE_TURN_NS_MAX (20 * NS_PER_US)
#define IDLE_TURNS       64u /* turns without work before the lane sleeps */
#define BURSTS_OUT       8u  /* per turn: a lane that sends much still has to listen */

/* ---- in ---------------------------------------------------------------------------------- */

static uint32_t rx_flags(const struct rte_mbuf *m)
{
    uint32_t flags = 0;
    if ((m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD) {
        flags |= UTCP_RX_IP_CSUM_GOOD;
    }
    if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD) {
        flags |= UTCP_RX_L4_CSUM_GOOD;
    }
    return flags;
}

/* At most DP_BURST. */
static void take_frames(struct dp_worker_io *io, uint64_t now_ns, struct rte_mbuf **frames,
                        uint32_t n)
{
    struct utcp_rx rx[DP_BURST];
    for (uint32_t i = 0; i < n; i++) {
        /* Frames in several pieces are not asked for, so the first piece is the frame. */
        rx[i] = (struct utcp_rx){.data = rte_pktmbuf_mtod(frames[i], const uint8_t *),
                                 .len = frames[i]->data_len,
                                 .flags = rx_flags(frames[i])};
    }
    utcp_input_burst(io->lane->tcp, now_ns, rx, n);
    rte_pktmbuf_free_bulk(frames, n);
}

/* Gives the frame to another lane; false when its ring is full. */
static bool hand_over(struct dp_worker_io *io, uint32_t to, struct rte_mbuf *m)
{
    if (!io->to[to] || rte_ring_sp_enqueue(io->to[to], m) != 0) {
        return false;
    }
    io->lane->counters.handed_over++;
    dp_worker_wake(io->peers[to]);
    return true;
}

static void copy_to_all(struct dp_worker_io *io, const struct rte_mbuf *m)
{
    for (uint32_t to = 0; to < io->n_lanes; to++) {
        struct rte_mbuf *copy = io->to[to] ? rte_pktmbuf_copy(m, io->pool, 0, UINT32_MAX) : NULL;
        if (copy && !hand_over(io, to, copy)) {
            rte_pktmbuf_free(copy);
        }
    }
}

/* A frame of our own queue: another lane's, or ours (perhaps among others'), which is true. */
static bool is_ours(struct dp_worker_io *io, struct rte_mbuf *m)
{
    uint32_t owner = DP_STEER_HERE;
    io->lane->counters.rx_frames++;
    io->lane->counters.rx_bytes += m->pkt_len;
    if (io->steers) {
        owner = dp_steer_frame(&io->owners, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
    }
    if (owner == DP_STEER_ALL) {
        copy_to_all(io, m);
    } else if (owner != DP_STEER_HERE && owner != io->lane->index) {
        if (!hand_over(io, owner, m)) {
            rte_pktmbuf_free(m);
        }
        return false;
    }
    return true;
}

static uint32_t receive(struct dp_worker_io *io, uint64_t now_ns)
{
    struct rte_mbuf *burst[DP_BURST];
    uint32_t n = rte_eth_rx_burst(io->port_id, io->queue, burst, DP_BURST), ours = 0;
    for (uint32_t i = 0; i < n; i++) {
        rte_prefetch0(rte_pktmbuf_mtod(burst[i], const void *));
    }
    for (uint32_t i = 0; i < n; i++) {
        burst[ours] = burst[i];
        ours += is_ours(io, burst[i]);
    }
    take_frames(io, now_ns, burst, ours);
    return n;
}

/* Frames that the other lanes of the port received for us. */
static uint32_t receive_handed(struct dp_worker_io *io, uint64_t now_ns)
{
    struct rte_mbuf *burst[DP_BURST];
    uint32_t sum = 0;
    for (uint32_t lane = 0; io->steers && lane < io->n_lanes; lane++) {
        uint32_t n = !io->from[lane] ? 0
                                     : rte_ring_sc_dequeue_burst(io->from[lane], (void **)burst,
                                                                 DP_BURST, NULL);
        take_frames(io, now_ns, burst, n);
        sum += n;
    }
    return sum;
}

static bool frames_wait(void *arg)
{
    struct dp_worker_io *io = arg;
    for (uint32_t lane = 0; io->steers && lane < io->n_lanes; lane++) {
        if (io->from[lane] && !rte_ring_empty(io->from[lane])) {
            return true;
        }
    }
    return false;
}

/* ---- out --------------------------------------------------------------------------------- */

/* What the device does not take stays for the next turn: TCP builds frames only when they can go,
 * so a slow device slows the lane down and loses nothing. A device that has stopped is told from a
 * busy one by time, and its frames are dropped then: TCP sends them again. */
static bool flush(struct dp_worker_io *io, uint64_t now_ns)
{
    uint16_t sent = rte_eth_tx_burst(io->port_id, io->queue, io->out, io->n_out);
    io->lane->counters.tx_frames += sent;
    io->n_out = (uint16_t)(io->n_out - sent);
    if (sent > 0 || io->n_out == 0) {
        io->stuck_ns = now_ns;
    }
    if (io->n_out > 0 && now_ns - io->stuck_ns > STUCK_NS) {
        io->lane->counters.tx_dropped += io->n_out;
        rte_pktmbuf_free_bulk(io->out + sent, io->n_out);
        io->n_out = 0;
    }
    memmove(io->out, io->out + sent, io->n_out * sizeof io->out[0]);
    return io->n_out == 0;
}

static void set_offloads(struct rte_mbuf *m, const struct utcp_frame *frame)
{
    if (frame->l4_len == 0) {
        return;
    }
    m->tx_offload = rte_mbuf_tx_offload(frame->l2_len, frame->l3_len, frame->l4_len, 0, 0, 0, 0);
    m->ol_flags = RTE_MBUF_F_TX_TCP_CKSUM;
    m->ol_flags |=
        frame->ip_family == 6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
}

/* The next frame of TCP in an mbuf; null when there is none, or no mbuf for it. */
static struct rte_mbuf *next_frame(struct dp_worker_io *io, uint64_t now_ns)
{
    struct rte_mbuf *m = io->spare ? io->spare : rte_pktmbuf_alloc(io->pool);
    io->spare = NULL;
    if (!m) {
        return NULL;
    }
    uint8_t *at = rte_pktmbuf_mtod(m, uint8_t *);
    struct utcp_frame frame = {.head = at};
    if (!utcp_output(io->lane->tcp, now_ns, &frame)) {
        io->spare = m;
        return NULL;
    }
    uint32_t len = frame.head_len + frame.payload_len;
    INVARIANT(len <= rte_pktmbuf_tailroom(m));
    at += frame.head_len;
    for (uint32_t i = 0; i < frame.n_slices; i++) {
        memcpy(at, frame.slices[i].data, frame.slices[i].len);
        at += frame.slices[i].len;
    }
    m->data_len = (uint16_t)len;
    m->pkt_len = len;
    if (io->tx_checksum_offload) {
        set_offloads(m, &frame);
    }
    io->lane->counters.tx_bytes += len;
    return m;
}

static uint32_t send_frames(struct dp_worker_io *io, uint64_t now_ns)
{
    uint32_t sum = 0;
    struct rte_mbuf *m = NULL;
    for (uint32_t burst = 0; burst < BURSTS_OUT && (burst == 0 || m); burst++) {
        while (io->n_out < DP_BURST && (m = next_frame(io, now_ns)) != NULL) {
            io->out[io->n_out++] = m;
            sum++;
        }
        if (io->n_out > 0 && !flush(io, now_ns)) {
            break;
        }
    }
    return sum;
}

/* ---- the loop ---------------------------------------------------------------------------- */

/* A lane whose own work is done goes on handing over frames until no lane of its port needs them.
 */
static bool may_stop(struct dp_worker_io *io, uint64_t now_ns)
{
    if (!dp_worker_finished(io->lane, now_ns)) {
        return false;
    }
    atomic_store(&io->lane->finished, 1);
    for (uint32_t lane = 0; io->steers && lane < io->n_lanes; lane++) {
        if (io->to[lane] && !atomic_load(&io->peers[lane]->finished)) {
            return false;
        }
    }
    return true;
}

/* The lane's thread alone writes these. A turn of a lane that never sleeps and yet took so long was
 * another process's: it had the CPU meanwhile. */
static void count_idle(struct dp_worker_io *io, uint64_t ns)
{
    if (io->busy_poll && ns > IDLE_TURN_NS_MAX) {
        ns = 0;
    }
    uint64_t turns = atomic_load_explicit(&io->idle_turns, memory_order_relaxed);
    uint64_t sum_ns = atomic_load_explicit(&io->idle_ns, memory_order_relaxed);
    atomic_store_explicit(&io->idle_turns, turns + 1, memory_order_relaxed);
    atomic_store_explicit(&io->idle_ns, sum_ns + ns, memory_order_relaxed);
}

bool dp_worker_io_init(struct dp_worker_io *io, uint32_t n_addresses_max)
{
    return !io->steers || addr_map_init(&io->owners, n_addresses_max);
}

void dp_worker_io_fini(struct dp_worker_io *io)
{
    addr_map_fini(&io->owners);
}

static bool is_of_port(const struct dp_worker_io *io, uint32_t lane)
{
    return lane == io->lane->index || io->to[lane];
}

static void owners_add(struct dp_worker_io *io, uint32_t lane)
{
    struct ip_addr addr;
    for (uint32_t i = 0, n = dp_worker_addresses_used(io->peers[lane]); i < n; i++) {
        if (dp_worker_address_owned(io->peers[lane], i, &addr)) {
            (void)addr_map_put(&io->owners, &addr, lane); /* more than fit are not possible */
        }
    }
}

/* Control has changed addresses of some lane of the port: their owners are read anew. An address
 * that moves is gone from its old lane before it is put to the new one, so the last word is right.
 */
static void owners_follow(struct dp_worker_io *io)
{
    uint32_t changed = 0;
    for (uint32_t lane = 0; lane < io->n_lanes; lane++) {
        if (is_of_port(io, lane)) {
            changed += atomic_load_explicit(&io->peers[lane]->channel.map.header->addresses_changed,
                                            memory_order_acquire);
        }
    }
    if (changed == io->owners_changed) {
        return;
    }
    io->owners_changed = changed;
    addr_map_clear(&io->owners);
    for (uint32_t lane = 0; lane < io->n_lanes; lane++) {
        if (is_of_port(io, lane)) {
            owners_add(io, lane);
        }
    }
}

int dp_worker_main(void *arg)
{
    struct dp_worker_io *io = arg;
    struct dp_worker *lane = io->lane;
    uint32_t idle_turns = 0;
    uint64_t now_ns = dp_clock_ns();
    while (!may_stop(io, now_ns)) {
        uint64_t last_ns = now_ns;
        now_ns = dp_clock_ns();
        if (idle_turns > 0) {
            count_idle(io, now_ns - last_ns);
        }
        if (io->steers) {
            owners_follow(io);
        }
        uint32_t work = receive(io, now_ns);
        work += receive_handed(io, now_ns);
        work += dp_worker_turn(lane, now_ns);
        work += send_frames(io, now_ns);
        idle_turns = work > 0 ? 0 : idle_turns + 1;
        if (idle_turns > IDLE_TURNS && !io->busy_poll) {
            dp_worker_sleep(lane, now_ns, frames_wait, io);
        } else if (idle_turns > 0) {
            rte_pause();
        }
    }
    rte_pktmbuf_free_bulk(io->out, io->n_out);
    rte_pktmbuf_free(io->spare);
    io->spare = NULL;
    atomic_store(&lane->stopped, 1);
    return 0;
}
