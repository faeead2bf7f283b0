/* wpctl_json.c - see wpctl_json.h. */
#include "tools/wpctl_json.h"

#include "tools/wpctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define DEL '\x7f'

const char *wpctl_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

json_int_t wpctl_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

double wpctl_real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

int64_t wpctl_whole(const json_t *object, const char *key)
{
    const double most = 1e15;
    double number = wpctl_real(object, key);
    return (int64_t)(number > most ? most : number < -most ? -most : number);
}

bool wpctl_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

json_t *wpctl_need(const json_t *result, const char *key, json_type type)
{
    json_t *value = json_object_get(result, key);
    if (!value || json_typeof(value) != type) {
        wpctl_die(
            EX_PROTOCOL,
            "%s: the daemon's answer has no good \"%s\"; are wirepostd and wirepostctl of the "
            "same version? (wirepostctl version)",
            wpctl_options.socket, key);
    }
    return value;
}

bool wpctl_set_text(json_t *object, const char *key, const char *text)
{
    json_t *value = json_string(text);
    return value && json_object_set_new(object, key, value) == 0;
}

/* Jansson escapes the other controls and, with JSON_ENSURE_ASCII, all that is not ASCII. A DEL can
 * only stand inside a string. */
static char *without_del(char *text)
{
    size_t n = 0;
    for (const char *at = text; *at; at++) {
        n += *at == DEL;
    }
    if (n == 0) {
        return text;
    }
    char *clean = wpctl_must(malloc(strlen(text) + n * 5 + 1)), *to = clean;
    for (const char *at = text; *at; at++) {
        if (*at == DEL) {
            memcpy(to, "\\u007f", 6);
            to += 6;
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
    free(text);
    return clean;
}

static char *dump(const json_t *value, size_t flags)
{
    return without_del(wpctl_must(json_dumps(value, flags | JSON_ENSURE_ASCII | JSON_ENCODE_ANY)));
}

char *wpctl_json_line(const json_t *value)
{
    return dump(value, JSON_COMPACT);
}

void wpctl_print_json(const json_t *value)
{
    char *text = wpctl_json_line(value);
    (void)puts(text);
    free(text);
    wpctl_flush();
}

void wpctl_print_pretty(const json_t *value)
{
    char *text = dump(value, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    (void)puts(text);
    free(text);
}
