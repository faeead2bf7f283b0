/*
 * smtp_output.c - what is sent, and when.
 *
 * Without PIPELINING one command at a time. With it (RFC 2920 3.1) MAIL, RCPT... and DATA go out as
 * a group, DATA last, as long as at most SMTP_OUT_MAX bytes of commands are unanswered; EHLO,
 * STARTTLS, AUTH, RSET, the end of the message and QUIT always wait for their reply. So does BDAT
 * for those to RCPT: a server that refused them all and does not swallow the chunk would take our
 * message for commands.
 *
 * Commands are made in memory of the thread, not of the session: the caller takes them at once, and
 * 200,000 sessions are 200 MB lighter.
 */
#include "dataplane/smtp_private.h"

struct smtp_line *smtp_scratch(void)
{
    static _Thread_local struct smtp_line scratch;
    return &scratch;
}

void smtp_give_line(const struct smtp_line *line, struct smtp_piece *ret_piece)
{
    *ret_piece = (struct smtp_piece){
        .kind = SMTP_PIECE_COMMAND,
        .data = (const uint8_t *)line->bytes,
        .len = line->len,
        .push = true,
    };
}

/* ---- the one command of a state ---------------------------------------------------------- */

static bool may_say(struct smtp_client *c)
{
    if (c->said) {
        return false;
    }
    c->said = true;
    c->n_unanswered++;
    return true;
}

static bool say(struct smtp_client *c, const char *verb, const char *argument,
                struct smtp_piece *ret_piece)
{
    if (!may_say(c)) {
        return false;
    }
    struct smtp_line *line = smtp_scratch();
    line->len = 0;
    smtp_line_put(line, verb);
    smtp_line_put(line, argument);
    smtp_line_put(line, "\r\n");
    smtp_give_line(line, ret_piece);
    return true;
}

static bool say_auth(struct smtp_client *c, struct smtp_piece *ret_piece)
{
    if (!smtp_auth_more(c) && !may_say(c)) {
        return false;
    }
    smtp_auth_line(c, smtp_scratch());
    smtp_give_line(smtp_scratch(), ret_piece);
    return true;
}

/* ---- MAIL, RCPT, DATA -------------------------------------------------------------------- */

static void command_line(const struct smtp_client *c, uint32_t command, struct smtp_line *line)
{
    if (command == 0) {
        smtp_mail_line(c, line);
    } else if (command <= c->transaction->n_recipients) {
        smtp_rcpt_line(c, &c->transaction->recipients[command - 1], line);
    } else {
        line->len = 0;
        smtp_line_put(line, "DATA\r\n");
    }
}

uint32_t smtp_command_bytes(const struct smtp_client *c, uint32_t command)
{
    struct smtp_line line;
    command_line(c, command, &line);
    return line.len;
}

/* Whether the next command may go out now; if so, *ret_line is it. */
static bool may_say_next(const struct smtp_client *c, struct smtp_line *ret_line)
{
    uint32_t last = c->transaction->n_recipients + (c->chunked ? 0 : 1);
    bool pipelining = c->extensions.flags & SMTP_EXT_PIPELINING;
    if (c->mail_refused || c->next_command > last || (c->n_unanswered > 0 && !pipelining)) {
        return false;
    }
    command_line(c, c->next_command, ret_line);
    return c->n_unanswered == 0 || c->unanswered_bytes + ret_line->len <= SMTP_OUT_MAX;
}

static bool give_envelope(struct smtp_client *c, struct smtp_piece *ret_piece)
{
    struct smtp_line line, *group = smtp_scratch();
    bool more = may_say_next(c, &line);
    group->len = 0;
    while (more && line.len <= sizeof group->bytes - group->len) {
        memcpy(group->bytes + group->len, line.bytes, line.len);
        group->len += line.len;
        c->next_command++;
        c->n_unanswered++;
        c->unanswered_bytes += line.len;
        more = may_say_next(c, &line);
    }
    if (group->len == 0) {
        return false;
    }
    smtp_give_line(group, ret_piece);
    ret_piece->push = !more;
    return true;
}

/* ------------------------------------------------------------------------------------------ */

bool smtp_client_output(struct smtp_client *c, uint64_t now_ns, uint32_t room,
                        struct smtp_piece *ret_piece)
{
    INVARIANT(room >= SMTP_ROOM_MIN);
    switch (c->state) {
    case SMTP_STATE_EHLO:
        return say(c, "EHLO ", c->ehlo, ret_piece);
    case SMTP_STATE_HELO:
        return say(c, "HELO ", c->ehlo, ret_piece);
    case SMTP_STATE_STARTTLS:
        return say(c, "STARTTLS", "", ret_piece);
    case SMTP_STATE_AUTH:
    case SMTP_STATE_AUTH_USER:
    case SMTP_STATE_AUTH_ANSWER:
    case SMTP_STATE_AUTH_PASSWORD:
        return say_auth(c, ret_piece);
    case SMTP_STATE_RSET:
        return say(c, "RSET", "", ret_piece);
    case SMTP_STATE_MAIL:
    case SMTP_STATE_RCPT:
    case SMTP_STATE_DATA:
        return give_envelope(c, ret_piece);
    case SMTP_STATE_BODY:
        smtp_give_message(c, now_ns, room, ret_piece);
        return true;
    case SMTP_STATE_LONE_DOT:
        return say(c, ".", "", ret_piece);
    case SMTP_STATE_QUIT:
        return say(c, "QUIT", "", ret_piece);
    case SMTP_STATE_BANNER:
    case SMTP_STATE_TLS:
    case SMTP_STATE_READY:
    case SMTP_STATE_CHUNK:
    case SMTP_STATE_DOT:
    case SMTP_STATE_CLOSED:
        return false;
    }
    INVARIANT(false && "every state is handled");
}
