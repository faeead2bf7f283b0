/* wpctl_json.h - the daemon's results read and printed. Values that are borrowed stay the
 * document's. */
#ifndef WIREPOST_WPCTL_JSON_H
#define WIREPOST_WPCTL_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Of what may be missing: "", 0, false. */
const char *wpctl_text(const json_t *object, const char *key);
json_int_t wpctl_number(const json_t *object, const char *key);
double wpctl_real(const json_t *object, const char *key);
/* A number without its fraction, within +-10^15. */
int64_t wpctl_whole(const json_t *object, const char *key);
bool wpctl_true(const json_t *object, const char *key);

/* Of what API.md promises: without it the daemon talks nonsense and the program ends with
 * EX_PROTOCOL. Borrowed. */
json_t *wpctl_need(const json_t *result, const char *key, json_type type);

/* object[key] = text; false: it is no UTF-8. */
bool wpctl_set_text(json_t *object, const char *key, const char *text);

/* One line on standard output, written out at once: for machines, and to be followed by them. All
 * of it is printable ASCII. */
void wpctl_print_json(const json_t *value);
/* The same in many lines, for people. */
void wpctl_print_pretty(const json_t *value);
/* The one line without its LF; malloc'ed. */
char *wpctl_json_line(const json_t *value);

#endif
