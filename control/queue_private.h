/*
 * queue_private.h - between queue.c (operations), queue_flow.c (flows, domains, senders) and
 * queue_heap.c (heaps). See queue.h for what the states mean.
 *
 *     EMPTY ---- queue.c push() ----------------------------> WAITING
 *     WAITING -- queue.c wake_due() ------------------------> READY (at the end)
 *     READY ---- queue.c queue_next(), no place is free ----> BLOCKED (at the end)
 *     BLOCKED -- queue_flow.c queue_domain_offer() ---------> PROMISED; READY if its sender is
 *                                                            paused (both at the front)
 *     PROMISED - queue_flow.c queue_sender_pause() ---------> READY (where it stands)
 *     PROMISED - queue.c queue_next(), see 4. --------------> BLOCKED (at the end)
 *     READY, PROMISED -- queue.c take() --------------------> READY (at the end), WAITING or EMPTY
 *
 * Invariants, executed by tests/queue/queue_check.c after each operation:
 *
 *  1. A flow exists while it has an item that waits or is in flight; a domain while it has a flow.
 *     There is one flow for a sender and a domain, and one domain for a name.
 *  2. A flow is EMPTY exactly when it has no waiting item. Its array has room for all its items,
 *     waiting and in flight, and is in heap order; the heap of times has room for all flows.
 *  3. A flow is in exactly one place: WAITING in the heap of times, with the due time of its first
 *     item; BLOCKED in its domain's list; READY and PROMISED in its sender's, PROMISED first.
 *  4. in_flight + promised of a domain is at most the limit, unless items were adopted
 *     (queue_add_in_flight). Such a domain takes back its promises one by one as their flows get
 *     their turn, and starts nothing until it is below the limit again.
 *  5. A domain with a place that is neither taken nor promised has no BLOCKED flow.
 *  6. A paused sender has no PROMISED flow.
 *  7. A sender is in the list of turns exactly when it is not paused and has a flow in its list; in
 *     the list of paused senders exactly when it is paused.
 *  8. From 5. and 6.: when no sender is in the list of turns, each due item is of a paused sender
 *     or of a full domain.
 *  9. The counts of queue, domains and index are the sums of what they count.
 */
#ifndef WIREPOST_QUEUE_PRIVATE_H
#define WIREPOST_QUEUE_PRIVATE_H

#include "control/queue.h"

/* A list: its head and its members are of this type. What is in no list is a head of nothing. */
struct queue_ring {
    struct queue_ring *next, *previous;
};

static inline void queue_ring_init(struct queue_ring *ring)
{
    ring->next = ring->previous = ring;
}

static inline bool queue_ring_empty(const struct queue_ring *ring)
{
    return ring->next == ring;
}

static inline void queue_ring_remove(struct queue_ring *member)
{
    member->previous->next = member->next;
    member->next->previous = member->previous;
    queue_ring_init(member);
}

static inline void queue_ring_add_after(struct queue_ring *at, struct queue_ring *member)
{
    member->previous = at;
    member->next = at->next;
    at->next->previous = member;
    at->next = member;
}

/* Of a hash table; the first member of what is in it. */
struct queue_node {
    struct queue_node *next;
    uint64_t hash;
};

/* Linear hashing: grows and shrinks by one bucket at a time, so no operation has to move
 * everything. mask + 1 is the smallest power of two >= n_buckets. */
struct queue_index {
    struct queue_node **buckets;
    size_t n_buckets, capacity, mask;
    size_t n; /* nodes */
};

struct queue_entry {
    uint64_t message_id;
    int64_t due_ms;
    uint32_t group;
};

enum flow_state { FLOW_EMPTY, FLOW_WAITING, FLOW_BLOCKED, FLOW_READY, FLOW_PROMISED };

struct queue_domain {
    struct queue_node node;
    struct queue_ring blocked; /* flows */
    uint32_t in_flight, promised;
    uint32_t n_flows;
    char name[];
};

struct queue_flow {
    struct queue_node node;
    struct queue_ring ring; /* in sender.ready or domain.blocked */
    struct queue_domain *domain;
    struct queue_entry *heap;
    uint32_t n_waiting, in_flight, capacity;
    uint32_t sender;
    uint32_t timer; /* position in queue.timers when WAITING */
    uint8_t state;  /* enum flow_state */
};

struct queue_sender {
    struct queue_ring ring;  /* in queue.turns or queue.paused */
    struct queue_ring ready; /* flows */
    bool paused;
};

struct queue_timer {
    int64_t due_ms;
    struct queue_flow *flow;
};

struct queue {
    uint32_t limit; /* in flight per domain */
    size_t n_waiting, in_flight;
    struct queue_index flows, domains;
    struct queue_sender **senders; /* null where there was none; kept until queue_free() */
    uint32_t n_senders;
    struct queue_ring turns, paused; /* senders */
    struct queue_timer *timers;      /* heap of the WAITING flows */
    size_t n_timers, timers_capacity;
};

static inline struct queue_sender *queue_first_sender(const struct queue_ring *head)
{
    return (struct queue_sender *)((char *)head->next - offsetof(struct queue_sender, ring));
}

static inline struct queue_flow *queue_flow_of(struct queue_ring *ring)
{
    return (struct queue_flow *)((char *)ring - offsetof(struct queue_flow, ring));
}

/* ---- queue_heap.c ---- */

/* Room for one more item. False: no memory. */
bool queue_heap_reserve(struct queue_flow *flow);
/* Gives back what is far more than the items need. */
void queue_heap_trim(struct queue_flow *flow);
void queue_heap_push(struct queue_flow *flow, const struct queue_entry *entry);
struct queue_entry queue_heap_pop(struct queue_flow *flow);

/* Room for n flows in the heap of times, or back to that. False: no memory. */
bool queue_timers_reserve(struct queue *q, size_t n);
void queue_timers_trim(struct queue *q, size_t n);
void queue_timer_add(struct queue *q, struct queue_flow *flow);
/* Takes the first one out: no flow leaves the heap of times before it is due. */
void queue_timer_pop(struct queue *q);
/* Its first item is due earlier than before. */
void queue_timer_moved(struct queue *q, struct queue_flow *flow);

/* ---- queue_flow.c ---- */

bool queue_index_init(struct queue_index *index);
/* Frees the table and each node, after fn(node) when fn is given. */
void queue_index_free(struct queue_index *index, void (*fn)(struct queue_node *));

/* The flow, made when there is none, with room for one more item; null: no memory. */
struct queue_flow *queue_flow_get(struct queue *q, uint32_t sender, const char *domain);
/* Frees it (and its domain) when nothing waits and nothing is in flight. */
void queue_flow_release(struct queue *q, struct queue_flow *flow);
/* The one place that writes a flow's state, with its place in lists and heap. */
void queue_flow_enter(struct queue *q, struct queue_flow *flow, enum flow_state state);
bool queue_domain_has_place(const struct queue *q, const struct queue_domain *domain);
/* Free places go to the flows that were blocked first. */
void queue_domain_offer(struct queue *q, struct queue_domain *domain);
/* The sender goes behind all others that are ready. */
void queue_sender_end_turn(struct queue *q, struct queue_sender *sender);
void queue_sender_pause(struct queue *q, struct queue_sender *sender);
void queue_sender_resume(struct queue *q, struct queue_sender *sender);

#endif
