/*
 * dp_session.h - the session manager of a lane: jobs of the channel become SMTP sessions over utcp.
 *
 * It has no DPDK, clock or socket in it, and allocates nothing after dp_sessions_create(). One
 * instance belongs to one lane's thread. The lane calls, in this order, once per turn:
 *
 *     dp_sessions_take_jobs()    jobs from the channel's ring
 *     dp_sessions_tcp_events()   after utcp_input() and utcp_on_deadline()
 *     dp_sessions_on_deadline()  timers
 *
 * Sessions are kept in groups of (source address, site, TLS policy). A job takes an idle session of
 * its group when that is connected to one of the job's targets, with the TLS that this target is to
 * have; otherwise a new connection is opened while there are fewer than the job's connections_max;
 * otherwise it waits in the group's queue. A session ends with QUIT when it was idle for idle_ms or
 * has carried messages_per_connection_max messages.
 *
 * Targets are tried in order. A session-level failure before MAIL was answered (no connection,
 * greeting or EHLO refused, TLS not as the policy wants it, connection lost), a 4xx to MAIL, and a
 * server that lacks an extension that the message needs go on to the job's next target; after the
 * last one that is the job's outcome. A reused connection that breaks so early says nothing
 * about the server: the job goes once more, on a fresh connection. When the last target failed and
 * the pair has no working session, the jobs waiting for the same targets are deferred too (stage
 * LOCAL: they were not tried), so that a dead site does not hold slots for hours.
 *
 * Under CHAN_TLS_MAY and CHAN_TLS_TEST STARTTLS is used where the server offers it. When the
 * handshake breaks the job goes to the same target once more, on a fresh connection in clear (RFC
 * 7435), and that is counted. Under the other policies nothing is said in clear but EHLO and QUIT.
 *
 * A slot becomes DONE only when TCP has let go of its body: control reuses the arena then.
 */
#ifndef WIREPOST_DP_SESSION_H
#define WIREPOST_DP_SESSION_H

#include "dataplane/chan_lane.h"
#include "dataplane/dp_sources.h"
#include "dataplane/smtp_client.h"
#include "dataplane/tls_client.h"
#include "tcp/utcp.h"

struct dp_sessions;

struct dp_sessions_config {
    struct utcp *tcp;               /* its connections are the manager's */
    struct chan_lane *channel;      /* outlives the manager */
    struct chan_counters *counters; /* where to count */
    struct dp_sources *sources;  /* of the lane; outlive the manager, which counts sessions there */
    uint32_t sessions_max;       /* connections at once */
    uint32_t connect_timeout_ms; /* 0: 30 s */
    uint32_t drain_ms;           /* 0: 30 s that running transactions get in a drain */
    struct smtp_timeouts timeouts; /* 0: the engine's */
    struct tls_context *tls;       /* outlives the manager and the stack; null: no TLS */
};

/* Null: no memory. */
struct dp_sessions *dp_sessions_create(const struct dp_sessions_config *config);
/* The end, in this order: dp_sessions_stop() aborts the connections (unfinished jobs keep the state
 * of their slots, as after a crash); utcp_destroy() lets go of the last extents, which makes DONE
 * of jobs that only waited for that; dp_sessions_destroy() frees the memory. */
void dp_sessions_stop(struct dp_sessions *m, uint64_t now_ns);
void dp_sessions_destroy(struct dp_sessions *m);

enum dp_mode {
    DP_RUN,
    DP_HOLD,  /* control is away: start nothing, finish what runs, leave the rest where it is */
    DP_DRAIN, /* start nothing, hand back what waits, finish what runs within drain_ms, then hand
                 that back as well: before the final dot as RETURNED, after it as DOUBTFUL */
};
/* Takes effect at once; the same mode again changes nothing. */
void dp_sessions_set_mode(struct dp_sessions *m, uint64_t now_ns, enum dp_mode mode);

/* Control has recalled slots: what has not begun of them goes back. */
void dp_sessions_recall(struct dp_sessions *m, uint64_t now_ns);

/* Sources were marked as draining: what has not begun from them goes back, what runs is finished,
 * then comes QUIT. */
void dp_sessions_drain_sources(struct dp_sessions *m, uint64_t now_ns);

/* realtime = now_ns + offset_ns, for the times in slots. */
void dp_sessions_set_realtime(struct dp_sessions *m, int64_t offset_ns);

/* Takes at most max jobs; returns how many. In DP_HOLD none. */
uint32_t dp_sessions_take_jobs(struct dp_sessions *m, uint64_t now_ns, uint32_t max);
/* All events of utcp; returns how many. */
uint32_t dp_sessions_tcp_events(struct dp_sessions *m, uint64_t now_ns);

uint64_t dp_sessions_deadline_ns(const struct dp_sessions *m);
void dp_sessions_on_deadline(struct dp_sessions *m, uint64_t now_ns);

/* Connections and unfinished jobs: 0 when a drain is over. */
uint32_t dp_sessions_busy(const struct dp_sessions *m);

#endif
