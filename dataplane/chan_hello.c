/* chan_hello.c - the data plane's end of the socket to control: see chan_lane.h. */
#include "dataplane/chan_lane.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int chan_hello_connect(const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return CHAN_E_ARGUMENT;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return CHAN_E_SYSTEM;
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return CHAN_E_SYSTEM;
    }
    *ret_fd = fd;
    return CHAN_OK;
}

static int wait_readable(int fd, uint32_t timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    do {
        n = poll(&p, 1, (int)timeout_ms);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return CHAN_E_SYSTEM;
    }
    return n == 0 ? CHAN_E_AGAIN : CHAN_OK;
}

static int recv_welcome(int fd, uint32_t timeout_ms, struct chan_welcome *welcome)
{
    int result = wait_readable(fd, timeout_ms);
    if (result != CHAN_OK) {
        return result;
    }
    ssize_t n = recv(fd, welcome, sizeof *welcome, MSG_TRUNC);
    if (n < 0) {
        return errno == ECONNRESET ? CHAN_E_CLOSED : CHAN_E_SYSTEM;
    }
    if (n == 0) {
        return CHAN_E_CLOSED;
    }
    bool good = n == (ssize_t)sizeof *welcome && welcome->magic == CHAN_MAGIC &&
                welcome->version == CHAN_VERSION;
    return good ? CHAN_OK : CHAN_E_PEER;
}

/* The descriptors of a message; those beyond what we asked for are cut off by the kernel. */
static bool fds_of(struct msghdr *message, int ret_fds[2])
{
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(message);
    if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
        cmsg->cmsg_len < CMSG_LEN(sizeof(int))) {
        return false;
    }
    size_t bytes = cmsg->cmsg_len - CMSG_LEN(0);
    memcpy(ret_fds, CMSG_DATA(cmsg), bytes < 2 * sizeof(int) ? bytes : 2 * sizeof(int));
    return bytes == 2 * sizeof(int);
}

static void pair_close(int fds[2])
{
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
}

/* One chan_lane_fds message; its lane must be new and below n_lanes. */
static int recv_lane(int fd, uint32_t timeout_ms, uint32_t n_lanes, struct chan_attachment *a)
{
    struct chan_lane_fds body;
    int fds[2] = {-1, -1};
    struct iovec iov = {&body, sizeof body};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    int result = wait_readable(fd, timeout_ms);
    if (result != CHAN_OK) {
        return result;
    }
    ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (n <= 0) {
        return n == 0 ? CHAN_E_CLOSED : CHAN_E_SYSTEM;
    }
    bool good = fds_of(&message, fds) && n == (ssize_t)sizeof body && body.lane < n_lanes &&
                a->job_fds[body.lane] < 0;
    if (!good) {
        pair_close(fds);
        return CHAN_E_PEER;
    }
    a->job_fds[body.lane] = fds[0];
    a->done_fds[body.lane] = fds[1];
    return CHAN_OK;
}

static void attachment_close(struct chan_attachment *a)
{
    for (uint32_t lane = 0; lane < CHAN_LANES_MAX; lane++) {
        int fds[2] = {a->job_fds[lane], a->done_fds[lane]};
        pair_close(fds);
    }
}

int chan_hello_attach(int fd, const struct chan_hello *hello, uint32_t timeout_ms,
                      struct chan_attachment *ret_attachment)
{
    struct chan_attachment a;
    for (uint32_t lane = 0; lane < CHAN_LANES_MAX; lane++) {
        a.job_fds[lane] = a.done_fds[lane] = -1;
    }
    if (send(fd, hello, sizeof *hello, MSG_NOSIGNAL) != (ssize_t)sizeof *hello) {
        return errno == EPIPE || errno == ECONNRESET ? CHAN_E_CLOSED : CHAN_E_SYSTEM;
    }
    int result = recv_welcome(fd, timeout_ms, &a.welcome);
    if (result == CHAN_OK && a.welcome.go && a.welcome.n_lanes != hello->n_lanes) {
        result = CHAN_E_PEER;
    }
    for (uint32_t i = 0; result == CHAN_OK && a.welcome.go && i < hello->n_lanes; i++) {
        result = recv_lane(fd, timeout_ms, hello->n_lanes, &a);
    }
    if (result != CHAN_OK) {
        attachment_close(&a);
        return result;
    }
    *ret_attachment = a;
    return CHAN_OK;
}
