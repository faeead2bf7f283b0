/* wpctl_source.h - what there is to inject: files, the files of folders, standard input. */
#ifndef WIREPOST_WPCTL_SOURCE_H
#define WIREPOST_WPCTL_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

/* How many messages `names` (ends with null) stand for. */
size_t wpctl_sources_count(char *const *names);

/*
 * Calls `take` for each, in the order of the names and by name within a folder: with an open file
 * that is closed afterwards, or with -1 and the errno for which there is none. False from `take`
 * ends it.
 */
void wpctl_sources_each(char *const *names,
                        bool (*take)(void *user, const char *name, int fd, int error), void *user);

enum wpctl_read {
    WPCTL_READ_OK,
    WPCTL_READ_TOO_LARGE, /* over the limit; not read to its end */
    WPCTL_READ_FAILED,    /* errno */
};
/* All of a file, malloc'ed; of one that is over the limit at most limit + 1 bytes are read. */
enum wpctl_read wpctl_source_read(int fd, size_t limit_bytes, char **ret_data, size_t *ret_bytes);

#endif
