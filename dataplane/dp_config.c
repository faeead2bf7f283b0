/* dp_config.c - ports, queues and sizes of the data plane: see dp_config.h. */
#include "dataplane/dp_config_private.h"

#include <ctype.h>

#define IPV6_MTU_MIN 1280u

static json_t *member(json_t *object, const char *key)
{
    return json_object_get(object, key);
}

/* ---- ports ------------------------------------------------------------------------------- */

static void parse_mac(struct dp_parse *p, const char *path, json_t *object, struct dp_port *port)
{
    char text[32], child[CONFIG_PATH_MAX];
    unsigned b[6];
    int end = 0;
    if (!config_get_text(p->errors, path, object, "mac", false, text, sizeof text)) {
        return;
    }
    config_path_join(child, path, "mac");
    int n =
        sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end);
    if (n != 6 || strlen(text) != 17 || end != 17) {
        config_error_add(p->errors, child,
                         "must be six hexadecimal pairs such as 02:00:5e:10:00:01");
        return;
    }
    if ((b[0] & 1) != 0 || (b[0] | b[1] | b[2] | b[3] | b[4] | b[5]) == 0) {
        config_error_add(p->errors, child,
                         "%s is not an address of one station; use one whose first "
                         "byte is even, such as 02:00:5e:10:00:01",
                         text);
        return;
    }
    for (int i = 0; i < 6; i++) {
        port->mac[i] = (uint8_t)b[i];
    }
    port->has_mac = true;
}

static bool device_valid(const char *device)
{
    for (; *device; device++) {
        if (!isgraph((unsigned char)*device)) {
            return false;
        }
    }
    return true;
}

static void parse_port_names(struct dp_parse *p, const char *path, json_t *object,
                             struct dp_port *port)
{
    char child[CONFIG_PATH_MAX];
    if (config_get_text(p->errors, path, object, "name", true, port->name, sizeof port->name) &&
        !config_name_valid(port->name)) {
        config_error_add(p->errors, config_path_join(child, path, "name"),
                         "may have letters, digits, '-', '_' and '.' only");
    }
    if (config_get_text(p->errors, path, object, "device", true, port->device,
                        sizeof port->device) &&
        !device_valid(port->device)) {
        config_error_add(p->errors, config_path_join(child, path, "device"),
                         "may not have spaces or control characters; write a PCI address such as "
                         "0000:3b:00.0 or a virtual device such as net_tap0,iface=wp0");
    }
    for (uint32_t i = 0; i < p->config->n_ports; i++) {
        const struct dp_port *other = &p->config->ports[i];
        if (port->name[0] && strcmp(other->name, port->name) == 0) {
            config_error_add(p->errors, config_path_join(child, path, "name"),
                             "\"%s\" is the name of port %u too; give each its own", port->name, i);
        }
        if (port->device[0] && strcmp(other->device, port->device) == 0) {
            config_error_add(p->errors, config_path_join(child, path, "device"),
                             "\"%s\" is the device of port %u too; a device is one port",
                             port->device, i);
        }
    }
}

/* ---- queues ------------------------------------------------------------------------------ */

/* What is common to all lanes so far: no CPU may serve two. */
static void check_lcore(struct dp_parse *p, const char *path, uint32_t lane)
{
    char child[CONFIG_PATH_MAX];
    for (uint32_t i = 0; i < p->config->n_lanes; i++) {
        if (i != lane && p->config->lanes[i].lcore == p->config->lanes[lane].lcore) {
            config_error_add(p->errors, config_path_join(child, path, "lcore"),
                             "CPU %u serves another queue already; give each queue its own",
                             p->config->lanes[lane].lcore);
            return;
        }
    }
}

static void parse_queue(struct dp_parse *p, const char *path, json_t *queue, uint32_t lane)
{
    static const char *const keys[] = {"queue", "lcore", "addresses", NULL};
    char child[CONFIG_PATH_MAX];
    config_check_keys(p->errors, path, queue, keys);
    if (!member(queue, "lcore")) {
        config_error_add(p->errors, path, "needs the key \"lcore\" with the number of a CPU");
    } else {
        p->config->lanes[lane].lcore =
            (uint16_t)config_get_u32(p->errors, path, queue, "lcore", 0, DP_CPU_MAX, 0);
        check_lcore(p, path, lane);
    }
    config_path_join(child, path, "addresses");
    json_t *addresses = member(queue, "addresses");
    if (!addresses) {
        return; /* they come over the control socket */
    }
    if (!json_is_object(addresses)) {
        config_error_add(p->errors, child,
                         "must be an object from pool names to lists of addresses");
        return;
    }
    config_parse_addresses(p, child, addresses, lane);
}

/* Finds the item of the list whose "queue" is number; null when there is none. */
static json_t *find_queue(json_t *queues, uint32_t number, size_t *ret_index)
{
    size_t index;
    json_t *queue, *found = NULL;
    json_array_foreach(queues, index, queue)
    {
        json_t *value = member(queue, "queue");
        if (json_is_integer(value) && json_integer_value(value) == (json_int_t)number && !found) {
            found = queue;
            *ret_index = index;
        }
    }
    return found;
}

static void parse_queues(struct dp_parse *p, const char *path, json_t *queues, uint32_t port_index)
{
    struct dp_config *config = p->config;
    char child[CONFIG_PATH_MAX];
    size_t n = json_array_size(queues);
    if (!json_is_array(queues) || n == 0) {
        config_error_add(p->errors, path, "must be a list of at least one queue");
        return;
    }
    if (n > DP_LANES_MAX - config->n_lanes) {
        config_error_add(p->errors, path, "there may be at most %u queues in all", DP_LANES_MAX);
        return;
    }
    uint32_t first = config->n_lanes;
    for (uint32_t i = 0; i < n; i++) { /* the other lanes' CPUs must not look like CPU 0 */
        config->lanes[first + i] =
            (struct dp_lane){.port = port_index, .queue = (uint16_t)i, .lcore = UINT16_MAX};
    }
    config->n_lanes += (uint32_t)n;
    config->ports[port_index].n_queues = (uint16_t)n;
    for (uint32_t number = 0; number < n; number++) {
        size_t index;
        json_t *queue = find_queue(queues, number, &index);
        if (!queue) {
            config_error_add(p->errors, path,
                             "the queues must be numbered 0 to %zu, each once; %u is missing",
                             n - 1, number);
            continue;
        }
        parse_queue(p, config_path_item(child, path, index), queue, first + number);
    }
}

static void parse_port(struct dp_parse *p, const char *path, json_t *object)
{
    static const char *const keys[] = {"name", "device", "mtu",    "mac",
                                       "ipv4", "ipv6",   "queues", NULL};
    char child[CONFIG_PATH_MAX];
    struct dp_port *port = &p->config->ports[p->config->n_ports];
    if (!json_is_object(object)) {
        config_error_add(p->errors, path, "must be an object");
        return;
    }
    config_check_keys(p->errors, path, object, keys);
    parse_port_names(p, path, object, port);
    port->mtu = (uint16_t)config_get_u32(p->errors, path, object, "mtu", 576, 9000, 1500);
    parse_mac(p, path, object, port);
    config_parse_network(p, path, object, &port->network);
    if (port->network.prefix6.addr.family != 0 && port->mtu < IPV6_MTU_MIN) {
        config_error_add(p->errors, config_path_join(child, path, "mtu"),
                         "is too small for \"ipv6\": write 1280 or more (RFC 8200 5)");
    }
    uint32_t index = p->config->n_ports++;
    parse_queues(p, config_path_join(child, path, "queues"), member(object, "queues"), index);
}

static void parse_ports(struct dp_parse *p, const char *path, json_t *ports)
{
    char child[CONFIG_PATH_MAX];
    size_t index;
    json_t *port;
    if (!json_is_array(ports) || json_array_size(ports) == 0 ||
        json_array_size(ports) > DP_PORTS_MAX) {
        config_error_add(p->errors, path, "must be a list of 1 to %u ports", DP_PORTS_MAX);
        return;
    }
    json_array_foreach(ports, index, port)
    {
        parse_port(p, config_path_item(child, path, index), port);
    }
}

/* ---- the whole --------------------------------------------------------------------------- */

static void parse_sizes(struct dp_parse *p, const char *path, json_t *object)
{
    struct dp_config *config = p->config;
    char binary[4096], child[CONFIG_PATH_MAX];
    config->jobs_per_lane = config_get_u32(p->errors, path, object, "jobs", 64, 65536, 1024);
    if ((config->jobs_per_lane & (config->jobs_per_lane - 1)) != 0) {
        config_error_add(p->errors, config_path_join(child, path, "jobs"),
                         "must be a power of two, such as 1024");
    }
    config->arena_bytes =
        (uint64_t)config_get_u32(p->errors, path, object, "arena_mb", 1, 65536, 64) << 20;
    config->sessions_per_lane =
        config_get_u32(p->errors, path, object, "sessions", 16, 65536, 4096);
    config->addresses_per_lane =
        config_get_u32(p->errors, path, object, "addresses", 16, DP_ADDRESSES_MAX, 16384);
    config->huge_pages = config_get_bool(p->errors, path, object, "huge_pages", false);
    config->memory_mb = config_get_u32(p->errors, path, object, "memory_mb", 64, 1048576, 256);
    (void)config_get_text(p->errors, path, object, "eal", false, config->eal_extra,
                          sizeof config->eal_extra);
    (void)config_get_text(p->errors, path, object, "binary", false, binary, sizeof binary);
}

static void parse_dataplane(struct dp_parse *p, json_t *dataplane)
{
    static const char *const keys[] = {"ports",     "jobs",       "arena_mb",  "sessions",
                                       "addresses", "huge_pages", "memory_mb", "eal",
                                       "binary",    NULL};
    if (!json_is_object(dataplane)) {
        config_error_add(p->errors, "/dataplane", "must be an object");
        return;
    }
    config_check_keys(p->errors, "/dataplane", dataplane, keys);
    parse_sizes(p, "/dataplane", dataplane);
    parse_ports(p, "/dataplane/ports", member(dataplane, "ports"));
}

bool dp_config_parse(json_t *root, struct dp_config *ret_config, struct config_errors *errors)
{
    struct dp_parse p = {.config = ret_config, .errors = errors, .errors_before = errors->count};
    *ret_config = (struct dp_config){0};
    if (!json_is_object(root)) {
        config_error_add(errors, "", "must be an object");
        return false;
    }
    if (member(root, "pools")) {
        config_parse_pools(&p, member(root, "pools"));
    }
    if (member(root, "dataplane")) {
        parse_dataplane(&p, member(root, "dataplane"));
    }
    config_expand_addresses(&p);
    for (size_t i = 0; i < p.n_specs; i++) {
        free(p.specs[i].ehlo);
    }
    free(p.specs);
    if (json_is_object(member(root, "tls"))) {
        (void)config_get_text(errors, "/tls", member(root, "tls"), "ca_file", false,
                              ret_config->tls_ca_file, sizeof ret_config->tls_ca_file);
    }
    return errors->count == p.errors_before;
}

void dp_config_free(struct dp_config *config)
{
    for (uint32_t i = 0; i < config->n_addresses; i++) {
        free(config->addresses[i].ehlo);
    }
    free(config->pools);
    free(config->addresses);
    *config = (struct dp_config){0};
}
