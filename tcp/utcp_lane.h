/*
 * utcp_lane.h - the structures of one lane, and the invariants that hold between them.
 *
 * Ids (connection, segment, chunk, ...) are pool ids: 1.., 0 is none. Invariants:
 *
 *  1. snd_una <= snd_nxt; the segments seg_head..seg_tail cover exactly [snd_una, snd_nxt), in
 *     order and without gaps. Bytes not sent yet are [snd_nxt, snd_end); SYN and FIN are never in
 *     there: they move both numbers when their segment is made.
 *  2. lost_bytes is the sequence space of segments that carry SEG_LOST: what counts as no longer in
 *     the network and is to be sent (again). sacked_bytes and sacked_segs are those with
 *     SEG_SACKED; no segment is both. pipe = snd_nxt - snd_una - lost_bytes - sacked_bytes.
 *  3. The chunks chunk_head..chunk_tail hold exactly the bytes [snd_una, snd_end); chunk_head_off
 * of the first are acknowledged. A chunk is let go when its last byte is acknowledged.
 *  4. Received bytes in order end at rcv_nxt; out-of-order blocks are sorted by sequence, do not
 *     overlap, and begin after rcv_nxt. rcv_adv, the edge of the advertised window, never goes
 * back.
 *  5. A connection stands on at most one of: the ready list, the wait list of its neighbour, the
 *     list of those that wait for a segment, the wait list of its tentative source address
 *     (`queue` says which).
 *  6. A connection is in the tuple map from its start until it is over; then a TIME-WAIT entry may
 *     take its place.
 *  7. The wheel's timer of a connection is armed for the earliest of its deadlines, or earlier.
 */
#ifndef WIREPOST_UTCP_LANE_H
#define WIREPOST_UTCP_LANE_H

#include "tcp/utcp.h"
#include "tcp/utcp_pool.h"
#include "tcp/utcp_seq.h"
#include "tcp/utcp_wheel.h"
#include "tcp/utcp_wire.h"

#include <assert.h>
#include <stdalign.h>

/* ---- fixed numbers ------------------------------------------------------------------------- */

#define CONN_INDEX_BITS   20u /* handle: generation above, index below */
#define CONN_INDEX_MAX    ((UINT32_C(1) << CONN_INDEX_BITS) - 1u)
#define CONN_SEGMENTS_MAX 512u /* in flight on one connection */
#define COPY_BLOCK_BYTES  512u
#define RX_BLOCK_BYTES    2048u
#define RX_OOO_BLOCKS_MAX 32u /* out-of-order blocks of one connection */
#define REPLIES_MAX       64u
#define REPLY_PAYLOAD_MAX 1472u
#define PORT_TRIES_MAX    2048u
#define PORT_COUNTERS     256u /* RFC 6056 3.3.4 */

#define RTO_INITIAL_US   1000000u /* RFC 6298 2.1 */
#define RTO_AFTER_SYN_US 3000000u /* RFC 6298 5.7 */
#define RTO_MIN_US       200000u  /* RFC 6298 2.4 says 1 s; 200 ms as other stacks do */
#define RTO_MAX_US       60000000u
#define SYN_RETRIES_MAX  5u /* 63 s; RFC 9293 3.8.3 asks for 3 min for R2 of a SYN: see README */
#define R2_NS            (120 * NS_PER_S) /* RFC 9293 3.8.3: at least 100 s */
#define DELACK_NS        (40 * NS_PER_MS) /* RFC 9293 3.8.6.3: less than 500 ms */
#define LINGER_NS        (60 * NS_PER_S)  /* a released connection without progress */
#define CHALLENGES_PER_S 5u
#define KEEPALIVE_NS     (75 * NS_PER_S) /* between probes; RFC 9293 3.8.4 leaves it open */
#define KEEPALIVES_MAX   6u
#define PATH_AGE_NS      (600 * NS_PER_S)     /* RFC 8201 4: 10 min before a larger MTU is tried */
#define MSS_FLOOR        64u                  /* smaller values of a peer are not believed */
#define PAWS_VALID_MS    UINT32_C(2073600000) /* RFC 7323 5.5: 24 days */

/* ---- objects ------------------------------------------------------------------------------- */

/* A segment in flight. */
#define SEG_SYN    1u
#define SEG_FIN    2u
#define SEG_LOST   4u /* to be sent (again) */
#define SEG_SACKED 8u /* the peer has it; it may still take that back (RFC 2018 8) */

/* Only a part of it fits the path and no segment was free to split it: its front was sent. */
#define SEG_CUT 16u

struct utcp_seg {
    uint32_t next;
    uint32_t seq;
    uint32_t tx_us; /* when it was sent last, truncated */
    uint32_t chunk; /* where its bytes begin; 0 without data */
    uint32_t chunk_off;
    uint16_t len;
    uint8_t flags;
    uint8_t tx_count; /* saturates */
};

/* A piece of the send queue: a part of an extent, or of a copy block (extent null). */
struct utcp_chunk {
    const uint8_t *data;
    struct utcp_extent *extent;
    uint32_t len;
    uint32_t next;
};

struct utcp_rx_block {
    uint32_t next;
    uint32_t seq; /* of data[off]; kept for out-of-order blocks only */
    uint32_t off, len;
    uint8_t data[RX_BLOCK_BYTES];
};

enum conn_queue {
    QUEUE_NONE,
    QUEUE_READY,
    QUEUE_NEIGHBOUR,
    QUEUE_STARVED,
    QUEUE_ADDRESS,
};

/* utcp_conn.flags */
#define CF_USED          0x00000001u /* the slot is taken */
#define CF_RELEASED      0x00000002u /* the handle was given back */
#define CF_EMBRYO        0x00000004u /* passive, not yet shown to the caller */
#define CF_PASSIVE       0x00000008u
#define CF_TIMESTAMPS    0x00000010u
#define CF_SACK          0x00000020u /* the peer takes SACK blocks */
#define CF_WSCALE        0x00000040u
#define CF_FIN_QUEUED    0x00000080u /* utcp_shutdown() */
#define CF_FIN_SENT      0x00000100u
#define CF_FIN_ACKED     0x00000200u
#define CF_FIN_KNOWN     0x00000400u /* the peer's FIN was seen, at rcv_fin */
#define CF_FIN_RECEIVED  0x00000800u /* ... and is in order */
#define CF_ACK_NOW       0x00001000u
#define CF_RTX_NOW       0x00002000u /* send the first lost segment whatever cwnd says */
#define CF_PROBE         0x00004000u /* send what the peer's window does not allow */
#define CF_RECOVERY      0x00008000u /* fast recovery (RFC 6582, RFC 6675) */
#define CF_PARTIAL_SEEN  0x00010000u /* the timer was restarted in this recovery */
#define CF_RST_OWED      0x00020000u /* over for the caller; only RST is still to be sent */
#define CF_WANT_ROOM     0x00040000u /* a send was refused: SENDABLE is owed */
#define CF_IN_ROOM_LIST  0x00080000u
#define CF_IN_EVENT_LIST 0x00100000u
#define CF_SYN_RTX       0x00200000u /* SYN was sent more than once */
#define CF_IPV6          0x00400000u
#define CF_LOSS          0x00800000u /* after a timeout, until `recover` is acknowledged */
#define CF_REORDERING    0x01000000u /* this path reorders (RFC 8985 6.2 step 3) */
#define CF_TLP_OUT       0x02000000u /* a tail loss probe is out, up to tlp_end */
#define CF_TLP_RTX       0x04000000u /* ... and it was a retransmission */
#define CF_TLP_NOW       0x08000000u /* send one new segment as probe, whatever cwnd says */
#define CF_CSS           0x10000000u /* conservative slow start (RFC 9406) */
#define CF_ECN           0x20000000u /* both sides do ECN (RFC 3168 6.1.1) */
#define CF_ECE           0x40000000u /* we echo a CE mark until the peer says CWR */
#define CF_CWR           0x80000000u /* our next new data says CWR */

struct utcp_conn;

/* Congestion control: when to grow and how much to give way; recovery itself is not its job. */
struct utcp_cc_ops {
    const char *name;
    void (*on_established)(struct utcp_conn *c);
    /* `acked` new bytes were acknowledged outside of recovery, and cwnd was in use. rtt_us: a
     * sample, 0 without. */
    void (*on_ack)(struct utcp_conn *c, uint32_t acked, uint32_t rtt_us, uint64_t now_ns);
    /* Congestion was seen with `flight` bytes out: the ssthresh to take. */
    uint32_t (*on_congestion)(struct utcp_conn *c, uint32_t flight);
    /* It was none after all: cwnd and ssthresh are as they were before. */
    void (*on_undo)(struct utcp_conn *c);
};
extern const struct utcp_cc_ops utcp_cc_newreno, utcp_cc_cubic;
/* By enum utcp_congestion. */
extern const struct utcp_cc_ops *const utcp_cc_table[];
uint32_t utcp_cc_initial_window(const struct utcp_conn *c);

/* What the timer of rtx_deadline_ns is for. */
enum conn_timer {
    CONN_TIMER_RTO, /* or persist */
    CONN_TIMER_REO, /* RACK: a segment is lost when it is not acknowledged by then */
    CONN_TIMER_TLP, /* tail loss probe */
};

/* State of CUBIC (RFC 9438) and HyStart++ (RFC 9406). */
struct utcp_cubic {
    uint32_t w_max, w_max_before; /* bytes; before: for undo */
    uint32_t w_est;               /* what Reno would have */
    uint32_t cwnd_prior;
    uint32_t epoch_ms, last_ms; /* epoch 0: none yet */
    uint32_t k_ms;
    uint32_t round_end; /* sequence number */
    uint32_t rtt_round_us, rtt_last_us, rtt_css_us;
    uint8_t samples, css_rounds;
};

struct utcp_conn {
    /* Hot: what every segment touches, two cache lines. */
    alignas(64) uint8_t remote[16];
    uint16_t local_port, remote_port;
    uint32_t address; /* id of the source address */
    uint32_t flags;
    uint8_t state; /* enum utcp_state; only utcp_conn_enter() writes it */
    uint8_t queue; /* enum conn_queue */
    uint8_t snd_wscale, rcv_wscale;
    uint32_t snd_una, snd_nxt, snd_end, snd_push;
    uint32_t snd_wnd, snd_wl1, snd_wl2;
    uint32_t rcv_nxt, rcv_adv;
    uint32_t ts_recent, ts_offset;
    uint32_t cwnd, lost_bytes, sacked_bytes;
    uint32_t seg_head, seg_tail, seg_lost; /* seg_lost: none before it is lost */
    uint32_t chunk_next, chunk_next_off;   /* where snd_nxt stands */
    uint32_t neighbour;
    uint16_t mss; /* payload of a full segment, options taken off */
    uint8_t dup_acks;
    uint8_t acks_owed;        /* immediate duplicate ACKs */
    uint64_t rtx_deadline_ns; /* RTO or persist */

    /* Warm. */
    uint64_t delack_deadline_ns;
    uint64_t idle_deadline_ns; /* a released connection: linger; else keep-alive */
    uint64_t pace_ns;          /* when the next byte of data may go (the time may be over) */
    uint32_t r2_since_ms;      /* when the first timeout of the running series happened */
    uint32_t zero_window_since_ms, zero_window_ms; /* since 0: it is open */
    uint32_t last_send_ms;
    uint32_t srtt_us, rttvar_us, rtt_min_us, syn_rtt_us;
    uint32_t limited_bytes; /* sent by limited transmit on the running duplicate ACKs */
    uint32_t ssthresh, recover;
    union {
        uint32_t reno_acked;
        struct utcp_cubic cubic;
    } cc_state;
    /* RACK-TLP (RFC 8985): the segment sent last of those delivered; highest byte delivered. */
    uint32_t rack_us, rack_end, rack_rtt_us, rack_fack;
    uint32_t dsack_round; /* one widening of the reordering window for each round trip */
    uint32_t tlp_end;
    uint32_t ecn_recover; /* no second reaction to ECE before this is acknowledged */
    /* PRR (RFC 9937). */
    uint32_t prr_delivered, prr_out, prr_flight;
    /* To undo a reaction that was wrong; undo_cwnd 0: nothing to undo. */
    uint32_t undo_cwnd, undo_ssthresh, undo_ts;
    uint32_t dsack_start, dsack_end; /* to be told to the peer; equal: nothing */
    uint32_t snd_wnd_max;
    uint32_t chunk_head, chunk_tail, chunk_head_off;
    uint32_t rx_head, rx_tail, rx_bytes;
    uint32_t ooo_head, ooo_last_seq;
    uint32_t rcv_fin, rcv_acked; /* rcv_acked: ACK number sent last */
    uint32_t ts_recent_ms;
    uint32_t iss;
    uint32_t retransmissions;
    int16_t undo_retrans;       /* retransmissions that no D-SACK has named yet */
    uint16_t segs, sacked_segs; /* in flight */
    uint16_t rcv_mss;
    uint16_t mss_peer; /* as the peer said, options not taken off */
    uint16_t mtu;
    uint16_t challenge_s;
    uint16_t generation;
    uint8_t challenges;
    uint8_t ooo_blocks;
    uint8_t backoff;  /* doublings of the RTO since the last RTT sample */
    uint8_t timeouts; /* since the last progress */
    uint8_t reo_mult, reo_persist;
    uint8_t timer;      /* enum conn_timer */
    uint8_t frto;       /* RFC 5682: 0 off, 1 after the timeout, 2 after the first ACK */
    uint8_t cc;         /* enum utcp_congestion */
    uint8_t keepalives; /* probes without an answer */
    bool keepalive_now; /* one is to be sent */
    bool paced;         /* waits for pace_ns */

    /* Cold: the caller's side. */
    uint8_t events, reason;
    uint8_t local[16]; /* stays when the address is removed */
    void *user;
    uint64_t bytes_queued, bytes_acked, bytes_received;
};
/* What a connection costs besides its struct: three lists, the timer, map and pool. */
#define CONN_OVERHEAD_BYTES                                                                        \
    (3 * sizeof(struct utcp_link) + UTCP_WHEEL_BYTES_EACH + UTCP_MAP_BYTES_EACH +                  \
     UTCP_POOL_BYTES_EACH)
static_assert(sizeof(struct utcp_conn) + CONN_OVERHEAD_BYTES <= 512, "a connection grew");
static_assert(offsetof(struct utcp_conn, delack_deadline_ns) <= 128, "hot part grew");

/* A passive open in SYN-RECEIVED, compact: what its SYN said and what we answered. */
#define HALF_TIMESTAMPS 1u
#define HALF_SACK       2u
#define HALF_WSCALE     4u
#define HALF_ECN        8u /* agreed */

struct utcp_half {
    uint8_t remote[16];
    uint8_t mac[6]; /* that the SYN came from: no neighbour is asked for before the handshake */
    uint16_t local_port, remote_port;
    uint16_t address;
    uint16_t mss; /* as the peer said; 0: it did not */
    uint8_t flags, wscale;
    uint8_t timeouts; /* the list that it stands on */
    uint32_t iss, irs, ts_recent;
    uint32_t sent_us; /* when the SYN-ACK went out last, truncated */
};
static_assert(sizeof(struct utcp_half) + sizeof(struct utcp_link) <= 64, "half-open entry grew");

/* TIME-WAIT, compact. Entries stand in a ring in the order of their end. */
struct utcp_tw {
    uint8_t remote[16];
    uint16_t local_port, remote_port;
    uint16_t address; /* 0: the entry is dead */
    uint16_t has_timestamps;
    uint32_t snd_nxt, rcv_nxt, ts_recent;
    uint32_t expires_ms;
};
static_assert(sizeof(struct utcp_tw) <= 40, "TIME-WAIT entry grew");

/* What the last connections of a source address learned of a destination (RFC 9040). */
struct utcp_path {
    uint8_t remote[16];
    uint32_t address; /* 0: the entry is free */
    uint32_t srtt_us, rttvar_us;
    uint32_t ssthresh; /* 0: no loss was seen */
    uint64_t learned_ns, mtu_ns;
    uint16_t mtu; /* 0: nothing but the link's is known */
    bool no_ecn;  /* an ECN SYN was not answered */
};

struct utcp_address {
    struct ip_addr ip;
    uint8_t state; /* enum utcp_address_state; NONE: the slot is free */
    uint8_t announcements_left;
    bool report_owed;         /* MLD, IPv6 only */
    bool probed;              /* the one DAD probe was sent */
    struct utcp_list waiting; /* connections, while it is tentative */
    uint64_t defended_ns;     /* when it was defended last; 0: never */
};

struct utcp_listener {
    uint32_t address;
    uint16_t port;
    void *user;
};

enum neighbour_state {
    NEIGHBOUR_FREE,
    NEIGHBOUR_INCOMPLETE, /* asked, no answer yet; connections wait */
    NEIGHBOUR_REACHABLE,
    NEIGHBOUR_STALE,  /* usable; the next use asks again */
    NEIGHBOUR_PROBE,  /* usable, being asked again */
    NEIGHBOUR_FAILED, /* no answer; the next use starts over */
};

struct utcp_neighbour {
    struct ip_addr ip;
    uint8_t mac[6];
    uint8_t state;
    uint8_t requests; /* sent since the question came up */
    uint32_t refs;    /* connections that use it */
    uint32_t asker;   /* address id that asks */
    struct utcp_list waiting;
};

/* A datagram that waits for fragments. */
#define REASSEMBLY_BYTES_MAX 9216u
#define REASSEMBLY_UNITS     (REASSEMBLY_BYTES_MAX / 8u)
#define REASSEMBLY_NS        (30 * NS_PER_S) /* RFC 8200 4.5: 60 s at most */

struct utcp_reassembly {
    uint8_t data[REASSEMBLY_BYTES_MAX];
    uint64_t have[REASSEMBLY_UNITS / 64]; /* bit set: these 8 bytes came */
    uint8_t src[16], dst[16];
    uint64_t expires_ns; /* 0: the slot is free */
    uint32_t id;
    uint32_t len;   /* of the whole, 0 until its last fragment came */
    uint32_t top;   /* where the last of those that came ends */
    uint32_t units; /* that came */
    uint8_t family, proto, traffic_class;
    bool has_first; /* proto and traffic_class are known */
    bool spoiled;   /* fragments overlapped (RFC 5722): nothing more is taken */
};

/* A small frame that belongs to no connection: RST, echo reply, ARP, ND, ACK in TIME-WAIT. */
struct utcp_reply {
    uint8_t head[UTCP_HEAD_MAX];
    uint8_t payload[REPLY_PAYLOAD_MAX];
    uint16_t head_len, payload_len;
    uint8_t ip_family, l3_len, l4_len;
};

struct utcp {
    uint64_t counters[UTCP_N_COUNTERS];
    struct utcp_config config;
    uint8_t rcv_wscale; /* what we offer */

    struct utcp_pool halves; /* passive opens in SYN-RECEIVED */
    struct utcp_pool conns, segs, chunks, copy_blocks, rx_blocks, addresses, neighbours;
    struct utcp_map tuples; /* connections 1..n, then TIME-WAIT entries, then half-open ones */
    struct utcp_map address_map, neighbour_map, path_map;
    struct utcp_path *paths; /* by id, a ring: the next to be taken is path_next */
    uint32_t path_next;
    uint64_t map_key[2];
    struct utcp_wheel wheel; /* timers: connections, then neighbours, then addresses */

    struct utcp_link *half_links;
    struct utcp_list half_lists[SYN_RETRIES_MAX + 1]; /* by timeouts, the oldest first */
    uint64_t half_now_ns;                             /* when a SYN-ACK was sent last */
    struct utcp_link *conn_links, *event_links, *room_links, *neighbour_links;
    struct utcp_list ready, starved, events, room;
    uint32_t ready_row; /* frames that the first on the ready list has sent in a row */
    struct utcp_list idle_neighbours; /* no connection uses them; oldest first */

    struct utcp_tw *time_wait; /* ring, index 0..limits.time_wait - 1 */
    uint32_t tw_first, tw_count;
    uint64_t tw_last_now_ns; /* when an entry was put last */

    struct utcp_listener *listeners;
    uint32_t n_listeners;
    struct utcp_reassembly *reassemblies;
    struct utcp_reply *replies;
    uint32_t reply_first, reply_count;
    uint32_t port_counters[PORT_COUNTERS];
    uint32_t conns_alive;
    uint64_t mld_answered_ns; /* when a query was answered last; 0: never */
};

static inline struct utcp_conn *conn_at(const struct utcp *u, uint32_t id)
{
    return utcp_pool_at(&u->conns, id);
}
static inline uint32_t conn_id(const struct utcp *u, const struct utcp_conn *c)
{
    return (uint32_t)((size_t)((const uint8_t *)c - u->conns.memory) / sizeof *c);
}
static inline struct utcp_seg *seg_at(const struct utcp *u, uint32_t id)
{
    return utcp_pool_at(&u->segs, id);
}
static inline struct utcp_chunk *chunk_at(const struct utcp *u, uint32_t id)
{
    return utcp_pool_at(&u->chunks, id);
}
static inline struct utcp_rx_block *block_at(const struct utcp *u, uint32_t id)
{
    return utcp_pool_at(&u->rx_blocks, id);
}
static inline struct utcp_address *address_at(const struct utcp *u, uint32_t id)
{
    return utcp_pool_at(&u->addresses, id);
}
static inline struct utcp_neighbour *neighbour_at(const struct utcp *u, uint32_t id)
{
    return utcp_pool_at(&u->neighbours, id);
}

#define COUNT(u, name)        ((void)(u)->counters[UTCP_N_##name]++)
#define COUNT_ADD(u, name, n) ((void)((u)->counters[UTCP_N_##name] += (n)))

static inline uint32_t time_us(uint64_t now_ns)
{
    return (uint32_t)(now_ns / NS_PER_US);
}
/* A round trip that was measured; 0 says that there is none. */
static inline uint32_t at_least_1(uint32_t us)
{
    return us == 0 ? 1 : us;
}
static inline uint32_t time_ms(uint64_t now_ns)
{
    return (uint32_t)(now_ns / NS_PER_MS);
}

#endif
