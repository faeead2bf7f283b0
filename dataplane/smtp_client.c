/*
 * smtp_client.c - the session: greeting, EHLO, QUIT, time, and the end of everything.
 *
 *     BANNER --2xx--> EHLO --2xx--> READY <------------------------------------------------+
 *                       |             ^  |                                                  |
 *                       5xx           |  +--start, after an unclean end--> RSET --2xx--+    |
 *                       v             |  +--start-------------------------------------+|    |
 *                     HELO ---2xx-----+  |                                            vv    |
 *                                        |          DATA <--2xx-- RCPT <--2xx-- MAIL        |
 *     QUIT <--quit-----------------------+          |    \         |  all refused |  refused|
 *      |                                           3xx    \refused +--------------+---------+
 *      v                                            v      +--------------------------------+
 *     CLOSED <--421, silence, nonsense, loss--     BODY --all sent--> DOT --2xx, 4xx, 5xx---+
 *               in any state                        LONE_DOT --any reply--------------------+
 *
 * (LONE_DOT: DATA was answered with 3xx though no recipient was accepted.) Each state has one
 * handler for the reply that it waits for: smtp_on_<state>() in smtp_transaction.c, on_<state>()
 * here. With PIPELINING commands go out before the replies to those before them came; the state is
 * always named for the next reply.
 *
 * Invariants (session_check()):
 * 1. Replies are counted: one that begins while no command is unanswered is a breach of protocol,
 *    but for 421 (RFC 5321 3.8) and for a refusal while the body is on its way. It is never taken
 *    for the answer to a later command.
 * 2. A recipient becomes DELIVERED in smtp_on_dot() only.
 * 3. transaction is set from smtp_client_start() until its end, in all of RSET..LONE_DOT, never in
 *    READY, QUIT and CLOSED.
 * 4. After the final dot went out, an end without a reply is DOUBTFUL, never anything else.
 * 5. Unanswered command bytes never exceed SMTP_OUT_MAX.
 *
 * RFC 5321 (client side), 1870, 2034, 2920, 3463, 6152, 6531. A reply to QUIT is waited for, as
 * 4.1.1.10 wants, and a server that refuses us at the greeting or at EHLO hears QUIT too.
 * Left out on purpose: VRFY, EXPN, HELP, NOOP; QUIT behind the final dot in one group.
 */
#include "dataplane/smtp_private.h"

#define TEXT_SURPLUS     "protocol error: a reply that nothing had asked for"
#define TEXT_OUT_OF_STEP "protocol error: a reply that belongs to another command"

/* ---- states ------------------------------------------------------------------------------ */

static uint32_t state_timeout_ms(const struct smtp_timeouts *t, enum smtp_state state)
{
    switch (state) {
#define X(name, text, stage, timeout_ms)                                                           \
    case SMTP_STATE_##name:                                                                        \
        return timeout_ms;
        SMTP_STATE_MAP(X)
#undef X
    }
    INVARIANT(false && "every state is handled");
}

static enum outcome_stage state_stage(enum smtp_state state)
{
    static const uint8_t stages[] = {
#define X(name, text, stage, timeout_ms) [SMTP_STATE_##name] = OUTCOME_STAGE_##stage,
        SMTP_STATE_MAP(X)
#undef X
    };
    return stages[state];
}

const char *smtp_client_state_text(const struct smtp_client *c)
{
    static const char *const texts[] = {
#define X(name, text, stage, timeout_ms) [SMTP_STATE_##name] = text,
        SMTP_STATE_MAP(X)
#undef X
    };
    return texts[c->state];
}

static void timer_start(struct smtp_client *c, uint64_t now_ns)
{
    uint32_t timeout_ms = state_timeout_ms(&c->timeouts, c->state);
    c->deadline_ns = timeout_ms == SMTP_MS_NEVER ? TIME_NEVER_NS : now_ns + timeout_ms * NS_PER_MS;
}

void smtp_enter(struct smtp_client *c, uint64_t now_ns, enum smtp_state state)
{
    c->state = state;
    c->said = false;
    timer_start(c, now_ns);
}

static void session_check(const struct smtp_client *c)
{
    bool idle = c->state == SMTP_STATE_READY || c->state == SMTP_STATE_QUIT ||
                c->state == SMTP_STATE_CLOSED;
    bool greeting = c->state <= SMTP_STATE_HELO;
    INVARIANT_HOT(!idle || !c->transaction);
    INVARIANT_HOT(idle || greeting || c->transaction);
    INVARIANT_HOT(c->state != SMTP_STATE_READY || c->n_unanswered == 0);
    INVARIANT_HOT((c->state != SMTP_STATE_DOT) || (c->dot_sent && c->n_unanswered == 1));
    INVARIANT_HOT(c->state != SMTP_STATE_BODY || (!c->dot_sent && c->n_unanswered == 0));
    INVARIANT_HOT(c->unanswered_bytes <= SMTP_OUT_MAX);
    (void)idle;
    (void)greeting;
}

/* ---- the end ----------------------------------------------------------------------------- */

static void close_session(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (!c->refused) {
        c->close_reply = *reply;
    }
    c->transaction = NULL;
    c->events |= SMTP_EV_CLOSED;
    smtp_enter(c, now_ns, SMTP_STATE_CLOSED);
}

void smtp_close(struct smtp_client *c, uint64_t now_ns, enum outcome_kind kind,
                const struct smtp_reply *reply)
{
    if (c->transaction) {
        smtp_transaction_settle(c, kind, reply);
    }
    close_session(c, now_ns, reply);
}

void smtp_close_without_reply(struct smtp_client *c, uint64_t now_ns, const char *why)
{
    struct smtp_reply reply = {.stage = (uint8_t)state_stage(c->state)};
    (void)snprintf(reply.text, sizeof reply.text, "%s", why);
    smtp_close(c, now_ns, c->dot_sent ? OUTCOME_DOUBTFUL : OUTCOME_DEFERRED, &reply);
}

void smtp_refused(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (c->transaction) {
        smtp_transaction_settle(c, OUTCOME_DEFERRED, reply);
        c->transaction = NULL;
    }
    c->close_reply = *reply;
    c->refused = true;
    smtp_enter(c, now_ns, SMTP_STATE_QUIT);
}

/* ---- replies ----------------------------------------------------------------------------- */

void smtp_ready(struct smtp_client *c, uint64_t now_ns)
{
    if (c->transaction) {
        smtp_transaction_begin(c, now_ns);
    } else {
        smtp_enter(c, now_ns, c->quit_next ? SMTP_STATE_QUIT : SMTP_STATE_READY);
    }
}

static void greeted(struct smtp_client *c, uint64_t now_ns)
{
    c->events |= SMTP_EV_READY;
    smtp_ready(c, now_ns);
}

static void on_banner(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (smtp_reply_class(reply) == 2) {
        smtp_enter(c, now_ns, SMTP_STATE_EHLO);
    } else { /* about the host, not about the recipients (RFC 5321 3.1) */
        smtp_refused(c, now_ns, reply);
    }
}

static void on_ehlo(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (smtp_reply_class(reply) == 2) {
        greeted(c, now_ns);
    } else if (smtp_reply_class(reply) == 5) { /* RFC 5321 3.2 */
        smtp_enter(c, now_ns, SMTP_STATE_HELO);
    } else {
        smtp_refused(c, now_ns, reply);
    }
}

static void on_helo(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (smtp_reply_class(reply) == 2) {
        greeted(c, now_ns);
    } else {
        smtp_refused(c, now_ns, reply);
    }
}

/* True when the reply cannot be an answer to what we said last, so that all after it would be
 * counted wrong: 220 greets, 221 takes leave (the 221 to a QUIT must not pass for the 250 to a
 * final dot), 3xx asks for the message, and 2xx before the final dot has nothing to praise. */
static bool is_out_of_step(const struct smtp_client *c, const struct smtp_reply *reply)
{
    switch (smtp_reply_class(reply)) {
    case 2:
        if (reply->code == 221 || (reply->code == 220 && c->state != SMTP_STATE_BANNER)) {
            return true;
        }
        return c->state == SMTP_STATE_DATA || c->state == SMTP_STATE_BODY || c->early;
    case 3:
        return c->state != SMTP_STATE_DATA;
    default:
        return false;
    }
}

static void dispatch(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    switch (c->state) {
    case SMTP_STATE_BANNER:
        on_banner(c, now_ns, reply);
        break;
    case SMTP_STATE_EHLO:
        on_ehlo(c, now_ns, reply);
        break;
    case SMTP_STATE_HELO:
        on_helo(c, now_ns, reply);
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
    case SMTP_STATE_DOT:
        smtp_on_dot(c, now_ns, reply);
        break;
    case SMTP_STATE_LONE_DOT:
        smtp_on_lone_dot(c, now_ns, reply);
        break;
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
    return c->early && c->state != SMTP_STATE_BODY && c->state != SMTP_STATE_DOT;
}

static void on_reply(struct smtp_client *c, uint64_t now_ns, struct smtp_reply *reply)
{
    reply->stage = (uint8_t)state_stage(c->state);
    c->n_bare_lf += c->reader.bare_lf;
    if (c->state == SMTP_STATE_QUIT) {
        close_session(c, now_ns, reply);
    } else if (reply->code == 421) { /* RFC 5321 3.8 */
        smtp_close(c, now_ns, OUTCOME_DEFERRED, reply);
    } else if (is_surplus(c)) {
        smtp_close_without_reply(c, now_ns, TEXT_SURPLUS);
    } else if (is_out_of_step(c, reply)) {
        smtp_close_without_reply(c, now_ns, TEXT_OUT_OF_STEP);
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
            smtp_close_without_reply(c, now_ns, smtp_read_error_text(read));
        }
        if (read == SMTP_READ_REPLY) {
            on_reply(c, now_ns, &c->reader.reply);
            smtp_reader_reset(&c->reader);
        }
    }
    session_check(c);
}

/* ---- the caller's other calls ------------------------------------------------------------ */

static uint32_t or_default(uint32_t value_ms, uint32_t default_s)
{
    return value_ms > 0 ? value_ms : default_s * 1000;
}

static void take_timeouts(struct smtp_timeouts *to, const struct smtp_timeouts *from)
{
    *to = (struct smtp_timeouts){
        .banner_ms = or_default(from->banner_ms, 300),
        .ehlo_ms = or_default(from->ehlo_ms, 300),
        .mail_ms = or_default(from->mail_ms, 300),
        .rcpt_ms = or_default(from->rcpt_ms, 300),
        .data_ms = or_default(from->data_ms, 120),
        .block_ms = or_default(from->block_ms, 180),
        .dot_ms = or_default(from->dot_ms, 600),
        .rset_ms = or_default(from->rset_ms, 20),
        .quit_ms = or_default(from->quit_ms, 5),
    };
}

void smtp_client_init(struct smtp_client *c, uint64_t now_ns, const char *ehlo,
                      const struct smtp_timeouts *timeouts)
{
    INVARIANT(ehlo[0] != '\0' && strlen(ehlo) < SMTP_NAME_MAX);
    for (const char *p = ehlo; *p; p++) {
        INVARIANT((unsigned char)*p > ' ' && *p != 0x7f); /* a command of its own otherwise */
    }
    memset(c, 0, sizeof *c);
    c->ehlo = ehlo;
    take_timeouts(&c->timeouts, timeouts);
    smtp_reader_reset(&c->reader);
    c->n_unanswered = 1; /* connecting asks for the greeting */
    smtp_enter(c, now_ns, SMTP_STATE_BANNER);
}

void smtp_client_eof(struct smtp_client *c, uint64_t now_ns, const char *why)
{
    if (c->state != SMTP_STATE_CLOSED) {
        smtp_close_without_reply(c, now_ns, why);
    }
    session_check(c);
}

/* Not in DOT: at most a send queue stands before the dot then, and its 600 s are enough for that.
 */
void smtp_client_progress(struct smtp_client *c, uint64_t now_ns)
{
    if (c->state == SMTP_STATE_BODY) {
        timer_start(c, now_ns);
    }
}

void smtp_client_quit(struct smtp_client *c, uint64_t now_ns)
{
    c->quit_next = true;
    if (c->state == SMTP_STATE_READY) {
        smtp_enter(c, now_ns, SMTP_STATE_QUIT);
    }
}

uint64_t smtp_client_deadline_ns(const struct smtp_client *c)
{
    return c->deadline_ns;
}

void smtp_client_on_deadline(struct smtp_client *c, uint64_t now_ns)
{
    char why[SMTP_TEXT_MAX];
    if (now_ns >= c->deadline_ns) {
        (void)snprintf(why, sizeof why, "timed out %s", smtp_client_state_text(c));
        smtp_close_without_reply(c, now_ns, why);
    }
    session_check(c);
}

uint32_t smtp_client_next_event(struct smtp_client *c)
{
    uint32_t events = c->events;
    c->events = 0;
    return events;
}

bool smtp_client_idle(const struct smtp_client *c)
{
    return c->state == SMTP_STATE_READY;
}

bool smtp_client_dot_sent(const struct smtp_client *c)
{
    return c->dot_sent;
}

bool smtp_client_untouched(const struct smtp_client *c)
{
    return !c->mail_answered;
}

const struct smtp_reply *smtp_client_close_reply(const struct smtp_client *c)
{
    return &c->close_reply;
}

uint32_t smtp_client_bare_lf_count(const struct smtp_client *c)
{
    return c->n_bare_lf;
}
