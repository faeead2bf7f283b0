/*
 * chan_control_socket.c - control's end of the socket to the data plane, and whether one is alive.
 * See chan_control.h and the end of channel.h.
 */
#include "dataplane/chan_control_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int chan_control_listen(const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return CHAN_E_ARGUMENT;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return CHAN_E_SYSTEM;
    }
    (void)unlink(path);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(path, 0600) != 0 || listen(fd, 4) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return CHAN_E_SYSTEM;
    }
    *ret_fd = fd;
    return CHAN_OK;
}

int chan_control_recv_hello(int fd, struct chan_hello *ret_hello)
{
    struct chan_hello hello;
    ssize_t n = recv(fd, &hello, sizeof hello, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? CHAN_E_AGAIN : CHAN_E_SYSTEM;
    }
    if (n == 0) {
        return CHAN_E_CLOSED;
    }
    if (n != (ssize_t)sizeof hello || hello.magic != CHAN_MAGIC || hello.version != CHAN_VERSION) {
        return CHAN_E_PEER;
    }
    *ret_hello = hello;
    return CHAN_OK;
}

static int send_all(int fd, const void *data, size_t len)
{
    ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
    return n == (ssize_t)len ? CHAN_OK : CHAN_E_SYSTEM;
}

static int send_lane(int fd, const struct chan_control *c)
{
    struct chan_lane_fds body = {.lane = c->map.lane};
    struct iovec iov = {&body, sizeof body};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    const int fds[2] = {c->job_fd, c->done_fd};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(cmsg), fds, sizeof fds);
    ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
    return n == (ssize_t)sizeof body ? CHAN_OK : CHAN_E_SYSTEM;
}

int chan_control_welcome(int fd, bool go, uint32_t orphan_s, struct chan_control *const *channels,
                         uint32_t n)
{
    struct chan_welcome welcome = {
        .magic = CHAN_MAGIC,
        .version = CHAN_VERSION,
        .n_lanes = n,
        .go = go ? 1u : 0u,
        .orphan_s = orphan_s,
    };
    int result = send_all(fd, &welcome, sizeof welcome);
    for (uint32_t i = 0; go && i < n && result == CHAN_OK; i++) {
        result = send_lane(fd, channels[i]);
    }
    return result;
}

bool chan_dataplane_alive(const char *run_dir)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/" CHAN_LOCK_NAME, run_dir);
    if (n < 0 || (size_t)n >= sizeof path) {
        return false;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool alive = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    (void)close(fd);
    return alive;
}
