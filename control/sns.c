/*
 * sns.c - see sns.h.
 *
 *     on_post ──parse, topic, URL──> [certificate: resolve ──> fetch] ──signature──> take
 *
 * A request is answered 200 when what it says has been given to the spool; what we could not find
 * out (no certificate) is answered with 503, and SNS comes again.
 */
#include "control/sns.h"

#include "control/https.h"
#include "control/ses_event.h"
#include "control/sns_message.h"

#define KEYS_MAX    8u /* certificates kept */
#define KEY_S       86400
#define PENDING_MAX 32u /* requests that wait for a certificate or a confirmation */
#define SEEN_MAX    8192u
#define FETCH_S     10u
#define FETCH_BYTES 16384u

struct key {
    char *url;
    EVP_PKEY *key;
    int64_t until_s;
};

/* A request that waits for something to be fetched. */
struct pending {
    struct pending *next;
    struct sns *sns;
    struct http_request *request;
    struct sns_message message;
    const char *url; /* in the message */
    https_fn done;
};

struct sns {
    struct ctl *ctl;
    const char *endpoint; /* null: SNS's own hosts */
    struct key keys[KEYS_MAX];
    uint32_t next_key;
    struct pending *pending;
    uint32_t n_pending;
    uint64_t seen[SEEN_MAX]; /* hashes of ids of messages, the oldest is written over */
    uint32_t next_seen;
};

static void say(struct http_request *request, unsigned status, const char *text)
{
    http_answer(request, status, "text/plain", text);
}

/* ---- waiting ----------------------------------------------------------------------------- */

static void pending_free(struct pending *p)
{
    struct sns *s = p->sns;
    for (struct pending **at = &s->pending; *at; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            s->n_pending--;
            break;
        }
    }
    sns_message_free(&p->message);
    free(p);
}

static void end(struct pending *p, unsigned status, const char *text)
{
    say(p->request, status, text);
    pending_free(p);
}

static void ask(struct pending *p, const char *addresses)
{
    const struct https_request request = {
        .url = p->url, .addresses = addresses, .bytes_max = FETCH_BYTES, .timeout_s = FETCH_S};
    https_ask(p->sns->ctl->https, &request, p->done, p);
}

static void on_resolved(void *user, const char *domain, const struct dns_answer *answer)
{
    struct pending *p = user;
    char addresses[512] = "";
    size_t len = 0;
    (void)domain;
    for (uint32_t i = 0; i < answer->n_targets && len + IP_ADDR_TEXT_MAX + 1 < sizeof addresses;
         i++) {
        char text[IP_ADDR_TEXT_MAX];
        (void)ip_addr_format(&answer->targets[i].addr, text);
        len += (size_t)snprintf(addresses + len, sizeof addresses - len, "%s%s", i > 0 ? "," : "",
                                text);
    }
    if (answer->status != DNS_OK) {
        ctl_log(CTL_LOG_WARN, "SNS cannot be reached", "url=%s reason=\"%s\"", p->url,
                answer->text);
        end(p, 503, "not now\n");
        return;
    }
    ask(p, addresses);
}

/* Fetches a URL that sns_url_trusted() has let pass. */
static void fetch(struct pending *p, const char *url, https_fn done)
{
    char name[260];
    const char *host = url + sizeof "https://" - 1;
    (void)snprintf(name, sizeof name, "=%.*s", (int)strcspn(host, "/:"), host);
    p->url = url;
    p->done = done;
    dns_lookup(p->sns->ctl->dns, name, on_resolved, p);
}

/* ---- what a valid message says ----------------------------------------------------------- */

static bool is_new(struct sns *s, const char *id)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *id; id++) {
        hash = (hash ^ (uint8_t)*id) * UINT64_C(1099511628211);
    }
    for (uint32_t i = 0; i < SEEN_MAX; i++) {
        if (s->seen[i] == hash) {
            return false;
        }
    }
    s->seen[s->next_seen++ % SEEN_MAX] = hash;
    return true;
}

static void take_event(struct sns *s, const struct ses_event *event)
{
    for (uint32_t i = 0; i < event->n; i++) {
        const struct feedback feedback = {.message_id = event->message_id,
                                          .recipient = event->recipients[i].address,
                                          .kind = event->kind,
                                          .at_ms = event->at_ms,
                                          .reply = event->recipients[i].reply};
        const char *error;
        if (!feedback_take(s->ctl, &feedback, &error)) {
            ctl_log(CTL_LOG_WARN, "feedback of SES cannot be booked",
                    "id=%016llx type=%s reason=\"%s\"", (unsigned long long)event->message_id,
                    event->type, error);
        }
    }
}

static void on_confirmed(void *user, const struct https_answer *answer)
{
    struct pending *p = user;
    bool good = answer->result == HTTPS_OK && answer->status == 200;
    ctl_log(good ? CTL_LOG_INFO : CTL_LOG_WARN,
            good ? "a subscription is confirmed" : "a subscription cannot be confirmed",
            "topic=%s status=%ld reason=\"%s\"", p->message.topic, answer->status, answer->text);
    end(p, good ? 200 : 503, good ? "confirmed\n" : "not now\n");
}

static void confirm(struct pending *p)
{
    if (!sns_url_trusted(p->message.subscribe_url, p->message.topic, p->sns->endpoint, false)) {
        end(p, 403, "SubscribeURL is not one of SNS in the topic's region\n");
        return;
    }
    fetch(p, p->message.subscribe_url, on_confirmed);
}

static void take(struct pending *p)
{
    struct ses_event event;
    switch (p->message.type) {
    case SNS_SUBSCRIBE:
        confirm(p);
        return;
    case SNS_UNSUBSCRIBE:
        ctl_log(CTL_LOG_WARN, "a subscription has ended", "topic=%s", p->message.topic);
        break;
    case SNS_NOTIFICATION:
        if (is_new(p->sns, p->message.id) &&
            ses_event_parse(p->message.message, strlen(p->message.message), &event) ==
                SES_EVENT_TAKEN) {
            take_event(p->sns, &event);
            ses_event_free(&event);
        }
        break;
    }
    end(p, 200, "taken\n");
}

static void verify(struct pending *p, EVP_PKEY *key)
{
    if (sns_signature_valid(&p->message, key)) {
        take(p);
        return;
    }
    ctl_log(CTL_LOG_WARN, "a message of SNS has no valid signature", "topic=%s", p->message.topic);
    end(p, 403, "the signature is not valid\n");
}

/* ---- certificates ------------------------------------------------------------------------ */

static EVP_PKEY *key_find(struct sns *s, const char *url)
{
    for (uint32_t i = 0; i < KEYS_MAX; i++) {
        struct key *k = &s->keys[i];
        if (k->url && strcmp(k->url, url) == 0 && k->until_s > ctl_time_ms() / 1000) {
            return k->key;
        }
    }
    return NULL;
}

static void key_put(struct sns *s, uint32_t at, const char *url, EVP_PKEY *key)
{
    struct key *k = &s->keys[at];
    free(k->url);
    EVP_PKEY_free(k->key);
    *k = (struct key){.url = url ? ctl_must(strdup(url)) : NULL,
                      .key = key,
                      .until_s = ctl_time_ms() / 1000 + KEY_S};
}

static void on_certificate(void *user, const struct https_answer *answer)
{
    struct pending *p = user;
    bool fetched = answer->result == HTTPS_OK && answer->status == 200;
    EVP_PKEY *key =
        fetched ? sns_certificate_key(answer->body, answer->bytes, ctl_time_ms() / 1000) : NULL;
    if (!key) {
        ctl_log(CTL_LOG_WARN, "no certificate from SNS", "url=%s status=%ld reason=\"%s\"", p->url,
                answer->status, fetched ? "it does not hold" : answer->text);
        end(p, fetched ? 403 : 503, "no certificate\n");
        return;
    }
    key_put(p->sns, p->sns->next_key++ % KEYS_MAX, p->url, key);
    verify(p, key);
}

/* ---- requests ---------------------------------------------------------------------------- */

static bool is_configured(const struct sns *s, const char *topic)
{
    const struct ctl_config *config = &s->ctl->config;
    for (uint32_t i = 0; i < config->http.n_topics; i++) {
        if (strcmp(config->http.topics[i], topic) == 0) {
            return true;
        }
    }
    return false;
}

static const char *objection(const struct sns *s, const struct sns_message *message)
{
    if (!is_configured(s, message->topic)) {
        return "the topic is not configured\n";
    }
    return sns_url_trusted(message->certificate_url, message->topic, s->endpoint, true)
               ? NULL
               : "SigningCertURL is not one of SNS in the topic's region\n";
}

static void on_post(void *user, struct http_request *request, const char *body, size_t bytes)
{
    struct sns *s = user;
    struct sns_message message;
    const char *error;
    if (!sns_message_parse(body, bytes, &message, &error)) {
        say(request, 400, error);
        return;
    }
    error = objection(s, &message);
    if (error || s->n_pending >= PENDING_MAX) {
        sns_message_free(&message);
        say(request, error ? 403 : 503, error ? error : "too many at a time\n");
        return;
    }
    struct pending *p = ctl_must(calloc(1, sizeof *p));
    *p = (struct pending){.next = s->pending, .sns = s, .request = request, .message = message};
    s->pending = p;
    s->n_pending++;
    EVP_PKEY *key = key_find(s, message.certificate_url);
    if (key) {
        verify(p, key);
    } else {
        fetch(p, message.certificate_url, on_certificate);
    }
}

/* ---- open and close ---------------------------------------------------------------------- */

struct sns *sns_open(struct ctl *ctl, struct http *http)
{
    struct sns *s = ctl_must(calloc(1, sizeof *s));
    s->ctl = ctl;
    s->endpoint = ctl->config.http.sns_endpoint[0] ? ctl->config.http.sns_endpoint : NULL;
    http_handle(http, "POST", "/v1/sns", on_post, s);
    return s;
}

void sns_close(struct sns *s)
{
    while (s->pending) {
        pending_free(s->pending);
    }
    for (uint32_t i = 0; i < KEYS_MAX; i++) {
        key_put(s, i, NULL, NULL);
    }
    free(s);
}
