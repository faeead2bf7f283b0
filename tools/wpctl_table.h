/*
 * wpctl_table.h - tables for people: aligned columns under heads. Cells are made visible
 * (wpctl_text.h) when they are added.
 */
#ifndef WIREPOST_WPCTL_TABLE_H
#define WIREPOST_WPCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct wpctl_table;

/* Heads separated by '|'; the column of one that begins with '>' is aligned to the right. */
struct wpctl_table *wpctl_table_new(const char *heads);

/* The next cell, row by row. Without text the cell is "-". */
void wpctl_cell(struct wpctl_table *table, const char *text);
void wpctl_cell_format(struct wpctl_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void wpctl_cell_count(struct wpctl_table *table, int64_t count);
void wpctl_cell_bytes(struct wpctl_table *table, int64_t bytes);

struct wpctl_table_style {
    size_t columns;    /* of the terminal: the last cell of a row is cut to fit; 0: nothing is */
    bool bold_heads;   /* with the sequences of ECMA-48 */
    const char *empty; /* printed instead of heads without a row */
};

/* Prints and frees. The last row must be complete. */
void wpctl_table_print(struct wpctl_table *table, FILE *out, const struct wpctl_table_style *style);
/* On standard output, in the style of the options and of the terminal. */
void wpctl_table_show(struct wpctl_table *table, const char *empty);

#endif
