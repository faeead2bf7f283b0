/*
 * dp_timers.h - one deadline for each of n numbers, and which is due next: an indexed binary heap.
 * Nothing is allocated after dp_timers_init().
 *
 * Invariant: each number stands in the heap at most once, where[] says at which place, and no
 * parent is due later than its children.
 */
#ifndef WIREPOST_DP_TIMERS_H
#define WIREPOST_DP_TIMERS_H

#include "tcp/base.h"

struct dp_timers {
    uint64_t *due_ns; /* per number */
    uint32_t *where;  /* per number: its place in heap, or UINT32_MAX */
    uint32_t *heap;   /* numbers */
    uint32_t n;
};

/* For the numbers 0..count-1, none of them set. False: no memory. */
bool dp_timers_init(struct dp_timers *t, uint32_t count);
void dp_timers_fini(struct dp_timers *t);

/* Sets or moves a deadline; TIME_NEVER_NS takes it out. */
void dp_timers_set(struct dp_timers *t, uint32_t number, uint64_t due_ns);

/* The earliest deadline, TIME_NEVER_NS without one. */
uint64_t dp_timers_next_ns(const struct dp_timers *t);

/* Takes out one that is due at now_ns; false when there is none. */
bool dp_timers_pop(struct dp_timers *t, uint64_t now_ns, uint32_t *ret_number);

#endif
