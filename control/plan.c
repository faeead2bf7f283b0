/* plan.c - see plan.h. */
#include "control/plan.h"

#include "control/dp_process.h"
#include "control/lanes.h"
#include "control/relay.h"

#define RELAY_OFFERED (UINT32_C(1) << 31) /* marks a route among the indexes of addresses */

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
    uint32_t *offered; /* scratch: what they are: indexes of addresses, or RELAY_OFFERED | route */
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
    uint32_t most = 2 * dp->n_addresses + 1; /* a relay is offered as often as addresses are */
    plan->endpoints = calloc(most, sizeof plan->endpoints[0]);
    plan->offered = calloc(most, sizeof plan->offered[0]);
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

bool plan_by_relay_only(const struct plan *plan, uint32_t sender)
{
    return !plan->ctl->config.senders[sender].has_pool;
}

/* A relay may be used, or be probed. */
static bool relay_usable(const struct plan *plan, uint32_t route)
{
    return relay_health(plan->ctl->relays, route) != RELAY_DOWN;
}

static bool relay_takes(const struct plan *plan, uint32_t route, uint64_t message_id)
{
    return relay_has_room(plan->ctl->relays, route) &&
           lanes_has_room(plan->ctl->lanes, LANE_RELAY, message_id);
}

/* The route that a sender's relayed mail takes now: its custom one, or the first usable of its
 * chain. UINT32_MAX: it has none; otherwise *ret_usable says whether it may be used. */
static uint32_t relay_of(const struct plan *plan, const struct ctl_sender *sender, bool *ret_usable)
{
    if (sender->strategy == STRATEGY_CUSTOM) {
        *ret_usable = relay_usable(plan, sender->custom);
        return sender->custom;
    }
    for (uint32_t i = 0; i < sender->n_shared; i++) {
        if (relay_usable(plan, sender->shared[i])) {
            *ret_usable = true;
            return sender->shared[i];
        }
    }
    *ret_usable = false;
    return sender->n_shared > 0 ? sender->shared[0] : UINT32_MAX;
}

static bool uses_relay(const struct ctl_sender *sender)
{
    return (strategy_routes(sender->strategy) & (STRATEGY_ROUTE_SHR | STRATEGY_ROUTE_CUS)) != 0 &&
           sender->strategy != STRATEGY_DEDICATED;
}

bool plan_has_room(const struct plan *plan, uint32_t sender, uint64_t message_id)
{
    const struct ctl_sender *config = &plan->ctl->config.senders[sender];
    bool usable = false;
    uint64_t lanes = config->has_pool && dp_process_running(plan->ctl->lanes->process)
                         ? plan->pools[config->pool].lanes
                         : 0;
    for (uint32_t lane = 0; lanes != 0; lane++, lanes >>= 1) {
        if ((lanes & 1) != 0 && lanes_has_room(plan->ctl->lanes, lane, message_id)) {
            return true;
        }
    }
    if (!uses_relay(config)) {
        return false;
    }
    uint32_t route = relay_of(plan, config, &usable);
    return !usable ||
           relay_takes(plan, route, message_id); /* unusable: let it be held, with a word */
}

struct offer {
    struct strategy_snapshot snapshot;
    bool wait; /* what the last attempt used has no room now */
};

static void offer_address(struct plan *plan, const struct plan_request *request, uint32_t index,
                          struct offer *offer)
{
    const struct dp_address *address = &plan->ctl->config.dp.addresses[index];
    bool again = strcmp(plan->names[index], request->last_source) == 0;
    uint32_t n = offer->snapshot.n_endpoints;
    if (!lanes_has_room(plan->ctl->lanes, address->lane, request->message_id)) {
        offer->wait |= again;
        return;
    }
    if (again) {
        offer->snapshot.sticky = n;
    }
    plan->offered[n] = index;
    plan->endpoints[n] = (struct strategy_endpoint){
        .route = STRATEGY_ROUTE_DED,
        .health = STRATEGY_HEALTHY,
        .family_ok = address->addr.family == 4 && request->has_ip4,
        .cap = UINT64_MAX,
        .name = plan->names[index],
    };
    offer->snapshot.n_endpoints++;
}

/* Half of a custom sender's mail goes each way while both work: a relay weighs as much as the pool.
 */
static void offer_relay(struct plan *plan, const struct plan_request *request,
                        const struct ctl_sender *sender, struct offer *offer)
{
    bool usable = false;
    uint32_t route = relay_of(plan, sender, &usable), copies = offer->snapshot.n_endpoints;
    if (route == UINT32_MAX || (usable && !relay_takes(plan, route, request->message_id))) {
        offer->wait |= route != UINT32_MAX && copies == 0;
        return;
    }
    const char *name = plan->ctl->config.routes[route].name;
    for (uint32_t i = 0; i < (copies > 0 ? copies : 1); i++) {
        uint32_t n = offer->snapshot.n_endpoints++;
        if (strcmp(name, request->last_source) == 0) {
            offer->snapshot.sticky = n;
        }
        plan->offered[n] = RELAY_OFFERED | route;
        plan->endpoints[n] = (struct strategy_endpoint){
            .route = sender->strategy == STRATEGY_CUSTOM ? STRATEGY_ROUTE_CUS : STRATEGY_ROUTE_SHR,
            .health = usable ? STRATEGY_HEALTHY : STRATEGY_DOWN,
            .family_ok = true,
            .cap = UINT64_MAX,
            .name = name,
        };
    }
}

static void make_offer(struct plan *plan, const struct plan_request *request,
                       const struct ctl_sender *sender, struct offer *offer)
{
    if (sender->has_pool && dp_process_running(plan->ctl->lanes->process)) {
        const struct plan_pool *pool = &plan->pools[sender->pool];
        for (uint32_t i = 0; i < pool->n; i++) {
            offer_address(plan, request, pool->addresses[i], offer);
        }
    }
    if (uses_relay(sender)) {
        offer_relay(plan, request, sender, offer);
    }
}

enum plan_result plan_choose(struct plan *plan, const struct plan_request *request,
                             struct strategy_decision *ret_decision, struct plan_choice *ret_choice)
{
    const struct ctl_sender *sender = &plan->ctl->config.senders[request->sender];
    struct offer offer = {
        .snapshot = {.kind = sender->strategy,
                     .sender = sender->name,
                     .stream = request->stream,
                     .site = request->site,
                     .endpoints = plan->endpoints,
                     .sticky = UINT32_MAX},
    };
    make_offer(plan, request, sender, &offer);
    if (offer.wait || offer.snapshot.n_endpoints == 0) {
        return PLAN_WAIT;
    }
    strategy_decide(&plan->rotations[request->sender], &offer.snapshot, ret_decision);
    if (ret_decision->hold) {
        return PLAN_HELD;
    }
    uint32_t offered = plan->offered[ret_decision->endpoint];
    *ret_choice = (struct plan_choice){0};
    if (offered & RELAY_OFFERED) {
        ret_choice->route = offered & ~RELAY_OFFERED;
    } else {
        ret_choice->address = &plan->ctl->config.dp.addresses[offered];
    }
    return PLAN_CHOSEN;
}
