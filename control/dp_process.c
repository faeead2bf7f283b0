/* dp_process.c - states, hello, watchdog: see dp_process.h. Starting it is dp_spawn.c's. */
#include "control/dp_process_private.h"

#include "control/dispatch.h"
#include "control/events.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS        100u
#define HELLO_MS       60000 /* from the start of the process; EAL may have to look at many devices */
#define LEAVE_MS       45000 /* its own drain gives running transactions 30 s */
#define HEARTBEAT_MS   30000 /* of a lane, before its process is killed */
#define STABLE_MS      60000 /* running so long makes earlier failures forgotten */
#define BACKOFF_MS     200
#define BACKOFF_MS_MAX 30000

static const char *const state_names[] = {
    [DP_DOWN] = "down",       [DP_STARTING] = "starting", [DP_ORPHAN] = "orphan",
    [DP_RUNNING] = "running", [DP_LEAVING] = "leaving",   [DP_SALVAGE] = "salvage",
};

static int64_t now_ms(const struct dp_process *p)
{
    return (int64_t)uv_now(p->ctl->loop);
}

static void enter(struct dp_process *p, enum dp_state state, const char *why)
{
    if (p->state == state) {
        return;
    }
    p->down_ms = p->state == DP_RUNNING ? now_ms(p) : p->down_ms;
    p->told_down = false;
    p->state = state;
    p->since_ms = now_ms(p);
    ctl_log(state == DP_LEAVING || state == DP_ORPHAN ? CTL_LOG_WARN : CTL_LOG_INFO, why,
            "dataplane=%s pid=%d", state_names[state], (int)p->pid);
    events_dataplane(p->ctl, state_names[state], p->pid, why);
}

/* ---- the socket -------------------------------------------------------------------------- */

static void on_client_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void client_close(struct dp_client *client)
{
    if (client->process->client == client) {
        client->process->client = NULL;
    }
    (void)uv_poll_stop(&client->poll);
    (void)close(client->fd);
    uv_close((uv_handle_t *)&client->poll, on_client_closed);
}

static void collect_all(struct dp_process *p)
{
    for (uint32_t i = 0; i < p->ctl->lanes->n; i++) {
        lanes_collect(&p->ctl->lanes->list[i]);
    }
}

/* Whether this data plane may work on the channels as they are. */
static const char *refuse_reason(const struct dp_process *p, const struct chan_hello *hello)
{
    const struct ctl *ctl = p->ctl;
    if (ctl->stopping) {
        return "wirepostd is stopping";
    }
    if (hello->config_hash != ctl->config.dp_hash || hello->n_lanes != ctl->config.dp.n_lanes ||
        p->lanes_differ) {
        return "the data plane runs with another configuration: it drains and is started again";
    }
    if (p->client) {
        return "a data plane is attached already";
    }
    if (hello->attached ? p->state != DP_ORPHAN && p->state != DP_LEAVING
                        : p->state != DP_STARTING && p->state != DP_DOWN) {
        return "the data plane came at a time when its channels do not fit: it is started again";
    }
    return NULL;
}

static void welcome(struct dp_process *p, struct dp_client *client, const struct chan_hello *hello)
{
    struct chan_control *channels[DP_LANES_MAX];
    uint32_t n = p->ctl->config.dp.n_lanes;
    for (uint32_t i = 0; i < n; i++) {
        channels[i] = p->ctl->lanes->list[i].chan;
        chan_control_heartbeat(channels[i], uv_hrtime());
        chan_control_drain(channels[i], p->ctl->draining);
    }
    if (chan_control_welcome(client->fd, true, 0, channels, n) != CHAN_OK) {
        client_close(client);
        return;
    }
    p->client = client;
    client->welcomed = true;
    p->pid = client->pid;
    enter(p, DP_RUNNING,
          hello->attached ? "the running data plane is taken over" : "the data plane runs");
    collect_all(p);
    dispatch_wake(p->ctl);
}

static void hello(struct dp_process *p, struct dp_client *client, const struct chan_hello *hello)
{
    const char *reason = refuse_reason(p, hello);
    if (!reason) {
        welcome(p, client, hello);
        return;
    }
    (void)chan_control_welcome(client->fd, false, 0, NULL, 0);
    if (p->state != DP_RUNNING) {
        p->pid = client->pid;
        enter(p, DP_LEAVING, reason);
    }
    client_close(client);
}

static void on_client(uv_poll_t *poll, int status, int events)
{
    struct dp_client *client = poll->data;
    struct dp_process *p = client->process;
    struct chan_hello message;
    (void)status;
    (void)events;
    int result = chan_control_recv_hello(client->fd, &message);
    if (result == CHAN_E_AGAIN) {
        return;
    }
    if (result == CHAN_OK && !client->welcomed) {
        hello(p, client, &message);
        return;
    }
    bool was_attached = client->welcomed;
    client_close(client);
    if (was_attached) {
        enter(p, DP_LEAVING, "the data plane has closed its socket");
    }
}

/* Only a process of root or of our own user may be a data plane. */
static bool peer_pid(int fd, pid_t *ret_pid)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
        (peer.uid != 0 && peer.uid != geteuid())) {
        return false;
    }
    *ret_pid = peer.pid;
    return true;
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
    struct dp_process *p = poll->data;
    pid_t pid = 0;
    (void)status;
    (void)events;
    int fd = accept4(p->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (!peer_pid(fd, &pid)) {
        ctl_log(CTL_LOG_WARN, "a stranger at dataplane.sock is turned away", NULL);
        (void)close(fd);
        return;
    }
    struct dp_client *client = ctl_must(calloc(1, sizeof *client));
    *client = (struct dp_client){.process = p, .fd = fd, .pid = pid};
    client->poll.data = client;
    (void)uv_poll_init(p->ctl->loop, &client->poll, fd);
    (void)uv_poll_start(&client->poll, UV_READABLE | UV_DISCONNECT, on_client);
}

/* ---- the clock --------------------------------------------------------------------------- */

static void watch_lanes(struct dp_process *p)
{
    uint64_t now_ns = uv_hrtime(); /* CLOCK_MONOTONIC, as the lanes' */
    for (uint32_t i = 0; i < p->ctl->config.dp.n_lanes; i++) {
        struct chan_control *chan = p->ctl->lanes->list[i].chan;
        uint64_t beat = atomic_load(&chan_control_header(chan)->lane_heartbeat_ns);
        uint64_t since_ns = now_ns - (uint64_t)p->since_ms * NS_PER_MS;
        chan_control_heartbeat(chan, now_ns);
        uint64_t age_ns = beat < now_ns ? now_ns - beat : 0;
        age_ns = age_ns < since_ns ? age_ns : since_ns; /* it may have been attached just now */
        if (age_ns > HEARTBEAT_MS * NS_PER_MS) {
            ctl_log(CTL_LOG_ERROR, "a lane hangs: its process is killed", "lane=%u pid=%d", i,
                    (int)p->pid);
            (void)kill(p->pid, SIGKILL);
            return;
        }
    }
    if (now_ms(p) - p->since_ms > STABLE_MS) {
        p->failures = 0;
    }
}

static void begin_salvage(struct dp_process *p)
{
    enter(p, DP_SALVAGE, "the data plane has ended: its outcomes are collected");
    p->pid = 0;
    lanes_salvage(p->ctl->lanes);
}

static void plan_restart(struct dp_process *p)
{
    int64_t wait = BACKOFF_MS;
    for (uint32_t i = 0; i < p->failures && wait < BACKOFF_MS_MAX; i++) {
        wait *= 2;
    }
    p->failures++;
    p->retry_at_ms = now_ms(p) + (wait < BACKOFF_MS_MAX ? wait : BACKOFF_MS_MAX);
}

static void tick_salvage(struct dp_process *p)
{
    if (p->ctl->lanes->n_jobs > 0) {
        return;
    }
    plan_restart(p);
    if (lanes_reset(p->ctl->lanes)) {
        p->lanes_differ = false;
        enter(p, DP_DOWN, "all outcomes of the data plane are safe");
    }
}

static void tick_down(struct dp_process *p)
{
    if (p->ctl->stopping || now_ms(p) < p->retry_at_ms) {
        return;
    }
    if (!p->ctl->config.spawn) {
        return; /* somebody else starts it */
    }
    if (!dp_spawn(p)) {
        plan_restart(p);
        return;
    }
    p->starts++;
    enter(p, DP_STARTING, "the data plane is started");
}

static void tick_starting(struct dp_process *p)
{
    if (p->child == 0 && !chan_dataplane_alive(p->ctl->config.run_dir)) {
        plan_restart(p);
        enter(p, DP_DOWN, "the data plane ended before it was ready; its own lines say why");
    } else if (now_ms(p) - p->since_ms > HELLO_MS && p->child != 0) {
        ctl_log(CTL_LOG_ERROR, "the data plane does not say hello: it is killed", "pid=%d",
                (int)p->child);
        (void)kill(p->child, SIGKILL);
        p->since_ms = now_ms(p);
    }
}

static void tick_leaving(struct dp_process *p)
{
    if (!chan_dataplane_alive(p->ctl->config.run_dir)) {
        begin_salvage(p);
    } else if (now_ms(p) - p->since_ms > LEAVE_MS && p->pid > 0) {
        ctl_log(CTL_LOG_ERROR, "the data plane does not end: it is killed", "pid=%d", (int)p->pid);
        (void)kill(p->pid, SIGKILL);
        p->since_ms = now_ms(p);
    }
}

/* Mail that waits for it may have another way out. */
static void tell_lost(struct dp_process *p)
{
    if (!p->told_down && dp_process_lost(p)) {
        p->told_down = true;
        dispatch_wake(p->ctl);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct dp_process *p = timer->data;
    tell_lost(p);
    switch (p->state) {
    case DP_DOWN:
        tick_down(p);
        break;
    case DP_STARTING:
        tick_starting(p);
        break;
    case DP_ORPHAN:
        if (!chan_dataplane_alive(p->ctl->config.run_dir)) {
            begin_salvage(p);
        }
        break;
    case DP_RUNNING:
        watch_lanes(p);
        break;
    case DP_LEAVING:
        tick_leaving(p);
        break;
    case DP_SALVAGE:
        tick_salvage(p);
        break;
    }
}

/* ---- open and close ---------------------------------------------------------------------- */

struct dp_process *dp_process_open(struct ctl *ctl, char *ret_error, size_t error_bytes)
{
    char path[CTL_PATH_MAX + 32];
    struct dp_process *p = ctl_must(calloc(1, sizeof *p));
    p->ctl = ctl;
    p->down_ms = now_ms(p);
    (void)snprintf(path, sizeof path, "%s/dataplane.sock", ctl->config.run_dir);
    int result = chan_control_listen(path, &p->listen_fd);
    if (result != CHAN_OK) {
        (void)snprintf(ret_error, error_bytes, "%s: %s", path,
                       result == CHAN_E_SYSTEM ? strerror(errno)
                                               : "the path is too long for a socket");
        free(p);
        return NULL;
    }
    for (uint32_t i = 0; i < ctl->lanes->n; i++) {
        p->lanes_differ |= ctl->lanes->list[i].retired;
    }
    p->listen_poll.data = p->tick.data = p;
    (void)uv_poll_init(ctl->loop, &p->listen_poll, p->listen_fd);
    (void)uv_poll_start(&p->listen_poll, UV_READABLE, on_listen);
    (void)uv_timer_init(ctl->loop, &p->tick);
    (void)uv_timer_start(&p->tick, on_tick, 0, TICK_MS);
    if (chan_dataplane_alive(ctl->config.run_dir)) {
        enter(p, DP_ORPHAN, "a data plane of an earlier wirepostd lives; waiting for it");
    } else if (ctl->lanes->n_jobs > 0 || p->lanes_differ) {
        begin_salvage(p);
    }
    return p;
}

void dp_process_close(struct dp_process *p)
{
    if (p) {
        (void)close(p->listen_fd);
        free(p);
    }
}

bool dp_process_running(const struct dp_process *p)
{
    return p && p->state == DP_RUNNING;
}

bool dp_process_lost(const struct dp_process *p)
{
    return p && p->state != DP_RUNNING && now_ms(p) - p->down_ms >= DP_LOST_MS;
}

void dp_process_stop(struct dp_process *p)
{
    pid_t pid = p->pid > 0 ? p->pid : p->child;
    if (p->ctl->config.spawn && pid > 0 && !p->told_to_stop) {
        p->told_to_stop = true;
        (void)kill(pid, SIGTERM);
    }
}

bool dp_process_gone(const struct dp_process *p)
{
    return p->state == DP_DOWN || (!p->ctl->config.spawn && p->ctl->lanes->n_jobs == 0);
}

json_t *dp_process_json(const struct dp_process *p)
{
    return ctl_must(json_pack("{s:s, s:i, s:i}", "state", state_names[p->state], "pid", (int)p->pid,
                              "restarts", (int)(p->starts > 0 ? p->starts - 1 : 0)));
}
