/*
 * chan_ring.h - the single-producer, single-consumer rings of a channel.
 *
 * head and tail run freely over 32 bits; head - tail is the fill. The producer stores head with
 * release after the entry is written, the consumer stores tail with release after it was read. Both
 * indexes stand in shared memory and may hold anything when the other side is broken: a fill above
 * the size is treated as full by the producer and as empty by the consumer.
 */
#ifndef WIREPOST_CHAN_RING_H
#define WIREPOST_CHAN_RING_H

#include "dataplane/channel.h"

static inline bool chan_ring_push(struct chan_ring *ring, uint32_t size, uint32_t value)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (head - tail >= size) {
        return false;
    }
    ring->entries[head & (size - 1)] = value;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

static inline bool chan_ring_pop(struct chan_ring *ring, uint32_t size, uint32_t *ret_value)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (head == tail || head - tail > size) {
        return false;
    }
    *ret_value = ring->entries[tail & (size - 1)];
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

static inline bool chan_ring_empty(const struct chan_ring *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_acquire) ==
           atomic_load_explicit(&ring->tail, memory_order_relaxed);
}

/* Consumer: forgets what is in the ring now. */
static inline void chan_ring_skip(struct chan_ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    atomic_store_explicit(&ring->tail, head, memory_order_release);
}

#endif
