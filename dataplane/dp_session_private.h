/*
 * dp_session_private.h - the structures of the session manager.
 *
 *     dp_session.c        the manager: entry points, modes, events
 *     dp_session_group.c  groups (source, site): queues of waiting jobs, idle sessions, dispatch
 *     dp_session_open.c   a connection for a job: a new one, or one that is there
 *     dp_session_smtp.c   one session: TCP below, the SMTP engine above
 *     dp_session_send.c   its output: commands copied, the body by reference
 *     dp_session_tls.c    TLS between the two: records go out by reference
 *     dp_session_job.c    one job: targets, results, handing back
 *     dp_session_evidence.c  what the connection knows, for the slot: path, TLS, whether it arrived
 *
 * States of a session; dp_session_enter() alone writes .state:
 *
 *     FREE       --dp_session_open()--> CONNECTING
 *     CONNECTING --on_connected()-----> BUSY
 *     BUSY       --transaction_done()-> IDLE        --dp_session_reuse()-> BUSY
 *     BUSY, IDLE --quit_begin()-------> QUITTING
 *     all        --session_end()------> FREE
 *
 *     state       job  conn  engine           group->n_sessions   lists
 *     FREE        -    -     -                no                  free list
 *     CONNECTING  yes  yes   -                yes                 -
 *     BUSY        yes  yes   initialised      yes                 -
 *     IDLE        -    yes   idle             yes                 group's idle list, LRU list
 *     QUITTING    -    yes   after QUIT       yes                 -
 *
 * Invariants
 * 1. A job is in exactly one place: a group's waiting queue, a session, or finished and waiting for
 *    its extents; or it is not ours (its slot is FREE, QUEUED and not taken, or DONE).
 * 2. A group exists exactly while it has sessions or waiting jobs, or stands on a list of groups.
 * 3. Dispatching happens at the end of each entry point only (dp_group_dispatch_all()), never
 * inside of another step, so no step sees sessions or groups vanish under it.
 */
#ifndef WIREPOST_DP_SESSION_PRIVATE_H
#define WIREPOST_DP_SESSION_PRIVATE_H

#include "dataplane/dp_job.h"
#include "dataplane/dp_session.h"
#include "dataplane/dp_timers.h"

#define DP_NONE UINT32_MAX

#define DP_SESSION_STATE_MAP(X)                                                                    \
    X(FREE)                                                                                        \
    X(CONNECTING)                                                                                  \
    X(BUSY)                                                                                        \
    X(IDLE)                                                                                        \
    X(QUITTING)

enum dp_session_state {
#define X(name) DP_SESSION_##name,
    DP_SESSION_STATE_MAP(X)
#undef X
};

struct dp_link {
    uint32_t next, prev;
};

struct dp_session {
    struct dp_sessions *owner;
    uint32_t index;
    enum dp_session_state state;
    uint32_t conn; /* of utcp */
    uint32_t group;
    uint32_t job;             /* slot number, or DP_NONE */
    uint32_t messages;        /* transactions started on this connection */
    uint32_t idle_ms;         /* of the last job */
    uint64_t due_ns;          /* CONNECTING: give up; IDLE: QUIT */
    uint64_t bytes_acked;     /* of utcp_info, when it was last looked at */
    uint64_t look_ns;         /* when to look again, while unacked */
    bool unacked;             /* bytes were sent that may still be unacknowledged */
    uint32_t retransmissions; /* of utcp_info, when the transaction began */
    uint64_t zero_window_ns;  /* likewise */
    uint64_t dot_end;         /* of the stream: behind the end of the message; 0: TCP has it not */
    enum outcome_end end;
    struct ip_addr peer;
    uint16_t peer_port;
    uint32_t next_free;
    struct dp_link idle; /* in the group's idle list */
    struct dp_link lru;  /* in the list of all idle sessions, the longest idle first */
    bool working;        /* greeted and EHLO done: counted in group->n_working */
    char ehlo[SMTP_NAME_MAX];
    struct smtp_client client;
    struct smtp_piece held;   /* what TCP (or TLS) had no room for; len 0: nothing */
    enum chan_tls tls_policy; /* that it was opened with */
    uint32_t tls_key;         /* of that target */
    bool tls_on;              /* tls stands between client and conn */
    bool tls_noted;           /* how TLS went is in the slot of the first job */
    bool tls_failed;          /* the handshake broke */
    bool tls_starved;         /* no block was free: look again soon */
    uint64_t starved_ns;      /* when that was noticed last */
    struct tls_client tls;
    struct tls_block *tls_block; /* that TCP had no room for */
    uint8_t held_bytes[SMTP_COMMAND_MAX];
};

enum dp_group_list { DP_GROUP_OFF, DP_GROUP_READY, DP_GROUP_STARVED };

struct dp_group {
    struct ip_addr source;
    uint32_t source_number;
    uint32_t site_hash, tls_hash;
    uint32_t hash_next; /* in its bucket, or in the free list */
    uint32_t n_sessions;
    uint32_t n_working;  /* of them: greeted and EHLO done at least once */
    uint32_t idle_first; /* most recently used */
    uint32_t waiting_first, waiting_last;
    uint32_t list_next;
    enum dp_group_list list;
};

/* A queue of groups, linked by list_next. */
struct dp_group_queue {
    uint32_t first, last;
};

struct dp_sessions {
    struct dp_sessions_config config;
    enum dp_mode mode;
    uint64_t drain_ns; /* DP_DRAIN: hand everything back; otherwise never */
    uint64_t retry_ns; /* try the starved groups again */
    int64_t realtime_offset_ns;
    struct dp_job_limits limits;

    struct dp_session *sessions;
    uint32_t n_free;
    uint32_t free_first;
    uint32_t lru_first, lru_last;
    struct dp_timers timers; /* by session index */

    struct dp_job *jobs; /* by slot number */
    uint32_t n_jobs;     /* taken and not yet DONE */

    struct dp_group *groups;
    uint32_t n_groups_max;
    uint32_t groups_free;
    uint32_t *buckets;
    uint32_t n_buckets;
    struct dp_group_queue ready, starved;
};

/* Nothing new is started for the group: the lane is drained, or its source is. */
static inline bool dp_group_drains(const struct dp_sessions *m, uint32_t group)
{
    return m->mode == DP_DRAIN || m->config.sources->list[m->groups[group].source_number].draining;
}

/* Why a job or a connection came to nothing. */
struct dp_failure {
    enum outcome_stage stage;
    uint16_t code;
    const uint8_t *enhanced; /* 3 bytes, or null */
    const char *text;
};

/* ---- dp_session_group.c ------------------------------------------------------------------ */

void dp_groups_init(struct dp_sessions *m);
/* The group of the job, made when there is none. There are always enough. */
uint32_t dp_group_get(struct dp_sessions *m, const struct dp_job *job);
void dp_group_wait(struct dp_sessions *m, uint32_t group, struct dp_job *job, bool first);
/* The first waiting job, or null; dp_group_pop() takes it out. */
struct dp_job *dp_group_peek(struct dp_sessions *m, uint32_t group);
struct dp_job *dp_group_pop(struct dp_sessions *m, uint32_t group);
/* The group has something to look at: dispatched at the end of the entry point. */
void dp_group_wake(struct dp_sessions *m, uint32_t group);
/* A session or a port became free: the group that waits longest may try. */
void dp_group_wake_starved(struct dp_sessions *m);
void dp_group_wake_all_starved(struct dp_sessions *m);
void dp_group_dispatch_all(struct dp_sessions *m, uint64_t now_ns);
/* For each group in use: wake it. */
void dp_group_wake_all(struct dp_sessions *m);
void dp_idle_add(struct dp_sessions *m, struct dp_session *s);
void dp_idle_remove(struct dp_sessions *m, struct dp_session *s);

/* ---- dp_session_open.c ------------------------------------------------------------------- */

/* Opens a connection for the job. UTCP_OK: it is bound to a new session. Otherwise nothing was
 * changed; UTCP_E_LIMIT, UTCP_E_PORTS: later; others: never to this target. */
int dp_session_open(struct dp_sessions *m, uint64_t now_ns, uint32_t group, struct dp_job *job);
/* The index of the target that the session may carry the job to, or n_targets: none. */
uint32_t dp_session_serves(const struct dp_session *s, const struct dp_job *job);

static inline bool dp_tls_is_opportunistic(enum chan_tls policy)
{
    return policy == CHAN_TLS_MAY || policy == CHAN_TLS_TEST;
}

/* ---- dp_session_smtp.c ------------------------------------------------------------------- */

/* Starts the job on an idle session. False: the session is broken and has ended. */
bool dp_session_reuse(struct dp_session *s, uint64_t now_ns, struct dp_job *job);
void dp_session_enter(struct dp_session *s, enum dp_session_state state);
void dp_session_arm(struct dp_session *s);
void dp_session_quit(struct dp_session *s, uint64_t now_ns);
void dp_session_on_event(struct dp_session *s, uint64_t now_ns, const struct utcp_event *event);
void dp_session_on_deadline(struct dp_session *s, uint64_t now_ns);
/* Hands back what it carries: the drain's time is over, or (CONNECTING) has begun. */
void dp_session_cut(struct dp_session *s, uint64_t now_ns);

/* What the next event of s will touch is fetched from memory: first s, then its job. */
void dp_session_prefetch(const struct dp_session *s);
void dp_session_prefetch_job(const struct dp_session *s);

/* ---- dp_session_send.c ------------------------------------------------------------------- */

/* Gives TCP what the engine has to say, as far as there is room. True when something was said. */
bool dp_session_pump(struct dp_session *s, uint64_t now_ns);

/* Gives the piece's unsent rest a place of its own until there is room. */
void dp_session_hold(struct dp_session *s, const struct smtp_piece *piece, uint32_t sent);
/* TCP has too little room: asks for UTCP_EV_SENDABLE. */
void dp_session_want_room(struct dp_session *s, uint64_t now_ns);
/* What the engine sends next goes out as the slot's DOT_SENT when it ends the message. */
void dp_session_note_dot(struct dp_session *s, const struct smtp_piece *piece);

/* ---- dp_session_tls.c -------------------------------------------------------------------- */

/* SMTP_EV_STARTTLS: the handshake begins. */
void dp_session_tls_begin(struct dp_session *s, uint64_t now_ns);
void dp_session_tls_end(struct dp_session *s);
/* Bytes of the connection, through TLS to the SMTP engine. */
void dp_session_tls_input(struct dp_session *s, uint64_t now_ns, const uint8_t *data, uint32_t len);
void dp_session_tls_eof(struct dp_session *s, uint64_t now_ns);
/* As dp_session_pump(). */
bool dp_session_tls_pump(struct dp_session *s, uint64_t now_ns);

/* ---- dp_session_job.c -------------------------------------------------------------------- */

/* What is needed of it soon is fetched from memory. */
void dp_job_prefetch(struct dp_sessions *m, uint32_t slot);
/* The same for a slot that is to be read. */
void dp_job_prefetch_content(struct dp_sessions *m, uint32_t slot);
/* Reads slot into its job and queues or refuses it. */
void dp_job_arrive(struct dp_sessions *m, uint64_t now_ns, uint32_t slot);
/* The transaction starts on s: slot STARTED, extents held. */
void dp_job_start(struct dp_sessions *m, uint64_t now_ns, struct dp_job *job,
                  const struct dp_session *s);
/* The recipients' results are final. */
void dp_job_finish(struct dp_job *job, uint64_t now_ns);
/* The same result for all recipients. */
void dp_job_fail(struct dp_job *job, uint64_t now_ns, enum outcome_kind kind,
                 const struct dp_failure *failure);
void dp_job_hand_back(struct dp_job *job, uint64_t now_ns);
/* Control wants it back. */
bool dp_job_is_recalled(const struct dp_sessions *m, const struct dp_job *job);
/* The target did not work out: waits again for the next one, or is deferred. */
void dp_job_next_target(struct dp_job *job, uint64_t now_ns, uint32_t group,
                        const struct dp_failure *failure);
/* Waits again for a fresh connection to this target. */
void dp_job_again(struct dp_job *job, uint32_t group, uint32_t target);
/* The transaction ended with results that the next target may better (a 4xx to MAIL, an extension
 * that is not offered). False: there is none, the results stand. */
bool dp_job_try_elsewhere(struct dp_job *job, uint32_t group, bool lacked);

/* ---- dp_session_evidence.c --------------------------------------------------------------- */

/* A transaction begins on the connection. */
void dp_evidence_begin(struct dp_session *s, uint64_t now_ns);
/* TCP has the end of the message. */
void dp_evidence_dot(struct dp_session *s, uint64_t now_ns);
/* How the connection ended; the first word counts. */
void dp_evidence_end(struct dp_session *s, enum outcome_end end);
enum outcome_end dp_evidence_of_close(enum utcp_close_reason reason);
/* What the connection of s knows goes into the slot. */
void dp_evidence_note(struct dp_session *s, uint64_t now_ns, struct dp_job *job);
/* How TLS went, once for each connection: EHLO is done, or it failed. */
void dp_evidence_tls(struct dp_session *s, enum tls_failure failure, const char *reason);

static inline struct chan_slot *dp_job_slot(const struct dp_sessions *m, const struct dp_job *job)
{
    return chan_lane_slot(m->config.channel, job->slot);
}

static inline struct dp_job *dp_job_at(struct dp_sessions *m, uint32_t slot)
{
    INVARIANT_HOT(slot < m->config.channel->map.n_slots);
    return &m->jobs[slot];
}

static inline struct dp_job *dp_session_job(const struct dp_session *s)
{
    return s->job == DP_NONE ? NULL : dp_job_at(s->owner, s->job);
}

#endif
