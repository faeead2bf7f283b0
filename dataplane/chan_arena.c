/* chan_arena.c - see chan_arena.h. */
#include "dataplane/chan_arena.h"

static uint64_t round_up(uint64_t len)
{
    return (len + CHAN_ARENA_ALIGN - 1) / CHAN_ARENA_ALIGN * CHAN_ARENA_ALIGN;
}

static uint64_t range_end(struct chan_range range)
{
    return range.offset + range.len;
}

bool chan_arena_init(struct chan_arena *arena, uint64_t bytes)
{
    *arena = (struct chan_arena){.bytes = bytes / CHAN_ARENA_ALIGN * CHAN_ARENA_ALIGN};
    arena->cap_holes = 64;
    arena->holes = calloc(arena->cap_holes, sizeof arena->holes[0]);
    if (!arena->holes) {
        return false;
    }
    arena->free_bytes = arena->bytes;
    if (arena->bytes > 0) {
        arena->holes[arena->n_holes++] = (struct chan_range){0, arena->bytes};
    }
    return true;
}

void chan_arena_fini(struct chan_arena *arena)
{
    free(arena->holes);
    *arena = (struct chan_arena){0};
}

/* Room for the holes that n_ranges + 1 ranges can leave between them: it is reserved before a range
 * is handed out, so that giving it back cannot fail. */
static bool holes_reserve(struct chan_arena *arena)
{
    if (arena->n_ranges + 3 <= arena->cap_holes) {
        return true;
    }
    uint32_t cap = arena->cap_holes * 2;
    struct chan_range *holes = realloc(arena->holes, cap * sizeof holes[0]);
    if (!holes) {
        return false;
    }
    arena->holes = holes;
    arena->cap_holes = cap;
    return true;
}

/* Index of the first hole that begins at or after offset. */
static uint32_t holes_find(const struct chan_arena *arena, uint64_t offset)
{
    uint32_t low = 0, high = arena->n_holes;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (arena->holes[middle].offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void hole_insert(struct chan_arena *arena, uint32_t at, struct chan_range hole)
{
    INVARIANT(arena->n_holes < arena->cap_holes);
    memmove(&arena->holes[at + 1], &arena->holes[at],
            (arena->n_holes - at) * sizeof arena->holes[0]);
    arena->holes[at] = hole;
    arena->n_holes++;
}

static void hole_remove(struct chan_arena *arena, uint32_t at)
{
    arena->n_holes--;
    memmove(&arena->holes[at], &arena->holes[at + 1],
            (arena->n_holes - at) * sizeof arena->holes[0]);
}

bool chan_arena_alloc(struct chan_arena *arena, uint64_t len, struct chan_range *ret_range)
{
    if (len == 0) {
        *ret_range = (struct chan_range){0, 0};
        return true;
    }
    if (len > arena->free_bytes || !holes_reserve(arena)) {
        return false;
    }
    uint64_t need = round_up(len);
    for (uint32_t tried = 0; tried < arena->n_holes; tried++) {
        uint32_t at = (arena->next + tried) % arena->n_holes;
        struct chan_range *hole = &arena->holes[at];
        if (hole->len < need) {
            continue;
        }
        *ret_range = (struct chan_range){hole->offset, len};
        hole->offset += need;
        hole->len -= need;
        if (hole->len == 0) {
            hole_remove(arena, at);
        }
        arena->free_bytes -= need;
        arena->n_ranges++;
        arena->next = at;
        return true;
    }
    return false;
}

void chan_arena_free(struct chan_arena *arena, struct chan_range range)
{
    if (range.len == 0) {
        return;
    }
    struct chan_range freed = {range.offset, round_up(range.len)};
    INVARIANT(freed.offset % CHAN_ARENA_ALIGN == 0 && range_end(freed) <= arena->bytes);
    uint32_t at = holes_find(arena, freed.offset);
    bool joins_left = at > 0 && range_end(arena->holes[at - 1]) == freed.offset;
    bool joins_right = at < arena->n_holes && range_end(freed) == arena->holes[at].offset;
    INVARIANT(at == 0 || range_end(arena->holes[at - 1]) <= freed.offset);
    INVARIANT(at == arena->n_holes || range_end(freed) <= arena->holes[at].offset);

    arena->free_bytes += freed.len;
    arena->n_ranges -= arena->n_ranges > 0;
    if (joins_left && joins_right) {
        arena->holes[at - 1].len += freed.len + arena->holes[at].len;
        hole_remove(arena, at);
    } else if (joins_left) {
        arena->holes[at - 1].len += freed.len;
    } else if (joins_right) {
        arena->holes[at].offset = freed.offset;
        arena->holes[at].len += freed.len;
    } else {
        hole_insert(arena, at, freed);
    }
}

/* Cuts [offset, end) out of hole `at`; returns the index where the search goes on. */
static uint32_t hole_cut(struct chan_arena *arena, uint32_t at, uint64_t offset, uint64_t end)
{
    struct chan_range hole = arena->holes[at];
    uint64_t from = hole.offset > offset ? hole.offset : offset;
    uint64_t to = range_end(hole) < end ? range_end(hole) : end;
    struct chan_range left = {hole.offset, from - hole.offset};
    struct chan_range right = {to, range_end(hole) - to};

    arena->free_bytes -= to - from;
    hole_remove(arena, at);
    if (right.len > 0) {
        hole_insert(arena, at, right);
    }
    if (left.len > 0) {
        hole_insert(arena, at, left);
        at++;
    }
    return at;
}

bool chan_arena_take(struct chan_arena *arena, struct chan_range range)
{
    if (range.len == 0) {
        return true;
    }
    if (range.offset % CHAN_ARENA_ALIGN != 0 || range.offset >= arena->bytes ||
        range.len > arena->bytes - range.offset || !holes_reserve(arena)) {
        return false;
    }
    uint64_t end = range.offset + round_up(range.len);
    uint32_t at = holes_find(arena, range.offset);
    if (at > 0 && range_end(arena->holes[at - 1]) > range.offset) {
        at--;
    }
    while (at < arena->n_holes && arena->holes[at].offset < end) {
        at = hole_cut(arena, at, range.offset, end);
    }
    arena->n_ranges++;
    return true;
}
