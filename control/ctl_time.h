/* ctl_time.h - Unix time in milliseconds, and as RFC 3339 text. */
#ifndef WIREPOST_CTL_TIME_H
#define WIREPOST_CTL_TIME_H

#include <stdbool.h>
#include <stdint.h>

#define CTL_TIME_TEXT 32 /* "2026-11-23T19:07:00.123Z" */

int64_t ctl_time_ms(void);
/* Into buf (CTL_TIME_TEXT bytes); returns buf. */
const char *ctl_time_text(int64_t unix_ms, char *buf);
/* RFC 3339 in UTC, as above, with or without a fraction. False: it is something else. */
bool ctl_time_parse(const char *text, int64_t *ret_unix_ms);

#endif
