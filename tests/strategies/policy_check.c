/*
 * policy_check.c - wirepost-policy-check: a storm of any length, for campaigns that a suite has no
 * time for, and the log of one for replays.
 *
 * Usage: wirepost-policy-check [--decisions N] [--seed N] [--print]
 *   --decisions  how many plans (default 1e6); every 1e5 a fresh engine
 *   --print      the events as lines of wirepost-policy on stdout
 * Exit: 0, 1 when an invariant is broken (seed and decision on stderr), 2 for wrong usage.
 */
#include "tests/strategies/storm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DECISIONS_EACH UINT64_C(100000)

struct options {
    uint64_t n_decisions, seed;
    bool print;
};

static bool parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *end = NULL;
        if (strcmp(argv[i], "--print") == 0) {
            o->print = true;
            continue;
        }
        double value = i + 1 < argc ? strtod(argv[i + 1], &end) : -1;
        if (value < 0 || end == argv[i + 1] || *end != '\0')
            return false;
        if (strcmp(argv[i], "--decisions") == 0)
            o->n_decisions = (uint64_t)value;
        else if (strcmp(argv[i], "--seed") == 0)
            o->seed = (uint64_t)value;
        else
            return false;
        i++;
    }
    return true;
}

/* One engine's life; false: an invariant is broken. */
static bool live(const struct strategy_limits *limits, uint64_t seed, uint64_t n, bool print)
{
    struct storm s;
    void *memory = calloc(1, strategy_engine_bytes(limits));

    if (memory == NULL)
        return false;
    storm_begin(&s, strategy_engine_init(memory, limits), seed, print ? stdout : NULL);
    while (s.n_decisions < n && storm_step(&s))
        ;
    bool ok = s.broken == NULL && (print || storm_calm(&s));
    if (!ok)
        (void)fprintf(stderr, "seed %" PRIu64 ", decision %" PRIu64 ": %s\n", seed, s.n_decisions,
                      s.broken);
    free(memory);
    return ok;
}

int main(int argc, char **argv)
{
    struct options o = {.n_decisions = 1000000, .seed = 1};
    struct strategy_limits limits = strategy_limits_default();

    if (!parse(&o, argc, argv)) {
        (void)fprintf(stderr,
                      "usage: wirepost-policy-check [--decisions N] [--seed N] [--print]\n");
        return 2;
    }
    limits.n_senders_max = limits.n_pools_max = 64;
    limits.n_streams_max = limits.n_cells_max = limits.n_flows_max = limits.n_paths_max = 4096;
    limits.n_arms_max = 16384;
    uint64_t each = o.print ? o.n_decisions : DECISIONS_EACH;
    for (uint64_t done = 0, seed = o.seed; done < o.n_decisions; done += each, seed++) {
        uint64_t n = o.n_decisions - done < each ? o.n_decisions - done : each;
        if (!live(&limits, seed, n, o.print))
            return 1;
    }
    if (!o.print)
        (void)printf("%" PRIu64 " decisions, no invariant broken\n", o.n_decisions);
    return 0;
}
