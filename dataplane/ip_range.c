/* ip_range.c - see ip_range.h. */
#include "dataplane/ip_range.h"

static uint32_t width_of(uint8_t family)
{
    return family == 6 ? 128 : 32;
}

ip_number ip_number_of(const struct ip_addr *addr)
{
    ip_number number = 0;
    for (uint32_t i = 0; i < width_of(addr->family) / 8; i++) {
        number = number << 8 | addr->bytes[i];
    }
    return number;
}

struct ip_addr ip_of_number(uint8_t family, ip_number number)
{
    struct ip_addr addr = {.family = family};
    for (uint32_t i = width_of(family) / 8; i-- > 0; number >>= 8) {
        addr.bytes[i] = (uint8_t)number;
    }
    return addr;
}

/* ---- parsing ----------------------------------------------------------------------------- */

static bool parse_part(const char *text, size_t len, struct ip_addr *ret_addr)
{
    char copy[IP_ADDR_TEXT_MAX];
    if (len >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    return ip_addr_parse(copy, ret_addr);
}

bool ip_prefix_parse(const char *text, struct ip_prefix *ret_prefix)
{
    struct ip_prefix prefix;
    const char *slash = strchr(text, '/');
    uint32_t len = 0;
    if (!slash || !parse_part(text, (size_t)(slash - text), &prefix.addr)) {
        return false;
    }
    size_t digits = strspn(slash + 1, "0123456789");
    if (digits == 0 || digits > 3 || slash[1 + digits] != '\0') {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        len = len * 10 + (uint32_t)(slash[1 + i] - '0');
    }
    if (len > width_of(prefix.addr.family)) {
        return false;
    }
    prefix.len = (uint8_t)len;
    *ret_prefix = prefix;
    return true;
}

struct ip_range ip_prefix_range(const struct ip_prefix *prefix)
{
    uint32_t host_bits = width_of(prefix->addr.family) - prefix->len;
    ip_number hosts = host_bits == 128 ? ~(ip_number)0 : ((ip_number)1 << host_bits) - 1;
    ip_number number = ip_number_of(&prefix->addr);
    return (struct ip_range){
        .first = number & ~hosts, .last = number | hosts, .family = prefix->addr.family};
}

struct ip_range ip_prefix_hosts(const struct ip_prefix *prefix)
{
    struct ip_range range = ip_prefix_range(prefix);
    if (prefix->len < width_of(range.family) - 1) {
        range.first++;
        range.last -= range.family == 4;
    }
    return range;
}

bool ip_range_parse(const char *text, struct ip_range *ret_range)
{
    struct ip_addr first, last;
    struct ip_prefix prefix;
    const char *dash = strchr(text, '-');
    if (ip_prefix_parse(text, &prefix)) {
        struct ip_range all = ip_prefix_range(&prefix);
        *ret_range = ip_prefix_hosts(&prefix);
        return all.first == ip_number_of(&prefix.addr);
    }
    size_t len = dash ? (size_t)(dash - text) : strlen(text);
    if (!parse_part(text, len, &first)) {
        return false;
    }
    last = first;
    if (dash && (!ip_addr_parse(dash + 1, &last) || last.family != first.family)) {
        return false;
    }
    *ret_range = (struct ip_range){
        .first = ip_number_of(&first), .last = ip_number_of(&last), .family = first.family};
    return ret_range->first <= ret_range->last;
}

/* ---- comparing --------------------------------------------------------------------------- */

bool ip_range_holds(const struct ip_range *range, const struct ip_range *part)
{
    return range->family == part->family && range->first <= part->first &&
           part->last <= range->last;
}

uint64_t ip_range_count(const struct ip_range *range)
{
    ip_number more = range->last - range->first;
    return more >= UINT64_MAX ? UINT64_MAX : (uint64_t)more + 1;
}
