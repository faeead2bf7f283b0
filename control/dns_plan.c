/*
 * dns_plan.c - what the answers of DNS mean for mail (RFC 5321 5.1, RFC 7505, RFC 7504). Pure.
 *
 * 1. A bounce needs answers: a question that failed, or was answered with malformed records only,
 *    defers, unless another answer is enough to deliver.
 * 2. The addresses of the domain itself count only when it has no MX record at all.
 * 3. Rdata is parsed, never believed: it is the network's.
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

#define NAME_MAX_BYTES 253u /* as text, without the last dot: 255 in wire form (RFC 1035 2.3.4) */
#define LABEL_MAX      63u

/* Letters, digits, hyphens; underscores stand in names of hosts too, against RFC 952. */
static bool is_name_byte(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '_';
}

enum name { NAME_HOST, NAME_ROOT, NAME_NO_HOST, NAME_MALFORMED };

/* A name in wire form (RFC 1035 3.1, not compressed), which must be all there is, as text: lower
 * case, without its last dot. */
static enum name parse_name(const uint8_t *data, size_t len, char name[256])
{
    size_t used = 0;
    bool host = true;
    while (len > 0 && data[0] != 0) {
        size_t label = data[0];
        if (label > LABEL_MAX || label + 1 > len || used + label + 1 > NAME_MAX_BYTES + 1) {
            return NAME_MALFORMED;
        }
        for (size_t i = 1; i <= label; i++) {
            bool upper = data[i] >= 'A' && data[i] <= 'Z';
            host = host && is_name_byte(data[i]);
            name[used++] = (char)(upper ? data[i] - 'A' + 'a' : data[i]);
        }
        name[used++] = '.';
        data += label + 1;
        len -= label + 1;
    }
    if (len != 1) {
        return NAME_MALFORMED; /* not ended by the root, or not the end */
    }
    name[used > 0 ? used - 1 : 0] = '\0';
    return used == 0 ? NAME_ROOT : host ? NAME_HOST : NAME_NO_HOST;
}

bool dns_plan_domain(const char *domain, struct dns_answer *ret_answer)
{
    size_t label = 0, len = 0;
    bool good = true;
    for (; good && domain[len]; len++) {
        if (domain[len] == '.') {
            good = label > 0;
            label = 0;
        } else {
            good = ++label <= LABEL_MAX && is_name_byte((uint8_t)domain[len]);
        }
    }
    if (good && label > 0 && len <= NAME_MAX_BYTES) {
        return true;
    }
    *ret_answer = (struct dns_answer){0};
    bounce(ret_answer, 550, 1, 2);
    (void)snprintf(ret_answer->text, sizeof ret_answer->text,
                   "not the name of a domain (RFC 1035 2.3.4)");
    return false;
}

/* ---- MX ---------------------------------------------------------------------------------- */

static bool better(const struct dns_host *a, const struct dns_host *b)
{
    return a->preference != b->preference ? a->preference < b->preference : a->order < b->order;
}

/* Makes room for a host that is there already, with a worse preference. False: it may stay. */
static bool drop_worse(struct dns_hosts *hosts, const struct dns_host *host)
{
    for (uint32_t i = 0; i < hosts->n; i++) {
        if (strcmp(hosts->list[i].name, host->name) != 0) {
            continue;
        }
        if (hosts->list[i].preference <= host->preference) {
            return false;
        }
        for (hosts->n--; i < hosts->n; i++) {
            hosts->list[i] = hosts->list[i + 1];
        }
    }
    return true;
}

/* Keeps the list ordered; the worst falls out when it is full. */
static void add_host(struct dns_hosts *hosts, const struct dns_host *host)
{
    if (!drop_worse(hosts, host)) {
        return;
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

/* What was found beside hosts. */
struct no_hosts {
    bool null, malformed;
};

static void add_mx(struct dns_hosts *hosts, const uint8_t *data, size_t len, uint64_t *random,
                   struct no_hosts *found)
{
    struct dns_host host = {0};
    switch (len < 3 ? NAME_MALFORMED : parse_name(data + 2, len - 2, host.name)) {
    case NAME_HOST:
        host.preference = be16_get(data);
        host.order = (uint32_t)(dns_random(random) >> 32);
        add_host(hosts, &host);
        break;
    case NAME_ROOT:
        found->null = true;
        break;
    case NAME_MALFORMED:
        found->malformed = true;
        break;
    case NAME_NO_HOST:
        break;
    }
}

/* A null MX beside other records is against RFC 7505 3 and says nothing. Records that are malformed
 * are a fault of a server or on the way, which may pass; names that no host has are what somebody
 * wrote. */
static bool mx_list(const char *domain, const struct dns_records *mx, uint64_t *random,
                    struct dns_hosts *hosts, struct dns_answer *answer)
{
    struct no_hosts found = {0};
    for (uint32_t i = 0; i < mx->n; i++) {
        add_mx(hosts, mx->data[i], mx->len[i], random, &found);
    }
    if (hosts->n > 0) {
        return true;
    }
    if (found.malformed) {
        dns_plan_defer(domain, "its MX records are malformed", answer);
    } else if (found.null) {
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

void dns_plan_implicit(const char *domain, struct dns_hosts *ret_hosts)
{
    *ret_hosts = (struct dns_hosts){.n = 1, .implicit = true};
    (void)snprintf(ret_hosts->list[0].name, sizeof ret_hosts->list[0].name, "%s", domain);
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
        dns_plan_implicit(domain, ret_hosts);
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

static void set_failed(struct dns_host *host, const char *why)
{
    host->failed = true;
    (void)snprintf(host->why, sizeof host->why, "%s", why);
}

static void add_address(struct dns_host *host, const struct ip_addr *addr, bool allow_private)
{
    bool four = addr->family == 4;
    uint32_t *n = four ? &host->n4 : &host->n6;
    if (!allow_private && dns_is_private(addr)) {
        host->refused++;
    } else if (*n < DNS_ADDRESSES_MAX) {
        (four ? host->a4 : host->a6)[(*n)++] = *addr;
    }
}

/* Lower case, without a last dot; a name is no alias of itself. */
static void set_alias(struct dns_host *host, const char *alias)
{
    size_t len = strlen(alias);
    len -= len > 0 && alias[len - 1] == '.';
    if (len >= sizeof host->alias) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        host->alias[i] = (char)tolower((unsigned char)alias[i]);
    }
    host->alias[len] = '\0';
    if (strcmp(host->alias, host->name) == 0) {
        host->alias[0] = '\0';
    }
}

void dns_plan_address(struct dns_host *host, uint8_t family, const struct dns_records *records,
                      bool allow_private)
{
    size_t bytes = family == 4 ? 4 : 16;
    if (records->reply == DNS_REPLY_FAILED) {
        set_failed(host, records->why);
    }
    if (records->reply == DNS_REPLY_DATA && !records->secure) {
        host->insecure = true;
    }
    if (records->reply == DNS_REPLY_DATA && records->alias) {
        set_alias(host, records->alias);
    }
    for (uint32_t i = 0; records->reply == DNS_REPLY_DATA && i < records->n; i++) {
        struct ip_addr addr = {.family = family};
        if (records->len[i] != bytes) {
            set_failed(host, "its address records are malformed");
            continue;
        }
        memcpy(addr.bytes, records->data[i], bytes);
        add_address(host, &addr, allow_private);
    }
}

/* ---- the end ----------------------------------------------------------------------------- */

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
                     const uint8_t key[DNS_KEY_BYTES], struct dns_answer *ret_answer)
{
    *ret_answer = (struct dns_answer){.status = DNS_OK, .secure = hosts->secure};
    dns_targets_fill(hosts, key, ret_answer);
    if (ret_answer->n_targets == 0) {
        no_target(domain, hosts, ret_answer);
    }
}

/* What stands between "[" and "]" (RFC 5321 4.1.3): IPv6 addresses after their tag, IPv4 without.
 */
static bool parse_literal(const char *domain, struct ip_addr *ret_addr)
{
    char text[64];
    bool six = strncasecmp(domain, "[IPv6:", 6) == 0;
    size_t len = strlen(domain), skip = six ? 6 : 1;
    if (domain[len - 1] != ']' || len <= skip + 1 || len - skip - 1 >= sizeof text) {
        return false;
    }
    memcpy(text, domain + skip, len - skip - 1);
    text[len - skip - 1] = '\0';
    return ip_addr_parse(text, ret_addr) && ret_addr->family == (six ? 6 : 4);
}

bool dns_plan_literal(const char *domain, bool allow_private, const uint8_t key[DNS_KEY_BYTES],
                      struct dns_answer *ret_answer)
{
    struct ip_addr addr;
    if (domain[0] != '[') {
        return false;
    }
    bool good = parse_literal(domain, &addr);
    *ret_answer = (struct dns_answer){.status = DNS_OK};
    if (!good) {
        bounce(ret_answer, 550, 1, 3);
        (void)snprintf(ret_answer->text, sizeof ret_answer->text,
                       "not an address literal (RFC 5321 4.1.3)");
        return true;
    }
    if (!allow_private && dns_is_private(&addr)) {
        bounce(ret_answer, 550, 4, 6);
        (void)snprintf(ret_answer->text, sizeof ret_answer->text,
                       "%.100s: a private address (dns.allow_private permits it)", domain);
        return true;
    }
    struct dns_hosts hosts;
    dns_plan_implicit(domain, &hosts);
    struct dns_host *host = &hosts.list[0];
    if (addr.family == 4) {
        host->a4[host->n4++] = addr;
    } else {
        host->a6[host->n6++] = addr;
    }
    dns_targets_fill(&hosts, key, ret_answer);
    provider_of_address(&addr, ret_answer->provider);
    return true;
}
