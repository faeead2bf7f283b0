/*
 * cusum.h - Bernoulli CUSUM: S = max(0, S + w), w = ln(p1/p0) on a bad outcome and
 * ln((1-p1)/(1-p0)) on a good one; alarm at S >= h. Natural logarithms in Q20.
 *
 * Outcomes come in batches of which the order is unknown: a batch counts as evenly mixed.
 */
#ifndef WIREPOST_STRATEGIES_CUSUM_H
#define WIREPOST_STRATEGIES_CUSUM_H

#include <stdbool.h>
#include <stdint.h>

struct cusum_rule {
    int32_t good, bad; /* weights, Q20: good < 0 < bad */
    uint32_t alarm;    /* h, Q20 */
};

/* Calibrated to about one false alarm in 10^6 messages (20,000 simulated runs). */
extern const struct cusum_rule CUSUM_HARD_BOUNCE; /* 2 % against 6 %, h 9.48 */
extern const struct cusum_rule CUSUM_DEFERRAL;    /* 3 % against 15 %, h 10.68 */
extern const struct cusum_rule CUSUM_REPUTATION;  /* 0.2 % against 2 %, h 10.37 */
extern const struct cusum_rule CUSUM_COMPLAINT;   /* 0.05 % against 0.2 %, h 7.82 */

/* All zero at first. n and n_bad count since S was last zero: they are the evidence. */
struct cusum {
    uint32_t s;
    uint32_t n, n_bad;
};

/* True when the alarm is raised by this batch; the caller reads the evidence, then resets. */
bool cusum_feed(struct cusum *c, const struct cusum_rule *rule, uint32_t n_good, uint32_t n_bad);

void cusum_reset(struct cusum *c);

/* The last 50 outcomes, as two counts: what falls out of the window is taken in proportion. */
#define WINDOW_SIZE 50u
struct window50 {
    uint16_t n;
    uint16_t bad_q8; /* 256ths, so that good outcomes one by one wear it down */
};
void window50_feed(struct window50 *w, uint32_t n_good, uint32_t n_bad);
static inline bool window50_mostly_bad(const struct window50 *w)
{
    return w->bad_q8 * 2u > w->n * 256u;
}

#endif
