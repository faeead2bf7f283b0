/*
 * fx.h - integer arithmetic of the strategies: no floating point anywhere, so that the same events
 * give the same decisions on every compiler and at every optimisation.
 *
 * Q16: 65536 is one. PPM: 1,000,000 is one. Q20: the logarithms of the detectors.
 */
#ifndef WIREPOST_STRATEGIES_FX_H
#define WIREPOST_STRATEGIES_FX_H

#include <stdint.h>

#define FX_ONE 65536u
#define PPM    1000000

#define SECOND_MS UINT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)
#define NEVER_MS  UINT64_MAX

/* value x num / den without losing the upper half; saturates at UINT64_MAX. den > 0. */
uint64_t fx_scale(uint64_t value, uint64_t num, uint64_t den);

/* How many whole 64ths of a half-life lie between *since_ms and now_ms; moves *since_ms by exactly
 * these, so that many short steps forget as much as one long step. */
uint64_t fx_decay_steps(uint64_t *since_ms, uint64_t now_ms, uint64_t half_life_ms);

/* value x 2^(-steps/64), rounded down. */
uint64_t fx_decay(uint64_t value, uint64_t steps);

/* Share of the final opens that have come at this age, Q16: F(t) = Phi((ln t - ln 5.5 h) / 1.87),
 * straight lines between 22 points up to 24 h; older counts as 24 h. */
uint32_t fx_open_share(uint64_t age_ms);

/* Largest integer of which the square is not above value. */
uint32_t fx_sqrt(uint64_t value);

/* FNV-1a, 64 bits, chained: start with FX_HASH. */
#define FX_HASH UINT64_C(14695981039346656037)
uint64_t fx_hash(uint64_t hash, const void *bytes, uint64_t n_bytes);

/* Spreads the bits of a key for a table. */
uint64_t fx_mix(uint64_t key);

static inline uint32_t fx_sub32(uint32_t a, uint32_t b)
{
    return a > b ? a - b : 0;
}

static inline uint64_t fx_sub64(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static inline uint32_t fx_min32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint32_t fx_max32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Saturating, for counters that a caller's numbers feed. */
static inline uint32_t fx_add32(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static inline uint32_t fx_clamp32(uint64_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

#endif
