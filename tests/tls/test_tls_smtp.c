/* test_tls_smtp.c - mail over TLS: the two engines joined, against a server that does both. */
#include "tests/dataplane/tap.h"
#include "tests/tls/joined.h"
#include "tests/tls/peer.h"

#include <unistd.h>

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])
#define MESSAGE "Subject: t\r\n\r\n.dots\r\nend\r\n"

static struct pki_cert ca, leaf, other;
static struct tls_context *context;
static struct joined joined;
static struct smtp_recipient recipient;
static struct smtp_transaction transaction;
static uint64_t now_ns;

/* ---- the server -------------------------------------------------------------------------- */

/* What is special about it. */
enum trick {
    HONEST,
    INJECTS,    /* plaintext in one piece with the reply to STARTTLS */
    NOT_TLS,    /* goes on in clear after it */
    HANGS_UP,   /* instead of a handshake */
    WANTS_CERT, /* refuses us when the handshake is done */
    LOST_AFTER_DOT,
    CLOSES_AFTER_DOT, /* with close_notify */
};

static struct server {
    struct peer tls;
    enum trick trick;
    bool tls_on, in_data, gone;
    char lines[65536]; /* from the client, not yet understood */
    uint32_t len;
    char message[65536];
    uint32_t message_len, n_messages;
    char out[4096]; /* in clear */
    uint32_t out_len;
    char commands[4096]; /* verbs, and "+" where TLS began */
} server;

static void server_says(const char *text)
{
    if (server.tls_on) {
        peer_say(&server.tls, text);
    } else {
        server.out_len += (uint32_t)sprintf(server.out + server.out_len, "%s", text);
    }
}

static void note(const char *verb)
{
    size_t len = strlen(server.commands);
    (void)snprintf(server.commands + len, sizeof server.commands - len, "%.4s", verb);
}

static void server_starttls(void)
{
    server_says(server.trick == INJECTS ? "220 go\r\n250 injected\r\n" : "220 go\r\n");
    if (server.trick == NOT_TLS) {
        return;
    }
    server.gone = server.trick == HANGS_UP;
    server.tls_on = true;
    note("+");
}

static void server_takes_message(void)
{
    server.n_messages++;
    server.gone = server.trick == LOST_AFTER_DOT;
    if (server.trick == CLOSES_AFTER_DOT) {
        peer_close(&server.tls);
    } else if (!server.gone) {
        server_says("250 2.0.0 taken\r\n");
    }
}

static void server_takes_line(const char *line, uint32_t len)
{
    if (server.in_data) {
        server.in_data = strncmp(line, ".\r\n", len) != 0;
        if (server.in_data) {
            uint32_t dot = line[0] == '.';
            memcpy(server.message + server.message_len, line + dot, len - dot);
            server.message_len += len - dot;
        } else {
            server_takes_message();
        }
        return;
    }
    note(line);
    if (strncmp(line, "EHLO", 4) == 0) {
        server_says(server.tls_on ? "250-mx\r\n250 PIPELINING\r\n" : "250-mx\r\n250 STARTTLS\r\n");
    } else if (strncmp(line, "STARTTLS", 8) == 0) {
        server_starttls();
    } else if (strncmp(line, "DATA", 4) == 0) {
        server.in_data = true;
        server.message_len = 0;
        server_says("354 go\r\n");
    } else {
        server_says(strncmp(line, "QUIT", 4) == 0 ? "221 bye\r\n" : "250 ok\r\n");
    }
}

static void server_reads(const uint8_t *bytes, uint32_t len)
{
    const char *end;
    memcpy(server.lines + server.len, bytes, len);
    server.len += len;
    while ((end = memchr(server.lines, '\n', server.len)) != NULL) {
        uint32_t n = (uint32_t)(end + 1 - server.lines);
        char line[4096];
        memcpy(line, server.lines, n);
        line[n] = '\0';
        server.len -= n;
        memmove(server.lines, server.lines + n, server.len);
        server_takes_line(line, n);
    }
}

static void server_input(const uint8_t *bytes, uint32_t len)
{
    uint8_t plain[4096];
    int n;
    if (!server.tls_on) {
        server_reads(bytes, len);
        return;
    }
    ck_assert_int_eq(BIO_write(server.tls.in, bytes, (int)len), (int)len);
    while ((n = SSL_read(server.tls.ssl, plain, sizeof plain)) > 0) {
        server_reads(plain, (uint32_t)n);
    }
}

static uint32_t server_output(uint8_t *bytes, uint32_t size)
{
    uint32_t len = server.out_len;
    if (len > 0) {
        memcpy(bytes, server.out, len);
        server.out_len = 0;
        return len;
    }
    int n = server.tls_on ? BIO_read(server.tls.out, bytes, (int)size) : 0;
    return n > 0 ? (uint32_t)n : 0;
}

static void server_begin(enum trick trick, const struct pki_cert *cert)
{
    const struct peer_options options = {.leaf = cert, .wants_client_cert = trick == WANTS_CERT};
    memset(&server, 0, sizeof server);
    server.trick = trick;
    peer_init(&server.tls, &options);
    server_says("220 mx\r\n");
}

/* ---- the client -------------------------------------------------------------------------- */

static void setup(void)
{
    char ca_file[] = "/tmp/wp-tls-ca-XXXXXX";
    now_ns = NS_PER_S;
    pki_make(&ca, &(struct pki_request){.common_name = "CA", .is_ca = true});
    pki_make(&leaf,
             &(struct pki_request){.common_name = "mx", .san = "DNS:mx.example", .issuer = &ca});
    pki_make(&other, &(struct pki_request){.common_name = "mx", .san = "DNS:other.example"});
    pki_write(&ca, ca_file);
    const struct tls_config config = {.ca_file = ca_file};
    ck_assert_int_eq(tls_context_new(&config, &context), TLS_E_OK);
    ck_assert_int_eq(unlink(ca_file), 0);
}

static void teardown(void)
{
    joined_free(&joined);
    peer_free(&server.tls);
    tls_context_free(context);
    pki_free(&ca);
    pki_free(&leaf);
    pki_free(&other);
}

static const struct tls_request verify = {
    .policy = TLS_POLICY_VERIFY, .server_name = "mx.example", .wall_s = PKI_NOW_S};
static const struct tls_request may = {
    .policy = TLS_POLICY_MAY, .server_name = "mx.example", .wall_s = PKI_NOW_S};

static void start_message(void)
{
    static const uint32_t stuff[] = {14};
    recipient = (struct smtp_recipient){.address = "r@to.example"};
    transaction = (struct smtp_transaction){
        .mail_from = "from@me.example",
        .recipients = &recipient,
        .n_recipients = 1,
        .body = {.data = (const uint8_t *)MESSAGE,
                 .len = strlen(MESSAGE),
                 .stuff = stuff,
                 .n_stuff = 1},
    };
    ck_assert(smtp_client_start(&joined.smtp, now_ns, &transaction));
}

static void client_begin(enum smtp_tls tls, const struct tls_request *request)
{
    const struct smtp_options options = {.tls = tls};
    joined_begin(&joined, now_ns, context, &options, request);
    start_message();
}

/* Until neither has more to say; `piece`: bytes to the client at a time. */
static void talk(uint32_t piece)
{
    static uint8_t bytes[65536];
    uint32_t len, moved;
    do {
        moved = 0;
        while ((len = joined_output(&joined, now_ns, bytes, sizeof bytes)) > 0) {
            server_input(bytes, len);
            moved += len;
        }
        while (!server.gone && (len = server_output(bytes, sizeof bytes)) > 0) {
            for (uint32_t at = 0; at < len; at += piece) {
                joined_input(&joined, now_ns, bytes + at, len - at < piece ? len - at : piece);
            }
            moved += len;
        }
    } while (moved > 0);
    if (server.gone) {
        joined_eof(&joined, now_ns, "connection reset");
    }
}

static void check_result(enum outcome_kind kind, enum outcome_stage stage, const char *text)
{
    ck_assert_str_eq(outcome_kind_text(recipient.kind), outcome_kind_text(kind));
    ck_assert_str_eq(outcome_stage_text((enum outcome_stage)recipient.reply.stage),
                     outcome_stage_text(stage));
    ck_assert_msg(strstr(recipient.reply.text, text) != NULL, "'%s' is not in '%s'", text,
                  recipient.reply.text);
}

/* ---- tests ------------------------------------------------------------------------------- */

START_TEST(a_message_is_delivered_over_tls)
{
    static const uint32_t pieces[] = {65536, 1, 7, 1448};
    server_begin(HONEST, &leaf);
    client_begin(SMTP_TLS_MUST, &verify);
    talk(pieces[_i]);
    check_result(OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, "taken");
    ck_assert_str_eq(server.commands, "EHLOSTAR+EHLOMAILRCPTDATA");
    ck_assert_uint_eq(server.message_len, strlen(MESSAGE));
    ck_assert_mem_eq(server.message, MESSAGE, strlen(MESSAGE));
    ck_assert(smtp_client_is_secure(&joined.smtp));
}
END_TEST

START_TEST(a_session_carries_several_messages_and_says_quit_before_close_notify)
{
    server_begin(HONEST, &leaf);
    client_begin(SMTP_TLS_MUST, &verify);
    talk(65536);
    start_message();
    talk(65536);
    check_result(OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, "taken");
    smtp_client_quit(&joined.smtp, now_ns);
    talk(65536);
    ck_assert(joined.closed);
    ck_assert_str_eq(server.commands, "EHLOSTAR+EHLOMAILRCPTDATAMAILRCPTDATAQUIT");
    ck_assert_uint_eq(smtp_client_close_reply(&joined.smtp)->code, 221);
    ck_assert_int_eq(SSL_get_shutdown(server.tls.ssl), SSL_RECEIVED_SHUTDOWN);
}
END_TEST

START_TEST(a_wrong_certificate_defers_before_anything_is_said)
{
    server_begin(HONEST, &other);
    client_begin(SMTP_TLS_MUST, &verify);
    talk(65536);
    check_result(OUTCOME_DEFERRED, OUTCOME_STAGE_STARTTLS, "self-signed certificate");
    ck_assert_mem_eq(recipient.reply.enhanced, "\4\7\5", 3);
    ck_assert_str_eq(server.commands, "EHLOSTAR+");
    ck_assert(smtp_client_untouched(&joined.smtp));
    ck_assert_int_eq(tls_client_result(&joined.tls)->failure, TLS_FAILURE_NOT_TRUSTED);
}
END_TEST

START_TEST(under_may_any_certificate_will_do)
{
    server_begin(HONEST, &other);
    client_begin(SMTP_TLS_MAY, &may);
    talk(65536);
    check_result(OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, "taken");
    ck_assert(!tls_client_result(&joined.tls)->verified);
}
END_TEST

START_TEST(injected_plaintext_ends_the_session_before_the_handshake)
{
    server_begin(INJECTS, &leaf);
    client_begin(SMTP_TLS_MUST, &verify);
    talk(65536);
    check_result(OUTCOME_DEFERRED, OUTCOME_STAGE_STARTTLS, "plaintext behind the reply");
    ck_assert(!joined.tls_on);
    ck_assert(smtp_client_protocol_error(&joined.smtp));
}
END_TEST

START_TEST(injected_plaintext_in_a_piece_of_its_own_is_no_handshake)
{
    server_begin(INJECTS, &leaf);
    client_begin(SMTP_TLS_MUST, &verify);
    talk(8); /* "220 go" is a piece */
    check_result(OUTCOME_DEFERRED, OUTCOME_STAGE_STARTTLS, "");
    ck_assert(joined.tls_on);
    ck_assert_str_eq(server.commands, "EHLOSTAR+");
    ck_assert_int_eq(tls_client_result(&joined.tls)->failure, TLS_FAILURE_VALIDATION);
}
END_TEST

/* Opportunistic TLS that does not work: the same address again, in clear (RFC 7435). */
START_TEST(a_broken_handshake_under_may_is_followed_by_a_session_in_clear)
{
    static const enum trick tricks[] = {HANGS_UP, WANTS_CERT, NOT_TLS};
    server_begin(tricks[_i], &leaf);
    client_begin(SMTP_TLS_MAY, &may);
    talk(65536);
    joined_eof(&joined, now_ns, "connection reset");
    check_result(OUTCOME_DEFERRED, OUTCOME_STAGE_STARTTLS, "");
    ck_assert(smtp_client_untouched(&joined.smtp));
    joined_free(&joined);
    peer_free(&server.tls);
    server_begin(HONEST, &leaf);
    client_begin(SMTP_TLS_NONE, &may);
    talk(65536);
    check_result(OUTCOME_DELIVERED, OUTCOME_STAGE_DOT, "taken");
    ck_assert_str_eq(server.commands, "EHLOMAILRCPTDATA");
}
END_TEST

/* TLS 1.3: the client is done first, and has even said EHLO. */
START_TEST(a_refusal_in_the_place_of_the_first_reply_is_about_tls)
{
    server_begin(WANTS_CERT, &leaf);
    client_begin(SMTP_TLS_MUST, &verify);
    talk(65536);
    check_result(OUTCOME_DEFERRED, OUTCOME_STAGE_STARTTLS, "certificate required");
}
END_TEST

START_TEST(an_end_after_the_dot_is_doubtful_over_tls_too)
{
    server_begin(_i ? CLOSES_AFTER_DOT : LOST_AFTER_DOT, &leaf);
    client_begin(SMTP_TLS_MUST, &verify);
    talk(65536);
    check_result(OUTCOME_DOUBTFUL, OUTCOME_STAGE_DOT,
                 _i ? "closed the TLS session" : "connection reset");
    ck_assert_uint_eq(server.n_messages, 1);
}
END_TEST

START_TEST(no_block_for_a_handshake_defers)
{
    struct tls_client clients[1024];
    uint32_t n = 0;
    while (tls_client_init(&clients[n], context, now_ns, &may) == TLS_E_OK) {
        n++;
    }
    server_begin(HONEST, &leaf);
    client_begin(SMTP_TLS_MUST, &verify);
    talk(65536);
    check_result(OUTCOME_DEFERRED, OUTCOME_STAGE_STARTTLS, "no block is free");
    while (n > 0) {
        tls_client_free(&clients[--n]);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("smtp");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_message_is_delivered_over_tls, 0, 4);
    tcase_add_test(tc, a_session_carries_several_messages_and_says_quit_before_close_notify);
    tcase_add_test(tc, a_wrong_certificate_defers_before_anything_is_said);
    tcase_add_test(tc, under_may_any_certificate_will_do);
    tcase_add_test(tc, injected_plaintext_ends_the_session_before_the_handshake);
    tcase_add_test(tc, injected_plaintext_in_a_piece_of_its_own_is_no_handshake);
    tcase_add_loop_test(tc, a_broken_handshake_under_may_is_followed_by_a_session_in_clear, 0, 3);
    tcase_add_test(tc, a_refusal_in_the_place_of_the_first_reply_is_about_tls);
    tcase_add_loop_test(tc, an_end_after_the_dot_is_doubtful_over_tls_too, 0, 2);
    tcase_add_test(tc, no_block_for_a_handshake_defers);
    return tap_run("tls smtp", tc);
}
