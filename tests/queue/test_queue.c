/* test_queue.c - what control/queue.h promises of time and of turns. */
#include "tests/queue/steps.h"

/* ---- time -------------------------------------------------------------------------------- */

START_TEST(a_new_queue_has_nothing_and_no_deadline)
{
    struct queue *q = new_queue(1);
    expect_none(q);
    ck_assert_int_eq(queue_deadline_ms(q), INT64_MAX);
    ck_assert_uint_eq(queue_waiting(q) + queue_in_flight(q), 0);
    queue_free(q);
    queue_free(NULL);
}
END_TEST

START_TEST(an_item_is_given_when_it_is_due_and_not_before)
{
    struct queue *q = new_queue(1);
    struct queue_item item;
    ck_assert(queue_add(q, 3, "a.example", 7, 2, 500));
    ck_assert_int_eq(queue_deadline_ms(q), 500);
    ck_assert(!queue_next(q, 499, &item));
    ck_assert_int_eq(queue_deadline_ms(q), 500);
    ck_assert(queue_next(q, 500, &item));
    ck_assert_uint_eq(item.message_id, 7);
    ck_assert_uint_eq(item.group, 2);
    ck_assert_int_eq(item.due_ms, 500);
    ck_assert_uint_eq(queue_sender(q, &item), 3);
    ck_assert_str_eq(queue_domain(q, &item), "a.example");
    ck_assert_uint_eq(queue_waiting(q), 0);
    ck_assert_uint_eq(queue_in_flight(q), 1);
    ck_assert_int_eq(queue_deadline_ms(q), INT64_MAX);
    finish(q, &item);
    ck_assert_uint_eq(queue_in_flight(q), 0);
    queue_free(q);
}
END_TEST

START_TEST(items_of_a_flow_come_by_time_then_by_age_then_by_group)
{
    struct queue *q = new_queue(10);
    static const struct {
        uint64_t id;
        uint32_t group;
        int64_t due_ms;
    } order[] = {{9, 0, 100}, {3, 0, 200}, {4, 0, 200}, {4, 1, 200}, {4, 2, 200}, {1, 0, 300}};
    static const uint32_t added[] = {4, 0, 5, 2, 1, 3};
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t k = added[i];
        ck_assert(queue_add(q, 0, "a.example", order[k].id, order[k].group, order[k].due_ms));
    }
    for (uint32_t i = 0; i < 6; i++) {
        struct queue_item item = next(q);
        ck_assert_uint_eq(item.message_id, order[i].id);
        ck_assert_uint_eq(item.group, order[i].group);
    }
    queue_free(q);
}
END_TEST

START_TEST(the_deadline_is_that_of_the_first_item_of_all_flows)
{
    struct queue *q = new_queue(1);
    add(q, 0, "a.example", 1, 9000);
    add(q, 0, "b.example", 2, 8000);
    ck_assert_int_eq(queue_deadline_ms(q), 8000);
    add(q, 1, "a.example", 3, 7000);
    ck_assert_int_eq(queue_deadline_ms(q), 7000);
    add(q, 0, "a.example", 4, 6000); /* before the first of its flow */
    ck_assert_int_eq(queue_deadline_ms(q), 6000);
    add(q, 0, "a.example", 5, 6500);
    ck_assert_int_eq(queue_deadline_ms(q), 6000);
    struct queue_item item;
    ck_assert(queue_next(q, 6000, &item));
    ck_assert_int_eq(queue_deadline_ms(q), 6500);
    queue_free(q);
}
END_TEST

START_TEST(the_deadline_is_past_while_something_may_start)
{
    struct queue *q = new_queue(1);
    add(q, 0, "a.example", 1, 400);
    add(q, 0, "b.example", 2, 300);
    add(q, 0, "c.example", 3, 5000);
    (void)next(q);
    ck_assert_int_le(queue_deadline_ms(q), DUE);
    (void)next(q);
    ck_assert_int_eq(queue_deadline_ms(q), 5000);
    queue_free(q);
}
END_TEST

/* A caller that sleeps until the deadline would spin if blocked or paused flows counted. */
START_TEST(what_is_blocked_or_paused_has_no_deadline)
{
    struct queue *q = new_queue(1);
    add(q, 0, "a.example", 1, DUE);
    add(q, 0, "a.example", 2, DUE);
    struct queue_item item = next(q);
    expect_none(q);
    ck_assert_int_eq(queue_deadline_ms(q), INT64_MAX);
    put_back(q, &item);
    expect_none(q);
    ck_assert_int_eq(queue_deadline_ms(q), INT64_MAX);
    resume(q);
    ck_assert_int_le(queue_deadline_ms(q), DUE);
    queue_free(q);
}
END_TEST

START_TEST(what_was_due_stays_due_when_the_clock_is_set_back)
{
    struct queue *q = new_queue(2);
    struct queue_item item;
    add(q, 0, "a.example", 1, DUE - 2);
    add(q, 0, "a.example", 2, DUE - 1); /* the next of a flow whose first was given */
    add(q, 0, "b.example", 3, DUE);
    add(q, 0, "c.example", 4, DUE + 1);
    expect(q, 1);
    ck_assert(queue_next(q, 10, &item));
    ck_assert_uint_eq(item.message_id, 3);
    ck_assert(queue_next(q, 10, &item));
    ck_assert_uint_eq(item.message_id, 2);
    ck_assert(!queue_next(q, 10, &item));
    ck_assert_int_eq(queue_deadline_ms(q), DUE + 1);
    queue_free(q);
}
END_TEST

START_TEST(an_item_that_was_tried_comes_again_at_its_new_time)
{
    struct queue *q = new_queue(1);
    add(q, 0, "a.example", 1, DUE);
    struct queue_item item = next(q);
    again(q, &item, 60000);
    ck_assert_uint_eq(queue_waiting(q), 1);
    ck_assert_uint_eq(queue_in_flight(q), 0);
    expect_none(q);
    ck_assert_int_eq(queue_deadline_ms(q), 60000);
    ck_assert(queue_next(q, 60000, &item));
    ck_assert_uint_eq(item.message_id, 1);
    ck_assert_int_eq(item.due_ms, 60000);
    queue_free(q);
}
END_TEST

/* ---- turns ------------------------------------------------------------------------------- */

START_TEST(senders_take_turns_whatever_their_backlog)
{
    struct queue *q = new_queue(1000);
    for (uint64_t i = 0; i < 300; i++) {
        add(q, 0, i % 2 ? "a.example" : "b.example", 1000 + i, (int64_t)i);
    }
    for (uint64_t i = 0; i < 3; i++) {
        add(q, 1, "a.example", 2000 + i, 900);
        add(q, 2, "c.example", 3000 + i, 950);
    }
    uint32_t turns[3] = {0};
    for (uint32_t i = 0; i < 9; i++) {
        struct queue_item item = next(q);
        turns[queue_sender(q, &item)]++;
    }
    ck_assert_uint_eq(turns[0], 3);
    ck_assert_uint_eq(turns[1], 3);
    ck_assert_uint_eq(turns[2], 3);
    queue_free(q);
}
END_TEST

START_TEST(flows_of_a_sender_take_turns)
{
    struct queue *q = new_queue(1000);
    for (uint64_t i = 0; i < 100; i++) {
        add(q, 0, "long.example", 100 + i, 0);
    }
    add(q, 0, "a.example", 1, 500);
    add(q, 0, "b.example", 2, 600);
    expect(q, 100);
    expect(q, 1);
    expect(q, 2);
    expect(q, 101);
    add(q, 0, "c.example", 3, DUE);
    expect(q, 102);
    expect(q, 3);
    queue_free(q);
}
END_TEST

START_TEST(the_same_domain_of_two_senders_is_two_flows)
{
    struct queue *q = new_queue(10);
    add(q, 0, "a.example", 1, 0);
    add(q, 1, "a.example", 2, 0);
    add(q, 1, "A.example", 3, 0);
    ck_assert_uint_eq(queue_check_flows(q), 3);
    ck_assert_uint_eq(queue_check_domains(q), 2);
    queue_free(q);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("queue");
    tcase_add_test(tc, a_new_queue_has_nothing_and_no_deadline);
    tcase_add_test(tc, an_item_is_given_when_it_is_due_and_not_before);
    tcase_add_test(tc, items_of_a_flow_come_by_time_then_by_age_then_by_group);
    tcase_add_test(tc, the_deadline_is_that_of_the_first_item_of_all_flows);
    tcase_add_test(tc, the_deadline_is_past_while_something_may_start);
    tcase_add_test(tc, what_is_blocked_or_paused_has_no_deadline);
    tcase_add_test(tc, what_was_due_stays_due_when_the_clock_is_set_back);
    tcase_add_test(tc, an_item_that_was_tried_comes_again_at_its_new_time);
    tcase_add_test(tc, senders_take_turns_whatever_their_backlog);
    tcase_add_test(tc, flows_of_a_sender_take_turns);
    tcase_add_test(tc, the_same_domain_of_two_senders_is_two_flows);
    return tap_run("queue", tc);
}
