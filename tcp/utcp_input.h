/* utcp_input.h - a segment on its way through utcp_input.c and utcp_input_steps.c. */
#ifndef WIREPOST_UTCP_INPUT_H
#define WIREPOST_UTCP_INPUT_H

#include "tcp/utcp_internal.h"

struct input {
    struct utcp *u;
    uint64_t now_ns;
    struct utcp_conn *c;
    struct utcp_segment seg; /* cut to the window by input_step7_text() */
    const struct utcp_ip *ip;
    const uint8_t *mac;
    bool zero_window; /* only the ACK of this segment counts */
};

/* The connection of `in` becomes ESTABLISHED, and its caller hears of it. */
void utcp_input_established(const struct input *in);

/* RFC 9293 3.10.7.4, all steps, or only those behind the ACK. */
void utcp_input_steps(struct input *in);
void utcp_input_step6_to_8(struct input *in);

#endif
