/*
 * save.c - the whole state as bytes and back. All records are plain values with indices, so the
 * image is a header (magic, version, sizes of this build's records), the records in use, and a
 * hash. The tables of names and keys are made again.
 */
#include "strategies/parts.h"

#include <string.h>

#define SAVE_MAGIC    UINT64_C(0x7773747261743031) /* "wstrat01" */
#define SAVE_SECTIONS 9

struct section {
    void *at;
    uint32_t *n, n_max;
    size_t size;
};

struct image_head {
    uint64_t magic, layout, hash;
    struct st_head head;
};

static void sections(struct strategy_engine *e, struct section s[SAVE_SECTIONS])
{
    const struct strategy_limits *l = &e->limits;
    const struct section all[SAVE_SECTIONS] = {
        {e->pools, &e->head.n_pools, l->n_pools_max, sizeof e->pools[0]},
        {e->endpoints, &e->head.n_endpoints, l->n_endpoints_max, sizeof e->endpoints[0]},
        {e->senders, &e->head.n_senders, l->n_senders_max, sizeof e->senders[0]},
        {e->providers, &e->head.n_providers, l->n_providers_max, sizeof e->providers[0]},
        {e->streams, &e->head.n_streams, l->n_streams_max, sizeof e->streams[0]},
        {e->cells, &e->head.n_cells, l->n_cells_max, sizeof e->cells[0]},
        {e->flows, &e->head.n_flows, l->n_flows_max, sizeof e->flows[0]},
        {e->paths, &e->head.n_paths, l->n_paths_max, sizeof e->paths[0]},
        {e->arms, &e->head.n_arms, l->n_arms_max, sizeof e->arms[0]}};

    memcpy(s, all, sizeof all);
}

/* Sections of an engine that is only read. */
static void sections_const(const struct strategy_engine *e, struct strategy_engine *copy,
                           struct section s[SAVE_SECTIONS])
{
    *copy = *e;
    sections(copy, s);
}

static uint64_t layout(const struct section s[SAVE_SECTIONS])
{
    uint64_t hash = FX_HASH;

    for (unsigned i = 0; i < SAVE_SECTIONS; i++)
        hash = fx_hash(hash, &s[i].size, sizeof s[i].size);
    return hash;
}

/* Eight bytes at a time: an image may have 100 MB. All sizes are multiples of 4. */
static uint64_t hash_words(uint64_t hash, const void *bytes, size_t n_bytes)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i + 4 <= n_bytes; i += 4) {
        uint32_t word;
        memcpy(&word, at + i, sizeof word);
        hash = fx_mix(hash ^ word) + i;
    }
    return hash;
}

uint64_t strategy_state_hash(const struct strategy_engine *e)
{
    struct strategy_engine copy;
    struct section s[SAVE_SECTIONS];
    uint64_t hash = hash_words(FX_HASH, &e->head, sizeof e->head);

    sections_const(e, &copy, s);
    for (unsigned i = 0; i < SAVE_SECTIONS; i++)
        hash = hash_words(hash, s[i].at, *s[i].n * s[i].size);
    return hash;
}

size_t strategy_save_bytes(const struct strategy_engine *e)
{
    struct strategy_engine copy;
    struct section s[SAVE_SECTIONS];
    size_t n_bytes = sizeof(struct image_head);

    sections_const(e, &copy, s);
    for (unsigned i = 0; i < SAVE_SECTIONS; i++)
        n_bytes += *s[i].n * s[i].size;
    return n_bytes;
}

void strategy_save(const struct strategy_engine *e, void *ret_bytes)
{
    struct strategy_engine copy;
    struct section s[SAVE_SECTIONS];
    char *at = ret_bytes;

    sections_const(e, &copy, s);
    struct image_head head = {
        .magic = SAVE_MAGIC, .layout = layout(s), .hash = strategy_state_hash(e), .head = e->head};
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    for (unsigned i = 0; i < SAVE_SECTIONS; i++) {
        memcpy(at, s[i].at, *s[i].n * s[i].size);
        at += *s[i].n * s[i].size;
    }
}

/* Counts of the image against the limits and against its length. */
static bool fits(const struct section s[SAVE_SECTIONS], size_t n_bytes)
{
    size_t want = sizeof(struct image_head);

    for (unsigned i = 0; i < SAVE_SECTIONS; i++) {
        if (*s[i].n > s[i].n_max)
            return false;
        want += *s[i].n * s[i].size;
    }
    return want == n_bytes;
}

static void forget(struct strategy_engine *e, const struct section s[SAVE_SECTIONS])
{
    for (unsigned i = 0; i < SAVE_SECTIONS; i++)
        memset(s[i].at, 0, *s[i].n * s[i].size);
    e->head = (struct st_head){0};
}

enum strategy_error strategy_load(struct strategy_engine *e, const void *bytes, size_t n_bytes)
{
    struct section s[SAVE_SECTIONS];
    struct image_head head;
    const char *at = bytes;

    sections(e, s);
    if (n_bytes < sizeof head || e->head.n_endpoints + e->head.n_senders != 0)
        return STRATEGY_E_IMAGE;
    memcpy(&head, at, sizeof head);
    if (head.magic != SAVE_MAGIC || head.layout != layout(s))
        return STRATEGY_E_IMAGE;
    e->head = head.head;
    if (!fits(s, n_bytes)) {
        e->head = (struct st_head){0};
        return STRATEGY_E_IMAGE;
    }
    at += sizeof head;
    for (unsigned i = 0; i < SAVE_SECTIONS; i++) {
        memcpy(s[i].at, at, *s[i].n * s[i].size);
        at += *s[i].n * s[i].size;
    }
    if (strategy_state_hash(e) != head.hash) {
        forget(e, s);
        return STRATEGY_E_IMAGE;
    }
    st_maps_rebuild(e);
    return STRATEGY_OK;
}
