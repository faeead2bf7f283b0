/* test_tcp_states.c - every event in every synchronized state, as a table (RFC 9293 3.10.7.4). */
#include "tests/tcp/wire.h"

static struct wire wire;
static struct wire *const w = &wire;

#define GONE UTCP_CLOSED

/* A state, and the relative numbers that hold in it. */
struct fixture {
    enum utcp_state state;
    uint32_t own_una, own_nxt, peer_nxt;
    bool has_handle;
};

static const struct fixture fixtures[] = {
    {UTCP_SYN_RECEIVED, 0, 1, 1, false}, {UTCP_ESTABLISHED, 1, 1, 1, true},
    {UTCP_FIN_WAIT_1, 1, 2, 1, true},    {UTCP_FIN_WAIT_2, 2, 2, 1, true},
    {UTCP_CLOSE_WAIT, 1, 1, 2, true},    {UTCP_CLOSING, 1, 2, 2, true},
    {UTCP_LAST_ACK, 1, 2, 2, true},
};
#define N_FIXTURES (sizeof fixtures / sizeof fixtures[0])

static void reach_syn_received(void)
{
    ck_assert_int_eq(utcp_listen(w->u, &w->own, WIRE_PORT, NULL), UTCP_OK);
    w->own_port = WIRE_PORT;
    w->peer_port = 40000;
    wire_in(w, "S 0 <mss 1460>");
    wire_out(w, "S. 0 ack 1");
}

static void we_close(const char *fin)
{
    ck_assert_int_eq(utcp_shutdown(w->u, w->now_ns, w->conn), UTCP_OK);
    wire_out(w, fin);
}

static void peer_closes(const char *fin, const char *ack)
{
    wire_in(w, fin);
    wire_out(w, ack);
    wire_event(w, UTCP_EV_EOF);
}

static void reach(const struct fixture *f)
{
    wire_open(w, NULL);
    if (f->state == UTCP_SYN_RECEIVED) {
        reach_syn_received();
        return;
    }
    wire_establish(w);
    if (f->state == UTCP_FIN_WAIT_1 || f->state == UTCP_FIN_WAIT_2 || f->state == UTCP_CLOSING)
        we_close("F. 1 ack 1");
    if (f->state == UTCP_FIN_WAIT_2)
        wire_in(w, ". 1 ack 2");
    if (f->state == UTCP_CLOSING)
        peer_closes("F. 1 ack 1", ". 2 ack 2");
    if (f->state == UTCP_CLOSE_WAIT || f->state == UTCP_LAST_ACK)
        peer_closes("F. 1 ack 1", ". 1 ack 2");
    if (f->state == UTCP_LAST_ACK)
        we_close("F. 1 ack 2");
    ck_assert_int_eq(wire_state(w), f->state);
    wire_quiet(w);
}

/* Sends FLAGS at `seq` (relative to what is expected next) with `ack`. */
static void inject(const struct fixture *f, const char *flags, int32_t seq, uint32_t len,
                   uint32_t ack)
{
    char text[64];

    (void)snprintf(text, sizeof text, "%s %u+%u ack %u", flags, f->peer_nxt + (uint32_t)seq, len,
                   ack);
    wire_in(w, text);
}

static void expect_ack(const struct fixture *f)
{
    char text[64];

    (void)snprintf(text, sizeof text, ". %u ack %u", f->own_nxt, f->peer_nxt);
    wire_out(w, text);
    wire_quiet(w);
}

/* The connection is in `state` now; an embryo has no handle to ask. */
static void expect_state(const struct fixture *f, enum utcp_state state)
{
    if (f->has_handle)
        ck_assert_msg(wire_state(w) == state, "from %s: %s wanted, got %s",
                      utcp_state_text(f->state), utcp_state_text(state),
                      utcp_state_text(wire_state(w)));
    else
        ck_assert_uint_eq(utcp_connections(w->u) + wire_usage(w).half_open,
                          state == GONE ? 0 : 1);
}

START_TEST(reset_at_the_exact_number_ends_every_state)
{
    for (size_t i = 0; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];

        reach(f);
        inject(f, "R.", 0, 0, f->own_nxt);
        wire_quiet(w);
        if (f->has_handle)
            ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_RESET);
        expect_state(f, GONE);
        wire_close(w);
    }
}
END_TEST

START_TEST(reset_elsewhere_in_the_window_is_challenged_in_every_state)
{
    for (size_t i = 1; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];

        reach(f);
        inject(f, "R", 100, 0, 0);
        expect_ack(f);
        wire_event(w, 0);
        expect_state(f, f->state);
        wire_close(w);
    }
}
END_TEST

START_TEST(reset_outside_of_the_window_is_dropped_in_every_state)
{
    for (size_t i = 0; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];

        reach(f);
        inject(f, "R", -1, 0, 0);
        inject(f, "R.", 40000, 0, f->own_nxt);
        wire_quiet(w);
        wire_event(w, 0);
        expect_state(f, f->state);
        ck_assert_uint_eq(wire_count(w, UTCP_N_drop_tcp_rst_window), 2);
        wire_close(w);
    }
}
END_TEST

START_TEST(syn_in_the_window_is_challenged_and_sends_an_embryo_back_to_listen)
{
    for (size_t i = 0; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];

        reach(f);
        inject(f, "S", 10, 0, 0);
        if (f->state == UTCP_SYN_RECEIVED) {
            wire_quiet(w);
            expect_state(f, GONE);
        } else {
            expect_ack(f);
            expect_state(f, f->state);
        }
        wire_event(w, 0);
        wire_close(w);
    }
}
END_TEST

START_TEST(segment_without_ack_is_dropped_in_every_state)
{
    for (size_t i = 0; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];

        reach(f);
        inject(f, "F", 0, 10, 0);
        wire_quiet(w);
        wire_event(w, 0);
        expect_state(f, f->state);
        ck_assert_uint_eq(wire_count(w, UTCP_N_drop_tcp_no_ack), 1);
        wire_close(w);
    }
}
END_TEST

START_TEST(ack_of_what_was_not_sent_is_refused_in_every_state)
{
    for (size_t i = 0; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];

        reach(f);
        inject(f, "F.", 0, 10, f->own_nxt + 1);
        if (f->state == UTCP_SYN_RECEIVED) {
            wire_out(w, "R 2");
            wire_quiet(w);
        } else {
            expect_ack(f);
        }
        wire_event(w, 0);
        expect_state(f, f->state);
        wire_close(w);
    }
}
END_TEST

START_TEST(old_data_is_answered_in_every_state)
{
    for (size_t i = 1; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];

        reach(f);
        inject(f, "P.", -20, 10, f->own_una);
        expect_ack(f);
        wire_event(w, 0);
        expect_state(f, f->state);
        wire_close(w);
    }
}
END_TEST

START_TEST(data_is_taken_until_the_peers_fin_and_ignored_behind_it)
{
    for (size_t i = 0; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];
        const bool behind_fin = f->peer_nxt == 2;

        reach(f);
        inject(f, "P.", 0, 10, f->state == UTCP_SYN_RECEIVED ? 1 : f->own_una);
        if (f->state == UTCP_SYN_RECEIVED)
            wire_event(w, UTCP_EV_ACCEPTED | UTCP_EV_READABLE);
        else
            wire_event(w, behind_fin ? 0 : UTCP_EV_READABLE);
        ck_assert_uint_eq(wire_info(w).bytes_received_total, behind_fin ? 0 : 10);
        wire_close(w);
    }
}
END_TEST

START_TEST(fin_moves_each_state_as_the_diagram_says)
{
    static const enum utcp_state after[N_FIXTURES] = {
        UTCP_CLOSE_WAIT, UTCP_CLOSE_WAIT, UTCP_CLOSING,  UTCP_TIME_WAIT,
        UTCP_CLOSE_WAIT, UTCP_CLOSING,    UTCP_LAST_ACK,
    };

    for (size_t i = 0; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];

        reach(f);
        inject(f, "F.", 0, 0, f->state == UTCP_SYN_RECEIVED ? 1 : f->own_una);
        if (f->state == UTCP_SYN_RECEIVED)
            wire_event(w, UTCP_EV_ACCEPTED | UTCP_EV_EOF);
        ck_assert_msg(wire_state(w) == after[i], "from %s to %s", utcp_state_text(f->state),
                      utcp_state_text(wire_state(w)));
        wire_close(w);
    }
}
END_TEST

START_TEST(ack_of_our_fin_moves_each_state_as_the_diagram_says)
{
    static const enum utcp_state after[N_FIXTURES] = {
        UTCP_ESTABLISHED, UTCP_ESTABLISHED, UTCP_FIN_WAIT_2, UTCP_FIN_WAIT_2,
        UTCP_CLOSE_WAIT,  UTCP_TIME_WAIT,   UTCP_CLOSED,
    };

    for (size_t i = 0; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];

        reach(f);
        inject(f, ".", 0, 0, f->own_nxt);
        if (f->state == UTCP_SYN_RECEIVED)
            wire_event(w, UTCP_EV_ACCEPTED);
        ck_assert_msg(wire_state(w) == after[i], "from %s to %s", utcp_state_text(f->state),
                      utcp_state_text(wire_state(w)));
        wire_close(w);
    }
}
END_TEST

START_TEST(shutdown_moves_each_state_as_the_diagram_says)
{
    static const struct {
        int error;
        enum utcp_state after;
    } rows[N_FIXTURES] = {
        {UTCP_E_HANDLE, UTCP_SYN_RECEIVED}, {UTCP_OK, UTCP_FIN_WAIT_1},
        {UTCP_E_STATE, UTCP_FIN_WAIT_1},    {UTCP_E_STATE, UTCP_FIN_WAIT_2},
        {UTCP_OK, UTCP_LAST_ACK},           {UTCP_E_STATE, UTCP_CLOSING},
        {UTCP_E_STATE, UTCP_LAST_ACK},
    };

    for (size_t i = 0; i < N_FIXTURES; i++) {
        reach(&fixtures[i]);
        ck_assert_int_eq(utcp_shutdown(w->u, w->now_ns, w->conn), rows[i].error);
        expect_state(&fixtures[i], rows[i].after);
        wire_close(w);
    }
}
END_TEST

START_TEST(abort_sends_rst_where_rfc_9293_3_10_5_says_so)
{
    for (size_t i = 1; i < N_FIXTURES; i++) {
        const struct fixture *f = &fixtures[i];
        const bool rst = f->state != UTCP_CLOSING && f->state != UTCP_LAST_ACK;

        reach(f);
        utcp_abort(w->u, w->now_ns, w->conn);
        if (rst) {
            char text[32];

            (void)snprintf(text, sizeof text, "R. %u ack %u", f->own_nxt, f->peer_nxt);
            wire_out(w, text);
        }
        wire_quiet(w);
        ck_assert_uint_eq(wire_usage(w).connections, 0);
        wire_close(w);
    }
}
END_TEST

START_TEST(silence_of_the_peer_ends_every_state_after_release)
{
    for (size_t i = 0; i < N_FIXTURES; i++) {
        reach(&fixtures[i]);
        if (fixtures[i].has_handle)
            utcp_release(w->u, w->now_ns, w->conn);
        for (uint64_t ms = 0; ms < 130000; ms += 1000) {
            wire_at(w, ms);
            while (wire_frame_out(w))
                ;
        }
        ck_assert_msg(wire_usage(w).connections == 0, "from %s",
                      utcp_state_text(fixtures[i].state));
        wire_close(w);
    }
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, reset_at_the_exact_number_ends_every_state);
    tcase_add_test(tcase, reset_elsewhere_in_the_window_is_challenged_in_every_state);
    tcase_add_test(tcase, reset_outside_of_the_window_is_dropped_in_every_state);
    tcase_add_test(tcase, syn_in_the_window_is_challenged_and_sends_an_embryo_back_to_listen);
    tcase_add_test(tcase, segment_without_ack_is_dropped_in_every_state);
    tcase_add_test(tcase, ack_of_what_was_not_sent_is_refused_in_every_state);
    tcase_add_test(tcase, old_data_is_answered_in_every_state);
    tcase_add_test(tcase, data_is_taken_until_the_peers_fin_and_ignored_behind_it);
    tcase_add_test(tcase, fin_moves_each_state_as_the_diagram_says);
    tcase_add_test(tcase, ack_of_our_fin_moves_each_state_as_the_diagram_says);
    tcase_add_test(tcase, shutdown_moves_each_state_as_the_diagram_says);
    tcase_add_test(tcase, abort_sends_rst_where_rfc_9293_3_10_5_says_so);
    tcase_add_test(tcase, silence_of_the_peer_ends_every_state_after_release);
}

int main(void)
{
    return wire_run_both("tcp states", add_tests);
}
