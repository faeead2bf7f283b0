/* api_stats.c - `stats` and `lanes`: counters. See API.md. */
#include "control/api_private.h"

#include "control/dp_process.h"
#include "control/lanes.h"
#include "tcp/utcp.h"

static json_t *integer(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *messages_json(const struct ctl *ctl)
{
    const struct ctl_counts *c = &ctl->counts;
    json_t *object = ctl_must(json_object());
    (void)json_object_set_new(object, "accepted", integer(c->accepted));
    (void)json_object_set_new(object, "finished", integer(c->finished));
    (void)json_object_set_new(object, "queued", integer(ctl->messages.count));
    (void)json_object_set_new(object, "in_flight", integer(c->in_flight));
    (void)json_object_set_new(object, "delivered", integer(c->delivered));
    (void)json_object_set_new(object, "deferred", integer(c->deferred));
    (void)json_object_set_new(object, "bounced", integer(c->bounced));
    (void)json_object_set_new(object, "doubtful", integer(c->doubtful));
    return object;
}

static json_t *path_json(const struct path_stat *path)
{
    json_t *object = ctl_must(json_object());
    (void)json_object_set_new(object, "source", json_string(path->source));
    (void)json_object_set_new(object, "site", json_string(path->site));
    (void)json_object_set_new(object, "sent", integer(path->sent));
    (void)json_object_set_new(object, "delivered", integer(path->delivered));
    (void)json_object_set_new(object, "deferred", integer(path->deferred));
    (void)json_object_set_new(object, "bounced", integer(path->bounced));
    (void)json_object_set_new(object, "doubtful", integer(path->doubtful));
    (void)json_object_set_new(object, "bytes", integer(path->bytes));
    (void)json_object_set_new(object, "first_at", json_real((double)path->first_ms / 1000.0));
    (void)json_object_set_new(object, "last_at", json_real((double)path->last_ms / 1000.0));
    return object;
}

static json_t *spool_json(struct store *store)
{
    struct store_stats stats;
    store_stats(store, &stats);
    return ctl_must(json_pack("{s:I, s:I, s:I, s:I, s:b}", "messages", (json_int_t)stats.messages,
                              "bytes", (json_int_t)stats.used_bytes, "max_bytes",
                              (json_int_t)stats.max_bytes, "free_bytes",
                              (json_int_t)stats.free_bytes, "writable", stats.writable));
}

static json_t *dns_json(const struct dns_resolver *resolver)
{
    struct dns_stats stats;
    dns_stats(resolver, &stats);
    return ctl_must(json_pack("{s:I, s:I, s:I, s:i, s:i}", "lookups", (json_int_t)stats.lookups,
                              "cache_hits", (json_int_t)stats.cache_hits, "failures",
                              (json_int_t)stats.failures, "under_way", (int)stats.under_way,
                              "cached", (int)stats.cached));
}

void api_stats(struct rpc_request *request)
{
    struct ctl *ctl = request->ctl;
    json_t *paths = ctl_must(json_array());
    for (uint32_t i = 0; i < ctl->paths.count; i++) {
        (void)json_array_append_new(paths, path_json(&ctl->paths.list[i]));
    }
    rpc_result(request,
               json_pack("{s:o, s:o, s:o, s:o, s:f}", "messages", messages_json(ctl), "paths",
                         paths, "spool", spool_json(ctl->store), "dns", dns_json(ctl->dns),
                         "uptime_s", (double)(ctl_time_ms() - ctl->started_ms) / 1000.0));
}

/* ---- lanes ------------------------------------------------------------------------------- */

static json_t *counters_json(const struct chan_header *header)
{
    json_t *object = ctl_must(json_object());
#define X(name, text) (void)json_object_set_new(object, #name, integer(header->counters.name));
    CHAN_COUNTER_MAP(X)
#undef X
    return object;
}

static json_t *tcp_json(const struct chan_header *header)
{
    json_t *object = ctl_must(json_object());
    uint32_t n = header->n_tcp_counters;
    n = n < CHAN_TCP_COUNTERS_MAX ? n : CHAN_TCP_COUNTERS_MAX;
    for (uint32_t i = 0; i < n && i < (uint32_t)UTCP_N_COUNTERS; i++) {
        (void)json_object_set_new(object, utcp_counter_name((enum utcp_counter)i),
                                  integer(header->tcp_counters[i]));
    }
    return object;
}

static uint32_t addresses_of(const struct dp_config *dp, uint32_t lane)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < dp->n_addresses; i++) {
        n += dp->addresses[i].lane == lane && !dp->addresses[i].removed;
    }
    return n;
}

static const char *lane_state(const struct ctl *ctl, int64_t heartbeat_ms)
{
    if (!dp_process_running(ctl->lanes->process)) {
        return "down";
    }
    return ctl->draining ? "draining" : heartbeat_ms > 5000 ? "silent" : "running";
}

static json_t *lane_json(const struct ctl *ctl, uint32_t number)
{
    struct lane *lane = &ctl->lanes->list[number];
    const struct dp_config *dp = &ctl->config.dp;
    const struct chan_header *header = chan_control_header(lane->chan);
    uint64_t beat = atomic_load(&header->lane_heartbeat_ns), now = uv_hrtime();
    int64_t age_ms = beat < now ? (int64_t)((now - beat) / NS_PER_MS) : 0;
    const struct chan_arena *arena = chan_control_arena(lane->chan);
    return ctl_must(json_pack(
        "{s:i, s:s, s:i, s:i, s:s, s:I, s:i, s:i, s:i, s:I, s:I, s:o, s:o}", "lane", (int)number,
        "port", dp->ports[dp->lanes[number].port].name, "queue", (int)dp->lanes[number].queue,
        "cpu", (int)dp->lanes[number].lcore, "state", lane_state(ctl, age_ms), "heartbeat_ms",
        (json_int_t)age_ms, "addresses", (int)addresses_of(dp, number), "jobs_outstanding",
        (int)lane->n_jobs, "jobs_limit", (int)chan_control_n_slots(lane->chan), "arena_used",
        (json_int_t)(arena->bytes - arena->free_bytes), "arena_bytes", (json_int_t)arena->bytes,
        "counters", counters_json(header), "tcp", tcp_json(header)));
}

void api_lanes(struct rpc_request *request)
{
    const struct ctl *ctl = request->ctl;
    json_t *lanes = ctl_must(json_array());
    for (uint32_t i = 0; i < ctl->config.dp.n_lanes; i++) {
        if (ctl->lanes->list[i].chan) {
            (void)json_array_append_new(lanes, lane_json(ctl, i));
        }
    }
    rpc_result(request, json_pack("{s:o, s:o}", "dataplane", dp_process_json(ctl->lanes->process),
                                  "lanes", lanes));
}
