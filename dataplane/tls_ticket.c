/*
 * tls_ticket.c - tickets to resume sessions with (RFC 8446 2.2, RFC 5077).
 *
 * A table of buckets with four places each; a key has one bucket, so a destination keeps at most
 * four tickets, and a new one takes the place of the oldest. The key is a digest of all that a
 * verified session depends on: who talks to whom, and what the policy asked of the peer. A server
 * sends no certificate when a session is resumed; the verdict is that of the first handshake, and
 * it is only taken over where the question was the same.
 *
 * A ticket lives for as long as the server says, and at most until two hours after the handshake in
 * which the peer showed its certificate, however often the session was resumed since: certificates
 * expire. It is taken out to be used; a TLS 1.2 one is put back when the server accepted it.
 */
#include "dataplane/tls_private.h"

#define PLACES 4u /* of a bucket */

bool tls_tickets_init(struct tls_tickets *t, uint32_t n)
{
    t->n_buckets = 1;
    while (t->n_buckets * PLACES < n) {
        t->n_buckets *= 2;
    }
    t->places = calloc((size_t)t->n_buckets * PLACES, sizeof t->places[0]);
    return t->places != NULL;
}

void tls_tickets_free(struct tls_tickets *t)
{
    for (uint32_t i = 0; t->places && i < t->n_buckets * PLACES; i++) {
        SSL_SESSION_free(t->places[i].session);
    }
    free(t->places);
}

static struct tls_ticket *bucket(const struct tls_tickets *t, const uint8_t *key)
{
    return &t->places[(be32_get(key) & (t->n_buckets - 1)) * PLACES];
}

void tls_ticket_put(struct tls_context *context, const uint8_t *key, SSL_SESSION *session,
                    uint64_t due_ns)
{
    struct tls_ticket *places = bucket(&context->tickets, key), *place = &places[0];
    for (uint32_t i = 1; i < PLACES && place->session; i++) {
        if (!places[i].session || places[i].due_ns < place->due_ns) {
            place = &places[i];
        }
    }
    if (place->session) {
        SSL_SESSION_free(place->session);
        context->counters.tickets_dropped++;
    }
    memcpy(place->key, key, sizeof place->key);
    place->session = session;
    place->due_ns = due_ns;
    context->counters.tickets_stored++;
}

SSL_SESSION *tls_ticket_take(struct tls_context *context, uint64_t now_ns, const uint8_t *key,
                             uint64_t *ret_due_ns)
{
    struct tls_ticket *places = bucket(&context->tickets, key), *newest = NULL;
    for (uint32_t i = 0; i < PLACES; i++) {
        if (places[i].session && places[i].due_ns <= now_ns) {
            SSL_SESSION_free(places[i].session);
            places[i].session = NULL;
        }
        bool fits = places[i].session && memcmp(places[i].key, key, TLS_KEY_BYTES) == 0;
        if (fits && (!newest || places[i].due_ns > newest->due_ns)) {
            newest = &places[i];
        }
    }
    if (!newest) {
        return NULL;
    }
    SSL_SESSION *session = newest->session;
    newest->session = NULL;
    *ret_due_ns = newest->due_ns;
    return session;
}

/* ---- the key ----------------------------------------------------------------------------- */

/* Each field with its length, so that no two requests give the same bytes. */
static bool add(EVP_MD_CTX *digest, const void *bytes, size_t len)
{
    uint64_t prefix = len;
    return EVP_DigestUpdate(digest, &prefix, sizeof prefix) == 1 &&
           EVP_DigestUpdate(digest, bytes, len) == 1;
}

static bool add_text(EVP_MD_CTX *digest, const char *text)
{
    return add(digest, text ? text : "", text ? strlen(text) + 1 : 0);
}

static bool add_policy(EVP_MD_CTX *digest, const struct tls_request *request)
{
    const uint8_t policy[] = {(uint8_t)request->policy, request->testing};
    bool good = add(digest, policy, sizeof policy) && add_text(digest, request->server_name);
    for (uint32_t i = 0; i < request->n_names; i++) {
        good = good && add_text(digest, request->names[i]);
    }
    for (uint32_t i = 0; i < request->n_tlsa; i++) {
        const struct tls_tlsa *r = &request->tlsa[i];
        const uint8_t kind[] = {r->usage, r->selector, r->matching_type};
        good = good && add(digest, kind, sizeof kind) && add(digest, r->data, r->len);
    }
    return good;
}

bool tls_ticket_key(struct tls_context *context, const struct tls_request *request,
                    uint8_t ret_key[TLS_KEY_BYTES])
{
    EVP_MD_CTX *digest = context->digest;
    uint8_t hash[EVP_MAX_MD_SIZE];
    bool good = EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                add(digest, &request->source, sizeof request->source) &&
                add(digest, &request->peer, sizeof request->peer) &&
                add(digest, &request->peer_port, sizeof request->peer_port) &&
                add_policy(digest, request) && EVP_DigestFinal_ex(digest, hash, NULL) == 1;
    if (good) {
        memcpy(ret_key, hash, TLS_KEY_BYTES);
    }
    return good;
}
