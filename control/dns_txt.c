/*
 * dns_txt.c - TXT records, and A records of lists, by libunbound: see dns.h.
 *
 *     dns_txts_ask() --> open --on_answer(), time is up--> answered --on_timer()--> told, freed
 *
 * All have the same time, so the list of open ones is in the order in which it is up.
 */
#include "control/dns_private.h"

#include <unbound.h>

#define TYPE_A      1
#define TYPE_TXT    16
#define CLASS_IN    1
#define RECORDS_MAX 64u

struct txt_ask {
    struct txt_ask *next, *prev;
    struct dns_txts *txts;
    dns_txt_fn done;
    void *user;
    bool addresses; /* A records are asked for */
    bool open;
    int id;
    uint64_t deadline_ms;
    struct dns_txt txt;
};

struct dns_txts {
    uv_loop_t *loop;
    struct ub_ctx *ub;
    uv_timer_t timer;
    uint32_t timeout_ms;
    struct txt_ask *first, *last;
    bool closed;
};

/* ---- records ----------------------------------------------------------------------------- */

/* The strings of a record, each behind its length (RFC 1035 3.3.14). False: malformed, or no text.
 */
static bool join(const uint8_t *data, size_t len, char *text, size_t text_bytes)
{
    size_t used = 0;
    while (len > 0) {
        size_t part = data[0];
        if (part + 1 > len || used + part >= text_bytes || memchr(data + 1, 0, part)) {
            return false;
        }
        memcpy(text + used, data + 1, part);
        used += part;
        data += part + 1;
        len -= part + 1;
    }
    text[used] = '\0';
    return true;
}

void dns_txt_join(const uint8_t *const *data, const size_t *len, uint32_t n,
                  struct dns_txt *ret_txt)
{
    uint32_t max = sizeof ret_txt->text / sizeof ret_txt->text[0];
    for (uint32_t i = 0; i < n && ret_txt->n < max; i++) {
        ret_txt->n += join(data[i], len[i], ret_txt->text[ret_txt->n], sizeof ret_txt->text[0]);
    }
}

/* Addresses as texts; what has not four bytes is none. */
static void add_addresses(uint8_t *const *data, const size_t *len, uint32_t n,
                          struct dns_txt *ret_txt)
{
    uint32_t max = sizeof ret_txt->text / sizeof ret_txt->text[0];
    for (uint32_t i = 0; i < n && ret_txt->n < max; i++) {
        if (len[i] == 4) {
            (void)snprintf(ret_txt->text[ret_txt->n++], sizeof ret_txt->text[0], "%u.%u.%u.%u",
                           data[i][0], data[i][1], data[i][2], data[i][3]);
        }
    }
}

/* ---- one question ------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer);

static void wake(struct dns_txts *t, uint64_t ms)
{
    (void)uv_timer_start(&t->timer, on_timer, ms, 0);
}

static void on_answer(void *user, int error, struct ub_result *result)
{
    struct txt_ask *ask = user;
    size_t lengths[RECORDS_MAX];
    uint32_t n = 0;
    ask->open = false;
    if (error == 0 && result && !result->bogus && (result->rcode == 0 || result->nxdomain)) {
        ask->txt.found = true;
        ask->txt.ttl_s = result->ttl > 0 ? (uint32_t)result->ttl : 0;
        while (result->havedata && n < RECORDS_MAX && result->data[n]) {
            lengths[n] = (size_t)result->len[n];
            n++;
        }
        if (ask->addresses) {
            add_addresses((uint8_t *const *)result->data, lengths, n, &ask->txt);
        } else {
            dns_txt_join((const uint8_t *const *)result->data, lengths, n, &ask->txt);
        }
    }
    ub_resolve_free(result);
    wake(ask->txts, 0);
}

void dns_txts_ask(struct dns_txts *t, const char *name, bool addresses, dns_txt_fn done, void *user)
{
    struct txt_ask *ask = calloc(1, sizeof *ask);
    INVARIANT(ask != NULL);
    ask->txts = t;
    ask->done = done;
    ask->user = user;
    ask->deadline_ms = uv_now(t->loop) + t->timeout_ms;
    ask->addresses = addresses;
    ask->open = ub_resolve_async(t->ub, name, addresses ? TYPE_A : TYPE_TXT, CLASS_IN, ask,
                                 on_answer, &ask->id) == 0;
    ask->prev = t->last;
    *(t->last ? &t->last->next : &t->first) = ask;
    t->last = ask;
    if (!ask->open) {
        wake(t, 0);
    } else if (t->first == ask) {
        wake(t, t->timeout_ms);
    }
}

static void unlink_ask(struct dns_txts *t, struct txt_ask *ask)
{
    *(ask->prev ? &ask->prev->next : &t->first) = ask->next;
    *(ask->next ? &ask->next->prev : &t->last) = ask->prev;
}

static void cancel(struct txt_ask *ask)
{
    if (ask->open) {
        (void)ub_cancel(ask->txts->ub, ask->id);
        ask->open = false;
    }
}

/* ---- all of them ------------------------------------------------------------------------- */

/* Takes those that are answered, or whose time is up, out of the list. */
static struct txt_ask *take_ended(struct dns_txts *t)
{
    struct txt_ask *ended = NULL;
    for (struct txt_ask *ask = t->first, *next; ask; ask = next) {
        next = ask->next;
        if (ask->open && ask->deadline_ms > uv_now(t->loop)) {
            continue;
        }
        cancel(ask);
        unlink_ask(t, ask);
        ask->next = ended;
        ended = ask;
    }
    return ended;
}

static void on_timer(uv_timer_t *timer)
{
    struct dns_txts *t = timer->data;
    struct txt_ask *ended = take_ended(t);
    while (ended) {
        struct txt_ask *ask = ended;
        ended = ask->next;
        if (!t->closed) {
            ask->done(ask->user, &ask->txt);
        }
        free(ask);
    }
    if (!t->closed && t->first && !uv_is_active((uv_handle_t *)&t->timer)) {
        uint64_t now_ms = uv_now(t->loop), due_ms = t->first->deadline_ms;
        wake(t, due_ms > now_ms ? due_ms - now_ms : 0);
    }
}

struct dns_txts *dns_txts_new(uv_loop_t *loop, struct ub_ctx *ub, uint32_t timeout_ms)
{
    struct dns_txts *t = calloc(1, sizeof *t);
    if (t) {
        t->loop = loop;
        t->ub = ub;
        t->timeout_ms = timeout_ms;
        t->timer.data = t;
        (void)uv_timer_init(loop, &t->timer);
    }
    return t;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void dns_txts_close(struct dns_txts *t)
{
    t->closed = true;
    while (t->first) {
        struct txt_ask *ask = t->first;
        cancel(ask);
        unlink_ask(t, ask);
        free(ask);
    }
    uv_close((uv_handle_t *)&t->timer, on_closed);
}
