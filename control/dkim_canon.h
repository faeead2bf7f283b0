/*
 * dkim_canon.h - the "relaxed" canonicalisations of RFC 6376 3.4.2 and 3.4.4. Pure: bytes go in as
 * they come, cut anywhere, and what they become goes to a sink.
 *
 * In the input a line ends with CRLF; a CR or LF that stands alone is a byte like any other (the
 * wire form has none, wire.h).
 */
#ifndef WIREPOST_DKIM_CANON_H
#define WIREPOST_DKIM_CANON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes bytes of the canonical form; they hold during the call. Never called with none. */
typedef void (*dkim_sink_fn)(void *user, const uint8_t *data, size_t len);

/* What has been made and not given to the sink. */
struct dkim_out {
    dkim_sink_fn sink;
    void *user;
    uint32_t len;
    uint8_t bytes[256];
};

/* A body on its way. Ends of lines, blanks and a CR wait until what follows tells what they are. */
struct dkim_body {
    struct dkim_out out;
    uint64_t ends; /* of lines, since the last byte that is no blank */
    bool blanks;   /* one or more, since the last end of a line */
    bool cr;
    bool some; /* something went out */
};

void dkim_body_init(struct dkim_body *b, dkim_sink_fn sink, void *user);
void dkim_body_input(struct dkim_body *b, const uint8_t *data, size_t len);
/* An empty body stays empty; any other ends with one CRLF. */
void dkim_body_end(struct dkim_body *b);

/* A header field, with or without its last CRLF: "name:value", without CRLF at the end. What has no
 * colon is all name. */
void dkim_field_relaxed(const uint8_t *field, size_t len, dkim_sink_fn sink, void *user);

#endif
