/*
 * candidate.c - eligibility, and what each endpoint of a sender can take now.
 *
 * I1, I2: eligibility comes from the strategy alone and from nothing that was learned. A relay that
 * stands in anybody's shared list is a shared route, also when a custom sender names it.
 */
#include "strategies/parts.h"

static uint32_t allowed_routes(const struct st_sender *s)
{
    if (s->kind == STRATEGY_DEDICATED && !s->fallback)
        return STRATEGY_ROUTE_DED;
    return strategy_routes((enum strategy_kind)s->kind);
}

bool st_eligible(const struct strategy_engine *e, const struct st_sender *s, uint32_t slot)
{
    if ((s->slot_route[slot] & allowed_routes(s)) == 0)
        return false;
    return s->slot_route[slot] != STRATEGY_ROUTE_CUS ||
           !e->endpoints[s->slot_endpoint[slot]].is_shared;
}

static bool has_route(const struct strategy_engine *e, const struct st_sender *s, uint32_t route)
{
    for (uint32_t slot = 0; slot < s->n_slots; slot++) {
        if (s->slot_route[slot] == route && st_eligible(e, s, slot))
            return true;
    }
    return false;
}

/* Auto: own addresses only for senders and providers with enough mail for them. */
static bool wants_own(const struct st_sender *s, const struct st_cell *c)
{
    if (s->eligible_known && !s->eligible)
        return false;
    return !c->provider_known || c->provider_eligible;
}

uint32_t st_home_route(const struct strategy_engine *e, uint32_t sender, uint32_t cell)
{
    const struct st_sender *s = &e->senders[sender];
    const struct st_cell *c = &e->cells[cell];
    bool own = has_route(e, s, STRATEGY_ROUTE_DED);
    uint32_t relay = has_route(e, s, STRATEGY_ROUTE_SHR) ? STRATEGY_ROUTE_SHR : STRATEGY_ROUTE_SES;

    switch ((enum strategy_kind)s->kind) {
    case STRATEGY_AUTO:
        return own && (wants_own(s, c) || !has_route(e, s, relay)) ? STRATEGY_ROUTE_DED : relay;
    case STRATEGY_DEDICATED:
        return STRATEGY_ROUTE_DED;
    case STRATEGY_SHARED:
        return relay;
    case STRATEGY_CUSTOM:
        if (!has_route(e, s, STRATEGY_ROUTE_CUS))
            return STRATEGY_ROUTE_DED;
        return own && (!c->provider_known || c->provider_eligible) ? STRATEGY_ROUTE_DED
                                                                   : STRATEGY_ROUTE_CUS;
    case STRATEGY_KINDS:
        break;
    }
    return STRATEGY_ROUTE_DED;
}

const char *st_not_allowed(const struct strategy_engine *e, const struct st_context *x,
                           const struct st_candidate *c)
{
    const struct st_flow *flow = &e->flows[x->flow];
    bool shared = (c->route & (STRATEGY_ROUTE_SHR | STRATEGY_ROUTE_SES)) != 0;
    bool fresh = e->endpoints[c->endpoint].is_address && !e->paths[c->path].warmup.is_warm;

    if (shared && x->guard.no_relays)
        return "shared routes are denied to this stream";
    if (!x->guard.frozen || (flow->used_mask >> c->slot & 1) != 0)
        return NULL;
    if (flow->used_mask == 0 && c->is_home && !fresh)
        return NULL;
    return "mail of a sender at fault is not moved to other endpoints";
}

static void limit(struct st_candidate *c, uint32_t room, enum strategy_cause cause,
                  uint64_t retry_ms)
{
    if (room >= c->room)
        return;
    c->room = room;
    c->cap_cause = cause;
    c->retry_ms = retry_ms;
}

static void unhealthy(struct st_candidate *c, uint32_t room, enum strategy_cause cause,
                      const struct strategy_evidence *evidence, uint64_t retry_ms)
{
    c->is_healthy = false;
    c->cause = cause;
    c->evidence = evidence;
    limit(c, room, cause, retry_ms);
}

/* The caller sees it before outcomes do. */
static void out_of_order(const struct st_context *x, struct st_candidate *c, bool is_address)
{
    c->down = (struct strategy_evidence){.signal = STRATEGY_SIGNAL_DOWN,
                                         .endpoint = c->endpoint,
                                         .since_ms = x->now_ms,
                                         .expires_ms = x->now_ms + MINUTE_MS};
    unhealthy(c, 0, is_address ? STRATEGY_C_R_LANE_DOWN : STRATEGY_C_R_RELAY_DOWN, &c->down,
              x->now_ms + MINUTE_MS);
}

static void look_at_relay(struct strategy_engine *e, const struct st_context *x,
                          struct st_candidate *c, uint32_t n_mails)
{
    struct st_endpoint *relay = &e->endpoints[c->endpoint];
    struct st_sender *s = &e->senders[x->sender];
    bool may_probe = !x->is_transactional && !x->guard.frozen;

    st_relay_poll(relay, x->now_ms);
    uint32_t room =
        st_relay_room(relay, s->slot_used[c->slot], x->is_transactional, may_probe, x->now_ms);
    uint64_t retry_ms = st_relay_next_ms(relay, x->now_ms);
    if (relay->relay.state == BRK_OPEN || relay->relay.state == BRK_HALF_OPEN) {
        unhealthy(c, room, STRATEGY_C_R_RELAY_DOWN, &relay->relay.evidence, retry_ms);
    } else {
        limit(c, room, STRATEGY_C_R_RELAY_QUOTA, retry_ms);
        if (room < n_mails)
            c->cause = STRATEGY_C_R_RELAY_QUOTA;
    }
}

static void look_at_path(struct strategy_engine *e, const struct st_context *x,
                         struct st_candidate *c)
{
    struct st_path *path = &e->paths[c->path];
    struct st_breaker *b = &path->breaker;
    bool may_probe = !x->is_transactional && !x->guard.frozen;
    enum strategy_cause slow = path->warmup.is_warm || path->warmup.cap == 0
                                   ? STRATEGY_C_R_SPIKE
                                   : STRATEGY_C_R_WARMUP_CAP;

    st_path_poll(e, c->path, x->sender, x->now_ms);
    if (b->state != BRK_CLOSED) {
        c->cause = (enum strategy_cause)b->cause;
        c->evidence = &b->evidence;
        slow = c->cause;
    }
    if (b->state == BRK_OPEN || b->state == BRK_HALF_OPEN)
        unhealthy(c, st_breaker_room(path, x->now_ms, may_probe), c->cause, c->evidence,
                  st_breaker_next_ms(path, x->now_ms));
    limit(c, st_pace_room(&path->pace), slow, st_pace_next_ms(&path->pace, x->now_ms));
    limit(c, st_warmup_room(&path->warmup),
          path->warmup.is_warm ? STRATEGY_C_R_SPIKE : STRATEGY_C_R_WARMUP_CAP,
          st_warmup_next_ms(&path->warmup, x->now_ms));
}

static uint64_t weight_of(const struct strategy_engine *e, const struct st_candidate *c)
{
    const struct st_warmup *w = &e->paths[c->path].warmup;

    return w->cap != 0 ? st_warmup_day_limit(w) : 10000;
}

static bool look(struct strategy_engine *e, struct st_context *x, uint32_t slot, uint32_t n_mails)
{
    const struct st_sender *s = &e->senders[x->sender];
    struct st_candidate *c = &x->c[x->n];

    *c = (struct st_candidate){.slot = slot,
                               .route = s->slot_route[slot],
                               .endpoint = s->slot_endpoint[slot],
                               .arm = st_arm_get(e, x->cell, slot),
                               .is_home = s->slot_route[slot] == x->home_route,
                               .is_healthy = true,
                               .room = UINT32_MAX,
                               .retry_ms = x->now_ms + 5 * MINUTE_MS};
    if (c->arm == ST_NONE)
        return false;
    c->path = e->arms[c->arm].path;
    struct st_endpoint *endpoint = &e->endpoints[c->endpoint];
    st_drain_poll(endpoint, x->now_ms);
    look_at_path(e, x, c);
    if (!endpoint->is_address)
        look_at_relay(e, x, c, n_mails);
    if (endpoint->drain != DRAIN_NO)
        unhealthy(c, 0, STRATEGY_C_R_DNSBL, &endpoint->drain_evidence, x->now_ms + HOUR_MS);
    if ((x->down_mask >> slot & 1) != 0)
        out_of_order(x, c, endpoint->is_address);
    c->is_allowed = st_not_allowed(e, x, c) == NULL;
    c->value_ppm = st_value_ppm(e, x->cell, slot);
    c->prior_ppm = st_prior_value_ppm(e, x->cell, slot);
    c->weight = weight_of(e, c);
    x->n++;
    return true;
}

/* Relays at home stand by for each other in the order of the configuration. */
static void first_relay_takes_all(struct st_context *x)
{
    bool found = false;

    for (uint32_t i = 0; i < x->n; i++) {
        struct st_candidate *c = &x->c[i];
        if (!c->is_home || (c->route & (STRATEGY_ROUTE_SHR | STRATEGY_ROUTE_SES)) == 0)
            continue;
        if (found)
            c->weight = 0;
        found |= c->is_healthy && c->is_allowed && c->room > 0;
    }
}

bool st_candidates(struct strategy_engine *e, struct st_context *x, uint32_t n_mails)
{
    const struct st_sender *s = &e->senders[x->sender];

    for (uint32_t slot = 0; slot < s->n_slots; slot++) {
        if (st_eligible(e, s, slot) && !look(e, x, slot, n_mails))
            return false;
    }
    first_relay_takes_all(x);
    return true;
}
