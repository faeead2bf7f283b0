/* relay_rate.c - see relay_rate.h. */
#include "control/relay_rate.h"

#include <stdbool.h>

#define PAUSE_MS       250u
#define PAUSE_MS_MAX   60000u
#define CUT_MS         1000u
#define RAISE_MS       1000u
#define FORGET_MS      10000u
#define RATE_MILLI_MIN 100u /* one mail in ten seconds */
#define MICRO          1000000

static int64_t burst_micro(const struct relay_rate *r)
{
    int64_t tenth = (int64_t)r->rate_milli * 100; /* rate / 1000 * MICRO / 10 */
    return tenth > MICRO ? tenth : MICRO;
}

static void raise_rate(struct relay_rate *r, uint64_t now_ms)
{
    if (now_ms < r->raised_ms + RAISE_MS || r->rate_milli >= r->limit_milli) {
        return;
    }
    uint64_t n_steps = (now_ms - r->raised_ms) / RAISE_MS;
    uint64_t step = r->limit_milli / 20 > 0 ? r->limit_milli / 20 : 1;
    bool whole = n_steps >= 20;
    r->rate_milli = whole || r->rate_milli + n_steps * step > r->limit_milli
                        ? r->limit_milli
                        : r->rate_milli + n_steps * step;
    r->raised_ms += n_steps * RAISE_MS;
}

static void refill(struct relay_rate *r, uint64_t now_ms)
{
    raise_rate(r, now_ms);
    uint64_t ms = now_ms - r->at_ms < 3600000 ? now_ms - r->at_ms : 3600000;
    r->tokens_micro += (int64_t)(ms * r->rate_milli); /* mails/1000 s * ms = 10^-6 mails */
    r->tokens_micro = r->tokens_micro < burst_micro(r) ? r->tokens_micro : burst_micro(r);
    r->at_ms = now_ms;
    if (now_ms >= r->pause_until_ms + FORGET_MS) {
        r->n_cuts = 0;
    }
}

void relay_rate_limit(struct relay_rate *r, uint64_t now_ms, uint64_t limit_milli)
{
    refill(r, now_ms);
    bool full = r->rate_milli == r->limit_milli;
    r->limit_milli = limit_milli;
    if (full || r->rate_milli > limit_milli) {
        r->rate_milli = limit_milli;
        r->raised_ms = now_ms;
    }
}

uint64_t relay_rate_wait_ms(struct relay_rate *r, uint64_t now_ms)
{
    if (now_ms < r->pause_until_ms) {
        return r->pause_until_ms - now_ms;
    }
    if (r->limit_milli == 0) {
        return 0;
    }
    refill(r, now_ms);
    if (r->tokens_micro >= MICRO) {
        return 0;
    }
    uint64_t missing = (uint64_t)(MICRO - r->tokens_micro);
    return (missing + r->rate_milli - 1) / r->rate_milli;
}

void relay_rate_take(struct relay_rate *r, uint64_t now_ms, uint32_t n)
{
    if (r->limit_milli == 0) {
        return;
    }
    refill(r, now_ms);
    r->tokens_micro -= (int64_t)n * MICRO;
}

void relay_rate_cut(struct relay_rate *r, uint64_t now_ms, uint64_t random)
{
    if (r->n_cuts > 0 && now_ms - r->cut_ms < CUT_MS) {
        return; /* answers to what was under way when it was cut */
    }
    uint64_t pause_ms = r->n_cuts < 8 ? (uint64_t)PAUSE_MS << r->n_cuts : PAUSE_MS_MAX;
    pause_ms = pause_ms < PAUSE_MS_MAX ? pause_ms : PAUSE_MS_MAX;
    if (r->limit_milli > 0) {
        refill(r, now_ms);
        r->rate_milli = r->rate_milli / 2 > RATE_MILLI_MIN ? r->rate_milli / 2 : RATE_MILLI_MIN;
        r->tokens_micro = r->tokens_micro < 0 ? r->tokens_micro : 0;
    }
    r->n_cuts++;
    r->cut_ms = r->raised_ms = now_ms;
    r->pause_until_ms = now_ms + pause_ms + random % (pause_ms / 4 + 1);
}
