/*
 * store_record.c - records of the spool as bytes: a version, fixed fields in little endian, then
 * texts as a length of 4 bytes, the bytes, and a NUL, so that a reader can point at them. Pure.
 * Decoding believes nothing. Version 2 has DSN parameters behind what version 1 has; a record
 * without any is of version 1.
 */
#include "control/store_private.h"

#include "tcp/base.h"

#define PLAIN    1u /* versions */
#define WITH_DSN 2u

/* ---- writing ----------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
    return at + bytes;
}

static uint8_t *put_text(uint8_t *at, const char *text)
{
    size_t len = strlen(text);
    at = put(at, len, 4);
    memcpy(at, text, len + 1);
    return at + len + 1;
}

static size_t text_bytes(const char *text)
{
    return 4 + strlen(text) + 1;
}

static bool is_there(const char *text)
{
    return text && text[0] != '\0';
}

static bool message_has_dsn(const struct store_message *m)
{
    return m->ret != 0 || is_there(m->envid);
}

static bool rcpt_has_dsn(const struct store_rcpt *r)
{
    return r->notify != 0 || is_there(r->orcpt);
}

/* A number and a text that may be missing. */
static size_t dsn_bytes(const char *text)
{
    return 1 + text_bytes(text ? text : "");
}

static uint8_t *put_dsn(uint8_t *at, uint8_t number, const char *text)
{
    return put_text(put(at, number, 1), text ? text : "");
}

size_t store_message_bytes(const struct store_message *m)
{
    return 1 + 8 + 8 + 8 + 4 + 4 + 8 + text_bytes(m->sender) + text_bytes(m->stream) +
           text_bytes(m->mail_from) + text_bytes(m->dsn_for) +
           (message_has_dsn(m) ? dsn_bytes(m->envid) : 0);
}

void store_message_encode(const struct store_message *m, uint8_t *buf)
{
    uint8_t *at = put(buf, message_has_dsn(m) ? WITH_DSN : PLAIN, 1);
    at = put(at, m->id, 8);
    at = put(at, (uint64_t)m->accepted_ms, 8);
    at = put(at, (uint64_t)m->expires_ms, 8);
    at = put(at, m->needs, 4);
    at = put(at, m->n_recipients, 4);
    at = put(at, m->body_bytes, 8);
    at = put_text(at, m->sender);
    at = put_text(at, m->stream);
    at = put_text(at, m->mail_from);
    at = put_text(at, m->dsn_for);
    if (message_has_dsn(m)) {
        at = put_dsn(at, m->ret, m->envid);
    }
    INVARIANT((size_t)(at - buf) == store_message_bytes(m));
}

size_t store_rcpt_bytes(const struct store_rcpt *r)
{
    return 1 + 1 + 4 + 8 + text_bytes(r->address) + text_bytes(r->domain) + text_bytes(r->last) +
           (rcpt_has_dsn(r) ? dsn_bytes(r->orcpt) : 0);
}

void store_rcpt_encode(const struct store_rcpt *r, uint8_t *buf)
{
    uint8_t *at = put(buf, rcpt_has_dsn(r) ? WITH_DSN : PLAIN, 1);
    at = put(at, r->state, 1);
    at = put(at, r->attempts, 4);
    at = put(at, (uint64_t)r->next_try_ms, 8);
    at = put_text(at, r->address);
    at = put_text(at, r->domain);
    at = put_text(at, r->last);
    if (rcpt_has_dsn(r)) {
        at = put_dsn(at, r->notify, r->orcpt);
    }
    INVARIANT((size_t)(at - buf) == store_rcpt_bytes(r));
}

/* ---- reading ----------------------------------------------------------------------------- */

struct reader {
    const uint8_t *at, *end;
    bool good;
};

static uint64_t get(struct reader *r, size_t bytes)
{
    uint64_t value = 0;
    if (!r->good || (size_t)(r->end - r->at) < bytes) {
        r->good = false;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++) {
        value |= (uint64_t)r->at[i] << (8 * i);
    }
    r->at += bytes;
    return value;
}

static const char *get_text(struct reader *r)
{
    uint64_t len = get(r, 4);
    if (!r->good || (uint64_t)(r->end - r->at) <= len || r->at[len] != '\0' ||
        memchr(r->at, '\0', len) != NULL) {
        r->good = false;
        return "";
    }
    const char *text = (const char *)r->at;
    r->at += len + 1;
    return text;
}

/* All of it was read, and it has the version that it should. */
static bool is_whole(const struct reader *r, uint64_t version, bool has_dsn)
{
    return r->good && r->at == r->end && version == (has_dsn ? WITH_DSN : PLAIN);
}

bool store_message_decode(const uint8_t *data, size_t len, struct store_message *ret_message)
{
    struct reader r = {data, data + len, true};
    struct store_message m = {0};
    uint64_t version = get(&r, 1);
    m.id = get(&r, 8);
    m.accepted_ms = (int64_t)get(&r, 8);
    m.expires_ms = (int64_t)get(&r, 8);
    m.needs = (uint32_t)get(&r, 4);
    m.n_recipients = (uint32_t)get(&r, 4);
    m.body_bytes = get(&r, 8);
    m.sender = get_text(&r);
    m.stream = get_text(&r);
    m.mail_from = get_text(&r);
    m.dsn_for = get_text(&r);
    m.ret = version == WITH_DSN ? (uint8_t)get(&r, 1) : 0;
    m.envid = version == WITH_DSN ? get_text(&r) : "";
    if (!is_whole(&r, version, message_has_dsn(&m))) {
        return false;
    }
    *ret_message = m;
    return true;
}

bool store_rcpt_decode(const uint8_t *data, size_t len, struct store_rcpt *ret_rcpt)
{
    struct reader r = {data, data + len, true};
    struct store_rcpt rcpt = {0};
    uint64_t version = get(&r, 1);
    rcpt.state = (uint8_t)get(&r, 1);
    rcpt.attempts = (uint32_t)get(&r, 4);
    rcpt.next_try_ms = (int64_t)get(&r, 8);
    rcpt.address = get_text(&r);
    rcpt.domain = get_text(&r);
    rcpt.last = get_text(&r);
    rcpt.notify = version == WITH_DSN ? (uint8_t)get(&r, 1) : 0;
    rcpt.orcpt = version == WITH_DSN ? get_text(&r) : "";
    if (!is_whole(&r, version, rcpt_has_dsn(&rcpt)) || rcpt.state > STORE_RCPT_BOUNCED) {
        return false;
    }
    *ret_rcpt = rcpt;
    return true;
}
