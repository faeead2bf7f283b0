/*
 * parts.h - private: the parts of the engine, each in the file of its name. They work on one
 * record (a path, an endpoint, a stream ...) and know nothing of how mail is split.
 *
 * What depends on time is brought up to date when it is looked at: the *_roll and *_poll functions
 * may be called at any time and as often as wanted.
 */
#ifndef WIREPOST_STRATEGIES_PARTS_H
#define WIREPOST_STRATEGIES_PARTS_H

#include "strategies/state.h"

/* ---- warmup.c: mails a day from an address to a provider ---- */

/* Cold; not capped: relays, and addresses whose volume is the operator's concern. */
void st_warmup_start(struct st_warmup *w, uint64_t now_ms, bool is_capped);
void st_warmup_roll(struct st_warmup *w, uint64_t now_ms);
/* The address is used to this many mails a day: it starts warm. */
void st_warmup_known(struct st_warmup *w, uint32_t n_per_day);
/* How many may go now (UINT32_MAX: not limited); needs st_warmup_roll. */
uint32_t st_warmup_room(const struct st_warmup *w);
/* What a whole day would take. */
uint32_t st_warmup_day_limit(const struct st_warmup *w);
void st_warmup_use(struct st_warmup *w, uint32_t n);
void st_warmup_return(struct st_warmup *w, uint32_t n);
/* Halves the cap, once a day. */
void st_warmup_halve(struct st_warmup *w);
/* When more may go. */
uint64_t st_warmup_next_ms(const struct st_warmup *w, uint64_t now_ms);

/* ---- pace.c: additive increase, multiplicative decrease ---- */

void st_pace_poll(struct st_pace *p, uint64_t now_ms);
uint32_t st_pace_room(const struct st_pace *p); /* UINT32_MAX: not limited; needs poll */
/* When there is room for another mail. */
uint64_t st_pace_next_ms(const struct st_pace *p, uint64_t now_ms);
void st_pace_use(struct st_pace *p, uint64_t now_ms, uint32_t n);
void st_pace_return(struct st_pace *p, uint32_t n);
/* rate x percent / 100, not within a minute of the last cut. */
void st_pace_cut(struct st_pace *p, uint64_t now_ms, uint32_t percent);
void st_pace_set(struct st_pace *p, uint64_t now_ms, uint32_t rate_per_h); /* 0: no limit */
uint32_t st_pace_rate(const struct st_pace *p);                            /* sent per hour */

/* ---- breaker.c: states of a path or a relay ---- */

#define PROBES 20u
void st_breaker_trip(struct st_path *path, uint64_t now_ms, enum strategy_cause cause,
                     const struct strategy_evidence *evidence);
void st_breaker_throttle(struct st_path *path, uint64_t now_ms, enum strategy_cause cause,
                         const struct strategy_evidence *evidence);
void st_breaker_half_open(struct st_path *path, uint64_t now_ms);
void st_breaker_poll(struct st_path *path, uint64_t now_ms);
/* Results that belong to the present state. */
void st_breaker_result(struct st_path *path, uint64_t now_ms, uint32_t n_good, uint32_t n_bad);
/* How many mails the breaker lets through now; needs poll. */
uint32_t st_breaker_room(const struct st_path *path, uint64_t now_ms, bool may_probe);
uint64_t st_breaker_next_ms(const struct st_path *path, uint64_t now_ms);

/* ---- relay.c: health and quota of a relay ---- */

void st_relay_poll(struct st_endpoint *relay, uint64_t now_ms);
void st_relay_result(struct st_endpoint *relay, uint32_t id, uint64_t now_ms, uint32_t n_good,
                     uint32_t n_bad, const char *code);
void st_relay_quota_spent(struct st_endpoint *relay, uint64_t now_ms);
/* What its quota leaves for this sender and kind of mail. */
uint32_t st_relay_room(const struct st_endpoint *relay, uint32_t used_by_sender,
                       bool is_transactional, bool may_probe, uint64_t now_ms);
void st_relay_use(struct st_endpoint *relay, uint64_t now_ms, uint32_t n);
void st_relay_return(struct st_endpoint *relay, uint64_t now_ms, uint32_t n);
uint32_t st_relay_used_24h(const struct st_endpoint *relay);
/* Price of what is scarce, millionths of a mail. */
uint32_t st_relay_price_ppm(const struct st_endpoint *relay);
uint64_t st_relay_next_ms(const struct st_endpoint *relay, uint64_t now_ms);
void st_relay_active(struct st_endpoint *relay, uint32_t *last_day_plus_1, uint64_t now_ms);

/* ---- drain.c: block lists ---- */

void st_drain_poll(struct st_endpoint *address, uint64_t now_ms);
void st_drain_start(struct st_endpoint *address, uint32_t id, uint64_t now_ms, const char *zone);
void st_drain_clean(struct st_endpoint *address, uint64_t now_ms, const char *zone);
void st_drain_retire(struct st_endpoint *address, uint32_t id, uint64_t now_ms, bool retired);
/* A 5xx of this provider names a block list; true when a second provider said so within the hour.
 */
bool st_drain_named(struct st_endpoint *address, uint64_t now_ms, uint32_t provider);

/* ---- volume.c: how much a sender sends ---- */

#define VOLUME_ENTER 25000u
#define VOLUME_LEAVE 20000u
uint32_t st_n_addresses(const struct st_sender *sender); /* at least 1 */
void st_volume_roll(struct st_sender *sender, uint64_t now_ms);
void st_volume_accepted(struct st_sender *sender, uint64_t now_ms, uint32_t n);
void st_cell_roll(struct st_cell *cell, uint64_t now_ms, uint32_t n_addresses);

/* ---- cohort.c: feedback that comes late ---- */

void st_cohorts_roll(struct st_cohorts *c, uint64_t now_ms, uint64_t *folded_n_q16,
                     uint32_t *folded_seen);
void st_cohorts_sent(struct st_cohorts *c, uint64_t now_ms, uint64_t sent_ms, uint32_t n);
/* False: older than the cohorts reach. */
bool st_cohorts_seen(struct st_cohorts *c, uint64_t now_ms, uint64_t sent_ms, uint32_t n);
/* Trials that count so far, of all or of the newest few spans, Q16. */
uint64_t st_cohorts_trials_q16(const struct st_cohorts *c, uint64_t now_ms, uint32_t n_spans);
uint32_t st_cohorts_seen_sum(const struct st_cohorts *c, uint32_t n_spans);

/* ---- gate.c: placement and the share of each endpoint ---- */

/* Looks at the opens of a cell and moves the gates, at most once in 10 minutes. Values for arms
 * without own evidence come from others. */
void st_gate_poll(struct strategy_engine *e, uint32_t cell, uint64_t now_ms);
/* Value of a mail by this slot, millionths: acceptance x placement - cost - price. */
int64_t st_value_ppm(const struct strategy_engine *e, uint32_t cell, uint32_t slot);
/* The same before anything was learned. */
int64_t st_prior_value_ppm(const struct strategy_engine *e, uint32_t cell, uint32_t slot);
uint32_t st_acceptance_ppm(const struct st_path *path);
uint32_t st_acceptance_var_ppm(const struct st_path *path);
void st_acceptance_feed(struct st_path *path, uint64_t now_ms, uint32_t n_good, uint32_t n_bad);

/* ---- guard.c: what a stream may do while somebody is at fault ---- */

struct st_guard {
    enum strategy_cause cause; /* V_BEST: nobody is */
    const struct strategy_evidence *evidence;
    uint32_t n_max; /* may go now */
    bool no_relays; /* SHR and SES denied */
    bool frozen;    /* only where it went in peace: no new endpoints, no higher share */
    uint64_t retry_ms;
    struct st_fault *test;      /* these are tests of whether it is over */
    struct st_provider *outage; /* these try a provider that was down */
};
void st_guard(struct strategy_engine *e, uint32_t flow, const struct strategy_plan *plan,
              uint64_t now_ms, struct st_guard *ret_guard);
/* n mails that were sent under this cause were not sent after all. */
void st_guard_return(struct strategy_engine *e, uint32_t flow, enum strategy_cause cause,
                     uint32_t n);
/* What was sent under it. */
void st_guard_use(struct strategy_engine *e, uint32_t flow, const struct st_guard *guard,
                  uint64_t now_ms, uint32_t n_sent);

/* ---- stream.c: faults that follow the message ---- */

uint32_t st_stream_hard_ppm(const struct st_stream *s);       /* of the last 10,000 */
uint32_t st_stream_complaints_ppm(const struct st_stream *s); /* likewise */
void st_stream_rep_reset(struct st_stream *s);
bool st_stream_complaints_over(const struct st_stream *s);
void st_stream_quarantine(struct st_stream *s, uint64_t now_ms, enum strategy_cause cause,
                          const struct strategy_evidence *evidence);
struct st_stream_batch {
    uint32_t n_ok, n_hard, n_content;
};
/* Adds to the batch of this second; an older batch is flushed first. */
void st_stream_add(struct strategy_engine *e, uint32_t stream, uint64_t now_ms, uint32_t endpoint,
                   const struct st_stream_batch *batch);
void st_stream_flush(struct st_stream *s, uint64_t now_ms);
void st_stream_accepted(struct strategy_engine *e, uint32_t stream, uint64_t now_ms,
                        uint64_t sent_ms, uint32_t n);
void st_stream_complaints(struct strategy_engine *e, uint32_t stream, uint64_t now_ms,
                          uint64_t sent_ms, uint32_t n);
void st_fault_feed(struct st_fault *fault, enum strategy_signal signal, uint64_t now_ms,
                   uint64_t sent_ms, uint32_t n_good, uint32_t n_bad, const char *code);
void st_fault_poll(struct st_fault *fault, enum strategy_signal signal, uint64_t now_ms);

/* ---- outage.c: a provider that is down ---- */

void st_outage_start(struct st_provider *provider, uint64_t now_ms,
                     const struct strategy_evidence *evidence);
void st_outage_ok(struct st_provider *provider, uint32_t endpoint, uint64_t now_ms);
void st_outage_fail(struct st_provider *provider, uint64_t now_ms);
/* May n mails go now? */
uint32_t st_outage_room(struct st_provider *provider, uint64_t now_ms);
/* Did another endpoint get through since? */
bool st_outage_others_ok(const struct st_provider *provider, uint32_t endpoint, uint64_t since_ms);

/* ---- path_feed.c: outcomes of a path to its detectors ---- */

struct st_batch {
    uint32_t n_good, n_deferred, n_blocked, n_down;
    bool rate;
};
/* Adds to the batch of this second; an older batch is flushed first. sender: who sent. */
void st_path_add(struct strategy_engine *e, uint32_t path, uint32_t sender, uint64_t now_ms,
                 const struct st_batch *batch);
void st_path_flush(struct strategy_engine *e, uint32_t path, uint32_t sender, uint64_t now_ms);
/* A reply that bans the address: two within ten minutes open the path. */
void st_path_list_text(struct strategy_engine *e, uint32_t path, uint32_t sender, uint64_t now_ms,
                       uint32_t n, const struct reply_verdict *verdict);
void st_path_poll(struct strategy_engine *e, uint32_t path, uint32_t sender, uint64_t now_ms);

/* ---- candidate.c: what one slot can take ---- */

struct st_candidate {
    uint32_t slot, route, endpoint, path, arm;
    bool is_home, is_allowed;      /* by the strategy; allowed: by the guard as well */
    bool is_healthy;               /* neither drained, open nor half open */
    uint32_t room, take;           /* mails now */
    enum strategy_cause cause;     /* of its health; V_BEST: it is healthy and not slowed down */
    enum strategy_cause cap_cause; /* what it would run into */
    const struct strategy_evidence *evidence; /* of its health */
    struct strategy_evidence down;            /* when the caller says that it is out of order */
    uint64_t retry_ms;                        /* when there is more room */
    int64_t value_ppm, prior_ppm;             /* with and without what was learned */
    uint64_t weight;                          /* among the addresses or relays at home */
};
struct st_context {
    uint32_t sender, stream, flow, cell, provider, home_route;
    uint64_t now_ms;
    bool is_transactional;
    struct st_guard guard;
    struct st_candidate c[SLOTS];
    uint32_t n;
    uint32_t down_mask; /* of the plan */
    bool ran_into_cap;
};
/* Every slot in use that the strategy allows, in slot order. False: no memory for a path. */
bool st_candidates(struct strategy_engine *e, struct st_context *x, uint32_t n_mails);
/* Where mail of this sender lives at this provider in peace: one STRATEGY_ROUTE_*. */
uint32_t st_home_route(const struct strategy_engine *e, uint32_t sender, uint32_t cell);
/* May the sender ever use this slot? From the strategy alone, checked before anything else. */
bool st_eligible(const struct strategy_engine *e, const struct st_sender *sender, uint32_t slot);
/* The same without what the fault of the sender forbids; why_not asks for the reason. */
const char *st_not_allowed(const struct strategy_engine *e, const struct st_context *x,
                           const struct st_candidate *c);

/* ---- allocate.c: n mails over the candidates ---- */

void st_allocate(struct strategy_engine *e, struct st_context *x, const struct strategy_plan *plan,
                 struct strategy_split *ret_split);

/* ---- reason.c: why the split is as it is ---- */

void st_reason(struct strategy_engine *e, const struct st_context *x,
               const struct strategy_plan *plan, struct strategy_split *split);

/* ---- record.c: the decision in force ---- */

void st_record(struct strategy_engine *e, const struct st_context *x,
               const struct strategy_split *split, uint32_t n);

/* ---- engine_check.c: the invariants ---- */

void st_check(const struct strategy_engine *e, const struct st_context *x,
              const struct strategy_plan *plan, const struct strategy_split *split);

#endif
