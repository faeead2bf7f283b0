/*
 * chan_control.h - wirepostd's side of the channels to the data plane. One struct chan_control per
 * lane; all calls from one thread; nothing blocks.
 *
 * In order of use:
 *
 *     chan_control_open()        create lane-N.chan, or adopt what an earlier process left
 *     chan_control_slot() ...    after CHAN_FOUND_OLD: salvage, see below
 *     chan_control_listen()      the Unix socket; accept() is the caller's
 *     chan_control_recv_hello()  the data plane came
 *     chan_control_welcome()     it gets its eventfds and goes
 *
 *     chan_control_alloc()       a FREE slot to fill
 *     chan_arena_alloc()         on chan_control_arena(): room for strings, prefix, body, stuff
 *     chan_control_submit()      QUEUED, pushed, the lane is woken
 *     chan_control_done_fd()     readable: call chan_control_done_ack(), then
 *     chan_control_next_done()   finished slots, until it returns false
 *     chan_control_free()        after the outcome is durable; then free the arena ranges
 *
 * Salvage. With CHAN_FOUND_OLD or CHAN_FOUND_OLD_SIZE, look at each slot before anything else:
 *
 *     CHAN_QUEUED    not attempted          CHAN_DOT_SENT  doubtful when the data plane is dead
 *     CHAN_STARTED   attempted, no dot yet  CHAN_DONE      an outcome that nobody made durable yet
 *
 * - The data plane is dead (chan_dataplane_alive() says no): treat each slot as above, make the
 *   outcomes durable, then chan_control_reset(). With CHAN_FOUND_OLD_SIZE close, and open again
 *   after removing the file.
 * - The data plane lives and says hello with attached = 1: keep what is in flight, take the ranges
 *   of each slot that is not FREE into the arena (chan_control_rebuild_arena() does), handle the
 *   DONE ones (chan_control_next_done() returns them), welcome it, go on. A slot that was QUEUED
 *   but not yet pushed when the old process died is found by the lane itself.
 *
 * The lane is not trusted: chan_control_results_valid() before results are used.
 */
#ifndef WIREPOST_CHAN_CONTROL_H
#define WIREPOST_CHAN_CONTROL_H

#include "dataplane/chan_arena.h"
#include "dataplane/chan_file.h"
#include "dataplane/channel.h"

struct chan_control;

enum chan_found {
    CHAN_FOUND_NONE,     /* a fresh file was made */
    CHAN_FOUND_OLD,      /* one of the same geometry was there: salvage it */
    CHAN_FOUND_OLD_SIZE, /* one of another geometry: salvage it, then remove it and open again */
};

/* Opens or makes the channel of geometry->lane in run_dir. It also makes the lane's two eventfds.
 * CHAN_E_FORMAT: a file is there that this version cannot read (remove it when its jobs are known
 * to be in the spool); CHAN_E_SYSTEM with errno (ENOSPC: the tmpfs is too small); CHAN_E_MEMORY. */
int chan_control_open(const char *run_dir, const struct chan_geometry *geometry,
                      struct chan_control **ret_control, enum chan_found *ret_found);

/* Unmaps; the file stays, and so do the jobs in it. Null is fine. */
void chan_control_close(struct chan_control *c);

/* Sets all slots FREE, empties the rings and the arena; what is wanted of addresses stays. Only
 * while no data plane is attached. */
void chan_control_reset(struct chan_control *c);

/* After adopting: counts free slots anew and takes the ranges of each slot that is not FREE into
 * the arena. Slots whose ranges are damaged are counted; they hold nothing in the arena. */
uint32_t chan_control_rebuild_arena(struct chan_control *c);

uint32_t chan_control_n_slots(const struct chan_control *c);
uint32_t chan_control_n_free(const struct chan_control *c); /* slots that alloc could give now */
struct chan_header *chan_control_header(struct chan_control *c);
struct chan_arena *chan_control_arena(struct chan_control *c);

/* Slot by number, 0..n_slots-1. */
struct chan_slot *chan_control_slot(struct chan_control *c, uint32_t slot);
enum chan_job_state chan_control_state(struct chan_control *c, uint32_t slot); /* acquire */

/* The bytes of a range; null when it does not lie inside the arena. */
uint8_t *chan_control_bytes(struct chan_control *c, struct chan_range range);

/* A FREE slot, reserved for the caller, all fields zero but the generation, which is raised. False:
 * all are in use, wait for outcomes. Give it back with chan_control_free() if it is not submitted.
 */
bool chan_control_alloc(struct chan_control *c, uint32_t *ret_slot);

/* The filled slot becomes QUEUED and goes to the lane, which is woken when it sleeps. CHAN_E_FULL
 * only if the lane has damaged the ring: nothing was changed. */
int chan_control_submit(struct chan_control *c, uint32_t slot);

/* A slot that became DONE, each once until it is freed. False: none now. */
bool chan_control_next_done(struct chan_control *c, uint32_t *ret_slot);

/* True when kinds, stages, codes, texts and indexes of a DONE slot are in range. */
bool chan_control_results_valid(const struct chan_control *c, uint32_t slot);

/* DONE (outcome durable), or reserved and never submitted, or any state of a dead lane -> FREE. The
 * caller frees the arena ranges itself (bodies may be shared between slots). */
void chan_control_free(struct chan_control *c, uint32_t slot);

void chan_control_heartbeat(struct chan_control *c, uint64_t now_ns); /* CLOCK_MONOTONIC */
/* on: the lane starts nothing new and hands back what is queued as OUTCOME_RETURNED. */
void chan_control_drain(struct chan_control *c, bool on);

int chan_control_done_fd(const struct chan_control *c); /* to poll; owned by the channel */
void chan_control_done_ack(struct chan_control *c);     /* clears its readability */

/* ---- the socket -------------------------------------------------------------------------- */

/* A listening, non-blocking SOCK_SEQPACKET socket at path (an old socket file is replaced), mode
 * 0600. *ret_fd; CHAN_E_SYSTEM, CHAN_E_ARGUMENT (path too long). */
int chan_control_listen(const char *path, int *ret_fd);

/* Reads the hello from an accepted socket. CHAN_E_AGAIN: not there yet; CHAN_E_CLOSED; CHAN_E_PEER:
 * another version: close it. */
int chan_control_recv_hello(int fd, struct chan_hello *ret_hello);

/* Wants back what stands in the slot unless it has begun: it comes back as RETURNED. After the last
 * of a batch chan_control_recall_end() tells the lane. */
void chan_control_recall(struct chan_control *c, uint32_t slot);
void chan_control_recall_end(struct chan_control *c);

/* Answers: go with the eventfds of all n channels (channels[i] is lane i), or, with go false, tells
 * the data plane to drain and exit. orphan_s 0 keeps its default (60 s). */
int chan_control_welcome(int fd, bool go, uint32_t orphan_s, struct chan_control *const *channels,
                         uint32_t n);

/* True when a data plane holds the lock of run_dir (it is alive, attached or orphaned). */
bool chan_dataplane_alive(const char *run_dir);

#endif
