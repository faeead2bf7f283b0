/* queue_heap.c - binary heaps: of a flow's items, and of the flows that wait. See queue_private.h.
 */
#include "control/queue_private.h"

#include "tcp/base.h"

/* ---- items of a flow --------------------------------------------------------------------- */

/* Equal times go by message, so that older ones go first. */
static bool before(const struct queue_entry *a, const struct queue_entry *b)
{
    return a->due_ms != b->due_ms           ? a->due_ms < b->due_ms
           : a->message_id != b->message_id ? a->message_id < b->message_id
                                            : a->group < b->group;
}

bool queue_heap_reserve(struct queue_flow *flow, uint32_t entries)
{
    if (entries <= flow->capacity) {
        return true;
    }
    uint32_t capacity = flow->capacity + flow->capacity / 2;
    capacity = capacity < entries ? entries : capacity;
    struct queue_entry *heap = realloc(flow->heap, capacity * sizeof heap[0]);
    if (!heap) {
        return false;
    }
    flow->heap = heap;
    flow->capacity = capacity;
    return true;
}

void queue_heap_push(struct queue_flow *flow, const struct queue_entry *entry)
{
    INVARIANT(flow->count < flow->capacity);
    uint32_t at = flow->count++;
    while (at > 0 && before(entry, &flow->heap[(at - 1) / 2])) {
        flow->heap[at] = flow->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    flow->heap[at] = *entry;
}

struct queue_entry queue_heap_pop(struct queue_flow *flow)
{
    INVARIANT(flow->count > 0);
    struct queue_entry first = flow->heap[0], last = flow->heap[--flow->count];
    uint32_t at = 0, child;
    while ((child = 2 * at + 1) < flow->count) {
        child += child + 1 < flow->count && before(&flow->heap[child + 1], &flow->heap[child]);
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

static int64_t due(const struct queue *q, uint32_t flow)
{
    return q->flows[flow].heap[0].due_ms;
}

static void put(struct queue *q, uint32_t at, uint32_t flow)
{
    q->timers[at] = flow;
    q->flows[flow].timer = at;
}

static void sift(struct queue *q, uint32_t at, uint32_t flow)
{
    uint32_t child;
    while (at > 0 && due(q, flow) < due(q, q->timers[(at - 1) / 2])) {
        put(q, at, q->timers[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    while ((child = 2 * at + 1) < q->n_timers) {
        child += child + 1 < q->n_timers && due(q, q->timers[child + 1]) < due(q, q->timers[child]);
        if (due(q, q->timers[child]) >= due(q, flow)) {
            break;
        }
        put(q, at, q->timers[child]);
        at = child;
    }
    put(q, at, flow);
}

void queue_timer_add(struct queue *q, uint32_t flow)
{
    uint32_t at = q->n_timers++;
    q->timers[at] = flow;
    sift(q, at, flow);
}

void queue_timer_remove(struct queue *q, uint32_t flow)
{
    uint32_t at = q->flows[flow].timer, last = q->timers[--q->n_timers];
    INVARIANT(at <= q->n_timers && (at == q->n_timers ? last == flow : q->timers[at] == flow));
    if (last != flow) {
        q->timers[at] = last;
        sift(q, at, last);
    }
}

void queue_timer_moved(struct queue *q, uint32_t flow)
{
    sift(q, q->flows[flow].timer, flow);
}
