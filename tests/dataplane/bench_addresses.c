/*
 * bench_addresses.c - does a frame cost more when the port has more source addresses? Prints a
 * table for 1, 100 and 10,000 addresses with ratios of one run; it is no test.
 *
 * The same 10,000 connections are spread over the addresses, so only the number of addresses
 * differs. A frame is sorted to its lane (dp_steer), taken by TCP, and what TCP answers is fetched.
 * Times are of the thread's CPU, so that a busy machine does not blur them; each is the best of
 * five rounds.
 */
#include "dataplane/dp_steer.h"
#include "tcp/utcp.h"
#include "tcp/utcp_wire.h"

#include <time.h>

#define CONNECTIONS 10000u
#define FRAMES      400000u
#define ROUNDS      5u
#define PORT        25u

static const uint8_t own_mac[6] = {0x02, 0, 0, 0, 0, 1}, peer_mac[6] = {0x02, 0, 0, 0, 0, 2};

struct bench {
    struct utcp *tcp;
    struct addr_map owners;
    uint32_t n_addresses;
    uint32_t acks[CONNECTIONS]; /* what each connection is to be told */
};

static uint64_t cpu_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* 10.1.0.1 and on. */
static struct ip_addr source(uint32_t i)
{
    struct ip_addr addr = {.family = 4};
    be32_put(addr.bytes, 0x0a010001u + i);
    return addr;
}

static void make(struct bench *b, uint32_t n_addresses)
{
    struct utcp_config config = {.mac = {0x02, 0, 0, 0, 0, 1},
                                 .mtu = 1500,
                                 .prefix4 = {.family = 4, .bytes = {10}},
                                 .prefix4_len = 8,
                                 .secret = "bench",
                                 .limits = {.connections = CONNECTIONS,
                                            .addresses = n_addresses,
                                            .listeners = n_addresses,
                                            .neighbours = 64,
                                            .time_wait = 64,
                                            .paths = 64}};
    int error;
    b->n_addresses = n_addresses;
    b->tcp = utcp_create(&config, &error);
    INVARIANT(b->tcp != NULL && addr_map_init(&b->owners, n_addresses));
    for (uint32_t i = 0; i < n_addresses; i++) {
        struct ip_addr addr = source(i);
        INVARIANT(utcp_address_add(b->tcp, NS_PER_S, &addr) == UTCP_OK &&
                  utcp_listen(b->tcp, &addr, PORT, NULL) == UTCP_OK &&
                  addr_map_put(&b->owners, &addr, 0));
    }
}

/* The frame of connection i goes the way of all frames. */
static void frame_in(struct bench *b, uint32_t i, uint8_t flags)
{
    static const uint8_t peer[4] = {10, 0, 0, 9};
    uint8_t frame[ETH_LEN + IPV4_LEN + TCP_LEN];
    const struct ip_addr to = source(i % b->n_addresses);
    const struct utcp_ip_header ip = {.src = peer,
                                      .dst = to.bytes,
                                      .payload_len = TCP_LEN,
                                      .family = 4,
                                      .proto = IP_PROTO_TCP,
                                      .without_checksum = true};
    const struct utcp_tcp_header tcp = {.src_port = (uint16_t)(1024 + i),
                                        .dst_port = PORT,
                                        .seq = (flags & TCP_SYN) != 0 ? 0 : 1,
                                        .ack = b->acks[i],
                                        .window = 60000,
                                        .flags = flags};
    utcp_eth_put(frame, own_mac, peer_mac, ETH_TYPE_IPV4);
    (void)utcp_ip_put(frame + ETH_LEN, &ip);
    utcp_tcp_put(frame + ETH_LEN + IPV4_LEN, &tcp);
    INVARIANT(dp_steer_frame(&b->owners, frame, sizeof frame) == 0);
    utcp_input(b->tcp, NS_PER_S, frame, sizeof frame, UTCP_RX_IP_CSUM_GOOD | UTCP_RX_L4_CSUM_GOOD);
}

static void answer_arp(struct bench *b, const uint8_t *question)
{
    struct utcp_arp arp = {.op = ARP_REPLY, .sender_ip = {10, 0, 0, 9}};
    uint8_t frame[ETH_LEN + ARP_LEN];
    memcpy(arp.target_ip, question + ETH_LEN + 14, 4);
    memcpy(arp.sender_mac, peer_mac, 6);
    (void)utcp_arp_put(frame, own_mac, own_mac, &arp);
    utcp_input(b->tcp, NS_PER_S, frame, sizeof frame, 0);
}

static void fetch(struct bench *b, uint32_t i)
{
    uint8_t head[UTCP_HEAD_MAX];
    struct utcp_frame frame = {.head = head};
    while (utcp_output(b->tcp, NS_PER_S, &frame)) {
        if (frame.ip_family == 0) {
            answer_arp(b, head);
        } else if (frame.l4_len > 0) {
            b->acks[i] = be32_get(head + ETH_LEN + IPV4_LEN + 4) + 1;
        }
    }
}

static void open_all(struct bench *b)
{
    struct utcp_event event;
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        frame_in(b, i, TCP_SYN);
        fetch(b, i);
        frame_in(b, i, TCP_ACK);
        fetch(b, i);
        while (utcp_next_event(b->tcp, &event)) {
        }
    }
    INVARIANT(utcp_connections(b->tcp) == CONNECTIONS);
}

/* Nanoseconds of CPU for each frame, to connections at random. */
static double measure(struct bench *b)
{
    uint64_t random = 1;
    double best = 1e9;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t start_ns = cpu_ns();
        for (uint32_t i = 0; i < FRAMES; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            uint32_t to = (uint32_t)((random >> 33) % CONNECTIONS);
            frame_in(b, to, TCP_ACK);
            fetch(b, to);
        }
        double ns = (double)(cpu_ns() - start_ns) / FRAMES;
        best = ns < best ? ns : best;
    }
    return best;
}

int main(void)
{
    static const uint32_t sizes[] = {1, 100, 10000};
    static struct bench b;
    double first = 0;
    (void)puts("addresses   ns a frame   ratio");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        make(&b, sizes[i]);
        open_all(&b);
        double ns = measure(&b);
        first = i == 0 ? ns : first;
        (void)printf("%9u %12.0f %7.2f\n", sizes[i], ns, ns / first);
        utcp_destroy(b.tcp);
        addr_map_fini(&b.owners);
    }
    return 0;
}
