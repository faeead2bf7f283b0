/* chan_control_private.h - struct chan_control, for chan_control.c and chan_control_socket.c. */
#ifndef WIREPOST_CHAN_CONTROL_PRIVATE_H
#define WIREPOST_CHAN_CONTROL_PRIVATE_H

#include "dataplane/chan_control.h"

enum chan_mark {
    CHAN_MARK_FREE,      /* on the stack of free slots */
    CHAN_MARK_HELD,      /* with the caller, being filled */
    CHAN_MARK_SUBMITTED, /* with the lane */
    CHAN_MARK_REPORTED,  /* chan_control_next_done() has returned it */
};

struct chan_control {
    struct chan_map map;
    struct chan_arena arena;
    uint8_t *marks;       /* enum chan_mark, per slot */
    uint32_t *free_slots; /* a stack: the slot used last is used next, its lines are warm */
    uint32_t n_free;
    uint32_t scan; /* next slot to look at for DONE since opening; n_slots: all seen */
    int job_fd, done_fd;
};

#endif
