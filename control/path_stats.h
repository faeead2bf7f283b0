/*
 * path_stats.h - what went from which source (address, or route) to which site, since start. Pure.
 * At most PATH_STATS_MAX pairs; what comes later is counted under the site "(other)" of its
 * address.
 */
#ifndef WIREPOST_PATH_STATS_H
#define WIREPOST_PATH_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATH_STATS_MAX   16384u
#define PATH_STATS_OTHER "(other)"

struct path_stat {
    char source[64]; /* address, or name of a route */
    char *site;
    uint64_t sent, delivered, deferred, bounced, doubtful; /* recipients; sent: attempts */
    uint64_t bytes;                                        /* of transactions, as sent */
    int64_t first_ms, last_ms; /* Unix time of the first start and the last end */
};

struct path_stats {
    struct path_stat *list; /* in the order in which they came up */
    uint32_t count, capacity;
    uint32_t *index; /* hash table of 1 + position, twice PATH_STATS_MAX at most */
    uint32_t index_size;
};

/* The pair's counters; null only without memory. Holds until the next call. */
struct path_stat *path_stats_get(struct path_stats *stats, const char *source, const char *site);
void path_stats_free(struct path_stats *stats);

#endif
