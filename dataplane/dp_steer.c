/* dp_steer.c - see dp_steer.h. */
#include "dataplane/dp_steer.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP  0x0806
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IPV6 0x86dd
#define ETH_LEN        14u
#define VLAN_LEN       4u
#define IPV4_LEN_MIN   20u
#define IPV6_LEN       40u
#define ARP_LEN        28u
#define ARP_REQUEST    1
#define NEXT_ICMPV6    58
#define ND_SOLICIT     135
#define ND_SOLICIT_LEN 24u

static uint32_t find(const struct addr_map *owners, uint8_t family, const uint8_t *bytes)
{
    struct ip_addr addr = {.family = family};
    memcpy(addr.bytes, bytes, family == 4 ? 4 : 16);
    uint32_t lane = addr_map_get(owners, &addr);
    return lane == ADDR_MAP_NONE ? DP_STEER_HERE : lane;
}

/* A question about an address of ours is its owner's; what else is said about neighbours concerns
 * all. */
static uint32_t about_neighbours(bool question, uint32_t owner)
{
    return question && owner != DP_STEER_HERE ? owner : DP_STEER_ALL;
}

static uint32_t arp_frame(const struct addr_map *owners, const uint8_t *arp)
{
    return about_neighbours(be16_get(arp + 6) == ARP_REQUEST, find(owners, 4, arp + 24));
}

/* To a group: ND (RFC 4861), MLD queries, and what nobody here listens to. */
static uint32_t multicast6_frame(const struct addr_map *owners, const uint8_t *ip, uint32_t len)
{
    const uint8_t *icmp = ip + IPV6_LEN;
    bool solicit =
        len >= IPV6_LEN + ND_SOLICIT_LEN && ip[6] == NEXT_ICMPV6 && icmp[0] == ND_SOLICIT;
    return about_neighbours(solicit, solicit ? find(owners, 6, icmp + 8) : DP_STEER_HERE);
}

uint32_t dp_steer_frame(const struct addr_map *owners, const uint8_t *frame, uint32_t len)
{
    uint32_t head = ETH_LEN;
    if (len < ETH_LEN + VLAN_LEN) {
        return DP_STEER_HERE;
    }
    uint16_t type = be16_get(frame + 12);
    if (type == ETHERTYPE_VLAN) {
        type = be16_get(frame + 16);
        head += VLAN_LEN;
    }
    const uint8_t *payload = frame + head;
    len -= head;
    if (type == ETHERTYPE_IPV4 && len >= IPV4_LEN_MIN) {
        return find(owners, 4, payload + 16);
    }
    if (type == ETHERTYPE_ARP && len >= ARP_LEN) {
        return arp_frame(owners, payload);
    }
    if (type == ETHERTYPE_IPV6 && len >= IPV6_LEN) {
        return payload[24] == 0xff ? multicast6_frame(owners, payload, len)
                                   : find(owners, 6, payload + 24);
    }
    return DP_STEER_HERE;
}
