/*
 * queue.h - what is to be sent next. Pure: the time is a parameter; nothing is stored here that the
 * spool does not have.
 *
 * An item is one group of recipients of a message at one domain: what one job carries. Items of one
 * sender for one domain are a flow: a heap ordered by the time they are due. What cannot go yet
 * costs nothing:
 *
 *     EMPTY     no waiting item
 *     WAITING   the first item is due later: in the heap of times
 *     BLOCKED   an item is due, but its domain has in_flight_per_site jobs running: in the domain's
 * list READY     an item is due and may start: in its sender's list
 *
 * Senders take turns, and so do the flows of a sender, so that neither a sender with a million
 * messages nor a domain with a long backlog keeps others waiting. A paused sender (no lane has room
 * for it) has its flows READY but is passed over until queue_resume().
 *
 * Every operation is O(log n). Memory: 24 bytes an item and a fixed amount for each flow, domain
 * and sender.
 */
#ifndef WIREPOST_QUEUE_H
#define WIREPOST_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;

struct queue_item {
    uint64_t message_id;
    uint32_t group; /* which recipients of the message at this domain */
    uint32_t flow;  /* the queue's own */
    int64_t due_ms; /* Unix time when it was or is due */
};

/* Null: no memory. in_flight_per_site >= 1. */
struct queue *queue_new(uint32_t in_flight_per_site);
void queue_free(struct queue *q);

/* Adds a waiting item. `sender` is a small number (index of the sender in the configuration).
 * False: no memory. */
bool queue_add(struct queue *q, uint32_t sender, const char *domain, uint64_t message_id,
               uint32_t group, int64_t due_ms);
/* Adds one that runs already (found in a lane after a restart). It may take its domain over the
 * limit. */
bool queue_add_in_flight(struct queue *q, uint32_t sender, const char *domain, uint64_t message_id,
                         uint32_t group, struct queue_item *ret_item);

/* The next item to start at now_ms; it is in flight then. False: none. */
bool queue_next(struct queue *q, int64_t now_ms, struct queue_item *ret_item);

/* An item in flight: tried, again at due_ms · done with · could not be started: it is due as before
 * and its sender is paused until queue_resume(). queue_again() never fails: room was kept for what
 * is in flight. */
void queue_again(struct queue *q, const struct queue_item *item, int64_t due_ms);
void queue_finish(struct queue *q, const struct queue_item *item);
void queue_put_back(struct queue *q, const struct queue_item *item);
void queue_resume(struct queue *q);

/* When queue_next() may give something although nothing else happens: Unix time in ms; INT64_MAX:
 * never. */
int64_t queue_deadline_ms(const struct queue *q);

const char *queue_domain(const struct queue *q,
                         const struct queue_item *item); /* lives as long as q */
uint32_t queue_sender(const struct queue *q, const struct queue_item *item);
size_t queue_waiting(const struct queue *q);
size_t queue_in_flight(const struct queue *q);

#endif
