/* records.h - rdata and hosts for the tests of what DNS answers mean. */
#ifndef WIREPOST_TESTS_DNS_RECORDS_H
#define WIREPOST_TESTS_DNS_RECORDS_H

#include "control/dns_private.h"

#include <check.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/* A buffer for each record, exactly as long as it is, so that ASan sees the end. */
struct rdata {
    uint8_t *data[64];
    size_t len[64];
    uint32_t n;
};

extern const uint8_t test_key[DNS_KEY_BYTES];
extern const struct dns_records nodata, nxdomain, servfail;

void rdata_add(struct rdata *r, const void *data, size_t len);
/* name: labels with dots between them; "" is the root. */
void rdata_add_mx(struct rdata *r, uint16_t preference, const char *name);
void rdata_free(struct rdata *r);
struct dns_records rdata_records(const struct rdata *r);

/* Hosts without addresses, all of one preference: a.example, b.example ... */
struct dns_hosts hosts_make(uint32_t n);
/* "192.0.2.1 2001:db8::1": as if these were answers about this host. */
void host_add(struct dns_host *host, const char *addresses);

void check_end(const struct dns_answer *answer, enum dns_status status, unsigned code,
               const char *enhanced, const char *words);
/* "192.0.2.1/0 192.0.2.2/1": addresses and ranks. */
void check_targets(const struct dns_answer *answer, const char *want);

#endif
