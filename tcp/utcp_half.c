/*
 * utcp_half.c - passive opens before the handshake is over: SYN-RECEIVED in entries of 64 bytes
 * with their links (RFC 9293 3.10.7.2 and 3.10.7.4, RFC 4987 3.3).
 *
 *     LISTEN ------- SYN: SYN-ACK goes out -------------------> entry
 *     entry -------- ACK of our SYN, by utcp_half_input() ----> connection, which takes the segment
 *     entry -------- RST, another SYN, SYN_RETRIES_MAX -------> gone
 *
 * An entry knows what the SYN said and where it came from, and nothing else: no neighbour, no
 * segment, no slot of a connection. Its answers go through the queue of small frames, so whoever
 * sends SYNs from invented addresses costs 64 bytes each and nothing of what others need. Active
 * opens are not in here: their caller holds a handle, and there are as many as the caller wants.
 *
 * Timers: entries with the same number of timeouts wait equally long, so one list for each number
 * is in the order of time, and its head is the next.
 */
#include "tcp/utcp_internal.h"

static uint32_t map_id_of(const struct utcp *u, uint32_t id)
{
    return u->conns.count + u->config.limits.time_wait + id;
}

static uint32_t id_of_map(const struct utcp *u, uint32_t map_id)
{
    return map_id - u->conns.count - u->config.limits.time_wait;
}

static struct utcp_half *half_at(const struct utcp *u, uint32_t id)
{
    return utcp_pool_at(&u->halves, id);
}

struct utcp_half *utcp_half_at(const struct utcp *u, uint32_t map_id)
{
    return half_at(u, id_of_map(u, map_id));
}

static struct utcp_tuple tuple_of(const struct utcp_half *half)
{
    struct utcp_tuple tuple = {
        .address = half->address, .local_port = half->local_port, .remote_port = half->remote_port};

    memcpy(tuple.remote, half->remote, 16);
    return tuple;
}

static void drop(struct utcp *u, uint32_t id)
{
    const struct utcp_half *half = half_at(u, id);
    const struct utcp_tuple tuple = tuple_of(half);

    utcp_tuple_remove(u, &tuple, map_id_of(u, id));
    utcp_list_remove(&u->half_lists[half->timeouts], u->half_links, id);
    utcp_pool_put(&u->halves, id);
}

/* ---- SYN ------------------------------------------------------------------------------------ */

static void answer(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    struct utcp_half *half = half_at(u, id);

    half->sent_us = time_us(now_ns);
    u->half_now_ns = now_ns;
    utcp_list_push(&u->half_lists[half->timeouts], u->half_links, id);
    utcp_reply_half(u, now_ns, half, true);
}

static uint8_t flags_of(const struct utcp *u, const struct utcp_segment *syn)
{
    const bool ecn = !u->config.no_ecn && (syn->flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR);

    return (uint8_t)((syn->options.has_timestamps ? HALF_TIMESTAMPS : 0u) |
                     (syn->options.sack_permitted ? HALF_SACK : 0u) |
                     (syn->options.has_wscale ? HALF_WSCALE : 0u) | (ecn ? HALF_ECN : 0u));
}

bool utcp_half_open(struct utcp *u, uint64_t now_ns, const struct utcp_tuple *tuple,
                    const uint8_t mac[6], const struct utcp_segment *syn, uint32_t isn_floor)
{
    const uint32_t id = utcp_pool_get(&u->halves);
    struct utcp_half *half;

    if (id == 0) {
        COUNT(u, limit_half_open);
        return false;
    }
    half = half_at(u, id);
    *half = (struct utcp_half){
        .local_port = tuple->local_port,
        .remote_port = tuple->remote_port,
        .address = (uint16_t)tuple->address,
        .mss = syn->options.mss,
        .flags = flags_of(u, syn),
        .wscale = syn->options.wscale,
        .iss = utcp_tuple_isn(u, now_ns, tuple),
        .irs = syn->seq,
        .ts_recent = syn->options.ts_value,
    };
    memcpy(half->remote, tuple->remote, 16);
    memcpy(half->mac, mac, 6);
    if (isn_floor != 0 && seq_leq(half->iss, isn_floor))
        half->iss = isn_floor + UINT16_MAX; /* RFC 6191 2: beyond what the old one used */
    utcp_tuple_put(u, tuple, map_id_of(u, id));
    answer(u, now_ns, id);
    return true;
}

/* ---- what comes then ------------------------------------------------------------------------ */

/* In the window that the SYN-ACK has offered (RFC 9293 3.4). */
static bool in_window(const struct utcp *u, const struct utcp_half *half,
                      const struct utcp_segment *seg)
{
    return seg->seq - (half->irs + 1) < u->config.rx_window_bytes;
}

/* It did not get our SYN-ACK. The wait for the next one begins anew. */
static void syn_again(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    utcp_list_remove(&u->half_lists[half_at(u, id)->timeouts], u->half_links, id);
    answer(u, now_ns, id);
}

/* RFC 5961 3.2: only what is exactly next ends it; the rest of the window is challenged. */
static void input_rst(struct utcp *u, uint64_t now_ns, uint32_t id, const struct utcp_segment *seg)
{
    const struct utcp_half *half = half_at(u, id);

    if (seg->seq == half->irs + 1) {
        drop(u, id);
    } else if (in_window(u, half, seg)) {
        COUNT(u, drop_tcp_rst_challenged);
        utcp_reply_half(u, now_ns, half, false);
    } else {
        COUNT(u, drop_tcp_rst_window);
    }
}

/* RFC 9293 3.10.7.4 fourth step: a passive open goes back to LISTEN. */
static void input_syn(struct utcp *u, uint64_t now_ns, uint32_t id, const struct utcp_segment *seg)
{
    const struct utcp_half *half = half_at(u, id);

    if (seg->seq == half->irs && (seg->flags & TCP_ACK) == 0) {
        syn_again(u, now_ns, id);
    } else if (in_window(u, half, seg)) {
        COUNT(u, drop_tcp_syn_challenged);
        drop(u, id);
    } else {
        COUNT(u, drop_tcp_window);
        utcp_reply_half(u, now_ns, half, false);
    }
}

bool utcp_half_input(struct utcp *u, uint64_t now_ns, uint32_t map_id, const struct utcp_ip *ip,
                     const uint8_t mac[6], const struct utcp_segment *seg)
{
    const uint32_t id = id_of_map(u, map_id);
    const struct utcp_half *half = half_at(u, id);

    if ((seg->flags & TCP_RST) != 0) {
        input_rst(u, now_ns, id, seg);
    } else if ((seg->flags & TCP_SYN) != 0) {
        input_syn(u, now_ns, id, seg);
    } else if (!in_window(u, half, seg)) {
        COUNT(u, drop_tcp_window);
        utcp_reply_half(u, now_ns, half, false);
    } else if ((seg->flags & TCP_ACK) == 0) {
        COUNT(u, drop_tcp_no_ack);
    } else if (seg->ack != half->iss + 1) {
        COUNT(u, drop_tcp_ack);
        utcp_reply_rst(u, ip, mac, seg);
    } else {
        return true;
    }
    return false;
}

struct utcp_half utcp_half_take(struct utcp *u, uint32_t map_id)
{
    const struct utcp_half half = *utcp_half_at(u, map_id);

    drop(u, id_of_map(u, map_id));
    return half;
}

/* ---- time ------------------------------------------------------------------------------------ */

/* An entry has 32 bits of microseconds; the rest comes from the newest, which is never more than a
 * minute away from all the others. */
static uint64_t due_ns(const struct utcp *u, const struct utcp_half *half)
{
    const uint64_t newest_us = u->half_now_ns / NS_PER_US;
    const int32_t behind_us = seq_diff((uint32_t)newest_us, half->sent_us);

    return (newest_us - (uint64_t)behind_us + ((uint64_t)RTO_INITIAL_US << half->timeouts)) *
           NS_PER_US;
}

uint64_t utcp_half_deadline_ns(const struct utcp *u)
{
    uint64_t first_ns = TIME_NEVER_NS;

    if (u->halves.free == u->halves.count)
        return TIME_NEVER_NS;
    for (uint32_t i = 0; i <= SYN_RETRIES_MAX; i++)
        if (u->half_lists[i].head != 0) {
            const uint64_t ns = due_ns(u, half_at(u, u->half_lists[i].head));

            first_ns = ns < first_ns ? ns : first_ns;
        }
    return first_ns;
}

static void timeout(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    struct utcp_half *half = half_at(u, id);

    if (half->timeouts == SYN_RETRIES_MAX) {
        COUNT(u, timeouts_r2);
        drop(u, id);
        return;
    }
    utcp_list_remove(&u->half_lists[half->timeouts], u->half_links, id);
    half->timeouts++;
    COUNT(u, timeouts_syn);
    COUNT(u, segs_retrans);
    answer(u, now_ns, id);
}

void utcp_half_expire(struct utcp *u, uint64_t now_ns)
{
    if (u->halves.free == u->halves.count)
        return;
    for (uint32_t i = SYN_RETRIES_MAX + 1; i-- > 0;) { /* what moves up is not looked at again */
        struct utcp_list *list = &u->half_lists[i];

        while (list->head != 0 && due_ns(u, half_at(u, list->head)) <= now_ns)
            timeout(u, now_ns, list->head);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

void utcp_half_drop_address(struct utcp *u, uint32_t address)
{
    for (uint32_t id = 1; id <= u->halves.count; id++)
        if (u->halves.used[id] && half_at(u, id)->address == address)
            drop(u, id);
}

void utcp_half_drop_all(struct utcp *u)
{
    for (uint32_t id = 1; id <= u->halves.count; id++)
        if (u->halves.used[id])
            drop(u, id);
}
