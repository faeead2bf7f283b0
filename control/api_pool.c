/* api_pool.c - `pool.*`: pools of source addresses while mail flows. See API.md. */
#include "control/api_private.h"

#include "control/addresses.h"

static const char *warmup_text(enum dp_warmup warmup)
{
    switch (warmup) {
    case DP_WARMUP_BY_STRATEGY:
        break;
    case DP_WARMUP_OFF:
        return "off";
    case DP_WARMUP_ON:
        return "on";
    }
    return "by strategy";
}

static json_t *senders_of(const struct ctl *ctl, uint32_t pool)
{
    json_t *list = ctl_must(json_array());
    for (uint32_t i = 0; i < ctl->config.n_senders; i++) {
        const struct ctl_sender *sender = &ctl->config.senders[i];
        if (sender->has_pool && sender->pool == pool) {
            (void)json_array_append_new(list, json_string(sender->name));
        }
    }
    return list;
}

static json_t *pool_json(const struct ctl *ctl, uint32_t number)
{
    const struct dp_config *dp = &ctl->config.dp;
    const struct dp_pool *pool = &dp->pools[number];
    uint32_t n = 0, usable = 0;
    for (uint32_t i = 0; i < dp->n_addresses; i++) {
        if (dp->addresses[i].pool == number && !dp->addresses[i].removed) {
            n++;
            usable += addresses_usable(ctl->addresses, i);
        }
    }
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:b}", "name", pool->name, "ehlo", pool->ehlo,
                     "warmup", warmup_text(pool->warmup), "addresses", (int)n, "usable",
                     (int)usable, "senders", senders_of(ctl, number), "added",
                     addresses_pool_is_added(ctl->addresses, number));
}

void api_pool_list(struct rpc_request *request)
{
    const struct ctl *ctl = request->ctl;
    json_t *list = ctl_must(json_array());
    for (uint32_t i = 0; i < ctl->config.dp.n_pools; i++) {
        if (!ctl->config.dp.pools[i].removed) {
            (void)json_array_append_new(list, pool_json(ctl, i));
        }
    }
    rpc_result(request, json_pack("{s:o}", "pools", list));
}

/* The pool that `key` names; UINT32_MAX: the request has been answered. */
static uint32_t named_pool(struct rpc_request *request, const char *key)
{
    const char *name;
    char path[CONFIG_PATH_MAX];
    if (!api_param_text(request, key, "", &name)) {
        return UINT32_MAX;
    }
    uint32_t pool = addresses_pool(request->ctl->addresses, name);
    if (pool == UINT32_MAX) {
        rpc_error(request, RPC_E_OURS, "not_found", config_path_join(path, "", key),
                  "there is no pool \"%.64s\"", name);
    }
    return pool;
}

static void answer(struct rpc_request *request, bool good, uint32_t pool, const char *error)
{
    if (good) {
        rpc_result(request, pool_json(request->ctl, pool));
    } else {
        rpc_error(request, RPC_E_OURS, "not_possible", "/name", "%s", error);
    }
}

void api_pool_add(struct rpc_request *request)
{
    struct dp_pool pool = {0};
    const char *name, *ehlo;
    char error[512];
    bool warmup;
    if (!api_param_text(request, "name", "", &name) ||
        !api_param_text(request, "ehlo", "", &ehlo) ||
        !api_param_bool(request, "warmup", false, &warmup)) {
        return;
    }
    if (!config_name_valid(name)) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/name",
                  "a pool's name may have up to %u letters, digits, '-', '_' and '.'",
                  DP_NAME_MAX - 1);
        return;
    }
    if (strlen(ehlo) >= sizeof pool.ehlo || !dp_ehlo_pattern_valid(ehlo)) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/ehlo",
                  "\"ehlo\" must give a full host name, with {n} or {ip} for the address, such as "
                  "out-{n}.acme.example");
        return;
    }
    (void)snprintf(pool.name, sizeof pool.name, "%s", name);
    (void)snprintf(pool.ehlo, sizeof pool.ehlo, "%s", ehlo);
    if (json_object_get(request->params, "warmup")) {
        pool.warmup = warmup ? DP_WARMUP_ON : DP_WARMUP_OFF;
    }
    bool good = addresses_pool_add(request->ctl->addresses, &pool, error, sizeof error);
    answer(request, good, addresses_pool(request->ctl->addresses, name), error);
}

void api_pool_remove(struct rpc_request *request)
{
    char error[512];
    uint32_t pool = named_pool(request, "name");
    if (pool != UINT32_MAX) {
        answer(request, addresses_pool_remove(request->ctl->addresses, pool, error, sizeof error),
               pool, error);
    }
}

void api_pool_assign(struct rpc_request *request)
{
    const struct ctl_config *config = &request->ctl->config;
    const char *name;
    char error[512];
    if (!api_param_text(request, "sender", "", &name)) {
        return;
    }
    uint32_t sender = ctl_config_sender(config, name);
    if (sender == UINT32_MAX) {
        rpc_error(request, RPC_E_OURS, "unknown_sender", "/sender",
                  "there is no sender \"%.64s\" in the configuration", name);
        return;
    }
    if (config->senders[sender].strategy == STRATEGY_SHARED) {
        rpc_error(request, RPC_E_OURS, "not_possible", "/sender",
                  "a shared sender never uses own addresses");
        return;
    }
    uint32_t pool = named_pool(request, "pool");
    if (pool != UINT32_MAX) {
        answer(request,
               addresses_pool_assign(request->ctl->addresses, sender, pool, error, sizeof error),
               pool, error);
    }
}
