/*
 * test_evidence.c - what the lane's own TCP knows about the end of a delivery, and failover that
 * depends on replies: see sim.h.
 */
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

/* ---- the final dot ----------------------------------------------------------------------- */

static void check(const struct chan_slot *slot, enum outcome_kind kind,
                  enum outcome_arrival arrival, enum outcome_end end)
{
    const struct chan_result *got = &slot->results[0];
    ck_assert_msg(got->kind == kind, "%s: %s", outcome_kind_text(got->kind), got->text);
    ck_assert_str_eq(outcome_arrival_text(slot->arrival), outcome_arrival_text(arrival));
    ck_assert_str_eq(outcome_end_text(slot->end), outcome_end_text(end));
}

START_TEST(what_became_of_an_unanswered_dot_is_known)
{
    static const struct {
        struct sim_rules rules;
        enum outcome_arrival arrival;
        enum outcome_end end;
    } rows[] = {
        {{.mute_at_dot = true}, OUTCOME_ARRIVAL_UNANSWERED, OUTCOME_END_SILENCE},
        {{.hang_up_at_dot = 1}, OUTCOME_ARRIVAL_UNANSWERED, OUTCOME_END_FIN},
        {{.reset_at_dot = true}, OUTCOME_ARRIVAL_UNKNOWN, OUTCOME_END_RST},
        {{.lost_from_dot = true}, OUTCOME_ARRIVAL_UNKNOWN, OUTCOME_END_SILENCE},
    };
    const struct test_job job = {0};
    s.rules[0] = rows[_i].rules;
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), 20 * MINUTE);
    check(&r.slot, OUTCOME_DOUBTFUL, rows[_i].arrival, rows[_i].end);
    ck_assert_uint_eq(s.counters.doubtful, 1);
}
END_TEST

/* The window is shut with the end of the message still here: SMTP has said it, TCP has not. */
START_TEST(an_end_that_never_left_is_no_doubt)
{
    static char body[120001];
    for (size_t i = 0; i < sizeof body - 1; i++) {
        body[i] = i % 80 == 78 ? '\r' : i % 80 == 79 ? '\n' : 'x';
    }
    const struct test_job job = {.body = body};
    s.rules[0].bytes_per_s = 1000;
    uint32_t slot = channel_file_submit(&s.file, &job);
    sim_run(&s, 20000);
    ck_assert_int_eq(chan_control_state(s.file.control, slot), CHAN_DOT_SENT);
    s.rules[0].lost = true;
    struct sim_result r = sim_wait(&s, slot, 30 * MINUTE);
    check(&r.slot, OUTCOME_DEFERRED, OUTCOME_ARRIVAL_NEVER, OUTCOME_END_SILENCE);
    ck_assert_uint_gt(r.slot.zero_window_ms, 1000);
    ck_assert_uint_eq(s.counters.doubtful, 0);
    ck_assert_uint_eq(s.n_mails, 0);
}
END_TEST

START_TEST(an_answered_message_has_no_arrival_and_an_open_end)
{
    const struct test_job job = {0};
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), MINUTE);
    check(&r.slot, OUTCOME_DELIVERED, OUTCOME_ARRIVAL_NONE, OUTCOME_END_OPEN);
    ck_assert_uint_eq(r.slot.extensions,
                      SMTP_EXT_PIPELINING | SMTP_EXT_ENHANCED | SMTP_EXT_8BITMIME);
}
END_TEST

START_TEST(each_message_of_a_connection_has_its_own_evidence)
{
    const struct test_job job = {0};
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), MINUTE);
    s.rules[0].hang_up_at_dot = 2;
    r = sim_wait(&s, channel_file_submit(&s.file, &job), MINUTE);
    ck_assert_uint_eq(r.slot.reused, 1);
    check(&r.slot, OUTCOME_DOUBTFUL, OUTCOME_ARRIVAL_UNANSWERED, OUTCOME_END_FIN);
}
END_TEST

START_TEST(a_connection_that_is_not_made_says_how)
{
    const struct test_job job = {0};
    s.rules[0].refuse = _i == 0;
    s.rules[0].lost = _i == 1;
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &job), MINUTE);
    ck_assert_uint_eq(r.slot.results[0].stage, OUTCOME_STAGE_CONNECT);
    check(&r.slot, OUTCOME_DEFERRED, OUTCOME_ARRIVAL_NONE,
          _i == 0 ? OUTCOME_END_RST : OUTCOME_END_SILENCE);
}
END_TEST

/* ---- the next target --------------------------------------------------------------------- */

#define PLAIN "250-sim\r\n250 PIPELINING\r\n"

static const struct test_job two = {.targets = {"192.0.2.1", "192.0.2.2"},
                                    .needs = CHAN_NEED_8BITMIME};

START_TEST(a_4xx_to_mail_and_an_extension_that_lacks_go_on_to_the_next_target)
{
    static const struct sim_rules rows[] = {{.mail = "451 4.3.0 busy\r\n"}, {.ehlo = PLAIN}};
    s.rules[0] = rows[_i];
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &two), MINUTE);
    ck_assert_msg(r.slot.results[0].kind == OUTCOME_DELIVERED, "%s", r.slot.results[0].text);
    ck_assert_uint_eq(r.slot.target_used, 1);
    ck_assert_uint_eq(s.accepted, 2);
}
END_TEST

START_TEST(after_the_last_target_the_last_word_counts)
{
    static const struct {
        struct sim_rules first, second;
        enum outcome_kind kind;
        uint16_t code;
        uint8_t detail;
    } rows[] = {
        {{.mail = "451 4.3.0 a\r\n"}, {.mail = "450 4.3.1 b\r\n"}, OUTCOME_DEFERRED, 450, 1},
        {{.mail = "451 4.3.0 a\r\n"}, {.mail = "550 5.7.1 b\r\n"}, OUTCOME_BOUNCED, 550, 1},
        {{.mail = "550 5.7.1 a\r\n"}, {.mail = NULL}, OUTCOME_BOUNCED, 550, 1}, /* final at once */
        {{.ehlo = PLAIN}, {.ehlo = PLAIN}, OUTCOME_BOUNCED, 0, 3},
        /* the one that is away may offer what this one lacks */
        {{.refuse = true}, {.ehlo = PLAIN}, OUTCOME_DEFERRED, 0, 3},
    };
    s.rules[0] = rows[_i].first;
    s.rules[1] = rows[_i].second;
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &two), 2 * MINUTE);
    check(&r.slot, rows[_i].kind, OUTCOME_ARRIVAL_NONE, OUTCOME_END_OPEN);
    ck_assert_uint_eq(r.slot.results[0].code, rows[_i].code);
    ck_assert_uint_eq(r.slot.results[0].enhanced[2], rows[_i].detail);
}
END_TEST

START_TEST(a_session_that_refused_a_job_carries_others)
{
    const struct test_job seven_bit = {.targets = {"192.0.2.1"}, .connections_max = 2};
    s.rules[0].ehlo = PLAIN;
    (void)sim_wait(&s, channel_file_submit(&s.file, &two), MINUTE);
    struct sim_result r = sim_wait(&s, channel_file_submit(&s.file, &seven_bit), MINUTE);
    ck_assert_uint_eq(r.slot.results[0].kind, OUTCOME_DELIVERED);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("evidence");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, what_became_of_an_unanswered_dot_is_known, 0, 4);
    tcase_add_test(tc, an_end_that_never_left_is_no_doubt);
    tcase_add_test(tc, an_answered_message_has_no_arrival_and_an_open_end);
    tcase_add_test(tc, each_message_of_a_connection_has_its_own_evidence);
    tcase_add_loop_test(tc, a_connection_that_is_not_made_says_how, 0, 2);
    tcase_add_loop_test(tc, a_4xx_to_mail_and_an_extension_that_lacks_go_on_to_the_next_target, 0,
                        2);
    tcase_add_loop_test(tc, after_the_last_target_the_last_word_counts, 0, 5);
    tcase_add_test(tc, a_session_that_refused_a_job_carries_others);
    return tap_run("evidence", tc);
}
