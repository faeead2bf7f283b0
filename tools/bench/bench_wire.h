/*
 * bench_wire.h - two stacks joined by a pair of rings: the sender's end is a port of DPDK
 * (net_ring), which a lane drives as any other one; the receiver's end takes from the rings itself.
 *
 * mbufs cross over by pointer, so a frame is copied into its mbuf by the one side and read there by
 * the other, as with a NIC. Nothing is lost: a full ring makes the sender's device refuse.
 */
#ifndef WIREPOST_BENCH_WIRE_H
#define WIREPOST_BENCH_WIRE_H

#include "dataplane/dp_worker.h"

#define BENCH_DEVICE "net_ring_bench" /* of the sender's port */

struct bench_wire;

/* Starts DPDK on the two CPUs: this thread becomes the receiver's. False: it has said why. */
bool bench_wire_start(uint16_t sender_cpu, uint16_t sink_cpu, struct bench_wire **ret_wire);
/* Opens the sender's port, after bench_wire_start(). config: one port, one lane. */
bool bench_wire_open(struct bench_wire *wire, const struct dp_config *config, uint8_t ret_mac[6]);
/* Runs the lane on the sender's CPU until it was ordered to exit. */
bool bench_wire_launch(struct bench_wire *wire, struct dp_worker *lane);
void bench_wire_wait(struct bench_wire *wire);
void bench_wire_close(struct bench_wire *wire, const struct dp_config *config);

/* CPU time of the sender's thread. */
uint64_t bench_wire_cpu_ns(const struct bench_wire *wire);
/* Turns without work of the sender's loop, and the time that they took. */
void bench_wire_idle(const struct bench_wire *wire, uint64_t *ret_turns, uint64_t *ret_ns);

/* The receiver's end: a burst in; frames out until there are no more. How many. */
uint32_t bench_wire_receive(struct bench_wire *wire, struct utcp *tcp, uint64_t now_ns);
uint32_t bench_wire_send(struct bench_wire *wire, struct utcp *tcp, uint64_t now_ns);

/* Of the time stamp counter. */
uint64_t bench_cycles_hz(void);

#endif
