/*
 * lookup.c - does a segment cost more when the lane has more connections? Prints a table for 1 k,
 * 10 k, 100 k and 1 M connections, with ratios of one run; it is no test.
 *
 *     bench_lookup [LARGEST]
 *
 * Each connection is opened by a handshake. Then bare ACKs come, 32 at a time as a device hands
 * them out: for 1,000 connections that are spread over all of them and stay in the cache (what the
 * lookup itself costs), for connections at random one by one with utcp_input() (what memory costs
 * on top), and at random with utcp_input_burst(), as lanes do it. Making the frames is not in the
 * figures.
 */
#include "tcp/utcp.h"
#include "tcp/utcp_wire.h"

#include <time.h>

#define WARM     1000u
#define BURST    32u
#define FRAME    (ETH_LEN + IPV4_LEN + TCP_LEN)
#define GOOD     (UTCP_RX_IP_CSUM_GOOD | UTCP_RX_L4_CSUM_GOOD)
#define ROUNDS   6u
#define SEGMENTS 640000u
#define PORT     25u

static const uint8_t own_mac[6] = {0x02, 0, 0, 0, 0, 1}, peer_mac[6] = {0x02, 0, 0, 0, 0, 2};

struct flow {
    uint32_t ack; /* what the stack sends next */
};

struct bench {
    struct utcp *u;
    struct ip_addr own;
    struct flow *flows;
    uint32_t n;
    uint64_t now_ns;
};

static uint64_t clock_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static struct utcp *stack_new(uint32_t n, struct ip_addr *ret_own)
{
    struct utcp_config config = {.mac = {0x02, 0, 0, 0, 0, 1},
                                 .mtu = 1500,
                                 .prefix4_len = 24,
                                 .secret = "bench",
                                 .limits = {.connections = n,
                                            .segments = n,
                                            .chunks = 64,
                                            .copy_blocks = 64,
                                            .rx_blocks = 64,
                                            .time_wait = 64,
                                            .paths = 64}};
    struct utcp *u;
    int error;

    INVARIANT(ip_addr_parse("192.0.2.0", &config.prefix4));
    INVARIANT(ip_addr_parse("192.0.2.1", &config.gateway4));
    INVARIANT(ip_addr_parse("192.0.2.2", ret_own));
    u = utcp_create(&config, &error);
    INVARIANT(u != NULL && utcp_address_add(u, NS_PER_S, ret_own) == UTCP_OK);
    INVARIANT(utcp_listen(u, ret_own, PORT, NULL) == UTCP_OK);
    return u;
}

/* Flow i is a host of 10.0.0.0/8 with a port of its own. */
static void segment_make(const struct bench *b, uint32_t i, uint8_t flags, uint8_t frame[FRAME])
{
    uint8_t src[4];
    const struct utcp_ip_header ip = {.src = src,
                                      .dst = b->own.bytes,
                                      .payload_len = TCP_LEN,
                                      .family = 4,
                                      .proto = IP_PROTO_TCP,
                                      .without_checksum = true};
    const struct utcp_tcp_header tcp = {.src_port = (uint16_t)(1024 + i % 60000),
                                        .dst_port = PORT,
                                        .seq = (flags & TCP_SYN) != 0 ? 0 : 1,
                                        .ack = b->flows[i].ack,
                                        .window = 60000,
                                        .flags = flags};

    be32_put(src, 0x0a000001u + i / 7);
    utcp_eth_put(frame, own_mac, peer_mac, ETH_TYPE_IPV4);
    (void)utcp_ip_put(frame + ETH_LEN, &ip);
    utcp_tcp_put(frame + ETH_LEN + IPV4_LEN, &tcp);
}

static void segment_in(struct bench *b, uint32_t i, uint8_t flags)
{
    uint8_t frame[FRAME];

    segment_make(b, i, flags, frame);
    utcp_input(b->u, b->now_ns, frame, sizeof frame, GOOD);
}

static void answer_arp(struct bench *b)
{
    struct utcp_arp arp = {
        .op = ARP_REPLY, .sender_ip = {192, 0, 2, 1}, .target_ip = {192, 0, 2, 2}};
    uint8_t frame[ETH_LEN + ARP_LEN];

    memcpy(arp.sender_mac, peer_mac, 6);
    (void)utcp_arp_put(frame, own_mac, own_mac, &arp);
    utcp_input(b->u, b->now_ns, frame, sizeof frame, 0);
}

/* The SYN-ACK of flow i tells where our sequence begins. */
static void drain(struct bench *b, uint32_t i)
{
    uint8_t head[UTCP_HEAD_MAX];
    struct utcp_frame frame = {.head = head};

    while (utcp_output(b->u, b->now_ns, &frame))
        if (frame.l4_len > 0)
            b->flows[i].ack = be32_get(head + ETH_LEN + IPV4_LEN + 4) + 1;
        else
            answer_arp(b);
}

static void open_all(struct bench *b)
{
    struct utcp_event event;

    for (uint32_t i = 0; i < b->n; i++) {
        segment_in(b, i, TCP_SYN);
        drain(b, i);
        segment_in(b, i, TCP_ACK);
        while (utcp_next_event(b->u, &event))
            ;
    }
    INVARIANT(utcp_connections(b->u) == b->n);
}

enum way { ONE_BY_ONE, AS_BURST };

static uint64_t burst_in(struct bench *b, uint8_t frames[BURST][FRAME], enum way way)
{
    const uint64_t start_ns = clock_ns();
    struct utcp_rx rx[BURST];

    for (uint32_t i = 0; i < BURST; i++)
        if (way == AS_BURST)
            rx[i] = (struct utcp_rx){.data = frames[i], .len = FRAME, .flags = GOOD};
        else
            utcp_input(b->u, b->now_ns, frames[i], FRAME, GOOD);
    if (way == AS_BURST)
        utcp_input_burst(b->u, b->now_ns, rx, BURST);
    drain(b, 0);
    return clock_ns() - start_ns;
}

static uint64_t round_ns(struct bench *b, uint32_t among, enum way way, uint64_t *random)
{
    const uint32_t stride = b->n / among;
    uint8_t frames[BURST][FRAME];
    uint64_t ns = 0;

    for (uint32_t done = 0; done < SEGMENTS; done += BURST) {
        for (uint32_t i = 0; i < BURST; i++) {
            *random = *random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            segment_make(b, (uint32_t)((*random >> 33) % among) * stride, TCP_ACK, frames[i]);
        }
        ns += burst_in(b, frames, way);
    }
    return ns;
}

/* Nanoseconds for each segment, over `among` flows spread evenly over all: the best round, for the
 * machine may be shared. */
static double measure(struct bench *b, uint32_t among, enum way way)
{
    uint64_t random = 1, best = UINT64_MAX;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        const uint64_t ns = round_ns(b, among, way, &random);

        best = ns < best ? ns : best;
    }
    return (double)best / SEGMENTS;
}

static void run(uint32_t n)
{
    static double first[3];
    struct bench b = {.n = n, .now_ns = NS_PER_S};
    double ns[3];

    b.u = stack_new(n, &b.own);
    b.flows = calloc(n, sizeof *b.flows);
    INVARIANT(b.flows != NULL);
    open_all(&b);
    ns[0] = measure(&b, WARM, AS_BURST);
    ns[1] = measure(&b, n, ONE_BY_ONE);
    ns[2] = measure(&b, n, AS_BURST);
    if (first[0] == 0)
        memcpy(first, ns, sizeof first);
    (void)printf("%11u %8.1f %6.2f %12.1f %6.2f %14.1f %6.2f\n", n, ns[0], ns[0] / first[0], ns[1],
                 ns[1] / first[1], ns[2], ns[2] / first[2]);
    (void)fflush(stdout);
    utcp_destroy(b.u);
    free(b.flows);
}

int main(int argc, char **argv)
{
    const uint32_t largest = argc > 1 ? (uint32_t)atoi(argv[1]) : 1000000;

    (void)printf("connections  warm ns  ratio  one by one ns  ratio  burst of 32 ns  ratio\n");
    for (uint32_t n = 1000; n <= largest; n *= 10)
        run(n);
    return EXIT_SUCCESS;
}
