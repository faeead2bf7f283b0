/*
 * reason.c - one reason for a split, with its evidence (I10). Precedence: what holds the stream
 * (guard), then what ails an endpoint at home, then caps, then optimisation, then peace.
 */
#include "strategies/parts.h"

static unsigned severity(enum strategy_cause cause)
{
    switch (cause) {
    case STRATEGY_C_R_DNSBL:
        return 6;
    case STRATEGY_C_R_POOL_BLOCK:
        return 5;
    case STRATEGY_C_R_BOUNCE_SURGE:
        return 4;
    case STRATEGY_C_R_RELAY_DOWN:
    case STRATEGY_C_R_LANE_DOWN:
        return 3;
    case STRATEGY_C_R_RELAY_QUOTA:
        return 2;
    default:
        return cause == STRATEGY_C_V_BEST ? 0 : 1;
    }
}

static const struct st_candidate *worst_at_home(const struct st_context *x)
{
    const struct st_candidate *worst = NULL;

    for (uint32_t i = 0; i < x->n; i++) {
        const struct st_candidate *c = &x->c[i];
        if (c->is_home && c->cause != STRATEGY_C_V_BEST &&
            (worst == NULL || severity(c->cause) > severity(worst->cause)))
            worst = c;
    }
    return worst;
}

/* What would take the mail that is held, were it healthy. */
static const struct st_candidate *ailing_away(const struct st_context *x)
{
    for (uint32_t i = 0; i < x->n; i++) {
        if (!x->c[i].is_home && x->c[i].is_allowed && !x->c[i].is_healthy)
            return &x->c[i];
    }
    return NULL;
}

/* The relay whose quota stands in the way of mail that is held. */
static const struct st_candidate *spent_relay(const struct st_context *x)
{
    for (uint32_t i = 0; i < x->n; i++) {
        if (x->c[i].cause == STRATEGY_C_R_RELAY_QUOTA)
            return &x->c[i];
    }
    return NULL;
}

static const struct st_candidate *most_gated(const struct strategy_engine *e,
                                             const struct st_context *x)
{
    const struct st_candidate *found = NULL;
    uint32_t least = 10000;

    for (uint32_t i = 0; i < x->n; i++) {
        uint32_t share = e->arms[x->c[i].arm].share;
        if (x->c[i].is_home && x->c[i].is_healthy && share < least) {
            least = share;
            found = &x->c[i];
        }
    }
    return found;
}

static void say(struct strategy_split *split, enum strategy_cause cause,
                const struct strategy_evidence *evidence)
{
    split->cause = cause;
    if (evidence != NULL)
        split->evidence = *evidence;
}

static void say_relay(const struct strategy_engine *e, const struct st_context *x,
                      const struct st_candidate *c, struct strategy_split *split)
{
    const struct st_endpoint *relay = &e->endpoints[c->endpoint];
    uint32_t limit = relay->n_max_24h != 0 ? relay->n_max_24h : relay->rate_max_per_h;
    struct strategy_evidence evidence = {.signal = STRATEGY_SIGNAL_RELAY,
                                         .endpoint = c->endpoint,
                                         .n = limit,
                                         .observed = st_relay_used_24h(relay),
                                         .statistic_milli =
                                             st_relay_used_24h(relay) * INT64_C(1000),
                                         .threshold_milli = limit * INT64_C(900),
                                         .since_ms = x->now_ms,
                                         .expires_ms = c->retry_ms};

    say(split, STRATEGY_C_R_RELAY_QUOTA, &evidence);
}

static void say_cap(const struct strategy_engine *e, const struct st_context *x, uint32_t n,
                    struct strategy_split *split)
{
    uint64_t limit = 0, warm = 0;
    const struct st_candidate *first = NULL;

    for (uint32_t i = 0; i < x->n; i++) {
        const struct st_candidate *c = &x->c[i];
        if (!c->is_home || !c->is_healthy)
            continue;
        first = first == NULL ? c : first;
        limit += c->weight;
        warm += c->cap_cause == STRATEGY_C_R_SPIKE ? c->weight : 0;
    }
    struct strategy_evidence evidence = {.signal = STRATEGY_SIGNAL_CAP,
                                         .endpoint = first == NULL ? ST_NONE : first->endpoint,
                                         .n = n,
                                         .observed = e->cells[x->cell].demand_day,
                                         .statistic_milli =
                                             e->cells[x->cell].demand_day * INT64_C(1000),
                                         .threshold_milli = (int64_t)limit * 1000,
                                         .since_ms = x->now_ms,
                                         .expires_ms = (x->now_ms / DAY_MS + 1) * DAY_MS};
    say(split, warm * 2 > limit ? STRATEGY_C_R_SPIKE : STRATEGY_C_R_WARMUP_CAP, &evidence);
}

static void say_placement(const struct strategy_engine *e, const struct st_context *x,
                          const struct st_candidate *c, struct strategy_split *split)
{
    const struct st_arm *arm = &e->arms[c->arm];
    struct strategy_evidence evidence = {.signal = STRATEGY_SIGNAL_PLACEMENT,
                                         .endpoint = c->endpoint,
                                         .n = arm->n_expected,
                                         .observed = arm->n_seen,
                                         .statistic_milli = arm->index_ppm / 1000,
                                         .threshold_milli = 1000,
                                         .since_ms = x->now_ms,
                                         .expires_ms = x->now_ms + DAY_MS};

    say(split, STRATEGY_C_R_PLACEMENT, &evidence);
}

static void say_peace(const struct strategy_engine *e, const struct st_context *x,
                      struct strategy_split *split)
{
    const struct st_sender *s = &e->senders[x->sender];
    struct strategy_evidence evidence = {.signal = STRATEGY_SIGNAL_NONE,
                                         .endpoint = ST_NONE,
                                         .expires_ms = NEVER_MS,
                                         .since_ms = x->now_ms};

    if (s->kind == STRATEGY_AUTO && s->eligible_known && !s->eligible)
        evidence = (struct strategy_evidence){.signal = STRATEGY_SIGNAL_VOLUME,
                                              .endpoint = ST_NONE,
                                              .n = s->v30,
                                              .observed = s->v30,
                                              .statistic_milli = s->v30 * INT64_C(1000),
                                              .threshold_milli = VOLUME_ENTER * INT64_C(1000),
                                              .since_ms = x->now_ms,
                                              .expires_ms = NEVER_MS};
    say(split, STRATEGY_C_V_BEST, &evidence);
}

static void say_no_route(const struct st_context *x, struct strategy_split *split)
{
    struct strategy_evidence evidence = {
        .endpoint = ST_NONE, .since_ms = x->now_ms, .expires_ms = NEVER_MS};

    say(split, STRATEGY_C_H_NO_ROUTE, &evidence);
}

static bool went_back_to_greylister(const struct strategy_engine *e, const struct st_context *x)
{
    const struct st_flow *flow = &e->flows[x->flow];

    for (uint32_t i = 0; i < x->n; i++) {
        if (x->c[i].slot + 1 == flow->grey_slot && x->now_ms <= flow->grey_until_ms)
            return x->c[i].take > 0;
    }
    return false;
}

void st_reason(struct strategy_engine *e, const struct st_context *x,
               const struct strategy_plan *plan, struct strategy_split *split)
{
    const struct st_candidate *home = worst_at_home(x), *gated = most_gated(e, x);
    const struct st_candidate *away;
    const struct st_candidate *spent = split->n_held > 0 ? spent_relay(x) : NULL;

    if (x->guard.cause != STRATEGY_C_V_BEST)
        say(split, x->guard.cause, x->guard.evidence);
    else if (x->n == 0)
        say_no_route(x, split);
    else if (spent != NULL || (home != NULL && home->cause == STRATEGY_C_R_RELAY_QUOTA))
        say_relay(e, x, spent != NULL ? spent : home, split);
    else if (home != NULL)
        say(split, home->cause, home->evidence);
    else if (split->n_held > 0 && (away = ailing_away(x)) != NULL)
        say(split, away->cause, away->evidence);
    else if (x->ran_into_cap)
        say_cap(e, x, plan->n, split);
    else if (gated != NULL)
        say_placement(e, x, gated, split);
    else
        say_peace(e, x, split);
    if (split->cause == STRATEGY_C_V_BEST && plan->n_retries == plan->n && plan->n > 0 &&
        went_back_to_greylister(e, x))
        split->cause = STRATEGY_C_N_GREY;
}
