/*
 * utcp_input.c - a TCP segment arrives: RFC 9293 3.10.7.
 *
 *     3.10.7.1 CLOSED     input_closed()
 *     3.10.7.2 LISTEN     input_listen()
 *     3.10.7.3 SYN-SENT   input_syn_sent()
 *     3.10.7.4 others     utcp_input_steps.c, one function for each of the eight steps
 *              TIME-WAIT  utcp_timewait.c
 *
 * Every segment that is not used is counted (utcp_counters.def).
 */
#include "tcp/utcp_input.h"

/* ---- 3.10.7.1 CLOSED ----------------------------------------------------------------------- */

static void input_closed(const struct input *in)
{
    if ((in->seg.flags & TCP_RST) != 0) {
        COUNT(in->u, drop_tcp_rst_no_connection);
        return;
    }
    COUNT(in->u, drop_tcp_no_connection);
    utcp_reply_rst(in->u, in->ip, in->mac, &in->seg);
}

/* ---- options of a SYN ---------------------------------------------------------------------- */

/* RFC 7323 2.2, 3.2: scale and timestamps are used when both SYNs have them; we always offer both.
 */
static void take_syn_options(const struct input *in)
{
    const struct utcp_options *options = &in->seg.options;
    struct utcp_conn *c = in->c;

    if (options->mss != 0)
        c->mss_peer = options->mss;
    if (options->has_wscale) {
        c->flags |= CF_WSCALE;
        c->snd_wscale = options->wscale;
        c->rcv_wscale = in->u->rcv_wscale;
    }
    if (options->has_timestamps) {
        c->flags |= CF_TIMESTAMPS;
        c->ts_recent = options->ts_value;
        c->ts_recent_ms = time_ms(in->now_ns);
    }
    if (options->sack_permitted)
        c->flags |= CF_SACK;
    utcp_ecn_take_syn(c, in->seg.flags);
    utcp_conn_set_mss(c);
}

static void take_syn(const struct input *in)
{
    struct utcp_conn *c = in->c;
    const uint32_t window = in->u->config.rx_window_bytes;

    c->rcv_nxt = in->seg.seq + 1;
    c->rcv_acked = in->seg.seq;
    c->rcv_adv = c->rcv_nxt + (window < UINT16_MAX ? window : UINT16_MAX);
    c->rcv_mss = TCP_MSS_DEFAULT4;
    take_syn_options(in);
}

void utcp_input_established(const struct input *in)
{
    struct utcp_conn *c = in->c;

    utcp_conn_enter(c, UTCP_ESTABLISHED);
    c->syn_rtt_us = c->srtt_us;
    c->recover = c->iss - 1;
    c->rack_fack = c->dsack_round = c->snd_una;
    c->ecn_recover = c->iss;
    conn_cc(c)->on_established(c);
    utcp_path_recall_cwnd(in->u, in->now_ns, c);
    utcp_timer_idle_start(in->u, in->now_ns, c);
    c->backoff = c->srtt_us == 0 ? c->backoff : 0;
    if ((c->flags & CF_EMBRYO) != 0) {
        c->flags &= ~CF_EMBRYO;
        utcp_conn_event(in->u, c, UTCP_EV_ACCEPTED);
    } else {
        utcp_conn_event(in->u, c, UTCP_EV_CONNECTED);
    }
    if ((c->flags & CF_FIN_QUEUED) != 0)
        utcp_conn_enter(c, UTCP_FIN_WAIT_1);
    utcp_conn_ready(in->u, c);
}

/* ---- 3.10.7.2 LISTEN ----------------------------------------------------------------------- */

static struct utcp_conn *listen_conn_new(struct input *in, const struct utcp_tuple *tuple)
{
    struct ip_addr remote = {.family = in->ip->family};
    struct utcp_conn *c;

    memcpy(remote.bytes, in->ip->src, ip_addr_len(remote.family));
    if (in->u->segs.free == 0 || utcp_conn_new(in->u, in->now_ns, tuple, &remote, &c) != UTCP_OK)
        return NULL;
    c->flags |= CF_EMBRYO | CF_PASSIVE;
    return c;
}

static void input_listen(struct input *in, const struct utcp_tuple *tuple,
                         const struct utcp_listener *listener, uint32_t isn_floor)
{
    struct utcp_conn *c;

    if ((in->seg.flags & TCP_RST) != 0 || (in->seg.flags & (TCP_SYN | TCP_ACK)) == 0) {
        COUNT(in->u, drop_tcp_listen);
        return;
    }
    if ((in->seg.flags & TCP_ACK) != 0) {
        COUNT(in->u, drop_tcp_listen);
        utcp_reply_rst(in->u, in->ip, in->mac, &in->seg);
        return;
    }
    c = listen_conn_new(in, tuple);
    if (c == NULL) {
        COUNT(in->u, drop_tcp_listen_limit);
        return;
    }
    in->c = c;
    COUNT(in->u, passive_opens);
    c->user = listener->user;
    if (isn_floor != 0 && seq_leq(c->iss, isn_floor))
        c->iss = isn_floor + UINT16_MAX; /* RFC 6191 2: beyond what the old one used */
    take_syn(in);
    c->snd_una = c->snd_nxt = c->snd_end = c->snd_push = c->iss;
    (void)utcp_sendq_segment(in->u, c, 0, SEG_SYN);
    utcp_sendq_resend_head(in->u, c);
    utcp_conn_enter(c, UTCP_SYN_RECEIVED);
    utcp_conn_ready(in->u, c);
}

/* ---- 3.10.7.3 SYN-SENT --------------------------------------------------------------------- */

static void syn_sent_ack(struct input *in)
{
    struct utcp_conn *c = in->c;

    utcp_ack_input(in->u, in->now_ns, c, &in->seg, false);
    c->snd_wl1 = in->seg.seq;
    c->snd_wl2 = in->seg.ack;
    utcp_ack_window(in->u, in->now_ns, c, &in->seg, true);
    c->flags |= CF_ACK_NOW;
    utcp_input_established(in);
    in->seg.seq++;
    in->seg.flags &= (uint8_t)~TCP_SYN;
    utcp_input_step6_to_8(in);
}

/* Both sides opened at once: our SYN goes out again, with the ACK of theirs. */
static void syn_sent_simultaneous(struct input *in)
{
    utcp_conn_enter(in->c, UTCP_SYN_RECEIVED);
    utcp_sendq_resend_head(in->u, in->c);
    utcp_conn_ready(in->u, in->c);
}

static void input_syn_sent(struct input *in)
{
    struct utcp_conn *c = in->c;
    const bool has_ack = (in->seg.flags & TCP_ACK) != 0;

    /* First, the ACK bit. */
    if (has_ack && (seq_leq(in->seg.ack, c->iss) || seq_gt(in->seg.ack, c->snd_nxt))) {
        COUNT(in->u, drop_tcp_syn_sent);
        if ((in->seg.flags & TCP_RST) == 0)
            utcp_reply_rst(in->u, in->ip, in->mac, &in->seg);
        return;
    }
    /* Second, the RST bit. */
    if ((in->seg.flags & TCP_RST) != 0) {
        if (has_ack)
            utcp_conn_close(in->u, in->now_ns, c, UTCP_CLOSE_REFUSED);
        else
            COUNT(in->u, drop_tcp_syn_sent);
        return;
    }
    /* Third, security: none. Fourth, the SYN bit; fifth, neither: drop. */
    if ((in->seg.flags & TCP_SYN) == 0) {
        COUNT(in->u, drop_tcp_syn_sent);
        return;
    }
    take_syn(in);
    if (has_ack)
        syn_sent_ack(in);
    else
        syn_sent_simultaneous(in);
}

/* ---- the way in ---------------------------------------------------------------------------- */

static bool checksum_is_good(const struct utcp_ip *ip)
{
    bool odd = false;
    const uint32_t sum = utcp_sum_pseudo(ip->family, ip->src, ip->dst, IP_PROTO_TCP, ip->len);

    return utcp_sum_fold(utcp_sum_add(sum, ip->data, ip->len, &odd)) == 0xffff;
}

static void dispatch(struct input *in, const struct utcp_tuple *tuple)
{
    struct utcp *u = in->u;
    const struct utcp_listener *listener;
    uint32_t id = utcp_tuple_find(u, tuple);
    uint32_t isn_floor = 0;

    if (id > u->conns.count) {
        if (!utcp_tw_input(u, in->now_ns, id, in->ip, in->mac, &in->seg, &isn_floor))
            return;
        id = 0;
    }
    if (id != 0) {
        in->c = conn_at(u, id);
        if (in->c->state == UTCP_SYN_SENT)
            input_syn_sent(in);
        else
            utcp_input_steps(in);
        return;
    }
    listener = utcp_listener_find(u, tuple->address, tuple->local_port);
    if (listener != NULL)
        input_listen(in, tuple, listener, isn_floor);
    else
        input_closed(in);
}

void utcp_tcp_input(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip, const uint8_t mac[6],
                    bool checksum_good)
{
    struct input in = {.u = u, .now_ns = now_ns, .ip = ip, .mac = mac};
    struct utcp_tuple tuple;

    if (!utcp_tcp_parse(ip->data, ip->len, &in.seg)) {
        COUNT(u, drop_tcp_malformed);
        return;
    }
    if (!checksum_good && !checksum_is_good(ip)) {
        COUNT(u, drop_tcp_checksum);
        return;
    }
    COUNT(u, segs_in);
    tuple = utcp_tuple_from_ip(ip->address, ip->family, ip->src, in.seg.dst_port, in.seg.src_port);
    dispatch(&in, &tuple);
}
