/* utcp_pool.c - pools, lists and maps of ids. */
#include "tcp/utcp_pool.h"

#include <sys/mman.h>

#define CACHE_LINE 64u
#define HUGE_PAGE  (UINT32_C(1) << 21)
#define HOT_OBJECT 512u /* longer ones are read in rows: small pages will do */

void *utcp_memory_new(size_t count, size_t size)
{
    const size_t bytes = (count * size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    const bool large = count * size >= 2 * (size_t)HUGE_PAGE;
    void *memory = NULL;

    if (posix_memalign(&memory, large ? HUGE_PAGE : CACHE_LINE, large ? bytes : count * size) != 0)
        return NULL;
    if (large)
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* where the kernel has none: small ones */
    memset(memory, 0, large ? bytes : count * size);
    return memory;
}

bool utcp_pool_init(struct utcp_pool *pool, uint32_t count, size_t size)
{
    pool->memory = size <= HOT_OBJECT ? utcp_memory_new((size_t)count + 1, size)
                                      : calloc((size_t)count + 1, size);
    pool->free_ids = utcp_memory_new((size_t)count + 1, sizeof *pool->free_ids);
    pool->used = utcp_memory_new((size_t)count + 1, 1);
    if (pool->memory == NULL || pool->free_ids == NULL || pool->used == NULL)
        return false;
    pool->size = (uint32_t)size;
    pool->count = count;
    pool->free = count;
    for (uint32_t i = 0; i < count; i++)
        pool->free_ids[i] = count - i;
    return true;
}

void utcp_pool_destroy(struct utcp_pool *pool)
{
    free(pool->memory);
    free(pool->free_ids);
    free(pool->used);
}

uint32_t utcp_pool_get(struct utcp_pool *pool)
{
    uint32_t id;

    if (pool->free == 0)
        return 0;
    id = pool->free_ids[--pool->free];
    INVARIANT_HOT(!pool->used[id]);
    pool->used[id] = 1;
    return id;
}

void utcp_pool_put(struct utcp_pool *pool, uint32_t id)
{
    INVARIANT_HOT(id != 0 && id <= pool->count && pool->used[id]);
    pool->used[id] = 0;
    pool->free_ids[pool->free++] = id;
}

void utcp_list_push(struct utcp_list *list, struct utcp_link *links, uint32_t id)
{
    links[id] = (struct utcp_link){.next = 0, .prev = list->tail};
    if (list->tail != 0)
        links[list->tail].next = id;
    else
        list->head = id;
    list->tail = id;
}

void utcp_list_push_front(struct utcp_list *list, struct utcp_link *links, uint32_t id)
{
    links[id] = (struct utcp_link){.next = list->head, .prev = 0};
    if (list->head != 0)
        links[list->head].prev = id;
    else
        list->tail = id;
    list->head = id;
}

void utcp_list_remove(struct utcp_list *list, struct utcp_link *links, uint32_t id)
{
    const struct utcp_link link = links[id];

    if (link.prev != 0)
        links[link.prev].next = link.next;
    else
        list->head = link.next;
    if (link.next != 0)
        links[link.next].prev = link.prev;
    else
        list->tail = link.prev;
}

uint32_t utcp_list_pop(struct utcp_list *list, struct utcp_link *links)
{
    const uint32_t id = list->head;

    if (id != 0)
        utcp_list_remove(list, links, id);
    return id;
}

bool utcp_map_init(struct utcp_map *map, uint32_t ids)
{
    uint32_t buckets = 64;

    while (buckets < ids && buckets < UINT32_C(1) << 30)
        buckets *= 2;
    map->mask = buckets - 1;
    map->heads = utcp_memory_new(buckets, sizeof *map->heads);
    map->next = utcp_memory_new((size_t)ids + 1, sizeof *map->next);
    return map->heads != NULL && map->next != NULL;
}

void utcp_map_destroy(struct utcp_map *map)
{
    free(map->heads);
    free(map->next);
}

void utcp_map_put(struct utcp_map *map, uint64_t hash, uint32_t id)
{
    uint32_t *head = &map->heads[hash & map->mask];

    map->next[id] = *head;
    *head = id;
}

void utcp_map_remove(struct utcp_map *map, uint64_t hash, uint32_t id)
{
    uint32_t *at = &map->heads[hash & map->mask];

    while (*at != id) {
        INVARIANT(*at != 0);
        at = &map->next[*at];
    }
    *at = map->next[id];
}
