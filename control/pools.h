/*
 * pools.h - the addresses of a pool as the decision library sees them: one endpoint for each while
 * there are few, groups of neighbours when there are more than a sender may have endpoints. Members
 * of a group take turns; they are of one IP version.
 */
#ifndef WIREPOST_POOLS_H
#define WIREPOST_POOLS_H

#include "control/ctl_config.h"
#include "strategies/engine.h"

#define POOL_GROUPS_MAX (STRATEGY_SLOTS_MAX - CTL_CHAIN_MAX)

struct pool_group {
    char name[IP_ADDR_TEXT_MAX]; /* the text of its first address */
    uint8_t family;
    uint32_t first, n; /* in pool_groups.members */
    uint32_t turn;     /* the member whose turn it is */
};

struct pool_groups {
    uint32_t *members; /* indexes in dp_config.addresses, IPv4 first */
    uint32_t n_members;
    struct pool_group group[POOL_GROUPS_MAX];
    uint32_t n;
};

/* Of each pool of the configuration: an array of dp->n_pools. Null: no memory. */
struct pool_groups *pools_open(const struct dp_config *dp);
void pools_close(struct pool_groups *pools, uint32_t n_pools);

#endif
