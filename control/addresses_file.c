/*
 * addresses_file.c - addresses.json: what was changed at run time, as differences to the
 * configuration. See addresses.h.
 *
 *     {"pools": {"late": {"ehlo": "m{n}.late.example", "warmup": true}},
 *      "senders": {"acme": "late"},
 *      "addresses": [{"address": "192.0.2.9", "port": "wan0", "queue": 1, "pool": "late", "n": 1,
 *                     "ehlo": "mail.late.example", "drained": true},
 *                    {"address": "192.0.2.10", "removed": true}]}
 *
 * An entry that does not fit the configuration any more (its port, queue, pool or prefix is gone)
 * is left out with a line in the log.
 */
#include "control/addresses_private.h"

#include "control/decisions_private.h"

#define FILE_NAME "addresses.json"

/* ---- writing ----------------------------------------------------------------------------- */

static bool differs(const struct addresses *a, uint32_t index)
{
    const struct own_address *own = &a->list[index];
    const struct dp_address *address = address_at(a, index);
    if (!own->configured) {
        return !address->removed;
    }
    return address->removed || own->drained || own->config_lane != address->lane;
}

static json_t *address_json(const struct addresses *a, uint32_t index)
{
    const struct dp_config *dp = &a->ctl->config.dp;
    const struct dp_address *address = address_at(a, index);
    const struct dp_lane *lane = &dp->lanes[address->lane];
    char text[IP_ADDR_TEXT_MAX];
    json_t *object = ctl_must(json_object());
    (void)json_object_set_new(object, "address", json_string(ip_addr_format(&address->addr, text)));
    if (address->removed) {
        (void)json_object_set_new(object, "removed", json_true());
        return object;
    }
    (void)json_object_set_new(object, "port", json_string(dp->ports[lane->port].name));
    (void)json_object_set_new(object, "queue", json_integer(lane->queue));
    (void)json_object_set_new(object, "pool", json_string(dp->pools[address->pool].name));
    (void)json_object_set_new(object, "n", json_integer(address->index_in_pool));
    if (address->ehlo && !a->list[index].configured) {
        (void)json_object_set_new(object, "ehlo", json_string(address->ehlo));
    }
    if (a->list[index].drained) {
        (void)json_object_set_new(object, "drained", json_true());
    }
    return object;
}

static json_t *pools_json(const struct addresses *a)
{
    const struct dp_config *dp = &a->ctl->config.dp;
    json_t *pools = ctl_must(json_object());
    for (uint32_t i = a->n_configured_pools; i < dp->n_pools; i++) {
        const struct dp_pool *pool = &dp->pools[i];
        if (pool->removed) {
            continue;
        }
        json_t *object = ctl_must(json_pack("{s:s}", "ehlo", pool->ehlo));
        if (pool->warmup != DP_WARMUP_BY_STRATEGY) {
            (void)json_object_set_new(object, "warmup", json_boolean(pool->warmup == DP_WARMUP_ON));
        }
        (void)json_object_set_new(pools, pool->name, object);
    }
    return pools;
}

static json_t *senders_json(const struct addresses *a)
{
    const struct ctl_config *config = &a->ctl->config;
    json_t *senders = ctl_must(json_object());
    for (uint32_t i = 0; i < config->n_senders; i++) {
        const struct ctl_sender *sender = &config->senders[i];
        if (sender->has_pool && sender->pool != a->configured_pool[i]) {
            (void)json_object_set_new(senders, sender->name,
                                      json_string(config->dp.pools[sender->pool].name));
        }
    }
    return senders;
}

bool addresses_write(const struct addresses *a)
{
    json_t *list = ctl_must(json_array());
    for (uint32_t i = 0; i < a->ctl->config.dp.n_addresses; i++) {
        if (differs(a, i)) {
            (void)json_array_append_new(list, address_json(a, i));
        }
    }
    json_t *root = ctl_must(json_pack("{s:o, s:o, s:o}", "pools", pools_json(a), "senders",
                                      senders_json(a), "addresses", list));
    char *text = ctl_must(json_dumps(root, JSON_INDENT(1)));
    bool good = decisions_replace_file(a->ctl, FILE_NAME, text, strlen(text));
    free(text);
    json_decref(root);
    return good;
}

/* ---- reading ----------------------------------------------------------------------------- */

static void left_out(const char *what, const char *name, const char *why)
{
    ctl_log(CTL_LOG_WARN, "a change of run time does not fit the configuration any more",
            "file=" FILE_NAME " %s=%s reason=\"%s\"", what, name, why);
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static uint32_t find_lane(const struct dp_config *dp, const char *port, json_int_t queue)
{
    for (uint32_t i = 0; i < dp->n_lanes; i++) {
        if (dp->lanes[i].queue == queue && strcmp(dp->ports[dp->lanes[i].port].name, port) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

static void read_pools(struct addresses *a, json_t *pools)
{
    struct dp_config *dp = &a->ctl->config.dp;
    const char *name;
    json_t *object;
    json_object_foreach(pools, name, object)
    {
        struct dp_pool pool = {0};
        json_t *warmup = json_object_get(object, "warmup");
        const char *ehlo = text_of(object, "ehlo");
        if (addresses_pool(a, name) != UINT32_MAX) {
            continue; /* the operator has written it down since */
        }
        if (!config_name_valid(name) || !dp_ehlo_pattern_valid(ehlo) ||
            dp->n_pools == a->n_configured_pools + ADDRESSES_POOLS_MORE) {
            left_out("pool", name, "bad name, or too many pools");
            continue;
        }
        (void)snprintf(pool.name, sizeof pool.name, "%s", name);
        (void)snprintf(pool.ehlo, sizeof pool.ehlo, "%s", ehlo);
        pool.warmup = !warmup                ? DP_WARMUP_BY_STRATEGY
                      : json_is_true(warmup) ? DP_WARMUP_ON
                                             : DP_WARMUP_OFF;
        dp->pools[dp->n_pools++] = pool;
    }
}

static void read_senders(struct addresses *a, json_t *senders)
{
    const char *name;
    json_t *value;
    json_object_foreach(senders, name, value)
    {
        uint32_t sender = ctl_config_sender(&a->ctl->config, name);
        uint32_t pool = addresses_pool(a, json_is_string(value) ? json_string_value(value) : "");
        if (sender == UINT32_MAX || pool == UINT32_MAX ||
            a->ctl->config.senders[sender].strategy == STRATEGY_SHARED) {
            left_out("sender", name, "no such sender or pool, or one that uses no pool");
            continue;
        }
        a->ctl->config.senders[sender].pool = pool;
        a->ctl->config.senders[sender].has_pool = true;
    }
}

/* Null, or why it is left out. */
static const char *read_added(struct addresses *a, const struct ip_addr *addr, uint32_t lane,
                              json_t *object)
{
    const struct dp_config *dp = &a->ctl->config.dp;
    const struct ip_range range = {
        .first = ip_number_of(addr), .last = ip_number_of(addr), .family = addr->family};
    uint32_t pool = addresses_pool(a, text_of(object, "pool"));
    if (pool == UINT32_MAX) {
        return "its pool is gone";
    }
    const char *why = dp_network_refuses(&dp->ports[dp->lanes[lane].port].network, &range);
    if (why) {
        return why;
    }
    uint32_t index = addresses_append(a, addr, lane, pool);
    if (index == UINT32_MAX) {
        return "there are too many addresses";
    }
    struct dp_address *address = address_at(a, index);
    uint32_t n = (uint32_t)json_integer_value(json_object_get(object, "n"));
    address->index_in_pool = n;
    if (n > dp->pools[pool].n_addresses) {
        dp->pools[pool].n_addresses = n;
    }
    if (dp_host_name_valid(text_of(object, "ehlo"))) {
        address->ehlo = ctl_must(strdup(text_of(object, "ehlo")));
    }
    return NULL;
}

static const char *read_address(struct addresses *a, const struct ip_addr *addr, json_t *object)
{
    uint32_t index = addr_map_get(&a->map, addr);
    if (json_is_true(json_object_get(object, "removed"))) {
        if (index != ADDR_MAP_NONE) {
            address_at(a, index)->removed = true;
        }
        return NULL;
    }
    uint32_t lane = find_lane(&a->ctl->config.dp, text_of(object, "port"),
                              json_integer_value(json_object_get(object, "queue")));
    if (lane == UINT32_MAX) {
        return "its port or queue is gone";
    }
    if (index == ADDR_MAP_NONE) {
        const char *why = read_added(a, addr, lane, object);
        if (why) {
            return why;
        }
        index = addr_map_get(&a->map, addr);
    } else if (a->ctl->config.dp.lanes[lane].port !=
               a->ctl->config.dp.lanes[address_at(a, index)->lane].port) {
        return "the configuration has it on another port";
    }
    address_at(a, index)->lane = lane;
    a->list[index].drained = json_is_true(json_object_get(object, "drained"));
    return NULL;
}

static void read_addresses(struct addresses *a, json_t *list)
{
    size_t i;
    json_t *object;
    json_array_foreach(list, i, object)
    {
        struct ip_addr addr;
        const char *text = text_of(object, "address");
        const char *why =
            ip_addr_parse(text, &addr) ? read_address(a, &addr, object) : "not an address";
        if (why) {
            left_out("address", text, why);
        }
    }
}

void addresses_read(struct addresses *a)
{
    void *text;
    size_t n_bytes;
    if (!decisions_read_file(a->ctl, FILE_NAME, &text, &n_bytes)) {
        return; /* nothing was ever changed */
    }
    json_t *root = json_loadb(text, n_bytes, 0, NULL);
    free(text);
    if (!root) {
        ctl_log(CTL_LOG_ERROR,
                "changes of run time cannot be read: the configuration holds as it is",
                "file=" FILE_NAME);
        return;
    }
    read_pools(a, json_object_get(root, "pools"));
    read_senders(a, json_object_get(root, "senders"));
    read_addresses(a, json_object_get(root, "addresses"));
    json_decref(root);
}
