/*
 * utcp_conn.c - the life of a connection: slot, handle, lists, events, end.
 *
 * A slot is CF_USED from utcp_conn_new() to utcp_conn_free(). In between it can be over (CLOSED or
 * TIME_WAIT: nothing but received bytes is left, the caller still holds the handle) or owe an RST
 * (CF_RST_OWED: the caller has given it up, the frame is still to be sent). A slot that nobody
 * holds is freed as soon as it is over.
 */
#include "tcp/utcp_internal.h"

/* ---- handles ------------------------------------------------------------------------------- */

uint32_t utcp_conn_handle(const struct utcp *u, const struct utcp_conn *c)
{
    return (uint32_t)c->generation << CONN_INDEX_BITS | conn_id(u, c);
}

struct utcp_conn *utcp_conn_find(const struct utcp *u, uint32_t handle)
{
    const uint32_t id = handle & CONN_INDEX_MAX;
    struct utcp_conn *c;

    if (id == 0 || id > u->conns.count)
        return NULL;
    c = conn_at(u, id);
    if (c->generation != handle >> CONN_INDEX_BITS || (c->flags & CF_USED) == 0 ||
        (c->flags & (CF_RELEASED | CF_EMBRYO)) != 0)
        return NULL;
    return c;
}

static uint16_t next_generation(uint16_t generation)
{
    generation = (uint16_t)((generation + 1u) & (UINT32_MAX >> CONN_INDEX_BITS));
    return generation == 0 ? 1 : generation;
}

/* ---- birth --------------------------------------------------------------------------------- */

static void conn_init(const struct utcp *u, struct utcp_conn *c, const struct utcp_tuple *tuple)
{
    const struct ip_addr *local = &address_at(u, tuple->address)->ip;
    const uint16_t generation = next_generation(c->generation);

    memset(c, 0, sizeof *c);
    c->generation = generation;
    c->flags = CF_USED;
    memcpy(c->remote, tuple->remote, 16);
    c->address = tuple->address;
    c->local_port = tuple->local_port;
    c->remote_port = tuple->remote_port;
    memcpy(c->local, local->bytes, sizeof c->local);
    c->mtu = u->config.mtu;
    if (local->family == 6)
        c->flags |= CF_IPV6;
    c->mss_peer = local->family == 6 ? TCP_MSS_DEFAULT6 : TCP_MSS_DEFAULT4;
    c->cc = (uint8_t)u->config.congestion;
    c->rtx_deadline_ns = TIME_NEVER_NS;
    c->delack_deadline_ns = TIME_NEVER_NS;
    c->idle_deadline_ns = TIME_NEVER_NS;
    c->rtt_min_us = UINT32_MAX;
}

int utcp_conn_new(struct utcp *u, uint64_t now_ns, const struct utcp_tuple *tuple,
                  const struct ip_addr *remote, struct utcp_conn **ret_conn)
{
    struct ip_addr next_hop;
    struct utcp_conn *c;
    uint32_t id, neighbour;

    if (!utcp_route(u, remote, &next_hop))
        return UTCP_E_ROUTE;
    id = utcp_pool_get(&u->conns);
    if (id == 0) {
        COUNT(u, limit_connections);
        return UTCP_E_LIMIT;
    }
    neighbour = utcp_neighbour_get(u, &next_hop, tuple->address);
    if (neighbour == 0) {
        utcp_pool_put(&u->conns, id);
        return UTCP_E_LIMIT;
    }
    c = conn_at(u, id);
    conn_init(u, c, tuple);
    c->neighbour = neighbour;
    c->iss = utcp_tuple_isn(u, now_ns, tuple);
    c->ts_offset = utcp_tuple_ts_offset(u, tuple);
    utcp_path_recall(u, now_ns, c);
    utcp_tuple_put(u, tuple, id);
    u->conns_alive++;
    *ret_conn = c;
    return UTCP_OK;
}

void utcp_conn_enter(struct utcp_conn *c, enum utcp_state state)
{
    c->state = (uint8_t)state;
}

struct ip_addr utcp_conn_local(const struct utcp_conn *c)
{
    struct ip_addr local = {.family = conn_family(c)};

    memcpy(local.bytes, c->local, sizeof c->local);
    return local;
}

/* ---- lists and events ---------------------------------------------------------------------- */

void utcp_conn_unqueue(struct utcp *u, struct utcp_conn *c)
{
    struct utcp_list *list = &u->ready;

    if (c->queue == QUEUE_NONE)
        return;
    if (c->queue == QUEUE_STARVED)
        list = &u->starved;
    else if (c->queue == QUEUE_NEIGHBOUR)
        list = &neighbour_at(u, c->neighbour)->waiting;
    else if (c->queue == QUEUE_ADDRESS)
        list = &address_at(u, c->address)->waiting;
    utcp_list_remove(list, u->conn_links, conn_id(u, c));
    c->queue = QUEUE_NONE;
}

void utcp_conn_ready(struct utcp *u, struct utcp_conn *c)
{
    if (c->queue == QUEUE_STARVED)
        utcp_conn_unqueue(u, c); /* it may have an ACK to send, which needs no segment */
    if (c->queue != QUEUE_NONE)
        return;
    c->queue = QUEUE_READY;
    utcp_list_push(&u->ready, u->conn_links, conn_id(u, c));
}

void utcp_conn_wake_starved(struct utcp *u)
{
    uint32_t id;

    while ((id = utcp_list_pop(&u->starved, u->conn_links)) != 0) {
        conn_at(u, id)->queue = QUEUE_NONE;
        utcp_conn_ready(u, conn_at(u, id));
    }
}

void utcp_conn_wake_room(struct utcp *u)
{
    uint32_t id;

    while ((id = utcp_list_pop(&u->room, u->room_links)) != 0) {
        conn_at(u, id)->flags &= ~(CF_IN_ROOM_LIST | CF_WANT_ROOM);
        utcp_conn_event(u, conn_at(u, id), UTCP_EV_SENDABLE);
    }
}

void utcp_conn_event(struct utcp *u, struct utcp_conn *c, uint32_t events)
{
    if ((c->flags & (CF_RELEASED | CF_EMBRYO)) != 0)
        return;
    c->events |= (uint8_t)events;
    if ((c->flags & CF_IN_EVENT_LIST) == 0) {
        c->flags |= CF_IN_EVENT_LIST;
        utcp_list_push(&u->events, u->event_links, conn_id(u, c));
    }
}

/* ---- end ----------------------------------------------------------------------------------- */

static void leave_room_list(struct utcp *u, struct utcp_conn *c)
{
    if ((c->flags & CF_IN_ROOM_LIST) != 0)
        utcp_list_remove(&u->room, u->room_links, conn_id(u, c));
    c->flags &= ~(CF_IN_ROOM_LIST | CF_WANT_ROOM);
}

static void leave_event_list(struct utcp *u, struct utcp_conn *c)
{
    if ((c->flags & CF_IN_EVENT_LIST) != 0)
        utcp_list_remove(&u->events, u->event_links, conn_id(u, c));
    c->flags &= ~CF_IN_EVENT_LIST;
}

/* No more traffic on it: out of the map and all lists, no timers, no data of either queue but what
 * the caller can still read. The neighbour reference stays. */
static void conn_detach(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    const struct utcp_tuple tuple = utcp_conn_tuple(c);

    utcp_path_remember(u, now_ns, c);
    utcp_conn_unqueue(u, c);
    leave_room_list(u, c);
    utcp_wheel_stop(&u->wheel, conn_id(u, c));
    utcp_tuple_remove(u, &tuple, conn_id(u, c));
    utcp_recvq_drop_out_of_order(u, c);
    if (c->zero_window_since_ms != 0)
        c->zero_window_ms += time_ms(now_ns) - c->zero_window_since_ms;
    c->zero_window_since_ms = 0;
    u->conns_alive--;
    utcp_sendq_drop(u, c);
}

static void neighbour_leave(struct utcp *u, struct utcp_conn *c)
{
    if (c->neighbour != 0)
        utcp_neighbour_put(u, c->neighbour);
    c->neighbour = 0;
}

void utcp_conn_free(struct utcp *u, struct utcp_conn *c)
{
    utcp_conn_unqueue(u, c);
    leave_event_list(u, c);
    neighbour_leave(u, c);
    utcp_recvq_drop(u, c);
    c->flags = 0;
    utcp_pool_put(&u->conns, conn_id(u, c));
}

static void count_end(struct utcp *u, const struct utcp_conn *c)
{
    if (c->state == UTCP_SYN_SENT || c->state == UTCP_SYN_RECEIVED)
        COUNT(u, attempt_fails);
    else if (c->state == UTCP_ESTABLISHED || c->state == UTCP_CLOSE_WAIT)
        COUNT(u, estab_resets);
}

/* Over for both sides of the interface; frees the slot when nobody holds the handle. */
static void conn_over(struct utcp *u, struct utcp_conn *c, enum utcp_state state,
                      enum utcp_close_reason reason)
{
    neighbour_leave(u, c);
    utcp_conn_enter(c, state);
    c->reason = (uint8_t)reason;
    if ((c->flags & (CF_RELEASED | CF_EMBRYO)) != 0)
        utcp_conn_free(u, c);
    else
        utcp_conn_event(u, c, UTCP_EV_CLOSED);
}

void utcp_conn_close(struct utcp *u, uint64_t now_ns, struct utcp_conn *c,
                     enum utcp_close_reason reason)
{
    count_end(u, c);
    conn_detach(u, now_ns, c);
    conn_over(u, c, UTCP_CLOSED, reason);
}

void utcp_conn_time_wait(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    conn_detach(u, now_ns, c);
    utcp_tw_add(u, now_ns, c);
    conn_over(u, c, UTCP_TIME_WAIT, UTCP_CLOSE_NORMAL);
}

/* RFC 9293 3.10.5: RST in SYN-RECEIVED, ESTABLISHED, FIN-WAIT-1, FIN-WAIT-2 and CLOSE-WAIT. */
static bool state_owes_rst(const struct utcp_conn *c)
{
    return c->state >= UTCP_SYN_RECEIVED && c->state <= UTCP_CLOSE_WAIT;
}

void utcp_conn_reset(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    const bool owes_rst = state_owes_rst(c);

    if (!conn_is_over(c)) {
        count_end(u, c);
        conn_detach(u, now_ns, c);
        utcp_conn_enter(c, UTCP_CLOSED);
    }
    if (!owes_rst) {
        utcp_conn_free(u, c);
        return;
    }
    leave_event_list(u, c);
    utcp_recvq_drop(u, c);
    c->flags |= CF_RELEASED | CF_RST_OWED;
    utcp_conn_ready(u, c);
}

/* ---- segment size -------------------------------------------------------------------------- */

void utcp_conn_set_mss(struct utcp_conn *c)
{
    uint32_t mss = c->mtu - conn_headers_len(c);

    if (c->mss_peer < mss)
        mss = c->mss_peer;
    if (mss < MSS_FLOOR)
        mss = MSS_FLOOR;
    /* RFC 6691: the MSS option does not count options, so they come off here. */
    if ((c->flags & CF_TIMESTAMPS) != 0)
        mss -= TCP_TS_LEN;
    c->mss = (uint16_t)mss;
}

/* ---- challenge ACK ------------------------------------------------------------------------- */

void utcp_conn_challenge_ack(struct utcp *u, uint64_t now_ns, struct utcp_conn *c)
{
    const uint16_t second = (uint16_t)(now_ns / NS_PER_S);

    if (c->challenge_s != second) {
        c->challenge_s = second;
        c->challenges = 0;
    }
    if (c->challenges >= CHALLENGES_PER_S) {
        COUNT(u, challenge_acks_limited);
        return;
    }
    c->challenges++;
    COUNT(u, challenge_acks);
    c->flags |= CF_ACK_NOW;
    utcp_conn_ready(u, c);
}
