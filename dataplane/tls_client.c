/*
 * tls_client.c - one connection: handshake, plaintext, its end.
 *
 *     HANDSHAKE --tls_client_input()--> OPEN --close_notify--> CLOSED
 *         |                              |                       |
 *         +------- alert, nonsense, no block, end -------------> FAILED
 *
 * 1. Plaintext comes and goes in OPEN only; CLOSED still sends.
 * 2. OPEN is not reached under a policy that enforces without the peer's being verified.
 * 3. FAILED and CLOSED are final for input: what follows is dropped unread.
 * 4. OpenSSL's queue of errors is empty between calls.
 */
#include "dataplane/tls_private.h"

#define VERDICT_LIFE_NS     (7200 * NS_PER_S) /* of what was found out about a peer */
#define RECORD_PLAIN_MAX    16384u
#define RECORD_OVERHEAD_MAX 64u /* header, explicit nonce, tag or MAC and padding, content type */

static void enter(struct tls_client *c, enum tls_state state, uint32_t event)
{
    c->state = state;
    c->events |= event;
    if (state != TLS_STATE_OPEN) {
        c->in_len = 0;
    }
}

static void fail(struct tls_client *c)
{
    c->context->counters.failed++;
    enter(c, TLS_STATE_FAILED, TLS_EV_FAILED);
}

static void fail_with(struct tls_client *c, const char *reason)
{
    tls_policy_note(c, TLS_FAILURE_VALIDATION, reason);
    fail(c);
}

/* ---- beginning and end of it ------------------------------------------------------------- */

static void offer_ticket(struct tls_client *c)
{
    uint64_t due_ns;
    SSL_SESSION *session = tls_ticket_take(c->context, c->now_ns, c->key, &due_ns);
    c->due_ns = c->now_ns + VERDICT_LIFE_NS;
    if (session && SSL_set_session(c->ssl, session) == 1) {
        c->offered_due_ns = due_ns;
    }
    SSL_SESSION_free(session);
}

static void keep_ticket(struct tls_client *c, SSL_SESSION *session)
{
    uint64_t hint_ns = SSL_SESSION_get_ticket_lifetime_hint(session) * NS_PER_S;
    uint64_t due_ns = SSL_session_reused(c->ssl) ? c->offered_due_ns : c->due_ns;
    if (hint_ns > 0 && c->now_ns + hint_ns < due_ns) {
        due_ns = c->now_ns + hint_ns;
    }
    tls_ticket_put(c->context, c->key, session, due_ns);
}

/* OpenSSL's call: a new ticket came. */
int tls_client_on_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *c = SSL_get_app_data(ssl);
    if (SSL_SESSION_is_resumable(session) != 1) {
        return 0;
    }
    keep_ticket(c, session);
    return 1;
}

/* A TLS 1.2 ticket may be used again (RFC 5077), and the server may not give another. */
static void put_ticket_back(struct tls_client *c)
{
    if (c->result.resumed && SSL_version(c->ssl) < TLS1_3_VERSION) {
        keep_ticket(c, SSL_get1_session(c->ssl));
    }
}

static void established(struct tls_client *c)
{
    struct tls_counters *counters = &c->context->counters;
    c->result.version = SSL_get_version(c->ssl);
    c->result.cipher = SSL_get_cipher_name(c->ssl);
    c->result.resumed = SSL_session_reused(c->ssl);
    tls_policy_judge(c);
    if (c->enforces && !c->result.verified) { /* OpenSSL has seen to that; the stakes are high */
        fail(c);
        return;
    }
    counters->established++;
    counters->resumed += c->result.resumed;
    counters->verified += c->result.verified;
    enter(c, TLS_STATE_OPEN, TLS_EV_ESTABLISHED);
    put_ticket_back(c);
}

static void shake_hands(struct tls_client *c)
{
    ERR_clear_error();
    int done = SSL_do_handshake(c->ssl);
    int error = SSL_get_error(c->ssl, done);
    if (c->short_of_blocks) {
        fail_with(c, "no memory for output");
    } else if (done == 1) {
        established(c);
    } else if (error != SSL_ERROR_WANT_READ) {
        tls_policy_note_error(c);
        fail(c);
    }
    ERR_clear_error();
}

static enum tls_error set_up(struct tls_client *c, const struct tls_request *request)
{
    if (!tls_ticket_key(c->context, request, c->key)) {
        return TLS_E_OPENSSL;
    }
    BIO *bio = tls_bio_new(c);
    c->ssl = SSL_new(c->context->ssl);
    if (!bio || !c->ssl) {
        BIO_free(bio);
        return TLS_E_MEMORY;
    }
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_connect_state(c->ssl);
    SSL_set_app_data(c->ssl, c);
    return tls_policy_apply(c, request);
}

enum tls_error tls_client_init(struct tls_client *c, struct tls_context *context, uint64_t now_ns,
                               const struct tls_request *request)
{
    *c = (struct tls_client){.context = context, .now_ns = now_ns};
    if (context->n_free <= context->n_reserve) {
        context->counters.blocks_short++;
        return TLS_E_LIMIT;
    }
    enum tls_error error = set_up(c, request);
    ERR_clear_error();
    if (error != TLS_E_OK) {
        SSL_free(c->ssl);
        c->ssl = NULL;
        return error;
    }
    offer_ticket(c);
    context->counters.handshakes++;
    shake_hands(c);
    return TLS_E_OK;
}

void tls_client_free(struct tls_client *c)
{
    struct tls_block *block;
    while ((block = tls_client_output(c)) != NULL) {
        tls_block_release(block);
    }
    if (c->ssl && c->state != TLS_STATE_FAILED) { /* or OpenSSL would spoil its tickets */
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(c->ssl);
    c->ssl = NULL;
}

/* ---- bytes ------------------------------------------------------------------------------- */

void tls_client_input(struct tls_client *c, uint64_t now_ns, const uint8_t *data, uint32_t len)
{
    INVARIANT(c->in_len == 0); /* what came before was read */
    c->now_ns = now_ns;
    if (c->state == TLS_STATE_FAILED || c->state == TLS_STATE_CLOSED) {
        return;
    }
    c->in = data;
    c->in_len = len;
    if (c->state == TLS_STATE_HANDSHAKE) {
        shake_hands(c);
    }
}

/* SSL_read() gave nothing. */
static void nothing_read(struct tls_client *c, int error)
{
    if (c->short_of_blocks) {
        fail_with(c, "no memory for output");
    } else if (error == SSL_ERROR_ZERO_RETURN) {
        enter(c, TLS_STATE_CLOSED, TLS_EV_CLOSED);
    } else if (error != SSL_ERROR_WANT_READ) {
        tls_policy_note_error(c);
        fail(c);
    }
}

uint32_t tls_client_read(struct tls_client *c, uint64_t now_ns, uint8_t *buf, uint32_t size)
{
    size_t n = 0;
    c->now_ns = now_ns;
    if (c->state != TLS_STATE_OPEN || size == 0) {
        return 0;
    }
    ERR_clear_error();
    int done = SSL_read_ex(c->ssl, buf, size, &n);
    if (done != 1) {
        nothing_read(c, SSL_get_error(c->ssl, done));
        n = 0;
    }
    ERR_clear_error();
    return (uint32_t)n;
}

uint32_t tls_client_room(const struct tls_client *c)
{
    const struct tls_context *context = c->context;
    bool open = c->state == TLS_STATE_OPEN || c->state == TLS_STATE_CLOSED;
    uint32_t pool = context->n_free > context->n_reserve ? context->n_free - context->n_reserve : 0;
    uint32_t queue = TLS_QUEUE_MAX - c->n_queued;
    uint32_t blocks = pool < queue ? pool : queue;
    if (!open || blocks < 2) {
        return 0;
    }
    uint32_t room = (blocks - 1) * TLS_BLOCK_BYTES - RECORD_OVERHEAD_MAX; /* one: for what waits */
    return room < RECORD_PLAIN_MAX ? room : RECORD_PLAIN_MAX;
}

uint32_t tls_client_write(struct tls_client *c, uint64_t now_ns, const uint8_t *data, uint32_t len)
{
    uint32_t room = tls_client_room(c);
    size_t n = 0;
    c->now_ns = now_ns;
    len = len < room ? len : room;
    if (len == 0) {
        return 0;
    }
    ERR_clear_error();
    if (SSL_write_ex(c->ssl, data, len, &n) != 1) {
        tls_policy_note_error(c);
        fail(c);
        n = 0;
    }
    ERR_clear_error();
    return (uint32_t)n;
}

/* ---- ends and events --------------------------------------------------------------------- */

void tls_client_eof(struct tls_client *c)
{
    if (c->state == TLS_STATE_HANDSHAKE) {
        fail_with(c, "the peer closed the connection in the handshake");
    }
}

void tls_client_close(struct tls_client *c)
{
    if (c->state == TLS_STATE_OPEN || c->state == TLS_STATE_CLOSED) {
        (void)SSL_shutdown(c->ssl); /* its answer is of no use to us */
        ERR_clear_error();
    }
}

uint32_t tls_client_next_event(struct tls_client *c)
{
    uint32_t events = c->events;
    c->events = 0;
    return events;
}

const struct tls_result *tls_client_result(const struct tls_client *c)
{
    return &c->result;
}
