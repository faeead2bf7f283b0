/*
 * utcp_icmp.c - ICMP (RFC 792): echo for our addresses, and errors about our segments.
 *
 * RFC 5927: an error counts only when it quotes a sequence number in flight. A hard error then ends
 * a connection that is still connecting and is soft for all others; "fragmentation needed" lowers
 * the segment size (RFC 1191), never below IPV4_MTU_FLOOR.
 */
#include "tcp/utcp_internal.h"

#define QUOTED_PORTS_AND_SEQ 8u /* RFC 792: 64 bits of the datagram at least */

/* The connection that an error is about; null when it is none of ours or the quote is not credible.
 */
static struct utcp_conn *quoted_conn(struct utcp *u, const uint8_t *p, uint32_t len)
{
    struct utcp_tuple tuple;
    struct utcp_conn *c;
    uint32_t header_len, id, seq;

    header_len = len < IPV4_LEN ? 0 : (p[0] & 0x0fu) * 4u;
    if (len < IPV4_LEN || p[0] >> 4 != 4 || header_len < IPV4_LEN ||
        len < header_len + QUOTED_PORTS_AND_SEQ || p[9] != IP_PROTO_TCP ||
        utcp_address_find4(u, p + 12) == 0) {
        COUNT(u, drop_icmp_no_connection);
        return NULL;
    }
    tuple = utcp_tuple_from_ip4(utcp_address_find4(u, p + 12), p + 16, be16_get(p + header_len),
                                be16_get(p + header_len + 2));
    id = utcp_tuple_find(u, &tuple);
    if (id == 0 || id > u->conns.count) {
        COUNT(u, drop_icmp_no_connection);
        return NULL;
    }
    c = conn_at(u, id);
    seq = be32_get(p + header_len + 4);
    if (seq_lt(seq, c->snd_una) || seq_geq(seq, c->snd_nxt)) {
        COUNT(u, drop_icmp_sequence);
        return NULL;
    }
    return c;
}

/* RFC 1122 4.2.3.9: codes 2 to 4 are hard; while connecting, network and host unreachable are too
 * (RFC 5461 4.1), so that mail can try the next address at once. */
static void input_error(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip)
{
    const bool frag_needed =
        ip->data[0] == ICMP_UNREACHABLE && ip->data[1] == ICMP_CODE_FRAG_NEEDED;
    struct utcp_conn *c = quoted_conn(u, ip->data + ICMP_LEN, ip->len - ICMP_LEN);

    if (c == NULL)
        return;
    if (frag_needed) {
        utcp_conn_lower_mtu(u, c, be16_get(ip->data + 6));
    } else if (ip->data[0] == ICMP_UNREACHABLE && c->state == UTCP_SYN_SENT) {
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
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETER:
        input_error(u, now_ns, ip);
        return;
    default: /* not an enum: any byte may come */
        COUNT(u, drop_icmp_unused);
    }
}
