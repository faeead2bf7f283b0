/* chan_lane.c - the lane's side of a channel: see chan_lane.h. */
#include "dataplane/chan_lane.h"

#include "dataplane/chan_ring.h"

#include <unistd.h>

int chan_lane_open(struct chan_lane *c, const char *run_dir, const struct chan_geometry *geometry)
{
    char path[4096];
    *c = (struct chan_lane){0};
    if (!chan_file_path(run_dir, geometry->lane, path, sizeof path)) {
        return CHAN_E_ARGUMENT;
    }
    int result = chan_file_open(path, &c->map);
    if (result != CHAN_OK) {
        return result;
    }
    if (c->map.lane != geometry->lane || c->map.n_slots != geometry->n_slots ||
        c->map.n_addresses != geometry->n_addresses || c->map.arena_bytes < geometry->arena_bytes) {
        chan_file_close(&c->map);
        return CHAN_E_FORMAT;
    }
    c->taken = calloc(c->map.n_slots, sizeof c->taken[0]);
    c->known = calloc(c->map.n_slots, sizeof c->known[0]);
    if (!c->taken || !c->known) {
        chan_lane_close(c);
        return CHAN_E_MEMORY;
    }
    c->rescan = 0;
    return CHAN_OK;
}

void chan_lane_close(struct chan_lane *c)
{
    free(c->taken);
    free(c->known);
    chan_file_close(&c->map);
    *c = (struct chan_lane){0};
}

/* Takes a slot when it is QUEUED and this generation of it was not taken before. */
static bool slot_take(struct chan_lane *c, uint32_t index, uint32_t *ret_slot)
{
    if (index >= c->map.n_slots) {
        return false;
    }
    const struct chan_slot *slot = &c->map.slots[index];
    if (atomic_load_explicit(&slot->state, memory_order_acquire) != CHAN_QUEUED ||
        (c->known[index] && c->taken[index] == slot->generation)) {
        return false;
    }
    c->known[index] = true;
    c->taken[index] = slot->generation;
    *ret_slot = index;
    return true;
}

void chan_lane_prefetch_jobs(const struct chan_lane *c, uint32_t n)
{
    const uint32_t mask = c->map.n_slots - 1;
    const uint32_t tail = atomic_load_explicit(&c->map.jobs->tail, memory_order_relaxed);
    const uint32_t fill = atomic_load_explicit(&c->map.jobs->head, memory_order_acquire) - tail;
    for (uint32_t i = 0; i < n && i < fill; i++) {
        const uint32_t slot = c->map.jobs->entries[(tail + i) & mask];
        memory_prefetch(&c->map.slots[slot & mask], offsetof(struct chan_slot, started_ns));
    }
}

bool chan_lane_next_job(struct chan_lane *c, uint32_t *ret_slot)
{
    uint32_t slot;
    while (chan_ring_pop(c->map.jobs, c->map.n_slots, &slot)) {
        if (slot_take(c, slot, ret_slot)) {
            return true;
        }
    }
    while (c->rescan < c->map.n_slots) {
        if (slot_take(c, c->rescan++, ret_slot)) {
            return true;
        }
    }
    return false;
}

void chan_lane_rescan(struct chan_lane *c)
{
    c->rescan = 0;
}

struct chan_slot *chan_lane_slot(struct chan_lane *c, uint32_t slot)
{
    INVARIANT_HOT(slot < c->map.n_slots);
    return &c->map.slots[slot];
}

void chan_lane_set_state(struct chan_lane *c, uint32_t slot, enum chan_job_state state)
{
    INVARIANT_HOT(slot < c->map.n_slots);
    atomic_store_explicit(&c->map.slots[slot].state, state, memory_order_seq_cst);
}

void chan_lane_finish(struct chan_lane *c, uint32_t slot)
{
    chan_lane_set_state(c, slot, CHAN_DONE);
    /* Full only if control broke the ring's words; it finds the slot by its state then. */
    (void)chan_ring_push(c->map.done, c->map.n_slots, slot);
    c->done_pushed = true;
}

void chan_lane_notify(struct chan_lane *c, int done_fd)
{
    const uint64_t one = 1;
    if (c->done_pushed && done_fd >= 0) {
        ssize_t n = write(done_fd, &one, sizeof one);
        (void)n; /* EAGAIN: it is readable already */
        c->done_pushed = false;
    }
}

bool chan_lane_sleep_begin(struct chan_lane *c)
{
    atomic_store_explicit(&c->map.header->lane_sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in chan_control_submit() */
    if (chan_ring_empty(c->map.jobs) && c->rescan == c->map.n_slots) {
        return true;
    }
    chan_lane_sleep_end(c);
    return false;
}

void chan_lane_sleep_end(struct chan_lane *c)
{
    atomic_store_explicit(&c->map.header->lane_sleeping, 0, memory_order_relaxed);
}
