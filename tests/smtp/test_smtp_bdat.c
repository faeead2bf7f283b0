/* test_smtp_bdat.c - messages in chunks (RFC 3030): what is on the wire, and what ends between. */
#include "dataplane/smtp_client.h"
#include "tests/dataplane/tap.h"

#define N_OF(a)  (int)(sizeof(a) / sizeof(a)[0])
#define BODY_MAX (2 * SMTP_CHUNK_MAX + 4096)

static struct smtp_client client;
static struct smtp_recipient recipient;
static struct smtp_transaction transaction;
static uint8_t body[BODY_MAX];
static uint8_t wire[BODY_MAX + 4096];
static uint32_t wire_len; /* of the message, without the commands */
static uint32_t n_chunks, chunk_left;
static bool last_chunk;
static uint64_t now_ns;

static void server_says(const char *bytes)
{
    smtp_client_input(&client, now_ns, (const uint8_t *)bytes, (uint32_t)strlen(bytes));
}

static void discard_commands(void)
{
    struct smtp_piece piece;
    while (smtp_client_output(&client, now_ns, SMTP_ROOM_MIN, &piece)) {
        ck_assert_int_eq(piece.kind, SMTP_PIECE_COMMAND);
    }
}

/* Lines that begin with dots, which BDAT leaves alone. */
static void make_body(uint32_t len)
{
    static uint32_t stuff[BODY_MAX / 64 + 1];
    uint32_t n = 0;
    ck_assert(len >= 2 && len <= sizeof body);
    for (uint32_t i = 0; i < len; i++) {
        body[i] = i % 64 == 0    ? '.'
                  : i % 64 == 62 ? '\r'
                  : i % 64 == 63 ? '\n'
                                 : (uint8_t)('a' + i % 23);
        if (i % 64 == 0) {
            stuff[n++] = i;
        }
    }
    memcpy(body + len - 2, "\r\n", 2);
    transaction.body = (struct smtp_body){.data = body, .len = len, .stuff = stuff, .n_stuff = n};
}

/* The recipient is accepted; the message may go. */
static void open_message(uint32_t len, const char *prefix)
{
    static const struct smtp_timeouts timeouts;
    static const struct smtp_options options = {.chunking = true};
    recipient = (struct smtp_recipient){.address = "r@to.example"};
    transaction =
        (struct smtp_transaction){.mail_from = "", .recipients = &recipient, .n_recipients = 1};
    make_body(len);
    transaction.body.prefix = (const uint8_t *)prefix;
    transaction.body.prefix_len = (uint32_t)strlen(prefix);
    wire_len = n_chunks = chunk_left = 0;
    last_chunk = false;
    now_ns = NS_PER_S;
    smtp_client_init(&client, now_ns, "me.example", &timeouts);
    smtp_client_configure(&client, now_ns, &options);
    ck_assert(smtp_client_start(&client, now_ns, &transaction));
    server_says("220 mx\r\n");
    discard_commands();
    server_says("250-mx\r\n250 CHUNKING\r\n");
    discard_commands();
    server_says("250 ok\r\n");
    discard_commands();
    server_says("250 ok\r\n");
}

static void take_command(const struct smtp_piece *p)
{
    char text[64] = "", extra[8] = "";
    ck_assert_uint_lt(p->len, sizeof text);
    memcpy(text, p->data, p->len);
    ck_assert_uint_eq(chunk_left, 0);
    ck_assert_int_ge(sscanf(text, "BDAT %u %7s", &chunk_left, extra), 1);
    ck_assert(chunk_left > 0 && chunk_left <= SMTP_CHUNK_MAX);
    last_chunk = strcmp(extra, "LAST") == 0;
    ck_assert(last_chunk || chunk_left == SMTP_CHUNK_MAX);
    ck_assert(!p->push && !p->final_dot);
    n_chunks++;
}

/* One assertion for all: there are many pieces. */
static void take_octets(const struct smtp_piece *p, uint32_t room)
{
    bool fits = p->len > 0 && p->len <= room && p->len <= chunk_left;
    memcpy(wire + wire_len, p->data, p->len);
    wire_len += p->len;
    chunk_left -= p->len;
    bool ends = chunk_left == 0;
    bool flags = p->push == ends && p->final_dot == (ends && last_chunk) &&
                 smtp_client_dot_sent(&client) == p->final_dot;
    if (!fits || !flags) {
        ck_abort_msg("piece before %u: fits %d, flags %d", wire_len, fits, flags);
    }
}

/* Sends until an answer is needed. */
static void send_chunk(uint32_t room)
{
    struct smtp_piece piece;
    while (smtp_client_output(&client, now_ns, room, &piece)) {
        if (piece.kind == SMTP_PIECE_COMMAND) {
            take_command(&piece);
        } else {
            take_octets(&piece, room);
        }
    }
}

static const struct {
    uint32_t len;
    const char *prefix;
    uint32_t n_chunks;
} sizes[] = {
    {2, "", 1},
    {64, "A: b\r\n", 1},
    {SMTP_CHUNK_MAX - 1, "", 1},
    {SMTP_CHUNK_MAX, "", 1},
    {SMTP_CHUNK_MAX + 1, "", 2},
    {SMTP_CHUNK_MAX, "A: b\r\n", 2},
    {SMTP_CHUNK_MAX - 6, "A: b\r\n", 1},
    {2 * SMTP_CHUNK_MAX, "", 2},
    {2 * SMTP_CHUNK_MAX + 100, "A: b\r\n", 3},
};

START_TEST(the_message_arrives_as_it_is_in_chunks)
{
    uint32_t prefix_len = (uint32_t)strlen(sizes[_i].prefix);
    open_message(sizes[_i].len, sizes[_i].prefix);
    for (uint32_t room = SMTP_ROOM_MIN; !smtp_client_dot_sent(&client); room += 60000) {
        send_chunk(room);
        ck_assert_uint_eq(chunk_left, 0);
        if (!last_chunk) {
            server_says("250 more\r\n");
        }
    }
    ck_assert_uint_eq(n_chunks, sizes[_i].n_chunks);
    ck_assert_uint_eq(wire_len, prefix_len + sizes[_i].len);
    ck_assert_mem_eq(wire, sizes[_i].prefix, prefix_len);
    ck_assert_mem_eq(wire + prefix_len, body, sizes[_i].len);
    ck_assert_int_eq(recipient.kind, OUTCOME_NONE);
    server_says("250 taken\r\n");
    ck_assert_int_eq(recipient.kind, OUTCOME_DELIVERED);
    ck_assert(smtp_client_idle(&client));
}
END_TEST

static void check_result(enum outcome_kind kind, uint16_t code)
{
    ck_assert_str_eq(outcome_kind_text(recipient.kind), outcome_kind_text(kind));
    ck_assert_uint_eq(recipient.reply.code, code);
    ck_assert_int_eq(recipient.reply.stage, OUTCOME_STAGE_BODY);
}

START_TEST(after_a_refused_chunk_there_is_no_other_but_rset)
{
    struct smtp_piece piece;
    open_message(SMTP_CHUNK_MAX + 1, "");
    send_chunk(65536);
    ck_assert(!smtp_client_dot_sent(&client));
    server_says("552 5.3.4 enough\r\n");
    check_result(OUTCOME_BOUNCED, 552);
    ck_assert(smtp_client_idle(&client));
    ck_assert(smtp_client_start(&client, now_ns, &transaction));
    ck_assert(smtp_client_output(&client, now_ns, SMTP_ROOM_MIN, &piece));
    ck_assert_mem_eq(piece.data, "RSET\r\n", 6);
}
END_TEST

START_TEST(a_chunk_that_the_server_does_not_understand_defers_and_ends_the_session)
{
    struct smtp_piece piece;
    open_message(SMTP_CHUNK_MAX + 1, "");
    send_chunk(65536);
    server_says("500 5.5.1 what\r\n");
    check_result(OUTCOME_DEFERRED, 500);
    ck_assert(smtp_client_output(&client, now_ns, SMTP_ROOM_MIN, &piece));
    ck_assert_mem_eq(piece.data, "QUIT\r\n", 6);
}
END_TEST

/* What comes before a chunk has gone out is no answer to it. */
static const struct {
    const char *reply;
    enum outcome_kind kind;
    uint16_t code;
} amid[] = {
    {"554 5.7.1 spam\r\n", OUTCOME_BOUNCED, 554},  {"452 4.3.1 disk\r\n", OUTCOME_DEFERRED, 452},
    {"503 5.5.1 what\r\n", OUTCOME_DEFERRED, 503}, {"421 4.3.2 bye\r\n", OUTCOME_DEFERRED, 421},
    {"250 taken\r\n", OUTCOME_DEFERRED, 0},        {"354 go\r\n", OUTCOME_DEFERRED, 0},
};

START_TEST(a_reply_amid_a_chunk_ends_the_session_and_never_says_delivered)
{
    for (uint32_t pieces = 1; pieces < 4; pieces++) {
        struct smtp_piece piece;
        open_message(10000, "");
        for (uint32_t i = 0; i < pieces; i++) {
            ck_assert(smtp_client_output(&client, now_ns, 1000, &piece));
        }
        server_says(amid[_i].reply);
        check_result(amid[_i].kind, amid[_i].code);
        ck_assert(smtp_client_next_event(&client) & SMTP_EV_CLOSED);
        ck_assert(!smtp_client_output(&client, now_ns, 1000, &piece));
    }
}
END_TEST

START_TEST(half_a_250_amid_a_chunk_is_no_answer_to_it)
{
    struct smtp_piece piece;
    open_message(SMTP_CHUNK_MAX + 1, "");
    ck_assert(smtp_client_output(&client, now_ns, 1000, &piece));
    take_command(&piece);
    server_says("250 mo");
    send_chunk(65536);
    server_says("re\r\n");
    check_result(OUTCOME_DEFERRED, 0);
    ck_assert(smtp_client_protocol_error(&client));
}
END_TEST

START_TEST(half_a_refusal_amid_a_chunk_is_a_refusal)
{
    struct smtp_piece piece;
    open_message(SMTP_CHUNK_MAX + 1, "");
    ck_assert(smtp_client_output(&client, now_ns, 1000, &piece));
    take_command(&piece);
    server_says("554 sp");
    send_chunk(65536);
    server_says("am\r\n");
    check_result(OUTCOME_BOUNCED, 554);
    ck_assert(smtp_client_next_event(&client) & SMTP_EV_CLOSED);
}
END_TEST

START_TEST(a_chunk_may_wait_three_minutes_for_its_reply_and_progress_counts)
{
    open_message(SMTP_CHUNK_MAX + 1, "");
    send_chunk(65536);
    now_ns += 179 * NS_PER_S;
    smtp_client_progress(&client, now_ns);
    ck_assert(smtp_client_deadline_ns(&client) == now_ns + 180 * NS_PER_S);
    now_ns += 180 * NS_PER_S;
    smtp_client_on_deadline(&client, now_ns);
    check_result(OUTCOME_DEFERRED, 0);
}
END_TEST

START_TEST(a_server_that_answers_each_chunk_is_still_timed_out_when_it_is_too_slow)
{
    open_message(SMTP_CHUNK_MAX + 1, "");
    uint64_t due_ns = now_ns + (180 + (SMTP_CHUNK_MAX + 1) / 500) * NS_PER_S;
    send_chunk(65536);
    now_ns = due_ns - NS_PER_S;
    smtp_client_progress(&client, now_ns);
    server_says("250 more\r\n");
    ck_assert(smtp_client_deadline_ns(&client) == due_ns);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("bdat");
    tcase_add_loop_test(tc, the_message_arrives_as_it_is_in_chunks, 0, N_OF(sizes));
    tcase_add_test(tc, after_a_refused_chunk_there_is_no_other_but_rset);
    tcase_add_test(tc, a_chunk_that_the_server_does_not_understand_defers_and_ends_the_session);
    tcase_add_loop_test(tc, a_reply_amid_a_chunk_ends_the_session_and_never_says_delivered, 0,
                        N_OF(amid));
    tcase_add_test(tc, half_a_250_amid_a_chunk_is_no_answer_to_it);
    tcase_add_test(tc, half_a_refusal_amid_a_chunk_is_a_refusal);
    tcase_add_test(tc, a_chunk_may_wait_three_minutes_for_its_reply_and_progress_counts);
    tcase_add_test(tc, a_server_that_answers_each_chunk_is_still_timed_out_when_it_is_too_slow);
    return tap_run("smtp bdat", tc);
}
