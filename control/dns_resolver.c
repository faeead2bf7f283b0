/*
 * dns_resolver.c - who waits for which domain: see dns.h.
 *
 *     dns_lookup() --> in line --begin()--> under way --on_asked()--> ended --tell()--> freed
 *
 * 1. A domain is in the table from dns_lookup() until it has ended; whoever asks meanwhile waits
 *    with the others. Afterwards its answer is in the cache.
 * 2. At most UNDER_WAY_MAX are under way. They all have the same time, so the list of them is in
 *    the order in which their time is up, and one timer is enough.
 * 3. Waiters are told from the loop only: by on_timer() or on_readable(), after libunbound has
 *    returned. They may ask again, and close the resolver.
 */
#include "control/dns_private.h"

#include "tcp/utcp_siphash.h"

#include <unbound.h>

#define UNDER_WAY_MAX 256u
#define CACHE_MAX     65536u
#define TLSA_MAX      16384u
#define N_BUCKETS     4096u

struct waiter {
    struct waiter *next;
    dns_done_fn done;
    void *user;
};

struct lookup {
    struct lookup *next, *prev; /* in one of the resolver's lists */
    struct lookup *bucket_next;
    struct dns_resolver *resolver;
    struct waiter *waiters, **waiters_tail;
    struct dns_ask *ask; /* null: still in line */
    uint64_t deadline_ms;
    char domain[];
};

struct list {
    struct lookup *first, *last;
    uint32_t n;
};

struct dns_resolver {
    uv_loop_t *loop;
    struct ub_ctx *ub;
    uv_poll_t poll;
    uv_timer_t timer;
    struct dns_cache *cache;
    struct dns_txts *txts;
    struct dns_asker asker;
    struct list line, under_way, ended;
    struct lookup *buckets[N_BUCKETS]; /* of those in line and under way */
    uint32_t timeout_ms;
    struct dns_answer shown; /* what dns_cached() points to */
    struct dns_stats stats;
    bool closed;
    int handles; /* that are being closed */
};

/* ---- lists and the table ----------------------------------------------------------------- */

static void list_push(struct list *list, struct lookup *lookup)
{
    lookup->prev = list->last;
    lookup->next = NULL;
    *(list->last ? &list->last->next : &list->first) = lookup;
    list->last = lookup;
    list->n++;
}

static void list_remove(struct list *list, struct lookup *lookup)
{
    *(lookup->prev ? &lookup->prev->next : &list->first) = lookup->next;
    *(lookup->next ? &lookup->next->prev : &list->last) = lookup->prev;
    list->n--;
}

/* Where the pointer to the lookup stands: in its bucket, or at the end of it. */
static struct lookup **place(struct dns_resolver *r, const char *domain)
{
    uint64_t hash = utcp_siphash(r->asker.key, (const uint8_t *)domain, strlen(domain));
    struct lookup **at = &r->buckets[hash % N_BUCKETS];
    while (*at && strcmp((*at)->domain, domain) != 0) {
        at = &(*at)->bucket_next;
    }
    return at;
}

static void lookup_free(struct lookup *lookup)
{
    while (lookup->waiters) {
        struct waiter *waiter = lookup->waiters;
        lookup->waiters = waiter->next;
        free(waiter);
    }
    if (lookup->ask) {
        dns_ask_free(lookup->ask);
    }
    free(lookup);
}

static void list_free(struct list *list)
{
    while (list->first) {
        struct lookup *lookup = list->first;
        list_remove(list, lookup);
        lookup_free(lookup);
    }
}

/* ---- the life of a lookup ---------------------------------------------------------------- */

static void on_asked(void *user)
{
    struct lookup *lookup = user;
    struct dns_resolver *r = lookup->resolver;
    const struct dns_answer *answer = dns_ask_answer(lookup->ask);
    list_remove(&r->under_way, lookup);
    list_push(&r->ended, lookup);
    *place(r, lookup->domain) = lookup->bucket_next;
    r->stats.failures += answer->status == DNS_DEFER;
    dns_cache_put(r->cache, lookup->domain, answer,
                  uv_now(r->loop) + dns_ask_ttl_s(lookup->ask) * UINT64_C(1000));
}

static void begin(struct dns_resolver *r)
{
    struct lookup *lookup = r->line.first;
    list_remove(&r->line, lookup);
    list_push(&r->under_way, lookup);
    lookup->deadline_ms = uv_now(r->loop) + r->timeout_ms;
    lookup->ask = dns_ask_new(&r->asker, lookup->domain, on_asked, lookup);
    r->stats.lookups++;
    dns_ask_begin(lookup->ask);
}

static void tell(struct lookup *lookup)
{
    struct dns_resolver *r = lookup->resolver;
    struct dns_answer *answer = dns_ask_answer(lookup->ask);
    while (lookup->waiters && !r->closed) {
        struct waiter waiter = *lookup->waiters;
        free(lookup->waiters);
        lookup->waiters = waiter.next;
        dns_targets_shuffle(answer, &r->asker.random);
        waiter.done(waiter.user, lookup->domain, answer);
    }
}

/* ---- the clock --------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

/* At once when somebody is to be told, else when the time of the oldest is up. */
static void set_timer(struct dns_resolver *r)
{
    if (r->closed) {
        return;
    }
    if (r->ended.first) {
        (void)uv_timer_start(&r->timer, on_timer, 0, 0);
    } else if (r->under_way.first) {
        uint64_t now_ms = uv_now(r->loop), deadline_ms = r->under_way.first->deadline_ms;
        (void)uv_timer_start(&r->timer, on_timer, deadline_ms > now_ms ? deadline_ms - now_ms : 0,
                             0);
    } else {
        (void)uv_timer_stop(&r->timer);
    }
}

/* Tells those that have ended by now; who ends meanwhile is told in the next turn of the loop, so
 * that a waiter who asks again and again does not keep the loop. */
static void settle(struct dns_resolver *r)
{
    struct list ended = r->ended;
    r->ended = (struct list){0};
    while (ended.first) {
        struct lookup *lookup = ended.first;
        tell(lookup);
        list_remove(&ended, lookup);
        lookup_free(lookup);
    }
    while (!r->closed && r->line.first && r->under_way.n < UNDER_WAY_MAX) {
        begin(r);
    }
    set_timer(r);
}

static void on_timer(uv_timer_t *timer)
{
    struct dns_resolver *r = timer->data;
    uint64_t now_ms = uv_now(r->loop);
    while (r->under_way.first && r->under_way.first->deadline_ms <= now_ms) {
        dns_ask_give_up(r->under_way.first->ask);
    }
    settle(r);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct dns_resolver *r = poll->data;
    (void)status;
    (void)events;
    (void)ub_process(r->ub);
    settle(r);
}

/* ---- open and close ---------------------------------------------------------------------- */

static struct dns_resolver *fail(struct dns_resolver *r)
{
    if (r) {
        ub_ctx_delete(r->ub);
        dns_cache_free(r->cache);
        dns_tlsa_table_free(r->asker.tlsa);
        free(r);
    }
    return NULL;
}

struct dns_resolver *dns_open(uv_loop_t *loop, const struct dns_config *config, char *ret_error,
                              size_t error_bytes)
{
    struct dns_resolver *r = calloc(1, sizeof *r);
    if (r && uv_random(NULL, NULL, r->asker.key, sizeof r->asker.key, 0, NULL) != 0) {
        (void)snprintf(ret_error, error_bytes, "dns: the system gives no random numbers");
        return fail(r);
    }
    if (!r || !(r->cache = dns_cache_new(CACHE_MAX, r->asker.key)) ||
        !(r->asker.tlsa = dns_tlsa_table_new(TLSA_MAX, r->asker.key)) ||
        !(r->ub = ub_ctx_create())) {
        (void)snprintf(ret_error, error_bytes, "dns: out of memory");
        return fail(r);
    }
    if (!dns_ask_configure(r->ub, config, ret_error, error_bytes)) {
        return fail(r);
    }
    r->loop = loop;
    r->timeout_ms = config->timeout_ms;
    r->asker.ub = r->ub;
    r->asker.allow_private = config->allow_private;
    r->asker.dnssec = config->trust_anchor_file != NULL;
    r->asker.port = config->port;
    r->asker.providers = config->providers;
    r->asker.random = config->seed ? config->seed : 1;
    r->poll.data = r->timer.data = r;
    r->txts = dns_txts_new(loop, r->ub, config->timeout_ms);
    INVARIANT(r->txts != NULL);
    (void)uv_timer_init(loop, &r->timer);
    (void)uv_poll_init(loop, &r->poll, ub_fd(r->ub));
    (void)uv_poll_start(&r->poll, UV_READABLE, on_readable);
    return r;
}

static void on_closed(uv_handle_t *handle)
{
    struct dns_resolver *r = handle->data;
    if (--r->handles == 0) {
        free(r);
    }
}

void dns_close(struct dns_resolver *r)
{
    r->closed = true;
    r->handles = 2;
    uv_close((uv_handle_t *)&r->poll, on_closed);
    uv_close((uv_handle_t *)&r->timer, on_closed);
    list_free(&r->line);
    list_free(&r->under_way);
    list_free(&r->ended);
    dns_txts_close(r->txts);
    ub_ctx_delete(r->ub);
    dns_cache_free(r->cache);
    dns_tlsa_table_free(r->asker.tlsa);
}

/* ---- asking ------------------------------------------------------------------------------ */

const struct dns_answer *dns_cached(struct dns_resolver *r, const char *domain)
{
    bool host_only = domain[0] == '=' || domain[0] == '+';
    bool allow_private = r->asker.allow_private || domain[0] == '=';
    if (dns_plan_literal(domain + host_only, allow_private, r->asker.key, &r->shown)) {
        return &r->shown;
    }
    const struct dns_answer *answer = dns_cache_get(r->cache, domain, uv_now(r->loop));
    if (!answer) {
        return NULL;
    }
    r->stats.cache_hits++;
    dns_answer_copy(&r->shown, answer);
    dns_targets_shuffle(&r->shown, &r->asker.random);
    return &r->shown;
}

static struct lookup *lookup_of(struct dns_resolver *r, const char *domain)
{
    struct lookup **at = place(r, domain);
    if (!*at) {
        size_t bytes = strlen(domain) + 1;
        struct lookup *lookup = calloc(1, sizeof *lookup + bytes);
        INVARIANT(lookup != NULL);
        lookup->resolver = r;
        lookup->waiters_tail = &lookup->waiters;
        memcpy(lookup->domain, domain, bytes);
        list_push(&r->line, lookup);
        *at = lookup;
    }
    return *at;
}

void dns_lookup(struct dns_resolver *r, const char *domain, dns_done_fn done, void *user)
{
    struct lookup *lookup = lookup_of(r, domain);
    struct waiter *waiter = calloc(1, sizeof *waiter);
    INVARIANT(waiter != NULL);
    *waiter = (struct waiter){.done = done, .user = user};
    *lookup->waiters_tail = waiter;
    lookup->waiters_tail = &waiter->next;
    if (!lookup->ask && r->under_way.n < UNDER_WAY_MAX) {
        begin(r);
    }
    set_timer(r);
}

const struct dns_tlsa *dns_tlsa(struct dns_resolver *r, const char *host)
{
    return dns_tlsa_table_get(r->asker.tlsa, host);
}

void dns_txt(struct dns_resolver *r, const char *name, dns_txt_fn done, void *user)
{
    dns_txts_ask(r->txts, name, false, done, user);
}

void dns_listing(struct dns_resolver *r, const char *name, dns_txt_fn done, void *user)
{
    dns_txts_ask(r->txts, name, true, done, user);
}

void dns_stats(const struct dns_resolver *r, struct dns_stats *ret_stats)
{
    *ret_stats = r->stats;
    ret_stats->under_way = r->under_way.n;
    ret_stats->cached = dns_cache_count(r->cache);
}
