/* api_feedback.c - `event.report`: opens, clicks, complaints and late bounces. See API.md. */
#include "control/api_private.h"

#include "control/events.h"
#include "control/feedback.h"

#define REPORTS_MAX 10000u

/* One report as the library wants it; else what is wrong with it. */
static const char *read_report(const json_t *report, int64_t now_ms, struct feedback *ret)
{
    const char *id = json_string_value(json_object_get(report, "id"));
    const char *kind = json_string_value(json_object_get(report, "type"));
    const char *at = json_string_value(json_object_get(report, "at"));
    const char *reply = json_string_value(json_object_get(report, "reply"));
    *ret = (struct feedback){
        .recipient = json_string_value(json_object_get(report, "recipient")),
        .at_ms = now_ms,
        .machine = json_is_true(json_object_get(report, "machine")),
        .reply = reply ? reply : "",
    };
    if (!id || !event_id_parse(id, &ret->message_id)) {
        return "\"id\" must be the id of a message, 16 hexadecimal digits";
    }
    if (!kind || !feedback_kind_parse(kind, &ret->kind)) {
        return "\"type\" must be \"open\", \"click\", \"complaint\", \"bounce\" or \"delivery\"";
    }
    if (at && !ctl_time_parse(at, &ret->at_ms)) {
        return "\"at\" must be a time like 2026-11-23T19:07:00Z";
    }
    return NULL;
}

static void refuse(json_t *refused, size_t index, const char *text)
{
    (void)json_array_append_new(
        refused, json_pack("{s:I, s:s}", "index", (json_int_t)index, "message", text));
}

/* Each report stands for itself: what is wrong with one does not keep the others out. */
void api_event_report(struct rpc_request *request)
{
    json_t *reports = json_object_get(request->params, "reports"), *report;
    json_t *refused;
    size_t i, taken = 0;
    int64_t now_ms = ctl_time_ms();
    if (!json_is_array(reports) || json_array_size(reports) > REPORTS_MAX) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/reports", "must be a list of at most %u reports",
                  REPORTS_MAX);
        return;
    }
    refused = ctl_must(json_array());
    json_array_foreach(reports, i, report)
    {
        struct feedback feedback;
        const char *error = read_report(report, now_ms, &feedback);
        if (error || !feedback_take(request->ctl, &feedback, &error)) {
            refuse(refused, i, error);
            continue;
        }
        taken++;
    }
    rpc_result(request, json_pack("{s:I, s:o}", "taken", (json_int_t)taken, "refused", refused));
}
