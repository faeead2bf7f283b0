/*
 * dns_target.c - which addresses of the mail hosts are tried, in which order, and which domains are
 * one site. Pure.
 *
 * 1. Targets stand in the order of their ranks: 0 for the best preference that has an address, then
 *    1 and so on. The addresses of a host stand together, IPv4 before IPv6 (RFC 5321 5.1).
 * 2. There are CHAN_TARGET_MAX places. No host takes so many that a worse one with IPv4 addresses
 *    gets none (a cluster with eight addresses that is down would otherwise hide its backups), and
 *    IPv6 takes only what IPv4 leaves.
 * 3. The site's hash is of all addresses with their ranks, also of those that found no place, so
 *    that neither the shuffle nor the order of the records changes it. Mail of one site shares
 *    connections, so whoever could choose a domain with the hash of another would get its mail: it
 *    is keyed (SipHash), and summed over the set.
 */
#include "control/dns_private.h"

#include "tcp/utcp_siphash.h"

/* ---- private addresses ------------------------------------------------------------------- */

struct prefix {
    uint8_t bytes[16];
    uint8_t bits;
};

static const struct prefix private4[] = {
    {{0}, 8},         /* "this network", RFC 791 3.2 */
    {{10}, 8},        /* RFC 1918 */
    {{100, 64}, 10},  /* behind a carrier's NAT, RFC 6598 */
    {{127}, 8},       /* loopback */
    {{169, 254}, 16}, /* link local, RFC 3927 */
    {{172, 16}, 12},  /* RFC 1918 */
    {{192, 168}, 16}, /* RFC 1918 */
    {{224}, 3},       /* multicast, reserved, broadcast */
};

static const struct prefix private6[] = {
    {{0}, 96},                                  /* ::, ::1, ::a.b.c.d (RFC 4291 2.5) */
    {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48}, /* NAT64 of one's own, RFC 8215 */
    {{0x01, 0x00}, 64},                         /* discard, RFC 6666 */
    {{0xfc}, 7},                                /* unique local, RFC 4193 */
    {{0xfe, 0x80}, 10},                         /* link local */
    {{0xfe, 0xc0}, 10},                         /* site local, RFC 3879 */
    {{0xff}, 8},                                /* multicast */
};

/* IPv6 prefixes that an IPv4 address follows: it is what counts. */
static const struct prefix carriers[] = {
    {{[10] = 0xff, [11] = 0xff}, 96}, /* mapped, RFC 4291 2.5.5.2 */
    {{0x00, 0x64, 0xff, 0x9b}, 96},   /* NAT64, RFC 6052 */
    {{0x20, 0x02}, 16},               /* 6to4, RFC 3056 */
};

static bool matches(const uint8_t *bytes, const struct prefix *prefix)
{
    uint32_t whole = prefix->bits / 8, rest = prefix->bits % 8;
    uint8_t mask = (uint8_t)(0xff00u >> rest);
    return memcmp(bytes, prefix->bytes, whole) == 0 &&
           (rest == 0 || (bytes[whole] & mask) == prefix->bytes[whole]);
}

static const struct prefix *find(const uint8_t *bytes, const struct prefix *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (matches(bytes, &list[i])) {
            return &list[i];
        }
    }
    return NULL;
}

#define FIND(bytes, list) find(bytes, list, sizeof(list) / sizeof(list)[0])

bool dns_is_private(const struct ip_addr *addr)
{
    if (addr->family == 4) {
        return FIND(addr->bytes, private4) != NULL;
    }
    const struct prefix *carrier = FIND(addr->bytes, carriers);
    return carrier ? FIND(addr->bytes + carrier->bits / 8, private4) != NULL
                   : FIND(addr->bytes, private6) != NULL;
}

/* ---- the list ---------------------------------------------------------------------------- */

static void add(struct dns_answer *answer, const struct ip_addr *addr, uint8_t rank,
                const struct dns_host *host)
{
    for (uint32_t i = 0; i < answer->n_targets; i++) {
        const struct dns_target *other = &answer->targets[i];
        bool dane = other->tlsa != DNS_TLSA_NONE || host->tlsa != DNS_TLSA_NONE;
        if (ip_addr_equal(&other->addr, addr) && !dane) {
            return; /* with DANE each name of an address is a host of its own */
        }
    }
    struct dns_target *target = &answer->targets[answer->n_targets++];
    target->addr = *addr;
    target->rank = rank;
    target->tlsa = host->tlsa;
    (void)snprintf(target->host, sizeof target->host, "%s", host->name);
}

/* What is still to come after the host that is being looked at. */
struct rest {
    uint32_t four;       /* IPv4 addresses */
    uint32_t four_hosts; /* hosts that have some */
    uint32_t six_hosts;  /* hosts that have IPv6 addresses only */
};

static struct rest rest_after(const struct dns_hosts *hosts, uint32_t i)
{
    struct rest rest = {0};
    for (i++; i < hosts->n; i++) {
        rest.four += hosts->list[i].n4;
        rest.four_hosts += hosts->list[i].n4 > 0;
        rest.six_hosts += hosts->list[i].n4 == 0 && hosts->list[i].n6 > 0;
    }
    return rest;
}

/* The first address of a host needs no more than a place; the others leave some (invariant 2). */
static void add_host(const struct dns_host *host, const struct rest *rest, uint8_t rank,
                     struct dns_answer *answer)
{
    for (uint32_t k = 0; k < host->n4; k++) {
        uint32_t kept = k == 0 ? 0 : rest->four_hosts;
        if (answer->n_targets + kept < CHAN_TARGET_MAX) {
            add(answer, &host->a4[k], rank, host);
        }
    }
    for (uint32_t k = 0; k < host->n6; k++) {
        uint32_t kept = rest->four + (k == 0 ? 0 : rest->six_hosts);
        if (answer->n_targets + kept < CHAN_TARGET_MAX) {
            add(answer, &host->a6[k], rank, host);
        }
    }
}

/* ---- the site ---------------------------------------------------------------------------- */

static bool host_has(const struct dns_host *host, const struct ip_addr *addr, uint32_t n4,
                     uint32_t n6)
{
    const struct ip_addr *list = addr->family == 4 ? host->a4 : host->a6;
    uint32_t n = addr->family == 4 ? n4 : n6;
    for (uint32_t i = 0; i < n; i++) {
        if (ip_addr_equal(&list[i], addr)) {
            return true;
        }
    }
    return false;
}

/* Of one address at its best rank; 0 when a better host, or the same, had it before. */
static uint32_t address_hash(const struct dns_hosts *hosts, uint32_t at, const struct ip_addr *addr,
                             uint32_t index, uint8_t rank, const uint8_t key[DNS_KEY_BYTES])
{
    uint8_t text[sizeof addr->bytes + 2];
    for (uint32_t i = 0; i < at; i++) {
        if (host_has(&hosts->list[i], addr, hosts->list[i].n4, hosts->list[i].n6)) {
            return 0;
        }
    }
    if (host_has(&hosts->list[at], addr, index, index)) {
        return 0;
    }
    memcpy(text, addr->bytes, sizeof addr->bytes);
    text[sizeof addr->bytes] = addr->family;
    text[sizeof addr->bytes + 1] = rank;
    return (uint32_t)utcp_siphash(key, text, sizeof text);
}

static uint32_t host_hash(const struct dns_hosts *hosts, uint32_t at, uint8_t rank,
                          const uint8_t key[DNS_KEY_BYTES])
{
    const struct dns_host *host = &hosts->list[at];
    uint32_t sum = 0;
    for (uint32_t k = 0; k < host->n4; k++) {
        sum += address_hash(hosts, at, &host->a4[k], k, rank, key);
    }
    for (uint32_t k = 0; k < host->n6; k++) {
        sum += address_hash(hosts, at, &host->a6[k], k, rank, key);
    }
    return sum;
}

void dns_targets_fill(const struct dns_hosts *hosts, const uint8_t key[DNS_KEY_BYTES],
                      struct dns_answer *answer)
{
    uint32_t hash = 0;
    uint16_t preference = 0;
    uint8_t rank = 0;
    bool any = false;
    answer->n_targets = 0;
    for (uint32_t i = 0; i < hosts->n; i++) {
        const struct dns_host *host = &hosts->list[i];
        if (host->n4 + host->n6 == 0) {
            continue;
        }
        rank = (uint8_t)(rank + (any && host->preference != preference));
        preference = host->preference;
        any = true;
        const struct rest rest = rest_after(hosts, i);
        add_host(host, &rest, rank, answer);
        hash += host_hash(hosts, i, rank, key);
    }
    if (answer->n_targets > 0) {
        answer->site_hash = hash ? hash : 1;
    }
}

/* ---- the shuffle ------------------------------------------------------------------------- */

uint64_t dns_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

/* An insertion sort by rank and a random number for each host: stable, so that the addresses of a
 * host stay as they are. */
void dns_targets_shuffle(struct dns_answer *answer, uint64_t *random)
{
    uint64_t order[CHAN_TARGET_MAX];
    struct dns_target *list = answer->targets;
    if (answer->n_targets == 0 || list[answer->n_targets - 1].rank == answer->n_targets - 1) {
        return; /* each has a rank of its own */
    }
    for (uint32_t i = 0; i < answer->n_targets; i++) {
        bool same = i > 0 && strcmp(list[i].host, list[i - 1].host) == 0;
        order[i] = same ? order[i - 1] : dns_random(random);
    }
    for (uint32_t i = 1; i < answer->n_targets; i++) {
        for (uint32_t k = i; k > 0 && list[k].rank == list[k - 1].rank && order[k] < order[k - 1];
             k--) {
            const struct dns_target target = list[k];
            uint64_t number = order[k];
            list[k] = list[k - 1];
            order[k] = order[k - 1];
            list[k - 1] = target;
            order[k - 1] = number;
        }
    }
}

/* ---- copies ------------------------------------------------------------------------------ */

size_t dns_answer_bytes(const struct dns_answer *answer)
{
    return offsetof(struct dns_answer, targets) + answer->n_targets * sizeof answer->targets[0];
}

void dns_answer_copy(struct dns_answer *to, const struct dns_answer *from)
{
    memcpy(to, from, dns_answer_bytes(from));
}
