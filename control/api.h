/*
 * api.h - the methods of the control socket (API.md). Each is one function that answers its
 * request, at once or later.
 */
#ifndef WIREPOST_API_H
#define WIREPOST_API_H

#include "control/rpc.h"

enum api_raw { API_RAW_NONE, API_RAW_KEEP, API_RAW_SKIP };

/* Whether raw bytes follow the line of this request, how many, and whether they are worth keeping.
 */
enum api_raw api_raw_bytes(struct rpc_request *request, const char *method, size_t *ret_bytes);

void api_call(struct rpc_request *request, const char *method);
/* The raw bytes of an `inject` are complete (or thrown away: raw_error says why). */
void api_call_raw(struct rpc_request *request);

#endif
