/* queue_flow.c - flows, domains and senders: made on demand, freed when nothing is left of them
 * (senders stay: they are few). States and invariants: queue_private.h. */
#include "control/queue_private.h"

#include "tcp/base.h"

#define INDEX_MIN 64u

/* ---- the hash table ---------------------------------------------------------------------- */

bool queue_index_init(struct queue_index *index)
{
    *index = (struct queue_index){
        .buckets = calloc(INDEX_MIN, sizeof index->buckets[0]),
        .n_buckets = INDEX_MIN,
        .capacity = INDEX_MIN,
        .mask = INDEX_MIN - 1,
    };
    return index->buckets != NULL;
}

void queue_index_free(struct queue_index *index, void (*fn)(struct queue_node *))
{
    for (size_t i = 0; index->buckets && i < index->n_buckets; i++) {
        struct queue_node *node = index->buckets[i], *next;
        for (; node; node = next) {
            next = node->next;
            if (fn) {
                fn(node);
            }
            free(node);
        }
    }
    free(index->buckets);
}

static struct queue_node **bucket_of(const struct queue_index *index, uint64_t hash)
{
    size_t bucket = hash & index->mask;
    return &index->buckets[bucket < index->n_buckets ? bucket : bucket & index->mask >> 1];
}

static bool resize(struct queue_index *index, size_t capacity)
{
    struct queue_node **buckets = realloc(index->buckets, capacity * sizeof buckets[0]);
    if (!buckets) {
        return false;
    }
    index->buckets = buckets;
    index->capacity = capacity;
    return true;
}

/* One bucket more: it takes its share of the one that stood for both. Without memory the chains
 * grow instead. */
static void split(struct queue_index *index)
{
    if (index->n_buckets == index->capacity && !resize(index, index->capacity * 2)) {
        return;
    }
    size_t added = index->n_buckets++;
    index->mask = added > index->mask ? index->mask * 2 + 1 : index->mask;
    index->buckets[added] = NULL;
    struct queue_node **at = &index->buckets[added & index->mask >> 1];
    while (*at) {
        struct queue_node *node = *at;
        if ((node->hash & index->mask) == added) {
            *at = node->next;
            node->next = index->buckets[added];
            index->buckets[added] = node;
        } else {
            at = &node->next;
        }
    }
}

/* One bucket less: the opposite of split(). */
static void merge(struct queue_index *index)
{
    size_t removed = --index->n_buckets;
    struct queue_node **end = &index->buckets[removed & index->mask >> 1];
    while (*end) {
        end = &(*end)->next;
    }
    *end = index->buckets[removed];
    index->mask = removed == index->mask / 2 + 1 ? index->mask / 2 : index->mask;
    if (index->n_buckets < index->capacity / 4) {
        (void)resize(index, index->capacity / 2);
    }
}

static void index_add(struct queue_index *index, struct queue_node *node, uint64_t hash)
{
    if (++index->n > index->n_buckets) {
        split(index);
    }
    struct queue_node **bucket = bucket_of(index, hash);
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
}

static void index_remove(struct queue_index *index, struct queue_node *node)
{
    struct queue_node **at = bucket_of(index, node->hash);
    while (*at != node) {
        at = &(*at)->next;
    }
    *at = node->next;
    index->n--;
    while (index->n < index->n_buckets / 2 && index->n_buckets > INDEX_MIN) { /* twice at most */
        merge(index);
    }
}

/* ---- domains ----------------------------------------------------------------------------- */

/* FNV-1a, and its upper half into the lower one, which is what bucket_of() looks at. */
static uint64_t hash_name(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *name; name++) {
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    }
    return hash ^ hash >> 32;
}

static struct queue_domain *domain_find(const struct queue *q, const char *name, uint64_t hash)
{
    for (struct queue_node *node = *bucket_of(&q->domains, hash); node; node = node->next) {
        struct queue_domain *domain = (struct queue_domain *)node;
        if (node->hash == hash && strcmp(domain->name, name) == 0) {
            return domain;
        }
    }
    return NULL;
}

static struct queue_domain *domain_get(struct queue *q, const char *name)
{
    uint64_t hash = hash_name(name);
    struct queue_domain *domain = domain_find(q, name, hash);
    if (domain) {
        return domain;
    }
    size_t bytes = strlen(name) + 1;
    domain = malloc(sizeof *domain + bytes);
    if (domain) {
        domain->in_flight = domain->promised = domain->n_flows = 0;
        memcpy(domain->name, name, bytes);
        queue_ring_init(&domain->blocked);
        index_add(&q->domains, &domain->node, hash);
    }
    return domain;
}

static void domain_release(struct queue *q, struct queue_domain *domain)
{
    if (domain->n_flows > 0) {
        return;
    }
    INVARIANT(domain->in_flight == 0 && domain->promised == 0);
    INVARIANT(queue_ring_empty(&domain->blocked));
    index_remove(&q->domains, &domain->node);
    free(domain);
}

/* ---- senders ----------------------------------------------------------------------------- */

static bool grow_senders(struct queue *q, uint32_t n)
{
    struct queue_sender **senders = realloc(q->senders, n * sizeof(struct queue_sender *));
    if (!senders) {
        return false;
    }
    for (uint32_t i = q->n_senders; i < n; i++) {
        senders[i] = NULL;
    }
    q->senders = senders;
    q->n_senders = n;
    return true;
}

static bool sender_make(struct queue *q, uint32_t number)
{
    INVARIANT(number < QUEUE_SENDERS_MAX);
    if (number >= q->n_senders && !grow_senders(q, number + number / 2 + 1)) {
        return false;
    }
    if (q->senders[number]) {
        return true;
    }
    struct queue_sender *sender = malloc(sizeof *sender);
    if (!sender) {
        return false;
    }
    sender->paused = false;
    queue_ring_init(&sender->ring);
    queue_ring_init(&sender->ready);
    q->senders[number] = sender;
    return true;
}

/* Invariant 7. A sender that has its place keeps it. */
static void sender_place(struct queue *q, struct queue_sender *sender)
{
    bool in_turns = !queue_ring_empty(&sender->ring);
    if (sender->paused || in_turns != queue_ring_empty(&sender->ready)) {
        return;
    }
    if (in_turns) {
        queue_ring_remove(&sender->ring);
    } else {
        queue_ring_add_after(q->turns.previous, &sender->ring);
    }
}

void queue_sender_end_turn(struct queue *q, struct queue_sender *sender)
{
    if (!sender->paused && !queue_ring_empty(&sender->ready)) {
        queue_ring_remove(&sender->ring);
        queue_ring_add_after(q->turns.previous, &sender->ring);
    }
}

void queue_sender_pause(struct queue *q, struct queue_sender *sender)
{
    if (sender->paused) {
        return;
    }
    sender->paused = true;
    queue_ring_remove(&sender->ring);
    queue_ring_add_after(q->paused.previous, &sender->ring);
    for (struct queue_ring *at = sender->ready.next; at != &sender->ready; at = at->next) {
        struct queue_flow *flow = queue_flow_of(at);
        if (flow->state != FLOW_PROMISED) {
            break;
        }
        queue_flow_enter(q, flow, FLOW_READY);
        queue_domain_offer(q, flow->domain);
    }
}

void queue_sender_resume(struct queue *q, struct queue_sender *sender)
{
    sender->paused = false;
    queue_ring_remove(&sender->ring);
    sender_place(q, sender);
}

/* ---- flows ------------------------------------------------------------------------------- */

static uint64_t hash_flow(uint32_t sender, const struct queue_domain *domain)
{
    uint64_t hash = (domain->node.hash ^ sender) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static struct queue_flow *flow_find(const struct queue *q, uint32_t sender,
                                    const struct queue_domain *domain)
{
    uint64_t hash = hash_flow(sender, domain);
    for (struct queue_node *node = *bucket_of(&q->flows, hash); node; node = node->next) {
        struct queue_flow *flow = (struct queue_flow *)node;
        if (flow->sender == sender && flow->domain == domain) {
            return flow;
        }
    }
    return NULL;
}

/* Without items it is there until queue_flow_release(). */
static struct queue_flow *flow_new(struct queue *q, uint32_t sender, struct queue_domain *domain)
{
    struct queue_flow *flow = NULL;
    if (sender_make(q, sender) && queue_timers_reserve(q, q->flows.n + 1)) {
        flow = calloc(1, sizeof *flow);
    }
    if (flow) {
        flow->sender = sender;
        flow->domain = domain;
        flow->state = FLOW_EMPTY;
        queue_ring_init(&flow->ring);
        index_add(&q->flows, &flow->node, hash_flow(sender, domain));
        domain->n_flows++;
    }
    return flow;
}

struct queue_flow *queue_flow_get(struct queue *q, uint32_t sender, const char *name)
{
    struct queue_domain *domain = domain_get(q, name);
    if (!domain) {
        return NULL;
    }
    struct queue_flow *flow = flow_find(q, sender, domain);
    flow = flow ? flow : flow_new(q, sender, domain);
    if (!flow) {
        domain_release(q, domain);
        return NULL;
    }
    if (!queue_heap_reserve(flow)) {
        queue_flow_release(q, flow);
        return NULL;
    }
    return flow;
}

void queue_flow_release(struct queue *q, struct queue_flow *flow)
{
    if (flow->n_waiting > 0 || flow->in_flight > 0) {
        return;
    }
    INVARIANT(flow->state == FLOW_EMPTY);
    struct queue_domain *domain = flow->domain;
    index_remove(&q->flows, &flow->node);
    free(flow->heap);
    free(flow);
    queue_timers_trim(q, q->flows.n);
    domain->n_flows--;
    domain_release(q, domain);
}

/* ---- states ------------------------------------------------------------------------------ */

static void leave(struct queue *q, struct queue_flow *flow)
{
    switch ((enum flow_state)flow->state) {
    case FLOW_EMPTY:
        break;
    case FLOW_WAITING:
        INVARIANT(q->timers[0].flow == flow);
        queue_timer_pop(q);
        break;
    case FLOW_PROMISED:
        INVARIANT(flow->domain->promised > 0);
        flow->domain->promised--;
        queue_ring_remove(&flow->ring);
        break;
    case FLOW_BLOCKED:
    case FLOW_READY:
        queue_ring_remove(&flow->ring);
        break;
    }
}

/* A flow that was blocked had come to the front of its sender's list, so it comes back to it. Each
 * flow passes the others in this way once a round at most. */
void queue_flow_enter(struct queue *q, struct queue_flow *flow, enum flow_state state)
{
    struct queue_sender *sender = q->senders[flow->sender];
    struct queue_ring *before = flow->state == FLOW_PROMISED  ? flow->ring.previous
                                : flow->state == FLOW_BLOCKED ? &sender->ready
                                                              : sender->ready.previous;
    leave(q, flow);
    flow->state = (uint8_t)state;
    switch (state) {
    case FLOW_EMPTY:
        break;
    case FLOW_WAITING:
        queue_timer_add(q, flow);
        break;
    case FLOW_BLOCKED:
        queue_ring_add_after(flow->domain->blocked.previous, &flow->ring);
        break;
    case FLOW_PROMISED:
        flow->domain->promised++;
        queue_ring_add_after(&sender->ready, &flow->ring);
        break;
    case FLOW_READY:
        queue_ring_add_after(before, &flow->ring);
        break;
    }
    sender_place(q, sender);
}

bool queue_domain_has_place(const struct queue *q, const struct queue_domain *domain)
{
    return domain->in_flight < q->limit && domain->promised < q->limit - domain->in_flight;
}

void queue_domain_offer(struct queue *q, struct queue_domain *domain)
{
    while (!queue_ring_empty(&domain->blocked) && queue_domain_has_place(q, domain)) {
        struct queue_flow *flow = queue_flow_of(domain->blocked.next);
        bool paused = q->senders[flow->sender]->paused;
        queue_flow_enter(q, flow, paused ? FLOW_READY : FLOW_PROMISED);
    }
}
