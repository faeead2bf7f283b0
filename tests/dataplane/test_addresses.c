/* test_addresses.c - the table of source addresses: control says what it wants, the lane does it
 * and says what is. A whole lane, but for its frames. */
#include "dataplane/chan_address.h"
#include "dataplane/dp_worker.h"
#include "tests/dataplane/channel_file.h"
#include "tests/dataplane/tap.h"

#define ROOM 8u

static struct channel_file f;
static struct dp_config config;
static struct dp_worker *lane;
static uint64_t now_ns;

static struct ip_addr addr_of(const char *text)
{
    struct ip_addr addr = {0};
    ck_assert(ip_addr_parse(text, &addr));
    return addr;
}

static void setup(void)
{
    channel_file_make(&f, 64, 1 << 16);
    channel_file_kill_control(&f);
    char path[128];
    ck_assert(chan_file_path(f.dir, 0, path, sizeof path) && remove(path) == 0);
    f.geometry.n_addresses = ROOM;
    channel_file_reopen_control(&f);
    config = (struct dp_config){.n_ports = 1,
                                .n_lanes = 1,
                                .jobs_per_lane = 64,
                                .arena_bytes = 1 << 16,
                                .sessions_per_lane = 16,
                                .addresses_per_lane = ROOM};
    config.ports[0].mtu = 1500;
    ck_assert(ip_prefix_parse("192.0.2.0/24", &config.ports[0].network.prefix4));
    ck_assert(ip_prefix_parse("2001:db8:7::/64", &config.ports[0].network.prefix6));
    now_ns = NS_PER_S;
    const char *why = NULL;
    const struct dp_worker_config c = {.config = &config,
                                       .run_dir = f.dir,
                                       .mac = {2, 0, 0, 0, 0, 1},
                                       .rx_fd = -1,
                                       .now_ns = now_ns};
    lane = dp_worker_open(&c, &why);
    ck_assert_msg(lane != NULL, "%s", why ? why : "");
}

static void teardown(void)
{
    dp_worker_close(lane, now_ns);
    channel_file_remove(&f);
}

/* Turns every 10 ms; what TCP sends is thrown away. */
static void run(uint32_t ms)
{
    uint8_t head[UTCP_HEAD_MAX];
    struct utcp_frame frame = {.head = head};
    for (uint32_t i = 0; i <= ms; i += 10, now_ns += 10 * NS_PER_MS) {
        (void)dp_worker_turn(lane, now_ns);
        while (utcp_output(lane->tcp, now_ns, &frame)) {
        }
    }
}

static uint32_t put(const char *text, enum chan_address_want want)
{
    const struct ip_addr addr = addr_of(text);
    uint32_t entry = UINT32_MAX;
    ck_assert(chan_address_put(f.control, &addr, 0, want, &entry));
    chan_addresses_end(f.control);
    return entry;
}

static void set(uint32_t entry, enum chan_address_want want)
{
    chan_address_set(f.control, entry, want);
    chan_addresses_end(f.control);
}

#define check_is(entry, state) ck_assert_int_eq(chan_address_is(f.control, entry), state)

START_TEST(what_control_wants_becomes_so)
{
    uint32_t four = put("192.0.2.10", CHAN_ADDRESS_USE),
             six = put("2001:db8:7::10", CHAN_ADDRESS_USE);
    uint32_t drained = put("192.0.2.11", CHAN_ADDRESS_DRAIN);
    check_is(four, CHAN_ADDRESS_NEW);
    run(10);
    check_is(four, CHAN_ADDRESS_UP);
    check_is(six, CHAN_ADDRESS_TENTATIVE); /* RFC 4862 5.4 */
    check_is(drained, CHAN_ADDRESS_DRAINED);
    run(1200);
    check_is(six, CHAN_ADDRESS_UP);
    set(four, CHAN_ADDRESS_DRAIN);
    set(drained, CHAN_ADDRESS_USE);
    run(10);
    check_is(four, CHAN_ADDRESS_DRAINED);
    check_is(drained, CHAN_ADDRESS_UP);
}
END_TEST

START_TEST(a_removed_address_leaves_after_its_last_fins_and_its_entry_is_free_then)
{
    uint32_t entry = put("192.0.2.10", CHAN_ADDRESS_USE);
    const struct ip_addr addr = addr_of("192.0.2.10");
    run(10);
    set(entry, CHAN_ADDRESS_NONE);
    run(200);
    check_is(entry, CHAN_ADDRESS_DRAINING);
    ck_assert_uint_eq(chan_address_at(f.control, entry).family, 4);
    ck_assert_int_eq(utcp_address_state(lane->tcp, &addr), UTCP_ADDRESS_USABLE);
    run(700);
    check_is(entry, CHAN_ADDRESS_GONE);
    ck_assert_uint_eq(chan_address_at(f.control, entry).family, 0);
    ck_assert_int_eq(utcp_address_state(lane->tcp, &addr), UTCP_ADDRESS_NONE);
    entry = put("192.0.2.10", CHAN_ADDRESS_USE);
    run(10);
    check_is(entry, CHAN_ADDRESS_UP);
}
END_TEST

START_TEST(an_entry_that_the_lane_may_be_reading_is_not_given_away)
{
    uint32_t first = put("192.0.2.10", CHAN_ADDRESS_USE);
    set(first, CHAN_ADDRESS_NONE); /* the lane has not looked yet */
    for (uint8_t n = 1; n < ROOM; n++) {
        const struct ip_addr addr = {.family = 4, .bytes = {192, 0, 2, (uint8_t)(10 + n)}};
        uint32_t entry;
        ck_assert(chan_address_put(f.control, &addr, 0, CHAN_ADDRESS_USE, &entry));
        ck_assert_uint_ne(entry, first);
    }
    const struct ip_addr more = addr_of("192.0.2.99");
    uint32_t entry;
    ck_assert(!chan_address_put(f.control, &more, 0, CHAN_ADDRESS_USE, &entry));
    run(10);
    check_is(first, CHAN_ADDRESS_GONE);
    ck_assert(chan_address_put(f.control, &more, 0, CHAN_ADDRESS_USE, &entry));
    ck_assert_uint_eq(entry, first);
}
END_TEST

START_TEST(what_tcp_does_not_take_is_refused_and_harms_nobody)
{
    uint32_t good = put("192.0.2.10", CHAN_ADDRESS_USE);
    uint32_t twice = put("192.0.2.10", CHAN_ADDRESS_USE),
             group = put("224.0.0.1", CHAN_ADDRESS_USE);
    run(500);
    check_is(good, CHAN_ADDRESS_UP);
    check_is(twice, CHAN_ADDRESS_REFUSED);
    check_is(group, CHAN_ADDRESS_REFUSED);
    set(twice, CHAN_ADDRESS_NONE);
    set(group, CHAN_ADDRESS_NONE);
    run(10);
    check_is(twice, CHAN_ADDRESS_GONE);
    check_is(group, CHAN_ADDRESS_GONE);
    check_is(good, CHAN_ADDRESS_UP);
}
END_TEST

START_TEST(a_new_control_process_finds_the_table_and_a_dead_lane_leaves_what_is_wanted)
{
    uint32_t entry = put("192.0.2.10", CHAN_ADDRESS_USE),
             leaving = put("192.0.2.11", CHAN_ADDRESS_USE);
    run(10);
    set(leaving, CHAN_ADDRESS_NONE);
    channel_file_kill_control(&f);
    channel_file_reopen_control(&f);
    const struct ip_addr found = chan_address_at(f.control, entry), addr = addr_of("192.0.2.10");
    ck_assert(ip_addr_equal(&found, &addr));
    check_is(entry, CHAN_ADDRESS_UP);
    chan_control_reset(f.control); /* as after the death of the data plane */
    check_is(entry, CHAN_ADDRESS_NEW);
    check_is(leaving, CHAN_ADDRESS_GONE);
    ck_assert_uint_eq(chan_address_sessions(f.control, entry), 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("table");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_control_wants_becomes_so);
    tcase_add_test(tc, a_removed_address_leaves_after_its_last_fins_and_its_entry_is_free_then);
    tcase_add_test(tc, an_entry_that_the_lane_may_be_reading_is_not_given_away);
    tcase_add_test(tc, what_tcp_does_not_take_is_refused_and_harms_nobody);
    tcase_add_test(tc, a_new_control_process_finds_the_table_and_a_dead_lane_leaves_what_is_wanted);
    return tap_run("addresses", tc);
}
