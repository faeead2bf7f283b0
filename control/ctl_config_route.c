/* ctl_config_route.c - "routes": relays that mail can leave by instead of our own addresses. See
 * ctl_config.h. */
#include "control/ctl_config_private.h"

#include "control/address.h"

#define PORT_SMTP  25u
#define PORT_SMTPS 465u

/* A host as DNS has it, or an address literal in brackets. */
static bool host_normal(const char *text, char host[256])
{
    char mailbox[ADDRESS_MAX], error[256];
    struct address address;
    int n = snprintf(mailbox, sizeof mailbox, "x@%s", text);
    if (n < 0 || (size_t)n >= sizeof mailbox ||
        !address_parse(mailbox, (size_t)n, &address, error, sizeof error)) {
        return false;
    }
    memcpy(host, address.domain, sizeof address.domain);
    return true;
}

/* "host", "host:port", "[192.0.2.1]:port" or "192.0.2.1:port" */
bool ctl_config_parse_authority(const char *text, uint16_t otherwise, struct ctl_route *route)
{
    char host[300], bracketed[310];
    struct ip_addr ip;
    (void)snprintf(host, sizeof host, "%s", text);
    char *end = strchr(host, ']'), *colon = strchr(end ? end : host, ':');
    unsigned long port = otherwise;
    if (colon) {
        char *rest;
        port = strtoul(colon + 1, &rest, 10);
        if (*rest != '\0' || rest == colon + 1) {
            return false;
        }
        *colon = '\0';
    }
    route->port = (uint16_t)port;
    (void)snprintf(bracketed, sizeof bracketed, "[%s]", host);
    return port >= 1 && port <= 65535 &&
           host_normal(ip_addr_parse(host, &ip) ? bracketed : host, route->host);
}

static void parse_url(struct ctl_parse *p, const char *path, json_t *object,
                      struct ctl_route *route)
{
    static const char plain[] = "smtp://", implicit[] = "smtps://";
    char text[300], child[CONFIG_PATH_MAX];
    if (!config_get_text(p->errors, path, object, "url", true, text, sizeof text)) {
        return;
    }
    bool smtps = strncmp(text, implicit, sizeof implicit - 1) == 0;
    bool smtp = strncmp(text, plain, sizeof plain - 1) == 0;
    const char *rest = text + (smtps ? sizeof implicit : sizeof plain) - 1;
    if ((!smtp && !smtps) ||
        !ctl_config_parse_authority(rest, smtps ? PORT_SMTPS : PORT_SMTP, route)) {
        config_error_add(
            p->errors, config_path_join(child, path, "url"),
            "must be like \"smtp://relay.example:25\" or \"smtps://relay.example:465\"");
    }
    if (smtps) {
        route->tls = SMTP_TLS_IMPLICIT;
    }
}

/* Which TLS: STARTTLS as "tls" says, or from the beginning; smtps is verified unless "tls" is
 * weaker. */
static void parse_tls(struct ctl_parse *p, const char *path, json_t *object,
                      struct ctl_route *route)
{
    static const struct {
        const char *name;
        enum smtp_tls tls;
        enum tls_policy policy;
    } modes[] = {
        {"none", SMTP_TLS_NONE, TLS_POLICY_MAY},
        {"may", SMTP_TLS_MAY, TLS_POLICY_MAY},
        {"must", SMTP_TLS_MUST, TLS_POLICY_ENCRYPT},
        {"verify", SMTP_TLS_MUST, TLS_POLICY_VERIFY},
    };
    bool smtps = route->tls == SMTP_TLS_IMPLICIT;
    char text[32], child[CONFIG_PATH_MAX];
    (void)snprintf(text, sizeof text, "%s", smtps ? "verify" : "may");
    (void)config_get_text(p->errors, path, object, "tls", false, text, sizeof text);
    (void)json_object_set_new(object, "tls", json_string(text));
    for (size_t i = smtps ? 2 : 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, text) == 0) {
            route->tls = smtps ? SMTP_TLS_IMPLICIT : modes[i].tls;
            route->policy = modes[i].policy;
            return;
        }
    }
    config_error_add(p->errors, config_path_join(child, path, "tls"), "must be %s",
                     smtps ? "\"must\" or \"verify\" with smtps"
                           : "\"none\", \"may\", \"must\" or \"verify\"");
}

/* "ses_smtp": the region whose SMTP endpoint of SES it is, in place of "url". True: it is given. */
static bool parse_ses_smtp(struct ctl_parse *p, const char *path, json_t *object,
                           struct ctl_route *route)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    char *region = route->ses.region, child[CONFIG_PATH_MAX];
    if (!config_get_text(p->errors, path, object, "ses_smtp", false, region,
                         sizeof route->ses.region)) {
        return false;
    }
    if (region[0] == '\0' || region[strspn(region, letters)] != '\0') {
        config_error_add(p->errors, config_path_join(child, path, "ses_smtp"),
                         "must be the name of a region, such as \"eu-west-1\"");
    }
    if (json_object_get(object, "url")) {
        config_error_add(p->errors, config_path_join(child, path, "url"),
                         "\"ses_smtp\" says it already");
    }
    (void)snprintf(route->host, sizeof route->host, "email-smtp.%s.amazonaws.com", region);
    route->port = PORT_SMTPS;
    route->tls = SMTP_TLS_IMPLICIT;
    return true;
}

static void parse_type(struct ctl_parse *p, const char *path, json_t *object,
                       struct ctl_route *route)
{
    char text[32], child[CONFIG_PATH_MAX];
    if (!config_get_text(p->errors, path, object, "type", true, text, sizeof text)) {
        return;
    }
    if (strcmp(text, "ses") == 0) {
        route->type = CTL_ROUTE_SES;
    } else if (strcmp(text, "smtp") != 0) {
        config_error_add(p->errors, config_path_join(child, path, "type"),
                         "\"%s\" is not a type of route; write \"smtp\" or \"ses\"", text);
    }
}

static void parse_limits(struct ctl_parse *p, const char *path, json_t *object,
                         struct ctl_route *route)
{
    const struct {
        const char *key;
        uint32_t low, high, otherwise, *value;
    } limits[] = {
        {"connections", 1, 1000, 10, &route->connections},
        {"max_24h", 0, UINT32_MAX, 0, &route->max_24h},
        {"max_per_h", 0, UINT32_MAX, 0, &route->max_per_h},
        {"max_per_s", 0, 1000000, 0, &route->max_per_s},
        {"messages_per_connection", 1, 1000000, 100, &route->messages_per_connection},
        {"idle_ms", 0, 300000, 5000, &route->idle_ms},
    };
    size_t n = sizeof limits / sizeof limits[0] - (route->type == CTL_ROUTE_SES ? 2 : 0);
    for (size_t i = 0; i < n; i++) {
        *limits[i].value = config_get_u32(p->errors, path, object, limits[i].key, limits[i].low,
                                          limits[i].high, limits[i].otherwise);
        (void)json_object_set_new(object, limits[i].key, json_integer(*limits[i].value));
    }
}

static void parse_cost(struct ctl_parse *p, const char *path, json_t *object,
                       struct ctl_route *route)
{
    const json_t *cost = json_object_get(object, "cost");
    char child[CONFIG_PATH_MAX];
    route->cost_ppm = -1;
    if (cost &&
        (!json_is_number(cost) || json_number_value(cost) < 0 || json_number_value(cost) > 1)) {
        config_error_add(p->errors, config_path_join(child, path, "cost"),
                         "must be a number from 0 to 1: a mail in the inbox is worth 1");
    } else if (cost) {
        route->cost_ppm = (int32_t)(json_number_value(cost) * 1e6 + 0.5);
    }
}

static void parse_smtp(struct ctl_parse *p, const char *path, json_t *object,
                       struct ctl_route *route)
{
    static const char *const keys[] = {
        "type",       "url",       "connections",      "messages_per_connection",
        "idle_ms",    "tls",       "username",         "password_file",
        "max_24h",    "max_per_h", "max_per_s",        "cost",
        "token_file", "ses_smtp",  "credentials_file", "dkim",
        NULL};
    config_check_keys(p->errors, path, object, keys);
    if (!parse_ses_smtp(p, path, object, route)) {
        parse_url(p, path, object, route);
    }
    parse_tls(p, path, object, route);
    ctl_config_parse_login(p, path, object, route);
}

static void parse_route(struct ctl_parse *p, const char *name, json_t *object)
{
    struct ctl_route *route = &p->config->routes[p->config->n_routes];
    char path[CONFIG_PATH_MAX];
    config_path_join(path, "/routes", name);
    if (!config_name_valid(name) || strcmp(name, "dedicated") == 0) {
        config_error_add(
            p->errors, path,
            "a name has 1 to %u letters, digits, '-', '_' or '.', and is not \"dedicated\"",
            CONFIG_NAME_MAX - 1);
        return;
    }
    if (!json_is_object(object)) {
        config_error_add(p->errors, path,
                         "must be an object with \"type\" and what that type needs");
        return;
    }
    p->config->n_routes++;
    (void)snprintf(route->name, sizeof route->name, "%s", name);
    parse_type(p, path, object, route);
    if (route->type == CTL_ROUTE_SES) {
        ctl_config_parse_ses(p, path, object, route);
    } else {
        parse_smtp(p, path, object, route);
    }
    ctl_config_parse_route_dkim(p, path, object, route);
    parse_limits(p, path, object, route);
    parse_cost(p, path, object, route);
}

static void parse_trust(struct ctl_parse *p)
{
    static const char *const keys[] = {"ca_file", NULL};
    json_t *tls = json_object_get(p->effective, "tls");
    if (tls && !json_is_object(tls)) {
        config_error_add(p->errors, "/tls", "must be an object with \"ca_file\"");
        return;
    }
    config_check_keys(p->errors, "/tls", tls, keys);
    (void)config_get_text(p->errors, "/tls", tls, "ca_file", false, p->config->tls_ca_file,
                          sizeof p->config->tls_ca_file);
}

void ctl_config_parse_routes(struct ctl_parse *p)
{
    parse_trust(p);
    json_t *routes = json_object_get(p->effective, "routes"), *object;
    const char *name;
    if (!routes) {
        (void)json_object_set_new(p->effective, "routes", json_object());
        return;
    }
    if (!json_is_object(routes) || json_object_size(routes) > CTL_ROUTES_MAX) {
        config_error_add(p->errors, "/routes", "must be an object with at most %u routes by name",
                         CTL_ROUTES_MAX);
        return;
    }
    p->config->routes = calloc(json_object_size(routes) + 1, sizeof p->config->routes[0]);
    INVARIANT(p->config->routes != NULL);
    json_object_foreach(routes, name, object)
    {
        parse_route(p, name, object);
    }
}

uint32_t ctl_config_route(const struct ctl_config *config, const char *name)
{
    for (uint32_t i = 0; i < config->n_routes; i++) {
        if (strcmp(config->routes[i].name, name) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}
