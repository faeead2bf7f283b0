/*
 * smtp_private.h - what the files of the SMTP engine share:
 *
 *     smtp_client.c       the session: states, QUIT, time, and the end of everything
 *     smtp_input.c        replies, to the handler that waits for them
 *     smtp_greeting.c     from the connection to the first transaction: EHLO, STARTTLS
 *     smtp_auth.c         AUTH
 *     smtp_transaction.c  MAIL to the reply to the final dot, and what it means for each recipient
 *     smtp_output.c       what is sent, and when
 *     smtp_envelope.c     MAIL and RCPT as text; what an envelope may hold
 *     smtp_body.c         the message: DATA with its dots, BDAT in chunks
 *     smtp_reply.c        reply lines
 *     smtp_ehlo.c         EHLO keywords
 */
#ifndef WIREPOST_SMTP_PRIVATE_H
#define WIREPOST_SMTP_PRIVATE_H

#include "dataplane/smtp_client.h"

#include <strings.h>

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

/* Before the text of what we refuse in the place of the server. */
#define SMTP_BY_US "decided here, not by the server: "

enum outcome_stage smtp_state_stage(enum smtp_state state);
/* The invariants. */
void smtp_check(const struct smtp_client *c);
/* The only writer of .state; starts the timer of the state anew. */
void smtp_enter(struct smtp_client *c, uint64_t now_ns, enum smtp_state state);
/* The session is over: recipients without a result get (kind, reply). */
void smtp_close(struct smtp_client *c, uint64_t now_ns, enum outcome_kind kind,
                const struct smtp_reply *reply);
/* The same where there is no reply: deferred before the final dot, doubtful after it. */
void smtp_close_without_reply(struct smtp_client *c, uint64_t now_ns, const char *why);
void smtp_close_protocol_error(struct smtp_client *c, uint64_t now_ns, const char *what);
/* Greeting, TLS and AUTH are behind us. */
void smtp_established(struct smtp_client *c, uint64_t now_ns);
/* Nothing runs and nothing is unanswered: the next transaction, QUIT, or idle. */
void smtp_ready(struct smtp_client *c, uint64_t now_ns);
/* The server will not serve this session: QUIT, then close for that reason. */
void smtp_refused(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);

/* The handlers, here and below: the complete reply to what the state waits for. Not called with
 * 421. */

/* ---- smtp_greeting.c --------------------------------------------------------------------- */

void smtp_on_banner(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_ehlo(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_helo(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_starttls(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
/* A byte came in clear where only TLS may be. */
void smtp_tls_injected(struct smtp_client *c, uint64_t now_ns);

/* ---- smtp_transaction.c ------------------------------------------------------------------ */

/* The pending transaction begins: RSET or MAIL, or it ends here because the server cannot take it.
 */
void smtp_transaction_begin(struct smtp_client *c, uint64_t now_ns);
/* Gives every recipient without a result this one. */
void smtp_transaction_settle(struct smtp_client *c, enum outcome_kind kind,
                             const struct smtp_reply *reply);

void smtp_on_rset(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_mail(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_rcpt(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_data(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_body(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_chunk(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_dot(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);
void smtp_on_lone_dot(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);

/* ---- smtp_envelope.c --------------------------------------------------------------------- */

/* A command on its way out. */
struct smtp_line {
    uint32_t len;
    char bytes[SMTP_COMMAND_MAX];
};

void smtp_line_put(struct smtp_line *line, const char *text);
void smtp_line_put_number(struct smtp_line *line, uint64_t value);
/* The command with its CRLF. */
void smtp_mail_line(const struct smtp_client *c, struct smtp_line *line);
void smtp_rcpt_line(const struct smtp_client *c, const struct smtp_recipient *r,
                    struct smtp_line *line);
/* False when it must not be said. *ret_needs is what it and the caller say that the server must
 * offer. */
bool smtp_envelope_check(const struct smtp_transaction *t, uint32_t *ret_needs);

/* ---- smtp_auth.c ------------------------------------------------------------------------- */

/* The caller's promise about user name and password. */
void smtp_auth_check(const struct smtp_options *options);
void smtp_auth_begin(struct smtp_client *c, uint64_t now_ns);
/* What is said in the states AUTH..., with its CRLF; the next part of it when it is longer than a
 * piece. */
void smtp_auth_line(struct smtp_client *c, struct smtp_line *line);
/* More of it is to be said. */
bool smtp_auth_more(const struct smtp_client *c);
void smtp_on_auth(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply);

/* ---- smtp_output.c ----------------------------------------------------------------------- */

/* Bytes of a command of the running transaction: 0 MAIL, 1..n RCPT, n + 1 DATA. */
uint32_t smtp_command_bytes(const struct smtp_client *c, uint32_t command);
/* Memory for the commands of a piece. */
struct smtp_line *smtp_scratch(void);
/* Makes it a piece. */
void smtp_give_line(const struct smtp_line *line, struct smtp_piece *ret_piece);

/* ---- smtp_body.c ------------------------------------------------------------------------- */

/* The next piece of the message. */
void smtp_give_message(struct smtp_client *c, uint64_t now_ns, uint32_t room,
                       struct smtp_piece *ret_piece);

#endif
