/* destination.c - see destination.h. */
#include "control/destination.h"

enum tls_wants destination_wants(const struct ctl *ctl, uint32_t sender)
{
    const struct ctl_config *c = &ctl->config;
    return sender < c->n_senders ? c->senders[sender].tls : c->delivery.tls;
}

static bool policy_known(struct ctl *ctl, uint32_t sender, const char *domain)
{
    struct sts_answer sts;
    return !tls_wants_lookup(destination_wants(ctl, sender)) || sts_known(ctl->sts, domain, &sts);
}

const struct dns_answer *destination_cached(struct ctl *ctl, uint32_t sender, const char *domain)
{
    return policy_known(ctl, sender, domain) ? dns_cached(ctl->dns, domain) : NULL;
}

struct destination_lookup {
    struct destination_lookup *next, *prev; /* of ctl->lookups */
    struct ctl *ctl;
    dns_done_fn done;
    void *user;
    char domain[];
};

static void on_policy(void *user)
{
    struct destination_lookup *lookup = user;
    dns_lookup(lookup->ctl->dns, lookup->domain, lookup->done, lookup->user);
    *(lookup->prev ? &lookup->prev->next : &lookup->ctl->lookups) = lookup->next;
    if (lookup->next) {
        lookup->next->prev = lookup->prev;
    }
    free(lookup);
}

void destination_close(struct ctl *ctl)
{
    while (ctl->lookups) {
        struct destination_lookup *lookup = ctl->lookups;
        ctl->lookups = lookup->next;
        free(lookup);
    }
}

void destination_lookup(struct ctl *ctl, uint32_t sender, const char *domain, dns_done_fn done,
                        void *user)
{
    size_t bytes = strlen(domain) + 1;
    if (policy_known(ctl, sender, domain)) {
        dns_lookup(ctl->dns, domain, done, user);
        return;
    }
    struct destination_lookup *lookup = ctl_must(malloc(sizeof *lookup + bytes));
    *lookup =
        (struct destination_lookup){.next = ctl->lookups, .ctl = ctl, .done = done, .user = user};
    memcpy(lookup->domain, domain, bytes);
    if (ctl->lookups) {
        ctl->lookups->prev = lookup;
    }
    ctl->lookups = lookup;
    sts_lookup(ctl->sts, domain, on_policy, lookup);
}

struct tls_plan destination_tls(struct ctl *ctl, uint32_t sender, const char *domain,
                                const struct dns_answer *answer, uint32_t needs,
                                struct sts_answer *ret_sts)
{
    struct tls_plan plan = {
        .wants = destination_wants(ctl, sender),
        .require_tls = (needs & CHAN_NEED_REQUIRETLS) != 0,
        .domain = domain,
        .answer = answer,
        .dns = ctl->dns,
        .key = ctl->tls_key,
    };
    if (tls_wants_lookup(plan.wants) && sts_known(ctl->sts, domain, ret_sts)) {
        plan.sts = ret_sts;
    }
    return plan;
}
