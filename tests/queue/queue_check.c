/* queue_check.c - walks everything once; the numbers are those of control/queue_private.h. */
#include "tests/queue/queue_check.h"

#include "control/queue_private.h"
#include "tcp/base.h"

struct sums {
    size_t n_waiting, in_flight, flows, timers;
};

static bool ring_has(const struct queue_ring *head, const struct queue_ring *member)
{
    for (const struct queue_ring *at = head->next; at != head; at = at->next) {
        INVARIANT(at->next->previous == at && at->previous->next == at);
        if (at == member) {
            return true;
        }
    }
    return false;
}

static bool entry_before(const struct queue_entry *a, const struct queue_entry *b)
{
    return a->due_ms != b->due_ms           ? a->due_ms < b->due_ms
           : a->message_id != b->message_id ? a->message_id < b->message_id
                                            : a->group < b->group;
}

static void check_heap(const struct queue_flow *flow)
{
    INVARIANT((flow->state == FLOW_EMPTY) == (flow->n_waiting == 0));       /* 2 */
    INVARIANT((size_t)flow->n_waiting + flow->in_flight <= flow->capacity); /* 2 */
    INVARIANT(flow->n_waiting > 0 || flow->in_flight > 0);                  /* 1 */
    for (uint32_t i = 1; i < flow->n_waiting; i++) {
        INVARIANT(!entry_before(&flow->heap[i], &flow->heap[(i - 1) / 2])); /* 2 */
    }
}

static void check_place(const struct queue *q, const struct queue_flow *flow)
{
    const struct queue_sender *sender = q->senders[flow->sender];
    switch ((enum flow_state)flow->state) {
    case FLOW_EMPTY:
        INVARIANT(queue_ring_empty(&flow->ring));
        break;
    case FLOW_WAITING:
        INVARIANT(queue_ring_empty(&flow->ring));
        INVARIANT(flow->timer < q->n_timers && q->timers[flow->timer].flow == flow);
        INVARIANT(q->timers[flow->timer].due_ms == flow->heap[0].due_ms);
        break;
    case FLOW_BLOCKED:
        INVARIANT(ring_has(&flow->domain->blocked, &flow->ring));
        break;
    case FLOW_PROMISED:
        INVARIANT(!sender->paused); /* 6 */
        INVARIANT(flow->ring.previous == &sender->ready ||
                  queue_flow_of(flow->ring.previous)->state == FLOW_PROMISED);
        INVARIANT(ring_has(&sender->ready, &flow->ring));
        break;
    case FLOW_READY:
        INVARIANT(ring_has(&sender->ready, &flow->ring));
        break;
    }
}

static void check_nodes(const struct queue_index *index)
{
    size_t n = 0;
    INVARIANT(index->n_buckets <= index->capacity && index->n_buckets <= index->mask + 1);
    INVARIANT(index->n_buckets > (index->mask + 1) / 2);
    for (size_t i = 0; i < index->n_buckets; i++) {
        for (const struct queue_node *node = index->buckets[i]; node; node = node->next, n++) {
            size_t bucket = node->hash & index->mask;
            INVARIANT(i == (bucket < index->n_buckets ? bucket : bucket & index->mask / 2));
        }
    }
    INVARIANT(n == index->n); /* 9 */
}

static void sum_flows(const struct queue *q, const struct queue_domain *domain, struct sums *sums)
{
    uint32_t n_flows = 0, in_flight = 0, promised = 0;
    for (size_t i = 0; i < q->flows.n_buckets; i++) {
        for (struct queue_node *node = q->flows.buckets[i]; node; node = node->next) {
            const struct queue_flow *flow = (const struct queue_flow *)node;
            if (flow->domain != domain) {
                continue;
            }
            check_heap(flow);
            check_place(q, flow);
            n_flows++;
            in_flight += flow->in_flight;
            promised += flow->state == FLOW_PROMISED;
            sums->n_waiting += flow->n_waiting;
            sums->timers += flow->state == FLOW_WAITING;
        }
    }
    INVARIANT(n_flows == domain->n_flows && n_flows > 0);                      /* 1, 9 */
    INVARIANT(in_flight == domain->in_flight && promised == domain->promised); /* 9 */
    sums->in_flight += in_flight;
    sums->flows += n_flows;
}

static void check_domains(const struct queue *q, struct sums *sums)
{
    for (size_t i = 0; i < q->domains.n_buckets; i++) {
        for (struct queue_node *node = q->domains.buckets[i]; node; node = node->next) {
            const struct queue_domain *domain = (const struct queue_domain *)node;
            sum_flows(q, domain, sums);
            INVARIANT(queue_ring_empty(&domain->blocked) ||
                      domain->in_flight + domain->promised >= q->limit); /* 5 */
            for (const struct queue_node *other = node->next; other; other = other->next) {
                INVARIANT(strcmp(((const struct queue_domain *)other)->name, domain->name) != 0);
            }
        }
    }
}

static void check_senders(const struct queue *q)
{
    for (uint32_t i = 0; i < q->n_senders; i++) {
        const struct queue_sender *sender = q->senders[i];
        if (sender) {
            bool turn = !sender->paused && !queue_ring_empty(&sender->ready);
            INVARIANT(ring_has(&q->turns, &sender->ring) == turn);            /* 7 */
            INVARIANT(ring_has(&q->paused, &sender->ring) == sender->paused); /* 7 */
        }
    }
}

void queue_check(const struct queue *q)
{
    struct sums sums = {0};
    check_nodes(&q->flows);
    check_nodes(&q->domains);
    check_domains(q, &sums);
    check_senders(q);
    INVARIANT(sums.n_waiting == q->n_waiting && sums.in_flight == q->in_flight); /* 9 */
    INVARIANT(sums.flows == q->flows.n && sums.timers == q->n_timers);           /* 9 */
    INVARIANT(q->timers_capacity >= q->flows.n);                                 /* 2 */
    for (size_t i = 1; i < q->n_timers; i++) {
        INVARIANT(q->timers[i].due_ms >= q->timers[(i - 1) / 2].due_ms); /* 2 */
    }
}

size_t queue_check_flows(const struct queue *q)
{
    return q->flows.n;
}

size_t queue_check_domains(const struct queue *q)
{
    return q->domains.n;
}
