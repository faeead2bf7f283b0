/*
 * dp_main.c - wirepost-dataplane: from the command line to running lanes and back.
 *
 * In order: configuration, lock, EAL, ports, control, lanes, supervision, and all of it backwards.
 * Whatever fails at the start says so in one line on stderr and ends with a status of sysexits.h.
 */
#include "dataplane/chan_file.h"
#include "dataplane/dp_clock.h"
#include "dataplane/dp_config.h"
#include "dataplane/dp_eal_args.h"
#include "dataplane/dp_options.h"
#include "dataplane/dp_port.h"
#include "dataplane/dp_supervisor.h"
#include "dataplane/dp_worker_io.h"

#include <errno.h>
#include <fcntl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#define HAND_OVER_FRAMES 512u /* of each ring between two lanes, a power of two */
#define CONFIG_BYTES_MAX (64u << 20)

struct dataplane {
    struct dp_options options;
    struct dp_config config;
    uint64_t config_hash;
    cpu_set_t cpus;
    int lock_fd, signal_fd;
    bool eal_started;
    struct dp_eal_args eal;
    struct dp_devices devices;
    struct dp_worker *lanes[DP_LANES_MAX];
    struct dp_worker_io io[DP_LANES_MAX];
    struct rte_ring *rings[DP_LANES_MAX][DP_LANES_MAX]; /* [from][to] */
    struct rte_ring *from[DP_LANES_MAX][DP_LANES_MAX];  /* the same, [to][from] */
    struct chan_attachment attachment;
    struct dp_supervisor supervisor;
};

static int fail(int status, const char *what, const char *why)
{
    (void)fprintf(stderr, "wirepost-dataplane: %s: %s\n", what, why);
    return status;
}

static int report(struct config_errors *errors, int status)
{
    for (size_t i = 0; i < errors->count; i++) {
        (void)fprintf(stderr, "wirepost-dataplane: %s: %s\n", errors->list[i].path,
                      errors->list[i].message);
    }
    config_errors_free(errors);
    return status;
}

/* ---- configuration ----------------------------------------------------------------------- */

/* The whole file; *ret_bytes is the caller's to free. */
static int read_file(const char *path, char **ret_bytes, size_t *ret_len)
{
    FILE *file = fopen(path, "rbe");
    size_t len = 0, room = 65536;
    char *bytes = malloc(room);
    while (file && bytes && len < CONFIG_BYTES_MAX) {
        size_t n = fread(bytes + len, 1, room - len, file);
        len += n;
        if (n == 0) {
            break;
        }
        if (len == room) {
            char *more = realloc(bytes, room *= 2);
            if (!more) {
                free(bytes);
            }
            bytes = more;
        }
    }
    bool good = file && bytes && !ferror(file) && feof(file);
    if (file) {
        (void)fclose(file);
    }
    if (!good) {
        free(bytes);
        return -1;
    }
    *ret_bytes = bytes;
    *ret_len = len;
    return 0;
}

static int load_config(struct dataplane *d)
{
    const char *path = d->options.config;
    char *bytes;
    size_t len;
    json_error_t error;
    struct config_errors errors = {0};
    if (read_file(path, &bytes, &len) != 0) {
        return fail(EX_NOINPUT, path, errno ? strerror(errno) : "cannot be read");
    }
    d->config_hash = chan_config_hash(bytes, len);
    json_t *root = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &error);
    free(bytes);
    if (!root) {
        (void)fprintf(stderr, "wirepost-dataplane: %s:%d:%d: %s\n", path, error.line, error.column,
                      error.text);
        return EX_CONFIG;
    }
    bool good = dp_config_parse(root, &d->config, &errors);
    json_decref(root);
    if (good && d->config.n_lanes == 0) {
        config_error_add(&errors, "/dataplane", "names no ports, so there is nothing to do");
    }
    if (good) {
        dp_eal_check_cpus(&d->config, &d->cpus, &errors);
    }
    return errors.count == 0 ? EX_OK : report(&errors, EX_CONFIG);
}

static int take_lock(struct dataplane *d)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/" CHAN_LOCK_NAME, d->options.run_dir);
    if (n < 0 || (size_t)n >= sizeof path) {
        return fail(EX_USAGE, d->options.run_dir, "the path is too long");
    }
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0) {
        return fail(errno == EACCES ? EX_NOPERM : EX_OSERR, path, strerror(errno));
    }
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return fail(EX_TEMPFAIL, path, "another data plane runs in this directory");
    }
    return EX_OK;
}

/* Before any thread is made: all of them inherit the mask. */
static int catch_signals(struct dataplane *d)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return d->signal_fd >= 0 ? EX_OK : fail(EX_OSERR, "signalfd", strerror(errno));
}

/* ---- DPDK -------------------------------------------------------------------------------- */

/* DPDK does not tell "no permission" from other reasons. */
static int refused_status(void)
{
    return geteuid() == 0 ? EX_OSERR : EX_NOPERM;
}

static int start_eal(struct dataplane *d)
{
    if (!dp_eal_args_make(&d->eal, &d->config, &d->cpus)) {
        return fail(EX_CONFIG, "/dataplane/eal", "too many arguments for DPDK");
    }
    if (rte_eal_init(d->eal.argc, d->eal.argv) < 0) {
        return fail(refused_status(), "DPDK cannot start", rte_strerror(rte_errno));
    }
    d->eal_started = true;
    return EX_OK;
}

static int open_ports(struct dataplane *d)
{
    struct config_errors errors = {0};
    if (!dp_devices_open(&d->devices, &d->config, &errors)) {
        return report(&errors, refused_status());
    }
    return EX_OK;
}

/* A ring from each lane to each other lane of its port. */
static int make_rings(struct dataplane *d)
{
    for (uint32_t from = 0; from < d->config.n_lanes; from++) {
        for (uint32_t to = 0; to < d->config.n_lanes; to++) {
            char name[RTE_RING_NAMESIZE];
            if (from == to || d->config.lanes[from].port != d->config.lanes[to].port) {
                continue;
            }
            (void)snprintf(name, sizeof name, "lane-%u-%u", from, to);
            struct rte_ring *ring = rte_ring_create(name, HAND_OVER_FRAMES, SOCKET_ID_ANY,
                                                    RING_F_SP_ENQ | RING_F_SC_DEQ);
            if (!ring) {
                return fail(EX_OSERR, "/dataplane/memory_mb",
                            "no memory for the rings between lanes; raise it");
            }
            d->rings[from][to] = d->from[to][from] = ring;
        }
    }
    return EX_OK;
}

/* ---- lanes ------------------------------------------------------------------------------- */

static int open_lane(struct dataplane *d, uint32_t index)
{
    const struct dp_lane *of = &d->config.lanes[index];
    const struct dp_device *device = &d->devices.ports[of->port];
    const char *why = NULL;
    char what[32];
    struct dp_worker_config config = {
        .config = &d->config,
        .index = index,
        .run_dir = d->options.run_dir,
        .tx_checksum_offload = device->tx_checksum_offload,
        .rx_fd = dp_device_rx_fd(device, of->queue),
        .now_ns = dp_clock_ns(),
    };
    memcpy(config.mac, device->mac, sizeof config.mac);
    d->lanes[index] = dp_worker_open(&config, &why);
    if (!d->lanes[index]) {
        (void)snprintf(what, sizeof what, "lane %u", index);
        return fail(EX_OSERR, what, why);
    }
    d->io[index] = (struct dp_worker_io){
        .lane = d->lanes[index],
        .pool = d->devices.pools[index],
        .steers = d->config.ports[of->port].n_queues > 1,
        .peers = d->lanes,
        .from = d->from[index],
        .to = d->rings[index],
        .n_lanes = d->config.n_lanes,
        .port_id = device->port_id,
        .queue = of->queue,
        .tx_checksum_offload = device->tx_checksum_offload,
    };
    return dp_worker_io_init(&d->io[index], DP_ADDRESSES_MAX)
               ? EX_OK
               : fail(EX_OSERR, "memory", "not enough");
}

static int open_lanes(struct dataplane *d)
{
    int status = EX_OK;
    for (uint32_t i = 0; status == EX_OK && i < d->config.n_lanes; i++) {
        status = open_lane(d, i);
    }
    return status;
}

/* Says hello when all that can fail has been done but the lanes, whose channel files control makes
 * before it answers. */
static int meet_control(struct dataplane *d)
{
    d->supervisor = (struct dp_supervisor){
        .lanes = d->lanes,
        .n_lanes = d->config.n_lanes,
        .socket_path = d->options.control,
        .config_hash = d->config_hash,
        .orphan_s = d->options.orphan_s,
        .control_fd = -1,
        .signal_fd = d->signal_fd,
    };
    return dp_supervisor_attach(&d->supervisor, false, &d->attachment) ? EX_OK : EX_UNAVAILABLE;
}

static int run_lanes(struct dataplane *d)
{
    if (!d->attachment.welcome.go) {
        return EX_OK;
    }
    int status = open_lanes(d);
    if (status != EX_OK) {
        return status;
    }
    dp_supervisor_share(&d->supervisor, &d->attachment);
    for (uint32_t i = 0; i < d->config.n_lanes; i++) {
        if (rte_eal_remote_launch(dp_worker_main, &d->io[i], i + 1) != 0) {
            INVARIANT(i == 0); /* each lcore is free before its first launch */
            return fail(EX_OSERR, "lanes", "DPDK does not start the threads");
        }
    }
    dp_supervisor_run(&d->supervisor);
    rte_eal_mp_wait_lcore();
    return EX_OK;
}

/* ---- all of it --------------------------------------------------------------------------- */

static void tear_down(struct dataplane *d)
{
    for (uint32_t i = 0; i < d->config.n_lanes; i++) {
        dp_worker_io_fini(&d->io[i]);
        dp_worker_close(d->lanes[i], dp_clock_ns());
    }
    if (d->eal_started) {
        dp_devices_close(&d->devices, &d->config);
        (void)rte_eal_cleanup();
    }
    dp_eal_args_free(&d->eal);
    dp_config_free(&d->config);
}

int main(int argc, char **argv)
{
    static struct dataplane d;
    static int (*const steps[])(struct dataplane *) = {
        load_config, catch_signals, take_lock,    start_eal,
        open_ports,  make_rings,    meet_control, run_lanes,
    };
    int status = dp_options_parse(argc, argv, &d.options);
    if (status != -1) {
        return status;
    }
    status = EX_OK;
    CPU_ZERO(&d.cpus);
    if (sched_getaffinity(0, sizeof d.cpus, &d.cpus) != 0) {
        return fail(EX_OSERR, "sched_getaffinity", strerror(errno));
    }
    for (size_t i = 0; status == EX_OK && i < sizeof steps / sizeof steps[0]; i++) {
        status = steps[i](&d);
    }
    tear_down(&d);
    return status;
}
