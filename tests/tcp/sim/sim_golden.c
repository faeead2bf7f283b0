/*
 * sim_golden.c - the golden table: what goodput a flow reaches on given links, and how evenly flows
 * share one. All is computed in integers from fixed seeds, so the table is the same everywhere and
 * a change of behaviour shows as a diff of golden.txt. With loss a cell is the median of SEEDS
 * transfers: one alone says more about its dice than about the stack.
 */
#include "tests/tcp/sim/sim.h"

#define RATE_BYTES_PER_S 1250000u /* 10 Mbit/s */

#define SEEDS 15u

static const uint32_t rtts_ms[] = {1, 20, 100, 200};
static const uint32_t losses[] = {0, 1000, 10000, 30000, 100000}; /* per million */
static const uint32_t buffers_per_cent[] = {25, 100, 400};        /* of rate * RTT */
static const uint32_t crowds[] = {2, 4, 8, 16};

#define COUNT_OF(a) (sizeof(a) / sizeof(a)[0])

static struct sim_scenario scenario(uint32_t rtt_ms, uint32_t loss, uint32_t buffer_per_cent,
                                    uint32_t flows)
{
    struct sim_scenario s = {
        .seed = 1,
        .rtt_ns = rtt_ms * NS_PER_MS,
        .loss = loss,
        .bytes_per_s = RATE_BYTES_PER_S,
        .queue_bytes = RATE_BYTES_PER_S / 1000 * rtt_ms * buffer_per_cent / 100,
        .flows = flows,
        .bytes = loss >= 30000   ? 400000
                 : loss >= 10000 ? 1000000
                                 : 4000000,
    };

    if (s.queue_bytes < 8 * 1500)
        s.queue_bytes = 8 * 1500;
    return s;
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The median time of a transfer; 0 when one failed. */
static uint64_t transfer_ns(struct sim *sim, struct sim_scenario s)
{
    const uint32_t seeds = s.loss == 0 ? 1 : SEEDS;
    uint64_t ns[SEEDS];

    for (s.seed = 1; s.seed <= seeds; s.seed++) {
        if (!sim_run_scenario(sim, &s))
            return 0;
        ns[s.seed - 1] = sim->pair[0].done_ns - sim->pair[0].start_ns;
    }
    qsort(ns, seeds, sizeof ns[0], compare);
    return ns[seeds / 2];
}

/* Goodput of one flow in permille of the bottleneck. */
static bool goodput_row(struct sim *sim, FILE *out, uint32_t rtt_ms, uint32_t loss)
{
    (void)fprintf(out, "%6u ms %6u ppm", rtt_ms, loss);
    for (size_t b = 0; b < COUNT_OF(buffers_per_cent); b++) {
        const struct sim_scenario s = scenario(rtt_ms, loss, buffers_per_cent[b], 1);
        const uint64_t ns = transfer_ns(sim, s);

        if (ns == 0)
            return false;
        (void)fprintf(out, " %6lu",
                      (unsigned long)(s.bytes * NS_PER_S / ns * 1000 / RATE_BYTES_PER_S));
    }
    (void)fprintf(out, "\n");
    return true;
}

/* Jain's index in permille of what the flows had got when the first was done. */
static bool fairness_row(struct sim *sim, FILE *out, uint32_t flows)
{
    const struct sim_scenario s = scenario(40, 0, 100, flows);
    uint64_t sum = 0, squares = 0;

    if (!sim_run_scenario(sim, &s))
        return false;
    for (uint32_t i = 0; i < flows; i++) {
        const uint64_t kb = sim->pair[i].at_first_done / 1000;

        sum += kb;
        squares += kb * kb;
    }
    (void)fprintf(out, "%6u flows %6lu\n", flows,
                  (unsigned long)(sum * sum * 1000 / (flows * squares)));
    return true;
}

bool sim_golden_write(struct sim *sim, FILE *out)
{
    (void)fprintf(out, "goodput, permille of 10 Mbit/s, with a buffer of 25 %%, 100 %%, 400 %% of "
                       "rate * RTT\n");
    for (size_t r = 0; r < COUNT_OF(rtts_ms); r++)
        for (size_t l = 0; l < COUNT_OF(losses); l++)
            if (!goodput_row(sim, out, rtts_ms[r], losses[l]))
                return false;
    (void)fprintf(out, "fairness (Jain, permille), 40 ms\n");
    for (size_t c = 0; c < COUNT_OF(crowds); c++)
        if (!fairness_row(sim, out, crowds[c]))
            return false;
    return true;
}
