/* bench_sink_tls.h - the receiver's side of TLS: OpenSSL between two memory buffers. */
#ifndef WIREPOST_BENCH_SINK_TLS_H
#define WIREPOST_BENCH_SINK_TLS_H

#include "tcp/base.h"

struct bench_tls_context;
struct bench_tls;

/* With a key and a certificate of its own, made now. Null when OpenSSL refuses. */
struct bench_tls_context *bench_tls_context_new(void);
void bench_tls_context_free(struct bench_tls_context *context);

struct bench_tls *bench_tls_new(struct bench_tls_context *context);
void bench_tls_free(struct bench_tls *tls);
/* Bytes from the connection. */
void bench_tls_input(struct bench_tls *tls, const uint8_t *data, uint32_t len);
/* Plaintext; 0: none now. False in *ret_good: the session is broken. */
uint32_t bench_tls_read(struct bench_tls *tls, uint8_t *buf, uint32_t cap, bool *ret_good);
void bench_tls_write(struct bench_tls *tls, const uint8_t *data, uint32_t len);
/* Bytes for the connection; 0: none now. */
uint32_t bench_tls_output(struct bench_tls *tls, uint8_t *buf, uint32_t cap);

#endif
