/*
 * bench_sink.h - the receiver: an SMTP server over utcp that takes everything and checks it.
 *
 * It answers EHLO, STARTTLS, MAIL, RCPT, DATA, RSET, NOOP and QUIT, removes dot stuffing
 * (RFC 5321 4.5.2), and accepts a message only when its digest is right (554 otherwise, which makes
 * the sender's outcome a bounce). After QUIT it closes first, as servers do. Everything is
 * allocated at its start, but for what OpenSSL needs for each TLS session.
 */
#ifndef WIREPOST_BENCH_SINK_H
#define WIREPOST_BENCH_SINK_H

#include "tcp/utcp.h"

struct bench_sink;

struct bench_sink_counters {
    uint64_t connections, messages, bytes;
    uint64_t wrong;    /* messages whose digest did not match */
    uint64_t confused; /* commands that were not understood */
};

/* Listens on addr:25 of tcp with room for `sessions`. Null: no memory, or OpenSSL refused. */
struct bench_sink *bench_sink_create(struct utcp *tcp, const struct ip_addr *addr,
                                     uint32_t sessions, bool tls);
void bench_sink_destroy(struct bench_sink *sink);
/* All events of its stack; returns how many. */
uint32_t bench_sink_run(struct bench_sink *sink, uint64_t now_ns);
const struct bench_sink_counters *bench_sink_counters(const struct bench_sink *sink);

#endif
