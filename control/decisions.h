/*
 * decisions.h - the decision library (strategies/engine.h) in this process: it is given the
 * configuration, outcomes and what comes back late, asked for grants, and what it has learned is
 * kept in spool.path/strategies.state, written every DECISIONS_SAVE_MS when something changed and
 * at the end. A start without that file, or with one of another version, starts learning anew and
 * says so.
 *
 * Time: Unix ms; a clock that is set back stands still for the library until it has caught up.
 */
#ifndef WIREPOST_DECISIONS_H
#define WIREPOST_DECISIONS_H

#include "control/ctl.h"
#include "strategies/grant.h"

#define DECISIONS_SAVE_MS 10000
#define DECISIONS_LOOK_MS 250 /* how often jobs in lanes are held against what has closed since */

struct decisions;

/* Null with a sentence in ret_error: the configuration asks for more than the library can do. */
struct decisions *decisions_open(struct ctl *ctl, char *ret_error, size_t error_bytes);
/* Saves; the loop closes the timer. */
void decisions_stop(struct decisions *decisions);
/* After the loop has closed the handles. */
void decisions_close(struct decisions *decisions);

/* The engine, for questions (explain, why not); null before decisions_open(). */
struct strategy_engine *decisions_engine(struct decisions *decisions);
/* A copy of it that may be played with; free() both. Null: no memory. */
struct strategy_engine *decisions_copy(const struct decisions *decisions, void **ret_memory);
/* The library's time. */
uint64_t decisions_now_ms(struct decisions *decisions);

/* What the library calls the provider of a destination: its name while there is room for another,
 * then one of 256 names that many share. provider_bytes: STRATEGY_NAME_BYTES. */
void decisions_provider(const struct decisions *decisions, const char *name, char *ret_provider);

/* Asks for n mails (grant.h). The request's key must name a configured sender. False: the library
 * has no room, with a line in the log. A new decision becomes an event. */
bool decisions_ask(struct decisions *decisions, const struct grant_request *request,
                   struct grant *ret_grant);
/* What was let go did not start. */
void decisions_return(struct decisions *decisions, const struct strategy_key *key, uint32_t slot,
                      uint32_t n);

/* The outcome of one recipient; path is the library's name of an address, or that of a route. */
void decisions_outcome(struct decisions *decisions, const struct strategy_key *key,
                       const char *path, const struct reply_verdict *verdict, int64_t sent_ms);
/* An open, complaint or hard bounce that came later. False with a sentence: what it names is not
 * known here. */
bool decisions_late(struct decisions *decisions, enum strategy_late what,
                    const struct strategy_key *key, const char *path, int64_t sent_ms,
                    const char **ret_error);

/* Classifies a reply; code 0: there was none, text says what happened. */
void decisions_classify(const struct decisions *decisions, uint16_t code, const uint8_t enhanced[3],
                        const char *text, struct reply_verdict *ret_verdict);

/* Addresses and pools that come at run time. has_room: every sender of the pool can have another
 * endpoint. False: the library refuses. */
bool decisions_has_room(const struct decisions *decisions, uint32_t pool);
bool decisions_add_pool(struct decisions *decisions, uint32_t pool);
bool decisions_add_address(struct decisions *decisions, uint32_t pool, const char *ip);
/* The configuration of the sender (its pool) has changed. */
bool decisions_put_sender(struct decisions *decisions, uint32_t sender);

/* The strategy of a sender from now on (strategy.set), kept in spool.path/strategies.json over
 * restarts until it is set back to the configuration's. False with a sentence. */
bool decisions_set_strategy(struct decisions *decisions, uint32_t sender, enum strategy_kind kind,
                            char *ret_error, size_t error_bytes);

#endif
