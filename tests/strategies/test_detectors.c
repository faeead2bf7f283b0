/* test_detectors.c - the CUSUM figures of the specification, the window of the last 50. */
#include "strategies/cusum.h"
#include "tests/strategies/lab.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

static const struct figure {
    const char *signal;
    const struct cusum_rule *rule;
    double p0, p1, h;
    struct {
        double rate, mails; /* to the alarm, on average */
    } at[2];
} figures[] = {
    {"hard bounce", &CUSUM_HARD_BOUNCE, 0.02, 0.06, 9.48, {{0.10, 131}, {0.20, 53}}},
    {"deferral", &CUSUM_DEFERRAL, 0.03, 0.15, 10.68, {{0.30, 28}, {0.90, 8}}},
    {"REP_IP_PERM", &CUSUM_REPUTATION, 0.002, 0.02, 10.37, {{0.20, 25}, {0.90, 6}}},
    {"complaint", &CUSUM_COMPLAINT, 0.0005, 0.002, 7.82, {{0.002, 5800}, {0.005, 1500}}},
};
#define N_FIGURES (sizeof figures / sizeof figures[0])

static double mails_to_alarm(const struct cusum_rule *rule, double rate, uint64_t *random)
{
    struct cusum c = {0};

    for (double n = 1;; n++) {
        bool bad = (double)(lab_random(random) >> 11) / 9007199254740992.0 < rate;
        if (cusum_feed(&c, rule, !bad, bad))
            return n;
    }
}

START_TEST(weights_and_thresholds_are_those_of_the_table_in_q20)
{
    const struct figure *f = &figures[_i];

    ck_assert_double_eq_tol(f->rule->bad / 1048576.0, log(f->p1 / f->p0), 1e-5);
    ck_assert_double_eq_tol(f->rule->good / 1048576.0, log((1 - f->p1) / (1 - f->p0)), 1e-5);
    ck_assert_double_eq_tol(f->rule->alarm / 1048576.0, f->h, 1e-4);
}
END_TEST

START_TEST(an_alarm_takes_as_many_mails_as_the_table_says)
{
    const struct figure *f = &figures[_i];
    uint64_t random = 1;

    for (unsigned i = 0; i < 2; i++) {
        double sum = 0;
        for (unsigned run = 0; run < 4000; run++)
            sum += mails_to_alarm(f->rule, f->at[i].rate, &random);
        ck_assert_msg(fabs(sum / 4000 / f->at[i].mails - 1) < 0.08, "%s at %g: %g mails, not %g",
                      f->signal, f->at[i].rate, sum / 4000, f->at[i].mails);
    }
}
END_TEST

START_TEST(at_the_rate_of_peace_a_false_alarm_takes_about_a_million_mails)
{
    const struct figure *f = &figures[_i];
    uint64_t random = 7;
    double sum = 0;

    for (unsigned run = 0; run < 12; run++)
        sum += mails_to_alarm(f->rule, f->p0, &random);
    ck_assert_msg(sum / 12 > 3e5, "%s: one in %g", f->signal, sum / 12);
}
END_TEST

START_TEST(good_mail_never_alarms_and_leaves_nothing_behind)
{
    struct cusum c = {0};

    ck_assert(!cusum_feed(&c, &CUSUM_DEFERRAL, 0, 3));
    ck_assert_uint_gt(c.s, 0);
    ck_assert(!cusum_feed(&c, &CUSUM_DEFERRAL, UINT32_MAX, 0));
    ck_assert_uint_eq(c.s, 0);
    ck_assert_uint_eq(c.n + c.n_bad, 0);
}
END_TEST

START_TEST(the_largest_batch_alarms_and_overflows_nothing)
{
    struct cusum c = {0};

    ck_assert(cusum_feed(&c, &CUSUM_REPUTATION, 0, UINT32_MAX));
    ck_assert_uint_eq(c.n_bad, UINT32_MAX);
    ck_assert(cusum_feed(&c, &CUSUM_REPUTATION, 0, UINT32_MAX));
    ck_assert_uint_eq(c.s, UINT32_MAX);
}
END_TEST

START_TEST(the_window_knows_the_last_fifty_and_only_them)
{
    struct window50 w = {0};

    window50_feed(&w, 0, 3);
    ck_assert(window50_mostly_bad(&w));
    window50_feed(&w, 3, 0);
    ck_assert(!window50_mostly_bad(&w)); /* exactly half is not more than half */
    window50_feed(&w, 0, 50);
    ck_assert(window50_mostly_bad(&w));
    window50_feed(&w, 25, 0);
    ck_assert(!window50_mostly_bad(&w));
    window50_feed(&w, 0, 1);
    ck_assert(window50_mostly_bad(&w));
    for (unsigned i = 0; i < 500; i++)
        window50_feed(&w, 1, 0);
    ck_assert_uint_eq(w.n, WINDOW_SIZE);
    ck_assert_uint_lt(w.bad_q8, 64);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("detectors");
    TCase *tests = tcase_create("detectors");
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, weights_and_thresholds_are_those_of_the_table_in_q20, 0, N_FIGURES);
    tcase_add_loop_test(tests, an_alarm_takes_as_many_mails_as_the_table_says, 0, N_FIGURES);
    tcase_add_loop_test(tests, at_the_rate_of_peace_a_false_alarm_takes_about_a_million_mails, 0,
                        N_FIGURES);
    tcase_add_test(tests, good_mail_never_alarms_and_leaves_nothing_behind);
    tcase_add_test(tests, the_largest_batch_alarms_and_overflows_nothing);
    tcase_add_test(tests, the_window_knows_the_last_fifty_and_only_them);
    suite_add_tcase(suite, tests);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
