/* test_text.c - texts made harmless, their widths, and quantities (tools/wpctl_text.h,
 * wpctl_number_parse()). */
#include "tests/ctl/tap.h"
#include "tools/wpctl.h"
#include "tools/wpctl_text.h"

#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- UTF-8 ------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    size_t bytes; /* 0: no character */
    uint32_t code;
} utf8[] = {
    {"a", 1, 'a'},
    {"\x7f", 1, 0x7f},
    {"\xc2\x80", 2, 0x80},
    {"\xdf\xbf", 2, 0x7ff},
    {"\xe0\xa0\x80", 3, 0x800},
    {"\xed\x9f\xbf", 3, 0xd7ff},
    {"\xee\x80\x80", 3, 0xe000},
    {"\xef\xbf\xbf", 3, 0xffff},
    {"\xf0\x90\x80\x80", 4, 0x10000},
    {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
    {"", 0, 0},
    {"\x80", 0, 0},             /* a continuation alone */
    {"\xc0\x80", 0, 0},         /* NUL, overlong */
    {"\xc1\xbf", 0, 0},         /* overlong */
    {"\xc3", 0, 0},             /* cut */
    {"\xe0\x82\x9b", 0, 0},     /* U+009B, overlong */
    {"\xe2\x82", 0, 0},         /* cut */
    {"\xed\xa0\x80", 0, 0},     /* a surrogate */
    {"\xf0\x80\x80\x9b", 0, 0}, /* overlong */
    {"\xf0\x9f\x98", 0, 0},     /* cut */
    {"\xf4\x90\x80\x80", 0, 0}, /* over U+10FFFF */
    {"\xf8\x88\x80\x80\x80", 0, 0},
    {"\xff", 0, 0},
};

START_TEST(utf8_is_decoded_as_rfc_3629_has_it)
{
    uint32_t code = 0;
    ck_assert_uint_eq(wpctl_utf8_decode(utf8[_i].text, &code), utf8[_i].bytes);
    ck_assert_uint_eq(code, utf8[_i].code); /* untouched when there is none */
}
END_TEST

/* ---- visible ----------------------------------------------------------------------------- */

static const struct {
    const char *text, *visible;
} texts[] = {
    {"", ""},
    {"plain 250 2.0.0 ok", "plain 250 2.0.0 ok"},
    {"C:\\x1b", "C:\\x1b"},
    {"grüße € 😀", "grüße € 😀"},
    {"\x1b[31m", "\\x1b[31m"},
    {"a\r\n\tb", "a\\r\\n\\tb"},
    {"\x01\x1f\x7f", "\\x01\\x1f\\x7f"},
    {"\xc2\x9b", "\\u009b"},             /* CSI in C1 */
    {"\x9b", "\\x9b"},                   /* CSI as a byte */
    {"\xc2\xad", "\\u00ad"},             /* soft hyphen */
    {"\xe2\x80\xae", "\\u202e"},         /* right-to-left override */
    {"\xe2\x81\xa6", "\\u2066"},         /* isolate */
    {"\xe2\x80\x8b", "\\u200b"},         /* zero width */
    {"\xe2\x80\xa8", "\\u2028"},         /* line separator */
    {"\xef\xbb\xbf", "\\ufeff"},         /* byte order mark */
    {"\xf3\xa0\x81\x81", "\\U000e0041"}, /* a tag */
    {"j\xfcrgen", "j\\xfcrgen"},
    {"\xc3(", "\\xc3("},
    {"cut \xe2\x82", "cut \\xe2\\x82"},
    {"\xe0\x82\x9b", "\\xe0\\x82\\x9b"},
};

START_TEST(what_acts_on_a_terminal_is_made_visible)
{
    char put[256] = "";
    char *visible = wpctl_visible_new(texts[_i].text);
    FILE *out = fmemopen(put, sizeof put, "w");
    wpctl_put(out, texts[_i].text);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_str_eq(visible, texts[_i].visible);
    ck_assert_str_eq(put, texts[_i].visible);
    free(visible);
}
END_TEST

START_TEST(no_byte_and_no_pair_of_bytes_gets_through_as_a_control)
{
    for (unsigned first = 1; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            const char text[] = {(char)first, (char)second, '\0'};
            char *visible = wpctl_visible_new(text);
            for (const char *at = visible; *at;) {
                uint32_t code = 0;
                size_t n = wpctl_utf8_decode(at, &code);
                ck_assert_msg(n > 0 && code >= 0x20 && (code < 0x7f || code >= 0xa0),
                              "%02x %02x: %s", first, second, visible);
                at += n;
            }
            free(visible);
        }
    }
}
END_TEST

/* ---- width ------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    size_t columns;
    size_t limit;
    const char *clipped;
} widths[] = {
    {"", 0, 1, ""},
    {"abc", 3, 3, "abc"},
    {"abcd", 4, 3, "ab…"},
    {"abcd", 4, 1, "…"},
    {"grüße", 5, 5, "grüße"},
    {"grüßend", 7, 5, "grüß…"},
    {"日本語", 6, 6, "日本語"}, /* two columns each */
    {"日本語", 6, 5, "日本…"},
    {"日本語", 6, 4, "日…"},
    {"a\xcc\x88o", 2, 2, "a\xcc\x88o"}, /* a combining mark takes none */
    {"ab", 2, 1, "…"},
};

START_TEST(width_is_counted_in_columns_and_a_text_is_cut_between_characters)
{
    char *text = wpctl_visible_new(widths[_i].text);
    ck_assert_uint_eq(wpctl_width(text), widths[_i].columns);
    wpctl_clip(text, widths[_i].limit);
    ck_assert_str_eq(text, widths[_i].clipped);
    ck_assert_uint_le(wpctl_width(text), widths[_i].limit);
    free(text);
}
END_TEST

/* ---- quantities -------------------------------------------------------------------------- */

static const struct {
    int64_t bytes;
    const char *text;
} bytes[] = {
    {INT64_MIN, "0 B"},
    {0, "0 B"},
    {999, "999 B"},
    {1000, "1.0 kB"},
    {1500, "1.5 kB"},
    {999949, "999.9 kB"},
    {999950, "1.0 MB"},
    {20000000, "20.0 MB"},
    {INT64_C(999900000000000000), "999.9 PB"},
    {INT64_MAX, "9.2 EB"},
};

START_TEST(bytes_have_the_unit_that_keeps_them_below_a_thousand)
{
    char buf[WPCTL_UNIT_TEXT];
    ck_assert_str_eq(wpctl_bytes(bytes[_i].bytes, buf), bytes[_i].text);
}
END_TEST

static const struct {
    int64_t count;
    const char *text;
} counts[] = {
    {0, "0"},
    {999, "999"},
    {1000, "1,000"},
    {-1, "-1"},
    {-999, "-999"},
    {-1000, "-1,000"},
    {123456, "123,456"},
    {1234567, "1,234,567"},
    {INT64_MAX, "9,223,372,036,854,775,807"},
    {INT64_MIN, "-9,223,372,036,854,775,808"},
};

START_TEST(counts_have_a_comma_every_three_digits)
{
    char buf[WPCTL_UNIT_TEXT];
    ck_assert_str_eq(wpctl_count(counts[_i].count, buf), counts[_i].text);
}
END_TEST

static const struct {
    int64_t seconds;
    const char *text;
} spans[] = {
    {-5, "0s"},
    {0, "0s"},
    {59, "59s"},
    {60, "1m00s"},
    {3599, "59m59s"},
    {3600, "1h00m"},
    {86399, "23h59m"},
    {86400, "1d00h"},
    {90061, "1d01h"},
    {8640000, "100d00h"},
    {INT64_MAX, "106751991167300d15h"},
};

START_TEST(spans_have_their_two_largest_units)
{
    char buf[WPCTL_UNIT_TEXT];
    ck_assert_str_eq(wpctl_span(spans[_i].seconds, buf), spans[_i].text);
}
END_TEST

static const struct {
    const char *text;
    bool good;
    int64_t seconds;
} times[] = {
    {"1970-01-01T00:00:00Z", true, 0},
    {"2026-11-23T19:07:00.123Z", true, 1795460820},
    {"2026-11-23T19:07:00.Z", true, 1795460820},
    {"1969-12-31T23:59:59Z", true, -1},
    {"", false, 0},
    {"tomorrow", false, 0},
    {"2026-11-23T19:07:00", false, 0},
    {"2026-11-23T19:07:00+01:00", false, 0},
    {"2026-11-23T19:07:00Zulu", false, 0},
    {"2026-13-23T19:07:00Z", false, 0},
};

START_TEST(times_are_rfc_3339_in_utc)
{
    int64_t seconds = 0;
    ck_assert_int_eq(wpctl_time_parse(times[_i].text, &seconds), times[_i].good);
    ck_assert_int_eq(seconds, times[_i].seconds);
}
END_TEST

static const struct {
    const char *text;
    bool good;
    int64_t number;
} numbers[] = {
    {"0", true, 0},    {"10", true, 10},  {"007", true, 7},
    {"11", false, 0},  {"-1", false, 0},  {"", false, 0},
    {" 1", false, 0},  {"1 ", false, 0},  {"+1", false, 0},
    {"0x1", false, 0}, {"1e1", false, 0}, {"1.0", false, 0},
    {"--1", false, 0}, {"-", false, 0},   {"99999999999999999999", false, 0},
};

START_TEST(numbers_are_whole_decimal_and_in_range)
{
    int64_t number = 0;
    ck_assert_int_eq(wpctl_number_parse(numbers[_i].text, 0, 10, &number), numbers[_i].good);
    ck_assert_int_eq(number, numbers[_i].number);
}
END_TEST

#define N(table) (int)(sizeof(table) / sizeof((table)[0]))

int main(void)
{
    TCase *tc = tcase_create("text");
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* as main() of wirepostctl does */
    tcase_add_loop_test(tc, utf8_is_decoded_as_rfc_3629_has_it, 0, N(utf8));
    tcase_add_loop_test(tc, what_acts_on_a_terminal_is_made_visible, 0, N(texts));
    tcase_add_test(tc, no_byte_and_no_pair_of_bytes_gets_through_as_a_control);
    tcase_add_loop_test(tc, width_is_counted_in_columns_and_a_text_is_cut_between_characters, 0,
                        N(widths));
    tcase_add_loop_test(tc, bytes_have_the_unit_that_keeps_them_below_a_thousand, 0, N(bytes));
    tcase_add_loop_test(tc, counts_have_a_comma_every_three_digits, 0, N(counts));
    tcase_add_loop_test(tc, spans_have_their_two_largest_units, 0, N(spans));
    tcase_add_loop_test(tc, times_are_rfc_3339_in_utc, 0, N(times));
    tcase_add_loop_test(tc, numbers_are_whole_decimal_and_in_range, 0, N(numbers));
    return tap_run("text", tc);
}
