/*
 * dsn.h - delivery status notifications (RFC 3464 in RFC 6522), one for each failed step of a
 * message. Pure: text in, RFC 5322 bytes (wire form) out.
 */
#ifndef WIREPOST_DSN_H
#define WIREPOST_DSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dsn_recipient {
    const char *address;
    const char *status;     /* "5.1.1" */
    const char *remote_mta; /* host name or address, or "" */
    const char *diagnostic; /* "550 5.1.1 no such user", or ""; any bytes: made printable and cut */
    const char *orcpt;      /* original recipient (RFC 3461 4.2), "rfc822;..."; or "" */
    bool relayed;           /* no failure: it went on to a server without DSN (RFC 3461 5.2.2) */
};

struct dsn_request {
    uint64_t id;          /* of the DSN: for Message-ID and the MIME boundary */
    const char *hostname; /* Reporting-MTA */
    const char *to;       /* return path of the original; never "" */
    int64_t unix_s;
    int64_t arrival_unix_s; /* of the original */
    const struct dsn_recipient *recipients;
    uint32_t n_recipients;
    const char *envid;       /* of the original (RFC 3461 4.4), or "" */
    const uint8_t *original; /* wire form: its header section is attached; or null */
    size_t original_len;
    bool utf8; /* `to` takes UTF-8 (RFC 6533: message/global-delivery-status); else all is ASCII */
};

/* malloc'ed wire form in *ret_data; false only without memory. */
bool dsn_make(const struct dsn_request *request, uint8_t **ret_data, size_t *ret_len);

#endif
