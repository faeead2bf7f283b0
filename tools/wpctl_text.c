/* wpctl_text.c - see wpctl_text.h. */
#include "tools/wpctl_text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#define VISIBLE_MAX 11 /* bytes of one visible character: "\U0010ffff" and NUL */

size_t wpctl_utf8_decode(const char *text, uint32_t *ret_code)
{
    const unsigned char *at = (const unsigned char *)text;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = at[0] < 0x80             ? 1
               : (at[0] & 0xe0) == 0xc0 ? 2
               : (at[0] & 0xf0) == 0xe0 ? 3
               : (at[0] & 0xf8) == 0xf0 ? 4
                                        : 0;
    uint32_t code = n == 1 ? at[0] : at[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (at[i] & 0x3fu);
    }
    if (n == 0 || code == 0 || code < least[n] || code > 0x10ffff ||
        (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    *ret_code = code;
    return n;
}

/* Controls (C0, DEL, C1), and what turns, hides or splits text without a glyph of its own. */
static bool acts_on_terminal(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x01, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},
        {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},
        {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (code >= ranges[i].first && code <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

/* Of a character of n bytes; 0: of a byte that is none. */
static const char *escape(uint32_t code, size_t n, char buf[VISIBLE_MAX])
{
    const char *format = n < 2 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x";
    switch (code) {
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        (void)snprintf(buf, VISIBLE_MAX, format, code);
        return buf;
    }
}

/* Writes the visible form of the character at *at, which is moved on; its bytes. */
static size_t visible_next(const char **at, char buf[VISIBLE_MAX])
{
    uint32_t code = (unsigned char)**at;
    char escaped[VISIBLE_MAX];
    size_t n = wpctl_utf8_decode(*at, &code);
    bool harmless = n > 0 && !acts_on_terminal(code);
    const char *shown = harmless ? *at : escape(code, n, escaped);
    size_t len = harmless ? n : strlen(shown);
    memcpy(buf, shown, len);
    *at += n > 0 ? n : 1;
    return len;
}

void wpctl_put(FILE *out, const char *text)
{
    char shown[VISIBLE_MAX];
    while (*text) {
        size_t n = visible_next(&text, shown);
        (void)fwrite(shown, 1, n, out);
    }
}

char *wpctl_visible_new(const char *text)
{
    /* At most four bytes for one ("\x1b"), and room for what wpctl_clip() adds. */
    char *result = malloc(strlen(text) * 4 + 4), shown[VISIBLE_MAX];
    size_t used = 0;
    while (result && *text) {
        size_t n = visible_next(&text, shown);
        memcpy(result + used, shown, n);
        used += n;
    }
    if (result) {
        result[used] = '\0';
    }
    return result;
}

/* Columns of the character at `at`; a character that the C library does not know takes one. */
static size_t columns_at(const char *at, size_t *ret_bytes)
{
    uint32_t code = 0;
    size_t n = wpctl_utf8_decode(at, &code);
    int columns = n > 0 ? wcwidth((wchar_t)code) : 1;
    *ret_bytes = n > 0 ? n : 1;
    return columns < 0 ? 1 : (size_t)columns;
}

size_t wpctl_width(const char *text)
{
    size_t width = 0, n;
    for (; *text; text += n) {
        width += columns_at(text, &n);
    }
    return width;
}

void wpctl_clip(char *text, size_t columns)
{
    size_t width = 0, n;
    if (wpctl_width(text) <= columns) {
        return;
    }
    for (;; text += n) {
        size_t more = columns_at(text, &n);
        if (width + more + 1 > columns) {
            break;
        }
        width += more;
    }
    memcpy(text, "…", sizeof "…");
}

/* ---- units ------------------------------------------------------------------------------- */

const char *wpctl_bytes(int64_t bytes, char buf[WPCTL_UNIT_TEXT])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    if (bytes < 1000) {
        (void)snprintf(buf, WPCTL_UNIT_TEXT, "%d B", bytes < 0 ? 0 : (int)bytes);
        return buf;
    }
    double value = (double)bytes / 1000;
    size_t unit = 0;
    for (; value >= 999.95; unit++) { /* what would be printed as 1000.0 */
        value /= 1000;
    }
    (void)snprintf(buf, WPCTL_UNIT_TEXT, "%.1f %s", value, units[unit]);
    return buf;
}

const char *wpctl_count(int64_t count, char buf[WPCTL_UNIT_TEXT])
{
    char digits[WPCTL_UNIT_TEXT];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)count);
    int used = 0, first = digits[0] == '-';
    for (int i = 0; i < len; i++) {
        if (i > first && (len - i) % 3 == 0) {
            buf[used++] = ',';
        }
        buf[used++] = digits[i];
    }
    buf[used] = '\0';
    return buf;
}

const char *wpctl_span(int64_t seconds, char buf[WPCTL_UNIT_TEXT])
{
    long long n = seconds < 0 ? 0 : seconds;
    if (n >= 86400) {
        (void)snprintf(buf, WPCTL_UNIT_TEXT, "%lldd%02lldh", n / 86400, n / 3600 % 24);
    } else if (n >= 3600) {
        (void)snprintf(buf, WPCTL_UNIT_TEXT, "%lldh%02lldm", n / 3600, n / 60 % 60);
    } else if (n >= 60) {
        (void)snprintf(buf, WPCTL_UNIT_TEXT, "%lldm%02llds", n / 60, n % 60);
    } else {
        (void)snprintf(buf, WPCTL_UNIT_TEXT, "%llds", n);
    }
    return buf;
}

bool wpctl_time_parse(const char *rfc3339, int64_t *ret_seconds)
{
    struct tm tm = {0};
    const char *rest = strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest) {
        return false;
    }
    if (*rest == '.') {
        rest += 1 + strspn(rest + 1, "0123456789");
    }
    if (strcmp(rest, "Z") != 0) {
        return false;
    }
    *ret_seconds = (int64_t)timegm(&tm);
    return true;
}
