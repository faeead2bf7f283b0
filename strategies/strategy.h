/*
 * strategy.h - deliverability strategies: a snapshot of what may be used goes in, a decision with
 * its reason comes out. Pure C17: no I/O, no clock, no randomness; the same calls give the same
 * decisions, bit for bit.
 *
 * Thread: any, one at a time for each struct strategy. Ownership: the snapshot is the caller's and
 * is read only during the call; names in a decision point into it.
 */
#ifndef WIREPOST_STRATEGY_H
#define WIREPOST_STRATEGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRATEGY_KIND_MAP(X)                                                                       \
    X(AUTO, "auto")                                                                                \
    X(DEDICATED, "dedicated")                                                                      \
    X(SHARED, "shared")                                                                            \
    X(CUSTOM, "custom")

enum strategy_kind {
#define X(name, text) STRATEGY_##name,
    STRATEGY_KIND_MAP(X)
#undef X
        STRATEGY_KINDS
};
const char *strategy_kind_text(enum strategy_kind kind);
/* False for an unknown name. */
bool strategy_kind_parse(const char *text, enum strategy_kind *ret_kind);

/* Routes that a strategy may ever use: a mask from the strategy alone, checked before anything else
 * (invariants I1 and I2: custom never SHR or SES, shared never DED). */
#define STRATEGY_ROUTE_DED 1u
#define STRATEGY_ROUTE_SHR 2u
#define STRATEGY_ROUTE_SES 4u
#define STRATEGY_ROUTE_CUS 8u
uint32_t strategy_routes(enum strategy_kind kind);

enum strategy_health { STRATEGY_HEALTHY, STRATEGY_DRAINED, STRATEGY_DOWN };

/* An endpoint that mail can leave by: a source address (DED) or a relay account. */
struct strategy_endpoint {
    uint32_t route; /* one STRATEGY_ROUTE_* */
    enum strategy_health health;
    bool family_ok;   /* the destination has an address of this endpoint's family */
    uint64_t cap;     /* messages it may carry in the current period; UINT64_MAX: no cap */
    uint64_t used;    /* carried in this period */
    const char *name; /* for evidence: "192.0.2.7" */
};

struct strategy_snapshot {
    enum strategy_kind kind;
    const char *sender, *stream, *site;
    const struct strategy_endpoint *endpoints;
    uint32_t n_endpoints;
    uint32_t sticky; /* endpoint of the last attempt (greylisting), UINT32_MAX: none */
};

#define STRATEGY_REASON_MAP(X)                                                                     \
    X(HOME, "home: the sender's own addresses, by their caps")                                     \
    X(STICKY, "same address as the last attempt (greylisting)")                                    \
    X(HOLD_CAP, "held: every usable address has reached its cap")                                  \
    X(HOLD_UNHEALTHY, "held: no healthy address is left")                                          \
    X(HOLD_FAMILY, "held: no address of the destination's IP version")                             \
    X(HOLD_NO_ADDRESS, "held: the sender has no address that its strategy may use")

enum strategy_reason {
#define X(name, text) STRATEGY_R_##name,
    STRATEGY_REASON_MAP(X)
#undef X
        STRATEGY_REASONS
};
const char *strategy_reason_name(enum strategy_reason reason); /* "HOLD_CAP" */
const char *strategy_reason_text(enum strategy_reason reason);

struct strategy_decision {
    bool hold;
    uint32_t endpoint; /* index in the snapshot; meaningless when held */
    enum strategy_reason reason;
    char evidence[160]; /* "192.0.2.7: 12 of 100 used; 4 of 4 addresses usable" */
};

/* State of one (sender, stream, site): the smooth weighted round robin over its endpoints.
 * Fixed size; zero-initialise. */
struct strategy_rotation {
    uint64_t n_decisions;
};

/* Decides for one transaction. Never fails: when nothing can be used it holds with a reason. */
void strategy_decide(struct strategy_rotation *rotation, const struct strategy_snapshot *snapshot,
                     struct strategy_decision *ret_decision);

#endif
