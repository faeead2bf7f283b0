/*
 * fuzz_tcp_parse.c - the parsers alone: IPv4, IPv6 with extension headers, TCP with options, ARP.
 *
 * Whatever comes, what a parser says lies inside of the input; options that were parsed and are
 * written again are parsed as the same.
 */
#include "tcp/utcp_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(const uint8_t *data, uint32_t size, const uint8_t *at, uint32_t len)
{
    INVARIANT(at >= data && at <= data + size && len <= (uint32_t)(data + size - at));
}

static void check_options(const struct utcp_options *options)
{
    struct utcp_options again;
    uint8_t bytes[40];
    uint32_t len;

    INVARIANT(options->wscale <= TCP_WSCALE_MAX && options->n_sack <= TCP_SACK_BLOCKS_MAX);
    len = utcp_options_put_syn(bytes, options);
    INVARIANT(len % 4 == 0 && len <= sizeof bytes);
    utcp_options_parse(bytes, len, &again);
    INVARIANT(again.mss == options->mss && again.has_wscale == options->has_wscale);
    INVARIANT(!options->has_wscale || again.wscale == options->wscale);
    INVARIANT(again.has_timestamps == options->has_timestamps &&
              again.sack_permitted == options->sack_permitted);
    if (options->n_sack == 0)
        return;
    len = utcp_options_put_sack(bytes, options->sack, options->n_sack);
    utcp_options_parse(bytes, len, &again);
    INVARIANT(again.n_sack == options->n_sack &&
              memcmp(again.sack, options->sack, again.n_sack * sizeof again.sack[0]) == 0);
}

static void check_tcp(const uint8_t *data, uint32_t size)
{
    struct utcp_segment seg;

    if (!utcp_tcp_parse(data, size, &seg))
        return;
    check_inside(data, size, seg.data, seg.len);
    INVARIANT((uint32_t)(seg.data - data) + seg.len == size);
    check_options(&seg.options);
}

static void check_ip(const uint8_t *data, uint32_t size, const struct utcp_ip *ip)
{
    check_inside(data, size, ip->src, ip_addr_len(ip->family));
    check_inside(data, size, ip->dst, ip_addr_len(ip->family));
    check_inside(data, size, ip->data, ip->len);
    if (ip->proto == IP_PROTO_TCP && !ip->is_fragment)
        check_tcp(ip->data, ip->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint32_t len = (uint32_t)(size < 4096 ? size : 4096);
    struct utcp_options options;
    struct utcp_arp arp;
    struct utcp_ip ip;

    if (utcp_ipv4_parse(data, len, true, &ip) == UTCP_IP_OK)
        check_ip(data, len, &ip);
    if (utcp_ipv6_parse(data, len, &ip) == UTCP_IP_OK)
        check_ip(data, len, &ip);
    check_tcp(data, len);
    utcp_options_parse(data, len < 40 ? len : 40, &options);
    check_options(&options);
    (void)utcp_arp_parse(data, len, &arp);
    return 0;
}
