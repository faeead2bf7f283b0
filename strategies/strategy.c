/*
 * strategy.c - eligibility masks and the choice among a sender's own endpoints.
 *
 * Invariants, asserted at the end of each decision:
 *   I1 custom never leaves by SHR or SES, shared never by DED: the mask comes from the strategy
 * alone; I2 the chosen endpoint is healthy, of the destination's family, and below its cap; I3 the
 * same rotation and snapshot give the same decision: integers only, no clock, no randomness.
 *
 * The choice is a weighted round robin without state per endpoint: decision number n goes to the
 * endpoint whose share of n * total lags most behind, found by spreading the weights evenly over
 * one turn of the wheel (the remaining cap of each endpoint, scaled to at most WEIGHT_MAX).
 */
#include "strategies/strategy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define STRATEGY_INVARIANT(cond)                                                                   \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            (void)fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #cond);     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define NONE       UINT32_MAX
#define WEIGHT_MAX 1024u
/* Odd, so that n * STEP runs through all of 2^32: low-discrepancy, 2^32 divided by the golden
 * ratio. */
#define STEP       2654435769u

struct tally {
    uint32_t allowed, healthy, reachable, usable;
};

const char *strategy_kind_text(enum strategy_kind kind)
{
    static const char *const texts[] = {
#define X(name, text) [STRATEGY_##name] = text,
        STRATEGY_KIND_MAP(X)
#undef X
    };
    return (unsigned)kind < STRATEGY_KINDS ? texts[kind] : "invalid";
}

bool strategy_kind_parse(const char *text, enum strategy_kind *ret_kind)
{
    for (unsigned kind = 0; kind < STRATEGY_KINDS; kind++) {
        const char *a = strategy_kind_text((enum strategy_kind)kind), *b = text;
        while (*a != '\0' && *a == *b) {
            a++;
            b++;
        }
        if (*a == *b) {
            *ret_kind = (enum strategy_kind)kind;
            return true;
        }
    }
    return false;
}

uint32_t strategy_routes(enum strategy_kind kind)
{
    switch (kind) {
    case STRATEGY_AUTO:
    case STRATEGY_DEDICATED:
        return STRATEGY_ROUTE_DED | STRATEGY_ROUTE_SHR | STRATEGY_ROUTE_SES;
    case STRATEGY_SHARED:
        return STRATEGY_ROUTE_SHR | STRATEGY_ROUTE_SES;
    case STRATEGY_CUSTOM:
        return STRATEGY_ROUTE_DED | STRATEGY_ROUTE_CUS;
    case STRATEGY_KINDS:
        break;
    }
    return 0;
}

const char *strategy_reason_name(enum strategy_reason reason)
{
    static const char *const names[] = {
#define X(name, text) [STRATEGY_R_##name] = #name,
        STRATEGY_REASON_MAP(X)
#undef X
    };
    return (unsigned)reason < STRATEGY_REASONS ? names[reason] : "invalid";
}

const char *strategy_reason_text(enum strategy_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) [STRATEGY_R_##name] = text,
        STRATEGY_REASON_MAP(X)
#undef X
    };
    return (unsigned)reason < STRATEGY_REASONS ? texts[reason] : "invalid";
}

/* Where mail of this strategy lives in peace: the routes of its first choice. */
static uint32_t home_routes(enum strategy_kind kind)
{
    return kind == STRATEGY_SHARED
               ? STRATEGY_ROUTE_SHR
               : strategy_routes(kind) & (STRATEGY_ROUTE_DED | STRATEGY_ROUTE_CUS);
}

static bool is_usable(const struct strategy_snapshot *s, uint32_t i)
{
    const struct strategy_endpoint *e = &s->endpoints[i];

    return (e->route & home_routes(s->kind)) != 0 && e->health == STRATEGY_HEALTHY &&
           e->family_ok && e->used < e->cap;
}

static struct tally count(const struct strategy_snapshot *s)
{
    struct tally t = {0};

    for (uint32_t i = 0; i < s->n_endpoints; i++) {
        const struct strategy_endpoint *e = &s->endpoints[i];

        if ((e->route & home_routes(s->kind)) == 0)
            continue;
        t.allowed++;
        if (e->health != STRATEGY_HEALTHY)
            continue;
        t.healthy++;
        if (!e->family_ok)
            continue;
        t.reachable++;
        t.usable += e->used < e->cap;
    }
    return t;
}

static enum strategy_reason hold_reason(const struct tally *t)
{
    if (t->allowed == 0)
        return STRATEGY_R_HOLD_NO_ADDRESS;
    if (t->healthy == 0)
        return STRATEGY_R_HOLD_UNHEALTHY;
    return t->reachable == 0 ? STRATEGY_R_HOLD_FAMILY : STRATEGY_R_HOLD_CAP;
}

/* Remaining cap against the largest remaining cap, 1..WEIGHT_MAX; no cap counts as the largest. */
static uint32_t weight_of(const struct strategy_endpoint *e, uint64_t largest)
{
    uint64_t left = e->cap - e->used;

    if (e->cap == UINT64_MAX || left >= largest)
        return WEIGHT_MAX;
    while (largest > UINT32_MAX) {
        largest >>= 1;
        left >>= 1;
    }
    uint32_t weight = (uint32_t)(left * WEIGHT_MAX / largest);
    return weight == 0 ? 1 : weight;
}

static uint64_t largest_left(const struct strategy_snapshot *s)
{
    uint64_t largest = 1;

    for (uint32_t i = 0; i < s->n_endpoints; i++) {
        const struct strategy_endpoint *e = &s->endpoints[i];
        if (is_usable(s, i) && e->cap != UINT64_MAX && e->cap - e->used > largest)
            largest = e->cap - e->used;
    }
    return largest;
}

static uint32_t choose(uint64_t n, const struct strategy_snapshot *s)
{
    uint64_t largest = largest_left(s), total = 0;

    for (uint32_t i = 0; i < s->n_endpoints; i++)
        total += is_usable(s, i) ? weight_of(&s->endpoints[i], largest) : 0;
    uint64_t point = ((uint64_t)(uint32_t)(n * STEP) * total) >> 32;
    for (uint32_t i = 0; i < s->n_endpoints; i++) {
        if (!is_usable(s, i))
            continue;
        uint32_t weight = weight_of(&s->endpoints[i], largest);
        if (point < weight)
            return i;
        point -= weight;
    }
    return NONE;
}

static void explain(const struct strategy_snapshot *s, const struct tally *t,
                    struct strategy_decision *d)
{
    if (d->hold) {
        (void)snprintf(d->evidence, sizeof d->evidence,
                       "%" PRIu32 " addresses: %" PRIu32 " healthy, %" PRIu32
                       " of the destination's family, %" PRIu32 " below their cap",
                       t->allowed, t->healthy, t->reachable, t->usable);
        return;
    }
    const struct strategy_endpoint *e = &s->endpoints[d->endpoint];
    if (e->cap == UINT64_MAX)
        (void)snprintf(d->evidence, sizeof d->evidence,
                       "%s: %" PRIu64 " used, no cap; %" PRIu32 " of %" PRIu32 " addresses usable",
                       e->name, e->used, t->usable, t->allowed);
    else
        (void)snprintf(d->evidence, sizeof d->evidence,
                       "%s: %" PRIu64 " of %" PRIu64 " used; %" PRIu32 " of %" PRIu32
                       " addresses usable",
                       e->name, e->used, e->cap, t->usable, t->allowed);
}

void strategy_decide(struct strategy_rotation *rotation, const struct strategy_snapshot *snapshot,
                     struct strategy_decision *ret_decision)
{
    struct strategy_decision d = {.endpoint = NONE};
    struct tally t = count(snapshot);

    if (t.usable == 0) {
        d.hold = true;
        d.reason = hold_reason(&t);
    } else if (snapshot->sticky < snapshot->n_endpoints && is_usable(snapshot, snapshot->sticky)) {
        d.endpoint = snapshot->sticky;
        d.reason = STRATEGY_R_STICKY;
    } else {
        d.endpoint = choose(rotation->n_decisions++, snapshot);
        d.reason = STRATEGY_R_HOME;
    }
    STRATEGY_INVARIANT(d.hold ||
                       (d.endpoint < snapshot->n_endpoints && is_usable(snapshot, d.endpoint)));
    explain(snapshot, &t, &d);
    *ret_decision = d;
}
