/*
 * dp_session_group.c - groups of the session manager: who waits for a connection, who has one to
 * spare. See dp_session_private.h.
 */
#include "dataplane/dp_session_private.h"

#define RETRY_NS (50 * NS_PER_MS) /* when TCP had no connection or port for a starved group */

/* ---- the set of groups ------------------------------------------------------------------- */

void dp_groups_init(struct dp_sessions *m)
{
    m->groups_free = DP_NONE;
    for (uint32_t i = m->n_groups_max; i-- > 0;) {
        m->groups[i].hash_next = m->groups_free;
        m->groups_free = i;
    }
    for (uint32_t i = 0; i < m->n_buckets; i++) {
        m->buckets[i] = DP_NONE;
    }
    m->ready = m->starved = (struct dp_group_queue){DP_NONE, DP_NONE};
}

/* All parts of the key come from control, so this need not stand against an attacker. */
static uint32_t *bucket_of(struct dp_sessions *m, const struct ip_addr *source, uint32_t site_hash,
                           uint32_t tls_hash)
{
    uint64_t hash = (uint64_t)tls_hash << 32 | site_hash;
    for (size_t i = 0; i < sizeof source->bytes; i += 4) {
        hash = (hash ^ be32_get(source->bytes + i)) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return &m->buckets[hash & (m->n_buckets - 1)];
}

uint32_t dp_group_get(struct dp_sessions *m, const struct dp_job *job)
{
    uint32_t *bucket = bucket_of(m, &job->source, job->site_hash, job->tls_hash);
    for (uint32_t i = *bucket; i != DP_NONE; i = m->groups[i].hash_next) {
        struct dp_group *g = &m->groups[i];
        if (g->site_hash == job->site_hash && g->tls_hash == job->tls_hash &&
            ip_addr_equal(&g->source, &job->source)) {
            g->source_number = job->source_number; /* it may have been away in between */
            return i;
        }
    }
    /* Every group has a session or a taken job, and there are as many groups as of both. */
    uint32_t index = m->groups_free;
    INVARIANT(index != DP_NONE);
    struct dp_group *g = &m->groups[index];
    m->groups_free = g->hash_next;
    *g = (struct dp_group){
        .source = job->source,
        .source_number = job->source_number,
        .site_hash = job->site_hash,
        .tls_hash = job->tls_hash,
        .hash_next = *bucket,
        .idle_first = DP_NONE,
        .waiting_first = DP_NONE,
        .waiting_last = DP_NONE,
        .list_next = DP_NONE,
    };
    *bucket = index;
    return index;
}

static void group_free_if_empty(struct dp_sessions *m, uint32_t index)
{
    struct dp_group *g = &m->groups[index];
    if (g->n_sessions > 0 || g->waiting_first != DP_NONE || g->list != DP_GROUP_OFF) {
        return;
    }
    uint32_t *at = bucket_of(m, &g->source, g->site_hash, g->tls_hash);
    while (*at != index) {
        INVARIANT(*at != DP_NONE);
        at = &m->groups[*at].hash_next;
    }
    *at = g->hash_next;
    g->source.family = 0;
    g->hash_next = m->groups_free;
    m->groups_free = index;
}

/* ---- queues of groups -------------------------------------------------------------------- */

static void queue_push(struct dp_sessions *m, struct dp_group_queue *queue, uint32_t index,
                       enum dp_group_list list)
{
    struct dp_group *g = &m->groups[index];
    INVARIANT_HOT(g->list == DP_GROUP_OFF);
    g->list = list;
    g->list_next = DP_NONE;
    if (queue->first == DP_NONE) {
        queue->first = index;
    } else {
        m->groups[queue->last].list_next = index;
    }
    queue->last = index;
}

static uint32_t queue_pop(struct dp_sessions *m, struct dp_group_queue *queue)
{
    uint32_t index = queue->first;
    if (index != DP_NONE) {
        queue->first = m->groups[index].list_next;
        m->groups[index].list = DP_GROUP_OFF;
    }
    return index;
}

void dp_group_wake(struct dp_sessions *m, uint32_t group)
{
    if (m->groups[group].list == DP_GROUP_OFF) {
        queue_push(m, &m->ready, group, DP_GROUP_READY);
    }
}

void dp_group_wake_starved(struct dp_sessions *m)
{
    uint32_t group = queue_pop(m, &m->starved);
    if (group != DP_NONE) {
        dp_group_wake(m, group);
    }
}

void dp_group_wake_all_starved(struct dp_sessions *m)
{
    while (m->starved.first != DP_NONE) {
        dp_group_wake_starved(m);
    }
}

void dp_group_wake_all(struct dp_sessions *m)
{
    for (uint32_t i = 0; i < m->n_groups_max; i++) {
        if (m->groups[i].source.family != 0) {
            dp_group_wake(m, i);
        }
    }
}

/* ---- waiting jobs ------------------------------------------------------------------------ */

void dp_group_wait(struct dp_sessions *m, uint32_t group, struct dp_job *job, bool first)
{
    struct dp_group *g = &m->groups[group];
    job->next = first ? g->waiting_first : DP_NONE;
    if (g->waiting_first == DP_NONE) {
        g->waiting_first = g->waiting_last = job->slot;
    } else if (first) {
        g->waiting_first = job->slot;
    } else {
        dp_job_at(m, g->waiting_last)->next = job->slot;
        g->waiting_last = job->slot;
    }
    m->config.counters->waiting++;
    dp_group_wake(m, group);
}

struct dp_job *dp_group_peek(struct dp_sessions *m, uint32_t group)
{
    uint32_t slot = m->groups[group].waiting_first;
    return slot == DP_NONE ? NULL : dp_job_at(m, slot);
}

struct dp_job *dp_group_pop(struct dp_sessions *m, uint32_t group)
{
    struct dp_group *g = &m->groups[group];
    struct dp_job *job = dp_group_peek(m, group);
    if (job) {
        g->waiting_first = job->next;
        if (g->waiting_first == DP_NONE) {
            g->waiting_last = DP_NONE;
        }
        m->config.counters->waiting--;
        if (g->waiting_first != DP_NONE) { /* it is the next to be started */
            dp_job_prefetch(m, g->waiting_first);
        }
    }
    return job;
}

/* ---- idle sessions ----------------------------------------------------------------------- */

void dp_idle_add(struct dp_sessions *m, struct dp_session *s)
{
    struct dp_group *g = &m->groups[s->group];
    s->idle = (struct dp_link){.next = g->idle_first, .prev = DP_NONE};
    if (g->idle_first != DP_NONE) {
        m->sessions[g->idle_first].idle.prev = s->index;
    }
    g->idle_first = s->index;

    s->lru = (struct dp_link){.next = DP_NONE, .prev = m->lru_last};
    if (m->lru_last != DP_NONE) {
        m->sessions[m->lru_last].lru.next = s->index;
    } else {
        m->lru_first = s->index;
    }
    m->lru_last = s->index;
}

void dp_idle_remove(struct dp_sessions *m, struct dp_session *s)
{
    struct dp_group *g = &m->groups[s->group];
    *(s->idle.prev != DP_NONE ? &m->sessions[s->idle.prev].idle.next : &g->idle_first) =
        s->idle.next;
    if (s->idle.next != DP_NONE) {
        m->sessions[s->idle.next].idle.prev = s->idle.prev;
    }
    *(s->lru.prev != DP_NONE ? &m->sessions[s->lru.prev].lru.next : &m->lru_first) = s->lru.next;
    *(s->lru.next != DP_NONE ? &m->sessions[s->lru.next].lru.prev : &m->lru_last) = s->lru.prev;
}

/* An idle session of the group that may carry the job; the most recently used one. */
static struct dp_session *idle_for(struct dp_sessions *m, const struct dp_group *g,
                                   const struct dp_job *job)
{
    for (uint32_t i = g->idle_first; i != DP_NONE; i = m->sessions[i].idle.next) {
        if (dp_session_serves(&m->sessions[i], job) < job->n_targets) {
            return &m->sessions[i];
        }
    }
    return NULL;
}

/* ---- dispatch ---------------------------------------------------------------------------- */

static void starve(struct dp_sessions *m, uint64_t now_ns, uint32_t group)
{
    if (m->groups[group].list == DP_GROUP_OFF) { /* otherwise it is looked at again at once */
        queue_push(m, &m->starved, group, DP_GROUP_STARVED);
    }
    if (m->retry_ns == TIME_NEVER_NS) {
        m->retry_ns = now_ns + RETRY_NS;
    }
    if (m->n_free == 0 && m->lru_first != DP_NONE) {
        dp_session_quit(&m->sessions[m->lru_first], now_ns);
    }
}

/* Opens a connection for the first waiting job. False: not now. */
static bool open_one(struct dp_sessions *m, uint64_t now_ns, uint32_t group, struct dp_job *job)
{
    int result = dp_session_open(m, now_ns, group, job);
    if (result == UTCP_E_LIMIT || result == UTCP_E_PORTS) {
        starve(m, now_ns, group);
        return false;
    }
    (void)dp_group_pop(m, group);
    if (result != UTCP_OK) {
        const struct dp_failure failure = {.stage = OUTCOME_STAGE_CONNECT,
                                           .text = utcp_error_text(result)};
        dp_job_next_target(job, now_ns, group, &failure);
    }
    return true;
}

/* One step for the first waiting job. False: nothing more can be done for the group now. */
static bool dispatch_one(struct dp_sessions *m, uint64_t now_ns, uint32_t group, struct dp_job *job)
{
    struct dp_group *g = &m->groups[group];
    struct dp_session *idle = job->fresh_only ? NULL : idle_for(m, g, job);
    if (idle) {
        (void)dp_group_pop(m, group);
        if (!dp_session_reuse(idle, now_ns, job)) {
            dp_group_wait(m, group, job, true);
        }
        return true;
    }
    if (g->n_sessions < job->connections_max) {
        return open_one(m, now_ns, group, job);
    }
    if (g->idle_first != DP_NONE) { /* none of them may carry it: make room */
        dp_session_quit(&m->sessions[g->idle_first], now_ns);
    }
    return false;
}

static void dispatch(struct dp_sessions *m, uint64_t now_ns, uint32_t group)
{
    struct dp_job *job;
    while (m->mode != DP_HOLD && (job = dp_group_peek(m, group)) != NULL) {
        if (dp_group_drains(m, group) || dp_job_is_recalled(m, job)) {
            (void)dp_group_pop(m, group);
            dp_job_hand_back(job, now_ns);
        } else if (!dispatch_one(m, now_ns, group, job)) {
            break;
        }
    }
    group_free_if_empty(m, group);
}

void dp_group_dispatch_all(struct dp_sessions *m, uint64_t now_ns)
{
    uint32_t group;
    while ((group = queue_pop(m, &m->ready)) != DP_NONE) {
        dispatch(m, now_ns, group);
    }
}
