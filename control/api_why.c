/* api_why.c - `message.why`: the events of one message, for machines and for people. See API.md. */
#include "control/api_private.h"

#include "control/events.h"

struct why {
    json_t *records, *lines;
};

static const char *text(const json_t *event, const char *key)
{
    const char *value = json_string_value(json_object_get(event, key));
    return value ? value : "";
}

static json_int_t number(const json_t *event, const char *key)
{
    return json_integer_value(json_object_get(event, key));
}

/* "from 192.0.2.10 (lane 0) to mx.alpha.example [198.51.100.25]" */
static void path_text(const json_t *event, char *buf, size_t buf_bytes)
{
    buf[0] = '\0';
    if (text(event, "source")[0]) {
        (void)snprintf(buf, buf_bytes, " from %s (lane %d) to %s [%s]", text(event, "source"),
                       (int)number(event, "lane"), text(event, "host"), text(event, "peer"));
    }
}

static void reply_text(const json_t *event, char *buf, size_t buf_bytes)
{
    char code[24] = "";
    if (number(event, "code") != 0) {
        (void)snprintf(code, sizeof code, "%d ", (int)number(event, "code"));
    }
    (void)snprintf(buf, buf_bytes, "%s: %s%s%s%s", text(event, "stage"), code,
                   text(event, "enhanced"), text(event, "enhanced")[0] ? " " : "",
                   text(event, "text"));
}

static void outcome_line(const json_t *event, char *buf, size_t buf_bytes)
{
    char path[512], reply[768], next[64] = "";
    path_text(event, path, sizeof path);
    reply_text(event, reply, sizeof reply);
    if (text(event, "next_try_at")[0]) {
        (void)snprintf(next, sizeof next, "; next try %s", text(event, "next_try_at"));
    }
    (void)snprintf(buf, buf_bytes, "%s attempt %d for %s%s: %s at %s%s%s%s%s", text(event, "type"),
                   (int)number(event, "attempt"), text(event, "recipient"), path,
                   text(event, "type"), reply,
                   text(event, "evidence")[0] ? "; chosen because " : "",
                   text(event, "evidence")[0] ? text(event, "reason") : "",
                   text(event, "evidence")[0] ? ": " : "", text(event, "evidence"));
    (void)strncat(buf, next, buf_bytes - strlen(buf) - 1);
}

static json_t *line_of(const json_t *event)
{
    char body[2048], line[2200];
    const char *type = text(event, "type");
    if (strcmp(type, "accepted") == 0) {
        (void)snprintf(
            body, sizeof body,
            "accepted from sender %s (stream %s), return path <%s>, %d recipients, %lld bytes",
            text(event, "sender"), text(event, "stream"), text(event, "mail_from"),
            (int)number(event, "recipients"), (long long)number(event, "bytes"));
    } else if (strcmp(type, "held") == 0) {
        (void)snprintf(body, sizeof body, "held %s: %s: %s; looked at again %s",
                       text(event, "recipient"), text(event, "reason"), text(event, "evidence"),
                       text(event, "until"));
    } else if (strcmp(type, "finished") == 0) {
        (void)snprintf(body, sizeof body, "finished: no recipient is queued any more");
    } else if (strcmp(type, "feedback") == 0) {
        (void)snprintf(body, sizeof body, "%s by %s, sent by %s", text(event, "kind"),
                       text(event, "recipient"), text(event, "path"));
    } else if (strcmp(type, "dsn") == 0) {
        (void)snprintf(body, sizeof body, "made as the bounce message of %s", text(event, "for"));
    } else {
        outcome_line(event, body, sizeof body);
    }
    (void)snprintf(line, sizeof line, "%s %s", text(event, "at"), body);
    json_t *value = json_string(line);
    return value ? value : json_string("(a line that is not UTF-8)");
}

static bool on_event(void *user, uint64_t seq, uint64_t message_id, const char *json, size_t len)
{
    struct why *why = user;
    json_t *event = json_loadb(json, len, 0, NULL);
    (void)message_id;
    if (event) {
        (void)json_object_set_new(event, "seq", json_integer((json_int_t)seq));
        (void)json_array_append_new(why->lines, line_of(event));
        (void)json_array_append_new(why->records, event);
    }
    return true;
}

void api_message_why(struct rpc_request *request)
{
    uint64_t id;
    char id_text[EVENT_ID_TEXT];
    if (!api_param_id(request, "id", true, &id)) {
        return;
    }
    struct why why = {ctl_must(json_array()), ctl_must(json_array())};
    (void)store_each_event(request->ctl->store, 0, id, on_event, &why);
    if (json_array_size(why.records) == 0) {
        json_decref(why.records);
        json_decref(why.lines);
        rpc_error(request, RPC_E_OURS, "not_found", "/id",
                  "nothing is recorded of this message; events are kept for the last "
                  "spool.event_keep (%u)",
                  request->ctl->config.spool.event_keep);
        return;
    }
    rpc_result(request, json_pack("{s:s, s:o, s:o}", "id", event_id_text(id, id_text), "records",
                                  why.records, "lines", why.lines));
}
