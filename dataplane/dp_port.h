/*
 * dp_port.h - the devices: configured, started and stopped through DPDK's ethdev. Main thread.
 *
 * One memory pool per lane; both queues of the lane use it. Frames are copied out of mbufs when
 * they arrive and into mbufs when they leave, so a pool need only fill the rings: its size follows
 * from the descriptors, not from the sessions.
 *
 * Checksums are left to the device where it offers all of IPv4 and TCP. MBUF_FAST_FREE is never
 * used: frames that were handed over to another lane come from that lane's pool.
 */
#ifndef WIREPOST_DP_PORT_H
#define WIREPOST_DP_PORT_H

#include "dataplane/dp_config.h"

#include <rte_mempool.h>

struct dp_device {
    uint16_t port_id;
    uint8_t mac[6];
    bool tx_checksum_offload;
    bool started;
};

struct dp_devices {
    struct dp_device ports[DP_PORTS_MAX];    /* as in dp_config.ports */
    struct rte_mempool *pools[DP_LANES_MAX]; /* per lane */
};

/* Sets up and starts all ports of the configuration. Errors name the JSON path of what the device
 * refused; false when one was added. Close in either case. */
bool dp_devices_open(struct dp_devices *devices, const struct dp_config *config,
                     struct config_errors *errors);
void dp_devices_close(struct dp_devices *devices, const struct dp_config *config);

/* A descriptor that is readable when frames wait in the queue (net_tap), or -1. */
int dp_device_rx_fd(const struct dp_device *device, uint16_t queue);

#endif
