/*
 * utcp_output.c - which frame goes out next, and building it.
 *
 * Connections with something to send stand on the ready list and send a few frames each in turn. A
 * connection sends, in this order: RST (it is over), lost segments, new data and FIN, an ACK. The
 * frame is built only when the caller asks for it, so that one ACK answers all that came in before
 * and no frame is ever queued inside the stack.
 *
 * Rules: cwnd (RFC 5681), limited transmit (RFC 3042), the peer's window with silly window
 * avoidance (RFC 9293 3.8.6.2.1), restart after idle (RFC 5681 4.1). No Nagle: the caller says with
 * utcp_push() when a partial segment may go.
 */
#include "tcp/utcp_internal.h"

#define LIMITED_TRANSMIT_MAX 2u
#define OUTPUT_ROW           8u /* frames of one connection before another one's */

/* ---- building a frame ---------------------------------------------------------------------- */

struct plan {
    uint32_t seq;
    uint8_t flags;
    uint8_t codepoint;          /* ECN */
    uint32_t len;               /* of the payload */
    const struct utcp_seg *seg; /* null: no sequence space */
};

static uint32_t put_syn_options(const struct utcp *u, const struct utcp_conn *c, uint8_t *p,
                                uint32_t ts_now)
{
    const bool offer = c->state == UTCP_SYN_SENT; /* an answer repeats only what was offered */
    const struct utcp_options options = {
        .mss = (uint16_t)(u->config.mtu - conn_headers_len(c)),
        .has_wscale = offer || (c->flags & CF_WSCALE) != 0,
        .wscale = u->rcv_wscale,
        .has_timestamps = offer || (c->flags & CF_TIMESTAMPS) != 0,
        .ts_value = ts_now,
        .ts_echo = c->ts_recent,
        .sack_permitted = offer || (c->flags & CF_SACK) != 0,
    };

    return utcp_options_put_syn(p, &options);
}

/* SACK blocks ride on segments without data only: there they never compete with the MSS. */
static uint32_t put_options(const struct utcp *u, struct utcp_conn *c, const struct plan *plan,
                            uint64_t now_ns, uint8_t *p)
{
    const uint32_t ts_now = time_ms(now_ns) + c->ts_offset;
    struct utcp_sack_block blocks[4];
    uint32_t len = 0, n;

    if ((plan->flags & TCP_SYN) != 0)
        return put_syn_options(u, c, p, ts_now);
    if ((c->flags & CF_TIMESTAMPS) != 0)
        len = utcp_options_put_timestamps(p, ts_now, c->ts_recent);
    if ((c->flags & CF_SACK) == 0 || plan->seg != NULL ||
        (c->ooo_head == 0 && c->dsack_start == c->dsack_end))
        return len;
    n = utcp_recvq_sack(u, c, blocks, len == 0 ? 4 : 3);
    return len + utcp_options_put_sack(p + len, blocks, n);
}

/* The window field; rounded up so that the edge never goes back (RFC 7323 2.4). */
static uint16_t advertise_window(const struct utcp *u, struct utcp_conn *c, uint8_t flags)
{
    const uint8_t scale = (flags & TCP_SYN) != 0 ? 0 : c->rcv_wscale;
    uint32_t field;

    if (c->state == UTCP_SYN_SENT)
        return (uint16_t)(u->config.rx_window_bytes < UINT16_MAX ? u->config.rx_window_bytes
                                                                 : UINT16_MAX);
    field = (utcp_recvq_window(u, c) + (1u << scale) - 1) >> scale;
    if (field > UINT16_MAX)
        field = UINT16_MAX;
    if (seq_gt(c->rcv_nxt + (field << scale), c->rcv_adv))
        c->rcv_adv = c->rcv_nxt + (field << scale);
    return (uint16_t)field;
}

static void put_checksum(const struct utcp *u, const struct utcp_frame *frame,
                         const struct utcp_ip_header *ip, uint8_t *tcp, uint32_t header_len)
{
    uint32_t sum = utcp_sum_pseudo(ip->family, ip->src, ip->dst, IP_PROTO_TCP, ip->payload_len);
    bool odd = false;

    if (u->config.tx_checksum_offload) {
        be16_put(tcp + TCP_CHECKSUM_AT, utcp_sum_fold(sum));
        return;
    }
    sum = utcp_sum_add(sum, tcp, header_len, &odd);
    for (uint32_t i = 0; i < frame->n_slices; i++)
        sum = utcp_sum_add(sum, frame->slices[i].data, frame->slices[i].len, &odd);
    be16_put(tcp + TCP_CHECKSUM_AT, (uint16_t)~utcp_sum_fold(sum));
}

static void note_ack_sent(struct utcp_conn *c)
{
    c->rcv_acked = c->rcv_nxt;
    c->flags &= ~CF_ACK_NOW;
    if (c->acks_owed > 0)
        c->acks_owed--;
    c->delack_deadline_ns = TIME_NEVER_NS;
}

static void build(struct utcp *u, uint64_t now_ns, struct utcp_conn *c, const struct plan *plan,
                  struct utcp_frame *frame)
{
    const uint8_t family = conn_family(c);
    uint8_t *tcp = frame->head + ETH_LEN + ip_header_len(family);
    struct utcp_ip_header ip = {.src = address_at(u, c->address)->ip.bytes,
                                .dst = c->remote,
                                .family = family,
                                .proto = IP_PROTO_TCP,
                                .traffic_class = plan->codepoint,
                                .without_checksum = u->config.tx_checksum_offload};
    struct utcp_tcp_header header = {
        .src_port = c->local_port,
        .dst_port = c->remote_port,
        .seq = plan->seq,
        .ack = (plan->flags & TCP_ACK) != 0 ? c->rcv_nxt : 0,
        .flags = plan->flags,
    };
    uint32_t tcp_len;

    header.options_len = (uint8_t)put_options(u, c, plan, now_ns, tcp + TCP_LEN);
    header.window = advertise_window(u, c, plan->flags);
    tcp_len = TCP_LEN + header.options_len;
    frame->n_slices = frame->payload_len = 0;
    if (plan->seg != NULL)
        utcp_sendq_gather(u, plan->seg, plan->len, frame);
    ip.payload_len = tcp_len + frame->payload_len;
    utcp_eth_put(frame->head, neighbour_at(u, c->neighbour)->mac, u->config.mac,
                 ip_eth_type(family));
    (void)utcp_ip_put(frame->head + ETH_LEN, &ip);
    utcp_tcp_put(tcp, &header);
    put_checksum(u, frame, &ip, tcp, tcp_len);
    frame->head_len = (uint32_t)(tcp - frame->head) + tcp_len;
    frame->l2_len = ETH_LEN;
    frame->l3_len = (uint8_t)ip_header_len(family);
    frame->l4_len = (uint8_t)tcp_len;
    frame->ip_family = family;
    if ((plan->flags & TCP_ACK) != 0)
        note_ack_sent(c);
}

/* The new segment is a tail loss probe, when one was due. */
static void note_tlp(struct utcp_conn *c)
{
    if ((c->flags & CF_TLP_NOW) == 0)
        return;
    c->flags &= ~CF_TLP_NOW;
    c->flags |= CF_TLP_OUT;
    c->tlp_end = c->snd_nxt;
}

/* Sends (again) what seg holds. */
static void send_segment(struct utcp *u, uint64_t now_ns, struct utcp_conn *c, struct utcp_seg *seg,
                         struct utcp_frame *frame)
{
    const bool new_data = seg->len > 0 && seg->tx_count == 0;
    const bool cut = seg->len > c->mss;
    struct plan plan = {.seq = seg->seq, .flags = TCP_ACK, .len = seg->len, .seg = seg};

    INVARIANT_HOT((seg->flags & SEG_SACKED) == 0); /* the peer has it */
    plan.flags |= utcp_ecn_flags(c, new_data);
    plan.codepoint = utcp_ecn_codepoint(c, new_data);
    if ((seg->flags & SEG_SYN) != 0)
        plan.flags =
            (c->state == UTCP_SYN_SENT ? TCP_SYN : TCP_SYN | TCP_ACK) | utcp_ecn_syn_flags(c);
    if (cut)
        plan.len = c->mss;
    if ((seg->flags & SEG_FIN) != 0 && !cut)
        plan.flags |= TCP_FIN;
    if (seg->len > 0 && seq_gt(c->snd_push, seg->seq) && seq_leq(c->snd_push, seg->seq + seg->len))
        plan.flags |= TCP_PSH;
    if (seg->tx_count > 0) {
        c->retransmissions++;
        COUNT(u, segs_retrans);
    } else {
        COUNT(u, segs_out);
        if (seg->len > 0)
            COUNT(u, data_segs_out);
    }
    utcp_recovery_on_send(c, seg, now_ns);
    utcp_pace_sent(u, now_ns, c, seg->len);
    utcp_sendq_sent(c, seg, now_ns);
    if (cut)
        seg->flags |= SEG_CUT;
    c->last_send_ms = time_ms(now_ns);
    build(u, now_ns, c, &plan, frame);
    if (c->rtx_deadline_ns == TIME_NEVER_NS || (seg->tx_count == 1 && utcp_tlp_may_probe(c)))
        utcp_timer_rtx_restart(u, now_ns, c);
}

/* ---- what to send -------------------------------------------------------------------------- */

/* No segment is free: c waits until one comes back. */
static bool starve(struct utcp *u, struct utcp_conn *c)
{
    COUNT(u, limit_segments);
    c->queue = QUEUE_STARVED;
    utcp_list_push(&u->starved, u->conn_links, conn_id(u, c));
    return false;
}

static bool emit_rst(struct utcp *u, uint64_t now_ns, struct utcp_conn *c, struct utcp_frame *frame)
{
    const struct plan plan = {.seq = c->snd_nxt, .flags = TCP_RST | TCP_ACK};

    build(u, now_ns, c, &plan, frame);
    COUNT(u, rsts_out);
    COUNT(u, segs_out);
    utcp_conn_free(u, c);
    return true;
}

static bool emit_lost(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                      struct utcp_frame *frame)
{
    struct utcp_seg *seg = utcp_sendq_first_lost(u, c);
    const uint32_t pipe = conn_pipe(c);

    if (seg == NULL)
        return false;
    if ((c->flags & CF_RTX_NOW) == 0 && pipe > 0 && pipe + seg_seq_len(seg) > c->cwnd)
        return false;
    if ((c->flags & CF_RTX_NOW) == 0 && !utcp_pace_allows(u, now_ns, c))
        return false;
    if (seg->len > c->mss)
        (void)utcp_sendq_split(u, c, seg, c->mss); /* if not, its front goes alone */
    c->flags &= ~CF_RTX_NOW;
    send_segment(u, now_ns, c, seg, frame);
    return true;
}

/* How many bytes beyond snd_nxt the peer's window takes. */
static uint32_t usable_window(const struct utcp_conn *c)
{
    const uint32_t edge = c->snd_una + c->snd_wnd;

    return seq_gt(edge, c->snd_nxt) ? edge - c->snd_nxt : 0;
}

/* RFC 3042: each of the first two duplicate ACKs lets one more segment out. */
static uint32_t cwnd_now(const struct utcp_conn *c)
{
    if ((c->flags & CF_TLP_NOW) != 0)
        return UINT32_MAX;
    if ((c->flags & (CF_RECOVERY | CF_LOSS | CF_SACK)) != 0 || c->dup_acks == 0)
        return c->cwnd; /* with SACK, pipe shrinks by itself */
    return c->cwnd +
           (c->dup_acks < LIMITED_TRANSMIT_MAX ? c->dup_acks : LIMITED_TRANSMIT_MAX) * c->mss;
}

/* RFC 5681 4.1: after an idle time of one RTO the old window says nothing any more. */
static void restart_after_idle(struct utcp_conn *c, uint64_t now_ns)
{
    const uint32_t initial = utcp_cc_initial_window(c);

    if (c->seg_head == 0 && c->cwnd > initial &&
        time_ms(now_ns) - c->last_send_ms > utcp_rto_us(c) / 1000)
        c->cwnd = initial;
}

static bool fin_is_due(const struct utcp_conn *c)
{
    return (c->flags & (CF_FIN_QUEUED | CF_FIN_SENT)) == CF_FIN_QUEUED;
}

/* RFC 9293 3.8.6.2.1: a full segment; all there is, when it was pushed; or half of the largest
 * window that the peer ever had. */
static bool worth_sending(const struct utcp_conn *c, uint32_t len, uint32_t pending)
{
    if (len >= c->mss)
        return true;
    if (len == pending)
        return seq_geq(c->snd_push, c->snd_end) || fin_is_due(c);
    if (seq_leq(c->snd_nxt + len, c->snd_push))
        return len > 0 && (len >= c->snd_wnd_max / 2 || usable_window(c) > len);
    return false;
}

/* Bytes of the next new segment, 0 when there is nothing worth sending now. */
static uint32_t new_segment_len(const struct utcp *u, const struct utcp_conn *c, uint32_t pending)
{
    uint32_t len = pending < c->mss ? pending : c->mss;
    const uint32_t usable = usable_window(c);

    if (len > usable)
        len = usable;
    len = utcp_sendq_fit(u, c, len);
    if ((c->flags & CF_PROBE) != 0)
        return len > 0 ? len : (pending > 0 ? 1 : 0);
    return worth_sending(c, len, pending) ? len : 0;
}

/* Nothing is in flight and what waits does not fit the window: the persist timer. */
static void persist(struct utcp *u, uint64_t now_ns, struct utcp_conn *c, uint32_t pending)
{
    const bool pushed = seq_gt(c->snd_push, c->snd_nxt) || fin_is_due(c) || pending >= c->mss;

    if (c->seg_head == 0 && pushed && c->rtx_deadline_ns == TIME_NEVER_NS)
        utcp_timer_rtx_start(u, now_ns, c);
}

static bool may_send_new(const struct utcp_conn *c)
{
    return conn_is_synchronized(c) && c->state != UTCP_FIN_WAIT_2 &&
           (c->snd_end != c->snd_nxt || fin_is_due(c));
}

bool utcp_output_has_new(const struct utcp *u, const struct utcp_conn *c)
{
    const uint32_t pending = c->snd_end - c->snd_nxt;
    uint32_t len;

    if (!may_send_new(c) || c->segs >= CONN_SEGMENTS_MAX || u->segs.free == 0)
        return false;
    len = new_segment_len(u, c, pending);
    return len > 0 || (pending == 0 && fin_is_due(c) && usable_window(c) > 0);
}

static bool emit_new(struct utcp *u, uint64_t now_ns, struct utcp_conn *c, struct utcp_frame *frame)
{
    const uint32_t pending = c->snd_end - c->snd_nxt;
    struct utcp_seg *seg;
    uint32_t len, pipe;
    bool fin, probe;

    if (!may_send_new(c))
        return false;
    restart_after_idle(c, now_ns);
    probe = (c->flags & CF_PROBE) != 0;
    len = new_segment_len(u, c, pending);
    fin = fin_is_due(c) && len == pending && (usable_window(c) > len || probe);
    if (len == 0 && !fin) {
        persist(u, now_ns, c, pending);
        return false;
    }
    pipe = conn_pipe(c);
    if (pipe > 0 && len > 0 && pipe + (uint64_t)len > cwnd_now(c))
        return false;
    if (c->segs >= CONN_SEGMENTS_MAX)
        return false; /* acknowledgements will come */
    if (len > 0 && pipe > 0 && !utcp_pace_allows(u, now_ns, c))
        return false;
    seg = utcp_sendq_segment(u, c, len, fin ? SEG_FIN : 0);
    if (seg == NULL)
        return starve(u, c);
    c->flags &= ~CF_PROBE;
    note_tlp(c);
    if (fin)
        c->flags |= CF_FIN_SENT;
    if (pipe + len > c->cwnd && c->dup_acks > 0 && (c->flags & CF_RECOVERY) == 0) {
        c->limited_bytes += len;
        COUNT(u, limited_transmits);
    }
    send_segment(u, now_ns, c, seg, frame);
    return true;
}

static bool emit_ack(struct utcp *u, uint64_t now_ns, struct utcp_conn *c, struct utcp_frame *frame)
{
    struct plan plan = {.seq = c->snd_nxt, .flags = TCP_ACK};

    /* In SYN-RECEIVED too: the SYN-ACK of one who opened at the same time is answered so. */
    if ((!conn_is_synchronized(c) && c->state != UTCP_SYN_RECEIVED) ||
        ((c->flags & CF_ACK_NOW) == 0 && c->acks_owed == 0 && !c->keepalive_now))
        return false;
    if (c->keepalive_now)
        plan.seq--; /* old, so the peer answers it (RFC 9293 3.8.4) */
    c->keepalive_now = false;
    plan.flags |= utcp_ecn_flags(c, false);
    build(u, now_ns, c, &plan, frame);
    COUNT(u, segs_out);
    return true;
}

static bool emit(struct utcp *u, uint64_t now_ns, struct utcp_conn *c, struct utcp_frame *frame)
{
    if (!utcp_neighbour_ready(u, now_ns, c))
        return false;
    if ((c->flags & CF_RST_OWED) != 0)
        return emit_rst(u, now_ns, c, frame);
    if (emit_lost(u, now_ns, c, frame))
        return true;
    if (c->queue == QUEUE_NONE && emit_new(u, now_ns, c, frame))
        return true;
    return emit_ack(u, now_ns, c, frame);
}

/* It may have more to send; if not, the next turn finds out. OUTPUT_ROW frames of a connection go
 * out in a row, while what is known of it is in the cache, then it goes to the back of the list. */
static void stay_ready(struct utcp *u, struct utcp_conn *c)
{
    if (c->queue != QUEUE_NONE)
        return;
    c->queue = QUEUE_READY;
    if (++u->ready_row < OUTPUT_ROW) {
        utcp_list_push_front(&u->ready, u->conn_links, conn_id(u, c));
        return;
    }
    u->ready_row = 0;
    utcp_list_push(&u->ready, u->conn_links, conn_id(u, c));
}

/* The next connection in turn that has a frame. */
static bool next_from_ready(struct utcp *u, uint64_t now_ns, struct utcp_frame *frame)
{
    uint32_t id;

    while ((id = utcp_list_pop(&u->ready, u->conn_links)) != 0) {
        struct utcp_conn *c = conn_at(u, id);

        c->queue = QUEUE_NONE;
        if (!emit(u, now_ns, c, frame)) {
            u->ready_row = 0;
            continue;
        }
        if ((c->flags & CF_USED) != 0)
            stay_ready(u, c);
        return true;
    }
    return false;
}

bool utcp_output(struct utcp *u, uint64_t now_ns, struct utcp_frame *frame)
{
    if (!utcp_reply_pop(u, frame) && !next_from_ready(u, now_ns, frame) &&
        !utcp_reply_pop(u, frame))
        return false;
    COUNT(u, frames_out);
    COUNT_ADD(u, bytes_out, frame->head_len + frame->payload_len);
    return true;
}
