/*
 * ctl_log.h - the daemon's log: one line of logfmt on stderr for each thing that an operator may
 * want to know. What happens to a message is not logged here but recorded as events
 * (control/API.md).
 *
 *     at=2026-11-23T19:07:00.123Z level=warn msg="the data plane ended" pid=4711 status=9
 */
#ifndef WIREPOST_CTL_LOG_H
#define WIREPOST_CTL_LOG_H

enum ctl_log_level { CTL_LOG_INFO, CTL_LOG_WARN, CTL_LOG_ERROR };

/* msg is a fixed text; format gives further key=value pairs (null: none). Control characters become
 * '?'. */
void ctl_log(enum ctl_log_level level, const char *msg, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
