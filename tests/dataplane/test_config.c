/* test_config.c - dp_config_parse(): what is accepted, and that each error names place and remedy.
 */
#include "dataplane/dp_config.h"
#include "tests/dataplane/tap.h"

static json_t *json_of(const char *text)
{
    json_error_t error;
    json_t *root = json_loads(text, 0, &error);
    ck_assert_msg(root != NULL, "bad test: %s in %s", error.text, text);
    return root;
}

static const struct config_error *find_error(const struct config_errors *errors, const char *path)
{
    for (size_t i = 0; i < errors->count; i++) {
        if (strcmp(errors->list[i].path, path) == 0) {
            return &errors->list[i];
        }
    }
    return NULL;
}

/* One port with %s in it, as most of the rows below need. */
#define POOLS "\"pools\": {\"acme\": {\"ehlo\": \"out-{n}.acme.example\"}}"
#define IPV4  "\"ipv4\": {\"prefix\": \"198.51.100.0/24\", \"gateway\": \"198.51.100.1\"}"
#define QUEUE "{\"queue\": 0, \"lcore\": 2, \"addresses\": {\"acme\": [\"198.51.100.10\"]}}"
#define PORT(inside)                                                                               \
    "{" POOLS                                                                                      \
    ", \"dataplane\": {\"ports\": [{\"name\": \"wan0\", \"device\": \"net_tap0\", " inside "}]}}"
#define ADDRESSES(list)                                                                            \
    PORT(IPV4 ", \"queues\": [{\"queue\": 0, \"lcore\": 2, \"addresses\": {\"acme\": " list "}}]")

#define IPV6 "\"ipv6\": {\"prefix\": \"2001:db8:7::/64\", \"gateway\": \"2001:db8:7::1\"}"
#define ADDRESSES6(list)                                                                           \
    PORT(IPV6 ", \"queues\": [{\"queue\": 0, \"lcore\": 2, \"addresses\": {\"acme\": " list "}}]")

START_TEST(the_example_of_the_manual_is_understood)
{
    json_t *root = json_of(
        "{\"hostname\": \"mta1.example.net\", \"dataplane\": {\"jobs\": 256, \"arena_mb\": 8,"
        " \"sessions\": 64, \"huge_pages\": true, \"memory_mb\": 128, \"eal\": \"--log-level=8\","
        " \"binary\": \"/usr/sbin/wirepost-dataplane\","
        " \"ports\": [{\"name\": \"wan0\", \"device\": \"0000:3b:00.0\", \"mtu\": 9000,"
        " \"mac\": \"02:00:5e:10:00:01\", " IPV4 ", \"queues\": ["
        " {\"queue\": 1, \"lcore\": 3, \"addresses\": {\"acme\": [\"198.51.100.42\"],"
        "  \"bulk\": [\"198.51.100.64/27\"]}},"
        " {\"queue\": 0, \"lcore\": 2, \"addresses\": {\"acme\":"
        "  [\"198.51.100.10-198.51.100.41\"]}}]}]},"
        " \"pools\": {\"acme\": {\"ehlo\": \"out-{n}.acme.example\"},"
        "  \"bulk\": {\"ehlo\": \"{ip}.bulk.example\"}}}");
    struct dp_config config;
    struct config_errors errors = {0};
    char buf[256];
    ck_assert(dp_config_parse(root, &config, &errors));
    ck_assert_uint_eq(config.n_ports, 1);
    ck_assert_uint_eq(config.ports[0].mtu, 9000);
    ck_assert(config.ports[0].has_mac);
    ck_assert_uint_eq(config.ports[0].mac[5], 1);
    ck_assert_uint_eq(config.ports[0].network.prefix4.len, 24);
    ck_assert_uint_eq(config.ports[0].n_queues, 2);
    ck_assert_uint_eq(config.n_lanes, 2);
    ck_assert_uint_eq(config.lanes[0].lcore, 2);
    ck_assert_uint_eq(config.lanes[1].lcore, 3);
    ck_assert_uint_eq(config.lanes[1].queue, 1);
    ck_assert_uint_eq(config.jobs_per_lane, 256);
    ck_assert_uint_eq(config.arena_bytes, 8u << 20);
    ck_assert_uint_eq(config.sessions_per_lane, 64);
    ck_assert(config.huge_pages);
    ck_assert_uint_eq(config.memory_mb, 128);
    ck_assert_str_eq(config.eal_extra, "--log-level=8");

    /* 32 of lane 0, then 1 + 30 of lane 1 (network and broadcast of the /27 left out). */
    ck_assert_uint_eq(config.n_addresses, 63);
    ck_assert_uint_eq(config.addresses[31].lane, 0);
    ck_assert_uint_eq(config.addresses[32].lane, 1);
    ck_assert_uint_eq(config.addresses[33].addr.bytes[3], 65);
    ck_assert_uint_eq(config.addresses[62].addr.bytes[3], 94);
    ck_assert_uint_eq(config.pools[0].n_addresses, 33);
    ck_assert_uint_eq(config.pools[1].n_addresses, 30);
    ck_assert(dp_pool_ehlo(&config, &config.addresses[32], buf, sizeof buf));
    ck_assert_str_eq(buf, "out-33.acme.example");
    ck_assert(dp_pool_ehlo(&config, &config.addresses[62], buf, sizeof buf));
    ck_assert_str_eq(buf, "198-51-100-94.bulk.example");
    ck_assert(!dp_pool_ehlo(&config, &config.addresses[62], buf, 10));
    dp_config_free(&config);
    json_decref(root);
}
END_TEST

static void check_one(const struct dp_config *config, uint32_t i, const char *addr,
                      const char *ehlo)
{
    char text[IP_ADDR_TEXT_MAX], name[256];
    ck_assert_uint_lt(i, config->n_addresses);
    ck_assert_str_eq(ip_addr_format(&config->addresses[i].addr, text), addr);
    ck_assert(dp_pool_ehlo(config, &config->addresses[i], name, sizeof name));
    ck_assert_str_eq(name, ehlo);
}

START_TEST(addresses_of_both_versions_stand_in_one_pool)
{
    json_t *root = json_of(
        "{\"pools\": {\"acme\": {\"ehlo\": \"m-{ip}.acme.example\"}}, \"dataplane\": {\"ports\": ["
        "{\"name\": \"wan0\", \"device\": \"net_tap0\", " IPV4
        ", \"ipv6\": {\"prefix\": \"2001:db8:7::/64\", \"gateway\": \"fe80::1\"}, \"queues\": ["
        "{\"queue\": 0, \"lcore\": 2, \"addresses\": {\"acme\": "
        "[\"2001:db8:7::fffe-2001:db8:7::1:1\","
        " \"198.51.100.10\", \"2001:db8:7::40/126\", \"2001:db8:7::50/127\"]}}]}]}}");
    struct dp_config config;
    struct config_errors errors = {0};
    ck_assert_msg(dp_config_parse(root, &config, &errors), "%s",
                  errors.count ? errors.list[0].message : "");
    ck_assert_uint_eq(config.n_addresses, 4 + 1 + 3 + 2);
    check_one(&config, 0, "2001:db8:7::fffe", "m-2001-db8-7-0-0-0-0-fffe.acme.example");
    check_one(&config, 3, "2001:db8:7::1:1", "m-2001-db8-7-0-0-0-1-1.acme.example");
    check_one(&config, 4, "198.51.100.10", "m-198-51-100-10.acme.example");
    check_one(&config, 5, "2001:db8:7::41", "m-2001-db8-7-0-0-0-0-41.acme.example");
    check_one(&config, 8, "2001:db8:7::50", "m-2001-db8-7-0-0-0-0-50.acme.example");
    ck_assert_uint_eq(config.ports[0].network.gateway6.bytes[0], 0xfe);
    ck_assert_uint_eq(config.ports[0].network.prefix6.len, 64);
    dp_config_free(&config);
    json_decref(root);
}
END_TEST

START_TEST(defaults_fill_what_is_left_out)
{
    json_t *root = json_of(ADDRESSES("[\"198.51.100.10\"]"));
    struct dp_config config;
    struct config_errors errors = {0};
    ck_assert(dp_config_parse(root, &config, &errors));
    ck_assert_uint_eq(config.jobs_per_lane, 1024);
    ck_assert_uint_eq(config.arena_bytes, 64u << 20);
    ck_assert_uint_eq(config.sessions_per_lane, 4096);
    ck_assert(!config.huge_pages);
    ck_assert_uint_eq(config.memory_mb, 256);
    ck_assert_uint_eq(config.ports[0].mtu, 1500);
    ck_assert(!config.ports[0].has_mac);
    ck_assert_uint_eq(config.ports[0].network.gateway4.bytes[3], 1);
    dp_config_free(&config);
    json_decref(root);
}
END_TEST

START_TEST(no_dataplane_means_no_lanes)
{
    json_t *root = json_of("{" POOLS "}");
    struct dp_config config;
    struct config_errors errors = {0};
    ck_assert(dp_config_parse(root, &config, &errors));
    ck_assert_uint_eq(config.n_lanes, 0);
    dp_config_free(&config);
    json_decref(root);
}
END_TEST

static const struct {
    const char *text, *path, *remedy; /* the message has `remedy` in it */
} wrong[] = {
    {"[]", "", "object"},
    {"{\"dataplane\": 1}", "/dataplane", "object"},
    {"{\"dataplane\": {}}", "/dataplane/ports", "list of 1 to 16"},
    {"{\"dataplane\": {\"ports\": []}}", "/dataplane/ports", "list of 1 to 16"},
    {"{\"dataplane\": {\"ports\": [7]}}", "/dataplane/ports/0", "object"},
    {"{\"dataplane\": {\"prots\": []}}", "/dataplane/prots", "ports"},
    {"{\"dataplane\": {\"a/b~c\": 1}}", "/dataplane/a~1b~0c", "unknown key"},
    {"{\"dataplane\": {\"jobs\": 1000}}", "/dataplane/jobs", "power of two"},
    {"{\"dataplane\": {\"jobs\": 32}}", "/dataplane/jobs", "64 to 65536"},
    {"{\"dataplane\": {\"jobs\": \"64\"}}", "/dataplane/jobs", "whole number"},
    {"{\"dataplane\": {\"arena_mb\": 0}}", "/dataplane/arena_mb", "1 to 65536"},
    {"{\"dataplane\": {\"sessions\": 1}}", "/dataplane/sessions", "16 to 65536"},
    {"{\"dataplane\": {\"memory_mb\": -1}}", "/dataplane/memory_mb", "64 to"},
    {"{\"dataplane\": {\"memory_mb\": 99999999999}}", "/dataplane/memory_mb", "64 to"},
    {"{\"dataplane\": {\"huge_pages\": 1}}", "/dataplane/huge_pages", "true or false"},
    {"{\"dataplane\": {\"eal\": \"\"}}", "/dataplane/eal", "text"},
    {"{\"pools\": []}", "/pools", "object"},
    {"{\"pools\": {\"a b\": {\"ehlo\": \"a.example\"}}}", "/pools/a b", "letters"},
    {"{\"pools\": {\"a\": {}}}", "/pools/a", "ehlo"},
    {"{\"pools\": {\"a\": 1}}", "/pools/a", "object"},
    {"{\"pools\": {\"a\": {\"ehlo\": \"m.example\", \"x\": 1}}}", "/pools/a/x", "unknown key"},
    {"{\"pools\": {\"a\": {\"ehlo\": \"localhost\"}}}", "/pools/a/ehlo", "full host name"},
    {"{\"pools\": {\"a\": {\"ehlo\": \"m{x}.example\"}}}", "/pools/a/ehlo", "{ip}"},
    {"{\"pools\": {\"a\": {\"ehlo\": \"-m.example\"}}}", "/pools/a/ehlo", "full host name"},
    {"{\"pools\": {\"a\": {\"ehlo\": \"m..example\"}}}", "/pools/a/ehlo", "full host name"},
    {"{\"pools\": {\"a\": {\"ehlo\": \"a.{n}\"}}}", "/pools/a/ehlo", "full host name"},
    {"{\"pools\": {\"a\": {\"ehlo\": \"a b.example\"}}}", "/pools/a/ehlo", "full host name"},
    {PORT("\"queues\": [" QUEUE "]"), "/dataplane/ports/0", "ipv4"},
    {PORT(IPV4), "/dataplane/ports/0/queues", "at least one queue"},
    {PORT(IPV4 ", \"queues\": [" QUEUE "], \"speed\": 1"), "/dataplane/ports/0/speed", "mtu"},
    {PORT(IPV4 ", \"queues\": [" QUEUE "], \"mtu\": 500"), "/dataplane/ports/0/mtu", "576 to 9000"},
    {PORT(IPV4 ", \"queues\": [" QUEUE "], \"mac\": \"02:00\""), "/dataplane/ports/0/mac", "six"},
    {PORT(IPV4 ", \"queues\": [" QUEUE "], \"mac\": \"01:00:00:00:00:01\""),
     "/dataplane/ports/0/mac", "even"},
    {PORT(IPV4 ", \"queues\": [" QUEUE "], \"mac\": \"00:00:00:00:00:00\""),
     "/dataplane/ports/0/mac", "02:00"},
    {PORT(IPV4 ", \"ipv6\": {\"prefix\": \"2001:db8:7::1/64\"}, \"queues\": [" QUEUE "]"),
     "/dataplane/ports/0/ipv6/prefix", "write 2001:db8:7::/64"},
    {PORT(IPV4 ", \"ipv6\": {\"prefix\": \"198.51.100.0/24\"}, \"queues\": [" QUEUE "]"),
     "/dataplane/ports/0/ipv6/prefix", "2001:db8:7::/64"},
    {PORT(IPV4 ", \"ipv6\": {\"prefix\": \"2001:db8::/129\"}, \"queues\": [" QUEUE "]"),
     "/dataplane/ports/0/ipv6/prefix", "2001:db8:7::/64"},
    {PORT(IPV4 ", \"ipv6\": {\"prefix\": \"2001:db8:7::/64\", \"gateway\": \"2001:db8:8::1\"},"
               " \"queues\": [" QUEUE "]"),
     "/dataplane/ports/0/ipv6/gateway", "outside"},
    {PORT(IPV4 ", \"ipv6\": {\"prefix\": \"2001:db8:7::/64\"}, \"mtu\": 1279, \"queues\": "
               "[" QUEUE "]"),
     "/dataplane/ports/0/mtu", "1280"},
    {PORT("\"ipv4\": {\"prefix\": \"198.51.100.7/24\"}, \"queues\": [" QUEUE "]"),
     "/dataplane/ports/0/ipv4/prefix", "write 198.51.100.0/24"},
    {PORT("\"ipv4\": {\"prefix\": \"198.51.100.0\"}, \"queues\": [" QUEUE "]"),
     "/dataplane/ports/0/ipv4/prefix", "198.51.100.0/24"},
    {PORT("\"ipv4\": {\"prefix\": \"198.51.100.0/33\"}, \"queues\": [" QUEUE "]"),
     "/dataplane/ports/0/ipv4/prefix", "198.51.100.0/24"},
    {PORT("\"ipv4\": {}, \"queues\": [" QUEUE "]"), "/dataplane/ports/0/ipv4", "prefix"},
    {PORT("\"ipv4\": {\"prefix\": \"198.51.100.0/24\", \"gateway\": \"192.0.2.1\"},"
          " \"queues\": [" QUEUE "]"),
     "/dataplane/ports/0/ipv4/gateway", "outside"},
    {PORT(IPV4 ", \"queues\": [{\"queue\": 0, \"addresses\": {\"acme\": [\"198.51.100.10\"]}}]"),
     "/dataplane/ports/0/queues/0", "lcore"},
    {PORT(IPV4 ", \"queues\": [{\"queue\": 0, \"lcore\": 2, \"addresses\": 7}]"),
     "/dataplane/ports/0/queues/0/addresses", "pool names"},
    {PORT(IPV4 ", \"queues\": [" QUEUE ", {\"queue\": 2, \"lcore\": 3, \"addresses\": {\"acme\": "
               "[\"198.51.100.11\"]}}]"),
     "/dataplane/ports/0/queues", "1 is missing"},
    {PORT(IPV4 ", \"queues\": [" QUEUE "," QUEUE "]"), "/dataplane/ports/0/queues", "each once"},
    {PORT(IPV4 ", \"queues\": [" QUEUE ", {\"queue\": 1, \"lcore\": 2, \"addresses\": {\"acme\": "
               "[\"198.51.100.11\"]}}]"),
     "/dataplane/ports/0/queues/1/lcore", "CPU 2 serves another"},
    {ADDRESSES("[]"), "/dataplane/ports/0/queues/0/addresses/acme", "at least one"},
    {ADDRESSES("\"198.51.100.10\""), "/dataplane/ports/0/queues/0/addresses/acme", "list"},
    {ADDRESSES("[7]"), "/dataplane/ports/0/queues/0/addresses/acme/0", "198.51.100.64/27"},
    {ADDRESSES("[\"mail\"]"), "/dataplane/ports/0/queues/0/addresses/acme/0", "range"},
    {ADDRESSES("[\"198.51.100.20-198.51.100.10\"]"), "/dataplane/ports/0/queues/0/addresses/acme/0",
     "range"},
    {ADDRESSES("[\"198.51.100.65/27\"]"), "/dataplane/ports/0/queues/0/addresses/acme/0", "prefix"},
    {ADDRESSES("[\"192.0.2.1\"]"), "/dataplane/ports/0/queues/0/addresses/acme/0", "outside"},
    {ADDRESSES("[\"198.51.100.255\"]"), "/dataplane/ports/0/queues/0/addresses/acme/0",
     "broadcast"},
    {ADDRESSES("[\"198.51.100.1-198.51.100.9\"]"), "/dataplane/ports/0/queues/0/addresses/acme/0",
     "gateway"},
    {ADDRESSES("[\"2001:db8:7::10\"]"), "/dataplane/ports/0/queues/0/addresses/acme/0",
     "no \"ipv6\" with a prefix"},
    {ADDRESSES6("[\"2001:db8:8::10\"]"), "/dataplane/ports/0/queues/0/addresses/acme/0", "outside"},
    {ADDRESSES6("[\"2001:db8:7::\"]"), "/dataplane/ports/0/queues/0/addresses/acme/0", "anycast"},
    {ADDRESSES6("[\"2001:db8:7::1-2001:db8:7::9\"]"),
     "/dataplane/ports/0/queues/0/addresses/acme/0", "gateway"},
    {ADDRESSES6("[\"2001:db8:7::10-198.51.100.10\"]"),
     "/dataplane/ports/0/queues/0/addresses/acme/0", "range"},
    {ADDRESSES6("[\"2001:db8:7::10-2001:db8:7::1f\", \"2001:db8:7::1f\"]"),
     "/dataplane/ports/0/queues/0/addresses/acme/1", "2001:db8:7::1f stands in"},
    {ADDRESSES6("[\"2001:db8:7::/64\"]"), "/dataplane/ports", "at most 65536"},
    {ADDRESSES6("[\"::/0\", \"::/0\"]"), "/dataplane/ports", "at most 65536"},
    {ADDRESSES("[\"198.51.100.10-198.51.100.20\", \"198.51.100.30\", \"198.51.100.15\"]"),
     "/dataplane/ports/0/queues/0/addresses/acme/2",
     "198.51.100.15 stands in /dataplane/ports/0/queues/0/addresses/acme/0"},
    {ADDRESSES("[\"0.0.0.0/1\"]"), "/dataplane/ports", "at most 65536"},
    {"{\"dataplane\": {\"ports\": [{\"name\": \"a\", \"device\": \"net_tap0\", " IPV4
     ", \"queues\": [{\"queue\": 0, \"lcore\": 0, \"addresses\": {\"nopool\": "
     "[\"198.51.100.9\"]}}]}]}}",
     "/dataplane/ports/0/queues/0/addresses/nopool", "add it to /pools"},
    {"{" POOLS ", \"dataplane\": {\"ports\": [{\"name\": \"a\", \"device\": \"net tap\", " IPV4
     ", \"queues\": [" QUEUE "]}]}}",
     "/dataplane/ports/0/device", "spaces"},
    {"{" POOLS ", \"dataplane\": {\"ports\": [{\"name\": \"a/b\", \"device\": \"net_tap0\", " IPV4
     ", \"queues\": [" QUEUE "]}]}}",
     "/dataplane/ports/0/name", "letters"},
    {"{" POOLS ", \"dataplane\": {\"ports\": [{\"name\": \"a\", \"device\": \"net_tap0\", " IPV4
     ", \"queues\": [" QUEUE "]}, {\"name\": \"a\", \"device\": \"net_tap1\"}]}}",
     "/dataplane/ports/1/name", "port 0 too"},
    {"{" POOLS ", \"dataplane\": {\"ports\": [{\"name\": \"a\", \"device\": \"net_tap0\", " IPV4
     ", \"queues\": [" QUEUE "]}, {\"name\": \"b\", \"device\": \"net_tap0\"}]}}",
     "/dataplane/ports/1/device", "port 0 too"},
};

START_TEST(each_error_names_its_place_and_the_remedy)
{
    struct dp_config config;
    struct config_errors errors = {0};
    json_t *root = json_of(wrong[_i].text);
    ck_assert_msg(!dp_config_parse(root, &config, &errors), "accepted: %s", wrong[_i].text);
    const struct config_error *error = find_error(&errors, wrong[_i].path);
    ck_assert_msg(error != NULL, "no error at %s but at %s: %s", wrong[_i].path,
                  errors.list[0].path, errors.list[0].message);
    ck_assert_msg(strstr(error->message, wrong[_i].remedy) != NULL, "%s: %s", error->path,
                  error->message);
    config_errors_free(&errors);
    dp_config_free(&config);
    json_decref(root);
}
END_TEST

START_TEST(all_errors_are_gathered_and_earlier_ones_stay)
{
    struct dp_config config;
    struct config_errors errors = {0};
    json_t *root = json_of("{\"dataplane\": {\"jobs\": 1, \"sessions\": 1, \"x\": 1}}");
    config_error_add(&errors, "/hostname", "must be %s", "there");
    ck_assert(!dp_config_parse(root, &config, &errors));
    ck_assert_uint_eq(errors.count, 5);
    ck_assert_str_eq(errors.list[0].message, "must be there");
    config_errors_free(&errors);
    dp_config_free(&config);
    json_decref(root);
}
END_TEST

START_TEST(prefixes_of_31_and_32_have_all_their_addresses)
{
    static const struct {
        const char *list;
        uint32_t n;
    } rows[] = {{"[\"198.51.100.64/30\"]", 2},
                {"[\"198.51.100.64/31\"]", 2},
                {"[\"198.51.100.64/32\"]", 1},
                {"[\"198.51.100.64/29\"]", 6}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024];
        struct dp_config config;
        struct config_errors errors = {0};
        (void)snprintf(text, sizeof text, ADDRESSES("%s"), rows[i].list);
        json_t *root = json_of(text);
        ck_assert(dp_config_parse(root, &config, &errors));
        ck_assert_uint_eq(config.n_addresses, rows[i].n);
        dp_config_free(&config);
        json_decref(root);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("config");
    tcase_add_test(tc, the_example_of_the_manual_is_understood);
    tcase_add_test(tc, addresses_of_both_versions_stand_in_one_pool);
    tcase_add_test(tc, defaults_fill_what_is_left_out);
    tcase_add_test(tc, no_dataplane_means_no_lanes);
    tcase_add_loop_test(tc, each_error_names_its_place_and_the_remedy, 0,
                        (int)(sizeof wrong / sizeof wrong[0]));
    tcase_add_test(tc, all_errors_are_gathered_and_earlier_ones_stay);
    tcase_add_test(tc, prefixes_of_31_and_32_have_all_their_addresses);
    return tap_run("config", tc);
}
