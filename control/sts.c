/*
 * sts.c - see sts.h. What happens with a domain:
 *
 *     sts_known(), sts_lookup() --> note in the spool --> known, if its policy holds
 *                               --> TXT --> no id, or the one that we have --> settled
 *                                       --> another --> addresses --> HTTPS --> settled
 *
 * 1. An entry is in its bucket from its first lookup until it is dropped for another; one that is
 *    being asked is never dropped.
 * 2. `body` is there exactly when `policy` holds; expires_s is Unix time, check_ms the loop's.
 */
#include "control/sts.h"

#include "tcp/base.h"

#include <jansson.h>
#include <time.h>

#define N_BUCKETS   4096u
#define ENTRIES_MAX 65536u
#define CHECK_MIN_S 300u /* between two looks at a record, and two fetches */
#define CHECK_MAX_S 3600u
#define REFRESH_S   86400 /* RFC 8461 5.1: fetched again in good time */
#define FETCH_S     60u
#define NOTE        "sts/"

struct waiter {
    struct waiter *next;
    sts_done_fn done;
    void *user;
};

struct entry {
    struct entry *next;  /* of its bucket */
    struct entry *newer; /* in the order of their coming */
    struct sts *sts;
    bool asking, known;
    struct waiter *waiters;
    uint64_t check_ms;       /* the record is looked at again then */
    char id[STS_ID_MAX];     /* of the policy */
    char new_id[STS_ID_MAX]; /* of the one that is being fetched */
    char *body;
    struct sts_policy policy;
    int64_t fetched_s, expires_s;
    enum tls_failure failure;
    char domain[];
};

struct sts {
    struct sts_config config;
    struct entry *buckets[N_BUCKETS];
    struct entry *oldest, *newest;
    uint32_t n;
    bool closed;
};

static int64_t now_s(void)
{
    return (int64_t)time(NULL);
}

/* ---- entries ----------------------------------------------------------------------------- */

static struct entry **place(struct sts *s, const char *domain)
{
    uint32_t hash = 2166136261u;
    for (const char *at = domain; *at; at++) {
        hash = (hash ^ (uint8_t)*at) * 16777619u;
    }
    struct entry **at = &s->buckets[hash % N_BUCKETS];
    while (*at && strcmp((*at)->domain, domain) != 0) {
        at = &(*at)->next;
    }
    return at;
}

static void entry_free(struct entry *e)
{
    while (e->waiters) {
        struct waiter *w = e->waiters;
        e->waiters = w->next;
        free(w);
    }
    free(e->body);
    free(e);
}

/* Takes the oldest out, or puts it behind the others when it is in use. */
static void drop_oldest(struct sts *s)
{
    struct entry *e = s->oldest;
    s->oldest = e->newer;
    if (e->asking) {
        e->newer = NULL;
        *(s->oldest ? &s->newest->newer : &s->oldest) = e;
        s->newest = e;
        return;
    }
    *place(s, e->domain) = e->next;
    s->n--;
    entry_free(e);
}

static struct entry *entry_new(struct sts *s, const char *domain)
{
    size_t bytes = strlen(domain) + 1;
    if (s->n >= ENTRIES_MAX) {
        drop_oldest(s);
    }
    struct entry *e = calloc(1, sizeof *e + bytes);
    INVARIANT(e != NULL);
    e->sts = s;
    memcpy(e->domain, domain, bytes);
    *place(s, domain) = e;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
    s->n++;
    return e;
}

static bool holds(const struct entry *e)
{
    return e->body && e->expires_s > now_s();
}

/* ---- the spool --------------------------------------------------------------------------- */

static char *note_name(const struct entry *e, char name[STORE_NOTE_NAME_MAX])
{
    (void)snprintf(name, STORE_NOTE_NAME_MAX, NOTE "%s", e->domain);
    return name;
}

static void keep(const struct entry *e)
{
    char name[STORE_NOTE_NAME_MAX];
    json_t *note = json_pack("{s:s, s:I, s:s}", "id", e->id, "fetched", (json_int_t)e->fetched_s,
                             "policy", e->body);
    char *text = note ? json_dumps(note, JSON_COMPACT) : NULL;
    if (text) {
        store_note(e->sts->config.store, note_name(e, name), text);
    }
    free(text);
    json_decref(note);
}

/* A policy that came, now or earlier. False with the reason: it is none. */
static bool take(struct entry *e, const char *id, const char *body, int64_t fetched_s,
                 const char **ret_why)
{
    struct sts_policy policy;
    if (!sts_policy_parse(body, &policy, ret_why)) {
        return false;
    }
    free(e->body);
    e->body = strdup(body);
    INVARIANT(e->body != NULL);
    e->policy = policy;
    e->fetched_s = fetched_s;
    e->expires_s = fetched_s + policy.max_age_s;
    (void)snprintf(e->id, sizeof e->id, "%s", id);
    return true;
}

static void load(struct entry *e)
{
    char name[STORE_NOTE_NAME_MAX];
    const char *id, *body, *why;
    json_int_t fetched_s;
    char *text = store_note_read(e->sts->config.store, note_name(e, name));
    json_t *note = text ? json_loads(text, 0, NULL) : NULL;
    if (text && (json_unpack(note, "{s:s, s:I, s:s}", "id", &id, "fetched", &fetched_s, "policy",
                             &body) != 0 ||
                 !take(e, id, body, fetched_s, &why) || !holds(e))) {
        store_note(e->sts->config.store, name, NULL);
    }
    json_decref(note);
    free(text);
    e->known = holds(e);
}

/* ---- looking ----------------------------------------------------------------------------- */

static void settle(struct entry *e, uint32_t again_s)
{
    struct waiter *waiters = e->waiters;
    e->waiters = NULL;
    e->asking = false;
    e->known = true;
    e->check_ms = uv_now(e->sts->config.loop) + again_s * UINT64_C(1000);
    while (waiters) {
        struct waiter *w = waiters;
        waiters = w->next;
        if (!e->sts->closed) {
            w->done(w->user);
        }
        free(w);
    }
}

static void failed(struct entry *e, enum tls_failure failure)
{
    e->failure = failure;
    settle(e, CHECK_MIN_S);
}

/* RFC 8461 3.2: 200, text/plain, and nothing else. */
static bool is_policy_answer(const struct https_answer *a)
{
    return a->result == HTTPS_OK && a->status == 200 &&
           strncasecmp(a->content_type, "text/plain", 10) == 0 &&
           (a->content_type[10] == '\0' || a->content_type[10] == ';' ||
            a->content_type[10] == ' ');
}

static void on_fetched(void *user, const struct https_answer *a)
{
    struct entry *e = user;
    const char *why;
    if (a->result == HTTPS_TLS) {
        failed(e, TLS_FAILURE_STS_WEBPKI);
    } else if (!is_policy_answer(a)) {
        failed(e, TLS_FAILURE_STS_FETCH);
    } else if (memchr(a->body, '\0', a->bytes) || !take(e, e->new_id, a->body, now_s(), &why)) {
        failed(e, TLS_FAILURE_STS_INVALID);
    } else {
        e->failure = TLS_FAILURE_NONE;
        keep(e);
        settle(e, CHECK_MIN_S);
    }
}

static void on_addresses(void *user, const char *host, const struct dns_answer *answer)
{
    struct entry *e = user;
    char url[400], addresses[CHAN_TARGET_MAX * IP_ADDR_TEXT_MAX] = "";
    size_t used = 0;
    (void)host;
    if (answer->status != DNS_OK) {
        failed(e, TLS_FAILURE_STS_FETCH);
        return;
    }
    for (uint32_t i = 0; i < answer->n_targets; i++) {
        char text[IP_ADDR_TEXT_MAX];
        used += (size_t)snprintf(addresses + used, sizeof addresses - used, "%s%s",
                                 i > 0 ? "," : "", ip_addr_format(&answer->targets[i].addr, text));
    }
    (void)snprintf(url, sizeof url, "https://mta-sts.%s/.well-known/mta-sts.txt", e->domain);
    const struct https_request request = {
        .url = url, .addresses = addresses, .bytes_max = STS_BODY_MAX, .timeout_s = FETCH_S};
    https_ask(e->sts->config.https, &request, on_fetched, e);
}

static void fetch(struct entry *e)
{
    char host[300];
    (void)snprintf(host, sizeof host, "+mta-sts.%s", e->domain);
    dns_lookup(e->sts->config.dns, host, on_addresses, e);
}

static bool is_stale(const struct entry *e)
{
    int64_t life_s = e->expires_s - e->fetched_s;
    return !holds(e) || now_s() > e->fetched_s + (life_s / 2 < REFRESH_S ? life_s / 2 : REFRESH_S);
}

/* No record, no answer: what is kept holds (RFC 8461 5.1). */
static void on_record(void *user, const struct dns_txt *txt)
{
    struct entry *e = user;
    uint32_t ttl_s = txt->ttl_s > CHECK_MIN_S ? txt->ttl_s : CHECK_MIN_S;
    if (!txt->found || !sts_record_id(txt, e->new_id)) {
        settle(e, ttl_s < CHECK_MAX_S ? ttl_s : CHECK_MAX_S);
    } else if (strcmp(e->new_id, e->id) != 0 || is_stale(e)) {
        fetch(e);
    } else {
        settle(e, ttl_s < CHECK_MAX_S ? ttl_s : CHECK_MAX_S);
    }
}

static void look(struct entry *e)
{
    char name[300];
    if (e->asking) {
        return;
    }
    e->asking = true;
    (void)snprintf(name, sizeof name, "_mta-sts.%s", e->domain);
    dns_txt(e->sts->config.dns, name, on_record, e);
}

/* ---- the calls --------------------------------------------------------------------------- */

/* RFC 8461 3.4: no policies of address literals. */
static bool may_have_policy(const char *domain)
{
    return domain[0] != '[' && strlen(domain) < 240;
}

static struct entry *entry_of(struct sts *s, const char *domain)
{
    struct entry *e = *place(s, domain);
    if (!e) {
        e = entry_new(s, domain);
        load(e);
    }
    return e;
}

bool sts_known(struct sts *s, const char *domain, struct sts_answer *ret_answer)
{
    *ret_answer = (struct sts_answer){.id = ""};
    if (!may_have_policy(domain)) {
        return true;
    }
    struct entry *e = entry_of(s, domain);
    if (uv_now(s->config.loop) >= e->check_ms) {
        look(e);
    }
    if (!e->known) {
        return false;
    }
    ret_answer->failure = e->failure;
    if (holds(e) && e->policy.mode != STS_NONE) {
        ret_answer->policy = &e->policy;
        ret_answer->body = e->body;
        ret_answer->id = e->id;
    }
    return true;
}

void sts_lookup(struct sts *s, const char *domain, sts_done_fn done, void *user)
{
    struct entry *e = entry_of(s, domain);
    struct waiter *w = calloc(1, sizeof *w);
    INVARIANT(w != NULL);
    *w = (struct waiter){.next = e->waiters, .done = done, .user = user};
    e->waiters = w;
    look(e);
}

struct sts *sts_open(const struct sts_config *config)
{
    struct sts *s = calloc(1, sizeof *s);
    if (s) {
        s->config = *config;
    }
    return s;
}

void sts_close(struct sts *s)
{
    while (s->oldest) {
        struct entry *e = s->oldest;
        s->oldest = e->newer;
        entry_free(e);
    }
    free(s);
}
