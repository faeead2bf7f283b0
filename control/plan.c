/* plan.c - see plan.h. */
#include "control/plan.h"

#include "control/addresses.h"
#include "control/dnsbl.h"
#include "control/dp_process.h"
#include "control/lanes.h"
#include "control/pools.h"
#include "control/relay.h"

#define FOREIGN_MS 60000 /* until a destination of the other IP version is looked at again */

/* What a slot of a sender is. */
struct plan_slot {
    struct pool_group *group; /* null: */
    uint32_t route;           /* UINT32_MAX: an endpoint of an older configuration */
    uint32_t kind;            /* STRATEGY_ROUTE_*, as the library has it */
};

struct plan_sender {
    uint32_t n;
    uint64_t lanes; /* bit for each lane of its pool; DP_LANES_MAX is 64 */
    struct plan_slot slots[STRATEGY_SLOTS_MAX];
};

struct plan {
    struct ctl *ctl;
    struct plan_sender *senders;
};

static_assert(DP_LANES_MAX <= 64, "plan_sender.lanes");
static_assert(STRATEGY_SLOTS_MAX <= 32, "masks of slots");

/* ---- slots ------------------------------------------------------------------------------- */

static struct pool_group *group_of(struct pool_groups *pool, const char *name)
{
    for (uint32_t i = 0; i < pool->n; i++) {
        if (strcmp(pool->group[i].name, name) == 0) {
            return &pool->group[i];
        }
    }
    return NULL;
}

static void fill_sender(struct plan *plan, uint32_t number)
{
    struct ctl *ctl = plan->ctl;
    const struct ctl_sender *config = &ctl->config.senders[number];
    struct plan_sender *sender = &plan->senders[number];
    const char *path;
    sender->n = 0;
    while (sender->n < STRATEGY_SLOTS_MAX) {
        struct plan_slot *slot = &sender->slots[sender->n];
        path = strategy_slot_path(decisions_engine(ctl->decisions), config->name, sender->n,
                                  &slot->kind);
        if (!path) {
            break;
        }
        slot->group = config->has_pool ? group_of(&ctl->pools[config->pool], path) : NULL;
        slot->route = slot->group ? UINT32_MAX : ctl_config_route(&ctl->config, path);
        sender->n++;
    }
    sender->lanes = 0;
    for (uint32_t g = 0; config->has_pool && g < ctl->pools[config->pool].n; g++) {
        const struct pool_group *group = &ctl->pools[config->pool].group[g];
        for (uint32_t i = 0; i < group->n; i++) {
            sender->lanes |= UINT64_C(1) << ctl->config.dp.addresses[group->members[i]].lane;
        }
    }
}

struct plan *plan_open(struct ctl *ctl)
{
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        return NULL;
    }
    plan->ctl = ctl;
    plan->senders = calloc(ctl->config.n_senders + 1, sizeof plan->senders[0]);
    if (!plan->senders) {
        free(plan);
        return NULL;
    }
    for (uint32_t i = 0; i < ctl->config.n_senders; i++) {
        fill_sender(plan, i);
    }
    return plan;
}

void plan_close(struct plan *plan)
{
    if (plan) {
        free(plan->senders);
    }
    free(plan);
}

void plan_refresh(struct plan *plan, uint32_t sender)
{
    fill_sender(plan, sender);
}

/* ---- what may be used, and what has room ------------------------------------------------- */

static bool is_eligible(const struct plan *plan, uint32_t sender, const struct plan_slot *slot)
{
    return (slot->kind & strategy_routes(plan->ctl->config.senders[sender].strategy)) != 0 &&
           (slot->group || slot->route != UINT32_MAX);
}

static bool relay_down(const struct plan *plan, uint32_t route)
{
    return relay_health(plan->ctl->relays, route) == RELAY_DOWN;
}

static bool relay_takes(const struct plan *plan, uint32_t route, uint64_t message_id)
{
    return relay_has_room(plan->ctl->relays, route) &&
           lanes_has_room(plan->ctl->lanes, LANE_RELAY, message_id);
}

/* The member of a group whose turn it is among those with room in their lane; null: none. */
static const struct dp_address *
member_with_room(const struct plan *plan, const struct pool_group *group, uint64_t message_id)
{
    const struct ctl *ctl = plan->ctl;
    for (uint32_t i = 0; dp_process_running(ctl->lanes->process) && i < group->n; i++) {
        uint32_t member = group->members[(group->turn + i) % group->n];
        const struct dp_address *address = &ctl->config.dp.addresses[member];
        if (!dnsbl_listed(ctl->dnsbl, member) && addresses_usable(ctl->addresses, member) &&
            lanes_has_room(ctl->lanes, address->lane, message_id)) {
            return address;
        }
    }
    return NULL;
}

static bool carries(const struct plan *plan, const struct plan_slot *slot,
                    const struct plan_request *request, char *ret_why, size_t why_bytes)
{
    return relay_carries(plan->ctl->relays, slot->route, request->message_bytes, request->needs,
                         ret_why, why_bytes);
}

bool plan_is_unfit(const struct plan *plan, const struct plan_request *request, char *ret_why,
                   size_t why_bytes)
{
    const struct plan_sender *sender = &plan->senders[request->sender];
    bool unfit = false;
    for (uint32_t i = 0; i < sender->n; i++) {
        const struct plan_slot *slot = &sender->slots[i];
        if (!is_eligible(plan, request->sender, slot)) {
            continue;
        }
        if (slot->group || carries(plan, slot, request, ret_why, why_bytes)) {
            return false;
        }
        unfit = true;
    }
    return unfit;
}

/* None of its members will take anything before an operator or another host does something. */
static bool out_of_use(const struct plan *plan, const struct pool_group *group)
{
    for (uint32_t i = 0; i < group->n; i++) {
        if (!addresses_out_of_use(plan->ctl->addresses, group->members[i])) {
            return false;
        }
    }
    return true;
}

struct masks {
    uint32_t eligible, down, busy;
    uint32_t foreign; /* of the other IP version than all addresses of the destination */
};

static struct masks masks_of(const struct plan *plan, const struct plan_request *request)
{
    const struct plan_sender *sender = &plan->senders[request->sender];
    struct masks m = {0};
    for (uint32_t i = 0; i < sender->n; i++) {
        const struct plan_slot *slot = &sender->slots[i];
        uint32_t bit = UINT32_C(1) << i;
        bool eligible = is_eligible(plan, request->sender, slot), down = !eligible, busy = false;
        if (eligible && slot->group) {
            bool family = slot->group->family == 4 ? request->has_ip4 : request->has_ip6;
            down = !family || dp_process_lost(plan->ctl->lanes->process) ||
                   out_of_use(plan, slot->group);
            m.foreign |= family ? 0 : bit;
            busy = !member_with_room(plan, slot->group, request->message_id);
        } else if (eligible) {
            down = relay_down(plan, slot->route) || !carries(plan, slot, request, NULL, 0);
            busy = !relay_takes(plan, slot->route, request->message_id);
        }
        m.eligible |= eligible ? bit : 0;
        m.down |= down ? bit : 0;
        m.busy |= busy ? bit : 0;
    }
    return m;
}

uint32_t plan_down_mask(const struct plan *plan, uint32_t sender)
{
    const struct plan_request any = {.sender = sender, .has_ip4 = true, .has_ip6 = true};
    return masks_of(plan, &any).down;
}

static bool has_relay_room(const struct plan *plan, uint32_t sender, uint64_t message_id,
                           bool *ret_all_down)
{
    const struct plan_sender *s = &plan->senders[sender];
    for (uint32_t i = 0; i < s->n; i++) {
        const struct plan_slot *slot = &s->slots[i];
        if (slot->group || !is_eligible(plan, sender, slot) || relay_down(plan, slot->route)) {
            continue;
        }
        *ret_all_down = false;
        if (relay_takes(plan, slot->route, message_id)) {
            return true;
        }
    }
    return false;
}

static uint64_t lanes_of(const struct plan *plan, uint32_t sender)
{
    uint32_t routes = strategy_routes(plan->ctl->config.senders[sender].strategy);
    return (routes & STRATEGY_ROUTE_DED) != 0 ? plan->senders[sender].lanes : 0;
}

bool plan_has_room(const struct plan *plan, uint32_t sender, uint64_t message_id)
{
    uint64_t lanes = lanes_of(plan, sender);
    bool all_down = lanes == 0 || dp_process_lost(plan->ctl->lanes->process);
    for (uint32_t lane = 0; dp_process_running(plan->ctl->lanes->process) && lanes != 0;
         lane++, lanes >>= 1) {
        if ((lanes & 1) != 0 && lanes_has_room(plan->ctl->lanes, lane, message_id)) {
            return true;
        }
    }
    return has_relay_room(plan, sender, message_id, &all_down) || all_down;
}

bool plan_by_relay_only(const struct plan *plan, uint32_t sender)
{
    return lanes_of(plan, sender) == 0;
}

/* ---- choosing ---------------------------------------------------------------------------- */

static uint32_t slot_of(const struct plan *plan, uint32_t sender, const char *source)
{
    const struct plan_sender *s = &plan->senders[sender];
    for (uint32_t i = 0; i < s->n && source[0]; i++) {
        const struct plan_slot *slot = &s->slots[i];
        const char *name = slot->group                 ? slot->group->name
                           : slot->route != UINT32_MAX ? plan->ctl->config.routes[slot->route].name
                                                       : "";
        if (strcmp(name, source) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

static struct strategy_key key_of(const struct plan *plan, const struct plan_request *request)
{
    return (struct strategy_key){plan->ctl->config.senders[request->sender].name, request->stream,
                                 request->provider};
}

static void fill_decision(struct plan *plan, const struct grant *grant,
                          struct job_decision *ret_decision)
{
    const struct strategy_engine *engine = decisions_engine(plan->ctl->decisions);
    (void)snprintf(ret_decision->reason, sizeof ret_decision->reason, "%s",
                   strategy_cause_name(grant->cause));
    (void)strategy_evidence_text(engine, grant->cause, &grant->evidence, ret_decision->evidence,
                                 sizeof ret_decision->evidence);
}

/* The members of a group take turns. */
static void take_member(struct plan *plan, const struct plan_request *request,
                        struct pool_group *group, struct plan_choice *choice)
{
    choice->address = member_with_room(plan, group, request->message_id);
    INVARIANT(choice->address != NULL);
    choice->endpoint = group->name;
    group->turn = (group->turn + 1) % group->n;
}

/* Nothing may change that but the destination's DNS or our configuration. */
static enum plan_result hold_foreign(const struct plan_request *request,
                                     struct plan_choice *ret_choice)
{
    (void)snprintf(ret_choice->decision.evidence, sizeof ret_choice->decision.evidence,
                   "the destination has addresses of IPv%s only, and none of the pool's is of that "
                   "version",
                   request->has_ip4 ? "4" : "6");
    ret_choice->retry_ms = ctl_time_ms() + FOREIGN_MS;
    ret_choice->may_change = false;
    return PLAN_HELD;
}

enum plan_result plan_choose(struct plan *plan, const struct plan_request *request,
                             struct plan_choice *ret_choice)
{
    struct masks masks = masks_of(plan, request);
    struct grant grant;
    const struct grant_request ask = {
        .key = key_of(plan, request),
        .n = request->n,
        .n_behind = request->n_behind,
        .is_retry = request->is_retry,
        .down_mask = masks.down,
        .busy_mask = masks.busy,
        .prefer_slot =
            request->greylisted ? slot_of(plan, request->sender, request->last_source) : UINT32_MAX,
    };
    *ret_choice = (struct plan_choice){0};
    if (!decisions_ask(plan->ctl->decisions, &ask, &grant)) {
        return PLAN_WAIT;
    }
    fill_decision(plan, &grant, &ret_choice->decision);
    ret_choice->retry_ms = (int64_t)grant.retry_ms;
    ret_choice->may_change = (masks.eligible & masks.down) != 0;
    if (grant.result == GRANT_HELD && (masks.eligible & ~masks.down) == 0) {
        return masks.foreign != 0 && (request->has_ip4 || request->has_ip6)
                   ? hold_foreign(request, ret_choice)
                   : PLAN_BLOCKED;
    }
    if (grant.result == GRANT_HELD) {
        return PLAN_HELD;
    }
    if (grant.result == GRANT_BUSY) {
        return PLAN_WAIT;
    }
    struct plan_slot *slot = &plan->senders[request->sender].slots[grant.slot];
    ret_choice->slot = grant.slot;
    ret_choice->n = grant.n;
    ret_choice->route = slot->route;
    if (slot->group) {
        take_member(plan, request, slot->group, ret_choice);
    }
    return PLAN_CHOSEN;
}

void plan_return(struct plan *plan, const struct plan_request *request,
                 const struct plan_choice *choice)
{
    const struct strategy_key key = key_of(plan, request);
    decisions_return(plan->ctl->decisions, &key, choice->slot, choice->n);
}
