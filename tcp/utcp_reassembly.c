/*
 * utcp_reassembly.c - fragments become datagrams again (RFC 791 3.2, RFC 8200 4.5), within limits.
 *
 * A fixed number of slots, each with room for REASSEMBLY_BYTES_MAX bytes and a bit for each 8 of
 * them; longer datagrams are refused. When all slots are taken the oldest goes. Fragments that
 * overlap with other bytes spoil the datagram (RFC 5722, for IPv4 as well): its slot takes nothing
 * more until its time is over. Nobody is told when time is over: RFC 4443 3.3 would ask for ICMP,
 * but what strangers send must not make us speak.
 */
#include "tcp/utcp_internal.h"

static bool slot_is_live(const struct utcp_reassembly *r, uint64_t now_ns)
{
    return r->expires_ns > now_ns;
}

static bool slot_matches(const struct utcp_reassembly *r, const struct utcp_ip *ip)
{
    const uint32_t n = ip_addr_len(ip->family);

    return r->family == ip->family && r->id == ip->fragment_id && memcmp(r->src, ip->src, n) == 0 &&
           memcmp(r->dst, ip->dst, n) == 0 && (ip->family == 6 || r->proto == ip->proto);
}

static void slot_start(struct utcp_reassembly *r, uint64_t now_ns, const struct utcp_ip *ip)
{
    memset(r->have, 0, sizeof r->have);
    memcpy(r->src, ip->src, ip_addr_len(ip->family));
    memcpy(r->dst, ip->dst, ip_addr_len(ip->family));
    r->expires_ns = now_ns + REASSEMBLY_NS;
    r->id = ip->fragment_id;
    r->len = r->top = r->units = 0;
    r->family = ip->family;
    r->proto = ip->proto;
    r->traffic_class = 0;
    r->has_first = r->spoiled = false;
}

/* The slot of this datagram, or a new one: a free one, else the one that would end first. */
static struct utcp_reassembly *slot_find(struct utcp *u, uint64_t now_ns, const struct utcp_ip *ip)
{
    struct utcp_reassembly *oldest = &u->reassemblies[0];

    for (uint32_t i = 0; i < u->config.limits.reassemblies; i++) {
        struct utcp_reassembly *r = &u->reassemblies[i];

        if (slot_is_live(r, now_ns) && slot_matches(r, ip))
            return r;
        if (r->expires_ns < oldest->expires_ns)
            oldest = r;
    }
    if (slot_is_live(oldest, now_ns))
        COUNT(u, limit_reassemblies);
    slot_start(oldest, now_ns, ip);
    return oldest;
}

/* How many of the units first..first + n - 1 are there already. */
static uint32_t units_there(const struct utcp_reassembly *r, uint32_t first, uint32_t n)
{
    uint32_t there = 0;

    for (uint32_t i = first; i < first + n; i++)
        there += (uint32_t)(r->have[i / 64] >> (i % 64)) & 1u;
    return there;
}

static void units_take(struct utcp_reassembly *r, const struct utcp_ip *ip, uint32_t first,
                       uint32_t n)
{
    memcpy(r->data + ip->fragment_offset, ip->data, ip->len);
    for (uint32_t i = first; i < first + n; i++)
        r->have[i / 64] |= UINT64_C(1) << (i % 64);
    r->units += n;
}

/* Only the last fragment may have a length that is no multiple of 8, and no byte may lie behind
 * the end. */
static bool shape_is_sound(const struct utcp_reassembly *r, const struct utcp_ip *ip)
{
    const uint32_t end = ip->fragment_offset + ip->len;

    if (ip->len == 0 || end > REASSEMBLY_BYTES_MAX || (ip->more_fragments && ip->len % 8 != 0))
        return false;
    if (r->len != 0)
        return ip->more_fragments ? end < r->len : end == r->len;
    return ip->more_fragments || r->top <= end;
}

/* Takes the fragment in; false when it spoils the datagram. */
static bool slot_add(struct utcp_reassembly *r, const struct utcp_ip *ip)
{
    const uint32_t first = ip->fragment_offset / 8;
    const uint32_t n = (ip->len + 7) / 8;
    uint32_t there;

    if (!shape_is_sound(r, ip))
        return false;
    there = units_there(r, first, n);
    if (there != 0 && (there != n || memcmp(r->data + ip->fragment_offset, ip->data, ip->len) != 0))
        return false;
    if (there == 0) /* else the network doubled it */
        units_take(r, ip, first, n);
    if (ip->fragment_offset + ip->len > r->top)
        r->top = ip->fragment_offset + ip->len;
    if (!ip->more_fragments)
        r->len = ip->fragment_offset + ip->len;
    if (ip->fragment_offset == 0) {
        r->has_first = true;
        r->proto = ip->proto;
        r->traffic_class |= ip->traffic_class;
    }
    if ((ip->traffic_class & 3u) == 3u)
        r->traffic_class |= 3u; /* RFC 3168 5.3: congestion of one is that of all */
    return true;
}

bool utcp_reassemble(struct utcp *u, uint64_t now_ns, const struct utcp_ip *fragment,
                     struct utcp_ip *ret_ip)
{
    struct utcp_reassembly *r = slot_find(u, now_ns, fragment);

    COUNT(u, ip_fragments_in);
    if (r->spoiled || !slot_add(r, fragment)) {
        COUNT(u, drop_ip_fragment);
        r->spoiled = true;
        return false;
    }
    if (r->len == 0 || !r->has_first || r->units < (r->len + 7) / 8)
        return false;
    COUNT(u, ip_reassembled);
    r->expires_ns = 0;
    *ret_ip = *fragment;
    ret_ip->src = r->src;
    ret_ip->dst = r->dst;
    ret_ip->data = r->data;
    ret_ip->len = r->len;
    ret_ip->proto = r->proto;
    ret_ip->traffic_class = r->traffic_class;
    ret_ip->is_fragment = ret_ip->more_fragments = false;
    ret_ip->fragment_offset = 0;
    return true;
}

void utcp_reassembly_expire(struct utcp *u, uint64_t now_ns)
{
    for (uint32_t i = 0; i < u->config.limits.reassemblies; i++) {
        struct utcp_reassembly *r = &u->reassemblies[i];

        if (r->expires_ns == 0 || slot_is_live(r, now_ns))
            continue;
        COUNT(u, ip_reassembly_timeouts);
        r->expires_ns = 0;
    }
}

uint32_t utcp_reassembly_count(const struct utcp *u)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < u->config.limits.reassemblies; i++)
        n += u->reassemblies[i].expires_ns != 0 ? 1u : 0u;
    return n;
}
