/* decisions_config.c - pools, routes and senders for the decision library: see decisions.h. */
#include "control/decisions_private.h"

#include "control/events.h"

#define OVERRIDES_FILE "strategies.json"

/* ---- pools and routes -------------------------------------------------------------------- */

/* New addresses of auto senders that have another way out are warmed up unless the pool says
 * otherwise; with the other strategies the operator has full control and asks for it. */
static bool warms_up(const struct ctl_config *config, uint32_t pool)
{
    if (config->dp.pools[pool].warmup != DP_WARMUP_BY_STRATEGY) {
        return config->dp.pools[pool].warmup == DP_WARMUP_ON;
    }
    for (uint32_t i = 0; i < config->n_senders; i++) {
        const struct ctl_sender *s = &config->senders[i];
        if (s->has_pool && s->pool == pool && s->strategy == STRATEGY_AUTO && s->n_shared > 0) {
            return true;
        }
    }
    return false;
}

static enum strategy_error put_pool(struct decisions *d, uint32_t number)
{
    const struct ctl_config *config = &d->ctl->config;
    const struct pool_groups *pool = &d->ctl->pools[number];
    enum strategy_error error = strategy_pool(d->engine, config->dp.pools[number].name);
    for (uint32_t i = 0; i < pool->n && error == STRATEGY_OK; i++) {
        const struct strategy_address_config address = {
            .ip = pool->group[i].name,
            .no_warmup = !warms_up(config, number),
        };
        error = strategy_pool_address(d->engine, config->dp.pools[number].name, &address);
    }
    return error;
}

static enum strategy_error put_route(struct decisions *d, const struct ctl_route *route)
{
    const struct strategy_route_config config = {
        .name = route->name,
        .is_ses = route->type == CTL_ROUTE_SES,
        .n_max_24h = route->max_24h,
        .rate_max_per_h = route->max_per_h,
        .cost_ppm = route->cost_ppm,
    };
    return strategy_route(d->engine, &config);
}

/* ---- senders ----------------------------------------------------------------------------- */

/* Only what its strategy may use: the masks of the engine forbid the rest once more. */
static enum strategy_error put_sender(struct decisions *d, const struct ctl_sender *sender)
{
    const struct ctl_config *config = &d->ctl->config;
    uint32_t routes = strategy_routes(sender->strategy);
    const char *shared[CTL_CHAIN_MAX], *custom[1];
    struct strategy_sender_config wanted = {
        .name = sender->name,
        .kind = sender->strategy,
        .pool = sender->has_pool && (routes & STRATEGY_ROUTE_DED) != 0
                    ? config->dp.pools[sender->pool].name
                    : NULL,
        .shared = shared,
        .custom = custom,
        .v30_known = sender->v30 != UINT32_MAX,
        .v30 = sender->v30,
        .fallback = sender->fallback,
    };
    if ((routes & STRATEGY_ROUTE_SHR) != 0) {
        for (uint32_t i = 0; i < sender->n_shared; i++) {
            shared[wanted.n_shared++] = config->routes[sender->shared[i]].name;
        }
    }
    if ((routes & STRATEGY_ROUTE_CUS) != 0 && sender->custom != UINT32_MAX) {
        custom[wanted.n_custom++] = config->routes[sender->custom].name;
    }
    return strategy_sender(d->engine, &wanted);
}

/* ---- at run time ------------------------------------------------------------------------- */

bool decisions_has_room(const struct decisions *d, uint32_t pool)
{
    const struct ctl_config *config = &d->ctl->config;
    for (uint32_t i = 0; i < config->n_senders; i++) {
        const struct ctl_sender *sender = &config->senders[i];
        uint32_t kind;
        if (sender->has_pool && sender->pool == pool &&
            strategy_slot_path(d->engine, sender->name, STRATEGY_SLOTS_MAX - 1, &kind)) {
            return false;
        }
    }
    return true;
}

bool decisions_add_pool(struct decisions *d, uint32_t pool)
{
    d->changed = true;
    return strategy_pool(d->engine, d->ctl->config.dp.pools[pool].name) == STRATEGY_OK;
}

bool decisions_put_sender(struct decisions *d, uint32_t sender)
{
    d->changed = true;
    grants_return_all(d->grants, decisions_now_ms(d));
    return put_sender(d, &d->ctl->config.senders[sender]) == STRATEGY_OK;
}

bool decisions_add_address(struct decisions *d, uint32_t pool, const char *ip)
{
    const struct ctl_config *config = &d->ctl->config;
    const struct strategy_address_config address = {.ip = ip, .no_warmup = !warms_up(config, pool)};
    bool good =
        strategy_pool_address(d->engine, config->dp.pools[pool].name, &address) == STRATEGY_OK;
    for (uint32_t i = 0; i < config->n_senders && good; i++) {
        if (config->senders[i].has_pool && config->senders[i].pool == pool) {
            good = decisions_put_sender(d, i);
        }
    }
    return good;
}

static bool put_all(struct decisions *d, char *ret_error, size_t error_bytes)
{
    const struct ctl_config *config = &d->ctl->config;
    enum strategy_error error = STRATEGY_OK;
    const char *name = "";
    for (uint32_t i = 0; i < config->dp.n_pools && error == STRATEGY_OK; i++) {
        if (config->dp.pools[i].removed) {
            continue;
        }
        error = put_pool(d, i);
        name = config->dp.pools[i].name;
    }
    for (uint32_t i = 0; i < config->n_routes && error == STRATEGY_OK; i++) {
        error = put_route(d, &config->routes[i]);
        name = config->routes[i].name;
    }
    for (uint32_t i = 0; i < config->n_senders && error == STRATEGY_OK; i++) {
        error = put_sender(d, &config->senders[i]);
        name = config->senders[i].name;
    }
    (void)snprintf(ret_error, error_bytes, "strategies: %s: %s", name, strategy_error_text(error));
    return error == STRATEGY_OK;
}

/* What was learned may name addresses and routes of older configurations; when they fill up the
 * places of a sender, learning starts anew. */
bool decisions_configure(struct decisions *d, char *ret_error, size_t error_bytes)
{
    decisions_read_overrides(d);
    if (put_all(d, ret_error, error_bytes)) {
        return true;
    }
    ctl_log(CTL_LOG_WARN, "the strategies start learning anew", "reason=\"%s\"", ret_error);
    memset(d->memory, 0, strategy_engine_bytes(&d->limits));
    d->engine = strategy_engine_init(d->memory, &d->limits);
    (void)strategy_tick(d->engine, decisions_now_ms(d));
    return put_all(d, ret_error, error_bytes);
}

/* ---- what operators have set ------------------------------------------------------------- */

static bool has_what_it_needs(const struct ctl_sender *sender, enum strategy_kind kind,
                              char *ret_error, size_t error_bytes)
{
    const char *missing = kind == STRATEGY_DEDICATED && !sender->has_pool    ? "a \"pool\""
                          : kind == STRATEGY_SHARED && sender->n_shared == 0 ? "\"shared\" routes"
                          : kind == STRATEGY_CUSTOM && sender->custom == UINT32_MAX
                              ? "a \"custom\" route"
                          : kind == STRATEGY_AUTO && !sender->has_pool && sender->n_shared == 0
                              ? "a \"pool\" or \"shared\" routes"
                              : NULL;
    if (missing) {
        (void)snprintf(ret_error, error_bytes,
                       "strategy \"%s\" needs %s in the configuration of sender \"%s\"",
                       strategy_kind_text(kind), missing, sender->name);
    }
    return missing == NULL;
}

void decisions_read_overrides(struct decisions *d)
{
    void *text;
    size_t n_bytes;
    const char *name;
    json_t *value;
    if (!decisions_read_file(d->ctl, OVERRIDES_FILE, &text, &n_bytes)) {
        return;
    }
    json_t *overrides = json_loadb(text, n_bytes, 0, NULL);
    free(text);
    json_object_foreach(overrides, name, value)
    {
        uint32_t sender = ctl_config_sender(&d->ctl->config, name);
        enum strategy_kind kind;
        char error[256];
        const char *kind_text = json_string_value(value);
        if (sender == UINT32_MAX || !kind_text || !strategy_kind_parse(kind_text, &kind) ||
            !has_what_it_needs(&d->ctl->config.senders[sender], kind, error, sizeof error)) {
            ctl_log(CTL_LOG_WARN, "a strategy that was set does not fit the configuration any more",
                    "sender=%s strategy=%s", name, kind_text ? kind_text : "");
            continue;
        }
        d->ctl->config.senders[sender].strategy = kind;
    }
    json_decref(overrides);
}

static bool write_overrides(const struct decisions *d)
{
    json_t *overrides = ctl_must(json_object());
    for (uint32_t i = 0; i < d->ctl->config.n_senders; i++) {
        const struct ctl_sender *sender = &d->ctl->config.senders[i];
        if (sender->strategy != sender->configured) {
            (void)json_object_set_new(overrides, sender->name,
                                      json_string(strategy_kind_text(sender->strategy)));
        }
    }
    char *text = ctl_must(json_dumps(overrides, JSON_INDENT(2)));
    bool good = decisions_replace_file(d->ctl, OVERRIDES_FILE, text, strlen(text));
    free(text);
    json_decref(overrides);
    return good;
}

bool decisions_set_strategy(struct decisions *d, uint32_t number, enum strategy_kind kind,
                            char *ret_error, size_t error_bytes)
{
    struct ctl_sender *sender = &d->ctl->config.senders[number];
    enum strategy_kind before = sender->strategy;
    if (!has_what_it_needs(sender, kind, ret_error, error_bytes)) {
        return false;
    }
    sender->strategy = kind;
    grants_return_all(d->grants, decisions_now_ms(d));
    enum strategy_error error = put_sender(d, sender);
    if (error == STRATEGY_OK && write_overrides(d)) {
        d->changed = true;
        return true;
    }
    sender->strategy = before;
    (void)put_sender(d, sender);
    (void)snprintf(ret_error, error_bytes, "%s",
                   error == STRATEGY_OK ? "it cannot be written to the spool directory"
                                        : strategy_error_text(error));
    return false;
}
