/*
 * ctl_main.c - wirepostd: options, the order of start and stop.
 *
 * Start:  configuration -> directories -> spool (locks it) -> lanes (locks nothing, takes jobs
 * over) -> queue -> DNS
 *         -> control socket -> data plane. A part that cannot start says why in one line and ends
 * the process with a status of sysexits.h. Stop:   SIGTERM or SIGINT: nothing new is accepted or
 * started; running transactions finish; the data plane ends; what is not durable becomes so. A
 * second signal ends at once; the next start finds everything in spool and slots.
 */
#include "control/addresses.h"
#include "control/api.h"
#include "control/ctl.h"
#include "control/destination.h"
#include "control/dispatch.h"
#include "control/dkim_ring.h"
#include "control/dnsbl.h"
#include "control/dp_process.h"
#include "control/drain.h"
#include "control/idempotency.h"
#include "control/lanes.h"
#include "control/notify.h"
#include "control/plan.h"
#include "control/pools.h"
#include "control/relay.h"
#include "control/shaping.h"
#include "control/sns.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define STOP_LOOK_MS  20
#define SWEEP_MS      600000 /* old idempotency keys */
#define SWEEP_MORE_MS 1000
#define RELAY_STOP_MS                                                                              \
    35000 /* transactions of relays that run longer are cut; their slots tell the next start */

static const char help[] =
    "NAME\n"
    "    wirepostd - the control plane of Wirepost: accepts mail, keeps it safe, decides, retries\n"
    "\n"
    "SYNOPSIS\n"
    "    wirepostd --config FILE\n"
    "    wirepostd --check-config FILE\n"
    "    wirepostd --help | --version\n"
    "\n"
    "DESCRIPTION\n"
    "    Takes messages at the control socket, answers yes when they are on stable storage, "
    "resolves\n"
    "    their destinations, gives them to the lanes of wirepost-dataplane, which it starts and "
    "watches,\n"
    "    and tries again or bounces as RFC 5321 says. It runs in the foreground and logs to "
    "stderr.\n"
    "\n"
    "OPTIONS\n"
    "    --config FILE\n"
    "        The appliance's configuration, JSON; control/config.schema.json describes it.\n"
    "    --check-config FILE\n"
    "        Reads FILE, prints each error with its place, and exits: 0 when there is none, else "
    "78.\n"
    "    --help, --version\n"
    "        Print this text, or the version, and exit.\n"
    "\n"
    "SIGNALS\n"
    "    SIGTERM, SIGINT\n"
    "        Stop: running transactions finish, the rest stays in the spool. A second one stops at "
    "once.\n"
    "\n"
    "EXIT STATUS (as in sysexits.h)\n"
    "    0   stopped by a signal\n"
    "    64  wrong usage\n"
    "    69  another daemon has the control socket\n"
    "    71  the system refused something; the line on stderr says what\n"
    "    73  a directory or the spool cannot be made or written\n"
    "    75  another daemon has the spool\n"
    "    78  something is wrong in FILE; each line on stderr names a place and a remedy\n"
    "\n"
    "FILES (below run_dir and spool.path of the configuration)\n"
    "    control.sock        the control socket; wirepostctl speaks to it\n"
    "    lane-N.chan         jobs and outcomes of lane N, shared with the data plane\n"
    "    dataplane.json, dataplane.sock, dataplane.lock\n"
    "    data.mdb, spool.lock the spool\n"
    "\n"
    "ENVIRONMENT\n"
    "    NOTIFY_SOCKET, WATCHDOG_USEC\n"
    "        A service manager's: it is told when the daemon is ready, alive, and stopping\n"
    "        (sd_notify(3)); hw/wirepostd.service is a unit for systemd.\n"
    "\n"
    "SEE ALSO\n"
    "    wirepostctl(1), wirepost-dataplane --help, control/API.md\n";

uint64_t ctl_random(struct ctl *ctl)
{
    ctl->random ^= ctl->random << 13; /* xorshift64 */
    ctl->random ^= ctl->random >> 7;
    ctl->random ^= ctl->random << 17;
    return ctl->random;
}

void *ctl_must(void *pointer)
{
    if (!pointer) {
        ctl_log(CTL_LOG_ERROR, "out of memory: ending; spool and lanes keep everything", NULL);
        abort();
    }
    return pointer;
}

/* ---- configuration ----------------------------------------------------------------------- */

static int read_config(const char *path, struct ctl_config *config)
{
    struct config_errors errors = {0};
    bool ok = ctl_config_load(path, config, &errors);
    for (size_t i = 0; i < errors.count; i++) {
        const char *at = errors.list[i].path;
        (void)fprintf(stderr, "wirepostd: %s: %s%s%s\n", path, at, at[0] ? ": " : "",
                      errors.list[i].message);
    }
    config_errors_free(&errors);
    return ok ? EX_OK : EX_CONFIG;
}

static int check_config(const char *path)
{
    static struct ctl_config config;
    int status = read_config(path, &config);
    if (status == EX_OK) {
        (void)printf("%s: no error; %u ports, %u lanes, %u addresses, %u senders\n", path,
                     config.dp.n_ports, config.dp.n_lanes, config.dp.n_addresses, config.n_senders);
    }
    ctl_config_free(&config);
    return status;
}

/* ---- start ------------------------------------------------------------------------------- */

static int fail(int status, const char *text)
{
    (void)fprintf(stderr, "wirepostd: %s\n", text);
    return status;
}

static bool make_run_dir(const char *path)
{
    struct stat st;
    return mkdir(path, 0755) == 0 ||
           (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

static int open_spool(struct ctl *ctl)
{
    const struct ctl_config *c = &ctl->config;
    char error[1024];
    const struct store_config config = {
        .path = c->spool.path,
        .max_bytes = (uint64_t)c->spool.max_mb << 20,
        .min_free_bytes = (uint64_t)c->spool.min_free_mb << 20,
        .event_keep = c->spool.event_keep,
    };
    ctl->store = store_open(&config, error, sizeof error);
    if (!ctl->store) {
        return fail(strstr(error, "pid ") ? EX_TEMPFAIL : EX_CANTCREAT, error);
    }
    return EX_OK;
}

static int open_dns(struct ctl *ctl)
{
    const struct ctl_config *c = &ctl->config;
    char error[512];
    const struct dns_config config = {
        .servers = c->dns.servers,
        .n_servers = c->dns.n_servers,
        .timeout_ms = c->dns.timeout_ms,
        .allow_private = c->dns.allow_private,
        .seed = ctl_random(ctl),
        .trust_anchor_file = c->dns.trust_anchor_file[0] ? c->dns.trust_anchor_file : NULL,
        .port = (uint16_t)c->delivery.port,
        .providers = ctl->shaping->providers,
    };
    ctl->dns = dns_open(ctl->loop, &config, error, sizeof error);
    return ctl->dns ? EX_OK : fail(EX_OSERR, error);
}

/* What policies about TLS need: HTTPS, MTA-STS. */
static int open_tls(struct ctl *ctl)
{
    const char *ca_file = ctl->config.tls_ca_file;
    if (getrandom(ctl->tls_key, sizeof ctl->tls_key, 0) != sizeof ctl->tls_key) {
        return fail(EX_OSERR, "the system gives no random numbers");
    }
    ctl->https = ctl_must(https_open(ctl->loop, ca_file[0] ? ca_file : NULL));
    const struct sts_config config = {
        .loop = ctl->loop, .dns = ctl->dns, .https = ctl->https, .store = ctl->store};
    ctl->sts = ctl_must(sts_open(&config));
    return EX_OK;
}

static int open_http(struct ctl *ctl)
{
    char error[512];
    if (!ctl->config.http.listen[0]) {
        return EX_OK;
    }
    ctl->http = http_open(ctl->loop, (const struct sockaddr *)&ctl->config.http.address, error,
                          sizeof error);
    if (!ctl->http) {
        return fail(EX_OSERR, error);
    }
    ctl->sns = sns_open(ctl, ctl->http);
    return EX_OK;
}

static void on_store(uv_poll_t *poll, int status, int events)
{
    struct ctl *ctl = poll->data;
    (void)status;
    (void)events;
    store_poll(ctl->store);
}

static bool on_event(void *user, uint64_t seq, uint64_t message_id, const char *json, size_t len)
{
    struct ctl *ctl = user;
    (void)message_id;
    if (ctl->rpc) {
        rpc_event(ctl->rpc, seq, json, len);
    }
    return true;
}

static void on_sweep(uv_timer_t *timer)
{
    struct ctl *ctl = timer->data;
    bool more = idempotency_sweep(ctl, ctl_time_ms());
    (void)uv_timer_start(timer, on_sweep, more ? SWEEP_MORE_MS : SWEEP_MS, 0);
}

static void start_sweep(struct ctl *ctl)
{
    ctl->sweep_timer.data = ctl;
    (void)uv_timer_init(ctl->loop, &ctl->sweep_timer);
    (void)uv_timer_start(&ctl->sweep_timer, on_sweep, SWEEP_MORE_MS, 0);
}

static int open_parts(struct ctl *ctl)
{
    char error[2048];
    int status;
    if (!make_run_dir(ctl->config.run_dir)) {
        (void)snprintf(error, sizeof error, "run_dir %s: %s", ctl->config.run_dir, strerror(errno));
        return fail(EX_CANTCREAT, error);
    }
    if ((status = open_spool(ctl)) != EX_OK) {
        return status;
    }
    ctl->dkim = dkim_rings_open(ctl);
    ctl->shaping = shaping_new(error, sizeof error);
    if (!ctl->shaping) {
        return fail(EX_OSERR, error);
    }
    ctl->queue = ctl_must(queue_new(ctl->config.delivery.in_flight_per_site));
    ctl->addresses = addresses_open(ctl);
    ctl->pools =
        ctl_must(pools_open(&ctl->config.dp, ctl->config.dp.n_pools + ADDRESSES_POOLS_MORE));
    ctl->decisions = decisions_open(ctl, error, sizeof error);
    if (!ctl->decisions) {
        return fail(EX_CONFIG, error);
    }
    ctl->plan = ctl_must(plan_open(ctl));
    ctl->lanes = lanes_open(ctl, error, sizeof error);
    if (!ctl->lanes) {
        return fail(EX_OSERR, error);
    }
    (void)ctl_must(dispatch_open(ctl) ? ctl : NULL);
    addresses_follow_lanes(ctl->addresses);
    if ((status = open_dns(ctl)) != EX_OK || (status = open_tls(ctl)) != EX_OK) {
        return status;
    }
    ctl->dnsbl = dnsbl_open(ctl);
    ctl->relays = relays_open(ctl, error, sizeof error);
    if (!ctl->relays) {
        return fail(EX_OSERR, error);
    }
    start_sweep(ctl);
    if ((status = open_http(ctl)) != EX_OK) {
        return status;
    }
    ctl->store_poll.data = ctl;
    (void)uv_poll_init(ctl->loop, &ctl->store_poll, store_wake_fd(ctl->store));
    (void)uv_poll_start(&ctl->store_poll, UV_READABLE, on_store);
    store_on_event(ctl->store, on_event, ctl);
    ctl->rpc = rpc_open(ctl, error, sizeof error);
    if (!ctl->rpc) {
        return fail(EX_UNAVAILABLE, error);
    }
    ctl->lanes->process = dp_process_open(ctl, error, sizeof error);
    return ctl->lanes->process ? EX_OK : fail(EX_OSERR, error);
}

/* ---- stop -------------------------------------------------------------------------------- */

static void on_stop_look(uv_timer_t *timer)
{
    struct ctl *ctl = timer->data;
    bool late = uv_now(ctl->loop) - ctl->stop_ms > RELAY_STOP_MS;
    dp_process_stop(ctl->lanes->process);
    if (ctl->lanes->n_jobs == 0 && dp_process_gone(ctl->lanes->process) &&
        (ctl->lanes->list[LANE_RELAY].n_jobs == 0 || late)) {
        uv_stop(ctl->loop);
    }
}

struct stop {
    struct ctl *ctl;
    uv_signal_t terminate, interrupt;
    uv_timer_t look;
};

static void on_signal(uv_signal_t *signal, int number)
{
    struct stop *stop = signal->data;
    struct ctl *ctl = stop->ctl;
    if (ctl->stopping) {
        ctl_log(CTL_LOG_WARN, "a second signal: ending at once; spool and lanes keep everything",
                NULL);
        _exit(128 + number);
    }
    ctl_log(CTL_LOG_INFO, "stopping", "signal=%d", number);
    notify_send("STOPPING=1");
    ctl->stopping = true;
    ctl->stop_ms = uv_now(ctl->loop);
    drain_set(ctl, true);
    stop->look.data = ctl;
    (void)uv_timer_init(ctl->loop, &stop->look);
    (void)uv_timer_start(&stop->look, on_stop_look, 0, STOP_LOOK_MS);
}

static void watch_signals(struct ctl *ctl, struct stop *stop)
{
    stop->ctl = ctl;
    stop->terminate.data = stop->interrupt.data = stop;
    (void)uv_signal_init(ctl->loop, &stop->terminate);
    (void)uv_signal_init(ctl->loop, &stop->interrupt);
    (void)uv_signal_start(&stop->terminate, on_signal, SIGTERM);
    (void)uv_signal_start(&stop->interrupt, on_signal, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ,
                 SIG_IGN); /* a file that may not grow is an error of the spool, not our end */
}

static void close_handle(uv_handle_t *handle, void *user)
{
    (void)user;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* In this order: nobody new, what the store still has to say, then memory. */
static void close_parts(struct ctl *ctl)
{
    if (ctl->rpc) {
        rpc_close(ctl->rpc);
    }
    if (ctl->http) {
        sns_close(ctl->sns);
        http_close(ctl->http);
    }
    if (ctl->relays) {
        relays_stop(ctl->relays);
    }
    if (ctl->dnsbl) {
        dnsbl_stop(ctl->dnsbl);
    }
    if (ctl->dns) {
        dns_close(ctl->dns);
    }
    if (ctl->https) {
        https_close(ctl->https);
        sts_close(ctl->sts);
        destination_close(ctl);
    }
    if (ctl->store) {
        store_on_event(ctl->store, NULL, NULL);
        store_close(ctl->store);
    }
    if (ctl->decisions) {
        decisions_stop(ctl->decisions);
    }
    struct dp_process *process = ctl->lanes ? ctl->lanes->process : NULL;
    lanes_close(ctl->lanes);
    uv_walk(ctl->loop, close_handle, NULL);
    while (uv_run(ctl->loop, UV_RUN_DEFAULT) != 0) {
    }
    dp_process_close(process);
    relays_close(ctl->relays);
    free(ctl->rpc);
    plan_close(ctl->plan);
    dnsbl_close(ctl->dnsbl);
    dkim_rings_close(ctl->dkim, ctl->config.n_senders);
    decisions_close(ctl->decisions);
    pools_close(ctl->pools, ctl->config.dp.n_pools);
    addresses_close(ctl->addresses);
    queue_free(ctl->queue);
    shaping_free(ctl->shaping);
    message_table_free(&ctl->messages);
    path_stats_free(&ctl->paths);
}

/* ---- the process ------------------------------------------------------------------------- */

/* Event followers, lanes and relays all take descriptors. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* A process with private keys leaves no core dump, and other processes of its user cannot read its
 * memory. */
static void guard_keys(void)
{
    switch (dkim_key_memory_state()) {
    case DKIM_MEMORY_NONE:
        return;
    case DKIM_MEMORY_LOCKED:
        break;
    case DKIM_MEMORY_UNLOCKED:
        ctl_log(CTL_LOG_WARN, "private keys may be swapped out: raise RLIMIT_MEMLOCK", NULL);
        break;
    }
    (void)prctl(PR_SET_DUMPABLE, 0);
}

static int run(const char *config_path)
{
    static struct ctl ctl;
    static struct stop stop;
    static struct notify notify;
    static uv_loop_t loop;
    int status = read_config(config_path, &ctl.config);
    if (status != EX_OK) {
        ctl_config_free(&ctl.config);
        return status;
    }
    raise_descriptor_limit();
    (void)uv_loop_init(&loop);
    ctl.loop = &loop;
    ctl.started_ms = ctl_time_ms();
    if (getrandom(&ctl.random, sizeof ctl.random, 0) != sizeof ctl.random || ctl.random == 0) {
        ctl.random = (uint64_t)ctl.started_ms | 1;
    }
    guard_keys();
    watch_signals(&ctl, &stop);
    status = open_parts(&ctl);
    if (status == EX_OK) {
        ctl_log(CTL_LOG_INFO, "wirepostd is ready", "version=%s pid=%d socket=%s", WIREPOST_VERSION,
                (int)getpid(), ctl.config.control.socket);
        notify_ready(&notify, &loop);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        ctl_log(CTL_LOG_INFO, "stopped", "queued=%zu", ctl.messages.count);
    }
    close_parts(&ctl);
    (void)uv_loop_close(&loop);
    ctl_config_free(&ctl.config);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", required_argument, NULL, 'C'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    const char *config = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            config = optarg;
            break;
        case 'C':
            return check_config(optarg);
        case 'h':
            (void)fputs(help, stdout);
            return EX_OK;
        case 'v':
            (void)puts("wirepostd " WIREPOST_VERSION);
            return EX_OK;
        default:
            return EX_USAGE; /* getopt_long() has said what */
        }
    }
    if (!config || optind < argc) {
        return fail(EX_USAGE, "--config FILE is needed, and nothing else (--help explains)");
    }
    return run(config);
}
