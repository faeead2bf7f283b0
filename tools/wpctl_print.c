/* wpctl_print.c - texts and tables for people: see wpctl.h. What came over the network never
 * reaches a terminal raw. */
#include "tools/wpctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#define CELL_MAX 512u

/* Bytes of the UTF-8 character at `at`; 0: none, or a control character (C1 too). */
static size_t printable(const unsigned char *at)
{
    size_t n = at[0] < 0x80                    ? 1
               : at[0] >= 0xc2 && at[0] < 0xe0 ? 2
               : (at[0] & 0xf0) == 0xe0        ? 3
               : (at[0] & 0xf8) == 0xf0        ? 4
                                               : 0;
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool control = at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0);
    bool turns = n == 3 && at[0] == 0xe2 &&
                 ((at[1] == 0x80 && at[2] >= 0xaa && at[2] <= 0xae) || /* bidirectional overrides */
                  (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9));
    return control || turns ? 0 : n;
}

const char *wpctl_visible(const char *text, char *buf, size_t buf_bytes)
{
    size_t used = 0;
    while (*text && used + 5 < buf_bytes) {
        size_t n = printable((const unsigned char *)text);
        if (n > 0) {
            memcpy(buf + used, text, n);
            used += n;
            text += n;
            continue;
        }
        (void)snprintf(buf + used, 5, "\\x%02x", (unsigned char)*text++);
        used += 4;
    }
    buf[used] = '\0';
    return buf;
}

size_t wpctl_width(const char *text)
{
    size_t n = 0;
    for (; *text; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

const char *wpctl_bytes(uint64_t bytes, char buf[16])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    if (bytes < 1000) {
        (void)snprintf(buf, 16, "%u B", (unsigned)bytes);
        return buf;
    }
    size_t unit = 0;
    for (value /= 1000; value >= 999.95 && unit < 4; unit++) {
        value /= 1000;
    }
    (void)snprintf(buf, 16, "%.1f %s", value, units[unit]);
    return buf;
}

const char *wpctl_span(int64_t s, char buf[16])
{
    long long n = s < 0 ? 0 : s;
    if (n >= 86400) {
        (void)snprintf(buf, 16, "%lldd%02lldh", n / 86400 % 100000, n / 3600 % 24);
    } else if (n >= 3600) {
        (void)snprintf(buf, 16, "%lldh%02lldm", n / 3600, n / 60 % 60);
    } else if (n >= 60) {
        (void)snprintf(buf, 16, "%lldm%02llds", n / 60, n % 60);
    } else {
        (void)snprintf(buf, 16, "%llds", n);
    }
    return buf;
}

int64_t wpctl_time(const char *rfc3339)
{
    struct tm tm = {0};
    return strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t)timegm(&tm) : 0;
}

/* ---- tables ------------------------------------------------------------------------------ */

struct wpctl_table {
    char **cells;
    size_t n_cells, room, n_columns;
    bool *right;
};

static void *must(void *pointer)
{
    if (!pointer) {
        wpctl_die(EX_OSERR, "out of memory");
    }
    return pointer;
}

static void add(struct wpctl_table *table, const char *text)
{
    if (table->n_cells == table->room) {
        table->room = table->room ? table->room * 2 : 64;
        table->cells = must(realloc(table->cells, table->room * sizeof table->cells[0]));
    }
    table->cells[table->n_cells++] = must(strdup(text));
}

struct wpctl_table *wpctl_table_new(const char *heads)
{
    struct wpctl_table *table = must(calloc(1, sizeof *table));
    char *copy = must(strdup(heads)), *rest = copy, *head;
    while ((head = strsep(&rest, "|")) != NULL) {
        bool right = head[0] == '>';
        table->right = must(realloc(table->right, (table->n_columns + 1) * sizeof table->right[0]));
        table->right[table->n_columns++] = right;
        add(table, head + right);
    }
    free(copy);
    return table;
}

void wpctl_cell(struct wpctl_table *table, const char *format, ...)
{
    char text[CELL_MAX], shown[CELL_MAX * 4];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    add(table, wpctl_visible(text, shown, sizeof shown));
}

static void print_row(const struct wpctl_table *table, size_t row, const size_t *widths)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        const char *cell = table->cells[row * table->n_columns + i];
        int pad = (int)(widths[i] - wpctl_width(cell));
        bool last = i + 1 == table->n_columns;
        if (table->right[i]) {
            (void)printf("%*s%s%s", pad, "", cell, last ? "\n" : "  ");
        } else {
            (void)printf("%s%*s", cell, last ? 0 : pad + 2, last ? "" : "");
            (void)fputs(last ? "\n" : "", stdout);
        }
    }
}

void wpctl_table_print(struct wpctl_table *table, const char *empty)
{
    size_t *widths = must(calloc(table->n_columns, sizeof widths[0]));
    for (size_t i = 0; i < table->n_cells; i++) {
        size_t width = wpctl_width(table->cells[i]), column = i % table->n_columns;
        widths[column] = width > widths[column] ? width : widths[column];
    }
    size_t rows = table->n_cells / table->n_columns;
    if (rows < 2) {
        (void)puts(empty);
    }
    for (size_t row = 0; rows >= 2 && row < rows; row++) {
        bool bold = row == 0 && wpctl_options.colour;
        (void)fputs(bold ? "\x1b[1m" : "", stdout);
        print_row(table, row, widths);
        (void)fputs(bold ? "\x1b[0m" : "", stdout);
    }
    for (size_t i = 0; i < table->n_cells; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    free(table->right);
    free(table);
    free(widths);
}

/* ---- JSON -------------------------------------------------------------------------------- */

const char *wpctl_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

json_int_t wpctl_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

void wpctl_print_json(const json_t *value)
{
    char *text = must(json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY));
    (void)puts(text);
    (void)fflush(stdout);
    free(text);
}
