/* chan_address.c - see chan_address.h. */
#include "dataplane/chan_address.h"

#include "dataplane/chan_control_private.h"

#include <unistd.h>

static struct chan_address *at(const struct chan_control *c, uint32_t entry)
{
    INVARIANT(entry < c->map.n_addresses);
    return &c->map.addresses[entry];
}

uint32_t chan_addresses_max(const struct chan_control *c)
{
    return c->map.n_addresses;
}

enum chan_address_want chan_address_want(const struct chan_control *c, uint32_t entry)
{
    return atomic_load_explicit(&at(c, entry)->want, memory_order_relaxed);
}

/* The lane's word is not trusted: what it does not know is REFUSED. */
enum chan_address_is chan_address_is(const struct chan_control *c, uint32_t entry)
{
    uint32_t is = atomic_load_explicit(&at(c, entry)->is, memory_order_acquire);
    return is < CHAN_N_ADDRESS_IS ? (enum chan_address_is)is : CHAN_ADDRESS_REFUSED;
}

uint32_t chan_address_sessions(const struct chan_control *c, uint32_t entry)
{
    return atomic_load_explicit(&at(c, entry)->sessions, memory_order_relaxed);
}

struct ip_addr chan_address_at(const struct chan_control *c, uint32_t entry)
{
    bool free = chan_address_want(c, entry) == CHAN_ADDRESS_NONE &&
                chan_address_is(c, entry) == CHAN_ADDRESS_GONE;
    return free ? (struct ip_addr){0} : at(c, entry)->addr;
}

/* Looks on from where the last one was found, so that filling a table takes one pass. */
static bool find_free(struct chan_control *c, uint32_t *ret_entry)
{
    for (uint32_t i = 0; i < c->map.n_addresses; i++) {
        uint32_t entry = (c->next_address + i) % c->map.n_addresses;
        if (chan_address_at(c, entry).family == 0) {
            c->next_address = (entry + 1) % c->map.n_addresses;
            *ret_entry = entry;
            return true;
        }
    }
    return false;
}

bool chan_address_put(struct chan_control *c, const struct ip_addr *addr, uint16_t vlan,
                      enum chan_address_want want, uint32_t *ret_entry)
{
    if (!find_free(c, ret_entry)) {
        return false;
    }
    struct chan_address *address = at(c, *ret_entry);
    address->addr = *addr;
    address->vlan = vlan;
    atomic_store_explicit(&address->sessions, 0, memory_order_relaxed);
    atomic_store_explicit(&address->is, CHAN_ADDRESS_NEW, memory_order_relaxed);
    uint32_t used = atomic_load_explicit(&c->map.header->addresses_used, memory_order_relaxed);
    if (*ret_entry >= used) {
        atomic_store_explicit(&c->map.header->addresses_used, *ret_entry + 1, memory_order_relaxed);
    }
    chan_address_set(c, *ret_entry, want);
    return true;
}

void chan_address_set(struct chan_control *c, uint32_t entry, enum chan_address_want want)
{
    atomic_store_explicit(&at(c, entry)->want, want, memory_order_release);
}

void chan_addresses_end(struct chan_control *c)
{
    atomic_fetch_add(&c->map.header->addresses_changed, 1);
    chan_control_wake(c);
}
