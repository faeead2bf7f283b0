/* utcp_cc.c - congestion control NewReno: RFC 5681 slow start and congestion avoidance with
 * appropriate byte counting (RFC 3465), initial window of RFC 6928. */
#include "tcp/utcp_internal.h"

#define SSTHRESH_INITIAL (UINT32_C(1) << 30)

uint32_t utcp_cc_initial_window(const struct utcp_conn *c)
{
    const uint32_t mss = c->mss;

    /* RFC 5681 3.1: one segment when the SYN was lost. */
    if ((c->flags & CF_SYN_RTX) != 0)
        return mss;
    return 10 * mss < 14600 ? 10 * mss : (2 * mss > 14600 ? 2 * mss : 14600);
}

static void newreno_established(struct utcp_conn *c)
{
    c->cwnd = utcp_cc_initial_window(c);
    c->ssthresh = SSTHRESH_INITIAL;
    c->cc_state.reno_acked = 0;
}

/* RFC 3465 2.2, 2.3: L = 2, but 1 in the slow start after a timeout. */
static void newreno_ack(struct utcp_conn *c, uint32_t acked, uint32_t rtt_us, uint64_t now_ns)
{
    const uint32_t limit = (c->flags & CF_LOSS) != 0 ? c->mss : 2u * c->mss;

    (void)rtt_us;
    (void)now_ns;
    if (c->cwnd < c->ssthresh) {
        c->cwnd += acked < limit ? acked : limit;
        return;
    }
    c->cc_state.reno_acked += acked;
    if (c->cc_state.reno_acked >= c->cwnd) {
        c->cc_state.reno_acked -= c->cwnd;
        c->cwnd += c->mss;
    }
}

/* RFC 5681 (4). */
static uint32_t newreno_congestion(struct utcp_conn *c, uint32_t flight)
{
    c->cc_state.reno_acked = 0;
    return flight / 2 > 2u * c->mss ? flight / 2 : 2u * c->mss;
}

static void newreno_undo(struct utcp_conn *c)
{
    c->cc_state.reno_acked = 0;
}

const struct utcp_cc_ops utcp_cc_newreno = {
    .name = "newreno",
    .on_established = newreno_established,
    .on_ack = newreno_ack,
    .on_congestion = newreno_congestion,
    .on_undo = newreno_undo,
};

const struct utcp_cc_ops *const utcp_cc_table[] = {
    [UTCP_CONGESTION_CUBIC] = &utcp_cc_cubic,
    [UTCP_CONGESTION_NEWRENO] = &utcp_cc_newreno,
};
