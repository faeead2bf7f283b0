/*
 * wpctl_text.h - texts for people: what came over the network or from a file name made harmless for
 * a terminal, and quantities in units that are read at a glance. Pure: nothing is kept, nothing
 * fails but for memory.
 */
#ifndef WIREPOST_WPCTL_TEXT_H
#define WIREPOST_WPCTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define WPCTL_UNIT_TEXT 32 /* room for a quantity */

/* The character at `at` (UTF-8 as RFC 3629 has it: nothing overlong, no surrogates); its bytes, or
 * 0 when there is none. `at` ends with NUL. */
size_t wpctl_utf8_decode(const char *at, uint32_t *ret_code);

/*
 * Characters that would do something to a terminal or to the order of what is read become text:
 * "\n", "\x1b", "\u202e"; a byte that is no UTF-8 is "\xff". A backslash stays as it is.
 */
void wpctl_put(FILE *out, const char *text);
/* The same, malloc'ed; null: no memory. */
char *wpctl_visible_new(const char *text);

/* Columns that a visible text takes on a terminal (wcwidth(3) in a UTF-8 locale). */
size_t wpctl_width(const char *text);
/* Cuts a visible text in place to at most `columns` (1 or more); a text that is cut ends with "…",
 * for which there must be two more bytes after its NUL. */
void wpctl_clip(char *text, size_t columns);

/* "12 B", "1.5 kB", "20.0 MB": powers of 1000; below 0 is "0 B". */
const char *wpctl_bytes(int64_t bytes, char buf[WPCTL_UNIT_TEXT]);
/* "1,234,567". */
const char *wpctl_count(int64_t count, char buf[WPCTL_UNIT_TEXT]);
/* "3d04h", "2h05m", "4m10s", "7s"; below 0 is "0s". */
const char *wpctl_span(int64_t seconds, char buf[WPCTL_UNIT_TEXT]);
/* Seconds since the epoch of an RFC 3339 text in UTC, fraction left out. False: it is none. */
bool wpctl_time_parse(const char *rfc3339, int64_t *ret_seconds);

#endif
