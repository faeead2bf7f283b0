/*
 * bench_queue.c - prints what the operations of the queue cost. Not a test: nothing is asserted.
 *
 * For each number of items (100 to a flow): ns for queue_add, for queue_next, for queue_again of
 * what is in flight, and for both queue_next and queue_finish; how long the one call takes that
 * finds all flows due at once; bytes for an item by mallinfo2(), so with what malloc itself takes;
 * bytes in use when all is finished (malloc's own caches count). Then one flow that has all items,
 * and flows that have one each. 1000 items are in flight at a time. Figures are of use from a
 * release build only: meson setup --buildtype=release.
 */
#include "control/queue.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define IN_FLIGHT 1000u
#define SENDERS   10u

struct figures {
    double add_ns, next_ns, first_us, again_ns, finish_ns, bytes;
};

static int64_t clock_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static uint32_t random_below(uint64_t *state, uint32_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*state >> 33) % n);
}

static void must(bool good)
{
    if (!good) {
        (void)fprintf(stderr, "bench_queue: no memory, or an item is missing\n");
        exit(EXIT_FAILURE);
    }
}

/* One item for each flow, then the next for each: neighbours in time are of different flows. */
static void add_all(struct queue *q, uint32_t n_items, uint32_t n_flows, struct figures *f)
{
    char(*names)[32] = calloc(n_flows, sizeof names[0]);
    uint64_t random = 1;
    must(names != NULL);
    for (uint32_t i = 0; i < n_flows; i++) {
        (void)snprintf(names[i], sizeof names[i], "mail%u.domain.example", i);
    }
    size_t bytes = heap_bytes();
    int64_t start_ns = clock_ns();
    for (uint32_t i = 0; i < n_items; i++) {
        uint32_t flow = i % n_flows;
        must(queue_add(q, flow % SENDERS, names[flow], i, 0, random_below(&random, 1000000)));
    }
    f->add_ns = (double)(clock_ns() - start_ns) / n_items;
    f->bytes = (double)(heap_bytes() - bytes) / n_items;
    free(names);
}

/* In rounds of what is in flight: each is started and comes again later than all others. */
static void try_all(struct queue *q, uint32_t n_items, int64_t now_ms, struct figures *f)
{
    static struct queue_item items[IN_FLIGHT];
    uint64_t random = 2;
    int64_t next_ns = 0, again_ns = 0;
    for (uint32_t done = 0; done < n_items; done += IN_FLIGHT) {
        int64_t start_ns = clock_ns();
        for (uint32_t i = 0; i < IN_FLIGHT; i++) {
            must(queue_next(q, now_ms, &items[i]));
            if (done + i == 0) {
                f->first_us = (double)(clock_ns() - start_ns) / 1000;
            }
        }
        int64_t middle_ns = clock_ns();
        for (uint32_t i = 0; i < IN_FLIGHT; i++) {
            queue_again(q, &items[i], now_ms + 1 + random_below(&random, 1000000));
        }
        next_ns += middle_ns - start_ns;
        again_ns += clock_ns() - middle_ns;
    }
    f->next_ns = (double)next_ns / n_items;
    f->again_ns = (double)again_ns / n_items;
}

static void finish_all(struct queue *q, uint32_t n_items, struct figures *f)
{
    struct queue_item item;
    int64_t start_ns = clock_ns();
    while (queue_next(q, INT64_MAX, &item)) {
        queue_finish(q, &item);
    }
    f->finish_ns = (double)(clock_ns() - start_ns) / n_items;
}

static void bench(uint32_t n_items, uint32_t n_flows)
{
    struct figures f = {0};
    struct queue *q = queue_new(UINT32_MAX);
    must(q != NULL);
    size_t before = heap_bytes();
    add_all(q, n_items, n_flows, &f);
    try_all(q, n_items, 1000000, &f);
    finish_all(q, n_items, &f);
    printf("%9u %9u %8.0f %8.0f %8.0f %8.0f %9.0f %10.1f %11zu\n", n_items, n_flows, f.add_ns,
           f.next_ns, f.again_ns, f.finish_ns, f.first_us, f.bytes, heap_bytes() - before);
    queue_free(q);
}

int main(void)
{
    static const struct {
        uint32_t items, flows;
    } rows[] = {{1000, 10},   {100000, 1000},   {1000000, 10000},  {1000000, 1},
                {1000, 1000}, {100000, 100000}, {1000000, 1000000}};
    printf("    items     flows   add ns  next ns again ns   n+f ns  first us bytes/item bytes "
           "after\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench(rows[i].items, rows[i].flows);
    }
    return EXIT_SUCCESS;
}
