/* dp_timers.c - see dp_timers.h. */
#include "dataplane/dp_timers.h"

#define NOWHERE UINT32_MAX

bool dp_timers_init(struct dp_timers *t, uint32_t count)
{
    *t = (struct dp_timers){
        .due_ns = calloc(count, sizeof t->due_ns[0]),
        .where = malloc(count * sizeof t->where[0]),
        .heap = calloc(count, sizeof t->heap[0]),
    };
    if (!t->due_ns || !t->where || !t->heap) {
        dp_timers_fini(t);
        return false;
    }
    memset(t->where, 0xff, count * sizeof t->where[0]);
    return true;
}

void dp_timers_fini(struct dp_timers *t)
{
    free(t->due_ns);
    free(t->where);
    free(t->heap);
    *t = (struct dp_timers){0};
}

static void place(struct dp_timers *t, uint32_t at, uint32_t number)
{
    t->heap[at] = number;
    t->where[number] = at;
}

static void sift_up(struct dp_timers *t, uint32_t at)
{
    uint32_t number = t->heap[at];
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (t->due_ns[t->heap[parent]] <= t->due_ns[number]) {
            break;
        }
        place(t, at, t->heap[parent]);
        at = parent;
    }
    place(t, at, number);
}

static void sift_down(struct dp_timers *t, uint32_t at)
{
    uint32_t number = t->heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= t->n) {
            break;
        }
        if (child + 1 < t->n && t->due_ns[t->heap[child + 1]] < t->due_ns[t->heap[child]]) {
            child++;
        }
        if (t->due_ns[number] <= t->due_ns[t->heap[child]]) {
            break;
        }
        place(t, at, t->heap[child]);
        at = child;
    }
    place(t, at, number);
}

static void take_out(struct dp_timers *t, uint32_t number)
{
    uint32_t at = t->where[number];
    uint32_t last = t->heap[--t->n];
    t->where[number] = NOWHERE;
    if (last != number) {
        place(t, at, last);
        sift_up(t, at);
        sift_down(t, t->where[last]);
    }
}

void dp_timers_set(struct dp_timers *t, uint32_t number, uint64_t due_ns)
{
    bool inside = t->where[number] != NOWHERE;
    if (due_ns == TIME_NEVER_NS) {
        if (inside) {
            take_out(t, number);
        }
        return;
    }
    if (!inside) {
        place(t, t->n++, number);
    } else if (t->due_ns[number] == due_ns) {
        return;
    }
    t->due_ns[number] = due_ns;
    sift_up(t, t->where[number]);
    sift_down(t, t->where[number]);
}

uint64_t dp_timers_next_ns(const struct dp_timers *t)
{
    return t->n > 0 ? t->due_ns[t->heap[0]] : TIME_NEVER_NS;
}

bool dp_timers_pop(struct dp_timers *t, uint64_t now_ns, uint32_t *ret_number)
{
    if (dp_timers_next_ns(t) > now_ns) {
        return false;
    }
    *ret_number = t->heap[0];
    take_out(t, t->heap[0]);
    return true;
}
