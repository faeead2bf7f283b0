/*
 * secret_file.h - small files with secrets: passwords, keys, tokens. A file that others than its
 * owner and group may read, or that the group may write, is refused: who can write it decides where
 * mail goes.
 */
#ifndef WIREPOST_SECRET_FILE_H
#define WIREPOST_SECRET_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which state of the file was read: to see that it has changed. */
struct secret_file_stamp {
    uint64_t device, inode, bytes;
    int64_t changed_ns;
};

/* The whole file with a NUL behind it, at most buf_bytes - 1 bytes; its length. -1 with a sentence
 * in ret_error that names the file and never what is in it. ret_stamp may be null. */
long secret_file_read(const char *path, char *buf, size_t buf_bytes,
                      struct secret_file_stamp *ret_stamp, char *ret_error, size_t error_bytes);

/* True when the file is not as it was when it was read. */
bool secret_file_changed(const char *path, const struct secret_file_stamp *stamp);

#endif
