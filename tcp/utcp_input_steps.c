/*
 * utcp_input_steps.c - a segment for a connection that is neither closed, listening nor in
 * SYN-SENT: RFC 9293 3.10.7.4, one function for each step.
 *
 * A step returns true when the next one follows, false when the segment is done with; the
 * connection may be gone then. Step 3 (security) is empty. Changes to RFC 9293 by others: PAWS (RFC
 * 7323 5) in step 1, blind attacks (RFC 5961) in steps 2, 4 and 5. The urgent pointer is ignored.
 */
#include "tcp/utcp_input.h"

/* ---- step 1: sequence number, and PAWS --------------------------------------------- */

/* RFC 7323 5.3 R1. A segment without the timestamp agreed on is taken (the RFC would drop it, but
 * there are middleboxes that strip them) and counted. */
static bool paws_accepts(const struct input *in)
{
    const struct utcp_conn *c = in->c;

    if ((c->flags & CF_TIMESTAMPS) == 0 || (in->seg.flags & TCP_RST) != 0)
        return true;
    if (!in->seg.options.has_timestamps) {
        COUNT(in->u, rx_no_timestamp);
        return true;
    }
    return seq_geq(in->seg.options.ts_value, c->ts_recent) ||
           time_ms(in->now_ns) - c->ts_recent_ms > PAWS_VALID_MS;
}

/* RFC 7323 4.3 (2): the timestamp to echo is that of the segment that the ACK number last sent
 * waited for. */
static void paws_update(const struct input *in)
{
    struct utcp_conn *c = in->c;

    if ((c->flags & CF_TIMESTAMPS) == 0 || !in->seg.options.has_timestamps ||
        seq_lt(in->seg.options.ts_value, c->ts_recent) || seq_gt(in->seg.seq, c->rcv_acked))
        return;
    c->ts_recent = in->seg.options.ts_value;
    c->ts_recent_ms = time_ms(in->now_ns);
}

/* The table of RFC 9293 3.4 (four cases). */
static bool in_window(const struct utcp_conn *c, const struct utcp_segment *seg)
{
    const uint32_t window = c->rcv_adv - c->rcv_nxt;
    const uint32_t len = utcp_segment_seq_len(seg);
    const uint32_t at = seg->seq - c->rcv_nxt;
    const uint32_t last = at + len - 1;

    if (len == 0)
        return window == 0 ? at == 0 : at < window;
    return window > 0 && (at < window || last < window);
}

/* Not acceptable: answered by an ACK, so that both sides agree again. Segments with data are
 * exempt from the limit of challenge ACKs: a peer that retransmits must hear what we have. */
static void refuse_sequence(struct input *in)
{
    struct utcp_conn *c = in->c;

    if ((in->seg.flags & TCP_RST) != 0) {
        COUNT(in->u, drop_tcp_rst_window);
        return;
    }
    /* The peer did not get our SYN-ACK. */
    if (c->state == UTCP_SYN_RECEIVED && (in->seg.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
        in->seg.seq + 1 == c->rcv_nxt) {
        utcp_sendq_resend_head(in->u, c);
        utcp_conn_ready(in->u, c);
        return;
    }
    if (in->seg.len > 0 && seq_leq(in->seg.seq + in->seg.len, c->rcv_nxt)) {
        COUNT(in->u, rx_data_duplicate);
        utcp_recvq_note_duplicate(c, in->seg.seq, in->seg.seq + in->seg.len);
    } else {
        COUNT(in->u, drop_tcp_window);
    }
    if (utcp_segment_seq_len(&in->seg) > 0 && (in->seg.flags & TCP_SYN) == 0) {
        c->flags |= CF_ACK_NOW;
        utcp_conn_ready(in->u, c);
    } else {
        utcp_conn_challenge_ack(in->u, in->now_ns, c);
    }
}

/* Whatever comes, the peer is there: keep-alive begins anew. */
static void note_alive(const struct input *in)
{
    if (in->u->config.keepalive_ms == 0 || (in->c->flags & CF_RELEASED) != 0)
        return;
    in->c->keepalives = 0;
    utcp_timer_idle_start(in->u, in->now_ns, in->c);
}

static bool input_step1_sequence(struct input *in)
{
    struct utcp_conn *c = in->c;

    if (!paws_accepts(in)) {
        COUNT(in->u, drop_tcp_paws);
        utcp_conn_challenge_ack(in->u, in->now_ns, c);
        return false;
    }
    note_alive(in);
    if (in_window(c, &in->seg)) {
        paws_update(in);
        return true;
    }
    if (c->rcv_adv == c->rcv_nxt && in->seg.seq == c->rcv_nxt &&
        (in->seg.flags & (TCP_SYN | TCP_RST)) == 0) {
        /* "If the RCV.WND is zero, special allowance should be made to accept valid ACKs". */
        in->zero_window = true;
        c->flags |= CF_ACK_NOW;
        utcp_conn_ready(in->u, c);
        return true;
    }
    refuse_sequence(in);
    return false;
}

/* ---- step 2: RST --------------------------------------------------------------------------- */

static bool input_step2_rst(struct input *in)
{
    struct utcp_conn *c = in->c;

    if ((in->seg.flags & TCP_RST) == 0)
        return true;
    if (in->seg.seq != c->rcv_nxt) {
        COUNT(in->u, drop_tcp_rst_challenged);
        utcp_conn_challenge_ack(in->u, in->now_ns, c);
        return false;
    }
    utcp_conn_close(in->u, in->now_ns, c,
                    c->state == UTCP_SYN_RECEIVED ? UTCP_CLOSE_REFUSED : UTCP_CLOSE_RESET);
    return false;
}

/* ---- step 4: SYN (RFC 5961 4.2) ------------------------------------------------------------ */

static bool input_step4_syn(struct input *in)
{
    if ((in->seg.flags & TCP_SYN) == 0)
        return true;
    COUNT(in->u, drop_tcp_syn_challenged);
    if (in->c->state == UTCP_SYN_RECEIVED && (in->c->flags & CF_EMBRYO) != 0)
        utcp_conn_close(in->u, in->now_ns, in->c, UTCP_CLOSE_RESET); /* back to LISTEN */
    else
        utcp_conn_challenge_ack(in->u, in->now_ns, in->c);
    return false;
}

/* ---- step 5: ACK --------------------------------------------------------------------------- */

static bool ack_in_syn_received(struct input *in)
{
    struct utcp_conn *c = in->c;

    if (seq_leq(in->seg.ack, c->snd_una) || seq_gt(in->seg.ack, c->snd_nxt)) {
        COUNT(in->u, drop_tcp_ack);
        utcp_reply_rst(in->u, in->ip, in->mac, &in->seg);
        return false;
    }
    c->snd_wl1 = in->seg.seq;
    c->snd_wl2 = in->seg.ack;
    utcp_ack_input(in->u, in->now_ns, c, &in->seg, false);
    utcp_ack_window(in->u, in->now_ns, c, &in->seg, false);
    utcp_input_established(in);
    return true;
}

/* RFC 5961 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT. */
static bool ack_is_acceptable(const struct input *in)
{
    const struct utcp_conn *c = in->c;

    return seq_leq(in->seg.ack, c->snd_nxt) &&
           (seq_geq(in->seg.ack, c->snd_una) || c->snd_una - in->seg.ack <= c->snd_wnd_max);
}

/* RFC 5681 2: all five conditions. */
static bool ack_is_duplicate(const struct input *in)
{
    const struct utcp_conn *c = in->c;

    return in->seg.ack == c->snd_una && c->snd_nxt != c->snd_una && in->seg.len == 0 &&
           (in->seg.flags & (TCP_SYN | TCP_FIN)) == 0 &&
           in->seg.window << c->snd_wscale == c->snd_wnd && c->snd_wnd != 0;
}

static bool ack_in_established(struct input *in)
{
    struct utcp_conn *c = in->c;

    if (!ack_is_acceptable(in)) {
        COUNT(in->u, drop_tcp_ack);
        utcp_conn_challenge_ack(in->u, in->now_ns, c);
        return false;
    }
    utcp_ack_input(in->u, in->now_ns, c, &in->seg, ack_is_duplicate(in));
    utcp_ecn_on_ack(in->u, c, in->seg.flags);
    if (seq_geq(in->seg.ack, c->snd_una))
        utcp_ack_window(in->u, in->now_ns, c, &in->seg, false);
    return true;
}

static void enter_time_wait(struct input *in)
{
    const bool ack_owed = in->c->rcv_acked != in->c->rcv_nxt;
    struct utcp_tuple tuple = utcp_conn_tuple(in->c);

    utcp_conn_time_wait(in->u, in->now_ns, in->c);
    if (ack_owed)
        utcp_reply_time_wait(in->u, in->now_ns, in->ip, in->mac,
                             utcp_tw_at(in->u, utcp_tuple_find(in->u, &tuple)));
}

/* Our FIN is acknowledged: FIN-WAIT-1, CLOSING and LAST-ACK move on. */
static bool fin_acked(struct input *in)
{
    struct utcp_conn *c = in->c;

    if ((c->flags & CF_FIN_ACKED) == 0)
        return true;
    switch ((enum utcp_state)c->state) {
    case UTCP_FIN_WAIT_1:
        utcp_conn_enter(c, UTCP_FIN_WAIT_2);
        return true;
    case UTCP_CLOSING:
        enter_time_wait(in);
        return false;
    case UTCP_LAST_ACK:
        utcp_conn_close(in->u, in->now_ns, c, UTCP_CLOSE_NORMAL);
        return false;
    case UTCP_CLOSED:
    case UTCP_LISTEN:
    case UTCP_SYN_SENT:
    case UTCP_SYN_RECEIVED:
    case UTCP_ESTABLISHED:
    case UTCP_FIN_WAIT_2:
    case UTCP_CLOSE_WAIT:
    case UTCP_TIME_WAIT:
        return true;
    }
    return true;
}

static bool input_step5_ack(struct input *in)
{
    if ((in->seg.flags & TCP_ACK) == 0) {
        COUNT(in->u, drop_tcp_no_ack);
        return false;
    }
    if (in->c->state == UTCP_SYN_RECEIVED)
        return ack_in_syn_received(in);
    return ack_in_established(in) && fin_acked(in);
}

/* ---- step 6: URG --------------------------------------------------------------------------- */

static void input_step6_urg(const struct input *in)
{
    if ((in->seg.flags & TCP_URG) != 0)
        COUNT(in->u, rx_urgent);
}

/* ---- step 7: segment text ------------------------------------------------------------------ */

static bool may_receive(const struct utcp_conn *c)
{
    return c->state == UTCP_ESTABLISHED || c->state == UTCP_FIN_WAIT_1 ||
           c->state == UTCP_FIN_WAIT_2;
}

/* Cuts off what we have already, and what lies beyond the window or the peer's FIN. */
static void trim_to_window(struct input *in)
{
    struct utcp_conn *c = in->c;
    struct utcp_segment *seg = &in->seg;
    uint32_t edge = c->rcv_adv;

    if (seq_lt(seg->seq, c->rcv_nxt)) {
        const uint32_t old = c->rcv_nxt - seg->seq;
        const uint32_t cut = old < seg->len ? old : seg->len;

        if (cut > 0)
            utcp_recvq_note_duplicate(c, seg->seq, seg->seq + cut);
        seg->data += cut;
        seg->len -= cut;
        seg->seq += cut;
    }
    if ((c->flags & CF_FIN_KNOWN) != 0 && seq_lt(c->rcv_fin, edge))
        edge = c->rcv_fin;
    else if ((seg->flags & TCP_FIN) != 0 && seq_geq(seg->seq + seg->len, edge))
        seg->flags &= (uint8_t)~TCP_FIN;
    if (seq_gt(seg->seq + seg->len, edge))
        seg->len = seq_gt(edge, seg->seq) ? edge - seg->seq : 0;
}

/* RFC 9293 3.8.6.3: at the latest every second full-sized segment is acknowledged at once. */
static void schedule_ack(struct input *in, bool at_once)
{
    struct utcp_conn *c = in->c;

    if (in->seg.len > c->rcv_mss)
        c->rcv_mss = (uint16_t)in->seg.len;
    if (at_once || c->rcv_nxt - c->rcv_acked >= 2 * c->rcv_mss) {
        c->flags |= CF_ACK_NOW;
        utcp_conn_ready(in->u, c);
    } else {
        utcp_timer_delack_start(in->u, in->now_ns, c);
    }
}

static void text_in_order(struct input *in)
{
    struct utcp_conn *c = in->c;
    const uint32_t len = in->seg.len;
    const bool had_gap = c->ooo_head != 0;

    if ((c->flags & CF_RELEASED) != 0) {
        COUNT(in->u, rx_data_discarded);
        c->rcv_nxt += len;
        c->rcv_adv += len;
        schedule_ack(in, false);
        return;
    }
    if (utcp_recvq_in_order(in->u, c, in->seg.data, len) < len) {
        COUNT(in->u, rx_data_no_block);
        in->seg.flags &= (uint8_t)~TCP_FIN;
        schedule_ack(in, true);
    }
    (void)utcp_recvq_join(in->u, c);
    schedule_ack(in, had_gap);
    utcp_conn_event(in->u, c, UTCP_EV_READABLE);
}

/* RFC 5681 4.2: a duplicate ACK for each, which the peer counts. */
static void text_out_of_order(struct input *in)
{
    struct utcp_conn *c = in->c;

    if ((c->flags & CF_RELEASED) == 0)
        utcp_recvq_out_of_order(in->u, c, in->seg.seq, in->seg.data, in->seg.len);
    if (c->acks_owed < UINT8_MAX)
        c->acks_owed++;
    utcp_conn_ready(in->u, c);
}

static void input_step7_text(struct input *in)
{
    struct utcp_conn *c = in->c;

    trim_to_window(in);
    if (in->seg.len == 0 || !may_receive(c))
        return;
    COUNT(in->u, data_segs_in);
    utcp_ecn_receive(in->u, c, in->seg.flags, in->ip->traffic_class);
    if (in->seg.seq == c->rcv_nxt)
        text_in_order(in);
    else
        text_out_of_order(in);
}

/* ---- step 8: FIN --------------------------------------------------------------------------- */

static void fin_in_order(struct input *in)
{
    struct utcp_conn *c = in->c;

    c->rcv_nxt++;
    c->flags |= CF_FIN_RECEIVED | CF_ACK_NOW;
    utcp_recvq_drop_out_of_order(in->u, c);
    utcp_conn_event(in->u, c, UTCP_EV_EOF);
    utcp_conn_ready(in->u, c);
    if (c->state == UTCP_ESTABLISHED)
        utcp_conn_enter(c, UTCP_CLOSE_WAIT);
    else if (c->state == UTCP_FIN_WAIT_1)
        utcp_conn_enter(c, UTCP_CLOSING);
    else
        enter_time_wait(in);
}

/* A FIN that comes before the data in front of it is remembered. */
static void input_step8_fin(struct input *in)
{
    struct utcp_conn *c = in->c;

    if (!may_receive(c))
        return;
    if ((in->seg.flags & TCP_FIN) != 0 && (c->flags & CF_FIN_KNOWN) == 0) {
        c->flags |= CF_FIN_KNOWN;
        c->rcv_fin = in->seg.seq + in->seg.len;
    }
    if ((c->flags & CF_FIN_KNOWN) == 0)
        return;
    if (c->rcv_nxt == c->rcv_fin)
        fin_in_order(in);
    else if ((in->seg.flags & TCP_FIN) != 0)
        schedule_ack(in, true);
}

/* ---- the way through ----------------------------------------------------------------------- */

void utcp_input_step6_to_8(struct input *in)
{
    input_step6_urg(in);
    if (in->zero_window)
        return;
    input_step7_text(in);
    input_step8_fin(in);
}

void utcp_input_steps(struct input *in)
{
    if (input_step1_sequence(in) && input_step2_rst(in) && input_step4_syn(in) &&
        input_step5_ack(in))
        utcp_input_step6_to_8(in);
}
