/* secret_file.c - see secret_file.h. */
#include "control/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORBIDDEN (S_IWGRP | S_IRWXO)

static struct secret_file_stamp stamp_of(const struct stat *st)
{
    return (struct secret_file_stamp){
        .device = (uint64_t)st->st_dev,
        .inode = (uint64_t)st->st_ino,
        .bytes = (uint64_t)st->st_size,
        .changed_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
    };
}

/* What keeps it from being read; null: nothing. */
static const char *objection(const struct stat *st, size_t buf_bytes)
{
    if (!S_ISREG(st->st_mode)) {
        return "is no regular file";
    }
    if ((st->st_mode & FORBIDDEN) != 0) {
        return "may be read or written by others: chmod 600 (or 640)";
    }
    return (uint64_t)st->st_size >= buf_bytes ? "is too long" : NULL;
}

static long read_all(int fd, char *buf, size_t buf_bytes)
{
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, buf + len, buf_bytes - 1 - len)) > 0) {
        len += (size_t)n;
    }
    buf[n < 0 ? 0 : len] = '\0';
    return n < 0 ? -1 : (long)len;
}

long secret_file_read(const char *path, char *buf, size_t buf_bytes,
                      struct secret_file_stamp *ret_stamp, char *ret_error, size_t error_bytes)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *why = fd < 0 || fstat(fd, &st) != 0 ? strerror(errno) : objection(&st, buf_bytes);
    long len = why ? -1 : read_all(fd, buf, buf_bytes);
    if (len < 0) {
        (void)snprintf(ret_error, error_bytes, "%s: %s", path, why ? why : strerror(errno));
    } else if (ret_stamp) {
        *ret_stamp = stamp_of(&st);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return len;
}

bool secret_file_changed(const char *path, const struct secret_file_stamp *stamp)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return true;
    }
    const struct secret_file_stamp now = stamp_of(&st);
    return now.device != stamp->device || now.inode != stamp->inode || now.bytes != stamp->bytes ||
           now.changed_ns != stamp->changed_ns;
}
