/* sim_main.c - wirepost-tcpsim: runs seeds of the TCP simulation, see sim.h. */
#include "tests/tcp/sim/sim.h"

#include <errno.h>

struct options {
    uint64_t seeds, first_seed;
    bool trace, counters;
};

static bool number(const char *text, uint64_t *ret_value)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-')
        return false;
    *ret_value = value;
    return true;
}

static bool parse(int argc, char **argv, struct options *ret_options)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0)
            ret_options->trace = true;
        else if (strcmp(argv[i], "--counters") == 0)
            ret_options->counters = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0 &&
                 number(argv[i + 1], &ret_options->seeds))
            i++;
        else if (i + 1 < argc && strcmp(argv[i], "--first-seed") == 0 &&
                 number(argv[i + 1], &ret_options->first_seed))
            i++;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options options = {.seeds = 1000, .first_seed = 1};
    static struct sim sim;
    static uint64_t totals[UTCP_N_COUNTERS];
    uint64_t failures = 0;

    if (!parse(argc, argv, &options)) {
        (void)fprintf(stderr, "usage: %s [--seeds N] [--first-seed S] [--trace] [--counters]\n",
                      argv[0]);
        return 2;
    }
    for (uint64_t i = 0; i < options.seeds; i++) {
        const uint64_t seed = options.first_seed + i;

        const bool held = sim_run(&sim, seed, options.trace);

        for (uint32_t c = 0; c < UTCP_N_COUNTERS; c++)
            totals[c] += sim.counters[c];
        if (held)
            continue;
        failures++;
        (void)printf("seed %llu: %s; replay: wirepost-tcpsim --first-seed %llu --seeds 1 --trace\n",
                     (unsigned long long)seed, sim.message, (unsigned long long)seed);
    }
    for (uint32_t c = 0; c < UTCP_N_COUNTERS && options.counters; c++)
        (void)printf("%-28s %llu\n", utcp_counter_name((enum utcp_counter)c),
                     (unsigned long long)totals[c]);
    (void)printf("%llu seeds, %llu failures\n", (unsigned long long)options.seeds,
                 (unsigned long long)failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
