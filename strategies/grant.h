/*
 * grant.h - decisions for single transactions. The engine decides about batches; a control plane
 * sends one message after the other. A grant is what a plan allows each endpoint of a flow (sender,
 * stream, provider) for the next second; transactions are taken off it, and what is left when the
 * second is over is returned to the engine.
 *
 * So a path that opens or drains gets nothing new after GRANT_MS (invariant I3), weights hold over
 * any number of single messages, and a caller whose lane is full for the moment keeps its grant
 * instead of asking again.
 *
 * Pure: the time is a parameter. Thread: that of the engine.
 */
#ifndef WIREPOST_STRATEGIES_GRANT_H
#define WIREPOST_STRATEGIES_GRANT_H

#include "strategies/engine.h"

#define GRANT_MS UINT64_C(1000)

struct grants;

/* n_flows_max: flows with a grant at a time; beyond it the one planned first gives its own back.
 * Null: no memory. The engine must outlive it. */
struct grants *grants_new(struct strategy_engine *engine, uint32_t n_flows_max);
void grants_free(struct grants *grants);

struct grant_request {
    struct strategy_key key;
    uint32_t n;                /* mails of the transaction, at least 1 */
    uint32_t n_behind;         /* mails of this flow that wait behind it */
    bool is_retry;             /* they were tried before */
    uint32_t never_mailed_ppm; /* as in a plan */
    uint32_t down_mask;        /* slots that are out of order */
    uint32_t busy_mask;        /* slots that take nothing at this moment, but will soon */
    uint32_t prefer_slot;      /* the last attempt's after greylisting; UINT32_MAX: none */
};

enum grant_result {
    GRANT_GO,   /* n of the mails by path */
    GRANT_BUSY, /* it may go, by endpoints that are busy now */
    GRANT_HELD  /* not before retry_ms, or when the masks change */
};

struct grant {
    enum grant_result result;
    const char *path; /* points into the engine */
    uint32_t slot, n; /* n may be less than was asked for: the rest asks again */
    uint64_t retry_ms;
    enum strategy_cause cause;
    struct strategy_evidence evidence;
    bool is_new; /* this call wrote a new decision: strategy_why() tells */
};
enum strategy_error grants_ask(struct grants *grants, uint64_t now_ms,
                               const struct grant_request *request, struct grant *ret_grant);

/* A transaction that was let go did not start after all. */
void grants_return(struct grants *grants, uint64_t now_ms, const struct strategy_key *key,
                   uint32_t slot, uint32_t n);

/* Everything that is not used is returned now: before the state is saved, or configuration
 * changes. */
void grants_return_all(struct grants *grants, uint64_t now_ms);

#endif
