/* grant.c - see grant.h. A table of sets: a flow has its place in the set that its hash names. */
#include "strategies/grant.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4u

struct grant_flow {
    char sender[STRATEGY_NAME_BYTES], stream[STRATEGY_NAME_BYTES], provider[STRATEGY_NAME_BYTES];
    bool is_used;
    uint64_t planned_ms, retry_ms; /* retry_ms: NEVER_MS when nothing was held */
    uint32_t down_mask;
    uint32_t n_left; /* sum of n */
    uint32_t n[STRATEGY_SLOTS_MAX];
    const char *path[STRATEGY_SLOTS_MAX];
    enum strategy_cause cause;
    struct strategy_evidence evidence;
};

struct grants {
    struct strategy_engine *engine;
    uint32_t n_sets;
    struct grant_flow *flows; /* n_sets x WAYS */
};

struct grants *grants_new(struct strategy_engine *engine, uint32_t n_flows_max)
{
    struct grants *g = calloc(1, sizeof *g);

    if (g == NULL)
        return NULL;
    g->engine = engine;
    g->n_sets = n_flows_max / WAYS + 1;
    g->flows = calloc((size_t)g->n_sets * WAYS, sizeof g->flows[0]);
    if (g->flows == NULL) {
        free(g);
        return NULL;
    }
    return g;
}

void grants_free(struct grants *g)
{
    if (g != NULL)
        free(g->flows);
    free(g);
}

/* ---- the table ---- */

static struct strategy_key key_of(const struct grant_flow *flow)
{
    return (struct strategy_key){flow->sender, flow->stream, flow->provider};
}

/* The flow may be gone from the engine (it reuses old ones): then nothing is owed. */
static void give_back(struct grants *g, struct grant_flow *flow, uint64_t now_ms)
{
    const struct strategy_key key = key_of(flow);

    for (uint32_t slot = 0; flow->n_left > 0 && slot < STRATEGY_SLOTS_MAX; slot++) {
        if (flow->n[slot] == 0)
            continue;
        (void)strategy_return(g->engine, now_ms, &key, flow->path[slot], flow->n[slot]);
        flow->n_left -= flow->n[slot];
        flow->n[slot] = 0;
    }
    flow->retry_ms = NEVER_MS;
    flow->planned_ms = 0;
}

static bool fits(const char *name)
{
    return strlen(name) < STRATEGY_NAME_BYTES;
}

static bool is_of(const struct grant_flow *flow, const struct strategy_key *key)
{
    return flow->is_used && strcmp(flow->sender, key->sender) == 0 &&
           strcmp(flow->stream, key->stream) == 0 && strcmp(flow->provider, key->provider) == 0;
}

static struct grant_flow *set_of(const struct grants *g, const struct strategy_key *key)
{
    uint64_t hash = fx_hash(FX_HASH, key->sender, strlen(key->sender) + 1);

    hash = fx_hash(hash, key->stream, strlen(key->stream) + 1);
    hash = fx_hash(hash, key->provider, strlen(key->provider) + 1);
    return &g->flows[fx_mix(hash) % g->n_sets * WAYS];
}

static struct grant_flow *find(const struct grants *g, const struct strategy_key *key)
{
    struct grant_flow *set = set_of(g, key);

    for (uint32_t i = 0; i < WAYS; i++) {
        if (is_of(&set[i], key))
            return &set[i];
    }
    return NULL;
}

static struct grant_flow *find_or_make(struct grants *g, const struct strategy_key *key,
                                       uint64_t now_ms)
{
    struct grant_flow *set = set_of(g, key), *flow = find(g, key);

    if (flow != NULL)
        return flow;
    flow = set;
    for (uint32_t i = 1; i < WAYS && flow->is_used; i++) {
        if (!set[i].is_used || set[i].planned_ms < flow->planned_ms)
            flow = &set[i];
    }
    if (flow->is_used)
        give_back(g, flow, now_ms);
    *flow = (struct grant_flow){.is_used = true, .retry_ms = NEVER_MS};
    memcpy(flow->sender, key->sender, strlen(key->sender) + 1);
    memcpy(flow->stream, key->stream, strlen(key->stream) + 1);
    memcpy(flow->provider, key->provider, strlen(key->provider) + 1);
    return flow;
}

/* ---- asking ---- */

static enum strategy_error plan(struct grants *g, struct grant_flow *flow, uint64_t now_ms,
                                const struct grant_request *request, bool *ret_is_new)
{
    struct strategy_counters before, after;
    struct strategy_split split;
    const struct strategy_plan ask = {
        .key = key_of(flow),
        .n = request->n + fx_min32(request->n_behind, UINT32_MAX / 2),
        .n_retries = request->is_retry ? request->n : 0,
        .never_mailed_ppm = request->never_mailed_ppm,
        .down_mask = request->down_mask,
    };

    strategy_counters(g->engine, &before);
    enum strategy_error error = strategy_plan(g->engine, now_ms, &ask, &split);
    if (error != STRATEGY_OK)
        return error;
    strategy_counters(g->engine, &after);
    *ret_is_new = after.n_records != before.n_records;
    flow->planned_ms = now_ms;
    flow->down_mask = request->down_mask;
    flow->retry_ms = split.retry_ms;
    flow->cause = split.cause;
    flow->evidence = split.evidence;
    for (uint32_t i = 0; i < split.n_parts; i++) {
        flow->n[split.part[i].slot] = split.part[i].n;
        flow->path[split.part[i].slot] = split.part[i].path;
        flow->n_left += split.part[i].n;
    }
    return STRATEGY_OK;
}

/* The slot preferred, else the one with the most left; UINT32_MAX: all that have any are busy. */
static uint32_t choose(const struct grant_flow *flow, const struct grant_request *request)
{
    uint32_t best = UINT32_MAX;

    for (uint32_t slot = 0; slot < STRATEGY_SLOTS_MAX; slot++) {
        if (flow->n[slot] == 0 || (request->busy_mask >> slot & 1) != 0)
            continue;
        if (slot == request->prefer_slot)
            return slot;
        if (best == UINT32_MAX || flow->n[slot] > flow->n[best])
            best = slot;
    }
    return best;
}

/* A transaction goes to one endpoint: what other addresses of the flow were granted moves there. */
static void gather(struct grants *g, struct grant_flow *flow, uint64_t now_ms, uint32_t to,
                   uint32_t wanted)
{
    const struct strategy_key key = key_of(flow);

    for (uint32_t slot = 0; slot < STRATEGY_SLOTS_MAX && flow->n[to] < wanted; slot++) {
        if (slot == to || flow->n[slot] == 0)
            continue;
        uint32_t n = fx_min32(flow->n[slot], wanted - flow->n[to]);
        n = strategy_move(g->engine, now_ms, &key, flow->path[slot], flow->path[to], n);
        flow->n[slot] -= n;
        flow->n[to] += n;
    }
}

static void take(struct grants *g, struct grant_flow *flow, uint64_t now_ms,
                 const struct grant_request *request, struct grant *ret_grant)
{
    ret_grant->cause = flow->cause;
    ret_grant->evidence = flow->evidence;
    ret_grant->retry_ms = flow->retry_ms;
    if (flow->n_left == 0) {
        ret_grant->result = GRANT_HELD;
        return;
    }
    ret_grant->slot = choose(flow, request);
    if (ret_grant->slot == UINT32_MAX) {
        ret_grant->result = GRANT_BUSY;
        return;
    }
    gather(g, flow, now_ms, ret_grant->slot, request->n);
    ret_grant->result = GRANT_GO;
    ret_grant->path = flow->path[ret_grant->slot];
    ret_grant->n = fx_min32(request->n, flow->n[ret_grant->slot]);
    flow->n[ret_grant->slot] -= ret_grant->n;
    flow->n_left -= ret_grant->n;
}

static bool is_over(const struct grant_flow *flow, uint64_t now_ms,
                    const struct grant_request *request)
{
    return now_ms - flow->planned_ms >= GRANT_MS || flow->down_mask != request->down_mask;
}

/* All of it was used, and nothing was held: more may be asked for at once. */
static bool is_used_up(const struct grant_flow *flow)
{
    return flow->n_left == 0 && flow->retry_ms == NEVER_MS;
}

enum strategy_error grants_ask(struct grants *g, uint64_t now_ms,
                               const struct grant_request *request, struct grant *ret_grant)
{
    const struct strategy_key *key = &request->key;

    *ret_grant = (struct grant){.retry_ms = NEVER_MS};
    if (!fits(key->sender) || !fits(key->stream) || !fits(key->provider))
        return STRATEGY_E_NAME;
    struct grant_flow *flow = find_or_make(g, key, now_ms);
    if (is_over(flow, now_ms, request) || is_used_up(flow)) {
        give_back(g, flow, now_ms);
        enum strategy_error error = plan(g, flow, now_ms, request, &ret_grant->is_new);
        if (error != STRATEGY_OK)
            return error;
    }
    take(g, flow, now_ms, request, ret_grant);
    return STRATEGY_OK;
}

void grants_return(struct grants *g, uint64_t now_ms, const struct strategy_key *key, uint32_t slot,
                   uint32_t n)
{
    struct grant_flow *flow = find(g, key);
    uint32_t route;
    const char *path = strategy_slot_path(g->engine, key->sender, slot, &route);

    if (path == NULL)
        return;
    if (flow == NULL || now_ms - flow->planned_ms >= GRANT_MS) {
        (void)strategy_return(g->engine, now_ms, key, path, n);
        return;
    }
    flow->path[slot] = path;
    flow->n[slot] += n;
    flow->n_left += n;
}

void grants_return_all(struct grants *g, uint64_t now_ms)
{
    for (uint32_t i = 0; i < g->n_sets * WAYS; i++) {
        if (g->flows[i].is_used)
            give_back(g, &g->flows[i], now_ms);
    }
}
