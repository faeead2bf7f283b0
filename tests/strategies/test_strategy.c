/* test_strategy.c - names and masks of the strategies. */
#include "strategies/strategy.h"

#include <check.h>
#include <stdlib.h>

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

int main(void)
{
    Suite *suite = suite_create("strategy");
    TCase *tests = tcase_create("strategy");
    SRunner *runner = srunner_create(suite);

    tcase_add_test(tests, custom_never_has_shared_routes_and_shared_never_has_dedicated_ones);
    tcase_add_test(tests, every_kind_is_parsed_from_its_own_text_and_nothing_else);
    suite_add_tcase(suite, tests);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
