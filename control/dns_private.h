/* dns_private.h - between dns_plan.c (what answers mean), dns_cache.c and dns_resolver.c. */
#ifndef WIREPOST_DNS_PRIVATE_H
#define WIREPOST_DNS_PRIVATE_H

#include "control/dns.h"

#define DNS_HOSTS_MAX     16u /* MX hosts of a domain that are looked at; the best ones */
#define DNS_ADDRESSES_MAX 8u  /* of one host and IP version */

/* ---- dns_plan.c: pure ---- */

/* How one question was answered. */
enum dns_reply { DNS_REPLY_DATA, DNS_REPLY_NODATA, DNS_REPLY_NXDOMAIN, DNS_REPLY_FAILED };

struct dns_records {
    enum dns_reply reply;
    const uint8_t *const *data; /* rdata as on the wire */
    const size_t *len;
    uint32_t n;
    const char *why; /* of DNS_REPLY_FAILED: "SERVFAIL", "no answer", "bogus: ..." */
};

struct dns_host {
    char name[256];
    uint16_t preference;
    uint32_t order; /* random: among those of one preference */
    uint32_t n4, n6;
    struct ip_addr a4[DNS_ADDRESSES_MAX], a6[DNS_ADDRESSES_MAX];
    bool failed;      /* a question about it was not answered: its addresses are not known */
    uint32_t refused; /* addresses that mail must not go to */
    char why[128];    /* of the failure */
};

struct dns_hosts {
    struct dns_host list[DNS_HOSTS_MAX];
    uint32_t n;
    bool implicit; /* no MX: the domain itself (RFC 5321 5.1) */
};

/* From the answer to the MX question. True: hosts to look up are in ret_hosts. False: ret_answer is
 * the end of it. */
bool dns_plan_mx(const char *domain, const struct dns_records *mx, uint64_t *random,
                 struct dns_hosts *ret_hosts, struct dns_answer *ret_answer);
/* An answer about a host's addresses; family 4 or 6. */
void dns_plan_address(struct dns_host *host, uint8_t family, const struct dns_records *records,
                      bool allow_private);
/* All hosts are known as far as they will be. */
void dns_plan_finish(const char *domain, const struct dns_hosts *hosts,
                     struct dns_answer *ret_answer);
/* "[192.0.2.1]"; false: it is no literal. */
bool dns_plan_literal(const char *domain, bool allow_private, struct dns_answer *ret_answer);
void dns_plan_defer(const char *domain, const char *why, struct dns_answer *ret_answer);
bool dns_is_private(const struct ip_addr *addr);

/* ---- dns_cache.c ---- */

struct dns_cache;

struct dns_cache *dns_cache_new(uint32_t entries_max);
void dns_cache_free(struct dns_cache *cache);
/* Null: not there, or too old. */
const struct dns_answer *dns_cache_get(struct dns_cache *cache, const char *domain,
                                       uint64_t now_ms);
/* Keeps a copy; without memory it is not kept. */
void dns_cache_put(struct dns_cache *cache, const char *domain, const struct dns_answer *answer,
                   uint64_t until_ms);
uint32_t dns_cache_count(const struct dns_cache *cache);

#endif
