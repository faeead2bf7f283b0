/*
 * utcp_ack.c - an acknowledgement: RTT (RFC 6298, RFC 7323 4), what it delivers, timers, room in
 * the send queue; and the peer's window (RFC 9293 3.10.7.4). What it means for cwnd is decided in
 * utcp_recovery.c.
 */
#include "tcp/utcp_internal.h"

#define CLOCK_GRANULARITY_US 1000u

/* ---- round-trip time ----------------------------------------------------------------------- */

/* RFC 6298 2.2, 2.3. */
static void rtt_sample(struct utcp_conn *c, uint32_t rtt_us)
{
    if (c->srtt_us == 0) {
        c->srtt_us = rtt_us;
        c->rttvar_us = rtt_us / 2;
    } else {
        const uint32_t error = rtt_us > c->srtt_us ? rtt_us - c->srtt_us : c->srtt_us - rtt_us;

        c->rttvar_us = c->rttvar_us - c->rttvar_us / 4 + error / 4;
        c->srtt_us = c->srtt_us - c->srtt_us / 8 + rtt_us / 8;
    }
    if (rtt_us < c->rtt_min_us)
        c->rtt_min_us = rtt_us;
    c->backoff = 0;
}

/* RFC 7323 4.1: with timestamps even a retransmitted segment gives a sample, to a millisecond. But
 * an ACK with D-SACK was caused by a copy that came late, and echoes what came first: the time
 * since then is our own timeout, and taking it would make the next one longer and longer. */
static uint32_t rtt_from_echo(const struct utcp_ack_news *news)
{
    const uint32_t ms = time_ms(news->now_ns) - news->echo_ms;

    if (!news->has_echo || news->dsack || ms > RTO_MAX_US / 1000)
        return 0;
    return (ms == 0 ? 1 : ms) * CLOCK_GRANULARITY_US;
}

static void take_rtt(struct utcp_conn *c, struct utcp_ack_news *news)
{
    /* Of a handshake in which our SYN-ACK went twice, the same may be true without D-SACK. */
    const bool unsure = c->state == UTCP_SYN_RECEIVED && (c->flags & CF_SYN_RTX) != 0;
    const uint32_t rtt_us = news->rtt_us != 0 || unsure ? news->rtt_us : rtt_from_echo(news);

    if (news->acked > 0 && rtt_us != 0)
        rtt_sample(c, rtt_us);
}

/* ---- new data acknowledged ----------------------------------------------------------------- */

/* RFC 6298 5.2, 5.3; in NewReno recovery only the first partial ACK restarts it (RFC 6582 4,
 * "impatient"). */
static void restart_rtx_timer(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if (c->seg_head == 0) {
        utcp_timer_rtx_stop(c);
        return;
    }
    if ((c->flags & CF_RECOVERY) != 0 && (c->flags & CF_SACK) == 0) {
        if ((c->flags & CF_PARTIAL_SEEN) != 0)
            return;
        c->flags |= CF_PARTIAL_SEEN;
    }
    utcp_timer_rtx_restart(u, now_ns, c);
}

/* Room is told when half of the queue becomes free, and after a refusal. */
static void tell_room(struct utcp *u, struct utcp_conn *c, uint32_t room_before)
{
    const uint32_t half = u->config.tx_queue_bytes / 2;
    const bool refused = (c->flags & (CF_WANT_ROOM | CF_IN_ROOM_LIST)) == CF_WANT_ROOM;

    if (utcp_sendq_room(u, c) < half || (room_before >= half && !refused))
        return;
    if (refused)
        c->flags &= ~CF_WANT_ROOM;
    utcp_conn_event(u, c, UTCP_EV_SENDABLE);
}

/* Growth only when the window was what held the sender back (RFC 7661 3): after half of it was out
 * in slow start, or nearly all of it later. */
static bool cwnd_was_used(const struct utcp_conn *c)
{
    const uint32_t pipe = conn_pipe(c);

    return c->cwnd < c->ssthresh ? 2 * pipe >= c->cwnd : pipe + c->mss > c->cwnd;
}

/* Before the ACK is taken in. */
static struct utcp_ack_news news_start(const struct utcp_conn *c, const struct utcp_segment *seg,
                                       uint64_t now_ns)
{
    return (struct utcp_ack_news){
        .now_ns = now_ns,
        .has_echo = (c->flags & CF_TIMESTAMPS) != 0 && seg->options.has_timestamps,
        .echo_ms = seg->options.ts_echo - c->ts_offset,
        .cwnd_used = cwnd_was_used(c),
    };
}

/* snd_una moved. */
static void progress(struct utcp *u, struct utcp_conn *c, const struct utcp_ack_news *news,
                     uint32_t room_before)
{
    c->timeouts = 0;
    c->limited_bytes = 0;
    restart_rtx_timer(u, news->now_ns, c);
    if ((c->flags & CF_RELEASED) != 0)
        utcp_timer_idle_start(u, news->now_ns, c);
    tell_room(u, c, room_before);
}

void utcp_ack_input(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                    const struct utcp_segment *seg, bool duplicate)
{
    const uint32_t una_before = c->snd_una, sacked_before = c->sacked_bytes;
    const uint32_t room_before = utcp_sendq_room(u, c);
    struct utcp_ack_news news = news_start(c, seg, now_ns);

    news.duplicate = duplicate;
    if (duplicate)
        COUNT(u, dup_acks_in);
    if (seq_gt(seg->ack, c->snd_una))
        utcp_sendq_ack(u, c, seg->ack, &news);
    if ((c->flags & CF_SACK) != 0)
        utcp_sack_input(u, c, seg, &news); /* after it: RACK looks at segments in order */
    news.acked = c->snd_una - una_before;
    news.delivered = news.acked + c->sacked_bytes - sacked_before;
    take_rtt(c, &news);
    if (news.acked > 0)
        progress(u, c, &news, room_before);
    if (news.acked > 0 || duplicate || news.delivered > 0 || news.dsack)
        utcp_recovery_on_ack(u, c, &news);
    utcp_conn_ready(u, c);
}

/* ---- the peer's window --------------------------------------------------------------------- */

static void window_opened(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if (c->zero_window_since_ms != 0)
        c->zero_window_ms += time_ms(now_ns) - c->zero_window_since_ms;
    c->zero_window_since_ms = 0;
    c->backoff = c->timeouts = 0;
    if (c->seg_head == 0) {
        utcp_timer_rtx_stop(c); /* was the persist timer */
        return;
    }
    /* What came to a shut window was thrown away there. */
    utcp_sendq_resend_head(u, c);
    utcp_sendq_mark_all_lost(u, c, c->snd_nxt);
    utcp_timer_rtx_start(u, now_ns, c);
}

/* RFC 9293 3.10.7.4 fifth step, SND.WND. As long as the peer answers probes of a shut window the
 * connection is not given up (3.8.6.1). */
void utcp_ack_window(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                     const struct utcp_segment *seg, bool in_syn)
{
    const uint32_t window = seg->window << (in_syn ? 0 : c->snd_wscale);
    const bool was_shut = c->snd_wnd == 0;

    if (seq_lt(seg->seq, c->snd_wl1) || (seg->seq == c->snd_wl1 && seq_lt(seg->ack, c->snd_wl2)))
        return;
    c->snd_wl1 = seg->seq;
    c->snd_wl2 = seg->ack;
    c->snd_wnd = window;
    if (window > c->snd_wnd_max)
        c->snd_wnd_max = window;
    if (window == 0) {
        c->r2_since_ms = time_ms(now_ns);
        if (c->zero_window_since_ms == 0)
            c->zero_window_since_ms = time_ms(now_ns) | 1; /* 0: open */
    } else if (was_shut) {
        window_opened(u, now_ns, c);
    }
    utcp_conn_ready(u, c);
}
