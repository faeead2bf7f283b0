/* signing.c - see signing.h. The loop picks keys and fields; a thread of libuv's pool does the
 * sums.
 */
#include "control/signing.h"

#include "control/dkim_ring.h"

static_assert((uint32_t)DKIM_PROFILES == STORE_PREFIXES, "a prefix for each profile");

/* What a thread needs of a key, so that the ring may change meanwhile. */
struct signer_copy {
    struct dkim_key *key;
    char domain[DKIM_DOMAIN_MAX], selector[DKIM_SELECTOR_MAX], identity[DKIM_IDENTITY_MAX];
    uint32_t expire_s;
};

struct signing {
    struct signer_copy signers[DKIM_ALGORITHMS];
    uint32_t n_signers;
    uint32_t profiles; /* bits by enum dkim_profile */
    int64_t unix_s;
    struct dkim_message message;
    char *text[DKIM_PROFILES];
    struct signing_result result;
    signing_done_fn done;
    void *user;
    uv_work_t work;
};

/* ---- on a thread ------------------------------------------------------------------------- */

/* One field for each key. False: OpenSSL could not. */
static bool sign_profile(struct signing *s, enum dkim_profile profile)
{
    char *text = malloc(s->n_signers * DKIM_SIGNATURE_MAX);
    size_t len = 0;
    s->text[profile] = text;
    for (uint32_t i = 0; text && i < s->n_signers; i++) {
        const struct signer_copy *copy = &s->signers[i];
        const struct dkim_signer signer = {
            .key = copy->key,
            .domain = copy->domain,
            .selector = copy->selector,
            .identity = copy->identity,
            .signed_s = s->unix_s,
            .expire_s = copy->expire_s,
        };
        size_t n = dkim_message_sign(&s->message, &signer, profile, text + len);
        if (n == 0) {
            return false;
        }
        len += n;
    }
    s->result.fields[profile] = (struct store_prefix){text, len};
    return text != NULL;
}

static void on_work(uv_work_t *work)
{
    struct signing *s = work->data;
    bool good = dkim_message_hash(&s->message);
    for (uint32_t i = 0; good && i < DKIM_PROFILES; i++) {
        good = !(s->profiles & 1u << i) || sign_profile(s, (enum dkim_profile)i);
    }
    s->result.good = good;
}

/* ---- on the loop ------------------------------------------------------------------------- */

static void on_signed(uv_work_t *work, int status)
{
    struct signing *s = work->data;
    s->result.good = s->result.good && status == 0;
    s->done(s->user, &s->result);
}

void signing_free(struct signing *s)
{
    for (uint32_t i = 0; s && i < s->n_signers; i++) {
        dkim_key_free(s->signers[i].key);
    }
    for (uint32_t i = 0; s && i < DKIM_PROFILES; i++) {
        free(s->text[i]);
    }
    free(s);
}

static void add_route(const struct ctl *ctl, uint32_t route, uint32_t *profiles)
{
    if (route != UINT32_MAX && ctl->config.routes[route].dkim != DKIM_PROFILES) {
        *profiles |= 1u << ctl->config.routes[route].dkim;
    }
}

/* What the sender's mail may leave by. */
static uint32_t profiles_of(const struct ctl *ctl, const struct ctl_sender *sender)
{
    uint32_t profiles = sender->has_pool ? 1u << DKIM_PROFILE_ALL : 0;
    for (uint32_t i = 0; i < sender->n_shared; i++) {
        add_route(ctl, sender->shared[i], &profiles);
    }
    if (sender->strategy == STRATEGY_CUSTOM || sender->configured == STRATEGY_CUSTOM) {
        add_route(ctl, sender->custom, &profiles);
    }
    return profiles;
}

static void copy_signer(struct signing *s, struct dkim_ring_key *key)
{
    struct signer_copy *copy = &s->signers[s->n_signers++];
    copy->key = dkim_key_ref(key->key);
    copy->expire_s = key->expire_s;
    memcpy(copy->domain, key->domain, sizeof copy->domain);
    memcpy(copy->selector, key->selector, sizeof copy->selector);
    memcpy(copy->identity, key->identity, sizeof copy->identity);
    key->n_signed++;
}

/* Which fields and which keys. False with a sentence. */
static bool prepare(struct ctl *ctl, uint32_t sender, const struct wire_message *message,
                    struct signing *s, char *ret_error, size_t error_bytes)
{
    struct dkim_ring_key *keys[DKIM_ALGORITHMS] = {NULL};
    char domain[DKIM_DOMAIN_MAX];
    if (!dkim_message_scan(message->data, message->len, &s->message, ret_error, error_bytes) ||
        !dkim_message_from(&s->message, domain, ret_error, error_bytes)) {
        return false;
    }
    if (!dkim_ring_find(&ctl->dkim[sender], domain, keys)) {
        (void)snprintf(
            ret_error, error_bytes,
            "the sender \"%s\" has no DKIM key for %s, the domain of its From field: add "
            "one to its \"dkim\", or send it as another sender",
            ctl->config.senders[sender].name, domain);
        return false;
    }
    for (uint32_t i = 0; i < DKIM_ALGORITHMS; i++) {
        if (keys[i]) {
            copy_signer(s, keys[i]);
        }
    }
    return true;
}

enum signing_begun signing_begin(struct ctl *ctl, uint32_t sender,
                                 const struct wire_message *message, int64_t unix_s,
                                 signing_done_fn done, void *user, struct signing **ret_signing,
                                 char *ret_error, size_t error_bytes)
{
    uint32_t profiles = profiles_of(ctl, &ctl->config.senders[sender]);
    if (ctl->dkim[sender].n == 0 || profiles == 0) {
        return SIGNING_NOT_WANTED;
    }
    struct signing *s = ctl_must(calloc(1, sizeof *s));
    s->profiles = profiles;
    s->unix_s = unix_s;
    s->done = done;
    s->user = user;
    s->work.data = s;
    if (!prepare(ctl, sender, message, s, ret_error, error_bytes)) {
        signing_free(s);
        return SIGNING_REFUSED;
    }
    (void)ctl_must(uv_queue_work(ctl->loop, &s->work, on_work, on_signed) == 0 ? ctl : NULL);
    *ret_signing = s;
    return SIGNING_BEGUN;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* A message that was accepted when its sender had other routes may lack the wide signature; the
 * narrow one is good everywhere. */
size_t signing_read(struct store *store, uint64_t id, enum dkim_profile profile, void *data)
{
    if (profile == DKIM_PROFILES) {
        return 0;
    }
    size_t len = store_prefix_read(store, id, profile, data, SIGNING_BYTES_MAX);
    if (len == 0 && profile == DKIM_PROFILE_ALL) {
        len = store_prefix_read(store, id, DKIM_PROFILE_STABLE, data, SIGNING_BYTES_MAX);
    }
    INVARIANT(len <= SIGNING_BYTES_MAX);
    return len;
}
