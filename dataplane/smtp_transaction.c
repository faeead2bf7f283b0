/*
 * smtp_transaction.c - MAIL to the reply to the final dot, and what it means for each recipient.
 * The diagram of the states is in smtp_client.c.
 *
 * - What a recipient was told is kept: a refusal of MAIL, RCPT or DATA stays its result, whatever
 *   happens to the session later.
 * - After a refused MAIL the replies to commands that went out with it mean nothing (RFC 2920 3.2);
 *   they are counted and forgotten.
 * - DATA that went out with the recipients may be answered with 354 although none was accepted:
 * then only the dot is sent, and its reply means nothing (RFC 2920 3.1).
 */
#include "dataplane/smtp_private.h"

/* ---- results ----------------------------------------------------------------------------- */

void smtp_transaction_settle(struct smtp_client *c, enum outcome_kind kind,
                             const struct smtp_reply *reply)
{
    const struct smtp_transaction *t = c->transaction;
    for (uint32_t i = 0; i < t->n_recipients; i++) {
        struct smtp_recipient *r = &t->recipients[i];
        if (r->kind == OUTCOME_NONE) {
            r->kind = kind;
            r->reply = *reply;
        }
    }
}

/* What a 4xx or 5xx reply means. A server that did not understand the command (x0z, 555) may have
 * lost its place: it gets no other transaction. */
static enum outcome_kind refusal(struct smtp_client *c, const struct smtp_reply *reply)
{
    if (reply->code / 10 % 10 == 0 || reply->code == 555) {
        c->quit_next = true;
    }
    return smtp_reply_class(reply) == 5 ? OUTCOME_BOUNCED : OUTCOME_DEFERRED;
}

static bool enhanced_is(const struct smtp_reply *reply, uint8_t subject, uint8_t detail)
{
    return reply->enhanced[0] != 0 && reply->enhanced[1] == subject && reply->enhanced[2] == detail;
}

/* RFC 5321 4.5.3.1.10: 552 to RCPT is the old way to say "too many recipients", as 452 is the right
 * one; unless the enhanced code says that it is about size: 5.2.2 mailbox full, 5.2.3 and 5.3.4
 * message too big. */
static bool is_too_many(const struct smtp_reply *reply)
{
    return reply->code == 552 && !enhanced_is(reply, 2, 2) && !enhanced_is(reply, 2, 3) &&
           !enhanced_is(reply, 3, 4);
}

/* The transaction ends and the session goes on. */
static void finish(struct smtp_client *c, uint64_t now_ns)
{
    INVARIANT(c->n_unanswered == 0);
    c->transaction = NULL;
    c->dot_sent = false;
    c->events |= SMTP_EV_TRANSACTION_DONE;
    smtp_ready(c, now_ns);
}

/* It ends before its dot: the server may still hold the sender and some recipients. */
static void finish_unclean(struct smtp_client *c, uint64_t now_ns)
{
    c->rset_first = true;
    finish(c, now_ns);
}

/* ---- the beginning ----------------------------------------------------------------------- */

/* A byte that would end the path, or begin a command of its own. */
static bool is_safe_path(const char *address)
{
    const unsigned char *p = (const unsigned char *)address;
    size_t len = 0;
    for (; p[len] != '\0'; len++) {
        if (p[len] < 0x20 || p[len] == 0x7f || p[len] == '<' || p[len] == '>') {
            return false;
        }
    }
    return len < SMTP_PATH_MAX;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text > 0x7f) {
            return false;
        }
    }
    return true;
}

/* Checks the envelope; *ret_needs is what it and the caller say that the server must offer. */
static bool check_envelope(const struct smtp_transaction *t, uint32_t *ret_needs)
{
    bool safe = t->n_recipients > 0 && is_safe_path(t->mail_from);
    bool ascii = is_ascii(t->mail_from);
    for (uint32_t i = 0; safe && i < t->n_recipients; i++) {
        const char *address = t->recipients[i].address;
        safe = address[0] != '\0' && is_safe_path(address);
        ascii = ascii && is_ascii(address);
    }
    *ret_needs = t->needs | (ascii ? 0 : SMTP_NEED_SMTPUTF8);
    return safe;
}

static bool ends_with_crlf(const uint8_t *data, uint64_t len)
{
    return len >= 2 && data[len - 2] == '\r' && data[len - 1] == '\n';
}

/* The wire form is made by the control plane: anything else here is our own bug. */
static void check_body(const struct smtp_body *b)
{
    INVARIANT(b->prefix_len > 0 || b->len > 0);
    INVARIANT(b->len == 0 || ends_with_crlf(b->data, b->len));
    INVARIANT(b->prefix_len == 0 || ends_with_crlf(b->prefix, b->prefix_len));
    for (uint32_t i = 0; i < b->prefix_len; i++) { /* no dots to stuff: it is made of fields */
        INVARIANT(b->prefix[i] != '.' || (i > 0 && b->prefix[i - 1] != '\n'));
    }
}

bool smtp_client_start(struct smtp_client *c, uint64_t now_ns, struct smtp_transaction *t)
{
    uint32_t needs;
    bool greeting = c->state <= SMTP_STATE_HELO;
    bool idle = c->state == SMTP_STATE_READY && smtp_reader_at_start(&c->reader);
    if (c->transaction || c->quit_next || (!greeting && !idle) || !check_envelope(t, &needs)) {
        return false;
    }
    check_body(&t->body);
    for (uint32_t i = 0; i < t->n_recipients; i++) {
        t->recipients[i].kind = OUTCOME_NONE;
        t->recipients[i].reply = (struct smtp_reply){0};
    }
    c->transaction = t;
    c->needs = needs;
    c->next_command = c->next_rcpt = c->n_accepted = 0;
    c->prefix_sent = c->next_stuff = 0;
    c->body_sent = 0;
    c->mail_answered = c->mail_refused = c->dot_sent = false;
    if (idle) {
        smtp_transaction_begin(c, now_ns);
    }
    return true;
}

/* The reply that we give in the place of the server, or null when it can take the message. */
static const struct smtp_reply *local_refusal(const struct smtp_client *c)
{
    static const struct smtp_reply too_big = {
        .enhanced = {5, 3, 4},
        .stage = OUTCOME_STAGE_MAIL,
        .text = "decided here, not by the server: the message is larger than the SIZE it announced",
    };
    static const struct smtp_reply no_8bit = {
        .enhanced = {5, 6, 3},
        .stage = OUTCOME_STAGE_MAIL,
        .text = "decided here, not by the server: 8-bit message, and 8BITMIME is not offered",
    };
    static const struct smtp_reply no_utf8 = {
        .enhanced = {5, 6, 7},
        .stage = OUTCOME_STAGE_MAIL,
        .text = "decided here, not by the server: internationalized message or address, and "
                "SMTPUTF8 is not offered",
    };
    const struct smtp_extensions *offered = &c->extensions;
    const struct smtp_body *body = &c->transaction->body;
    if (offered->size_bytes > 0 && body->len + body->prefix_len > offered->size_bytes) {
        return &too_big;
    }
    if (c->needs & SMTP_NEED_8BITMIME && !(offered->flags & SMTP_EXT_8BITMIME)) {
        return &no_8bit;
    }
    if (c->needs & SMTP_NEED_SMTPUTF8 && !(offered->flags & SMTP_EXT_SMTPUTF8)) {
        return &no_utf8;
    }
    return NULL;
}

void smtp_transaction_begin(struct smtp_client *c, uint64_t now_ns)
{
    const struct smtp_reply *refused_here = local_refusal(c);
    if (refused_here) {
        smtp_transaction_settle(c, OUTCOME_BOUNCED, refused_here);
        finish(c, now_ns);
        return;
    }
    smtp_enter(c, now_ns, c->rset_first ? SMTP_STATE_RSET : SMTP_STATE_MAIL);
}

void smtp_on_rset(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (smtp_reply_class(reply) != 2) {
        smtp_refused(c, now_ns, reply);
        return;
    }
    c->rset_first = false;
    smtp_enter(c, now_ns, SMTP_STATE_MAIL);
}

/* ---- the envelope ------------------------------------------------------------------------ */

void smtp_on_mail(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    c->mail_answered = true;
    c->unanswered_bytes -= c->mail_bytes;
    if (smtp_reply_class(reply) != 2) {
        c->mail_refused = true;
        smtp_transaction_settle(c, refusal(c, reply), reply);
        if (c->n_unanswered == 0) {
            finish_unclean(c, now_ns);
            return;
        }
    }
    smtp_enter(c, now_ns, SMTP_STATE_RCPT);
}

static void recipient_answered(struct smtp_client *c, struct smtp_recipient *r,
                               const struct smtp_reply *reply)
{
    if (c->mail_refused) {
        return;
    }
    r->reply = *reply;
    if (smtp_reply_class(reply) == 2) {
        c->n_accepted++;
    } else {
        r->kind = is_too_many(reply) ? OUTCOME_DEFERRED : refusal(c, reply);
    }
}

void smtp_on_rcpt(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    const struct smtp_transaction *t = c->transaction;
    struct smtp_recipient *r = &t->recipients[c->next_rcpt++];
    c->unanswered_bytes -= smtp_rcpt_bytes(r->address);
    recipient_answered(c, r, reply);
    bool all_answered = c->next_rcpt == t->n_recipients;
    bool more_to_say = !c->mail_refused && (!all_answered || c->n_accepted > 0);
    if (c->n_unanswered == 0 && !more_to_say) {
        finish_unclean(c, now_ns);
        return;
    }
    smtp_enter(c, now_ns, all_answered ? SMTP_STATE_DATA : SMTP_STATE_RCPT);
}

void smtp_on_data(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    c->unanswered_bytes -= SMTP_DATA_BYTES;
    if (smtp_reply_class(reply) == 3) {
        smtp_enter(c, now_ns, c->n_accepted > 0 ? SMTP_STATE_BODY : SMTP_STATE_LONE_DOT);
        return;
    }
    if (c->n_accepted > 0) {
        smtp_transaction_settle(c, refusal(c, reply), reply);
    }
    finish_unclean(c, now_ns);
}

/* ---- the message ------------------------------------------------------------------------- */

/* The server refuses before it has seen the end. It may want the rest or not, and answer the dot
 * again or not: the session cannot go on. */
void smtp_on_body(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    smtp_close(c, now_ns, refusal(c, reply), reply);
}

void smtp_on_dot(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (c->early) { /* a refusal that began before the dot and ended after it */
        smtp_on_body(c, now_ns, reply);
        return;
    }
    if (smtp_reply_class(reply) == 2) {
        smtp_transaction_settle(c, OUTCOME_DELIVERED, reply);
    } else {
        smtp_transaction_settle(c, refusal(c, reply), reply);
    }
    c->rset_first = false;
    finish(c, now_ns);
}

void smtp_on_lone_dot(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    (void)reply;
    c->rset_first = false;
    finish(c, now_ns);
}
