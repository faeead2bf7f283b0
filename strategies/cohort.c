/*
 * cohort.c - feedback that comes late. What was accepted stands in spans of three hours; a mail
 * that was accepted some time ago counts as that part of a trial of which the delay curve says that
 * its feedback has come. So nothing has to be waited for, and "not opened yet" is no failure.
 *
 * Feedback for a mail older than a day is left out on both sides: no bias.
 */
#include "strategies/parts.h"

static uint32_t span_of(uint64_t ms)
{
    return (uint32_t)(ms / COHORT_MS);
}

/* Age of a span's mails: half of the time that it has lasted, and all the time since. */
static uint64_t age_ms(uint32_t span, uint64_t now_ms)
{
    uint64_t from_ms = (uint64_t)span * COHORT_MS, to_ms = from_ms + COHORT_MS;

    return now_ms >= to_ms ? now_ms - to_ms + COHORT_MS / 2 : fx_sub64(now_ms, from_ms) / 2;
}

void st_cohorts_roll(struct st_cohorts *c, uint64_t now_ms, uint64_t *folded_n_q16,
                     uint32_t *folded_seen)
{
    uint32_t span = span_of(now_ms);

    if (span > c->newest + COHORTS + 1) /* all are empty by then */
        c->newest = c->newest > span - COHORTS - 1 ? c->newest : span - COHORTS - 1;
    while (c->newest < span) {
        c->newest++;
        uint32_t i = c->newest % COHORTS;
        uint64_t last_age_ms = age_ms(c->newest - COHORTS, (uint64_t)c->newest * COHORT_MS);
        *folded_n_q16 += (uint64_t)c->n[i] * fx_open_share(last_age_ms);
        *folded_seen = fx_add32(*folded_seen, c->n_seen[i]);
        c->n[i] = c->n_seen[i] = 0;
    }
}

static bool reaches(const struct st_cohorts *c, uint32_t span)
{
    return span <= c->newest && c->newest - span < COHORTS;
}

void st_cohorts_sent(struct st_cohorts *c, uint64_t now_ms, uint64_t sent_ms, uint32_t n)
{
    uint32_t span = span_of(sent_ms > now_ms ? now_ms : sent_ms);

    if (reaches(c, span))
        c->n[span % COHORTS] = fx_add32(c->n[span % COHORTS], n);
}

bool st_cohorts_seen(struct st_cohorts *c, uint64_t now_ms, uint64_t sent_ms, uint32_t n)
{
    uint32_t span = span_of(sent_ms > now_ms ? now_ms : sent_ms);

    if (!reaches(c, span))
        return false;
    c->n_seen[span % COHORTS] = fx_add32(c->n_seen[span % COHORTS], n);
    return true;
}

uint64_t st_cohorts_trials_q16(const struct st_cohorts *c, uint64_t now_ms, uint32_t n_spans)
{
    uint64_t sum = 0;

    for (uint32_t back = 0; back < n_spans && back <= c->newest; back++) {
        uint32_t n = c->n[(c->newest - back) % COHORTS];
        if (n != 0)
            sum += (uint64_t)n * fx_open_share(age_ms(c->newest - back, now_ms));
    }
    return sum;
}

uint32_t st_cohorts_seen_sum(const struct st_cohorts *c, uint32_t n_spans)
{
    uint32_t sum = 0;

    for (uint32_t back = 0; back < n_spans && back <= c->newest; back++)
        sum = fx_add32(sum, c->n_seen[(c->newest - back) % COHORTS]);
    return sum;
}
