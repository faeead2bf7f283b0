/* dp_config_pool.c - pools and their EHLO names: see dp_config.h. */
#include "dataplane/dp_config_private.h"

#include <ctype.h>

#define IP_TEXT_LONGEST "ffff-ffff-ffff-ffff-ffff-ffff-ffff-ffff"

/* Writes pattern with {n} and {ip} replaced. False: too long, or another placeholder. */
static bool pattern_fill(const char *pattern, const char *n, const char *ip, char *buf,
                         size_t buf_bytes)
{
    size_t used = 0;
    while (*pattern) {
        const char *from = pattern;
        size_t len = 1;
        if (strncmp(pattern, "{n}", 3) == 0) {
            from = n;
            len = strlen(n);
            pattern += 3;
        } else if (strncmp(pattern, "{ip}", 4) == 0) {
            from = ip;
            len = strlen(ip);
            pattern += 4;
        } else {
            pattern++;
        }
        if (used + len >= buf_bytes) {
            return false;
        }
        memcpy(buf + used, from, len);
        used += len;
    }
    buf[used] = '\0';
    return true;
}

static bool label_valid(const char *label, size_t len)
{
    if (len == 0 || len > 63 || label[0] == '-' || label[len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)label[i]) && label[i] != '-') {
            return false;
        }
    }
    return true;
}

/* RFC 5321 2.3.5: a fully-qualified name, so with a dot; RFC 1123 2.1: not all digits at the end.
 */
bool dp_host_name_valid(const char *name)
{
    const char *label = name;
    bool dotted = false, last_numeric = false;
    if (strlen(name) > 253) {
        return false;
    }
    for (;;) {
        size_t len = strcspn(label, ".");
        if (!label_valid(label, len)) {
            return false;
        }
        last_numeric = strspn(label, "0123456789") == len;
        if (label[len] == '\0') {
            return dotted && !last_numeric;
        }
        dotted = true;
        label += len + 1;
    }
}

bool dp_ehlo_pattern_valid(const char *pattern)
{
    char longest[512];
    return pattern_fill(pattern, "65536", IP_TEXT_LONGEST, longest, sizeof longest) &&
           dp_host_name_valid(longest);
}

static void parse_pool(struct dp_parse *p, const char *name, json_t *object)
{
    static const char *const keys[] = {"ehlo", "warmup", NULL};
    char path[CONFIG_PATH_MAX], child[CONFIG_PATH_MAX];
    struct dp_pool *pool = &p->config->pools[p->config->n_pools];
    config_path_join(path, "/pools", name);
    if (!config_name_valid(name)) {
        config_error_add(p->errors, path,
                         "a pool's name may have up to %u letters, digits, '-', '_' and '.'",
                         DP_NAME_MAX - 1);
        return;
    }
    memcpy(pool->name, name, strlen(name) + 1);
    p->config->n_pools++; /* also with a bad pattern: its users need no error of their own */
    if (!json_is_object(object)) {
        config_error_add(p->errors, path, "must be an object with \"ehlo\"");
        return;
    }
    config_check_keys(p->errors, path, object, keys);
    if (config_get_text(p->errors, path, object, "ehlo", true, pool->ehlo, sizeof pool->ehlo) &&
        !dp_ehlo_pattern_valid(pool->ehlo)) {
        config_error_add(p->errors, config_path_join(child, path, "ehlo"),
                         "\"%s\" does not give a full host name; write letters, digits, '-', dots "
                         "and the placeholders {n} and {ip}, such as out-{n}.acme.example",
                         pool->ehlo);
    }
    if (json_object_get(object, "warmup")) {
        bool on = config_get_bool(p->errors, path, object, "warmup", false);
        pool->warmup = on ? DP_WARMUP_ON : DP_WARMUP_OFF;
    }
}

void config_parse_pools(struct dp_parse *p, json_t *pools)
{
    const char *name;
    json_t *object;
    if (!json_is_object(pools)) {
        config_error_add(p->errors, "/pools", "must be an object from pool names to pools");
        return;
    }
    p->config->pools = calloc(json_object_size(pools) + 1, sizeof p->config->pools[0]);
    INVARIANT(p->config->pools != NULL);
    json_object_foreach(pools, name, object)
    {
        parse_pool(p, name, object);
    }
}

/* {ip}: 192-0-2-1; of IPv6 all eight groups, because a label may not end with '-'. */
static void ip_label(const struct ip_addr *addr, char buf[sizeof IP_TEXT_LONGEST])
{
    const char *format = addr->family == 4 ? "%s%u" : "%s%x";
    uint32_t step = addr->family == 4 ? 1 : 2, bytes = addr->family == 4 ? 4 : 16;
    size_t used = 0;
    for (uint32_t i = 0; i < bytes; i += step) {
        unsigned part = step == 1 ? addr->bytes[i] : be16_get(addr->bytes + i);
        int n = snprintf(buf + used, sizeof IP_TEXT_LONGEST - used, format, i ? "-" : "", part);
        used += (size_t)n;
    }
}

bool dp_pool_ehlo(const struct dp_config *config, const struct dp_address *address, char *buf,
                  size_t buf_bytes)
{
    char n[16], ip[sizeof IP_TEXT_LONGEST];
    INVARIANT(address->pool < config->n_pools);
    if (address->ehlo) {
        return snprintf(buf, buf_bytes, "%s", address->ehlo) < (int)buf_bytes;
    }
    (void)snprintf(n, sizeof n, "%u", address->index_in_pool);
    ip_label(&address->addr, ip);
    return pattern_fill(config->pools[address->pool].ehlo, n, ip, buf, buf_bytes);
}
