/*
 * utcp_cubic.c - congestion control CUBIC (RFC 9438) with HyStart++ (RFC 9406).
 *
 * All windows are bytes, all times milliseconds; the cubic itself is computed in segments:
 * W(t) = C * (t - K)^3 + W_max with C = 0.4 and beta = 0.7. Time does not run while the sender has
 * nothing to send (5.8): a gap between two calls moves the epoch on.
 */
#include "tcp/utcp_internal.h"

#define SSTHRESH_INITIAL (UINT32_C(1) << 30)
#define T_LIMIT_MS       INT64_C(100000) /* (t - K) stays inside of 64 bits when cubed */

/* HyStart++ 4.3. */
#define RTT_THRESH_MIN_US 4000u
#define RTT_THRESH_MAX_US 16000u
#define RTT_SAMPLES       8u
#define CSS_DIVISOR       4u
#define CSS_ROUNDS        5u
#define SLOW_START_LIMIT  8u /* segments for each ACK (4.2), without pacing */

/* ---- arithmetic ---------------------------------------------------------------------------- */

static uint32_t cube_root(uint64_t n)
{
    uint32_t root = 0;

    for (uint32_t bit = UINT32_C(1) << 20; bit != 0; bit >>= 1) {
        const uint64_t r = root | bit;

        if (r * r * r <= n)
            root |= bit;
    }
    return root;
}

/* K = cbrt((W_max - cwnd) / C) seconds: 1000 * cbrt(2.5 * segments) milliseconds. */
static uint32_t time_to_w_max_ms(const struct utcp_conn *c)
{
    const struct utcp_cubic *q = &c->cc_state.cubic;

    if (c->cwnd >= q->w_max)
        return 0;
    return cube_root((uint64_t)(q->w_max - c->cwnd) * UINT64_C(2500000000) / c->mss);
}

/* W_cubic(t), bytes; may be below 0 only in theory. */
static uint32_t cubic_window(const struct utcp_conn *c, uint32_t t_ms)
{
    const struct utcp_cubic *q = &c->cc_state.cubic;
    const uint32_t origin = c->cwnd > q->w_max && q->k_ms == 0 ? q->cwnd_prior : q->w_max;
    int64_t d = (int64_t)t_ms - (int64_t)q->k_ms;
    int64_t window;

    if (d > T_LIMIT_MS)
        d = T_LIMIT_MS;
    if (d < -T_LIMIT_MS)
        d = -T_LIMIT_MS;
    /* 0.4 * (d / 1000)^3 segments */
    window = (int64_t)origin + d * d * d / 10000 * 4 * c->mss / 1000000;
    if (window < (int64_t)c->mss)
        return c->mss;
    return window > (int64_t)SSTHRESH_INITIAL ? SSTHRESH_INITIAL : (uint32_t)window;
}

/* ---- slow start ---------------------------------------------------------------------------- */

static void round_start(struct utcp_conn *c)
{
    struct utcp_cubic *q = &c->cc_state.cubic;

    q->rtt_last_us = q->rtt_round_us;
    q->rtt_round_us = UINT32_MAX;
    q->samples = 0;
    q->round_end = c->snd_nxt;
}

static uint32_t rtt_threshold_us(uint32_t rtt_us)
{
    const uint32_t eighth = rtt_us / 8;

    if (eighth < RTT_THRESH_MIN_US)
        return RTT_THRESH_MIN_US;
    return eighth < RTT_THRESH_MAX_US ? eighth : RTT_THRESH_MAX_US;
}

/* 4.2: does the round trip grow? Then slow start turns conservative; it turns back when the round
 * trip shrinks again, and ends after CSS_ROUNDS. */
static void hystart_sample(struct utcp_conn *c, uint32_t rtt_us)
{
    struct utcp_cubic *q = &c->cc_state.cubic;

    if (rtt_us < q->rtt_round_us)
        q->rtt_round_us = rtt_us;
    if (q->samples < UINT8_MAX)
        q->samples++;
    if (q->samples < RTT_SAMPLES)
        return;
    if ((c->flags & CF_CSS) != 0) {
        if (q->rtt_round_us < q->rtt_css_us)
            c->flags &= ~CF_CSS;
    } else if (q->rtt_last_us != UINT32_MAX &&
               q->rtt_round_us >= q->rtt_last_us + rtt_threshold_us(q->rtt_last_us)) {
        c->flags |= CF_CSS;
        q->rtt_css_us = q->rtt_round_us;
        q->css_rounds = 0;
    }
}

static void hystart_round_end(struct utcp_conn *c)
{
    struct utcp_cubic *q = &c->cc_state.cubic;

    round_start(c);
    if ((c->flags & CF_CSS) != 0 && ++q->css_rounds >= CSS_ROUNDS) {
        c->ssthresh = c->cwnd;
        c->flags &= ~CF_CSS;
    }
}

static void slow_start(struct utcp_conn *c, uint32_t acked, uint32_t rtt_us)
{
    const uint32_t limit = (c->flags & CF_LOSS) != 0 ? c->mss : SLOW_START_LIMIT * c->mss;
    uint32_t grow = acked < limit ? acked : limit;

    if ((c->flags & CF_CSS) != 0)
        grow /= CSS_DIVISOR;
    c->cwnd += grow;
    if ((c->flags & CF_LOSS) != 0)
        return; /* 4.3: only for the first slow start */
    if (rtt_us != 0)
        hystart_sample(c, rtt_us);
    if (seq_geq(c->snd_una, c->cc_state.cubic.round_end))
        hystart_round_end(c);
}

/* ---- congestion avoidance ------------------------------------------------------------------- */

static void epoch_start(struct utcp_conn *c, uint32_t now_ms)
{
    struct utcp_cubic *q = &c->cc_state.cubic;

    q->epoch_ms = now_ms | 1;
    q->last_ms = now_ms;
    q->w_est = c->cwnd;
    q->k_ms = time_to_w_max_ms(c);
    if (q->k_ms == 0)
        q->cwnd_prior = c->cwnd; /* beyond W_max: a new one begins here */
}

/* 4.3: what Reno would have, with alpha = 3 * (1 - beta) / (1 + beta) until it has caught up. */
static void reno_estimate(struct utcp_conn *c, uint32_t acked)
{
    struct utcp_cubic *q = &c->cc_state.cubic;
    const uint64_t alpha_per_1000 = q->w_est >= q->cwnd_prior ? 1000 : 529;

    q->w_est += (uint32_t)(alpha_per_1000 * acked * c->mss / ((uint64_t)c->cwnd * 1000));
}

static void avoid(struct utcp_conn *c, uint32_t acked, uint32_t now_ms)
{
    struct utcp_cubic *q = &c->cc_state.cubic;
    const uint32_t srtt_ms = c->srtt_us / 1000;
    uint32_t target, t_ms;

    if (q->epoch_ms == 0)
        epoch_start(c, now_ms);
    if (now_ms - q->last_ms > 2 * srtt_ms + 1000)
        q->epoch_ms += now_ms - q->last_ms;
    q->last_ms = now_ms;
    t_ms = now_ms - q->epoch_ms;
    reno_estimate(c, acked);
    if (cubic_window(c, t_ms) < q->w_est) {
        if (c->cwnd < q->w_est)
            c->cwnd = q->w_est;
        return;
    }
    target = cubic_window(c, t_ms + srtt_ms);
    if (target > c->cwnd + c->cwnd / 2)
        target = c->cwnd + c->cwnd / 2;
    if (target > c->cwnd)
        c->cwnd += (uint32_t)((uint64_t)(target - c->cwnd) * acked / c->cwnd);
}

/* ---- operations ---------------------------------------------------------------------------- */

static void cubic_established(struct utcp_conn *c)
{
    c->cwnd = utcp_cc_initial_window(c);
    c->ssthresh = SSTHRESH_INITIAL;
    c->cc_state.cubic = (struct utcp_cubic){.rtt_round_us = UINT32_MAX, .rtt_last_us = UINT32_MAX};
    c->cc_state.cubic.round_end = c->snd_nxt;
}

static void cubic_ack(struct utcp_conn *c, uint32_t acked, uint32_t rtt_us, uint64_t now_ns)
{
    if (c->cwnd < c->ssthresh)
        slow_start(c, acked, rtt_us);
    else
        avoid(c, acked, time_ms(now_ns));
}

/* 4.6 and 4.7 (fast convergence). */
static uint32_t cubic_congestion(struct utcp_conn *c, uint32_t flight)
{
    struct utcp_cubic *q = &c->cc_state.cubic;
    const uint32_t base = flight < c->cwnd ? flight : c->cwnd;
    uint32_t ssthresh = (uint32_t)((uint64_t)base * 7 / 10);

    q->w_max_before = q->w_max;
    q->w_max = base < q->w_max ? (uint32_t)((uint64_t)base * 17 / 20) : base;
    q->cwnd_prior = base;
    q->epoch_ms = 0;
    c->flags &= ~CF_CSS;
    if (ssthresh < 2u * c->mss)
        ssthresh = 2u * c->mss;
    return ssthresh;
}

/* 4.9. */
static void cubic_undo(struct utcp_conn *c)
{
    struct utcp_cubic *q = &c->cc_state.cubic;

    q->w_max = q->w_max_before;
    q->epoch_ms = 0;
}

const struct utcp_cc_ops utcp_cc_cubic = {
    .name = "cubic",
    .on_established = cubic_established,
    .on_ack = cubic_ack,
    .on_congestion = cubic_congestion,
    .on_undo = cubic_undo,
};
