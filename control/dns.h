/*
 * dns.h - where mail for a domain goes (RFC 5321 5.1, RFC 7505): MX, then A and AAAA of each host,
 * by libunbound on the control plane's loop.
 *
 * What an answer means is decided by pure functions (dns_plan.c); the questions are asked by
 * dns_resolver.c. A failure to look up (SERVFAIL, timeout, bogus) is always DNS_DEFER: a hiccup of
 * DNS never becomes a bounce. Answers are cached for their TTL within 30 s..1 h (failures 30 s),
 * and questions for one domain that arrive together are asked once.
 *
 * Targets are in the order to try them: by preference, hosts of one preference shuffled anew for
 * each asker, the addresses of a host together, IPv4 first. Addresses that no mail should go to
 * (loopback, private RFC 1918, 6598 and 4193, link local, multicast, "this network", reserved, and
 * IPv6 forms of those) are left out unless allow_private says otherwise; the documentation ranges
 * are not refused.
 *
 * A domain written "=host" is a host, not a mail domain: only its addresses are asked for, and
 * private ones are fine (a relay that the operator has named); "=[10.0.0.1]" likewise. "+host" is
 * the same without that leave: a host that a stranger has named (MTA-STS).
 *
 * DANE (RFC 7672): with a trust anchor, and where the MX answer and the addresses of a host are
 * DNSSEC-secure, the TLSA records of the host are asked for too. An answer that is insecure, or
 * securely empty, is no DANE; no answer, or one that is bogus, is DNS_TLSA_FAILED, and nobody must
 * talk to that host until it can be told (2.1.3, 2.2). A host that is an alias is looked up under
 * its full expansion first where that is secure, then under its own name (2.2.2).
 *
 * Thread: the loop's. Callbacks come from the loop, never from within dns_lookup().
 */
#ifndef WIREPOST_DNS_H
#define WIREPOST_DNS_H

#include "control/provider.h"
#include "dataplane/channel.h"
#include "dataplane/tlsa_text.h"

#include <uv.h>

struct dns_resolver;

struct dns_config {
    const char *const *servers; /* "192.0.2.53" or "192.0.2.53@5353" (port); none: the system's
                                   (/etc/resolv.conf) */
    uint32_t n_servers;
    uint32_t timeout_ms; /* for a whole domain: later it is DNS_DEFER */
    bool allow_private;  /* targets in private networks are fine (labs, internal relays) */
    uint64_t seed;       /* for the shuffle */
    const char *trust_anchor_file; /* DNSKEY or DS records of the root; null: no DNSSEC, no DANE */
    const struct provider_list
        *providers; /* that name the owners of hosts; outlives the resolver */
    uint16_t port;  /* of SMTP: TLSA records stand at _port._tcp.host */
};

enum dns_status {
    DNS_OK,     /* n_targets >= 1 */
    DNS_DEFER,  /* ask again later */
    DNS_BOUNCE, /* NXDOMAIN 5.1.2, null MX 5.1.10, nothing but refused targets 5.4.6 or 5.1.2 ... */
};

#define DNS_TEXT_MAX 256u

enum dns_tlsa_state {
    DNS_TLSA_NONE,   /* no DANE */
    DNS_TLSA_FOUND,  /* see dns_tlsa() */
    DNS_TLSA_FAILED, /* it cannot be told whether there is DANE */
};

struct dns_target {
    struct ip_addr addr;
    uint8_t tlsa;   /* enum dns_tlsa_state */
    uint8_t rank;   /* 0 for the best preference, 1 for the next ... */
    char host[256]; /* MX host name; the literal's text for "[192.0.2.1]" */
};

struct dns_answer {
    enum dns_status status;
    uint16_t code;       /* SMTP reply code that says the same: 556 for null MX (RFC 7504) ...; 0 */
    uint8_t enhanced[3]; /* RFC 3463; 0 0 0: none */
    bool secure;         /* the answer about MX was DNSSEC-secure */
    char text[DNS_TEXT_MAX]; /* for people: "mx.example: no address: SERVFAIL from 192.0.2.53" */
    char provider[PROVIDER_NAME_BYTES]; /* who runs the hosts; "": there are none */
    uint32_t site_hash; /* keyed, of all addresses by rank: domains with the same hosts in the same
                           order have the same; 0: no targets */
    uint32_t n_targets;
    struct dns_target targets[CHAN_TARGET_MAX];
};

typedef void (*dns_done_fn)(void *user, const char *domain, const struct dns_answer *answer);

/* Null with a sentence in ret_error. */
struct dns_resolver *dns_open(uv_loop_t *loop, const struct dns_config *config, char *ret_error,
                              size_t error_bytes);
/* Closes; what was asked is not answered any more. The loop must run once more before it is closed.
 */
void dns_close(struct dns_resolver *resolver);

/* From the cache: a pointer that holds until the next call; null: not there, use dns_lookup(). Also
 * answers address literals ("[192.0.2.1]") itself. */
const struct dns_answer *dns_cached(struct dns_resolver *resolver, const char *domain);

/* Asks; done is called exactly once, or never after dns_close(), which done may call. domain:
 * A-labels, lower case. Any number may be asked at a time; at most 256 domains are really under
 * way, the rest waits, and its time has not begun. Without memory the process ends. */
void dns_lookup(struct dns_resolver *resolver, const char *domain, dns_done_fn done, void *user);

/* The TLSA records of a host whose targets are DNS_TLSA_FOUND, for as long as their answer is kept;
 * holds until the next call. Null: not there. */
struct dns_tlsa {
    char base[256];           /* TLSA base domain: the name to ask for and to verify */
    char text[TLSA_TEXT_MAX]; /* tlsa_text.h; "": no record makes sense, encrypt without DANE */
};
const struct dns_tlsa *dns_tlsa(struct dns_resolver *resolver, const char *host);

/* Asks for TXT records. done is called exactly once, from the loop, or never after dns_close().
 * found: the answer is known (and may be empty); the strings of each record joined (RFC 7208 3.3).
 */
struct dns_txt {
    bool found;
    uint32_t ttl_s;
    uint32_t n;
    char text[8][1024]; /* records that are longer are left out, and those with a NUL */
};
typedef void (*dns_txt_fn)(void *user, const struct dns_txt *txt);
void dns_txt(struct dns_resolver *resolver, const char *name, dns_txt_fn done, void *user);
/* The same for the A records of a block list (RFC 5782 2.1): the texts are addresses, found without
 * any is "not listed". */
void dns_listing(struct dns_resolver *resolver, const char *name, dns_txt_fn done, void *user);

struct dns_stats {
    uint64_t lookups, cache_hits, failures;
    uint32_t under_way, cached;
};
void dns_stats(const struct dns_resolver *resolver, struct dns_stats *ret_stats);

#endif
