/*
 * drain.c - addresses on block lists.
 *
 * A tier-1 list (Spamhaus), or a list that two providers name in a 5xx within the hour, drains the
 * whole address. It comes back half open: when two polls at least a day apart were clean, or, where
 * nobody polls, after seven days without further evidence (CSS listings expire after three). Three
 * drains in 30 days retire it until an operator says otherwise.
 */
#include "strategies/parts.h"

#include <string.h>

#define CLEAN_GAP_MS     DAY_MS
#define DRAIN_MAX_MS     (7 * DAY_MS)
#define DRAINS_WINDOW_MS (30 * DAY_MS)
#define DRAINS_RETIRE    3u
#define NAMED_WINDOW_MS  HOUR_MS

static void reopen(struct st_endpoint *a, uint64_t now_ms)
{
    a->drain = DRAIN_NO;
    a->reopened_ms = now_ms;
    a->named_ms = 0;
}

void st_drain_poll(struct st_endpoint *a, uint64_t now_ms)
{
    if (a->drain == DRAIN_LISTED && now_ms - a->listed_ms >= DRAIN_MAX_MS)
        reopen(a, now_ms);
}

static void count_drain(struct st_endpoint *a, uint64_t now_ms)
{
    if (a->n_drains == 0 || now_ms - a->drains_since_ms > DRAINS_WINDOW_MS) {
        a->n_drains = 0;
        a->drains_since_ms = now_ms;
    }
    a->n_drains++;
    a->drain = a->n_drains >= DRAINS_RETIRE ? DRAIN_RETIRED : DRAIN_LISTED;
}

void st_drain_start(struct st_endpoint *a, uint32_t id, uint64_t now_ms, const char *zone)
{
    a->listed_ms = now_ms;
    a->clean_ms = 0;
    if (a->drain == DRAIN_NO) {
        count_drain(a, now_ms);
        a->drained_ms = now_ms;
        a->drain_evidence = (struct strategy_evidence){.signal = STRATEGY_SIGNAL_DNSBL,
                                                       .endpoint = id,
                                                       .n = 1,
                                                       .observed = 1,
                                                       .statistic_milli = 1000,
                                                       .threshold_milli = 1000,
                                                       .since_ms = now_ms};
        (void)snprintf(a->drain_evidence.text, sizeof a->drain_evidence.text, "%.23s", zone);
    }
    a->drain_evidence.expires_ms = a->drain == DRAIN_RETIRED ? NEVER_MS : now_ms + DRAIN_MAX_MS;
}

static bool is_code(const char *text)
{
    return text[0] >= '0' && text[0] <= '9';
}

void st_drain_retire(struct st_endpoint *a, uint32_t id, uint64_t now_ms, bool retired)
{
    if (!retired) {
        if (a->drain != DRAIN_NO)
            reopen(a, now_ms);
        return;
    }
    a->drain = DRAIN_RETIRED;
    a->drained_ms = now_ms;
    a->drain_evidence = (struct strategy_evidence){.signal = STRATEGY_SIGNAL_DNSBL,
                                                   .endpoint = id,
                                                   .since_ms = now_ms,
                                                   .expires_ms = NEVER_MS,
                                                   .text = "operator"};
}

/* Only the list that drained it can say that it is clean, unless a reply did. */
void st_drain_clean(struct st_endpoint *a, uint64_t now_ms, const char *zone)
{
    if (a->drain != DRAIN_LISTED ||
        (!is_code(a->drain_evidence.text) &&
         strncmp(a->drain_evidence.text, zone, sizeof a->drain_evidence.text - 1) != 0))
        return;
    if (a->clean_ms == 0)
        a->clean_ms = now_ms == 0 ? 1 : now_ms;
    else if (now_ms - a->clean_ms >= CLEAN_GAP_MS)
        reopen(a, now_ms);
}

bool st_drain_named(struct st_endpoint *a, uint64_t now_ms, uint32_t provider)
{
    bool second = a->named_provider != ST_NONE && a->named_provider != provider &&
                  now_ms - a->named_ms <= NAMED_WINDOW_MS;

    a->named_provider = provider;
    a->named_ms = now_ms;
    return second;
}

enum strategy_listing strategy_listing(const char *zone, const uint8_t answer[4])
{
    if (answer[0] != 127 || (answer[1] == 255 && answer[2] == 255))
        return STRATEGY_QUERY_FAILED;
    if (answer[1] == 0 && (answer[2] == 1 || answer[2] == 2))
        return STRATEGY_DOMAIN_LIST;
    if (answer[1] != 0 || answer[2] != 0 || answer[3] < 2)
        return STRATEGY_QUERY_FAILED; /* 127.0.0.1: the list is dead */
    if (strstr(zone, "spamhaus") == NULL)
        return STRATEGY_LISTED_OTHER;
    switch (answer[3]) {
    case 2: /* SBL */
    case 3: /* CSS */
    case 4: /* XBL */
    case 9: /* DROP */
        return STRATEGY_LISTED;
    case 10: /* PBL */
    case 11:
        return STRATEGY_POLICY_RANGE;
    default:
        return STRATEGY_LISTED_OTHER;
    }
}
