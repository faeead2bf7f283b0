/* queue_heap.c - binary heaps: of a flow's items, and of the flows that wait. See queue_private.h.
 */
#include "control/queue_private.h"

#include "tcp/base.h"

#define TIMERS_MIN 64u

/* ---- items of a flow --------------------------------------------------------------------- */

/* Equal times go by message, so that older ones go first. */
static bool before(const struct queue_entry *a, const struct queue_entry *b)
{
    return a->due_ms != b->due_ms           ? a->due_ms < b->due_ms
           : a->message_id != b->message_id ? a->message_id < b->message_id
                                            : a->group < b->group;
}

static bool resize(struct queue_flow *flow, uint32_t capacity)
{
    struct queue_entry *heap = realloc(flow->heap, capacity * sizeof heap[0]);
    if (!heap) {
        return false;
    }
    flow->heap = heap;
    flow->capacity = capacity;
    return true;
}

bool queue_heap_reserve(struct queue_flow *flow)
{
    uint32_t n = flow->n_waiting + flow->in_flight;
    if (n < flow->capacity) {
        return true;
    }
    return n < UINT32_MAX / 2 && resize(flow, n + n / 2 + 1);
}

void queue_heap_trim(struct queue_flow *flow)
{
    uint32_t n = flow->n_waiting + flow->in_flight;
    if (n > 0 && n < flow->capacity / 4) {
        (void)resize(flow, flow->capacity / 2);
    }
}

void queue_heap_push(struct queue_flow *flow, const struct queue_entry *entry)
{
    INVARIANT(flow->n_waiting < flow->capacity);
    uint32_t at = flow->n_waiting++;
    while (at > 0 && before(entry, &flow->heap[(at - 1) / 2])) {
        flow->heap[at] = flow->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    flow->heap[at] = *entry;
}

struct queue_entry queue_heap_pop(struct queue_flow *flow)
{
    INVARIANT(flow->n_waiting > 0);
    struct queue_entry first = flow->heap[0], last = flow->heap[--flow->n_waiting];
    uint32_t at = 0, child;
    while ((child = 2 * at + 1) < flow->n_waiting) {
        child += child + 1 < flow->n_waiting && before(&flow->heap[child + 1], &flow->heap[child]);
        if (!before(&flow->heap[child], &last)) {
            break;
        }
        flow->heap[at] = flow->heap[child];
        at = child;
    }
    flow->heap[at] = last;
    return first;
}

/* ---- flows that wait --------------------------------------------------------------------- */

static bool resize_timers(struct queue *q, size_t capacity)
{
    struct queue_timer *timers = realloc(q->timers, capacity * sizeof timers[0]);
    if (!timers) {
        return false;
    }
    q->timers = timers;
    q->timers_capacity = capacity;
    return true;
}

bool queue_timers_reserve(struct queue *q, size_t n)
{
    return n <= q->timers_capacity || resize_timers(q, n + n / 2 + TIMERS_MIN);
}

void queue_timers_trim(struct queue *q, size_t n)
{
    if (n < q->timers_capacity / 4 && q->timers_capacity / 2 >= TIMERS_MIN) {
        (void)resize_timers(q, q->timers_capacity / 2);
    }
}

static void put(struct queue *q, size_t at, struct queue_timer timer)
{
    q->timers[at] = timer;
    timer.flow->timer = (uint32_t)at;
}

static void sift_up(struct queue *q, size_t at, struct queue_timer timer)
{
    while (at > 0 && timer.due_ms < q->timers[(at - 1) / 2].due_ms) {
        put(q, at, q->timers[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(q, at, timer);
}

static void sift_down(struct queue *q, struct queue_timer timer)
{
    size_t at = 0, child;
    while ((child = 2 * at + 1) < q->n_timers) {
        child += child + 1 < q->n_timers && q->timers[child + 1].due_ms < q->timers[child].due_ms;
        if (q->timers[child].due_ms >= timer.due_ms) {
            break;
        }
        put(q, at, q->timers[child]);
        at = child;
    }
    put(q, at, timer);
}

void queue_timer_add(struct queue *q, struct queue_flow *flow)
{
    INVARIANT(q->n_timers < q->timers_capacity);
    sift_up(q, q->n_timers++, (struct queue_timer){flow->heap[0].due_ms, flow});
}

void queue_timer_pop(struct queue *q)
{
    INVARIANT(q->n_timers > 0);
    struct queue_timer last = q->timers[--q->n_timers];
    if (q->n_timers > 0) {
        sift_down(q, last);
    }
}

void queue_timer_moved(struct queue *q, struct queue_flow *flow)
{
    sift_up(q, flow->timer, (struct queue_timer){flow->heap[0].due_ms, flow});
}
