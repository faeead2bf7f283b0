/* test_smtp_starttls.c - STARTTLS, TLS before the greeting, and AUTH. */
#include "tests/smtp/script.h"

#include <check.h>

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])

#define MAIL    "C: MAIL FROM:<from@me.example>\n"
#define GREETED "N\nS: 220 mx\nC: EHLO me.example\n"
#define OFFERED GREETED "S: 250-mx\nS: 250-PIPELINING\nS: 250 STARTTLS\nC: STARTTLS\n"
#define ASKED   OFFERED "S: 220 go\n! starttls\n"
#define SECURE  ASKED "K\nC: EHLO me.example\n"

#define CLOSED(why)  "! closed\n= deferred " why "# " why
#define REFUSED(why) "C: QUIT\nS: 221 bye\n" CLOSED(why)
#define INJECTED     "starttls 0 protocol error: plaintext behind the reply to STARTTLS\n"
#define BY_US        "decided here, not by the server: "
#define NOT_OFFERED  "starttls 0 4.7.4 " BY_US "TLS is required, and STARTTLS is not offered\n"
#define UNSAFE       "auth 0 4.7.0 " BY_US "a password is not sent without TLS and a verified server\n"
#define NO_MECHANISM                                                                               \
    "auth 0 4.7.0 " BY_US "no mechanism of AUTH is offered that fits what we have\n"

#define MAY                                                                                        \
    {                                                                                              \
        .tls = SMTP_TLS_MAY                                                                        \
    }
#define MUST                                                                                       \
    {                                                                                              \
        .tls = SMTP_TLS_MUST                                                                       \
    }
#define IMPLICIT                                                                                   \
    {                                                                                              \
        .tls = SMTP_TLS_IMPLICIT                                                                   \
    }
#define LOGIN                                                                                      \
    {                                                                                              \
        .tls = SMTP_TLS_MUST, .username = "user", .password = "p\xc3\xa4ss"                        \
    }
#define CRAM                                                                                       \
    {                                                                                              \
        .tls = SMTP_TLS_MUST, .username = "tim", .password = "tanstaaftanstaaf",                   \
        .hmac_md5 = mac_of_rfc2195                                                                 \
    }
#define OAUTH                                                                                      \
    {                                                                                              \
        .tls = SMTP_TLS_MUST, .username = "user", .token = "ya29.Token"                            \
    }
#define RFC2195_CHALLENGE  "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
#define RFC2195_ANSWER     "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
#define VERIFIED(keywords) ASKED "V\nC: EHLO me.example\nS: 250-mx\nS: 250 " keywords "\n"

/* Stands in for HMAC-MD5: the MAC of RFC 2195's example, for its key and challenge only. */
static void mac_of_rfc2195(const char *key, const uint8_t *message, size_t len, uint8_t ret_mac[16])
{
    static const char challenge[] = "<1896.697170952@postoffice.reston.mci.net>";
    static const uint8_t mac[16] = {0xb9, 0x13, 0xa6, 0x02, 0xc7, 0xed, 0xa7, 0xa4,
                                    0x95, 0xb4, 0xe6, 0xe7, 0x33, 0x4d, 0x38, 0x90};
    ck_assert_str_eq(key, "tanstaaftanstaaf");
    ck_assert_uint_eq(len, sizeof challenge - 1);
    ck_assert_int_eq(memcmp(message, challenge, len), 0);
    memcpy(ret_mac, mac, sizeof mac);
}

static const struct script scripts[] = {
    /* ---- STARTTLS (RFC 3207) */
    {.name = "starttls_is_not_used_where_nobody_asked_for_it",
     .text = GREETED "S: 250-mx\nS: 250 STARTTLS\n! ready\n" MAIL},
    {.name = "after_the_handshake_ehlo_is_said_again_and_the_transaction_follows",
     .text = SECURE "S: 250 mx\n! ready\n" MAIL "S: 250 ok\nC: RCPT TO:<r1@to.example>\n",
     .options = MUST},
    {.name = "what_was_offered_in_clear_is_forgotten",
     .text = SECURE "S: 250-mx\nS: 250 SIZE\n! ready\nC: MAIL FROM:<from@me.example> SIZE=18\n",
     .options = MAY},
    {.name = "starttls_offered_again_inside_of_tls_is_ignored",
     .text = SECURE "S: 250-mx\nS: 250 STARTTLS\n! ready\n" MAIL,
     .options = MUST},
    {.name = "helo_is_said_inside_of_tls_too",
     .text = SECURE "S: 502 no\nC: HELO me.example\nS: 250 mx\n! ready\n" MAIL,
     .options = MUST},
    {.name = "starttls_offered_to_pipelining_clients_still_goes_alone",
     .text = OFFERED "T 59\nS: 220 go\n! starttls\nT 59\nK\nC: EHLO me.example\n",
     .options = MAY},

    /* ---- policies */
    {.name = "may_goes_on_in_clear_where_it_is_not_offered",
     .text = GREETED "S: 250 mx\n! ready\n" MAIL,
     .options = MAY},
    {.name = "may_goes_on_in_clear_where_it_is_refused",
     .text = OFFERED "S: 454 4.7.0 no certificate today\n! ready\n" MAIL
                     "C: RCPT TO:<r1@to.example>\nC: DATA\n",
     .options = MAY},
    {.name = "may_goes_on_in_clear_where_it_is_not_understood",
     .text = OFFERED "S: 502 what\n! ready\n" MAIL "C: RCPT TO:<r1@to.example>\nC: DATA\n",
     .options = MAY},
    {.name = "must_ends_where_it_is_not_offered",
     .text = GREETED "S: 250-mx\nS: 250 SIZE\n" REFUSED(NOT_OFFERED),
     .options = MUST},
    {.name = "must_ends_after_helo_which_offers_nothing",
     .text = GREETED "S: 502 no\nC: HELO me.example\nS: 250 mx\n" REFUSED(NOT_OFFERED),
     .options = MUST},
    {.name = "must_ends_where_it_is_refused",
     .text = OFFERED "S: 454 4.7.0 not now\n" REFUSED("starttls 454 4.7.0 not now\n"),
     .options = MUST},
    {.name = "must_ends_where_it_is_known_to_be_broken",
     .text = GREETED "S: 250-mx\nS: 250 STARTTLS\n" REFUSED(NOT_OFFERED),
     .options = {.tls = SMTP_TLS_MUST, .avoid = SMTP_EXT_STARTTLS}},
    {.name = "may_avoids_it_where_it_is_known_to_be_broken",
     .text = GREETED "S: 250-mx\nS: 250 STARTTLS\n! ready\n" MAIL,
     .options = {.tls = SMTP_TLS_MAY, .avoid = SMTP_EXT_STARTTLS}},

    /* ---- what goes wrong around the handshake */
    {.name = "plaintext_behind_the_reply_to_starttls_ends_the_session",
     .text = OFFERED "S: 220 go\nS: 250 mx\n! closed starttls\n= deferred " INJECTED "# " INJECTED,
     .options = MUST,
     .pieces_matter = true},
    {.name = "plaintext_before_the_handshake_ends_the_session_under_may_too",
     .text = ASKED "S: 250 mx\n" CLOSED(INJECTED),
     .options = MAY},
    {.name = "421_to_starttls_defers",
     .text = OFFERED "S: 421 bye\n" CLOSED("starttls 421 bye\n"),
     .options = MAY},
    {.name = "3xx_to_starttls_is_a_protocol_error",
     .text = OFFERED
     "S: 334 hm\n" CLOSED("starttls 0 protocol error: a reply that belongs to another command\n"),
     .options = MAY},
    {.name = "no_reply_to_starttls_within_a_minute_defers",
     .text =
         OFFERED "T 59\nT 1\n" CLOSED("starttls 0 timed out waiting for the reply to STARTTLS\n"),
     .options = MAY},
    {.name = "no_handshake_within_a_minute_defers",
     .text =
         ASKED "T 59\nT 1\n" CLOSED("starttls 0 timed out waiting for the TLS handshake\n") "K\n",
     .options = MAY},
    {.name = "a_connection_lost_in_the_handshake_defers",
     .text = ASKED "E connection reset\n" CLOSED("starttls 0 connection reset\n"),
     .options = MUST},
    {.name = "a_failed_handshake_defers_with_its_reason",
     .text =
         ASKED "X certificate has expired\n" CLOSED("starttls 0 4.7.5 certificate has expired\n"),
     .options = MUST},
    {.name = "an_alert_in_the_place_of_the_first_reply_is_about_the_handshake",
     .text =
         SECURE "X alert: bad certificate\n" CLOSED("starttls 0 4.7.5 alert: bad certificate\n"),
     .options = MUST},
    {.name = "a_tls_failure_later_on_is_a_lost_connection",
     .text =
         SECURE "S: 250 mx\n! ready\n" MAIL "X bad record mac\n" CLOSED("mail 0 bad record mac\n"),
     .options = MUST},
    {.name = "a_tls_failure_after_the_dot_is_doubtful",
     .text = SECURE "S: 250 mx\n! ready\n" MAIL "S: 250 ok\nC: RCPT TO:<r1@to.example>\nS: 250 ok\n"
                    "C: DATA\nS: 354 go\n" SCRIPT_MESSAGE
                    "X truncated\n! closed\n= doubtful dot 0 truncated\n# dot 0 truncated\n",
     .options = MUST},
    {.name = "quit_during_the_handshake_comes_after_it",
     .text = ASKED "Q\nK\nC: EHLO me.example\nS: 250 mx\n! ready\n" MAIL,
     .options = MUST},

    /* ---- TLS from the beginning (RFC 8314 3.3) */
    {.name = "implicit_tls_comes_before_the_greeting",
     .text = "! starttls\nN\nK\nS: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250 STARTTLS\n! "
             "ready\n" MAIL,
     .options = IMPLICIT},
    {.name = "a_server_that_greets_in_clear_where_tls_should_be_is_refused",
     .text = "! starttls\nN\nS: 220 mx\n" CLOSED(INJECTED),
     .options = IMPLICIT},
    {.name = "an_alert_in_the_place_of_the_greeting_is_about_the_handshake",
     .text = "! starttls\nN\nK\nX alert\n" CLOSED("starttls 0 4.7.5 alert\n"),
     .options = IMPLICIT},

    /* ---- AUTH (RFC 4954) */
    {.name = "auth_plain_goes_with_its_initial_response",
     .text = VERIFIED("AUTH LOGIN PLAIN") "C: AUTH PLAIN AHVzZXIAcMOkc3M=\n"
                                          "S: 235 2.7.0 welcome\n! ready\n" MAIL,
     .options = LOGIN},
    {.name = "auth_login_is_used_where_there_is_no_plain",
     .text = VERIFIED("AUTH=LOGIN") "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\n"
                                    "S: 334 UGFzc3dvcmQ6\nC: cMOkc3M=\nS: 235 ok\n! ready\n" MAIL,
     .options = LOGIN},
    {.name = "a_wrong_password_defers_and_says_quit",
     .text = VERIFIED("AUTH PLAIN") "C: AUTH PLAIN AHVzZXIAcMOkc3M=\nS: 535 5.7.8 who\n" REFUSED(
         "auth 535 5.7.8 who\n"),
     .options = LOGIN},
    {.name = "a_refused_user_name_defers_and_says_quit",
     .text = VERIFIED("AUTH LOGIN") "C: AUTH LOGIN\nS: 334 u\nC: dXNlcg==\nS: 535 who\n" REFUSED(
         "auth 535 who\n"),
     .options = LOGIN},
    {.name = "auth_plain_has_nothing_more_to_say",
     .text = VERIFIED("AUTH PLAIN") "C: AUTH PLAIN AHVzZXIAcMOkc3M=\nS: 334 more\n" REFUSED(
         "auth 334 more\n"),
     .options = LOGIN},
    {.name = "auth_login_has_only_two_words",
     .text = VERIFIED("AUTH LOGIN") "C: AUTH LOGIN\nS: 334 u\nC: dXNlcg==\nS: 334 p\n"
                                    "C: cMOkc3M=\nS: 334 more\n" REFUSED("auth 334 more\n"),
     .options = LOGIN},
    {.name = "no_password_without_a_mechanism_that_we_speak",
     .text = VERIFIED("AUTH CRAM-MD5") REFUSED(NO_MECHANISM),
     .options = LOGIN},
    {.name = "auth_cram_md5_answers_the_challenge_with_a_mac", /* the example of RFC 2195 */
     .text = VERIFIED("AUTH CRAM-MD5") "C: AUTH CRAM-MD5\nS: 334 " RFC2195_CHALLENGE
                                       "\nC: " RFC2195_ANSWER "\nS: 235 ok\n! ready\n" MAIL,
     .options = CRAM},
    {.name = "auth_cram_md5_comes_after_the_others",
     .text = VERIFIED("AUTH CRAM-MD5 LOGIN") "C: AUTH LOGIN\n",
     .options = CRAM},
    {.name = "a_refused_answer_to_a_challenge_defers",
     .text =
         VERIFIED("AUTH CRAM-MD5") "C: AUTH CRAM-MD5\nS: 334 " RFC2195_CHALLENGE
                                   "\nC: " RFC2195_ANSWER "\nS: 535 no\n" REFUSED("auth 535 no\n"),
     .options = CRAM},
    {.name = "a_second_challenge_is_refused",
     .text = VERIFIED("AUTH CRAM-MD5") "C: AUTH CRAM-MD5\nS: 334 " RFC2195_CHALLENGE
                                       "\nC: " RFC2195_ANSWER
                                       "\nS: 334 more\n" REFUSED("auth 334 more\n"),
     .options = CRAM},
    {.name = "auth_xoauth2_says_user_and_token",
     .text = VERIFIED(
         "AUTH PLAIN XOAUTH2") "C: AUTH XOAUTH2 dXNlcj11c2VyAWF1dGg9QmVhcmVyIHlhMjkuVG9rZW4BAQ==\n"
                               "S: 235 ok\n! ready\n" MAIL,
     .options = OAUTH},
    {.name = "an_error_of_xoauth2_is_fetched_with_an_empty_line",
     .text = VERIFIED(
         "AUTH XOAUTH2") "C: AUTH XOAUTH2 dXNlcj11c2VyAWF1dGg9QmVhcmVyIHlhMjkuVG9rZW4BAQ==\n"
                         "S: 334 eyJzdGF0dXMiOiI0MDAifQ==\nC: \nS: 535 5.7.8 expired\n" REFUSED(
                             "auth 535 5.7.8 expired\n"),
     .options = OAUTH},
    {.name = "a_token_is_never_said_as_a_password",
     .text = VERIFIED("AUTH PLAIN LOGIN") REFUSED(NO_MECHANISM),
     .options = OAUTH},
    {.name = "no_password_in_clear",
     .text = GREETED "S: 250-mx\nS: 250 AUTH PLAIN\n" REFUSED(UNSAFE),
     .options = {.username = "user", .password = "pass"}},
    {.name = "no_password_in_clear_after_a_refused_starttls",
     .text = OFFERED "S: 454 no\n" REFUSED(UNSAFE),
     .options = {.tls = SMTP_TLS_MAY, .username = "user", .password = "pass"}},
    {.name = "no_password_for_a_server_that_is_not_verified",
     .text = SECURE "S: 250-mx\nS: 250 AUTH PLAIN\n" REFUSED(UNSAFE),
     .options = LOGIN},
    {.name = "no_reply_to_auth_within_five_minutes_defers",
     .text = VERIFIED("AUTH PLAIN") "C: AUTH PLAIN AHVzZXIAcMOkc3M=\nT 299\nT 1\n" CLOSED(
         "auth 0 timed out waiting for the reply to AUTH\n"),
     .options = LOGIN},
};

int main(void)
{
    return script_main("smtp starttls", scripts, N_OF(scripts));
}
