/*
 * smtp_client.c - the session: its states, time, QUIT, and the end of everything.
 *
 *     state      waits for the reply to   2xx              3xx              4xx, 5xx
 *
 *     BANNER...  see smtp_greeting.c      READY            -                QUIT
 *     READY      nothing                  start: RSET after an unclean end, else MAIL
 *     RSET       RSET                     MAIL             -                QUIT
 *     MAIL       MAIL                     RCPT             -                end
 *     RCPT       RCPT                     RCPT (last: *)   -                RCPT (last: *)
 *     DATA       DATA                     -                BODY, LONE_DOT   end
 *     BODY       nothing: it is sent      -                -                CLOSED
 *     CHUNK      BDAT, but the last one   BODY             -                end
 *     DOT        the end of the message   end              -                end
 *     LONE_DOT   a dot and no message     end              -                end
 *     QUIT       QUIT                     CLOSED           CLOSED           CLOSED
 *
 *     * DATA, or BODY where BDAT is used; end when no recipient was accepted
 *
 * Each state has one handler for its reply, smtp_on_<state>(). "end" is the end of the transaction:
 * the next one, QUIT or READY follows. "-" is a reply that cannot be: CLOSED, as after 421,
 * silence, nonsense and a lost connection in any state. LONE_DOT: DATA was answered with 3xx though
 * no recipient was accepted. With PIPELINING commands go out before the replies to those before
 * them came; the state is always named for the next reply.
 *
 * Invariants (smtp_check()):
 * 1. Replies are counted: one that begins while no command is unanswered is a breach of protocol,
 *    but for 421 (RFC 5321 3.8) and for a refusal while the body is on its way. It is never taken
 *    for the answer to a later command.
 * 2. A recipient becomes DELIVERED in smtp_on_dot() only.
 * 3. transaction is set from smtp_client_start() until its end, in all of RSET..LONE_DOT, never in
 *    READY, QUIT and CLOSED.
 * 4. After the end of the message went out, an end without a reply is DOUBTFUL, never anything
 *    else.
 * 5. Unanswered command bytes never exceed SMTP_OUT_MAX.
 *
 * RFC 5321 (client side), 1870, 2034, 2920, 3030, 3207, 3461, 3463, 4954, 6152, 6531, 8689. A reply
 * to QUIT is waited for, as 4.1.1.10 wants, and a server that refuses us at the greeting or at EHLO
 * hears QUIT too.
 * Left out on purpose: VRFY, EXPN, HELP; NOOP, for RSET probes as well and also clears up; QUIT
 * behind the final dot in one group; LIMITS (RFC 9422): 452 says the same.
 */
#include "dataplane/smtp_private.h"

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

enum outcome_stage smtp_state_stage(enum smtp_state state)
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
    bool sending = c->state == SMTP_STATE_BODY || c->state == SMTP_STATE_CHUNK;
    c->deadline_ns = timeout_ms == SMTP_MS_NEVER ? TIME_NEVER_NS : now_ns + timeout_ms * NS_PER_MS;
    if (sending && c->deadline_ns > c->body_due_ns) {
        c->deadline_ns = c->body_due_ns;
    }
}

void smtp_enter(struct smtp_client *c, uint64_t now_ns, enum smtp_state state)
{
    c->state = state;
    c->said = false;
    timer_start(c, now_ns);
}

void smtp_check(const struct smtp_client *c)
{
    bool idle = c->state == SMTP_STATE_READY || c->state == SMTP_STATE_QUIT ||
                c->state == SMTP_STATE_CLOSED;
    bool greeting = c->state < SMTP_STATE_READY;
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
    struct smtp_reply reply = {.stage = (uint8_t)smtp_state_stage(c->state)};
    (void)snprintf(reply.text, sizeof reply.text, "%s", why);
    smtp_close(c, now_ns, c->dot_sent ? OUTCOME_DOUBTFUL : OUTCOME_DEFERRED, &reply);
}

void smtp_close_protocol_error(struct smtp_client *c, uint64_t now_ns, const char *what)
{
    c->protocol_error = true;
    smtp_close_without_reply(c, now_ns, what);
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

void smtp_ready(struct smtp_client *c, uint64_t now_ns)
{
    c->idle_since_ns = now_ns;
    if (c->transaction) {
        smtp_transaction_begin(c, now_ns);
    } else {
        smtp_enter(c, now_ns, c->quit_next ? SMTP_STATE_QUIT : SMTP_STATE_READY);
    }
}

void smtp_established(struct smtp_client *c, uint64_t now_ns)
{
    c->events |= SMTP_EV_READY;
    smtp_ready(c, now_ns);
}

/* ---- the caller's calls ------------------------------------------------------------------ */

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
        .starttls_ms = or_default(from->starttls_ms, 60),
        .auth_ms = or_default(from->auth_ms, 300),
        .bytes_per_s_min = from->bytes_per_s_min > 0 ? from->bytes_per_s_min : 500,
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
    smtp_check(c);
}

/* Not in DOT: at most a send queue stands before the dot then, and its 600 s are enough for that.
 */
void smtp_client_progress(struct smtp_client *c, uint64_t now_ns)
{
    if (c->state == SMTP_STATE_BODY || c->state == SMTP_STATE_CHUNK) {
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
    smtp_check(c);
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

bool smtp_client_lacked(const struct smtp_client *c)
{
    return c->lacked;
}

uint32_t smtp_client_extensions(const struct smtp_client *c)
{
    return c->extensions.flags;
}

bool smtp_client_is_secure(const struct smtp_client *c)
{
    return c->secure;
}

bool smtp_client_protocol_error(const struct smtp_client *c)
{
    return c->protocol_error;
}

const struct smtp_reply *smtp_client_close_reply(const struct smtp_client *c)
{
    return &c->close_reply;
}

uint32_t smtp_client_bare_lf_count(const struct smtp_client *c)
{
    return c->n_bare_lf;
}
