/* backoff.c - see backoff.h. */
#include "control/backoff.h"

#include "tcp/base.h"

int64_t backoff_ms(const struct backoff *backoff, uint32_t attempts, uint64_t random)
{
    INVARIANT(backoff->n_steps >= 1 && backoff->n_steps <= BACKOFF_STEPS_MAX);
    INVARIANT(backoff->jitter_percent <= 100 && attempts >= 1);
    uint32_t step = attempts < backoff->n_steps ? attempts - 1 : backoff->n_steps - 1;
    int64_t wait_ms = (int64_t)backoff->step_s[step] * 1000;
    int64_t spread_ms = wait_ms * backoff->jitter_percent / 100;
    if (spread_ms > 0) {
        wait_ms += (int64_t)(random % (uint64_t)(2 * spread_ms + 1)) - spread_ms;
    }
    return wait_ms > 0 ? wait_ms : 1;
}
