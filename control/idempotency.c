/* idempotency.c - see idempotency.h. */
#include "control/idempotency.h"

#include "control/events.h"

#include <openssl/evp.h>

#define SWEEP_MAX 2000u
#define BUCKETS   (IDEMPOTENCY_KEEP_S / IDEMPOTENCY_BUCKET_S + 1)

static_assert(IDEMPOTENCY_KEY_MAX + CONFIG_NAME_MAX + 32 <= STORE_NOTE_NAME_MAX, "name of a note");

bool idempotency_key_valid(const char *key)
{
    size_t n = 0;
    for (; key[n]; n++) {
        if (key[n] < 0x20 || key[n] > 0x7e || n == IDEMPOTENCY_KEY_MAX) {
            return false;
        }
    }
    return n > 0;
}

/* Each part with its length, so that nothing runs into its neighbour. */
static void add_part(EVP_MD_CTX *md, const void *bytes, size_t len)
{
    uint64_t n = len;
    (void)EVP_DigestUpdate(md, &n, sizeof n);
    (void)EVP_DigestUpdate(md, bytes, len);
}

void idempotency_digest(const char *mail_from, const json_t *rcpt_to, const char *stream,
                        const uint8_t *message, size_t len, char digest[IDEMPOTENCY_DIGEST_TEXT])
{
    uint8_t hash[32];
    const json_t *recipient;
    size_t i;
    EVP_MD_CTX *md = ctl_must(EVP_MD_CTX_new());
    (void)ctl_must(EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 ? md : NULL);
    add_part(md, mail_from, strlen(mail_from));
    add_part(md, stream, strlen(stream));
    json_array_foreach(rcpt_to, i, recipient)
    {
        add_part(md, json_string_value(recipient), json_string_length(recipient));
    }
    add_part(md, message, len);
    (void)EVP_DigestFinal_ex(md, hash, NULL);
    EVP_MD_CTX_free(md);
    for (i = 0; i < sizeof hash; i++) {
        (void)snprintf(digest + 2 * i, 3, "%02x", hash[i]);
    }
}

/* ---- the notes --------------------------------------------------------------------------- */

static int64_t bucket_of(int64_t now_ms)
{
    return now_ms / 1000 / IDEMPOTENCY_BUCKET_S;
}

static void name_of(const struct idempotency *i, int64_t bucket, char name[STORE_NOTE_NAME_MAX + 1])
{
    (void)snprintf(name, STORE_NOTE_NAME_MAX + 1, "idem/%lld/%s/%s", (long long)bucket, i->sender,
                   i->key);
}

static json_t *find(struct ctl *ctl, const struct idempotency *i, int64_t now_ms)
{
    char name[STORE_NOTE_NAME_MAX + 1];
    for (int64_t age = 0; age < BUCKETS; age++) {
        name_of(i, bucket_of(now_ms) - age, name);
        char *text = store_note_read(ctl->store, name);
        json_t *note = text ? json_loads(text, 0, NULL) : NULL;
        free(text);
        if (note) {
            return note;
        }
    }
    return NULL;
}

static bool is_under_way(const struct ctl *ctl, const struct idempotency *i)
{
    for (const struct idempotency *at = ctl->idempotency; at; at = at->next) {
        if (strcmp(at->key, i->key) == 0 && strcmp(at->sender, i->sender) == 0) {
            return true;
        }
    }
    return false;
}

enum idempotency_result idempotency_begin(struct ctl *ctl, struct idempotency *i, int64_t now_ms,
                                          json_t **ret_answer)
{
    if (is_under_way(ctl, i)) {
        return IDEMPOTENCY_UNDER_WAY;
    }
    json_t *note = find(ctl, i, now_ms);
    if (!note) {
        i->next = ctl->idempotency;
        ctl->idempotency = i;
        return IDEMPOTENCY_NEW;
    }
    const char *digest = json_string_value(json_object_get(note, "digest"));
    if (!digest || strcmp(digest, i->digest) != 0) {
        json_decref(note);
        return IDEMPOTENCY_DIFFERENT;
    }
    (void)json_object_del(note, "digest");
    *ret_answer = note;
    return IDEMPOTENCY_SAME;
}

void idempotency_note(struct idempotency *i, int64_t now_ms, uint64_t id, uint32_t recipients,
                      uint64_t bytes)
{
    char id_text[EVENT_ID_TEXT];
    name_of(i, bucket_of(now_ms), i->name);
    (void)snprintf(i->text, sizeof i->text,
                   "{\"id\":\"%s\",\"recipients\":%u,\"bytes\":%llu,\"digest\":\"%s\"}",
                   event_id_text(id, id_text), recipients, (unsigned long long)bytes, i->digest);
}

void idempotency_end(struct ctl *ctl, struct idempotency *i)
{
    struct idempotency **at = &ctl->idempotency;
    while (*at && *at != i) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = i->next;
    }
}

/* ---- sweeping ---------------------------------------------------------------------------- */

struct sweep {
    struct ctl *ctl;
    int64_t oldest; /* bucket that is kept */
    uint32_t n;
};

/* Names are in order, so the oldest buckets come first. */
static bool on_note(void *user, const char *name, const char *text)
{
    struct sweep *sweep = user;
    (void)text;
    if (strtoll(name + sizeof "idem/" - 1, NULL, 10) >= sweep->oldest || sweep->n == SWEEP_MAX) {
        return false;
    }
    store_note(sweep->ctl->store, name, NULL);
    sweep->n++;
    return true;
}

bool idempotency_sweep(struct ctl *ctl, int64_t now_ms)
{
    struct sweep sweep = {ctl, bucket_of(now_ms) - BUCKETS + 1, 0};
    store_each_note(ctl->store, "idem/", on_note, &sweep);
    return sweep.n == SWEEP_MAX;
}
