/*
 * utcp_ecn.c - explicit congestion notification (RFC 3168 6.1).
 *
 * We offer it in the first SYN; a SYN that is sent again goes without, for paths that swallow such
 * SYNs, and the path cache keeps that in mind. New data is ECT(0); retransmissions, pure ACKs and
 * SYNs are not (6.1.1, 6.1.4, 6.1.5). CF_ECN means "offered" in SYN-SENT and "agreed" later.
 */
#include "tcp/utcp_internal.h"

#define ECN_ECT0 2u
#define ECN_CE   3u
#define ECN_MASK 3u

void utcp_ecn_take_syn(struct utcp_conn *c, uint8_t flags)
{
    const uint8_t wanted =
        c->state == UTCP_SYN_SENT && (flags & TCP_ACK) != 0 ? TCP_ECE : TCP_ECE | TCP_CWR;

    if ((flags & (TCP_ECE | TCP_CWR)) != wanted)
        c->flags &= ~CF_ECN;
}

uint8_t utcp_ecn_syn_flags(const struct utcp_conn *c)
{
    if ((c->flags & CF_ECN) == 0)
        return 0;
    return c->state == UTCP_SYN_SENT ? TCP_ECE | TCP_CWR : TCP_ECE;
}

uint8_t utcp_ecn_flags(struct utcp_conn *c, bool new_data)
{
    uint8_t flags = (c->flags & CF_ECE) != 0 ? TCP_ECE : 0;

    if (new_data && (c->flags & CF_CWR) != 0) {
        flags |= TCP_CWR;
        c->flags &= ~CF_CWR;
    }
    return flags;
}

uint8_t utcp_ecn_codepoint(const struct utcp_conn *c, bool new_data)
{
    return new_data && (c->flags & CF_ECN) != 0 && conn_is_synchronized(c) ? ECN_ECT0 : 0;
}

/* As receiver: what the network marked is echoed until the peer has heard it. */
void utcp_ecn_receive(struct utcp *u, struct utcp_conn *c, uint8_t flags, uint8_t traffic_class)
{
    if ((c->flags & CF_ECN) == 0)
        return;
    if ((flags & TCP_CWR) != 0)
        c->flags &= ~CF_ECE;
    if ((traffic_class & ECN_MASK) == ECN_CE) {
        COUNT(u, ecn_marks_in);
        c->flags |= CF_ECE | CF_ACK_NOW;
        utcp_conn_ready(u, c);
    }
}

/* As sender: once for each window of data, as for a loss, but nothing is sent again. */
void utcp_ecn_on_ack(struct utcp *u, struct utcp_conn *c, uint8_t flags)
{
    if ((c->flags & CF_ECN) == 0 || (flags & TCP_ECE) == 0 || seq_leq(c->snd_una, c->ecn_recover))
        return;
    COUNT(u, ecn_reductions);
    c->ecn_recover = c->snd_nxt;
    c->flags |= CF_CWR;
    if ((c->flags & (CF_RECOVERY | CF_LOSS)) != 0)
        return; /* it has given way already */
    c->ssthresh = conn_cc(c)->on_congestion(c, c->cwnd);
    if (c->cwnd > c->ssthresh)
        c->cwnd = c->ssthresh;
}
