/*
 * dkim_canon.c - see dkim_canon.h.
 *
 * Most bodies are canonical but for their end. So blocks that need no change are found with a loop
 * that compilers turn into vector code, and go to the sink from where they stand; only what is left
 * goes byte by byte.
 */
#include "control/dkim_canon.h"

#include <string.h>

#define BLOCK_BYTES 64u

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* ---- out --------------------------------------------------------------------------------- */

static void flush(struct dkim_out *out)
{
    if (out->len > 0) {
        out->sink(out->user, out->bytes, out->len);
        out->len = 0;
    }
}

static void put(struct dkim_out *out, uint8_t byte)
{
    if (out->len == sizeof out->bytes) {
        flush(out);
    }
    out->bytes[out->len++] = byte;
}

/* ---- the body ---------------------------------------------------------------------------- */

void dkim_body_init(struct dkim_body *b, dkim_sink_fn sink, void *user)
{
    *b = (struct dkim_body){.out = {.sink = sink, .user = user}};
}

/* Something that is neither blank nor end follows: what waited is not at the end of its line, and
 * its lines are not at the end of the body. */
static void release(struct dkim_body *b)
{
    for (; b->ends > 0; b->ends--) {
        put(&b->out, '\r');
        put(&b->out, '\n');
    }
    if (b->blanks) {
        put(&b->out, ' ');
    }
    b->blanks = false;
    b->some = true;
}

static void step(struct dkim_body *b, uint8_t byte)
{
    if (b->cr) {
        b->cr = false;
        if (byte == '\n') {
            b->ends++;
            b->blanks = false;
            return;
        }
        release(b);
        put(&b->out, '\r');
    }
    if (byte == '\r') {
        b->cr = true;
    } else if (is_blank(byte)) {
        b->blanks = true;
    } else {
        release(b);
        put(&b->out, byte);
    }
}

/* Of 64 bytes and the one behind them: no tab, and no space before another blank or a CR. */
static bool block_is_plain(const uint8_t *at)
{
    uint8_t odd = 0;
    for (uint32_t i = 0; i < BLOCK_BYTES; i++) {
        uint8_t next = at[i + 1];
        odd |= (uint8_t)((at[i] == '\t') |
                         ((at[i] == ' ') & ((next == ' ') | (next == '\t') | (next == '\r'))));
    }
    return odd == 0;
}

/* How many bytes from here on stand in canonical form already; the last one is neither a blank nor
 * of the end of a line, so nothing that waits is among them. */
static size_t plain_bytes(const uint8_t *data, size_t len)
{
    size_t n = 0;
    while (len - n > BLOCK_BYTES && block_is_plain(data + n)) {
        n += BLOCK_BYTES;
    }
    while (n > 0 && (is_blank(data[n - 1]) || data[n - 1] == '\r' || data[n - 1] == '\n')) {
        n--;
    }
    return n;
}

static bool may_begin_plain(const struct dkim_body *b, uint8_t byte)
{
    return !b->cr && !is_blank(byte) && byte != '\r' && byte != '\n';
}

void dkim_body_input(struct dkim_body *b, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t n = may_begin_plain(b, data[0]) ? plain_bytes(data, len) : 0;
        if (n > 0) {
            release(b);
            flush(&b->out);
            b->out.sink(b->out.user, data, n);
        } else {
            for (; n < len && n < BLOCK_BYTES; n++) {
                step(b, data[n]);
            }
        }
        data += n;
        len -= n;
    }
}

void dkim_body_end(struct dkim_body *b)
{
    if (b->cr) { /* it stands alone */
        b->cr = false;
        release(b);
        put(&b->out, '\r');
    }
    if (b->some) {
        put(&b->out, '\r');
        put(&b->out, '\n');
    }
    flush(&b->out);
}

/* ---- header fields ----------------------------------------------------------------------- */

static bool is_space(uint8_t byte)
{
    return is_blank(byte) || byte == '\r' || byte == '\n';
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte;
}

void dkim_field_relaxed(const uint8_t *field, size_t len, dkim_sink_fn sink, void *user)
{
    struct dkim_out out = {.sink = sink, .user = user};
    const uint8_t *colon = memchr(field, ':', len);
    size_t name_len = colon ? (size_t)(colon - field) : len, at = name_len + (colon ? 1 : 0);
    bool space = false, some = false;
    while (name_len > 0 && is_space(field[name_len - 1])) {
        name_len--;
    }
    for (size_t i = 0; i < name_len; i++) {
        put(&out, lower(field[i]));
    }
    if (colon) {
        put(&out, ':');
    }
    for (; at < len; at++) {
        if (is_space(field[at])) {
            space = some;
            continue;
        }
        if (space) {
            put(&out, ' ');
        }
        put(&out, field[at]);
        space = false;
        some = true;
    }
    flush(&out);
}
