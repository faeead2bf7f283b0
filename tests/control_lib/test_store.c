/* test_store.c - the store as its callers see it: store.h. */
#include "tests/control_lib/spool.h"
#include "tests/control_lib/tap.h"

#include "tcp/base.h"

#define QUEUED    STORE_RCPT_QUEUED
#define DELIVERED STORE_RCPT_DELIVERED
#define BOUNCED   STORE_RCPT_BOUNCED

static struct spool spool;

static void setup(void)
{
    spool_make(&spool);
    spool_open(&spool);
}

static void teardown(void)
{
    spool_remove(&spool);
}

static void reopen(void)
{
    spool_close(&spool);
    spool_open(&spool);
}

/* ---- messages ---------------------------------------------------------------------------- */

START_TEST(what_was_accepted_is_there_after_a_restart)
{
    static const struct {
        uint32_t n;
        size_t body_bytes;
    } rows[] = {{1, 1}, {1, 100}, {3, 5000}, {100, 70000}, {256, 3000000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_int_eq(spool_accept(&spool, 100 + i, rows[i].n, rows[i].body_bytes), STORE_OK);
        spool_check_message(&spool, 100 + i, rows[i].n, rows[i].body_bytes);
    }
    reopen();
    ck_assert_uint_eq(spool_count(&spool), sizeof rows / sizeof rows[0]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        spool_check_message(&spool, 100 + i, rows[i].n, rows[i].body_bytes);
    }
}
END_TEST

struct seen {
    struct store_message message;
    uint8_t state[8];
    uint32_t attempts[8];
    int64_t next_try_ms[8];
    char last[8][64];
};

static bool on_seen(void *user, const struct store_message *message,
                    const struct store_rcpt *recipients)
{
    struct seen *seen = user;
    seen->message = *message;
    for (uint32_t i = 0; i < message->n_recipients; i++) {
        seen->state[i] = recipients[i].state;
        seen->attempts[i] = recipients[i].attempts;
        seen->next_try_ms[i] = recipients[i].next_try_ms;
        (void)snprintf(seen->last[i], sizeof seen->last[i], "%s", recipients[i].last);
    }
    return true;
}

START_TEST(an_update_changes_its_recipient_and_no_other)
{
    struct seen seen;
    ck_assert_int_eq(spool_accept(&spool, 7, 3, 100), STORE_OK);
    ck_assert_int_eq(spool_finish(&spool, 7, 1, BOUNCED, false), STORE_OK);
    reopen();
    ck_assert(store_show(spool.store, 7, on_seen, &seen));
    ck_assert_uint_eq(seen.state[0], QUEUED);
    ck_assert_uint_eq(seen.state[1], BOUNCED);
    ck_assert_uint_eq(seen.state[2], QUEUED);
    ck_assert_uint_eq(seen.attempts[0], 0);
    ck_assert_uint_eq(seen.attempts[1], 1);
    ck_assert_int_eq(seen.next_try_ms[1], 42);
    ck_assert_int_eq(seen.next_try_ms[2], 2);
    ck_assert_str_eq(seen.last[1], "{\"kind\":\"deferred\"}");
    ck_assert_str_eq(seen.last[2], "");
    spool_check_message(&spool, 7, 3, 100);
}
END_TEST

START_TEST(a_finished_message_leaves_nothing_but_its_events)
{
    struct store_stats before, after;
    struct store_body body = {0};
    struct seen seen;
    store_stats(spool.store, &before);
    ck_assert_int_eq(spool_accept(&spool, 7, 2, 100000), STORE_OK);
    ck_assert_int_eq(spool_finish(&spool, 7, 0, DELIVERED, false), STORE_OK);
    ck_assert_int_eq(spool_finish(&spool, 7, 1, BOUNCED, true), STORE_OK);
    ck_assert(!store_show(spool.store, 7, on_seen, &seen));
    ck_assert(!store_body_read(spool.store, 7, &body));
    ck_assert_uint_eq(spool_count(&spool), 0);
    store_stats(spool.store, &after);
    ck_assert_uint_eq(after.messages, 0);
    ck_assert_uint_le(after.used_bytes, before.used_bytes + 8 * 4096);
    ck_assert_uint_eq(store_last_event(spool.store), 4);
    ck_assert_uint_eq(spool_entries(&spool, "message"), 0);
    ck_assert_uint_eq(spool_entries(&spool, "rcpt"), 0);
    ck_assert_uint_eq(spool_entries(&spool, "body"), 0);
    ck_assert_uint_eq(spool_entries(&spool, "event"), 4);
}
END_TEST

START_TEST(callbacks_come_in_the_order_in_which_operations_were_given)
{
    static struct outcome_list list;
    list.n = 0;
    for (uint64_t id = 1; id <= 500; id++) {
        ck_assert(spool_give(&spool, id, 1, 50, &list));
        if (id % 5 == 0) {
            spool_update(&spool, id, 0, DELIVERED, true, &list);
        }
    }
    spool_wait(&spool, &list, 600);
    for (uint32_t i = 0; i < list.n; i++) {
        ck_assert_int_eq(list.status[i], STORE_OK);
        ck_assert_uint_eq(list.order[i], list.order[0] + i);
    }
    ck_assert_uint_eq(spool_count(&spool), 400);
}
END_TEST

START_TEST(strings_may_change_once_they_are_given)
{
    struct outcome_list list = {0};
    struct seen seen;
    char address[] = "first@example.net", event[] = "{\"type\":\"x\"}";
    const struct store_rcpt rcpt = {.address = address, .domain = address + 6, .last = ""};
    struct store_accept accept = *spool_message(5, 1, 10);
    enum store_status status;
    accept.recipients = &rcpt;
    accept.event_json = event;
    ck_assert(store_accept(spool.store, &accept, &status));
    memset(address, 'X', sizeof address - 1);
    memset(event, 'X', sizeof event - 1);
    ck_assert(spool_give(&spool, 6, 1, 10, &list));
    spool_wait(&spool, &list, 1);
    ck_assert(store_show(spool.store, 5, on_seen, &seen));
    struct store_rcpt_update none = {.state = QUEUED, .last = "", .event_json = NULL};
    struct store_update update = {.message_id = 5, .recipients = &none, .n_recipients = 1};
    store_update(spool.store, &update);
    reopen();
    ck_assert_uint_eq(spool_count(&spool), 2);
}
END_TEST

static bool on_first(void *user, const struct store_message *message,
                     const struct store_rcpt *recipients)
{
    struct seen *seen = user;
    (void)recipients;
    seen->message = *message;
    return false;
}

START_TEST(messages_are_listed_in_order_of_id_from_where_one_asks)
{
    struct seen seen;
    for (uint64_t id = 300; id >= 100; id -= 100) {
        ck_assert_int_eq(spool_accept(&spool, id, 1, 10), STORE_OK);
    }
    static const uint64_t rows[][2] = {{0, 100}, {100, 100}, {101, 200}, {300, 300}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        store_each_message(spool.store, rows[i][0], on_first, &seen);
        ck_assert_uint_eq(seen.message.id, rows[i][1]);
    }
    seen.message.id = 0;
    store_each_message(spool.store, 301, on_first, &seen);
    ck_assert_uint_eq(seen.message.id, 0);
}
END_TEST

static bool on_nested(void *user, const struct store_message *message,
                      const struct store_rcpt *recipients)
{
    struct seen *seen = user;
    struct store_body body = {0};
    char address[64];
    (void)snprintf(address, sizeof address, "%s", recipients[0].address);
    ck_assert(store_show(spool.store, message->id == 1 ? 2 : 1, on_first, seen));
    ck_assert(store_body_read(spool.store, message->id, &body));
    ck_assert_str_eq(recipients[0].address, address);
    ck_assert_uint_eq(body.len, message->body_bytes);
    return true;
}

START_TEST(reads_may_nest)
{
    struct seen seen;
    ck_assert_int_eq(spool_accept(&spool, 1, 200, 10), STORE_OK);
    ck_assert_int_eq(spool_accept(&spool, 2, 3, 20), STORE_OK);
    store_each_message(spool.store, 0, on_nested, &seen);
    ck_assert_int_eq(spool_accept(&spool, 3, 1, 10), STORE_OK);
}
END_TEST

START_TEST(an_update_of_a_message_that_is_gone_is_an_event_only)
{
    ck_assert_int_eq(spool_finish(&spool, 99, 0, BOUNCED, true), STORE_OK);
    ck_assert_uint_eq(spool_count(&spool), 0);
    ck_assert_uint_eq(store_last_event(spool.store), 2);
}
END_TEST

START_TEST(a_bounce_is_queued_in_the_same_step_as_the_outcome_that_causes_it)
{
    struct seen seen;
    struct outcome_list list = {0};
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 100), STORE_OK);
    struct store_accept dsn = *spool_message(2, 1, 500);
    dsn.message.dsn_for = "0000000000000001";
    const struct store_rcpt_update rcpt = {
        .state = BOUNCED, .last = "", .event_json = "{\"type\":\"bounced\"}"};
    const struct store_update update = {.message_id = 1,
                                        .recipients = &rcpt,
                                        .n_recipients = 1,
                                        .finished = true,
                                        .finished_event_json = "{\"type\":\"finished\"}",
                                        .dsn = &dsn};
    store_update(spool.store, &update);
    ck_assert(spool_give(&spool, 3, 1, 10, &list));
    spool_wait(&spool, &list, 1);
    ck_assert(!store_show(spool.store, 1, on_first, &seen));
    ck_assert(store_show(spool.store, 2, on_first, &seen));
    spool_check_message(&spool, 2, 1, 500);
    ck_assert_uint_eq(store_last_event(spool.store), 5);
}
END_TEST

START_TEST(a_body_is_copied_only_where_there_is_room_for_all_of_it)
{
    uint8_t data[10], untouched[10];
    uint32_t stuff[1] = {7};
    ck_assert_int_eq(spool_accept(&spool, 1, 1, 2500), STORE_OK); /* two offsets */
    memset(data, 0x5a, sizeof data);
    memcpy(untouched, data, sizeof data);
    struct store_body body = {.data = data, .len = 10, .stuff = stuff, .n_stuff = 1};
    ck_assert(store_body_read(spool.store, 1, &body));
    ck_assert_uint_eq(body.len, 2500);
    ck_assert_uint_eq(body.n_stuff, 2);
    ck_assert_int_eq(memcmp(data, untouched, sizeof data), 0);
    ck_assert_uint_eq(stuff[0], 7);
}
END_TEST

/* ---- ids --------------------------------------------------------------------------------- */

START_TEST(ids_grow_also_over_a_restart_and_when_the_clock_is_behind)
{
    const uint64_t far = UINT64_C(1) << 62; /* given out by a clock that was ahead */
    uint64_t last = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t id = store_next_id(spool.store);
        ck_assert_uint_gt(id, last);
        last = id;
    }
    ck_assert_int_eq(spool_accept(&spool, far, 1, 10), STORE_OK);
    ck_assert_int_eq(spool_finish(&spool, far, 0, DELIVERED, true), STORE_OK);
    ck_assert_int_eq(spool_accept(&spool, last, 1, 10), STORE_OK); /* late, and lower */
    ck_assert_int_eq(spool_finish(&spool, last, 0, DELIVERED, true), STORE_OK);
    reopen();
    ck_assert_uint_eq(spool_count(&spool), 0);
    ck_assert_uint_eq(store_next_id(spool.store), far + 1);
    ck_assert_uint_eq(store_next_id(spool.store), far + 2);
}
END_TEST

/* ---- events ------------------------------------------------------------------------------ */

struct told {
    uint32_t n;
    uint64_t seq[512], id[512];
    char json[512][64];
};

static bool on_told(void *user, uint64_t seq, uint64_t message_id, const char *json, size_t len)
{
    struct told *told = user;
    ck_assert_uint_lt(told->n, 512);
    told->seq[told->n] = seq;
    told->id[told->n] = message_id;
    (void)snprintf(told->json[told->n++], sizeof told->json[0], "%.*s", (int)len, json);
    return told->n < 500;
}

START_TEST(events_are_told_once_durable_and_read_back_the_same)
{
    static struct told live, all, one;
    live.n = all.n = one.n = 0;
    store_on_event(spool.store, on_told, &live);
    ck_assert_int_eq(spool_accept(&spool, 11, 2, 10), STORE_OK);
    store_event(spool.store, 0, "{\"type\":\"drain\"}");
    ck_assert_int_eq(spool_finish(&spool, 11, 0, DELIVERED, false), STORE_OK);
    ck_assert_int_eq(spool_finish(&spool, 11, 1, DELIVERED, true), STORE_OK);
    ck_assert_uint_eq(live.n, 5);
    ck_assert_str_eq(live.json[0], "{\"type\":\"accepted\",\"id\":\"11\"}");
    ck_assert_str_eq(live.json[1], "{\"type\":\"drain\"}");
    ck_assert_str_eq(live.json[4], "{\"type\":\"finished\"}");
    reopen();
    ck_assert_uint_eq(store_each_event(spool.store, 0, 0, on_told, &all), 5);
    ck_assert_uint_eq(all.n, live.n);
    for (uint32_t i = 0; i < live.n; i++) {
        ck_assert_uint_eq(live.seq[i], i + 1);
        ck_assert_uint_eq(live.id[i], i == 1 ? 0 : 11);
        ck_assert_uint_eq(all.seq[i], live.seq[i]);
        ck_assert_uint_eq(all.id[i], live.id[i]);
        ck_assert_str_eq(all.json[i], live.json[i]);
    }
    ck_assert_uint_eq(store_each_event(spool.store, 3, 11, on_told, &one), 5);
    ck_assert_uint_eq(one.n, 2);
    ck_assert_uint_eq(one.seq[0], 4);
    ck_assert_uint_eq(store_each_event(spool.store, 5, 0, on_told, &one), 5);
    ck_assert_uint_eq(one.n, 2);
}
END_TEST

START_TEST(events_beyond_event_keep_go_in_steps_and_their_numbers_never_come_back)
{
    static struct told all, one;
    all.n = one.n = 0;
    for (uint64_t id = 1; id <= 400; id++) {
        ck_assert_int_eq(spool_accept(&spool, id, 1, 10), STORE_OK);
    }
    spool.config.event_keep = 10;
    reopen();
    ck_assert_int_eq(spool_accept(&spool, 401, 1, 10), STORE_OK);
    (void)store_each_event(spool.store, 0, 0, on_told, &all);
    ck_assert_uint_gt(all.n, 300); /* not all at once */
    for (uint64_t id = 402; id <= 420; id++) {
        ck_assert_int_eq(spool_accept(&spool, id, 1, 10), STORE_OK);
    }
    all.n = 0;
    ck_assert_uint_eq(store_each_event(spool.store, 0, 0, on_told, &all), 420);
    ck_assert_uint_eq(all.n, 10);
    ck_assert_uint_eq(all.seq[0], 411);
    (void)store_each_event(spool.store, 0, 1, on_told, &one);
    ck_assert_uint_eq(one.n, 0);
    ck_assert_uint_eq(spool_entries(&spool, "event_by_message"), 10);
    spool.config.event_keep = 0;
    reopen();
    ck_assert_int_eq(spool_accept(&spool, 421, 1, 10), STORE_OK);
    reopen();
    ck_assert_uint_eq(store_last_event(spool.store), 421);
    ck_assert_int_eq(spool_accept(&spool, 422, 1, 10), STORE_OK);
    ck_assert_uint_eq(store_last_event(spool.store), 422);
}
END_TEST

/* ---- notes ------------------------------------------------------------------------------- */

static void expect_note(const char *name, const char *want)
{
    char *text = store_note_read(spool.store, name);
    ck_assert_pstr_eq(text, want);
    free(text);
}

static bool on_note(void *user, const char *name, const char *text)
{
    char *seen = user;
    (void)snprintf(seen + strlen(seen), 200 - strlen(seen), "%s=%s ", name, text);
    return strcmp(name, "a/3") != 0;
}

START_TEST(notes_are_there_after_a_restart_and_go_when_told)
{
    char seen[200] = "";
    expect_note("a/1", NULL);
    store_note(spool.store, "a/1", "one");
    store_note(spool.store, "a/2", "two");
    store_note(spool.store, "a/3", "");
    store_note(spool.store, "a/4", "not reached");
    store_note(spool.store, "b", "other");
    store_note(spool.store, "a/1", "uno");
    store_note(spool.store, "a/2", NULL);
    store_note(spool.store, "never", NULL);
    reopen();
    expect_note("a/1", "uno");
    expect_note("a/2", NULL);
    expect_note("a/3", "");
    store_each_note(spool.store, "a/", on_note, seen);
    ck_assert_str_eq(seen, "a/1=uno a/3= ");
    ck_assert_uint_eq(spool_entries(&spool, "note"), 4);
}
END_TEST

/* ---- closing ----------------------------------------------------------------------------- */

static void give_more(void *user, enum store_status status)
{
    struct outcome_list *list = user;
    list->status[list->n++] = status;
    if (list->n < 3) {
        const struct store_update update = {.message_id = 1, .done = give_more, .user = list};
        store_event(spool.store, 0, "{}");
        store_update(spool.store, &update);
    }
}

START_TEST(closing_commits_what_was_given_and_refuses_what_its_callbacks_give)
{
    struct outcome_list list = {0};
    struct store_accept accept = *spool_message(1, 1, 10);
    enum store_status status;
    accept.done = give_more;
    accept.user = &list;
    ck_assert(store_accept(spool.store, &accept, &status));
    reopen();
    ck_assert_uint_eq(list.n, 3);
    ck_assert_int_eq(list.status[0], STORE_OK);
    ck_assert_int_eq(list.status[1], STORE_E_CLOSED);
    ck_assert_int_eq(list.status[2], STORE_E_CLOSED);
    spool_check_message(&spool, 1, 1, 10);
}
END_TEST

static void give_accept(void *user, enum store_status status)
{
    struct store_accept accept = *spool_message(2, 1, 10);
    (void)status;
    ck_assert(!store_accept(spool.store, &accept, user));
}

START_TEST(nothing_is_accepted_while_the_store_closes)
{
    struct store_accept accept = *spool_message(1, 1, 10);
    enum store_status status;
    accept.done = give_accept;
    accept.user = &status;
    ck_assert(store_accept(spool.store, &accept, &status));
    reopen();
    ck_assert_int_eq(status, STORE_E_CLOSED);
    ck_assert_uint_eq(spool_count(&spool), 1);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("store");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_was_accepted_is_there_after_a_restart);
    tcase_add_test(tc, an_update_changes_its_recipient_and_no_other);
    tcase_add_test(tc, a_finished_message_leaves_nothing_but_its_events);
    tcase_add_test(tc, callbacks_come_in_the_order_in_which_operations_were_given);
    tcase_add_test(tc, strings_may_change_once_they_are_given);
    tcase_add_test(tc, messages_are_listed_in_order_of_id_from_where_one_asks);
    tcase_add_test(tc, reads_may_nest);
    tcase_add_test(tc, an_update_of_a_message_that_is_gone_is_an_event_only);
    tcase_add_test(tc, a_bounce_is_queued_in_the_same_step_as_the_outcome_that_causes_it);
    tcase_add_test(tc, a_body_is_copied_only_where_there_is_room_for_all_of_it);
    tcase_add_test(tc, ids_grow_also_over_a_restart_and_when_the_clock_is_behind);
    tcase_add_test(tc, events_are_told_once_durable_and_read_back_the_same);
    tcase_add_test(tc, events_beyond_event_keep_go_in_steps_and_their_numbers_never_come_back);
    tcase_add_test(tc, notes_are_there_after_a_restart_and_go_when_told);
    tcase_add_test(tc, closing_commits_what_was_given_and_refuses_what_its_callbacks_give);
    tcase_add_test(tc, nothing_is_accepted_while_the_store_closes);
    return tap_run("store", tc);
}
