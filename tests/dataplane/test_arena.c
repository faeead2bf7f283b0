/* test_arena.c - the channel's arena against a naive model: a byte map of units. */
#include "dataplane/chan_arena.h"
#include "tests/dataplane/tap.h"

#define UNITS 512u

struct model {
    bool used[UNITS];
    struct chan_range ranges[UNITS];
    uint32_t n;
};

static uint32_t unit_of(uint64_t bytes)
{
    return (uint32_t)((bytes + CHAN_ARENA_ALIGN - 1) / CHAN_ARENA_ALIGN);
}

static void model_mark(struct model *m, struct chan_range range, bool used)
{
    uint32_t first = unit_of(range.offset);
    ck_assert(first + unit_of(range.len) <= UNITS);
    for (uint32_t i = 0; i < unit_of(range.len); i++) {
        if (m->used[first + i] == used) {
            ck_abort_msg("unit %u is in the wrong state", first + i);
        }
        m->used[first + i] = used;
    }
}

static uint32_t model_free_units(const struct model *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < UNITS; i++) {
        n += !m->used[i];
    }
    return n;
}

static uint32_t model_longest_hole(const struct model *m)
{
    uint32_t longest = 0, run = 0;
    for (uint32_t i = 0; i < UNITS; i++) {
        run = m->used[i] ? 0 : run + 1;
        longest = run > longest ? run : longest;
    }
    return longest;
}

/* The invariants of chan_arena.h, and that the holes are exactly the model's free runs. Summed up
 * first: each ck_assert() is a system call. */
static void check(const struct chan_arena *a, const struct model *m)
{
    uint64_t sum = 0, end = 0;
    bool good = true;
    for (uint32_t i = 0; i < a->n_holes; i++) {
        good &= a->holes[i].len > 0 && (i == 0 || a->holes[i].offset > end);
        end = a->holes[i].offset + a->holes[i].len;
        good &= end <= a->bytes;
        for (uint64_t u = a->holes[i].offset / CHAN_ARENA_ALIGN; u < end / CHAN_ARENA_ALIGN; u++) {
            good &= u < UNITS && !m->used[u];
        }
        sum += a->holes[i].len;
    }
    ck_assert(good);
    ck_assert_uint_eq(sum, a->free_bytes);
    ck_assert_uint_eq(sum, (uint64_t)model_free_units(m) * CHAN_ARENA_ALIGN);
}

static void try_alloc(struct chan_arena *a, struct model *m, uint64_t len)
{
    struct chan_range range;
    bool got = chan_arena_alloc(a, len, &range);
    ck_assert_int_eq(got, unit_of(len) <= model_longest_hole(m));
    if (got) {
        ck_assert_uint_eq(range.len, len);
        ck_assert_uint_eq(range.offset % CHAN_ARENA_ALIGN, 0);
        model_mark(m, range, true);
        m->ranges[m->n++] = range;
    }
}

static void give_back(struct chan_arena *a, struct model *m, uint32_t at)
{
    chan_arena_free(a, m->ranges[at]);
    model_mark(m, m->ranges[at], false);
    m->ranges[at] = m->ranges[--m->n];
}

START_TEST(random_use_agrees_with_a_naive_model)
{
    struct chan_arena a;
    struct model m = {0};
    unsigned seed = (unsigned)_i + 1;
    ck_assert(chan_arena_init(&a, UNITS * CHAN_ARENA_ALIGN));
    for (int step = 0; step < 3000; step++) {
        uint32_t dice = (uint32_t)rand_r(&seed);
        if (dice % 100 < 55 || m.n == 0) {
            try_alloc(&a, &m, 1 + dice / 100 % (dice % 7 == 0 ? 4000 : 300));
        } else {
            give_back(&a, &m, dice / 100 % m.n);
        }
        check(&a, &m);
    }
    while (m.n > 0) {
        give_back(&a, &m, m.n - 1);
        check(&a, &m);
    }
    ck_assert_uint_eq(a.n_holes, 1);
    chan_arena_fini(&a);
}
END_TEST

START_TEST(every_second_of_many_small_ranges_can_be_given_back)
{
    struct chan_arena a;
    struct chan_range ranges[UNITS];
    ck_assert(chan_arena_init(&a, UNITS * CHAN_ARENA_ALIGN));
    for (uint32_t i = 0; i < UNITS; i++) {
        ck_assert(chan_arena_alloc(&a, 1, &ranges[i]));
    }
    ck_assert(!chan_arena_alloc(&a, 1, &ranges[0]));
    for (uint32_t i = 0; i < UNITS; i += 2) {
        chan_arena_free(&a, ranges[i]);
    }
    ck_assert_uint_eq(a.n_holes, UNITS / 2);
    for (uint32_t i = 1; i < UNITS; i += 2) {
        chan_arena_free(&a, ranges[i]);
    }
    ck_assert_uint_eq(a.n_holes, 1);
    ck_assert_uint_eq(a.free_bytes, a.bytes);
    chan_arena_fini(&a);
}
END_TEST

START_TEST(an_empty_range_takes_no_room)
{
    struct chan_arena a;
    struct chan_range range = {7, 7};
    ck_assert(chan_arena_init(&a, 4096));
    ck_assert(chan_arena_alloc(&a, 0, &range));
    ck_assert_uint_eq(range.offset, 0);
    ck_assert_uint_eq(range.len, 0);
    chan_arena_free(&a, range);
    ck_assert_uint_eq(a.free_bytes, 4096);
    chan_arena_fini(&a);
}
END_TEST

START_TEST(rebuilding_by_take_gives_the_same_holes)
{
    struct chan_arena a, b;
    struct model m = {0};
    unsigned seed = (unsigned)_i + 77;
    ck_assert(chan_arena_init(&a, UNITS * CHAN_ARENA_ALIGN));
    ck_assert(chan_arena_init(&b, UNITS * CHAN_ARENA_ALIGN));
    for (int step = 0; step < 200; step++) {
        uint32_t dice = (uint32_t)rand_r(&seed);
        if (dice % 3 != 0 || m.n == 0) {
            try_alloc(&a, &m, 1 + dice % 700);
        } else {
            give_back(&a, &m, dice % m.n);
        }
    }
    for (uint32_t i = 0; i < m.n; i++) {
        ck_assert(chan_arena_take(&b, m.ranges[i]));
        if (i % 3 == 0) { /* a body shared by two slots is taken twice */
            ck_assert(chan_arena_take(&b, m.ranges[i]));
        }
    }
    check(&b, &m);
    ck_assert_uint_eq(a.n_holes, b.n_holes);
    ck_assert_mem_eq(a.holes, b.holes, a.n_holes * sizeof a.holes[0]);
    while (m.n > 0) {
        give_back(&b, &m, m.n - 1);
        check(&b, &m);
    }
    chan_arena_fini(&a);
    chan_arena_fini(&b);
}
END_TEST

START_TEST(take_refuses_ranges_that_no_allocation_can_have_given)
{
    static const struct chan_range bad[] = {
        {1, 10}, {4096, 1}, {0, 4097}, {64, UINT64_MAX}, {UINT64_MAX - 63, 64}, {UINT64_MAX, 1},
    };
    struct chan_arena a;
    ck_assert(chan_arena_init(&a, 4096));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(!chan_arena_take(&a, bad[i]), "row %zu", i);
    }
    ck_assert_uint_eq(a.free_bytes, 4096);
    chan_arena_fini(&a);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("arena");
    tcase_add_loop_test(tc, random_use_agrees_with_a_naive_model, 0, 20);
    tcase_add_test(tc, every_second_of_many_small_ranges_can_be_given_back);
    tcase_add_test(tc, an_empty_range_takes_no_room);
    tcase_add_loop_test(tc, rebuilding_by_take_gives_the_same_holes, 0, 20);
    tcase_add_test(tc, take_refuses_ranges_that_no_allocation_can_have_given);
    return tap_run("arena", tc);
}
