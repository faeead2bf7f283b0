/*
 * dp_session_send.c - what the SMTP engine has to say goes to TCP: commands are copied, the body
 * goes by reference. See dp_session_private.h.
 */
#include "dataplane/dp_session_private.h"

#define ROOM_BYTES_MIN 512u /* smtp_client_output() wants at least this much */

/* Pieces of a body below this are copied: a body in which every line begins with a dot comes in
 * pieces of a few bytes, and each piece by reference costs TCP an entry of a pool that all
 * connections of the lane share. */
#define COPY_BELOW_BYTES 512u

/* Takes as much of a command as TCP has blocks for; returns how much. */
static uint32_t send_copy(struct dp_session *s, uint64_t now_ns, const uint8_t *data, uint32_t len)
{
    uint32_t sent = 0;
    while (sent < len) {
        uint32_t part = len - sent < UTCP_COPY_MAX ? len - sent : UTCP_COPY_MAX;
        if (utcp_send_copy(s->owner->config.tcp, now_ns, s->conn, data + sent, part) != UTCP_OK) {
            break;
        }
        sent += part;
    }
    return sent;
}

/* Gives the piece to TCP; returns how many of its bytes were taken. */
static uint32_t send_piece(struct dp_session *s, uint64_t now_ns, const struct smtp_piece *piece)
{
    struct dp_job *job = dp_session_job(s);
    if (piece->kind == SMTP_PIECE_COMMAND || piece->len < COPY_BELOW_BYTES) {
        return send_copy(s, now_ns, piece->data, piece->len);
    }
    struct utcp_extent *extent = piece->kind == SMTP_PIECE_BODY ? &job->body : &job->prefix;
    int result =
        utcp_send(s->owner->config.tcp, now_ns, s->conn, extent, piece->offset, piece->len);
    return result == UTCP_OK ? piece->len : 0;
}

/* What TCP did not take waits for UTCP_EV_SENDABLE. Commands are the engine's only until its next
 * call, so they are kept. */
void dp_session_hold(struct dp_session *s, const struct smtp_piece *piece, uint32_t sent)
{
    s->held = *piece;
    s->held.data += sent;
    s->held.offset += sent;
    s->held.len -= sent;
    if (piece->kind == SMTP_PIECE_COMMAND) {
        INVARIANT(s->held.len <= sizeof s->held_bytes);
        memmove(s->held_bytes, s->held.data, s->held.len);
        s->held.data = s->held_bytes;
    }
}

/* True when all of the piece went out. */
static bool send_or_hold(struct dp_session *s, uint64_t now_ns, const struct smtp_piece *piece)
{
    uint32_t sent = send_piece(s, now_ns, piece);
    struct dp_job *job = dp_session_job(s);
    if (job) {
        job->bytes_sent += sent;
    }
    if (sent < piece->len) {
        dp_session_hold(s, piece, sent);
        return false;
    }
    s->held.len = 0;
    if (piece->final_dot) {
        dp_evidence_dot(s, now_ns);
    }
    if (piece->push) {
        utcp_push(s->owner->config.tcp, now_ns, s->conn);
    }
    return true;
}

/* utcp_send_room() was not enough: ask for more than there is, so that UTCP_EV_SENDABLE comes. */
void dp_session_want_room(struct dp_session *s, uint64_t now_ns)
{
    static const uint8_t nothing[UTCP_COPY_MAX];
    (void)utcp_send_copy(s->owner->config.tcp, now_ns, s->conn, nothing, sizeof nothing);
}

/* Before TCP has it: after a crash the slot must not say less. */
void dp_session_note_dot(struct dp_session *s, const struct smtp_piece *piece)
{
    if (piece->final_dot) {
        chan_lane_set_state(s->owner->config.channel, s->job, CHAN_DOT_SENT);
    }
}

bool dp_session_pump(struct dp_session *s, uint64_t now_ns)
{
    struct smtp_piece piece;
    bool any = false;
    if (s->tls_on) {
        return dp_session_tls_pump(s, now_ns);
    }
    if (s->held.len > 0) {
        piece = s->held;
        if (!send_or_hold(s, now_ns, &piece)) {
            return false;
        }
    }
    for (;;) {
        uint32_t room = utcp_send_room(s->owner->config.tcp, s->conn);
        if (room < ROOM_BYTES_MIN) {
            dp_session_want_room(s, now_ns);
            return any;
        }
        if (!smtp_client_output(&s->client, now_ns, room, &piece)) {
            return any;
        }
        any = true;
        dp_session_note_dot(s, &piece);
        if (!send_or_hold(s, now_ns, &piece)) {
            return any;
        }
    }
}
