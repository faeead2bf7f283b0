/* wpctl_table.c - see wpctl_table.h. */
#include "tools/wpctl_table.h"

#include "tools/wpctl.h"
#include "tools/wpctl_text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define GAP        "  " /* between two cells */
#define CLIP_LEAST 10u  /* the last cell is not cut to fewer columns */

struct wpctl_table {
    char **cells; /* the heads are the first row */
    size_t n_cells, room, n_columns;
    bool *right;
};

static void add(struct wpctl_table *table, const char *text)
{
    if (table->n_cells == table->room) {
        table->room = table->room ? table->room * 2 : 64;
        table->cells = wpctl_must(realloc(table->cells, table->room * sizeof table->cells[0]));
    }
    table->cells[table->n_cells++] = wpctl_must(wpctl_visible_new(text));
}

struct wpctl_table *wpctl_table_new(const char *heads)
{
    struct wpctl_table *table = wpctl_must(calloc(1, sizeof *table));
    char *copy = wpctl_must(strdup(heads)), *rest = copy, *head;
    while ((head = strsep(&rest, "|")) != NULL) {
        bool right = head[0] == '>';
        size_t bytes = (table->n_columns + 1) * sizeof table->right[0];
        table->right = wpctl_must(realloc(table->right, bytes));
        table->right[table->n_columns++] = right;
        add(table, head + right);
    }
    free(copy);
    return table;
}

void wpctl_cell(struct wpctl_table *table, const char *text)
{
    add(table, text[0] ? text : "-");
}

void wpctl_cell_format(struct wpctl_table *table, const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int len = vasprintf(&text, format, arguments);
    va_end(arguments);
    wpctl_must(len < 0 ? NULL : text);
    wpctl_cell(table, text);
    free(text);
}

void wpctl_cell_count(struct wpctl_table *table, int64_t count)
{
    char buf[WPCTL_UNIT_TEXT];
    add(table, wpctl_count(count, buf));
}

void wpctl_cell_bytes(struct wpctl_table *table, int64_t bytes)
{
    char buf[WPCTL_UNIT_TEXT];
    add(table, wpctl_bytes(bytes, buf));
}

/* ---- printing ---------------------------------------------------------------------------- */

static size_t *widths_of(const struct wpctl_table *table)
{
    size_t *widths = wpctl_must(calloc(table->n_columns, sizeof widths[0]));
    for (size_t i = 0; i < table->n_cells; i++) {
        size_t width = wpctl_width(table->cells[i]), column = i % table->n_columns;
        widths[column] = width > widths[column] ? width : widths[column];
    }
    return widths;
}

static void clip_last(struct wpctl_table *table, const size_t *widths, size_t columns)
{
    size_t before = 0, last = table->n_columns - 1;
    for (size_t i = 0; i < last; i++) {
        before += widths[i] + sizeof GAP - 1;
    }
    size_t left = columns > before + CLIP_LEAST ? columns - before : CLIP_LEAST;
    for (size_t i = last; i < table->n_cells; i += table->n_columns) {
        wpctl_clip(table->cells[i], left);
    }
}

static void print_row(const struct wpctl_table *table, size_t row, const size_t *widths, FILE *out)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        const char *cell = table->cells[row * table->n_columns + i];
        size_t width = wpctl_width(cell);
        int pad = widths[i] > width ? (int)(widths[i] - width) : 0;
        bool last = i + 1 == table->n_columns;
        if (table->right[i]) {
            (void)fprintf(out, "%*s%s", pad, "", cell);
        } else {
            (void)fprintf(out, "%s%*s", cell, last ? 0 : pad, "");
        }
        (void)fputs(last ? "" : GAP, out);
    }
}

static void table_free(struct wpctl_table *table)
{
    for (size_t i = 0; i < table->n_cells; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    free(table->right);
    free(table);
}

void wpctl_table_print(struct wpctl_table *table, FILE *out, const struct wpctl_table_style *style)
{
    size_t *widths = widths_of(table), rows = table->n_cells / table->n_columns;
    if (style->columns > 0) {
        clip_last(table, widths, style->columns);
    }
    if (rows < 2) {
        (void)fprintf(out, "%s\n", style->empty);
    }
    for (size_t row = 0; rows >= 2 && row < rows; row++) {
        bool bold = row == 0 && style->bold_heads;
        (void)fputs(bold ? "\x1b[1m" : "", out);
        print_row(table, row, widths, out);
        (void)fputs(bold ? "\x1b[0m\n" : "\n", out);
    }
    free(widths);
    table_free(table);
}

static size_t terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void wpctl_table_show(struct wpctl_table *table, const char *empty)
{
    const struct wpctl_table_style style = {
        .columns = terminal_columns(), .bold_heads = wpctl_options.colour, .empty = empty};
    wpctl_table_print(table, stdout, &style);
}
