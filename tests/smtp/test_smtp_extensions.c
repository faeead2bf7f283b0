/* test_smtp_extensions.c - BDAT, the parameters of DSN and REQUIRETLS, what a server lacks, what
 * the caller wants to be avoided, and the probe of an idle session. */
#include "tests/smtp/script.h"

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])

#define MAIL  "C: MAIL FROM:<from@me.example>\n"
#define RCPT1 "C: RCPT TO:<r1@to.example>\n"
#define RCPT2 "C: RCPT TO:<r2@to.example>\n"

#define EHLO(keywords) "N\nS: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250 " keywords "\n! ready"
#define CHUNKING       EHLO("CHUNKING") "\n" MAIL "S: 250 ok\n" RCPT1 "S: 250 ok\n"
#define TLS(keywords)                                                                              \
    "N\nS: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n"       \
    "! starttls\nV\nC: EHLO me.example\nS: 250-mx\nS: 250 " keywords "\n! ready"

#define BDAT                                                                                       \
    {                                                                                              \
        .chunking = true                                                                           \
    }
#define MUST                                                                                       \
    {                                                                                              \
        .tls = SMTP_TLS_MUST                                                                       \
    }
#define BY_US       "decided here, not by the server: "
#define SURPLUS     "protocol error: a reply that nothing had asked for\n"
#define OUT_OF_STEP "protocol error: a reply that belongs to another command\n"
#define DELIVERED                                                                                  \
    MAIL "S: 250 ok\n" RCPT1 "S: 250 ok\nC: DATA\nS: 354 go\n" SCRIPT_MESSAGE                      \
         "S: 250 taken\n! done\n= delivered dot 250 taken\n"
#define CLOSED(kind, why) "! closed\n= " kind " " why "# " why

static const struct script scripts[] = {
    /* ---- BDAT (RFC 3030) */
    {.name = "a_message_goes_as_one_chunk",
     .text = CHUNKING SCRIPT_CHUNK "S: 250 taken\n! done\n= delivered dot 250 taken\nN\n" MAIL,
     .options = BDAT},
    {.name = "bdat_is_not_used_unless_it_is_asked_for", .text = EHLO("CHUNKING") "\n" DELIVERED},
    {.name = "bdat_is_not_used_where_it_is_not_offered",
     .text = EHLO("SIZE 0") "\nC: MAIL FROM:<from@me.example> SIZE=18\nS: 250 ok\n" RCPT1
                            "S: 250 ok\nC: DATA\n",
     .options = BDAT},
    {.name = "the_chunk_waits_for_an_accepted_recipient_with_pipelining_too",
     .text = "N\nS: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250-PIPELINING\nS: 250 CHUNKING\n"
             "! ready\n" MAIL RCPT1 RCPT2 "S: 250 ok\nS: 550 no\nS: 250 ok\n" SCRIPT_CHUNK
             "S: 250 taken\n! done\n= bounced rcpt 550 no\n= delivered dot 250 taken\n",
     .n_recipients = 2,
     .options = BDAT},
    {.name = "no_chunk_is_sent_when_all_recipients_are_refused",
     .text = EHLO("CHUNKING") "\n" MAIL "S: 250 ok\n" RCPT1 "S: 550 no\n! done\n"
                              "= bounced rcpt 550 no\nN\nC: RSET\n",
     .options = BDAT},
    {.name = "no_chunk_is_sent_when_mail_is_refused",
     .text = EHLO("CHUNKING") "\n" MAIL "S: 450 no\n! done\n= deferred mail 450 no\n",
     .options = BDAT},
    {.name = "a_refused_chunk_bounces_and_rset_follows",
     .text = CHUNKING SCRIPT_CHUNK "S: 554 5.7.1 spam\n! done\n= bounced dot 554 5.7.1 spam\n"
                                   "N\nC: RSET\nS: 250 ok\n" MAIL,
     .options = BDAT},
    {.name = "a_server_that_does_not_understand_its_own_bdat_defers",
     .text = CHUNKING SCRIPT_CHUNK "S: 502 what\n! done\n= deferred dot 502 what\nC: QUIT\n",
     .options = BDAT},
    {.name = "503_to_a_chunk_is_not_about_the_message",
     .text =
         CHUNKING SCRIPT_CHUNK "S: 503 5.5.1 no\n! done\n= deferred dot 503 5.5.1 no\nC: QUIT\n",
     .options = BDAT},
    {.name = "a_chunk_without_reply_is_doubtful",
     .text = CHUNKING SCRIPT_CHUNK
     "T 599\nT 1\n" CLOSED("doubtful", "dot 0 timed out waiting for the reply to the final dot\n"),
     .options = BDAT},
    {.name = "a_connection_lost_after_the_chunk_is_doubtful",
     .text = CHUNKING SCRIPT_CHUNK "E lost\n" CLOSED("doubtful", "dot 0 lost\n"),
     .options = BDAT},
    {.name = "354_to_a_chunk_is_a_protocol_error",
     .text = CHUNKING SCRIPT_CHUNK "S: 354 go\n" CLOSED("doubtful", "dot 0 " OUT_OF_STEP),
     .options = BDAT},
    {.name = "a_payload_taken_for_commands_ends_the_session_but_not_the_delivery",
     .text = CHUNKING SCRIPT_CHUNK "S: 250 taken\nS: 500 what\n! done closed\n"
                                   "= delivered dot 250 taken\n# none 0 " SURPLUS,
     .options = BDAT,
     .pieces_matter = true},
    {.name = "chunking_can_be_avoided_where_it_is_broken",
     .text = EHLO("CHUNKING") "\n" DELIVERED,
     .options = {.chunking = true, .avoid = SMTP_EXT_CHUNKING}},

    /* ---- DSN (RFC 3461) */
    {.name = "all_dsn_parameters_go_where_dsn_is_offered",
     .text = EHLO("DSN") "\nC: MAIL FROM:<from@me.example> RET=HDRS ENVID=QQ314159\nS: 250 ok\n"
                         "C: RCPT TO:<r1@to.example> NOTIFY=SUCCESS,FAILURE,DELAY "
                         "ORCPT=rfc822;a@to.example\n",
     .ret = SMTP_RET_HDRS,
     .envid = "QQ314159",
     .notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY,
     .orcpt = "rfc822;a@to.example"},
    {.name = "no_dsn_parameter_goes_where_dsn_is_not_offered",
     .text = EHLO("HELP") "\n" MAIL "S: 250 ok\n" RCPT1,
     .ret = SMTP_RET_FULL,
     .envid = "e",
     .notify = SMTP_NOTIFY_NEVER,
     .orcpt = "rfc822;a@to.example"},
    {.name = "notify_never_stands_alone",
     .text = EHLO("DSN") "\nC: MAIL FROM:<from@me.example> RET=FULL\nS: 250 ok\n"
                         "C: RCPT TO:<r1@to.example> NOTIFY=NEVER\n",
     .ret = SMTP_RET_FULL,
     .notify = SMTP_NOTIFY_NEVER},
    {.name = "envid_and_orcpt_are_encoded_as_xtext",
     .text = EHLO("DSN") "\nC: MAIL FROM:<from@me.example> ENVID=a+20b+2Bc+3Dd\\~\nS: 250 ok\n"
                         "C: RCPT TO:<r1@to.example> ORCPT=rfc822;u+2Bx+3Dy\\@to.example\n",
     .envid = "a b+c=d\\~",
     .orcpt = "rfc822;u+x=y\\@to.example"},
    {.name = "an_internationalized_orcpt_is_ascii_on_the_wire",
     .text =
         EHLO("DSN") "\nC: MAIL FROM:<from@me.example>\nS: 250 ok\n"
                     "C: RCPT TO:<r1@to.example> "
                     "ORCPT=utf-8;\\x{80}j\\x{F6}rg\\x{2B}\\x{4E2D}\\x{1F4EC}\\x{5C}@to.example\n",
     .orcpt = "utf-8;\xc2\x80j\xc3\xb6rg+\xe4\xb8\xad\xf0\x9f\x93\xac\\@to.example"},

    /* ---- envelopes whose DSN parameters must not be said */
    {.name = "notify_never_with_another_is_refused_by_start",
     .text = "N refused\n",
     .notify = SMTP_NOTIFY_NEVER | SMTP_NOTIFY_DELAY},
    {.name = "an_unknown_notify_is_refused_by_start", .text = "N refused\n", .notify = 16},
    {.name = "an_empty_envid_is_refused_by_start", .text = "N refused\n", .envid = ""},
    {.name = "an_envid_with_crlf_is_refused_by_start", .text = "N refused\n", .envid = "a\r\nDATA"},
    {.name = "an_orcpt_without_type_is_refused_by_start",
     .text = "N refused\n",
     .orcpt = "a@to.example"},
    {.name = "an_orcpt_with_an_empty_type_is_refused_by_start",
     .text = "N refused\n",
     .orcpt = ";a@to.example"},
    {.name = "an_orcpt_without_address_is_refused_by_start",
     .text = "N refused\n",
     .orcpt = "rfc822;"},
    {.name = "an_orcpt_with_a_space_in_its_type_is_refused_by_start",
     .text = "N refused\n",
     .orcpt = "rfc 822;a"},
    {.name = "an_orcpt_with_lf_is_refused_by_start", .text = "N refused\n", .orcpt = "rfc822;a\nb"},
    {.name = "an_8_bit_orcpt_of_type_rfc822_is_refused_by_start",
     .text = "N refused\n",
     .orcpt = "rfc822;j\xc3\xb6rg@to.example"},
    {.name = "an_orcpt_with_half_a_character_is_refused_by_start",
     .text = "N refused\n",
     .orcpt = "utf-8;j\xc3"},
    {.name = "an_orcpt_with_an_overlong_character_is_refused_by_start",
     .text = "N refused\n",
     .orcpt = "utf-8;\xe0\x80\xaf"},
    {.name = "an_orcpt_with_a_surrogate_is_refused_by_start",
     .text = "N refused\n",
     .orcpt = "utf-8;\xed\xa0\x80"},
    {.name = "an_orcpt_with_the_last_surrogate_is_refused_by_start",
     .text = "N refused\n",
     .orcpt = "utf-8;\xed\xbf\xbf"},
    {.name = "an_orcpt_beyond_unicode_is_refused_by_start",
     .text = "N refused\n",
     .orcpt = "utf-8;\xf4\x90\x80\x80"},

    /* ---- REQUIRETLS (RFC 8689) */
    {.name = "requiretls_is_asked_for_over_verified_tls",
     .text = TLS("REQUIRETLS") "\nC: MAIL FROM:<from@me.example> REQUIRETLS\n",
     .needs = SMTP_NEED_REQUIRETLS,
     .options = MUST},
    {.name = "with_requiretls_only_the_header_may_be_returned",
     .text =
         "N\nS: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n"
         "! starttls\nV\nC: EHLO me.example\nS: 250-mx\nS: 250-DSN\nS: 250 REQUIRETLS\n! ready\n"
         "C: MAIL FROM:<from@me.example> REQUIRETLS RET=HDRS\n",
     .needs = SMTP_NEED_REQUIRETLS,
     .ret = SMTP_RET_FULL,
     .options = MUST},
    {.name = "requiretls_that_is_not_offered_bounces_here",
     .text = TLS("DSN") " done\n= bounced mail 0 5.7.30 " BY_US
                        "REQUIRETLS was asked for, and it is not offered\n",
     .needs = SMTP_NEED_REQUIRETLS,
     .options = MUST},
    {.name = "requiretls_over_unverified_tls_bounces_here",
     .text =
         "N\nS: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n"
         "! starttls\nK\nC: EHLO me.example\nS: 250-mx\nS: 250 REQUIRETLS\n! ready done\n"
         "= bounced mail 0 5.7.10 " BY_US
         "REQUIRETLS was asked for, and the server is not verified\n",
     .needs = SMTP_NEED_REQUIRETLS,
     .options = MUST},
    {.name = "requiretls_in_clear_bounces_here",
     .text = EHLO("REQUIRETLS") " done\n= bounced mail 0 5.7.10 " BY_US
                                "REQUIRETLS was asked for, and the server is not verified\n",
     .needs = SMTP_NEED_REQUIRETLS},

    /* ---- what is known to be broken there */
    {.name = "pipelining_can_be_avoided",
     .text = SCRIPT_PIPE MAIL "S: 250 ok\n" RCPT1,
     .options = {.avoid = SMTP_EXT_PIPELINING}},
    {.name = "size_can_be_avoided_with_its_limit",
     .text = EHLO("SIZE 1") "\n" MAIL,
     .options = {.avoid = SMTP_EXT_SIZE}},

    /* ---- the probe */
    {.name = "a_session_that_was_idle_for_long_is_probed_with_rset",
     .text = SCRIPT_PLAIN DELIVERED "T 31\nN\nC: RSET\nS: 250 ok\n" DELIVERED "T 30\nN\n" DELIVERED,
     .options = {.probe_ms = 30000}},
    {.name = "the_first_transaction_needs_no_probe",
     .text = "S: 220 mx\nC: EHLO me.example\nS: 250 mx\n! ready\nT 5\nN\n" DELIVERED,
     .options = {.probe_ms = 30000}},
    {.name = "421_to_the_probe_defers",
     .text = SCRIPT_PLAIN DELIVERED
     "T 60\nN\nC: RSET\nS: 421 idle too long\n" CLOSED("deferred", "rset 421 idle too long\n"),
     .options = {.probe_ms = 30000}},
};

int main(void)
{
    return script_main("smtp extensions", scripts, N_OF(scripts));
}
