/* test_queue_memory.c - what the queue costs, that it gives it back, and what happens without
 * memory. malloc and its kin are wrapped (alloc.h), in Check as well where it is linked statically:
 * so nothing of Check is called while bytes are counted or allocations fail. */
#include "tests/dataplane/tap.h"
#include "tests/queue/alloc.h"
#include "tests/queue/queue_check.h"

#include <stdio.h>
#include <string.h>

#define MANY 200000u

#define must(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            alloc_allow(ALLOC_ALL_SUCCEED);                                                        \
            ck_abort_msg("%s", #cond);                                                             \
        }                                                                                          \
    } while (0)

static const char *domain_name(uint32_t number)
{
    static char name[32];
    (void)snprintf(name, sizeof name, "domain%u.example", number);
    return name;
}

/* One item for each of n domains. */
static void add_domains(struct queue *q, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++) {
        must(queue_add(q, 0, domain_name(i), i, 0, i));
    }
}

static void finish_all(struct queue *q)
{
    struct queue_item item;
    while (queue_next(q, INT64_MAX, &item)) {
        queue_finish(q, &item);
    }
    must(queue_waiting(q) == 0);
}

START_TEST(memory_of_domains_that_are_done_with_is_given_back)
{
    struct queue *q = queue_new(1);
    struct queue_item oldest, newest;
    size_t before = alloc_bytes();
    must(queue_add_in_flight(q, 0, "oldest.example", 1, 0, &oldest));
    add_domains(q, 0, MANY);
    must(queue_add_in_flight(q, 0, "newest.example", 2, 0, &newest));
    must(alloc_bytes() - before > (size_t)100 * MANY);
    finish_all(q);
    must(queue_check_flows(q) == 2);
    must(queue_check_domains(q) == 2);
    must(alloc_bytes() - before < 8192); /* beside items that stay in flight */
    must(strcmp(queue_domain(q, &oldest), "oldest.example") == 0);
    must(strcmp(queue_domain(q, &newest), "newest.example") == 0);
    queue_check(q);
    queue_free(q);
}
END_TEST

START_TEST(memory_does_not_grow_with_the_domains_ever_seen)
{
    struct queue *q = queue_new(1);
    add_domains(q, 0, 100);
    finish_all(q);
    size_t before = alloc_bytes();
    for (uint32_t round = 1; round < MANY / 100; round++) {
        add_domains(q, round * 100, 100);
        finish_all(q);
    }
    must(alloc_bytes() <= before + 1024); /* tables keep some room, not always the same */
    queue_free(q);
}
END_TEST

START_TEST(memory_of_a_long_backlog_is_given_back_while_its_flow_lives)
{
    struct queue *q = queue_new(MANY + 1);
    struct queue_item item;
    for (uint32_t i = 0; i < MANY; i++) {
        must(queue_add(q, 0, "long.example", i, 0, 0));
    }
    must(queue_next(q, 0, &item));
    size_t before = alloc_bytes();
    finish_all(q);
    must(alloc_bytes() < before / 100);
    queue_again(q, &item, 5);
    queue_check(q);
    queue_free(q);
}
END_TEST

START_TEST(a_waiting_item_costs_24_bytes_and_what_the_arrays_grow_ahead)
{
    enum { ITEMS = 100000, FLOWS = 1000 };
    struct queue *q = queue_new(1);
    size_t before = alloc_bytes();
    for (uint32_t i = 0; i < ITEMS; i++) {
        must(queue_add(q, i % 7, domain_name(i % FLOWS), i, 0, i));
    }
    must(queue_check_flows(q) == 7 * FLOWS);
    must(alloc_bytes() - before <= (size_t)ITEMS * 36 + (size_t)7 * FLOWS * 200);
    queue_free(q);
}
END_TEST

START_TEST(starting_and_trying_again_allocate_nothing)
{
    struct queue *q = queue_new(2);
    struct queue_item items[50];
    add_domains(q, 0, 50);
    alloc_allow(ALLOC_ALL_SUCCEED);
    for (int64_t round = 1; round < 20; round++) {
        for (uint32_t i = 0; i < 50; i++) {
            must(queue_next(q, round * 1000, &items[i]));
        }
        for (uint32_t i = 0; i < 50; i++) {
            queue_again(q, &items[i], round * 1000 + i);
        }
    }
    must(alloc_count() == 0);
    queue_free(q);
}
END_TEST

/* Half of what is in flight was adopted into flows that have nothing waiting. */
START_TEST(what_is_in_flight_comes_back_without_memory)
{
    enum { N = 300 };
    struct queue *q = queue_new(2);
    struct queue_item items[N];
    for (uint32_t i = 0; i < N; i++) {
        must(i % 2 ? queue_add_in_flight(q, i % 3, domain_name(i % 200), i, 0, &items[i])
                   : queue_add(q, i % 3, domain_name(1000 + i), i, 0, 0));
    }
    for (uint32_t i = 0; i < N; i += 2) {
        must(queue_next(q, 0, &items[i]));
    }
    alloc_allow(0);
    for (uint32_t i = 0; i < N; i++) {
        switch (i % 4) {
        case 0:
            queue_put_back(q, &items[i]);
            break;
        case 1:
        case 2:
            queue_again(q, &items[i], i);
            break;
        default:
            queue_finish(q, &items[i]);
            break;
        }
        queue_check(q);
    }
    queue_resume(q);
    must(queue_waiting(q) == N - N / 4);
    finish_all(q);
    alloc_allow(ALLOC_ALL_SUCCEED);
    must(queue_check_flows(q) == 0);
    queue_check(q);
    queue_free(q);
}
END_TEST

START_TEST(a_queue_that_cannot_be_allocated_is_null)
{
    for (size_t n = 0; n < 3; n++) {
        alloc_allow(n);
        must(queue_new(1) == NULL);
    }
    alloc_allow(ALLOC_ALL_SUCCEED);
}
END_TEST

/* Adds until every allocation that an add can make was the one that failed. */
static void add_with_failures(struct queue *q, uint32_t sender, const char *domain, bool in_flight,
                              uint32_t *failures)
{
    struct queue_item item;
    for (size_t n = 0;; n++) {
        size_t waiting = queue_waiting(q), flows = queue_check_flows(q),
               domains = queue_check_domains(q);
        alloc_allow(n);
        bool added = in_flight ? queue_add_in_flight(q, sender, domain, 1, 0, &item)
                               : queue_add(q, sender, domain, 1, 0, 5);
        bool tried_all = alloc_count() <= n;
        alloc_allow(ALLOC_ALL_SUCCEED);
        queue_check(q);
        if (added && tried_all) {
            return;
        }
        if (added) { /* only the table could not grow, which is no failure */
            continue;
        }
        *failures += 1;
        must(queue_waiting(q) == waiting);
        must(queue_check_flows(q) == flows);
        must(queue_check_domains(q) == domains);
    }
}

START_TEST(an_add_that_finds_no_memory_changes_nothing)
{
    struct queue *q = queue_new(1);
    uint32_t failures = 0;
    for (uint32_t i = 0; i < 300; i++) {
        add_with_failures(q, i % 40, domain_name(i % 100), i % 3 == 0, &failures);
    }
    /* At least a flow, its items and a domain now and then. */
    must(failures > 400);
    queue_free(q);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("queue memory");
    tcase_add_test(tc, memory_of_domains_that_are_done_with_is_given_back);
    tcase_add_test(tc, memory_does_not_grow_with_the_domains_ever_seen);
    tcase_add_test(tc, memory_of_a_long_backlog_is_given_back_while_its_flow_lives);
    tcase_add_test(tc, a_waiting_item_costs_24_bytes_and_what_the_arrays_grow_ahead);
    tcase_add_test(tc, starting_and_trying_again_allocate_nothing);
    tcase_add_test(tc, what_is_in_flight_comes_back_without_memory);
    tcase_add_test(tc, a_queue_that_cannot_be_allocated_is_null);
    tcase_add_test(tc, an_add_that_finds_no_memory_changes_nothing);
    return tap_run("queue memory", tc);
}
