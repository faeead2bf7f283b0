/*
 * ip_range.h - addresses of either family as numbers: ranges and prefixes, as operators write them.
 *
 * Pure. An IPv4 address is the number in its 32 bits, an IPv6 address that in its 128; numbers of
 * different families are never compared, so each range says its family.
 */
#ifndef WIREPOST_IP_RANGE_H
#define WIREPOST_IP_RANGE_H

#include "tcp/base.h"

__extension__ typedef unsigned __int128 ip_number;

struct ip_range {
    ip_number first, last; /* first <= last */
    uint8_t family;
};

/* The network that the address stands in; host bits may be set. */
struct ip_prefix {
    struct ip_addr addr; /* family 0: none */
    uint8_t len;         /* 0..32, 0..128 */
};

ip_number ip_number_of(const struct ip_addr *addr);
struct ip_addr ip_of_number(uint8_t family, ip_number number);

/* "192.0.2.0/24", "2001:db8::/64". False: neither. */
bool ip_prefix_parse(const char *text, struct ip_prefix *ret_prefix);
/* All of its addresses. */
struct ip_range ip_prefix_range(const struct ip_prefix *prefix);
/* Those that a host may have: without network and broadcast of IPv4 up to /30 (RFC 3021), without
 * the routers' anycast address of IPv6 up to /126 (RFC 4291 2.6.1, RFC 6164). */
struct ip_range ip_prefix_hosts(const struct ip_prefix *prefix);

/* An address, a range "a-b" (both included), or a prefix without host bits (its hosts). */
bool ip_range_parse(const char *text, struct ip_range *ret_range);

bool ip_range_holds(const struct ip_range *range, const struct ip_range *part);
/* How many addresses, UINT64_MAX for more. */
uint64_t ip_range_count(const struct ip_range *range);

#endif
