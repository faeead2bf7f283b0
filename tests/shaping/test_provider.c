/* test_provider.c - see control/provider.h. */
#include "control/provider.h"
#include "tests/dataplane/tap.h"

static const struct provider_suffix mx[] = {
    {"google.com", "gmail"},
    {"googlemail.com", "gmail"},
    {"protection.outlook.com", "microsoft365"},
    {"olc.protection.outlook.com", "outlook"},
    {"pphosted.com", "proofpoint"},
};
static const struct provider_suffix domains[] = {{"gmail.com", "gmail"},
                                                 {"hotmail.com", "outlook"}};
static struct provider_list *list;

static void make_list(void)
{
    const char *twice;
    list = provider_list_new(mx, sizeof mx / sizeof mx[0], domains,
                             sizeof domains / sizeof domains[0], &twice);
    ck_assert_ptr_nonnull(list);
}

static void free_list(void)
{
    provider_list_free(list);
}

/* n is the number of hosts before the first null. */
static const char *name_of(const char *const *hosts)
{
    static char name[PROVIDER_NAME_BYTES];
    uint32_t n = 0;
    while (hosts[n]) {
        n++;
    }
    provider_of_hosts(list, hosts, n, name);
    return name;
}

START_TEST(the_hosts_say_who_the_provider_is)
{
    static const struct {
        const char *hosts[5];
        const char *name;
    } rows[] = {
        {{"gmail-smtp-in.l.google.com", "alt1.gmail-smtp-in.l.google.com"}, "gmail"},
        {{"aspmx.l.google.com", "aspmx2.googlemail.com"}, "gmail"}, /* two suffixes, one provider */
        {{"google.com"}, "gmail"},                                  /* the suffix itself */
        {{"mx.notgoogle.com"}, "notgoogle.com"},                    /* a suffix begins at a label */
        {{"google.com.example.net"}, "example.net"},
        {{"example-com.mail.protection.outlook.com"}, "microsoft365"},
        {{"hotmail-com.olc.protection.outlook.com"}, "outlook"}, /* the longest wins */
        {{"mx1.example.co.uk", "mx2.mail.example.co.uk"}, "example.co.uk"},
        {{"a.mx.example.com"}, "example.com"},
        {{"mail.one.dyndns.org"}, "one.dyndns.org"}, /* a customer of a registry of its own */
        {{"mailhost"}, "mailhost"},
        {{"co.uk"}, "co.uk"}, /* a public suffix stands for itself */
        {{"mx.xn--bcher-kva.example"}, "xn--bcher-kva.example"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_str_eq(name_of(rows[i].hosts), rows[i].name);
    }
}
END_TEST

START_TEST(hosts_of_several_owners_are_a_set_in_whichever_order)
{
    const char *const both[] = {"aspmx.l.google.com", "mx1.example.com", NULL};
    const char *const turned[] = {"mx1.example.com", "aspmx.l.google.com", NULL};
    const char *const other[] = {"aspmx.l.google.com", "mx2.example.com", NULL};
    char name[PROVIDER_NAME_BYTES];
    (void)snprintf(name, sizeof name, "%s", name_of(both));
    ck_assert_int_eq(strncmp(name, "set:", 4), 0);
    ck_assert_uint_eq(strlen(name), 20);
    ck_assert_str_eq(name_of(turned), name);
    ck_assert_str_ne(name_of(other), name);
}
END_TEST

START_TEST(the_name_of_a_set_is_the_same_on_all_machines_and_for_ever)
{
    const char *const both[] = {"a.example", "b.example.net", NULL};
    ck_assert_str_eq(name_of(both), "set:235abefe2c7502cd");
}
END_TEST

START_TEST(a_name_that_is_too_long_for_a_provider_is_hashed)
{
    char host[80] = "mx.";
    memset(host + 3, 'a', 63);
    memcpy(host + 66, ".com", 5);
    const char *const hosts[] = {host, NULL};
    ck_assert_int_eq(strncmp(name_of(hosts), "set:", 4), 0);
    memcpy(host + 62, ".com", 5); /* 59 + 4 bytes: just fits */
    ck_assert_str_eq(name_of(hosts), host + 3);
}
END_TEST

START_TEST(a_domain_that_is_not_looked_up_has_the_provider_of_its_own_name)
{
    static const char *const rows[][2] = {
        {"gmail.com", "gmail"},
        {"hotmail.com", "outlook"},
        {"news.example.co.uk", "example.co.uk"},
        {"pphosted.com", "proofpoint"}, /* its hosts are known, so it is */
        {"example.com", "example.com"},
    };
    char name[PROVIDER_NAME_BYTES];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        provider_of_domain(list, rows[i][0], name);
        ck_assert_str_eq(name, rows[i][1]);
    }
}
END_TEST

START_TEST(an_address_is_its_own_provider_and_an_ipv6_one_its_network)
{
    static const char *const rows[][2] = {
        {"192.0.2.1", "ip:192.0.2.1"},
        {"2001:db8:1:2:3:4:5:6", "ip:2001:db8:1:2::/64"},
        {"2001:db8::1", "ip:2001:db8::/64"},
    };
    char name[PROVIDER_NAME_BYTES];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip_addr addr;
        ck_assert(ip_addr_parse(rows[i][0], &addr));
        provider_of_address(&addr, name);
        ck_assert_str_eq(name, rows[i][1]);
    }
}
END_TEST

START_TEST(a_suffix_that_two_providers_have_is_refused)
{
    const struct provider_suffix two[] = {
        {"b.example", "b"}, {"a.example", "a"}, {"b.example", "c"}};
    const char *twice = NULL;
    ck_assert_ptr_null(provider_list_new(two, 3, NULL, 0, &twice));
    ck_assert_str_eq(twice, "b.example");
    twice = NULL;
    ck_assert_ptr_null(provider_list_new(NULL, 0, two, 3, &twice));
    ck_assert_str_eq(twice, "b.example");
}
END_TEST

START_TEST(without_suffixes_all_providers_are_registrable_domains)
{
    const char *twice;
    struct provider_list *none = provider_list_new(NULL, 0, NULL, 0, &twice);
    const char *const hosts[] = {"aspmx.l.google.com"};
    char name[PROVIDER_NAME_BYTES];
    ck_assert_ptr_nonnull(none);
    provider_of_hosts(none, hosts, 1, name);
    ck_assert_str_eq(name, "google.com");
    provider_list_free(none);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("provider");
    tcase_add_checked_fixture(tc, make_list, free_list);
    tcase_add_test(tc, the_hosts_say_who_the_provider_is);
    tcase_add_test(tc, hosts_of_several_owners_are_a_set_in_whichever_order);
    tcase_add_test(tc, the_name_of_a_set_is_the_same_on_all_machines_and_for_ever);
    tcase_add_test(tc, a_name_that_is_too_long_for_a_provider_is_hashed);
    tcase_add_test(tc, a_domain_that_is_not_looked_up_has_the_provider_of_its_own_name);
    tcase_add_test(tc, an_address_is_its_own_provider_and_an_ipv6_one_its_network);
    tcase_add_test(tc, a_suffix_that_two_providers_have_is_refused);
    tcase_add_test(tc, without_suffixes_all_providers_are_registrable_domains);
    return tap_run("provider", tc);
}
