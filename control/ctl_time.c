/* ctl_time.c - see ctl_time.h. */
#include "control/ctl_time.h"

#include <stdio.h>
#include <string.h>
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

/* ".123": as many digits as there are; the rest after milliseconds is dropped. */
static const char *read_fraction(const char *at, int64_t *ms)
{
    int64_t unit = 100;
    if (*at != '.') {
        return at;
    }
    for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10) {
        *ms += (*at - '0') * unit;
    }
    return at;
}

bool ctl_time_parse(const char *text, int64_t *ret_unix_ms)
{
    struct tm tm = {0};
    const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!at) {
        return false;
    }
    int64_t ms = (int64_t)timegm(&tm) * 1000;
    at = read_fraction(at, &ms);
    if (strcmp(at, "Z") != 0) {
        return false;
    }
    *ret_unix_ms = ms;
    return true;
}
