/* ctl_config_sender.c - "senders": who may inject, with which strategy and pool. See ctl_config.h.
 */
#include "control/ctl_config_private.h"

#include "control/address.h"

static uint32_t pool_index(const struct dp_config *dp, const char *name)
{
    for (uint32_t i = 0; i < dp->n_pools; i++) {
        if (strcmp(dp->pools[i].name, name) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

static void parse_strategy(struct ctl_parse *p, const char *path, json_t *object,
                           struct ctl_sender *sender)
{
    char text[32] = "dedicated", child[CONFIG_PATH_MAX];
    config_path_join(child, path, "strategy");
    (void)config_get_text(p->errors, path, object, "strategy", false, text, sizeof text);
    (void)json_object_set_new(object, "strategy", json_string(text));
    if (!strategy_kind_parse(text, &sender->strategy)) {
        config_error_add(
            p->errors, child,
            "\"%s\" is not a strategy; write \"auto\", \"dedicated\", \"shared\" or \"custom\"",
            text);
    }
    sender->configured = sender->strategy;
    sender->tls = ctl_config_parse_tls(p, path, object, p->config->delivery.tls);
}

/* What the decisions of its strategy start from. */
static void parse_volume(struct ctl_parse *p, const char *path, json_t *object,
                         struct ctl_sender *sender)
{
    char child[CONFIG_PATH_MAX];
    sender->fallback = config_get_bool(p->errors, path, object, "fallback", true);
    if (json_object_get(object, "fallback") && sender->strategy != STRATEGY_DEDICATED) {
        config_error_add(p->errors, config_path_join(child, path, "fallback"),
                         "only a sender of strategy \"dedicated\" has it");
    }
    sender->v30 = json_object_get(object, "v30")
                      ? config_get_u32(p->errors, path, object, "v30", 0, UINT32_MAX - 1, 0)
                      : UINT32_MAX;
}

/* The index of a route that a sender names. */
static bool named_route(struct ctl_parse *p, const char *path, const json_t *value,
                        uint32_t *ret_route)
{
    const char *name = json_string_value(value);
    uint32_t route = name ? ctl_config_route(p->config, name) : UINT32_MAX;
    if (route == UINT32_MAX) {
        config_error_add(p->errors, path, "there is no route \"%s\" in \"routes\"",
                         name ? name : "");
        return false;
    }
    *ret_route = route;
    return true;
}

static void parse_shared(struct ctl_parse *p, const char *path, json_t *object,
                         struct ctl_sender *sender)
{
    char list[CONFIG_PATH_MAX], child[CONFIG_PATH_MAX];
    json_t *chain = json_object_get(object, "shared");
    size_t n = json_array_size(chain);
    config_path_join(list, path, "shared");
    if ((chain && !json_is_array(chain)) || n > CTL_CHAIN_MAX ||
        (n == 0 && sender->strategy == STRATEGY_SHARED)) {
        config_error_add(p->errors, list, "must be a list of 1 to %u names of routes",
                         CTL_CHAIN_MAX);
        return;
    }
    if (n > 0 && sender->strategy == STRATEGY_CUSTOM) {
        config_error_add(p->errors, list, "a custom sender never uses shared routes: leave it out");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (named_route(p, config_path_item(child, list, i), json_array_get(chain, i),
                        &sender->shared[sender->n_shared])) {
            sender->n_shared++;
        }
    }
}

static void parse_custom(struct ctl_parse *p, const char *path, json_t *object,
                         struct ctl_sender *sender)
{
    char child[CONFIG_PATH_MAX];
    json_t *value = json_object_get(object, "custom");
    config_path_join(child, path, "custom");
    sender->custom = UINT32_MAX;
    if (value && sender->strategy != STRATEGY_CUSTOM) {
        config_error_add(p->errors, child, "only a sender of strategy \"custom\" has one");
    } else if (value || sender->strategy == STRATEGY_CUSTOM) {
        (void)named_route(p, child, value, &sender->custom);
    }
}

/* A custom sender's own provider is nobody's shared relay, or its mail would leave by a shared one.
 */
static void check_custom_routes(struct ctl_parse *p)
{
    for (uint32_t i = 0; i < p->config->n_senders; i++) {
        for (uint32_t k = 0; k < p->config->n_senders; k++) {
            const struct ctl_sender *a = &p->config->senders[i], *b = &p->config->senders[k];
            for (uint32_t r = 0; r < b->n_shared; r++) {
                if (a->custom == b->shared[r]) {
                    char path[CONFIG_PATH_MAX];
                    config_path_join(path, "/senders", a->name);
                    config_error_add(p->errors, config_path_join(path, path, "custom"),
                                     "\"%s\" is a shared route of the sender \"%s\"",
                                     p->config->routes[a->custom].name, b->name);
                }
            }
        }
    }
}

static void parse_pool(struct ctl_parse *p, const char *path, json_t *object,
                       struct ctl_sender *sender)
{
    char name[CONFIG_NAME_MAX], child[CONFIG_PATH_MAX];
    bool needed = sender->strategy == STRATEGY_DEDICATED;
    if (!config_get_text(p->errors, path, object, "pool", needed, name, sizeof name)) {
        return;
    }
    if (sender->strategy == STRATEGY_SHARED) {
        config_error_add(p->errors, config_path_join(child, path, "pool"),
                         "a shared sender never uses own addresses: leave it out");
        return;
    }
    config_path_join(child, path, "pool");
    sender->pool = pool_index(&p->config->dp, name);
    if (sender->pool == UINT32_MAX) {
        config_error_add(p->errors, child, "there is no pool \"%s\" in \"pools\"", name);
        return;
    }
    sender->has_pool = true;
    if (p->config->dp.pools[sender->pool].n_addresses == 0) {
        config_error_add(p->errors, child,
                         "pool \"%s\" has no address: bind some to it in \"addresses\" of a queue",
                         name);
    }
}

char *ctl_config_domain_normal(const char *text)
{
    char mailbox[ADDRESS_MAX], error[256];
    struct address address;
    int n = snprintf(mailbox, sizeof mailbox, "x@%s", text);
    if (n < 0 || (size_t)n >= sizeof mailbox ||
        !address_parse(mailbox, (size_t)n, &address, error, sizeof error)) {
        return NULL;
    }
    return strdup(address.domain);
}

static void parse_domains(struct ctl_parse *p, const char *path, json_t *object,
                          struct ctl_sender *sender)
{
    char list[CONFIG_PATH_MAX], child[CONFIG_PATH_MAX];
    json_t *domains = json_object_get(object, "domains");
    config_path_join(list, path, "domains");
    if (!json_is_array(domains) || json_array_size(domains) == 0) {
        config_error_add(p->errors, list,
                         "must be a list of the domains that this sender mails as");
        return;
    }
    size_t n = json_array_size(domains);
    sender->domains = calloc(n, sizeof sender->domains[0]);
    INVARIANT(sender->domains != NULL);
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(domains, i));
        char *domain = text ? ctl_config_domain_normal(text) : NULL;
        if (!domain) {
            config_error_add(p->errors, config_path_item(child, list, i),
                             "must be a domain, such as \"example.com\"");
            continue;
        }
        sender->domains[sender->n_domains++] = domain;
    }
}

static void parse_sender(struct ctl_parse *p, const char *name, json_t *object)
{
    static const char *const keys[] = {"domains", "strategy", "pool", "shared", "custom",
                                       "v30",     "fallback", "tls",  "dkim",   NULL};
    struct ctl_sender *sender = &p->config->senders[p->config->n_senders];
    char path[CONFIG_PATH_MAX];
    config_path_join(path, "/senders", name);
    if (!config_name_valid(name)) {
        config_error_add(p->errors, path, "a name has 1 to %u letters, digits, '-', '_' or '.'",
                         CONFIG_NAME_MAX - 1);
        return;
    }
    if (!json_is_object(object)) {
        config_error_add(p->errors, path, "must be an object with \"domains\" and \"pool\"");
        return;
    }
    p->config->n_senders++;
    (void)snprintf(sender->name, sizeof sender->name, "%s", name);
    config_check_keys(p->errors, path, object, keys);
    parse_strategy(p, path, object, sender);
    parse_pool(p, path, object, sender);
    parse_shared(p, path, object, sender);
    parse_custom(p, path, object, sender);
    parse_volume(p, path, object, sender);
    parse_domains(p, path, object, sender);
    ctl_config_parse_dkim(p, path, object, sender);
    if (sender->strategy == STRATEGY_AUTO && !sender->has_pool && sender->n_shared == 0) {
        config_error_add(p->errors, path,
                         "strategy \"auto\" needs a \"pool\", \"shared\" routes, or both");
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ctl_sender *)a)->name, ((const struct ctl_sender *)b)->name);
}

/* A domain belongs to one sender, or an injection without a sender would be ambiguous. */
static void check_domains_once(struct ctl_parse *p)
{
    json_t *owner = json_object();
    for (uint32_t i = 0; i < p->config->n_senders; i++) {
        const struct ctl_sender *sender = &p->config->senders[i];
        for (size_t d = 0; d < sender->n_domains; d++) {
            json_t *other = json_object_get(owner, sender->domains[d]);
            char path[CONFIG_PATH_MAX];
            if (other) {
                (void)config_path_join(path, "/senders", sender->name);
                config_error_add(p->errors, config_path_join(path, path, "domains"),
                                 "%s belongs to the sender \"%s\" already", sender->domains[d],
                                 json_string_value(other));
            }
            (void)json_object_set_new(owner, sender->domains[d], json_string(sender->name));
        }
    }
    json_decref(owner);
}

void ctl_config_parse_senders(struct ctl_parse *p)
{
    json_t *senders = json_object_get(p->effective, "senders"), *object;
    const char *name;
    size_t n = json_object_size(senders);
    if (!json_is_object(senders) || n == 0 || n > CTL_SENDERS_MAX) {
        config_error_add(p->errors, "/senders", "must be an object with 1 to %u senders by name",
                         CTL_SENDERS_MAX);
        return;
    }
    ctl_config_dkim_memory(senders);
    p->config->senders = calloc(n, sizeof p->config->senders[0]);
    INVARIANT(p->config->senders != NULL);
    json_object_foreach(senders, name, object)
    {
        parse_sender(p, name, object);
    }
    qsort(p->config->senders, p->config->n_senders, sizeof p->config->senders[0], by_name);
    check_domains_once(p);
    check_custom_routes(p);
}

uint32_t ctl_config_sender(const struct ctl_config *config, const char *name)
{
    struct ctl_sender key;
    if (strlen(name) >= sizeof key.name) {
        return UINT32_MAX;
    }
    (void)snprintf(key.name, sizeof key.name, "%s", name);
    const struct ctl_sender *found =
        bsearch(&key, config->senders, config->n_senders, sizeof key, by_name);
    return found ? (uint32_t)(found - config->senders) : UINT32_MAX;
}

static bool is_domain_or_below(const char *domain, const char *parent)
{
    size_t len = strlen(domain), parent_len = strlen(parent);
    return len >= parent_len && strcmp(domain + len - parent_len, parent) == 0 &&
           (len == parent_len || domain[len - parent_len - 1] == '.');
}

uint32_t ctl_config_sender_of_domain(const struct ctl_config *config, const char *domain)
{
    uint32_t best = UINT32_MAX;
    size_t best_len = 0;
    for (uint32_t i = 0; i < config->n_senders; i++) {
        for (size_t d = 0; d < config->senders[i].n_domains; d++) {
            const char *own = config->senders[i].domains[d];
            if (strlen(own) > best_len && is_domain_or_below(domain, own)) {
                best = i;
                best_len = strlen(own);
            }
        }
    }
    return best;
}
