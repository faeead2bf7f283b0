/*
 * chan_arena.h - which parts of a channel's arena are in use. Control's private bookkeeping: it
 * stands in ordinary memory and never touches the arena's bytes.
 *
 * Free ranges are kept ordered by offset and coalesced; allocation is next-fit. Ranges are handed
 * out in whole CHAN_ARENA_ALIGN units, so each is aligned for anything. After a restart of control
 * the arena is rebuilt by chan_arena_take() of each range that a slot still uses.
 *
 * Invariants: free ranges are ascending, disjoint, not adjacent, non-empty, and inside the arena.
 */
#ifndef WIREPOST_CHAN_ARENA_H
#define WIREPOST_CHAN_ARENA_H

#include "dataplane/channel.h"

#define CHAN_ARENA_ALIGN 64u

struct chan_arena {
    uint64_t bytes; /* size, a multiple of CHAN_ARENA_ALIGN */
    uint64_t free_bytes;
    struct chan_range *holes; /* ordered by offset */
    uint32_t n_holes;
    uint32_t cap_holes;
    uint32_t n_ranges; /* handed out, at least: holes never number more than n_ranges + 1 */
    uint32_t next;     /* where the next search begins */
};

/* Everything is free. False: no memory. bytes is rounded down to CHAN_ARENA_ALIGN. */
bool chan_arena_init(struct chan_arena *arena, uint64_t bytes);
void chan_arena_fini(struct chan_arena *arena);

/* Takes len bytes (0 gives the empty range {0, 0}). False when no hole is large enough (wait for
 * outcomes) or there is no memory for the bookkeeping; ret_range->len is len, not rounded. */
bool chan_arena_alloc(struct chan_arena *arena, uint64_t len, struct chan_range *ret_range);

/* Gives a range of chan_arena_alloc() or chan_arena_take() back, whole, once. */
void chan_arena_free(struct chan_arena *arena, struct chan_range range);

/* Marks a range as used when the arena is rebuilt; parts that are in use already stay so, so slots
 * that share a body may each take it (give it back once). False when the range does not lie inside
 * the arena or does not begin on CHAN_ARENA_ALIGN: the slot is damaged. */
bool chan_arena_take(struct chan_arena *arena, struct chan_range range);

#endif
