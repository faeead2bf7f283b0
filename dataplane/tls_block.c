/*
 * tls_block.c - the pool of output blocks, and OpenSSL's view of the connection: a BIO that reads
 * what tls_client_input() brought and writes to the blocks.
 *
 * 1. A block is in the pool, in the queue of one client, or with the caller.
 * 2. A client's queue holds at most TLS_QUEUE_MAX blocks: a peer that makes OpenSSL answer again
 *    and again without being read from gets no more memory than that.
 */
#include "dataplane/tls_private.h"

bool tls_blocks_init(struct tls_context *context, uint32_t n)
{
    context->blocks = calloc(n, sizeof context->blocks[0]);
    if (!context->blocks) {
        return false;
    }
    context->n_blocks = n;
    context->n_reserve = n / 8;
    for (uint32_t i = n; i-- > 0;) {
        context->blocks[i].context = context;
        tls_block_release(&context->blocks[i]);
    }
    return true;
}

void tls_block_release(struct tls_block *block)
{
    struct tls_context *context = block->context;
    INVARIANT(context->n_free < context->n_blocks);
    block->len = 0;
    block->next = context->free_first;
    context->free_first = block;
    context->n_free++;
}

static struct tls_block *take(struct tls_context *context)
{
    struct tls_block *block = context->free_first;
    if (!block) {
        context->counters.blocks_short++;
        return NULL;
    }
    context->free_first = block->next;
    context->n_free--;
    block->next = NULL;
    return block;
}

struct tls_block *tls_client_output(struct tls_client *c)
{
    struct tls_block *block = c->out_first;
    if (block) {
        c->out_first = block->next;
        c->out_last = c->out_first ? c->out_last : NULL;
        c->n_queued--;
        block->next = NULL;
    }
    return block;
}

/* The last block of the queue if it has room, or a new one. */
static struct tls_block *block_with_room(struct tls_client *c)
{
    if (c->out_last && c->out_last->len < TLS_BLOCK_BYTES) {
        return c->out_last;
    }
    struct tls_block *block = c->n_queued < TLS_QUEUE_MAX ? take(c->context) : NULL;
    if (!block) {
        c->short_of_blocks = true;
        return NULL;
    }
    if (c->out_last) {
        c->out_last->next = block;
    } else {
        c->out_first = block;
    }
    c->out_last = block;
    c->n_queued++;
    return block;
}

/* ---- the BIO ----------------------------------------------------------------------------- */

static int bio_write(BIO *bio, const char *data, int len)
{
    struct tls_client *c = BIO_get_data(bio);
    uint32_t left = (uint32_t)len;
    struct tls_block *block;
    BIO_clear_retry_flags(bio);
    while (left > 0 && (block = block_with_room(c)) != NULL) {
        uint32_t room = TLS_BLOCK_BYTES - block->len;
        uint32_t part = left < room ? left : room;
        memcpy(block->bytes + block->len, data, part);
        block->len += part;
        data += part;
        left -= part;
    }
    if (left > 0) { /* the connection fails for that, so what was taken does not matter */
        BIO_set_retry_write(bio);
        return -1;
    }
    return len;
}

static int bio_read(BIO *bio, char *buf, int size)
{
    struct tls_client *c = BIO_get_data(bio);
    uint32_t part = c->in_len < (uint32_t)size ? c->in_len : (uint32_t)size;
    BIO_clear_retry_flags(bio);
    if (part == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(buf, c->in, part);
    c->in += part;
    c->in_len -= part;
    return (int)part;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wirepost");
    if (method && BIO_meth_set_write(method, bio_write) && BIO_meth_set_read(method, bio_read) &&
        BIO_meth_set_ctrl(method, bio_control)) {
        return method;
    }
    BIO_meth_free(method);
    return NULL;
}

BIO *tls_bio_new(struct tls_client *c)
{
    BIO *bio = BIO_new(c->context->bio);
    if (bio) {
        BIO_set_data(bio, c);
        BIO_set_init(bio, 1);
    }
    return bio;
}
