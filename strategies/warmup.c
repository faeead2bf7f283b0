/*
 * warmup.c - how many mails a day an address may send to one provider.
 *
 * A cold address starts at 100 a day. A day that qualifies multiplies the cap: x2 below 5,000,
 * x1.4 to 50,000, x1.3 above (SendGrid 1.40 a day, SparkPost 2.13 to 40,000 and 1.30 beyond).
 * Qualified: half of the cap was used, rate and reputation deferrals below 5 %, blocks below what
 * is ordinary (0.2 %), hard bounces below 2 %, complaints below 0.1 %. 5 to 10 % deferred: the cap
 * stays; more, or blocks: it is halved. 30 idle days: start again.
 *
 * Spread: a bucket of an eighth of the cap, filled with a sixteenth of the cap an hour: mail of an
 * office day can use the cap, and the share of the address stays the same from hour to hour. Only
 * the first hundred of a cold address go at once. A day that emptied the bucket counts as used from
 * an eighth on: mail that comes in one burst must be able to qualify. A warm address - a day's need
 * below half of its cap - has a limit of twice the peaks of its last seven days instead, by hour
 * and by day: more than that is a spike.
 */
#include "strategies/parts.h"

#include <string.h>

#define CAP_MAX           100000000u
#define IDLE_DAYS_RESTART 30u
#define LOW_DAYS_HALVE    7u
#define CHANCE            3u

static uint32_t peak7(const uint32_t peaks[7])
{
    uint32_t peak = 0;

    for (unsigned i = 0; i < 7; i++)
        peak = fx_max32(peak, peaks[i]);
    return peak;
}

static uint32_t grown(uint32_t cap)
{
    uint64_t tenths = cap < 5000 ? 20 : cap < 50000 ? 14 : 13;

    return fx_min32(fx_clamp32(cap * tenths / 10), CAP_MAX);
}

static bool above(uint32_t part, uint32_t whole, uint32_t per_mille)
{
    return (uint64_t)part * 1000 >= (uint64_t)whole * per_mille && part > 0;
}

/* What a good sender has too: of a hundred mails two that bounce, or of a thousand one that is
 * complained about, are chance, not a rate. */
static bool above_chance(uint32_t part, uint32_t whole, uint32_t per_mille)
{
    return part >= CHANCE && above(part, whole, per_mille);
}

void st_warmup_halve(struct st_warmup *w)
{
    if (w->cap == 0 || w->halved_today)
        return;
    bool again = w->halved_day != 0 && w->day + 1 - w->halved_day <= 7;
    w->cap = fx_max32(again ? w->cap / 4 : w->cap / 2, WARMUP_START / 4);
    w->halved_today = true;
    w->halved_day = w->day + 1;
}

static bool is_used_enough(const struct st_warmup *w)
{
    return w->used_day >= w->cap / 2 || (w->limited_today && w->used_day >= w->cap / 8);
}

/* The verdict over a day on which mail was sent. */
static void judge_day(struct st_warmup *w)
{
    uint32_t bad = fx_add32(w->n_deferred, w->n_blocked);

    if (w->halved_today)
        return;
    if (w->n_done >= 20 && (above(bad, w->n_done, 100) || above(w->n_blocked, w->n_done, 2))) {
        st_warmup_halve(w);
        return;
    }
    if (above(bad, w->n_done, 50) || above(w->n_blocked, w->n_done, 2) ||
        above_chance(w->n_hard, w->n_done, 20) || above_chance(w->n_complaints, w->n_done, 1))
        return;
    if (is_used_enough(w))
        w->cap = grown(w->cap);
}

static void judge_use(struct st_warmup *w)
{
    w->n_idle_days = w->used_day == 0 ? (uint16_t)(w->n_idle_days + 1) : 0;
    w->n_low_days = w->used_day < w->cap / 10 ? (uint8_t)(w->n_low_days + 1) : 0;
    if (w->used_day > 0 && !w->limited_today && w->used_day <= w->cap / 2)
        w->is_warm = true;
    if (w->n_low_days >= LOW_DAYS_HALVE) {
        w->cap = fx_max32(w->cap / 2, WARMUP_START);
        w->n_low_days = 0;
    }
    if (w->n_idle_days >= IDLE_DAYS_RESTART) {
        *w = (struct st_warmup){
            .cap = WARMUP_START, .day = w->day, .n_idle_days = IDLE_DAYS_RESTART};
    }
}

static void close_day(struct st_warmup *w)
{
    w->used_peak_hour = fx_max32(w->used_peak_hour, w->used_hour);
    w->peak_day[w->day % 7] = w->used_day;
    w->peak_hour[w->day % 7] = w->used_peak_hour;
    if (w->used_day > 0)
        judge_day(w);
    judge_use(w);
    w->used_day = w->used_hour = w->used_peak_hour = 0;
    w->n_done = w->n_deferred = w->n_blocked = w->n_hard = w->n_complaints = 0;
    w->halved_today = w->limited_today = false;
    w->day++;
}

static void roll_day(struct st_warmup *w, uint64_t now_ms)
{
    uint32_t day = (uint32_t)(now_ms / DAY_MS), hour = (uint32_t)(now_ms / HOUR_MS);

    if (w->day + IDLE_DAYS_RESTART + 1 < day) /* longer than a restart takes */
        *w = (struct st_warmup){.cap = WARMUP_START, .day = day, .n_idle_days = IDLE_DAYS_RESTART};
    while (w->day < day)
        close_day(w);
    w->used_peak_hour = fx_max32(w->used_peak_hour, w->used_hour);
    w->used_hour = 0;
    w->hour = hour;
}

static uint32_t peak_limit(const struct st_warmup *w)
{
    return fx_max32(w->cap / 24, 2 * fx_min32(peak7(w->peak_hour), CAP_MAX));
}

static uint32_t bucket(const struct st_warmup *w)
{
    uint32_t most = w->is_warm ? fx_min32(w->cap / 8, peak_limit(w)) : w->cap / 8;

    return fx_max32(most, w->is_warm ? WARMUP_START : WARMUP_START / 4);
}

static uint32_t fill_per_h(const struct st_warmup *w)
{
    return w->is_warm ? fx_max32(bucket(w), 1) : fx_max32(w->cap / 16, 1);
}

static void fill(struct st_warmup *w, uint64_t now_ms)
{
    uint64_t most = (uint64_t)bucket(w) * 256;
    uint64_t more = fx_scale(now_ms - w->token_ms, (uint64_t)fill_per_h(w) * 256, HOUR_MS);

    if (w->tokens_q8 < most)
        w->tokens_q8 = w->tokens_q8 + more > most ? most : w->tokens_q8 + more;
    w->token_ms = now_ms;
}

void st_warmup_start(struct st_warmup *w, uint64_t now_ms, bool is_capped)
{
    *w = (struct st_warmup){.cap = is_capped ? WARMUP_START : 0,
                            .day = (uint32_t)(now_ms / DAY_MS),
                            .hour = (uint32_t)(now_ms / HOUR_MS),
                            .token_ms = now_ms,
                            .tokens_q8 = WARMUP_START * 256};
}

void st_warmup_roll(struct st_warmup *w, uint64_t now_ms)
{
    if (w->cap == 0)
        return;
    if (w->hour != (uint32_t)(now_ms / HOUR_MS))
        roll_day(w, now_ms);
    fill(w, now_ms);
}

void st_warmup_known(struct st_warmup *w, uint32_t n_per_day)
{
    if (w->cap == 0 || n_per_day <= WARMUP_START)
        return;
    w->cap = fx_min32(n_per_day, CAP_MAX / 2) * 2;
    w->is_warm = true;
    for (unsigned i = 0; i < 7; i++) {
        w->peak_day[i] = n_per_day;
        w->peak_hour[i] = n_per_day / 16; /* half as much again as an even hour */
    }
    w->tokens_q8 = (uint64_t)bucket(w) * 256;
}

uint32_t st_warmup_day_limit(const struct st_warmup *w)
{
    uint32_t peak = peak7(w->peak_day);

    if (!w->is_warm)
        return w->cap;
    return fx_min32(w->cap, fx_max32(WARMUP_START, peak > CAP_MAX ? UINT32_MAX : 2 * peak));
}

uint32_t st_warmup_room(const struct st_warmup *w)
{
    if (w->cap == 0)
        return UINT32_MAX;
    return fx_min32(fx_sub32(st_warmup_day_limit(w), w->used_day), (uint32_t)(w->tokens_q8 / 256));
}

void st_warmup_use(struct st_warmup *w, uint32_t n)
{
    if (w->cap == 0)
        return;
    ST_INVARIANT(n <= st_warmup_room(w)); /* I5 */
    w->used_day += n;
    w->used_hour += n;
    w->tokens_q8 -= (uint64_t)n * 256;
    ST_INVARIANT(w->used_day <= w->cap);
}

void st_warmup_return(struct st_warmup *w, uint32_t n)
{
    if (w->cap == 0)
        return;
    w->used_day = fx_sub32(w->used_day, n);
    w->used_hour = fx_sub32(w->used_hour, n);
    w->tokens_q8 += (uint64_t)n * 256;
}

uint64_t st_warmup_next_ms(const struct st_warmup *w, uint64_t now_ms)
{
    if (w->used_day >= st_warmup_day_limit(w))
        return (now_ms / DAY_MS + 1) * DAY_MS;
    return now_ms + 10 * MINUTE_MS;
}
