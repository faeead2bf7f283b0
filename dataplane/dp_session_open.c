/*
 * dp_session_open.c - a connection for a job: a new one, or one that is there. See
 * dp_session_private.h.
 */
#include "dataplane/dp_session_private.h"

/* With which TLS the job is to go to its target now. */
static enum chan_tls tls_policy(const struct dp_sessions *m, const struct dp_job *job, uint32_t i)
{
    enum chan_tls policy = job->targets[i].tls;
    bool clear = !m->config.tls || (job->clear >> i & 1u);
    return clear && dp_tls_is_opportunistic(policy) ? CHAN_TLS_NONE : policy;
}

int dp_session_open(struct dp_sessions *m, uint64_t now_ns, uint32_t group, struct dp_job *job)
{
    const struct dp_job_target *target = &job->targets[job->target];
    if (m->n_free == 0) {
        return UTCP_E_LIMIT;
    }
    struct dp_session *s = &m->sessions[m->free_first];
    const struct utcp_connect request = {
        .local = job->source,
        .remote = target->addr,
        .remote_port = target->port,
        .user = s,
    };
    int result = utcp_connect(m->config.tcp, now_ns, &request, &s->conn);
    if (result != UTCP_OK) {
        return result;
    }
    m->free_first = s->next_free;
    m->n_free--;
    m->groups[group].n_sessions++;
    m->config.sources->list[job->source_number].sessions++;
    m->config.counters->sessions++;
    m->config.counters->sessions_opened++;
    s->group = group;
    s->job = job->slot;
    s->messages = 0;
    s->working = false;
    s->idle_ms = job->idle_ms;
    s->bytes_acked = 0;
    s->unacked = false;
    s->retransmissions = 0;
    s->zero_window_ns = s->dot_end = 0;
    s->end = OUTCOME_END_OPEN;
    s->held.len = 0;
    s->tls_policy = tls_policy(m, job, job->target);
    s->tls_key = target->tls_key;
    s->tls_failed = s->tls_starved = s->tls_noted = false;
    s->peer = target->addr;
    s->peer_port = target->port;
    s->due_ns = now_ns + m->config.connect_timeout_ms * NS_PER_MS;
    (void)snprintf(s->ehlo, sizeof s->ehlo, "%s", job->ehlo);
    dp_session_enter(s, DP_SESSION_CONNECTING);
    dp_session_arm(s);
    return UTCP_OK;
}

uint32_t dp_session_serves(const struct dp_session *s, const struct dp_job *job)
{
    if (s->messages >= job->messages_per_connection_max) {
        return job->n_targets;
    }
    for (uint32_t i = job->target; i < job->n_targets; i++) { /* those before it have failed */
        const struct dp_job_target *target = &job->targets[i];
        if (target->port == s->peer_port && ip_addr_equal(&target->addr, &s->peer) &&
            target->tls_key == s->tls_key && tls_policy(s->owner, job, i) == s->tls_policy) {
            return i;
        }
    }
    return job->n_targets;
}
