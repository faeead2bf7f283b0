/*
 * dns_cache.c - answers by domain: a hash table and a ring in the order of arrival; when it is full
 * the oldest goes. An answer takes room for the targets that it has.
 */
#include "control/dns_private.h"

#include "tcp/utcp_siphash.h"

struct entry {
    struct entry *next; /* of its bucket */
    char *domain;
    uint64_t until_ms;
    struct dns_answer *answer; /* shorter than its type: n_targets of them */
};

struct dns_cache {
    struct entry **buckets;
    struct entry **ring; /* entries_max long; null: free */
    uint32_t n_buckets, max, oldest, count;
    uint8_t key[DNS_KEY_BYTES];
};

struct dns_cache *dns_cache_new(uint32_t entries_max, const uint8_t key[DNS_KEY_BYTES])
{
    struct dns_cache *cache = calloc(1, sizeof *cache);
    if (!cache) {
        return NULL;
    }
    memcpy(cache->key, key, sizeof cache->key);
    cache->max = entries_max;
    cache->n_buckets = 1;
    while (cache->n_buckets < entries_max) {
        cache->n_buckets *= 2;
    }
    cache->buckets = calloc(cache->n_buckets, sizeof cache->buckets[0]);
    cache->ring = calloc(entries_max, sizeof cache->ring[0]);
    if (!cache->buckets || !cache->ring) {
        dns_cache_free(cache);
        return NULL;
    }
    return cache;
}

static void entry_free(struct entry *entry)
{
    free(entry->domain);
    free(entry->answer);
    free(entry);
}

void dns_cache_free(struct dns_cache *cache)
{
    for (uint32_t i = 0; cache && cache->ring && i < cache->max; i++) {
        if (cache->ring[i]) {
            entry_free(cache->ring[i]);
        }
    }
    if (cache) {
        free(cache->buckets);
        free(cache->ring);
    }
    free(cache);
}

/* Where the pointer to the entry stands: in its bucket, or at the end of it. */
static struct entry **place(const struct dns_cache *cache, const char *domain)
{
    uint64_t hash = utcp_siphash(cache->key, (const uint8_t *)domain, strlen(domain));
    struct entry **at = &cache->buckets[hash & (cache->n_buckets - 1)];
    while (*at && strcmp((*at)->domain, domain) != 0) {
        at = &(*at)->next;
    }
    return at;
}

const struct dns_answer *dns_cache_get(struct dns_cache *cache, const char *domain, uint64_t now_ms)
{
    const struct entry *entry = *place(cache, domain);
    return entry && entry->until_ms > now_ms ? entry->answer : NULL;
}

static struct dns_answer *answer_copy(const struct dns_answer *answer)
{
    struct dns_answer *copy = malloc(dns_answer_bytes(answer));
    if (copy) {
        dns_answer_copy(copy, answer);
    }
    return copy;
}

static void evict(struct dns_cache *cache, uint32_t position)
{
    struct entry *entry = cache->ring[position], **at = place(cache, entry->domain);
    *at = entry->next;
    entry_free(entry);
    cache->ring[position] = NULL;
    cache->count--;
}

void dns_cache_put(struct dns_cache *cache, const char *domain, const struct dns_answer *answer,
                   uint64_t until_ms)
{
    struct dns_answer *copy = answer_copy(answer);
    struct entry **at = place(cache, domain), *entry = *at;
    if (copy && entry) {
        free(entry->answer);
        entry->answer = copy;
        entry->until_ms = until_ms;
        return;
    }
    entry = copy ? calloc(1, sizeof *entry) : NULL;
    if (!entry || !(entry->domain = strdup(domain))) {
        free(entry);
        free(copy);
        return;
    }
    if (cache->ring[cache->oldest]) {
        evict(cache, cache->oldest);
    }
    entry->answer = copy;
    entry->until_ms = until_ms;
    cache->ring[cache->oldest] = entry;
    cache->oldest = (cache->oldest + 1) % cache->max;
    at = place(cache, domain);
    entry->next = *at;
    *at = entry;
    cache->count++;
}

uint32_t dns_cache_count(const struct dns_cache *cache)
{
    return cache->count;
}
