/* api_routes.c - `routes.list`, `routes.pause`, `routes.resume`, `routes.test`. See API.md. */
#include "control/api_private.h"

#include "control/relay.h"
#include "dataplane/smtp_client.h"

/* The route that is named; UINT32_MAX: the request has been answered. */
static uint32_t named(struct rpc_request *request)
{
    const char *name;
    if (!api_param_text(request, "name", "", &name)) {
        return UINT32_MAX;
    }
    uint32_t route = ctl_config_route(&request->ctl->config, name);
    if (route == UINT32_MAX) {
        rpc_error(request, RPC_E_OURS, "not_found", "/name",
                  "there is no route \"%.64s\" in the configuration", name);
    }
    return route;
}

void api_routes_list(struct rpc_request *request)
{
    rpc_result(request, json_pack("{s:o}", "routes", relays_json(request->ctl->relays)));
}

static void set_paused(struct rpc_request *request, bool paused)
{
    uint32_t route = named(request);
    if (route == UINT32_MAX) {
        return;
    }
    const char *name = request->ctl->config.routes[route].name;
    (void)relay_pause(request->ctl->relays, name, paused);
    ctl_log(CTL_LOG_INFO, paused ? "a route is paused" : "a route is resumed", "route=%s", name);
    rpc_result(request, json_pack("{s:s, s:b}", "name", name, "paused", paused));
}

void api_routes_pause(struct rpc_request *request)
{
    set_paused(request, true);
}

void api_routes_resume(struct rpc_request *request)
{
    set_paused(request, false);
}

/* ---- test -------------------------------------------------------------------------------- */

static json_t *extension_names(uint32_t extensions)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
        {SMTP_EXT_PIPELINING, "PIPELINING"},
        {SMTP_EXT_SIZE, "SIZE"},
        {SMTP_EXT_8BITMIME, "8BITMIME"},
        {SMTP_EXT_SMTPUTF8, "SMTPUTF8"},
    };
    json_t *list = ctl_must(json_array());
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (extensions & names[i].bit) {
            (void)json_array_append_new(list, json_string(names[i].name));
        }
    }
    return list;
}

static void on_tested(void *user, bool good, const char *text, uint32_t extensions)
{
    json_t *words = json_string(text);
    rpc_result(user, json_pack("{s:b, s:o, s:o}", "ok", good, "text",
                               words ? words : json_string("(not UTF-8)"), "extensions",
                               extension_names(good ? extensions : 0)));
}

void api_routes_test(struct rpc_request *request)
{
    uint32_t route = named(request);
    if (route != UINT32_MAX) {
        relay_test(request->ctl->relays, route, on_tested, request);
    }
}
