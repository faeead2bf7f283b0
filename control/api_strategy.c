/* api_strategy.c - `strategy.*`: what the decision library does and why. See API.md. */
#include "control/api_private.h"

#include "control/decisions.h"
#include "control/dispatch.h"
#include "control/dnsbl.h"
#include "control/plan.h"

/* The sender that is named; UINT32_MAX: the request has been answered. */
static uint32_t named_sender(struct rpc_request *request)
{
    const char *name;
    if (!api_param_text(request, "sender", "", &name)) {
        return UINT32_MAX;
    }
    uint32_t sender = ctl_config_sender(&request->ctl->config, name);
    if (sender == UINT32_MAX) {
        rpc_error(request, RPC_E_OURS, "unknown_sender", "/sender",
                  "there is no sender \"%.64s\" in the configuration", name);
    }
    return sender;
}

/* sender, stream, provider. False: the request has been answered. */
static bool named_flow(struct rpc_request *request, struct strategy_key *ret_key)
{
    uint32_t sender = named_sender(request);
    if (sender == UINT32_MAX ||
        !api_param_text(request, "stream", "transactional", &ret_key->stream) ||
        !api_param_text(request, "provider", "", &ret_key->provider)) {
        return false;
    }
    ret_key->sender = request->ctl->config.senders[sender].name;
    return true;
}

static void answer_library_error(struct rpc_request *request, enum strategy_error error)
{
    const char *place = error == STRATEGY_E_UNKNOWN_PATH ? "/path" : "/provider";
    rpc_error(request, RPC_E_OURS, "not_found", place, "%s", strategy_error_text(error));
}

static const char *route_kind(uint32_t route)
{
    switch (route) {
    case STRATEGY_ROUTE_DED:
        return "dedicated";
    case STRATEGY_ROUTE_SHR:
        return "shared";
    case STRATEGY_ROUTE_SES:
        return "ses";
    case STRATEGY_ROUTE_CUS:
        return "custom";
    default:
        return "";
    }
}

/* ---- strategy.get, strategy.set ---------------------------------------------------------- */

static json_t *endpoints_of(struct ctl *ctl, const struct ctl_sender *sender)
{
    json_t *list = ctl_must(json_array());
    const char *path;
    uint32_t kind;
    for (uint32_t slot = 0; (path = strategy_slot_path(decisions_engine(ctl->decisions),
                                                       sender->name, slot, &kind)) != NULL;
         slot++) {
        if ((kind & strategy_routes(sender->strategy)) != 0) {
            (void)json_array_append_new(
                list, json_pack("{s:s, s:s}", "path", path, "kind", route_kind(kind)));
        }
    }
    return list;
}

static json_t *strategy_of(struct ctl *ctl, uint32_t number)
{
    const struct ctl_sender *sender = &ctl->config.senders[number];
    return json_pack("{s:s, s:s, s:s, s:o}", "sender", sender->name, "strategy",
                     strategy_kind_text(sender->strategy), "configured",
                     strategy_kind_text(sender->configured), "endpoints",
                     endpoints_of(ctl, sender));
}

void api_strategy_get(struct rpc_request *request)
{
    if (json_object_get(request->params, "sender")) {
        uint32_t sender = named_sender(request);
        if (sender != UINT32_MAX) {
            rpc_result(request, strategy_of(request->ctl, sender));
        }
        return;
    }
    json_t *list = ctl_must(json_array());
    for (uint32_t i = 0; i < request->ctl->config.n_senders; i++) {
        (void)json_array_append_new(list, strategy_of(request->ctl, i));
    }
    rpc_result(request, json_pack("{s:o}", "senders", list));
}

void api_strategy_set(struct rpc_request *request)
{
    struct ctl *ctl = request->ctl;
    const char *text;
    char error[256];
    enum strategy_kind kind;
    uint32_t sender = named_sender(request);
    if (sender == UINT32_MAX || !api_param_text(request, "strategy", "", &text)) {
        return;
    }
    if (!strategy_kind_parse(text, &kind)) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/strategy",
                  "\"strategy\" must be \"auto\", \"dedicated\", \"shared\" or \"custom\"");
        return;
    }
    if (!decisions_set_strategy(ctl->decisions, sender, kind, error, sizeof error)) {
        rpc_error(request, RPC_E_OURS, "not_possible", "/strategy", "%s", error);
        return;
    }
    plan_refresh(ctl->plan, sender);
    ctl_log(CTL_LOG_INFO, "a strategy is set", "sender=%s strategy=%s",
            ctl->config.senders[sender].name, text);
    dispatch_wake(ctl);
    rpc_result(request, strategy_of(ctl, sender));
}

/* ---- strategy.explain, strategy.why_not -------------------------------------------------- */

static json_t *time_or_null(uint64_t unix_ms)
{
    char text[CTL_TIME_TEXT];
    return unix_ms == NEVER_MS ? json_null() : json_string(ctl_time_text((int64_t)unix_ms, text));
}

static json_t *weights_of(struct ctl *ctl, const char *sender,
                          const uint8_t weight[STRATEGY_SLOTS_MAX])
{
    json_t *object = ctl_must(json_object());
    for (uint32_t slot = 0; slot < STRATEGY_SLOTS_MAX; slot++) {
        uint32_t kind;
        const char *path =
            strategy_slot_path(decisions_engine(ctl->decisions), sender, slot, &kind);
        if (path && weight[slot] > 0) {
            (void)json_object_set_new(object, path, json_integer(weight[slot]));
        }
    }
    return object;
}

static json_t *evidence_of(struct ctl *ctl, enum strategy_cause cause,
                           const struct strategy_evidence *v)
{
    char text[256];
    (void)strategy_evidence_text(decisions_engine(ctl->decisions), cause, v, text, sizeof text);
    return json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:o}", "signal",
                     strategy_signal_text(v->signal), "text", text, "n", (json_int_t)v->n,
                     "observed", (json_int_t)v->observed, "statistic",
                     (double)v->statistic_milli / 1000, "threshold",
                     (double)v->threshold_milli / 1000, "expires", time_or_null(v->expires_ms));
}

void api_strategy_explain(struct rpc_request *request)
{
    struct ctl *ctl = request->ctl;
    struct strategy_engine *engine = decisions_engine(ctl->decisions);
    struct strategy_key key;
    struct strategy_record record;
    char line[512];
    if (!named_flow(request, &key)) {
        return;
    }
    enum strategy_error error = strategy_why(engine, &key, &record);
    if (error != STRATEGY_OK) {
        answer_library_error(request, error);
        return;
    }
    (void)strategy_why_line(engine, &key, &record, line, sizeof line);
    rpc_result(request,
               json_pack("{s:I, s:o, s:s, s:s, s:o, s:o, s:i, s:i, s:o, s:s}", "decision",
                         (json_int_t)record.id, "at", time_or_null(record.at_ms), "reason",
                         strategy_cause_name(record.cause), "meaning",
                         strategy_cause_text(record.cause), "old",
                         weights_of(ctl, key.sender, record.old_weight), "new",
                         weights_of(ctl, key.sender, record.new_weight), "old_held",
                         (int)record.old_held, "new_held", (int)record.new_held, "evidence",
                         evidence_of(ctl, record.cause, &record.evidence), "line", line));
}

void api_strategy_why_not(struct rpc_request *request)
{
    struct ctl *ctl = request->ctl;
    struct strategy_key key;
    const char *path;
    char text[512];
    if (!named_flow(request, &key) || !api_param_text(request, "path", "", &path)) {
        return;
    }
    enum strategy_error error =
        strategy_why_not(decisions_engine(ctl->decisions), decisions_now_ms(ctl->decisions), &key,
                         path, text, sizeof text);
    if (error != STRATEGY_OK) {
        answer_library_error(request, error);
        return;
    }
    rpc_result(request, json_pack("{s:s, s:b, s:s}", "path", path, "usable", text[0] == '\0',
                                  "why_not", text));
}

/* ---- dnsbl.list ------------------------------------------------------------------------- */

void api_dnsbl_list(struct rpc_request *request)
{
    rpc_result(request, json_pack("{s:o}", "listings", dnsbl_json(request->ctl->dnsbl)));
}

/* ---- strategy.simulate ------------------------------------------------------------------- */

static json_t *split_of(struct ctl *ctl, const struct strategy_split *split)
{
    json_t *parts = ctl_must(json_array());
    for (uint32_t i = 0; i < split->n_parts; i++) {
        (void)json_array_append_new(parts, json_pack("{s:s, s:I}", "path", split->part[i].path, "n",
                                                     (json_int_t)split->part[i].n));
    }
    return json_pack("{s:o, s:I, s:o, s:s, s:o, s:b}", "split", parts, "held",
                     (json_int_t)split->n_held, "retry_at", time_or_null(split->retry_ms), "reason",
                     strategy_cause_name(split->cause), "evidence",
                     evidence_of(ctl, split->cause, &split->evidence), "low_volume",
                     split->low_volume_ded);
}

/* What would happen to n mails now: the same question to a copy of the library. */
void api_strategy_simulate(struct rpc_request *request)
{
    struct ctl *ctl = request->ctl;
    struct strategy_plan plan = {0};
    struct strategy_split split;
    uint64_t n, never_mailed;
    void *memory;
    if (!named_flow(request, &plan.key) || !api_param_number(request, "n", 1, 1000000000, 1, &n) ||
        !api_param_number(request, "never_mailed_ppm", 0, 1000000, 0, &never_mailed)) {
        return;
    }
    plan.n = (uint32_t)n;
    plan.never_mailed_ppm = (uint32_t)never_mailed;
    plan.down_mask = plan_down_mask(ctl->plan, ctl_config_sender(&ctl->config, plan.key.sender));
    struct strategy_engine *copy = decisions_copy(ctl->decisions, &memory);
    if (!copy) {
        rpc_error(request, RPC_E_OURS, "not_possible", NULL, "no memory for a copy: try later");
        return;
    }
    enum strategy_error error =
        strategy_plan(copy, decisions_now_ms(ctl->decisions), &plan, &split);
    if (error != STRATEGY_OK) {
        answer_library_error(request, error);
    } else {
        rpc_result(request, split_of(ctl, &split));
    }
    free(memory);
}
