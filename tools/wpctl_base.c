/* wpctl_base.c - how the program ends, its clock, and numbers on its command line: see wpctl.h. */
#include "tools/wpctl.h"

#include "tools/wpctl_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 8192 /* longer words of the daemon are cut */

struct wpctl_options wpctl_options = {.socket = "/run/wirepost/control.sock", .timeout_s = 60};

/* What is still allocated is the system's to take back, so that nothing runs after this. */
static void end(int status, const char *message, const char *after)
{
    (void)fflush(stdout);
    (void)fputs("wirepostctl: ", stderr);
    wpctl_put(stderr, message);
    (void)fprintf(stderr, "%s\n", after);
    (void)fflush(stderr);
    _exit(status);
}

void wpctl_die(int status, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    end(status, message, "");
    abort();
}

void wpctl_misuse(const char *command, const char *format, ...)
{
    char message[MESSAGE_MAX], after[64];
    va_list arguments;
    int used = snprintf(message, sizeof message, "%s: ", command);
    va_start(arguments, format);
    (void)vsnprintf(message + used, sizeof message - (size_t)used, format, arguments);
    va_end(arguments);
    (void)snprintf(after, sizeof after, " (wirepostctl help %s)", command);
    end(EX_USAGE, message, after);
    abort();
}

void *wpctl_must(void *pointer)
{
    if (!pointer) {
        wpctl_die(EX_OSERR, "out of memory");
    }
    return pointer;
}

void wpctl_flush(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        wpctl_die(EX_IOERR, "standard output: %s", strerror(errno));
    }
}

bool wpctl_number_parse(const char *text, int64_t low, int64_t high, int64_t *ret_number)
{
    char *end_of_number;
    errno = 0;
    long long number = strtoll(text, &end_of_number, 10);
    bool digits_first = (text[0] >= '0' && text[0] <= '9') || text[0] == '-';
    if (!digits_first || *end_of_number != '\0' || end_of_number == text || errno != 0 ||
        number < low || number > high) {
        return false;
    }
    *ret_number = number;
    return true;
}

int64_t wpctl_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
