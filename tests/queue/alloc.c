/* alloc.c - see alloc.h. One thread only. */
#include "tests/queue/alloc.h"

#include <malloc.h>
#include <stdint.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void __wrap_free(void *memory);

static size_t allowed = ALLOC_ALL_SUCCEED, count, in_use;

void alloc_allow(size_t n)
{
    allowed = n;
    count = 0;
}

size_t alloc_count(void)
{
    return count;
}

size_t alloc_bytes(void)
{
    return in_use;
}

static void *counted(void *memory)
{
    in_use += memory ? malloc_usable_size(memory) : 0;
    return memory;
}

void *__wrap_malloc(size_t bytes)
{
    return count++ < allowed ? counted(__real_malloc(bytes)) : NULL;
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    return count++ < allowed ? counted(__real_calloc(n, bytes)) : NULL;
}

void *__wrap_realloc(void *old, size_t bytes)
{
    if (count++ >= allowed) {
        return NULL;
    }
    size_t before = old ? malloc_usable_size(old) : 0;
    void *memory = __real_realloc(old, bytes);
    in_use -= memory ? before : 0;
    return counted(memory);
}

void __wrap_free(void *memory)
{
    in_use -= memory ? malloc_usable_size(memory) : 0;
    __real_free(memory);
}
