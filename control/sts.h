/*
 * sts.h - MTA-STS (RFC 8461): which policy a domain publishes, looked up, fetched, kept.
 *
 * - The record _mta-sts.DOMAIN says whether there is a policy and its id; the policy comes by HTTPS
 *   from mta-sts.DOMAIN with its certificate verified, no redirects, at most 64 KiB within 60 s.
 * - A policy is kept for its max_age, in the spool too, whatever becomes of record and server
 *   meanwhile (5.1): losing it would be the downgrade that the policy is there against. It is
 *   fetched again when its id changes, and once a day.
 * - A fetch that failed is tried again after five minutes at the earliest (3.3).
 * - While a known policy is looked at again the old one holds; nobody waits.
 *
 * Thread: the loop's.
 */
#ifndef WIREPOST_STS_H
#define WIREPOST_STS_H

#include "control/dns.h"
#include "control/https.h"
#include "control/store.h"
#include "control/sts_policy.h"
#include "dataplane/tls_failure.h"

struct sts;

struct sts_config {
    uv_loop_t *loop;
    struct dns_resolver *dns;
    struct https *https;
    struct store *store;
};

/* Null: no memory. */
struct sts *sts_open(const struct sts_config *config);
/* Before its parts. Nobody is told any more. */
void sts_close(struct sts *sts);

/* What is known of a domain; holds until the loop's next turn. */
struct sts_answer {
    const struct sts_policy *policy; /* null: there is none */
    const char *body;                /* of the policy */
    const char *id;
    enum tls_failure failure; /* of the last fetch, for TLS-RPT; also beside a policy */
};

/* False: nothing is known yet, use sts_lookup(). Starts what has to be looked at again. */
bool sts_known(struct sts *sts, const char *domain, struct sts_answer *ret_answer);

/* done is called once, from the loop, when sts_known() would be true; or never after sts_close().
 */
typedef void (*sts_done_fn)(void *user);
void sts_lookup(struct sts *sts, const char *domain, sts_done_fn done, void *user);

#endif
