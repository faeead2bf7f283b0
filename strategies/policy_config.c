/*
 * policy_config.c - the config line: pools, then routes, then senders, whatever order they stand
 * in. The state is saved before and put back when anything in the line is wrong.
 */
#include "strategies/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool refuse(struct policy *policy, const char *error)
{
    if (policy->error == NULL)
        policy->error = error;
    return false;
}

static bool accept(struct policy *policy, enum strategy_error error)
{
    return error == STRATEGY_OK || refuse(policy, strategy_error_text(error));
}

typedef bool (*member_fn)(struct policy *policy, const char *name, const struct pj_node *value,
                          void *user);

/* Every member of an object; absent or null is an empty one. */
static bool each(struct policy *policy, const struct pj_node *object, member_fn fn, void *user)
{
    char name[STRATEGY_NAME_BYTES];

    if (object == NULL || object->type == PJ_NULL)
        return true;
    if (object->type != PJ_OBJECT)
        return refuse(policy, "an object was expected");
    const struct pj_node *key = pj_first(object);
    for (uint32_t i = 0; i < object->n; i++) {
        const struct pj_node *value = pj_next(&policy->doc, key);
        if (!pj_string(key, name, sizeof name))
            return refuse(policy, "a name is longer than 63 bytes");
        if (!fn(policy, name, value, user))
            return false;
        key = pj_next(&policy->doc, value);
    }
    return true;
}

/* ---- pools ---- */

static bool put_daily(struct policy *policy, const char *provider, const struct pj_node *value,
                      void *user)
{
    int64_t n;

    if (!pj_decimal(value, 0, &n) || n < 0 || n > UINT32_MAX)
        return refuse(policy, "daily: a number of mails was expected");
    return accept(policy, strategy_address_daily(policy->engine, user, provider, (uint32_t)n));
}

static bool put_address(struct policy *policy, const char *pool, const struct pj_node *address)
{
    char ip[STRATEGY_NAME_BYTES];
    struct strategy_address_config c = {.ip = ip};
    const struct pj_node *age = pj_get(&policy->doc, address, "age_days");
    int64_t days = 0;

    if (!pj_string(pj_get(&policy->doc, address, "ip"), ip, sizeof ip))
        return refuse(policy, "an address needs an ip");
    if (age != NULL && (!pj_decimal(age, 0, &days) || days < 0 || days > UINT32_MAX))
        return refuse(policy, "age_days: a number was expected");
    c.age_days = (uint32_t)days;
    if (!accept(policy, strategy_pool_address(policy->engine, pool, &c)))
        return false;
    return each(policy, pj_get(&policy->doc, address, "daily"), put_daily, ip);
}

static bool put_pool(struct policy *policy, const char *name, const struct pj_node *pool,
                     void *user)
{
    const struct pj_node *addresses = pj_get(&policy->doc, pool, "addresses");

    (void)user;
    if (pool->type != PJ_OBJECT || (addresses != NULL && addresses->type != PJ_ARRAY))
        return refuse(policy, "a pool is an object with a list of addresses");
    if (!accept(policy, strategy_pool(policy->engine, name)))
        return false;
    if (addresses == NULL)
        return true;
    const struct pj_node *at = pj_first(addresses);
    for (uint32_t i = 0; i < addresses->n; i++, at = pj_next(&policy->doc, at)) {
        if (!put_address(policy, name, at))
            return false;
    }
    return true;
}

/* ---- routes ---- */

static bool get_limit(struct policy *policy, const struct pj_node *route, const char *name,
                      unsigned per, uint32_t *ret)
{
    const struct pj_node *node = pj_get(&policy->doc, route, name);
    int64_t milli = 0;

    if (node == NULL || node->type == PJ_NULL)
        return true;
    if (!pj_decimal(node, 3, &milli) || milli < 0 || milli / 1000 > UINT32_MAX / per)
        return refuse(policy, "max_24h, max_rate: a number was expected");
    *ret = (uint32_t)(milli * per / 1000);
    if (*ret == 0)
        *ret = 1; /* 0 means "no limit" inside */
    return true;
}

static bool put_route(struct policy *policy, const char *name, const struct pj_node *route,
                      void *user)
{
    struct strategy_route_config c = {.name = name, .cost_ppm = -1};
    const struct pj_node *type = pj_get(&policy->doc, route, "type");
    const struct pj_node *cost = pj_get(&policy->doc, route, "cost");
    int64_t ppm = -1;

    (void)user;
    if (route->type != PJ_OBJECT)
        return refuse(policy, "a route is an object");
    c.is_ses = pj_equals(type, "ses");
    if (type != NULL && !c.is_ses && !pj_equals(type, "smtp"))
        return refuse(policy, "a route's type is smtp or ses");
    if (cost != NULL && cost->type != PJ_NULL &&
        (!pj_decimal(cost, 6, &ppm) || ppm < 0 || ppm > 1000 * INT64_C(1000000)))
        return refuse(policy, "cost: a number from 0 to 1000 was expected");
    c.cost_ppm = ppm > INT32_MAX ? INT32_MAX : (int32_t)ppm;
    return get_limit(policy, route, "max_24h", 1, &c.n_max_24h) &&
           get_limit(policy, route, "max_rate", 3600, &c.rate_max_per_h) &&
           accept(policy, strategy_route(policy->engine, &c));
}

/* ---- senders ---- */

struct names {
    char text[STRATEGY_SLOTS_MAX][STRATEGY_NAME_BYTES];
    const char *at[STRATEGY_SLOTS_MAX];
    uint32_t n;
};

static bool add_name(struct policy *policy, const struct pj_node *node, struct names *ret)
{
    if (ret->n == STRATEGY_SLOTS_MAX)
        return refuse(policy, strategy_error_text(STRATEGY_E_SLOTS));
    if (!pj_string(node, ret->text[ret->n], STRATEGY_NAME_BYTES))
        return refuse(policy, "the name of a route was expected");
    ret->at[ret->n] = ret->text[ret->n];
    ret->n++;
    return true;
}

/* One name, a list of them, null or nothing. */
static bool get_names(struct policy *policy, const struct pj_node *node, struct names *ret)
{
    ret->n = 0;
    if (node == NULL || node->type == PJ_NULL)
        return true;
    if (node->type != PJ_ARRAY)
        return add_name(policy, node, ret);
    const struct pj_node *at = pj_first(node);
    for (uint32_t i = 0; i < node->n; i++, at = pj_next(&policy->doc, at)) {
        if (!add_name(policy, at, ret))
            return false;
    }
    return true;
}

static bool get_kind(struct policy *policy, const struct pj_node *node, enum strategy_kind *ret)
{
    char text[32];

    if (!pj_string(node, text, sizeof text) || !strategy_kind_parse(text, ret))
        return refuse(policy, "strategy is auto, dedicated, shared or custom");
    return true;
}

static bool get_options(struct policy *policy, const struct pj_node *sender,
                        struct strategy_sender_config *c)
{
    const struct pj_node *v30 = pj_get(&policy->doc, sender, "v30");
    const struct pj_node *fallback = pj_get(&policy->doc, sender, "fallback");
    int64_t n = 0;

    if (v30 != NULL && v30->type != PJ_NULL) {
        if (!pj_decimal(v30, 0, &n) || n < 0 || n >= UINT32_MAX)
            return refuse(policy, "v30: a number of mails was expected");
        c->v30_known = true;
        c->v30 = (uint32_t)n;
    }
    if (fallback != NULL && fallback->type != PJ_TRUE && fallback->type != PJ_FALSE)
        return refuse(policy, "fallback is true or false");
    c->fallback = fallback == NULL || fallback->type == PJ_TRUE;
    return true;
}

static bool put_sender(struct policy *policy, const char *name, const struct pj_node *sender,
                       void *user)
{
    static struct names shared, custom; /* 8 kB; one line is handled at a time */
    char pool[STRATEGY_NAME_BYTES];
    struct strategy_sender_config c = {.name = name, .shared = shared.at, .custom = custom.at};
    const struct pj_node *pool_node = pj_get(&policy->doc, sender, "pool");

    (void)user;
    if (sender->type != PJ_OBJECT)
        return refuse(policy, "a sender is an object");
    if (pool_node != NULL && pool_node->type != PJ_NULL) {
        if (!pj_string(pool_node, pool, sizeof pool))
            return refuse(policy, "pool: a name was expected");
        c.pool = pool;
    }
    if (!get_kind(policy, pj_get(&policy->doc, sender, "strategy"), &c.kind) ||
        !get_names(policy, pj_get(&policy->doc, sender, "shared"), &shared) ||
        !get_names(policy, pj_get(&policy->doc, sender, "custom"), &custom) ||
        !get_options(policy, sender, &c))
        return false;
    c.n_shared = shared.n;
    c.n_custom = custom.n;
    return accept(policy, strategy_sender(policy->engine, &c));
}

/* ---- the line ---- */

bool policy_restore(struct policy *policy, const void *image, size_t n_bytes)
{
    memset(policy->memory, 0, policy->n_memory_bytes);
    policy->engine = strategy_engine_init(policy->memory, &policy->limits);
    return strategy_load(policy->engine, image, n_bytes) == STRATEGY_OK;
}

static bool apply(struct policy *policy, const struct pj_node *config, uint64_t now_ms)
{
    if (config->type != PJ_OBJECT)
        return refuse(policy, "config is an object");
    return accept(policy, strategy_tick(policy->engine, now_ms)) &&
           each(policy, pj_get(&policy->doc, config, "pools"), put_pool, NULL) &&
           each(policy, pj_get(&policy->doc, config, "routes"), put_route, NULL) &&
           each(policy, pj_get(&policy->doc, config, "senders"), put_sender, NULL);
}

bool policy_config(struct policy *policy, const struct pj_node *config, uint64_t now_ms)
{
    size_t n_bytes = strategy_save_bytes(policy->engine);
    void *image = malloc(n_bytes);

    if (image == NULL)
        return refuse(policy, "out of memory");
    strategy_save(policy->engine, image);
    bool ok = apply(policy, config, now_ms);
    if (!ok && !policy_restore(policy, image, n_bytes)) {
        (void)fprintf(stderr, "wirepost-policy: cannot go back to the state before a line\n");
        abort();
    }
    free(image);
    return ok;
}
