/* test_channel.c - both sides of a channel: rings, slots, salvage. */
#include "dataplane/chan_ring.h"
#include "tests/dataplane/channel_file.h"
#include "tests/dataplane/tap.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#define N_SLOTS 8u

static struct channel_file f;

static void setup(void)
{
    channel_file_make(&f, N_SLOTS, 1 << 16);
    channel_file_attach(&f);
}

static void teardown(void)
{
    channel_file_remove(&f);
}

/* The lane's part of a job, in as many steps as asked for. */
static void lane_finish(uint32_t slot)
{
    struct chan_slot *s = chan_lane_slot(&f.lane, slot);
    for (uint32_t i = 0; i < s->n_recipients; i++) {
        s->results[i].kind = OUTCOME_DELIVERED;
        s->results[i].stage = OUTCOME_STAGE_DOT;
        s->results[i].code = 250;
    }
    chan_lane_finish(&f.lane, slot);
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* ---- rings ------------------------------------------------------------------------------- */

START_TEST(a_ring_keeps_order_over_the_wrap_of_its_indexes)
{
    struct chan_ring *ring = f.lane.map.jobs;
    uint32_t next_in = 0, next_out = 0, value;
    atomic_store(&ring->head, UINT32_MAX - 100);
    atomic_store(&ring->tail, UINT32_MAX - 100);
    for (int step = 0; step < 400; step++) {
        uint32_t pushes = (uint32_t)step % 5, pops = (uint32_t)step % 3;
        while (pushes-- > 0 && chan_ring_push(ring, N_SLOTS, next_in)) {
            next_in++;
        }
        ck_assert(next_in - next_out <= N_SLOTS);
        while (pops-- > 0 && chan_ring_pop(ring, N_SLOTS, &value)) {
            ck_assert_uint_eq(value, next_out++);
        }
    }
    ck_assert(next_out > 200);
}
END_TEST

START_TEST(a_ring_takes_as_many_as_it_has_entries)
{
    struct chan_ring *ring = f.lane.map.jobs;
    uint32_t value;
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        ck_assert(chan_ring_push(ring, N_SLOTS, i));
    }
    ck_assert(!chan_ring_push(ring, N_SLOTS, 99));
    ck_assert(chan_ring_pop(ring, N_SLOTS, &value));
    ck_assert(chan_ring_push(ring, N_SLOTS, 99));
}
END_TEST

START_TEST(a_ring_with_damaged_indexes_is_full_and_empty)
{
    struct chan_ring *ring = f.lane.map.jobs;
    uint32_t value;
    atomic_store(&ring->head, 5);
    atomic_store(&ring->tail, 1000);
    ck_assert(!chan_ring_push(ring, N_SLOTS, 1));
    ck_assert(!chan_ring_pop(ring, N_SLOTS, &value));
}
END_TEST

#define THREAD_ITEMS 50000u

static void *push_all(void *arg)
{
    struct chan_ring *ring = arg;
    for (uint32_t i = 0; i < THREAD_ITEMS;) {
        if (chan_ring_push(ring, N_SLOTS, i)) {
            i++;
        } else {
            (void)sched_yield();
        }
    }
    return NULL;
}

START_TEST(two_threads_exchange_every_entry_once_and_in_order)
{
    struct chan_ring *ring = f.lane.map.jobs;
    pthread_t thread;
    uint32_t value;
    ck_assert_int_eq(pthread_create(&thread, NULL, push_all, ring), 0);
    for (uint32_t i = 0; i < THREAD_ITEMS;) {
        if (chan_ring_pop(ring, N_SLOTS, &value)) {
            ck_assert_uint_eq(value, i++);
        } else {
            (void)sched_yield();
        }
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

/* ---- the life of a slot ------------------------------------------------------------------ */

START_TEST(a_job_goes_down_and_its_outcome_comes_up)
{
    const struct test_job job = {0};
    uint32_t sent = channel_file_submit(&f, &job), slot;
    ck_assert_uint_eq(chan_control_n_free(f.control), N_SLOTS - 1);
    ck_assert(chan_lane_next_job(&f.lane, &slot));
    ck_assert_uint_eq(slot, sent);
    ck_assert(!chan_lane_next_job(&f.lane, &slot));
    ck_assert_uint_eq(chan_lane_slot(&f.lane, sent)->generation, 1);
    ck_assert(!chan_control_next_done(f.control, &slot));

    chan_lane_set_state(&f.lane, sent, CHAN_STARTED);
    lane_finish(sent);
    chan_lane_notify(&f.lane, chan_control_done_fd(f.control));
    ck_assert(readable(chan_control_done_fd(f.control)));
    chan_control_done_ack(f.control);
    ck_assert(!readable(chan_control_done_fd(f.control)));
    ck_assert(chan_control_next_done(f.control, &slot));
    ck_assert_uint_eq(slot, sent);
    ck_assert(!chan_control_next_done(f.control, &slot));
    ck_assert(chan_control_results_valid(f.control, sent));
    channel_file_free(&f, sent);
    ck_assert_uint_eq(chan_control_n_free(f.control), N_SLOTS);
}
END_TEST

START_TEST(all_slots_can_be_used_and_then_there_is_none)
{
    const struct test_job job = {0};
    uint32_t slot;
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < N_SLOTS; i++) {
            (void)channel_file_submit(&f, &job);
        }
        ck_assert(!chan_control_alloc(f.control, &slot));
        while (chan_lane_next_job(&f.lane, &slot)) {
            lane_finish(slot);
        }
        while (chan_control_next_done(f.control, &slot)) {
            channel_file_free(&f, slot);
        }
        ck_assert_uint_eq(chan_control_n_free(f.control), N_SLOTS);
    }
}
END_TEST

START_TEST(a_reserved_slot_can_be_given_back_unsubmitted)
{
    uint32_t slot;
    ck_assert(chan_control_alloc(f.control, &slot));
    chan_control_free(f.control, slot);
    ck_assert_uint_eq(chan_control_n_free(f.control), N_SLOTS);
    ck_assert(!chan_lane_next_job(&f.lane, &slot));
}
END_TEST

START_TEST(a_slot_is_taken_and_reported_once_whatever_the_rings_say)
{
    const struct test_job job = {0};
    uint32_t sent = channel_file_submit(&f, &job), slot;
    ck_assert(chan_ring_push(f.lane.map.jobs, N_SLOTS, sent));
    ck_assert(chan_ring_push(f.lane.map.jobs, N_SLOTS, 4711));
    ck_assert(chan_lane_next_job(&f.lane, &slot));
    ck_assert(!chan_lane_next_job(&f.lane, &slot));
    lane_finish(sent);
    ck_assert(chan_ring_push(f.lane.map.done, N_SLOTS, sent));
    ck_assert(chan_ring_push(f.lane.map.done, N_SLOTS, 4711));
    ck_assert(chan_control_next_done(f.control, &slot));
    ck_assert(!chan_control_next_done(f.control, &slot));
}
END_TEST

static void spoil_kind(struct chan_slot *s)
{
    s->results[0].kind = 99;
}
static void spoil_none(struct chan_slot *s)
{
    s->results[0].kind = OUTCOME_NONE;
}
static void spoil_stage(struct chan_slot *s)
{
    s->results[0].stage = 200;
}
static void spoil_code(struct chan_slot *s)
{
    s->results[0].code = 1000;
}
static void spoil_text(struct chan_slot *s)
{
    memset(s->results[0].text, 'x', sizeof s->results[0].text);
}
static void spoil_target(struct chan_slot *s)
{
    s->target_used = 1;
}
static void spoil_peer(struct chan_slot *s)
{
    s->peer.family = 5;
}

START_TEST(results_that_are_out_of_range_are_not_valid)
{
    static void (*const spoil[])(struct chan_slot *) = {
        spoil_kind, spoil_none, spoil_stage, spoil_code, spoil_text, spoil_target, spoil_peer,
    };
    const struct test_job job = {0};
    for (size_t i = 0; i < sizeof spoil / sizeof spoil[0]; i++) {
        uint32_t slot = channel_file_submit(&f, &job);
        ck_assert(chan_lane_next_job(&f.lane, &slot));
        lane_finish(slot);
        ck_assert(chan_control_results_valid(f.control, slot));
        spoil[i](chan_lane_slot(&f.lane, slot));
        ck_assert_msg(!chan_control_results_valid(f.control, slot), "row %zu", i);
        ck_assert(chan_control_next_done(f.control, &slot));
        channel_file_free(&f, slot);
    }
}
END_TEST

START_TEST(a_sleeping_lane_is_woken_and_a_busy_one_is_not)
{
    const struct test_job job = {0};
    uint32_t slot;
    ck_assert(!chan_lane_next_job(&f.lane, &slot)); /* the look at all slots after opening */
    (void)channel_file_submit(&f, &job);
    ck_assert_uint_eq(f.lane.map.header->lane_sleeping, 0);
    ck_assert(!chan_lane_sleep_begin(&f.lane)); /* a job is there */
    ck_assert(chan_lane_next_job(&f.lane, &slot));
    ck_assert(chan_lane_sleep_begin(&f.lane));
    ck_assert_uint_eq(f.lane.map.header->lane_sleeping, 1);
    (void)channel_file_submit(&f, &job);
    chan_lane_sleep_end(&f.lane);
    ck_assert(!chan_lane_sleep_begin(&f.lane));
}
END_TEST

/* ---- salvage ----------------------------------------------------------------------------- */

/* Brings one job to the state with both sides alive. */
static uint32_t job_in_state(enum chan_job_state state)
{
    const struct test_job job = {.prefix = "X: y\r\n"};
    uint32_t sent = channel_file_submit(&f, &job), slot;
    if (state >= CHAN_STARTED) {
        ck_assert(chan_lane_next_job(&f.lane, &slot));
        chan_lane_set_state(&f.lane, sent, CHAN_STARTED);
    }
    if (state >= CHAN_DOT_SENT) {
        chan_lane_set_state(&f.lane, sent, CHAN_DOT_SENT);
    }
    if (state == CHAN_DONE) {
        lane_finish(sent);
    }
    return sent;
}

START_TEST(after_both_died_each_slot_says_how_far_it_came)
{
    enum chan_job_state state = (enum chan_job_state)_i;
    uint32_t slot = job_in_state(state);
    channel_file_kill_lane(&f);
    channel_file_kill_control(&f);

    channel_file_reopen_control(&f);
    ck_assert_int_eq(f.found, CHAN_FOUND_OLD);
    ck_assert_int_eq(chan_control_state(f.control, slot), state);
    const struct chan_slot *s = chan_control_slot(f.control, slot);
    const char *strings = (const char *)chan_control_bytes(f.control, s->strings);
    ck_assert_str_eq(strings + s->recipients[0], "to@alpha.example");
    chan_control_reset(f.control);
    ck_assert_uint_eq(chan_control_n_free(f.control), N_SLOTS);
    ck_assert_uint_eq(chan_control_arena(f.control)->free_bytes, 1 << 16);
    channel_file_attach(&f);
    ck_assert(!chan_lane_next_job(&f.lane, &slot));
}
END_TEST

START_TEST(a_new_control_adopts_what_a_living_lane_has)
{
    enum chan_job_state state = (enum chan_job_state)_i;
    uint32_t sent = job_in_state(state), slot, free_before = chan_control_n_free(f.control);
    uint64_t arena_before = chan_control_arena(f.control)->free_bytes;
    channel_file_kill_control(&f);

    channel_file_reopen_control(&f);
    ck_assert_uint_eq(chan_control_rebuild_arena(f.control), 0);
    ck_assert_uint_eq(chan_control_n_free(f.control), free_before);
    ck_assert_uint_eq(chan_control_arena(f.control)->free_bytes, arena_before);
    chan_lane_rescan(&f.lane);
    if (state < CHAN_STARTED) {
        ck_assert(chan_lane_next_job(&f.lane, &slot));
        ck_assert_uint_eq(slot, sent);
    }
    ck_assert(!chan_lane_next_job(&f.lane, &slot));
    if (state < CHAN_DONE) {
        ck_assert(!chan_control_next_done(f.control, &slot));
        lane_finish(sent);
    }
    ck_assert(chan_control_next_done(f.control, &slot));
    ck_assert_uint_eq(slot, sent);
    ck_assert(!chan_control_next_done(f.control, &slot));
    channel_file_free(&f, sent);
    ck_assert_uint_eq(chan_control_arena(f.control)->free_bytes, 1 << 16);
}
END_TEST

START_TEST(a_slot_queued_but_not_pushed_is_found_by_the_lane)
{
    const struct test_job job = {0};
    uint32_t sent, slot;
    ck_assert(!chan_lane_next_job(&f.lane, &slot));
    ck_assert(channel_file_fill(&f, &job, &sent));
    atomic_store(&chan_control_slot(f.control, sent)->state, CHAN_QUEUED); /* and then kill -9 */
    channel_file_kill_control(&f);
    ck_assert(!chan_lane_next_job(&f.lane, &slot));
    channel_file_reopen_control(&f);
    chan_lane_rescan(&f.lane);
    ck_assert(chan_lane_next_job(&f.lane, &slot));
    ck_assert_uint_eq(slot, sent);
    chan_lane_rescan(&f.lane);
    ck_assert(!chan_lane_next_job(&f.lane, &slot));
}
END_TEST

START_TEST(a_slot_half_filled_when_control_died_is_free_again)
{
    const struct test_job job = {0};
    uint32_t slot;
    ck_assert(channel_file_fill(&f, &job, &slot));
    channel_file_kill_control(&f);
    channel_file_reopen_control(&f);
    ck_assert_uint_eq(chan_control_rebuild_arena(f.control), 0);
    ck_assert_uint_eq(chan_control_n_free(f.control), N_SLOTS);
    ck_assert_uint_eq(chan_control_arena(f.control)->free_bytes, 1 << 16);
}
END_TEST

START_TEST(a_damaged_slot_holds_nothing_in_the_arena)
{
    const struct test_job job = {0};
    uint32_t slot = channel_file_submit(&f, &job);
    chan_control_slot(f.control, slot)->body.offset = UINT64_MAX;
    channel_file_kill_control(&f);
    channel_file_reopen_control(&f);
    ck_assert_uint_eq(chan_control_rebuild_arena(f.control), 1);
}
END_TEST

START_TEST(another_geometry_is_found_as_such)
{
    struct chan_control *other;
    enum chan_found found;
    struct chan_geometry geometry = {.n_slots = 2 * N_SLOTS, .arena_bytes = 1 << 16};
    ck_assert_int_eq(chan_control_open(f.dir, &geometry, &other, &found), CHAN_OK);
    ck_assert_int_eq(found, CHAN_FOUND_OLD_SIZE);
    ck_assert_uint_eq(chan_control_n_slots(other), N_SLOTS);
    chan_control_close(other);
    struct chan_lane lane;
    ck_assert_int_eq(chan_lane_open(&lane, f.dir, &geometry), CHAN_E_FORMAT);
}
END_TEST

START_TEST(a_file_that_is_no_channel_is_refused)
{
    static const struct {
        uint64_t at; /* in the header */
        uint8_t byte;
    } damage[] = {
        {offsetof(struct chan_header, magic), 0},
        {offsetof(struct chan_header, version), 99},
        {offsetof(struct chan_header, n_slots), 7},
        {offsetof(struct chan_header, n_slots) + 3, 1},
        {offsetof(struct chan_header, slot_bytes), 1},
        {offsetof(struct chan_header, job_ring) + 1, 99},
        {offsetof(struct chan_header, slots) + 7, 1},
        {offsetof(struct chan_header, arena_bytes) + 7, 1},
        {offsetof(struct chan_header, file_bytes), 1},
    };
    char path[128];
    struct chan_map map;
    ck_assert(chan_file_path(f.dir, 0, path, sizeof path));
    int fd = open(path, O_RDWR);
    ck_assert(fd >= 0);
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        uint8_t old;
        ck_assert_int_eq(pread(fd, &old, 1, (off_t)damage[i].at), 1);
        ck_assert_int_eq(pwrite(fd, &damage[i].byte, 1, (off_t)damage[i].at), 1);
        ck_assert_msg(chan_file_open(path, &map) == CHAN_E_FORMAT, "row %zu", i);
        ck_assert_int_eq(pwrite(fd, &old, 1, (off_t)damage[i].at), 1);
    }
    ck_assert_int_eq(ftruncate(fd, 100), 0);
    ck_assert_int_eq(chan_file_open(path, &map), CHAN_E_FORMAT);
    (void)close(fd);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("channel");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_ring_keeps_order_over_the_wrap_of_its_indexes);
    tcase_add_test(tc, a_ring_takes_as_many_as_it_has_entries);
    tcase_add_test(tc, a_ring_with_damaged_indexes_is_full_and_empty);
    tcase_add_test(tc, two_threads_exchange_every_entry_once_and_in_order);
    tcase_add_test(tc, a_job_goes_down_and_its_outcome_comes_up);
    tcase_add_test(tc, all_slots_can_be_used_and_then_there_is_none);
    tcase_add_test(tc, a_reserved_slot_can_be_given_back_unsubmitted);
    tcase_add_test(tc, a_slot_is_taken_and_reported_once_whatever_the_rings_say);
    tcase_add_test(tc, results_that_are_out_of_range_are_not_valid);
    tcase_add_test(tc, a_sleeping_lane_is_woken_and_a_busy_one_is_not);
    tcase_add_loop_test(tc, after_both_died_each_slot_says_how_far_it_came, CHAN_QUEUED,
                        CHAN_DONE + 1);
    tcase_add_loop_test(tc, a_new_control_adopts_what_a_living_lane_has, CHAN_QUEUED,
                        CHAN_DONE + 1);
    tcase_add_test(tc, a_slot_queued_but_not_pushed_is_found_by_the_lane);
    tcase_add_test(tc, a_slot_half_filled_when_control_died_is_free_again);
    tcase_add_test(tc, a_damaged_slot_holds_nothing_in_the_arena);
    tcase_add_test(tc, another_geometry_is_found_as_such);
    tcase_add_test(tc, a_file_that_is_no_channel_is_refused);
    return tap_run("channel", tc);
}
