/*
 * smtp_greeting.c - from the connection to the first transaction: greeting, EHLO or HELO, STARTTLS
 * and AUTH as the options want them.
 *
 *     state      2xx                                      4xx         5xx
 *
 *     BANNER     EHLO                                     QUIT        QUIT
 *     EHLO       STARTTLS if it is wanted and not on,     QUIT        HELO
 *                else AUTH if it is wanted, else READY
 *     HELO       AUTH, READY                              QUIT        QUIT
 *     STARTTLS   TLS                                      as if it was not offered
 *     TLS        smtp_client_tls_done(): EHLO
 *     AUTH...    READY                                    QUIT        QUIT
 *
 * With SMTP_TLS_IMPLICIT the session begins in TLS, and BANNER follows.
 *
 * - A server that refuses us here is not a word about any recipient: deferred, with QUIT.
 * - What the server offered in clear is forgotten when TLS is on (RFC 3207 4.2), and no byte that
 *   came in clear is read afterwards: one that follows the reply to STARTTLS ends the session
 *   (CVE-2011-0411 is its counterpart in servers).
 * - SMTP_TLS_MUST: where TLS is not offered or is refused, nothing is said but QUIT.
 */
#include "dataplane/smtp_private.h"

#define TEXT_INJECTED "protocol error: plaintext behind the reply to STARTTLS"

void smtp_on_banner(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (smtp_reply_class(reply) == 2) {
        smtp_enter(c, now_ns, SMTP_STATE_EHLO);
    } else { /* about the host, not about the recipients (RFC 5321 3.1) */
        smtp_refused(c, now_ns, reply);
    }
}

/* What is known about the server is complete. */
static void after_tls(struct smtp_client *c, uint64_t now_ns)
{
    if (c->options.username) {
        smtp_auth_begin(c, now_ns);
    } else {
        smtp_established(c, now_ns);
    }
}

static void without_tls(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *why)
{
    if (c->options.tls == SMTP_TLS_MUST) {
        smtp_refused(c, now_ns, why);
    } else {
        after_tls(c, now_ns);
    }
}

static void after_hello(struct smtp_client *c, uint64_t now_ns)
{
    static const struct smtp_reply not_offered = {
        .enhanced = {4, 7, 4},
        .stage = OUTCOME_STAGE_STARTTLS,
        .text = SMTP_BY_US "TLS is required, and STARTTLS is not offered",
    };
    c->extensions.flags &= ~c->options.avoid;
    if (c->options.avoid & SMTP_EXT_SIZE) {
        c->extensions.size_bytes = 0;
    }
    if (c->secure || c->options.tls == SMTP_TLS_NONE) {
        after_tls(c, now_ns);
    } else if (c->extensions.flags & SMTP_EXT_STARTTLS) {
        smtp_enter(c, now_ns, SMTP_STATE_STARTTLS);
    } else {
        without_tls(c, now_ns, &not_offered);
    }
}

void smtp_on_ehlo(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (smtp_reply_class(reply) == 2) {
        after_hello(c, now_ns);
    } else if (smtp_reply_class(reply) == 5) { /* RFC 5321 3.2 */
        smtp_enter(c, now_ns, SMTP_STATE_HELO);
    } else {
        smtp_refused(c, now_ns, reply);
    }
}

void smtp_on_helo(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (smtp_reply_class(reply) == 2) {
        after_hello(c, now_ns);
    } else {
        smtp_refused(c, now_ns, reply);
    }
}

/* ---- TLS --------------------------------------------------------------------------------- */

static void tls_begin(struct smtp_client *c, uint64_t now_ns)
{
    c->events |= SMTP_EV_STARTTLS;
    smtp_enter(c, now_ns, SMTP_STATE_TLS);
}

void smtp_on_starttls(struct smtp_client *c, uint64_t now_ns, const struct smtp_reply *reply)
{
    if (smtp_reply_class(reply) == 2) {
        tls_begin(c, now_ns);
    } else { /* RFC 3207 4: the client decides whether to go on */
        without_tls(c, now_ns, reply);
    }
}

void smtp_tls_injected(struct smtp_client *c, uint64_t now_ns)
{
    smtp_close_protocol_error(c, now_ns, TEXT_INJECTED);
}

void smtp_client_configure(struct smtp_client *c, uint64_t now_ns,
                           const struct smtp_options *options)
{
    INVARIANT(c->state == SMTP_STATE_BANNER && smtp_reader_at_start(&c->reader));
    smtp_auth_check(options);
    c->options = *options;
    if (options->tls == SMTP_TLS_IMPLICIT) {
        tls_begin(c, now_ns);
    }
}

void smtp_client_tls_done(struct smtp_client *c, uint64_t now_ns, bool verified)
{
    if (c->state != SMTP_STATE_TLS) {
        return; /* it was given up meanwhile */
    }
    memset(&c->extensions, 0, sizeof c->extensions);
    c->secure = true;
    c->verified = verified;
    smtp_enter(c, now_ns,
               c->options.tls == SMTP_TLS_IMPLICIT ? SMTP_STATE_BANNER : SMTP_STATE_EHLO);
}

/* With TLS 1.3 the client ends the handshake first: the server's word about it, an alert, comes in
 * the place of its first reply. */
static bool handshake_is_open(const struct smtp_client *c)
{
    return c->state == SMTP_STATE_TLS ||
           (c->secure && c->state <= SMTP_STATE_EHLO && smtp_reader_at_start(&c->reader));
}

void smtp_client_tls_failed(struct smtp_client *c, uint64_t now_ns, const char *why)
{
    struct smtp_reply reply = {.enhanced = {4, 7, 5}, .stage = OUTCOME_STAGE_STARTTLS};
    if (!handshake_is_open(c)) {
        smtp_client_eof(c, now_ns, why);
        return;
    }
    (void)snprintf(reply.text, sizeof reply.text, "%s", why);
    smtp_close(c, now_ns, OUTCOME_DEFERRED, &reply);
}
