/* ctl_config_dkim.c - "dkim" of senders, and which signature a route carries: see ctl_config.h. */
#include "control/ctl_config_private.h"

#include "control/address.h"

#include <strings.h>

#define EXPIRE_S_MAX 31536000u

/* Labels of letters, digits and hyphens (RFC 6376 3.1). */
static bool selector_valid(const char *text)
{
    char last = '.';
    for (const char *at = text; *at; last = *at++) {
        bool letter =
            (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9');
        if (!letter && *at != '_' && (last == '.' || (*at != '-' && *at != '.'))) {
            return false;
        }
    }
    return last != '.' && last != '-';
}

static void parse_names(struct ctl_parse *p, const char *path, json_t *object,
                        struct ctl_dkim *dkim)
{
    char text[256], child[CONFIG_PATH_MAX];
    if (config_get_text(p->errors, path, object, "domain", true, text, sizeof text)) {
        char *domain = ctl_config_domain_normal(text);
        if (!domain || domain[0] == '[' || strlen(domain) >= sizeof dkim->domain) {
            config_error_add(p->errors, config_path_join(child, path, "domain"),
                             "must be a domain, such as \"example.com\"");
        } else {
            (void)snprintf(dkim->domain, sizeof dkim->domain, "%s", domain);
        }
        free(domain);
    }
    if (config_get_text(p->errors, path, object, "selector", true, dkim->selector,
                        sizeof dkim->selector) &&
        !selector_valid(dkim->selector)) {
        config_error_add(p->errors, config_path_join(child, path, "selector"),
                         "must be the part of the key's DNS name before ._domainkey");
    }
}

/* i= must be of d= or below it (RFC 6376 3.5). */
static void parse_identity(struct ctl_parse *p, const char *path, json_t *object,
                           struct ctl_dkim *dkim)
{
    char child[CONFIG_PATH_MAX];
    if (!config_get_text(p->errors, path, object, "identity", false, dkim->identity,
                         sizeof dkim->identity)) {
        return;
    }
    const char *at = strrchr(dkim->identity, '@');
    size_t len = strlen(dkim->identity), domain_len = strlen(dkim->domain);
    size_t host_len = at ? strlen(at + 1) : 0;
    bool below = host_len >= domain_len && domain_len > 0 &&
                 strcasecmp(dkim->identity + len - domain_len, dkim->domain) == 0 &&
                 (host_len == domain_len || dkim->identity[len - domain_len - 1] == '.');
    if (!below || strcspn(dkim->identity, " \t\r\n;<>\"()") != len) {
        config_error_add(p->errors, config_path_join(child, path, "identity"),
                         "must be \"@\" and the key's domain or one below it, perhaps with a plain "
                         "local part before it");
    }
}

static void parse_key(struct ctl_parse *p, const char *path, json_t *object, struct ctl_dkim *dkim)
{
    static const char *const keys[] = {"domain",   "selector", "key_file",
                                       "identity", "expire_s", NULL};
    char child[CONFIG_PATH_MAX], error[256];
    if (!json_is_object(object)) {
        config_error_add(p->errors, path,
                         "must be an object with \"domain\", \"selector\" and \"key_file\"");
        return;
    }
    config_check_keys(p->errors, path, object, keys);
    parse_names(p, path, object, dkim);
    parse_identity(p, path, object, dkim);
    if (json_object_get(object, "expire_s")) { /* a signature must not end before the mail does */
        dkim->expire_s = config_get_u32(p->errors, path, object, "expire_s",
                                        p->config->delivery.expire_s, EXPIRE_S_MAX, 0);
    }
    if (!config_get_text(p->errors, path, object, "key_file", true, dkim->key_file,
                         sizeof dkim->key_file)) {
        return;
    }
    dkim->key = dkim_key_load(dkim->key_file, error, sizeof error);
    if (!dkim->key) {
        config_error_add(p->errors, config_path_join(child, path, "key_file"), "%s %s",
                         dkim->key_file, error);
    }
}

void ctl_config_parse_dkim(struct ctl_parse *p, const char *path, json_t *object,
                           struct ctl_sender *sender)
{
    char list[CONFIG_PATH_MAX], child[CONFIG_PATH_MAX];
    json_t *keys = json_object_get(object, "dkim");
    size_t n = json_array_size(keys);
    config_path_join(list, path, "dkim");
    if (keys && (!json_is_array(keys) || n == 0 || n > CTL_DKIM_MAX)) {
        config_error_add(p->errors, list, "must be a list of 1 to %u keys", CTL_DKIM_MAX);
        return;
    }
    if (n > 0) {
        sender->dkim = calloc(n, sizeof sender->dkim[0]);
        INVARIANT(sender->dkim != NULL);
    }
    for (size_t i = 0; i < n; i++) {
        parse_key(p, config_path_item(child, list, i), json_array_get(keys, i),
                  &sender->dkim[sender->n_dkim++]);
    }
}

void ctl_config_dkim_memory(json_t *senders)
{
    const char *name;
    json_t *object;
    size_t n = 0;
    json_object_foreach(senders, name, object)
    {
        n += json_array_size(json_object_get(object, "dkim"));
    }
    if (n > 0) {
        dkim_key_memory((uint32_t)n);
    }
}

/* ---- routes ------------------------------------------------------------------------------ */

/* Amazon writes Date and Message-ID anew, by its API and by its relays
 * (email-smtp.REGION.amazonaws.com). */
static bool writes_dates_anew(const struct ctl_route *route)
{
    const char *host = route->host;
    static const char head[] = "email-smtp", tail[] = ".amazonaws.com";
    size_t len = strlen(host), tail_len = sizeof tail - 1;
    return route->type == CTL_ROUTE_SES ||
           (len > tail_len && strncmp(host, head, sizeof head - 1) == 0 &&
            strcmp(host + len - tail_len, tail) == 0);
}

void ctl_config_parse_route_dkim(struct ctl_parse *p, const char *path, json_t *object,
                                 struct ctl_route *route)
{
    static const char *const names[] = {
#define X(name, text) [DKIM_PROFILE_##name] = text,
        DKIM_PROFILE_MAP(X)
#undef X
            [DKIM_PROFILES] = "none",
    };
    char text[16], child[CONFIG_PATH_MAX];
    uint32_t profile = writes_dates_anew(route) ? DKIM_PROFILE_STABLE : DKIM_PROFILE_ALL;
    (void)snprintf(text, sizeof text, "%s", names[profile]);
    (void)config_get_text(p->errors, path, object, "dkim", false, text, sizeof text);
    (void)json_object_set_new(object, "dkim", json_string(text));
    for (profile = 0; profile <= DKIM_PROFILES && strcmp(names[profile], text) != 0; profile++) {
    }
    if (profile > DKIM_PROFILES) {
        config_error_add(
            p->errors, config_path_join(child, path, "dkim"),
            "must be \"all\", \"stable\" (Date and Message-ID are not signed, since the "
            "relay writes them anew) or \"none\"");
    }
    route->dkim = (enum dkim_profile)(profile > DKIM_PROFILES ? DKIM_PROFILES : profile);
}
