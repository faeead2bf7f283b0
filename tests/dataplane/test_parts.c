/* test_parts.c - small parts of the data plane: steering, timers, EAL arguments, options. */
#include "dataplane/dp_eal_args.h"
#include "dataplane/dp_options.h"
#include "dataplane/dp_steer.h"
#include "dataplane/dp_timers.h"
#include "tests/dataplane/tap.h"

#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- steering ---------------------------------------------------------------------------- */

static struct addr_map owners;

/* Lanes 0 and 1 with 192.0.(2+lane).n and 2001:db8::(2+lane):n. */
static void steer_setup(void)
{
    ck_assert(addr_map_init(&owners, 800));
    for (uint32_t lane = 0; lane < 2; lane++) {
        for (uint8_t n = 1; n <= 200; n++) {
            const struct ip_addr four = {.family = 4, .bytes = {192, 0, (uint8_t)(2 + lane), n}};
            const struct ip_addr six = {
                .family = 6, .bytes = {0x20, 1, 0xd, 0xb8, [13] = (uint8_t)(2 + lane), [15] = n}};
            ck_assert(addr_map_put(&owners, &four, lane) && addr_map_put(&owners, &six, lane));
        }
    }
}

static void steer_teardown(void)
{
    addr_map_fini(&owners);
}

START_TEST(a_map_of_addresses_agrees_with_a_list_under_random_changes)
{
    enum { ROOM = 100, KEYS = 256 };
    uint32_t seed = (uint32_t)_i + 1, values[KEYS];
    struct addr_map map;
    ck_assert(addr_map_init(&map, ROOM));
    memset(values, 0xff, sizeof values);
    for (uint32_t step = 0, n = 0; step < 5000; step++) {
        uint32_t key = (uint32_t)rand_r(&seed) % KEYS;
        struct ip_addr addr = {.family = key & 1 ? 6 : 4, .bytes = {(uint8_t)key}};
        if (rand_r(&seed) % 2) {
            bool fits = values[key] != ADDR_MAP_NONE || n < ROOM;
            ck_assert_int_eq(addr_map_put(&map, &addr, step), fits);
            n += fits && values[key] == ADDR_MAP_NONE;
            values[key] = fits ? step : values[key];
        } else {
            addr_map_remove(&map, &addr);
            n -= values[key] != ADDR_MAP_NONE;
            values[key] = ADDR_MAP_NONE;
        }
        key = (uint32_t)rand_r(&seed) % KEYS;
        addr = (struct ip_addr){.family = key & 1 ? 6 : 4, .bytes = {(uint8_t)key}};
        ck_assert_uint_eq(addr_map_get(&map, &addr), values[key]);
        ck_assert_uint_eq(map.n, n);
    }
    addr_map_fini(&map);
}
END_TEST

static uint32_t ipv4_to(uint8_t net, uint8_t host)
{
    uint8_t frame[34] = {[12] = 0x08, [14] = 0x45, [30] = 192, [32] = net, [33] = host};
    return dp_steer_frame(&owners, frame, sizeof frame);
}

static uint32_t arp_for(uint8_t opcode, uint8_t net, uint8_t host)
{
    uint8_t frame[42] = {
        [12] = 0x08, [13] = 0x06, [21] = opcode, [38] = 192, [40] = net, [41] = host};
    return dp_steer_frame(&owners, frame, sizeof frame);
}

START_TEST(a_packet_belongs_to_the_lane_of_its_destination)
{
    for (uint8_t n = 1; n <= 200; n++) {
        ck_assert_uint_eq(ipv4_to(2, n), 0);
        ck_assert_uint_eq(ipv4_to(3, n), 1);
        ck_assert_uint_eq(ipv4_to(4, n), DP_STEER_HERE); /* nobody's here */
    }
    ck_assert_uint_eq(ipv4_to(2, 201), DP_STEER_HERE);
}
END_TEST

/* An IPv6 packet with an ICMPv6 message, or to a group when to is null. */
static uint32_t ipv6(uint8_t type, const uint8_t *to, const uint8_t *target, bool tagged)
{
    static const uint8_t group[16] = {0xff, 2, [15] = 1};
    uint8_t frame[18 + 64] = {[12] = 0x81, [16] = 0x86, [17] = 0xdd, [24] = 58};
    memcpy(frame + 42, to ? to : group, 16);
    frame[58] = type;
    memcpy(frame + 66, target, 16);
    if (!tagged) {
        memmove(frame + 12, frame + 16, sizeof frame - 16);
    }
    return dp_steer_frame(&owners, frame, sizeof frame - (tagged ? 0 : 4));
}

START_TEST(ipv6_packets_and_solicitations_go_to_the_owner_and_other_groups_to_all)
{
    uint8_t ours[16] = {0x20, 1, 0xd, 0xb8, [13] = 3, [15] = 9}, other[16] = {0x20, 1, 0xd, 0xb8};
    for (int tagged = 0; tagged < 2; tagged++) {
        ck_assert_uint_eq(ipv6(136, ours, other, tagged), 1);
        ck_assert_uint_eq(ipv6(136, other, ours, tagged), DP_STEER_HERE);
        ck_assert_uint_eq(ipv6(135, NULL, ours, tagged), 1);
        ck_assert_uint_eq(ipv6(135, NULL, other, tagged), DP_STEER_ALL);
        ck_assert_uint_eq(ipv6(136, NULL, ours, tagged), DP_STEER_ALL);
        ck_assert_uint_eq(ipv6(130, NULL, ours, tagged), DP_STEER_ALL);
    }
}
END_TEST

START_TEST(an_arp_question_goes_to_its_owner_and_other_arp_to_all)
{
    ck_assert_uint_eq(arp_for(1, 3, 7), 1);
    ck_assert_uint_eq(arp_for(1, 9, 7), DP_STEER_ALL);
    ck_assert_uint_eq(arp_for(2, 2, 7), DP_STEER_ALL);
}
END_TEST

START_TEST(short_and_unknown_frames_stay_where_they_are)
{
    uint8_t frame[42] = {[12] = 0x08, [13] = 0x06};
    for (uint32_t len = 0; len < sizeof frame; len++) {
        ck_assert_uint_eq(dp_steer_frame(&owners, frame, len), DP_STEER_HERE);
    }
    frame[13] = 0;
    for (uint32_t len = 0; len < 34; len++) {
        ck_assert_uint_eq(dp_steer_frame(&owners, frame, len), DP_STEER_HERE);
    }
    frame[12] = 0x86;
    ck_assert_uint_eq(dp_steer_frame(&owners, frame, sizeof frame), DP_STEER_HERE);
}
END_TEST

/* ---- timers ------------------------------------------------------------------------------ */

#define N_TIMERS 64u

START_TEST(timers_agree_with_a_plain_table)
{
    struct dp_timers t;
    uint64_t model[N_TIMERS];
    unsigned seed = (unsigned)_i + 1;
    ck_assert(dp_timers_init(&t, N_TIMERS));
    memset(model, 0xff, sizeof model);
    for (int step = 0; step < 5000; step++) {
        uint32_t number = (uint32_t)rand_r(&seed) % N_TIMERS, popped;
        uint64_t when = (uint64_t)rand_r(&seed) % 1000, earliest = TIME_NEVER_NS;
        switch (rand_r(&seed) % 4) {
        case 0:
            when = TIME_NEVER_NS;
            /* fall through */
        case 1:
        case 2:
            dp_timers_set(&t, number, when);
            model[number] = when;
            break;
        default:
            if (dp_timers_pop(&t, when, &popped)) {
                ck_assert(model[popped] <= when);
                model[popped] = TIME_NEVER_NS;
            }
            break;
        }
        for (uint32_t i = 0; i < N_TIMERS; i++) {
            earliest = model[i] < earliest ? model[i] : earliest;
        }
        ck_assert_uint_eq(dp_timers_next_ns(&t), earliest);
    }
    dp_timers_fini(&t);
}
END_TEST

/* ---- EAL --------------------------------------------------------------------------------- */

START_TEST(pci_addresses_are_told_from_virtual_devices)
{
    static const struct {
        const char *device, *name;
        bool pci;
    } rows[] = {
        {"0000:3b:00.0", "0000:3b:00.0", true},
        {"3b:00.1", "0000:3b:00.1", true},
        {"0000:3b:00.0,mprq_en=1", "0000:3b:00.0", true},
        {"net_tap0,iface=wp0", "net_tap0", false},
        {"net_af_packet0,iface=veth0", "net_af_packet0", false},
        {"0000:3b:00", "0000:3b:00", false},
        {"0000:3b:00.0x", "0000:3b:00.0x", false},
        {"", "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[64];
        ck_assert_msg(dp_device_is_pci(rows[i].device) == rows[i].pci, "%s", rows[i].device);
        dp_device_name(rows[i].device, name, sizeof name);
        ck_assert_str_eq(name, rows[i].name);
    }
}
END_TEST

/* The arguments, joined by spaces. */
static void join(const struct dp_eal_args *args, char *buf, size_t buf_bytes)
{
    size_t used = 0;
    for (int i = 0; i < args->argc; i++) {
        used += (size_t)snprintf(buf + used, buf_bytes - used, "%s ", args->argv[i]);
    }
    ck_assert_ptr_null(args->argv[args->argc]);
}

START_TEST(eal_runs_without_huge_pages_and_pci_on_virtual_devices)
{
    struct dp_config c = {.n_ports = 1, .n_lanes = 2, .memory_mb = 99};
    struct dp_eal_args args;
    cpu_set_t cpus;
    char text[2048];
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    CPU_SET(1, &cpus);
    c.lanes[1].lcore = 1;
    (void)snprintf(c.ports[0].device, sizeof c.ports[0].device, "net_tap0,iface=wp0");
    (void)snprintf(c.eal_extra, sizeof c.eal_extra, " --log-level=8  --no-hpet ");
    ck_assert(dp_eal_args_make(&args, &c, &cpus));
    join(&args, text, sizeof text);
    ck_assert_ptr_null(strstr(text, "--in-memory"));
    ck_assert_ptr_nonnull(strstr(text, "--no-shconf --no-huge -m 99 "));
    ck_assert_ptr_nonnull(strstr(text, "--vdev=net_tap0,iface=wp0 --no-pci "));
    ck_assert_ptr_nonnull(strstr(text, "--lcores=0@(0,1),1@0,2@1 --main-lcore=0 "));
    ck_assert_str_eq(strstr(text, "--log-level=8"), "--log-level=8 --no-hpet ");
    dp_eal_args_free(&args);

    c.huge_pages = true;
    (void)snprintf(c.ports[0].device, sizeof c.ports[0].device, "0000:3b:00.0");
    ck_assert(dp_eal_args_make(&args, &c, &cpus));
    join(&args, text, sizeof text);
    ck_assert_ptr_null(strstr(text, "--no-huge"));
    ck_assert_ptr_nonnull(strstr(text, "--in-memory"));
    ck_assert_ptr_null(strstr(text, "--no-pci"));
    ck_assert_ptr_nonnull(strstr(text, "-a 0000:3b:00.0 "));
    dp_eal_args_free(&args);
}
END_TEST

START_TEST(more_arguments_than_eal_gets_are_refused)
{
    struct dp_config c = {.n_lanes = 1};
    struct dp_eal_args args;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    for (size_t i = 0; i + 2 < sizeof c.eal_extra; i += 2) {
        memcpy(c.eal_extra + i, "x ", 2);
    }
    ck_assert(!dp_eal_args_make(&args, &c, &cpus));
    dp_eal_args_free(&args);
}
END_TEST

START_TEST(a_cpu_that_is_not_there_is_named_with_its_place)
{
    struct dp_config c = {.n_lanes = 2};
    struct config_errors errors = {0};
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    c.lanes[1] = (struct dp_lane){.port = 3, .queue = 1, .lcore = 9};
    dp_eal_check_cpus(&c, &cpus, &errors);
    ck_assert_uint_eq(errors.count, 1);
    ck_assert_str_eq(errors.list[0].path, "/dataplane/ports/3/queues/1/lcore");
    ck_assert_ptr_nonnull(strstr(errors.list[0].message, "no CPU 9"));
    ck_assert_ptr_nonnull(strstr(errors.list[0].message, "one of 0,"));
    config_errors_free(&errors);
}
END_TEST

/* ---- options ----------------------------------------------------------------------------- */

#define ALL "--config", "c", "--control", "s", "--run-dir", "r"

START_TEST(the_command_line_is_checked)
{
    static const struct {
        const char *argv[12];
        int status;
    } rows[] = {
        {{"p", ALL, NULL}, -1},
        {{"p", ALL, "--orphan-s", "5", NULL}, -1},
        {{"p", ALL, "--orphan-s", "0", NULL}, EX_USAGE},
        {{"p", ALL, "--orphan-s", "5x", NULL}, EX_USAGE},
        {{"p", ALL, "--orphan-s", "99999999999999999999", NULL}, EX_USAGE},
        {{"p", ALL, "more", NULL}, EX_USAGE},
        {{"p", "--config", "c", NULL}, EX_USAGE},
        {{"p", "--nonsense", NULL}, EX_USAGE},
        {{"p", NULL}, EX_USAGE},
        {{"p", "--help", NULL}, EX_OK},
        {{"p", "--version", NULL}, EX_OK},
    };
    struct dp_options options;
    int argc = 0, null = open("/dev/null", O_WRONLY);
    while (rows[_i].argv[argc]) {
        argc++;
    }
    int out = dup(1);
    (void)dup2(null, 1); /* the help is not TAP */
    (void)dup2(null, 2);
    int status = dp_options_parse(argc, (char **)(uintptr_t)rows[_i].argv, &options);
    (void)fflush(stdout);
    (void)dup2(out, 1);
    ck_assert_int_eq(status, rows[_i].status);
    if (status == -1) {
        ck_assert_str_eq(options.run_dir, "r");
        ck_assert_uint_eq(options.orphan_s, argc == 7 ? 60 : 5);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("parts");
    tcase_add_checked_fixture(tc, steer_setup, steer_teardown);
    tcase_add_test(tc, a_packet_belongs_to_the_lane_of_its_destination);
    tcase_add_test(tc, ipv6_packets_and_solicitations_go_to_the_owner_and_other_groups_to_all);
    tcase_add_loop_test(tc, a_map_of_addresses_agrees_with_a_list_under_random_changes, 0, 20);
    tcase_add_test(tc, an_arp_question_goes_to_its_owner_and_other_arp_to_all);
    tcase_add_test(tc, short_and_unknown_frames_stay_where_they_are);
    tcase_add_loop_test(tc, timers_agree_with_a_plain_table, 0, 5);
    tcase_add_test(tc, pci_addresses_are_told_from_virtual_devices);
    tcase_add_test(tc, eal_runs_without_huge_pages_and_pci_on_virtual_devices);
    tcase_add_test(tc, more_arguments_than_eal_gets_are_refused);
    tcase_add_test(tc, a_cpu_that_is_not_there_is_named_with_its_place);
    tcase_add_loop_test(tc, the_command_line_is_checked, 0, 11);
    return tap_run("parts", tc);
}
