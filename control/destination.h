/*
 * destination.h - all that is to be known of a domain before mail goes there: its hosts (dns.h) and
 * its MTA-STS policy (sts.h), the policy first, so that the answer about the hosts is fresh.
 */
#ifndef WIREPOST_DESTINATION_H
#define WIREPOST_DESTINATION_H

#include "control/ctl.h"
#include "control/tls_plan.h"

/* What the sender wants of TLS (its own word, or that of "delivery"). */
enum tls_wants destination_wants(const struct ctl *ctl, uint32_t sender);

/* The answer about its hosts when everything is known; null: use destination_lookup(). */
const struct dns_answer *destination_cached(struct ctl *ctl, uint32_t sender, const char *domain);

/* As dns_lookup(). */
void destination_lookup(struct ctl *ctl, uint32_t sender, const char *domain, dns_done_fn done,
                        void *user);

/* Nobody is told any more: after sts_close(). */
void destination_close(struct ctl *ctl);

/* The plan for a job of the sender, to ask about each target. */
struct tls_plan destination_tls(struct ctl *ctl, uint32_t sender, const char *domain,
                                const struct dns_answer *answer, uint32_t needs,
                                struct sts_answer *ret_sts);

#endif
