/* test_pools.c - groups of a pool's addresses, names of block lists, and times as text. */
#include "control/ctl_time.h"
#include "control/dnsbl.h"
#include "control/pools.h"

#include <check.h>
#include <stdlib.h>

static struct dp_address addresses[1000];

/* n4 addresses of IPv4 and n6 of IPv6, mixed, in pool 0. */
static struct dp_config config_of(uint32_t n4, uint32_t n6)
{
    static struct dp_pool pool;
    uint32_t n = n4 + n6;
    for (uint32_t i = 0; i < n; i++) {
        bool v6 = n6 > 0 && (i % 2 == 1 || n4 == 0) ? n6-- > 0 : n4 == 0;
        n4 -= !v6;
        addresses[i] = (struct dp_address){.addr = {.family = v6 ? 6 : 4}};
        addresses[i].addr.bytes[v6 ? 14 : 2] = (uint8_t)(i >> 8);
        addresses[i].addr.bytes[v6 ? 15 : 3] = (uint8_t)i;
    }
    pool.n_addresses = n;
    return (struct dp_config){
        .pools = &pool, .n_pools = 1, .addresses = addresses, .n_addresses = n};
}

static const struct {
    uint32_t n4, n6, groups;
} sizes[] = {
    {0, 0, 0},   {1, 0, 1},    {0, 1, 1},    {24, 0, 24},    {12, 12, 24}, {25, 0, 24},
    {0, 25, 24}, {999, 1, 24}, {1, 999, 24}, {500, 500, 24}, {30, 2, 24},
};

START_TEST(each_address_is_in_one_group_of_its_own_ip_version)
{
    struct dp_config dp = config_of(sizes[_i].n4, sizes[_i].n6);
    struct pool_groups *pool = pools_open(&dp, 1);
    uint32_t seen[1000] = {0}, n = 0;
    ck_assert_ptr_nonnull(pool);
    ck_assert_uint_eq(pool->n, sizes[_i].groups);
    for (uint32_t g = 0; g < pool->n; g++) {
        const struct pool_group *group = &pool->group[g];
        char name[IP_ADDR_TEXT_MAX];
        ck_assert_uint_gt(group->n, 0);
        (void)ip_addr_format(&addresses[group->members[0]].addr, name);
        ck_assert_str_eq(group->name, name);
        for (uint32_t k = 0; k < group->n; k++, n++) {
            uint32_t member = group->members[k];
            ck_assert_uint_eq(addresses[member].addr.family, group->family);
            ck_assert_uint_eq(seen[member]++, 0);
        }
    }
    ck_assert_uint_eq(n, dp.n_addresses);
    pools_close(pool, 1);
}
END_TEST

START_TEST(names_of_block_lists_are_reversed)
{
    struct ip_addr v4, v6;
    char name[256];
    ck_assert(ip_addr_parse("192.0.2.99", &v4) && ip_addr_parse("2001:db8:1:2:3:4:567:89ab", &v6));
    ck_assert(dnsbl_name(&v4, "bad.example.com", name, sizeof name));
    ck_assert_str_eq(name, "99.2.0.192.bad.example.com"); /* RFC 5782 2.1 */
    ck_assert(dnsbl_name(&v6, "ugly.example.com", name, sizeof name));
    ck_assert_str_eq(name, "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2."
                           "ugly.example.com"); /* RFC 5782 2.4 */
    ck_assert(!dnsbl_name(&v4, "bad.example.com", name, 26));
    ck_assert(dnsbl_name(&v4, "bad.example.com", name, 27));
}
END_TEST

static const struct {
    const char *text;
    bool good;
    int64_t ms;
} times[] = {
    {"1970-01-01T00:00:00Z", true, 0},
    {"2026-11-23T19:07:00.123Z", true, 1795460820123},
    {"2026-11-23T19:07:00.1Z", true, 1795460820100},
    {"2026-11-23T19:07:00.123456789Z", true, 1795460820123},
    {"2026-11-23T19:07:00+01:00", false, 0},
    {"2026-11-23T19:07:00", false, 0},
    {"2026-11-23", false, 0},
    {"2026-13-23T19:07:00Z", false, 0},
    {"", false, 0},
};

START_TEST(times_are_read_as_they_are_written)
{
    int64_t ms = -1;
    ck_assert_int_eq(ctl_time_parse(times[_i].text, &ms), times[_i].good);
    ck_assert_int_eq(ms, times[_i].good ? times[_i].ms : -1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pools");
    TCase *tests = tcase_create("pools");
    SRunner *runner = srunner_create(suite);
    tcase_add_loop_test(tests, each_address_is_in_one_group_of_its_own_ip_version, 0,
                        sizeof sizes / sizeof sizes[0]);
    tcase_add_test(tests, names_of_block_lists_are_reversed);
    tcase_add_loop_test(tests, times_are_read_as_they_are_written, 0,
                        sizeof times / sizeof times[0]);
    suite_add_tcase(suite, tests);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
