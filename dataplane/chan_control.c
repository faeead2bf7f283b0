/*
 * chan_control.c - control's side of a channel: slots, rings, wake-up. See chan_control.h.
 *
 * Beside the mapping, control keeps for each slot a private mark: is it on the stack of free slots,
 * with the caller, submitted, or reported as done. The marks, not the shared words, decide what the
 * calls here do, so a broken lane cannot make a slot free twice or report it twice.
 */
#include "dataplane/chan_control.h"

#include "dataplane/chan_control_private.h"
#include "dataplane/chan_ring.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PATH_BYTES_MAX 4096u

static bool memory_get(struct chan_control *c)
{
    c->marks = calloc(c->map.n_slots, sizeof c->marks[0]);
    c->free_slots = calloc(c->map.n_slots, sizeof c->free_slots[0]);
    return c->marks && c->free_slots && chan_arena_init(&c->arena, c->map.arena_bytes);
}

static bool eventfds_get(struct chan_control *c)
{
    c->job_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    c->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return c->job_fd >= 0 && c->done_fd >= 0;
}

/* The stack of free slots and the marks, from the states in the file; the lowest slot is on top. */
static void slots_count(struct chan_control *c)
{
    c->n_free = 0;
    for (uint32_t slot = c->map.n_slots; slot-- > 0;) {
        bool is_free = chan_control_state(c, slot) == CHAN_FREE;
        c->marks[slot] = is_free ? CHAN_MARK_FREE : CHAN_MARK_SUBMITTED;
        if (is_free) {
            c->free_slots[c->n_free++] = slot;
        }
    }
}

/* Opens the file of the lane, making it when there is none. */
static int file_get(const char *path, const struct chan_geometry *geometry, struct chan_map *map,
                    enum chan_found *ret_found)
{
    int result = chan_file_open(path, map);
    if (result == CHAN_OK) {
        uint64_t page_rounding = map->arena_bytes - geometry->arena_bytes;
        bool same = map->lane == geometry->lane && map->n_slots == geometry->n_slots &&
                    map->n_addresses == geometry->n_addresses &&
                    map->arena_bytes >= geometry->arena_bytes && page_rounding < 4096;
        *ret_found = same ? CHAN_FOUND_OLD : CHAN_FOUND_OLD_SIZE;
        return CHAN_OK;
    }
    if (result != CHAN_E_SYSTEM || errno != ENOENT) {
        return result;
    }
    result = chan_file_create(path, geometry);
    if (result != CHAN_OK) {
        return result;
    }
    *ret_found = CHAN_FOUND_NONE;
    return chan_file_open(path, map);
}

int chan_control_open(const char *run_dir, const struct chan_geometry *geometry,
                      struct chan_control **ret_control, enum chan_found *ret_found)
{
    char path[PATH_BYTES_MAX];
    enum chan_found found = CHAN_FOUND_NONE;
    if (!chan_file_path(run_dir, geometry->lane, path, sizeof path)) {
        return CHAN_E_ARGUMENT;
    }
    struct chan_control *c = calloc(1, sizeof *c);
    if (!c) {
        return CHAN_E_MEMORY;
    }
    c->job_fd = c->done_fd = -1;
    int result = file_get(path, geometry, &c->map, &found);
    if (result == CHAN_OK && !memory_get(c)) {
        result = CHAN_E_MEMORY;
    }
    if (result == CHAN_OK && !eventfds_get(c)) {
        result = CHAN_E_SYSTEM;
    }
    if (result != CHAN_OK) {
        int error = errno;
        chan_control_close(c);
        errno = error;
        return result;
    }
    slots_count(c);
    /* What the old process was told of is told again by the states: see chan_control_next_done().
     */
    chan_ring_skip(c->map.done);
    *ret_control = c;
    *ret_found = found;
    return CHAN_OK;
}

static void fd_close(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

void chan_control_close(struct chan_control *c)
{
    if (!c) {
        return;
    }
    fd_close(c->job_fd);
    fd_close(c->done_fd);
    chan_arena_fini(&c->arena);
    free(c->marks);
    free(c->free_slots);
    chan_file_close(&c->map);
    free(c);
}

static void ring_clear(struct chan_ring *ring)
{
    atomic_store(&ring->head, 0);
    atomic_store(&ring->tail, 0);
}

void chan_control_reset(struct chan_control *c)
{
    for (uint32_t slot = 0; slot < c->map.n_slots; slot++) {
        atomic_store_explicit(&c->map.slots[slot].state, CHAN_FREE, memory_order_release);
    }
    for (uint32_t i = 0; i < c->map.n_addresses; i++) {
        struct chan_address *address = &c->map.addresses[i];
        bool wanted = atomic_load(&address->want) != CHAN_ADDRESS_NONE;
        atomic_store(&address->is, wanted ? CHAN_ADDRESS_NEW : CHAN_ADDRESS_GONE);
        atomic_store(&address->sessions, 0);
    }
    ring_clear(c->map.jobs);
    ring_clear(c->map.done);
    slots_count(c);
    c->scan = c->map.n_slots;
    if (c->map.arena_bytes >= CHAN_ARENA_ALIGN) {
        c->arena.holes[0] = (struct chan_range){0, c->arena.bytes};
        c->arena.n_holes = 1;
        c->arena.n_ranges = c->arena.next = 0;
        c->arena.free_bytes = c->arena.bytes;
    }
}

uint32_t chan_control_rebuild_arena(struct chan_control *c)
{
    uint32_t damaged = 0;
    for (uint32_t i = 0; i < c->map.n_slots; i++) {
        const struct chan_slot *slot = &c->map.slots[i];
        if (chan_control_state(c, i) == CHAN_FREE) {
            continue;
        }
        bool good = chan_arena_take(&c->arena, slot->strings);
        good &= chan_arena_take(&c->arena, slot->prefix);
        good &= chan_arena_take(&c->arena, slot->body);
        good &= chan_arena_take(&c->arena, slot->stuff);
        damaged += !good;
    }
    return damaged;
}

uint32_t chan_control_n_slots(const struct chan_control *c)
{
    return c->map.n_slots;
}

uint32_t chan_control_n_free(const struct chan_control *c)
{
    return c->n_free;
}

struct chan_header *chan_control_header(struct chan_control *c)
{
    return c->map.header;
}

struct chan_arena *chan_control_arena(struct chan_control *c)
{
    return &c->arena;
}

struct chan_slot *chan_control_slot(struct chan_control *c, uint32_t slot)
{
    INVARIANT(slot < c->map.n_slots);
    return &c->map.slots[slot];
}

enum chan_job_state chan_control_state(struct chan_control *c, uint32_t slot)
{
    INVARIANT(slot < c->map.n_slots);
    return atomic_load_explicit(&c->map.slots[slot].state, memory_order_acquire);
}

uint8_t *chan_control_bytes(struct chan_control *c, struct chan_range range)
{
    if (range.offset > c->map.arena_bytes || range.len > c->map.arena_bytes - range.offset) {
        return NULL;
    }
    return c->map.arena + range.offset;
}

static void no_strings(struct chan_slot *slot)
{
    slot->envid = CHAN_NO_STRING;
    for (uint32_t i = 0; i < CHAN_RCPT_MAX; i++) {
        slot->orcpt[i] = CHAN_NO_STRING;
    }
    for (uint32_t i = 0; i < CHAN_TARGET_MAX; i++) {
        slot->targets[i].tls_name = slot->targets[i].tlsa = CHAN_NO_STRING;
    }
}

bool chan_control_alloc(struct chan_control *c, uint32_t *ret_slot)
{
    if (c->n_free == 0) {
        return false;
    }
    uint32_t index = c->free_slots[--c->n_free];
    struct chan_slot *slot = &c->map.slots[index];
    uint8_t *from = (uint8_t *)slot + offsetof(struct chan_slot, message_id);
    INVARIANT(c->marks[index] == CHAN_MARK_FREE);
    memset(from, 0, sizeof *slot - offsetof(struct chan_slot, message_id));
    no_strings(slot);
    slot->generation++;
    c->marks[index] = CHAN_MARK_HELD;
    *ret_slot = index;
    return true;
}

/* Dekker with the lane's way to sleep (chan_lane_sleep_begin): the push and this load, there the
 * store and its look at the ring, each in one total order, so one of the two sees the other. */
void chan_control_wake(struct chan_control *c)
{
    const uint64_t one = 1;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&c->map.header->lane_sleeping, memory_order_relaxed)) {
        ssize_t n = write(c->job_fd, &one, sizeof one);
        (void)n; /* EAGAIN: it is readable already */
    }
}

int chan_control_submit(struct chan_control *c, uint32_t slot)
{
    INVARIANT(slot < c->map.n_slots && c->marks[slot] == CHAN_MARK_HELD);
    _Atomic uint32_t *state = &c->map.slots[slot].state;
    atomic_store_explicit(state, CHAN_QUEUED, memory_order_release);
    if (!chan_ring_push(c->map.jobs, c->map.n_slots, slot)) {
        atomic_store_explicit(state, CHAN_FREE, memory_order_release);
        return CHAN_E_FULL;
    }
    c->marks[slot] = CHAN_MARK_SUBMITTED;
    chan_control_wake(c);
    return CHAN_OK;
}

static bool report(struct chan_control *c, uint32_t slot, uint32_t *ret_slot)
{
    if (slot >= c->map.n_slots || c->marks[slot] != CHAN_MARK_SUBMITTED ||
        chan_control_state(c, slot) != CHAN_DONE) {
        return false;
    }
    c->marks[slot] = CHAN_MARK_REPORTED;
    *ret_slot = slot;
    return true;
}

bool chan_control_next_done(struct chan_control *c, uint32_t *ret_slot)
{
    uint32_t slot;
    while (c->scan < c->map.n_slots) { /* once after opening: the done ring was skipped there */
        if (report(c, c->scan++, ret_slot)) {
            return true;
        }
    }
    while (chan_ring_pop(c->map.done, c->map.n_slots, &slot)) {
        if (report(c, slot, ret_slot)) {
            return true;
        }
    }
    return false;
}

static bool result_valid(const struct chan_result *result)
{
    return result->kind <= OUTCOME_RETURNED && result->kind != OUTCOME_NONE &&
           result->stage <= OUTCOME_STAGE_LOCAL && result->code <= 999 &&
           memchr(result->text, '\0', sizeof result->text) != NULL;
}

bool chan_control_results_valid(const struct chan_control *c, uint32_t slot)
{
    INVARIANT(slot < c->map.n_slots);
    const struct chan_slot *s = &c->map.slots[slot];
    if (s->n_recipients > CHAN_RCPT_MAX || s->n_targets > CHAN_TARGET_MAX ||
        (s->target_used > 0 && s->target_used >= s->n_targets) ||
        s->end > OUTCOME_END_UNREACHABLE || s->arrival > OUTCOME_ARRIVAL_UNKNOWN ||
        !memchr(s->tls_reason, '\0', sizeof s->tls_reason)) {
        return false;
    }
    for (uint32_t i = 0; i < s->n_recipients; i++) {
        if (!result_valid(&s->results[i])) {
            return false;
        }
    }
    return s->peer.family == 0 || s->peer.family == 4 || s->peer.family == 6;
}

void chan_control_free(struct chan_control *c, uint32_t slot)
{
    INVARIANT(slot < c->map.n_slots && c->marks[slot] != CHAN_MARK_FREE);
    atomic_store_explicit(&c->map.slots[slot].state, CHAN_FREE, memory_order_release);
    c->marks[slot] = CHAN_MARK_FREE;
    c->free_slots[c->n_free++] = slot;
}

void chan_control_heartbeat(struct chan_control *c, uint64_t now_ns)
{
    atomic_store_explicit(&c->map.header->control_heartbeat_ns, now_ns, memory_order_relaxed);
}

void chan_control_recall(struct chan_control *c, uint32_t slot)
{
    atomic_store_explicit(&chan_control_slot(c, slot)->recalled, 1, memory_order_release);
}

void chan_control_recall_end(struct chan_control *c)
{
    atomic_fetch_add(&c->map.header->recalls, 1);
    chan_control_wake(c);
}

void chan_control_drain(struct chan_control *c, bool on)
{
    atomic_store(&c->map.header->drain, on ? 1u : 0u);
    chan_control_wake(c);
}

int chan_control_done_fd(const struct chan_control *c)
{
    return c->done_fd;
}

void chan_control_done_ack(struct chan_control *c)
{
    uint64_t count;
    ssize_t n = read(c->done_fd, &count, sizeof count);
    (void)n; /* EAGAIN: nothing was there */
}
