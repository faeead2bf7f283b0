/* provider.c - see provider.h. */
#include "control/provider.h"

#include "tcp/utcp_siphash.h"

#include <inttypes.h>
#include <libpsl.h>

/* Sorted by suffix. */
struct suffixes {
    struct provider_suffix *list;
    uint32_t n;
};

struct provider_list {
    psl_ctx_t *psl;
    struct suffixes mx, domains;
};

/* ---- suffixes ---------------------------------------------------------------------------- */

static int by_suffix(const void *a, const void *b)
{
    return strcmp(((const struct provider_suffix *)a)->suffix,
                  ((const struct provider_suffix *)b)->suffix);
}

/* The texts stand behind the list, in one piece of memory. */
static bool copy_suffixes(struct suffixes *to, const struct provider_suffix *from, uint32_t n)
{
    size_t bytes = 1;
    for (uint32_t i = 0; i < n; i++) {
        bytes += strlen(from[i].suffix) + strlen(from[i].name) + 2;
    }
    to->list = malloc(n * sizeof from[0] + bytes);
    if (!to->list) {
        return false;
    }
    char *text = (char *)(to->list + n);
    for (uint32_t i = 0; i < n; i++) {
        to->list[i].suffix = text;
        text = stpcpy(text, from[i].suffix) + 1;
        to->list[i].name = text;
        text = stpcpy(text, from[i].name) + 1;
    }
    to->n = n;
    qsort(to->list, n, sizeof to->list[0], by_suffix);
    return true;
}

static const char *find_twice(const struct suffixes *suffixes, const struct provider_suffix *from)
{
    for (uint32_t i = 1; i < suffixes->n; i++) {
        if (by_suffix(&suffixes->list[i - 1], &suffixes->list[i]) == 0) {
            uint32_t k = 0;
            while (strcmp(from[k].suffix, suffixes->list[i].suffix) != 0) {
                k++;
            }
            return from[k].suffix;
        }
    }
    return NULL;
}

struct provider_list *provider_list_new(const struct provider_suffix *mx, uint32_t n_mx,
                                        const struct provider_suffix *domains, uint32_t n_domains,
                                        const char **ret_twice)
{
    struct provider_list *list = calloc(1, sizeof *list);
    const char *twice = NULL;
    if (list && copy_suffixes(&list->mx, mx, n_mx) &&
        copy_suffixes(&list->domains, domains, n_domains) && (list->psl = psl_latest(NULL))) {
        twice = find_twice(&list->mx, mx);
        twice = twice ? twice : find_twice(&list->domains, domains);
        if (!twice) {
            return list;
        }
    }
    *ret_twice = twice;
    provider_list_free(list);
    return NULL;
}

void provider_list_free(struct provider_list *list)
{
    if (list) {
        psl_free(list->psl);
        free(list->mx.list);
        free(list->domains.list);
    }
    free(list);
}

/* Of the longest suffix; null: none. */
static const char *name_of(const struct suffixes *suffixes, const char *host)
{
    for (const char *at = host; at; at = strchr(at, '.'), at += at != NULL) {
        const struct provider_suffix key = {.suffix = at};
        const struct provider_suffix *found =
            suffixes->n > 0 ? bsearch(&key, suffixes->list, suffixes->n, sizeof key, by_suffix)
                            : NULL;
        if (found) {
            return found->name;
        }
    }
    return NULL;
}

/* ---- names ------------------------------------------------------------------------------- */

/* A public suffix, and a name of one label, stands for itself. */
static const char *registrable(const struct provider_list *list, const char *host)
{
    const char *domain = psl_registrable_domain(list->psl, host);
    return domain ? domain : host;
}

static void name_set(const char *const *hosts, uint32_t n, char ret_name[PROVIDER_NAME_BYTES])
{
    static const uint8_t no_secret[16] = "wirepost mx set";
    uint64_t sum = 0; /* the same in whichever order */
    for (uint32_t i = 0; i < n; i++) {
        sum += utcp_siphash(no_secret, (const uint8_t *)hosts[i], strlen(hosts[i]));
    }
    (void)snprintf(ret_name, PROVIDER_NAME_BYTES, "set:%016" PRIx64, sum);
}

static void name_registrable(const char *domain, char ret_name[PROVIDER_NAME_BYTES])
{
    size_t len = strlen(domain);
    if (len < PROVIDER_NAME_BYTES) {
        memcpy(ret_name, domain, len + 1);
    } else {
        name_set(&domain, 1, ret_name);
    }
}

typedef const char *(*owner_fn)(const struct provider_list *list, const char *host);

static const char *listed(const struct provider_list *list, const char *host)
{
    return name_of(&list->mx, host);
}

/* Whom all hosts belong to; null: nobody alone. */
static const char *common_owner(const struct provider_list *list, owner_fn owner,
                                const char *const *hosts, uint32_t n)
{
    const char *first = owner(list, hosts[0]);
    for (uint32_t i = 1; first && i < n; i++) {
        const char *other = owner(list, hosts[i]);
        first = other && strcmp(other, first) == 0 ? first : NULL;
    }
    return first;
}

void provider_of_hosts(const struct provider_list *list, const char *const *hosts, uint32_t n,
                       char ret_name[PROVIDER_NAME_BYTES])
{
    const char *owner = common_owner(list, listed, hosts, n);
    owner = owner ? owner : common_owner(list, registrable, hosts, n);
    if (owner) {
        name_registrable(owner, ret_name);
    } else {
        name_set(hosts, n, ret_name);
    }
}

void provider_of_domain(const struct provider_list *list, const char *domain,
                        char ret_name[PROVIDER_NAME_BYTES])
{
    const char *owner = name_of(&list->domains, domain);
    owner = owner ? owner : listed(list, domain);
    name_registrable(owner ? owner : registrable(list, domain), ret_name);
}

void provider_of_address(const struct ip_addr *addr, char ret_name[PROVIDER_NAME_BYTES])
{
    char text[IP_ADDR_TEXT_MAX];
    struct ip_addr network = *addr;
    if (addr->family == 6) { /* a host has a network of its own: RFC 6177 */
        memset(network.bytes + 8, 0, 8);
    }
    (void)ip_addr_format(&network, text);
    (void)snprintf(ret_name, PROVIDER_NAME_BYTES, "ip:%s%s", text, addr->family == 6 ? "/64" : "");
}
