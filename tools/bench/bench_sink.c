/* bench_sink.c - see bench_sink.h. */
#include "tools/bench/bench_sink.h"

#include "tools/bench/bench_message.h"
#include "tools/bench/bench_sink_tls.h"

#define LINE_MAX_BYTES 1024u
#define RECV_BYTES     16384u
#define REPLIES_BYTES  1024u
#define PORT           25u

enum session_state {
    SESSION_COMMAND,
    SESSION_BODY,
    SESSION_BODY_DOT,    /* a dot at the start of a line */
    SESSION_BODY_DOT_CR, /* ... and CR behind it */
    SESSION_OVER,
};

struct session {
    struct session *next_free;
    uint32_t conn;
    enum session_state state;
    uint32_t line_len;
    uint32_t replies_len;
    uint8_t before[2]; /* the two bytes before the next one of the body */
    bool start_tls;    /* after the reply */
    struct bench_tls *tls;
    struct bench_digest digest;
    uint64_t body_len;
    uint8_t sum_line[BENCH_SUM_LINE];
    uint8_t line[LINE_MAX_BYTES];
    uint8_t replies[REPLIES_BYTES];
};

struct bench_sink {
    struct utcp *tcp;
    struct bench_tls_context *tls;
    struct session *sessions, *free_sessions;
    struct bench_sink_counters counters;
};

struct bench_sink *bench_sink_create(struct utcp *tcp, const struct ip_addr *addr,
                                     uint32_t sessions, bool tls)
{
    struct bench_sink *sink = calloc(1, sizeof *sink);
    if (!sink) {
        return NULL;
    }
    sink->tcp = tcp;
    sink->sessions = calloc(sessions, sizeof sink->sessions[0]);
    for (uint32_t i = 0; sink->sessions && i < sessions; i++) {
        sink->sessions[i].next_free = sink->free_sessions;
        sink->free_sessions = &sink->sessions[i];
    }
    sink->tls = tls ? bench_tls_context_new() : NULL;
    if (!sink->sessions || (tls && !sink->tls) || utcp_listen(tcp, addr, PORT, NULL) != UTCP_OK) {
        bench_sink_destroy(sink);
        return NULL;
    }
    return sink;
}

void bench_sink_destroy(struct bench_sink *sink)
{
    if (!sink) {
        return;
    }
    bench_tls_context_free(sink->tls);
    free(sink->sessions);
    free(sink);
}

const struct bench_sink_counters *bench_sink_counters(const struct bench_sink *sink)
{
    return &sink->counters;
}

/* ---- replies ----------------------------------------------------------------------------- */

/* Replies are gathered while bytes are read, and go out together (RFC 2920 3.2). */
static void say(struct session *s, const char *text)
{
    size_t len = strlen(text);
    if (s->replies_len + len <= sizeof s->replies) {
        memcpy(s->replies + s->replies_len, text, len);
        s->replies_len += (uint32_t)len;
    }
}

static void send_bytes(struct bench_sink *sink, struct session *s, uint64_t now_ns,
                       const uint8_t *data, uint32_t len)
{
    if (len > 0 && utcp_send_copy(sink->tcp, now_ns, s->conn, data, len) == UTCP_OK) {
        utcp_push(sink->tcp, now_ns, s->conn);
    }
}

static void flush(struct bench_sink *sink, struct session *s, uint64_t now_ns)
{
    uint8_t bytes[UTCP_COPY_MAX];
    uint32_t n;
    if (!s->tls) {
        send_bytes(sink, s, now_ns, s->replies, s->replies_len);
        s->replies_len = 0;
        return;
    }
    if (s->replies_len > 0) {
        bench_tls_write(s->tls, s->replies, s->replies_len);
    }
    s->replies_len = 0;
    while ((n = bench_tls_output(s->tls, bytes, sizeof bytes)) > 0) {
        send_bytes(sink, s, now_ns, bytes, n);
    }
}

/* ---- commands ---------------------------------------------------------------------------- */

static bool is_command(const struct session *s, const char *name)
{
    return s->line_len >= strlen(name) &&
           strncasecmp((const char *)s->line, name, strlen(name)) == 0;
}

static void body_begin(struct session *s)
{
    s->state = SESSION_BODY;
    s->before[0] = '\r';
    s->before[1] = '\n';
    s->body_len = 0;
    bench_digest_init(&s->digest);
    say(s, "354 go ahead\r\n");
}

static void on_command(struct bench_sink *sink, struct session *s)
{
    if (is_command(s, "MAIL FROM:") || is_command(s, "RSET") || is_command(s, "NOOP")) {
        say(s, "250 2.1.0 ok\r\n");
    } else if (is_command(s, "RCPT TO:")) {
        say(s, "250 2.1.5 ok\r\n");
    } else if (is_command(s, "DATA")) {
        body_begin(s);
    } else if (is_command(s, "EHLO")) {
        say(s, "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n");
        say(s, sink->tls && !s->tls ? "250-STARTTLS\r\n" : "");
        say(s, "250 ENHANCEDSTATUSCODES\r\n");
    } else if (is_command(s, "STARTTLS") && sink->tls && !s->tls) {
        s->start_tls = true;
        say(s, "220 2.0.0 go ahead\r\n");
    } else if (is_command(s, "QUIT")) {
        s->state = SESSION_OVER;
        say(s, "221 2.0.0 bye\r\n");
    } else {
        sink->counters.confused++;
        say(s, "500 5.5.1 what?\r\n");
    }
}

/* Takes one line, or what there is of it; returns how many bytes. */
static uint32_t command_input(struct bench_sink *sink, struct session *s, const uint8_t *data,
                              uint32_t len)
{
    const uint8_t *end = memchr(data, '\n', len);
    uint32_t n = end ? (uint32_t)(end - data) + 1 : len;
    uint32_t fits = n < LINE_MAX_BYTES - s->line_len ? n : LINE_MAX_BYTES - s->line_len;
    memcpy(s->line + s->line_len, data, fits);
    s->line_len += fits;
    if (end) {
        on_command(sink, s);
        s->line_len = 0;
    }
    return n;
}

/* ---- the body ---------------------------------------------------------------------------- */

/* Bytes of the message itself, without stuffing: the first line aside, the rest into the digest. */
static void body_bytes(struct session *s, const uint8_t *data, uint32_t len)
{
    if (s->body_len < BENCH_SUM_LINE) {
        uint32_t left = BENCH_SUM_LINE - (uint32_t)s->body_len;
        uint32_t n = len < left ? len : left;
        memcpy(s->sum_line + s->body_len, data, n);
        s->body_len += n;
        data += n;
        len -= n;
    }
    s->body_len += len;
    bench_digest_add(&s->digest, data, len);
}

static void body_end(struct bench_sink *sink, struct session *s)
{
    uint64_t sum = 0;
    bool good = s->body_len >= BENCH_SUM_LINE && bench_sum_parse(s->sum_line, &sum) &&
                sum == bench_digest_final(&s->digest);
    sink->counters.messages++;
    sink->counters.bytes += s->body_len;
    sink->counters.wrong += !good;
    s->state = SESSION_COMMAND;
    say(s, good ? "250 2.0.0 taken\r\n" : "554 5.6.0 the digest is wrong\r\n");
}

/* Up to the next dot that begins a line; returns how many bytes were taken, that dot included. */
static uint32_t text_input(struct session *s, const uint8_t *data, uint32_t len)
{
    uint32_t at = 0;
    const uint8_t *dot;
    while ((dot = memchr(data + at, '.', len - at)) != NULL) {
        at = (uint32_t)(dot - data);
        uint8_t last = at >= 1 ? data[at - 1] : s->before[1];
        uint8_t last_but_one = at >= 2 ? data[at - 2] : s->before[at];
        if (last == '\n' && last_but_one == '\r') {
            body_bytes(s, data, at);
            s->state = SESSION_BODY_DOT;
            return at + 1;
        }
        at++;
    }
    body_bytes(s, data, len);
    s->before[0] = len >= 2 ? data[len - 2] : s->before[1];
    s->before[1] = data[len - 1];
    return len;
}

/* A stuffed dot is dropped: what follows it is text. */
static void text_again(struct session *s, const char *text)
{
    s->state = SESSION_BODY;
    s->before[0] = 0;
    s->before[1] = 0;
    body_bytes(s, (const uint8_t *)text, (uint32_t)strlen(text));
    if (text[0] != '\0') {
        s->before[1] = '\r';
    }
}

static uint32_t body_input(struct bench_sink *sink, struct session *s, const uint8_t *data,
                           uint32_t len)
{
    if (s->state == SESSION_BODY) {
        return text_input(s, data, len);
    }
    if (s->state == SESSION_BODY_DOT) {
        if (data[0] == '\r') {
            s->state = SESSION_BODY_DOT_CR;
            return 1;
        }
        text_again(s, "");
        return 0;
    }
    if (data[0] == '\n') {
        body_end(sink, s);
        return 1;
    }
    text_again(s, "\r");
    return 0;
}

static void input(struct bench_sink *sink, struct session *s, const uint8_t *data, uint32_t len)
{
    while (len > 0 && s->state != SESSION_OVER) {
        uint32_t n = s->state == SESSION_COMMAND ? command_input(sink, s, data, len)
                                                 : body_input(sink, s, data, len);
        data += n;
        len -= n;
    }
}

/* ---- connections ------------------------------------------------------------------------- */

static void accepted(struct bench_sink *sink, uint32_t conn)
{
    struct session *s = sink->free_sessions;
    INVARIANT(s != NULL); /* there are as many as the stack has connections */
    sink->free_sessions = s->next_free;
    memset(s, 0, offsetof(struct session, sum_line));
    s->conn = conn;
    sink->counters.connections++;
    utcp_set_user(sink->tcp, conn, s);
    say(s, "220 sink.example ESMTP\r\n");
}

static void over(struct bench_sink *sink, struct session *s, uint64_t now_ns)
{
    utcp_release(sink->tcp, now_ns, s->conn);
    bench_tls_free(s->tls);
    s->tls = NULL;
    s->next_free = sink->free_sessions;
    sink->free_sessions = s;
}

/* False: the session is broken. */
static bool tls_input(struct bench_sink *sink, struct session *s, const uint8_t *data, uint32_t len)
{
    static uint8_t plain[RECV_BYTES + 512];
    bool good = true;
    uint32_t n;
    bench_tls_input(s->tls, data, len);
    while ((n = bench_tls_read(s->tls, plain, sizeof plain, &good)) > 0) {
        input(sink, s, plain, n);
    }
    return good;
}

static bool receive(struct bench_sink *sink, struct session *s, uint64_t now_ns)
{
    static uint8_t bytes[RECV_BYTES];
    uint32_t n;
    bool good = true;
    while (good && (n = utcp_recv(sink->tcp, now_ns, s->conn, bytes, sizeof bytes)) > 0) {
        if (s->tls) {
            good = tls_input(sink, s, bytes, n);
        } else {
            input(sink, s, bytes, n);
        }
    }
    flush(sink, s, now_ns);
    if (s->start_tls) {
        s->start_tls = false;
        s->tls = bench_tls_new(sink->tls);
        good = good && s->tls;
    }
    return good;
}

static void on_event(struct bench_sink *sink, uint64_t now_ns, const struct utcp_event *event)
{
    struct utcp_event e = *event;
    if (e.events & UTCP_EV_ACCEPTED) {
        e.user = sink->free_sessions;
        accepted(sink, e.conn);
    }
    struct session *s = e.user;
    bool good = receive(sink, s, now_ns);
    if (!good || s->state == SESSION_OVER || e.events & (UTCP_EV_EOF | UTCP_EV_CLOSED)) {
        over(sink, s, now_ns);
    }
}

uint32_t bench_sink_run(struct bench_sink *sink, uint64_t now_ns)
{
    struct utcp_event event;
    uint32_t n = 0;
    while (utcp_next_event(sink->tcp, &event)) {
        on_event(sink, now_ns, &event);
        n++;
    }
    return n;
}
