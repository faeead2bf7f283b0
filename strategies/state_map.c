/* state_map.c - key -> id, open addressing with linear probing and backward shift on removal. */
#include "strategies/state.h"

static uint32_t home_of(const struct st_map *map, uint64_t key)
{
    return (uint32_t)fx_mix(key) & map->mask;
}

void st_map_put(struct st_map *map, uint64_t key, uint32_t id)
{
    uint32_t at = home_of(map, key);

    while (map->slots[at].used)
        at = (at + 1) & map->mask;
    map->slots[at] = (struct st_map_slot){.key = key, .id = id, .used = 1};
}

static uint32_t find_slot(const struct st_map *map, uint64_t key)
{
    uint32_t at = home_of(map, key);

    while (map->slots[at].used) {
        if (map->slots[at].key == key)
            return at;
        at = (at + 1) & map->mask;
    }
    return ST_NONE;
}

uint32_t st_map_get(const struct st_map *map, uint64_t key)
{
    uint32_t at = find_slot(map, key);

    return at == ST_NONE ? ST_NONE : map->slots[at].id;
}

/* Keys behind the hole move into it unless that would put them before their home. */
void st_map_remove(struct st_map *map, uint64_t key)
{
    uint32_t hole = find_slot(map, key);

    if (hole == ST_NONE)
        return;
    for (uint32_t at = (hole + 1) & map->mask; map->slots[at].used; at = (at + 1) & map->mask) {
        uint32_t home = home_of(map, map->slots[at].key);
        if (((at - home) & map->mask) < ((at - hole) & map->mask))
            continue;
        map->slots[hole] = map->slots[at];
        hole = at;
    }
    map->slots[hole].used = 0;
}
