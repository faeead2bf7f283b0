/*
 * addresses_change.c - what operators change: see addresses.h.
 *
 * A request is checked as a whole, then laid down in memory, then written to addresses.json; when
 * that fails memory goes back to what it was. Only then lanes, groups and the decision library
 * follow, and it becomes an event.
 */
#include "control/addresses_private.h"

#include "control/decisions.h"
#include "control/dnsbl.h"
#include "control/events.h"
#include "control/plan.h"
#include "control/pools.h"

#include <errno.h>
#include <stdarg.h>

__attribute__((format(printf, 3, 4))) static bool refuse(char *ret_error, size_t error_bytes,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(ret_error, error_bytes, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- all or nothing ---------------------------------------------------------------------- */

/* What a request may change, as it was. */
struct before {
    uint32_t n;
    struct dp_address *addresses;
    struct own_address *list;
};

static struct before remember(const struct addresses *a)
{
    uint32_t n = a->ctl->config.dp.n_addresses;
    struct before before = {.n = n,
                            .addresses = ctl_must(calloc((size_t)n + 1, sizeof(struct dp_address))),
                            .list = ctl_must(calloc((size_t)n + 1, sizeof(struct own_address)))};
    memcpy(before.addresses, a->ctl->config.dp.addresses, n * sizeof before.addresses[0]);
    memcpy(before.list, a->list, n * sizeof before.list[0]);
    return before;
}

static void forget(struct before *before)
{
    free(before->addresses);
    free(before->list);
}

static void take_back(struct addresses *a, const struct before *before)
{
    struct dp_config *dp = &a->ctl->config.dp;
    for (uint32_t i = before->n; i < dp->n_addresses; i++) {
        addr_map_remove(&a->map, &dp->addresses[i].addr);
        free(dp->addresses[i].ehlo);
    }
    dp->n_addresses = before->n;
    memcpy(dp->addresses, before->addresses, before->n * sizeof dp->addresses[0]);
    memcpy(a->list, before->list, before->n * sizeof a->list[0]);
}

/* ---- who has to know --------------------------------------------------------------------- */

static void refresh_plan(struct addresses *a)
{
    for (uint32_t i = 0; i < a->ctl->config.n_senders; i++) {
        plan_refresh(a->ctl->plan, i);
    }
}

static void join(struct addresses *a, uint32_t index)
{
    struct ctl *ctl = a->ctl;
    uint32_t pool = address_at(a, index)->pool;
    bool made;
    const struct pool_group *group = pool_join(&ctl->pools[pool], &ctl->config.dp, index,
                                               decisions_has_room(ctl->decisions, pool), &made);
    if (!group || (made && !decisions_add_address(ctl->decisions, pool, group->name))) {
        ctl_log(CTL_LOG_ERROR,
                "the strategies have no room for an address; it is used after a restart", "pool=%s",
                ctl->config.dp.pools[pool].name);
    }
}

/* Those that came or went since then. */
static void follow(struct addresses *a, const struct before *before)
{
    struct dp_config *dp = &a->ctl->config.dp;
    for (uint32_t i = 0; i < dp->n_addresses; i++) {
        bool was = i < before->n && !before->addresses[i].removed;
        if (was && dp->addresses[i].removed) {
            pool_leave(&a->ctl->pools[dp->addresses[i].pool], i);
        } else if (!was && !dp->addresses[i].removed) {
            join(a, i);
        }
    }
    dnsbl_follow(a->ctl->dnsbl);
    refresh_plan(a);
    addresses_wanted(a);
}

static bool settle(struct addresses *a, struct before *before, char *ret_error, size_t error_bytes)
{
    bool good = addresses_write(a);
    if (good) {
        follow(a, before);
    } else {
        int error = errno;
        take_back(a, before);
        (void)refuse(ret_error, error_bytes, "it cannot be written to the spool directory: %s",
                     strerror(error));
    }
    forget(before);
    return good;
}

static void tell_all(const struct addresses *a, const struct address_change *change,
                     const char *action)
{
    for (uint32_t i = 0; i < change->n; i++) {
        addresses_event(a, action, change->list[i]);
    }
}

/* ---- drain, move, remove ----------------------------------------------------------------- */

bool addresses_drain(struct addresses *a, const struct address_change *change, bool on,
                     char *ret_error, size_t error_bytes)
{
    struct before before = remember(a);
    for (uint32_t i = 0; i < change->n; i++) {
        a->list[change->list[i]].drained = on;
    }
    if (!settle(a, &before, ret_error, error_bytes)) {
        return false;
    }
    tell_all(a, change, on ? "draining" : "undrained");
    return true;
}

bool addresses_move(struct addresses *a, const struct address_change *change, uint32_t lane,
                    char *ret_error, size_t error_bytes)
{
    const struct dp_config *dp = &a->ctl->config.dp;
    for (uint32_t i = 0; i < change->n; i++) {
        uint32_t from = address_at(a, change->list[i])->lane;
        if (dp->lanes[from].port != dp->lanes[lane].port) {
            char text[IP_ADDR_TEXT_MAX];
            return refuse(ret_error, error_bytes,
                          "%s is on port \"%s\": an address moves between queues of one port only",
                          ip_addr_format(&address_at(a, change->list[i])->addr, text),
                          dp->ports[dp->lanes[from].port].name);
        }
    }
    struct before before = remember(a);
    for (uint32_t i = 0; i < change->n; i++) {
        address_at(a, change->list[i])->lane = lane;
    }
    if (!settle(a, &before, ret_error, error_bytes)) {
        return false;
    }
    tell_all(a, change, "moved");
    return true;
}

/* Nothing stands in the way of its removal. */
static bool removable(const struct addresses *a, uint32_t index, uint32_t n_jobs, char *ret_error,
                      size_t error_bytes)
{
    char text[IP_ADDR_TEXT_MAX];
    uint32_t sessions = addresses_sessions(a, index);
    if (sessions == 0 && n_jobs == 0) {
        return true;
    }
    return refuse(
        ret_error, error_bytes,
        a->list[index].drained
            ? "%s still finishes %u connections and %u messages: wait, it is being drained"
            : "%s has %u connections and %u messages under way: drain it first",
        ip_addr_format(&address_at(a, index)->addr, text), sessions, n_jobs);
}

bool addresses_remove(struct addresses *a, const struct address_change *change, char *ret_error,
                      size_t error_bytes)
{
    uint32_t *jobs = addresses_count_jobs(a);
    bool good = true;
    for (uint32_t i = 0; i < change->n && good; i++) {
        uint32_t index = change->list[i];
        good = removable(a, index, jobs[index], ret_error, error_bytes);
    }
    free(jobs);
    if (!good) {
        return false;
    }
    struct before before = remember(a);
    for (uint32_t i = 0; i < change->n; i++) {
        address_at(a, change->list[i])->removed = true;
        a->list[change->list[i]].drained = false;
    }
    return settle(a, &before, ret_error, error_bytes); /* the event comes when its lane is done */
}

/* ---- add --------------------------------------------------------------------------------- */

static uint32_t lane_load(const struct dp_config *dp, uint32_t lane)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < dp->n_addresses; i++) {
        n += dp->addresses[i].lane == lane && !dp->addresses[i].removed;
    }
    return n;
}

/* A new one, or one that was removed before; its index. UINT32_MAX with a sentence. */
static uint32_t add_one(struct addresses *a, const struct address_add *add,
                        const struct ip_addr *addr, char *ret_error, size_t error_bytes)
{
    struct dp_config *dp = &a->ctl->config.dp;
    char text[IP_ADDR_TEXT_MAX];
    uint32_t index = addr_map_get(&a->map, addr);
    (void)ip_addr_format(addr, text);
    if (index != ADDR_MAP_NONE && !dp->addresses[index].removed) {
        (void)refuse(ret_error, error_bytes, "%s is there already, in pool \"%s\"", text,
                     dp->pools[dp->addresses[index].pool].name);
        return UINT32_MAX;
    }
    if (index != ADDR_MAP_NONE && dp->addresses[index].pool != add->pool) {
        (void)refuse(ret_error, error_bytes,
                     "%s was in pool \"%s\"; it can come to another when wirepostd was restarted",
                     text, dp->pools[dp->addresses[index].pool].name);
        return UINT32_MAX;
    }
    if (index != ADDR_MAP_NONE) {
        dp->addresses[index].removed = false;
        dp->addresses[index].lane = add->lane;
        return index;
    }
    index = addresses_append(a, addr, add->lane, add->pool);
    if (index == UINT32_MAX) {
        (void)refuse(ret_error, error_bytes, "there are %u addresses: no more are possible",
                     DP_ADDRESSES_MAX);
        return UINT32_MAX;
    }
    dp->addresses[index].index_in_pool = ++dp->pools[add->pool].n_addresses;
    return index;
}

static bool add_all(struct addresses *a, const struct address_add *add, uint32_t *ret_list,
                    uint32_t *ret_n, char *ret_error, size_t error_bytes)
{
    for (uint32_t r = 0; r < add->n; r++) {
        uint64_t n = ip_range_count(&add->ranges[r]);
        for (uint64_t i = 0; i < n; i++) {
            struct ip_addr addr = ip_of_number(add->ranges[r].family, add->ranges[r].first + i);
            uint32_t index = add_one(a, add, &addr, ret_error, error_bytes);
            if (index == UINT32_MAX) {
                return false;
            }
            ret_list[(*ret_n)++] = index;
        }
    }
    return true;
}

bool addresses_add(struct addresses *a, const struct address_add *add, char *ret_error,
                   size_t error_bytes)
{
    struct dp_config *dp = &a->ctl->config.dp;
    uint64_t wanted = 0;
    for (uint32_t r = 0; r < add->n && wanted < UINT32_MAX; r++) {
        uint64_t n = ip_range_count(&add->ranges[r]);
        wanted = n < UINT32_MAX ? wanted + n : UINT32_MAX;
    }
    if (wanted + lane_load(dp, add->lane) > dp->addresses_per_lane) {
        return refuse(ret_error, error_bytes,
                      "queue %u has room for %u addresses: raise /dataplane/addresses in the "
                      "configuration, or use another queue",
                      dp->lanes[add->lane].queue, dp->addresses_per_lane);
    }
    struct before before = remember(a);
    struct address_change change = {0};
    uint32_t *list = ctl_must(calloc(wanted + 1, sizeof list[0]));
    uint32_t n_in_pool = dp->pools[add->pool].n_addresses;
    bool good = add_all(a, add, list, &change.n, ret_error, error_bytes);
    if (!good) {
        take_back(a, &before);
        forget(&before);
    } else {
        if (add->ehlo) {
            free(dp->addresses[list[0]].ehlo);
            dp->addresses[list[0]].ehlo = ctl_must(strdup(add->ehlo));
        }
        good = settle(a, &before, ret_error, error_bytes);
    }
    dp->pools[add->pool].n_addresses = good ? dp->pools[add->pool].n_addresses : n_in_pool;
    change.list = list;
    if (good) {
        tell_all(a, &change, "added");
    }
    free(list);
    return good;
}

/* ---- pools ------------------------------------------------------------------------------- */

uint32_t addresses_pool(const struct addresses *a, const char *name)
{
    const struct dp_config *dp = &a->ctl->config.dp;
    for (uint32_t i = 0; i < dp->n_pools; i++) {
        if (!dp->pools[i].removed && strcmp(dp->pools[i].name, name) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

bool addresses_pool_is_added(const struct addresses *a, uint32_t pool)
{
    return pool >= a->n_configured_pools;
}

static void pool_event(const struct addresses *a, const char *action, uint32_t pool,
                       const char *sender)
{
    json_t *event = event_new("pool", ctl_time_ms());
    (void)json_object_set_new(event, "pool", json_string(a->ctl->config.dp.pools[pool].name));
    (void)json_object_set_new(event, "action", json_string(action));
    if (sender) {
        (void)json_object_set_new(event, "sender", json_string(sender));
    }
    event_record(a->ctl, 0, event);
}

static bool written(const struct addresses *a, char *ret_error, size_t error_bytes)
{
    return addresses_write(a) ||
           refuse(ret_error, error_bytes, "it cannot be written to the spool directory: %s",
                  strerror(errno));
}

bool addresses_pool_add(struct addresses *a, const struct dp_pool *pool, char *ret_error,
                        size_t error_bytes)
{
    struct dp_config *dp = &a->ctl->config.dp;
    if (addresses_pool(a, pool->name) != UINT32_MAX) {
        return refuse(ret_error, error_bytes, "there is a pool \"%s\" already", pool->name);
    }
    if (dp->n_pools == a->n_configured_pools + ADDRESSES_POOLS_MORE) {
        return refuse(ret_error, error_bytes,
                      "%u pools were added: write them into the configuration",
                      ADDRESSES_POOLS_MORE);
    }
    uint32_t number = dp->n_pools++;
    dp->pools[number] = *pool;
    if (!written(a, ret_error, error_bytes)) {
        dp->n_pools--;
        return false;
    }
    if (!decisions_add_pool(a->ctl->decisions, number)) {
        dp->n_pools--;
        (void)addresses_write(a);
        return refuse(ret_error, error_bytes, "the strategies have no room for another pool");
    }
    pool_event(a, "added", number, NULL);
    return true;
}

bool addresses_pool_remove(struct addresses *a, uint32_t number, char *ret_error,
                           size_t error_bytes)
{
    struct dp_config *dp = &a->ctl->config.dp;
    struct dp_pool *pool = &dp->pools[number];
    if (!addresses_pool_is_added(a, number)) {
        return refuse(ret_error, error_bytes,
                      "pool \"%s\" stands in the configuration file: remove it there", pool->name);
    }
    for (uint32_t i = 0; i < a->ctl->config.n_senders; i++) {
        const struct ctl_sender *sender = &a->ctl->config.senders[i];
        if (sender->has_pool && sender->pool == number) {
            return refuse(ret_error, error_bytes, "sender \"%s\" uses pool \"%s\"", sender->name,
                          pool->name);
        }
    }
    for (uint32_t i = 0; i < dp->n_addresses; i++) {
        if (dp->addresses[i].pool == number && !dp->addresses[i].removed) {
            return refuse(ret_error, error_bytes, "pool \"%s\" has addresses: remove them first",
                          pool->name);
        }
    }
    pool->removed = true;
    if (!written(a, ret_error, error_bytes)) {
        pool->removed = false;
        return false;
    }
    pool_event(a, "removed", number, NULL);
    return true;
}

bool addresses_pool_assign(struct addresses *a, uint32_t number, uint32_t pool, char *ret_error,
                           size_t error_bytes)
{
    struct ctl_sender *sender = &a->ctl->config.senders[number];
    const struct ctl_sender before = *sender;
    sender->pool = pool;
    sender->has_pool = true;
    if (!decisions_put_sender(a->ctl->decisions, number)) {
        *sender = before;
        (void)decisions_put_sender(a->ctl->decisions, number);
        return refuse(ret_error, error_bytes,
                      "the strategies have no room for the addresses of pool \"%s\" beside those "
                      "that sender \"%s\" has had since the start",
                      a->ctl->config.dp.pools[pool].name, sender->name);
    }
    if (!written(a, ret_error, error_bytes)) {
        *sender = before;
        (void)decisions_put_sender(a->ctl->decisions, number);
        return false;
    }
    plan_refresh(a->ctl->plan, number);
    pool_event(a, "assigned", pool, sender->name);
    addresses_wanted(a);
    return true;
}
