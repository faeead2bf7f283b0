/* bench_lane.h - "wirepost-bench lane": a lane, a receiver, and what was measured of both. */
#ifndef WIREPOST_BENCH_LANE_H
#define WIREPOST_BENCH_LANE_H

#include "tools/bench/bench_options.h"

/* Between the end of the warm-up and the end. */
struct bench_figures {
    double seconds;
    uint64_t messages, failed;
    uint64_t wrong_digests; /* since the start, as seen by the receiver */
    uint64_t connections;   /* accepted */
    uint64_t polls_sender, idle_polls_sender;
    uint64_t polls_sink, idle_polls_sink;
    double busy_seconds_sender, busy_seconds_sink; /* CPU time, in turns with work */
    uint64_t frames_out, frames_in;                /* of the sender */
    uint64_t retransmissions;
    uint64_t cycles_hz;
    /* The best second of them: on a machine that is shared, what comes nearest to it alone. */
    uint64_t best_messages;
    double best_seconds, best_busy_seconds_sender;
    char failure[256]; /* what the last failed message was told */
};

/* EX_OK with *ret_figures, or it has said why. */
int bench_lane_run(const struct bench_options *options, struct bench_figures *ret_figures);

#endif
