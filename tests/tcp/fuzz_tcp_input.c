/*
 * fuzz_tcp_input.c - hostile frames, time and a careless application against one stack.
 *
 * The stack begins with connections in many states (see prologue()). The input is a list of steps,
 * each one byte of what to do and the bytes that it needs: a raw frame, a segment near the numbers
 * of a connection, an ICMP error, a jump of time, a call of the application. Checksums are declared
 * good, so that no luck is needed. After each step every invariant is checked, and at the end every
 * reference to sent bytes must have come back.
 */
#include "tcp/utcp.h"
#include "tcp/utcp_wire.h"

#define CONNS     10u
#define OWN_IP    "192.0.2.10"
#define PEER_IP   "192.0.2.1"
#define SINK_PORT 25u
#define FRAME_MAX 2048u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t own_mac[6] = {0x02, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {0x02, 0, 0, 0, 0, 2};

/* What the peer knows of a connection, from the frames that came out. */
struct flow {
    uint32_t handle;
    uint16_t own_port, peer_port;
    uint32_t own_seq, own_ack; /* what the stack sends next, and what it waits for */
};

struct fuzz {
    struct utcp *u;
    uint64_t now_ns;
    struct ip_addr own, peer;
    struct flow flow[CONNS];
    uint32_t n_flows;
    struct utcp_extent extent;
    const uint8_t *data;
    size_t left;
};

static uint8_t bytes_sent[8192];

/* ---- input bytes ---------------------------------------------------------------------------- */

static uint32_t take(struct fuzz *f, unsigned bytes)
{
    uint32_t v = 0;

    while (bytes-- > 0 && f->left > 0) {
        v = v << 8 | *f->data++;
        f->left--;
    }
    return v;
}

/* A distance of up to 2^15 either way, modulo 2^32. */
static uint32_t signed_offset(struct fuzz *f)
{
    const uint32_t v = take(f, 2);

    return v < 0x8000u ? v : v | 0xffff0000u;
}

/* ---- frames out ----------------------------------------------------------------------------- */

static void learn(struct fuzz *f, const uint8_t *head, const struct utcp_frame *frame)
{
    struct utcp_segment seg;

    if (frame->ip_family != 4 || frame->l4_len == 0 ||
        !utcp_tcp_parse(head + ETH_LEN + IPV4_LEN, frame->l4_len, &seg))
        return;
    for (uint32_t i = 0; i < f->n_flows; i++) {
        struct flow *flow = &f->flow[i];

        if (flow->peer_port != seg.dst_port ||
            (flow->own_port != seg.src_port && flow->own_port != 0))
            continue;
        flow->own_port = seg.src_port;
        flow->own_seq = seg.seq + frame->payload_len + ((seg.flags & TCP_SYN) != 0 ? 1u : 0u);
        flow->own_ack = seg.ack;
    }
}

static void drain(struct fuzz *f)
{
    uint8_t head[UTCP_HEAD_MAX];
    struct utcp_frame frame = {.head = head};
    struct utcp_event event;
    volatile uint8_t seen = 0;

    for (uint32_t i = 0; i < 10000 && utcp_output(f->u, f->now_ns, &frame); i++) {
        for (uint32_t s = 0; s < frame.n_slices; s++)
            seen = (uint8_t)(seen ^ frame.slices[s].data[frame.slices[s].len - 1]);
        INVARIANT(frame.head_len <= UTCP_HEAD_MAX);
        INVARIANT(frame.head_len + frame.payload_len <= ETH_LEN + 1500);
        learn(f, head, &frame);
        INVARIANT(i < 9999); /* no storm */
    }
    while (utcp_next_event(f->u, &event))
        if ((event.events & UTCP_EV_ACCEPTED) != 0)
            for (uint32_t i = 0; i < f->n_flows; i++)
                if (f->flow[i].handle == 0)
                    f->flow[i].handle = event.conn;
}

static void ip_put(uint8_t *p, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
                   uint32_t len)
{
    const struct utcp_ip_header header = {
        .src = src->bytes, .dst = dst->bytes, .payload_len = len, .family = 4, .proto = proto};

    (void)utcp_ip_put(p, &header);
}

/* ---- frames in ------------------------------------------------------------------------------ */

static void inject_ip(struct fuzz *f, uint8_t proto, const uint8_t *payload, uint32_t len)
{
    uint8_t frame[FRAME_MAX];

    utcp_eth_put(frame, own_mac, peer_mac, ETH_TYPE_IPV4);
    ip_put(frame + ETH_LEN, &f->peer, &f->own, proto, len);
    memcpy(frame + ETH_LEN + IPV4_LEN, payload, len);
    utcp_input(f->u, f->now_ns, frame, ETH_LEN + IPV4_LEN + len,
               UTCP_RX_IP_CSUM_GOOD | UTCP_RX_L4_CSUM_GOOD);
}

/* Header, option bytes and data; the data is any. */
static void inject_segment(struct fuzz *f, const struct utcp_tcp_header *header,
                           const uint8_t *options, uint32_t len)
{
    uint8_t tcp[FRAME_MAX - ETH_LEN - IPV4_LEN];
    const uint32_t head_len = TCP_LEN + header->options_len;

    if (len > sizeof tcp - head_len)
        len = (uint32_t)sizeof tcp - head_len;
    utcp_tcp_put(tcp, header);
    memcpy(tcp + TCP_LEN, options, header->options_len);
    memset(tcp + head_len, 'x', len);
    inject_ip(f, IP_PROTO_TCP, tcp, head_len + len);
}

static void plain(struct fuzz *f, const struct flow *flow, uint8_t flags, uint32_t seq,
                  uint32_t ack, uint32_t len)
{
    const struct utcp_tcp_header header = {.src_port = flow->peer_port,
                                           .dst_port = flow->own_port,
                                           .seq = seq,
                                           .ack = ack,
                                           .window = 20000,
                                           .flags = flags};

    inject_segment(f, &header, bytes_sent, len);
    drain(f);
}

static void inject_arp_reply(struct fuzz *f)
{
    struct utcp_arp arp = {.op = ARP_REPLY};
    uint8_t frame[ETH_LEN + ARP_LEN];

    memcpy(arp.sender_mac, peer_mac, 6);
    memcpy(arp.sender_ip, f->peer.bytes, 4);
    memcpy(arp.target_ip, f->own.bytes, 4);
    (void)utcp_arp_put(frame, own_mac, own_mac, &arp);
    utcp_input(f->u, f->now_ns, frame, sizeof frame, 0);
}

/* ---- steps ---------------------------------------------------------------------------------- */

static void step_raw(struct fuzz *f)
{
    uint8_t frame[FRAME_MAX];
    uint32_t len = take(f, 1) * 4;

    if (len > f->left)
        len = (uint32_t)f->left;
    memcpy(frame, f->data, len);
    f->data += len;
    f->left -= len;
    utcp_input_burst(f->u, f->now_ns,
                     &(struct utcp_rx){.data = frame, .len = len, .flags = take(f, 1) & 3u}, 1);
}

/* Numbers are signed distances from where the connection is. */
static void step_segment(struct fuzz *f)
{
    const struct flow *flow = &f->flow[take(f, 1) % f->n_flows];
    uint8_t options[40] = {0};
    struct utcp_tcp_header header = {.src_port = flow->peer_port, .dst_port = flow->own_port};
    const uint8_t shape = (uint8_t)take(f, 1);
    uint32_t len;

    header.flags = (uint8_t)take(f, 1) & 0x3fu;
    header.seq = flow->own_ack + signed_offset(f);
    header.ack = flow->own_seq + signed_offset(f);
    if ((shape & 1) != 0)
        header.seq ^= take(f, 4);
    if ((shape & 2) != 0)
        header.ack ^= take(f, 4);
    header.window = (uint16_t)take(f, 2);
    len = (shape & 4) != 0 ? take(f, 2) % 1480 : 0;
    if ((shape & 8) != 0) {
        header.options_len = (uint8_t)(take(f, 1) % 11 * 4);
        for (uint32_t i = 0; i < header.options_len; i++)
            options[i] = (uint8_t)take(f, 1);
    }
    inject_segment(f, &header, options, len);
}

static void step_icmp(struct fuzz *f)
{
    const struct flow *flow = &f->flow[take(f, 1) % f->n_flows];
    uint8_t icmp[ICMP_LEN + IPV4_LEN + 8] = {0};

    icmp[0] = (uint8_t)take(f, 1) % 14;
    icmp[1] = (uint8_t)take(f, 1) % 16;
    be16_put(icmp + 6, (uint16_t)take(f, 2));
    ip_put(icmp + ICMP_LEN, &f->own, &f->peer, IP_PROTO_TCP, 20);
    be16_put(icmp + ICMP_LEN + IPV4_LEN, flow->own_port);
    be16_put(icmp + ICMP_LEN + IPV4_LEN + 2, flow->peer_port);
    be32_put(icmp + ICMP_LEN + IPV4_LEN + 4, flow->own_seq - take(f, 2));
    be16_put(icmp + 2, utcp_checksum(icmp, sizeof icmp));
    inject_ip(f, IP_PROTO_ICMP, icmp, sizeof icmp);
}

static void step_time(struct fuzz *f)
{
    const uint64_t deadline = utcp_deadline_ns(f->u);
    const uint32_t how = take(f, 1);

    if (how < 128 && deadline != TIME_NEVER_NS && deadline > f->now_ns)
        f->now_ns = deadline;
    else
        f->now_ns += (how & 0x7fu) * (how & 0x7fu) * 10 * NS_PER_MS;
    utcp_on_deadline(f->u, f->now_ns);
}

static void step_application(struct fuzz *f)
{
    struct flow *flow = &f->flow[take(f, 1) % f->n_flows];
    uint8_t buf[4096];

    switch (take(f, 1) % 8) {
    case 0:
    case 1:
        (void)utcp_send(f->u, f->now_ns, flow->handle, &f->extent, take(f, 1), take(f, 2) % 7000);
        break;
    case 2:
        (void)utcp_send_copy(f->u, f->now_ns, flow->handle, bytes_sent, take(f, 2) % 2100);
        break;
    case 3:
        utcp_push(f->u, f->now_ns, flow->handle);
        break;
    case 4:
        (void)utcp_recv(f->u, f->now_ns, flow->handle, buf, take(f, 2) % sizeof buf);
        break;
    case 5:
        (void)utcp_shutdown(f->u, f->now_ns, flow->handle);
        break;
    case 6:
        utcp_release(f->u, f->now_ns, flow->handle);
        break;
    case 7:
        utcp_abort(f->u, f->now_ns, flow->handle);
        break;
    default:
        break;
    }
}

static void step_address(struct fuzz *f)
{
    if (utcp_address_remove(f->u, f->now_ns, &f->own) == UTCP_OK) {
        INVARIANT(utcp_address_add(f->u, f->now_ns, &f->own) == UTCP_OK);
        (void)utcp_listen(f->u, &f->own, SINK_PORT, NULL);
    }
}

static void step(struct fuzz *f)
{
    const uint32_t what = take(f, 1);

    if (what < 32)
        step_raw(f);
    else if (what < 160)
        step_segment(f);
    else if (what < 176)
        step_icmp(f);
    else if (what < 208)
        step_time(f);
    else if (what < 250)
        step_application(f);
    else if (what < 254)
        inject_arp_reply(f);
    else
        step_address(f);
}

/* ---- beginning and end ---------------------------------------------------------------------- */

static struct flow *flow_new(struct fuzz *f)
{
    struct flow *flow = &f->flow[f->n_flows++];

    flow->peer_port = (uint16_t)(1000 + f->n_flows);
    return flow;
}

static struct flow *open_flow(struct fuzz *f)
{
    struct flow *flow = flow_new(f);
    const struct utcp_connect req = {
        .local = f->own, .remote = f->peer, .remote_port = flow->peer_port};

    INVARIANT(utcp_connect(f->u, f->now_ns, &req, &flow->handle) == UTCP_OK);
    drain(f);
    return flow;
}

/* A connection that the peer has accepted; it holds the peer's SYN as sequence number 1000. */
static struct flow *established_flow(struct fuzz *f)
{
    struct flow *flow = open_flow(f);

    plain(f, flow, TCP_SYN | TCP_ACK, 1000, flow->own_seq, 0);
    return flow;
}

/* SYN-SENT, ESTABLISHED with data in flight, with unread and early data, FIN-WAIT-1, FIN-WAIT-2,
 * CLOSE-WAIT, LAST-ACK, TIME-WAIT, SYN-RECEIVED; and one that waits for nobody. */
static void prologue(struct fuzz *f)
{
    struct flow *flow;

    (void)open_flow(f); /* asks for the peer's MAC */
    inject_arp_reply(f);
    drain(f);
    flow = established_flow(f);
    (void)utcp_send(f->u, f->now_ns, flow->handle, &f->extent, 0, 7000);
    utcp_push(f->u, f->now_ns, flow->handle);
    drain(f);
    flow = established_flow(f);
    plain(f, flow, TCP_ACK, 1001, flow->own_seq, 100);
    plain(f, flow, TCP_ACK, 1301, flow->own_seq, 100);
    flow = established_flow(f);
    (void)utcp_shutdown(f->u, f->now_ns, flow->handle);
    drain(f);
    flow = established_flow(f);
    (void)utcp_shutdown(f->u, f->now_ns, flow->handle);
    drain(f);
    plain(f, flow, TCP_ACK, 1001, flow->own_seq + 1, 0);
    flow = established_flow(f);
    plain(f, flow, TCP_FIN | TCP_ACK, 1001, flow->own_seq, 0);
    flow = established_flow(f);
    plain(f, flow, TCP_FIN | TCP_ACK, 1001, flow->own_seq, 0);
    (void)utcp_shutdown(f->u, f->now_ns, flow->handle);
    drain(f);
    flow = established_flow(f);
    (void)utcp_shutdown(f->u, f->now_ns, flow->handle);
    drain(f);
    plain(f, flow, TCP_FIN | TCP_ACK, 1001, flow->own_seq + 1, 0);
    flow = flow_new(f);
    flow->own_port = SINK_PORT;
    plain(f, flow, TCP_SYN, 1000, 0, 0);
    flow = flow_new(f);
    flow->own_port = SINK_PORT;
}

static void start(struct fuzz *f, const uint8_t *data, size_t size)
{
    struct utcp_config config = {
        .mtu = 1500,
        .prefix4_len = 24,
        .rx_window_bytes = 8192,
        .tx_queue_bytes = 16384,
        .limits = {.connections = 16,
                   .time_wait = 4,
                   .addresses = 2,
                   .neighbours = 2,
                   .segments = 64,
                   .chunks = 48,
                   .copy_blocks = 16,
                   .rx_blocks = 24,
                   .listeners = 1},
    };
    int error = UTCP_OK;

    memset(f, 0, sizeof *f);
    memcpy(config.mac, own_mac, 6);
    INVARIANT(ip_addr_parse("192.0.2.0", &config.prefix4));
    INVARIANT(ip_addr_parse(OWN_IP, &f->own) && ip_addr_parse(PEER_IP, &f->peer));
    f->extent = (struct utcp_extent){.data = bytes_sent, .len = sizeof bytes_sent, .refs = 1};
    f->data = data;
    f->left = size;
    f->now_ns = NS_PER_S;
    f->u = utcp_create(&config, &error);
    INVARIANT(f->u != NULL);
    INVARIANT(utcp_address_add(f->u, f->now_ns, &f->own) == UTCP_OK);
    INVARIANT(utcp_listen(f->u, &f->own, SINK_PORT, NULL) == UTCP_OK);
    prologue(f);
    utcp_check(f->u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz f;

    start(&f, data, size);
    while (f.left > 0) {
        step(&f);
        utcp_check(f.u);
        drain(&f);
    }
    utcp_destroy(f.u);
    INVARIANT(f.extent.refs == 1);
    return 0;
}
