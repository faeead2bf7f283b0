/* utcp_frame.c - a frame arrives: Ethernet, IPv4 and IPv6, then ARP, ICMP or TCP. */
#include "tcp/utcp_internal.h"

/* Our MAC, broadcast (ARP), all nodes and the solicited-node groups of IPv6 (RFC 2464 7). */
static bool is_for_us(const struct utcp *u, const uint8_t *dst)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};

    return memcmp(dst, u->config.mac, 6) == 0 || memcmp(dst, broadcast, 6) == 0 ||
           memcmp(dst, all_nodes, 6) == 0 || (dst[0] == 0x33 && dst[1] == 0x33 && dst[2] == 0xff);
}

static bool count_ip_verdict(struct utcp *u, enum utcp_ip_verdict verdict)
{
    switch (verdict) {
    case UTCP_IP_OK:
        return true;
    case UTCP_IP_MALFORMED:
        COUNT(u, drop_ip_malformed);
        return false;
    case UTCP_IP_CHECKSUM:
        COUNT(u, drop_ip_checksum);
        return false;
    case UTCP_IP_EXTENSION:
        COUNT(u, drop_ip_extension);
        return false;
    }
    return false;
}

/* A whole datagram for a unicast address of ours. */
static void deliver(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip,
                    const uint8_t src_mac[6], uint32_t rx_flags)
{
    if (ip->proto == IP_PROTO_TCP)
        utcp_tcp_input(u, now_ns, ip, src_mac, (rx_flags & UTCP_RX_L4_CSUM_GOOD) != 0);
    else if (ip->proto == IP_PROTO_ICMP && ip->family == 4)
        utcp_icmp_input(u, now_ns, ip, src_mac);
    else if (ip->proto == IP_PROTO_ICMP6 && ip->family == 6)
        utcp_icmp6_input(u, now_ns, ip, src_mac);
    else
        COUNT(u, drop_ip_protocol);
}

/* What a device says of the checksum of a fragment means nothing for the whole. */
static void fragment_input(struct utcp *u, uint64_t now_ns, const struct utcp_ip *fragment,
                           const uint8_t src_mac[6])
{
    struct utcp_ip ip;

    if (!utcp_reassemble(u, now_ns, fragment, &ip))
        return;
    if (ip.family == 6) {
        if (!count_ip_verdict(u, utcp_ipv6_chain(&ip)))
            return;
        if (ip.is_fragment) {
            COUNT(u, drop_ip_malformed);
            return;
        }
    }
    ip.address = fragment->address;
    deliver(u, now_ns, &ip, src_mac, 0);
}

static void ipv4_input(struct utcp *u, uint64_t now_ns, const uint8_t *p, uint32_t len,
                       const uint8_t src_mac[6], uint32_t rx_flags)
{
    struct utcp_ip ip;

    if (!count_ip_verdict(u, utcp_ipv4_parse(p, len, (rx_flags & UTCP_RX_IP_CSUM_GOOD) != 0, &ip)))
        return;
    /* The destination must be unicast and ours, so nothing is ever answered to a broadcast. */
    ip.address = utcp_address_find_bytes(u, 4, ip.dst);
    if (ip.address == 0) {
        COUNT(u, drop_ip_address);
        return;
    }
    if (!utcp_ip_is_host(4, ip.src) || utcp_address_find_bytes(u, 4, ip.src) != 0) {
        COUNT(u, drop_ip_source);
        return;
    }
    if (ip.is_fragment)
        fragment_input(u, now_ns, &ip, src_mac);
    else
        deliver(u, now_ns, &ip, src_mac, rx_flags);
}

/* ND and MLD use groups, the unspecified source and, in conflicts, our own address as source: they
 * check for themselves. Everything else is unicast between two hosts. */
static void ipv6_input(struct utcp *u, uint64_t now_ns, const uint8_t *p, uint32_t len,
                       const uint8_t src_mac[6], uint32_t rx_flags)
{
    struct utcp_ip ip;

    if (!count_ip_verdict(u, utcp_ipv6_parse(p, len, &ip)))
        return;
    if (!ip.is_fragment && ip.proto == IP_PROTO_ICMP6 && utcp_nd_input(u, now_ns, &ip, src_mac))
        return;
    ip.address = utcp_address_find_bytes(u, 6, ip.dst);
    if (ip.address == 0 || address_at(u, ip.address)->state != UTCP_ADDRESS_USABLE) {
        COUNT(u, drop_ip_address);
        return;
    }
    if (!utcp_ip_is_host(6, ip.src) || utcp_address_find_bytes(u, 6, ip.src) != 0) {
        COUNT(u, drop_ip_source);
        return;
    }
    if (ip.is_fragment)
        fragment_input(u, now_ns, &ip, src_mac);
    else
        deliver(u, now_ns, &ip, src_mac, rx_flags);
}

void utcp_input(struct utcp *u, uint64_t now_ns, const uint8_t *frame, uint32_t len,
                uint32_t rx_flags)
{
    uint16_t type;

    COUNT(u, frames_in);
    COUNT_ADD(u, bytes_in, len);
    if (len < ETH_LEN) {
        COUNT(u, drop_eth_short);
        return;
    }
    if (!is_for_us(u, frame)) {
        COUNT(u, drop_eth_address);
        return;
    }
    type = be16_get(frame + 12);
    if (type == ETH_TYPE_IPV4)
        ipv4_input(u, now_ns, frame + ETH_LEN, len - ETH_LEN, frame + 6, rx_flags);
    else if (type == ETH_TYPE_IPV6)
        ipv6_input(u, now_ns, frame + ETH_LEN, len - ETH_LEN, frame + 6, rx_flags);
    else if (type == ETH_TYPE_ARP)
        utcp_arp_input(u, now_ns, frame + ETH_LEN, len - ETH_LEN);
    else
        COUNT(u, drop_eth_type);
}
