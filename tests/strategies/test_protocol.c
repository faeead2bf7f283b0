/*
 * test_protocol.c - the lines of wirepost-policy: what is malformed is answered with an error and
 * its line number and changes nothing; what is unknown is ignored; every mail that is asked for is
 * in the answer.
 */
#include "strategies/policy.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct policy policy;
static struct policy_text out;

static const char CONFIG_LINE[] =
    "{\"t\":0,\"config\":{\"pools\":{\"acme\":{\"addresses\":[{\"ip\":\"198.51.100.10\","
    "\"age_days\":0},{\"ip\":\"198.51.100.11\",\"age_days\":90,\"daily\":{\"gmail\":9000}}]}},"
    "\"routes\":{\"shared-main\":{\"type\":\"smtp\",\"cost\":0.01},"
    "\"ses\":{\"type\":\"ses\",\"max_24h\":50000,\"max_rate\":14}},"
    "\"senders\":{\"acme\":{\"strategy\":\"auto\",\"pool\":\"acme\",\"v30\":900000,"
    "\"shared\":[\"shared-main\",\"ses\"],\"custom\":\"ses\",\"fallback\":true}}}}";

/* The answer to one line, "" when there is none; valid until the next. */
static const char *say(const char *line)
{
    out.n_bytes = 0;
    policy_line(&policy, line, strlen(line), &out);
    policy_put(&out, "", 1);
    return out.at;
}

static void setup(void)
{
    struct strategy_limits limits = strategy_limits_default();

    limits.n_senders_max = limits.n_pools_max = limits.n_providers_max = 64;
    limits.n_streams_max = limits.n_cells_max = limits.n_flows_max = limits.n_paths_max = 1024;
    limits.n_arms_max = 4096;
    ck_assert(policy_open(&policy, &limits));
    ck_assert_str_eq(say(CONFIG_LINE), "");
    ck_assert_str_ne(say("{\"t\":10,\"plan\":{\"id\":1,\"sender\":\"acme\",\"stream\":\"bulk\","
                         "\"provider\":\"gmail\",\"n\":50}}"),
                     "");
}

static void teardown(void)
{
    policy_close(&policy);
    free(out.at);
    out = (struct policy_text){0};
}

#define KEY    "\"sender\":\"acme\",\"stream\":\"bulk\",\"provider\":\"gmail\""
#define LONG64 "0123456789012345678901234567890123456789012345678901234567890123"

static const char *const malformed[] = {
    "",
    " ",
    "null",
    "[]",
    "{",
    "}",
    "{\"t\":20",
    "{\"t\":20}}",
    "{\"t\":20}{\"t\":21}",
    "{'t':20}",
    "{t:20}",
    "{\"t\":20,}",
    "{\"t\":+20}",
    "{\"t\":020}",
    "{\"t\":20.}",
    "{\"t\":NaN}",
    "{\"t\":\"20\"}",
    "{\"t\":null}",
    "{\"t\":-1}",
    "{\"t\":9}", /* time goes backwards */
    "{\"t\":1e300}",
    "{\"T\":20}",
    "{\"plan\":{" KEY ",\"n\":1}}",
    "{\"t\":20,\"plan\":null}",
    "{\"t\":20,\"plan\":[]}",
    "{\"t\":20,\"plan\":{}}",
    "{\"t\":20,\"plan\":{" KEY "}}",
    "{\"t\":20,\"plan\":{" KEY ",\"n\":-1}}",
    "{\"t\":20,\"plan\":{" KEY ",\"n\":1.5}}",
    "{\"t\":20,\"plan\":{" KEY ",\"n\":4294967296}}",
    "{\"t\":20,\"plan\":{" KEY ",\"n\":\"1\"}}",
    "{\"t\":20,\"plan\":{" KEY ",\"n\":1,\"never_mailed\":1.1}}",
    "{\"t\":20,\"plan\":{" KEY ",\"n\":1,\"never_mailed\":-0.1}}",
    "{\"t\":20,\"plan\":{" KEY ",\"n\":1,\"retries\":-1}}",
    "{\"t\":20,\"plan\":{" KEY ",\"n\":1,\"id\":{}}}",
    "{\"t\":20,\"plan\":{\"sender\":\"nobody\",\"stream\":\"b\",\"provider\":\"g\",\"n\":1}}",
    "{\"t\":20,\"plan\":{\"sender\":\"\",\"stream\":\"b\",\"provider\":\"g\",\"n\":1}}",
    "{\"t\":20,\"plan\":{\"sender\":\"acme\",\"stream\":\"" LONG64
    "\",\"provider\":\"g\",\"n\":1}}",
    "{\"t\":20,\"plan\":{\"sender\":\"acme\",\"stream\":\"a\\u0000b\",\"provider\":\"g\",\"n\":1}}",
    "{\"t\":20,\"plan\":{\"sender\":\"acme\",\"stream\":\"\\ud800\",\"provider\":\"g\",\"n\":1}}",
    "{\"t\":20,\"plan\":{\"sender\":\"acme\",\"stream\":\"\\q\",\"provider\":\"g\",\"n\":1}}",
    "{\"t\":20,\"plan\":{" KEY ",\"n\":1},\"why\":{" KEY "}}",
    "{\"t\":20,\"outcomes\":{" KEY ",\"n\":1,\"class\":\"OK\"}}",
    "{\"t\":20,\"outcomes\":{" KEY ",\"path\":\"ses\",\"n\":1}}",
    "{\"t\":20,\"outcomes\":{" KEY ",\"path\":\"ses\",\"n\":1,\"class\":\"GOOD\"}}",
    "{\"t\":20,\"outcomes\":{" KEY ",\"path\":\"ses\",\"n\":1,\"reply\":250}}",
    "{\"t\":20,\"outcomes\":{" KEY ",\"path\":\"nowhere\",\"n\":1,\"class\":\"OK\"}}",
    "{\"t\":20,\"outcomes\":{" KEY ",\"path\":\"ses\",\"n\":-1,\"class\":\"OK\"}}",
    "{\"t\":20,\"outcomes\":{" KEY ",\"path\":\"ses\",\"n\":1,\"class\":\"OK\",\"sent_t\":\"x\"}}",
    "{\"t\":20,\"opens\":{" KEY ",\"n\":1}}",
    "{\"t\":20,\"complaints\":{" KEY ",\"path\":7,\"n\":1}}",
    "{\"t\":20,\"hard_bounces\":7}",
    "{\"t\":20,\"dnsbl\":{\"ip\":\"198.51.100.10\",\"zone\":\"zen.spamhaus.org\"}}",
    "{\"t\":20,\"dnsbl\":{\"ip\":\"198.51.100.10\",\"answer\":null}}",
    "{\"t\":20,\"dnsbl\":{\"ip\":\"203.0.113.1\",\"zone\":\"z\",\"answer\":null}}",
    "{\"t\":20,\"dnsbl\":{\"ip\":\"198.51.100.10\",\"zone\":\"z\",\"answer\":\"127.0.0\"}}",
    "{\"t\":20,\"dnsbl\":{\"ip\":\"198.51.100.10\",\"zone\":\"z\",\"answer\":\"127.0.0.256\"}}",
    "{\"t\":20,\"dnsbl\":{\"ip\":\"198.51.100.10\",\"zone\":\"zen.spamhaus.org\","
    "\"answer\":[\"127.0.0.2\",\"x\"]}}",
    "{\"t\":20,\"operator\":{\"ip\":\"198.51.100.10\"}}",
    "{\"t\":20,\"operator\":{\"ip\":\"198.51.100.10\",\"retired\":1}}",
    "{\"t\":20,\"why\":{\"sender\":\"acme\",\"stream\":\"other\",\"provider\":\"gmail\"}}",
    "{\"t\":20,\"why_not\":{" KEY ",\"path\":\"nowhere\"}}",
    "{\"t\":20,\"config\":7}",
    "{\"t\":20,\"config\":{\"pools\":[]}}",
    "{\"t\":20,\"config\":{\"pools\":{\"new\":{\"addresses\":{}}}}}",
    "{\"t\":20,\"config\":{\"pools\":{\"new\":{\"addresses\":[{}]}}}}",
    "{\"t\":20,\"config\":{\"pools\":{\"new\":{\"addresses\":[{\"ip\":\"198.51.100.10\"}]}}}}",
    "{\"t\":20,\"config\":{\"pools\":{\"new\":{\"addresses\":[{\"ip\":\"192.0.2.9\","
    "\"age_days\":-1}]}}}}",
    "{\"t\":20,\"config\":{\"pools\":{\"new\":{\"addresses\":[{\"ip\":\"ses\"}]}}}}",
    "{\"t\":20,\"config\":{\"routes\":{\"new\":{\"type\":\"fax\"}}}}",
    "{\"t\":20,\"config\":{\"routes\":{\"new\":{},\"ses\":{\"max_24h\":-1}}}}",
    "{\"t\":20,\"config\":{\"routes\":{\"new\":{\"cost\":-1}}}}",
    "{\"t\":20,\"config\":{\"senders\":{\"new\":{}}}}",
    "{\"t\":20,\"config\":{\"senders\":{\"new\":{\"strategy\":\"best\"}}}}",
    "{\"t\":20,\"config\":{\"senders\":{\"new\":{\"strategy\":\"auto\",\"pool\":\"nowhere\"}}}}",
    "{\"t\":20,\"config\":{\"senders\":{\"new\":{\"strategy\":\"auto\",\"shared\":[\"nowhere\"]}}}"
    "}",
    "{\"t\":20,\"config\":{\"senders\":{\"new\":{\"strategy\":\"auto\",\"shared\":7}}}}",
    "{\"t\":20,\"config\":{\"senders\":{\"new\":{\"strategy\":\"auto\",\"v30\":-1}}}}",
    "{\"t\":20,\"config\":{\"senders\":{\"new\":{\"strategy\":\"auto\",\"fallback\":1}}}}",
};

START_TEST(a_malformed_line_is_answered_with_its_number_and_changes_nothing)
{
    const char *line = malformed[_i];
    uint64_t hash = strategy_state_hash(policy.engine);
    char end[32];
    const char *answer = say(line);

    (void)snprintf(end, sizeof end, "\",\"line\":%d}\n", 3);
    ck_assert_msg(strncmp(answer, "{\"error\":\"", 10) == 0, "%s -> %s", line, answer);
    ck_assert_msg(strlen(answer) > strlen(end) &&
                      strcmp(answer + strlen(answer) - strlen(end), end) == 0,
                  "%s -> %s", line, answer);
    ck_assert_msg(strategy_state_hash(policy.engine) == hash, "%s changed something", line);
}
END_TEST

START_TEST(a_line_cut_at_any_byte_changes_nothing)
{
    uint64_t hash = strategy_state_hash(policy.engine);

    for (size_t n = 0; n + 1 < sizeof CONFIG_LINE; n++) {
        out.n_bytes = 0;
        policy_line(&policy, CONFIG_LINE, n, &out);
        ck_assert_uint_gt(out.n_bytes, 10);
        ck_assert_int_eq(strncmp(out.at, "{\"error\":", 9), 0);
    }
    ck_assert_uint_eq(strategy_state_hash(policy.engine), hash);
}
END_TEST

static const char *const accepted[] = {
    "{\"t\":20}",
    " {\t\"t\" : 2e1 } \r",
    "{\"t\":20.125,\"comment\":{\"deep\":[1,{\"er\":null}]}}",
    "{\"t\":20,\"outcomes\":{" KEY ",\"path\":\"ses\",\"class\":\"OK\"}}",
    "{\"t\":20,\"outcomes\":{" KEY ",\"path\":\"ses\",\"n\":0,\"reply\":\"\",\"mood\":1}}",
    "{\"t\":20,\"outcomes\":{" KEY ",\"path\":\"198.51.100.10\",\"n\":2,\"reply\":\"421 "
    "\\u00e9\\ud83d\\ude00\\n\",\"sent_t\":5}}",
    "{\"t\":20,\"opens\":{" KEY ",\"path\":\"ses\",\"sent_t\":null,\"n\":4294967295}}",
    "{\"t\":20,\"complaints\":{" KEY ",\"path\":\"ses\",\"n\":1}}",
    "{\"t\":20,\"hard_bounces\":{" KEY ",\"path\":\"ses\",\"n\":1}}",
    "{\"t\":20,\"dnsbl\":{\"ip\":\"198.51.100.10\",\"zone\":\"zen.spamhaus.org\",\"answer\":"
    "[\"127.0.0.2\",\"127.0.0.10\"]}}",
    "{\"t\":20,\"operator\":{\"ip\":\"198.51.100.10\",\"retired\":true}}",
    "{\"t\":20,\"config\":{\"colours\":[],\"senders\":{\"new\":{\"strategy\":\"custom\","
    "\"custom\":null,\"shared\":[],\"hat\":\"red\"}}}}",
};

START_TEST(an_event_is_taken_in_silence_and_unknown_fields_are_ignored)
{
    ck_assert_msg(say(accepted[_i])[0] == '\0', "%s -> %s", accepted[_i], out.at);
}
END_TEST

/* The number behind a key of an answer, or 0. */
static unsigned long number(const char *answer, const char *key)
{
    const char *at = strstr(answer, key);

    return at == NULL ? 0 : strtoul(at + strlen(key), NULL, 10);
}

START_TEST(split_and_held_are_always_what_was_asked_for)
{
    char line[256];

    for (unsigned long n = 0; n < 5000000; n = n * 3 + 1) {
        (void)snprintf(line, sizeof line,
                       "{\"t\":%lu,\"plan\":{\"id\":\"x\\\"y\"," KEY ",\"n\":%lu}}", 100 + n / 100,
                       n);
        const char *answer = say(line);
        unsigned long sum = number(answer, "\"held\":");
        for (const char *at = answer; (at = strstr(at, "\"path\":")) != NULL; at++)
            sum += number(at, "\"n\":");
        ck_assert_msg(sum == n, "%s -> %s", line, answer);
        ck_assert_ptr_nonnull(strstr(answer, "\"id\":\"x\\\"y\""));
        ck_assert((strstr(answer, "\"retry_at\":null") != NULL) ==
                  (number(answer, "\"held\":") == 0));
    }
}
END_TEST

START_TEST(answers_have_the_form_of_the_specification)
{
    ck_assert_str_eq(say("{\"t\":600,\"plan\":{\"id\":7,\"sender\":\"acme\",\"stream\":\"bulk:c7\","
                         "\"provider\":\"yahoo\",\"n\":4,\"never_mailed\":0.01}}"),
                     "{\"t\":600,\"id\":7,\"split\":[{\"path\":\"198.51.100.10\",\"n\":2},"
                     "{\"path\":\"198.51.100.11\",\"n\":2}],\"held\":0,\"retry_at\":null,"
                     "\"reason\":\"V_BEST\",\"evidence\":\"by value\"}\n");
    const char *why = say("{\"t\":601,\"why\":{\"sender\":\"acme\",\"stream\":\"bulk:c7\","
                          "\"provider\":\"yahoo\"}}");
    static const char *const fields[] = {
        "\"old\":",        "\"new\":{",     "\"reason\":\"V_BEST\"", "\"signal\":",
        "\"n\":",          "\"observed\":", "\"threshold\":",        "\"statistic\":",
        "\"expiry\":null", "\"line\":\""};
    for (unsigned i = 0; i < sizeof fields / sizeof fields[0]; i++)
        ck_assert_msg(strstr(why, fields[i]) != NULL, "%s in %s", fields[i], why);
    ck_assert_ptr_nonnull(
        strstr(say("{\"t\":602,\"why_not\":{" KEY ",\"path\":\"ses\"}}"), "\"why_not\":null"));
}
END_TEST

START_TEST(a_number_of_a_line_counts_all_lines)
{
    for (unsigned i = 0; i < 10; i++)
        (void)say("{\"t\":30}");
    ck_assert_ptr_nonnull(strstr(say("x"), "\"line\":13}"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("protocol");
    TCase *tests = tcase_create("protocol");
    SRunner *runner = srunner_create(suite);

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, a_malformed_line_is_answered_with_its_number_and_changes_nothing, 0,
                        (int)(sizeof malformed / sizeof malformed[0]));
    tcase_add_test(tests, a_line_cut_at_any_byte_changes_nothing);
    tcase_add_loop_test(tests, an_event_is_taken_in_silence_and_unknown_fields_are_ignored, 0,
                        (int)(sizeof accepted / sizeof accepted[0]));
    tcase_add_test(tests, split_and_held_are_always_what_was_asked_for);
    tcase_add_test(tests, answers_have_the_form_of_the_specification);
    tcase_add_test(tests, a_number_of_a_line_counts_all_lines);
    suite_add_tcase(suite, tests);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
