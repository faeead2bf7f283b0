/* groups.c - see groups.h. */
#include "control/groups.h"

#include "tcp/base.h"

struct member {
    const char *domain;
    uint32_t index;
};

static int by_domain(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int order = strcmp(x->domain, y->domain);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

bool groups_each(const struct store_rcpt *recipients, uint32_t n, group_fn fn, void *user)
{
    struct member *members = calloc(n ? n : 1, sizeof members[0]);
    if (!members) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        members[i] = (struct member){recipients[i].domain, i};
    }
    qsort(members, n, sizeof members[0], by_domain);
    struct group group = {0};
    for (uint32_t i = 0; i < n; i++) {
        bool same = group.domain && strcmp(group.domain, members[i].domain) == 0;
        if (group.domain && (!same || group.n == GROUP_MAX)) {
            fn(user, &group);
            group.number = same ? group.number + 1 : 0;
            group.n = 0;
        }
        group.domain = members[i].domain;
        group.index[group.n++] = members[i].index;
    }
    if (group.n > 0) {
        fn(user, &group);
    }
    free(members);
    return true;
}

void group_find(const struct store_rcpt *recipients, uint32_t n, const char *domain,
                uint32_t number, struct group *ret_group)
{
    uint32_t rank = 0;
    *ret_group = (struct group){.domain = domain, .number = number};
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(recipients[i].domain, domain) != 0) {
            continue;
        }
        if (rank / GROUP_MAX == number) {
            ret_group->index[ret_group->n++] = i;
        }
        rank++;
    }
}

uint32_t group_queued(const struct store_rcpt *recipients, const struct group *group,
                      int64_t *ret_due_ms)
{
    uint32_t queued = 0;
    *ret_due_ms = INT64_MAX;
    for (uint32_t i = 0; i < group->n; i++) {
        const struct store_rcpt *rcpt = &recipients[group->index[i]];
        if (rcpt->state == STORE_RCPT_QUEUED) {
            queued++;
            *ret_due_ms = rcpt->next_try_ms < *ret_due_ms ? rcpt->next_try_ms : *ret_due_ms;
        }
    }
    return queued;
}
