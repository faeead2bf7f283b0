/*
 * state.h - private: what the engine remembers. All of it are plain values with indices instead of
 * pointers, so that the state is saved as it stands.
 *
 *   sender --< stream --< flow (stream x provider): the decision in force, waits, greylisting
 *     |                     stream: list and consent (hard bounces, complaints, canary, content)
 *     +--< cell (sender x class x provider): volume, opens, domain and authentication faults
 *            +--< arm (cell x endpoint): what was sent and opened, the gate
 *   pool --< endpoint (address) and relays --< path (endpoint x provider): breaker, caps, pace
 *   provider: outage, who got through last
 */
#ifndef WIREPOST_STRATEGIES_STATE_H
#define WIREPOST_STRATEGIES_STATE_H

#include "strategies/cusum.h"
#include "strategies/engine.h"

#include <stdio.h>
#include <stdlib.h>

#define ST_INVARIANT(cond)                                                                         \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            (void)fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #cond);     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define ST_NONE      UINT32_MAX
#define SLOTS        STRATEGY_SLOTS_MAX
#define WARMUP_START 100u /* mails a day to a provider from a cold address */

/* Opens and complaints come late: what was accepted in each of the last eight spans of 3 h. */
#define COHORTS      8u
#define COHORT_MS    (3 * HOUR_MS)
#define OPEN_WINDOWS 4u
struct st_cohorts {
    uint32_t newest; /* number of the span since time zero */
    uint32_t n[COHORTS], n_seen[COHORTS];
};

/* Opens against expectation in the newest 1, 2, 4, 8 spans. */
struct st_ratio {
    uint32_t expected[OPEN_WINDOWS], seen[OPEN_WINDOWS];
};

enum st_breaker_state { BRK_CLOSED, BRK_THROTTLED, BRK_OPEN, BRK_HALF_OPEN, BRK_PROBATION };

struct st_breaker {
    uint8_t state, n_trips, step; /* of the probation */
    uint8_t n_probes_sent, n_probes_done, n_probes_bad;
    uint8_t cause;
    uint64_t since_ms, until_ms, clean_since_ms;
    uint32_t former_per_h;            /* rate when it tripped */
    uint32_t n_hour_good, n_hour_bad; /* since clean_since_ms */
    struct strategy_evidence evidence;
};

/* Additive increase, multiplicative decrease; rate 0: not limited. */
struct st_pace {
    uint32_t rate_per_h, former_per_h;   /* former: before the first cut */
    uint64_t sent_q8, decay_ms, half_ms; /* what the rate is: limits.pace_half_ms */
    uint64_t cut_ms, step_ms;            /* last cut, last rise */
    uint64_t token_ms, tokens_q8;
};

struct st_warmup {
    uint32_t cap;       /* mails a day; 0: not limited (relays) */
    uint32_t day, hour; /* of the counters below */
    uint32_t used_day, used_hour, used_peak_hour;
    uint64_t tokens_q8, token_ms;                                 /* the spread over the day */
    uint32_t n_done, n_deferred, n_blocked, n_hard, n_complaints; /* of this day */
    uint32_t peak_day[7], peak_hour[7];                           /* by day modulo 7 */
    uint16_t n_idle_days;
    uint8_t n_low_days;
    bool halved_today, limited_today, is_warm;
    uint32_t halved_day; /* of the last halving */
};

struct st_path {
    uint32_t endpoint, provider;
    uint64_t batch_ms; /* outcomes of one second are one batch */
    uint32_t batch_good, batch_deferred, batch_blocked, batch_down;
    bool batch_rate;  /* one of them asked for a slower pace */
    uint64_t down_ms; /* the present run of failed connections began */
    struct cusum deferral, reputation, down;
    struct window50 window;
    struct st_breaker breaker;
    struct st_pace pace;
    struct st_warmup warmup;
    uint64_t acc_ms;
    uint64_t acc_good_q8, acc_bad_q8; /* half-life 6 h */
    uint64_t list_text_ms;            /* last reply that bans the address */
    uint64_t reopened_ms;             /* of the address, as seen here */
    uint8_t open_h_min;
    char code[24]; /* of the last bad reply */
};

enum st_drain { DRAIN_NO, DRAIN_LISTED, DRAIN_RETIRED };

struct st_endpoint {
    char name[STRATEGY_NAME_BYTES];
    bool is_address, is_ses, is_shared; /* shared: stands in some sender's shared list */
    bool no_warmup;
    uint32_t pool, next_in_pool;
    uint32_t network; /* hash of the /24 or /48 */
    uint32_t age_days;
    uint32_t n_max_24h, rate_max_per_h, cost_ppm;
    uint32_t hour, used_hour[24];                         /* relays: ring of the last 24 hours */
    uint32_t active_day, n_active_today, n_active_before; /* senders that used it */
    /* block lists */
    uint8_t drain, n_drains;
    uint64_t drained_ms, listed_ms, clean_ms, reopened_ms, drains_since_ms;
    uint64_t named_ms;       /* a 5xx named a list ... */
    uint32_t named_provider; /* ... at this provider */
    struct strategy_evidence drain_evidence;
    /* relays: their own breaker */
    struct st_breaker relay;
    uint32_t n_fails_in_row;
    struct window50 relay_window;
    uint64_t quota_until_ms;
    bool is_wanted; /* mail is held that it could take */
    uint8_t n_retries;
};

struct st_sender {
    char name[STRATEGY_NAME_BYTES];
    uint8_t kind;
    bool fallback, eligible, eligible_known;
    uint8_t n_slots, n_days_above, n_days_below;
    uint32_t slot_endpoint[SLOTS];
    uint8_t slot_route[SLOTS]; /* 0: not in use */
    uint32_t slot_used[SLOTS]; /* relays: decayed, about the last 24 h */
    uint32_t slot_day[SLOTS];  /* last day on which the slot was used + 1 */
    uint64_t used_ms;
    uint32_t v30, v30_given;
    uint32_t day, first_day, accepted[30]; /* by day modulo 30 */
    uint32_t first_cell, pool;
    uint32_t turn; /* plans: equal endpoints take turns */
};

enum st_quarantine { QUAR_NO, QUAR_HOLD, QUAR_RETEST };
enum st_canary { CANARY_NO, CANARY_RUNNING, CANARY_PASSED };

struct st_stream {
    char name[STRATEGY_NAME_BYTES];
    uint32_t sender, generation;
    bool is_transactional;
    uint64_t last_ms;
    struct cusum hard, complaint, content;
    uint64_t batch_ms; /* outcomes of one second are one batch */
    uint32_t batch_ok, batch_hard, batch_content;
    uint32_t rep_n[2], rep_hard[2]; /* the last 10,000: full and filling half */
    uint32_t rep_trials[2], rep_complaints[2];
    struct st_cohorts accepted;        /* for the delay of complaints */
    uint64_t folded_q16, released_q16; /* trials: of older spans; fed to the complaint detector */
    uint8_t quarantine, quarantine_cause, n_quarantines;
    uint64_t quarantine_until_ms;
    struct strategy_evidence quarantine_evidence;
    uint8_t pool_cause; /* kept off what is shared */
    uint64_t pool_until_ms;
    struct strategy_evidence pool_evidence;
    bool complaints_active;
    uint32_t after_trials, after_complaints; /* since the last alarm */
    uint64_t complaints_until_ms;
    struct strategy_evidence complaints_evidence;
    uint8_t canary;
    uint64_t canary_ms, canary_until_ms;
    struct strategy_evidence canary_evidence;
    uint32_t canary_asked, canary_sent, canary_done, canary_hard;
    uint32_t content_endpoint; /* where the content was refused first */
    bool content_twice;
    uint64_t content_ms;
};

struct st_fault { /* of a sender at a provider */
    struct cusum cusum;
    uint64_t batch_ms; /* outcomes of one second are one batch */
    uint32_t batch_good, batch_bad, after_good, after_bad; /* after: sent since it was seen */
    char code[24];
    uint8_t level;         /* 0 none, 1 half, 2 hold */
    struct window50 since; /* outcomes of what was sent since the last test */
    uint64_t since_ms, until_ms, test_ms;
    struct strategy_evidence evidence;
};

struct st_cell {
    uint32_t sender, provider, next_of_sender;
    bool is_transactional;
    uint32_t arm[SLOTS];
    uint32_t day, first_day, accepted[7]; /* by day modulo 7 */
    bool provider_eligible, provider_known;
    uint32_t demand_day, demand_peak[7];       /* new mails asked for, by day modulo 7 */
    uint64_t slow_n_q4, slow_seen_q4, slow_ms; /* baseline of opens, half-life 15 d */
    struct st_ratio fast;                      /* all arms, at the last look */
    uint64_t gate_ms;
    struct st_fault domain, auth;
    uint64_t half_ms; /* what a halved stream may send: refilled since */
    uint64_t half_tokens_q8;
};

struct st_arm {
    struct st_cohorts cohorts;
    uint16_t share;    /* of its natural share, 1/10000: the gate */
    int32_t index_ppm; /* placement, 1,000,000 = as the baseline */
    uint32_t index_var_ppm;
    uint32_t n_expected, n_seen; /* opens that it rests on */
    int32_t credit;              /* parts of a mail owed to it, 1/65536 */
    uint32_t path;
    bool gated;
};

struct st_flow {
    uint32_t stream, generation, provider, cell;
    uint64_t last_ms, wait_ms; /* bulk waits for its own addresses since; NEVER_MS: no */
    uint8_t away_slot;         /* where the overflow went last, + 1: it stays while it is as good */
    uint8_t grey_slot;         /* 0: none, else slot + 1 */
    uint64_t grey_until_ms;
    uint32_t held_n;             /* of the last plan: they are asked for again */
    uint32_t used_mask;          /* slots used while nobody was at fault */
    uint8_t peace_weight[SLOTS]; /* percent by slot while nobody was at fault */
    uint64_t record_id, record_ms;
    uint8_t old_weight[SLOTS], weight[SLOTS], old_held, held;
    uint8_t cause;
    struct strategy_evidence evidence;
};

struct st_provider {
    char name[STRATEGY_NAME_BYTES];
    uint64_t wait_ms;  /* first wait of an outage */
    uint64_t ok_ms[2]; /* the two endpoints that got through last */
    uint32_t ok_endpoint[2];
    bool is_down;
    uint8_t step;
    uint64_t down_since_ms, down_until_ms;
    uint32_t probe_left;
    struct strategy_evidence evidence;
    uint32_t n_replies, n_unknown;
    uint64_t alarm_ms[2]; /* the last two paths that were opened for not answering */
    uint32_t alarm_endpoint[2];
};

struct st_pool {
    char name[STRATEGY_NAME_BYTES];
    uint32_t first_address, last_address, n_senders;
};

/* Key -> id; open addressing, never more than half full. id is stored plus one, 0 is free. */
struct st_map {
    struct st_map_slot {
        uint64_t key;
        uint32_t id;
        uint32_t used;
    } * slots;
    uint32_t mask;
};

struct st_head { /* saved with the state */
    uint64_t now_ms;
    struct strategy_counters counters;
    uint32_t n_pools, n_endpoints, n_senders, n_providers, n_streams, n_cells, n_flows, n_paths,
        n_arms;
    uint32_t stream_hand, flow_hand;
};

struct strategy_engine {
    struct strategy_limits limits;
    struct st_head head;
    struct st_pool *pools;
    struct st_endpoint *endpoints;
    struct st_sender *senders;
    struct st_provider *providers;
    struct st_stream *streams;
    struct st_cell *cells;
    struct st_flow *flows;
    struct st_path *paths;
    struct st_arm *arms;
    struct st_map names, cells_by_key, flows_by_key, paths_by_key;
    struct reply_index replies;
};

/* ---- state_map.c ---- */
void st_map_put(struct st_map *map, uint64_t key, uint32_t id);
uint32_t st_map_get(const struct st_map *map, uint64_t key); /* ST_NONE */
void st_map_remove(struct st_map *map, uint64_t key);

/* ---- state.c: look up, or make; ST_NONE when there is none or no room ---- */
enum st_name_kind { NAME_POOL, NAME_ENDPOINT, NAME_SENDER, NAME_PROVIDER, NAME_STREAM };
bool st_name_ok(const char *name);
uint32_t st_find(const struct strategy_engine *e, enum st_name_kind kind, uint32_t parent,
                 const char *name);
uint32_t st_pool_get(struct strategy_engine *e, const char *name);
uint32_t st_endpoint_get(struct strategy_engine *e, const char *name);
uint32_t st_sender_get(struct strategy_engine *e, const char *name);
uint32_t st_provider_get(struct strategy_engine *e, const char *name);
uint32_t st_stream_get(struct strategy_engine *e, uint32_t sender, const char *name);
uint32_t st_cell_get(struct strategy_engine *e, uint32_t sender, bool is_transactional,
                     uint32_t provider);
uint32_t st_cell_find(const struct strategy_engine *e, uint32_t sender, bool is_transactional,
                      uint32_t provider);
uint32_t st_flow_get(struct strategy_engine *e, uint32_t stream, uint32_t provider);
uint32_t st_flow_find(const struct strategy_engine *e, uint32_t stream, uint32_t provider);
uint32_t st_path_get(struct strategy_engine *e, uint32_t endpoint, uint32_t provider);
uint32_t st_path_find(const struct strategy_engine *e, uint32_t endpoint, uint32_t provider);
uint32_t st_arm_get(struct strategy_engine *e, uint32_t cell, uint32_t slot);
uint32_t st_slot_of(const struct st_sender *sender, uint32_t endpoint); /* ST_NONE */
void st_maps_rebuild(struct strategy_engine *e);                        /* after a load */

#endif
