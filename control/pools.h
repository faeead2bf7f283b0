/*
 * pools.h - the addresses of a pool as the decision library sees them: one endpoint for each while
 * there are few, groups of neighbours when there are more than a sender may have endpoints. Members
 * of a group take turns; they are of one IP version.
 *
 * Addresses come and go while mail flows. A group keeps its name then, whoever is in it, because
 * that is what the library has learned about; one that is left without members stays, for the
 * library cannot forget an endpoint.
 */
#ifndef WIREPOST_POOLS_H
#define WIREPOST_POOLS_H

#include "control/ctl_config.h"
#include "strategies/engine.h"

#define POOL_GROUPS_MAX (STRATEGY_SLOTS_MAX - CTL_CHAIN_MAX)

struct pool_group {
    char name[IP_ADDR_TEXT_MAX]; /* the text of its first address */
    uint8_t family;
    uint32_t *members; /* indexes in dp_config.addresses */
    uint32_t n, room;
    uint32_t turn; /* the member whose turn it is */
};

struct pool_groups {
    struct pool_group group[POOL_GROUPS_MAX];
    uint32_t n;
};

/* Of each pool of the configuration, in an array with room for n_max pools. Null: no memory. */
struct pool_groups *pools_open(const struct dp_config *dp, uint32_t n_max);
void pools_close(struct pool_groups *pools, uint32_t n_pools);

/* The address joins the group that is called after it, a new one while there is room for one and
 * may_make says so, or the smallest of its IP version. *ret_made: it is new, and the library has to
 * be told. Null: there is none for it. */
struct pool_group *pool_join(struct pool_groups *pool, const struct dp_config *dp, uint32_t member,
                             bool may_make, bool *ret_made);
void pool_leave(struct pool_groups *pool, uint32_t member);

#endif
