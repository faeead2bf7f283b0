/*
 * strategy.h - the deliverability strategies by name, and what each may ever use. Decisions are
 * engine.h's.
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

#endif
