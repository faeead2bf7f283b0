/*
 * api_dkim.c - `dkim.list`, `dkim.check`, `dkim.reload`, `dkim.rotate`: see API.md and dkim_ring.h.
 * Nothing of a private key is in any answer.
 */
#include "control/api_private.h"

#include "control/dkim_ring.h"

#define NAME_MAX_BYTES (DKIM_SELECTOR_MAX + DKIM_DOMAIN_MAX + 16u)

static void dns_name(const struct dkim_ring_key *key, char ret_name[NAME_MAX_BYTES])
{
    (void)snprintf(ret_name, NAME_MAX_BYTES, "%s._domainkey.%s", key->selector, key->domain);
}

static json_t *key_of(const struct ctl *ctl, uint32_t sender, const struct dkim_ring_key *key)
{
    char name[NAME_MAX_BYTES], record[DKIM_RECORD_MAX], at[CTL_TIME_TEXT];
    enum dkim_algorithm algorithm = dkim_key_algorithm(key->key);
    dns_name(key, name);
    dkim_key_record(key->key, record);
    return ctl_must(json_pack("{s:s, s:s, s:s, s:s, s:i, s:b, s:b, s:s, s:s, s:s, s:s, s:I}",
                              "sender", ctl->config.senders[sender].name, "domain", key->domain,
                              "selector", key->selector, "algorithm",
                              dkim_algorithm_name(algorithm), "bits", (int)dkim_key_bits(key->key),
                              "active", key->active, "configured", key->configured, "key_file",
                              key->key_file, "loaded_at", ctl_time_text(key->loaded_ms, at), "name",
                              name, "record", record, "signed", (json_int_t)key->n_signed));
}

/* ---- parameters -------------------------------------------------------------------------- */

/* *ret_first, *ret_end: the senders that are meant; all, when none is named. */
static bool param_senders(struct rpc_request *request, uint32_t *ret_first, uint32_t *ret_end)
{
    const struct ctl_config *config = &request->ctl->config;
    const char *name;
    if (!api_param_text(request, "sender", NULL, &name)) {
        return false;
    }
    uint32_t sender = name ? ctl_config_sender(config, name) : 0;
    if (sender == UINT32_MAX) {
        rpc_error(request, RPC_E_OURS, "unknown_sender", "/sender",
                  "there is no sender \"%.64s\" in the configuration", name);
        return false;
    }
    *ret_first = sender;
    *ret_end = name ? sender + 1 : config->n_senders;
    return true;
}

static bool param_needed(struct rpc_request *request, const char *key, const char **ret_text)
{
    if (!api_param_text(request, key, "", ret_text)) {
        return false;
    }
    if ((*ret_text)[0] == '\0') {
        rpc_error(request, RPC_E_PARAMS, NULL, "", "\"%s\" is needed", key);
        return false;
    }
    return true;
}

/* ---- list, reload ------------------------------------------------------------------------ */

void api_dkim_list(struct rpc_request *request)
{
    uint32_t first, end;
    if (!param_senders(request, &first, &end)) {
        return;
    }
    json_t *list = ctl_must(json_array());
    for (uint32_t s = first; s < end; s++) {
        for (uint32_t k = 0; k < request->ctl->dkim[s].n; k++) {
            (void)json_array_append_new(list,
                                        key_of(request->ctl, s, &request->ctl->dkim[s].keys[k]));
        }
    }
    rpc_result(request, json_pack("{s:o}", "keys", list));
}

static json_t *reload_key(struct ctl *ctl, uint32_t sender, struct dkim_ring_key *key)
{
    char error[256] = "";
    bool changed = false;
    bool good = dkim_ring_reload(key, &changed, error, sizeof error);
    json_t *entry = key_of(ctl, sender, key);
    (void)json_object_set_new(entry, "changed", json_boolean(changed));
    (void)json_object_set_new(entry, "error", good ? json_null() : json_string(error));
    return entry;
}

void api_dkim_reload(struct rpc_request *request)
{
    uint32_t first, end;
    if (!param_senders(request, &first, &end)) {
        return;
    }
    json_t *list = ctl_must(json_array());
    for (uint32_t s = first; s < end; s++) {
        for (uint32_t k = 0; k < request->ctl->dkim[s].n; k++) {
            (void)json_array_append_new(
                list, reload_key(request->ctl, s, &request->ctl->dkim[s].keys[k]));
        }
    }
    rpc_result(request, json_pack("{s:o}", "keys", list));
}

/* ---- DNS --------------------------------------------------------------------------------- */

static enum dkim_published judge(const struct dkim_ring_key *key, const struct dns_txt *txt,
                                 bool *ret_testing)
{
    const char *records[8];
    static_assert(sizeof txt->text / sizeof txt->text[0] <= sizeof records / sizeof records[0],
                  "all records");
    *ret_testing = false;
    if (!txt->found) {
        return DKIM_PUBLISHED_UNKNOWN;
    }
    for (uint32_t i = 0; i < txt->n; i++) {
        records[i] = txt->text[i];
    }
    return dkim_key_published(key->key, records, txt->n, key->domain, key->identity, ret_testing);
}

/* ---- check ------------------------------------------------------------------------------- */

struct check {
    struct rpc_request *request;
    json_t *list;
    uint32_t n_open;
};

/* Keys may be changed meanwhile: it has a copy. */
struct question {
    struct check *check;
    struct dkim_ring_key key;
    json_t *entry; /* the list's */
};

static void finish(struct check *check)
{
    if (check->n_open == 0) {
        rpc_result(check->request, json_pack("{s:o}", "keys", check->list));
        free(check);
    }
}

static void on_checked(void *user, const struct dns_txt *txt)
{
    struct question *question = user;
    struct check *check = question->check;
    bool testing;
    enum dkim_published state = judge(&question->key, txt, &testing);
    (void)json_object_set_new(question->entry, "state", json_string(dkim_published_name(state)));
    (void)json_object_set_new(question->entry, "meaning",
                              json_string(dkim_published_meaning(state)));
    (void)json_object_set_new(question->entry, "testing", json_boolean(testing));
    dkim_key_free(question->key.key);
    free(question);
    check->n_open--;
    finish(check);
}

static void ask(struct check *check, uint32_t sender, const struct dkim_ring_key *key)
{
    struct ctl *ctl = check->request->ctl;
    struct question *question = ctl_must(calloc(1, sizeof *question));
    char name[NAME_MAX_BYTES];
    *question = (struct question){check, *key, key_of(ctl, sender, key)};
    (void)dkim_key_ref(key->key);
    (void)json_array_append_new(check->list, question->entry);
    check->n_open++;
    dns_name(key, name);
    dns_txt(ctl->dns, name, on_checked, question);
}

void api_dkim_check(struct rpc_request *request)
{
    uint32_t first, end;
    if (!param_senders(request, &first, &end)) {
        return;
    }
    struct check *check = ctl_must(calloc(1, sizeof *check));
    *check = (struct check){.request = request, .list = ctl_must(json_array())};
    for (uint32_t s = first; s < end; s++) {
        for (uint32_t k = 0; k < request->ctl->dkim[s].n; k++) {
            ask(check, s, &request->ctl->dkim[s].keys[k]);
        }
    }
    finish(check);
}

/* ---- rotate ------------------------------------------------------------------------------ */

struct rotation {
    struct rpc_request *request;
    uint32_t sender;
    struct dkim_ring_key key;
};

static void rotation_free(struct rotation *r)
{
    dkim_key_free(r->key.key);
    free(r);
}

static void rotate(struct rotation *r)
{
    struct ctl *ctl = r->request->ctl;
    dkim_ring_rotate(ctl, r->sender, &r->key); /* takes the key */
    r->key.active = true;
    rpc_result(r->request, json_pack("{s:o}", "key", key_of(ctl, r->sender, &r->key)));
    free(r);
}

static void on_looked_up(void *user, const struct dns_txt *txt)
{
    struct rotation *r = user;
    bool testing;
    enum dkim_published state = judge(&r->key, txt, &testing);
    if (state == DKIM_PUBLISHED_OK) {
        rotate(r);
        return;
    }
    rpc_error(r->request, RPC_E_OURS, "not_possible", "/selector",
              "%s._domainkey.%s: %s: nothing was changed; publish the record of this key first, or "
              "say \"force\"",
              r->key.selector, r->key.domain, dkim_published_meaning(state));
    rotation_free(r);
}

static const struct dkim_ring_key *find(const struct dkim_ring *ring, const char *domain,
                                        const char *selector)
{
    for (uint32_t i = 0; i < ring->n; i++) {
        if (strcmp(ring->keys[i].domain, domain) == 0 &&
            strcmp(ring->keys[i].selector, selector) == 0) {
            return &ring->keys[i];
        }
    }
    return NULL;
}

/* The one that it will stand for, whose other properties it takes over. */
static const struct dkim_ring_key *find_kind(const struct dkim_ring *ring, const char *domain,
                                             enum dkim_algorithm algorithm)
{
    for (uint32_t i = 0; i < ring->n; i++) {
        if (ring->keys[i].active && dkim_key_algorithm(ring->keys[i].key) == algorithm &&
            strcmp(ring->keys[i].domain, domain) == 0) {
            return &ring->keys[i];
        }
    }
    return NULL;
}

/* The key out of the file, or the one of the ring. False: answered. */
static bool get_key(struct rotation *r, const struct dkim_ring *ring, const char *key_file)
{
    char error[256];
    const struct dkim_ring_key *own = find(ring, r->key.domain, r->key.selector);
    if (!key_file[0] && !own) {
        rpc_error(r->request, RPC_E_OURS, "not_found", "/selector",
                  "the sender has no key %s of %s: name its \"key_file\"", r->key.selector,
                  r->key.domain);
        return false;
    }
    (void)snprintf(r->key.key_file, sizeof r->key.key_file, "%s",
                   key_file[0] ? key_file : own->key_file);
    r->key.key =
        key_file[0] ? dkim_key_load(key_file, error, sizeof error) : dkim_key_ref(own->key);
    if (!r->key.key) {
        rpc_error(r->request, RPC_E_OURS, "not_possible", "/key_file", "%s %s", key_file, error);
        return false;
    }
    return true;
}

static bool prepare(struct rotation *r, const struct dkim_ring *ring)
{
    enum dkim_algorithm algorithm = dkim_key_algorithm(r->key.key);
    const struct dkim_ring_key *old = find_kind(ring, r->key.domain, algorithm);
    if (!old) {
        rpc_error(r->request, RPC_E_OURS, "not_found", "/domain",
                  "the sender has no %s key of %s to put this one in the place of: add it to the "
                  "configuration",
                  dkim_algorithm_name(algorithm), r->key.domain);
        return false;
    }
    r->key.expire_s = old->expire_s;
    r->key.loaded_ms = ctl_time_ms();
    (void)snprintf(r->key.identity, sizeof r->key.identity, "%s", old->identity);
    return true;
}

static bool take_names(struct rotation *r, const char *domain, const char *selector)
{
    size_t n = strlen(selector);
    bool fits = n < sizeof r->key.selector && strlen(domain) < sizeof r->key.domain &&
                config_name_valid(selector);
    if (!fits) {
        rpc_error(r->request, RPC_E_PARAMS, NULL, "/selector",
                  "must be the part of the key's DNS name before ._domainkey");
        return false;
    }
    (void)snprintf(r->key.domain, sizeof r->key.domain, "%s", domain);
    (void)snprintf(r->key.selector, sizeof r->key.selector, "%s", selector);
    return true;
}

void api_dkim_rotate(struct rpc_request *request)
{
    const char *sender, *domain, *selector, *key_file;
    uint32_t first, end;
    bool force;
    if (!param_needed(request, "sender", &sender) || !param_needed(request, "domain", &domain) ||
        !param_needed(request, "selector", &selector) ||
        !api_param_text(request, "key_file", "", &key_file) ||
        !api_param_bool(request, "force", false, &force) || !param_senders(request, &first, &end)) {
        return;
    }
    struct rotation *r = ctl_must(calloc(1, sizeof *r));
    const struct dkim_ring *ring = &request->ctl->dkim[first];
    r->request = request;
    r->sender = first;
    if (!take_names(r, domain, selector) || !get_key(r, ring, key_file) || !prepare(r, ring)) {
        rotation_free(r);
    } else if (force) {
        rotate(r);
    } else {
        char name[NAME_MAX_BYTES];
        dns_name(&r->key, name);
        dns_txt(request->ctl->dns, name, on_looked_up, r);
    }
}
