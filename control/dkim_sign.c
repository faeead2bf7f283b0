/*
 * dkim_sign.c - the hashes and the DKIM-Signature field (RFC 6376 3.5, 3.7, 5.5, 5.6): see dkim.h.
 *
 * The field is written once, with nothing behind "b=", hashed as it stands, and the signature goes
 * behind it; folding is white space between tags, in h= and in b=, where it means nothing (3.2).
 */
#include "control/dkim.h"

#include "control/dkim_canon.h"
#include "tcp/base.h"

#include <openssl/evp.h>

#define TAG_MAX 512u /* name, identity or domain, punctuation */
#define WIDTH   76u  /* of a line, where a single word is not longer */

/* ---- the body ---------------------------------------------------------------------------- */

struct hashing {
    EVP_MD_CTX *md;
    bool good;
};

static void to_hash(void *user, const uint8_t *data, size_t len)
{
    struct hashing *h = user;
    h->good = h->good && EVP_DigestUpdate(h->md, data, len) == 1;
}

static void hash_begin(struct hashing *h)
{
    h->md = EVP_MD_CTX_new();
    h->good = h->md && EVP_DigestInit_ex(h->md, EVP_sha256(), NULL) == 1;
}

static bool hash_end(struct hashing *h, uint8_t ret_hash[32])
{
    h->good = h->good && EVP_DigestFinal_ex(h->md, ret_hash, NULL) == 1;
    EVP_MD_CTX_free(h->md);
    return h->good;
}

bool dkim_message_hash(struct dkim_message *m)
{
    struct hashing h;
    struct dkim_body body;
    hash_begin(&h);
    dkim_body_init(&body, to_hash, &h);
    if (m->body) {
        dkim_body_input(&body, m->body, m->body_len);
    }
    dkim_body_end(&body);
    return hash_end(&h, m->body_hash);
}

/* ---- writing ----------------------------------------------------------------------------- */

struct writer {
    char *out;
    size_t len;
    uint32_t column;
    bool first; /* of h= */
};

static void put(struct writer *w, const char *text, size_t len)
{
    INVARIANT(len <= DKIM_SIGNATURE_MAX - w->len);
    memcpy(w->out + w->len, text, len);
    w->len += len;
    w->column += (uint32_t)len;
}

/* One word; on the next line when it does not fit on this one. */
static void put_word(struct writer *w, const char *text, const char *separator)
{
    size_t len = strlen(text);
    if (w->column + strlen(separator) + len > WIDTH) {
        put(w, "\r\n\t", 3);
        w->column = 8; /* as far as a tab goes */
    } else {
        put(w, separator, strlen(separator));
    }
    put(w, text, len);
}

static void put_tag(struct writer *w, const char *tag, const char *value)
{
    char text[TAG_MAX];
    (void)snprintf(text, sizeof text, "%s=%s;", tag, value);
    put_word(w, text, " ");
}

static void put_number(struct writer *w, const char *tag, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    put_tag(w, tag, text);
}

static void put_body_hash(struct writer *w, const struct dkim_message *m)
{
    char text[64];
    (void)EVP_EncodeBlock((uint8_t *)text, m->body_hash, sizeof m->body_hash);
    put_tag(w, "bh", text);
}

/* Base64 may be broken anywhere. */
static void put_base64(struct writer *w, const uint8_t *data, size_t len)
{
    uint8_t text[DKIM_SIGN_MAX * 2];
    INVARIANT(len <= DKIM_SIGN_MAX);
    size_t left = (size_t)EVP_EncodeBlock(text, data, (int)len);
    for (const char *at = (const char *)text; left > 0;) {
        size_t room = w->column < WIDTH ? WIDTH - w->column : 0, n = left < room ? left : room;
        put(w, at, n);
        at += n;
        left -= n;
        if (left > 0) {
            put(w, "\r\n\t", 3);
            w->column = 8;
        }
    }
}

static void put_field_name(void *user, const char *name, const struct dkim_field *field)
{
    struct writer *w = user;
    char text[48];
    (void)field;
    (void)snprintf(text, sizeof text, "%s%s", w->first ? "h=" : ":", name);
    put_word(w, text, w->first ? " " : "");
    w->first = false;
}

static void put_until_signature(struct writer *w, const struct dkim_message *m,
                                const struct dkim_signer *s, enum dkim_profile profile)
{
    put(w, "DKIM-Signature:", 15);
    put_tag(w, "v", "1");
    put_tag(w, "a", dkim_algorithm_name(dkim_key_algorithm(s->key)));
    put_tag(w, "c", "relaxed/relaxed");
    put_tag(w, "d", s->domain);
    put_tag(w, "s", s->selector);
    if (s->identity && s->identity[0]) {
        put_tag(w, "i", s->identity);
    }
    if (s->signed_s > 0) {
        put_number(w, "t", s->signed_s);
    }
    if (s->signed_s > 0 && s->expire_s > 0) {
        put_number(w, "x", s->signed_s + s->expire_s);
    }
    w->first = true;
    dkim_message_each(m, profile, put_field_name, w);
    put(w, ";", 1);
    put_body_hash(w, m);
    put(w, "\r\n\tb=", 5);
    w->column = 10;
}

/* ---- the header -------------------------------------------------------------------------- */

static void hash_field(void *user, const char *name, const struct dkim_field *field)
{
    (void)name;
    if (field) { /* one that is not there is the empty text, without CRLF (5.4.2) */
        dkim_field_relaxed(field->at, field->len, to_hash, user);
        to_hash(user, (const uint8_t *)"\r\n", 2);
    }
}

static bool hash_header(const struct dkim_message *m, enum dkim_profile profile,
                        const struct writer *signature, uint8_t ret_hash[32])
{
    struct hashing h;
    hash_begin(&h);
    dkim_message_each(m, profile, hash_field, &h);
    dkim_field_relaxed((const uint8_t *)signature->out, signature->len, to_hash, &h);
    return hash_end(&h, ret_hash);
}

size_t dkim_message_sign(const struct dkim_message *m, const struct dkim_signer *signer,
                         enum dkim_profile profile, char *out)
{
    struct writer w = {.out = out};
    uint8_t hash[32], signature[DKIM_SIGN_MAX];
    put_until_signature(&w, m, signer, profile);
    if (!hash_header(m, profile, &w, hash)) {
        return 0;
    }
    size_t len = dkim_key_sign(signer->key, hash, signature);
    if (len == 0) {
        return 0;
    }
    put_base64(&w, signature, len);
    put(&w, "\r\n", 2);
    return w.len;
}
