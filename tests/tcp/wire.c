/* wire.c - the scripted peer. */
#include "tests/tcp/wire.h"

#include <ctype.h>

#define PEER_ISS 5000000u

uint8_t wire_family = 4;

/* A segment as a text names it. */
struct wanted {
    uint32_t seq, len, ack, win;
    uint8_t flags;
    bool has_ack, has_win, has_options;
    bool mss, ws, sackok, ts, sack;
    uint32_t mss_value, ws_value, ts_value, ts_echo;
    uint32_t n_sack;
    struct utcp_sack_block blocks[4];
};

uint8_t wire_byte(uint32_t at)
{
    return (uint8_t)((at * 2654435761u) >> 11);
}

/* ---- the notation --------------------------------------------------------------------------- */

static const char *skip(const char *p)
{
    while (*p == ' ' || *p == ',')
        p++;
    return p;
}

static bool word(const char **p, const char *name)
{
    const size_t len = strlen(name);

    *p = skip(*p);
    if (strncmp(*p, name, len) != 0 || isalnum((unsigned char)(*p)[len]))
        return false;
    *p += len;
    return true;
}

static uint32_t number(const char **p)
{
    char *end;
    const unsigned long v = strtoul(skip(*p), &end, 10);

    ck_assert_msg(end != *p, "number wanted at '%s'", *p);
    *p = end;
    return (uint32_t)v;
}

static bool at_digit(const char **p)
{
    *p = skip(*p);
    return isdigit((unsigned char)**p) != 0;
}

static uint8_t parse_flags(const char **p)
{
    static const char letters[] = "FSRP.UEW";
    uint8_t flags = 0;

    for (; **p != '\0' && **p != ' '; (*p)++) {
        const char *at = strchr(letters, **p);

        ck_assert_msg(at != NULL || **p == '-', "no such flag: '%s'", *p);
        if (at != NULL)
            flags |= (uint8_t)(1u << (at - letters));
    }
    return flags;
}

static void parse_options(const char *p, struct wanted *s)
{
    s->has_options = true;
    while (*skip(p) != '>') {
        if (word(&p, "mss")) {
            s->mss = true;
            s->mss_value = number(&p);
        } else if (word(&p, "ws")) {
            s->ws = true;
            s->ws_value = number(&p);
        } else if (word(&p, "sackok")) {
            s->sackok = true;
        } else if (word(&p, "ts")) {
            s->ts = true;
            s->ts_value = at_digit(&p) ? number(&p) : UINT32_MAX;
            s->ts_echo = at_digit(&p) ? number(&p) : UINT32_MAX;
        } else if (word(&p, "sack")) {
            s->sack = true;
            while (at_digit(&p)) {
                s->blocks[s->n_sack].start = number(&p);
                s->blocks[s->n_sack++].end = number(&p);
            }
        } else {
            ck_abort_msg("no such option: '%s'", p);
        }
    }
}

static struct wanted parse(const char *text)
{
    struct wanted s = {0};
    const char *p = text;

    s.flags = parse_flags(&p);
    s.seq = number(&p);
    if (*p == '+') {
        p++;
        s.len = number(&p);
    }
    if (word(&p, "ack")) {
        s.has_ack = true;
        s.ack = number(&p);
    }
    if (word(&p, "win")) {
        s.has_win = true;
        s.win = number(&p);
    }
    p = skip(p);
    if (*p == '<')
        parse_options(p + 1, &s);
    else
        ck_assert_msg(*p == '\0', "what is '%s'?", p);
    return s;
}

/* ---- frames in ------------------------------------------------------------------------------ */

void wire_frame_in(struct wire *w, const uint8_t *frame, uint32_t len)
{
    /* A copy of exact size: reading beyond the end is found by AddressSanitizer. */
    uint8_t *copy = malloc(len == 0 ? 1 : len);

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, frame, len);
    utcp_input_burst(w->u, w->now_ns, &(struct utcp_rx){.data = copy, .len = len}, 1);
    free(copy);
    utcp_check(w->u);
}

void wire_ip_put(uint8_t *p, uint8_t family, const uint8_t *src, const uint8_t *dst, uint8_t proto,
                 uint32_t payload_len)
{
    const struct utcp_ip_header header = {
        .src = src, .dst = dst, .payload_len = payload_len, .family = family, .proto = proto};

    (void)utcp_ip_put(p, &header);
}

void wire_ip_in(struct wire *w, uint8_t proto, const uint8_t *payload, uint32_t len)
{
    uint8_t frame[ETH_LEN + IP_LEN_MAX + 2048];
    const uint32_t head_len = ETH_LEN + ip_header_len(w->own.family);

    const struct utcp_ip_header header = {.src = w->peer.bytes,
                                          .dst = w->own.bytes,
                                          .payload_len = len,
                                          .family = w->own.family,
                                          .proto = proto,
                                          .traffic_class = w->codepoint};

    ck_assert_uint_le(len, 2048);
    utcp_eth_put(frame, w->own_mac, w->peer_mac, ip_eth_type(w->own.family));
    (void)utcp_ip_put(frame + ETH_LEN, &header);
    memcpy(frame + head_len, payload, len);
    wire_frame_in(w, frame, head_len + len);
}

static void icmp6_checksum(const uint8_t *src, const uint8_t *dst, uint8_t *icmp, uint32_t len)
{
    const uint32_t sum = utcp_sum_pseudo(6, src, dst, IP_PROTO_ICMP6, len);
    bool odd = false;

    be16_put(icmp + 2, 0);
    be16_put(icmp + 2, (uint16_t)~utcp_sum_fold(utcp_sum_add(sum, icmp, len, &odd)));
}

void wire_icmp6_in(struct wire *w, const char *src, const char *dst, uint8_t hops, uint8_t *icmp,
                   uint32_t len)
{
    const struct ip_addr from = wire_addr(src), to = wire_addr(dst);
    uint8_t frame[ETH_LEN + IPV6_LEN + 2048];

    icmp6_checksum(from.bytes, to.bytes, icmp, len);
    utcp_eth_put(frame, w->own_mac, w->peer_mac, ETH_TYPE_IPV6);
    wire_ip_put(frame + ETH_LEN, 6, from.bytes, to.bytes, IP_PROTO_ICMP6, len);
    frame[ETH_LEN + 7] = hops;
    memcpy(frame + ETH_LEN + IPV6_LEN, icmp, len);
    wire_frame_in(w, frame, ETH_LEN + IPV6_LEN + len);
}

static uint32_t put_wanted_options(const struct wanted *s, uint8_t *p)
{
    const struct utcp_options options = {
        .mss = (uint16_t)s->mss_value,
        .has_wscale = s->ws,
        .wscale = (uint8_t)s->ws_value,
        .has_timestamps = s->ts,
        .ts_value = s->ts_value,
        .ts_echo = s->ts_echo,
        .sack_permitted = s->sackok,
    };
    uint32_t len = 0;

    if (s->mss)
        return utcp_options_put_syn(p, &options);
    if (s->ts)
        len = utcp_options_put_timestamps(p, s->ts_value, s->ts_echo);
    if (s->sack)
        len += utcp_options_put_sack(p + len, s->blocks, s->n_sack);
    return len;
}

void wire_in_line(struct wire *w, const char *text, int line)
{
    struct wanted s = parse(text);
    uint8_t tcp[TCP_LEN_MAX + 1500];
    struct utcp_tcp_header header = {
        .src_port = w->peer_port,
        .dst_port = w->own_port,
        .seq = w->peer_iss + s.seq,
        .ack = s.has_ack ? w->own_iss + s.ack : 0,
        .window = (uint16_t)s.win,
        .flags = s.flags,
    };
    uint32_t len, sum;
    bool odd = false;

    (void)line;
    if (!s.has_win)
        header.window = 60000;
    for (uint32_t i = 0; i < s.n_sack; i++) {
        s.blocks[i].start += w->own_iss;
        s.blocks[i].end += w->own_iss;
    }
    header.options_len = (uint8_t)put_wanted_options(&s, tcp + TCP_LEN);
    utcp_tcp_put(tcp, &header);
    len = TCP_LEN + header.options_len;
    for (uint32_t i = 0; i < s.len; i++)
        tcp[len + i] = wire_byte(s.seq - 1 + i);
    len += s.len;
    sum = utcp_sum_pseudo(w->own.family, w->peer.bytes, w->own.bytes, IP_PROTO_TCP, len);
    be16_put(tcp + TCP_CHECKSUM_AT, (uint16_t)~utcp_sum_fold(utcp_sum_add(sum, tcp, len, &odd)));
    wire_ip_in(w, IP_PROTO_TCP, tcp, len);
}

void wire_arp_in(struct wire *w, uint16_t op, const char *sender_ip, const char *target_ip)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct utcp_arp arp = {.op = op};
    uint8_t frame[ETH_LEN + ARP_LEN];

    memcpy(arp.sender_mac, w->peer_mac, 6);
    memcpy(arp.sender_ip, wire_addr(sender_ip).bytes, 4);
    memcpy(arp.target_ip, wire_addr(target_ip).bytes, 4);
    (void)utcp_arp_put(frame, op == ARP_REQUEST ? broadcast : w->own_mac, w->own_mac, &arp);
    wire_frame_in(w, frame, sizeof frame);
}

/* Neighbour advertisement: solicited, override. */
static void advertise_in(struct wire *w)
{
    uint8_t na[32] = {136, 0, 0, 0, 0x60};

    memcpy(na + 8, w->peer.bytes, 16);
    na[24] = 2;
    na[25] = 1;
    memcpy(na + 26, w->peer_mac, 6);
    wire_icmp6_in(w, WIRE_PEER6, WIRE_OWN6, 255, na, sizeof na);
}

bool wire_asks(const struct wire *w)
{
    if (w->own.family == 4)
        return be16_get(w->bytes + 12) == ETH_TYPE_ARP;
    return be16_get(w->bytes + 12) == ETH_TYPE_IPV6 && w->bytes[ETH_LEN + 6] == IP_PROTO_ICMP6 &&
           w->bytes[ETH_LEN + IPV6_LEN] == 135;
}

void wire_answer(struct wire *w)
{
    if (w->own.family == 4)
        wire_arp_in(w, ARP_REPLY, WIRE_PEER, WIRE_OWN);
    else
        advertise_in(w);
}

uint8_t wire_codepoint(const struct wire *w)
{
    const uint8_t *ip = w->bytes + ETH_LEN;

    return w->own.family == 6 ? (uint8_t)(be16_get(ip) >> 4) & 3u : ip[1] & 3u;
}

const uint8_t *wire_tcp(const struct wire *w)
{
    return w->bytes + ETH_LEN + ip_header_len(w->own.family);
}

/* IPv4 types and codes; for IPv6 what corresponds to them. */
void wire_icmp_in(struct wire *w, uint8_t type, uint8_t code, uint16_t mtu, uint32_t seq)
{
    const uint8_t family = w->own.family;
    const bool too_big = type == ICMP_UNREACHABLE && code == ICMP_CODE_FRAG_NEEDED;
    uint8_t icmp[ICMP_LEN + IP_LEN_MAX + 8] = {type, code};
    uint8_t *quoted = icmp + ICMP_LEN, *tcp = quoted + ip_header_len(family);
    const uint32_t len = ICMP_LEN + ip_header_len(family) + 8;

    be16_put(icmp + 6, mtu);
    wire_ip_put(quoted, family, w->own.bytes, w->peer.bytes, IP_PROTO_TCP, 20);
    be16_put(tcp, w->own_port);
    be16_put(tcp + 2, w->peer_port);
    be32_put(tcp + 4, w->own_iss + seq);
    if (family == 6) {
        icmp[0] = too_big ? ICMP6_TOO_BIG : ICMP6_UNREACHABLE;
        icmp[1] = 0;
        icmp6_checksum(w->peer.bytes, w->own.bytes, icmp, len);
    } else {
        be16_put(icmp + 2, utcp_checksum(icmp, len));
    }
    wire_ip_in(w, family == 6 ? IP_PROTO_ICMP6 : IP_PROTO_ICMP, icmp, len);
}

/* ---- frames out ----------------------------------------------------------------------------- */

bool wire_frame_out(struct wire *w)
{
    uint8_t head[UTCP_HEAD_MAX];
    struct utcp_frame frame = {.head = head};

    if (!utcp_output(w->u, w->now_ns, &frame))
        return false;
    memcpy(w->bytes, head, frame.head_len);
    w->bytes_len = frame.head_len;
    for (uint32_t i = 0; i < frame.n_slices; i++) {
        ck_assert_uint_le(w->bytes_len + frame.slices[i].len, sizeof w->bytes);
        memcpy(w->bytes + w->bytes_len, frame.slices[i].data, frame.slices[i].len);
        w->bytes_len += frame.slices[i].len;
    }
    ck_assert_uint_eq(w->bytes_len, frame.head_len + frame.payload_len);
    utcp_check(w->u);
    return true;
}

static void describe(const struct wire *w, char *text, size_t cap)
{
    static const char letters[] = "FSRP.UEW";
    char flags[9] = "";
    size_t n = 0;

    for (unsigned i = 0; i < 8; i++)
        if ((w->got.flags & 1u << i) != 0)
            flags[n++] = letters[i];
    flags[n] = '\0';
    (void)snprintf(text, cap, "%s %u+%u ack %u win %u", flags, w->got.seq - w->own_iss, w->got.len,
                   (w->got.flags & TCP_ACK) != 0 ? w->got.ack - w->peer_iss : 0, w->got.window);
}

static enum utcp_ip_verdict parse_ip(const struct wire *w, struct utcp_ip *ret_ip)
{
    if (w->own.family == 6)
        return utcp_ipv6_parse(w->bytes + ETH_LEN, w->bytes_len - ETH_LEN, ret_ip);
    return utcp_ipv4_parse(w->bytes + ETH_LEN, w->bytes_len - ETH_LEN, false, ret_ip);
}

/* Takes the next frame, which must be a sound TCP segment to the peer. */
static bool next_segment(struct wire *w)
{
    struct utcp_ip ip;
    bool odd = false;
    uint32_t sum;

    if (!wire_frame_out(w))
        return false;
    ck_assert_msg(be16_get(w->bytes + 12) == ip_eth_type(w->own.family),
                  "a TCP segment wanted, got type %04x", be16_get(w->bytes + 12));
    ck_assert_mem_eq(w->bytes, w->peer_mac, 6);
    ck_assert_mem_eq(w->bytes + 6, w->own_mac, 6);
    ck_assert_int_eq(parse_ip(w, &ip), UTCP_IP_OK);
    ck_assert_uint_eq(ip.len, w->bytes_len - ETH_LEN - ip_header_len(ip.family));
    ck_assert_uint_eq(ip.proto, IP_PROTO_TCP);
    ck_assert_mem_eq(ip.src, w->own.bytes, ip_addr_len(ip.family));
    ck_assert_mem_eq(ip.dst, w->peer.bytes, ip_addr_len(ip.family));
    sum = utcp_sum_pseudo(ip.family, ip.src, ip.dst, IP_PROTO_TCP, ip.len);
    ck_assert_uint_eq(utcp_sum_fold(utcp_sum_add(sum, ip.data, ip.len, &odd)), 0xffff);
    ck_assert(utcp_tcp_parse(ip.data, ip.len, &w->got));
    return true;
}

static void compare_options(const struct wire *w, const struct wanted *s, const char *text,
                            int line)
{
    const struct utcp_options *o = &w->got.options;

    ck_assert_msg(s->mss == (o->mss != 0) && (!s->mss || s->mss_value == o->mss),
                  "line %d '%s': mss %u", line, text, o->mss);
    ck_assert_msg(s->ws == o->has_wscale && (!s->ws || s->ws_value == o->wscale),
                  "line %d '%s': ws %u", line, text, o->wscale);
    ck_assert_msg(s->sackok == o->sack_permitted, "line %d '%s': sackok", line, text);
    ck_assert_msg(s->ts == o->has_timestamps &&
                      (!s->ts || s->ts_echo == UINT32_MAX || s->ts_echo == o->ts_echo),
                  "line %d '%s': ts %u %u", line, text, o->ts_value, o->ts_echo);
}

/* SACK blocks stand last in what the stack sends. */
static void compare_sack(const struct wire *w, const struct wanted *s, const char *text, int line)
{
    const uint8_t *end = w->got.data - 8 * s->n_sack;

    ck_assert_msg(end[-2] == 5 && end[-1] == 2 + 8 * s->n_sack, "line %d '%s': no such SACK", line,
                  text);
    for (uint32_t i = 0; i < s->n_sack; i++)
        ck_assert_msg(be32_get(end + 8 * i) - w->peer_iss == s->blocks[i].start &&
                          be32_get(end + 8 * i + 4) - w->peer_iss == s->blocks[i].end,
                      "line %d '%s': SACK block %u is %u %u", line, text, i,
                      be32_get(end + 8 * i) - w->peer_iss, be32_get(end + 8 * i + 4) - w->peer_iss);
}

void wire_out_line(struct wire *w, const char *text, int line)
{
    const struct wanted s = parse(text);
    char got[96];

    ck_assert_msg(next_segment(w), "line %d: nothing sent, '%s' wanted", line, text);
    if ((w->got.flags & TCP_SYN) != 0) {
        w->own_iss = w->got.seq;
        w->own_port = w->got.src_port;
    }
    describe(w, got, sizeof got);
    ck_assert_msg(w->got.flags == s.flags && w->got.seq - w->own_iss == s.seq &&
                      w->got.len == s.len && (!s.has_ack || w->got.ack - w->peer_iss == s.ack) &&
                      (!s.has_win || w->got.window == s.win),
                  "line %d: '%s' wanted, got '%s'", line, text, got);
    for (uint32_t i = 0; i < w->got.len; i++)
        ck_assert_msg(w->got.data[i] == wire_byte(s.seq - 1 + i), "line %d '%s': wrong byte %u",
                      line, text, i);
    if (s.has_options)
        compare_options(w, &s, text, line);
    if (s.sack)
        compare_sack(w, &s, text, line);
}

void wire_quiet_line(struct wire *w, int line)
{
    char got[96] = "a frame that is not TCP";

    if (!wire_frame_out(w))
        return;
    if (be16_get(w->bytes + 12) == ip_eth_type(w->own.family) && !wire_asks(w) &&
        utcp_tcp_parse(wire_tcp(w), (uint32_t)(w->bytes + w->bytes_len - wire_tcp(w)), &w->got))
        describe(w, got, sizeof got);
    ck_abort_msg("line %d: silence wanted, got '%s'", line, got);
}

void wire_arp_out(struct wire *w, uint16_t op, const char *sender_ip, const char *target_ip)
{
    struct utcp_arp arp;

    ck_assert_msg(wire_frame_out(w), "no frame, ARP wanted");
    ck_assert_uint_eq(be16_get(w->bytes + 12), ETH_TYPE_ARP);
    ck_assert(utcp_arp_parse(w->bytes + ETH_LEN, w->bytes_len - ETH_LEN, &arp));
    ck_assert_uint_eq(arp.op, op);
    ck_assert_mem_eq(arp.sender_mac, w->own_mac, 6);
    ck_assert_mem_eq(arp.sender_ip, wire_addr(sender_ip).bytes, 4);
    ck_assert_mem_eq(arp.target_ip, wire_addr(target_ip).bytes, 4);
}

/* ---- time and the application --------------------------------------------------------------- */

void wire_at(struct wire *w, uint64_t ms)
{
    const uint64_t to = w->start_ns + ms * NS_PER_MS;

    ck_assert_uint_ge(to, w->now_ns);
    while (utcp_deadline_ns(w->u) <= to) {
        const uint64_t deadline = utcp_deadline_ns(w->u);

        w->now_ns = deadline > w->now_ns ? deadline : w->now_ns;
        utcp_on_deadline(w->u, w->now_ns);
        utcp_check(w->u);
    }
    w->now_ns = to;
    utcp_on_deadline(w->u, w->now_ns);
}

uint64_t wire_deadline_ms(const struct wire *w)
{
    const uint64_t deadline = utcp_deadline_ns(w->u);

    return deadline == TIME_NEVER_NS ? UINT64_MAX : (deadline - w->start_ns) / NS_PER_MS;
}

int wire_try_send(struct wire *w, uint32_t n)
{
    const int error = utcp_send(w->u, w->now_ns, w->conn, &w->stream, w->sent, n);

    if (error == UTCP_OK) {
        w->sent += n;
        utcp_push(w->u, w->now_ns, w->conn);
    }
    utcp_check(w->u);
    return error;
}

void wire_send(struct wire *w, uint32_t n)
{
    ck_assert_int_eq(wire_try_send(w, n), UTCP_OK);
}

void wire_read(struct wire *w, uint32_t n)
{
    uint8_t *buf = malloc(n + 1);
    uint32_t got = 0, now;

    ck_assert_ptr_nonnull(buf);
    while (got < n && (now = utcp_recv(w->u, w->now_ns, w->conn, buf + got, n - got)) > 0)
        got += now;
    ck_assert_uint_eq(got, n);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_msg(buf[i] == wire_byte(w->read + i), "byte %u is wrong", w->read + i);
    w->read += n;
    free(buf);
    utcp_check(w->u);
}

enum utcp_close_reason wire_event_line(struct wire *w, uint32_t mask, int line)
{
    struct utcp_event event = {0};
    const bool any = utcp_next_event(w->u, &event);

    ck_assert_msg(any == (mask != 0), "line %d: events %u wanted, got %u", line, mask,
                  event.events);
    if ((event.events & UTCP_EV_ACCEPTED) != 0)
        w->conn = event.conn;
    ck_assert_msg(event.events == mask, "line %d: events %u wanted, got %u", line, mask,
                  event.events);
    if (any)
        ck_assert_uint_eq(event.conn, w->conn);
    return event.reason;
}

/* ---- beginning and end ---------------------------------------------------------------------- */

struct ip_addr wire_addr(const char *text)
{
    struct ip_addr addr;

    ck_assert(ip_addr_parse(text, &addr));
    return addr;
}

struct utcp_config wire_config(void)
{
    return (struct utcp_config){
        .mac = {0x02, 0, 0, 0, 0, 1},
        .mtu = wire_family == 6 ? 1520 : 1500,
        .prefix6 = wire_addr("2001:db8::"),
        .prefix6_len = 64,
        .gateway6 = wire_addr("fe80::1"),
        .prefix4 = wire_addr("192.0.2.0"),
        .prefix4_len = 24,
        .gateway4 = wire_addr("192.0.2.254"),
        .no_pacing = true,
        .no_ecn = true,
        .secret = "not a secret",
        .limits = {.connections = 32, .time_wait = 16, .addresses = 8, .neighbours = 8},
    };
}

/* IPv4: two announcements. IPv6: MLD report and DAD probe, then two announcements. */
static void skip_announcements(struct wire *w)
{
    if (w->own.family == 4) {
        wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_OWN);
        wire_at(w, 2000);
        wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_OWN);
    } else {
        ck_assert(wire_frame_out(w) && wire_frame_out(w));
        wire_at(w, 1000);
        ck_assert(wire_frame_out(w));
        wire_at(w, 3000);
        ck_assert(wire_frame_out(w));
    }
    wire_quiet(w);
}

void wire_open(struct wire *w, const struct utcp_config *config)
{
    const struct utcp_config usual = wire_config();
    uint8_t *bytes = malloc(WIRE_STREAM);
    int error = UTCP_OK;

    memset(w, 0, sizeof *w);
    if (config == NULL)
        config = &usual;
    ck_assert_ptr_nonnull(bytes);
    for (uint32_t i = 0; i < WIRE_STREAM; i++)
        bytes[i] = wire_byte(i);
    w->stream = (struct utcp_extent){.data = bytes, .len = WIRE_STREAM, .refs = 1};
    w->start_ns = w->now_ns = 5000 * NS_PER_S;
    w->own = wire_addr(wire_family == 6 ? WIRE_OWN6 : WIRE_OWN);
    w->peer = wire_addr(wire_family == 6 ? WIRE_PEER6 : WIRE_PEER);
    memcpy(w->own_mac, config->mac, 6);
    memcpy(w->peer_mac, (const uint8_t[6]){0x02, 0, 0, 0, 0, 2}, 6);
    w->peer_iss = PEER_ISS;
    w->peer_port = WIRE_PORT;
    w->u = utcp_create(config, &error);
    ck_assert_int_eq(error, UTCP_OK);
    ck_assert_ptr_nonnull(w->u);
    ck_assert_int_eq(utcp_address_add(w->u, w->now_ns, &w->own), UTCP_OK);
    skip_announcements(w);
    w->start_ns = w->now_ns;
}

void wire_close(struct wire *w)
{
    utcp_check(w->u);
    utcp_destroy(w->u);
    ck_assert_uint_eq(w->stream.refs, 1);
    free((void *)(uintptr_t)w->stream.data);
}

void wire_connect(struct wire *w)
{
    const struct utcp_connect req = {.local = w->own, .remote = w->peer, .remote_port = WIRE_PORT};

    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_OK);
    if (wire_usage(w).neighbours > 0 && wire_count(w, UTCP_N_active_opens) > 1)
        return; /* the MAC is known */
    ck_assert(wire_frame_out(w) && wire_asks(w));
    wire_answer(w);
}

void wire_establish(struct wire *w)
{
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
    wire_out(w, ". 1 ack 1");
    wire_quiet(w);
    (void)wire_event(w, UTCP_EV_CONNECTED);
}

void wire_accept(struct wire *w)
{
    ck_assert_int_eq(utcp_listen(w->u, &w->own, WIRE_PORT, NULL), UTCP_OK);
    w->own_port = WIRE_PORT;
    w->peer_port = 40000;
    wire_in(w, "S 0 win 65535 <mss 1460>");
    wire_out(w, "S. 0 ack 1");
    wire_in(w, ". 1 ack 1 win 65535");
    if (wire_frame_out(w)) { /* not if the MAC is known */
        ck_assert(wire_asks(w));
        wire_answer(w);
    }
    (void)wire_event(w, UTCP_EV_ACCEPTED);
    wire_quiet(w);
}

uint64_t wire_count(const struct wire *w, enum utcp_counter counter)
{
    return utcp_counters(w->u)[counter];
}

struct utcp_info wire_info(const struct wire *w)
{
    struct utcp_info info;

    ck_assert(utcp_info(w->u, w->now_ns, w->conn, &info));
    return info;
}

enum utcp_state wire_state(const struct wire *w)
{
    return wire_info(w).state;
}

struct utcp_usage wire_usage(const struct wire *w)
{
    struct utcp_usage usage;

    utcp_usage(w->u, &usage);
    return usage;
}

int wire_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void use_ipv6(void)
{
    wire_family = 6;
}

int wire_run_both(const char *name, void (*add_tests)(TCase *tcase))
{
    Suite *suite = suite_create(name);
    TCase *v4 = tcase_create("IPv4"), *v6 = tcase_create("IPv6");

    add_tests(v4);
    tcase_add_checked_fixture(v6, use_ipv6, NULL);
    add_tests(v6);
    suite_add_tcase(suite, v4);
    suite_add_tcase(suite, v6);
    return wire_run(suite);
}
