/* alloc.h - malloc and its kin, wrapped by the linker: what is allocated is counted, and
 * allocations can be made to fail. */
#ifndef WIREPOST_TESTS_QUEUE_ALLOC_H
#define WIREPOST_TESTS_QUEUE_ALLOC_H

#include <stddef.h>

#define ALLOC_ALL_SUCCEED ((size_t)-1)

/* The first n allocations from now on succeed, the others fail. */
void alloc_allow(size_t n);
/* Allocations since alloc_allow(). */
size_t alloc_count(void);
/* Bytes in use now, as malloc_usable_size() says. */
size_t alloc_bytes(void);

#endif
