/*
 * ses_event.h - what SES tells later of a message, as an event of a configuration set or as a
 * notification of an identity ("eventType" or "notificationType"; SES developer guide, "Contents of
 * event data"). Pure.
 *
 * A message of ours is known by its tag (ses_api.h, SES_ID_TAG), which notifications of identities
 * do not have: those are of no use here.
 */
#ifndef WIREPOST_SES_EVENT_H
#define WIREPOST_SES_EVENT_H

#include "control/feedback.h"

#define SES_EVENT_RCPT_MAX 50u

struct ses_event {
    json_t *root; /* owned; the texts below point into it */
    uint64_t message_id;
    const char *ses_id;
    const char *type; /* "Bounce" */
    enum feedback_kind kind;
    int64_t at_ms;
    uint32_t n;
    struct {
        const char *address;
        char reply[256]; /* of a bounce, as feedback.h has it */
    } recipients[SES_EVENT_RCPT_MAX];
};

enum ses_event_result {
    SES_EVENT_TAKEN,
    SES_EVENT_OTHER,  /* nothing that is booked (Send, Subscription ...), or nobody's in particular
                       */
    SES_EVENT_FOREIGN /* not a message of ours, or no event of SES */
};

/* Free with ses_event_free() when TAKEN. */
enum ses_event_result ses_event_parse(const char *json, size_t len, struct ses_event *ret);
void ses_event_free(struct ses_event *event);

#endif
