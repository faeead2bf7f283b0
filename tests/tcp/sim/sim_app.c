/* sim_app.c - applications of the simulation: they send, read, close and abort as the seed says,
 * and know what must come. */
#include "tests/tcp/sim/sim.h"

#define NOISE_MASK  (SIM_NOISE_BYTES / 2 - 1) /* a piece never runs over the end */
#define WRITE_MOST  (SIM_NOISE_BYTES / 2)
#define PATIENCE_NS (1000 * NS_PER_S)

/* ---- what the applications are like --------------------------------------------------------- */

static void end_choose(struct sim *sim, struct sim_end *end)
{
    struct sim_rng *rng = &sim->rng;

    *end = (struct sim_end){.abort_at_ns = TIME_NEVER_NS};
    end->key = sim_random(rng);
    end->to_send = sim_below(rng, 4) == 0 ? 0 : sim_log_range(rng, 1, 120000);
    end->write_max = (uint32_t)sim_log_range(rng, 1 + (uint32_t)(end->to_send / 200), WRITE_MOST);
    end->shuts_first = sim_below(rng, 2) == 0;
    end->releases_early = sim_below(rng, 16) == 0;
    if (sim_below(rng, 4) == 0)
        end->tick_ns = sim_log_range(rng, NS_PER_MS, 800 * NS_PER_MS);
    if (sim_below(rng, 14) == 0)
        end->abort_at_ns = sim_log_range(rng, NS_PER_MS, 10 * NS_PER_S);
}

void sim_app_choose(struct sim *sim)
{
    struct sim_rng *rng = &sim->rng;

    sim->n_pairs = 1 + (uint32_t)sim_below(rng, sim_below(rng, 8) == 0 ? SIM_PAIRS_MAX : 6);
    for (uint32_t i = 0; i < sim->n_pairs; i++) {
        struct sim_pair *pair = &sim->pair[i];
        const uint32_t client = sim->odd != 0 ? 0 : (uint32_t)sim_below(rng, SIM_HOSTS);

        *pair = (struct sim_pair){.start_ns = sim_below(rng, 3 * NS_PER_S)};
        for (uint32_t e = 0; e < 2; e++) {
            end_choose(sim, &pair->end[e]);
            pair->end[e].host = e == 0 ? client : 1 - client;
            pair->ip[e] = sim->host[pair->end[e].host].ip[sim_below(rng, SIM_ADDRESSES)];
        }
        pair->end[0].shuts_first |= !pair->end[1].shuts_first; /* one of them must begin */
        if (sim->odd != 0) {                                   /* it sends nothing but its FIN */
            pair->end[0].shuts_first = true;
            pair->end[1] = (struct sim_end){.host = 1, .fin = true, .gone = true};
        }
        sim_schedule(sim, (struct sim_event){.kind = SIM_OPEN, .host = i, .at_ns = pair->start_ns});
    }
}

void sim_app_of_scenario(struct sim *sim)
{
    sim->n_pairs = sim->scenario->flows;
    for (uint32_t i = 0; i < sim->n_pairs; i++) {
        struct sim_pair *pair = &sim->pair[i];

        *pair = (struct sim_pair){.start_ns = sim->now_ns + i * 10 * NS_PER_MS};
        for (uint32_t e = 0; e < 2; e++) {
            pair->end[e] =
                (struct sim_end){.host = e, .abort_at_ns = TIME_NEVER_NS, .write_max = WRITE_MOST};
            pair->ip[e] = sim->host[e].ip[0];
        }
        pair->end[0].to_send = sim->scenario->bytes;
        pair->end[0].shuts_first = true;
        sim_schedule(sim, (struct sim_event){.kind = SIM_OPEN, .host = i, .at_ns = pair->start_ns});
    }
}

/* ---- acting --------------------------------------------------------------------------------- */

static struct utcp *stack_of(struct sim *sim, const struct sim_end *end)
{
    return sim->host[end->host].u;
}

const uint8_t *sim_noise_at(const struct sim *sim, const struct sim_end *sender, uint64_t pos)
{
    return sim->noise.data + ((sender->key + pos) & NOISE_MASK);
}

static void end_give_back(struct sim *sim, struct sim_pair *pair, struct sim_end *end,
                          bool abort_it)
{
    if (end->gone)
        return;
    end->gone = true;
    if (abort_it) {
        pair->disturbed = true;
        utcp_abort(stack_of(sim, end), sim->now_ns, end->conn);
    } else {
        utcp_release(stack_of(sim, end), sim->now_ns, end->conn);
    }
}

/* One write of random size, by copy or by reference. */
static bool write_once(struct sim *sim, struct sim_end *end)
{
    const uint64_t left = end->to_send - end->queued;
    uint32_t n = 1 + (uint32_t)sim_below(&sim->rng, end->write_max);
    const uint8_t *bytes = sim_noise_at(sim, end, end->queued);
    const uint32_t room = utcp_send_room(stack_of(sim, end), end->conn);
    int error;

    if (n > left)
        n = (uint32_t)left;
    if (n > room && room > 0)
        n = room;
    if (n <= UTCP_COPY_MAX && sim_below(&sim->rng, 2) == 0)
        error = utcp_send_copy(stack_of(sim, end), sim->now_ns, end->conn, bytes, n);
    else
        error = utcp_send(stack_of(sim, end), sim->now_ns, end->conn, &sim->noise,
                          (uint64_t)(bytes - sim->noise.data), n);
    if (error == UTCP_E_LIMIT) {
        end->refused_once = true;
        return false;
    }
    if (error != UTCP_OK) {
        sim_fail(sim, "send says %s", utcp_error_text(error));
        return false;
    }
    end->queued += n;
    if (sim_below(&sim->rng, 3) == 0)
        utcp_push(stack_of(sim, end), sim->now_ns, end->conn);
    return true;
}

static void end_write(struct sim *sim, struct sim_end *end)
{
    if (!end->connected || end->closed || end->gone || end->fin)
        return;
    while (end->queued < end->to_send && write_once(sim, end))
        ;
    utcp_push(stack_of(sim, end), sim->now_ns, end->conn);
    if (end->queued < end->to_send || (!end->shuts_first && !end->eof))
        return;
    end->fin = true;
    if (utcp_shutdown(stack_of(sim, end), sim->now_ns, end->conn) != UTCP_OK)
        sim_fail(sim, "shutdown refused");
}

static void note_done(struct sim *sim, struct sim_pair *pair)
{
    bool first = true;

    if (sim->scenario == NULL || pair->done_ns != 0 || pair->end[1].received < sim->scenario->bytes)
        return;
    for (uint32_t i = 0; i < sim->n_pairs; i++)
        first = first && sim->pair[i].done_ns == 0;
    pair->done_ns = sim->now_ns;
    for (uint32_t i = 0; first && i < sim->n_pairs; i++)
        sim->pair[i].at_first_done = sim->pair[i].end[1].received;
}

/* Reads `most` bytes and compares them with what the other end sends. */
static void end_read(struct sim *sim, struct sim_pair *pair, uint32_t e, uint64_t most)
{
    struct sim_end *end = &pair->end[e];
    const struct sim_end *sender = &pair->end[1 - e];
    uint8_t buf[4096];

    while (most > 0 && !end->gone) {
        const uint32_t cap = (uint32_t)(most < sizeof buf ? most : sizeof buf);
        const uint32_t n = utcp_recv(stack_of(sim, end), sim->now_ns, end->conn, buf, cap);

        if (n == 0)
            break;
        if (end->received + n > sender->queued)
            sim_fail(sim, "more bytes came than were sent");
        else if (memcmp(buf, sim_noise_at(sim, sender, end->received), n) != 0)
            sim_fail(sim, "wrong bytes at %lu", (unsigned long)end->received);
        end->received += n;
        most -= n;
    }
    note_done(sim, pair);
}

static uint64_t unread(struct sim *sim, const struct sim_end *end)
{
    struct utcp_info info;

    if (end->gone || !utcp_info(stack_of(sim, end), sim->now_ns, end->conn, &info))
        return 0;
    return info.bytes_received_total - end->received;
}

static void check_eof(struct sim *sim, const struct sim_end *end, const struct sim_end *sender)
{
    struct utcp_info info;

    if (!utcp_info(stack_of(sim, end), sim->now_ns, end->conn, &info)) {
        sim_fail(sim, "no information about a connection");
        return;
    }
    /* A sender that let go early has queued everything it ever will, too. */
    if (info.bytes_received_total != sender->queued || (!sender->fin && !sender->gone))
        sim_fail(sim, "EOF at %lu of %lu bytes", (unsigned long)info.bytes_received_total,
                 (unsigned long)sender->queued);
}

static bool has_black_hole(const struct sim *sim)
{
    return (sim->link[0].mtu != 0 && !sim->link[0].mtu_told) ||
           (sim->link[1].mtu != 0 && !sim->link[1].mtu_told);
}

static void check_closed(struct sim *sim, const struct sim_pair *pair, struct sim_end *end)
{
    struct utcp_info info;
    const bool undisturbed = !pair->disturbed && !sim->severed;

    if (end->reason == UTCP_CLOSE_NORMAL) {
        if (sim->odd != 0 && pair->odd.received != end->queued)
            sim_fail(sim, "closed normally, but the odd peer has %lu of %lu bytes",
                     (unsigned long)pair->odd.received, (unsigned long)end->queued);
        if (!end->eof || !end->fin)
            sim_fail(sim, "closed normally without both FINs");
        if (!utcp_info(stack_of(sim, end), sim->now_ns, end->conn, &info) ||
            info.bytes_acked_total != end->queued)
            sim_fail(sim, "closed normally with bytes not acknowledged");
    } else if (end->reason == UTCP_CLOSE_TIMEOUT &&
               (has_black_hole(sim) || (sim->odd != 0 && sim->lossy))) {
        return; /* R2 comes first where much is lost besides, or the peer gives no timestamps */
    } else if (undisturbed && (end->connected || !sim->lossy)) {
        sim_fail(sim, "port %u end %u ended by itself: %s", pair->client_port, end == &pair->end[1],
                 utcp_close_text(end->reason));
    }
}

/* Gives the handle back when there is nothing left to do with it. */
static void end_finish(struct sim *sim, struct sim_pair *pair, uint32_t e)
{
    struct sim_end *end = &pair->end[e];
    const bool finished = end->closed || (end->fin && end->eof);

    if (end->gone)
        return;
    if (finished && unread(sim, end) == 0) {
        end_give_back(sim, pair, end, false);
    } else if (end->releases_early && end->fin) {
        pair->disturbed = true; /* it may be reset when the peer goes on for long */
        end_give_back(sim, pair, end, false);
    }
}

static void end_act(struct sim *sim, struct sim_pair *pair, uint32_t e)
{
    end_write(sim, &pair->end[e]);
    end_finish(sim, pair, e);
    sim_poll_soon(sim, pair->end[e].host);
}

/* ---- events --------------------------------------------------------------------------------- */

static void start_ticks(struct sim *sim, struct sim_pair *pair, uint32_t e)
{
    struct sim_end *end = &pair->end[e];
    const uint32_t index = (uint32_t)(pair - sim->pair);

    sim_schedule(
        sim, (struct sim_event){
                 .kind = SIM_TICK, .host = index, .end = e, .at_ns = sim->now_ns + PATIENCE_NS});
    end->give_up_ns = sim->now_ns + PATIENCE_NS;
    if (end->tick_ns > 0)
        sim_schedule(sim, (struct sim_event){.kind = SIM_TICK,
                                             .host = index,
                                             .end = e,
                                             .at_ns = sim->now_ns + end->tick_ns});
    if (end->abort_at_ns != TIME_NEVER_NS) {
        end->abort_at_ns += sim->now_ns;
        sim_schedule(sim,
                     (struct sim_event){
                         .kind = SIM_TICK, .host = index, .end = e, .at_ns = end->abort_at_ns});
    }
}

void sim_app_open(struct sim *sim, struct sim_pair *pair)
{
    struct sim_end *end = &pair->end[0];
    const struct utcp_connect req = {
        .local = pair->ip[0], .remote = pair->ip[1], .remote_port = SIM_PORT, .user = pair};
    struct utcp_info info;
    const int error = utcp_connect(stack_of(sim, end), sim->now_ns, &req, &end->conn);

    if (error == UTCP_E_LIMIT) { /* no segment for the SYN just now */
        sim_schedule(sim, (struct sim_event){.kind = SIM_OPEN,
                                             .host = (uint32_t)(pair - sim->pair),
                                             .at_ns = sim->now_ns + NS_PER_S});
        return;
    }
    if (error != UTCP_OK || !utcp_info(stack_of(sim, end), sim->now_ns, end->conn, &info)) {
        sim_fail(sim, "connect says %s", utcp_error_text(error));
        return;
    }
    pair->started = true;
    pair->client_port = info.local_port;
    start_ticks(sim, pair, 0);
    sim_poll_soon(sim, end->host);
}

/* The pair that an accepted connection belongs to. */
static struct sim_pair *pair_of_accepted(struct sim *sim, uint32_t host, uint32_t conn)
{
    struct utcp_info info;

    if (!utcp_info(sim->host[host].u, sim->now_ns, conn, &info))
        return NULL;
    for (uint32_t i = sim->n_pairs; i-- > 0;) {
        struct sim_pair *pair = &sim->pair[i];

        if (pair->started && !pair->accepted && pair->end[1].host == host &&
            pair->client_port == info.remote_port && ip_addr_equal(&pair->ip[0], &info.remote) &&
            ip_addr_equal(&pair->ip[1], &info.local))
            return pair;
    }
    return NULL;
}

static struct sim_pair *accept_event(struct sim *sim, uint32_t host, uint32_t conn)
{
    struct sim_pair *pair = pair_of_accepted(sim, host, conn);

    if (pair == NULL) {
        sim_fail(sim, "a connection that nobody opened was accepted");
        return NULL;
    }
    pair->accepted = true;
    pair->end[1].conn = conn;
    utcp_set_user(sim->host[host].u, conn, pair);
    start_ticks(sim, pair, 1);
    return pair;
}

void sim_app_event(struct sim *sim, uint32_t host, const struct utcp_event *event)
{
    struct sim_pair *pair = event->user;
    struct sim_end *end;
    uint32_t e;

    if ((event->events & UTCP_EV_ACCEPTED) != 0)
        pair = accept_event(sim, host, event->conn);
    if (pair == NULL)
        return;
    e = pair->end[0].host == host ? 0 : 1;
    end = &pair->end[e];
    if (end->gone || end->conn != event->conn) {
        sim_fail(sim, "an event for a handle that was given back");
        return;
    }
    if ((event->events & (UTCP_EV_CONNECTED | UTCP_EV_ACCEPTED)) != 0)
        end->connected = true;
    if ((event->events & UTCP_EV_EOF) != 0) {
        end->eof = true;
        check_eof(sim, end, &pair->end[1 - e]);
    }
    if ((event->events & UTCP_EV_CLOSED) != 0) {
        end->closed = true;
        end->reason = event->reason;
        check_closed(sim, pair, end);
    }
    if (end->tick_ns == 0)
        end_read(sim, pair, e, UINT64_MAX);
    end_act(sim, pair, e);
}

/* Has a stack given up a connection that its application had let go already? */
static bool gave_up(const struct sim *sim, uint32_t host)
{
    const uint64_t *counters;

    if (sim->host[host].u == NULL)
        return false; /* an odd peer never does */
    counters = utcp_counters(sim->host[host].u);
    return counters[UTCP_N_linger_timeouts] + counters[UTCP_N_timeouts_r2] > 0;
}

/* A peer that has vanished without a word (its RST was lost) is noticed by the application only. */
static bool loses_patience(struct sim *sim, const struct sim_pair *pair, const struct sim_end *end)
{
    if (sim->now_ns < end->give_up_ns)
        return false;
    if (sim->odd != 0)
        return true; /* it does not repeat its FIN: no stack can know */
    if (!pair->disturbed && !sim->severed && !gave_up(sim, 1 - end->host))
        sim_fail(sim, "port %u end %u hangs: sent %lu of %lu, received %lu", pair->client_port,
                 end == &pair->end[1], (unsigned long)end->queued, (unsigned long)end->to_send,
                 (unsigned long)end->received);
    return true;
}

void sim_app_tick(struct sim *sim, struct sim_pair *pair, uint32_t e)
{
    struct sim_end *end = &pair->end[e];

    if (end->gone)
        return;
    if (sim->now_ns >= end->abort_at_ns || loses_patience(sim, pair, end)) {
        end_give_back(sim, pair, end, true);
        if (sim->noise.refs == 0)
            sim_fail(sim, "too many references dropped");
        sim_poll_soon(sim, end->host);
        return;
    }
    if (end->tick_ns == 0)
        return;
    end_read(sim, pair, e, 1 + sim_below(&sim->rng, 40000));
    end_act(sim, pair, e);
    sim_schedule(sim, (struct sim_event){.kind = SIM_TICK,
                                         .host = (uint32_t)(pair - sim->pair),
                                         .end = e,
                                         .at_ns = sim->now_ns + end->tick_ns});
}

#define LONGEST_TIMER_NS (61 * NS_PER_S) /* RTO at most, TIME-WAIT, linger */
#define BEYOND_CWND      3u /* segments: limited transmit, a probe, the first retransmission */

static void check_window(struct sim *sim, struct sim_end *end, bool upset)
{
    struct utcp_info info;
    uint32_t most;

    if (!utcp_info(stack_of(sim, end), sim->now_ns, end->conn, &info) ||
        info.state < UTCP_ESTABLISHED)
        return;
    most = info.cwnd_bytes > end->cwnd ? info.cwnd_bytes : end->cwnd;
    if (most < end->in_flight)
        most = end->in_flight; /* cwnd was reduced: a probe may go all the same */
    if (!upset && info.in_flight_bytes > most + BEYOND_CWND * info.mss_bytes)
        sim_fail(sim, "%u bytes in flight, %u allowed", info.in_flight_bytes, most);
    end->in_flight = info.in_flight_bytes;
    end->cwnd = info.cwnd_bytes;
}

void sim_app_check_bounds(struct sim *sim, uint32_t host)
{
    const uint64_t *counters = utcp_counters(sim->host[host].u);
    const uint64_t upsets = counters[UTCP_N_timeouts] + counters[UTCP_N_congestion_undone] +
                            counters[UTCP_N_zero_window_probes];
    const bool upset = upsets != sim->host[host].upsets;
    const uint64_t deadline = utcp_deadline_ns(sim->host[host].u);

    sim->host[host].upsets = upsets;
    if (deadline != TIME_NEVER_NS && deadline > sim->now_ns + LONGEST_TIMER_NS)
        sim_fail(sim, "a deadline in %lu ms",
                 (unsigned long)((deadline - sim->now_ns) / NS_PER_MS));
    for (uint32_t i = 0; i < sim->n_pairs; i++)
        for (uint32_t e = 0; e < 2; e++)
            if (sim->pair[i].end[e].host == host && sim->pair[i].end[e].connected &&
                !sim->pair[i].end[e].gone)
                check_window(sim, &sim->pair[i].end[e], upset);
}

/* When nothing is left to happen, every end must have been given back. */
void sim_app_check_end(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_pairs; i++) {
        const struct sim_pair *pair = &sim->pair[i];

        for (uint32_t e = 0; e < 2; e++)
            if ((e == 0 ? pair->started : pair->accepted) && !pair->end[e].gone)
                sim_fail(sim, "pair %u end %u hangs: sent %lu of %lu, received %lu of %lu", i, e,
                         (unsigned long)pair->end[e].queued, (unsigned long)pair->end[e].to_send,
                         (unsigned long)pair->end[e].received,
                         (unsigned long)pair->end[1 - e].queued);
    }
    if (sim->noise.refs != 1)
        sim_fail(sim, "%u references to the noise are left", sim->noise.refs - 1);
}
