/*
 * fuzz_dkim.c - libFuzzer target. The first byte picks: a body (against a plain model, and however
 * it is cut), a message (fields, author, signature) or a record of DNS.
 *
 * The key is the published one of RFC 8463 A.2.
 */
#include "control/dkim.h"
#include "control/dkim_canon.h"

#include "tcp/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    uint8_t *at;
    size_t len, room;
};

static void collect(void *user, const uint8_t *data, size_t len)
{
    struct bytes *to = user;
    INVARIANT(len > 0 && to->len + len <= to->room);
    memcpy(to->at + to->len, data, len);
    to->len += len;
}

static struct bytes room_for(size_t size)
{
    struct bytes b = {.at = malloc(size + 2), .room = size + 2};
    INVARIANT(b.at != NULL);
    return b;
}

/* ---- bodies ------------------------------------------------------------------------------ */

static struct bytes canonical(const uint8_t *data, size_t size, size_t piece)
{
    struct bytes out = room_for(size);
    struct dkim_body body;
    dkim_body_init(&body, collect, &out);
    for (size_t at = 0; at < size; at += piece) {
        dkim_body_input(&body, data + at, size - at < piece ? size - at : piece);
    }
    dkim_body_end(&body);
    return out;
}

static bool is_end(const uint8_t *data, size_t size, size_t at)
{
    return at + 1 < size && data[at] == '\r' && data[at + 1] == '\n';
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* RFC 6376 3.4.4 in its own order: blanks at ends of lines, blanks in lines, lines at the end. */
static struct bytes model(const uint8_t *data, size_t size)
{
    struct bytes out = room_for(size);
    for (size_t at = 0; at < size;) {
        size_t next = at;
        while (next < size && is_blank(data[next])) {
            next++;
        }
        if (next == at) {
            out.at[out.len++] = data[at++];
        } else {
            if (next < size && !is_end(data, size, next)) {
                out.at[out.len++] = ' ';
            }
            at = next;
        }
    }
    while (out.len >= 2 && is_end(out.at, out.len, out.len - 2)) {
        out.len -= 2;
    }
    if (out.len > 0) {
        memcpy(out.at + out.len, "\r\n", 2);
        out.len += 2;
    }
    return out;
}

static void check_body(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 3, 64, SIZE_MAX};
    struct bytes want = model(data, size);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct bytes got = canonical(data, size, pieces[i]);
        INVARIANT(got.len == want.len && memcmp(got.at, want.at, got.len) == 0);
        free(got.at);
    }
    free(want.at);
}

/* ---- messages ---------------------------------------------------------------------------- */

static const struct dkim_key *key(void)
{
    static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                              "-----END PRIVATE KEY-----\n";
    static struct dkim_key *one;
    char error[256];
    if (!one) {
        one = dkim_key_read(pem, sizeof pem - 1, error, sizeof error);
    }
    INVARIANT(one != NULL);
    return one;
}

/* A field: CRLF only where a tab follows, lines of a sane width, CRLF at the end. */
static void check_signature(const char *text, size_t len)
{
    size_t column = 0;
    INVARIANT(len > 100 && memcmp(text + len - 2, "\r\n", 2) == 0);
    for (size_t i = 0; i < len; i++) {
        INVARIANT(text[i] != '\r' || text[i + 1] == '\n');
        INVARIANT(text[i] != '\n' ||
                  (text[i - 1] == '\r' && (i + 1 == len || text[i + 1] == '\t')));
        column = text[i] == '\n' ? 0 : column + 1;
        INVARIANT(column <= 78);
    }
}

static void check_message(const uint8_t *data, size_t size)
{
    static struct dkim_message m;
    static char first[DKIM_SIGNATURE_MAX], again[DKIM_SIGNATURE_MAX];
    char domain[DKIM_DOMAIN_MAX], error[256];
    const struct dkim_signer signer = {.key = key(),
                                       .domain = "football.example.com",
                                       .selector = "brisbane",
                                       .signed_s = 1528637909};
    if (!dkim_message_scan(data, size, &m, error, sizeof error)) {
        return;
    }
    for (uint32_t i = 0; i < m.n_fields; i++) {
        INVARIANT(m.fields[i].at >= data && m.fields[i].at + m.fields[i].len <= data + size);
    }
    INVARIANT(!m.body || m.body + m.body_len == data + size);
    if (dkim_message_from(&m, domain, error, sizeof error)) {
        INVARIANT(domain[0] && strlen(domain) < DKIM_DOMAIN_MAX && !strpbrk(domain, " ;\r\n@"));
    }
    INVARIANT(dkim_message_hash(&m));
    size_t len = dkim_message_sign(&m, &signer, DKIM_PROFILE_ALL, first);
    check_signature(first, len);
    INVARIANT(dkim_message_sign(&m, &signer, DKIM_PROFILE_ALL, again) == len);
    INVARIANT(memcmp(first, again, len) == 0);
    check_signature(again, dkim_message_sign(&m, &signer, DKIM_PROFILE_STABLE, again));
}

/* ---- records ----------------------------------------------------------------------------- */

static void check_record(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    bool testing;
    INVARIANT(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    const char *record = text;
    (void)dkim_key_published(key(), &record, 1, "football.example.com", "@x.example", &testing);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    switch (data[0]) {
    case 'b':
        check_body(data + 1, size - 1);
        break;
    case 'm':
        check_message(data + 1, size - 1);
        break;
    case 'r':
        check_record(data + 1, size - 1);
        break;
    default:
        break;
    }
    return 0;
}
