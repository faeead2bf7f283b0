/* bench_feed.c - see bench_feed.h. */
#include "tools/bench/bench_feed.h"

#include "dataplane/chan_address.h"
#include "tools/bench/bench_message.h"

#include <unistd.h>

#define IDLE_MS 60000u

struct bench_feed {
    const struct bench_options *options;
    const struct dp_config *config;
    struct chan_control *control;
    struct ip_addr target;
    struct chan_range *bodies;  /* by slot */
    struct chan_range *strings; /* by address: its EHLO name first */
    uint32_t site, mail_from, recipient;
    uint32_t out;
    bool stopped;
    uint64_t delivered, failed;
    char failure[CHAN_TEXT_MAX + 32];
};

/* ---- making ------------------------------------------------------------------------------ */

static bool make_strings(struct bench_feed *f, uint32_t address)
{
    static const char site[] = "sink.example", from[] = "from@bench.example",
                      to[] = "to@sink.example";
    char text[512] = {0};
    struct chan_range *range = &f->strings[address];
    f->site = 256;
    f->mail_from = f->site + sizeof site;
    f->recipient = f->mail_from + sizeof from;
    memcpy(text + f->site, site, sizeof site);
    memcpy(text + f->mail_from, from, sizeof from);
    memcpy(text + f->recipient, to, sizeof to);
    if (!dp_pool_ehlo(f->config, &f->config->addresses[address], text, f->site) ||
        !chan_arena_alloc(chan_control_arena(f->control), sizeof text, range)) {
        return false;
    }
    memcpy(chan_control_bytes(f->control, *range), text, sizeof text);
    return true;
}

static bool make_messages(struct bench_feed *f)
{
    struct chan_arena *arena = chan_control_arena(f->control);
    uint32_t n_slots = chan_control_n_slots(f->control);
    f->bodies = calloc(n_slots, sizeof f->bodies[0]);
    f->strings = calloc(f->config->n_addresses, sizeof f->strings[0]);
    if (!f->bodies || !f->strings) {
        return false;
    }
    for (uint32_t i = 0; i < f->config->n_addresses; i++) {
        if (!make_strings(f, i)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < n_slots; i++) {
        if (!chan_arena_alloc(arena, f->options->size, &f->bodies[i])) {
            return false;
        }
        bench_message_make(chan_control_bytes(f->control, f->bodies[i]), f->options->size, i);
    }
    return true;
}

static bool put_addresses(struct bench_feed *f)
{
    for (uint32_t i = 0; i < f->config->n_addresses; i++) {
        uint32_t entry;
        if (!chan_address_put(f->control, &f->config->addresses[i].addr, 0, CHAN_ADDRESS_USE,
                              &entry)) {
            return false;
        }
    }
    chan_addresses_end(f->control);
    return true;
}

struct bench_feed *bench_feed_create(const struct bench_options *options, const char *run_dir,
                                     const struct dp_config *config, const struct ip_addr *target)
{
    const struct chan_geometry geometry = {.n_slots = config->jobs_per_lane,
                                           .arena_bytes = config->arena_bytes,
                                           .n_addresses = config->addresses_per_lane};
    enum chan_found found;
    struct bench_feed *f = calloc(1, sizeof *f);
    if (!f) {
        return NULL;
    }
    f->options = options;
    f->config = config;
    f->target = *target;
    int result = chan_control_open(run_dir, &geometry, &f->control, &found);
    if (result != CHAN_OK || !put_addresses(f) || !make_messages(f)) {
        (void)fprintf(stderr, "wirepost-bench: the channel: %s\n",
                      result != CHAN_OK ? chan_error_text(result) : "it is too small");
        bench_feed_destroy(f);
        return NULL;
    }
    return f;
}

void bench_feed_destroy(struct bench_feed *f)
{
    if (f) {
        chan_control_close(f->control);
        free(f->bodies);
        free(f->strings);
    }
    free(f);
}

int bench_feed_done_fd(const struct bench_feed *f)
{
    return dup(chan_control_done_fd(f->control));
}

/* ---- jobs out, outcomes in --------------------------------------------------------------- */

static void submit(struct bench_feed *f, uint32_t address)
{
    uint32_t index;
    if (!chan_control_alloc(f->control, &index)) {
        return;
    }
    struct chan_slot *slot = chan_control_slot(f->control, index);
    slot->message_id = address;
    slot->source = f->config->addresses[address].addr;
    slot->n_targets = slot->n_recipients = 1;
    slot->site_hash = 1;
    slot->connections_max =
        (f->options->sessions + f->config->n_addresses - 1) / f->config->n_addresses;
    slot->messages_per_connection_max = f->options->new_connections ? 1 : UINT32_MAX;
    slot->idle_ms = f->options->new_connections ? 0 : IDLE_MS;
    slot->strings = f->strings[address];
    slot->site = f->site;
    slot->mail_from = f->mail_from;
    slot->recipients[0] = f->recipient;
    slot->targets[0] = (struct chan_target){
        .addr = f->target,
        .port = 25,
        .host = f->site,
        .tls = f->options->tls ? CHAN_TLS_MAY : CHAN_TLS_NONE,
        .tls_name = CHAN_NO_STRING,
        .tlsa = CHAN_NO_STRING,
    };
    slot->body = f->bodies[index];
    INVARIANT(chan_control_submit(f->control, index) == CHAN_OK);
    f->out++;
}

static uint32_t collect(struct bench_feed *f, uint32_t index)
{
    const struct chan_slot *slot = chan_control_slot(f->control, index);
    const struct chan_result *r = &slot->results[0];
    uint32_t address = (uint32_t)slot->message_id;
    if (chan_control_results_valid(f->control, index) && r->kind == OUTCOME_DELIVERED) {
        f->delivered++;
    } else {
        f->failed++;
        (void)snprintf(f->failure, sizeof f->failure, "%u %s", r->code, r->text);
    }
    chan_control_free(f->control, index);
    f->out--;
    return address;
}

/* The first jobs: each address gets its share. */
static void begin(struct bench_feed *f)
{
    uint32_t most = 2 * f->options->sessions;
    for (uint32_t i = 0; i < most && chan_control_n_free(f->control) > 0; i++) {
        submit(f, i % f->config->n_addresses);
    }
}

uint32_t bench_feed_run(struct bench_feed *f)
{
    uint32_t n = 0, index;
    if (f->out == 0 && !f->stopped) {
        begin(f);
    }
    while (n < 64 && chan_control_next_done(f->control, &index)) {
        uint32_t address = collect(f, index);
        if (!f->stopped) {
            submit(f, address);
        }
        n++;
    }
    if (n > 0) {
        chan_control_done_ack(f->control);
    }
    return n;
}

void bench_feed_stop(struct bench_feed *f)
{
    f->stopped = true;
}

uint64_t bench_feed_delivered(const struct bench_feed *f)
{
    return f->delivered;
}

uint64_t bench_feed_failed(const struct bench_feed *f)
{
    return f->failed;
}

uint32_t bench_feed_out(const struct bench_feed *f)
{
    return f->out;
}

const char *bench_feed_failure(const struct bench_feed *f)
{
    return f->failure;
}
