/*
 * lab.h - an engine in a test: time moved by hand, mail counted, every error fatal. What is planned
 * can be answered at once with one reply, which is how most stories are told.
 */
#ifndef WIREPOST_TESTS_STRATEGIES_LAB_H
#define WIREPOST_TESTS_STRATEGIES_LAB_H

#include "strategies/engine.h"

/* A midnight, so that days of the engine are days of the test. */
#define LAB_T0 (UINT64_C(19675) * DAY_MS)

struct lab {
    void *memory;
    struct strategy_engine *engine;
    struct reply_index replies;
    uint64_t now_ms;
    struct strategy_split split; /* of the last plan */
};

struct lab_flow {
    const char *sender, *stream, *provider;
};

void lab_open(struct lab *lab);
void lab_close(struct lab *lab);
void lab_pass(struct lab *lab, uint64_t ms);

/* Pool "pool" with n addresses 192.0.2.1, 192.0.2.2, ...; warm: used to n_daily a day to each of
 * gmail, yahoo and outlook; 0: cold. */
void lab_addresses(struct lab *lab, unsigned n, uint32_t n_daily);
/* Routes "shared-main" (smtp), "ses" (n_ses_max_24h, 0: no limit) and "their-smtp". */
void lab_routes(struct lab *lab, uint32_t n_ses_max_24h);
/* A sender with the pool, both shared relays and the custom one configured, whatever its kind. */
void lab_sender(struct lab *lab, const char *name, enum strategy_kind kind, uint32_t v30);

/* Plans n mails; the split stays in lab->split. Checks that nothing is lost. */
const struct strategy_split *lab_plan(struct lab *lab, const struct lab_flow *flow, uint32_t n);
const struct strategy_split *lab_plan_new(struct lab *lab, const struct lab_flow *flow, uint32_t n,
                                          uint32_t never_mailed_ppm);
/* How many of the last split leave by this path. */
uint32_t lab_share(const struct lab *lab, const char *path);
/* n outcomes with this reply of mail sent now. */
void lab_reply(struct lab *lab, const struct lab_flow *flow, const char *path, uint32_t n,
               const char *reply);
/* Everything of the last split is accepted. */
void lab_accept(struct lab *lab, const struct lab_flow *flow);
/* Mail every ten minutes for so many hours, all of it accepted. */
void lab_peace(struct lab *lab, const struct lab_flow *flow, uint32_t n_per_plan, unsigned hours);
void lab_late(struct lab *lab, const struct lab_flow *flow, enum strategy_late what,
              const char *path, uint32_t n, uint64_t sent_ms);
void lab_dnsbl(struct lab *lab, const char *ip, const char *zone, const char *answer);
/* strategy_why_line of the flow. */
void lab_why(struct lab *lab, const struct lab_flow *flow, char *text, size_t n_bytes);

/* Random numbers for properties: splitmix64. */
uint64_t lab_random(uint64_t *state);
uint32_t lab_below(uint64_t *state, uint32_t n);

#endif
