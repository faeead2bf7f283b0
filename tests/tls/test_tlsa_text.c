/* test_tlsa_text.c - TLSA records as text, to and fro. */
#include "dataplane/tlsa_text.h"

#include <check.h>
#include <stdlib.h>

START_TEST(what_is_written_is_read)
{
    static const uint8_t first[] = {3, 1, 1, 0x00, 0xff, 0x1a}, second[] = {2, 0, 255, 0x7f};
    static char text[TLSA_TEXT_MAX];
    static struct tlsa_set set;
    ck_assert(tlsa_text_add(text, first, sizeof first));
    ck_assert(tlsa_text_add(text, second, sizeof second));
    ck_assert_str_eq(text, "3 1 1 00ff1a;2 0 255 7f");
    ck_assert(tlsa_text_read(text, &set));
    ck_assert_uint_eq(set.n, 2);
    ck_assert_uint_eq(set.records[0].usage, 3);
    ck_assert_uint_eq(set.records[0].len, 3);
    ck_assert_mem_eq(set.records[0].data, first + 3, 3);
    ck_assert_uint_eq(set.records[1].matching_type, 255);
    ck_assert_mem_eq(set.records[1].data, second + 3, 1);
}
END_TEST

/* RFC 6698 2.1: three numbers and at least a byte of data. */
START_TEST(short_records_of_dns_are_none)
{
    static const uint8_t rdata[] = {3, 1, 1, 0};
    for (size_t len = 0; len < sizeof rdata; len++) {
        char text[TLSA_TEXT_MAX] = "";
        ck_assert(!tlsa_text_add(text, rdata, len));
        ck_assert_str_eq(text, "");
    }
}
END_TEST

START_TEST(what_does_not_fit_is_left_out_whole)
{
    static uint8_t rdata[3 + TLSA_BYTES_MAX + 1];
    static char text[TLSA_TEXT_MAX];
    static struct tlsa_set set;
    ck_assert(!tlsa_text_add(text, rdata, sizeof rdata));
    ck_assert(tlsa_text_add(text, rdata, sizeof rdata - 1));
    size_t len = strlen(text);
    ck_assert(!tlsa_text_add(text, rdata, 4)); /* more data than a set holds */
    ck_assert_uint_eq(strlen(text), len);
    ck_assert(tlsa_text_read(text, &set));
    ck_assert_uint_eq(set.records[0].len, TLSA_BYTES_MAX);
}
END_TEST

START_TEST(a_host_has_sixteen_records_at_most)
{
    static const uint8_t rdata[] = {3, 1, 1, 0};
    char text[TLSA_TEXT_MAX] = "";
    for (uint32_t i = 0; i < TLSA_RECORDS_MAX; i++) {
        ck_assert(tlsa_text_add(text, rdata, sizeof rdata));
    }
    ck_assert(!tlsa_text_add(text, rdata, sizeof rdata));
}
END_TEST

static const char *const nonsense[] = {
    "",
    "3",
    "3 1 1",
    "3 1 1 ",
    "3 1 1 0",
    "3 1 1 0g",
    "3 1 1 00;",
    ";",
    "256 1 1 00",
    "3 1 1 00 ",
    " 3 1 1 00",
    "3  1 1 00",
    "-3 1 1 00",
    "3 1 1 AB",
    "x 1 1 00",
    "3 1 1 00;;3 1 1 00",
    "0 0 0 1;0 0 0 00",
};

START_TEST(nonsense_is_not_read)
{
    static struct tlsa_set set;
    ck_assert_msg(!tlsa_text_read(nonsense[_i], &set), "%s", nonsense[_i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tlsa_text");
    TCase *tc = tcase_create("tlsa_text");
    suite_add_tcase(suite, tc);
    tcase_add_test(tc, what_is_written_is_read);
    tcase_add_test(tc, short_records_of_dns_are_none);
    tcase_add_test(tc, what_does_not_fit_is_left_out_whole);
    tcase_add_test(tc, a_host_has_sixteen_records_at_most);
    tcase_add_loop_test(tc, nonsense_is_not_read, 0, sizeof nonsense / sizeof nonsense[0]);
    SRunner *runner = srunner_create(suite);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
