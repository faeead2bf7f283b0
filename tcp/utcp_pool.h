/*
 * utcp_pool.h - the three containers of the stack: pools, lists and maps of small integers.
 *
 * Objects are named by ids 1..count; 0 is "none". All memory comes from one allocation at init;
 * nothing here allocates, fails or blocks later.
 */
#ifndef WIREPOST_UTCP_POOL_H
#define WIREPOST_UTCP_POOL_H

#include "tcp/base.h"

/* Zeroed memory for one of the tables below, on huge pages when it is large: with many connections
 * it is the TLB that makes a lookup slow. Null when there is none; free() gives it back. */
void *utcp_memory_new(size_t count, size_t size);

/* ---- pool: fixed-size objects -------------------------------------------------------------- */

struct utcp_pool {
    uint8_t *memory;
    uint32_t *free_ids; /* a stack: the object used last is the warmest */
    uint8_t *used;      /* by id; guards against freeing twice */
    uint32_t count, free;
    uint32_t size; /* of an object */
};

/* What an object costs besides its own size. */
#define UTCP_POOL_BYTES_EACH (sizeof(uint32_t) + 1)

bool utcp_pool_init(struct utcp_pool *pool, uint32_t count, size_t size);
void utcp_pool_destroy(struct utcp_pool *pool);

/* An id, or 0 when the pool is empty. The object keeps what was in it. */
uint32_t utcp_pool_get(struct utcp_pool *pool);
void utcp_pool_put(struct utcp_pool *pool, uint32_t id);

static inline void *utcp_pool_at(const struct utcp_pool *pool, uint32_t id)
{
    INVARIANT_HOT(id != 0 && id <= pool->count);
    return pool->memory + (size_t)id * pool->size;
}

/* ---- list: double links kept in an array beside the objects -------------------------------- */

struct utcp_link {
    uint32_t next, prev;
};

struct utcp_list {
    uint32_t head, tail;
};

void utcp_list_push(struct utcp_list *list, struct utcp_link *links, uint32_t id);
void utcp_list_remove(struct utcp_list *list, struct utcp_link *links, uint32_t id);
/* The other end: the next that is taken. */
void utcp_list_push_front(struct utcp_list *list, struct utcp_link *links, uint32_t id);
/* Takes the oldest, 0 when there is none. */
uint32_t utcp_list_pop(struct utcp_list *list, struct utcp_link *links);

/* ---- map: hash buckets with chains of ids -------------------------------------------------- */

struct utcp_map {
    uint32_t *heads; /* by hash & mask */
    uint32_t *next;  /* by id */
    uint32_t mask;
};

/* At most: up to two heads for each id. */
#define UTCP_MAP_BYTES_EACH (3 * sizeof(uint32_t))

bool utcp_map_init(struct utcp_map *map, uint32_t ids);
void utcp_map_destroy(struct utcp_map *map);
void utcp_map_put(struct utcp_map *map, uint64_t hash, uint32_t id);
void utcp_map_remove(struct utcp_map *map, uint64_t hash, uint32_t id);

/* for (id = utcp_map_first(m, hash); id != 0; id = m->next[id]) compare the object itself */
static inline uint32_t utcp_map_first(const struct utcp_map *map, uint64_t hash)
{
    return map->heads[hash & map->mask];
}

#endif
