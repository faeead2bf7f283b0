/*
 * queue.c - the operations: see queue.h. States and invariants: queue_private.h.
 *
 * That a domain is full is noticed when the turn of one of its flows comes, so a domain that fills
 * up costs nothing for the flows that are not looked at.
 */
#include "control/queue_private.h"

#include "tcp/base.h"

struct queue *queue_new(uint32_t in_flight_per_site)
{
    INVARIANT(in_flight_per_site >= 1);
    struct queue *q = calloc(1, sizeof *q);
    if (!q) {
        return NULL;
    }
    q->limit = in_flight_per_site;
    queue_ring_init(&q->turns);
    queue_ring_init(&q->paused);
    if (!queue_index_init(&q->flows) || !queue_index_init(&q->domains)) {
        queue_free(q);
        return NULL;
    }
    return q;
}

static void free_items(struct queue_node *node)
{
    free(((struct queue_flow *)node)->heap);
}

void queue_free(struct queue *q)
{
    if (!q) {
        return;
    }
    queue_index_free(&q->flows, free_items);
    queue_index_free(&q->domains, NULL);
    for (uint32_t i = 0; i < q->n_senders; i++) {
        free(q->senders[i]);
    }
    free(q->senders);
    free(q->timers);
    free(q);
}

/* ---- items ------------------------------------------------------------------------------- */

/* A new first item may make a WAITING flow due earlier. In all other states an item of the flow is
 * due already. */
static void push(struct queue *q, struct queue_flow *flow, const struct queue_entry *entry)
{
    queue_heap_push(flow, entry);
    q->n_waiting++;
    if (flow->state == FLOW_EMPTY) {
        queue_flow_enter(q, flow, FLOW_WAITING);
    } else if (flow->state == FLOW_WAITING) {
        queue_timer_moved(q, flow);
    }
}

bool queue_add(struct queue *q, uint32_t sender, const char *domain, uint64_t message_id,
               uint32_t group, int64_t due_ms)
{
    struct queue_flow *flow = queue_flow_get(q, sender, domain);
    if (flow) {
        push(q, flow, &(struct queue_entry){message_id, due_ms, group});
    }
    return flow != NULL;
}

static void take_off(struct queue *q, struct queue_flow *flow)
{
    flow->in_flight++;
    flow->domain->in_flight++;
    q->in_flight++;
}

bool queue_add_in_flight(struct queue *q, uint32_t sender, const char *domain, uint64_t message_id,
                         uint32_t group, struct queue_item *ret_item)
{
    struct queue_flow *flow = queue_flow_get(q, sender, domain);
    if (flow) {
        take_off(q, flow);
        *ret_item = (struct queue_item){.message_id = message_id, .group = group, .flow = flow};
    }
    return flow != NULL;
}

/* One less in flight: its place is free. */
static void land(struct queue *q, struct queue_flow *flow)
{
    INVARIANT(flow->in_flight > 0 && flow->domain->in_flight > 0 && q->in_flight > 0);
    flow->in_flight--;
    flow->domain->in_flight--;
    q->in_flight--;
    queue_domain_offer(q, flow->domain);
}

void queue_again(struct queue *q, const struct queue_item *item, int64_t due_ms)
{
    land(q, item->flow);
    push(q, item->flow, &(struct queue_entry){item->message_id, due_ms, item->group});
}

void queue_finish(struct queue *q, const struct queue_item *item)
{
    land(q, item->flow);
    queue_heap_trim(item->flow);
    queue_flow_release(q, item->flow);
}

/* Paused first, so that its place is not promised to the sender that cannot use it. */
void queue_put_back(struct queue *q, const struct queue_item *item)
{
    queue_sender_pause(q, q->senders[item->flow->sender]);
    queue_again(q, item, item->due_ms);
}

void queue_resume(struct queue *q)
{
    while (!queue_ring_empty(&q->paused)) {
        queue_sender_resume(q, queue_first_sender(&q->paused));
    }
}

/* ---- the next one ------------------------------------------------------------------------ */

static void wake_due(struct queue *q, int64_t now_ms)
{
    while (q->n_timers > 0 && q->timers[0].due_ms <= now_ms) {
        queue_flow_enter(q, q->timers[0].flow, FLOW_READY);
    }
}

/* A promise counts as long as adopted items have not taken the place (invariant 4). */
static bool may_start(const struct queue *q, const struct queue_flow *flow)
{
    return flow->state == FLOW_PROMISED ? flow->domain->in_flight < q->limit
                                        : queue_domain_has_place(q, flow->domain);
}

/* The first item of a READY flow, which goes to the end of its sender's list when its next one is
 * due too. It leaves its list first: what is first in it changes. */
static void take(struct queue *q, struct queue_flow *flow, int64_t now_ms,
                 struct queue_item *ret_item)
{
    queue_flow_enter(q, flow, FLOW_EMPTY);
    struct queue_entry entry = queue_heap_pop(flow);
    q->n_waiting--;
    take_off(q, flow);
    if (flow->n_waiting > 0) {
        queue_flow_enter(q, flow, flow->heap[0].due_ms <= now_ms ? FLOW_READY : FLOW_WAITING);
    }
    *ret_item = (struct queue_item){entry.message_id, entry.group, flow, entry.due_ms};
}

/* The flow whose turn it is; those whose domain is full make way. Null: none. */
static struct queue_flow *choose(struct queue *q)
{
    while (!queue_ring_empty(&q->turns)) {
        struct queue_flow *flow = queue_flow_of(queue_first_sender(&q->turns)->ready.next);
        if (may_start(q, flow)) {
            return flow;
        }
        queue_flow_enter(q, flow, FLOW_BLOCKED);
    }
    return NULL;
}

bool queue_next(struct queue *q, int64_t now_ms, struct queue_item *ret_item)
{
    wake_due(q, now_ms);
    struct queue_flow *flow = choose(q);
    if (!flow) {
        return false;
    }
    take(q, flow, now_ms, ret_item);
    queue_sender_end_turn(q, q->senders[flow->sender]);
    return true;
}

int64_t queue_deadline_ms(const struct queue *q)
{
    if (!queue_ring_empty(&q->turns)) {
        const struct queue_sender *sender = queue_first_sender(&q->turns);
        return queue_flow_of(sender->ready.next)->heap[0].due_ms;
    }
    return q->n_timers > 0 ? q->timers[0].due_ms : INT64_MAX;
}

/* ---- reading ----------------------------------------------------------------------------- */

const char *queue_domain(const struct queue *q, const struct queue_item *item)
{
    (void)q;
    return item->flow->domain->name;
}

uint32_t queue_sender(const struct queue *q, const struct queue_item *item)
{
    (void)q;
    return item->flow->sender;
}

uint32_t queue_behind(const struct queue *q, const struct queue_item *item)
{
    (void)q;
    return item->flow->n_waiting;
}

size_t queue_waiting(const struct queue *q)
{
    return q->n_waiting;
}

size_t queue_in_flight(const struct queue *q)
{
    return q->in_flight;
}
