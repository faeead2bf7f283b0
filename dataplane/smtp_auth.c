/*
 * smtp_auth.c - AUTH (RFC 4954): with a password PLAIN (RFC 4616) where it is offered, else LOGIN,
 * else CRAM-MD5 (RFC 2195); with a token XOAUTH2.
 *
 *     AUTH --2xx--> done                                        "AUTH PLAIN AHVzZXIAcGFzcw=="
 *     AUTH --334--> AUTH_USER --334--> AUTH_PASSWORD --2xx--> done                    LOGIN
 *     AUTH --334 challenge--> AUTH_ANSWER --2xx--> done                               CRAM-MD5
 *     AUTH --334 why not--> AUTH_ANSWER (an empty line) --5xx--> refused              XOAUTH2
 *
 * Credentials are said only over TLS to a server that is proven to be the right one; without that,
 * and where the server offers none of them, the session ends here. A refusal is deferred: it is
 * about our account, not about the recipients. CRAM-MD5 comes last: over a channel that is safe it
 * protects nothing, and some servers offer nothing else. Left out on purpose: the SCRAM family.
 *
 * A token is longer than a piece of commands: its line goes out in parts, each of whole groups of
 * base64.
 */
#include "dataplane/smtp_private.h"

#include <assert.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_base64(struct smtp_line *line, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)data[i] << 16;
        three |= i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0;
        three |= i + 2 < len ? data[i + 2] : 0;
        char quad[5] = {digits[three >> 18], digits[three >> 12 & 63], digits[three >> 6 & 63],
                        digits[three & 63], '\0'};
        for (size_t pad = len - i; pad < 3; pad++) {
            quad[pad + 1] = '=';
        }
        smtp_line_put(line, quad);
    }
}

static bool is_credential(const char *text)
{
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            return false;
        }
    }
    return text[0] != '\0' && strlen(text) < SMTP_CREDENTIAL_MAX;
}

/* RFC 6750 2.1: letters, digits, and signs; nothing that could end it early. */
static bool is_token(const char *text)
{
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f) {
            return false;
        }
    }
    return text[0] != '\0' && strlen(text) < SMTP_TOKEN_MAX;
}

void smtp_auth_check(const struct smtp_options *options)
{
    if (options->username) {
        INVARIANT(is_credential(options->username));
        INVARIANT(options->token ? is_token(options->token)
                                 : options->password && is_credential(options->password));
    }
}

/* The mechanism that is used; 0: the server offers none that we can. */
static uint32_t mechanism(const struct smtp_client *c)
{
    static const uint32_t order[] = {SMTP_EXT_AUTH_PLAIN, SMTP_EXT_AUTH_LOGIN, SMTP_EXT_AUTH_CRAM};
    if (c->options.token) {
        return c->extensions.flags & SMTP_EXT_AUTH_OAUTH;
    }
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        bool can = order[i] != SMTP_EXT_AUTH_CRAM || c->options.hmac_md5;
        if (can && (c->extensions.flags & order[i])) {
            return order[i];
        }
    }
    return 0;
}

/* ---- what is said ------------------------------------------------------------------------ */

static void put_plain(const struct smtp_client *c, struct smtp_line *line)
{
    uint8_t message[2 * SMTP_CREDENTIAL_MAX];
    size_t user = strlen(c->options.username), password = strlen(c->options.password);
    message[0] = '\0'; /* no authorization identity of its own */
    memcpy(message + 1, c->options.username, user + 1);
    memcpy(message + user + 2, c->options.password, password);
    put_base64(line, message, user + password + 2);
    explicit_bzero(message, sizeof message);
}

#define OAUTH_PART 756u /* bytes of the message in a piece: 1008 of base64 */
static_assert(OAUTH_PART / 3 * 4 + sizeof "AUTH XOAUTH2 \r\n" <= SMTP_COMMAND_MAX, "a piece");

/* user=NAME ^A auth=Bearer TOKEN ^A ^A */
static size_t oauth_bytes(const struct smtp_client *c)
{
    return sizeof "user=" - 1 + strlen(c->options.username) + sizeof "\001auth=Bearer " - 1 +
           strlen(c->options.token) + 2;
}

static void put_oauth(struct smtp_client *c, struct smtp_line *line)
{
    char message[SMTP_CREDENTIAL_MAX + SMTP_TOKEN_MAX + 32];
    size_t bytes = oauth_bytes(c), at = c->auth_given;
    size_t n = bytes - at < OAUTH_PART ? bytes - at : OAUTH_PART;
    (void)snprintf(message, sizeof message, "user=%s\001auth=Bearer %s\001\001",
                   c->options.username, c->options.token);
    if (at == 0) {
        smtp_line_put(line, "AUTH XOAUTH2 ");
    }
    put_base64(line, (const uint8_t *)message + at, n);
    c->auth_given = (uint16_t)(at + n);
    if (c->auth_given == bytes) {
        smtp_line_put(line, "\r\n");
    }
    explicit_bzero(message, sizeof message);
}

/* RFC 2195 2: the name, a space, the MAC in hexadecimal digits. */
static void put_cram(const struct smtp_client *c, struct smtp_line *line)
{
    char answer[SMTP_CREDENTIAL_MAX + 33];
    size_t len = strlen(c->options.username);
    memcpy(answer, c->options.username, len);
    answer[len++] = ' ';
    for (size_t i = 0; i < sizeof c->auth_mac; i++) {
        (void)snprintf(answer + len + 2 * i, 3, "%02x", c->auth_mac[i]);
    }
    put_base64(line, (const uint8_t *)answer, len + 2 * sizeof c->auth_mac);
}

bool smtp_auth_more(const struct smtp_client *c)
{
    return c->state == SMTP_STATE_AUTH && c->options.token && c->said &&
           c->auth_given < oauth_bytes(c);
}

static void put_first(struct smtp_client *c, struct smtp_line *line)
{
    switch (mechanism(c)) {
    case SMTP_EXT_AUTH_PLAIN:
        smtp_line_put(line, "AUTH PLAIN ");
        put_plain(c, line);
        break;
    case SMTP_EXT_AUTH_LOGIN:
        smtp_line_put(line, "AUTH LOGIN");
        break;
    default:
        smtp_line_put(line, "AUTH CRAM-MD5");
        break;
    }
}

void smtp_auth_line(struct smtp_client *c, struct smtp_line *line)
{
    line->len = 0;
    if (c->state == SMTP_STATE_AUTH && c->options.token) {
        put_oauth(c, line);
        return;
    }
    if (c->state == SMTP_STATE_AUTH) {
        put_first(c, line);
    } else if (c->state == SMTP_STATE_AUTH_USER) {
        put_base64(line, (const uint8_t *)c->options.username, strlen(c->options.username));
    } else if (c->state == SMTP_STATE_AUTH_PASSWORD) {
        put_base64(line, (const uint8_t *)c->options.password, strlen(c->options.password));
    } else if (!c->options.token) {
        put_cram(c, line);
    }
    smtp_line_put(line, "\r\n");
}

/* ---- the dialogue ------------------------------------------------------------------------ */

void smtp_auth_begin(struct smtp_client *c, uint64_t now_ns)
{
    static const struct smtp_reply unsafe = {
        .enhanced = {4, 7, 0},
        .stage = OUTCOME_STAGE_AUTH,
        .text = SMTP_BY_US "a password is not sent without TLS and a verified server",
    };
    static const struct smtp_reply no_mechanism = {
        .enhanced = {4, 7, 0},
        .stage = OUTCOME_STAGE_AUTH,
        .text = SMTP_BY_US "no mechanism of AUTH is offered that fits what we have",
    };
    c->auth_given = 0;
    if (!c->secure || !c->verified) {
        smtp_refused(c, now_ns, &unsafe);
    } else if (mechanism(c) == 0) {
        smtp_refused(c, now_ns, &no_mechanism);
    } else {
        smtp_enter(c, now_ns, SMTP_STATE_AUTH);
    }
}

static int value_of(char letter)
{
    const char *at = letter ? strchr(digits, letter) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The challenge; what is not base64 ends it, and the server will refuse the answer. */
static size_t decode(const char *text, uint8_t out[SMTP_TEXT_MAX])
{
    uint32_t bits = 0, n_bits = 0;
    size_t n = 0;
    for (int value; (value = value_of(*text)) >= 0; text++) {
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    return n;
}

/* 334 asks for more, which PLAIN does not have. */
static bool next_word(struct smtp_client *c, const struct smtp_reply *reply,
                      enum smtp_state *ret_state)
{
    uint8_t challenge[SMTP_TEXT_MAX];
    uint32_t used = mechanism(c);
    if (c->state != SMTP_STATE_AUTH) {
        *ret_state = SMTP_STATE_AUTH_PASSWORD;
        return c->state == SMTP_STATE_AUTH_USER;
    }
    if (used == SMTP_EXT_AUTH_CRAM) {
        size_t n = decode(reply->text, challenge);
        c->options.hmac_md5(c->options.password, challenge, n, c->auth_mac);
    }
    *ret_state = used == SMTP_EXT_AUTH_LOGIN ? SMTP_STATE_AUTH_USER : SMTP_STATE_AUTH_ANSWER;
    return used != SMTP_EXT_AUTH_PLAIN;
}

void smtp_on_auth(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    enum smtp_state next;
    explicit_bzero(smtp_scratch()->bytes, SMTP_COMMAND_MAX);
    if (smtp_reply_class(reply) == 2) {
        smtp_established(c, now_ns);
    } else if (smtp_reply_class(reply) == 3 && next_word(c, reply, &next)) {
        smtp_enter(c, now_ns, next);
    } else {
        smtp_refused(c, now_ns, reply);
    }
}
