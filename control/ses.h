/*
 * ses.h - routes of type "ses": Amazon SES API v2 over HTTPS (libcurl), signed with SigV4. relay.h
 * has the line of waiting jobs and the route's health; this is what carries them.
 *
 * One call of SendEmail has up to 50 recipients of one message and one answer for all of them:
 * accepted means accepted for each. A call that is rejected is repeated recipient by recipient, so
 * that one bad address does not take the others with it. Each recipient of a job gets its own
 * outcome.
 *
 * There is no idempotency token: no answer after the last byte was handed over is doubtful, as
 * after a final dot; before it, nothing was taken.
 *
 * The rate is nine tenths of the account's MaxSendRate (relay_rate.h), less when SES says that it
 * is too fast. GetAccount is asked every account_poll_s: an account that is paused, shut down or
 * out of quota takes the route out of use until the next answer says otherwise.
 */
#ifndef WIREPOST_SES_H
#define WIREPOST_SES_H

#include "control/relay.h"

struct ses_route;
struct relay_route;

/* Begins to fetch credentials and the account. */
struct ses_route *ses_open(struct relay_route *route);
/* Nothing new is started; calls that are under way are not answered any more. */
void ses_stop(struct ses_route *ses);
/* After the loop has closed its handles. */
void ses_close(struct ses_route *ses);

/* Starts calls for what waits in the route's line. */
void ses_run(struct ses_route *ses);
/* Asks GetAccount; nothing is sent. addresses: of the endpoint. */
void ses_test(struct ses_route *ses, const struct dns_answer *addresses, relay_test_fn done,
              void *user);
/* What the account allows; false: not known. */
bool ses_capacity(const struct ses_route *ses, struct relay_capacity *ret);
/* {region, production, enforcement, max_24h, sent_24h, rate_per_s, throttled} */
json_t *ses_json(const struct ses_route *ses);

#endif
