/* chan_control_private.h - struct chan_control, for the files of chan_control.h and chan_address.h.
 */
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
    uint32_t scan;         /* next slot to look at for DONE since opening; n_slots: all seen */
    uint32_t next_address; /* where to look for a free entry */
    int job_fd, done_fd;
};

/* The lane has something new to look at. */
void chan_control_wake(struct chan_control *c);

#endif
