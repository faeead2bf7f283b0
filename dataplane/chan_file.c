/* chan_file.c - see chan_file.h. */
#include "dataplane/chan_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_BYTES UINT64_C(4096)

/* Where the parts of a file stand; all offsets are multiples of a page. */
struct layout {
    uint64_t job_ring, done_ring, addresses, slots, arena, arena_bytes, file_bytes;
};

const char *chan_error_text(int error)
{
    switch (error) {
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        CHAN_ERROR_MAP(X)
#undef X
    }
    return "unknown error";
}

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static struct layout layout_of(uint32_t n_slots, uint32_t n_addresses, uint64_t arena_bytes)
{
    uint64_t ring = whole_pages(sizeof(struct chan_ring) + n_slots * sizeof(uint32_t));
    struct layout l;
    l.job_ring = whole_pages(sizeof(struct chan_header));
    l.done_ring = l.job_ring + ring;
    l.addresses = l.done_ring + ring;
    l.slots = l.addresses + whole_pages(n_addresses * sizeof(struct chan_address));
    l.arena = l.slots + whole_pages(n_slots * sizeof(struct chan_slot));
    l.arena_bytes = whole_pages(arena_bytes);
    l.file_bytes = l.arena + l.arena_bytes;
    return l;
}

static bool sizes_valid(uint32_t n_slots, uint32_t n_addresses, uint64_t arena_bytes)
{
    return n_slots >= CHAN_SLOTS_MIN && n_slots <= CHAN_SLOTS_MAX &&
           (n_slots & (n_slots - 1)) == 0 && arena_bytes > 0 && arena_bytes <= CHAN_ARENA_MAX &&
           n_addresses <= CHAN_ADDRESSES_MAX;
}

bool chan_file_path(const char *run_dir, uint32_t lane, char *buf, size_t buf_bytes)
{
    int n = snprintf(buf, buf_bytes, "%s/lane-%u.chan", run_dir, lane);
    return n > 0 && (size_t)n < buf_bytes;
}

static int header_write(int fd, const struct chan_geometry *geometry, const struct layout *l)
{
    struct chan_header header = {
        .magic = CHAN_MAGIC,
        .version = CHAN_VERSION,
        .lane = geometry->lane,
        .n_slots = geometry->n_slots,
        .slot_bytes = sizeof(struct chan_slot),
        .file_bytes = l->file_bytes,
        .job_ring = l->job_ring,
        .done_ring = l->done_ring,
        .addresses = l->addresses,
        .n_addresses = geometry->n_addresses,
        .address_bytes = sizeof(struct chan_address),
        .slots = l->slots,
        .arena = l->arena,
        .arena_bytes = l->arena_bytes,
    };
    if (getrandom(&header.boot_id, sizeof header.boot_id, 0) != (ssize_t)sizeof header.boot_id) {
        return CHAN_E_SYSTEM;
    }
    ssize_t n = pwrite(fd, &header, sizeof header, 0);
    return n == (ssize_t)sizeof header ? CHAN_OK : CHAN_E_SYSTEM;
}

int chan_file_create(const char *path, const struct chan_geometry *geometry)
{
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof temporary ||
        !sizes_valid(geometry->n_slots, geometry->n_addresses, geometry->arena_bytes)) {
        return CHAN_E_ARGUMENT;
    }
    struct layout l = layout_of(geometry->n_slots, geometry->n_addresses, geometry->arena_bytes);
    int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return CHAN_E_SYSTEM;
    }
    int result = CHAN_E_SYSTEM;
    int error = posix_fallocate(fd, 0, (off_t)l.file_bytes);
    if (error != 0) {
        errno = error;
    } else {
        result = header_write(fd, geometry, &l);
    }
    if (result == CHAN_OK && rename(temporary, path) != 0) {
        result = CHAN_E_SYSTEM;
    }
    if (result != CHAN_OK) {
        error = errno;
        (void)unlink(temporary);
        errno = error;
    }
    (void)close(fd);
    return result;
}

static bool header_valid(const struct chan_header *h, uint64_t file_bytes)
{
    if (h->magic != CHAN_MAGIC || h->version != CHAN_VERSION ||
        h->slot_bytes != sizeof(struct chan_slot) ||
        h->address_bytes != sizeof(struct chan_address) ||
        !sizes_valid(h->n_slots, h->n_addresses, h->arena_bytes)) {
        return false;
    }
    struct layout l = layout_of(h->n_slots, h->n_addresses, h->arena_bytes);
    return h->job_ring == l.job_ring && h->done_ring == l.done_ring &&
           h->addresses == l.addresses && h->slots == l.slots && h->arena == l.arena &&
           h->arena_bytes == l.arena_bytes && h->file_bytes == l.file_bytes &&
           file_bytes == l.file_bytes;
}

static int file_map(int fd, struct chan_map *ret_map)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return CHAN_E_SYSTEM;
    }
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < sizeof(struct chan_header)) {
        return CHAN_E_FORMAT;
    }
    uint64_t bytes = (uint64_t)st.st_size;
    uint8_t *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        return CHAN_E_SYSTEM;
    }
    struct chan_header *header = (struct chan_header *)(void *)base;
    if (!header_valid(header, bytes)) {
        (void)munmap(base, bytes);
        return CHAN_E_FORMAT;
    }
    *ret_map = (struct chan_map){
        .header = header,
        .jobs = (struct chan_ring *)(void *)(base + header->job_ring),
        .done = (struct chan_ring *)(void *)(base + header->done_ring),
        .addresses = (struct chan_address *)(void *)(base + header->addresses),
        .n_addresses = header->n_addresses,
        .slots = (struct chan_slot *)(void *)(base + header->slots),
        .arena = base + header->arena,
        .arena_bytes = header->arena_bytes,
        .map_bytes = bytes,
        .n_slots = header->n_slots,
        .lane = header->lane,
    };
    return CHAN_OK;
}

int chan_file_open(const char *path, struct chan_map *ret_map)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return CHAN_E_SYSTEM;
    }
    int result = file_map(fd, ret_map);
    int error = errno;
    (void)close(fd);
    errno = error;
    return result;
}

void chan_file_close(struct chan_map *map)
{
    if (map->header) {
        (void)munmap(map->header, map->map_bytes);
    }
    *map = (struct chan_map){0};
}

uint64_t chan_config_hash(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}
