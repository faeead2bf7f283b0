/*
 * sns.h - Amazon SNS speaks to us at POST /v1/sns (http.h): what SES says of mail comes back to the
 * message and the route that it went by (feedback.h).
 *
 * A message counts when its topic is configured (http.sns_topics) and its signature is valid by a
 * certificate from SNS's own host in the topic's region, fetched over HTTPS. What comes twice (SNS
 * delivers at least once) counts once. A new subscription to a configured topic is confirmed.
 */
#ifndef WIREPOST_SNS_H
#define WIREPOST_SNS_H

#include "control/ctl.h"
#include "control/http.h"

struct sns;

struct sns *sns_open(struct ctl *ctl, struct http *http);
/* Before http_close() and https_close(). */
void sns_close(struct sns *sns);

#endif
