/*
 * allocate.c - n mails over the candidates, in this order:
 *
 *   1. second tries after greylisting, to the address that was greylisted;
 *   2. probes of half-open paths at home;
 *   3. home, in proportion to what a day takes, each endpoint times its gate - so the quotas of
 *      healthy own addresses are filled first;
 *   4. custom: each side at least 5 %;
 *   5. the rest overflows by value (dedicated, shared: home, SHR, SES), or waits for home when that
 *      is worth more than the delay costs;
 *   6. what is left is held.
 *
 * No random draws: fractions of a mail are kept as credit of the arm.
 */
#include "strategies/parts.h"

#define WAIT_MAX_MS        (4 * HOUR_MS)
#define DELAY_PPM_PER_HOUR 10000
#define STAY_PPM           20000
#define CUSTOM_FLOOR       20u /* one in 20 */
#define ONE_MAIL           65536

struct job {
    struct strategy_engine *e;
    struct st_context *x;
    const struct strategy_plan *plan;
    uint32_t left; /* of what the guard lets go */
};

static void give(struct job *j, struct st_candidate *c, uint32_t n)
{
    ST_INVARIANT(n <= c->room - c->take && n <= j->left);
    c->take += n;
    j->left -= n;
}

static uint32_t takes(const struct job *j, const struct st_candidate *c)
{
    return c->is_allowed ? fx_min32(j->left, c->room - c->take) : 0;
}

static void give_greylisted(struct job *j)
{
    struct st_flow *flow = &j->e->flows[j->x->flow];

    if (flow->grey_slot == 0 || j->x->now_ms > flow->grey_until_ms)
        return;
    for (uint32_t i = 0; i < j->x->n; i++) {
        struct st_candidate *c = &j->x->c[i];
        if (c->slot + 1 == flow->grey_slot && c->is_healthy)
            give(j, c, fx_min32(j->plan->n_retries, takes(j, c)));
    }
}

/* Bulk only: room is nothing for others (I13). A tenth of a plan at most. */
static void give_probes(struct job *j)
{
    uint32_t most = fx_max32(1, j->left / 10);

    for (uint32_t i = 0; i < j->x->n; i++) {
        struct st_candidate *c = &j->x->c[i];
        if (c->is_home && !c->is_healthy)
            give(j, c, fx_min32(most, takes(j, c)));
    }
}

/* ---- home ---- */

static uint64_t home_weight(const struct st_context *x)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < x->n; i++)
        sum += x->c[i].is_home && x->c[i].is_healthy && x->c[i].is_allowed ? x->c[i].weight : 0;
    return sum;
}

/* The whole mails of an arm's credit; rest is kept for the next time. */
static void give_credit(struct job *j, struct st_candidate *c, uint64_t ideal_q16)
{
    struct st_arm *arm = &j->e->arms[c->arm];
    int64_t credit = (int64_t)ideal_q16 + arm->credit;
    uint32_t whole = credit < 0 ? 0 : (uint32_t)(credit / ONE_MAIL);
    uint32_t n = fx_min32(whole, takes(j, c));

    give(j, c, n);
    credit -= (int64_t)n * ONE_MAIL;
    if (credit >= ONE_MAIL || credit < -ONE_MAIL) /* a limit was in the way: nothing is owed */
        credit = 0;
    arm->credit = (int32_t)credit;
}

static bool is_gated(const struct job *j, const struct st_candidate *c)
{
    return c->is_home && j->e->arms[c->arm].share < 10000;
}

/* With a gate in the way, less than half a mail is not due here. */
static int32_t least_credit(const struct job *j)
{
    for (uint32_t i = 0; i < j->x->n; i++) {
        if (is_gated(j, &j->x->c[i]))
            return ONE_MAIL / 2;
    }
    return 1;
}

static bool may_take(const struct job *j, const struct st_candidate *c, int32_t least)
{
    return c->is_home && c->is_healthy && c->weight > 0 && takes(j, c) > 0 &&
           j->e->arms[c->arm].credit >= least;
}

/* Equals take turns, or single mails to many providers would all leave by the first. */
static struct st_candidate *most_credit(struct job *j, int32_t least)
{
    struct st_candidate *best = NULL;
    uint32_t n = 0, turn = j->e->senders[j->x->sender].turn;

    for (uint32_t i = 0; i < j->x->n; i++)
        n += may_take(j, &j->x->c[i], least);
    for (uint32_t i = 0, k = 0; i < j->x->n; i++) {
        struct st_candidate *c = &j->x->c[i];
        if (!may_take(j, c, least))
            continue;
        int32_t credit = j->e->arms[c->arm].credit;
        bool in_turn = k++ == turn % n;
        if (best == NULL || credit > j->e->arms[best->arm].credit ||
            (in_turn && credit == j->e->arms[best->arm].credit))
            best = c;
    }
    return best;
}

static void give_home(struct job *j)
{
    uint64_t sum = home_weight(j->x);
    uint64_t n_q16 = (uint64_t)j->left * ONE_MAIL;

    if (sum == 0)
        return;
    for (uint32_t i = 0; i < j->x->n; i++) {
        struct st_candidate *c = &j->x->c[i];
        if (c->is_home && c->is_healthy && c->is_allowed)
            give_credit(j, c,
                        fx_scale(fx_scale(n_q16, c->weight, sum), j->e->arms[c->arm].share, 10000));
    }
    int32_t least = least_credit(j);
    for (struct st_candidate *c; (c = most_credit(j, least)) != NULL;) {
        give(j, c, 1);
        j->e->arms[c->arm].credit -= ONE_MAIL;
    }
}

/* ---- custom: each side at least one in 20, so that neither cools down ---- */

static void give_custom_floor(struct job *j)
{
    uint32_t route =
        j->x->home_route == STRATEGY_ROUTE_CUS ? STRATEGY_ROUTE_DED : STRATEGY_ROUTE_CUS;

    if (j->e->senders[j->x->sender].kind != STRATEGY_CUSTOM || j->x->guard.frozen)
        return;
    uint64_t floor_q16 = (uint64_t)j->left * ONE_MAIL / CUSTOM_FLOOR;
    for (uint32_t i = 0; i < j->x->n; i++) {
        struct st_candidate *c = &j->x->c[i];
        if (c->route == route && c->is_healthy) {
            give_credit(j, c, floor_q16);
            return;
        }
    }
}

/* ---- overflow ---- */

/* Smaller is earlier. Auto's own addresses come last where there is too little mail for them. */
static unsigned rank(const struct job *j, const struct st_candidate *c)
{
    enum strategy_kind kind = (enum strategy_kind)j->e->senders[j->x->sender].kind;

    if (is_gated(j, c))
        return 8; /* better there than nowhere */
    if (kind == STRATEGY_AUTO)
        return c->route == STRATEGY_ROUTE_DED && !c->is_home ? 7 : 0;
    if (kind == STRATEGY_CUSTOM || c->is_home)
        return 0;
    return c->route == STRATEGY_ROUTE_SHR ? 1 : 2;
}

/* What another one must be worth for this one to be left: better by 0.02 beyond doubt (1.28 sigma),
 * as home is. The doubt is that of its placement, if opens were seen, and that of its acceptance.
 */
static int64_t worth_staying(const struct job *j, const struct st_candidate *c)
{
    uint64_t var_ppm = (uint64_t)j->e->arms[c->arm].index_var_ppm * 2 +
                       st_acceptance_var_ppm(&j->e->paths[c->path]);
    uint64_t doubt = fx_sqrt(var_ppm * PPM);

    return c->value_ppm + STAY_PPM + (int64_t)(doubt * 128 / 100);
}

/* The relay that takes the overflow: the one that did last, at first the one worth most before
 * anything is learned. Few replies are no reason to go elsewhere. */
static bool is_incumbent(const struct job *j, const struct st_candidate *c)
{
    const struct st_flow *flow = &j->e->flows[j->x->flow];

    if (flow->away_slot != 0)
        return flow->away_slot == c->slot + 1;
    for (uint32_t i = 0; i < j->x->n; i++) {
        const struct st_candidate *other = &j->x->c[i];
        if (!other->is_home && other->is_allowed && other->is_healthy &&
            (other->prior_ppm > c->prior_ppm ||
             (other->prior_ppm == c->prior_ppm && other->slot < c->slot)))
            return false;
    }
    return !c->is_home;
}

static int64_t worth(const struct job *j, const struct st_candidate *c)
{
    return is_incumbent(j, c) ? worth_staying(j, c) : c->value_ppm;
}

/* b comes earlier in the configuration: of two shared relays it is the one to stay with. */
static bool is_better(const struct job *j, const struct st_candidate *a,
                      const struct st_candidate *b)
{
    if (b == NULL)
        return true;
    unsigned rank_a = rank(j, a), rank_b = rank(j, b);
    if (rank_a != rank_b)
        return rank_a < rank_b;
    if (a->route == STRATEGY_ROUTE_SHR && b->route == STRATEGY_ROUTE_SHR)
        return a->value_ppm > worth_staying(j, b);
    return worth(j, a) > worth(j, b);
}

enum where { ANYWHERE, AT_HOME, AWAY };

static struct st_candidate *best_with_room(struct job *j, enum where where)
{
    struct st_candidate *best = NULL;

    for (uint32_t i = 0; i < j->x->n; i++) {
        struct st_candidate *c = &j->x->c[i];
        bool is_there = where == ANYWHERE || (where == AT_HOME) == c->is_home;
        if (!is_there || takes(j, c) == 0 || !is_better(j, c, best))
            continue;
        best = c;
    }
    return best;
}

/* When home takes the rest, and what a mail is worth there. */
static bool home_later(const struct job *j, uint64_t *ret_wait_ms, int64_t *ret_value)
{
    uint64_t per_h = 0, first_ms = NEVER_MS;
    int64_t value = INT64_MIN;

    for (uint32_t i = 0; i < j->x->n; i++) {
        const struct st_candidate *c = &j->x->c[i];
        if (!c->is_home || !c->is_healthy || !c->is_allowed || is_gated(j, c))
            continue;
        per_h += c->weight / 16;
        first_ms = c->retry_ms < first_ms ? c->retry_ms : first_ms;
        value = c->value_ppm > value ? c->value_ppm : value;
    }
    if (per_h == 0)
        return false;
    *ret_wait_ms = fx_sub64(first_ms, j->x->now_ms) + fx_scale(j->left, HOUR_MS, per_h);
    *ret_value = value;
    return true;
}

/* Bulk waits when home can take at least half of the need, within 4 h, and that is worth it. */
static bool should_wait(struct job *j)
{
    struct st_flow *flow = &j->e->flows[j->x->flow];
    struct st_candidate *away = best_with_room(j, AWAY);
    uint64_t wait_ms;
    int64_t home_value;

    if (j->x->is_transactional || away == NULL || !home_later(j, &wait_ms, &home_value))
        return false;
    if (home_weight(j->x) < j->plan->n / 2u || wait_ms > WAIT_MAX_MS)
        return false;
    if (flow->wait_ms != NEVER_MS && j->x->now_ms - flow->wait_ms >= WAIT_MAX_MS)
        return false;
    int64_t delay_ppm = (int64_t)(wait_ms * DELAY_PPM_PER_HOUR / HOUR_MS);
    return home_value - away->value_ppm > delay_ppm;
}

/* SHR and SES of a stream at fault: no more than its share in peace (I6). */
static void cap_shared(struct job *j)
{
    const struct st_flow *flow = &j->e->flows[j->x->flow];

    if (!j->x->guard.frozen)
        return;
    for (uint32_t i = 0; i < j->x->n; i++) {
        struct st_candidate *c = &j->x->c[i];
        if (c->route != STRATEGY_ROUTE_SHR && c->route != STRATEGY_ROUTE_SES)
            continue;
        uint32_t percent = flow->used_mask == 0 && c->is_home ? 100 : flow->peace_weight[c->slot];
        c->room = fx_min32(c->room, fx_clamp32((uint64_t)j->plan->n * percent / 100));
    }
}

/* The relay that took most of it. */
static void note_away(const struct job *j)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < j->x->n; i++) {
        const struct st_candidate *c = &j->x->c[i];
        if (c->is_home || c->take <= most)
            continue;
        most = c->take;
        j->e->flows[j->x->flow].away_slot = (uint8_t)(c->slot + 1);
    }
}

static void overflow(struct job *j)
{
    struct st_flow *flow = &j->e->flows[j->x->flow];

    for (struct st_candidate *c; (c = best_with_room(j, AT_HOME)) != NULL && !is_gated(j, c);)
        give(j, c, takes(j, c));
    if (j->left == 0) {
        flow->wait_ms = NEVER_MS;
        return;
    }
    if (should_wait(j)) {
        flow->wait_ms = flow->wait_ms == NEVER_MS ? j->x->now_ms : flow->wait_ms;
        return;
    }
    for (struct st_candidate *c; j->left > 0 && (c = best_with_room(j, ANYWHERE)) != NULL;)
        give(j, c, takes(j, c));
    note_away(j);
}

/* Mail is left that a closed relay could take. */
static void want_relays(const struct job *j)
{
    for (uint32_t i = 0; i < j->x->n && j->left > 0; i++) {
        if (j->x->c[i].is_allowed && !j->x->c[i].is_healthy)
            j->e->endpoints[j->x->c[i].endpoint].is_wanted = true;
    }
}

/* ---- result ---- */

static uint64_t retry_ms(const struct strategy_engine *e, const struct st_context *x)
{
    uint64_t retry = x->guard.retry_ms;
    uint64_t least_ms = e->limits.retry_min_ms;
    uint64_t soonest = x->now_ms + (x->guard.outage != NULL ? SECOND_MS : least_ms);

    if (retry == NEVER_MS) {
        for (uint32_t i = 0; i < x->n; i++) {
            if (x->c[i].is_allowed && x->c[i].retry_ms < retry)
                retry = x->c[i].retry_ms;
        }
    }
    if (retry == NEVER_MS)
        retry = x->now_ms + HOUR_MS;
    return retry > soonest ? retry : soonest;
}

static void put_split(struct strategy_engine *e, const struct st_context *x, uint32_t n,
                      struct strategy_split *ret)
{
    ret->n_parts = 0;
    ret->n_held = n;
    for (uint32_t i = 0; i < x->n; i++) {
        const struct st_candidate *c = &x->c[i];
        if (c->take == 0)
            continue;
        ret->part[ret->n_parts].path = e->endpoints[c->endpoint].name;
        ret->part[ret->n_parts].slot = c->slot;
        ret->part[ret->n_parts].n = c->take;
        ret->n_parts++;
        ret->n_held -= c->take;
    }
    ret->retry_ms = ret->n_held == 0 ? NEVER_MS : retry_ms(e, x);
}

static bool overflowed(const struct st_context *x, uint32_t left)
{
    for (uint32_t i = 0; i < x->n; i++) {
        const struct st_candidate *c = &x->c[i];
        if (c->is_home && c->is_healthy && c->is_allowed && c->take == c->room)
            return left > 0 || x->n > 1;
    }
    return false;
}

void st_allocate(struct strategy_engine *e, struct st_context *x, const struct strategy_plan *plan,
                 struct strategy_split *ret_split)
{
    struct job j = {.e = e, .x = x, .plan = plan, .left = fx_min32(plan->n, x->guard.n_max)};

    cap_shared(&j);
    give_greylisted(&j);
    give_probes(&j);
    give_custom_floor(&j);
    give_home(&j);
    uint32_t left_by_home = j.left;
    overflow(&j);
    want_relays(&j);
    x->ran_into_cap = left_by_home > 0 && overflowed(x, j.left);
    put_split(e, x, plan->n, ret_split);
}
