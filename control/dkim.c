/*
 * dkim.c - which fields are signed, and the signature: see dkim.h.
 *
 * The field is built with an empty b= at its end, hashed as the last one without its CRLF (RFC 6376
 * 3.7), and then gets the signature in lines of 72.
 */
#include "control/dkim.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHA256_BYTES  32u
#define SIGNATURE_MAX 1024u /* RSA of 8192 bits */
#define TEXT_MAX      8192u /* of a field */
#define LINE          72u
#define FIELDS_MAX    256u /* that are signed of one message */
#define LIST_MAX      4096u

/* RFC 6376 5.4.1, and what receivers ask of bulk mail (RFC 8058 4). */
static const struct {
    const char *name;
    bool changes; /* see DKIM_DATES_CHANGE */
} signed_fields[] = {
    {"From", false},
    {"Sender", false},
    {"Reply-To", false},
    {"To", false},
    {"Cc", false},
    {"Subject", false},
    {"Date", true},
    {"Message-ID", true},
    {"In-Reply-To", false},
    {"References", false},
    {"MIME-Version", false},
    {"Content-Type", false},
    {"Content-Transfer-Encoding", false},
    {"List-Id", false},
    {"List-Unsubscribe", false},
    {"List-Unsubscribe-Post", false},
};
#define SIGNED_FIELDS (sizeof signed_fields / sizeof signed_fields[0])

/* ---- the header -------------------------------------------------------------------------- */

struct field {
    const uint8_t *at;
    size_t len; /* with its CRLF */
};

/* From `at` on, with its continuation lines. */
static size_t field_len(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *next = at;
    do {
        const uint8_t *lf = memchr(next, '\n', (size_t)(end - next));
        next = lf ? lf + 1 : end;
    } while (next < end && (*next == ' ' || *next == '\t'));
    return (size_t)(next - at);
}

static bool is_named(const struct field *f, const char *name)
{
    size_t len = strlen(name);
    if (f->len <= len || strncasecmp((const char *)f->at, name, len) != 0) {
        return false;
    }
    while (len < f->len && (f->at[len] == ' ' || f->at[len] == '\t')) {
        len++;
    }
    return len < f->len && f->at[len] == ':';
}

/* Fields of this name, the last first (RFC 6376 5.4.2). Returns their number. */
static uint32_t find_fields(const uint8_t *message, size_t header_len, const char *name,
                            struct field *fields, uint32_t max)
{
    const uint8_t *end = message + header_len;
    uint32_t n = 0;
    for (struct field f = {.at = message}; f.at < end; f.at += f.len) {
        f.len = field_len(f.at, end);
        if (is_named(&f, name)) {
            n += n < max;
            memmove(fields + 1, fields, (n - 1) * sizeof fields[0]);
            fields[0] = f;
        }
    }
    return n;
}

/* ---- From -------------------------------------------------------------------------------- */

/* Past a quoted string or a comment that begins here (RFC 5322 3.2.2, 3.2.4); at least one byte. */
static size_t skip(const char *at)
{
    char close = *at == '"' ? '"' : *at == '(' ? ')' : '\0';
    size_t n = 1, depth = 1;
    if (!close) {
        return 1;
    }
    for (; at[n] && depth > 0; n++) {
        if (at[n] == '\\' && at[n + 1]) {
            n++;
        } else if (at[n] == close) {
            depth--;
        } else if (at[n] == '(' && close == ')') {
            depth++;
        }
    }
    return n;
}

/* Behind the first '@' that is outside of quotes and comments. */
static const char *domain_in(const char *text)
{
    while (*text && *text != '@') {
        text += skip(text);
    }
    return *text ? text + 1 : NULL;
}

bool dkim_from_domain(const uint8_t *message, size_t len, char domain[DKIM_NAME_MAX])
{
    struct field from[2];
    char text[2048];
    size_t n = 0;
    if (find_fields(message, dkim_body_offset(message, len), "From", from, 2) != 1 ||
        from[0].len >= sizeof text) {
        return false;
    }
    memcpy(text, from[0].at, from[0].len);
    text[from[0].len] = '\0';
    const char *at = domain_in(strchr(text, ':') + 1);
    for (; at && (isalnum((unsigned char)*at) || strchr("-._", *at ? *at : '!')); at++) {
        if (n + 1 == DKIM_NAME_MAX) {
            return false;
        }
        domain[n++] = (char)tolower((unsigned char)*at);
    }
    domain[n] = '\0';
    return n > 0;
}

bool dkim_is_aligned(const char *from_domain, const char *signing_domain)
{
    size_t from = strlen(from_domain), own = strlen(signing_domain);
    return from >= own && strcasecmp(from_domain + from - own, signing_domain) == 0 &&
           (from == own || from_domain[from - own - 1] == '.');
}

/* ---- what is signed ---------------------------------------------------------------------- */

struct selection {
    struct field fields[FIELDS_MAX]; /* in the order of names */
    uint32_t n;
    char names[LIST_MAX]; /* h= */
};

static void add_name(struct selection *s, const char *name)
{
    size_t used = strlen(s->names);
    (void)snprintf(s->names + used, sizeof s->names - used, "%s%s", used > 0 ? ":" : "", name);
}

/* False: more fields than make sense. */
static bool select_fields(const uint8_t *message, size_t len, uint32_t flags, struct selection *s)
{
    size_t header_len = dkim_body_offset(message, len);
    s->n = 0;
    s->names[0] = '\0';
    for (size_t i = 0; i < SIGNED_FIELDS; i++) {
        const char *name = signed_fields[i].name;
        if (signed_fields[i].changes && (flags & DKIM_DATES_CHANGE)) {
            continue;
        }
        uint32_t n = find_fields(message, header_len, name, s->fields + s->n, FIELDS_MAX - s->n);
        s->n += n;
        if (s->n == FIELDS_MAX) {
            return false;
        }
        for (uint32_t k = 0; k <= n; k++) { /* once more than it is there */
            add_name(s, name);
        }
    }
    return strlen(s->names) + 1 < sizeof s->names;
}

static void hash_sink(void *user, const void *bytes, size_t n_bytes)
{
    (void)EVP_DigestUpdate(user, bytes, n_bytes);
}

static bool body_hash(const uint8_t *message, size_t len, char text[SHA256_BYTES * 2])
{
    uint8_t hash[SHA256_BYTES];
    size_t body = dkim_body_offset(message, len);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool good = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    if (good) {
        dkim_body_relaxed(message + body, len - body, hash_sink, md);
        good = EVP_DigestFinal_ex(md, hash, NULL) == 1;
    }
    EVP_MD_CTX_free(md);
    if (good) {
        (void)EVP_EncodeBlock((unsigned char *)text, hash, sizeof hash);
    }
    return good;
}

/* ---- one signature ----------------------------------------------------------------------- */

/* Appends text; a new line before a piece that would make it longer than LINE. Pieces end behind
 * sep. */
static void fold(char *out, size_t *column, const char *text, const char *sep)
{
    while (*text) {
        size_t n = strcspn(text, sep);
        n += text[n] != '\0';
        if (*column + n > LINE) {
            (void)strcat(out, "\r\n\t");
            *column = 8;
        }
        (void)sprintf(out + strlen(out), "%.*s", (int)n, text);
        *column += n;
        text += n;
    }
}

/* The field up to and with "b=". */
static void put_head(char *out, const struct dkim_key *key, const struct selection *s,
                     const char *bh, int64_t unix_s)
{
    char part[LIST_MAX + 16];
    size_t column = sizeof "DKIM-Signature:" - 1;
    (void)strcpy(out, "DKIM-Signature:");
    (void)snprintf(part, sizeof part, " v=1; a=%s; c=relaxed/relaxed; d=%s; s=%s; t=%lld;",
                   key->is_ed25519 ? "ed25519-sha256" : "rsa-sha256", key->domain, key->selector,
                   (long long)unix_s);
    fold(out, &column, part, ";");
    (void)snprintf(part, sizeof part, " h=%s;", s->names);
    fold(out, &column, part, ":;");
    (void)snprintf(part, sizeof part, "\r\n\tbh=%s;\r\n\tb=", bh);
    (void)strcat(out, part);
}

static bool header_hash(const struct selection *s, const char *head, uint8_t hash[SHA256_BYTES])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool good = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    for (uint32_t i = 0; good && i < s->n; i++) {
        dkim_field_relaxed(s->fields[i].at, s->fields[i].len, true, hash_sink, md);
    }
    if (good) {
        dkim_field_relaxed((const uint8_t *)head, strlen(head), false, hash_sink, md);
        good = EVP_DigestFinal_ex(md, hash, NULL) == 1;
    }
    EVP_MD_CTX_free(md);
    return good;
}

/* RSA signs the hash with PKCS #1 v1.5 (RFC 6376 3.3.1), Ed25519 the hash as its message (RFC 8463
 * 3). */
static bool sign_hash(const struct dkim_key *key, const uint8_t hash[SHA256_BYTES],
                      uint8_t *signature, size_t *len)
{
    if (key->is_ed25519) {
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        bool good = md && EVP_DigestSignInit(md, NULL, NULL, NULL, key->key) == 1 &&
                    EVP_DigestSign(md, signature, len, hash, SHA256_BYTES) == 1;
        EVP_MD_CTX_free(md);
        return good;
    }
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key->key, NULL);
    bool good = ctx && EVP_PKEY_sign_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
                EVP_PKEY_sign(ctx, signature, len, hash, SHA256_BYTES) == 1;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

/* Behind "b=", in lines. */
static void put_signature(char *out, const uint8_t *signature, size_t len)
{
    char text[(SIGNATURE_MAX + 2) / 3 * 4 + 1];
    (void)EVP_EncodeBlock((unsigned char *)text, signature, (int)len);
    for (size_t at = 0, n = strlen(text); at < n; at += LINE - 10) {
        (void)sprintf(out + strlen(out), "%s%.*s", at > 0 ? "\r\n\t " : "", (int)LINE - 10,
                      text + at);
    }
    (void)strcat(out, "\r\n");
}

static bool sign_one(const struct dkim_key *key, const struct selection *s, const char *bh,
                     int64_t unix_s, char out[TEXT_MAX])
{
    uint8_t hash[SHA256_BYTES], signature[SIGNATURE_MAX];
    size_t len = sizeof signature;
    put_head(out, key, s, bh, unix_s);
    if (!header_hash(s, out, hash) || !sign_hash(key, hash, signature, &len)) {
        return false;
    }
    put_signature(out, signature, len);
    return true;
}

char *dkim_sign(const uint8_t *message, size_t len, const struct dkim_key *keys, uint32_t n_keys,
                int64_t unix_s, uint32_t flags, size_t *ret_len)
{
    struct selection *s = malloc(sizeof *s);
    char bh[SHA256_BYTES * 2];
    char *text = calloc(n_keys, TEXT_MAX);
    bool good = s && text && select_fields(message, len, flags, s) && body_hash(message, len, bh);
    *ret_len = 0;
    for (uint32_t i = 0; good && i < n_keys; i++) {
        good = sign_one(&keys[i], s, bh, unix_s, text + *ret_len);
        *ret_len += good ? strlen(text + *ret_len) : 0;
    }
    free(s);
    if (!good) {
        free(text);
        return NULL;
    }
    return text;
}
