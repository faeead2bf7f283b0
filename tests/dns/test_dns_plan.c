/* test_dns_plan.c - what the answers of DNS mean for mail: RFC 5321 5.1, RFC 7505. */
#include "tests/dataplane/tap.h"
#include "tests/dns/records.h"

/* ---- MX ---------------------------------------------------------------------------------- */

static uint64_t seed = 1;

static bool plan(const struct dns_records *mx, struct dns_hosts *ret_hosts,
                 struct dns_answer *ret_answer)
{
    return dns_plan_mx("x.example", mx, &seed, ret_hosts, ret_answer);
}

static bool plan_rdata(struct rdata *r, struct dns_hosts *ret_hosts, struct dns_answer *ret_answer)
{
    const struct dns_records mx = rdata_records(r);
    bool result = plan(&mx, ret_hosts, ret_answer);
    rdata_free(r);
    return result;
}

START_TEST(hosts_are_ordered_by_preference_and_shuffled_within_one)
{
    uint32_t first_b = 0;
    for (int i = 0; i < 200; i++) {
        struct rdata r = {0};
        struct dns_hosts hosts;
        struct dns_answer answer;
        rdata_add_mx(&r, 20, "late.example");
        rdata_add_mx(&r, 10, "a.example");
        rdata_add_mx(&r, 10, "b.example");
        rdata_add_mx(&r, 5, "FIRST.example");
        ck_assert(plan_rdata(&r, &hosts, &answer));
        ck_assert_uint_eq(hosts.n, 4);
        ck_assert_str_eq(hosts.list[0].name, "first.example");
        ck_assert_str_eq(hosts.list[3].name, "late.example");
        first_b += strcmp(hosts.list[1].name, "b.example") == 0;
    }
    ck_assert_uint_gt(first_b, 60);
    ck_assert_uint_lt(first_b, 140);
}
END_TEST

START_TEST(of_very_many_hosts_the_best_are_kept)
{
    for (unsigned upwards = 0; upwards < 2; upwards++) {
        struct rdata r = {0};
        struct dns_hosts hosts;
        struct dns_answer answer;
        for (uint16_t i = 0; i < 64; i++) {
            char name[32];
            uint16_t preference = upwards ? i : (uint16_t)(63 - i);
            (void)snprintf(name, sizeof name, "mx%u.example", preference);
            rdata_add_mx(&r, preference, name);
        }
        ck_assert(plan_rdata(&r, &hosts, &answer));
        ck_assert_uint_eq(hosts.n, DNS_HOSTS_MAX);
        ck_assert_str_eq(hosts.list[0].name, "mx0.example");
        ck_assert_str_eq(hosts.list[DNS_HOSTS_MAX - 1].name, "mx15.example");
    }
}
END_TEST

START_TEST(a_host_that_is_named_twice_counts_once_with_its_best_preference)
{
    static const uint16_t preferences[][2] = {{5, 20}, {20, 5}, {5, 5}};
    for (size_t i = 0; i < COUNT(preferences); i++) {
        struct rdata r = {0};
        struct dns_hosts hosts;
        struct dns_answer answer;
        rdata_add_mx(&r, preferences[i][0], "a.example");
        rdata_add_mx(&r, 10, "b.example");
        rdata_add_mx(&r, preferences[i][1], "A.EXAMPLE");
        ck_assert(plan_rdata(&r, &hosts, &answer));
        ck_assert_uint_eq(hosts.n, 2);
        ck_assert_str_eq(hosts.list[0].name, "a.example");
        ck_assert_uint_eq(hosts.list[0].preference, 5);
    }
}
END_TEST

START_TEST(without_mx_the_domain_is_its_own_host_and_only_then)
{
    struct dns_hosts hosts;
    struct dns_answer answer;
    ck_assert(plan(&nodata, &hosts, &answer));
    ck_assert(hosts.implicit);
    ck_assert_uint_eq(hosts.n, 1);
    ck_assert_str_eq(hosts.list[0].name, "x.example");
    host_add(&hosts.list[0], "192.0.2.7");
    dns_plan_finish("x.example", &hosts, test_key, &answer);
    check_targets(&answer, "192.0.2.7/0");
}
END_TEST

START_TEST(a_null_mx_a_missing_domain_and_a_failure_are_told_apart)
{
    struct rdata null = {0}, both = {0};
    struct dns_hosts hosts;
    struct dns_answer answer;
    rdata_add_mx(&null, 0, "");
    ck_assert(!plan_rdata(&null, &hosts, &answer));
    check_end(&answer, DNS_BOUNCE, 556, "5.1.10", "does not accept mail");

    ck_assert(!plan(&nxdomain, &hosts, &answer));
    check_end(&answer, DNS_BOUNCE, 550, "5.1.2", "no such domain");

    ck_assert(!plan(&servfail, &hosts, &answer));
    check_end(&answer, DNS_DEFER, 0, "4.4.3", "x.example: not resolved: SERVFAIL");

    rdata_add_mx(&both, 0, "");
    rdata_add_mx(&both, 10, "mx.example"); /* null MX beside others says nothing: RFC 7505 3 */
    ck_assert(plan_rdata(&both, &hosts, &answer));
    ck_assert_uint_eq(hosts.n, 1);
}
END_TEST

START_TEST(malformed_records_defer_when_there_are_no_others_and_are_never_read_beyond)
{
    static const struct {
        uint8_t data[12];
        size_t len;
    } bad[] = {
        {{0}, 0},
        {{0}, 1},
        {{0, 10}, 2},
        {{0, 10, 3}, 3},
        {{0, 10, 3, 'a', 'b'}, 5},      /* label beyond the end */
        {{0, 10, 3, 'a', 'b', 'c'}, 6}, /* no root label */
        {{0, 10, 0xc0, 4, 0}, 5},       /* compressed */
        {{0, 10, 64, 'a', 0}, 5},       /* label over 63 */
        {{0, 10, 1, 'a', 0, 0}, 6},     /* more after the name */
        {{0, 10, 1, 'a', 0, 1, 'b'}, 7},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct rdata alone = {0}, beside = {0}, null = {0};
        struct dns_hosts hosts;
        struct dns_answer answer;
        rdata_add(&alone, bad[i].data, bad[i].len);
        ck_assert_msg(!plan_rdata(&alone, &hosts, &answer), "record %zu", i);
        check_end(&answer, DNS_DEFER, 0, "4.4.3", "malformed");
        rdata_add(&null, bad[i].data, bad[i].len);
        rdata_add_mx(&null, 0, "");
        ck_assert(!plan_rdata(&null, &hosts, &answer));
        check_end(&answer, DNS_DEFER, 0, "4.4.3", "malformed");
        rdata_add(&beside, bad[i].data, bad[i].len);
        rdata_add_mx(&beside, 5, "good.example");
        ck_assert(plan_rdata(&beside, &hosts, &answer));
        ck_assert_uint_eq(hosts.n, 1);
    }
}
END_TEST

START_TEST(names_that_no_host_has_are_passed_over)
{
    static const char *const names[] = {"a b.example", "mail\r\n.example", "*.example",
                                        ("b\xfc"
                                         "cher.example")};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct rdata alone = {0}, beside = {0};
        struct dns_hosts hosts;
        struct dns_answer answer;
        rdata_add_mx(&alone, 10, names[i]);
        ck_assert_msg(!plan_rdata(&alone, &hosts, &answer), "name %zu", i);
        check_end(&answer, DNS_BOUNCE, 550, "5.4.4", "no valid host");
        rdata_add_mx(&beside, 10, names[i]);
        rdata_add_mx(&beside, 10, "under_score.example");
        ck_assert(plan_rdata(&beside, &hosts, &answer));
        ck_assert_uint_eq(hosts.n, 1);
        ck_assert_str_eq(hosts.list[0].name, "under_score.example");
    }
}
END_TEST

/* ---- names ------------------------------------------------------------------------------- */

/* A name of `len` bytes with labels of 63 bytes and a last one that is as long as is left. */
static void long_name(char *name, size_t len)
{
    memset(name, 'a', len);
    name[len] = '\0';
    for (size_t i = 63; i < len; i += 64) {
        name[i] = '.';
    }
}

START_TEST(names_may_have_253_bytes_and_no_more)
{
    static const struct {
        size_t len;
        bool good;
    } table[] = {{1, true},   {63, true},   {65, true},  {252, true},
                 {253, true}, {254, false}, {255, false}};
    for (size_t i = 0; i < COUNT(table); i++) {
        char name[300];
        struct rdata r = {0};
        struct dns_hosts hosts;
        struct dns_answer answer;
        long_name(name, table[i].len);
        ck_assert_msg(dns_plan_domain(name, &answer) == table[i].good, "domain of %zu",
                      table[i].len);
        rdata_add_mx(&r, 1, name);
        ck_assert_msg(plan_rdata(&r, &hosts, &answer) == table[i].good, "host of %zu",
                      table[i].len);
        if (table[i].good) {
            ck_assert_str_eq(hosts.list[0].name, name);
        }
    }
}
END_TEST

START_TEST(what_dns_cannot_be_asked_for_bounces)
{
    static const struct {
        const char *domain;
        bool good;
    } table[] = {
        {"example", true},
        {"a.example", true},
        {"xn--bcher-kva.example", true},
        {"_dmarc.x", true},
        {"1.2.3.4", true},
        {"", false},
        {".", false},
        {".example", false},
        {"a..example", false},
        {"a.example.", false},
        {"a b.example", false},
        {"a\n.example", false},
        {"\xc3\xbc.example", false},
        {"=a.example", false},
        {"[192.0.2.1]", false},
    };
    char label[80];
    struct dns_answer answer;
    for (size_t i = 0; i < COUNT(table); i++) {
        ck_assert_msg(dns_plan_domain(table[i].domain, &answer) == table[i].good, "\"%s\"",
                      table[i].domain);
        if (!table[i].good) {
            check_end(&answer, DNS_BOUNCE, 550, "5.1.2", "not the name of a domain");
        }
    }
    for (size_t len = 62; len < 66; len++) {
        memset(label, 'a', len);
        label[len] = '\0';
        ck_assert_msg(dns_plan_domain(label, &answer) == (len <= 63), "label of %zu", len);
    }
}
END_TEST

/* ---- addresses --------------------------------------------------------------------------- */

START_TEST(a_host_whose_addresses_are_unknown_defers_only_when_no_other_has_one)
{
    struct dns_hosts hosts = hosts_make(2);
    struct dns_answer answer;
    dns_plan_address(&hosts.list[0], 4, &servfail, false);
    dns_plan_address(&hosts.list[0], 6, &nodata, false);
    dns_plan_address(&hosts.list[1], 4, &nxdomain, false);
    dns_plan_finish("x.example", &hosts, test_key, &answer);
    check_end(&answer, DNS_DEFER, 0, "4.4.3", "a.example: SERVFAIL");
    host_add(&hosts.list[1], "192.0.2.9");
    dns_plan_finish("x.example", &hosts, test_key, &answer);
    check_targets(&answer, "192.0.2.9/0");
    ck_assert_str_eq(answer.targets[0].host, "b.example");
}
END_TEST

START_TEST(mx_hosts_without_an_address_bounce_and_never_fall_back_to_the_domain)
{
    struct dns_hosts hosts = hosts_make(2), own;
    struct dns_answer answer;
    dns_plan_address(&hosts.list[0], 4, &nodata, false);
    dns_plan_address(&hosts.list[1], 4, &nxdomain, false);
    dns_plan_finish("x.example", &hosts, test_key, &answer);
    check_end(&answer, DNS_BOUNCE, 550, "5.4.4", "no address");
    dns_plan_implicit("x.example", &own);
    dns_plan_finish("x.example", &own, test_key, &answer);
    check_end(&answer, DNS_BOUNCE, 550, "5.1.2", "neither");
}
END_TEST

START_TEST(hosts_with_private_addresses_only_bounce_unless_they_are_permitted_or_may_have_others)
{
    const uint8_t loopback[4] = {127, 0, 0, 1};
    struct dns_hosts hosts = hosts_make(2), permitted = hosts_make(1);
    struct dns_answer answer;
    struct rdata r = {0};
    rdata_add(&r, loopback, sizeof loopback);
    const struct dns_records a = rdata_records(&r);
    dns_plan_address(&hosts.list[0], 4, &a, false);
    dns_plan_finish("x.example", &hosts, test_key, &answer);
    check_end(&answer, DNS_BOUNCE, 550, "5.4.6", "private");
    dns_plan_address(&hosts.list[1], 6, &servfail, false);
    dns_plan_finish("x.example", &hosts, test_key, &answer);
    check_end(&answer, DNS_DEFER, 0, "4.4.3", "b.example: SERVFAIL");
    dns_plan_address(&permitted.list[0], 4, &a, true);
    dns_plan_finish("x.example", &permitted, test_key, &answer);
    check_targets(&answer, "127.0.0.1/0");
    rdata_free(&r);
}
END_TEST

START_TEST(records_of_another_length_are_no_addresses_and_defer)
{
    static const size_t lengths[] = {0, 3, 5, 15, 16, 17};
    const uint8_t data[17] = {192, 0, 2, 1};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct dns_hosts hosts = hosts_make(1);
        struct dns_answer answer;
        struct rdata r = {0};
        rdata_add(&r, data, lengths[i]);
        const struct dns_records records = rdata_records(&r);
        dns_plan_address(&hosts.list[0], 4, &records, false);
        dns_plan_finish("x.example", &hosts, test_key, &answer);
        check_end(&answer, DNS_DEFER, 0, "4.4.3", "a.example: its address records are malformed");
        rdata_free(&r);
    }
}
END_TEST

START_TEST(very_many_addresses_of_a_host_are_cut)
{
    struct dns_hosts hosts = hosts_make(1);
    for (unsigned i = 0; i < 100; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "192.0.2.%u 2001:db8::%x", i, i);
        host_add(&hosts.list[0], text);
    }
    ck_assert_uint_eq(hosts.list[0].n4, DNS_ADDRESSES_MAX);
    ck_assert_uint_eq(hosts.list[0].n6, DNS_ADDRESSES_MAX);
}
END_TEST

START_TEST(texts_of_any_length_fit)
{
    char name[300];
    struct dns_hosts hosts;
    struct dns_answer answer;
    long_name(name, 253);
    const struct dns_records why = {.reply = DNS_REPLY_FAILED, .why = name};
    dns_plan_implicit(name, &hosts);
    dns_plan_address(&hosts.list[0], 4, &why, false);
    dns_plan_finish(name, &hosts, test_key, &answer);
    check_end(&answer, DNS_DEFER, 0, "4.4.3", "not resolved");
    ck_assert_uint_lt(strlen(answer.text), DNS_TEXT_MAX);
}
END_TEST

/* ---- literals ---------------------------------------------------------------------------- */

START_TEST(address_literals_are_their_own_answer)
{
    static const struct {
        const char *domain, *targets; /* null: not an address */
    } table[] = {
        {"[192.0.2.9]", "192.0.2.9/0"},
        {"[IPv6:2001:db8::9]", "2001:db8::9/0"},
        {"[ipv6:2001:db8::9]", "2001:db8::9/0"},
        {"[nonsense]", NULL},
        {"[", NULL},
        {"[]", NULL},
        {"[192.0.2.9", NULL},
        {"[192.0.2.9]x", NULL},
        {"[IPv6:192.0.2.9]", NULL},
        {"[2001:db8::9]", NULL},
        {"[IPv6:]", NULL},
        {"[IPv6:", NULL},
        {"[IPv6:1111111111111111111111111111111111111111111111111111111111111111]", NULL},
    };
    struct dns_answer answer;
    ck_assert(!dns_plan_literal("x.example", false, test_key, &answer));
    for (size_t i = 0; i < COUNT(table); i++) {
        ck_assert(dns_plan_literal(table[i].domain, false, test_key, &answer));
        if (table[i].targets) {
            check_targets(&answer, table[i].targets);
            ck_assert_str_eq(answer.targets[0].host, table[i].domain);
            ck_assert_uint_ne(answer.site_hash, 0);
        } else {
            check_end(&answer, DNS_BOUNCE, 550, "5.1.3", "not an address");
        }
    }
    ck_assert(dns_plan_literal("[127.0.0.1]", false, test_key, &answer));
    check_end(&answer, DNS_BOUNCE, 550, "5.4.6", "private");
    ck_assert(dns_plan_literal("[127.0.0.1]", true, test_key, &answer));
    check_targets(&answer, "127.0.0.1/0");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("plan");
    tcase_add_test(tc, hosts_are_ordered_by_preference_and_shuffled_within_one);
    tcase_add_test(tc, of_very_many_hosts_the_best_are_kept);
    tcase_add_test(tc, a_host_that_is_named_twice_counts_once_with_its_best_preference);
    tcase_add_test(tc, without_mx_the_domain_is_its_own_host_and_only_then);
    tcase_add_test(tc, a_null_mx_a_missing_domain_and_a_failure_are_told_apart);
    tcase_add_test(tc, malformed_records_defer_when_there_are_no_others_and_are_never_read_beyond);
    tcase_add_test(tc, names_that_no_host_has_are_passed_over);
    tcase_add_test(tc, names_may_have_253_bytes_and_no_more);
    tcase_add_test(tc, what_dns_cannot_be_asked_for_bounces);
    tcase_add_test(tc, a_host_whose_addresses_are_unknown_defers_only_when_no_other_has_one);
    tcase_add_test(tc, mx_hosts_without_an_address_bounce_and_never_fall_back_to_the_domain);
    tcase_add_test(
        tc, hosts_with_private_addresses_only_bounce_unless_they_are_permitted_or_may_have_others);
    tcase_add_test(tc, records_of_another_length_are_no_addresses_and_defer);
    tcase_add_test(tc, very_many_addresses_of_a_host_are_cut);
    tcase_add_test(tc, texts_of_any_length_fit);
    tcase_add_test(tc, address_literals_are_their_own_answer);
    return tap_run("dns", tc);
}
