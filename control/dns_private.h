/*
 * dns_private.h - between the parts of the resolver.
 *
 *     dns_resolver.c  who waits for which domain, at most so many under way, the clock, the cache
 *     dns_ask.c       the questions of one domain, put to libunbound
 *     dns_plan.c      what the answers mean for mail (pure)
 *     dns_target.c    which addresses, in which order, and the site's hash (pure)
 *     dns_cache.c     answers by domain (pure: the time is a parameter)
 */
#ifndef WIREPOST_DNS_PRIVATE_H
#define WIREPOST_DNS_PRIVATE_H

#include "control/dns.h"

#define DNS_HOSTS_MAX     16u /* MX hosts of a domain that are looked at; the best ones */
#define DNS_ADDRESSES_MAX 16u /* of one host and IP version */
#define DNS_KEY_BYTES     16u /* of SipHash */

/* ---- dns_plan.c -------------------------------------------------------------------------- */

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
    bool failed;      /* a question about it had no answer, or a malformed one: there may be more */
    uint32_t refused; /* addresses that mail must not go to */
    char why[128];    /* of the failure */
};

/* In the order to try them. */
struct dns_hosts {
    struct dns_host list[DNS_HOSTS_MAX];
    uint32_t n;
    bool implicit; /* no MX: the domain itself (RFC 5321 5.1) */
};

/* False: DNS cannot be asked for it (RFC 1035 2.3.4: 63 bytes a label, 253 in all), and the answer
 * says so. */
bool dns_plan_domain(const char *domain, struct dns_answer *ret_answer);
/* From the answer to the MX question. True: hosts to look up are in ret_hosts. False: ret_answer is
 * the end of it. */
bool dns_plan_mx(const char *domain, const struct dns_records *mx, uint64_t *random,
                 struct dns_hosts *ret_hosts, struct dns_answer *ret_answer);
/* The domain is its own and only host. */
void dns_plan_implicit(const char *domain, struct dns_hosts *ret_hosts);
/* An answer about a host's addresses; family 4 or 6. */
void dns_plan_address(struct dns_host *host, uint8_t family, const struct dns_records *records,
                      bool allow_private);
/* All hosts are known as far as they will be. */
void dns_plan_finish(const char *domain, const struct dns_hosts *hosts,
                     const uint8_t key[DNS_KEY_BYTES], struct dns_answer *ret_answer);
/* "[192.0.2.1]"; false: it is no literal. */
bool dns_plan_literal(const char *domain, bool allow_private, const uint8_t key[DNS_KEY_BYTES],
                      struct dns_answer *ret_answer);
void dns_plan_defer(const char *domain, const char *why, struct dns_answer *ret_answer);

/* ---- dns_target.c ------------------------------------------------------------------------ */

/* xorshift64; *random is never 0. For the shuffle only: it can be foretold. */
uint64_t dns_random(uint64_t *random);
bool dns_is_private(const struct ip_addr *addr);
/* Fills targets, n_targets and site_hash; nothing else of the answer is touched. */
void dns_targets_fill(const struct dns_hosts *hosts, const uint8_t key[DNS_KEY_BYTES],
                      struct dns_answer *answer);
/* Hosts of one rank change places; their addresses stay together. */
void dns_targets_shuffle(struct dns_answer *answer, uint64_t *random);
/* Copies what is there: targets after n_targets are left alone. */
void dns_answer_copy(struct dns_answer *to, const struct dns_answer *from);
size_t dns_answer_bytes(const struct dns_answer *answer);

/* ---- dns_cache.c ------------------------------------------------------------------------- */

struct dns_cache;

/* key: secret, so that nobody can choose domains that make it slow. Null: no memory. */
struct dns_cache *dns_cache_new(uint32_t entries_max, const uint8_t key[DNS_KEY_BYTES]);
void dns_cache_free(struct dns_cache *cache);
/* Null: not there, or too old. */
const struct dns_answer *dns_cache_get(struct dns_cache *cache, const char *domain,
                                       uint64_t now_ms);
/* Keeps a copy; without memory it is not kept. */
void dns_cache_put(struct dns_cache *cache, const char *domain, const struct dns_answer *answer,
                   uint64_t until_ms);
uint32_t dns_cache_count(const struct dns_cache *cache);

/* ---- dns_ask.c --------------------------------------------------------------------------- */

struct ub_ctx;
struct dns_ask; /* the questions of one domain */

#define DNS_TTL_MAX_S 3600u
#define DNS_TTL_MIN_S 30u /* and of failures */

struct dns_asker {
    struct ub_ctx *ub;
    bool allow_private;
    uint8_t key[DNS_KEY_BYTES];
    uint64_t random;
};

typedef void (*dns_asked_fn)(void *user);

/* asker and domain ("=host" too) must live as long. asked is called once, when dns_ask_answer() is
 * there: from within dns_ask_begin(), dns_ask_give_up() or ub_process(). It must not free the ask.
 */
struct dns_ask *dns_ask_new(struct dns_asker *asker, const char *domain, dns_asked_fn asked,
                            void *user);
void dns_ask_begin(struct dns_ask *ask);
/* Time is up: what is known must do. */
void dns_ask_give_up(struct dns_ask *ask);
struct dns_answer *dns_ask_answer(struct dns_ask *ask);
/* How long the answer may be kept: DNS_TTL_MIN_S..DNS_TTL_MAX_S. */
uint32_t dns_ask_ttl_s(const struct dns_ask *ask);
/* What is still open is not answered any more. */
void dns_ask_free(struct dns_ask *ask);

/* False with a sentence in ret_error. */
bool dns_ask_configure(struct ub_ctx *ub, const struct dns_config *config, char *ret_error,
                       size_t error_bytes);

#endif
