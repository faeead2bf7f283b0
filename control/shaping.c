/* shaping.c - see shaping.h. */
#include "control/shaping.h"

#include "shaping_text.inc"

/* ---- providers --------------------------------------------------------------------------- */

struct names {
    struct provider_suffix *list;
    uint32_t n;
};

static bool add_names(struct names *names, const json_t *texts, const char *provider)
{
    size_t i, n = json_array_size(texts);
    json_t *text;
    struct provider_suffix *list = realloc(names->list, (names->n + n + 1) * sizeof names->list[0]);
    if (!list) {
        return false;
    }
    names->list = list;
    json_array_foreach(texts, i, text)
    {
        list[names->n++] = (struct provider_suffix){json_string_value(text), provider};
    }
    return true;
}

static struct provider_list *read_providers(json_t *providers, const char **ret_twice)
{
    struct names mx = {0}, domains = {0};
    struct provider_list *list = NULL;
    const char *name;
    json_t *provider;
    bool ok = true;
    json_object_foreach(providers, name, provider)
    {
        ok = ok && add_names(&mx, json_object_get(provider, "mx"), name) &&
             add_names(&domains, json_object_get(provider, "domains"), name);
    }
    if (ok) {
        list = provider_list_new(mx.list, mx.n, domains.list, domains.n, ret_twice);
    }
    free(mx.list);
    free(domains.list);
    return list;
}

struct shaping *shaping_new(char *ret_error, size_t error_bytes)
{
    struct shaping *shaping = calloc(1, sizeof *shaping);
    json_t *root = json_loads(shaping_text, JSON_REJECT_DUPLICATES, NULL);
    const char *twice = NULL;
    if (shaping && root) {
        shaping->providers = read_providers(json_object_get(root, "providers"), &twice);
    }
    if (!shaping || !shaping->providers) {
        (void)snprintf(ret_error, error_bytes, "shaping.json: %s%s",
                       twice ? "two providers have " : "out of memory, or no list of suffixes",
                       twice ? twice : "");
        shaping_free(shaping);
        shaping = NULL;
    }
    json_decref(root);
    return shaping;
}

void shaping_free(struct shaping *shaping)
{
    if (shaping) {
        provider_list_free(shaping->providers);
    }
    free(shaping);
}
