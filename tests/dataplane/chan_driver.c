/*
 * chan_driver.c - the smallest possible control process, for tests of wirepost-dataplane with real
 * servers: makes the channels, waits for the data plane, submits jobs and prints their outcomes.
 * --help explains. It keeps nothing durable; a killed one is followed by another with --adopt.
 */
#include "dataplane/chan_address.h"
#include "dataplane/dp_clock.h"
#include "dataplane/dp_config.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

struct driver {
    const char *run_dir, *config_path, *target, *recipient;
    uint16_t port;
    uint32_t count, bytes, connections, messages, idle_ms, die_after, sites;
    bool adopt, quiet, drain;
    struct dp_config config;
    struct chan_control *channels[DP_LANES_MAX];
    struct chan_range body[DP_LANES_MAX]; /* shared by all jobs of the lane */
    int dataplane_fd;
    uint32_t submitted, done, next_address;
    uint32_t kinds[OUTCOME_RETURNED + 1];
};

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "chan_driver: %s: %s\n", what, why);
    exit(1);
}

static void must(int result, const char *what)
{
    if (result != CHAN_OK) {
        die(what, result == CHAN_E_SYSTEM ? strerror(errno) : chan_error_text(result));
    }
}

/* ---- start ------------------------------------------------------------------------------- */

static void load(struct driver *d)
{
    struct config_errors errors = {0};
    json_error_t error;
    json_t *root = json_load_file(d->config_path, 0, &error);
    if (!root) {
        die(d->config_path, error.text);
    }
    if (!dp_config_parse(root, &d->config, &errors)) {
        die(errors.list[0].path, errors.list[0].message);
    }
    json_decref(root);
}

static void open_channels(struct driver *d)
{
    for (uint32_t lane = 0; lane < d->config.n_lanes; lane++) {
        const struct chan_geometry geometry = {
            .lane = lane,
            .n_slots = d->config.jobs_per_lane,
            .arena_bytes = d->config.arena_bytes,
            .n_addresses = d->config.addresses_per_lane,
        };
        enum chan_found found;
        must(chan_control_open(d->run_dir, &geometry, &d->channels[lane], &found), "channel");
        if (d->adopt && found == CHAN_FOUND_OLD) {
            (void)chan_control_rebuild_arena(d->channels[lane]);
            d->submitted += d->config.jobs_per_lane - chan_control_n_free(d->channels[lane]);
        } else {
            chan_control_reset(d->channels[lane]);
        }
    }
}

/* An adopted table has them already. */
static void put_addresses(struct driver *d)
{
    for (uint32_t i = 0; i < d->config.n_addresses; i++) {
        const struct dp_address *address = &d->config.addresses[i];
        struct chan_control *c = d->channels[address->lane];
        uint32_t entry;
        if (chan_address_at(c, 0).family != 0 && d->adopt) {
            return;
        }
        if (!chan_address_put(c, &address->addr, 0, CHAN_ADDRESS_USE, &entry)) {
            die("addresses", "more than there is room for");
        }
        chan_addresses_end(c);
    }
}

static void make_body(struct driver *d, uint32_t lane)
{
    static const char head[] = "From: <from@acme.example>\r\nTo: <to@alpha.example>\r\n"
                               "Subject: chan_driver\r\nMessage-ID: <1@acme.example>\r\n\r\n";
    struct chan_control *c = d->channels[lane];
    if (!chan_arena_alloc(chan_control_arena(c), sizeof head - 1 + d->bytes, &d->body[lane])) {
        die("--bytes", "the arena is too small");
    }
    char *at = (char *)chan_control_bytes(c, d->body[lane]);
    memcpy(at, head, sizeof head - 1);
    at += sizeof head - 1;
    for (uint32_t i = 0; i < d->bytes; i++) {
        bool end = i + 2 == d->bytes || (i % 76 == 74 && i + 3 < d->bytes);
        at[i] = end ? '\r' : i > 0 && at[i - 1] == '\r' ? '\n' : (char)('a' + i % 26);
    }
}

static void meet_dataplane(struct driver *d)
{
    char path[256];
    struct chan_hello hello;
    int listener, result;
    (void)snprintf(path, sizeof path, "%s/dataplane.sock", d->run_dir);
    must(chan_control_listen(path, &listener), path);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    if (poll(&p, 1, 60000) != 1) {
        die(path, "no data plane came");
    }
    d->dataplane_fd = accept(listener, NULL, NULL);
    p.fd = d->dataplane_fd;
    do {
        (void)poll(&p, 1, 60000);
        result = chan_control_recv_hello(d->dataplane_fd, &hello);
    } while (result == CHAN_E_AGAIN);
    must(result, "hello");
    must(chan_control_welcome(d->dataplane_fd, true, 0, d->channels, d->config.n_lanes), "welcome");
    (void)puts("attached");
    (void)fflush(stdout);
    (void)close(listener);
}

/* ---- jobs -------------------------------------------------------------------------------- */

static uint32_t add_string(char *strings, uint32_t *len, const char *text)
{
    uint32_t at = *len;
    memcpy(strings + at, text, strlen(text) + 1);
    *len += (uint32_t)strlen(text) + 1;
    return at;
}

static void fill(struct driver *d, struct chan_slot *slot, const struct dp_address *from)
{
    char strings[1024], ehlo[256];
    uint32_t len = 0;
    struct chan_control *c = d->channels[from->lane];
    slot->message_id = d->submitted;
    slot->source = from->addr;
    slot->n_targets = slot->n_recipients = 1;
    slot->site_hash = 1 + d->submitted % d->sites;
    slot->connections_max = d->connections;
    slot->messages_per_connection_max = d->messages;
    slot->idle_ms = d->idle_ms;
    (void)dp_pool_ehlo(&d->config, from, ehlo, sizeof ehlo);
    slot->ehlo = add_string(strings, &len, ehlo);
    slot->mail_from = add_string(strings, &len, "from@acme.example");
    slot->site = add_string(strings, &len, "alpha.example");
    slot->recipients[0] = add_string(strings, &len, d->recipient);
    slot->targets[0].host = slot->site;
    slot->targets[0].port = d->port;
    if (!ip_addr_parse(d->target, &slot->targets[0].addr)) {
        die("--target", "not an address");
    }
    if (!chan_arena_alloc(chan_control_arena(c), len, &slot->strings)) {
        die("arena", "full");
    }
    memcpy(chan_control_bytes(c, slot->strings), strings, len);
    slot->body = d->body[from->lane];
}

/* As many as there are free slots; addresses take turns. */
static void submit(struct driver *d)
{
    while (d->submitted < d->count) {
        const struct dp_address *from = &d->config.addresses[d->next_address];
        uint32_t slot;
        if (!chan_control_alloc(d->channels[from->lane], &slot)) {
            return;
        }
        fill(d, chan_control_slot(d->channels[from->lane], slot), from);
        must(chan_control_submit(d->channels[from->lane], slot), "submit");
        d->submitted++;
        d->next_address = (d->next_address + 1) % d->config.n_addresses;
    }
}

static void report(struct driver *d, uint32_t lane, uint32_t index)
{
    struct chan_control *c = d->channels[lane];
    struct chan_slot *s = chan_control_slot(c, index);
    char source[IP_ADDR_TEXT_MAX];
    if (!chan_control_results_valid(c, index)) {
        die("results", "not valid");
    }
    const struct chan_result *r = &s->results[0];
    d->kinds[r->kind]++;
    if (!d->quiet) {
        (void)printf("%llu lane=%u source=%s kind=%s stage=%s code=%u reused=%u rtt_us=%u "
                     "retransmissions=%u text=%s\n",
                     (unsigned long long)s->message_id, lane, ip_addr_format(&s->source, source),
                     outcome_kind_text(r->kind), outcome_stage_text(r->stage), r->code, s->reused,
                     s->rtt_us, s->retransmissions, r->text);
    }
    chan_arena_free(chan_control_arena(c), s->strings);
    chan_control_free(c, index);
    d->done++;
    if (d->die_after > 0 && d->done >= d->die_after) {
        (void)fflush(stdout);
        _exit(9); /* as if killed: nothing is put in order */
    }
}

static void collect(struct driver *d)
{
    for (uint32_t lane = 0; lane < d->config.n_lanes; lane++) {
        uint32_t slot;
        chan_control_done_ack(d->channels[lane]);
        chan_control_heartbeat(d->channels[lane], dp_clock_ns());
        while (chan_control_next_done(d->channels[lane], &slot)) {
            report(d, lane, slot);
        }
    }
}

static void wait_for_outcomes(const struct driver *d)
{
    struct pollfd fds[DP_LANES_MAX + 1];
    uint32_t n = 0;
    for (; n < d->config.n_lanes; n++) {
        fds[n] = (struct pollfd){.fd = chan_control_done_fd(d->channels[n]), .events = POLLIN};
    }
    fds[n++] = (struct pollfd){.fd = d->dataplane_fd, .events = POLLIN};
    (void)poll(fds, n, 1000);
    if (fds[n - 1].revents != 0) {
        die("data plane", "it closed the socket");
    }
}

static void run(struct driver *d)
{
    uint64_t begin_ns = dp_clock_ns();
    for (uint32_t lane = 0; d->drain && lane < d->config.n_lanes; lane++) {
        chan_control_drain(d->channels[lane], true);
    }
    submit(d);
    while (d->done < d->submitted) {
        wait_for_outcomes(d);
        collect(d);
        submit(d);
    }
    double seconds = (double)(dp_clock_ns() - begin_ns) / 1e9;
    (void)printf("total %u:", d->done);
    for (uint32_t kind = OUTCOME_DELIVERED; kind <= OUTCOME_RETURNED; kind++) {
        (void)printf(" %s=%u", outcome_kind_text(kind), d->kinds[kind]);
    }
    (void)printf(" seconds=%.3f per_second=%.0f\n", seconds, (double)d->done / seconds);
}

/* ---- command line ------------------------------------------------------------------------ */

static const char help[] =
    "usage: chan_driver --run-dir DIR --config FILE --target ADDRESS [options]\n"
    "Makes the channels, listens on DIR/dataplane.sock, waits for wirepost-dataplane, submits "
    "jobs\n"
    "from all source addresses in turn, and prints one line for each outcome and a sum.\n"
    "  --count N         jobs (1)            --bytes N        body, without its header (1000)\n"
    "  --port N          of the target (25)  --recipient A    (to@alpha.example)\n"
    "  --connections N   per source, site (1) --messages N    per connection (100)\n"
    "  --sites N         site hashes (1)     --idle-ms N      (1000)\n"
    "  --adopt           go on with what an earlier one left in the channels\n"
    "  --die-after N     end without order after N outcomes, status 9\n"
    "  --drain           set the lanes to drain first\n"
    "  --quiet           only the sum\n";

static uint32_t number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || end == text || value > UINT32_MAX) {
        die("not a number", text);
    }
    return (uint32_t)value;
}

static void take_option(struct driver *d, int option)
{
    switch (option) {
    case 'r':
        d->run_dir = optarg;
        break;
    case 'c':
        d->config_path = optarg;
        break;
    case 't':
        d->target = optarg;
        break;
    case 'R':
        d->recipient = optarg;
        break;
    case 'p':
        d->port = (uint16_t)number(optarg);
        break;
    case 'n':
        d->count = number(optarg);
        break;
    case 'b':
        d->bytes = number(optarg);
        break;
    case 'C':
        d->connections = number(optarg);
        break;
    case 'm':
        d->messages = number(optarg);
        break;
    case 's':
        d->sites = number(optarg);
        break;
    case 'i':
        d->idle_ms = number(optarg);
        break;
    case 'd':
        d->die_after = number(optarg);
        break;
    case 'a':
        d->adopt = true;
        break;
    case 'D':
        d->drain = true;
        break;
    case 'q':
        d->quiet = true;
        break;
    case 'h':
        (void)fputs(help, stdout);
        exit(0);
    default:
        (void)fputs(help, stderr);
        exit(64);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"run-dir", 1, NULL, 'r'},  {"config", 1, NULL, 'c'},
        {"target", 1, NULL, 't'},   {"recipient", 1, NULL, 'R'},
        {"port", 1, NULL, 'p'},     {"count", 1, NULL, 'n'},
        {"bytes", 1, NULL, 'b'},    {"connections", 1, NULL, 'C'},
        {"messages", 1, NULL, 'm'}, {"sites", 1, NULL, 's'},
        {"idle-ms", 1, NULL, 'i'},  {"die-after", 1, NULL, 'd'},
        {"adopt", 0, NULL, 'a'},    {"drain", 0, NULL, 'D'},
        {"quiet", 0, NULL, 'q'},    {"help", 0, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    static struct driver d = {
        .recipient = "to@alpha.example",
        .port = 25,
        .count = 1,
        .bytes = 1000,
        .connections = 1,
        .messages = 100,
        .sites = 1,
        .idle_ms = 1000,
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        take_option(&d, option);
    }
    if (!d.run_dir || !d.config_path || !d.target || d.sites == 0 || d.bytes < 2) {
        (void)fputs(help, stderr);
        return 64;
    }
    load(&d);
    open_channels(&d);
    put_addresses(&d);
    for (uint32_t lane = 0; lane < d.config.n_lanes; lane++) {
        make_body(&d, lane);
    }
    meet_dataplane(&d);
    run(&d);
    (void)close(d.dataplane_fd);
    for (uint32_t lane = 0; lane < d.config.n_lanes; lane++) {
        chan_control_close(d.channels[lane]);
    }
    dp_config_free(&d.config);
    return 0;
}
