/*
 * shaping.h - what is known of mailbox providers and how mail is to go there: rules as data
 * (shaping.json, compiled in). Pure but for reading the file.
 */
#ifndef WIREPOST_SHAPING_H
#define WIREPOST_SHAPING_H

#include "control/provider.h"

#include <jansson.h>

struct shaping {
    struct provider_list *providers;
};

/* The rules that are compiled in. Null with a sentence in ret_error. */
struct shaping *shaping_new(char *ret_error, size_t error_bytes);
void shaping_free(struct shaping *shaping);

#endif
