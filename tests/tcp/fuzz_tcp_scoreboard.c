/*
 * fuzz_tcp_scoreboard.c - SACK against a naive model that looks at every segment and every block.
 *
 * One connection has SEGMENTS segments in flight and more to send. The input is a list of ACKs:
 * how far it acknowledges, and up to four blocks anywhere near what is in flight, good or absurd.
 * After each of them the stack's marks must be those of the model; no time passes, so nothing is
 * taken back.
 */
#include "tcp/utcp_internal.h"

#define SEGMENTS 40u
#define MSS      100u
#define PEER_ISS 1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model {
    uint32_t una, nxt, iss; /* sequence numbers */
    bool sacked[4096];      /* by (sequence number - iss - 1) / MSS */
};

static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 2};
static uint8_t payload[SEGMENTS * MSS * 4];

/* ---- the connection ------------------------------------------------------------------------- */

static void drain(struct utcp *u)
{
    uint8_t head[UTCP_HEAD_MAX];
    struct utcp_frame frame = {.head = head};

    while (utcp_output(u, 1, &frame))
        ;
}

static void segment_in(struct utcp *u, const struct utcp_conn *c, uint8_t flags, uint32_t ack,
                       const uint8_t *options, uint8_t options_len)
{
    uint8_t tcp[TCP_LEN_MAX];
    const struct utcp_tcp_header header = {.src_port = 25,
                                           .dst_port = c->local_port,
                                           .seq = (flags & TCP_SYN) != 0 ? PEER_ISS : PEER_ISS + 1,
                                           .ack = ack,
                                           .window = 65535,
                                           .flags = flags,
                                           .options_len = options_len};
    const struct utcp_ip ip = {.src = c->remote,
                               .dst = c->local,
                               .data = tcp,
                               .len = TCP_LEN + options_len,
                               .address = utcp_address_find_bytes(u, 4, c->local),
                               .family = 4,
                               .proto = IP_PROTO_TCP};

    utcp_tcp_put(tcp, &header);
    memcpy(tcp + TCP_LEN, options, options_len);
    utcp_tcp_input(u, 1, &ip, mac, true);
}

static struct utcp *connected(struct utcp_conn **ret_conn, struct utcp_extent *extent)
{
    struct utcp_config config = {.mtu = 1500,
                                 .prefix4_len = 24,
                                 .no_pacing = true,
                                 .no_ecn = true,
                                 .limits = {.connections = 1,
                                            .segments = 512,
                                            .time_wait = 1,
                                            .addresses = 1,
                                            .neighbours = 1,
                                            .listeners = 1,
                                            .reassemblies = 1,
                                            .paths = 1}};
    const struct utcp_options options = {.mss = MSS, .sack_permitted = true};
    struct utcp_arp arp = {.op = ARP_REPLY, .sender_ip = {192, 0, 2, 1}};
    struct utcp_connect req = {.remote_port = 25};
    uint8_t bytes[60];
    struct utcp *u;
    uint32_t conn;
    int error;

    (void)ip_addr_parse("192.0.2.0", &config.prefix4);
    (void)ip_addr_parse("192.0.2.2", &req.local);
    (void)ip_addr_parse("192.0.2.1", &req.remote);
    u = utcp_create(&config, &error);
    INVARIANT(u != NULL && utcp_address_add(u, 1, &req.local) == UTCP_OK);
    INVARIANT(utcp_connect(u, 1, &req, &conn) == UTCP_OK);
    drain(u);
    memcpy(arp.sender_mac, mac, 6);
    memcpy(arp.target_ip, req.local.bytes, 4);
    INVARIANT(utcp_arp_put(bytes, mac, mac, &arp) == ETH_LEN + ARP_LEN);
    utcp_arp_input(u, 1, bytes + ETH_LEN, ARP_LEN);
    drain(u);
    *ret_conn = utcp_conn_find(u, conn);
    segment_in(u, *ret_conn, TCP_SYN | TCP_ACK, (*ret_conn)->snd_nxt, bytes,
               (uint8_t)utcp_options_put_syn(bytes, &options));
    (*ret_conn)->cwnd = SEGMENTS * MSS;
    INVARIANT(utcp_send(u, 1, conn, extent, 0, sizeof payload) == UTCP_OK);
    drain(u);
    return u;
}

/* ---- the model ------------------------------------------------------------------------------ */

static uint32_t index_of(const struct model *m, uint32_t seq)
{
    return (seq - m->iss - 1) / MSS;
}

static bool model_is_dsack(const struct utcp_options *o, uint32_t ack)
{
    const struct utcp_sack_block *b = o->sack;

    if (o->n_sack == 0 || seq_geq(b[0].start, b[0].end))
        return false;
    return seq_leq(b[0].end, ack) ||
           (o->n_sack > 1 && seq_geq(b[0].start, b[1].start) && seq_leq(b[0].end, b[1].end));
}

static void model_ack(struct model *m, uint32_t ack, const struct utcp_options *o)
{
    if (seq_gt(ack, m->una))
        m->una = ack;
    for (uint32_t i = model_is_dsack(o, ack) ? 1 : 0; i < o->n_sack; i++) {
        const struct utcp_sack_block b = o->sack[i];

        if (seq_geq(b.start, b.end) || seq_lt(b.start, m->una) || seq_gt(b.end, m->nxt))
            continue;
        for (uint32_t seq = m->una; seq_lt(seq, m->nxt);) {
            const uint32_t first = m->iss + 1 + index_of(m, seq) * MSS;
            const uint32_t end = first + MSS;

            if (seq_geq(seq, b.start) && seq_leq(end, b.end))
                m->sacked[index_of(m, seq)] = true;
            seq = end;
        }
    }
}

static void compare(const struct utcp *u, const struct utcp_conn *c, const struct model *m)
{
    uint32_t sacked_bytes = 0;

    INVARIANT(c->snd_una == m->una);
    for (uint32_t id = c->seg_head; id != 0; id = seg_at(u, id)->next) {
        const struct utcp_seg *seg = seg_at(u, id);
        const bool sacked = (seg->flags & SEG_SACKED) != 0;

        if (seq_lt(seg->seq, m->nxt))
            INVARIANT(sacked == m->sacked[index_of(m, seg->seq)]);
        else
            INVARIANT(!sacked);
        sacked_bytes += sacked ? seg->len : 0;
    }
    INVARIANT(sacked_bytes == c->sacked_bytes);
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* A number near what is in flight, mostly at the edge of a segment. */
static uint32_t near(const struct model *m, uint8_t a, uint8_t b)
{
    uint32_t seq = m->una + (uint32_t)((int32_t)(a % 64) - 8) * MSS;

    seq -= (m->una - m->iss - 1) % MSS;
    if (b % 8 == 0)
        seq += b;
    return b == 255 ? seq ^ 0x80000000u : seq;
}

static size_t step(struct utcp *u, struct utcp_conn *c, struct model *m, const uint8_t *p,
                   size_t left)
{
    const uint32_t n = p[0] % 5;
    const size_t used = 3 + 4 * n;
    struct utcp_options o = {.n_sack = (uint8_t)n};
    uint8_t bytes[40];
    uint32_t ack;

    if (left < used)
        return left;
    m->nxt = c->snd_nxt;
    ack = p[1] % 4 == 0 ? near(m, p[1] / 4, p[2]) : m->una;
    if (seq_gt(ack, m->nxt) || seq_lt(ack, m->una))
        ack = m->una;
    for (uint32_t i = 0; i < n; i++) {
        o.sack[i].start = near(m, p[3 + 4 * i], p[4 + 4 * i]);
        o.sack[i].end = near(m, p[5 + 4 * i], p[6 + 4 * i]);
    }
    model_ack(m, ack, &o);
    segment_in(u, c, TCP_ACK, ack, bytes,
               n == 0 ? 0 : (uint8_t)utcp_options_put_sack(bytes, o.sack, n));
    if ((c->flags & CF_USED) == 0 || conn_is_over(c))
        return left;
    compare(u, c, m);
    drain(u);
    utcp_check(u);
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model m;
    struct utcp_extent extent = {.data = payload, .len = sizeof payload, .refs = 1};
    struct utcp_conn *c;
    struct utcp *u = connected(&c, &extent);

    memset(&m, 0, sizeof m);
    m.iss = c->iss;
    m.una = c->snd_una;
    for (size_t at = 0; at + 3 <= size;)
        at += step(u, c, &m, data + at, size - at);
    utcp_destroy(u);
    INVARIANT(extent.refs == 1);
    return 0;
}
