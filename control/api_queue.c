/*
 * api_queue.c - `queue.list` and `queue.show`: what is durable in the spool, with what is in flight
 * right now. See API.md.
 */
#include "control/api_private.h"

#include "control/events.h"
#include "control/lanes.h"
#include "control/queue_ops.h"

#define LIST_MAX 10000u

static void set_time(json_t *object, const char *key, int64_t unix_ms)
{
    char text[CTL_TIME_TEXT];
    (void)json_object_set_new(object, key, json_string(ctl_time_text(unix_ms, text)));
}

/* ---- what is in a lane ------------------------------------------------------------------- */

/* Recipients of a message that a job carries now. */
struct flying {
    uint64_t message_id;
    json_t *indexes; /* object: index as text -> true; null: only counted */
};

static void note_job(void *user, struct ctl_job *job)
{
    struct flying *flying = user;
    if (job->message_id != flying->message_id) {
        return;
    }
    for (uint32_t i = 0; i < job->n; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%u", job->index[i]);
        (void)json_object_set_new(flying->indexes, key, json_true());
    }
}

static bool is_flying(const struct flying *flying, uint32_t index)
{
    char key[16];
    (void)snprintf(key, sizeof key, "%u", index);
    return flying->indexes && json_object_get(flying->indexes, key) != NULL;
}

/* ---- one message ------------------------------------------------------------------------- */

struct tally {
    uint32_t queued, held, in_flight, delivered, bounced; /* held ones are not in queued */
    int64_t next_try_ms;                                  /* INT64_MAX: none */
    const char *last;                                     /* JSON of the latest outcome */
    const char *last_at;
};

/* The outcomes are ordered by their "at", which stands first in them and sorts as text. */
static void tally_last(struct tally *tally, const char *last)
{
    static const char head[] = "{\"at\":\"";
    if (strncmp(last, head, sizeof head - 1) != 0) {
        return;
    }
    const char *at = last + sizeof head - 1;
    if (!tally->last_at || strncmp(at, tally->last_at, 24) > 0) {
        tally->last = last;
        tally->last_at = at;
    }
}

static void tally_recipients(struct tally *tally, const struct store_message *message,
                             const struct store_rcpt *recipients, uint32_t in_flight)
{
    *tally = (struct tally){.in_flight = in_flight, .next_try_ms = INT64_MAX};
    for (uint32_t i = 0; i < message->n_recipients; i++) {
        const struct store_rcpt *rcpt = &recipients[i];
        tally->delivered += rcpt->state == STORE_RCPT_DELIVERED;
        tally->bounced += rcpt->state == STORE_RCPT_BOUNCED;
        if (rcpt->state == STORE_RCPT_QUEUED && rcpt->next_try_ms >= QUEUE_HELD_MS) {
            tally->held++;
        } else if (rcpt->state == STORE_RCPT_QUEUED) {
            tally->queued++;
            tally->next_try_ms =
                rcpt->next_try_ms < tally->next_try_ms ? rcpt->next_try_ms : tally->next_try_ms;
        }
        tally_last(tally, rcpt->last);
    }
    tally->queued -= in_flight < tally->queued ? in_flight : tally->queued;
}

static json_t *last_words(const char *last)
{
    json_t *outcome = last ? json_loads(last, 0, NULL) : NULL;
    json_t *text = json_object_get(outcome, "text");
    json_t *words = text ? json_incref(text) : json_null();
    json_decref(outcome);
    return words;
}

static json_t *message_json(const struct store_message *message, const struct tally *tally)
{
    char id[EVENT_ID_TEXT];
    json_t *object = ctl_must(json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:{s:i, s:i, s:i, s:i, s:i}}", "id",
        event_id_text(message->id, id), "sender", message->sender, "stream", message->stream,
        "mail_from", message->mail_from, "bytes", (json_int_t)message->body_bytes, "recipients",
        "queued", (int)tally->queued, "held", (int)tally->held, "in_flight", (int)tally->in_flight,
        "delivered", (int)tally->delivered, "bounced", (int)tally->bounced));
    set_time(object, "accepted_at", message->accepted_ms);
    set_time(object, "expires_at", message->expires_ms);
    if (tally->next_try_ms == INT64_MAX) {
        (void)json_object_set_new(object, "next_try_at", json_null());
    } else {
        set_time(object, "next_try_at",
                 tally->next_try_ms > 0 ? tally->next_try_ms : message->accepted_ms);
    }
    (void)json_object_set_new(object, "last", last_words(tally->last));
    if (message->dsn_for[0]) {
        (void)json_object_set_new(object, "dsn_for", json_string(message->dsn_for));
    }
    return object;
}

/* ---- queue.list -------------------------------------------------------------------------- */

struct list {
    struct ctl *ctl;
    const char *sender, *domain, *state;
    uint64_t limit, after, last_id;
    json_t *messages;
    bool more;
};

static bool has_domain(const struct store_message *message, const struct store_rcpt *recipients,
                       const char *domain)
{
    for (uint32_t i = 0; i < message->n_recipients; i++) {
        if (strcmp(recipients[i].domain, domain) == 0) {
            return true;
        }
    }
    return false;
}

static bool in_state(const struct tally *tally, const char *state)
{
    return strcmp(state, "queued") == 0      ? tally->queued > 0
           : strcmp(state, "held") == 0      ? tally->held > 0
           : strcmp(state, "in_flight") == 0 ? tally->in_flight > 0
           : strcmp(state, "delivered") == 0 ? tally->delivered > 0
                                             : tally->bounced > 0;
}

static bool on_listed(void *user, const struct store_message *message,
                      const struct store_rcpt *recipients)
{
    struct list *list = user;
    struct tally tally;
    if (message->id <= list->after ||
        (list->sender && strcmp(message->sender, list->sender) != 0) ||
        (list->domain && !has_domain(message, recipients, list->domain))) {
        return true;
    }
    const struct message_entry *entry = message_table_find(&list->ctl->messages, message->id);
    tally_recipients(&tally, message, recipients, entry ? entry->in_flight : 0);
    if (list->state && !in_state(&tally, list->state)) {
        return true;
    }
    if (json_array_size(list->messages) >= list->limit) {
        list->more = true;
        return false;
    }
    list->last_id = message->id;
    (void)json_array_append_new(list->messages, message_json(message, &tally));
    return true;
}

static bool state_known(const char *state)
{
    static const char *const known[] = {"queued", "held", "in_flight", "delivered", "bounced"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i], state) == 0) {
            return true;
        }
    }
    return false;
}

void api_queue_list(struct rpc_request *request)
{
    struct list list = {.ctl = request->ctl};
    char id[EVENT_ID_TEXT];
    if (!api_param_text(request, "sender", NULL, &list.sender) ||
        !api_param_text(request, "domain", NULL, &list.domain) ||
        !api_param_text(request, "state", NULL, &list.state) ||
        !api_param_number(request, "limit", 1, LIST_MAX, 100, &list.limit) ||
        !api_param_id(request, "after", false, &list.after)) {
        return;
    }
    if (list.state && !state_known(list.state)) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/state",
                  "\"state\" must be queued, held, in_flight, delivered or bounced");
        return;
    }
    list.messages = ctl_must(json_array());
    store_each_message(request->ctl->store, list.after + 1, on_listed, &list);
    json_t *next = list.more ? json_string(event_id_text(list.last_id, id)) : json_null();
    rpc_result(request, json_pack("{s:o, s:I, s:o}", "messages", list.messages, "total",
                                  (json_int_t)request->ctl->messages.count, "next", next));
}

/* ---- queue.show -------------------------------------------------------------------------- */

struct show {
    struct flying flying;
    json_t *message;
};

static json_t *recipient_json(const struct store_rcpt *rcpt, bool in_flight)
{
    const char *state = rcpt->state == STORE_RCPT_DELIVERED  ? "delivered"
                        : rcpt->state == STORE_RCPT_BOUNCED  ? "bounced"
                        : in_flight                          ? "in_flight"
                        : rcpt->next_try_ms >= QUEUE_HELD_MS ? "held"
                                                             : "queued";
    json_t *last = rcpt->last[0] ? json_loads(rcpt->last, 0, NULL) : NULL;
    json_t *object =
        ctl_must(json_pack("{s:s, s:s, s:i, s:o}", "address", rcpt->address, "state", state,
                           "attempts", (int)rcpt->attempts, "last", last ? last : json_null()));
    if (rcpt->state == STORE_RCPT_QUEUED && rcpt->next_try_ms > 0 &&
        rcpt->next_try_ms < QUEUE_HELD_MS) {
        set_time(object, "next_try_at", rcpt->next_try_ms);
    } else {
        (void)json_object_set_new(object, "next_try_at", json_null());
    }
    return object;
}

static bool on_shown(void *user, const struct store_message *message,
                     const struct store_rcpt *recipients)
{
    struct show *show = user;
    struct tally tally;
    json_t *details = ctl_must(json_array());
    tally_recipients(&tally, message, recipients, (uint32_t)json_object_size(show->flying.indexes));
    for (uint32_t i = 0; i < message->n_recipients; i++) {
        (void)json_array_append_new(details,
                                    recipient_json(&recipients[i], is_flying(&show->flying, i)));
    }
    show->message = message_json(message, &tally);
    (void)json_object_set_new(show->message, "recipients_detail", details);
    return false;
}

void api_queue_show(struct rpc_request *request)
{
    struct show show = {0};
    if (!api_param_id(request, "id", true, &show.flying.message_id)) {
        return;
    }
    show.flying.indexes = ctl_must(json_object());
    lanes_each_job(request->ctl->lanes, note_job, &show.flying);
    bool found = store_show(request->ctl->store, show.flying.message_id, on_shown, &show);
    json_decref(show.flying.indexes);
    if (!found) {
        rpc_error(request, RPC_E_OURS, "not_found", "/id",
                  "no message with this id is queued; `message.why` may still know it");
        return;
    }
    rpc_result(request, show.message);
}
