/*
 * utcp_pace.c - pacing: data leaves at twice cwnd per round trip in slow start and at 1.2 times
 * cwnd later, as Linux does it.
 *
 * The timer wheel ticks in milliseconds, so a millisecond's worth of data may go at once, and after
 * an idle time a burst of PACE_BURST segments. Round trips below PACE_RTT_MIN_US are not paced: the
 * tick is too coarse for them and their queues are short.
 */
#include "tcp/utcp_internal.h"

#define PACE_BURST      10u
#define PACE_RTT_MIN_US 5000u
#define PACE_SLACK_NS   NS_PER_MS

/* How long `len` bytes take at the rate of now. */
static uint64_t pace_time_ns(const struct utcp_conn *c, uint32_t len)
{
    const uint64_t percent = c->cwnd < c->ssthresh ? 200 : 120;

    return (uint64_t)c->srtt_us * len * NS_PER_US * 100 / (percent * c->cwnd);
}

static bool is_paced(const struct utcp *u, const struct utcp_conn *c)
{
    return !u->config.no_pacing && c->srtt_us >= PACE_RTT_MIN_US;
}

bool utcp_pace_allows(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if (!is_paced(u, c) || c->pace_ns <= now_ns + PACE_SLACK_NS)
        return true;
    COUNT(u, paced);
    c->paced = true;
    utcp_timer_pace_start(u, now_ns, c);
    return false;
}

void utcp_pace_sent(const struct utcp *u, uint64_t now_ns, struct utcp_conn *c, uint32_t len)
{
    uint64_t burst_ns;

    if (!is_paced(u, c))
        return;
    burst_ns = pace_time_ns(c, PACE_BURST * c->mss);
    if (c->pace_ns + burst_ns < now_ns)
        c->pace_ns = now_ns > burst_ns ? now_ns - burst_ns : 0;
    c->pace_ns += pace_time_ns(c, len);
}
