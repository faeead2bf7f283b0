/*
 * utcp_ack.c - what an acknowledgement means for the sender: RTT (RFC 6298, RFC 7323 4), window
 * (RFC 9293 3.10.7.4), loss recovery (RFC 5681, RFC 6582 NewReno, RFC 3042 limited transmit).
 */
#include "tcp/utcp_internal.h"

#define CWND_MAX             (UINT32_C(1) << 30) /* a flood of duplicates must not wrap it */
#define DUP_ACK_THRESHOLD    3u
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

/* RFC 7323 4.1: with timestamps even a retransmitted segment gives a sample, to a millisecond. */
static uint32_t rtt_from_echo(const struct utcp_conn *c, const struct utcp_segment *seg,
                              uint64_t now_ns)
{
    const uint32_t ms = time_ms(now_ns) + c->ts_offset - seg->options.ts_echo;

    if ((c->flags & CF_TIMESTAMPS) == 0 || !seg->options.has_timestamps || ms > RTO_MAX_US / 1000)
        return 0;
    return (ms == 0 ? 1 : ms) * CLOCK_GRANULARITY_US;
}

/* ---- recovery ------------------------------------------------------------------------------ */

/* RFC 6582 3.2 step 2. `recover` keeps a second reaction to the same losses away. */
static void recovery_enter(struct utcp *u, struct utcp_conn *c)
{
    const uint32_t flight = c->snd_nxt - c->snd_una - c->limited_bytes;

    COUNT(u, fast_retrans);
    c->ssthresh = c->cc->ssthresh(c, flight);
    c->cwnd = c->ssthresh + DUP_ACK_THRESHOLD * c->mss;
    c->recover = c->snd_nxt - 1;
    c->flags |= CF_RECOVERY;
    c->flags &= ~CF_PARTIAL_SEEN;
    utcp_sendq_resend_head(u, c);
}

static void recovery_leave(struct utcp_conn *c)
{
    const uint32_t flight = c->snd_nxt - c->snd_una;
    const uint32_t enough = (flight > c->mss ? flight : c->mss) + c->mss;

    c->cwnd = c->ssthresh < enough ? c->ssthresh : enough;
    c->flags &= ~CF_RECOVERY;
    c->dup_acks = 0;
}

/* RFC 6582 3.2 steps 3 and 4, for an ACK of new data that is already taken in. */
static void recovery_ack(struct utcp *u, struct utcp_conn *c, uint32_t acked)
{
    if (seq_gt(c->snd_una, c->recover)) {
        recovery_leave(c);
        return;
    }
    COUNT(u, partial_acks);
    utcp_sendq_resend_head(u, c);
    c->cwnd = c->cwnd > acked ? c->cwnd - acked : 0;
    if (acked >= c->mss)
        c->cwnd += c->mss;
    if (c->cwnd < c->mss)
        c->cwnd = c->mss;
}

void utcp_ack_duplicate(struct utcp *u, struct utcp_conn *c)
{
    COUNT(u, dup_acks_in);
    if (c->dup_acks < UINT8_MAX)
        c->dup_acks++;
    if ((c->flags & CF_RECOVERY) != 0 && c->cwnd < CWND_MAX)
        c->cwnd += c->mss;
    else if ((c->flags & CF_RECOVERY) == 0 && c->dup_acks == DUP_ACK_THRESHOLD &&
             seq_gt(c->snd_una - 1, c->recover))
        recovery_enter(u, c);
    utcp_conn_ready(u, c);
}

/* RFC 5681 3.1 (4) and RFC 6298 5: everything out counts as lost and is sent again from the front,
 * in slow start. A second timeout for the same data leaves ssthresh alone. */
void utcp_ack_timeout(struct utcp *u, struct utcp_conn *c)
{
    if (c->state == UTCP_SYN_SENT || c->state == UTCP_SYN_RECEIVED) {
        c->flags |= CF_SYN_RTX;
    } else {
        if (c->timeouts == 0)
            c->ssthresh = c->cc->ssthresh(c, c->snd_nxt - c->snd_una);
        c->cwnd = c->mss;
        c->cc_acked = 0;
        c->recover = c->snd_nxt - 1;
    }
    c->flags &= ~CF_RECOVERY;
    c->dup_acks = 0;
    utcp_sendq_mark_all_lost(u, c);
    utcp_sendq_resend_head(u, c);
}

/* ---- new data acknowledged ----------------------------------------------------------------- */

/* RFC 6298 5.2, 5.3; in recovery only the first partial ACK restarts it (RFC 6582 4, "impatient").
 */
static void restart_rtx_timer(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if (c->seg_head == 0) {
        utcp_timer_rtx_stop(c);
        return;
    }
    if ((c->flags & CF_RECOVERY) != 0) {
        if ((c->flags & CF_PARTIAL_SEEN) != 0)
            return;
        c->flags |= CF_PARTIAL_SEEN;
    }
    utcp_timer_rtx_start(u, now_ns, c);
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

void utcp_ack_new(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                  const struct utcp_segment *seg)
{
    const uint32_t acked = seg->ack - c->snd_una;
    const uint32_t room_before = utcp_sendq_room(u, c);
    const bool cwnd_used = cwnd_was_used(c);
    uint32_t rtt_us;

    utcp_sendq_ack(u, c, seg->ack, now_ns, &rtt_us);
    if (rtt_us == 0)
        rtt_us = rtt_from_echo(c, seg, now_ns);
    if (rtt_us != 0)
        rtt_sample(c, rtt_us);
    c->timeouts = 0;
    c->limited_bytes = 0;
    if ((c->flags & CF_RECOVERY) != 0) {
        recovery_ack(u, c, acked);
    } else {
        c->dup_acks = 0;
        if (cwnd_used && conn_is_synchronized(c))
            c->cc->on_ack(c, acked, now_ns);
    }
    restart_rtx_timer(u, now_ns, c);
    if (c->linger_deadline_ns != TIME_NEVER_NS)
        utcp_timer_linger_start(u, now_ns, c);
    tell_room(u, c, room_before);
    utcp_conn_ready(u, c);
}

/* ---- the peer's window --------------------------------------------------------------------- */

static void window_opened(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if (c->zero_window_since_ns != 0)
        c->zero_window_ns += now_ns - c->zero_window_since_ns;
    c->zero_window_since_ns = 0;
    c->backoff = c->timeouts = 0;
    if (c->seg_head == 0) {
        utcp_timer_rtx_stop(c); /* was the persist timer */
        return;
    }
    /* What came to a shut window was thrown away there. */
    utcp_sendq_mark_all_lost(u, c);
    utcp_sendq_resend_head(u, c);
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
        c->r2_since_ns = now_ns;
        if (c->zero_window_since_ns == 0)
            c->zero_window_since_ns = now_ns | 1; /* 0: open */
    } else if (was_shut) {
        window_opened(u, now_ns, c);
    }
    utcp_conn_ready(u, c);
}
