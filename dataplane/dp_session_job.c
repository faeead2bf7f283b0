/* dp_session_job.c - a job's way through the session manager. See dp_session_private.h. */
#include "dataplane/dp_session_private.h"

static uint64_t realtime(const struct dp_sessions *m, uint64_t now_ns)
{
    return now_ns + (uint64_t)m->realtime_offset_ns;
}

/* ---- extents: what TCP still holds ------------------------------------------------------- */

/* The last step of a job: nobody looks at its part of the arena any more. */
static void complete(struct dp_job *job)
{
    if (job->finished && job->body.refs == 0 && job->prefix.refs == 0) {
        struct dp_sessions *m = job->owner;
        m->n_jobs--;
        job->live = false;
        chan_lane_finish(m->config.channel, job->slot);
    }
}

static void body_free(struct utcp_extent *extent)
{
    complete((struct dp_job *)(void *)((char *)extent - offsetof(struct dp_job, body)));
}

static void prefix_free(struct utcp_extent *extent)
{
    complete((struct dp_job *)(void *)((char *)extent - offsetof(struct dp_job, prefix)));
}

/* While a transaction runs the job holds one reference of its own on each extent, so that the count
 * does not touch zero between two pieces. */
static void extents_hold(struct dp_job *job)
{
    job->body.refs++;
    job->prefix.refs++;
    job->body.free = body_free;
    job->prefix.free = prefix_free;
}

static void extents_drop(struct dp_job *job)
{
    INVARIANT(job->body.refs > 0 && job->prefix.refs > 0);
    job->body.refs--;
    job->prefix.refs--;
}

void dp_job_prefetch(struct dp_sessions *m, uint32_t slot)
{
    const struct dp_job *job = dp_job_at(m, slot);
    const struct chan_slot *shared = chan_lane_slot(m->config.channel, slot);
    memory_prefetch(job, offsetof(struct dp_job, recipients) + sizeof job->recipients[0]);
    memory_prefetch(&shared->started_ns, offsetof(struct chan_slot, results) -
                                             offsetof(struct chan_slot, started_ns) +
                                             sizeof shared->results[0]);
    __builtin_prefetch((const void *)&shared->state, 1);
}

static void prefetch_range(const struct dp_sessions *m, struct chan_range range, uint64_t at)
{
    if (range.offset < m->limits.arena_bytes && at < m->limits.arena_bytes - range.offset) {
        __builtin_prefetch(m->limits.arena + range.offset + at);
    }
}

void dp_job_prefetch_content(struct dp_sessions *m, uint32_t slot)
{
    const struct chan_slot *shared = chan_lane_slot(m->config.channel, slot);
    const struct dp_job *job = dp_job_at(m, slot);
    memory_prefetch(job, offsetof(struct dp_job, recipients) + sizeof job->recipients[0]);
    for (uint64_t at = 0; at < shared->strings.len && at < 512; at += 64) {
        prefetch_range(m, shared->strings, at);
        __builtin_prefetch(job->strings + at, 1);
    }
    prefetch_range(m, shared->body, shared->body.len - 1);
}

/* ---- arrival ----------------------------------------------------------------------------- */

static void refuse(struct dp_sessions *m, uint64_t now_ns, struct dp_job *job, uint32_t slot,
                   const char *why)
{
    const struct dp_failure failure = {.stage = OUTCOME_STAGE_LOCAL, .text = why};
    uint32_t n = chan_lane_slot(m->config.channel, slot)->n_recipients;
    memset(job, 0, offsetof(struct dp_job, strings));
    job->slot = slot;
    job->owner = m;
    job->live = true;
    job->transaction.recipients = job->recipients;
    job->transaction.n_recipients = n < CHAN_RCPT_MAX ? n : CHAN_RCPT_MAX;
    m->config.counters->jobs_refused++;
    dp_job_fail(job, now_ns, OUTCOME_DEFERRED, &failure);
}

void dp_job_arrive(struct dp_sessions *m, uint64_t now_ns, uint32_t slot)
{
    struct dp_job *job = dp_job_at(m, slot);
    const char *why = dp_job_parse(chan_lane_slot(m->config.channel, slot), slot, &m->limits, job);
    m->config.counters->jobs++;
    m->n_jobs++;
    if (why) {
        refuse(m, now_ns, job, slot, why);
        return;
    }
    job->owner = m;
    job->live = true;
    if (m->mode == DP_DRAIN) {
        dp_job_hand_back(job, now_ns);
        return;
    }
    dp_group_wait(m, dp_group_get(m, job), job, false);
}

/* ---- running ----------------------------------------------------------------------------- */

void dp_job_start(struct dp_sessions *m, uint64_t now_ns, struct dp_job *job,
                  const struct dp_session *s)
{
    struct chan_slot *slot = dp_job_slot(m, job);
    extents_hold(job);
    if (!job->started) {
        job->started = true;
        job->started_ns = realtime(m, now_ns);
    }
    job->bytes_sent = 0;
    slot->started_ns = job->started_ns;
    slot->reused = s->messages > 1;
    m->config.counters->sessions_reused += s->messages > 1;
    chan_lane_set_state(m->config.channel, job->slot, CHAN_STARTED);
}

static void write_result(struct chan_result *to, const struct smtp_recipient *from)
{
    to->kind = (uint8_t)from->kind;
    to->stage = from->reply.stage;
    to->code = from->reply.code;
    memcpy(to->enhanced, from->reply.enhanced, sizeof to->enhanced);
    to->pad = 0;
    size_t len = strnlen(from->reply.text, sizeof to->text - 1);
    memcpy(to->text, from->reply.text, len);
    to->text[len] = '\0';
}

static void count_result(struct chan_counters *counters, enum outcome_kind kind)
{
    switch (kind) {
    case OUTCOME_DELIVERED:
        counters->delivered++;
        break;
    case OUTCOME_DEFERRED:
        counters->deferred++;
        break;
    case OUTCOME_BOUNCED:
        counters->bounced++;
        break;
    case OUTCOME_DOUBTFUL:
        counters->doubtful++;
        break;
    case OUTCOME_NONE:
    case OUTCOME_RETURNED:
        break;
    }
}

/* A message whose end never left is not doubtful: it is as any that could not be sent. */
static bool settle_doubt(struct dp_job *job)
{
    bool doubtful = false;
    for (uint32_t i = 0; i < job->transaction.n_recipients; i++) {
        struct smtp_recipient *r = &job->recipients[i];
        if (r->kind == OUTCOME_DOUBTFUL && job->arrival == OUTCOME_ARRIVAL_NEVER) {
            r->kind = OUTCOME_DEFERRED;
        }
        doubtful |= r->kind == OUTCOME_DOUBTFUL;
    }
    return doubtful || job->arrival == OUTCOME_ARRIVAL_NEVER;
}

/* The slot is as control gave it but for its own fields, so n comes from our copy. */
void dp_job_finish(struct dp_job *job, uint64_t now_ns)
{
    struct dp_sessions *m = job->owner;
    struct chan_slot *slot = dp_job_slot(job->owner, job);
    INVARIANT(!job->finished);
    slot->arrival = settle_doubt(job) ? (uint8_t)job->arrival : OUTCOME_ARRIVAL_NONE;
    for (uint32_t i = 0; i < job->transaction.n_recipients; i++) {
        INVARIANT_HOT(job->recipients[i].kind != OUTCOME_NONE);
        write_result(&slot->results[i], &job->recipients[i]);
        count_result(m->config.counters, job->recipients[i].kind);
    }
    slot->done_ns = realtime(m, now_ns);
    slot->bytes_sent = job->bytes_sent;
    job->finished = true;
    if (job->body.refs > 0) {
        extents_drop(job);
    }
    complete(job);
}

/* A transaction that left no trace at the server is as good as none. */
static void undo_start(struct dp_job *job)
{
    if (job->body.refs > 0) {
        extents_drop(job);
    }
    INVARIANT(job->body.refs == 0 && job->prefix.refs == 0);
    for (uint32_t i = 0; i < job->transaction.n_recipients; i++) {
        job->recipients[i].kind = OUTCOME_NONE;
        job->recipients[i].reply = (struct smtp_reply){0};
    }
}

void dp_job_fail(struct dp_job *job, uint64_t now_ns, enum outcome_kind kind,
                 const struct dp_failure *failure)
{
    for (uint32_t i = 0; i < job->transaction.n_recipients; i++) {
        struct smtp_reply *reply = &job->recipients[i].reply;
        job->recipients[i].kind = kind;
        *reply = (struct smtp_reply){.code = failure->code, .stage = (uint8_t)failure->stage};
        if (failure->enhanced) {
            memcpy(reply->enhanced, failure->enhanced, sizeof reply->enhanced);
        }
        (void)snprintf(reply->text, sizeof reply->text, "%s", failure->text);
    }
    dp_job_finish(job, now_ns);
}

void dp_job_hand_back(struct dp_job *job, uint64_t now_ns)
{
    static const struct dp_failure failure = {.stage = OUTCOME_STAGE_LOCAL,
                                              .text = "not attempted: drained or recalled"};
    job->owner->config.counters->jobs_returned++;
    dp_job_fail(job, now_ns, OUTCOME_RETURNED, &failure);
}

bool dp_job_is_recalled(const struct dp_sessions *m, const struct dp_job *job)
{
    return atomic_load_explicit(&chan_lane_slot(m->config.channel, job->slot)->recalled,
                                memory_order_acquire) != 0;
}

/* ---- after a failure --------------------------------------------------------------------- */

static bool same_targets(const struct dp_job *a, const struct dp_job *b)
{
    if (a->n_targets != b->n_targets) {
        return false;
    }
    for (uint32_t i = 0; i < a->n_targets; i++) {
        if (a->targets[i].port != b->targets[i].port ||
            !ip_addr_equal(&a->targets[i].addr, &b->targets[i].addr)) {
            return false;
        }
    }
    return true;
}

/* Defers those that wait for what has just failed; only as many as wait now are looked at. */
static void defer_waiting(struct dp_sessions *m, uint64_t now_ns, uint32_t group,
                          const struct dp_job *failed, const struct dp_failure *failure)
{
    char text[SMTP_TEXT_MAX];
    (void)snprintf(text, sizeof text, "not tried, the site failed just now: %.200s", failure->text);
    const struct dp_failure local = {.stage = OUTCOME_STAGE_LOCAL, .text = text};
    uint32_t last = m->groups[group].waiting_last;
    struct dp_job *job = dp_group_pop(m, group);
    while (job) {
        bool was_last = job->slot == last;
        if (same_targets(job, failed)) {
            dp_job_fail(job, now_ns, OUTCOME_DEFERRED, &local);
        } else {
            dp_group_wait(m, group, job, false);
        }
        job = was_last ? NULL : dp_group_pop(m, group);
    }
}

void dp_job_next_target(struct dp_job *job, uint64_t now_ns, uint32_t group,
                        const struct dp_failure *failure)
{
    struct dp_sessions *m = job->owner;
    undo_start(job);
    job->unreached = true;
    job->target++;
    if (job->target < job->n_targets) {
        dp_group_wait(m, group, job, true);
        return;
    }
    job->target = job->n_targets - 1;
    dp_job_fail(job, now_ns, OUTCOME_DEFERRED, failure);
    if (m->groups[group].n_working == 0) {
        defer_waiting(m, now_ns, group, job, failure);
    }
}

void dp_job_again(struct dp_job *job, uint32_t group, uint32_t target)
{
    undo_start(job);
    job->fresh_only = true;
    job->target = target;
    dp_group_wait(job->owner, group, job, true);
}

/* Every recipient had a 4xx to MAIL, or the server offers too little. */
static bool may_be_better_elsewhere(const struct dp_job *job, bool lacked)
{
    const struct smtp_recipient *first = &job->recipients[0];
    return lacked || (first->kind == OUTCOME_DEFERRED && first->reply.stage == OUTCOME_STAGE_MAIL &&
                      first->reply.code > 0);
}

bool dp_job_try_elsewhere(struct dp_job *job, uint32_t group, bool lacked)
{
    if (!may_be_better_elsewhere(job, lacked)) {
        return false;
    }
    if (job->target + 1 < job->n_targets) {
        undo_start(job);
        job->target++;
        dp_group_wait(job->owner, group, job, true);
        return true;
    }
    for (uint32_t i = 0; lacked && job->unreached && i < job->transaction.n_recipients; i++) {
        job->recipients[i].kind = OUTCOME_DEFERRED; /* a target that was away may offer it */
    }
    return false;
}
