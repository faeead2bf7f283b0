/*
 * dsn.c - see dsn.h. multipart/report (RFC 6522) with a text for people, message/delivery-status
 * (RFC 3464) and the header of the original (text/rfc822-headers). Whatever came from the network
 * is made printable and cut.
 */
#include "control/dsn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_MAX     900u
#define ORIGINAL_MAX (64u << 10) /* of its header, cut at a line */

static void put_date(FILE *out, const char *name, int64_t unix_s)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)unix_s;
    struct tm tm;
    (void)gmtime_r(&seconds, &tm);
    (void)fprintf(out, "%s: %s, %d %s %d %02d:%02d:%02d +0000\r\n", name, days[tm.tm_wday],
                  tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                  tm.tm_sec);
}

/* Printable, in one line, and not endless. */
static void put_clean(FILE *out, const char *text)
{
    for (size_t i = 0; text[i] && i < TEXT_MAX; i++) {
        unsigned char c = (unsigned char)text[i];
        (void)fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
    }
}

static void put_field(FILE *out, const char *name, const char *value)
{
    (void)fprintf(out, "%s", name);
    put_clean(out, value);
    (void)fputs("\r\n", out);
}

static void put_header(FILE *out, const struct dsn_request *r, const char *boundary)
{
    put_date(out, "Date", r->unix_s);
    (void)fprintf(out, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", r->hostname);
    put_field(out, "To: ", r->to);
    (void)fprintf(out, "Message-ID: <%016llx@%s>\r\n", (unsigned long long)r->id, r->hostname);
    (void)fprintf(out,
                  "Subject: Undelivered mail returned to sender\r\n"
                  "Auto-Submitted: auto-replied\r\n"
                  "MIME-Version: 1.0\r\n"
                  "Content-Type: multipart/report; report-type=%s;\r\n"
                  "\tboundary=\"%s\"\r\n\r\n",
                  r->utf8 ? "global-delivery-status" : "delivery-status", boundary);
}

static void put_part(FILE *out, const char *boundary, const char *type, const char *encoding)
{
    (void)fprintf(out, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
                  boundary, type, encoding);
}

static void put_people(FILE *out, const struct dsn_request *r)
{
    (void)fprintf(out,
                  "This is the mail system at %s.\r\n\r\n"
                  "Your message could not be delivered to the recipients below, and will not be\r\n"
                  "tried again. What the receiving system said stands beside each.\r\n\r\n",
                  r->hostname);
    for (uint32_t i = 0; i < r->n_recipients; i++) {
        put_field(out, "  ", r->recipients[i].address);
        if (r->recipients[i].remote_mta[0]) {
            put_field(out, "      at ", r->recipients[i].remote_mta);
        }
        put_field(out, "      ",
                  r->recipients[i].diagnostic[0] ? r->recipients[i].diagnostic
                                                 : r->recipients[i].status);
        (void)fputs("\r\n", out);
    }
}

/* RFC 3464 2.3.6: "smtp" only for what an SMTP server said. */
static void put_diagnostic(FILE *out, const char *diagnostic)
{
    if (diagnostic[0]) {
        put_field(out,
                  diagnostic[0] >= '2' && diagnostic[0] <= '5' ? "Diagnostic-Code: smtp; "
                                                               : "Diagnostic-Code: x-wirepost; ",
                  diagnostic);
    }
}

static void put_status(FILE *out, const struct dsn_request *r)
{
    (void)fprintf(out, "Reporting-MTA: dns; %s\r\n", r->hostname);
    put_date(out, "Arrival-Date", r->arrival_unix_s);
    for (uint32_t i = 0; i < r->n_recipients; i++) {
        const struct dsn_recipient *rcpt = &r->recipients[i];
        (void)fputs("\r\n", out);
        put_field(out, r->utf8 ? "Final-Recipient: utf-8; " : "Final-Recipient: rfc822; ",
                  rcpt->address);
        (void)fputs("Action: failed\r\n", out);
        put_field(out, "Status: ", rcpt->status);
        if (rcpt->remote_mta[0]) {
            put_field(out, "Remote-MTA: dns; ", rcpt->remote_mta);
        }
        put_diagnostic(out, rcpt->diagnostic);
    }
    (void)fputs("\r\n", out);
}

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

static bool is_8bit(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] >= 0x80) {
            return true;
        }
    }
    return false;
}

bool dsn_make(const struct dsn_request *r, uint8_t **ret_data, size_t *ret_len)
{
    char boundary[64], *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out) {
        return false;
    }
    (void)snprintf(boundary, sizeof boundary, "%016llx/report", (unsigned long long)r->id);
    size_t original = r->original ? header_bytes(r->original, r->original_len) : 0;
    const char *encoding = r->utf8 ? "8bit" : "7bit";
    put_header(out, r, boundary);
    put_part(out, boundary, r->utf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii",
             encoding);
    put_people(out, r);
    put_part(out, boundary, r->utf8 ? "message/global-delivery-status" : "message/delivery-status",
             encoding);
    put_status(out, r);
    put_part(out, boundary, r->utf8 ? "message/global-headers" : "text/rfc822-headers",
             original && is_8bit(r->original, original) ? "8bit" : encoding);
    if (original > 0) {
        (void)fwrite(r->original, 1, original, out);
    }
    (void)fprintf(out, "\r\n--%s--\r\n", boundary);
    bool bad = ferror(out) != 0;
    if (fclose(out) != 0 || bad) {
        free(text);
        return false;
    }
    *ret_data = (uint8_t *)text;
    *ret_len = len;
    return true;
}
