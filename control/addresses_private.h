/* addresses_private.h - between the addresses*.c files. */
#ifndef WIREPOST_ADDRESSES_PRIVATE_H
#define WIREPOST_ADDRESSES_PRIVATE_H

#include "control/addresses.h"
#include "dataplane/addr_map.h"

/* Beside config.dp.addresses[i]. */
struct own_address {
    bool configured;      /* stands in the configuration file ... */
    uint32_t config_lane; /* ... with this lane */
    bool drained;
    uint32_t at_lane, at_entry; /* the table that it stands in; UINT32_MAX: none */
    uint8_t told;               /* enum chan_address_is, of the last event */
};

struct addresses {
    struct ctl *ctl;
    struct own_address *list; /* DP_ADDRESSES_MAX */
    struct addr_map map;      /* to indexes */
    uint32_t n_configured_pools;
    uint32_t *configured_pool; /* of each sender; UINT32_MAX: none */
    uv_timer_t timer;
    bool ticking;
};

static inline struct dp_address *address_at(const struct addresses *a, uint32_t index)
{
    return &a->ctl->config.dp.addresses[index];
}

/* Appends an address that no other has; its index. UINT32_MAX: there are too many. */
uint32_t addresses_append(struct addresses *a, const struct ip_addr *addr, uint32_t lane,
                          uint32_t pool);

/* ---- addresses_file.c */

void addresses_read(struct addresses *a);
/* False with errno. */
bool addresses_write(const struct addresses *a);

/* ---- addresses.c */

/* Something is wanted otherwise: the tables are brought to it, now and as the lanes get on. */
void addresses_wanted(struct addresses *a);
void addresses_event(const struct addresses *a, const char *action, uint32_t index);

#endif
