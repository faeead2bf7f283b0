/* config_read.c - see config_read.h. */
#include "dataplane/config_read.h"

#include "tcp/base.h"

#include <ctype.h>

#include <stdarg.h>

void config_error_add(struct config_errors *errors, const char *path, const char *format, ...)
{
    struct config_error *list = realloc(errors->list, (errors->count + 1) * sizeof errors->list[0]);
    INVARIANT(list != NULL); /* start-up only; without memory for a message there is no going on */
    errors->list = list;

    char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    int n = vasprintf(&message, format, arguments);
    va_end(arguments);
    struct config_error *error = &list[errors->count++];
    error->path = strdup(path);
    error->message = message;
    INVARIANT(n >= 0 && error->path != NULL);
}

void config_errors_free(struct config_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        free(errors->list[i].path);
        free(errors->list[i].message);
    }
    free(errors->list);
    *errors = (struct config_errors){0};
}

static bool is_known(const char *key, const char *const *known)
{
    for (; *known; known++) {
        if (strcmp(key, *known) == 0) {
            return true;
        }
    }
    return false;
}

/* "a, b, c" of the null-terminated list; cut when buf is full. */
static void list_names(const char *const *known, char *buf, size_t buf_bytes)
{
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; known[i] && used < buf_bytes; i++) {
        int n = snprintf(buf + used, buf_bytes - used, "%s%s", i ? ", " : "", known[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

void config_check_keys(struct config_errors *errors, const char *path, json_t *object,
                       const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (!is_known(key, known)) {
            char child[CONFIG_PATH_MAX], names[512];
            list_names(known, names, sizeof names);
            config_path_join(child, path, key);
            config_error_add(errors, child, "unknown key; the keys here are: %s", names);
        }
    }
}

const char *config_path_join(char buf[CONFIG_PATH_MAX], const char *path, const char *key)
{
    size_t used = strnlen(path, CONFIG_PATH_MAX - 2);
    memmove(buf, path, used);
    buf[used++] = '/';
    for (; *key && used < CONFIG_PATH_MAX - 2; key++) {
        if (*key == '~' || *key == '/') { /* RFC 6901 3 */
            buf[used++] = '~';
            buf[used++] = *key == '~' ? '0' : '1';
        } else {
            buf[used++] = *key;
        }
    }
    buf[used] = '\0';
    return buf;
}

const char *config_path_item(char buf[CONFIG_PATH_MAX], const char *path, size_t index)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%zu", index);
    return config_path_join(buf, path, number);
}

/* ---- members ----------------------------------------------------------------------------- */

uint32_t config_get_u32(struct config_errors *errors, const char *path, json_t *object,
                        const char *key, uint32_t low, uint32_t high, uint32_t otherwise)
{
    json_t *value = json_object_get(object, key);
    char child[CONFIG_PATH_MAX];
    if (!value) {
        return otherwise;
    }
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < (json_int_t)low || number > (json_int_t)high) {
        config_error_add(errors, config_path_join(child, path, key),
                         "must be a whole number from %u to %u", low, high);
        return otherwise;
    }
    return (uint32_t)number;
}

bool config_get_bool(struct config_errors *errors, const char *path, json_t *object,
                     const char *key, bool otherwise)
{
    json_t *value = json_object_get(object, key);
    char child[CONFIG_PATH_MAX];
    if (value && !json_is_boolean(value)) {
        config_error_add(errors, config_path_join(child, path, key), "must be true or false");
        return otherwise;
    }
    return value ? json_is_true(value) : otherwise;
}

bool config_get_text(struct config_errors *errors, const char *path, json_t *object,
                     const char *key, bool required, char *buf, size_t buf_bytes)
{
    json_t *value = json_object_get(object, key);
    char child[CONFIG_PATH_MAX];
    config_path_join(child, path, key);
    if (!value) {
        if (required) {
            config_error_add(errors, path, "needs the key \"%s\" with a text", key);
        }
        return false;
    }
    size_t len = json_string_length(value);
    if (!json_is_string(value) || len == 0 || len >= buf_bytes ||
        strlen(json_string_value(value)) != len) {
        config_error_add(errors, child, "must be a text of 1 to %zu bytes", buf_bytes - 1);
        return false;
    }
    memcpy(buf, json_string_value(value), len + 1);
    return true;
}

bool config_name_valid(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i])) {
            return false;
        }
    }
    return len > 0 && len < CONFIG_NAME_MAX;
}
