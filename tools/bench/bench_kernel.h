/*
 * bench_kernel.h - the yardstick: what a message costs postfix's smtp-source over kernel sockets.
 *
 * smtp-source sends to smtp-sink over the loopback device, in clear; its own CPU time, user and
 * system, is divided by the messages. The work of the kernel for the receiver is partly in there,
 * because loopback delivers in the sender's context; so is none of a NIC's.
 */
#ifndef WIREPOST_BENCH_KERNEL_H
#define WIREPOST_BENCH_KERNEL_H

#include "tools/bench/bench_options.h"

struct bench_kernel {
    bool ran;
    char why_not[160];
    uint64_t messages;
    double cpu_us_per_message;
    double messages_per_s;
};

void bench_kernel_run(const struct bench_options *options, struct bench_kernel *ret_kernel);

#endif
