/*
 * rpc.h - the control socket: connections, framing, flow control. What the methods do is api.h's.
 *
 * A connection reads lines of JSON-RPC 2.0 and, where a request announces them, raw bytes after the
 * line. Everything of a client is bounded:
 * - a line has at most RPC_LINE_MAX bytes: after a longer one the connection is told and closed;
 * - with RPC_UNANSWERED_MAX requests unanswered, or RPC_OUT_HIGH bytes of answers not taken,
 * reading stops;
 * - a client that follows events and has not taken RPC_OUT_MAX bytes is closed;
 * - clients in all and for each user are limited by the configuration.
 */
#ifndef WIREPOST_RPC_H
#define WIREPOST_RPC_H

#include "control/ctl.h"

#define RPC_LINE_MAX       (64u << 20)
#define RPC_UNANSWERED_MAX 64u
#define RPC_OUT_HIGH       (1u << 20)
#define RPC_OUT_MAX        (16u << 20)

enum rpc_role { RPC_READER, RPC_ADMIN };

struct rpc_client;

/* One request. Its answer is given exactly once, by rpc_result() or rpc_error(), at once or later;
 * either frees it. A client that has gone meanwhile makes the answer vanish. */
struct rpc_request {
    struct rpc_client *client; /* null: it has gone */
    struct ctl *ctl;
    json_t *id;     /* null: a notification, nobody is answered */
    json_t *params; /* object, never null */
    enum rpc_role role;
    uint8_t *raw; /* bytes that followed the line; malloc'ed, owned */
    size_t raw_len;
    char raw_error[512];      /* set: what to answer once the raw bytes have been thrown away */
    int raw_code;             /* with this code */
    struct rpc_request *next; /* of its client */
};

/* The result is given up to it. */
void rpc_result(struct rpc_request *request, json_t *result);
/* code: JSON-RPC's; reason: null, or data.reason of API.md; path: null, or the parameter that is
 * wrong. */
void rpc_error(struct rpc_request *request, int code, const char *reason, const char *path,
               const char *format, ...) __attribute__((format(printf, 5, 6)));

#define RPC_E_PARSE   (-32700)
#define RPC_E_REQUEST (-32600)
#define RPC_E_METHOD  (-32601)
#define RPC_E_PARAMS  (-32602)
#define RPC_E_OURS    (-32000)

/* Listens on control.socket. Null with a sentence in ret_error. */
struct rpc_server *rpc_open(struct ctl *ctl, char *ret_error, size_t error_bytes);
/* Closes the socket file and all clients; handles close with the loop. */
void rpc_close(struct rpc_server *server);
/* An event has become durable: to everybody who follows. */
void rpc_event(struct rpc_server *server, uint64_t seq, const char *json, size_t len);

#endif
