/* api_queue_ops.c - `queue.hold`, `.release`, `.retry`, `.bounce`, `.delete`. See API.md. */
#include "control/api_private.h"

#include "control/events.h"
#include "control/queue_ops.h"

#define LIMIT_MAX 100000u

static bool read_selector(struct rpc_request *request, struct queue_selector *selector,
                          bool *ret_dry_run)
{
    bool all;
    if (!api_param_id(request, "id", false, &selector->id) ||
        !api_param_id(request, "after", false, &selector->after) ||
        !api_param_text(request, "sender", NULL, &selector->sender) ||
        !api_param_text(request, "domain", NULL, &selector->domain) ||
        !api_param_bool(request, "all", false, &all) ||
        !api_param_bool(request, "dry_run", false, ret_dry_run) ||
        !api_param_number(request, "limit", 1, LIMIT_MAX, LIMIT_MAX, &selector->limit)) {
        return false;
    }
    if (selector->id == 0 && !selector->sender && !selector->domain && !all) {
        rpc_error(request, RPC_E_PARAMS, NULL, "",
                  "say which: \"id\", \"sender\", \"domain\", or \"all\": true");
        return false;
    }
    return true;
}

static void run(struct rpc_request *request, enum queue_op op)
{
    struct queue_selector selector = {0};
    struct queue_op_result result;
    char id[EVENT_ID_TEXT];
    bool dry_run;
    if (!read_selector(request, &selector, &dry_run)) {
        return;
    }
    queue_op_run(request->ctl, op, &selector, dry_run, &result);
    rpc_result(request,
               json_pack("{s:I, s:I, s:I, s:b, s:o}", "messages", (json_int_t)result.messages,
                         "recipients", (json_int_t)result.recipients, "in_flight",
                         (json_int_t)result.in_flight, "dry_run", dry_run, "next",
                         result.next ? json_string(event_id_text(result.next, id)) : json_null()));
}

void api_queue_hold(struct rpc_request *request)
{
    run(request, QUEUE_OP_HOLD);
}

void api_queue_release(struct rpc_request *request)
{
    run(request, QUEUE_OP_RELEASE);
}

void api_queue_retry(struct rpc_request *request)
{
    run(request, QUEUE_OP_RETRY);
}

void api_queue_bounce(struct rpc_request *request)
{
    run(request, QUEUE_OP_BOUNCE);
}

void api_queue_delete(struct rpc_request *request)
{
    run(request, QUEUE_OP_DELETE);
}
