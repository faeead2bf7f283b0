/*
 * lanes.h - the channels to the data plane: which jobs are in which slots, bodies in the arenas,
 * and what an earlier process left behind. The data plane's process itself is dp_process.h's.
 *
 * A body stands in the arena of a lane once for all of the lane's jobs of its message.
 *
 * When a body does not fit, its lane takes nothing else until it fits, so that large messages are
 * not overtaken for ever by small ones.
 */
#ifndef WIREPOST_LANES_H
#define WIREPOST_LANES_H

#include "control/ctl.h"
#include "control/job.h"
#include "dataplane/chan_control.h"

#define LANE_RELAY DP_LANES_MAX /* the lane of relay.h: routes over kernel sockets */

struct lane_body {
    struct lane_body *next; /* in its bucket */
    uint64_t message_id;
    uint32_t refs;
    struct chan_range data, stuff;
};

struct lane {
    struct ctl *ctl;
    struct chan_control *chan;
    uint32_t number;
    bool retired; /* beyond the configuration, or of another size: only salvaged, then removed */
    struct ctl_job **jobs; /* by slot */
    uint32_t n_jobs;
    struct lane_body **bodies; /* hash table, n_slots buckets */
    bool recalled;             /* since lanes_recall_end() */
    uint64_t waiting_for;      /* message whose body did not fit; 0: none */
    uv_poll_t *done_poll;
};

struct ctl_lanes {
    struct ctl *ctl;
    struct lane list[DP_LANES_MAX + 1]; /* the last is LANE_RELAY; no chan: there are no routes */
    uint32_t n;      /* with retired ones; the first config.dp.n_lanes are in use */
    uint32_t n_jobs; /* of the data plane's lanes */
    struct dp_process *process;
};

/* Opens or makes the channel files and turns each slot that is not free into a job. Null with a
 * sentence in ret_error. */
struct ctl_lanes *lanes_open(struct ctl *ctl, char *ret_error, size_t error_bytes);
/* Unmaps; what is in the slots stays there. */
void lanes_close(struct ctl_lanes *lanes);

typedef void (*lanes_job_fn)(void *user, struct ctl_job *job);
void lanes_each_job(struct ctl_lanes *lanes, lanes_job_fn fn, void *user);

/* A job of this message could be submitted to the lane now, as far as slots go. */
bool lanes_has_room(const struct ctl_lanes *lanes, uint32_t lane, uint64_t message_id);

/* The job goes to the lane. False: no room in the arena now; nothing was changed, lanes_has_room()
 * will say when (a finished job calls dispatch_wake()). *ret_gone: the body is not in the spool. */
bool lanes_submit(struct ctl_lanes *lanes, uint32_t lane, struct ctl_job *job,
                  const struct job_draft *draft, bool *ret_gone);

/* Wants a job back from its lane unless it has begun; after the last of a batch the lanes are told.
 */
void lanes_recall(struct ctl_lanes *lanes, struct ctl_job *job);
void lanes_recall_end(struct ctl_lanes *lanes);

/* The outcome of a job is durable: its slot and its room become free. The job is the caller's. */
void lanes_release(struct ctl_lanes *lanes, struct ctl_job *job);

/* Each slot of a lane that is not free becomes a job; when its file is opened. */
void lanes_adopt(struct ctl_lanes *lanes, struct lane *lane);

/* Gives what the lane has finished to outcome_record(). */
void lanes_collect(struct lane *lane);

/* The data plane is dead: every job gets its outcome from the state of its slot. When they are all
 * durable (lanes->n_jobs == 0), lanes_reset() makes the channels new. */
void lanes_salvage(struct ctl_lanes *lanes);
/* The same for the jobs that an earlier process left to the relays. */
void lanes_salvage_relay(struct ctl_lanes *lanes);
/* False with a line in the log when a channel file could not be made anew. */
bool lanes_reset(struct ctl_lanes *lanes);
bool lanes_reset_relay(struct ctl_lanes *lanes);

#endif
