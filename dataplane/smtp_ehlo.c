/*
 * smtp_ehlo.c - the keywords of the EHLO reply (RFC 5321 4.1.1.1): one per line, without regard to
 * case, parameters after a space. What is not used is ignored.
 */
#include "dataplane/smtp_private.h"

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

static bool is_keyword(const char *line, size_t len, const char *keyword)
{
    return strlen(keyword) == len && strncasecmp(keyword, line, len) == 0;
}

/* RFC 4954 4: mechanisms after spaces; "AUTH=" is what servers said before it, and some still do.
 */
static uint32_t parse_auth(const char *p)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } known[] = {{"PLAIN", SMTP_EXT_AUTH_PLAIN},
                 {"LOGIN", SMTP_EXT_AUTH_LOGIN},
                 {"CRAM-MD5", SMTP_EXT_AUTH_CRAM},
                 {"XOAUTH2", SMTP_EXT_AUTH_OAUTH}};
    uint32_t flags = 0;
    for (size_t len; *p; p += len) {
        p += strspn(p, " =");
        len = strcspn(p, " ");
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (is_keyword(p, len, known[i].name)) {
                flags |= known[i].flag;
            }
        }
    }
    return flags;
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
        {"REQUIRETLS", SMTP_EXT_REQUIRETLS},
    };
    size_t len = strcspn(line, " ");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (is_keyword(line, len, known[i].keyword)) {
            extensions->flags |= known[i].flag;
        }
    }
    if (is_keyword(line, len, "SIZE")) {
        extensions->size_bytes = parse_size(line + len + strspn(line + len, " "));
    }
    if (is_keyword(line, strcspn(line, " ="), "AUTH")) {
        extensions->flags |= parse_auth(line + 4);
    }
}
