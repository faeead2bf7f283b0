/* dp_clock.h - the clock of the data plane process. Engines get its value as a parameter. */
#ifndef WIREPOST_DP_CLOCK_H
#define WIREPOST_DP_CLOCK_H

#include "tcp/base.h"

#include <time.h>

static inline uint64_t dp_clock_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

#endif
