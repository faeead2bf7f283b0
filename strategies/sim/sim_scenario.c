/* sim_scenario.c - the scenarios, the draw of the hidden constants, the demand. */
#include "strategies/sim/sim.h"

#include <math.h>
#include <string.h>

const char *const route_names[ROUTES] = {"dedicated", "shared", "ses", "custom"};
const char *const provider_names[PROVIDERS] = {"gmail", "yahoo", "outlook", "icloud"};

const struct scenario scenarios[] = {
    {.name = "steady",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 2,
     .is_warm = true,
     .per_day = 60000,
     .provider = -1,
     .days = 8},
    {.name = "spike-x8",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 2,
     .is_warm = true,
     .per_day = 60000,
     .fault = FAULT_SPIKE,
     .from_day = 4.4,
     .to_day = 4.65,
     .provider = -1,
     .days = 8},
    {.name = "one-listed",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 4,
     .is_warm = true,
     .per_day = 80000,
     .fault = FAULT_LISTED,
     .from_day = 4.4,
     .to_day = 6.4,
     .provider = -1,
     .days = 10},
    {.name = "bad-list",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 2,
     .is_warm = true,
     .per_day = 60000,
     .fault = FAULT_BAD_LIST,
     .from_day = 4.4,
     .to_day = 5.4,
     .provider = -1,
     .days = 8},
    {.name = "cold-100k",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 4,
     .per_day = 100000,
     .provider = -1,
     .days = 14},
    {.name = "outage",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 2,
     .is_warm = true,
     .per_day = 60000,
     .fault = FAULT_OUTAGE,
     .from_day = 4.4,
     .to_day = 4.55,
     .provider = 2,
     .days = 8},
    {.name = "custom-fails",
     .strategy = "custom",
     .n_senders = 1,
     .n_addresses = 2,
     .has_custom = true,
     .per_day = 60000,
     .fault = FAULT_RELAY_DOWN,
     .from_day = 4.4,
     .to_day = 4.9,
     .provider = -1,
     .days = 8},
    {.name = "migration",
     .strategy = "custom",
     .n_senders = 1,
     .n_addresses = 2,
     .has_custom = true,
     .per_day = 40000,
     .provider = -1,
     .days = 14},
    {.name = "600-a-day",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 1,
     .per_day = 600,
     .provider = -1,
     .days = 10},
    {.name = "shared-degrades",
     .strategy = "shared",
     .n_senders = 1,
     .n_addresses = 0,
     .per_day = 20000,
     .fault = FAULT_SHARED_BAD,
     .from_day = 4.4,
     .to_day = 6.4,
     .provider = 0,
     .days = 10},
    {.name = "foldered",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 2,
     .is_warm = true,
     .per_day = 60000,
     .fault = FAULT_FOLDERED,
     .from_day = 5.4,
     .to_day = 7.4,
     .provider = 0,
     .days = 12},
    {.name = "complaints",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 2,
     .is_warm = true,
     .per_day = 60000,
     .fault = FAULT_COMPLAINTS,
     .from_day = 4.4,
     .to_day = 5.4,
     .provider = -1,
     .days = 8},
    {.name = "auth-break",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 2,
     .is_warm = true,
     .per_day = 60000,
     .fault = FAULT_AUTH,
     .from_day = 4.4,
     .to_day = 4.9,
     .provider = 0,
     .days = 8},
    {.name = "flapping-relay",
     .strategy = "custom",
     .n_senders = 1,
     .n_addresses = 2,
     .has_custom = true,
     .is_flapping = true,
     .per_day = 60000,
     .fault = FAULT_RELAY_DOWN,
     .from_day = 3.0,
     .to_day = 6.0,
     .provider = -1,
     .days = 8},
    {.name = "ses-quota",
     .strategy = "shared",
     .n_senders = 2,
     .n_addresses = 0,
     .per_day = 20000,
     .fault = FAULT_SHARED_BAD,
     .from_day = 3.4,
     .to_day = 4.4,
     .provider = -1,
     .ses_max_24h = 30000,
     .days = 8},
    {.name = "time-zones",
     .strategy = "auto",
     .n_senders = 1,
     .n_addresses = 2,
     .is_warm = true,
     .has_peaks = true,
     .per_day = 60000,
     .provider = -1,
     .days = 8},
};
const unsigned n_scenarios = sizeof scenarios / sizeof scenarios[0];

/* ---- random numbers: splitmix64 ---- */

static uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double rng_uniform(struct rng *r)
{
    return (double)(rng_next(r) >> 11) / 9007199254740992.0;
}

double rng_between(struct rng *r, double low, double high)
{
    return low + (high - low) * rng_uniform(r);
}

/* Exact for few, normal for many. */
uint32_t rng_binomial(struct rng *r, uint32_t n, double p)
{
    if (p <= 0 || n == 0)
        return 0;
    if (p >= 1)
        return n;
    if (n < 64 || n * p < 12 || n * (1 - p) < 12) {
        uint32_t hits = 0;
        /* Geometric gaps between hits of the rarer outcome. */
        double q = p < 0.5 ? p : 1 - p, log_q = log1p(-q);
        for (double at = floor(log(1 - rng_uniform(r)) / log_q); at < n;
             at += 1 + floor(log(1 - rng_uniform(r)) / log_q))
            hits++;
        return p < 0.5 ? hits : n - hits;
    }
    double u = 1 - rng_uniform(r), v = rng_uniform(r);
    double z = sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
    double x = floor(n * p + z * sqrt(n * p * (1 - p)) + 0.5);
    return x < 0 ? 0 : x > n ? n : (uint32_t)x;
}

/* ---- constants ---- */

static void draw(struct rng *r, struct constants *k)
{
    static const double share[PROVIDERS] = {0.45, 0.2, 0.25, 0.1};
    double sum = 0;

    k->growth = rng_between(r, 1.8, 2.4);
    k->over_penalty = rng_between(r, 0.02, 0.06);
    k->deferral_noise = rng_between(r, 0.002, 0.012);
    k->grey_share = rng_between(r, 0.0, 0.02);
    k->own_inbox = rng_between(r, 0.90, 0.97);
    k->relay_inbox = k->own_inbox - rng_between(r, 0.0, 0.04);
    k->ses_inbox = k->own_inbox - rng_between(r, 0.0, 0.05);
    k->custom_inbox = k->own_inbox - rng_between(r, 0.0, 0.05);
    k->complaint_rate = rng_between(r, 0.0001, 0.0004);
    k->bad_rate = rng_between(r, 0.002, 0.009);
    k->delay_median_h = rng_between(r, 3.5, 8);
    k->machine_opens = rng_between(r, 0, 0.15);
    k->hour_room = rng_between(r, 5, 9); /* an hour takes a day's capacity over this */
    for (unsigned p = 0; p < PROVIDERS; p++) {
        k->open_rate[p] = rng_between(r, 0.12, 0.35);
        k->share[p] = share[p] * rng_between(r, 0.8, 1.25);
        sum += k->share[p];
    }
    for (unsigned p = 0; p < PROVIDERS; p++)
        k->share[p] /= sum;
}

/* ---- the world at tick 0 ---- */

static void add_path(struct world *w, enum route route, const char *name)
{
    double inbox[ROUTES] = {w->k.own_inbox, w->k.relay_inbox, w->k.ses_inbox, w->k.custom_inbox};
    double own_day =
        w->scenario->n_addresses == 0 ? 0 : w->scenario->per_day / w->scenario->n_addresses;
    unsigned i = w->n_paths++;

    w->path_route[i] = route;
    (void)snprintf(w->path_name[i], sizeof w->path_name[i], "%s", name);
    for (unsigned p = 0; p < PROVIDERS; p++) {
        struct hidden_path *h = &w->paths[i][p];
        h->inbox = inbox[route] * rng_between(&w->rng, 0.997, 1.0);
        h->reputation = 1;
        h->capacity = 1e9;
        h->volume = w->scenario->is_warm ? own_day * w->k.share[p] : 300;
        if (route == DED)
            h->capacity = w->scenario->is_warm
                              ? own_day * w->k.share[p] * rng_between(&w->rng, 2, 3)
                              : rng_between(&w->rng, 150, 300);
    }
}

static void add_flows(struct world *w)
{
    for (unsigned s = 0; s < w->scenario->n_senders; s++) {
        for (unsigned stream = 0; stream < STREAMS; stream++) {
            for (unsigned p = 0; p < PROVIDERS; p++) {
                struct flow *f = &w->flows[w->n_flows];
                f->sender = s;
                f->stream = stream;
                f->provider = p;
                w->main_route[w->n_flows++] = -1;
            }
        }
    }
}

void world_init(struct world *w, const struct scenario *scenario, uint64_t seed)
{
    char ip[24];

    bool trace = w->trace;

    memset(w, 0, sizeof *w);
    w->trace = trace;
    w->scenario = scenario;
    w->rng.state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    draw(&w->rng, &w->k);
    for (unsigned i = 0; i < scenario->n_addresses; i++) {
        (void)snprintf(ip, sizeof ip, "198.51.100.%u", 10 + i);
        add_path(w, DED, ip);
    }
    add_path(w, SHR, "shared-main");
    add_path(w, SES, "ses");
    if (scenario->has_custom)
        add_path(w, CUS, "their-smtp");
    add_flows(w);
}

bool fault_active(const struct world *w)
{
    double day = (double)w->tick / TICKS_DAY;
    bool on = w->scenario->fault != FAULT_NONE && day >= w->scenario->from_day &&
              day < w->scenario->to_day;

    /* A flapping relay is down 20 minutes of every two hours. */
    return on && (!w->scenario->is_flapping || w->tick % 12 < 2);
}

bool fault_at(const struct world *w, unsigned provider)
{
    return fault_active(w) && (w->scenario->provider < 0 || w->scenario->provider == (int)provider);
}

/* A bad list, or a campaign that people complain about: its mail is wrong wherever it goes. */
bool is_faulty_stream(const struct world *w, const struct flow *f)
{
    return f->stream == 0 && fault_active(w) &&
           (w->scenario->fault == FAULT_BAD_LIST || w->scenario->fault == FAULT_COMPLAINTS);
}

const char *stream_name(const struct world *w, const struct flow *f)
{
    if (f->stream == 1)
        return "transactional";
    return is_faulty_stream(w, f) ? "bulk:bought" : "bulk:news";
}

double demand(const struct world *w, const struct flow *f)
{
    double day = (double)(w->tick % TICKS_DAY) / TICKS_DAY;
    double depth = w->scenario->has_peaks ? 0.95 : 0.5;
    double shape = 1 + depth * sin(6.283185307179586 *
                                   (day - 0.25 - 0.1 * f->provider * w->scenario->has_peaks));
    double n = w->scenario->per_day * w->k.share[f->provider] / TICKS_DAY * shape;

    n *= f->stream == 0 ? 0.8 : 0.2;
    if (fault_active(w) && w->scenario->fault == FAULT_SPIKE && f->stream == 0)
        n *= 8;
    return n;
}
