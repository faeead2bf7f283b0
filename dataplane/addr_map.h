/*
 * addr_map.h - IP addresses to numbers: which lane owns one, where it stands in a table.
 *
 * Open addressing, at most half full, so that a look-up is one or two cache lines whatever the
 * number of addresses. Keys are the operator's: this need not stand against an attacker. Memory is
 * taken by addr_map_init() only.
 */
#ifndef WIREPOST_ADDR_MAP_H
#define WIREPOST_ADDR_MAP_H

#include "tcp/base.h"

#define ADDR_MAP_NONE UINT32_MAX

struct addr_map_entry {
    struct ip_addr addr; /* family 0: empty */
    uint32_t value;
};

struct addr_map {
    struct addr_map_entry *entries;
    uint32_t mask, n, n_max;
};

/* Room for n_max addresses. False: no memory. */
bool addr_map_init(struct addr_map *map, uint32_t n_max);
void addr_map_fini(struct addr_map *map);
void addr_map_clear(struct addr_map *map);

/* Sets the address' value. False: there is no room for another. */
bool addr_map_put(struct addr_map *map, const struct ip_addr *addr, uint32_t value);
void addr_map_remove(struct addr_map *map, const struct ip_addr *addr);
/* ADDR_MAP_NONE: it is not there. */
uint32_t addr_map_get(const struct addr_map *map, const struct ip_addr *addr);

#endif
