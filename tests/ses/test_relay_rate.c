/* test_relay_rate.c - the pace of a route, with time moved by hand. */
#include "control/relay_rate.h"
#include "tests/control_lib/tap.h"

#include <stdbool.h>

/* Mails that go from now_ms on for so long, each as soon as it may. */
static uint32_t run(struct relay_rate *r, uint64_t *now_ms, uint64_t for_ms)
{
    uint64_t end_ms = *now_ms + for_ms, wait_ms;
    uint32_t n = 0;
    while (*now_ms < end_ms) {
        if ((wait_ms = relay_rate_wait_ms(r, *now_ms)) == 0) {
            relay_rate_take(r, *now_ms, 1);
            n++;
        }
        *now_ms += wait_ms;
    }
    return n;
}

START_TEST(as_many_go_as_the_limit_says)
{
    static const uint32_t per_s[] = {1, 7, 14, 100, 500, 3000};
    struct relay_rate r = {0};
    uint64_t now_ms = 1000;
    relay_rate_limit(&r, now_ms, per_s[_i] * UINT64_C(1000));
    (void)run(&r, &now_ms, 5000);
    uint32_t n = run(&r, &now_ms, 100000);
    ck_assert_msg(n + 2 >= per_s[_i] * 99 && n <= per_s[_i] * 100 + per_s[_i] / 10 + 1,
                  "%u a second: %u in 100 s", per_s[_i], n);
}
END_TEST

START_TEST(after_a_rest_a_tenth_of_a_second_goes_at_once_and_no_more)
{
    struct relay_rate r = {0};
    uint64_t now_ms = 1000;
    uint32_t n = 0;
    relay_rate_limit(&r, now_ms, 200000);
    now_ms += 3600000;
    while (relay_rate_wait_ms(&r, now_ms) == 0) {
        relay_rate_take(&r, now_ms, 1);
        n++;
    }
    ck_assert_uint_eq(n, 20);
}
END_TEST

START_TEST(without_a_limit_nothing_waits_but_for_a_cut)
{
    struct relay_rate r = {0};
    uint64_t now_ms = 1000;
    relay_rate_limit(&r, now_ms, 0);
    for (int i = 0; i < 100000; i++) {
        ck_assert_uint_eq(relay_rate_wait_ms(&r, now_ms), 0);
        relay_rate_take(&r, now_ms, 50);
    }
    relay_rate_cut(&r, now_ms, 0);
    ck_assert_uint_eq(relay_rate_wait_ms(&r, now_ms), 250);
    ck_assert_uint_eq(relay_rate_wait_ms(&r, now_ms + 250), 0);
}
END_TEST

START_TEST(a_cut_halves_the_rate_and_it_comes_back_in_steps)
{
    struct relay_rate r = {0};
    uint64_t now_ms = 1000;
    relay_rate_limit(&r, now_ms, 100000);
    relay_rate_cut(&r, now_ms, 0);
    ck_assert_uint_eq(r.rate_milli, 50000);
    relay_rate_cut(&r, now_ms + 999, 0); /* of what was under way */
    ck_assert_uint_eq(r.rate_milli, 50000);
    now_ms += 5000;
    (void)relay_rate_wait_ms(&r, now_ms);
    ck_assert_uint_eq(r.rate_milli, 75000);
    now_ms += 60000;
    (void)relay_rate_wait_ms(&r, now_ms);
    ck_assert_uint_eq(r.rate_milli, 100000);
}
END_TEST

START_TEST(cuts_in_a_row_pause_longer_up_to_a_minute_and_the_rate_never_dies)
{
    struct relay_rate r = {0};
    uint64_t now_ms = 1000, last = 0;
    relay_rate_limit(&r, now_ms, 14000);
    for (int i = 0; i < 100; i++) {
        relay_rate_cut(&r, now_ms, UINT64_MAX);
        uint64_t pause_ms = r.pause_until_ms - now_ms;
        ck_assert(pause_ms >= last / 2 && pause_ms <= 75000);
        last = pause_ms;
        now_ms = r.pause_until_ms + 1000;
        ck_assert_uint_lt(relay_rate_wait_ms(&r, now_ms), 20000);
    }
    ck_assert_uint_ge(last, 60000);
}
END_TEST

START_TEST(a_job_of_many_is_paid_for_afterwards)
{
    struct relay_rate r = {0};
    uint64_t now_ms = 1000;
    relay_rate_limit(&r, now_ms, 10000);
    now_ms += 1000;
    ck_assert_uint_eq(relay_rate_wait_ms(&r, now_ms), 0);
    relay_rate_take(&r, now_ms, 32);
    ck_assert_uint_eq(relay_rate_wait_ms(&r, now_ms), 3200);
}
END_TEST

START_TEST(a_lower_limit_holds_at_once_and_a_higher_one_too_unless_it_was_cut)
{
    struct relay_rate r = {0};
    relay_rate_limit(&r, 1000, 10000);
    relay_rate_limit(&r, 1000, 5000);
    ck_assert_uint_eq(r.rate_milli, 5000);
    relay_rate_limit(&r, 1000, 50000);
    ck_assert_uint_eq(r.rate_milli, 50000);
    relay_rate_cut(&r, 1000, 0);
    relay_rate_limit(&r, 1000, 90000);
    ck_assert_uint_eq(r.rate_milli, 25000);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("relay rate");
    tcase_add_loop_test(tc, as_many_go_as_the_limit_says, 0, 6);
    tcase_add_test(tc, after_a_rest_a_tenth_of_a_second_goes_at_once_and_no_more);
    tcase_add_test(tc, without_a_limit_nothing_waits_but_for_a_cut);
    tcase_add_test(tc, a_cut_halves_the_rate_and_it_comes_back_in_steps);
    tcase_add_test(tc, cuts_in_a_row_pause_longer_up_to_a_minute_and_the_rate_never_dies);
    tcase_add_test(tc, a_job_of_many_is_paid_for_afterwards);
    tcase_add_test(tc, a_lower_limit_holds_at_once_and_a_higher_one_too_unless_it_was_cut);
    return tap_run("relay rate", tc);
}
