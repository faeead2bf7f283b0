/* bench_message.c - see bench_message.h. */
#include "tools/bench/bench_message.h"

#define PRIME UINT64_C(0x9e3779b97f4a7c15)

void bench_digest_init(struct bench_digest *d)
{
    *d = (struct bench_digest){.lanes = {1, 2, 3, 4, 5, 6, 7, 8}};
}

static void block(uint64_t lanes[BENCH_DIGEST_LANES], const uint8_t *data)
{
    uint64_t words[BENCH_DIGEST_LANES];
    memcpy(words, data, sizeof words);
    for (uint32_t i = 0; i < BENCH_DIGEST_LANES; i++) {
        lanes[i] = (lanes[i] ^ words[i]) * PRIME;
        lanes[i] ^= lanes[i] >> 29;
    }
}

void bench_digest_add(struct bench_digest *d, const uint8_t *data, size_t len)
{
    size_t have = d->len % BENCH_DIGEST_BLOCK;
    d->len += len;
    if (have > 0) {
        size_t n = len < BENCH_DIGEST_BLOCK - have ? len : BENCH_DIGEST_BLOCK - have;
        memcpy(d->rest + have, data, n);
        if (have + n < BENCH_DIGEST_BLOCK) {
            return;
        }
        block(d->lanes, d->rest);
        data += n;
        len -= n;
    }
    for (; len >= BENCH_DIGEST_BLOCK; data += BENCH_DIGEST_BLOCK, len -= BENCH_DIGEST_BLOCK) {
        block(d->lanes, data);
    }
    memcpy(d->rest, data, len);
}

uint64_t bench_digest_final(struct bench_digest *d)
{
    size_t have = d->len % BENCH_DIGEST_BLOCK;
    uint64_t sum = d->len;
    memset(d->rest + have, 0, BENCH_DIGEST_BLOCK - have);
    block(d->lanes, d->rest);
    for (uint32_t i = 0; i < BENCH_DIGEST_LANES; i++) {
        sum = (sum ^ d->lanes[i]) * PRIME;
    }
    return sum;
}

void bench_message_make(uint8_t *at, uint32_t size, uint32_t number)
{
    char line[128];
    struct bench_digest digest;
    uint32_t len = BENCH_SUM_LINE;
    int n = snprintf(line, sizeof line,
                     "From: <from@bench.example>\r\nTo: <to@sink.example>\r\n"
                     "Subject: message %u of the bench\r\n\r\n",
                     number);
    memcpy(at + len, line, (size_t)n);
    len += (uint32_t)n;
    for (uint32_t column = 0; len < size; len++, column++) {
        if (len + 2 == size || (column == 76 && len + 3 < size)) {
            at[len++] = '\r';
            at[len] = '\n';
            column = UINT32_MAX;
        } else {
            at[len] =
                (uint8_t)("etaoin shrdlu cmfwyp, vbgkjq; xz"[(len * 7 + number + len / 77) % 32]);
        }
    }
    bench_digest_init(&digest);
    bench_digest_add(&digest, at + BENCH_SUM_LINE, size - BENCH_SUM_LINE);
    (void)snprintf(line, sizeof line, "X-Sum: %016llx\r\n",
                   (unsigned long long)bench_digest_final(&digest));
    memcpy(at, line, BENCH_SUM_LINE);
}

bool bench_sum_parse(const uint8_t *line, uint64_t *ret_sum)
{
    char text[17] = {0};
    char *end;
    memcpy(text, line + 7, 16);
    if (memcmp(line, "X-Sum: ", 7) != 0) {
        return false;
    }
    *ret_sum = strtoull(text, &end, 16);
    return *end == '\0';
}
