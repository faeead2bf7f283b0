/* sim_link.c - a link that loses, delays, reorders, duplicates and corrupts, as its seed says. */
#include "tests/tcp/sim/sim.h"

#include "tcp/utcp_wire.h"

#define PER_MILLION 1000000u

uint64_t sim_random(struct sim_rng *rng) /* splitmix64 */
{
    uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t sim_below(struct sim_rng *rng, uint64_t n)
{
    return sim_random(rng) % n;
}

bool sim_chance(struct sim_rng *rng, uint32_t per_million)
{
    return sim_below(rng, PER_MILLION) < per_million;
}

uint64_t sim_log_range(struct sim_rng *rng, uint64_t low, uint64_t high)
{
    uint64_t doublings = 0;
    uint64_t span;

    while (low << (doublings + 1) <= high)
        doublings++;
    span = low << sim_below(rng, doublings + 1);
    span += sim_below(rng, span);
    return span < high ? span : high;
}

/* ---- what the link is like ------------------------------------------------------------------ */

static uint32_t maybe(struct sim *sim, uint32_t one_in, uint32_t most)
{
    return sim_below(&sim->rng, one_in) == 0 ? (uint32_t)sim_below(&sim->rng, most) : 0;
}

static void direction_choose(struct sim *sim, struct sim_link *link)
{
    struct sim_rng *rng = &sim->rng;

    *link = (struct sim_link){.dead_from_ns = TIME_NEVER_NS, .outage_from_ns = TIME_NEVER_NS};
    link->delay_ns = sim_log_range(rng, 5 * NS_PER_US, 150 * NS_PER_MS);
    link->jitter_ns = sim_below(rng, 2) == 0 ? sim_below(rng, link->delay_ns) : 0;
    link->loss = maybe(sim, 2, 50000);
    link->duplicate = maybe(sim, 3, 30000);
    link->corrupt = maybe(sim, 3, 20000);
    link->reorder = maybe(sim, 3, 100000);
    if (sim_below(rng, 2) == 0) {
        link->bytes_per_s = sim_log_range(rng, 50000, 100 * 1000 * 1000);
        link->queue_bytes = (uint32_t)sim_log_range(rng, 8000, 500000);
    }
    if (sim_below(rng, 4) == 0) {
        link->burst_begin = (uint32_t)sim_below(rng, 20000);
        link->burst_loss = 300000 + (uint32_t)sim_below(rng, 600000);
    }
    link->thin_acks = maybe(sim, 4, 500000);
    link->mark = maybe(sim, 4, 100000);
    if (sim_below(rng, 6) == 0) {
        link->mtu = (sim->family == 6 ? 1280 : 576) + (uint32_t)sim_below(rng, 900);
        link->mtu_told = sim_below(rng, 2) == 0;
    }
    if (sim_below(rng, 4) == 0) {
        link->outage_every_ns = sim_log_range(rng, NS_PER_S, 20 * NS_PER_S);
        link->outage_ns = sim_log_range(rng, NS_PER_MS, link->outage_every_ns / 20);
        link->outage_from_ns = sim->now_ns + sim_below(rng, 2 * link->outage_every_ns);
        link->outage_to_ns = link->outage_from_ns + link->outage_ns;
    }
}

static bool is_lossy(const struct sim_link *link)
{
    return link->loss + link->corrupt + link->burst_begin + link->thin_acks + link->mtu > 0 ||
           link->outage_ns > 0 || link->bytes_per_s > 0;
}

void sim_link_choose(struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_HOSTS; i++)
        direction_choose(sim, &sim->link[i]);
    sim->lossy = is_lossy(&sim->link[0]) || is_lossy(&sim->link[1]);
    sim->severed = sim_below(&sim->rng, 20) == 0;
    if (sim->severed)
        sim->link[sim_below(&sim->rng, SIM_HOSTS)].dead_from_ns =
            sim->now_ns + sim_below(&sim->rng, 5 * NS_PER_S);
}

void sim_link_of_scenario(struct sim *sim)
{
    const struct sim_scenario *scenario = sim->scenario;

    for (uint32_t i = 0; i < SIM_HOSTS; i++)
        sim->link[i] = (struct sim_link){.dead_from_ns = TIME_NEVER_NS,
                                         .outage_from_ns = TIME_NEVER_NS,
                                         .delay_ns = scenario->rtt_ns / 2};
    sim->link[0].bytes_per_s = scenario->bytes_per_s;
    sim->link[0].queue_bytes = scenario->queue_bytes;
    sim->link[0].loss = scenario->loss;
    sim->lossy = true;
}

/* ---- what happens to a frame ---------------------------------------------------------------- */

static bool in_outage(struct sim *sim, struct sim_link *link)
{
    while (sim->now_ns >= link->outage_to_ns && link->outage_ns > 0) {
        link->outage_from_ns = link->outage_to_ns + sim_below(&sim->rng, 2 * link->outage_every_ns);
        link->outage_to_ns = link->outage_from_ns + link->outage_ns;
    }
    return sim->now_ns >= link->outage_from_ns || sim->now_ns >= link->dead_from_ns;
}

#define BURST_NS (50 * NS_PER_MS)

/* Loss comes alone, or in bad times. */
static bool is_lost(struct sim *sim, struct sim_link *link)
{
    if (sim_chance(&sim->rng, link->burst_begin))
        link->burst_until_ns = sim->now_ns + sim_below(&sim->rng, BURST_NS);
    if (sim->now_ns < link->burst_until_ns && sim_chance(&sim->rng, link->burst_loss))
        return true;
    return sim_chance(&sim->rng, link->loss);
}

static bool is_pure_ack(const struct utcp_frame *frame)
{
    return frame->l4_len > 0 && frame->payload_len == 0 &&
           frame->head[frame->head_len - frame->l4_len + 13] == TCP_ACK;
}

/* As modems and Wi-Fi do: of two ACKs that wait, one goes. */
static bool is_thinned(struct sim *sim, struct sim_link *link, const struct utcp_frame *frame)
{
    if (!is_pure_ack(frame))
        return false;
    link->thinned = !link->thinned && sim_chance(&sim->rng, link->thin_acks);
    return link->thinned;
}

/* What a router on the way would say (RFC 1191, RFC 8201). */
static void tell_too_big(struct sim *sim, uint32_t from, const uint8_t *frame)
{
    const uint8_t family = sim->family;
    const uint8_t *ip = frame + ETH_LEN;
    const uint32_t quoted = ip_header_len(family) + 8;
    const struct utcp_ip_header header = {
        .src = ip + (family == 6 ? 24 : 16),
        .dst = ip + (family == 6 ? 8 : 12),
        .payload_len = ICMP_LEN + quoted,
        .family = family,
        .proto = family == 6 ? IP_PROTO_ICMP6 : IP_PROTO_ICMP,
    };
    struct sim_event event = {.kind = SIM_FRAME, .host = from};
    uint32_t sum = 0;
    uint8_t *icmp;
    bool odd = false;

    event.at_ns = sim->now_ns + sim->link[from].delay_ns;
    event.len = ETH_LEN + ip_header_len(family) + ICMP_LEN + quoted;
    event.frame = calloc(1, event.len);
    INVARIANT(event.frame != NULL);
    utcp_eth_put(event.frame, frame + 6, frame, ip_eth_type(family));
    icmp = event.frame + ETH_LEN + utcp_ip_put(event.frame + ETH_LEN, &header);
    icmp[0] = family == 6 ? ICMP6_TOO_BIG : ICMP_UNREACHABLE;
    icmp[1] = family == 6 ? 0 : ICMP_CODE_FRAG_NEEDED;
    be16_put(icmp + 6, (uint16_t)sim->link[from].mtu);
    memcpy(icmp + ICMP_LEN, ip, quoted);
    if (family == 6)
        sum = utcp_sum_pseudo(6, header.src, header.dst, IP_PROTO_ICMP6, header.payload_len);
    be16_put(icmp + 2, (uint16_t)~utcp_sum_fold(utcp_sum_add(sum, icmp, header.payload_len, &odd)));
    sim_schedule(sim, event);
}

/* A queue that grows marks what it may instead of losing it later. */
static void mark(struct sim *sim, const struct sim_link *link, uint8_t *ip)
{
    if (!sim_chance(&sim->rng, link->mark))
        return;
    if (sim->family == 6 && (ip[1] & 0x30) == 0x20) {
        ip[1] |= 0x30;
    } else if (sim->family == 4 && (ip[1] & 3) == 2) {
        ip[1] |= 3;
        be16_put(ip + 10, 0);
        be16_put(ip + 10, utcp_checksum(ip, IPV4_LEN));
    }
}

/* When the frame leaves the bottleneck; TIME_NEVER_NS when its queue is full. */
static uint64_t bottleneck(struct sim *sim, struct sim_link *link, uint32_t len)
{
    uint64_t start = sim->now_ns;

    if (link->bytes_per_s == 0)
        return start;
    if (link->busy_until_ns > start) {
        if ((link->busy_until_ns - start) * link->bytes_per_s / NS_PER_S > link->queue_bytes)
            return TIME_NEVER_NS;
        start = link->busy_until_ns;
    }
    link->busy_until_ns = start + len * NS_PER_S / link->bytes_per_s;
    return link->busy_until_ns;
}

/* One bit, or a burst of less than 16: those the checksum always finds. Only IP packets, behind the
 * Ethernet header: ARP has no checksum, and the frame check sequence of Ethernet is not modelled.
 */
static bool corrupt(struct sim *sim, uint8_t *frame, uint32_t len)
{
    const uint32_t at = ETH_LEN + (uint32_t)sim_below(&sim->rng, len - ETH_LEN);

    if (be16_get(frame + 12) == ETH_TYPE_ARP)
        return false;
    frame[at] ^= (uint8_t)(1 + sim_below(&sim->rng, 255));
    return true;
}

static void deliver(struct sim *sim, uint32_t from, uint64_t leave_ns, const uint8_t *frame,
                    uint32_t len)
{
    const struct sim_link *link = &sim->link[from];
    struct sim_event event = {.kind = SIM_FRAME, .host = 1 - from, .len = len};

    event.at_ns = leave_ns + link->delay_ns;
    if (link->jitter_ns > 0)
        event.at_ns += sim_below(&sim->rng, link->jitter_ns);
    if (sim_chance(&sim->rng, link->reorder))
        event.at_ns += sim_below(&sim->rng, 4 * link->delay_ns + NS_PER_MS);
    event.frame = malloc(len);
    INVARIANT(event.frame != NULL);
    memcpy(event.frame, frame, len);
    if (sim_chance(&sim->rng, link->corrupt) && corrupt(sim, event.frame, len))
        sim_trace_frame(sim, from, frame, len, "corrupted");
    sim_schedule(sim, event);
}

void sim_link_send(struct sim *sim, uint32_t from, const struct utcp_frame *frame)
{
    struct sim_link *link = &sim->link[from];
    uint8_t bytes[SIM_FRAME_MAX];
    uint32_t len = frame->head_len;
    uint64_t leave_ns;

    INVARIANT(frame->head_len + frame->payload_len <= sizeof bytes);
    memcpy(bytes, frame->head, len);
    for (uint32_t i = 0; i < frame->n_slices; i++) {
        memcpy(bytes + len, frame->slices[i].data, frame->slices[i].len);
        len += frame->slices[i].len;
    }
    INVARIANT(len == frame->head_len + frame->payload_len);
    leave_ns = bottleneck(sim, link, len);
    if (link->mtu != 0 && len - ETH_LEN > link->mtu) {
        sim_trace_frame(sim, from, bytes, len, "too big");
        if (link->mtu_told)
            tell_too_big(sim, from, bytes);
        return;
    }
    if (leave_ns == TIME_NEVER_NS || in_outage(sim, link) || is_lost(sim, link) ||
        is_thinned(sim, link, frame)) {
        sim_trace_frame(sim, from, bytes, len, "lost");
        return;
    }
    if (frame->l4_len > 0)
        mark(sim, link, bytes + ETH_LEN);
    sim_trace_frame(sim, from, bytes, len, "");
    deliver(sim, from, leave_ns, bytes, len);
    if (sim_chance(&sim->rng, link->duplicate))
        deliver(sim, from, leave_ns, bytes, len);
}

/* ---- trace ---------------------------------------------------------------------------------- */

void sim_trace_frame(const struct sim *sim, uint32_t from, const uint8_t *frame, uint32_t len,
                     const char *fate)
{
    const bool v6 = be16_get(frame + 12) == ETH_TYPE_IPV6;
    const uint32_t head_len = ETH_LEN + ip_header_len(v6 ? 6 : 4);
    const uint8_t *tcp = frame + head_len;
    struct utcp_segment seg;

    if (!sim->trace)
        return;
    (void)printf("%12.6f %c ", (double)sim->now_ns / 1e9, from == 0 ? '>' : '<');
    if (be16_get(frame + 12) == ETH_TYPE_ARP || frame[ETH_LEN + (v6 ? 6 : 9)] != IP_PROTO_TCP ||
        !utcp_tcp_parse(tcp, len - head_len, &seg)) {
        (void)printf("other %u bytes %s\n", len, fate);
        return;
    }
    (void)printf("%u>%u %s%s%s%s%s seq %u len %u ack %u win %u %s\n", seg.src_port, seg.dst_port,
                 (seg.flags & TCP_SYN) != 0 ? "S" : "", (seg.flags & TCP_FIN) != 0 ? "F" : "",
                 (seg.flags & TCP_RST) != 0 ? "R" : "", (seg.flags & TCP_PSH) != 0 ? "P" : "",
                 (seg.flags & TCP_ACK) != 0 ? "." : "", seg.seq, seg.len, seg.ack, seg.window,
                 fate);
}
