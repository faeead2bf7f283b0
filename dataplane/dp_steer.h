/*
 * dp_steer.h - which lane of a port a received frame belongs to.
 *
 * Lanes share nothing, so a frame must reach the lane that owns its destination address. Where the
 * device delivers it to another queue (no steering in the device, as with net_tap and
 * net_af_packet), the receiving lane hands it over. A pure function over any bytes.
 */
#ifndef WIREPOST_DP_STEER_H
#define WIREPOST_DP_STEER_H

#include "dataplane/addr_map.h"

#define DP_STEER_HERE UINT32_MAX       /* nobody's: the lane that has it counts and drops it */
#define DP_STEER_ALL  (UINT32_MAX - 1) /* ARP and ND that each lane may have to know of */

/* owners: the lane (index in dp_config.lanes) of each address of the port. Returns a lane,
 * DP_STEER_HERE or DP_STEER_ALL. */
uint32_t dp_steer_frame(const struct addr_map *owners, const uint8_t *frame, uint32_t len);

#endif
