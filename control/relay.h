/*
 * relay.h - routes: shared relays and a sender's own provider by the SMTP engine over kernel
 * sockets on the loop (type "smtp"), Amazon SES over HTTPS (type "ses": ses.h).
 *
 * To the rest of the control plane the relays are one more lane (LANE_RELAY): jobs stand in slots
 * of a channel file of their own (run_dir/relays/lane-0.chan), whose lane side is this process. So
 * a kill -9 leaves the same traces as that of a data plane: what was not attempted, what was begun,
 * what is doubtful, what has an outcome.
 *
 * Each route has its own connections and its own line of waiting jobs: a slow relay delays nobody
 * else.
 *
 * A route that fails (no connection, greeting or EHLO refused, TLS or AUTH failed) RELAY_FAILURES
 * times in a row is DOWN for RELAY_DOWN_MS, doubled each time up to RELAY_DOWN_MS_MAX; then one job
 * probes it. One that says that it takes nothing for a while (quota, paused) is DOWN at once.
 */
#ifndef WIREPOST_RELAY_H
#define WIREPOST_RELAY_H

#include "control/ctl.h"
#include "control/job.h"

#define RELAY_FAILURES    3u
#define RELAY_DOWN_MS     10000
#define RELAY_DOWN_MS_MAX 600000

struct relays;

/* The configured routes; the channel was opened by lanes_open(). Null with a sentence in ret_error.
 */
struct relays *relays_open(struct ctl *ctl, char *ret_error, size_t error_bytes);
/* Ends all connections; jobs that were under way keep their slots for the next start. */
void relays_stop(struct relays *relays);
/* After the loop has closed their handles. */
void relays_close(struct relays *relays);
/* Jobs that wait go back to the queue. */
void relays_hand_back(struct relays *relays);

/* What the strategy may use: UP, PROBING (one job at a time), DOWN. Index as in config.routes. */
enum relay_health { RELAY_UP, RELAY_PROBING, RELAY_DOWN };
enum relay_health relay_health(const struct relays *relays, uint32_t route);
/* It may be given a job now: not paused, not DOWN, and its line is not too long. */
bool relay_has_room(const struct relays *relays, uint32_t route);

/* What its provider allows, as far as it tells. False: nothing is known. */
struct relay_capacity {
    int64_t max_24h, left_24h; /* recipients; -1: no limit */
    double rate_per_s;
};
bool relay_capacity(const struct relays *relays, uint32_t route, struct relay_capacity *ret);

/* The route can carry a message of this size and these CHAN_NEED_*. False with a sentence. */
bool relay_carries(const struct relays *relays, uint32_t route, uint64_t message_bytes,
                   uint32_t needs, char *ret_why, size_t why_bytes);

/* Takes what was submitted to LANE_RELAY. */
void relays_take(struct relays *relays);

/* {name, type, url, state, connections, waiting, sent, failures, last} of the method routes.list; a
 * new reference. */
json_t *relays_json(const struct relays *relays);
/* Connects, says EHLO and QUIT, and tells how that went; nothing is sent. */
typedef void (*relay_test_fn)(void *user, bool good, const char *text, uint32_t extensions);
void relay_test(struct relays *relays, uint32_t route, relay_test_fn done, void *user);

/* Operator's pause: nothing new is started on it. False: no such route. */
bool relay_pause(struct relays *relays, const char *name, bool paused);

#endif
