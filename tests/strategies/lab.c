/* lab.c - see lab.h. */
#include "tests/strategies/lab.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(enum strategy_error error)
{
    ck_assert_msg(error == STRATEGY_OK, "%s", strategy_error_text(error));
}

void lab_open(struct lab *lab)
{
    struct strategy_limits limits = strategy_limits_default();

    *lab = (struct lab){.now_ms = LAB_T0};
    lab->memory = calloc(1, strategy_engine_bytes(&limits));
    ck_assert_ptr_nonnull(lab->memory);
    lab->engine = strategy_engine_init(lab->memory, &limits);
    reply_index_init(&lab->replies);
    must(strategy_tick(lab->engine, lab->now_ms));
}

void lab_close(struct lab *lab)
{
    free(lab->memory);
}

void lab_pass(struct lab *lab, uint64_t ms)
{
    lab->now_ms += ms;
    must(strategy_tick(lab->engine, lab->now_ms));
}

void lab_addresses(struct lab *lab, unsigned n, uint32_t n_daily)
{
    static const char *const providers[] = {"gmail", "yahoo", "outlook"};
    char ip[32];

    for (unsigned i = 1; i <= n; i++) {
        (void)snprintf(ip, sizeof ip, "192.0.2.%u", i);
        must(strategy_pool_address(
            lab->engine, "pool",
            &(struct strategy_address_config){.ip = ip, .age_days = n_daily > 0 ? 200 : 0}));
        for (unsigned p = 0; n_daily > 0 && p < 3; p++)
            must(strategy_address_daily(lab->engine, ip, providers[p], n_daily));
    }
}

void lab_routes(struct lab *lab, uint32_t n_ses_max_24h)
{
    must(strategy_route(lab->engine,
                        &(struct strategy_route_config){.name = "shared-main", .cost_ppm = -1}));
    must(strategy_route(lab->engine, &(struct strategy_route_config){.name = "ses",
                                                                     .is_ses = true,
                                                                     .n_max_24h = n_ses_max_24h,
                                                                     .cost_ppm = -1}));
    must(strategy_route(lab->engine,
                        &(struct strategy_route_config){.name = "their-smtp", .cost_ppm = -1}));
}

void lab_sender(struct lab *lab, const char *name, enum strategy_kind kind, uint32_t v30)
{
    static const char *const shared[] = {"shared-main", "ses"}, *const custom[] = {"their-smtp"};

    must(strategy_sender(lab->engine, &(struct strategy_sender_config){.name = name,
                                                                       .kind = kind,
                                                                       .pool = "pool",
                                                                       .shared = shared,
                                                                       .n_shared = 2,
                                                                       .custom = custom,
                                                                       .n_custom = 1,
                                                                       .v30_known = true,
                                                                       .v30 = v30,
                                                                       .fallback = true}));
}

const struct strategy_split *lab_plan_new(struct lab *lab, const struct lab_flow *flow, uint32_t n,
                                          uint32_t never_mailed_ppm)
{
    struct strategy_plan plan = {.key = {flow->sender, flow->stream, flow->provider},
                                 .n = n,
                                 .never_mailed_ppm = never_mailed_ppm};
    uint64_t sum = 0;

    must(strategy_plan(lab->engine, lab->now_ms, &plan, &lab->split));
    for (uint32_t i = 0; i < lab->split.n_parts; i++)
        sum += lab->split.part[i].n;
    ck_assert_uint_eq(sum + lab->split.n_held, n);
    return &lab->split;
}

const struct strategy_split *lab_plan(struct lab *lab, const struct lab_flow *flow, uint32_t n)
{
    return lab_plan_new(lab, flow, n, 10000);
}

uint32_t lab_share(const struct lab *lab, const char *path)
{
    for (uint32_t i = 0; i < lab->split.n_parts; i++) {
        if (strcmp(lab->split.part[i].path, path) == 0)
            return lab->split.part[i].n;
    }
    return 0;
}

void lab_reply(struct lab *lab, const struct lab_flow *flow, const char *path, uint32_t n,
               const char *reply)
{
    struct strategy_outcome outcome = {.key = {flow->sender, flow->stream, flow->provider},
                                       .path = path,
                                       .n = n,
                                       .sent_ms = NEVER_MS};

    reply_classify(&lab->replies, reply, strlen(reply), &outcome.verdict);
    must(strategy_outcome(lab->engine, lab->now_ms, &outcome));
}

void lab_accept(struct lab *lab, const struct lab_flow *flow)
{
    for (uint32_t i = 0; i < lab->split.n_parts; i++)
        lab_reply(lab, flow, lab->split.part[i].path, lab->split.part[i].n, "250 2.0.0 OK");
}

void lab_peace(struct lab *lab, const struct lab_flow *flow, uint32_t n_per_plan, unsigned hours)
{
    for (unsigned i = 0; i < hours * 6; i++) {
        (void)lab_plan(lab, flow, n_per_plan);
        lab_accept(lab, flow);
        lab_pass(lab, 10 * MINUTE_MS);
    }
}

void lab_late(struct lab *lab, const struct lab_flow *flow, enum strategy_late what,
              const char *path, uint32_t n, uint64_t sent_ms)
{
    must(strategy_late(
        lab->engine, lab->now_ms, what,
        &(struct strategy_outcome){.key = {flow->sender, flow->stream, flow->provider},
                                   .path = path,
                                   .n = n,
                                   .sent_ms = sent_ms}));
}

void lab_dnsbl(struct lab *lab, const char *ip, const char *zone, const char *answer)
{
    unsigned b[4];
    enum strategy_listing listing = STRATEGY_CLEAN;

    if (answer != NULL) {
        ck_assert_int_eq(sscanf(answer, "%u.%u.%u.%u", &b[0], &b[1], &b[2], &b[3]), 4);
        const uint8_t bytes[4] = {(uint8_t)b[0], (uint8_t)b[1], (uint8_t)b[2], (uint8_t)b[3]};
        listing = strategy_listing(zone, bytes);
    }
    must(strategy_dnsbl(lab->engine, lab->now_ms, ip, zone, listing));
}

void lab_why(struct lab *lab, const struct lab_flow *flow, char *text, size_t n_bytes)
{
    struct strategy_key key = {flow->sender, flow->stream, flow->provider};
    struct strategy_record record;

    must(strategy_why(lab->engine, &key, &record));
    (void)strategy_why_line(lab->engine, &key, &record, text, n_bytes);
}

uint64_t lab_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t lab_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)(lab_random(state) >> 32) % n;
}
