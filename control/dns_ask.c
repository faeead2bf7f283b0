/*
 * dns_ask.c - the questions of one domain, put to libunbound: MX, then A and AAAA of all hosts at
 * once. See dns_private.h.
 *
 * A question is open from ask() until on_answer(), or until it is cancelled: libunbound itself then
 * ignores a late answer, so that what it points to may be freed.
 */
#include "control/dns_private.h"

#include <unbound.h>

#define TYPE_A    1
#define TYPE_MX   15
#define TYPE_AAAA 28
#define CLASS_IN  1

#define RCODE_NOERROR  0
#define RCODE_SERVFAIL 2
#define RCODE_REFUSED  5

#define RECORDS_MAX 256u /* of one answer that are looked at */

struct question {
    struct dns_ask *ask;
    uint32_t host;  /* index; unused for MX */
    uint8_t family; /* 0: MX */
    bool open;
    int id;
};

struct dns_ask {
    struct dns_asker *asker;
    dns_asked_fn asked;
    void *user;
    const char *domain; /* the asker's */
    bool host_only;     /* "=host" */
    bool allow_private;
    uint32_t ttl_s; /* the smallest so far */
    uint32_t n_open;
    struct dns_hosts hosts;
    struct question mx, questions[DNS_HOSTS_MAX][2];
    struct dns_answer answer;
};

/* ---- one question ------------------------------------------------------------------------ */

static void on_answer(void *user, int error, struct ub_result *result);

/* Null, or why it could not be asked. */
static const char *ask(struct question *q, const char *name, int type)
{
    int result = ub_resolve_async(q->ask->asker->ub, name, type, CLASS_IN, q, on_answer, &q->id);
    if (result != 0) {
        return ub_strerror(result);
    }
    q->open = true;
    q->ask->n_open++;
    return NULL;
}

static void cancel(struct question *q)
{
    if (q->open) {
        (void)ub_cancel(q->ask->asker->ub, q->id);
        q->open = false;
        q->ask->n_open--;
    }
}

static const char *rcode_text(int rcode)
{
    switch (rcode) {
    case RCODE_SERVFAIL:
        return "SERVFAIL";
    case RCODE_REFUSED:
        return "REFUSED";
    default:
        return "an error of its DNS server";
    }
}

static void records_of(int error, const struct ub_result *result, struct dns_records *records,
                       size_t lengths[RECORDS_MAX])
{
    *records = (struct dns_records){.reply = DNS_REPLY_FAILED};
    if (error != 0 || !result) {
        records->why = error ? ub_strerror(error) : "no answer";
    } else if (result->bogus) {
        records->why =
            result->why_bogus ? result->why_bogus : "its DNSSEC signatures are not valid";
    } else if (result->nxdomain) {
        records->reply = DNS_REPLY_NXDOMAIN;
    } else if (result->rcode != RCODE_NOERROR) {
        records->why = rcode_text(result->rcode);
    } else if (!result->havedata) {
        records->reply = DNS_REPLY_NODATA;
    } else {
        records->reply = DNS_REPLY_DATA;
        records->data = (const uint8_t *const *)result->data;
        while (records->n < RECORDS_MAX && result->data[records->n]) {
            lengths[records->n] = (size_t)result->len[records->n];
            records->n++;
        }
        records->len = lengths;
    }
}

/* ---- all of them ------------------------------------------------------------------------- */

static void finish(struct dns_ask *a)
{
    dns_plan_finish(a->domain, &a->hosts, a->asker->key, &a->answer);
    for (uint32_t i = 0; i < a->hosts.n; i++) {
        if (a->hosts.list[i].failed) {
            a->ttl_s = DNS_TTL_MIN_S; /* so that the missing host is not missed for an hour */
        }
    }
    a->asked(a->user);
}

static void ask_hosts(struct dns_ask *a)
{
    for (uint32_t i = 0; i < a->hosts.n * 2; i++) {
        struct dns_host *host = &a->hosts.list[i / 2];
        struct question *q = &a->questions[i / 2][i % 2];
        *q = (struct question){.ask = a, .host = i / 2, .family = i % 2 == 0 ? 4 : 6};
        const char *why = ask(q, host->name, q->family == 4 ? TYPE_A : TYPE_AAAA);
        if (why) {
            const struct dns_records failed = {.reply = DNS_REPLY_FAILED, .why = why};
            dns_plan_address(host, q->family, &failed, a->allow_private);
        }
    }
    if (a->n_open == 0) {
        finish(a);
    }
}

static void take_mx(struct dns_ask *a, const struct dns_records *records)
{
    if (dns_plan_mx(a->domain, records, &a->asker->random, &a->hosts, &a->answer)) {
        ask_hosts(a);
    } else {
        a->asked(a->user);
    }
}

static void take_address(struct dns_ask *a, const struct question *q,
                         const struct dns_records *records)
{
    dns_plan_address(&a->hosts.list[q->host], q->family, records, a->allow_private);
    if (a->n_open == 0) {
        finish(a);
    }
}

static void on_answer(void *user, int error, struct ub_result *result)
{
    struct question *q = user;
    struct dns_ask *a = q->ask;
    struct dns_records records;
    size_t lengths[RECORDS_MAX];
    records_of(error, result, &records, lengths);
    q->open = false;
    a->n_open--;
    if (records.reply != DNS_REPLY_FAILED && (uint32_t)result->ttl < a->ttl_s) {
        a->ttl_s = (uint32_t)result->ttl;
    }
    if (q->family == 0) {
        take_mx(a, &records);
    } else {
        take_address(a, q, &records);
    }
    ub_resolve_free(result);
}

/* ---- what the resolver calls ------------------------------------------------------------- */

struct dns_ask *dns_ask_new(struct dns_asker *asker, const char *domain, dns_asked_fn asked,
                            void *user)
{
    struct dns_ask *a = calloc(1, sizeof *a);
    INVARIANT(a != NULL);
    a->asker = asker;
    a->asked = asked;
    a->user = user;
    a->host_only = domain[0] == '=';
    a->domain = domain + a->host_only;
    a->allow_private = asker->allow_private || a->host_only;
    a->ttl_s = DNS_TTL_MAX_S;
    a->mx.ask = a;
    return a;
}

void dns_ask_begin(struct dns_ask *a)
{
    if (dns_plan_literal(a->domain, a->allow_private, a->asker->key, &a->answer) ||
        !dns_plan_domain(a->domain, &a->answer)) {
        a->asked(a->user);
        return;
    }
    if (a->host_only) {
        dns_plan_implicit(a->domain, &a->hosts);
        ask_hosts(a);
        return;
    }
    const char *why = ask(&a->mx, a->domain, TYPE_MX);
    if (why) {
        dns_plan_defer(a->domain, why, &a->answer);
        a->asked(a->user);
    }
}

static void cancel_all(struct dns_ask *a)
{
    cancel(&a->mx);
    for (uint32_t i = 0; i < a->hosts.n * 2; i++) {
        cancel(&a->questions[i / 2][i % 2]);
    }
    INVARIANT(a->n_open == 0);
}

void dns_ask_give_up(struct dns_ask *a)
{
    const struct dns_records late = {.reply = DNS_REPLY_FAILED, .why = "no answer in time"};
    for (uint32_t i = 0; i < a->hosts.n * 2; i++) {
        const struct question *q = &a->questions[i / 2][i % 2];
        if (q->open) {
            dns_plan_address(&a->hosts.list[q->host], q->family, &late, a->allow_private);
        }
    }
    cancel_all(a);
    if (a->hosts.n > 0) {
        finish(a);
    } else {
        dns_plan_defer(a->domain, late.why, &a->answer);
        a->asked(a->user);
    }
}

struct dns_answer *dns_ask_answer(struct dns_ask *a)
{
    return &a->answer;
}

uint32_t dns_ask_ttl_s(const struct dns_ask *a)
{
    return a->answer.status == DNS_DEFER || a->ttl_s < DNS_TTL_MIN_S ? DNS_TTL_MIN_S : a->ttl_s;
}

void dns_ask_free(struct dns_ask *a)
{
    cancel_all(a);
    free(a);
}

/* ---- libunbound -------------------------------------------------------------------------- */

/* Forwarders in private or documentation networks are as good as others, and one that was away is
 * asked again soon. A descriptor is taken for each question on its way, at most outgoing-range of
 * them; more wait. */
static const char *const options[][2] = {
    {"do-not-query-localhost:", "no"},   {"unblock-lan-zones:", "yes"},
    {"insecure-lan-zones:", "yes"},      {"infra-host-ttl:", "10"},
    {"infra-keep-probing:", "yes"},      {"cache-max-negative-ttl:", "60"},
    {"num-queries-per-thread:", "4096"}, {"outgoing-range:", "512"},
    {"qname-minimisation:", "no"},
};

/* Zones that libunbound answers itself; whoever runs a network under one of these names has servers
 * for it. */
static const char *const own_zones[] = {"test.", "invalid.", "home.arpa."};

static bool failed(int result, const char *place, char *ret_error, size_t error_bytes)
{
    if (result != 0) {
        (void)snprintf(ret_error, error_bytes, "dns: %s: %s", place, ub_strerror(result));
    }
    return result != 0;
}

static bool set_servers(struct ub_ctx *ub, const struct dns_config *config, char *ret_error,
                        size_t error_bytes)
{
    for (uint32_t i = 0; i < config->n_servers; i++) {
        if (failed(ub_ctx_set_fwd(ub, config->servers[i]), config->servers[i], ret_error,
                   error_bytes)) {
            return false;
        }
    }
    return config->n_servers > 0 ||
           !failed(ub_ctx_resolvconf(ub, NULL), "/etc/resolv.conf", ret_error, error_bytes);
}

bool dns_ask_configure(struct ub_ctx *ub, const struct dns_config *config, char *ret_error,
                       size_t error_bytes)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (failed(ub_ctx_set_option(ub, options[i][0], options[i][1]), options[i][0], ret_error,
                   error_bytes)) {
            return false;
        }
    }
    if (!set_servers(ub, config, ret_error, error_bytes) ||
        failed(ub_ctx_async(ub, 1), "threads", ret_error, error_bytes)) {
        return false;
    }
    /* From here on the settings are fixed. */
    for (size_t i = 0; i < sizeof own_zones / sizeof own_zones[0]; i++) {
        if (failed(ub_ctx_zone_remove(ub, own_zones[i]), own_zones[i], ret_error, error_bytes)) {
            return false;
        }
    }
    return true;
}
