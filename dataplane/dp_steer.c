/* dp_steer.c - see dp_steer.h. */
#include "dataplane/dp_steer.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP  0x0806
#define ETH_LEN        14u
#define IPV4_LEN_MIN   20u
#define ARP_LEN        28u
#define ARP_REQUEST    1

static uint32_t place_of(const struct dp_steer *steer, uint32_t addr)
{
    return (addr * 0x9e3779b1u >> 7) & steer->mask;
}

static void add(struct dp_steer *steer, uint32_t addr, uint32_t lane)
{
    uint32_t at = place_of(steer, addr);
    while (steer->entries[at].addr != 0) {
        at = (at + 1) & steer->mask;
    }
    steer->entries[at] = (struct dp_steer_entry){addr, lane};
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
        if (config->lanes[address->lane].port == port && address->addr.family == 4) {
            add(steer, be32_get(address->addr.bytes), address->lane);
        }
    }
    return true;
}

void dp_steer_fini(struct dp_steer *steer)
{
    free(steer->entries);
    *steer = (struct dp_steer){0};
}

static uint32_t find(const struct dp_steer *steer, uint32_t addr)
{
    uint32_t at = place_of(steer, addr);
    while (steer->entries[at].addr != 0) {
        if (steer->entries[at].addr == addr) {
            return steer->entries[at].lane;
        }
        at = (at + 1) & steer->mask;
    }
    return DP_STEER_HERE;
}

uint32_t dp_steer_frame(const struct dp_steer *steer, const uint8_t *frame, uint32_t len)
{
    if (len < ETH_LEN) {
        return DP_STEER_HERE;
    }
    uint16_t type = be16_get(frame + 12);
    const uint8_t *payload = frame + ETH_LEN;
    if (type == ETHERTYPE_IPV4 && len >= ETH_LEN + IPV4_LEN_MIN) {
        return find(steer, be32_get(payload + 16));
    }
    if (type == ETHERTYPE_ARP && len >= ETH_LEN + ARP_LEN) {
        uint32_t owner = find(steer, be32_get(payload + 24));
        bool question = be16_get(payload + 6) == ARP_REQUEST;
        return question && owner != DP_STEER_HERE ? owner : DP_STEER_ALL;
    }
    return DP_STEER_HERE;
}
