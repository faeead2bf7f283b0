/* dp_worker.c - see dp_worker.h. */
#include "dataplane/dp_worker.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define PUBLISH_NS    (100 * NS_PER_MS)
#define JOBS_PER_TURN 64u
#define DRAIN_MS      30000u
#define EXIT_NS       (40 * NS_PER_S) /* DP_ORDER_EXIT: the drain and a little */
#define LINGER_NS     (1 * NS_PER_S)

/* ---- making ------------------------------------------------------------------------------ */

/* Closed connections live on for a while beside the sessions (FIN, and its answer). */
static struct utcp *stack_make(const struct dp_worker_config *c)
{
    const struct dp_port *port = &c->config->ports[c->config->lanes[c->index].port];
    uint32_t connections = c->config->sessions_per_lane + c->config->sessions_per_lane / 2;
    struct utcp_config tcp = {
        .mtu = port->mtu,
        .prefix4 = port->network.prefix4.addr,
        .prefix4_len = port->network.prefix4.len,
        .gateway4 = port->network.gateway4,
        .prefix6 = port->network.prefix6.addr,
        .prefix6_len = port->network.prefix6.len,
        .gateway6 = port->network.gateway6,
        .tx_checksum_offload = c->tx_checksum_offload,
        .limits = {.connections = connections,
                   .addresses = c->config->addresses_per_lane,
                   .rx_blocks = connections},
    };
    int error = UTCP_OK;
    memcpy(tcp.mac, c->mac, sizeof tcp.mac);
    if (getrandom(tcp.secret, sizeof tcp.secret, 0) != (ssize_t)sizeof tcp.secret) {
        return NULL;
    }
    return utcp_create(&tcp, &error);
}

static struct dp_sessions *sessions_make(struct dp_worker *lane, const struct dp_config *config)
{
    const struct dp_sessions_config c = {
        .tcp = lane->tcp,
        .channel = &lane->channel,
        .counters = &lane->counters,
        .sources = &lane->sources,
        .sessions_max = config->sessions_per_lane,
        .drain_ms = DRAIN_MS,
        .tls = lane->tls,
    };
    return dp_sessions_create(&c);
}

static bool watch(struct dp_worker *lane, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    return epoll_ctl(lane->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool fds_get(struct dp_worker *lane)
{
    lane->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    lane->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return lane->epoll_fd >= 0 && lane->wake_fd >= 0 && watch(lane, lane->wake_fd) &&
           (lane->rx_fd < 0 || watch(lane, lane->rx_fd));
}

/* Two for each session, 8 kB, as far as that is no waste: those that send need more, most wait. */
static uint32_t tls_blocks(uint32_t sessions)
{
    return sessions < 512 ? 1024 : sessions > 8192 ? 16384 : 2 * sessions;
}

static const char *lane_fill(struct dp_worker *lane, const struct dp_worker_config *c)
{
    const struct chan_geometry geometry = {
        .lane = c->index,
        .n_slots = c->config->jobs_per_lane,
        .arena_bytes = c->config->arena_bytes,
        .n_addresses = c->config->addresses_per_lane,
    };
    int result = chan_lane_open(&lane->channel, c->run_dir, &geometry);
    if (result != CHAN_OK) {
        return result == CHAN_E_FORMAT ? "its channel file has another version or size"
                                       : "its channel file cannot be opened";
    }
    lane->rx_fd = c->rx_fd;
    if (!fds_get(lane)) {
        return "no more file descriptors";
    }
    const char *ca_file = c->config->tls_ca_file[0] ? c->config->tls_ca_file : NULL;
    const struct tls_config tls = {.ca_file = ca_file,
                                   .limits = {.blocks = tls_blocks(c->config->sessions_per_lane)}};
    if (tls_context_new(&tls, &lane->tls) != TLS_E_OK) {
        return "TLS cannot be set up; is /tls/ca_file a file of certificates?";
    }
    if (!dp_sources_init(&lane->sources, geometry.n_addresses) || !(lane->tcp = stack_make(c)) ||
        !(lane->sessions = sessions_make(lane, c->config))) {
        return "not enough memory for its connections; lower /dataplane/sessions";
    }
    return NULL;
}

struct dp_worker *dp_worker_open(const struct dp_worker_config *config, const char **ret_why)
{
    struct dp_worker *lane = aligned_alloc(alignof(struct dp_worker), sizeof *lane);
    if (!lane) {
        *ret_why = "not enough memory";
        return NULL;
    }
    memset(lane, 0, sizeof *lane);
    lane->index = config->index;
    lane->epoll_fd = lane->job_fd = lane->done_fd = lane->rx_fd = lane->wake_fd = -1;
    lane->exit_ns = lane->linger_ns = TIME_NEVER_NS;
    const char *why = lane_fill(lane, config);
    if (why) {
        dp_worker_close(lane, config->now_ns);
        *ret_why = why;
        return NULL;
    }
    return lane;
}

static void fd_close(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

void dp_worker_close(struct dp_worker *lane, uint64_t now_ns)
{
    if (!lane) {
        return;
    }
    if (lane->sessions) {
        dp_sessions_stop(lane->sessions, now_ns);
    }
    utcp_destroy(lane->tcp);
    dp_sessions_destroy(lane->sessions);
    if (lane->tls) {
        tls_context_free(lane->tls);
    }
    chan_lane_notify(&lane->channel, lane->done_fd);
    fd_close(lane->epoll_fd);
    fd_close(lane->wake_fd);
    fd_close(lane->job_fd);
    fd_close(lane->done_fd);
    dp_sources_fini(&lane->sources);
    chan_lane_close(&lane->channel);
    free(lane);
}

/* ---- orders ------------------------------------------------------------------------------ */

void dp_worker_order(struct dp_worker *lane, enum dp_order order)
{
    atomic_store(&lane->order, order);
    dp_worker_wake(lane);
}

bool dp_worker_post_fds(struct dp_worker *lane, int job_fd, int done_fd)
{
    uint32_t posted = atomic_load(&lane->mailbox.posted);
    if (posted != atomic_load(&lane->mailbox.taken)) {
        return false;
    }
    lane->mailbox.job_fd = job_fd;
    lane->mailbox.done_fd = done_fd;
    atomic_store(&lane->mailbox.posted, posted + 1);
    dp_worker_wake(lane);
    return true;
}

/* A new control process: its eventfds replace the old ones, and what it may have queued without
 * finishing the push is looked for. */
static void mailbox_take(struct dp_worker *lane)
{
    uint32_t posted = atomic_load_explicit(&lane->mailbox.posted, memory_order_acquire);
    if (posted == atomic_load_explicit(&lane->mailbox.taken, memory_order_relaxed)) {
        return;
    }
    if (lane->job_fd >= 0) { /* control has a copy, so closing ours would not take it out */
        (void)epoll_ctl(lane->epoll_fd, EPOLL_CTL_DEL, lane->job_fd, NULL);
    }
    fd_close(lane->job_fd);
    fd_close(lane->done_fd);
    lane->job_fd = lane->mailbox.job_fd;
    lane->done_fd = lane->mailbox.done_fd;
    INVARIANT(watch(lane, lane->job_fd));
    chan_lane_rescan(&lane->channel);
    atomic_store(&lane->mailbox.taken, posted);
}

static void obey(struct dp_worker *lane, uint64_t now_ns)
{
    uint32_t order = atomic_load_explicit(&lane->order, memory_order_acquire);
    enum dp_mode mode = DP_RUN;
    if (order == DP_ORDER_EXIT) {
        mode = DP_DRAIN;
        lane->exit_ns = lane->exit_ns == TIME_NEVER_NS ? now_ns + EXIT_NS : lane->exit_ns;
    } else if (order == DP_ORDER_HOLD) {
        mode = DP_HOLD;
    } else if (atomic_load_explicit(&lane->channel.map.header->drain, memory_order_relaxed)) {
        mode = DP_DRAIN;
    }
    mailbox_take(lane);
    dp_sessions_set_mode(lane->sessions, now_ns, mode);
    uint32_t recalls =
        atomic_load_explicit(&lane->channel.map.header->recalls, memory_order_acquire);
    if (recalls != lane->recalls) {
        lane->recalls = recalls;
        dp_sessions_recall(lane->sessions, now_ns);
    }
    dp_worker_addresses_follow(lane, now_ns);
}

bool dp_worker_finished(const struct dp_worker *lane, uint64_t now_ns)
{
    if (lane->exit_ns == TIME_NEVER_NS) {
        return false;
    }
    return now_ns >= lane->exit_ns || now_ns >= lane->linger_ns ||
           (lane->linger_ns != TIME_NEVER_NS && utcp_connections(lane->tcp) == 0);
}

/* ---- the turn ---------------------------------------------------------------------------- */

static int64_t realtime_offset(uint64_t now_ns)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)((uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec - now_ns);
}

/* Heartbeat and counters, ten times a second: nothing of this costs the frames anything. */
static void publish(struct dp_worker *lane, uint64_t now_ns)
{
    struct chan_header *header = lane->channel.map.header;
    uint32_t n = UTCP_N_COUNTERS < CHAN_TCP_COUNTERS_MAX ? UTCP_N_COUNTERS : CHAN_TCP_COUNTERS_MAX;
    lane->publish_ns = now_ns + PUBLISH_NS;
    dp_sessions_set_realtime(lane->sessions, realtime_offset(now_ns));
    memcpy(&header->counters, &lane->counters, sizeof header->counters);
    memcpy(header->tcp_counters, utcp_counters(lane->tcp), n * sizeof header->tcp_counters[0]);
    header->n_tcp_counters = n;
    dp_worker_addresses_publish(lane, now_ns);
    atomic_store_explicit(&header->lane_pid, (uint32_t)getpid(), memory_order_relaxed);
    atomic_store_explicit(&header->lane_heartbeat_ns, now_ns, memory_order_release);
}

bool dp_worker_turn(struct dp_worker *lane, uint64_t now_ns)
{
    uint32_t busy = 0;
    lane->counters.loops++;
    if (now_ns >= lane->publish_ns) {
        publish(lane, now_ns);
    }
    obey(lane, now_ns);
    if (now_ns >= utcp_deadline_ns(lane->tcp)) {
        utcp_on_deadline(lane->tcp, now_ns);
        busy++;
    }
    busy += dp_sessions_tcp_events(lane->sessions, now_ns);
    if (now_ns >= dp_sessions_deadline_ns(lane->sessions)) {
        dp_sessions_on_deadline(lane->sessions, now_ns);
        busy++;
    }
    busy += dp_sessions_take_jobs(lane->sessions, now_ns, JOBS_PER_TURN);
    chan_lane_notify(&lane->channel, lane->done_fd);
    if (lane->exit_ns != TIME_NEVER_NS && lane->linger_ns == TIME_NEVER_NS && busy == 0 &&
        dp_sessions_busy(lane->sessions) == 0) {
        lane->linger_ns = now_ns + LINGER_NS;
    }
    return busy > 0;
}

uint64_t dp_worker_deadline_ns(const struct dp_worker *lane)
{
    uint64_t due_ns = lane->publish_ns;
    uint64_t tcp_ns = utcp_deadline_ns(lane->tcp);
    uint64_t sessions_ns = dp_sessions_deadline_ns(lane->sessions);
    due_ns = tcp_ns < due_ns ? tcp_ns : due_ns;
    return sessions_ns < due_ns ? sessions_ns : due_ns;
}
