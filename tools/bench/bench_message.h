/*
 * bench_message.h - messages that can be checked: the first line carries a digest of all the
 * others.
 *
 * The digest is eight lanes of multiply and xor over 64-byte blocks: it sees every byte and its
 * place, and costs less than a byte of memory bandwidth would. It is no defence against anybody.
 */
#ifndef WIREPOST_BENCH_MESSAGE_H
#define WIREPOST_BENCH_MESSAGE_H

#include "tcp/base.h"

#define BENCH_DIGEST_LANES 8u
#define BENCH_DIGEST_BLOCK 64u
#define BENCH_SUM_LINE     25u /* "X-Sum: " 16 hex digits CRLF */

struct bench_digest {
    uint64_t lanes[BENCH_DIGEST_LANES];
    uint64_t len;
    uint8_t rest[BENCH_DIGEST_BLOCK]; /* len % BENCH_DIGEST_BLOCK bytes */
};

void bench_digest_init(struct bench_digest *d);
void bench_digest_add(struct bench_digest *d, const uint8_t *data, size_t len);
uint64_t bench_digest_final(struct bench_digest *d);

/* Fills size bytes (at least 256) with message number `number`: header, and lines of 76. */
void bench_message_make(uint8_t *at, uint32_t size, uint32_t number);
/* The digest in a line of BENCH_SUM_LINE bytes; false when there is none. */
bool bench_sum_parse(const uint8_t *line, uint64_t *ret_sum);

#endif
