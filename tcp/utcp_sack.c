/*
 * utcp_sack.c - the scoreboard: what the peer's SACK blocks say of segments in flight (RFC 2018,
 * RFC 6675 4), and D-SACK (RFC 2883).
 *
 * A segment is SACKed when one block covers all of it; a block that covers a part says nothing.
 * Blocks that do not lie in [snd_una, snd_nxt] are not believed. What a SACK promises may be taken
 * back (RFC 2018 8): nothing is let go before it is acknowledged, and a timeout with a SACKed
 * segment in front forgets all of them.
 */
#include "tcp/utcp_internal.h"

/* RFC 2883 4: the first block lies below the ACK number, or inside of the second block. */
static bool is_dsack(const struct utcp_segment *seg)
{
    const struct utcp_sack_block *b = seg->options.sack;

    if (seq_geq(b[0].start, b[0].end))
        return false;
    if (seq_leq(b[0].end, seg->ack))
        return true;
    return seg->options.n_sack > 1 && seq_geq(b[0].start, b[1].start) &&
           seq_leq(b[0].end, b[1].end);
}

/* The believable blocks of seg; *ret_end is where the last of them ends. */
static uint32_t take_blocks(const struct utcp_conn *c, const struct utcp_segment *seg,
                            uint32_t first, struct utcp_sack_block blocks[TCP_SACK_BLOCKS_MAX],
                            uint32_t *ret_end)
{
    uint32_t n = 0;

    *ret_end = c->snd_una;
    for (uint32_t i = first; i < seg->options.n_sack; i++) {
        const struct utcp_sack_block b = seg->options.sack[i];

        if (seq_geq(b.start, b.end) || seq_lt(b.start, c->snd_una) || seq_gt(b.end, c->snd_nxt))
            continue;
        blocks[n++] = b;
        if (seq_gt(b.end, *ret_end))
            *ret_end = b.end;
    }
    return n;
}

static bool is_covered(const struct utcp_seg *seg, const struct utcp_sack_block *blocks, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (seq_geq(seg->seq, blocks[i].start) &&
            seq_leq(seg->seq + seg_seq_len(seg), blocks[i].end))
            return true;
    return false;
}

void utcp_sack_input(struct utcp *u, struct utcp_conn *c, const struct utcp_segment *seg,
                     struct utcp_ack_news *news)
{
    struct utcp_sack_block blocks[TCP_SACK_BLOCKS_MAX];
    uint32_t n, end;

    if (seg->options.n_sack == 0)
        return;
    if (is_dsack(seg)) {
        COUNT(u, dsacks_in);
        news->dsack = true;
        news->dsack_start = seg->options.sack[0].start;
        news->dsack_end = seg->options.sack[0].end;
    }
    n = take_blocks(c, seg, news->dsack ? 1 : 0, blocks, &end);
    for (uint32_t id = n == 0 ? 0 : c->seg_head; id != 0; id = seg_at(u, id)->next) {
        struct utcp_seg *s = seg_at(u, id);

        if (seq_geq(s->seq, end))
            break;
        if ((s->flags & SEG_SACKED) != 0 || !is_covered(s, blocks, n))
            continue;
        utcp_rack_delivered(c, s, news);
        utcp_sendq_mark_sacked(c, s);
    }
}
