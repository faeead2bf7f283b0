/*
 * utcp_wire.h - formats on the wire: checksum, ARP, IPv4, IPv6, ICMP and TCP headers and TCP
 * options.
 *
 * Pure functions over bytes: parsers accept anything and say false, builders write into room that
 * the caller guarantees. RFC 826, RFC 791, RFC 792, RFC 1071, RFC 8200, RFC 7112, RFC 9293 3.1
 * and 3.2, RFC 7323, RFC 2018.
 */
#ifndef WIREPOST_UTCP_WIRE_H
#define WIREPOST_UTCP_WIRE_H

#include "tcp/base.h"

#define ETH_LEN       14u
#define ETH_TYPE_IPV4 0x0800u
#define ETH_TYPE_ARP  0x0806u
#define ETH_TYPE_IPV6 0x86ddu
#define ARP_LEN       28u
#define ARP_REQUEST   1u
#define ARP_REPLY     2u

#define IPV4_LEN       20u
#define IP_PROTO_ICMP  1u
#define IP_PROTO_TCP   6u
#define IP_TTL         64u
#define IPV4_MTU_FLOOR 576u /* RFC 1191 would allow 68; see utcp_path.c */

#define IPV6_LEN       40u
#define IPV6_MTU_FLOOR 1280u /* RFC 8200 5 */
#define IP_PROTO_ICMP6 58u
#define IP_LEN_MAX     IPV6_LEN /* of the headers that we write */

#define ICMP_LEN              8u
#define ICMP_ECHO_REPLY       0u
#define ICMP_UNREACHABLE      3u
#define ICMP_ECHO             8u
#define ICMP_TIME_EXCEEDED    11u
#define ICMP_PARAMETER        12u
#define ICMP_CODE_FRAG_NEEDED 4u

/* RFC 4443. */
#define ICMP6_UNREACHABLE   1u
#define ICMP6_TOO_BIG       2u
#define ICMP6_TIME_EXCEEDED 3u
#define ICMP6_PARAMETER     4u
#define ICMP6_ECHO          128u
#define ICMP6_ECHO_REPLY    129u

#define TCP_LEN     20u
#define TCP_LEN_MAX 60u
#define TCP_FIN     0x01u
#define TCP_SYN     0x02u
#define TCP_RST     0x04u
#define TCP_PSH     0x08u
#define TCP_ACK     0x10u
#define TCP_URG     0x20u
#define TCP_ECE     0x40u
#define TCP_CWR     0x80u

#define TCP_WSCALE_MAX   14u   /* RFC 7323 2.3 */
#define TCP_MSS_DEFAULT4 536u  /* RFC 9293 3.7.1 */
#define TCP_MSS_DEFAULT6 1220u /* RFC 9293 3.7.1 */
#define TCP_TS_LEN       12u   /* NOP NOP timestamps */

/* ---- checksum (RFC 1071) ----------------------------------------------------------------- */

/* Adds bytes to a running sum. Pieces may have any length: `odd` says that an odd number of bytes
 * went before, and is kept up to date. */
uint32_t utcp_sum_add(uint32_t sum, const uint8_t *data, size_t len, bool *odd);
/* The 16-bit sum, folded but not inverted; 0xffff when the data holds its own right checksum. */
uint16_t utcp_sum_fold(uint32_t sum);
/* Inverted sum of one piece: the checksum field. */
uint16_t utcp_checksum(const uint8_t *data, size_t len);
/* Sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1); family is 4 or 6. */
uint32_t utcp_sum_pseudo(uint8_t family, const uint8_t *src, const uint8_t *dst, uint8_t proto,
                         uint32_t len);

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

/* ---- IPv4 and IPv6 ----------------------------------------------------------------------- */

enum utcp_ip_verdict {
    UTCP_IP_OK,
    UTCP_IP_MALFORMED,
    UTCP_IP_CHECKSUM,
    UTCP_IP_EXTENSION, /* an extension header that we must not or do not process */
};

struct utcp_ip {
    const uint8_t *src, *dst; /* 4 or 16 bytes each, in the packet */
    const uint8_t *data;      /* behind all headers, link padding cut off */
    uint32_t len;
    uint32_t fragment_id;
    uint32_t fragment_offset; /* bytes */
    uint8_t proto;
    uint8_t family; /* 4 or 6 */
    uint8_t hop_limit;
    uint8_t traffic_class; /* with ECN in its two low bits */
    bool is_fragment, more_fragments;
    uint32_t address; /* id of dst among our addresses; set by utcp_frame.c */
};

static inline uint32_t ip_header_len(uint8_t family)
{
    return family == 6 ? IPV6_LEN : IPV4_LEN;
}
static inline uint32_t ip_addr_len(uint8_t family)
{
    return family == 6 ? 16 : 4;
}
static inline uint16_t ip_eth_type(uint8_t family)
{
    return family == 6 ? ETH_TYPE_IPV6 : ETH_TYPE_IPV4;
}

enum utcp_ip_verdict utcp_ipv4_parse(const uint8_t *p, uint32_t len, bool checksum_good,
                                     struct utcp_ip *ret_ip);
/* Walks over extension headers. A fragment ends the walk: data is behind the fragment header and
 * proto what it names. In a first fragment the rest of the chain must be there (RFC 7112). */
enum utcp_ip_verdict utcp_ipv6_parse(const uint8_t *p, uint32_t len, struct utcp_ip *ret_ip);
/* The extension headers that stand in ip->data, as ip->proto says: what is left of the walk when a
 * datagram is whole again. */
enum utcp_ip_verdict utcp_ipv6_chain(struct utcp_ip *ip);

struct utcp_ip_header {
    const uint8_t *src, *dst;
    uint32_t payload_len;
    uint8_t family, proto;
    uint8_t hop_limit;     /* 0: the usual 64 */
    uint8_t traffic_class; /* ECN bits */
    bool without_checksum; /* IPv4: the device fills it */
};
/* IPv4 with DF and ID 0 (RFC 6864 4.1: an atomic datagram needs no ID); IPv6 with flow label 0.
 * Returns the header's length. */
uint32_t utcp_ip_put(uint8_t *p, const struct utcp_ip_header *header);

/* ---- TCP --------------------------------------------------------------------------------- */

struct utcp_sack_block {
    uint32_t start, end;
};
#define TCP_SACK_BLOCKS_MAX 4u

struct utcp_options {
    uint16_t mss; /* 0: absent */
    bool has_wscale, has_timestamps, sack_permitted;
    uint8_t wscale;
    uint8_t n_sack;
    uint32_t ts_value, ts_echo;
    struct utcp_sack_block sack[TCP_SACK_BLOCKS_MAX]; /* as they came: any numbers */
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
