/*
 * utcp_recvq.c - the receive side: bytes in order, blocks out of order, the window.
 *
 * Bytes in order stand in a chain of blocks that is filled at its tail and read at its head. What
 * comes too early is kept in blocks of its own, sorted, at most RX_OOO_BLOCKS_MAX for a connection
 * and only while a quarter of the pool is free: data in order must always find room. Out-of-order
 * blocks are given up first when the pool runs dry (RFC 2018 8 allows it).
 */
#include "tcp/utcp_internal.h"

/* ---- in order ------------------------------------------------------------------------------ */

static uint32_t block_new(struct utcp *u, struct utcp_conn *c)
{
    uint32_t id = utcp_pool_get(&u->rx_blocks);

    if (id == 0 && c->ooo_head != 0) {
        utcp_recvq_drop_out_of_order(u, c);
        id = utcp_pool_get(&u->rx_blocks);
    }
    if (id != 0) {
        struct utcp_rx_block *b = block_at(u, id);

        b->next = b->seq = b->off = b->len = 0;
    }
    return id;
}

static void link_tail(struct utcp *u, struct utcp_conn *c, uint32_t id)
{
    block_at(u, id)->next = 0;
    if (c->rx_tail != 0)
        block_at(u, c->rx_tail)->next = id;
    else
        c->rx_head = id;
    c->rx_tail = id;
}

static uint32_t tail_room(const struct utcp *u, const struct utcp_conn *c)
{
    if (c->rx_tail == 0)
        return 0;
    return RX_BLOCK_BYTES - block_at(u, c->rx_tail)->off - block_at(u, c->rx_tail)->len;
}

/* Adds n bytes behind the tail block's bytes; there is room. */
static void fill_tail(struct utcp *u, struct utcp_conn *c, const uint8_t *data, uint32_t n)
{
    struct utcp_rx_block *tail = block_at(u, c->rx_tail);

    memcpy(tail->data + tail->off + tail->len, data, n);
    tail->len += n;
}

static void note_taken(struct utcp *u, struct utcp_conn *c, uint32_t n)
{
    c->rcv_nxt += n;
    c->rx_bytes += n;
    c->bytes_received += n;
    COUNT_ADD(u, data_bytes_in, n);
}

uint32_t utcp_recvq_in_order(struct utcp *u, struct utcp_conn *c, const uint8_t *data, uint32_t len)
{
    uint32_t taken = 0;

    while (taken < len) {
        uint32_t n = len - taken;

        if (tail_room(u, c) == 0) {
            const uint32_t id = block_new(u, c);

            if (id == 0)
                break;
            link_tail(u, c, id);
        }
        if (n > tail_room(u, c))
            n = tail_room(u, c);
        fill_tail(u, c, data + taken, n);
        taken += n;
    }
    note_taken(u, c, taken);
    return taken;
}

uint32_t utcp_recvq_read(struct utcp *u, struct utcp_conn *c, uint8_t *buf, uint32_t cap)
{
    uint32_t got = 0;

    while (got < cap && c->rx_head != 0) {
        const uint32_t id = c->rx_head;
        struct utcp_rx_block *b = block_at(u, id);
        const uint32_t n = b->len < cap - got ? b->len : cap - got;

        memcpy(buf + got, b->data + b->off, n);
        got += n;
        b->off += n;
        b->len -= n;
        if (b->len > 0)
            break;
        c->rx_head = b->next;
        if (c->rx_head == 0)
            c->rx_tail = 0;
        utcp_pool_put(&u->rx_blocks, id);
    }
    c->rx_bytes -= got;
    return got;
}

/* ---- out of order -------------------------------------------------------------------------- */

static uint32_t block_end(const struct utcp_rx_block *b)
{
    return b->seq + b->len;
}

static uint32_t ooo_block_new(struct utcp *u, struct utcp_conn *c)
{
    uint32_t id;

    if (c->ooo_blocks >= RX_OOO_BLOCKS_MAX || u->rx_blocks.free <= u->rx_blocks.count / 4)
        return 0;
    id = utcp_pool_get(&u->rx_blocks);
    if (id != 0)
        c->ooo_blocks++;
    return id;
}

/* Puts up to `len` bytes that overlap nothing behind block `prev` (0: in front); returns how many.
 */
static uint32_t ooo_insert(struct utcp *u, struct utcp_conn *c, uint32_t prev, uint32_t seq,
                           const uint8_t *data, uint32_t len)
{
    struct utcp_rx_block *b = prev == 0 ? NULL : block_at(u, prev);

    if (b == NULL || block_end(b) != seq || b->off + b->len == RX_BLOCK_BYTES) {
        const uint32_t id = ooo_block_new(u, c);
        uint32_t *link = prev == 0 ? &c->ooo_head : &block_at(u, prev)->next;

        if (id == 0)
            return 0;
        b = block_at(u, id);
        b->next = *link;
        b->seq = seq;
        b->off = b->len = 0;
        *link = id;
    }
    if (len > RX_BLOCK_BYTES - b->off - b->len)
        len = RX_BLOCK_BYTES - b->off - b->len;
    memcpy(b->data + b->off + b->len, data, len);
    b->len += len;
    return len;
}

void utcp_recvq_out_of_order(struct utcp *u, struct utcp_conn *c, uint32_t seq, const uint8_t *data,
                             uint32_t len)
{
    uint32_t prev = 0, next = c->ooo_head;

    c->ooo_last_seq = seq;
    while (len > 0) {
        uint32_t n = len;

        while (next != 0 && seq_leq(block_end(block_at(u, next)), seq)) {
            prev = next;
            next = block_at(u, next)->next;
        }
        if (next != 0 && seq_leq(block_at(u, next)->seq, seq)) {
            const uint32_t covered = block_end(block_at(u, next)) - seq;

            n = covered < len ? covered : len; /* we have these bytes */
            utcp_recvq_note_duplicate(c, seq, seq + n);
        } else {
            if (next != 0 && block_at(u, next)->seq - seq < n)
                n = block_at(u, next)->seq - seq;
            n = ooo_insert(u, c, prev, seq, data, n);
            if (n == 0) {
                COUNT(u, rx_ooo_dropped);
                return;
            }
            next = prev == 0 ? c->ooo_head : prev;
        }
        seq += n;
        data += n;
        len -= n;
    }
    COUNT(u, rx_ooo_kept);
}

/* A block of which a part at least is in order now: its bytes go into the room of the tail when
 * they fit, so that many small blocks do not hold much memory; otherwise the block is linked. */
static void join_block(struct utcp *u, struct utcp_conn *c, uint32_t id)
{
    struct utcp_rx_block *b = block_at(u, id);
    const uint32_t old = c->rcv_nxt - b->seq;
    uint32_t n;

    if (old >= b->len) {
        utcp_pool_put(&u->rx_blocks, id);
        return;
    }
    b->off += old;
    b->len -= old;
    n = b->len;
    if (n <= tail_room(u, c)) {
        fill_tail(u, c, b->data + b->off, n);
        utcp_pool_put(&u->rx_blocks, id);
    } else {
        link_tail(u, c, id);
    }
    note_taken(u, c, n);
}

bool utcp_recvq_join(struct utcp *u, struct utcp_conn *c)
{
    bool joined = false;

    while (c->ooo_head != 0 && seq_leq(block_at(u, c->ooo_head)->seq, c->rcv_nxt)) {
        const uint32_t id = c->ooo_head;

        c->ooo_head = block_at(u, id)->next;
        c->ooo_blocks--;
        join_block(u, c, id);
        joined = true;
    }
    return joined;
}

void utcp_recvq_drop_out_of_order(struct utcp *u, struct utcp_conn *c)
{
    while (c->ooo_head != 0) {
        const uint32_t id = c->ooo_head;

        c->ooo_head = block_at(u, id)->next;
        utcp_pool_put(&u->rx_blocks, id);
    }
    c->ooo_blocks = 0;
}

void utcp_recvq_drop(struct utcp *u, struct utcp_conn *c)
{
    utcp_recvq_drop_out_of_order(u, c);
    while (c->rx_head != 0) {
        const uint32_t id = c->rx_head;

        c->rx_head = block_at(u, id)->next;
        utcp_pool_put(&u->rx_blocks, id);
    }
    c->rx_tail = c->rx_bytes = 0;
}

/* The run of blocks without a gap that begins at `*id`; moves *id behind it. */
static struct utcp_sack_block sack_run(const struct utcp *u, uint32_t *id)
{
    struct utcp_sack_block run = {.start = block_at(u, *id)->seq,
                                  .end = block_end(block_at(u, *id))};

    *id = block_at(u, *id)->next;
    while (*id != 0 && block_at(u, *id)->seq == run.end) {
        run.end = block_end(block_at(u, *id));
        *id = block_at(u, *id)->next;
    }
    return run;
}

void utcp_recvq_note_duplicate(struct utcp_conn *c, uint32_t start, uint32_t end)
{
    if ((c->flags & CF_SACK) == 0)
        return;
    c->dsack_start = start;
    c->dsack_end = end;
    c->flags |= CF_ACK_NOW;
}

uint32_t utcp_recvq_sack(const struct utcp *u, struct utcp_conn *c, struct utcp_sack_block *blocks,
                         uint32_t max)
{
    uint32_t n = 0, newest_at;

    if (c->dsack_start != c->dsack_end)
        blocks[n++] = (struct utcp_sack_block){.start = c->dsack_start, .end = c->dsack_end};
    c->dsack_start = c->dsack_end;
    newest_at = n;
    for (uint32_t id = c->ooo_head; id != 0;) {
        const struct utcp_sack_block run = sack_run(u, &id);
        const bool newest = seq_leq(run.start, c->ooo_last_seq) && seq_lt(c->ooo_last_seq, run.end);

        if (newest && n > newest_at) {
            if (n < max)
                blocks[n++] = blocks[newest_at];
            blocks[newest_at] = run;
        } else if (n < max) {
            blocks[n++] = run;
        }
    }
    return n;
}

/* ---- window -------------------------------------------------------------------------------- */

/* How far the edge could move on now. */
static uint32_t window_gain(const struct utcp *u, const struct utcp_conn *c)
{
    const uint32_t free_bytes =
        c->rx_bytes < u->config.rx_window_bytes ? u->config.rx_window_bytes - c->rx_bytes : 0;
    const uint32_t edge = c->rcv_nxt + free_bytes;

    return seq_gt(edge, c->rcv_adv) ? edge - c->rcv_adv : 0;
}

static uint32_t window_step(const struct utcp *u, const struct utcp_conn *c)
{
    const uint32_t half = u->config.rx_window_bytes / 2;
    const uint32_t mss = (uint32_t)c->mtu - conn_headers_len(c);

    return half < mss ? half : mss;
}

uint32_t utcp_recvq_window(const struct utcp *u, struct utcp_conn *c)
{
    const uint32_t gain = window_gain(u, c);

    if (gain >= window_step(u, c))
        c->rcv_adv += gain;
    return c->rcv_adv - c->rcv_nxt;
}

/* When the peer may be held up by the window: it is nearly shut, or has grown by half. */
bool utcp_recvq_window_opens(const struct utcp *u, const struct utcp_conn *c)
{
    const uint32_t gain = window_gain(u, c);

    return gain >= u->config.rx_window_bytes / 2 ||
           (gain >= window_step(u, c) && c->rcv_adv - c->rcv_nxt < 2 * window_step(u, c));
}
