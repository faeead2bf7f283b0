/* sim_world.c - the heap of events, the two hosts, and the run of one seed. */
#include "tests/tcp/sim/sim.h"

#include <stdarg.h>

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list args;

    if (sim->failed)
        return;
    sim->failed = true;
    va_start(args, format);
    (void)vsnprintf(sim->message, sizeof sim->message, format, args);
    va_end(args);
    if (sim->trace)
        (void)printf("%12.6f FAILED: %s\n", (double)sim->now_ns / 1e9, sim->message);
}

/* ---- heap ----------------------------------------------------------------------------------- */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void sim_schedule(struct sim *sim, struct sim_event event)
{
    uint32_t at = sim->heap_count;

    if (at == sim->heap_cap) {
        sim->heap_cap = sim->heap_cap == 0 ? 1024 : 2 * sim->heap_cap;
        sim->heap = realloc(sim->heap, sim->heap_cap * sizeof *sim->heap);
        INVARIANT(sim->heap != NULL);
    }
    event.order = sim->order++;
    sim->heap_count++;
    while (at > 0 && earlier(&event, &sim->heap[(at - 1) / 2])) {
        sim->heap[at] = sim->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->heap[at] = event;
}

static struct sim_event heap_pop(struct sim *sim)
{
    const struct sim_event top = sim->heap[0];
    const struct sim_event last = sim->heap[--sim->heap_count];
    uint32_t at = 0;

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= sim->heap_count)
            break;
        if (child + 1 < sim->heap_count && earlier(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!earlier(&sim->heap[child], &last))
            break;
        sim->heap[at] = sim->heap[child];
        at = child;
    }
    if (sim->heap_count > 0)
        sim->heap[at] = last;
    return top;
}

/* ---- hosts ---------------------------------------------------------------------------------- */

static uint16_t mtu_choose(struct sim *sim)
{
    const uint32_t floor = sim->family == 6 ? 1280 : 576;

    return (uint16_t)(sim_below(&sim->rng, 4) == 0 ? floor + sim_below(&sim->rng, 1500 - floor)
                                                   : 1500);
}

/* What a server of today has. */
static struct utcp_config config_of_scenario(uint32_t h)
{
    return (struct utcp_config){
        .mac = {0x02, 0, 0, 0, 0, (uint8_t)(1 + h)},
        .mtu = 1500,
        .prefix4_len = 24,
        .rx_window_bytes = 2000000,
        .tx_queue_bytes = 2000000,
        .limits = {.connections = 64, .segments = 16384, .rx_blocks = 32768, .chunks = 16384},
    };
}

static struct utcp_config config_choose(struct sim *sim, uint32_t h)
{
    struct sim_rng *rng = &sim->rng;

    return (struct utcp_config){
        .mac = {0x02, 0, 0, 0, 0, (uint8_t)(1 + h)},
        .mtu = mtu_choose(sim),
        .prefix4_len = 24,
        .prefix6_len = 64,
        .rx_window_bytes = (uint32_t)sim_log_range(rng, 2048, 300000),
        .tx_queue_bytes = (uint32_t)sim_log_range(rng, 4096, 262144),
        .limits = {.connections = 64,
                   .time_wait = 64,
                   .addresses = SIM_ADDRESSES,
                   .neighbours = 4,
                   .listeners = SIM_ADDRESSES,
                   .segments = (uint32_t)sim_log_range(rng, 64, 4096),
                   .chunks = (uint32_t)sim_log_range(rng, 64, 4096),
                   .copy_blocks = (uint32_t)sim_log_range(rng, 32, 512),
                   .rx_blocks = (uint32_t)sim_log_range(rng, 128, 1024)},
    };
}

static void address_text(const struct sim *sim, uint32_t h, uint32_t i, char text[static 32])
{
    (void)snprintf(text, 32, "%s%u", sim->family == 6 ? "2001:db8::" : "192.0.2.",
                   10 * (h + 1) + i);
}

/* Only its addresses: it has no stack. */
static void odd_start(struct sim *sim, struct sim_host *host)
{
    char text[32];

    for (uint32_t i = 0; i < SIM_ADDRESSES; i++) {
        address_text(sim, 1, i, text);
        INVARIANT(ip_addr_parse(text, &host->ip[i]));
    }
}

static void host_start(struct sim *sim, uint32_t h)
{
    struct sim_host *host = &sim->host[h];
    struct sim_rng *rng = &sim->rng;
    struct utcp_config config =
        sim->scenario != NULL ? config_of_scenario(h) : config_choose(sim, h);
    char text[32];
    int error = UTCP_OK;

    for (uint32_t i = 0; i < sizeof config.secret; i++)
        config.secret[i] = (uint8_t)sim_random(rng);
    (void)ip_addr_parse("192.0.2.0", &config.prefix4);
    if (sim->family == 6)
        (void)ip_addr_parse("2001:db8::", &config.prefix6);
    *host = (struct sim_host){.timer_ns = TIME_NEVER_NS};
    if (h == 1 && sim->odd != 0) {
        odd_start(sim, host);
        return;
    }
    if (sim->scenario == NULL)
        host->poll_every_ns = sim_below(rng, 2) == 0 ? 0 : sim_log_range(rng, NS_PER_US, NS_PER_MS);
    host->u = utcp_create(&config, &error);
    INVARIANT(host->u != NULL);
    for (uint32_t i = 0; i < SIM_ADDRESSES; i++) {
        address_text(sim, h, i, text);
        INVARIANT(ip_addr_parse(text, &host->ip[i]));
        INVARIANT(utcp_address_add(host->u, sim->now_ns, &host->ip[i]) == UTCP_OK);
        INVARIANT(utcp_listen(host->u, &host->ip[i], SIM_PORT, NULL) == UTCP_OK);
    }
}

void sim_poll_soon(struct sim *sim, uint32_t h)
{
    struct sim_host *host = &sim->host[h];

    if (host->poll_pending)
        return;
    host->poll_pending = true;
    sim_schedule(sim, (struct sim_event){
                          .kind = SIM_POLL, .host = h, .at_ns = sim->now_ns + host->poll_every_ns});
}

static void host_timer(struct sim *sim, uint32_t h)
{
    struct sim_host *host = &sim->host[h];
    const uint64_t deadline = utcp_deadline_ns(host->u);

    if (deadline >= host->timer_ns || deadline == TIME_NEVER_NS)
        return;
    host->timer_ns = deadline > sim->now_ns ? deadline : sim->now_ns;
    sim_schedule(
        sim, (struct sim_event){.kind = SIM_POLL, .host = h, .end = 1, .at_ns = host->timer_ns});
}

static void host_frames(struct sim *sim, struct sim_host *host)
{
    for (uint32_t i = 0; i < host->inbox_count; i++) {
        const struct sim_event *event = &host->inbox[i];

        utcp_input(host->u, sim->now_ns, event->frame, event->len, 0);
        free(event->frame);
    }
    host->inbox_count = 0;
}

/* One turn of a lane's loop. */
static void odd_poll(struct sim *sim, struct sim_host *host)
{
    for (uint32_t i = 0; i < host->inbox_count; i++) {
        sim_odd_input(sim, host->inbox[i].frame, host->inbox[i].len);
        free(host->inbox[i].frame);
    }
    host->inbox_count = 0;
}

static void stack_poll(struct sim *sim, uint32_t h)
{
    struct sim_host *host = &sim->host[h];
    uint8_t head[UTCP_HEAD_MAX];
    struct utcp_frame frame = {.head = head};
    struct utcp_event event;

    host_frames(sim, host);
    utcp_on_deadline(host->u, sim->now_ns);
    while (!sim->failed && utcp_next_event(host->u, &event))
        sim_app_event(sim, h, &event);
    while (utcp_output(host->u, sim->now_ns, &frame))
        sim_link_send(sim, h, &frame);
    sim_app_check_bounds(sim, h);
    if (sim_below(&sim->rng, 64) == 0)
        utcp_check(host->u);
    host_timer(sim, h);
}

static void host_poll(struct sim *sim, uint32_t h)
{
    if (sim->host[h].u == NULL)
        odd_poll(sim, &sim->host[h]);
    else
        stack_poll(sim, h);
}

/* A full inbox loses frames, as a ring of descriptors does. */
static void host_receive(struct sim *sim, const struct sim_event *event)
{
    struct sim_host *host = &sim->host[event->host];

    if (host->inbox_count == sizeof host->inbox / sizeof host->inbox[0]) {
        sim_trace_frame(sim, 1 - event->host, event->frame, event->len, "inbox full");
        free(event->frame);
        return;
    }
    host->inbox[host->inbox_count++] = *event;
    sim_poll_soon(sim, event->host);
}

/* ---- run ------------------------------------------------------------------------------------ */

static void handle(struct sim *sim, const struct sim_event *event)
{
    switch (event->kind) {
    case SIM_FRAME:
        host_receive(sim, event);
        break;
    case SIM_POLL:
        if (event->end == 1)
            sim->host[event->host].timer_ns = TIME_NEVER_NS;
        else
            sim->host[event->host].poll_pending = false;
        host_poll(sim, event->host);
        break;
    case SIM_TICK:
        sim_app_tick(sim, &sim->pair[event->host], event->end);
        break;
    case SIM_OPEN:
        sim_app_open(sim, &sim->pair[event->host]);
        break;
    }
}

static void check_host_end(struct sim *sim, uint32_t h)
{
    struct utcp_usage usage;

    if (sim->host[h].u == NULL)
        return;
    utcp_check(sim->host[h].u);
    utcp_usage(sim->host[h].u, &usage);
    if (usage.connections + usage.segments + usage.chunks + usage.copy_blocks + usage.rx_blocks +
            usage.time_wait !=
        0)
        sim_fail(sim, "host %u keeps %u connections, %u segments, %u chunks, %u blocks", h,
                 usage.connections, usage.segments, usage.chunks,
                 usage.copy_blocks + usage.rx_blocks);
}

static void world_start(struct sim *sim, uint64_t seed, bool trace,
                        const struct sim_scenario *scenario)
{
    uint8_t *noise = malloc(SIM_NOISE_BYTES);
    struct sim_rng noise_rng = {.state = 1};

    memset(sim, 0, sizeof *sim);
    INVARIANT(noise != NULL);
    for (uint32_t i = 0; i < SIM_NOISE_BYTES / 2; i += 8) {
        const uint64_t word = sim_random(&noise_rng);

        memcpy(noise + i, &word, 8);
        memcpy(noise + SIM_NOISE_BYTES / 2 + i, &word, 8); /* goes round without a seam */
    }
    sim->noise = (struct utcp_extent){.data = noise, .len = SIM_NOISE_BYTES, .refs = 1};
    sim->seed = seed;
    sim->rng.state = seed;
    sim->rng.state = sim_random(&sim->rng); /* seeds that follow each other are no neighbours */
    sim->trace = trace;
    sim->scenario = scenario;
    sim->now_ns = sim_below(&sim->rng, 4) == 0 ? 0 : sim_below(&sim->rng, UINT64_C(1) << 56);
    sim->family = sim_below(&sim->rng, 2) == 0 ? 4 : 6;
    if (scenario == NULL) {
        if (sim_below(&sim->rng, 5) == 0)
            sim_odd_choose(sim);
        sim_link_choose(sim);
    } else {
        sim->family = 4;
        sim_link_of_scenario(sim);
    }
    for (uint32_t h = 0; h < SIM_HOSTS; h++)
        host_start(sim, h);
    if (scenario == NULL)
        sim_app_choose(sim);
    else
        sim_app_of_scenario(sim);
    for (uint32_t h = 0; h < SIM_HOSTS; h++)
        sim_poll_soon(sim, h);
}

static void world_stop(struct sim *sim)
{
    for (uint32_t h = 0; h < SIM_HOSTS; h++) {
        for (uint32_t i = 0; sim->host[h].u != NULL && i < UTCP_N_COUNTERS; i++)
            sim->counters[i] += utcp_counters(sim->host[h].u)[i];
        for (uint32_t i = 0; i < sim->host[h].inbox_count; i++)
            free(sim->host[h].inbox[i].frame);
        utcp_destroy(sim->host[h].u);
    }
    for (uint32_t i = 0; i < sim->heap_count; i++)
        free(sim->heap[i].frame);
    free(sim->heap);
    free((void *)(uintptr_t)sim->noise.data);
}

static bool run(struct sim *sim, uint64_t seed, bool trace, const struct sim_scenario *scenario)
{
    uint64_t end_ns;

    world_start(sim, seed, trace, scenario);
    end_ns = sim->now_ns + SIM_END_NS;
    while (sim->heap_count > 0 && !sim->failed) {
        const struct sim_event event = heap_pop(sim);

        sim->now_ns = event.at_ns > sim->now_ns ? event.at_ns : sim->now_ns;
        if (sim->now_ns > end_ns) {
            free(event.frame);
            sim_app_check_end(sim);
            sim_fail(sim, "no end after %u s", (unsigned)(SIM_END_NS / NS_PER_S));
            break;
        }
        handle(sim, &event);
    }
    if (!sim->failed)
        sim_app_check_end(sim);
    for (uint32_t h = 0; h < SIM_HOSTS && !sim->failed; h++)
        check_host_end(sim, h);
    world_stop(sim);
    return !sim->failed;
}

bool sim_run(struct sim *sim, uint64_t seed, bool trace)
{
    return run(sim, seed, trace, NULL);
}

bool sim_run_scenario(struct sim *sim, const struct sim_scenario *scenario)
{
    return run(sim, scenario->seed, false, scenario);
}
