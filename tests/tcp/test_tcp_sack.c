/* test_tcp_sack.c - loss with SACK: scoreboard, RACK-TLP, PRR, D-SACK and undo; CUBIC, HyStart++.
 */
#include "tcp/utcp_lane.h"
#include "tests/tcp/wire.h"

#include <stdarg.h>

static struct wire wire;
static struct wire *const w = &wire;

#define MSS 1460u

/* Number of the first byte of segment i. */
static uint32_t seq_of(uint32_t i)
{
    return 1 + (i - 1) * MSS;
}

static void segment_out(uint32_t i)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%s %u+1460", i * MSS == w->sent ? "P." : ".", seq_of(i));
    wire_out(w, text);
}

static void segments_out(uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i <= last; i++)
        segment_out(i);
}

/* ACK of everything before segment `next`, with `n` pairs: segments from..to are there. */
static void sack_in(uint32_t next, unsigned n, ...)
{
    char text[128];
    int at = snprintf(text, sizeof text, ". 1 ack %u win 65535", seq_of(next));
    va_list args;

    va_start(args, n);
    for (unsigned i = 0; i < n; i++) {
        const uint32_t from = va_arg(args, uint32_t), to = va_arg(args, uint32_t);

        at += snprintf(text + at, sizeof text - (size_t)at, "%s%u %u", i == 0 ? " <sack " : " ",
                       seq_of(from), seq_of(to + 1));
    }
    va_end(args);
    if (n > 0)
        (void)snprintf(text + at, sizeof text - (size_t)at, ">");
    wire_in(w, text);
}

/* A connection with SACK, 20 ms of round trip, `n` segments queued and the first ten sent. */
static void start_ten_of(uint32_t n)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_at(w, 20);
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460, sackok>");
    wire_out(w, ". 1 ack 1");
    wire_event(w, UTCP_EV_CONNECTED);
    wire_send(w, n * MSS);
    segments_out(1, n < 10 ? n : 10);
    wire_quiet(w);
}

static uint64_t count(enum utcp_counter counter)
{
    return wire_count(w, counter);
}

/* ---- scoreboard ------------------------------------------------------------------------------ */

START_TEST(three_sacked_segments_retransmit_the_hole_and_only_it)
{
    start_ten_of(10);
    wire_at(w, 40);
    sack_in(3, 1, 4u, 4u);
    sack_in(3, 1, 4u, 5u);
    wire_quiet(w);
    sack_in(3, 1, 4u, 6u);
    segment_out(3);
    wire_quiet(w);
    sack_in(3, 1, 4u, 10u);
    wire_quiet(w);
    sack_in(11, 0);
    wire_at(w, 10000);
    wire_quiet(w);
    ck_assert_uint_eq(wire_info(w).retransmissions, 1);
    ck_assert_uint_eq(count(UTCP_N_fast_retrans), 1);
    wire_close(w);
}
END_TEST

START_TEST(several_holes_are_filled_in_one_round_trip)
{
    start_ten_of(10);
    wire_at(w, 40);
    sack_in(2, 3, 8u, 8u, 6u, 6u, 3u, 4u); /* 2, 5 and 7 are missing */
    segment_out(2);
    sack_in(2, 3, 8u, 9u, 6u, 6u, 3u, 4u);
    segment_out(5);
    sack_in(2, 3, 8u, 10u, 6u, 6u, 3u, 4u);
    segment_out(7);
    wire_quiet(w);
    ck_assert_uint_eq(wire_info(w).retransmissions, 3);
    wire_close(w);
}
END_TEST

struct bad_block {
    const char *name, *text;
};
static const struct bad_block bad_blocks[] = {
    {"beyond what was sent", ". 1 ack 1 win 65535 <sack 13141 16061>"},
    {"the wrong way round", ". 1 ack 1 win 65535 <sack 5841 4381>"},
    {"empty", ". 1 ack 1 win 65535 <sack 5841 5841>"},
    {"parts of segments", ". 1 ack 1 win 65535 <sack 1462 2920, 2922 4380, 4382 5840>"},
    {"far away", ". 1 ack 1 win 65535 <sack 2000000000 2000001460>"},
};

START_TEST(blocks_that_cannot_be_are_not_believed)
{
    start_ten_of(10);
    wire_at(w, 40);
    for (unsigned i = 0; i < 5; i++)
        wire_in(w, bad_blocks[_i].text);
    wire_quiet(w);
    wire_at(w, 60);
    wire_quiet(w);
    ck_assert_msg(count(UTCP_N_fast_retrans) == 0, "%s", bad_blocks[_i].name);
    wire_close(w);
}
END_TEST

START_TEST(sacks_that_were_taken_back_are_forgotten_at_the_timeout)
{
    start_ten_of(10);
    wire_at(w, 40);
    sack_in(1, 1, 2u, 10u);
    segment_out(1);
    sack_in(2, 0); /* and where are 2 to 10 now? */
    wire_quiet(w);
    wire_at(w, 1000);
    segment_out(2);
    sack_in(3, 0);
    segments_out(3, 4);
    wire_close(w);
}
END_TEST

START_TEST(duplicates_are_told_to_the_peer_by_dsack)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460, sackok>");
    wire_out(w, ". 1 ack 1");
    wire_in(w, ". 1+100 ack 1");
    wire_in(w, ". 1+100 ack 1");
    wire_out(w, ". 1 ack 101 <sack 1 101>");
    wire_in(w, ". 201+100 ack 1");
    wire_out(w, ". 1 ack 101 <sack 201 301>");
    wire_in(w, ". 201+100 ack 1"); /* below and above: RFC 2883 4.1, 4.2 */
    wire_out(w, ". 1 ack 101 <sack 201 301 201 301>");
    wire_in(w, ". 51+100 ack 1"); /* half of it is new */
    wire_out(w, ". 1 ack 151 <sack 51 101 201 301>");
    wire_quiet(w);
    wire_close(w);
}
END_TEST

/* ---- RACK ------------------------------------------------------------------------------------ */

START_TEST(a_lost_retransmission_is_found_without_a_timeout)
{
    start_ten_of(40);
    wire_at(w, 40);
    sack_in(1, 1, 2u, 4u);
    segment_out(1);
    while (wire_frame_out(w))
        ;
    for (uint32_t i = 5; i <= 10; i++) {
        sack_in(1, 1, 2u, i);
        while (wire_frame_out(w))
            ;
    }
    wire_at(w, 61); /* what was sent after the retransmission arrives, the retransmission not */
    ck_assert_uint_eq(wire_info(w).retransmissions, 1);
    sack_in(1, 1, 2u, 12u);
    segment_out(1);
    ck_assert_uint_eq(wire_info(w).retransmissions, 2);
    ck_assert_uint_eq(count(UTCP_N_timeouts), 0);
    wire_close(w);
}
END_TEST

START_TEST(on_a_path_that_reorders_a_segment_may_be_a_quarter_of_a_round_trip_late)
{
    start_ten_of(30);
    wire_at(w, 40);
    sack_in(1, 1, 2u, 2u);
    sack_in(3, 0); /* 1 came after 2: the path reorders */
    while (wire_frame_out(w))
        ;
    sack_in(3, 1, 4u, 8u);
    while (wire_frame_out(w))
        ck_assert_uint_ne(be32_get(wire_tcp(w) + 4) - w->own_iss, seq_of(3));
    wire_at(w, 43);
    wire_quiet(w);
    wire_at(w, 47); /* 20 ms / 4, and a tick */
    segment_out(3);
    wire_close(w);
}
END_TEST

START_TEST(a_late_segment_on_such_a_path_is_not_sent_again)
{
    start_ten_of(30);
    wire_at(w, 40);
    sack_in(1, 1, 2u, 2u);
    sack_in(3, 0);
    sack_in(3, 1, 4u, 8u);
    wire_at(w, 43);
    sack_in(9, 0);
    while (wire_frame_out(w))
        ;
    wire_at(w, 60);
    ck_assert_uint_eq(wire_info(w).retransmissions, 0);
    ck_assert_uint_eq(count(UTCP_N_fast_retrans), 0);
    wire_close(w);
}
END_TEST

/* ---- PRR ------------------------------------------------------------------------------------- */

START_TEST(prr_spreads_the_reduction_over_the_recovery_and_ends_at_ssthresh)
{
    unsigned sent = 0;

    start_ten_of(100);
    wire_at(w, 40);
    sack_in(1, 1, 2u, 4u);
    segment_out(1);
    for (uint32_t i = 5; i <= 10; i++) {
        sack_in(1, 1, 2u, i);
        while (wire_frame_out(w))
            sent++;
    }
    /* 10 in flight and 7 allowed: 9 were delivered, and with the retransmission 9 * 0.7 go out */
    ck_assert_uint_ge(sent, 5);
    ck_assert_uint_le(sent, 6);
    wire_at(w, 60);
    sack_in(11 + sent, 0);
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, 7 * MSS);
    wire_close(w);
}
END_TEST

/* ---- tail loss probe ------------------------------------------------------------------------- */

START_TEST(a_lost_tail_is_probed_for_and_then_repaired_by_sack)
{
    start_ten_of(10);
    wire_at(w, 40);
    sack_in(8, 0); /* 8, 9 and 10 are lost */
    wire_at(w, 89);
    wire_quiet(w);
    wire_at(w, 91); /* 2 * SRTT is less than the floor of 50 ms */
    segment_out(10);
    wire_at(w, 111);
    sack_in(8, 1, 10u, 10u);
    segment_out(8);
    wire_quiet(w); /* PRR: one was delivered, one may go */
    wire_at(w, 131);
    sack_in(9, 1, 10u, 10u);
    segment_out(9);
    wire_quiet(w);
    sack_in(11, 0);
    ck_assert_uint_eq(count(UTCP_N_timeouts), 0);
    ck_assert_uint_eq(count(UTCP_N_tail_loss_probes), 1);
    wire_close(w);
}
END_TEST

START_TEST(a_single_segment_is_probed_for_only_after_a_delayed_ack_could_have_come)
{
    start_ten_of(1);
    wire_at(w, 219);
    wire_quiet(w);
    wire_at(w, 230); /* the retransmission timer is not later than the probe */
    segment_out(1);
    wire_close(w);
}
END_TEST

START_TEST(new_data_makes_the_probe_when_there_is_some)
{
    start_ten_of(14);
    wire_at(w, 90);
    segment_out(11);
    wire_quiet(w);
    ck_assert_uint_eq(wire_info(w).retransmissions, 0);
    ck_assert_uint_eq(count(UTCP_N_tail_loss_probes), 1);
    wire_close(w);
}
END_TEST

/* The probe of segment 10 is out; what do the ACKs behind it mean for cwnd? */
static uint32_t cwnd_after_probe(const char *first, const char *second)
{
    uint32_t cwnd;

    start_ten_of(10);
    wire_at(w, 40);
    sack_in(10, 0);
    cwnd = wire_info(w).cwnd_bytes;
    wire_at(w, 300);
    segment_out(10);
    wire_quiet(w);
    wire_send(w, MSS);
    if (second != NULL)
        wire_in(w, first);
    while (wire_frame_out(w))
        ;
    wire_in(w, second != NULL ? second : first);
    cwnd = cwnd * 10 / wire_info(w).cwnd_bytes;
    wire_close(w);
    return cwnd;
}

START_TEST(a_probe_that_repaired_a_loss_costs_window_and_one_that_came_twice_does_not)
{
    ck_assert_uint_gt(cwnd_after_probe(". 1 ack 14601 win 65535", ". 1 ack 16061 win 65535"), 10);
    ck_assert_uint_le(
        cwnd_after_probe(". 1 ack 14601 win 65535 <sack 13141 14601>", ". 1 ack 16061 win 65535"),
        10);
}
END_TEST

START_TEST(an_unanswered_probe_is_followed_by_the_timeout)
{
    start_ten_of(10);
    wire_at(w, 75);
    segment_out(10);
    wire_quiet(w);
    wire_at(w, 260);
    wire_quiet(w);
    wire_at(w, 300);
    segment_out(1);
    ck_assert_uint_eq(count(UTCP_N_timeouts), 1);
    wire_close(w);
}
END_TEST

/* ---- undo ------------------------------------------------------------------------------------ */

START_TEST(a_dsack_for_every_retransmission_undoes_the_reaction)
{
    uint32_t before;

    start_ten_of(10);
    wire_at(w, 40);
    before = wire_info(w).cwnd_bytes;
    sack_in(1, 1, 3u, 10u);
    segments_out(1, 2);
    sack_in(11, 0);
    ck_assert_uint_lt(wire_info(w).cwnd_bytes, before);
    sack_in(11, 1, 1u, 1u);
    ck_assert_uint_lt(wire_info(w).cwnd_bytes, before);
    sack_in(11, 1, 2u, 2u);
    ck_assert_uint_ge(wire_info(w).cwnd_bytes, before);
    ck_assert_uint_eq(count(UTCP_N_congestion_undone), 1);
    wire_close(w);
}
END_TEST

START_TEST(an_echo_older_than_the_retransmission_undoes_the_reaction)
{
    uint32_t before, ts;
    char text[96];

    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_at(w, 20);
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460, sackok, ts 1 0>");
    wire_out(w, ". 1 ack 1");
    wire_send(w, 14480);
    for (unsigned i = 0; i < 10; i++)
        ck_assert(wire_frame_out(w));
    ck_assert(utcp_tcp_parse(wire_tcp(w), w->bytes_len - ETH_LEN - IPV4_LEN, &w->got));
    ts = w->got.options.ts_value;
    before = wire_info(w).cwnd_bytes;
    wire_at(w, 40);
    (void)snprintf(text, sizeof text, ". 1 ack 1 win 65535 <ts 2 %u, sack 1449 8689>", ts);
    wire_in(w, text);
    wire_out(w, ". 1+1448");
    (void)snprintf(text, sizeof text, ". 1 ack 8689 win 65535 <ts 3 %u>", ts);
    wire_in(w, text); /* the first transmission was only late */
    ck_assert_uint_ge(wire_info(w).cwnd_bytes, before);
    ck_assert_uint_eq(count(UTCP_N_congestion_undone), 1);
    wire_close(w);
}
END_TEST

/* The ACKs of the first copy were lost: its echo is as old as our timeout was long. */
START_TEST(an_ack_of_a_late_copy_is_no_round_trip)
{
    char text[96];
    uint32_t ts;

    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_at(w, 20);
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460, sackok, ts 1 0>");
    wire_out(w, ". 1 ack 1");
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    ts = w->got.options.ts_value;
    wire_at(w, 2000);
    wire_out(w, "P. 1+100");
    wire_at(w, 2020);
    (void)snprintf(text, sizeof text, ". 1 ack 101 <ts 2 %u, sack 1 101>", ts);
    wire_in(w, text);
    ck_assert_uint_eq(wire_info(w).rtt_us_smoothed, 20000);
    wire_close(w);
}
END_TEST

/* ---- CUBIC ----------------------------------------------------------------------------------- */

static struct utcp_conn conn;

static struct utcp_conn *cubic_start(uint32_t srtt_us)
{
    conn = (struct utcp_conn){.mss = 1000, .srtt_us = srtt_us};
    utcp_cc_cubic.on_established(&conn);
    return &conn;
}

/* One round trip of ACKs for two segments each; returns cwnd in segments. */
static uint32_t cubic_round(struct utcp_conn *c, uint64_t *now_ns, uint32_t rtt_us)
{
    const uint32_t acks = c->cwnd / 2000;

    for (uint32_t i = 0; i < acks; i++) {
        c->snd_nxt = c->snd_una + c->cwnd;
        c->snd_una += 2000;
        *now_ns += rtt_us * NS_PER_US / acks;
        utcp_cc_cubic.on_ack(c, 2000, rtt_us, *now_ns);
    }
    return c->cwnd / 1000;
}

START_TEST(cubic_gives_up_three_tenths_and_is_back_after_k)
{
    struct utcp_conn *c = cubic_start(100000);
    uint64_t now_ns = 1000 * NS_PER_S;
    uint32_t rounds = 0;

    c->cwnd = 1000 * 1000;
    c->ssthresh = utcp_cc_cubic.on_congestion(c, c->cwnd);
    ck_assert_uint_eq(c->ssthresh, 700 * 1000);
    c->cwnd = c->ssthresh;
    while (c->cwnd < 995 * 1000 && rounds < 1000) {
        const uint32_t before = c->cwnd;

        (void)cubic_round(c, &now_ns, 100000);
        ck_assert_uint_ge(c->cwnd, before);
        rounds++;
    }
    /* K = cbrt(300 / 0.4) = 9.09 s, that is 91 round trips; 5 segments are missing a bit before */
    ck_assert_uint_ge(rounds, 60);
    ck_assert_uint_le(rounds, 91);
}
END_TEST

START_TEST(cubic_on_a_short_path_is_at_least_as_fast_as_reno)
{
    struct utcp_conn *c = cubic_start(1000);
    uint64_t now_ns = 1000 * NS_PER_S;

    c->cwnd = 20 * 1000;
    c->ssthresh = utcp_cc_cubic.on_congestion(c, c->cwnd);
    c->cwnd = c->ssthresh; /* 14: Reno with alpha 0.529 needs 12 round trips to 20 */
    for (unsigned i = 0; i < 14; i++)
        (void)cubic_round(c, &now_ns, 1000);
    ck_assert_uint_ge(c->cwnd, 20 * 1000);
    ck_assert_uint_le(c->cwnd, 25 * 1000);
}
END_TEST

START_TEST(a_second_loss_below_the_last_maximum_gives_way_to_others)
{
    struct utcp_conn *c = cubic_start(50000);

    c->cwnd = 100 * 1000;
    (void)utcp_cc_cubic.on_congestion(c, c->cwnd);
    c->cwnd = 80 * 1000;
    (void)utcp_cc_cubic.on_congestion(c, c->cwnd);
    ck_assert_uint_eq(c->cc_state.cubic.w_max, 68 * 1000); /* 80 * (1 + beta) / 2 */
    utcp_cc_cubic.on_undo(c);
    ck_assert_uint_eq(c->cc_state.cubic.w_max, 100 * 1000);
}
END_TEST

START_TEST(hystart_leaves_slow_start_when_the_round_trip_grows)
{
    struct utcp_conn *c = cubic_start(50000);
    uint64_t now_ns = 1000 * NS_PER_S;
    uint32_t rounds = 0;

    c->cwnd = 20 * 1000;
    c->cc_state.cubic.round_end = c->snd_nxt + c->cwnd;
    (void)cubic_round(c, &now_ns, 50000);
    (void)cubic_round(c, &now_ns, 50000);
    ck_assert_uint_eq(c->flags & CF_CSS, 0);
    while (c->cwnd < c->ssthresh && rounds < 30)
        (void)cubic_round(c, &now_ns, 60000 + 10000 * rounds++);
    ck_assert_uint_le(rounds, 8);
    ck_assert_uint_le(c->cwnd, 500 * 1000); /* seven doublings would be 2560 */
}
END_TEST

START_TEST(hystart_stays_in_slow_start_on_a_path_with_room)
{
    struct utcp_conn *c = cubic_start(50000);
    uint64_t now_ns = 1000 * NS_PER_S;

    c->cwnd = 10 * 1000;
    for (unsigned i = 0; i < 8; i++)
        (void)cubic_round(c, &now_ns, 50000 + (i % 2) * 2000); /* jitter below the threshold */
    ck_assert_uint_ge(c->cwnd, 2000 * 1000);
    ck_assert_uint_gt(c->ssthresh, c->cwnd);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, three_sacked_segments_retransmit_the_hole_and_only_it);
    tcase_add_test(tcase, several_holes_are_filled_in_one_round_trip);
    tcase_add_loop_test(tcase, blocks_that_cannot_be_are_not_believed, 0,
                        sizeof bad_blocks / sizeof bad_blocks[0]);
    tcase_add_test(tcase, sacks_that_were_taken_back_are_forgotten_at_the_timeout);
    tcase_add_test(tcase, duplicates_are_told_to_the_peer_by_dsack);
    tcase_add_test(tcase, a_lost_retransmission_is_found_without_a_timeout);
    tcase_add_test(tcase, on_a_path_that_reorders_a_segment_may_be_a_quarter_of_a_round_trip_late);
    tcase_add_test(tcase, a_late_segment_on_such_a_path_is_not_sent_again);
    tcase_add_test(tcase, prr_spreads_the_reduction_over_the_recovery_and_ends_at_ssthresh);
    tcase_add_test(tcase, a_lost_tail_is_probed_for_and_then_repaired_by_sack);
    tcase_add_test(tcase, a_single_segment_is_probed_for_only_after_a_delayed_ack_could_have_come);
    tcase_add_test(tcase, new_data_makes_the_probe_when_there_is_some);
    tcase_add_test(tcase,
                   a_probe_that_repaired_a_loss_costs_window_and_one_that_came_twice_does_not);
    tcase_add_test(tcase, an_unanswered_probe_is_followed_by_the_timeout);
    tcase_add_test(tcase, a_dsack_for_every_retransmission_undoes_the_reaction);
    tcase_add_test(tcase, an_echo_older_than_the_retransmission_undoes_the_reaction);
    tcase_add_test(tcase, an_ack_of_a_late_copy_is_no_round_trip);
    tcase_add_test(tcase, cubic_gives_up_three_tenths_and_is_back_after_k);
    tcase_add_test(tcase, cubic_on_a_short_path_is_at_least_as_fast_as_reno);
    tcase_add_test(tcase, a_second_loss_below_the_last_maximum_gives_way_to_others);
    tcase_add_test(tcase, hystart_leaves_slow_start_when_the_round_trip_grows);
    tcase_add_test(tcase, hystart_stays_in_slow_start_on_a_path_with_room);
}

int main(void)
{
    return wire_run_both("tcp sack", add_tests);
}
