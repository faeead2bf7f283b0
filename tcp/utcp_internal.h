/*
 * utcp_internal.h - what the files of the stack offer each other. The structures stand in
 * utcp_lane.h.
 */
#ifndef WIREPOST_UTCP_INTERNAL_H
#define WIREPOST_UTCP_INTERNAL_H

#include "tcp/utcp_lane.h"

/* ---- utcp_address.c: source addresses and listeners ---------------------------------------- */

/* Address id of an address in a packet, 0 when it is not ours. */
uint32_t utcp_address_find_bytes(const struct utcp *u, uint8_t family, const uint8_t *ip);
uint32_t utcp_address_find(const struct utcp *u, const struct ip_addr *ip);
void utcp_address_on_timer(struct utcp *u, uint64_t now_ns, uint32_t id);
/* True when the source address of c may be used; otherwise c waits on its list. */
bool utcp_address_ready(struct utcp *u, struct utcp_conn *c);
/* Another host had tentative address `id` first (RFC 4862 5.4.5). */
void utcp_address_duplicate(struct utcp *u, uint64_t now_ns, uint32_t id);
/* Another host claims address `id` (RFC 5227 2.4). */
void utcp_address_conflict(struct utcp *u, uint64_t now_ns, uint32_t id);
const struct utcp_listener *utcp_listener_find(const struct utcp *u, uint32_t address,
                                               uint16_t port);
/* May a host have this address (RFC 1122 3.2.1.3, RFC 4291 2.4)? */
bool utcp_ip_is_host(uint8_t family, const uint8_t *ip);

/* ---- utcp_neighbour.c: next hops ----------------------------------------------------------- */

uint32_t utcp_neighbour_find(const struct utcp *u, const struct ip_addr *ip);
/* An answer came; `reachable` when it was one to our question. */
void utcp_neighbour_learn(struct utcp *u, uint64_t now_ns, uint32_t id, const uint8_t mac[6],
                          bool reachable);

/* Takes a reference to the neighbour for `next_hop`; 0 when the table is full. */
uint32_t utcp_neighbour_get(struct utcp *u, const struct ip_addr *next_hop, uint32_t asker);
void utcp_neighbour_put(struct utcp *u, uint32_t id);
/* The next hop towards remote; false when there is none. */
bool utcp_route(const struct utcp *u, const struct ip_addr *remote, struct ip_addr *ret_next_hop);
/* True when frames can go to the neighbour of c; otherwise c waits on its list, to be ready again
 * when the answer comes. */
bool utcp_neighbour_ready(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
void utcp_neighbour_on_timer(struct utcp *u, uint64_t now_ns, uint32_t id);

/* ---- utcp_arp.c, utcp_nd.c: the frames of it ------------------------------------------------ */

void utcp_arp_request(struct utcp *u, const struct utcp_neighbour *n);
void utcp_nd_solicit(struct utcp *u, const struct utcp_neighbour *n);
/* These are false when the frame found no room: try again. */
bool utcp_arp_announce(struct utcp *u, uint32_t address);
bool utcp_nd_announce(struct utcp *u, uint32_t address);
bool utcp_nd_probe(struct utcp *u, uint32_t address);
bool utcp_nd_report(struct utcp *u, uint32_t address);
void utcp_arp_input(struct utcp *u, uint64_t now_ns, const uint8_t *p, uint32_t len);
/* False when the packet is none of neighbour discovery or MLD. */
bool utcp_nd_input(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip,
                   const uint8_t src_mac[6]);

/* ---- utcp_reassembly.c ---------------------------------------------------------------------- */

/* True when the fragment made its datagram whole; *ret_ip is valid until the next fragment. */
bool utcp_reassemble(struct utcp *u, uint64_t now_ns, const struct utcp_ip *fragment,
                     struct utcp_ip *ret_ip);
void utcp_reassembly_expire(struct utcp *u, uint64_t now_ns);
uint32_t utcp_reassembly_count(const struct utcp *u);

/* ---- utcp_reply.c: frames without a connection --------------------------------------------- */

/* Room for one more frame, zeroed lengths; null (and counted) when the queue is full. */
struct utcp_reply *utcp_reply_new(struct utcp *u);
bool utcp_reply_pop(struct utcp *u, struct utcp_frame *frame);
/* The RST for a segment that belongs to no connection (RFC 9293 3.10.7.1). */
void utcp_reply_rst(struct utcp *u, const struct utcp_ip *ip, const uint8_t mac[6],
                    const struct utcp_segment *seg);
/* The RST that ends connection c; left out in states that need none or without a neighbour. */
void utcp_reply_conn_rst(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
/* SYN-ACK of a half-open entry, or a bare ACK of it. */
void utcp_reply_half(struct utcp *u, uint64_t now_ns, const struct utcp_half *half, bool syn);
/* The ACK of a TIME-WAIT entry. */
void utcp_reply_time_wait(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip,
                          const uint8_t mac[6], const struct utcp_tw *tw);
void utcp_reply_echo(struct utcp *u, const struct utcp_ip *ip, const uint8_t mac[6]);

/* ---- utcp_icmp.c --------------------------------------------------------------------------- */

void utcp_icmp_input(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip,
                     const uint8_t mac[6]);
void utcp_icmp6_input(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip,
                      const uint8_t mac[6]);

struct utcp_ack_news;

/* ---- utcp_tuple.c: numbers that a connection is known by ------------------------------------ */

struct utcp_tuple {
    uint8_t remote[16];
    uint32_t address;
    uint16_t local_port, remote_port;
};
struct utcp_tuple utcp_tuple_from_ip(uint32_t address, uint8_t family, const uint8_t *remote,
                                     uint16_t local_port, uint16_t remote_port);
/* In the map. */
uint64_t utcp_tuple_hash(const struct utcp *u, const struct utcp_tuple *tuple);
/* A connection's id, or n_connections + 1 + index of a TIME-WAIT entry, or 0. */
uint32_t utcp_tuple_find(const struct utcp *u, const struct utcp_tuple *tuple);
void utcp_tuple_put(struct utcp *u, const struct utcp_tuple *tuple, uint32_t id);
void utcp_tuple_remove(struct utcp *u, const struct utcp_tuple *tuple, uint32_t id);
struct utcp_tuple utcp_conn_tuple(const struct utcp_conn *c);
/* RFC 6528, RFC 7323 5.4, RFC 6056 3.3.4; the port is 0 when none is free. */
uint32_t utcp_tuple_isn(const struct utcp *u, uint64_t now_ns, const struct utcp_tuple *tuple);
uint32_t utcp_tuple_ts_offset(const struct utcp *u, const struct utcp_tuple *tuple);
uint16_t utcp_tuple_choose_port(struct utcp *u, struct utcp_tuple tuple);

/* ---- utcp_conn.c: life of a connection ------------------------------------------------------ */

/* A new connection for the tuple in state CLOSED, with a neighbour reference, in the map. */
int utcp_conn_new(struct utcp *u, uint64_t now_ns, const struct utcp_tuple *tuple,
                  const struct ip_addr *remote, struct utcp_conn **ret_conn);
void utcp_conn_enter(struct utcp_conn *c, enum utcp_state state);
struct utcp_conn *utcp_conn_find(const struct utcp *u, uint32_t handle);
uint32_t utcp_conn_handle(const struct utcp *u, const struct utcp_conn *c);
/* Over: lets go of everything but received bytes; the caller learns `reason`, or the slot is free
 * at once when nobody holds the handle. */
void utcp_conn_close(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                     enum utcp_close_reason reason);
/* Both sides closed: a TIME-WAIT entry stays behind. */
void utcp_conn_time_wait(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
/* The caller has no interest any more; RST goes out if the neighbour is known. */
void utcp_conn_reset(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
void utcp_conn_free(struct utcp *u, struct utcp_conn *c);
void utcp_conn_event(struct utcp *u, struct utcp_conn *c, uint32_t events);
/* Puts it on the ready list, unless it is there or waits for its neighbour. */
void utcp_conn_ready(struct utcp *u, struct utcp_conn *c);
void utcp_conn_unqueue(struct utcp *u, struct utcp_conn *c);
/* All that wait for a segment, or for room to send, may try again. */
void utcp_conn_wake_starved(struct utcp *u);
void utcp_conn_wake_room(struct utcp *u);
/* Sets the segment size from mss_peer, mtu and the options in use. */
void utcp_conn_set_mss(struct utcp_conn *c);
/* The address of our side, for whom the caller asks. */
struct ip_addr utcp_conn_local(const struct utcp_conn *c);
/* An ACK against blind attacks, limited per connection (RFC 5961 7). */
void utcp_conn_challenge_ack(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);

static inline bool conn_is_over(const struct utcp_conn *c)
{
    return c->state == UTCP_CLOSED || c->state == UTCP_TIME_WAIT;
}
/* May bytes of the caller go out (or be queued) in this state? */
static inline bool conn_is_synchronized(const struct utcp_conn *c)
{
    return c->state >= UTCP_ESTABLISHED && c->state <= UTCP_LAST_ACK;
}
static inline uint8_t conn_family(const struct utcp_conn *c)
{
    return (c->flags & CF_IPV6) != 0 ? 6 : 4;
}
/* IP and TCP headers without options. */
static inline uint32_t conn_headers_len(const struct utcp_conn *c)
{
    return ip_header_len(conn_family(c)) + TCP_LEN;
}
static inline const struct utcp_cc_ops *conn_cc(const struct utcp_conn *c)
{
    return utcp_cc_table[c->cc];
}
static inline uint32_t conn_pipe(const struct utcp_conn *c)
{
    return c->snd_nxt - c->snd_una - c->lost_bytes - c->sacked_bytes;
}

/* ---- utcp_path.c: what is known of a path ---------------------------------------------------- */

/* ICMP says that what is longer than mtu does not pass; 0: by how much it does not say. */
void utcp_path_too_big(struct utcp *u, uint64_t now_ns, struct utcp_conn *c, uint32_t mtu);
/* Data was not acknowledged for several timeouts: perhaps nothing long passes (RFC 4821 7.7). */
void utcp_path_black_hole(struct utcp *u, struct utcp_conn *c);
/* A connection begins with what others have learned, and leaves what it has. */
void utcp_path_recall(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
void utcp_path_recall_cwnd(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
void utcp_path_remember(struct utcp *u, uint64_t now_ns, const struct utcp_conn *c);
void utcp_path_drop_address(struct utcp *u, uint32_t address);

/* ---- utcp_sendq.c: bytes to send and segments in flight ------------------------------------- */

/* Both queue all or nothing. */
int utcp_sendq_add(struct utcp *u, struct utcp_conn *c, struct utcp_extent *extent, uint64_t offset,
                   uint32_t len);
int utcp_sendq_copy(struct utcp *u, struct utcp_conn *c, const uint8_t *data, uint32_t len);
/* Appends a segment of `len` bytes from snd_nxt on; null when no segment is free. */
struct utcp_seg *utcp_sendq_segment(struct utcp *u, struct utcp_conn *c, uint32_t len,
                                    uint8_t flags);
/* Cuts seg so that at most `len` bytes stay in it; false when no segment is free. */
bool utcp_sendq_split(struct utcp *u, struct utcp_conn *c, struct utcp_seg *seg, uint32_t len);
/* How many of `len` bytes from snd_nxt on fit into UTCP_SLICES_MAX slices. */
uint32_t utcp_sendq_fit(const struct utcp *u, const struct utcp_conn *c, uint32_t len);
/* The first `len` bytes of seg. */
void utcp_sendq_gather(const struct utcp *u, const struct utcp_seg *seg, uint32_t len,
                       struct utcp_frame *frame);
/* Drops what `ack` covers. */
void utcp_sendq_ack(struct utcp *u, struct utcp_conn *c, uint32_t ack, struct utcp_ack_news *news);
/* The first segment is taken as lost and goes out next whatever cwnd says. */
void utcp_sendq_resend_head(struct utcp *u, struct utcp_conn *c);
/* The same for the last one. */
void utcp_sendq_resend_tail(struct utcp *u, struct utcp_conn *c);
void utcp_sendq_mark_lost(struct utcp *u, struct utcp_conn *c, uint32_t id);
/* Segments longer than `len` count as lost. */
void utcp_sendq_mark_longer_lost(struct utcp *u, struct utcp_conn *c, uint32_t len);
/* All that begin at or before `last` and are not SACKed. */
void utcp_sendq_mark_all_lost(struct utcp *u, struct utcp_conn *c, uint32_t last);
/* None is lost any more. */
void utcp_sendq_mark_none_lost(struct utcp *u, struct utcp_conn *c);
void utcp_sendq_mark_sacked(struct utcp_conn *c, struct utcp_seg *seg);
/* The peer has thrown away what it had SACKed. */
void utcp_sendq_forget_sacks(struct utcp *u, struct utcp_conn *c);
void utcp_sendq_sent(struct utcp_conn *c, struct utcp_seg *seg, uint64_t now_ns);
/* The first lost segment, or null. */
struct utcp_seg *utcp_sendq_first_lost(struct utcp *u, struct utcp_conn *c);
void utcp_sendq_drop(struct utcp *u, struct utcp_conn *c);
uint32_t utcp_sendq_room(const struct utcp *u, const struct utcp_conn *c);

static inline uint32_t seg_seq_len(const struct utcp_seg *seg)
{
    return seg->len + ((seg->flags & SEG_SYN) != 0 ? 1u : 0u) +
           ((seg->flags & SEG_FIN) != 0 ? 1u : 0u);
}

/* ---- utcp_recvq.c: received bytes ----------------------------------------------------------- */

/* Takes data that begins at rcv_nxt; returns how many bytes were taken (rcv_nxt moved on). */
uint32_t utcp_recvq_in_order(struct utcp *u, struct utcp_conn *c, const uint8_t *data,
                             uint32_t len);
/* Keeps data from beyond rcv_nxt, within limits. */
void utcp_recvq_out_of_order(struct utcp *u, struct utcp_conn *c, uint32_t seq, const uint8_t *data,
                             uint32_t len);
/* Moves blocks that have become in order; true when there were any. */
bool utcp_recvq_join(struct utcp *u, struct utcp_conn *c);
uint32_t utcp_recvq_read(struct utcp *u, struct utcp_conn *c, uint8_t *buf, uint32_t cap);
void utcp_recvq_drop(struct utcp *u, struct utcp_conn *c);
void utcp_recvq_drop_out_of_order(struct utcp *u, struct utcp_conn *c);
/* [start, end) came a second time: the next ACK says so (RFC 2883). */
void utcp_recvq_note_duplicate(struct utcp_conn *c, uint32_t start, uint32_t end);
/* Up to `max` blocks for a SACK option: what came twice, then the newest first (RFC 2018 4). */
uint32_t utcp_recvq_sack(const struct utcp *u, struct utcp_conn *c, struct utcp_sack_block *blocks,
                         uint32_t max);
/* Moves rcv_adv on where that avoids silly windows (RFC 9293 3.8.6.2.2); the window to advertise.
 */
uint32_t utcp_recvq_window(const struct utcp *u, struct utcp_conn *c);
/* Would an ACK now open the window by enough to be worth a segment? */
bool utcp_recvq_window_opens(const struct utcp *u, const struct utcp_conn *c);

/* ---- utcp_input.c --------------------------------------------------------------------------- */

void utcp_tcp_input(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip, const uint8_t mac[6],
                    bool checksum_good);

/* ---- utcp_ack.c: an acknowledgement --------------------------------------------------------- */

/* What one ACK says, gathered by the scoreboard for recovery. */
struct utcp_ack_news {
    uint64_t now_ns;
    uint32_t acked;     /* bytes of sequence space by which snd_una moved */
    uint32_t delivered; /* the same, and newly SACKed ones: what has left the network */
    uint32_t rtt_us;    /* a sample that Karn's rule allows, 0 without */
    uint32_t echo_ms;   /* the timestamp that it echoes, our offset taken off */
    bool has_echo;
    bool duplicate;  /* as RFC 5681 2 defines it */
    bool dsack;      /* it says that [dsack_start, dsack_end) came twice */
    bool newly_lost; /* RACK has found a loss */
    bool cwnd_used;  /* cwnd was what held us back */
    uint32_t dsack_start, dsack_end;
};

/* snd_una - what is tolerable <= ack <= snd_nxt. */
void utcp_ack_input(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                    const struct utcp_segment *seg, bool duplicate);
/* Takes the window of an acceptable segment; in_syn: not scaled (RFC 7323 2.2). */
void utcp_ack_window(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                     const struct utcp_segment *seg, bool in_syn);

/* ---- utcp_sack.c: the scoreboard ------------------------------------------------------------ */

void utcp_sack_input(struct utcp *u, struct utcp_conn *c, const struct utcp_segment *seg,
                     struct utcp_ack_news *news);

/* ---- utcp_rack.c: RACK-TLP ------------------------------------------------------------------ */

/* Segment seg was delivered, by ACK or SACK. */
void utcp_rack_delivered(struct utcp_conn *c, const struct utcp_seg *seg,
                         const struct utcp_ack_news *news);
/* Marks what is lost; returns after how long to look again, 0: no need. */
uint32_t utcp_rack_detect(struct utcp *u, struct utcp_conn *c, uint64_t now_ns, bool *ret_lost);
/* A D-SACK came; a recovery ended: both move the reordering window. */
void utcp_rack_on_dsack(struct utcp_conn *c);
void utcp_rack_on_recovered(struct utcp_conn *c);
bool utcp_tlp_may_probe(const struct utcp_conn *c);
uint32_t utcp_tlp_timeout_us(const struct utcp *u, const struct utcp_conn *c, uint64_t now_ns);
void utcp_tlp_fire(struct utcp *u, struct utcp_conn *c);
/* True when the ACK shows that the probe has repaired a loss. */
bool utcp_tlp_on_ack(struct utcp_conn *c, const struct utcp_ack_news *news);

/* ---- utcp_recovery.c: reaction to loss ------------------------------------------------------ */

void utcp_recovery_on_ack(struct utcp *u, struct utcp_conn *c, struct utcp_ack_news *news);
/* The congestion side of a retransmission timeout. */
void utcp_recovery_on_timeout(struct utcp *u, struct utcp_conn *c);
/* The reordering timer of RACK. */
void utcp_recovery_on_reorder_timer(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
/* seg goes out (again) now. */
void utcp_recovery_on_send(struct utcp_conn *c, const struct utcp_seg *seg, uint64_t now_ns);

/* ---- utcp_timer.c --------------------------------------------------------------------------- */

uint32_t utcp_rto_us(const struct utcp_conn *c);
void utcp_timer_rtx_start(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
/* The timer that an ACK leaves behind: RTO, or a tail loss probe before it. */
void utcp_timer_rtx_restart(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
void utcp_timer_reorder_start(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                              uint32_t after_us);
void utcp_timer_rtx_stop(struct utcp_conn *c);
void utcp_timer_delack_start(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
/* Linger when the connection is released, keep-alive when that is on. */
void utcp_timer_idle_start(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
/* Data may go from c->pace_ns on. */
void utcp_timer_pace_start(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
void utcp_timer_conn(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
/* Timer ids of the wheel. */
static inline uint32_t timer_of_neighbour(const struct utcp *u, uint32_t id)
{
    return u->conns.count + id;
}
static inline uint32_t timer_of_address(const struct utcp *u, uint32_t id)
{
    return u->conns.count + u->neighbours.count + id;
}
void utcp_timer_arm(struct utcp *u, uint64_t now_ns, uint32_t timer, uint64_t deadline_ns);

/* ---- utcp_pace.c, utcp_ecn.c ---------------------------------------------------------------- */

/* May data go now? If not, a timer makes c ready again. */
bool utcp_pace_allows(struct utcp *u, uint64_t now_ns, struct utcp_conn *c);
void utcp_pace_sent(const struct utcp *u, uint64_t now_ns, struct utcp_conn *c, uint32_t len);

/* A SYN of the peer with these flags. */
void utcp_ecn_take_syn(struct utcp_conn *c, uint8_t flags);
uint8_t utcp_ecn_syn_flags(const struct utcp_conn *c);
/* What a segment carries: flags of TCP, codepoint of IP. */
uint8_t utcp_ecn_flags(struct utcp_conn *c, bool new_data);
uint8_t utcp_ecn_codepoint(const struct utcp_conn *c, bool new_data);
void utcp_ecn_receive(struct utcp *u, struct utcp_conn *c, uint8_t flags, uint8_t traffic_class);
void utcp_ecn_on_ack(struct utcp *u, struct utcp_conn *c, uint8_t flags);

/* ---- utcp_output.c -------------------------------------------------------------------------- */

/* Is there new data, or FIN, that the peer's window takes and that may go now? */
bool utcp_output_has_new(const struct utcp *u, const struct utcp_conn *c);

/* ---- utcp_half.c: passive opens before the handshake is over --------------------------------- */

struct utcp_half *utcp_half_at(const struct utcp *u, uint32_t map_id);
static inline bool id_is_half(const struct utcp *u, uint32_t map_id)
{
    return map_id > u->conns.count + u->config.limits.time_wait;
}
/* A SYN for a listener; false when there is no room. iss after isn_floor, when that is not 0. */
bool utcp_half_open(struct utcp *u, uint64_t now_ns, const struct utcp_tuple *tuple,
                    const uint8_t mac[6], const struct utcp_segment *syn, uint32_t isn_floor);
/* A segment for a half-open entry. True when it ends the handshake: a connection is to take the
 * place of the entry, by utcp_half_take(). */
bool utcp_half_input(struct utcp *u, uint64_t now_ns, uint32_t map_id, const struct utcp_ip *ip,
                     const uint8_t mac[6], const struct utcp_segment *seg);
struct utcp_half utcp_half_take(struct utcp *u, uint32_t map_id);
void utcp_half_expire(struct utcp *u, uint64_t now_ns);
uint64_t utcp_half_deadline_ns(const struct utcp *u);
void utcp_half_drop_address(struct utcp *u, uint32_t address);
void utcp_half_drop_all(struct utcp *u);

/* ---- utcp_timewait.c ------------------------------------------------------------------------ */

void utcp_tw_add(struct utcp *u, uint64_t now_ns, const struct utcp_conn *c);
struct utcp_tw *utcp_tw_at(const struct utcp *u, uint32_t map_id);
/* A segment for a TIME-WAIT entry. True when it was a SYN that ends the entry and is to be treated
 * as one for a new connection, whose ISN must lie after *ret_isn_floor. */
bool utcp_tw_input(struct utcp *u, uint64_t now_ns, uint32_t map_id, const struct utcp_ip *ip,
                   const uint8_t mac[6], const struct utcp_segment *seg, uint32_t *ret_isn_floor);
void utcp_tw_expire(struct utcp *u, uint64_t now_ns);
uint64_t utcp_tw_deadline_ns(const struct utcp *u);
void utcp_tw_drop_address(struct utcp *u, uint32_t address);

#endif
