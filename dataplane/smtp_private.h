/*
 * smtp_private.h - what the files of the SMTP engine share:
 *
 *     smtp_client.c       the session: greeting, EHLO, QUIT, time, and the end of everything
 *     smtp_transaction.c  MAIL to the reply to the final dot, and what it means for each recipient
 *     smtp_output.c       what is sent, and when
 *     smtp_reply.c        reply lines
 *     smtp_ehlo.c         EHLO keywords
 */
#ifndef WIREPOST_SMTP_PRIVATE_H
#define WIREPOST_SMTP_PRIVATE_H

#include "dataplane/smtp_client.h"

/* ---- smtp_reply.c ------------------------------------------------------------------------ */

#define SMTP_REPLY_BYTES_MAX 65536u

#define SMTP_READ_ERROR_MAP(X)                                                                     \
    X(CODE, "protocol error: not a reply code")                                                    \
    X(SEPARATOR, "protocol error: neither space nor hyphen after a reply code")                    \
    X(MIXED, "protocol error: lines of one reply with different codes")                            \
    X(LINE_LONG, "protocol error: reply line too long")                                            \
    X(LINES, "protocol error: too many lines in a reply")                                          \
    X(REPLY_LONG, "protocol error: reply too long")

enum smtp_read {
    SMTP_READ_MORE,  /* all bytes used, no line complete */
    SMTP_READ_LINE,  /* a line is complete, more lines belong to the reply */
    SMTP_READ_REPLY, /* the last line of the reply is complete */
#define X(name, text) SMTP_READ_ERROR_##name,
    SMTP_READ_ERROR_MAP(X)
#undef X
};

/* Reads up to the end of a line; *ret_used bytes were taken. After SMTP_READ_REPLY call
 * smtp_reader_reset() before reading on; after an error do not read on. */
enum smtp_read smtp_reader_read(struct smtp_reader *r, const uint8_t *data, uint32_t len,
                                uint32_t *ret_used);
void smtp_reader_reset(struct smtp_reader *r);
/* True when no byte of a reply has come yet. */
bool smtp_reader_at_start(const struct smtp_reader *r);
/* Text of the line just completed, as far as it was kept. */
const char *smtp_reader_line_text(const struct smtp_reader *r);
/* Forgets all text, so that the next line is kept from its beginning. */
void smtp_reader_drop_text(struct smtp_reader *r);
const char *smtp_read_error_text(enum smtp_read error);

static inline unsigned smtp_reply_class(const struct smtp_reply *reply)
{
    return reply->code / 100u;
}

/* ---- smtp_ehlo.c ------------------------------------------------------------------------- */

/* Notes the keyword of one line of the EHLO reply; unknown ones are ignored. */
void smtp_ehlo_keyword(struct smtp_extensions *extensions, const char *line);

/* ---- smtp_client.c ----------------------------------------------------------------------- */

/* The only writer of .state; starts the timer of the state anew. */
void smtp_enter(struct smtp_client *c, uint64_t now_ns, enum smtp_state state);
/* The session is over: recipients without a result get (kind, reply). */
void smtp_close(struct smtp_client *c, uint64_t now_ns, enum outcome_kind kind,
                const struct smtp_reply *reply);
/* The same where there is no reply: deferred before the final dot, doubtful after it. */
void smtp_close_without_reply(struct smtp_client *c, uint64_t now_ns, const char *why);
/* Nothing runs and nothing is unanswered: the next transaction, QUIT, or idle. */
void smtp_ready(struct smtp_client *c, uint64_t now_ns);
/* The server will not serve this session: QUIT, then close for that reason. */
void smtp_refused(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);

/* ---- smtp_transaction.c ------------------------------------------------------------------ */

/* The pending transaction begins: RSET or MAIL, or it ends here because the server cannot take it.
 */
void smtp_transaction_begin(struct smtp_client *c, uint64_t now_ns);
/* Gives every recipient without a result this one. */
void smtp_transaction_settle(struct smtp_client *c, enum outcome_kind kind,
                             const struct smtp_reply *reply);

/* The handlers: the complete reply to what the state waits for. Not called with 421. */
void smtp_on_rset(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_mail(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_rcpt(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_data(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_body(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_dot(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_lone_dot(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);

/* ---- smtp_output.c ----------------------------------------------------------------------- */

/* Bytes of "RCPT TO:<address>" CRLF. */
uint32_t smtp_rcpt_bytes(const char *address);
#define SMTP_DATA_BYTES 6u /* "DATA" CRLF */

#endif
