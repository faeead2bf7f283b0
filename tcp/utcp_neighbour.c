/*
 * utcp_neighbour.c - next hops and their MAC addresses: routing, and the cache that ARP (RFC 826)
 * and neighbour discovery (RFC 4861 7.3, without the DELAY state) fill.
 *
 *     FREE --get--> STALE without MAC = FAILED --use--> INCOMPLETE --answer--> REACHABLE
 *     INCOMPLETE --REQUESTS_MAX unanswered--> FAILED (those that wait and still connect are closed)
 *     REACHABLE --30 s--> STALE --use--> PROBE --answer--> REACHABLE
 *     PROBE --REQUESTS_MAX unanswered--> INCOMPLETE (its MAC is not used any more)
 *
 * Entries are created by connections only, never by what comes from the wire, so a scan of the
 * network cannot fill the table. An entry that no connection uses stays until its place is wanted.
 * Nothing is queued: a connection whose neighbour is unknown stands on the wait list of that
 * neighbour and builds its frame when the answer has come.
 */
#include "tcp/utcp_internal.h"

#define REQUESTS_MAX     3u
#define REQUEST_AFTER_NS (1 * NS_PER_S)
#define REACHABLE_NS     (30 * NS_PER_S)

static uint64_t hop_hash(const struct utcp *u, const struct ip_addr *ip)
{
    uint64_t low, high;

    memcpy(&low, ip->bytes, 8);
    memcpy(&high, ip->bytes + 8, 8);
    low = (low ^ high ^ u->map_key[0]) * UINT64_C(0x9e3779b97f4a7c15);
    return low >> 32;
}

/* ---- routing ------------------------------------------------------------------------------- */

static bool prefix_holds(const struct ip_addr *prefix, uint8_t len, const struct ip_addr *ip)
{
    const uint32_t whole = len / 8u, bits = len % 8u;

    if (prefix->family != ip->family || memcmp(prefix->bytes, ip->bytes, whole) != 0)
        return false;
    return bits == 0 || (prefix->bytes[whole] ^ ip->bytes[whole]) >> (8 - bits) == 0;
}

static uint32_t prefix_mask4(uint8_t len)
{
    return len == 0 ? 0 : UINT32_MAX << (32 - len);
}

/* The network and broadcast addresses of our own prefix are no hosts (but RFC 3021: /31, /32). */
static bool is_prefix_end4(const struct utcp *u, uint32_t ip)
{
    const uint32_t host = ip & ~prefix_mask4(u->config.prefix4_len);

    return u->config.prefix4_len < 31 &&
           (host == 0 || host == ~prefix_mask4(u->config.prefix4_len));
}

static bool is_link_local6(const struct ip_addr *ip)
{
    return ip->family == 6 && ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}

bool utcp_route(const struct utcp *u, const struct ip_addr *remote, struct ip_addr *ret_next_hop)
{
    const bool v6 = remote->family == 6;
    const struct ip_addr *prefix = v6 ? &u->config.prefix6 : &u->config.prefix4;
    const struct ip_addr *gateway = v6 ? &u->config.gateway6 : &u->config.gateway4;

    if (prefix->family == 0 || !utcp_ip_is_host(remote->family, remote->bytes) ||
        utcp_address_find(u, remote) != 0)
        return false;
    if (is_link_local6(remote) ||
        prefix_holds(prefix, v6 ? u->config.prefix6_len : u->config.prefix4_len, remote)) {
        *ret_next_hop = *remote;
        return v6 || !is_prefix_end4(u, be32_get(remote->bytes));
    }
    *ret_next_hop = *gateway;
    return gateway->family != 0;
}

/* ---- cache --------------------------------------------------------------------------------- */

uint32_t utcp_neighbour_find(const struct utcp *u, const struct ip_addr *ip)
{
    uint32_t id = utcp_map_first(&u->neighbour_map, hop_hash(u, ip));

    while (id != 0 && !ip_addr_equal(&neighbour_at(u, id)->ip, ip))
        id = u->neighbour_map.next[id];
    return id;
}

static uint32_t neighbour_new(struct utcp *u, const struct ip_addr *ip)
{
    uint32_t id = utcp_pool_get(&u->neighbours);

    if (id == 0) {
        id = utcp_list_pop(&u->idle_neighbours, u->neighbour_links);
        if (id == 0) {
            COUNT(u, neighbour_limit);
            return 0;
        }
        utcp_wheel_stop(&u->wheel, timer_of_neighbour(u, id));
        utcp_map_remove(&u->neighbour_map, hop_hash(u, &neighbour_at(u, id)->ip), id);
    }
    *neighbour_at(u, id) = (struct utcp_neighbour){.ip = *ip, .state = NEIGHBOUR_FAILED};
    utcp_map_put(&u->neighbour_map, hop_hash(u, ip), id);
    return id;
}

uint32_t utcp_neighbour_get(struct utcp *u, const struct ip_addr *next_hop, uint32_t asker)
{
    uint32_t id = utcp_neighbour_find(u, next_hop);

    if (id == 0)
        id = neighbour_new(u, next_hop);
    else if (neighbour_at(u, id)->refs == 0)
        utcp_list_remove(&u->idle_neighbours, u->neighbour_links, id);
    if (id == 0)
        return 0;
    neighbour_at(u, id)->refs++;
    neighbour_at(u, id)->asker = asker;
    return id;
}

void utcp_neighbour_put(struct utcp *u, uint32_t id)
{
    struct utcp_neighbour *n = neighbour_at(u, id);

    INVARIANT_HOT(n->refs > 0);
    if (--n->refs == 0)
        utcp_list_push(&u->idle_neighbours, u->neighbour_links, id);
}

/* ---- asking -------------------------------------------------------------------------------- */

/* A probe goes to the known MAC (RFC 1122 2.3.2.1, RFC 4861 7.3.3), a first question to all. */
static void send_request(struct utcp *u, const struct utcp_neighbour *n)
{
    if (address_at(u, n->asker)->state != UTCP_ADDRESS_USABLE)
        return;
    if (n->ip.family == 6)
        utcp_nd_solicit(u, n);
    else
        utcp_arp_request(u, n);
}

static void ask(struct utcp *u, uint64_t now_ns, uint32_t id, enum neighbour_state state)
{
    struct utcp_neighbour *n = neighbour_at(u, id);

    n->state = (uint8_t)state;
    n->requests = 1;
    send_request(u, n);
    utcp_timer_arm(u, now_ns, timer_of_neighbour(u, id), now_ns + REQUEST_AFTER_NS);
}

bool utcp_neighbour_ready(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    struct utcp_neighbour *n = neighbour_at(u, c->neighbour);

    if (!utcp_address_ready(u, c))
        return false;
    if (n->state == NEIGHBOUR_REACHABLE || n->state == NEIGHBOUR_PROBE)
        return true;
    n->asker = c->address;
    if (n->state == NEIGHBOUR_STALE) {
        ask(u, now_ns, c->neighbour, NEIGHBOUR_PROBE);
        return true;
    }
    INVARIANT_HOT(c->queue == QUEUE_NONE);
    c->queue = QUEUE_NEIGHBOUR;
    utcp_list_push(&n->waiting, u->conn_links, conn_id(u, c));
    if (n->state == NEIGHBOUR_FAILED)
        ask(u, now_ns, c->neighbour, NEIGHBOUR_INCOMPLETE);
    return false;
}

/* Nobody answers: connections that are not established are over, the others wait for their
 * retransmission timer. */
static void neighbour_fail(struct utcp *u, uint64_t now_ns, struct utcp_neighbour *n)
{
    uint32_t id;

    COUNT(u, neighbour_failures);
    n->state = NEIGHBOUR_FAILED;
    while ((id = utcp_list_pop(&n->waiting, u->conn_links)) != 0) {
        struct utcp_conn *c = conn_at(u, id);

        c->queue = QUEUE_NONE;
        if ((c->flags & CF_RST_OWED) != 0)
            utcp_conn_free(u, c);
        else if (c->state == UTCP_SYN_SENT || c->state == UTCP_SYN_RECEIVED)
            utcp_conn_close(u, now_ns, c, UTCP_CLOSE_UNREACHABLE);
    }
}

void utcp_neighbour_on_timer(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    struct utcp_neighbour *n = neighbour_at(u, id);

    if (n->state == NEIGHBOUR_REACHABLE) {
        n->state = NEIGHBOUR_STALE;
    } else if (n->requests < REQUESTS_MAX) {
        n->requests++;
        send_request(u, n);
        utcp_timer_arm(u, now_ns, timer_of_neighbour(u, id), now_ns + REQUEST_AFTER_NS);
    } else if (n->state == NEIGHBOUR_PROBE) {
        ask(u, now_ns, id, NEIGHBOUR_INCOMPLETE);
    } else {
        neighbour_fail(u, now_ns, n);
    }
}

/* ---- answers ------------------------------------------------------------------------------- */

void utcp_neighbour_learn(struct utcp *u, uint64_t now_ns, uint32_t id, const uint8_t mac[6],
                          bool reachable)
{
    struct utcp_neighbour *n = neighbour_at(u, id);
    uint32_t waiting;

    memcpy(n->mac, mac, 6);
    if (reachable) {
        n->state = NEIGHBOUR_REACHABLE;
        utcp_timer_arm(u, now_ns, timer_of_neighbour(u, id), now_ns + REACHABLE_NS);
    } else {
        n->state = NEIGHBOUR_STALE;
        utcp_wheel_stop(&u->wheel, timer_of_neighbour(u, id));
    }
    while ((waiting = utcp_list_pop(&n->waiting, u->conn_links)) != 0) {
        conn_at(u, waiting)->queue = QUEUE_NONE;
        utcp_conn_ready(u, conn_at(u, waiting));
    }
}
