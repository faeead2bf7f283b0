/*
 * utcp_nd.c - neighbour discovery (RFC 4861), duplicate address detection (RFC 4862 5.4) and
 * membership of the solicited-node groups (MLDv2 reports, RFC 3810, RFC 3590).
 *
 * Every message must have hop limit 255: it comes from this link (RFC 4861 7.1). A solicitation
 * creates no cache entry, an advertisement changes only entries that a connection has asked for.
 * Left out on purpose: router discovery, redirects and SLAAC (addresses and gateway are
 * configured), the DELAY state, link-local addresses of our own (MLD reports come from "::", as RFC
 * 3590 allows).
 */
#include "tcp/utcp_internal.h"

#define ND_SOLICIT         135u
#define ND_ADVERTISE       136u
#define MLD_QUERY          130u
#define MLD2_REPORT        143u
#define ND_LEN             24u
#define ND_OPTION_LEN      8u
#define ND_OPTION_SOURCE   1u
#define ND_OPTION_TARGET   2u
#define NA_SOLICITED       0x40u
#define NA_OVERRIDE        0x20u
#define HOP_LIMIT_ON_LINK  255u
#define MLD_REPORT_LEN     28u /* one record */
#define MLD_CHANGE_TO_EXCL 4u  /* "we listen from now on" */
#define ROUTER_ALERT_LEN   8u
#define MLD_ANSWER_NS      NS_PER_S /* the shortest time between two answers to queries */

static const uint8_t unspecified[16] = {0};
static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
static const uint8_t all_mld_routers[16] = {0xff, 0x02, [15] = 0x16};

/* ff02::1:ffXX:XXXX (RFC 4291 2.7.1). */
static void solicited_node(const uint8_t ip[16], uint8_t ret_group[16])
{
    static const uint8_t prefix[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};

    memcpy(ret_group, prefix, sizeof prefix);
    memcpy(ret_group + 13, ip + 13, 3);
}

static void group_mac(const uint8_t group[16], uint8_t ret_mac[6])
{
    ret_mac[0] = ret_mac[1] = 0x33;
    memcpy(ret_mac + 2, group + 12, 4);
}

/* ---- frames out ---------------------------------------------------------------------------- */

/* Ethernet and IPv6 around an ICMPv6 message of `len` bytes that stands at icmp6_of(reply). */
static uint8_t *icmp6_of(struct utcp_reply *reply)
{
    return reply->head + ETH_LEN + IPV6_LEN;
}

static void finish(const struct utcp *u, struct utcp_reply *reply, const uint8_t mac[6],
                   const uint8_t src[16], const uint8_t dst[16], uint32_t len)
{
    const struct utcp_ip_header header = {.src = src,
                                          .dst = dst,
                                          .payload_len = len,
                                          .family = 6,
                                          .proto = IP_PROTO_ICMP6,
                                          .hop_limit = HOP_LIMIT_ON_LINK};
    uint8_t *p = icmp6_of(reply);
    bool odd = false;

    utcp_eth_put(reply->head, mac, u->config.mac, ETH_TYPE_IPV6);
    (void)utcp_ip_put(reply->head + ETH_LEN, &header);
    be16_put(p + 2, 0);
    be16_put(p + 2, (uint16_t)~utcp_sum_fold(utcp_sum_add(
                        utcp_sum_pseudo(6, src, dst, IP_PROTO_ICMP6, len), p, len, &odd)));
    reply->head_len = (uint16_t)(ETH_LEN + IPV6_LEN + len);
    reply->ip_family = 6;
    reply->l3_len = IPV6_LEN;
}

/* Type, flags, target and the option with our MAC (0: without). */
static uint32_t put_message(const struct utcp *u, uint8_t *p, uint8_t type, uint8_t flags,
                            const uint8_t target[16], uint8_t option)
{
    memset(p, 0, 8);
    p[0] = type;
    p[4] = flags;
    memcpy(p + 8, target, 16);
    if (option == 0)
        return ND_LEN;
    p[ND_LEN] = option;
    p[ND_LEN + 1] = 1;
    memcpy(p + ND_LEN + 2, u->config.mac, 6);
    return ND_LEN + ND_OPTION_LEN;
}

void utcp_nd_solicit(struct utcp *u, const struct utcp_neighbour *n)
{
    struct utcp_reply *reply = utcp_reply_new(u);
    uint8_t dst[16], mac[6];

    if (reply == NULL)
        return;
    solicited_node(n->ip.bytes, dst);
    group_mac(dst, mac);
    if (n->state == NEIGHBOUR_PROBE) {
        memcpy(dst, n->ip.bytes, 16);
        memcpy(mac, n->mac, 6);
    }
    finish(u, reply, mac, address_at(u, n->asker)->ip.bytes, dst,
           put_message(u, icmp6_of(reply), ND_SOLICIT, 0, n->ip.bytes, ND_OPTION_SOURCE));
    COUNT(u, nd_solicits_out);
}

bool utcp_nd_probe(struct utcp *u, uint32_t address)
{
    const uint8_t *target = address_at(u, address)->ip.bytes;
    struct utcp_reply *reply = utcp_reply_new(u);
    uint8_t group[16], mac[6];

    if (reply == NULL)
        return false;
    solicited_node(target, group);
    group_mac(group, mac);
    finish(u, reply, mac, unspecified, group,
           put_message(u, icmp6_of(reply), ND_SOLICIT, 0, target, 0));
    COUNT(u, nd_probes_out);
    return true;
}

static bool advertise(struct utcp *u, uint32_t address, uint8_t flags, const uint8_t dst[16],
                      const uint8_t mac[6])
{
    const uint8_t *own = address_at(u, address)->ip.bytes;
    struct utcp_reply *reply = utcp_reply_new(u);

    if (reply == NULL)
        return false;
    finish(u, reply, mac, own, dst,
           put_message(u, icmp6_of(reply), ND_ADVERTISE, flags, own, ND_OPTION_TARGET));
    COUNT(u, nd_advertisements_out);
    return true;
}

bool utcp_nd_announce(struct utcp *u, uint32_t address)
{
    uint8_t mac[6];

    group_mac(all_nodes, mac);
    return advertise(u, address, NA_OVERRIDE, all_nodes, mac);
}

/* Hop-by-hop header with router alert (RFC 2711), which MLD must have. */
static void put_router_alert(uint8_t *p)
{
    static const uint8_t alert[ROUTER_ALERT_LEN] = {IP_PROTO_ICMP6, 0, 5, 2, 0, 0, 1, 0};

    memcpy(p, alert, sizeof alert);
}

bool utcp_nd_report(struct utcp *u, uint32_t address)
{
    const struct utcp_ip_header header = {.src = unspecified,
                                          .dst = all_mld_routers,
                                          .payload_len = ROUTER_ALERT_LEN + MLD_REPORT_LEN,
                                          .family = 6,
                                          .proto = 0,
                                          .hop_limit = 1};
    struct utcp_reply *reply = utcp_reply_new(u);
    uint8_t mac[6], *p;
    bool odd = false;
    uint32_t sum;

    if (reply == NULL)
        return false;
    group_mac(all_mld_routers, mac);
    utcp_eth_put(reply->head, mac, u->config.mac, ETH_TYPE_IPV6);
    (void)utcp_ip_put(reply->head + ETH_LEN, &header);
    put_router_alert(icmp6_of(reply));
    p = icmp6_of(reply) + ROUTER_ALERT_LEN;
    memset(p, 0, MLD_REPORT_LEN);
    p[0] = MLD2_REPORT;
    p[7] = 1; /* record */
    p[8] = MLD_CHANGE_TO_EXCL;
    solicited_node(address_at(u, address)->ip.bytes, p + 12);
    sum = utcp_sum_pseudo(6, unspecified, all_mld_routers, IP_PROTO_ICMP6, MLD_REPORT_LEN);
    be16_put(p + 2, (uint16_t)~utcp_sum_fold(utcp_sum_add(sum, p, MLD_REPORT_LEN, &odd)));
    reply->head_len = ETH_LEN + IPV6_LEN + ROUTER_ALERT_LEN + MLD_REPORT_LEN;
    reply->ip_family = 6;
    reply->l3_len = IPV6_LEN;
    COUNT(u, mld_reports_out);
    return true;
}

/* ---- input --------------------------------------------------------------------------------- */

struct nd_message {
    const struct utcp_ip *ip;
    const uint8_t *target;
    const uint8_t *option_mac; /* of the option that belongs to the message; null without */
    uint8_t flags;
    bool from_unspecified;
};

/* RFC 4861 7.1.1 and 7.1.2. */
static bool parse(const struct utcp_ip *ip, struct nd_message *ret_message)
{
    const uint8_t type = ip->data[0];
    const uint8_t wanted = type == ND_SOLICIT ? ND_OPTION_SOURCE : ND_OPTION_TARGET;

    if (ip->len < ND_LEN || ip->hop_limit != HOP_LIMIT_ON_LINK || ip->data[1] != 0 ||
        ip->data[8] == 0xff)
        return false;
    *ret_message = (struct nd_message){.ip = ip,
                                       .target = ip->data + 8,
                                       .flags = ip->data[4],
                                       .from_unspecified = memcmp(ip->src, unspecified, 16) == 0};
    for (uint32_t at = ND_LEN; at < ip->len;) {
        const uint32_t len = at + 2 > ip->len ? 0 : ip->data[at + 1] * 8u;

        if (len == 0 || len > ip->len - at)
            return false;
        if (ip->data[at] == wanted && len == ND_OPTION_LEN && (ip->data[at + 2] & 1) == 0)
            ret_message->option_mac = ip->data + at + 2;
        at += len;
    }
    return true;
}

/* Somebody asks for an address of ours, or is about to take it. */
static void solicit_input(struct utcp *u, uint64_t now_ns, const struct nd_message *m,
                          const uint8_t src_mac[6])
{
    const uint32_t own = utcp_address_find_bytes(u, 6, m->target);
    uint8_t mac[6];

    if (own == 0 || (m->from_unspecified && m->option_mac != NULL) ||
        (!m->from_unspecified && !utcp_ip_is_host(6, m->ip->src))) {
        COUNT(u, drop_nd_unused);
        return;
    }
    if (address_at(u, own)->state == UTCP_ADDRESS_TENTATIVE) {
        if (m->from_unspecified && memcmp(src_mac, u->config.mac, 6) != 0)
            utcp_address_duplicate(u, now_ns, own); /* both of us were about to take it */
        return;
    }
    if (address_at(u, own)->state != UTCP_ADDRESS_USABLE)
        return;
    COUNT(u, nd_solicits_in);
    if (m->from_unspecified) {
        group_mac(all_nodes, mac);
        (void)advertise(u, own, NA_OVERRIDE, all_nodes, mac);
    } else {
        (void)advertise(u, own, NA_SOLICITED | NA_OVERRIDE, m->ip->src,
                        m->option_mac != NULL ? m->option_mac : src_mac);
    }
}

/* RFC 4861 7.2.5. */
static void learn(struct utcp *u, uint64_t now_ns, const struct nd_message *m, uint32_t id)
{
    struct utcp_neighbour *n = neighbour_at(u, id);
    const bool solicited = (m->flags & NA_SOLICITED) != 0;
    const bool has_mac = n->state != NEIGHBOUR_INCOMPLETE && n->state != NEIGHBOUR_FAILED;
    const bool differs = m->option_mac != NULL && memcmp(m->option_mac, n->mac, 6) != 0;

    if (!has_mac) {
        if (m->option_mac != NULL && n->state == NEIGHBOUR_INCOMPLETE)
            utcp_neighbour_learn(u, now_ns, id, m->option_mac, solicited);
    } else if ((m->flags & NA_OVERRIDE) == 0 && differs) {
        if (n->state == NEIGHBOUR_REACHABLE)
            utcp_neighbour_learn(u, now_ns, id, n->mac, false);
    } else if (solicited || differs) {
        utcp_neighbour_learn(u, now_ns, id, m->option_mac != NULL ? m->option_mac : n->mac,
                             solicited);
    }
}

static void advertise_input(struct utcp *u, uint64_t now_ns, const struct nd_message *m,
                            const uint8_t src_mac[6])
{
    const uint32_t own = utcp_address_find_bytes(u, 6, m->target);
    struct ip_addr ip = {.family = 6};
    uint32_t id;

    if (own != 0) {
        if (memcmp(src_mac, u->config.mac, 6) == 0)
            COUNT(u, drop_nd_unused);
        else if (address_at(u, own)->state == UTCP_ADDRESS_TENTATIVE)
            utcp_address_duplicate(u, now_ns, own);
        else
            utcp_address_conflict(u, now_ns, own);
        return;
    }
    memcpy(ip.bytes, m->target, 16);
    id = utcp_neighbour_find(u, &ip);
    if (id != 0)
        learn(u, now_ns, m, id);
    else
        COUNT(u, drop_nd_unused);
}

/* Each address answers for itself, spread over the next second. */
static void query_input(struct utcp *u, uint64_t now_ns)
{
    if (u->mld_answered_ns != 0 && now_ns < u->mld_answered_ns + MLD_ANSWER_NS)
        return;
    u->mld_answered_ns = now_ns | 1;
    COUNT(u, mld_queries_in);
    for (uint32_t id = 1; id <= u->addresses.count; id++) {
        struct utcp_address *a = address_at(u, id);

        if (a->ip.family != 6 || a->state != UTCP_ADDRESS_USABLE)
            continue;
        a->report_owed = true;
        utcp_timer_arm(u, now_ns, timer_of_address(u, id),
                       now_ns + (id * UINT64_C(7919) % 1000) * NS_PER_MS);
    }
}

static bool checksum_is_good(const struct utcp_ip *ip)
{
    const uint32_t sum = utcp_sum_pseudo(6, ip->src, ip->dst, IP_PROTO_ICMP6, ip->len);
    bool odd = false;

    return utcp_sum_fold(utcp_sum_add(sum, ip->data, ip->len, &odd)) == 0xffff;
}

bool utcp_nd_input(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip,
                   const uint8_t src_mac[6])
{
    const uint8_t type = ip->len == 0 ? 0 : ip->data[0];
    struct nd_message m;

    if (type != ND_SOLICIT && type != ND_ADVERTISE && type != MLD_QUERY)
        return false;
    if (!checksum_is_good(ip) || (src_mac[0] & 1) != 0 ||
        (type == MLD_QUERY ? ip->hop_limit != 1 : !parse(ip, &m))) {
        COUNT(u, drop_nd_malformed);
        return true;
    }
    if (type == MLD_QUERY)
        query_input(u, now_ns);
    else if (type == ND_SOLICIT)
        solicit_input(u, now_ns, &m, src_mac);
    else
        advertise_input(u, now_ns, &m, src_mac);
    return true;
}
