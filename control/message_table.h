/*
 * message_table.h - which messages are queued, and how many of their recipients are. A hash table
 * of 24 bytes an entry (at most 3/4 full), keyed by message id; the rest of a message is in the
 * spool. Pure.
 */
#ifndef WIREPOST_MESSAGE_TABLE_H
#define WIREPOST_MESSAGE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct message_entry {
    uint64_t id;        /* 0: empty */
    uint32_t queued;    /* recipients without a final outcome that was given to the store */
    uint32_t in_flight; /* of them */
    bool held;          /* an event has told that it is held */
};

struct message_table {
    struct message_entry *entries;
    size_t capacity, count; /* capacity: a power of two or 0 */
};

/* Adds a message that is not there. False: no memory. */
bool message_table_add(struct message_table *table, uint64_t id, uint32_t queued);
/* Null when it is not there. Holds until the next add or remove. */
struct message_entry *message_table_find(const struct message_table *table, uint64_t id);
void message_table_remove(struct message_table *table, uint64_t id);
void message_table_free(struct message_table *table);

#endif
