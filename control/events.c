/* events.c - see events.h. */
#include "control/events.h"

json_t *event_new(const char *type, int64_t at_ms)
{
    char at[CTL_TIME_TEXT];
    return ctl_must(json_pack("{s:s, s:s}", "type", type, "at", ctl_time_text(at_ms, at)));
}

char *event_text(json_t *event)
{
    char *text = ctl_must(json_dumps(event, JSON_COMPACT | JSON_ENSURE_ASCII));
    json_decref(event);
    return text;
}

bool event_type_is(const char *json, size_t len, const char *type)
{
    static const char head[] = "{\"type\":\"";
    size_t head_len = sizeof head - 1, type_len = strlen(type);
    return len > head_len + type_len && memcmp(json, head, head_len) == 0 &&
           memcmp(json + head_len, type, type_len) == 0 && json[head_len + type_len] == '"';
}

const char *event_id_text(uint64_t id, char buf[EVENT_ID_TEXT])
{
    (void)snprintf(buf, EVENT_ID_TEXT, "%016llx", (unsigned long long)id);
    return buf;
}

bool event_id_parse(const char *text, uint64_t *ret_id)
{
    uint64_t id = 0;
    if (strlen(text) != EVENT_ID_TEXT - 1) {
        return false;
    }
    for (const char *at = text; *at; at++) {
        const char *digits = "0123456789abcdef", *digit = strchr(digits, *at);
        if (!digit) {
            return false;
        }
        id = id << 4 | (uint64_t)(digit - digits);
    }
    *ret_id = id;
    return id != 0;
}

void event_record(struct ctl *ctl, uint64_t id, json_t *event)
{
    char *text = event_text(event);
    store_event(ctl->store, id, text);
    free(text);
}

void events_dataplane(struct ctl *ctl, const char *state, int pid, const char *text)
{
    json_t *event = event_new("dataplane", ctl_time_ms());
    (void)json_object_set_new(event, "state", json_string(state));
    (void)json_object_set_new(event, "pid", json_integer(pid));
    (void)json_object_set_new(event, "text", json_string(text));
    event_record(ctl, 0, event);
}

void events_decision(struct ctl *ctl, const struct strategy_key *key,
                     const struct strategy_record *record, const char *line)
{
    json_t *event = event_new("decision", ctl_time_ms());
    (void)json_object_set_new(event, "decision", json_integer((json_int_t)record->id));
    (void)json_object_set_new(event, "sender", json_string(key->sender));
    (void)json_object_set_new(event, "stream", json_string(key->stream));
    (void)json_object_set_new(event, "provider", json_string(key->provider));
    (void)json_object_set_new(event, "reason", json_string(strategy_cause_name(record->cause)));
    (void)json_object_set_new(event, "line", json_string(line));
    event_record(ctl, 0, event);
}

void events_drain(struct ctl *ctl, bool on)
{
    json_t *event = event_new("drain", ctl_time_ms());
    (void)json_object_set_new(event, "on", json_boolean(on));
    event_record(ctl, 0, event);
}

void events_held(struct ctl *ctl, uint64_t id, const char *recipient, const char *reason,
                 const char *evidence, int64_t until_ms)
{
    char id_text[EVENT_ID_TEXT], until[CTL_TIME_TEXT];
    json_t *event = event_new("held", ctl_time_ms());
    (void)json_object_set_new(event, "id", json_string(event_id_text(id, id_text)));
    (void)json_object_set_new(event, "recipient", json_string(recipient));
    (void)json_object_set_new(event, "reason", json_string(reason));
    (void)json_object_set_new(event, "evidence", json_string(evidence));
    (void)json_object_set_new(event, "until", json_string(ctl_time_text(until_ms, until)));
    event_record(ctl, id, event);
}
