/*
 * state.c - the engine's memory: one block cut into arrays; records are found by name or by key
 * and made on first use.
 *
 * Streams and flows come and go with campaigns: when their array is full, one that has been idle
 * for long makes room (the longest of 64, round robin; a generation tells the flows of a former
 * stream). Everything else is bounded by the configuration, and a full array is a refusal.
 */
#include "strategies/parts.h"

#include <string.h>

struct strategy_limits strategy_limits_default(void)
{
    return (struct strategy_limits){.n_pools_max = 16384,
                                    .n_endpoints_max = 16384,
                                    .n_senders_max = 16384,
                                    .n_providers_max = 4096,
                                    .n_streams_max = 32768,
                                    .n_cells_max = 131072,
                                    .n_flows_max = 131072,
                                    .n_paths_max = 131072,
                                    .n_arms_max = 393216,
                                    .outage_wait_ms = 5 * MINUTE_MS,
                                    .retry_min_ms = MINUTE_MS,
                                    .pace_half_ms = 30 * MINUTE_MS};
}

const char *strategy_error_text(enum strategy_error error)
{
    static const char *const texts[] = {"no error",
#define X(name, text) [STRATEGY_E_##name] = text,
                                        STRATEGY_ERROR_MAP(X)
#undef X
    };
    return (unsigned)error < sizeof texts / sizeof texts[0] ? texts[error] : "invalid";
}

/* ---- memory ---- */

/* A cursor over the block: measures when base is null, hands out pieces otherwise. */
struct cut {
    char *base;
    size_t at;
};

static void *cut_piece(struct cut *cut, size_t n, size_t size)
{
    void *piece = cut->base == NULL ? NULL : cut->base + cut->at;

    cut->at += (n * size + 63) & ~(size_t)63;
    return piece;
}

static void cut_map(struct cut *cut, struct st_map *map, uint32_t n)
{
    uint32_t size = 16;

    while (size < 2 * n)
        size *= 2;
    map->slots = cut_piece(cut, size, sizeof map->slots[0]);
    map->mask = size - 1;
}

static void cut_engine(struct cut *cut, struct strategy_engine *e, const struct strategy_limits *l)
{
    (void)cut_piece(cut, 1, sizeof *e);
    e->pools = cut_piece(cut, l->n_pools_max, sizeof e->pools[0]);
    e->endpoints = cut_piece(cut, l->n_endpoints_max, sizeof e->endpoints[0]);
    e->senders = cut_piece(cut, l->n_senders_max, sizeof e->senders[0]);
    e->providers = cut_piece(cut, l->n_providers_max, sizeof e->providers[0]);
    e->streams = cut_piece(cut, l->n_streams_max, sizeof e->streams[0]);
    e->cells = cut_piece(cut, l->n_cells_max, sizeof e->cells[0]);
    e->flows = cut_piece(cut, l->n_flows_max, sizeof e->flows[0]);
    e->paths = cut_piece(cut, l->n_paths_max, sizeof e->paths[0]);
    e->arms = cut_piece(cut, l->n_arms_max, sizeof e->arms[0]);
    cut_map(cut, &e->names,
            l->n_pools_max + l->n_endpoints_max + l->n_senders_max + l->n_providers_max +
                l->n_streams_max);
    cut_map(cut, &e->cells_by_key, l->n_cells_max);
    cut_map(cut, &e->flows_by_key, l->n_flows_max);
    cut_map(cut, &e->paths_by_key, l->n_paths_max);
}

size_t strategy_engine_bytes(const struct strategy_limits *limits)
{
    struct cut cut = {0};
    struct strategy_engine measured;

    cut_engine(&cut, &measured, limits);
    return cut.at;
}

struct strategy_engine *strategy_engine_init(void *zeroed_memory,
                                             const struct strategy_limits *limits)
{
    struct cut cut = {.base = zeroed_memory};
    struct strategy_engine *e = zeroed_memory;

    cut_engine(&cut, e, limits);
    e->limits = *limits;
    reply_index_init(&e->replies);
    return e;
}

/* ---- names ---- */

bool st_name_ok(const char *name)
{
    return name != NULL && name[0] != '\0' &&
           strnlen(name, STRATEGY_NAME_BYTES) < STRATEGY_NAME_BYTES;
}

static const char *name_of(const struct strategy_engine *e, enum st_name_kind kind, uint32_t id)
{
    switch (kind) {
    case NAME_POOL:
        return e->pools[id].name;
    case NAME_ENDPOINT:
        return e->endpoints[id].name;
    case NAME_SENDER:
        return e->senders[id].name;
    case NAME_PROVIDER:
        return e->providers[id].name;
    case NAME_STREAM:
        break;
    }
    return e->streams[id].name;
}

static uint64_t name_key(enum st_name_kind kind, uint32_t parent, const char *name, uint32_t salt)
{
    const uint32_t head[3] = {(uint32_t)kind, parent, salt};

    return fx_hash(fx_hash(FX_HASH, head, sizeof head), name, strlen(name));
}

/* Two names with one hash (nobody has seen it yet) stand under different salts. */
static uint32_t find_salted(const struct strategy_engine *e, enum st_name_kind kind,
                            uint32_t parent, const char *name, uint64_t *ret_free_key)
{
    for (uint32_t salt = 0;; salt++) {
        *ret_free_key = name_key(kind, parent, name, salt);
        uint32_t id = st_map_get(&e->names, *ret_free_key);
        if (id == ST_NONE || strcmp(name_of(e, kind, id), name) == 0)
            return id;
    }
}

uint32_t st_find(const struct strategy_engine *e, enum st_name_kind kind, uint32_t parent,
                 const char *name)
{
    uint64_t key;

    return find_salted(e, kind, parent, name, &key);
}

/* Id of the name; a new one is counted in *n, up to n_max, and marked in *ret_new. */
static uint32_t get_named(struct strategy_engine *e, enum st_name_kind kind, const char *name,
                          uint32_t *n, uint32_t n_max, bool *ret_new)
{
    uint64_t key;
    uint32_t id = find_salted(e, kind, 0, name, &key);

    *ret_new = id == ST_NONE;
    if (id != ST_NONE)
        return id;
    if (*n == n_max) {
        *ret_new = false;
        return ST_NONE;
    }
    id = (*n)++;
    st_map_put(&e->names, key, id);
    return id;
}

static void put_name(char at[STRATEGY_NAME_BYTES], const char *name)
{
    (void)snprintf(at, STRATEGY_NAME_BYTES, "%s", name);
}

uint32_t st_pool_get(struct strategy_engine *e, const char *name)
{
    bool is_new;
    uint32_t id = get_named(e, NAME_POOL, name, &e->head.n_pools, e->limits.n_pools_max, &is_new);

    if (is_new) {
        put_name(e->pools[id].name, name);
        e->pools[id].first_address = e->pools[id].last_address = ST_NONE;
    }
    return id;
}

uint32_t st_endpoint_get(struct strategy_engine *e, const char *name)
{
    bool is_new;
    uint32_t id =
        get_named(e, NAME_ENDPOINT, name, &e->head.n_endpoints, e->limits.n_endpoints_max, &is_new);

    if (is_new) {
        put_name(e->endpoints[id].name, name);
        e->endpoints[id].named_provider = ST_NONE;
        e->endpoints[id].pool = e->endpoints[id].next_in_pool = ST_NONE;
    }
    return id;
}

uint32_t st_sender_get(struct strategy_engine *e, const char *name)
{
    bool is_new;
    uint32_t id =
        get_named(e, NAME_SENDER, name, &e->head.n_senders, e->limits.n_senders_max, &is_new);

    if (is_new) {
        put_name(e->senders[id].name, name);
        e->senders[id].first_cell = e->senders[id].pool = e->senders[id].v30_given = ST_NONE;
        e->senders[id].day = e->senders[id].first_day = (uint32_t)(e->head.now_ms / DAY_MS);
    }
    return id;
}

uint32_t st_provider_get(struct strategy_engine *e, const char *name)
{
    bool is_new;
    uint32_t id =
        get_named(e, NAME_PROVIDER, name, &e->head.n_providers, e->limits.n_providers_max, &is_new);

    if (id != ST_NONE)
        e->providers[id].wait_ms = e->limits.outage_wait_ms;
    if (is_new) {
        put_name(e->providers[id].name, name);
        for (unsigned i = 0; i < 2; i++)
            e->providers[id].ok_endpoint[i] = e->providers[id].alarm_endpoint[i] = ST_NONE;
    }
    return id;
}

bool strategy_provider_fits(const struct strategy_engine *e, const char *name, uint32_t spare)
{
    return st_name_ok(name) && (st_find(e, NAME_PROVIDER, 0, name) != ST_NONE ||
                                e->head.n_providers + spare < e->limits.n_providers_max);
}

/* ---- streams and flows: reused ---- */

static uint64_t pair_key(uint32_t a, uint32_t b)
{
    return (uint64_t)a << 32 | b;
}

/* Of the next SAMPLE records behind the hand, the one that was idle longest. */
#define SAMPLE 64u
static uint32_t oldest_stream(struct strategy_engine *e)
{
    uint32_t oldest = e->head.stream_hand;

    for (uint32_t i = 0; i < SAMPLE; i++) {
        uint32_t id = (e->head.stream_hand + i) % e->head.n_streams;
        oldest = e->streams[id].last_ms < e->streams[oldest].last_ms ? id : oldest;
    }
    e->head.stream_hand = (e->head.stream_hand + SAMPLE) % e->head.n_streams;
    return oldest;
}

static uint32_t oldest_flow(struct strategy_engine *e)
{
    uint32_t oldest = e->head.flow_hand;

    for (uint32_t i = 0; i < SAMPLE; i++) {
        uint32_t id = (e->head.flow_hand + i) % e->head.n_flows;
        oldest = e->flows[id].last_ms < e->flows[oldest].last_ms ? id : oldest;
    }
    e->head.flow_hand = (e->head.flow_hand + SAMPLE) % e->head.n_flows;
    return oldest;
}

/* Its flows stay behind: their generation is not that of the next stream with this id. */
static uint32_t stream_make_room(struct strategy_engine *e)
{
    uint32_t id = oldest_stream(e);
    uint64_t key;

    (void)find_salted(e, NAME_STREAM, e->streams[id].sender, e->streams[id].name, &key);
    st_map_remove(&e->names, key);
    e->head.counters.n_streams_reused++;
    return id;
}

static bool is_transactional(const char *stream)
{
    return strncmp(stream, "transactional", 13) == 0 && (stream[13] == '\0' || stream[13] == ':');
}

uint32_t st_stream_get(struct strategy_engine *e, uint32_t sender, const char *name)
{
    uint64_t key;
    uint32_t id = find_salted(e, NAME_STREAM, sender, name, &key);

    if (id != ST_NONE)
        return id;
    id = e->head.n_streams < e->limits.n_streams_max ? e->head.n_streams++ : stream_make_room(e);
    e->streams[id] = (struct st_stream){.sender = sender,
                                        .generation = e->streams[id].generation + 1,
                                        .is_transactional = is_transactional(name),
                                        .content_endpoint = ST_NONE,
                                        .last_ms = e->head.now_ms};
    put_name(e->streams[id].name, name);
    (void)find_salted(e, NAME_STREAM, sender, name, &key);
    st_map_put(&e->names, key, id);
    return id;
}

static uint32_t flow_make_room(struct strategy_engine *e)
{
    uint32_t id = oldest_flow(e);

    st_map_remove(&e->flows_by_key, pair_key(e->flows[id].stream, e->flows[id].provider));
    e->head.counters.n_flows_reused++;
    return id;
}

static void flow_start(struct strategy_engine *e, uint32_t id, uint32_t stream, uint32_t provider,
                       uint32_t cell)
{
    e->flows[id] = (struct st_flow){.stream = stream,
                                    .generation = e->streams[stream].generation,
                                    .provider = provider,
                                    .cell = cell,
                                    .last_ms = e->head.now_ms,
                                    .wait_ms = NEVER_MS};
}

uint32_t st_flow_find(const struct strategy_engine *e, uint32_t stream, uint32_t provider)
{
    uint32_t id = st_map_get(&e->flows_by_key, pair_key(stream, provider));

    return id != ST_NONE && e->flows[id].generation == e->streams[stream].generation ? id : ST_NONE;
}

uint32_t st_flow_get(struct strategy_engine *e, uint32_t stream, uint32_t provider)
{
    const struct st_stream *s = &e->streams[stream];
    uint32_t id = st_map_get(&e->flows_by_key, pair_key(stream, provider));

    if (id != ST_NONE && e->flows[id].generation == s->generation)
        return id;
    uint32_t cell = st_cell_get(e, s->sender, s->is_transactional, provider);
    if (cell == ST_NONE)
        return ST_NONE;
    if (id == ST_NONE) {
        id = e->head.n_flows < e->limits.n_flows_max ? e->head.n_flows++ : flow_make_room(e);
        st_map_put(&e->flows_by_key, pair_key(stream, provider), id);
    }
    flow_start(e, id, stream, provider, cell);
    return id;
}

/* ---- cells, paths, arms ---- */

static uint64_t cell_key(uint32_t sender, bool transactional, uint32_t provider)
{
    return pair_key(sender, provider << 1 | transactional);
}

uint32_t st_cell_find(const struct strategy_engine *e, uint32_t sender, bool transactional,
                      uint32_t provider)
{
    return st_map_get(&e->cells_by_key, cell_key(sender, transactional, provider));
}

uint32_t st_cell_get(struct strategy_engine *e, uint32_t sender, bool transactional,
                     uint32_t provider)
{
    uint32_t id = st_cell_find(e, sender, transactional, provider);

    if (id != ST_NONE || e->head.n_cells == e->limits.n_cells_max)
        return id;
    id = e->head.n_cells++;
    struct st_cell *cell = &e->cells[id];
    cell->sender = sender;
    cell->provider = provider;
    cell->is_transactional = transactional;
    cell->next_of_sender = e->senders[sender].first_cell;
    cell->day = cell->first_day = (uint32_t)(e->head.now_ms / DAY_MS);
    memset(cell->arm, 0xff, sizeof cell->arm);
    e->senders[sender].first_cell = id;
    st_map_put(&e->cells_by_key, cell_key(sender, transactional, provider), id);
    return id;
}

uint32_t st_path_find(const struct strategy_engine *e, uint32_t endpoint, uint32_t provider)
{
    return st_map_get(&e->paths_by_key, pair_key(endpoint, provider));
}

uint32_t st_path_get(struct strategy_engine *e, uint32_t endpoint, uint32_t provider)
{
    uint32_t id = st_path_find(e, endpoint, provider);

    if (id != ST_NONE || e->head.n_paths == e->limits.n_paths_max)
        return id;
    id = e->head.n_paths++;
    e->paths[id].endpoint = endpoint;
    e->paths[id].provider = provider;
    e->paths[id].pace.half_ms = e->limits.pace_half_ms;
    const struct st_endpoint *from = &e->endpoints[endpoint];
    st_warmup_start(&e->paths[id].warmup, e->head.now_ms, from->is_address && !from->no_warmup);
    st_map_put(&e->paths_by_key, pair_key(endpoint, provider), id);
    return id;
}

uint32_t st_arm_get(struct strategy_engine *e, uint32_t cell, uint32_t slot)
{
    struct st_cell *c = &e->cells[cell];

    if (c->arm[slot] != ST_NONE)
        return c->arm[slot];
    uint32_t path = st_path_get(e, e->senders[c->sender].slot_endpoint[slot], c->provider);
    if (path == ST_NONE || e->head.n_arms == e->limits.n_arms_max)
        return ST_NONE;
    c->arm[slot] = e->head.n_arms++;
    e->arms[c->arm[slot]] =
        (struct st_arm){.share = 10000, .path = path, .index_ppm = PPM, .index_var_ppm = 0};
    return c->arm[slot];
}

uint32_t st_slot_of(const struct st_sender *sender, uint32_t endpoint)
{
    for (uint32_t slot = 0; slot < sender->n_slots; slot++) {
        if (sender->slot_endpoint[slot] == endpoint)
            return slot;
    }
    return ST_NONE;
}

void st_maps_rebuild(struct strategy_engine *e)
{
    static const enum st_name_kind kinds[] = {NAME_POOL, NAME_ENDPOINT, NAME_SENDER, NAME_PROVIDER,
                                              NAME_STREAM};
    const uint32_t n[] = {e->head.n_pools, e->head.n_endpoints, e->head.n_senders,
                          e->head.n_providers, e->head.n_streams};
    uint64_t key;

    for (unsigned k = 0; k < 5; k++) {
        for (uint32_t id = 0; id < n[k]; id++) {
            uint32_t parent = kinds[k] == NAME_STREAM ? e->streams[id].sender : 0;
            (void)find_salted(e, kinds[k], parent, name_of(e, kinds[k], id), &key);
            st_map_put(&e->names, key, id);
        }
    }
    for (uint32_t i = 0; i < e->head.n_cells; i++)
        st_map_put(&e->cells_by_key,
                   cell_key(e->cells[i].sender, e->cells[i].is_transactional, e->cells[i].provider),
                   i);
    for (uint32_t i = 0; i < e->head.n_flows; i++)
        st_map_put(&e->flows_by_key, pair_key(e->flows[i].stream, e->flows[i].provider), i);
    for (uint32_t i = 0; i < e->head.n_paths; i++)
        st_map_put(&e->paths_by_key, pair_key(e->paths[i].endpoint, e->paths[i].provider), i);
}
