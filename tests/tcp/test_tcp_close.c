/* test_tcp_close.c - ends: FIN both ways, TIME-WAIT, release, abort, RST and the attacks on it. */
#include "tests/tcp/wire.h"

static struct wire wire;
static struct wire *const w = &wire;

/* ---- FIN ------------------------------------------------------------------------------------ */

START_TEST(we_close_first_and_go_through_time_wait)
{
    wire_open(w, NULL);
    wire_establish(w);
    ck_assert_int_eq(utcp_shutdown(w->u, w->now_ns, w->conn), UTCP_OK);
    ck_assert_int_eq(utcp_shutdown(w->u, w->now_ns, w->conn), UTCP_E_STATE);
    ck_assert_int_eq(wire_try_send(w, 1), UTCP_E_STATE);
    wire_out(w, "F. 1 ack 1");
    ck_assert_int_eq(wire_state(w), UTCP_FIN_WAIT_1);
    wire_in(w, ". 1 ack 2");
    ck_assert_int_eq(wire_state(w), UTCP_FIN_WAIT_2);
    wire_in(w, "P. 1+5 ack 2"); /* half closed: bytes still come */
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 5);
    wire_in(w, "F. 6 ack 2");
    wire_out(w, ". 2 ack 7");
    ck_assert_int_eq(wire_event(w, UTCP_EV_EOF | UTCP_EV_CLOSED), UTCP_CLOSE_NORMAL);
    ck_assert_int_eq(wire_state(w), UTCP_TIME_WAIT);
    ck_assert_uint_eq(utcp_connections(w->u), 0);
    utcp_release(w->u, w->now_ns, w->conn);
    wire_at(w, 59999);
    ck_assert_uint_eq(wire_usage(w).time_wait, 1);
    wire_at(w, 60000);
    ck_assert_uint_eq(wire_usage(w).time_wait, 0);
    wire_close(w);
}
END_TEST

START_TEST(the_peer_closes_first_and_we_go_through_last_ack)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_in(w, "F. 1 ack 1");
    wire_out(w, ". 1 ack 2");
    wire_event(w, UTCP_EV_EOF);
    ck_assert_int_eq(wire_state(w), UTCP_CLOSE_WAIT);
    wire_send(w, 10); /* half closed the other way round */
    wire_out(w, "P. 1+10 ack 2");
    ck_assert_int_eq(utcp_shutdown(w->u, w->now_ns, w->conn), UTCP_OK);
    ck_assert_int_eq(wire_state(w), UTCP_LAST_ACK);
    wire_out(w, "F. 11 ack 2");
    wire_in(w, ". 2 ack 12");
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_NORMAL);
    ck_assert_int_eq(wire_state(w), UTCP_CLOSED);
    ck_assert_uint_eq(wire_usage(w).time_wait, 0);
    wire_close(w);
}
END_TEST

START_TEST(both_close_at_once)
{
    wire_open(w, NULL);
    wire_establish(w);
    (void)utcp_shutdown(w->u, w->now_ns, w->conn);
    wire_out(w, "F. 1 ack 1");
    wire_in(w, "F. 1 ack 1");
    wire_out(w, ". 2 ack 2");
    ck_assert_int_eq(wire_state(w), UTCP_CLOSING);
    wire_in(w, ". 2 ack 2");
    ck_assert_int_eq(wire_event(w, UTCP_EV_EOF | UTCP_EV_CLOSED), UTCP_CLOSE_NORMAL);
    ck_assert_uint_eq(wire_usage(w).time_wait, 1);
    wire_close(w);
}
END_TEST

START_TEST(an_ack_that_is_still_owed_goes_out_when_time_wait_begins)
{
    wire_open(w, NULL);
    wire_establish(w);
    (void)utcp_shutdown(w->u, w->now_ns, w->conn);
    wire_out(w, "F. 1 ack 1");
    wire_in(w, "F. 1 ack 1");
    wire_in(w, ". 2 ack 2"); /* both before the stack was asked for frames */
    wire_out(w, ". 2 ack 2");
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(fin_and_ack_of_ours_in_one_segment)
{
    wire_open(w, NULL);
    wire_establish(w);
    (void)utcp_shutdown(w->u, w->now_ns, w->conn);
    wire_out(w, "F. 1 ack 1");
    wire_in(w, "F. 1 ack 2");
    wire_out(w, ". 2 ack 2");
    wire_event(w, UTCP_EV_EOF | UTCP_EV_CLOSED);
    ck_assert_uint_eq(wire_usage(w).time_wait, 1);
    wire_close(w);
}
END_TEST

START_TEST(the_fin_follows_all_that_was_queued)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 1460 <mss 1460>");
    wire_out(w, ". 1 ack 1");
    wire_send(w, 2000);
    (void)utcp_shutdown(w->u, w->now_ns, w->conn);
    wire_out(w, ". 1+1460");
    wire_quiet(w);
    ck_assert_int_eq(wire_state(w), UTCP_FIN_WAIT_1);
    wire_in(w, ". 1 ack 1461 win 1460");
    wire_out(w, "FP. 1461+540");
    wire_close(w);
}
END_TEST

START_TEST(a_fin_waits_for_an_open_window_and_probes)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 10);
    wire_out(w, "P. 1+10");
    wire_in(w, ". 1 ack 11 win 0");
    (void)utcp_shutdown(w->u, w->now_ns, w->conn);
    wire_quiet(w);
    wire_at(w, 200);
    wire_out(w, "F. 11");
    wire_in(w, ". 1 ack 12 win 0");
    ck_assert_int_eq(wire_state(w), UTCP_FIN_WAIT_2);
    wire_close(w);
}
END_TEST

START_TEST(shutdown_before_the_syn_ack_sends_fin_after_it)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_send(w, 5);
    ck_assert_int_eq(utcp_shutdown(w->u, w->now_ns, w->conn), UTCP_OK);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 1000 <mss 1460>");
    wire_out(w, "FP. 1+5 ack 1");
    wire_event(w, UTCP_EV_CONNECTED);
    ck_assert_int_eq(wire_state(w), UTCP_FIN_WAIT_1);
    wire_close(w);
}
END_TEST

/* ---- TIME-WAIT ------------------------------------------------------------------------------ */

/* A connection with timestamps whose peer's last value is 1001. */
static void enter_time_wait(void)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460, ts 1000 0>");
    wire_out(w, ". 1 ack 1");
    (void)utcp_shutdown(w->u, w->now_ns, w->conn);
    wire_out(w, "F. 1 ack 1");
    wire_in(w, "F. 1 ack 2 <ts 1001 0>");
    wire_out(w, ". 2 ack 2 <ts 0 1001>");
    utcp_release(w->u, w->now_ns, w->conn);
    ck_assert_uint_eq(wire_usage(w).time_wait, 1);
}

START_TEST(a_fin_that_comes_again_in_time_wait_is_acknowledged_and_starts_it_anew)
{
    enter_time_wait();
    wire_at(w, 50000);
    wire_in(w, "F. 1 ack 2 <ts 1001 0>");
    wire_out(w, ". 2 ack 2 <ts 0 1001>");
    wire_at(w, 109999);
    ck_assert_uint_eq(wire_usage(w).time_wait, 1);
    wire_at(w, 110000);
    ck_assert_uint_eq(wire_usage(w).time_wait, 0);
    wire_close(w);
}
END_TEST

START_TEST(a_reset_in_time_wait_is_ignored)
{
    enter_time_wait();
    wire_in(w, "R 2");
    wire_in(w, "R. 2 ack 2");
    wire_quiet(w);
    ck_assert_uint_eq(wire_usage(w).time_wait, 1);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_tcp_rst_time_wait), 2);
    wire_close(w);
}
END_TEST

START_TEST(a_plain_ack_in_time_wait_is_not_answered)
{
    enter_time_wait();
    wire_in(w, ". 2 ack 2 <ts 1002 0>");
    wire_quiet(w);
    wire_in(w, "P. 2+5 ack 2 <ts 1002 0>");
    wire_out(w, ". 2 ack 2");
    wire_close(w);
}
END_TEST

static void serve_and_close_first(void)
{
    wire_open(w, NULL);
    wire_accept(w);
    (void)utcp_shutdown(w->u, w->now_ns, w->conn);
    wire_out(w, "F. 1 ack 1");
    wire_in(w, "F. 1 ack 2");
    wire_out(w, ". 2 ack 2");
    wire_event(w, UTCP_EV_EOF | UTCP_EV_CLOSED);
    utcp_release(w->u, w->now_ns, w->conn);
}

START_TEST(a_new_syn_beyond_the_old_numbers_ends_time_wait)
{
    uint32_t old_iss;

    serve_and_close_first();
    old_iss = w->own_iss;
    w->peer_iss += 100000;
    wire_in(w, "S 0 <mss 1460>");
    wire_out(w, "S. 0 ack 1");
    ck_assert_int_gt((int32_t)(w->own_iss - old_iss), 2);
    wire_in(w, ". 1 ack 1");
    wire_event(w, UTCP_EV_ACCEPTED);
    ck_assert_uint_eq(wire_count(w, UTCP_N_time_wait_reused), 1);
    wire_close(w);
}
END_TEST

START_TEST(an_old_syn_does_not_end_time_wait)
{
    serve_and_close_first();
    wire_in(w, "S 0 <mss 1460>"); /* the SYN of the connection that is over */
    wire_out(w, ". 2 ack 2");
    ck_assert_uint_eq(wire_count(w, UTCP_N_time_wait_reused), 0);
    wire_close(w);
}
END_TEST

START_TEST(a_tuple_in_time_wait_is_not_chosen_for_a_new_connection)
{
    struct utcp_config config = wire_config();
    uint16_t old;

    config.port_first = 5000;
    config.port_last = 5001;
    wire_open(w, &config);
    wire_establish(w);
    old = w->own_port;
    (void)utcp_shutdown(w->u, w->now_ns, w->conn);
    wire_out(w, "F. 1 ack 1");
    wire_in(w, "F. 1 ack 2");
    wire_out(w, ". 2 ack 2");
    wire_event(w, UTCP_EV_EOF | UTCP_EV_CLOSED);
    utcp_release(w->u, w->now_ns, w->conn);
    for (unsigned i = 0; i < 2; i++) {
        const struct utcp_connect req = {
            .local = w->own, .remote = w->peer, .remote_port = WIRE_PORT};

        ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn),
                         i == 0 ? UTCP_OK : UTCP_E_PORTS);
        ck_assert_uint_eq(wire_info(w).local_port, old == 5000 ? 5001 : 5000);
    }
    wire_at(w, 60000);
    ck_assert_uint_eq(wire_usage(w).time_wait, 0);
    wire_close(w);
}
END_TEST

/* ---- release and abort ---------------------------------------------------------------------- */

START_TEST(a_released_connection_sends_its_bytes_and_fin_and_discards_what_comes)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 2000);
    utcp_release(w->u, w->now_ns, w->conn);
    wire_out(w, ". 1+1460");
    wire_out(w, "FP. 1461+540");
    wire_in(w, "P. 1+1000 ack 1461");
    wire_in(w, "P. 1001+1000 ack 2002");
    wire_out(w, ". 2002 ack 2001");
    wire_in(w, "F. 2001 ack 2002");
    wire_out(w, ". 2002 ack 2002");
    ck_assert_uint_eq(wire_usage(w).connections, 0);
    ck_assert_uint_eq(wire_usage(w).rx_blocks, 0);
    wire_event(w, 0);
    wire_close(w);
}
END_TEST

START_TEST(a_released_connection_does_not_wait_for_ever)
{
    wire_open(w, NULL);
    wire_establish(w);
    utcp_release(w->u, w->now_ns, w->conn);
    wire_out(w, "F. 1 ack 1");
    wire_in(w, ". 1 ack 2"); /* FIN-WAIT-2, and no FIN comes */
    wire_at(w, 59999);
    ck_assert_uint_eq(utcp_connections(w->u), 1);
    wire_at(w, 60000);
    ck_assert_uint_eq(utcp_connections(w->u), 0);
    while (wire_frame_out(w) && wire_asks(w))
        ;
    ck_assert_uint_eq(wire_tcp(w)[13], TCP_RST | TCP_ACK);
    ck_assert_uint_eq(wire_usage(w).connections, 0);
    wire_close(w);
}
END_TEST

START_TEST(a_release_while_connecting_ends_at_once)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_send(w, 10);
    utcp_release(w->u, w->now_ns, w->conn);
    ck_assert_uint_eq(wire_usage(w).connections, 0);
    ck_assert_uint_eq(w->stream.refs, 1);
    wire_quiet(w);
    wire_in(w, "S. 0 ack 1");
    wire_out(w, "R 1");
    wire_close(w);
}
END_TEST

START_TEST(an_abort_lets_go_of_everything_before_it_returns)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 20000);
    wire_send(w, 20000);
    wire_out(w, ". 1+1460");
    wire_in(w, ". 1+1000 ack 1");
    wire_in(w, ". 3001+1000 ack 1");
    ck_assert_uint_eq(w->stream.refs, 3);
    utcp_abort(w->u, w->now_ns, w->conn);
    ck_assert_uint_eq(w->stream.refs, 1);
    ck_assert_uint_eq(wire_usage(w).rx_blocks, 0);
    ck_assert_uint_eq(wire_usage(w).segments, 0);
    wire_out(w, "R. 1461 ack 1001");
    wire_quiet(w);
    ck_assert_uint_eq(wire_usage(w).connections, 0);
    wire_event(w, 0);
    wire_close(w);
}
END_TEST

START_TEST(the_removal_of_an_address_resets_its_connections)
{
    struct utcp_info info;

    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    ck_assert_int_eq(utcp_address_remove(w->u, w->now_ns, &w->own), UTCP_OK);
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_LOCAL);
    ck_assert_uint_eq(w->stream.refs, 1);
    wire_out(w, "R. 101 ack 1");
    info = wire_info(w);
    ck_assert(ip_addr_equal(&info.local, &w->own));
    wire_in(w, ". 1 ack 101");
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_ip_address), 1);
    ck_assert_int_eq(utcp_address_remove(w->u, w->now_ns, &w->own), UTCP_E_ADDRESS);
    wire_close(w);
}
END_TEST

/* ---- RST and blind attacks ------------------------------------------------------------------- */

START_TEST(bytes_received_before_a_reset_can_be_read_after_it)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 10);
    wire_out(w, "P. 1+10");
    wire_in(w, "P. 1+100 ack 1");
    wire_in(w, "R. 101 ack 1");
    ck_assert_int_eq(wire_event(w, UTCP_EV_READABLE | UTCP_EV_CLOSED), UTCP_CLOSE_RESET);
    ck_assert_uint_eq(w->stream.refs, 1);
    wire_read(w, 100);
    ck_assert_int_eq(wire_try_send(w, 1), UTCP_E_STATE);
    ck_assert_int_eq(utcp_shutdown(w->u, w->now_ns, w->conn), UTCP_E_STATE);
    utcp_release(w->u, w->now_ns, w->conn);
    ck_assert_uint_eq(wire_usage(w).connections, 0);
    ck_assert_uint_eq(wire_count(w, UTCP_N_estab_resets), 1);
    wire_close(w);
}
END_TEST

START_TEST(a_reset_counts_only_at_the_exact_number)
{
    static const struct {
        const char *in;
        bool challenged;
    } cases[] = {
        {"R 2", true},      {"R 1000", true}, {"R 32768", true},
        {"R 32769", false}, {"R 0", false},   {"R. 500 ack 1", true},
    };

    wire_open(w, NULL);
    wire_establish(w);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wire_at(w, 1000 * (i + 1));
        wire_in(w, cases[i].in);
        if (cases[i].challenged)
            wire_out(w, ". 1 ack 1");
        wire_quiet(w);
        wire_event(w, 0);
    }
    wire_in(w, "R 1");
    wire_event(w, UTCP_EV_CLOSED);
    wire_close(w);
}
END_TEST

START_TEST(a_syn_on_a_live_connection_is_challenged)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_in(w, "S 1");
    wire_out(w, ". 1 ack 1");
    wire_in(w, "S 90000000");
    wire_out(w, ". 1 ack 1");
    wire_in(w, "S. 5 ack 1");
    wire_out(w, ". 1 ack 1");
    wire_event(w, 0);
    wire_close(w);
}
END_TEST

START_TEST(challenge_acks_are_limited_for_each_connection)
{
    wire_open(w, NULL);
    wire_establish(w);
    for (unsigned i = 0; i < 20; i++) {
        wire_in(w, "R 100");
        (void)wire_frame_out(w);
    }
    ck_assert_uint_eq(wire_count(w, UTCP_N_challenge_acks), 5);
    ck_assert_uint_eq(wire_count(w, UTCP_N_challenge_acks_limited), 15);
    wire_at(w, 1000);
    wire_in(w, "R 100");
    wire_out(w, ". 1 ack 1");
    for (unsigned i = 0; i < 20; i++) { /* retransmitted data is always answered */
        wire_in(w, "P. 1+10 ack 1");
        wire_in(w, "P. 1+10 ack 1");
        wire_out(w, ". 1 ack 11");
    }
    wire_close(w);
}
END_TEST

START_TEST(an_ack_of_what_was_never_sent_is_answered_and_dropped)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 10);
    wire_out(w, "P. 1+10");
    wire_in(w, "P. 1+5 ack 12");
    wire_out(w, ". 11 ack 1");
    wire_event(w, 0);
    wire_in(w, "P. 1+5 ack 4000000000"); /* far too old */
    wire_out(w, ". 11 ack 1");
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_tcp_ack), 2);
    wire_in(w, "P. 1+5 ack 1");
    wire_event(w, UTCP_EV_READABLE);
    wire_close(w);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, we_close_first_and_go_through_time_wait);
    tcase_add_test(tcase, the_peer_closes_first_and_we_go_through_last_ack);
    tcase_add_test(tcase, both_close_at_once);
    tcase_add_test(tcase, an_ack_that_is_still_owed_goes_out_when_time_wait_begins);
    tcase_add_test(tcase, fin_and_ack_of_ours_in_one_segment);
    tcase_add_test(tcase, the_fin_follows_all_that_was_queued);
    tcase_add_test(tcase, a_fin_waits_for_an_open_window_and_probes);
    tcase_add_test(tcase, shutdown_before_the_syn_ack_sends_fin_after_it);
    tcase_add_test(tcase, a_fin_that_comes_again_in_time_wait_is_acknowledged_and_starts_it_anew);
    tcase_add_test(tcase, a_reset_in_time_wait_is_ignored);
    tcase_add_test(tcase, a_plain_ack_in_time_wait_is_not_answered);
    tcase_add_test(tcase, a_new_syn_beyond_the_old_numbers_ends_time_wait);
    tcase_add_test(tcase, an_old_syn_does_not_end_time_wait);
    tcase_add_test(tcase, a_tuple_in_time_wait_is_not_chosen_for_a_new_connection);
    tcase_add_test(tcase, a_released_connection_sends_its_bytes_and_fin_and_discards_what_comes);
    tcase_add_test(tcase, a_released_connection_does_not_wait_for_ever);
    tcase_add_test(tcase, a_release_while_connecting_ends_at_once);
    tcase_add_test(tcase, an_abort_lets_go_of_everything_before_it_returns);
    tcase_add_test(tcase, the_removal_of_an_address_resets_its_connections);
    tcase_add_test(tcase, bytes_received_before_a_reset_can_be_read_after_it);
    tcase_add_test(tcase, a_reset_counts_only_at_the_exact_number);
    tcase_add_test(tcase, a_syn_on_a_live_connection_is_challenged);
    tcase_add_test(tcase, challenge_acks_are_limited_for_each_connection);
    tcase_add_test(tcase, an_ack_of_what_was_never_sent_is_answered_and_dropped);
}

int main(void)
{
    return wire_run_both("tcp close", add_tests);
}
