/*
 * relay_session.c - one connection to a relay: a kernel socket on the loop below, the SMTP engine
 * above. States: see relay_private.h.
 *
 * One piece of output is under way at a time; commands are copied, the body goes out of the
 * channel's arena by reference, so a slot is not finished while a piece of its body is being
 * written: such a session is closed first.
 */
#include "control/relay_private.h"

#include <netinet/in.h>

#define CONNECT_MS 30000
#define ROOM_BYTES 65536u

static void run(struct relay_session *s);

uint64_t relay_now_ns(void)
{
    return uv_hrtime();
}

/* ---- the end ----------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct relay_session *s = handle->data;
    if (--s->handles > 0) {
        return;
    }
    struct relay_route *route = s->route;
    for (struct relay_session **at = &route->sessions; *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    route->n_sessions--;
    if (s->block) {
        tls_block_release(s->block);
    }
    if (s->tls_on) {
        tls_client_free(&s->tls);
    }
    relay_token_free(s->token);
    free(s);
    relay_run(route);
}

void relay_session_close(struct relay_session *s)
{
    if (s->state == RELAY_CLOSING) {
        return;
    }
    s->route->n_idle -= s->state == RELAY_IDLE;
    s->state = RELAY_CLOSING;
    uv_close((uv_handle_t *)&s->tcp, on_closed);
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

/* ---- the job ----------------------------------------------------------------------------- */

static const char *string_of(struct relay_session *s, uint32_t offset)
{
    struct relays *r = s->route->relays;
    const struct chan_slot *slot = relay_slot(s->route, s->slot);
    return (const char *)r->lane.map.arena + slot->strings.offset + offset;
}

static const char *optional_of(struct relay_session *s, uint32_t offset)
{
    return offset == CHAN_NO_STRING ? NULL : string_of(s, offset);
}

static void fill_transaction(struct relay_session *s)
{
    struct relays *r = s->route->relays;
    const struct chan_slot *slot = relay_slot(s->route, s->slot);
    const uint8_t *arena = r->lane.map.arena;
    for (uint32_t i = 0; i < slot->n_recipients; i++) {
        s->recipients[i] = (struct smtp_recipient){
            .address = string_of(s, slot->recipients[i]),
            .orcpt = optional_of(s, slot->orcpt[i]),
            .notify = slot->notify[i],
        };
    }
    s->transaction = (struct smtp_transaction){
        .mail_from = string_of(s, slot->mail_from),
        .recipients = s->recipients,
        .n_recipients = slot->n_recipients,
        .body = {.prefix = slot->prefix.len > 0 ? arena + slot->prefix.offset : NULL,
                 .prefix_len = (uint32_t)slot->prefix.len,
                 .data = arena + slot->body.offset,
                 .len = slot->body.len,
                 .stuff = (const uint32_t *)(const void *)(arena + slot->stuff.offset),
                 .n_stuff = (uint32_t)(slot->stuff.len / sizeof(uint32_t))},
        .needs = slot->needs,
        .ret = slot->ret,
        .envid = optional_of(s, slot->envid),
    };
}

static bool start(struct relay_session *s)
{
    struct chan_slot *slot = relay_slot(s->route, s->slot);
    struct timespec now;
    fill_transaction(s);
    if (!smtp_client_start(&s->client, relay_now_ns(), &s->transaction)) {
        return false;
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    slot->started_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
    slot->reused = s->messages > 0;
    s->messages++;
    s->bytes_sent = 0;
    chan_lane_set_state(&s->route->relays->lane, s->slot, CHAN_STARTED);
    return true;
}

/* The SMTP endpoint of SES says so after DATA. */
static bool is_too_fast(const struct smtp_reply *reply)
{
    return reply->code == 454 && strstr(reply->text, "Maximum sending rate") != NULL;
}

static void slow_down(struct relay_route *route)
{
    struct ctl *ctl = route->relays->ctl;
    relay_rate_cut(&route->rate, uv_now(ctl->loop), ctl_random(ctl));
}

/* The engine's results go into the slot, which is done. */
static void job_done(struct relay_session *s)
{
    struct chan_slot *slot = relay_slot(s->route, s->slot);
    uint32_t number = s->slot;
    s->slot = RELAY_NO_SLOT;
    for (uint32_t i = 0; i < slot->n_recipients; i++) {
        const struct smtp_recipient *rcpt = &s->recipients[i];
        struct chan_result *result = &slot->results[i];
        *result = (struct chan_result){
            .kind = (uint8_t)rcpt->kind, .stage = rcpt->reply.stage, .code = rcpt->reply.code};
        memcpy(result->enhanced, rcpt->reply.enhanced, sizeof result->enhanced);
        (void)snprintf(result->text, sizeof result->text, "%s", rcpt->reply.text);
        if (is_too_fast(&rcpt->reply)) {
            slow_down(s->route);
        }
    }
    slot->peer = s->addresses.targets[s->target].addr;
    slot->peer_port = s->route->config->port;
    slot->bytes_sent = s->bytes_sent;
    slot->extensions = smtp_client_extensions(&s->client);
    const char *version = s->tls_on ? tls_client_result(&s->tls)->version : NULL;
    slot->tls_version = !version ? 0 : strcmp(version, "TLSv1.3") == 0 ? 3 : 2;
    slot->tls_verified = s->tls_on && tls_client_result(&s->tls)->verified;
    s->route->sent++;
    relay_finish(s->route, number);
}

/* ---- output ------------------------------------------------------------------------------ */

static void on_written(uv_write_t *write, int status)
{
    struct relay_session *s = write->data;
    s->writing = false;
    if (s->block) {
        tls_block_release(s->block);
        s->block = NULL;
    }
    if (s->state == RELAY_CLOSING) {
        return;
    }
    if (status != 0) {
        smtp_client_eof(&s->client, relay_now_ns(), uv_strerror(status));
    } else {
        smtp_client_progress(&s->client, relay_now_ns());
    }
    run(s);
}

/* Only one write is under way at a time; the bytes stay where they are until then. */
void relay_session_write(struct relay_session *s, const uint8_t *data, uint32_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, len);
    s->write.data = s;
    int result = uv_write(&s->write, (uv_stream_t *)&s->tcp, &buf, 1, on_written);
    s->writing = result == 0;
    if (result != 0) {
        smtp_client_eof(&s->client, relay_now_ns(), uv_strerror(result));
    }
}

/* The engine's next piece, a command in memory of our own. */
bool relay_session_next_piece(struct relay_session *s, struct smtp_piece *piece)
{
    if (!smtp_client_output(&s->client, relay_now_ns(), ROOM_BYTES, piece)) {
        return false;
    }
    if (piece->kind == SMTP_PIECE_COMMAND) {
        memcpy(s->command, piece->data, piece->len);
        piece->data = s->command;
    }
    if (piece->final_dot && s->slot != RELAY_NO_SLOT) {
        chan_lane_set_state(&s->route->relays->lane, s->slot, CHAN_DOT_SENT);
    }
    s->bytes_sent += piece->len;
    return true;
}

/* True when something was sent; what follows waits until it is written. */
static bool pump(struct relay_session *s)
{
    struct smtp_piece piece;
    if (s->writing) {
        return false;
    }
    if (s->tls_on) {
        return relay_tls_pump(s);
    }
    if (!relay_session_next_piece(s, &piece)) {
        return false;
    }
    relay_session_write(s, piece.data, piece.len);
    return true;
}

/* ---- what happens ------------------------------------------------------------------------ */

/* A test has its answer. */
static void test_done(struct relay_session *s, bool good, const char *text)
{
    relay_test_fn test = s->test;
    s->test = NULL;
    test(s->test_user, good, text, smtp_client_extensions(&s->client));
}

/* The session ended with the transaction open, or before one. */
static void ended(struct relay_session *s)
{
    struct relay_route *route = s->route;
    const struct smtp_reply *reply = smtp_client_close_reply(&s->client);
    char why[SMTP_TEXT_MAX];
    bool before_mail = smtp_client_untouched(&s->client), fresh = s->messages <= 1;
    bool in_clear = s->tls_on && relay_route_tls(s->route) == SMTP_TLS_NONE; /* from now on */
    uint32_t slot = s->slot;
    if (reply->code != 0) {
        (void)snprintf(why, sizeof why, "%u %.*s", reply->code, (int)sizeof why - 8, reply->text);
    } else {
        (void)snprintf(why, sizeof why, "%.*s", (int)sizeof why - 1, reply->text);
    }
    if (s->test) {
        test_done(s, false, why);
    }
    if (slot == RELAY_NO_SLOT) {
        relay_session_close(s);
        return;
    }
    relay_session_close(s); /* first: nothing of the body is written after this */
    if (before_mail && (!fresh || in_clear)) {
        s->slot = RELAY_NO_SLOT;
        relay_unread(route, slot); /* a reused connection had ended: no fault of the relay; or it is
                                      tried in clear */
        return;
    }
    job_done(s);
    if (before_mail) {
        relay_route_bad(route, why);
    }
}

static void quit(struct relay_session *s)
{
    s->route->n_idle -= s->state == RELAY_IDLE;
    s->state = RELAY_QUITTING;
    smtp_client_quit(&s->client, relay_now_ns());
}

static void transaction_done(struct relay_session *s)
{
    struct relay_route *route = s->route;
    uint32_t slot;
    if (s->writing) { /* the relay answered before it had all: the stream is torn */
        relay_session_close(s);
        job_done(s);
        return;
    }
    relay_route_good(route);
    job_done(s);
    if (s->state == RELAY_CLOSING) {
        return;
    }
    if (s->messages >= route->config->messages_per_connection || route->paused) {
        quit(s);
    } else if (relay_next(route, &slot)) {
        s->slot = slot;
        if (!start(s)) {
            relay_unread(route, slot);
            s->slot = RELAY_NO_SLOT;
            quit(s);
        }
    } else if (route->config->idle_ms == 0) {
        quit(s);
    } else {
        s->state = RELAY_IDLE;
        route->n_idle++;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct relay_session *s = timer->data;
    if (s->state == RELAY_CONNECTING || s->state == RELAY_CLOSING) {
        return;
    }
    if (s->state == RELAY_IDLE) {
        quit(s);
    } else {
        smtp_client_on_deadline(&s->client, relay_now_ns());
    }
    run(s);
}

static void arm(struct relay_session *s)
{
    uint64_t due = smtp_client_deadline_ns(&s->client), now = relay_now_ns();
    uint64_t wait_ms = due == TIME_NEVER_NS ? UINT32_MAX
                       : due <= now         ? 0
                                            : (due - now) / NS_PER_MS + 1;
    if (s->state == RELAY_IDLE && s->route->config->idle_ms < wait_ms) {
        wait_ms = s->route->config->idle_ms;
    }
    (void)uv_timer_start(&s->timer, on_timer, wait_ms, 0);
}

/* Bytes of the connection to the engine, through TLS when that is on. */
static void take_input(struct relay_session *s, const uint8_t *data, uint32_t len)
{
    if (s->tls_on) {
        relay_tls_input(s, data, len);
    } else {
        smtp_client_input(&s->client, relay_now_ns(), data, len);
    }
}

/* Events and output of the engine until it has nothing more. */
static void run(struct relay_session *s)
{
    for (;;) {
        uint32_t events = smtp_client_next_event(&s->client);
        if (events & SMTP_EV_STARTTLS) {
            relay_tls_begin(s);
        }
        if ((events & SMTP_EV_TRANSACTION_DONE) && s->slot != RELAY_NO_SLOT) {
            transaction_done(s);
        }
        if ((events & SMTP_EV_READY) && s->test) {
            test_done(s, true, "it answered EHLO");
            quit(s);
        }
        if ((events & SMTP_EV_CLOSED) && s->state != RELAY_CLOSING) {
            ended(s);
        }
        if (s->state == RELAY_CLOSING) {
            return;
        }
        if (!pump(s) && events == 0) {
            arm(s);
            return;
        }
    }
}

/* ---- input ------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct relay_session *s = handle->data;
    (void)suggested;
    *buf = uv_buf_init(s->chunk, sizeof s->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct relay_session *s = stream->data;
    if (n == 0 || s->state == RELAY_CLOSING) {
        return;
    }
    if (n > 0) {
        take_input(s, (const uint8_t *)buf->base, (uint32_t)n);
    } else {
        (void)uv_read_stop(stream);
        if (s->tls_on) {
            tls_client_eof(&s->tls);
            relay_tls_events(s);
        }
        smtp_client_eof(&s->client, relay_now_ns(),
                        n == UV_EOF ? "the server closed the connection" : uv_strerror((int)n));
    }
    run(s);
}

/* ---- connecting -------------------------------------------------------------------------- */

static void on_connected(uv_connect_t *connect, int status);

static void address_of(const struct dns_target *target, uint16_t port, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof *ret);
    if (target->addr.family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, target->addr.bytes, 4);
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, target->addr.bytes, 16);
    }
}

static void on_connect_timeout(uv_timer_t *timer)
{
    struct relay_session *s = timer->data;
    if (s->state == RELAY_CONNECTING) {
        on_connected(&s->connect, UV_ETIMEDOUT);
    }
}

static void connect_next(struct relay_session *s)
{
    struct sockaddr_storage address;
    address_of(&s->addresses.targets[s->target], s->route->config->port, &address);
    s->connect.data = s;
    (void)uv_timer_start(&s->timer, on_connect_timeout, CONNECT_MS, 0);
    int result =
        uv_tcp_connect(&s->connect, &s->tcp, (const struct sockaddr *)&address, on_connected);
    if (result != 0) {
        on_connected(&s->connect, result);
    }
}

/* The next address of the relay on a connection of its own; without one the job is deferred. */
static void connect_failed(struct relay_session *s, int status)
{
    struct relay_route *route = s->route;
    struct dns_answer rest = s->addresses;
    char why[SMTP_TEXT_MAX];
    uint32_t slot = s->slot, next = s->target + 1;
    (void)snprintf(why, sizeof why, "%.120s: %s", s->addresses.targets[s->target].host,
                   uv_strerror(status));
    s->slot = RELAY_NO_SLOT;
    relay_session_close(s);
    if (s->test) {
        test_done(s, false, why);
        return;
    }
    if (next < rest.n_targets) {
        memmove(rest.targets, rest.targets + next,
                (rest.n_targets - next) * sizeof rest.targets[0]);
        rest.n_targets -= next;
        relay_session_open(route, &rest, slot);
        return;
    }
    relay_fail(route, slot, OUTCOME_DEFERRED, OUTCOME_STAGE_CONNECT, why);
    relay_route_bad(route, why);
}

static void configure(struct relay_session *s)
{
    const struct ctl_route *config = s->route->config;
    bool login = config->username[0] != '\0';
    const struct smtp_options options = {
        .tls = relay_route_tls(s->route),
        .username = login ? config->username : NULL,
        .password = login && !s->token ? config->password : NULL,
        .token = s->token,
        .hmac_md5 = relay_hmac_md5,
    };
    smtp_client_configure(&s->client, relay_now_ns(), &options);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct relay_session *s = connect->data;
    if (s->state != RELAY_CONNECTING) {
        return;
    }
    if (status != 0) {
        connect_failed(s, status);
        return;
    }
    s->state = RELAY_BUSY;
    (void)uv_tcp_nodelay(&s->tcp, 1);
    smtp_client_init(&s->client, relay_now_ns(), s->route->relays->ctl->config.hostname,
                     &(struct smtp_timeouts){0});
    configure(s);
    INVARIANT(s->test || start(s)); /* a session that has just begun takes a transaction */
    (void)uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
    run(s);
}

/* token: taken over. */
static struct relay_session *session_new(struct relay_route *route,
                                         const struct dns_answer *addresses, uint32_t slot,
                                         char *token)
{
    uv_loop_t *loop = route->relays->ctl->loop;
    struct relay_session *s = ctl_must(calloc(1, sizeof *s));
    s->route = route;
    s->slot = slot;
    s->token = token;
    memcpy(&s->addresses, addresses,
           offsetof(struct dns_answer, targets) +
               addresses->n_targets * sizeof addresses->targets[0]);
    s->next = route->sessions;
    route->sessions = s;
    route->n_sessions++;
    s->tcp.data = s->timer.data = s;
    s->handles = 2;
    (void)uv_tcp_init(loop, &s->tcp);
    (void)uv_timer_init(loop, &s->timer);
    return s;
}

void relay_session_open(struct relay_route *route, const struct dns_answer *addresses,
                        uint32_t slot)
{
    char why[SMTP_TEXT_MAX], *token;
    if (relay_token_read(route->config, &token, why, sizeof why)) {
        connect_next(session_new(route, addresses, slot, token));
        return;
    }
    relay_fail(route, slot, OUTCOME_DEFERRED, OUTCOME_STAGE_AUTH, why);
    relay_route_bad(route, why);
}

void relay_session_test(struct relay_route *route, const struct dns_answer *addresses,
                        relay_test_fn done, void *user)
{
    char why[SMTP_TEXT_MAX], *token;
    if (!relay_token_read(route->config, &token, why, sizeof why)) {
        done(user, false, why, 0);
        return;
    }
    struct relay_session *s = session_new(route, addresses, RELAY_NO_SLOT, token);
    s->test = done;
    s->test_user = user;
    connect_next(s);
}

void relay_session_reuse(struct relay_session *s, uint32_t slot)
{
    s->route->n_idle--;
    s->state = RELAY_BUSY;
    s->slot = slot;
    if (!start(s)) {
        s->slot = RELAY_NO_SLOT;
        relay_unread(s->route, slot);
        quit(s);
    }
    run(s);
}
