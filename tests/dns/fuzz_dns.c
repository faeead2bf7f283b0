/*
 * fuzz_dns.c - anything at all as answers: records of MX, A and AAAA questions, and domains.
 *
 * Input: records of [kind & 3][length, 2 bytes][bytes]: 0 MX, 1 A, 2 AAAA of the next host, 3 a
 * domain. The checks: texts end, targets are within their limit, in order, different, not private.
 */
#include "control/dns_private.h"

#define RECORDS_MAX 64u

struct input {
    const uint8_t *data[4][RECORDS_MAX];
    size_t len[4][RECORDS_MAX];
    uint32_t n[4];
};

static void split(const uint8_t *data, size_t size, struct input *in)
{
    while (size >= 3) {
        unsigned kind = data[0] & 3;
        size_t len = be16_get(data + 1);
        len = len < size - 3 ? len : size - 3;
        if (in->n[kind] < RECORDS_MAX) {
            in->data[kind][in->n[kind]] = data + 3;
            in->len[kind][in->n[kind]++] = len;
        }
        data += 3 + len;
        size -= 3 + len;
    }
}

static void check(const struct dns_answer *answer)
{
    INVARIANT(memchr(answer->text, '\0', sizeof answer->text) != NULL);
    INVARIANT(answer->n_targets <= CHAN_TARGET_MAX);
    INVARIANT((answer->status == DNS_OK) == (answer->n_targets > 0));
    INVARIANT((answer->site_hash != 0) == (answer->n_targets > 0));
    for (uint32_t i = 0; i < answer->n_targets; i++) {
        const struct dns_target *target = &answer->targets[i];
        INVARIANT(!dns_is_private(&target->addr));
        INVARIANT(memchr(target->host, '\0', sizeof target->host) != NULL);
        INVARIANT(i == 0 || target->rank >= target[-1].rank);
        for (uint32_t k = 0; k < i; k++) {
            INVARIANT(!ip_addr_equal(&target->addr, &answer->targets[k].addr));
        }
    }
}

/* One record for each host in turn, so that some have none. */
static void add_addresses(const struct input *in, unsigned kind, uint8_t family,
                          struct dns_hosts *hosts)
{
    for (uint32_t i = 0; i < in->n[kind]; i++) {
        const struct dns_records records = {
            .reply = DNS_REPLY_DATA, .data = &in->data[kind][i], .len = &in->len[kind][i], .n = 1};
        dns_plan_address(&hosts->list[i % hosts->n], family, &records, false);
    }
}

static void try_domain(const uint8_t *data, size_t len, const uint8_t *key)
{
    char domain[400];
    struct dns_answer answer;
    len = len < sizeof domain ? len : sizeof domain - 1;
    memcpy(domain, data, len);
    domain[len] = '\0';
    if (dns_plan_literal(domain, false, key, &answer) || !dns_plan_domain(domain, &answer)) {
        check(&answer);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[DNS_KEY_BYTES];
    struct input in = {0};
    struct dns_hosts hosts;
    struct dns_answer answer;
    uint64_t random = 1;
    split(data, size, &in);
    const struct dns_records mx = {
        .reply = DNS_REPLY_DATA, .data = in.data[0], .len = in.len[0], .n = in.n[0]};
    if (dns_plan_mx("x.example", &mx, &random, &hosts, &answer)) {
        add_addresses(&in, 1, 4, &hosts);
        add_addresses(&in, 2, 6, &hosts);
        dns_plan_finish("x.example", &hosts, key, &answer);
        dns_targets_shuffle(&answer, &random);
    }
    check(&answer);
    for (uint32_t i = 0; i < in.n[3]; i++) {
        try_domain(in.data[3][i], in.len[3][i], key);
    }
    return 0;
}
