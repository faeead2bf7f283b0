/*
 * utcp_wire.h - formats on the wire: checksum, ARP, IPv4, ICMP and TCP headers and TCP options.
 *
 * Pure functions over bytes: parsers accept anything and say false, builders write into room that
 * the caller guarantees. RFC 826, RFC 791, RFC 792, RFC 1071, RFC 9293 3.1 and 3.2, RFC 7323, RFC
 * 2018.
 */
#ifndef WIREPOST_UTCP_WIRE_H
#define WIREPOST_UTCP_WIRE_H

#include "tcp/base.h"

#define ETH_LEN       14u
#define ETH_TYPE_IPV4 0x0800u
#define ETH_TYPE_ARP  0x0806u
#define ARP_LEN       28u
#define ARP_REQUEST   1u
#define ARP_REPLY     2u

#define IPV4_LEN       20u
#define IP_PROTO_ICMP  1u
#define IP_PROTO_TCP   6u
#define IPV4_TTL       64u
#define IPV4_MTU_FLOOR 576u /* RFC 1191 would allow 68; see utcp_conn_lower_mtu() */

#define ICMP_LEN              8u
#define ICMP_ECHO_REPLY       0u
#define ICMP_UNREACHABLE      3u
#define ICMP_ECHO             8u
#define ICMP_TIME_EXCEEDED    11u
#define ICMP_PARAMETER        12u
#define ICMP_CODE_FRAG_NEEDED 4u

#define TCP_LEN     20u
#define TCP_LEN_MAX 60u
#define TCP_FIN     0x01u
#define TCP_SYN     0x02u
#define TCP_RST     0x04u
#define TCP_PSH     0x08u
#define TCP_ACK     0x10u
#define TCP_URG     0x20u

#define TCP_WSCALE_MAX   14u  /* RFC 7323 2.3 */
#define TCP_MSS_DEFAULT4 536u /* RFC 9293 3.7.1 */
#define TCP_TS_LEN       12u  /* NOP NOP timestamps */

/* ---- checksum (RFC 1071) ----------------------------------------------------------------- */

/* Adds bytes to a running sum. Pieces may have any length: `odd` says that an odd number of bytes
 * went before, and is kept up to date. */
uint32_t utcp_sum_add(uint32_t sum, const uint8_t *data, size_t len, bool *odd);
/* The 16-bit sum, folded but not inverted; 0xffff when the data holds its own right checksum. */
uint16_t utcp_sum_fold(uint32_t sum);
/* Inverted sum of one piece: the checksum field. */
uint16_t utcp_checksum(const uint8_t *data, size_t len);
/* Sum of the IPv4 pseudo-header (RFC 9293 3.1). */
uint32_t utcp_sum_pseudo4(const uint8_t src[4], const uint8_t dst[4], uint8_t proto, uint16_t len);

/* ---- Ethernet and ARP -------------------------------------------------------------------- */

struct utcp_arp {
    uint16_t op;
    uint8_t sender_mac[6], sender_ip[4], target_ip[4];
};

void utcp_eth_put(uint8_t *p, const uint8_t dst[6], const uint8_t src[6], uint16_t type);
/* Writes a whole ARP frame (Ethernet header included); returns its length. */
uint32_t utcp_arp_put(uint8_t *p, const uint8_t eth_dst[6], const uint8_t target_mac[6],
                      const struct utcp_arp *arp);
bool utcp_arp_parse(const uint8_t *p, uint32_t len, struct utcp_arp *ret_arp);

/* ---- IPv4 -------------------------------------------------------------------------------- */

enum utcp_ip_verdict {
    UTCP_IP_OK,
    UTCP_IP_MALFORMED,
    UTCP_IP_CHECKSUM,
    UTCP_IP_FRAGMENT, /* reassembly is not done */
};

struct utcp_ip {
    const uint8_t *src, *dst; /* 4 bytes each, in the packet */
    const uint8_t *data;      /* behind the header, link padding cut off */
    uint32_t len;
    uint8_t proto;
};

enum utcp_ip_verdict utcp_ipv4_parse(const uint8_t *p, uint32_t len, bool checksum_good,
                                     struct utcp_ip *ret_ip);
/* Header with DF and ID 0 (RFC 6864 4.1: an atomic datagram needs no ID). */
void utcp_ipv4_put(uint8_t *p, const uint8_t src[4], const uint8_t dst[4], uint8_t proto,
                   uint32_t payload_len, bool with_checksum);

/* ---- TCP --------------------------------------------------------------------------------- */

struct utcp_options {
    uint16_t mss; /* 0: absent */
    bool has_wscale, has_timestamps, sack_permitted;
    uint8_t wscale;
    uint32_t ts_value, ts_echo;
};

struct utcp_segment {
    uint16_t src_port, dst_port;
    uint32_t seq, ack;
    uint32_t window; /* as in the header, not scaled */
    uint8_t flags;
    const uint8_t *data;
    uint32_t len;
    struct utcp_options options;
};

/* Sequence space that the segment takes: data, SYN and FIN. */
static inline uint32_t utcp_segment_seq_len(const struct utcp_segment *seg)
{
    return seg->len + ((seg->flags & TCP_SYN) != 0 ? 1u : 0u) +
           ((seg->flags & TCP_FIN) != 0 ? 1u : 0u);
}

/* Header, length and options; not the checksum. A malformed option ends the list (RFC 9293 3.1
 * lets one drop the rest); false when the header itself is broken. */
bool utcp_tcp_parse(const uint8_t *p, uint32_t len, struct utcp_segment *ret_seg);
/* The option bytes of a header. Unknown ones are skipped. */
void utcp_options_parse(const uint8_t *p, uint32_t len, struct utcp_options *ret_options);

struct utcp_sack_block {
    uint32_t start, end;
};

/* Writers return the bytes written, always a multiple of 4. */
uint32_t utcp_options_put_syn(uint8_t *p, const struct utcp_options *options);
uint32_t utcp_options_put_timestamps(uint8_t *p, uint32_t value, uint32_t echo);
uint32_t utcp_options_put_sack(uint8_t *p, const struct utcp_sack_block *blocks, uint32_t n);

struct utcp_tcp_header {
    uint16_t src_port, dst_port;
    uint32_t seq, ack;
    uint16_t window;
    uint8_t flags;
    uint8_t options_len; /* already written behind the header */
};
/* The fixed header, checksum 0. */
void utcp_tcp_put(uint8_t *p, const struct utcp_tcp_header *header);
#define TCP_CHECKSUM_AT 16u

#endif
