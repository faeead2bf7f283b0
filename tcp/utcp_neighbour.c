/*
 * utcp_neighbour.c - next hops and their MAC addresses: routing, the ARP cache (RFC 826).
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

bool utcp_route(const struct utcp *u, const struct ip_addr *remote, struct ip_addr *ret_next_hop)
{
    const uint32_t ip = be32_get(remote->bytes);
    const uint32_t net = be32_get(u->config.prefix4.bytes);

    if (remote->family != 4 || !utcp_ip4_is_host(remote->bytes) ||
        utcp_address_find(u, remote) != 0)
        return false;
    if (((ip ^ net) & prefix_mask4(u->config.prefix4_len)) == 0) {
        *ret_next_hop = *remote;
        return !is_prefix_end4(u, ip);
    }
    *ret_next_hop = u->config.gateway4;
    return u->config.gateway4.family == 4;
}

/* ---- cache --------------------------------------------------------------------------------- */

static uint32_t neighbour_find(const struct utcp *u, const struct ip_addr *ip)
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
    uint32_t id = neighbour_find(u, next_hop);

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

/* A probe goes to the known MAC (RFC 1122 2.3.2.1), a first question to everybody. */
static void send_request(struct utcp *u, const struct utcp_neighbour *n)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t nobody[6] = {0};
    struct utcp_arp arp = {.op = ARP_REQUEST};
    struct utcp_reply *reply;

    if (!address_at(u, n->asker)->used)
        return;
    reply = utcp_reply_new(u);
    if (reply == NULL)
        return;
    memcpy(arp.sender_mac, u->config.mac, 6);
    memcpy(arp.sender_ip, address_at(u, n->asker)->ip.bytes, 4);
    memcpy(arp.target_ip, n->ip.bytes, 4);
    reply->head_len = (uint16_t)utcp_arp_put(
        reply->head, n->state == NEIGHBOUR_PROBE ? n->mac : broadcast, nobody, &arp);
    COUNT(u, arp_requests_out);
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

    COUNT(u, arp_failures);
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

/* ---- ARP input ----------------------------------------------------------------------------- */

/* The merge step of RFC 826: an entry that exists learns the address, whatever kind of ARP it was.
 */
static bool learn(struct utcp *u, uint64_t now_ns, const struct utcp_arp *arp)
{
    struct ip_addr ip = {.family = 4};
    struct utcp_neighbour *n;
    uint32_t id, waiting;

    memcpy(ip.bytes, arp->sender_ip, 4);
    id = neighbour_find(u, &ip);
    if (id == 0)
        return false;
    n = neighbour_at(u, id);
    memcpy(n->mac, arp->sender_mac, 6);
    n->state = NEIGHBOUR_REACHABLE;
    utcp_timer_arm(u, now_ns, timer_of_neighbour(u, id), now_ns + REACHABLE_NS);
    while ((waiting = utcp_list_pop(&n->waiting, u->conn_links)) != 0) {
        conn_at(u, waiting)->queue = QUEUE_NONE;
        utcp_conn_ready(u, conn_at(u, waiting));
    }
    return true;
}

static void answer(struct utcp *u, const struct utcp_arp *request)
{
    struct utcp_reply *reply = utcp_reply_new(u);
    struct utcp_arp arp = {.op = ARP_REPLY};

    COUNT(u, arp_requests_in);
    if (reply == NULL)
        return;
    memcpy(arp.sender_mac, u->config.mac, 6);
    memcpy(arp.sender_ip, request->target_ip, 4);
    memcpy(arp.target_ip, request->sender_ip, 4);
    reply->head_len =
        (uint16_t)utcp_arp_put(reply->head, request->sender_mac, request->sender_mac, &arp);
}

void utcp_arp_input(struct utcp *u, uint64_t now_ns, const uint8_t *p, uint32_t len)
{
    struct utcp_arp arp;
    uint32_t own;
    bool learned;

    /* A group address as sender would make us send unicast traffic to everybody. */
    if (!utcp_arp_parse(p, len, &arp) || (arp.sender_mac[0] & 1) != 0) {
        COUNT(u, drop_arp_malformed);
        return;
    }
    own = utcp_address_find4(u, arp.sender_ip);
    if (own != 0) {
        if (memcmp(arp.sender_mac, u->config.mac, 6) != 0)
            utcp_address_conflict(u, now_ns, own);
        else
            COUNT(u, drop_arp_unused);
        return;
    }
    learned = learn(u, now_ns, &arp);
    if (arp.op == ARP_REQUEST && utcp_address_find4(u, arp.target_ip) != 0)
        answer(u, &arp);
    else if (!learned)
        COUNT(u, drop_arp_unused);
}
