/* utcp_api.c - what a caller does with connections: open, send, receive, close, look. */
#include "tcp/utcp_internal.h"

/* ---- open ---------------------------------------------------------------------------------- */

static void start_syn(struct utcp *u, struct utcp_conn *c)
{
    c->snd_una = c->snd_nxt = c->snd_end = c->snd_push = c->iss;
    (void)utcp_sendq_segment(u, c, 0, SEG_SYN);
    c->snd_push = c->snd_end;
    utcp_sendq_resend_head(u, c);
    utcp_conn_enter(c, UTCP_SYN_SENT);
    utcp_conn_ready(u, c);
}

int utcp_connect(struct utcp *u, uint64_t now_ns, const struct utcp_connect *req,
                 uint32_t *ret_conn)
{
    struct utcp_tuple tuple = {.remote_port = req->remote_port};
    struct ip_addr next_hop;
    struct utcp_conn *c;
    int error;

    tuple.address = utcp_address_find(u, &req->local);
    if (tuple.address == 0 || address_at(u, tuple.address)->state == UTCP_ADDRESS_DUPLICATE)
        return UTCP_E_ADDRESS;
    if (req->remote_port == 0 || req->local.family != req->remote.family ||
        !utcp_route(u, &req->remote, &next_hop))
        return UTCP_E_ROUTE;
    if (u->segs.free == 0) {
        COUNT(u, limit_segments);
        return UTCP_E_LIMIT;
    }
    memcpy(tuple.remote, req->remote.bytes, 16);
    tuple.local_port = utcp_tuple_choose_port(u, tuple);
    if (tuple.local_port == 0) {
        COUNT(u, limit_ports);
        return UTCP_E_PORTS;
    }
    error = utcp_conn_new(u, now_ns, &tuple, &req->remote, &c);
    if (error != UTCP_OK)
        return error;
    COUNT(u, active_opens);
    c->user = req->user;
    start_syn(u, c);
    *ret_conn = utcp_conn_handle(u, c);
    return UTCP_OK;
}

void utcp_set_user(struct utcp *u, uint32_t conn, void *user)
{
    struct utcp_conn *c = utcp_conn_find(u, conn);

    if (c != NULL)
        c->user = user;
}

/* ---- send ---------------------------------------------------------------------------------- */

static bool may_queue(const struct utcp_conn *c)
{
    return (c->flags & CF_FIN_QUEUED) == 0 &&
           (c->state == UTCP_SYN_SENT || c->state == UTCP_SYN_RECEIVED ||
            c->state == UTCP_ESTABLISHED || c->state == UTCP_CLOSE_WAIT);
}

uint32_t utcp_send_room(const struct utcp *u, uint32_t conn)
{
    const struct utcp_conn *c = utcp_conn_find(u, conn);

    return c == NULL || !may_queue(c) ? 0 : utcp_sendq_room(u, c);
}

/* Refused by the connection's own queue: an ACK makes room again. Refused by a pool of the lane:
 * anybody's ACK does. */
static int refuse(struct utcp *u, struct utcp_conn *c, bool by_pool)
{
    c->flags |= CF_WANT_ROOM;
    if (!by_pool) {
        COUNT(u, limit_queue);
        return UTCP_E_LIMIT;
    }
    COUNT(u, limit_chunks);
    if ((c->flags & CF_IN_ROOM_LIST) == 0) {
        c->flags |= CF_IN_ROOM_LIST;
        utcp_list_push(&u->room, u->room_links, conn_id(u, c));
    }
    return UTCP_E_LIMIT;
}

/* UTCP_OK when `len` bytes may be queued on *ret_c. */
static int check_send(struct utcp *u, uint32_t conn, uint32_t len, struct utcp_conn **ret_c)
{
    struct utcp_conn *c = utcp_conn_find(u, conn);

    if (c == NULL)
        return UTCP_E_HANDLE;
    if (!may_queue(c))
        return UTCP_E_STATE;
    *ret_c = c;
    return len > utcp_sendq_room(u, c) ? refuse(u, c, false) : UTCP_OK;
}

/* Full segments may go without a push. */
static void note_queued(struct utcp *u, struct utcp_conn *c)
{
    if (c->snd_end - c->snd_nxt >= c->mss)
        utcp_conn_ready(u, c);
}

int utcp_send(struct utcp *u, uint64_t now_ns, uint32_t conn, struct utcp_extent *extent,
              uint64_t offset, uint32_t len)
{
    struct utcp_conn *c;
    int error = check_send(u, conn, len, &c);

    (void)now_ns;
    if (error != UTCP_OK || len == 0)
        return error;
    INVARIANT(offset <= extent->len && len <= extent->len - offset);
    if (utcp_sendq_add(u, c, extent, offset, len) != UTCP_OK)
        return refuse(u, c, true);
    note_queued(u, c);
    return UTCP_OK;
}

int utcp_send_copy(struct utcp *u, uint64_t now_ns, uint32_t conn, const uint8_t *data,
                   uint32_t len)
{
    struct utcp_conn *c;
    int error = check_send(u, conn, len, &c);

    (void)now_ns;
    if (error != UTCP_OK || len == 0)
        return error;
    if (len > UTCP_COPY_MAX)
        return refuse(u, c, false);
    if (utcp_sendq_copy(u, c, data, len) != UTCP_OK)
        return refuse(u, c, true);
    note_queued(u, c);
    return UTCP_OK;
}

void utcp_push(struct utcp *u, uint64_t now_ns, uint32_t conn)
{
    struct utcp_conn *c = utcp_conn_find(u, conn);

    (void)now_ns;
    if (c == NULL || conn_is_over(c))
        return;
    c->snd_push = c->snd_end;
    utcp_conn_ready(u, c);
}

/* ---- receive ------------------------------------------------------------------------------- */

uint32_t utcp_recv(struct utcp *u, uint64_t now_ns, uint32_t conn, uint8_t *buf, uint32_t cap)
{
    struct utcp_conn *c = utcp_conn_find(u, conn);
    uint32_t got;

    (void)now_ns;
    if (c == NULL)
        return 0;
    got = utcp_recvq_read(u, c, buf, cap);
    if (got > 0 && !conn_is_over(c) && (c->flags & CF_FIN_RECEIVED) == 0 &&
        utcp_recvq_window_opens(u, c)) {
        c->flags |= CF_ACK_NOW;
        utcp_conn_ready(u, c);
    }
    return got;
}

/* ---- close --------------------------------------------------------------------------------- */

/* RFC 9293 3.10.4 CLOSE. False when it was done before. */
static bool shut_down(struct utcp *u, struct utcp_conn *c)
{
    if (!may_queue(c))
        return false;
    c->flags |= CF_FIN_QUEUED;
    c->snd_push = c->snd_end;
    if (c->state == UTCP_ESTABLISHED)
        utcp_conn_enter(c, UTCP_FIN_WAIT_1);
    else if (c->state == UTCP_CLOSE_WAIT)
        utcp_conn_enter(c, UTCP_LAST_ACK);
    utcp_conn_ready(u, c);
    return true;
}

int utcp_shutdown(struct utcp *u, uint64_t now_ns, uint32_t conn)
{
    struct utcp_conn *c = utcp_conn_find(u, conn);

    (void)now_ns;
    if (c == NULL)
        return UTCP_E_HANDLE;
    return shut_down(u, c) ? UTCP_OK : UTCP_E_STATE;
}

static void forget_caller(struct utcp *u, struct utcp_conn *c)
{
    if ((c->flags & CF_IN_EVENT_LIST) != 0)
        utcp_list_remove(&u->events, u->event_links, conn_id(u, c));
    c->flags &= ~CF_IN_EVENT_LIST;
    c->flags |= CF_RELEASED;
    c->user = NULL;
}

void utcp_release(struct utcp *u, uint64_t now_ns, uint32_t conn)
{
    struct utcp_conn *c = utcp_conn_find(u, conn);

    if (c == NULL)
        return;
    forget_caller(u, c);
    if (conn_is_over(c)) {
        utcp_conn_free(u, c);
        return;
    }
    if (c->state == UTCP_SYN_SENT) {
        utcp_conn_close(u, now_ns, c, UTCP_CLOSE_NORMAL);
        return;
    }
    utcp_recvq_drop(u, c);
    (void)shut_down(u, c);
    utcp_timer_idle_start(u, now_ns, c);
}

void utcp_abort(struct utcp *u, uint64_t now_ns, uint32_t conn)
{
    struct utcp_conn *c = utcp_conn_find(u, conn);

    if (c != NULL)
        utcp_conn_reset(u, now_ns, c);
}

/* ---- events and information ---------------------------------------------------------------- */

bool utcp_next_event(struct utcp *u, struct utcp_event *ret_event)
{
    const uint32_t id = utcp_list_pop(&u->events, u->event_links);
    struct utcp_conn *c;

    if (id == 0)
        return false;
    c = conn_at(u, id);
    c->flags &= ~CF_IN_EVENT_LIST;
    *ret_event = (struct utcp_event){
        .conn = utcp_conn_handle(u, c),
        .events = c->events,
        .reason = (enum utcp_close_reason)c->reason,
        .user = c->user,
    };
    c->events = 0;
    return true;
}

bool utcp_info(const struct utcp *u, uint64_t now_ns, uint32_t conn, struct utcp_info *ret_info)
{
    const struct utcp_conn *c = utcp_conn_find(u, conn);

    if (c == NULL)
        return false;
    *ret_info = (struct utcp_info){
        .state = (enum utcp_state)c->state,
        .local = utcp_conn_local(c),
        .remote = {.family = conn_family(c)},
        .local_port = c->local_port,
        .remote_port = c->remote_port,
        .rtt_us_smoothed = c->srtt_us,
        .rtt_us_min = c->rtt_min_us == UINT32_MAX ? 0 : c->rtt_min_us,
        .syn_rtt_us = c->syn_rtt_us,
        .retransmissions = c->retransmissions,
        .cwnd_bytes = c->cwnd,
        .ssthresh_bytes = c->ssthresh,
        .in_flight_bytes = conn_pipe(c),
        .mss_bytes = c->mss,
        .bytes_queued_total = c->bytes_queued,
        .bytes_acked_total = c->bytes_acked,
        .bytes_sent_total = c->bytes_queued - (c->snd_end - c->snd_nxt),
        .bytes_received_total = c->bytes_received,
        .zero_window_ns = c->zero_window_ms * NS_PER_MS,
    };
    memcpy(ret_info->remote.bytes, c->remote, 16);
    if (c->zero_window_since_ms != 0)
        ret_info->zero_window_ns +=
            (uint64_t)(time_ms(now_ns) - c->zero_window_since_ms) * NS_PER_MS;
    return true;
}
