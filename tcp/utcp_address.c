/*
 * utcp_address.c - the source addresses of the lane, their announcement and defence (RFC 5227),
 * duplicate address detection (RFC 4862 5.4), and listeners.
 *
 *     add --IPv4--------------------------> USABLE --ANNOUNCE_NUM announcements-->
 *     add --IPv6--> TENTATIVE --1 s of silence--> USABLE --the same-->
 *                   TENTATIVE --somebody has it--> DUPLICATE (its connections are over)
 *
 * When another host is seen to use a usable address, it is kept and defended with one announcement,
 * at most every DEFEND_INTERVAL (RFC 5227 2.4 (c)): a mail sender must not lose an address to a
 * misconfigured neighbour. IPv4 probing before use (RFC 5227 2.1) is left out: addresses are
 * assigned by the operator and taken over quickly after a restart.
 */
#include "tcp/utcp_internal.h"

#define ANNOUNCE_NUM         2u
#define ANNOUNCE_INTERVAL_NS (2 * NS_PER_S)
#define DEFEND_INTERVAL_NS   (10 * NS_PER_S)
#define PROBE_NS             (1 * NS_PER_S)    /* RFC 4861 10: RETRANS_TIMER */
#define TRY_AGAIN_EACH_MS    (REPLIES_MAX / 2) /* addresses; the reply queue was full */

static uint64_t ip_hash(const struct utcp *u, const struct ip_addr *ip)
{
    uint64_t low, high;

    memcpy(&low, ip->bytes, 8);
    memcpy(&high, ip->bytes + 8, 8);
    low = (low ^ high ^ u->map_key[0]) * UINT64_C(0x9e3779b97f4a7c15);
    return low >> 32;
}

static bool ip6_is_host(const uint8_t ip[16])
{
    static const uint8_t zero[15] = {0};
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291 2.5.5.2 */

    return ip[0] != 0xff && (memcmp(ip, zero, 15) != 0 || ip[15] > 1) &&
           memcmp(ip, mapped, 12) != 0;
}

bool utcp_ip_is_host(uint8_t family, const uint8_t *ip)
{
    if (family == 6)
        return ip6_is_host(ip);
    return family == 4 && ip[0] != 0 && ip[0] != 127 && ip[0] < 224;
}

uint32_t utcp_address_find(const struct utcp *u, const struct ip_addr *ip)
{
    uint32_t id = utcp_map_first(&u->address_map, ip_hash(u, ip));

    while (id != 0 && !ip_addr_equal(&address_at(u, id)->ip, ip))
        id = u->address_map.next[id];
    return id;
}

uint32_t utcp_address_find_bytes(const struct utcp *u, uint8_t family, const uint8_t *ip)
{
    struct ip_addr addr = {.family = family};

    memcpy(addr.bytes, ip, ip_addr_len(family));
    return utcp_address_find(u, &addr);
}

enum utcp_address_state utcp_address_state(const struct utcp *u, const struct ip_addr *addr)
{
    const uint32_t id = utcp_address_find(u, addr);

    return id == 0 ? UTCP_ADDRESS_NONE : (enum utcp_address_state)address_at(u, id)->state;
}

/* ---- announcing and detecting -------------------------------------------------------------- */

/* False when the frame found no room. */
static bool announce(struct utcp *u, uint32_t id)
{
    return address_at(u, id)->ip.family == 6 ? utcp_nd_announce(u, id) : utcp_arp_announce(u, id);
}

static void wake_waiting(struct utcp *u, struct utcp_address *a)
{
    uint32_t id;

    while ((id = utcp_list_pop(&a->waiting, u->conn_links)) != 0) {
        conn_at(u, id)->queue = QUEUE_NONE;
        utcp_conn_ready(u, conn_at(u, id));
    }
}

/* Thousands of addresses that are added together take turns: each knows a millisecond of its own.
 */
static uint64_t try_again_ns(uint64_t now_ns, uint32_t id)
{
    return now_ns + (1 + id / TRY_AGAIN_EACH_MS) * NS_PER_MS;
}

/* RFC 4862 5.4.2: one probe, after we have told that we listen. Returns when to go on. */
static uint64_t probe_step(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    struct utcp_address *a = address_at(u, id);

    if (a->report_owed && !utcp_nd_report(u, id))
        return try_again_ns(now_ns, id);
    a->report_owed = false;
    if (!a->probed) {
        a->probed = utcp_nd_probe(u, id);
        return a->probed ? now_ns + PROBE_NS : try_again_ns(now_ns, id);
    }
    a->state = UTCP_ADDRESS_USABLE;
    wake_waiting(u, a);
    return now_ns;
}

static uint64_t announce_step(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    struct utcp_address *a = address_at(u, id);

    if (a->report_owed && !utcp_nd_report(u, id))
        return try_again_ns(now_ns, id);
    a->report_owed = false;
    if (a->announcements_left == 0)
        return TIME_NEVER_NS;
    if (!announce(u, id))
        return try_again_ns(now_ns, id);
    a->announcements_left--;
    return a->announcements_left > 0 ? now_ns + ANNOUNCE_INTERVAL_NS : TIME_NEVER_NS;
}

void utcp_address_on_timer(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    const struct utcp_address *a = address_at(u, id);
    uint64_t next_ns = now_ns;

    if (a->state == UTCP_ADDRESS_TENTATIVE)
        next_ns = probe_step(u, now_ns, id);
    if (a->state == UTCP_ADDRESS_USABLE)
        next_ns = announce_step(u, now_ns, id);
    if (next_ns != TIME_NEVER_NS)
        utcp_timer_arm(u, now_ns, timer_of_address(u, id), next_ns);
}

bool utcp_address_ready(struct utcp *u, struct utcp_conn *c)
{
    struct utcp_address *a = address_at(u, c->address);

    if (a->state != UTCP_ADDRESS_TENTATIVE)
        return true;
    INVARIANT_HOT(c->queue == QUEUE_NONE);
    c->queue = QUEUE_ADDRESS;
    utcp_list_push(&a->waiting, u->conn_links, conn_id(u, c));
    return false;
}

void utcp_address_conflict(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    struct utcp_address *a = address_at(u, id);

    COUNT(u, address_conflicts);
    if (a->state != UTCP_ADDRESS_USABLE ||
        (a->defended_ns != 0 && now_ns - a->defended_ns < DEFEND_INTERVAL_NS))
        return;
    if (announce(u, id))
        a->defended_ns = now_ns == 0 ? 1 : now_ns;
}

/* ---- adding and removing ------------------------------------------------------------------- */

int utcp_address_add(struct utcp *u, uint64_t now_ns, const struct ip_addr *addr)
{
    const struct ip_addr *prefix = addr->family == 6 ? &u->config.prefix6 : &u->config.prefix4;
    struct utcp_address *a;
    uint32_t id;

    if (prefix->family == 0 || !utcp_ip_is_host(addr->family, addr->bytes))
        return UTCP_E_CONFIG;
    if (utcp_address_find(u, addr) != 0)
        return UTCP_E_EXISTS;
    id = utcp_pool_get(&u->addresses);
    if (id == 0) {
        COUNT(u, limit_addresses);
        return UTCP_E_LIMIT;
    }
    a = address_at(u, id);
    *a = (struct utcp_address){
        .ip = *addr, .announcements_left = ANNOUNCE_NUM, .state = UTCP_ADDRESS_USABLE};
    if (addr->family == 6) {
        a->state = UTCP_ADDRESS_TENTATIVE;
        a->report_owed = true;
    }
    utcp_map_put(&u->address_map, ip_hash(u, addr), id);
    utcp_address_on_timer(u, now_ns, id);
    return UTCP_OK;
}

static void reset_connections(struct utcp *u, uint64_t now_ns, uint32_t address)
{
    for (uint32_t id = 1; id <= u->conns.count; id++) {
        struct utcp_conn *c = conn_at(u, id);

        if ((c->flags & CF_USED) == 0 || c->address != address)
            continue;
        if (!conn_is_over(c) || (c->flags & CF_RST_OWED) != 0)
            utcp_reply_conn_rst(u, now_ns, c);
        if ((c->flags & CF_RST_OWED) != 0)
            utcp_conn_free(u, c);
        else if (!conn_is_over(c))
            utcp_conn_close(u, now_ns, c, UTCP_CLOSE_LOCAL);
    }
}

void utcp_address_duplicate(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    COUNT(u, address_duplicates);
    address_at(u, id)->state = UTCP_ADDRESS_DUPLICATE;
    utcp_wheel_stop(&u->wheel, timer_of_address(u, id));
    reset_connections(u, now_ns, id); /* none of them has sent anything yet */
}

static void drop_listeners(struct utcp *u, uint32_t address)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < u->n_listeners; i++)
        if (u->listeners[i].address != address)
            u->listeners[kept++] = u->listeners[i];
    u->n_listeners = kept;
}

int utcp_address_remove(struct utcp *u, uint64_t now_ns, const struct ip_addr *addr)
{
    const uint32_t id = utcp_address_find(u, addr);

    if (id == 0)
        return UTCP_E_ADDRESS;
    reset_connections(u, now_ns, id);
    drop_listeners(u, id);
    utcp_tw_drop_address(u, id);
    utcp_half_drop_address(u, id);
    utcp_path_drop_address(u, id);
    utcp_wheel_stop(&u->wheel, timer_of_address(u, id));
    utcp_map_remove(&u->address_map, ip_hash(u, addr), id);
    address_at(u, id)->state = UTCP_ADDRESS_NONE;
    utcp_pool_put(&u->addresses, id);
    return UTCP_OK;
}

/* ---- listeners ----------------------------------------------------------------------------- */

const struct utcp_listener *utcp_listener_find(const struct utcp *u, uint32_t address,
                                               uint16_t port)
{
    for (uint32_t i = 0; i < u->n_listeners; i++)
        if (u->listeners[i].port == port && u->listeners[i].address == address)
            return &u->listeners[i];
    return NULL;
}

int utcp_listen(struct utcp *u, const struct ip_addr *local, uint16_t port, void *user)
{
    const uint32_t address = utcp_address_find(u, local);

    if (address == 0)
        return UTCP_E_ADDRESS;
    if (port == 0)
        return UTCP_E_CONFIG;
    if (utcp_listener_find(u, address, port) != NULL)
        return UTCP_E_EXISTS;
    if (u->n_listeners == u->config.limits.listeners) {
        COUNT(u, limit_listeners);
        return UTCP_E_LIMIT;
    }
    u->listeners[u->n_listeners++] =
        (struct utcp_listener){.address = address, .port = port, .user = user};
    return UTCP_OK;
}
