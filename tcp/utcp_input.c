/*
 * utcp_input.c - a TCP segment arrives: RFC 9293 3.10.7.
 *
 *     3.10.7.1 CLOSED     input_closed()
 *     3.10.7.2 LISTEN     input_listen(), and SYN-RECEIVED after it utcp_half.c
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

static void input_listen(const struct input *in, const struct utcp_tuple *tuple, uint32_t isn_floor)
{
    if ((in->seg.flags & TCP_RST) != 0 || (in->seg.flags & (TCP_SYN | TCP_ACK)) == 0) {
        COUNT(in->u, drop_tcp_listen);
        return;
    }
    if ((in->seg.flags & TCP_ACK) != 0) {
        COUNT(in->u, drop_tcp_listen);
        utcp_reply_rst(in->u, in->ip, in->mac, &in->seg);
        return;
    }
    if (in->u->conns.free == 0 || in->u->segs.free == 0 ||
        !utcp_half_open(in->u, in->now_ns, tuple, in->mac, &in->seg, isn_floor)) {
        COUNT(in->u, drop_tcp_listen_limit);
        return;
    }
    COUNT(in->u, passive_opens);
}

/* ---- the handshake of a passive open ends: a connection takes the place of its entry -------- */

/* As take_syn() would have seen it. */
static struct utcp_segment syn_of(const struct utcp_half *half)
{
    return (struct utcp_segment){
        .seq = half->irs,
        .flags = TCP_SYN | ((half->flags & HALF_ECN) != 0 ? TCP_ECE | TCP_CWR : 0),
        .options = {.mss = half->mss,
                    .has_wscale = (half->flags & HALF_WSCALE) != 0,
                    .wscale = half->wscale,
                    .has_timestamps = (half->flags & HALF_TIMESTAMPS) != 0,
                    .ts_value = half->ts_recent,
                    .sack_permitted = (half->flags & HALF_SACK) != 0},
    };
}

/* Our SYN-ACK, as if it stood in the queue since it was sent. */
static void put_syn_ack(const struct input *in, const struct utcp_half *half)
{
    struct utcp_conn *c = in->c;
    struct utcp_seg *seg;

    c->snd_una = c->snd_nxt = c->snd_end = c->snd_push = c->iss = half->iss;
    seg = utcp_sendq_segment(in->u, c, 0, SEG_SYN);
    INVARIANT(seg != NULL);
    seg->tx_us = half->sent_us;
    seg->tx_count = (uint8_t)(half->timeouts + 1);
    if (half->timeouts > 0)
        c->flags |= CF_SYN_RTX;
    c->rcv_acked = c->rcv_nxt;
}

/* A host of this link that completed a handshake is where its frames come from, until it has
 * answered a question. A gateway is asked for as ever: frames from beyond it prove nothing. */
static void find_neighbour(const struct input *in, const struct utcp_half *half)
{
    const struct utcp_neighbour *n = neighbour_at(in->u, in->c->neighbour);

    if ((n->state == NEIGHBOUR_FAILED || n->state == NEIGHBOUR_INCOMPLETE) &&
        memcmp(n->ip.bytes, half->remote, sizeof half->remote) == 0)
        utcp_neighbour_learn(in->u, in->now_ns, in->c->neighbour, half->mac, false);
    (void)utcp_neighbour_ready(in->u, in->now_ns, in->c);
}

static bool promote(struct input *in, const struct utcp_tuple *tuple, uint32_t id)
{
    const struct utcp_listener *listener =
        utcp_listener_find(in->u, tuple->address, tuple->local_port);
    const struct utcp_segment last = in->seg;
    struct ip_addr remote = {.family = in->ip->family};
    struct utcp_half half;

    memcpy(remote.bytes, in->ip->src, ip_addr_len(remote.family));
    if (in->u->conns.free == 0 || in->u->segs.free == 0)
        return false;
    half = utcp_half_take(in->u, id);
    if (listener == NULL || utcp_conn_new(in->u, in->now_ns, tuple, &remote, &in->c) != UTCP_OK)
        return false;
    in->c->flags |= CF_EMBRYO | CF_PASSIVE;
    in->c->user = listener->user;
    in->seg = syn_of(&half);
    take_syn(in);
    in->seg = last;
    if ((half.flags & HALF_ECN) != 0)
        in->c->flags |= CF_ECN;
    put_syn_ack(in, &half);
    utcp_conn_enter(in->c, UTCP_SYN_RECEIVED);
    utcp_timer_rtx_start(in->u, in->now_ns, in->c);
    find_neighbour(in, &half);
    return true;
}

static void input_half_open(struct input *in, const struct utcp_tuple *tuple, uint32_t id)
{
    if (!utcp_half_input(in->u, in->now_ns, id, in->ip, in->mac, &in->seg))
        return;
    if (promote(in, tuple, id))
        utcp_input_steps(in);
    else
        COUNT(in->u, drop_tcp_listen_limit); /* as if the ACK had been lost */
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

    if (id != 0 && id_is_half(u, id)) {
        input_half_open(in, tuple, id);
        return;
    }
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
        input_listen(in, tuple, isn_floor);
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
