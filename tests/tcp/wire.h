/*
 * wire.h - a scripted peer: tests that read like a packet trace.
 *
 *     wire_connect(w);
 *     wire_out(w, "S 0 win 32768 <mss 1460>");        the stack sends
 *     wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");  the peer sends
 *     wire_out(w, ". 1 ack 1");
 *     wire_at(w, 200);                                200 ms after the start
 *     wire_quiet(w);                                  nothing is to be sent
 *
 * A segment is FLAGS SEQ[+LEN] [ack N] [win N] [<options>]; flags of S F R P . (ACK)
 * U E (ECE) W (CWR); numbers
 * are relative to the initial sequence number of their side. Options: mss N, ws N, sackok, ts V E,
 * sack A B. wire_out() compares what the text names and nothing else, but always MAC and IP
 * addresses, checksums and the bytes: number n of a stream is wire_byte(n), so both sides know
 * them.
 */
#ifndef WIREPOST_TESTS_WIRE_H
#define WIREPOST_TESTS_WIRE_H

#include "tcp/utcp.h"
#include "tcp/utcp_wire.h"

#include <check.h>

#define WIRE_OWN    "192.0.2.10"
#define WIRE_PEER   "192.0.2.1"
#define WIRE_OWN6   "2001:db8::10"
#define WIRE_PEER6  "2001:db8::1"
#define WIRE_PORT   25 /* of the peer; ours when it listens */
#define WIRE_STREAM (1u << 20)

struct wire {
    struct utcp *u;
    uint64_t start_ns, now_ns;
    struct ip_addr own, peer;
    uint8_t own_mac[6], peer_mac[6];
    uint16_t own_port, peer_port;
    uint32_t own_iss, peer_iss;
    uint32_t conn;
    uint8_t codepoint;   /* ECN of the packets that the peer sends */
    uint32_t sent, read; /* bytes given to and taken from the stack */
    struct utcp_extent stream;
    struct utcp_segment got; /* the segment that wire_out() saw last */
    uint8_t bytes[2048];     /* ... and its frame */
    uint32_t bytes_len;
};

uint8_t wire_byte(uint32_t at);

/* The family of wire_open(): 4, or 6. With 6 the MTU of wire_config() is 1520, so that the MSS is
 * 1460 as well and tests need not know. */
extern uint8_t wire_family;

/* The configuration of a stack for tests; change it before wire_open(). */
struct utcp_config wire_config(void);
/* A stack with source address WIRE_OWN; its announcements are already taken off. */
void wire_open(struct wire *w, const struct utcp_config *config);
/* Checks invariants and references and ends it. */
void wire_close(struct wire *w);

/* utcp_connect() up to the point where the SYN stands to be sent. */
void wire_connect(struct wire *w);
/* Both at once, with the default options and no timestamps: connected, MSS 1460. */
void wire_establish(struct wire *w);
/* A connection that the peer opened on WIRE_PORT. */
void wire_accept(struct wire *w);

#define wire_in(w, text)    wire_in_line(w, text, __LINE__)
#define wire_out(w, text)   wire_out_line(w, text, __LINE__)
#define wire_quiet(w)       wire_quiet_line(w, __LINE__)
#define wire_event(w, mask) wire_event_line(w, mask, __LINE__)
void wire_in_line(struct wire *w, const char *text, int line);
void wire_out_line(struct wire *w, const char *text, int line);
void wire_quiet_line(struct wire *w, int line);
/* The events of w->conn since the last time are exactly these; returns the reason of CLOSED. */
enum utcp_close_reason wire_event_line(struct wire *w, uint32_t mask, int line);

/* Moves time to `ms` after the start, with every deadline on the way. */
void wire_at(struct wire *w, uint64_t ms);
/* Milliseconds from the start to the next deadline; UINT64_MAX without. */
uint64_t wire_deadline_ms(const struct wire *w);

/* Queues n bytes of the stream by reference, with push. */
void wire_send(struct wire *w, uint32_t n);
int wire_try_send(struct wire *w, uint32_t n);
/* Reads exactly n bytes, and they are right. */
void wire_read(struct wire *w, uint32_t n);

/* A frame of any kind; true when there was one. It stays in w->bytes. */
bool wire_frame_out(struct wire *w);
void wire_frame_in(struct wire *w, const uint8_t *frame, uint32_t len);
/* The frame in w->bytes asks for the peer's MAC (ARP, ND); the peer answers. */
bool wire_asks(const struct wire *w);
void wire_answer(struct wire *w);
/* The ECN codepoint of the frame in w->bytes. */
uint8_t wire_codepoint(const struct wire *w);
/* The TCP header in w->bytes. */
const uint8_t *wire_tcp(const struct wire *w);
/* An IP header without specialities. */
void wire_ip_put(uint8_t *p, uint8_t family, const uint8_t *src, const uint8_t *dst, uint8_t proto,
                 uint32_t payload_len);
/* A whole frame from the peer to `dst` with hop limit `hops`; the ICMPv6 checksum is filled in. */
void wire_icmp6_in(struct wire *w, const char *src, const char *dst, uint8_t hops, uint8_t *icmp,
                   uint32_t len);
/* An IP packet from the peer. */
void wire_ip_in(struct wire *w, uint8_t proto, const uint8_t *payload, uint32_t len);
void wire_arp_in(struct wire *w, uint16_t op, const char *sender_ip, const char *target_ip);
/* An ICMP error of the peer about our segment with relative sequence number `seq`. */
void wire_icmp_in(struct wire *w, uint8_t type, uint8_t code, uint16_t mtu, uint32_t seq);
/* The frame that goes out is an ARP packet with these. */
void wire_arp_out(struct wire *w, uint16_t op, const char *sender_ip, const char *target_ip);

uint64_t wire_count(const struct wire *w, enum utcp_counter counter);
enum utcp_state wire_state(const struct wire *w);
struct utcp_info wire_info(const struct wire *w);
struct utcp_usage wire_usage(const struct wire *w);
struct ip_addr wire_addr(const char *text);

/* Runs one suite with TAP on stdout; the exit status for main(). */
int wire_run(Suite *suite);
/* The same tests over IPv4 and over IPv6. */
int wire_run_both(const char *name, void (*add_tests)(TCase *tcase));

#endif
