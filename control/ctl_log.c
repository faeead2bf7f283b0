/* ctl_log.c - see ctl_log.h. */
#include "control/ctl_log.h"

#include "control/ctl_time.h"

#include <stdarg.h>
#include <stdio.h>

static void clean(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            *text = '?';
        }
    }
}

void ctl_log(enum ctl_log_level level, const char *msg, const char *format, ...)
{
    static const char *const names[] = {"info", "warn", "error"};
    char more[2048] = "", at[CTL_TIME_TEXT];
    if (format) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(more, sizeof more, format, arguments);
        va_end(arguments);
    }
    clean(more);
    (void)fprintf(stderr, "at=%s level=%s msg=\"%s\"%s%s\n", ctl_time_text(ctl_time_ms(), at),
                  names[level], msg, more[0] ? " " : "", more);
}
