/*
 * engine_check.c - the invariants of a decision, executed after each. A broken one is our own bug
 * and ends the process. The rest of the numbered list: I5 warmup.c, I8 outage.c and path_feed.c, I9
 * gate.c, I12 the state machines' timers, I14 reply.c.
 */
#include "strategies/parts.h"

static const struct st_candidate *candidate_of(const struct st_context *x, uint32_t slot)
{
    for (uint32_t i = 0; i < x->n; i++) {
        if (x->c[i].slot == slot)
            return &x->c[i];
    }
    return NULL;
}

/* I1, I2: by the strategy alone, asked again of the configuration and not of the mask used. */
static void check_route(const struct strategy_engine *e, const struct st_context *x,
                        const struct st_candidate *c)
{
    const struct st_sender *s = &e->senders[x->sender];
    const struct st_endpoint *endpoint = &e->endpoints[c->endpoint];

    if (s->kind == STRATEGY_CUSTOM)
        ST_INVARIANT(endpoint->is_address ||
                     (c->route == STRATEGY_ROUTE_CUS && !endpoint->is_shared));
    if (s->kind == STRATEGY_SHARED)
        ST_INVARIANT(!endpoint->is_address && c->route != STRATEGY_ROUTE_CUS);
    if (s->kind == STRATEGY_AUTO || s->kind == STRATEGY_DEDICATED)
        ST_INVARIANT(c->route != STRATEGY_ROUTE_CUS);
    if (s->kind == STRATEGY_DEDICATED && !s->fallback)
        ST_INVARIANT(endpoint->is_address);
}

/* I3, I13: nothing on a closed path, no transactional probe. */
static void check_path(const struct strategy_engine *e, const struct st_context *x,
                       const struct st_candidate *c)
{
    const struct st_path *path = &e->paths[c->path];
    const struct st_endpoint *endpoint = &e->endpoints[c->endpoint];

    ST_INVARIANT(endpoint->drain == DRAIN_NO);
    ST_INVARIANT(path->breaker.state != BRK_OPEN);
    ST_INVARIANT(path->breaker.state != BRK_HALF_OPEN || !x->is_transactional);
    ST_INVARIANT(endpoint->relay.state != BRK_OPEN);
    ST_INVARIANT(endpoint->relay.state != BRK_HALF_OPEN || !x->is_transactional);
    ST_INVARIANT(path->warmup.cap == 0 || path->warmup.used_day + c->take <= path->warmup.cap);
}

/* I6, I16: a fault of the sender opens no endpoint and raises no share. */
static void check_fault(const struct strategy_engine *e, const struct st_context *x,
                        const struct st_candidate *c, uint32_t n)
{
    const struct st_flow *flow = &e->flows[x->flow];
    bool shared = (c->route & (STRATEGY_ROUTE_SHR | STRATEGY_ROUTE_SES)) != 0;

    if (!x->guard.frozen)
        return;
    ST_INVARIANT((flow->used_mask >> c->slot & 1) != 0 || flow->used_mask == 0);
    if (shared && flow->used_mask != 0)
        ST_INVARIANT((uint64_t)c->take * 100 <= (uint64_t)n * flow->peace_weight[c->slot]);
}

void st_check(const struct strategy_engine *e, const struct st_context *x,
              const struct strategy_plan *plan, const struct strategy_split *split)
{
    uint64_t sum = split->n_held;

    for (uint32_t i = 0; i < split->n_parts; i++) {
        const struct st_candidate *c = candidate_of(x, split->part[i].slot);
        ST_INVARIANT(c != NULL && c->take == split->part[i].n && c->take > 0);
        check_route(e, x, c);
        check_path(e, x, c);
        check_fault(e, x, c, plan->n);
        sum += c->take;
    }
    ST_INVARIANT(sum == plan->n); /* I4 */
    ST_INVARIANT((split->n_held > 0) == (split->retry_ms != NEVER_MS));
    ST_INVARIANT(split->retry_ms == NEVER_MS || split->retry_ms > x->now_ms);
    ST_INVARIANT((unsigned)split->cause < STRATEGY_CAUSES); /* I10 */
    if (x->is_transactional)                                /* I13 */
        ST_INVARIANT(x->guard.n_max == UINT32_MAX || x->guard.cause == STRATEGY_C_P_OUTAGE);
}
