/* test_smtp_session.c - greeting, EHLO, HELO, QUIT, reuse, time-outs, and broken servers. */
#include "tests/smtp/script.h"

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])

#define MAIL     "C: MAIL FROM:<from@me.example>\n"
#define RCPT     "C: RCPT TO:<r1@to.example>\n"
/* A message delivered with one command at a time. */
#define ENVELOPE MAIL "S: 250 ok\n" RCPT "S: 250 ok\nC: DATA\n"
#define DELIVERED                                                                                  \
    ENVELOPE "S: 354 go\n" SCRIPT_MESSAGE "S: 250 2.0.0 taken\n"                                   \
             "! done\n= delivered dot 250 2.0.0 taken\n"
#define SURPLUS      "protocol error: a reply that nothing had asked for\n"
#define OUT_OF_STEP  "protocol error: a reply that belongs to another command\n"
#define NO_CODE      "protocol error: not a reply code\n"
#define NO_SEPARATOR "protocol error: neither space nor hyphen after a reply code\n"
#define MIXED        "protocol error: lines of one reply with different codes\n"

/* The session ends before MAIL: every recipient is deferred for that reason. */
#define CLOSED(why) "! closed\n= deferred " why "# " why

static const struct script scripts[] = {
    /* ---- greeting */
    {.name = "a_message_is_delivered_with_one_command_at_a_time", .text = SCRIPT_PLAIN DELIVERED},
    {.name = "a_transaction_can_start_after_the_greeting",
     .text = "S: 220 mx\nC: EHLO me.example\nS: 250 mx\n! ready\nN\n" DELIVERED},
    {.name = "a_greeting_of_several_lines_and_a_bare_code_is_a_greeting",
     .text = "N\nS: 220-mx\nS: 220-welcome\nS: 220\nC: EHLO me.example\nS: 250\n! ready\n" MAIL},
    {.name = "a_greeting_with_5xx_defers_and_says_quit",
     .text = "N\nS: 554 5.7.1 your address is on a list\nC: QUIT\nS: 221 bye\n" CLOSED(
         "banner 554 5.7.1 your address is on a list\n")},
    {.name = "a_greeting_with_4xx_defers_and_says_quit",
     .text = "N\nS: 450 later\nC: QUIT\nE closed\n" CLOSED("banner 450 later\n")},
    {.name = "a_greeting_with_421_defers_without_quit",
     .text = "N\nS: 421 4.3.2 busy\n" CLOSED("banner 421 4.3.2 busy\n")},
    {.name = "a_greeting_with_3xx_is_a_protocol_error",
     .text = "N\nS: 354 go\n" CLOSED("banner 0 " OUT_OF_STEP)},
    {.name = "no_greeting_within_five_minutes_defers",
     .text = "N\nT 299\nT 1\n" CLOSED("banner 0 timed out waiting for the greeting\n")},
    {.name = "half_a_greeting_does_not_stop_the_clock",
     .text = "N\nT 100\nS: 220-mx\nT 199\nS: 220-more\nT 1\n" CLOSED(
         "banner 0 timed out waiting for the greeting\n")},
    {.name = "a_lost_connection_before_the_greeting_defers",
     .text = "N\nE connection reset\n" CLOSED("banner 0 connection reset\n")},
    {.name = "a_greeting_of_another_protocol_is_a_protocol_error",
     .text = "N\nS: SSH-2.0-OpenSSH_9.2p1\n" CLOSED("banner 0 " NO_CODE)},
    {.name = "a_tls_alert_instead_of_a_greeting_is_a_protocol_error",
     .text = "N\nS: \x15\x03\x01\n" CLOSED("banner 0 " NO_CODE)},
    {.name = "two_greetings_at_once_are_a_protocol_error",
     .text = "N\nS: 220 mx\nS: 220 mx\n" CLOSED("ehlo 0 " SURPLUS),
     .pieces_matter = true},
    {.name = "a_second_greeting_is_not_the_reply_to_ehlo",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nS: 220 mx\n" CLOSED("ehlo 0 " OUT_OF_STEP)},

    /* ---- EHLO, HELO */
    {.name = "ehlo_refused_with_5xx_falls_back_to_helo_without_extensions",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nS: 502-5.5.2 what\nS: 502 pipelining\n"
             "C: HELO me.example\nS: 250 mx\n! ready\n" DELIVERED},
    {.name = "helo_refused_defers_and_says_quit",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nS: 500 no\nC: HELO me.example\nS: 550 go away\n"
             "C: QUIT\nS: 221 bye\n" CLOSED("ehlo 550 go away\n")},
    {.name = "ehlo_answered_with_421_defers_without_helo",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nS: 421 busy\n" CLOSED("ehlo 421 busy\n")},
    {.name = "ehlo_answered_with_4xx_defers_without_helo",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nS: 451 4.7.1 not now\nC: QUIT\nE gone\n" CLOSED(
         "ehlo 451 4.7.1 not now\n")},
    {.name = "ehlo_answered_with_3xx_is_a_protocol_error",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nS: 334 what\n" CLOSED("ehlo 0 " OUT_OF_STEP)},
    {.name = "no_reply_to_ehlo_within_five_minutes_defers",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nT 299\nT 1\n" CLOSED(
         "ehlo 0 timed out waiting for the reply to EHLO\n")},
    {.name = "different_codes_in_one_reply_are_a_protocol_error",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 550 no\n" CLOSED("ehlo 0 " MIXED)},
    {.name = "a_missing_space_after_the_code_is_a_protocol_error",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nS: 250mx\n" CLOSED("ehlo 0 " NO_SEPARATOR)},
    {.name = "keywords_are_read_without_regard_to_case",
     .text =
         "N\nS: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250-X-ELSE a b\nS: 250-pipeLINING\n"
         "S: 250 size 1000\n! ready\nC: MAIL FROM:<from@me.example> SIZE=18\n" RCPT "C: DATA\n"},
    {.name = "a_server_whose_name_is_a_keyword_offers_nothing",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nS: 250 PIPELINING\n! ready\n" MAIL},

    /* ---- QUIT */
    {.name = "quit_when_idle_waits_for_221",
     .text = SCRIPT_PLAIN DELIVERED "Q\nC: QUIT\nT 4\nS: 221 2.0.0 bye\n"
                                    "! closed\n# quit 221 2.0.0 bye\n"},
    {.name = "quit_gives_up_after_five_seconds",
     .text = SCRIPT_PLAIN DELIVERED
     "Q\nC: QUIT\nT 5\n! closed\n# quit 0 timed out waiting for the reply to QUIT\n"},
    {.name = "a_closed_connection_answers_quit",
     .text = SCRIPT_PLAIN DELIVERED "Q\nC: QUIT\nE closed by peer\n"
                                    "! closed\n# quit 0 closed by peer\n"},
    {.name = "quit_during_a_transaction_comes_after_it",
     .text =
         SCRIPT_PLAIN MAIL "Q\nS: 250 ok\n" RCPT "S: 250 ok\nC: DATA\nS: 354 go\n" SCRIPT_MESSAGE
                           "S: 250 ok\n! done\n= delivered dot 250 ok\nC: QUIT\nN refused\n"},
    {.name = "quit_before_the_greeting_comes_after_ehlo",
     .text = "Q\nS: 220 mx\nC: EHLO me.example\nS: 250 mx\n! ready\nC: QUIT\nS: 221 bye\n"
             "! closed\n# quit 221 bye\nN refused\n"},
    {.name = "nothing_starts_while_a_transaction_runs", .text = SCRIPT_PLAIN MAIL "N refused\n"},

    /* ---- reuse */
    {.name = "the_next_transaction_follows_a_clean_one_without_rset",
     .text = SCRIPT_PLAIN DELIVERED "N\n" DELIVERED "T 86400\nN\n" DELIVERED},
    {.name = "rset_comes_before_the_next_transaction_after_a_refusal",
     .text = SCRIPT_PLAIN MAIL "S: 450 no\n! done\n= deferred mail 450 no\nN\n"
                               "C: RSET\nS: 250 ok\n" DELIVERED "N\n" MAIL},
    {.name = "a_message_refused_after_its_dot_needs_no_rset",
     .text = SCRIPT_PLAIN ENVELOPE "S: 354 go\n" SCRIPT_MESSAGE
                                   "S: 554 5.7.1 spam\n! done\n= bounced dot 554 5.7.1 spam\n"
                                   "N\n" DELIVERED},
    {.name = "a_refused_rset_ends_the_session_politely",
     .text = SCRIPT_PLAIN MAIL
     "S: 450 no\n! done\n= deferred mail 450 no\nN\n"
     "C: RSET\nS: 550 no reset\nC: QUIT\nS: 221 bye\n" CLOSED("rset 550 no reset\n")},
    {.name = "no_reply_to_rset_within_twenty_seconds_ends_the_session",
     .text = SCRIPT_PLAIN MAIL
     "S: 450 no\n! done\n= deferred mail 450 no\nN\nC: RSET\nT 19\nT 1\n" CLOSED(
         "rset 0 timed out waiting for the reply to RSET\n")},
    {.name = "421_while_idle_closes",
     .text = SCRIPT_PLAIN DELIVERED "S: 421 4.4.2 idle too long\n"
                                    "! closed\n# none 421 4.4.2 idle too long\nN refused\n"},
    {.name = "anything_else_while_idle_is_a_protocol_error",
     .text = SCRIPT_PLAIN DELIVERED "S: 250 by the way\n! closed\n# none 0 " SURPLUS "N refused\n"},
    {.name = "nothing_starts_behind_the_first_half_of_a_surplus_reply",
     .text = SCRIPT_PLAIN DELIVERED "S: 421-idle\nN refused\nS: 421 bye\n"
                                    "! closed\n# none 421 idle / bye\n"},
    {.name = "a_reset_while_idle_closes",
     .text = SCRIPT_PLAIN DELIVERED "E connection reset\n! closed\n# none 0 connection reset\n"},
    {.name = "a_server_that_does_not_understand_gets_no_other_transaction",
     .text = SCRIPT_PLAIN MAIL "S: 503 5.5.1 hello first\n! done\n"
                               "= bounced mail 503 5.5.1 hello first\nC: QUIT\nN refused\n"},
    {.name = "555_ends_the_session_too",
     .text = SCRIPT_PLAIN MAIL "S: 250 ok\n" RCPT "S: 555 5.5.4 parameters\n! done\n"
                               "= bounced rcpt 555 5.5.4 parameters\nC: QUIT\n"},
};

int main(void)
{
    return script_main("smtp session", scripts, N_OF(scripts));
}
