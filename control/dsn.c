/*
 * dsn.c - see dsn.h. multipart/report (RFC 6522) with a text for people, message/delivery-status
 * (RFC 3464) and the header of the original.
 *
 * Without `utf8` all of it is 7-bit: characters beyond ASCII are written as \x{HEX} (RFC 6533 3)
 * and the original's header is quoted-printable where it must be (RFC 6522 4). With `utf8` it is
 * UTF-8 with the media types of RFC 6533.
 *
 * What came from the network cannot add a line: control characters become '?'. A value is cut at
 * VALUE_MAX bytes and folded between words, so that no line is near 998 bytes.
 */
#include "control/dsn.h"

#include "control/mail_date.h"
#include "control/utf8.h"
#include "tcp/base.h"

#define VALUE_MAX    800u
#define FOLD_AT      76u
#define COLUMN_MAX   900u        /* where a word without end is broken all the same */
#define ORIGINAL_MAX (64u << 10) /* of its header, cut at a line */

/* What is being written, and how wide the current line is. */
struct report {
    FILE *out;
    const struct dsn_request *request;
    char boundary[64];
    size_t column;
};

/* ---- lines ------------------------------------------------------------------------------- */

static void put(struct report *r, const char *text)
{
    (void)fputs(text, r->out);
    r->column += strlen(text);
}

static void end_line(struct report *r)
{
    put(r, "\r\n");
    r->column = 0;
}

static void put_line(struct report *r, const char *text)
{
    put(r, text);
    end_line(r);
}

/* One character of `text`; returns its bytes. `special`: ASCII that is written as \x{HEX} as well.
 */
static size_t put_char(struct report *r, const char *text, size_t room, const char *special)
{
    char buf[16];
    uint32_t point;
    size_t n = utf8_char(text, room, &point);
    if (n == 0 || point < 0x20 || (point >= 0x7f && point < 0xa0)) {
        put(r, "?");
        return n ? n : 1;
    }
    if (point < 0x80 ? strchr(special, (int)point) == NULL : r->request->utf8) {
        (void)snprintf(buf, sizeof buf, "%.*s", (int)n, text);
    } else {
        (void)snprintf(buf, sizeof buf, "\\x{%X}", (unsigned)point);
    }
    put(r, buf);
    return n;
}

/* Bytes up to the next blank, at least one. */
static size_t word_bytes(const char *text, size_t len)
{
    size_t n = 1;
    while (n < len && text[n] != ' ') {
        n++;
    }
    return n;
}

static void fold(struct report *r, const char *indent)
{
    end_line(r);
    put(r, indent);
}

/* Printable, cut, folded: lines after the first begin with `indent`, which is blank. Several blanks
 * become one. */
static void put_value(struct report *r, const char *value, const char *indent, const char *special)
{
    size_t len = strnlen(value, VALUE_MAX);
    for (size_t i = 0; i < len;) {
        size_t end = i + word_bytes(value + i, len - i);
        if (value[i] == ' ' && end == i + 1) {
            i++;
        } else if (value[i] == ' ' && r->column + (end - i) > FOLD_AT) {
            fold(r, indent);
            i++;
        }
        while (i < end) {
            if (r->column > COLUMN_MAX) {
                fold(r, indent);
            }
            i += put_char(r, value + i, len - i, special);
        }
    }
    end_line(r);
}

static void put_field(struct report *r, const char *name, const char *value)
{
    put(r, name);
    put_value(r, value, " ", "");
}

static void put_date(struct report *r, const char *name, int64_t unix_s)
{
    char date[MAIL_DATE_MAX];
    put_field(r, name, mail_date(unix_s, date));
}

/* ---- parts ------------------------------------------------------------------------------- */

static bool all_relayed(const struct dsn_request *request)
{
    bool all = true;
    for (uint32_t i = 0; i < request->n_recipients; i++) {
        all = all && request->recipients[i].relayed;
    }
    return all;
}

static void put_header(struct report *r)
{
    const struct dsn_request *request = r->request;
    char text[512];
    put_date(r, "Date: ", request->unix_s);
    (void)snprintf(text, sizeof text, "<MAILER-DAEMON@%s>", request->hostname);
    put_field(r, "From: Mail Delivery System ", text);
    put_field(r, "To: ", request->to);
    (void)snprintf(text, sizeof text, "<%016llx@%s>", (unsigned long long)request->id,
                   request->hostname);
    put_field(r, "Message-ID: ", text);
    put_line(r, all_relayed(request) ? "Subject: Successful mail delivery report"
                                     : "Subject: Undelivered mail returned to sender");
    put_line(r, "Auto-Submitted: auto-replied");
    put_line(r, "MIME-Version: 1.0");
    put(r, "Content-Type: multipart/report; report-type=");
    put(r, request->utf8 ? "global-delivery-status;" : "delivery-status;");
    end_line(r);
    put(r, " boundary=\"");
    put(r, r->boundary);
    put_line(r, "\"");
    if (request->utf8) {
        put_line(r, "Content-Transfer-Encoding: 8bit");
    }
    end_line(r);
}

static void put_part(struct report *r, const char *type, const char *encoding)
{
    put(r, "--");
    put_line(r, r->boundary);
    put(r, "Content-Type: ");
    put_line(r, type);
    put(r, "Content-Transfer-Encoding: ");
    put_line(r, encoding);
    end_line(r);
}

static void put_person(struct report *r, const struct dsn_recipient *rcpt)
{
    end_line(r);
    put_field(r, "  ", rcpt->address);
    if (rcpt->remote_mta[0]) {
        put_field(r, "      at ", rcpt->remote_mta);
    }
    put(r, "      ");
    put_value(r, rcpt->diagnostic[0] ? rcpt->diagnostic : rcpt->status, "      ", "");
}

/* Those of one kind, if there are any, below a few words about them. */
static void put_list(struct report *r, bool relayed, const char *words)
{
    const char *head = words;
    for (uint32_t i = 0; i < r->request->n_recipients; i++) {
        if (r->request->recipients[i].relayed == relayed) {
            put(r, head);
            put_person(r, &r->request->recipients[i]);
            head = "";
        }
    }
}

static void put_people(struct report *r)
{
    put(r, "This is the mail system at ");
    put_value(r, r->request->hostname, " ", "");
    end_line(r);
    put_list(r, false,
             "Your message could not be delivered to the recipients below, and will not be\r\n"
             "tried again. What the receiving system said stands beside each.\r\n");
    put_list(r, true,
             "Your message went on to the recipients below, by a system that does not report\r\n"
             "deliveries: no other report will come of them.\r\n");
    end_line(r);
}

/* RFC 3464 2.3.2; RFC 6533 3 for what is not ASCII. */
static void put_final_recipient(struct report *r, const char *address)
{
    if (utf8_is_ascii(address, strlen(address))) {
        put_field(r, "Final-Recipient: rfc822; ", address);
    } else {
        put(r, "Final-Recipient: utf-8; ");
        put_value(r, address, " ", r->request->utf8 ? "" : "\\+=");
    }
}

/* RFC 3464 2.3.5: a name of the DNS, or an address in brackets. */
static void put_remote_mta(struct report *r, const char *remote_mta)
{
    struct ip_addr addr;
    char text[IP_ADDR_TEXT_MAX + 8];
    if (ip_addr_parse(remote_mta, &addr)) {
        (void)snprintf(text, sizeof text, addr.family == 6 ? "[IPv6:%s]" : "[%s]", remote_mta);
        put_field(r, "Remote-MTA: dns; ", text);
    } else if (remote_mta[0]) {
        put_field(r, "Remote-MTA: dns; ", remote_mta);
    }
}

/* RFC 3464 2.3.6: "smtp" only for what an SMTP server said. */
static void put_diagnostic(struct report *r, const char *diagnostic)
{
    bool reply = diagnostic[0] >= '2' && diagnostic[0] <= '5';
    if (diagnostic[0]) {
        put_field(r, reply ? "Diagnostic-Code: smtp; " : "Diagnostic-Code: x-wirepost; ",
                  diagnostic);
    }
}

/* RFC 3464 2.3.1: as it came, with a blank behind its type. */
static void put_original_recipient(struct report *r, const char *orcpt)
{
    size_t type = strcspn(orcpt, ";");
    bool ascii = utf8_is_ascii(orcpt, strlen(orcpt));
    if (orcpt[type] == '\0') {
        return;
    }
    put(r, "Original-Recipient: ");
    for (size_t i = 0; i < type; i++) {
        (void)put_char(r, orcpt + i, 1, "");
    }
    put(r, "; ");
    put_value(r, orcpt + type + 1, " ", ascii || r->request->utf8 ? "" : "\\+=");
}

static void put_status(struct report *r)
{
    put_field(r, "Reporting-MTA: dns; ", r->request->hostname);
    if (r->request->envid && r->request->envid[0]) {
        put_field(r, "Original-Envelope-Id: ", r->request->envid);
    }
    put_date(r, "Arrival-Date: ", r->request->arrival_unix_s);
    for (uint32_t i = 0; i < r->request->n_recipients; i++) {
        const struct dsn_recipient *rcpt = &r->request->recipients[i];
        end_line(r);
        put_original_recipient(r, rcpt->orcpt ? rcpt->orcpt : "");
        put_final_recipient(r, rcpt->address);
        put_line(r, rcpt->relayed ? "Action: relayed" : "Action: failed");
        put_field(r, "Status: ", rcpt->status);
        put_remote_mta(r, rcpt->remote_mta);
        put_diagnostic(r, rcpt->diagnostic);
    }
    end_line(r);
}

/* ---- the header of the original ---------------------------------------------------------- */

/* Length of the header section with the end of its last line. */
static size_t header_bytes(const uint8_t *data, size_t len)
{
    size_t end = 0;
    for (size_t i = 0; i + 1 < len && i < ORIGINAL_MAX; i++) {
        if (data[i] == '\r' && data[i + 1] == '\n') {
            if (i == end) {
                break; /* the blank line */
            }
            end = i + 2;
        }
    }
    return end;
}

/* RFC 2045 6.7. A blank before a line end is encoded too. */
static void put_quoted_printable(struct report *r, const uint8_t *data, size_t len)
{
    char buf[4];
    for (size_t i = 0; i < len; i++) {
        bool at_end = i + 1 < len && data[i + 1] == '\r';
        if (data[i] == '\r') {
            end_line(r);
            i++; /* CRLF only, in wire form */
            continue;
        }
        if (r->column + 3 >= FOLD_AT) {
            put(r, "=");
            end_line(r);
        }
        bool plain = data[i] > 0x20 && data[i] < 0x7f && data[i] != '=';
        plain |= (data[i] == ' ' || data[i] == '\t') && !at_end;
        (void)snprintf(buf, sizeof buf, plain ? "%c" : "=%02X", data[i]);
        put(r, buf);
    }
}

static void put_original(struct report *r)
{
    const struct dsn_request *request = r->request;
    size_t len = request->original ? header_bytes(request->original, request->original_len) : 0;
    if (len == 0) {
        return;
    }
    if (request->utf8 && utf8_valid(request->original, len)) {
        put_part(r, "message/global-headers", "8bit");
        (void)fwrite(request->original, 1, len, r->out);
    } else if (utf8_is_ascii(request->original, len)) {
        put_part(r, "text/rfc822-headers", "7bit");
        (void)fwrite(request->original, 1, len, r->out);
    } else {
        put_part(r, "text/rfc822-headers", "quoted-printable");
        put_quoted_printable(r, request->original, len);
    }
    end_line(r);
}

/* ---- the whole --------------------------------------------------------------------------- */

static void put_report(struct report *r)
{
    bool utf8 = r->request->utf8;
    put_header(r);
    put_part(r, utf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii",
             utf8 ? "8bit" : "7bit");
    put_people(r);
    put_part(r, utf8 ? "message/global-delivery-status" : "message/delivery-status",
             utf8 ? "8bit" : "7bit");
    put_status(r);
    put_original(r);
    put(r, "--");
    put(r, r->boundary);
    put_line(r, "--");
}

bool dsn_make(const struct dsn_request *request, uint8_t **ret_data, size_t *ret_len)
{
    struct report r = {.request = request};
    char *text = NULL;
    size_t len = 0;
    r.out = open_memstream(&text, &len);
    if (!r.out) {
        return false;
    }
    (void)snprintf(r.boundary, sizeof r.boundary, "report/%016llx",
                   (unsigned long long)request->id);
    put_report(&r);
    bool bad = ferror(r.out) != 0;
    if (fclose(r.out) != 0 || bad) {
        free(text);
        return false;
    }
    *ret_data = (uint8_t *)text;
    *ret_len = len;
    return true;
}
