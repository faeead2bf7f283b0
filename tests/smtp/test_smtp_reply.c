/* test_smtp_reply.c - the reply reader and the EHLO keywords. */
#include "dataplane/smtp_private.h"
#include "tests/dataplane/tap.h"

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])

/* Reads until a reply or an error, in pieces that end at `cut`; returns what came last. */
static enum smtp_read read_cut(struct smtp_reader *r, const char *bytes, size_t len, size_t cut,
                               size_t *ret_used)
{
    enum smtp_read result = SMTP_READ_MORE;
    size_t at = 0;
    memset(r, 0xa5, sizeof *r); /* nothing may depend on what was there before */
    smtp_reader_reset(r);
    while (at < len && (result == SMTP_READ_MORE || result == SMTP_READ_LINE)) {
        size_t end = at < cut && cut < len ? cut : len;
        uint32_t used;
        result = smtp_reader_read(r, (const uint8_t *)bytes + at, (uint32_t)(end - at), &used);
        ck_assert_uint_gt(used, 0);
        ck_assert(result != SMTP_READ_MORE || used == end - at);
        at += used;
    }
    *ret_used = at;
    return result;
}

static const struct {
    const char *bytes;
    uint16_t code;
    uint8_t enhanced[3];
    const char *text;
    bool bare_lf;
} replies[] = {
    {"250 ok\r\n", 250, {0}, "ok", false},
    {"250\r\n", 250, {0}, "", false},
    {"250 \r\n", 250, {0}, "", false},
    {"250\n", 250, {0}, "", true},
    {"250 ok\n", 250, {0}, "ok", true},
    {"599 last\r\n", 599, {0}, "last", false},
    {"550-one\r\n550 two\r\n", 550, {0}, "one / two", false},
    {"550-one\n550-\r\n550-  \r\n550 two\r\n", 550, {0}, "one / two", true},
    {"550-\r\n550 two\r\n", 550, {0}, "two", false},
    {"550-one\r\n550\r\n", 550, {0}, "one", false},
    {"250   many   blanks  \r\n", 250, {0}, "many   blanks", false},
    {"250 a\tb\r\n", 250, {0}, "a b", false},
    {"250 a\rb\r\n", 250, {0}, "a?b", false},
    {"250 a\r\r\n", 250, {0}, "a?", false},
    {"250 \x01\x1b[2J\x7f\xff\xc3\xb6\r\n", 250, {0}, "??[2J????", false},
    /* enhanced codes */
    {"250 2.1.5 ok\r\n", 250, {2, 1, 5}, "ok", false},
    {"250 2.0.0\r\n", 250, {2, 0, 0}, "", false},
    {"550-5.7.26 one\r\n550-5.7.26  two\r\n550 5.7.26 three\r\n",
     550,
     {5, 7, 26},
     "one / two / three",
     false},
    {"550-one\r\n550 5.1.1 two\r\n", 550, {5, 1, 1}, "one / two", false},
    {"550-5.1.1 one\r\n550 5.1.1\r\n", 550, {5, 1, 1}, "one", false},
    {"450 5.1.1 x\r\n", 450, {0}, "5.1.1 x", false},
    {"354 3.0.0 x\r\n", 354, {0}, "3.0.0 x", false},
    {"550 5.1.1x\r\n", 550, {0}, "5.1.1x", false},
    {"550 5.1.\r\n", 550, {0}, "5.1.", false},
    {"550 5.1\r\n", 550, {0}, "5.1", false},
    {"550 5.1.1111 x\r\n", 550, {0}, "5.1.1111 x", false},
    {"550 5.1.999 x\r\n", 550, {0}, "5.1.999 x", false},
    {"550 5..1 x\r\n", 550, {0}, "5..1 x", false},
    {"550 5 1 1 x\r\n", 550, {0}, "5 1 1 x", false},
};

START_TEST(replies_are_read_alike_wherever_they_are_cut)
{
    struct smtp_reader r;
    const char *bytes = replies[_i].bytes;
    size_t len = strlen(bytes), used;
    for (size_t cut = 0; cut < len; cut++) {
        ck_assert_int_eq(read_cut(&r, bytes, len, cut, &used), SMTP_READ_REPLY);
        ck_assert_uint_eq(used, len);
        ck_assert_uint_eq(r.reply.code, replies[_i].code);
        ck_assert_mem_eq(r.reply.enhanced, replies[_i].enhanced, 3);
        ck_assert_str_eq(r.reply.text, replies[_i].text);
        ck_assert_int_eq(r.bare_lf, replies[_i].bare_lf);
    }
}
END_TEST

static const struct {
    const char *bytes;
    enum smtp_read error;
    size_t used; /* the error is seen at once */
} wrong[] = {
    {"ok\r\n", SMTP_READ_ERROR_CODE, 1},          {"\r\n", SMTP_READ_ERROR_CODE, 1},
    {" 250 ok\r\n", SMTP_READ_ERROR_CODE, 1},     {"199 x\r\n", SMTP_READ_ERROR_CODE, 1},
    {"600 x\r\n", SMTP_READ_ERROR_CODE, 1},       {"2x0 x\r\n", SMTP_READ_ERROR_CODE, 2},
    {"25\r\n", SMTP_READ_ERROR_CODE, 3},          {"25: x\r\n", SMTP_READ_ERROR_CODE, 3},
    {"-50 x\r\n", SMTP_READ_ERROR_CODE, 1},       {"250x\r\n", SMTP_READ_ERROR_SEPARATOR, 4},
    {"2500 x\r\n", SMTP_READ_ERROR_SEPARATOR, 4}, {"250\tx\r\n", SMTP_READ_ERROR_SEPARATOR, 4},
    {"250\rx\r\n", SMTP_READ_ERROR_SEPARATOR, 5}, {"250-a\r\n251 b\r\n", SMTP_READ_ERROR_MIXED, 10},
    {"250-a\r\nb\r\n", SMTP_READ_ERROR_CODE, 8},  {"250-a\r\n\r\n", SMTP_READ_ERROR_CODE, 8},
};

START_TEST(what_is_no_reply_is_an_error_at_its_first_wrong_byte)
{
    struct smtp_reader r;
    size_t len = strlen(wrong[_i].bytes), used;
    for (size_t cut = 0; cut < len; cut++) {
        ck_assert_int_eq(read_cut(&r, wrong[_i].bytes, len, cut, &used), wrong[_i].error);
        ck_assert_uint_eq(used, wrong[_i].used);
        ck_assert_ptr_nonnull(strstr(smtp_read_error_text(wrong[_i].error), "protocol error: "));
    }
}
END_TEST

START_TEST(a_nul_byte_is_text_like_any_other)
{
    static const char bytes[] = "550 5.1.1 a\0b\r\n";
    struct smtp_reader r;
    size_t used;
    ck_assert_int_eq(read_cut(&r, bytes, sizeof bytes - 1, 0, &used), SMTP_READ_REPLY);
    ck_assert_str_eq(r.reply.text, "a?b");
    ck_assert_mem_eq(r.reply.enhanced, "\5\1\1", 3);
}
END_TEST

/* A line of len bytes with CRLF. */
static size_t line_make(char *line, const char *begin, size_t len)
{
    memset(line, 'x', len);
    memcpy(line, begin, strlen(begin));
    memcpy(line + len - 2, "\r\n", 2);
    return len;
}

START_TEST(long_text_is_cut_off_at_its_limit)
{
    static char line[SMTP_LINE_MAX];
    struct smtp_reader r;
    size_t len = line_make(line, "550 5.7.1 ", sizeof line), used;
    for (size_t cut = 0; cut < 300; cut++) {
        ck_assert_int_eq(read_cut(&r, line, len, cut, &used), SMTP_READ_REPLY);
        ck_assert_mem_eq(r.reply.enhanced, "\5\7\1", 3);
        ck_assert_uint_eq(strlen(r.reply.text), SMTP_TEXT_MAX - 1 - 6); /* without "5.7.1 " */
    }
}
END_TEST

START_TEST(an_enhanced_code_that_the_limit_cuts_off_does_not_count)
{
    char bytes[512];
    struct smtp_reader r;
    size_t used;
    /* the text of the second line begins 7 bytes before the limit: "5.7.100" of "5.7.1000" fits */
    size_t first = SMTP_TEXT_MAX - 1 - 3 - 7;
    size_t len = line_make(bytes, "550-", 4 + first + 2);
    len += (size_t)sprintf(bytes + len, "550 5.7.1000 x\r\n");
    ck_assert_int_eq(read_cut(&r, bytes, len, 0, &used), SMTP_READ_REPLY);
    ck_assert_uint_eq(r.reply.enhanced[0], 0);
    ck_assert_uint_eq(strlen(r.reply.text), SMTP_TEXT_MAX - 1);
}
END_TEST

START_TEST(a_line_over_the_limit_is_an_error)
{
    static char line[SMTP_LINE_MAX + 1];
    struct smtp_reader r;
    size_t len = line_make(line, "250 ", sizeof line), used;
    ck_assert_int_eq(read_cut(&r, line, len, 0, &used), SMTP_READ_ERROR_LINE_LONG);
}
END_TEST

START_TEST(more_lines_than_the_limit_are_an_error)
{
    static char bytes[(SMTP_REPLY_LINES_MAX + 1) * 7 + 1];
    struct smtp_reader r;
    size_t used;
    for (uint32_t lines = SMTP_REPLY_LINES_MAX; lines <= SMTP_REPLY_LINES_MAX + 1; lines++) {
        for (uint32_t i = 0; i < lines; i++) {
            (void)sprintf(bytes + (size_t)i * 7, "250%cx\r\n", i + 1 < lines ? '-' : ' ');
        }
        ck_assert_int_eq(read_cut(&r, bytes, (size_t)lines * 7, 0, &used),
                         lines > SMTP_REPLY_LINES_MAX ? SMTP_READ_ERROR_LINES : SMTP_READ_REPLY);
    }
}
END_TEST

START_TEST(more_bytes_than_the_limit_are_an_error)
{
    static char bytes[SMTP_REPLY_BYTES_MAX + 2 * SMTP_LINE_MAX];
    struct smtp_reader r;
    size_t len = 0, used;
    while (len + SMTP_LINE_MAX <= sizeof bytes) {
        len += line_make(bytes + len, "250-", SMTP_LINE_MAX);
    }
    ck_assert_int_eq(read_cut(&r, bytes, len, 0, &used), SMTP_READ_ERROR_REPLY_LONG);
    ck_assert_uint_eq(used, SMTP_REPLY_BYTES_MAX + 1);
}
END_TEST

START_TEST(nothing_of_a_reply_is_left_for_the_next)
{
    struct smtp_reader r;
    size_t len;
    uint32_t used;
    ck_assert_int_eq(read_cut(&r, "550-5.1.1 a\n550 b\n", 18, 0, &len), SMTP_READ_REPLY);
    smtp_reader_reset(&r);
    ck_assert(smtp_reader_at_start(&r));
    ck_assert_int_eq(smtp_reader_read(&r, (const uint8_t *)"250\r\n", 5, &used), SMTP_READ_REPLY);
    ck_assert_uint_eq(r.reply.code, 250);
    ck_assert_mem_eq(r.reply.enhanced, "\0\0\0", 3);
    ck_assert_str_eq(r.reply.text, "");
    ck_assert(!r.bare_lf);
}
END_TEST

/* ---- EHLO -------------------------------------------------------------------------------- */

static const struct {
    const char *line;
    uint32_t flags;
    uint64_t size_bytes;
} keywords[] = {
    {"PIPELINING", SMTP_EXT_PIPELINING, 0},
    {"Pipelining", SMTP_EXT_PIPELINING, 0},
    {"pipelining some parameter", SMTP_EXT_PIPELINING, 0},
    {"PIPELININGS", 0, 0},
    {"PIPELININ", 0, 0},
    {"", 0, 0},
    {"XPIPELINING", 0, 0},
    {"8BITMIME", SMTP_EXT_8BITMIME, 0},
    {"smtputf8", SMTP_EXT_SMTPUTF8, 0},
    {"ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCED, 0},
    {"CHUNKING", SMTP_EXT_CHUNKING, 0},
    {"STARTTLS", SMTP_EXT_STARTTLS, 0},
    {"DSN", SMTP_EXT_DSN, 0},
    {"AUTH", 0, 0},
    {"AUTH CRAM-MD5 xoauth2 SCRAM-SHA-1", SMTP_EXT_AUTH_CRAM | SMTP_EXT_AUTH_OAUTH, 0},
    {"AUTH PLAIN", SMTP_EXT_AUTH_PLAIN, 0},
    {"auth login plain", SMTP_EXT_AUTH_PLAIN | SMTP_EXT_AUTH_LOGIN, 0},
    {"AUTH=LOGIN PLAINS", SMTP_EXT_AUTH_LOGIN, 0},
    {"AUTH  PLAIN ", SMTP_EXT_AUTH_PLAIN, 0},
    {"AUTHPLAIN", 0, 0},
    {"REQUIRETLS", SMTP_EXT_REQUIRETLS, 0},
    {"SIZE", SMTP_EXT_SIZE, 0},
    {"SIZE 0", SMTP_EXT_SIZE, 0},
    {"size 35882577", SMTP_EXT_SIZE, 35882577},
    {"SIZE   7 8", SMTP_EXT_SIZE, 7},
    {"SIZE x", SMTP_EXT_SIZE, 0},
    {"SIZE -1", SMTP_EXT_SIZE, 0},
    {"SIZE=5", 0, 0},
    {"SIZE 18446744073709551615", SMTP_EXT_SIZE, UINT64_MAX},
    {"SIZE 18446744073709551616", SMTP_EXT_SIZE, UINT64_MAX},
    {"SIZE 99999999999999999999999999999999", SMTP_EXT_SIZE, UINT64_MAX},
};

START_TEST(a_keyword_is_known_or_ignored)
{
    struct smtp_extensions extensions = {0};
    smtp_ehlo_keyword(&extensions, keywords[_i].line);
    ck_assert_uint_eq(extensions.flags, keywords[_i].flags);
    ck_assert(extensions.size_bytes == keywords[_i].size_bytes);
}
END_TEST

START_TEST(keywords_add_up)
{
    struct smtp_extensions extensions = {0};
    smtp_ehlo_keyword(&extensions, "SIZE 10");
    smtp_ehlo_keyword(&extensions, "PIPELINING");
    smtp_ehlo_keyword(&extensions, "X-WHAT");
    ck_assert_uint_eq(extensions.flags, SMTP_EXT_SIZE | SMTP_EXT_PIPELINING);
    ck_assert(extensions.size_bytes == 10);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("reply");
    tcase_add_loop_test(tc, replies_are_read_alike_wherever_they_are_cut, 0, N_OF(replies));
    tcase_add_loop_test(tc, what_is_no_reply_is_an_error_at_its_first_wrong_byte, 0, N_OF(wrong));
    tcase_add_test(tc, a_nul_byte_is_text_like_any_other);
    tcase_add_test(tc, long_text_is_cut_off_at_its_limit);
    tcase_add_test(tc, an_enhanced_code_that_the_limit_cuts_off_does_not_count);
    tcase_add_test(tc, a_line_over_the_limit_is_an_error);
    tcase_add_test(tc, more_lines_than_the_limit_are_an_error);
    tcase_add_test(tc, more_bytes_than_the_limit_are_an_error);
    tcase_add_test(tc, nothing_of_a_reply_is_left_for_the_next);
    tcase_add_loop_test(tc, a_keyword_is_known_or_ignored, 0, N_OF(keywords));
    tcase_add_test(tc, keywords_add_up);
    return tap_run("smtp reply", tc);
}
