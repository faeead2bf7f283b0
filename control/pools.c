/* pools.c - see pools.h. */
#include "control/pools.h"

static void add_members(struct pool_groups *pool, const struct dp_config *dp, uint32_t number,
                        uint8_t family)
{
    for (uint32_t i = 0; i < dp->n_addresses; i++) {
        if (dp->addresses[i].pool == number && dp->addresses[i].addr.family == family) {
            pool->members[pool->n_members++] = i;
        }
    }
}

/* Members from first on in n groups of nearly the same size. */
static void add_groups(struct pool_groups *pool, const struct dp_config *dp, uint32_t first,
                       uint32_t n_members, uint32_t n_groups)
{
    for (uint32_t i = 0; i < n_groups; i++) {
        uint32_t from = (uint32_t)((uint64_t)n_members * i / n_groups);
        uint32_t to = (uint32_t)((uint64_t)n_members * (i + 1) / n_groups);
        struct pool_group *group = &pool->group[pool->n++];
        const struct ip_addr *address = &dp->addresses[pool->members[first + from]].addr;
        *group = (struct pool_group){
            .family = address->family,
            .first = first + from,
            .n = to - from,
        };
        (void)ip_addr_format(address, group->name);
    }
}

/* Each IP version gets its part of the groups, one at least. */
static void make_groups(struct pool_groups *pool, const struct dp_config *dp, uint32_t n4)
{
    uint32_t n = pool->n_members, n6 = n - n4;
    if (n <= POOL_GROUPS_MAX) {
        add_groups(pool, dp, 0, n, n);
        return;
    }
    uint32_t g4 = (uint32_t)((uint64_t)POOL_GROUPS_MAX * n4 / n);
    g4 = n4 > 0 && g4 == 0 ? 1 : n6 > 0 && g4 == POOL_GROUPS_MAX ? POOL_GROUPS_MAX - 1 : g4;
    g4 = g4 < n4 ? g4 : n4;
    uint32_t g6 = POOL_GROUPS_MAX - g4 < n6 ? POOL_GROUPS_MAX - g4 : n6;
    add_groups(pool, dp, 0, n4, g4);
    add_groups(pool, dp, n4, n6, g6);
}

struct pool_groups *pools_open(const struct dp_config *dp)
{
    struct pool_groups *pools = calloc(dp->n_pools + 1, sizeof *pools);
    for (uint32_t i = 0; pools && i < dp->n_pools; i++) {
        pools[i].members = calloc(dp->pools[i].n_addresses + 1, sizeof pools[i].members[0]);
        if (!pools[i].members) {
            pools_close(pools, dp->n_pools);
            return NULL;
        }
        add_members(&pools[i], dp, i, 4);
        uint32_t n4 = pools[i].n_members;
        add_members(&pools[i], dp, i, 6);
        make_groups(&pools[i], dp, n4);
    }
    return pools;
}

void pools_close(struct pool_groups *pools, uint32_t n_pools)
{
    for (uint32_t i = 0; pools && i < n_pools; i++) {
        free(pools[i].members);
    }
    free(pools);
}
