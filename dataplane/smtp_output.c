/*
 * smtp_output.c - what is sent, and when.
 *
 * Commands. Without PIPELINING one at a time. With it (RFC 2920 3.1) MAIL, RCPT... and DATA go out
 * as a group, DATA last, as long as at most SMTP_OUT_MAX bytes of commands are unanswered; EHLO,
 * HELO, RSET, the final dot and QUIT always wait for their reply.
 *
 * The message goes by reference: the prefix, the body, then ".CRLF". A dot at the start of a line
 * is sent twice (RFC 5321 4.5.2) by cutting the piece behind it and beginning the next one with the
 * same byte again. Its CRLF ends the body, so the dot stands at the start of a line.
 */
#include "dataplane/smtp_private.h"

#include <stdarg.h>

uint32_t smtp_rcpt_bytes(const char *address)
{
    return (uint32_t)(sizeof "RCPT TO:<>\r\n" - 1 + strlen(address));
}

/* ---- commands ---------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static uint32_t
command_put(struct smtp_client *c, uint32_t at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(c->command + at, sizeof c->command - at, format, args);
    va_end(args);
    INVARIANT(len > 0 && (size_t)len < sizeof c->command - at);
    return (uint32_t)len;
}

static bool give_command(const struct smtp_client *c, uint32_t len, struct smtp_piece *ret_piece)
{
    *ret_piece = (struct smtp_piece){
        .kind = SMTP_PIECE_COMMAND,
        .data = (const uint8_t *)c->command,
        .len = len,
    };
    return true;
}

/* The one command of a state. */
static bool say(struct smtp_client *c, const char *verb, const char *argument,
                struct smtp_piece *ret_piece)
{
    if (c->said) {
        return false;
    }
    c->said = true;
    c->n_unanswered++;
    give_command(c, command_put(c, 0, "%s%s\r\n", verb, argument), ret_piece);
    ret_piece->push = true;
    return true;
}

/* ---- MAIL, RCPT, DATA -------------------------------------------------------------------- */

static uint32_t mail_put(struct smtp_client *c, uint32_t at)
{
    const struct smtp_transaction *t = c->transaction;
    char size[32] = "";
    if (c->extensions.flags & SMTP_EXT_SIZE) { /* without stuffing: RFC 1870 5 */
        (void)snprintf(size, sizeof size, " SIZE=%llu",
                       (unsigned long long)(t->body.len + t->body.prefix_len));
    }
    c->mail_bytes = command_put(c, at, "MAIL FROM:<%s>%s%s%s\r\n", t->mail_from, size,
                                c->needs & SMTP_NEED_8BITMIME ? " BODY=8BITMIME" : "",
                                c->needs & SMTP_NEED_SMTPUTF8 ? " SMTPUTF8" : "");
    return c->mail_bytes;
}

static bool is_data(const struct smtp_client *c)
{
    return c->next_command == c->transaction->n_recipients + 1;
}

static const char *next_recipient(const struct smtp_client *c)
{
    return c->transaction->recipients[c->next_command - 1].address;
}

static uint32_t next_bytes(const struct smtp_client *c)
{
    if (c->next_command == 0) {
        return 0; /* never has anything before it */
    }
    return is_data(c) ? SMTP_DATA_BYTES : smtp_rcpt_bytes(next_recipient(c));
}

static bool may_say_next(const struct smtp_client *c)
{
    if (c->mail_refused || c->next_command > c->transaction->n_recipients + 1) {
        return false;
    }
    if (c->n_unanswered == 0) {
        return true;
    }
    return c->extensions.flags & SMTP_EXT_PIPELINING &&
           c->unanswered_bytes + next_bytes(c) <= SMTP_OUT_MAX;
}

static uint32_t put_next(struct smtp_client *c, uint32_t at)
{
    uint32_t len;
    if (c->next_command == 0) {
        len = mail_put(c, at);
    } else if (is_data(c)) {
        len = command_put(c, at, "DATA\r\n");
    } else {
        len = command_put(c, at, "RCPT TO:<%s>\r\n", next_recipient(c));
    }
    c->next_command++;
    c->n_unanswered++;
    c->unanswered_bytes += len;
    return len;
}

static bool give_envelope(struct smtp_client *c, struct smtp_piece *ret_piece)
{
    uint32_t len = 0;
    while (may_say_next(c) && len + next_bytes(c) < SMTP_COMMAND_MAX) {
        len += put_next(c, len);
    }
    if (len == 0) {
        return false;
    }
    give_command(c, len, ret_piece);
    ret_piece->push = !may_say_next(c);
    return true;
}

/* ---- the message ------------------------------------------------------------------------- */

static bool give_prefix(struct smtp_client *c, uint32_t room, struct smtp_piece *ret_piece)
{
    const struct smtp_body *b = &c->transaction->body;
    uint32_t left = b->prefix_len - c->prefix_sent;
    *ret_piece = (struct smtp_piece){
        .kind = SMTP_PIECE_PREFIX,
        .data = b->prefix + c->prefix_sent,
        .len = left < room ? left : room,
        .offset = c->prefix_sent,
    };
    c->prefix_sent += ret_piece->len;
    return true;
}

/* No dot begins a line in data[from, end): those that do are listed, and cut out by the caller. */
static void check_no_dots(const struct smtp_body *b, uint64_t from, uint64_t end)
{
#ifdef WIREPOST_INVARIANT_HOT
    for (uint64_t i = from; i < end; i++) {
        INVARIANT_HOT(b->data[i] != '.' || (i > 0 && b->data[i - 1] != '\n'));
    }
#else
    (void)b, (void)from, (void)end;
#endif
}

static bool give_body(struct smtp_client *c, uint32_t room, struct smtp_piece *ret_piece)
{
    const struct smtp_body *b = &c->transaction->body;
    uint64_t from = c->body_sent;
    uint64_t end = b->len - from < room ? b->len : from + room;
    bool repeats_dot = c->next_stuff > 0 && b->stuff[c->next_stuff - 1] == from;
    bool dot_next = c->next_stuff < b->n_stuff && b->stuff[c->next_stuff] < end;
    if (dot_next) {
        uint32_t dot = b->stuff[c->next_stuff++];
        INVARIANT(dot >= from + repeats_dot && b->data[dot] == '.');
        end = (uint64_t)dot + 1;
    }
    check_no_dots(b, from + repeats_dot, end - dot_next);
    *ret_piece = (struct smtp_piece){
        .kind = SMTP_PIECE_BODY,
        .data = b->data + from,
        .len = (uint32_t)(end - from),
        .offset = from,
    };
    c->body_sent = end - dot_next; /* the dot goes out again */
    return true;
}

static bool give_final_dot(struct smtp_client *c, uint64_t now_ns, struct smtp_piece *ret_piece)
{
    smtp_enter(c, now_ns, SMTP_STATE_DOT);
    c->dot_sent = true;
    (void)say(c, ".", "", ret_piece);
    ret_piece->final_dot = true;
    return true;
}

static bool give_message(struct smtp_client *c, uint64_t now_ns, uint32_t room,
                         struct smtp_piece *ret_piece)
{
    const struct smtp_body *b = &c->transaction->body;
    if (c->prefix_sent < b->prefix_len) {
        return give_prefix(c, room, ret_piece);
    }
    if (c->body_sent < b->len) {
        return give_body(c, room, ret_piece);
    }
    INVARIANT(c->next_stuff == b->n_stuff);
    return give_final_dot(c, now_ns, ret_piece);
}

/* ------------------------------------------------------------------------------------------ */

bool smtp_client_output(struct smtp_client *c, uint64_t now_ns, uint32_t room,
                        struct smtp_piece *ret_piece)
{
    INVARIANT(room >= SMTP_COMMAND_MAX);
    switch (c->state) {
    case SMTP_STATE_EHLO:
        return say(c, "EHLO ", c->ehlo, ret_piece);
    case SMTP_STATE_HELO:
        return say(c, "HELO ", c->ehlo, ret_piece);
    case SMTP_STATE_RSET:
        return say(c, "RSET", "", ret_piece);
    case SMTP_STATE_MAIL:
    case SMTP_STATE_RCPT:
    case SMTP_STATE_DATA:
        return give_envelope(c, ret_piece);
    case SMTP_STATE_BODY:
        return give_message(c, now_ns, room, ret_piece);
    case SMTP_STATE_LONE_DOT:
        return say(c, ".", "", ret_piece);
    case SMTP_STATE_QUIT:
        return say(c, "QUIT", "", ret_piece);
    case SMTP_STATE_BANNER:
    case SMTP_STATE_READY:
    case SMTP_STATE_DOT:
    case SMTP_STATE_CLOSED:
        return false;
    }
    INVARIANT(false && "every state is handled");
}
