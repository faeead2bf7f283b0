/*
 * groups.h - how the recipients of a message are cut into items of the queue: those of one domain
 * together, in the order of the message, GROUP_MAX to an item. A recipient's group never changes,
 * whatever becomes of others, so it is computed from the spool again whenever it is needed. Pure.
 */
#ifndef WIREPOST_GROUPS_H
#define WIREPOST_GROUPS_H

#include "control/store.h"
#include "dataplane/channel.h"

#define GROUP_MAX CHAN_RCPT_MAX

struct group {
    const char *domain;
    uint32_t number; /* of this domain, from 0 */
    uint32_t n;
    uint32_t index[GROUP_MAX]; /* recipients of the message */
};

typedef void (*group_fn)(void *user, const struct group *group);

/* Every group of the message. False: no memory, fn was not called. */
bool groups_each(const struct store_rcpt *recipients, uint32_t n, group_fn fn, void *user);

/* One group; its n is 0 when there is none such. */
void group_find(const struct store_rcpt *recipients, uint32_t n, const char *domain,
                uint32_t number, struct group *ret_group);

/* Of its recipients that are queued: how many, and when the first of them is due (INT64_MAX: none
 * is). */
uint32_t group_queued(const struct store_rcpt *recipients, const struct group *group,
                      int64_t *ret_due_ms);

#endif
