/*
 * guard.c - what a stream may do while its provider is down or its sender is at fault. Only here
 * are streams held; endpoints are not looked at.
 *
 * Order: an outage of the provider; for bulk: quarantine, authentication, domain, complaints,
 * canary, pool protection. Transactional mail of a sender at fault goes on where it went in peace.
 *
 * I6 and I16 follow from "frozen": no endpoint that the flow did not use while nobody was at fault,
 * no higher share of SHR and SES. I13: nothing here holds transactional mail but an outage.
 */
#include "strategies/parts.h"

#define TEST_EVERY_MS    (30 * MINUTE_MS)
#define TEST_MAILS       10u
#define CANARY_NEW_PPM   200000u
#define CANARY_MAILS     200u
#define CANARY_WAIT_MS   (30 * MINUTE_MS)
#define CANARY_MAX_MS    (6 * HOUR_MS)
#define CANARY_MEMORY_MS (7 * DAY_MS)
#define CANARY_SHARED_H  50u
#define HARD_CANARY_PPM  40000u
#define HARD_DENY_PPM    40000u
#define COMPLAINTS_MIN   10u
#define POOL_DENY_MS     DAY_MS
#define COMPLAINTS_DENY  800u
#define COMPLAINTS_HOLD  5000u

static struct st_cell *bulk_cell(struct strategy_engine *e, const struct st_flow *flow)
{
    uint32_t cell = st_cell_find(e, e->streams[flow->stream].sender, false, flow->provider);

    return cell == ST_NONE ? NULL : &e->cells[cell];
}

static void hold(struct st_guard *g, enum strategy_cause cause,
                 const struct strategy_evidence *evidence, uint32_t n_max, uint64_t retry_ms)
{
    g->cause = cause;
    g->evidence = evidence;
    g->n_max = n_max;
    g->retry_ms = retry_ms;
    g->no_relays = g->frozen = true;
}

/* ---- half speed ---- */

static uint32_t usual_per_h(const struct st_cell *c, uint32_t n)
{
    uint32_t peak = 0;

    for (unsigned i = 0; i < 7; i++)
        peak = fx_max32(peak, c->demand_peak[i]);
    return peak == 0 ? fx_max32(n, 2) : fx_max32(peak / 24, 2);
}

/* Half of the usual rate, an hour of it at most at once. */
static uint32_t half_room(struct st_cell *c, uint64_t now_ms, uint32_t n)
{
    uint64_t most = (uint64_t)usual_per_h(c, n) * 128;
    uint64_t more = fx_scale(now_ms - c->half_ms, most, HOUR_MS);

    c->half_tokens_q8 = c->half_tokens_q8 + more > most ? most : c->half_tokens_q8 + more;
    c->half_ms = now_ms;
    return (uint32_t)(c->half_tokens_q8 / 256);
}

/* ---- faults of the sender at this provider ---- */

static void fault_guard(struct st_fault *f, enum strategy_cause cause, struct st_cell *c,
                        const struct strategy_plan *plan, uint64_t now_ms, struct st_guard *g)
{
    if (f->level == 1) {
        hold(g, cause, &f->evidence, half_room(c, now_ms, plan->n), now_ms + TEST_EVERY_MS);
        return;
    }
    bool test = now_ms - f->test_ms >= TEST_EVERY_MS;
    hold(g, cause, &f->evidence, test ? TEST_MAILS : 0,
         test ? now_ms + TEST_EVERY_MS : f->test_ms + TEST_EVERY_MS);
    g->test = test ? f : NULL;
}

static bool sender_guard(struct st_cell *c, bool is_transactional, const struct strategy_plan *plan,
                         uint64_t now_ms, struct st_guard *g)
{
    if (c == NULL)
        return false;
    st_fault_poll(&c->auth, STRATEGY_SIGNAL_AUTH, now_ms);
    st_fault_poll(&c->domain, STRATEGY_SIGNAL_DOMAIN, now_ms);
    struct st_fault *f = c->auth.level > 0 ? &c->auth : &c->domain;
    enum strategy_cause cause = f == &c->auth ? STRATEGY_C_S_AUTH : STRATEGY_C_S_DOMAIN;
    if (f->level == 0)
        return false;
    if (is_transactional) {
        g->cause = cause;
        g->evidence = &f->evidence;
        g->frozen = true;
        return true;
    }
    fault_guard(f, cause, c, plan, now_ms, g);
    g->no_relays = false; /* frozen is enough: it goes on where it went, slower */
    return true;
}

/* ---- the stream's own faults ---- */

static bool quarantine_guard(struct st_stream *s, uint64_t now_ms, struct st_guard *g)
{
    if (s->quarantine != QUAR_HOLD)
        return false;
    if (now_ms >= s->quarantine_until_ms) { /* a few try again, as for an unknown list */
        s->quarantine = QUAR_RETEST;
        s->canary = CANARY_NO;
        return false;
    }
    hold(g, (enum strategy_cause)s->quarantine_cause, &s->quarantine_evidence, 0,
         s->quarantine_until_ms);
    return true;
}

static bool complaints_guard(struct st_stream *s, struct st_cell *c, uint32_t home,
                             const struct strategy_plan *plan, uint64_t now_ms, struct st_guard *g)
{
    if (s->complaints_active && (now_ms >= s->complaints_until_ms || st_stream_complaints_over(s)))
        s->complaints_active = false;
    if (!s->complaints_active || c == NULL)
        return false;
    bool stop = st_stream_complaints_ppm(s) >= COMPLAINTS_HOLD;
    hold(g, STRATEGY_C_S_COMPLAINTS, &s->complaints_evidence,
         stop ? 0 : half_room(c, now_ms, plan->n),
         stop ? s->complaints_until_ms : now_ms + TEST_EVERY_MS);
    g->no_relays = home != STRATEGY_ROUTE_SHR && home != STRATEGY_ROUTE_SES;
    return true;
}

static void canary_start(struct st_stream *s, uint64_t now_ms)
{
    s->canary = CANARY_RUNNING;
    s->canary_ms = now_ms;
    s->canary_asked = s->canary_sent = s->canary_done = s->canary_hard = 0;
    s->canary_evidence = (struct strategy_evidence){.signal = STRATEGY_SIGNAL_CANARY,
                                                    .endpoint = ST_NONE,
                                                    .threshold_milli = HARD_CANARY_PPM / 1000,
                                                    .since_ms = now_ms,
                                                    .expires_ms = now_ms + CANARY_MAX_MS};
}

/* Enough of them have an outcome and the wait is over. */
static void canary_judge(struct st_stream *s, uint64_t now_ms)
{
    uint32_t enough = fx_max32(20, s->canary_sent / 2);

    s->canary_evidence.n = s->canary_done;
    s->canary_evidence.observed = s->canary_hard;
    s->canary_evidence.statistic_milli =
        s->canary_done == 0 ? 0 : (int64_t)((uint64_t)s->canary_hard * 1000 / s->canary_done);
    if (now_ms - s->canary_ms < CANARY_WAIT_MS)
        return;
    if (s->canary_done < enough) {
        if (now_ms - s->canary_ms >= CANARY_MAX_MS)
            canary_start(s, now_ms);
        return;
    }
    if ((uint64_t)s->canary_hard * PPM >= (uint64_t)s->canary_done * HARD_CANARY_PPM) {
        st_stream_quarantine(s, now_ms, STRATEGY_C_S_BAD_LIST, &s->canary_evidence);
        return;
    }
    s->canary = CANARY_PASSED;
    s->canary_until_ms = now_ms + CANARY_MEMORY_MS;
    s->quarantine = QUAR_NO;
}

static uint32_t canary_room(const struct st_stream *s, bool home_is_shared, uint64_t now_ms)
{
    uint32_t budget = fx_max32(CANARY_MAILS, s->canary_asked / 50);

    if (home_is_shared) {
        uint64_t paced = CANARY_SHARED_H * (1 + (now_ms - s->canary_ms) / HOUR_MS);
        budget = fx_min32(budget, fx_clamp32(paced));
    }
    return fx_sub32(budget, s->canary_sent);
}

static bool canary_guard(struct strategy_engine *e, const struct st_flow *flow,
                         const struct strategy_plan *plan, uint64_t now_ms, struct st_guard *g)
{
    struct st_stream *s = &e->streams[flow->stream];
    bool wanted = plan->never_mailed_ppm > CANARY_NEW_PPM || s->quarantine == QUAR_RETEST;
    bool home_is_shared = st_home_route(e, s->sender, flow->cell) == STRATEGY_ROUTE_SHR;

    if (s->canary == CANARY_PASSED && now_ms >= s->canary_until_ms)
        s->canary = CANARY_NO;
    if (s->canary == CANARY_NO && wanted)
        canary_start(s, now_ms);
    if (s->canary != CANARY_RUNNING)
        return false;
    if (flow->record_id == 0)
        s->canary_asked = fx_add32(s->canary_asked, plan->n);
    canary_judge(s, now_ms);
    if (s->canary != CANARY_RUNNING)
        return s->quarantine == QUAR_HOLD && quarantine_guard(s, now_ms, g);
    uint64_t next_ms = s->canary_ms + CANARY_WAIT_MS;
    hold(g, STRATEGY_C_S_CANARY, &s->canary_evidence, canary_room(s, home_is_shared, now_ms),
         next_ms > now_ms ? next_ms : now_ms + 5 * MINUTE_MS);
    g->no_relays = !home_is_shared;
    g->frozen = false; /* nobody is at fault yet; fresh addresses are left out by the allocation */
    return true;
}

/* SES reviews accounts at 5 % and 0.1 %: a stream near that keeps off what is shared, for a day,
 * and then has another 10,000 to show. Ten complaints at least: fewer are chance. */
static void pool_look(struct st_stream *s, uint64_t now_ms)
{
    bool hard = st_stream_hard_ppm(s) >= HARD_DENY_PPM;
    bool complaints = st_stream_complaints_ppm(s) >= COMPLAINTS_DENY &&
                      s->rep_complaints[0] + s->rep_complaints[1] >= COMPLAINTS_MIN;

    if (s->pool_until_ms > now_ms || (!hard && !complaints))
        return;
    s->pool_cause = hard ? STRATEGY_C_S_BAD_LIST : STRATEGY_C_S_COMPLAINTS;
    s->pool_until_ms = now_ms + POOL_DENY_MS;
    s->pool_evidence = (struct strategy_evidence){
        .signal = hard ? STRATEGY_SIGNAL_HARD_BOUNCE : STRATEGY_SIGNAL_COMPLAINT,
        .endpoint = ST_NONE,
        .n = hard ? s->rep_n[0] + s->rep_n[1] : s->rep_trials[0] + s->rep_trials[1],
        .observed =
            hard ? s->rep_hard[0] + s->rep_hard[1] : s->rep_complaints[0] + s->rep_complaints[1],
        .statistic_milli = (hard ? st_stream_hard_ppm(s) : st_stream_complaints_ppm(s)) / 10,
        .threshold_milli = (hard ? HARD_DENY_PPM : COMPLAINTS_DENY) / 10,
        .since_ms = now_ms,
        .expires_ms = s->pool_until_ms};
    st_stream_rep_reset(s);
}

/* Who has nothing but shared routes goes on at half speed. */
static bool pool_guard(struct strategy_engine *e, const struct st_flow *flow, struct st_cell *c,
                       const struct strategy_plan *plan, uint64_t now_ms, struct st_guard *g)
{
    struct st_stream *s = &e->streams[flow->stream];
    uint32_t home = st_home_route(e, s->sender, flow->cell);
    bool lives_there = home == STRATEGY_ROUTE_SHR || home == STRATEGY_ROUTE_SES;

    pool_look(s, now_ms);
    if (now_ms >= s->pool_until_ms)
        return false;
    hold(g, (enum strategy_cause)s->pool_cause, &s->pool_evidence,
         lives_there && c != NULL ? half_room(c, now_ms, plan->n) : UINT32_MAX,
         now_ms + TEST_EVERY_MS);
    g->no_relays = !lives_there;
    return true;
}

static bool outage_guard(struct st_provider *p, uint64_t now_ms, struct st_guard *g)
{
    uint32_t room = st_outage_room(p, now_ms);

    if (room == UINT32_MAX)
        return false;
    hold(g, STRATEGY_C_P_OUTAGE, &p->evidence, room,
         p->down_until_ms > now_ms ? p->down_until_ms : now_ms + MINUTE_MS);
    g->no_relays = false;
    g->outage = p;
    return true;
}

void st_guard(struct strategy_engine *e, uint32_t flow_id, const struct strategy_plan *plan,
              uint64_t now_ms, struct st_guard *ret_guard)
{
    const struct st_flow *flow = &e->flows[flow_id];
    struct st_stream *s = &e->streams[flow->stream];
    struct st_cell *c = bulk_cell(e, flow);

    st_stream_flush(s, now_ms);
    *ret_guard =
        (struct st_guard){.cause = STRATEGY_C_V_BEST, .n_max = UINT32_MAX, .retry_ms = NEVER_MS};
    if (outage_guard(&e->providers[flow->provider], now_ms, ret_guard))
        return;
    if (s->is_transactional) {
        (void)sender_guard(c, true, plan, now_ms, ret_guard);
        return;
    }
    if (quarantine_guard(s, now_ms, ret_guard) || sender_guard(c, false, plan, now_ms, ret_guard) ||
        complaints_guard(s, c, st_home_route(e, s->sender, flow->cell), plan, now_ms, ret_guard) ||
        canary_guard(e, flow, plan, now_ms, ret_guard))
        return;
    (void)pool_guard(e, flow, c, plan, now_ms, ret_guard);
}

void st_guard_use(struct strategy_engine *e, uint32_t flow, const struct st_guard *guard,
                  uint64_t now_ms, uint32_t n_sent)
{
    struct st_stream *s = &e->streams[e->flows[flow].stream];
    struct st_cell *c = bulk_cell(e, &e->flows[flow]);

    ST_INVARIANT(n_sent <= guard->n_max);
    if (guard->outage != NULL)
        guard->outage->probe_left = fx_sub32(guard->outage->probe_left, n_sent);
    if (guard->cause == STRATEGY_C_S_CANARY)
        s->canary_sent = fx_add32(s->canary_sent, n_sent);
    if (guard->test != NULL && n_sent > 0) {
        guard->test->test_ms = now_ms;
        guard->test->since = (struct window50){0};
    }
    if (c != NULL && guard->n_max != UINT32_MAX)
        c->half_tokens_q8 = fx_sub64(c->half_tokens_q8, (uint64_t)n_sent * 256);
}

void st_guard_return(struct strategy_engine *e, uint32_t flow, enum strategy_cause cause,
                     uint32_t n)
{
    struct st_stream *s = &e->streams[e->flows[flow].stream];
    struct st_cell *c = bulk_cell(e, &e->flows[flow]);

    if (cause == STRATEGY_C_P_OUTAGE)
        e->providers[e->flows[flow].provider].probe_left =
            fx_add32(e->providers[e->flows[flow].provider].probe_left, n);
    else if (cause == STRATEGY_C_S_CANARY)
        s->canary_sent = fx_sub32(s->canary_sent, n);
    else if (c != NULL && cause != STRATEGY_C_V_BEST && !s->is_transactional)
        c->half_tokens_q8 += (uint64_t)n * 256;
}
