/*
 * address.h - envelope addresses (RFC 5321 4.1.2 Mailbox, RFC 6531). Pure.
 *
 * Refused: CR, LF, NUL and other control characters anywhere; source routes; domains that are not
 * letters, digits, hyphens and dots (or UTF-8, made A-labels by libidn2; or an address literal);
 * IP addresses without brackets; local parts over 64, domains over 255 (253 as A-labels), paths
 * over 254 + 2 bytes.
 */
#ifndef WIREPOST_ADDRESS_H
#define WIREPOST_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#define ADDRESS_MAX 320u

struct address {
    char text[ADDRESS_MAX]; /* local@domain as it goes on the wire, domain as A-labels when the
                               local part is ASCII */
    char domain[256];       /* for DNS and grouping: A-labels in lower case; "[192.0.2.1]",
                               "[IPv6:2001:db8::1]" */
    bool utf8;              /* the local part needs SMTPUTF8 */
};

/* `len` bytes of text, without angle brackets. False with a sentence in ret_error. */
bool address_parse(const char *text, size_t len, struct address *ret_address, char *ret_error,
                   size_t error_bytes);

#endif
