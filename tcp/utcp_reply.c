/*
 * utcp_reply.c - small frames that belong to no connection, in a bounded ring: RST for a stray
 * segment, ACK of TIME-WAIT, echo reply, ARP and ND.
 *
 * Answers go back to the MAC address that the question came from, without a neighbour entry: what
 * strangers send must not use up the neighbour table. When the ring is full an answer is dropped
 * and counted; each of them will be asked for again.
 */
#include "tcp/utcp_internal.h"

struct utcp_reply *utcp_reply_new(struct utcp *u)
{
    struct utcp_reply *reply;

    if (u->reply_count == REPLIES_MAX) {
        COUNT(u, reply_limit);
        return NULL;
    }
    reply = &u->replies[(u->reply_first + u->reply_count++) % REPLIES_MAX];
    reply->head_len = reply->payload_len = 0;
    reply->ip_family = reply->l3_len = reply->l4_len = 0;
    return reply;
}

/* The slot is not used again before the next frame comes in, so the slice may point into it. */
bool utcp_reply_pop(struct utcp *u, struct utcp_frame *frame)
{
    const struct utcp_reply *reply = &u->replies[u->reply_first];

    if (u->reply_count == 0)
        return false;
    u->reply_first = (u->reply_first + 1) % REPLIES_MAX;
    u->reply_count--;
    memcpy(frame->head, reply->head, reply->head_len);
    frame->head_len = reply->head_len;
    frame->payload_len = reply->payload_len;
    frame->n_slices = reply->payload_len > 0;
    frame->slices[0] = (struct utcp_slice){.data = reply->payload, .len = reply->payload_len};
    frame->l2_len = ETH_LEN;
    frame->l3_len = reply->l3_len;
    frame->l4_len = reply->l4_len;
    frame->ip_family = reply->ip_family;
    return true;
}

/* Who a frame is for, and from whom. */
struct reply_to {
    const uint8_t *mac, *src, *dst;
    uint8_t family;
};

static struct reply_to reply_to_sender(const struct utcp_ip *ip, const uint8_t mac[6])
{
    return (struct reply_to){.mac = mac, .src = ip->dst, .dst = ip->src, .family = ip->family};
}

static uint8_t *tcp_of(struct utcp_reply *reply, uint8_t family)
{
    return reply->head + ETH_LEN + ip_header_len(family);
}

/* Ethernet, IP and checksums around a TCP header whose options are already in place. */
static void finish_tcp(const struct utcp *u, struct utcp_reply *reply, const struct reply_to *to,
                       const struct utcp_tcp_header *header)
{
    const bool offload = u->config.tx_checksum_offload;
    const uint16_t len = (uint16_t)(TCP_LEN + header->options_len);
    const struct utcp_ip_header ip = {.src = to->src,
                                      .dst = to->dst,
                                      .payload_len = len,
                                      .family = to->family,
                                      .proto = IP_PROTO_TCP,
                                      .without_checksum = offload};
    uint8_t *tcp = tcp_of(reply, to->family);
    uint32_t sum = utcp_sum_pseudo(to->family, to->src, to->dst, IP_PROTO_TCP, len);
    bool odd = false;

    utcp_eth_put(reply->head, to->mac, u->config.mac, ip_eth_type(to->family));
    (void)utcp_ip_put(reply->head + ETH_LEN, &ip);
    utcp_tcp_put(tcp, header);
    if (offload)
        be16_put(tcp + TCP_CHECKSUM_AT, utcp_sum_fold(sum));
    else
        be16_put(tcp + TCP_CHECKSUM_AT,
                 (uint16_t)~utcp_sum_fold(utcp_sum_add(sum, tcp, len, &odd)));
    reply->head_len = (uint16_t)(ETH_LEN + ip_header_len(to->family) + len);
    reply->ip_family = to->family;
    reply->l3_len = (uint8_t)ip_header_len(to->family);
    reply->l4_len = (uint8_t)len;
}

void utcp_reply_rst(struct utcp *u, const struct utcp_ip *ip, const uint8_t mac[6],
                    const struct utcp_segment *seg)
{
    const struct reply_to to = reply_to_sender(ip, mac);
    struct utcp_tcp_header header = {.src_port = seg->dst_port, .dst_port = seg->src_port};
    struct utcp_reply *reply = utcp_reply_new(u);

    if (reply == NULL)
        return;
    if ((seg->flags & TCP_ACK) != 0) {
        header.seq = seg->ack;
        header.flags = TCP_RST;
    } else {
        header.ack = seg->seq + utcp_segment_seq_len(seg);
        header.flags = TCP_RST | TCP_ACK;
    }
    finish_tcp(u, reply, &to, &header);
    COUNT(u, rsts_out);
    COUNT(u, segs_out);
}

void utcp_reply_conn_rst(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    const struct utcp_neighbour *n = neighbour_at(u, c->neighbour);
    const struct reply_to to = {.mac = n->mac,
                                .src = address_at(u, c->address)->ip.bytes,
                                .dst = c->remote,
                                .family = conn_family(c)};
    struct utcp_tcp_header header = {.src_port = c->local_port,
                                     .dst_port = c->remote_port,
                                     .seq = c->snd_nxt,
                                     .ack = c->rcv_nxt,
                                     .flags = TCP_RST | TCP_ACK};
    struct utcp_reply *reply;

    if (c->state == UTCP_SYN_SENT || n->state == NEIGHBOUR_INCOMPLETE ||
        n->state == NEIGHBOUR_FAILED)
        return;
    reply = utcp_reply_new(u);
    if (reply == NULL)
        return;
    if ((c->flags & CF_TIMESTAMPS) != 0)
        header.options_len = (uint8_t)utcp_options_put_timestamps(
            tcp_of(reply, to.family) + TCP_LEN, time_ms(now_ns) + c->ts_offset, c->ts_recent);
    finish_tcp(u, reply, &to, &header);
    COUNT(u, rsts_out);
    COUNT(u, segs_out);
}

void utcp_reply_half(struct utcp *u, uint64_t now_ns, const struct utcp_half *half, bool syn)
{
    const struct ip_addr *own = &address_at(u, half->address)->ip;
    const struct reply_to to = {
        .mac = half->mac, .src = own->bytes, .dst = half->remote, .family = own->family};
    const struct utcp_tuple tuple = utcp_tuple_from_ip(half->address, own->family, half->remote,
                                                       half->local_port, half->remote_port);
    const uint32_t window = u->config.rx_window_bytes;
    const struct utcp_options options = {
        .mss = (uint16_t)(u->config.mtu - ip_header_len(own->family) - TCP_LEN),
        .has_wscale = (half->flags & HALF_WSCALE) != 0,
        .wscale = u->rcv_wscale,
        .has_timestamps = (half->flags & HALF_TIMESTAMPS) != 0,
        .ts_value = time_ms(now_ns) + utcp_tuple_ts_offset(u, &tuple),
        .ts_echo = half->ts_recent,
        .sack_permitted = (half->flags & HALF_SACK) != 0,
    };
    struct utcp_tcp_header header = {
        .src_port = half->local_port,
        .dst_port = half->remote_port,
        .seq = syn ? half->iss : half->iss + 1,
        .ack = half->irs + 1,
        .window = (uint16_t)(window < UINT16_MAX ? window : UINT16_MAX),
        .flags = syn ? TCP_SYN | TCP_ACK : TCP_ACK,
    };
    struct utcp_reply *reply = utcp_reply_new(u);
    uint8_t *at;

    if (reply == NULL)
        return;
    at = tcp_of(reply, own->family) + TCP_LEN;
    if (syn)
        header.options_len = (uint8_t)utcp_options_put_syn(at, &options);
    else if (options.has_timestamps)
        header.options_len =
            (uint8_t)utcp_options_put_timestamps(at, options.ts_value, options.ts_echo);
    if (syn && (half->flags & HALF_ECN) != 0)
        header.flags |= TCP_ECE;
    finish_tcp(u, reply, &to, &header);
    COUNT(u, segs_out);
}

void utcp_reply_time_wait(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip,
                          const uint8_t mac[6], const struct utcp_tw *tw)
{
    const struct reply_to to = reply_to_sender(ip, mac);
    const struct utcp_tuple tuple =
        utcp_tuple_from_ip(tw->address, ip->family, ip->src, tw->local_port, tw->remote_port);
    struct utcp_tcp_header header = {.src_port = tw->local_port,
                                     .dst_port = tw->remote_port,
                                     .seq = tw->snd_nxt,
                                     .ack = tw->rcv_nxt,
                                     .window = UINT16_MAX,
                                     .flags = TCP_ACK};
    struct utcp_reply *reply = utcp_reply_new(u);

    if (reply == NULL)
        return;
    if (tw->has_timestamps)
        header.options_len = (uint8_t)utcp_options_put_timestamps(
            tcp_of(reply, to.family) + TCP_LEN, time_ms(now_ns) + utcp_tuple_ts_offset(u, &tuple),
            tw->ts_recent);
    finish_tcp(u, reply, &to, &header);
    COUNT(u, segs_out);
}

/* The sum before the ICMP header: ICMPv6 counts a pseudo-header. */
static uint32_t icmp_sum_start(const struct utcp_ip *ip)
{
    return ip->family == 6 ? utcp_sum_pseudo(6, ip->dst, ip->src, IP_PROTO_ICMP6, ip->len) : 0;
}

/* ip->data is an echo request with a right checksum. */
void utcp_reply_echo(struct utcp *u, const struct utcp_ip *ip, const uint8_t mac[6])
{
    const uint32_t payload_len = ip->len - ICMP_LEN;
    const struct utcp_ip_header header = {.src = ip->dst,
                                          .dst = ip->src,
                                          .payload_len = ip->len,
                                          .family = ip->family,
                                          .proto = ip->proto};
    struct utcp_reply *reply;
    uint8_t *icmp;
    uint32_t sum;
    bool odd = false;

    if (payload_len > REPLY_PAYLOAD_MAX || ip->len + ip_header_len(ip->family) > u->config.mtu) {
        COUNT(u, icmp_echo_too_long);
        return;
    }
    reply = utcp_reply_new(u);
    if (reply == NULL)
        return;
    utcp_eth_put(reply->head, mac, u->config.mac, ip_eth_type(ip->family));
    icmp = reply->head + ETH_LEN + utcp_ip_put(reply->head + ETH_LEN, &header);
    memcpy(icmp, ip->data, ICMP_LEN);
    icmp[0] = ip->family == 6 ? ICMP6_ECHO_REPLY : ICMP_ECHO_REPLY;
    be16_put(icmp + 2, 0);
    memcpy(reply->payload, ip->data + ICMP_LEN, payload_len);
    sum = utcp_sum_add(icmp_sum_start(ip), icmp, ICMP_LEN, &odd);
    be16_put(icmp + 2,
             (uint16_t)~utcp_sum_fold(utcp_sum_add(sum, reply->payload, payload_len, &odd)));
    reply->head_len = (uint16_t)(icmp + ICMP_LEN - reply->head);
    reply->payload_len = (uint16_t)payload_len;
    reply->ip_family = ip->family;
    reply->l3_len = (uint8_t)ip_header_len(ip->family);
}
