/* test_tcp_path.c - what paths do: MTU, black holes, ECN; pacing, keep-alive, the path cache. */
#include "tests/tcp/wire.h"

static struct wire wire;
static struct wire *const w = &wire;

static bool v6(void)
{
    return wire_family == 6;
}

/* A connection with the options of a usual peer, after 20 ms. */
static void open_with(const struct utcp_config *config, const char *syn, const char *syn_ack)
{
    wire_open(w, config);
    wire_connect(w);
    wire_out(w, syn);
    wire_at(w, 20);
    wire_in(w, syn_ack);
    wire_out(w, ". 1 ack 1");
    wire_quiet(w);
    wire_event(w, UTCP_EV_CONNECTED);
}

static void connect_again(void)
{
    utcp_abort(w->u, w->now_ns, w->conn);
    wire_out(w, "R. 1461 ack 1");
    w->sent = 0;
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
    wire_out(w, ". 1 ack 1");
    wire_event(w, UTCP_EV_CONNECTED);
}

/* ---- MTU ------------------------------------------------------------------------------------- */

START_TEST(a_smaller_mtu_is_remembered_for_the_next_connections_for_ten_minutes)
{
    const uint32_t small = v6() ? 1400 - 60 : 1400 - 40;

    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 1460);
    wire_out(w, "P. 1+1460");
    wire_icmp_in(w, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, 1400, 1);
    ck_assert_uint_eq(wire_info(w).mss_bytes, small);
    while (wire_frame_out(w))
        ;
    connect_again();
    ck_assert_uint_eq(wire_info(w).mss_bytes, small);
    utcp_abort(w->u, w->now_ns, w->conn);
    wire_out(w, "R. 1 ack 1");
    w->now_ns += 601 * NS_PER_S;
    wire_at(w, (w->now_ns - w->start_ns) / NS_PER_MS);
    wire_connect(w);
    while (wire_frame_out(w) && wire_asks(w))
        wire_answer(w);
    ck_assert_uint_ge(wire_count(w, UTCP_N_path_hits), 2);
    w->own_iss = be32_get(wire_tcp(w) + 4);
    w->own_port = be16_get(wire_tcp(w));
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
    ck_assert_uint_eq(wire_info(w).mss_bytes, 1460);
    wire_close(w);
}
END_TEST

/* RFC 1191 5: old routers do not tell the size. */
START_TEST(fragmentation_needed_without_a_size_goes_down_one_plateau)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 1460);
    wire_out(w, "P. 1+1460");
    wire_icmp_in(w, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, 0, 1);
    ck_assert_uint_eq(wire_info(w).mss_bytes, 1492 - (v6() ? 60 : 40));
    wire_close(w);
}
END_TEST

START_TEST(what_vanishes_three_times_goes_in_smaller_pieces)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 1460);
    wire_out(w, "P. 1+1460");
    wire_at(w, 200);
    wire_out(w, "P. 1+1460");
    wire_at(w, 600);
    wire_out(w, "P. 1+1460");
    wire_at(w, 1400);
    wire_out(w, v6() ? ". 1+1220" : ". 1+1240");
    ck_assert_uint_eq(wire_count(w, UTCP_N_mtu_black_holes), 1);
    wire_at(w, 1420);
    wire_in(w, v6() ? ". 1 ack 1221" : ". 1 ack 1241"); /* that passes */
    wire_out(w, v6() ? "P. 1221+240" : "P. 1241+220");
    wire_in(w, ". 1 ack 1461");
    connect_again();
    ck_assert_uint_eq(wire_info(w).mss_bytes, v6() ? 1220 : 1240);
    wire_close(w);
}
END_TEST

/* The peer's MSS keeps packets below 1280 already: then 576 is the way out. */
START_TEST(a_black_hole_below_the_usual_sizes_is_found_too)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1100>");
    wire_out(w, ". 1 ack 1");
    wire_send(w, 1100);
    wire_out(w, "P. 1+1100");
    for (uint64_t ms = 20; ms < 1400; ms += 20) {
        wire_at(w, ms);
        while (wire_frame_out(w))
            ;
    }
    wire_at(w, 1400);
    wire_out(w, v6() ? "P. 1+1100" : ". 1+536"); /* every IPv6 path carries 1280 */
    wire_close(w);
}
END_TEST

/* All segments of the lane are in flight, and each is too long now. */
START_TEST(smaller_pieces_need_no_free_segment)
{
    struct utcp_config config = wire_config();
    const uint32_t step = v6() ? 1220 : 1240;

    config.limits.segments = 3;
    wire_open(w, &config);
    wire_establish(w);
    wire_send(w, 3 * 1460);
    wire_out(w, ". 1+1460");
    wire_out(w, ". 1461+1460");
    wire_out(w, "P. 2921+1460");
    wire_icmp_in(w, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, 1280, 1);
    ck_assert_uint_eq(wire_usage(w).segments, 3);
    ck_assert(wire_frame_out(w));
    ck_assert_ptr_eq(wire_tcp(w) + TCP_LEN + step, w->bytes + w->bytes_len);
    wire_at(w, 100);
    while (wire_frame_out(w))
        ;
    wire_in(w, v6() ? ". 1 ack 1221" : ". 1 ack 1241");
    wire_out(w, v6() ? ". 1221+240" : ". 1241+220"); /* the rest of the first */
    wire_in(w, ". 1 ack 1461");
    wire_at(w, 5000);
    while (wire_frame_out(w))
        ;
    wire_in(w, ". 1 ack 4381");
    ck_assert_uint_eq(wire_usage(w).segments, 0);
    wire_close(w);
}
END_TEST

START_TEST(a_host_that_is_down_is_no_black_hole_for_others)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 1460);
    for (uint64_t ms = 20; ms <= 6400; ms += 20) {
        wire_at(w, ms);
        while (wire_frame_out(w))
            ;
    }
    ck_assert_uint_ge(wire_count(w, UTCP_N_mtu_black_holes), 1);
    connect_again();
    ck_assert_uint_eq(wire_info(w).mss_bytes, 1460); /* nothing was learned from silence */
    wire_close(w);
}
END_TEST

START_TEST(short_segments_that_vanish_say_nothing_of_the_mtu)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 500);
    for (uint64_t ms = 20; ms <= 6400; ms += 20) {
        wire_at(w, ms);
        while (wire_frame_out(w))
            ;
    }
    ck_assert_uint_eq(wire_count(w, UTCP_N_mtu_black_holes), 0);
    ck_assert_uint_eq(wire_info(w).mss_bytes, 1460);
    wire_close(w);
}
END_TEST

/* ---- ECN ------------------------------------------------------------------------------------- */

static void open_ecn(void)
{
    struct utcp_config config = wire_config();

    config.no_ecn = false;
    open_with(&config, "SEW 0", "S.E 0 ack 1 win 65535 <mss 1460, sackok>");
}

START_TEST(new_data_is_ect_and_nothing_else_is)
{
    open_ecn();
    ck_assert_uint_eq(wire_codepoint(w), 0); /* the ACK of the handshake */
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    ck_assert_uint_eq(wire_codepoint(w), 2);
    wire_at(w, 400);
    wire_out(w, "P. 1+100");
    ck_assert_uint_eq(wire_codepoint(w), 0); /* RFC 3168 6.1.5 */
    wire_close(w);
}
END_TEST

START_TEST(an_echoed_mark_reduces_the_window_once_and_is_answered_by_cwr)
{
    uint32_t before;

    open_ecn();
    wire_send(w, 20 * 1460);
    for (unsigned i = 0; i < 10; i++)
        ck_assert(wire_frame_out(w));
    wire_at(w, 40);
    before = wire_info(w).cwnd_bytes;
    wire_in(w, ".E 1 ack 1461 win 65535");
    ck_assert_uint_lt(wire_info(w).cwnd_bytes, before);
    before = wire_info(w).cwnd_bytes;
    for (uint32_t i = 2; i <= 5; i++) {
        char text[48];

        (void)snprintf(text, sizeof text, ".E 1 ack %u win 65535", 1 + i * 1460);
        wire_in(w, text);
    }
    ck_assert_uint_le(wire_info(w).cwnd_bytes, before);
    ck_assert_uint_eq(wire_count(w, UTCP_N_ecn_reductions), 1);
    wire_out(w, ".W 14601+1460");
    wire_out(w, ". 16061+1460");
    ck_assert_uint_eq(wire_info(w).retransmissions, 0);
    wire_close(w);
}
END_TEST

START_TEST(a_mark_is_echoed_at_once_and_until_cwr)
{
    open_ecn();
    w->codepoint = 3;
    wire_in(w, ". 1+100 ack 1");
    w->codepoint = 2;
    wire_out(w, ".E 1 ack 101");
    wire_in(w, ". 101+100 ack 1");
    wire_at(w, 100);
    wire_out(w, ".E 1 ack 201");
    wire_in(w, ".W 201+100 ack 1");
    wire_at(w, 200);
    wire_out(w, ". 1 ack 301");
    ck_assert_uint_eq(wire_count(w, UTCP_N_ecn_marks_in), 1);
    wire_close(w);
}
END_TEST

START_TEST(a_syn_that_is_not_answered_goes_again_without_ecn_and_so_do_the_next)
{
    struct utcp_config config = wire_config();

    config.no_ecn = false;
    wire_open(w, &config);
    wire_connect(w);
    wire_out(w, "SEW 0");
    wire_at(w, 1000);
    wire_out(w, "S 0");
    wire_in(w, "S.E 0 ack 1 win 65535 <mss 1460, ts 1 0>"); /* of the first, late */
    wire_out(w, ". 1 ack 1");
    wire_send(w, 10);
    wire_out(w, "P. 1+10");
    ck_assert_uint_eq(wire_codepoint(w), 0);
    wire_in(w, ". 1 ack 11 <ts 2 0>");
    utcp_abort(w->u, w->now_ns, w->conn);
    wire_out(w, "R. 11 ack 1");
    wire_connect(w);
    wire_out(w, "S 0");
    wire_close(w);
}
END_TEST

struct ecn_answer {
    const char *syn_ack;
    uint8_t codepoint;
};
static const struct ecn_answer ecn_answers[] = {
    {"S.E 0 ack 1 win 65535 <mss 1460>", 2},
    {"S. 0 ack 1 win 65535 <mss 1460>", 0},
    {"S.EW 0 ack 1 win 65535 <mss 1460>", 0}, /* one that reflects what it does not know */
};

START_TEST(ecn_is_used_when_the_answer_says_so)
{
    struct utcp_config config = wire_config();

    config.no_ecn = false;
    open_with(&config, "SEW 0", ecn_answers[_i].syn_ack);
    wire_send(w, 10);
    wire_out(w, "P. 1+10");
    ck_assert_uint_eq(wire_codepoint(w), ecn_answers[_i].codepoint);
    wire_close(w);
}
END_TEST

START_TEST(a_listener_agrees_to_ecn_when_it_is_offered)
{
    struct utcp_config config = wire_config();

    config.no_ecn = false;
    wire_open(w, &config);
    ck_assert_int_eq(utcp_listen(w->u, &w->own, WIRE_PORT, NULL), UTCP_OK);
    w->own_port = WIRE_PORT;
    w->peer_port = 40000;
    wire_in(w, _i == 0 ? "SEW 0 <mss 1460>" : "S 0 <mss 1460>");
    wire_out(w, _i == 0 ? "S.E 0 ack 1" : "S. 0 ack 1");
    wire_close(w);
}
END_TEST

/* ---- pacing ---------------------------------------------------------------------------------- */

START_TEST(a_full_window_is_spread_over_the_round_trip)
{
    struct utcp_config config = wire_config();
    unsigned at_once = 0, in_20_ms = 0;

    config.no_pacing = false;
    wire_open(w, &config);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_at(w, 100);
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460, ws 7>");
    wire_out(w, ". 1 ack 1");
    wire_send(w, 100 * 1460);
    while (wire_frame_out(w))
        at_once++;
    ck_assert_uint_eq(at_once, 10); /* the initial window is a burst */
    wire_at(w, 200);
    wire_in(w, ". 1 ack 14601 win 65535"); /* cwnd is 18 now: 36 in a round trip */
    for (at_once = 0; wire_frame_out(w);)
        at_once++;
    ck_assert_uint_ge(at_once, 8);
    ck_assert_uint_le(at_once, 12);
    for (uint64_t ms = 201; ms <= 220; ms++) {
        wire_at(w, ms);
        while (wire_frame_out(w))
            in_20_ms++;
    }
    ck_assert_uint_ge(in_20_ms, 5);
    ck_assert_uint_le(at_once + in_20_ms, 19);
    ck_assert_uint_ge(wire_count(w, UTCP_N_paced), 1);
    wire_close(w);
}
END_TEST

START_TEST(an_ack_is_not_held_back_by_pacing)
{
    struct utcp_config config = wire_config();
    bool acked = false;

    config.no_pacing = false;
    wire_open(w, &config);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_at(w, 100);
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460, ws 7>");
    wire_out(w, ". 1 ack 1");
    wire_send(w, 100 * 1460);
    while (wire_frame_out(w))
        ;
    wire_at(w, 200);
    wire_in(w, ". 1 ack 14601 win 65535");
    while (wire_frame_out(w))
        ;
    wire_in(w, ". 1+1460 ack 14601 win 65535");
    wire_in(w, ". 1461+1460 ack 14601 win 65535");
    while (wire_frame_out(w))
        acked |= be32_get(wire_tcp(w) + 8) - w->peer_iss == 2921;
    ck_assert(acked);
    wire_close(w);
}
END_TEST

/* ---- keep-alive ------------------------------------------------------------------------------ */

/* Takes all frames; how many are keep-alive probes: one before the sequence number that is next? */
static unsigned probes_out(void)
{
    unsigned probes = 0;

    while (wire_frame_out(w)) {
        if (wire_asks(w))
            wire_answer(w);
        else
            probes += be32_get(wire_tcp(w) + 4) == w->own_iss ? 1 : 100;
    }
    return probes;
}

START_TEST(an_idle_connection_is_probed_and_lives_when_the_peer_answers)
{
    struct utcp_config config = wire_config();

    config.keepalive_ms = 10000;
    open_with(&config, "S 0", "S. 0 ack 1 win 65535 <mss 1460>");
    wire_at(w, 10019);
    wire_quiet(w);
    for (unsigned i = 0; i < 20; i++) {
        wire_at(w, 10021 + i * 10001);
        ck_assert_uint_eq(probes_out(), 1);
        wire_in(w, ". 1 ack 1");
    }
    ck_assert_uint_eq(wire_count(w, UTCP_N_keepalives_out), 20);
    wire_close(w);
}
END_TEST

START_TEST(a_peer_that_is_gone_is_noticed)
{
    struct utcp_config config = wire_config();

    config.keepalive_ms = 10000;
    open_with(&config, "S 0", "S. 0 ack 1 win 65535 <mss 1460>");
    for (uint64_t ms = 1000; ms <= 600000; ms += 1000) {
        wire_at(w, ms);
        while (wire_frame_out(w))
            if (wire_asks(w))
                wire_answer(w);
    }
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_TIMEOUT);
    ck_assert_uint_eq(wire_count(w, UTCP_N_keepalives_out), 6);
    wire_close(w);
}
END_TEST

START_TEST(without_keepalive_an_idle_connection_is_silent_for_ever)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_at(w, 24 * 3600 * 1000);
    wire_quiet(w);
    ck_assert_int_eq(wire_state(w), UTCP_ESTABLISHED);
    wire_close(w);
}
END_TEST

/* ---- path cache ------------------------------------------------------------------------------ */

START_TEST(the_next_connection_knows_where_slow_start_ends)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 20 * 1460);
    for (unsigned i = 0; i < 10; i++)
        ck_assert(wire_frame_out(w));
    for (unsigned i = 0; i < 3; i++)
        wire_in(w, ". 1 ack 1 win 60000"); /* the window changes: no duplicate */
    for (unsigned i = 0; i < 4; i++)
        wire_in(w, ". 1 ack 1461 win 60000");
    ck_assert_uint_eq(wire_count(w, UTCP_N_fast_retrans), 1);
    utcp_abort(w->u, w->now_ns, w->conn);
    while (wire_frame_out(w))
        ;
    w->sent = 0;
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
    wire_out(w, ". 1 ack 1");
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, 14600);
    ck_assert_uint_eq(wire_info(w).ssthresh_bytes, 14600); /* not less than what is sent anyway */
    wire_close(w);
}
END_TEST

/* Three destinations, room for two. */
START_TEST(the_oldest_path_goes_when_the_cache_is_full)
{
    static const char *const hosts[2][3] = {{"192.0.2.1", "198.51.100.1", "198.51.100.2"},
                                            {"2001:db8::1", "2001:db8:9::1", "2001:db8:9::2"}};
    struct utcp_config config = wire_config();

    config.limits.paths = 2;
    config.gateway4 = wire_addr(WIRE_PEER);
    config.gateway6 = wire_addr(WIRE_PEER6);
    wire_open(w, &config);
    for (unsigned i = 0; i < 3; i++) {
        w->peer = wire_addr(hosts[v6() ? 1 : 0][i]);
        wire_connect(w);
        wire_out(w, "S 0");
        wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
        wire_out(w, ". 1 ack 1");
        wire_event(w, UTCP_EV_CONNECTED);
        utcp_abort(w->u, w->now_ns, w->conn);
        wire_out(w, "R. 1 ack 1");
    }
    ck_assert_uint_eq(wire_count(w, UTCP_N_paths_evicted), 1);
    wire_close(w);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_smaller_mtu_is_remembered_for_the_next_connections_for_ten_minutes);
    tcase_add_test(tcase, fragmentation_needed_without_a_size_goes_down_one_plateau);
    tcase_add_test(tcase, what_vanishes_three_times_goes_in_smaller_pieces);
    tcase_add_test(tcase, a_black_hole_below_the_usual_sizes_is_found_too);
    tcase_add_test(tcase, smaller_pieces_need_no_free_segment);
    tcase_add_test(tcase, a_host_that_is_down_is_no_black_hole_for_others);
    tcase_add_test(tcase, short_segments_that_vanish_say_nothing_of_the_mtu);
    tcase_add_test(tcase, new_data_is_ect_and_nothing_else_is);
    tcase_add_test(tcase, an_echoed_mark_reduces_the_window_once_and_is_answered_by_cwr);
    tcase_add_test(tcase, a_mark_is_echoed_at_once_and_until_cwr);
    tcase_add_test(tcase, a_syn_that_is_not_answered_goes_again_without_ecn_and_so_do_the_next);
    tcase_add_loop_test(tcase, ecn_is_used_when_the_answer_says_so, 0,
                        sizeof ecn_answers / sizeof ecn_answers[0]);
    tcase_add_loop_test(tcase, a_listener_agrees_to_ecn_when_it_is_offered, 0, 2);
    tcase_add_test(tcase, a_full_window_is_spread_over_the_round_trip);
    tcase_add_test(tcase, an_ack_is_not_held_back_by_pacing);
    tcase_add_test(tcase, an_idle_connection_is_probed_and_lives_when_the_peer_answers);
    tcase_add_test(tcase, a_peer_that_is_gone_is_noticed);
    tcase_add_test(tcase, without_keepalive_an_idle_connection_is_silent_for_ever);
    tcase_add_test(tcase, the_next_connection_knows_where_slow_start_ends);
    tcase_add_test(tcase, the_oldest_path_goes_when_the_cache_is_full);
}

int main(void)
{
    return wire_run_both("tcp path", add_tests);
}
