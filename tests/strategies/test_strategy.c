/* test_strategy.c - masks, holds and the fair share of each endpoint. */
#include "strategies/strategy.h"

#include <check.h>
#include <stdlib.h>

#define NO_STICKY UINT32_MAX

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static struct strategy_endpoint own(const char *name, uint64_t cap, uint64_t used)
{
    return (struct strategy_endpoint){
        .route = STRATEGY_ROUTE_DED, .family_ok = true, .cap = cap, .used = used, .name = name};
}

static struct strategy_snapshot dedicated(const struct strategy_endpoint *endpoints, uint32_t n)
{
    return (struct strategy_snapshot){.kind = STRATEGY_DEDICATED,
                                      .sender = "acme",
                                      .stream = "bulk",
                                      .site = "example",
                                      .endpoints = endpoints,
                                      .n_endpoints = n,
                                      .sticky = NO_STICKY};
}

START_TEST(custom_never_has_shared_routes_and_shared_never_has_dedicated_ones)
{
    uint32_t shared_pools = STRATEGY_ROUTE_SHR | STRATEGY_ROUTE_SES;

    ck_assert_uint_eq(strategy_routes(STRATEGY_CUSTOM) & shared_pools, 0);
    ck_assert_uint_eq(strategy_routes(STRATEGY_SHARED) & STRATEGY_ROUTE_DED, 0);
    ck_assert_uint_eq(strategy_routes(STRATEGY_AUTO) & STRATEGY_ROUTE_CUS, 0);
    ck_assert_uint_eq(strategy_routes(STRATEGY_DEDICATED) & STRATEGY_ROUTE_CUS, 0);
}
END_TEST

START_TEST(every_kind_is_parsed_from_its_own_text_and_nothing_else)
{
    enum strategy_kind kind;

    for (unsigned i = 0; i < STRATEGY_KINDS; i++) {
        ck_assert(strategy_kind_parse(strategy_kind_text((enum strategy_kind)i), &kind));
        ck_assert_uint_eq(kind, i);
    }
    ck_assert(!strategy_kind_parse("", &kind));
    ck_assert(!strategy_kind_parse("autos", &kind));
    ck_assert(!strategy_kind_parse("aut", &kind));
}
END_TEST

START_TEST(equal_addresses_get_equal_shares)
{
    struct strategy_endpoint e[8];
    uint32_t hits[8] = {0};
    struct strategy_rotation rotation = {0};
    struct strategy_decision d;

    for (unsigned i = 0; i < 8; i++)
        e[i] = own("a", UINT64_MAX, 0);
    struct strategy_snapshot s = dedicated(e, 8);
    for (unsigned i = 0; i < 8000; i++) {
        strategy_decide(&rotation, &s, &d);
        ck_assert(!d.hold);
        ck_assert_int_eq(d.reason, STRATEGY_R_HOME);
        hits[d.endpoint]++;
    }
    for (unsigned i = 0; i < 8; i++)
        ck_assert_msg(hits[i] >= 996 && hits[i] <= 1004, "endpoint %u: %u of 8000", i, hits[i]);
}
END_TEST

START_TEST(shares_follow_what_is_left_of_the_caps)
{
    struct strategy_endpoint e[] = {own("a", 100, 0), own("b", 300, 0), own("c", 700, 100)};
    uint32_t hits[3] = {0};
    struct strategy_rotation rotation = {0};
    struct strategy_snapshot s = dedicated(e, 3);
    struct strategy_decision d;

    for (unsigned i = 0; i < 10000; i++) {
        strategy_decide(&rotation, &s, &d);
        hits[d.endpoint]++;
    }
    ck_assert_msg(hits[0] >= 980 && hits[0] <= 1020, "%u", hits[0]);
    ck_assert_msg(hits[1] >= 2980 && hits[1] <= 3020, "%u", hits[1]);
    ck_assert_msg(hits[2] >= 5980 && hits[2] <= 6020, "%u", hits[2]);
}
END_TEST

START_TEST(each_way_of_having_nothing_has_its_own_reason)
{
    struct strategy_endpoint e = own("192.0.2.7", 10, 10);
    struct strategy_rotation rotation = {0};
    struct strategy_snapshot s = dedicated(&e, 1);
    struct strategy_decision d;

    strategy_decide(&rotation, &s, &d);
    ck_assert(d.hold);
    ck_assert_int_eq(d.reason, STRATEGY_R_HOLD_CAP);
    e.family_ok = false;
    strategy_decide(&rotation, &s, &d);
    ck_assert_int_eq(d.reason, STRATEGY_R_HOLD_FAMILY);
    e.health = STRATEGY_DRAINED;
    strategy_decide(&rotation, &s, &d);
    ck_assert_int_eq(d.reason, STRATEGY_R_HOLD_UNHEALTHY);
    e.route = STRATEGY_ROUTE_CUS;
    strategy_decide(&rotation, &s, &d);
    ck_assert_int_eq(d.reason, STRATEGY_R_HOLD_NO_ADDRESS);
    s.n_endpoints = 0;
    strategy_decide(&rotation, &s, &d);
    ck_assert_int_eq(d.reason, STRATEGY_R_HOLD_NO_ADDRESS);
    ck_assert(d.hold);
}
END_TEST

START_TEST(a_retry_keeps_its_address_while_that_is_usable)
{
    struct strategy_endpoint e[] = {own("192.0.2.7", 10, 1), own("192.0.2.8", 10, 1)};
    struct strategy_rotation rotation = {0};
    struct strategy_snapshot s = dedicated(e, 2);
    struct strategy_decision d;

    s.sticky = 1;
    for (unsigned i = 0; i < 10; i++) {
        strategy_decide(&rotation, &s, &d);
        ck_assert_uint_eq(d.endpoint, 1);
        ck_assert_int_eq(d.reason, STRATEGY_R_STICKY);
    }
    ck_assert_str_eq(d.evidence, "192.0.2.8: 1 of 10 used; 2 of 2 addresses usable");
    e[1].health = STRATEGY_DOWN;
    strategy_decide(&rotation, &s, &d);
    ck_assert_uint_eq(d.endpoint, 0);
    ck_assert_int_eq(d.reason, STRATEGY_R_HOME);
}
END_TEST

static void random_snapshot(uint64_t *state, struct strategy_endpoint *e,
                            struct strategy_snapshot *s)
{
    static const uint64_t caps[] = {0, 1, 100, 1ull << 40, UINT64_MAX - 1, UINT64_MAX};

    *s = dedicated(e, (uint32_t)(random_next(state) % 7));
    s->kind = (enum strategy_kind)(random_next(state) % STRATEGY_KINDS);
    s->sticky = (uint32_t)(random_next(state) % 9);
    for (uint32_t i = 0; i < s->n_endpoints; i++) {
        e[i] = own("x", caps[random_next(state) % 6], caps[random_next(state) % 4]);
        e[i].route = 1u << (random_next(state) % 4);
        e[i].health = (enum strategy_health)(random_next(state) % 3);
        e[i].family_ok = random_next(state) % 4 != 0;
    }
}

START_TEST(no_random_snapshot_leads_to_a_forbidden_unhealthy_or_exhausted_endpoint)
{
    uint64_t state = 88172645463325252u;
    struct strategy_endpoint e[7];
    struct strategy_snapshot s;
    struct strategy_rotation one = {0}, two = {0};
    unsigned chosen = 0;

    for (unsigned i = 0; i < 300000; i++) {
        struct strategy_decision d, again;
        random_snapshot(&state, e, &s);
        strategy_decide(&one, &s, &d);
        strategy_decide(&two, &s, &again);
        ck_assert(d.hold == again.hold && d.endpoint == again.endpoint && d.reason == again.reason);
        if (d.hold)
            continue;
        chosen++;
        const struct strategy_endpoint *c = &e[d.endpoint];
        ck_assert((c->route & strategy_routes(s.kind)) != 0);
        ck_assert(c->health == STRATEGY_HEALTHY && c->family_ok && c->used < c->cap);
    }
    ck_assert_uint_gt(chosen, 10000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("strategy");
    TCase *tests = tcase_create("strategy");
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, custom_never_has_shared_routes_and_shared_never_has_dedicated_ones);
    tcase_add_test(tests, every_kind_is_parsed_from_its_own_text_and_nothing_else);
    tcase_add_test(tests, equal_addresses_get_equal_shares);
    tcase_add_test(tests, shares_follow_what_is_left_of_the_caps);
    tcase_add_test(tests, each_way_of_having_nothing_has_its_own_reason);
    tcase_add_test(tests, a_retry_keeps_its_address_while_that_is_usable);
    tcase_add_test(tests, no_random_snapshot_leads_to_a_forbidden_unhealthy_or_exhausted_endpoint);
    suite_add_tcase(suite, tests);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
