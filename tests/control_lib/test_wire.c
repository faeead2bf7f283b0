/* test_wire.c - what an injector gives and what goes on the wire: wire.h. */
#include "tests/control_lib/tap.h"
#include "tests/control_lib/wire_check.h"

#include "tcp/base.h"

#include <time.h>

#define DATE   "Date: Mon, 23 Nov 2026 19:07:00 +0000\r\n"
#define ID     "Message-ID: <000000000000002a@mta1.example.net>\r\n"
#define HEAD   "Date: now\nMessage-ID: <1@x>\n"
#define HEAD_W "Date: now\r\nMessage-ID: <1@x>\r\n"
#define X50    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X200   X50 X50 X50 X50
#define X998   X200 X200 X200 X200 X50 X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct wire_defaults defaults = {"mta1.example.net", 42, 1795460820};

/* ---- messages that are taken ------------------------------------------------------------- */

struct row {
    const char *in, *out;
    const char *message_id; /* null: <1@x> */
    uint32_t flags;
};

static const struct row rows[] = {
    /* line ends */
    {HEAD "\nbody\n", HEAD_W "\r\nbody\r\n", NULL, 0},
    {HEAD_W "\r\nbody\r\n", HEAD_W "\r\nbody\r\n", NULL, 0},
    {HEAD "\r\nbody\nmixed\r\n", HEAD_W "\r\nbody\r\nmixed\r\n", NULL, 0},
    {HEAD "\nno end", HEAD_W "\r\nno end\r\n", NULL, 0},
    {HEAD "\nends twice\n\n", HEAD_W "\r\nends twice\r\n\r\n", NULL, 0},
    {HEAD "\n", HEAD_W "\r\n", NULL, 0},
    {HEAD, HEAD_W, NULL, 0},
    {HEAD "S: x", HEAD_W "S: x\r\n", NULL, 0},
    {HEAD "\n" X998 "\n", HEAD_W "\r\n" X998 "\r\n", NULL, 0},

    /* dots are kept, and listed (below) */
    {HEAD "\n.\n..\n", HEAD_W "\r\n.\r\n..\r\n", NULL, 0},
    {HEAD ".odd: field\n\n", HEAD_W ".odd: field\r\n\r\n", NULL, 0},

    /* Date and Message-ID */
    {"S: x\n\nb\n", "S: x\r\n" DATE ID "\r\nb\r\n", "<000000000000002a@mta1.example.net>", 0},
    {"S: x", "S: x\r\n" DATE ID, "<000000000000002a@mta1.example.net>", 0},
    {"message-id: <1@x>\n\nb\n", "message-id: <1@x>\r\n" DATE "\r\nb\r\n", NULL, 0},
    {"DATE : now\n\nb\n", "DATE : now\r\n" ID "\r\nb\r\n", "<000000000000002a@mta1.example.net>",
     0},
    {"Datex: now\nX-Date: now\n\nDate: now\n",
     "Datex: now\r\nX-Date: now\r\n" DATE ID "\r\nDate: now\r\n",
     "<000000000000002a@mta1.example.net>", 0},
    {"Date: now\nMessage-ID:\n <folded@x>\n\n", "Date: now\r\nMessage-ID:\r\n <folded@x>\r\n\r\n",
     "<folded@x>", 0},
    {"Date: now\nMessage-ID: <1@x>\nMessage-ID: <2@x>\n\n",
     "Date: now\r\nMessage-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n", NULL, 0},
    {"Date: now\nMessage-ID: none\nX: <3@x>\n\n",
     "Date: now\r\nMessage-ID: none\r\nX: <3@x>\r\n\r\n", "", 0},
    {"Date: now\nMessage-ID: <" X200 X50 X50 ">\n\n",
     "Date: now\r\nMessage-ID: <" X200 X50 X50 ">\r\n\r\n", "", 0},
    {"Date: now\nMessage-ID: <1@x>\n <2@x>\n\n", "Date: now\r\nMessage-ID: <1@x>\r\n <2@x>\r\n\r\n",
     NULL, 0},
    {"Date: now\nMessage-ID: <" X200 X50 "xxx>\n\n",
     "Date: now\r\nMessage-ID: <" X200 X50 "xxx>\r\n\r\n", "<" X200 X50 "xxx>", 0},
    {"Date: now\nMessage-ID: <" X200 X50 "xxxx>\n\n",
     "Date: now\r\nMessage-ID: <" X200 X50 "xxxx>\r\n\r\n", "", 0},
    {"Date: now\nMessage-ID: <a b@x>\n\n", "Date: now\r\nMessage-ID: <a b@x>\r\n\r\n", "", 0},

    /* Bcc */
    {"Bcc: a@x\n" HEAD "\nb\n", HEAD_W "\r\nb\r\n", NULL, 0},
    {HEAD "BCC : a@x,\n\tb@x,\n c@x\nTo: d@x\n\n", HEAD_W "To: d@x\r\n\r\n", NULL, 0},
    {HEAD "Resent-Bcc: a@x\nbcc:\nBcc:\n\nBcc: in the body\n", HEAD_W "\r\nBcc: in the body\r\n",
     NULL, 0},
    {HEAD "X-Bcc: a@x\nBcc2: b@x\n\n", HEAD_W "X-Bcc: a@x\r\nBcc2: b@x\r\n\r\n", NULL, 0},
    {"Bcc: a@x\n\nb\n", DATE ID "\r\nb\r\n", "<000000000000002a@mta1.example.net>", 0},
    {HEAD "Bcc: \xc3\xa9@x\n \xff\n\n", HEAD_W "\r\n", NULL, 0},

    /* folded lines, also of blanks only, are of the header */
    {HEAD "S: a\n b\n \t \nT: c\n\n", HEAD_W "S: a\r\n b\r\n \t \r\nT: c\r\n\r\n", NULL, 0},

    /* eight bits */
    {HEAD "\n\xe9\n", HEAD_W "\r\n\xe9\r\n", NULL, WIRE_HAS_8BIT_BODY},
    {HEAD "S: \xc3\xa9\n\nb\n", HEAD_W "S: \xc3\xa9\r\n\r\nb\r\n", NULL, WIRE_HAS_8BIT_HEADER},
    {HEAD "S: \xe9\n\nb\n", HEAD_W "S: \xe9\r\n\r\nb\r\n", NULL, WIRE_HAS_8BIT_BODY},
    {HEAD "S: \xc3\xa9\n\n\xc3\xa9\n", HEAD_W "S: \xc3\xa9\r\n\r\n\xc3\xa9\r\n", NULL,
     WIRE_HAS_8BIT_HEADER | WIRE_HAS_8BIT_BODY},
};

static bool make(const void *in, size_t len, struct wire_message *m, char error[256])
{
    error[0] = '\0';
    return wire_message_make(in, len, &defaults, m, error, 256);
}

START_TEST(a_message_gets_its_wire_form)
{
    const struct row *row = &rows[_i];
    struct wire_message m;
    char error[256];
    ck_assert_msg(make(row->in, strlen(row->in), &m, error), "%s", error);
    ck_assert_msg(m.len == strlen(row->out) && memcmp(m.data, row->out, m.len) == 0,
                  "wanted:\n%s\ngot:\n%.*s", row->out, (int)m.len, (const char *)m.data);
    ck_assert_str_eq(m.message_id, row->message_id ? row->message_id : "<1@x>");
    ck_assert_uint_eq(m.flags, row->flags);
    wire_message_free(&m);
    ck_assert_ptr_null(m.data);
}
END_TEST

START_TEST(the_wire_form_of_a_wire_form_is_itself)
{
    const struct row *row = &rows[_i];
    struct wire_message m, again;
    char error[256];
    ck_assert(make(row->in, strlen(row->in), &m, error));
    ck_assert_msg(make(m.data, m.len, &again, error), "%s", error);
    ck_assert_uint_eq(again.len, m.len);
    ck_assert(memcmp(again.data, m.data, m.len) == 0);
    ck_assert_uint_eq(again.n_stuff, m.n_stuff);
    ck_assert_uint_eq(again.flags, m.flags);
    ck_assert_str_eq(again.message_id, m.message_id);
    wire_message_free(&m);
    wire_message_free(&again);
}
END_TEST

START_TEST(cut_anywhere_it_is_refused_or_in_wire_form)
{
    const struct row *row = &rows[_i];
    struct wire_message m;
    char error[256];
    for (size_t len = 0; len <= strlen(row->in); len++) {
        uint8_t *part = malloc(len ? len : 1); /* ASan stands behind it */
        memcpy(part, row->in, len);
        if (make(part, len, &m, error)) {
            wire_check(&m);
            wire_message_free(&m);
        } else {
            ck_assert_uint_gt(strlen(error), 10);
        }
        free(part);
    }
}
END_TEST

/* ---- dots -------------------------------------------------------------------------------- */

START_TEST(every_line_that_begins_with_a_dot_is_listed)
{
    static const char in[] = ".h: x\n\n.\n a.b\n..\n.c\n\n.";
    struct wire_message m;
    char error[256];
    ck_assert(make(in, strlen(in), &m, error));
    wire_check(&m);
    ck_assert_uint_eq(m.n_stuff, 5);
    ck_assert_uint_eq(m.stuff[0], 0);
    wire_message_free(&m);
}
END_TEST

START_TEST(a_dot_in_a_line_or_left_out_with_bcc_is_not_listed)
{
    static const char in[] = "Bcc: a\n\t.b\nS: .c\n .d\n\n .e\n";
    struct wire_message m;
    char error[256];
    ck_assert(make(in, strlen(in), &m, error));
    ck_assert_uint_eq(m.n_stuff, 0);
    ck_assert_ptr_null(m.stuff);
    wire_message_free(&m);
}
END_TEST

/* ---- messages that are refused ----------------------------------------------------------- */

static const struct {
    const char *in;
    size_t len; /* 0: strlen */
    const char *error;
} refused[] = {
    {"", 0, "the message is empty"},
    {"\nbody\n", 0, "line 1: the message has no header"},
    {"\r\nbody\r\n", 0, "line 1: the message has no header"},
    {"\n", 0, "line 1: the message has no header"},
    {"Hello,\nworld\n", 0, "line 1: it is neither a header field"},
    {"From a@x Mon Nov 23 19:07:00 2026\nS: x\n\n", 0, "line 1: it is the \"From \" line"},
    {" S: x\n\n", 0, "line 1: it is neither"},
    {"S: x\nFrom a@x Mon\n\n", 0, "line 2: it is neither"},
    {"S: x\nbody without a blank line\n", 0, "line 2: it is neither"},
    {"S: x\n: y\n\n", 0, "line 2: it is neither"},
    {"S: x\n\xc3\xa9: y\n\n", 0, "line 2: it is neither"},
    {"S: x\n--b: y\nb y: z\n\n", 0, "line 3: it is neither"},
    {"S: x\r\r\n\r\n", 0, "line 1: a CR stands without LF"},
    {"S: x\n\na\rb\n", 0, "line 3: a CR stands without LF"},
    {"S: x\n\na\r", 0, "line 3: a CR stands without LF"},
    {"S: x\n\r\r\n.\r\nMAIL\n", 0, "line 2: a CR stands without LF"},
    {"S: x\n\na\n\0\n", 10, "line 4: there is a NUL"},
    {"S: \0x\n\n", 7, "line 1: there is a NUL"},
    {"S: x\n\nok\n" X998 "x\n", 0, "line 4: it is over 998"},
    {"S: " X998 "\n\n", 0, "line 1: it is over 998"},
    {"S: x\n\n" X998 "x", 0, "line 3: it is over 998"},
};

START_TEST(what_is_no_message_is_refused_with_the_line_and_the_reason)
{
    struct wire_message m, untouched;
    char error[256];
    size_t len = refused[_i].len ? refused[_i].len : strlen(refused[_i].in);
    memset(&m, 0x5a, sizeof m);
    untouched = m;
    ck_assert(!make(refused[_i].in, len, &m, error));
    ck_assert_msg(strncmp(error, refused[_i].error, strlen(refused[_i].error)) == 0, "%s", error);
    ck_assert_int_eq(memcmp(&m, &untouched, sizeof m), 0);
}
END_TEST

START_TEST(nothing_that_ends_a_message_early_for_any_receiver_gets_through)
{
    static const char *const ends[] = {"\n.\n", "\n.\r\n",     "\r.\r\n",       "\r.\n",    "\r.\r",
                                       "\n.\r", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n.\r\n"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char in[128], error[256];
        struct wire_message m;
        (void)snprintf(in, sizeof in, "S: x\r\n\r\nbody%sMAIL FROM:<a@x>\r\n", ends[i]);
        if (make(in, strlen(in), &m, error)) {
            wire_check(&m); /* CRLF only, and the dot is listed for stuffing */
            ck_assert_uint_eq(m.n_stuff, 1);
            wire_message_free(&m);
        }
    }
}
END_TEST

/* ---- size -------------------------------------------------------------------------------- */

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

START_TEST(large_messages_take_time_in_proportion)
{
    static const struct {
        const char *line;
        size_t out, bytes; /* of a line on the wire; of the input */
    } shapes[] = {
        {"\n", 2, 10000000}, {".\n", 3, 10000000}, {X200 X200 X200 X200 "\r\n", 802, 50000000}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        size_t len = strlen(shapes[i].line), n = shapes[i].bytes / len;
        uint8_t *in = malloc(n * len + 8);
        struct wire_message m;
        char error[256];
        memcpy(in, "S: x\r\n\r\n", 8);
        for (size_t k = 0; k < n; k++) {
            memcpy(in + 8 + k * len, shapes[i].line, len);
        }
        double before = cpu_seconds();
        ck_assert_msg(make(in, 8 + n * len, &m, error), "%s", error);
        ck_assert_double_lt(cpu_seconds() - before, 20); /* quadratic: hours */
        ck_assert_uint_eq(m.len, 8 + n * shapes[i].out + sizeof DATE ID - 1);
        ck_assert_uint_eq(m.n_stuff, shapes[i].line[0] == '.' ? n : 0);
        wire_message_free(&m);
        free(in);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("wire");
    const int n = (int)(sizeof rows / sizeof rows[0]);
    tcase_add_loop_test(tc, a_message_gets_its_wire_form, 0, n);
    tcase_add_loop_test(tc, the_wire_form_of_a_wire_form_is_itself, 0, n);
    tcase_add_loop_test(tc, cut_anywhere_it_is_refused_or_in_wire_form, 0, n);
    tcase_add_test(tc, every_line_that_begins_with_a_dot_is_listed);
    tcase_add_test(tc, a_dot_in_a_line_or_left_out_with_bcc_is_not_listed);
    tcase_add_loop_test(tc, what_is_no_message_is_refused_with_the_line_and_the_reason, 0,
                        (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(tc, nothing_that_ends_a_message_early_for_any_receiver_gets_through);
    tcase_add_test(tc, large_messages_take_time_in_proportion);
    return tap_run("wire", tc);
}
