/*
 * dispatch.h - takes what is due from the queue, resolves, plans and submits it. Runs after each
 * turn of the loop when something may have changed (dispatch_wake()), or when the next item is due.
 */
#ifndef WIREPOST_DISPATCH_H
#define WIREPOST_DISPATCH_H

#include "control/ctl.h"

/* Sets up the handles; fills the queue from the spool and the lanes' jobs. False: no memory. */
bool dispatch_open(struct ctl *ctl);

/* A lane, the queue or the plan has changed. */
void dispatch_wake(struct ctl *ctl);

struct ctl_job;
/* The job's recipients count as in flight from here on; outcome_record() ends that. */
void dispatch_count_in_flight(struct ctl *ctl, struct ctl_job *job);

/* Puts a message that has just become durable into the queue. */
void dispatch_add_message(struct ctl *ctl, uint64_t id, uint32_t sender,
                          const struct store_rcpt *recipients, uint32_t n, int64_t now_ms);

#endif
