/* dp_session.c - the session manager's entry points. See dp_session.h, dp_session_private.h. */
#include "dataplane/dp_session_private.h"

#define CONNECT_TIMEOUT_MS                                                                         \
    30000u /* RFC 5321 gives none; a dead host must not hold a slot for long */
#define DRAIN_MS     30000u
#define EVENTS_AHEAD 32u /* so many are looked at together, for their misses to overlap */
#define JOBS_AHEAD   16u

static uint32_t power_of_two_above(uint32_t n)
{
    uint32_t power = 1;
    while (power < n) {
        power *= 2;
    }
    return power;
}

static void sessions_init(struct dp_sessions *m)
{
    m->free_first = DP_NONE;
    m->n_free = m->config.sessions_max;
    m->lru_first = m->lru_last = DP_NONE;
    for (uint32_t i = m->config.sessions_max; i-- > 0;) {
        m->sessions[i].owner = m;
        m->sessions[i].index = i;
        m->sessions[i].next_free = m->free_first;
        m->free_first = i;
    }
}

/* Zeroed pages that nobody touched cost nothing, so pools are as large as they may become. */
static bool memory_get(struct dp_sessions *m)
{
    uint32_t n_slots = m->config.channel->map.n_slots;
    m->n_groups_max = n_slots + m->config.sessions_max;
    m->n_buckets = power_of_two_above(m->n_groups_max);
    m->sessions = calloc(m->config.sessions_max, sizeof m->sessions[0]);
    m->jobs = calloc(n_slots, sizeof m->jobs[0]);
    memory_prefer_huge_pages(m->sessions, m->config.sessions_max * sizeof m->sessions[0]);
    memory_prefer_huge_pages(m->jobs, n_slots * sizeof m->jobs[0]);
    m->groups = calloc(m->n_groups_max, sizeof m->groups[0]);
    m->buckets = calloc(m->n_buckets, sizeof m->buckets[0]);
    return m->sessions && m->jobs && m->groups && m->buckets &&
           dp_timers_init(&m->timers, m->config.sessions_max);
}

static void memory_free(struct dp_sessions *m)
{
    dp_timers_fini(&m->timers);
    free(m->sessions);
    free(m->jobs);
    free(m->groups);
    free(m->buckets);
    free(m);
}

struct dp_sessions *dp_sessions_create(const struct dp_sessions_config *config)
{
    struct dp_sessions *m = calloc(1, sizeof *m);
    if (!m) {
        return NULL;
    }
    m->config = *config;
    if (m->config.connect_timeout_ms == 0) {
        m->config.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    }
    if (m->config.drain_ms == 0) {
        m->config.drain_ms = DRAIN_MS;
    }
    m->drain_ns = m->retry_ns = TIME_NEVER_NS;
    m->limits = (struct dp_job_limits){
        .arena = config->channel->map.arena,
        .arena_bytes = config->channel->map.arena_bytes,
        .sources = config->sources,
    };
    if (!memory_get(m)) {
        memory_free(m);
        return NULL;
    }
    sessions_init(m);
    dp_groups_init(m);
    return m;
}

void dp_sessions_stop(struct dp_sessions *m, uint64_t now_ns)
{
    for (uint32_t i = 0; i < m->config.sessions_max; i++) {
        if (m->sessions[i].state != DP_SESSION_FREE) {
            utcp_abort(m->config.tcp, now_ns, m->sessions[i].conn);
            dp_session_tls_end(&m->sessions[i]);
        }
    }
}

void dp_sessions_destroy(struct dp_sessions *m)
{
    if (m) {
        memory_free(m);
    }
}

/* ---- modes ------------------------------------------------------------------------------- */

/* Sessions that carry no transaction yet, or none any more. */
static void drain_begin(struct dp_sessions *m, uint64_t now_ns)
{
    for (uint32_t i = 0; i < m->config.sessions_max; i++) {
        struct dp_session *s = &m->sessions[i];
        if (s->state == DP_SESSION_CONNECTING) {
            dp_session_cut(s, now_ns);
        } else if (s->state == DP_SESSION_IDLE) {
            dp_session_quit(s, now_ns);
        }
    }
}

static void drain_end(struct dp_sessions *m, uint64_t now_ns)
{
    m->drain_ns = TIME_NEVER_NS;
    for (uint32_t i = 0; i < m->config.sessions_max; i++) {
        if (m->sessions[i].state != DP_SESSION_FREE) {
            dp_session_cut(&m->sessions[i], now_ns);
        }
    }
}

void dp_sessions_set_mode(struct dp_sessions *m, uint64_t now_ns, enum dp_mode mode)
{
    if (m->mode == mode) {
        return;
    }
    m->mode = mode;
    m->drain_ns = TIME_NEVER_NS;
    if (mode == DP_DRAIN) {
        m->drain_ns = now_ns + m->config.drain_ms * NS_PER_MS;
        drain_begin(m, now_ns);
    }
    dp_group_wake_all(m);
    dp_group_dispatch_all(m, now_ns);
}

/* It connects, or has connected and said nothing of the message yet. */
static bool has_not_begun(const struct dp_session *s)
{
    return s->state == DP_SESSION_CONNECTING ||
           (s->state == DP_SESSION_BUSY && smtp_client_untouched(&s->client));
}

void dp_sessions_recall(struct dp_sessions *m, uint64_t now_ns)
{
    for (uint32_t i = 0; i < m->config.sessions_max; i++) {
        struct dp_session *s = &m->sessions[i];
        const struct dp_job *job = s->state == DP_SESSION_FREE ? NULL : dp_session_job(s);
        if (job && dp_job_is_recalled(m, job) && has_not_begun(s)) {
            dp_session_cut(s, now_ns);
        }
    }
    dp_group_wake_all(m);
    dp_group_dispatch_all(m, now_ns);
}

void dp_sessions_drain_sources(struct dp_sessions *m, uint64_t now_ns)
{
    for (uint32_t i = 0; i < m->config.sessions_max; i++) {
        struct dp_session *s = &m->sessions[i];
        if (s->state == DP_SESSION_FREE || !dp_group_drains(m, s->group)) {
            continue;
        }
        if (has_not_begun(s)) {
            dp_session_cut(s, now_ns);
        } else if (s->state == DP_SESSION_IDLE) {
            dp_session_quit(s, now_ns);
        }
    }
    dp_group_wake_all(m);
    dp_group_dispatch_all(m, now_ns);
}

void dp_sessions_set_realtime(struct dp_sessions *m, int64_t offset_ns)
{
    m->realtime_offset_ns = offset_ns;
}

/* ---- one turn ---------------------------------------------------------------------------- */

uint32_t dp_sessions_take_jobs(struct dp_sessions *m, uint64_t now_ns, uint32_t max)
{
    uint32_t sum = 0, n;
    do {
        uint32_t slots[JOBS_AHEAD];
        uint32_t most = m->mode == DP_HOLD ? 0 : max - sum < JOBS_AHEAD ? max - sum : JOBS_AHEAD;
        chan_lane_prefetch_jobs(m->config.channel, most);
        for (n = 0; n < most && chan_lane_next_job(m->config.channel, &slots[n]); n++) {
            dp_job_prefetch_content(m, slots[n]);
        }
        for (uint32_t i = 0; i < n; i++) {
            dp_job_arrive(m, now_ns, slots[i]);
        }
        sum += n;
    } while (n > 0);
    dp_group_dispatch_all(m, now_ns);
    return sum;
}

uint32_t dp_sessions_tcp_events(struct dp_sessions *m, uint64_t now_ns)
{
    struct utcp_event events[EVENTS_AHEAD];
    uint32_t sum = 0, n;
    do {
        for (n = 0; n < EVENTS_AHEAD && utcp_next_event(m->config.tcp, &events[n]); n++) {
            dp_session_prefetch(events[n].user);
        }
        for (uint32_t i = 0; i < n; i++) {
            dp_session_prefetch_job(events[i].user);
        }
        for (uint32_t i = 0; i < n; i++) {
            struct dp_session *s = events[i].user;
            INVARIANT_HOT(s->state != DP_SESSION_FREE && s->conn == events[i].conn);
            dp_session_on_event(s, now_ns, &events[i]);
        }
        sum += n;
    } while (n > 0);
    dp_group_dispatch_all(m, now_ns);
    return sum;
}

uint64_t dp_sessions_deadline_ns(const struct dp_sessions *m)
{
    uint64_t due_ns = dp_timers_next_ns(&m->timers);
    due_ns = m->retry_ns < due_ns ? m->retry_ns : due_ns;
    return m->drain_ns < due_ns ? m->drain_ns : due_ns;
}

void dp_sessions_on_deadline(struct dp_sessions *m, uint64_t now_ns)
{
    uint32_t index;
    while (dp_timers_pop(&m->timers, now_ns, &index)) {
        dp_session_on_deadline(&m->sessions[index], now_ns);
    }
    if (now_ns >= m->retry_ns) {
        m->retry_ns = TIME_NEVER_NS;
        dp_group_wake_all_starved(m);
    }
    if (now_ns >= m->drain_ns) {
        drain_end(m, now_ns);
    }
    dp_group_dispatch_all(m, now_ns);
}

uint32_t dp_sessions_busy(const struct dp_sessions *m)
{
    return m->config.sessions_max - m->n_free + m->n_jobs;
}
