/*
 * tap_link.h - a stack on a Linux TAP device, with the kernel's TCP as its peer.
 *
 * tap_open() makes a network namespace and a TAP device in it; the kernel has TAP_PEER and
 * TAP_PEER6 on it. The peer's servers run in a child process (tap_peer.c), one port for each
 * behaviour.
 */
#ifndef WIREPOST_TESTS_TAP_LINK_H
#define WIREPOST_TESTS_TAP_LINK_H

#include "tcp/utcp.h"
#include "tests/tcp/emulator.h"

#include <sys/types.h>

#define TAP_PEER  "192.0.2.1"
#define TAP_PEER6 "2001:db8::1"
#define TAP_MAC                                                                                    \
    {                                                                                              \
        0x02, 0x00, 0x5e, 0x10, 0x00, 0x01                                                         \
    }

enum peer_port {
    PEER_ECHO = 7001,      /* sends back what comes, closes after FIN */
    PEER_SINK = 7002,      /* reads up to FIN, then sends length and hash (16 bytes), closes */
    PEER_SOURCE = 7003,    /* sends PEER_SOURCE_BYTES of the pattern, closes */
    PEER_RESET = 7004,     /* reads one byte, then RST */
    PEER_CLOSES = 7005,    /* sends one line and closes first */
    PEER_SLOW_SINK = 7006, /* like PEER_SINK, with a small buffer that is not read for a while */
    PEER_CALLS_BACK =
        7007,           /* connects to LISTEN_PORT of the caller, checks the echo, sends Y or N */
    PEER_NOBODY = 7008, /* closed */
    PEER_SMALL_SOURCE = 7009, /* like PEER_SOURCE, with PEER_SMALL_BYTES */
};
#define LISTEN_PORT       8025
#define PEER_SOURCE_BYTES (5u * 1024u * 1024u)
#define PEER_SMALL_BYTES  (48u * 1024u)
#define PEER_CALL_BYTES   (1024u * 1024u)

/* Byte number `at` of the pattern that both sides know. */
static inline uint8_t pattern_byte(uint64_t at)
{
    return (uint8_t)((at * 0x9e3779b1u) >> 13);
}

/* FNV-1a, to compare streams that are not kept. */
static inline uint64_t hash_add(uint64_t hash, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    return hash;
}
#define HASH_START UINT64_C(0xcbf29ce484222325)

/* The servers; returns the child's pid. They listen when it returns. */
pid_t tap_peer_start(void);

/* Null, or what is missing here. On success *ret_fd is the device, in a new network namespace. */
const char *tap_open(int *ret_fd);
/* The same with another IPv4 address and without IPv6. */
const char *tap_open_at(const char *address, int *ret_fd);

struct tap_link {
    int fd;
    struct utcp *u;
    struct emu *emu;         /* between the stack (port 0) and the device (port 1); null: nothing */
    uint16_t mtu;            /* 0: 1500 */
    uint32_t tx_queue_bytes; /* 0: the default */
    void (*on_event)(struct tap_link *link, const struct utcp_event *event);
    void *test;
};

/* A stack with source address `ip` on the device; an IPv6 one is usable a second later. */
void tap_link_start(struct tap_link *link, int fd, const char *ip);
void tap_link_stop(struct tap_link *link);
/* Lets the world turn until *done, for `seconds` at most; false when time was up. */
bool tap_link_run(struct tap_link *link, const bool *done, unsigned seconds);
uint64_t tap_now_ns(void);
/* All frames from now on go to a capture file as well. */
bool tap_capture(const char *path);

#endif
