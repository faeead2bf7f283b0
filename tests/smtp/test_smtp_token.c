/* test_smtp_token.c - XOAUTH2 with tokens of every length: the line goes out in parts and is whole
 * at the server. */
#include "dataplane/smtp_client.h"
#include "tests/dataplane/tap.h"

static struct smtp_client client;

static void server_says(const char *bytes)
{
    smtp_client_input(&client, NS_PER_S, (const uint8_t *)bytes, (uint32_t)strlen(bytes));
}

static size_t take(char *line, size_t room)
{
    struct smtp_piece piece;
    size_t len = 0;
    while (smtp_client_output(&client, NS_PER_S, SMTP_COMMAND_MAX, &piece)) {
        ck_assert(piece.len > 0 && piece.len <= SMTP_COMMAND_MAX && len + piece.len < room);
        memcpy(line + len, piece.data, piece.len);
        len += piece.len;
    }
    line[len] = '\0';
    return len;
}

/* RFC 4648 4 */
static size_t base64_of(const char *text, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = 0;
        for (size_t k = 0; k < 3; k++) {
            three = three << 8 | (i + k < len ? (uint8_t)text[i + k] : 0u);
        }
        for (size_t k = 0; k < 4; k++) {
            out[n++] = i + k > len ? '=' : digits[three >> (18 - 6 * k) & 63];
        }
    }
    out[n] = '\0';
    return n;
}

static void open_with(const char *user, const char *token)
{
    static const struct smtp_timeouts timeouts;
    const struct smtp_options options = {
        .tls = SMTP_TLS_IMPLICIT, .username = user, .token = token};
    char line[256];
    smtp_client_init(&client, NS_PER_S, "me.example", &timeouts);
    smtp_client_configure(&client, NS_PER_S, &options);
    (void)smtp_client_next_event(&client);
    smtp_client_tls_done(&client, NS_PER_S, true);
    server_says("220 mx\r\n");
    (void)take(line, sizeof line);
    server_says("250-mx\r\n250 AUTH XOAUTH2\r\n");
}

START_TEST(a_token_of_any_length_is_said_as_one_line)
{
    static char token[SMTP_TOKEN_MAX], said[8192], wanted[8192], message[SMTP_TOKEN_MAX + 256];
    for (size_t len = 1; len < SMTP_TOKEN_MAX; len += len < 1600 ? 1 : 97) {
        for (size_t i = 0; i < len; i++) {
            token[i] = (char)('!' + (i * 7 + len) % 90);
        }
        token[len] = '\0';
        open_with("user@mail.example", token);
        (void)take(said, sizeof said);
        int n = snprintf(message, sizeof message,
                         "user=user@mail.example\001auth=Bearer %s\001\001", token);
        size_t at = (size_t)snprintf(wanted, sizeof wanted, "AUTH XOAUTH2 ");
        at += base64_of(message, (size_t)n, wanted + at);
        (void)snprintf(wanted + at, sizeof wanted - at, "\r\n");
        ck_assert_str_eq(said, wanted);
        server_says("235 2.7.0 welcome\r\n");
        ck_assert(smtp_client_next_event(&client) & SMTP_EV_READY);
    }
}
END_TEST

START_TEST(a_refusal_before_the_line_is_whole_ends_the_session)
{
    static char token[SMTP_TOKEN_MAX], said[64];
    struct smtp_piece piece;
    memset(token, 'x', sizeof token - 1);
    open_with("user", token);
    ck_assert(smtp_client_output(&client, NS_PER_S, SMTP_COMMAND_MAX, &piece));
    server_says("500 5.5.2 line too long\r\n");
    (void)take(said, sizeof said);
    ck_assert_str_eq(said, "QUIT\r\n");
    server_says("221 bye\r\n");
    ck_assert(smtp_client_next_event(&client) & SMTP_EV_CLOSED);
    ck_assert_uint_eq(smtp_client_close_reply(&client)->code, 500);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("smtp token");
    tcase_add_test(tc, a_token_of_any_length_is_said_as_one_line);
    tcase_add_test(tc, a_refusal_before_the_line_is_whole_ends_the_session);
    return tap_run("smtp token", tc);
}
