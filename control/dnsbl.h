/*
 * dnsbl.h - asks block lists (RFC 5782) about each own address, each once an interval, spread
 * evenly over it. What an answer means is the decision library's (strategy_listing()): an answer in
 * 127.255.255.0/24, or none that makes sense, is an error of the query and no listing.
 *
 * The library knows a pool of many addresses in groups (pools.h); there a listed member alone is
 * passed over, and the library hears of it when all are listed.
 */
#ifndef WIREPOST_DNSBL_H
#define WIREPOST_DNSBL_H

#include "control/ctl.h"

struct dnsbl;

/* After dns_open() and decisions_open(); null zones: it never asks. */
struct dnsbl *dnsbl_open(struct ctl *ctl);
/* The loop closes the timer. */
void dnsbl_stop(struct dnsbl *dnsbl);
/* After the loop has closed the handles. */
void dnsbl_close(struct dnsbl *dnsbl);

/* Addresses have been added: they are asked about too. */
void dnsbl_follow(struct dnsbl *dnsbl);

/* Index in config.dp.addresses: a list that drains names it. */
bool dnsbl_listed(const struct dnsbl *dnsbl, uint32_t address);

/* [{ip, zone, state (unknown, clean, listed, policy, error), answer, at}]; a new reference. */
json_t *dnsbl_json(const struct dnsbl *dnsbl);

/* The name to ask for: "7.2.0.192.zen.spamhaus.org", nibbles for IPv6 (RFC 5782 2.1, 2.4). False:
 * name is too small. Pure. */
bool dnsbl_name(const struct ip_addr *addr, const char *zone, char *name, size_t name_bytes);

#endif
