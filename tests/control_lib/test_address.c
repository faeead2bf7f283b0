/* test_address.c - which envelope addresses are taken, in which form, and what is said of others.
 */
#include "control/address.h"
#include "tests/control_lib/tap.h"

#include <stdio.h>
#include <string.h>

#define A10 "aaaaaaaaaa"
#define A60 A10 A10 A10 A10 A10 A10
#define A63 A60 "aaa"

struct row {
    const char *in, *text, *domain; /* text null: refused */
    bool utf8;
    const char *error; /* what the refusal says */
};

static const struct row rows[] = {
    /* plain */
    {"user@example.com", "user@example.com", "example.com", false, NULL},
    {"User.Name+tag@Example.COM", "User.Name+tag@Example.COM", "example.com", false, NULL},
    {"!#$%&'*+-/=?^_`{|}~@a", "!#$%&'*+-/=?^_`{|}~@a", "a", false, NULL},
    {"a@x--y.example", "a@x--y.example", "x--y.example", false, NULL},
    {"a@1.2.example", "a@1.2.example", "1.2.example", false, NULL},
    {A60 "aaaa@b.example", A60 "aaaa@b.example", "b.example", false, NULL},
    {"a@" A63 ".example", "a@" A63 ".example", A63 ".example", false, NULL},

    /* quoted */
    {"\"a b\"@example.com", "\"a b\"@example.com", "example.com", false, NULL},
    {"\"a@b\"@example.com", "\"a@b\"@example.com", "example.com", false, NULL},
    {"\"a\\\"b\\\\\"@example.com", "\"a\\\"b\\\\\"@example.com", "example.com", false, NULL},
    {"\"\"@example.com", "\"\"@example.com", "example.com", false, NULL},
    {"\"a\"b@example.com", NULL, NULL, false, "must end with a quote"},
    {"\"a@example.com", NULL, NULL, false, "must end with a quote"},
    {"\"a\\", NULL, NULL, false, "must end with a quote"},
    {"\"", NULL, NULL, false, "must end with a quote"},
    {"\"a\\\xc3\xa9\"@example.com", NULL, NULL, false, "backslash"},

    /* local parts that are none */
    {"", NULL, NULL, false, "empty"},
    {"user", NULL, NULL, false, "no '@'"},
    {"@example.com", NULL, NULL, false, "before the '@'"},
    {"@relay.example:user@example.com", NULL, NULL, false, "source route"},
    {".a@example.com", NULL, NULL, false, "dot"},
    {"a.@example.com", NULL, NULL, false, "dot"},
    {"a..b@example.com", NULL, NULL, false, "dot"},
    {"a b@example.com", NULL, NULL, false, "' '"},
    {"a,b@example.com", NULL, NULL, false, "','"},
    {"<a@example.com>", NULL, NULL, false, "'<'"},
    {"a\"b@example.com", NULL, NULL, false, "'\"'"},
    {A60 "aaaaa@b.example", NULL, NULL, false, "over 64"},

    /* what would end a command or a line */
    {"a@example.com\r", NULL, NULL, false, "control"},
    {"a\n@example.com", NULL, NULL, false, "control"},
    {"\"a\r\nRCPT TO:<b@x>\"@example.com", NULL, NULL, false, "control"},
    {"a\x7f@example.com", NULL, NULL, false, "control"},
    {"a\t@example.com", NULL, NULL, false, "control"},
    {"a\xc2\x85z@example.com", NULL, NULL, false, "control"},

    /* domains that are none */
    {"a@", NULL, NULL, false, "after the '@'"},
    {"a@.example", NULL, NULL, false, "empty label"},
    {"a@example.", NULL, NULL, false, "empty label"},
    {"a@b..example", NULL, NULL, false, "empty label"},
    {"a@-b.example", NULL, NULL, false, "letters, digits"},
    {"a@b-.example", NULL, NULL, false, "hyphen"},
    {"a@b_c.example", NULL, NULL, false, "letters, digits"},
    {"a@b c.example", NULL, NULL, false, "letters, digits"},
    {"a@b@c.example", NULL, NULL, false, "letters, digits"},
    {"a@b>.example", NULL, NULL, false, "letters, digits"},
    {"a@" A63 "a.example", NULL, NULL, false, "over 63"},
    {"a@192.0.2.1", NULL, NULL, false, "brackets"},
    {"a@1", NULL, NULL, false, "brackets"},
    {"a@" A63 "." A63 "." A63 "." A60 ".b", NULL, NULL, false, "over 254"},

    /* literals */
    {"a@[192.0.2.1]", "a@[192.0.2.1]", "[192.0.2.1]", false, NULL},
    {"a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]", false, NULL},
    {"a@[ipv6:2001:DB8:0::1]", "a@[ipv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]", false, NULL},
    {"a@[2001:db8::1]", NULL, NULL, false, "looks like"},
    {"a@[IPv6:192.0.2.1]", NULL, NULL, false, "looks like"},
    {"a@[192.0.2.256]", NULL, NULL, false, "looks like"},
    {"a@[192.0.2.1", NULL, NULL, false, "looks like"},
    {"a@[", NULL, NULL, false, "looks like"},
    {"a@[]", NULL, NULL, false, "looks like"},
    {"a@[IPv6:]", NULL, NULL, false, "looks like"},
    {"a@[" A60 A60 "]", NULL, NULL, false, "looks like"},

    /* international: the domain alone needs no SMTPUTF8, the local part does */
    {"a@b\xc3\xbc"
     "cher.example",
     "a@xn--bcher-kva.example", "xn--bcher-kva.example", false, NULL},
    {"a@B\xc3\x9c"
     "CHER.example",
     "a@xn--bcher-kva.example", "xn--bcher-kva.example", false, NULL},
    {"a@fa\xc3\x9f.example", "a@xn--fa-hia.example", "xn--fa-hia.example", false, NULL},
    {"\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b.example",
     "\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b.example", "xn--fsq.example", true, NULL},
    {"\xc3\xa9@example.com", "\xc3\xa9@example.com", "example.com", true, NULL},
    {"\xc3@example.com", NULL, NULL, false, "not UTF-8"},
    {"\xc0\xaf@example.com", NULL, NULL, false, "not UTF-8"},
    {"\xed\xa0\x80@example.com", NULL, NULL, false, "not UTF-8"},
    {"a@\xe2\x98\x83-.example", NULL, NULL, false, "international"},
    {"a@b\xe2\x80\x8b"
     "c\xe3\x80\x82\xe3\x80\x82"
     "d",
     NULL, NULL, false, "domain"},
};

START_TEST(an_address_is_taken_in_one_form_or_refused_with_a_reason)
{
    const struct row *row = &rows[_i];
    struct address a, untouched;
    char error[256] = "";
    memset(&a, 0x5a, sizeof a);
    untouched = a;
    bool good = address_parse(row->in, strlen(row->in), &a, error, sizeof error);
    ck_assert_msg(good == (row->text != NULL), "%s: %s", row->in, error);
    if (good) {
        ck_assert_str_eq(a.text, row->text);
        ck_assert_str_eq(a.domain, row->domain);
        ck_assert_int_eq(a.utf8, row->utf8);
    } else {
        ck_assert_msg(strstr(error, row->error) != NULL, "%s: %s", row->in, error);
        ck_assert_int_eq(memcmp(&a, &untouched, sizeof a), 0);
    }
}
END_TEST

START_TEST(only_the_bytes_that_are_given_are_read)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t len = 0; len <= strlen(rows[i].in); len++) {
            struct address a;
            char error[128], *text = malloc(len ? len : 1); /* no NUL: ASan stands behind it */
            ck_assert_ptr_nonnull(text);
            memcpy(text, rows[i].in, len);
            if (!address_parse(text, len, &a, error, sizeof error)) {
                ck_assert_uint_gt(strlen(error), 10);
            }
            free(text);
        }
    }
}
END_TEST

START_TEST(a_nul_inside_is_refused)
{
    struct address a;
    char error[256];
    ck_assert(!address_parse("a\0b@example.com", 15, &a, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "control"));
}
END_TEST

START_TEST(the_error_shows_the_address_without_its_odd_bytes_and_fits_any_room)
{
    struct address a;
    char error[256];
    ck_assert(!address_parse("a\r\nb\xff@x", 7, &a, error, sizeof error));
    ck_assert_str_eq(error,
                     "address \"a??b?@x\": it has a control character (CR, LF, NUL ...) in it");
    for (size_t room = 1; room < 80; room++) {
        char *small = malloc(room);
        ck_assert(!address_parse("a b@example.com", 15, &a, small, room));
        ck_assert_uint_lt(strnlen(small, room), room);
        free(small);
    }
}
END_TEST

START_TEST(a_parsed_address_parses_to_itself)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address a, again;
        char error[256];
        if (rows[i].text) {
            ck_assert(address_parse(rows[i].in, strlen(rows[i].in), &a, error, sizeof error));
            ck_assert(address_parse(a.text, strlen(a.text), &again, error, sizeof error));
            ck_assert_str_eq(again.text, a.text);
            ck_assert_str_eq(again.domain, a.domain);
        }
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("address");
    tcase_add_loop_test(tc, an_address_is_taken_in_one_form_or_refused_with_a_reason, 0,
                        (int)(sizeof rows / sizeof rows[0]));
    tcase_add_test(tc, only_the_bytes_that_are_given_are_read);
    tcase_add_test(tc, a_nul_inside_is_refused);
    tcase_add_test(tc, the_error_shows_the_address_without_its_odd_bytes_and_fits_any_room);
    tcase_add_test(tc, a_parsed_address_parses_to_itself);
    return tap_run("address", tc);
}
