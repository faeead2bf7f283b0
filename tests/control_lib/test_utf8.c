/* test_utf8.c - every code point in every length, and dates. */
#include "control/mail_date.h"
#include "control/utf8.h"
#include "tests/control_lib/tap.h"

#include <string.h>

/* The form of RFC 3629 with so many bytes, needed or not. */
static void encode(uint32_t point, size_t bytes, uint8_t *buf)
{
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = bytes - 1; i > 0; i--) {
        buf[i] = (uint8_t)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    buf[0] = (uint8_t)(lead[bytes] | point);
}

static size_t needed(uint32_t point)
{
    return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

START_TEST(a_code_point_has_exactly_one_form)
{
    static const uint32_t room[] = {0, 0x80, 0x800, 0x10000, 0x200000};
    for (uint32_t point = 0; point < 0x200000; point++) {
        bool exists = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
        for (size_t bytes = 1; bytes <= 4; bytes++) {
            uint8_t buf[4];
            uint32_t got = 0xffffffff;
            if (point >= room[bytes]) {
                continue;
            }
            encode(point, bytes, buf);
            size_t wanted = exists && bytes == needed(point) ? bytes : 0;
            size_t n = utf8_char(buf, bytes, &got);
            if (n != wanted || (n > 0 && got != point) || (n == 0 && got != 0xffffffff)) {
                ck_abort_msg("U+%X in %zu bytes: %zu, U+%X", point, bytes, n, got);
            }
        }
    }
}
END_TEST

START_TEST(what_is_cut_or_has_a_wrong_byte_is_no_character)
{
    static const char *const texts[] = {"\xc3\xa9", "\xe7\x94\xa8", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(texts[i]);
        for (size_t k = 1; k < len; k++) {
            char bad[5] = "";
            ck_assert_uint_eq(utf8_char(texts[i], k, NULL), 0);
            memcpy(bad, texts[i], len);
            bad[k] = 'x';
            ck_assert_uint_eq(utf8_char(bad, len, NULL), 0);
            bad[k] = '\xc3';
            ck_assert_uint_eq(utf8_char(bad, len, NULL), 0);
        }
        ck_assert_uint_eq(utf8_char(texts[i], len + 1, NULL), len);
    }
    for (int c = 0x80; c < 0x100; c++) {
        char text[5] = {(char)c, 'x', 'x', 'x', 0};
        ck_assert_uint_eq(utf8_char(text, 4, NULL), 0);
        memset(text + 1, '\x80', 3);
        ck_assert_int_eq(utf8_char(text, 4, NULL) != 0, (c >= 0xc2 && c < 0xe0) ||
                                                            (c > 0xe0 && c < 0xf0) ||
                                                            (c > 0xf0 && c < 0xf4) || c == 0xf4);
    }
}
END_TEST

START_TEST(text_is_valid_when_all_of_it_is)
{
    ck_assert(utf8_valid("", 0));
    ck_assert(utf8_valid("a\xc3\xa9z", 4));
    ck_assert(!utf8_valid("a\xc3\xa9z", 2));
    ck_assert(!utf8_valid("a\xc3", 2));
    ck_assert(!utf8_valid("a\xffz", 3));
    ck_assert(utf8_is_ascii("a\x7f", 2));
    ck_assert(!utf8_is_ascii("a\x80", 2));
}
END_TEST

START_TEST(dates_are_those_of_rfc_5322)
{
    static const struct {
        int64_t unix_s;
        const char *text;
    } rows[] = {
        {0, "Thu, 1 Jan 1970 00:00:00 +0000"},
        {951827696, "Tue, 29 Feb 2000 12:34:56 +0000"},
        {1795460820, "Mon, 23 Nov 2026 19:07:00 +0000"},
        {4102444799, "Thu, 31 Dec 2099 23:59:59 +0000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char buf[MAIL_DATE_MAX];
        ck_assert_str_eq(mail_date(rows[i].unix_s, buf), rows[i].text);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("utf8");
    tcase_add_test(tc, a_code_point_has_exactly_one_form);
    tcase_add_test(tc, what_is_cut_or_has_a_wrong_byte_is_no_character);
    tcase_add_test(tc, text_is_valid_when_all_of_it_is);
    tcase_add_test(tc, dates_are_those_of_rfc_5322);
    return tap_run("utf8", tc);
}
