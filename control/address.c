/* address.c - see address.h. RFC 5321 4.1.2 (Mailbox), 4.5.3.1 (sizes); RFC 6531 3.3; RFC 5891
 * through libidn2. */
#include "control/address.h"

#include "control/utf8.h"
#include "tcp/base.h"

#include <ctype.h>
#include <idn2.h>
#include <stdarg.h>

#define LOCAL_MAX  64u
#define DOMAIN_MAX 255u
#define NAME_MAX_  253u /* RFC 1035 2.3.4: 255 with the lengths of its labels */
#define PATH_MAX_  254u /* without the angle brackets */

struct parse {
    const char *text;
    size_t len;
    char *error;
    size_t error_bytes;
};

/* The reason, with the address as far as it can be shown. */
static bool refuse(const struct parse *p, const char *format, ...)
{
    char shown[81];
    size_t n = p->len < sizeof shown - 1 ? p->len : sizeof shown - 1;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p->text[i];
        shown[i] = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    shown[n] = '\0';
    int used = snprintf(p->error, p->error_bytes, "address \"%s\": ", shown);
    if (used >= 0 && (size_t)used < p->error_bytes) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(p->error + used, p->error_bytes - (size_t)used, format, arguments);
        va_end(arguments);
    }
    return false;
}

/* Also those of U+0080 to U+009F. */
static bool has_control(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;
    for (size_t i = 0; i < len; i++) {
        if (at[i] < 0x20 || at[i] == 0x7f || (at[i] == 0xc2 && i + 1 < len && at[i + 1] < 0xa0)) {
            return true;
        }
    }
    return false;
}

/* ---- local part -------------------------------------------------------------------------- */

static bool is_atext(unsigned char c)
{
    return isalnum(c) || c >= 0x80 || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool dot_string(const struct parse *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool dot = p->text[i] == '.';
        if (dot && (i == 0 || i + 1 == len || p->text[i - 1] == '.')) {
            return refuse(
                p, "a dot may stand only between other characters; put the local part in quotes");
        }
        if (!dot && !is_atext((unsigned char)p->text[i])) {
            return refuse(p, "'%c' is not allowed in a local part without quotes", p->text[i]);
        }
    }
    return true;
}

/* Position of the '@' after a quoted local part; 0: refused. After a backslash stands one ASCII
 * character (RFC 6531 3.3). */
static size_t quoted_end(const struct parse *p)
{
    size_t at = 1;
    while (at < p->len && p->text[at] != '"') {
        if (p->text[at] == '\\' && ++at < p->len && (unsigned char)p->text[at] >= 0x80) {
            (void)refuse(p, "a backslash may stand only before an ASCII character");
            return 0;
        }
        at++;
    }
    at++;
    if (at >= p->len || p->text[at] != '@') {
        (void)refuse(p, "the quoted local part must end with a quote followed by '@'");
        return 0;
    }
    return at;
}

/* Position of the '@' after the local part; 0: refused. */
static size_t local_end(const struct parse *p)
{
    if (p->text[0] == '"') {
        return quoted_end(p);
    }
    const char *sign = memchr(p->text, '@', p->len);
    if (!sign) {
        (void)refuse(p, "there is no '@'");
        return 0;
    }
    size_t at = (size_t)(sign - p->text);
    if (at == 0) {
        (void)refuse(p, p->len > 1 && memchr(p->text, ':', p->len)
                            ? "source routes are not accepted (RFC 5321 appendix C)"
                            : "nothing stands before the '@'");
        return 0;
    }
    return dot_string(p, at) ? at : 0;
}

/* ---- domain ------------------------------------------------------------------------------ */

static bool parse_literal(const struct parse *p, const char *domain, size_t len, struct address *a)
{
    char inner[64];
    struct ip_addr ip;
    bool six = len > 7 && strncasecmp(domain, "[IPv6:", 6) == 0;
    size_t skip = six ? 6 : 1, n = len - skip - 1;
    if (len < 3 || domain[len - 1] != ']' || n >= sizeof inner) {
        return refuse(p, "an address literal looks like [192.0.2.1] or [IPv6:2001:db8::1]");
    }
    memcpy(inner, domain + skip, n);
    inner[n] = '\0';
    if (!ip_addr_parse(inner, &ip) || (ip.family == 6) != six) {
        return refuse(p, "an address literal looks like [192.0.2.1] or [IPv6:2001:db8::1]");
    }
    (void)snprintf(a->domain, sizeof a->domain, "[%s%s]", six ? "IPv6:" : "",
                   ip_addr_format(&ip, inner));
    return true;
}

/* No top-level domain is a number: that is an address without its brackets (RFC 1123 2.1). */
static bool ends_with_number(const char *domain)
{
    const char *dot = strrchr(domain, '.'), *last = dot ? dot + 1 : domain;
    return last[strspn(last, "0123456789")] == '\0';
}

/* Letters, digits and hyphens in labels of 1 to 63 (RFC 1123 2.1). */
static const char *labels_fault(const char *domain)
{
    size_t label = 0;
    for (const char *at = domain;; at++) {
        if (*at == '.' || *at == '\0') {
            if (label == 0) {
                return "the domain has an empty label";
            }
            if (at[-1] == '-') {
                return "a label of the domain ends with a hyphen";
            }
            if (*at == '\0') {
                return ends_with_number(domain) ? "an IP address needs brackets, like [192.0.2.1]"
                                                : NULL;
            }
            label = 0;
            continue;
        }
        if (!isalnum((unsigned char)*at) && (*at != '-' || label == 0)) {
            return "a domain has letters, digits, hyphens and dots only";
        }
        if (++label > 63) {
            return "a label of the domain is over 63 bytes";
        }
    }
}

static bool parse_name(const struct parse *p, const char *domain, size_t len, struct address *a)
{
    char text[DOMAIN_MAX + 1], *ascii = NULL;
    memcpy(text, domain, len);
    text[len] = '\0';
    if (!utf8_is_ascii(text, len)) {
        int result = idn2_to_ascii_8z(text, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
        if (result != IDN2_OK || strlen(ascii) > DOMAIN_MAX) {
            idn2_free(ascii);
            return refuse(p, "the domain is not a valid international one: %s",
                          idn2_strerror(result != IDN2_OK ? result : IDN2_TOO_BIG_DOMAIN));
        }
    }
    (void)snprintf(a->domain, sizeof a->domain, "%s", ascii ? ascii : text);
    idn2_free(ascii);
    const char *fault = strlen(a->domain) > NAME_MAX_ ? "the domain is too long for the DNS"
                                                      : labels_fault(a->domain);
    if (fault) {
        return refuse(p, "%s", fault);
    }
    for (char *at = a->domain; *at; at++) {
        *at = (char)tolower((unsigned char)*at);
    }
    return true;
}

/* ---- the whole --------------------------------------------------------------------------- */

/* The domain as it was written; as A-labels when the local part does not ask for SMTPUTF8 anyway.
 */
static bool write_text(const struct parse *p, size_t at, struct address *a)
{
    size_t domain_len = p->len - at - 1;
    bool as_is = a->utf8 || utf8_is_ascii(p->text + at + 1, domain_len);
    int n = snprintf(a->text, sizeof a->text, "%.*s@%.*s", (int)at, p->text,
                     as_is ? (int)domain_len : (int)sizeof a->domain - 1,
                     as_is ? p->text + at + 1 : a->domain);
    return (n > 0 && (size_t)n <= PATH_MAX_) || refuse(p, "it is over %u bytes", PATH_MAX_);
}

bool address_parse(const char *text, size_t len, struct address *ret_address, char *ret_error,
                   size_t error_bytes)
{
    const struct parse p = {text, len, ret_error, error_bytes};
    struct address a = {0};
    if (len == 0) {
        return refuse(&p, "it is empty");
    }
    if (has_control(text, len)) {
        return refuse(&p, "it has a control character (CR, LF, NUL ...) in it");
    }
    if (len > PATH_MAX_) {
        return refuse(&p, "it is over %u bytes", PATH_MAX_);
    }
    if (!utf8_valid(text, len)) {
        return refuse(&p, "it is not UTF-8");
    }
    size_t at = local_end(&p);
    if (at == 0) {
        return false;
    }
    const char *domain = text + at + 1;
    size_t domain_len = len - at - 1;
    if (at > LOCAL_MAX) {
        return refuse(&p, "the local part is over %u bytes", LOCAL_MAX);
    }
    if (domain_len == 0 || domain_len > DOMAIN_MAX) {
        return refuse(&p, domain_len == 0 ? "nothing stands after the '@'"
                                          : "the domain is over 255 bytes");
    }
    a.utf8 = !utf8_is_ascii(text, at);
    bool good = domain[0] == '[' ? parse_literal(&p, domain, domain_len, &a)
                                 : parse_name(&p, domain, domain_len, &a);
    if (!good || !write_text(&p, at, &a)) {
        return false;
    }
    *ret_address = a;
    return true;
}
