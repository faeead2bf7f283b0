/* utcp_seq.h - sequence numbers modulo 2^32 (RFC 9293 3.4). */
#ifndef WIREPOST_UTCP_SEQ_H
#define WIREPOST_UTCP_SEQ_H

#include <stdbool.h>
#include <stdint.h>

/* How far b lies before a; negative when it lies after. Two numbers that are compared are never
 * more than 2^31 apart: windows are at most 2^30 (RFC 7323 2.3). */
static inline int32_t seq_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static inline bool seq_lt(uint32_t a, uint32_t b)
{
    return seq_diff(a, b) < 0;
}

static inline bool seq_leq(uint32_t a, uint32_t b)
{
    return seq_diff(a, b) <= 0;
}

static inline bool seq_gt(uint32_t a, uint32_t b)
{
    return seq_diff(a, b) > 0;
}

static inline bool seq_geq(uint32_t a, uint32_t b)
{
    return seq_diff(a, b) >= 0;
}

#endif
