/*
 * utcp_rack.c - RACK-TLP (RFC 8985): loss detection by time, for peers with SACK.
 *
 * A segment is lost when one that was sent later has been delivered and it is a reordering window
 * too late. Nothing here sends or changes cwnd: utcp_recovery.c reacts to what is marked.
 *
 * TLP: when ACKs stop coming for about two round trips the last segment (or a new one) is sent
 * again, so that the loss of a tail is found by SACK and not by a timeout. Mail needs it: a session
 * is a row of small flights, each with a tail.
 */
#include "tcp/utcp_internal.h"

#define DUP_THRESHOLD    3u
#define REO_PERSIST      16u /* recoveries that a wider window outlives (6.2 step 4) */
#define WORST_DELACK_US  200000u
#define PTO_MIN_US       50000u /* more than the 40 ms for which Linux delays an ACK */
#define PTO_WITHOUT_SRTT 1000000u

/* ---- which was delivered ------------------------------------------------------------------- */

/* Sent later, or at the same time and behind it (6.2 step 2). */
static bool sent_after(uint32_t us_a, uint32_t end_a, uint32_t us_b, uint32_t end_b)
{
    return seq_gt(us_a, us_b) || (us_a == us_b && seq_gt(end_a, end_b));
}

/* Is this ACK one for an earlier transmission of the segment? */
static bool is_ambiguous(const struct utcp_conn *c, const struct utcp_seg *seg,
                         const struct utcp_ack_news *news)
{
    const uint64_t now_us = news->now_ns / NS_PER_US;
    const uint32_t age_us = (uint32_t)now_us - seg->tx_us;

    if (seg->tx_count <= 1)
        return false;
    if (news->has_echo && seq_lt(news->echo_ms, (uint32_t)((now_us - age_us) / 1000)))
        return true;
    return age_us < c->rtt_min_us;
}

void utcp_rack_delivered(struct utcp_conn *c, const struct utcp_seg *seg,
                         const struct utcp_ack_news *news)
{
    const uint32_t end = seg->seq + seg_seq_len(seg);

    if ((seg->flags & SEG_SYN) != 0)
        return;
    if (seq_geq(end, c->rack_fack))
        c->rack_fack = end;
    else if (seg->tx_count <= 1)
        c->flags |= CF_REORDERING; /* step 3 */
    if (is_ambiguous(c, seg, news))
        return;
    if (c->rack_rtt_us == 0 || sent_after(seg->tx_us, end, c->rack_us, c->rack_end)) {
        c->rack_us = seg->tx_us;
        c->rack_end = end;
        c->rack_rtt_us = at_least_1(time_us(news->now_ns) - seg->tx_us);
    }
}

/* ---- reordering window --------------------------------------------------------------------- */

/* Step 4: none at first while three SACKs or a recovery speak for loss; else a quarter of the
 * shortest round trip, more after each round trip with a D-SACK, at most a smoothed one. */
static uint32_t reordering_window_us(const struct utcp_conn *c)
{
    uint64_t us;

    if ((c->flags & CF_REORDERING) == 0 &&
        ((c->flags & (CF_RECOVERY | CF_LOSS)) != 0 || c->sacked_segs >= DUP_THRESHOLD))
        return 0;
    us = (uint64_t)(c->reo_mult + 1u) * (c->rtt_min_us / 4);
    return us < c->srtt_us ? (uint32_t)us : c->srtt_us;
}

void utcp_rack_on_dsack(struct utcp_conn *c)
{
    if (seq_lt(c->snd_una, c->dsack_round))
        return;
    c->dsack_round = c->snd_nxt;
    if (c->reo_mult < UINT8_MAX)
        c->reo_mult++;
    c->reo_persist = REO_PERSIST;
}

void utcp_rack_on_recovered(struct utcp_conn *c)
{
    if (c->reo_persist > 0 && --c->reo_persist == 0)
        c->reo_mult = 0;
}

/* ---- which are lost ------------------------------------------------------------------------ */

/* Step 5. Segments are in order of sequence, not of time, so all are looked at. */
uint32_t utcp_rack_detect(struct utcp *u, struct utcp_conn *c, uint64_t now_ns, bool *ret_lost)
{
    const uint32_t late_us = c->rack_rtt_us + reordering_window_us(c);
    uint32_t wait_us = 0;

    if (c->rack_rtt_us == 0)
        return 0;
    for (uint32_t id = c->seg_head; id != 0; id = seg_at(u, id)->next) {
        const struct utcp_seg *seg = seg_at(u, id);
        const uint32_t age_us = time_us(now_ns) - seg->tx_us;

        if ((seg->flags & (SEG_LOST | SEG_SACKED)) != 0 ||
            !sent_after(c->rack_us, c->rack_end, seg->tx_us, seg->seq + seg_seq_len(seg)))
            continue;
        if (age_us >= late_us) {
            utcp_sendq_mark_lost(u, c, id);
            *ret_lost = true;
        } else if (late_us - age_us > wait_us) {
            wait_us = late_us - age_us;
        }
    }
    return wait_us;
}

/* ---- tail loss probe ----------------------------------------------------------------------- */

/* 7.2: nothing SACKed, no recovery, no probe out already. */
bool utcp_tlp_may_probe(const struct utcp_conn *c)
{
    return (c->flags & CF_SACK) != 0 &&
           (c->flags & (CF_RECOVERY | CF_LOSS | CF_TLP_OUT | CF_TLP_NOW)) == 0 &&
           conn_is_synchronized(c) && c->seg_head != 0 && c->sacked_segs == 0 &&
           c->lost_bytes == 0 && c->timeouts == 0 && c->snd_wnd != 0;
}

/* Never later than the RTO of the first segment would have been. */
uint32_t utcp_tlp_timeout_us(const struct utcp *u, const struct utcp_conn *c, uint64_t now_ns)
{
    const uint32_t age_us = time_us(now_ns) - seg_at(u, c->seg_head)->tx_us;
    const uint32_t rto_us = utcp_rto_us(c);
    const uint32_t rto_left_us = age_us < rto_us ? rto_us - age_us : 1;
    uint32_t pto_us = PTO_WITHOUT_SRTT;

    if (c->srtt_us != 0)
        pto_us = 2 * c->srtt_us < PTO_MIN_US ? PTO_MIN_US : 2 * c->srtt_us;
    if (c->segs == 1)
        pto_us += WORST_DELACK_US;
    return pto_us < rto_left_us ? pto_us : rto_left_us;
}

/* 7.3: new data when there is some, else the last segment again. */
void utcp_tlp_fire(struct utcp *u, struct utcp_conn *c)
{
    COUNT(u, tail_loss_probes);
    c->flags &= ~CF_TLP_RTX;
    if (utcp_output_has_new(u, c)) {
        c->flags |= CF_TLP_NOW;
        return;
    }
    c->flags |= CF_TLP_OUT | CF_TLP_RTX;
    c->tlp_end = c->snd_nxt;
    utcp_sendq_resend_tail(u, c);
}

/* 7.4. */
bool utcp_tlp_on_ack(struct utcp_conn *c, const struct utcp_ack_news *news)
{
    bool repaired = false;

    if ((c->flags & CF_TLP_OUT) == 0 || seq_lt(c->snd_una, c->tlp_end))
        return false;
    if ((c->flags & CF_TLP_RTX) != 0 && !news->dsack) {
        if (c->snd_una == c->tlp_end && !news->duplicate)
            return false; /* the copy may still be acknowledged by a D-SACK */
        repaired = seq_gt(c->snd_una, c->tlp_end);
    }
    c->flags &= ~(CF_TLP_OUT | CF_TLP_RTX);
    return repaired;
}
