/* utcp_arp.c - ARP (RFC 826): questions, answers, announcements of our addresses (RFC 5227 2.3). */
#include "tcp/utcp_internal.h"

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t nobody[6] = {0};

/* ---- frames out ---------------------------------------------------------------------------- */

void utcp_arp_request(struct utcp *u, const struct utcp_neighbour *n)
{
    struct utcp_arp arp = {.op = ARP_REQUEST};
    struct utcp_reply *reply = utcp_reply_new(u);

    if (reply == NULL)
        return;
    memcpy(arp.sender_mac, u->config.mac, 6);
    memcpy(arp.sender_ip, address_at(u, n->asker)->ip.bytes, 4);
    memcpy(arp.target_ip, n->ip.bytes, 4);
    reply->head_len = (uint16_t)utcp_arp_put(
        reply->head, n->state == NEIGHBOUR_PROBE ? n->mac : broadcast, nobody, &arp);
    COUNT(u, arp_requests_out);
}

bool utcp_arp_announce(struct utcp *u, uint32_t address)
{
    struct utcp_reply *reply = utcp_reply_new(u);
    struct utcp_arp arp = {.op = ARP_REQUEST};

    if (reply == NULL)
        return false;
    memcpy(arp.sender_mac, u->config.mac, 6);
    memcpy(arp.sender_ip, address_at(u, address)->ip.bytes, 4);
    memcpy(arp.target_ip, address_at(u, address)->ip.bytes, 4);
    reply->head_len = (uint16_t)utcp_arp_put(reply->head, broadcast, nobody, &arp);
    COUNT(u, arp_announcements_out);
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

/* ---- input --------------------------------------------------------------------------------- */

/* The merge step of RFC 826: an entry that exists learns the address, whatever kind of ARP it was.
 */
static bool learn(struct utcp *u, uint64_t now_ns, const struct utcp_arp *arp)
{
    struct ip_addr ip = {.family = 4};
    uint32_t id;

    memcpy(ip.bytes, arp->sender_ip, 4);
    id = utcp_neighbour_find(u, &ip);
    if (id != 0)
        utcp_neighbour_learn(u, now_ns, id, arp->sender_mac, true);
    return id != 0;
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
    own = utcp_address_find_bytes(u, 4, arp.sender_ip);
    if (own != 0) {
        if (memcmp(arp.sender_mac, u->config.mac, 6) != 0)
            utcp_address_conflict(u, now_ns, own);
        else
            COUNT(u, drop_arp_unused);
        return;
    }
    learned = learn(u, now_ns, &arp);
    if (arp.op == ARP_REQUEST && utcp_address_find_bytes(u, 4, arp.target_ip) != 0)
        answer(u, &arp);
    else if (!learned)
        COUNT(u, drop_arp_unused);
}
