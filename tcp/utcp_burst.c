/*
 * utcp_burst.c - a burst of frames: what they will touch is fetched into the cache ahead.
 *
 * With many connections a segment costs a few misses in a row (bucket of the map, connection,
 * segment in flight), each a hundred times dearer than what is computed in between. So a burst is
 * walked three times before it is taken in: each walk asks for what the last one has made known,
 * and the misses of all frames overlap. Nothing is decided here: frames that look odd, or belong to
 * nobody, simply have nothing fetched.
 */
#include "tcp/utcp_internal.h"

#define BURST_MAX 32u

/* What utcp_frame.c will find, in the usual case: no IPv4 options, no extension headers. 0: not
 * that (or, once in 2^64, a hash that is 0). */
static uint64_t tuple_hash_of(const struct utcp *u, const struct utcp_rx *frame)
{
    const uint8_t *ip = frame->data + ETH_LEN;
    const bool v6 = frame->len > 12 && frame->data[12] == 0x86;
    const uint32_t header = v6 ? IPV6_LEN : IPV4_LEN;
    uint32_t address;
    struct utcp_tuple tuple;

    if (frame->len < ETH_LEN + header + 4)
        return 0;
    if (v6 ? ip[6] != IP_PROTO_TCP : (ip[0] != 0x45 || ip[9] != IP_PROTO_TCP))
        return 0;
    address = utcp_address_find_bytes(u, v6 ? 6 : 4, ip + (v6 ? 24 : 16));
    if (address == 0)
        return 0;
    tuple = utcp_tuple_from_ip(address, v6 ? 6 : 4, ip + (v6 ? 8 : 12), be16_get(ip + header + 2),
                               be16_get(ip + header));
    return utcp_tuple_hash(u, &tuple);
}

static void fetch_first(const struct utcp *u, uint32_t id)
{
    if (id == 0)
        return;
    __builtin_prefetch(&u->tuples.next[id]);
    if (id > u->conns.count) {
        if (!id_is_half(u, id))
            memory_prefetch(utcp_tw_at(u, id), sizeof(struct utcp_tw));
        return;
    }
    memory_prefetch(conn_at(u, id), sizeof(struct utcp_conn));
    __builtin_prefetch(&u->event_links[id]);
    __builtin_prefetch(&u->conn_links[id]);
}

/* What an ACK looks at. */
static void fetch_segment(const struct utcp *u, uint32_t id)
{
    const struct utcp_conn *c;

    if (id == 0 || id > u->conns.count)
        return;
    c = conn_at(u, id);
    if (c->seg_head != 0)
        __builtin_prefetch(seg_at(u, c->seg_head));
    if (c->chunk_head != 0)
        __builtin_prefetch(chunk_at(u, c->chunk_head));
}

static void fetch(const struct utcp *u, const struct utcp_rx *frames, uint32_t n)
{
    uint64_t hashes[BURST_MAX];
    uint32_t ids[BURST_MAX];

    for (uint32_t i = 0; i < n; i++) {
        hashes[i] = tuple_hash_of(u, &frames[i]);
        __builtin_prefetch(&u->tuples.heads[hashes[i] & u->tuples.mask]);
    }
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = hashes[i] == 0 ? 0 : utcp_map_first(&u->tuples, hashes[i]);
        fetch_first(u, ids[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        fetch_segment(u, ids[i]);
}

void utcp_input_burst(struct utcp *u, uint64_t now_ns, const struct utcp_rx *frames, uint32_t n)
{
    while (n > 0) {
        const uint32_t part = n < BURST_MAX ? n : BURST_MAX;

        fetch(u, frames, part);
        for (uint32_t i = 0; i < part; i++)
            utcp_input(u, now_ns, frames[i].data, frames[i].len, frames[i].flags);
        frames += part;
        n -= part;
    }
}
