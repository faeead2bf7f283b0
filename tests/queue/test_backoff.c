/* test_backoff.c - see control/backoff.h. */
#include "control/backoff.h"
#include "tests/dataplane/tap.h"

static const struct backoff plain = {.step_s = {300, 900, 3600}, .n_steps = 3};

START_TEST(each_attempt_waits_for_its_step_and_the_last_one_repeats)
{
    static const struct {
        uint32_t attempts;
        int64_t wait_ms;
    } rows[] = {{1, 300000}, {2, 900000}, {3, 3600000}, {4, 3600000}, {UINT32_MAX, 3600000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_int_eq(backoff_ms(&plain, rows[i].attempts, 12345), rows[i].wait_ms);
    }
}
END_TEST

START_TEST(jitter_reaches_both_ends_and_nothing_beyond)
{
    struct backoff backoff = {.step_s = {10}, .n_steps = 1, .jitter_percent = 20};
    int64_t least = INT64_MAX, most = 0;
    for (uint64_t random = 0; random < 4001; random++) {
        int64_t wait_ms = backoff_ms(&backoff, 1, random);
        least = wait_ms < least ? wait_ms : least;
        most = wait_ms > most ? wait_ms : most;
    }
    ck_assert_int_eq(least, 8000);
    ck_assert_int_eq(most, 12000);
    ck_assert_int_ge(backoff_ms(&backoff, 1, UINT64_MAX), 8000);
    ck_assert_int_le(backoff_ms(&backoff, 1, UINT64_MAX), 12000);
}
END_TEST

START_TEST(the_wait_is_never_zero)
{
    struct backoff whole = {.step_s = {1}, .n_steps = 1, .jitter_percent = 100};
    struct backoff none = {.step_s = {0}, .n_steps = 1, .jitter_percent = 100};
    ck_assert_int_eq(backoff_ms(&whole, 1, 0), 1);
    ck_assert_int_eq(backoff_ms(&whole, 1, 2000), 2000);
    ck_assert_int_eq(backoff_ms(&none, 1, 7), 1);
}
END_TEST

START_TEST(the_longest_step_does_not_overflow)
{
    struct backoff longest = {.n_steps = BACKOFF_STEPS_MAX, .jitter_percent = 100};
    longest.step_s[BACKOFF_STEPS_MAX - 1] = UINT32_MAX;
    int64_t step_ms = (int64_t)UINT32_MAX * 1000;
    ck_assert_int_eq(backoff_ms(&longest, UINT32_MAX, (uint64_t)step_ms), step_ms);
    ck_assert_int_eq(backoff_ms(&longest, UINT32_MAX, (uint64_t)step_ms * 2), step_ms * 2);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("backoff");
    tcase_add_test(tc, each_attempt_waits_for_its_step_and_the_last_one_repeats);
    tcase_add_test(tc, jitter_reaches_both_ends_and_nothing_beyond);
    tcase_add_test(tc, the_wait_is_never_zero);
    tcase_add_test(tc, the_longest_step_does_not_overflow);
    return tap_run("backoff", tc);
}
