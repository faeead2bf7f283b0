/*
 * smtp_auth.c - AUTH (RFC 4954): PLAIN (RFC 4616) where it is offered, otherwise LOGIN.
 *
 *     AUTH --2xx--> done                          "AUTH PLAIN AHVzZXIAcGFzcw=="
 *     AUTH --334--> AUTH_USER --334--> AUTH_PASSWORD --2xx--> done           LOGIN
 *
 * Credentials are said only over TLS to a server that is proven to be the right one; without that,
 * and where the server offers neither mechanism, the session ends here. A refusal is deferred: it
 * is about our account, not about the recipients. Left out on purpose: CRAM-MD5 and the SCRAM
 * family, which protect a password from a server that has it anyway, over a channel that is safe.
 */
#include "dataplane/smtp_private.h"

static void put_base64(struct smtp_line *line, const uint8_t *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
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

void smtp_auth_check(const struct smtp_options *options)
{
    if (options->username) {
        INVARIANT(is_credential(options->username));
        INVARIANT(options->password && is_credential(options->password));
    }
}

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

void smtp_auth_line(const struct smtp_client *c, struct smtp_line *line)
{
    const char *word = c->state == SMTP_STATE_AUTH_USER ? c->options.username : c->options.password;
    line->len = 0;
    if (c->state != SMTP_STATE_AUTH) {
        put_base64(line, (const uint8_t *)word, strlen(word));
    } else if (c->extensions.flags & SMTP_EXT_AUTH_PLAIN) {
        smtp_line_put(line, "AUTH PLAIN ");
        put_plain(c, line);
    } else {
        smtp_line_put(line, "AUTH LOGIN");
    }
    smtp_line_put(line, "\r\n");
}

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
        .text = SMTP_BY_US "neither AUTH PLAIN nor AUTH LOGIN is offered",
    };
    if (!c->secure || !c->verified) {
        smtp_refused(c, now_ns, &unsafe);
    } else if (!(c->extensions.flags & (SMTP_EXT_AUTH_PLAIN | SMTP_EXT_AUTH_LOGIN))) {
        smtp_refused(c, now_ns, &no_mechanism);
    } else {
        smtp_enter(c, now_ns, SMTP_STATE_AUTH);
    }
}

/* 334 asks for more, which only LOGIN has to give. */
static bool next_word(const struct smtp_client *c, enum smtp_state *ret_state)
{
    if (c->state == SMTP_STATE_AUTH) {
        *ret_state = SMTP_STATE_AUTH_USER;
        return !(c->extensions.flags & SMTP_EXT_AUTH_PLAIN);
    }
    *ret_state = SMTP_STATE_AUTH_PASSWORD;
    return c->state == SMTP_STATE_AUTH_USER;
}

void smtp_on_auth(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    enum smtp_state next;
    explicit_bzero(smtp_scratch()->bytes, SMTP_COMMAND_MAX);
    if (smtp_reply_class(reply) == 2) {
        smtp_established(c, now_ns);
    } else if (smtp_reply_class(reply) == 3 && next_word(c, &next)) {
        smtp_enter(c, now_ns, next);
    } else {
        smtp_refused(c, now_ns, reply);
    }
}
