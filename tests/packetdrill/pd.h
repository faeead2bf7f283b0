/*
 * pd.h - the stack as packetdrill sees it: a host with one IPv4 address, a virtual clock, and
 * sockets.
 *
 *     pd_stack.c   the stack, its clock, packets in and out, ARP for its gateway
 *     pd_socket.c  sockets over it
 *     pd_calls.c   the calls of the interface
 *
 * Time stands still but for usleep(), a microsecond with each look at the clock, and when
 * packetdrill waits for a packet and there is none: then it goes on to the stack's next timer.
 * packetdrill checks when a packet left, so an early or late timer still fails a script.
 *
 * One mutex guards all; calls that block wait for `changed`. Descriptors are real ones (of
 * /dev/null), because packetdrill also closes them by itself.
 */
#ifndef WIREPOST_PD_H
#define WIREPOST_PD_H

#include "tcp/utcp.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#define PD_SOCKETS_MAX 64u
#define PD_PACKETS_MAX 4096u
#define PD_PACKET_MAX  9216u

struct pd_packet {
    uint64_t time_us;
    uint32_t len;
    uint8_t bytes[PD_PACKET_MAX];
};

struct pd_socket {
    int fd; /* -1: not given out yet (it waits for accept()), -2: the slot is free */
    bool nonblocking, bound, listening, connecting;
    bool connected, eof, closed, reset_on_close;
    enum utcp_close_reason reason;
    uint16_t port; /* bind() */
    uint32_t conn; /* UTCP_CONN_NONE: none */
    uint64_t bytes_read;
    struct pd_socket *listener; /* of one that waits for accept() */
};

struct pd {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct utcp *u;
    struct ip_addr local, gateway;
    uint64_t now_ns;
    struct pd_packet *packets; /* a ring */
    uint32_t first, count;
    struct pd_socket sockets[PD_SOCKETS_MAX];
};

/* ---- pd_stack.c, with the lock held ------------------------------------------------------- */

/* After each call of utcp: packets out, events. */
void pd_settle(struct pd *pd);
/* Time goes on by ns; timers fire when they are due. */
void pd_advance(struct pd *pd, uint64_t ns);

int pd_netdev_send(void *userdata, const void *packet, size_t len);
int pd_netdev_receive(void *userdata, void *packet, size_t *count, long long *time_us);
int pd_usleep(void *userdata, unsigned us);

/* ---- pd_socket.c, with the lock held; -1 with errno as their namesakes ---------------------- */

void pd_sockets_init(struct pd *pd);
struct pd_socket *pd_socket_find(struct pd *pd, int fd);
void pd_socket_event(struct pd *pd, const struct utcp_event *event);
int pd_socket_open(struct pd *pd, int domain, int type);
int pd_socket_bind(struct pd_socket *s, const struct sockaddr *addr);
int pd_socket_listen(struct pd *pd, struct pd_socket *s);
int pd_socket_accept(struct pd *pd, struct pd_socket *s);
int pd_socket_connect(struct pd *pd, struct pd_socket *s, const struct sockaddr *addr);
ssize_t pd_socket_receive(struct pd *pd, struct pd_socket *s, void *buf, size_t len, int flags);
ssize_t pd_socket_send(struct pd *pd, struct pd_socket *s, const uint8_t *data, size_t len,
                       int flags);
int pd_socket_shut(struct pd *pd, struct pd_socket *s, int how);
int pd_socket_close(struct pd *pd, struct pd_socket *s);
int pd_socket_get_option(struct pd *pd, struct pd_socket *s, int level, int name, void *value,
                         socklen_t *len);
int pd_socket_set_option(struct pd_socket *s, int level, int name, const void *value,
                         socklen_t len);
/* How many of them are ready now. */
int pd_socket_poll(struct pd *pd, struct pollfd *fds, nfds_t n);

/* ---- pd_calls.c ---------------------------------------------------------------------------- */

struct packetdrill_interface;
void pd_calls_fill(struct packetdrill_interface *interface);

#endif
