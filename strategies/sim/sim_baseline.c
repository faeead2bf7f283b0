/*
 * sim_baseline.c - what people do without a policy, and the oracle that sees the hidden state.
 *
 * The oracle is greedy: best expected utility first, up to the room that the provider really has;
 * it holds mail that nobody would take (an outage, broken authentication) and mail of a stream that
 * should not be sent at all.
 */
#include "strategies/sim/sim.h"

#include <string.h>

static bool allowed(const struct world *w, unsigned path)
{
    const char *strategy = w->scenario->strategy;
    enum route r = w->path_route[path];

    if (strcmp(strategy, "custom") == 0)
        return r == DED || r == CUS;
    if (strcmp(strategy, "shared") == 0)
        return r == SHR || r == SES;
    return r != CUS;
}

/* n over the paths of a mask, evenly; the first ones get the rest. Nothing in it: all is held. */
static void spread(const struct world *w, uint32_t n, unsigned mask, struct split *ret)
{
    unsigned count = 0;

    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < w->n_paths; i++)
        count += mask >> i & 1;
    if (count == 0) {
        ret->held = n;
        return;
    }
    for (unsigned i = 0, done = 0; i < w->n_paths; i++) {
        if ((mask >> i & 1) != 0) {
            ret->n[i] = n / count + (done < n % count);
            done++;
        }
    }
}

static unsigned mask_of(const struct world *w, bool own)
{
    unsigned mask = 0;

    for (unsigned i = 0; i < w->n_paths; i++) {
        enum route r = w->path_route[i];
        bool is_own = r == DED, is_main = r == SHR || r == CUS;
        mask |= allowed(w, i) && (own ? is_own : is_main) ? 1u << i : 0;
    }
    return mask;
}

static void plan_dedicated(struct policy *p, struct world *w, struct flow *f, uint32_t n,
                           uint32_t retries, struct split *ret)
{
    (void)p, (void)f, (void)retries;
    unsigned own = mask_of(w, true);
    spread(w, n, own != 0 ? own : mask_of(w, false), ret);
}

static void plan_relay(struct policy *p, struct world *w, struct flow *f, uint32_t n,
                       uint32_t retries, struct split *ret)
{
    (void)p, (void)f, (void)retries;
    spread(w, n, mask_of(w, false), ret);
}

static void plan_half(struct policy *p, struct world *w, struct flow *f, uint32_t n,
                      uint32_t retries, struct split *ret)
{
    (void)p, (void)f, (void)retries;
    struct split relay;
    unsigned own = mask_of(w, true);
    spread(w, own != 0 ? n / 2 : 0, own, ret);
    spread(w, n - (own != 0 ? n / 2 : 0), mask_of(w, false), &relay);
    for (unsigned i = 0; i < w->n_paths; i++)
        ret->n[i] += relay.n[i];
    ret->held = 0;
}

static void plan_all(struct policy *p, struct world *w, struct flow *f, uint32_t n,
                     uint32_t retries, struct split *ret)
{
    (void)p, (void)f, (void)retries;
    unsigned mask = 0;
    for (unsigned i = 0; i < w->n_paths; i++)
        mask |= allowed(w, i) ? 1u << i : 0;
    spread(w, n, mask, ret);
}

/* A table of caps and overflow to the relay, no feedback. */
static void plan_ramp(struct policy *p, struct world *w, struct flow *f, uint32_t n,
                      uint32_t retries, struct split *ret)
{
    (void)p, (void)retries;
    double cap = w->scenario->is_warm ? 1e9 : 100;
    struct split relay;
    uint32_t own = 0;

    for (uint32_t day = 0; day < w->tick / TICKS_DAY && !w->scenario->is_warm; day++)
        cap *= cap < 5000 ? 2 : 1.4;
    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < w->n_paths; i++) {
        double left = cap - w->paths[i][f->provider].used_day;
        if (w->path_route[i] != DED || !allowed(w, i) || left <= 0)
            continue;
        uint32_t share = n / w->scenario->n_addresses + 1, rest = n - own;
        ret->n[i] = left < share ? (uint32_t)left : share;
        ret->n[i] = ret->n[i] > rest ? rest : ret->n[i];
        own += ret->n[i];
    }
    spread(w, n - own, mask_of(w, false), &relay);
    for (unsigned i = 0; i < w->n_paths; i++)
        ret->n[i] += relay.n[i];
    ret->held = relay.held;
}

static bool nobody_takes_it(const struct world *w, const struct flow *f)
{
    enum fault fault = w->scenario->fault;

    if (is_faulty_stream(w, f))
        return true;
    return fault_at(w, f->provider) &&
           (fault == FAULT_OUTAGE || (fault == FAULT_AUTH && f->stream == 0));
}

static void plan_oracle(struct policy *p, struct world *w, struct flow *f, uint32_t n,
                        uint32_t retries, struct split *ret)
{
    (void)p, (void)retries;
    bool done[PATHS_MAX] = {false};

    memset(ret, 0, sizeof *ret);
    ret->held = n;
    if (nobody_takes_it(w, f))
        return;
    for (unsigned round = 0; round < w->n_paths && ret->held > 0; round++) {
        int best = -1;
        for (unsigned i = 0; i < w->n_paths; i++) {
            if (allowed(w, i) && !done[i] && true_room(w, f, i) >= 1 &&
                (best < 0 || true_value(w, f, i) > true_value(w, f, (unsigned)best)))
                best = (int)i;
        }
        if (best < 0)
            return;
        double room = true_room(w, f, (unsigned)best);
        ret->n[best] = room < ret->held ? (uint32_t)room : ret->held;
        ret->held -= ret->n[best];
        done[best] = true;
    }
}

struct policy baselines[] = {{.name = "always-own", .plan = plan_dedicated},
                             {.name = "always-relay", .plan = plan_relay},
                             {.name = "half-half", .plan = plan_half},
                             {.name = "round-robin", .plan = plan_all},
                             {.name = "ramp-overflow", .plan = plan_ramp}};
const unsigned n_baselines = sizeof baselines / sizeof baselines[0];
struct policy oracle = {.name = "oracle", .plan = plan_oracle};
