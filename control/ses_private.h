/* ses_private.h - between ses.c (the route), ses_send.c (a job) and ses_account.c (GetAccount). */
#ifndef WIREPOST_SES_PRIVATE_H
#define WIREPOST_SES_PRIVATE_H

#include "control/aws_source.h"
#include "control/relay_private.h"
#include "control/ses.h"
#include "control/ses_api.h"

struct ses_send;

struct ses_route {
    struct relay_route *route;
    const struct ctl_ses *config;
    struct aws_source *source;
    struct ses_send *sends;
    char addresses[512]; /* of the endpoint, as https.h wants them */
    bool closing;
    uint64_t throttled;

    uv_timer_t poll;
    bool account_asked, account_known, account_tried;
    struct ses_account account;
    relay_test_fn test; /* wants to hear of the next GetAccount */
    void *test_user;
};

/* ---- ses.c ---- */

void ses_take_addresses(struct ses_route *ses, const struct dns_answer *answer);

/* The parts of a request that all calls have; false with a sentence: there are no credentials. */
struct ses_request {
    struct https_signer signer;
    struct https_request https;
    char url[400], token[AWS_TOKEN_MAX + 32], hash[96];
    const char *headers[3];
};
bool ses_request_fill(struct ses_route *ses, const char *path, const char *hash,
                      struct ses_request *ret, const char **ret_why);

/* ---- ses_send.c ---- */

/* The job in the slot starts; its recipients have been taken off the rate. */
void ses_send_begin(struct ses_route *ses, uint32_t slot);
void ses_sends_free(struct ses_route *ses);

/* ---- ses_account.c ---- */

void ses_account_ask(struct ses_route *ses);

#endif
