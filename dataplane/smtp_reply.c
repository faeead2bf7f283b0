/*
 * smtp_reply.c - reply lines (RFC 5321 4.2), byte by byte but for runs of plain text.
 *
 *     line:  code SP text CRLF | code "-" text CRLF | code CRLF      code: [2-5] digit digit
 *
 * Strict in what carries meaning: the code, what stands after it, one code for all lines of a
 * reply, and the limits. A wrong byte there is an error at once, because replies are told apart by
 * counting and a garbled one puts all after it out of step. Lenient in the rest: LF alone ends a
 * line (counted), a bare code is a line, text may hold anything.
 *
 * 1. Text is sanitised as it comes in: only bytes 0x20..0x7e are ever stored. A tab becomes a
 * space, anything else '?'.
 * 2. reply.text is terminated whenever a line is complete.
 * 3. An enhanced code (RFC 2034 4, RFC 3463 2) counts only when its class is the reply's; it is
 * taken out of the text.
 */
#include "dataplane/smtp_private.h"

static const char line_separator[] = " / ";

void smtp_reader_reset(struct smtp_reader *r)
{
    r->reply.code = 0;
    memset(r->reply.enhanced, 0, sizeof r->reply.enhanced);
    r->reply_bytes = 0;
    r->line_bytes = 0;
    r->n_lines = 0;
    r->phase = SMTP_PHASE_CODE;
    r->bare_lf = false;
    smtp_reader_drop_text(r);
}

void smtp_reader_drop_text(struct smtp_reader *r)
{
    r->text_len = 0;
    r->line_from = 0;
    r->line_at = 0;
    r->reply.text[0] = '\0';
}

bool smtp_reader_at_start(const struct smtp_reader *r)
{
    return r->reply_bytes == 0;
}

const char *smtp_reader_line_text(const struct smtp_reader *r)
{
    return r->reply.text + r->line_at;
}

/* ---- text -------------------------------------------------------------------------------- */

static void text_append(struct smtp_reader *r, char ch)
{
    if (r->text_len < SMTP_TEXT_MAX - 1) {
        r->reply.text[r->text_len++] = ch;
    }
}

static void text_byte(struct smtp_reader *r, uint8_t byte)
{
    char ch = byte >= 0x20 && byte < 0x7f ? (char)byte : '?';
    if (byte == '\t') {
        ch = ' ';
    }
    bool leading = r->text_len == r->line_at;
    if (!leading || ch != ' ') {
        text_append(r, ch);
    }
}

static void text_line_begin(struct smtp_reader *r)
{
    r->line_from = r->text_len;
    for (const char *p = line_separator; *p && r->line_from > 0; p++) {
        text_append(r, *p);
    }
    r->line_at = r->text_len;
    r->phase = SMTP_PHASE_TEXT;
    r->cr = false;
}

/* One to three digits, at most 255; returns the byte after them, or null. */
static const char *parse_number(const char *p, uint8_t *ret_value)
{
    unsigned value = 0;
    const char *begin = p;
    while (p - begin < 3 && *p >= '0' && *p <= '9') {
        value = value * 10 + (unsigned)(*p++ - '0');
    }
    if (p == begin || value > UINT8_MAX) {
        return NULL;
    }
    *ret_value = (uint8_t)value;
    return p;
}

/* "C.SSS.DDD" and the end or a space; returns what follows, or null. */
static const char *parse_enhanced(const char *p, uint8_t ret_code[3])
{
    for (int i = 0; i < 3; i++) {
        p = parse_number(p, &ret_code[i]);
        if (!p || (i < 2 && *p++ != '.')) {
            return NULL;
        }
    }
    return *p == '\0' || *p == ' ' ? p : NULL;
}

static void take_enhanced(struct smtp_reader *r)
{
    char *line = r->reply.text + r->line_at;
    uint8_t code[3];
    const char *rest = parse_enhanced(line, code);
    if (!rest || code[0] == 3 || code[0] != smtp_reply_class(&r->reply)) {
        return;
    }
    if (*rest == '\0' && r->text_len == SMTP_TEXT_MAX - 1) {
        return; /* cut off: its digits may go on */
    }
    if (r->reply.enhanced[0] == 0) {
        memcpy(r->reply.enhanced, code, sizeof code);
    }
    while (*rest == ' ') {
        rest++;
    }
    size_t len = strlen(rest);
    memmove(line, rest, len + 1);
    r->text_len = (uint16_t)(r->line_at + len);
}

static void text_line_end(struct smtp_reader *r)
{
    while (r->text_len > r->line_at && r->reply.text[r->text_len - 1] == ' ') {
        r->text_len--;
    }
    r->reply.text[r->text_len] = '\0';
    take_enhanced(r);
    if (r->text_len == r->line_at) { /* an empty line leaves no separator behind */
        r->text_len = r->line_from;
        r->line_at = r->line_from;
        r->reply.text[r->text_len] = '\0';
    }
}

/* ---- lines ------------------------------------------------------------------------------- */

static enum smtp_read line_end(struct smtp_reader *r, bool after_cr)
{
    text_line_end(r);
    r->bare_lf = r->bare_lf || !after_cr;
    r->n_lines++;
    r->line_bytes = 0;
    r->phase = SMTP_PHASE_CODE;
    if (r->last) {
        return SMTP_READ_REPLY;
    }
    return r->n_lines < SMTP_REPLY_LINES_MAX ? SMTP_READ_LINE : SMTP_READ_ERROR_LINES;
}

static enum smtp_read read_code(struct smtp_reader *r, uint8_t byte)
{
    bool first = r->line_bytes == 1;
    if (byte < (first ? '2' : '0') || byte > (first ? '5' : '9')) {
        return SMTP_READ_ERROR_CODE;
    }
    r->line_code = (uint16_t)((first ? 0 : r->line_code * 10) + (byte - '0'));
    if (r->line_bytes < 3) {
        return SMTP_READ_MORE;
    }
    if (r->n_lines > 0 && r->line_code != r->reply.code) {
        return SMTP_READ_ERROR_MIXED;
    }
    r->reply.code = r->line_code;
    r->phase = SMTP_PHASE_SEPARATOR;
    return SMTP_READ_MORE;
}

static enum smtp_read read_separator(struct smtp_reader *r, uint8_t byte)
{
    if (byte != ' ' && byte != '-' && byte != '\r' && byte != '\n') {
        return SMTP_READ_ERROR_SEPARATOR;
    }
    r->last = byte != '-';
    text_line_begin(r);
    if (byte == '\r') {
        r->phase = SMTP_PHASE_BARE_CR;
    }
    return byte == '\n' ? line_end(r, false) : SMTP_READ_MORE;
}

static enum smtp_read read_text(struct smtp_reader *r, uint8_t byte)
{
    if (byte == '\n') {
        return line_end(r, r->cr);
    }
    if (r->cr) {
        text_byte(r, '\r');
    }
    r->cr = byte == '\r';
    if (!r->cr) {
        text_byte(r, byte);
    }
    return SMTP_READ_MORE;
}

static enum smtp_read read_byte(struct smtp_reader *r, uint8_t byte)
{
    if (++r->reply_bytes > SMTP_REPLY_BYTES_MAX) {
        return SMTP_READ_ERROR_REPLY_LONG;
    }
    if (++r->line_bytes > SMTP_LINE_MAX) {
        return SMTP_READ_ERROR_LINE_LONG;
    }
    switch ((enum smtp_read_phase)r->phase) {
    case SMTP_PHASE_CODE:
        return read_code(r, byte);
    case SMTP_PHASE_SEPARATOR:
        return read_separator(r, byte);
    case SMTP_PHASE_BARE_CR:
        return byte == '\n' ? line_end(r, true) : SMTP_READ_ERROR_SEPARATOR;
    case SMTP_PHASE_TEXT:
        return read_text(r, byte);
    }
    INVARIANT(false && "every phase is handled");
}

/* The printable bytes of a line's text, which are most of all that servers say, at once; as far as
 * the limits allow. Returns how many. */
static uint32_t read_run(struct smtp_reader *r, const uint8_t *data, uint32_t len)
{
    uint32_t line_left = SMTP_LINE_MAX - r->line_bytes;
    uint32_t reply_left = SMTP_REPLY_BYTES_MAX - r->reply_bytes;
    uint32_t n = 0, skipped = 0;
    len = len < line_left ? len : line_left;
    len = len < reply_left ? len : reply_left;
    while (n < len && data[n] >= 0x20 && data[n] < 0x7f) {
        n++;
    }
    while (r->text_len == r->line_at && skipped < n && data[skipped] == ' ') {
        skipped++;
    }
    uint32_t room = SMTP_TEXT_MAX - 1 - r->text_len;
    uint32_t kept = n - skipped < room ? n - skipped : room;
    memcpy(r->reply.text + r->text_len, data + skipped, kept);
    r->text_len = (uint16_t)(r->text_len + kept);
    r->line_bytes = (uint16_t)(r->line_bytes + n);
    r->reply_bytes += n;
    return n;
}

enum smtp_read smtp_reader_read(struct smtp_reader *r, const uint8_t *data, uint32_t len,
                                uint32_t *ret_used)
{
    enum smtp_read result = SMTP_READ_MORE;
    uint32_t used = 0;
    while (used < len && result == SMTP_READ_MORE) {
        if (r->phase == SMTP_PHASE_TEXT && !r->cr) {
            used += read_run(r, data + used, len - used);
        }
        if (used < len) {
            result = read_byte(r, data[used++]);
        }
    }
    *ret_used = used;
    return result;
}

const char *smtp_read_error_text(enum smtp_read error)
{
    switch (error) {
#define X(name, text)                                                                              \
    case SMTP_READ_ERROR_##name:                                                                   \
        return text;
        SMTP_READ_ERROR_MAP(X)
#undef X
    case SMTP_READ_MORE:
    case SMTP_READ_LINE:
    case SMTP_READ_REPLY:
        break;
    }
    return "no error";
}
