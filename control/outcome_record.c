/*
 * outcome_record.c - a job has ended: see outcome_record.h.
 *
 * An `ending` is everything that the store is to write, and what is to be done once it is durable.
 * It lives until then; a write that fails is given to the store again every second, and until it
 * succeeds the job's slot stays taken, so that a full disk slows sending down instead of losing
 * outcomes.
 *
 * A recipient whose attempt is in the spool already (the process was killed between the commit and
 * the slot's release) is passed over.
 */
#include "control/outcome_private.h"

#include "control/dispatch.h"
#include "control/events.h"
#include "control/lanes.h"

#define RETRY_MS 1000

/* ---- what the results say ---------------------------------------------------------------- */

static bool slot_string(struct ctl *ctl, const struct ctl_job *job, uint32_t offset, char *buf,
                        size_t buf_bytes)
{
    const char *strings =
        (const char *)chan_control_bytes(ctl->lanes->list[job->lane].chan, job->strings);
    if (!strings || offset >= job->strings.len) {
        return false;
    }
    size_t room = job->strings.len - offset, len = strnlen(strings + offset, room);
    if (len == room || len >= buf_bytes) {
        return false;
    }
    memcpy(buf, strings + offset, len + 1);
    return true;
}

/* Of the target that was talked to last; another's stands in TLS-RPT only. */
static void read_tls(const struct chan_slot *slot, uint32_t target, struct ending *e)
{
    const struct chan_tls_result *result = &slot->tls_results[target];
    e->tls_policy = slot->targets[target].tls < CHAN_N_TLS ? slot->targets[target].tls : 0;
    e->tls_failure = result->failure < TLS_N_FAILURES ? result->failure : TLS_FAILURE_VALIDATION;
    if (e->tls_failure != TLS_FAILURE_NONE) {
        (void)snprintf(e->tls_reason, sizeof e->tls_reason, "%s", slot->tls_reason);
    }
}

static void read_connection(struct ctl *ctl, const struct ctl_job *job,
                            const struct chan_slot *slot, struct ending *e)
{
    uint32_t target = slot->target_used;
    e->has_slot = true;
    if (job->lane == LANE_RELAY) {
        (void)slot_string(ctl, job, slot->route, e->route, sizeof e->route);
    } else {
        (void)snprintf(e->route, sizeof e->route, "dedicated");
        (void)ip_addr_format(&job->source, e->source);
    }
    if (slot->peer.family == 4 || slot->peer.family == 6) {
        (void)ip_addr_format(&slot->peer, e->peer);
    }
    if (target < slot->n_targets && target < CHAN_TARGET_MAX) {
        (void)slot_string(ctl, job, slot->targets[target].host, e->host, sizeof e->host);
        read_tls(slot, target, e);
    }
    e->extensions = slot->extensions;
    e->syn_rtt_us = slot->syn_rtt_us;
    e->zero_window_ms = slot->zero_window_ms;
    e->end = slot->end;
    e->arrival = slot->arrival;
    e->rtt_us = slot->rtt_us;
    e->tls_version = slot->tls_version;
    e->tls_verified = slot->tls_verified == 1;
    e->retransmissions = slot->retransmissions;
    e->bytes = slot->bytes_sent;
    e->seconds = slot->done_ns > slot->started_ns && slot->started_ns > 0
                     ? (double)(slot->done_ns - slot->started_ns) / 1e9
                     : 0;
    e->started_ms = (int64_t)(slot->started_ns / NS_PER_MS);
}

static void result_of(const struct chan_slot *slot, const struct outcome_own *own, uint32_t i,
                      struct verdict *ret_verdict)
{
    *ret_verdict = (struct verdict){0};
    if (own) {
        ret_verdict->kind = own->kind;
        ret_verdict->stage = own->stage;
        ret_verdict->code = own->code;
        memcpy(ret_verdict->enhanced, own->enhanced, 3);
        ret_verdict->next_try_ms = own->not_before_ms;
        (void)snprintf(ret_verdict->text, sizeof ret_verdict->text, "%s", own->text);
        return;
    }
    const struct chan_result *result = &slot->results[i];
    ret_verdict->kind = result->kind;
    ret_verdict->stage = result->stage;
    ret_verdict->code = result->code;
    memcpy(ret_verdict->enhanced, result->enhanced, 3);
    (void)snprintf(ret_verdict->text, sizeof ret_verdict->text, "%.*s",
                   (int)sizeof result->text - 1, result->text);
}

/* What follows for the recipient: its next try, or the end (RFC 5321 4.5.4.1). */
static void judge(struct ctl *ctl, struct verdict *v, uint32_t attempt, int64_t now_ms,
                  int64_t expires_ms)
{
    v->state = v->kind == OUTCOME_DELIVERED ? STORE_RCPT_DELIVERED
               : v->kind == OUTCOME_BOUNCED ? STORE_RCPT_BOUNCED
                                            : STORE_RCPT_QUEUED;
    if (v->state != STORE_RCPT_QUEUED) {
        v->next_try_ms = 0;
        return;
    }
    if (now_ms >= expires_ms) {
        v->kind = OUTCOME_BOUNCED;
        v->state = STORE_RCPT_BOUNCED;
        v->expired = true;
        return;
    }
    if (v->next_try_ms == 0) {
        v->next_try_ms =
            now_ms + (v->kind == OUTCOME_DOUBTFUL
                          ? (int64_t)ctl->config.delivery.doubtful_retry_s * 1000
                          : backoff_ms(&ctl->config.delivery.backoff, attempt, ctl_random(ctl)));
    }
    v->next_try_ms = v->next_try_ms < now_ms ? now_ms : v->next_try_ms;
    v->next_try_ms = v->next_try_ms > expires_ms ? expires_ms : v->next_try_ms;
}

/* ---- making the ending ------------------------------------------------------------------- */

struct making {
    struct ending *e;
    const struct chan_slot *slot;
    const struct outcome_own *own;
};

static void add_recipient(struct making *making, uint32_t i, const struct store_rcpt *rcpt,
                          int64_t expires_ms)
{
    struct ending *e = making->e;
    const struct ctl_job *job = e->job;
    struct verdict *v = &e->verdicts[e->n];
    result_of(making->slot, making->own, i, v);
    if (v->kind == OUTCOME_RETURNED || v->kind == OUTCOME_NONE) {
        e->due_ms = 0;
        return;
    }
    outcome_classify(e, v);
    if (outcome_goes_elsewhere(e, v, rcpt->last)) {
        v->kind = OUTCOME_DEFERRED;
        v->next_try_ms = e->now_ms;
    }
    judge(e->ctl, v, job->attempt[i], e->now_ms, expires_ms);
    if (v->state == STORE_RCPT_QUEUED && v->next_try_ms < e->due_ms) {
        e->due_ms = v->next_try_ms;
    }
    (void)snprintf(v->address, sizeof v->address, "%s", rcpt->address);
    (void)snprintf(v->orcpt, sizeof v->orcpt, "%s", rcpt->orcpt ? rcpt->orcpt : "");
    v->notify = rcpt->notify;
    v->last = outcome_last_text(e, v);
    v->event = outcome_event_text(e, v, job->attempt[i]);
    e->updates[e->n++] = (struct store_rcpt_update){
        .index = job->index[i],
        .state = v->state,
        .attempts = job->attempt[i],
        .next_try_ms = v->next_try_ms,
        .last = v->last,
        .event_json = v->event,
    };
}

static bool on_message(void *user, const struct store_message *message,
                       const struct store_rcpt *recipients)
{
    struct making *making = user;
    struct ending *e = making->e;
    (void)snprintf(e->sender, sizeof e->sender, "%s", message->sender);
    (void)snprintf(e->mail_from, sizeof e->mail_from, "%s", message->mail_from);
    e->accepted_ms = message->accepted_ms;
    (void)snprintf(e->envid, sizeof e->envid, "%s", message->envid ? message->envid : "");
    for (uint32_t i = 0; i < e->job->n; i++) {
        uint32_t index = e->job->index[i];
        if (index >= message->n_recipients) {
            continue; /* not of this message: a slot that was written over */
        }
        const struct store_rcpt *rcpt = &recipients[index];
        if (i == 0) {
            (void)snprintf(e->site, sizeof e->site, "%s", rcpt->domain);
        }
        if (rcpt->state == STORE_RCPT_QUEUED && rcpt->attempts < e->job->attempt[i]) {
            add_recipient(making, i, rcpt, message->expires_ms);
        } else if (rcpt->state == STORE_RCPT_QUEUED && rcpt->next_try_ms < e->due_ms) {
            e->due_ms = rcpt->next_try_ms;
        }
    }
    return false;
}

/* Recipients that this job did not pick, because they were due later, keep the item in the queue.
 */
static bool on_rest(void *user, const struct store_message *message,
                    const struct store_rcpt *recipients)
{
    struct ending *e = user;
    struct group group;
    group_find(recipients, message->n_recipients, queue_domain(e->ctl->queue, &e->job->item),
               e->job->item.group, &group);
    for (uint32_t i = 0; i < group.n; i++) {
        const struct store_rcpt *rcpt = &recipients[group.index[i]];
        bool picked = false;
        for (uint32_t k = 0; k < e->job->n; k++) {
            picked |= e->job->index[k] == group.index[i];
        }
        if (!picked && rcpt->state == STORE_RCPT_QUEUED && rcpt->next_try_ms < e->due_ms) {
            e->due_ms = rcpt->next_try_ms;
        }
    }
    return false;
}

/* ---- once it is durable ------------------------------------------------------------------ */

static void count(struct ending *e)
{
    struct ctl *ctl = e->ctl;
    struct path_stat *path =
        e->has_slot && e->n > 0
            ? path_stats_get(&ctl->paths, e->source[0] ? e->source : e->route, e->site)
            : NULL;
    struct path_stat none = {0};
    path = path ? path : &none;
    for (uint32_t i = 0; i < e->n; i++) {
        bool delivered = e->verdicts[i].kind == OUTCOME_DELIVERED;
        bool bounced = e->verdicts[i].kind == OUTCOME_BOUNCED;
        bool doubtful = e->verdicts[i].kind == OUTCOME_DOUBTFUL;
        bool deferred = e->verdicts[i].kind == OUTCOME_DEFERRED;
        ctl->counts.delivered += delivered;
        ctl->counts.bounced += bounced;
        ctl->counts.doubtful += doubtful;
        ctl->counts.deferred += deferred;
        path->sent++;
        path->delivered += delivered;
        path->bounced += bounced;
        path->doubtful += doubtful;
        path->deferred += deferred;
    }
    path->bytes += e->bytes;
    if (path->first_ms == 0 || (e->started_ms > 0 && e->started_ms < path->first_ms)) {
        path->first_ms = e->started_ms;
    }
    path->last_ms = e->now_ms;
}

static void leave_flight(struct ctl *ctl, const struct ctl_job *job)
{
    struct message_entry *entry = message_table_find(&ctl->messages, job->message_id);
    if (!job->flying) {
        return;
    }
    ctl->counts.in_flight -= job->n;
    if (entry) { /* its last recipient may have ended with this job */
        entry->in_flight -= job->n;
    }
}

/* The job is over: its slot is free, its item goes on or goes away. */
static void finish_job(struct ctl *ctl, struct ctl_job *job, int64_t due_ms)
{
    leave_flight(ctl, job);
    if (job->queued && due_ms == INT64_MAX) {
        queue_finish(ctl->queue, &job->item);
    } else if (job->queued) {
        queue_again(ctl->queue, &job->item, due_ms);
    }
    lanes_release(ctl->lanes, job);
    job_free(job);
    dispatch_wake(ctl);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void ending_free(struct ending *e)
{
    for (uint32_t i = 0; i < e->n; i++) {
        free(e->verdicts[i].last);
        free(e->verdicts[i].event);
    }
    free(e->finished_event);
    outcome_dsn_free(e);
    if (e->timer_used) {
        uv_close((uv_handle_t *)&e->timer, on_timer_closed);
    } else {
        free(e);
    }
}

static void on_durable(void *user, enum store_status status);

static void on_retry(uv_timer_t *timer)
{
    struct ending *e = timer->data;
    store_update(e->ctl->store, &e->update);
}

static void try_again(struct ending *e, enum store_status status)
{
    if (!e->timer_used) {
        ctl_log(CTL_LOG_ERROR, "an outcome cannot be recorded; its slot stays taken until it is",
                "id=%016llx reason=\"%s\"", (unsigned long long)e->job->message_id,
                store_status_text(status));
        e->timer_used = true;
        e->timer.data = e;
        (void)uv_timer_init(e->ctl->loop, &e->timer);
    }
    (void)uv_timer_start(&e->timer, on_retry, RETRY_MS, 0);
}

static void on_durable(void *user, enum store_status status)
{
    struct ending *e = user;
    if (status == STORE_E_CLOSED) {
        ending_free(e); /* the slot keeps the outcome for the next start */
        return;
    }
    if (status != STORE_OK) {
        try_again(e, status);
        return;
    }
    count(e);
    outcome_feed(e);
    if (e->update.finished) {
        e->ctl->counts.finished++;
        message_table_remove(&e->ctl->messages, e->job->message_id);
    }
    outcome_dsn_queue(e);
    finish_job(e->ctl, e->job, e->due_ms);
    ending_free(e);
}

/* ---- the whole --------------------------------------------------------------------------- */

/* Takes what is final off the message's count; true when nothing of it is queued any more. */
static bool message_finished(struct ending *e)
{
    struct message_entry *entry = message_table_find(&e->ctl->messages, e->job->message_id);
    uint32_t final = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        final += e->verdicts[i].state != STORE_RCPT_QUEUED;
    }
    INVARIANT(entry && final <= entry->queued);
    entry->queued -= final;
    return entry->queued == 0;
}

static void submit(struct ending *e)
{
    e->update = (struct store_update){
        .message_id = e->job->message_id,
        .recipients = e->updates,
        .n_recipients = e->n,
        .finished = message_finished(e),
        .done = on_durable,
        .user = e,
    };
    if (e->update.finished) {
        char id[EVENT_ID_TEXT];
        json_t *event = event_new("finished", e->now_ms);
        (void)json_object_set_new(event, "id", json_string(event_id_text(e->job->message_id, id)));
        e->finished_event = event_text(event);
        e->update.finished_event_json = e->finished_event;
    }
    if (outcome_dsn_make(e)) {
        e->update.dsn = &e->dsn;
    }
    store_update(e->ctl->store, &e->update);
}

void outcome_record(struct ctl *ctl, struct ctl_job *job, const struct chan_slot *slot,
                    const struct outcome_own *own)
{
    struct ending *e = ctl_must(calloc(1, sizeof *e));
    struct making making = {.e = e, .slot = slot, .own = own};
    INVARIANT(!job->ending);
    job->ending = true;
    e->ctl = ctl;
    e->job = job;
    e->now_ms = ctl_time_ms();
    e->due_ms = INT64_MAX;
    e->silent = own && own->silent;
    if (slot) {
        read_connection(ctl, job, slot, e);
    }
    if (!job->queued || !store_show(ctl->store, job->message_id, on_message, &making)) {
        finish_job(ctl, job, INT64_MAX); /* known to the spool already, and gone from it */
        free(e);
        return;
    }
    (void)store_show(ctl->store, job->message_id, on_rest, e);
    if (e->n == 0) {
        finish_job(ctl, job, e->due_ms);
        free(e);
        return;
    }
    submit(e);
}

void outcome_return(struct ctl *ctl, struct ctl_job *job, int64_t due_ms)
{
    finish_job(ctl, job, due_ms);
}
