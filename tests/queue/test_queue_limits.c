/* test_queue_limits.c - what control/queue.h promises of full domains and of paused senders. */
#include "tests/queue/steps.h"

#include <stdio.h>
#include <string.h>

/* ---- limits ------------------------------------------------------------------------------ */

START_TEST(a_domain_runs_no_more_than_its_limit_whoever_the_senders_are)
{
    struct queue *q = new_queue(2);
    for (uint32_t sender = 0; sender < 3; sender++) {
        add(q, sender, "a.example", 10 + sender, sender);
    }
    struct queue_item first = next(q);
    expect(q, 11);
    expect_none(q);
    finish(q, &first);
    expect(q, 12);
    expect_none(q);
    queue_free(q);
}
END_TEST

START_TEST(a_full_domain_does_not_stop_the_other_flows_of_its_sender)
{
    struct queue *q = new_queue(1);
    for (uint64_t i = 0; i < 50; i++) {
        add(q, 0, "full.example", 100 + i, 0);
    }
    expect(q, 100);
    add(q, 0, "a.example", 1, DUE);
    expect(q, 1);
    expect_none(q);
    queue_free(q);
}
END_TEST

START_TEST(a_place_that_becomes_free_lets_one_item_start)
{
    struct queue *q = new_queue(1);
    add(q, 0, "a.example", 1, 0);
    add(q, 0, "a.example", 2, 0);
    struct queue_item item = next(q);
    expect_none(q);
    again(q, &item, DUE); /* due again at once, after the older one */
    expect(q, 2);
    expect_none(q);
    queue_free(q);
}
END_TEST

START_TEST(adopted_items_count_and_may_take_a_domain_over_its_limit)
{
    struct queue *q = new_queue(2);
    struct queue_item adopted[3];
    for (uint32_t i = 0; i < 3; i++) {
        adopted[i] = adopt(q, i, "a.example", 50 + i);
        ck_assert_uint_eq(adopted[i].message_id, 50 + i);
        ck_assert_uint_eq(queue_sender(q, &adopted[i]), i);
        ck_assert_str_eq(queue_domain(q, &adopted[i]), "a.example");
    }
    ck_assert_uint_eq(queue_in_flight(q), 3);
    add(q, 0, "a.example", 1, 0);
    expect_none(q);
    finish(q, &adopted[0]);
    expect_none(q);
    again(q, &adopted[1], 5000);
    expect(q, 1);
    expect_none(q);
    finish(q, &adopted[2]);
    ck_assert_uint_eq(queue_waiting(q), 1);
    queue_free(q);
}
END_TEST

START_TEST(an_adopted_item_takes_the_place_that_was_promised)
{
    struct queue *q = new_queue(1);
    add(q, 0, "a.example", 1, 0);
    add(q, 1, "a.example", 2, 0);
    struct queue_item item = next(q);
    expect_none(q);
    finish(q, &item); /* promised to sender 1 */
    item = adopt(q, 2, "a.example", 3);
    expect_none(q);
    finish(q, &item);
    expect(q, 2);
    queue_free(q);
}
END_TEST

/* Sender 1 has 40 domains; sender 0 only the one that both want, and always mail for it. Each time
 * that sender 1's turn comes to that domain all places are taken. */
START_TEST(a_sender_with_one_domain_does_not_keep_it_from_one_with_many)
{
    enum { OTHERS = 40, ROUNDS = 20 };
    struct queue *q = new_queue(2);
    struct queue_item running[2];
    uint32_t shared[2] = {0};
    for (uint64_t i = 0; i < 500; i++) {
        add(q, 0, "shared.example", 1000 + i, 0);
    }
    running[0] = next(q);
    running[1] = next(q);
    add(q, 1, "shared.example", 1, 0);
    for (uint64_t i = 0; i < OTHERS; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "d%u.example", (unsigned)i);
        add(q, 1, name, 100 + i, 0);
    }
    for (uint32_t i = 0; i < ROUNDS * (OTHERS + 1); i++) {
        struct queue_item item = next(q);
        uint32_t sender = queue_sender(q, &item);
        if (strcmp(queue_domain(q, &item), "shared.example") == 0) {
            shared[sender]++;
            again(q, &running[0], DUE);
            running[0] = running[1];
            running[1] = item;
        } else {
            again(q, &item, DUE);
            if (i % 3 == 0) { /* a place becomes free now and then */
                again(q, &running[0], DUE);
                running[0] = next(q);
                shared[queue_sender(q, &running[0])]++;
            }
        }
    }
    ck_assert_uint_gt(shared[0], ROUNDS);
    ck_assert_uint_ge(shared[1], ROUNDS / 2);
    queue_free(q);
}
END_TEST

START_TEST(places_of_a_domain_go_to_its_flows_in_turn)
{
    struct queue *q = new_queue(1);
    for (uint64_t i = 0; i < 12; i++) {
        add(q, (uint32_t)i % 3, "a.example", i, (int64_t)i);
    }
    uint32_t previous = 2;
    for (uint32_t i = 0; i < 12; i++) {
        struct queue_item item = next(q);
        expect_none(q);
        ck_assert_uint_eq(queue_sender(q, &item), (previous + 1) % 3);
        previous = queue_sender(q, &item);
        finish(q, &item);
    }
    ck_assert_uint_eq(queue_check_domains(q), 0);
    queue_free(q);
}
END_TEST

/* ---- paused senders ---------------------------------------------------------------------- */

START_TEST(a_paused_sender_is_passed_over_until_it_is_resumed)
{
    struct queue *q = new_queue(10);
    add(q, 0, "a.example", 1, 100);
    add(q, 0, "b.example", 2, 200);
    add(q, 1, "a.example", 3, 300);
    struct queue_item item = next(q);
    ck_assert_uint_eq(item.message_id, 1);
    put_back(q, &item);
    ck_assert_uint_eq(queue_waiting(q), 3);
    expect(q, 3);
    expect_none(q);
    add(q, 0, "c.example", 4, 0); /* becomes due while it is paused */
    expect_none(q);
    resume(q);
    uint64_t sum = next(q).message_id + next(q).message_id + next(q).message_id;
    ck_assert_uint_eq(sum, 1 + 2 + 4);
    queue_free(q);
}
END_TEST

START_TEST(an_item_that_was_put_back_is_due_as_before)
{
    struct queue *q = new_queue(10);
    add(q, 0, "a.example", 1, 100);
    add(q, 0, "a.example", 2, 200);
    struct queue_item item = next(q);
    put_back(q, &item);
    resume(q);
    item = next(q);
    ck_assert_uint_eq(item.message_id, 1);
    ck_assert_int_eq(item.due_ms, 100);
    queue_free(q);
}
END_TEST

/* A job that cannot be placed must not stop the sender's others from being tried. */
START_TEST(after_an_item_was_put_back_another_flow_is_tried_first)
{
    struct queue *q = new_queue(10);
    add(q, 0, "a.example", 1, 100);
    add(q, 0, "b.example", 2, 200);
    struct queue_item item = next(q);
    put_back(q, &item);
    resume(q);
    expect(q, 2);
    expect(q, 1);
    queue_free(q);
}
END_TEST

START_TEST(senders_resume_in_the_order_in_which_they_were_paused)
{
    struct queue *q = new_queue(10);
    struct queue_item items[3];
    for (uint32_t i = 0; i < 3; i++) {
        add(q, i, "a.example", i, i);
    }
    for (uint32_t i = 0; i < 3; i++) {
        items[i] = next(q);
    }
    put_back(q, &items[2]);
    put_back(q, &items[0]);
    put_back(q, &items[1]);
    expect_none(q);
    resume(q);
    expect(q, 2);
    expect(q, 0);
    expect(q, 1);
    queue_free(q);
}
END_TEST

/* Sender 0 runs, 1 and 2 are blocked in this order; `pause` says what happens to sender 1. */
static struct queue_item contended(struct queue *q, bool pause)
{
    add(q, 0, "a.example", 10, 0);
    struct queue_item running = next(q);
    add(q, 1, "a.example", 11, 0);
    expect_none(q);
    add(q, 2, "a.example", 12, 0);
    expect_none(q);
    if (pause) {
        add(q, 1, "b.example", 21, 0);
        struct queue_item item = next(q);
        put_back(q, &item);
    }
    return running;
}

/* Sender 3 is ready as well, and its turn comes first; so it is blocked behind the others. */
START_TEST(a_place_goes_to_the_flow_that_was_blocked_first)
{
    struct queue *q = new_queue(1);
    struct queue_item running = contended(q, false);
    add(q, 0, "b.example", 20, 1);
    add(q, 3, "a.example", 13, 2);
    expect(q, 20);
    for (uint64_t id = 11; id <= 13; id++) {
        finish(q, &running);
        running = next(q);
        ck_assert_uint_eq(running.message_id, id);
    }
    queue_free(q);
}
END_TEST

START_TEST(no_place_is_kept_for_a_paused_sender)
{
    struct queue *q = new_queue(1);
    struct queue_item running = contended(q, true);
    finish(q, &running);
    running = next(q);
    ck_assert_uint_eq(running.message_id, 12);
    expect_none(q);
    finish(q, &running);
    expect_none(q);
    resume(q);
    expect(q, 11);
    queue_free(q);
}
END_TEST

START_TEST(a_flow_that_was_blocked_keeps_its_turn_while_its_sender_is_paused)
{
    struct queue *q = new_queue(1);
    struct queue_item running = contended(q, false);
    add(q, 1, "b.example", 21, 1);
    add(q, 1, "c.example", 31, 2);
    struct queue_item item = next(q); /* of b.example; c.example is ready */
    put_back(q, &item);
    finish(q, &running);
    running = next(q);
    ck_assert_uint_eq(running.message_id, 12);
    finish(q, &running);
    resume(q);
    expect(q, 11);
    expect(q, 31);
    expect(q, 21);
    queue_free(q);
}
END_TEST

START_TEST(the_promise_of_a_sender_that_is_paused_goes_to_the_next)
{
    struct queue *q = new_queue(1);
    struct queue_item other = adopt(q, 1, "b.example", 30);
    struct queue_item running = contended(q, false);
    finish(q, &running); /* promised to sender 1 */
    put_back(q, &other);
    expect(q, 12);
    queue_free(q);
}
END_TEST

START_TEST(putting_back_offers_the_place_to_others)
{
    struct queue *q = new_queue(1);
    struct queue_item running = contended(q, false);
    put_back(q, &running);
    expect(q, 11);
    expect_none(q);
    queue_free(q);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("queue limits");
    tcase_add_test(tc, a_domain_runs_no_more_than_its_limit_whoever_the_senders_are);
    tcase_add_test(tc, a_full_domain_does_not_stop_the_other_flows_of_its_sender);
    tcase_add_test(tc, a_place_that_becomes_free_lets_one_item_start);
    tcase_add_test(tc, adopted_items_count_and_may_take_a_domain_over_its_limit);
    tcase_add_test(tc, an_adopted_item_takes_the_place_that_was_promised);
    tcase_add_test(tc, a_sender_with_one_domain_does_not_keep_it_from_one_with_many);
    tcase_add_test(tc, places_of_a_domain_go_to_its_flows_in_turn);
    tcase_add_test(tc, a_paused_sender_is_passed_over_until_it_is_resumed);
    tcase_add_test(tc, an_item_that_was_put_back_is_due_as_before);
    tcase_add_test(tc, after_an_item_was_put_back_another_flow_is_tried_first);
    tcase_add_test(tc, senders_resume_in_the_order_in_which_they_were_paused);
    tcase_add_test(tc, a_place_goes_to_the_flow_that_was_blocked_first);
    tcase_add_test(tc, no_place_is_kept_for_a_paused_sender);
    tcase_add_test(tc, a_flow_that_was_blocked_keeps_its_turn_while_its_sender_is_paused);
    tcase_add_test(tc, the_promise_of_a_sender_that_is_paused_goes_to_the_next);
    tcase_add_test(tc, putting_back_offers_the_place_to_others);
    return tap_run("queue limits", tc);
}
