/* wpctl_source.c - see wpctl_source.h. */
#include "tools/wpctl_source.h"

#include "tools/wpctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_READ_BYTES 65536u

struct walk {
    bool (*take)(void *user, const char *name, int fd, int error);
    void *user;
};

static bool is_folder(const char *name)
{
    struct stat st;
    return stat(name, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_file(const char *name)
{
    struct stat st;
    return stat(name, &st) == 0 && S_ISREG(st.st_mode);
}

static int no_dot_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool take_file(const struct walk *walk, const char *name)
{
    if (strcmp(name, "-") == 0) {
        return walk->take(walk->user, name, STDIN_FILENO, 0);
    }
    int fd = open(name, O_RDONLY | O_CLOEXEC), error = errno;
    bool go_on = walk->take(walk->user, name, fd, fd < 0 ? error : 0);
    if (fd >= 0) {
        (void)close(fd);
    }
    return go_on;
}

/* Byte by byte, whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool take_folder(const struct walk *walk, const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, no_dot_file, by_name);
    if (n < 0) {
        return walk->take(walk->user, folder, -1, errno);
    }
    bool go_on = true, slash = folder[strlen(folder) - 1] == '/';
    for (int i = 0; i < n; i++) {
        char *name = NULL;
        if (asprintf(&name, "%s%s%s", folder, slash ? "" : "/", entries[i]->d_name) < 0) {
            wpctl_must(NULL);
        }
        go_on = go_on && (!is_file(name) || take_file(walk, name));
        free(name);
        free(entries[i]);
    }
    free(entries);
    return go_on;
}

void wpctl_sources_each(char *const *names,
                        bool (*take)(void *user, const char *name, int fd, int error), void *user)
{
    const struct walk walk = {.take = take, .user = user};
    bool go_on = true;
    for (; go_on && *names; names++) {
        go_on = is_folder(*names) ? take_folder(&walk, *names) : take_file(&walk, *names);
    }
}

static size_t count_folder(const char *folder)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        struct stat st;
        count += no_dot_file(entry) && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
                 S_ISREG(st.st_mode);
    }
    if (dir) {
        (void)closedir(dir);
    }
    return dir ? count : 1; /* the folder is refused itself */
}

size_t wpctl_sources_count(char *const *names)
{
    size_t count = 0;
    for (; *names; names++) {
        count += is_folder(*names) ? count_folder(*names) : 1;
    }
    return count;
}

/* ---- one file ---------------------------------------------------------------------------- */

/* 0: its end. */
static ssize_t read_some(int fd, char *to, size_t bytes)
{
    ssize_t n;
    do {
        n = read(fd, to, bytes);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* Reads to the end of the file, or until there is more than the limit. */
static bool read_up_to(int fd, size_t limit, char **data, size_t *len)
{
    size_t room = FIRST_READ_BYTES;
    *data = wpctl_must(malloc(room));
    *len = 0;
    for (;;) {
        size_t wanted = room - *len < limit + 1 - *len ? room - *len : limit + 1 - *len;
        ssize_t n = read_some(fd, *data + *len, wanted);
        if (n < 0) {
            return false;
        }
        *len += (size_t)n;
        if (n == 0 || *len > limit) {
            return true;
        }
        if (*len == room) {
            room *= 2;
            *data = wpctl_must(realloc(*data, room));
        }
    }
}

enum wpctl_read wpctl_source_read(int fd, size_t limit_bytes, char **ret_data, size_t *ret_bytes)
{
    struct stat st;
    char *data;
    size_t len;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size > limit_bytes) {
        return WPCTL_READ_TOO_LARGE;
    }
    if (!read_up_to(fd, limit_bytes, &data, &len)) {
        int error = errno;
        free(data);
        errno = error;
        return WPCTL_READ_FAILED;
    }
    if (len > limit_bytes) {
        free(data);
        return WPCTL_READ_TOO_LARGE;
    }
    *ret_data = data;
    *ret_bytes = len;
    return WPCTL_READ_OK;
}
