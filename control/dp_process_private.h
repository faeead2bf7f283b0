/* dp_process_private.h - between dp_process.c and dp_spawn.c. */
#ifndef WIREPOST_DP_PROCESS_PRIVATE_H
#define WIREPOST_DP_PROCESS_PRIVATE_H

#include "control/dp_process.h"
#include "control/lanes.h"

#include <sys/types.h>

enum dp_state { DP_DOWN, DP_STARTING, DP_ORPHAN, DP_RUNNING, DP_LEAVING, DP_SALVAGE };

struct dp_client {
    struct dp_process *process;
    int fd;
    pid_t pid;
    bool welcomed;
    uv_poll_t poll;
};

struct dp_process {
    struct ctl *ctl;
    enum dp_state state;
    int64_t since_ms;    /* loop time when the state was entered */
    int64_t down_ms;     /* loop time when it was running last, or this process began */
    bool told_down;      /* dispatch knows that it has been down for long */
    int64_t retry_at_ms; /* loop time of the next start */
    uint32_t failures;   /* in a row */
    uint32_t starts;
    pid_t pid;   /* of the data plane as the socket tells it; 0: unknown */
    pid_t child; /* of ours, until it has been waited for; 0: none */
    bool told_to_stop;
    bool lanes_differ; /* channels of another configuration are still there */
    int listen_fd;
    uv_poll_t listen_poll;
    uv_timer_t tick;
    struct dp_client *client; /* the attached one */
};

/* Writes run_dir/dataplane.json and starts the program. False with a line in the log. */
bool dp_spawn(struct dp_process *p);

#endif
