/* api_events.c - `events`: history and what happens from now on. See API.md; rpc_follow.c sends
 * them. */
#include "control/api_private.h"

#include "control/rpc_private.h"

static bool read_types(struct rpc_request *request, struct rpc_follow *follow)
{
    json_t *types = json_object_get(request->params, "types");
    size_t n = json_array_size(types);
    bool good = !types || (json_is_array(types) && n <= RPC_TYPES_MAX);
    for (size_t i = 0; good && i < n; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        good = type && strlen(type) < sizeof follow->types[0];
        if (good) {
            (void)snprintf(follow->types[i], sizeof follow->types[i], "%s", type);
        }
    }
    follow->n_types = (uint32_t)n;
    if (!good) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/types",
                  "\"types\" must be a list of at most %u event types, such as [\"bounced\"]",
                  RPC_TYPES_MAX);
    }
    return good;
}

void api_events(struct rpc_request *request)
{
    struct rpc_follow follow = {.active = true};
    uint64_t last = store_last_event(request->ctl->store);
    if (!api_param_number(request, "after", 0, INT64_MAX, last, &follow.after) ||
        !api_param_bool(request, "follow", true, &follow.forever) ||
        !read_types(request, &follow)) {
        return;
    }
    struct rpc_client *client = request->client;
    if (client->follow.active) {
        rpc_error(request, RPC_E_REQUEST, NULL, NULL,
                  "this connection follows events already; open another one");
        return;
    }
    follow.until = last;
    client->follow = follow;
    if (follow.forever) {
        rpc_result(request, json_pack("{s:I}", "cursor", (json_int_t)follow.after));
    } else {
        client->follow.request = request;
    }
    rpc_follow_pump(client);
}
