/* plan.c - see plan.h. */
#include "control/plan.h"

#include "control/lanes.h"

struct plan_pool {
    uint32_t *addresses; /* indexes in dp.addresses */
    uint32_t n;
    uint64_t lanes; /* bit for each lane that has one; DP_LANES_MAX is 64 */
};

struct plan {
    struct ctl *ctl;
    struct plan_pool *pools;
    char (*names)[IP_ADDR_TEXT_MAX];     /* of dp.addresses */
    struct strategy_rotation *rotations; /* one for each sender */
    struct strategy_endpoint *endpoints; /* scratch: as many as there are addresses */
    uint32_t *offered;                   /* scratch: their indexes in dp.addresses */
};

static_assert(DP_LANES_MAX <= 64, "plan_pool.lanes");

static bool fill_pools(struct plan *plan)
{
    const struct dp_config *dp = &plan->ctl->config.dp;
    for (uint32_t i = 0; i < dp->n_pools; i++) {
        plan->pools[i].addresses = calloc(dp->pools[i].n_addresses + 1, sizeof(uint32_t));
        if (!plan->pools[i].addresses) {
            return false;
        }
    }
    for (uint32_t i = 0; i < dp->n_addresses; i++) {
        struct plan_pool *pool = &plan->pools[dp->addresses[i].pool];
        pool->addresses[pool->n++] = i;
        pool->lanes |= UINT64_C(1) << dp->addresses[i].lane;
        (void)ip_addr_format(&dp->addresses[i].addr, plan->names[i]);
    }
    return true;
}

struct plan *plan_open(struct ctl *ctl)
{
    const struct dp_config *dp = &ctl->config.dp;
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        return NULL;
    }
    plan->ctl = ctl;
    plan->pools = calloc(dp->n_pools + 1, sizeof plan->pools[0]);
    plan->names = calloc(dp->n_addresses + 1, sizeof plan->names[0]);
    plan->rotations = calloc(ctl->config.n_senders + 1, sizeof plan->rotations[0]);
    plan->endpoints = calloc(dp->n_addresses + 1, sizeof plan->endpoints[0]);
    plan->offered = calloc(dp->n_addresses + 1, sizeof plan->offered[0]);
    if (!plan->pools || !plan->names || !plan->rotations || !plan->endpoints || !plan->offered ||
        !fill_pools(plan)) {
        plan_close(plan);
        return NULL;
    }
    return plan;
}

void plan_close(struct plan *plan)
{
    if (!plan) {
        return;
    }
    for (uint32_t i = 0; plan->pools && i < plan->ctl->config.dp.n_pools; i++) {
        free(plan->pools[i].addresses);
    }
    free(plan->pools);
    free(plan->names);
    free(plan->rotations);
    free(plan->endpoints);
    free(plan->offered);
    free(plan);
}

static const struct plan_pool *pool_of(const struct plan *plan, uint32_t sender)
{
    return &plan->pools[plan->ctl->config.senders[sender].pool];
}

bool plan_has_room(const struct plan *plan, uint32_t sender, uint64_t message_id)
{
    uint64_t lanes = pool_of(plan, sender)->lanes;
    for (uint32_t lane = 0; lanes != 0; lane++, lanes >>= 1) {
        if ((lanes & 1) != 0 && lanes_has_room(plan->ctl->lanes, lane, message_id)) {
            return true;
        }
    }
    return false;
}

/* Fills the scratch arrays; false: the address to use again has no room. */
static bool offer(struct plan *plan, const struct plan_request *request,
                  struct strategy_snapshot *snapshot)
{
    const struct dp_config *dp = &plan->ctl->config.dp;
    const struct plan_pool *pool = pool_of(plan, request->sender);
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool->n; i++) {
        uint32_t index = pool->addresses[i];
        bool again = strcmp(plan->names[index], request->last_source) == 0;
        if (!lanes_has_room(plan->ctl->lanes, dp->addresses[index].lane, request->message_id)) {
            if (again) {
                return false;
            }
            continue;
        }
        if (again) {
            snapshot->sticky = n;
        }
        plan->offered[n] = index;
        plan->endpoints[n++] = (struct strategy_endpoint){
            .route = STRATEGY_ROUTE_DED,
            .health = STRATEGY_HEALTHY,
            .family_ok = dp->addresses[index].addr.family == 4 && request->has_ip4,
            .cap = UINT64_MAX,
            .name = plan->names[index],
        };
    }
    snapshot->endpoints = plan->endpoints;
    snapshot->n_endpoints = n;
    return true;
}

enum plan_result plan_choose(struct plan *plan, const struct plan_request *request,
                             struct strategy_decision *ret_decision,
                             const struct dp_address **ret_address)
{
    const struct ctl_sender *sender = &plan->ctl->config.senders[request->sender];
    struct strategy_snapshot snapshot = {
        .kind = sender->strategy,
        .sender = sender->name,
        .stream = request->stream,
        .site = request->site,
        .sticky = UINT32_MAX,
    };
    if (!offer(plan, request, &snapshot) || snapshot.n_endpoints == 0) {
        return PLAN_WAIT;
    }
    strategy_decide(&plan->rotations[request->sender], &snapshot, ret_decision);
    if (ret_decision->hold) {
        return PLAN_HELD;
    }
    *ret_address = &plan->ctl->config.dp.addresses[plan->offered[ret_decision->endpoint]];
    return PLAN_CHOSEN;
}
