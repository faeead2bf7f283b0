/*
 * breaker.c - the breaker of a path.
 *
 *   CLOSED --deferral alarm, at most half of the last 50 bad--> THROTTLED --60 clean min--> CLOSED
 *   CLOSED, THROTTLED, PROBATION --st_breaker_trip--> OPEN   1 h x 2^(trips-1), at most 24 h
 *   OPEN --timer, or the address is off the block list--> HALF_OPEN   20 probes of bulk mail
 *   HALF_OPEN --at most 2 bad--> PROBATION, --more--> OPEN
 *   PROBATION 10, 20, 40, 80, 100 % of the former rate, a clean hour each --> CLOSED
 *
 * I12: each state ends by time alone. HALF_OPEN without results (no bulk mail) becomes PROBATION
 * after 6 h: that lets mail of any kind through, slowly, and is no probe (I13).
 */
#include "strategies/parts.h"

#define TRIPS_MAX           5u /* 1, 2, 4, 8, 16 h; more: 24 h */
#define TRIP_FORGET_MS      (7 * DAY_MS)
#define PROBE_GAP_MS        (30 * SECOND_MS)
#define HALF_OPEN_MAX_MS    (6 * HOUR_MS)
#define HALF_OPEN_JUDGE_MS  (2 * HOUR_MS)
#define PROBATION_MIN_PER_H 60u

static void enter(struct st_breaker *b, enum st_breaker_state state, uint64_t now_ms,
                  uint64_t until_ms)
{
    b->state = (uint8_t)state;
    b->since_ms = b->clean_since_ms = now_ms;
    b->n_hour_good = b->n_hour_bad = 0;
    b->until_ms = until_ms;
    b->evidence.expires_ms = until_ms;
}

static uint64_t open_ms(const struct st_breaker *b, uint8_t open_h_min)
{
    uint64_t ms = b->n_trips > TRIPS_MAX ? DAY_MS : HOUR_MS << (b->n_trips - 1);

    return open_h_min * HOUR_MS > ms ? open_h_min * HOUR_MS : ms;
}

/* One trip is forgotten for each clean week. */
static void count_trip(struct st_breaker *b, uint64_t now_ms)
{
    uint64_t n_weeks = b->state == BRK_CLOSED ? (now_ms - b->since_ms) / TRIP_FORGET_MS : 0;

    b->n_trips = n_weeks >= b->n_trips ? 0 : (uint8_t)(b->n_trips - n_weeks);
    b->n_trips = b->n_trips < 255 ? (uint8_t)(b->n_trips + 1) : 255;
}

static void detectors_reset(struct st_path *path)
{
    cusum_reset(&path->deferral);
    cusum_reset(&path->reputation);
    path->window = (struct window50){0};
}

static void remember_rate(struct st_path *path)
{
    uint32_t rate = st_pace_rate(&path->pace);

    if (path->breaker.state == BRK_CLOSED || path->breaker.state == BRK_THROTTLED)
        path->breaker.former_per_h = fx_max32(rate, PROBATION_MIN_PER_H);
}

void st_breaker_trip(struct st_path *path, uint64_t now_ms, enum strategy_cause cause,
                     const struct strategy_evidence *evidence)
{
    struct st_breaker *b = &path->breaker;

    if (b->state == BRK_OPEN)
        return;
    remember_rate(path);
    count_trip(b, now_ms);
    b->cause = (uint8_t)cause;
    b->evidence = *evidence;
    enter(b, BRK_OPEN, now_ms, now_ms + open_ms(b, path->open_h_min));
    path->open_h_min = 0;
    detectors_reset(path);
    st_warmup_halve(&path->warmup);
}

void st_breaker_throttle(struct st_path *path, uint64_t now_ms, enum strategy_cause cause,
                         const struct strategy_evidence *evidence)
{
    struct st_breaker *b = &path->breaker;
    bool again = b->state == BRK_THROTTLED;

    remember_rate(path);
    b->cause = (uint8_t)cause;
    b->evidence = *evidence;
    enter(b, BRK_THROTTLED, now_ms, now_ms + HOUR_MS);
    if (!again) /* 0.3 of the rate before, not 0.3 of 0.3 */
        st_pace_cut(&path->pace, now_ms, 30);
    detectors_reset(path);
}

void st_breaker_half_open(struct st_path *path, uint64_t now_ms)
{
    struct st_breaker *b = &path->breaker;

    b->n_probes_sent = b->n_probes_done = b->n_probes_bad = 0;
    enter(b, BRK_HALF_OPEN, now_ms, now_ms + HALF_OPEN_MAX_MS);
    detectors_reset(path);
}

static void probation_step(struct st_path *path, uint64_t now_ms, uint8_t step)
{
    static const uint32_t percent[] = {10, 20, 40, 80, 100};
    struct st_breaker *b = &path->breaker;

    if (step == sizeof percent / sizeof percent[0]) {
        enter(b, BRK_CLOSED, now_ms, NEVER_MS);
        st_pace_set(&path->pace, now_ms, 0);
        return;
    }
    uint32_t rate = fx_clamp32((uint64_t)b->former_per_h * percent[step] / 100);
    b->step = step;
    enter(b, BRK_PROBATION, now_ms, now_ms + HOUR_MS);
    path->pace.former_per_h = UINT32_MAX / 4; /* the breaker lifts the limit, not the pace */
    st_pace_set(&path->pace, now_ms, fx_max32(rate, PROBATION_MIN_PER_H));
}

static void judge_probes(struct st_path *path, uint64_t now_ms)
{
    struct st_breaker *b = &path->breaker;
    bool late = now_ms - b->since_ms >= HALF_OPEN_JUDGE_MS && b->n_probes_done >= PROBES / 2;

    if (b->n_probes_bad > 2) {
        count_trip(b, now_ms);
        enter(b, BRK_OPEN, now_ms, now_ms + open_ms(b, path->open_h_min));
        path->open_h_min = 0;
    } else if (b->n_probes_done >= PROBES || late) {
        probation_step(path, now_ms, 0);
    }
}

/* An hour is over; one bad reply in twenty is still clean: detectors judge, not single replies. */
static bool clean_hour(struct st_breaker *b, uint64_t now_ms)
{
    if (now_ms - b->clean_since_ms < HOUR_MS)
        return false;
    if (b->n_hour_bad <= 2 || (uint64_t)b->n_hour_bad * 19 <= b->n_hour_good)
        return true;
    b->clean_since_ms = now_ms;
    b->n_hour_good = b->n_hour_bad = 0;
    b->until_ms = b->evidence.expires_ms = now_ms + HOUR_MS;
    return false;
}

void st_breaker_poll(struct st_path *path, uint64_t now_ms)
{
    struct st_breaker *b = &path->breaker;

    switch ((enum st_breaker_state)b->state) {
    case BRK_CLOSED:
        return;
    case BRK_THROTTLED:
        if (clean_hour(b, now_ms))
            enter(b, BRK_CLOSED, now_ms, NEVER_MS);
        return;
    case BRK_OPEN:
        if (now_ms >= b->until_ms)
            st_breaker_half_open(path, now_ms);
        return;
    case BRK_HALF_OPEN:
        judge_probes(path, now_ms);
        if (b->state == BRK_HALF_OPEN && now_ms >= b->until_ms)
            probation_step(path, now_ms, 0);
        return;
    case BRK_PROBATION:
        if (clean_hour(b, now_ms))
            probation_step(path, now_ms, (uint8_t)(b->step + 1));
        return;
    }
}

void st_breaker_result(struct st_path *path, uint64_t now_ms, uint32_t n_good, uint32_t n_bad)
{
    struct st_breaker *b = &path->breaker;

    if (b->state == BRK_HALF_OPEN) {
        uint32_t left = PROBES - b->n_probes_done, bad = fx_min32(n_bad, left);
        b->n_probes_bad = (uint8_t)(b->n_probes_bad + bad);
        b->n_probes_done = (uint8_t)(b->n_probes_done + bad + fx_min32(n_good, left - bad));
        judge_probes(path, now_ms);
        return;
    }
    b->n_hour_good = fx_add32(b->n_hour_good, n_good);
    b->n_hour_bad = fx_add32(b->n_hour_bad, n_bad);
}

static uint32_t probe_room(const struct st_breaker *b, uint64_t now_ms)
{
    uint64_t credit = 1 + (now_ms - b->since_ms) / PROBE_GAP_MS;

    return fx_sub32(credit > PROBES ? PROBES : (uint32_t)credit, b->n_probes_sent);
}

uint32_t st_breaker_room(const struct st_path *path, uint64_t now_ms, bool may_probe)
{
    switch ((enum st_breaker_state)path->breaker.state) {
    case BRK_OPEN:
        return 0;
    case BRK_HALF_OPEN:
        return may_probe ? probe_room(&path->breaker, now_ms) : 0;
    case BRK_CLOSED:
    case BRK_THROTTLED:
    case BRK_PROBATION: /* limited by the pace */
        break;
    }
    return UINT32_MAX;
}

uint64_t st_breaker_next_ms(const struct st_path *path, uint64_t now_ms)
{
    const struct st_breaker *b = &path->breaker;

    if (b->state == BRK_OPEN && b->until_ms > now_ms)
        return b->until_ms;
    return now_ms + (b->state == BRK_HALF_OPEN ? PROBE_GAP_MS : 5 * MINUTE_MS);
}
