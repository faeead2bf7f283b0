/* outcome_text.c - outcomes as JSON: see outcome_private.h. */
#include "control/outcome_private.h"

#include "control/events.h"
#include "control/lanes.h"
#include "control/ses_api.h"

/* The receiver's words are bytes from the network; the engine has made them printable, but jansson
 * wants UTF-8. */
static json_t *words(const char *text)
{
    json_t *value = json_string(text);
    if (value) {
        return value;
    }
    char clean[CHAN_TEXT_MAX];
    (void)snprintf(clean, sizeof clean, "%s", text);
    for (char *at = clean; *at; at++) {
        if ((unsigned char)*at >= 0x80) {
            *at = '?';
        }
    }
    return json_string(clean);
}

static json_t *enhanced(const struct verdict *v)
{
    char text[16] = "";
    if (v->enhanced[0] != 0) {
        (void)snprintf(text, sizeof text, "%u.%u.%u", v->enhanced[0], v->enhanced[1],
                       v->enhanced[2]);
    }
    return json_string(text);
}

static void set(json_t *object, const char *key, json_t *value)
{
    INVARIANT(json_object_set_new(object, key, value) == 0);
}

static void set_reply(json_t *object, const struct ending *e, const struct verdict *v)
{
    static const size_t n_ses = sizeof SES_ACCEPTED_AS - 1;
    set(object, "stage", json_string(outcome_stage_text(v->stage)));
    set(object, "code", json_integer(v->code));
    set(object, "enhanced", enhanced(v));
    set(object, "text", words(v->text));
    set(object, "route", json_string(e->route));
    set(object, "source", json_string(e->source));
    set(object, "peer", json_string(e->peer));
    set(object, "host", words(e->host));
    if (v->kind == OUTCOME_DELIVERED && strncmp(v->text, SES_ACCEPTED_AS, n_ses) == 0) {
        set(object, "ses_id", json_string(v->text + n_ses));
    }
    set(object, "class", json_string(v->has_class ? reply_class_name(v->reply.class) : ""));
}

static void set_time(json_t *object, const char *key, int64_t unix_ms)
{
    char text[CTL_TIME_TEXT];
    set(object, key, json_string(ctl_time_text(unix_ms, text)));
}

/* What the TCP of a lane knows about an attempt that was not answered. */
static void set_end(json_t *object, const struct ending *e)
{
    if (e->has_slot && e->job->lane != LANE_RELAY) {
        set(object, "end", json_string(outcome_end_text(e->end)));
        set(object, "arrival", json_string(outcome_arrival_text(e->arrival)));
    }
}

static void set_tls(json_t *object, const struct ending *e)
{
    static const char *const policies[] = {
#define X(name, text) [CHAN_TLS_##name] = text,
        CHAN_TLS_MAP(X)
#undef X
    };
    set(object, "tls", json_string(e->tls_version == 3 ? "1.3" : e->tls_version == 2 ? "1.2" : ""));
    set(object, "tls_verified", json_boolean(e->tls_verified));
    if (e->job->lane != LANE_RELAY) {
        set(object, "tls_policy", json_string(policies[e->tls_policy]));
    }
    if (e->tls_failure != TLS_FAILURE_NONE) {
        set(object, "tls_failure", json_string(tls_failure_text(e->tls_failure)));
        set(object, "tls_reason", words(e->tls_reason));
    }
}

char *outcome_last_text(const struct ending *e, const struct verdict *v)
{
    json_t *object = ctl_must(json_object());
    set_time(object, "at", e->now_ms);
    set(object, "kind", json_string(outcome_kind_text(v->kind)));
    set_reply(object, e, v);
    set_end(object, e);
    return event_text(object);
}

static const char *reason(const struct ending *e, const struct verdict *v)
{
    return v->expired ? "EXPIRED" : e->job->planned ? e->job->decision.reason : "";
}

char *outcome_event_text(const struct ending *e, const struct verdict *v, uint32_t attempt)
{
    char id[EVENT_ID_TEXT];
    json_t *event = event_new(outcome_kind_text(v->kind), e->now_ms);
    set(event, "id", json_string(event_id_text(e->job->message_id, id)));
    set(event, "recipient", json_string(v->address));
    set(event, "attempt", json_integer(attempt));
    set(event, "path", json_string(outcome_path(e)));
    set(event, "provider", json_string(e->job->planned ? e->job->provider : ""));
    bool in_lane = e->has_slot && e->job->lane != LANE_RELAY;
    set(event, "lane", in_lane ? json_integer(e->job->lane) : json_null());
    set(event, "site", json_string(e->site));
    set_reply(event, e, v);
    set(event, "reason", json_string(reason(e, v)));
    set(event, "evidence", json_string(e->job->planned ? e->job->decision.evidence : ""));
    if (e->has_slot) {
        set_tls(event, e);
        set_end(event, e);
        set(event, "syn_rtt_us", json_integer(e->syn_rtt_us));
        set(event, "rtt_us", json_integer(e->rtt_us));
        set(event, "retransmissions", json_integer(e->retransmissions));
        set(event, "zero_window_ms", json_integer(e->zero_window_ms));
        set(event, "seconds", json_real(e->seconds));
    }
    if (v->state == STORE_RCPT_QUEUED) {
        set_time(event, "next_try_at", v->next_try_ms);
    }
    return event_text(event);
}
