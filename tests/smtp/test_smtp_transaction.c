/* test_smtp_transaction.c - MAIL to the reply to the final dot: what each recipient is told. */
#include "tests/smtp/script.h"

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])

#define MAIL  "C: MAIL FROM:<from@me.example>\n"
#define RCPT1 "C: RCPT TO:<r1@to.example>\n"
#define RCPT2 "C: RCPT TO:<r2@to.example>\n"
#define RCPT3 "C: RCPT TO:<r3@to.example>\n"
#define DATA  "C: DATA\n"

#define PLAIN1     SCRIPT_PLAIN MAIL "S: 250 ok\n" RCPT1
#define PLAIN_DATA PLAIN1 "S: 250 ok\n" DATA
#define PLAIN_DOT  PLAIN_DATA "S: 354 go\n" SCRIPT_MESSAGE
#define PIPE1      SCRIPT_PIPE MAIL RCPT1 DATA
#define PIPE2      SCRIPT_PIPE MAIL RCPT1 RCPT2 DATA
#define PIPE3      SCRIPT_PIPE MAIL RCPT1 RCPT2 RCPT3 DATA

#define SURPLUS           "protocol error: a reply that nothing had asked for\n"
#define OUT_OF_STEP       "protocol error: a reply that belongs to another command\n"
#define NO_CODE           "protocol error: not a reply code\n"
#define LOST              "E connection reset\n! closed\n"
#define CLOSED(kind, why) "! closed\n= " kind " " why "# " why

#define EHLO(keywords) "N\nS: 220 mx\nC: EHLO me.example\nS: 250-mx\n" keywords "! ready"
#define BY_US          "decided here, not by the server: "

static const struct script scripts[] = {
    /* ---- each command refused, one at a time */
    {.name = "mail_refused_with_4xx_defers_all",
     .text = SCRIPT_PLAIN MAIL "S: 451 4.7.1 greylisted\n! done\n"
                               "= deferred mail 451 4.7.1 greylisted\n"
                               "= deferred mail 451 4.7.1 greylisted\n",
     .n_recipients = 2},
    {.name = "mail_refused_with_5xx_bounces_all",
     .text = SCRIPT_PLAIN MAIL "S: 550 5.7.1 no\n! done\n= bounced mail 550 5.7.1 no\n"},
    {.name = "a_refused_recipient_does_not_stop_the_others",
     .text =
         SCRIPT_PLAIN MAIL "S: 250 ok\n" RCPT1 "S: 550 5.1.1 who\n" RCPT2 "S: 251 forwarded\n" RCPT3
                           "S: 450 4.2.0 later\n" DATA "S: 354 go\n" SCRIPT_MESSAGE
                           "S: 250 2.0.0 taken\n! done\n= bounced rcpt 550 5.1.1 who\n"
                           "= delivered dot 250 2.0.0 taken\n= deferred rcpt 450 4.2.0 later\n",
     .n_recipients = 3},
    {.name = "data_is_not_sent_when_all_recipients_are_refused",
     .text = SCRIPT_PLAIN MAIL "S: 250 ok\n" RCPT1 "S: 550 5.1.1 who\n" RCPT2
                               "S: 450 later\n! done\n= bounced rcpt 550 5.1.1 who\n"
                               "= deferred rcpt 450 later\n",
     .n_recipients = 2},
    {.name = "data_refused_with_4xx_defers",
     .text = PLAIN_DATA "S: 451 4.3.0 no\n! done\n= deferred data 451 4.3.0 no\n"},
    {.name = "data_refused_with_5xx_bounces_the_accepted_recipients",
     .text = PIPE2 "S: 250 ok\nS: 250 ok\nS: 450 later\nS: 554 5.6.0 no\n! done\n"
                   "= bounced data 554 5.6.0 no\n= deferred rcpt 450 later\n",
     .n_recipients = 2},
    {.name = "the_message_refused_with_4xx_defers",
     .text = PLAIN_DOT "S: 451 4.3.0 disk\n! done\n= deferred dot 451 4.3.0 disk\n"},
    {.name = "the_message_refused_with_5xx_bounces",
     .text = PLAIN_DOT "S: 554-5.7.1 spam\nS: 554 5.7.1 see https://x.example\n! done\n"
                       "= bounced dot 554 5.7.1 spam / see https://x.example\n"},
    {.name = "an_unknown_code_is_taken_by_its_class",
     .text = PLAIN_DOT "S: 299 hm\n! done\n= delivered dot 299 hm\n"},
    {.name = "an_enhanced_code_of_another_class_is_only_text",
     .text = PLAIN1 "S: 450 5.1.1 who\n! done\n= deferred rcpt 450 5.1.1 who\n"},

    /* ---- too many recipients (RFC 5321 4.5.3.1.10) */
    {.name = "too_many_recipients_are_handed_back_and_the_others_get_the_message",
     .text =
         PIPE2 "S: 250 ok\nS: 250 ok\nS: 452 4.5.3 too many\nS: 354 go\n" SCRIPT_MESSAGE
               "S: 250 ok\n! done\n= delivered dot 250 ok\n= returned rcpt 452 4.5.3 too many\n",
     .n_recipients = 2},
    {.name = "452_to_the_first_recipient_cannot_be_about_their_number",
     .text = PLAIN1 "S: 452 4.5.3 too many\n! done\n= deferred rcpt 452 4.5.3 too many\n"},
    {.name = "452_about_the_disk_defers",
     .text =
         PIPE2 "S: 250 ok\nS: 250 ok\nS: 452 4.3.1 disk full\nS: 354 go\n" SCRIPT_MESSAGE
               "S: 250 ok\n! done\n= delivered dot 250 ok\n= deferred rcpt 452 4.3.1 disk full\n",
     .n_recipients = 2},
    {.name = "552_to_a_later_recipient_is_taken_as_too_many",
     .text = PIPE2 "S: 250 ok\nS: 250 ok\nS: 552 too many recipients\nS: 354 go\n" SCRIPT_MESSAGE
                   "S: 250 ok\n! done\n= delivered dot 250 ok\n"
                   "= returned rcpt 552 too many recipients\n",
     .n_recipients = 2},
    {.name = "552_with_5_5_3_is_taken_as_too_many",
     .text = PIPE2 "S: 250 ok\nS: 250 ok\nS: 552 5.5.3 many\nS: 421 bye\n! closed\n"
                   "= deferred data 421 bye\n= returned rcpt 552 5.5.3 many\n# data 421 bye\n",
     .n_recipients = 2},
    {.name = "552_to_the_first_recipient_bounces",
     .text = PLAIN1 "S: 552 over quota\n! done\n= bounced rcpt 552 over quota\n"},
    {.name = "552_about_a_full_mailbox_of_a_later_recipient_bounces",
     .text = PIPE2 "S: 250 ok\nS: 250 ok\nS: 552 5.2.2 full\nS: 354 go\n" SCRIPT_MESSAGE
                   "S: 250 ok\n! done\n= delivered dot 250 ok\n= bounced rcpt 552 5.2.2 full\n",
     .n_recipients = 2},
    {.name = "552_about_a_full_mailbox_bounces",
     .text = PLAIN1 "S: 552 5.2.2 full\n! done\n= bounced rcpt 552 5.2.2 full\n"},
    {.name = "552_about_the_size_for_the_mailbox_bounces",
     .text = PLAIN1 "S: 552 5.2.3 big\n! done\n= bounced rcpt 552 5.2.3 big\n"},
    {.name = "552_about_the_size_for_the_server_bounces",
     .text = PLAIN1 "S: 552 5.3.4 big\n! done\n= bounced rcpt 552 5.3.4 big\n"},
    {.name = "552_to_the_message_bounces",
     .text = PLAIN_DOT "S: 552 over quota\n! done\n= bounced dot 552 over quota\n"},

    /* ---- PIPELINING (RFC 2920) */
    {.name = "with_pipelining_mail_rcpt_and_data_go_together",
     .text = PIPE2 "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n" SCRIPT_MESSAGE
                   "S: 250 ok\n! done\n= delivered dot 250 ok\n= delivered dot 250 ok\n",
     .n_recipients = 2},
    {.name = "replies_that_come_one_by_one_make_no_difference",
     .text =
         PIPE2 "S: 250 ok\nT 299\nS: 250 ok\nT 299\nS: 550 no\nT 119\nS: 354 go\n" SCRIPT_MESSAGE
               "T 599\nS: 250 ok\n! done\n= delivered dot 250 ok\n= bounced rcpt 550 no\n",
     .n_recipients = 2},
    {.name = "after_a_refused_mail_the_pipelined_replies_mean_nothing",
     .text = PIPE2 "S: 550 5.7.1 no\nS: 250 ok\nS: 503 first\nS: 503 first\n! done\n"
                   "= bounced mail 550 5.7.1 no\n= bounced mail 550 5.7.1 no\nN\nC: RSET\n",
     .n_recipients = 2},
    {.name = "a_refused_mail_and_354_get_a_lone_dot_whose_reply_means_nothing",
     .text = PIPE1 "S: 450 4.7.1 no\nS: 250 ok\nS: 354 go\nC: .\nS: 250 taken\n! done\n"
                   "= deferred mail 450 4.7.1 no\nN\n" MAIL RCPT1 DATA},
    {.name = "all_recipients_refused_and_354_get_a_lone_dot_whose_reply_means_nothing",
     .text = PIPE2 "S: 250 ok\nS: 550 a\nS: 450 b\nS: 354 go\nC: .\nS: 250 taken\n! done\n"
                   "= bounced rcpt 550 a\n= deferred rcpt 450 b\nN\n" MAIL RCPT1 RCPT2 DATA,
     .n_recipients = 2},
    {.name = "a_lone_dot_may_be_refused",
     .text = PIPE1 "S: 250 ok\nS: 550 a\nS: 354 go\nC: .\nS: 554 no recipients\n! done\n"
                   "= bounced rcpt 550 a\n"},
    {.name = "a_lone_dot_without_reply_is_not_doubtful",
     .text = PIPE1 "S: 250 ok\nS: 550 a\nS: 354 go\nC: .\nT 600\n! closed\n= bounced rcpt 550 a\n"
                   "# dot 0 timed out waiting for the reply to an empty message\n"},
    {.name = "data_refused_because_all_recipients_were_changes_nothing",
     .text = PIPE1 "S: 250 ok\nS: 550 5.1.1 who\nS: 503 5.5.1 no valid recipients\n! done\n"
                   "= bounced rcpt 550 5.1.1 who\nN\nC: RSET\n"},
    {.name = "a_connection_lost_after_a_refusal_keeps_the_refusal",
     .text = PIPE2 "S: 250 ok\nS: 550 5.1.1 who\nS: 250 ok\n" LOST
                   "= bounced rcpt 550 5.1.1 who\n= deferred data 0 connection reset\n"
                   "# data 0 connection reset\n",
     .n_recipients = 2},

    /* ---- 421 (RFC 5321 3.8) */
    {.name = "421_to_mail_defers_and_closes",
     .text = PIPE1 "S: 421 4.3.2 bye\n" CLOSED("deferred", "mail 421 4.3.2 bye\n") "N refused\n"},
    {.name = "421_amid_recipients_defers_those_that_were_not_refused",
     .text =
         PIPE3 "S: 250 ok\nS: 550 who\nS: 250 ok\nS: 421 bye\n! closed\n= bounced rcpt 550 who\n"
               "= deferred rcpt 421 bye\n= deferred rcpt 421 bye\n# rcpt 421 bye\n",
     .n_recipients = 3},
    {.name = "421_to_data_defers",
     .text = PLAIN_DATA "S: 421 bye\n" CLOSED("deferred", "data 421 bye\n")},
    {.name = "421_to_the_message_defers",
     .text = PLAIN_DOT "S: 421 bye\n" CLOSED("deferred", "dot 421 bye\n")},
    {.name = "421_that_nothing_asked_for_defers",
     .text = SCRIPT_PLAIN MAIL "S: 250 ok\nS: 421 bye\n" CLOSED("deferred", "rcpt 421 bye\n"),
     .pieces_matter = true},

    /* ---- replies that cannot be */
    {.name = "250_to_data_is_a_protocol_error",
     .text = PLAIN_DATA "S: 250 ok\n" CLOSED("deferred", "data 0 " OUT_OF_STEP)},
    {.name = "354_to_mail_is_a_protocol_error",
     .text = SCRIPT_PLAIN MAIL "S: 354 go\n" CLOSED("deferred", "mail 0 " OUT_OF_STEP)},
    {.name = "a_missing_reply_shows_when_354_comes_too_early",
     .text = PIPE1 "S: 250 ok\nS: 354 go\n" CLOSED("deferred", "rcpt 0 " OUT_OF_STEP)},
    {.name = "one_reply_too_many_shows_when_354_comes_too_late",
     .text = PIPE1
     "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n" CLOSED("deferred", "data 0 " OUT_OF_STEP)},
    {.name = "a_second_reply_to_mail_is_not_the_reply_to_rcpt",
     .text = SCRIPT_PLAIN MAIL "S: 250 ok\nS: 250 ok\n" CLOSED("deferred", "rcpt 0 " SURPLUS),
     .pieces_matter = true},
    {.name = "250_behind_354_is_not_the_reply_to_the_dot",
     .text = PLAIN_DATA "S: 354 go\nS: 250 taken\n" CLOSED("deferred", "body 0 " OUT_OF_STEP),
     .pieces_matter = true},
    {.name = "3xx_to_the_dot_is_doubtful",
     .text = PLAIN_DOT "S: 354 go\n" CLOSED("doubtful", "dot 0 " OUT_OF_STEP)},
    {.name = "221_to_the_dot_is_doubtful",
     .text = PLAIN_DOT "S: 221 bye\n" CLOSED("doubtful", "dot 0 " OUT_OF_STEP)},
    {.name = "220_to_the_dot_is_doubtful",
     .text = PLAIN_DOT "S: 220 mx\n" CLOSED("doubtful", "dot 0 " OUT_OF_STEP)},
    {.name = "garbage_after_the_dot_is_doubtful_whatever_follows",
     .text = PLAIN_DOT "S: oops\nS: 250 taken\n" CLOSED("doubtful", "dot 0 " NO_CODE)},
    {.name = "garbage_in_the_envelope_defers",
     .text = PIPE1 "S: 250 ok\nS: what\n" CLOSED("deferred", "rcpt 0 " NO_CODE)},
    {.name = "a_code_below_200_is_a_protocol_error",
     .text = SCRIPT_PLAIN MAIL "S: 150 ok\n" CLOSED("deferred", "mail 0 " NO_CODE)},
    {.name = "a_code_above_599_is_a_protocol_error",
     .text = SCRIPT_PLAIN MAIL "S: 650 ok\n" CLOSED("deferred", "mail 0 " NO_CODE)},
    {.name = "a_reply_behind_the_one_to_the_dot_closes_but_delivered_stays",
     .text = PLAIN_DOT "S: 250 taken\nS: 250 taken\n! done closed\n= delivered dot 250 taken\n"
                       "# none 0 " SURPLUS,
     .pieces_matter = true},
    {.name = "421_behind_the_reply_to_the_dot_closes_but_delivered_stays",
     .text = PLAIN_DOT "S: 250 taken\nS: 421 bye\n! done closed\n= delivered dot 250 taken\n"
                       "# none 421 bye\n",
     .pieces_matter = true},

    /* ---- silence and loss */
    {.name = "no_reply_to_mail_within_five_minutes_defers",
     .text = SCRIPT_PLAIN MAIL
     "T 299\nT 1\n" CLOSED("deferred", "mail 0 timed out waiting for the reply to MAIL\n")},
    {.name = "no_reply_to_rcpt_within_five_minutes_defers",
     .text = PLAIN1
     "T 299\nT 1\n" CLOSED("deferred", "rcpt 0 timed out waiting for the reply to RCPT\n")},
    {.name = "no_reply_to_data_within_two_minutes_defers",
     .text = PLAIN_DATA
     "T 119\nT 1\n" CLOSED("deferred", "data 0 timed out waiting for the reply to DATA\n")},
    {.name = "a_reply_to_the_dot_after_590_seconds_delivers",
     .text = PLAIN_DOT "T 590\nS: 250 taken\n! done\n= delivered dot 250 taken\n"},
    {.name = "no_reply_to_the_dot_within_ten_minutes_is_doubtful",
     .text = PLAIN_DOT
     "T 599\nT 1\n" CLOSED("doubtful", "dot 0 timed out waiting for the reply to the final dot\n")},
    {.name = "progress_does_not_lengthen_the_wait_for_the_reply_to_the_dot",
     .text = PLAIN_DOT "T 599\nP\nT 1\n" CLOSED(
         "doubtful", "dot 0 timed out waiting for the reply to the final dot\n")},
    {.name = "a_connection_lost_after_the_dot_is_doubtful",
     .text = PLAIN_DOT LOST "= doubtful dot 0 connection reset\n# dot 0 connection reset\n"},
    {.name = "half_a_reply_to_the_dot_is_doubtful",
     .text = PLAIN_DOT "S: 250-taken\n" LOST
                       "= doubtful dot 0 connection reset\n# dot 0 connection reset\n"},
    {.name = "a_connection_lost_after_mail_defers",
     .text =
         SCRIPT_PLAIN MAIL LOST "= deferred mail 0 connection reset\n# mail 0 connection reset\n"},
    {.name = "250_and_a_reset_at_once_delivers",
     .text = PLAIN_DOT "S: 250 taken\n! done\n= delivered dot 250 taken\n" LOST
                       "# none 0 connection reset\n"},

    /* ---- parameters of MAIL, and what the server cannot take */
    {.name = "size_is_declared_when_announced_without_a_limit",
     .text = EHLO("S: 250 SIZE\n") "\nC: MAIL FROM:<from@me.example> SIZE=18\n"},
    {.name = "size_zero_is_no_limit",
     .text = EHLO("S: 250 SIZE 0\n") "\nC: MAIL FROM:<from@me.example> SIZE=18\n"},
    {.name = "a_limit_beyond_64_bits_is_no_obstacle",
     .text =
         EHLO("S: 250 SIZE 18446744073709551616\n") "\nC: MAIL FROM:<from@me.example> SIZE=18\n"},
    {.name = "a_message_of_just_the_announced_size_is_sent",
     .text = EHLO("S: 250 SIZE 18\n") "\nC: MAIL FROM:<from@me.example> SIZE=18\n"},
    {.name = "a_message_over_the_announced_size_is_bounced_here",
     .text =
         EHLO("S: 250 SIZE 17\n") " done\n= bounced mail 0 5.3.4 " BY_US
                                  "the message is larger than the SIZE it announced\nQ\nC: QUIT\n"},
    {.name = "an_8_bit_message_says_so",
     .text = EHLO("S: 250 8bitmime\n") "\nC: MAIL FROM:<from@me.example> BODY=8BITMIME\n",
     .needs = SMTP_NEED_8BITMIME},
    {.name = "a_7_bit_message_says_nothing", .text = EHLO("S: 250 8BITMIME\n") "\n" MAIL},
    {.name = "an_8_bit_message_without_8bitmime_is_bounced_here",
     .text = EHLO("S: 250 SMTPUTF8\n") " done\n= bounced mail 0 5.6.3 " BY_US
                                       "8-bit message, and 8BITMIME is not offered\nN\n! done\n= "
                                       "bounced mail 0 5.6.3 " BY_US
                                       "8-bit message, and 8BITMIME is not offered\n",
     .needs = SMTP_NEED_8BITMIME},
    {.name = "an_internationalized_message_says_so",
     .text = EHLO(
         "S: 250-SIZE 9000\nS: 250-8BITMIME\nS: 250 SMTPUTF8\n") "\nC: MAIL FROM:<from@me.example> "
                                                                 "SIZE=18 BODY=8BITMIME SMTPUTF8\n",
     .needs = SMTP_NEED_SMTPUTF8 | SMTP_NEED_8BITMIME},
    {.name = "an_internationalized_message_without_smtputf8_is_bounced_here",
     .text = EHLO(
         "S: 250 8BITMIME\n") " done\n= bounced mail 0 5.6.7 " BY_US
                              "internationalized message or address, and SMTPUTF8 is not offered\n",
     .needs = SMTP_NEED_SMTPUTF8},
    {.name = "an_internationalized_address_needs_smtputf8_even_when_nobody_said_so",
     .text = EHLO(
         "S: 250 8BITMIME\n") " done\n= bounced mail 0 5.6.7 " BY_US
                              "internationalized message or address, and SMTPUTF8 is not offered\n",
     .recipient = "j\xc3\xb6rg@to.example"},
    {.name = "the_null_return_path_is_sent_as_such",
     .text = SCRIPT_PLAIN "C: MAIL FROM:<>\n",
     .mail_from = ""},
    {.name = "a_quoted_local_part_is_sent_as_it_is",
     .text = SCRIPT_PLAIN MAIL "S: 250 ok\nC: RCPT TO:<\"a b\"@to.example>\n",
     .recipient = "\"a b\"@to.example"},

    /* ---- envelopes that must not be said */
    {.name = "a_return_path_with_crlf_is_refused_by_start",
     .text = "N refused\n",
     .mail_from = "a@me.example>\r\nRCPT TO:<b@to.example"},
    {.name = "a_recipient_with_lf_is_refused_by_start",
     .text = "N refused\n",
     .recipient = "a@to.example\nDATA"},
    {.name = "a_recipient_that_ends_its_path_is_refused_by_start",
     .text = "N refused\n",
     .recipient = "a@to.example> NOTIFY=NEVER"},
    {.name = "a_recipient_with_another_path_in_it_is_refused_by_start",
     .text = "N refused\n",
     .recipient = "a<b@to.example"},
    {.name = "a_recipient_with_del_is_refused_by_start",
     .text = "N refused\n",
     .recipient = "a\x7f@to.example"},
    {.name = "an_empty_recipient_is_refused_by_start", .text = "N refused\n", .recipient = ""},
};

int main(void)
{
    return script_main("smtp transaction", scripts, N_OF(scripts));
}
