/*
 * config.c - pools, routes and senders. Each call adds or replaces and is checked before it changes
 * anything; what was learned about an endpoint stays. A sender's slots never move: an endpoint that
 * leaves the configuration keeps its slot, out of use, so that late outcomes still find it.
 */
#include "strategies/parts.h"

#include <string.h>

enum strategy_error strategy_pool(struct strategy_engine *e, const char *name)
{
    if (!st_name_ok(name))
        return STRATEGY_E_NAME;
    return st_pool_get(e, name) == ST_NONE ? STRATEGY_E_LIMIT : STRATEGY_OK;
}

/* The /24 of an IPv4 address, the /48 of an IPv6 one, as a hash of its text. */
static uint32_t network_of(const char *ip)
{
    bool v6 = strchr(ip, ':') != NULL;
    unsigned left = 3;
    size_t n = 0;

    while (ip[n] != '\0' && left > 0)
        left -= ip[n++] == (v6 ? ':' : '.');
    return (uint32_t)fx_hash(FX_HASH, ip, n);
}

/* Senders that use the pool already get the address as well, where they have a slot left. */
static void pool_append(struct strategy_engine *e, uint32_t pool_id, uint32_t id)
{
    struct st_pool *pool = &e->pools[pool_id];

    if (pool->last_address == ST_NONE)
        pool->first_address = id;
    else
        e->endpoints[pool->last_address].next_in_pool = id;
    pool->last_address = id;
    for (uint32_t i = 0; pool->n_senders > 0 && i < e->head.n_senders; i++) {
        struct st_sender *s = &e->senders[i];
        if (s->pool != pool_id || s->n_slots == SLOTS)
            continue;
        s->slot_endpoint[s->n_slots] = id;
        s->slot_route[s->n_slots++] = STRATEGY_ROUTE_DED;
    }
}

static enum strategy_error check_address(const struct strategy_engine *e, const char *pool,
                                         const char *ip)
{
    if (!st_name_ok(pool) || !st_name_ok(ip))
        return STRATEGY_E_NAME;
    uint32_t known = st_find(e, NAME_ENDPOINT, 0, ip);
    if (known == ST_NONE)
        return STRATEGY_OK;
    if (!e->endpoints[known].is_address)
        return STRATEGY_E_KIND;
    return e->endpoints[known].pool == st_find(e, NAME_POOL, 0, pool) ? STRATEGY_OK
                                                                      : STRATEGY_E_OTHER_POOL;
}

/* Its paths lose their caps, or start again. */
static void put_warmup(struct strategy_engine *e, uint32_t endpoint, bool no_warmup)
{
    if (e->endpoints[endpoint].no_warmup == no_warmup)
        return;
    e->endpoints[endpoint].no_warmup = no_warmup;
    for (uint32_t i = 0; i < e->head.n_paths; i++) {
        if (e->paths[i].endpoint == endpoint)
            st_warmup_start(&e->paths[i].warmup, e->head.now_ms, !no_warmup);
    }
}

enum strategy_error strategy_pool_address(struct strategy_engine *e, const char *pool,
                                          const struct strategy_address_config *address)
{
    enum strategy_error error = check_address(e, pool, address->ip);

    if (error != STRATEGY_OK)
        return error;
    uint32_t pool_id = st_pool_get(e, pool);
    uint32_t id = pool_id == ST_NONE ? ST_NONE : st_endpoint_get(e, address->ip);
    if (id == ST_NONE)
        return STRATEGY_E_LIMIT;
    struct st_endpoint *a = &e->endpoints[id];
    a->age_days = address->age_days;
    put_warmup(e, id, address->no_warmup);
    if (a->pool == pool_id)
        return STRATEGY_OK;
    a->is_address = true;
    a->pool = pool_id;
    a->network = network_of(address->ip);
    a->cost_ppm = 0;
    pool_append(e, pool_id, id);
    return STRATEGY_OK;
}

/* Only of a path that has not been used: what was learned since is worth more. */
enum strategy_error strategy_address_daily(struct strategy_engine *e, const char *ip,
                                           const char *provider, uint32_t n_per_day)
{
    if (!st_name_ok(ip) || !st_name_ok(provider))
        return STRATEGY_E_NAME;
    uint32_t id = st_find(e, NAME_ENDPOINT, 0, ip);
    if (id == ST_NONE || !e->endpoints[id].is_address)
        return STRATEGY_E_UNKNOWN_PATH;
    uint32_t provider_id = st_provider_get(e, provider);
    bool is_new = provider_id != ST_NONE && st_path_find(e, id, provider_id) == ST_NONE;
    uint32_t path = provider_id == ST_NONE ? ST_NONE : st_path_get(e, id, provider_id);
    if (path == ST_NONE)
        return STRATEGY_E_LIMIT;
    if (is_new && e->endpoints[id].age_days > 0)
        st_warmup_known(&e->paths[path].warmup, n_per_day);
    return STRATEGY_OK;
}

enum strategy_error strategy_route(struct strategy_engine *e,
                                   const struct strategy_route_config *route)
{
    if (!st_name_ok(route->name))
        return STRATEGY_E_NAME;
    uint32_t known = st_find(e, NAME_ENDPOINT, 0, route->name);
    if (known != ST_NONE && e->endpoints[known].is_address)
        return STRATEGY_E_KIND;
    uint32_t id = st_endpoint_get(e, route->name);
    if (id == ST_NONE)
        return STRATEGY_E_LIMIT;
    struct st_endpoint *relay = &e->endpoints[id];
    relay->is_ses = route->is_ses;
    relay->n_max_24h = route->n_max_24h;
    relay->rate_max_per_h = route->rate_max_per_h;
    relay->cost_ppm = route->cost_ppm < 0 ? ST_NONE : (uint32_t)route->cost_ppm;
    return STRATEGY_OK;
}

/* ---- senders ---- */

struct wanted { /* slots of the new configuration */
    uint32_t endpoint[SLOTS];
    uint8_t route[SLOTS];
    uint32_t n;
};

static enum strategy_error want(struct wanted *w, uint32_t endpoint, uint32_t route)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->endpoint[i] == endpoint)
            return STRATEGY_OK; /* named twice: the first counts */
    }
    if (w->n == SLOTS)
        return STRATEGY_E_SLOTS;
    w->endpoint[w->n] = endpoint;
    w->route[w->n++] = (uint8_t)route;
    return STRATEGY_OK;
}

static enum strategy_error want_pool(const struct strategy_engine *e, struct wanted *w,
                                     const char *pool)
{
    uint32_t id = st_name_ok(pool) ? st_find(e, NAME_POOL, 0, pool) : ST_NONE;
    enum strategy_error error = id == ST_NONE ? STRATEGY_E_UNKNOWN_POOL : STRATEGY_OK;

    if (error != STRATEGY_OK)
        return error;
    for (uint32_t i = e->pools[id].first_address; i != ST_NONE && error == STRATEGY_OK;
         i = e->endpoints[i].next_in_pool)
        error = want(w, i, STRATEGY_ROUTE_DED);
    return error;
}

static enum strategy_error want_relays(const struct strategy_engine *e, struct wanted *w,
                                       const char *const *names, uint32_t n, bool custom)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = st_name_ok(names[i]) ? st_find(e, NAME_ENDPOINT, 0, names[i]) : ST_NONE;
        if (id == ST_NONE || e->endpoints[id].is_address)
            return STRATEGY_E_UNKNOWN_PATH;
        uint32_t route = custom                    ? STRATEGY_ROUTE_CUS
                         : e->endpoints[id].is_ses ? STRATEGY_ROUTE_SES
                                                   : STRATEGY_ROUTE_SHR;
        enum strategy_error error = want(w, id, route);
        if (error != STRATEGY_OK)
            return error;
    }
    return STRATEGY_OK;
}

/* Custom relays come first for a custom sender: a relay named in both lists is then seen as custom,
 * and refused as shared (st_eligible). */
static enum strategy_error want_all(const struct strategy_engine *e, struct wanted *w,
                                    const struct strategy_sender_config *c)
{
    enum strategy_error error = c->pool == NULL ? STRATEGY_OK : want_pool(e, w, c->pool);

    if (error == STRATEGY_OK && c->kind == STRATEGY_CUSTOM)
        error = want_relays(e, w, c->custom, c->n_custom, true);
    if (error == STRATEGY_OK)
        error = want_relays(e, w, c->shared, c->n_shared, false);
    if (error == STRATEGY_OK && c->kind != STRATEGY_CUSTOM)
        error = want_relays(e, w, c->custom, c->n_custom, true);
    return error;
}

/* New endpoints behind those that the sender has. */
static enum strategy_error count_slots(const struct st_sender *s, const struct wanted *w)
{
    uint32_t n = s->n_slots;

    for (uint32_t i = 0; i < w->n; i++)
        n += st_slot_of(s, w->endpoint[i]) == ST_NONE;
    return n > SLOTS ? STRATEGY_E_SLOTS : STRATEGY_OK;
}

static void put_slots(struct st_sender *s, const struct wanted *w)
{
    memset(s->slot_route, 0, sizeof s->slot_route);
    for (uint32_t i = 0; i < w->n; i++) {
        uint32_t slot = st_slot_of(s, w->endpoint[i]);
        if (slot == ST_NONE)
            slot = s->n_slots++;
        s->slot_endpoint[slot] = w->endpoint[i];
        s->slot_route[slot] = w->route[i];
    }
}

static void put_pool(struct strategy_engine *e, struct st_sender *s, const char *name)
{
    uint32_t pool = name == NULL ? ST_NONE : st_find(e, NAME_POOL, 0, name);

    if (s->pool == pool)
        return;
    if (s->pool != ST_NONE)
        e->pools[s->pool].n_senders--;
    if (pool != ST_NONE)
        e->pools[pool].n_senders++;
    s->pool = pool;
}

static void put_volume(struct st_sender *s, const struct strategy_sender_config *c)
{
    if (!c->v30_known)
        return;
    s->v30 = s->v30_given = c->v30;
    s->eligible_known = true;
    s->eligible = c->v30 >= VOLUME_ENTER;
}

enum strategy_error strategy_sender(struct strategy_engine *e,
                                    const struct strategy_sender_config *config)
{
    struct wanted w = {.n = 0};
    enum strategy_error error = st_name_ok(config->name) ? STRATEGY_OK : STRATEGY_E_NAME;
    static const struct st_sender nobody;

    if (error == STRATEGY_OK)
        error = want_all(e, &w, config);
    if (error != STRATEGY_OK)
        return error;
    uint32_t known = st_find(e, NAME_SENDER, 0, config->name);
    error = count_slots(known == ST_NONE ? &nobody : &e->senders[known], &w);
    if (error != STRATEGY_OK)
        return error;
    uint32_t id = st_sender_get(e, config->name);
    if (id == ST_NONE)
        return STRATEGY_E_LIMIT;
    struct st_sender *s = &e->senders[id];
    s->kind = (uint8_t)config->kind;
    s->fallback = config->fallback;
    put_slots(s, &w);
    put_pool(e, s, config->pool);
    if (known == ST_NONE || s->v30_given != config->v30)
        put_volume(s, config);
    for (uint32_t i = 0; i < config->n_shared; i++)
        e->endpoints[st_find(e, NAME_ENDPOINT, 0, config->shared[i])].is_shared = true;
    return STRATEGY_OK;
}

const char *strategy_slot_path(const struct strategy_engine *e, const char *sender, uint32_t slot,
                               uint32_t *ret_route)
{
    uint32_t id = st_name_ok(sender) ? st_find(e, NAME_SENDER, 0, sender) : ST_NONE;

    if (id == ST_NONE || slot >= e->senders[id].n_slots)
        return NULL;
    *ret_route = e->senders[id].slot_route[slot];
    return e->endpoints[e->senders[id].slot_endpoint[slot]].name;
}
