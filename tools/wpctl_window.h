/*
 * wpctl_window.h - messages on their way to the daemon: requests of `inject` without an answer yet,
 * and what is told of each answer.
 *
 * Invariants:
 *   1. At most WPCTL_WINDOW requests are unanswered; the daemon would take 64 (API.md).
 *   2. Each message that was begun is told of exactly once: accepted with its id, refused, or, when
 *      the connection ends before its answer, unknown: it may have been accepted.
 *   3. `status` is that of the first message, in the order of the sources, that was not accepted.
 */
#ifndef WIREPOST_WPCTL_WINDOW_H
#define WIREPOST_WPCTL_WINDOW_H

#include "tools/wpctl_client.h"
#include "tools/wpctl_progress.h"

#include <stdbool.h>
#include <stddef.h>

#define WPCTL_WINDOW 16u

struct wpctl_pending {
    json_int_t id; /* 0: free */
    size_t ordinal;
    char *name;
};

struct wpctl_window {
    struct wpctl_client client;
    struct wpctl_progress progress;
    bool quiet;
    struct wpctl_pending pending[WPCTL_WINDOW];
    size_t n_pending;
    size_t n_begun; /* the ordinal of the next message */
    size_t n_accepted, n_refused, n_unknown;
    int status; /* 0: all were accepted */
    size_t status_ordinal;
};

/* One message with the parameters (given up) that the socket wants; waits for an answer when the
 * window is full. False: the connection does not work any more, and this message was not begun. */
bool wpctl_window_send(struct wpctl_window *window, const char *name, json_t *params,
                       const void *data, size_t bytes);
/* One message that is not even sent. */
void wpctl_window_refuse(struct wpctl_window *window, const char *name, int status,
                         const char *why);
/* Waits for all answers that are missing, or for the end of the connection. */
void wpctl_window_finish(struct wpctl_window *window);

#endif
