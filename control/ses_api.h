/*
 * ses_api.h - Amazon SES API v2 as bytes: the body of SendEmail with a raw message, and what the
 * answers mean. Pure.
 *
 * The message goes into the JSON as base64 while it is sent, out of the channel's arena; only its
 * hash is needed before (SigV4).
 */
#ifndef WIREPOST_SES_API_H
#define WIREPOST_SES_API_H

#include "dataplane/outcome.h"
#include "strategies/reply.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SES_SEND_PATH    "/v2/email/outbound-emails"
#define SES_ACCOUNT_PATH "/v2/email/account"
#define SES_RCPT_MAX     50u /* of one call */
/* "40 MB per message (after base64 encoding)", service quotas. */
#define SES_BASE64_MAX   (UINT64_C(40) << 20)
#define SES_ID_MAX       80u
#define SES_ACCEPTED_AS  "accepted by SES as " /* the text of a delivery: its id follows */
#define SES_ID_TAG       "wirepost-id"         /* EmailTags: our id of the message */

/* ---- SendEmail --------------------------------------------------------------------------- */

struct ses_tag {
    const char *name, *value;
};

struct ses_email {
    const char *mail_from; /* "": SES takes the From field */
    const char *const *recipients;
    uint32_t n_recipients;
    const char *configuration_set; /* "": none */
    const struct ses_tag *tags;
    uint32_t n_tags;
    const uint8_t *prefix, *body; /* one after the other: the message; they must stay */
    size_t prefix_bytes, body_bytes;
};

/* A request's body, made from front to end. */
struct ses_payload {
    char *head; /* owned */
    size_t head_bytes;
    const uint8_t *prefix, *body;
    size_t prefix_bytes, body_bytes;
    uint64_t total_bytes;
    uint64_t given_bytes;
    uint64_t taken; /* bytes of the message that are encoded */
};

/* False: an address or a tag is not UTF-8. Free with ses_payload_free(). */
bool ses_payload_init(struct ses_payload *payload, const struct ses_email *email);
void ses_payload_free(struct ses_payload *payload);
/* The next bytes, room >= 4; 0: that was all. */
size_t ses_payload_read(struct ses_payload *payload, char *buf, size_t room);
/* From the front again. */
void ses_payload_rewind(struct ses_payload *payload);
/* SHA-256 of the whole in hexadecimal digits; rewinds. Any thread. */
void ses_payload_hash(struct ses_payload *payload, char ret_hex[65]);

uint64_t ses_base64_bytes(uint64_t message_bytes);
/* Names and values of tags, names of configuration sets: letters, digits, '-', '_'. */
bool ses_tag_valid(const char *text, size_t max_bytes);

/* ---- answers ----------------------------------------------------------------------------- */

enum ses_act {
    SES_ACCEPTED,
    SES_REJECTED,  /* the message or a recipient, for good */
    SES_LATER,     /* the message, for now: what is wrong may be put right */
    SES_TOO_FAST,  /* nothing was taken: slower */
    SES_STOP,      /* nothing is taken of anybody for a while: stop_s */
    SES_FAILED,    /* the service or our access to it fails */
    SES_UNCERTAIN, /* it may have been taken */
};

struct ses_verdict {
    enum ses_act act;
    enum outcome_kind kind;
    enum outcome_stage stage;
    uint16_t code; /* the SMTP reply that means the same */
    uint8_t enhanced[3];
    bool each; /* of several recipients one may be at fault: they are to be tried one by one */
    uint32_t stop_s;
    char id[SES_ID_MAX]; /* of an accepted message */
    char text[256];      /* "SendingPausedException: Sending paused ...", printable ASCII */
};

/* The answer to SendEmail: HTTP status, the field x-amzn-ErrorType ("" without), and its body. */
void ses_answer_read(long status, const char *error_type, const char *body, size_t bytes,
                     struct ses_verdict *ret);

/* What a text that ses_answer_read() made says about whom; false: it is none of them. */
bool ses_classify(const char *text, struct reply_verdict *ret);

/* ---- GetAccount -------------------------------------------------------------------------- */

struct ses_account {
    bool production; /* false: the sandbox, verified recipients only */
    bool sending;    /* SendingEnabled, and not shut down */
    char enforcement[24];
    double max_24h; /* recipients; < 0: no limit */
    double sent_24h;
    double rate_per_s;
};

/* False: it is not that. */
bool ses_account_read(const char *body, size_t bytes, struct ses_account *ret);

#endif
