/*
 * relay_rate.h - how fast a route takes mail: a token bucket whose rate gives way when the route
 * says that it is too fast, and comes back. Pure; time and chance are parameters.
 *
 * A tenth of a second's mail (one at least) may go at once. What is too fast once halves the rate
 * (one cut a second) and stops everything for 250 ms, doubled with each cut up to a minute; each
 * second without one adds a twentieth of the limit.
 */
#ifndef WIREPOST_RELAY_RATE_H
#define WIREPOST_RELAY_RATE_H

#include <stdint.h>

struct relay_rate {
    uint64_t limit_milli, rate_milli; /* mails in 1000 s; limit 0: none */
    int64_t tokens_micro;             /* mails * 10^6; below 0: a job had more than there were */
    uint64_t at_ms, raised_ms, cut_ms, pause_until_ms;
    uint32_t n_cuts; /* in a row */
};

/* From now on at most limit_milli / 1000 mails a second; 0: as many as there are. */
void relay_rate_limit(struct relay_rate *rate, uint64_t now_ms, uint64_t limit_milli);
/* How long until the next mail may go; 0: now. */
uint64_t relay_rate_wait_ms(struct relay_rate *rate, uint64_t now_ms);
/* n mails go. */
void relay_rate_take(struct relay_rate *rate, uint64_t now_ms, uint32_t n);
/* The route said that it was too fast. */
void relay_rate_cut(struct relay_rate *rate, uint64_t now_ms, uint64_t random);

#endif
