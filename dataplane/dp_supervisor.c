/* dp_supervisor.c - see dp_supervisor.h. */
#include "dataplane/dp_supervisor.h"

#include "dataplane/dp_clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define ATTACH_MS 5000u /* for control to answer a hello */
#define RETRY_MS  200
#define STOP_MS   20 /* how often a drain is looked at */

enum state { ATTACHED, ORPHANED, DRAINING };

static void say(const char *text)
{
    (void)fprintf(stderr, "wirepost-dataplane: %s\n", text);
}

/* ---- control ----------------------------------------------------------------------------- */

static void control_close(struct dp_supervisor *s)
{
    if (s->control_fd >= 0) {
        (void)close(s->control_fd);
        s->control_fd = -1;
    }
}

static int try_attach(struct dp_supervisor *s, bool attached, struct chan_attachment *attachment)
{
    const struct chan_hello hello = {
        .magic = CHAN_MAGIC,
        .version = CHAN_VERSION,
        .pid = (uint32_t)getpid(),
        .n_lanes = s->n_lanes,
        .attached = attached,
        .config_hash = s->config_hash,
    };
    int result = chan_hello_connect(s->socket_path, &s->control_fd);
    if (result == CHAN_OK) {
        result = chan_hello_attach(s->control_fd, &hello, ATTACH_MS, attachment);
    }
    if (result != CHAN_OK) {
        int error = errno;
        control_close(s);
        errno = error;
    }
    return result;
}

bool dp_supervisor_attach(struct dp_supervisor *s, bool attached,
                          struct chan_attachment *ret_attachment)
{
    int result = try_attach(s, attached, ret_attachment);
    if (result != CHAN_OK) {
        (void)fprintf(stderr, "wirepost-dataplane: control socket %s: %s\n", s->socket_path,
                      result == CHAN_E_SYSTEM ? strerror(errno) : chan_error_text(result));
        return false;
    }
    if (ret_attachment->welcome.orphan_s != 0) {
        s->orphan_s = ret_attachment->welcome.orphan_s;
    }
    return true;
}

void dp_supervisor_share(struct dp_supervisor *s, const struct chan_attachment *attachment)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    for (uint32_t i = 0; i < s->n_lanes; i++) {
        /* A lane takes its mail within a turn, so this waits for milliseconds at the most. */
        while (!dp_worker_post_fds(s->lanes[i], attachment->job_fds[i], attachment->done_fds[i])) {
            (void)nanosleep(&moment, NULL);
        }
    }
}

/* ---- lanes ------------------------------------------------------------------------------- */

static void order_all(struct dp_supervisor *s, enum dp_order order)
{
    for (uint32_t i = 0; i < s->n_lanes; i++) {
        dp_worker_order(s->lanes[i], order);
    }
}

static bool all_stopped(const struct dp_supervisor *s)
{
    for (uint32_t i = 0; i < s->n_lanes; i++) {
        if (!atomic_load(&s->lanes[i]->stopped)) {
            return false;
        }
    }
    return true;
}

/* ---- waiting ----------------------------------------------------------------------------- */

struct wakeup {
    bool signalled, control_lost;
};

/* Anything that control sends now is not part of the protocol and is thrown away; only its end
 * counts. */
static bool control_ended(int fd)
{
    char bytes[256];
    ssize_t n = read(fd, bytes, sizeof bytes);
    return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

static struct wakeup wait_for(const struct dp_supervisor *s, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = s->signal_fd, .events = POLLIN},
                            {.fd = s->control_fd, .events = POLLIN}};
    struct wakeup w = {0};
    if (poll(fds, 2, timeout_ms) <= 0) {
        return w;
    }
    if (fds[0].revents != 0) {
        struct signalfd_siginfo info;
        w.signalled = read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info;
    }
    w.control_lost = fds[1].revents != 0 && control_ended(s->control_fd);
    return w;
}

/* ---- states ------------------------------------------------------------------------------ */

static enum state drain(struct dp_supervisor *s, const char *why)
{
    say(why);
    order_all(s, DP_ORDER_EXIT);
    return DRAINING;
}

static enum state run_attached(struct dp_supervisor *s)
{
    struct wakeup w = wait_for(s, -1);
    if (w.signalled) {
        return drain(s, "signal: draining");
    }
    if (w.control_lost) {
        control_close(s);
        order_all(s, DP_ORDER_HOLD);
        say("control is lost: finishing what runs");
        return ORPHANED;
    }
    return ATTACHED;
}

static enum state run_orphaned(struct dp_supervisor *s, uint64_t since_ns)
{
    struct chan_attachment attachment;
    if (wait_for(s, RETRY_MS).signalled) {
        return drain(s, "signal: draining");
    }
    if (dp_clock_ns() - since_ns >= s->orphan_s * NS_PER_S) {
        return drain(s, "control did not come back: draining");
    }
    if (try_attach(s, true, &attachment) != CHAN_OK) {
        return ORPHANED;
    }
    if (!attachment.welcome.go) {
        return drain(s, "control asks for an exit: draining");
    }
    if (attachment.welcome.orphan_s != 0) {
        s->orphan_s = attachment.welcome.orphan_s;
    }
    dp_supervisor_share(s, &attachment);
    order_all(s, DP_ORDER_RUN);
    say("control is back");
    return ATTACHED;
}

/* A lost control changes nothing here but that there is no socket to watch any more. */
static enum state run_draining(struct dp_supervisor *s)
{
    if (wait_for(s, STOP_MS).control_lost) {
        control_close(s);
    }
    return DRAINING;
}

void dp_supervisor_run(struct dp_supervisor *s)
{
    enum state state = ATTACHED;
    uint64_t orphaned_ns = 0;
    while (state != DRAINING || !all_stopped(s)) {
        enum state next = state;
        switch (state) {
        case ATTACHED:
            next = run_attached(s);
            break;
        case ORPHANED:
            next = run_orphaned(s, orphaned_ns);
            break;
        case DRAINING:
            next = run_draining(s);
            break;
        }
        if (next == ORPHANED && state != ORPHANED) {
            orphaned_ns = dp_clock_ns();
        }
        state = next;
    }
    control_close(s);
}
