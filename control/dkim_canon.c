/* dkim_canon.c - what is signed, byte for byte: RFC 6376 3.4, "relaxed". See dkim.h. */
#include "control/dkim.h"

#include <string.h>

static bool is_wsp(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

size_t dkim_body_offset(const uint8_t *message, size_t len)
{
    const uint8_t *at = message, *end = message + len;
    while (at < end) {
        const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
        if (!lf) {
            return len;
        }
        if (lf - at <= 1) { /* CRLF alone */
            return (size_t)(lf + 1 - message);
        }
        at = lf + 1;
    }
    return len;
}

/* ---- the body ---------------------------------------------------------------------------- */

/* One line without its end: white space in it becomes a space, at its end nothing. */
static void put_line(const uint8_t *line, size_t len, dkim_sink sink, void *user)
{
    size_t from = 0, at = 0;
    while (len > 0 && is_wsp(line[len - 1])) {
        len--;
    }
    while (at < len) {
        if (!is_wsp(line[at])) {
            at++;
            continue;
        }
        size_t end = at;
        while (is_wsp(line[end])) { /* ends before len: the last byte is none */
            end++;
        }
        sink(user, line + from, at - from);
        sink(user, " ", 1);
        from = at = end;
    }
    sink(user, line + from, len - from);
}

static bool is_empty(const uint8_t *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_wsp(line[i])) {
            return false;
        }
    }
    return true;
}

/* Empty lines are kept back until something follows: at the end they do not count. */
void dkim_body_relaxed(const uint8_t *body, size_t len, dkim_sink sink, void *user)
{
    const uint8_t *at = body, *end = body + len;
    size_t n_empty = 0;
    while (at < end) {
        const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *next = lf ? lf + 1 : end;
        size_t line = (size_t)((lf ? lf : end) - at);
        line -= lf && line > 0 && at[line - 1] == '\r';
        if (is_empty(at, line)) {
            n_empty++;
        } else {
            for (; n_empty > 0; n_empty--) {
                sink(user, "\r\n", 2);
            }
            put_line(at, line, sink, user);
            sink(user, "\r\n", 2);
        }
        at = next;
    }
}

/* ---- a header field ---------------------------------------------------------------------- */

static bool is_space(uint8_t c)
{
    return is_wsp(c) || c == '\r' || c == '\n';
}

static void put_name(const uint8_t *name, size_t len, dkim_sink sink, void *user)
{
    while (len > 0 && is_wsp(name[len - 1])) {
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t c = lower(name[i]);
        sink(user, &c, 1);
    }
    sink(user, ":", 1);
}

void dkim_field_relaxed(const uint8_t *field, size_t len, bool end, dkim_sink sink, void *user)
{
    const uint8_t *colon = memchr(field, ':', len);
    size_t at = colon ? (size_t)(colon - field) : len;
    put_name(field, at, sink, user);
    at += at < len;
    while (len > at && is_space(field[len - 1])) {
        len--;
    }
    while (at < len && is_space(field[at])) {
        at++;
    }
    while (at < len) {
        size_t from = at;
        while (at < len && !is_space(field[at])) {
            at++;
        }
        sink(user, field + from, at - from);
        while (at < len && is_space(field[at])) {
            at++;
        }
        if (at < len) {
            sink(user, " ", 1);
        }
    }
    if (end) {
        sink(user, "\r\n", 2);
    }
}
