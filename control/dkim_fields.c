/* dkim_fields.c - which header fields are signed (RFC 6376 5.4), and who the author is: see dkim.h.
 */
#include "control/dkim.h"

#include "control/address.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* How a kind of field is signed beside each of its instances. */
enum once_more {
    ALWAYS,   /* once more: it must not be added */
    IF_THERE, /* once more when there is one: it must not be doubled */
    NEVER,    /* lists and forwarders add it rightly */
};

#define UNSTABLE 1u /* left out of DKIM_PROFILE_STABLE */

/* RFC 6376 5.4.1; RFC 8058 4 (List-Unsubscribe-Post); RFC 9477 3.1 (CFBL-*). */
static const struct {
    const char *name;
    uint8_t name_len;
    uint8_t once_more;
    uint8_t flags;
} kinds[] = {
#define ROW(name, once_more, flags)                                                                \
    {                                                                                              \
        name, sizeof name - 1, once_more, flags                                                    \
    }
    ROW("From", ALWAYS, 0),
    ROW("Sender", IF_THERE, 0),
    ROW("Reply-To", ALWAYS, 0),
    ROW("Subject", ALWAYS, 0),
    ROW("Date", ALWAYS, UNSTABLE),
    ROW("Message-ID", ALWAYS, UNSTABLE),
    ROW("To", ALWAYS, 0),
    ROW("Cc", ALWAYS, 0),
    ROW("MIME-Version", IF_THERE, 0),
    ROW("Content-Type", ALWAYS, 0),
    ROW("Content-Transfer-Encoding", ALWAYS, 0),
    ROW("Content-ID", IF_THERE, 0),
    ROW("Content-Description", IF_THERE, 0),
    ROW("Content-Disposition", IF_THERE, 0),
    ROW("In-Reply-To", IF_THERE, 0),
    ROW("References", IF_THERE, 0),
    ROW("Resent-Date", NEVER, 0),
    ROW("Resent-From", NEVER, 0),
    ROW("Resent-Sender", NEVER, 0),
    ROW("Resent-To", NEVER, 0),
    ROW("Resent-Cc", NEVER, 0),
    ROW("Resent-Message-ID", NEVER, 0),
    ROW("List-Id", NEVER, 0),
    ROW("List-Help", NEVER, 0),
    ROW("List-Unsubscribe", IF_THERE, 0),
    ROW("List-Unsubscribe-Post", IF_THERE, 0),
    ROW("List-Subscribe", NEVER, 0),
    ROW("List-Post", NEVER, 0),
    ROW("List-Owner", NEVER, 0),
    ROW("List-Archive", NEVER, 0),
    ROW("Feedback-ID", NEVER, 0),
    ROW("CFBL-Address", IF_THERE, 0),
    ROW("CFBL-Feedback-ID", IF_THERE, 0),
    ROW("Auto-Submitted", NEVER, 0),
    ROW("TLS-Required", IF_THERE, 0),
#undef ROW
};

#define N_KINDS   (sizeof kinds / sizeof kinds[0])
#define KIND_FROM 0u

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* ---- finding them ------------------------------------------------------------------------ */

static uint32_t kind_of(const uint8_t *at, size_t len)
{
    const uint8_t *colon = memchr(at, ':', len);
    size_t name_len = colon ? (size_t)(colon - at) : 0;
    while (name_len > 0 && is_blank(at[name_len - 1])) {
        name_len--; /* obsolete, but it is the same field (RFC 5322 4.5) */
    }
    uint32_t kind = 0;
    while (kind < N_KINDS && (kinds[kind].name_len != name_len ||
                              strncasecmp((const char *)at, kinds[kind].name, name_len) != 0)) {
        kind++;
    }
    return kind;
}

/* Where the field that begins here ends: before the CRLF that no blank follows. */
static size_t field_len(const uint8_t *at, size_t len)
{
    const uint8_t *from = at, *end = at + len, *lf;
    while ((lf = memchr(from, '\n', (size_t)(end - from))) != NULL) {
        from = lf + 1;
        if (from == end || !is_blank(*from)) {
            return (size_t)(lf - at) - (lf > at && lf[-1] == '\r');
        }
    }
    return len;
}

/* Behind the line end of the field, if it has one. */
static size_t skip_end(const uint8_t *data, size_t len, size_t at)
{
    at += at < len && data[at] == '\r';
    return at + (at < len && data[at] == '\n');
}

bool dkim_message_scan(const uint8_t *data, size_t len, struct dkim_message *ret_message,
                       char *ret_error, size_t error_bytes)
{
    struct dkim_message *m = ret_message;
    size_t at = 0;
    m->body = NULL;
    m->body_len = m->n_fields = 0;
    while (at < len && data[at] != '\r' && data[at] != '\n') {
        size_t n = field_len(data + at, len - at);
        uint32_t kind = kind_of(data + at, n);
        if (kind < N_KINDS && m->n_fields == DKIM_FIELDS_MAX) {
            (void)snprintf(ret_error, error_bytes,
                           "it has more than %u header fields that DKIM signs", DKIM_FIELDS_MAX);
            return false;
        }
        if (kind < N_KINDS) {
            m->fields[m->n_fields++] =
                (struct dkim_field){.at = data + at, .len = (uint32_t)n, .kind = kind};
        }
        at = skip_end(data, len, at + n);
    }
    if (at < len) {
        at = skip_end(data, len, at);
        m->body = data + at;
        m->body_len = len - at;
    }
    return true;
}

/* ---- in the order of h= ------------------------------------------------------------------ */

/* Instances from the bottom: a verifier takes them so (5.4.2). */
static void each_of_kind(const struct dkim_message *m, uint32_t kind, dkim_field_fn fn, void *user)
{
    bool there = false;
    for (uint32_t i = m->n_fields; i > 0; i--) {
        if (m->fields[i - 1].kind == kind) {
            fn(user, kinds[kind].name, &m->fields[i - 1]);
            there = true;
        }
    }
    if (kinds[kind].once_more == ALWAYS || (there && kinds[kind].once_more == IF_THERE)) {
        fn(user, kinds[kind].name, NULL);
    }
}

void dkim_message_each(const struct dkim_message *m, enum dkim_profile profile, dkim_field_fn fn,
                       void *user)
{
    for (uint32_t kind = 0; kind < N_KINDS; kind++) {
        if (profile == DKIM_PROFILE_ALL || !(kinds[kind].flags & UNSTABLE)) {
            each_of_kind(m, kind, fn, user);
        }
    }
}

/* ---- the author -------------------------------------------------------------------------- */

/* Reads an address list (RFC 5322 3.4, RFC 6854) as far as its first address. */
struct reader {
    const uint8_t *at, *end;
    char text[ADDRESS_MAX]; /* of what may be an address: comments and blanks are left out */
    size_t len;
    bool overlong;
};

/* Behind a comment, which may have others in it (3.2.2). */
static void skip_comment(struct reader *r)
{
    uint32_t depth = 0;
    do {
        if (*r->at == '\\') {
            r->at++;
        } else if (*r->at == '(') {
            depth++;
        } else if (*r->at == ')') {
            depth--;
        }
        r->at += r->at < r->end;
    } while (depth > 0 && r->at < r->end);
}

static void keep(struct reader *r, uint8_t byte)
{
    if (r->len + 1 < sizeof r->text) {
        r->text[r->len++] = (char)byte;
    } else {
        r->overlong = true;
    }
}

static void keep_quoted(struct reader *r)
{
    keep(r, *r->at++);
    while (r->at < r->end && *r->at != '"') {
        if (*r->at == '\\' && r->at + 1 < r->end) {
            keep(r, *r->at++);
        }
        keep(r, *r->at++);
    }
    if (r->at < r->end) {
        keep(r, *r->at++);
    }
}

static void forget(struct reader *r)
{
    r->len = 0;
    r->overlong = false;
}

/* One element. False: the address is complete. */
static bool read_on(struct reader *r, bool *angle)
{
    switch (*r->at) {
    case '(':
        skip_comment(r);
        return true;
    case '"':
        keep_quoted(r);
        return true;
    case '<': /* what came before was a name */
        *angle = true;
        forget(r);
        break;
    case ':': /* the name of a group; a route (obsolete, 4.4) is no address */
        if (*angle) {
            return false;
        }
        forget(r);
        break;
    case '>':
        return false;
    case ',':
    case ';':
        if (r->len > 0) {
            return false;
        }
        break;
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        break;
    default:
        keep(r, *r->at);
    }
    r->at++;
    return true;
}

static bool first_domain(const struct dkim_field *field, char ret_domain[DKIM_DOMAIN_MAX])
{
    const uint8_t *colon = memchr(field->at, ':', field->len);
    struct reader r = {.at = colon + 1, .end = field->at + field->len};
    struct address address;
    char error[256];
    bool angle = false;
    while (r.at < r.end && read_on(&r, &angle)) {
    }
    if (r.overlong || !address_parse(r.text, r.len, &address, error, sizeof error) ||
        address.domain[0] == '[' || strlen(address.domain) >= DKIM_DOMAIN_MAX) {
        return false;
    }
    (void)snprintf(ret_domain, DKIM_DOMAIN_MAX, "%.*s", (int)DKIM_DOMAIN_MAX - 1, address.domain);
    return true;
}

bool dkim_message_from(const struct dkim_message *m, char ret_domain[DKIM_DOMAIN_MAX],
                       char *ret_error, size_t error_bytes)
{
    const struct dkim_field *from = NULL;
    const char *what = NULL;
    for (uint32_t i = 0; i < m->n_fields; i++) {
        if (m->fields[i].kind == KIND_FROM) {
            what = from ? "it has more than one From field" : what;
            from = &m->fields[i];
        }
    }
    if (!from) {
        what = "it has no From field";
    } else if (!what && !first_domain(from, ret_domain)) {
        what = "its From field has no address in it";
    }
    if (what) {
        (void)snprintf(ret_error, error_bytes, "%s", what);
    }
    return !what;
}
