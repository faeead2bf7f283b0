/*
 * wire.c - see wire.h. One pass over lines: a line is checked, classified as part of the header or
 * the body, and copied with CRLF. Time is linear in the input; memory is one block of its size and
 * what LF -> CRLF adds.
 */
#include "control/wire.h"

#include "tcp/base.h"

#include <strings.h>
#include <time.h>

#define LINE_MAX_BYTES 998u /* RFC 5322 2.1.1, without CRLF */
#define ADDED_MAX      512u /* Date and Message-ID fields, each */

struct line {
    const uint8_t *at;
    size_t len;      /* without its end */
    uint64_t number; /* from 1 */
};

struct making {
    const uint8_t *at, *end;
    struct wire_message m;
    const struct wire_defaults *defaults;
    uint64_t n_lines;
    uint32_t room_stuff;
    bool in_header, dropping, has_date, has_id, id_open;
    char *error;
    size_t error_bytes;
};

static bool refuse(const struct making *w, uint64_t line, const char *what)
{
    (void)snprintf(w->error, w->error_bytes, "line %llu: %s", (unsigned long long)line, what);
    return false;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* The next line; it ends with LF, CRLF, or the input. */
static bool next_line(struct making *w, struct line *line)
{
    const uint8_t *lf = memchr(w->at, '\n', (size_t)(w->end - w->at));
    const uint8_t *stop = lf ? lf : w->end;
    line->at = w->at;
    line->number = ++w->n_lines;
    w->at = lf ? lf + 1 : w->end;
    if (lf && stop > line->at && stop[-1] == '\r') {
        stop--;
    }
    line->len = (size_t)(stop - line->at);
    if (memchr(line->at, '\r', line->len)) {
        return refuse(w, line->number,
                      "a CR stands without LF: lines end with CRLF or LF (RFC 5321 2.3.8)");
    }
    if (memchr(line->at, '\0', line->len)) {
        return refuse(w, line->number,
                      "there is a NUL byte: encode the part, with base64 for example");
    }
    if (line->len > LINE_MAX_BYTES) {
        return refuse(
            w, line->number,
            "it is over 998 bytes (RFC 5322 2.1.1): encode the part as quoted-printable or base64");
    }
    return true;
}

static bool is_8bit(const struct line *line)
{
    for (size_t i = 0; i < line->len; i++) {
        if (line->at[i] >= 0x80) {
            return true;
        }
    }
    return false;
}

/* Enough of UTF-8 to tell it from other 8-bit encodings: each lead byte has its followers. */
static bool is_utf8(const struct line *line)
{
    for (size_t i = 0; i < line->len;) {
        uint8_t c = line->at[i];
        size_t n = c < 0x80             ? 1
                   : (c & 0xe0) == 0xc0 ? 2
                   : (c & 0xf0) == 0xe0 ? 3
                   : (c & 0xf8) == 0xf0 ? 4
                                        : 0;
        if (n == 0 || n > line->len - i) {
            return false;
        }
        for (size_t k = 1; k < n; k++) {
            if ((line->at[i + k] & 0xc0) != 0x80) {
                return false;
            }
        }
        i += n;
    }
    return true;
}

/* ---- writing ----------------------------------------------------------------------------- */

static bool put(struct making *w, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    if (len > 0 && bytes[0] == '.') {
        if (w->m.n_stuff == w->room_stuff) {
            uint32_t room = w->room_stuff ? w->room_stuff * 2 : 16;
            uint32_t *stuff = realloc(w->m.stuff, room * sizeof stuff[0]);
            if (!stuff) {
                (void)snprintf(w->error, w->error_bytes, "out of memory: try later");
                return false;
            }
            w->m.stuff = stuff;
            w->room_stuff = room;
        }
        w->m.stuff[w->m.n_stuff++] = (uint32_t)w->m.len;
    }
    memcpy(w->m.data + w->m.len, data, len);
    memcpy(w->m.data + w->m.len + len, "\r\n", 2);
    w->m.len += len + 2;
    return true;
}

static bool put_text(struct making *w, const char *text)
{
    return put(w, text, strlen(text));
}

static bool put_missing(struct making *w)
{
    char line[ADDED_MAX];
    if (!w->has_date) {
        time_t seconds = (time_t)w->defaults->unix_s;
        struct tm tm;
        (void)gmtime_r(&seconds, &tm);
        static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        (void)snprintf(line, sizeof line, "Date: %s, %d %s %d %02d:%02d:%02d +0000",
                       days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
                       tm.tm_hour, tm.tm_min, tm.tm_sec);
        if (!put_text(w, line)) {
            return false;
        }
    }
    if (w->has_id) {
        return true;
    }
    (void)snprintf(w->m.message_id, sizeof w->m.message_id, "<%016llx@%.200s>",
                   (unsigned long long)w->defaults->id, w->defaults->hostname);
    (void)snprintf(line, sizeof line, "Message-ID: %s", w->m.message_id);
    return put_text(w, line);
}

/* ---- the header -------------------------------------------------------------------------- */

/* Length of the field name; 0: the line is no header field (RFC 5322 2.2; blanks before the colon
 * are obsolete, 4.5). */
static size_t field_name(const struct line *line)
{
    size_t n = 0;
    while (n < line->len && line->at[n] > 32 && line->at[n] < 127 && line->at[n] != ':') {
        n++;
    }
    size_t colon = n;
    while (colon < line->len && (line->at[colon] == ' ' || line->at[colon] == '\t')) {
        colon++;
    }
    return colon < line->len && line->at[colon] == ':' ? n : 0;
}

static bool is_field(const struct line *line, size_t name_len, const char *name)
{
    return strlen(name) == name_len && strncasecmp((const char *)line->at, name, name_len) == 0;
}

/* The value between angle brackets, perhaps on a line that continues the field. */
static void take_message_id(struct making *w, const struct line *line)
{
    const uint8_t *open = memchr(line->at, '<', line->len);
    if (!open) {
        return;
    }
    size_t room = line->len - (size_t)(open - line->at);
    const uint8_t *close = memchr(open, '>', room);
    size_t len = close ? (size_t)(close - open) + 1 : 0;
    w->id_open = false;
    if (len > 0 && len < sizeof w->m.message_id) {
        memcpy(w->m.message_id, open, len);
        w->m.message_id[len] = '\0';
    }
}

static bool header_field(struct making *w, const struct line *line, size_t name_len)
{
    w->dropping = is_field(line, name_len, "Bcc") || is_field(line, name_len, "Resent-Bcc");
    w->has_date |= is_field(line, name_len, "Date");
    w->id_open = false;
    if (is_field(line, name_len, "Message-ID")) {
        w->id_open = !w->has_id;
        w->has_id = true;
        if (w->id_open) {
            take_message_id(w, line);
        }
    }
    return w->dropping || put(w, line->at, line->len);
}

static bool header_line(struct making *w, const struct line *line)
{
    if (line->len == 0) {
        w->in_header = false;
        return put_missing(w) && put(w, "", 0);
    }
    if (is_8bit(line)) {
        w->m.flags |= is_utf8(line) ? WIRE_HAS_8BIT_HEADER : WIRE_HAS_8BIT_BODY;
    }
    if (line->number > 1 && (line->at[0] == ' ' || line->at[0] == '\t')) {
        if (w->id_open) {
            take_message_id(w, line);
        }
        return w->dropping || put(w, line->at, line->len);
    }
    size_t name_len = field_name(line);
    if (name_len == 0) {
        return refuse(
            w, line->number,
            line->number == 1 && line->len > 5 && memcmp(line->at, "From ", 5) == 0
                ? "it is the \"From \" line of a mailbox file: leave it out"
                : "it is neither a header field (\"Name: value\") nor the blank line after them");
    }
    return header_field(w, line, name_len);
}

/* ---- the whole --------------------------------------------------------------------------- */

static size_t size_bound(const uint8_t *data, size_t len)
{
    size_t lines = 1;
    for (const uint8_t *at = data, *end = data + len; (at = memchr(at, '\n', (size_t)(end - at)));
         at++) {
        lines++;
        if (at + 1 == end) {
            break;
        }
    }
    return len + lines * 2 + 2 * ADDED_MAX;
}

static bool convert(struct making *w)
{
    struct line line;
    while (w->at < w->end) {
        if (!next_line(w, &line)) {
            return false;
        }
        if (w->in_header) {
            if (!header_line(w, &line)) {
                return false;
            }
            continue;
        }
        if (is_8bit(&line)) {
            w->m.flags |= WIRE_HAS_8BIT_BODY;
        }
        if (!put(w, line.at, line.len)) {
            return false;
        }
    }
    return !w->in_header || put_missing(w);
}

bool wire_message_make(const uint8_t *data, size_t len, const struct wire_defaults *defaults,
                       struct wire_message *ret_message, char *ret_error, size_t error_bytes)
{
    struct making w = {.at = data,
                       .end = data + len,
                       .defaults = defaults,
                       .in_header = true,
                       .error = ret_error,
                       .error_bytes = error_bytes};
    if (len == 0) {
        (void)snprintf(ret_error, error_bytes,
                       "the message is empty: it needs header fields at least");
        return false;
    }
    if (len > UINT32_MAX / 4) {
        (void)snprintf(ret_error, error_bytes, "the message is over 1 GiB");
        return false;
    }
    if (data[0] == '\n' || (len > 1 && data[0] == '\r' && data[1] == '\n')) {
        (void)snprintf(ret_error, error_bytes,
                       "line 1: the message has no header: it begins with a blank line");
        return false;
    }
    w.m.data = malloc(size_bound(data, len));
    if (!w.m.data) {
        (void)snprintf(ret_error, error_bytes, "out of memory: try later");
        return false;
    }
    if (!convert(&w)) {
        wire_message_free(&w.m);
        return false;
    }
    *ret_message = w.m;
    return true;
}

void wire_message_free(struct wire_message *message)
{
    free(message->data);
    free(message->stuff);
    *message = (struct wire_message){0};
}
