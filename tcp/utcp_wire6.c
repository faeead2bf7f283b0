/*
 * utcp_wire6.c - the IPv6 header and the walk over its extension headers (RFC 8200 4, RFC 7112).
 *
 * Hop-by-hop options stand first or nowhere; options that we do not know are skipped or end the
 * packet, as their two highest bits say; routing headers with segments left are refused (we are no
 * router); a fragment header ends the walk. Atomic fragments are no fragments (RFC 6946). Nothing
 * is answered by ICMPv6 "parameter problem": a sender of mail owes strangers no explanation.
 */
#include "tcp/utcp_wire.h"

#define EXT_HOP_BY_HOP  0u
#define EXT_ROUTING     43u
#define EXT_FRAGMENT    44u
#define EXT_DESTINATION 60u
#define EXT_MAX         8u /* headers of one packet */
#define FRAGMENT_LEN    8u

#define OPTION_PAD1        0u
#define OPTION_ACTION_MASK 0xc0u /* 00: skip it when it is not known */

/* Options that we may skip? None is known here but padding. */
static bool options_are_harmless(const uint8_t *p, uint32_t len)
{
    for (uint32_t at = 0; at < len;) {
        if (p[at] == OPTION_PAD1) {
            at++;
            continue;
        }
        if (at + 2 > len || p[at + 1] > len - at - 2 || (p[at] & OPTION_ACTION_MASK) != 0)
            return false;
        at += 2u + p[at + 1];
    }
    return true;
}

static void skip(struct utcp_ip *ip, uint32_t len)
{
    ip->proto = ip->data[0];
    ip->data += len;
    ip->len -= len;
}

/* Hop-by-hop, destination options and routing have the same shape. */
static enum utcp_ip_verdict walk_header(struct utcp_ip *ip)
{
    uint32_t len;

    if (ip->len < 8)
        return UTCP_IP_MALFORMED;
    len = 8u + 8u * ip->data[1];
    if (len > ip->len)
        return UTCP_IP_MALFORMED;
    if (ip->proto == EXT_ROUTING ? ip->data[3] != 0 : !options_are_harmless(ip->data + 2, len - 2))
        return UTCP_IP_EXTENSION;
    skip(ip, len);
    return UTCP_IP_OK;
}

static enum utcp_ip_verdict walk_fragment(struct utcp_ip *ip)
{
    uint16_t field;

    if (ip->len < FRAGMENT_LEN || ip->is_fragment)
        return UTCP_IP_MALFORMED;
    field = be16_get(ip->data + 2);
    ip->fragment_id = be32_get(ip->data + 4);
    ip->fragment_offset = field & 0xfff8u;
    ip->more_fragments = (field & 1) != 0;
    ip->is_fragment = ip->fragment_offset != 0 || ip->more_fragments;
    skip(ip, FRAGMENT_LEN);
    return UTCP_IP_OK;
}

enum utcp_ip_verdict utcp_ipv6_chain(struct utcp_ip *ip)
{
    enum utcp_ip_verdict verdict = UTCP_IP_OK;

    for (uint32_t n = 0; n < EXT_MAX && verdict == UTCP_IP_OK; n++) {
        if (ip->proto == EXT_HOP_BY_HOP && ip->data != ip->dst + 16)
            verdict = UTCP_IP_EXTENSION; /* it stands first or nowhere */
        else if (ip->proto == EXT_ROUTING || ip->proto == EXT_DESTINATION ||
                 ip->proto == EXT_HOP_BY_HOP)
            verdict = walk_header(ip);
        else if (ip->proto == EXT_FRAGMENT)
            verdict = walk_fragment(ip);
        else
            return UTCP_IP_OK;
        if (verdict == UTCP_IP_OK && ip->is_fragment)
            return UTCP_IP_OK;
    }
    return verdict == UTCP_IP_OK ? UTCP_IP_EXTENSION : verdict;
}

/* RFC 7112 5: a first fragment without the whole chain is dropped. 20 bytes of the upper header
 * are enough: they hold the ports, which filters want to see. */
static bool chain_is_whole(const struct utcp_ip *ip)
{
    struct utcp_ip rest = *ip;

    if (!ip->is_fragment || ip->fragment_offset != 0)
        return true;
    rest.is_fragment = false;
    if (utcp_ipv6_chain(&rest) != UTCP_IP_OK || rest.is_fragment)
        return false;
    return rest.proto != IP_PROTO_TCP || rest.len >= TCP_LEN;
}

enum utcp_ip_verdict utcp_ipv6_parse(const uint8_t *p, uint32_t len, struct utcp_ip *ret_ip)
{
    enum utcp_ip_verdict verdict;

    if (len < IPV6_LEN || p[0] >> 4 != 6 || be16_get(p + 4) > len - IPV6_LEN)
        return UTCP_IP_MALFORMED;
    *ret_ip = (struct utcp_ip){
        .src = p + 8,
        .dst = p + 24,
        .data = p + IPV6_LEN,
        .len = be16_get(p + 4),
        .proto = p[6],
        .family = 6,
        .hop_limit = p[7],
        .traffic_class = (uint8_t)(be16_get(p) >> 4),
    };
    verdict = utcp_ipv6_chain(ret_ip);
    if (verdict == UTCP_IP_OK && !chain_is_whole(ret_ip))
        return UTCP_IP_MALFORMED;
    return verdict;
}
