/* test_ses_answer.c - what the answers of SES mean. */
#include "control/ses_api.h"
#include "tests/control_lib/tap.h"

#include <string.h>

struct answer {
    long status;
    const char *type, *body;
    enum ses_act act;
    enum outcome_kind kind;
    uint16_t code;
    bool each;
};

static const struct answer answers[] = {
    {200, "", "{\"MessageId\":\"0102-abc\"}", SES_ACCEPTED, OUTCOME_DELIVERED, 250, false},
    {200, "", "{}", SES_UNCERTAIN, OUTCOME_DOUBTFUL, 0, false},
    {200, "", "<html>", SES_UNCERTAIN, OUTCOME_DOUBTFUL, 0, false},
    {200, "", "{\"MessageId\":17}", SES_UNCERTAIN, OUTCOME_DOUBTFUL, 0, false},
    {429, "TooManyRequestsException", "{\"message\":\"Maximum sending rate exceeded.\"}",
     SES_TOO_FAST, OUTCOME_DEFERRED, 454, false},
    {429, "TooManyRequestsException:http://internal/", "{}", SES_TOO_FAST, OUTCOME_DEFERRED, 454,
     false},
    {400, "",
     "{\"__type\":\"com.amazonaws.ses#ThrottlingException\",\"message\":\"Daily message quota "
     "exceeded\"}",
     SES_STOP, OUTCOME_DEFERRED, 454, false},
    {429, "TooManyRequestsException", "{\"message\":\"Daily message quota exceeded.\"}", SES_STOP,
     OUTCOME_DEFERRED, 454, false},
    {400, "LimitExceededException", "{}", SES_STOP, OUTCOME_DEFERRED, 454, false},
    {400, "SendingPausedException", "{}", SES_STOP, OUTCOME_DEFERRED, 454, false},
    {400, "AccountSuspendedException", "{}", SES_STOP, OUTCOME_DEFERRED, 454, false},
    {404, "NotFoundException", "{\"message\":\"Configuration set <x> does not exist.\"}", SES_STOP,
     OUTCOME_DEFERRED, 454, false},
    {400, "MailFromDomainNotVerifiedException", "{}", SES_LATER, OUTCOME_DEFERRED, 451, false},
    {400, "MessageRejected", "{\"message\":\"Email address is not verified.\"}", SES_LATER,
     OUTCOME_DEFERRED, 454, true},
    {400, "MessageRejected", "{\"message\":\"Transaction failed\"}", SES_REJECTED, OUTCOME_BOUNCED,
     554, false},
    {400, "BadRequestException", "{\"message\":\"Illegal address\"}", SES_REJECTED, OUTCOME_BOUNCED,
     553, true},
    {400, "BadRequestException", "{\"message\":\"Duplicate header\"}", SES_REJECTED,
     OUTCOME_BOUNCED, 554, true},
    {400, "BadRequestException", "{\"message\":\"Message length is more than\"}", SES_REJECTED,
     OUTCOME_BOUNCED, 552, false},
    {403, "InvalidSignatureException", "{}", SES_FAILED, OUTCOME_DEFERRED, 535, false},
    {403, "ExpiredTokenException", "{}", SES_FAILED, OUTCOME_DEFERRED, 535, false},
    {403, "", "", SES_FAILED, OUTCOME_DEFERRED, 535, false},
    {500, "InternalFailure", "{}", SES_FAILED, OUTCOME_DEFERRED, 451, false},
    {503, "", "busy", SES_FAILED, OUTCOME_DEFERRED, 451, false},
    {504, "", "", SES_UNCERTAIN, OUTCOME_DOUBTFUL, 0, false},
    {413, "", "", SES_REJECTED, OUTCOME_BOUNCED, 552, false},
    {418, "Unheard", "{\"message\":\"of\"}", SES_LATER, OUTCOME_DEFERRED, 451, false},
};

START_TEST(each_answer_has_its_meaning)
{
    const struct answer *a = &answers[_i];
    struct ses_verdict v;
    ses_answer_read(a->status, a->type, a->body, strlen(a->body), &v);
    ck_assert_msg(v.act == a->act && v.kind == a->kind && v.code == a->code && v.each == a->each,
                  "%ld %s %s: act %d kind %d code %u each %d (%s)", a->status, a->type, a->body,
                  v.act, v.kind, v.code, v.each, v.text);
    ck_assert((v.act == SES_STOP) == (v.stop_s > 0));
    ck_assert_uint_gt(strlen(v.text), 0);
}
END_TEST

START_TEST(words_of_the_service_become_printable_ascii_and_are_cut)
{
    char body[2000] = "{\"message\":\"a\\n\\u0007\\u00e4";
    struct ses_verdict v;
    memset(body + strlen(body), 'x', 1500);
    strcpy(body + 1600, "\"}");
    memset(body + strlen(body), 'y', 1600 - strlen(body));
    ses_answer_read(400, "MessageRejected", body, strlen(body), &v);
    ck_assert_int_eq(strncmp(v.text, "MessageRejected: a????", 22), 0);
    ck_assert_uint_lt(strlen(v.text), sizeof v.text);
}
END_TEST

START_TEST(a_text_is_classed_as_the_answer_was)
{
    static const struct {
        const char *text;
        enum reply_class class;
        bool quota, rate;
    } texts[] = {
        {"TooManyRequestsException: Maximum sending rate exceeded.", REPLY_RELAY_FAIL, false, true},
        {"TooManyRequestsException: Daily message quota exceeded.", REPLY_RELAY_FAIL, true, false},
        {"SendingPausedException: x", REPLY_RELAY_FAIL, false, false},
        {"MessageRejected: Transaction failed", REPLY_CONTENT, false, false},
        {"MailFromDomainNotVerifiedException", REPLY_AUTH, false, false},
        {"HTTP 503", REPLY_RELAY_FAIL, false, false},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct reply_verdict v;
        ck_assert(ses_classify(texts[i].text, &v));
        ck_assert_msg(v.class == texts[i].class && v.quota == texts[i].quota &&
                          v.rate == texts[i].rate,
                      "%s: %s", texts[i].text, reply_class_name(v.class));
    }
    struct reply_verdict v;
    ck_assert(!ses_classify("something else", &v));
}
END_TEST

START_TEST(no_rule_blames_a_recipient)
{
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct ses_verdict v;
        struct reply_verdict reply;
        ses_answer_read(answers[i].status, answers[i].type, answers[i].body,
                        strlen(answers[i].body), &v);
        ck_assert(!ses_classify(v.text, &reply) || !reply_blames_recipient(reply.class));
    }
}
END_TEST

START_TEST(an_account_is_read_and_half_of_one_is_not)
{
    static const char good[] =
        "{\"SendQuota\":{\"Max24HourSend\":200.0,\"MaxSendRate\":1.0,\"SentLast24Hours\":7.0},"
        "\"EnforcementStatus\":\"HEALTHY\",\"SendingEnabled\":true,\"ProductionAccessEnabled\":"
        "false}";
    static const char shut[] =
        "{\"SendQuota\":{\"Max24HourSend\":-1,\"MaxSendRate\":14,\"SentLast24Hours\":0},"
        "\"EnforcementStatus\":\"SHUTDOWN\",\"SendingEnabled\":true,\"ProductionAccessEnabled\":"
        "true}";
    struct ses_account a = {0};
    ck_assert(ses_account_read(good, strlen(good), &a));
    ck_assert(a.sending && !a.production && a.max_24h > 199 && a.rate_per_s < 1.1 &&
              a.sent_24h > 6);
    ck_assert(ses_account_read(shut, strlen(shut), &a));
    ck_assert(!a.sending && a.max_24h < 0);
    for (size_t n = 0; n < strlen(good); n++) {
        ck_assert(!ses_account_read(good, n, &a));
    }
    ck_assert(!ses_account_read("{\"SendQuota\":{}}", 16, &a));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ses answer");
    tcase_add_loop_test(tc, each_answer_has_its_meaning, 0, sizeof answers / sizeof answers[0]);
    tcase_add_test(tc, words_of_the_service_become_printable_ascii_and_are_cut);
    tcase_add_test(tc, a_text_is_classed_as_the_answer_was);
    tcase_add_test(tc, no_rule_blames_a_recipient);
    tcase_add_test(tc, an_account_is_read_and_half_of_one_is_not);
    return tap_run("ses answer", tc);
}
