/*
 * dkim_ring.c - see dkim_ring.h.
 *
 * What was rotated is a note of the spool, "dkim/SENDER": a list of {domain, algorithm, selector,
 * key_file, instead_of}. instead_of is the selector that the configuration had first then: when it
 * has another one now, somebody has changed the configuration since, and the note is left alone.
 */
#include "control/dkim_ring.h"

#include "control/events.h"

#include <strings.h>

/* ---- finding ----------------------------------------------------------------------------- */

static bool is_or_is_above(const char *parent, const char *domain)
{
    size_t len = strlen(domain), parent_len = strlen(parent);
    return len >= parent_len && strcmp(domain + len - parent_len, parent) == 0 &&
           (len == parent_len || domain[len - parent_len - 1] == '.');
}

static const char *longest_domain(const struct dkim_ring *ring, const char *from_domain)
{
    const char *best = NULL;
    for (uint32_t i = 0; i < ring->n; i++) {
        const char *domain = ring->keys[i].domain;
        if (ring->keys[i].active && is_or_is_above(domain, from_domain) &&
            (!best || strlen(domain) > strlen(best))) {
            best = domain;
        }
    }
    return best;
}

static struct dkim_ring_key *active_key(struct dkim_ring *ring, const char *domain,
                                        enum dkim_algorithm algorithm)
{
    for (uint32_t i = 0; i < ring->n; i++) {
        struct dkim_ring_key *key = &ring->keys[i];
        if (key->active && dkim_key_algorithm(key->key) == algorithm &&
            strcmp(key->domain, domain) == 0) {
            return key;
        }
    }
    return NULL;
}

bool dkim_ring_find(struct dkim_ring *ring, const char *from_domain,
                    struct dkim_ring_key *ret_keys[DKIM_ALGORITHMS])
{
    const char *domain = longest_domain(ring, from_domain);
    for (uint32_t i = 0; domain && i < DKIM_ALGORITHMS; i++) {
        ret_keys[i] = active_key(ring, domain, (enum dkim_algorithm)i);
    }
    return domain != NULL;
}

/* The first that the configuration lists of this domain and algorithm. */
static struct dkim_ring_key *configured_first(struct dkim_ring *ring, const char *domain,
                                              enum dkim_algorithm algorithm)
{
    for (uint32_t i = 0; i < ring->n; i++) {
        struct dkim_ring_key *key = &ring->keys[i];
        if (key->configured && dkim_key_algorithm(key->key) == algorithm &&
            strcmp(key->domain, domain) == 0) {
            return key;
        }
    }
    return NULL;
}

/* ---- changing ---------------------------------------------------------------------------- */

bool dkim_ring_reload(struct dkim_ring_key *key, bool *ret_changed, char *ret_error,
                      size_t error_bytes)
{
    struct dkim_key *fresh = dkim_key_load(key->key_file, ret_error, error_bytes);
    if (!fresh) {
        return false;
    }
    if (dkim_key_algorithm(fresh) != dkim_key_algorithm(key->key)) {
        (void)snprintf(ret_error, error_bytes, "has a key of another algorithm now");
        dkim_key_free(fresh);
        return false;
    }
    *ret_changed = !dkim_key_same(fresh, key->key);
    dkim_key_free(key->key);
    key->key = fresh;
    key->loaded_ms = ctl_time_ms();
    return true;
}

/* The ring's own of this name and kind, or room for it. */
static struct dkim_ring_key *place(struct dkim_ring *ring, const struct dkim_ring_key *key)
{
    for (uint32_t i = 0; i < ring->n; i++) {
        struct dkim_ring_key *own = &ring->keys[i];
        if (strcmp(own->domain, key->domain) == 0 && strcmp(own->selector, key->selector) == 0 &&
            dkim_key_algorithm(own->key) == dkim_key_algorithm(key->key)) {
            return own;
        }
    }
    ring->keys = ctl_must(realloc(ring->keys, (ring->n + 1) * sizeof ring->keys[0]));
    ring->keys[ring->n] = (struct dkim_ring_key){.configured = false};
    return &ring->keys[ring->n++];
}

/* The old active key, which waits from now on; null: it was this one already. */
static const struct dkim_ring_key *activate(struct dkim_ring *ring, const struct dkim_ring_key *key)
{
    struct dkim_ring_key *own = place(ring, key);
    struct dkim_ring_key *old = active_key(ring, key->domain, dkim_key_algorithm(key->key));
    bool configured = own->configured;
    uint64_t n_signed = own->n_signed;
    dkim_key_free(own->key);
    *own = *key;
    own->configured = configured;
    own->n_signed = n_signed;
    if (old && old != own) {
        old->active = false;
    }
    own->active = true;
    return old == own ? NULL : old;
}

static void remember(struct ctl *ctl, uint32_t sender)
{
    struct dkim_ring *ring = &ctl->dkim[sender];
    char name[STORE_NOTE_NAME_MAX + 1];
    json_t *list = ctl_must(json_array());
    for (uint32_t i = 0; i < ring->n; i++) {
        const struct dkim_ring_key *key = &ring->keys[i];
        enum dkim_algorithm algorithm = dkim_key_algorithm(key->key);
        const struct dkim_ring_key *first = configured_first(ring, key->domain, algorithm);
        if (key->active && key != first) {
            (void)json_array_append_new(
                list,
                json_pack("{s:s, s:s, s:s, s:s, s:s}", "domain", key->domain, "algorithm",
                          dkim_algorithm_name(algorithm), "selector", key->selector, "key_file",
                          key->key_file, "instead_of", first ? first->selector : ""));
        }
    }
    (void)snprintf(name, sizeof name, "dkim/%s", ctl->config.senders[sender].name);
    char *text = json_array_size(list) > 0 ? ctl_must(json_dumps(list, JSON_COMPACT)) : NULL;
    store_note(ctl->store, name, text);
    free(text);
    json_decref(list);
}

void dkim_ring_rotate(struct ctl *ctl, uint32_t sender, const struct dkim_ring_key *key)
{
    const struct dkim_ring_key *old = activate(&ctl->dkim[sender], key);
    json_t *event = event_new("dkim", ctl_time_ms());
    (void)json_object_set_new(event, "sender", json_string(ctl->config.senders[sender].name));
    (void)json_object_set_new(event, "domain", json_string(key->domain));
    (void)json_object_set_new(event, "algorithm",
                              json_string(dkim_algorithm_name(dkim_key_algorithm(key->key))));
    (void)json_object_set_new(event, "selector", json_string(key->selector));
    (void)json_object_set_new(event, "old", old ? json_string(old->selector) : json_null());
    event_record(ctl, 0, event);
    remember(ctl, sender);
}

/* ---- opening ----------------------------------------------------------------------------- */

static void add_configured(struct dkim_ring *ring, const struct ctl_dkim *from)
{
    struct dkim_ring_key *key = &ring->keys[ring->n++];
    *key = (struct dkim_ring_key){
        .expire_s = from->expire_s,
        .configured = true,
        .key = dkim_key_ref(from->key),
        .loaded_ms = ctl_time_ms(),
    };
    (void)snprintf(key->domain, sizeof key->domain, "%s", from->domain);
    (void)snprintf(key->selector, sizeof key->selector, "%s", from->selector);
    (void)snprintf(key->identity, sizeof key->identity, "%s", from->identity);
    (void)snprintf(key->key_file, sizeof key->key_file, "%s", from->key_file);
    key->active = configured_first(ring, key->domain, dkim_key_algorithm(key->key)) == key;
}

static const char *text_in(const json_t *entry, const char *key)
{
    const char *text = json_string_value(json_object_get(entry, key));
    return text ? text : "";
}

/* False: it does not count any more. */
static bool still_meant(struct dkim_ring *ring, const struct dkim_ring_key *key,
                        const json_t *entry)
{
    const struct dkim_ring_key *first =
        configured_first(ring, key->domain, dkim_key_algorithm(key->key));
    return first && strcmp(first->selector, text_in(entry, "instead_of")) == 0;
}

static void recall(struct ctl *ctl, uint32_t sender, const json_t *entry)
{
    struct dkim_ring *ring = &ctl->dkim[sender];
    struct dkim_ring_key key = {.loaded_ms = ctl_time_ms()};
    char error[256];
    (void)snprintf(key.domain, sizeof key.domain, "%s", text_in(entry, "domain"));
    (void)snprintf(key.selector, sizeof key.selector, "%s", text_in(entry, "selector"));
    (void)snprintf(key.key_file, sizeof key.key_file, "%s", text_in(entry, "key_file"));
    key.key = dkim_key_load(key.key_file, error, sizeof error);
    if (!key.key) {
        ctl_log(CTL_LOG_ERROR,
                "a DKIM key that was rotated to is not there: the configured one signs",
                "sender=%s domain=%s selector=%s file=\"%s\" error=\"%s\"",
                ctl->config.senders[sender].name, key.domain, key.selector, key.key_file, error);
        return;
    }
    if (!still_meant(ring, &key, entry)) {
        dkim_key_free(key.key);
        return;
    }
    const struct dkim_ring_key *first =
        configured_first(ring, key.domain, dkim_key_algorithm(key.key));
    key.expire_s = first->expire_s;
    (void)snprintf(key.identity, sizeof key.identity, "%s", first->identity);
    (void)activate(ring, &key);
}

static void recall_all(struct ctl *ctl, uint32_t sender)
{
    char name[STORE_NOTE_NAME_MAX + 1];
    size_t i;
    json_t *entry;
    (void)snprintf(name, sizeof name, "dkim/%s", ctl->config.senders[sender].name);
    char *text = store_note_read(ctl->store, name);
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;
    json_array_foreach(list, i, entry)
    {
        recall(ctl, sender, entry);
    }
    json_decref(list);
    free(text);
}

static void warn_of_weak(const struct ctl *ctl, uint32_t sender)
{
    for (uint32_t i = 0; i < ctl->dkim[sender].n; i++) {
        const struct dkim_ring_key *key = &ctl->dkim[sender].keys[i];
        if (dkim_key_algorithm(key->key) == DKIM_RSA &&
            dkim_key_bits(key->key) < DKIM_RSA_BITS_GOOD) {
            ctl_log(CTL_LOG_WARN, "a DKIM key is short: 2048 bits are asked for (RFC 8301 3.2)",
                    "sender=%s domain=%s selector=%s bits=%u", ctl->config.senders[sender].name,
                    key->domain, key->selector, dkim_key_bits(key->key));
        }
    }
}

struct dkim_ring *dkim_rings_open(struct ctl *ctl)
{
    uint32_t n_senders = ctl->config.n_senders;
    ctl->dkim = ctl_must(calloc(n_senders + 1u, sizeof ctl->dkim[0]));
    for (uint32_t s = 0; s < n_senders; s++) {
        const struct ctl_sender *sender = &ctl->config.senders[s];
        if (sender->n_dkim == 0) {
            continue;
        }
        ctl->dkim[s].keys = ctl_must(calloc(sender->n_dkim, sizeof ctl->dkim[s].keys[0]));
        for (uint32_t k = 0; k < sender->n_dkim; k++) {
            add_configured(&ctl->dkim[s], &sender->dkim[k]);
        }
        recall_all(ctl, s);
        warn_of_weak(ctl, s);
    }
    return ctl->dkim;
}

void dkim_rings_close(struct dkim_ring *rings, uint32_t n_senders)
{
    for (uint32_t s = 0; rings && s < n_senders; s++) {
        for (uint32_t k = 0; k < rings[s].n; k++) {
            dkim_key_free(rings[s].keys[k].key);
        }
        free(rings[s].keys);
    }
    free(rings);
}
