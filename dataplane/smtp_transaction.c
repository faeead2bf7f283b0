/*
 * smtp_transaction.c - MAIL to the reply to the final dot, and what it means for each recipient.
 * The table of the states is in smtp_client.c.
 *
 * - What a recipient was told is kept: a refusal of MAIL, RCPT or DATA stays its result, whatever
 *   happens to the session later.
 * - After a refused MAIL the replies to commands that went out with it mean nothing (RFC 2920 3.2);
 *   they are counted and forgotten.
 * - DATA that went out with the recipients may be answered with 354 although none was accepted:
 *   then only the dot is sent, and its reply means nothing (RFC 2920 3.1).
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

/* "Too many recipients": 452 with 4.5.3, or 552, the old way to say so (RFC 5321 4.5.3.1.10),
 * unless its enhanced code is about size: 5.2.2 mailbox full, 5.2.3 and 5.3.4 message too big. It
 * cannot be meant before one was accepted. */
static bool is_too_many(const struct smtp_client *c, const struct smtp_reply *reply)
{
    if (c->n_accepted == 0) {
        return false;
    }
    return (reply->code == 452 && enhanced_is(reply, 5, 3)) ||
           (reply->code == 552 && !enhanced_is(reply, 2, 2) && !enhanced_is(reply, 2, 3) &&
            !enhanced_is(reply, 3, 4));
}

/* A server that offers BDAT and does not understand it has said nothing about the message. */
static enum outcome_kind message_refusal(struct smtp_client *c, const struct smtp_reply *reply)
{
    enum outcome_kind kind = refusal(c, reply);
    return c->chunked && reply->code / 10 == 50 ? OUTCOME_DEFERRED : kind;
}

/* The transaction ends and the session goes on. */
static void finish(struct smtp_client *c, uint64_t now_ns)
{
    INVARIANT(c->n_unanswered == 0 && c->unanswered_bytes == 0);
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
    bool greeting = c->state < SMTP_STATE_READY;
    bool idle = c->state == SMTP_STATE_READY && smtp_reader_at_start(&c->reader);
    if (c->transaction || c->quit_next || (!greeting && !idle) || !smtp_envelope_check(t, &needs)) {
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
    c->mail_answered = c->mail_refused = c->dot_sent = c->chunked = c->lacked = false;
    if (idle) {
        smtp_transaction_begin(c, now_ns);
    }
    return true;
}

static const struct smtp_reply too_big = {
    .enhanced = {5, 3, 4},
    .stage = OUTCOME_STAGE_MAIL,
    .text = SMTP_BY_US "the message is larger than the SIZE it announced",
};
static const struct smtp_reply no_8bit = {
    .enhanced = {5, 6, 3},
    .stage = OUTCOME_STAGE_MAIL,
    .text = SMTP_BY_US "8-bit message, and 8BITMIME is not offered",
};
static const struct smtp_reply no_utf8 = {
    .enhanced = {5, 6, 7},
    .stage = OUTCOME_STAGE_MAIL,
    .text = SMTP_BY_US "internationalized message or address, and SMTPUTF8 is not offered",
};
static const struct smtp_reply not_verified = {
    .enhanced = {5, 7, 10},
    .stage = OUTCOME_STAGE_MAIL,
    .text = SMTP_BY_US "REQUIRETLS was asked for, and the server is not verified",
};
static const struct smtp_reply no_requiretls = {
    .enhanced = {5, 7, 30},
    .stage = OUTCOME_STAGE_MAIL,
    .text = SMTP_BY_US "REQUIRETLS was asked for, and it is not offered",
};

/* The reply that we give in the place of the server, or null when it can take the message. */
static const struct smtp_reply *local_refusal(const struct smtp_client *c)
{
    uint32_t offered = c->extensions.flags;
    uint64_t limit = c->extensions.size_bytes;
    const struct smtp_body *body = &c->transaction->body;
    if (limit > 0 && body->len + body->prefix_len > limit) {
        return &too_big;
    }
    if (c->needs & SMTP_NEED_8BITMIME && !(offered & SMTP_EXT_8BITMIME)) {
        return &no_8bit;
    }
    if (c->needs & SMTP_NEED_SMTPUTF8 && !(offered & SMTP_EXT_SMTPUTF8)) {
        return &no_utf8;
    }
    if (c->needs & SMTP_NEED_REQUIRETLS && !(c->secure && c->verified)) {
        return &not_verified;
    }
    if (c->needs & SMTP_NEED_REQUIRETLS && !(offered & SMTP_EXT_REQUIRETLS)) {
        return &no_requiretls;
    }
    return NULL;
}

void smtp_transaction_begin(struct smtp_client *c, uint64_t now_ns)
{
    const struct smtp_reply *refused_here = local_refusal(c);
    uint64_t probe_ns = c->options.probe_ms * NS_PER_MS;
    bool stale = probe_ns > 0 && now_ns - c->idle_since_ns > probe_ns;
    if (refused_here) {
        c->lacked = true;
        smtp_transaction_settle(c, OUTCOME_BOUNCED, refused_here);
        finish(c, now_ns);
        return;
    }
    c->chunked = c->options.chunking && c->extensions.flags & SMTP_EXT_CHUNKING;
    smtp_enter(c, now_ns, c->rset_first || stale ? SMTP_STATE_RSET : SMTP_STATE_MAIL);
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
    c->unanswered_bytes -= smtp_command_bytes(c, 0);
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
        r->kind = is_too_many(c, reply) ? OUTCOME_RETURNED : refusal(c, reply);
    }
}

/* All of it must be gone by a time that grows with it. */
static void message_begin(struct smtp_client *c, uint64_t now_ns)
{
    const struct smtp_timeouts *t = &c->timeouts;
    const struct smtp_body *b = &c->transaction->body;
    uint64_t seconds = (b->prefix_len + b->len) / t->bytes_per_s_min;
    c->body_due_ns = now_ns + t->block_ms * NS_PER_MS + seconds * NS_PER_S;
    smtp_enter(c, now_ns, SMTP_STATE_BODY);
}

void smtp_on_rcpt(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    const struct smtp_transaction *t = c->transaction;
    recipient_answered(c, &t->recipients[c->next_rcpt++], reply);
    c->unanswered_bytes -= smtp_command_bytes(c, c->next_rcpt);
    bool all_answered = c->next_rcpt == t->n_recipients;
    bool more_to_say = !c->mail_refused && (!all_answered || c->n_accepted > 0);
    if (c->n_unanswered == 0 && !more_to_say) {
        finish_unclean(c, now_ns);
        return;
    }
    if (all_answered && c->chunked) {
        message_begin(c, now_ns);
        return;
    }
    smtp_enter(c, now_ns, all_answered ? SMTP_STATE_DATA : SMTP_STATE_RCPT);
}

void smtp_on_data(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    c->unanswered_bytes -= smtp_command_bytes(c, c->transaction->n_recipients + 1);
    if (smtp_reply_class(reply) != 3) {
        if (c->n_accepted > 0) {
            smtp_transaction_settle(c, refusal(c, reply), reply);
        }
        finish_unclean(c, now_ns);
    } else if (c->n_accepted > 0) {
        message_begin(c, now_ns);
    } else {
        smtp_enter(c, now_ns, SMTP_STATE_LONE_DOT);
    }
}

/* ---- the message ------------------------------------------------------------------------- */

/* The server refuses before it has seen the end. It may want the rest or not, and answer the dot
 * again or not: the session cannot go on. */
void smtp_on_body(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    smtp_close(c, now_ns, message_refusal(c, reply), reply);
}

/* RFC 3030 4.2: after a refused chunk no other, but RSET. */
void smtp_on_chunk(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (c->early) {
        smtp_on_body(c, now_ns, reply);
    } else if (smtp_reply_class(reply) == 2) {
        smtp_enter(c, now_ns, SMTP_STATE_BODY);
    } else {
        smtp_transaction_settle(c, message_refusal(c, reply), reply);
        finish_unclean(c, now_ns);
    }
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
        smtp_transaction_settle(c, message_refusal(c, reply), reply);
    }
    c->rset_first = c->chunked && smtp_reply_class(reply) != 2;
    finish(c, now_ns);
}

void smtp_on_lone_dot(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    (void)reply;
    c->rset_first = false;
    finish(c, now_ns);
}
