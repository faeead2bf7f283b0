/*
 * plan.h - which source address or relay carries a job: puts the state of lanes and relays before
 * the decision library and turns its grant into an endpoint.
 *
 * The library knows a sender's endpoints as slots: groups of addresses (pools.h) and routes. What
 * is out of order (the data plane is lost, a relay is down or paused, the
 * destination has no address of the group's IP version) is told to it; what has no room for the
 * moment is waited for.
 */
#ifndef WIREPOST_PLAN_H
#define WIREPOST_PLAN_H

#include "control/ctl.h"
#include "control/decisions.h"
#include "control/job.h"

struct plan;

/* After decisions_open(). Null: no memory. */
struct plan *plan_open(struct ctl *ctl);
void plan_close(struct plan *plan);

/* The strategy of a sender has changed. */
void plan_refresh(struct plan *plan, uint32_t sender);

/* Some lane of the sender's pool, or a relay of it, could take a job of this message now; or
 * nothing could ever, and the job is to be told so. */
bool plan_has_room(const struct plan *plan, uint32_t sender, uint64_t message_id);

/* Slots of a sender that are out of order now, whatever the destination. */
uint32_t plan_down_mask(const struct plan *plan, uint32_t sender);

/* True when mail of this sender may leave without anybody asking where the destination is: by
 * relays only. */
bool plan_by_relay_only(const struct plan *plan, uint32_t sender);

struct plan_request {
    uint32_t sender; /* index in the configuration */
    const char *stream, *provider;
    uint64_t message_id;
    uint32_t n;              /* recipients of the job */
    uint32_t n_behind;       /* jobs that wait for the same domain behind it */
    bool is_retry;           /* the first of them was tried before ... */
    bool greylisted;         /* ... and greylisted: */
    const char *last_source; /* address or route of the last attempt; "": none */
    bool has_ip4, has_ip6;   /* addresses of the destination */
    uint64_t message_bytes;
    uint32_t needs; /* CHAN_NEED_* */
};

/* True with a sentence: nothing that the sender may ever use can carry this message (its size, its
 * addresses). */
bool plan_is_unfit(const struct plan *plan, const struct plan_request *request, char *ret_why,
                   size_t why_bytes);

enum plan_result {
    PLAN_CHOSEN,
    PLAN_HELD,    /* not before retry_ms: the decision says why */
    PLAN_BLOCKED, /* nothing of what the sender may use works: until something changes */
    PLAN_WAIT     /* no room at what it should be */
};

struct plan_choice {
    const struct dp_address *address; /* into the configuration; null: */
    const char *endpoint;             /* of the address: the library's name */
    uint32_t route;                   /* a relay */
    uint32_t slot;
    uint32_t n; /* recipients that may go; the others ask again */
    int64_t retry_ms;
    bool may_change; /* held while something is out of order, which may end any time */
    struct job_decision decision;
};

enum plan_result plan_choose(struct plan *plan, const struct plan_request *request,
                             struct plan_choice *ret_choice);
/* The job could not be submitted after all. */
void plan_return(struct plan *plan, const struct plan_request *request,
                 const struct plan_choice *choice);

#endif
