/*
 * dp_process.h - the data plane as a process: started, watched, taken over from an earlier
 * wirepostd, started again. Its jobs are lanes.h's.
 *
 *     DOWN ──spawn──> STARTING ──hello──> RUNNING ──socket closed, told to go──> LEAVING
 *      ^ │                │ ended            ^                                      │ its lock is
 * free │ └─one lives──> ORPHAN ──hello───────┘                                      v
 *      └───────────────────┴──lock free──> SALVAGE <────────────────────────────────┘
 *                 all outcomes durable, channels new
 *
 *     DOWN      nothing lives; a start is tried at retry_at
 *     STARTING  it has been started and has not said hello yet
 *     ORPHAN    one of an earlier wirepostd lives; it connects by itself
 *     RUNNING   attached: lanes take jobs
 *     LEAVING   it drains or is dead: wait until its lock is free; killed after LEAVE_MS
 *     SALVAGE   dead: each job's outcome is read from its slot and made durable
 *
 * It is started in a session of its own, so that it outlives a wirepostd that is killed.
 */
#ifndef WIREPOST_DP_PROCESS_H
#define WIREPOST_DP_PROCESS_H

#include "control/ctl.h"

struct dp_process;

/* Listens on run_dir/dataplane.sock and begins. Null with a sentence in ret_error. */
struct dp_process *dp_process_open(struct ctl *ctl, char *ret_error, size_t error_bytes);
void dp_process_close(struct dp_process *p);

bool dp_process_running(const struct dp_process *p);
/* It has not been running for DP_LOST_MS: what has another way out should take it. */
#define DP_LOST_MS 30000
bool dp_process_lost(const struct dp_process *p);
/* SIGTERM to the data plane that we started; it drains and ends. */
void dp_process_stop(struct dp_process *p);
/* None lives that we would have to wait for. */
bool dp_process_gone(const struct dp_process *p);

/* {state, pid, restarts} of the method `lanes`; a new reference. */
json_t *dp_process_json(const struct dp_process *p);

#endif
