/*
 * chan_address.h - control's side of a lane's table of source addresses (channel.h). The lane's
 * side is dp_worker_addresses.c.
 *
 * Control says what it wants of an address, the lane does it in its own time and says what is;
 * nothing here is a message that could be lost. The table stands in the channel file, so it
 * outlives both processes.
 *
 *     control's want                     the lane's is
 *     NONE                               GONE
 *     USE    put (NEW), or undrained --> TENTATIVE (IPv6), UP, DUPLICATE, REFUSED
 *     DRAIN                          --> DRAINING, then DRAINED when no connection is left
 *     NONE   from any of them        --> DRAINING, then GONE: only now the entry is free again
 */
#ifndef WIREPOST_CHAN_ADDRESS_H
#define WIREPOST_CHAN_ADDRESS_H

#include "dataplane/chan_control.h"

uint32_t chan_addresses_max(const struct chan_control *c);

/* Takes a free entry. False: there is none. */
bool chan_address_put(struct chan_control *c, const struct ip_addr *addr, uint16_t vlan,
                      enum chan_address_want want, uint32_t *ret_entry);
void chan_address_set(struct chan_control *c, uint32_t entry, enum chan_address_want want);
/* Tells the lane, after the last of a batch of changes. */
void chan_addresses_end(struct chan_control *c);

/* What stands in the entry; family 0: nothing does. */
struct ip_addr chan_address_at(const struct chan_control *c, uint32_t entry);
enum chan_address_want chan_address_want(const struct chan_control *c, uint32_t entry);
enum chan_address_is chan_address_is(const struct chan_control *c, uint32_t entry);
/* Connections of it now. */
uint32_t chan_address_sessions(const struct chan_control *c, uint32_t entry);

#endif
