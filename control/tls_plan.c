/* tls_plan.c - see tls_plan.h. */
#include "control/tls_plan.h"

#include "tcp/utcp_siphash.h"

bool tls_wants_lookup(enum tls_wants wants)
{
    return wants != TLS_WANTS_NONE && wants != TLS_WANTS_MAY;
}

/* ---- refusals ---------------------------------------------------------------------------- */

static bool refuse(struct tls_plan *plan, const struct dns_target *target, enum tls_failure failure,
                   const char *why)
{
    plan->n_refused++;
    plan->failure = failure;
    (void)snprintf(plan->text, sizeof plan->text, "%.120s: %s", target->host, why);
    return false;
}

/* ---- policies ---------------------------------------------------------------------------- */

static bool sts_enforces(const struct tls_plan *plan)
{
    return plan->sts && plan->sts->policy && plan->sts->policy->mode == STS_ENFORCE;
}

/* What holds without DANE. */
static enum chan_tls policy_of(const struct tls_plan *plan)
{
    static const enum chan_tls floors[] = {
        [TLS_WANTS_NONE] = CHAN_TLS_NONE,     [TLS_WANTS_MAY] = CHAN_TLS_MAY,
        [TLS_WANTS_AUTO] = CHAN_TLS_MAY,      [TLS_WANTS_ENCRYPT] = CHAN_TLS_ENCRYPT,
        [TLS_WANTS_VERIFY] = CHAN_TLS_VERIFY, [TLS_WANTS_DANE] = CHAN_TLS_DANE,
    };
    enum chan_tls floor = floors[plan->wants];
    if (!tls_wants_lookup(plan->wants) || !plan->sts || !plan->sts->policy) {
        return plan->require_tls ? CHAN_TLS_VERIFY : floor;
    }
    if (sts_enforces(plan) || plan->require_tls) {
        return CHAN_TLS_VERIFY;
    }
    return floor == CHAN_TLS_MAY ? CHAN_TLS_TEST : floor;
}

static bool without_dane(struct tls_plan *plan, const struct dns_target *target,
                         struct chan_target *to)
{
    if (plan->wants == TLS_WANTS_DANE) {
        return refuse(plan, target, TLS_FAILURE_DANE_REQUIRED,
                      "DANE is required, and it has no secure TLSA records");
    }
    if (sts_enforces(plan) && tls_wants_lookup(plan->wants) &&
        !sts_policy_matches(plan->sts->body, target->host)) {
        return refuse(plan, target, TLS_FAILURE_VALIDATION,
                      "the MTA-STS policy of the domain does not name this host");
    }
    if (plan->require_tls && !sts_enforces(plan) && !plan->answer->secure) {
        return refuse(plan, target, TLS_FAILURE_VALIDATION,
                      "REQUIRETLS was asked for, and neither DNSSEC nor MTA-STS vouches for it");
    }
    to->tls = (uint8_t)policy_of(plan);
    return true;
}

static bool with_dane(struct tls_plan *plan, const struct dns_target *target,
                      struct job_draft *draft, struct chan_target *to)
{
    const struct dns_tlsa *tlsa = dns_tlsa(plan->dns, target->host);
    if (!tlsa) {
        return refuse(plan, target, TLS_FAILURE_DNSSEC_INVALID, "its TLSA records are gone");
    }
    if (tlsa->text[0] == '\0') { /* RFC 7672 2.2: none is usable */
        to->tls = plan->wants == TLS_WANTS_VERIFY || plan->require_tls ? CHAN_TLS_VERIFY
                                                                       : CHAN_TLS_ENCRYPT;
        return plan->wants != TLS_WANTS_DANE ||
               refuse(plan, target, TLS_FAILURE_TLSA_INVALID, "no TLSA record is usable");
    }
    to->tls = CHAN_TLS_DANE;
    to->tls_name = job_draft_add(draft, tlsa->base);
    to->tlsa = job_draft_add(draft, tlsa->text);
    return true;
}

/* ---- keys -------------------------------------------------------------------------------- */

static uint32_t text_hash(const struct tls_plan *plan, const char *text)
{
    return (uint32_t)utcp_siphash(plan->key, (const uint8_t *)text, strlen(text));
}

/* Opportunistic TLS asks nothing of the peer, so all of it is one. */
static uint32_t key_of(const struct tls_plan *plan, const struct job_draft *draft,
                       const struct dns_target *target, const struct chan_target *to)
{
    uint32_t key = to->tls;
    if (to->tls < CHAN_TLS_VERIFY && to->tls != CHAN_TLS_TEST) {
        return key;
    }
    key = key * 31 + text_hash(plan, target->host);
    if (to->tls == CHAN_TLS_DANE) { /* RFC 7672 3.2.2: the domain is a reference name */
        key = key * 31 + text_hash(plan, plan->domain);
        key = key * 31 + text_hash(plan, draft->strings + to->tlsa);
    }
    return key;
}

bool tls_plan_target(struct tls_plan *plan, const struct dns_target *target,
                     struct job_draft *draft, struct chan_target *to)
{
    bool looks = tls_wants_lookup(plan->wants);
    to->tls_name = to->tlsa = CHAN_NO_STRING;
    if (looks && target->tlsa == DNS_TLSA_FAILED) {
        return refuse(plan, target, TLS_FAILURE_DNSSEC_INVALID,
                      "it cannot be told whether it has TLSA records (RFC 7672 2.1.3)");
    }
    if (looks && target->tlsa == DNS_TLSA_FOUND ? !with_dane(plan, target, draft, to)
                                                : !without_dane(plan, target, to)) {
        return false;
    }
    to->tls_key = key_of(plan, draft, target, to);
    draft->tls_hash = draft->tls_hash * 31 + to->tls_key;
    return true;
}
