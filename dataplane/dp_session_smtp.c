/*
 * dp_session_smtp.c - one session: a connection of utcp below, the SMTP engine above. See
 * dp_session_private.h for its states.
 */
#include "dataplane/dp_session_private.h"

#define RECV_BYTES 4096u
#define STARVED_NS (20 * NS_PER_MS) /* until blocks for TLS are asked for again */
#define LOOK_NS    (10 * NS_PER_S)  /* how often to look whether unacknowledged bytes went on */

static void session_free(struct dp_session *s)
{
    struct dp_sessions *m = s->owner;
    s->next_free = m->free_first;
    m->free_first = s->index;
    m->n_free++;
    m->config.counters->sessions--;
    m->groups[s->group].n_sessions--;
    m->config.sources->list[m->groups[s->group].source_number].sessions--;
    dp_timers_set(&m->timers, s->index, TIME_NEVER_NS);
    dp_group_wake(m, s->group);
    dp_group_wake_starved(m);
}

/* The only writer of .state. */
void dp_session_enter(struct dp_session *s, enum dp_session_state state)
{
    enum dp_session_state old = s->state;
    if (old == DP_SESSION_IDLE) {
        dp_idle_remove(s->owner, s);
    }
    s->state = state;
    switch (state) {
    case DP_SESSION_FREE:
        session_free(s);
        break;
    case DP_SESSION_IDLE:
        dp_idle_add(s->owner, s);
        break;
    case DP_SESSION_CONNECTING:
    case DP_SESSION_BUSY:
    case DP_SESSION_QUITTING:
        break;
    }
}

void dp_session_arm(struct dp_session *s)
{
    uint64_t due_ns = TIME_NEVER_NS;
    if (s->state == DP_SESSION_CONNECTING || s->state == DP_SESSION_IDLE) {
        due_ns = s->due_ns;
    }
    if (s->state != DP_SESSION_CONNECTING && s->state != DP_SESSION_FREE) {
        uint64_t client_ns = smtp_client_deadline_ns(&s->client);
        due_ns = client_ns < due_ns ? client_ns : due_ns;
    }
    if (s->tls_starved) {
        uint64_t soon_ns = s->starved_ns + STARVED_NS;
        due_ns = soon_ns < due_ns ? soon_ns : due_ns;
    }
    if (s->state == DP_SESSION_BUSY && s->unacked) {
        due_ns = s->look_ns < due_ns ? s->look_ns : due_ns;
    }
    dp_timers_set(&s->owner->timers, s->index, due_ns);
}

/* ---- end --------------------------------------------------------------------------------- */

/* Lets go of the connection: with FIN when all was said, otherwise with RST, after which no extent
 * is out. */
static void connection_end(struct dp_session *s, uint64_t now_ns, bool clean)
{
    struct utcp *tcp = s->owner->config.tcp;
    if (clean) {
        utcp_release(tcp, now_ns, s->conn);
    } else {
        utcp_abort(tcp, now_ns, s->conn);
    }
    s->conn = UTCP_CONN_NONE;
}

static void working_set(struct dp_session *s, bool working)
{
    struct dp_group *g = &s->owner->groups[s->group];
    g->n_working += working && !s->working;
    g->n_working -= !working && s->working;
    s->working = working;
}

/* What becomes of the job of a session that ended with the transaction open. */
static void job_after_end(struct dp_session *s, uint64_t now_ns, struct dp_job *job)
{
    const struct smtp_reply *reply = smtp_client_close_reply(&s->client);
    const struct dp_failure failure = {.stage = reply->stage,
                                       .code = reply->code,
                                       .enhanced = reply->enhanced,
                                       .text = reply->text};
    if (s->tls_failed && smtp_client_untouched(&s->client) &&
        dp_tls_is_opportunistic(s->tls_policy)) {
        s->owner->config.counters->tls_broken++;
        job->clear |= 1u << job->target;
        dp_job_again(job, s->group, job->target);
    } else if (!smtp_client_untouched(&s->client)) {
        dp_job_finish(job, now_ns);
    } else if (dp_group_drains(s->owner, s->group) || dp_job_is_recalled(s->owner, job)) {
        dp_job_hand_back(job, now_ns);
    } else if (s->messages > 1 && !job->fresh_only) {
        dp_job_again(job, s->group, 0);
    } else {
        dp_job_next_target(job, now_ns, s->group, &failure);
    }
}

/* Ends connection and session; returns the job that was on it, or null. */
static struct dp_job *session_end(struct dp_session *s, uint64_t now_ns)
{
    struct dp_job *job = dp_session_job(s);
    if (job) {
        dp_evidence_note(s, now_ns, job);
    }
    connection_end(s, now_ns, !job);
    dp_session_tls_end(s);
    working_set(s, false);
    s->job = DP_NONE;
    dp_session_enter(s, DP_SESSION_FREE);
    return job;
}

static void connect_failed(struct dp_session *s, uint64_t now_ns, const char *why)
{
    const struct dp_failure failure = {.stage = OUTCOME_STAGE_CONNECT, .text = why};
    dp_job_next_target(session_end(s, now_ns), now_ns, s->group, &failure);
}

/* ---- transactions ------------------------------------------------------------------------ */

static bool transaction_start(struct dp_session *s, uint64_t now_ns, struct dp_job *job)
{
    if (!smtp_client_start(&s->client, now_ns, &job->transaction)) {
        return false;
    }
    dp_evidence_begin(s, now_ns);
    s->messages++;
    s->job = job->slot;
    s->idle_ms = job->idle_ms;
    dp_job_start(s->owner, now_ns, job, s);
    return true;
}

static void quit_begin(struct dp_session *s, uint64_t now_ns)
{
    dp_session_enter(s, DP_SESSION_QUITTING);
    working_set(s, false);
    smtp_client_quit(&s->client, now_ns);
}

/* The session becomes idle, for the dispatcher to give it the next job, or says QUIT. */
static void transaction_done(struct dp_session *s, uint64_t now_ns)
{
    struct dp_sessions *m = s->owner;
    struct dp_job *job = dp_session_job(s);
    uint32_t messages_max = job->messages_per_connection_max;
    dp_evidence_note(s, now_ns, job);
    s->job = DP_NONE;
    if (!dp_job_try_elsewhere(job, s->group, smtp_client_lacked(&s->client))) {
        dp_job_finish(job, now_ns);
    }

    const struct dp_job *next = dp_group_peek(m, s->group);
    bool wanted = s->idle_ms > 0 ||
                  (next && !next->fresh_only && dp_session_serves(s, next) < next->n_targets);
    if (dp_group_drains(m, s->group) || s->messages >= messages_max || !wanted) {
        quit_begin(s, now_ns);
        return;
    }
    s->due_ns = now_ns + s->idle_ms * NS_PER_MS;
    dp_session_enter(s, DP_SESSION_IDLE);
    dp_group_wake(m, s->group);
}

/* It ended before TLS was on, and nobody has said yet what was wrong with that: there is no
 * STARTTLS where it must be, or the handshake came to a standstill. */
static void look_at_tls(struct dp_session *s)
{
    const struct smtp_reply *reply = smtp_client_close_reply(&s->client);
    if (reply->stage == OUTCOME_STAGE_STARTTLS && !smtp_client_is_secure(&s->client) &&
        !smtp_client_protocol_error(&s->client)) {
        s->tls_failed |= s->tls_on;
        dp_evidence_tls(s, s->tls_on ? TLS_FAILURE_VALIDATION : TLS_FAILURE_NOT_SUPPORTED,
                        reply->text);
    }
}

/* Events and output of the engine until it has nothing more. The session may have ended after. */
static void run(struct dp_session *s, uint64_t now_ns)
{
    for (;;) {
        uint32_t events = smtp_client_next_event(&s->client);
        if (events & SMTP_EV_STARTTLS) {
            dp_session_tls_begin(s, now_ns);
        }
        if (events & SMTP_EV_READY && s->state != DP_SESSION_QUITTING) {
            working_set(s, true);
            dp_evidence_tls(s, TLS_FAILURE_NONE, "");
        }
        if (events & SMTP_EV_TRANSACTION_DONE && s->job != DP_NONE) {
            transaction_done(s, now_ns);
            if (s->held.len > 0) { /* the server did not wait for the end: the stream is torn */
                (void)session_end(s, now_ns);
                return;
            }
        }
        if (events & SMTP_EV_CLOSED) {
            look_at_tls(s);
            struct dp_job *job = session_end(s, now_ns);
            if (job) {
                job_after_end(s, now_ns, job);
            }
            return;
        }
        bool sent = dp_session_pump(s, now_ns);
        if (sent && !s->unacked) {
            s->unacked = true;
            s->look_ns = now_ns + LOOK_NS;
        }
        if (!sent && events == 0) {
            s->starved_ns = now_ns;
            dp_session_arm(s);
            return;
        }
    }
}

bool dp_session_reuse(struct dp_session *s, uint64_t now_ns, struct dp_job *job)
{
    job->target = dp_session_serves(s, job);
    INVARIANT(job->target < job->n_targets);
    dp_session_enter(s, DP_SESSION_BUSY);
    if (!transaction_start(s, now_ns, job)) {
        (void)session_end(s, now_ns);
        return false;
    }
    run(s, now_ns);
    return true;
}

void dp_session_quit(struct dp_session *s, uint64_t now_ns)
{
    quit_begin(s, now_ns);
    run(s, now_ns);
}

/* ---- input ------------------------------------------------------------------------------- */

static void on_connected(struct dp_session *s, uint64_t now_ns)
{
    struct dp_sessions *m = s->owner;
    m->config.counters->sessions_established++;
    const struct dp_job *job = dp_session_job(s);
    const struct smtp_options options = {
        .tls = s->tls_policy == CHAN_TLS_NONE           ? SMTP_TLS_NONE
               : dp_tls_is_opportunistic(s->tls_policy) ? SMTP_TLS_MAY
                                                        : SMTP_TLS_MUST,
        .chunking = (job->use & CHAN_USE_CHUNKING) != 0,
    };
    smtp_client_init(&s->client, now_ns, s->ehlo, &m->config.timeouts);
    smtp_client_configure(&s->client, now_ns, &options);
    dp_session_enter(s, DP_SESSION_BUSY);
    bool started = transaction_start(s, now_ns, dp_session_job(s));
    INVARIANT(started); /* a session that has just begun takes a transaction */
}

static void receive(struct dp_session *s, uint64_t now_ns)
{
    uint8_t bytes[RECV_BYTES];
    uint32_t n;
    while ((n = utcp_recv(s->owner->config.tcp, now_ns, s->conn, bytes, sizeof bytes)) > 0) {
        if (s->tls_on) {
            dp_session_tls_input(s, now_ns, bytes, n);
        } else {
            smtp_client_input(&s->client, now_ns, bytes, n);
        }
    }
}

/* ---- memory ------------------------------------------------------------------------------ */

void dp_session_prefetch(const struct dp_session *s)
{
    memory_prefetch(s, offsetof(struct dp_session, ehlo));
    memory_prefetch(&s->client, sizeof s->client);
}

void dp_session_prefetch_job(const struct dp_session *s)
{
    if (s->job != DP_NONE) {
        dp_job_prefetch(s->owner, s->job);
    }
}

/* ---- events ------------------------------------------------------------------------------ */

void dp_session_on_event(struct dp_session *s, uint64_t now_ns, const struct utcp_event *event)
{
    if (event->events & UTCP_EV_CONNECTED && s->state == DP_SESSION_CONNECTING) {
        on_connected(s, now_ns);
    }
    if (s->state == DP_SESSION_CONNECTING) {
        if (event->events & UTCP_EV_CLOSED) {
            dp_evidence_end(s, dp_evidence_of_close(event->reason));
            connect_failed(s, now_ns, utcp_close_text(event->reason));
        }
        return;
    }
    receive(s, now_ns);
    if (event->events & UTCP_EV_EOF) {
        dp_evidence_end(s, OUTCOME_END_FIN);
    }
    if (event->events & UTCP_EV_CLOSED) {
        dp_evidence_end(s, dp_evidence_of_close(event->reason));
    }
    if (event->events & (UTCP_EV_EOF | UTCP_EV_CLOSED)) {
        dp_session_tls_eof(s, now_ns);
    }
    if (event->events & UTCP_EV_CLOSED && event->reason != UTCP_CLOSE_NORMAL) {
        smtp_client_eof(&s->client, now_ns, utcp_close_text(event->reason));
    } else if (event->events & (UTCP_EV_EOF | UTCP_EV_CLOSED)) {
        smtp_client_eof(&s->client, now_ns, "the server closed the connection");
    }
    if (event->events & UTCP_EV_SENDABLE) {
        smtp_client_progress(&s->client, now_ns);
    }
    run(s, now_ns);
}

/* ---- time -------------------------------------------------------------------------------- */

/* The engine's timers for body and dot run from the last byte that the server's TCP took, and TCP
 * does not tell each ACK: look now and then. */
static void look_at_progress(struct dp_session *s, uint64_t now_ns)
{
    struct utcp_info info;
    if (!s->unacked || !utcp_info(s->owner->config.tcp, now_ns, s->conn, &info)) {
        return;
    }
    if (info.bytes_acked_total != s->bytes_acked) {
        s->bytes_acked = info.bytes_acked_total;
        smtp_client_progress(&s->client, now_ns);
    }
    s->unacked = info.bytes_acked_total < info.bytes_queued_total;
    s->look_ns = now_ns + LOOK_NS;
}

void dp_session_on_deadline(struct dp_session *s, uint64_t now_ns)
{
    if (s->state == DP_SESSION_CONNECTING) {
        dp_evidence_end(s, OUTCOME_END_SILENCE);
        connect_failed(s, now_ns, "connection timed out");
        return;
    }
    if (s->state == DP_SESSION_IDLE && now_ns >= s->due_ns) {
        dp_session_quit(s, now_ns);
        return;
    }
    look_at_progress(s, now_ns);
    if (smtp_client_deadline_ns(&s->client) <= now_ns) {
        dp_evidence_end(s, OUTCOME_END_SILENCE);
        smtp_client_on_deadline(&s->client, now_ns);
    }
    run(s, now_ns);
}

void dp_session_cut(struct dp_session *s, uint64_t now_ns)
{
    if (s->state == DP_SESSION_BUSY && smtp_client_dot_sent(&s->client)) {
        smtp_client_eof(&s->client, now_ns, "drained while waiting for the reply to the final dot");
        run(s, now_ns);
        return;
    }
    struct dp_job *job = session_end(s, now_ns);
    if (job) {
        dp_job_hand_back(job, now_ns);
    }
}
