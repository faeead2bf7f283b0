/*
 * sim.h - wirepost-sim: a model of mailbox providers with hidden state, the mail of a few senders,
 * and policies that split it. Floating point is allowed here: nothing of it is in the library.
 *
 * One tick is ten minutes. Mail is counted, not followed one by one; a parcel is mail of one flow
 * (sender, stream, provider) of one age. What a policy sees is only what the protocol of
 * wirepost-policy shows: replies, opens, complaints, polls of block lists.
 */
#ifndef WIREPOST_STRATEGIES_SIM_H
#define WIREPOST_STRATEGIES_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TICK_S      600
#define TICKS_DAY   144
#define PROVIDERS   4
#define SENDERS_MAX 2
#define STREAMS     2 /* bulk, transactional; a bad campaign is bulk by another name */
#define PATHS_MAX   12
#define PARCELS_MAX 1024
#define DAYS_MAX    16
#define TTL_TICKS   (2 * TICKS_DAY)
#define DELAY_HOURS 48

enum route { DED, SHR, SES, CUS, ROUTES };
extern const char *const route_names[ROUTES];
extern const char *const provider_names[PROVIDERS];

/* ---- random numbers ---- */

struct rng {
    uint64_t state;
};
double rng_uniform(struct rng *r); /* [0, 1) */
double rng_between(struct rng *r, double low, double high);
uint32_t rng_binomial(struct rng *r, uint32_t n, double p);

/* ---- scenarios ---- */

enum fault { /* what is wrong, and with whom: the truth that reasons are judged by */
             FAULT_NONE,
             FAULT_SPIKE,
             FAULT_LISTED,
             FAULT_BAD_LIST,
             FAULT_OUTAGE,
             FAULT_RELAY_DOWN,
             FAULT_SHARED_BAD,
             FAULT_FOLDERED,
             FAULT_COMPLAINTS,
             FAULT_AUTH,
             FAULT_QUOTA
};

struct scenario {
    const char *name;
    const char *strategy;
    unsigned n_senders, n_addresses;
    bool is_warm, has_custom, is_flapping, has_peaks;
    double per_day;
    enum fault fault;
    double from_day, to_day;
    int provider; /* of the fault; -1: all */
    uint32_t ses_max_24h;
    unsigned days;
};
extern const struct scenario scenarios[];
extern const unsigned n_scenarios;

/* ---- the hidden world ---- */

struct hidden_path {   /* endpoint x provider */
    double capacity;   /* mails a day that it takes without complaint */
    double reputation; /* 0..1 */
    double inbox;      /* share of accepted mail that is not foldered, at full reputation */
    double volume;     /* mails a day lately */
    double used_day, used_hour;
};

struct parcel {
    uint32_t n, created; /* tick */
    uint32_t due, tries;
    bool blocked_once; /* an address was refused: one more endpoint may be tried */
};

struct flow {
    unsigned sender, stream, provider;
    struct parcel parcels[PARCELS_MAX];
    unsigned n_parcels;
    /* opens and complaints to come: by path, hour they come in, hour they were sent, modulo 48 */
    uint32_t opens[PATHS_MAX][DELAY_HOURS][DELAY_HOURS];
    uint32_t complaints[PATHS_MAX][DELAY_HOURS][DELAY_HOURS];
};

struct constants { /* unknown to any policy; drawn for each seed */
    double growth, over_penalty, deferral_noise, grey_share, relay_inbox, own_inbox, ses_inbox,
        custom_inbox, open_rate[PROVIDERS], share[PROVIDERS], complaint_rate, bad_rate,
        delay_median_h, machine_opens, hour_room;
};

struct totals {
    double n, utility, inbox, spam, blocked, expired, bounced, delay_h, harm;
    double hour_n[DAYS_MAX * 24], hour_utility[DAYS_MAX * 24];
    double route_hour[DAYS_MAX * 24][ROUTES + 1]; /* last: held */
    double flaps_per_day, reasons, reasons_right, violations;
};

struct world {
    const struct scenario *scenario;
    struct constants k;
    struct rng rng;
    uint32_t tick;
    unsigned n_paths, n_flows;
    enum route path_route[PATHS_MAX];
    char path_name[PATHS_MAX][24];
    struct hidden_path paths[PATHS_MAX][PROVIDERS];
    struct flow flows[SENDERS_MAX * STREAMS * PROVIDERS];
    double ses_used[144]; /* ring of ticks: the last day */
    int main_route[SENDERS_MAX * STREAMS * PROVIDERS];
    uint32_t n_flaps[SENDERS_MAX * STREAMS * PROVIDERS];
    struct totals totals;
    bool trace; /* wrong reasons to stderr */
};

bool fault_active(const struct world *w);
bool fault_at(const struct world *w, unsigned provider);
/* Demand of a flow in this tick. */
double demand(const struct world *w, const struct flow *f);
void world_init(struct world *w, const struct scenario *scenario, uint64_t seed);
bool is_faulty_stream(const struct world *w, const struct flow *f);

/* ---- what happens to mail ---- */

struct outcome {
    uint32_t n;
    const char *reply;
    bool ok;
};
#define OUTCOMES_MAX 8
struct delivery {
    struct outcome outcomes[OUTCOMES_MAX];
    unsigned n;
};
/* n mails of a flow by a path: replies, and what becomes of the mail. */
void deliver(struct world *w, struct flow *f, unsigned path, struct parcel *parcel, uint32_t n,
             struct delivery *ret);
void world_hour(struct world *w); /* once an hour */
void world_day(struct world *w);  /* once a day: capacities grow, reputations recover */
/* Expected utility of one mail by a path now, and how many it takes: for the oracle only. */
double true_value(const struct world *w, const struct flow *f, unsigned path);
double true_room(const struct world *w, const struct flow *f, unsigned path);
double route_cost(enum route r);

/* ---- policies ---- */

struct split {
    uint32_t n[PATHS_MAX], held;
    char reason[32];
};
struct policy {
    const char *name;
    void (*plan)(struct policy *p, struct world *w, struct flow *f, uint32_t n, uint32_t retries,
                 struct split *ret);
    FILE *to, *from; /* of an external one */
    int pid;
};
extern struct policy baselines[];
extern const unsigned n_baselines;
extern struct policy oracle;
bool policy_start(struct policy *p, const char *command);
bool policy_stop(struct policy *p);
void policy_configure(struct policy *p, const struct world *w);
void policy_outcomes(struct policy *p, const struct world *w, const struct flow *f, unsigned path,
                     const struct delivery *d);
void policy_late(struct policy *p, const struct world *w, const struct flow *f, unsigned path,
                 const char *what, uint32_t sent_tick, uint32_t n);
void policy_dnsbl(struct policy *p, const struct world *w, unsigned path, bool listed);
const char *stream_name(const struct world *w, const struct flow *f);

/* ---- runs and output ---- */

void run(struct world *w, struct policy *p, const struct scenario *scenario, uint64_t seed);
bool plot(const char *directory, const struct scenario *scenario, const struct totals *t);

#endif
