/*
 * plan.h - which source address carries a job: makes the snapshot that strategies/ decides on, from
 * the configuration and the state of the lanes.
 *
 * Only addresses whose lane has room are offered; when the address of the last attempt is wanted
 * again (greylisting) and its lane has none, the job waits.
 */
#ifndef WIREPOST_PLAN_H
#define WIREPOST_PLAN_H

#include "control/ctl.h"

struct plan;

/* Null: no memory. */
struct plan *plan_open(struct ctl *ctl);
void plan_close(struct plan *plan);

/* Some lane of the sender's pool, or a relay of it, could take a job of this message now. */
bool plan_has_room(const struct plan *plan, uint32_t sender, uint64_t message_id);

enum plan_result { PLAN_CHOSEN, PLAN_HELD, PLAN_WAIT };

struct plan_request {
    uint32_t sender; /* index in the configuration */
    const char *stream, *site;
    uint64_t message_id;
    bool has_ip4;            /* the destination has an IPv4 address */
    const char *last_source; /* address or route of the last attempt; "": none */
};

struct plan_choice {
    const struct dp_address *address; /* into the configuration; null: */
    uint32_t route;                   /* a relay */
};

/* True when mail of this sender may leave without anybody asking where the destination is: by
 * relays only. */
bool plan_by_relay_only(const struct plan *plan, uint32_t sender);

/* PLAN_HELD: the decision says why. PLAN_WAIT: no room at what it should be. */
enum plan_result plan_choose(struct plan *plan, const struct plan_request *request,
                             struct strategy_decision *ret_decision,
                             struct plan_choice *ret_choice);

#endif
