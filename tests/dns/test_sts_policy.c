/* test_sts_policy.c - MTA-STS records and policies as they come from strangers (RFC 8461). */
#include "control/sts_policy.h"

#include <check.h>
#include <stdlib.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static const struct {
    const char *text[3];
    const char *id; /* null: no policy */
} records[] = {
    {{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
    {{"v=STSv1;id=1"}, "1"},
    {{"v=STSv1;  id=1 ; x=y z"}, "1"},
    {{"other", "v=STSv1; id=2;"}, "2"},
    {{"v=STSv1; x=1; id=3; id=4"}, "3"},
    {{"v=STSv1; id=abcdefghijklmnopqrstuvwxyz012345"}, "abcdefghijklmnopqrstuvwxyz012345"},
    {{"v=STSv1; id=abcdefghijklmnopqrstuvwxyz0123456"}, NULL}, /* 33 */
    {{"v=STSv1; id=1", "v=STSv1; id=1"}, NULL},                /* 3.1: more than one */
    {{"v=STSv1;"}, NULL},
    {{"v=STSv1; id="}, NULL},
    {{"v=STSv1; id=1-2"}, NULL},
    {{"v=STSv1; =1; id=1"}, NULL},
    {{"v=STSv1; nonsense; id=1"}, NULL},
    {{"v=STSv2; id=1"}, NULL},
    {{" v=STSv1; id=1"}, NULL},
    {{"v=STSv1 ; id=1"}, NULL},
    {{""}, NULL},
};

START_TEST(a_record_has_one_id_or_is_none)
{
    static struct dns_txt txt;
    char id[STS_ID_MAX];
    txt.n = 0;
    for (uint32_t i = 0; i < 3 && records[_i].text[i]; i++) {
        (void)snprintf(txt.text[txt.n++], sizeof txt.text[0], "%s", records[_i].text[i]);
    }
    ck_assert_int_eq(sts_record_id(&txt, id), records[_i].id != NULL);
    if (records[_i].id) {
        ck_assert_str_eq(id, records[_i].id);
    }
}
END_TEST

static const struct {
    const char *body;
    int mode; /* negative: none */
    uint32_t max_age_s;
} policies[] = {
    {"version: STSv1\r\nmode: enforce\r\nmx: a.example\r\nmax_age: 86400\r\n", STS_ENFORCE, 86400},
    {"version: STSv1\nmode: testing\nmx: *.a.example\nmax_age: 1", STS_TESTING, 1},
    {"version:STSv1\nmode:none\nmax_age:5\n", STS_NONE, 5},
    {"mode: none\nmax_age: 5  \nversion: STSv1\t\nx-y: z\n", STS_NONE, 5},
    {"version: STSv1\nmode: none\nmax_age: 9999999999\n", STS_NONE, STS_MAX_AGE_S},
    {"version: STSv1\nmode: none\nmode: enforce\nmax_age: 5\n", STS_NONE, 5}, /* the first */
    {"version: STSv1\nmode: enforce\nmax_age: 5\n", -1, 0},                   /* no mx */
    {"version: STSv2\nmode: none\nmax_age: 5\n", -1, 0},
    {"version: STSv1\nmode: Enforce\nmx: a\nmax_age: 5\n", -1, 0},
    {"version: STSv1\nmode: none\nmax_age: -5\n", -1, 0},
    {"version: STSv1\nmode: none\nmax_age: 99999999999\n", -1, 0},
    {"version: STSv1\nmode: none\nmax_age:\n", -1, 0},
    {"version: STSv1\nmode: none\n", -1, 0},
    {"mode: none\nmax_age: 5\n", -1, 0},
    {"<html>\n<body>not found</body>\n", -1, 0},
    {"version: STSv1\nmode: none\nmax_age: 5\n: x\n", -1, 0},
    {"", -1, 0},
};

START_TEST(a_policy_is_whole_or_none)
{
    struct sts_policy policy;
    const char *why;
    bool good = sts_policy_parse(policies[_i].body, &policy, &why);
    ck_assert_int_eq(good, policies[_i].mode >= 0);
    ck_assert_int_eq(good, why == NULL);
    if (good) {
        ck_assert_int_eq((int)policy.mode, policies[_i].mode);
        ck_assert_uint_eq(policy.max_age_s, policies[_i].max_age_s);
    }
}
END_TEST

/* Cut at each byte it is parsed without harm; ASan sees to that. */
START_TEST(a_policy_that_is_cut_does_no_harm)
{
    static const char whole[] = "version: STSv1\r\nmode: enforce\r\nmx: *.a.example\r\nmax_age: 9";
    for (size_t len = 0; len < sizeof whole; len++) {
        char *body = strndup(whole, len);
        struct sts_policy policy;
        const char *why;
        bool good = sts_policy_parse(body, &policy, &why);
        ck_assert_int_eq(good, len == sizeof whole - 1);
        (void)sts_policy_matches(body, "x.a.example");
        free(body);
    }
}
END_TEST

static const struct {
    const char *host;
    bool matches;
} hosts[] = {
    {"mx.example", true},
    {"mx.exampl", false},
    {"a.wild.example", true},
    {"wild.example", false},
    {"a.b.wild.example", false},
    {".wild.example", false},
    {"MX.example", true},
    {"upper.example", true},
    {"dot.example", true},
    {"other.example", false},
    {"", false},
    {"*.wild.example", true},
    {"last.example", true},
};

START_TEST(hosts_match_by_whole_labels)
{
    static const char body[] = "version: STSv1\nmode: enforce\nmx: mx.example\nmx: *.wild.example\n"
                               "mx: UPPER.example\nmx: dot.example.\nmax_age: 1\nmx:last.example ";
    ck_assert_msg(sts_policy_matches(body, hosts[_i].host) == hosts[_i].matches, "%s",
                  hosts[_i].host);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sts_policy");
    TCase *tc = tcase_create("sts_policy");
    suite_add_tcase(suite, tc);
    tcase_add_loop_test(tc, a_record_has_one_id_or_is_none, 0, COUNT(records));
    tcase_add_loop_test(tc, a_policy_is_whole_or_none, 0, COUNT(policies));
    tcase_add_test(tc, a_policy_that_is_cut_does_no_harm);
    tcase_add_loop_test(tc, hosts_match_by_whole_labels, 0, COUNT(hosts));
    SRunner *runner = srunner_create(suite);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
