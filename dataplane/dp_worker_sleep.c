/*
 * dp_worker_sleep.c - how an idle lane sleeps without missing anything. See dp_worker.h.
 *
 * The lane announces its sleep (a store), then looks once more for work (loads); whoever gives it
 * work stores that first and looks for the announcement then. Both sides put a sequentially
 * consistent fence between, so at least one of the two sees the other, and either the lane does not
 * sleep or its eventfd is written.
 */
#include "dataplane/dp_worker.h"

#include <sys/epoll.h>
#include <unistd.h>

#define SLEEP_NS_MAX (10 * NS_PER_MS)
/* Without a descriptor to wait on, frames are polled for; a lane without connections can only miss
 * ARP and pings for a moment. */
#define POLL_NS      (200 * NS_PER_US)
#define POLL_IDLE_NS (1 * NS_PER_MS)

void dp_worker_wake(struct dp_worker *lane)
{
    const uint64_t one = 1;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&lane->asleep, memory_order_relaxed)) {
        ssize_t n = write(lane->wake_fd, &one, sizeof one);
        (void)n; /* EAGAIN: it is readable already */
    }
}

static bool sleep_begin(struct dp_worker *lane, bool (*has_frames)(void *), void *arg)
{
    uint32_t order = atomic_load_explicit(&lane->order, memory_order_relaxed);
    atomic_store_explicit(&lane->asleep, 1, memory_order_relaxed);
    bool no_jobs = chan_lane_sleep_begin(&lane->channel); /* has the fence in it */
    if (!no_jobs && order != DP_ORDER_HOLD) { /* jobs stay in the ring while control is away */
        return false;
    }
    return !has_frames(arg) && order == atomic_load_explicit(&lane->order, memory_order_relaxed) &&
           atomic_load_explicit(&lane->mailbox.posted, memory_order_relaxed) ==
               atomic_load_explicit(&lane->mailbox.taken, memory_order_relaxed);
}

static void sleep_end(struct dp_worker *lane)
{
    atomic_store_explicit(&lane->asleep, 0, memory_order_relaxed);
    chan_lane_sleep_end(&lane->channel);
}

static uint64_t sleep_ns(const struct dp_worker *lane, uint64_t now_ns)
{
    uint64_t due_ns = dp_worker_deadline_ns(lane);
    uint64_t most_ns = SLEEP_NS_MAX;
    if (lane->rx_fd < 0) {
        most_ns = utcp_connections(lane->tcp) > 0 ? POLL_NS : POLL_IDLE_NS;
    }
    uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    return left_ns < most_ns ? left_ns : most_ns;
}

/* rx_fd is read by the device's driver, the eventfds are ours to clear. */
static void clear(const struct dp_worker *lane, const struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        uint64_t count;
        if (events[i].data.fd != lane->rx_fd) {
            ssize_t got = read(events[i].data.fd, &count, sizeof count);
            (void)got; /* EAGAIN: another wake-up has cleared it */
        }
    }
}

void dp_worker_sleep(struct dp_worker *lane, uint64_t now_ns, bool (*has_frames)(void *), void *arg)
{
    uint64_t ns = sleep_ns(lane, now_ns);
    if (ns > 0 && sleep_begin(lane, has_frames, arg)) {
        struct epoll_event events[4];
        const struct timespec timeout = {.tv_sec = (time_t)(ns / NS_PER_S),
                                         .tv_nsec = (long)(ns % NS_PER_S)};
        int n = epoll_pwait2(lane->epoll_fd, events, 4, &timeout, NULL);
        lane->counters.sleeps++;
        clear(lane, events, n);
    }
    sleep_end(lane);
}
