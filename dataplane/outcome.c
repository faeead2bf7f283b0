/* outcome.c - names of stages and kinds. */
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
