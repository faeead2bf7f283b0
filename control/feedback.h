/*
 * feedback.h - what comes back after a message was accepted by its receiver: opens, clicks,
 * complaints, late bounces. It is booked to the path and the time of the send (STRATEGIES: late
 * feedback), which the events of the message tell, and recorded as an event itself.
 */
#ifndef WIREPOST_FEEDBACK_H
#define WIREPOST_FEEDBACK_H

#include "control/ctl.h"

#define FEEDBACK_MAP(X)                                                                            \
    X(OPEN, "open")                                                                                \
    X(CLICK, "click")                                                                              \
    X(COMPLAINT, "complaint")                                                                      \
    X(BOUNCE, "bounce")                                                                            \
    X(DELIVERY, "delivery") /* by a relay, at the receiver: recorded only */

enum feedback_kind {
#define X(name, text) FEEDBACK_##name,
    FEEDBACK_MAP(X)
#undef X
        FEEDBACK_KINDS
};
const char *feedback_kind_text(enum feedback_kind kind);
/* False for an unknown name. */
bool feedback_kind_parse(const char *text, enum feedback_kind *ret_kind);

/* An open sooner after the delivery than this is a scanner's or a proxy's. */
#define FEEDBACK_MACHINE_MS 2000

struct feedback {
    uint64_t message_id;
    const char *recipient; /* null: the only one */
    enum feedback_kind kind;
    int64_t at_ms;
    bool machine;      /* the reporter knows that no person opened it */
    const char *reply; /* of a bounce: "550 5.1.1 ..."; "": it is the recipient's fault */
};

/* False with a sentence: the message is not known (any more), or was not delivered to that
 * recipient. */
bool feedback_take(struct ctl *ctl, const struct feedback *feedback, const char **ret_error);

#endif
