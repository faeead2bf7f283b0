/* ctl_time.c - see ctl_time.h. */
#include "control/ctl_time.h"

#include <stdio.h>
#include <time.h>

int64_t ctl_time_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const char *ctl_time_text(int64_t unix_ms, char *buf)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    char date[CTL_TIME_TEXT - 8];
    (void)gmtime_r(&seconds, &tm);
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(buf, CTL_TIME_TEXT, "%s.%03dZ", date, (int)(unix_ms % 1000));
    return buf;
}
