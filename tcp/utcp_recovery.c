/*
 * utcp_recovery.c - what loss does to cwnd, and how a wrong reaction is undone.
 *
 *     Open ------ RACK finds a loss, or the third duplicate ACK ------> Recovery
 *     Recovery -- all that was out at its start is acknowledged ------> Open
 *     any ------- retransmission timeout -----------------------------> Loss
 *     Loss ------ the same, or it proves spurious --------------------> Open
 *
 * With SACK a recovery is RFC 6675's with RACK as its eyes (RFC 8985) and PRR as its hand on cwnd
 * (RFC 9937); without it is NewReno (RFC 6582). After a timeout the first segment goes alone, and
 * F-RTO (RFC 5682) waits for two ACKs before all the others are taken as lost.
 *
 * Undo, back to cwnd and ssthresh of before: an ACK that echoes a timestamp older than our first
 * retransmission (Eifel, RFC 3522 and RFC 4015), D-SACKs for all retransmissions (RFC 3708), or
 * F-RTO.
 */
#include "tcp/utcp_internal.h"

#define CWND_MAX          (UINT32_C(1) << 30) /* a flood of duplicates must not wrap it */
#define DUP_ACK_THRESHOLD 3u

/* ---- undo ---------------------------------------------------------------------------------- */

static void undo_remember(struct utcp_conn *c)
{
    c->undo_cwnd = c->cwnd;
    c->undo_ssthresh = c->ssthresh;
    c->undo_retrans = 0;
}

static void undo_forget(struct utcp_conn *c)
{
    c->undo_cwnd = 0;
    c->undo_retrans = 0;
}

static void undo(struct utcp *u, struct utcp_conn *c)
{
    COUNT(u, congestion_undone);
    if (c->cwnd < c->undo_cwnd)
        c->cwnd = c->undo_cwnd;
    c->ssthresh = c->undo_ssthresh;
    conn_cc(c)->on_undo(c);
    c->flags &= ~(CF_RECOVERY | CF_LOSS);
    c->frto = 0;
    c->dup_acks = 0;
    utcp_sendq_mark_none_lost(u, c);
    undo_forget(c);
}

void utcp_recovery_on_send(struct utcp_conn *c, const struct utcp_seg *seg, uint64_t now_ns)
{
    if ((c->flags & CF_RECOVERY) != 0)
        c->prr_out += seg_seq_len(seg);
    if (seg->tx_count == 0 || c->undo_cwnd == 0)
        return;
    if (c->undo_retrans == 0)
        c->undo_ts = time_ms(now_ns);
    if (c->undo_retrans < INT16_MAX)
        c->undo_retrans++;
}

/* RFC 3522 3.2: the ACK was caused by what was sent before the retransmission. */
static bool echoes_the_original(const struct utcp_conn *c, const struct utcp_ack_news *news)
{
    return c->undo_retrans > 0 && news->acked > 0 && news->has_echo &&
           (c->flags & (CF_RECOVERY | CF_LOSS)) != 0 && seq_lt(news->echo_ms, c->undo_ts);
}

/* RFC 3708: every retransmission has come twice. */
static bool all_came_twice(struct utcp_conn *c, const struct utcp_ack_news *news)
{
    if (!news->dsack || c->undo_retrans <= 0)
        return false;
    return --c->undo_retrans == 0;
}

static bool try_undo(struct utcp *u, struct utcp_conn *c, const struct utcp_ack_news *news)
{
    if (c->undo_cwnd == 0 || (!echoes_the_original(c, news) && !all_came_twice(c, news)))
        return false;
    undo(u, c);
    return true;
}

/* ---- recovery ------------------------------------------------------------------------------ */

/* `recover` keeps a second reaction to the same losses away. */
static void recovery_enter(struct utcp *u, struct utcp_conn *c, uint32_t flight)
{
    COUNT(u, fast_retrans);
    undo_remember(c);
    c->ssthresh = conn_cc(c)->on_congestion(c, flight);
    c->recover = c->snd_nxt - 1;
    c->flags |= CF_RECOVERY;
    c->flags &= ~(CF_PARTIAL_SEEN | CF_TLP_OUT | CF_TLP_RTX);
}

static bool is_repaired(const struct utcp_conn *c)
{
    return seq_gt(c->snd_una, c->recover);
}

/* Everything that this congestion was about is behind us, so it may be reacted to again. */
static bool may_enter(const struct utcp_conn *c)
{
    return (c->flags & (CF_RECOVERY | CF_LOSS)) == 0;
}

/* ---- with SACK: PRR (RFC 9937 6) ------------------------------------------------------------ */

static void prr_start(struct utcp_conn *c)
{
    c->prr_delivered = c->prr_out = 0;
    c->prr_flight = c->snd_nxt - c->snd_una - c->sacked_bytes;
    if (c->prr_flight == 0)
        c->prr_flight = c->mss;
    c->flags |= CF_RTX_NOW; /* the first retransmission is free */
}

static void prr_on_ack(struct utcp_conn *c, const struct utcp_ack_news *news)
{
    const uint32_t pipe = conn_pipe(c);
    int64_t count;

    if (news->delivered == 0)
        return;
    c->prr_delivered += news->delivered;
    if (pipe > c->ssthresh) {
        const uint64_t share = (uint64_t)c->prr_delivered * c->ssthresh;

        count = (int64_t)((share + c->prr_flight - 1) / c->prr_flight) - (int64_t)c->prr_out;
    } else {
        const bool safe = news->acked > 0 && !news->newly_lost;

        count = (int64_t)c->prr_delivered - (int64_t)c->prr_out;
        if (count < (int64_t)news->delivered)
            count = (int64_t)news->delivered;
        if (safe)
            count += c->mss;
        if (count > (int64_t)(c->ssthresh - pipe))
            count = (int64_t)(c->ssthresh - pipe);
    }
    c->cwnd = pipe + (count > 0 ? (uint32_t)count : 0);
    if (c->cwnd < c->mss)
        c->cwnd = c->mss;
}

static void sack_recovery(struct utcp *u, struct utcp_conn *c, struct utcp_ack_news *news)
{
    const uint32_t wait_us = utcp_rack_detect(u, c, news->now_ns, &news->newly_lost);

    if (news->newly_lost && may_enter(c)) {
        recovery_enter(u, c, c->snd_nxt - c->snd_una);
        prr_start(c);
    }
    if ((c->flags & CF_RECOVERY) != 0)
        prr_on_ack(c, news);
    if (wait_us > 0)
        utcp_timer_reorder_start(u, news->now_ns, c, wait_us);
}

void utcp_recovery_on_reorder_timer(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    struct utcp_ack_news news = {.now_ns = now_ns};

    utcp_timer_rtx_restart(u, now_ns, c);
    sack_recovery(u, c, &news);
    utcp_conn_ready(u, c);
}

/* ---- without SACK: NewReno (RFC 6582) ------------------------------------------------------- */

static void reno_partial_ack(struct utcp *u, struct utcp_conn *c, uint32_t acked)
{
    COUNT(u, partial_acks);
    utcp_sendq_resend_head(u, c);
    c->cwnd = c->cwnd > acked ? c->cwnd - acked : 0;
    if (acked >= c->mss)
        c->cwnd += c->mss;
    if (c->cwnd < c->mss)
        c->cwnd = c->mss;
}

static void reno_duplicate(struct utcp *u, struct utcp_conn *c)
{
    if (c->dup_acks < UINT8_MAX)
        c->dup_acks++;
    if ((c->flags & CF_RECOVERY) != 0) {
        if (c->cwnd < CWND_MAX)
            c->cwnd += c->mss;
    } else if (c->dup_acks == DUP_ACK_THRESHOLD && may_enter(c) &&
               seq_gt(c->snd_una - 1, c->recover)) {
        recovery_enter(u, c, c->snd_nxt - c->snd_una - c->limited_bytes);
        c->cwnd = c->ssthresh + DUP_ACK_THRESHOLD * c->mss;
        utcp_sendq_resend_head(u, c);
    }
}

static void reno_recovery(struct utcp *u, struct utcp_conn *c, const struct utcp_ack_news *news)
{
    if (news->duplicate)
        reno_duplicate(u, c);
    else if ((c->flags & CF_RECOVERY) != 0 && news->acked > 0)
        reno_partial_ack(u, c, news->acked);
    else if (news->acked > 0)
        c->dup_acks = 0;
}

/* RFC 6582 3.2 step 3; PRR ends at ssthresh. */
static void recovery_leave(struct utcp_conn *c)
{
    const uint32_t flight = c->snd_nxt - c->snd_una;
    const uint32_t enough = (flight > c->mss ? flight : c->mss) + c->mss;

    c->cwnd = c->ssthresh;
    if ((c->flags & CF_SACK) == 0 && c->cwnd > enough)
        c->cwnd = enough;
    c->flags &= ~CF_RECOVERY;
    c->dup_acks = 0;
    utcp_rack_on_recovered(c);
}

/* ---- timeout -------------------------------------------------------------------------------- */

/* RFC 5682 2.1: no F-RTO for a second timeout, nor out of a recovery, nor with one segment. */
static bool frto_may_start(const struct utcp_conn *c)
{
    return c->timeouts == 0 && (c->flags & (CF_RECOVERY | CF_LOSS)) == 0 && c->segs > 1;
}

/* RFC 5681 3.1 (4) and RFC 6298 5: from the front again, in slow start. A second timeout for the
 * same data leaves ssthresh alone. */
void utcp_recovery_on_timeout(struct utcp *u, struct utcp_conn *c)
{
    if (c->state == UTCP_SYN_SENT || c->state == UTCP_SYN_RECEIVED) {
        c->flags |= CF_SYN_RTX;
        utcp_sendq_resend_head(u, c);
        return;
    }
    c->frto = frto_may_start(c) ? 1 : 0;
    if (c->timeouts == 0) {
        if (may_enter(c))
            undo_remember(c);
        c->ssthresh = conn_cc(c)->on_congestion(c, c->snd_nxt - c->snd_una);
    }
    c->cwnd = c->mss;
    c->recover = c->snd_nxt - 1;
    c->flags &= ~(CF_RECOVERY | CF_TLP_OUT | CF_TLP_RTX | CF_TLP_NOW);
    c->flags |= CF_LOSS;
    c->dup_acks = 0;
    utcp_sendq_resend_head(u, c);
    if (c->frto == 0)
        utcp_sendq_mark_all_lost(u, c, c->recover);
}

/* The others were lost as well: slow start through all of them. In step 3 (a) two new segments are
 * out already. */
static void frto_conventional(struct utcp *u, struct utcp_conn *c)
{
    c->cwnd = (c->frto == 2 ? 3u : 1u) * c->mss;
    c->frto = 0;
    utcp_sendq_mark_all_lost(u, c, c->recover);
}

/* RFC 5682 2.1 steps 2 and 3. True while it has not decided, and when it has just undone. */
static bool frto_on_ack(struct utcp *u, struct utcp_conn *c, const struct utcp_ack_news *news)
{
    if (c->frto == 0 || (news->acked == 0 && !news->duplicate))
        return c->frto != 0;
    if (news->acked == 0) {
        frto_conventional(u, c);
        return false;
    }
    if (c->frto == 2) {
        COUNT(u, timeouts_spurious);
        undo(u, c);
        return true;
    }
    if (!utcp_output_has_new(u, c)) {
        frto_conventional(u, c);
        return false;
    }
    c->frto = 2;
    c->cwnd = conn_pipe(c) + 2u * c->mss;
    return true;
}

/* ---- the way through ------------------------------------------------------------------------ */

/* RFC 8985 7.4: the probe was a retransmission that was needed. */
static void tail_loss_repaired(struct utcp *u, struct utcp_conn *c)
{
    COUNT(u, tail_losses_repaired);
    undo_forget(c);
    c->ssthresh = conn_cc(c)->on_congestion(c, c->cwnd);
    if (c->cwnd > c->ssthresh)
        c->cwnd = c->ssthresh;
}

/* Slow start after a timeout, and what F-RTO would find out, ends with its last byte. */
static void loss_leave(struct utcp_conn *c)
{
    if (!is_repaired(c))
        return;
    c->flags &= ~CF_LOSS;
    c->frto = 0;
}

static void find_losses(struct utcp *u, struct utcp_conn *c, struct utcp_ack_news *news,
                        bool waiting)
{
    if ((c->flags & CF_SACK) != 0)
        sack_recovery(u, c, news);
    else if (!waiting)
        reno_recovery(u, c, news);
}

/* A mark that lies far behind moves along: after 2^31 bytes it would seem to lie ahead. */
static uint32_t follow(uint32_t mark, uint32_t una)
{
    const uint32_t far = UINT32_C(1) << 30;

    return una - mark >= far && una - mark < 2 * far ? una - far / 2 : mark;
}

static void marks_follow(struct utcp_conn *c)
{
    c->recover = follow(c->recover, c->snd_una);
    c->ecn_recover = follow(c->ecn_recover, c->snd_una);
    c->dsack_round = follow(c->dsack_round, c->snd_una);
}

void utcp_recovery_on_ack(struct utcp *u, struct utcp_conn *c, struct utcp_ack_news *news)
{
    const bool was_recovering = (c->flags & CF_RECOVERY) != 0;
    bool waiting;

    if (news->dsack)
        utcp_rack_on_dsack(c);
    if (utcp_tlp_on_ack(c, news) && may_enter(c))
        tail_loss_repaired(u, c);
    (void)try_undo(u, c, news);
    if ((c->flags & CF_RECOVERY) != 0 && is_repaired(c))
        recovery_leave(c);
    if (is_repaired(c))
        c->frto = 0;
    waiting = frto_on_ack(u, c, news);
    find_losses(u, c, news, waiting);
    if (news->acked > 0 && !waiting && !was_recovering && (c->flags & CF_RECOVERY) == 0 &&
        seq_gt(c->snd_una, c->ecn_recover) && news->cwnd_used && conn_is_synchronized(c) &&
        c->cwnd < CWND_MAX)
        conn_cc(c)->on_ack(c, news->acked, news->rtt_us, news->now_ns);
    loss_leave(c);
    marks_follow(c);
}
