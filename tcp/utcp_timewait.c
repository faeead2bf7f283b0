/*
 * utcp_timewait.c - TIME-WAIT in compact entries (RFC 9293 3.6.1, RFC 1337, RFC 6191).
 *
 * All entries live equally long, so they stand in a ring in the order of their end and need no
 * timer of their own: the front of the ring is the next to go. An entry that ends early (a new SYN,
 * a removed address) is dead: `address` is 0, and its place is taken back when the front reaches
 * it. A retransmitted FIN restarts the 2 MSL: the entry moves to the back. When the ring is full
 * the oldest entry goes early, which is counted.
 */
#include "tcp/utcp_internal.h"

struct utcp_tw *utcp_tw_at(const struct utcp *u, uint32_t map_id)
{
    INVARIANT_HOT(map_id > u->conns.count && map_id <= u->conns.count + u->config.limits.time_wait);
    return &u->time_wait[map_id - u->conns.count - 1];
}

static uint32_t tw_map_id(const struct utcp *u, const struct utcp_tw *tw)
{
    return u->conns.count + 1 + (uint32_t)(tw - u->time_wait);
}

static struct utcp_tuple tw_tuple(const struct utcp_tw *tw)
{
    struct utcp_tuple tuple = {
        .address = tw->address, .local_port = tw->local_port, .remote_port = tw->remote_port};

    memcpy(tuple.remote, tw->remote, 16);
    return tuple;
}

static void tw_kill(struct utcp *u, struct utcp_tw *tw)
{
    const struct utcp_tuple tuple = tw_tuple(tw);

    if (tw->address == 0)
        return;
    utcp_tuple_remove(u, &tuple, tw_map_id(u, tw));
    tw->address = 0;
}

static void tw_drop_front(struct utcp *u)
{
    tw_kill(u, &u->time_wait[u->tw_first]);
    u->tw_first = (u->tw_first + 1) % u->config.limits.time_wait;
    u->tw_count--;
}

static void tw_append(struct utcp *u, uint64_t now_ns, const struct utcp_tw *entry)
{
    const uint32_t size = u->config.limits.time_wait;
    const struct utcp_tuple tuple = tw_tuple(entry);
    struct utcp_tw *tw;

    if (u->tw_count == size) {
        if (u->time_wait[u->tw_first].address != 0)
            COUNT(u, time_wait_evicted);
        tw_drop_front(u);
    }
    tw = &u->time_wait[(u->tw_first + u->tw_count++) % size];
    *tw = *entry;
    tw->expires_ms = time_ms(now_ns) + u->config.time_wait_ms;
    u->tw_last_now_ns = now_ns;
    utcp_tuple_put(u, &tuple, tw_map_id(u, tw));
}

void utcp_tw_add(struct utcp *u, uint64_t now_ns, const struct utcp_conn *c)
{
    struct utcp_tw tw = {
        .local_port = c->local_port,
        .remote_port = c->remote_port,
        .address = (uint16_t)c->address,
        .has_timestamps = (c->flags & CF_TIMESTAMPS) != 0,
        .snd_nxt = c->snd_nxt,
        .rcv_nxt = c->rcv_nxt,
        .ts_recent = c->ts_recent,
    };

    memcpy(tw.remote, c->remote, 16);
    COUNT(u, time_wait_in);
    tw_append(u, now_ns, &tw);
}

/* RFC 6191 2, and RFC 9293 3.10.7.4 first step for peers without timestamps: is this the SYN of a
 * new connection, which cannot be an old duplicate? */
static bool may_reuse(const struct utcp_tw *tw, const struct utcp_segment *seg)
{
    if ((seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
        return false;
    if (tw->has_timestamps && seg->options.has_timestamps &&
        seq_gt(seg->options.ts_value, tw->ts_recent))
        return true;
    return seq_gt(seg->seq, tw->rcv_nxt);
}

static void tw_restart(struct utcp *u, uint64_t now_ns, struct utcp_tw *tw)
{
    const struct utcp_tw entry = *tw;

    tw_kill(u, tw);
    tw_append(u, now_ns, &entry);
}

bool utcp_tw_input(struct utcp *u, uint64_t now_ns, uint32_t map_id, const struct utcp_ip *ip,
                   const uint8_t mac[6], const struct utcp_segment *seg, uint32_t *ret_isn_floor)
{
    struct utcp_tw *tw = utcp_tw_at(u, map_id);

    if ((seg->flags & TCP_RST) != 0) {
        COUNT(u, drop_tcp_rst_time_wait);
        return false;
    }
    if (may_reuse(tw, seg) && utcp_listener_find(u, tw->address, tw->local_port) != NULL) {
        COUNT(u, time_wait_reused);
        *ret_isn_floor = tw->snd_nxt;
        tw_kill(u, tw);
        return true;
    }
    COUNT(u, drop_tcp_time_wait);
    /* An ACK that is in order needs no answer; anything else is asked for what we know. */
    if (utcp_segment_seq_len(seg) > 0 || seg->seq != tw->rcv_nxt)
        utcp_reply_time_wait(u, now_ns, ip, mac, tw);
    if ((seg->flags & TCP_FIN) != 0 && seg->seq + utcp_segment_seq_len(seg) == tw->rcv_nxt)
        tw_restart(u, now_ns, tw);
    return false;
}

void utcp_tw_expire(struct utcp *u, uint64_t now_ns)
{
    while (u->tw_count > 0) {
        const struct utcp_tw *tw = &u->time_wait[u->tw_first];

        if (tw->address != 0 && seq_lt(time_ms(now_ns), tw->expires_ms))
            return;
        tw_drop_front(u);
    }
}

/* The entries hold 32 bits of milliseconds; the rest comes from the time of the newest entry, which
 * is less than 2 MSL away from all the others. */
uint64_t utcp_tw_deadline_ns(const struct utcp *u)
{
    const uint64_t newest_ms = u->tw_last_now_ns / NS_PER_MS;
    int32_t ahead;

    if (u->tw_count == 0)
        return TIME_NEVER_NS;
    ahead = seq_diff(u->time_wait[u->tw_first].expires_ms, (uint32_t)newest_ms);
    if (u->time_wait[u->tw_first].address == 0 || ahead < 0)
        ahead = 0;
    return (newest_ms + (uint64_t)ahead) * NS_PER_MS;
}

void utcp_tw_drop_address(struct utcp *u, uint32_t address)
{
    for (uint32_t i = 0; i < u->tw_count; i++) {
        struct utcp_tw *tw = &u->time_wait[(u->tw_first + i) % u->config.limits.time_wait];

        if (tw->address == address)
            tw_kill(u, tw);
    }
}
