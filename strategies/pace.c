/*
 * pace.c - additive increase, multiplicative decrease of one path's rate. A provider that asks for
 * a slower pace halves the rate, once a minute at most; ten clean minutes raise it by 10 %. At
 * three times the rate before the first cut there is no limit again.
 *
 * Up to an hour of unused rate is kept, so that mail asked for now and then gets its share.
 */
#include "strategies/parts.h"

#define RATE_MIN_PER_H 60u

static void forget(struct st_pace *p, uint64_t now_ms)
{
    p->sent_q8 = fx_decay(p->sent_q8, fx_decay_steps(&p->decay_ms, now_ms, p->half_ms));
}

/* A steady rate r leaves r x half-life / ln 2 in the decayed sum. */
uint32_t st_pace_rate(const struct st_pace *p)
{
    return fx_clamp32(fx_scale(p->sent_q8, 693 * HOUR_MS / p->half_ms, 1000 * 256));
}

static void rise(struct st_pace *p, uint64_t now_ms)
{
    while (p->rate_per_h != 0 && now_ms - p->step_ms >= 10 * MINUTE_MS) {
        p->step_ms += 10 * MINUTE_MS;
        p->rate_per_h = fx_clamp32((uint64_t)p->rate_per_h * 11 / 10 + 1);
        if (p->rate_per_h / 3 >= p->former_per_h)
            p->rate_per_h = 0;
    }
}

void st_pace_poll(struct st_pace *p, uint64_t now_ms)
{
    if (p->sent_q8 != 0)
        forget(p, now_ms);
    if (p->rate_per_h == 0)
        return;
    uint64_t most = (uint64_t)p->rate_per_h * 256;
    uint64_t more = fx_scale(now_ms - p->token_ms, most, HOUR_MS);
    p->tokens_q8 = p->tokens_q8 + more > most ? most : p->tokens_q8 + more;
    p->token_ms = now_ms;
    rise(p, now_ms);
}

uint32_t st_pace_room(const struct st_pace *p)
{
    return p->rate_per_h == 0 ? UINT32_MAX : (uint32_t)(p->tokens_q8 / 256);
}

uint64_t st_pace_next_ms(const struct st_pace *p, uint64_t now_ms)
{
    return now_ms + (p->rate_per_h == 0 ? MINUTE_MS : HOUR_MS / p->rate_per_h + 1);
}

void st_pace_use(struct st_pace *p, uint64_t now_ms, uint32_t n)
{
    if (p->sent_q8 == 0)
        p->decay_ms = now_ms;
    forget(p, now_ms);
    p->sent_q8 += (uint64_t)n * 256;
    if (p->rate_per_h == 0)
        return;
    ST_INVARIANT(n <= st_pace_room(p));
    p->tokens_q8 -= (uint64_t)n * 256;
}

void st_pace_return(struct st_pace *p, uint32_t n)
{
    p->sent_q8 = fx_sub64(p->sent_q8, (uint64_t)n * 256);
    if (p->rate_per_h != 0)
        p->tokens_q8 += (uint64_t)n * 256;
}

void st_pace_set(struct st_pace *p, uint64_t now_ms, uint32_t rate_per_h)
{
    p->rate_per_h = rate_per_h;
    p->tokens_q8 = 0;
    p->token_ms = p->step_ms = p->cut_ms = now_ms;
}

void st_pace_cut(struct st_pace *p, uint64_t now_ms, uint32_t percent)
{
    if (p->rate_per_h != 0 && now_ms - p->cut_ms < MINUTE_MS)
        return;
    uint32_t rate = st_pace_rate(p);
    if (p->rate_per_h == 0)
        p->former_per_h = fx_max32(rate, RATE_MIN_PER_H);
    else
        rate = fx_min32(rate, p->rate_per_h);
    st_pace_set(p, now_ms, fx_max32(RATE_MIN_PER_H, fx_clamp32((uint64_t)rate * percent / 100)));
}
