/* test_header.c - addresses of a header (tools/wpctl_header.h). Every header is also read cut at
 * each byte, in memory of exactly its size, so that ASan sees a read behind it. */
#include "tests/ctl/tap.h"
#include "tools/wpctl_header.h"

#include <stdio.h>
#include <string.h>

#define HEADER(text) text, sizeof(text) - 1

static const struct {
    const char *header;
    size_t bytes;
    const char *addresses; /* of To:, with '|' between them; null: one is no UTF-8 */
} cases[] = {
    {HEADER(""), ""},
    {HEADER("\nTo: a@b\n"), ""},
    {HEADER("\r\nTo: a@b\r\n"), ""},
    {HEADER("To: a@b"), "a@b"},
    {HEADER("To: a@b\r\n\r\nTo: no@b\r\n"), "a@b"},
    {HEADER("to:a@b\nTO: c@d\n"), "a@b|c@d"},
    {HEADER("To : a@b\nTo\t: c@d\n"), "a@b|c@d"},
    {HEADER("Too: a@b\nXTo: a@b\nTo a@b\nT: a@b\nTo\n"), ""},
    {HEADER("Subject: x\n To: no@b\nTo: a@b\n"), "a@b"},
    {HEADER("To: a@b,\r\n c@d,\r\n\te@f\r\n"), "a@b|c@d|e@f"},
    {HEADER("To:\r\n a@b\r\n"), "a@b"},
    {HEADER("To: Anna <a@b>, \"B, <x@y>; C\" <c@d>\n"), "a@b|c@d"},
    {HEADER("To: \"quoted \\\" , part\"@b, \"a b\"@c\n"), "\"quoted \\\" , part\"@b|\"a b\"@c"},
    {HEADER("To: a@b (one, (two) \\) <x@y>), c@d\n"), "a@b|c@d"},
    {HEADER("To: <a(hidden)@b>\n"), "a@b"},
    {HEADER("To: Team: a@b, C <c@d>;, e@f\n"), "a@b|c@d|e@f"},
    {HEADER("To: undisclosed-recipients:;\n"), ""},
    {HEADER("To: Nobody: ; , ,\n"), ""},
    {HEADER("To: a@[IPv6:2001:db8::1], <b@[192.0.2.1]>\n"), "a@[IPv6:2001:db8::1]|b@[192.0.2.1]"},
    {HEADER("To: <@x,@y:a@b>\n"), "@x,@y:a@b"},
    {HEADER("To: < a@b >\n"), "a@b"},
    {HEADER("To: <>\n"), ""},
    {HEADER("To: J\xc3\xbcrgen <j\xc3\xbcrgen@b>\n"), "j\xc3\xbcrgen@b"},
    {HEADER("To: J\xfcrgen <a@b>\n"), "a@b"}, /* in a name it does no harm */
    {HEADER("To: a@b, j\xfcrgen@b\n"), NULL},
    {HEADER("To: a@b, <c@d\n"), "a@b|c@d"},
    {HEADER("To: a@b, <c@d, e@f\n"), "a@b|c@d, e@f"}, /* not closed: the daemon refuses it */
    {HEADER("To: a@b, \"c@d, e@f\n"), "a@b|\"c@d, e@f"},
    {HEADER("To: a@b (c@d, e@f\n"), "a@b"},
    {HEADER("To: a@[b, c@d\n"), "a@[b, c@d"},
    {HEADER("To: \"\\"), "\"\\"},
    {HEADER("To: (\\"), ""},
    {HEADER("To: a@b>, c>d\n"), "a@b>|c>d"},
    {HEADER("To: <a@b><c@d>\n"), "a@b"},
    {HEADER("To: just words\n"), "just words"},
};

static char *joined(const json_t *list)
{
    char *text = NULL;
    size_t bytes, i;
    const json_t *address;
    FILE *out = open_memstream(&text, &bytes);
    json_array_foreach(list, i, address)
    {
        (void)fprintf(out, "%s%s", i > 0 ? "|" : "", json_string_value(address));
    }
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

static bool read_exactly(const char *header, size_t bytes, json_t *list)
{
    char *copy = malloc(bytes > 0 ? bytes : 1);
    memcpy(copy, header, bytes);
    bool good = wpctl_header_addresses(copy, bytes, "To", list);
    free(copy);
    return good;
}

START_TEST(addresses_are_found_in_every_form_of_a_header)
{
    json_t *list = json_array();
    bool good = read_exactly(cases[_i].header, cases[_i].bytes, list);
    ck_assert_int_eq(good, cases[_i].addresses != NULL);
    char *text = joined(list);
    if (good) {
        ck_assert_str_eq(text, cases[_i].addresses);
    }
    free(text);
    json_decref(list);
}
END_TEST

START_TEST(a_header_that_is_cut_anywhere_is_read_within_its_bytes)
{
    for (size_t cut = 0; cut <= cases[_i].bytes; cut++) {
        json_t *list = json_array();
        (void)read_exactly(cases[_i].header, cut, list);
        size_t total = 0, i;
        const json_t *address;
        json_array_foreach(list, i, address)
        {
            total += json_string_length(address);
        }
        ck_assert_uint_le(total, cut);
        json_decref(list);
    }
}
END_TEST

START_TEST(addresses_are_appended_to_those_before)
{
    static const char header[] = "Cc: c@d\nTo: a@b\nCc: e@f\n";
    json_t *list = json_array();
    ck_assert(wpctl_header_addresses(header, sizeof header - 1, "To", list));
    ck_assert(wpctl_header_addresses(header, sizeof header - 1, "Cc", list));
    char *text = joined(list);
    ck_assert_str_eq(text, "a@b|c@d|e@f");
    free(text);
    json_decref(list);
}
END_TEST

START_TEST(nul_in_an_address_is_kept_for_the_daemon_to_refuse)
{
    static const char header[] = "To: a@b\0.evil\n";
    json_t *list = json_array();
    ck_assert(wpctl_header_addresses(header, sizeof header - 1, "To", list));
    ck_assert_uint_eq(json_string_length(json_array_get(list, 0)), sizeof "a@b.evil");
    json_decref(list);
}
END_TEST

static const struct {
    const char *text, *bare;
} bares[] = {{"a@b", "a@b"}, {"<a@b>", "a@b"}, {"<>", ""},       {"", ""},
             {"<", "<"},     {"<a@b", "<a@b"}, {"a@b>", "a@b>"}, {"\xfc@b", NULL}};

START_TEST(an_address_of_the_command_line_may_stand_in_angle_brackets)
{
    json_t *bare = wpctl_bare_address(bares[_i].text);
    ck_assert_pstr_eq(json_string_value(bare), bares[_i].bare);
    json_decref(bare);
}
END_TEST

#define N(table) (int)(sizeof(table) / sizeof((table)[0]))

int main(void)
{
    TCase *tc = tcase_create("header");
    tcase_add_loop_test(tc, addresses_are_found_in_every_form_of_a_header, 0, N(cases));
    tcase_add_loop_test(tc, a_header_that_is_cut_anywhere_is_read_within_its_bytes, 0, N(cases));
    tcase_add_test(tc, addresses_are_appended_to_those_before);
    tcase_add_test(tc, nul_in_an_address_is_kept_for_the_daemon_to_refuse);
    tcase_add_loop_test(tc, an_address_of_the_command_line_may_stand_in_angle_brackets, 0,
                        N(bares));
    return tap_run("header", tc);
}
