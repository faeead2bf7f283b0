/* test_smtp_client.c - what a dialogue as text cannot show: replies while the body is on its way,
 * the limit of unanswered commands, what the caller can ask, and timeouts of its own. */
#include "dataplane/smtp_client.h"
#include "tests/dataplane/tap.h"

#include <signal.h>

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])
#define BODY    "Subject: t\r\n\r\nhi\r\n"
#define MANY    200u

static struct smtp_client client;
static struct smtp_recipient recipients[MANY];
static struct smtp_transaction transaction;
static uint64_t now_ns;

static void setup(void)
{
    static const struct smtp_timeouts timeouts;
    recipients[0] = (struct smtp_recipient){.address = "r@to.example"};
    transaction = (struct smtp_transaction){
        .mail_from = "from@me.example",
        .recipients = recipients,
        .n_recipients = 1,
        .body = {.data = (const uint8_t *)BODY, .len = strlen(BODY)},
    };
    now_ns = NS_PER_S;
    smtp_client_init(&client, now_ns, "me.example", &timeouts);
    ck_assert(smtp_client_start(&client, now_ns, &transaction));
}

static void server_says(const char *bytes)
{
    smtp_client_input(&client, now_ns, (const uint8_t *)bytes, (uint32_t)strlen(bytes));
}

static uint32_t drain(void)
{
    struct smtp_piece piece;
    uint32_t len = 0;
    while (smtp_client_output(&client, now_ns, SMTP_COMMAND_MAX, &piece)) {
        len += piece.len;
    }
    return len;
}

static void pass(uint32_t seconds)
{
    now_ns += seconds * NS_PER_S;
    smtp_client_on_deadline(&client, now_ns);
}

static void open_session(const char *keyword)
{
    char reply[128];
    server_says("220 mx\r\n");
    drain();
    (void)snprintf(reply, sizeof reply, "250-mx\r\n250 %s\r\n", keyword);
    server_says(reply);
}

/* The body may be sent. */
static void open_body(void)
{
    open_session("X-NONE");
    drain();
    server_says("250 ok\r\n");
    drain();
    server_says("250 ok\r\n");
    drain();
    server_says("354 go\r\n");
}

static void check_result(uint32_t index, enum outcome_kind kind, enum outcome_stage stage,
                         uint16_t code)
{
    ck_assert_str_eq(outcome_kind_text(recipients[index].kind), outcome_kind_text(kind));
    ck_assert_str_eq(outcome_stage_text((enum outcome_stage)recipients[index].reply.stage),
                     outcome_stage_text(stage));
    ck_assert_uint_eq(recipients[index].reply.code, code);
}

/* ---- replies around the body ------------------------------------------------------------- */

/* What the server says before and after the client sent its dot; the connection is lost then. */
static const struct {
    const char *before, *after;
    enum outcome_kind kind;
    enum outcome_stage stage;
    uint16_t code;
} around[] = {
    {"554 5.7.1 spam\r\n", "", OUTCOME_BOUNCED, OUTCOME_STAGE_BODY, 554},
    {"452 4.3.1 disk\r\n", "", OUTCOME_DEFERRED, OUTCOME_STAGE_BODY, 452},
    {"421 4.3.2 bye\r\n", "", OUTCOME_DEFERRED, OUTCOME_STAGE_BODY, 421},
    {"250 taken\r\n", "", OUTCOME_DEFERRED, OUTCOME_STAGE_BODY, 0},
    {"354 go\r\n", "", OUTCOME_DEFERRED, OUTCOME_STAGE_BODY, 0},
    {"what\r\n", "", OUTCOME_DEFERRED, OUTCOME_STAGE_BODY, 0},
    {"554 5.7.1 spam\r\n", "250 taken\r\n", OUTCOME_BOUNCED, OUTCOME_STAGE_BODY, 554},
    {"2", "50 taken\r\n", OUTCOME_DOUBTFUL, OUTCOME_STAGE_DOT, 0},
    {"250 taken", "\r\n", OUTCOME_DOUBTFUL, OUTCOME_STAGE_DOT, 0},
    {"250-taken\r\n", "250 taken\r\n", OUTCOME_DOUBTFUL, OUTCOME_STAGE_DOT, 0},
    {"2", "50 taken\r\n250 taken\r\n", OUTCOME_DOUBTFUL, OUTCOME_STAGE_DOT, 0},
    {"55", "4 spam\r\n", OUTCOME_BOUNCED, OUTCOME_STAGE_DOT, 554},
    {"4", "21 bye\r\n", OUTCOME_DEFERRED, OUTCOME_STAGE_DOT, 421},
    {"25", "", OUTCOME_DOUBTFUL, OUTCOME_STAGE_DOT, 0},
    {"", "250 taken\r\n", OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250},
};

START_TEST(a_reply_that_begins_before_the_dot_never_says_delivered)
{
    setup();
    open_body();
    server_says(around[_i].before);
    drain();
    server_says(around[_i].after);
    smtp_client_eof(&client, now_ns, "lost");
    check_result(0, around[_i].kind, around[_i].stage, around[_i].code);
    uint32_t events = smtp_client_next_event(&client);
    ck_assert(events & SMTP_EV_CLOSED);
    ck_assert_int_eq((events & SMTP_EV_TRANSACTION_DONE) != 0,
                     around[_i].kind == OUTCOME_DELIVERED);
    ck_assert_uint_eq(drain(), 0);
}
END_TEST

START_TEST(a_refusal_during_the_body_is_read_before_the_loss_of_the_connection)
{
    struct smtp_piece piece;
    setup();
    open_body();
    ck_assert(smtp_client_output(&client, now_ns, SMTP_COMMAND_MAX, &piece));
    ck_assert(!piece.final_dot);
    server_says("550-5.7.1 a\r\n550 5.7.1 b\r\n");
    smtp_client_eof(&client, now_ns, "connection reset");
    check_result(0, OUTCOME_BOUNCED, OUTCOME_STAGE_BODY, 550);
    ck_assert_str_eq(recipients[0].reply.text, "a / b");
}
END_TEST

/* A message of this many bytes, of which the first piece is out. */
static void open_large_body(uint32_t bytes)
{
    static uint8_t body[200000];
    struct smtp_piece piece;
    ck_assert_uint_le(bytes, sizeof body);
    memset(body, 'x', bytes);
    memcpy(body + bytes - 2, "\r\n", 2);
    setup();
    transaction.body = (struct smtp_body){.data = body, .len = bytes};
    open_body();
    ck_assert(smtp_client_output(&client, now_ns, SMTP_ROOM_MIN, &piece));
}

START_TEST(the_body_may_stand_still_for_three_minutes)
{
    open_large_body(200000);
    pass(179);
    smtp_client_progress(&client, now_ns);
    pass(179);
    ck_assert_int_eq(recipients[0].kind, OUTCOME_NONE);
    pass(1);
    check_result(0, OUTCOME_DEFERRED, OUTCOME_STAGE_BODY, 0);
    ck_assert_str_eq(recipients[0].reply.text, "timed out sending the message");
    ck_assert(!smtp_client_dot_sent(&client));
}
END_TEST

START_TEST(a_server_that_takes_less_than_500_bytes_a_second_is_timed_out)
{
    open_large_body(200000);
    uint32_t seconds = 0;
    for (; recipients[0].kind == OUTCOME_NONE; seconds += 10) {
        smtp_client_progress(&client, now_ns);
        pass(10);
    }
    ck_assert_uint_eq(seconds, 180 + 200000 / 500);
    check_result(0, OUTCOME_DEFERRED, OUTCOME_STAGE_BODY, 0);
}
END_TEST

START_TEST(progress_lengthens_no_other_wait)
{
    setup();
    uint64_t deadline_ns = smtp_client_deadline_ns(&client);
    now_ns += NS_PER_S;
    smtp_client_progress(&client, now_ns);
    ck_assert(smtp_client_deadline_ns(&client) == deadline_ns);
}
END_TEST

START_TEST(a_connection_lost_in_the_body_defers)
{
    setup();
    open_body();
    smtp_client_eof(&client, now_ns, "lost");
    check_result(0, OUTCOME_DEFERRED, OUTCOME_STAGE_BODY, 0);
}
END_TEST

/* ---- many recipients --------------------------------------------------------------------- */

static char addresses[MANY][SMTP_PATH_MAX];

static void many_recipients(size_t address_len)
{
    for (uint32_t i = 0; i < MANY; i++) {
        int n = snprintf(addresses[i], SMTP_PATH_MAX, "r%u@", i);
        memset(addresses[i] + n, 'd', address_len - (size_t)n);
        addresses[i][address_len] = '\0';
        recipients[i] = (struct smtp_recipient){.address = addresses[i]};
    }
    transaction.n_recipients = MANY;
}

/* Counts the commands and their bytes as a server does, and answers the oldest one. */
struct pipe {
    uint32_t lens[MANY + 2];
    uint32_t n_sent, n_answered, bytes, bytes_most;
};

static void take_commands(struct pipe *p)
{
    struct smtp_piece piece;
    while (p->n_sent < MANY + 2 && smtp_client_output(&client, now_ns, SMTP_COMMAND_MAX, &piece)) {
        uint32_t from = 0;
        for (uint32_t i = 0; i < piece.len; i++) {
            if (piece.data[i] == '\n') {
                p->lens[p->n_sent++] = i + 1 - from;
                p->bytes += i + 1 - from;
                from = i + 1;
            }
        }
        ck_assert_uint_eq(from, piece.len); /* whole commands only */
    }
    p->bytes_most = p->bytes > p->bytes_most ? p->bytes : p->bytes_most;
}

static void answer_one(struct pipe *p)
{
    ck_assert_uint_lt(p->n_answered, p->n_sent);
    p->bytes -= p->lens[p->n_answered++];
    server_says(p->n_answered == MANY + 2 ? "354 go\r\n" : "250 ok\r\n");
}

START_TEST(no_more_than_the_limit_of_command_bytes_is_unanswered)
{
    static const size_t lens[] = {8, 40, 200, SMTP_PATH_MAX - 1};
    struct pipe p = {0};
    setup();
    many_recipients(lens[_i]);
    open_session("PIPELINING");
    while (p.n_answered < MANY + 2) {
        take_commands(&p);
        answer_one(&p);
    }
    ck_assert_uint_le(p.bytes_most, SMTP_OUT_MAX);
    ck_assert_uint_gt(p.bytes_most + lens[_i] + 12,
                      SMTP_OUT_MAX < MANY * lens[_i] ? SMTP_OUT_MAX : 0);
    drain();
    server_says("250 taken\r\n");
    for (uint32_t i = 0; i < MANY; i++) {
        check_result(i, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
    }
}
END_TEST

START_TEST(after_a_refused_mail_nothing_more_of_a_long_envelope_is_sent)
{
    struct pipe p = {0};
    setup();
    many_recipients(200);
    open_session("PIPELINING");
    take_commands(&p);
    ck_assert_uint_lt(p.n_sent, MANY);
    server_says("550 no\r\n");
    for (uint32_t i = 1; i < p.n_sent; i++) {
        ck_assert_uint_eq(drain(), 0);
        ck_assert_uint_eq(smtp_client_next_event(&client) & ~SMTP_EV_READY, 0);
        server_says("503 first\r\n");
    }
    ck_assert_uint_eq(smtp_client_next_event(&client), SMTP_EV_TRANSACTION_DONE);
    check_result(MANY - 1, OUTCOME_BOUNCED, OUTCOME_STAGE_MAIL, 550);
}
END_TEST

/* ---- what the caller can ask ------------------------------------------------------------- */

START_TEST(a_session_is_untouched_until_mail_is_answered)
{
    setup();
    ck_assert(smtp_client_untouched(&client));
    open_session("X-NONE");
    drain();
    ck_assert(smtp_client_untouched(&client));
    server_says("250 ok\r\n");
    ck_assert(!smtp_client_untouched(&client));
    drain();
    server_says("550 no\r\n");
    ck_assert(smtp_client_idle(&client));
    ck_assert(smtp_client_start(&client, now_ns, &transaction)); /* RSET first */
    ck_assert(!smtp_client_idle(&client));
    ck_assert(smtp_client_untouched(&client));
    smtp_client_eof(&client, now_ns, "lost");
    ck_assert(smtp_client_untouched(&client));
    check_result(0, OUTCOME_DEFERRED, OUTCOME_STAGE_RSET, 0);
}
END_TEST

START_TEST(a_session_that_ends_with_421_instead_of_the_reply_to_mail_is_untouched)
{
    setup();
    open_session("PIPELINING");
    drain();
    server_says("421 bye\r\n");
    ck_assert(smtp_client_untouched(&client));
    ck_assert_uint_eq(smtp_client_close_reply(&client)->code, 421);
}
END_TEST

START_TEST(replies_with_bare_lf_are_tolerated_and_counted)
{
    setup();
    server_says("220-mx\n220 mx\n");
    drain();
    server_says("250-mx\r\n250 PIPELINING\n");
    ck_assert_uint_eq(drain(), 59); /* the whole group: PIPELINING was read */
    server_says("250 ok\r\n");
    ck_assert_uint_eq(smtp_client_bare_lf_count(&client), 2);
}
END_TEST

/* What the server offers, and what the message needs. */
static const struct {
    const char *keyword;
    uint32_t needs;
    bool lacked;
} lacks[] = {
    {"SIZE 1", 0, true},
    {"SIZE 1000", 0, false},
    {"X", 0, false},
    {"X", SMTP_NEED_8BITMIME, true},
    {"X", SMTP_NEED_SMTPUTF8, true},
    {"8BITMIME", SMTP_NEED_8BITMIME, false},
    {"REQUIRETLS", SMTP_NEED_REQUIRETLS, true},
};

START_TEST(the_caller_can_see_that_another_host_may_take_the_message)
{
    setup();
    transaction.needs = lacks[_i].needs;
    smtp_client_eof(&client, now_ns, "none");
    smtp_client_init(&client, now_ns, "me.example", &(struct smtp_timeouts){0});
    ck_assert(smtp_client_start(&client, now_ns, &transaction));
    open_session(lacks[_i].keyword);
    ck_assert_int_eq(smtp_client_lacked(&client), lacks[_i].lacked);
    ck_assert_int_eq(recipients[0].kind, lacks[_i].lacked ? OUTCOME_BOUNCED : OUTCOME_NONE);
    ck_assert_int_eq(smtp_client_idle(&client), lacks[_i].lacked);
}
END_TEST

START_TEST(the_caller_can_see_what_is_in_use)
{
    static const struct smtp_options options = {.avoid = SMTP_EXT_PIPELINING};
    setup();
    smtp_client_configure(&client, now_ns, &options);
    server_says("220 mx\r\n");
    drain();
    server_says("250-mx\r\n250-PIPELINING\r\n250 DSN\r\n");
    ck_assert_uint_eq(smtp_client_extensions(&client), SMTP_EXT_DSN);
    ck_assert(!smtp_client_is_secure(&client));
    ck_assert(!smtp_client_protocol_error(&client));
    server_says("what\r\n");
    ck_assert(smtp_client_protocol_error(&client));
}
END_TEST

START_TEST(a_lost_connection_is_no_protocol_error)
{
    setup();
    smtp_client_eof(&client, now_ns, "lost");
    ck_assert(!smtp_client_protocol_error(&client));
}
END_TEST

START_TEST(a_session_is_secure_after_the_handshake)
{
    static const struct smtp_options options = {.tls = SMTP_TLS_IMPLICIT};
    setup();
    smtp_client_configure(&client, now_ns, &options);
    ck_assert_uint_eq(smtp_client_next_event(&client), SMTP_EV_STARTTLS);
    ck_assert(!smtp_client_is_secure(&client));
    smtp_client_tls_done(&client, now_ns, false);
    ck_assert(smtp_client_is_secure(&client));
}
END_TEST

static char credential[SMTP_CREDENTIAL_MAX + 1];
static const struct smtp_options bad_credentials[] = {
    {.username = "user", .password = "pass\n"},   {.username = "user", .password = ""},
    {.username = "", .password = "pass"},         {.username = "user"},
    {.username = "user", .password = credential},
};

START_TEST(credentials_that_cannot_be_said_are_our_own_bug)
{
    memset(credential, 'p', SMTP_CREDENTIAL_MAX);
    setup();
    smtp_client_configure(&client, now_ns, &bad_credentials[_i]);
}
END_TEST

START_TEST(the_longest_credentials_fit)
{
    struct smtp_piece piece;
    const struct smtp_options options = {
        .tls = SMTP_TLS_IMPLICIT, .username = credential, .password = credential};
    memset(credential, 'p', SMTP_CREDENTIAL_MAX - 1);
    setup();
    smtp_client_configure(&client, now_ns, &options);
    smtp_client_tls_done(&client, now_ns, true);
    open_session("AUTH PLAIN");
    ck_assert(smtp_client_output(&client, now_ns, SMTP_ROOM_MIN, &piece));
    ck_assert_uint_eq(piece.len, 11 + 428 + 2); /* base64 of 2 * 159 + 2 bytes */
}
END_TEST

START_TEST(the_longest_commands_fit)
{
    static char address[SMTP_PATH_MAX], orcpt[SMTP_ORCPT_MAX + 1], envid[SMTP_ENVID_MAX + 1];
    memset(address, 'a', sizeof address - 1);
    memset(orcpt, 'o', sizeof orcpt - 1);
    memcpy(orcpt, "rfc822;", 7);
    memset(envid, 'e', sizeof envid - 1);
    setup();
    smtp_client_init(&client, now_ns, "me.example", &(struct smtp_timeouts){0});
    recipients[0] = (struct smtp_recipient){.address = address, .orcpt = orcpt, .notify = 14};
    transaction.mail_from = address;
    transaction.envid = envid;
    transaction.ret = SMTP_RET_FULL;
    ck_assert(smtp_client_start(&client, now_ns, &transaction));
    open_session("DSN");
    drain();
    server_says("250 ok\r\n");
    ck_assert_uint_eq(drain(), 9 + 319 + 1 + 29 + 7 + 500 + 2);
}
END_TEST

/* One byte more than fits, after encoding. */
START_TEST(a_longer_envelope_is_refused_by_start)
{
    char longer[SMTP_ORCPT_MAX + 2] = "rfc822;";
    setup();
    smtp_client_init(&client, now_ns, "me.example", &(struct smtp_timeouts){0});
    if (_i == 0) {
        memset(longer, 'e', SMTP_ENVID_MAX - 2);
        longer[SMTP_ENVID_MAX - 2] = '+';
        longer[SMTP_ENVID_MAX - 1] = '\0';
        transaction.envid = longer;
    } else {
        memset(longer + 7, 'o', SMTP_ORCPT_MAX - 6);
        recipients[0].orcpt = longer;
    }
    ck_assert(!smtp_client_start(&client, now_ns, &transaction));
}
END_TEST

START_TEST(a_closed_session_does_nothing_any_more)
{
    setup();
    server_says("421 bye\r\n");
    ck_assert_uint_eq(smtp_client_next_event(&client), SMTP_EV_CLOSED);
    server_says("220 mx\r\n");
    smtp_client_quit(&client, now_ns);
    smtp_client_eof(&client, now_ns, "lost");
    smtp_client_progress(&client, now_ns);
    pass(1000);
    ck_assert_uint_eq(drain(), 0);
    ck_assert_uint_eq(smtp_client_next_event(&client), 0);
    ck_assert(smtp_client_deadline_ns(&client) == TIME_NEVER_NS);
    ck_assert(!smtp_client_start(&client, now_ns, &transaction));
    ck_assert_str_eq(smtp_client_close_reply(&client)->text, "bye");
    ck_assert_str_eq(smtp_client_state_text(&client), "closed");
}
END_TEST

START_TEST(the_callers_timeouts_are_used)
{
    const struct smtp_timeouts timeouts = {.banner_ms = 7, .mail_ms = 11};
    setup();
    smtp_client_init(&client, 5, "me.example", &timeouts);
    ck_assert(smtp_client_deadline_ns(&client) == 5 + 7 * NS_PER_MS);
    ck_assert(smtp_client_start(&client, now_ns, &transaction));
    open_session("X-NONE");
    ck_assert(smtp_client_deadline_ns(&client) == now_ns + 11 * NS_PER_MS);
}
END_TEST

START_TEST(a_session_is_small)
{
    ck_assert_uint_le(sizeof(struct smtp_client), 896);
}
END_TEST

START_TEST(an_ehlo_name_with_crlf_is_our_own_bug)
{
    static const struct smtp_timeouts timeouts;
    smtp_client_init(&client, 0, "me.example\r\nQUIT", &timeouts);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("client");
    tcase_add_loop_test(tc, a_reply_that_begins_before_the_dot_never_says_delivered, 0,
                        N_OF(around));
    tcase_add_test(tc, a_refusal_during_the_body_is_read_before_the_loss_of_the_connection);
    tcase_add_test(tc, the_body_may_stand_still_for_three_minutes);
    tcase_add_test(tc, a_server_that_takes_less_than_500_bytes_a_second_is_timed_out);
    tcase_add_test(tc, progress_lengthens_no_other_wait);
    tcase_add_test(tc, a_connection_lost_in_the_body_defers);
    tcase_add_loop_test(tc, no_more_than_the_limit_of_command_bytes_is_unanswered, 0, 4);
    tcase_add_test(tc, after_a_refused_mail_nothing_more_of_a_long_envelope_is_sent);
    tcase_add_test(tc, a_session_is_untouched_until_mail_is_answered);
    tcase_add_test(tc, a_session_that_ends_with_421_instead_of_the_reply_to_mail_is_untouched);
    tcase_add_test(tc, replies_with_bare_lf_are_tolerated_and_counted);
    tcase_add_loop_test(tc, the_caller_can_see_that_another_host_may_take_the_message, 0,
                        N_OF(lacks));
    tcase_add_test(tc, the_caller_can_see_what_is_in_use);
    tcase_add_test(tc, a_lost_connection_is_no_protocol_error);
    tcase_add_test(tc, a_session_is_secure_after_the_handshake);
    tcase_add_loop_test_raise_signal(tc, credentials_that_cannot_be_said_are_our_own_bug, SIGABRT,
                                     0, N_OF(bad_credentials));
    tcase_add_test(tc, the_longest_credentials_fit);
    tcase_add_test(tc, the_longest_commands_fit);
    tcase_add_loop_test(tc, a_longer_envelope_is_refused_by_start, 0, 2);
    tcase_add_test(tc, a_closed_session_does_nothing_any_more);
    tcase_add_test(tc, the_callers_timeouts_are_used);
    tcase_add_test(tc, a_session_is_small);
    tcase_add_test_raise_signal(tc, an_ehlo_name_with_crlf_is_our_own_bug, SIGABRT);
    return tap_run("smtp client", tc);
}
