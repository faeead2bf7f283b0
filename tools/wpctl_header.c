/* wpctl_header.c - see wpctl_header.h. */
#include "tools/wpctl_header.h"

#include "tools/wpctl.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One mailbox while it is read: its text without comments, and where its "<address>" is in that. */
struct mailbox {
    char *plain;
    size_t used;
    size_t open;  /* after '<'; 0: there is none */
    size_t close; /* at '>'; 0: there is none */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The text between [from, to) of the mailbox, trimmed; nothing is left out in silence. */
static bool add(json_t *list, const char *text, size_t from, size_t to)
{
    while (from < to && is_blank(text[from])) {
        from++;
    }
    while (from < to && is_blank(text[to - 1])) {
        to--;
    }
    if (from == to) {
        return true; /* "a, , b" and "group:;" name nobody (RFC 5322 4.4) */
    }
    json_t *address = json_stringn(text + from, to - from);
    return address && json_array_append_new(list, address) == 0;
}

static bool end_mailbox(struct mailbox *box, json_t *list)
{
    size_t to = box->close ? box->close : box->used;
    bool good = add(list, box->plain, box->open, to);
    *box = (struct mailbox){.plain = box->plain};
    return good;
}

/* Behind what begins at `at` and is closed by `close`: a quoted string or a domain literal. */
static size_t quoted_end(const char *text, size_t bytes, size_t at, char close)
{
    for (at++; at < bytes && text[at] != close; at++) {
        at += text[at] == '\\';
    }
    return at < bytes ? at + 1 : bytes;
}

/* Behind the comment that begins at `at`; comments nest. */
static size_t comment_end(const char *text, size_t bytes, size_t at)
{
    int depth = 0;
    for (; at < bytes; at++) {
        depth += text[at] == '(';
        depth -= text[at] == ')';
        if (depth == 0) {
            return at + 1;
        }
        at += text[at] == '\\';
    }
    return bytes;
}

/* Takes what is to be read as a whole, and gives where it ends; `at` itself: there is no such thing
 * there. */
static size_t take_whole(struct mailbox *box, const char *text, size_t bytes, size_t at)
{
    if (text[at] == '(') {
        return comment_end(text, bytes, at);
    }
    if (text[at] != '"' && text[at] != '[') {
        return at;
    }
    size_t end = quoted_end(text, bytes, at, text[at] == '[' ? ']' : '"');
    memcpy(box->plain + box->used, text + at, end - at);
    box->used += end - at;
    return end;
}

static void take_character(struct mailbox *box, char c)
{
    if (c == '<' && box->open == 0) {
        box->open = box->used + 1;
    } else if (c == '>' && box->open != 0 && box->close == 0) {
        box->close = box->used;
    }
    box->plain[box->used++] = c;
}

/* Whether c stands between mailboxes: not so within "<...>", where a route has ',' and ':'
 * (RFC 5322 4.4). */
static bool separates(const struct mailbox *box, char c)
{
    bool inside = box->open != 0 && box->close == 0;
    return !inside && (c == ',' || c == ';' || c == ':');
}

/* The value of one field. A ':' ends the name of a group, which is no mailbox. */
static bool read_value(const char *text, size_t bytes, json_t *list)
{
    struct mailbox box = {.plain = wpctl_must(malloc(bytes + 1))};
    bool good = true;
    for (size_t at = 0; good && at < bytes;) {
        size_t end = take_whole(&box, text, bytes, at);
        if (end > at) {
            at = end;
            continue;
        }
        if (!separates(&box, text[at])) {
            take_character(&box, text[at]);
        } else if (text[at] == ':') {
            box = (struct mailbox){.plain = box.plain};
        } else {
            good = end_mailbox(&box, list);
        }
        at++;
    }
    good = good && end_mailbox(&box, list);
    free(box.plain);
    return good;
}

/* ---- fields ------------------------------------------------------------------------------ */

/* Bytes of the field at `at` with the lines that continue it. */
static size_t field_bytes(const char *at, size_t bytes)
{
    size_t end = 0;
    do {
        const char *lf = memchr(at + end, '\n', bytes - end);
        end = lf ? (size_t)(lf - at) + 1 : bytes;
    } while (end < bytes && (at[end] == ' ' || at[end] == '\t'));
    return end;
}

/* Where the value begins in a field of this name; 0: it has another name. */
static size_t value_of(const char *field, size_t bytes, const char *name)
{
    size_t at = strlen(name);
    if (bytes <= at || strncasecmp(field, name, at) != 0) {
        return 0;
    }
    while (at < bytes && (field[at] == ' ' || field[at] == '\t')) {
        at++;
    }
    return at < bytes && field[at] == ':' ? at + 1 : 0;
}

bool wpctl_header_addresses(const char *message, size_t bytes, const char *field, json_t *list)
{
    bool good = true;
    while (good && bytes > 0 && message[0] != '\n' && message[0] != '\r') {
        size_t n = field_bytes(message, bytes), value = value_of(message, n, field);
        if (value > 0) {
            good = read_value(message + value, n - value, list);
        }
        message += n;
        bytes -= n;
    }
    return good;
}

json_t *wpctl_bare_address(const char *text)
{
    size_t bytes = strlen(text);
    if (bytes >= 2 && text[0] == '<' && text[bytes - 1] == '>') {
        return json_stringn(text + 1, bytes - 2);
    }
    return json_string(text);
}
