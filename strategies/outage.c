/*
 * outage.c - a provider that is down: everything for it waits 5 min (limits.outage_wait_ms), 10, 20
 * ... up to twelve times the first; then 20 mails try. One that is accepted ends it. Nobody's
 * reputation changes meanwhile (I8).
 */
#include "strategies/parts.h"

#define WAITS_MAX 12u
#define TRIES     20u

static void wait(struct st_provider *p, uint64_t now_ms)
{
    uint64_t n_waits = p->step >= 4 ? WAITS_MAX : UINT64_C(1) << p->step;

    p->down_until_ms = now_ms + p->wait_ms * n_waits;
    p->probe_left = TRIES;
    p->evidence.expires_ms = p->down_until_ms;
}

void st_outage_start(struct st_provider *p, uint64_t now_ms,
                     const struct strategy_evidence *evidence)
{
    if (p->is_down)
        return;
    p->is_down = true;
    p->step = 0;
    p->down_since_ms = now_ms;
    p->evidence = *evidence;
    wait(p, now_ms);
}

void st_outage_ok(struct st_provider *p, uint32_t endpoint, uint64_t now_ms)
{
    if (p->ok_endpoint[0] != endpoint) {
        p->ok_endpoint[1] = p->ok_endpoint[0];
        p->ok_ms[1] = p->ok_ms[0];
        p->ok_endpoint[0] = endpoint;
    }
    p->ok_ms[0] = now_ms;
    p->is_down = false;
}

void st_outage_fail(struct st_provider *p, uint64_t now_ms)
{
    if (!p->is_down || now_ms < p->down_until_ms)
        return;
    p->step = p->step < 5 ? (uint8_t)(p->step + 1) : 5;
    wait(p, now_ms);
}

uint32_t st_outage_room(struct st_provider *p, uint64_t now_ms)
{
    if (!p->is_down)
        return UINT32_MAX;
    if (now_ms < p->down_until_ms)
        return 0;
    if (now_ms - p->down_until_ms >= HOUR_MS) /* the tries were never answered: again */
        p->probe_left = TRIES;
    return p->probe_left;
}

bool st_outage_others_ok(const struct st_provider *p, uint32_t endpoint, uint64_t since_ms)
{
    for (unsigned i = 0; i < 2; i++) {
        if (p->ok_endpoint[i] != ST_NONE && p->ok_endpoint[i] != endpoint &&
            p->ok_ms[i] >= since_ms)
            return true;
    }
    return false;
}
