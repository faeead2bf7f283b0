/*
 * test_breaker.c - each transition of a path's breaker with its time, and the pace beside it.
 *
 *   CLOSED -> THROTTLED -> CLOSED            OPEN -> HALF_OPEN -> PROBATION -> CLOSED
 */
#include "strategies/parts.h"

#include <check.h>
#include <stdlib.h>

#define T0 (UINT64_C(19675) * DAY_MS)

static const struct strategy_evidence EVIDENCE = {.signal = STRATEGY_SIGNAL_DEFERRAL,
                                                  .endpoint = ST_NONE};

/* A path that has sent n an hour for six hours. */
static struct st_path path_at_rate(uint32_t per_h)
{
    struct st_path p = {0};

    p.pace.half_ms = 30 * MINUTE_MS; /* strategy_limits_default */
    st_warmup_start(&p.warmup, T0 - 6 * HOUR_MS, false);
    for (uint64_t at = T0 - 6 * HOUR_MS; at < T0; at += MINUTE_MS)
        st_pace_use(&p.pace, at, per_h / 60);
    st_pace_poll(&p.pace, T0);
    return p;
}

static void trip(struct st_path *p, uint64_t now_ms)
{
    st_breaker_trip(p, now_ms, STRATEGY_C_R_BOUNCE_SURGE, &EVIDENCE);
}

static void pass_probes(struct st_path *p, uint64_t now_ms)
{
    st_breaker_poll(p, now_ms);
    ck_assert_int_eq(p->breaker.state, BRK_HALF_OPEN);
    st_breaker_result(p, now_ms, PROBES, 0);
}

START_TEST(a_trip_closes_the_path_for_an_hour_twice_as_long_each_time_and_a_day_at_most)
{
    static const uint64_t hours[] = {1, 2, 4, 8, 16, 24, 24};
    struct st_path p = path_at_rate(600);
    uint64_t now = T0;

    for (unsigned i = 0; i < sizeof hours / sizeof hours[0]; i++) {
        trip(&p, now);
        ck_assert_int_eq(p.breaker.state, BRK_OPEN);
        ck_assert_uint_eq(p.breaker.until_ms - now, hours[i] * HOUR_MS);
        ck_assert_uint_eq(p.breaker.evidence.expires_ms, p.breaker.until_ms);
        ck_assert_uint_eq(st_breaker_room(&p, now + 1, true), 0);
        st_breaker_poll(&p, p.breaker.until_ms - 1);
        ck_assert_int_eq(p.breaker.state, BRK_OPEN);
        now = p.breaker.until_ms;
        pass_probes(&p, now);
        ck_assert_int_eq(p.breaker.state, BRK_PROBATION);
    }
}
END_TEST

START_TEST(a_text_that_names_hours_keeps_the_path_closed_that_long)
{
    struct st_path p = path_at_rate(600);

    p.open_h_min = 4; /* TSS05, S3140 */
    trip(&p, T0);
    ck_assert_uint_eq(p.breaker.until_ms - T0, 4 * HOUR_MS);
    ck_assert_uint_eq(p.open_h_min, 0);
}
END_TEST

START_TEST(a_second_alarm_on_a_closed_path_counts_once)
{
    struct st_path p = path_at_rate(600);

    trip(&p, T0);
    trip(&p, T0 + MINUTE_MS);
    ck_assert_uint_eq(p.breaker.n_trips, 1);
    ck_assert_uint_eq(p.breaker.until_ms, T0 + HOUR_MS);
}
END_TEST

START_TEST(a_half_open_path_takes_twenty_probes_of_bulk_thirty_seconds_apart)
{
    struct st_path p = path_at_rate(600);
    uint64_t open = T0 + HOUR_MS;

    trip(&p, T0);
    st_breaker_poll(&p, open);
    ck_assert_uint_eq(st_breaker_room(&p, open, false), 0); /* not bulk */
    ck_assert_uint_eq(st_breaker_room(&p, open, true), 1);
    p.breaker.n_probes_sent = 1;
    ck_assert_uint_eq(st_breaker_room(&p, open + 29 * SECOND_MS, true), 0);
    ck_assert_uint_eq(st_breaker_room(&p, open + 30 * SECOND_MS, true), 1);
    ck_assert_uint_eq(st_breaker_room(&p, open + HOUR_MS, true), 19);
    p.breaker.n_probes_sent = 20;
    ck_assert_uint_eq(st_breaker_room(&p, open + HOUR_MS, true), 0);
}
END_TEST

START_TEST(two_bad_probes_of_twenty_pass_and_three_open_the_path_again)
{
    struct st_path p = path_at_rate(600);

    trip(&p, T0);
    st_breaker_poll(&p, T0 + HOUR_MS);
    st_breaker_result(&p, T0 + HOUR_MS, 0, 2);
    ck_assert_int_eq(p.breaker.state, BRK_HALF_OPEN);
    st_breaker_result(&p, T0 + HOUR_MS, 18, 0);
    ck_assert_int_eq(p.breaker.state, BRK_PROBATION);

    p = path_at_rate(600);
    trip(&p, T0);
    st_breaker_poll(&p, T0 + HOUR_MS);
    st_breaker_result(&p, T0 + HOUR_MS, 17, 3);
    ck_assert_int_eq(p.breaker.state, BRK_OPEN);
    ck_assert_uint_eq(p.breaker.n_trips, 2);
    ck_assert_uint_eq(p.breaker.until_ms - (T0 + HOUR_MS), 2 * HOUR_MS);
}
END_TEST

START_TEST(half_open_without_bulk_mail_ends_by_itself_after_six_hours)
{
    struct st_path p = path_at_rate(600);

    trip(&p, T0);
    st_breaker_poll(&p, T0 + HOUR_MS);
    st_breaker_poll(&p, T0 + 7 * HOUR_MS - 1);
    ck_assert_int_eq(p.breaker.state, BRK_HALF_OPEN);
    st_breaker_poll(&p, T0 + 7 * HOUR_MS);
    ck_assert_int_eq(p.breaker.state, BRK_PROBATION);
}
END_TEST

START_TEST(probation_climbs_10_20_40_80_100_percent_a_clean_hour_each)
{
    static const uint32_t percent[] = {10, 20, 40, 80};
    struct st_path p = path_at_rate(6000);
    uint64_t now = T0 + HOUR_MS;

    trip(&p, T0);
    uint32_t former = p.breaker.former_per_h;
    ck_assert_uint_ge(former, 5000);
    ck_assert_uint_le(former, 6600);
    pass_probes(&p, now);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(p.breaker.state, BRK_PROBATION);
        ck_assert_uint_eq(p.pace.rate_per_h, former * percent[i] / 100);
        st_breaker_poll(&p, now + HOUR_MS - 1);
        ck_assert_uint_eq(p.breaker.step, i);
        now += HOUR_MS;
        st_breaker_poll(&p, now);
    }
    ck_assert_uint_eq(p.pace.rate_per_h, former);
    st_breaker_poll(&p, now + HOUR_MS);
    ck_assert_int_eq(p.breaker.state, BRK_CLOSED);
    ck_assert_uint_eq(p.pace.rate_per_h, 0);
}
END_TEST

START_TEST(an_hour_that_was_not_clean_is_served_again)
{
    struct st_path p = path_at_rate(6000);
    uint64_t now = T0 + HOUR_MS;

    trip(&p, T0);
    pass_probes(&p, now);
    st_breaker_result(&p, now + MINUTE_MS, 90, 10);
    st_breaker_poll(&p, now + HOUR_MS);
    ck_assert_uint_eq(p.breaker.step, 0);
    st_breaker_result(&p, now + HOUR_MS + MINUTE_MS, 99, 1);
    st_breaker_poll(&p, now + 2 * HOUR_MS);
    ck_assert_uint_eq(p.breaker.step, 1);
}
END_TEST

START_TEST(an_alarm_in_probation_opens_the_path_again)
{
    struct st_path p = path_at_rate(6000);

    trip(&p, T0);
    pass_probes(&p, T0 + HOUR_MS);
    trip(&p, T0 + HOUR_MS + MINUTE_MS);
    ck_assert_int_eq(p.breaker.state, BRK_OPEN);
    ck_assert_uint_eq(p.breaker.n_trips, 2);
    /* The rate to come back to is that of before, not that of the probation. */
    ck_assert_uint_ge(p.breaker.former_per_h, 5000);
}
END_TEST

START_TEST(throttling_leaves_three_tenths_of_the_rate_and_ends_after_a_clean_hour)
{
    struct st_path p = path_at_rate(6000);

    st_breaker_throttle(&p, T0, STRATEGY_C_R_BOUNCE_SURGE, &EVIDENCE);
    ck_assert_int_eq(p.breaker.state, BRK_THROTTLED);
    ck_assert_uint_ge(p.pace.rate_per_h, 1500);
    ck_assert_uint_le(p.pace.rate_per_h, 2000);
    uint32_t rate = p.pace.rate_per_h;
    st_breaker_throttle(&p, T0 + 5 * MINUTE_MS, STRATEGY_C_R_BOUNCE_SURGE, &EVIDENCE);
    ck_assert_uint_eq(p.pace.rate_per_h, rate); /* not 0.3 of 0.3 */
    st_breaker_poll(&p, T0 + 65 * MINUTE_MS - 1);
    ck_assert_int_eq(p.breaker.state, BRK_THROTTLED);
    st_breaker_poll(&p, T0 + 65 * MINUTE_MS);
    ck_assert_int_eq(p.breaker.state, BRK_CLOSED);
}
END_TEST

START_TEST(a_trip_is_forgotten_for_each_clean_week)
{
    struct st_path p = path_at_rate(600);
    uint64_t now = T0;

    for (unsigned i = 0; i < 3; i++) {
        trip(&p, now);
        now = p.breaker.until_ms;
        st_breaker_poll(&p, now);
        st_breaker_result(&p, now, 17, 3);
        now = p.breaker.until_ms;
        pass_probes(&p, now);
    }
    uint8_t n = p.breaker.n_trips;
    for (unsigned i = 0; i < 5; i++)
        st_breaker_poll(&p, now += HOUR_MS);
    ck_assert_int_eq(p.breaker.state, BRK_CLOSED);
    trip(&p, now + 14 * DAY_MS + HOUR_MS);
    ck_assert_uint_eq(p.breaker.n_trips, n - 2 + 1);
}
END_TEST

START_TEST(a_request_to_slow_down_halves_the_rate_once_a_minute)
{
    struct st_path p = path_at_rate(6000);

    st_pace_cut(&p.pace, T0, 50);
    uint32_t rate = p.pace.rate_per_h;
    ck_assert_uint_ge(rate, 2500);
    ck_assert_uint_le(rate, 3300);
    st_pace_cut(&p.pace, T0 + 59 * SECOND_MS, 50);
    ck_assert_uint_eq(p.pace.rate_per_h, rate);
    st_pace_cut(&p.pace, T0 + 60 * SECOND_MS, 50);
    ck_assert_uint_le(p.pace.rate_per_h, rate / 2 + 1);
}
END_TEST

START_TEST(ten_clean_minutes_raise_the_rate_by_a_tenth_until_it_is_no_limit)
{
    struct st_path p = path_at_rate(6000);
    uint64_t now = T0;

    st_pace_cut(&p.pace, now, 50);
    uint32_t rate = p.pace.rate_per_h;
    st_pace_poll(&p.pace, now + 10 * MINUTE_MS - 1);
    ck_assert_uint_eq(p.pace.rate_per_h, rate);
    st_pace_poll(&p.pace, now + 10 * MINUTE_MS);
    ck_assert_uint_eq(p.pace.rate_per_h, rate * 11 / 10 + 1);
    st_pace_poll(&p.pace, now + 5 * HOUR_MS); /* 1.1^30 is 17 */
    ck_assert_uint_eq(p.pace.rate_per_h, 0);
    ck_assert_uint_eq(st_pace_room(&p.pace), UINT32_MAX);
}
END_TEST

START_TEST(a_limited_rate_is_what_leaves_in_an_hour)
{
    struct st_path p = path_at_rate(0);
    uint32_t sent = 0;

    st_pace_set(&p.pace, T0, 360);
    p.pace.former_per_h = UINT32_MAX / 4;
    for (uint64_t now = T0; now < T0 + 9 * MINUTE_MS; now += SECOND_MS) {
        st_pace_poll(&p.pace, now);
        uint32_t n = st_pace_room(&p.pace);
        st_pace_use(&p.pace, now, n);
        sent += n;
    }
    ck_assert_uint_ge(sent, 360 * 9 / 60 - 2);
    ck_assert_uint_le(sent, 360 * 9 / 60);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("breaker");
    TCase *tests = tcase_create("breaker");
    SRunner *runner = srunner_create(suite);

    tcase_add_test(tests,
                   a_trip_closes_the_path_for_an_hour_twice_as_long_each_time_and_a_day_at_most);
    tcase_add_test(tests, a_text_that_names_hours_keeps_the_path_closed_that_long);
    tcase_add_test(tests, a_second_alarm_on_a_closed_path_counts_once);
    tcase_add_test(tests, a_half_open_path_takes_twenty_probes_of_bulk_thirty_seconds_apart);
    tcase_add_test(tests, two_bad_probes_of_twenty_pass_and_three_open_the_path_again);
    tcase_add_test(tests, half_open_without_bulk_mail_ends_by_itself_after_six_hours);
    tcase_add_test(tests, probation_climbs_10_20_40_80_100_percent_a_clean_hour_each);
    tcase_add_test(tests, an_hour_that_was_not_clean_is_served_again);
    tcase_add_test(tests, an_alarm_in_probation_opens_the_path_again);
    tcase_add_test(tests, throttling_leaves_three_tenths_of_the_rate_and_ends_after_a_clean_hour);
    tcase_add_test(tests, a_trip_is_forgotten_for_each_clean_week);
    tcase_add_test(tests, a_request_to_slow_down_halves_the_rate_once_a_minute);
    tcase_add_test(tests, ten_clean_minutes_raise_the_rate_by_a_tenth_until_it_is_no_limit);
    tcase_add_test(tests, a_limited_rate_is_what_leaves_in_an_hour);
    suite_add_tcase(suite, tests);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
