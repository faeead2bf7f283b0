/*
 * volume.c - how much a sender sends: V30, hysteresis, demand.
 *
 * Eligible for own addresses: V30 >= 25,000 on three days running, or 50,000 once; no longer: below
 * 20,000 on fourteen days running. A sender of which nothing is known gets the benefit of the doubt
 * for one day; then its days so far, times 30, count until there are 30 of them.
 *
 * Per provider (auto): 100 a day for each address to enter, below 50 to leave, over seven days.
 */
#include "strategies/parts.h"

#define VOLUME_ONCE    50000u
#define DAYS_TO_ENTER  3u
#define DAYS_TO_LEAVE  14u
#define PROVIDER_ENTER 100u
#define PROVIDER_LEAVE 50u
#define IDLE_DAYS_MAX  300u /* 30 days of mail, 255 of the counters */

uint32_t st_n_addresses(const struct st_sender *sender)
{
    uint32_t n = 0;

    for (uint32_t slot = 0; slot < sender->n_slots; slot++)
        n += sender->slot_route[slot] == STRATEGY_ROUTE_DED;
    return fx_max32(1, n);
}

static uint32_t sum30(const struct st_sender *s)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < 30; i++)
        sum = fx_add32(sum, s->accepted[i]);
    return sum;
}

/* What 30 days would be by the days seen; a figure from the configuration fills up what is missing.
 */
static uint32_t estimate_v30(const struct st_sender *s)
{
    uint32_t n_days = s->day - s->first_day;

    if (n_days >= 30)
        return sum30(s);
    if (s->v30_given != ST_NONE)
        return fx_add32(sum30(s), fx_clamp32((uint64_t)s->v30_given * (30 - n_days) / 30));
    return fx_clamp32((uint64_t)sum30(s) * 30 / fx_max32(1, n_days));
}

static void judge(struct st_sender *s)
{
    s->n_days_above = s->v30 >= VOLUME_ENTER ? (uint8_t)fx_min32(255, s->n_days_above + 1u) : 0;
    s->n_days_below = s->v30 < VOLUME_LEAVE ? (uint8_t)fx_min32(255, s->n_days_below + 1u) : 0;
    if (!s->eligible_known) {
        s->eligible_known = true;
        s->eligible = s->v30 >= VOLUME_LEAVE;
    } else if (s->v30 >= VOLUME_ONCE || s->n_days_above >= DAYS_TO_ENTER) {
        s->eligible = true;
    } else if (s->n_days_below >= DAYS_TO_LEAVE) {
        s->eligible = false;
    }
}

void st_volume_roll(struct st_sender *s, uint64_t now_ms)
{
    uint32_t day = (uint32_t)(now_ms / DAY_MS);

    if (s->day + IDLE_DAYS_MAX < day) /* nothing changes any more: no need to visit each */
        s->day = day - IDLE_DAYS_MAX;
    while (s->day < day) {
        s->day++;
        s->v30 = estimate_v30(s);
        judge(s);
        s->accepted[s->day % 30] = 0;
    }
}

void st_volume_accepted(struct st_sender *s, uint64_t now_ms, uint32_t n)
{
    st_volume_roll(s, now_ms);
    s->accepted[s->day % 30] = fx_add32(s->accepted[s->day % 30], n);
}

static void judge_provider(struct st_cell *c, uint32_t n_addresses)
{
    uint32_t n_days = fx_min32(7, c->day - c->first_day), sum = 0;

    for (unsigned i = 0; i < 7; i++)
        sum = fx_add32(sum, c->accepted[i]);
    uint64_t per_day = (uint64_t)sum / fx_max32(1, n_days);
    bool enough = per_day >= (uint64_t)PROVIDER_ENTER * n_addresses;
    bool too_little = per_day < (uint64_t)PROVIDER_LEAVE * n_addresses;
    if (!c->provider_known)
        c->provider_eligible = !too_little;
    else if (enough)
        c->provider_eligible = true;
    else if (too_little && n_days == 7)
        c->provider_eligible = false;
    c->provider_known = true;
}

void st_cell_roll(struct st_cell *c, uint64_t now_ms, uint32_t n_addresses)
{
    uint32_t day = (uint32_t)(now_ms / DAY_MS);

    if (c->day + 8 < day) /* all seven days are empty: no need to visit each */
        c->day = day - 8;
    while (c->day < day) {
        c->demand_peak[c->day % 7] = c->demand_day;
        c->demand_day = 0;
        c->day++;
        judge_provider(c, n_addresses);
        c->accepted[c->day % 7] = 0;
    }
}
