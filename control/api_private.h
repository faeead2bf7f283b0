/* api_private.h - between the api_*.c files: one function for each method, and reading of
 * parameters. */
#ifndef WIREPOST_API_PRIVATE_H
#define WIREPOST_API_PRIVATE_H

#include "control/api.h"

void api_inject(struct rpc_request *request);
void api_queue_list(struct rpc_request *request);
void api_queue_show(struct rpc_request *request);
void api_queue_hold(struct rpc_request *request);
void api_queue_release(struct rpc_request *request);
void api_queue_retry(struct rpc_request *request);
void api_queue_bounce(struct rpc_request *request);
void api_queue_delete(struct rpc_request *request);
void api_message_why(struct rpc_request *request);
void api_stats(struct rpc_request *request);
void api_lanes(struct rpc_request *request);
void api_events(struct rpc_request *request);
void api_routes_list(struct rpc_request *request);
void api_routes_pause(struct rpc_request *request);
void api_routes_resume(struct rpc_request *request);
void api_routes_test(struct rpc_request *request);
void api_strategy_get(struct rpc_request *request);
void api_strategy_set(struct rpc_request *request);
void api_strategy_explain(struct rpc_request *request);
void api_strategy_why_not(struct rpc_request *request);
void api_strategy_simulate(struct rpc_request *request);
void api_dkim_list(struct rpc_request *request);
void api_dkim_check(struct rpc_request *request);
void api_dkim_reload(struct rpc_request *request);
void api_dkim_rotate(struct rpc_request *request);
void api_dnsbl_list(struct rpc_request *request);
void api_addresses_list(struct rpc_request *request);
void api_addresses_add(struct rpc_request *request);
void api_addresses_remove(struct rpc_request *request);
void api_addresses_drain(struct rpc_request *request);
void api_addresses_undrain(struct rpc_request *request);
void api_addresses_move(struct rpc_request *request);
void api_pool_list(struct rpc_request *request);
void api_pool_add(struct rpc_request *request);
void api_pool_remove(struct rpc_request *request);
void api_pool_assign(struct rpc_request *request);
void api_event_report(struct rpc_request *request);
void api_config_get(struct rpc_request *request);
void api_config_check(struct rpc_request *request);

/* Optional parameters: true when absent (default) or right. A wrong one answers the request with
 * -32602 and its path; the caller returns. */
bool api_param_text(struct rpc_request *request, const char *key, const char *otherwise,
                    const char **ret_text);
bool api_param_bool(struct rpc_request *request, const char *key, bool otherwise, bool *ret_value);
bool api_param_number(struct rpc_request *request, const char *key, uint64_t low, uint64_t high,
                      uint64_t otherwise, uint64_t *ret_value);
/* Needed: the id of a message. */
bool api_param_id(struct rpc_request *request, const char *key, bool needed, uint64_t *ret_id);

/* ---- api_dsn.c --------------------------------------------------------------------------- */

/* Texts are those of the request. */
struct api_dsn {
    uint8_t ret, notify;
    const char *envid; /* "": none */
};
struct api_dsn_rcpt {
    uint8_t notify;
    const char *orcpt; /* "": none */
};
/* "dsn" of the request; false: it is answered with an error. */
bool api_dsn_parse(struct rpc_request *request, struct api_dsn *ret_dsn);
/* An item of "rcpt_to": an address, or an object with one. The address; null: it is answered. */
const json_t *api_dsn_recipient(struct rpc_request *request, const char *path, json_t *item,
                                const struct api_dsn *dsn, struct api_dsn_rcpt *ret_rcpt);

#endif
