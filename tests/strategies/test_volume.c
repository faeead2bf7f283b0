/* test_volume.c - the warm-up ramp of an address, the volume of a sender with its hysteresis. */
#include "strategies/parts.h"

#include <check.h>
#include <stdlib.h>

#define T0 (UINT64_C(19675) * DAY_MS)

/* ---- warm-up ---- */

struct day { /* what became of a day's mails, of 1000 that were sent */
    uint32_t deferred, blocked, hard, complaints;
};

/* A day on which everything that may be sent is sent; the caller's rates apply to it. */
static void full_day(struct st_warmup *w, uint64_t midnight, const struct day *d)
{
    for (uint64_t now = midnight; now < midnight + DAY_MS; now += 10 * MINUTE_MS) {
        st_warmup_roll(w, now);
        st_warmup_use(w, st_warmup_room(w));
    }
    w->n_done = w->used_day;
    w->n_deferred = (uint32_t)((uint64_t)w->used_day * d->deferred / 1000);
    w->n_blocked = (uint32_t)((uint64_t)w->used_day * d->blocked / 1000);
    w->n_hard = (uint32_t)((uint64_t)w->used_day * d->hard / 1000);
    w->n_complaints = (uint32_t)((uint64_t)w->used_day * d->complaints / 1000);
    w->limited_today = true;
}

static uint32_t cap_after(uint32_t cap, const struct day *d)
{
    struct st_warmup w;

    st_warmup_start(&w, T0, true);
    w.cap = cap;
    full_day(&w, T0, d);
    st_warmup_roll(&w, T0 + DAY_MS);
    return w.cap;
}

static const struct ramp {
    const char *what;
    uint32_t cap;
    struct day day;
    uint32_t next;
} ramps[] = {
    {"doubles below 5,000", 100, {0}, 200},
    {"doubles below 5,000", 4999, {0}, 9998},
    {"x 1.4 to 50,000", 5000, {0}, 7000},
    {"x 1.4 to 50,000", 49999, {0}, 69998},
    {"x 1.3 above", 50000, {0}, 65000},
    {"4.9 % deferred qualify", 1000, {.deferred = 49}, 2000},
    {"5 % deferred hold", 1000, {.deferred = 50}, 1000},
    {"9.9 % deferred hold", 1000, {.deferred = 99}, 1000},
    {"10 % deferred halve", 1000, {.deferred = 100}, 500},
    {"blocks halve", 1000, {.blocked = 2}, 500},
    {"1.9 % hard bounces qualify", 1000, {.hard = 19}, 2000},
    {"2 % hard bounces hold", 1000, {.hard = 20}, 1000},
    {"0.1 % complaints hold", 10000, {.complaints = 1}, 10000},
    {"one complaint in a thousand is chance", 1000, {.complaints = 1}, 2000},
    {"two hard bounces of a hundred are chance", 100, {.hard = 20}, 200},
    {"three of them are not", 100, {.hard = 30}, 100},
};

START_TEST(a_day_is_judged_as_the_table_says)
{
    const struct ramp *r = &ramps[_i];
    uint32_t next = cap_after(r->cap, &r->day);

    ck_assert_msg(next == r->next, "%s: %u became %u, not %u", r->what, r->cap, next, r->next);
}
END_TEST

START_TEST(a_cold_address_begins_with_a_hundred_and_a_relay_has_no_cap)
{
    struct st_warmup w;

    st_warmup_start(&w, T0, true);
    ck_assert_uint_eq(st_warmup_room(&w), 100);
    st_warmup_start(&w, T0, false);
    ck_assert_uint_eq(st_warmup_room(&w), UINT32_MAX);
}
END_TEST

START_TEST(a_day_that_used_less_than_half_of_the_cap_does_not_raise_it)
{
    struct st_warmup w;

    st_warmup_start(&w, T0, true);
    w.cap = 1000;
    st_warmup_use(&w, 100);
    w.n_done = 100;
    st_warmup_roll(&w, T0 + DAY_MS);
    ck_assert_uint_eq(w.cap, 1000);
}
END_TEST

START_TEST(a_day_never_exceeds_its_cap_and_is_spread_without_clumps)
{
    struct st_warmup w;
    uint32_t sent = 0, most = 0;

    st_warmup_start(&w, T0, true);
    w.cap = 9600;
    for (uint64_t now = T0; now < T0 + DAY_MS; now += 10 * MINUTE_MS) {
        st_warmup_roll(&w, now);
        uint32_t n = st_warmup_room(&w);
        st_warmup_use(&w, n);
        sent += n;
        most = now > T0 && n > most ? n : most;
    }
    ck_assert_uint_eq(sent, 9600);
    ck_assert_uint_le(most, 9600 / 8);
}
END_TEST

START_TEST(it_is_halved_once_a_day_and_quartered_when_it_happens_again_within_a_week)
{
    struct st_warmup w;

    st_warmup_start(&w, T0, true);
    w.cap = 1600;
    st_warmup_halve(&w);
    st_warmup_halve(&w);
    ck_assert_uint_eq(w.cap, 800);
    st_warmup_roll(&w, T0 + DAY_MS);
    st_warmup_halve(&w);
    ck_assert_uint_eq(w.cap, 200);
}
END_TEST

START_TEST(thirty_idle_days_start_again)
{
    struct st_warmup w;

    st_warmup_start(&w, T0, true);
    st_warmup_known(&w, 10000);
    st_warmup_roll(&w, T0 + 3 * DAY_MS);
    ck_assert_uint_gt(w.cap, 1000);
    st_warmup_roll(&w, T0 + 31 * DAY_MS);
    ck_assert_uint_eq(w.cap, WARMUP_START);
    ck_assert(!w.is_warm);
}
END_TEST

START_TEST(a_warm_address_takes_twice_its_peak_and_not_more)
{
    struct st_warmup w;
    uint32_t sent = 0;

    st_warmup_start(&w, T0, true);
    st_warmup_known(&w, 4800);
    ck_assert_uint_eq(st_warmup_day_limit(&w), 9600);
    for (uint64_t now = T0; now < T0 + DAY_MS; now += 10 * MINUTE_MS) {
        st_warmup_roll(&w, now);
        sent += st_warmup_room(&w);
        st_warmup_use(&w, st_warmup_room(&w));
    }
    ck_assert_uint_eq(sent, 9600);
}
END_TEST

START_TEST(what_was_not_sent_may_be_sent_later)
{
    struct st_warmup w;

    st_warmup_start(&w, T0, true);
    st_warmup_use(&w, 100);
    ck_assert_uint_eq(st_warmup_room(&w), 0);
    st_warmup_return(&w, 40);
    ck_assert_uint_eq(st_warmup_room(&w), 40);
}
END_TEST

/* ---- V30 ---- */

static struct st_sender sender_of(uint32_t v30)
{
    struct st_sender s = {.day = (uint32_t)(T0 / DAY_MS), .first_day = (uint32_t)(T0 / DAY_MS)};

    s.v30_given = s.v30 = v30;
    return s;
}

/* n days of per_day mails each; the number of the day on which eligibility changed, 0: never. */
static unsigned days_until(struct st_sender *s, uint64_t *now_ms, uint32_t per_day, bool eligible,
                           unsigned n_days)
{
    for (unsigned day = 1; day <= n_days; day++) {
        st_volume_accepted(s, *now_ms, per_day);
        *now_ms += DAY_MS;
        st_volume_roll(s, *now_ms);
        if (s->eligible == eligible)
            return day;
    }
    return 0;
}

START_TEST(twenty_five_thousand_count_on_the_third_day_running)
{
    struct st_sender s = sender_of(10000);
    uint64_t now = T0;

    ck_assert_uint_eq(days_until(&s, &now, 0, false, 1), 1);
    s.v30_given = 26000;
    ck_assert_uint_eq(days_until(&s, &now, 26000 / 30, true, 10), 3);
}
END_TEST

START_TEST(fifty_thousand_count_at_once)
{
    struct st_sender s = sender_of(10000);
    uint64_t now = T0;

    ck_assert_uint_eq(days_until(&s, &now, 0, false, 1), 1);
    ck_assert_uint_eq(days_until(&s, &now, 60000, true, 10), 1);
}
END_TEST

START_TEST(it_takes_fourteen_days_below_twenty_thousand_to_leave)
{
    struct st_sender s = sender_of(30000);
    uint64_t now = T0;

    ck_assert_uint_eq(days_until(&s, &now, 1000, true, 1), 1);
    s.v30_given = 15000;
    ck_assert_uint_eq(days_until(&s, &now, 500, false, 30), 14);
}
END_TEST

START_TEST(between_the_two_lines_nothing_changes)
{
    struct st_sender s = sender_of(30000);
    uint64_t now = T0;

    ck_assert_uint_eq(days_until(&s, &now, 1000, true, 1), 1);
    s.v30_given = 22000;
    ck_assert_uint_eq(days_until(&s, &now, 22000 / 30 + 1, false, 60), 0);
    s = sender_of(10000);
    now = T0;
    ck_assert_uint_eq(days_until(&s, &now, 0, false, 1), 1);
    s.v30_given = 22000;
    ck_assert_uint_eq(days_until(&s, &now, 22000 / 30 + 1, true, 60), 0);
}
END_TEST

START_TEST(a_provider_enters_at_a_hundred_a_day_for_each_address_and_leaves_below_fifty)
{
    struct st_cell c = {.day = (uint32_t)(T0 / DAY_MS), .first_day = (uint32_t)(T0 / DAY_MS)};
    static const struct {
        uint32_t per_day;
        bool eligible;
    } weeks[] = {{400, true}, {120, true}, {98, false}, {150, false}, {200, true}};
    uint64_t now = T0;

    for (unsigned week = 0; week < sizeof weeks / sizeof weeks[0]; week++) {
        for (unsigned day = 0; day < 8; day++) {
            st_cell_roll(&c, now, 2); /* two addresses */
            c.accepted[c.day % 7] = weeks[week].per_day;
            now += DAY_MS;
        }
        st_cell_roll(&c, now, 2);
        ck_assert_msg(c.provider_eligible == weeks[week].eligible, "week %u", week);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("volume");
    TCase *tests = tcase_create("volume");
    SRunner *runner = srunner_create(suite);

    tcase_add_loop_test(tests, a_day_is_judged_as_the_table_says, 0,
                        (int)(sizeof ramps / sizeof ramps[0]));
    tcase_add_test(tests, a_cold_address_begins_with_a_hundred_and_a_relay_has_no_cap);
    tcase_add_test(tests, a_day_that_used_less_than_half_of_the_cap_does_not_raise_it);
    tcase_add_test(tests, a_day_never_exceeds_its_cap_and_is_spread_without_clumps);
    tcase_add_test(tests,
                   it_is_halved_once_a_day_and_quartered_when_it_happens_again_within_a_week);
    tcase_add_test(tests, thirty_idle_days_start_again);
    tcase_add_test(tests, a_warm_address_takes_twice_its_peak_and_not_more);
    tcase_add_test(tests, what_was_not_sent_may_be_sent_later);
    tcase_add_test(tests, twenty_five_thousand_count_on_the_third_day_running);
    tcase_add_test(tests, fifty_thousand_count_at_once);
    tcase_add_test(tests, it_takes_fourteen_days_below_twenty_thousand_to_leave);
    tcase_add_test(tests, between_the_two_lines_nothing_changes);
    tcase_add_test(tests,
                   a_provider_enters_at_a_hundred_a_day_for_each_address_and_leaves_below_fifty);
    suite_add_tcase(suite, tests);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
