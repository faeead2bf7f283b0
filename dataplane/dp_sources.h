/*
 * dp_sources.h - the source addresses of a lane: which there are, and which are being drained.
 *
 * A source's number is its place in the table of addresses that control shares with the lane
 * (chan_address.h), so both call it the same; it holds as long as the source is there. Pure; the
 * lane's thread owns it.
 */
#ifndef WIREPOST_DP_SOURCES_H
#define WIREPOST_DP_SOURCES_H

#include "dataplane/addr_map.h"

struct dp_source {
    struct ip_addr addr; /* family 0: nothing stands here */
    bool draining;       /* nothing new from it */
    bool leaving;        /* draining, and then to be removed */
    uint32_t sessions;   /* connections of the session manager */
    uint64_t empty_ns;   /* draining: since when there are none; TIME_NEVER_NS: there are */
};

struct dp_sources {
    struct dp_source *list; /* by number */
    uint32_t n_max;
    struct addr_map map; /* to numbers */
};

/* False: no memory; fini in either case. */
bool dp_sources_init(struct dp_sources *sources, uint32_t n_max);
void dp_sources_fini(struct dp_sources *sources);

/* False: the number or the address is taken. */
bool dp_sources_add(struct dp_sources *sources, uint32_t number, const struct ip_addr *addr);
void dp_sources_remove(struct dp_sources *sources, uint32_t number);
/* Its number, or ADDR_MAP_NONE. */
uint32_t dp_sources_find(const struct dp_sources *sources, const struct ip_addr *addr);

#endif
