/*
 * dns_resolver.c - asks the questions, by libunbound with threads of its own: see dns.h.
 *
 * A lookup asks for MX, then for A and AAAA of all hosts at once. Whoever asks for a domain that is
 * being looked up waits for the same lookup. When a lookup takes longer than timeout_ms, its
 * questions are given up and it is deferred; a late answer is then ignored by libunbound itself.
 */
#include "control/dns_private.h"

#include <unbound.h>

#define UNDER_WAY_MAX 256u
#define CACHE_MAX     65536u
#define TTL_MIN_S     30
#define TTL_MAX_S     3600
#define FAILURE_TTL_S 30
#define TICK_MS       50

#define TYPE_A    1
#define TYPE_MX   15
#define TYPE_AAAA 28
#define CLASS_IN  1

struct waiter {
    struct waiter *next;
    dns_done_fn done;
    void *user;
};

struct question {
    struct lookup *lookup;
    uint32_t host;  /* index; unused for MX */
    uint8_t family; /* 0: MX */
    bool open;
    int id;
};

struct lookup {
    struct lookup *next;
    struct dns_resolver *resolver;
    char domain[256];
    struct waiter *waiters, **waiters_tail;
    uint64_t deadline_ms; /* loop time; 0: not begun */
    int64_t ttl_s;
    uint32_t n_open;
    struct dns_hosts hosts;
    struct question mx, questions[DNS_HOSTS_MAX][2];
    bool ended;
    struct dns_answer answer;
};

struct dns_resolver {
    uv_loop_t *loop;
    struct ub_ctx *ub;
    uv_poll_t poll;
    uv_timer_t tick;
    struct dns_cache *cache;
    struct lookup *lookups, **lookups_tail; /* in the order they were asked for */
    uint32_t timeout_ms, under_way;
    bool allow_private;
    uint64_t random;
    struct dns_answer literal;
    struct dns_stats stats;
    int handles; /* that are being closed */
};

/* ---- the end of a lookup ----------------------------------------------------------------- */

static void lookup_free(struct lookup *lookup)
{
    while (lookup->waiters) {
        struct waiter *waiter = lookup->waiters;
        lookup->waiters = waiter->next;
        free(waiter);
    }
    free(lookup);
}

static void on_tick(uv_timer_t *timer);

/* Callbacks are run from the tick, never from within libunbound or the asker. */
static void end(struct lookup *lookup)
{
    struct dns_resolver *r = lookup->resolver;
    int64_t ttl_s = lookup->answer.status == DNS_DEFER ? FAILURE_TTL_S : lookup->ttl_s;
    ttl_s = ttl_s < TTL_MIN_S ? TTL_MIN_S : ttl_s > TTL_MAX_S ? TTL_MAX_S : ttl_s;
    lookup->ended = true;
    r->stats.failures += lookup->answer.status == DNS_DEFER;
    dns_cache_put(r->cache, lookup->domain, &lookup->answer,
                  uv_now(r->loop) + (uint64_t)ttl_s * 1000);
    (void)uv_timer_start(&r->tick, on_tick, 0, TICK_MS);
}

static void close_questions(struct lookup *lookup)
{
    struct question *q = &lookup->mx;
    if (q->open) {
        (void)ub_cancel(lookup->resolver->ub, q->id);
        q->open = false;
    }
    for (uint32_t i = 0; i < lookup->hosts.n * 2; i++) {
        q = &lookup->questions[i / 2][i % 2];
        if (q->open) {
            (void)ub_cancel(lookup->resolver->ub, q->id);
            q->open = false;
        }
    }
    lookup->n_open = 0;
}

/* ---- questions --------------------------------------------------------------------------- */

static void on_answer(void *user, int error, struct ub_result *result);

static bool ask(struct question *q, const char *name, int type)
{
    q->open =
        ub_resolve_async(q->lookup->resolver->ub, name, type, CLASS_IN, q, on_answer, &q->id) == 0;
    q->lookup->n_open += q->open;
    return q->open;
}

static void records_of(int error, const struct ub_result *result, struct dns_records *records,
                       size_t *lengths)
{
    *records = (struct dns_records){.reply = DNS_REPLY_FAILED};
    if (error != 0 || !result) {
        records->why = error ? ub_strerror(error) : "no answer";
    } else if (result->bogus) {
        records->why =
            result->why_bogus ? result->why_bogus : "its DNSSEC signatures are not valid";
    } else if (result->nxdomain) {
        records->reply = DNS_REPLY_NXDOMAIN;
    } else if (result->rcode != 0) {
        records->why = result->rcode == 2   ? "SERVFAIL"
                       : result->rcode == 5 ? "REFUSED"
                                            : "an error of its DNS server";
    } else if (!result->havedata) {
        records->reply = DNS_REPLY_NODATA;
    } else {
        records->reply = DNS_REPLY_DATA;
        records->data = (const uint8_t *const *)result->data;
        while (result->data[records->n] && records->n < 256) {
            lengths[records->n] = (size_t)result->len[records->n];
            records->n++;
        }
        records->len = lengths;
    }
}

static void ask_hosts(struct lookup *lookup)
{
    for (uint32_t i = 0; i < lookup->hosts.n; i++) {
        for (uint32_t k = 0; k < 2; k++) {
            struct question *q = &lookup->questions[i][k];
            *q = (struct question){.lookup = lookup, .host = i, .family = k == 0 ? 4 : 6};
            if (!ask(q, lookup->hosts.list[i].name, k == 0 ? TYPE_A : TYPE_AAAA)) {
                const struct dns_records failed = {.reply = DNS_REPLY_FAILED, .why = "not asked"};
                dns_plan_address(&lookup->hosts.list[i], q->family, &failed, true);
            }
        }
    }
}

static void take_mx(struct lookup *lookup, const struct dns_records *records)
{
    if (!dns_plan_mx(lookup->domain, records, &lookup->resolver->random, &lookup->hosts,
                     &lookup->answer)) {
        end(lookup);
        return;
    }
    ask_hosts(lookup);
    if (lookup->n_open == 0) {
        dns_plan_finish(lookup->domain, &lookup->hosts, &lookup->answer);
        end(lookup);
    }
}

static void on_answer(void *user, int error, struct ub_result *result)
{
    struct question *q = user;
    struct lookup *lookup = q->lookup;
    struct dns_records records;
    size_t lengths[256];
    records_of(error, result, &records, lengths);
    q->open = false;
    lookup->n_open--;
    if (records.reply != DNS_REPLY_FAILED && result->ttl < lookup->ttl_s) {
        lookup->ttl_s = result->ttl;
    }
    if (q->family == 0) {
        take_mx(lookup, &records);
    } else {
        dns_plan_address(&lookup->hosts.list[q->host], q->family, &records,
                         lookup->resolver->allow_private || lookup->domain[0] == '=');
        if (lookup->n_open == 0) {
            dns_plan_finish(lookup->domain, &lookup->hosts, &lookup->answer);
            end(lookup);
        }
    }
    ub_resolve_free(result);
}

/* As if the host were its own and only mail host. */
static void begin_host(struct lookup *lookup)
{
    const struct dns_records none = {.reply = DNS_REPLY_NODATA};
    (void)dns_plan_mx(lookup->domain + 1, &none, &lookup->resolver->random, &lookup->hosts,
                      &lookup->answer);
    ask_hosts(lookup);
    if (lookup->n_open == 0) {
        dns_plan_finish(lookup->domain, &lookup->hosts, &lookup->answer);
        end(lookup);
    }
}

static void begin(struct lookup *lookup)
{
    struct dns_resolver *r = lookup->resolver;
    r->under_way++;
    r->stats.lookups++;
    lookup->deadline_ms = uv_now(r->loop) + r->timeout_ms;
    lookup->ttl_s = TTL_MAX_S;
    lookup->mx.lookup = lookup;
    if (lookup->domain[0] == '=') {
        begin_host(lookup);
    } else if (!ask(&lookup->mx, lookup->domain, TYPE_MX)) {
        dns_plan_defer(lookup->domain, "the resolver does not take the question", &lookup->answer);
        end(lookup);
    }
}

/* ---- the clock --------------------------------------------------------------------------- */

static void tell(struct lookup *lookup)
{
    struct waiter *waiter = lookup->waiters;
    lookup->waiters = NULL;
    while (waiter) {
        struct waiter *next = waiter->next;
        waiter->done(waiter->user, lookup->domain, &lookup->answer);
        free(waiter);
        waiter = next;
    }
}

/* What is known of some hosts is enough; one that has not answered in time counts as failed. */
static void give_up(struct lookup *lookup)
{
    const struct dns_records late = {.reply = DNS_REPLY_FAILED, .why = "no answer in time"};
    for (uint32_t i = 0; i < lookup->hosts.n * 2; i++) {
        if (lookup->questions[i / 2][i % 2].open) {
            dns_plan_address(&lookup->hosts.list[i / 2], 4, &late, true);
        }
    }
    close_questions(lookup);
}

static void check_time(struct lookup *lookup, uint64_t now_ms)
{
    if (!lookup->ended && lookup->deadline_ms != 0 && now_ms >= lookup->deadline_ms) {
        give_up(lookup);
        if (lookup->hosts.n > 0) {
            dns_plan_finish(lookup->domain, &lookup->hosts, &lookup->answer);
        } else {
            dns_plan_defer(lookup->domain, "no answer in time", &lookup->answer);
        }
        end(lookup);
    }
}

/* Takes the ended ones out of the list, then tells who waits: they may ask again. */
static void on_tick(uv_timer_t *timer)
{
    struct dns_resolver *r = timer->data;
    struct lookup *ended = NULL, **at = &r->lookups;
    uint64_t now_ms = uv_now(r->loop);
    while (*at) {
        struct lookup *lookup = *at;
        check_time(lookup, now_ms);
        if (!lookup->ended) {
            if (lookup->deadline_ms == 0 && r->under_way < UNDER_WAY_MAX) {
                begin(lookup);
            }
            at = &lookup->next;
            continue;
        }
        *at = lookup->next;
        r->under_way--;
        lookup->next = ended;
        ended = lookup;
    }
    r->lookups_tail = at;
    if (!r->lookups) {
        (void)uv_timer_stop(&r->tick);
    } else {
        (void)uv_timer_start(&r->tick, on_tick, TICK_MS, TICK_MS);
    }
    while (ended) {
        struct lookup *next = ended->next;
        tell(ended);
        lookup_free(ended);
        ended = next;
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct dns_resolver *r = poll->data;
    (void)status;
    (void)events;
    (void)ub_process(r->ub);
}

/* ---- open and close ---------------------------------------------------------------------- */

/* Forwarders in private or documentation networks are as good as others, and one that was away is
 * asked again soon. */
static const char *const options[][2] = {
    {"do-not-query-localhost:", "no"},   {"unblock-lan-zones:", "yes"},
    {"insecure-lan-zones:", "yes"},      {"infra-host-ttl:", "10"},
    {"infra-keep-probing:", "yes"},      {"cache-max-negative-ttl:", "60"},
    {"num-queries-per-thread:", "4096"}, {"outgoing-range:", "4096"},
    {"qname-minimisation:", "no"},
};

/* Zones that libunbound answers itself; whoever runs a network under one of these names has servers
 * for it. */
static const char *const own_zones[] = {"test.", "invalid.", "home.arpa."};

static int configure(struct ub_ctx *ub, const struct dns_config *config)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < sizeof options / sizeof options[0]; i++) {
        result = ub_ctx_set_option(ub, options[i][0], options[i][1]);
    }
    for (uint32_t i = 0; result == 0 && i < config->n_servers; i++) {
        result = ub_ctx_set_fwd(ub, config->servers[i]);
    }
    if (result == 0 && config->n_servers == 0) {
        result = ub_ctx_resolvconf(ub, NULL);
    }
    result = result ? result : ub_ctx_async(ub, 1);
    for (size_t i = 0; result == 0 && i < sizeof own_zones / sizeof own_zones[0]; i++) {
        result = ub_ctx_zone_remove(ub, own_zones[i]);
    }
    return result;
}

static struct dns_resolver *fail(struct dns_resolver *r, const char *why, char *ret_error,
                                 size_t error_bytes)
{
    (void)snprintf(ret_error, error_bytes, "dns: %s", why);
    if (r) {
        ub_ctx_delete(r->ub);
        dns_cache_free(r->cache);
        free(r);
    }
    return NULL;
}

struct dns_resolver *dns_open(uv_loop_t *loop, const struct dns_config *config, char *ret_error,
                              size_t error_bytes)
{
    struct dns_resolver *r = calloc(1, sizeof *r);
    if (!r || !(r->cache = dns_cache_new(CACHE_MAX)) || !(r->ub = ub_ctx_create())) {
        return fail(r, "out of memory", ret_error, error_bytes);
    }
    int result = configure(r->ub, config);
    if (result != 0) {
        return fail(r, ub_strerror(result), ret_error, error_bytes);
    }
    r->loop = loop;
    r->timeout_ms = config->timeout_ms;
    r->allow_private = config->allow_private;
    r->random = config->seed ? config->seed : 1;
    r->lookups_tail = &r->lookups;
    r->poll.data = r->tick.data = r;
    (void)uv_poll_init(loop, &r->poll, ub_fd(r->ub));
    (void)uv_poll_start(&r->poll, UV_READABLE, on_readable);
    (void)uv_timer_init(loop, &r->tick);
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
    r->handles = 2;
    uv_close((uv_handle_t *)&r->poll, on_closed);
    uv_close((uv_handle_t *)&r->tick, on_closed);
    ub_ctx_delete(r->ub); /* drops what was asked */
    while (r->lookups) {
        struct lookup *lookup = r->lookups;
        r->lookups = lookup->next;
        lookup_free(lookup);
    }
    dns_cache_free(r->cache);
}

/* ---- asking ------------------------------------------------------------------------------ */

const struct dns_answer *dns_cached(struct dns_resolver *r, const char *domain)
{
    if (dns_plan_literal(domain, r->allow_private, &r->literal)) {
        return &r->literal;
    }
    const struct dns_answer *answer = dns_cache_get(r->cache, domain, uv_now(r->loop));
    r->stats.cache_hits += answer != NULL;
    return answer;
}

static struct lookup *lookup_of(struct dns_resolver *r, const char *domain)
{
    for (struct lookup *l = r->lookups; l; l = l->next) {
        if (!l->ended && strcmp(l->domain, domain) == 0) {
            return l;
        }
    }
    struct lookup *lookup = calloc(1, sizeof *lookup);
    INVARIANT(lookup != NULL);
    lookup->resolver = r;
    lookup->waiters_tail = &lookup->waiters;
    (void)snprintf(lookup->domain, sizeof lookup->domain, "%s", domain);
    *r->lookups_tail = lookup;
    r->lookups_tail = &lookup->next;
    return lookup;
}

void dns_lookup(struct dns_resolver *r, const char *domain, dns_done_fn done, void *user)
{
    struct lookup *lookup = lookup_of(r, domain);
    struct waiter *waiter = calloc(1, sizeof *waiter);
    INVARIANT(waiter != NULL);
    *waiter = (struct waiter){.done = done, .user = user};
    *lookup->waiters_tail = waiter;
    lookup->waiters_tail = &waiter->next;
    if (lookup->deadline_ms == 0 && !lookup->ended && r->under_way < UNDER_WAY_MAX) {
        begin(lookup);
    }
    if (!uv_is_active((uv_handle_t *)&r->tick)) {
        (void)uv_timer_start(&r->tick, on_tick, TICK_MS, TICK_MS);
    }
}

void dns_stats(const struct dns_resolver *r, struct dns_stats *ret_stats)
{
    *ret_stats = r->stats;
    ret_stats->under_way = r->under_way;
    ret_stats->cached = dns_cache_count(r->cache);
}
