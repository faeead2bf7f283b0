/*
 * utcp_timer.c - deadlines of connections and what happens when they pass.
 *
 * A connection has four deadlines (retransmission, loss detection or persist; delayed ACK; linger
 * or keep-alive; pacing) and one timer of the wheel, armed for the earliest of them or earlier: an
 * ACK moves a deadline on without touching the wheel, and the timer finds out when it fires.
 */
#include "tcp/utcp_internal.h"

#define BACKOFF_MAX 16u /* by then every RTO has reached RTO_MAX_US */

void utcp_timer_arm(struct utcp *u, uint64_t now_ns, uint32_t timer, uint64_t deadline_ns)
{
    utcp_wheel_arm(&u->wheel, now_ns / NS_PER_MS, timer, (deadline_ns + NS_PER_MS - 1) / NS_PER_MS);
}

static uint64_t earliest(const struct utcp_conn *c)
{
    uint64_t deadline = c->rtx_deadline_ns;

    if (c->delack_deadline_ns < deadline)
        deadline = c->delack_deadline_ns;
    if (c->idle_deadline_ns < deadline)
        deadline = c->idle_deadline_ns;
    if (c->paced && c->pace_ns < deadline)
        deadline = c->pace_ns;
    return deadline;
}

static void conn_arm(struct utcp *u, uint64_t now_ns, const struct utcp_conn *c)
{
    const uint64_t deadline = earliest(c);
    const uint32_t id = conn_id(u, c);

    if (deadline != TIME_NEVER_NS && (deadline + NS_PER_MS - 1) / NS_PER_MS < u->wheel.expiry[id])
        utcp_timer_arm(u, now_ns, id, deadline);
}

/* RFC 6298 2. */
uint32_t utcp_rto_us(const struct utcp_conn *c)
{
    uint64_t rto = RTO_INITIAL_US;

    if (c->srtt_us != 0)
        rto = (uint64_t)c->srtt_us + 4 * (uint64_t)c->rttvar_us;
    else if ((c->flags & CF_SYN_RTX) != 0 && conn_is_synchronized(c))
        rto = RTO_AFTER_SYN_US;
    if (rto < RTO_MIN_US)
        rto = RTO_MIN_US;
    rto <<= c->backoff;
    return rto < RTO_MAX_US ? (uint32_t)rto : RTO_MAX_US;
}

static void rtx_timer_set(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                          enum conn_timer timer, uint32_t after_us)
{
    c->timer = (uint8_t)timer;
    c->rtx_deadline_ns = now_ns + after_us * NS_PER_US;
    conn_arm(u, now_ns, c);
}

void utcp_timer_rtx_start(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    rtx_timer_set(u, now_ns, c, CONN_TIMER_RTO, utcp_rto_us(c));
}

void utcp_timer_reorder_start(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                              uint32_t after_us)
{
    rtx_timer_set(u, now_ns, c, CONN_TIMER_REO, after_us);
}

void utcp_timer_rtx_restart(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if (utcp_tlp_may_probe(c))
        rtx_timer_set(u, now_ns, c, CONN_TIMER_TLP, utcp_tlp_timeout_us(u, c, now_ns));
    else
        utcp_timer_rtx_start(u, now_ns, c);
}

void utcp_timer_rtx_stop(struct utcp_conn *c)
{
    c->rtx_deadline_ns = TIME_NEVER_NS;
}

void utcp_timer_delack_start(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if (c->delack_deadline_ns != TIME_NEVER_NS)
        return;
    c->delack_deadline_ns = now_ns + DELACK_NS;
    conn_arm(u, now_ns, c);
}

void utcp_timer_idle_start(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    c->idle_deadline_ns = TIME_NEVER_NS;
    if ((c->flags & CF_RELEASED) != 0)
        c->idle_deadline_ns = now_ns + LINGER_NS;
    else if (u->config.keepalive_ms != 0 && conn_is_synchronized(c))
        c->idle_deadline_ns = now_ns + u->config.keepalive_ms * NS_PER_MS;
    conn_arm(u, now_ns, c);
}

void utcp_timer_pace_start(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    conn_arm(u, now_ns, c);
}

/* RFC 9293 3.8.3: has the peer been silent for too long? */
static bool gives_up(const struct utcp_conn *c, uint64_t now_ns)
{
    if (c->state == UTCP_SYN_SENT || c->state == UTCP_SYN_RECEIVED)
        return c->timeouts >= SYN_RETRIES_MAX;
    return c->timeouts > 0 && time_ms(now_ns) - c->r2_since_ms >= R2_NS / NS_PER_MS;
}

static void count_timeout(struct utcp *u, const struct utcp_conn *c)
{
    if (c->state == UTCP_SYN_SENT || c->state == UTCP_SYN_RECEIVED)
        COUNT(u, timeouts_syn);
    else if (c->snd_wnd == 0 || c->seg_head == 0)
        COUNT(u, zero_window_probes);
    else
        COUNT(u, timeouts);
}

static void loss_timeout(struct utcp *u, struct utcp_conn *c)
{
    if (c->state == UTCP_SYN_SENT)
        c->flags &= ~CF_ECN; /* RFC 3168 6.1.1.1: perhaps it is that */
    utcp_path_black_hole(u, c);
    utcp_recovery_on_timeout(u, c);
}

/* The retransmission timer of RFC 6298 5.4-5.6. With a shut window it is the persist timer of RFC
 * 9293 3.8.6.1: what is sent then probes the window and says nothing about the network. */
static void rtx_timeout(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if (gives_up(c, now_ns)) {
        COUNT(u, timeouts_r2);
        utcp_conn_close(u, now_ns, c, UTCP_CLOSE_TIMEOUT);
        return;
    }
    count_timeout(u, c);
    if (c->seg_head == 0)
        c->flags |= CF_PROBE;
    else if (c->snd_wnd == 0 && conn_is_synchronized(c))
        utcp_sendq_resend_head(u, c);
    else
        loss_timeout(u, c);
    if (c->timeouts == 0)
        c->r2_since_ms = time_ms(now_ns);
    if (c->timeouts < UINT8_MAX)
        c->timeouts++;
    if (c->backoff < BACKOFF_MAX)
        c->backoff++;
    utcp_timer_rtx_start(u, now_ns, c);
    utcp_conn_ready(u, c);
}

static void tlp_timeout(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    utcp_timer_rtx_start(u, now_ns, c);
    if (c->seg_head == 0)
        return;
    utcp_tlp_fire(u, c);
    utcp_conn_ready(u, c);
}

/* The deadline of rtx_deadline_ns has passed. */
static void rtx_deadline(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    switch ((enum conn_timer)c->timer) {
    case CONN_TIMER_RTO:
        rtx_timeout(u, now_ns, c);
        return;
    case CONN_TIMER_REO:
        utcp_recovery_on_reorder_timer(u, now_ns, c);
        return;
    case CONN_TIMER_TLP:
        tlp_timeout(u, now_ns, c);
        return;
    }
}

static void delack_timeout(struct utcp *u, struct utcp_conn *c)
{
    c->delack_deadline_ns = TIME_NEVER_NS;
    COUNT(u, acks_delayed);
    c->flags |= CF_ACK_NOW;
    utcp_conn_ready(u, c);
}

/* RFC 9293 3.8.4. What is in flight has a timer of its own. */
static void keepalive_timeout(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if (c->seg_head != 0) {
        utcp_timer_idle_start(u, now_ns, c);
        return;
    }
    COUNT(u, keepalives_out);
    c->keepalives++;
    c->keepalive_now = true;
    c->idle_deadline_ns = now_ns + KEEPALIVE_NS;
    utcp_conn_ready(u, c);
}

/* True when the connection is over. */
static bool idle_timeout(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if ((c->flags & CF_RELEASED) != 0) {
        COUNT(u, linger_timeouts);
        utcp_conn_reset(u, now_ns, c);
        return true;
    }
    if (c->keepalives >= KEEPALIVES_MAX) {
        COUNT(u, timeouts_r2);
        utcp_conn_close(u, now_ns, c, UTCP_CLOSE_TIMEOUT);
        return true;
    }
    keepalive_timeout(u, now_ns, c);
    return false;
}

void utcp_timer_conn(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    if (c->idle_deadline_ns <= now_ns && idle_timeout(u, now_ns, c))
        return;
    if (c->paced && c->pace_ns <= now_ns) {
        c->paced = false;
        utcp_conn_ready(u, c);
    }
    if (c->delack_deadline_ns <= now_ns)
        delack_timeout(u, c);
    if (c->rtx_deadline_ns <= now_ns)
        rtx_deadline(u, now_ns, c);
    if ((c->flags & CF_USED) != 0 && !conn_is_over(c))
        conn_arm(u, now_ns, c);
}

/* ---- the lane ------------------------------------------------------------------------------ */

uint64_t utcp_deadline_ns(const struct utcp *u)
{
    const uint64_t tick = utcp_wheel_next(&u->wheel);
    const uint64_t wheel_ns = tick == UTCP_TICK_NEVER ? TIME_NEVER_NS : tick * NS_PER_MS;
    const uint64_t tw_ns = utcp_tw_deadline_ns(u), half_ns = utcp_half_deadline_ns(u);
    const uint64_t first_ns = wheel_ns < tw_ns ? wheel_ns : tw_ns;

    return first_ns < half_ns ? first_ns : half_ns;
}

void utcp_on_deadline(struct utcp *u, uint64_t now_ns)
{
    uint32_t timer;

    while ((timer = utcp_wheel_expire(&u->wheel, now_ns / NS_PER_MS)) != 0) {
        if (timer <= u->conns.count)
            utcp_timer_conn(u, now_ns, conn_at(u, timer));
        else if (timer <= u->conns.count + u->neighbours.count)
            utcp_neighbour_on_timer(u, now_ns, timer - u->conns.count);
        else
            utcp_address_on_timer(u, now_ns, timer - u->conns.count - u->neighbours.count);
    }
    utcp_tw_expire(u, now_ns);
    utcp_half_expire(u, now_ns);
    utcp_reassembly_expire(u, now_ns);
}
