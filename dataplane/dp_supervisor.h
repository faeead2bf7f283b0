/*
 * dp_supervisor.h - the main thread while the lanes run: it watches control's socket and the
 * signals, and gives orders to the lanes.
 *
 *     ATTACHED --control lost--> ORPHANED --control is back--> ATTACHED
 *         |                          |
 *         |    signal, welcome.go == 0, orphan_s over
 *         +----------> DRAINING <----+        ends when all lanes have stopped
 *
 *     ATTACHED   lanes run (DP_ORDER_RUN)
 *     ORPHANED   lanes start nothing new (DP_ORDER_HOLD); a new connection is tried every 200 ms
 *     DRAINING   lanes finish what runs and stop (DP_ORDER_EXIT)
 *
 * No DPDK here.
 */
#ifndef WIREPOST_DP_SUPERVISOR_H
#define WIREPOST_DP_SUPERVISOR_H

#include "dataplane/dp_worker.h"

struct dp_supervisor {
    struct dp_worker **lanes;
    uint32_t n_lanes;
    const char *socket_path;
    uint64_t config_hash;
    uint32_t orphan_s;
    int control_fd; /* connected; -1: none. Owned. */
    int signal_fd;  /* SIGTERM and SIGINT */
};

/* Connects to control and says hello. False with a line on stderr. go: *ret_attachment has the
 * eventfds; it is 0 in ret_attachment->welcome when control wants this process to exit. */
bool dp_supervisor_attach(struct dp_supervisor *s, bool attached,
                          struct chan_attachment *ret_attachment);

/* Gives the eventfds to the lanes. */
void dp_supervisor_share(struct dp_supervisor *s, const struct chan_attachment *attachment);

/* Runs until all lanes have stopped. */
void dp_supervisor_run(struct dp_supervisor *s);

#endif
