/* queue_flow.c - flows, domains and senders: made on demand, freed when nothing is left of them.
 * See queue_private.h. */
#include "control/queue_private.h"

#include "tcp/base.h"

#define INDEX_MIN 64u

/* ---- hash tables ------------------------------------------------------------------------- */

static uint32_t hash_name(const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *name; name++) {
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    }
    return hash;
}

static uint32_t hash_pair(uint32_t sender, uint32_t domain)
{
    uint64_t mixed = ((uint64_t)sender << 32 | domain) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32);
}

static uint32_t *flow_bucket(const struct queue *q, uint32_t sender, uint32_t domain)
{
    return &q->flow_index[hash_pair(sender, domain) & (q->flow_index_size - 1)];
}

static uint32_t *domain_bucket(const struct queue *q, const char *name)
{
    return &q->domain_index[hash_name(name) & (q->domain_index_size - 1)];
}

static uint32_t *index_new(uint32_t size)
{
    uint32_t *index = malloc(size * sizeof index[0]);
    for (uint32_t i = 0; index && i < size; i++) {
        index[i] = QUEUE_NONE;
    }
    return index;
}

/* Grows with what is live: one bucket for each. */
static bool grow_flow_index(struct queue *q)
{
    if (q->live_flows < q->flow_index_size) {
        return true;
    }
    uint32_t size = q->flow_index_size ? q->flow_index_size * 2 : INDEX_MIN;
    uint32_t *index = index_new(size);
    if (!index) {
        return false;
    }
    free(q->flow_index);
    q->flow_index = index;
    q->flow_index_size = size;
    for (uint32_t i = 0; i < q->n_flows; i++) {
        if (q->flows[i].sender != QUEUE_NONE) {
            uint32_t *bucket = flow_bucket(q, q->flows[i].sender, q->flows[i].domain);
            q->flows[i].hash_next = *bucket;
            *bucket = i;
        }
    }
    return true;
}

static bool grow_domain_index(struct queue *q)
{
    if (q->live_domains < q->domain_index_size) {
        return true;
    }
    uint32_t size = q->domain_index_size ? q->domain_index_size * 2 : INDEX_MIN;
    uint32_t *index = index_new(size);
    if (!index) {
        return false;
    }
    free(q->domain_index);
    q->domain_index = index;
    q->domain_index_size = size;
    for (uint32_t i = 0; i < q->n_domains; i++) {
        if (q->domains[i].name) {
            uint32_t *bucket = domain_bucket(q, q->domains[i].name);
            q->domains[i].hash_next = *bucket;
            *bucket = i;
        }
    }
    return true;
}

/* ---- domains ----------------------------------------------------------------------------- */

static uint32_t domain_slot(struct queue *q)
{
    uint32_t domain = q->free_domain;
    if (domain != QUEUE_NONE) {
        q->free_domain = q->domains[domain].hash_next;
        return domain;
    }
    if (q->n_domains == q->cap_domains) {
        uint32_t capacity = q->cap_domains ? q->cap_domains * 2 : INDEX_MIN;
        struct queue_domain *domains = realloc(q->domains, capacity * sizeof domains[0]);
        if (!domains) {
            return QUEUE_NONE;
        }
        q->domains = domains;
        q->cap_domains = capacity;
    }
    return q->n_domains++;
}

static uint32_t domain_get(struct queue *q, const char *name)
{
    for (uint32_t d = q->domain_index_size ? *domain_bucket(q, name) : QUEUE_NONE; d != QUEUE_NONE;
         d = q->domains[d].hash_next) {
        if (strcmp(q->domains[d].name, name) == 0) {
            return d;
        }
    }
    char *copy = strdup(name);
    uint32_t domain = copy && grow_domain_index(q) ? domain_slot(q) : QUEUE_NONE;
    if (domain == QUEUE_NONE) {
        free(copy);
        return QUEUE_NONE;
    }
    uint32_t *bucket = domain_bucket(q, name);
    q->domains[domain] =
        (struct queue_domain){.name = copy, .blocked = QUEUE_NONE, .hash_next = *bucket};
    *bucket = domain;
    q->live_domains++;
    return domain;
}

static void domain_release(struct queue *q, uint32_t domain)
{
    struct queue_domain *d = &q->domains[domain];
    if (d->n_flows > 0) {
        return;
    }
    INVARIANT(d->in_flight == 0 && d->blocked == QUEUE_NONE);
    uint32_t *at = domain_bucket(q, d->name);
    while (*at != domain) {
        at = &q->domains[*at].hash_next;
    }
    *at = d->hash_next;
    free(d->name);
    *d = (struct queue_domain){.hash_next = q->free_domain};
    q->free_domain = domain;
    q->live_domains--;
}

/* ---- flows ------------------------------------------------------------------------------- */

static bool grow_flows(struct queue *q)
{
    uint32_t capacity = q->cap_flows ? q->cap_flows * 2 : INDEX_MIN;
    struct queue_flow *flows = realloc(q->flows, capacity * sizeof flows[0]);
    if (!flows) {
        return false;
    }
    q->flows = flows;
    uint32_t *timers = realloc(q->timers, capacity * sizeof timers[0]);
    if (!timers) {
        return false;
    }
    q->timers = timers;
    q->cap_flows = capacity;
    return true;
}

static uint32_t flow_slot(struct queue *q)
{
    uint32_t flow = q->free_flow;
    if (flow != QUEUE_NONE) {
        q->free_flow = q->flows[flow].hash_next;
        return flow;
    }
    if (q->n_flows == q->cap_flows && !grow_flows(q)) {
        return QUEUE_NONE;
    }
    return q->n_flows++;
}

static bool sender_get(struct queue *q, uint32_t sender)
{
    if (sender < q->n_senders) {
        return true;
    }
    struct queue_sender *senders = realloc(q->senders, (sender + 1) * sizeof senders[0]);
    if (!senders) {
        return false;
    }
    for (uint32_t i = q->n_senders; i <= sender; i++) {
        senders[i] = (struct queue_sender){.ready = QUEUE_NONE};
    }
    q->senders = senders;
    q->n_senders = sender + 1;
    return true;
}

static uint32_t flow_new(struct queue *q, uint32_t sender, uint32_t domain)
{
    uint32_t flow = sender_get(q, sender) && grow_flow_index(q) ? flow_slot(q) : QUEUE_NONE;
    if (flow == QUEUE_NONE) {
        domain_release(q, domain);
        return QUEUE_NONE;
    }
    uint32_t *bucket = flow_bucket(q, sender, domain);
    q->flows[flow] = (struct queue_flow){.sender = sender, .domain = domain, .hash_next = *bucket};
    *bucket = flow;
    q->domains[domain].n_flows++;
    q->live_flows++;
    return flow;
}

uint32_t queue_flow_get(struct queue *q, uint32_t sender, const char *name)
{
    uint32_t domain = domain_get(q, name);
    if (domain == QUEUE_NONE) {
        return QUEUE_NONE;
    }
    for (uint32_t f = q->flow_index_size ? *flow_bucket(q, sender, domain) : QUEUE_NONE;
         f != QUEUE_NONE; f = q->flows[f].hash_next) {
        if (q->flows[f].sender == sender && q->flows[f].domain == domain) {
            return f;
        }
    }
    return flow_new(q, sender, domain);
}

void queue_flow_release(struct queue *q, uint32_t flow)
{
    struct queue_flow *f = &q->flows[flow];
    if (f->count > 0 || f->in_flight > 0) {
        return;
    }
    INVARIANT(f->state == FLOW_EMPTY);
    uint32_t *at = flow_bucket(q, f->sender, f->domain), domain = f->domain;
    while (*at != flow) {
        at = &q->flows[*at].hash_next;
    }
    *at = f->hash_next;
    free(f->heap);
    *f = (struct queue_flow){.sender = QUEUE_NONE, .hash_next = q->free_flow};
    q->free_flow = flow;
    q->live_flows--;
    q->domains[domain].n_flows--;
    domain_release(q, domain);
}

/* ---- rings of flows ---------------------------------------------------------------------- */

static void ring_add(struct queue *q, uint32_t *head, uint32_t flow)
{
    struct queue_flow *f = &q->flows[flow];
    if (*head == QUEUE_NONE) {
        *head = f->next = f->previous = flow;
        return;
    }
    struct queue_flow *first = &q->flows[*head];
    f->next = *head;
    f->previous = first->previous;
    q->flows[first->previous].next = flow;
    first->previous = flow;
}

static void ring_remove(struct queue *q, uint32_t *head, uint32_t flow)
{
    struct queue_flow *f = &q->flows[flow];
    if (f->next == flow) {
        *head = QUEUE_NONE;
        return;
    }
    q->flows[f->previous].next = f->next;
    q->flows[f->next].previous = f->previous;
    *head = *head == flow ? f->next : *head;
}

/* ---- the ring of senders ----------------------------------------------------------------- */

static void sender_link(struct queue *q, uint32_t sender)
{
    struct queue_sender *s = &q->senders[sender];
    s->in_ring = true;
    if (q->turn == QUEUE_NONE) {
        q->turn = s->next = s->previous = sender;
        return;
    }
    struct queue_sender *first = &q->senders[q->turn];
    s->next = q->turn;
    s->previous = first->previous;
    q->senders[first->previous].next = sender;
    first->previous = sender;
}

static void sender_unlink(struct queue *q, uint32_t sender)
{
    struct queue_sender *s = &q->senders[sender];
    s->in_ring = false;
    if (s->next == sender) {
        q->turn = QUEUE_NONE;
        return;
    }
    q->senders[s->previous].next = s->next;
    q->senders[s->next].previous = s->previous;
    q->turn = q->turn == sender ? s->next : q->turn;
}

static void sender_place(struct queue *q, uint32_t sender)
{
    const struct queue_sender *s = &q->senders[sender];
    bool wanted = s->ready != QUEUE_NONE && !s->paused;
    if (wanted && !s->in_ring) {
        sender_link(q, sender);
    } else if (!wanted && s->in_ring) {
        sender_unlink(q, sender);
    }
}

void queue_sender_pause(struct queue *q, uint32_t sender, bool paused)
{
    q->senders[sender].paused = paused;
    sender_place(q, sender);
}

void queue_sender_turn(struct queue *q)
{
    q->turn = q->senders[q->turn].next;
}

/* ---- states ------------------------------------------------------------------------------ */

void queue_flow_enter(struct queue *q, uint32_t flow, enum flow_state state)
{
    struct queue_flow *f = &q->flows[flow];
    switch ((enum flow_state)f->state) {
    case FLOW_EMPTY:
        break;
    case FLOW_WAITING:
        queue_timer_remove(q, flow);
        break;
    case FLOW_BLOCKED:
        ring_remove(q, &q->domains[f->domain].blocked, flow);
        break;
    case FLOW_READY:
        ring_remove(q, &q->senders[f->sender].ready, flow);
        break;
    }
    f->state = (uint8_t)state;
    switch (state) {
    case FLOW_EMPTY:
        break;
    case FLOW_WAITING:
        queue_timer_add(q, flow);
        break;
    case FLOW_BLOCKED:
        ring_add(q, &q->domains[f->domain].blocked, flow);
        break;
    case FLOW_READY:
        ring_add(q, &q->senders[f->sender].ready, flow);
        break;
    }
    sender_place(q, f->sender);
}
