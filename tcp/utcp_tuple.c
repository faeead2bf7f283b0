/*
 * utcp_tuple.c - the numbers that a connection is known by: lookup, initial sequence number,
 * timestamp offset, local port.
 *
 * Lookup is a bounded hash map over all four parts, not a table by [address][port]: with random
 * ports (RFC 6056) such a table touches nearly all of its pages (192 KB for each source address),
 * while this one takes 8 bytes for each connection that can exist. The hash is keyed, so that peers
 * of a listener cannot aim at one bucket. TIME-WAIT entries stand in the same map.
 */
#include "tcp/utcp_internal.h"
#include "tcp/utcp_siphash.h"

/* Domains of the keyed hashes: one secret, three independent functions. */
enum tuple_hash {
    HASH_ISN = 1,
    HASH_TS = 2,
    HASH_PORT = 3,
};

struct utcp_tuple utcp_tuple_from_ip(uint32_t address, uint8_t family, const uint8_t *remote,
                                     uint16_t local_port, uint16_t remote_port)
{
    struct utcp_tuple tuple = {
        .address = address, .local_port = local_port, .remote_port = remote_port};

    memcpy(tuple.remote, remote, ip_addr_len(family));
    return tuple;
}

__extension__ typedef unsigned __int128 wide; /* not ISO C, but both compilers have it */

static uint64_t multiply_fold(uint64_t a, uint64_t b)
{
    const wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t utcp_tuple_hash(const struct utcp *u, const struct utcp_tuple *tuple)
{
    const uint64_t ports =
        (uint64_t)tuple->address << 32 | (uint64_t)tuple->local_port << 16 | tuple->remote_port;
    uint64_t low, high;

    memcpy(&low, tuple->remote, 8);
    memcpy(&high, tuple->remote + 8, 8);
    return multiply_fold(multiply_fold(low ^ u->map_key[0], high ^ u->map_key[1]) ^ ports,
                         u->map_key[1] | 1);
}

static bool conn_matches(const struct utcp_conn *c, const struct utcp_tuple *tuple)
{
    return c->local_port == tuple->local_port && c->remote_port == tuple->remote_port &&
           c->address == tuple->address && memcmp(c->remote, tuple->remote, 16) == 0;
}

static bool tw_matches(const struct utcp_tw *tw, const struct utcp_tuple *tuple)
{
    return tw->local_port == tuple->local_port && tw->remote_port == tuple->remote_port &&
           tw->address == tuple->address && memcmp(tw->remote, tuple->remote, 16) == 0;
}

static bool half_matches(const struct utcp_half *half, const struct utcp_tuple *tuple)
{
    return half->local_port == tuple->local_port && half->remote_port == tuple->remote_port &&
           half->address == tuple->address && memcmp(half->remote, tuple->remote, 16) == 0;
}

static bool matches(const struct utcp *u, uint32_t id, const struct utcp_tuple *tuple)
{
    if (id <= u->conns.count)
        return conn_matches(conn_at(u, id), tuple);
    return id_is_half(u, id) ? half_matches(utcp_half_at(u, id), tuple)
                             : tw_matches(utcp_tw_at(u, id), tuple);
}

uint32_t utcp_tuple_find(const struct utcp *u, const struct utcp_tuple *tuple)
{
    uint32_t id = utcp_map_first(&u->tuples, utcp_tuple_hash(u, tuple));

    while (id != 0 && !matches(u, id, tuple))
        id = u->tuples.next[id];
    return id;
}

void utcp_tuple_put(struct utcp *u, const struct utcp_tuple *tuple, uint32_t id)
{
    utcp_map_put(&u->tuples, utcp_tuple_hash(u, tuple), id);
}

void utcp_tuple_remove(struct utcp *u, const struct utcp_tuple *tuple, uint32_t id)
{
    utcp_map_remove(&u->tuples, utcp_tuple_hash(u, tuple), id);
}

struct utcp_tuple utcp_conn_tuple(const struct utcp_conn *c)
{
    struct utcp_tuple tuple = {
        .address = c->address, .local_port = c->local_port, .remote_port = c->remote_port};

    memcpy(tuple.remote, c->remote, 16);
    return tuple;
}

static uint64_t keyed_hash(const struct utcp *u, const struct utcp_tuple *tuple,
                           enum tuple_hash domain)
{
    uint8_t text[1 + 17 + 16 + 4];

    text[0] = (uint8_t)domain;
    memcpy(text + 1, address_at(u, tuple->address)->ip.bytes, 16);
    text[17] = address_at(u, tuple->address)->ip.family;
    memcpy(text + 18, tuple->remote, 16);
    be16_put(text + 34, tuple->local_port);
    be16_put(text + 36, tuple->remote_port);
    return utcp_siphash(u->config.secret, text, sizeof text);
}

/* RFC 6528 3: ISN = M + F(tuple, secret), M a clock of 4 us. */
uint32_t utcp_tuple_isn(const struct utcp *u, uint64_t now_ns, const struct utcp_tuple *tuple)
{
    return (uint32_t)(now_ns / (4 * NS_PER_US)) + (uint32_t)keyed_hash(u, tuple, HASH_ISN);
}

/* RFC 7323 5.4: another offset for each tuple hides the uptime, and the clock still never goes back
 * for one tuple. */
uint32_t utcp_tuple_ts_offset(const struct utcp *u, const struct utcp_tuple *tuple)
{
    return (uint32_t)keyed_hash(u, tuple, HASH_TS);
}

/* RFC 6056 3.3.4 (double hash): a secret start for each destination, and counters that many
 * destinations share. The search ends after as many tries as there are entries that could be in the
 * way, and after PORT_TRIES_MAX in any case: a connect must not cost milliseconds. The counter
 * keeps what was tried, so the next connect goes on behind it. */
uint16_t utcp_tuple_choose_port(struct utcp *u, struct utcp_tuple tuple)
{
    const uint32_t first = u->config.port_first;
    const uint32_t range = u->config.port_last - first + 1u;
    const uint32_t entries =
        u->conns.count - u->conns.free + u->tw_count + u->halves.count - u->halves.free;
    uint32_t tries = entries + 1 < range ? entries + 1 : range;
    uint64_t hash;
    uint32_t *counter;

    if (tries > PORT_TRIES_MAX)
        tries = PORT_TRIES_MAX;
    tuple.local_port = 0;
    hash = keyed_hash(u, &tuple, HASH_PORT);
    counter = &u->port_counters[hash >> 56];
    for (uint32_t i = 0; i < tries; i++) {
        tuple.local_port = (uint16_t)(first + ((uint32_t)hash + (*counter)++) % range);
        if (utcp_tuple_find(u, &tuple) == 0 &&
            utcp_listener_find(u, tuple.address, tuple.local_port) == NULL)
            return tuple.local_port;
    }
    return 0;
}
