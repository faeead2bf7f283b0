/* addr_map.c - see addr_map.h. */
#include "dataplane/addr_map.h"

static uint32_t place_of(const struct addr_map *map, const struct ip_addr *addr)
{
    uint64_t high, low;
    memcpy(&high, addr->bytes, sizeof high);
    memcpy(&low, addr->bytes + 8, sizeof low);
    uint64_t hash = (high ^ low * UINT64_C(0xff51afd7ed558ccd)) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 40) & map->mask;
}

bool addr_map_init(struct addr_map *map, uint32_t n_max)
{
    uint32_t size = 4;
    while (size < 2 * n_max) {
        size *= 2;
    }
    *map = (struct addr_map){.mask = size - 1, .n_max = n_max};
    map->entries = calloc(size, sizeof map->entries[0]);
    return map->entries != NULL;
}

void addr_map_fini(struct addr_map *map)
{
    free(map->entries);
    *map = (struct addr_map){0};
}

void addr_map_clear(struct addr_map *map)
{
    if (map->n > 0) {
        memset(map->entries, 0, ((size_t)map->mask + 1) * sizeof map->entries[0]);
    }
    map->n = 0;
}

/* The entry of the address, or the empty one where it would stand. */
static struct addr_map_entry *find(const struct addr_map *map, const struct ip_addr *addr)
{
    uint32_t at = place_of(map, addr);
    while (map->entries[at].addr.family != 0 && !ip_addr_equal(&map->entries[at].addr, addr)) {
        at = (at + 1) & map->mask;
    }
    return &map->entries[at];
}

bool addr_map_put(struct addr_map *map, const struct ip_addr *addr, uint32_t value)
{
    struct addr_map_entry *entry = find(map, addr);
    if (entry->addr.family == 0 && map->n == map->n_max) {
        return false;
    }
    map->n += entry->addr.family == 0;
    *entry = (struct addr_map_entry){*addr, value};
    return true;
}

/* Those behind it that may stand in its place move up, so no marks of the removed are needed. */
void addr_map_remove(struct addr_map *map, const struct ip_addr *addr)
{
    struct addr_map_entry *hole = find(map, addr);
    if (hole->addr.family == 0) {
        return;
    }
    uint32_t free_at = (uint32_t)(hole - map->entries), at = free_at;
    for (;;) {
        at = (at + 1) & map->mask;
        if (map->entries[at].addr.family == 0) {
            break;
        }
        uint32_t home = place_of(map, &map->entries[at].addr);
        if (((at - home) & map->mask) >= ((at - free_at) & map->mask)) {
            map->entries[free_at] = map->entries[at];
            free_at = at;
        }
    }
    map->entries[free_at] = (struct addr_map_entry){0};
    map->n--;
}

uint32_t addr_map_get(const struct addr_map *map, const struct ip_addr *addr)
{
    const struct addr_map_entry *entry = find(map, addr);
    return entry->addr.family != 0 ? entry->value : ADDR_MAP_NONE;
}
