/*
 * wpctl_header.h - the addresses of a message's header, for its envelope.
 *
 * RFC 5322 3.4 as far as it takes to find the address of each mailbox: folded lines, quoted
 * strings, comments that nest, groups, domain literals, and the obsolete blanks before the colon of
 * a field's name (4.5). Left out on purpose: whether an address is a good one, which is the
 * daemon's to say; encoded words (RFC 2047), which cannot stand in an address.
 */
#ifndef WIREPOST_WPCTL_HEADER_H
#define WIREPOST_WPCTL_HEADER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Appends the addresses of all fields of this name to the list, an array of texts. False: one of
 * them is no UTF-8 (RFC 6532 3.1); the list holds those before it. */
bool wpctl_header_addresses(const char *message, size_t bytes, const char *field, json_t *list);

/* An address without the angle brackets that a person may have put around it; "" for <>. Null: it
 * is no UTF-8. */
json_t *wpctl_bare_address(const char *text);

#endif
