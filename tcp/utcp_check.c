/* utcp_check.c - the invariants of utcp_lane.h, executed. The numbers are those of that list.
 */
#include "tcp/utcp_internal.h"

/* What the connections hold together, to be compared with the pools. */
struct totals {
    uint32_t conns, alive, segs, chunks, copy_blocks, rx_blocks;
};

/* 1 and 2: segments cover [snd_una, snd_nxt), and the sums are those of their marks. */
static void check_segments(const struct utcp *u, const struct utcp_conn *c, struct totals *t)
{
    uint32_t seq = c->snd_una, lost = 0, sacked = 0, n = 0, n_sacked = 0, first_lost = 0;

    for (uint32_t id = c->seg_head; id != 0; id = seg_at(u, id)->next) {
        const struct utcp_seg *seg = seg_at(u, id);

        INVARIANT(seg->seq == seq && seg_seq_len(seg) > 0);
        INVARIANT(seg->next != 0 || c->seg_tail == id);
        seq += seg_seq_len(seg);
        n++;
        INVARIANT((seg->flags & (SEG_LOST | SEG_SACKED)) != (SEG_LOST | SEG_SACKED));
        if ((seg->flags & SEG_SACKED) != 0) {
            sacked += seg_seq_len(seg);
            n_sacked++;
        }
        if ((seg->flags & SEG_LOST) == 0)
            continue;
        lost += seg_seq_len(seg);
        if (first_lost == 0)
            first_lost = seg->seq - c->snd_una + 1;
    }
    INVARIANT(seq == c->snd_nxt && seq_leq(c->snd_nxt, c->snd_end));
    INVARIANT(lost == c->lost_bytes && n == c->segs);
    INVARIANT(sacked == c->sacked_bytes && n_sacked == c->sacked_segs);
    if (first_lost != 0)
        INVARIANT(c->seg_lost != 0 && seg_at(u, c->seg_lost)->seq - c->snd_una + 1 <= first_lost);
    t->segs += n;
}

/* 3: chunks hold [snd_una, snd_end); SYN and FIN in flight are no bytes. */
static void check_chunks(const struct utcp *u, const struct utcp_conn *c, struct totals *t)
{
    uint32_t bytes = 0, controls = 0;

    for (uint32_t id = c->chunk_head; id != 0; id = chunk_at(u, id)->next) {
        const struct utcp_chunk *chunk = chunk_at(u, id);

        INVARIANT(chunk->len > 0);
        INVARIANT(chunk->extent == NULL || chunk->extent->refs > 0);
        bytes += chunk->len;
        t->chunks++;
        t->copy_blocks += chunk->extent == NULL ? 1u : 0u;
    }
    for (uint32_t id = c->seg_head; id != 0; id = seg_at(u, id)->next)
        controls += seg_seq_len(seg_at(u, id)) - seg_at(u, id)->len;
    INVARIANT(bytes - c->chunk_head_off == c->snd_end - c->snd_una - controls);
    INVARIANT((c->chunk_next == 0) == (c->snd_nxt == c->snd_end));
}

/* 4: bytes in order, blocks out of order. */
static void check_receive(const struct utcp *u, const struct utcp_conn *c, struct totals *t)
{
    uint32_t bytes = 0, blocks = 0, end = c->rcv_nxt;

    for (uint32_t id = c->rx_head; id != 0; id = block_at(u, id)->next) {
        bytes += block_at(u, id)->len;
        t->rx_blocks++;
    }
    INVARIANT(bytes == c->rx_bytes);
    for (uint32_t id = c->ooo_head; id != 0; id = block_at(u, id)->next) {
        const struct utcp_rx_block *b = block_at(u, id);

        INVARIANT(b->len > 0 && b->off + b->len <= RX_BLOCK_BYTES);
        INVARIANT(blocks == 0 ? seq_gt(b->seq, end) : seq_geq(b->seq, end));
        end = b->seq + b->len;
        blocks++;
    }
    INVARIANT(blocks == c->ooo_blocks && blocks <= RX_OOO_BLOCKS_MAX);
    t->rx_blocks += blocks;
}

/* 6 and 7: in the map, and the timer in time. */
static void check_alive(const struct utcp *u, const struct utcp_conn *c)
{
    const struct utcp_tuple tuple = utcp_conn_tuple(c);
    const uint64_t armed = u->wheel.expiry[conn_id(u, c)];
    uint64_t deadline = c->rtx_deadline_ns;

    if (c->delack_deadline_ns < deadline)
        deadline = c->delack_deadline_ns;
    if (c->idle_deadline_ns < deadline)
        deadline = c->idle_deadline_ns;
    INVARIANT(utcp_tuple_find(u, &tuple) == conn_id(u, c));
    INVARIANT(deadline == TIME_NEVER_NS || armed <= (deadline + NS_PER_MS - 1) / NS_PER_MS);
    INVARIANT(c->neighbour != 0);
    if (c->state != UTCP_SYN_SENT)
        INVARIANT((c->flags & CF_FIN_RECEIVED) != 0 || seq_geq(c->rcv_adv, c->rcv_nxt));
    /* Nothing that is in flight and not about to be sent may be without a timer. */
    INVARIANT(c->seg_head == 0 || c->rtx_deadline_ns != TIME_NEVER_NS || c->queue != QUEUE_NONE);
}

/* 5: each list holds exactly the connections that say so. */
static uint32_t check_list(const struct utcp *u, const struct utcp_list *list,
                           enum conn_queue queue)
{
    uint32_t n = 0;

    for (uint32_t id = list->head; id != 0; id = u->conn_links[id].next, n++)
        INVARIANT(conn_at(u, id)->queue == (uint8_t)queue);
    return n;
}

static void check_queues(const struct utcp *u)
{
    uint32_t queued =
        check_list(u, &u->ready, QUEUE_READY) + check_list(u, &u->starved, QUEUE_STARVED);

    for (uint32_t id = 1; id <= u->neighbours.count; id++)
        if (u->neighbours.used[id])
            queued += check_list(u, &neighbour_at(u, id)->waiting, QUEUE_NEIGHBOUR);
    for (uint32_t id = 1; id <= u->addresses.count; id++)
        if (u->addresses.used[id])
            queued += check_list(u, &address_at(u, id)->waiting, QUEUE_ADDRESS);
    for (uint32_t id = 1; id <= u->conns.count; id++)
        if ((conn_at(u, id)->flags & CF_USED) != 0)
            queued -= conn_at(u, id)->queue != QUEUE_NONE ? 1u : 0u;
    INVARIANT(queued == 0);
}

static void check_halves(const struct utcp *u)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i <= SYN_RETRIES_MAX; i++)
        for (uint32_t id = u->half_lists[i].head; id != 0; id = u->half_links[id].next, n++) {
            const struct utcp_half *half = utcp_pool_at(&u->halves, id);

            INVARIANT(u->halves.used[id] && half->timeouts == i && half->address != 0);
        }
    INVARIANT(n == u->halves.count - u->halves.free);
}

void utcp_check(const struct utcp *u)
{
    struct totals t = {0};

    for (uint32_t id = 1; id <= u->conns.count; id++) {
        const struct utcp_conn *c = conn_at(u, id);

        if ((c->flags & CF_USED) == 0)
            continue;
        t.conns++;
        check_receive(u, c, &t);
        if (conn_is_over(c))
            continue;
        t.alive++;
        check_segments(u, c, &t);
        check_chunks(u, c, &t);
        check_alive(u, c);
    }
    check_queues(u);
    check_halves(u);
    INVARIANT(t.conns == u->conns.count - u->conns.free && t.alive == u->conns_alive);
    INVARIANT(t.segs == u->segs.count - u->segs.free);
    INVARIANT(t.chunks == u->chunks.count - u->chunks.free);
    INVARIANT(t.copy_blocks == u->copy_blocks.count - u->copy_blocks.free);
    INVARIANT(t.rx_blocks == u->rx_blocks.count - u->rx_blocks.free);
}
