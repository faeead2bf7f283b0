/* cusum.c - see cusum.h. Weights: 2^20 x ln, rounded. */
#include "strategies/cusum.h"

#include "strategies/fx.h"

const struct cusum_rule CUSUM_HARD_BOUNCE = {-43697, 1151978, 9940500};
const struct cusum_rule CUSUM_DEFERRAL = {-138475, 1687618, 11198792};
const struct cusum_rule CUSUM_REPUTATION = {-19085, 2414435, 10873733};
const struct cusum_rule CUSUM_COMPLAINT = {-1575, 1453635, 8199864};

bool cusum_feed(struct cusum *c, const struct cusum_rule *rule, uint32_t n_good, uint32_t n_bad)
{
    int64_t s = (int64_t)c->s + (int64_t)n_good * rule->good + (int64_t)n_bad * rule->bad;

    if (s <= 0) {
        cusum_reset(c);
        return false;
    }
    c->s = s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
    c->n = fx_add32(c->n, fx_add32(n_good, n_bad));
    c->n_bad = fx_add32(c->n_bad, n_bad);
    return n_bad > 0 && c->s >= rule->alarm;
}

void cusum_reset(struct cusum *c)
{
    *c = (struct cusum){0};
}

void window50_feed(struct window50 *w, uint32_t n_good, uint32_t n_bad)
{
    uint64_t n = (uint64_t)n_good + n_bad;

    if (n == 0)
        return;
    if (n >= WINDOW_SIZE) {
        w->n = WINDOW_SIZE;
        w->bad_q8 = (uint16_t)((uint64_t)n_bad * WINDOW_SIZE * 256 / n);
        return;
    }
    uint32_t keep = fx_min32(w->n, WINDOW_SIZE - (uint32_t)n);
    uint32_t kept_bad = w->n == 0 ? 0 : (uint32_t)w->bad_q8 * keep / w->n;
    w->n = (uint16_t)(keep + n);
    w->bad_q8 = (uint16_t)(kept_bad + n_bad * 256);
}
