/*
 * base.h - what every engine of Wirepost may use: invariants, big-endian access, IP addresses.
 *
 * Values only, no state, no I/O. Source of the INVARIANT rules: an invariant guards against our own
 * bugs, never against bytes from the network; those are parsed.
 */
#ifndef WIREPOST_BASE_H
#define WIREPOST_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Our own bug: stop at once, in production too. The control plane re-queues what was in flight. */
#define INVARIANT(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) {                                                        \
            (void)fprintf(stderr, "%s:%d: %s: invariant broken: %s\n", __FILE__, __LINE__,         \
                          __func__, #cond);                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The same on a hot path: on in tests, simulation and fuzzing. */
#ifdef WIREPOST_INVARIANT_HOT
#define INVARIANT_HOT(cond) INVARIANT(cond)
#else
#define INVARIANT_HOT(cond) ((void)0)
#endif

/* No time: a deadline that never comes. All times are nanoseconds of one monotonic clock. */
#define TIME_NEVER_NS UINT64_MAX
#define NS_PER_US     UINT64_C(1000)
#define NS_PER_MS     UINT64_C(1000000)
#define NS_PER_S      UINT64_C(1000000000)

static inline uint16_t be16_get(const uint8_t *p)
{
    return (uint16_t)((uint16_t)p[0] << 8 | p[1]);
}

static inline uint32_t be32_get(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void be16_put(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void be32_put(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* A hint, for tables that are large and read at random: huge pages for what lies inside of
 * [memory, memory + bytes) and was not touched yet. */
void memory_prefer_huge_pages(void *memory, size_t bytes);

/* The object will be read soon. */
static inline void memory_prefetch(const void *object, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch((const char *)object + at);
}

/* An IPv4 or IPv6 address. family: 4, 6, or 0 for none. IPv4 stands in bytes[0..3], the rest is 0,
 * so two addresses are equal exactly when memcmp() says so. */
struct ip_addr {
    uint8_t bytes[16];
    uint8_t family;
};

#define IP_ADDR_TEXT_MAX 46 /* longest text with its NUL: INET6_ADDRSTRLEN */

static inline bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Parses "192.0.2.1" or "2001:db8::1". False and *ret_addr untouched on anything else. */
bool ip_addr_parse(const char *text, struct ip_addr *ret_addr);

/* Writes the address as text into buf (at least IP_ADDR_TEXT_MAX bytes); returns buf. */
const char *ip_addr_format(const struct ip_addr *addr, char *buf);

#endif
