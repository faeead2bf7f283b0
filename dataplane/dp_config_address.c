/*
 * dp_config_address.c - lists of source addresses: parsed into ranges, checked for overlaps, then
 * expanded. Ranges are checked before anything is expanded, so a typing error such as /8 costs
 * nothing. See dp_config.h.
 */
#include "dataplane/dp_config_private.h"

const char *dp_network_refuses(const struct dp_network *network, const struct ip_range *range)
{
    bool six = range->family == 6;
    const struct ip_prefix *prefix = six ? &network->prefix6 : &network->prefix4;
    const struct ip_addr *gateway = six ? &network->gateway6 : &network->gateway4;
    if (prefix->addr.family == 0) {
        return six ? "is of IPv6, and the port has no \"ipv6\" with a prefix; add it"
                   : "is of IPv4, and the port has no \"ipv4\" with a prefix; add it";
    }
    struct ip_range all = ip_prefix_range(prefix), hosts = ip_prefix_hosts(prefix);
    if (!ip_range_holds(&all, range)) {
        return "is outside of the port's prefix; correct one of the two";
    }
    if (!ip_range_holds(&hosts, range)) {
        return six ? "has the routers' anycast address of the port's prefix in it; leave it out"
                   : "has the network or broadcast address of the port's prefix in it; leave them "
                     "out";
    }
    ip_number router = ip_number_of(gateway);
    if (gateway->family != 0 && range->first <= router && router <= range->last) {
        return "has the port's gateway in it; leave it out";
    }
    return NULL;
}

/* A port that has no network at all has an error of its own already. */
static void check_range(struct dp_parse *p, const struct dp_spec *spec, const char *text)
{
    const struct dp_network *network = &p->config->ports[p->config->lanes[spec->lane].port].network;
    if (network->prefix4.addr.family == 0 && network->prefix6.addr.family == 0) {
        return;
    }
    const char *why = dp_network_refuses(network, &spec->range);
    if (why) {
        config_error_add(p->errors, spec->path, "%s %s", text, why);
    }
}

static void spec_add(struct dp_parse *p, const struct dp_spec *spec)
{
    struct dp_spec *specs = realloc(p->specs, (p->n_specs + 1) * sizeof specs[0]);
    INVARIANT(specs != NULL);
    p->specs = specs;
    p->specs[p->n_specs++] = *spec;
}

static bool parse_text(struct dp_parse *p, const char *text, struct dp_spec *spec)
{
    if (!text || !ip_range_parse(text, &spec->range)) {
        config_error_add(
            p->errors, spec->path,
            "must be an address (198.51.100.10, 2001:db8::10), a range "
            "(198.51.100.10-198.51.100.41) or a prefix (198.51.100.64/27, 2001:db8::40/122)");
        return false;
    }
    uint64_t n = ip_range_count(&spec->range);
    p->n_addresses = n < UINT64_MAX - p->n_addresses ? p->n_addresses + n : UINT64_MAX;
    check_range(p, spec, text);
    return true;
}

/* {"address": "198.51.100.10", "ehlo": "mail.acme.example"} */
static bool parse_object(struct dp_parse *p, json_t *item, struct dp_spec *spec)
{
    static const char *const keys[] = {"address", "ehlo", NULL};
    char child[CONFIG_PATH_MAX], ehlo[256];
    config_check_keys(p->errors, spec->path, item, keys);
    if (!parse_text(p, json_string_value(json_object_get(item, "address")), spec) ||
        !config_get_text(p->errors, spec->path, item, "ehlo", false, ehlo, sizeof ehlo)) {
        return spec->range.family != 0;
    }
    config_path_join(child, spec->path, "ehlo");
    if (!dp_host_name_valid(ehlo)) {
        config_error_add(p->errors, child, "\"%s\" is no full host name", ehlo);
    } else if (spec->range.first != spec->range.last) {
        config_error_add(p->errors, child, "a name of its own is for one address, not for several");
    } else {
        spec->ehlo = strdup(ehlo);
        INVARIANT(spec->ehlo != NULL);
    }
    return true;
}

static void parse_spec(struct dp_parse *p, const char *path, json_t *item, uint32_t lane,
                       uint32_t pool)
{
    struct dp_spec spec = {.lane = lane, .pool = pool};
    memcpy(spec.path, path, strlen(path) + 1);
    bool good = json_is_object(item) ? parse_object(p, item, &spec)
                                     : parse_text(p, json_string_value(item), &spec);
    if (good) {
        spec_add(p, &spec);
    }
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
    if (x->range.family != y->range.family) {
        return x->range.family - y->range.family;
    }
    return (x->range.first > y->range.first) - (x->range.first < y->range.first);
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
        bool same = sorted[i]->range.family == left->range.family;
        if (same && sorted[i]->range.first <= left->range.last) {
            char text[IP_ADDR_TEXT_MAX];
            struct ip_addr addr = ip_of_number(left->range.family, sorted[i]->range.first);
            config_error_add(p->errors, sorted[i]->path,
                             "%s stands in %s too; an address belongs to one queue and one pool",
                             ip_addr_format(&addr, text), left->path);
        }
        left = !same || sorted[i]->range.last > left->range.last ? sorted[i] : left;
    }
    free(sorted);
}

static void check_room(struct dp_parse *p)
{
    uint64_t n[DP_LANES_MAX] = {0};
    for (size_t i = 0; i < p->n_specs; i++) {
        uint32_t lane = p->specs[i].lane;
        uint64_t more = ip_range_count(&p->specs[i].range);
        n[lane] = more < DP_ADDRESSES_MAX ? n[lane] + more : DP_ADDRESSES_MAX + 1;
        if (n[lane] > p->config->addresses_per_lane) {
            config_error_add(p->errors, p->specs[i].path,
                             "queue %u of port \"%s\" has room for %u addresses; raise "
                             "/dataplane/addresses, or use more queues",
                             p->config->lanes[lane].queue,
                             p->config->ports[p->config->lanes[lane].port].name,
                             p->config->addresses_per_lane);
            return;
        }
    }
}

static void expand_spec(struct dp_config *config, const struct dp_spec *spec)
{
    uint64_t n = ip_range_count(&spec->range);
    for (uint64_t i = 0; i < n; i++) {
        config->addresses[config->n_addresses++] = (struct dp_address){
            .addr = ip_of_number(spec->range.family, spec->range.first + i),
            .lane = spec->lane,
            .pool = spec->pool,
            .index_in_pool = ++config->pools[spec->pool].n_addresses,
            .ehlo = spec->ehlo ? strdup(spec->ehlo) : NULL,
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
    check_room(p);
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
