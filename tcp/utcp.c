/* utcp.c - a lane's stack: memory from limits, teardown, texts, counters. */
#include "tcp/utcp_internal.h"
#include "tcp/utcp_siphash.h"

#define MTU_MAX          9216u
#define RX_WINDOW_MAX    (UINT32_C(1) << 30) /* RFC 7323 2.3 */
#define TIME_WAIT_MS_MAX (10u * 60u * 1000u)

/* ---- configuration ------------------------------------------------------------------------- */

static void default_u32(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void fill_defaults(struct utcp_config *config)
{
    struct utcp_limits *limits = &config->limits;

    default_u32(&limits->connections, 4096);
    default_u32(&limits->time_wait, 8192);
    default_u32(&limits->half_open, 1024);
    default_u32(&limits->addresses, 1024);
    default_u32(&limits->neighbours, 1024);
    default_u32(&limits->segments, 16 * limits->connections);
    default_u32(&limits->chunks, 16 * limits->connections);
    default_u32(&limits->copy_blocks, 4 * limits->connections);
    default_u32(&limits->rx_blocks, 4 * limits->connections);
    default_u32(&limits->listeners, 16);
    default_u32(&limits->reassemblies, 16);
    default_u32(&limits->paths, 4096);
    default_u32(&config->rx_window_bytes, 32768);
    default_u32(&config->tx_queue_bytes, 262144);
    default_u32(&config->time_wait_ms, 60000);
    if (config->port_first == 0)
        config->port_first = 1024;
    if (config->port_last == 0)
        config->port_last = UINT16_MAX;
}

static bool limits_are_sound(const struct utcp_limits *limits)
{
    const uint32_t most = UINT32_C(1) << 28; /* no product of an id and a size overflows */

    return limits->connections <= CONN_INDEX_MAX && limits->time_wait <= most &&
           limits->half_open <= CONN_INDEX_MAX && limits->addresses <= UINT16_MAX &&
           limits->neighbours <= CONN_INDEX_MAX && limits->segments <= most &&
           limits->chunks <= most && limits->copy_blocks <= most && limits->rx_blocks <= most &&
           limits->listeners <= UINT16_MAX && limits->reassemblies <= UINT16_MAX &&
           limits->paths <= most;
}

static bool network_is_sound(const struct ip_addr *prefix, uint8_t prefix_len,
                             const struct ip_addr *gateway, uint8_t family)
{
    if (prefix->family == 0)
        return gateway->family == 0;
    return prefix->family == family && prefix_len <= 8 * ip_addr_len(family) &&
           (gateway->family == 0 || gateway->family == family);
}

static bool config_is_sound(const struct utcp_config *config)
{
    const uint32_t mtu_floor = config->prefix6.family == 6 ? IPV6_MTU_FLOOR : IPV4_MTU_FLOOR;

    return limits_are_sound(&config->limits) && config->mtu >= mtu_floor &&
           config->mtu <= MTU_MAX && config->prefix4.family + config->prefix6.family != 0 &&
           network_is_sound(&config->prefix4, config->prefix4_len, &config->gateway4, 4) &&
           network_is_sound(&config->prefix6, config->prefix6_len, &config->gateway6, 6) &&
           (config->mac[0] & 1) == 0 && config->port_first <= config->port_last &&
           config->rx_window_bytes <= RX_WINDOW_MAX && config->tx_queue_bytes <= RX_WINDOW_MAX &&
           config->time_wait_ms <= TIME_WAIT_MS_MAX;
}

/* ---- memory -------------------------------------------------------------------------------- */

static bool init_pools(struct utcp *u)
{
    const struct utcp_limits *limits = &u->config.limits;

    return utcp_pool_init(&u->conns, limits->connections, sizeof(struct utcp_conn)) &&
           utcp_pool_init(&u->halves, limits->half_open, sizeof(struct utcp_half)) &&
           utcp_pool_init(&u->segs, limits->segments, sizeof(struct utcp_seg)) &&
           utcp_pool_init(&u->chunks, limits->chunks, sizeof(struct utcp_chunk)) &&
           utcp_pool_init(&u->copy_blocks, limits->copy_blocks, COPY_BLOCK_BYTES) &&
           utcp_pool_init(&u->rx_blocks, limits->rx_blocks, sizeof(struct utcp_rx_block)) &&
           utcp_pool_init(&u->addresses, limits->addresses, sizeof(struct utcp_address)) &&
           utcp_pool_init(&u->neighbours, limits->neighbours, sizeof(struct utcp_neighbour));
}

static struct utcp_link *links_new(uint32_t ids)
{
    return utcp_memory_new((size_t)ids + 1, sizeof(struct utcp_link));
}

static bool init_tables(struct utcp *u)
{
    const struct utcp_limits *limits = &u->config.limits;

    u->conn_links = links_new(limits->connections);
    u->half_links = links_new(limits->half_open);
    u->event_links = links_new(limits->connections);
    u->room_links = links_new(limits->connections);
    u->neighbour_links = links_new(limits->neighbours);
    u->time_wait = utcp_memory_new(limits->time_wait, sizeof *u->time_wait);
    u->listeners = calloc(limits->listeners, sizeof *u->listeners);
    u->replies = calloc(REPLIES_MAX, sizeof *u->replies);
    u->paths = calloc((size_t)limits->paths + 1, sizeof *u->paths);
    u->path_next = 1;
    u->reassemblies = calloc(limits->reassemblies, sizeof *u->reassemblies);
    return u->conn_links != NULL && u->half_links != NULL && u->event_links != NULL &&
           u->room_links != NULL && u->neighbour_links != NULL && u->time_wait != NULL &&
           u->listeners != NULL && u->replies != NULL && u->reassemblies != NULL &&
           u->paths != NULL &&
           utcp_map_init(&u->tuples, limits->connections + limits->time_wait + limits->half_open) &&
           utcp_map_init(&u->address_map, limits->addresses) &&
           utcp_map_init(&u->neighbour_map, limits->neighbours) &&
           utcp_map_init(&u->path_map, limits->paths) &&
           utcp_wheel_init(&u->wheel, limits->connections + limits->neighbours + limits->addresses);
}

static void init_keys(struct utcp *u)
{
    for (uint8_t i = 0; i < 2; i++)
        u->map_key[i] = utcp_siphash(u->config.secret, &i, 1);
    while (u->config.rx_window_bytes >> u->rcv_wscale > UINT16_MAX)
        u->rcv_wscale++;
}

static void release_memory(struct utcp *u)
{
    struct utcp_pool *const pools[] = {&u->conns,     &u->halves,      &u->segs,
                                       &u->chunks,    &u->copy_blocks, &u->rx_blocks,
                                       &u->addresses, &u->neighbours};

    for (size_t i = 0; i < sizeof pools / sizeof pools[0]; i++)
        utcp_pool_destroy(pools[i]);
    utcp_map_destroy(&u->tuples);
    utcp_map_destroy(&u->address_map);
    utcp_map_destroy(&u->neighbour_map);
    utcp_map_destroy(&u->path_map);
    utcp_wheel_destroy(&u->wheel);
    free(u->conn_links);
    free(u->half_links);
    free(u->event_links);
    free(u->room_links);
    free(u->neighbour_links);
    free(u->time_wait);
    free(u->listeners);
    free(u->replies);
    free(u->reassemblies);
    free(u->paths);
    free(u);
}

struct utcp *utcp_create(const struct utcp_config *config, int *ret_error)
{
    struct utcp *u = calloc(1, sizeof *u);

    if (u == NULL) {
        *ret_error = UTCP_E_MEMORY;
        return NULL;
    }
    u->config = *config;
    fill_defaults(&u->config);
    if (!config_is_sound(&u->config)) {
        free(u);
        *ret_error = UTCP_E_CONFIG;
        return NULL;
    }
    if (!init_pools(u) || !init_tables(u)) {
        release_memory(u);
        *ret_error = UTCP_E_MEMORY;
        return NULL;
    }
    init_keys(u);
    return u;
}

/* What connections hold must come back when they are gone, to the last segment. */
static void check_pools_full(const struct utcp *u)
{
    (void)u;
    INVARIANT_HOT(u->conns.free == u->conns.count);
    INVARIANT_HOT(u->halves.free == u->halves.count);
    INVARIANT_HOT(u->segs.free == u->segs.count);
    INVARIANT_HOT(u->chunks.free == u->chunks.count);
    INVARIANT_HOT(u->copy_blocks.free == u->copy_blocks.count);
    INVARIANT_HOT(u->rx_blocks.free == u->rx_blocks.count);
    INVARIANT_HOT(u->conns_alive == 0);
    for (uint32_t id = 1; id <= u->neighbours.count; id++)
        INVARIANT_HOT(neighbour_at(u, id)->refs == 0);
}

void utcp_destroy(struct utcp *u)
{
    if (u == NULL)
        return;
    for (uint32_t id = 1; id <= u->conns.count; id++) {
        struct utcp_conn *c = conn_at(u, id);

        if ((c->flags & CF_USED) == 0)
            continue;
        c->flags |= CF_RELEASED;
        if (conn_is_over(c))
            utcp_conn_free(u, c);
        else
            utcp_conn_close(u, u->tw_last_now_ns, c, UTCP_CLOSE_LOCAL);
    }
    utcp_half_drop_all(u);
    check_pools_full(u);
    release_memory(u);
}

/* ---- texts and counters -------------------------------------------------------------------- */

const char *utcp_error_text(int error)
{
    switch (error) {
#define X(name, value, text)                                                                       \
    case (value):                                                                                  \
        return (text);
        UTCP_ERROR_MAP(X)
#undef X
    default: /* any int may come */
        return "unknown error";
    }
}

const char *utcp_state_text(enum utcp_state state)
{
    switch (state) {
#define X(name)                                                                                    \
    case UTCP_##name:                                                                              \
        return #name;
        UTCP_STATE_MAP(X)
#undef X
    }
    return "?";
}

const char *utcp_close_text(enum utcp_close_reason reason)
{
    switch (reason) {
    case UTCP_CLOSE_NONE:
        return "still open";
    case UTCP_CLOSE_NORMAL:
        return "closed by both sides";
    case UTCP_CLOSE_REFUSED:
        return "connection refused";
    case UTCP_CLOSE_RESET:
        return "connection reset by peer";
    case UTCP_CLOSE_TIMEOUT:
        return "connection timed out";
    case UTCP_CLOSE_UNREACHABLE:
        return "destination unreachable";
    case UTCP_CLOSE_LOCAL:
        return "source address removed or taken";
    }
    return "?";
}

const uint64_t *utcp_counters(const struct utcp *u)
{
    return u->counters;
}

const char *utcp_counter_name(enum utcp_counter counter)
{
    static const char *const names[] = {
#define UTCP_COUNTER(name, text) #name,
#include "tcp/utcp_counters.def"
#undef UTCP_COUNTER
    };

    return (unsigned)counter < UTCP_N_COUNTERS ? names[counter] : "?";
}

void utcp_usage(const struct utcp *u, struct utcp_usage *ret_usage)
{
    *ret_usage = (struct utcp_usage){
        .connections = u->conns.count - u->conns.free,
        .half_open = u->halves.count - u->halves.free,
        .time_wait = u->tw_count,
        .addresses = u->addresses.count - u->addresses.free,
        .neighbours = u->neighbours.count - u->neighbours.free,
        .segments = u->segs.count - u->segs.free,
        .chunks = u->chunks.count - u->chunks.free,
        .copy_blocks = u->copy_blocks.count - u->copy_blocks.free,
        .rx_blocks = u->rx_blocks.count - u->rx_blocks.free,
        .reassemblies = utcp_reassembly_count(u),
    };
}

uint32_t utcp_connections(const struct utcp *u)
{
    return u->conns_alive;
}
