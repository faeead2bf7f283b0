/*
 * wire.c - see wire.h. One pass over lines: a line is checked, classified as part of the header or
 * the body, and copied with CRLF. Time is linear in the input; memory is one block of the size of
 * the result (and what is left out of it), and 4 bytes, in steps of doubling, for each line that
 * begins with a dot.
 *
 * The header ends at the first empty line and nowhere else; a line in it that is neither a field
 * nor the continuation of one is refused, since receivers differ in whether the body begins there.
 */
#include "control/wire.h"

#include "control/mail_date.h"
#include "control/utf8.h"
#include "tcp/base.h"

#include <strings.h>

#define LEN_MAX        (1u << 30) /* so that offsets have 32 bits */
#define LINE_MAX_BYTES 998u       /* RFC 5322 2.1.1, without CRLF */
#define ADDED_MAX      512u       /* Date and Message-ID fields, each with its CRLF */

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

/* ---- writing ----------------------------------------------------------------------------- */

/* Remembers that the next line begins with a dot. */
static bool add_stuff(struct making *w)
{
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
    return true;
}

static bool put(struct making *w, const void *data, size_t len)
{
    if (len > 0 && *(const uint8_t *)data == '.' && !add_stuff(w)) {
        return false;
    }
    memcpy(w->m.data + w->m.len, data, len);
    memcpy(w->m.data + w->m.len + len, "\r\n", 2);
    w->m.len += len + 2;
    return true;
}

static bool put_line(struct making *w, const struct line *line)
{
    return put(w, line->at, line->len);
}

static bool put_missing(struct making *w)
{
    char line[ADDED_MAX], date[MAIL_DATE_MAX];
    if (!w->has_date) {
        int n = snprintf(line, sizeof line, "Date: %s", mail_date(w->defaults->unix_s, date));
        if (!put(w, line, (size_t)n)) {
            return false;
        }
    }
    if (w->has_id) {
        return true;
    }
    (void)snprintf(w->m.message_id, sizeof w->m.message_id, "<%016llx@%.200s>",
                   (unsigned long long)w->defaults->id, w->defaults->hostname);
    int n = snprintf(line, sizeof line, "Message-ID: %s", w->m.message_id);
    return put(w, line, (size_t)n);
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

/* The value between angle brackets, perhaps on a line that continues the field. Only what every log
 * and every reader of JSON can take; other values are kept in the message but not told. */
static void take_message_id(struct making *w, const struct line *line)
{
    const uint8_t *open = memchr(line->at, '<', line->len);
    size_t len = 0;
    if (!open) {
        return;
    }
    w->id_open = false;
    for (const uint8_t *at = open; at<line->at + line->len && * at> 0x20 && *at < 0x7f; at++) {
        if (*at == '>') {
            len = (size_t)(at - open) + 1;
            break;
        }
    }
    if (len < sizeof w->m.message_id) {
        memcpy(w->m.message_id, open, len);
        w->m.message_id[len] = '\0';
    }
}

static void begin_field(struct making *w, const struct line *line, size_t name_len)
{
    w->dropping = is_field(line, name_len, "Bcc") || is_field(line, name_len, "Resent-Bcc");
    w->has_date |= is_field(line, name_len, "Date");
    w->id_open = !w->has_id && is_field(line, name_len, "Message-ID");
    w->has_id |= w->id_open;
}

/* Of a field that is kept: its first line or one that continues it. */
static bool keep_header_line(struct making *w, const struct line *line)
{
    if (w->id_open) {
        take_message_id(w, line);
    }
    if (!utf8_is_ascii(line->at, line->len)) {
        bool utf8 = utf8_valid(line->at, line->len);
        w->m.flags |= utf8 ? WIRE_HAS_8BIT_HEADER : WIRE_HAS_8BIT_BODY;
    }
    return put_line(w, line);
}

static bool refuse_header_line(const struct making *w, const struct line *line)
{
    bool mailbox = line->number == 1 && line->len > 5 && memcmp(line->at, "From ", 5) == 0;
    return refuse(w, line->number,
                  mailbox ? "it is the \"From \" line of a mailbox file: leave it out"
                          : "it is neither a header field (\"Name: value\") nor the blank line "
                            "after them");
}

static bool header_line(struct making *w, const struct line *line)
{
    if (line->len == 0) {
        w->in_header = false;
        return put_missing(w) && put_line(w, line);
    }
    bool continues = line->number > 1 && (line->at[0] == ' ' || line->at[0] == '\t');
    if (!continues) {
        size_t name_len = field_name(line);
        if (name_len == 0) {
            return refuse_header_line(w, line);
        }
        begin_field(w, line, name_len);
    }
    return w->dropping || keep_header_line(w, line);
}

static bool body_line(struct making *w, const struct line *line)
{
    if (!utf8_is_ascii(line->at, line->len)) {
        w->m.flags |= WIRE_HAS_8BIT_BODY;
    }
    return put_line(w, line);
}

/* ---- the whole --------------------------------------------------------------------------- */

/* Bytes of the result at most: each LF without CR gets one, and the last line may need its end. */
static size_t size_bound(const uint8_t *data, size_t len)
{
    const uint8_t *end = data + len, *at = data, *lf;
    size_t added = 2 + 2 * ADDED_MAX;
    while (at < end && (lf = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        added += lf == data || lf[-1] != '\r';
        at = lf + 1;
    }
    return len + added;
}

static bool convert(struct making *w)
{
    struct line line;
    while (w->at < w->end) {
        if (!next_line(w, &line) || !(w->in_header ? header_line(w, &line) : body_line(w, &line))) {
            return false;
        }
    }
    return !w->in_header || put_missing(w);
}

/* What can be said before looking at lines. */
static bool refuse_whole(const struct making *w, const uint8_t *data, size_t len)
{
    const char *what = NULL;
    if (len == 0) {
        what = "the message is empty: it needs header fields at least";
    } else if (len > LEN_MAX) {
        what = "the message is over 1 GiB";
    } else if (data[0] == '\n' || (len > 1 && data[0] == '\r' && data[1] == '\n')) {
        what = "line 1: the message has no header: it begins with a blank line";
    }
    if (what) {
        (void)snprintf(w->error, w->error_bytes, "%s", what);
    }
    return what != NULL;
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
    if (refuse_whole(&w, data, len)) {
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

bool wire_message_prepend(struct wire_message *message, const char *fields, size_t len)
{
    uint8_t *data =
        message->len + len <= UINT32_MAX ? realloc(message->data, message->len + len) : NULL;
    if (!data) {
        return false;
    }
    memmove(data + len, data, message->len);
    memcpy(data, fields, len);
    message->data = data;
    message->len += len;
    for (uint32_t i = 0; i < message->n_stuff; i++) {
        message->stuff[i] += (uint32_t)len;
    }
    return true;
}

void wire_message_free(struct wire_message *message)
{
    free(message->data);
    free(message->stuff);
    *message = (struct wire_message){0};
}
