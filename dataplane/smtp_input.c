/*
 * smtp_input.c - what the server says: bytes become replies, and each reply goes to the handler of
 * the state that waits for it, unless it cannot be an answer to anything.
 *
 * Commands and replies are matched by counting, so a reply too many or too few is the most
 * dangerous thing a server can do: the 221 to our QUIT would pass for the 250 to a final dot. Both
 * end the session, and its recipients are deferred, or doubtful after the dot.
 */
#include "dataplane/smtp_private.h"

#define TEXT_SURPLUS     "protocol error: a reply that nothing had asked for"
#define TEXT_OUT_OF_STEP "protocol error: a reply that belongs to another command"

/* 220 greets, or bids to begin TLS. */
static bool takes_220(enum smtp_state state)
{
    return state == SMTP_STATE_BANNER || state == SMTP_STATE_STARTTLS;
}

/* 3xx asks for the message, or for a word of AUTH. */
static bool takes_3xx(enum smtp_state state)
{
    return state == SMTP_STATE_DATA || state == SMTP_STATE_AUTH || state == SMTP_STATE_AUTH_USER ||
           state == SMTP_STATE_AUTH_ANSWER || state == SMTP_STATE_AUTH_PASSWORD;
}

/* True when the reply cannot be an answer to what we said last, so that all after it would be
 * counted wrong: 221 takes leave (the 221 to a QUIT must not pass for the 250 to a final dot), and
 * 2xx before the end of the message has nothing to praise. */
static bool is_out_of_step(const struct smtp_client *c, const struct smtp_reply *reply)
{
    switch (smtp_reply_class(reply)) {
    case 2:
        if (reply->code == 221 || (reply->code == 220 && !takes_220(c->state))) {
            return true;
        }
        return c->state == SMTP_STATE_DATA || c->state == SMTP_STATE_BODY || c->early;
    case 3:
        return !takes_3xx(c->state);
    default:
        return false;
    }
}

static void dispatch(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    switch (c->state) {
    case SMTP_STATE_BANNER:
        smtp_on_banner(c, now_ns, reply);
        break;
    case SMTP_STATE_EHLO:
        smtp_on_ehlo(c, now_ns, reply);
        break;
    case SMTP_STATE_HELO:
        smtp_on_helo(c, now_ns, reply);
        break;
    case SMTP_STATE_STARTTLS:
        smtp_on_starttls(c, now_ns, reply);
        break;
    case SMTP_STATE_AUTH:
    case SMTP_STATE_AUTH_USER:
    case SMTP_STATE_AUTH_ANSWER:
    case SMTP_STATE_AUTH_PASSWORD:
        smtp_on_auth(c, now_ns, reply);
        break;
    case SMTP_STATE_RSET:
        smtp_on_rset(c, now_ns, reply);
        break;
    case SMTP_STATE_MAIL:
        smtp_on_mail(c, now_ns, reply);
        break;
    case SMTP_STATE_RCPT:
        smtp_on_rcpt(c, now_ns, reply);
        break;
    case SMTP_STATE_DATA:
        smtp_on_data(c, now_ns, reply);
        break;
    case SMTP_STATE_BODY:
        smtp_on_body(c, now_ns, reply);
        break;
    case SMTP_STATE_CHUNK:
        smtp_on_chunk(c, now_ns, reply);
        break;
    case SMTP_STATE_DOT:
        smtp_on_dot(c, now_ns, reply);
        break;
    case SMTP_STATE_LONE_DOT:
        smtp_on_lone_dot(c, now_ns, reply);
        break;
    case SMTP_STATE_TLS:
    case SMTP_STATE_READY:
    case SMTP_STATE_QUIT:
    case SMTP_STATE_CLOSED:
        INVARIANT(false && "replies are handled before");
        break;
    }
}

/* A reply that began while nothing was unanswered has its place only around the body: the server
 * refuses before it has seen the end. */
static bool is_surplus(const struct smtp_client *c)
{
    return c->early && c->state != SMTP_STATE_BODY && c->state != SMTP_STATE_CHUNK &&
           c->state != SMTP_STATE_DOT;
}

static void on_reply(struct smtp_client *c, uint64_t now_ns, struct smtp_reply *reply)
{
    reply->stage = (uint8_t)smtp_state_stage(c->state);
    c->n_bare_lf += c->reader.bare_lf;
    if (c->state == SMTP_STATE_QUIT) {
        smtp_close(c, now_ns, OUTCOME_DEFERRED, reply);
    } else if (reply->code == 421) { /* RFC 5321 3.8 */
        smtp_close(c, now_ns, OUTCOME_DEFERRED, reply);
    } else if (is_surplus(c)) {
        smtp_close_protocol_error(c, now_ns, TEXT_SURPLUS);
    } else if (is_out_of_step(c, reply)) {
        smtp_close_protocol_error(c, now_ns, TEXT_OUT_OF_STEP);
    } else {
        c->n_unanswered -= c->early ? 0 : 1;
        dispatch(c, now_ns, reply);
    }
}

/* The keywords of a positive EHLO reply are read line by line; its first line is the server's name
 * (RFC 5321 4.1.1.1). */
static void on_line(struct smtp_client *c)
{
    if (c->state == SMTP_STATE_EHLO && smtp_reply_class(&c->reader.reply) == 2) {
        if (c->reader.n_lines > 1) {
            smtp_ehlo_keyword(&c->extensions, smtp_reader_line_text(&c->reader));
        }
        smtp_reader_drop_text(&c->reader);
    }
}

void smtp_client_input(struct smtp_client *c, uint64_t now_ns, const uint8_t *data, uint32_t len)
{
    while (len > 0 && c->state != SMTP_STATE_CLOSED) {
        uint32_t used;
        if (c->state == SMTP_STATE_TLS) {
            smtp_tls_injected(c, now_ns);
            break;
        }
        if (smtp_reader_at_start(&c->reader)) {
            c->early = c->n_unanswered == 0;
        }
        enum smtp_read read = smtp_reader_read(&c->reader, data, len, &used);
        data += used;
        len -= used;
        if (read == SMTP_READ_MORE) {
            break;
        }
        if (read == SMTP_READ_LINE || read == SMTP_READ_REPLY) {
            on_line(c);
        } else {
            smtp_close_protocol_error(c, now_ns, smtp_read_error_text(read));
        }
        if (read == SMTP_READ_REPLY) {
            on_reply(c, now_ns, &c->reader.reply);
            smtp_reader_reset(&c->reader);
        }
    }
    smtp_check(c);
}
