/*
 * smtp_ehlo.c - the keywords of the EHLO reply (RFC 5321 4.1.1.1): one per line, without regard to
 * case, parameters after a space. What is not used is ignored.
 */
#include "dataplane/smtp_private.h"

#include <strings.h>

/* RFC 1870 4: digits; 0 and none at all mean that no fixed limit is in force. A number that does
 * not fit is a limit that no message reaches. */
static uint64_t parse_size(const char *p)
{
    uint64_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return UINT64_MAX;
        }
        value = value * 10 + digit;
    }
    return value;
}

void smtp_ehlo_keyword(struct smtp_extensions *extensions, const char *line)
{
    static const struct {
        const char *keyword;
        uint32_t flag;
    } known[] = {
        {"PIPELINING", SMTP_EXT_PIPELINING}, {"SIZE", SMTP_EXT_SIZE},
        {"8BITMIME", SMTP_EXT_8BITMIME},     {"SMTPUTF8", SMTP_EXT_SMTPUTF8},
        {"CHUNKING", SMTP_EXT_CHUNKING},     {"ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCED},
        {"STARTTLS", SMTP_EXT_STARTTLS},     {"DSN", SMTP_EXT_DSN},
    };
    size_t len = strcspn(line, " ");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].keyword) != len || strncasecmp(known[i].keyword, line, len) != 0) {
            continue;
        }
        extensions->flags |= known[i].flag;
        if (known[i].flag == SMTP_EXT_SIZE) {
            extensions->size_bytes = parse_size(line + len + strspn(line + len, " "));
        }
    }
}
