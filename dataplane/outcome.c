/* outcome.c - names of stages, kinds, ends and arrivals. */
#include "dataplane/outcome.h"

const char *outcome_stage_text(enum outcome_stage stage)
{
    static const char *const texts[] = {
#define X(name, text) [OUTCOME_STAGE_##name] = text,
        OUTCOME_STAGE_MAP(X)
#undef X
    };
    return (unsigned)stage < sizeof texts / sizeof texts[0] ? texts[stage] : "invalid";
}

const char *outcome_kind_text(enum outcome_kind kind)
{
    static const char *const texts[] = {
#define X(name, text) [OUTCOME_##name] = text,
        OUTCOME_KIND_MAP(X)
#undef X
    };
    return (unsigned)kind < sizeof texts / sizeof texts[0] ? texts[kind] : "invalid";
}

const char *outcome_end_text(enum outcome_end end)
{
    static const char *const texts[] = {
#define X(name, text) [OUTCOME_END_##name] = text,
        OUTCOME_END_MAP(X)
#undef X
    };
    return (unsigned)end < sizeof texts / sizeof texts[0] ? texts[end] : "invalid";
}

const char *outcome_arrival_text(enum outcome_arrival arrival)
{
    static const char *const texts[] = {
#define X(name, text) [OUTCOME_ARRIVAL_##name] = text,
        OUTCOME_ARRIVAL_MAP(X)
#undef X
    };
    return (unsigned)arrival < sizeof texts / sizeof texts[0] ? texts[arrival] : "invalid";
}
