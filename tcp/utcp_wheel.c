/* utcp_wheel.c - the timer wheel. */
#include "tcp/utcp_wheel.h"

#define SLOT_BITS 8u
#define SLOT_MASK (UTCP_WHEEL_SLOTS - 1u)
#define REACH     (UINT64_C(1) << (SLOT_BITS * UTCP_WHEEL_LEVELS))

bool utcp_wheel_init(struct utcp_wheel *wheel, uint32_t ids)
{
    wheel->expiry = utcp_memory_new((size_t)ids + 1, sizeof *wheel->expiry);
    wheel->slot = utcp_memory_new((size_t)ids + 1, sizeof *wheel->slot);
    wheel->links = utcp_memory_new((size_t)ids + 1, sizeof *wheel->links);
    if (wheel->expiry == NULL || wheel->slot == NULL || wheel->links == NULL)
        return false;
    for (uint32_t id = 0; id <= ids; id++)
        wheel->expiry[id] = UTCP_TICK_NEVER;
    return true;
}

void utcp_wheel_destroy(struct utcp_wheel *wheel)
{
    free(wheel->expiry);
    free(wheel->slot);
    free(wheel->links);
}

/* Puts id into the slot for `tick`, which lies after wheel->now. */
static void wheel_put(struct utcp_wheel *wheel, uint32_t id, uint64_t tick)
{
    uint64_t delta = tick - wheel->now;
    uint64_t place = tick;
    uint32_t level = 0;
    uint32_t slot;

    if (delta >= REACH) {
        delta = REACH - 1;
        place = wheel->now + delta;
    }
    while (delta >> (SLOT_BITS * (level + 1)) != 0)
        level++;
    slot = (uint32_t)(place >> (SLOT_BITS * level)) & SLOT_MASK;
    wheel->slot[id] = (uint16_t)(level * UTCP_WHEEL_SLOTS + slot);
    wheel->busy[level][slot / 64] |= UINT64_C(1) << (slot % 64);
    utcp_list_push(&wheel->slots[wheel->slot[id]], wheel->links, id);
}

static void wheel_unlink(struct utcp_wheel *wheel, uint32_t id)
{
    const uint32_t at = wheel->slot[id];
    const uint32_t slot = at & SLOT_MASK;

    utcp_list_remove(&wheel->slots[at], wheel->links, id);
    if (wheel->slots[at].head == 0)
        wheel->busy[at / UTCP_WHEEL_SLOTS][slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

void utcp_wheel_arm(struct utcp_wheel *wheel, uint64_t now, uint32_t id, uint64_t tick)
{
    utcp_wheel_stop(wheel, id);
    if (wheel->armed == 0 && now > wheel->now)
        wheel->now = now;
    if (tick <= wheel->now)
        tick = wheel->now + 1;
    wheel->expiry[id] = tick;
    wheel->armed++;
    wheel_put(wheel, id, tick);
}

void utcp_wheel_stop(struct utcp_wheel *wheel, uint32_t id)
{
    if (wheel->expiry[id] == UTCP_TICK_NEVER)
        return;
    wheel_unlink(wheel, id);
    wheel->expiry[id] = UTCP_TICK_NEVER;
    wheel->armed--;
}

/* Slots from `slot` on (round the wheel, itself last) to the first that is not empty; 0: none. */
static uint32_t slots_to_busy(const uint64_t busy[UTCP_WHEEL_SLOTS / 64], uint32_t slot)
{
    for (uint32_t step = 1; step <= UTCP_WHEEL_SLOTS;) {
        const uint32_t at = (slot + step) & SLOT_MASK;
        const uint64_t rest = busy[at / 64] >> (at % 64);

        if (rest != 0) {
            const uint32_t found = step + (uint32_t)__builtin_ctzll(rest);

            return found <= UTCP_WHEEL_SLOTS ? found : 0;
        }
        step += 64 - at % 64;
    }
    return 0;
}

/* The tick at which the next busy slot of `level` is opened. */
static uint64_t level_next(const struct utcp_wheel *wheel, uint32_t level)
{
    const uint64_t at = wheel->now >> (SLOT_BITS * level);
    const uint32_t steps = slots_to_busy(wheel->busy[level], (uint32_t)at & SLOT_MASK);

    return steps == 0 ? UTCP_TICK_NEVER : (at + steps) << (SLOT_BITS * level);
}

uint64_t utcp_wheel_next(const struct utcp_wheel *wheel)
{
    uint64_t next = UTCP_TICK_NEVER;

    if (wheel->armed == 0)
        return next;
    for (uint32_t level = 0; level < UTCP_WHEEL_LEVELS; level++) {
        const uint64_t tick = level_next(wheel, level);

        if (tick < next)
            next = tick;
    }
    return next;
}

/* Deals the timers of the slots that open at wheel->now to the levels below. */
static void wheel_cascade(struct utcp_wheel *wheel)
{
    for (uint32_t level = UTCP_WHEEL_LEVELS - 1; level > 0; level--) {
        const uint64_t low = (UINT64_C(1) << (SLOT_BITS * level)) - 1;
        const uint32_t slot = (uint32_t)(wheel->now >> (SLOT_BITS * level)) & SLOT_MASK;
        struct utcp_list *list = &wheel->slots[level * UTCP_WHEEL_SLOTS + slot];
        struct utcp_list moved = *list;
        uint32_t id;

        if ((wheel->now & low) != 0)
            continue;
        *list = (struct utcp_list){0};
        wheel->busy[level][slot / 64] &= ~(UINT64_C(1) << (slot % 64));
        while ((id = utcp_list_pop(&moved, wheel->links)) != 0)
            wheel_put(wheel, id, wheel->expiry[id]);
    }
}

/* A due timer of the slot of wheel->now, or 0. */
static uint32_t wheel_take(struct utcp_wheel *wheel)
{
    const uint32_t id = wheel->slots[wheel->now & SLOT_MASK].head;

    if (id != 0)
        utcp_wheel_stop(wheel, id);
    return id;
}

uint32_t utcp_wheel_expire(struct utcp_wheel *wheel, uint64_t now)
{
    uint32_t id = wheel_take(wheel);

    while (id == 0) {
        const uint64_t next = utcp_wheel_next(wheel);

        if (next > now) {
            if (now > wheel->now)
                wheel->now = now;
            return 0;
        }
        wheel->now = next;
        wheel_cascade(wheel);
        id = wheel_take(wheel);
    }
    return id;
}
