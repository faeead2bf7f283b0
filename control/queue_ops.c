/* queue_ops.c - see queue_ops.h. */
#include "control/queue_ops.h"

#include "control/dispatch.h"
#include "control/events.h"
#include "control/groups.h"
#include "control/job.h"
#include "control/outcome_record.h"

struct running {
    struct ctl *ctl;
    enum queue_op op;
    const struct queue_selector *selector;
    bool dry_run;
    int64_t now_ms;
    struct queue_op_result *result;
    /* the message at hand */
    const struct store_message *message;
    const struct store_rcpt *recipients;
    uint64_t touched;
};

/* ---- which recipients -------------------------------------------------------------------- */

static bool wants(const struct running *r, const struct store_rcpt *rcpt)
{
    if (rcpt->state != STORE_RCPT_QUEUED) {
        return false;
    }
    bool held = rcpt->next_try_ms >= QUEUE_HELD_MS;
    switch (r->op) {
    case QUEUE_OP_HOLD:
        return !held;
    case QUEUE_OP_RELEASE:
        return held;
    case QUEUE_OP_RETRY:
        return !held && rcpt->next_try_ms > r->now_ms;
    case QUEUE_OP_BOUNCE:
    case QUEUE_OP_DELETE:
        return true;
    }
    return false;
}

/* Those of the group that the operation is for, and that no job carries. */
static uint32_t choose(struct running *r, const struct group *group, uint32_t index[GROUP_MAX])
{
    uint32_t n = 0;
    if (r->selector->domain && strcmp(group->domain, r->selector->domain) != 0) {
        return 0;
    }
    for (uint32_t i = 0; i < group->n; i++) {
        if (!wants(r, &r->recipients[group->index[i]])) {
            continue;
        }
        if (job_carries(r->ctl, r->message->id, group->index[i])) {
            r->result->in_flight++;
        } else {
            index[n++] = group->index[i];
        }
    }
    return n;
}

/* ---- another time ------------------------------------------------------------------------ */

/* What is to be done once the new times are durable. */
struct change {
    struct ctl *ctl;
    uint64_t message_id;
};

static void add_due(void *user, const struct group *group)
{
    const struct running *r = user;
    int64_t due_ms;
    uint32_t sender = ctl_config_sender(&r->ctl->config, r->message->sender);
    if (group_queued(r->recipients, group, &due_ms) > 0 && due_ms <= r->now_ms) {
        INVARIANT(queue_add(r->ctl->queue, sender != UINT32_MAX ? sender : r->ctl->config.n_senders,
                            group->domain, r->message->id, group->number, due_ms));
    }
}

static bool add_items(void *user, const struct store_message *message,
                      const struct store_rcpt *recipients)
{
    struct running *r = user;
    r->message = message;
    r->recipients = recipients;
    (void)ctl_must(groups_each(recipients, message->n_recipients, add_due, r) ? r : NULL);
    return false;
}

static void on_changed(void *user, enum store_status status)
{
    struct change *change = user;
    struct running r = {.ctl = change->ctl, .now_ms = ctl_time_ms()};
    if (status == STORE_OK) {
        (void)store_show(change->ctl->store, change->message_id, add_items, &r);
        dispatch_wake(change->ctl);
    }
    free(change);
}

static char *event_of(const struct running *r, const struct store_rcpt *rcpt)
{
    char id[EVENT_ID_TEXT];
    bool hold = r->op == QUEUE_OP_HOLD;
    json_t *event = event_new(hold ? "held" : "released", r->now_ms);
    (void)json_object_set_new(event, "id", json_string(event_id_text(r->message->id, id)));
    (void)json_object_set_new(event, "recipient", json_string(rcpt->address));
    (void)json_object_set_new(event, "reason", json_string("OPERATOR"));
    return event_text(event);
}

static void change_times(struct running *r, const uint32_t *index, uint32_t n)
{
    struct store_rcpt_update updates[GROUP_MAX];
    char *events[GROUP_MAX];
    struct change *change = ctl_must(calloc(1, sizeof *change));
    *change = (struct change){.ctl = r->ctl, .message_id = r->message->id};
    for (uint32_t i = 0; i < n; i++) {
        const struct store_rcpt *rcpt = &r->recipients[index[i]];
        events[i] = event_of(r, rcpt);
        updates[i] = (struct store_rcpt_update){
            .index = index[i],
            .state = STORE_RCPT_QUEUED,
            .attempts = rcpt->attempts,
            .next_try_ms = r->op == QUEUE_OP_HOLD ? QUEUE_HELD_MS : r->now_ms,
            .last = rcpt->last,
            .event_json = events[i],
        };
    }
    store_update(r->ctl->store, &(struct store_update){.message_id = r->message->id,
                                                       .recipients = updates,
                                                       .n_recipients = n,
                                                       .done = on_changed,
                                                       .user = change});
    for (uint32_t i = 0; i < n; i++) {
        free(events[i]);
    }
}

/* ---- the end ----------------------------------------------------------------------------- */

static void end(struct running *r, const struct group *group, const uint32_t *index, uint32_t n)
{
    uint32_t sender = ctl_config_sender(&r->ctl->config, r->message->sender);
    struct ctl_job *job = job_new(r->ctl, r->message->id);
    const struct outcome_own own = {
        .kind = OUTCOME_BOUNCED,
        .stage = OUTCOME_STAGE_LOCAL,
        .enhanced = {5, 7, 0},
        .text = r->op == QUEUE_OP_DELETE ? "deleted by the operator" : "bounced by the operator",
        .silent = r->op == QUEUE_OP_DELETE,
    };
    for (uint32_t i = 0; i < n; i++) {
        job->index[i] = index[i];
        job->attempt[i] = r->recipients[index[i]].attempts + 1;
    }
    job->n = n;
    job->queued = true;
    INVARIANT(queue_add_in_flight(r->ctl->queue,
                                  sender != UINT32_MAX ? sender : r->ctl->config.n_senders,
                                  group->domain, r->message->id, group->number, &job->item));
    dispatch_count_in_flight(r->ctl, job);
    outcome_record(r->ctl, job, NULL, &own);
}

/* ---- the whole --------------------------------------------------------------------------- */

static void on_group(void *user, const struct group *group)
{
    struct running *r = user;
    uint32_t index[GROUP_MAX], n = choose(r, group, index);
    if (n == 0) {
        return;
    }
    r->touched += n;
    if (r->dry_run) {
        return;
    }
    if (r->op == QUEUE_OP_BOUNCE || r->op == QUEUE_OP_DELETE) {
        end(r, group, index, n);
    } else {
        change_times(r, index, n);
    }
}

static bool on_message(void *user, const struct store_message *message,
                       const struct store_rcpt *recipients)
{
    struct running *r = user;
    if (r->selector->sender && strcmp(r->selector->sender, message->sender) != 0) {
        return true;
    }
    if (r->result->messages == r->selector->limit) {
        return false;
    }
    r->message = message;
    r->recipients = recipients;
    r->touched = 0;
    (void)ctl_must(groups_each(recipients, message->n_recipients, on_group, r) ? r : NULL);
    if (r->touched > 0) {
        r->result->messages++;
        r->result->recipients += r->touched;
        r->result->next = message->id;
    }
    return true;
}

void queue_op_run(struct ctl *ctl, enum queue_op op, const struct queue_selector *selector,
                  bool dry_run, struct queue_op_result *ret_result)
{
    struct running r = {.ctl = ctl,
                        .op = op,
                        .selector = selector,
                        .dry_run = dry_run,
                        .now_ms = ctl_time_ms(),
                        .result = ret_result};
    *ret_result = (struct queue_op_result){0};
    if (selector->id != 0) {
        (void)store_show(ctl->store, selector->id, on_message, &r);
    } else {
        store_each_message(ctl->store, selector->after + 1, on_message, &r);
    }
    if (ret_result->messages < selector->limit) {
        ret_result->next = 0;
    }
}
