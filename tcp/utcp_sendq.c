/*
 * utcp_sendq.c - the send side of a connection: chunks (bytes by reference) and segments in flight.
 *
 * A segment names the place of its first byte (chunk and offset); the bytes are gathered when a
 * frame is built, so a retransmission costs no copy and never touches what was sent before. A place
 * stays good because the chunk of an unacknowledged byte is not let go. Copied bytes (small
 * commands) stand in blocks of COPY_BLOCK_BYTES; the last block is filled up in place, behind the
 * bytes that segments already refer to.
 */
#include "tcp/utcp_internal.h"

/* ---- chunks -------------------------------------------------------------------------------- */

uint32_t utcp_sendq_room(const struct utcp *u, const struct utcp_conn *c)
{
    const uint32_t queued = c->snd_end - c->snd_una;

    return queued < u->config.tx_queue_bytes ? u->config.tx_queue_bytes - queued : 0;
}

static uint32_t copy_block_of(const struct utcp *u, const struct utcp_chunk *chunk)
{
    return (uint32_t)((size_t)(chunk->data - u->copy_blocks.memory) / COPY_BLOCK_BYTES);
}

static void chunk_free(struct utcp *u, uint32_t id)
{
    struct utcp_chunk *chunk = chunk_at(u, id);
    struct utcp_extent *extent = chunk->extent;

    if (extent == NULL)
        utcp_pool_put(&u->copy_blocks, copy_block_of(u, chunk));
    utcp_pool_put(&u->chunks, id);
    if (extent == NULL)
        return;
    INVARIANT_HOT(extent->refs > 0);
    if (--extent->refs == 0 && extent->free != NULL)
        extent->free(extent);
}

/* Bytes were added at the end: `id` holds the first of them, at `off`. */
static void note_added(struct utcp_conn *c, uint32_t id, uint32_t off, uint32_t len)
{
    if (c->chunk_next == 0) {
        c->chunk_next = id;
        c->chunk_next_off = off;
    }
    c->snd_end += len;
    c->bytes_queued += len;
}

static void chunk_append(struct utcp *u, struct utcp_conn *c, const uint8_t *data, uint32_t len,
                         struct utcp_extent *extent)
{
    const uint32_t id = utcp_pool_get(&u->chunks);

    INVARIANT(id != 0);
    *chunk_at(u, id) = (struct utcp_chunk){.data = data, .len = len, .extent = extent};
    if (c->chunk_tail != 0)
        chunk_at(u, c->chunk_tail)->next = id;
    else
        c->chunk_head = id;
    c->chunk_tail = id;
    note_added(c, id, 0, len);
}

int utcp_sendq_add(struct utcp *u, struct utcp_conn *c, struct utcp_extent *extent, uint64_t offset,
                   uint32_t len)
{
    if (u->chunks.free == 0)
        return UTCP_E_LIMIT;
    extent->refs++;
    chunk_append(u, c, extent->data + offset, len, extent);
    return UTCP_OK;
}

/* Free bytes in the block of the last chunk, when that is a copy. */
static uint32_t copy_tail_room(const struct utcp *u, const struct utcp_conn *c)
{
    if (c->chunk_tail == 0 || chunk_at(u, c->chunk_tail)->extent != NULL)
        return 0;
    return COPY_BLOCK_BYTES - chunk_at(u, c->chunk_tail)->len;
}

static void copy_into_tail(struct utcp *u, struct utcp_conn *c, const uint8_t *data, uint32_t len)
{
    struct utcp_chunk *tail = chunk_at(u, c->chunk_tail);
    uint8_t *block = utcp_pool_at(&u->copy_blocks, copy_block_of(u, tail));
    const uint32_t off = tail->len;

    memcpy(block + off, data, len);
    tail->len += len;
    note_added(c, c->chunk_tail, off, len);
}

int utcp_sendq_copy(struct utcp *u, struct utcp_conn *c, const uint8_t *data, uint32_t len)
{
    const uint32_t room = copy_tail_room(u, c);
    const uint32_t in_tail = len < room ? len : room;
    const uint32_t blocks = (len - in_tail + COPY_BLOCK_BYTES - 1) / COPY_BLOCK_BYTES;

    if (u->copy_blocks.free < blocks || u->chunks.free < blocks)
        return UTCP_E_LIMIT;
    if (in_tail > 0)
        copy_into_tail(u, c, data, in_tail);
    for (uint32_t at = in_tail; at < len; at += COPY_BLOCK_BYTES) {
        const uint32_t n = len - at < COPY_BLOCK_BYTES ? len - at : COPY_BLOCK_BYTES;
        uint8_t *block = utcp_pool_at(&u->copy_blocks, utcp_pool_get(&u->copy_blocks));

        memcpy(block, data + at, n);
        chunk_append(u, c, block, n, NULL);
    }
    return UTCP_OK;
}

/* `bytes` more at the front are acknowledged. */
static void chunks_acked(struct utcp *u, struct utcp_conn *c, uint32_t bytes)
{
    c->chunk_head_off += bytes;
    while (c->chunk_head != 0 && c->chunk_head_off >= chunk_at(u, c->chunk_head)->len) {
        const uint32_t id = c->chunk_head;

        c->chunk_head_off -= chunk_at(u, id)->len;
        c->chunk_head = chunk_at(u, id)->next;
        if (c->chunk_head == 0)
            c->chunk_tail = 0;
        chunk_free(u, id);
    }
    c->bytes_acked += bytes;
    COUNT_ADD(u, data_bytes_acked, bytes);
}

/* Moves a place `n` bytes on; it ends as 0 behind the last byte. */
static void place_advance(const struct utcp *u, uint32_t *chunk, uint32_t *off, uint32_t n)
{
    n += *off;
    while (*chunk != 0 && n >= chunk_at(u, *chunk)->len) {
        n -= chunk_at(u, *chunk)->len;
        *chunk = chunk_at(u, *chunk)->next;
    }
    INVARIANT_HOT(*chunk != 0 || n == 0);
    *off = n;
}

/* ---- segments ------------------------------------------------------------------------------ */

struct utcp_seg *utcp_sendq_segment(struct utcp *u, struct utcp_conn *c, uint32_t len,
                                    uint8_t flags)
{
    const uint32_t id = utcp_pool_get(&u->segs);
    struct utcp_seg *seg;

    if (id == 0)
        return NULL;
    seg = seg_at(u, id);
    *seg = (struct utcp_seg){.seq = c->snd_nxt, .len = (uint16_t)len, .flags = flags};
    if (len > 0) {
        seg->chunk = c->chunk_next;
        seg->chunk_off = c->chunk_next_off;
        place_advance(u, &c->chunk_next, &c->chunk_next_off, len);
    }
    if (c->seg_tail != 0)
        seg_at(u, c->seg_tail)->next = id;
    else
        c->seg_head = id;
    c->seg_tail = id;
    c->segs++;
    c->snd_nxt += seg_seq_len(seg);
    if (seq_lt(c->snd_end, c->snd_nxt))
        c->snd_end = c->snd_nxt; /* SYN and FIN stand outside of the queue */
    return seg;
}

bool utcp_sendq_split(struct utcp *u, struct utcp_conn *c, struct utcp_seg *seg, uint32_t len)
{
    const uint32_t id = utcp_pool_get(&u->segs);
    struct utcp_seg *rest;

    if (id == 0)
        return false;
    rest = seg_at(u, id);
    *rest = *seg;
    rest->seq += len;
    rest->len = (uint16_t)(seg->len - len);
    place_advance(u, &rest->chunk, &rest->chunk_off, len);
    seg->len = (uint16_t)len;
    seg->flags &= (uint8_t)~SEG_FIN;
    if (seg == seg_at(u, c->seg_tail))
        c->seg_tail = id;
    seg->next = id;
    c->segs++;
    return true;
}

uint32_t utcp_sendq_fit(const struct utcp *u, const struct utcp_conn *c, uint32_t len)
{
    uint32_t chunk = c->chunk_next;
    uint32_t fit = 0;

    for (uint32_t i = 0; i < UTCP_SLICES_MAX && chunk != 0 && fit < len; i++) {
        fit += chunk_at(u, chunk)->len - (i == 0 ? c->chunk_next_off : 0);
        chunk = chunk_at(u, chunk)->next;
    }
    return fit < len ? fit : len;
}

void utcp_sendq_gather(const struct utcp *u, const struct utcp_seg *seg, uint32_t len,
                       struct utcp_frame *frame)
{
    uint32_t chunk = seg->chunk, off = seg->chunk_off, left = len;

    frame->n_slices = 0;
    frame->payload_len = len;
    while (left > 0) {
        const struct utcp_chunk *at = chunk_at(u, chunk);
        const uint32_t n = at->len - off < left ? at->len - off : left;

        INVARIANT_HOT(frame->n_slices < UTCP_SLICES_MAX);
        frame->slices[frame->n_slices++] = (struct utcp_slice){.data = at->data + off, .len = n};
        left -= n;
        chunk = at->next;
        off = 0;
    }
}

/* Neither lost nor SACKed any more. */
static void seg_unmark(struct utcp_conn *c, struct utcp_seg *seg)
{
    if ((seg->flags & SEG_LOST) != 0)
        c->lost_bytes -= seg_seq_len(seg);
    if ((seg->flags & SEG_SACKED) != 0) {
        c->sacked_bytes -= seg_seq_len(seg);
        c->sacked_segs--;
    }
    seg->flags &= (uint8_t) ~(SEG_LOST | SEG_SACKED);
}

static void seg_free_head(struct utcp *u, struct utcp_conn *c)
{
    const uint32_t id = c->seg_head;

    c->seg_head = seg_at(u, id)->next;
    if (c->seg_head == 0)
        c->seg_tail = 0;
    if (c->seg_lost == id)
        c->seg_lost = c->seg_head;
    c->segs--;
    seg_unmark(c, seg_at(u, id));
    utcp_pool_put(&u->segs, id);
}

/* A part of seg is acknowledged. */
static void seg_trim(struct utcp *u, struct utcp_conn *c, struct utcp_seg *seg, uint32_t n)
{
    INVARIANT_HOT(n <= seg->len);
    seg->seq += n;
    seg->len = (uint16_t)(seg->len - n);
    place_advance(u, &seg->chunk, &seg->chunk_off, n);
    if ((seg->flags & SEG_LOST) != 0)
        c->lost_bytes -= n;
    if ((seg->flags & SEG_SACKED) != 0)
        c->sacked_bytes -= n;
}

/* What came back to the pools since `before` may be what others wait for. */
struct free_counts {
    uint32_t segs, chunks;
};

static struct free_counts free_now(const struct utcp *u)
{
    return (struct free_counts){.segs = u->segs.free, .chunks = u->chunks.free};
}

static void wake(struct utcp *u, struct free_counts before)
{
    if (u->segs.free > before.segs)
        utcp_conn_wake_starved(u);
    if (u->chunks.free > before.chunks)
        utcp_conn_wake_room(u);
}

/* The whole of the first segment is acknowledged. */
static void head_acked(struct utcp *u, struct utcp_conn *c, const struct utcp_ack_news *news)
{
    const struct utcp_seg *seg = seg_at(u, c->seg_head);

    if ((seg->flags & SEG_SACKED) == 0)
        utcp_rack_delivered(c, seg, news);
    if ((seg->flags & SEG_FIN) != 0)
        c->flags |= CF_FIN_ACKED;
    seg_free_head(u, c);
}

void utcp_sendq_ack(struct utcp *u, struct utcp_conn *c, uint32_t ack, struct utcp_ack_news *news)
{
    const struct free_counts before = free_now(u);
    bool retransmitted = false;
    uint32_t bytes = 0, sent_us = 0;

    while (c->seg_head != 0 && seq_lt(seg_at(u, c->seg_head)->seq, ack)) {
        struct utcp_seg *seg = seg_at(u, c->seg_head);
        const uint32_t n = ack - seg->seq;

        /* What was SACKed before was delivered before: its age says nothing. */
        retransmitted |= seg->tx_count > 1 || (seg->flags & SEG_SACKED) != 0;
        sent_us = seg->tx_us;
        if (n < seg_seq_len(seg)) {
            seg_trim(u, c, seg, n);
            bytes += n;
            if ((seg->flags & SEG_CUT) != 0)
                utcp_sendq_mark_lost(u, c, c->seg_head); /* the rest was not sent */
            break;
        }
        bytes += seg->len;
        head_acked(u, c, news);
    }
    c->snd_una = ack;
    chunks_acked(u, c, bytes);
    news->rtt_us = retransmitted ? 0 : at_least_1(time_us(news->now_ns) - sent_us);
    wake(u, before);
}

/* ---- loss ---------------------------------------------------------------------------------- */

void utcp_sendq_mark_lost(struct utcp *u, struct utcp_conn *c, uint32_t id)
{
    struct utcp_seg *seg = seg_at(u, id);

    if ((seg->flags & (SEG_LOST | SEG_SACKED)) != 0)
        return;
    c->lost_bytes += seg_seq_len(seg);
    seg->flags |= SEG_LOST;
    if (c->seg_lost == 0 || seq_lt(seg->seq, seg_at(u, c->seg_lost)->seq))
        c->seg_lost = id;
}

void utcp_sendq_mark_sacked(struct utcp_conn *c, struct utcp_seg *seg)
{
    seg_unmark(c, seg);
    c->sacked_bytes += seg_seq_len(seg);
    c->sacked_segs++;
    seg->flags |= SEG_SACKED;
}

void utcp_sendq_forget_sacks(struct utcp *u, struct utcp_conn *c)
{
    for (uint32_t id = c->seg_head; id != 0; id = seg_at(u, id)->next)
        if ((seg_at(u, id)->flags & SEG_SACKED) != 0)
            seg_unmark(c, seg_at(u, id));
}

void utcp_sendq_resend_head(struct utcp *u, struct utcp_conn *c)
{
    if (c->seg_head == 0)
        return;
    if ((seg_at(u, c->seg_head)->flags & SEG_SACKED) != 0)
        utcp_sendq_forget_sacks(u, c); /* RFC 2018 8: it would have been acknowledged */
    utcp_sendq_mark_lost(u, c, c->seg_head);
    c->flags |= CF_RTX_NOW;
}

void utcp_sendq_resend_tail(struct utcp *u, struct utcp_conn *c)
{
    utcp_sendq_mark_lost(u, c, c->seg_tail);
    c->flags |= CF_RTX_NOW;
}

void utcp_sendq_mark_all_lost(struct utcp *u, struct utcp_conn *c, uint32_t last)
{
    for (uint32_t id = c->seg_head; id != 0 && seq_leq(seg_at(u, id)->seq, last);
         id = seg_at(u, id)->next)
        utcp_sendq_mark_lost(u, c, id);
}

void utcp_sendq_mark_none_lost(struct utcp *u, struct utcp_conn *c)
{
    for (uint32_t id = c->seg_head; id != 0; id = seg_at(u, id)->next)
        if ((seg_at(u, id)->flags & SEG_LOST) != 0)
            seg_unmark(c, seg_at(u, id));
    c->seg_lost = 0;
    c->flags &= ~CF_RTX_NOW;
}

void utcp_sendq_mark_longer_lost(struct utcp *u, struct utcp_conn *c, uint32_t len)
{
    for (uint32_t id = c->seg_head; id != 0; id = seg_at(u, id)->next)
        if (seg_at(u, id)->len > len)
            utcp_sendq_mark_lost(u, c, id);
}

struct utcp_seg *utcp_sendq_first_lost(struct utcp *u, struct utcp_conn *c)
{
    while (c->seg_lost != 0 && (seg_at(u, c->seg_lost)->flags & SEG_LOST) == 0)
        c->seg_lost = seg_at(u, c->seg_lost)->next;
    return c->seg_lost == 0 ? NULL : seg_at(u, c->seg_lost);
}

void utcp_sendq_sent(struct utcp_conn *c, struct utcp_seg *seg, uint64_t now_ns)
{
    seg_unmark(c, seg);
    seg->flags &= (uint8_t)~SEG_CUT;
    seg->tx_us = time_us(now_ns);
    if (seg->tx_count < UINT8_MAX)
        seg->tx_count++;
}

void utcp_sendq_drop(struct utcp *u, struct utcp_conn *c)
{
    const struct free_counts before = free_now(u);

    while (c->seg_head != 0)
        seg_free_head(u, c);
    while (c->chunk_head != 0) {
        const uint32_t id = c->chunk_head;

        c->chunk_head = chunk_at(u, id)->next;
        chunk_free(u, id);
    }
    c->chunk_tail = c->chunk_next = 0;
    INVARIANT_HOT(c->lost_bytes == 0 && c->sacked_bytes == 0 && c->sacked_segs == 0);
    wake(u, before);
}
