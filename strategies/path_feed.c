/*
 * path_feed.c - outcomes of a path (endpoint, provider) to its detectors, and what an alarm does.
 *
 * Outcomes of one second are one batch: a detector must not see the good half of a second before
 * the bad half only because the lines came in that order. A decision flushes the batch first, so
 * nothing is planned later than the event (I3).
 *
 * Good is every reply that shows that the address is welcome, also "no such user". Content, domain,
 * authentication, greylisting and busy mailboxes are neither. Failed connections never touch the
 * reputation detectors (I8).
 */
#include "strategies/parts.h"

#include <string.h>

#define BATCH_MS        SECOND_MS
#define LIST_CONFIRM_MS (10 * MINUTE_MS)
#define POOL_MS         HOUR_MS
#define ROLLBACK_MS     (15 * MINUTE_MS)

static struct strategy_evidence evidence_of(const struct st_path *path, const struct cusum *c,
                                            const struct cusum_rule *rule,
                                            enum strategy_signal signal, uint64_t now_ms)
{
    struct strategy_evidence evidence = {.signal = signal,
                                         .endpoint = path->endpoint,
                                         .n = c->n,
                                         .observed = c->n_bad,
                                         .statistic_milli = (int64_t)((uint64_t)c->s * 1000 >> 20),
                                         .threshold_milli =
                                             (int64_t)((uint64_t)rule->alarm * 1000 >> 20),
                                         .since_ms = now_ms,
                                         .expires_ms = NEVER_MS};

    memcpy(evidence.text, path->code, sizeof evidence.text);
    return evidence;
}

/* ---- the whole pool ---- */

static bool is_own_address(const struct st_sender *s, uint32_t slot)
{
    return s->slot_route[slot] == STRATEGY_ROUTE_DED;
}

static bool tripped_lately(const struct st_path *path, uint64_t now_ms)
{
    return path->breaker.state == BRK_OPEN && now_ms - path->breaker.since_ms <= POOL_MS;
}

/* Two or more addresses in use, and all of them tripped within the hour. */
static bool pool_is_blocked(const struct strategy_engine *e, const struct st_sender *s,
                            uint32_t provider, uint64_t now_ms)
{
    uint32_t n_tripped = 0;

    for (uint32_t slot = 0; slot < s->n_slots; slot++) {
        uint32_t id =
            is_own_address(s, slot) ? st_path_find(e, s->slot_endpoint[slot], provider) : ST_NONE;
        if (id == ST_NONE)
            continue;
        if (tripped_lately(&e->paths[id], now_ms))
            n_tripped++;
        else if (st_pace_rate(&e->paths[id].pace) > 0)
            return false;
    }
    return n_tripped >= 2;
}

static void pool_check(struct strategy_engine *e, uint32_t sender, uint32_t provider,
                       uint64_t now_ms, const struct strategy_evidence *evidence)
{
    const struct st_sender *s = &e->senders[sender];

    if (!pool_is_blocked(e, s, provider, now_ms))
        return;
    for (uint32_t slot = 0; slot < s->n_slots; slot++) {
        uint32_t id =
            is_own_address(s, slot) ? st_path_get(e, s->slot_endpoint[slot], provider) : ST_NONE;
        if (id == ST_NONE)
            continue;
        st_breaker_trip(&e->paths[id], now_ms, STRATEGY_C_R_POOL_BLOCK, evidence);
        e->paths[id].breaker.cause = STRATEGY_C_R_POOL_BLOCK;
    }
}

static void trip(struct strategy_engine *e, uint32_t path, uint32_t sender, uint64_t now_ms,
                 enum strategy_cause cause, const struct strategy_evidence *evidence)
{
    st_breaker_trip(&e->paths[path], now_ms, cause, evidence);
    if (e->endpoints[e->paths[path].endpoint].is_address)
        pool_check(e, sender, e->paths[path].provider, now_ms, evidence);
}

/* ---- connections that fail ---- */

static void path_close(struct st_path *path, uint64_t now_ms)
{
    path->breaker.state = BRK_CLOSED;
    path->breaker.since_ms = now_ms;
    path->breaker.n_trips = (uint8_t)fx_sub32(path->breaker.n_trips, 1);
}

/* The provider is down after all: paths that were opened for it a moment ago close again. */
static void roll_back(struct strategy_engine *e, uint32_t provider, uint64_t now_ms)
{
    struct st_provider *p = &e->providers[provider];

    for (unsigned i = 0; i < 2; i++) {
        uint32_t id = p->alarm_endpoint[i] == ST_NONE
                          ? ST_NONE
                          : st_path_find(e, p->alarm_endpoint[i], provider);
        if (id != ST_NONE && now_ms - p->alarm_ms[i] <= ROLLBACK_MS &&
            e->paths[id].breaker.state == BRK_OPEN)
            path_close(&e->paths[id], now_ms);
        p->alarm_endpoint[i] = ST_NONE;
    }
}

static void down_alarm(struct strategy_engine *e, uint32_t path_id, uint32_t sender,
                       uint64_t now_ms)
{
    struct st_path *path = &e->paths[path_id];
    struct st_provider *p = &e->providers[path->provider];
    struct strategy_evidence evidence =
        evidence_of(path, &path->down, &CUSUM_DEFERRAL, STRATEGY_SIGNAL_OUTAGE, now_ms);

    cusum_reset(&path->down);
    if (!st_outage_others_ok(p, path->endpoint, path->down_ms)) {
        st_outage_start(p, now_ms, &evidence);
        roll_back(e, path->provider, now_ms);
        return;
    }
    p->alarm_ms[1] = p->alarm_ms[0];
    p->alarm_endpoint[1] = p->alarm_endpoint[0];
    p->alarm_ms[0] = now_ms;
    p->alarm_endpoint[0] = path->endpoint;
    trip(e, path_id, sender, now_ms, STRATEGY_C_R_BOUNCE_SURGE, &evidence);
}

static void feed_down(struct strategy_engine *e, uint32_t path_id, uint32_t sender, uint64_t now_ms,
                      uint32_t n_good, uint32_t n_bad)
{
    struct st_path *path = &e->paths[path_id];
    struct st_provider *p = &e->providers[path->provider];

    if (p->is_down) {
        if (n_bad > 0)
            st_outage_fail(p, now_ms);
        return;
    }
    if (path->down.s == 0 && n_bad > 0)
        path->down_ms = now_ms;
    if (cusum_feed(&path->down, &CUSUM_DEFERRAL, n_good, n_bad))
        down_alarm(e, path_id, sender, now_ms);
}

/* ---- deferrals and blocks ---- */

static void count_day(struct st_path *path, uint64_t now_ms, const struct st_batch *b)
{
    struct st_warmup *w = &path->warmup;

    st_warmup_roll(w, now_ms);
    w->n_done = fx_add32(w->n_done, b->n_good + b->n_deferred + b->n_blocked);
    w->n_deferred = fx_add32(w->n_deferred, b->n_deferred);
    w->n_blocked = fx_add32(w->n_blocked, b->n_blocked);
}

/* A reply in twenty that asks for a slower pace is ordinary. */
static void feed_pace(struct st_path *path, uint64_t now_ms, bool rate)
{
    if (rate && path->window.n >= 10 && path->window.bad_q8 * 20u > path->window.n * 256u)
        st_pace_cut(&path->pace, now_ms, 50);
}

static void feed_reputation(struct strategy_engine *e, uint32_t path_id, uint32_t sender,
                            uint64_t now_ms, const struct st_batch *b)
{
    struct st_path *path = &e->paths[path_id];
    bool deferrals = cusum_feed(&path->deferral, &CUSUM_DEFERRAL, b->n_good, b->n_deferred);
    bool blocks = cusum_feed(&path->reputation, &CUSUM_REPUTATION, b->n_good, b->n_blocked);
    struct strategy_evidence evidence;

    if (blocks)
        evidence = evidence_of(path, &path->reputation, &CUSUM_REPUTATION,
                               STRATEGY_SIGNAL_REPUTATION, now_ms);
    else if (deferrals)
        evidence =
            evidence_of(path, &path->deferral, &CUSUM_DEFERRAL, STRATEGY_SIGNAL_DEFERRAL, now_ms);
    else
        return;
    if (path->breaker.state == BRK_HALF_OPEN)
        return; /* the probes judge */
    if (blocks || window50_mostly_bad(&path->window) || path->breaker.state == BRK_PROBATION)
        trip(e, path_id, sender, now_ms, STRATEGY_C_R_BOUNCE_SURGE, &evidence);
    else
        st_breaker_throttle(path, now_ms, STRATEGY_C_R_BOUNCE_SURGE, &evidence);
}

void st_path_flush(struct strategy_engine *e, uint32_t path_id, uint32_t sender, uint64_t now_ms)
{
    struct st_path *path = &e->paths[path_id];
    struct st_batch b = {path->batch_good, path->batch_deferred, path->batch_blocked,
                         path->batch_down, path->batch_rate};

    if (b.n_good + b.n_deferred + b.n_blocked + b.n_down == 0)
        return;
    path->batch_good = path->batch_deferred = path->batch_blocked = path->batch_down = 0;
    path->batch_rate = false;
    feed_down(e, path_id, sender, now_ms, b.n_good + b.n_deferred + b.n_blocked, b.n_down);
    if (b.n_good + b.n_deferred + b.n_blocked == 0)
        return;
    count_day(path, now_ms, &b);
    st_acceptance_feed(path, now_ms, b.n_good, b.n_deferred + b.n_blocked);
    window50_feed(&path->window, b.n_good, b.n_deferred + b.n_blocked);
    feed_pace(path, now_ms, b.rate);
    st_breaker_result(path, now_ms, b.n_good, b.n_deferred + b.n_blocked);
    feed_reputation(e, path_id, sender, now_ms, &b);
}

/* Keeps sums of two batches below 2^32. */
static uint32_t add31(uint32_t a, uint32_t b)
{
    return fx_min32(fx_add32(a, b), UINT32_MAX / 8);
}

void st_path_add(struct strategy_engine *e, uint32_t path_id, uint32_t sender, uint64_t now_ms,
                 const struct st_batch *batch)
{
    struct st_path *path = &e->paths[path_id];

    if (now_ms - path->batch_ms >= BATCH_MS) {
        st_path_flush(e, path_id, sender, path->batch_ms);
        path->batch_ms = now_ms;
    }
    path->batch_good = add31(path->batch_good, batch->n_good);
    path->batch_deferred = add31(path->batch_deferred, batch->n_deferred);
    path->batch_blocked = add31(path->batch_blocked, batch->n_blocked);
    path->batch_down = add31(path->batch_down, batch->n_down);
    path->batch_rate |= batch->rate;
}

void st_path_list_text(struct strategy_engine *e, uint32_t path_id, uint32_t sender,
                       uint64_t now_ms, uint32_t n, const struct reply_verdict *verdict)
{
    struct st_path *path = &e->paths[path_id];
    struct st_endpoint *endpoint = &e->endpoints[path->endpoint];
    bool confirmed =
        n >= 2 || (path->list_text_ms != 0 && now_ms - path->list_text_ms <= LIST_CONFIRM_MS);
    enum strategy_cause cause = verdict->dnsbl ? STRATEGY_C_R_DNSBL : STRATEGY_C_R_BOUNCE_SURGE;

    path->list_text_ms = now_ms == 0 ? 1 : now_ms;
    if (verdict->dnsbl && endpoint->is_address && st_drain_named(endpoint, now_ms, path->provider))
        st_drain_start(endpoint, path->endpoint, now_ms, verdict->code);
    if (!confirmed || path->breaker.state == BRK_OPEN)
        return;
    struct strategy_evidence evidence = {.signal = STRATEGY_SIGNAL_LIST_TEXT,
                                         .endpoint = path->endpoint,
                                         .n = fx_max32(n, 2),
                                         .observed = fx_max32(n, 2),
                                         .statistic_milli = 2000,
                                         .threshold_milli = 2000,
                                         .since_ms = now_ms};
    memcpy(evidence.text, verdict->code, sizeof evidence.text);
    trip(e, path_id, sender, now_ms, cause, &evidence);
}

void st_path_poll(struct strategy_engine *e, uint32_t path_id, uint32_t sender, uint64_t now_ms)
{
    struct st_path *path = &e->paths[path_id];
    struct st_endpoint *endpoint = &e->endpoints[path->endpoint];

    st_path_flush(e, path_id, sender, now_ms);
    st_warmup_roll(&path->warmup, now_ms);
    st_pace_poll(&path->pace, now_ms);
    if (endpoint->reopened_ms > path->reopened_ms) {
        path->reopened_ms = endpoint->reopened_ms;
        path->breaker.former_per_h = fx_max32(st_pace_rate(&path->pace), path->warmup.cap / 24);
        path->breaker.cause = STRATEGY_C_R_DNSBL; /* what keeps it half open (I10) */
        path->breaker.evidence = endpoint->drain_evidence;
        st_breaker_half_open(path, now_ms);
    }
    st_breaker_poll(path, now_ms);
}
