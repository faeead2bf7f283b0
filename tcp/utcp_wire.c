/* utcp_wire.c - formats on the wire. */
#include "tcp/utcp_wire.h"

#define IPV4_DF         0x4000u
#define IPV4_MF         0x2000u
#define IPV4_OFFSET     0x1fffu
#define ARP_ETHERNET    1u
#define OPTION_END      0u
#define OPTION_NOP      1u
#define OPTION_MSS      2u
#define OPTION_WSCALE   3u
#define OPTION_SACK_OK  4u
#define OPTION_SACK     5u
#define OPTION_TS       8u
#define OPTION_LEN_MSS  4u
#define OPTION_LEN_WS   3u
#define OPTION_LEN_SACK 2u
#define OPTION_LEN_TS   10u

/* ---- checksum ---------------------------------------------------------------------------- */

uint16_t utcp_sum_fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Blocks of 32 bytes as words of this machine's byte order, which the sum does not mind (RFC 1071 2
 * (B)): the result is turned once. Not 0 and 0xffff apart, which mean the same. */
#define SUM_BLOCK 32u

#if defined __x86_64__ && defined __ELF__ && !defined __SANITIZE_ADDRESS__
#define SUM_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define SUM_CLONES
#endif

SUM_CLONES static uint64_t sum_blocks(const uint8_t *data, size_t blocks)
{
    typedef uint64_t words __attribute__((vector_size(SUM_BLOCK)));
    words low = {0}, high = {0};

    for (size_t i = 0; i < blocks; i++) {
        words w;

        memcpy(&w, data + i * SUM_BLOCK, sizeof w);
        low += w & UINT32_MAX;
        high += w >> 32;
    }
    low += high;
    return low[0] + low[1] + low[2] + low[3];
}

static uint32_t sum_bulk(const uint8_t *data, size_t blocks)
{
    uint64_t wide = sum_blocks(data, blocks);
    uint8_t bytes[2];
    uint16_t sum;

    wide = (wide & UINT32_MAX) + (wide >> 32);
    wide = (wide & UINT32_MAX) + (wide >> 32);
    sum = utcp_sum_fold((uint32_t)wide);
    memcpy(bytes, &sum, sizeof bytes);
    return be16_get(bytes);
}

uint32_t utcp_sum_add(uint32_t sum, const uint8_t *data, size_t len, bool *odd)
{
    uint64_t wide = sum;

    if (*odd && len > 0) {
        wide += *data++;
        len--;
        *odd = false;
    }
    if (len >= SUM_BLOCK) {
        wide += sum_bulk(data, len / SUM_BLOCK);
        data += len & ~(size_t)(SUM_BLOCK - 1);
        len &= SUM_BLOCK - 1;
    }
    for (; len >= 4; data += 4, len -= 4)
        wide += be32_get(data);
    if (len >= 2) {
        wide += be16_get(data);
        data += 2;
        len -= 2;
    }
    if (len != 0) {
        wide += (uint64_t)*data << 8;
        *odd = true;
    }
    wide = (wide & 0xffffffff) + (wide >> 32);
    wide = (wide & 0xffffffff) + (wide >> 32);
    return (uint32_t)wide;
}

uint16_t utcp_checksum(const uint8_t *data, size_t len)
{
    bool odd = false;

    return (uint16_t)~utcp_sum_fold(utcp_sum_add(0, data, len, &odd));
}

uint32_t utcp_sum_pseudo(uint8_t family, const uint8_t *src, const uint8_t *dst, uint8_t proto,
                         uint32_t len)
{
    const uint32_t n = ip_addr_len(family);
    bool odd = false;
    const uint32_t sum = utcp_sum_add(proto + (len >> 16) + (len & 0xffff), src, n, &odd);

    return utcp_sum_add(sum, dst, n, &odd);
}

/* ---- Ethernet and ARP -------------------------------------------------------------------- */

void utcp_eth_put(uint8_t *p, const uint8_t dst[6], const uint8_t src[6], uint16_t type)
{
    memcpy(p, dst, 6);
    memcpy(p + 6, src, 6);
    be16_put(p + 12, type);
}

uint32_t utcp_arp_put(uint8_t *p, const uint8_t eth_dst[6], const uint8_t target_mac[6],
                      const struct utcp_arp *arp)
{
    utcp_eth_put(p, eth_dst, arp->sender_mac, ETH_TYPE_ARP);
    p += ETH_LEN;
    be16_put(p, ARP_ETHERNET);
    be16_put(p + 2, ETH_TYPE_IPV4);
    p[4] = 6;
    p[5] = 4;
    be16_put(p + 6, arp->op);
    memcpy(p + 8, arp->sender_mac, 6);
    memcpy(p + 14, arp->sender_ip, 4);
    memcpy(p + 18, target_mac, 6);
    memcpy(p + 24, arp->target_ip, 4);
    return ETH_LEN + ARP_LEN;
}

bool utcp_arp_parse(const uint8_t *p, uint32_t len, struct utcp_arp *ret_arp)
{
    if (len < ARP_LEN || be16_get(p) != ARP_ETHERNET || be16_get(p + 2) != ETH_TYPE_IPV4 ||
        p[4] != 6 || p[5] != 4)
        return false;
    ret_arp->op = be16_get(p + 6);
    memcpy(ret_arp->sender_mac, p + 8, 6);
    memcpy(ret_arp->sender_ip, p + 14, 4);
    memcpy(ret_arp->target_ip, p + 24, 4);
    return true;
}

/* ---- IPv4 and IPv6 ----------------------------------------------------------------------- */

enum utcp_ip_verdict utcp_ipv4_parse(const uint8_t *p, uint32_t len, bool checksum_good,
                                     struct utcp_ip *ret_ip)
{
    uint32_t header_len, total_len;

    if (len < IPV4_LEN || p[0] >> 4 != 4)
        return UTCP_IP_MALFORMED;
    header_len = (p[0] & 0x0fu) * 4u;
    total_len = be16_get(p + 2);
    if (header_len < IPV4_LEN || total_len < header_len || total_len > len)
        return UTCP_IP_MALFORMED;
    if (!checksum_good && utcp_checksum(p, header_len) != 0)
        return UTCP_IP_CHECKSUM;
    *ret_ip = (struct utcp_ip){
        .src = p + 12,
        .dst = p + 16,
        .data = p + header_len,
        .len = total_len - header_len,
        .fragment_id = be16_get(p + 4),
        .fragment_offset = (be16_get(p + 6) & IPV4_OFFSET) * 8,
        .proto = p[9],
        .family = 4,
        .hop_limit = p[8],
        .traffic_class = p[1],
        .is_fragment = (be16_get(p + 6) & (IPV4_MF | IPV4_OFFSET)) != 0,
        .more_fragments = (be16_get(p + 6) & IPV4_MF) != 0,
    };
    return UTCP_IP_OK;
}

static uint32_t ipv4_put(uint8_t *p, const struct utcp_ip_header *header)
{
    p[0] = 0x45;
    p[1] = header->traffic_class;
    be16_put(p + 2, (uint16_t)(IPV4_LEN + header->payload_len));
    be16_put(p + 4, 0);
    be16_put(p + 6, IPV4_DF);
    p[8] = header->hop_limit != 0 ? header->hop_limit : IP_TTL;
    p[9] = header->proto;
    be16_put(p + 10, 0);
    memcpy(p + 12, header->src, 4);
    memcpy(p + 16, header->dst, 4);
    if (!header->without_checksum)
        be16_put(p + 10, utcp_checksum(p, IPV4_LEN));
    return IPV4_LEN;
}

static uint32_t ipv6_put(uint8_t *p, const struct utcp_ip_header *header)
{
    be32_put(p, UINT32_C(6) << 28 | (uint32_t)header->traffic_class << 20);
    be16_put(p + 4, (uint16_t)header->payload_len);
    p[6] = header->proto;
    p[7] = header->hop_limit != 0 ? header->hop_limit : IP_TTL;
    memcpy(p + 8, header->src, 16);
    memcpy(p + 24, header->dst, 16);
    return IPV6_LEN;
}

uint32_t utcp_ip_put(uint8_t *p, const struct utcp_ip_header *header)
{
    return header->family == 6 ? ipv6_put(p, header) : ipv4_put(p, header);
}

/* ---- TCP --------------------------------------------------------------------------------- */

static void sack_take(const uint8_t *p, uint32_t n, struct utcp_options *options)
{
    if (n > TCP_SACK_BLOCKS_MAX)
        n = TCP_SACK_BLOCKS_MAX;
    options->n_sack = (uint8_t)n;
    for (uint32_t i = 0; i < n; i++, p += 8)
        options->sack[i] = (struct utcp_sack_block){be32_get(p), be32_get(p + 4)};
}

/* One option with its value; a wrong length is as good as an unknown option. */
static void option_take(const uint8_t *p, uint32_t len, struct utcp_options *options)
{
    if (p[0] == OPTION_MSS && len == OPTION_LEN_MSS) {
        options->mss = be16_get(p + 2);
    } else if (p[0] == OPTION_WSCALE && len == OPTION_LEN_WS) {
        options->has_wscale = true;
        options->wscale = p[2] > TCP_WSCALE_MAX ? TCP_WSCALE_MAX : p[2];
    } else if (p[0] == OPTION_SACK_OK && len == OPTION_LEN_SACK) {
        options->sack_permitted = true;
    } else if (p[0] == OPTION_TS && len == OPTION_LEN_TS) {
        options->has_timestamps = true;
        options->ts_value = be32_get(p + 2);
        options->ts_echo = be32_get(p + 6);
    } else if (p[0] == OPTION_SACK && len % 8 == 2 && len > 2) {
        sack_take(p + 2, (len - 2) / 8, options);
    }
}

void utcp_options_parse(const uint8_t *p, uint32_t len, struct utcp_options *ret_options)
{
    memset(ret_options, 0, sizeof *ret_options);
    for (uint32_t at = 0; at < len;) {
        if (p[at] == OPTION_END)
            return;
        if (p[at] == OPTION_NOP) {
            at++;
            continue;
        }
        if (at + 2 > len || p[at + 1] < 2 || p[at + 1] > len - at)
            return;
        option_take(p + at, p[at + 1], ret_options);
        at += p[at + 1];
    }
}

bool utcp_tcp_parse(const uint8_t *p, uint32_t len, struct utcp_segment *ret_seg)
{
    uint32_t header_len;

    if (len < TCP_LEN)
        return false;
    header_len = (uint32_t)(p[12] >> 4) * 4u;
    if (header_len < TCP_LEN || header_len > len)
        return false;
    ret_seg->src_port = be16_get(p);
    ret_seg->dst_port = be16_get(p + 2);
    ret_seg->seq = be32_get(p + 4);
    ret_seg->ack = be32_get(p + 8);
    ret_seg->flags = p[13];
    ret_seg->window = be16_get(p + 14);
    ret_seg->data = p + header_len;
    ret_seg->len = len - header_len;
    utcp_options_parse(p + TCP_LEN, header_len - TCP_LEN, &ret_seg->options);
    return true;
}

uint32_t utcp_options_put_syn(uint8_t *p, const struct utcp_options *options)
{
    uint32_t at = 0;

    p[at++] = OPTION_MSS;
    p[at++] = OPTION_LEN_MSS;
    be16_put(p + at, options->mss);
    at += 2;
    if (options->sack_permitted) {
        p[at++] = OPTION_NOP;
        p[at++] = OPTION_NOP;
        p[at++] = OPTION_SACK_OK;
        p[at++] = OPTION_LEN_SACK;
    }
    if (options->has_timestamps)
        at += utcp_options_put_timestamps(p + at, options->ts_value, options->ts_echo);
    if (options->has_wscale) {
        p[at++] = OPTION_NOP;
        p[at++] = OPTION_WSCALE;
        p[at++] = OPTION_LEN_WS;
        p[at++] = options->wscale;
    }
    return at;
}

uint32_t utcp_options_put_timestamps(uint8_t *p, uint32_t value, uint32_t echo)
{
    p[0] = OPTION_NOP;
    p[1] = OPTION_NOP;
    p[2] = OPTION_TS;
    p[3] = OPTION_LEN_TS;
    be32_put(p + 4, value);
    be32_put(p + 8, echo);
    return TCP_TS_LEN;
}

uint32_t utcp_options_put_sack(uint8_t *p, const struct utcp_sack_block *blocks, uint32_t n)
{
    uint32_t at = 4;

    p[0] = OPTION_NOP;
    p[1] = OPTION_NOP;
    p[2] = OPTION_SACK;
    p[3] = (uint8_t)(2 + 8 * n);
    for (uint32_t i = 0; i < n; i++, at += 8) {
        be32_put(p + at, blocks[i].start);
        be32_put(p + at + 4, blocks[i].end);
    }
    return at;
}

void utcp_tcp_put(uint8_t *p, const struct utcp_tcp_header *header)
{
    be16_put(p, header->src_port);
    be16_put(p + 2, header->dst_port);
    be32_put(p + 4, header->seq);
    be32_put(p + 8, header->ack);
    p[12] = (uint8_t)((TCP_LEN + header->options_len) / 4 << 4);
    p[13] = header->flags;
    be16_put(p + 14, header->window);
    be16_put(p + TCP_CHECKSUM_AT, 0);
    be16_put(p + 18, 0);
}
