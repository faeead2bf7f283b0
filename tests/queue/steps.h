/* steps.h - an operation of the queue, what it must answer, and the invariants after it. Items are
 * told apart by their message id. */
#ifndef WIREPOST_TESTS_QUEUE_STEPS_H
#define WIREPOST_TESTS_QUEUE_STEPS_H

#include "tests/dataplane/tap.h"
#include "tests/queue/queue_check.h"

#define DUE 1000 /* a time that has come */

static inline struct queue *new_queue(uint32_t in_flight_per_site)
{
    struct queue *q = queue_new(in_flight_per_site);
    ck_assert_ptr_nonnull(q);
    return q;
}

static inline void add(struct queue *q, uint32_t sender, const char *domain, uint64_t id,
                       int64_t due_ms)
{
    ck_assert(queue_add(q, sender, domain, id, 0, due_ms));
    queue_check(q);
}

static inline struct queue_item adopt(struct queue *q, uint32_t sender, const char *domain,
                                      uint64_t id)
{
    struct queue_item item;
    ck_assert(queue_add_in_flight(q, sender, domain, id, 0, &item));
    queue_check(q);
    return item;
}

static inline struct queue_item next(struct queue *q)
{
    struct queue_item item;
    ck_assert(queue_next(q, DUE, &item));
    queue_check(q);
    return item;
}

static inline void expect(struct queue *q, uint64_t id)
{
    ck_assert_uint_eq(next(q).message_id, id);
}

static inline void expect_none(struct queue *q)
{
    struct queue_item item;
    ck_assert(!queue_next(q, DUE, &item));
    queue_check(q);
}

static inline void finish(struct queue *q, const struct queue_item *item)
{
    queue_finish(q, item);
    queue_check(q);
}

static inline void again(struct queue *q, const struct queue_item *item, int64_t due_ms)
{
    queue_again(q, item, due_ms);
    queue_check(q);
}

static inline void put_back(struct queue *q, const struct queue_item *item)
{
    queue_put_back(q, item);
    queue_check(q);
}

static inline void resume(struct queue *q)
{
    queue_resume(q);
    queue_check(q);
}

#endif
