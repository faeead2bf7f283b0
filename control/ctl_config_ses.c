/* ctl_config_ses.c - a route of type "ses": see ctl_config.h. */
#include "control/ctl_config_private.h"

#include "control/ses_api.h"

#define PORT_HTTPS 443u

static void parse_region(struct ctl_parse *p, const char *path, json_t *object,
                         struct ctl_route *route)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    char child[CONFIG_PATH_MAX];
    char *region = route->ses.region;
    if (config_get_text(p->errors, path, object, "region", true, region,
                        sizeof route->ses.region) &&
        (region[0] == '\0' || region[strspn(region, letters)] != '\0')) {
        config_error_add(p->errors, config_path_join(child, path, "region"),
                         "must be the name of a region, such as \"eu-west-1\"");
    }
}

/* "https://host" or "https://host:port", without a path. */
static void parse_endpoint(struct ctl_parse *p, const char *path, json_t *object,
                           struct ctl_route *route)
{
    static const char scheme[] = "https://";
    char child[CONFIG_PATH_MAX], *text = route->ses.endpoint;
    (void)snprintf(text, sizeof route->ses.endpoint, "https://email.%s.amazonaws.com",
                   route->ses.region);
    (void)config_get_text(p->errors, path, object, "endpoint", false, text,
                          sizeof route->ses.endpoint);
    (void)json_object_set_new(object, "endpoint", json_string(text));
    if (strncmp(text, scheme, sizeof scheme - 1) != 0 || strchr(text + sizeof scheme - 1, '/') ||
        !ctl_config_parse_authority(text + sizeof scheme - 1, PORT_HTTPS, route)) {
        config_error_add(p->errors, config_path_join(child, path, "endpoint"),
                         "must be like \"https://email.eu-west-1.amazonaws.com\"");
    }
}

/* Which credentials: one place, named. */
static void parse_credentials(struct ctl_parse *p, const char *path, json_t *object,
                              struct ctl_route *route)
{
    char text[32] = "";
    bool file = config_get_text(p->errors, path, object, "credentials_file", false,
                                route->ses.credentials_file, sizeof route->ses.credentials_file);
    bool named = config_get_text(p->errors, path, object, "credentials", false, text, sizeof text);
    bool instance = strcmp(text, "instance") == 0, environment = strcmp(text, "environment") == 0;
    route->ses.from = file ? AWS_FROM_FILE : instance ? AWS_FROM_INSTANCE : AWS_FROM_ENVIRONMENT;
    if (file == named || (named && !instance && !environment)) {
        config_error_add(p->errors, path,
                         "needs either \"credentials_file\", or \"credentials\": "
                         "\"environment\" or \"instance\"");
    }
}

static void parse_tags(struct ctl_parse *p, const char *path, json_t *object,
                       struct ctl_route *route)
{
    json_t *tags = json_object_get(object, "tags"), *value;
    char child[CONFIG_PATH_MAX];
    const char *name;
    struct ctl_ses *ses = &route->ses;
    (void)config_path_join(child, path, "tags");
    if (tags && (!json_is_object(tags) || json_object_size(tags) > CTL_SES_TAGS_MAX)) {
        config_error_add(p->errors, child, "must be an object with at most %u tags",
                         CTL_SES_TAGS_MAX);
        return;
    }
    json_object_foreach(tags, name, value)
    {
        const char *text = json_string_value(value);
        if (!text || !ses_tag_valid(name, sizeof ses->tags[0].name - 1) ||
            !ses_tag_valid(text, sizeof ses->tags[0].value - 1) || strcmp(name, SES_ID_TAG) == 0) {
            config_error_add(p->errors, child,
                             "names and values have letters, digits, '-' and '_' only, and "
                             "\"" SES_ID_TAG "\" is ours");
            continue;
        }
        (void)snprintf(ses->tags[ses->n_tags].name, sizeof ses->tags[0].name, "%s", name);
        (void)snprintf(ses->tags[ses->n_tags].value, sizeof ses->tags[0].value, "%s", text);
        ses->n_tags++;
    }
}

static void parse_configuration_set(struct ctl_parse *p, const char *path, json_t *object,
                                    struct ctl_route *route)
{
    char child[CONFIG_PATH_MAX];
    char *name = route->ses.configuration_set;
    if (config_get_text(p->errors, path, object, "configuration_set", false, name,
                        sizeof route->ses.configuration_set) &&
        !ses_tag_valid(name, sizeof route->ses.configuration_set - 1)) {
        config_error_add(p->errors, config_path_join(child, path, "configuration_set"),
                         "has 1 to %zu letters, digits, '-' and '_'",
                         sizeof route->ses.configuration_set - 1);
    }
}

void ctl_config_parse_ses(struct ctl_parse *p, const char *path, json_t *object,
                          struct ctl_route *route)
{
    static const char *const keys[] = {"type",
                                       "region",
                                       "endpoint",
                                       "credentials_file",
                                       "credentials",
                                       "tags",
                                       "timeout_s",
                                       "connections",
                                       "configuration_set",
                                       "account_poll_s",
                                       "max_per_s",
                                       "max_24h",
                                       "max_per_h",
                                       "cost",
                                       "dkim",
                                       NULL};
    config_check_keys(p->errors, path, object, keys);
    parse_region(p, path, object, route);
    parse_endpoint(p, path, object, route);
    parse_credentials(p, path, object, route);
    parse_configuration_set(p, path, object, route);
    parse_tags(p, path, object, route);
    route->ses.timeout_s = config_get_u32(p->errors, path, object, "timeout_s", 1, 600, 60);
    route->ses.account_poll_s =
        config_get_u32(p->errors, path, object, "account_poll_s", 1, 3600, 60);
    (void)json_object_set_new(object, "timeout_s", json_integer(route->ses.timeout_s));
    (void)json_object_set_new(object, "account_poll_s", json_integer(route->ses.account_poll_s));
}
