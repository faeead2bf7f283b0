/* dkim_record.c - records of keys in DNS, written and judged (RFC 6376 3.6.1, RFC 8463 4.2): see
 * dkim_key.h. */
#include "control/dkim_key.h"

#include "tcp/base.h"

#include <openssl/evp.h>
#include <strings.h>

#define PUBLIC_MAX 640u /* bytes of a public key: RSA-4096 has 550 */

const char *dkim_published_name(enum dkim_published published)
{
    static const char *const names[] = {
#define X(name, text, meaning) [DKIM_PUBLISHED_##name] = text,
        DKIM_PUBLISHED_MAP(X)
#undef X
    };
    return names[published];
}

const char *dkim_published_meaning(enum dkim_published published)
{
    static const char *const meanings[] = {
#define X(name, text, meaning) [DKIM_PUBLISHED_##name] = meaning,
        DKIM_PUBLISHED_MAP(X)
#undef X
    };
    return meanings[published];
}

void dkim_key_record(const struct dkim_key *key, char ret_text[DKIM_RECORD_MAX])
{
    uint8_t public[PUBLIC_MAX], base64[PUBLIC_MAX * 2];
    size_t len = dkim_key_public(key, public, sizeof public);
    INVARIANT(len > 0);
    (void)EVP_EncodeBlock(base64, public, (int)len);
    int n = snprintf(ret_text, DKIM_RECORD_MAX, "v=DKIM1; k=%s; p=%s",
                     dkim_algorithm_type(dkim_key_algorithm(key)), (const char *)base64);
    INVARIANT(n > 0 && (size_t)n < DKIM_RECORD_MAX);
}

/* ---- reading ----------------------------------------------------------------------------- */

#define TAG_MAP(X) X(v) X(k) X(h) X(s) X(t) X(p)

/* Values without their white space; has_*: the tag is there. */
struct record {
#define X(tag)                                                                                     \
    char tag[DKIM_RECORD_MAX];                                                                     \
    bool has_##tag;
    TAG_MAP(X)
#undef X
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Copies a part without white space, which means nothing in any value that we look at. */
static void squeeze(const char *at, const char *end, char to[DKIM_RECORD_MAX])
{
    size_t n = 0;
    for (; at < end && n + 1 < DKIM_RECORD_MAX; at++) {
        if (!is_space(*at)) {
            to[n++] = *at;
        }
    }
    to[n] = '\0';
}

/* False: a tag that is there twice (3.2). */
static bool take_tag(struct record *r, const char *name, const char *at, const char *end)
{
#define X(tag)                                                                                     \
    if (strcmp(name, #tag) == 0) {                                                                 \
        bool twice = r->has_##tag;                                                                 \
        r->has_##tag = true;                                                                       \
        squeeze(at, end, r->tag);                                                                  \
        return !twice;                                                                             \
    }
    TAG_MAP(X)
#undef X
    return true;
}

/* A list of tags (3.2). False: it is none. */
static bool parse(const char *text, struct record *r)
{
    memset(r, 0, sizeof *r);
    for (const char *at = text; *at;) {
        const char *end = at + strcspn(at, ";"), *equals = memchr(at, '=', (size_t)(end - at));
        char name[DKIM_RECORD_MAX];
        squeeze(at, equals ? equals : end, name);
        if (equals ? !take_tag(r, name, equals + 1, end) : name[0] != '\0') {
            return false;
        }
        at = end + (*end == ';');
    }
    return r->has_p && (!r->has_v || strcmp(r->v, "DKIM1") == 0);
}

/* Whether a list with colons between its items has one of the two. */
static bool lists(const char *list, const char *item, const char *other)
{
    while (*list) {
        size_t len = strcspn(list, ":");
        if ((len == strlen(item) && strncasecmp(list, item, len) == 0) ||
            (len == strlen(other) && strncasecmp(list, other, len) == 0)) {
            return true;
        }
        list += len + (list[len] == ':');
    }
    return false;
}

static bool has_key(const struct record *r, const struct dkim_key *key)
{
    uint8_t public[PUBLIC_MAX];
    uint8_t base64[PUBLIC_MAX * 2];
    size_t len = dkim_key_public(key, public, sizeof public);
    (void)EVP_EncodeBlock(base64, public, (int)len);
    return strcmp(r->p, (const char *)base64) == 0;
}

/* t=s: the domain of i= must be d= itself (3.6.1). */
static bool identity_allowed(const struct record *r, const char *domain, const char *identity)
{
    const char *at = identity ? strrchr(identity, '@') : NULL;
    return !at || !lists(r->t, "s", "s") || strcasecmp(at + 1, domain) == 0;
}

enum dkim_published dkim_key_published(const struct dkim_key *key, const char *const *records,
                                       uint32_t n, const char *domain, const char *identity,
                                       bool *ret_testing)
{
    const char *type = dkim_algorithm_type(dkim_key_algorithm(key));
    struct record r;
    *ret_testing = false;
    if (n != 1) {
        return n == 0 ? DKIM_PUBLISHED_MISSING : DKIM_PUBLISHED_SEVERAL;
    }
    if (!parse(records[0], &r)) {
        return DKIM_PUBLISHED_UNUSABLE;
    }
    *ret_testing = lists(r.t, "y", "y");
    if (r.p[0] == '\0') {
        return DKIM_PUBLISHED_REVOKED;
    }
    if (strcmp(r.has_k ? r.k : "rsa", type) != 0 || (r.has_h && !lists(r.h, "sha256", "sha256")) ||
        (r.has_s && !lists(r.s, "*", "email")) || !identity_allowed(&r, domain, identity)) {
        return DKIM_PUBLISHED_UNUSABLE;
    }
    return has_key(&r, key) ? DKIM_PUBLISHED_OK : DKIM_PUBLISHED_OTHER;
}
