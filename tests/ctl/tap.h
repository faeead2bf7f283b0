/* tap.h - runs one Check case and prints TAP. */
#ifndef WIREPOST_TESTS_CTL_TAP_H
#define WIREPOST_TESTS_CTL_TAP_H

#include <check.h>
#include <stdlib.h>

static inline int tap_run(const char *name, TCase *tc)
{
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
