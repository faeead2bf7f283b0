/*
 * ctl.h - the control plane's process: what its parts share. One loop thread runs all of it but the
 * store's writer and libunbound's workers.
 *
 *     rpc, api ── inject ──> store ──> queue ──> dispatch ──> lanes ──> data plane
 *                              ^         ^          │ dns        │
 *                              └─────────┴── outcome <───────────┘
 *
 * Invariants
 * 1. A yes to `inject` comes after the message is durable (api_inject.c).
 * 2. A slot of a lane is freed after its outcome is durable (outcome.c).
 * 3. Each queued recipient is in an item of the queue, and in one job at most; an item in flight
 * has one job.
 * 4. Nothing in shared memory that the lane can write is used before it was checked.
 */
#ifndef WIREPOST_CTL_H
#define WIREPOST_CTL_H

#include "control/ctl_config.h"
#include "control/ctl_log.h"
#include "control/ctl_time.h"
#include "control/dns.h"
#include "control/message_table.h"
#include "control/path_stats.h"
#include "control/queue.h"
#include "control/store.h"

#include <uv.h>

struct ctl_job;
struct shaping;
struct destination_lookup;
struct http;
struct https;
struct sns;
struct sts;
struct addresses;
struct ctl_lanes;
struct decisions;
struct dkim_ring;
struct idempotency;
struct dnsbl;
struct plan;
struct pool_groups;
struct relays;
struct rpc_server;

/* Since start; recipients but for accepted, finished. */
struct ctl_counts {
    uint64_t accepted, finished;
    uint64_t delivered, deferred, bounced, doubtful;
    uint64_t in_flight;
};

struct ctl {
    uv_loop_t *loop;
    struct ctl_config config;
    struct store *store;
    struct queue *queue;
    struct shaping *shaping;
    struct dns_resolver *dns;
    struct https *https;
    struct sts *sts;
    struct destination_lookup *lookups; /* that wait for a policy */
    uint8_t tls_key[16];                /* secret: for keys of TLS policies (tls_plan.h) */
    struct ctl_lanes *lanes;
    struct rpc_server *rpc;
    struct message_table messages; /* queued ones: how many of their recipients are still queued */
    struct path_stats paths;
    struct ctl_counts counts;
    struct addresses *addresses; /* of config.dp.addresses, as they are now */
    struct pool_groups *pools;   /* of config.dp.pools */
    struct decisions *decisions; /* the decision library */
    struct dnsbl *dnsbl;
    struct dkim_ring *dkim;          /* by sender */
    struct idempotency *idempotency; /* injections with a key that are under way */
    uv_timer_t sweep_timer;          /* of the keys */
    struct plan *plan;
    struct ctl_job *jobs; /* all of them: see job.h */
    struct relays *relays;
    struct http *http; /* null: not configured; so is: */
    struct sns *sns;
    uint64_t random; /* state of ctl_random() */
    int64_t started_ms;
    bool draining;           /* nothing new is started */
    uint64_t stop_ms;        /* loop time when stopping began */
    bool stopping;           /* nothing new is accepted either: SIGTERM */
    uint32_t resolving;      /* jobs that wait for DNS */
    uv_timer_t due_timer;    /* the queue's next deadline */
    uv_idle_t dispatch_idle; /* active while something may be startable */
    uv_poll_t store_poll;
};

/* For jitter and DSN boundaries: no secrets. */
uint64_t ctl_random(struct ctl *ctl);

/* An operation of the control plane ran out of memory: it cannot go on without losing track, so it
 * ends, and the spool and the slots tell the next start what was going on. */
void *ctl_must(void *pointer);

#endif
