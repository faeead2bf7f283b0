/* ctl_config.c - the file as a whole and its sections of plain values: see ctl_config.h. */
#include "control/ctl_config_private.h"

#include "dataplane/chan_file.h"

#include <ctype.h>
#include <errno.h>

/* ---- members that are whole numbers ------------------------------------------------------ */

struct number {
    const char *section, *key;
    uint32_t low, high, otherwise;
    size_t offset;
};

#define NUMBER(section, key, low, high, otherwise)                                                 \
    {                                                                                              \
#section, #key, (low), (high), (otherwise), offsetof(struct ctl_config, section.key)       \
    }
#define DAY_S           86400u
#define CTL_RUN_DIR_MAX 90u /* sun_path has 108 bytes */

/* Waiting times: RFC 5321 4.5.4.1 (give up after 4-5 days; bounces sooner). */
static const struct number numbers[] = {
    NUMBER(spool, max_mb, 16, 16u << 20, 65536),
    NUMBER(spool, min_free_mb, 0, 1u << 20, 0),
    NUMBER(spool, event_keep, 0, 100000000, 1000000),
    NUMBER(control, clients, 1, 10000, 256),
    NUMBER(control, clients_per_uid, 1, 10000, 128),
    NUMBER(dns, timeout_ms, 100, 120000, 10000),
    NUMBER(dnsbl, interval_s, 1, DAY_S, 900),
    NUMBER(delivery, port, 1, 65535, 25),
    NUMBER(delivery, expire_s, 1, 30 * DAY_S, 5 * DAY_S),
    NUMBER(delivery, bounce_expire_s, 1, 30 * DAY_S, 2 * DAY_S),
    NUMBER(delivery, doubtful_retry_s, 1, DAY_S, 1800),
    NUMBER(delivery, connections_per_address, 1, 1000, 5),
    NUMBER(delivery, messages_per_connection, 1, 1000000, 100),
    NUMBER(delivery, idle_ms, 0, 300000, 5000),
    NUMBER(delivery, in_flight_per_site, 1, 65536, 1000),
    NUMBER(limits, message_bytes, 1024, 1u << 30, 50u << 20),
    NUMBER(limits, recipients, 1, 100000, 1000),
};

/* The section as an object; an empty one when it is missing. Its keys are checked. */
static json_t *section(struct ctl_parse *p, const char *name, const char *const *keys)
{
    char path[CONFIG_PATH_MAX];
    json_t *object = json_object_get(p->effective, name);
    config_path_join(path, "", name);
    if (object && !json_is_object(object)) {
        config_error_add(p->errors, path, "must be an object");
        object = NULL;
    }
    if (!object) {
        (void)json_object_set_new(p->effective, name, json_object());
        object = json_object_get(p->effective, name);
    }
    config_check_keys(p->errors, path, object, keys);
    return object;
}

static void parse_numbers(struct ctl_parse *p)
{
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const struct number *n = &numbers[i];
        char path[CONFIG_PATH_MAX];
        json_t *object = json_object_get(p->effective, n->section);
        uint32_t value = config_get_u32(p->errors, config_path_join(path, "", n->section), object,
                                        n->key, n->low, n->high, n->otherwise);
        memcpy((char *)p->config + n->offset, &value, sizeof value);
        (void)json_object_set_new(object, n->key, json_integer(value));
    }
}

/* ---- sections ---------------------------------------------------------------------------- */

/* A member that is a text with a default, which is filled in. */
static void text_or(struct ctl_parse *p, const char *path, json_t *object, const char *key,
                    const char *otherwise, char *buf, size_t buf_bytes)
{
    size_t len = strlen(otherwise);
    INVARIANT(len < buf_bytes);
    if (!config_get_text(p->errors, path, object, key, false, buf, buf_bytes)) {
        memcpy(buf, otherwise, len + 1);
    }
    (void)json_object_set_new(object, key, json_string(buf));
}

static void absolute(struct ctl_parse *p, const char *path, const char *value)
{
    if (value[0] != '/') {
        config_error_add(p->errors, path, "must be an absolute path, one that begins with /");
    }
}

static bool host_name_valid(const char *name)
{
    size_t label = 0;
    for (const char *at = name; *at; at++) {
        bool dot = *at == '.';
        if (dot ? label == 0 : !isalnum((unsigned char)*at) && *at != '-') {
            return false;
        }
        label = dot ? 0 : label + 1;
        if (label > 63) {
            return false;
        }
    }
    return label > 0 && strchr(name, '.') != NULL;
}

static void parse_root(struct ctl_parse *p)
{
    struct ctl_config *c = p->config;
    if (config_get_text(p->errors, "", p->effective, "hostname", true, c->hostname,
                        sizeof c->hostname) &&
        !host_name_valid(c->hostname)) {
        config_error_add(p->errors, "/hostname",
                         "must be a full host name in ASCII, such as mta1.example.net");
    }
    text_or(p, "", p->effective, "run_dir", "/run/wirepost", c->run_dir, sizeof c->run_dir);
    absolute(p, "/run_dir", c->run_dir);
    if (strlen(c->run_dir) > CTL_RUN_DIR_MAX) {
        config_error_add(p->errors, "/run_dir",
                         "must have at most %u bytes, so that the names of sockets in it fit",
                         CTL_RUN_DIR_MAX);
        c->run_dir[0] = '\0';
    }
}

static void parse_spool(struct ctl_parse *p)
{
    static const char *const keys[] = {"path", "max_mb", "min_free_mb", "event_keep", NULL};
    json_t *object = section(p, "spool", keys);
    text_or(p, "/spool", object, "path", "/var/lib/wirepost", p->config->spool.path,
            sizeof p->config->spool.path);
    absolute(p, "/spool/path", p->config->spool.path);
}

static void parse_control(struct ctl_parse *p)
{
    static const char *const keys[] = {"socket", "group", "clients", "clients_per_uid", NULL};
    struct ctl_config *c = p->config;
    char otherwise[CTL_PATH_MAX + 16];
    json_t *object = section(p, "control", keys);
    (void)snprintf(otherwise, sizeof otherwise, "%s/control.sock", c->run_dir);
    text_or(p, "/control", object, "socket", otherwise, c->control.socket,
            sizeof c->control.socket);
    absolute(p, "/control/socket", c->control.socket);
    (void)config_get_text(p->errors, "/control", object, "group", false, c->control.group,
                          sizeof c->control.group);
}

static void parse_dns_server(struct ctl_parse *p, size_t index, json_t *value)
{
    struct ctl_config *c = p->config;
    char path[CONFIG_PATH_MAX], text[64];
    struct ip_addr address;
    char *end = NULL;
    config_path_item(path, "/dns/servers", index);
    (void)snprintf(text, sizeof text, "%s", json_is_string(value) ? json_string_value(value) : "");
    char *at = strchr(text, '@');
    unsigned long port = at ? strtoul(at + 1, &end, 10) : 53;
    if (at) {
        *at = '\0';
    }
    if (!ip_addr_parse(text, &address) || port < 1 || port > 65535 || (end && *end != '\0')) {
        config_error_add(p->errors, path,
                         "must be the address of a DNS server, such as \"192.0.2.53\", or with "
                         "its port, \"192.0.2.53@5353\"");
        return;
    }
    char *server = c->dns.server[c->dns.n_servers];
    (void)snprintf(server, sizeof c->dns.server[0], "%s", json_string_value(value));
    c->dns.servers[c->dns.n_servers++] = server;
}

static void parse_dns(struct ctl_parse *p)
{
    static const char *const keys[] = {"servers", "timeout_ms", "allow_private",
                                       "trust_anchor_file", NULL};
    struct ctl_config *c = p->config;
    json_t *object = section(p, "dns", keys);
    text_or(p, "/dns", object, "trust_anchor_file", "", c->dns.trust_anchor_file,
            sizeof c->dns.trust_anchor_file);
    if (c->dns.trust_anchor_file[0]) {
        absolute(p, "/dns/trust_anchor_file", c->dns.trust_anchor_file);
    }
    json_t *servers = json_object_get(object, "servers");
    if (servers && (!json_is_array(servers) || json_array_size(servers) > CTL_SERVERS_MAX)) {
        config_error_add(p->errors, "/dns/servers", "must be a list of at most %u addresses",
                         CTL_SERVERS_MAX);
        servers = NULL;
    }
    for (size_t i = 0; i < json_array_size(servers); i++) {
        parse_dns_server(p, i, json_array_get(servers, i));
    }
    if (!servers) {
        (void)json_object_set_new(object, "servers", json_array());
    }
    p->config->dns.allow_private =
        config_get_bool(p->errors, "/dns", object, "allow_private", false);
    (void)json_object_set_new(object, "allow_private", json_boolean(p->config->dns.allow_private));
}

static void parse_retry(struct ctl_parse *p, json_t *delivery)
{
    static const uint32_t otherwise[] = {300, 900, 1800, 3600, 7200, 10800};
    struct backoff *backoff = &p->config->delivery.backoff;
    json_t *steps = json_object_get(delivery, "retry_s");
    if (!steps) {
        steps = json_array();
        for (size_t i = 0; i < sizeof otherwise / sizeof otherwise[0]; i++) {
            (void)json_array_append_new(steps, json_integer(otherwise[i]));
        }
        (void)json_object_set_new(delivery, "retry_s", steps);
    }
    size_t n = json_array_size(steps);
    if (n < 1 || n > BACKOFF_STEPS_MAX) {
        config_error_add(p->errors, "/delivery/retry_s",
                         "must be a list of 1 to %u waiting times in seconds", BACKOFF_STEPS_MAX);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char path[CONFIG_PATH_MAX];
        json_int_t value = json_integer_value(json_array_get(steps, i));
        if (value < 1 || value > DAY_S) {
            config_error_add(p->errors, config_path_item(path, "/delivery/retry_s", i),
                             "must be a whole number of seconds from 1 to %u", DAY_S);
            continue;
        }
        backoff->step_s[backoff->n_steps++] = (uint32_t)value;
    }
    backoff->jitter_percent =
        config_get_u32(p->errors, "/delivery", delivery, "retry_jitter", 0, 100, 20);
    (void)json_object_set_new(delivery, "retry_jitter", json_integer(backoff->jitter_percent));
}

enum tls_wants ctl_config_parse_tls(struct ctl_parse *p, const char *path, json_t *object,
                                    enum tls_wants otherwise)
{
    static const char *const words[] = {
#define X(name, text) [TLS_WANTS_##name] = text,
        TLS_WANTS_MAP(X)
#undef X
    };
    char text[16], child[CONFIG_PATH_MAX];
    (void)snprintf(text, sizeof text, "%s", words[otherwise]);
    (void)config_get_text(p->errors, path, object, "tls", false, text, sizeof text);
    (void)json_object_set_new(object, "tls", json_string(text));
    for (enum tls_wants wants = TLS_WANTS_NONE; wants < TLS_N_WANTS; wants++) {
        if (strcmp(text, words[wants]) == 0) {
            return wants;
        }
    }
    config_error_add(p->errors, config_path_join(child, path, "tls"),
                     "must be \"none\", \"may\", \"auto\", \"encrypt\", \"verify\" or \"dane\"");
    return otherwise;
}

static void parse_delivery(struct ctl_parse *p)
{
    static const char *const keys[] = {"port",
                                       "retry_s",
                                       "retry_jitter",
                                       "expire_s",
                                       "bounce_expire_s",
                                       "doubtful_retry_s",
                                       "connections_per_address",
                                       "messages_per_connection",
                                       "idle_ms",
                                       "in_flight_per_site",
                                       "tls",
                                       "chunking",
                                       NULL};
    json_t *object = section(p, "delivery", keys);
    parse_retry(p, object);
    p->config->delivery.tls = ctl_config_parse_tls(p, "/delivery", object, TLS_WANTS_AUTO);
    p->config->delivery.chunking =
        config_get_bool(p->errors, "/delivery", object, "chunking", false);
    (void)json_object_set_new(object, "chunking", json_boolean(p->config->delivery.chunking));
}

static void parse_dnsbl(struct ctl_parse *p)
{
    static const char *const keys[] = {"zones", "interval_s", NULL};
    json_t *object = section(p, "dnsbl", keys), *zones = json_object_get(object, "zones");
    size_t n = json_array_size(zones);
    if ((zones && !json_is_array(zones)) || n > CTL_ZONES_MAX) {
        config_error_add(p->errors, "/dnsbl/zones", "must be a list of at most %u block lists",
                         CTL_ZONES_MAX);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char path[CONFIG_PATH_MAX], *zone = p->config->dnsbl.zone[p->config->dnsbl.n_zones];
        const char *text = json_string_value(json_array_get(zones, i));
        if (!text || strlen(text) >= sizeof p->config->dnsbl.zone[0] || !host_name_valid(text)) {
            config_error_add(p->errors, config_path_item(path, "/dnsbl/zones", i),
                             "must be a domain, such as \"zen.spamhaus.org\"");
            continue;
        }
        memcpy(zone, text, strlen(text) + 1);
        p->config->dnsbl.n_zones++;
    }
    if (!zones) {
        (void)json_object_set_new(object, "zones", json_array());
    }
}

static void parse_limits(struct ctl_parse *p)
{
    static const char *const keys[] = {"message_bytes", "recipients", NULL};
    (void)section(p, "limits", keys);
}

/* ---- the data plane's part --------------------------------------------------------------- */

/* What the data plane is given: its own section and whom to trust, as one line with sorted keys so
 * that its hash does not depend on spacing. Addresses come by the channels (addresses.h), so a
 * running data plane is not replaced because of them. */
static void make_dataplane_file(struct ctl_parse *p)
{
    struct ctl_config *c = p->config;
    json_t *file = json_object(), *dataplane, *port, *queue;
    size_t i, k;
    dataplane = json_deep_copy(json_object_get(p->effective, "dataplane"));
    (void)json_object_del(dataplane, "spawn");
    json_array_foreach(json_object_get(dataplane, "ports"), i, port){json_array_foreach(
        json_object_get(port, "queues"), k, queue){(void)json_object_del(queue, "addresses");
}
}
(void)json_object_set_new(file, "dataplane", dataplane);
if (json_object_get(p->effective, "tls")) {
    (void)json_object_set(file, "tls", json_object_get(p->effective, "tls"));
}
c->dp_json = json_dumps(file, JSON_SORT_KEYS | JSON_COMPACT);
INVARIANT(c->dp_json != NULL);
c->dp_json_len = strlen(c->dp_json);
c->dp_hash = chan_config_hash(c->dp_json, c->dp_json_len);
json_decref(file);
}

/* Room for the largest message, its recipients' names and its list of dots, in each lane. */
static void check_arena(struct ctl_parse *p)
{
    const struct ctl_config *c = p->config;
    uint64_t needed = (uint64_t)c->limits.message_bytes * 5 / 4 + (1u << 20);
    if (c->dp.n_lanes > 0 && c->dp.arena_bytes < needed) {
        config_error_add(p->errors, "/dataplane/arena_mb",
                         "%llu MiB cannot hold a message of limits.message_bytes (%u): write %llu "
                         "or more, or lower the limit",
                         (unsigned long long)(c->dp.arena_bytes >> 20), c->limits.message_bytes,
                         (unsigned long long)((needed >> 20) + 1));
    }
}

static void parse_dataplane(struct ctl_parse *p)
{
    struct ctl_config *c = p->config;
    json_t *dataplane = json_object_get(p->effective, "dataplane");
    c->spawn = config_get_bool(p->errors, "/dataplane", dataplane, "spawn", true);
    json_t *rest = json_copy(p->effective), *plain = json_copy(dataplane);
    (void)json_object_del(plain, "spawn"); /* ours alone */
    (void)json_object_set_new(rest, "dataplane", plain ? plain : json_object());
    (void)json_object_del(rest, "tls"); /* ctl_config_route.c looks at it */
    if (dataplane) {
        (void)config_get_text(p->errors, "/dataplane", dataplane, "binary", false, c->binary,
                              sizeof c->binary);
    } else {
        config_error_add(p->errors, "", "needs the key \"dataplane\" with at least one port");
    }
    (void)dp_config_parse(rest, &c->dp, p->errors);
    json_decref(rest);
    if (dataplane && c->dp.n_ports == 0 && p->errors->count == p->errors_before) {
        config_error_add(p->errors, "/dataplane/ports", "needs at least one port");
    }
}

/* ---- the whole --------------------------------------------------------------------------- */

bool ctl_config_parse(json_t *root, struct ctl_config *ret_config, struct config_errors *errors)
{
    static const char *const keys[] = {"hostname", "run_dir", "spool",     "control", "dns",
                                       "delivery", "limits",  "dataplane", "pools",   "routes",
                                       "tls",      "senders", "dnsbl",     "http",    NULL};
    *ret_config = (struct ctl_config){0};
    if (!json_is_object(root)) {
        config_error_add(errors, "", "must be a JSON object");
        return false;
    }
    ret_config->effective = json_deep_copy(root);
    INVARIANT(ret_config->effective != NULL);
    struct ctl_parse p = {.config = ret_config,
                          .errors = errors,
                          .errors_before = errors->count,
                          .effective = ret_config->effective};
    config_check_keys(errors, "", root, keys);
    parse_root(&p);
    parse_spool(&p);
    parse_control(&p);
    parse_dns(&p);
    parse_dnsbl(&p);
    parse_delivery(&p);
    parse_limits(&p);
    parse_numbers(&p);
    parse_dataplane(&p);
    ctl_config_parse_http(&p);
    ctl_config_parse_routes(&p);
    ctl_config_parse_senders(&p);
    if (errors->count == p.errors_before) {
        check_arena(&p);
    }
    if (errors->count == p.errors_before) {
        make_dataplane_file(&p);
    }
    return errors->count == p.errors_before;
}

bool ctl_config_load(const char *path, struct ctl_config *ret_config, struct config_errors *errors)
{
    json_error_t error;
    *ret_config = (struct ctl_config){0};
    errno = 0;
    FILE *file = fopen(path, "re");
    if (!file) {
        config_error_add(errors, "", "%s cannot be read: %s", path, strerror(errno));
        return false;
    }
    json_t *root = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    (void)fclose(file);
    if (!root) {
        config_error_add(errors, "", "%s is not JSON: line %d, column %d: %s", path, error.line,
                         error.column, error.text);
        return false;
    }
    bool ok = ctl_config_parse(root, ret_config, errors);
    json_decref(root);
    return ok;
}

void ctl_config_free(struct ctl_config *config)
{
    for (uint32_t i = 0; i < config->n_senders; i++) {
        for (size_t d = 0; d < config->senders[i].n_domains; d++) {
            free(config->senders[i].domains[d]);
        }
        free(config->senders[i].domains);
        for (uint32_t k = 0; k < config->senders[i].n_dkim; k++) {
            dkim_key_free(config->senders[i].dkim[k].key);
        }
        free(config->senders[i].dkim);
    }
    free(config->senders);
    for (uint32_t i = 0; i < config->n_routes; i++) {
        explicit_bzero(config->routes[i].password, sizeof config->routes[i].password);
    }
    free(config->routes);
    free(config->dp_json);
    dp_config_free(&config->dp);
    json_decref(config->effective);
    *config = (struct ctl_config){0};
}
