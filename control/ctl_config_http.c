/* ctl_config_http.c - "http": see ctl_config.h. */
#include "control/ctl_config_private.h"

#include <arpa/inet.h>

/* "192.0.2.1:8025" or "[2001:db8::1]:8025". */
static bool parse_listen(const char *text, struct sockaddr_storage *ret)
{
    char host[64];
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    const char *colon = strrchr(text, ':');
    char *end;
    size_t len = colon ? (size_t)(colon - text) : 0;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (len == 0 || len >= sizeof host || port < 1 || port > 65535 || *end != '\0') {
        return false;
    }
    bool bracketed = text[0] == '[' && text[len - 1] == ']';
    (void)snprintf(host, sizeof host, "%.*s", (int)(bracketed ? len - 2 : len),
                   bracketed ? text + 1 : text);
    in.sin_port = in6.sin6_port = htons((uint16_t)port);
    if (bracketed && inet_pton(AF_INET6, host, &in6.sin6_addr) == 1) {
        memcpy(ret, &in6, sizeof in6);
        return true;
    }
    memcpy(ret, &in, sizeof in);
    return !bracketed && inet_pton(AF_INET, host, &((struct sockaddr_in *)ret)->sin_addr) == 1;
}

static void parse_topics(struct ctl_parse *p, json_t *http)
{
    struct ctl_config *c = p->config;
    json_t *topics = json_object_get(http, "sns_topics"), *topic;
    size_t i;
    if (topics && (!json_is_array(topics) || json_array_size(topics) > CTL_TOPICS_MAX)) {
        config_error_add(p->errors, "/http/sns_topics", "must be a list of at most %u topics",
                         CTL_TOPICS_MAX);
        return;
    }
    json_array_foreach(topics, i, topic)
    {
        const char *text = json_string_value(topic);
        char path[CONFIG_PATH_MAX];
        if (!text || strncmp(text, "arn:aws", 7) != 0 || !strstr(text, ":sns:") ||
            strlen(text) >= sizeof c->http.topics[0]) {
            config_error_add(p->errors, config_path_item(path, "/http/sns_topics", i),
                             "must be like \"arn:aws:sns:eu-west-1:123456789012:mail\"");
            continue;
        }
        (void)snprintf(c->http.topics[c->http.n_topics++], sizeof c->http.topics[0], "%s", text);
    }
}

void ctl_config_parse_http(struct ctl_parse *p)
{
    static const char *const keys[] = {"listen", "sns_topics", "sns_endpoint", NULL};
    struct ctl_config *c = p->config;
    json_t *http = json_object_get(p->effective, "http");
    if (!http) {
        return;
    }
    if (!json_is_object(http)) {
        config_error_add(p->errors, "/http", "must be an object with \"listen\"");
        return;
    }
    config_check_keys(p->errors, "/http", http, keys);
    if (config_get_text(p->errors, "/http", http, "listen", true, c->http.listen,
                        sizeof c->http.listen) &&
        !parse_listen(c->http.listen, &c->http.address)) {
        config_error_add(p->errors, "/http/listen",
                         "must be like \"192.0.2.1:8025\" or \"[2001:db8::1]:8025\"");
    }
    parse_topics(p, http);
    if (config_get_text(p->errors, "/http", http, "sns_endpoint", false, c->http.sns_endpoint,
                        sizeof c->http.sns_endpoint) &&
        (strncmp(c->http.sns_endpoint, "https://", 8) != 0 ||
         strchr(c->http.sns_endpoint + 8, '/'))) {
        config_error_add(p->errors, "/http/sns_endpoint", "must be like \"https://sns.example\"");
    }
}
