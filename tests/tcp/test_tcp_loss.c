/* test_tcp_loss.c - loss without SACK, with NewReno: retransmission timer, F-RTO, fast retransmit,
 * recovery, giving up. SACK, RACK and CUBIC stand in test_tcp_sack.c. */
#include "tests/tcp/wire.h"

static struct wire wire;
static struct wire *const w = &wire;

#define MSS 1460u

/* Expects segments number first..last of the stream, of full size. */
static void segments_out(uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i <= last; i++) {
        char text[32];

        (void)snprintf(text, sizeof text, "%s %u+1460", i * MSS == w->sent ? "P." : ".",
                       1 + (i - 1) * MSS);
        wire_out(w, text);
    }
}

/* Acknowledges everything before segment `next`. */
static void ack_in(uint32_t next)
{
    char text[32];

    (void)snprintf(text, sizeof text, ". 1 ack %u win 65535", 1 + (next - 1) * MSS);
    wire_in(w, text);
}

/* `n` full segments queued, the first ten sent; 20 ms of round trip known. */
static void start_ten_of(uint32_t n)
{
    struct utcp_config config = wire_config();

    config.congestion = UTCP_CONGESTION_NEWRENO;
    wire_open(w, &config);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_at(w, 20);
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
    wire_out(w, ". 1 ack 1");
    wire_event(w, UTCP_EV_CONNECTED);
    if (n == 0)
        return;
    wire_send(w, n * MSS);
    segments_out(1, 10);
    wire_quiet(w);
}

static void start_ten(void)
{
    start_ten_of(100);
}

/* ---- retransmission timer ------------------------------------------------------------------- */

START_TEST(the_timer_starts_at_200_ms_and_doubles_up_to_a_minute)
{
    static const uint64_t at[] = {220, 620, 1420, 3020, 6220, 12620, 25420, 51020};

    start_ten_of(0);
    wire_send(w, 500); /* short: no black hole is suspected */
    wire_out(w, "P. 1+500");
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        wire_at(w, at[i] - 1);
        while (wire_frame_out(w))
            ck_assert(wire_asks(w));
        wire_at(w, at[i]);
        wire_out(w, "P. 1+500");
        wire_answer(w);
    }
    ck_assert_uint_eq(wire_info(w).retransmissions, 8);
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, MSS);
    wire_close(w);
}
END_TEST

START_TEST(a_slow_path_makes_the_timer_longer)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_at(w, 600);
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
    wire_out(w, ". 1 ack 1");
    wire_send(w, 10);
    wire_out(w, "P. 1+10"); /* SRTT 600, RTTVAR 300: RTO 1800 */
    wire_at(w, 2399);
    wire_quiet(w);
    wire_at(w, 2401);
    wire_out(w, "P. 1+10");
    wire_close(w);
}
END_TEST

START_TEST(silence_for_two_minutes_ends_the_connection_and_frees_the_bytes)
{
    uint64_t ms = 20;

    start_ten();
    for (; ms < 120200; ms += 20) {
        wire_at(w, ms);
        while (wire_frame_out(w))
            if (wire_asks(w))
                wire_answer(w);
    }
    ck_assert_int_eq(wire_state(w), UTCP_ESTABLISHED);
    for (; ms < 240000; ms += 20)
        wire_at(w, ms);
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_TIMEOUT);
    ck_assert_uint_eq(w->stream.refs, 1);
    ck_assert_uint_eq(wire_count(w, UTCP_N_timeouts_r2), 1);
    wire_close(w);
}
END_TEST

START_TEST(after_a_timeout_everything_goes_again_in_slow_start)
{
    start_ten_of(10);
    wire_at(w, 220);
    segments_out(1, 1);
    wire_quiet(w);
    ack_in(2); /* there is no new data to find out with */
    segments_out(2, 3);
    wire_quiet(w);
    ack_in(4);
    segments_out(4, 6);
    wire_quiet(w);
    wire_send(w, 10 * MSS);
    ack_in(11); /* the others had arrived: no more of them */
    segments_out(11, 14);
    wire_quiet(w);
    ck_assert_uint_eq(wire_info(w).retransmissions, 6);
    wire_close(w);
}
END_TEST

/* ---- F-RTO (RFC 5682) ------------------------------------------------------------------------ */

START_TEST(a_timeout_for_a_mere_delay_is_undone)
{
    start_ten();
    wire_at(w, 220);
    segments_out(1, 1);
    wire_quiet(w);
    ack_in(2); /* of the first transmission, as it turns out */
    segments_out(11, 12);
    wire_quiet(w);
    ack_in(3); /* nobody has sent 2 again: it was only late */
    ck_assert_uint_eq(wire_count(w, UTCP_N_timeouts_spurious), 1);
    ck_assert_uint_ge(wire_info(w).cwnd_bytes, 10 * MSS);
    ck_assert_uint_eq(wire_info(w).retransmissions, 1);
    segments_out(13, 13);
    wire_close(w);
}
END_TEST

START_TEST(a_duplicate_ack_after_the_new_data_means_real_loss)
{
    start_ten();
    wire_at(w, 220);
    segments_out(1, 1);
    ack_in(2);
    segments_out(11, 12);
    ack_in(2);
    segments_out(2, 2); /* cwnd 3, and two are out */
    wire_quiet(w);
    ack_in(11);
    ck_assert_uint_eq(wire_count(w, UTCP_N_timeouts_spurious), 0);
    ck_assert_uint_eq(wire_info(w).retransmissions, 2);
    ck_assert_uint_le(wire_info(w).cwnd_bytes, 5 * MSS);
    wire_close(w);
}
END_TEST

START_TEST(an_ack_of_everything_decides_nothing_without_timestamps)
{
    start_ten();
    wire_at(w, 220);
    segments_out(1, 1);
    ack_in(11);
    ck_assert_uint_eq(wire_count(w, UTCP_N_timeouts_spurious), 0);
    ck_assert_uint_le(wire_info(w).cwnd_bytes, 2 * MSS);
    wire_close(w);
}
END_TEST

START_TEST(a_second_timeout_gives_up_finding_out)
{
    start_ten();
    wire_at(w, 220);
    segments_out(1, 1);
    wire_at(w, 620);
    segments_out(1, 1);
    ack_in(2);
    segments_out(2, 3);
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(a_retransmitted_segment_gives_no_sample_without_timestamps)
{
    start_ten();
    wire_at(w, 220);
    segments_out(1, 1);
    wire_at(w, 400);
    ack_in(2);
    ck_assert_uint_eq(wire_info(w).rtt_us_smoothed, 20000);
    wire_close(w);
}
END_TEST

START_TEST(with_timestamps_a_retransmitted_segment_gives_one)
{
    char text[64];

    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460, ts 1 0>");
    wire_out(w, ". 1 ack 1");
    wire_send(w, 10);
    wire_out(w, "P. 1+10");
    wire_at(w, 200);
    wire_out(w, "P. 1+10");
    (void)snprintf(text, sizeof text, ". 1 ack 11 <ts 2 %u>", w->got.options.ts_value);
    wire_at(w, 250);
    wire_in(w, text);
    /* 1 us of the SYN, then 50 ms: (7 * 1 + 50000) / 8 */
    ck_assert_uint_eq(wire_info(w).rtt_us_smoothed, 6251);
    wire_close(w);
}
END_TEST

START_TEST(an_ack_of_new_data_restarts_the_timer)
{
    start_ten();
    wire_at(w, 150);
    ack_in(2);
    segments_out(11, 12);
    wire_at(w, 349);
    wire_quiet(w);
    wire_at(w, 1000);
    segments_out(2, 2);
    wire_close(w);
}
END_TEST

/* ---- duplicate ACKs ------------------------------------------------------------------------- */

START_TEST(dup_acks_below_three_send_new_data_and_retransmit_nothing)
{
    start_ten();
    ack_in(2);
    segments_out(11, 12);
    wire_quiet(w);
    ack_in(2);
    segments_out(13, 13); /* RFC 3042 */
    wire_quiet(w);
    ack_in(2);
    segments_out(14, 14);
    wire_quiet(w);
    ck_assert_uint_eq(wire_info(w).retransmissions, 0);
    ck_assert_uint_eq(wire_count(w, UTCP_N_limited_transmits), 2);
    wire_close(w);
}
END_TEST

START_TEST(the_third_dup_ack_retransmits_the_first_segment_and_halves_the_window)
{
    struct utcp_info info;

    start_ten();
    ack_in(2); /* 2 is lost; in flight are 2..12 */
    segments_out(11, 12);
    ack_in(2);
    ack_in(2);
    segments_out(13, 14);
    ack_in(2);
    segments_out(2, 2);
    wire_quiet(w);
    info = wire_info(w);
    ck_assert_uint_eq(info.retransmissions, 1);
    /* RFC 5681 3.2: half of the flight, limited transmit left out, plus three */
    ck_assert_uint_eq(info.cwnd_bytes, 11 * MSS / 2 + 3 * MSS);
    wire_close(w);
}
END_TEST

START_TEST(further_dup_acks_inflate_the_window_and_a_full_ack_deflates_it)
{
    start_ten();
    ack_in(2);
    segments_out(11, 12);
    for (unsigned i = 0; i < 2; i++)
        ack_in(2);
    segments_out(13, 14);
    ack_in(2);
    segments_out(2, 2);
    for (unsigned i = 0; i < 5; i++) /* 8.5 segments grow to 13.5, and 13 are in flight */
        ack_in(2);
    wire_quiet(w);
    ack_in(2);
    segments_out(15, 15);
    wire_quiet(w);
    ack_in(16);
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, 2 * MSS); /* RFC 6582 3.2 step 3, option 1 */
    segments_out(16, 17);
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(a_partial_ack_retransmits_the_next_hole)
{
    start_ten();
    ack_in(2);
    segments_out(11, 12);
    ack_in(2);
    ack_in(2);
    segments_out(13, 14);
    ack_in(2);
    segments_out(2, 2);
    ack_in(5); /* 5 is lost as well */
    segments_out(5, 5);
    /* 5.5 + 3, three acknowledged, one for the retransmission */
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, 11 * MSS / 2 + 3 * MSS - 3 * MSS + MSS);
    ck_assert_uint_eq(wire_count(w, UTCP_N_partial_acks), 1);
    ck_assert_uint_eq(wire_count(w, UTCP_N_fast_retrans), 1);
    wire_close(w);
}
END_TEST

START_TEST(dup_acks_of_the_same_loss_do_not_halve_twice)
{
    start_ten();
    wire_at(w, 220);
    segments_out(1, 1);
    wire_at(w, 620); /* timeout: recover is the end of what was sent */
    segments_out(1, 1);
    ack_in(2);
    segments_out(2, 3);
    for (unsigned i = 0; i < 5; i++)
        ack_in(2);
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_fast_retrans), 0);
    wire_close(w);
}
END_TEST

START_TEST(what_looks_like_a_dup_ack_but_is_not_one)
{
    start_ten();
    ack_in(2);
    segments_out(11, 12);
    for (unsigned i = 0; i < 4; i++) {
        wire_in(w, ". 1 ack 1461 win 65000"); /* another window */
        wire_in(w, ". 1 ack 1461 win 65535");
    }
    for (uint32_t i = 0; i < 4; i++) { /* with data */
        char text[48];

        (void)snprintf(text, sizeof text, ". %u+10 ack 1461 win 65535", 1 + i * 10);
        wire_in(w, text);
    }
    ck_assert_uint_eq(wire_count(w, UTCP_N_dup_acks_in), 0);
    wire_close(w);
}
END_TEST

START_TEST(dup_acks_with_nothing_in_flight_are_nothing)
{
    wire_open(w, NULL);
    wire_establish(w);
    for (unsigned i = 0; i < 10; i++)
        wire_in(w, ". 1 ack 1 win 65535");
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_dup_acks_in), 0);
    wire_close(w);
}
END_TEST

START_TEST(a_retransmission_lost_again_is_found_by_the_timer)
{
    start_ten();
    ack_in(2);
    segments_out(11, 12);
    for (unsigned i = 0; i < 3; i++)
        ack_in(2);
    segments_out(2, 2);
    wire_quiet(w);
    wire_at(w, 219);
    wire_quiet(w);
    wire_at(w, 221);
    segments_out(2, 2);
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, MSS);
    wire_close(w);
}
END_TEST

START_TEST(congestion_avoidance_adds_one_segment_in_a_round_trip)
{
    uint32_t acked = 16, before;

    start_ten();
    ack_in(2);
    segments_out(11, 12);
    ack_in(2);
    ack_in(2);
    segments_out(13, 14);
    ack_in(2);
    segments_out(2, 2);
    ack_in(15);
    while (wire_frame_out(w))
        ;
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, 2 * MSS);
    ack_in(acked + 1); /* back over ssthresh in slow start */
    for (uint32_t i = 0; i < 30; i++) {
        while (wire_frame_out(w))
            ;
        ack_in(++acked + 1);
    }
    before = wire_info(w).cwnd_bytes;
    for (uint32_t i = 0; i < before / MSS; i++) {
        while (wire_frame_out(w))
            ;
        ack_in(++acked + 1);
    }
    ck_assert_uint_ge(wire_info(w).cwnd_bytes, before);
    ck_assert_uint_le(wire_info(w).cwnd_bytes, before + 2 * MSS);
    wire_close(w);
}
END_TEST

START_TEST(a_lost_fin_is_sent_again)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 10);
    ck_assert_int_eq(utcp_shutdown(w->u, w->now_ns, w->conn), UTCP_OK);
    wire_out(w, "FP. 1+10 ack 1");
    wire_at(w, 200);
    wire_out(w, "FP. 1+10 ack 1");
    wire_in(w, ". 1 ack 11"); /* the bytes came, the FIN is not acknowledged */
    wire_at(w, 800);
    wire_out(w, "F. 11 ack 1");
    wire_in(w, ". 1 ack 12");
    ck_assert_int_eq(wire_state(w), UTCP_FIN_WAIT_2);
    wire_close(w);
}
END_TEST

START_TEST(an_ack_inside_of_a_segment_cuts_it)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 1000);
    wire_out(w, "P. 1+1000");
    wire_in(w, ". 1 ack 301");
    wire_at(w, 200);
    wire_out(w, "P. 301+700");
    wire_in(w, ". 1 ack 1001");
    wire_at(w, 5000);
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(an_ack_inside_of_a_lost_segment_cuts_it)
{
    start_ten_of(10);
    wire_at(w, 220);
    segments_out(1, 1);
    wire_in(w, ". 1 ack 2001 win 65535");
    wire_out(w, ". 2001+920");
    segments_out(3, 3);
    wire_quiet(w);
    wire_close(w);
}
END_TEST

/* Time passes, with answers to ARP and to nothing else. */
static void silence_until(uint64_t from_ms, uint64_t to_ms)
{
    for (uint64_t ms = from_ms; ms <= to_ms; ms += 20) {
        wire_at(w, ms);
        while (wire_frame_out(w))
            if (wire_asks(w))
                wire_answer(w);
    }
}

START_TEST(progress_starts_the_two_minutes_anew)
{
    start_ten();
    silence_until(20, 100000);
    ack_in(2);
    silence_until(100020, 200000);
    ck_assert_int_eq(wire_state(w), UTCP_ESTABLISHED);
    silence_until(200020, 340000);
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_TIMEOUT);
    wire_close(w);
}
END_TEST

START_TEST(the_timer_follows_mean_and_variation_of_the_round_trip)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_at(w, 600);
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
    wire_out(w, ". 1 ack 1"); /* SRTT 600, RTTVAR 300 */
    wire_send(w, 10);
    wire_out(w, "P. 1+10");
    wire_at(w, 1600);
    wire_in(w, ". 1 ack 11"); /* 1000: RTTVAR 225 + 100, SRTT 525 + 125, RTO 650 + 4 * 325 */
    wire_send(w, 10);
    wire_out(w, "P. 11+10");
    wire_at(w, 3549);
    wire_quiet(w);
    wire_at(w, 3551);
    wire_out(w, "P. 11+10");
    wire_close(w);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_timer_starts_at_200_ms_and_doubles_up_to_a_minute);
    tcase_add_test(tcase, a_slow_path_makes_the_timer_longer);
    tcase_add_test(tcase, silence_for_two_minutes_ends_the_connection_and_frees_the_bytes);
    tcase_add_test(tcase, after_a_timeout_everything_goes_again_in_slow_start);
    tcase_add_test(tcase, a_timeout_for_a_mere_delay_is_undone);
    tcase_add_test(tcase, a_duplicate_ack_after_the_new_data_means_real_loss);
    tcase_add_test(tcase, an_ack_of_everything_decides_nothing_without_timestamps);
    tcase_add_test(tcase, a_second_timeout_gives_up_finding_out);
    tcase_add_test(tcase, a_retransmitted_segment_gives_no_sample_without_timestamps);
    tcase_add_test(tcase, with_timestamps_a_retransmitted_segment_gives_one);
    tcase_add_test(tcase, an_ack_of_new_data_restarts_the_timer);
    tcase_add_test(tcase, dup_acks_below_three_send_new_data_and_retransmit_nothing);
    tcase_add_test(tcase, the_third_dup_ack_retransmits_the_first_segment_and_halves_the_window);
    tcase_add_test(tcase, further_dup_acks_inflate_the_window_and_a_full_ack_deflates_it);
    tcase_add_test(tcase, a_partial_ack_retransmits_the_next_hole);
    tcase_add_test(tcase, dup_acks_of_the_same_loss_do_not_halve_twice);
    tcase_add_test(tcase, what_looks_like_a_dup_ack_but_is_not_one);
    tcase_add_test(tcase, dup_acks_with_nothing_in_flight_are_nothing);
    tcase_add_test(tcase, a_retransmission_lost_again_is_found_by_the_timer);
    tcase_add_test(tcase, congestion_avoidance_adds_one_segment_in_a_round_trip);
    tcase_add_test(tcase, a_lost_fin_is_sent_again);
    tcase_add_test(tcase, an_ack_inside_of_a_segment_cuts_it);
    tcase_add_test(tcase, an_ack_inside_of_a_lost_segment_cuts_it);
    tcase_add_test(tcase, progress_starts_the_two_minutes_anew);
    tcase_add_test(tcase, the_timer_follows_mean_and_variation_of_the_round_trip);
}

int main(void)
{
    return wire_run_both("tcp loss", add_tests);
}
