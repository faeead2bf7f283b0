/*
 * addresses.h - the source addresses while mail flows: which there are, in which lane, which are
 * drained; and the pools that were made at run time.
 *
 * The configuration file is the operator's and is never written. What is changed over the control
 * socket is kept beside the spool, in spool.path/addresses.json, as differences to the file: what
 * was added, removed, moved, drained, and the EHLO names and pools of run time. It is read at start
 * and laid over the configuration.
 *
 * An address is called by its index in config.dp.addresses, which holds for as long as the process
 * lives: new ones are appended, removed ones are marked. Lanes are told by their tables
 * (chan_address.h), and the tables are brought to what is wanted step by step: an address that
 * moves is drained, given up by its old lane, and only then put to the new one. What is wanted and
 * what is stand apart, so a change survives a data plane that dies half-way through it.
 *
 *     wanted: lane, in use or drained ──> table of the lane ──> what the lane has made of it
 *                ^ addresses_change.c        ^ addresses.c        └──> events, plan
 */
#ifndef WIREPOST_ADDRESSES_H
#define WIREPOST_ADDRESSES_H

#include "control/ctl.h"
#include "dataplane/chan_address.h"

#define ADDRESSES_POOLS_MORE 256u /* pools that may be made at run time */

struct addresses;

/* Lays addresses.json over the configuration; what does not fit it any more is left out with a line
 * in the log. Before pools, decisions and lanes. */
struct addresses *addresses_open(struct ctl *ctl);
/* The channels have been opened, or made anew: looks what stands in their tables. */
void addresses_follow_lanes(struct addresses *a);
void addresses_close(struct addresses *a);

/* Mail may be given to it now. */
bool addresses_usable(const struct addresses *a, uint32_t index);
/* It is drained, removed, another host's or refused: nothing changes that by itself. */
bool addresses_out_of_use(const struct addresses *a, uint32_t index);

/* ---- for people: api_addresses.c */

/* "up", "drained", "moving" ... */
const char *addresses_state_text(const struct addresses *a, uint32_t index);
/* It does not stand in the configuration file. */
bool addresses_is_added(const struct addresses *a, uint32_t index);
uint32_t addresses_sessions(const struct addresses *a, uint32_t index);
/* UINT32_MAX: there is none. */
uint32_t addresses_find(const struct addresses *a, const struct ip_addr *addr);
/* Messages in lanes, per index; free() it. */
uint32_t *addresses_count_jobs(const struct addresses *a);

/* ---- changes: all of one request or nothing. False with a sentence, nothing was changed. */

struct address_change {
    const uint32_t *list; /* indexes */
    uint32_t n;
};
bool addresses_drain(struct addresses *a, const struct address_change *change, bool on,
                     char *ret_error, size_t error_bytes);
bool addresses_move(struct addresses *a, const struct address_change *change, uint32_t lane,
                    char *ret_error, size_t error_bytes);
/* Refused while they are in use, unless they are drained. */
bool addresses_remove(struct addresses *a, const struct address_change *change, char *ret_error,
                      size_t error_bytes);

struct address_add {
    const struct ip_range *ranges; /* checked against the port's network */
    uint32_t n;
    uint32_t lane, pool;
    const char *ehlo; /* of a single address; null: the pool's */
};
bool addresses_add(struct addresses *a, const struct address_add *add, char *ret_error,
                   size_t error_bytes);

/* UINT32_MAX: there is none. */
uint32_t addresses_pool(const struct addresses *a, const char *name);
bool addresses_pool_is_added(const struct addresses *a, uint32_t pool);
bool addresses_pool_add(struct addresses *a, const struct dp_pool *pool, char *ret_error,
                        size_t error_bytes);
/* Refused while it has addresses, a sender uses it, or it stands in the configuration file. */
bool addresses_pool_remove(struct addresses *a, uint32_t pool, char *ret_error, size_t error_bytes);
/* The sender uses this pool from now on. */
bool addresses_pool_assign(struct addresses *a, uint32_t sender, uint32_t pool, char *ret_error,
                           size_t error_bytes);

#endif
