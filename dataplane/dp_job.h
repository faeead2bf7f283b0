/*
 * dp_job.h - a job of the channel, checked and copied to memory of the lane.
 *
 * dp_job_parse() is a pure function over any bytes: whatever stands in the slot and the arena, it
 * either gives a job that is safe to run or says what is wrong. What is small (the fixed part, the
 * strings) is copied first and then checked, so it cannot change afterwards; the bytes of prefix,
 * body and stuff list are used in place, where control promises not to change them before DONE.
 *
 * Not checked here, because it costs a pass over each body: bare CR, bare LF and line length inside
 * of the body. Control stores bodies in wire form and promises it.
 */
#ifndef WIREPOST_DP_JOB_H
#define WIREPOST_DP_JOB_H

#include "dataplane/channel.h"
#include "dataplane/dp_sources.h"
#include "dataplane/smtp_client.h"
#include "tcp/utcp.h"

#define DP_JOB_STRINGS_MAX 81920u /* bytes of all strings of a job */
#define DP_JOB_BODY_MAX    UINT32_MAX
#define DP_JOB_NONE        UINT32_MAX

struct dp_job_target {
    struct ip_addr addr;
    uint16_t port;
    uint8_t tls; /* enum chan_tls */
    uint32_t tls_key;
    const char *host, *tls_name;
    const char *tlsa; /* of CHAN_TLS_DANE */
};

struct dp_job {
    /* What dp_job_parse() fills in. */
    uint32_t slot;
    uint32_t site_hash, tls_hash;
    uint32_t use; /* CHAN_USE_* */
    uint32_t connections_max, messages_per_connection_max, idle_ms;
    struct ip_addr source;
    uint32_t source_number; /* in dp_sources */
    uint8_t n_targets;
    struct dp_job_target targets[CHAN_TARGET_MAX];
    const char *ehlo, *mail_from, *site;
    struct smtp_transaction transaction;
    struct utcp_extent body, prefix; /* refs 0; .data and .len are set */

    /* What the session manager keeps (dp_session.c); zero after dp_job_parse(). */
    uint32_t next;   /* of the waiting queue that it stands in */
    uint32_t target; /* index of the target to try, or tried now */
    bool live;       /* taken from the channel and not yet DONE */
    uint32_t clear;  /* bits of targets with which TLS broke: they go without */
    bool unreached;  /* a target before this one could not be talked to */
    enum outcome_arrival arrival;
    bool fresh_only;     /* must not go on a used connection again */
    bool started;        /* a transaction runs or has ended */
    bool finished;       /* results are final; waits for its extents */
    uint64_t started_ns; /* CLOCK_REALTIME */
    uint64_t bytes_sent;
    struct dp_sessions *owner;

    struct smtp_recipient recipients[CHAN_RCPT_MAX];
    char strings[DP_JOB_STRINGS_MAX];
};

/* What a job may refer to. */
struct dp_job_limits {
    const uint8_t *arena;
    uint64_t arena_bytes;
    const struct dp_sources *sources; /* of this lane */
};

/* Null when the slot holds a good job, which is then in *ret_job; otherwise what is wrong, as a
 * constant text, and *ret_job is not to be used. `slot` is the number of the slot. */
const char *dp_job_parse(const struct chan_slot *chan_slot, uint32_t slot,
                         const struct dp_job_limits *limits, struct dp_job *ret_job);

#endif
