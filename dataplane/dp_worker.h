/*
 * dp_worker.h - a lane at work: one TCP stack, one channel, one session manager, one thread. No
 * DPDK here; the frames come and go in dp_worker_io.c.
 *
 * The main thread makes lanes (dp_worker_open), gives orders (dp_worker_order, dp_worker_post_fds)
 * and looks whether they have stopped. Everything else belongs to the lane's thread. The two share
 * only the atomics and the mailbox below.
 *
 * A lane's turn, in dp_worker_io.c: frames in, dp_worker_turn(), frames out, and when nothing
 * happened for a while dp_worker_sleep().
 */
#ifndef WIREPOST_DP_WORKER_H
#define WIREPOST_DP_WORKER_H

#include "dataplane/chan_lane.h"
#include "dataplane/dp_config.h"
#include "dataplane/dp_session.h"
#include "tcp/utcp.h"

#include <stdatomic.h>

/* What the main thread wants of a lane. */
enum dp_order {
    DP_ORDER_RUN,  /* control is attached; header.drain decides between DP_RUN and DP_DRAIN */
    DP_ORDER_HOLD, /* control is away */
    DP_ORDER_EXIT, /* drain, then stop */
};

/* New eventfds from main to lane; main posts again only when the last ones were taken. */
struct dp_mailbox {
    _Atomic uint32_t posted, taken;
    int job_fd, done_fd;
};

struct dp_worker {
    /* Of the lane's thread. */
    struct utcp *tcp;
    struct dp_sessions *sessions;
    struct tls_context *tls;
    struct chan_counters counters;
    struct chan_lane channel;
    uint64_t publish_ns; /* when to publish counters next */
    uint32_t recalls;    /* of the header, that were obeyed */
    uint64_t exit_ns;    /* DP_ORDER_EXIT: stop at the latest; otherwise never */
    uint64_t linger_ns;  /* all done: stop when TCP has said goodbye, or then */
    struct dp_sources sources;
    uint32_t addresses_changed; /* of the header, that was followed */
    uint32_t addresses_next;    /* to tell about */
    bool addresses_draining;    /* some are, or may be */
    uint32_t index;
    int epoll_fd;
    int job_fd, done_fd; /* of control; -1: none yet */
    int rx_fd;           /* readable when frames wait; -1: the device has none */

    /* Shared with the main thread and, for waking, with the other lanes of the port. */
    alignas(64) _Atomic uint32_t order; /* enum dp_order */
    _Atomic uint32_t asleep;            /* 1: write wake_fd after giving it something */
    _Atomic uint32_t finished; /* 1: its own work is done; frames of others may still come to it */
    _Atomic uint32_t stopped;  /* 1: its thread has ended */
    struct dp_mailbox mailbox;
    int wake_fd;
};

struct dp_worker_config {
    const struct dp_config *config;
    uint32_t index; /* in config->lanes */
    const char *run_dir;
    uint8_t mac[6];
    bool tx_checksum_offload;
    int rx_fd; /* readable when frames wait, kept open by the device; -1: none */
    uint64_t now_ns;
};

/* Opens the channel, makes stack and session manager. The addresses come with the first turn. Null
 * with a text for people in *ret_why (constant) on failure. */
struct dp_worker *dp_worker_open(const struct dp_worker_config *config, const char **ret_why);
/* After the lane's thread has ended. */
void dp_worker_close(struct dp_worker *lane, uint64_t now_ns);

/* ---- main thread ------------------------------------------------------------------------- */

void dp_worker_order(struct dp_worker *lane, enum dp_order order);
/* Gives control's eventfds to the lane, which owns them from here. False: the last ones were not
 * taken yet, nothing was changed. */
bool dp_worker_post_fds(struct dp_worker *lane, int job_fd, int done_fd);

/* ---- the lane's thread ------------------------------------------------------------------- */

/* Orders, timers, jobs, events. True when there was something to do. */
bool dp_worker_turn(struct dp_worker *lane, uint64_t now_ns);

/* ---- dp_worker_addresses.c: the table of addresses that control shares with the lane */

/* Binds, drains and unbinds as control wants it; nothing when control has changed nothing. */
void dp_worker_addresses_follow(struct dp_worker *lane, uint64_t now_ns);
/* Tells control what is, and finishes what was leaving. */
void dp_worker_addresses_publish(struct dp_worker *lane, uint64_t now_ns);
/* Entries from 0 on that may be in use. Also for the other lanes of the port, as is the next. */
uint32_t dp_worker_addresses_used(const struct dp_worker *lane);
/* True when frames to this address belong to the lane. */
bool dp_worker_address_owned(const struct dp_worker *lane, uint32_t number,
                             struct ip_addr *ret_addr);

/* When dp_worker_turn() must come next at the latest. */
uint64_t dp_worker_deadline_ns(const struct dp_worker *lane);

/* True when the lane may stop: ordered to, and nothing is left to do. */
bool dp_worker_finished(const struct dp_worker *lane, uint64_t now_ns);

/* Sleeps until a job, a frame, an order or the deadline, but no longer than a device without rx_fd
 * allows. has_frames(arg) is asked once after the sleep was announced, for hand-over rings. */
void dp_worker_sleep(struct dp_worker *lane, uint64_t now_ns, bool (*has_frames)(void *arg),
                     void *arg);

/* ---- any thread -------------------------------------------------------------------------- */

/* Wakes the lane if it sleeps; call it after what it shall see was stored. */
void dp_worker_wake(struct dp_worker *lane);

#endif
