/*
 * dns_private.h - between the parts of the resolver.
 *
 *     dns_resolver.c  who waits for which domain, at most so many under way, the clock, the cache
 *     dns_ask.c       the questions of one domain, put to libunbound
 *     dns_tlsa.c      when TLSA is asked for, and what the answers mean (pure); a table of them
 *     dns_txt.c       TXT records
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
    bool secure;       /* validated, or proven not to exist */
    const char *alias; /* the name at the end of a chain of CNAMEs; null: there is none */
    const char *why;   /* of DNS_REPLY_FAILED: "SERVFAIL", "no answer", "bogus: ..." */
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
    bool insecure;    /* one of its address answers was */
    char alias[256];  /* full expansion of its name; "": no alias */
    uint8_t tlsa;     /* enum dns_tlsa_state */
};

/* In the order to try them. */
struct dns_hosts {
    struct dns_host list[DNS_HOSTS_MAX];
    uint32_t n;
    bool secure;   /* the MX answer was */
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

/* ---- dns_tlsa.c -------------------------------------------------------------------------- */

/* The question about DANE that follows for a host; "" in name: none. */
enum dns_dane_step { DNS_DANE_ADDRESSES, DNS_DANE_CNAME, DNS_DANE_EXPANDED, DNS_DANE_OWN };
struct dns_dane {
    enum dns_dane_step step; /* that was answered last; zero to begin with */
    char name[300];          /* of the question: TLSA, but for DNS_DANE_CNAME */
};
/* All addresses of the host are known: which question is first? */
void dns_dane_begin(const struct dns_hosts *hosts, struct dns_host *host, uint16_t port,
                    struct dns_dane *dane);
/* The answer to it: sets host->tlsa, fills ret_tlsa when that is DNS_TLSA_FOUND, and says which
 * question is next. */
void dns_dane_take(struct dns_host *host, const struct dns_records *records, uint16_t port,
                   struct dns_dane *dane, struct dns_tlsa *ret_tlsa);

struct dns_tlsa_table;
struct dns_tlsa_table *dns_tlsa_table_new(uint32_t entries_max, const uint8_t key[DNS_KEY_BYTES]);
void dns_tlsa_table_free(struct dns_tlsa_table *table);
/* Takes the place of what was there; without memory it is not kept. */
void dns_tlsa_table_put(struct dns_tlsa_table *table, const char *host,
                        const struct dns_tlsa *tlsa);
/* Null: not there. */
const struct dns_tlsa *dns_tlsa_table_get(struct dns_tlsa_table *table, const char *host);

/* ---- dns_txt.c --------------------------------------------------------------------------- */

struct ub_ctx;
struct ub_result;
struct dns_txts; /* all questions under way */

struct dns_txts *dns_txts_new(uv_loop_t *loop, struct ub_ctx *ub, uint32_t timeout_ms);
/* addresses: A records as texts instead of TXT. */
void dns_txts_ask(struct dns_txts *txts, const char *name, bool addresses, dns_txt_fn done,
                  void *user);
/* Nobody is told any more; the loop must run once more. Before ub is deleted. */
void dns_txts_close(struct dns_txts *txts);
/* The strings of the records, joined. Pure. */
void dns_txt_join(const uint8_t *const *data, const size_t *len, uint32_t n,
                  struct dns_txt *ret_txt);

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

struct dns_ask; /* the questions of one domain */

#define DNS_TTL_MAX_S 3600u
#define DNS_TTL_MIN_S 30u /* and of failures */

struct dns_asker {
    struct ub_ctx *ub;
    bool allow_private;
    uint8_t key[DNS_KEY_BYTES];
    uint64_t random;
    bool dnssec;
    uint16_t port;
    const struct provider_list *providers;
    struct dns_tlsa_table *tlsa;
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
