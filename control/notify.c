/* notify.c - see notify.h. */
#include "control/notify.h"

#include "control/ctl_log.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The address; a leading '@' is an abstract name. False: there is none that makes sense. */
static bool read_address(struct sockaddr_un *addr, socklen_t *ret_len)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof addr->sun_path || (path[0] != '/' && path[0] != '@')) {
        return false;
    }
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(addr->sun_path, path, len);
    addr->sun_path[0] = path[0] == '@' ? '\0' : '/';
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

void notify_send(const char *text)
{
    struct sockaddr_un addr;
    socklen_t len;
    if (!read_address(&addr, &len)) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&addr, len) < 0) {
        ctl_log(CTL_LOG_WARN, "the service manager cannot be told", "reason=\"%s\"",
                strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    notify_send("WATCHDOG=1");
}

/* Meant for this process, or for any: WATCHDOG_PID. */
static uint64_t watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid())) {
        return 0;
    }
    return strtoull(usec, NULL, 10) / 1000;
}

void notify_ready(struct notify *notify, uv_loop_t *loop)
{
    uint64_t ms = watchdog_ms();
    notify_send("READY=1");
    if (ms >= 2) {
        (void)uv_timer_init(loop, &notify->watchdog);
        (void)uv_timer_start(&notify->watchdog, on_watchdog, 0, ms / 2);
        uv_unref((uv_handle_t *)&notify->watchdog);
    }
}
