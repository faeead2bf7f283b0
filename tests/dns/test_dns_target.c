/* test_dns_target.c - which addresses are tried, in which order, and which domains are one site. */
#include "tests/dataplane/tap.h"
#include "tests/dns/records.h"

START_TEST(private_addresses_are_known_in_all_their_forms_and_documentation_ones_are_not_private)
{
    static const struct {
        const char *text;
        bool private;
    } table[] = {
        {"0.1.2.3", true},
        {"1.0.0.0", false},
        {"9.255.255.255", false},
        {"10.0.0.0", true},
        {"10.255.255.255", true},
        {"11.0.0.0", false},
        {"100.63.255.255", false},
        {"100.64.0.1", true},
        {"100.127.255.255", true},
        {"100.128.0.1", false},
        {"126.255.255.255", false},
        {"127.0.0.1", true},
        {"128.0.0.1", false},
        {"169.253.255.255", false},
        {"169.254.1.1", true},
        {"169.255.0.0", false},
        {"172.15.255.255", false},
        {"172.16.0.1", true},
        {"172.31.255.255", true},
        {"172.32.0.1", false},
        {"192.167.255.255", false},
        {"192.168.1.1", true},
        {"192.169.0.0", false},
        {"223.255.255.255", false},
        {"224.0.0.1", true},
        {"240.0.0.1", true},
        {"255.255.255.255", true},
        {"192.0.2.1", false},
        {"198.51.100.7", false},
        {"203.0.113.9", false},
        {"198.18.0.1", false},
        {"8.8.8.8", false},
        {"::", true},
        {"::1", true},
        {"::8.8.8.8", true},
        {"::ffff:10.0.0.1", true},
        {"::ffff:192.0.2.1", false},
        {"64:ff9b::10.0.0.1", true},
        {"64:ff9b::192.0.2.1", false},
        {"64:ff9b:1::192.0.2.1", true},
        {"64:ff9b:2::1", false},
        {"100::1", true},
        {"100:0:0:1::1", false},
        {"2002:a00:1::1", true},
        {"2002:c000:201::1", false},
        {"2001:db8::1", false},
        {"2a00:1450:4001::1a", false},
        {"fbff::1", false},
        {"fc00::1", true},
        {"fdff::1", true},
        {"fe00::1", false},
        {"fe7f::1", false},
        {"fe80::1", true},
        {"febf::1", true},
        {"fec0::1", true},
        {"ff02::1", true},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct ip_addr addr;
        ck_assert(ip_addr_parse(table[i].text, &addr));
        ck_assert_msg(dns_is_private(&addr) == table[i].private, "%s", table[i].text);
    }
}
END_TEST

/* ---- order and places -------------------------------------------------------------------- */

#define FOUR(n) "192.0.2." #n
#define SIX(n)  "2001:db8::" #n
#define EIGHT(h)                                                                                   \
    FOUR(h##1)                                                                                     \
    " " FOUR(h##2) " " FOUR(h##3) " " FOUR(h##4) " " FOUR(h##5) " " FOUR(h##6) " " FOUR(           \
        h##7) " " FOUR(h##8)
#define EIGHT6(h)                                                                                  \
    SIX(h##1)                                                                                      \
    " " SIX(h##2) " " SIX(h##3) " " SIX(h##4) " " SIX(h##5) " " SIX(h##6) " " SIX(h##7) " " SIX(   \
        h##8)

START_TEST(places_are_shared_so_that_no_host_and_no_ip_version_hides_another)
{
    static const struct {
        const char *what;
        struct {
            uint16_t preference;
            const char *addresses; /* null: no more hosts; "": it has none */
        } hosts[10];
        const char *targets;
    } table[] = {
        {"the addresses of a host are together, IPv4 first",
         {{10, "2001:db8::1 192.0.2.1"}, {20, "192.0.2.2 2001:db8::2"}},
         "192.0.2.1/0 2001:db8::1/0 192.0.2.2/1 2001:db8::2/1"},
        {"ranks are those of hosts with addresses",
         {{0, ""},
          {10, "192.0.2.1"},
          {10, "192.0.2.2"},
          {15, ""},
          {20, "192.0.2.3"},
          {65535, "192.0.2.4"}},
         "192.0.2.1/0 192.0.2.2/0 192.0.2.3/1 192.0.2.4/2"},
        {"an address is tried once, where it is best",
         {{10, "192.0.2.1 192.0.2.1"}, {20, "192.0.2.2 192.0.2.1"}},
         "192.0.2.1/0 192.0.2.2/1"},
        {"a host alone has all places",
         {{10, EIGHT(1) " " FOUR(19)}},
         "192.0.2.11/0 192.0.2.12/0 192.0.2.13/0 192.0.2.14/0 192.0.2.15/0 192.0.2.16/0 "
         "192.0.2.17/0 192.0.2.18/0"},
        {"a large host leaves a place for each of the others",
         {{10, EIGHT(1)}, {20, EIGHT(2)}, {30, "192.0.2.31"}},
         "192.0.2.11/0 192.0.2.12/0 192.0.2.13/0 192.0.2.14/0 192.0.2.15/0 192.0.2.16/0 "
         "192.0.2.21/1 192.0.2.31/2"},
        {"of more hosts than places the best have one each",
         {{1, EIGHT(1)},
          {2, EIGHT(2)},
          {3, "192.0.2.31"},
          {4, "192.0.2.41"},
          {5, "192.0.2.51"},
          {6, "192.0.2.61"},
          {7, "192.0.2.71"},
          {8, "192.0.2.81"},
          {9, "192.0.2.91"}},
         "192.0.2.11/0 192.0.2.21/1 192.0.2.31/2 192.0.2.41/3 192.0.2.51/4 192.0.2.61/5 "
         "192.0.2.71/6 192.0.2.81/7"},
        {"IPv6 has the places that IPv4 leaves",
         {{10, "192.0.2.11 " EIGHT6(1)}, {20, "192.0.2.21 192.0.2.22 " EIGHT6(2)}},
         "192.0.2.11/0 2001:db8::11/0 2001:db8::12/0 2001:db8::13/0 2001:db8::14/0 2001:db8::15/0 "
         "192.0.2.21/1 192.0.2.22/1"},
        {"IPv6 of the best host gives way to all IPv4",
         {{10, EIGHT6(1)}, {20, EIGHT(2)}},
         "192.0.2.21/1 192.0.2.22/1 192.0.2.23/1 192.0.2.24/1 192.0.2.25/1 192.0.2.26/1 "
         "192.0.2.27/1 192.0.2.28/1"},
        {"hosts with IPv6 only share as well",
         {{10, EIGHT6(1)}, {20, EIGHT6(2)}, {30, "2001:db8::31"}},
         "2001:db8::11/0 2001:db8::12/0 2001:db8::13/0 2001:db8::14/0 2001:db8::15/0 "
         "2001:db8::16/0 2001:db8::21/1 2001:db8::31/2"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct dns_answer answer = {.status = DNS_OK};
        struct dns_hosts hosts = hosts_make(COUNT(table[i].hosts));
        for (hosts.n = 0; hosts.n < COUNT(table[i].hosts) && table[i].hosts[hosts.n].addresses;
             hosts.n++) {
            struct dns_host *host = &hosts.list[hosts.n];
            host->preference = table[i].hosts[hosts.n].preference;
            if (table[i].hosts[hosts.n].addresses[0] != '\0') {
                host_add(host, table[i].hosts[hosts.n].addresses);
            }
        }
        dns_targets_fill(&hosts, test_key, &answer);
        check_targets(&answer, table[i].targets);
    }
}
END_TEST

START_TEST(nothing_to_try_is_no_site)
{
    struct dns_answer answer = {.status = DNS_OK};
    struct dns_hosts hosts = hosts_make(3);
    dns_targets_fill(&hosts, test_key, &answer);
    ck_assert_uint_eq(answer.n_targets, 0);
    ck_assert_uint_eq(answer.site_hash, 0);
}
END_TEST

/* ---- sites ------------------------------------------------------------------------------- */

static uint32_t site_of(const char *const *addresses, const uint16_t *preferences, uint32_t n,
                        const uint8_t key[DNS_KEY_BYTES])
{
    struct dns_answer answer = {.status = DNS_OK};
    struct dns_hosts hosts = hosts_make(n);
    for (uint32_t i = 0; i < n; i++) {
        hosts.list[i].preference = preferences[i];
        host_add(&hosts.list[i], addresses[i]);
    }
    dns_targets_fill(&hosts, key, &answer);
    return answer.site_hash;
}

START_TEST(domains_with_the_same_hosts_in_the_same_order_are_one_site)
{
    static const uint16_t equal[] = {10, 10, 10}, rising[] = {10, 20, 30}, other[] = {1, 2, 500};
    static const char *const forth[] = {EIGHT(1), EIGHT(2), "192.0.2.3 2001:db8::3"};
    static const char *const back[] = {"2001:db8::3 192.0.2.3", EIGHT(2), EIGHT(1)};
    static const char *const twice[] = {EIGHT(1), EIGHT(2) " 192.0.2.11",
                                        "192.0.2.3 192.0.2.3 2001:db8::3"};
    static const char *const fewer[] = {EIGHT(1), EIGHT(2), "192.0.2.3"};
    uint8_t key[DNS_KEY_BYTES] = "another key";
    uint32_t site = site_of(forth, equal, 3, test_key),
             ordered = site_of(forth, rising, 3, test_key);
    ck_assert_uint_ne(site, 0);
    ck_assert_uint_eq(site_of(back, equal, 3, test_key), site); /* shuffled */
    ck_assert_uint_eq(site_of(twice, equal, 3, test_key), site);
    ck_assert_uint_ne(site_of(fewer, equal, 3, test_key), site); /* also beyond eight addresses */
    ck_assert_uint_ne(ordered, site);
    ck_assert_uint_eq(site_of(forth, other, 3, test_key), ordered); /* only the order counts */
    ck_assert_uint_ne(site_of(back, rising, 3, test_key), ordered);
    ck_assert_uint_ne(site_of(forth, equal, 3, key), site);
}
END_TEST

START_TEST(sites_cannot_be_made_equal_by_shifting_parts_between_addresses)
{
    static const uint16_t equal[] = {10, 10};
    static const char *const a[] = {"192.0.2.1", "198.51.100.2"}, *const b[] = {"192.0.2.2",
                                                                                "198.51.100.1"};
    static const char *const four[] = {"192.0.2.1"}, *const six[] = {"c000:201::"};
    ck_assert_uint_ne(site_of(a, equal, 2, test_key), site_of(b, equal, 2, test_key));
    ck_assert_uint_ne(site_of(four, equal, 1, test_key), site_of(six, equal, 1, test_key));
}
END_TEST

/* ---- the shuffle ------------------------------------------------------------------------- */

START_TEST(hosts_of_one_rank_come_first_equally_often_with_their_addresses_together)
{
    struct dns_answer answer = {.status = DNS_OK};
    struct dns_hosts hosts = hosts_make(4);
    uint64_t random = 7;
    uint32_t first[3] = {0};
    host_add(&hosts.list[0], "192.0.2.11 192.0.2.12 2001:db8::13");
    host_add(&hosts.list[1], "192.0.2.21");
    host_add(&hosts.list[2], "192.0.2.31");
    host_add(&hosts.list[3], "192.0.2.41");
    hosts.list[3].preference = 20;
    dns_targets_fill(&hosts, test_key, &answer);
    for (unsigned i = 0; i < 3000; i++) {
        dns_targets_shuffle(&answer, &random);
        ck_assert_uint_eq(answer.n_targets, 6);
        ck_assert_str_eq(answer.targets[5].host, "d.example");
        first[answer.targets[0].host[0] - 'a']++;
        uint32_t at = 0;
        while (answer.targets[at].host[0] != 'a') {
            at++;
        }
        ck_assert_uint_le(at, 2);
        ck_assert_uint_eq(answer.targets[at].addr.bytes[3], 11);
        ck_assert_uint_eq(answer.targets[at + 1].addr.bytes[3], 12);
        ck_assert_uint_eq(answer.targets[at + 2].addr.family, 6);
    }
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_msg(first[i] > 850 && first[i] < 1150, "host %u: %u of 3000", i, first[i]);
    }
}
END_TEST

START_TEST(the_order_of_the_same_seed_is_the_same)
{
    struct dns_answer a = {.status = DNS_OK}, b;
    struct dns_hosts hosts = hosts_make(3);
    uint64_t one = 99, two = 99;
    host_add(&hosts.list[0], "192.0.2.1");
    host_add(&hosts.list[1], "192.0.2.2");
    host_add(&hosts.list[2], "192.0.2.3");
    dns_targets_fill(&hosts, test_key, &a);
    dns_answer_copy(&b, &a);
    for (unsigned i = 0; i < 100; i++) {
        dns_targets_shuffle(&a, &one);
        dns_targets_shuffle(&b, &two);
        for (uint32_t k = 0; k < 3; k++) {
            ck_assert_str_eq(a.targets[k].host, b.targets[k].host);
        }
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("target");
    tcase_add_test(
        tc, private_addresses_are_known_in_all_their_forms_and_documentation_ones_are_not_private);
    tcase_add_test(tc, places_are_shared_so_that_no_host_and_no_ip_version_hides_another);
    tcase_add_test(tc, nothing_to_try_is_no_site);
    tcase_add_test(tc, domains_with_the_same_hosts_in_the_same_order_are_one_site);
    tcase_add_test(tc, sites_cannot_be_made_equal_by_shifting_parts_between_addresses);
    tcase_add_test(tc, hosts_of_one_rank_come_first_equally_often_with_their_addresses_together);
    tcase_add_test(tc, the_order_of_the_same_seed_is_the_same);
    return tap_run("dns", tc);
}
