/*
 * config_read.h - reading members of a JSON configuration: every value that is wrong gives an error
 * that names its JSON pointer and the remedy, and all errors are gathered. Both processes use it.
 * No I/O.
 */
#ifndef WIREPOST_CONFIG_READ_H
#define WIREPOST_CONFIG_READ_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_NAME_MAX 64u

/* Where a configuration goes wrong: grows by config_error_add(), free with config_errors_free(). */
struct config_error {
    char *path;    /* JSON pointer, such as /dataplane/ports/0/mtu */
    char *message; /* what is wrong and what to write instead */
};
struct config_errors {
    struct config_error *list;
    size_t count;
};
void config_error_add(struct config_errors *errors, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void config_errors_free(struct config_errors *errors);
/* Adds an error for each key of object that is not in the null-terminated list. */
void config_check_keys(struct config_errors *errors, const char *path, json_t *object,
                       const char *const *known);

/* JSON pointers (RFC 6901): path + "/" + key, escaped; path + "/" + index. buf may be path itself.
 * Both return buf; what does not fit is cut. */
#define CONFIG_PATH_MAX 512u
const char *config_path_join(char buf[CONFIG_PATH_MAX], const char *path, const char *key);
const char *config_path_item(char buf[CONFIG_PATH_MAX], const char *path, size_t index);

/* Members of an object; an error of the wrong type is added, the default comes back. */
uint32_t config_get_u32(struct config_errors *errors, const char *path, json_t *object,
                        const char *key, uint32_t low, uint32_t high, uint32_t otherwise);
bool config_get_bool(struct config_errors *errors, const char *path, json_t *object,
                     const char *key, bool otherwise);
/* Copies a text of at most buf_bytes - 1 bytes; false when it is absent (no error unless required)
 * or wrong (error added). */
bool config_get_text(struct config_errors *errors, const char *path, json_t *object,
                     const char *key, bool required, char *buf, size_t buf_bytes);
/* Letters, digits, '-', '_' and '.', 1..CONFIG_NAME_MAX - 1 of them. */
bool config_name_valid(const char *name);

#endif
