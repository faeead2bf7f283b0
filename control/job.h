/*
 * job.h - an item of the queue that is being worked on: from queue_next() until its outcome is
 * durable. Made and freed by dispatch.c and, for what an earlier process left in a lane, by
 * lanes.c.
 */
#ifndef WIREPOST_JOB_H
#define WIREPOST_JOB_H

#include "control/queue.h"
#include "control/store.h"
#include "dataplane/channel.h"
#include "strategies/engine.h"

#define JOB_NO_LANE UINT32_MAX

struct ctl;
struct lane_body;

/* Why a job goes where it goes, or does not: for events and for people. */
struct job_decision {
    char reason[24];    /* strategy_cause_name() */
    char evidence[200]; /* "9 of 11 replies 421-4.7.28 on 192.0.2.7 (CUSUM 12.1 >= 10.7)" */
};

struct ctl_job {
    struct ctl *ctl;
    struct ctl_job *next, *previous; /* all jobs */
    struct queue_item item;
    bool flying; /* counted as in flight */
    bool queued; /* item is valid: its message is in the queue */
    uint64_t message_id;
    uint32_t n;                      /* recipients picked */
    uint32_t index[CHAN_RCPT_MAX];   /* in the message */
    uint32_t attempt[CHAN_RCPT_MAX]; /* number of this attempt, from 1 */
    struct ip_addr source;
    bool planned; /* decision says why this source; false: found in a lane after a restart */
    struct job_decision decision;
    /* of planned ones: the flow, and the library's name of the source address */
    char stream[STRATEGY_NAME_BYTES], provider[STRATEGY_NAME_BYTES], endpoint[IP_ADDR_TEXT_MAX];
    bool recalled; /* from its lane */
    bool ending;   /* its outcome is being made durable */

    uint32_t lane, slot; /* JOB_NO_LANE: not in a lane */
    struct chan_range strings, prefix;
    struct lane_body *body; /* shared by the lane's jobs of one message */
};

/* In no lane, nothing picked. */
struct ctl_job *job_new(struct ctl *ctl, uint64_t message_id);
void job_free(struct ctl_job *job);
/* The recipient is in flight: a job carries it whose outcome is not durable yet. */
bool job_carries(const struct ctl *ctl, uint64_t message_id, uint32_t index);

/* Everything of a job that a slot needs beside its body: filled by dispatch.c, copied by lanes.c.
 */
#define JOB_STRINGS_MAX (80u << 10) /* as the data plane takes at most: dp_job.h */
struct job_draft {
    struct chan_target targets[CHAN_TARGET_MAX];
    uint32_t n_targets;
    uint32_t needs, site_hash;
    uint32_t tls_hash; /* of all targets' TLS policies */
    char strings[JOB_STRINGS_MAX];
    uint32_t strings_len;
    uint32_t ehlo, mail_from, site; /* offsets in strings */
    uint32_t route;                 /* of LANE_RELAY: offset of its name */
    struct store_prefix prefix;     /* header fields before the body */
    uint32_t recipients[CHAN_RCPT_MAX];
    uint8_t ret; /* DSN parameters (RFC 3461): as in the slot */
    uint32_t envid;
    uint32_t orcpt[CHAN_RCPT_MAX];
    uint8_t notify[CHAN_RCPT_MAX];
};

/* Appends a text with its NUL; its offset. */
uint32_t job_draft_add(struct job_draft *draft, const char *text);
/* The same; CHAN_NO_STRING for null or "". */
uint32_t job_draft_add_optional(struct job_draft *draft, const char *text);

#endif
