/* bench_options.h - the command line of wirepost-bench. */
#ifndef WIREPOST_BENCH_OPTIONS_H
#define WIREPOST_BENCH_OPTIONS_H

#include "tcp/base.h"

#define BENCH_SESSIONS_MAX  32768u
#define BENCH_ADDRESSES_MAX 16000u

struct bench_options {
    uint32_t size; /* bytes of a message */
    uint32_t sessions;
    uint32_t addresses;
    uint32_t seconds;
    uint32_t kernel_messages; /* for smtp-source; 0: leave it out */
    uint16_t sender_cpu, sink_cpu;
    bool new_connections; /* one for each message */
    bool tls;
    bool json;
    const char *postfix; /* the folder that postfix was unpacked in; null: look for it */
};

/* -1: go on; otherwise the exit status. */
int bench_options_parse(int argc, char **argv, struct bench_options *ret_options);

#endif
