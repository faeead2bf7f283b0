/*
 * dns_plan.c - what the answers of DNS mean for mail (RFC 5321 5.1, RFC 7505, RFC 7504). Pure.
 * Rdata is parsed, never believed: it is the network's.
 */
#include "control/dns_private.h"

#include <ctype.h>

/* ---- answers that are an end ------------------------------------------------------------- */

static void bounce(struct dns_answer *answer, uint16_t code, uint8_t subject, uint8_t detail)
{
    answer->status = DNS_BOUNCE;
    answer->code = code;
    answer->enhanced[0] = 5;
    answer->enhanced[1] = subject;
    answer->enhanced[2] = detail;
}

void dns_plan_defer(const char *domain, const char *why, struct dns_answer *ret_answer)
{
    *ret_answer = (struct dns_answer){.status = DNS_DEFER, .enhanced = {4, 4, 3}};
    (void)snprintf(ret_answer->text, sizeof ret_answer->text, "%.140s: not resolved: %.90s", domain,
                   why);
}

/* ---- names ------------------------------------------------------------------------------- */

/* A name in wire form (RFC 1035 3.1, not compressed) as text, lower case, without its last dot; the
 * root is "". False: malformed, or with bytes that no host name has. */
static bool parse_name(const uint8_t *data, size_t len, char name[256])
{
    size_t used = 0;
    while (len > 0 && data[0] != 0) {
        size_t label = data[0];
        if (label > 63 || label + 1 > len || used + label + 1 > 254) {
            return false;
        }
        if (used > 0) {
            name[used++] = '.';
        }
        for (size_t i = 1; i <= label; i++) {
            if (!isalnum(data[i]) && data[i] != '-' && data[i] != '_') {
                return false;
            }
            name[used++] = (char)tolower(data[i]);
        }
        data += label + 1;
        len -= label + 1;
    }
    name[used] = '\0';
    return len > 0; /* ended by the root label */
}

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13; /* xorshift64 */
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

/* ---- MX ---------------------------------------------------------------------------------- */

static bool better(const struct dns_host *a, const struct dns_host *b)
{
    return a->preference != b->preference ? a->preference < b->preference : a->order < b->order;
}

/* Keeps the list ordered; the worst falls out when it is full. */
static void add_host(struct dns_hosts *hosts, const struct dns_host *host)
{
    for (uint32_t i = 0; i < hosts->n; i++) {
        if (strcmp(hosts->list[i].name, host->name) == 0) {
            return;
        }
    }
    uint32_t at = hosts->n;
    while (at > 0 && better(host, &hosts->list[at - 1])) {
        at--;
    }
    if (at == DNS_HOSTS_MAX) {
        return;
    }
    uint32_t last = hosts->n < DNS_HOSTS_MAX ? hosts->n++ : DNS_HOSTS_MAX - 1;
    for (uint32_t i = last; i > at; i--) {
        hosts->list[i] = hosts->list[i - 1];
    }
    hosts->list[at] = *host;
}

static void add_mx(struct dns_hosts *hosts, const uint8_t *data, size_t len, uint64_t *random,
                   bool *ret_null)
{
    struct dns_host host = {0};
    if (len < 3 || !parse_name(data + 2, len - 2, host.name)) {
        return;
    }
    if (host.name[0] == '\0') {
        *ret_null = true;
        return;
    }
    host.preference = be16_get(data);
    host.order = (uint32_t)(next_random(random) >> 32);
    add_host(hosts, &host);
}

static bool mx_list(const char *domain, const struct dns_records *mx, uint64_t *random,
                    struct dns_hosts *hosts, struct dns_answer *answer)
{
    bool null = false;
    for (uint32_t i = 0; i < mx->n; i++) {
        add_mx(hosts, mx->data[i], mx->len[i], random, &null);
    }
    if (hosts->n > 0) {
        return true;
    }
    if (null) {
        bounce(answer, 556, 1, 10);
        (void)snprintf(answer->text, sizeof answer->text,
                       "%.150s does not accept mail (null MX, RFC 7505)", domain);
    } else {
        bounce(answer, 550, 4, 4);
        (void)snprintf(answer->text, sizeof answer->text,
                       "%.150s: its MX records name no valid host", domain);
    }
    return false;
}

bool dns_plan_mx(const char *domain, const struct dns_records *mx, uint64_t *random,
                 struct dns_hosts *ret_hosts, struct dns_answer *ret_answer)
{
    *ret_hosts = (struct dns_hosts){0};
    *ret_answer = (struct dns_answer){0};
    switch (mx->reply) {
    case DNS_REPLY_DATA:
        return mx_list(domain, mx, random, ret_hosts, ret_answer);
    case DNS_REPLY_NODATA:
        ret_hosts->implicit = true;
        ret_hosts->n = 1;
        (void)snprintf(ret_hosts->list[0].name, sizeof ret_hosts->list[0].name, "%s", domain);
        return true;
    case DNS_REPLY_NXDOMAIN:
        bounce(ret_answer, 550, 1, 2);
        (void)snprintf(ret_answer->text, sizeof ret_answer->text, "%.150s: there is no such domain",
                       domain);
        return false;
    case DNS_REPLY_FAILED:
        break;
    }
    dns_plan_defer(domain, mx->why, ret_answer);
    return false;
}

/* ---- addresses --------------------------------------------------------------------------- */

static bool private4(const uint8_t *b)
{
    return b[0] == 0 || b[0] == 10 || b[0] == 127 || (b[0] == 169 && b[1] == 254) ||
           (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168) ||
           (b[0] == 100 && (b[1] & 0xc0) == 64) || b[0] >= 224;
}

bool dns_is_private(const struct ip_addr *addr)
{
    static const uint8_t zero[16];
    const uint8_t *b = addr->bytes;
    if (addr->family == 4) {
        return private4(b);
    }
    if (memcmp(b, zero, 10) == 0 && b[10] == 0xff && b[11] == 0xff) {
        return private4(b + 12); /* ::ffff:a.b.c.d */
    }
    return memcmp(b, zero, 15) == 0 /* :: and ::1 among others */ || (b[0] & 0xfe) == 0xfc ||
           (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) || b[0] == 0xff;
}

static void add_address(struct dns_host *host, uint8_t family, const uint8_t *data, size_t len,
                        bool allow_private)
{
    struct ip_addr addr = {.family = family};
    uint32_t *n = family == 4 ? &host->n4 : &host->n6;
    if (len != (family == 4 ? 4u : 16u) || *n == DNS_ADDRESSES_MAX) {
        return;
    }
    memcpy(addr.bytes, data, len);
    if (!allow_private && dns_is_private(&addr)) {
        host->refused++;
        return;
    }
    (family == 4 ? host->a4 : host->a6)[(*n)++] = addr;
}

void dns_plan_address(struct dns_host *host, uint8_t family, const struct dns_records *records,
                      bool allow_private)
{
    if (records->reply == DNS_REPLY_FAILED) {
        host->failed = true;
        (void)snprintf(host->why, sizeof host->why, "%s", records->why);
    }
    for (uint32_t i = 0; records->reply == DNS_REPLY_DATA && i < records->n; i++) {
        add_address(host, family, records->data[i], records->len[i], allow_private);
    }
}

/* ---- targets ----------------------------------------------------------------------------- */

static void add_target(struct dns_answer *answer, const struct ip_addr *addr, const char *host)
{
    for (uint32_t i = 0; i < answer->n_targets; i++) {
        if (ip_addr_equal(&answer->targets[i].addr, addr)) {
            return;
        }
    }
    if (answer->n_targets < CHAN_TARGET_MAX) {
        struct dns_target *target = &answer->targets[answer->n_targets++];
        target->addr = *addr;
        (void)snprintf(target->host, sizeof target->host, "%s", host);
    }
}

/* In order of preference, IPv4 before IPv6 of each host. IPv6 gets no more places than leave one
 * for each IPv4 address that is still to come, so that it never crowds IPv4 out. */
static void add_targets(const struct dns_hosts *hosts, struct dns_answer *answer)
{
    uint32_t four_to_come = 0;
    for (uint32_t i = 0; i < hosts->n; i++) {
        four_to_come += hosts->list[i].n4;
    }
    for (uint32_t i = 0; i < hosts->n; i++) {
        const struct dns_host *host = &hosts->list[i];
        for (uint32_t k = 0; k < host->n4; k++) {
            add_target(answer, &host->a4[k], host->name);
        }
        four_to_come -= host->n4;
        for (uint32_t k = 0; k < host->n6; k++) {
            if (answer->n_targets + four_to_come < CHAN_TARGET_MAX) {
                add_target(answer, &host->a6[k], host->name);
            }
        }
    }
}

static uint32_t site_hash(const struct dns_answer *answer)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < answer->n_targets; i++) {
        uint32_t hash = 2166136261u; /* FNV-1a; summed, so that the order does not matter */
        for (size_t k = 0; k < sizeof answer->targets[i].addr.bytes; k++) {
            hash = (hash ^ answer->targets[i].addr.bytes[k]) * 16777619u;
        }
        sum += hash;
    }
    return sum ? sum : 1;
}

static void no_target(const char *domain, const struct dns_hosts *hosts, struct dns_answer *answer)
{
    uint32_t refused = 0;
    for (uint32_t i = 0; i < hosts->n; i++) {
        refused += hosts->list[i].refused;
        if (hosts->list[i].failed) {
            char why[200];
            (void)snprintf(why, sizeof why, "%.80s: %.100s", hosts->list[i].name,
                           hosts->list[i].why);
            dns_plan_defer(domain, why, answer);
            return;
        }
    }
    if (refused > 0) {
        bounce(answer, 550, 4, 6);
        (void)snprintf(
            answer->text, sizeof answer->text,
            "%.120s: its mail hosts have private addresses only (dns.allow_private permits them)",
            domain);
    } else if (hosts->implicit) {
        bounce(answer, 550, 1, 2);
        (void)snprintf(answer->text, sizeof answer->text,
                       "%.150s has neither a mail host nor an address", domain);
    } else {
        bounce(answer, 550, 4, 4);
        (void)snprintf(answer->text, sizeof answer->text, "%.150s: its mail hosts have no address",
                       domain);
    }
}

void dns_plan_finish(const char *domain, const struct dns_hosts *hosts,
                     struct dns_answer *ret_answer)
{
    *ret_answer = (struct dns_answer){.status = DNS_OK};
    add_targets(hosts, ret_answer);
    if (ret_answer->n_targets == 0) {
        no_target(domain, hosts, ret_answer);
        return;
    }
    ret_answer->site_hash = site_hash(ret_answer);
}

bool dns_plan_literal(const char *domain, bool allow_private, struct dns_answer *ret_answer)
{
    char text[64];
    size_t len = strlen(domain), skip = strncasecmp(domain, "[IPv6:", 6) == 0 ? 6 : 1;
    struct ip_addr addr;
    if (domain[0] != '[') {
        return false;
    }
    *ret_answer = (struct dns_answer){.status = DNS_OK};
    bool good = len > skip + 1 && len - skip - 1 < sizeof text && domain[len - 1] == ']';
    if (good) {
        memcpy(text, domain + skip, len - skip - 1);
        text[len - skip - 1] = '\0';
        good = ip_addr_parse(text, &addr);
    }
    if (!good || (!allow_private && dns_is_private(&addr))) {
        bounce(ret_answer, 550, good ? 4 : 1, good ? 6 : 3);
        (void)snprintf(ret_answer->text, sizeof ret_answer->text, "%.100s: %s", domain,
                       good ? "a private address (dns.allow_private permits it)"
                            : "not an address");
        return true;
    }
    add_target(ret_answer, &addr, domain);
    ret_answer->site_hash = site_hash(ret_answer);
    return true;
}
