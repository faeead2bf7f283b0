/*
 * pd_socket.c - sockets over the stack, as far as packetdrill's scripts use them. See pd.h.
 *
 * Options that the stack does not have are taken without a word: scripts set many that do not
 * matter to them. SO_LINGER with a time of 0 makes close() send RST, SO_ERROR and TCP_INFO answer.
 */
#include "tests/packetdrill/pd.h"
#include "tests/packetdrill/pd_interface.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define FREE_SLOT (-2)

static int fail(int error)
{
    errno = error;
    return -1;
}

static int close_errno(enum utcp_close_reason reason)
{
    switch (reason) {
    case UTCP_CLOSE_NONE:
    case UTCP_CLOSE_NORMAL:
        return 0;
    case UTCP_CLOSE_REFUSED:
        return ECONNREFUSED;
    case UTCP_CLOSE_RESET:
        return ECONNRESET;
    case UTCP_CLOSE_TIMEOUT:
        return ETIMEDOUT;
    case UTCP_CLOSE_UNREACHABLE:
        return EHOSTUNREACH;
    case UTCP_CLOSE_LOCAL:
        return EADDRNOTAVAIL;
    }
    return 0;
}

/* ---- slots ----------------------------------------------------------------------------------- */

void pd_sockets_init(struct pd *pd)
{
    for (unsigned i = 0; i < PD_SOCKETS_MAX; i++)
        pd->sockets[i].fd = FREE_SLOT;
}

static struct pd_socket *slot_new(struct pd *pd)
{
    for (unsigned i = 0; i < PD_SOCKETS_MAX; i++)
        if (pd->sockets[i].fd == FREE_SLOT) {
            pd->sockets[i] = (struct pd_socket){.fd = -1};
            return &pd->sockets[i];
        }
    return NULL;
}

struct pd_socket *pd_socket_find(struct pd *pd, int fd)
{
    for (unsigned i = 0; fd >= 0 && i < PD_SOCKETS_MAX; i++)
        if (pd->sockets[i].fd == fd)
            return &pd->sockets[i];
    return NULL;
}

static bool give_fd(struct pd_socket *s)
{
    s->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return s->fd >= 0;
}

void pd_socket_event(struct pd *pd, const struct utcp_event *event)
{
    struct pd_socket *s = event->user;

    if ((event->events & UTCP_EV_ACCEPTED) != 0) {
        struct pd_socket *child = slot_new(pd);

        INVARIANT(child != NULL);
        child->listener = s;
        child->conn = event->conn;
        child->connected = true;
        utcp_set_user(pd->u, event->conn, child);
        s = child;
    }
    s->connected |= (event->events & UTCP_EV_CONNECTED) != 0;
    s->eof |= (event->events & UTCP_EV_EOF) != 0;
    if ((event->events & UTCP_EV_CLOSED) != 0) {
        s->closed = true;
        s->reason = event->reason;
    }
}

static uint64_t readable_bytes(const struct pd *pd, const struct pd_socket *s)
{
    struct utcp_info info;

    return utcp_info(pd->u, pd->now_ns, s->conn, &info) ? info.bytes_received_total - s->bytes_read
                                                        : 0;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Until ready(pd, s), for sockets that block; the lock is let go meanwhile. */
static bool wait_until(struct pd *pd, const struct pd_socket *s, bool now_or_never,
                       bool (*ready)(const struct pd *, const struct pd_socket *))
{
    while (!ready(pd, s)) {
        if (s->nonblocking || now_or_never)
            return false;
        (void)pthread_cond_wait(&pd->changed, &pd->lock);
    }
    return true;
}

static bool has_connected(const struct pd *pd, const struct pd_socket *s)
{
    (void)pd;
    return s->connected || s->closed;
}

static bool has_to_read(const struct pd *pd, const struct pd_socket *s)
{
    return readable_bytes(pd, s) > 0 || s->eof || s->closed || s->conn == UTCP_CONN_NONE;
}

static bool has_room(const struct pd *pd, const struct pd_socket *s)
{
    return s->closed || utcp_send_room(pd->u, s->conn) >= UTCP_COPY_MAX;
}

static struct pd_socket *waiting_child(const struct pd *pd, const struct pd_socket *listener)
{
    for (unsigned i = 0; i < PD_SOCKETS_MAX; i++)
        if (pd->sockets[i].fd == -1 && pd->sockets[i].listener == listener)
            return (struct pd_socket *)(uintptr_t)&pd->sockets[i];
    return NULL;
}

static bool has_child(const struct pd *pd, const struct pd_socket *s)
{
    return waiting_child(pd, s) != NULL;
}

/* ---- opening --------------------------------------------------------------------------------- */

int pd_socket_open(struct pd *pd, int domain, int type)
{
    struct pd_socket *s;

    if (domain != AF_INET || (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM)
        return fail(EPROTONOSUPPORT);
    s = slot_new(pd);
    if (s == NULL || !give_fd(s))
        return fail(EMFILE);
    s->nonblocking = (type & SOCK_NONBLOCK) != 0;
    return s->fd;
}

int pd_socket_bind(struct pd_socket *s, const struct sockaddr *addr)
{
    s->port = ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
    s->bound = true;
    return 0;
}

int pd_socket_listen(struct pd *pd, struct pd_socket *s)
{
    if (!s->bound)
        return fail(EADDRNOTAVAIL);
    if (!s->listening && utcp_listen(pd->u, &pd->local, s->port, s) != UTCP_OK)
        return fail(EADDRINUSE);
    s->listening = true;
    return 0;
}

int pd_socket_accept(struct pd *pd, struct pd_socket *s)
{
    struct pd_socket *child;

    if (!s->listening)
        return fail(EINVAL);
    if (!wait_until(pd, s, false, has_child))
        return fail(EAGAIN);
    child = waiting_child(pd, s);
    child->listener = NULL;
    return give_fd(child) ? child->fd : fail(EMFILE);
}

int pd_socket_connect(struct pd *pd, struct pd_socket *s, const struct sockaddr *addr)
{
    const struct sockaddr_in *to = (const struct sockaddr_in *)(const void *)addr;
    struct utcp_connect request = {
        .local = pd->local, .remote_port = ntohs(to->sin_port), .user = s};

    if (s->connecting && !s->connected)
        return fail(s->closed ? close_errno(s->reason) : EALREADY);
    if (s->conn != UTCP_CONN_NONE)
        return fail(EISCONN);
    request.remote.family = 4;
    memcpy(request.remote.bytes, &to->sin_addr, 4);
    if (utcp_connect(pd->u, pd->now_ns, &request, &s->conn) != UTCP_OK)
        return fail(ENETUNREACH);
    s->connecting = true;
    pd_settle(pd);
    if (!wait_until(pd, s, false, has_connected))
        return fail(EINPROGRESS);
    return s->connected ? 0 : fail(close_errno(s->reason));
}

/* ---- bytes ----------------------------------------------------------------------------------- */

ssize_t pd_socket_receive(struct pd *pd, struct pd_socket *s, void *buf, size_t len, int flags)
{
    uint32_t n;

    if (s->conn == UTCP_CONN_NONE)
        return fail(ENOTCONN);
    if (!wait_until(pd, s, (flags & MSG_DONTWAIT) != 0, has_to_read))
        return fail(EAGAIN);
    n = utcp_recv(pd->u, pd->now_ns, s->conn, buf, len > UINT32_MAX ? UINT32_MAX : (uint32_t)len);
    s->bytes_read += n;
    pd_settle(pd); /* the window may have opened */
    if (n == 0 && !s->eof && s->closed && close_errno(s->reason) != 0)
        return fail(close_errno(s->reason));
    return (ssize_t)n;
}

ssize_t pd_socket_send(struct pd *pd, struct pd_socket *s, const uint8_t *data, size_t len,
                       int flags)
{
    size_t sent = 0;

    if (s->conn == UTCP_CONN_NONE || !has_connected(pd, s))
        return fail(ENOTCONN);
    while (sent < len && !s->closed) {
        const uint32_t n = len - sent < UTCP_COPY_MAX ? (uint32_t)(len - sent) : UTCP_COPY_MAX;

        if (!wait_until(pd, s, (flags & MSG_DONTWAIT) != 0, has_room))
            break;
        if (utcp_send_copy(pd->u, pd->now_ns, s->conn, data + sent, n) != UTCP_OK)
            break;
        sent += n;
    }
    if (sent > 0 && (flags & MSG_MORE) == 0)
        utcp_push(pd->u, pd->now_ns, s->conn);
    pd_settle(pd);
    if (sent == 0 && len > 0)
        return fail(s->closed ? EPIPE : EAGAIN);
    return (ssize_t)sent;
}

/* ---- the end --------------------------------------------------------------------------------- */

int pd_socket_shut(struct pd *pd, struct pd_socket *s, int how)
{
    if (s->conn == UTCP_CONN_NONE || s->closed)
        return fail(ENOTCONN);
    if (how != SHUT_RD)
        (void)utcp_shutdown(pd->u, pd->now_ns, s->conn);
    pd_settle(pd);
    return 0;
}

/* RFC 9293 3.10.4 with RFC 2525 2.17: bytes that nobody reads are told by RST. */
int pd_socket_close(struct pd *pd, struct pd_socket *s)
{
    if (s->conn != UTCP_CONN_NONE) {
        if (s->reset_on_close || readable_bytes(pd, s) > 0)
            utcp_abort(pd->u, pd->now_ns, s->conn);
        else
            utcp_release(pd->u, pd->now_ns, s->conn);
    }
    (void)close(s->fd);
    if (s->listening)
        s->fd = -1; /* the stack goes on listening: it has no way to stop */
    else
        s->fd = FREE_SLOT;
    pd_settle(pd);
    return 0;
}

/* ---- options --------------------------------------------------------------------------------- */

static void fill_info(const struct pd *pd, const struct pd_socket *s, struct tcp_info *ret)
{
    struct utcp_info info;

    *ret = (struct tcp_info){0};
    if (!utcp_info(pd->u, pd->now_ns, s->conn, &info))
        return;
    ret->tcpi_rtt = info.rtt_us_smoothed;
    ret->tcpi_snd_mss = info.mss_bytes;
    ret->tcpi_snd_cwnd = info.mss_bytes > 0 ? info.cwnd_bytes / info.mss_bytes : 0;
    ret->tcpi_snd_ssthresh = info.mss_bytes > 0 ? info.ssthresh_bytes / info.mss_bytes : 0;
    ret->tcpi_total_retrans = info.retransmissions;
    ret->tcpi_unacked = info.mss_bytes > 0 ? info.in_flight_bytes / info.mss_bytes : 0;
}

int pd_socket_get_option(struct pd *pd, struct pd_socket *s, int level, int name, void *value,
                         socklen_t *len)
{
    struct tcp_info info;
    const int error = close_errno(s->reason);
    const int zero = 0;
    const void *from = &zero;
    size_t bytes = sizeof zero;

    if (level == SOL_SOCKET && name == SO_ERROR) {
        from = &error;
    } else if (level == IPPROTO_TCP && name == TCP_INFO) {
        fill_info(pd, s, &info);
        from = &info;
        bytes = sizeof info;
    }
    *len = *len < bytes ? *len : (socklen_t)bytes;
    memcpy(value, from, *len);
    return 0;
}

int pd_socket_set_option(struct pd_socket *s, int level, int name, const void *value, socklen_t len)
{
    if (level == SOL_SOCKET && name == SO_LINGER && len >= sizeof(struct linger)) {
        struct linger linger;

        memcpy(&linger, value, sizeof linger);
        s->reset_on_close = linger.l_onoff != 0 && linger.l_linger == 0;
    }
    return 0;
}

static short ready_events(const struct pd *pd, const struct pd_socket *s)
{
    unsigned events = 0;

    if (s->listening)
        return has_child(pd, s) ? POLLIN : 0;
    if (s->conn != UTCP_CONN_NONE && has_to_read(pd, s))
        events |= POLLIN;
    if (s->connected && has_room(pd, s))
        events |= POLLOUT;
    if (s->closed)
        events |= POLLHUP | (close_errno(s->reason) != 0 ? POLLERR : 0u);
    return (short)events;
}

int pd_socket_poll(struct pd *pd, struct pollfd *fds, nfds_t n)
{
    int ready = 0;

    for (nfds_t i = 0; i < n; i++) {
        const struct pd_socket *s = pd_socket_find(pd, fds[i].fd);

        fds[i].revents = POLLNVAL;
        if (s != NULL)
            fds[i].revents = (short)(ready_events(pd, s) & (fds[i].events | POLLERR | POLLHUP));
        ready += fds[i].revents != 0;
    }
    return ready;
}
