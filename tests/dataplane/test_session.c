/* test_session.c - the session manager against scripted servers: see sim.h. */
#include "dataplane/dp_session_private.h"
#include "tests/dataplane/sim.h"
#include "tests/dataplane/tap.h"

#define MINUTE 60000u

static struct sim s;

static void setup(void)
{
    const struct sim_options options = {0};
    sim_make(&s, &options);
}

static void teardown(void)
{
    sim_end(&s);
}

static void check_result(const struct sim_result *r, enum outcome_kind kind,
                         enum outcome_stage stage, uint16_t code)
{
    const struct chan_result *got = &r->slot.results[0];
    ck_assert_msg(got->kind == kind, "%s: %s, not %s", outcome_kind_text(got->kind), got->text,
                  outcome_kind_text(kind));
    ck_assert_msg(got->stage == stage, "%s: %s, not %s", outcome_stage_text(got->stage), got->text,
                  outcome_stage_text(stage));
    ck_assert_uint_eq(got->code, code);
}

static void deliver(const struct test_job *job)
{
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, job), MINUTE);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
}

/* ---- delivery ---------------------------------------------------------------------------- */

START_TEST(a_message_is_delivered_and_the_slot_says_how)
{
    const struct test_job job = {.recipients = {"a@alpha.example", "b@alpha.example"}};
    dp_sessions_set_realtime(s.sessions, 1000000);
    s.watch_dot = true;
    uint32_t slot = channel_file_submit(&s.file, &job);
    ck_assert_uint_eq(slot, 0);
    struct sim_result r = sim_wait(&s, slot, MINUTE);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
    ck_assert_uint_eq(r.slot.results[1].kind, OUTCOME_DELIVERED);
    ck_assert_mem_eq(r.slot.results[0].enhanced, "\2\0\0", 3);
    ck_assert_str_eq(r.slot.results[0].text, "taken");
    ck_assert_uint_eq(r.slot.peer.bytes[3], 1);
    ck_assert_uint_eq(r.slot.peer_port, 25);
    ck_assert_uint_eq(r.slot.target_used, 0);
    ck_assert_uint_eq(r.slot.reused, 0);
    ck_assert(r.slot.started_ns >= NS_PER_S + 1000000);
    ck_assert(r.slot.done_ns >= r.slot.started_ns);
    ck_assert(r.slot.bytes_sent > 60);
    ck_assert_uint_eq(s.n_mails, 1);
    ck_assert_mem_eq(s.mails[0].body, "Subject: test\r\n\r\nHello.\r\n", s.mails[0].len);
    ck_assert_uint_eq(s.counters.delivered, 2);
    ck_assert_uint_eq(s.counters.jobs, 1);
}
END_TEST

START_TEST(prefix_and_dots_arrive_as_they_were)
{
    const struct test_job job = {.prefix = "DKIM-Signature: v=1\r\n",
                                 .body = ".first\r\n..\r\n.\r\nmiddle\r\n.\r\n"};
    deliver(&job);
    ck_assert_uint_eq(s.mails[0].len, strlen(job.prefix) + strlen(job.body));
    ck_assert_mem_eq(s.mails[0].body, job.prefix, strlen(job.prefix));
    ck_assert_mem_eq(s.mails[0].body + strlen(job.prefix), job.body, strlen(job.body));
}
END_TEST

/* len bytes of lines; every `dots`-th begins with a dot (0: none). */
static char *lines(size_t len, uint32_t width, uint32_t dots)
{
    char *body = malloc(len + 1);
    uint32_t line = 0;
    for (size_t i = 0; i < len; i++) {
        uint32_t column = (uint32_t)(i % width);
        body[i] = (char)('a' + i % 26);
        if (column == 0) {
            line++;
            body[i] = dots > 0 && line % dots == 0 ? '.' : body[i];
        }
        body[i] = column == width - 2 ? '\r' : column == width - 1 ? '\n' : body[i];
    }
    body[len] = '\0';
    return body;
}

START_TEST(a_body_larger_than_all_queues_arrives_unchanged)
{
    char *body = lines(1000000, 80, 0);
    const struct test_job job = {.body = body};
    s.drop_percent = (uint32_t)_i; /* with loss too: retransmissions read the same bytes */
    deliver(&job);
    ck_assert_uint_eq(s.mails[0].len, 1000000);
    ck_assert_mem_eq(s.mails[0].body, body, 1000000);
    free(body);
}
END_TEST

START_TEST(a_body_with_a_dot_on_nearly_every_line_arrives_unchanged)
{
    char *body = lines(8000, 4, 1);
    const struct test_job job = {.body = body};
    deliver(&job);
    ck_assert_uint_eq(s.mails[0].len, 8000);
    ck_assert_mem_eq(s.mails[0].body, body, 8000);
    free(body);
}
END_TEST

START_TEST(what_the_server_refuses_is_the_outcome)
{
    static const struct {
        struct sim_rules rules;
        enum outcome_kind kind;
        enum outcome_stage stage;
        uint16_t code;
    } rows[] = {
        {{.mail = "550 5.7.1 no\r\n"}, OUTCOME_BOUNCED, OUTCOME_STAGE_MAIL, 550},
        {{.mail = "451 4.3.0 later\r\n"}, OUTCOME_DEFERRED, OUTCOME_STAGE_MAIL, 451},
        {{.rcpt = "550 5.1.1 who\r\n"}, OUTCOME_BOUNCED, OUTCOME_STAGE_RCPT, 550},
        {{.rcpt = "450 4.2.1 busy\r\n"}, OUTCOME_DEFERRED, OUTCOME_STAGE_RCPT, 450},
        {{.data = "554 5.6.0 no\r\n"}, OUTCOME_BOUNCED, OUTCOME_STAGE_DATA, 554},
        {{.dot = "554 5.7.1 spam\r\n"}, OUTCOME_BOUNCED, OUTCOME_STAGE_DOT, 554},
        {{.dot = "451 4.7.1 greylisted\r\n"}, OUTCOME_DEFERRED, OUTCOME_STAGE_DOT, 451},
    };
    const struct test_job job = {0};
    s.rules[0] = rows[_i].rules;
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), MINUTE);
    check_result(&r, rows[_i].kind, rows[_i].stage, rows[_i].code);
    ck_assert_uint_eq(s.counters.bounced, rows[_i].kind == OUTCOME_BOUNCED);
    ck_assert_uint_eq(s.counters.deferred, rows[_i].kind == OUTCOME_DEFERRED);
}
END_TEST

START_TEST(a_lost_connection_after_the_dot_is_doubtful)
{
    const struct test_job job = {0};
    s.rules[0].hang_up_at_dot = 1;
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), MINUTE);
    check_result(&r, OUTCOME_DOUBTFUL, OUTCOME_STAGE_DOT, 0);
    ck_assert_uint_eq(s.accepted, 1); /* it is not for the lane to send it again */
    ck_assert_uint_eq(s.counters.doubtful, 1);
}
END_TEST

START_TEST(a_refusal_in_the_middle_of_the_body_ends_the_job)
{
    char *body = lines(1000000, 80, 0);
    const struct test_job job = {.body = body};
    s.rules[0].early = "552 5.3.4 too large\r\n";
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), MINUTE);
    ck_assert_uint_ne(r.slot.results[0].kind, OUTCOME_DELIVERED);
    ck_assert_uint_eq(s.n_mails, 0);
    s.rules[0].early = NULL;
    deliver(&job);
    ck_assert_mem_eq(s.mails[0].body, body, 1000000);
    free(body);
}
END_TEST

/* As if TCP still held a piece of the body when the server's reply came. */
START_TEST(a_slot_is_not_done_before_tcp_has_let_go_of_the_body)
{
    const struct test_job job = {0};
    s.rules[0].banner = "";
    uint32_t slot = channel_file_submit(&s.file, &job);
    sim_run(&s, 10);
    struct utcp_extent *body = &dp_job_at(s.sessions, slot)->body;
    body->refs++;
    dp_sessions_set_mode(s.sessions, s.now_ns, DP_DRAIN);
    sim_run(&s, 31000);
    ck_assert_uint_eq(body->refs, 1);
    ck_assert_int_eq(chan_control_state(s.file.control, slot), CHAN_STARTED);
    ck_assert_uint_eq(dp_sessions_busy(s.sessions), 1);
    body->refs--;
    body->free(body);
    struct sim_result r = sim_wait(&s, slot, 0);
    check_result(&r, OUTCOME_RETURNED, OUTCOME_STAGE_LOCAL, 0);
    ck_assert_uint_eq(dp_sessions_busy(s.sessions), 0);
}
END_TEST

START_TEST(a_receiver_that_is_slow_but_goes_on_is_waited_for)
{
    char *body = lines(500000, 80, 0);
    const struct test_job job = {.body = body};
    s.rules[0].bytes_per_s = 500;
    uint64_t begin_ns = s.now_ns;
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), 30 * MINUTE);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
    ck_assert(s.now_ns - begin_ns > 900 * NS_PER_S); /* many times the timer of a block */
    ck_assert_mem_eq(s.mails[0].body, body, 500000);
    free(body);
}
END_TEST

START_TEST(a_receiver_that_stops_reading_is_given_up)
{
    char *body = lines(500000, 80, 0);
    const struct test_job job = {.body = body};
    s.rules[0].bytes_per_s = 1; /* the window shuts, and opens no more for hours */
    s.rules[0].banner = "220 x\r\n";
    uint32_t slot = channel_file_submit(&s.file, &job);
    sim_run(&s, 1000);
    struct sim_result r = sim_wait(&s, slot, 90 * MINUTE);
    ck_assert_uint_ne(r.slot.results[0].kind, OUTCOME_DELIVERED);
    free(body);
}
END_TEST

START_TEST(a_nonsensical_job_is_refused_and_the_next_one_goes_on)
{
    const struct test_job job = {0};
    uint32_t slot;
    ck_assert(channel_file_fill(&s.file, &job, &slot));
    chan_control_slot(s.file.control, slot)->connections_max = 0;
    ck_assert_int_eq(chan_control_submit(s.file.control, slot), CHAN_OK);
    struct sim_result r = sim_wait(&s, slot, MINUTE);
    check_result(&r, OUTCOME_DEFERRED, OUTCOME_STAGE_LOCAL, 0);
    ck_assert_str_eq(r.slot.results[0].text, "job: a connection limit of zero");
    ck_assert_uint_eq(s.counters.jobs_refused, 1);
    deliver(&job);
}
END_TEST

/* ---- reuse and limits -------------------------------------------------------------------- */

START_TEST(an_idle_session_carries_the_next_message_of_its_site)
{
    const struct test_job job = {0};
    deliver(&job);
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), MINUTE);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
    ck_assert_uint_eq(r.slot.reused, 1);
    ck_assert_uint_eq(s.accepted, 1);
    ck_assert_uint_eq(s.counters.sessions_reused, 1);
    ck_assert_uint_eq(s.counters.sessions_opened, 1);
}
END_TEST

START_TEST(an_idle_session_says_quit_after_its_time)
{
    const struct test_job job = {.idle_ms = 500};
    deliver(&job);
    sim_run(&s, 400);
    ck_assert_uint_eq(s.quits, 0);
    sim_run(&s, 200);
    ck_assert_uint_eq(s.quits, 1);
    ck_assert_uint_eq(dp_sessions_busy(s.sessions), 0);
    ck_assert_uint_eq(s.counters.sessions, 0);
}
END_TEST

START_TEST(another_source_or_site_or_target_has_its_own_session)
{
    const struct test_job jobs[] = {
        {0},
        {.source = "192.0.2.11"},
        {.site_hash = 2},
        {.targets = {"192.0.2.2"}, .connections_max = 2},
    };
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        deliver(&jobs[i]);
    }
    ck_assert_uint_eq(s.accepted, 4);
    ck_assert_uint_eq(s.counters.sessions_reused, 0);
}
END_TEST

START_TEST(a_connection_carries_no_more_messages_than_allowed)
{
    const struct test_job job = {.messages_max = 2, .idle_ms = MINUTE * 60};
    for (int i = 0; i < 6; i++) {
        deliver(&job);
    }
    sim_run(&s, 100);
    ck_assert_uint_eq(s.accepted, 3);
    ck_assert_uint_eq(s.quits, 3); /* at once: there is nothing to be idle for */
}
END_TEST

START_TEST(no_more_connections_are_open_than_allowed)
{
    const struct test_job job = {.connections_max = 3};
    uint32_t slots[12];
    for (uint32_t i = 0; i < 12; i++) {
        slots[i] = channel_file_submit(&s.file, &job);
    }
    for (uint32_t i = 0; i < 12; i++) {
        struct sim_result r = sim_wait(&s, slots[i], MINUTE);
        check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
    }
    ck_assert_uint_eq(s.open_most, 3);
    ck_assert_uint_eq(s.n_mails, 12);
    ck_assert_uint_eq(s.counters.waiting, 0);
}
END_TEST

START_TEST(idle_sessions_make_room_when_all_are_in_use)
{
    const struct test_job first = {.idle_ms = MINUTE * 60};
    for (uint32_t site = 1; site <= 20; site++) { /* of 8 sessions */
        struct test_job job = first;
        job.site_hash = site;
        deliver(&job);
    }
    ck_assert(s.open_most <= 8);
    ck_assert_uint_eq(s.n_mails, 20);
}
END_TEST

START_TEST(an_idle_session_to_another_target_makes_room_for_its_group)
{
    const struct test_job first = {.idle_ms = MINUTE * 60};
    const struct test_job second = {.targets = {"192.0.2.2"}};
    deliver(&first);
    deliver(&second); /* connections_max is 1 */
    ck_assert_uint_eq(s.quits, 1);
    ck_assert_uint_eq(s.mails[1].server, 1);
}
END_TEST

START_TEST(a_job_waits_while_tcp_has_no_connection_to_spare)
{
    const struct sim_options options = {.connections = 1};
    const struct test_job first = {.idle_ms = 10};
    const struct test_job second = {.targets = {"192.0.2.2"}, .site_hash = 2};
    sim_end(&s);
    sim_make(&s, &options);
    deliver(&first);
    s.rules[0].lost = true; /* the goodbye is not answered, TCP goes on trying */
    sim_run(&s, 10000);
    ck_assert_uint_eq(dp_sessions_busy(s.sessions), 0);
    ck_assert_uint_eq(utcp_connections(s.client), 1);
    uint32_t slot = channel_file_submit(&s.file, &second);
    sim_run(&s, 1000);
    ck_assert_uint_eq(s.counters.waiting, 1);
    struct sim_result r = sim_wait(&s, slot, 60 * MINUTE);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
}
END_TEST

START_TEST(a_body_goes_through_however_few_blocks_tcp_has)
{
    const struct sim_options options = {.copy_blocks = 4};
    char *body = lines(20000, 40, 1);
    const struct test_job job = {.body = body, .connections_max = 3};
    uint32_t slots[6];
    sim_end(&s);
    sim_make(&s, &options);
    for (uint32_t i = 0; i < 6; i++) {
        slots[i] = channel_file_submit(&s.file, &job);
    }
    for (uint32_t i = 0; i < 6; i++) {
        struct sim_result r = sim_wait(&s, slots[i], MINUTE);
        check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
        ck_assert_uint_eq(s.mails[i].len, 20000);
        ck_assert_mem_eq(s.mails[i].body, body, 20000);
    }
    free(body);
}
END_TEST

/* ---- failures before MAIL ---------------------------------------------------------------- */

START_TEST(a_session_level_failure_goes_on_to_the_next_target)
{
    static const struct sim_rules rows[] = {
        {.refuse = true},
        {.lost = true},
        {.banner = "554 no service\r\n"},
        {.banner = "421 too many\r\n"},
        {.hang_up_at_mail = 1},
    };
    const struct test_job job = {.targets = {"192.0.2.1", "192.0.2.2"}};
    s.rules[0] = rows[_i];
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), 2 * MINUTE);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
    ck_assert_uint_eq(r.slot.target_used, 1);
    ck_assert_uint_eq(r.slot.peer.bytes[3], 2);
    ck_assert_uint_eq(s.mails[0].server, 1);
}
END_TEST

START_TEST(after_the_last_target_the_job_is_deferred_with_the_last_failure)
{
    static const struct {
        struct sim_rules rules;
        enum outcome_stage stage;
        uint16_t code;
    } rows[] = {
        {{.refuse = true}, OUTCOME_STAGE_CONNECT, 0},
        {{.lost = true}, OUTCOME_STAGE_CONNECT, 0},
        {{.banner = "554 no service\r\n"}, OUTCOME_STAGE_BANNER, 554},
        {{.banner = "421 too many\r\n"}, OUTCOME_STAGE_BANNER, 421},
    };
    const struct test_job job = {.targets = {"192.0.2.2", "192.0.2.1"}};
    s.rules[0] = rows[_i].rules;
    s.rules[1].refuse = true;
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), 2 * MINUTE);
    check_result(&r, OUTCOME_DEFERRED, rows[_i].stage, rows[_i].code);
    ck_assert(r.slot.results[0].text[0] != '\0');
    ck_assert_uint_eq(r.slot.target_used, 1);
    ck_assert_uint_eq(s.counters.deferred, 1);
}
END_TEST

START_TEST(a_dead_host_is_given_up_after_thirty_seconds)
{
    const struct test_job job = {0};
    s.rules[0].lost = true; /* ARP is answered, nothing else */
    uint32_t slot = channel_file_submit(&s.file, &job);
    sim_run(&s, 29000);
    ck_assert_int_ne(chan_control_state(s.file.control, slot), CHAN_DONE);
    struct sim_result r = sim_wait(&s, slot, 2000);
    check_result(&r, OUTCOME_DEFERRED, OUTCOME_STAGE_CONNECT, 0);
    ck_assert_str_eq(r.slot.results[0].text, "connection timed out");
}
END_TEST

START_TEST(jobs_that_wait_for_a_dead_site_are_deferred_with_it)
{
    const struct test_job job = {0};
    const struct test_job elsewhere = {.targets = {"192.0.2.2"}};
    s.rules[0].refuse = true;
    uint32_t first = channel_file_submit(&s.file, &job);
    uint32_t second = channel_file_submit(&s.file, &job);
    uint32_t third = channel_file_submit(&s.file, &elsewhere);
    struct sim_result r = sim_wait(&s, first, MINUTE);
    check_result(&r, OUTCOME_DEFERRED, OUTCOME_STAGE_CONNECT, 0);
    r = sim_wait(&s, second, MINUTE);
    check_result(&r, OUTCOME_DEFERRED, OUTCOME_STAGE_LOCAL, 0);
    ck_assert_ptr_nonnull(strstr(r.slot.results[0].text, "not tried"));
    r = sim_wait(&s, third, MINUTE); /* the same group, but another host */
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
}
END_TEST

START_TEST(a_reused_connection_that_breaks_early_costs_nothing)
{
    const struct test_job job = {.targets = {"192.0.2.1", "192.0.2.2"}};
    s.rules[0].hang_up_at_mail = 2;
    deliver(&job);
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), MINUTE);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
    ck_assert_uint_eq(r.slot.target_used, 0);
    ck_assert_uint_eq(r.slot.reused, 0);
    ck_assert_uint_eq(s.accepted, 2);
    ck_assert_uint_eq(s.n_mails, 2);
}
END_TEST

START_TEST(a_session_that_the_server_closes_while_idle_is_not_missed)
{
    const struct test_job job = {0};
    deliver(&job);
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        if (s.conns[i].conn != 0) {
            (void)utcp_shutdown(s.server, s.now_ns, s.conns[i].conn);
            s.conns[i].expect = SIM_OVER;
        }
    }
    sim_run(&s, 100);
    ck_assert_uint_eq(dp_sessions_busy(s.sessions), 0);
    deliver(&job);
    ck_assert_uint_eq(s.accepted, 2);
}
END_TEST

/* ---- modes ------------------------------------------------------------------------------- */

START_TEST(a_drain_hands_back_what_has_not_started)
{
    const struct test_job dead = {.targets = {"192.0.2.3"}, .site_hash = 3};
    const struct test_job idle = {0};
    s.rules[2].lost = true;
    deliver(&idle);
    uint32_t connecting = channel_file_submit(&s.file, &dead);
    uint32_t waiting = channel_file_submit(&s.file, &dead);
    sim_run(&s, 100);
    ck_assert_uint_eq(s.counters.waiting, 1);
    dp_sessions_set_mode(s.sessions, s.now_ns, DP_DRAIN);
    uint32_t late = channel_file_submit(&s.file, &idle);
    sim_run(&s, 100);
    const uint32_t slots[] = {connecting, waiting, late};
    for (size_t i = 0; i < 3; i++) {
        struct sim_result r = sim_wait(&s, slots[i], 0);
        check_result(&r, OUTCOME_RETURNED, OUTCOME_STAGE_LOCAL, 0);
    }
    ck_assert_uint_eq(s.quits, 1);
    ck_assert_uint_eq(dp_sessions_busy(s.sessions), 0);
    ck_assert_uint_eq(s.counters.jobs_returned, 3);
}
END_TEST

START_TEST(a_drain_lets_running_transactions_finish)
{
    const struct test_job job = {0};
    s.rules[0].dot = "";
    uint32_t slot = channel_file_submit(&s.file, &job);
    sim_run(&s, 100);
    ck_assert_int_eq(chan_control_state(s.file.control, slot), CHAN_DOT_SENT);
    dp_sessions_set_mode(s.sessions, s.now_ns, DP_DRAIN);
    sim_run(&s, 5000);
    ck_assert_uint_eq(dp_sessions_busy(s.sessions), 2);
    static const uint8_t reply[] = "250 2.0.0 at last\r\n";
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        if (s.conns[i].conn != 0) {
            (void)utcp_send_copy(s.server, s.now_ns, s.conns[i].conn, reply, sizeof reply - 1);
            utcp_push(s.server, s.now_ns, s.conns[i].conn);
        }
    }
    struct sim_result r = sim_wait(&s, slot, 100);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
    sim_run(&s, 100);
    ck_assert_uint_eq(dp_sessions_busy(s.sessions), 0);
    ck_assert_uint_eq(s.quits, 1);
}
END_TEST

START_TEST(a_drain_cuts_off_what_does_not_finish)
{
    static const struct {
        struct sim_rules rules;
        enum outcome_kind kind;
        enum outcome_stage stage;
    } rows[] = {
        {{.dot = ""}, OUTCOME_DOUBTFUL, OUTCOME_STAGE_DOT},
        {{.data = ""}, OUTCOME_RETURNED, OUTCOME_STAGE_LOCAL},
        {{.mail = ""}, OUTCOME_RETURNED, OUTCOME_STAGE_LOCAL},
        {{.banner = ""}, OUTCOME_RETURNED, OUTCOME_STAGE_LOCAL},
    };
    const struct test_job job = {0};
    s.rules[0] = rows[_i].rules;
    uint32_t slot = channel_file_submit(&s.file, &job);
    sim_run(&s, 100);
    dp_sessions_set_mode(s.sessions, s.now_ns, DP_DRAIN);
    sim_run(&s, 29000);
    ck_assert_int_ne(chan_control_state(s.file.control, slot), CHAN_DONE);
    sim_run(&s, 1500);
    struct sim_result r = sim_wait(&s, slot, 0);
    check_result(&r, rows[_i].kind, rows[_i].stage, 0);
    ck_assert_uint_eq(dp_sessions_busy(s.sessions), 0);
}
END_TEST

START_TEST(after_a_drain_the_lane_runs_again)
{
    const struct test_job job = {0};
    deliver(&job);
    dp_sessions_set_mode(s.sessions, s.now_ns, DP_DRAIN);
    sim_run(&s, 100);
    dp_sessions_set_mode(s.sessions, s.now_ns, DP_RUN);
    deliver(&job);
    ck_assert_uint_eq(s.accepted, 2);
    sim_run(&s, 40000); /* past the end of the drain that was called off */
    deliver(&job);
}
END_TEST

/* The source with this text is drained, or is not any more. */
static void drain_source(const char *text, bool on)
{
    struct ip_addr addr;
    ck_assert(ip_addr_parse(text, &addr));
    s.sources.list[dp_sources_find(&s.sources, &addr)].draining = on;
    if (on) {
        dp_sessions_drain_sources(s.sessions, s.now_ns);
    }
}

static uint32_t sessions_of(const char *text)
{
    struct ip_addr addr;
    ck_assert(ip_addr_parse(text, &addr));
    return s.sources.list[dp_sources_find(&s.sources, &addr)].sessions;
}

START_TEST(a_drained_source_hands_back_what_has_not_begun_and_quits_and_others_go_on)
{
    const struct test_job idle = {.source = "192.0.2.10"}, other = {.source = "192.0.2.11"};
    const struct test_job dead = {.source = "192.0.2.10", .targets = {"192.0.2.3"}, .site_hash = 3};
    s.rules[2].lost = true;
    deliver(&idle);
    deliver(&other);
    uint32_t connecting = channel_file_submit(&s.file, &dead);
    uint32_t waiting = channel_file_submit(&s.file, &dead);
    sim_run(&s, 100);
    ck_assert_uint_eq(sessions_of("192.0.2.10"), 2);
    drain_source("192.0.2.10", true);
    uint32_t late = channel_file_submit(&s.file, &idle);
    sim_run(&s, 100);
    const uint32_t slots[] = {connecting, waiting, late};
    for (size_t i = 0; i < 3; i++) {
        struct sim_result r = sim_wait(&s, slots[i], 0);
        check_result(&r, OUTCOME_RETURNED, OUTCOME_STAGE_LOCAL, 0);
    }
    ck_assert_uint_eq(s.quits, 1);
    ck_assert_uint_eq(sessions_of("192.0.2.10"), 0);
    ck_assert_uint_eq(sessions_of("192.0.2.11"), 1);
    deliver(&other);
    drain_source("192.0.2.10", false);
    deliver(&idle);
    ck_assert_uint_eq(s.accepted, 3); /* connections: the other source's was kept */
}
END_TEST

START_TEST(a_transaction_of_a_drained_source_is_finished_and_then_comes_quit)
{
    static const uint8_t reply[] = "250 2.0.0 at last\r\n";
    const struct test_job job = {.source = "192.0.2.10"};
    s.rules[0].dot = "";
    uint32_t slot = channel_file_submit(&s.file, &job);
    sim_run(&s, 100);
    drain_source("192.0.2.10", true);
    sim_run(&s, 60000); /* its time is that of SMTP, not of a drain of the lane */
    ck_assert_int_eq(chan_control_state(s.file.control, slot), CHAN_DOT_SENT);
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        if (s.conns[i].conn != 0) {
            (void)utcp_send_copy(s.server, s.now_ns, s.conns[i].conn, reply, sizeof reply - 1);
            utcp_push(s.server, s.now_ns, s.conns[i].conn);
        }
    }
    struct sim_result r = sim_wait(&s, slot, 100);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
    sim_run(&s, 100);
    ck_assert_uint_eq(s.quits, 1);
    ck_assert_uint_eq(sessions_of("192.0.2.10"), 0);
}
END_TEST

START_TEST(without_control_nothing_starts_and_what_runs_goes_on)
{
    const struct test_job job = {0};
    s.rules[0].dot = "";
    uint32_t running = channel_file_submit(&s.file, &job);
    uint32_t waiting = channel_file_submit(&s.file, &job);
    sim_run(&s, 100);
    dp_sessions_set_mode(s.sessions, s.now_ns, DP_HOLD);
    uint32_t late = channel_file_submit(&s.file, &job);
    s.rules[0].dot = NULL;
    s.rules[0].hang_up_at_dot = 2;
    sim_run(&s, 700000); /* past the time-out of the dot */
    struct sim_result r = sim_wait(&s, running, 0);
    check_result(&r, OUTCOME_DOUBTFUL, OUTCOME_STAGE_DOT, 0);
    ck_assert_int_eq(chan_control_state(s.file.control, waiting), CHAN_QUEUED);
    ck_assert_int_eq(chan_control_state(s.file.control, late), CHAN_QUEUED);
    ck_assert_uint_eq(s.accepted, 1);

    s.rules[0].hang_up_at_dot = 0;
    dp_sessions_set_mode(s.sessions, s.now_ns, DP_RUN);
    r = sim_wait(&s, waiting, MINUTE);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
    r = sim_wait(&s, late, MINUTE);
    check_result(&r, OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, 250);
}
END_TEST

/* ---- all together ------------------------------------------------------------------------ */

static void random_rules(struct sim_rules *rules, unsigned *seed)
{
    static const struct sim_rules choices[] = {
        {0},
        {.refuse = false, .hang_up_at_mail = 2},
        {.hang_up_at_dot = 2},
        {.banner = "421 busy\r\n"},
        {.banner = "554 no\r\n"},
        {.mail = "451 4.3.0 later\r\n"},
        {.rcpt = "550 5.1.1 who\r\n"},
        {.data = "451 4.3.0 later\r\n"},
        {.dot = "554 5.7.1 spam\r\n"},
        {.lost = true},
    };
    *rules = choices[(size_t)rand_r(seed) % (sizeof choices / sizeof choices[0])];
}

static uint32_t copies_of(const char *subject)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s.n_mails; i++) {
        n += s.mails[i].len >= strlen(subject) &&
             memcmp(s.mails[i].body, subject, strlen(subject)) == 0;
    }
    return n;
}

/* Whatever the servers and the network do: every job ends, DELIVERED means that exactly one copy is
 * there, bounced and deferred that none is, doubtful at most one. */
START_TEST(every_job_ends_and_outcomes_are_true)
{
    unsigned seed = (unsigned)_i + 1;
    char subjects[16][32], bodies[16][64];
    uint32_t slots[16];
    s.seed = seed;
    s.drop_percent = (uint32_t)_i % 4 * 3;
    for (int round = 0; round < 12; round++) {
        s.n_mails = 0;
        random_rules(&s.rules[rand_r(&seed) % (int)SIM_SERVERS], &seed);
        for (uint32_t i = 0; i < 16; i++) {
            static const char *const targets[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3",
                                                  "192.0.2.4"};
            static const char *const sources[] = {"192.0.2.10", "192.0.2.13"};
            (void)snprintf(subjects[i], sizeof subjects[i], "S: %d-%u\r\n", round, i);
            (void)snprintf(bodies[i], sizeof bodies[i], "%s\r\n.x\r\n", subjects[i]);
            const struct test_job job = {
                .source = sources[rand_r(&seed) % 2],
                .targets = {targets[rand_r(&seed) % 4], targets[rand_r(&seed) % 4]},
                .body = bodies[i],
                .site_hash = 1 + (uint32_t)rand_r(&seed) % 3,
                .connections_max = 1 + (uint32_t)rand_r(&seed) % 3,
                .messages_max = 1 + (uint32_t)rand_r(&seed) % 3,
                .idle_ms = 1 + (uint32_t)rand_r(&seed) % 2000,
            };
            slots[i] = channel_file_submit(&s.file, &job);
        }
        for (uint32_t i = 0; i < 16; i++) {
            struct sim_result r = sim_wait(&s, slots[i], 30 * MINUTE);
            uint32_t copies = copies_of(subjects[i]);
            uint8_t kind = r.slot.results[0].kind;
            bool right = kind == OUTCOME_DOUBTFUL || (copies == 1) == (kind == OUTCOME_DELIVERED);
            ck_assert_msg(copies <= 1 && right, "round %d job %u: %u copies, %s: %s", round, i,
                          copies, outcome_kind_text(kind), r.slot.results[0].text);
        }
        for (uint32_t i = 0; i < s.n_mails; i++) {
            free(s.mails[i].body);
        }
    }
    s.n_mails = 0;
    dp_sessions_set_mode(s.sessions, s.now_ns, DP_DRAIN);
    sim_run(&s, 40000);
    ck_assert_uint_eq(dp_sessions_busy(s.sessions), 0);
    ck_assert_uint_eq(s.counters.waiting, 0);
    ck_assert_uint_eq(s.counters.sessions, 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("session");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_message_is_delivered_and_the_slot_says_how);
    tcase_add_test(tc, prefix_and_dots_arrive_as_they_were);
    tcase_add_loop_test(tc, a_body_larger_than_all_queues_arrives_unchanged, 0, 4);
    tcase_add_test(tc, a_body_with_a_dot_on_nearly_every_line_arrives_unchanged);
    tcase_add_loop_test(tc, what_the_server_refuses_is_the_outcome, 0, 7);
    tcase_add_test(tc, a_lost_connection_after_the_dot_is_doubtful);
    tcase_add_test(tc, a_refusal_in_the_middle_of_the_body_ends_the_job);
    tcase_add_test(tc, a_slot_is_not_done_before_tcp_has_let_go_of_the_body);
    tcase_add_test(tc, a_receiver_that_is_slow_but_goes_on_is_waited_for);
    tcase_add_test(tc, a_receiver_that_stops_reading_is_given_up);
    tcase_add_test(tc, a_nonsensical_job_is_refused_and_the_next_one_goes_on);
    tcase_add_test(tc, an_idle_session_carries_the_next_message_of_its_site);
    tcase_add_test(tc, an_idle_session_says_quit_after_its_time);
    tcase_add_test(tc, another_source_or_site_or_target_has_its_own_session);
    tcase_add_test(tc, a_connection_carries_no_more_messages_than_allowed);
    tcase_add_test(tc, no_more_connections_are_open_than_allowed);
    tcase_add_test(tc, idle_sessions_make_room_when_all_are_in_use);
    tcase_add_test(tc, an_idle_session_to_another_target_makes_room_for_its_group);
    tcase_add_test(tc, a_job_waits_while_tcp_has_no_connection_to_spare);
    tcase_add_test(tc, a_body_goes_through_however_few_blocks_tcp_has);
    tcase_add_loop_test(tc, a_session_level_failure_goes_on_to_the_next_target, 0, 5);
    tcase_add_loop_test(tc, after_the_last_target_the_job_is_deferred_with_the_last_failure, 0, 4);
    tcase_add_test(tc, a_dead_host_is_given_up_after_thirty_seconds);
    tcase_add_test(tc, jobs_that_wait_for_a_dead_site_are_deferred_with_it);
    tcase_add_test(tc, a_reused_connection_that_breaks_early_costs_nothing);
    tcase_add_test(tc, a_session_that_the_server_closes_while_idle_is_not_missed);
    tcase_add_test(tc, a_drain_hands_back_what_has_not_started);
    tcase_add_test(tc, a_drain_lets_running_transactions_finish);
    tcase_add_loop_test(tc, a_drain_cuts_off_what_does_not_finish, 0, 4);
    tcase_add_test(tc, after_a_drain_the_lane_runs_again);
    tcase_add_test(tc, a_drained_source_hands_back_what_has_not_begun_and_quits_and_others_go_on);
    tcase_add_test(tc, a_transaction_of_a_drained_source_is_finished_and_then_comes_quit);
    tcase_add_test(tc, without_control_nothing_starts_and_what_runs_goes_on);
    tcase_add_loop_test(tc, every_job_ends_and_outcomes_are_true, 0, 16);
    return tap_run("session", tc);
}
