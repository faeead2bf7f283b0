/*
 * backoff.h - when to try again (RFC 5321 4.5.4.1; 5 min first, for greylisting, RFC 6647). Pure.
 */
#ifndef WIREPOST_BACKOFF_H
#define WIREPOST_BACKOFF_H

#include <stdint.h>

#define BACKOFF_STEPS_MAX 16u

struct backoff {
    uint32_t step_s[BACKOFF_STEPS_MAX]; /* the last one repeats */
    uint32_t n_steps;                   /* >= 1 */
    uint32_t jitter_percent;            /* 0..100: the wait is step * (1 +- jitter) */
};

/* Milliseconds to wait after `attempts` (>= 1) failed ones; `random` is any number. Never 0. */
int64_t backoff_ms(const struct backoff *backoff, uint32_t attempts, uint64_t random);

#endif
