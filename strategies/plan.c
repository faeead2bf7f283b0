/*
 * plan.c - one decision: who asks, what stands in the way, what each endpoint takes, how the mails
 * are split, why, and what that uses up. why_not asks the same questions without using anything up.
 */
#include "strategies/parts.h"

/* ---- who asks ---- */

static enum strategy_error find_flow(struct strategy_engine *e, uint64_t now_ms,
                                     const struct strategy_key *key, struct st_context *x)
{
    if (now_ms < e->head.now_ms)
        return STRATEGY_E_TIME;
    if (!st_name_ok(key->sender) || !st_name_ok(key->stream) || !st_name_ok(key->provider))
        return STRATEGY_E_NAME;
    x->sender = st_find(e, NAME_SENDER, 0, key->sender);
    if (x->sender == ST_NONE)
        return STRATEGY_E_UNKNOWN_SENDER;
    e->head.now_ms = now_ms;
    x->now_ms = now_ms;
    x->provider = st_provider_get(e, key->provider);
    if (x->provider == ST_NONE)
        return STRATEGY_E_LIMIT;
    x->stream = st_stream_get(e, x->sender, key->stream);
    x->flow = st_flow_get(e, x->stream, x->provider);
    if (x->flow == ST_NONE)
        return STRATEGY_E_LIMIT;
    x->cell = e->flows[x->flow].cell;
    x->is_transactional = e->streams[x->stream].is_transactional;
    return STRATEGY_OK;
}

/* What of a relay's quota this sender used in about the last 24 h. */
static void sender_roll(struct st_sender *s, uint64_t now_ms)
{
    uint64_t steps = fx_decay_steps(&s->used_ms, now_ms, 16 * HOUR_MS);

    if (steps == 0)
        return;
    for (uint32_t slot = 0; slot < s->n_slots; slot++)
        s->slot_used[slot] = (uint32_t)fx_decay(s->slot_used[slot], steps);
}

/* An outcome of this second may show an outage: before the guard looks. */
static void flush_paths(struct strategy_engine *e, const struct st_context *x)
{
    const struct st_cell *cell = &e->cells[x->cell];

    for (uint32_t slot = 0; slot < e->senders[x->sender].n_slots; slot++) {
        if (cell->arm[slot] != ST_NONE)
            st_path_flush(e, e->arms[cell->arm[slot]].path, x->sender, x->now_ms);
    }
}

static void roll(struct strategy_engine *e, struct st_context *x)
{
    struct st_sender *s = &e->senders[x->sender];

    e->streams[x->stream].last_ms = e->flows[x->flow].last_ms = x->now_ms;
    st_volume_roll(s, x->now_ms);
    sender_roll(s, x->now_ms);
    st_cell_roll(&e->cells[x->cell], x->now_ms, st_n_addresses(s));
    flush_paths(e, x);
    st_gate_poll(e, x->cell, x->now_ms);
    x->home_route = st_home_route(e, x->sender, x->cell);
}

/* ---- what it uses up ---- */

static void use_endpoint(struct strategy_engine *e, const struct st_context *x,
                         const struct st_candidate *c)
{
    struct st_path *path = &e->paths[c->path];
    struct st_endpoint *endpoint = &e->endpoints[c->endpoint];
    struct st_sender *s = &e->senders[x->sender];

    st_warmup_use(&path->warmup, c->take);
    st_pace_use(&path->pace, x->now_ms, c->take);
    if (path->breaker.state == BRK_HALF_OPEN)
        path->breaker.n_probes_sent =
            (uint8_t)fx_min32(255, fx_add32(path->breaker.n_probes_sent, c->take));
    if (endpoint->is_address)
        return;
    st_relay_use(endpoint, x->now_ms, c->take);
    st_relay_active(endpoint, &s->slot_day[c->slot], x->now_ms);
    s->slot_used[c->slot] = fx_add32(s->slot_used[c->slot], c->take);
}

static void note_limits(struct strategy_engine *e, const struct st_context *x)
{
    for (uint32_t i = 0; i < x->n; i++) {
        const struct st_candidate *c = &x->c[i];
        if (c->is_home && x->ran_into_cap && c->take == c->room)
            e->paths[c->path].warmup.limited_today = true;
    }
}

static void use(struct strategy_engine *e, const struct st_context *x,
                const struct strategy_plan *plan, const struct strategy_split *split)
{
    struct st_flow *flow = &e->flows[x->flow];
    struct st_cell *cell = &e->cells[x->cell];
    uint32_t known = fx_add32(plan->n_retries, flow->held_n);

    note_limits(e, x);
    for (uint32_t i = 0; i < x->n; i++) {
        if (x->c[i].take > 0)
            use_endpoint(e, x, &x->c[i]);
    }
    st_guard_use(e, x->flow, &x->guard, x->now_ms, plan->n - split->n_held);
    cell->demand_day = fx_add32(cell->demand_day, fx_sub32(plan->n, known));
    flow->held_n = split->n_held;
    e->senders[x->sender].turn++;
    e->head.counters.n_plans++;
    e->head.counters.n_messages_planned += plan->n;
}

static bool is_low_volume(const struct st_sender *s)
{
    return s->kind == STRATEGY_DEDICATED && s->eligible_known && !s->eligible;
}

enum strategy_error strategy_plan(struct strategy_engine *e, uint64_t now_ms,
                                  const struct strategy_plan *plan,
                                  struct strategy_split *ret_split)
{
    struct st_context x = {0};
    enum strategy_error error = find_flow(e, now_ms, &plan->key, &x);

    if (error != STRATEGY_OK)
        return error;
    roll(e, &x);
    st_guard(e, x.flow, plan, now_ms, &x.guard);
    x.down_mask = plan->down_mask;
    if (!st_candidates(e, &x, plan->n))
        return STRATEGY_E_LIMIT;
    st_allocate(e, &x, plan, ret_split);
    st_reason(e, &x, plan, ret_split);
    ret_split->low_volume_ded = is_low_volume(&e->senders[x.sender]);
    st_check(e, &x, plan, ret_split);
    use(e, &x, plan, ret_split);
    st_record(e, &x, ret_split, plan->n);
    return STRATEGY_OK;
}

/* ---- what was not sent after all ---- */

static uint32_t known_flow(const struct strategy_engine *e, const struct strategy_key *key,
                           uint32_t *ret_sender)
{
    if (!st_name_ok(key->sender) || !st_name_ok(key->stream) || !st_name_ok(key->provider))
        return ST_NONE;
    uint32_t sender = st_find(e, NAME_SENDER, 0, key->sender);
    uint32_t provider = st_find(e, NAME_PROVIDER, 0, key->provider);
    uint32_t stream = sender == ST_NONE ? ST_NONE : st_find(e, NAME_STREAM, sender, key->stream);
    *ret_sender = sender;
    return stream == ST_NONE || provider == ST_NONE ? ST_NONE : st_flow_find(e, stream, provider);
}

static void return_to(struct strategy_engine *e, struct st_sender *s, uint32_t slot,
                      struct st_path *path, uint64_t now_ms, uint32_t n)
{
    struct st_endpoint *endpoint = &e->endpoints[path->endpoint];

    st_warmup_return(&path->warmup, n);
    st_pace_return(&path->pace, n);
    if (path->breaker.state == BRK_HALF_OPEN)
        path->breaker.n_probes_sent =
            (uint8_t)fx_sub32(path->breaker.n_probes_sent, fx_min32(255, n));
    if (endpoint->is_address)
        return;
    st_relay_return(endpoint, now_ms, n);
    s->slot_used[slot] = fx_sub32(s->slot_used[slot], n);
}

struct place { /* of mails that were planned */
    struct st_flow *flow;
    struct st_sender *sender;
    uint32_t slot;
    struct st_path *path;
};

static enum strategy_error find_place(struct strategy_engine *e, uint64_t now_ms,
                                      const struct strategy_key *key, const char *path,
                                      struct place *p)
{
    uint32_t sender = ST_NONE, flow = known_flow(e, key, &sender);
    uint32_t endpoint = st_name_ok(path) ? st_find(e, NAME_ENDPOINT, 0, path) : ST_NONE;

    if (now_ms < e->head.now_ms)
        return STRATEGY_E_TIME;
    if (flow == ST_NONE)
        return STRATEGY_E_UNKNOWN_FLOW;
    p->flow = &e->flows[flow];
    p->sender = &e->senders[sender];
    p->slot = endpoint == ST_NONE ? ST_NONE : st_slot_of(p->sender, endpoint);
    uint32_t arm = p->slot == ST_NONE ? ST_NONE : e->cells[p->flow->cell].arm[p->slot];
    if (arm == ST_NONE)
        return STRATEGY_E_UNKNOWN_PATH;
    p->path = &e->paths[e->arms[arm].path];
    e->head.now_ms = now_ms;
    return STRATEGY_OK;
}

enum strategy_error strategy_return(struct strategy_engine *e, uint64_t now_ms,
                                    const struct strategy_key *key, const char *path, uint32_t n)
{
    struct place p;
    enum strategy_error error = find_place(e, now_ms, key, path, &p);

    if (error != STRATEGY_OK)
        return error;
    return_to(e, p.sender, p.slot, p.path, now_ms, n);
    st_guard_return(e, (uint32_t)(p.flow - e->flows), (enum strategy_cause)p.flow->cause, n);
    p.flow->held_n = fx_add32(p.flow->held_n, n);
    return STRATEGY_OK;
}

/* What an address takes beside its own, without a probe among it. */
static uint32_t room_beside(struct strategy_engine *e, const struct place *p, uint64_t now_ms)
{
    const struct st_breaker *b = &p->path->breaker;
    const struct st_endpoint *endpoint = &e->endpoints[p->path->endpoint];

    if (!endpoint->is_address || endpoint->drain != DRAIN_NO || b->state == BRK_OPEN ||
        b->state == BRK_HALF_OPEN)
        return 0;
    st_warmup_roll(&p->path->warmup, now_ms);
    st_pace_poll(&p->path->pace, now_ms);
    return fx_min32(st_warmup_room(&p->path->warmup), st_pace_room(&p->path->pace));
}

uint32_t strategy_move(struct strategy_engine *e, uint64_t now_ms, const struct strategy_key *key,
                       const char *from, const char *to, uint32_t n)
{
    struct place a, b;

    if (find_place(e, now_ms, key, from, &a) != STRATEGY_OK ||
        find_place(e, now_ms, key, to, &b) != STRATEGY_OK ||
        !e->endpoints[a.path->endpoint].is_address || a.path->breaker.state == BRK_HALF_OPEN)
        return 0;
    n = fx_min32(n, room_beside(e, &b, now_ms));
    return_to(e, a.sender, a.slot, a.path, now_ms, n);
    st_warmup_use(&b.path->warmup, n);
    st_pace_use(&b.path->pace, now_ms, n);
    return n;
}

bool strategy_is_closed(const struct strategy_engine *e, const char *path, const char *provider)
{
    uint32_t endpoint = st_name_ok(path) ? st_find(e, NAME_ENDPOINT, 0, path) : ST_NONE;
    uint32_t provider_id = st_name_ok(provider) ? st_find(e, NAME_PROVIDER, 0, provider) : ST_NONE;

    if (endpoint == ST_NONE || provider_id == ST_NONE)
        return false;
    uint32_t id = st_path_find(e, endpoint, provider_id);
    return e->endpoints[endpoint].drain != DRAIN_NO ||
           (id != ST_NONE && e->paths[id].breaker.state == BRK_OPEN);
}

/* ---- why not ---- */

static const char *route_name(uint32_t route)
{
    switch (route) {
    case STRATEGY_ROUTE_DED:
        return "dedicated";
    case STRATEGY_ROUTE_SHR:
        return "shared";
    case STRATEGY_ROUTE_SES:
        return "ses";
    case STRATEGY_ROUTE_CUS:
        return "custom";
    default:
        return "no";
    }
}

static void say_candidate(const struct strategy_engine *e, const struct st_context *x,
                          const struct st_candidate *c, char *text, size_t n_bytes)
{
    const char *denied = st_not_allowed(e, x, c);
    char evidence[160] = "";

    if (c->evidence != NULL)
        (void)strategy_evidence_text(e, c->cause, c->evidence, evidence, sizeof evidence);
    if (denied != NULL)
        (void)snprintf(text, n_bytes, "%s: %s", strategy_cause_name(x->guard.cause), denied);
    else if (!c->is_healthy)
        (void)snprintf(text, n_bytes, "%s: %s", strategy_cause_name(c->cause), evidence);
    else if (c->room == 0)
        (void)snprintf(text, n_bytes, "%s: %s", strategy_cause_name(c->cap_cause),
                       strategy_cause_text(c->cap_cause));
    else if (e->arms[c->arm].share < 10000 && c->is_home)
        (void)snprintf(text, n_bytes, "R_PLACEMENT: gated to %u %%", e->arms[c->arm].share / 100u);
    else
        text[0] = '\0';
}

enum strategy_error strategy_why_not(struct strategy_engine *e, uint64_t now_ms,
                                     const struct strategy_key *key, const char *path, char *text,
                                     size_t n_bytes)
{
    struct st_context x = {0};
    struct strategy_plan plan = {.key = *key, .n = 0};
    uint32_t sender = st_name_ok(key->sender) ? st_find(e, NAME_SENDER, 0, key->sender) : ST_NONE;
    uint32_t endpoint = st_name_ok(path) ? st_find(e, NAME_ENDPOINT, 0, path) : ST_NONE;

    if (sender == ST_NONE)
        return STRATEGY_E_UNKNOWN_SENDER;
    const struct st_sender *s = &e->senders[sender];
    uint32_t slot = endpoint == ST_NONE ? ST_NONE : st_slot_of(s, endpoint);
    if (slot == ST_NONE)
        return STRATEGY_E_UNKNOWN_PATH;
    enum strategy_error error = find_flow(e, now_ms, key, &x);
    if (error != STRATEGY_OK)
        return error;
    text[0] = '\0';
    if (!st_eligible(e, s, slot)) {
        (void)snprintf(text, n_bytes, "strategy %s never uses %s routes",
                       strategy_kind_text((enum strategy_kind)s->kind),
                       route_name(s->slot_route[slot]));
        return STRATEGY_OK;
    }
    roll(e, &x);
    st_guard(e, x.flow, &plan, now_ms, &x.guard);
    if (!st_candidates(e, &x, 1))
        return STRATEGY_E_LIMIT;
    for (uint32_t i = 0; i < x.n; i++) {
        if (x.c[i].slot == slot)
            say_candidate(e, &x, &x.c[i], text, n_bytes);
    }
    if (text[0] == '\0' && x.guard.n_max == 0)
        (void)snprintf(text, n_bytes, "%s: the stream is held", strategy_cause_name(x.guard.cause));
    return STRATEGY_OK;
}
