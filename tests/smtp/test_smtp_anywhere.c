/* test_smtp_anywhere.c - the session ends, in each way, at each step of a dialogue: what the
 * recipients are told, when, and that nothing happens after it. */
#include "dataplane/smtp_client.h"
#include "tests/dataplane/tap.h"

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])
#define BODY    "Subject: t\r\n\r\nhi\r\n"

/* A delivery to two recipients: what the client waits for, for how long, and what the server says
 * to it when all is well. */
static const struct step {
    const char *reply;
    enum outcome_stage stage;
    uint32_t timeout_s;
} steps[] = {
    {"220 mx\r\n", OUTCOME_STAGE_BANNER, 300}, {"250-mx\r\n250 SIZE\r\n", OUTCOME_STAGE_EHLO, 300},
    {"250 ok\r\n", OUTCOME_STAGE_MAIL, 300},   {"250 ok\r\n", OUTCOME_STAGE_RCPT, 300},
    {"250 ok\r\n", OUTCOME_STAGE_RCPT, 300},   {"354 go\r\n", OUTCOME_STAGE_DATA, 120},
    {"250 taken\r\n", OUTCOME_STAGE_DOT, 600},
};
#define STEP_EHLO 1
#define STEP_DOT  6

static struct smtp_client client;
static struct smtp_recipient recipients[2];
static struct smtp_transaction transaction;
static uint64_t now_ns;
static uint64_t entered_ns; /* when the state was entered whose time runs */

static void drain(void)
{
    struct smtp_piece piece;
    while (smtp_client_output(&client, now_ns, SMTP_COMMAND_MAX, &piece)) {
        ck_assert_uint_gt(piece.len, 0);
    }
}

static void server_says(const char *bytes)
{
    smtp_client_input(&client, now_ns, (const uint8_t *)bytes, (uint32_t)strlen(bytes));
    entered_ns = now_ns;
}

/* All goes well up to the step; the client has said its part of it. */
static void walk_to(int step, bool pipelining)
{
    static const struct smtp_timeouts timeouts;
    for (int i = 0; i < 2; i++) {
        recipients[i] =
            (struct smtp_recipient){.address = i == 0 ? "a@to.example" : "b@to.example"};
    }
    transaction = (struct smtp_transaction){
        .mail_from = "from@me.example",
        .recipients = recipients,
        .n_recipients = 2,
        .body = {.data = (const uint8_t *)BODY, .len = strlen(BODY)},
    };
    now_ns = entered_ns = NS_PER_S;
    smtp_client_init(&client, now_ns, "me.example", &timeouts);
    ck_assert(smtp_client_start(&client, now_ns, &transaction));
    for (int i = 0; i < step; i++) {
        now_ns += NS_PER_S;
        server_says(i == STEP_EHLO && pipelining ? "250-mx\r\n250 PIPELINING\r\n" : steps[i].reply);
        drain();
    }
    (void)smtp_client_next_event(&client);
}

static void check_end(int step, enum outcome_kind kind, uint16_t code, const char *text)
{
    ck_assert_uint_eq(smtp_client_next_event(&client), SMTP_EV_CLOSED);
    for (int i = 0; i < 2; i++) {
        const struct smtp_recipient *r = &recipients[i];
        ck_assert_str_eq(outcome_kind_text(r->kind), outcome_kind_text(kind));
        ck_assert_int_eq(r->reply.stage, steps[step].stage);
        ck_assert_uint_eq(r->reply.code, code);
        ck_assert_ptr_nonnull(strstr(r->reply.text, text));
    }
    ck_assert_uint_eq(smtp_client_close_reply(&client)->code, code);
    ck_assert(smtp_client_deadline_ns(&client) == TIME_NEVER_NS);
    server_says("250 taken\r\n");
    drain();
    ck_assert_uint_eq(smtp_client_next_event(&client), 0);
    ck_assert(!smtp_client_start(&client, now_ns, &transaction));
}

static enum outcome_kind kind_without_reply(int step)
{
    return step == STEP_DOT ? OUTCOME_DOUBTFUL : OUTCOME_DEFERRED;
}

/* Loop variable: the step, without and with PIPELINING. */
#define STEP       (_i / 2)
#define PIPELINING (_i % 2 != 0)
#define N_LOOPS    (2 * N_OF(steps))

START_TEST(at_any_step_421_defers_with_the_servers_words)
{
    walk_to(STEP, PIPELINING);
    server_says("421-4.3.2 going\r\n421 4.3.2 down\r\n");
    check_end(STEP, OUTCOME_DEFERRED, 421, "going / down");
}
END_TEST

START_TEST(at_any_step_a_closed_connection_defers_and_after_the_dot_is_doubtful)
{
    walk_to(STEP, PIPELINING);
    smtp_client_eof(&client, now_ns, "connection reset");
    check_end(STEP, kind_without_reply(STEP), 0, "connection reset");
}
END_TEST

START_TEST(at_any_step_half_a_reply_is_no_reply)
{
    size_t len = strlen(steps[STEP].reply);
    for (size_t part = 1; part < len; part++) {
        walk_to(STEP, PIPELINING);
        smtp_client_input(&client, now_ns, (const uint8_t *)steps[STEP].reply, (uint32_t)part);
        smtp_client_eof(&client, now_ns, "connection reset");
        check_end(STEP, kind_without_reply(STEP), 0, "connection reset");
    }
}
END_TEST

START_TEST(at_any_step_silence_ends_at_the_commands_own_time)
{
    walk_to(STEP, PIPELINING);
    uint64_t limit_ns = entered_ns + steps[STEP].timeout_s * NS_PER_S;
    ck_assert(smtp_client_deadline_ns(&client) == limit_ns);
    now_ns = limit_ns - 1;
    smtp_client_on_deadline(&client, now_ns);
    ck_assert_uint_eq(smtp_client_next_event(&client), 0);
    now_ns = limit_ns;
    smtp_client_on_deadline(&client, now_ns);
    check_end(STEP, kind_without_reply(STEP), 0, "timed out");
}
END_TEST

START_TEST(at_any_step_a_reply_that_trickles_in_does_not_stop_the_clock)
{
    walk_to(STEP, PIPELINING);
    uint64_t limit_ns = smtp_client_deadline_ns(&client);
    char line[16];
    int lines = 0;
    (void)snprintf(line, sizeof line, "%.3s-wait\r\n", steps[STEP].reply);
    for (now_ns += NS_PER_S; now_ns < limit_ns; now_ns += 30 * NS_PER_S) {
        smtp_client_input(&client, now_ns, (const uint8_t *)line, (uint32_t)strlen(line));
        lines++;
    }
    ck_assert_int_gt(lines, 3);
    ck_assert(smtp_client_deadline_ns(&client) == limit_ns);
    now_ns = limit_ns;
    smtp_client_on_deadline(&client, now_ns);
    check_end(STEP, kind_without_reply(STEP), 0, "timed out");
}
END_TEST

START_TEST(at_any_step_garbage_is_a_protocol_error)
{
    static const char *const garbage[] = {"oops\r\n", "\r\n", "99 x\r\n", "250x\r\n", "\x16\x03"};
    for (int i = 0; i < N_OF(garbage); i++) {
        walk_to(STEP, PIPELINING);
        server_says(garbage[i]);
        check_end(STEP, kind_without_reply(STEP), 0, "protocol error");
    }
}
END_TEST

START_TEST(at_any_step_an_endless_line_is_a_protocol_error)
{
    char line[SMTP_LINE_MAX + 2];
    walk_to(STEP, PIPELINING);
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    memcpy(line, steps[STEP].reply, 3);
    line[3] = ' ';
    server_says(line);
    check_end(STEP, kind_without_reply(STEP), 0, "protocol error: reply line too long");
}
END_TEST

START_TEST(at_any_step_an_endless_reply_is_a_protocol_error)
{
    char line[16];
    walk_to(STEP, PIPELINING);
    (void)snprintf(line, sizeof line, "%.3s-more\r\n", steps[STEP].reply);
    for (uint32_t i = 0; i < SMTP_REPLY_LINES_MAX; i++) {
        ck_assert_uint_eq(smtp_client_next_event(&client), 0);
        server_says(line);
    }
    check_end(STEP, kind_without_reply(STEP), 0, "protocol error: too many lines");
}
END_TEST

START_TEST(at_any_step_lines_with_different_codes_are_a_protocol_error)
{
    char reply[32];
    walk_to(STEP, PIPELINING);
    (void)snprintf(reply, sizeof reply, "%.3s-a\r\n450 b\r\n", steps[STEP].reply);
    server_says(reply);
    check_end(STEP, kind_without_reply(STEP), 0, "protocol error: lines of one reply");
}
END_TEST

/* What another command's reply looks like here: 221 is QUIT's, 220 a greeting, 354 DATA's, and 250
 * is not DATA's. */
START_TEST(at_any_step_a_reply_of_another_command_is_a_protocol_error)
{
    static const char *const others[] = {"221 bye\r\n", "220 mx\r\n", "354 go\r\n", "250 ok\r\n"};
    for (int i = 0; i < N_OF(others); i++) {
        bool greeting = STEP == 0 && (others[i][1] == '2' || others[i][1] == '5');
        bool same = strncmp(others[i], steps[STEP].reply, 3) == 0;
        if ((greeting && others[i][2] != '1') || same) {
            continue;
        }
        walk_to(STEP, PIPELINING);
        server_says(others[i]);
        check_end(STEP, kind_without_reply(STEP), 0, "protocol error: a reply that belongs");
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("anywhere");
    tcase_add_loop_test(tc, at_any_step_421_defers_with_the_servers_words, 0, N_LOOPS);
    tcase_add_loop_test(tc, at_any_step_a_closed_connection_defers_and_after_the_dot_is_doubtful, 0,
                        N_LOOPS);
    tcase_add_loop_test(tc, at_any_step_half_a_reply_is_no_reply, 0, N_LOOPS);
    tcase_add_loop_test(tc, at_any_step_silence_ends_at_the_commands_own_time, 0, N_LOOPS);
    tcase_add_loop_test(tc, at_any_step_a_reply_that_trickles_in_does_not_stop_the_clock, 0,
                        N_LOOPS);
    tcase_add_loop_test(tc, at_any_step_garbage_is_a_protocol_error, 0, N_LOOPS);
    tcase_add_loop_test(tc, at_any_step_an_endless_line_is_a_protocol_error, 0, N_LOOPS);
    tcase_add_loop_test(tc, at_any_step_an_endless_reply_is_a_protocol_error, 0, N_LOOPS);
    tcase_add_loop_test(tc, at_any_step_lines_with_different_codes_are_a_protocol_error, 0,
                        N_LOOPS);
    tcase_add_loop_test(tc, at_any_step_a_reply_of_another_command_is_a_protocol_error, 0, N_LOOPS);
    return tap_run("smtp anywhere", tc);
}
