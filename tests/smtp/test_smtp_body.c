/* test_smtp_body.c - the message on the wire: prefix, dot stuffing by reference, final dot. */
#include "dataplane/smtp_client.h"
#include "tests/dataplane/tap.h"

#include <signal.h>

#define BODY_MAX 4096u
#define WIRE_MAX (2 * BODY_MAX + 256)

/* A message, and what came of it. */
struct fixture {
    struct smtp_client client;
    struct smtp_recipient recipient;
    struct smtp_transaction transaction;
    char body[BODY_MAX];
    uint32_t stuff[BODY_MAX];
    uint32_t len, n_stuff;
    uint8_t wire[WIRE_MAX];
    uint32_t wire_len;
};

static struct fixture f;

/* The list of dots, made in the most obvious way. */
static void list_dots(void)
{
    f.n_stuff = 0;
    for (uint32_t i = 0; i < f.len; i++) {
        if (f.body[i] == '.' && (i == 0 || f.body[i - 1] == '\n')) {
            f.stuff[f.n_stuff++] = i;
        }
    }
}

/* What must be on the wire: RFC 5321 4.5.2, byte by byte. */
static uint32_t expected_wire(const char *prefix, uint8_t *wire)
{
    uint32_t len = (uint32_t)strlen(prefix);
    bool line_begins = true;
    memcpy(wire, prefix, len);
    for (uint32_t i = 0; i < f.len; i++) {
        if (line_begins && f.body[i] == '.') {
            wire[len++] = '.';
        }
        wire[len++] = (uint8_t)f.body[i];
        line_begins = f.body[i] == '\n';
    }
    memcpy(wire + len, ".\r\n", 3);
    return len + 3;
}

static void server_says(const char *reply)
{
    smtp_client_input(&f.client, 0, (const uint8_t *)reply, (uint32_t)strlen(reply));
}

static void discard_output(void)
{
    struct smtp_piece piece;
    while (smtp_client_output(&f.client, 0, SMTP_COMMAND_MAX, &piece)) {
        if (piece.kind != SMTP_PIECE_COMMAND) {
            ck_abort_msg("the message is sent before its time");
        }
    }
}

/* To the point where the body is to be sent. */
static void open_body(const char *prefix)
{
    static const struct smtp_timeouts timeouts;
    static const char *const replies[] = {"220 a\r\n", "250 a\r\n", "250 a\r\n", "250 a\r\n"};
    list_dots();
    f.recipient = (struct smtp_recipient){.address = "r@to.example"};
    f.transaction = (struct smtp_transaction){
        .mail_from = "",
        .recipients = &f.recipient,
        .n_recipients = 1,
        .body = {.prefix = (const uint8_t *)prefix,
                 .prefix_len = (uint32_t)strlen(prefix),
                 .data = (const uint8_t *)f.body,
                 .len = f.len,
                 .stuff = f.stuff,
                 .n_stuff = f.n_stuff},
    };
    smtp_client_init(&f.client, 0, "me.example", &timeouts);
    ck_assert(smtp_client_start(&f.client, 0, &f.transaction));
    for (int i = 0; i < 4; i++) {
        discard_output();
        server_says(replies[i]);
    }
    discard_output();
    server_says("354 go\r\n");
    f.wire_len = 0;
}

/* One assertion for all: there are pieces of a byte, and Check writes to a pipe for each. */
static void check_piece(const struct smtp_piece *p, uint32_t room)
{
    const struct smtp_body *b = &f.transaction.body;
    bool command = p->kind == SMTP_PIECE_COMMAND;
    bool in_place = command || (p->kind == SMTP_PIECE_PREFIX && p->data == b->prefix + p->offset) ||
                    (p->kind == SMTP_PIECE_BODY && p->data == b->data + p->offset);
    bool flags =
        p->final_dot == command && p->push == command && smtp_client_dot_sent(&f.client) == command;
    bool fits = p->len > 0 && p->len <= room && f.wire_len + p->len <= sizeof f.wire;
    if (!in_place || !flags || !fits) {
        ck_abort_msg("piece at %u: in place %d, flags %d, fits %d", f.wire_len, in_place, flags,
                     fits);
    }
}

/* Sends all of it, in pieces of at most a room that changes from piece to piece. */
static void send_body(uint32_t room, uint32_t room_step)
{
    struct smtp_piece piece;
    while (smtp_client_output(&f.client, 0, room, &piece)) {
        check_piece(&piece, room);
        memcpy(f.wire + f.wire_len, piece.data, piece.len);
        f.wire_len += piece.len;
        room += room_step;
    }
}

static void check_wire(const char *prefix)
{
    static uint8_t expected[WIRE_MAX];
    uint32_t len = expected_wire(prefix, expected);
    ck_assert_uint_eq(f.wire_len, len);
    ck_assert_mem_eq(f.wire, expected, len);
    ck_assert(smtp_client_dot_sent(&f.client));
    server_says("250 taken\r\n");
    ck_assert_int_eq(f.recipient.kind, OUTCOME_DELIVERED);
    ck_assert(!smtp_client_dot_sent(&f.client));
}

static void round_trip(const char *prefix, uint32_t room, uint32_t room_step)
{
    open_body(prefix);
    send_body(room, room_step);
    check_wire(prefix);
}

static void set_body(const char *text)
{
    f.len = (uint32_t)strlen(text);
    memcpy(f.body, text, f.len);
}

static const char *const bodies[] = {
    "a\r\n",
    "\r\n",
    ".\r\n",
    "..\r\n",
    ".\r\n.\r\n.\r\n",
    "a\r\n.\r\nb\r\n",
    "a.\r\n",
    "a\r\n.b",
    ".a.\r\n..\r\n...b\r\n\r\n.\r\n",
};

START_TEST(dots_at_line_starts_are_doubled)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%s%s", bodies[_i], strstr(bodies[_i], ".b") ? "\r\n" : "");
    set_body(text);
    round_trip("", SMTP_COMMAND_MAX, 0);
    round_trip("DKIM-Signature: v=1;\r\n\tb=x.y\r\n", SMTP_COMMAND_MAX, 0);
}
END_TEST

START_TEST(a_dot_may_fall_on_any_byte_of_a_piece)
{
    for (uint32_t dot = 2; dot < 2 * SMTP_COMMAND_MAX + 8; dot++) {
        f.len = 3 * SMTP_COMMAND_MAX;
        memset(f.body, 'x', f.len);
        memcpy(f.body + f.len - 2, "\r\n", 2);
        memcpy(f.body + dot - 2, "\r\n.\r\n.", 6);
        round_trip("", SMTP_COMMAND_MAX, 0);
    }
}
END_TEST

START_TEST(a_long_prefix_is_cut_like_the_body)
{
    static char prefix[1600];
    memset(prefix, 'p', sizeof prefix - 1);
    memcpy(prefix, "X: ", 3);
    memcpy(prefix + sizeof prefix - 3, "\r\n", 3);
    set_body(".first\r\n");
    for (uint32_t room = SMTP_COMMAND_MAX; room < sizeof prefix + 2; room++) {
        round_trip(prefix, room, 0);
    }
}
END_TEST

START_TEST(a_prefix_alone_is_a_message)
{
    f.len = 0;
    round_trip("Subject: all\r\n\r\n", SMTP_COMMAND_MAX, 0);
}
END_TEST

START_TEST(a_piece_is_as_large_as_the_room)
{
    struct smtp_piece piece;
    f.len = BODY_MAX;
    memset(f.body, 'x', f.len);
    memcpy(f.body + f.len - 2, "\r\n", 2);
    open_body("");
    ck_assert(smtp_client_output(&f.client, 0, 3000, &piece));
    ck_assert_uint_eq(piece.len, 3000);
    ck_assert(smtp_client_output(&f.client, 0, 3000, &piece));
    ck_assert_uint_eq(piece.len, BODY_MAX - 3000);
    ck_assert(piece.offset == 3000);
}
END_TEST

/* A body in which dots and line ends are frequent. */
static void random_body(unsigned *seed)
{
    static const char *const parts[] = {".", "..", "\r\n", "\r\n.", "\r\n.\r\n", "x", "some words"};
    uint32_t want = (uint32_t)rand_r(seed) % (BODY_MAX - 16);
    f.len = 0;
    while (f.len < want) {
        const char *part = parts[(size_t)rand_r(seed) % (sizeof parts / sizeof parts[0])];
        memcpy(f.body + f.len, part, strlen(part));
        f.len += (uint32_t)strlen(part);
    }
    memcpy(f.body + f.len, "\r\n", 2);
    f.len += 2;
}

START_TEST(random_bodies_arrive_as_they_were)
{
    unsigned seed = 5321;
    for (int i = 0; i < 2000; i++) {
        random_body(&seed);
        uint32_t room = SMTP_COMMAND_MAX + (uint32_t)rand_r(&seed) % 1500;
        round_trip(i % 2 ? "X-Prefix: yes\r\n" : "", room, (uint32_t)rand_r(&seed) % 3);
    }
}
END_TEST

START_TEST(a_body_without_its_last_crlf_is_our_own_bug)
{
    set_body("Subject: x");
    open_body("");
}
END_TEST

START_TEST(a_prefix_line_that_begins_with_a_dot_is_our_own_bug)
{
    set_body("x\r\n");
    open_body("A: b\r\n.c\r\n");
}
END_TEST

START_TEST(a_listed_dot_that_is_none_is_our_own_bug)
{
    set_body("x\r\n.y\r\n");
    open_body("");
    f.stuff[0] = 4;
    send_body(SMTP_COMMAND_MAX, 0);
}
END_TEST

#ifdef WIREPOST_INVARIANT_HOT
START_TEST(a_dot_that_is_not_listed_is_our_own_bug)
{
    set_body("x\r\n.y\r\n");
    open_body("");
    f.transaction.body.n_stuff = 0;
    send_body(SMTP_COMMAND_MAX, 0);
}
END_TEST
#endif

int main(void)
{
    TCase *tc = tcase_create("body");
    tcase_add_loop_test(tc, dots_at_line_starts_are_doubled, 0,
                        (int)(sizeof bodies / sizeof bodies[0]));
    tcase_add_test(tc, a_dot_may_fall_on_any_byte_of_a_piece);
    tcase_add_test(tc, a_long_prefix_is_cut_like_the_body);
    tcase_add_test(tc, a_prefix_alone_is_a_message);
    tcase_add_test(tc, a_piece_is_as_large_as_the_room);
    tcase_add_test(tc, random_bodies_arrive_as_they_were);
    tcase_add_test_raise_signal(tc, a_body_without_its_last_crlf_is_our_own_bug, SIGABRT);
    tcase_add_test_raise_signal(tc, a_prefix_line_that_begins_with_a_dot_is_our_own_bug, SIGABRT);
    tcase_add_test_raise_signal(tc, a_listed_dot_that_is_none_is_our_own_bug, SIGABRT);
#ifdef WIREPOST_INVARIANT_HOT
    tcase_add_test_raise_signal(tc, a_dot_that_is_not_listed_is_our_own_bug, SIGABRT);
#endif
    return tap_run("smtp body", tc);
}
