/* sim_run.c - one run: demand, plans, deliveries, feedback, what is measured. */
#include "strategies/sim/sim.h"

#include <string.h>

static void add_demand(struct world *w, struct flow *f)
{
    uint32_t n = (uint32_t)(demand(w, f) + rng_uniform(&w->rng));

    if (n > 0 && f->n_parcels < PARCELS_MAX)
        f->parcels[f->n_parcels++] = (struct parcel){.n = n, .created = w->tick, .due = w->tick};
}

static void expire(struct world *w, struct flow *f)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < f->n_parcels; i++) {
        struct parcel *p = &f->parcels[i];
        if (w->tick - p->created < TTL_TICKS) {
            f->parcels[kept++] = *p;
            continue;
        }
        if (is_faulty_stream(w, f))
            continue;
        w->totals.expired += p->n;
        w->totals.n += p->n;
        w->totals.utility -= 0.5 * p->n;
        w->totals.hour_n[w->tick / 6] += p->n;
        w->totals.hour_utility[w->tick / 6] -= 0.5 * p->n;
    }
    f->n_parcels = kept;
}

/* ---- reasons ---- */

static bool any_of(const char *reason, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcmp(reason, *names) == 0)
            return true;
    }
    return false;
}

static const char *const *right_reasons(enum fault fault)
{
    static const char *const spike[] = {"R_SPIKE", "R_WARMUP_CAP", NULL};
    static const char *const listed[] = {"R_DNSBL", NULL};
    static const char *const bad_list[] = {"S_BAD_LIST", "S_CANARY", NULL};
    static const char *const outage[] = {"P_OUTAGE", NULL};
    static const char *const relay[] = {"R_RELAY_DOWN", NULL};
    static const char *const shared[] = {"R_BOUNCE_SURGE", "R_RELAY_QUOTA", NULL};
    static const char *const foldered[] = {"R_PLACEMENT", NULL};
    static const char *const complaints[] = {"S_COMPLAINTS", NULL};
    static const char *const auth[] = {"S_AUTH", NULL};
    static const char *const none[] = {"V_BEST", "R_WARMUP_CAP", "R_SPIKE", "N_GREY", NULL};

    switch (fault) {
    case FAULT_SPIKE:
        return spike;
    case FAULT_LISTED:
        return listed;
    case FAULT_BAD_LIST:
        return bad_list;
    case FAULT_OUTAGE:
        return outage;
    case FAULT_RELAY_DOWN:
        return relay;
    case FAULT_SHARED_BAD:
    case FAULT_QUOTA:
        return shared;
    case FAULT_FOLDERED:
        return foldered;
    case FAULT_COMPLAINTS:
        return complaints;
    case FAULT_AUTH:
        return auth;
    case FAULT_NONE:
        break;
    }
    return none;
}

static bool concerns(const struct world *w, const struct flow *f)
{
    enum fault fault = w->scenario->fault;

    if (fault == FAULT_BAD_LIST || fault == FAULT_COMPLAINTS || fault == FAULT_SPIKE)
        return f->stream == 0;
    return true;
}

/* Before the fault: no reason but peace and caps. In it, after time to see it: the right one. What
 * comes after it is recovery, and the flapping relay has no single truth: neither is judged. */
static void judge_reason(struct world *w, const struct flow *f, const struct split *split)
{
    const struct scenario *s = w->scenario;
    double day = (double)w->tick / TICKS_DAY;
    double see = s->fault == FAULT_FOLDERED || s->fault == FAULT_COMPLAINTS ? 0.5 : 0.0833;
    enum fault truth = FAULT_NONE;

    if (split->reason[0] == '\0' || s->is_flapping)
        return;
    if (s->fault != FAULT_NONE && day >= s->from_day) {
        if (day < s->from_day + see || day >= s->to_day || !fault_at(w, f->provider) ||
            !concerns(w, f))
            return;
        truth = s->fault;
    }
    w->totals.reasons++;
    bool right = any_of(split->reason, right_reasons(truth));
    w->totals.reasons_right += right;
    if (!right && w->trace)
        (void)fprintf(stderr, "%s day %.2f %s %s: %s\n", s->name, day, stream_name(w, f),
                      provider_names[f->provider], split->reason);
}

/* ---- routes ---- */

static bool forbidden(const struct world *w, unsigned path)
{
    enum route r = w->path_route[path];

    if (strcmp(w->scenario->strategy, "custom") == 0)
        return r == SHR || r == SES;
    if (strcmp(w->scenario->strategy, "shared") == 0)
        return r == DED || r == CUS;
    return r == CUS;
}

static void note_routes(struct world *w, const struct flow *f, const struct split *split,
                        uint32_t n)
{
    unsigned id = (unsigned)(f - w->flows);
    double by_route[ROUTES] = {0};
    int main_route = -1;

    for (unsigned i = 0; i < w->n_paths; i++) {
        by_route[w->path_route[i]] += split->n[i];
        w->totals.route_hour[w->tick / 6][w->path_route[i]] += split->n[i];
        w->totals.violations += split->n[i] > 0 && forbidden(w, i);
    }
    w->totals.route_hour[w->tick / 6][ROUTES] += split->held;
    for (int r = 0; r < ROUTES; r++) {
        if (by_route[r] > 0.5 * n)
            main_route = r;
    }
    if (main_route < 0 || n < 10)
        return;
    if (w->main_route[id] >= 0 && w->main_route[id] != main_route)
        w->n_flaps[id]++;
    w->main_route[id] = main_route;
}

/* ---- a flow's turn ---- */

static uint32_t due(const struct world *w, const struct flow *f, uint32_t *ret_retries)
{
    uint32_t n = 0;

    *ret_retries = 0;
    for (unsigned i = 0; i < f->n_parcels; i++) {
        if (f->parcels[i].due > w->tick)
            continue;
        n += f->parcels[i].n;
        *ret_retries += f->parcels[i].tries > 0 ? f->parcels[i].n : 0;
    }
    return n;
}

/* Takes n mails that are due, oldest first, and sends them by the path. */
static void send(struct world *w, struct policy *p, struct flow *f, unsigned path, uint32_t n)
{
    for (unsigned i = 0; i < f->n_parcels && n > 0; i++) {
        struct parcel *parcel = &f->parcels[i];
        struct delivery d = {.n = 0};
        if (parcel->due > w->tick || parcel->n == 0)
            continue;
        uint32_t take = parcel->n < n ? parcel->n : n;
        struct parcel copy = *parcel;
        parcel->n -= take;
        n -= take;
        deliver(w, f, path, &copy, take, &d);
        policy_outcomes(p, w, f, path, &d);
    }
}

static void drop_empty(struct flow *f)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < f->n_parcels; i++) {
        if (f->parcels[i].n > 0)
            f->parcels[kept++] = f->parcels[i];
    }
    f->n_parcels = kept;
}

static void turn(struct world *w, struct policy *p, struct flow *f)
{
    struct split split = {.held = 0};
    uint32_t retries, n;

    add_demand(w, f);
    expire(w, f);
    n = due(w, f, &retries);
    if (n == 0)
        return;
    p->plan(p, w, f, n, retries, &split);
    note_routes(w, f, &split, n);
    judge_reason(w, f, &split);
    for (unsigned i = 0; i < w->n_paths; i++)
        send(w, p, f, i, split.n[i]);
    drop_empty(f);
}

/* ---- late feedback ---- */

/* What was sent in the same three hours comes as one line. */
static void tell_late(struct world *w, struct policy *p, struct flow *f, unsigned path,
                      const char *what, uint32_t due_hour[DELAY_HOURS])
{
    uint32_t hour = w->tick / 6;

    for (uint32_t back = DELAY_HOURS - 1; back > 0; back--) {
        if (back > hour)
            continue;
        uint32_t sent = hour - back, *n = &due_hour[sent % DELAY_HOURS];
        bool last_of_group = sent % 3 == 2 || back == 1;
        if (!last_of_group && *n > 0) {
            due_hour[(sent + 1) % DELAY_HOURS] += *n;
            *n = 0;
            continue;
        }
        policy_late(p, w, f, path, what, sent * 6, *n);
        *n = 0;
    }
}

static void late(struct world *w, struct policy *p)
{
    uint32_t slot = w->tick / 6 % DELAY_HOURS;

    for (unsigned i = 0; i < w->n_flows; i++) {
        for (unsigned path = 0; path < w->n_paths; path++) {
            tell_late(w, p, &w->flows[i], path, "opens", w->flows[i].opens[path][slot]);
            tell_late(w, p, &w->flows[i], path, "complaints", w->flows[i].complaints[path][slot]);
        }
    }
}

static void poll_lists(struct world *w, struct policy *p)
{
    for (unsigned i = 0; i < w->n_paths; i++) {
        if (w->path_route[i] == DED)
            policy_dnsbl(p, w, i, w->scenario->fault == FAULT_LISTED && fault_active(w) && i == 0);
    }
}

/* Mail of a faulty campaign that is still there when it ends is withdrawn. */
static void end_campaign(struct world *w, bool was_faulty)
{
    for (unsigned i = 0; i < w->n_flows; i++) {
        struct flow *f = &w->flows[i];
        if (f->stream == 0 && was_faulty != is_faulty_stream(w, f)) {
            f->n_parcels = 0;
            memset(f->opens, 0, sizeof f->opens);
            memset(f->complaints, 0, sizeof f->complaints);
        }
    }
}

void run(struct world *w, struct policy *p, const struct scenario *scenario, uint64_t seed)
{
    bool faulty = false;

    world_init(w, scenario, seed);
    policy_configure(p, w);
    for (w->tick = 0; w->tick < scenario->days * TICKS_DAY; w->tick++) {
        w->ses_used[w->tick % TICKS_DAY] = 0;
        if (w->tick % TICKS_DAY == 0 && w->tick > 0)
            world_day(w);
        if (w->tick % 6 == 0) {
            world_hour(w);
            late(w, p);
            poll_lists(w, p);
        }
        end_campaign(w, faulty);
        faulty = is_faulty_stream(w, &w->flows[0]);
        for (unsigned i = 0; i < w->n_flows; i++)
            turn(w, p, &w->flows[i]);
    }
    for (unsigned i = 0; i < w->n_flows; i++) {
        double per_day = (double)w->n_flaps[i] / scenario->days;
        w->totals.flaps_per_day =
            per_day > w->totals.flaps_per_day ? per_day : w->totals.flaps_per_day;
    }
}
