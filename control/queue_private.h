/* queue_private.h - between queue.c (operations), queue_flow.c (flows, domains, senders) and
 * queue_heap.c. */
#ifndef WIREPOST_QUEUE_PRIVATE_H
#define WIREPOST_QUEUE_PRIVATE_H

#include "control/queue.h"

#define QUEUE_NONE UINT32_MAX

struct queue_entry {
    uint64_t message_id;
    int64_t due_ms;
    uint32_t group;
    uint32_t pad;
};

enum flow_state { FLOW_EMPTY, FLOW_WAITING, FLOW_BLOCKED, FLOW_READY };

/* Items of one sender for one domain. */
struct queue_flow {
    struct queue_entry *heap; /* by due_ms; capacity >= count + in_flight */
    uint32_t count, capacity, in_flight;
    uint32_t sender, domain;
    uint8_t state; /* enum flow_state */
    uint32_t next,
        previous;       /* in the ready ring of its sender, or the blocked ring of its domain */
    uint32_t timer;     /* position in queue.timers when WAITING */
    uint32_t hash_next; /* flows of one bucket; or the next free flow */
};

struct queue_domain {
    char *name; /* null: free */
    uint32_t in_flight, n_flows;
    uint32_t blocked;   /* head of its ring of blocked flows */
    uint32_t hash_next; /* or the next free domain */
};

struct queue_sender {
    uint32_t ready; /* head of its ring of ready flows */
    bool paused;
    bool in_ring;
    uint32_t next, previous; /* in the ring of senders that have a ready flow and are not paused */
};

struct queue {
    uint32_t limit; /* in flight per domain */
    size_t waiting, in_flight;
    struct queue_flow *flows;
    uint32_t n_flows, cap_flows, free_flow, live_flows;
    struct queue_domain *domains;
    uint32_t n_domains, cap_domains, free_domain, live_domains;
    struct queue_sender *senders;
    uint32_t n_senders;
    uint32_t turn;                       /* sender whose turn it is: head of the ring */
    uint32_t *flow_index, *domain_index; /* buckets; sizes are powers of two */
    uint32_t flow_index_size, domain_index_size;
    uint32_t *timers; /* heap of WAITING flows by their first item's due_ms; cap_flows long */
    uint32_t n_timers;
};

/* ---- queue_heap.c ---- */

bool queue_heap_reserve(struct queue_flow *flow, uint32_t entries);
void queue_heap_push(struct queue_flow *flow, const struct queue_entry *entry);
struct queue_entry queue_heap_pop(struct queue_flow *flow);
void queue_timer_add(struct queue *q, uint32_t flow);
void queue_timer_remove(struct queue *q, uint32_t flow);
void queue_timer_moved(struct queue *q, uint32_t flow); /* its first due_ms has changed */

/* ---- queue_flow.c ---- */

/* The flow, made when there is none; QUEUE_NONE: no memory. */
uint32_t queue_flow_get(struct queue *q, uint32_t sender, const char *domain);
/* Frees it (and its domain) when nothing waits and nothing is in flight. */
void queue_flow_release(struct queue *q, uint32_t flow);
/* The one place that writes a flow's state, with its place in rings and heap. */
void queue_flow_enter(struct queue *q, uint32_t flow, enum flow_state state);
void queue_sender_pause(struct queue *q, uint32_t sender, bool paused);
/* The sender whose turn it is goes to the end of the ring. */
void queue_sender_turn(struct queue *q);

#endif
