/*
 * utcp_address.c - the source addresses of the lane, their announcement and defence (RFC 5227), and
 * listeners.
 *
 * An address is announced ANNOUNCE_NUM times when it is added. When another host is seen to use it,
 * it is kept and defended with one announcement, at most every DEFEND_INTERVAL (RFC 5227 2.4 (c)):
 * a mail sender must not lose an address to a misconfigured neighbour. Probing before use (2.1) is
 * left out: addresses are assigned by the operator and taken over quickly after a restart.
 */
#include "tcp/utcp_internal.h"

#define ANNOUNCE_NUM         2u
#define ANNOUNCE_INTERVAL_NS (2 * NS_PER_S)
#define DEFEND_INTERVAL_NS   (10 * NS_PER_S)

static uint64_t ip_hash(const struct utcp *u, const struct ip_addr *ip)
{
    uint64_t low, high;

    memcpy(&low, ip->bytes, 8);
    memcpy(&high, ip->bytes + 8, 8);
    low = (low ^ high ^ u->map_key[0]) * UINT64_C(0x9e3779b97f4a7c15);
    return low >> 32;
}

bool utcp_ip4_is_host(const uint8_t ip[4])
{
    return ip[0] != 0 && ip[0] != 127 && ip[0] < 224;
}

uint32_t utcp_address_find(const struct utcp *u, const struct ip_addr *ip)
{
    uint32_t id = utcp_map_first(&u->address_map, ip_hash(u, ip));

    while (id != 0 && !ip_addr_equal(&address_at(u, id)->ip, ip))
        id = u->address_map.next[id];
    return id;
}

uint32_t utcp_address_find4(const struct utcp *u, const uint8_t ip[4])
{
    struct ip_addr addr = {.family = 4};

    memcpy(addr.bytes, ip, 4);
    return utcp_address_find(u, &addr);
}

/* False when the frame found no room. */
static bool announce(struct utcp *u, uint32_t id)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t nobody[6] = {0};
    struct utcp_reply *reply = utcp_reply_new(u);
    struct utcp_arp arp = {.op = ARP_REQUEST};

    if (reply == NULL)
        return false;
    memcpy(arp.sender_mac, u->config.mac, 6);
    memcpy(arp.sender_ip, address_at(u, id)->ip.bytes, 4);
    memcpy(arp.target_ip, address_at(u, id)->ip.bytes, 4);
    reply->head_len = (uint16_t)utcp_arp_put(reply->head, broadcast, nobody, &arp);
    COUNT(u, arp_announcements_out);
    return true;
}

void utcp_address_on_timer(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    struct utcp_address *a = address_at(u, id);

    if (a->announcements_left == 0)
        return;
    if (!announce(u, id)) {
        utcp_timer_arm(u, now_ns, timer_of_address(u, id), now_ns + NS_PER_MS);
        return;
    }
    a->announcements_left--;
    if (a->announcements_left > 0)
        utcp_timer_arm(u, now_ns, timer_of_address(u, id), now_ns + ANNOUNCE_INTERVAL_NS);
}

void utcp_address_conflict(struct utcp *u, uint64_t now_ns, uint32_t id)
{
    struct utcp_address *a = address_at(u, id);

    COUNT(u, arp_conflicts);
    if (a->defended_ns != 0 && now_ns - a->defended_ns < DEFEND_INTERVAL_NS)
        return;
    if (announce(u, id))
        a->defended_ns = now_ns == 0 ? 1 : now_ns;
}

int utcp_address_add(struct utcp *u, uint64_t now_ns, const struct ip_addr *addr)
{
    uint32_t id;

    if (addr->family != 4 || u->config.prefix4.family != 4 || !utcp_ip4_is_host(addr->bytes))
        return UTCP_E_CONFIG;
    if (utcp_address_find(u, addr) != 0)
        return UTCP_E_EXISTS;
    id = utcp_pool_get(&u->addresses);
    if (id == 0) {
        COUNT(u, limit_addresses);
        return UTCP_E_LIMIT;
    }
    *address_at(u, id) =
        (struct utcp_address){.ip = *addr, .announcements_left = ANNOUNCE_NUM, .used = true};
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
    utcp_wheel_stop(&u->wheel, timer_of_address(u, id));
    utcp_map_remove(&u->address_map, ip_hash(u, addr), id);
    address_at(u, id)->used = false;
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
