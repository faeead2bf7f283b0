/*
 * dp_steer.h - which lane of a port a received frame belongs to.
 *
 * Lanes share nothing, so a frame must reach the lane that owns its destination address. Where the
 * device delivers it to another queue (no steering in the device, as with net_tap and
 * net_af_packet), the receiving lane hands it over. A pure function over any bytes.
 */
#ifndef WIREPOST_DP_STEER_H
#define WIREPOST_DP_STEER_H

#include "dataplane/dp_config.h"

#define DP_STEER_HERE UINT32_MAX       /* nobody's: the lane that has it counts and drops it */
#define DP_STEER_ALL  (UINT32_MAX - 1) /* ARP and ND that each lane may have to know of */

struct dp_steer_entry {
    struct ip_addr addr; /* family 0: empty */
    uint32_t lane;
};

/* Open addressing, at most half full; read by all lanes of the port, written by nobody. */
struct dp_steer {
    struct dp_steer_entry *entries;
    uint32_t mask;
};

/* Of all addresses of the port. False: no memory. */
bool dp_steer_init(struct dp_steer *steer, const struct dp_config *config, uint32_t port);
void dp_steer_fini(struct dp_steer *steer);

/* The lane (index in dp_config.lanes), DP_STEER_HERE or DP_STEER_ALL. */
uint32_t dp_steer_frame(const struct dp_steer *steer, const uint8_t *frame, uint32_t len);

#endif
