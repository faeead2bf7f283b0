/*
 * queue.c - the operations: see queue.h.
 *
 * A flow stands where its first item says (place()). That its domain is at the limit is noticed
 * when its turn comes, so a domain that fills up costs nothing for the flows that are not looked
 * at; each job that ends lets one blocked flow of the domain go on.
 */
#include "control/queue_private.h"

#include "tcp/base.h"

struct queue *queue_new(uint32_t in_flight_per_site)
{
    INVARIANT(in_flight_per_site >= 1);
    struct queue *q = calloc(1, sizeof *q);
    if (q) {
        q->limit = in_flight_per_site;
        q->free_flow = q->free_domain = q->turn = QUEUE_NONE;
    }
    return q;
}

void queue_free(struct queue *q)
{
    if (!q) {
        return;
    }
    for (uint32_t i = 0; i < q->n_flows; i++) {
        free(q->flows[i].heap);
    }
    for (uint32_t i = 0; i < q->n_domains; i++) {
        free(q->domains[i].name);
    }
    free(q->flows);
    free(q->domains);
    free(q->senders);
    free(q->flow_index);
    free(q->domain_index);
    free(q->timers);
    free(q);
}

/* ---- items ------------------------------------------------------------------------------- */

/* A new first item may make the flow due earlier; READY and BLOCKED flows stay what they are, since
 * an item of theirs was due before. */
static void push(struct queue *q, uint32_t flow, uint64_t message_id, uint32_t group,
                 int64_t due_ms)
{
    struct queue_flow *f = &q->flows[flow];
    queue_heap_push(f, &(struct queue_entry){message_id, due_ms, group, 0});
    q->waiting++;
    if (f->state == FLOW_EMPTY) {
        queue_flow_enter(q, flow, FLOW_WAITING);
    } else if (f->state == FLOW_WAITING) {
        queue_timer_moved(q, flow);
    }
}

bool queue_add(struct queue *q, uint32_t sender, const char *domain, uint64_t message_id,
               uint32_t group, int64_t due_ms)
{
    uint32_t flow = queue_flow_get(q, sender, domain);
    if (flow == QUEUE_NONE) {
        return false;
    }
    if (!queue_heap_reserve(&q->flows[flow], q->flows[flow].count + q->flows[flow].in_flight + 1)) {
        queue_flow_release(q, flow);
        return false;
    }
    push(q, flow, message_id, group, due_ms);
    return true;
}

static void take_off(struct queue *q, uint32_t flow)
{
    q->flows[flow].in_flight++;
    q->domains[q->flows[flow].domain].in_flight++;
    q->in_flight++;
}

bool queue_add_in_flight(struct queue *q, uint32_t sender, const char *domain, uint64_t message_id,
                         uint32_t group, struct queue_item *ret_item)
{
    uint32_t flow = queue_flow_get(q, sender, domain);
    if (flow == QUEUE_NONE) {
        return false;
    }
    if (!queue_heap_reserve(&q->flows[flow], q->flows[flow].count + q->flows[flow].in_flight + 1)) {
        queue_flow_release(q, flow);
        return false;
    }
    take_off(q, flow);
    *ret_item = (struct queue_item){.message_id = message_id, .group = group, .flow = flow};
    return true;
}

/* One less in flight: a flow that waited for that may go on. */
static void land(struct queue *q, uint32_t flow)
{
    struct queue_domain *domain = &q->domains[q->flows[flow].domain];
    INVARIANT(q->flows[flow].in_flight > 0 && domain->in_flight > 0 && q->in_flight > 0);
    q->flows[flow].in_flight--;
    domain->in_flight--;
    q->in_flight--;
    if (domain->blocked != QUEUE_NONE && domain->in_flight < q->limit) {
        queue_flow_enter(q, domain->blocked, FLOW_READY);
    }
}

void queue_again(struct queue *q, const struct queue_item *item, int64_t due_ms)
{
    land(q, item->flow);
    push(q, item->flow, item->message_id, item->group, due_ms);
}

void queue_finish(struct queue *q, const struct queue_item *item)
{
    land(q, item->flow);
    queue_flow_release(q, item->flow);
}

void queue_put_back(struct queue *q, const struct queue_item *item)
{
    uint32_t sender = q->flows[item->flow].sender;
    queue_again(q, item, item->due_ms);
    queue_sender_pause(q, sender, true);
}

void queue_resume(struct queue *q)
{
    for (uint32_t i = 0; i < q->n_senders; i++) {
        if (q->senders[i].paused) {
            queue_sender_pause(q, i, false);
        }
    }
}

/* ---- the next one ------------------------------------------------------------------------ */

static void wake_due(struct queue *q, int64_t now_ms)
{
    while (q->n_timers > 0 && q->flows[q->timers[0]].heap[0].due_ms <= now_ms) {
        queue_flow_enter(q, q->timers[0], FLOW_READY);
    }
}

/* Where the flow belongs after its first item was taken; a READY one goes to the end of its ring.
 */
static void place(struct queue *q, uint32_t flow, int64_t now_ms)
{
    const struct queue_flow *f = &q->flows[flow];
    queue_flow_enter(q, flow,
                     f->count == 0                 ? FLOW_EMPTY
                     : f->heap[0].due_ms <= now_ms ? FLOW_READY
                                                   : FLOW_WAITING);
}

static void take(struct queue *q, uint32_t flow, int64_t now_ms, struct queue_item *ret_item)
{
    /* Out of the heap of times before its first item changes. */
    queue_flow_enter(q, flow, FLOW_EMPTY);
    struct queue_entry entry = queue_heap_pop(&q->flows[flow]);
    q->waiting--;
    take_off(q, flow);
    place(q, flow, now_ms);
    *ret_item = (struct queue_item){entry.message_id, entry.group, flow, entry.due_ms};
}

bool queue_next(struct queue *q, int64_t now_ms, struct queue_item *ret_item)
{
    wake_due(q, now_ms);
    while (q->turn != QUEUE_NONE) {
        uint32_t flow = q->senders[q->turn].ready;
        if (q->domains[q->flows[flow].domain].in_flight >= q->limit) {
            queue_flow_enter(q, flow, FLOW_BLOCKED);
            continue;
        }
        queue_sender_turn(q);
        take(q, flow, now_ms, ret_item);
        return true;
    }
    return false;
}

int64_t queue_deadline_ms(const struct queue *q)
{
    if (q->turn != QUEUE_NONE) {
        return q->flows[q->senders[q->turn].ready].heap[0].due_ms;
    }
    return q->n_timers > 0 ? q->flows[q->timers[0]].heap[0].due_ms : INT64_MAX;
}

/* ---- reading ----------------------------------------------------------------------------- */

const char *queue_domain(const struct queue *q, const struct queue_item *item)
{
    return q->domains[q->flows[item->flow].domain].name;
}

uint32_t queue_sender(const struct queue *q, const struct queue_item *item)
{
    return q->flows[item->flow].sender;
}

size_t queue_waiting(const struct queue *q)
{
    return q->waiting;
}

size_t queue_in_flight(const struct queue *q)
{
    return q->in_flight;
}
