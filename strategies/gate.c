/*
 * gate.c - value of each endpoint for a cell (sender, class, provider) and the gate that moves mail
 * to a better one.
 *
 * Placement index of an arm: opens over what was expected from the cell's own baseline (half-life
 * 15 days), divided by the same ratio at the sender's other providers (a dull campaign lowers
 * both). 1,000,000 is "as always". Machine opens are part of the baseline and cancel.
 *
 * Gate: an endpoint is left for the best alternative only if P(alternative better by 0.02) > 0.9, a
 * normal approximation without random draws: d > 0 and d^2 > 1.2816^2 x variance. It opens again
 * when P < 0.5, that is d <= 0. Five points of 100 in 10 minutes, down to 10 (I9).
 */
#include "strategies/parts.h"

#include <string.h>

#define GATE_EVERY_MS     (10 * MINUTE_MS)
#define GATE_STEP         500u
#define GATE_LEAST        1000u
#define GATE_ALL          10000u
#define BASELINE_HALF_MS  (15 * DAY_MS)
#define BASELINE_SEEN_MIN 50u
#define BETTER_BY_PPM     20000
#define RAMP_MARGIN_PPM   130000 /* warming up is worth this much */
#define Z90_SQUARED_MILLI 1642

/* Variance of an index in millionths: what is known of an endpoint before any opens. */
#define PRIOR_OWN_PPM     90000u /* sd 0.3 */
#define PRIOR_RELAY_PPM   10000u /* sd 0.1 */
#define PRIOR_RELAY_INDEX 980000
#define PRIOR_ACCEPTANCE  980000
#define OVERDISPERSION    5u /* opens come in clumps, and we look at the same ones again and again */
#define ENOUGH_OPENS      150u
#define COLLAPSE_OPENS    40u
#define SIBLINGS_PPM      40000u
#define STRUCTURAL_PPM    1600u /* sd 0.04: rates never are quite alike */

struct rate {
    uint64_t trials_q4, seen_q4;
};

/* ---- acceptance ---- */

void st_acceptance_feed(struct st_path *path, uint64_t now_ms, uint32_t n_good, uint32_t n_bad)
{
    uint64_t steps = fx_decay_steps(&path->acc_ms, now_ms, 6 * HOUR_MS);

    path->acc_good_q8 = fx_decay(path->acc_good_q8, steps) + (uint64_t)n_good * 256;
    path->acc_bad_q8 = fx_decay(path->acc_bad_q8, steps) + (uint64_t)n_bad * 256;
}

/* Twenty mails at 98 % stand before the first. */
uint32_t st_acceptance_ppm(const struct st_path *path)
{
    uint64_t good = path->acc_good_q8 + 196 * 256 / 10, bad = path->acc_bad_q8 + 4 * 256 / 10;

    return (uint32_t)fx_scale(good, PPM, good + bad);
}

/* Of the Beta posterior, in millionths. */
uint32_t st_acceptance_var_ppm(const struct st_path *path)
{
    uint64_t p = st_acceptance_ppm(path), n = (path->acc_good_q8 + path->acc_bad_q8) / 256 + 20;

    return (uint32_t)(p * (PPM - p) / PPM / (n + 1));
}

/* ---- value ---- */

static uint32_t cost_ppm(const struct st_endpoint *endpoint, uint32_t route)
{
    if (endpoint->cost_ppm != ST_NONE)
        return endpoint->cost_ppm;
    switch (route) {
    case STRATEGY_ROUTE_SHR:
        return 20000;
    case STRATEGY_ROUTE_SES:
    case STRATEGY_ROUTE_CUS:
        return 30000;
    default:
        return 0;
    }
}

int64_t st_prior_value_ppm(const struct strategy_engine *e, uint32_t cell, uint32_t slot)
{
    const struct st_sender *s = &e->senders[e->cells[cell].sender];
    const struct st_endpoint *endpoint = &e->endpoints[s->slot_endpoint[slot]];
    int64_t index = endpoint->is_address ? PPM : PRIOR_RELAY_INDEX;

    return PRIOR_ACCEPTANCE * index / PPM - cost_ppm(endpoint, s->slot_route[slot]);
}

int64_t st_value_ppm(const struct strategy_engine *e, uint32_t cell, uint32_t slot)
{
    const struct st_cell *c = &e->cells[cell];
    const struct st_sender *s = &e->senders[c->sender];
    const struct st_endpoint *endpoint = &e->endpoints[s->slot_endpoint[slot]];
    int64_t index = endpoint->is_address ? PPM : PRIOR_RELAY_INDEX, acceptance = PRIOR_ACCEPTANCE;

    if (c->arm[slot] != ST_NONE) {
        const struct st_arm *arm = &e->arms[c->arm[slot]];
        acceptance = st_acceptance_ppm(&e->paths[arm->path]);
        if (arm->index_var_ppm != 0)
            index = arm->index_ppm;
    }
    return acceptance * index / PPM - cost_ppm(endpoint, s->slot_route[slot]) -
           st_relay_price_ppm(endpoint);
}

/* ---- placement ---- */

static void baseline_roll(struct strategy_engine *e, struct st_cell *c, uint64_t now_ms)
{
    uint64_t steps = fx_decay_steps(&c->slow_ms, now_ms, BASELINE_HALF_MS);

    c->slow_n_q4 = fx_decay(c->slow_n_q4, steps);
    c->slow_seen_q4 = fx_decay(c->slow_seen_q4, steps);
    for (uint32_t slot = 0; slot < e->senders[c->sender].n_slots; slot++) {
        uint64_t n_q16 = 0;
        uint32_t seen = 0;
        if (c->arm[slot] == ST_NONE)
            continue;
        st_cohorts_roll(&e->arms[c->arm[slot]].cohorts, now_ms, &n_q16, &seen);
        c->slow_n_q4 += n_q16 >> 12;
        c->slow_seen_q4 += (uint64_t)seen * 16;
    }
}

/* The slow baseline; as long as that is thin, everything that is known. */
static struct rate baseline(const struct strategy_engine *e, const struct st_cell *c,
                            uint64_t now_ms)
{
    struct rate r = {c->slow_n_q4, c->slow_seen_q4};

    if (r.seen_q4 >= BASELINE_SEEN_MIN * 16)
        return r;
    for (uint32_t slot = 0; slot < e->senders[c->sender].n_slots; slot++) {
        if (c->arm[slot] == ST_NONE)
            continue;
        const struct st_cohorts *cohorts = &e->arms[c->arm[slot]].cohorts;
        r.trials_q4 += st_cohorts_trials_q16(cohorts, now_ms, COHORTS) >> 12;
        r.seen_q4 += (uint64_t)st_cohorts_seen_sum(cohorts, COHORTS) * 16;
    }
    return r;
}

static uint32_t expected(const struct rate *base, uint64_t trials_q16)
{
    if (base->trials_q4 == 0)
        return 0;
    return fx_clamp32(fx_scale(trials_q16 >> 12, base->seen_q4, base->trials_q4) / 16);
}

static const uint32_t window_spans[OPEN_WINDOWS] = {1, 2, 4, 8};

static void ratio_add(struct st_ratio *sum, const struct st_ratio *r)
{
    for (unsigned i = 0; i < OPEN_WINDOWS; i++) {
        sum->expected[i] = fx_add32(sum->expected[i], r->expected[i]);
        sum->seen[i] = fx_add32(sum->seen[i], r->seen[i]);
    }
}

static void ratio_take(struct st_ratio *sum, const struct st_ratio *r)
{
    for (unsigned i = 0; i < OPEN_WINDOWS; i++) {
        sum->expected[i] = fx_sub32(sum->expected[i], r->expected[i]);
        sum->seen[i] = fx_sub32(sum->seen[i], r->seen[i]);
    }
}

static struct st_ratio arm_ratio(const struct st_cohorts *cohorts, const struct rate *base,
                                 uint64_t now_ms)
{
    struct st_ratio r;

    for (unsigned i = 0; i < OPEN_WINDOWS; i++) {
        r.expected[i] = expected(base, st_cohorts_trials_q16(cohorts, now_ms, window_spans[i]));
        r.seen[i] = st_cohorts_seen_sum(cohorts, window_spans[i]);
    }
    return r;
}

/* The same ratio at the sender's other providers, in the same window: if the delay curve does not
 * fit this sender, it errs alike on both sides. */
static struct st_ratio others_ratio(const struct strategy_engine *e, const struct st_cell *c)
{
    struct st_ratio sum = {{0}, {0}};

    for (uint32_t id = e->senders[c->sender].first_cell; id != ST_NONE;
         id = e->cells[id].next_of_sender) {
        const struct st_cell *other = &e->cells[id];
        if (other == c || other->is_transactional != c->is_transactional)
            continue;
        ratio_add(&sum, &other->fast);
    }
    return sum;
}

struct common { /* to all arms of a cell */
    struct rate base;
    struct st_ratio others;
};

/* Ratio of the others in a window, and its relative variance with that of the baseline. */
static uint32_t common_ratio_ppm(const struct common *k, unsigned window, uint64_t *ret_var_ppm)
{
    uint32_t want = k->others.expected[window], seen = k->others.seen[window];

    *ret_var_ppm = STRUCTURAL_PPM + PPM / (k->base.seen_q4 / 16 + 1);
    if (want < 50 || seen < 10) {
        *ret_var_ppm += 10000; /* nobody to compare with: sd 0.1 more */
        return PPM;
    }
    *ret_var_ppm += PPM / want;
    return fx_clamp32(fx_scale(seen, PPM, want));
}

/* Posterior of a normal prior and a normal observation. */
static void combine(struct st_arm *arm, int64_t prior, uint64_t prior_var, int64_t index,
                    uint64_t var)
{
    uint64_t total = prior_var + var;

    arm->index_ppm =
        (int32_t)((index * (int64_t)prior_var + prior * (int64_t)var) / (int64_t)total);
    arm->index_var_ppm = fx_max32(1, (uint32_t)(prior_var * var / total));
}

/* What a window says of an arm, by itself. */
static void window_index(const struct common *k, const struct st_ratio *r, unsigned w,
                         uint64_t *ret_index, uint64_t *ret_var)
{
    uint64_t common_var;
    uint32_t others_ppm = fx_max32(1, common_ratio_ppm(k, w, &common_var));
    uint64_t index = fx_scale((uint64_t)r->seen[w] * PPM / r->expected[w], PPM, others_ppm);

    index = index > 2 * PPM ? 2 * PPM : index;
    *ret_index = index;
    *ret_var = OVERDISPERSION * (index + 20000) / r->expected[w] +
               index * index / PPM * common_var / PPM + 1;
}

/* The newest three hours count alone when opens have fallen by a third or more in them, beyond doubt
 * (3 sigma), and the sender's other providers show that feedback does come that early. */
static bool has_collapsed(const struct common *k, const struct st_ratio *r)
{
    uint64_t index, var;

    if (r->expected[0] < COLLAPSE_OPENS || k->others.expected[0] < COLLAPSE_OPENS ||
        k->others.seen[0] * 2u < k->others.expected[0])
        return false;
    window_index(k, r, 0, &index, &var);
    return index * 3 < 2 * PPM && (PPM - index) * (PPM - index) / PPM > 9 * var;
}

/* Otherwise as few spans as give enough expected opens. */
static unsigned choose_window(const struct common *k, const struct st_ratio *r)
{
    unsigned w = 1;

    if (has_collapsed(k, r))
        return 0;
    while (w < OPEN_WINDOWS - 1 && r->expected[w] < ENOUGH_OPENS)
        w++;
    return w;
}

/* Addresses of one sender fare alike, but not quite (sd 0.2): what the others see is where an
 * address starts from. */
static void add_siblings(struct st_arm *arm, const struct common *k,
                         const struct st_ratio *siblings, unsigned w)
{
    uint64_t index, var;

    if (siblings->expected[w] < 10)
        return;
    window_index(k, siblings, w, &index, &var);
    combine(arm, arm->index_ppm, arm->index_var_ppm, (int64_t)index, var + SIBLINGS_PPM);
}

static void look_at_arm(struct st_arm *arm, const struct common *k, const struct st_ratio *r,
                        const struct st_ratio *siblings, bool is_address)
{
    unsigned w = choose_window(k, r);
    uint64_t index, var;

    arm->index_ppm = is_address ? PPM : PRIOR_RELAY_INDEX;
    arm->index_var_ppm = is_address ? PRIOR_OWN_PPM : PRIOR_RELAY_PPM;
    if (r->expected[w] < 10)
        return;
    if (is_address)
        add_siblings(arm, k, siblings, w);
    arm->n_expected = r->expected[w];
    arm->n_seen = r->seen[w];
    window_index(k, r, w, &index, &var);
    combine(arm, arm->index_ppm, arm->index_var_ppm, (int64_t)index, var);
}

static void look(struct strategy_engine *e, struct st_cell *c, uint64_t now_ms)
{
    const struct st_sender *s = &e->senders[c->sender];
    struct st_ratio all = {{0}, {0}}, own = {{0}, {0}}, of[SLOTS];

    baseline_roll(e, c, now_ms);
    struct common k = {.base = baseline(e, c, now_ms), .others = others_ratio(e, c)};
    memset(&c->fast, 0, sizeof c->fast);
    if (k.base.seen_q4 < BASELINE_SEEN_MIN * 16)
        return; /* nothing to compare with yet */
    for (uint32_t slot = 0; slot < s->n_slots; slot++) {
        if (c->arm[slot] == ST_NONE)
            continue;
        of[slot] = arm_ratio(&e->arms[c->arm[slot]].cohorts, &k.base, now_ms);
        ratio_add(&all, &of[slot]);
        if (e->endpoints[s->slot_endpoint[slot]].is_address)
            ratio_add(&own, &of[slot]);
    }
    c->fast = all;
    for (uint32_t slot = 0; slot < s->n_slots; slot++) {
        if (c->arm[slot] == ST_NONE)
            continue;
        struct st_ratio siblings = own;
        bool is_address = e->endpoints[s->slot_endpoint[slot]].is_address;
        if (is_address)
            ratio_take(&siblings, &of[slot]);
        look_at_arm(&e->arms[c->arm[slot]], &k, &of[slot], &siblings, is_address);
    }
}

/* ---- gate ---- */

static bool is_alternative(const struct strategy_engine *e, const struct st_cell *c, uint32_t slot,
                           uint32_t except)
{
    const struct st_sender *s = &e->senders[c->sender];

    if (slot == except || !st_eligible(e, s, slot))
        return false;
    const struct st_endpoint *endpoint = &e->endpoints[s->slot_endpoint[slot]];
    if (endpoint->drain != DRAIN_NO || endpoint->relay.state == BRK_OPEN)
        return false;
    if (c->arm[slot] == ST_NONE)
        return !endpoint->is_address;
    const struct st_path *path = &e->paths[e->arms[c->arm[slot]].path];
    return path->breaker.state != BRK_OPEN && path->breaker.state != BRK_HALF_OPEN &&
           (!endpoint->is_address || path->warmup.is_warm);
}

static uint64_t variance_of(const struct strategy_engine *e, const struct st_cell *c, uint32_t slot)
{
    const struct st_sender *s = &e->senders[c->sender];

    if (c->arm[slot] == ST_NONE || e->arms[c->arm[slot]].index_var_ppm == 0)
        return e->endpoints[s->slot_endpoint[slot]].is_address ? PRIOR_OWN_PPM : PRIOR_RELAY_PPM;
    return e->arms[c->arm[slot]].index_var_ppm;
}

/* How much better the best alternative is, beyond what makes a move worth it. */
static bool should_leave(const struct strategy_engine *e, uint32_t cell, uint32_t slot,
                         bool was_gated)
{
    const struct st_cell *c = &e->cells[cell];
    const struct st_arm *arm = &e->arms[c->arm[slot]];
    int64_t mine = st_value_ppm(e, cell, slot), best = INT64_MIN;
    uint32_t best_slot = ST_NONE;

    for (uint32_t i = 0; i < e->senders[c->sender].n_slots; i++) {
        if (!is_alternative(e, c, i, slot) || st_value_ppm(e, cell, i) <= best)
            continue;
        best = st_value_ppm(e, cell, i);
        best_slot = i;
    }
    if (best_slot == ST_NONE)
        return false;
    const struct st_warmup *w = &e->paths[arm->path].warmup;
    int64_t d = best - mine - BETTER_BY_PPM - (w->cap != 0 && !w->is_warm ? RAMP_MARGIN_PPM : 0);
    if (d <= 0 || was_gated)
        return d > 0;
    uint64_t var = arm->index_var_ppm + variance_of(e, c, best_slot);
    return (uint64_t)d * (uint64_t)d / PPM * 1000 > Z90_SQUARED_MILLI * var;
}

static void move(struct strategy_engine *e, uint32_t cell, uint32_t slot)
{
    struct st_arm *arm = &e->arms[e->cells[cell].arm[slot]];

    arm->gated = arm->index_var_ppm != 0 && should_leave(e, cell, slot, arm->gated);
    uint32_t share = arm->gated ? fx_max32(GATE_LEAST, fx_sub32(arm->share, GATE_STEP))
                                : fx_min32(GATE_ALL, arm->share + GATE_STEP);
    uint32_t moved = share > arm->share ? share - arm->share : arm->share - share;
    ST_INVARIANT(moved <= GATE_STEP); /* I9 */
    arm->share = (uint16_t)share;
}

void st_gate_poll(struct strategy_engine *e, uint32_t cell, uint64_t now_ms)
{
    struct st_cell *c = &e->cells[cell];
    uint32_t home = st_home_route(e, c->sender, cell);

    if (c->gate_ms != 0 && now_ms - c->gate_ms < GATE_EVERY_MS)
        return;
    c->gate_ms = now_ms == 0 ? 1 : now_ms;
    look(e, c, now_ms);
    for (uint32_t slot = 0; slot < e->senders[c->sender].n_slots; slot++) {
        if (c->arm[slot] != ST_NONE && e->senders[c->sender].slot_route[slot] == home)
            move(e, cell, slot);
    }
}
