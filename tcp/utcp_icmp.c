/*
 * utcp_icmp.c - ICMP (RFC 792) and ICMPv6 (RFC 4443): echo for our addresses, and errors about our
 * segments.
 *
 * RFC 5927: an error counts only when it quotes a sequence number in flight. A hard error then ends
 * a connection that is still connecting and is soft for all others; "fragmentation needed" and
 * "packet too big" lower the segment size (RFC 1191, RFC 8201), within the limits of
 * utcp_path.c.
 */
#include "tcp/utcp_internal.h"

#define QUOTED_PORTS_AND_SEQ 8u /* RFC 792: 64 bits of the datagram at least */

/* The TCP header that an error quotes, with its addresses; we send no IP options and no extension
 * headers, so what has them is not ours. */
static bool parse_quote(uint8_t family, const uint8_t *p, uint32_t len, struct utcp_ip *ret_ip)
{
    const uint32_t header_len = ip_header_len(family);

    if (len < header_len + QUOTED_PORTS_AND_SEQ || p[0] >> 4 != family ||
        (family == 4 && p[0] != 0x45) || p[family == 4 ? 9 : 6] != IP_PROTO_TCP)
        return false;
    *ret_ip = (struct utcp_ip){.src = p + (family == 4 ? 12 : 8),
                               .dst = p + (family == 4 ? 16 : 24),
                               .data = p + header_len,
                               .family = family};
    return true;
}

/* The connection that an error is about; null when it is none of ours or the quote is not credible.
 */
static struct utcp_conn *quoted_conn(struct utcp *u, uint8_t family, const uint8_t *p, uint32_t len)
{
    struct utcp_tuple tuple;
    struct utcp_conn *c;
    struct utcp_ip ip;
    uint32_t id = 0, own, seq;

    if (parse_quote(family, p, len, &ip)) {
        own = utcp_address_find_bytes(u, family, ip.src);
        tuple = utcp_tuple_from_ip(own, family, ip.dst, be16_get(ip.data), be16_get(ip.data + 2));
        id = own == 0 ? 0 : utcp_tuple_find(u, &tuple);
    }
    if (id == 0 || id > u->conns.count) {
        COUNT(u, drop_icmp_no_connection);
        return NULL;
    }
    c = conn_at(u, id);
    seq = be32_get(ip.data + 4);
    if (seq_lt(seq, c->snd_una) || seq_geq(seq, c->snd_nxt)) {
        COUNT(u, drop_icmp_sequence);
        return NULL;
    }
    return c;
}

/* What an error message says, for both families. */
enum icmp_meaning {
    ICMP_MEANS_UNREACHABLE,
    ICMP_MEANS_TOO_BIG,
    ICMP_MEANS_NOTHING, /* time exceeded, parameter problem */
};

/* RFC 1122 4.2.3.9: codes 2 to 4 are hard; while connecting, network and host unreachable are too
 * (RFC 5461 4.1), so that mail can try the next address at once. */
static void input_error(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip,
                        enum icmp_meaning meaning, uint32_t mtu)
{
    struct utcp_conn *c = quoted_conn(u, ip->family, ip->data + ICMP_LEN, ip->len - ICMP_LEN);

    if (c == NULL)
        return;
    if (meaning == ICMP_MEANS_TOO_BIG) {
        utcp_path_too_big(u, now_ns, c, mtu);
    } else if (meaning == ICMP_MEANS_UNREACHABLE && c->state == UTCP_SYN_SENT) {
        COUNT(u, icmp_unreachable_hard);
        utcp_conn_close(u, now_ns, c, UTCP_CLOSE_UNREACHABLE);
    } else {
        COUNT(u, icmp_unreachable_soft);
    }
}

void utcp_icmp_input(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip,
                     const uint8_t mac[6])
{
    if (ip->len < ICMP_LEN || utcp_checksum(ip->data, ip->len) != 0) {
        COUNT(u, drop_icmp_malformed);
        return;
    }
    switch (ip->data[0]) {
    case ICMP_ECHO:
        COUNT(u, icmp_echo_in);
        utcp_reply_echo(u, ip, mac);
        return;
    case ICMP_UNREACHABLE:
        input_error(u, now_ns, ip,
                    ip->data[1] == ICMP_CODE_FRAG_NEEDED ? ICMP_MEANS_TOO_BIG
                                                         : ICMP_MEANS_UNREACHABLE,
                    be16_get(ip->data + 6));
        return;
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETER:
        input_error(u, now_ns, ip, ICMP_MEANS_NOTHING, 0);
        return;
    default: /* not an enum: any byte may come */
        COUNT(u, drop_icmp_unused);
    }
}

static bool checksum6_is_good(const struct utcp_ip *ip)
{
    const uint32_t sum = utcp_sum_pseudo(6, ip->src, ip->dst, IP_PROTO_ICMP6, ip->len);
    bool odd = false;

    return utcp_sum_fold(utcp_sum_add(sum, ip->data, ip->len, &odd)) == 0xffff;
}

void utcp_icmp6_input(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip,
                      const uint8_t mac[6])
{
    if (ip->len < ICMP_LEN || !checksum6_is_good(ip)) {
        COUNT(u, drop_icmp_malformed);
        return;
    }
    switch (ip->data[0]) {
    case ICMP6_ECHO:
        COUNT(u, icmp_echo_in);
        utcp_reply_echo(u, ip, mac);
        return;
    case ICMP6_UNREACHABLE:
        input_error(u, now_ns, ip, ICMP_MEANS_UNREACHABLE, 0);
        return;
    case ICMP6_TOO_BIG:
        input_error(u, now_ns, ip, ICMP_MEANS_TOO_BIG, be32_get(ip->data + 4));
        return;
    case ICMP6_TIME_EXCEEDED:
    case ICMP6_PARAMETER:
        input_error(u, now_ns, ip, ICMP_MEANS_NOTHING, 0);
        return;
    default: /* not an enum: any byte may come */
        COUNT(u, drop_icmp_unused);
    }
}
