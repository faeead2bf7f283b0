/* mail_date.c - see mail_date.h. */
#include "control/mail_date.h"

#include <stdio.h>
#include <time.h>

const char *mail_date(int64_t unix_s, char buf[MAIL_DATE_MAX])
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)unix_s;
    struct tm tm;
    (void)gmtime_r(&seconds, &tm);
    (void)snprintf(buf, MAIL_DATE_MAX, "%s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday],
                   tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                   tm.tm_sec);
    return buf;
}
