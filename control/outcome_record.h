/*
 * outcome_record.h - what became of a job: from results to the spool, the events, the statistics, a
 * bounce message, and the queue. See ctl.h, invariant 2.
 */
#ifndef WIREPOST_OUTCOME_RECORD_H
#define WIREPOST_OUTCOME_RECORD_H

#include "control/ctl.h"
#include "control/job.h"

/* How an attempt went that was decided on this side for all recipients of the job: DNS, expiry, a
 * dead lane. */
struct outcome_own {
    enum outcome_kind kind;
    enum outcome_stage stage;
    uint16_t code;
    uint8_t enhanced[3];
    const char *text;
    bool silent;           /* no bounce message */
    const char *host;      /* "" or what was asked */
    int64_t not_before_ms; /* of the next try; 0: as configured */
};

/* The job has ended in its slot with these results (checked), or as `own` says (slot null or not
 * believed). Takes the job over: it is released and freed when all is durable. */
void outcome_record(struct ctl *ctl, struct ctl_job *job, const struct chan_slot *slot,
                    const struct outcome_own *own);

/* Not attempted: back to the queue. The job is released and freed. */
void outcome_return(struct ctl *ctl, struct ctl_job *job, int64_t due_ms);

#endif
