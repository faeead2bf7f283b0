/*
 * smtp_body.c - the message goes by reference: the prefix, the body, and its end.
 *
 * DATA. A dot at the start of a line is sent twice (RFC 5321 4.5.2) by cutting the piece behind it
 * and beginning the next one with the same byte again; ".CRLF" ends the message. The CRLF of the
 * body comes before it, so the dot stands at the start of a line.
 *
 * BDAT (RFC 3030). "BDAT n" and n bytes as they are, one reply for each chunk; the last one says
 * LAST, and its last byte is what ".CRLF" is above: from there on the server may have accepted the
 * message. Most messages are one chunk. The next chunk waits for the reply to the one before.
 */
#include "dataplane/smtp_private.h"

static uint64_t message_bytes(const struct smtp_body *b)
{
    return b->prefix_len + b->len;
}

static uint64_t sent_bytes(const struct smtp_client *c)
{
    return c->prefix_sent + c->body_sent;
}

static void give_prefix(struct smtp_client *c, uint32_t room, struct smtp_piece *ret_piece)
{
    const struct smtp_body *b = &c->transaction->body;
    uint32_t left = b->prefix_len - c->prefix_sent;
    *ret_piece = (struct smtp_piece){
        .kind = SMTP_PIECE_PREFIX,
        .data = b->prefix + c->prefix_sent,
        .len = left < room ? left : room,
        .offset = c->prefix_sent,
    };
    c->prefix_sent += ret_piece->len;
}

/* ---- DATA -------------------------------------------------------------------------------- */

/* No dot begins a line in data[from, end): those that do are listed, and cut out by the caller. */
static void check_no_dots(const struct smtp_body *b, uint64_t from, uint64_t end)
{
#ifdef WIREPOST_INVARIANT_HOT
    for (uint64_t i = from; i < end; i++) {
        INVARIANT_HOT(b->data[i] != '.' || (i > 0 && b->data[i - 1] != '\n'));
    }
#else
    (void)b, (void)from, (void)end;
#endif
}

static void give_lines(struct smtp_client *c, uint32_t room, struct smtp_piece *ret_piece)
{
    const struct smtp_body *b = &c->transaction->body;
    uint64_t from = c->body_sent;
    uint64_t end = b->len - from < room ? b->len : from + room;
    bool repeats_dot = c->next_stuff > 0 && b->stuff[c->next_stuff - 1] == from;
    bool dot_next = c->next_stuff < b->n_stuff && b->stuff[c->next_stuff] < end;
    if (dot_next) {
        uint32_t dot = b->stuff[c->next_stuff++];
        INVARIANT(dot >= from + repeats_dot && b->data[dot] == '.');
        end = (uint64_t)dot + 1;
    }
    check_no_dots(b, from + repeats_dot, end - dot_next);
    *ret_piece = (struct smtp_piece){
        .kind = SMTP_PIECE_BODY,
        .data = b->data + from,
        .len = (uint32_t)(end - from),
        .offset = from,
    };
    c->body_sent = end - dot_next; /* the dot goes out again */
}

static void give_final_dot(struct smtp_client *c, uint64_t now_ns, struct smtp_piece *ret_piece)
{
    static const struct smtp_line dot = {.len = 3, .bytes = ".\r\n"};
    INVARIANT(c->next_stuff == c->transaction->body.n_stuff);
    smtp_enter(c, now_ns, SMTP_STATE_DOT);
    c->n_unanswered++;
    c->dot_sent = true;
    smtp_give_line(&dot, ret_piece);
    ret_piece->final_dot = true;
}

static void give_data(struct smtp_client *c, uint64_t now_ns, uint32_t room,
                      struct smtp_piece *ret_piece)
{
    const struct smtp_body *b = &c->transaction->body;
    if (c->prefix_sent < b->prefix_len) {
        give_prefix(c, room, ret_piece);
    } else if (c->body_sent < b->len) {
        give_lines(c, room, ret_piece);
    } else {
        give_final_dot(c, now_ns, ret_piece);
    }
}

/* ---- BDAT -------------------------------------------------------------------------------- */

static void give_chunk_command(struct smtp_client *c, struct smtp_piece *ret_piece)
{
    struct smtp_line *line = smtp_scratch();
    uint64_t sent = sent_bytes(c), all = message_bytes(&c->transaction->body);
    uint64_t size = all - sent < SMTP_CHUNK_MAX ? all - sent : SMTP_CHUNK_MAX;
    c->chunk_end = sent + size;
    c->said = true;
    line->len = 0;
    smtp_line_put(line, "BDAT ");
    smtp_line_put_number(line, size);
    smtp_line_put(line, c->chunk_end == all ? " LAST\r\n" : "\r\n");
    smtp_give_line(line, ret_piece);
    ret_piece->push = false;
}

static void give_octets(struct smtp_client *c, uint32_t room, struct smtp_piece *ret_piece)
{
    const struct smtp_body *b = &c->transaction->body;
    uint64_t left = c->chunk_end - sent_bytes(c);
    room = left < room ? (uint32_t)left : room;
    if (c->prefix_sent < b->prefix_len) {
        give_prefix(c, room, ret_piece);
        return;
    }
    *ret_piece = (struct smtp_piece){
        .kind = SMTP_PIECE_BODY,
        .data = b->data + c->body_sent,
        .len = room,
        .offset = c->body_sent,
    };
    c->body_sent += room;
}

static void chunk_ends(struct smtp_client *c, uint64_t now_ns, struct smtp_piece *piece)
{
    bool last = c->chunk_end == message_bytes(&c->transaction->body);
    smtp_enter(c, now_ns, last ? SMTP_STATE_DOT : SMTP_STATE_CHUNK);
    c->n_unanswered++;
    c->dot_sent = last;
    piece->final_dot = last;
    piece->push = true;
}

static void give_chunk(struct smtp_client *c, uint64_t now_ns, uint32_t room,
                       struct smtp_piece *ret_piece)
{
    if (!c->said) {
        give_chunk_command(c, ret_piece);
        return;
    }
    give_octets(c, room, ret_piece);
    if (sent_bytes(c) == c->chunk_end) {
        chunk_ends(c, now_ns, ret_piece);
    }
}

/* ------------------------------------------------------------------------------------------ */

void smtp_give_message(struct smtp_client *c, uint64_t now_ns, uint32_t room,
                       struct smtp_piece *ret_piece)
{
    if (c->chunked) {
        give_chunk(c, now_ns, room, ret_piece);
    } else {
        give_data(c, now_ns, room, ret_piece);
    }
}
