/*
 * wpctl_header.c - addresses from the header of a message (RFC 5322 3.4): quoted strings, comments,
 * groups and folded lines are understood as far as is needed to find the address of each mailbox.
 * The daemon checks them.
 */
#include "tools/wpctl.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

static void add(struct wpctl_addresses *addresses, const char *text, size_t len)
{
    while (len > 0 && strchr(" \t\r\n", text[0])) {
        text++;
        len--;
    }
    while (len > 0 && strchr(" \t\r\n", text[len - 1])) {
        len--;
    }
    if (len == 0) {
        return;
    }
    char **list = realloc(addresses->list, (addresses->count + 1) * sizeof list[0]);
    char *copy = list ? strndup(text, len) : NULL;
    if (!copy) {
        wpctl_die(EX_OSERR, "out of memory");
    }
    addresses->list = list;
    addresses->list[addresses->count++] = copy;
}

/* Past a quoted string or a comment that begins at i; comments nest. */
static size_t skip_quoted(const char *text, size_t len, size_t i)
{
    for (i++; i < len && text[i] != '"'; i++) {
        i += text[i] == '\\';
    }
    return i + 1;
}

static size_t skip_comment(const char *text, size_t len, size_t i)
{
    int depth = 0;
    for (; i < len; i++) {
        depth += text[i] == '(';
        depth -= text[i] == ')';
        i += text[i] == '\\';
        if (depth == 0) {
            return i + 1;
        }
    }
    return len;
}

/* The value of one field: mailboxes separated by commas; "name:" and ';' of groups separate, too.
 */
static void parse_value(const char *text, size_t len, struct wpctl_addresses *addresses)
{
    char *plain = malloc(len + 1); /* the mailbox without comments */
    size_t used = 0, open = 0, close = 0;
    if (!plain) {
        wpctl_die(EX_OSERR, "out of memory");
    }
    for (size_t i = 0; i <= len;) {
        char c = i < len ? text[i] : ',';
        if (c == '"' || c == '(') {
            size_t end = c == '"' ? skip_quoted(text, len, i) : skip_comment(text, len, i);
            end = end < len ? end : len;
            for (; c == '"' && i < end; i++) {
                plain[used++] = text[i];
            }
            i = end;
            continue;
        }
        bool separates =
            (c == ',' || c == ';' || c == ':') && (open == 0 || close != 0 || i == len);
        if (!separates) {
            open = c == '<' && open == 0 ? used + 1 : open;
            close = c == '>' && open != 0 && close == 0 ? used : close;
            plain[used++] = c;
        } else if (c != ':') {
            add(addresses, plain + open, (close ? close : used) - open);
        }
        if (separates) {
            used = open = close = 0;
        }
        i++;
    }
    free(plain);
}

/* Length of the field at `at` with the lines that continue it. */
static size_t field_length(const char *at, size_t len)
{
    size_t end = 0;
    do {
        const char *lf = memchr(at + end, '\n', len - end);
        end = lf ? (size_t)(lf - at) + 1 : len;
    } while (end < len && (at[end] == ' ' || at[end] == '\t'));
    return end;
}

void wpctl_header_addresses(const char *message, size_t len, const char *field,
                            struct wpctl_addresses *addresses)
{
    size_t name_len = strlen(field);
    while (len > 0 && message[0] != '\n' && message[0] != '\r') {
        size_t n = field_length(message, len);
        if (n > name_len && strncasecmp(message, field, name_len) == 0 &&
            message[name_len] == ':') {
            parse_value(message + name_len + 1, n - name_len - 1, addresses);
        }
        message += n;
        len -= n;
    }
}

void wpctl_addresses_free(struct wpctl_addresses *addresses)
{
    for (size_t i = 0; i < addresses->count; i++) {
        free(addresses->list[i]);
    }
    free(addresses->list);
    *addresses = (struct wpctl_addresses){0};
}
