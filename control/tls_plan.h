/*
 * tls_plan.h - which TLS each target of a job is to have: DANE where the host publishes TLSA
 * records (RFC 7672), else the domain's MTA-STS policy (RFC 8461), else what the sender's
 * configuration wants at least. A host that cannot be used under that is left out.
 *
 *     wants      DANE    STS enforce  STS testing   neither
 *     none       none    none         none          none
 *     may        may     may          may           may       nothing is looked up
 *     auto       dane    verify       sts-test      may
 *     encrypt    dane    verify       encrypt       encrypt
 *     verify     dane    verify       verify        verify
 *     dane       dane    (left out)   (left out)    (left out)
 *
 * A host whose TLSA lookup failed is left out (RFC 7672 2.1.3), and one that an enforced policy
 * does not name (RFC 8461 4.1). A message that asks for REQUIRETLS wants "verify" at least, of a
 * host that DNSSEC or an enforced policy vouches for (RFC 8689 4.2.1).
 */
#ifndef WIREPOST_TLS_PLAN_H
#define WIREPOST_TLS_PLAN_H

#include "control/ctl_config.h"
#include "control/dns.h"
#include "control/job.h"
#include "control/sts.h"

struct tls_plan {
    /* in */
    enum tls_wants wants;
    bool require_tls;
    const char *domain;
    const struct dns_answer *answer;
    const struct sts_answer *sts; /* null: not looked up */
    struct dns_resolver *dns;
    const uint8_t *key; /* 16 bytes, secret: of tls_key */
    /* out */
    uint32_t n_refused;       /* targets left out */
    enum tls_failure failure; /* of the last one */
    char text[DNS_TEXT_MAX];  /* for people */
};

/* Fills what chan_target says about TLS. False: the target is left out, and the plan says why. */
bool tls_plan_target(struct tls_plan *plan, const struct dns_target *target,
                     struct job_draft *draft, struct chan_target *to);
/* True when tls_plan_target() may look at TLSA and MTA-STS. */
bool tls_wants_lookup(enum tls_wants wants);

#endif
