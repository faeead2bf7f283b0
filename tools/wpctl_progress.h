/*
 * wpctl_progress.h - how far a long command is, on stderr: a bar that is drawn over itself on a
 * terminal, a line now and then elsewhere.
 */
#ifndef WIREPOST_WPCTL_PROGRESS_H
#define WIREPOST_WPCTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wpctl_progress {
    bool on;
    bool terminal;
    bool drawn;  /* a bar stands on the terminal's line */
    bool hidden; /* it was taken off, and is to be drawn again at once */
    size_t total;
    int64_t started_ms, drawn_ms;
};

/* `asked`: also where it would not be shown of itself. */
void wpctl_progress_init(struct wpctl_progress *progress, size_t total, bool asked);
/* Draws, at most every 100 ms on a terminal and every 2 s elsewhere, but always when all is done.
 */
void wpctl_progress_show(struct wpctl_progress *progress, size_t done, size_t refused);
/* Takes the bar off the line so that something else can be printed there. */
void wpctl_progress_hide(struct wpctl_progress *progress);
/* Leaves the last bar standing. */
void wpctl_progress_end(struct wpctl_progress *progress);

#endif
