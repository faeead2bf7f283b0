/*
 * dp_worker_io.h - a lane's frames: from and to its queue, and between the lanes of a port.
 */
#ifndef WIREPOST_DP_WORKER_IO_H
#define WIREPOST_DP_WORKER_IO_H

#include "dataplane/dp_port.h"
#include "dataplane/dp_steer.h"
#include "dataplane/dp_worker.h"

#include <rte_mbuf.h>
#include <rte_ring.h>

#define DP_BURST 32u

struct dp_worker_io {
    struct dp_worker *lane;
    struct rte_mempool *pool;
    bool steers;                  /* the port has several queues */
    struct addr_map owners;       /* of its addresses: the lanes; with steers */
    uint32_t owners_changed;      /* sum over the lanes of the port, that owners was made of */
    struct dp_worker **peers;     /* all lanes, by index */
    struct rte_ring **from, **to; /* by index of the other lane; null where there is none */
    uint32_t n_lanes;
    uint16_t port_id, queue;
    bool tx_checksum_offload;
    bool busy_poll;                       /* never sleep */
    _Atomic uint64_t idle_turns, idle_ns; /* turns without work, and the time they took */
    uint16_t n_out;                       /* frames in out[] */
    uint64_t stuck_ns;                    /* when the device took a frame last, while some wait */
    struct rte_mbuf *spare;               /* allocated, but there was no frame for it */
    struct rte_mbuf *out[DP_BURST];
};

/* With steers, room for the addresses of all lanes. False: no memory; fini in either case. */
bool dp_worker_io_init(struct dp_worker_io *io, uint32_t n_addresses_max);
void dp_worker_io_fini(struct dp_worker_io *io);

/* The lane's thread: runs until it is ordered to exit and has nothing left to do. For
 * rte_eal_remote_launch(); arg is a struct dp_worker_io. */
int dp_worker_main(void *arg);

#endif
