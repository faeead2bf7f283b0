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

/* ---- the table --------------------------------------------------------------------------- */

/* Its keys are the operator's, so this need not stand against an attacker. */
static uint32_t place_of(const struct dp_steer *steer, const struct ip_addr *addr)
{
    uint64_t high, low;
    memcpy(&high, addr->bytes, sizeof high);
    memcpy(&low, addr->bytes + 8, sizeof low);
    uint64_t hash = (high ^ low * UINT64_C(0xff51afd7ed558ccd)) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 40) & steer->mask;
}

static void add(struct dp_steer *steer, const struct ip_addr *addr, uint32_t lane)
{
    uint32_t at = place_of(steer, addr);
    while (steer->entries[at].addr.family != 0) {
        at = (at + 1) & steer->mask;
    }
    steer->entries[at] = (struct dp_steer_entry){*addr, lane};
}

bool dp_steer_init(struct dp_steer *steer, const struct dp_config *config, uint32_t port)
{
    uint32_t size = 4;
    while (size < 2 * config->n_addresses) {
        size *= 2;
    }
    steer->mask = size - 1;
    steer->entries = calloc(size, sizeof steer->entries[0]);
    if (!steer->entries) {
        return false;
    }
    for (uint32_t i = 0; i < config->n_addresses; i++) {
        const struct dp_address *address = &config->addresses[i];
        if (config->lanes[address->lane].port == port) {
            add(steer, &address->addr, address->lane);
        }
    }
    return true;
}

void dp_steer_fini(struct dp_steer *steer)
{
    free(steer->entries);
    *steer = (struct dp_steer){0};
}

static uint32_t find(const struct dp_steer *steer, uint8_t family, const uint8_t *bytes)
{
    struct ip_addr addr = {.family = family};
    memcpy(addr.bytes, bytes, family == 4 ? 4 : 16);
    uint32_t at = place_of(steer, &addr);
    while (steer->entries[at].addr.family != 0) {
        if (ip_addr_equal(&steer->entries[at].addr, &addr)) {
            return steer->entries[at].lane;
        }
        at = (at + 1) & steer->mask;
    }
    return DP_STEER_HERE;
}

/* ---- frames ------------------------------------------------------------------------------ */

/* A question about an address of ours is its owner's; what else is said about neighbours concerns
 * all. */
static uint32_t about_neighbours(bool question, uint32_t owner)
{
    return question && owner != DP_STEER_HERE ? owner : DP_STEER_ALL;
}

static uint32_t arp_frame(const struct dp_steer *steer, const uint8_t *arp)
{
    return about_neighbours(be16_get(arp + 6) == ARP_REQUEST, find(steer, 4, arp + 24));
}

/* To a group: ND (RFC 4861), MLD queries, and what nobody here listens to. */
static uint32_t multicast6_frame(const struct dp_steer *steer, const uint8_t *ip, uint32_t len)
{
    const uint8_t *icmp = ip + IPV6_LEN;
    bool solicit =
        len >= IPV6_LEN + ND_SOLICIT_LEN && ip[6] == NEXT_ICMPV6 && icmp[0] == ND_SOLICIT;
    return about_neighbours(solicit, solicit ? find(steer, 6, icmp + 8) : DP_STEER_HERE);
}

uint32_t dp_steer_frame(const struct dp_steer *steer, const uint8_t *frame, uint32_t len)
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
        return find(steer, 4, payload + 16);
    }
    if (type == ETHERTYPE_ARP && len >= ARP_LEN) {
        return arp_frame(steer, payload);
    }
    if (type == ETHERTYPE_IPV6 && len >= IPV6_LEN) {
        return payload[24] == 0xff ? multicast6_frame(steer, payload, len)
                                   : find(steer, 6, payload + 24);
    }
    return DP_STEER_HERE;
}
