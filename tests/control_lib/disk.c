/* disk.c - see disk.h. */
#include "tests/control_lib/disk.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096u

struct disk disk;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

int fdatasync(int fd)
{
    disk.n_syncs++;
    (void)pthread_mutex_lock(&gate);
    int error = disk.n_good > 0 ? 0 : disk.sync_error;
    if (disk.n_good > 0) {
        disk.n_good--;
    } else if (disk.once) {
        disk.sync_error = 0;
    }
    (void)pthread_mutex_unlock(&gate);
    errno = error;
    return error ? -1 : (int)syscall(SYS_fdatasync, fd);
}

/* The store itself calls it, on directories. */
int fsync(int fd)
{
    struct stat st;
    disk.n_directory_syncs += fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    return (int)syscall(SYS_fsync, fd);
}

/* By its name in the C library, which the headers may change. */
ssize_t own_pwrite(int fd, const void *data, size_t bytes, off_t offset) __asm__("pwrite");

ssize_t own_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    if (disk.head_fails && bytes < PAGE) {
        errno = EIO;
        return -1;
    }
    return (ssize_t)syscall(SYS_pwrite64, fd, data, bytes, offset);
}

void disk_repair(void)
{
    disk.sync_error = 0;
    disk.n_good = 0;
    disk.once = disk.head_fails = false;
}

void disk_shut_gate(struct store *store)
{
    unsigned before = disk.n_syncs;
    (void)pthread_mutex_lock(&gate);
    store_event(store, 0, "{}");
    while (disk.n_syncs == before) {
        (void)poll(NULL, 0, 1);
    }
}

void disk_open_gate(void)
{
    (void)pthread_mutex_unlock(&gate);
}
