/*
 * utcp.h - Wirepost's TCP/IP stack for one lane: Ethernet, ARP, IPv4, ICMP, IPv6, ND, ICMPv6,
 * TCP (RFC 9293).
 *
 * The stack is sans-IO. Frames, time and the secret are parameters; it makes no system call, takes
 * no lock and allocates nothing after utcp_create(). One instance belongs to one thread (a lane).
 *
 *     utcp_input(frame)         a frame came from the wire (utcp_input_burst(): several)
 *     utcp_output(frame)        fetch the next frame to put on the wire, until it returns false
 *     utcp_deadline_ns()        when utcp_on_deadline() wants to be called at the latest
 *     utcp_on_deadline(now)     timers
 *     utcp_next_event(event)    what happened to connections, until it returns false
 *
 * `now_ns` is one monotonic clock in nanoseconds and never goes back between calls.
 *
 * Ownership. A connection handle (uint32_t, index and generation, never 0) belongs to the caller
 * from utcp_connect() (or UTCP_EV_ACCEPTED) until utcp_release() or utcp_abort(). Data given to
 * utcp_send() stays owned by its extent, which holds a reference count: the stack takes one
 * reference for each piece queued and drops it when the last byte of the piece was acknowledged or
 * the connection ended. The bytes must not change while references are out. An extent's free() is
 * called from inside the stack and must not call back into it.
 *
 * Errors are negative enum utcp_error. What the peer or the network did is an event, never an
 * error. Reaching a limit is counted and refused, nothing else.
 */
#ifndef WIREPOST_UTCP_H
#define WIREPOST_UTCP_H

#include "tcp/base.h"

struct utcp;

#define UTCP_CONN_NONE  0u
#define UTCP_HEAD_MAX   128u  /* room that utcp_output() needs for headers */
#define UTCP_SLICES_MAX 16u   /* pieces of payload in one frame at most */
#define UTCP_COPY_MAX   2048u /* most bytes in one utcp_send_copy() */

#define UTCP_ERROR_MAP(X)                                                                          \
    X(UTCP_OK, 0, "ok")                                                                            \
    X(UTCP_E_MEMORY, -1, "out of memory at start")                                                 \
    X(UTCP_E_CONFIG, -2, "bad configuration")                                                      \
    X(UTCP_E_LIMIT, -3, "a limit of the lane is reached")                                          \
    X(UTCP_E_HANDLE, -4, "no such connection")                                                     \
    X(UTCP_E_ADDRESS, -5, "not a source address of this lane")                                     \
    X(UTCP_E_PORTS, -6, "no free local port towards this destination")                             \
    X(UTCP_E_ROUTE, -7, "no route to this destination")                                            \
    X(UTCP_E_STATE, -8, "not possible in this state of the connection")                            \
    X(UTCP_E_EXISTS, -9, "already there")

enum utcp_error {
#define X(name, value, text) name = (value),
    UTCP_ERROR_MAP(X)
#undef X
};
const char *utcp_error_text(int error);

/* RFC 9293 3.3.2. */
#define UTCP_STATE_MAP(X)                                                                          \
    X(CLOSED)                                                                                      \
    X(LISTEN)                                                                                      \
    X(SYN_SENT)                                                                                    \
    X(SYN_RECEIVED)                                                                                \
    X(ESTABLISHED)                                                                                 \
    X(FIN_WAIT_1)                                                                                  \
    X(FIN_WAIT_2)                                                                                  \
    X(CLOSE_WAIT)                                                                                  \
    X(CLOSING)                                                                                     \
    X(LAST_ACK)                                                                                    \
    X(TIME_WAIT)

enum utcp_state {
#define X(name) UTCP_##name,
    UTCP_STATE_MAP(X)
#undef X
};
const char *utcp_state_text(enum utcp_state state);

/* All memory is reserved by utcp_create() from these. 0 takes the default in brackets. */
struct utcp_limits {
    uint32_t connections; /* [4096] connections of all states but TIME_WAIT */
    uint32_t time_wait;   /* [8192] */
    uint32_t half_open;   /* [1024] passive opens whose handshake is not over */
    uint32_t addresses;   /* [1024] source addresses of this lane */
    uint32_t neighbours;  /* [1024] */
    uint32_t
        segments; /* [16 * connections] segments sent and not yet acknowledged, all connections */
    uint32_t chunks;       /* [16 * connections] pieces of send queues, all connections */
    uint32_t copy_blocks;  /* [4 * connections] 512-byte blocks for utcp_send_copy() */
    uint32_t rx_blocks;    /* [4 * connections] 2 KiB blocks for received bytes */
    uint32_t listeners;    /* [16] */
    uint32_t reassemblies; /* [16] datagrams that wait for fragments, about 9 KiB each */
    uint32_t paths;        /* [4096] destinations that something is remembered of (RFC 9040) */
};

enum utcp_congestion {
    UTCP_CONGESTION_CUBIC, /* RFC 9438 with HyStart++ (RFC 9406) */
    UTCP_CONGESTION_NEWRENO,
};

struct utcp_config {
    uint8_t mac[6];
    uint16_t mtu; /* of the link, 576..9216 (from 1280 on with IPv6): IP bytes in a frame */
    struct ip_addr prefix4;  /* the on-link network, and its length; family 0: no IPv4 here */
    uint8_t prefix4_len;     /* 0..32 */
    struct ip_addr gateway4; /* family 0: none */
    struct ip_addr
        prefix6;         /* the same for IPv6; family 0: no IPv6 here (then mtu < 1280 is fine) */
    uint8_t prefix6_len; /* 0..128 */
    struct ip_addr gateway6; /* may be link-local; family 0: none */
    uint8_t secret[16]; /* SipHash key for ISNs and ports (RFC 6528, RFC 6056); random per start */
    bool tx_checksum_offload; /* the device fills IPv4, TCP and ICMP checksums: leave them as the
                                 pseudo-header sum that DPDK asks for */
    enum utcp_congestion congestion;
    bool no_ecn;              /* do not offer or accept ECN (RFC 3168) */
    bool no_pacing;           /* send what the windows allow at once */
    uint32_t keepalive_ms;    /* [0: off] idle time before a probe; RFC 9293 3.8.4 */
    uint32_t rx_window_bytes; /* [32768] receive window of a connection */
    uint32_t tx_queue_bytes;  /* [262144] most bytes queued in one connection */
    uint32_t time_wait_ms;    /* [60000] 2*MSL: RFC 9293 3.4.2 says 4 min; Linux and we use 60 s */
    uint16_t port_first;      /* [1024] local ports of utcp_connect(), RFC 6056 3.2 */
    uint16_t port_last;       /* [65535] */
    struct utcp_limits limits;
};

/* Null with *ret_error set on bad configuration or no memory. */
struct utcp *utcp_create(const struct utcp_config *config, int *ret_error);

/* Ends everything without a word to peers. With INVARIANT_HOT it checks that each pool is full. */
void utcp_destroy(struct utcp *u);

/* ---- source addresses -------------------------------------------------------------------- */

/* Binds a source address. IPv4: ARP requests for it are answered and it is announced (RFC 5227).
 * IPv6: it is tentative for a second (RFC 4862 5.4); connections that are opened meanwhile wait.
 * When another host turns out to have it, its connections end and utcp_connect() refuses it.
 * The port must let frames for 33:33:xx:xx:xx:xx through. UTCP_E_EXISTS, UTCP_E_LIMIT,
 * UTCP_E_CONFIG (a family that the link has no prefix for, or no address for a host). */
int utcp_address_add(struct utcp *u, uint64_t now_ns, const struct ip_addr *addr);

enum utcp_address_state {
    UTCP_ADDRESS_NONE, /* not bound here */
    UTCP_ADDRESS_TENTATIVE,
    UTCP_ADDRESS_USABLE,
    UTCP_ADDRESS_DUPLICATE, /* another host has it; remove it */
};
enum utcp_address_state utcp_address_state(const struct utcp *u, const struct ip_addr *addr);

/* Unbinds it; its connections are reset and get UTCP_EV_CLOSED. UTCP_E_ADDRESS. */
int utcp_address_remove(struct utcp *u, uint64_t now_ns, const struct ip_addr *addr);

/* ---- frames ------------------------------------------------------------------------------ */

#define UTCP_RX_IP_CSUM_GOOD 1u /* the device has checked the IPv4 header checksum */
#define UTCP_RX_L4_CSUM_GOOD 2u /* ... and that of TCP */

/* One frame from the wire, from the Ethernet header on; the bytes are the caller's and are not
 * kept. Any bytes are fine: what is malformed is dropped and counted. */
void utcp_input(struct utcp *u, uint64_t now_ns, const uint8_t *frame, uint32_t len,
                uint32_t rx_flags);

/* The same for several at once, as a device hands them out. With many connections it is much
 * faster, because what all of them need is fetched from memory at the same time. */
struct utcp_rx {
    const uint8_t *data;
    uint32_t len;
    uint32_t flags; /* UTCP_RX_* */
};
void utcp_input_burst(struct utcp *u, uint64_t now_ns, const struct utcp_rx *frames, uint32_t n);

struct utcp_slice {
    const uint8_t *data;
    uint32_t len;
};

/* A frame to send. `head` is the caller's, with UTCP_HEAD_MAX bytes of room; the slices point into
 * extents and are valid until the next call into this stack: copy them out, or hold the extent. */
struct utcp_frame {
    uint8_t *head;        /* in */
    uint32_t head_len;    /* out: Ethernet, IP and TCP headers (or a whole small frame) */
    uint32_t n_slices;    /* out */
    uint32_t payload_len; /* out: sum of the slices */
    struct utcp_slice slices[UTCP_SLICES_MAX];
    uint8_t l2_len, l3_len, l4_len; /* out: for checksum offload; l4_len 0: nothing to offload */
    uint8_t ip_family;              /* out: 4, 6, or 0 (ARP) */
};

/* Fills *frame with the next frame to send; false when there is none now. */
bool utcp_output(struct utcp *u, uint64_t now_ns, struct utcp_frame *frame);

/* ---- time -------------------------------------------------------------------------------- */

uint64_t utcp_deadline_ns(const struct utcp *u);
void utcp_on_deadline(struct utcp *u, uint64_t now_ns);

/* ---- connections ------------------------------------------------------------------------- */

struct utcp_connect {
    struct ip_addr local; /* one of this lane's source addresses */
    struct ip_addr remote;
    uint16_t remote_port;
    void *user; /* comes back in each event */
};

/* Active open; *ret_conn is valid at once, UTCP_EV_CONNECTED or UTCP_EV_CLOSED follows. */
int utcp_connect(struct utcp *u, uint64_t now_ns, const struct utcp_connect *req,
                 uint32_t *ret_conn);

/* Passive open on one of our addresses, for tests and sinks; connections come as UTCP_EV_ACCEPTED
 * (their user pointer is `user` until utcp_set_user()). */
int utcp_listen(struct utcp *u, const struct ip_addr *local, uint16_t port, void *user);
void utcp_set_user(struct utcp *u, uint32_t conn, void *user);

/* Bytes shared by reference. `free` (may be null) is called when refs falls to 0. */
struct utcp_extent {
    const uint8_t *data;
    uint64_t len;
    uint32_t refs;
    void (*free)(struct utcp_extent *extent);
};

/* Bytes that utcp_send() and utcp_send_copy() take now; 0 when the queue is full. */
uint32_t utcp_send_room(const struct utcp *u, uint32_t conn);

/* Queues extent[offset, offset + len). All or nothing: UTCP_E_LIMIT when there is no room, and
 * UTCP_EV_SENDABLE comes when half of the queue is free again: ask utcp_send_room() for how much.
 * More data may follow: call utcp_push() after the last piece of a batch; a partial segment is held
 * back until then. */
int utcp_send(struct utcp *u, uint64_t now_ns, uint32_t conn, struct utcp_extent *extent,
              uint64_t offset, uint32_t len);
/* The same for small commands (at most UTCP_COPY_MAX bytes): the bytes are copied. */
int utcp_send_copy(struct utcp *u, uint64_t now_ns, uint32_t conn, const uint8_t *data,
                   uint32_t len);
void utcp_push(struct utcp *u, uint64_t now_ns, uint32_t conn);

/* Copies received bytes out, in order; 0 when there are none now. */
uint32_t utcp_recv(struct utcp *u, uint64_t now_ns, uint32_t conn, uint8_t *buf, uint32_t cap);

/* Sends FIN after what is queued; receiving goes on. UTCP_E_STATE when done before. */
int utcp_shutdown(struct utcp *u, uint64_t now_ns, uint32_t conn);

/* Gives the handle back after a clean end: sends FIN if that was not done, drops what arrives, and
 * lives on by itself (bounded) through FIN_WAIT, LAST_ACK and TIME_WAIT. */
void utcp_release(struct utcp *u, uint64_t now_ns, uint32_t conn);

/* Gives the handle back with RST; every extent is let go before it returns. */
void utcp_abort(struct utcp *u, uint64_t now_ns, uint32_t conn);

#define UTCP_EV_CONNECTED 1u
#define UTCP_EV_ACCEPTED  2u
#define UTCP_EV_READABLE  4u /* bytes to utcp_recv() */
#define UTCP_EV_EOF       8u /* the peer's FIN came; bytes may still be there to read */
#define UTCP_EV_SENDABLE                                                                           \
    16u /* room after UTCP_E_LIMIT, and when the queue falls below its half                        \
         */
#define UTCP_EV_CLOSED                                                                             \
    32u /* the connection is over, see reason; bytes received before an RST can                    \
           still be read; call utcp_release() */

enum utcp_close_reason {
    UTCP_CLOSE_NONE,
    UTCP_CLOSE_NORMAL,      /* both sides sent FIN */
    UTCP_CLOSE_REFUSED,     /* RST answered our SYN */
    UTCP_CLOSE_RESET,       /* RST later */
    UTCP_CLOSE_TIMEOUT,     /* R2 retransmissions without an answer (RFC 9293 3.8.3) */
    UTCP_CLOSE_UNREACHABLE, /* ICMP says so while connecting, or no answer to ARP or ND */
    UTCP_CLOSE_LOCAL,       /* our address was removed, or is a duplicate */
};
const char *utcp_close_text(enum utcp_close_reason reason);

/* Events of one connection are gathered: each call returns a connection once with all that
 * happened since it was last returned. */
struct utcp_event {
    uint32_t conn;
    uint32_t events; /* UTCP_EV_* */
    enum utcp_close_reason reason;
    void *user;
};
bool utcp_next_event(struct utcp *u, struct utcp_event *ret_event);

struct utcp_info {
    enum utcp_state state;
    struct ip_addr local, remote;
    uint16_t local_port, remote_port;
    uint32_t rtt_us_smoothed, rtt_us_min, syn_rtt_us; /* 0: not measured yet */
    uint32_t retransmissions;                         /* segments sent again */
    uint32_t cwnd_bytes, ssthresh_bytes, mss_bytes;
    uint32_t in_flight_bytes; /* what the network holds, as far as is known (RFC 6675: pipe) */
    uint64_t bytes_queued_total, bytes_acked_total, bytes_received_total; /* since the start */
    uint64_t bytes_sent_total; /* of those queued, put on the wire at least once */
    uint64_t zero_window_ns;   /* time that the peer's window was shut */
};
/* False for a handle that is not alive. */
bool utcp_info(const struct utcp *u, uint64_t now_ns, uint32_t conn, struct utcp_info *ret_info);

/* ---- counters ---------------------------------------------------------------------------- */

/* Names, severities and texts in tcp/utcp_counters.def (RFC 4898 names where it has one). */
enum utcp_counter {
#define UTCP_COUNTER(name, text) UTCP_N_##name,
#include "tcp/utcp_counters.def"
#undef UTCP_COUNTER
    UTCP_N_COUNTERS
};
const uint64_t *utcp_counters(const struct utcp *u); /* UTCP_N_COUNTERS values */
const char *utcp_counter_name(enum utcp_counter counter);
uint32_t utcp_connections(const struct utcp *u); /* alive now, TIME_WAIT left out */

/* What is in use now of each of the limits. */
struct utcp_usage {
    uint32_t connections; /* handles that are not given back count too, whatever their state */
    uint32_t half_open, time_wait, addresses, neighbours, segments, chunks, copy_blocks, rx_blocks;
    uint32_t reassemblies;
    uint32_t paths; /* [4096] destinations that something is remembered of (RFC 9040) */
};
void utcp_usage(const struct utcp *u, struct utcp_usage *ret_usage);

/* Walks over everything and stops the program when an invariant of utcp_internal.h is broken. Slow:
 * for tests, simulation and fuzzing. */
void utcp_check(const struct utcp *u);

#endif
