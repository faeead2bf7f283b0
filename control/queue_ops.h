/*
 * queue_ops.h - what an operator does to queued mail: hold, release, retry, bounce, delete.
 * Recipients that are in flight are left alone and counted.
 *
 * A change of the next try is made durable first; then another item of the queue is added for it.
 * The old item, when its time comes, finds nothing to do (dispatch.c), so a group may for a while
 * have more than one waiting item, but never more than one job.
 */
#ifndef WIREPOST_QUEUE_OPS_H
#define WIREPOST_QUEUE_OPS_H

#include "control/ctl.h"

/* Next try of a recipient that is held: never by itself. */
#define QUEUE_HELD_MS (INT64_MAX / 2)

enum queue_op { QUEUE_OP_HOLD, QUEUE_OP_RELEASE, QUEUE_OP_RETRY, QUEUE_OP_BOUNCE, QUEUE_OP_DELETE };

struct queue_selector {
    uint64_t id;                 /* 0: any */
    const char *sender, *domain; /* null: any */
    uint64_t after;              /* messages with greater ids only */
    uint64_t limit;              /* messages that are touched at most */
};

struct queue_op_result {
    uint64_t messages, recipients; /* touched, or with dry_run what would be */
    uint64_t in_flight;            /* recipients passed over */
    uint64_t next;                 /* id to go on after; 0: that was all */
};

void queue_op_run(struct ctl *ctl, enum queue_op op, const struct queue_selector *selector,
                  bool dry_run, struct queue_op_result *ret_result);

#endif
