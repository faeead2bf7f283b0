/*
 * record.c - the decision in force for a flow: weights before and after, one reason, its evidence,
 * an expiry (I10). A new record is written when the reason changes or a weight moves by five
 * points; plans of a few mails say too little about weights to count as a change.
 */
#include "strategies/parts.h"

#include <string.h>

#define CHANGE_POINTS 5
#define PLAN_MIN      20u

/* Percent by slot and held, summing to 100 (I4): the rest of rounding goes to the largest. */
static uint8_t weights(const struct strategy_split *split, uint32_t n, uint8_t ret_weight[SLOTS])
{
    uint32_t left = 100, largest = 0;
    uint32_t held = n == 0 ? 100 : (uint32_t)((uint64_t)split->n_held * 100 / n);

    memset(ret_weight, 0, SLOTS);
    left -= held;
    for (uint32_t i = 0; i < split->n_parts; i++) {
        uint32_t percent = (uint32_t)((uint64_t)split->part[i].n * 100 / n);
        ret_weight[split->part[i].slot] = (uint8_t)percent;
        left -= percent;
        largest = split->part[i].n > split->part[largest].n ? i : largest;
    }
    if (split->n_parts == 0)
        return (uint8_t)(held + left);
    uint8_t *most = &ret_weight[split->part[largest].slot];
    *most = (uint8_t)(*most + left);
    return (uint8_t)held;
}

static bool differ(const struct st_flow *flow, const uint8_t weight[SLOTS], uint8_t held)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (abs(flow->weight[i] - weight[i]) >= CHANGE_POINTS)
            return true;
    }
    return abs(flow->held - held) >= CHANGE_POINTS;
}

static void write_record(struct strategy_engine *e, struct st_flow *flow, uint64_t now_ms,
                         const uint8_t weight[SLOTS], uint8_t held)
{
    bool is_first = flow->record_id == 0;

    memcpy(flow->old_weight, is_first ? weight : flow->weight, SLOTS);
    flow->old_held = is_first ? held : flow->held;
    memcpy(flow->weight, weight, SLOTS);
    flow->held = held;
    flow->record_id = ++e->head.counters.n_records;
    flow->record_ms = now_ms;
}

void st_record(struct strategy_engine *e, const struct st_context *x,
               const struct strategy_split *split, uint32_t n)
{
    struct st_flow *flow = &e->flows[x->flow];
    uint8_t weight[SLOTS], held = weights(split, n, weight);
    bool enough = n >= PLAN_MIN || split->n_held == n;

    if (flow->record_id == 0 || flow->cause != split->cause ||
        (enough && differ(flow, weight, held)))
        write_record(e, flow, x->now_ms, weight, held);
    flow->cause = (uint8_t)split->cause;
    flow->evidence = split->evidence;
    if (x->guard.cause != STRATEGY_C_V_BEST)
        return;
    memcpy(flow->peace_weight, flow->weight, SLOTS);
    for (uint32_t i = 0; i < split->n_parts; i++)
        flow->used_mask |= 1u << split->part[i].slot;
}

enum strategy_error strategy_why(struct strategy_engine *e, const struct strategy_key *key,
                                 struct strategy_record *ret_record)
{
    if (!st_name_ok(key->sender) || !st_name_ok(key->stream) || !st_name_ok(key->provider))
        return STRATEGY_E_NAME;
    uint32_t sender = st_find(e, NAME_SENDER, 0, key->sender);
    uint32_t provider = st_find(e, NAME_PROVIDER, 0, key->provider);
    if (sender == ST_NONE)
        return STRATEGY_E_UNKNOWN_SENDER;
    uint32_t stream = st_find(e, NAME_STREAM, sender, key->stream);
    uint32_t flow =
        stream == ST_NONE || provider == ST_NONE ? ST_NONE : st_flow_find(e, stream, provider);
    if (flow == ST_NONE || e->flows[flow].record_id == 0)
        return STRATEGY_E_UNKNOWN_FLOW;
    const struct st_flow *f = &e->flows[flow];
    *ret_record = (struct strategy_record){.id = f->record_id,
                                           .at_ms = f->record_ms,
                                           .old_held = f->old_held,
                                           .new_held = f->held,
                                           .cause = (enum strategy_cause)f->cause,
                                           .evidence = f->evidence};
    memcpy(ret_record->old_weight, f->old_weight, SLOTS);
    memcpy(ret_record->new_weight, f->weight, SLOTS);
    return STRATEGY_OK;
}
