/* test_tcp_ip.c - IPv6: detection, discovery, extension headers, ICMPv6; fragments of both. */
#include "tests/tcp/wire.h"

static struct wire wire;
static struct wire *const w = &wire;

#define GROUP  "ff02::1:ff00:10" /* solicited-node of WIRE_OWN6 */
#define ALL    "ff02::1"
#define NS     135u
#define NA     136u
#define ND_LEN 24u

static void open6(void)
{
    wire_family = 6;
    wire_open(w, NULL);
}

/* A stack with IPv6 and no address. */
static void open_bare(void)
{
    const struct utcp_config config = wire_config();
    int error;

    memset(w, 0, sizeof *w);
    wire_family = 6;
    w->own = wire_addr(WIRE_OWN6);
    w->peer = wire_addr(WIRE_PEER6);
    memcpy(w->own_mac, config.mac, 6);
    memcpy(w->peer_mac, (const uint8_t[6]){0x02, 0, 0, 0, 0, 2}, 6);
    w->peer_port = WIRE_PORT;
    w->start_ns = w->now_ns = 5000 * NS_PER_S;
    w->u = utcp_create(&config, &error);
    ck_assert_ptr_nonnull(w->u);
    ck_assert_int_eq(utcp_address_add(w->u, w->now_ns, &w->own), UTCP_OK);
}

static void close_bare(void)
{
    utcp_check(w->u);
    utcp_destroy(w->u);
}

/* A neighbour discovery message of the peer; option 0: without its MAC. */
static uint32_t put_nd(uint8_t *p, uint8_t type, uint8_t flags, const char *target, uint8_t option)
{
    memset(p, 0, 32);
    p[0] = type;
    p[4] = flags;
    memcpy(p + 8, wire_addr(target).bytes, 16);
    if (option == 0)
        return ND_LEN;
    p[24] = option;
    p[25] = 1;
    memcpy(p + 26, (const uint8_t[6]){0x02, 0, 0, 0, 0, 2}, 6);
    return ND_LEN + 8;
}

static void nd_in(uint8_t type, uint8_t flags, const char *src, const char *dst, const char *target,
                  uint8_t option)
{
    uint8_t p[32];
    const uint32_t len = put_nd(p, type, flags, target, option);

    wire_icmp6_in(w, src, dst, 255, p, len);
}

/* The frame in w->bytes is this ND message, with hop limit 255 and a right checksum. */
static void nd_is(uint8_t type, uint8_t flags, const char *src, const char *dst, const char *target)
{
    const uint8_t *ip = w->bytes + ETH_LEN, *icmp = ip + IPV6_LEN;
    const uint32_t len = be16_get(ip + 4);
    bool odd = false;

    ck_assert_uint_eq(be16_get(w->bytes + 12), ETH_TYPE_IPV6);
    ck_assert_uint_eq(ip[6], IP_PROTO_ICMP6);
    ck_assert_uint_eq(ip[7], 255);
    ck_assert_mem_eq(ip + 8, wire_addr(src).bytes, 16);
    ck_assert_mem_eq(ip + 24, wire_addr(dst).bytes, 16);
    ck_assert_uint_eq(icmp[0], type);
    ck_assert_uint_eq(icmp[4], flags);
    ck_assert_mem_eq(icmp + 8, wire_addr(target).bytes, 16);
    ck_assert_uint_eq(
        utcp_sum_fold(utcp_sum_add(utcp_sum_pseudo(6, ip + 8, ip + 24, IP_PROTO_ICMP6, len), icmp,
                                   len, &odd)),
        0xffff);
}

static void nd_out(uint8_t type, uint8_t flags, const char *src, const char *dst,
                   const char *target)
{
    ck_assert_msg(wire_frame_out(w), "a frame wanted");
    nd_is(type, flags, src, dst, target);
}

static void report_out(void)
{
    const uint8_t *ip = w->bytes + ETH_LEN, *icmp = ip + IPV6_LEN + 8;
    bool odd = false;

    ck_assert(wire_frame_out(w));
    ck_assert_uint_eq(ip[6], 0); /* router alert */
    ck_assert_uint_eq(ip[7], 1);
    ck_assert_mem_eq(ip + 24, wire_addr("ff02::16").bytes, 16);
    ck_assert_uint_eq(icmp[0], 143);
    ck_assert_mem_eq(icmp + 12, wire_addr(GROUP).bytes, 16);
    ck_assert_uint_eq(utcp_sum_fold(utcp_sum_add(
                          utcp_sum_pseudo(6, ip + 8, ip + 24, IP_PROTO_ICMP6, 28), icmp, 28, &odd)),
                      0xffff);
}

/* ---- duplicate address detection ------------------------------------------------------------ */

START_TEST(a_new_address_is_probed_for_a_second_then_announced_twice)
{
    open_bare();
    report_out();
    nd_out(NS, 0, "::", GROUP, WIRE_OWN6);
    ck_assert_mem_eq(w->bytes, ((const uint8_t[6]){0x33, 0x33, 0xff, 0, 0, 0x10}), 6);
    ck_assert_uint_eq(be16_get(w->bytes + ETH_LEN + 4), ND_LEN); /* no option: RFC 4861 4.3 */
    ck_assert_int_eq(utcp_address_state(w->u, &w->own), UTCP_ADDRESS_TENTATIVE);
    wire_at(w, 999);
    wire_quiet(w);
    wire_at(w, 1000);
    nd_out(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6);
    ck_assert_int_eq(utcp_address_state(w->u, &w->own), UTCP_ADDRESS_USABLE);
    wire_at(w, 3000);
    nd_out(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6);
    wire_at(w, 100000);
    wire_quiet(w);
    close_bare();
}
END_TEST

START_TEST(a_connect_from_a_tentative_address_waits_for_its_end)
{
    const struct utcp_connect req = {
        .local = wire_addr(WIRE_OWN6), .remote = wire_addr(WIRE_PEER6), .remote_port = 25};

    open_bare();
    report_out();
    nd_out(NS, 0, "::", GROUP, WIRE_OWN6);
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_OK);
    wire_quiet(w);
    wire_at(w, 1000);
    nd_out(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6);
    nd_out(NS, 0, WIRE_OWN6, "ff02::1:ff00:1", WIRE_PEER6);
    wire_answer(w);
    wire_out(w, "S 0");
    close_bare();
}
END_TEST

/* 0: the owner defends it; 1: another host probes for it at the same time. */
START_TEST(a_duplicate_address_is_given_up_with_its_connections)
{
    const struct utcp_connect req = {
        .local = wire_addr(WIRE_OWN6), .remote = wire_addr(WIRE_PEER6), .remote_port = 25};
    uint32_t conn;

    open_bare();
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_OK);
    report_out();
    nd_out(NS, 0, "::", GROUP, WIRE_OWN6);
    if (_i == 0)
        nd_in(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6, 2);
    else
        nd_in(NS, 0, "::", GROUP, WIRE_OWN6, 0);
    ck_assert_int_eq(utcp_address_state(w->u, &w->own), UTCP_ADDRESS_DUPLICATE);
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_LOCAL);
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &conn), UTCP_E_ADDRESS);
    wire_at(w, 20000);
    nd_in(NS, 0, WIRE_PEER6, GROUP, WIRE_OWN6, 1);
    nd_in(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6, 2); /* nothing is defended */
    wire_quiet(w);
    ck_assert_int_eq(utcp_address_remove(w->u, w->now_ns, &w->own), UTCP_OK);
    ck_assert_int_eq(utcp_address_add(w->u, w->now_ns, &w->own), UTCP_OK);
    report_out();
    close_bare();
}
END_TEST

START_TEST(a_tentative_address_receives_nothing)
{
    open_bare();
    report_out();
    nd_out(NS, 0, "::", GROUP, WIRE_OWN6);
    w->own_port = 99;
    wire_in(w, "S 0");
    nd_in(NS, 0, WIRE_PEER6, GROUP, WIRE_OWN6, 1); /* one who wants to talk to its owner */
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_ip_address), 1);
    close_bare();
}
END_TEST

/* ---- neighbour discovery --------------------------------------------------------------------- */

START_TEST(solicitations_for_our_addresses_are_answered)
{
    open6();
    nd_in(NS, 0, WIRE_PEER6, GROUP, WIRE_OWN6, 1);
    nd_out(NA, 0x60, WIRE_OWN6, WIRE_PEER6, WIRE_OWN6);
    ck_assert_mem_eq(w->bytes, w->peer_mac, 6);
    ck_assert_mem_eq(w->bytes + ETH_LEN + IPV6_LEN + ND_LEN + 2, w->own_mac, 6);
    nd_in(NS, 0, WIRE_PEER6, WIRE_OWN6, WIRE_OWN6, 0); /* a probe without option */
    nd_out(NA, 0x60, WIRE_OWN6, WIRE_PEER6, WIRE_OWN6);
    nd_in(NS, 0, "::", GROUP, WIRE_OWN6, 0); /* one who is about to take it */
    nd_out(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6);
    nd_in(NS, 0, WIRE_PEER6, GROUP, "2001:db8::77", 1);
    nd_in(NS, 0, "::", GROUP, WIRE_OWN6, 1); /* RFC 4861 7.1.1 forbids this option */
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_nd_unused), 2);
    ck_assert_uint_eq(wire_usage(w).neighbours, 0); /* strangers fill no table */
    wire_close(w);
}
END_TEST

START_TEST(discovery_from_beyond_the_link_or_malformed_is_dropped)
{
    uint8_t p[40];
    uint32_t len, dropped = 0;

    open6();
    len = put_nd(p, NS, 0, WIRE_OWN6, 1);
    wire_icmp6_in(w, WIRE_PEER6, GROUP, 254, p, len);
    dropped++;
    p[1] = 1;
    wire_icmp6_in(w, WIRE_PEER6, GROUP, 255, p, len);
    dropped++;
    len = put_nd(p, NS, 0, "ff02::1", 1);
    wire_icmp6_in(w, WIRE_PEER6, GROUP, 255, p, len);
    dropped++;
    len = put_nd(p, NS, 0, WIRE_OWN6, 1);
    p[25] = 0; /* an option without length never ends */
    wire_icmp6_in(w, WIRE_PEER6, GROUP, 255, p, len);
    dropped++;
    for (uint32_t cut = 4; cut < ND_LEN + 8; cut++) {
        (void)put_nd(p, NS, 0, WIRE_OWN6, 1);
        if (cut == ND_LEN)
            continue; /* whole, without option */
        wire_icmp6_in(w, WIRE_PEER6, GROUP, 255, p, cut);
        dropped++;
    }
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_nd_malformed), dropped);
    wire_close(w);
}
END_TEST

/* The peer's MAC after an advertisement: does the next segment go to the new one? */
static void advertised(uint8_t flags, bool followed)
{
    uint8_t p[32];
    const uint32_t len = put_nd(p, NA, flags, WIRE_PEER6, 2);
    const uint8_t moved[6] = {0x02, 0, 0, 0, 0, 9};

    open6();
    wire_establish(w);
    memcpy(p + 26, moved, 6);
    wire_icmp6_in(w, WIRE_PEER6, WIRE_OWN6, 255, p, len);
    wire_send(w, 10);
    while (wire_frame_out(w) && wire_asks(w))
        ; /* a stale entry is asked for again, and used meanwhile */
    ck_assert_mem_eq(w->bytes, followed ? moved : w->peer_mac, 6);
    wire_close(w);
}

/* RFC 4861 7.2.5. */
START_TEST(only_an_advertisement_with_override_changes_the_mac)
{
    advertised(0x60, true);
    advertised(0x20, true);
    advertised(0x40, false);
    advertised(0x00, false);
}
END_TEST

START_TEST(far_destinations_go_by_the_gateway_which_may_be_link_local)
{
    struct utcp_connect req = {
        .local = wire_addr(WIRE_OWN6), .remote = wire_addr("2001:db8:1::9"), .remote_port = 25};

    open6();
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_OK);
    nd_out(NS, 0, WIRE_OWN6, "ff02::1:ff00:1", "fe80::1");
    req.remote = wire_addr("192.0.2.9");
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_E_ROUTE);
    req.remote = wire_addr("::ffff:192.0.2.9");
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_E_ROUTE);
    req.remote = wire_addr("ff02::1");
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_E_ROUTE);
    req.remote = wire_addr("::1");
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_E_ROUTE);
    wire_close(w);
}
END_TEST

START_TEST(an_mld_query_is_answered_within_a_second_and_once)
{
    uint8_t query[28] = {130};

    open6();
    wire_icmp6_in(w, "fe80::1", ALL, 1, query, sizeof query);
    wire_icmp6_in(w, "fe80::1", ALL, 1, query, sizeof query);
    wire_icmp6_in(w, "fe80::1", ALL, 255, query, sizeof query); /* not one of a router's */
    wire_at(w, 1000);
    report_out();
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_mld_queries_in), 1);
    wire_close(w);
}
END_TEST

START_TEST(an_ipv6_address_in_use_is_defended_once_in_ten_seconds)
{
    open6();
    nd_in(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6, 2);
    nd_out(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6);
    nd_in(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6, 2);
    wire_quiet(w);
    wire_at(w, 10000);
    nd_in(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6, 2);
    nd_out(NA, 0x20, WIRE_OWN6, ALL, WIRE_OWN6);
    ck_assert_int_eq(utcp_address_state(w->u, &w->own), UTCP_ADDRESS_USABLE);
    wire_close(w);
}
END_TEST

/* ---- extension headers ------------------------------------------------------------------------
 */

struct chain_case {
    const char *name;
    uint8_t first;
    uint8_t bytes[24];
    uint32_t len;
    enum utcp_ip_verdict verdict;
};

#define PADN6 1, 4, 0, 0, 0, 0
static const struct chain_case chains[] = {
    {"none", 6, {0}, 0, UTCP_IP_OK},
    {"hop-by-hop first", 0, {6, 0, PADN6}, 8, UTCP_IP_OK},
    {"hop-by-hop later", 60, {0, 0, PADN6, 6, 0, PADN6}, 16, UTCP_IP_EXTENSION},
    {"destination options", 60, {6, 0, PADN6}, 8, UTCP_IP_OK},
    {"two of them", 60, {60, 0, PADN6, 6, 0, PADN6}, 16, UTCP_IP_OK},
    {"pad1 only", 60, {6, 0, 0, 0, 0, 0, 0, 0}, 8, UTCP_IP_OK},
    {"an unknown option to skip", 60, {6, 0, 0x1e, 4, 1, 2, 3, 4}, 8, UTCP_IP_OK},
    {"an unknown option to refuse", 60, {6, 0, 0x5e, 4, 1, 2, 3, 4}, 8, UTCP_IP_EXTENSION},
    {"an option beyond the end", 60, {6, 0, 0x1e, 5, 1, 2, 3, 4}, 8, UTCP_IP_EXTENSION},
    {"routing, done", 43, {6, 0, 0, 0, 0, 0, 0, 0}, 8, UTCP_IP_OK},
    {"routing, segments left", 43, {6, 0, 0, 1, 0, 0, 0, 0}, 8, UTCP_IP_EXTENSION},
    {"atomic fragment", 44, {6, 0, 0, 0, 0, 0, 0, 7}, 8, UTCP_IP_OK},
    {"header longer than the packet", 60, {6, 200, PADN6}, 8, UTCP_IP_MALFORMED},
};

START_TEST(extension_headers_table)
{
    const struct chain_case *t = &chains[_i];
    uint8_t p[IPV6_LEN + 24 + TCP_LEN] = {0};
    const uint32_t len = IPV6_LEN + t->len + TCP_LEN;
    struct utcp_ip ip;

    wire_ip_put(p, 6, wire_addr(WIRE_PEER6).bytes, wire_addr(WIRE_OWN6).bytes, t->first,
                t->len + TCP_LEN);
    memcpy(p + IPV6_LEN, t->bytes, t->len);
    ck_assert_msg(utcp_ipv6_parse(p, len, &ip) == t->verdict, "%s", t->name);
    if (t->verdict == UTCP_IP_OK) {
        ck_assert_uint_eq(ip.proto, IP_PROTO_TCP);
        ck_assert_uint_eq(ip.len, TCP_LEN);
        ck_assert(!ip.is_fragment);
    }
    for (uint32_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut + 1);

        ck_assert_ptr_nonnull(copy);
        memcpy(copy, p, cut);
        ck_assert_msg(utcp_ipv6_parse(copy, cut, &ip) != UTCP_IP_OK, "%s cut at %u", t->name, cut);
        free(copy);
    }
}
END_TEST

START_TEST(more_than_eight_extension_headers_are_refused)
{
    uint8_t p[IPV6_LEN + 9 * 8 + TCP_LEN] = {0};
    struct utcp_ip ip;

    for (uint32_t n = 7; n <= 9; n++) {
        wire_ip_put(p, 6, wire_addr(WIRE_PEER6).bytes, wire_addr(WIRE_OWN6).bytes, 60,
                    n * 8 + TCP_LEN);
        for (uint32_t i = 0; i < n; i++)
            memcpy(p + IPV6_LEN + 8 * i,
                   (const uint8_t[8]){i + 1 == n ? IP_PROTO_TCP : 60, 0, PADN6}, 8);
        ck_assert_int_eq(utcp_ipv6_parse(p, IPV6_LEN + n * 8 + TCP_LEN, &ip),
                         n < 8 ? UTCP_IP_OK : UTCP_IP_EXTENSION);
    }
}
END_TEST

START_TEST(a_segment_behind_extension_headers_is_taken)
{
    static const uint8_t options[8] = {IP_PROTO_TCP, 0, PADN6};
    uint8_t frame[128];
    const struct utcp_tcp_header header = {
        .src_port = WIRE_PORT, .dst_port = 9, .seq = 5, .flags = TCP_SYN};
    uint8_t *tcp = frame + ETH_LEN + IPV6_LEN + sizeof options;

    open6();
    utcp_eth_put(frame, w->own_mac, w->peer_mac, ETH_TYPE_IPV6);
    wire_ip_put(frame + ETH_LEN, 6, w->peer.bytes, w->own.bytes, 60, sizeof options + TCP_LEN);
    memcpy(frame + ETH_LEN + IPV6_LEN, options, sizeof options);
    utcp_tcp_put(tcp, &header);
    utcp_input(w->u, w->now_ns, frame, ETH_LEN + IPV6_LEN + sizeof options + TCP_LEN,
               UTCP_RX_L4_CSUM_GOOD);
    ck_assert(wire_frame_out(w));
    ck_assert_uint_eq(wire_tcp(w)[13], TCP_RST | TCP_ACK);
    wire_close(w);
}
END_TEST

/* ---- ICMPv6 -----------------------------------------------------------------------------------
 */

START_TEST(an_icmp6_echo_request_is_answered_with_its_bytes)
{
    uint8_t icmp[8 + 21] = {ICMP6_ECHO, 0, 0, 0, 1, 2, 3, 4, 'h', 'i'};
    const uint8_t *ip = w->bytes + ETH_LEN;
    bool odd = false;

    open6();
    wire_icmp6_in(w, WIRE_PEER6, WIRE_OWN6, 64, icmp, sizeof icmp);
    ck_assert(wire_frame_out(w));
    ck_assert_uint_eq(ip[IPV6_LEN], ICMP6_ECHO_REPLY);
    ck_assert_mem_eq(ip + IPV6_LEN + 4, icmp + 4, sizeof icmp - 4);
    ck_assert_uint_eq(
        utcp_sum_fold(utcp_sum_add(utcp_sum_pseudo(6, ip + 8, ip + 24, IP_PROTO_ICMP6, sizeof icmp),
                                   ip + IPV6_LEN, sizeof icmp, &odd)),
        0xffff);
    wire_icmp6_in(w, WIRE_PEER6, ALL, 64, icmp, sizeof icmp); /* to a group: no answer */
    wire_icmp6_in(w, "ff02::5", WIRE_OWN6, 64, icmp, sizeof icmp);
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(packet_too_big_cuts_what_is_in_flight_but_never_below_1280)
{
    open6();
    wire_establish(w);
    wire_send(w, 1460);
    wire_out(w, "P. 1+1460");
    wire_icmp_in(w, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, 1400, 1);
    wire_out(w, ". 1+1340");
    wire_out(w, "P. 1341+120");
    wire_icmp_in(w, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, 600, 1);
    ck_assert_uint_eq(wire_info(w).mss_bytes, 1280 - 60);
    wire_icmp_in(w, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, 1300, 5000); /* not in flight */
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_icmp_sequence), 1);
    wire_close(w);
}
END_TEST

START_TEST(icmp6_unreachable_ends_a_connect)
{
    open6();
    wire_connect(w);
    wire_out(w, "S 0");
    wire_icmp_in(w, ICMP_UNREACHABLE, 1, 0, 0);
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_UNREACHABLE);
    wire_close(w);
}
END_TEST

/* ---- fragments --------------------------------------------------------------------------------
 */

/* A TCP SYN with data, 64 bytes, for a port where nobody listens: whole, it is answered by RST. */
static uint8_t whole[64];

static void fragment_start(uint8_t family)
{
    const struct utcp_tcp_header header = {
        .src_port = WIRE_PORT, .dst_port = 9, .seq = 5, .flags = TCP_SYN};
    bool odd = false;

    wire_family = family;
    wire_open(w, NULL);
    memset(whole, 'x', sizeof whole);
    utcp_tcp_put(whole, &header);
    be16_put(whole + TCP_CHECKSUM_AT,
             (uint16_t)~utcp_sum_fold(utcp_sum_add(
                 utcp_sum_pseudo(family, w->peer.bytes, w->own.bytes, IP_PROTO_TCP, sizeof whole),
                 whole, sizeof whole, &odd)));
}

static void fragment_bytes_in(uint32_t id, uint32_t from, const uint8_t *bytes, uint32_t len,
                              bool more)
{
    uint8_t frame[ETH_LEN + IPV6_LEN + 8 + 1600] = {0};
    uint8_t *ip = frame + ETH_LEN;
    const uint32_t extra = w->own.family == 6 ? 8 : 0;
    uint8_t *data = ip + ip_header_len(w->own.family) + extra;

    utcp_eth_put(frame, w->own_mac, w->peer_mac, ip_eth_type(w->own.family));
    wire_ip_put(ip, w->own.family, w->peer.bytes, w->own.bytes, extra > 0 ? 44 : IP_PROTO_TCP,
                len + extra);
    if (extra > 0) {
        ip[IPV6_LEN] = IP_PROTO_TCP;
        be16_put(ip + IPV6_LEN + 2, (uint16_t)(from | (more ? 1u : 0u)));
        be32_put(ip + IPV6_LEN + 4, id);
    } else {
        be16_put(ip + 4, (uint16_t)id);
        be16_put(ip + 6, (uint16_t)(from / 8 | (more ? 0x2000u : 0u)));
        be16_put(ip + 10, 0);
        be16_put(ip + 10, utcp_checksum(ip, IPV4_LEN));
    }
    memcpy(data, bytes, len);
    wire_frame_in(w, frame, (uint32_t)(data - frame) + len);
}

static void fragment_in(uint32_t id, uint32_t from, uint32_t to)
{
    fragment_bytes_in(id, from, whole + from, to - from, to < sizeof whole);
}

static void answered(bool yes)
{
    ck_assert(wire_frame_out(w) == yes);
    if (yes)
        ck_assert_uint_eq(wire_tcp(w)[13], TCP_RST | TCP_ACK);
}

static uint8_t family_of(int i)
{
    return i == 0 ? 4 : 6;
}

START_TEST(fragments_in_any_order_and_doubled_make_a_datagram)
{
    static const uint8_t order[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                       {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const uint32_t edge[] = {0, 24, 40, 64};

    fragment_start(family_of(_i));
    for (uint32_t i = 0; i < 6; i++) {
        for (uint32_t k = 0; k < 3; k++) {
            const uint8_t n = order[i][k];

            answered(false);
            fragment_in(i, edge[n], edge[n + 1]);
            if (k < 2)
                fragment_in(i, edge[n], edge[n + 1]);
        }
        answered(true);
    }
    ck_assert_uint_eq(wire_count(w, UTCP_N_ip_reassembled), 6);
    ck_assert_uint_eq(wire_usage(w).reassemblies, 0);
    wire_close(w);
}
END_TEST

START_TEST(overlapping_fragments_spoil_the_datagram)
{
    uint8_t other[32];

    fragment_start(family_of(_i));
    memset(other, 'y', sizeof other);
    fragment_in(1, 0, 32);
    fragment_bytes_in(1, 24, other, 16, true);
    fragment_in(1, 32, 64);
    answered(false);
    fragment_in(2, 0, 32);
    fragment_bytes_in(2, 0, other, 32, true); /* the same place, other bytes */
    fragment_in(2, 32, 64);
    answered(false);
    ck_assert_uint_eq(wire_count(w, UTCP_N_ip_reassembled), 0);
    wire_close(w);
}
END_TEST

START_TEST(fragments_with_impossible_shapes_are_dropped)
{
    static uint8_t many[1600];

    fragment_start(family_of(_i));
    fragment_bytes_in(1, 24, whole, 9, true); /* not a multiple of 8 */
    fragment_bytes_in(2, 9216, whole, 8, true);
    fragment_bytes_in(3, 24, whole, 0, true);
    fragment_bytes_in(4, 48, whole + 48, 16, false);
    fragment_bytes_in(4, 56, many, 16, true); /* behind the end */
    fragment_bytes_in(5, 48, whole + 48, 16, false);
    fragment_bytes_in(5, 40, many, 16, false); /* another end */
    fragment_bytes_in(6, 80, many, 8, true);
    fragment_in(6, 8, 64); /* an end in front of what came: the hole at 0 must not be overlooked */
    answered(false);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_ip_fragment), 6);
    wire_close(w);
}
END_TEST

START_TEST(a_datagram_that_stays_incomplete_is_forgotten_after_half_a_minute)
{
    fragment_start(family_of(_i));
    fragment_in(1, 0, 32);
    ck_assert_uint_eq(wire_usage(w).reassemblies, 1);
    wire_at(w, 29000);
    fragment_in(1, 32, 40);
    w->now_ns += 2 * NS_PER_S;
    fragment_in(1, 40, 64); /* begins another one */
    answered(false);
    wire_at(w, 200000);
    ck_assert_uint_eq(wire_usage(w).reassemblies, 0);
    ck_assert_uint_ge(wire_count(w, UTCP_N_ip_reassembly_timeouts), 1);
    wire_close(w);
}
END_TEST

START_TEST(a_flood_of_fragments_costs_the_oldest_datagrams_and_no_memory)
{
    fragment_start(family_of(_i));
    for (uint32_t id = 1; id <= 17; id++)
        fragment_in(id, 0, 32);
    ck_assert_uint_eq(wire_usage(w).reassemblies, 16);
    ck_assert_uint_eq(wire_count(w, UTCP_N_limit_reassemblies), 1);
    fragment_in(17, 32, 64);
    answered(true);
    fragment_in(1, 32, 64); /* the first one was dropped */
    answered(false);
    wire_close(w);
}
END_TEST

START_TEST(a_reassembled_segment_with_a_wrong_checksum_is_dropped)
{
    fragment_start(family_of(_i));
    whole[50] ^= 1;
    fragment_in(1, 0, 32);
    fragment_in(1, 32, 64);
    answered(false);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_tcp_checksum), 1);
    wire_close(w);
}
END_TEST

/* RFC 7112. */
START_TEST(a_first_fragment_without_the_whole_header_chain_is_dropped)
{
    fragment_start(6);
    fragment_in(1, 0, 16); /* less than a TCP header */
    fragment_in(1, 16, 64);
    answered(false);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_ip_malformed), 1);
    wire_close(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tcp ip");
    TCase *tcase = tcase_create("ip");

    tcase_add_test(tcase, a_new_address_is_probed_for_a_second_then_announced_twice);
    tcase_add_test(tcase, a_connect_from_a_tentative_address_waits_for_its_end);
    tcase_add_loop_test(tcase, a_duplicate_address_is_given_up_with_its_connections, 0, 2);
    tcase_add_test(tcase, a_tentative_address_receives_nothing);
    tcase_add_test(tcase, solicitations_for_our_addresses_are_answered);
    tcase_add_test(tcase, discovery_from_beyond_the_link_or_malformed_is_dropped);
    tcase_add_test(tcase, only_an_advertisement_with_override_changes_the_mac);
    tcase_add_test(tcase, far_destinations_go_by_the_gateway_which_may_be_link_local);
    tcase_add_test(tcase, an_mld_query_is_answered_within_a_second_and_once);
    tcase_add_test(tcase, an_ipv6_address_in_use_is_defended_once_in_ten_seconds);
    tcase_add_loop_test(tcase, extension_headers_table, 0, sizeof chains / sizeof chains[0]);
    tcase_add_test(tcase, more_than_eight_extension_headers_are_refused);
    tcase_add_test(tcase, a_segment_behind_extension_headers_is_taken);
    tcase_add_test(tcase, an_icmp6_echo_request_is_answered_with_its_bytes);
    tcase_add_test(tcase, packet_too_big_cuts_what_is_in_flight_but_never_below_1280);
    tcase_add_test(tcase, icmp6_unreachable_ends_a_connect);
    tcase_add_loop_test(tcase, fragments_in_any_order_and_doubled_make_a_datagram, 0, 2);
    tcase_add_loop_test(tcase, overlapping_fragments_spoil_the_datagram, 0, 2);
    tcase_add_loop_test(tcase, fragments_with_impossible_shapes_are_dropped, 0, 2);
    tcase_add_loop_test(tcase, a_datagram_that_stays_incomplete_is_forgotten_after_half_a_minute, 0,
                        2);
    tcase_add_loop_test(tcase, a_flood_of_fragments_costs_the_oldest_datagrams_and_no_memory, 0, 2);
    tcase_add_loop_test(tcase, a_reassembled_segment_with_a_wrong_checksum_is_dropped, 0, 2);
    tcase_add_test(tcase, a_first_fragment_without_the_whole_header_chain_is_dropped);
    suite_add_tcase(suite, tcase);
    return wire_run(suite);
}
