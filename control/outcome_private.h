/* outcome_private.h - between outcome_record.c, outcome_text.c and outcome_dsn.c. */
#ifndef WIREPOST_OUTCOME_PRIVATE_H
#define WIREPOST_OUTCOME_PRIVATE_H

#include "control/address.h"
#include "control/groups.h"
#include "control/outcome_record.h"
#include "control/wire.h"
#include "dataplane/tls_failure.h"
#include "strategies/reply.h"

/* How it went for one recipient. */
struct verdict {
    enum outcome_kind kind;
    enum outcome_stage stage;
    uint16_t code;
    uint8_t enhanced[3];
    bool expired;  /* bounced because there is no time left for another try */
    uint8_t state; /* enum store_rcpt_state that follows */
    bool has_class;
    struct reply_verdict reply; /* whose fault it is, when has_class */
    int64_t next_try_ms;
    char text[CHAN_TEXT_MAX];
    char address[ADDRESS_MAX];
    uint8_t notify; /* SMTP_NOTIFY_* */
    char orcpt[SMTP_ORCPT_MAX + 1];
    char *last, *event; /* JSON, owned */
};

struct ending {
    struct ctl *ctl;
    struct ctl_job *job;
    int64_t now_ms;
    int64_t due_ms; /* of the item; INT64_MAX: nothing of it is queued any more */

    /* the message */
    char sender[CONFIG_NAME_MAX], mail_from[ADDRESS_MAX], site[256];
    int64_t accepted_ms;
    char envid[SMTP_ENVID_MAX + 1];

    /* the connection */
    bool has_slot;
    char route[CONFIG_NAME_MAX]; /* "dedicated", or a relay's name */
    char source[IP_ADDR_TEXT_MAX], peer[IP_ADDR_TEXT_MAX], host[256];
    uint32_t rtt_us, retransmissions;
    uint32_t extensions; /* SMTP_EXT_* that the receiver offers */
    uint32_t syn_rtt_us, zero_window_ms;
    uint8_t tls_version; /* as in the slot */
    enum chan_tls tls_policy;
    bool tls_verified;
    enum tls_failure tls_failure;
    char tls_reason[CHAN_REASON_MAX];
    enum outcome_end end;
    enum outcome_arrival arrival;
    uint64_t bytes;
    double seconds;
    int64_t started_ms;

    /* the update */
    uint32_t n;
    struct verdict verdicts[CHAN_RCPT_MAX];
    struct store_rcpt_update updates[CHAN_RCPT_MAX];
    struct store_update update;
    char *finished_event;

    /* the bounce message */
    bool silent; /* no bounce message is wanted */
    bool has_dsn;
    struct store_accept dsn;
    struct store_rcpt dsn_rcpt;
    struct address dsn_to;
    struct wire_message dsn_wire;
    char dsn_for[32];
    char *dsn_event;

    bool timer_used;
    uv_timer_t timer;
};

/* Finds out whose fault it is, where somebody else than this appliance has spoken. */
void outcome_classify(const struct ending *e, struct verdict *v);
/* What the receiver's network says of the address that was used, and not of the recipient, is tried
 * once more by another; so is what a relay did not take for reasons of its own. */
bool outcome_goes_elsewhere(const struct ending *e, const struct verdict *v, const char *last);
/* The strategies' name of what was used; "" when nothing was. */
const char *outcome_path(const struct ending *e);
/* To the strategies: all recipients of a job, once that is durable. */
void outcome_feed(const struct ending *e);

/* JSON texts of API.md; malloc'ed. */
char *outcome_last_text(const struct ending *e, const struct verdict *v);
char *outcome_event_text(const struct ending *e, const struct verdict *v, uint32_t attempt);

/* Fills e->dsn when a recipient bounced and there is somebody to tell. */
bool outcome_dsn_make(struct ending *e);
/* It is durable: into the queue with it. */
void outcome_dsn_queue(struct ending *e);
void outcome_dsn_free(struct ending *e);

#endif
