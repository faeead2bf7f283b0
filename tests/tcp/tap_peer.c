/* tap_peer.c - kernel TCP servers in a child process, a thread for each connection. */
#include "tests/tcp/tap_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536u

static const uint16_t ports[] = {PEER_ECHO,   PEER_SINK,      PEER_SOURCE,     PEER_RESET,
                                 PEER_CLOSES, PEER_SLOW_SINK, PEER_CALLS_BACK, PEER_SMALL_SOURCE};
#define N_PORTS (sizeof ports / sizeof ports[0])

struct visit {
    int fd;
    uint16_t port;
    struct sockaddr_in6 caller; /* an IPv4 one is mapped */
};

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(fd, data, len);

        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void do_echo(int fd)
{
    uint8_t buf[CHUNK];
    ssize_t n;

    while ((n = read(fd, buf, sizeof buf)) > 0)
        if (!write_all(fd, buf, (size_t)n))
            return;
}

static void do_sink(int fd)
{
    uint8_t buf[CHUNK];
    uint64_t answer[2] = {0, HASH_START};
    ssize_t n;

    while ((n = read(fd, buf, sizeof buf)) > 0) {
        answer[0] += (uint64_t)n;
        answer[1] = hash_add(answer[1], buf, (size_t)n);
    }
    (void)write_all(fd, (const uint8_t *)answer, sizeof answer);
}

static void do_slow_sink(int fd)
{
    const struct timespec nap = {.tv_nsec = 700 * 1000 * 1000};

    (void)nanosleep(&nap, NULL); /* the window fills up and shuts */
    do_sink(fd);
}

static bool send_pattern(int fd, uint64_t len)
{
    uint8_t buf[CHUNK];

    for (uint64_t at = 0; at < len; at += sizeof buf) {
        const size_t n = len - at < sizeof buf ? (size_t)(len - at) : sizeof buf;

        for (size_t i = 0; i < n; i++)
            buf[i] = pattern_byte(at + i);
        if (!write_all(fd, buf, n))
            return false;
    }
    return true;
}

static void do_reset(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    uint8_t byte;

    (void)read(fd, &byte, 1);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static void *send_pattern_thread(void *arg)
{
    const int fd = *(const int *)arg;

    (void)send_pattern(fd, PEER_CALL_BYTES);
    (void)shutdown(fd, SHUT_WR);
    return NULL;
}

/* Connects to the caller's listener: does it echo the pattern? */
static bool call_back(struct sockaddr_in6 caller)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint8_t buf[CHUNK];
    uint64_t at = 0;
    pthread_t sender;
    ssize_t n;
    bool same = true;

    caller.sin6_port = htons(LISTEN_PORT);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&caller, sizeof caller) != 0 ||
        pthread_create(&sender, NULL, send_pattern_thread, &fd) != 0)
        return false;
    while ((n = read(fd, buf, sizeof buf)) > 0)
        for (ssize_t i = 0; i < n; i++)
            same = same && buf[i] == pattern_byte(at++);
    (void)pthread_join(sender, NULL);
    (void)close(fd);
    return same && n == 0 && at == PEER_CALL_BYTES;
}

static void *serve(void *arg)
{
    struct visit *visit = arg;

    switch ((enum peer_port)visit->port) {
    case PEER_ECHO:
        do_echo(visit->fd);
        break;
    case PEER_SINK:
        do_sink(visit->fd);
        break;
    case PEER_SOURCE:
        (void)send_pattern(visit->fd, PEER_SOURCE_BYTES);
        break;
    case PEER_RESET:
        do_reset(visit->fd);
        break;
    case PEER_CLOSES:
        (void)write_all(visit->fd, (const uint8_t *)"220 hello\r\n", 11);
        break;
    case PEER_SLOW_SINK:
        do_slow_sink(visit->fd);
        break;
    case PEER_CALLS_BACK:
        (void)write_all(visit->fd, (const uint8_t *)(call_back(visit->caller) ? "Y" : "N"), 1);
        break;
    case PEER_SMALL_SOURCE:
        (void)send_pattern(visit->fd, PEER_SMALL_BYTES);
        break;
    case PEER_NOBODY:
        break;
    }
    (void)close(visit->fd);
    free(visit);
    return NULL;
}

static int listen_on(uint16_t port)
{
    const struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int small = 8192;

    if (port == PEER_SLOW_SINK)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    INVARIANT(fd >= 0 && bind(fd, (const struct sockaddr *)&addr, sizeof addr) == 0 &&
              listen(fd, 512) == 0);
    return fd;
}

static void accept_one(int listener, uint16_t port)
{
    struct visit *visit = calloc(1, sizeof *visit);
    socklen_t len = sizeof visit->caller;
    pthread_t thread;

    INVARIANT(visit != NULL);
    visit->port = port;
    visit->fd = accept(listener, (struct sockaddr *)&visit->caller, &len);
    if (visit->fd < 0 || pthread_create(&thread, NULL, serve, visit) != 0) {
        free(visit);
        return;
    }
    (void)pthread_detach(thread);
}

pid_t tap_peer_start(void)
{
    struct pollfd pfds[N_PORTS];
    pid_t pid;

    for (size_t i = 0; i < N_PORTS; i++)
        pfds[i] = (struct pollfd){.fd = listen_on(ports[i]), .events = POLLIN};
    pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_IGN);
    for (;;) {
        (void)poll(pfds, N_PORTS, -1);
        for (size_t i = 0; i < N_PORTS; i++)
            if ((pfds[i].revents & POLLIN) != 0)
                accept_one(pfds[i].fd, ports[i]);
    }
}
