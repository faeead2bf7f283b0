/* test_dns_plan.c - what the answers of DNS mean for mail: RFC 5321 5.1, RFC 7505. */
#include "control/dns_private.h"
#include "tests/dataplane/tap.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/* ---- making records ---------------------------------------------------------------------- */

struct rdata {
    uint8_t data[32][300];
    const uint8_t *pointers[32];
    size_t len[32];
    uint32_t n;
};

static size_t put_name(uint8_t *at, const char *name)
{
    size_t used = 0;
    while (*name) {
        const char *dot = strchr(name, '.');
        size_t label = dot ? (size_t)(dot - name) : strlen(name);
        at[used++] = (uint8_t)label;
        memcpy(at + used, name, label);
        used += label;
        name += label + (dot ? 1 : 0);
    }
    at[used++] = 0;
    return used;
}

static void add_raw(struct rdata *r, const void *data, size_t len)
{
    memcpy(r->data[r->n], data, len);
    r->pointers[r->n] = r->data[r->n];
    r->len[r->n++] = len;
}

static void add_mx(struct rdata *r, uint16_t preference, const char *name)
{
    uint8_t data[300];
    be16_put(data, preference);
    add_raw(r, data, 2 + put_name(data + 2, name));
}

static struct dns_records records(const struct rdata *r)
{
    return (struct dns_records){
        .reply = DNS_REPLY_DATA, .data = r->pointers, .len = r->len, .n = r->n};
}

static const struct dns_records nodata = {.reply = DNS_REPLY_NODATA};
static const struct dns_records nxdomain = {.reply = DNS_REPLY_NXDOMAIN};
static const struct dns_records servfail = {.reply = DNS_REPLY_FAILED, .why = "SERVFAIL"};

static void set_a(struct dns_host *host, uint8_t last)
{
    const uint8_t data[4] = {192, 0, 2, last};
    struct rdata r = {0};
    add_raw(&r, data, sizeof data);
    struct dns_records a = records(&r);
    dns_plan_address(host, 4, &a, false);
}

/* ---- MX ---------------------------------------------------------------------------------- */

START_TEST(hosts_are_ordered_by_preference_and_shuffled_within_one)
{
    uint64_t random = 1;
    uint32_t first_b = 0;
    for (int i = 0; i < 200; i++) {
        struct rdata r = {0};
        struct dns_hosts hosts;
        struct dns_answer answer;
        add_mx(&r, 20, "late.example");
        add_mx(&r, 10, "a.example");
        add_mx(&r, 10, "b.example");
        add_mx(&r, 5, "FIRST.example");
        struct dns_records mx = records(&r);
        ck_assert(dns_plan_mx("x.example", &mx, &random, &hosts, &answer));
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
    struct rdata r = {0};
    struct dns_hosts hosts;
    struct dns_answer answer;
    uint64_t random = 7;
    for (int i = 0; i < 32; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mx%d.example", i);
        add_mx(&r, (uint16_t)(32 - i), name);
    }
    struct dns_records mx = records(&r);
    ck_assert(dns_plan_mx("x.example", &mx, &random, &hosts, &answer));
    ck_assert_uint_eq(hosts.n, DNS_HOSTS_MAX);
    ck_assert_str_eq(hosts.list[0].name, "mx31.example");
    ck_assert_str_eq(hosts.list[DNS_HOSTS_MAX - 1].name, "mx16.example");
}
END_TEST

START_TEST(without_mx_the_domain_is_its_own_host_and_only_then)
{
    struct dns_hosts hosts;
    struct dns_answer answer;
    uint64_t random = 1;
    ck_assert(dns_plan_mx("x.example", &nodata, &random, &hosts, &answer));
    ck_assert(hosts.implicit);
    ck_assert_str_eq(hosts.list[0].name, "x.example");
    set_a(&hosts.list[0], 7);
    dns_plan_finish("x.example", &hosts, &answer);
    ck_assert_int_eq(answer.status, DNS_OK);
    ck_assert_uint_eq(answer.n_targets, 1);
}
END_TEST

static void check_end(const struct dns_answer *answer, enum dns_status status, unsigned code,
                      const char *enhanced, const char *word)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%u.%u.%u", answer->enhanced[0], answer->enhanced[1],
                   answer->enhanced[2]);
    ck_assert_int_eq(answer->status, status);
    ck_assert_uint_eq(answer->code, code);
    ck_assert_str_eq(text, enhanced);
    ck_assert_msg(strstr(answer->text, word) != NULL, "\"%s\" is not in \"%s\"", word,
                  answer->text);
}

START_TEST(a_null_mx_a_missing_domain_and_a_failure_are_told_apart)
{
    struct rdata null = {0}, both = {0};
    struct dns_hosts hosts;
    struct dns_answer answer;
    uint64_t random = 1;
    add_mx(&null, 0, "");
    struct dns_records mx = records(&null);
    ck_assert(!dns_plan_mx("x.example", &mx, &random, &hosts, &answer));
    check_end(&answer, DNS_BOUNCE, 556, "5.1.10", "does not accept mail");

    ck_assert(!dns_plan_mx("x.example", &nxdomain, &random, &hosts, &answer));
    check_end(&answer, DNS_BOUNCE, 550, "5.1.2", "no such domain");

    ck_assert(!dns_plan_mx("x.example", &servfail, &random, &hosts, &answer));
    check_end(&answer, DNS_DEFER, 0, "4.4.3", "SERVFAIL");

    add_mx(&both, 0, "");
    add_mx(&both, 10, "mx.example"); /* null MX beside others says nothing: RFC 7505 3 */
    mx = records(&both);
    ck_assert(dns_plan_mx("x.example", &mx, &random, &hosts, &answer));
    ck_assert_uint_eq(hosts.n, 1);
}
END_TEST

START_TEST(malformed_records_are_passed_over_and_never_read_beyond)
{
    static const struct {
        uint8_t data[12];
        size_t len;
    } bad[] = {
        {{0}, 0},
        {{0, 10}, 2},
        {{0, 10, 3, 'a', 'b'}, 5},         /* label beyond the end */
        {{0, 10, 3, 'a', 'b', 'c'}, 6},    /* no root label */
        {{0, 10, 0xc0, 4, 0}, 5},          /* compressed */
        {{0, 10, 64, 'a', 0}, 5},          /* label over 63 */
        {{0, 10, 3, 'a', ' ', 'b', 0}, 7}, /* no host name */
        {{0, 10, 3, 'a', '\r', '\n', 0}, 7},
    };
    uint64_t random = 1;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct rdata r = {0};
        struct dns_hosts hosts;
        struct dns_answer answer;
        uint8_t *exact = malloc(bad[i].len ? bad[i].len : 1); /* so that ASan sees the end */
        memcpy(exact, bad[i].data, bad[i].len);
        add_raw(&r, bad[i].data, bad[i].len);
        r.pointers[0] = exact;
        struct dns_records mx = records(&r);
        ck_assert_msg(!dns_plan_mx("x.example", &mx, &random, &hosts, &answer), "record %zu", i);
        check_end(&answer, DNS_BOUNCE, 550, "5.4.4", "no valid host");
        add_mx(&r, 5, "good.example");
        mx = records(&r);
        ck_assert(dns_plan_mx("x.example", &mx, &random, &hosts, &answer));
        ck_assert_uint_eq(hosts.n, 1);
        free(exact);
    }
}
END_TEST

/* ---- addresses --------------------------------------------------------------------------- */

static struct dns_hosts two_hosts(void)
{
    struct dns_hosts hosts = {.n = 2};
    (void)snprintf(hosts.list[0].name, sizeof hosts.list[0].name, "a.example");
    (void)snprintf(hosts.list[1].name, sizeof hosts.list[1].name, "b.example");
    return hosts;
}

START_TEST(a_host_whose_addresses_are_unknown_defers_only_when_no_other_has_one)
{
    struct dns_hosts hosts = two_hosts();
    struct dns_answer answer;
    dns_plan_address(&hosts.list[0], 4, &servfail, false);
    dns_plan_finish("x.example", &hosts, &answer);
    check_end(&answer, DNS_DEFER, 0, "4.4.3", "a.example: SERVFAIL");
    set_a(&hosts.list[1], 9);
    dns_plan_finish("x.example", &hosts, &answer);
    ck_assert_int_eq(answer.status, DNS_OK);
    ck_assert_str_eq(answer.targets[0].host, "b.example");
}
END_TEST

START_TEST(mx_hosts_without_an_address_bounce_and_never_fall_back_to_the_domain)
{
    struct dns_hosts hosts = two_hosts(), own = {.n = 1, .implicit = true};
    struct dns_answer answer;
    dns_plan_address(&hosts.list[0], 4, &nodata, false);
    dns_plan_address(&hosts.list[1], 4, &nxdomain, false);
    dns_plan_finish("x.example", &hosts, &answer);
    check_end(&answer, DNS_BOUNCE, 550, "5.4.4", "no address");
    dns_plan_finish("x.example", &own, &answer);
    check_end(&answer, DNS_BOUNCE, 550, "5.1.2", "neither");
}
END_TEST

START_TEST(private_addresses_are_refused_and_documentation_ones_are_not)
{
    static const struct {
        const char *text;
        bool refused;
    } table[] = {
        {"127.0.0.1", true},
        {"10.1.2.3", true},
        {"172.16.0.1", true},
        {"172.31.255.255", true},
        {"172.32.0.1", false},
        {"192.168.1.1", true},
        {"169.254.1.1", true},
        {"0.1.2.3", true},
        {"100.64.0.1", true},
        {"100.128.0.1", false},
        {"224.0.0.1", true},
        {"255.255.255.255", true},
        {"192.0.2.1", false},
        {"198.51.100.7", false},
        {"203.0.113.9", false},
        {"8.8.8.8", false},
        {"::1", true},
        {"::", true},
        {"fe80::1", true},
        {"fd00::1", true},
        {"ff02::1", true},
        {"2001:db8::1", false},
        {"::ffff:10.0.0.1", true},
        {"::ffff:192.0.2.1", false},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct ip_addr addr;
        ck_assert(ip_addr_parse(table[i].text, &addr));
        ck_assert_msg(dns_is_private(&addr) == table[i].refused, "%s", table[i].text);
    }
    struct dns_hosts hosts = two_hosts();
    struct dns_answer answer;
    const uint8_t loopback[4] = {127, 0, 0, 1};
    struct rdata r = {0};
    add_raw(&r, loopback, 4);
    struct dns_records a = records(&r);
    dns_plan_address(&hosts.list[0], 4, &a, false);
    dns_plan_finish("x.example", &hosts, &answer);
    check_end(&answer, DNS_BOUNCE, 550, "5.4.6", "private");
    dns_plan_address(&hosts.list[0], 4, &a, true);
    dns_plan_finish("x.example", &hosts, &answer);
    ck_assert_int_eq(answer.status, DNS_OK);
}
END_TEST

START_TEST(ipv6_never_crowds_ipv4_out)
{
    struct dns_hosts hosts = two_hosts();
    struct dns_answer answer;
    for (uint8_t i = 0; i < DNS_ADDRESSES_MAX; i++) {
        struct rdata r = {0};
        const uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)(i + 1)};
        add_raw(&r, six, 16);
        struct dns_records aaaa = records(&r);
        dns_plan_address(&hosts.list[0], 6, &aaaa, false);
    }
    set_a(&hosts.list[1], 1);
    set_a(&hosts.list[1], 2);
    dns_plan_finish("x.example", &hosts, &answer);
    uint32_t four = 0;
    for (uint32_t i = 0; i < answer.n_targets; i++) {
        four += answer.targets[i].addr.family == 4;
    }
    ck_assert_uint_eq(answer.n_targets, CHAN_TARGET_MAX);
    ck_assert_uint_eq(four, 2);
}
END_TEST

START_TEST(records_of_another_length_are_no_addresses)
{
    static const size_t lengths[] = {0, 3, 5, 15, 16, 17};
    uint8_t data[17] = {192, 0, 2, 1};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct dns_hosts hosts = two_hosts();
        struct rdata r = {0};
        add_raw(&r, data, lengths[i]);
        struct dns_records a = records(&r);
        dns_plan_address(&hosts.list[0], 4, &a, false);
        ck_assert_uint_eq(hosts.list[0].n4, 0);
    }
}
END_TEST

START_TEST(domains_with_the_same_targets_are_one_site)
{
    struct dns_hosts one = two_hosts(), other = two_hosts();
    struct dns_answer a, b;
    set_a(&one.list[0], 1);
    set_a(&one.list[1], 2);
    set_a(&other.list[0], 2);
    set_a(&other.list[1], 1);
    dns_plan_finish("x.example", &one, &a);
    dns_plan_finish("y.example", &other, &b);
    ck_assert_uint_eq(a.site_hash, b.site_hash);
    ck_assert_uint_ne(a.site_hash, 0);
    set_a(&other.list[1], 3);
    dns_plan_finish("y.example", &other, &b);
    ck_assert_uint_ne(a.site_hash, b.site_hash);
}
END_TEST

START_TEST(address_literals_are_their_own_answer)
{
    struct dns_answer answer;
    ck_assert(!dns_plan_literal("x.example", false, &answer));
    ck_assert(dns_plan_literal("[192.0.2.9]", false, &answer));
    ck_assert_int_eq(answer.status, DNS_OK);
    ck_assert_str_eq(answer.targets[0].host, "[192.0.2.9]");
    ck_assert(dns_plan_literal("[IPv6:2001:db8::9]", false, &answer));
    ck_assert_uint_eq(answer.targets[0].addr.family, 6);
    ck_assert(dns_plan_literal("[127.0.0.1]", false, &answer));
    check_end(&answer, DNS_BOUNCE, 550, "5.4.6", "private");
    ck_assert(dns_plan_literal("[nonsense]", false, &answer));
    check_end(&answer, DNS_BOUNCE, 550, "5.1.3", "not an address");
}
END_TEST

/* ---- cache ------------------------------------------------------------------------------- */

START_TEST(the_cache_forgets_by_time_and_the_oldest_when_full)
{
    struct dns_cache *cache = dns_cache_new(3);
    static const char *const names[] = {"a", "b", "c", "d"};
    struct dns_answer answer = {.status = DNS_OK, .n_targets = 1};
    ck_assert_ptr_nonnull(cache);
    for (uint16_t i = 0; i < 3; i++) {
        answer.code = i;
        dns_cache_put(cache, names[i], &answer, 100);
    }
    ck_assert_uint_eq(dns_cache_get(cache, "b", 99)->code, 1);
    ck_assert_ptr_null(dns_cache_get(cache, "b", 100));
    answer.code = 9;
    dns_cache_put(cache, "b", &answer, 200); /* anew, in its place */
    ck_assert_uint_eq(dns_cache_get(cache, "b", 150)->code, 9);
    ck_assert_uint_eq(dns_cache_count(cache), 3);
    dns_cache_put(cache, "d", &answer, 200);
    ck_assert_ptr_null(dns_cache_get(cache, "a", 50));
    ck_assert_ptr_nonnull(dns_cache_get(cache, "d", 50));
    ck_assert_uint_eq(dns_cache_count(cache), 3);
    dns_cache_free(cache);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("dns");
    tcase_add_test(tc, hosts_are_ordered_by_preference_and_shuffled_within_one);
    tcase_add_test(tc, of_very_many_hosts_the_best_are_kept);
    tcase_add_test(tc, without_mx_the_domain_is_its_own_host_and_only_then);
    tcase_add_test(tc, a_null_mx_a_missing_domain_and_a_failure_are_told_apart);
    tcase_add_test(tc, malformed_records_are_passed_over_and_never_read_beyond);
    tcase_add_test(tc, a_host_whose_addresses_are_unknown_defers_only_when_no_other_has_one);
    tcase_add_test(tc, mx_hosts_without_an_address_bounce_and_never_fall_back_to_the_domain);
    tcase_add_test(tc, private_addresses_are_refused_and_documentation_ones_are_not);
    tcase_add_test(tc, ipv6_never_crowds_ipv4_out);
    tcase_add_test(tc, records_of_another_length_are_no_addresses);
    tcase_add_test(tc, domains_with_the_same_targets_are_one_site);
    tcase_add_test(tc, address_literals_are_their_own_answer);
    tcase_add_test(tc, the_cache_forgets_by_time_and_the_oldest_when_full);
    return tap_run("dns", tc);
}
