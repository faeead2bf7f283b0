/*
 * chan_file.h - a channel file: its geometry, how it is created, mapped and checked.
 * Used by both sides; control goes through chan_control.h and the lanes through chan_lane.h.
 *
 * A file is written under a temporary name and renamed when its header is complete, and its pages
 * are reserved, so nobody ever maps a half-made file and a full tmpfs is an error at start instead
 * of a SIGBUS later.
 */
#ifndef WIREPOST_CHAN_FILE_H
#define WIREPOST_CHAN_FILE_H

#include "dataplane/channel.h"

#define CHAN_ERROR_MAP(X)                                                                          \
    X(CHAN_OK, 0, "ok")                                                                            \
    X(CHAN_E_SYSTEM, -1, "the system refused, see errno")                                          \
    X(CHAN_E_MEMORY, -2, "out of memory")                                                          \
    X(CHAN_E_FORMAT, -3, "not a channel file of this version, or a damaged one")                   \
    X(CHAN_E_PEER, -4, "the other side speaks another version or sent nonsense")                   \
    X(CHAN_E_AGAIN, -5, "nothing there yet")                                                       \
    X(CHAN_E_CLOSED, -6, "the other side closed the socket")                                       \
    X(CHAN_E_FULL, -7, "the ring is full")                                                         \
    X(CHAN_E_ARGUMENT, -8, "bad argument")

enum chan_error {
#define X(name, value, text) name = (value),
    CHAN_ERROR_MAP(X)
#undef X
};
const char *chan_error_text(int error);

/* In run_dir: the data plane holds an exclusive flock on it for as long as it lives. */
#define CHAN_LOCK_NAME "dataplane.lock"

#define CHAN_SLOTS_MIN     2u
#define CHAN_SLOTS_MAX     65536u
#define CHAN_ARENA_MAX     (UINT64_C(1) << 40)
#define CHAN_ADDRESSES_MAX 65536u

struct chan_geometry {
    uint32_t lane;
    uint32_t n_slots;     /* power of two, CHAN_SLOTS_MIN..CHAN_SLOTS_MAX */
    uint64_t arena_bytes; /* 1..CHAN_ARENA_MAX; rounded up to whole pages */
    uint32_t n_addresses; /* 0..CHAN_ADDRESSES_MAX */
};

/* A mapped channel. The pointers stand inside the mapping; n_slots, n_addresses and arena_bytes are
 * private copies of what was checked at opening, because the header could be overwritten by the
 * other side.
 */
struct chan_map {
    struct chan_header *header;
    struct chan_ring *jobs, *done;
    struct chan_address *addresses;
    struct chan_slot *slots;
    uint8_t *arena;
    uint64_t arena_bytes;
    uint64_t map_bytes;
    uint32_t n_slots;
    uint32_t n_addresses;
    uint32_t lane;
};

/* "<run_dir>/lane-<lane>.chan". False when buf is too small. */
bool chan_file_path(const char *run_dir, uint32_t lane, char *buf, size_t buf_bytes);

/* Makes a fresh file at path with mode 0600, replacing what was there (whoever has the old one
 * mapped keeps it). All slots are FREE, all rings empty. CHAN_E_ARGUMENT, CHAN_E_SYSTEM. */
int chan_file_create(const char *path, const struct chan_geometry *geometry);

/* Maps the file at path after checking its header against its size and this program's types.
 * CHAN_E_SYSTEM (errno ENOENT: there is none), CHAN_E_FORMAT. */
int chan_file_open(const char *path, struct chan_map *ret_map);
void chan_file_close(struct chan_map *map);

/* FNV-1a, 64 bit: chan_hello.config_hash of the configuration file's bytes. */
uint64_t chan_config_hash(const void *data, size_t len);

#endif
