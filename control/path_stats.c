/* path_stats.c - see path_stats.h. */
#include "control/path_stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_MIN 256u

static uint32_t hash_of(const char *source, const char *site)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *source; source++) {
        hash = (hash ^ (uint8_t)*source) * 16777619u;
    }
    hash *= 16777619u; /* so that "a" "bc" is not "ab" "c" */
    for (; *site; site++) {
        hash = (hash ^ (uint8_t)*site) * 16777619u;
    }
    return hash;
}

/* The place in the index where the pair is or belongs. */
static uint32_t *place(const struct path_stats *stats, const char *source, const char *site)
{
    uint32_t at = hash_of(source, site) & (stats->index_size - 1);
    while (stats->index[at] != 0) {
        const struct path_stat *stat = &stats->list[stats->index[at] - 1];
        if (strcmp(stat->source, source) == 0 && strcmp(stat->site, site) == 0) {
            break;
        }
        at = (at + 1) & (stats->index_size - 1);
    }
    return &stats->index[at];
}

static bool grow(struct path_stats *stats)
{
    uint32_t size = stats->index_size ? stats->index_size * 2 : INDEX_MIN;
    uint32_t *index = calloc(size, sizeof index[0]);
    struct path_stat *list = realloc(stats->list, size / 2 * sizeof list[0]);
    if (!index || !list) {
        free(index);
        stats->list = list ? list : stats->list;
        return false;
    }
    free(stats->index);
    stats->list = list;
    stats->capacity = size / 2;
    stats->index = index;
    stats->index_size = size;
    for (uint32_t i = 0; i < stats->count; i++) {
        *place(stats, list[i].source, list[i].site) = i + 1;
    }
    return true;
}

static struct path_stat *add(struct path_stats *stats, const char *source, const char *site)
{
    char *copy = strdup(site);
    if (!copy || (stats->count == stats->capacity && !grow(stats))) {
        free(copy);
        return NULL;
    }
    struct path_stat *stat = &stats->list[stats->count];
    *stat = (struct path_stat){.site = copy};
    (void)snprintf(stat->source, sizeof stat->source, "%s", source);
    *place(stats, source, site) = ++stats->count;
    return stat;
}

struct path_stat *path_stats_get(struct path_stats *stats, const char *source, const char *site)
{
    if (stats->index_size == 0 && !grow(stats)) {
        return NULL;
    }
    uint32_t found = *place(stats, source, site);
    if (found != 0) {
        return &stats->list[found - 1];
    }
    if (stats->count >= PATH_STATS_MAX && strcmp(site, PATH_STATS_OTHER) != 0) {
        return path_stats_get(stats, source, PATH_STATS_OTHER);
    }
    return add(stats, source, site);
}

void path_stats_free(struct path_stats *stats)
{
    for (uint32_t i = 0; i < stats->count; i++) {
        free(stats->list[i].site);
    }
    free(stats->list);
    free(stats->index);
    *stats = (struct path_stats){0};
}
