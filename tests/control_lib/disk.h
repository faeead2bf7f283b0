/*
 * disk.h - a disk that fails when it is told to: fdatasync(), fsync() and pwrite() of a program
 * that is linked with this are its own, also for LMDB.
 *
 * LMDB writes the pages of a transaction, calls fdatasync(), and then makes it valid by writing the
 * head of the file, less than a page, through a descriptor that is O_DSYNC.
 */
#ifndef WIREPOST_TESTS_CONTROL_LIB_DISK_H
#define WIREPOST_TESTS_CONTROL_LIB_DISK_H

#include "control/store.h"

#include <stdatomic.h>

struct disk {
    atomic_int sync_error; /* errno of fdatasync(); 0: it works */
    atomic_uint n_good;    /* so many work before */
    atomic_bool once;      /* only one fails then */
    atomic_bool head_fails;
    atomic_uint n_syncs, n_directory_syncs; /* calls until now */
};
extern struct disk disk;

void disk_repair(void);
/* The writer is kept in the sync of an event: what is given now is its next batch. */
void disk_shut_gate(struct store *store);
void disk_open_gate(void);

#endif
