/*
 * chan_lane.h - the lane's side of a channel, and the data plane's side of the socket.
 *
 * A channel belongs to its lane's thread; chan_hello_*() belong to the main thread.
 *
 * The lane remembers the generation of each slot that it took. A slot is taken once per generation,
 * whether its number comes by the ring or is found by chan_lane_rescan(), so a push that an old
 * control process did not finish loses nothing, and one that it repeats does nothing.
 */
#ifndef WIREPOST_CHAN_LANE_H
#define WIREPOST_CHAN_LANE_H

#include "dataplane/chan_file.h"

struct chan_lane {
    struct chan_map map;
    uint32_t *taken;  /* per slot: generation taken last, valid where known */
    bool *known;      /* per slot: taken[] says something */
    uint32_t rescan;  /* next slot of a rescan; n_slots: none is running */
    bool done_pushed; /* since the last chan_lane_notify() */
};

/* Maps lane-N.chan, which must be that of geometry->lane with the geometry's n_slots and at least
 * its arena. CHAN_E_SYSTEM, CHAN_E_FORMAT, CHAN_E_MEMORY. */
int chan_lane_open(struct chan_lane *c, const char *run_dir, const struct chan_geometry *geometry);
void chan_lane_close(struct chan_lane *c);

/* The number of a slot that became QUEUED. False: none now. */
bool chan_lane_next_job(struct chan_lane *c, uint32_t *ret_slot);
/* The slots of the next n jobs, as far as there are that many, are fetched from memory. */
void chan_lane_prefetch_jobs(const struct chan_lane *c, uint32_t n);
/* Looks at all slots for QUEUED ones again, through chan_lane_next_job(): a new control process is
 * attached. */
void chan_lane_rescan(struct chan_lane *c);

struct chan_slot *chan_lane_slot(struct chan_lane *c, uint32_t slot);
/* STARTED or DOT_SENT; the store is visible to others before anything that follows. */
void chan_lane_set_state(struct chan_lane *c, uint32_t slot, enum chan_job_state state);
/* The results are written: DONE, and pushed to control. */
void chan_lane_finish(struct chan_lane *c, uint32_t slot);
/* Wakes control when something was finished since the last call. */
void chan_lane_notify(struct chan_lane *c, int done_fd);

/* Announces the lane's sleep. True: sleep; false: a job is there, and the announcement was taken
 * back. Call chan_lane_sleep_end() after sleeping. */
bool chan_lane_sleep_begin(struct chan_lane *c);
void chan_lane_sleep_end(struct chan_lane *c);

/* ---- the socket, main thread ------------------------------------------------------------- */

#define CHAN_LANES_MAX 64u

struct chan_attachment {
    struct chan_welcome welcome;
    int job_fds[CHAN_LANES_MAX], done_fds[CHAN_LANES_MAX]; /* the caller's; -1: none */
};

/* Connects to control's socket: *ret_fd. CHAN_E_SYSTEM (errno ENOENT, ECONNREFUSED: not there yet).
 */
int chan_hello_connect(const char *path, int *ret_fd);

/* Says hello and waits up to timeout_ms for the welcome and, when it says go, for the eventfds of
 * all lanes. On error no descriptor is left open but fd. CHAN_E_PEER: another version or another
 * number of lanes; CHAN_E_CLOSED; CHAN_E_AGAIN: timed out; CHAN_E_SYSTEM. */
int chan_hello_attach(int fd, const struct chan_hello *hello, uint32_t timeout_ms,
                      struct chan_attachment *ret_attachment);

#endif
