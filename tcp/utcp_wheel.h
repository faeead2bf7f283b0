/*
 * utcp_wheel.h - timers: a hierarchical wheel of 1 ms ticks (Varghese, Lauck 1987, scheme 7).
 *
 * Three levels of 256 slots: 256 ms, 65 s, 4.6 h; what lies further away waits in the last slot and
 * is put again. A timer is an id; arming, moving and stopping are O(1). A timer never fires early
 * and at most one tick late, as long as utcp_wheel_next() is obeyed.
 */
#ifndef WIREPOST_UTCP_WHEEL_H
#define WIREPOST_UTCP_WHEEL_H

#include "tcp/utcp_pool.h"

#define UTCP_WHEEL_LEVELS 3u
#define UTCP_WHEEL_SLOTS  256u
#define UTCP_TICK_NEVER   UINT64_MAX

struct utcp_wheel {
    uint64_t now; /* every timer up to this tick has fired */
    uint32_t armed;
    uint64_t *expiry; /* by id: tick, UTCP_TICK_NEVER when not armed */
    uint16_t *slot;   /* by id: level * 256 + slot */
    struct utcp_link *links;
    struct utcp_list slots[UTCP_WHEEL_LEVELS * UTCP_WHEEL_SLOTS];
    uint64_t busy[UTCP_WHEEL_LEVELS][UTCP_WHEEL_SLOTS / 64]; /* bit set: slot not empty */
};

/* Memory for each timer. */
#define UTCP_WHEEL_BYTES_EACH (sizeof(uint64_t) + sizeof(uint16_t) + sizeof(struct utcp_link))

bool utcp_wheel_init(struct utcp_wheel *wheel, uint32_t ids);
void utcp_wheel_destroy(struct utcp_wheel *wheel);

/* Arms or moves timer `id`; `now` is the current tick. A tick that is over fires at now + 1. */
void utcp_wheel_arm(struct utcp_wheel *wheel, uint64_t now, uint32_t id, uint64_t tick);
void utcp_wheel_stop(struct utcp_wheel *wheel, uint32_t id);

/* When utcp_wheel_expire() has something to do next: never later than the first timer, sometimes
 * earlier (when timers come down a level). UTCP_TICK_NEVER when nothing is armed. */
uint64_t utcp_wheel_next(const struct utcp_wheel *wheel);

/* Moves time on to `now` and returns a timer that is due (it is then not armed any more); 0 when
 * there is none left. Call it until it returns 0. */
uint32_t utcp_wheel_expire(struct utcp_wheel *wheel, uint64_t now);

#endif
