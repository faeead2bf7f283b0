/* utf8.h - UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing over U+10FFFF. Pure.
 */
#ifndef WIREPOST_UTF8_H
#define WIREPOST_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length (1 to 4) of the character at `at`, of which `room` bytes (at least 1) are there; 0: none
 * is. *ret_point, unless null, is its code point. */
size_t utf8_char(const void *at, size_t room, uint32_t *ret_point);
bool utf8_valid(const void *text, size_t len);
bool utf8_is_ascii(const void *text, size_t len);

#endif
