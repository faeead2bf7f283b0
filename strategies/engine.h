/*
 * engine.h - the decision library: events go in with their time, decisions come out. No I/O, no
 * clock, no randomness, no floating point: the same events give the same decisions, bit for bit.
 *
 * Invariants (checked in engine_check.c after each decision; a broken one aborts):
 *   I1  custom never leaves through SHR or SES       I2  shared never through DED
 *   I3  no new mail on a path that is OPEN or DRAINED
 *   I4  what was asked for is split or held, and reasons are given
 *   I5  sent(address, provider, day) <= warm-up cap
 *   I6  a sender's fault never raises a share of SHR or SES
 *   I7  a fallback is scoped to (stream, provider) unless the endpoint itself is drained
 *   I8  an outage of a provider changes no reputation state
 *   I9  optimising moves at most 5 points in 10 minutes
 *   I10 every change has one reason code, its evidence and an expiry
 *   I11 same events + same configuration = same decisions
 *   I12 every temporary state ends
 *   I13 transactional mail is never quarantined with a campaign and never a probe
 *   I14 only BAD_RCPT and INACTIVE may suppress an address (reply_blames_recipient)
 *   I16 a sender's faulty mail is never moved to fresh addresses
 *
 * Time: now_ms of any epoch, never decreasing; days are UTC days of that epoch. Thread: one at a
 * time for each engine. Memory: one block at init, from the limits; a limit that is reached is an
 * error code and changes nothing. Names are copied.
 */
#ifndef WIREPOST_STRATEGIES_ENGINE_H
#define WIREPOST_STRATEGIES_ENGINE_H

#include "strategies/fx.h"
#include "strategies/reply.h"
#include "strategies/strategy.h"

/* Names of senders, streams, providers and paths: 1 to 63 bytes. */
#define STRATEGY_NAME_BYTES 64
/* Endpoints that one sender may have: its pool's addresses and its relays. */
#define STRATEGY_SLOTS_MAX  32

struct strategy_limits {
    uint32_t n_pools_max, n_endpoints_max, n_senders_max, n_providers_max;
    uint32_t n_streams_max;  /* sender x stream; the one idle longest makes room for a new one */
    uint32_t n_cells_max;    /* sender x {bulk, transactional} x provider */
    uint32_t n_flows_max;    /* stream x provider; these too are reused */
    uint32_t n_paths_max;    /* endpoint x provider */
    uint32_t n_arms_max;     /* cell x endpoint */
    uint64_t outage_wait_ms; /* first wait while a provider is down: 5 min */
    uint64_t retry_min_ms;   /* held mail is not asked for again before: 1 min */
    uint64_t pace_half_ms; /* half-life of what is taken as the present rate: 30 min, for plans that
                              come every few minutes; a caller that plans each second wants less */
};
/* 10,000 senders with 12 providers each. */
struct strategy_limits strategy_limits_default(void);

#define STRATEGY_ERROR_MAP(X)                                                                      \
    X(NAME, "a name is empty or longer than 63 bytes")                                             \
    X(LIMIT, "a limit of the engine is reached")                                                   \
    X(UNKNOWN_SENDER, "no such sender")                                                            \
    X(UNKNOWN_PATH, "no such address or route")                                                    \
    X(UNKNOWN_POOL, "no such pool")                                                                \
    X(UNKNOWN_FLOW, "nothing is known of this stream at this provider")                            \
    X(SLOTS, "more than 32 addresses and routes for one sender")                                   \
    X(TIME, "time goes backwards")                                                                 \
    X(KIND, "an address and a route have the same name")                                           \
    X(OTHER_POOL, "the address stands in another pool")                                            \
    X(IMAGE, "the saved state is not one of this version, or is damaged")

enum strategy_error {
    STRATEGY_OK = 0,
#define X(name, text) STRATEGY_E_##name,
    STRATEGY_ERROR_MAP(X)
#undef X
};
const char *strategy_error_text(enum strategy_error error);

struct strategy_engine;

/* Bytes that an engine of these limits takes, and the engine in them (zeroed, aligned as by
 * malloc). */
size_t strategy_engine_bytes(const struct strategy_limits *limits);
struct strategy_engine *strategy_engine_init(void *zeroed_memory,
                                             const struct strategy_limits *limits);

/* ---- configuration: each call adds or replaces; what was learned stays ---- */

/* A pool may be empty; strategy_pool_address makes it too. */
enum strategy_error strategy_pool(struct strategy_engine *engine, const char *name);

struct strategy_address_config {
    const char *ip;
    uint32_t age_days; /* 0: cold, whatever daily says */
    bool no_warmup;    /* its volume is the operator's own concern: no cap, no spikes */
};
enum strategy_error strategy_pool_address(struct strategy_engine *engine, const char *pool,
                                          const struct strategy_address_config *address);
/* How many mails a day the address is used to send to a provider. */
enum strategy_error strategy_address_daily(struct strategy_engine *engine, const char *ip,
                                           const char *provider, uint32_t n_per_day);

struct strategy_route_config {
    const char *name;
    bool is_ses;
    uint32_t n_max_24h;      /* 0: no limit */
    uint32_t rate_max_per_h; /* 0: no limit */
    int32_t cost_ppm;        /* -1: the default of its kind */
};
enum strategy_error strategy_route(struct strategy_engine *engine,
                                   const struct strategy_route_config *route);

struct strategy_sender_config {
    const char *name;
    enum strategy_kind kind;
    const char *pool;          /* null: none */
    const char *const *shared; /* SHR or SES by the route's type */
    uint32_t n_shared;
    const char *const *custom;
    uint32_t n_custom;
    bool v30_known;
    uint32_t v30;  /* mails accepted in the last 30 days */
    bool fallback; /* dedicated only: may it fall back to SHR and SES? */
};
enum strategy_error strategy_sender(struct strategy_engine *engine,
                                    const struct strategy_sender_config *sender);

/* ---- events ---- */

struct strategy_key {
    const char *sender, *stream, *provider;
};

struct strategy_outcome {
    struct strategy_key key;
    const char *path; /* an address or a route */
    uint32_t n;
    struct reply_verdict verdict;
    uint64_t sent_ms; /* when it was sent; NEVER_MS: now */
};
enum strategy_error strategy_outcome(struct strategy_engine *engine, uint64_t now_ms,
                                     const struct strategy_outcome *outcome);

enum strategy_late { STRATEGY_OPENS, STRATEGY_COMPLAINTS, STRATEGY_HARD_BOUNCES };
enum strategy_error strategy_late(struct strategy_engine *engine, uint64_t now_ms,
                                  enum strategy_late what, const struct strategy_outcome *late);

/* A poll of a block list: the address in the A record, 0 when there was none. */
enum strategy_listing {
    STRATEGY_CLEAN,
    STRATEGY_LISTED,       /* 127.0.0.2/3/4/9 of a Spamhaus zone: drains */
    STRATEGY_LISTED_OTHER, /* another list: noted, no more */
    STRATEGY_POLICY_RANGE, /* 127.0.0.10/11: should never have been used */
    STRATEGY_DOMAIN_LIST,  /* 127.0.1.x: no reroute */
    STRATEGY_QUERY_FAILED  /* 127.255.255.x and everything else: says nothing */
};
enum strategy_listing strategy_listing(const char *zone, const uint8_t answer[4]);
enum strategy_error strategy_dnsbl(struct strategy_engine *engine, uint64_t now_ms, const char *ip,
                                   const char *zone, enum strategy_listing listing);

/* An operator takes an address out of use, or back (it starts half open). */
enum strategy_error strategy_retire(struct strategy_engine *engine, uint64_t now_ms, const char *ip,
                                    bool retired);

/* Time passes. */
enum strategy_error strategy_tick(struct strategy_engine *engine, uint64_t now_ms);

/* ---- decisions ---- */

#define STRATEGY_CAUSE_MAP(X)                                                                      \
    X(V_BEST, "everything is fine: by value")                                                      \
    X(N_GREY, "greylisted: again from the same address")                                           \
    X(R_BOUNCE_SURGE, "deferrals or blocks on one path while others are fine")                     \
    X(R_POOL_BLOCK, "every address of the pool or its network is blocked")                         \
    X(R_DNSBL, "a block list names the address")                                                   \
    X(R_WARMUP_CAP, "more than the warm-up allows")                                                \
    X(R_SPIKE, "more than twice what the addresses are used to")                                   \
    X(R_PLACEMENT, "opens fell against the own baseline and the other providers")                  \
    X(R_RELAY_DOWN, "the relay fails")                                                             \
    X(R_LANE_DOWN, "the own addresses cannot be used: data plane, drain or IP version")            \
    X(R_RELAY_QUOTA, "the relay's quota is used up")                                               \
    X(S_DOMAIN, "the reputation of the sender's domain")                                           \
    X(S_AUTH, "the sender's authentication fails")                                                 \
    X(S_BAD_LIST, "hard bounces: a bad list")                                                      \
    X(S_COMPLAINTS, "complaints")                                                                  \
    X(S_CANARY, "unknown list: a few go first")                                                    \
    X(S_CONTENT, "the content is refused on several routes")                                       \
    X(P_OUTAGE, "the provider is down")                                                            \
    X(H_NO_ROUTE, "nothing that the strategy allows is configured")

enum strategy_cause {
#define X(name, text) STRATEGY_C_##name,
    STRATEGY_CAUSE_MAP(X)
#undef X
        STRATEGY_CAUSES
};
const char *strategy_cause_name(enum strategy_cause cause); /* "R_DNSBL" */
const char *strategy_cause_text(enum strategy_cause cause);

#define STRATEGY_SIGNAL_MAP(X)                                                                     \
    X(NONE, "none")                                                                                \
    X(DEFERRAL, "deferral")                                                                        \
    X(REPUTATION, "reputation")                                                                    \
    X(HARD_BOUNCE, "hard_bounce")                                                                  \
    X(COMPLAINT, "complaint")                                                                      \
    X(DOMAIN, "domain")                                                                            \
    X(AUTH, "auth")                                                                                \
    X(CONTENT, "content")                                                                          \
    X(DNSBL, "dnsbl")                                                                              \
    X(LIST_TEXT, "list_text")                                                                      \
    X(CAP, "cap")                                                                                  \
    X(PLACEMENT, "placement")                                                                      \
    X(OUTAGE, "outage")                                                                            \
    X(RELAY, "relay")                                                                              \
    X(CANARY, "canary")                                                                            \
    X(VOLUME, "volume")                                                                            \
    X(DOWN, "down")

enum strategy_signal {
#define X(name, text) STRATEGY_SIGNAL_##name,
    STRATEGY_SIGNAL_MAP(X)
#undef X
        STRATEGY_SIGNALS
};
const char *strategy_signal_text(enum strategy_signal signal);

/* Why something is as it is. Statistic and threshold in 1/1000 of the signal's unit. */
struct strategy_evidence {
    enum strategy_signal signal;
    uint32_t endpoint;    /* UINT32_MAX: none */
    uint32_t n, observed; /* 9 of 11 */
    int64_t statistic_milli, threshold_milli;
    uint64_t since_ms, expires_ms; /* NEVER_MS: until something changes */
    char text[24];                 /* reply code or zone */
};

struct strategy_plan {
    struct strategy_key key;
    uint32_t n;
    uint32_t n_retries;        /* of n: second or later tries */
    uint32_t never_mailed_ppm; /* share of recipients that never got mail before */
    uint32_t down_mask;        /* slots that the caller knows to be out of order now */
};

struct strategy_split {
    struct {
        const char *path; /* points into the engine */
        uint32_t slot, n;
    } part[STRATEGY_SLOTS_MAX];
    uint32_t n_parts, n_held;
    uint64_t retry_ms; /* NEVER_MS when nothing is held */
    enum strategy_cause cause;
    struct strategy_evidence evidence;
    bool low_volume_ded; /* advice: too little mail for own addresses */
};
enum strategy_error strategy_plan(struct strategy_engine *engine, uint64_t now_ms,
                                  const struct strategy_plan *plan,
                                  struct strategy_split *ret_split);

/* Mails of an earlier plan that were not sent after all and will be asked for again: what they used
 * up is there again. */
enum strategy_error strategy_return(struct strategy_engine *engine, uint64_t now_ms,
                                    const struct strategy_key *key, const char *path, uint32_t n);

/* The same, and another address of the sender takes them instead, as many as it may: their number.
 * The recipients of one transaction are not torn apart for the sake of even shares. */
uint32_t strategy_move(struct strategy_engine *engine, uint64_t now_ms,
                       const struct strategy_key *key, const char *from, const char *to,
                       uint32_t n);

/* The evidence in words: "9 of 11 replies 421-4.7.28 on 192.0.2.7 (CUSUM 12.1 >= 10.7)". Returns
 * the length; cuts at n_bytes. */
size_t strategy_evidence_text(const struct strategy_engine *engine, enum strategy_cause cause,
                              const struct strategy_evidence *evidence, char *text, size_t n_bytes);

/* The decision in force for a stream at a provider. Weights are percent for each slot. */
struct strategy_record {
    uint64_t id, at_ms;
    uint8_t old_weight[STRATEGY_SLOTS_MAX], new_weight[STRATEGY_SLOTS_MAX];
    uint8_t old_held, new_held; /* percent */
    enum strategy_cause cause;
    struct strategy_evidence evidence;
};
enum strategy_error strategy_why(struct strategy_engine *engine, const struct strategy_key *key,
                                 struct strategy_record *ret_record);
/* Endpoint of a slot of this sender; null behind the last. ret_route: STRATEGY_ROUTE_*, 0 when the
 * slot is not in use. */
const char *strategy_slot_path(const struct strategy_engine *engine, const char *sender,
                               uint32_t slot, uint32_t *ret_route);
/* As a line: "14:03:07 gmail: dedicated->shared 100 %, R_BOUNCE_SURGE: ...; probe at 15:03". */
size_t strategy_why_line(const struct strategy_engine *engine, const struct strategy_key *key,
                         const struct strategy_record *record, char *text, size_t n_bytes);

/* The first mask, guard, breaker or cap that keeps this flow off a path; "" when nothing does. */
enum strategy_error strategy_why_not(struct strategy_engine *engine, uint64_t now_ms,
                                     const struct strategy_key *key, const char *path, char *text,
                                     size_t n_bytes);

/* Nothing new may leave by this path: its breaker is open, or the address is drained. What has been
 * handed out but has not begun should be taken back. */
bool strategy_is_closed(const struct strategy_engine *engine, const char *path,
                        const char *provider);

/* ---- counters and state ---- */

struct strategy_counters {
    uint64_t n_plans, n_outcomes, n_messages_planned, n_records;
    uint64_t n_unknown_replies; /* replies that no rule matched */
    uint64_t n_policy_range_alarms, n_dnsbl_errors;
    uint64_t n_streams_reused, n_flows_reused;
};
void strategy_counters(const struct strategy_engine *engine, struct strategy_counters *ret);

/* A hash over everything that decisions depend on; of this build only. */
/* A provider of this name is known, or there is room for another and `spare` more. */
bool strategy_provider_fits(const struct strategy_engine *engine, const char *name, uint32_t spare);

uint64_t strategy_state_hash(const struct strategy_engine *engine);

/* The whole state as bytes, and back: the engine goes on as if it had never stopped. The image is
 * of this build's layout (a version and sizes stand in it); load needs a fresh engine whose limits
 * are at least as large. */
size_t strategy_save_bytes(const struct strategy_engine *engine);
void strategy_save(const struct strategy_engine *engine, void *ret_bytes);
enum strategy_error strategy_load(struct strategy_engine *engine, const void *bytes,
                                  size_t n_bytes);

#endif
