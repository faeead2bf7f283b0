/*
 * wire.h - from what an injector gave to what goes on the wire, once, at acceptance (RFC
 * 5321 2.3.8, 4.5.2; RFC 5322; RFC 6409 8). Pure: bytes in, bytes out; time and randomness are
 * parameters.
 *
 * The wire form: CRLF line ends only, no NUL, no bare CR or LF, no line over 998 bytes, ends with
 * CRLF exactly once more than its content needs, not dot-stuffed. Every byte of the input is kept
 * but for: LF -> CRLF, Bcc and Resent-Bcc fields removed, Date and Message-ID added at the end of
 * the header when missing.
 *
 * Refused: no header at all (empty, or a blank line first), a line in the header that is neither a
 * field nor the continuation of one (also the "From " line of a mailbox file), NUL, bare CR, a line
 * over 998 bytes, more than 1 GiB.
 */
#ifndef WIREPOST_WIRE_H
#define WIREPOST_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_HAS_8BIT_BODY   1u
#define WIRE_HAS_8BIT_HEADER 2u /* needs SMTPUTF8 (RFC 6532) */

struct wire_message {
    uint8_t *data; /* one block of malloc, freed by wire_message_free() */
    size_t len;
    uint32_t *stuff; /* offsets of dots at the beginning of a line, ascending */
    uint32_t n_stuff;
    uint32_t flags;       /* WIRE_HAS_* */
    char message_id[256]; /* with angle brackets; "" when over-long or not printable ASCII */
};

struct wire_defaults {
    const char *hostname; /* right side of a made Message-ID */
    uint64_t id;          /* our message id: left side of it */
    int64_t unix_s;       /* for Date, in UTC */
};

/* False with a sentence for people in ret_error (what is wrong, at which line): nothing is
 * returned. */
bool wire_message_make(const uint8_t *data, size_t len, const struct wire_defaults *defaults,
                       struct wire_message *ret_message, char *ret_error, size_t error_bytes);
/* Puts header fields in front, in wire form and without a dot at the beginning of a line. False: no
 * memory, and nothing has changed. */
bool wire_message_prepend(struct wire_message *message, const char *fields, size_t len);
void wire_message_free(struct wire_message *message);

#endif
