/*
 * notify.h - tells a service manager how we are (sd_notify(3), sd_watchdog_enabled(3)), by
 * datagrams to the socket that NOTIFY_SOCKET names. Without it nothing is sent.
 */
#ifndef WIREPOST_NOTIFY_H
#define WIREPOST_NOTIFY_H

#include <uv.h>

struct notify {
    uv_timer_t watchdog;
};

/* READY=1, and WATCHDOG=1 at half of WATCHDOG_USEC from now on: as long as the loop turns. */
void notify_ready(struct notify *notify, uv_loop_t *loop);
/* One line for people, such as "STATUS=1,234 messages are queued", or "STOPPING=1". */
void notify_send(const char *text);

#endif
