/* test_grant.c - single transactions get what batches were promised, and what is not used comes
 * back. */
#include "strategies/grant.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T0 UINT64_C(1700000000000)

static void *memory;
static struct strategy_engine *engine;
static struct grants *grants;

static const struct strategy_key BULK = {"acme", "bulk", "example"};

static void must(enum strategy_error error)
{
    ck_assert_msg(error == STRATEGY_OK, "%s", strategy_error_text(error));
}

static void add_address(const char *ip, bool no_warmup)
{
    must(strategy_pool_address(
        engine, "acme", &(struct strategy_address_config){.ip = ip, .no_warmup = no_warmup}));
}

static void add_sender(enum strategy_kind kind, bool with_relays)
{
    static const char *const shared[] = {"first", "second"};
    for (unsigned i = 0; i < 2; i++) {
        must(strategy_route(engine,
                            &(struct strategy_route_config){.name = shared[i], .cost_ppm = -1}));
    }
    must(strategy_sender(engine, &(struct strategy_sender_config){
                                     .name = "acme",
                                     .kind = kind,
                                     .pool = kind == STRATEGY_SHARED ? NULL : "acme",
                                     .shared = shared,
                                     .n_shared = with_relays ? 2 : 0,
                                     .fallback = true,
                                 }));
}

static void setup(void)
{
    struct strategy_limits limits = strategy_limits_default();
    memory = calloc(1, strategy_engine_bytes(&limits));
    ck_assert_ptr_nonnull(memory);
    engine = strategy_engine_init(memory, &limits);
    grants = grants_new(engine, 64);
    ck_assert_ptr_nonnull(grants);
    must(strategy_tick(engine, T0));
}

static void teardown(void)
{
    grants_free(grants);
    free(memory);
}

static struct grant ask(uint64_t now_ms, const struct grant_request *request)
{
    struct grant grant;
    must(grants_ask(grants, now_ms, request, &grant));
    return grant;
}

static struct grant_request one(void)
{
    return (struct grant_request){.key = BULK, .n = 1, .prefer_slot = UINT32_MAX};
}

START_TEST(addresses_without_warm_up_share_single_mails_evenly_and_without_a_cap)
{
    unsigned n[2] = {0};
    add_address("192.0.2.1", true);
    add_address("192.0.2.2", true);
    add_sender(STRATEGY_DEDICATED, false);
    for (unsigned i = 0; i < 10000; i++) {
        struct grant_request request = one();
        struct grant g = ask(T0 + i / 10, &request);
        ck_assert_int_eq(g.result, GRANT_GO);
        ck_assert_uint_eq(g.n, 1);
        n[strcmp(g.path, "192.0.2.2") == 0]++;
    }
    ck_assert_uint_ge(n[0], 4900);
    ck_assert_uint_ge(n[1], 4900);
}
END_TEST

START_TEST(what_is_not_used_within_the_second_may_be_used_later)
{
    unsigned sent = 0;
    add_address("192.0.2.1", false);
    add_sender(STRATEGY_DEDICATED, false);
    /* A new address may send 100 a day. Each second a plan for many is asked for and one is sent.
     */
    for (unsigned second = 0; second < 100; second++) {
        struct grant_request request = one();
        request.n_behind = 500 - second;
        struct grant g = ask(T0 + second * GRANT_MS, &request);
        ck_assert_msg(g.result == GRANT_GO, "after %u mails", sent);
        sent += g.n;
    }
    struct grant_request request = one();
    request.n_behind = 400;
    ck_assert_int_eq(ask(T0 + 101 * GRANT_MS, &request).result, GRANT_HELD);
}
END_TEST

START_TEST(the_cap_of_a_day_holds_however_mails_are_asked_for)
{
    unsigned sent = 0;
    add_address("192.0.2.1", false);
    add_sender(STRATEGY_DEDICATED, false);
    uint64_t midnight = (T0 / DAY_MS + 1) * DAY_MS;
    for (uint64_t now = midnight; now < midnight + DAY_MS; now += 7 * SECOND_MS) {
        struct grant_request request = one();
        request.n = 3;
        request.n_behind = 100000;
        struct grant g = ask(now, &request);
        sent += g.result == GRANT_GO ? g.n : 0;
        if (g.result == GRANT_GO && now % 3 == 0) { /* some do not start after all */
            grants_return(grants, now, &BULK, g.slot, g.n);
            sent -= g.n;
        }
    }
    ck_assert_uint_le(sent, 100);
    ck_assert_uint_ge(sent, 90);
}
END_TEST

START_TEST(a_transaction_of_many_gets_no_more_than_was_granted)
{
    add_address("192.0.2.1", false);
    add_sender(STRATEGY_DEDICATED, false);
    struct grant_request request = one();
    request.n = 1000;
    struct grant g = ask(T0, &request);
    ck_assert_int_eq(g.result, GRANT_GO);
    ck_assert_uint_eq(g.n, 100);
    g = ask(T0, &request);
    ck_assert_int_eq(g.result, GRANT_HELD);
    ck_assert_uint_gt(g.retry_ms, T0);
    ck_assert_int_eq(g.cause, STRATEGY_C_R_WARMUP_CAP);
}
END_TEST

START_TEST(a_transaction_is_not_torn_apart_while_one_address_may_take_it)
{
    add_address("192.0.2.1", true);
    add_address("192.0.2.2", true);
    add_address("192.0.2.3", true);
    add_sender(STRATEGY_DEDICATED, false);
    for (unsigned i = 0; i < 20; i++) {
        struct grant_request request = one();
        request.n = 5;
        struct grant g = ask(T0 + i, &request);
        ck_assert_int_eq(g.result, GRANT_GO);
        ck_assert_uint_eq(g.n, 5);
    }
}
END_TEST

START_TEST(single_mails_to_many_providers_leave_by_all_addresses)
{
    unsigned n[3] = {0};
    char provider[32];
    add_address("192.0.2.0", true);
    add_address("192.0.2.1", true);
    add_address("192.0.2.2", true);
    add_sender(STRATEGY_DEDICATED, false);
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(provider, sizeof provider, "p%u.example", i);
        struct grant_request request = one();
        request.key.provider = provider;
        struct grant g = ask(T0 + i, &request);
        ck_assert_int_eq(g.result, GRANT_GO);
        n[g.path[8] - '0']++;
    }
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_ge(n[i], 90);
    }
}
END_TEST

START_TEST(a_busy_endpoint_is_waited_for_and_keeps_its_grant)
{
    add_address("192.0.2.1", true);
    add_sender(STRATEGY_DEDICATED, true);
    struct grant_request request = one();
    request.busy_mask = 1;
    ck_assert_int_eq(ask(T0, &request).result, GRANT_BUSY);
    request.busy_mask = 0;
    struct grant g = ask(T0 + 1, &request);
    ck_assert_int_eq(g.result, GRANT_GO);
    ck_assert_str_eq(g.path, "192.0.2.1");
}
END_TEST

START_TEST(what_is_out_of_order_is_left_at_once_and_come_back_to)
{
    add_address("192.0.2.1", true);
    add_sender(STRATEGY_DEDICATED, true);
    struct grant_request request = one();
    request.n_behind = 10;
    ck_assert_str_eq(ask(T0, &request).path, "192.0.2.1");
    request.down_mask = 1; /* the address */
    struct grant g = ask(T0 + 1, &request);
    ck_assert_int_eq(g.result, GRANT_GO);
    ck_assert_str_eq(g.path, "first");
    ck_assert_int_eq(g.cause, STRATEGY_C_R_LANE_DOWN);
    request.down_mask = 7;
    ck_assert_int_eq(ask(T0 + 2, &request).result, GRANT_HELD);
    request.down_mask = 0;
    ck_assert_str_eq(ask(T0 + 3, &request).path, "192.0.2.1");
}
END_TEST

START_TEST(relays_stand_by_for_each_other_in_the_order_of_the_configuration)
{
    add_sender(STRATEGY_SHARED, true);
    struct grant_request request = one();
    for (unsigned i = 0; i < 50; i++) {
        ck_assert_str_eq(ask(T0 + i * 100, &request).path, "first");
    }
    request.down_mask = 1;
    struct grant g = ask(T0 + 5000, &request);
    ck_assert_str_eq(g.path, "second");
    ck_assert_int_eq(g.cause, STRATEGY_C_R_RELAY_DOWN);
}
END_TEST

START_TEST(a_path_that_opens_gets_nothing_after_a_second)
{
    struct reply_index index;
    add_address("192.0.2.1", true);
    add_sender(STRATEGY_DEDICATED, true);
    reply_index_init(&index);
    struct strategy_outcome bad = {.key = BULK, .path = "192.0.2.1", .n = 1, .sent_ms = NEVER_MS};
    const char text[] = "421 4.7.28 unusual rate of unsolicited mail from your IP address";
    reply_classify(&index, text, sizeof text - 1, &bad.verdict);
    struct grant_request request = one();
    request.n_behind = 1000;
    ck_assert_str_eq(ask(T0, &request).path, "192.0.2.1");
    for (unsigned i = 0; i < 30; i++) {
        must(strategy_outcome(engine, T0 + 10 + i, &bad));
    }
    struct grant g = ask(T0 + GRANT_MS, &request);
    ck_assert_int_eq(g.result, GRANT_GO);
    ck_assert_str_eq(g.path, "first");
    ck_assert_int_eq(g.cause, STRATEGY_C_R_BOUNCE_SURGE);
}
END_TEST

START_TEST(more_flows_than_places_give_their_grants_back)
{
    char stream[32];
    unsigned sent = 0;
    add_address("192.0.2.1", false);
    add_sender(STRATEGY_DEDICATED, false);
    for (unsigned i = 0; i < 1000; i++) { /* each is granted all there is, and uses one */
        (void)snprintf(stream, sizeof stream, "bulk:c%u", i);
        struct grant_request request = one();
        request.key.stream = stream;
        request.n_behind = 99;
        struct grant g = ask(T0 + i, &request);
        sent += g.result == GRANT_GO ? g.n : 0;
    }
    grants_return_all(grants, T0 + 1000);
    for (unsigned i = 0; i < 100; i++) {
        struct grant_request request = one();
        struct grant g = ask(T0 + 2000 + i, &request);
        sent += g.result == GRANT_GO ? g.n : 0;
    }
    ck_assert_uint_eq(sent, 100);
}
END_TEST

/* ---- anything may happen ---- */

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % n;
}

static const char *const senders[] = {"auto", "dedicated", "shared", "custom"};
static const char *const streams[] = {"transactional", "bulk", "bulk:c1", "bulk:c2"};
static const char *const providers[] = {"gmail", "yahoo", "example.com", "tail:00"};
static const char *const paths[] = {"192.0.2.0", "192.0.2.1", "192.0.2.2", "first",
                                    "second",    "amazon",    "own"};

static void add_everybody(void)
{
    static const char *const shared[] = {"first", "second", "amazon"};
    static const char *const custom[] = {"own"};
    for (unsigned i = 0; i < 3; i++) {
        add_address(paths[i], i == 0);
    }
    for (unsigned i = 3; i < 7; i++) {
        must(strategy_route(engine, &(struct strategy_route_config){.name = paths[i],
                                                                    .is_ses = i == 5,
                                                                    .n_max_24h = i == 5 ? 5000 : 0,
                                                                    .cost_ppm = -1}));
    }
    for (unsigned kind = 0; kind < STRATEGY_KINDS; kind++) {
        must(strategy_sender(engine, &(struct strategy_sender_config){
                                         .name = senders[kind],
                                         .kind = (enum strategy_kind)kind,
                                         .pool = "acme",
                                         .shared = shared,
                                         .n_shared = kind == STRATEGY_CUSTOM ? 0 : 3,
                                         .custom = custom,
                                         .n_custom = kind == STRATEGY_CUSTOM,
                                         .fallback = true,
                                     }));
    }
}

static bool is_address(const char *path)
{
    return path[0] == '1';
}

/* I1, I2: from the strategy alone. */
static void check_mask(unsigned kind, const char *path)
{
    if (kind == STRATEGY_CUSTOM) {
        ck_assert_msg(is_address(path) || strcmp(path, "own") == 0, "custom by %s", path);
    } else {
        ck_assert_str_ne(path, "own");
    }
    if (kind == STRATEGY_SHARED) {
        ck_assert_msg(!is_address(path), "shared by %s", path);
    }
}

static void random_ask(uint64_t now_ms)
{
    unsigned kind = below(STRATEGY_KINDS);
    struct grant_request request = {
        .key = {senders[kind], streams[below(4)], providers[below(4)]},
        .n = 1 + below(20),
        .n_behind = below(3) == 0 ? below(10000) : 0,
        .is_retry = below(4) == 0,
        .never_mailed_ppm = below(5) == 0 ? below(1000000) : 0,
        .down_mask = below(4) == 0 ? below(128) : 0,
        .busy_mask = below(8) == 0 ? below(128) : 0,
        .prefer_slot = below(8),
    };
    struct grant grant;
    must(grants_ask(grants, now_ms, &request, &grant));
    if (grant.result == GRANT_GO) {
        check_mask(kind, grant.path);
        ck_assert_uint_ge(grant.n, 1);
        ck_assert_uint_le(grant.n, request.n);
        ck_assert_msg((request.busy_mask >> grant.slot & 1) == 0, "a busy slot");
        ck_assert_msg((request.down_mask >> grant.slot & 1) == 0, "a slot that is down");
        if (below(10) == 0) {
            grants_return(grants, now_ms, &request.key, grant.slot, grant.n);
        }
    } else if (grant.result == GRANT_HELD) {
        ck_assert_uint_gt(grant.retry_ms, now_ms);
    }
}

static void random_event(uint64_t now_ms)
{
    const struct strategy_outcome outcome = {
        .key = {senders[below(4)], streams[below(4)], providers[below(4)]},
        .path = paths[below(7)],
        .n = 1 + below(30),
        .verdict = reply_of_class((enum reply_class)(below(3) ? REPLY_OK : below(REPLY_CLASSES))),
        .sent_ms = below(3) ? NEVER_MS : now_ms - below(100000000),
    };
    if (below(10) == 0) {
        (void)strategy_late(engine, now_ms, (enum strategy_late)below(3), &outcome);
    } else if (below(500) == 0) {
        (void)strategy_dnsbl(engine, now_ms, paths[below(3)], "zen.spamhaus.org",
                             (enum strategy_listing)below(6));
    } else if (below(2000) == 0) {
        (void)strategy_retire(engine, now_ms, paths[below(3)], below(2) == 0);
    } else {
        (void)strategy_outcome(engine, now_ms, &outcome);
    }
}

/* The engine's own invariants abort; what is seen from outside is checked here. */
START_TEST(no_random_sequence_breaks_an_invariant)
{
    uint64_t now_ms = T0;
    random_state = 88172645463325252u + (uint64_t)_i;
    add_everybody();
    for (unsigned i = 0; i < 100000; i++) {
        now_ms += below(100) == 0 ? below(7200000) : below(2000);
        if (below(3) == 0) {
            random_event(now_ms);
        } else {
            random_ask(now_ms);
        }
    }
    grants_return_all(grants, now_ms);
}
END_TEST

START_TEST(names_that_are_too_long_are_refused)
{
    char name[STRATEGY_NAME_BYTES + 1];
    struct grant grant;
    memset(name, 'a', STRATEGY_NAME_BYTES);
    name[STRATEGY_NAME_BYTES] = '\0';
    struct grant_request request = one();
    request.key.provider = name;
    ck_assert_int_eq(grants_ask(grants, T0, &request, &grant), STRATEGY_E_NAME);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("grant");
    TCase *tests = tcase_create("grant");
    SRunner *runner = srunner_create(suite);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, addresses_without_warm_up_share_single_mails_evenly_and_without_a_cap);
    tcase_add_test(tests, what_is_not_used_within_the_second_may_be_used_later);
    tcase_add_test(tests, the_cap_of_a_day_holds_however_mails_are_asked_for);
    tcase_add_test(tests, a_transaction_of_many_gets_no_more_than_was_granted);
    tcase_add_test(tests, a_transaction_is_not_torn_apart_while_one_address_may_take_it);
    tcase_add_test(tests, single_mails_to_many_providers_leave_by_all_addresses);
    tcase_add_test(tests, a_busy_endpoint_is_waited_for_and_keeps_its_grant);
    tcase_add_test(tests, what_is_out_of_order_is_left_at_once_and_come_back_to);
    tcase_add_test(tests, relays_stand_by_for_each_other_in_the_order_of_the_configuration);
    tcase_add_test(tests, a_path_that_opens_gets_nothing_after_a_second);
    tcase_add_test(tests, more_flows_than_places_give_their_grants_back);
    tcase_add_test(tests, names_that_are_too_long_are_refused);
    tcase_add_loop_test(tests, no_random_sequence_breaks_an_invariant, 0, 8);
    suite_add_tcase(suite, tests);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
