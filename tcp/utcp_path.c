/*
 * utcp_path.c - what is known of a path: MTU (RFC 1191, RFC 8201, RFC 4821) and the cache that
 * connections of one source address to one destination share (RFC 9040).
 *
 * Mail is many short connections to the same hosts, so the cache is worth more than any single
 * connection can find out: a smaller MTU (for ten minutes, then the link's is tried again), the
 * round trip as first guess, ssthresh after a loss, and that a path swallows ECN SYNs. Entries are
 * replaced in a ring; nothing in it can do more harm than a slow start.
 *
 * Black holes: where ICMP is filtered, long segments vanish and short ones pass; mail sees "timeout
 * after DATA". When a long segment was not acknowledged for three timeouts the MTU goes down to a
 * value that nearly every path carries (1280, then 576 for IPv4), until data is acknowledged. That
 * is the fallback of RFC 4821 7.7; searching upwards (RFC 8899) is left out.
 */
#include "tcp/utcp_internal.h"

#define BLACK_HOLE_TIMEOUTS 3u /* as R1 of RFC 9293 3.8.3 */

/* ---- MTU ----------------------------------------------------------------------------------- */

static uint32_t mtu_floor(const struct utcp_conn *c)
{
    return conn_family(c) == 6 ? IPV6_MTU_FLOOR : IPV4_MTU_FLOOR;
}

/* The next smaller size that real links have (RFC 1191 7.1). */
static uint32_t plateau_below(uint32_t mtu)
{
    static const uint16_t plateaus[] = {8166, 4352, 2002, 1492, 1280, 1006, 576};

    for (size_t i = 0; i < sizeof plateaus / sizeof plateaus[0]; i++)
        if (plateaus[i] < mtu)
            return plateaus[i];
    return IPV4_MTU_FLOOR;
}

/* RFC 1191 6.3: what was too long is sent again in smaller pieces at once. The congestion window
 * stays: nothing was lost to congestion. False when mtu is no news. */
static bool lower_mtu(struct utcp *u, struct utcp_conn *c, uint32_t mtu)
{
    if (mtu < mtu_floor(c))
        mtu = mtu_floor(c);
    if (mtu >= c->mtu)
        return false;
    c->mtu = (uint16_t)mtu;
    if (c->state == UTCP_SYN_SENT)
        return true;
    utcp_conn_set_mss(c);
    utcp_sendq_mark_longer_lost(u, c, c->mss);
    utcp_conn_ready(u, c);
    return true;
}

/* ---- cache --------------------------------------------------------------------------------- */

static uint64_t path_hash(const struct utcp *u, uint32_t address, const uint8_t remote[16])
{
    uint64_t low, high;

    memcpy(&low, remote, 8);
    memcpy(&high, remote + 8, 8);
    low = (low ^ high ^ u->map_key[1] ^ (uint64_t)address << 40) * UINT64_C(0x9e3779b97f4a7c15);
    return low >> 32;
}

static struct utcp_path *path_find(const struct utcp *u, const struct utcp_conn *c)
{
    uint32_t id = utcp_map_first(&u->path_map, path_hash(u, c->address, c->remote));

    while (id != 0 && (u->paths[id].address != c->address ||
                       memcmp(u->paths[id].remote, c->remote, sizeof c->remote) != 0))
        id = u->path_map.next[id];
    return id == 0 ? NULL : &u->paths[id];
}

static void path_free(struct utcp *u, uint32_t id)
{
    struct utcp_path *path = &u->paths[id];

    if (path->address != 0)
        utcp_map_remove(&u->path_map, path_hash(u, path->address, path->remote), id);
    path->address = 0;
}

static struct utcp_path *path_get(struct utcp *u, const struct utcp_conn *c)
{
    struct utcp_path *path = path_find(u, c);
    uint32_t id;

    if (path != NULL)
        return path;
    id = u->path_next;
    u->path_next = id % u->config.limits.paths + 1;
    if (u->paths[id].address != 0)
        COUNT(u, paths_evicted);
    path_free(u, id);
    u->paths[id] = (struct utcp_path){.address = c->address};
    memcpy(u->paths[id].remote, c->remote, sizeof c->remote);
    utcp_map_put(&u->path_map, path_hash(u, c->address, c->remote), id);
    return &u->paths[id];
}

static bool is_fresh(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns - then_ns < PATH_AGE_NS;
}

void utcp_path_drop_address(struct utcp *u, uint32_t address)
{
    for (uint32_t id = 1; id <= u->config.limits.paths; id++)
        if (u->paths[id].address == address)
            path_free(u, id);
}

static void remember_mtu(struct utcp *u, uint64_t now_ns, const struct utcp_conn *c)
{
    struct utcp_path *path = path_get(u, c);

    path->mtu = c->mtu;
    path->mtu_ns = now_ns;
}

/* ---- what happens to a connection ----------------------------------------------------------- */

void utcp_path_too_big(struct utcp *u, uint64_t now_ns, struct utcp_conn *c, uint32_t mtu)
{
    if (!lower_mtu(u, c, mtu == 0 ? plateau_below(c->mtu) : mtu))
        return;
    COUNT(u, icmp_frag_needed);
    remember_mtu(u, now_ns, c);
}

/* Not remembered before something was acknowledged: the host may just be down. What counts is how
 * long the packet is: the peer's MSS may keep it far below our MTU. */
void utcp_path_black_hole(struct utcp *u, struct utcp_conn *c)
{
    const uint32_t options_len = (c->flags & CF_TIMESTAMPS) != 0 ? TCP_TS_LEN : 0;
    const uint32_t packet = seg_at(u, c->seg_head)->len + options_len + conn_headers_len(c);

    if (c->timeouts + 1u < BLACK_HOLE_TIMEOUTS || !conn_is_synchronized(c) || c->snd_wnd == 0 ||
        packet <= mtu_floor(c))
        return;
    if (lower_mtu(u, c, packet > IPV6_MTU_FLOOR ? IPV6_MTU_FLOOR : IPV4_MTU_FLOOR))
        COUNT(u, mtu_black_holes);
}

void utcp_path_recall(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    const struct utcp_path *path = path_find(u, c);

    if (!u->config.no_ecn)
        c->flags |= CF_ECN; /* to be offered */
    if (path == NULL)
        return;
    COUNT(u, path_hits);
    if (path->mtu != 0 && is_fresh(path->mtu_ns, now_ns) && path->mtu < c->mtu)
        c->mtu = path->mtu;
    if (path->no_ecn && is_fresh(path->learned_ns, now_ns))
        c->flags &= ~CF_ECN;
}

void utcp_path_recall_cwnd(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    const struct utcp_path *path = path_find(u, c);

    if (path == NULL || !is_fresh(path->learned_ns, now_ns))
        return;
    if (c->srtt_us == 0) {
        c->srtt_us = path->srtt_us;
        c->rttvar_us = path->rttvar_us;
    }
    if (path->ssthresh != 0)
        c->ssthresh = path->ssthresh > c->cwnd ? path->ssthresh : c->cwnd;
}

void utcp_path_remember(struct utcp *u, uint64_t now_ns, const struct utcp_conn *c)
{
    struct utcp_path *path;

    if (!conn_is_synchronized(c) || c->srtt_us == 0 || c->timeouts > 0)
        return;
    path = path_get(u, c);
    path->srtt_us = c->srtt_us;
    path->rttvar_us = c->rttvar_us;
    path->ssthresh = c->ssthresh < UINT32_C(1) << 29 ? c->ssthresh : 0;
    path->no_ecn =
        !u->config.no_ecn && (c->flags & (CF_ECN | CF_SYN_RTX | CF_PASSIVE)) == CF_SYN_RTX;
    path->learned_ns = now_ns;
    if (c->mtu < u->config.mtu && (path->mtu != c->mtu || !is_fresh(path->mtu_ns, now_ns))) {
        path->mtu = c->mtu;
        path->mtu_ns = now_ns;
    }
}
