/* unsubscribe.c - see unsubscribe.h. */
#include "control/unsubscribe.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define URI_MAX 900u /* so that no line is over 998 */

/* Printable ASCII without what would end the angle brackets or the list (RFC 3986 2, RFC 2369 2).
 */
static bool is_uri(const char *text, const char *scheme)
{
    size_t n = strlen(scheme), len = strlen(text);
    if (strncasecmp(text, scheme, n) != 0 || len == n || len > URI_MAX) {
        return false;
    }
    for (const char *at = text; *at; at++) {
        if (*at <= 0x20 || *at > 0x7e || strchr("<>\"\\^`{|},", *at)) {
            return false;
        }
    }
    return true;
}

bool unsubscribe_fields(const char *url, const char *mailto, char fields[UNSUBSCRIBE_FIELDS_MAX],
                        char *ret_error, size_t error_bytes)
{
    const char *wrong =
        !url && !mailto ? "\"url\" or \"mailto\" is needed"
        : url && !is_uri(url, "https://")
            ? "\"url\" must be like https://example.com/u?id=1: printable ASCII, at "
              "most 900 bytes, commas as %2C"
        : mailto && !is_uri(mailto, "mailto:")
            ? "\"mailto\" must be like mailto:leave@example.com?subject=x: printable "
              "ASCII, at most 900 bytes, commas as %2C"
            : NULL;
    if (wrong) {
        (void)snprintf(ret_error, error_bytes, "%s", wrong);
        return false;
    }
    (void)snprintf(fields, UNSUBSCRIBE_FIELDS_MAX, "List-Unsubscribe: %s%s%s%s%s%s%s\r\n%s",
                   url ? "<" : "", url ? url : "", url ? ">" : "", url && mailto ? ",\r\n " : "",
                   mailto ? "<" : "", mailto ? mailto : "", mailto ? ">" : "",
                   url ? "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" : "");
    return true;
}

bool unsubscribe_is_there(const uint8_t *message, size_t len)
{
    static const char name[] = "List-Unsubscribe"; /* and -Post */
    const uint8_t *at = message, *end = message + len;
    while (at < end && *at != '\r') {
        const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
        if ((size_t)(end - at) > sizeof name &&
            strncasecmp((const char *)at, name, sizeof name - 1) == 0) {
            return true;
        }
        at = lf ? lf + 1 : end;
    }
    return false;
}
