/* strategy.c - names of the strategies and their masks: see strategy.h. */
#include "strategies/strategy.h"

const char *strategy_kind_text(enum strategy_kind kind)
{
    static const char *const texts[] = {
#define X(name, text) [STRATEGY_##name] = text,
        STRATEGY_KIND_MAP(X)
#undef X
    };
    return (unsigned)kind < STRATEGY_KINDS ? texts[kind] : "invalid";
}

bool strategy_kind_parse(const char *text, enum strategy_kind *ret_kind)
{
    for (unsigned kind = 0; kind < STRATEGY_KINDS; kind++) {
        const char *a = strategy_kind_text((enum strategy_kind)kind), *b = text;
        while (*a != '\0' && *a == *b) {
            a++;
            b++;
        }
        if (*a == *b) {
            *ret_kind = (enum strategy_kind)kind;
            return true;
        }
    }
    return false;
}

uint32_t strategy_routes(enum strategy_kind kind)
{
    switch (kind) {
    case STRATEGY_AUTO:
    case STRATEGY_DEDICATED:
        return STRATEGY_ROUTE_DED | STRATEGY_ROUTE_SHR | STRATEGY_ROUTE_SES;
    case STRATEGY_SHARED:
        return STRATEGY_ROUTE_SHR | STRATEGY_ROUTE_SES;
    case STRATEGY_CUSTOM:
        return STRATEGY_ROUTE_DED | STRATEGY_ROUTE_CUS;
    case STRATEGY_KINDS:
        break;
    }
    return 0;
}
