/* lanes.c - jobs in slots and bodies in arenas: see lanes.h. */
#include "control/lanes.h"

#include "control/dispatch.h"
#include "control/outcome_record.h"

/* ---- bodies ------------------------------------------------------------------------------ */

static struct lane_body **bucket(const struct lane *lane, uint64_t message_id)
{
    uint64_t hash = message_id * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return &lane->bodies[hash & (chan_control_n_slots(lane->chan) - 1)];
}

static struct lane_body *body_find(const struct lane *lane, uint64_t message_id)
{
    struct lane_body *body = *bucket(lane, message_id);
    while (body && body->message_id != message_id) {
        body = body->next;
    }
    return body;
}

static struct lane_body *body_add(struct lane *lane, uint64_t message_id, struct chan_range data,
                                  struct chan_range stuff)
{
    struct lane_body *body = ctl_must(calloc(1, sizeof *body));
    struct lane_body **head = bucket(lane, message_id);
    *body =
        (struct lane_body){.next = *head, .message_id = message_id, .data = data, .stuff = stuff};
    *head = body;
    return body;
}

static void body_unref(struct lane *lane, struct lane_body *body)
{
    if (--body->refs > 0) {
        return;
    }
    struct lane_body **at = bucket(lane, body->message_id);
    while (*at != body) {
        at = &(*at)->next;
    }
    *at = body->next;
    chan_arena_free(chan_control_arena(lane->chan), body->data);
    chan_arena_free(chan_control_arena(lane->chan), body->stuff);
    free(body);
}

/* Room in the arena and the bytes from the spool. Null: no room, or *ret_gone. */
static struct lane_body *body_load(struct lane *lane, uint64_t message_id, bool *ret_gone)
{
    struct chan_arena *arena = chan_control_arena(lane->chan);
    struct store_body body = {0};
    struct chan_range data, stuff;
    *ret_gone = !store_body_read(lane->ctl->store, message_id, &body);
    if (*ret_gone || !chan_arena_alloc(arena, body.len, &data)) {
        return NULL;
    }
    if (!chan_arena_alloc(arena, body.n_stuff * sizeof body.stuff[0], &stuff)) {
        chan_arena_free(arena, data);
        return NULL;
    }
    body.data = chan_control_bytes(lane->chan, data);
    body.stuff = (uint32_t *)(void *)chan_control_bytes(lane->chan, stuff);
    *ret_gone = !store_body_read(lane->ctl->store, message_id, &body);
    if (*ret_gone) {
        chan_arena_free(arena, data);
        chan_arena_free(arena, stuff);
        return NULL;
    }
    return body_add(lane, message_id, data, stuff);
}

/* ---- submit and release ------------------------------------------------------------------ */

bool lanes_has_room(const struct ctl_lanes *lanes, uint32_t lane, uint64_t message_id)
{
    const struct lane *l = &lanes->list[lane];
    return chan_control_n_free(l->chan) > 0 &&
           (l->waiting_for == 0 || l->waiting_for == message_id);
}

static void fill(const struct lane *lane, const struct ctl_job *job, const struct job_draft *draft)
{
    struct chan_slot *slot = chan_control_slot(lane->chan, job->slot);
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    slot->message_id = job->message_id;
    slot->submitted_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
    slot->source = job->source;
    slot->n_targets = (uint8_t)draft->n_targets;
    slot->n_recipients = (uint8_t)job->n;
    slot->needs = draft->needs;
    slot->site_hash = draft->site_hash;
    slot->connections_max = lane->ctl->config.delivery.connections_per_address;
    slot->messages_per_connection_max = lane->ctl->config.delivery.messages_per_connection;
    slot->idle_ms = lane->ctl->config.delivery.idle_ms;
    slot->route = draft->route;
    atomic_store_explicit(&slot->recalled, 0, memory_order_relaxed);
    slot->tls_hash = draft->tls_hash;
    slot->use = lane->ctl->config.delivery.chunking ? CHAN_USE_CHUNKING : 0;
    slot->ret = draft->ret;
    slot->envid = draft->envid;
    memcpy(slot->orcpt, draft->orcpt, job->n * sizeof draft->orcpt[0]);
    memcpy(slot->notify, draft->notify, job->n * sizeof draft->notify[0]);
    memcpy(slot->targets, draft->targets, draft->n_targets * sizeof draft->targets[0]);
    slot->strings = job->strings;
    memcpy(chan_control_bytes(lane->chan, job->strings), draft->strings, draft->strings_len);
    if (job->prefix.len > 0) {
        memcpy(chan_control_bytes(lane->chan, job->prefix), draft->prefix.data, draft->prefix.len);
    }
    slot->ehlo = draft->ehlo;
    slot->mail_from = draft->mail_from;
    slot->site = draft->site;
    memcpy(slot->recipients, draft->recipients, job->n * sizeof draft->recipients[0]);
    memcpy(slot->recipient_index, job->index, job->n * sizeof job->index[0]);
    memcpy(slot->attempt, job->attempt, job->n * sizeof job->attempt[0]);
    slot->prefix = job->prefix;
    slot->body = job->body->data;
    slot->stuff = job->body->stuff;
}

static void keep(struct ctl_lanes *lanes, struct lane *lane, struct ctl_job *job)
{
    lane->jobs[job->slot] = job;
    lane->n_jobs++;
    lanes->n_jobs += lane->number != LANE_RELAY;
}

/* What no other job shares. */
static bool own_ranges_alloc(struct chan_arena *arena, struct ctl_job *job,
                             const struct job_draft *draft)
{
    if (!chan_arena_alloc(arena, draft->strings_len, &job->strings)) {
        return false;
    }
    if (!chan_arena_alloc(arena, draft->prefix.len, &job->prefix)) {
        chan_arena_free(arena, job->strings);
        return false;
    }
    return true;
}

static void own_ranges_free(struct chan_arena *arena, const struct ctl_job *job)
{
    chan_arena_free(arena, job->strings);
    chan_arena_free(arena, job->prefix);
}

bool lanes_submit(struct ctl_lanes *lanes, uint32_t lane, struct ctl_job *job,
                  const struct job_draft *draft, bool *ret_gone)
{
    struct lane *l = &lanes->list[lane];
    struct chan_arena *arena = chan_control_arena(l->chan);
    struct lane_body *body = body_find(l, job->message_id);
    *ret_gone = false;
    if (!own_ranges_alloc(arena, job, draft)) {
        l->waiting_for = job->message_id;
        return false;
    }
    body = body ? body : body_load(l, job->message_id, ret_gone);
    if (!body || !chan_control_alloc(l->chan, &job->slot)) {
        own_ranges_free(arena, job);
        if (body && body->refs == 0) {
            body->refs = 1;
            body_unref(l, body);
        }
        l->waiting_for = *ret_gone ? l->waiting_for : job->message_id;
        return false;
    }
    l->waiting_for = 0;
    body->refs++;
    job->body = body;
    job->lane = lane;
    fill(l, job, draft);
    keep(lanes, l, job);
    INVARIANT(chan_control_submit(l->chan, job->slot) == CHAN_OK);
    return true;
}

void lanes_recall(struct ctl_lanes *lanes, struct ctl_job *job)
{
    struct lane *lane = &lanes->list[job->lane];
    chan_control_recall(lane->chan, job->slot);
    job->recalled = lane->recalled = true;
}

void lanes_recall_end(struct ctl_lanes *lanes)
{
    for (uint32_t i = 0; i < lanes->n; i++) {
        if (lanes->list[i].recalled) {
            chan_control_recall_end(lanes->list[i].chan);
            lanes->list[i].recalled = false;
        }
    }
}

void lanes_release(struct ctl_lanes *lanes, struct ctl_job *job)
{
    if (job->lane == JOB_NO_LANE) {
        return;
    }
    struct lane *lane = &lanes->list[job->lane];
    lane->jobs[job->slot] = NULL;
    own_ranges_free(chan_control_arena(lane->chan), job);
    if (job->body) {
        body_unref(lane, job->body);
    }
    chan_control_free(lane->chan, job->slot);
    job->lane = JOB_NO_LANE;
    lanes->n_jobs -= lane->number != LANE_RELAY;
    if (--lane->n_jobs == 0) {
        lane->waiting_for = 0; /* what did not fit may have gone elsewhere */
    }
    dispatch_wake(lanes->ctl);
}

/* ---- what an earlier process left -------------------------------------------------------- */

/* The arena has been rebuilt from all slots: a body that several share is free when the last one
 * goes. */
static struct lane_body *adopt_body(struct lane *lane, const struct chan_slot *slot)
{
    if (!chan_control_bytes(lane->chan, slot->body) ||
        !chan_control_bytes(lane->chan, slot->stuff)) {
        return NULL;
    }
    struct lane_body *body = body_find(lane, slot->message_id);
    if (!body) {
        body = body_add(lane, slot->message_id, slot->body, slot->stuff);
    }
    if (body->data.offset != slot->body.offset || body->stuff.offset != slot->stuff.offset) {
        return NULL; /* two bodies of one message: this slot's stays taken until the channel is
                        reset */
    }
    body->refs++;
    return body;
}

static void adopt_slot(struct ctl_lanes *lanes, struct lane *lane, uint32_t index)
{
    const struct chan_slot *slot = chan_control_slot(lane->chan, index);
    struct ctl_job *job = job_new(lanes->ctl, slot->message_id);
    job->n = slot->n_recipients <= CHAN_RCPT_MAX ? slot->n_recipients : 0;
    memcpy(job->index, slot->recipient_index, job->n * sizeof job->index[0]);
    memcpy(job->attempt, slot->attempt, job->n * sizeof job->attempt[0]);
    job->source = slot->source;
    job->lane = lane->number;
    job->slot = index;
    if (chan_control_bytes(lane->chan, slot->strings)) {
        job->strings = slot->strings;
    }
    if (chan_control_bytes(lane->chan, slot->prefix)) {
        job->prefix = slot->prefix;
    }
    job->body = adopt_body(lane, slot);
    keep(lanes, lane, job);
}

/* Each slot that is not free becomes a job. */
void lanes_adopt(struct ctl_lanes *lanes, struct lane *lane)
{
    (void)chan_control_rebuild_arena(lane->chan);
    for (uint32_t i = 0; i < chan_control_n_slots(lane->chan); i++) {
        if (chan_control_state(lane->chan, i) != CHAN_FREE) {
            adopt_slot(lanes, lane, i);
        }
    }
}

static void each_job(struct lane *lane, lanes_job_fn fn, void *user)
{
    for (uint32_t i = 0; lane->n_jobs > 0 && i < chan_control_n_slots(lane->chan); i++) {
        if (lane->jobs[i]) {
            fn(user, lane->jobs[i]);
        }
    }
}

void lanes_each_job(struct ctl_lanes *lanes, lanes_job_fn fn, void *user)
{
    for (uint32_t n = 0; n < lanes->n; n++) {
        each_job(&lanes->list[n], fn, user);
    }
    each_job(&lanes->list[LANE_RELAY], fn, user);
}

/* ---- outcomes ---------------------------------------------------------------------------- */

static const struct outcome_own nonsense = {
    .kind = OUTCOME_DOUBTFUL,
    .stage = OUTCOME_STAGE_LOCAL,
    .text = "the lane gave back results that make no sense: what became of it is unknown",
};

void lanes_collect(struct lane *lane)
{
    uint32_t slot;
    chan_control_done_ack(lane->chan);
    while (chan_control_next_done(lane->chan, &slot)) {
        struct ctl_job *job = lane->jobs[slot];
        INVARIANT(job != NULL);
        bool valid = chan_control_results_valid(lane->chan, slot);
        outcome_record(lane->ctl, job, chan_control_slot(lane->chan, slot),
                       valid ? NULL : &nonsense);
    }
}

static void salvage_job(void *user, struct ctl_job *job)
{
    static const struct outcome_own cut = {
        .kind = OUTCOME_DEFERRED,
        .stage = OUTCOME_STAGE_LOCAL,
        .text = "the process that carried it ended before the message was sent",
        .not_before_ms = 1, /* at once: the receiver is not to blame */
    };
    static const struct outcome_own doubtful = {
        .kind = OUTCOME_DOUBTFUL,
        .stage = OUTCOME_STAGE_DOT,
        .text = "the process that carried it ended after the final dot, before the reply came",
    };
    struct ctl_lanes *lanes = user;
    struct lane *lane = &lanes->list[job->lane];
    if (job->ending) {
        return;
    }
    struct chan_slot *slot = chan_control_slot(lane->chan, job->slot);
    switch (chan_control_state(lane->chan, job->slot)) {
    case CHAN_DONE:
        outcome_record(lanes->ctl, job, slot,
                       chan_control_results_valid(lane->chan, job->slot) ? NULL : &nonsense);
        break;
    case CHAN_STARTED:
        outcome_record(lanes->ctl, job, slot, &cut);
        break;
    case CHAN_DOT_SENT:
        outcome_record(lanes->ctl, job, slot, &doubtful);
        break;
    case CHAN_FREE:
    case CHAN_QUEUED:
        outcome_return(lanes->ctl, job, 0);
        break;
    }
}

void lanes_salvage(struct ctl_lanes *lanes)
{
    for (uint32_t n = 0; n < lanes->n; n++) {
        each_job(&lanes->list[n], salvage_job, lanes);
    }
}

void lanes_salvage_relay(struct ctl_lanes *lanes)
{
    each_job(&lanes->list[LANE_RELAY], salvage_job, lanes);
}
