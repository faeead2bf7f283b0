/*
 * sim_odd.c - a model of odd peers, in place of host 1: not a TCP, but what the Internet has in its
 * stead. It takes data in order only, compares it, and is odd in the ways that its seed picks:
 * no options at all; SYN cookies (it remembers nothing before data comes); a window that shrinks
 * and shuts; ACKs far apart; duplicate ACKs for no reason; SACKs for what it throws away; FIN in
 * the middle; RST instead of FIN.
 */
#include "tests/tcp/sim/sim.h"

#include "tcp/utcp_seq.h"
#include "tcp/utcp_wire.h"

#define ODD_NO_OPTIONS 1u
#define ODD_COOKIE     2u
#define ODD_SHRINK     4u
#define ODD_STRETCH    8u
#define ODD_DUPLICATES 16u
#define ODD_LIAR       32u /* SACKs what it does not keep */
#define ODD_EARLY_FIN  64u
#define ODD_RST        128u

static const uint8_t odd_mac[6] = {0x02, 0, 0, 0, 0, 2}, host_mac[6] = {0x02, 0, 0, 0, 0, 1};

void sim_odd_choose(struct sim *sim)
{
    for (uint32_t bit = 1; bit <= ODD_RST; bit <<= 1)
        if (sim_below(&sim->rng, 4) == 0)
            sim->odd |= bit;
    sim->odd |= SIM_ODD;
}

/* ---- frames out ----------------------------------------------------------------------------- */

static void send_frame(struct sim *sim, uint8_t *bytes, uint32_t len, uint32_t tcp_len)
{
    struct utcp_frame frame = {.head = bytes, .head_len = len, .l4_len = (uint8_t)tcp_len};

    sim_link_send(sim, 1, &frame);
}

static struct sim_pair *pair_of(struct sim *sim, const struct utcp_ip *ip, uint16_t port)
{
    for (uint32_t i = 0; i < sim->n_pairs; i++) {
        struct sim_pair *pair = &sim->pair[i];

        if (pair->started && pair->client_port == port &&
            memcmp(pair->ip[0].bytes, ip->src, ip_addr_len(ip->family)) == 0 &&
            memcmp(pair->ip[1].bytes, ip->dst, ip_addr_len(ip->family)) == 0)
            return pair;
    }
    return NULL;
}

/* A cookie: what it sends first is a function of the port alone. */
static uint32_t iss_of(const struct sim_pair *pair)
{
    return 0xfffff000u + pair->client_port * 77u;
}

static uint16_t window_of(struct sim *sim)
{
    if ((sim->odd & ODD_SHRINK) == 0)
        return 30000;
    return (uint16_t)(sim_below(&sim->rng, 4) == 0 ? 0 : sim_below(&sim->rng, 8000));
}

static void answer(struct sim *sim, const struct utcp_ip *ip, const struct sim_pair *pair,
                   uint8_t flags, const struct utcp_sack_block *lie)
{
    uint8_t bytes[ETH_LEN + IPV6_LEN + TCP_LEN_MAX];
    uint8_t *tcp = bytes + ETH_LEN + ip_header_len(ip->family);
    const struct sim_odd_flow *flow = &pair->odd;
    struct utcp_tcp_header header = {
        .src_port = SIM_PORT,
        .dst_port = pair->client_port,
        .seq = iss_of(pair) + ((flags & TCP_SYN) != 0 ? 0 : 1u + (flow->fin_sent ? 1u : 0u)),
        .ack = flow->rcv_nxt,
        .window = window_of(sim),
        .flags = flags,
    };
    struct utcp_ip_header ip_header = {
        .src = ip->dst, .dst = ip->src, .family = ip->family, .proto = IP_PROTO_TCP};
    const struct utcp_options options = {
        .mss = 1400, .sack_permitted = (sim->odd & (ODD_LIAR | ODD_COOKIE)) == ODD_LIAR};
    bool odd = false;
    uint32_t len;

    if ((flags & TCP_FIN) != 0)
        header.seq = iss_of(pair) + 1;
    if ((flags & TCP_SYN) != 0 && (sim->odd & ODD_NO_OPTIONS) == 0)
        header.options_len = (uint8_t)utcp_options_put_syn(tcp + TCP_LEN, &options);
    else if (lie != NULL)
        header.options_len = (uint8_t)utcp_options_put_sack(tcp + TCP_LEN, lie, 1);
    len = TCP_LEN + header.options_len;
    ip_header.payload_len = len;
    utcp_eth_put(bytes, host_mac, odd_mac, ip_eth_type(ip->family));
    (void)utcp_ip_put(bytes + ETH_LEN, &ip_header);
    utcp_tcp_put(tcp, &header);
    be16_put(
        tcp + TCP_CHECKSUM_AT,
        (uint16_t)~utcp_sum_fold(utcp_sum_add(
            utcp_sum_pseudo(ip->family, ip->dst, ip->src, IP_PROTO_TCP, len), tcp, len, &odd)));
    send_frame(sim, bytes, (uint32_t)(tcp - bytes) + len, len);
}

/* ---- frames in ------------------------------------------------------------------------------ */

static void arp_input(struct sim *sim, const uint8_t *frame, uint32_t len)
{
    uint8_t bytes[ETH_LEN + ARP_LEN];
    struct utcp_arp arp, reply = {.op = ARP_REPLY};

    if (!utcp_arp_parse(frame + ETH_LEN, len - ETH_LEN, &arp) || arp.op != ARP_REQUEST ||
        memcmp(arp.sender_ip, arp.target_ip, 4) == 0)
        return;
    memcpy(reply.sender_mac, odd_mac, 6);
    memcpy(reply.sender_ip, arp.target_ip, 4);
    memcpy(reply.target_ip, arp.sender_ip, 4);
    send_frame(sim, bytes, utcp_arp_put(bytes, host_mac, host_mac, &reply), 0);
}

/* Only solicitations that have a sender: nobody else has its addresses. */
static void nd_input(struct sim *sim, const struct utcp_ip *ip)
{
    static const uint8_t unspecified[16] = {0};
    uint8_t bytes[ETH_LEN + IPV6_LEN + 32] = {0};
    uint8_t *na = bytes + ETH_LEN + IPV6_LEN;
    const struct utcp_ip_header header = {.src = ip->data + 8,
                                          .dst = ip->src,
                                          .payload_len = 32,
                                          .family = 6,
                                          .proto = IP_PROTO_ICMP6,
                                          .hop_limit = 255};
    bool odd = false;

    if (ip->len < 24 || ip->data[0] != 135 || memcmp(ip->src, unspecified, 16) == 0)
        return;
    utcp_eth_put(bytes, host_mac, odd_mac, ETH_TYPE_IPV6);
    (void)utcp_ip_put(bytes + ETH_LEN, &header);
    na[0] = 136;
    na[4] = 0x60;
    memcpy(na + 8, ip->data + 8, 16);
    na[24] = 2;
    na[25] = 1;
    memcpy(na + 26, odd_mac, 6);
    be16_put(na + 2,
             (uint16_t)~utcp_sum_fold(utcp_sum_add(
                 utcp_sum_pseudo(6, header.src, header.dst, IP_PROTO_ICMP6, 32), na, 32, &odd)));
    send_frame(sim, bytes, sizeof bytes, 0);
}

static void take_data(struct sim *sim, struct sim_pair *pair, const struct utcp_segment *seg)
{
    struct sim_odd_flow *flow = &pair->odd;

    if (flow->received + seg->len > pair->end[0].queued)
        sim_fail(sim, "an odd peer got more bytes than were sent");
    else if (memcmp(seg->data, sim_noise_at(sim, &pair->end[0], flow->received), seg->len) != 0)
        sim_fail(sim, "an odd peer got wrong bytes at %lu", (unsigned long)flow->received);
    flow->received += seg->len;
    flow->rcv_nxt += seg->len;
}

static void finish(struct sim *sim, const struct utcp_ip *ip, struct sim_pair *pair)
{
    pair->odd.rcv_nxt++;
    pair->odd.fin_received = true;
    if ((sim->odd & ODD_RST) != 0) {
        pair->disturbed = true;
        answer(sim, ip, pair, TCP_RST | TCP_ACK, NULL);
        return;
    }
    answer(sim, ip, pair, TCP_FIN | TCP_ACK, NULL);
    pair->odd.fin_sent = true;
}

static void segment_for_flow(struct sim *sim, const struct utcp_ip *ip, struct sim_pair *pair,
                             const struct utcp_segment *seg)
{
    struct sim_odd_flow *flow = &pair->odd;
    const bool in_order = seg->seq == flow->rcv_nxt;
    const struct utcp_sack_block lie = {.start = seg->seq, .end = seg->seq + seg->len};
    const bool lies = (sim->odd & ODD_LIAR) != 0 && (sim->odd & ODD_COOKIE) == 0 && seg->len > 0 &&
                      seq_gt(seg->seq, flow->rcv_nxt);

    if (in_order && seg->len > 0)
        take_data(sim, pair, seg);
    if (in_order && (seg->flags & TCP_FIN) != 0 && !flow->fin_received) {
        finish(sim, ip, pair);
        return;
    }
    if ((seg->flags & TCP_FIN) != 0 && flow->fin_received) { /* our FIN was lost, or its ACK */
        answer(sim, ip, pair, (sim->odd & ODD_RST) != 0 ? TCP_RST | TCP_ACK : TCP_FIN | TCP_ACK,
               NULL);
        return;
    }
    if (seg->len == 0 && (seg->flags & TCP_FIN) == 0 && seg->seq == flow->rcv_nxt)
        return;
    if ((sim->odd & ODD_STRETCH) != 0 && in_order && ++flow->stretched % 4 != 0)
        return;
    answer(sim, ip, pair, TCP_ACK, lies ? &lie : NULL);
    for (uint32_t i = 0; (sim->odd & ODD_DUPLICATES) != 0 && i < sim_below(&sim->rng, 5); i++)
        answer(sim, ip, pair, TCP_ACK, NULL);
}

static void tcp_input(struct sim *sim, const struct utcp_ip *ip)
{
    struct utcp_segment seg;
    struct sim_pair *pair;

    if (!utcp_tcp_parse(ip->data, ip->len, &seg) || (seg.flags & TCP_RST) != 0)
        return;
    pair = pair_of(sim, ip, seg.src_port);
    if (pair == NULL)
        return;
    if ((seg.flags & TCP_SYN) != 0) {
        pair->odd.rcv_nxt = seg.seq + 1;
        answer(sim, ip, pair, TCP_SYN | TCP_ACK, NULL);
        return;
    }
    if ((sim->odd & ODD_EARLY_FIN) != 0 && !pair->odd.fin_sent && seg.len > 0) {
        answer(sim, ip, pair, TCP_FIN | TCP_ACK, NULL); /* and goes on receiving */
        pair->odd.fin_sent = true;
    }
    segment_for_flow(sim, ip, pair, &seg);
}

static bool checksum_is_good(const struct utcp_ip *ip)
{
    bool odd = false;

    return utcp_sum_fold(
               utcp_sum_add(utcp_sum_pseudo(ip->family, ip->src, ip->dst, ip->proto, ip->len),
                            ip->data, ip->len, &odd)) == 0xffff;
}

void sim_odd_input(struct sim *sim, const uint8_t *frame, uint32_t len)
{
    const uint16_t type = be16_get(frame + 12);
    enum utcp_ip_verdict verdict;
    struct utcp_ip ip;

    if (type == ETH_TYPE_ARP) {
        arp_input(sim, frame, len);
        return;
    }
    verdict = type == ETH_TYPE_IPV6 ? utcp_ipv6_parse(frame + ETH_LEN, len - ETH_LEN, &ip)
                                    : utcp_ipv4_parse(frame + ETH_LEN, len - ETH_LEN, false, &ip);
    if (verdict != UTCP_IP_OK || ip.is_fragment || !checksum_is_good(&ip))
        return;
    if (ip.proto == IP_PROTO_TCP)
        tcp_input(sim, &ip);
    else if (ip.family == 6)
        nd_input(sim, &ip);
}
