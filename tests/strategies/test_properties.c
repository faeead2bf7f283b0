/*
 * test_properties.c - storms: no invariant breaks, the same events give the same state, a saved
 * engine goes on as if it had never stopped, and an image that is not ours is refused.
 */
#include "tests/strategies/storm.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define DECISIONS 20000u

static struct strategy_limits small_limits(void)
{
    struct strategy_limits limits = strategy_limits_default();

    limits.n_senders_max = limits.n_pools_max = 64;
    limits.n_streams_max = limits.n_cells_max = limits.n_flows_max = limits.n_paths_max = 4096;
    limits.n_arms_max = 16384;
    return limits;
}

struct world {
    void *memory;
    struct storm storm;
};

static struct strategy_engine *fresh(void **ret_memory)
{
    struct strategy_limits limits = small_limits();

    *ret_memory = calloc(1, strategy_engine_bytes(&limits));
    ck_assert_ptr_nonnull(*ret_memory);
    return strategy_engine_init(*ret_memory, &limits);
}

static void begin(struct world *w, uint64_t seed)
{
    storm_begin(&w->storm, fresh(&w->memory), seed, NULL);
}

static void blow(struct storm *s, uint64_t n_decisions)
{
    for (uint64_t end = s->n_decisions + n_decisions; s->n_decisions < end;)
        ck_assert_msg(storm_step(s), "decision %llu: %s", (unsigned long long)s->n_decisions,
                      s->broken);
}

START_TEST(no_invariant_breaks_in_a_storm_and_after_it_nobody_is_held)
{
    struct world w;

    begin(&w, (uint64_t)_i + 1);
    blow(&w.storm, DECISIONS);
    ck_assert_msg(storm_calm(&w.storm), "%s", w.storm.broken);
    free(w.memory);
}
END_TEST

/* Found by wirepost-policy-check: the relay that took the overflow last kept single mails waiting
 * for own addresses that had room. */
START_TEST(home_that_has_room_takes_a_mail_although_the_overflow_has_a_favourite)
{
    struct world w;

    begin(&w, 1039);
    blow(&w.storm, 100000);
    ck_assert_msg(storm_calm(&w.storm), "%s", w.storm.broken);
    free(w.memory);
}
END_TEST

START_TEST(a_storm_meets_every_reason_but_those_of_the_data_plane_and_of_no_route_at_all)
{
    uint64_t n_cause[STRATEGY_CAUSES] = {0};

    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct world w;
        begin(&w, seed);
        blow(&w.storm, DECISIONS);
        for (unsigned c = 0; c < STRATEGY_CAUSES; c++)
            n_cause[c] += w.storm.n_cause[c];
        free(w.memory);
    }
    for (unsigned c = 0; c < STRATEGY_CAUSES; c++) {
        if (c != STRATEGY_C_R_LANE_DOWN && c != STRATEGY_C_H_NO_ROUTE &&
            c != STRATEGY_C_R_PLACEMENT)
            ck_assert_msg(n_cause[c] > 0, "%s", strategy_cause_name((enum strategy_cause)c));
    }
}
END_TEST

START_TEST(the_same_events_give_the_same_state)
{
    struct world a, b;

    begin(&a, 42);
    begin(&b, 42);
    blow(&a.storm, DECISIONS);
    blow(&b.storm, DECISIONS);
    ck_assert_uint_eq(strategy_state_hash(a.storm.engine), strategy_state_hash(b.storm.engine));
    blow(&b.storm, 1);
    ck_assert_uint_ne(strategy_state_hash(a.storm.engine), strategy_state_hash(b.storm.engine));
    free(a.memory);
    free(b.memory);
}
END_TEST

static void *save(const struct strategy_engine *e, size_t *ret_n_bytes)
{
    void *image = malloc(*ret_n_bytes = strategy_save_bytes(e));

    ck_assert_ptr_nonnull(image);
    strategy_save(e, image);
    return image;
}

START_TEST(a_saved_engine_goes_on_as_if_it_had_never_stopped)
{
    struct world a, b;
    size_t n_bytes;

    begin(&a, (uint64_t)_i + 100);
    blow(&a.storm, DECISIONS / 2);
    void *image = save(a.storm.engine, &n_bytes);
    b.storm = a.storm;
    b.storm.engine = fresh(&b.memory);
    ck_assert_int_eq(strategy_load(b.storm.engine, image, n_bytes), STRATEGY_OK);
    blow(&a.storm, DECISIONS / 2);
    blow(&b.storm, DECISIONS / 2);
    ck_assert_uint_eq(strategy_state_hash(a.storm.engine), strategy_state_hash(b.storm.engine));
    free(image);
    free(a.memory);
    free(b.memory);
}
END_TEST

START_TEST(an_image_that_is_cut_damaged_or_of_another_build_is_refused)
{
    struct world a;
    void *memory;
    size_t n_bytes;

    begin(&a, 7);
    blow(&a.storm, 200);
    unsigned char *image = save(a.storm.engine, &n_bytes);
    for (size_t cut = 0; cut < n_bytes; cut += 1 + n_bytes / 50) {
        ck_assert_int_eq(strategy_load(fresh(&memory), image, cut), STRATEGY_E_IMAGE);
        free(memory);
    }
    for (size_t at = 0; at < n_bytes; at += 1 + n_bytes / 50) {
        image[at] ^= 0x40;
        ck_assert_msg(strategy_load(fresh(&memory), image, n_bytes) == STRATEGY_E_IMAGE,
                      "byte %zu of %zu", at, n_bytes);
        free(memory);
        image[at] ^= 0x40;
    }
    ck_assert_int_eq(strategy_load(fresh(&memory), image, n_bytes), STRATEGY_OK);
    free(memory);
    free(image);
    free(a.memory);
}
END_TEST

START_TEST(an_event_of_the_past_or_with_an_unknown_name_changes_nothing)
{
    struct world a;
    struct strategy_split split;

    begin(&a, 9);
    blow(&a.storm, 200);
    struct strategy_engine *e = a.storm.engine;
    uint64_t hash = strategy_state_hash(e), now = a.storm.now_ms;
    struct strategy_plan plan = {.key = {"auto-1", "bulk", "gmail"}, .n = 10};
    struct strategy_outcome out = {.key = plan.key, .path = "192.0.2.1", .n = 1, .sent_ms = now};

    ck_assert_int_eq(strategy_plan(e, now - 1, &plan, &split), STRATEGY_E_TIME);
    ck_assert_int_eq(strategy_outcome(e, now - 1, &out), STRATEGY_E_TIME);
    ck_assert_int_eq(strategy_tick(e, now - 1), STRATEGY_E_TIME);
    plan.key.sender = "nobody";
    ck_assert_int_eq(strategy_plan(e, now, &plan, &split), STRATEGY_E_UNKNOWN_SENDER);
    out.path = "203.0.113.1";
    ck_assert_int_eq(strategy_outcome(e, now, &out), STRATEGY_E_UNKNOWN_PATH);
    ck_assert_int_eq(strategy_dnsbl(e, now, "shared-main", "zen.spamhaus.org", STRATEGY_LISTED),
                     STRATEGY_E_UNKNOWN_PATH);
    plan.key.sender = "";
    ck_assert_int_eq(strategy_plan(e, now, &plan, &split), STRATEGY_E_NAME);
    ck_assert_uint_eq(strategy_state_hash(e), hash);
    free(a.memory);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("properties");
    TCase *tests = tcase_create("properties");
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, no_invariant_breaks_in_a_storm_and_after_it_nobody_is_held, 0, 6);
    tcase_add_test(tests, home_that_has_room_takes_a_mail_although_the_overflow_has_a_favourite);
    tcase_add_test(tests,
                   a_storm_meets_every_reason_but_those_of_the_data_plane_and_of_no_route_at_all);
    tcase_add_test(tests, the_same_events_give_the_same_state);
    tcase_add_loop_test(tests, a_saved_engine_goes_on_as_if_it_had_never_stopped, 0, 4);
    tcase_add_test(tests, an_image_that_is_cut_damaged_or_of_another_build_is_refused);
    tcase_add_test(tests, an_event_of_the_past_or_with_an_unknown_name_changes_nothing);
    suite_add_tcase(suite, tests);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
