/*
 * dns_ask.c - the questions of one domain, put to libunbound: MX, then A and AAAA of all hosts at
 * once, then, where DNSSEC says that it is worth while, TLSA of each. See dns_private.h.
 *
 * A question is open from ask() until on_answer(), or until it is cancelled: libunbound itself then
 * ignores a late answer, so that what it points to may be freed.
 */
#include "control/dns_private.h"

#include <errno.h>
#include <unbound.h>
#include <unistd.h>

#define TYPE_A     1
#define TYPE_CNAME 5
#define TYPE_MX    15
#define TYPE_AAAA  28
#define TYPE_TLSA  52
#define CLASS_IN   1

#define RCODE_NOERROR  0
#define RCODE_SERVFAIL 2
#define RCODE_REFUSED  5

#define RECORDS_MAX 256u /* of one answer that are looked at */

enum about { ABOUT_MX, ABOUT_A, ABOUT_AAAA, ABOUT_DANE, QUESTIONS };

struct question {
    struct dns_ask *ask;
    uint32_t host; /* index; unused for MX */
    enum about about;
    bool open;
    int id;
};

struct dns_ask {
    struct dns_asker *asker;
    dns_asked_fn asked;
    void *user;
    const char *domain; /* the asker's */
    bool host_only;     /* "=host", "+host" */
    bool allow_private;
    uint32_t ttl_s; /* the smallest so far */
    uint32_t n_open;
    struct dns_hosts hosts;
    struct question mx, questions[DNS_HOSTS_MAX][QUESTIONS]; /* [ABOUT_MX] is not used */
    struct dns_dane dane[DNS_HOSTS_MAX];
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
    *records = (struct dns_records){
        .reply = DNS_REPLY_FAILED,
        .secure = result && result->secure,
        .alias = result ? result->canonname : NULL,
    };
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

/* Of all hosts, whether they have addresses now or not, so that it does not change with them. */
static void name_provider(struct dns_ask *a)
{
    const char *names[DNS_HOSTS_MAX];
    for (uint32_t i = 0; i < a->hosts.n; i++) {
        names[i] = a->hosts.list[i].name;
    }
    provider_of_hosts(a->asker->providers, names, a->hosts.n, a->answer.provider);
}

static void finish(struct dns_ask *a)
{
    dns_plan_finish(a->domain, &a->hosts, a->asker->key, &a->answer);
    name_provider(a);
    for (uint32_t i = 0; i < a->hosts.n; i++) {
        if (a->hosts.list[i].failed || a->hosts.list[i].tlsa == DNS_TLSA_FAILED) {
            a->ttl_s = DNS_TTL_MIN_S; /* so that the missing host is not missed for an hour */
        }
    }
    a->asked(a->user);
}

static void finish_if_done(struct dns_ask *a)
{
    if (a->n_open == 0) {
        finish(a);
    }
}

static void take_dane(struct dns_ask *a, uint32_t i, const struct dns_records *records);

/* Asks the question that follows about DANE, if there is one. */
static void ask_dane(struct dns_ask *a, uint32_t i)
{
    struct question *q = &a->questions[i][ABOUT_DANE];
    const struct dns_dane *dane = &a->dane[i];
    if (dane->name[0] == '\0') {
        return;
    }
    *q = (struct question){.ask = a, .host = i, .about = ABOUT_DANE};
    const char *why = ask(q, dane->name, dane->step == DNS_DANE_CNAME ? TYPE_CNAME : TYPE_TLSA);
    if (why) {
        const struct dns_records failed = {.reply = DNS_REPLY_FAILED, .why = why};
        take_dane(a, i, &failed);
    }
}

static void take_dane(struct dns_ask *a, uint32_t i, const struct dns_records *records)
{
    struct dns_host *host = &a->hosts.list[i];
    struct dns_tlsa tlsa;
    dns_dane_take(host, records, a->asker->port, &a->dane[i], &tlsa);
    if (host->tlsa == DNS_TLSA_FOUND) {
        dns_tlsa_table_put(a->asker->tlsa, host->name, &tlsa);
    }
    ask_dane(a, i);
}

/* Both questions about its addresses are answered. */
static void addresses_known(struct dns_ask *a, uint32_t i)
{
    if (a->asker->dnssec && !a->questions[i][ABOUT_A].open && !a->questions[i][ABOUT_AAAA].open) {
        dns_dane_begin(&a->hosts, &a->hosts.list[i], a->asker->port, &a->dane[i]);
        ask_dane(a, i);
    }
}

static uint8_t family_of(enum about about)
{
    return about == ABOUT_A ? 4 : 6;
}

static void ask_address(struct dns_ask *a, uint32_t i, enum about about)
{
    struct question *q = &a->questions[i][about];
    *q = (struct question){.ask = a, .host = i, .about = about};
    const char *why = ask(q, a->hosts.list[i].name, about == ABOUT_A ? TYPE_A : TYPE_AAAA);
    if (why) {
        const struct dns_records failed = {.reply = DNS_REPLY_FAILED, .why = why};
        dns_plan_address(&a->hosts.list[i], family_of(about), &failed, a->allow_private);
    }
}

static void ask_hosts(struct dns_ask *a)
{
    for (uint32_t i = 0; i < a->hosts.n; i++) {
        ask_address(a, i, ABOUT_A);
        ask_address(a, i, ABOUT_AAAA);
    }
    finish_if_done(a);
}

static void take_mx(struct dns_ask *a, const struct dns_records *records)
{
    if (dns_plan_mx(a->domain, records, &a->asker->random, &a->hosts, &a->answer)) {
        a->hosts.secure = records->secure;
        ask_hosts(a);
    } else {
        a->asked(a->user);
    }
}

static void take(struct dns_ask *a, const struct question *q, const struct dns_records *records)
{
    switch (q->about) {
    case ABOUT_MX:
        take_mx(a, records);
        return;
    case ABOUT_A:
    case ABOUT_AAAA:
        dns_plan_address(&a->hosts.list[q->host], family_of(q->about), records, a->allow_private);
        addresses_known(a, q->host);
        break;
    case ABOUT_DANE:
        take_dane(a, q->host, records);
        break;
    case QUESTIONS:
        INVARIANT(false);
    }
    finish_if_done(a);
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
    take(a, q, &records);
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
    a->host_only = domain[0] == '=' || domain[0] == '+';
    a->domain = domain + a->host_only;
    a->allow_private = asker->allow_private || domain[0] == '=';
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
    for (uint32_t i = 0; i < a->hosts.n; i++) {
        for (enum about about = ABOUT_A; about < QUESTIONS; about++) {
            cancel(&a->questions[i][about]);
        }
    }
    INVARIANT(a->n_open == 0);
}

void dns_ask_give_up(struct dns_ask *a)
{
    const struct dns_records late = {.reply = DNS_REPLY_FAILED, .why = "no answer in time"};
    for (uint32_t i = 0; i < a->hosts.n; i++) {
        struct dns_host *host = &a->hosts.list[i];
        bool dane_open = a->questions[i][ABOUT_DANE].open;
        for (enum about about = ABOUT_A; about <= ABOUT_AAAA; about++) {
            if (a->questions[i][about].open) {
                dns_plan_address(host, family_of(about), &late, a->allow_private);
                dane_open |= a->asker->dnssec && a->hosts.secure; /* it had still to be asked */
            }
        }
        if (dane_open) {
            host->tlsa = DNS_TLSA_FAILED;
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

static bool set_trust(struct ub_ctx *ub, const struct dns_config *config, char *ret_error,
                      size_t error_bytes)
{
    const char *file = config->trust_anchor_file;
    if (file && access(file, R_OK) != 0) {
        (void)snprintf(ret_error, error_bytes, "dns.trust_anchor_file %s: %s", file,
                       strerror(errno));
        return false;
    }
    return !file || !failed(ub_ctx_add_ta_file(ub, file), file, ret_error, error_bytes);
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
        !set_trust(ub, config, ret_error, error_bytes) ||
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
