/*
 * ses_answer.c - what the answers of SES mean: see ses_api.h.
 *
 * Errors are told apart by their type first, by their words where one type means several things
 * (API reference of SESv2, "Errors"; developer guide, "Amazon SES email sending errors" and "Errors
 * related to the sending quotas"), by the HTTP status last. Nothing is known of errors that are not
 * listed: 4xx defers and 5xx counts as a failure of the service.
 *
 * A malformed address may be the sender's or a recipient's, which the words do not tell, so it
 * never counts against a recipient (engine.h, I14).
 *
 * What the account's owner can put right (an identity that is not verified, a configuration set
 * that is gone) never bounces mail.
 */
#include "control/ses_api.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PAUSED_S    300u
#define SUSPENDED_S 3600u
#define QUOTA_S     600u /* "wait for an interval of up to 10 minutes" */

struct rule {
    const char *type;  /* the beginning of it is enough: "...Exception" may follow */
    const char *words; /* in the message; null: any */
    enum ses_act act;
    uint16_t code;
    uint8_t enhanced[3];
    uint32_t stop_s;
    enum reply_class class;
};

/* The first that fits. */
static const struct rule rules[] = {
    {"TooManyRequests", "daily", SES_STOP, 454, {4, 7, 0}, QUOTA_S, REPLY_RELAY_FAIL},
    {"Throttling", "daily", SES_STOP, 454, {4, 7, 0}, QUOTA_S, REPLY_RELAY_FAIL},
    {"LimitExceeded", "rate", SES_TOO_FAST, 454, {4, 7, 0}, 0, REPLY_RELAY_FAIL},
    {"LimitExceeded", NULL, SES_STOP, 454, {4, 7, 0}, QUOTA_S, REPLY_RELAY_FAIL},
    {"TooManyRequests", NULL, SES_TOO_FAST, 454, {4, 7, 0}, 0, REPLY_RELAY_FAIL},
    {"Throttl", NULL, SES_TOO_FAST, 454, {4, 7, 0}, 0, REPLY_RELAY_FAIL},
    {"RequestThrottled", NULL, SES_TOO_FAST, 454, {4, 7, 0}, 0, REPLY_RELAY_FAIL},
    {"SendingPaused", NULL, SES_STOP, 454, {4, 3, 2}, PAUSED_S, REPLY_RELAY_FAIL},
    {"ConfigurationSetSendingPaused", NULL, SES_STOP, 454, {4, 3, 2}, PAUSED_S, REPLY_RELAY_FAIL},
    {"AccountSendingPaused", NULL, SES_STOP, 454, {4, 3, 2}, PAUSED_S, REPLY_RELAY_FAIL},
    {"AccountSuspended", NULL, SES_STOP, 454, {4, 7, 0}, SUSPENDED_S, REPLY_RELAY_FAIL},
    {"NotFound", NULL, SES_STOP, 454, {4, 3, 5}, PAUSED_S, REPLY_RELAY_FAIL},
    {"ConfigurationSetDoesNotExist", NULL, SES_STOP, 454, {4, 3, 5}, PAUSED_S, REPLY_RELAY_FAIL},
    {"MailFromDomainNotVerified", NULL, SES_LATER, 451, {4, 7, 0}, 0, REPLY_AUTH},
    {"MessageRejected", "not verified", SES_LATER, 454, {4, 7, 1}, 0, REPLY_RELAY_FAIL},
    {"MessageRejected", NULL, SES_REJECTED, 554, {5, 6, 0}, 0, REPLY_CONTENT},
    {"BadRequest", "address", SES_REJECTED, 553, {5, 1, 3}, 0, REPLY_PROTO},
    {"BadRequest", "@domain", SES_REJECTED, 553, {5, 1, 3}, 0, REPLY_PROTO},
    {"BadRequest", "domain", SES_REJECTED, 553, {5, 1, 3}, 0, REPLY_PROTO},
    {"BadRequest", "length", SES_REJECTED, 552, {5, 3, 4}, 0, REPLY_PROTO},
    {"BadRequest", NULL, SES_REJECTED, 554, {5, 6, 0}, 0, REPLY_PROTO},
    {"InvalidParameter", NULL, SES_REJECTED, 554, {5, 6, 0}, 0, REPLY_PROTO},
    {"Validation", NULL, SES_REJECTED, 554, {5, 6, 0}, 0, REPLY_PROTO},
    {"AccessDenied", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"ExpiredToken", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"IncompleteSignature", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"InvalidAccessKeyId", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"InvalidClientTokenId", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"InvalidSignature", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"MissingAuthenticationToken", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"NotAuthorized", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"OptInRequired", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"RequestExpired", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"RequestTimeTooSkewed", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"SignatureDoesNotMatch", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"UnrecognizedClient", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"Internal", NULL, SES_FAILED, 451, {4, 3, 0}, 0, REPLY_RELAY_FAIL},
    {"ServiceUnavailable", NULL, SES_FAILED, 451, {4, 3, 0}, 0, REPLY_RELAY_FAIL},
};

/* Without a type that is known. 504: something between here and SES stopped waiting for it. */
static const struct rule by_status[] = {
    {"HTTP 504", NULL, SES_UNCERTAIN, 0, {0}, 0, REPLY_RELAY_FAIL},
    {"HTTP 5", NULL, SES_FAILED, 451, {4, 3, 0}, 0, REPLY_RELAY_FAIL},
    {"HTTP 403", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"HTTP 401", NULL, SES_FAILED, 535, {4, 7, 8}, 0, REPLY_RELAY_FAIL},
    {"HTTP 413", NULL, SES_REJECTED, 552, {5, 3, 4}, 0, REPLY_PROTO},
    {"HTTP 429", NULL, SES_TOO_FAST, 454, {4, 7, 0}, 0, REPLY_RELAY_FAIL},
    {"HTTP 2", NULL, SES_UNCERTAIN, 0, {0}, 0, REPLY_UNKNOWN},
    {"HTTP ", NULL, SES_LATER, 451, {4, 3, 0}, 0, REPLY_UNKNOWN},
};

/* ---- reading ----------------------------------------------------------------------------- */

static void printable(char *to, size_t to_bytes, const char *from)
{
    (void)snprintf(to, to_bytes, "%s", from);
    for (; *to; to++) {
        *to = (unsigned char)*to < 0x20 || (unsigned char)*to >= 0x7f ? '?' : *to;
    }
}

/* "com.amazonaws.ses#SendingPausedException:http://..." is SendingPausedException. */
static void plain_type(char *to, size_t to_bytes, const char *type)
{
    const char *hash = strchr(type, '#');
    type = hash ? hash + 1 : type;
    (void)snprintf(to, to_bytes, "%.*s", (int)strcspn(type, ": \t"), type);
}

static const char *text_member(const json_t *object, const char *a, const char *b)
{
    const char *text = json_string_value(json_object_get(object, a));
    text = text ? text : json_string_value(json_object_get(object, b));
    return text ? text : "";
}

static const struct rule *rule_of(const char *type, const char *words)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const struct rule *rule = &rules[i];
        if (strncmp(type, rule->type, strlen(rule->type)) == 0 &&
            (!rule->words || strcasestr(words, rule->words))) {
            return rule;
        }
    }
    for (size_t i = 0; i < sizeof by_status / sizeof by_status[0]; i++) {
        if (strncmp(type, by_status[i].type, strlen(by_status[i].type)) == 0) {
            return &by_status[i];
        }
    }
    return NULL;
}

static enum outcome_kind kind_of(enum ses_act act)
{
    return act == SES_REJECTED    ? OUTCOME_BOUNCED
           : act == SES_UNCERTAIN ? OUTCOME_DOUBTFUL
                                  : OUTCOME_DEFERRED;
}

/* Not the content, not the size. */
static bool is_of_one_recipient(const struct rule *rule)
{
    return (rule->act == SES_REJECTED && rule->class == REPLY_PROTO && rule->code != 552) ||
           (rule->act == SES_LATER && rule->class == REPLY_RELAY_FAIL);
}

static void refused(long status, const char *type, const char *words, struct ses_verdict *v)
{
    char name[96], clean[200];
    plain_type(name, sizeof name, type);
    const struct rule *rule = rule_of(name, words);
    if (!rule) {
        (void)snprintf(name, sizeof name, "HTTP %ld%s%.60s", status, type[0] ? " " : "", type);
        rule = rule_of(name, words);
    }
    printable(clean, sizeof clean, words);
    *v = (struct ses_verdict){.act = SES_LATER, .code = 451, .enhanced = {4, 3, 0}};
    if (rule) {
        v->act = rule->act;
        v->code = rule->code;
        memcpy(v->enhanced, rule->enhanced, sizeof v->enhanced);
        v->stop_s = rule->stop_s;
        v->each = is_of_one_recipient(rule);
    }
    v->kind = kind_of(v->act);
    v->stage = v->code == 535 ? OUTCOME_STAGE_AUTH : OUTCOME_STAGE_DOT;
    printable(v->text, sizeof v->text, name);
    size_t len = strlen(v->text);
    (void)snprintf(v->text + len, sizeof v->text - len, "%s%s", clean[0] ? ": " : "", clean);
}

static bool accepted(const json_t *object, struct ses_verdict *v)
{
    const char *id = json_string_value(json_object_get(object, "MessageId"));
    if (!id || !id[0] || strlen(id) >= sizeof v->id) {
        return false;
    }
    *v = (struct ses_verdict){.act = SES_ACCEPTED,
                              .kind = OUTCOME_DELIVERED,
                              .stage = OUTCOME_STAGE_DOT,
                              .code = 250,
                              .enhanced = {2, 0, 0}};
    printable(v->id, sizeof v->id, id);
    (void)snprintf(v->text, sizeof v->text, SES_ACCEPTED_AS "%s", v->id);
    return true;
}

void ses_answer_read(long status, const char *error_type, const char *body, size_t bytes,
                     struct ses_verdict *ret)
{
    json_t *object = json_loadb(body, bytes, 0, NULL);
    bool good = status >= 200 && status < 300;
    if (good && accepted(object, ret)) {
        json_decref(object);
        return;
    }
    const char *type = error_type[0] ? error_type : text_member(object, "__type", "code");
    const char *words =
        good ? "the answer has no MessageId" : text_member(object, "message", "Message");
    refused(status, good ? "" : type, words, ret);
    json_decref(object);
}

bool ses_classify(const char *text, struct reply_verdict *ret)
{
    const char *words = strstr(text, ": ");
    const struct rule *rule = rule_of(text, words ? words : "");
    if (!rule) {
        return false;
    }
    *ret = reply_of_class(rule->class);
    ret->quota = rule->act == SES_STOP && rule->stop_s == QUOTA_S;
    ret->rate = rule->act == SES_TOO_FAST;
    (void)snprintf(ret->code, sizeof ret->code, "%.*s", (int)strcspn(text, ":"), text);
    return true;
}

/* ---- GetAccount -------------------------------------------------------------------------- */

bool ses_account_read(const char *body, size_t bytes, struct ses_account *ret)
{
    json_t *object = json_loadb(body, bytes, 0, NULL);
    const json_t *quota = json_object_get(object, "SendQuota");
    const json_t *most = json_object_get(quota, "Max24HourSend");
    const json_t *sent = json_object_get(quota, "SentLast24Hours");
    const json_t *rate = json_object_get(quota, "MaxSendRate");
    bool good = json_is_number(most) && json_is_number(sent) && json_is_number(rate);
    if (good) {
        struct ses_account a = {
            .production = json_is_true(json_object_get(object, "ProductionAccessEnabled")),
            .max_24h = json_number_value(most),
            .sent_24h = json_number_value(sent),
            .rate_per_s = json_number_value(rate),
        };
        printable(a.enforcement, sizeof a.enforcement,
                  text_member(object, "EnforcementStatus", "EnforcementStatus"));
        a.sending = json_is_true(json_object_get(object, "SendingEnabled")) &&
                    strcmp(a.enforcement, "SHUTDOWN") != 0;
        *ret = a;
    }
    json_decref(object);
    return good;
}
