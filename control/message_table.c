/* message_table.c - linear probing with backward shift deletion: see message_table.h. */
#include "control/message_table.h"

#include "tcp/base.h"

#define CAPACITY_MIN 1024u

static size_t home(const struct message_table *table, uint64_t id)
{
    return (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (table->capacity - 1);
}

static struct message_entry *slot_for(const struct message_table *table, uint64_t id)
{
    size_t at = home(table, id);
    while (table->entries[at].id != 0 && table->entries[at].id != id) {
        at = (at + 1) & (table->capacity - 1);
    }
    return &table->entries[at];
}

static bool grow(struct message_table *table)
{
    struct message_table bigger = {
        .capacity = table->capacity ? table->capacity * 2 : CAPACITY_MIN,
        .count = table->count,
    };
    bigger.entries = calloc(bigger.capacity, sizeof bigger.entries[0]);
    if (!bigger.entries) {
        return false;
    }
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->entries[i].id != 0) {
            *slot_for(&bigger, table->entries[i].id) = table->entries[i];
        }
    }
    free(table->entries);
    *table = bigger;
    return true;
}

bool message_table_add(struct message_table *table, uint64_t id, uint32_t queued)
{
    INVARIANT(id != 0);
    if ((table->count + 1) * 4 > table->capacity * 3 && !grow(table)) {
        return false;
    }
    struct message_entry *entry = slot_for(table, id);
    INVARIANT(entry->id == 0);
    *entry = (struct message_entry){.id = id, .queued = queued};
    table->count++;
    return true;
}

struct message_entry *message_table_find(const struct message_table *table, uint64_t id)
{
    if (table->capacity == 0 || id == 0) {
        return NULL;
    }
    struct message_entry *entry = slot_for(table, id);
    return entry->id == id ? entry : NULL;
}

/* What follows the hole moves back unless it would then stand before its home. */
void message_table_remove(struct message_table *table, uint64_t id)
{
    struct message_entry *found = message_table_find(table, id);
    if (!found) {
        return;
    }
    size_t mask = table->capacity - 1, hole = (size_t)(found - table->entries), at = hole;
    for (;;) {
        at = (at + 1) & mask;
        if (table->entries[at].id == 0) {
            break;
        }
        size_t distance = (at - home(table, table->entries[at].id)) & mask;
        if (distance >= ((at - hole) & mask)) {
            table->entries[hole] = table->entries[at];
            hole = at;
        }
    }
    table->entries[hole].id = 0;
    table->count--;
}

void message_table_free(struct message_table *table)
{
    free(table->entries);
    *table = (struct message_table){0};
}
