/*
 * channel.h - shared memory between wirepostd and wirepost-dataplane, one channel per lane.
 * Types only; both processes map the same file and include this header.
 *
 * The file `lane-N.chan` in the run directory (a tmpfs in production) is one mapping:
 *
 *     header | job ring | done ring | addresses | slots | arena
 *
 * It is a named file, not an anonymous memfd, so that the state of each job outlives a kill -9 of
 * both processes: whoever starts next reads from the slots what was not attempted, what is doubtful
 * and which outcomes nobody has made durable yet.
 *
 * Life of a slot (one writer per edge; `state` is stored with release, read with acquire):
 *
 *   FREE --control--> QUEUED --lane--> STARTED --lane--> DOT_SENT --lane--> DONE --control--> FREE
 *                        \________________\____________________________/
 *
 * - control fills everything above `results` and the arena ranges, sets QUEUED, pushes the slot's
 *   number to the job ring and writes the lane's eventfd;
 * - the lane fills `results` and the texts, sets DONE, pushes the number to the done ring;
 * - control sets FREE only after the outcome is durable in the spool, so an outcome is never lost:
 *   a new control process finds it in the slot.
 *
 * The rings have as many entries as there are slots and so never overflow. Nobody trusts the other
 * side: the lane copies and checks a job before use (ranges inside the arena, counts, strings
 * terminated) and refuses it as LOCAL; control checks results in the same way.
 */
#ifndef WIREPOST_CHANNEL_H
#define WIREPOST_CHANNEL_H

#include "dataplane/outcome.h"
#include "tcp/base.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>

#define CHAN_MAGIC      UINT64_C(0x57504348414e3031) /* "WPCHAN01" */
#define CHAN_VERSION    5u
#define CHAN_RCPT_MAX   32u /* recipients of one job */
#define CHAN_TARGET_MAX 8u  /* addresses of MX hosts in one job, in the order to try them */
#define CHAN_TEXT_MAX   256u
#define CHAN_REASON_MAX 96u
#define CHAN_NO_STRING  UINT32_MAX /* in the place of an offset: there is none */

enum chan_job_state { CHAN_FREE, CHAN_QUEUED, CHAN_STARTED, CHAN_DOT_SENT, CHAN_DONE };

struct chan_range {
    uint64_t offset; /* from the start of the arena */
    uint64_t len;
};

/* What TLS a target is to have. A key of TLS policy data (tls_key) is made by control with a
 * secret: two targets with one key ask the same of the peer, so they may share connections. */
#define CHAN_TLS_MAP(X)                                                                            \
    X(NONE, "none")                                                                                \
    X(MAY, "may")         /* where it is offered and works; else in clear (RFC 7435) */            \
    X(TEST, "sts-test")   /* as may; what VERIFY would say is noted (RFC 8461 5, "testing") */     \
    X(ENCRYPT, "encrypt") /* not in clear; nobody is verified */                                   \
    X(VERIFY, "verify")   /* a trusted certificate for tls_name (RFC 8461 4.1) */                  \
    X(DANE, "dane")       /* one that matches a TLSA record (RFC 7672) */

enum chan_tls {
#define X(name, text) CHAN_TLS_##name,
    CHAN_TLS_MAP(X)
#undef X
        CHAN_N_TLS
};

struct chan_target {
    struct ip_addr addr;
    uint8_t tls; /* enum chan_tls */
    uint16_t port;
    uint32_t host;     /* offset of the MX host name in the strings range */
    uint32_t tls_name; /* of the name to ask for and to verify; TLSA base domain; or CHAN_NO_STRING:
                          the host */
    uint32_t tlsa;     /* DANE: of its records, "3 1 1 0a1b...;2 0 1 ..." (RFC 6698 2.2), else
                          CHAN_NO_STRING */
    uint32_t tls_key;
};

struct chan_result {
    uint8_t kind;        /* enum outcome_kind */
    uint8_t stage;       /* enum outcome_stage */
    uint16_t code;       /* reply code or 0 */
    uint8_t enhanced[3]; /* 0 0 0: none */
    uint8_t pad;
    char text[CHAN_TEXT_MAX]; /* printable, NUL-terminated */
};

#define CHAN_NEED_8BITMIME   1u
#define CHAN_NEED_SMTPUTF8   2u
#define CHAN_NEED_REQUIRETLS 4u /* RFC 8689 */

#define CHAN_USE_CHUNKING 1u /* BDAT where it is offered (RFC 3030) */

/* How TLS went with a target, from the first job that tried it on a new connection: counted for
 * TLS-RPT, which counts sessions. */
struct chan_tls_result {
    uint8_t tried;   /* 1: a new connection came as far as EHLO */
    uint8_t version; /* 0: in clear, 2: TLS 1.2, 3: TLS 1.3 */
    uint8_t verified;
    uint8_t failure; /* enum tls_failure; also beside a version (TEST) */
};

struct chan_slot {
    _Atomic uint32_t state; /* enum chan_job_state */
    uint32_t generation;    /* raised by control each time the slot is filled */

    /* ---- written by control ---- */
    uint64_t message_id;
    uint64_t submitted_ns; /* CLOCK_REALTIME */
    struct ip_addr source; /* one of this lane's addresses */
    uint8_t n_targets;
    uint8_t n_recipients;
    uint8_t ret;              /* enum smtp_ret: RFC 3461 4.3 */
    uint32_t needs;           /* CHAN_NEED_* */
    uint32_t use;             /* CHAN_USE_* */
    uint32_t site_hash;       /* sessions are shared between jobs of the same site ... */
    uint32_t tls_hash;        /* ... and the same TLS policy */
    uint32_t connections_max; /* per (source, site); >= 1 */
    uint32_t messages_per_connection_max; /* >= 1 */
    uint32_t idle_ms; /* how long a session waits for another message before QUIT */
    struct chan_target targets[CHAN_TARGET_MAX];
    struct chan_range strings; /* NUL-terminated strings; the offsets below point into it */
    uint32_t ehlo;             /* our name */
    uint32_t mail_from;        /* "" is the null return path */
    uint32_t site;             /* destination site (rolled-up MX or domain), for counters */
    uint32_t route;            /* name of a relay; unused by the data plane's lanes */
    uint32_t envid;            /* RFC 3461 4.4, not encoded; or CHAN_NO_STRING */
    uint32_t recipients[CHAN_RCPT_MAX];
    uint32_t orcpt[CHAN_RCPT_MAX];           /* "rfc822;..." (RFC 3461 4.2); or CHAN_NO_STRING */
    uint8_t notify[CHAN_RCPT_MAX];           /* SMTP_NOTIFY_* (RFC 3461 4.1) */
    uint32_t recipient_index[CHAN_RCPT_MAX]; /* index of the recipient in its message */
    uint32_t attempt[CHAN_RCPT_MAX];         /* number of this attempt, for idempotent outcomes */
    _Atomic uint32_t recalled; /* 1: hand it back unless it has begun; may be set at any time */
    uint32_t pad_recalled;
    struct chan_range prefix; /* header fields made for this route; len 0: none */
    struct chan_range body;   /* wire form */
    struct chan_range stuff;  /* uint32_t offsets into body, 4-byte aligned */

    /* ---- written by the lane ---- */
    uint64_t started_ns, done_ns; /* CLOCK_REALTIME; 0: not */
    struct ip_addr peer;          /* who answered last; family 0: nobody */
    uint8_t tls_version;          /* 0: in clear, 2: TLS 1.2, 3: TLS 1.3 */
    uint16_t peer_port;
    uint32_t target_used;        /* index of peer in targets */
    uint32_t syn_rtt_us, rtt_us; /* 0: not measured */
    uint32_t retransmissions;    /* while it was under way */
    uint32_t zero_window_ms;     /* time that the peer let nothing be sent, likewise */
    uint32_t extensions;         /* SMTP_EXT_* that the server offers */
    uint32_t reused;             /* 1: on a connection that carried messages before */
    uint64_t bytes_sent;         /* of the transaction, stuffing included */
    uint8_t end;                 /* enum outcome_end */
    uint8_t arrival;             /* enum outcome_arrival */
    uint8_t tls_verified;        /* 1: the peer is who the policy wants */
    uint8_t pad_end;
    struct chan_tls_result tls_results[CHAN_TARGET_MAX];
    char tls_reason[CHAN_REASON_MAX]; /* of the last failure; printable, NUL-terminated */
    struct chan_result results[CHAN_RCPT_MAX];
};

/* What control wants of a source address, and what the lane has made of it: chan_address.h. */
enum chan_address_want { CHAN_ADDRESS_NONE, CHAN_ADDRESS_USE, CHAN_ADDRESS_DRAIN };

#define CHAN_ADDRESS_MAP(X)                                                                        \
    X(GONE, "gone")                                                                                \
    X(NEW, "waiting")         /* control's: the lane has not looked at it yet */                   \
    X(TENTATIVE, "tentative") /* is anybody else using it? (RFC 4862 5.4) */                       \
    X(UP, "up")                                                                                    \
    X(DUPLICATE, "duplicate") /* another host has it */                                            \
    X(REFUSED, "refused")     /* TCP does not take it: not of this network */                      \
    X(DRAINING, "draining")                                                                        \
    X(DRAINED, "drained")

enum chan_address_is {
#define X(name, text) CHAN_ADDRESS_##name,
    CHAN_ADDRESS_MAP(X)
#undef X
        CHAN_N_ADDRESS_IS
};

/* An entry is filled by control while it is NONE and GONE, and belongs to the lane from then on
 * until it is NONE and GONE again. */
struct chan_address {
    _Atomic uint32_t want; /* enum chan_address_want; control */
    _Atomic uint32_t is;   /* enum chan_address_is; the lane */
    struct ip_addr addr;   /* control */
    uint8_t pad;
    uint16_t vlan;             /* control; 0: frames without a tag */
    _Atomic uint32_t sessions; /* connections now; the lane */
};

struct chan_ring {
    alignas(64) _Atomic uint32_t head; /* next to write; free-running */
    alignas(64) _Atomic uint32_t tail; /* next to read */
    alignas(64) uint32_t entries[];    /* n_slots, a power of two */
};

/* Counters of a lane, published for `lanes` and `stats`; plain words, torn reads do not matter. */
#define CHAN_COUNTER_MAP(X)                                                                        \
    X(jobs, "jobs taken from the ring")                                                            \
    X(jobs_refused, "jobs refused as nonsense")                                                    \
    X(jobs_returned, "jobs handed back unattempted (drain)")                                       \
    X(delivered, "recipients delivered")                                                           \
    X(deferred, "recipients deferred")                                                             \
    X(bounced, "recipients bounced")                                                               \
    X(doubtful, "recipients doubtful")                                                             \
    X(sessions_opened, "connections tried")                                                        \
    X(sessions_established, "connections established")                                             \
    X(sessions_reused, "transactions on a reused connection")                                      \
    X(sessions, "connections now")                                                                 \
    X(waiting, "jobs waiting for a connection now")                                                \
    X(rx_frames, "frames received")                                                                \
    X(tx_frames, "frames sent")                                                                    \
    X(rx_bytes, "bytes received")                                                                  \
    X(tx_bytes, "bytes sent")                                                                      \
    X(handed_over, "frames passed to the lane that owns the address")                              \
    X(tx_dropped, "frames the device did not take")                                                \
    X(loops, "turns of the lane's loop")                                                           \
    X(sleeps, "times the lane slept")                                                              \
    X(tls, "connections with TLS")                                                                 \
    X(tls_broken, "TLS handshakes that failed; tried again in clear")

struct chan_counters {
#define X(name, text) uint64_t name;
    CHAN_COUNTER_MAP(X)
#undef X
};

#define CHAN_TCP_COUNTERS_MAX 192u

struct chan_header {
    uint64_t magic;
    uint32_t version;
    uint32_t lane;       /* index over all ports and queues */
    uint32_t n_slots;    /* power of two */
    uint32_t slot_bytes; /* sizeof(struct chan_slot) */
    uint64_t file_bytes;
    uint64_t job_ring, done_ring, addresses, slots, arena; /* offsets in the file */
    uint64_t arena_bytes;
    uint32_t n_addresses;                  /* entries */
    uint32_t address_bytes;                /* sizeof(struct chan_address) */
    uint64_t boot_id;                      /* random per creation of the file */
    _Atomic uint64_t control_heartbeat_ns; /* CLOCK_MONOTONIC, at least once a second */
    _Atomic uint64_t lane_heartbeat_ns;
    _Atomic uint32_t lane_pid;
    _Atomic uint32_t lane_sleeping;     /* 1: write the eventfd after pushing a job */
    _Atomic uint32_t recalls;           /* raised by control after it has recalled slots */
    _Atomic uint32_t addresses_changed; /* raised by control after it has changed addresses */
    _Atomic uint32_t addresses_used;    /* no entry from here on was ever used; control */
    _Atomic uint32_t drain; /* set by control: start nothing new, hand back what is queued */
    uint32_t n_tcp_counters;
    struct chan_counters counters;
    uint64_t tcp_counters[CHAN_TCP_COUNTERS_MAX];
};

static_assert(sizeof(struct ip_addr) == 17, "channel layout");
static_assert(sizeof(struct chan_target) == 36, "channel layout");
static_assert(sizeof(struct chan_result) == 264, "channel layout");
static_assert(sizeof(struct chan_address) == 32, "channel layout");
static_assert(offsetof(struct chan_slot, message_id) == 8, "channel layout");
static_assert(sizeof(struct chan_slot) % 8 == 0, "channel layout");

/* ---- the Unix socket between the two (SOCK_SEQPACKET, `dataplane.sock` in the run directory) ----
 *
 * wirepostd listens; the data plane connects and sends chan_hello. wirepostd answers with
 * chan_welcome and per lane one chan_lane_fds message that carries two eventfds by SCM_RIGHTS:
 * [0] job: control writes, the lane reads; [1] done: any lane writes, control reads. The data plane
 * opens the channel files by name. Then the socket is only watched for its end:
 * - the data plane loses control: it starts nothing new, finishes what runs, keeps its outcomes in
 *   the slots and connects again for up to orphan_s seconds, then drains and exits;
 * - control loses the data plane: it collects the slots, and starts it again. */
struct chan_hello {
    uint64_t magic;
    uint32_t version;
    uint32_t pid;
    uint32_t n_lanes;
    uint32_t attached;    /* 1: lanes run already on the channel files: adopt them */
    uint64_t config_hash; /* of the dataplane configuration file that it runs with */
};

struct chan_welcome {
    uint64_t magic;
    uint32_t version;
    uint32_t n_lanes;
    uint32_t go; /* 1: attach; 0: exit (the configuration has changed): drain and stop */
    uint32_t orphan_s;
};

struct chan_lane_fds {
    uint32_t lane;
    uint32_t pad;
};

#endif
