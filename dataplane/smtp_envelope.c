/*
 * smtp_envelope.c - MAIL and RCPT as text, with the parameters of the extensions in use, and the
 * check that nothing in an envelope can end its command or begin another.
 *
 *     MAIL FROM:<path> SIZE=n BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=xtext
 *     RCPT TO:<path> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;xtext
 *
 * RFC 1870 5, 6152 2, 6531 3.4, 8689 4.2, 3461 4. A parameter goes out only where the server
 * announced its extension; for those that a message cannot do without see smtp_transaction.c.
 * A server without DSN gets no DSN parameters, and the caller sees that by
 * smtp_client_extensions(): the "relayed" report of RFC 3461 5.2.2 is its business.
 */
#include "dataplane/smtp_private.h"

/* ---- text -------------------------------------------------------------------------------- */

static void put_bytes(struct smtp_line *line, const char *bytes, size_t len)
{
    INVARIANT(len <= sizeof line->bytes - line->len);
    memcpy(line->bytes + line->len, bytes, len);
    line->len += (uint32_t)len;
}

void smtp_line_put(struct smtp_line *line, const char *text)
{
    put_bytes(line, text, strlen(text));
}

void smtp_line_put_number(struct smtp_line *line, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put_bytes(line, digits + at, sizeof digits - at);
}

static void put_byte(struct smtp_line *line, char byte)
{
    put_bytes(line, &byte, 1);
}

static void put_hex(struct smtp_line *line, uint32_t value, int digits)
{
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
        put_byte(line, "0123456789ABCDEF"[value >> shift & 15]);
    }
}

/* ---- xtext (RFC 3461 4), and its sister for UTF-8 (RFC 6533 3) ----------------------------- */

/* May stand as it is in both. */
static bool is_plain(unsigned char byte)
{
    return byte > ' ' && byte < 0x7f && byte != '+' && byte != '=' && byte != '\\';
}

static void put_xtext(struct smtp_line *line, const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (is_plain(byte) || byte == '\\') {
            put_byte(line, *text);
        } else {
            put_byte(line, '+');
            put_hex(line, byte, 2);
        }
    }
}

static uint32_t xtext_bytes(const char *text)
{
    uint32_t bytes = 0;
    for (; *text; text++) {
        bytes += is_plain((unsigned char)*text) || *text == '\\' ? 1 : 3;
    }
    return bytes;
}

/* Length of the UTF-8 sequence that p begins with, 0 if there is none; *ret_code its character. */
static uint32_t utf8_get(const char *p, uint32_t *ret_code)
{
    static const uint32_t first_of_length[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = (unsigned char)*p;
    uint32_t len = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t code = len == 1 ? lead : lead & (0x7fu >> len);
    if (lead > 0xf4) {
        return 0;
    }
    for (uint32_t i = 1; i < len; i++) {
        if (((unsigned char)p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | ((unsigned char)p[i] & 0x3f);
    }
    if (len == 0 || code < first_of_length[len] || code > 0x10ffff ||
        (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    *ret_code = code;
    return len;
}

static int hex_digits(uint32_t code)
{
    int digits = 2;
    while (code >> (4 * digits) > 0) {
        digits++;
    }
    return digits;
}

/* utf-8-addr-xtext: ASCII alone, so every server with DSN understands it. */
static void put_utf8_xtext(struct smtp_line *line, const char *text)
{
    uint32_t code = 0;
    for (uint32_t len; *text; text += len) {
        len = utf8_get(text, &code);
        INVARIANT(len > 0);
        if (code < 0x80 && is_plain((unsigned char)code)) {
            put_byte(line, (char)code);
        } else {
            smtp_line_put(line, "\\x{");
            put_hex(line, code, hex_digits(code));
            put_byte(line, '}');
        }
    }
}

/* Bytes of the above; 0: not UTF-8. */
static uint32_t utf8_xtext_bytes(const char *text)
{
    uint32_t bytes = 0, code = 0;
    for (uint32_t len; *text; text += len) {
        len = utf8_get(text, &code);
        if (len == 0) {
            return 0;
        }
        bytes += code < 0x80 && is_plain((unsigned char)code) ? 1 : 4 + (uint32_t)hex_digits(code);
    }
    return bytes;
}

/* ---- commands ---------------------------------------------------------------------------- */

static bool offers(const struct smtp_client *c, uint32_t extension)
{
    return (c->extensions.flags & extension) != 0;
}

/* A message that must stay secret is not to be returned in clear: only its header (RFC 8689). */
static enum smtp_ret ret_of(const struct smtp_client *c)
{
    return c->needs & SMTP_NEED_REQUIRETLS ? SMTP_RET_HDRS : c->transaction->ret;
}

static void put_mail_dsn(const struct smtp_client *c, struct smtp_line *line)
{
    switch (ret_of(c)) {
    case SMTP_RET_FULL:
        smtp_line_put(line, " RET=FULL");
        break;
    case SMTP_RET_HDRS:
        smtp_line_put(line, " RET=HDRS");
        break;
    case SMTP_RET_NONE:
        break;
    }
    if (c->transaction->envid) {
        smtp_line_put(line, " ENVID=");
        put_xtext(line, c->transaction->envid);
    }
}

void smtp_mail_line(const struct smtp_client *c, struct smtp_line *line)
{
    const struct smtp_transaction *t = c->transaction;
    line->len = 0;
    smtp_line_put(line, "MAIL FROM:<");
    smtp_line_put(line, t->mail_from);
    put_byte(line, '>');
    if (offers(c, SMTP_EXT_SIZE)) { /* without stuffing: RFC 1870 5 */
        smtp_line_put(line, " SIZE=");
        smtp_line_put_number(line, t->body.len + t->body.prefix_len);
    }
    if (c->needs & SMTP_NEED_8BITMIME) {
        smtp_line_put(line, " BODY=8BITMIME");
    }
    if (c->needs & SMTP_NEED_SMTPUTF8) {
        smtp_line_put(line, " SMTPUTF8");
    }
    if (c->needs & SMTP_NEED_REQUIRETLS) {
        smtp_line_put(line, " REQUIRETLS");
    }
    if (offers(c, SMTP_EXT_DSN)) {
        put_mail_dsn(c, line);
    }
    smtp_line_put(line, "\r\n");
}

static void put_notify(struct smtp_line *line, uint32_t notify)
{
    static const char *const words[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
    const char *separator = " NOTIFY=";
    for (uint32_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (notify & 1u << i) {
            smtp_line_put(line, separator);
            smtp_line_put(line, words[i]);
            separator = ",";
        }
    }
}

/* The type of an ORCPT, with its semicolon. */
static size_t orcpt_type_bytes(const char *orcpt)
{
    return strcspn(orcpt, ";") + 1;
}

static bool is_utf8_type(const char *orcpt)
{
    return strncasecmp(orcpt, "utf-8;", 6) == 0;
}

static void put_orcpt(struct smtp_line *line, const char *orcpt)
{
    size_t type = orcpt_type_bytes(orcpt);
    smtp_line_put(line, " ORCPT=");
    put_bytes(line, orcpt, type);
    if (is_utf8_type(orcpt)) {
        put_utf8_xtext(line, orcpt + type);
    } else {
        put_xtext(line, orcpt + type);
    }
}

void smtp_rcpt_line(const struct smtp_client *c, const struct smtp_recipient *r,
                    struct smtp_line *line)
{
    line->len = 0;
    smtp_line_put(line, "RCPT TO:<");
    smtp_line_put(line, r->address);
    put_byte(line, '>');
    if (offers(c, SMTP_EXT_DSN)) {
        put_notify(line, r->notify);
        if (r->orcpt) {
            put_orcpt(line, r->orcpt);
        }
    }
    smtp_line_put(line, "\r\n");
}

/* ---- the check --------------------------------------------------------------------------- */

/* A byte that would end the path, or begin a command of its own. */
static bool is_safe_path(const char *address)
{
    const unsigned char *p = (const unsigned char *)address;
    size_t len = 0;
    for (; p[len] != '\0'; len++) {
        if (p[len] < 0x20 || p[len] == 0x7f || p[len] == '<' || p[len] == '>') {
            return false;
        }
    }
    return len < SMTP_PATH_MAX;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text > 0x7f) {
            return false;
        }
    }
    return true;
}

/* Printable ASCII and spaces, and not nothing. */
static bool is_printable(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p < ' ' || *p > '~') {
            return false;
        }
    }
    return *text != '\0';
}

/* addr-type ";" address (RFC 3461 4.2); the type is an atom, the length one after encoding. */
static bool is_good_orcpt(const char *orcpt)
{
    const char *address = strchr(orcpt, ';');
    if (!address || address == orcpt) {
        return false;
    }
    for (const char *p = orcpt; p < address; p++) {
        if (!is_plain((unsigned char)*p) || strchr("()<>@,:\"[].", *p)) {
            return false;
        }
    }
    address++;
    bool utf8 = is_utf8_type(orcpt);
    uint32_t bytes = utf8 ? utf8_xtext_bytes(address) : xtext_bytes(address);
    return bytes > 0 && (size_t)(address - orcpt) + bytes <= SMTP_ORCPT_MAX &&
           (utf8 || is_printable(address));
}

static bool is_good_recipient(const struct smtp_recipient *r)
{
    bool contradicts = r->notify & SMTP_NOTIFY_NEVER && r->notify != SMTP_NOTIFY_NEVER;
    bool known = r->notify < SMTP_NOTIFY_DELAY << 1;
    return r->address[0] != '\0' && is_safe_path(r->address) && known && !contradicts &&
           (!r->orcpt || is_good_orcpt(r->orcpt));
}

static bool is_good_envid(const char *envid)
{
    return is_printable(envid) && xtext_bytes(envid) <= SMTP_ENVID_MAX;
}

bool smtp_envelope_check(const struct smtp_transaction *t, uint32_t *ret_needs)
{
    bool good =
        t->n_recipients > 0 && is_safe_path(t->mail_from) && (!t->envid || is_good_envid(t->envid));
    bool ascii = is_ascii(t->mail_from);
    for (uint32_t i = 0; good && i < t->n_recipients; i++) {
        good = is_good_recipient(&t->recipients[i]);
        ascii = ascii && is_ascii(t->recipients[i].address);
    }
    *ret_needs = t->needs | (ascii ? 0 : SMTP_NEED_SMTPUTF8);
    return good;
}

bool smtp_transaction_valid(const struct smtp_transaction *t)
{
    uint32_t needs;
    return smtp_envelope_check(t, &needs);
}
