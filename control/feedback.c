/* feedback.c - see feedback.h. */
#include "control/feedback.h"

#include "control/decisions.h"
#include "control/events.h"

static const char *const kind_texts[] = {
#define X(name, text) text,
    FEEDBACK_MAP(X)
#undef X
};

const char *feedback_kind_text(enum feedback_kind kind)
{
    return (unsigned)kind < FEEDBACK_KINDS ? kind_texts[kind] : "invalid";
}

bool feedback_kind_parse(const char *text, enum feedback_kind *ret_kind)
{
    for (unsigned i = 0; i < FEEDBACK_KINDS; i++) {
        if (strcmp(kind_texts[i], text) == 0) {
            *ret_kind = (enum feedback_kind)i;
            return true;
        }
    }
    return false;
}

/* ---- where and when it was delivered ----------------------------------------------------- */

struct delivery {
    const char *recipient; /* asked for; null: any */
    uint32_t n;            /* deliveries found */
    char sender[STRATEGY_NAME_BYTES], stream[STRATEGY_NAME_BYTES];
    char provider[STRATEGY_NAME_BYTES], path[STRATEGY_NAME_BYTES];
    char found[512]; /* the recipient */
    int64_t at_ms;
};

static void copy(char *to, size_t to_bytes, const json_t *event, const char *key)
{
    const char *value = json_string_value(json_object_get(event, key));
    (void)snprintf(to, to_bytes, "%s", value ? value : "");
}

static bool is_for(const struct delivery *d, const json_t *event)
{
    const char *recipient = json_string_value(json_object_get(event, "recipient"));
    return !d->recipient || (recipient && strcasecmp(recipient, d->recipient) == 0);
}

static bool on_event(void *user, uint64_t seq, uint64_t message_id, const char *json, size_t len)
{
    struct delivery *d = user;
    bool accepted = event_type_is(json, len, "accepted");
    bool delivered = event_type_is(json, len, "delivered");
    json_t *event = accepted || delivered ? json_loadb(json, len, 0, NULL) : NULL;
    (void)seq;
    (void)message_id;
    if (event && accepted) {
        copy(d->sender, sizeof d->sender, event, "sender");
        copy(d->stream, sizeof d->stream, event, "stream");
    } else if (event && is_for(d, event)) {
        d->n++;
        copy(d->provider, sizeof d->provider, event, "provider");
        copy(d->path, sizeof d->path, event, "path");
        copy(d->found, sizeof d->found, event, "recipient");
        const char *at = json_string_value(json_object_get(event, "at"));
        (void)(at && ctl_time_parse(at, &d->at_ms));
    }
    json_decref(event);
    return true;
}

static const char *find(struct ctl *ctl, const struct feedback *feedback, struct delivery *d)
{
    *d = (struct delivery){.recipient = feedback->recipient};
    (void)store_each_event(ctl->store, 0, feedback->message_id, on_event, d);
    if (d->n == 0) {
        return "no delivery of this message to this recipient is recorded";
    }
    if (d->n > 1 && !feedback->recipient) {
        return "the message had several recipients: say which";
    }
    return NULL;
}

/* ---- to the strategies ------------------------------------------------------------------- */

static bool is_by_machine(const struct feedback *feedback, const struct delivery *d)
{
    return feedback->machine || feedback->at_ms - d->at_ms < FEEDBACK_MACHINE_MS;
}

/* A later bounce that is not the recipient's fault counts as the reply that it is. */
static void feed_bounce(struct ctl *ctl, const struct feedback *feedback, const struct delivery *d,
                        const struct strategy_key *key)
{
    static const uint8_t none[3];
    struct reply_verdict verdict = reply_of_class(REPLY_BAD_RCPT);
    const char *ignored;
    if (feedback->reply[0]) {
        decisions_classify(ctl->decisions, 0, none, feedback->reply, &verdict);
    }
    if (reply_blames_recipient(verdict.class)) {
        (void)decisions_late(ctl->decisions, STRATEGY_HARD_BOUNCES, key, d->path, d->at_ms,
                             &ignored);
    } else {
        decisions_outcome(ctl->decisions, key, d->path, &verdict, d->at_ms);
    }
}

/* Opens and clicks of one mail come together: the open counts. */
static void feed(struct ctl *ctl, const struct feedback *feedback, const struct delivery *d)
{
    const struct strategy_key key = {d->sender, d->stream, d->provider};
    const char *ignored;
    switch (feedback->kind) {
    case FEEDBACK_OPEN:
        if (!is_by_machine(feedback, d)) {
            (void)decisions_late(ctl->decisions, STRATEGY_OPENS, &key, d->path, d->at_ms, &ignored);
        }
        break;
    case FEEDBACK_COMPLAINT:
        (void)decisions_late(ctl->decisions, STRATEGY_COMPLAINTS, &key, d->path, d->at_ms,
                             &ignored);
        break;
    case FEEDBACK_BOUNCE:
        feed_bounce(ctl, feedback, d, &key);
        break;
    case FEEDBACK_CLICK:
    case FEEDBACK_DELIVERY:
    case FEEDBACK_KINDS:
        break;
    }
}

static void record(struct ctl *ctl, const struct feedback *feedback, const struct delivery *d)
{
    char id[EVENT_ID_TEXT];
    json_t *event = event_new("feedback", feedback->at_ms);
    (void)json_object_set_new(event, "id", json_string(event_id_text(feedback->message_id, id)));
    (void)json_object_set_new(event, "recipient", json_string(d->found));
    (void)json_object_set_new(event, "kind", json_string(feedback_kind_text(feedback->kind)));
    (void)json_object_set_new(event, "machine", json_boolean(is_by_machine(feedback, d)));
    (void)json_object_set_new(event, "path", json_string(d->path));
    (void)json_object_set_new(event, "provider", json_string(d->provider));
    event_record(ctl, feedback->message_id, event);
}

bool feedback_take(struct ctl *ctl, const struct feedback *feedback, const char **ret_error)
{
    struct delivery d;
    *ret_error = find(ctl, feedback, &d);
    if (*ret_error) {
        return false;
    }
    feed(ctl, feedback, &d);
    record(ctl, feedback, &d);
    return true;
}
