/*
 * unsubscribe.h - the fields of one-click unsubscription (RFC 2369 3.2, RFC 8058 3.1), made from
 * what an injector asks for. Pure.
 */
#ifndef WIREPOST_UNSUBSCRIBE_H
#define WIREPOST_UNSUBSCRIBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNSUBSCRIBE_FIELDS_MAX 2600u

/* url: "https://..." or null; mailto: "mailto:..." or null; one of them at least. With a url the
 * one-click field is added. False with a sentence. */
bool unsubscribe_fields(const char *url, const char *mailto, char fields[UNSUBSCRIBE_FIELDS_MAX],
                        char *ret_error, size_t error_bytes);

/* The header has one of these fields already. message: in wire form. */
bool unsubscribe_is_there(const uint8_t *message, size_t len);

#endif
