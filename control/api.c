/* api.c - the table of methods, who may call them, and the small ones: see api.h. */
#include "control/api_private.h"

#include "control/dispatch.h"
#include "control/dp_process.h"
#include "control/drain.h"
#include "control/events.h"

#include <unistd.h>

/* ---- parameters -------------------------------------------------------------------------- */

static void wrong(struct rpc_request *request, const char *key, const char *message)
{
    char path[CONFIG_PATH_MAX];
    rpc_error(request, RPC_E_PARAMS, NULL, config_path_join(path, "", key), "\"%s\" %s", key,
              message);
}

bool api_param_text(struct rpc_request *request, const char *key, const char *otherwise,
                    const char **ret_text)
{
    json_t *value = json_object_get(request->params, key);
    const char *text = value ? json_string_value(value) : otherwise;
    if (value && (!text || strlen(text) != json_string_length(value))) {
        wrong(request, key, "must be a text without NUL");
        return false;
    }
    *ret_text = text;
    return true;
}

bool api_param_bool(struct rpc_request *request, const char *key, bool otherwise, bool *ret_value)
{
    json_t *value = json_object_get(request->params, key);
    if (value && !json_is_boolean(value)) {
        wrong(request, key, "must be true or false");
        return false;
    }
    *ret_value = value ? json_is_true(value) : otherwise;
    return true;
}

bool api_param_number(struct rpc_request *request, const char *key, uint64_t low, uint64_t high,
                      uint64_t otherwise, uint64_t *ret_value)
{
    json_t *value = json_object_get(request->params, key);
    json_int_t number = json_integer_value(value);
    if (value && (!json_is_integer(value) || number < 0 || (uint64_t)number < low ||
                  (uint64_t)number > high)) {
        char message[96];
        (void)snprintf(message, sizeof message, "must be a whole number from %llu to %llu",
                       (unsigned long long)low, (unsigned long long)high);
        wrong(request, key, message);
        return false;
    }
    *ret_value = value ? (uint64_t)number : otherwise;
    return true;
}

bool api_param_id(struct rpc_request *request, const char *key, bool needed, uint64_t *ret_id)
{
    json_t *value = json_object_get(request->params, key);
    *ret_id = 0;
    if (!value && !needed) {
        return true;
    }
    if (!json_is_string(value) || !event_id_parse(json_string_value(value), ret_id)) {
        wrong(request, key,
              "must be the id of a message: 16 hexadecimal digits, as `inject` gives it");
        return false;
    }
    return true;
}

/* ---- small methods ----------------------------------------------------------------------- */

static void api_version(struct rpc_request *request)
{
    const struct ctl *ctl = request->ctl;
    rpc_result(request, json_pack("{s:s, s:i, s:i, s:f, s:s}", "version", WIREPOST_VERSION,
                                  "protocol", 1, "pid", (int)getpid(), "uptime_s",
                                  (double)(ctl_time_ms() - ctl->started_ms) / 1000.0, "hostname",
                                  ctl->config.hostname));
}

static void api_drain(struct rpc_request *request)
{
    bool on, wait;
    if (api_param_bool(request, "on", true, &on) && api_param_bool(request, "wait", false, &wait)) {
        drain_set(request->ctl, on);
        drain_answer(request, on && wait);
    }
}

/* ---- the table --------------------------------------------------------------------------- */

struct method {
    const char *name;
    enum rpc_role role;
    void (*call)(struct rpc_request *request);
    const char *const *params;
};

#define METHOD_NAME_MAX 32

static const char *const none[] = {NULL};
static const char *const config_get_params[] = {"path", NULL};
static const char *const config_check_params[] = {"config", "file", NULL};
static const char *const inject_params[] = {
    "sender",          "mail_from", "rcpt_to",     "stream",           "message", "size",
    "idempotency_key", "dsn",       "require_tls", "list_unsubscribe", NULL};
static const char *const list_params[] = {"sender", "domain", "state", "limit", "after", NULL};
static const char *const op_params[] = {"id",    "sender", "domain",  "all",
                                        "after", "limit",  "dry_run", NULL};
static const char *const id_params[] = {"id", NULL};
static const char *const events_params[] = {"after", "types", "follow", NULL};
static const char *const name_params[] = {"name", NULL};
static const char *const sender_params[] = {"sender", NULL};
static const char *const strategy_set_params[] = {"sender", "strategy", NULL};
static const char *const dkim_rotate_params[] = {"sender",   "domain", "selector",
                                                 "key_file", "force",  NULL};
static const char *const flow_params[] = {"sender", "stream", "provider", NULL};
static const char *const why_not_params[] = {"sender", "stream", "provider", "path", NULL};
static const char *const simulate_params[] = {"sender", "stream",           "provider",
                                              "n",      "never_mailed_ppm", NULL};
static const char *const addresses_list_params[] = {"addresses", "pool", "limit", NULL};
static const char *const addresses_add_params[] = {"addresses", "pool", "port",
                                                   "queue",     "ehlo", NULL};
static const char *const addresses_params[] = {"addresses", "pool", NULL};
static const char *const addresses_move_params[] = {"addresses", "pool", "port", "queue", NULL};
static const char *const pool_add_params[] = {"name", "ehlo", "warmup", NULL};
static const char *const pool_assign_params[] = {"sender", "pool", NULL};
static const char *const report_params[] = {"reports", NULL};
static const char *const drain_params[] = {"on", "wait", NULL};

static const struct method methods[] = {
    {"version", RPC_READER, api_version, none},
    {"config.get", RPC_READER, api_config_get, config_get_params},
    {"config.check", RPC_ADMIN, api_config_check, config_check_params},
    {"inject", RPC_ADMIN, api_inject, inject_params},
    {"queue.list", RPC_READER, api_queue_list, list_params},
    {"queue.show", RPC_READER, api_queue_show, id_params},
    {"queue.hold", RPC_ADMIN, api_queue_hold, op_params},
    {"queue.release", RPC_ADMIN, api_queue_release, op_params},
    {"queue.retry", RPC_ADMIN, api_queue_retry, op_params},
    {"queue.bounce", RPC_ADMIN, api_queue_bounce, op_params},
    {"queue.delete", RPC_ADMIN, api_queue_delete, op_params},
    {"message.why", RPC_READER, api_message_why, id_params},
    {"stats", RPC_READER, api_stats, none},
    {"events", RPC_READER, api_events, events_params},
    {"lanes", RPC_READER, api_lanes, none},
    {"routes.list", RPC_READER, api_routes_list, none},
    {"routes.pause", RPC_ADMIN, api_routes_pause, name_params},
    {"routes.resume", RPC_ADMIN, api_routes_resume, name_params},
    {"routes.test", RPC_ADMIN, api_routes_test, name_params},
    {"strategy.get", RPC_READER, api_strategy_get, sender_params},
    {"strategy.set", RPC_ADMIN, api_strategy_set, strategy_set_params},
    {"strategy.explain", RPC_READER, api_strategy_explain, flow_params},
    {"strategy.why_not", RPC_READER, api_strategy_why_not, why_not_params},
    {"strategy.simulate", RPC_READER, api_strategy_simulate, simulate_params},
    {"dkim.list", RPC_READER, api_dkim_list, sender_params},
    {"dkim.check", RPC_READER, api_dkim_check, sender_params},
    {"dkim.reload", RPC_ADMIN, api_dkim_reload, sender_params},
    {"dkim.rotate", RPC_ADMIN, api_dkim_rotate, dkim_rotate_params},
    {"dnsbl.list", RPC_READER, api_dnsbl_list, none},
    {"addresses.list", RPC_READER, api_addresses_list, addresses_list_params},
    {"addresses.add", RPC_ADMIN, api_addresses_add, addresses_add_params},
    {"addresses.remove", RPC_ADMIN, api_addresses_remove, addresses_params},
    {"addresses.drain", RPC_ADMIN, api_addresses_drain, addresses_params},
    {"addresses.undrain", RPC_ADMIN, api_addresses_undrain, addresses_params},
    {"addresses.move", RPC_ADMIN, api_addresses_move, addresses_move_params},
    {"pool.list", RPC_READER, api_pool_list, none},
    {"pool.add", RPC_ADMIN, api_pool_add, pool_add_params},
    {"pool.remove", RPC_ADMIN, api_pool_remove, name_params},
    {"pool.assign", RPC_ADMIN, api_pool_assign, pool_assign_params},
    {"event.report", RPC_ADMIN, api_event_report, report_params},
    {"drain", RPC_ADMIN, api_drain, drain_params},
};

static const struct method *find(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(methods[i].name, name) == 0) {
            return &methods[i];
        }
    }
    return NULL;
}

static const char *unknown_key(const json_t *params, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)params, key, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0) {
            i++;
        }
        if (!known[i]) {
            return key;
        }
    }
    return NULL;
}

static void unknown_method(struct rpc_request *request, const char *name)
{
    char names[sizeof methods / sizeof methods[0] * METHOD_NAME_MAX] = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        used += (size_t)snprintf(names + used, METHOD_NAME_MAX, "%s%.*s", i ? ", " : "",
                                 (int)METHOD_NAME_MAX - 3, methods[i].name);
    }
    rpc_error(request, RPC_E_METHOD, NULL, NULL, "unknown method \"%.64s\"; there are: %s", name,
              names);
}

void api_call(struct rpc_request *request, const char *name)
{
    const struct method *method = find(name);
    if (!method) {
        unknown_method(request, name);
        return;
    }
    if (method->role == RPC_ADMIN && request->role != RPC_ADMIN) {
        rpc_error(request, RPC_E_OURS, "permission_denied", NULL,
                  "%s is for root and the daemon's own user; your group may only read", name);
        return;
    }
    const char *key = unknown_key(request->params, method->params);
    if (key) {
        char path[CONFIG_PATH_MAX];
        rpc_error(request, RPC_E_PARAMS, NULL, config_path_join(path, "", key),
                  "unknown parameter \"%.64s\" of %s", key, name);
        return;
    }
    method->call(request);
}

enum api_raw api_raw_bytes(struct rpc_request *request, const char *method, size_t *ret_bytes)
{
    json_t *size = json_object_get(request->params, "size");
    if (strcmp(method, "inject") != 0 || !json_is_integer(size) || json_integer_value(size) <= 0) {
        return API_RAW_NONE;
    }
    *ret_bytes = (size_t)json_integer_value(size);
    bool keep = request->role == RPC_ADMIN && !request->ctl->stopping &&
                *ret_bytes <= request->ctl->config.limits.message_bytes;
    return keep ? API_RAW_KEEP : API_RAW_SKIP;
}

void api_call_raw(struct rpc_request *request)
{
    if (request->raw_error[0]) {
        rpc_error(request, request->raw_code,
                  request->raw_code == RPC_E_OURS ? "spool_error" : NULL, NULL, "%s",
                  request->raw_error);
        return;
    }
    api_call(request, "inject");
}
