/* dp_sources.c - see dp_sources.h. */
#include "dataplane/dp_sources.h"

bool dp_sources_init(struct dp_sources *sources, uint32_t n_max)
{
    *sources = (struct dp_sources){.n_max = n_max};
    sources->list = calloc((size_t)n_max + 1, sizeof sources->list[0]);
    return sources->list && addr_map_init(&sources->map, n_max);
}

void dp_sources_fini(struct dp_sources *sources)
{
    free(sources->list);
    addr_map_fini(&sources->map);
    *sources = (struct dp_sources){0};
}

bool dp_sources_add(struct dp_sources *sources, uint32_t number, const struct ip_addr *addr)
{
    if (number >= sources->n_max || sources->list[number].addr.family != 0 ||
        dp_sources_find(sources, addr) != ADDR_MAP_NONE ||
        !addr_map_put(&sources->map, addr, number)) {
        return false;
    }
    sources->list[number] = (struct dp_source){.addr = *addr, .empty_ns = TIME_NEVER_NS};
    return true;
}

void dp_sources_remove(struct dp_sources *sources, uint32_t number)
{
    INVARIANT(sources->list[number].sessions == 0);
    addr_map_remove(&sources->map, &sources->list[number].addr);
    sources->list[number] = (struct dp_source){0};
}

uint32_t dp_sources_find(const struct dp_sources *sources, const struct ip_addr *addr)
{
    return addr_map_get(&sources->map, addr);
}
