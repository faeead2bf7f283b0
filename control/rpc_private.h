/* rpc_private.h - between rpc.c (connections), rpc_frame.c (lines and raw bytes), rpc_answer.c and
 * rpc_follow.c. */
#ifndef WIREPOST_RPC_PRIVATE_H
#define WIREPOST_RPC_PRIVATE_H

#include "control/rpc.h"

#include <sys/types.h>

#define RPC_READ_BYTES (64u << 10)
#define RPC_TYPES_MAX  16u

/* A subscription to events. */
struct rpc_follow {
    bool active;
    bool live;      /* history has been sent: rpc_event() reaches it */
    bool forever;   /* follow: true */
    uint64_t after; /* last sequence number sent or passed over */
    uint64_t until; /* end of the history when not forever */
    uint32_t n_types;
    char types[RPC_TYPES_MAX][16]; /* none: all */
    struct rpc_request *request;   /* answered when the history is through; null when answered */
};

struct rpc_client {
    struct rpc_server *server;
    struct rpc_client *next;
    uv_pipe_t pipe;
    uid_t uid;
    enum rpc_role role;
    bool closing, reading;

    /* in: a line that is not complete, or raw bytes of `raw_request` */
    char *line;
    size_t line_len, line_room;
    struct rpc_request *raw_request;
    size_t raw_wanted, raw_got; /* raw_request->raw null: thrown away */

    struct rpc_request *requests; /* unanswered */
    uint32_t n_unanswered;
    size_t out_bytes; /* written and not taken */
    struct rpc_follow follow;
    char chunk[RPC_READ_BYTES];
};

struct rpc_server {
    struct ctl *ctl;
    uv_pipe_t pipe;
    struct rpc_client *clients;
    uint32_t n_clients;
    gid_t group;
    bool has_group;
};

/* Bytes have come: cuts them into requests and calls api_call(). False: the client must be closed.
 */
bool rpc_frame_input(struct rpc_client *client, const char *data, size_t len);

/* One line (with its LF) to the client; the text is given up. */
void rpc_send(struct rpc_client *client, char *line, size_t len);
void rpc_client_close(struct rpc_client *client);
/* Reads or stops reading, as the limits say. */
void rpc_flow(struct rpc_client *client);

/* Sends history as long as the client takes it. */
void rpc_follow_pump(struct rpc_client *client);

#endif
