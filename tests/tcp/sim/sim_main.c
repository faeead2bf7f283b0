/* sim_main.c - wirepost-tcpsim: runs seeds of the TCP simulation, see sim.h. */
#include "tests/tcp/sim/sim.h"

#include <errno.h>

struct options {
    uint64_t seeds, first_seed;
    bool trace, counters, golden;
    const char *golden_path; /* to compare with; null: print */
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
        else if (strcmp(argv[i], "--golden") == 0)
            ret_options->golden = true;
        else if (i + 1 < argc && strcmp(argv[i], "--compare-golden") == 0)
            ret_options->golden_path = argv[++i];
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

/* The first line that differs is printed as it should be and as it is. */
static int compare_golden(struct sim *sim, const char *path)
{
    FILE *wanted = fopen(path, "r"), *got = tmpfile();
    char a[256], b[256];
    int differ = 0;

    if (wanted == NULL || got == NULL || !sim_golden_write(sim, got)) {
        (void)fprintf(stderr, "%s: %s\n", path, sim->failed ? sim->message : "cannot be read");
        return EXIT_FAILURE;
    }
    rewind(got);
    for (;;) {
        const bool more_a = fgets(a, sizeof a, wanted) != NULL;
        const bool more_b = fgets(b, sizeof b, got) != NULL;

        if (!more_a && !more_b)
            break;
        if (more_a && more_b && strcmp(a, b) == 0)
            continue;
        (void)printf("golden: %sis now: %s", more_a ? a : "(end)\n", more_b ? b : "(end)\n");
        differ++;
        if (!more_a || !more_b)
            break;
    }
    (void)fclose(wanted);
    (void)fclose(got);
    return differ == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct options options = {.seeds = 1000, .first_seed = 1};
    static struct sim sim;
    static uint64_t totals[UTCP_N_COUNTERS];
    uint64_t failures = 0;

    if (!parse(argc, argv, &options)) {
        (void)fprintf(stderr,
                      "usage: %s [--seeds N] [--first-seed S] [--trace] [--counters]\n"
                      "       %s --golden | --compare-golden FILE\n",
                      argv[0], argv[0]);
        return 2;
    }
    if (options.golden)
        return sim_golden_write(&sim, stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
    if (options.golden_path != NULL)
        return compare_golden(&sim, options.golden_path);
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
