/*
 * relay.c - health, quota and price of a relay.
 *
 * Health is about the relay itself (authentication, connect errors), not about what providers say
 * of the mail that it forwards: five failures in a row, or half of the last 50, open it for
 * 5 min x 3^(trips-1), at most 12 h, so that a flapping relay is asked less and less often; then
 * ten mails try it. Trips are forgotten one a day.
 *
 * Quota: 90 % of the daily limit in any 24 h; the last 15 % of that is for transactional mail. One
 * sender takes at most a tenth, or an equal share where fewer than ten compete.
 */
#include "strategies/parts.h"

#define FAILS_IN_ROW      5u
#define RELAY_PROBES      10u
#define RELAY_OPEN_MAX_MS (12 * HOUR_MS)
#define TRIP_FORGET_MS    DAY_MS
#define RELAY_PROBING_MS  (30 * MINUTE_MS)
#define WANTED_OPEN_MS    (5 * MINUTE_MS)
#define QUOTA_WAIT_MS     HOUR_MS
#define PRICE_MAX_PPM     20000u

static void enter(struct st_breaker *b, enum st_breaker_state state, uint64_t now_ms,
                  uint64_t until_ms)
{
    b->state = (uint8_t)state;
    b->since_ms = now_ms;
    b->until_ms = until_ms;
    b->evidence.expires_ms = until_ms;
    b->n_probes_sent = b->n_probes_done = b->n_probes_bad = 0;
}

static void roll(struct st_endpoint *relay, uint64_t now_ms)
{
    uint32_t hour = (uint32_t)(now_ms / HOUR_MS);

    if (hour - relay->hour >= 24 && relay->hour != hour) {
        for (unsigned i = 0; i < 24; i++)
            relay->used_hour[i] = 0;
        relay->hour = hour;
    }
    while (relay->hour < hour)
        relay->used_hour[++relay->hour % 24] = 0;
}

void st_relay_poll(struct st_endpoint *relay, uint64_t now_ms)
{
    struct st_breaker *b = &relay->relay;

    roll(relay, now_ms);
    bool wanted = relay->is_wanted && now_ms - b->since_ms >= WANTED_OPEN_MS;
    relay->is_wanted = false;
    if (b->state == BRK_OPEN && (now_ms >= b->until_ms || wanted))
        enter(b, BRK_HALF_OPEN, now_ms, now_ms + RELAY_PROBING_MS);
    /* No bulk mail came to try it: it is taken as healthy, five failures close it again. */
    if (b->state == BRK_HALF_OPEN && now_ms >= b->until_ms)
        enter(b, BRK_CLOSED, now_ms, NEVER_MS);
}

static uint64_t open_ms(uint8_t n_trips)
{
    uint64_t ms = 5 * MINUTE_MS;

    for (uint8_t i = 1; i < n_trips && ms < RELAY_OPEN_MAX_MS; i++)
        ms *= 3;
    return ms > RELAY_OPEN_MAX_MS ? RELAY_OPEN_MAX_MS : ms;
}

static void trip(struct st_endpoint *relay, uint32_t id, uint64_t now_ms, const char *code)
{
    struct st_breaker *b = &relay->relay;
    uint64_t n_days = b->state == BRK_CLOSED ? (now_ms - b->since_ms) / TRIP_FORGET_MS : 0;

    b->n_trips = n_days >= b->n_trips ? 1 : (uint8_t)(b->n_trips - n_days + 1);
    b->n_trips = b->n_trips > 12 ? 12 : b->n_trips;
    b->cause = STRATEGY_C_R_RELAY_DOWN;
    b->evidence = (struct strategy_evidence){.signal = STRATEGY_SIGNAL_RELAY,
                                             .endpoint = id,
                                             .n = relay->relay_window.n,
                                             .observed = relay->relay_window.bad_q8 / 256u,
                                             .statistic_milli = relay->n_fails_in_row * 1000,
                                             .threshold_milli = FAILS_IN_ROW * 1000,
                                             .since_ms = now_ms};
    (void)snprintf(b->evidence.text, sizeof b->evidence.text, "%s", code);
    enter(b, BRK_OPEN, now_ms, now_ms + open_ms(b->n_trips));
    relay->n_fails_in_row = 0;
    relay->relay_window = (struct window50){0};
}

static void probe_result(struct st_endpoint *relay, uint32_t id, uint64_t now_ms, uint32_t n_good,
                         uint32_t n_bad, const char *code)
{
    struct st_breaker *b = &relay->relay;

    b->n_probes_bad = (uint8_t)fx_min32(255, b->n_probes_bad + n_bad);
    b->n_probes_done = (uint8_t)fx_min32(255, fx_add32(b->n_probes_done + n_bad, n_good));
    if (b->n_probes_bad > 2)
        trip(relay, id, now_ms, code);
    else if (b->n_probes_done >= RELAY_PROBES)
        enter(b, BRK_CLOSED, now_ms, NEVER_MS);
}

void st_relay_result(struct st_endpoint *relay, uint32_t id, uint64_t now_ms, uint32_t n_good,
                     uint32_t n_bad, const char *code)
{
    st_relay_poll(relay, now_ms);
    window50_feed(&relay->relay_window, n_good, n_bad);
    relay->n_fails_in_row = n_good > 0 ? n_bad : fx_add32(relay->n_fails_in_row, n_bad);
    if (relay->relay.state == BRK_HALF_OPEN) {
        probe_result(relay, id, now_ms, n_good, n_bad, code);
        return;
    }
    bool half = relay->relay_window.n == WINDOW_SIZE && window50_mostly_bad(&relay->relay_window);
    if (relay->relay.state == BRK_CLOSED && n_bad > 0 &&
        (relay->n_fails_in_row >= FAILS_IN_ROW || half))
        trip(relay, id, now_ms, code);
}

void st_relay_quota_spent(struct st_endpoint *relay, uint64_t now_ms)
{
    relay->quota_until_ms = now_ms + QUOTA_WAIT_MS;
}

uint32_t st_relay_used_24h(const struct st_endpoint *relay)
{
    uint32_t used = 0;

    for (unsigned i = 0; i < 24; i++)
        used = fx_add32(used, relay->used_hour[i]);
    return used;
}

static uint32_t percent_of(uint32_t n, uint32_t percent)
{
    return fx_clamp32((uint64_t)n * percent / 100);
}

static uint32_t active(const struct st_endpoint *relay)
{
    return fx_max32(1, fx_max32(relay->n_active_today, relay->n_active_before));
}

static uint32_t share_of(uint32_t budget, uint32_t n_active)
{
    return n_active >= 10 ? budget / 10 : budget / n_active;
}

static uint32_t quota_room(const struct st_endpoint *relay, uint32_t used_by_sender,
                           bool is_transactional)
{
    uint32_t room = UINT32_MAX;

    if (relay->n_max_24h != 0) {
        uint32_t budget = percent_of(relay->n_max_24h, 90);
        uint32_t mine = fx_sub32(share_of(budget, active(relay)), used_by_sender);
        room =
            fx_sub32(is_transactional ? budget : percent_of(budget, 85), st_relay_used_24h(relay));
        room = is_transactional ? room : fx_min32(room, mine);
    }
    if (relay->rate_max_per_h != 0) {
        uint32_t hour = percent_of(relay->rate_max_per_h, 90);
        room = fx_min32(room, fx_sub32(hour, relay->used_hour[relay->hour % 24]));
    }
    return room;
}

uint32_t st_relay_room(const struct st_endpoint *relay, uint32_t used_by_sender,
                       bool is_transactional, bool may_probe, uint64_t now_ms)
{
    const struct st_breaker *b = &relay->relay;
    uint32_t room = quota_room(relay, used_by_sender, is_transactional);

    if (b->state == BRK_OPEN || now_ms < relay->quota_until_ms)
        return 0;
    if (b->state == BRK_HALF_OPEN)
        room = may_probe ? fx_min32(room, fx_sub32(RELAY_PROBES, b->n_probes_sent)) : 0;
    return room;
}

void st_relay_use(struct st_endpoint *relay, uint64_t now_ms, uint32_t n)
{
    roll(relay, now_ms);
    uint32_t *used = &relay->used_hour[relay->hour % 24];
    *used = fx_add32(*used, n);
    if (relay->relay.state == BRK_HALF_OPEN)
        relay->relay.n_probes_sent =
            (uint8_t)fx_min32(255, fx_add32(relay->relay.n_probes_sent, n));
}

void st_relay_return(struct st_endpoint *relay, uint64_t now_ms, uint32_t n)
{
    roll(relay, now_ms);
    uint32_t *used = &relay->used_hour[relay->hour % 24];
    *used = fx_sub32(*used, n);
    if (relay->relay.state == BRK_HALF_OPEN)
        relay->relay.n_probes_sent =
            (uint8_t)fx_sub32(relay->relay.n_probes_sent, fx_min32(255, n));
}

uint32_t st_relay_price_ppm(const struct st_endpoint *relay)
{
    if (relay->n_max_24h == 0)
        return 0;
    uint32_t budget = fx_max32(1, percent_of(relay->n_max_24h, 90));
    uint64_t used_ppm = (uint64_t)st_relay_used_24h(relay) * PPM / budget;
    if (used_ppm <= PPM / 2)
        return 0;
    return fx_min32(PRICE_MAX_PPM, (uint32_t)((used_ppm - PPM / 2) * PRICE_MAX_PPM / (PPM / 2)));
}

uint64_t st_relay_next_ms(const struct st_endpoint *relay, uint64_t now_ms)
{
    if (relay->relay.state == BRK_OPEN)
        return relay->relay.until_ms;
    if (now_ms < relay->quota_until_ms)
        return relay->quota_until_ms;
    if (relay->relay.state == BRK_HALF_OPEN)
        return now_ms + MINUTE_MS;
    return (now_ms / HOUR_MS + 1) * HOUR_MS;
}

void st_relay_active(struct st_endpoint *relay, uint32_t *last_day_plus_1, uint64_t now_ms)
{
    uint32_t day = (uint32_t)(now_ms / DAY_MS);

    if (relay->active_day != day) {
        relay->n_active_before = relay->active_day + 1 == day ? relay->n_active_today : 0;
        relay->n_active_today = 0;
        relay->active_day = day;
    }
    if (*last_day_plus_1 != day + 1) {
        *last_day_plus_1 = day + 1;
        relay->n_active_today++;
    }
}
