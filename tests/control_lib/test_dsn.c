/* test_dsn.c - bounces: what they say, and that nothing from the network can change their shape. */
#include "tests/control_lib/dsn_samples.h"

#include "control/utf8.h"
#include "control/wire.h"
#include "tests/control_lib/tap.h"

#include <stdio.h>

static char *make(int number, size_t *ret_len)
{
    struct dsn_request request = dsn_sample(number);
    uint8_t *data;
    ck_assert(dsn_make(&request, &data, ret_len));
    ck_assert_uint_eq(strlen((const char *)data), *ret_len); /* open_memstream() adds a NUL */
    return (char *)data;
}

START_TEST(a_bounce_reads_as_rfc_3464_wants)
{
    static const char wanted[] =
        "Date: Mon, 23 Nov 2026 19:07:00 +0000\r\n"
        "From: Mail Delivery System <MAILER-DAEMON@mta1.example.net>\r\n"
        "To: bounces@acme.example\r\n"
        "Message-ID: <0000000000001234@mta1.example.net>\r\n"
        "Subject: Undelivered mail returned to sender\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status;\r\n"
        " boundary=\"report/0000000000001234\"\r\n"
        "\r\n"
        "--report/0000000000001234\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "\r\n"
        "This is the mail system at mta1.example.net\r\n"
        "\r\n"
        "Your message could not be delivered to the recipients below, and will not be\r\n"
        "tried again. What the receiving system said stands beside each.\r\n"
        "\r\n"
        "  nobody@example.net\r\n"
        "      at mx1.example.net\r\n"
        "      550 5.1.1 no such user\r\n"
        "\r\n"
        "  late@example.org\r\n"
        "      not delivered in 5 days\r\n"
        "\r\n"
        "  odd@[192.0.2.1]\r\n"
        "      at 192.0.2.1\r\n"
        "      5.0.0\r\n"
        "\r\n"
        "  six@example.org\r\n"
        "      at 2001:db8::25\r\n"
        "      550 5.7.1 aaaa bbbb cccc dddd eeee ffff gggg hhhh iiii jjjj kkkk llll\r\n"
        "      mmmm nnnn\r\n"
        "\r\n"
        "--report/0000000000001234\r\n"
        "Content-Type: message/delivery-status\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "\r\n"
        "Reporting-MTA: dns; mta1.example.net\r\n"
        "Arrival-Date: Wed, 18 Nov 2026 19:07:00 +0000\r\n"
        "\r\n"
        "Original-Recipient: rfc822; no@body.example\r\n"
        "Final-Recipient: rfc822; nobody@example.net\r\n"
        "Action: failed\r\n"
        "Status: 5.1.1\r\n"
        "Remote-MTA: dns; mx1.example.net\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
        "\r\n"
        "Final-Recipient: rfc822; late@example.org\r\n"
        "Action: failed\r\n"
        "Status: 5.4.7\r\n"
        "Diagnostic-Code: x-wirepost; not delivered in 5 days\r\n"
        "\r\n"
        "Final-Recipient: rfc822; odd@[192.0.2.1]\r\n"
        "Action: failed\r\n"
        "Status: 5.0.0\r\n"
        "Remote-MTA: dns; [192.0.2.1]\r\n"
        "\r\n"
        "Final-Recipient: rfc822; six@example.org\r\n"
        "Action: failed\r\n"
        "Status: 5.2.2\r\n"
        "Remote-MTA: dns; [IPv6:2001:db8::25]\r\n"
        "Diagnostic-Code: smtp; 550 5.7.1 aaaa bbbb cccc dddd eeee ffff gggg hhhh\r\n"
        " iiii jjjj kkkk llll mmmm nnnn\r\n"
        "\r\n"
        "--report/0000000000001234\r\n"
        "Content-Type: text/rfc822-headers\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "\r\n"
        "From: a@acme.example\r\n"
        "To: nobody@example.net\r\n"
        "Subject: folded\r\n"
        " subject\r\n"
        ".odd: field\r\n"
        "\r\n"
        "--report/0000000000001234--\r\n";
    size_t len;
    char *text = make(DSN_PLAIN, &len);
    ck_assert_str_eq(text, wanted);
    free(text);
}
END_TEST

/* The lines of the part for machines that begin with `name`. */
static unsigned count(const char *text, const char *name)
{
    unsigned n = 0;
    char line[64];
    (void)snprintf(line, sizeof line, "\r\n%s", name);
    for (const char *at = text; (at = strstr(at, line)) != NULL; at++) {
        n++;
    }
    return n;
}

START_TEST(a_bounce_is_in_wire_form_with_lines_far_below_998_bytes)
{
    static const struct wire_defaults defaults = {"mta1.example.net", 1, 0};
    struct wire_message m;
    char error[256];
    size_t len;
    char *text = make(_i, &len);
    ck_assert_msg(wire_message_make((uint8_t *)text, len, &defaults, &m, error, sizeof error), "%s",
                  error);
    ck_assert_uint_eq(m.len, len); /* nothing was missing, nothing had to change */
    ck_assert(memcmp(m.data, text, len) == 0);
    ck_assert_str_eq(m.message_id, "<0000000000001234@mta1.example.net>");
    ck_assert_int_eq(m.flags != 0, _i == DSN_UTF8 || _i == DSN_UTF8_RAW);
    for (const char *at = text, *end; (end = strstr(at, "\r\n")) != NULL; at = end + 2) {
        ck_assert_int_le(end - at, 920);
    }
    wire_message_free(&m);
    free(text);
}
END_TEST

START_TEST(nothing_from_the_network_adds_a_field_or_a_part)
{
    static const int samples[] = {DSN_NASTY, DSN_UTF8};
    for (size_t i = 0; i < 2; i++) {
        size_t len;
        char *text = make(samples[i], &len);
        ck_assert_uint_eq(count(text, "Final-Recipient:"), 5);
        ck_assert_uint_eq(count(text, "Action: failed\r\n"), 4);
    ck_assert_uint_eq(count(text, "Action: relayed\r\n"), 1);
        ck_assert_uint_eq(count(text, "Status:"), 5);
        ck_assert_uint_eq(count(text, "Bcc:"), 0);
        ck_assert_uint_eq(count(text, "X:"), samples[i] == DSN_UTF8); /* of the original */
        ck_assert_uint_eq(count(text, "--report"), 4);
        ck_assert_uint_eq(count(text, "."), samples[i] == DSN_UTF8 ? 0 : 1);
        ck_assert_uint_eq(count(text, "Final-Recipient: rfc822; a@x??Bcc: evil@example.org\r\n"),
                          1);
        free(text);
    }
}
END_TEST

START_TEST(without_utf8_everything_is_ascii)
{
    static const struct {
        int number;
        const char *part;
    } wanted[] = {
        {DSN_PLAIN, "no such user"},
        {DSN_NASTY, "\r\nFinal-Recipient: utf-8; \\x{7528}\\x{5C}\\x{2B}\\x{3D}@example.org\r\n"},
        {DSN_NASTY, "Diagnostic-Code: smtp; 550 \\x{E9} ?? ? ?? many blanks\r\n"},
        {DSN_8BIT, "quoted-printable\r\n\r\nSubject: =3D=C3=A9=20\r\nX: y\r\n\r\n--"},
        {DSN_RAW, "quoted-printable\r\n\r\nSubject: =E9=FF\r\n\r\n--"},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        size_t len;
        char *text = make(wanted[i].number, &len);
        ck_assert(utf8_is_ascii(text, len));
        ck_assert_msg(strstr(text, wanted[i].part) != NULL, "%s\nis not in\n%s", wanted[i].part,
                      text);
        free(text);
    }
}
END_TEST

START_TEST(with_utf8_the_types_of_rfc_6533_are_used)
{
    static const char *const wanted[] = {
        "report-type=global-delivery-status;",
        "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--report",
        "\r\nContent-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n",
        ("\r\nContent-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
         "Subject: =\xc3\xa9 \r\n"),
        "\r\nTo: \xc3\xa9@acme.example\r\n",
        "\r\nFinal-Recipient: utf-8; \xe7\x94\xa8\\+=@example.org\r\n",
        "\r\nDiagnostic-Code: smtp; 550 \xc3\xa9 ?? ? ?? many blanks\r\n",
    };
    size_t len;
    char *text = make(DSN_UTF8, &len);
    ck_assert(utf8_valid(text, len));
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        ck_assert_msg(strstr(text, wanted[i]) != NULL, "%s\nis not in\n%s", wanted[i], text);
    }
    free(text);
}
END_TEST

START_TEST(an_original_that_is_no_utf8_is_encoded_also_in_an_international_bounce)
{
    size_t len;
    char *text = make(DSN_UTF8_RAW, &len);
    ck_assert(utf8_valid(text, len));
    ck_assert_ptr_nonnull(strstr(text, "quoted-printable\r\n\r\nSubject: =E9=FF\r\n\r\n--"));
    free(text);
}
END_TEST

START_TEST(a_long_header_is_cut_at_a_line)
{
    struct dsn_request request = dsn_sample(DSN_PLAIN);
    uint8_t *data, *original = malloc(200000);
    size_t len, at = 0;
    ck_assert_ptr_nonnull(original);
    while (at + 21 < 200000) {
        at += (size_t)snprintf((char *)original + at, 22, "X-Field-%04zu: value\r\n",
                               at / 21 % 10000);
    }
    request.original = original;
    request.original_len = at;
    ck_assert(dsn_make(&request, &data, &len));
    ck_assert_uint_gt(len, 60000);
    ck_assert_uint_lt(len, 70000);
    ck_assert_ptr_nonnull(
        strstr((const char *)data, ": value\r\n\r\n--report/0000000000001234--\r\n"));
    free(data);
    free(original);
}
END_TEST

START_TEST(without_the_original_there_is_no_third_part)
{
    size_t len;
    char *text = make(DSN_NO_ORIGINAL, &len);
    ck_assert_uint_eq(count(text, "--report"), 3);
    ck_assert_ptr_null(strstr(text, "rfc822-headers"));
    free(text);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("dsn");
    tcase_add_test(tc, a_bounce_reads_as_rfc_3464_wants);
    tcase_add_loop_test(tc, a_bounce_is_in_wire_form_with_lines_far_below_998_bytes, 0,
                        DSN_SAMPLES);
    tcase_add_test(tc, nothing_from_the_network_adds_a_field_or_a_part);
    tcase_add_test(tc, without_utf8_everything_is_ascii);
    tcase_add_test(tc, with_utf8_the_types_of_rfc_6533_are_used);
    tcase_add_test(tc, an_original_that_is_no_utf8_is_encoded_also_in_an_international_bounce);
    tcase_add_test(tc, a_long_header_is_cut_at_a_line);
    tcase_add_test(tc, without_the_original_there_is_no_third_part);
    return tap_run("dsn", tc);
}
