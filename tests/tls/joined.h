/*
 * joined.h - an SMTP session over TLS: the two engines, joined in the way that an owner of both
 * does it. Bytes of the connection go in and out.
 *
 *     SMTP_EV_STARTTLS     tls_client_init(): from here on the connection's bytes are TLS's
 *     TLS_EV_ESTABLISHED   smtp_client_tls_done()
 *     TLS_EV_FAILED        smtp_client_tls_failed()
 *     TLS_EV_CLOSED        smtp_client_eof()
 *     SMTP_EV_CLOSED       tls_client_close(), and the connection may be ended
 */
#ifndef WIREPOST_TESTS_TLS_JOINED_H
#define WIREPOST_TESTS_TLS_JOINED_H

#include "dataplane/smtp_client.h"
#include "dataplane/tls_client.h"

struct joined {
    struct smtp_client smtp;
    struct tls_client tls;
    struct tls_context *context;
    const struct tls_request *request;
    bool tls_on;     /* the TLS engine exists */
    bool closed;     /* the SMTP engine is done */
    uint32_t events; /* of the SMTP engine, all so far */
};

void joined_begin(struct joined *j, uint64_t now_ns, struct tls_context *context,
                  const struct smtp_options *options, const struct tls_request *request);
void joined_input(struct joined *j, uint64_t now_ns, const uint8_t *bytes, uint32_t len);
/* The next bytes for the connection; 0: none now. size >= TLS_BLOCK_BYTES. */
uint32_t joined_output(struct joined *j, uint64_t now_ns, uint8_t *bytes, uint32_t size);
void joined_eof(struct joined *j, uint64_t now_ns, const char *why);
void joined_free(struct joined *j);

#endif
