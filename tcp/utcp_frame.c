/* utcp_frame.c - a frame arrives: Ethernet and IPv4, then ARP, ICMP or TCP. */
#include "tcp/utcp_internal.h"

static bool is_for_us(const struct utcp *u, const uint8_t *dst)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    return memcmp(dst, u->config.mac, 6) == 0 || memcmp(dst, broadcast, 6) == 0;
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
    case UTCP_IP_FRAGMENT:
        COUNT(u, drop_ip_fragment);
        return false;
    }
    return false;
}

static void ipv4_input(struct utcp *u, uint64_t now_ns, const uint8_t *p, uint32_t len,
                       const uint8_t src_mac[6], uint32_t rx_flags)
{
    struct utcp_ip ip;

    if (!count_ip_verdict(u, utcp_ipv4_parse(p, len, (rx_flags & UTCP_RX_IP_CSUM_GOOD) != 0, &ip)))
        return;
    /* The destination must be unicast and ours, so nothing is ever answered to a broadcast. */
    if (utcp_address_find4(u, ip.dst) == 0) {
        COUNT(u, drop_ip_address);
        return;
    }
    if (!utcp_ip4_is_host(ip.src) || utcp_address_find4(u, ip.src) != 0) {
        COUNT(u, drop_ip_source);
        return;
    }
    if (ip.proto == IP_PROTO_TCP)
        utcp_tcp_input(u, now_ns, &ip, src_mac, (rx_flags & UTCP_RX_L4_CSUM_GOOD) != 0);
    else if (ip.proto == IP_PROTO_ICMP)
        utcp_icmp_input(u, now_ns, &ip, src_mac);
    else
        COUNT(u, drop_ip_protocol);
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
    else if (type == ETH_TYPE_ARP)
        utcp_arp_input(u, now_ns, frame + ETH_LEN, len - ETH_LEN);
    else
        COUNT(u, drop_eth_type);
}
