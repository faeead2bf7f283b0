/*
 * storm.h - random events for an engine: configuration, plans, outcomes, late feedback, block
 * lists, operators, mail that comes back. The weather of each (provider, endpoint) changes now and
 * then - fine, slow, blocked, down, bad list, broken authentication - so that every state machine
 * is driven through its states; replies are texts as providers write them.
 *
 * Invariants are asked of what comes out, with nothing but names and counts of the storm's own:
 *   I1 I2  a route that the strategy never uses       I3  a path that is closed
 *   I4     mails lost or made, a weight that is none  I5  a cold address above its ramp
 *   I10    a reason without name, evidence or expiry  I13 transactional mail held with a campaign
 * The engine's own (engine_check.c) abort. With a file, the same events are written as lines of
 * wirepost-policy.
 */
#ifndef WIREPOST_TESTS_STRATEGIES_STORM_H
#define WIREPOST_TESTS_STRATEGIES_STORM_H

#include "strategies/engine.h"

#include <stdio.h>

#define STORM_PROVIDERS 4u
#define STORM_ADDRESSES 6u
#define STORM_RELAYS    4u
#define STORM_SENDERS   8u
#define STORM_STREAMS   4u

struct storm {
    struct strategy_engine *engine;
    struct reply_index replies;
    FILE *lines; /* null: none */
    uint64_t random, now_ms, first_day;
    uint8_t weather[STORM_ADDRESSES + STORM_RELAYS][STORM_PROVIDERS];
    uint8_t sender_weather[STORM_SENDERS];
    uint32_t day;
    uint64_t sent_today[STORM_ADDRESSES][STORM_PROVIDERS];
    uint64_t n_decisions, n_events;
    uint64_t n_cause[STRATEGY_CAUSES]; /* decisions by reason */
    const char *broken;                /* the invariant that does not hold; null: all do */
};

/* The engine is fresh. */
void storm_begin(struct storm *storm, struct strategy_engine *engine, uint64_t seed, FILE *lines);
/* One more event; false when an invariant is broken. */
bool storm_step(struct storm *storm);
/* Everything is fine from now on: after 60 days nobody is held any more (I12). */
bool storm_calm(struct storm *storm);

#endif
