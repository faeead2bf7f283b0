/* test_tcp_data.c - bytes on an established connection: segments, ACKs, windows, order. */
#include "tests/tcp/wire.h"

static struct wire wire;
static struct wire *const w = &wire;

/* ---- sending -------------------------------------------------------------------------------- */

START_TEST(a_push_sends_full_segments_and_marks_the_last)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 3000);
    wire_out(w, ". 1+1460 ack 1");
    wire_out(w, ". 1461+1460 ack 1");
    wire_out(w, "P. 2921+80 ack 1");
    wire_quiet(w);
    wire_in(w, ". 1 ack 3001");
    ck_assert_uint_eq(wire_info(w).bytes_acked_total, 3000);
    ck_assert_uint_eq(w->stream.refs, 1);
    wire_close(w);
}
END_TEST

START_TEST(a_partial_segment_is_held_until_the_push)
{
    wire_open(w, NULL);
    wire_establish(w);
    ck_assert_int_eq(utcp_send(w->u, w->now_ns, w->conn, &w->stream, 0, 1000), UTCP_OK);
    wire_quiet(w);
    ck_assert_int_eq(utcp_send(w->u, w->now_ns, w->conn, &w->stream, 1000, 1000), UTCP_OK);
    wire_out(w, ". 1+1460 ack 1");
    wire_quiet(w);
    wire_at(w, 1300); /* held bytes are no reason for a timer to probe */
    wire_out(w, ". 1+1460 ack 1");
    wire_in(w, ". 1 ack 1461");
    utcp_push(w->u, w->now_ns, w->conn);
    while (wire_frame_out(w) && wire_asks(w))
        ;
    ck_assert_ptr_eq(wire_tcp(w) + TCP_LEN + 540, w->bytes + w->bytes_len);
    wire_close(w);
}
END_TEST

START_TEST(small_pieces_by_copy_and_by_reference_share_segments)
{
    uint8_t byte;

    wire_open(w, NULL);
    wire_establish(w);
    for (uint32_t i = 0; i < 600; i++) {
        byte = wire_byte(i);
        ck_assert_int_eq(utcp_send_copy(w->u, w->now_ns, w->conn, &byte, 1), UTCP_OK);
    }
    w->sent = 600;
    wire_send(w, 5);
    wire_send(w, 5);
    wire_out(w, "P. 1+610 ack 1");
    wire_quiet(w);
    ck_assert_uint_eq(wire_usage(w).copy_blocks, 2);
    wire_in(w, ". 1 ack 300");
    wire_in(w, ". 1 ack 611");
    ck_assert_uint_eq(wire_usage(w).copy_blocks, 0);
    ck_assert_uint_eq(wire_usage(w).chunks, 0);
    wire_close(w);
}
END_TEST

START_TEST(more_than_sixteen_pieces_take_more_than_one_frame)
{
    wire_open(w, NULL);
    wire_establish(w);
    for (uint32_t i = 0; i < 40; i++)
        ck_assert_int_eq(utcp_send(w->u, w->now_ns, w->conn, &w->stream, i * 10, 10), UTCP_OK);
    utcp_push(w->u, w->now_ns, w->conn);
    wire_out(w, ". 1+160 ack 1");
    wire_out(w, ". 161+160 ack 1");
    wire_out(w, "P. 321+80 ack 1");
    wire_quiet(w);
    ck_assert_uint_eq(w->stream.refs, 41);
    wire_in(w, ". 1 ack 165");
    ck_assert_uint_eq(w->stream.refs, 25);
    wire_close(w);
}
END_TEST

START_TEST(an_extent_is_freed_with_its_last_reference)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 100);
    wire_send(w, 100);
    ck_assert_uint_eq(w->stream.refs, 3);
    wire_out(w, "P. 1+200 ack 1");
    wire_in(w, ". 1 ack 100");
    ck_assert_uint_eq(w->stream.refs, 3);
    wire_in(w, ". 1 ack 101");
    ck_assert_uint_eq(w->stream.refs, 2);
    wire_in(w, ". 1 ack 201");
    ck_assert_uint_eq(w->stream.refs, 1);
    wire_close(w);
}
END_TEST

START_TEST(the_initial_window_is_ten_segments_and_doubles_with_acks)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 60 * 1460);
    for (uint32_t i = 0; i < 10; i++) {
        char text[32];

        (void)snprintf(text, sizeof text, ". %u+1460", 1 + i * 1460);
        wire_out(w, text);
    }
    wire_quiet(w);
    wire_in(w, ". 1 ack 2921"); /* two segments: two go for them, and two more for growth */
    wire_out(w, ". 14601+1460");
    wire_out(w, ". 16061+1460");
    wire_out(w, ". 17521+1460");
    wire_out(w, ". 18981+1460");
    wire_quiet(w);
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, 12 * 1460);
    wire_close(w);
}
END_TEST

START_TEST(an_application_that_sends_little_does_not_grow_the_window)
{
    wire_open(w, NULL);
    wire_establish(w);
    for (uint32_t i = 0; i < 20; i++) {
        char text[32];

        wire_send(w, 100);
        (void)snprintf(text, sizeof text, "P. %u+100", 1 + i * 100);
        wire_out(w, text);
        (void)snprintf(text, sizeof text, ". 1 ack %u", 101 + i * 100);
        wire_in(w, text);
    }
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, 14600);
    wire_close(w);
}
END_TEST

START_TEST(after_an_idle_time_the_window_starts_again)
{
    wire_open(w, NULL);
    wire_establish(w);
    for (uint32_t round = 0; round < 3; round++) {
        wire_send(w, 29200);
        while (wire_frame_out(w))
            ;
        for (uint32_t at = 2921; at <= 29201; at += 2920) {
            char text[32];

            (void)snprintf(text, sizeof text, ". 1 ack %u", round * 29200 + at);
            wire_in(w, text);
            while (wire_frame_out(w))
                ;
        }
    }
    ck_assert_uint_gt(wire_info(w).cwnd_bytes, 14600);
    wire_at(w, 5000);
    wire_send(w, 1460);
    ck_assert(wire_frame_out(w));
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, 14600);
    wire_close(w);
}
END_TEST

/* ---- the peer's window ---------------------------------------------------------------------- */

START_TEST(the_peers_window_is_a_limit)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 2000 <mss 1460>");
    wire_out(w, ". 1 ack 1");
    wire_event(w, UTCP_EV_CONNECTED);
    wire_send(w, 5000);
    wire_out(w, ". 1+1460");
    wire_quiet(w); /* 540 are left of the window: silly */
    wire_in(w, ". 1 ack 1461 win 2920");
    wire_out(w, ". 1461+1460");
    wire_out(w, ". 2921+1460");
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(a_shut_window_is_probed_with_one_byte_and_doubling_intervals)
{
    static const struct {
        uint64_t ms;
        const char *probe;
    } probes[] = {{400, ". 101+1"}, {1200, ". 101+1"}, {2800, ". 101+1"}, {6000, ". 101+1"}};

    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    wire_in(w, ". 1 ack 101 win 0");
    wire_send(w, 2000);
    wire_quiet(w);
    wire_at(w, 199);
    wire_quiet(w);
    wire_at(w, 200);
    wire_out(w, ". 101+1");
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        wire_in(w, ". 1 ack 101 win 0");
        wire_at(w, 200 + probes[i].ms - 1);
        wire_quiet(w);
        wire_at(w, 200 + probes[i].ms);
        wire_out(w, probes[i].probe);
        wire_quiet(w);
    }
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, 14600); /* no sign of congestion */
    wire_in(w, ". 1 ack 101 win 5000");
    wire_out(w, ". 101+1"); /* the byte that was thrown away */
    wire_out(w, ". 102+1460");
    wire_out(w, "P. 1562+539");
    wire_quiet(w);
    wire_in(w, ". 1 ack 2101 win 5000");
    ck_assert_uint_ge(wire_info(w).zero_window_ns, 6199 * NS_PER_MS);
    wire_close(w);
}
END_TEST

START_TEST(a_probe_that_is_taken_is_acknowledged_and_the_rest_waits)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    wire_in(w, ". 1 ack 101 win 0");
    wire_send(w, 50);
    wire_quiet(w);
    wire_at(w, 200);
    wire_out(w, ". 101+1");
    wire_in(w, ". 1 ack 102 win 0");
    wire_quiet(w);
    wire_at(w, 400);
    wire_out(w, ". 102+1");
    wire_in(w, ". 1 ack 103 win 1000");
    wire_out(w, "P. 103+48");
    wire_close(w);
}
END_TEST

START_TEST(a_shut_window_is_kept_open_for_hours_while_the_peer_answers)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    wire_in(w, ". 1 ack 101 win 0");
    wire_send(w, 50);
    for (uint64_t ms = 0; ms < 7200000; ms += 500) {
        wire_at(w, ms);
        while (wire_frame_out(w)) {
            if (wire_asks(w))
                wire_answer(w);
            else
                wire_in(w, ". 1 ack 101 win 0");
        }
    }
    wire_event(w, 0);
    ck_assert_int_eq(wire_state(w), UTCP_ESTABLISHED);
    ck_assert_uint_gt(wire_count(w, UTCP_N_zero_window_probes), 110);
    ck_assert_uint_lt(wire_count(w, UTCP_N_zero_window_probes), 140); /* once a minute */
    wire_close(w);
}
END_TEST

START_TEST(a_shut_window_and_a_dead_peer_end_after_two_minutes)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    wire_in(w, ". 1 ack 101 win 0");
    wire_send(w, 50);
    for (uint64_t ms = 0; ms < 240000; ms += 500) {
        wire_at(w, ms);
        while (wire_frame_out(w))
            if (wire_asks(w))
                wire_answer(w);
    }
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_TIMEOUT);
    wire_close(w);
}
END_TEST

START_TEST(an_old_segment_does_not_bring_an_old_window_back)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    wire_in(w, "P. 1+10 ack 101 win 3000");
    wire_at(w, 40);
    wire_out(w, ". 101 ack 11");
    wire_in(w, ". 1 ack 50 win 100"); /* overtaken on the way */
    wire_send(w, 1460);
    wire_out(w, "P. 101+1460");
    wire_close(w);
}
END_TEST

/* ---- receiving ------------------------------------------------------------------------------ */

START_TEST(every_second_full_segment_is_acknowledged_at_once_and_one_after_40_ms)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_in(w, ". 1+1460 ack 1");
    wire_quiet(w);
    wire_in(w, ". 1461+1460 ack 1");
    wire_out(w, ". 1 ack 2921");
    wire_quiet(w);
    wire_in(w, ". 2921+1460 ack 1");
    wire_at(w, 39);
    wire_quiet(w);
    wire_at(w, 40);
    wire_out(w, ". 1 ack 4381");
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_acks_delayed), 1);
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 4380);
    wire_close(w);
}
END_TEST

START_TEST(an_answer_carries_the_ack)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_in(w, "P. 1+10 ack 1");
    wire_quiet(w);
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 10);
    wire_send(w, 20);
    wire_out(w, "P. 1+20 ack 11");
    wire_in(w, ". 11 ack 21");
    wire_at(w, 10000);
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(bytes_out_of_order_are_kept_and_answered_with_duplicate_acks_and_sack)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460, sackok>");
    wire_out(w, ". 1 ack 1");
    wire_event(w, UTCP_EV_CONNECTED);
    wire_in(w, ". 1001+500 ack 1");
    wire_out(w, ". 1 ack 1 <sack 1001 1501>");
    wire_in(w, ". 2001+500 ack 1");
    wire_out(w, ". 1 ack 1 <sack 2001 2501 1001 1501>");
    wire_in(w, ". 1501+100 ack 1");
    wire_out(w, ". 1 ack 1 <sack 1001 1601 2001 2501>");
    wire_event(w, 0);
    wire_in(w, ". 1+1000 ack 1");
    wire_out(w, ". 1 ack 1601 <sack 2001 2501>");
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 1600);
    wire_in(w, ". 1601+400 ack 1");
    wire_out(w, ". 1 ack 2501 <>");
    wire_read(w, 900);
    ck_assert_uint_eq(wire_usage(w).rx_blocks, 0);
    wire_close(w);
}
END_TEST

START_TEST(each_early_segment_gets_its_own_duplicate_ack)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_in(w, ". 1001+500 ack 1");
    wire_in(w, ". 1501+500 ack 1");
    wire_in(w, ". 2001+500 ack 1"); /* all before the stack was asked for frames */
    wire_out(w, ". 1 ack 1 <>");
    wire_out(w, ". 1 ack 1 <>");
    wire_out(w, ". 1 ack 1 <>");
    wire_quiet(w);
    wire_close(w);
}
END_TEST

/* Every way in which a second piece can lie over two that are there. */
START_TEST(overlapping_pieces_in_any_order_make_the_same_stream)
{
    for (uint32_t from = 0; from < 60; from += 3) {
        for (uint32_t len = 1; len <= 60 - from; len += 4) {
            char text[48];

            wire_open(w, NULL);
            wire_establish(w);
            wire_in(w, ". 11+10 ack 1");
            wire_in(w, ". 31+10 ack 1");
            (void)snprintf(text, sizeof text, ". %u+%u ack 1", 1 + from, len);
            wire_in(w, text);
            wire_in(w, ". 1+60 ack 1");
            wire_in(w, ". 21+40 ack 1");
            while (wire_frame_out(w))
                ;
            wire_event(w, UTCP_EV_CONNECTED * 0 + UTCP_EV_READABLE);
            wire_read(w, 60);
            ck_assert_uint_eq(wire_usage(w).rx_blocks, 0);
            wire_close(w);
        }
    }
}
END_TEST

START_TEST(what_came_before_is_answered_and_not_taken_twice)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_in(w, ". 1+100 ack 1");
    wire_in(w, ". 1+100 ack 1");
    wire_out(w, ". 1 ack 101");
    wire_in(w, ". 51+100 ack 1"); /* half of it is new */
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 150);
    ck_assert_uint_eq(wire_count(w, UTCP_N_rx_data_duplicate), 1);
    wire_close(w);
}
END_TEST

START_TEST(the_window_shrinks_with_unread_bytes_and_opens_when_they_are_read)
{
    struct utcp_config config = wire_config();
    char text[48];

    config.rx_window_bytes = 8000;
    wire_open(w, &config);
    wire_establish(w);
    for (uint32_t i = 0; i < 4; i++) {
        (void)snprintf(text, sizeof text, ". %u+1000 ack 1", 1 + i * 2000);
        wire_in(w, text);
        (void)snprintf(text, sizeof text, ". %u+1000 ack 1", 1001 + i * 2000);
        wire_in(w, text);
        (void)snprintf(text, sizeof text, ". 1 ack %u win %u", 2001 + i * 2000, 6000 - i * 2000);
        wire_out(w, text);
    }
    wire_in(w, ". 8001+1 ack 1"); /* a probe */
    wire_out(w, ". 1 ack 8001 win 0");
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 100);
    wire_quiet(w); /* not for so little */
    wire_read(w, 1400);
    wire_out(w, ". 1 ack 8001 win 1500");
    wire_quiet(w);
    wire_read(w, 6500);
    wire_out(w, ". 1 ack 8001 win 8000");
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(an_ack_that_comes_with_a_probe_of_our_shut_window_counts)
{
    struct utcp_config config = wire_config();

    config.rx_window_bytes = 2000;
    wire_open(w, &config);
    wire_establish(w);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    wire_in(w, ". 1+1000 ack 1");
    wire_in(w, ". 1001+1000 ack 1");
    wire_out(w, ". 101 ack 2001 win 0");
    wire_in(w, ". 2001+1 ack 101");
    wire_out(w, ". 101 ack 2001 win 0");
    ck_assert_uint_eq(wire_info(w).bytes_acked_total, 100);
    wire_close(w);
}
END_TEST

START_TEST(bytes_beyond_the_window_are_cut_off)
{
    struct utcp_config config = wire_config();

    config.rx_window_bytes = 2000;
    wire_open(w, &config);
    wire_establish(w);
    wire_in(w, ". 1+1000 ack 1");
    wire_in(w, "FP. 1001+1400 ack 1");
    wire_out(w, ". 1 ack 2001 win 0");
    wire_event(w, UTCP_EV_READABLE); /* no EOF: the FIN was beyond */
    wire_read(w, 2000);
    wire_close(w);
}
END_TEST

START_TEST(an_early_fin_waits_for_the_bytes_before_it)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_in(w, "FP. 101+50 ack 1");
    wire_out(w, ". 1 ack 1");
    wire_event(w, 0);
    wire_in(w, ". 1+100 ack 1");
    wire_out(w, ". 1 ack 152");
    wire_event(w, UTCP_EV_READABLE | UTCP_EV_EOF);
    wire_read(w, 150);
    ck_assert_int_eq(wire_state(w), UTCP_CLOSE_WAIT);
    wire_close(w);
}
END_TEST

START_TEST(bytes_behind_the_fin_are_not_taken)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_in(w, "FP. 101+50 ack 1");
    wire_out(w, ". 1 ack 1");
    wire_in(w, ". 1+300 ack 1");
    wire_out(w, ". 1 ack 152");
    wire_event(w, UTCP_EV_READABLE | UTCP_EV_EOF);
    wire_read(w, 150);
    wire_close(w);
}
END_TEST

START_TEST(an_early_segments_window_is_not_replaced_by_that_of_an_older_one)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_in(w, ". 1001+10 ack 1 win 3000");
    wire_out(w, ". 1 ack 1");
    wire_in(w, ". 1+10 ack 1 win 100"); /* sent before */
    wire_out(w, ". 1 ack 11");
    wire_send(w, 1460);
    wire_out(w, "P. 1+1460");
    wire_close(w);
}
END_TEST

START_TEST(the_window_does_not_creep_open_by_small_steps)
{
    struct utcp_config config = wire_config();

    config.rx_window_bytes = 8000;
    wire_open(w, &config);
    wire_establish(w);
    wire_in(w, ". 1+1000 ack 1");
    wire_in(w, ". 1001+1000 ack 1");
    wire_out(w, ". 1 ack 2001 win 6000");
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 500);
    wire_in(w, ". 2001+1000 ack 1");
    wire_in(w, ". 3001+1000 ack 1");
    wire_out(w, ". 1 ack 4001 win 4000");
    wire_read(w, 1500);
    wire_in(w, ". 4001+1000 ack 1");
    wire_in(w, ". 5001+1000 ack 1");
    wire_out(w, ". 1 ack 6001 win 4000"); /* 2000 more, 2000 taken */
    wire_close(w);
}
END_TEST

/* ---- timestamps ----------------------------------------------------------------------------- */

static void establish_with_timestamps(void)
{
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460, ts 1000 0>");
    wire_out(w, ". 1 ack 1 <ts 0 1000>");
    wire_event(w, UTCP_EV_CONNECTED);
}

START_TEST(a_timestamp_older_than_the_last_is_dropped_and_answered)
{
    wire_open(w, NULL);
    establish_with_timestamps();
    wire_in(w, "P. 1+10 ack 1 <ts 1005 0>");
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 10);
    wire_at(w, 40);
    wire_out(w, ". 1 ack 11 <ts 0 1005>");
    wire_in(w, "P. 11+10 ack 1 <ts 1004 0>");
    wire_event(w, 0);
    wire_out(w, ". 1 ack 11 <ts 0 1005>");
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_tcp_paws), 1);
    wire_in(w, "P. 11+10 ack 1 <ts 1005 0>");
    wire_event(w, UTCP_EV_READABLE);
    wire_close(w);
}
END_TEST

START_TEST(the_timestamp_of_the_oldest_segment_not_acknowledged_is_echoed)
{
    wire_open(w, NULL);
    establish_with_timestamps();
    wire_in(w, ". 1+100 ack 1 <ts 1001 0>");
    wire_in(w, ". 101+100 ack 1 <ts 1009 0>");
    wire_at(w, 40);
    wire_out(w, ". 1 ack 201 <ts 0 1001>");
    wire_in(w, ". 301+100 ack 1 <ts 1020 0>"); /* early: not what the ACK waits for */
    wire_out(w, ". 1 ack 201 <ts 0 1001>");
    wire_close(w);
}
END_TEST

START_TEST(a_segment_without_the_agreed_timestamp_is_taken_and_counted)
{
    wire_open(w, NULL);
    establish_with_timestamps();
    wire_in(w, "P. 1+10 ack 1");
    wire_event(w, UTCP_EV_READABLE);
    ck_assert_uint_eq(wire_count(w, UTCP_N_rx_no_timestamp), 1);
    wire_close(w);
}
END_TEST

START_TEST(after_24_days_an_old_timestamp_is_believed_again)
{
    wire_open(w, NULL);
    establish_with_timestamps();
    wire_at(w, UINT64_C(25) * 24 * 3600 * 1000);
    wire_in(w, "P. 1+10 ack 1 <ts 3 0>");
    wire_event(w, UTCP_EV_READABLE);
    wire_close(w);
}
END_TEST

START_TEST(round_trips_are_measured_to_the_microsecond_and_syn_apart)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_at(w, 30);
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
    wire_out(w, ". 1 ack 1");
    ck_assert_uint_eq(wire_info(w).syn_rtt_us, 30000);
    wire_send(w, 10);
    wire_out(w, "P. 1+10");
    w->now_ns += 1500 * NS_PER_US;
    wire_in(w, ". 1 ack 11");
    ck_assert_uint_eq(wire_info(w).rtt_us_min, 1500);
    ck_assert_uint_eq(wire_info(w).syn_rtt_us, 30000);
    wire_close(w);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_push_sends_full_segments_and_marks_the_last);
    tcase_add_test(tcase, a_partial_segment_is_held_until_the_push);
    tcase_add_test(tcase, small_pieces_by_copy_and_by_reference_share_segments);
    tcase_add_test(tcase, more_than_sixteen_pieces_take_more_than_one_frame);
    tcase_add_test(tcase, an_extent_is_freed_with_its_last_reference);
    tcase_add_test(tcase, the_initial_window_is_ten_segments_and_doubles_with_acks);
    tcase_add_test(tcase, an_application_that_sends_little_does_not_grow_the_window);
    tcase_add_test(tcase, after_an_idle_time_the_window_starts_again);
    tcase_add_test(tcase, the_peers_window_is_a_limit);
    tcase_add_test(tcase, a_shut_window_is_probed_with_one_byte_and_doubling_intervals);
    tcase_add_test(tcase, a_probe_that_is_taken_is_acknowledged_and_the_rest_waits);
    tcase_add_test(tcase, a_shut_window_is_kept_open_for_hours_while_the_peer_answers);
    tcase_add_test(tcase, a_shut_window_and_a_dead_peer_end_after_two_minutes);
    tcase_add_test(tcase, an_old_segment_does_not_bring_an_old_window_back);
    tcase_add_test(tcase, every_second_full_segment_is_acknowledged_at_once_and_one_after_40_ms);
    tcase_add_test(tcase, an_answer_carries_the_ack);
    tcase_add_test(tcase, bytes_out_of_order_are_kept_and_answered_with_duplicate_acks_and_sack);
    tcase_add_test(tcase, each_early_segment_gets_its_own_duplicate_ack);
    tcase_add_test(tcase, overlapping_pieces_in_any_order_make_the_same_stream);
    tcase_add_test(tcase, what_came_before_is_answered_and_not_taken_twice);
    tcase_add_test(tcase, the_window_shrinks_with_unread_bytes_and_opens_when_they_are_read);
    tcase_add_test(tcase, an_ack_that_comes_with_a_probe_of_our_shut_window_counts);
    tcase_add_test(tcase, bytes_beyond_the_window_are_cut_off);
    tcase_add_test(tcase, an_early_fin_waits_for_the_bytes_before_it);
    tcase_add_test(tcase, bytes_behind_the_fin_are_not_taken);
    tcase_add_test(tcase, an_early_segments_window_is_not_replaced_by_that_of_an_older_one);
    tcase_add_test(tcase, the_window_does_not_creep_open_by_small_steps);
    tcase_add_test(tcase, a_timestamp_older_than_the_last_is_dropped_and_answered);
    tcase_add_test(tcase, the_timestamp_of_the_oldest_segment_not_acknowledged_is_echoed);
    tcase_add_test(tcase, a_segment_without_the_agreed_timestamp_is_taken_and_counted);
    tcase_add_test(tcase, after_24_days_an_old_timestamp_is_believed_again);
    tcase_add_test(tcase, round_trips_are_measured_to_the_microsecond_and_syn_apart);
}

int main(void)
{
    return wire_run_both("tcp data", add_tests);
}
