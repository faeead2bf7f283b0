/* api_addresses.c - `addresses.*`: source addresses while mail flows. See API.md. */
#include "control/api_private.h"

#include "control/addresses.h"

#define LIST_LIMIT 65536u

/* ---- parameters -------------------------------------------------------------------------- */

/* What a request names. */
struct selection {
    struct ip_range *ranges;
    uint32_t n_ranges;
    uint32_t pool; /* UINT32_MAX: any */
    struct address_change change;
    uint32_t *list; /* of change; owned */
};

static void selection_free(struct selection *s)
{
    free(s->ranges);
    free(s->list);
}

static bool wrong(struct rpc_request *request, const char *path, const char *message)
{
    rpc_error(request, RPC_E_PARAMS, NULL, path, "%s", message);
    return false;
}

/* "addresses": a text or a list of texts. False: the request has been answered. */
static bool param_ranges(struct rpc_request *request, bool needed, struct selection *s)
{
    json_t *value = json_object_get(request->params, "addresses");
    size_t n = json_is_array(value) ? json_array_size(value) : json_is_string(value);
    if (!value && !needed) {
        return true;
    }
    if (n == 0) {
        return wrong(
            request, "/addresses",
            "\"addresses\" must be an address, a range a-b, a prefix x/27, or a list of them");
    }
    s->ranges = ctl_must(calloc(n, sizeof s->ranges[0]));
    for (size_t i = 0; i < n; i++) {
        const char *text =
            json_string_value(json_is_array(value) ? json_array_get(value, i) : value);
        if (!text || !ip_range_parse(text, &s->ranges[s->n_ranges++])) {
            rpc_error(request, RPC_E_PARAMS, NULL, "/addresses",
                      "\"%.64s\" is no address, range a-b or prefix x/27", text ? text : "");
            return false;
        }
    }
    return true;
}

/* "pool"; *ret_pool untouched when it is absent and not needed. */
static bool param_pool(struct rpc_request *request, const char *key, bool needed,
                       uint32_t *ret_pool)
{
    const char *name;
    if (!api_param_text(request, key, "", &name)) {
        return false;
    }
    if (name[0] == '\0' && !needed) {
        return true;
    }
    *ret_pool = addresses_pool(request->ctl->addresses, name);
    if (*ret_pool == UINT32_MAX) {
        rpc_error(request, RPC_E_OURS, "not_found", "/pool", "there is no pool \"%.64s\"", name);
        return false;
    }
    return true;
}

/* "port" (needed when there are several) and "queue". */
static bool param_lane(struct rpc_request *request, uint32_t *ret_lane)
{
    const struct dp_config *dp = &request->ctl->config.dp;
    const char *port;
    uint64_t queue;
    if (!api_param_text(request, "port", dp->n_ports == 1 ? dp->ports[0].name : "", &port) ||
        !api_param_number(request, "queue", 0, UINT16_MAX, UINT16_MAX, &queue)) {
        return false;
    }
    for (uint32_t i = 0; i < dp->n_lanes; i++) {
        if (dp->lanes[i].queue == queue && strcmp(dp->ports[dp->lanes[i].port].name, port) == 0) {
            *ret_lane = i;
            return true;
        }
    }
    rpc_error(request, RPC_E_OURS, "not_found", "/queue",
              "there is no such queue: name \"port\" and \"queue\" as `lanes` shows them");
    return false;
}

static bool is_selected(const struct selection *s, const struct dp_address *address)
{
    ip_number number = ip_number_of(&address->addr);
    const struct ip_range one = {.first = number, .last = number, .family = address->addr.family};
    bool found = s->n_ranges == 0;
    for (uint32_t i = 0; i < s->n_ranges && !found; i++) {
        found = ip_range_holds(&s->ranges[i], &one);
    }
    return found && !address->removed && (s->pool == UINT32_MAX || address->pool == s->pool);
}

static void select_all(struct ctl *ctl, struct selection *s)
{
    s->list = ctl_must(calloc((size_t)ctl->config.dp.n_addresses + 1, sizeof s->list[0]));
    for (uint32_t i = 0; i < ctl->config.dp.n_addresses; i++) {
        if (is_selected(s, &ctl->config.dp.addresses[i])) {
            s->list[s->change.n++] = i;
        }
    }
    s->change.list = s->list;
}

/* Those that "addresses" or "pool" name, one at least. False: the request has been answered. */
static bool param_selection(struct rpc_request *request, struct selection *s)
{
    *s = (struct selection){.pool = UINT32_MAX};
    if (!param_ranges(request, false, s) || !param_pool(request, "pool", false, &s->pool)) {
        return false;
    }
    if (s->n_ranges == 0 && s->pool == UINT32_MAX) {
        return wrong(request, "/addresses", "name \"addresses\" or a \"pool\"");
    }
    select_all(request->ctl, s);
    if (s->change.n == 0) {
        rpc_error(request, RPC_E_OURS, "not_found", "/addresses", "there are no such addresses");
        return false;
    }
    return true;
}

static void answer(struct rpc_request *request, bool good, uint32_t n, const char *error)
{
    if (good) {
        rpc_result(request, json_pack("{s:i}", "addresses", (int)n));
    } else {
        rpc_error(request, RPC_E_OURS, "not_possible", "/addresses", "%s", error);
    }
}

/* ---- list -------------------------------------------------------------------------------- */

static json_t *address_json(const struct ctl *ctl, uint32_t index, uint32_t n_jobs)
{
    const struct dp_config *dp = &ctl->config.dp;
    const struct dp_address *address = &dp->addresses[index];
    const struct dp_lane *lane = &dp->lanes[address->lane];
    char text[IP_ADDR_TEXT_MAX], ehlo[256];
    if (!dp_pool_ehlo(dp, address, ehlo, sizeof ehlo)) {
        ehlo[0] = '\0';
    }
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:b, s:i, s:i}", "address",
                     ip_addr_format(&address->addr, text), "pool", dp->pools[address->pool].name,
                     "port", dp->ports[lane->port].name, "queue", (int)lane->queue, "lane",
                     (int)address->lane, "state", addresses_state_text(ctl->addresses, index),
                     "ehlo", ehlo, "added", addresses_is_added(ctl->addresses, index),
                     "connections", (int)addresses_sessions(ctl->addresses, index), "messages",
                     (int)n_jobs);
}

void api_addresses_list(struct rpc_request *request)
{
    struct ctl *ctl = request->ctl;
    struct selection s = {.pool = UINT32_MAX};
    uint64_t limit;
    if (!param_ranges(request, false, &s) || !param_pool(request, "pool", false, &s.pool) ||
        !api_param_number(request, "limit", 1, LIST_LIMIT, LIST_LIMIT, &limit)) {
        selection_free(&s);
        return;
    }
    select_all(ctl, &s);
    uint32_t *jobs = addresses_count_jobs(ctl->addresses);
    json_t *list = ctl_must(json_array());
    for (uint32_t i = 0; i < s.change.n && i < limit; i++) {
        (void)json_array_append_new(list, address_json(ctl, s.list[i], jobs[s.list[i]]));
    }
    free(jobs);
    rpc_result(request, json_pack("{s:o, s:i}", "addresses", list, "total", (int)s.change.n));
    selection_free(&s);
}

/* ---- changes ----------------------------------------------------------------------------- */

static bool ranges_fit(struct rpc_request *request, const struct selection *s, uint32_t lane)
{
    const struct dp_config *dp = &request->ctl->config.dp;
    for (uint32_t i = 0; i < s->n_ranges; i++) {
        const char *why =
            dp_network_refuses(&dp->ports[dp->lanes[lane].port].network, &s->ranges[i]);
        if (why) {
            char text[IP_ADDR_TEXT_MAX];
            struct ip_addr first = ip_of_number(s->ranges[i].family, s->ranges[i].first);
            rpc_error(request, RPC_E_OURS, "not_possible", "/addresses", "what begins with %s %s",
                      ip_addr_format(&first, text), why);
            return false;
        }
    }
    return true;
}

/* "ehlo": for a single address. */
static bool param_ehlo(struct rpc_request *request, const struct selection *s,
                       const char **ret_ehlo)
{
    if (!api_param_text(request, "ehlo", NULL, ret_ehlo)) {
        return false;
    }
    if (*ret_ehlo && !dp_host_name_valid(*ret_ehlo)) {
        return wrong(request, "/ehlo", "\"ehlo\" must be a full host name");
    }
    if (*ret_ehlo && (s->n_ranges != 1 || ip_range_count(&s->ranges[0]) != 1)) {
        return wrong(request, "/ehlo",
                     "an EHLO name of its own is for one address, not for several");
    }
    return true;
}

void api_addresses_add(struct rpc_request *request)
{
    struct selection s = {.pool = UINT32_MAX};
    struct address_add add = {0};
    char error[512];
    if (param_ranges(request, true, &s) && param_pool(request, "pool", true, &s.pool) &&
        param_lane(request, &add.lane) && ranges_fit(request, &s, add.lane) &&
        param_ehlo(request, &s, &add.ehlo)) {
        uint64_t n = 0;
        add.ranges = s.ranges;
        add.n = s.n_ranges;
        add.pool = s.pool;
        bool good = addresses_add(request->ctl->addresses, &add, error, sizeof error);
        for (uint32_t i = 0; i < s.n_ranges && good; i++) {
            n += ip_range_count(&s.ranges[i]);
        }
        answer(request, good, (uint32_t)n, error);
    }
    selection_free(&s);
}

void api_addresses_remove(struct rpc_request *request)
{
    struct selection s;
    char error[512];
    if (param_selection(request, &s)) {
        answer(request, addresses_remove(request->ctl->addresses, &s.change, error, sizeof error),
               s.change.n, error);
    }
    selection_free(&s);
}

static void drain(struct rpc_request *request, bool on)
{
    struct selection s;
    char error[512];
    if (param_selection(request, &s)) {
        answer(request,
               addresses_drain(request->ctl->addresses, &s.change, on, error, sizeof error),
               s.change.n, error);
    }
    selection_free(&s);
}

void api_addresses_drain(struct rpc_request *request)
{
    drain(request, true);
}

void api_addresses_undrain(struct rpc_request *request)
{
    drain(request, false);
}

void api_addresses_move(struct rpc_request *request)
{
    struct selection s;
    char error[512];
    uint32_t lane;
    if (param_selection(request, &s) && param_lane(request, &lane)) {
        answer(request,
               addresses_move(request->ctl->addresses, &s.change, lane, error, sizeof error),
               s.change.n, error);
    }
    selection_free(&s);
}
