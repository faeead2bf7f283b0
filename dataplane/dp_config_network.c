/* dp_config_network.c - what is on a port's link: prefixes and gateways. See dp_config.h. */
#include "dataplane/dp_config_private.h"

/* What differs between the two families for people. */
struct family {
    uint8_t number;
    const char *key, *prefix_example, *gateway_example;
};

static const struct family families[] = {
    {4, "ipv4", "an IPv4 network with its length, such as 198.51.100.0/24",
     "an IPv4 address, such as 198.51.100.1"},
    {6, "ipv6", "an IPv6 network with its length, such as 2001:db8:7::/64",
     "an IPv6 address, such as 2001:db8:7::1 or fe80::1"},
};

/* RFC 4291 2.5.6. */
static bool is_link_local(const struct ip_addr *addr)
{
    return addr->family == 6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

static void parse_prefix(struct dp_parse *p, const char *path, json_t *object,
                         const struct family *family, struct ip_prefix *ret_prefix)
{
    char text[64], child[CONFIG_PATH_MAX], wanted[IP_ADDR_TEXT_MAX];
    struct ip_prefix prefix;
    if (!config_get_text(p->errors, path, object, "prefix", true, text, sizeof text)) {
        return;
    }
    config_path_join(child, path, "prefix");
    if (!ip_prefix_parse(text, &prefix) || prefix.addr.family != family->number) {
        config_error_add(p->errors, child, "must be %s", family->prefix_example);
        return;
    }
    struct ip_range range = ip_prefix_range(&prefix);
    struct ip_addr network = ip_of_number(family->number, range.first);
    if (!ip_addr_equal(&network, &prefix.addr)) {
        config_error_add(p->errors, child, "%s has host bits set; write %s/%u", text,
                         ip_addr_format(&network, wanted), prefix.len);
        return;
    }
    *ret_prefix = prefix;
}

static void parse_gateway(struct dp_parse *p, const char *path, json_t *object,
                          const struct family *family, const struct ip_prefix *prefix,
                          struct ip_addr *ret_gateway)
{
    char text[64], child[CONFIG_PATH_MAX];
    struct ip_addr gateway;
    if (!config_get_text(p->errors, path, object, "gateway", false, text, sizeof text)) {
        return;
    }
    config_path_join(child, path, "gateway");
    if (!ip_addr_parse(text, &gateway) || gateway.family != family->number) {
        config_error_add(p->errors, child, "must be %s", family->gateway_example);
        return;
    }
    ip_number number = ip_number_of(&gateway);
    struct ip_range on_link = ip_prefix_range(prefix);
    if (prefix->addr.family != 0 && !is_link_local(&gateway) &&
        (number < on_link.first || number > on_link.last)) {
        config_error_add(p->errors, child,
                         "%s is outside of the port's prefix; name a router on the link", text);
        return;
    }
    *ret_gateway = gateway;
}

static void parse_family(struct dp_parse *p, const char *path, json_t *object,
                         const struct family *family, struct dp_network *network)
{
    static const char *const keys[] = {"prefix", "gateway", NULL};
    struct ip_prefix *prefix = family->number == 6 ? &network->prefix6 : &network->prefix4;
    struct ip_addr *gateway = family->number == 6 ? &network->gateway6 : &network->gateway4;
    if (!json_is_object(object)) {
        config_error_add(p->errors, path, "must be an object with \"prefix\" and \"gateway\"");
        return;
    }
    config_check_keys(p->errors, path, object, keys);
    parse_prefix(p, path, object, family, prefix);
    parse_gateway(p, path, object, family, prefix, gateway);
}

void config_parse_network(struct dp_parse *p, const char *path, json_t *object,
                          struct dp_network *network)
{
    char child[CONFIG_PATH_MAX];
    bool any = false;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        json_t *part = json_object_get(object, families[i].key);
        if (part) {
            any = true;
            parse_family(p, config_path_join(child, path, families[i].key), part, &families[i],
                         network);
        }
    }
    if (!any) {
        config_error_add(p->errors, path,
                         "needs the key \"ipv4\" or \"ipv6\" with the link's prefix");
    }
}
