/*
 * pd_calls.c - the calls of the interface: each takes the lock, finds its socket, and does the work
 * of pd_socket.c. Pipes, splice and epoll are not there.
 */
#include "tests/packetdrill/pd.h"
#include "tests/packetdrill/pd_interface.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

/* ---- the calls: the lock, the slot, and the work ------------------------------------------- */

#define ENTER(pd)                                                                                  \
    struct pd *pd = userdata;                                                                      \
    (void)pthread_mutex_lock(&pd->lock)

#define LEAVE(pd, type, result)                                                                    \
    do {                                                                                           \
        const type value_ = (result);                                                              \
        (void)pthread_mutex_unlock(&(pd)->lock);                                                   \
        return value_;                                                                             \
    } while (0)

#define WITH_SOCKET(pd, type, fd, work)                                                            \
    do {                                                                                           \
        struct pd_socket *s = pd_socket_find(pd, fd);                                              \
        LEAVE(pd, type, s == NULL ? fail(EBADF) : (work));                                         \
    } while (0)

static int call_socket(void *userdata, int domain, int type, int protocol)
{
    ENTER(pd);
    (void)protocol;
    LEAVE(pd, int, pd_socket_open(pd, domain, type));
}

static int call_bind(void *userdata, int fd, const struct sockaddr *addr, socklen_t len)
{
    ENTER(pd);
    WITH_SOCKET(pd, int, fd,
                len < sizeof(struct sockaddr_in) ? fail(EINVAL) : pd_socket_bind(s, addr));
}

static int call_listen(void *userdata, int fd, int backlog)
{
    ENTER(pd);
    (void)backlog;
    WITH_SOCKET(pd, int, fd, pd_socket_listen(pd, s));
}

static int call_accept(void *userdata, int fd, struct sockaddr *addr, socklen_t *len)
{
    ENTER(pd);
    if (addr != NULL && len != NULL)
        *len = 0; /* packetdrill does not look at it */
    WITH_SOCKET(pd, int, fd, pd_socket_accept(pd, s));
}

static int call_connect(void *userdata, int fd, const struct sockaddr *addr, socklen_t len)
{
    ENTER(pd);
    WITH_SOCKET(pd, int, fd,
                len < sizeof(struct sockaddr_in) ? fail(EINVAL) : pd_socket_connect(pd, s, addr));
}

static ssize_t call_recv(void *userdata, int fd, void *buf, size_t len, int flags)
{
    ENTER(pd);
    WITH_SOCKET(pd, ssize_t, fd, pd_socket_receive(pd, s, buf, len, flags));
}

static ssize_t call_read(void *userdata, int fd, void *buf, size_t len)
{
    return call_recv(userdata, fd, buf, len, 0);
}

static ssize_t call_recvfrom(void *userdata, int fd, void *buf, size_t len, int flags,
                             struct sockaddr *addr, socklen_t *addr_len)
{
    (void)addr, (void)addr_len;
    return call_recv(userdata, fd, buf, len, flags);
}

static ssize_t receive_vector(void *userdata, int fd, const struct iovec *iov, size_t n, int flags)
{
    ssize_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        const ssize_t got = call_recv(userdata, fd, iov[i].iov_base, iov[i].iov_len,
                                      sum > 0 ? MSG_DONTWAIT : flags);

        if (got < 0)
            return sum > 0 ? sum : got;
        sum += got;
        if ((size_t)got < iov[i].iov_len)
            break;
    }
    return sum;
}

static ssize_t call_readv(void *userdata, int fd, const struct iovec *iov, int n)
{
    return receive_vector(userdata, fd, iov, (size_t)n, 0);
}

static ssize_t call_recvmsg(void *userdata, int fd, struct msghdr *msg, int flags)
{
    return receive_vector(userdata, fd, msg->msg_iov, msg->msg_iovlen, flags);
}

static ssize_t call_send(void *userdata, int fd, const void *data, size_t len, int flags)
{
    ENTER(pd);
    WITH_SOCKET(pd, ssize_t, fd, pd_socket_send(pd, s, data, len, flags));
}

static ssize_t call_write(void *userdata, int fd, const void *data, size_t len)
{
    return call_send(userdata, fd, data, len, 0);
}

static ssize_t call_sendto(void *userdata, int fd, const void *data, size_t len, int flags,
                           const struct sockaddr *addr, socklen_t addr_len)
{
    (void)addr, (void)addr_len;
    return call_send(userdata, fd, data, len, flags);
}

static ssize_t send_vector(void *userdata, int fd, const struct iovec *iov, size_t n, int flags)
{
    ssize_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        const ssize_t sent = call_send(userdata, fd, iov[i].iov_base, iov[i].iov_len,
                                       i + 1 < n ? flags | MSG_MORE : flags);

        if (sent < 0)
            return sum > 0 ? sum : sent;
        sum += sent;
    }
    return sum;
}

static ssize_t call_writev(void *userdata, int fd, const struct iovec *iov, int n)
{
    return send_vector(userdata, fd, iov, (size_t)n, 0);
}

static ssize_t call_sendmsg(void *userdata, int fd, const struct msghdr *msg, int flags)
{
    return send_vector(userdata, fd, msg->msg_iov, msg->msg_iovlen, flags);
}

static int call_fcntl(void *userdata, int fd, int command, ...)
{
    va_list args;
    int value;

    va_start(args, command);
    value = va_arg(args, int);
    va_end(args);
    ENTER(pd);
    struct pd_socket *s = pd_socket_find(pd, fd);
    if (s != NULL && command == F_SETFL)
        s->nonblocking = (value & O_NONBLOCK) != 0;
    if (s != NULL && command == F_GETFL)
        LEAVE(pd, int, O_RDWR | (s->nonblocking ? O_NONBLOCK : 0));
    LEAVE(pd, int, s == NULL ? fail(EBADF) : command == F_SETFL ? 0 : fail(EINVAL));
}

static int call_ioctl(void *userdata, int fd, unsigned long request, ...)
{
    (void)userdata, (void)fd, (void)request;
    return fail(ENOTTY);
}

static int call_close(void *userdata, int fd)
{
    ENTER(pd);
    WITH_SOCKET(pd, int, fd, pd_socket_close(pd, s));
}

static int call_shutdown(void *userdata, int fd, int how)
{
    ENTER(pd);
    WITH_SOCKET(pd, int, fd, pd_socket_shut(pd, s, how));
}

static int call_getsockopt(void *userdata, int fd, int level, int name, void *value, socklen_t *len)
{
    ENTER(pd);
    WITH_SOCKET(pd, int, fd, pd_socket_get_option(pd, s, level, name, value, len));
}

static int call_setsockopt(void *userdata, int fd, int level, int name, const void *value,
                           socklen_t len)
{
    ENTER(pd);
    WITH_SOCKET(pd, int, fd, pd_socket_set_option(s, level, name, value, len));
}

/* With a time it waits in virtual time, which goes on when packetdrill lets it. */
static int call_poll(void *userdata, struct pollfd *fds, nfds_t n, int timeout_ms)
{
    ENTER(pd);
    const uint64_t end_ns =
        timeout_ms < 0 ? TIME_NEVER_NS : pd->now_ns + (uint64_t)timeout_ms * NS_PER_MS;
    int ready;

    while ((ready = pd_socket_poll(pd, fds, n)) == 0 && pd->now_ns < end_ns)
        (void)pthread_cond_wait(&pd->changed, &pd->lock);
    LEAVE(pd, int, ready);
}

static int no_epoll_create(void *userdata, int size)
{
    (void)userdata, (void)size;
    return fail(ENOSYS);
}

static int no_epoll_ctl(void *userdata, int epfd, int op, int fd, struct epoll_event *event)
{
    (void)userdata, (void)epfd, (void)op, (void)fd, (void)event;
    return fail(ENOSYS);
}

static int no_epoll_wait(void *userdata, int epfd, struct epoll_event *events, int n, int timeout)
{
    (void)userdata, (void)epfd, (void)events, (void)n, (void)timeout;
    return fail(ENOSYS);
}

static int no_pipe(void *userdata, int fds[2])
{
    (void)userdata, (void)fds;
    return fail(ENOSYS);
}

static int no_splice(void *userdata, int in, loff_t *off_in, int out, loff_t *off_out, size_t len,
                     unsigned flags)
{
    (void)userdata, (void)in, (void)off_in, (void)out, (void)off_out, (void)len, (void)flags;
    return fail(ENOSYS);
}

void pd_calls_fill(struct packetdrill_interface *interface)
{
    interface->socket = call_socket;
    interface->bind = call_bind;
    interface->listen = call_listen;
    interface->accept = call_accept;
    interface->connect = call_connect;
    interface->read = call_read;
    interface->readv = call_readv;
    interface->recv = call_recv;
    interface->recvfrom = call_recvfrom;
    interface->recvmsg = call_recvmsg;
    interface->write = call_write;
    interface->writev = call_writev;
    interface->send = call_send;
    interface->sendto = call_sendto;
    interface->sendmsg = call_sendmsg;
    interface->fcntl = call_fcntl;
    interface->ioctl = call_ioctl;
    interface->close = call_close;
    interface->shutdown = call_shutdown;
    interface->getsockopt = call_getsockopt;
    interface->setsockopt = call_setsockopt;
    interface->poll = call_poll;
    interface->epoll_create = no_epoll_create;
    interface->epoll_ctl = no_epoll_ctl;
    interface->epoll_wait = no_epoll_wait;
    interface->pipe = no_pipe;
    interface->splice = no_splice;
}
