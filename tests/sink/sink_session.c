/* sink_session.c - a connection of the sink: see sink.h. */
#include "tests/sink/sink.h"

#define INPUT_MAX (1u << 20) /* that may wait while actions are played */

/* ---- the log ----------------------------------------------------------------------------- */

static void put_json(const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte > 0x7e || byte == '"' || byte == '\\') {
            printf("\\u%04x", byte);
        } else {
            (void)putchar(byte);
        }
    }
}

/* A line of JSON; ms: since the connection began. */
void sink_log(const struct sink_session *s, const char *what, const char *line)
{
    if (s->sink->quiet) {
        return;
    }
    printf("{\"script\": \"%s\", \"connection\": %u, \"ms\": %llu, \"event\": \"%s\", \"line\": \"",
           s->script->name, s->number, (unsigned long long)(uv_now(s->sink->loop) - s->began_ms),
           what);
    put_json(line);
    printf("\"}\n");
    (void)fflush(stdout);
}

/* ---- the end ----------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct sink_session *s = handle->data;
    if (--s->handles > 0) {
        return;
    }
    s->sink->sessions--;
    SSL_free(s->ssl);
    free(s->input);
    free(s);
}

static void end(struct sink_session *s, bool reset)
{
    if (s->closing) {
        return;
    }
    s->closing = true;
    sink_log(s, reset ? "reset" : "closed", "");
    if (!reset || uv_tcp_close_reset(&s->tcp, on_closed) != 0) {
        uv_close((uv_handle_t *)&s->tcp, on_closed);
    }
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

/* ---- output ------------------------------------------------------------------------------ */

struct output {
    uv_write_t request;
    char bytes[];
};

static void on_written(uv_write_t *request, int status)
{
    (void)status;
    free(request->data);
}

void sink_send(struct sink_session *s, const void *bytes, size_t len)
{
    if (s->closing || len == 0) {
        return;
    }
    if (s->ssl) {
        sink_tls_send(s, bytes, len);
        return;
    }
    struct output *out = malloc(sizeof *out + len);
    INVARIANT(out != NULL);
    memcpy(out->bytes, bytes, len);
    out->request.data = out;
    uv_buf_t buf = uv_buf_init(out->bytes, (unsigned)len);
    if (uv_write(&out->request, (uv_stream_t *)&s->tcp, &buf, 1, on_written) != 0) {
        free(out);
    }
}

/* ---- actions ----------------------------------------------------------------------------- */

static void play(struct sink_session *s);

static void on_time(uv_timer_t *timer)
{
    struct sink_session *s = timer->data;
    s->waiting = false;
    play(s);
}

static void wait(struct sink_session *s, uint32_t ms)
{
    s->waiting = true;
    (void)uv_timer_start(&s->timer, on_time, ms, 0);
}

static void many(struct sink_session *s, const struct sink_action *a)
{
    char *bytes = malloc(a->len * a->number + 1);
    INVARIANT(bytes != NULL);
    for (uint32_t i = 0; i < a->number; i++) {
        memcpy(bytes + i * a->len, a->bytes, a->len);
    }
    sink_send(s, bytes, a->len * a->number);
    free(bytes);
}

/* False: the action goes on after a while. */
static bool drip(struct sink_session *s, const struct sink_action *a)
{
    sink_send(s, a->bytes + s->dripped++, 1);
    if (s->dripped == a->len) {
        s->dripped = 0;
        sink_said(s, a->bytes);
        return true;
    }
    wait(s, a->number);
    return false;
}

/* One action; false: it is not over. */
static bool act(struct sink_session *s, const struct sink_action *a)
{
    switch (a->kind) {
    case SINK_DO_SAY:
    case SINK_DO_RAW:
        sink_send(s, a->bytes, a->len);
        sink_said(s, a->len > 0 ? a->bytes : "");
        return true;
    case SINK_DO_MANY:
        many(s, a);
        return true;
    case SINK_DO_DRIP:
        return drip(s, a);
    case SINK_DO_WAIT:
        wait(s, a->number);
        return true;
    case SINK_DO_CLOSE:
        end(s, false);
        return true;
    case SINK_DO_RESET:
        end(s, true);
        return true;
    case SINK_DO_SILENT:
        s->silent = true;
        return true;
    case SINK_DO_STOP:
        s->stopped = true;
        (void)uv_read_stop((uv_stream_t *)&s->tcp);
        return true;
    case SINK_DO_TLS:
        sink_tls_begin(s);
        return true;
    case SINK_ACTIONS:
        break;
    }
    return true;
}

static void take_input(struct sink_session *s);

static void after_actions(struct sink_session *s)
{
    if (s->event == SINK_QUIT) {
        end(s, false);
    }
    take_input(s);
}

static void play(struct sink_session *s)
{
    s->playing = true;
    while (s->action && !s->waiting && !s->closing && !s->silent) {
        const struct sink_action *a = s->action;
        if (act(s, a)) {
            s->action = a->next;
        }
    }
    s->playing = false;
    if (!s->action && !s->waiting && !s->closing && !s->silent) {
        after_actions(s);
    }
}

/* What a good server does: at once, so that its words need no place of their own. */
static const struct sink_action *own_action(struct sink_session *s, enum sink_event event)
{
    static const struct sink_action tls = {.kind = SINK_DO_TLS};
    static char text[800];
    const char *reply = sink_reply(s, event, text, sizeof text);
    s->own = (struct sink_action){
        .kind = SINK_DO_RAW, .bytes = (char *)(uintptr_t)reply, .len = strlen(reply)};
    if (event == SINK_STARTTLS && s->script->cert[0]) {
        s->own.next = (struct sink_action *)(uintptr_t)&tls;
    }
    return s->own.len > 0 ? &s->own : NULL;
}

void sink_happens(struct sink_session *s, enum sink_event event, const char *line)
{
    static const char *const names[] = {
#define X(name, text) text,
        SINK_EVENT_MAP(X)
#undef X
    };
    const struct sink_action *actions =
        sink_script_find(s->script, event, ++s->counts[event], s->number);
    sink_log(s, names[event], line);
    s->event = event;
    s->action = actions ? actions : own_action(s, event);
    if (s->action && !s->playing) {
        play(s);
    }
}

/* ---- input ------------------------------------------------------------------------------- */

static size_t take_chunk(struct sink_session *s)
{
    size_t n = s->input_len < s->chunk_left ? s->input_len : (size_t)s->chunk_left;
    s->chunk_left -= n;
    return n;
}

/* One line or a piece of a chunk out of the input; false: there is none. */
static bool take_one(struct sink_session *s)
{
    char line[2100];
    bool chunk = s->expect == SINK_IN_CHUNK;
    const uint8_t *end = chunk ? NULL : memchr(s->input, '\n', s->input_len);
    size_t len = chunk ? take_chunk(s) : end ? (size_t)(end - s->input) + 1 : 0;
    if (len == 0) {
        return false;
    }
    size_t kept = len < sizeof line - 1 ? len : sizeof line - 1;
    memcpy(line, s->input, kept);
    line[kept] = '\0';
    s->input_len -= len;
    memmove(s->input, s->input + len, s->input_len);
    if (chunk) {
        if (s->chunk_left == 0) {
            s->expect = SINK_COMMAND;
            sink_happens(s, SINK_BDAT, "");
        }
    } else if (s->expect == SINK_IN_BODY) {
        sink_body_line(s, (const uint8_t *)line, len);
    } else {
        line[strcspn(line, "\r\n")] = '\0';
        sink_command(s, line);
    }
    return true;
}

static bool is_busy(const struct sink_session *s)
{
    return s->action || s->waiting || s->closing || s->silent || s->stopped || s->playing;
}

static void take_input(struct sink_session *s)
{
    while (!is_busy(s) && s->input_len > 0 && take_one(s)) {
        continue;
    }
    if (s->eof && !is_busy(s)) {
        end(s, false);
    }
}

void sink_plain(struct sink_session *s, const uint8_t *bytes, size_t len)
{
    if (s->silent || s->script->tarpit) {
        return;
    }
    if (s->input_len + len > INPUT_MAX) {
        end(s, true);
        return;
    }
    if (s->input_len + len > s->input_cap) {
        s->input_cap = 2 * (s->input_len + len);
        s->input = realloc(s->input, s->input_cap);
        INVARIANT(s->input != NULL);
    }
    memcpy(s->input + s->input_len, bytes, len);
    s->input_len += len;
    take_input(s);
}

static void on_room(uv_handle_t *handle, size_t size, uv_buf_t *ret_buf)
{
    static char room[65536];
    (void)handle;
    (void)size;
    *ret_buf = uv_buf_init(room, sizeof room);
}

static void on_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct sink_session *s = stream->data;
    if (n == 0) {
        return;
    }
    if (n < 0) {
        sink_log(s, n == UV_EOF ? "eof" : "error", n == UV_EOF ? "" : uv_strerror((int)n));
        s->eof = true;
        if (n != UV_EOF || !is_busy(s) || s->silent || s->script->tarpit) {
            end(s, false);
        }
    } else if (s->ssl) {
        sink_tls_input(s, (const uint8_t *)buf->base, (size_t)n);
    } else {
        sink_plain(s, (const uint8_t *)buf->base, (size_t)n);
    }
}

/* ---- the beginning ----------------------------------------------------------------------- */

void sink_session_begin(struct sink *sink, struct sink_script *script, uv_stream_t *listener)
{
    struct sink_session *s = calloc(1, sizeof *s);
    INVARIANT(s != NULL);
    s->sink = sink;
    s->script = script;
    s->number = ++script->n_connections;
    s->began_ms = uv_now(sink->loop);
    s->handles = 2;
    s->tcp.data = s->timer.data = s;
    (void)uv_tcp_init(sink->loop, &s->tcp);
    (void)uv_timer_init(sink->loop, &s->timer);
    sink->sessions++;
    sink->sessions_most =
        sink->sessions > sink->sessions_most ? sink->sessions : sink->sessions_most;
    if (uv_accept(listener, (uv_stream_t *)&s->tcp) != 0) {
        end(s, false);
        return;
    }
    (void)uv_read_start((uv_stream_t *)&s->tcp, on_room, on_bytes);
    sink_happens(s, SINK_CONNECT, "");
}
