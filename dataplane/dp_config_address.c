/*
 * dp_config_address.c - lists of source addresses: parsed into ranges, checked for overlaps, then
 * expanded. Ranges are checked before anything is expanded, so a typing error such as /8 costs
 * nothing. See dp_config.h.
 */
#include "dataplane/dp_config_private.h"

uint32_t config_mask4(uint8_t prefix_len)
{
    return prefix_len == 0 ? 0 : UINT32_MAX << (32 - prefix_len);
}

uint32_t config_addr4(const struct ip_addr *addr)
{
    return be32_get(addr->bytes);
}

struct ip_addr config_ip4(uint32_t host_order)
{
    struct ip_addr addr = {.family = 4};
    be32_put(addr.bytes, host_order);
    return addr;
}

static bool parse_ip4(const char *text, size_t len, uint32_t *ret_addr)
{
    char copy[IP_ADDR_TEXT_MAX];
    struct ip_addr addr;
    if (len >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (!ip_addr_parse(copy, &addr) || addr.family != 4) {
        return false;
    }
    *ret_addr = config_addr4(&addr);
    return true;
}

bool config_parse_prefix4(const char *text, uint32_t *ret_network, uint8_t *ret_len)
{
    const char *slash = strchr(text, '/');
    uint32_t len = 0;
    if (!slash || !parse_ip4(text, (size_t)(slash - text), ret_network)) {
        return false;
    }
    size_t digits = strspn(slash + 1, "0123456789");
    if (digits == 0 || digits > 2 || slash[1 + digits] != '\0') {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        len = len * 10 + (uint32_t)(slash[1 + i] - '0');
    }
    *ret_len = (uint8_t)len;
    return len <= 32;
}

/* One text: an address, a range or a prefix. False: none of them. */
static bool parse_range(const char *text, uint32_t *ret_first, uint32_t *ret_last)
{
    const char *dash = strchr(text, '-');
    uint8_t len;
    if (dash) {
        return parse_ip4(text, (size_t)(dash - text), ret_first) &&
               parse_ip4(dash + 1, strlen(dash + 1), ret_last) && *ret_first <= *ret_last;
    }
    if (!strchr(text, '/')) {
        *ret_first = 0;
        bool good = parse_ip4(text, strlen(text), ret_first);
        *ret_last = *ret_first;
        return good;
    }
    if (!config_parse_prefix4(text, ret_first, &len) || (*ret_first & ~config_mask4(len)) != 0) {
        return false;
    }
    *ret_last = *ret_first | ~config_mask4(len);
    if (len < 31) { /* network and broadcast; RFC 3021 for /31 */
        *ret_first += 1;
        *ret_last -= 1;
    }
    return true;
}

/* Inside the port's prefix, and none of its network, broadcast and gateway addresses. */
static void check_range(struct dp_parse *p, const struct dp_spec *spec, const char *text)
{
    const struct dp_port *port = &p->config->ports[p->config->lanes[spec->lane].port];
    if (port->prefix4.family == 0) {
        return; /* an error of the port already */
    }
    uint32_t network = config_addr4(&port->prefix4);
    uint32_t broadcast = network | ~config_mask4(port->prefix4_len);
    if (spec->first < network || spec->last > broadcast) {
        config_error_add(p->errors, spec->path,
                         "%s is outside of the prefix of port \"%s\"; correct one of the two", text,
                         port->name);
    } else if (port->prefix4_len < 31 && (spec->first == network || spec->last == broadcast)) {
        config_error_add(
            p->errors, spec->path,
            "%s has the network or broadcast address of the port's prefix in it; leave "
            "them out",
            text);
    } else if (port->gateway4.family == 4 && config_addr4(&port->gateway4) >= spec->first &&
               config_addr4(&port->gateway4) <= spec->last) {
        config_error_add(p->errors, spec->path, "%s has the port's gateway in it; leave it out",
                         text);
    }
}

/* IPv6 in any of the three forms has a colon, and IPv4 never. */
static void parse_spec(struct dp_parse *p, const char *path, json_t *item, uint32_t lane,
                       uint32_t pool)
{
    struct dp_spec spec = {.lane = lane, .pool = pool};
    const char *text = json_string_value(item);
    if (text && strchr(text, ':')) {
        config_error_add(p->errors, path, "IPv6 source addresses are not supported yet; remove %s",
                         text);
        return;
    }
    if (!text || !parse_range(text, &spec.first, &spec.last)) {
        config_error_add(
            p->errors, path,
            "must be an address (198.51.100.10), a range (198.51.100.10-198.51.100.41) "
            "or a prefix (198.51.100.64/27)");
        return;
    }
    memcpy(spec.path, path, strlen(path) + 1);
    p->n_addresses += (uint64_t)spec.last - spec.first + 1;
    check_range(p, &spec, text);

    struct dp_spec *specs = realloc(p->specs, (p->n_specs + 1) * sizeof specs[0]);
    INVARIANT(specs != NULL);
    p->specs = specs;
    p->specs[p->n_specs++] = spec;
}

static bool find_pool(const struct dp_config *config, const char *name, uint32_t *ret_pool)
{
    for (uint32_t i = 0; i < config->n_pools; i++) {
        if (strcmp(config->pools[i].name, name) == 0) {
            *ret_pool = i;
            return true;
        }
    }
    return false;
}

void config_parse_addresses(struct dp_parse *p, const char *path, json_t *addresses, uint32_t lane)
{
    char list_path[CONFIG_PATH_MAX], child[CONFIG_PATH_MAX];
    const char *name;
    json_t *list, *item;
    size_t index;
    json_object_foreach(addresses, name, list)
    {
        uint32_t pool = 0;
        config_path_join(list_path, path, name);
        if (!find_pool(p->config, name, &pool)) {
            config_error_add(p->errors, list_path, "there is no pool \"%s\"; add it to /pools",
                             name);
        }
        if (!json_is_array(list) || json_array_size(list) == 0) {
            config_error_add(p->errors, list_path, "must be a list of at least one address");
            continue;
        }
        json_array_foreach(list, index, item)
        {
            parse_spec(p, config_path_item(child, list_path, index), item, lane, pool);
        }
    }
}

/* ---- overlaps and expansion -------------------------------------------------------------- */

static int compare_specs(const void *a, const void *b)
{
    const struct dp_spec *x = *(const struct dp_spec *const *)a;
    const struct dp_spec *y = *(const struct dp_spec *const *)b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Of each pair of neighbours by first address; the one that reaches furthest is the left one. */
static void check_overlaps(struct dp_parse *p)
{
    struct dp_spec **sorted = calloc(p->n_specs + 1, sizeof(struct dp_spec *));
    INVARIANT(sorted != NULL);
    for (size_t i = 0; i < p->n_specs; i++) {
        sorted[i] = &p->specs[i];
    }
    qsort(sorted, p->n_specs, sizeof(struct dp_spec *), compare_specs);
    const struct dp_spec *left = p->n_specs ? sorted[0] : NULL;
    for (size_t i = 1; i < p->n_specs; i++) {
        if (sorted[i]->first <= left->last) {
            char text[IP_ADDR_TEXT_MAX];
            struct ip_addr addr = config_ip4(sorted[i]->first);
            config_error_add(p->errors, sorted[i]->path,
                             "%s stands in %s too; an address belongs to one queue and one pool",
                             ip_addr_format(&addr, text), left->path);
        }
        left = sorted[i]->last > left->last ? sorted[i] : left;
    }
    free(sorted);
}

static void expand_spec(struct dp_config *config, const struct dp_spec *spec)
{
    for (uint64_t addr = spec->first; addr <= spec->last; addr++) {
        config->addresses[config->n_addresses++] = (struct dp_address){
            .addr = config_ip4((uint32_t)addr),
            .lane = spec->lane,
            .pool = spec->pool,
            .index_in_pool = ++config->pools[spec->pool].n_addresses,
        };
    }
}

void config_expand_addresses(struct dp_parse *p)
{
    if (p->n_addresses > DP_ADDRESSES_MAX) {
        config_error_add(p->errors, "/dataplane/ports",
                         "%llu source addresses in all; at most %u are possible",
                         (unsigned long long)p->n_addresses, DP_ADDRESSES_MAX);
    }
    check_overlaps(p);
    if (p->errors->count > p->errors_before || p->n_addresses == 0) {
        return;
    }
    p->config->addresses = calloc(p->n_addresses, sizeof p->config->addresses[0]);
    INVARIANT(p->config->addresses != NULL);
    /* Specs come by lane, because queues are read in their order: see parse_queues(). */
    for (size_t i = 0; i < p->n_specs; i++) {
        expand_spec(p->config, &p->specs[i]);
    }
}
