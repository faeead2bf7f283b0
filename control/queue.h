/*
 * queue.h - what is to be sent next. Pure: the time is a parameter; nothing is stored here that the
 * spool does not have.
 *
 * An item is one group of recipients of a message at one domain: what one job carries. Items of one
 * sender for one domain are a flow: a heap ordered by the time they are due (the older message
 * first when that is equal). What cannot go yet costs nothing:
 *
 *     EMPTY     no waiting item
 *     WAITING   the first item is due later: in the heap of times
 *     BLOCKED   an item is due, but no place of its domain is free: in the domain's list
 *     READY     an item is due and may start: in its sender's list
 *     PROMISED  the same, and a place of the domain is kept for it: at the front of that list
 *
 * A domain has in_flight_per_site places, whoever the senders are. Senders take turns, and so do
 * the flows of a sender, so that neither a sender with a million messages nor a domain with a long
 * backlog keeps others waiting. Flows that compete for the places of a domain take turns as well: a
 * place that becomes free is promised to the flow that was blocked first, so that a sender with
 * many other domains gets its share beside one that writes to this domain only.
 *
 * A paused sender (no lane has room for it) is passed over until queue_resume(), and no place is
 * kept for it meanwhile: places do not stay empty while somebody else could use them. The price: a
 * sender that never has room at the moment when a place becomes free waits for as long as others
 * keep that domain full.
 *
 * Every operation is O(log n) amortised: a flow that becomes due is moved once for that, in the
 * queue_next() that notices (100,000 at once, as after a restart, hold that call up for 13 ms), and
 * queue_resume() takes a step for each paused sender. Memory is given back when flows and domains
 * end. An item takes 24 bytes in an array that grows by half, so 24 to 36; a flow with a domain of
 * its own and one item takes about 250 bytes. tests/queue/bench_queue.c prints these figures
 * (Xeon, model 167, one core, November 2026, gcc -O3).
 *
 * Left out on purpose: the hash of the names is not keyed. Whoever can inject mail could choose
 * names that collide, and adds would become slow for everybody.
 */
#ifndef WIREPOST_QUEUE_H
#define WIREPOST_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;
struct queue_flow;

#define QUEUE_SENDERS_MAX 65536u

struct queue_item {
    uint64_t message_id;
    uint32_t group;          /* which recipients of the message at this domain */
    struct queue_flow *flow; /* the queue's own; valid as long as the item is in flight */
    int64_t due_ms;          /* Unix time when it was or is due */
};

/* Null: no memory. in_flight_per_site >= 1. */
struct queue *queue_new(uint32_t in_flight_per_site);
void queue_free(struct queue *q);

/* Adds a waiting item. `sender` is a small number (index of the sender in the configuration, below
 * QUEUE_SENDERS_MAX). `domain` is copied; two are the same when their bytes are. False: no memory,
 * and nothing has changed. */
bool queue_add(struct queue *q, uint32_t sender, const char *domain, uint64_t message_id,
               uint32_t group, int64_t due_ms);
/* Adds one that runs already (found in a lane after a restart). It may take its domain over the
 * limit; its due_ms is 0. */
bool queue_add_in_flight(struct queue *q, uint32_t sender, const char *domain, uint64_t message_id,
                         uint32_t group, struct queue_item *ret_item);

/* The next item to start at now_ms; it is in flight then. False: none. What was due once stays due
 * when the clock is set back. */
bool queue_next(struct queue *q, int64_t now_ms, struct queue_item *ret_item);

/* An item in flight: tried, again at due_ms · done with · could not be started: it is due as before
 * and its sender is paused until queue_resume(). None of them fails: room was kept for what is in
 * flight. */
void queue_again(struct queue *q, const struct queue_item *item, int64_t due_ms);
void queue_finish(struct queue *q, const struct queue_item *item);
void queue_put_back(struct queue *q, const struct queue_item *item);
void queue_resume(struct queue *q);

/* When queue_next() may give something although nothing else happens: Unix time in ms; INT64_MAX:
 * never. Past when a sender that is not paused has a READY flow. Once queue_next() has said that
 * there is none it is the time when the next flow becomes due; that flow gives nothing after all
 * when its sender is paused or its domain full, and is not reported again. */
int64_t queue_deadline_ms(const struct queue *q);

/* Of an item in flight. The name lives as long as the item is in flight. */
const char *queue_domain(const struct queue *q, const struct queue_item *item);
uint32_t queue_sender(const struct queue *q, const struct queue_item *item);
/* Items of its flow that wait. */
uint32_t queue_behind(const struct queue *q, const struct queue_item *item);
size_t queue_waiting(const struct queue *q);
size_t queue_in_flight(const struct queue *q);

#endif
