/* pools.c - see pools.h. */
#include "control/pools.h"

/* ---- groups ------------------------------------------------------------------------------ */

static void group_add(struct pool_group *group, uint32_t member)
{
    if (group->n == group->room) {
        group->room = group->room ? 2 * group->room : 4;
        group->members = realloc(group->members, group->room * sizeof group->members[0]);
        INVARIANT(group->members != NULL);
    }
    group->members[group->n++] = member;
}

static struct pool_group *group_make(struct pool_groups *pool, const struct ip_addr *first)
{
    struct pool_group *group = &pool->group[pool->n++];
    *group = (struct pool_group){.family = first->family};
    (void)ip_addr_format(first, group->name);
    return group;
}

/* ---- at start ---------------------------------------------------------------------------- */

/* Members in n groups of nearly the same size. */
static void add_groups(struct pool_groups *pool, const struct dp_config *dp,
                       const uint32_t *members, uint32_t n_members, uint32_t n_groups)
{
    for (uint32_t i = 0; i < n_groups; i++) {
        uint32_t from = (uint32_t)((uint64_t)n_members * i / n_groups);
        uint32_t to = (uint32_t)((uint64_t)n_members * (i + 1) / n_groups);
        struct pool_group *group = group_make(pool, &dp->addresses[members[from]].addr);
        for (; from < to; from++) {
            group_add(group, members[from]);
        }
    }
}

/* Each IP version gets its part of the groups, one at least. Members: IPv4 first. */
static void make_groups(struct pool_groups *pool, const struct dp_config *dp,
                        const uint32_t *members, uint32_t n, uint32_t n4)
{
    uint32_t n6 = n - n4;
    if (n <= POOL_GROUPS_MAX) {
        add_groups(pool, dp, members, n, n);
        return;
    }
    uint32_t g4 = (uint32_t)((uint64_t)POOL_GROUPS_MAX * n4 / n);
    g4 = n4 > 0 && g4 == 0 ? 1 : n6 > 0 && g4 == POOL_GROUPS_MAX ? POOL_GROUPS_MAX - 1 : g4;
    g4 = g4 < n4 ? g4 : n4;
    uint32_t g6 = POOL_GROUPS_MAX - g4 < n6 ? POOL_GROUPS_MAX - g4 : n6;
    add_groups(pool, dp, members, n4, g4);
    add_groups(pool, dp, members + n4, n6, g6);
}

static uint32_t members_of(const struct dp_config *dp, uint32_t pool, uint8_t family,
                           uint32_t *members)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < dp->n_addresses; i++) {
        const struct dp_address *address = &dp->addresses[i];
        if (address->pool == pool && address->addr.family == family && !address->removed) {
            members[n++] = i;
        }
    }
    return n;
}

struct pool_groups *pools_open(const struct dp_config *dp, uint32_t n_max)
{
    struct pool_groups *pools = calloc((size_t)n_max + 1, sizeof *pools);
    uint32_t *members = calloc((size_t)dp->n_addresses + 1, sizeof members[0]);
    for (uint32_t i = 0; pools && members && i < dp->n_pools; i++) {
        uint32_t n4 = members_of(dp, i, 4, members);
        uint32_t n6 = members_of(dp, i, 6, members + n4);
        make_groups(&pools[i], dp, members, n4 + n6, n4);
    }
    if (!members) {
        free(pools);
        return NULL;
    }
    free(members);
    return pools;
}

void pools_close(struct pool_groups *pools, uint32_t n_pools)
{
    for (uint32_t i = 0; pools && i < n_pools; i++) {
        for (uint32_t g = 0; g < pools[i].n; g++) {
            free(pools[i].group[g].members);
        }
    }
    free(pools);
}

/* ---- later ------------------------------------------------------------------------------- */

static struct pool_group *named(struct pool_groups *pool, const struct ip_addr *addr)
{
    char name[IP_ADDR_TEXT_MAX];
    (void)ip_addr_format(addr, name);
    for (uint32_t i = 0; i < pool->n; i++) {
        if (strcmp(pool->group[i].name, name) == 0) {
            return &pool->group[i];
        }
    }
    return NULL;
}

static struct pool_group *smallest(struct pool_groups *pool, uint8_t family)
{
    struct pool_group *best = NULL;
    for (uint32_t i = 0; i < pool->n; i++) {
        struct pool_group *group = &pool->group[i];
        if (group->family == family && (!best || group->n < best->n)) {
            best = group;
        }
    }
    return best;
}

struct pool_group *pool_join(struct pool_groups *pool, const struct dp_config *dp, uint32_t member,
                             bool may_make, bool *ret_made)
{
    const struct ip_addr *addr = &dp->addresses[member].addr;
    struct pool_group *group = named(pool, addr);
    *ret_made = !group && may_make && pool->n < POOL_GROUPS_MAX;
    group = *ret_made ? group_make(pool, addr) : group ? group : smallest(pool, addr->family);
    if (group) {
        group_add(group, member);
    }
    return group;
}

void pool_leave(struct pool_groups *pool, uint32_t member)
{
    for (uint32_t g = 0; g < pool->n; g++) {
        struct pool_group *group = &pool->group[g];
        for (uint32_t i = 0; i < group->n; i++) {
            if (group->members[i] == member) {
                memmove(&group->members[i], &group->members[i + 1],
                        (group->n - i - 1) * sizeof group->members[0]);
                group->n--;
                group->turn = group->n > 0 ? group->turn % group->n : 0;
                return;
            }
        }
    }
}
