/* dispatch.c - from the queue to a lane: see dispatch.h. */
#include "control/dispatch.h"

#include "control/address.h"
#include "control/destination.h"
#include "control/dp_process.h"
#include "control/events.h"
#include "control/groups.h"
#include "control/lanes.h"
#include "control/outcome_record.h"
#include "control/plan.h"
#include "control/relay.h"
#include "control/shaping.h"
#include "control/signing.h"

#define TURN_MAX      128u /* items started in one turn of the loop, so that others get theirs */
#define RESOLVING_MAX 4096u
#define HOLD_MS       60000 /* until a held item is looked at again */
#define LOOK_AGAIN_MS 5000

/* What start() needs of a message, copied out of the spool; the strings go straight into the draft.
 */
struct pick {
    const char *domain;
    uint32_t group;
    int64_t now_ms;
    struct ctl_job *job;
    struct job_draft *draft;
    char stream[STRATEGY_NAME_BYTES];
    char last_source[CONFIG_NAME_MAX];
    bool greylisted;         /* by that */
    char first[ADDRESS_MAX]; /* first recipient picked, for `held` */
    uint32_t queued;         /* recipients of the group that are still queued */
    int64_t due_ms;          /* when the first of them is due */
    int64_t expires_ms;
    uint64_t message_bytes;
};

/* ---- what is to be sent ------------------------------------------------------------------ */

/* The address that the last attempt came from, or the relay that it went to. */
static void last_attempt(const char *last, struct pick *pick)
{
    json_t *object = last[0] ? json_loads(last, 0, NULL) : NULL;
    const char *text = json_string_value(json_object_get(object, "source"));
    const char *route = json_string_value(json_object_get(object, "route"));
    const char *class = json_string_value(json_object_get(object, "class"));
    (void)snprintf(pick->last_source, sizeof pick->last_source, "%s",
                   text && text[0] ? text
                   : route         ? route
                                   : "");
    pick->greylisted = class && strcmp(class, reply_class_name(REPLY_GREYLIST)) == 0;
    json_decref(object);
}

static bool on_pick(void *user, const struct store_message *message,
                    const struct store_rcpt *recipients)
{
    struct pick *pick = user;
    struct ctl_job *job = pick->job;
    struct group group;
    group_find(recipients, message->n_recipients, pick->domain, pick->group, &group);
    pick->queued = group_queued(recipients, &group, &pick->due_ms);
    pick->expires_ms = message->expires_ms;
    pick->message_bytes = message->body_bytes;
    (void)snprintf(pick->stream, sizeof pick->stream, "%s", message->stream);
    pick->draft->needs = message->needs;
    pick->draft->mail_from = job_draft_add(pick->draft, message->mail_from);
    pick->draft->ret = message->ret;
    pick->draft->envid = job_draft_add_optional(pick->draft, message->envid);
    for (uint32_t i = 0; i < group.n; i++) {
        const struct store_rcpt *rcpt = &recipients[group.index[i]];
        if (rcpt->state != STORE_RCPT_QUEUED || rcpt->next_try_ms > pick->now_ms) {
            continue;
        }
        if (job_carries(job->ctl, job->message_id, group.index[i])) {
            pick->queued--; /* another item of the group was quicker, and keeps it in the queue */
            continue;
        }
        if (job->n == 0) {
            last_attempt(rcpt->last, pick);
            (void)snprintf(pick->first, sizeof pick->first, "%s", rcpt->address);
        }
        pick->draft->recipients[job->n] = job_draft_add(pick->draft, rcpt->address);
        pick->draft->orcpt[job->n] = job_draft_add_optional(pick->draft, rcpt->orcpt);
        pick->draft->notify[job->n] = rcpt->notify;
        job->index[job->n] = group.index[i];
        job->attempt[job->n++] = rcpt->attempts + 1;
    }
    return false;
}

void dispatch_count_in_flight(struct ctl *ctl, struct ctl_job *job)
{
    struct message_entry *entry = message_table_find(&ctl->messages, job->message_id);
    INVARIANT(entry != NULL);
    entry->in_flight += job->n;
    entry->held = false;
    ctl->counts.in_flight += job->n;
    job->flying = true;
}

/* Nothing of it can go now: back to the queue, or out of it. */
static void drop(struct ctl *ctl, struct ctl_job *job, const struct pick *pick)
{
    if (pick->queued > 0) {
        queue_again(ctl->queue, &job->item, pick->due_ms);
    } else {
        queue_finish(ctl->queue, &job->item);
    }
    job_free(job);
}

/* ---- the steps of a job ------------------------------------------------------------------ */

static void wait_for_room(struct ctl *ctl, struct ctl_job *job)
{
    queue_put_back(ctl->queue, &job->item);
    job_free(job);
}

/* Once for each message until it goes. */
static void tell_held(struct ctl *ctl, const struct ctl_job *job, const struct pick *pick,
                      const char *reason, const char *evidence, int64_t until_ms)
{
    struct message_entry *entry = message_table_find(&ctl->messages, job->message_id);
    if (entry && !entry->held) {
        entry->held = true;
        events_held(ctl, job->message_id, pick->first, reason, evidence, until_ms);
    }
}

/* It cannot go, for a reason of its own. What has expired by then is looked at when it does. */
static void hold_until(struct ctl *ctl, struct ctl_job *job, const struct pick *pick,
                       const char *reason, const char *evidence, int64_t until_ms)
{
    until_ms = until_ms < pick->expires_ms ? until_ms : pick->expires_ms;
    tell_held(ctl, job, pick, reason, evidence, until_ms);
    queue_again(ctl->queue, &job->item, until_ms);
    job_free(job);
}

static void hold(struct ctl *ctl, struct ctl_job *job, const struct pick *pick, const char *reason,
                 const char *evidence)
{
    hold_until(ctl, job, pick, reason, evidence, pick->now_ms + HOLD_MS);
}

/* Until the library wants to be asked again, or for LOOK_AGAIN_MS when a relay or the data plane
 * may be back sooner; a backlog comes back spread out, a message a millisecond, and not all at
 * once. */
static void hold_planned(struct ctl *ctl, struct ctl_job *job, const struct pick *pick,
                         const struct plan_choice *choice, uint32_t n_behind)
{
    int64_t spread_ms = n_behind > 0 ? (int64_t)(ctl_random(ctl) % n_behind) : 0;
    int64_t soon_ms = pick->now_ms + LOOK_AGAIN_MS;
    int64_t until_ms =
        choice->may_change && soon_ms < choice->retry_ms ? soon_ms : choice->retry_ms;
    hold_until(ctl, job, pick, job->decision.reason, job->decision.evidence, until_ms + spread_ms);
}

/* Nothing that the sender may use works: its other mail is not even looked at until something does.
 */
static void hold_sender(struct ctl *ctl, struct ctl_job *job, const struct pick *pick)
{
    tell_held(ctl, job, pick, job->decision.reason, job->decision.evidence, pick->now_ms);
    wait_for_room(ctl, job);
}

static void expire(struct ctl *ctl, struct ctl_job *job)
{
    const struct outcome_own own = {
        .kind = OUTCOME_BOUNCED,
        .stage = OUTCOME_STAGE_LOCAL,
        .enhanced = {5, 4, 7},
        .text = "it could not be delivered before it expired",
        .host = "",
    };
    dispatch_count_in_flight(ctl, job);
    outcome_record(ctl, job, NULL, &own);
}

static void unresolved(struct ctl *ctl, struct ctl_job *job, const struct dns_answer *answer)
{
    const struct outcome_own own = {
        .kind = answer->status == DNS_BOUNCE ? OUTCOME_BOUNCED : OUTCOME_DEFERRED,
        .stage = OUTCOME_STAGE_RESOLVE,
        .code = answer->code,
        .enhanced = {answer->enhanced[0], answer->enhanced[1], answer->enhanced[2]},
        .text = answer->text,
        .host = "",
    };
    dispatch_count_in_flight(ctl, job);
    outcome_record(ctl, job, NULL, &own);
}

/* No host of the domain may be used with the TLS that it is to have. */
static void refused_tls(struct ctl *ctl, struct ctl_job *job, const struct tls_plan *tls)
{
    const struct outcome_own own = {
        .kind = OUTCOME_DEFERRED,
        .stage = OUTCOME_STAGE_RESOLVE,
        .enhanced = {4, 7, 5},
        .text = tls->text,
        .host = "",
    };
    dispatch_count_in_flight(ctl, job);
    outcome_record(ctl, job, NULL, &own);
}

static void add_targets(const struct ctl *ctl, struct job_draft *draft, struct tls_plan *tls)
{
    const struct dns_answer *answer = tls->answer;
    for (uint32_t i = 0; i < answer->n_targets; i++) {
        const struct dns_target *target = &answer->targets[i];
        struct chan_target to = {
            .addr = target->addr,
            .port = (uint16_t)ctl->config.delivery.port,
        };
        if (tls_plan_target(tls, target, draft, &to)) {
            to.host = job_draft_add(draft, target->host);
            draft->targets[draft->n_targets++] = to;
        }
    }
    draft->site_hash = answer->site_hash;
}

/* To the lane, or back to the queue: false. */
static bool submit(struct ctl *ctl, struct ctl_job *job, struct pick *pick, uint32_t lane,
                   enum dkim_profile profile)
{
    bool gone = false;
    uint8_t prefix[SIGNING_BYTES_MAX];
    pick->draft->prefix.data = prefix;
    pick->draft->prefix.len = signing_read(ctl->store, job->message_id, profile, prefix);
    pick->draft->site = job_draft_add(pick->draft, pick->domain);
    job->planned = true;
    if (lanes_submit(ctl->lanes, lane, job, pick->draft, &gone)) {
        dispatch_count_in_flight(ctl, job);
        if (lane == LANE_RELAY) {
            relays_take(ctl->relays);
        }
        return true;
    }
    if (gone) {
        ctl_log(CTL_LOG_ERROR, "the body of a message is not in the spool", "id=%016llx",
                (unsigned long long)job->message_id);
        hold(ctl, job, pick, "LOCAL", "the body is not in the spool: see the log");
    } else {
        wait_for_room(ctl, job);
    }
    return false;
}

static bool has_target(const struct job_draft *draft, uint8_t family)
{
    for (uint32_t i = 0; i < draft->n_targets; i++) {
        if (draft->targets[i].addr.family == family) {
            return true;
        }
    }
    return false;
}

/* A source address reaches those of its own IP version. */
static void keep_targets(struct job_draft *draft, uint8_t family)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < draft->n_targets; i++) {
        if (draft->targets[i].addr.family == family) {
            draft->targets[kept++] = draft->targets[i];
        }
    }
    draft->n_targets = kept;
}

static bool submit_from(struct ctl *ctl, struct ctl_job *job, struct pick *pick,
                        const struct dp_address *address, const char *endpoint)
{
    char ehlo[256];
    if (!dp_pool_ehlo(&ctl->config.dp, address, ehlo, sizeof ehlo)) {
        (void)snprintf(ehlo, sizeof ehlo, "%s", ctl->config.hostname);
    }
    pick->draft->ehlo = job_draft_add(pick->draft, ehlo);
    job->source = address->addr;
    keep_targets(pick->draft, address->addr.family);
    (void)snprintf(job->endpoint, sizeof job->endpoint, "%s", endpoint);
    return submit(ctl, job, pick, address->lane, DKIM_PROFILE_ALL);
}

static bool submit_to_relay(struct ctl *ctl, struct ctl_job *job, struct pick *pick, uint32_t route)
{
    pick->draft->n_targets = 0; /* the relay is resolved when it is connected to */
    pick->draft->ehlo = job_draft_add(pick->draft, ctl->config.hostname);
    pick->draft->route = job_draft_add(pick->draft, ctl->config.routes[route].name);
    return submit(ctl, job, pick, LANE_RELAY, ctl->config.routes[route].dkim);
}

/* As many recipients as the decision allows; the others stay in the queue and ask again when this
 * job is done. */
static void submit_choice(struct ctl *ctl, struct ctl_job *job, struct pick *pick,
                          const struct plan_request *request, const struct plan_choice *choice)
{
    job->n = choice->n;
    bool gone = choice->address ? submit_from(ctl, job, pick, choice->address, choice->endpoint)
                                : submit_to_relay(ctl, job, pick, choice->route);
    if (!gone) {
        plan_return(ctl->plan, request, choice);
    }
}

/* What the library calls the provider of the destination. */
static void name_provider(struct ctl *ctl, struct ctl_job *job, const char *domain,
                          const struct dns_answer *answer)
{
    char name[PROVIDER_NAME_BYTES];
    if (!answer) {
        provider_of_domain(ctl->shaping->providers, domain, name);
    }
    decisions_provider(ctl->decisions, answer ? answer->provider : name, job->provider);
}

/* No route of the sender could ever carry it: it ends here. */
static bool refused_unfit(struct ctl *ctl, struct ctl_job *job, const struct plan_request *request)
{
    char why[CHAN_TEXT_MAX];
    const struct outcome_own own = {
        .kind = OUTCOME_BOUNCED,
        .stage = OUTCOME_STAGE_LOCAL,
        .enhanced = {5, 3, 4},
        .text = why,
        .host = "",
    };
    if (!plan_is_unfit(ctl->plan, request, why, sizeof why)) {
        return false;
    }
    dispatch_count_in_flight(ctl, job);
    outcome_record(ctl, job, NULL, &own);
    return true;
}

static void plan_and_submit(struct ctl *ctl, struct ctl_job *job, struct pick *pick,
                            uint32_t sender, const struct dns_answer *answer)
{
    struct plan_choice choice;
    struct sts_answer sts;
    struct tls_plan tls = {0};
    if (answer) {
        tls = destination_tls(ctl, sender, pick->domain, answer, pick->draft->needs, &sts);
        add_targets(ctl, pick->draft, &tls);
    }
    if (pick->draft->n_targets == 0 && tls.n_refused > 0) {
        refused_tls(ctl, job, &tls);
        return;
    }
    name_provider(ctl, job, pick->domain, answer);
    (void)snprintf(job->stream, sizeof job->stream, "%s", pick->stream);
    const struct plan_request request = {
        .sender = sender,
        .stream = job->stream,
        .provider = job->provider,
        .message_id = job->message_id,
        .n = job->n,
        .n_behind = queue_behind(ctl->queue, &job->item),
        .is_retry = job->attempt[0] > 1,
        .greylisted = pick->greylisted,
        .last_source = pick->last_source,
        .has_ip4 = has_target(pick->draft, 4),
        .has_ip6 = has_target(pick->draft, 6),
        .message_bytes = pick->message_bytes,
        .needs = pick->draft->needs,
    };
    if (refused_unfit(ctl, job, &request)) {
        return;
    }
    enum plan_result result = plan_choose(ctl->plan, &request, &choice);
    job->decision = choice.decision;
    switch (result) {
    case PLAN_CHOSEN:
        submit_choice(ctl, job, pick, &request, &choice);
        break;
    case PLAN_HELD:
        hold_planned(ctl, job, pick, &choice, request.n_behind);
        break;
    case PLAN_BLOCKED:
        hold_sender(ctl, job, pick);
        break;
    case PLAN_WAIT:
        wait_for_room(ctl, job);
        break;
    }
}

/* The destination is known (or known not to be; null: it does not matter): the job starts now or
 * goes back. */
static void start(struct ctl *ctl, struct ctl_job *job, const struct dns_answer *answer)
{
    struct job_draft draft;
    draft.n_targets = draft.strings_len = draft.site_hash = draft.tls_hash = draft.route = 0;
    uint32_t sender = queue_sender(ctl->queue, &job->item);
    struct pick pick = {
        .domain = queue_domain(ctl->queue, &job->item),
        .group = job->item.group,
        .now_ms = ctl_time_ms(),
        .job = job,
        .draft = &draft,
    };
    if (!store_show(ctl->store, job->message_id, on_pick, &pick) || job->n == 0) {
        drop(ctl, job, &pick);
    } else if (pick.now_ms >= pick.expires_ms) {
        expire(ctl, job);
    } else if (sender >= ctl->config.n_senders) {
        hold(ctl, job, &pick, "LOCAL", "its sender is not in the configuration any more");
    } else if (answer && answer->status != DNS_OK) {
        unresolved(ctl, job, answer);
    } else if (ctl->draining) {
        wait_for_room(ctl, job);
    } else {
        plan_and_submit(ctl, job, &pick, sender, answer);
    }
}

static void on_resolved(void *user, const char *domain, const struct dns_answer *answer)
{
    struct ctl_job *job = user;
    struct ctl *ctl = job->ctl;
    (void)domain;
    ctl->resolving--;
    start(ctl, job, answer);
    dispatch_wake(ctl);
}

static void begin(struct ctl *ctl, const struct queue_item *item)
{
    struct ctl_job *job = job_new(ctl, item->message_id);
    uint32_t sender = queue_sender(ctl->queue, item);
    job->item = *item;
    job->queued = true;
    if (sender < ctl->config.n_senders && !plan_has_room(ctl->plan, sender, item->message_id)) {
        wait_for_room(ctl, job);
        return;
    }
    if (sender < ctl->config.n_senders && plan_by_relay_only(ctl->plan, sender)) {
        start(ctl, job, NULL);
        return;
    }
    const char *domain = queue_domain(ctl->queue, item);
    const struct dns_answer *answer = destination_cached(ctl, sender, domain);
    if (answer) {
        start(ctl, job, answer);
        return;
    }
    ctl->resolving++;
    destination_lookup(ctl, sender, domain, on_resolved, job);
}

/* ---- the loop ---------------------------------------------------------------------------- */

static void on_idle(uv_idle_t *idle);

static void on_due(uv_timer_t *timer)
{
    dispatch_wake(timer->data);
}

void dispatch_wake(struct ctl *ctl)
{
    (void)uv_idle_start(&ctl->dispatch_idle, on_idle);
}

static void sleep_until_due(struct ctl *ctl, int64_t now_ms)
{
    int64_t due_ms = queue_deadline_ms(ctl->queue);
    (void)uv_idle_stop(&ctl->dispatch_idle);
    if (due_ms == INT64_MAX) {
        (void)uv_timer_stop(&ctl->due_timer);
        return;
    }
    /* In steps of at most a minute, so that a clock that was set is noticed. */
    int64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 1;
    (void)uv_timer_start(&ctl->due_timer, on_due, (uint64_t)(wait_ms < 60000 ? wait_ms : 60000), 0);
}

/* Without relays everything waits for the data plane. */
static bool something_runs(const struct ctl *ctl)
{
    return ctl->config.n_routes > 0 || dp_process_running(ctl->lanes->process);
}

static void on_idle(uv_idle_t *idle)
{
    struct ctl *ctl = idle->data;
    int64_t now_ms = ctl_time_ms();
    queue_resume(ctl->queue);
    for (uint32_t i = 0; i < TURN_MAX; i++) {
        struct queue_item item;
        if (ctl->draining || !something_runs(ctl)) {
            (void)uv_idle_stop(&ctl->dispatch_idle);
            (void)uv_timer_stop(&ctl->due_timer);
            return; /* whoever ends this state wakes us */
        }
        if (ctl->resolving >= RESOLVING_MAX) {
            (void)uv_idle_stop(&ctl->dispatch_idle);
            return; /* the next answer wakes us */
        }
        if (!queue_next(ctl->queue, now_ms, &item)) {
            sleep_until_due(ctl, now_ms);
            return;
        }
        begin(ctl, &item);
    }
}

/* ---- start ------------------------------------------------------------------------------- */

struct loading {
    struct ctl *ctl;
    uint64_t id;
    uint32_t sender;
    const struct store_rcpt *recipients;
    struct ctl_job **jobs; /* of earlier processes, sorted by message */
    size_t n_jobs;
    uint64_t unknown_senders;
};

static int by_message(const void *a, const void *b)
{
    uint64_t x = (*(struct ctl_job *const *)a)->message_id,
             y = (*(struct ctl_job *const *)b)->message_id;
    return (x > y) - (x < y);
}

static bool has_recipient(const struct ctl_job *job, const struct group *group)
{
    for (uint32_t i = 0; i < group->n; i++) {
        if (job->n > 0 && group->index[i] == job->index[0]) {
            return true;
        }
    }
    return false;
}

/* The job of an earlier process that carries this group; a job never carries two. */
static struct ctl_job *job_of(const struct loading *loading, const struct group *group)
{
    size_t low = 0, high = loading->n_jobs;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (loading->jobs[middle]->message_id < loading->id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < loading->n_jobs && loading->jobs[low]->message_id == loading->id; low++) {
        if (!loading->jobs[low]->queued && has_recipient(loading->jobs[low], group)) {
            return loading->jobs[low];
        }
    }
    return NULL;
}

static void load_group(void *user, const struct group *group)
{
    struct loading *loading = user;
    struct ctl *ctl = loading->ctl;
    int64_t due_ms;
    struct ctl_job *job = job_of(loading, group);
    if (job) {
        job->queued = true;
        INVARIANT(queue_add_in_flight(ctl->queue, loading->sender, group->domain, loading->id,
                                      group->number, &job->item));
        dispatch_count_in_flight(ctl, job);
    } else if (group_queued(loading->recipients, group, &due_ms) > 0) {
        INVARIANT(queue_add(ctl->queue, loading->sender, group->domain, loading->id, group->number,
                            due_ms));
    }
}

static bool load_message(void *user, const struct store_message *message,
                         const struct store_rcpt *recipients)
{
    struct loading *loading = user;
    uint32_t queued = 0;
    for (uint32_t i = 0; i < message->n_recipients; i++) {
        queued += recipients[i].state == STORE_RCPT_QUEUED;
    }
    loading->id = message->id;
    loading->recipients = recipients;
    loading->sender = ctl_config_sender(&loading->ctl->config, message->sender);
    if (loading->sender == UINT32_MAX) {
        loading->sender = loading->ctl->config.n_senders;
        loading->unknown_senders++;
    }
    INVARIANT(message_table_add(&loading->ctl->messages, message->id, queued));
    INVARIANT(groups_each(recipients, message->n_recipients, load_group, loading));
    return true;
}

static void collect_job(void *user, struct ctl_job *job)
{
    struct loading *loading = user;
    loading->jobs[loading->n_jobs++] = job;
}

bool dispatch_open(struct ctl *ctl)
{
    struct loading loading = {.ctl = ctl};
    ctl->dispatch_idle.data = ctl->due_timer.data = ctl;
    (void)uv_idle_init(ctl->loop, &ctl->dispatch_idle);
    (void)uv_timer_init(ctl->loop, &ctl->due_timer);
    loading.jobs = calloc(ctl->lanes->n_jobs + 1, sizeof(struct ctl_job *));
    if (!loading.jobs) {
        return false;
    }
    lanes_each_job(ctl->lanes, collect_job, &loading);
    qsort(loading.jobs, loading.n_jobs, sizeof(struct ctl_job *), by_message);
    store_each_message(ctl->store, 0, load_message, &loading);
    ctl_log(CTL_LOG_INFO, "the spool is read", "messages=%zu items=%zu in_flight=%zu",
            ctl->messages.count, queue_waiting(ctl->queue), queue_in_flight(ctl->queue));
    if (loading.unknown_senders > 0) {
        ctl_log(CTL_LOG_WARN,
                "queued messages of senders that are not configured any more are held until they "
                "expire",
                "messages=%llu", (unsigned long long)loading.unknown_senders);
    }
    free(loading.jobs);
    return true;
}

struct adding {
    struct ctl *ctl;
    uint64_t id;
    uint32_t sender;
    int64_t now_ms;
};

static void add_group(void *user, const struct group *group)
{
    const struct adding *adding = user;
    INVARIANT(queue_add(adding->ctl->queue, adding->sender, group->domain, adding->id,
                        group->number, adding->now_ms));
}

void dispatch_add_message(struct ctl *ctl, uint64_t id, uint32_t sender,
                          const struct store_rcpt *recipients, uint32_t n, int64_t now_ms)
{
    struct adding adding = {.ctl = ctl, .id = id, .sender = sender, .now_ms = now_ms};
    INVARIANT(message_table_add(&ctl->messages, id, n));
    INVARIANT(groups_each(recipients, n, add_group, &adding));
    dispatch_wake(ctl);
}
