/* test_tcp_open.c - opening a connection: ARP, SYN, options, refusals, ICMP. */
#include "tests/tcp/wire.h"

static struct wire wire;
static struct wire *const w = &wire;

/* ---- three-way handshake -------------------------------------------------------------------- */

START_TEST(a_connect_asks_for_the_mac_then_sends_a_syn_with_all_options)
{
    const struct utcp_connect req = {
        .local = wire_addr(WIRE_OWN), .remote = wire_addr(WIRE_PEER), .remote_port = WIRE_PORT};

    wire_open(w, NULL);
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_OK);
    ck_assert_uint_ne(w->conn, UTCP_CONN_NONE);
    wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_PEER);
    wire_quiet(w);
    wire_arp_in(w, ARP_REPLY, WIRE_PEER, WIRE_OWN);
    wire_out(w, "S 0 win 32768 <mss 1460, sackok, ts, ws 0>");
    ck_assert_int_eq(wire_state(w), UTCP_SYN_SENT);
    wire_in(w, "S. 0 ack 1 win 1000 <mss 1400, sackok, ts 77 0, ws 7>");
    wire_out(w, ". 1 ack 1 <ts 0 77>");
    wire_event(w, UTCP_EV_CONNECTED);
    ck_assert_int_eq(wire_state(w), UTCP_ESTABLISHED);
    ck_assert_uint_eq(wire_info(w).mss_bytes, 1388); /* 12 bytes of timestamps come off */
    wire_close(w);
}
END_TEST

START_TEST(a_peer_without_options_gets_none)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 1000");
    wire_out(w, ". 1 ack 1 <>");
    ck_assert_uint_eq(wire_info(w).mss_bytes, 536);
    wire_close(w);
}
END_TEST

START_TEST(the_window_of_a_syn_is_not_scaled_and_later_ones_are)
{
    struct utcp_config config = wire_config();

    config.rx_window_bytes = 1u << 20;
    wire_open(w, &config);
    wire_connect(w);
    wire_out(w, "S 0 win 65535 <mss 1460, sackok, ts, ws 5>");
    wire_in(w, "S. 0 ack 1 win 100 <mss 1460, ws 4>");
    wire_out(w, ". 1 ack 1 win 32768");
    wire_event(w, UTCP_EV_CONNECTED);
    wire_send(w, 1460);
    wire_out(w, ". 1+100 ack 1"); /* not 1600 */
    wire_quiet(w);
    wire_in(w, ". 1 ack 1 win 100");
    wire_out(w, "P. 101+1360 ack 1");
    wire_close(w);
}
END_TEST

START_TEST(a_syn_is_repeated_after_1_3_7_15_31_seconds_and_given_up_after_63)
{
    static const uint64_t at[] = {1000, 3000, 7000, 15000, 31000};

    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        wire_at(w, at[i] - 1);
        wire_quiet(w);
        wire_at(w, at[i]);
        wire_out(w, "S 0");
        if (at[i] == 31000) { /* the neighbour is asked again meanwhile */
            wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_PEER);
            wire_arp_in(w, ARP_REPLY, WIRE_PEER, WIRE_OWN);
        }
        wire_quiet(w);
        ck_assert_uint_eq(wire_count(w, UTCP_N_timeouts_syn), i + 1);
    }
    wire_event(w, 0);
    wire_at(w, 62999);
    wire_event(w, 0);
    wire_at(w, 63000);
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_TIMEOUT);
    ck_assert_uint_eq(wire_count(w, UTCP_N_attempt_fails), 1);
    wire_close(w);
}
END_TEST

START_TEST(a_lost_syn_makes_the_first_window_one_segment)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_at(w, 1000);
    wire_out(w, "S 0");
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
    wire_out(w, ". 1 ack 1");
    ck_assert_uint_eq(wire_info(w).cwnd_bytes, 1460);
    wire_send(w, 5000);
    wire_out(w, ". 1+1460");
    wire_quiet(w);
    wire_at(w, 3999); /* RFC 6298 5.7: three seconds, for there is no sample */
    wire_quiet(w);
    wire_at(w, 4000);
    wire_out(w, ". 1+1460");
    wire_close(w);
}
END_TEST

START_TEST(a_passive_open_is_shown_when_it_is_established)
{
    wire_open(w, NULL);
    wire_accept(w);
    ck_assert_int_eq(wire_state(w), UTCP_ESTABLISHED);
    ck_assert_uint_eq(wire_info(w).remote_port, 40000);
    wire_in(w, "P. 1+10 ack 1");
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 10);
    wire_close(w);
}
END_TEST

START_TEST(a_passive_open_answers_only_the_options_of_the_syn)
{
    wire_open(w, NULL);
    ck_assert_int_eq(utcp_listen(w->u, &w->own, WIRE_PORT, NULL), UTCP_OK);
    w->own_port = WIRE_PORT;
    w->peer_port = 40000;
    wire_in(w, "S 0 <mss 1200, ts 9 0>");
    wire_out(w, "S. 0 ack 1 <mss 1460, ts 0 9>");
    wire_close(w);
}
END_TEST

START_TEST(a_syn_ack_is_repeated_when_the_syn_comes_again_or_time_is_up)
{
    wire_open(w, NULL);
    ck_assert_int_eq(utcp_listen(w->u, &w->own, WIRE_PORT, NULL), UTCP_OK);
    w->own_port = WIRE_PORT;
    w->peer_port = 40000;
    wire_in(w, "S 0 <mss 1460>");
    wire_out(w, "S. 0 ack 1");
    wire_in(w, "S 0 <mss 1460>");
    wire_out(w, "S. 0 ack 1");
    wire_at(w, 1000);
    wire_out(w, "S. 0 ack 1");
    wire_at(w, 100000);
    ck_assert_uint_eq(utcp_connections(w->u), 0); /* nobody was told, nothing stays */
    ck_assert_uint_eq(wire_usage(w).connections, 0);
    ck_assert_uint_eq(wire_usage(w).half_open, 0);
    wire_close(w);
}
END_TEST

/* 1, 2, 4, 8 and 16 s apart; after another 32 s it is over. */
START_TEST(a_syn_ack_without_an_answer_is_given_up_like_a_syn)
{
    static const uint64_t at_ms[] = {1000, 3000, 7000, 15000, 31000};

    wire_open(w, NULL);
    ck_assert_int_eq(utcp_listen(w->u, &w->own, WIRE_PORT, NULL), UTCP_OK);
    w->own_port = WIRE_PORT;
    w->peer_port = 40000;
    wire_in(w, "S 0 <mss 1460>");
    wire_out(w, "S. 0 ack 1");
    for (unsigned i = 0; i < sizeof at_ms / sizeof at_ms[0]; i++) {
        wire_at(w, at_ms[i] - 1);
        wire_quiet(w);
        wire_at(w, at_ms[i]);
        wire_out(w, "S. 0 ack 1");
    }
    wire_at(w, 62999);
    ck_assert_uint_eq(wire_usage(w).half_open, 1);
    wire_at(w, 63000);
    wire_quiet(w);
    ck_assert_uint_eq(wire_usage(w).half_open, 0);
    ck_assert_uint_eq(wire_count(w, UTCP_N_timeouts_syn), 5);
    wire_close(w);
}
END_TEST

START_TEST(an_address_that_is_removed_takes_its_half_open_entries_along)
{
    wire_open(w, NULL);
    ck_assert_int_eq(utcp_listen(w->u, &w->own, WIRE_PORT, NULL), UTCP_OK);
    w->own_port = WIRE_PORT;
    w->peer_port = 40000;
    wire_in(w, "S 0 <mss 1460>");
    wire_out(w, "S. 0 ack 1");
    ck_assert_int_eq(utcp_address_remove(w->u, w->now_ns, &w->own), UTCP_OK);
    ck_assert_uint_eq(wire_usage(w).half_open, 0);
    wire_at(w, 100000);
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(both_open_at_once)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_in(w, "S 0 win 5000 <mss 1460>");
    ck_assert_int_eq(wire_state(w), UTCP_SYN_RECEIVED);
    wire_out(w, "S. 0 ack 1");
    wire_in(w, ". 1 ack 1 win 5000");
    ck_assert_int_eq(wire_state(w), UTCP_ESTABLISHED);
    wire_event(w, UTCP_EV_CONNECTED);
    wire_send(w, 100);
    wire_out(w, "P. 1+100 ack 1");
    wire_close(w);
}
END_TEST

START_TEST(data_and_fin_on_the_syn_ack_are_taken)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    /* number 0 is the SYN; the bytes begin with 1 */
    wire_in(w, "S. 0 ack 1 win 5000 <mss 1460>");
    wire_in(w, "FP. 1+20 ack 1");
    wire_out(w, ". 1 ack 22");
    wire_event(w, UTCP_EV_CONNECTED | UTCP_EV_READABLE | UTCP_EV_EOF);
    wire_read(w, 20);
    ck_assert_int_eq(wire_state(w), UTCP_CLOSE_WAIT);
    wire_close(w);
}
END_TEST

START_TEST(bytes_queued_before_the_syn_ack_go_out_with_the_ack)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_send(w, 30);
    wire_out(w, "S 0");
    wire_quiet(w);
    wire_in(w, "S. 0 ack 1 win 5000 <mss 1460>");
    wire_out(w, "P. 1+30 ack 1");
    wire_quiet(w);
    wire_close(w);
}
END_TEST

/* ---- SYN-SENT, what is not a SYN-ACK --------------------------------------------------------- */

START_TEST(syn_sent_table)
{
    static const struct {
        const char *in, *answer;
        enum utcp_close_reason reason;
    } cases[] = {
        {"R. 0 ack 1", NULL, UTCP_CLOSE_REFUSED},
        {"R. 0 ack 2", NULL, UTCP_CLOSE_NONE}, /* not about our SYN */
        {"R. 0 ack 0", NULL, UTCP_CLOSE_NONE},
        {"R 0", NULL, UTCP_CLOSE_NONE},
        {". 0 ack 1", NULL, UTCP_CLOSE_NONE},
        {". 0 ack 5", "R 5", UTCP_CLOSE_NONE},
        {"S. 0 ack 7", "R 7", UTCP_CLOSE_NONE},
        {"S. 0 ack 0", "R 0", UTCP_CLOSE_NONE},
        {"F 0", NULL, UTCP_CLOSE_NONE},
        {"- 0+10", NULL, UTCP_CLOSE_NONE},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wire_open(w, NULL);
        wire_connect(w);
        wire_out(w, "S 0");
        wire_in(w, cases[i].in);
        if (cases[i].answer != NULL)
            wire_out(w, cases[i].answer);
        wire_quiet(w);
        if (cases[i].reason == UTCP_CLOSE_NONE) {
            wire_event(w, 0);
            ck_assert_int_eq(wire_state(w), UTCP_SYN_SENT);
        } else {
            ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), cases[i].reason);
        }
        wire_close(w);
    }
}
END_TEST

/* ---- LISTEN and CLOSED ---------------------------------------------------------------------- */

START_TEST(what_comes_for_no_connection_is_answered_by_rst)
{
    static const struct {
        const char *in, *answer;
    } cases[] = {
        {"S 0", "R. 0 ack 1"}, {". 5 ack 9", "R 9"},      {"P. 5+10 ack 9", "R 9"},
        {"F 7", "R. 0 ack 8"}, {"S 0+10", "R. 0 ack 11"}, {"R 5", NULL},
        {"R. 5 ack 1", NULL},
    };

    wire_open(w, NULL);
    w->own_port = 4000;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wire_in(w, cases[i].in);
        if (cases[i].answer != NULL)
            wire_out(w, cases[i].answer);
        wire_quiet(w);
    }
    wire_close(w);
}
END_TEST

START_TEST(a_listener_takes_a_syn_and_nothing_else)
{
    wire_open(w, NULL);
    ck_assert_int_eq(utcp_listen(w->u, &w->own, WIRE_PORT, NULL), UTCP_OK);
    ck_assert_int_eq(utcp_listen(w->u, &w->own, WIRE_PORT, NULL), UTCP_E_EXISTS);
    w->own_port = WIRE_PORT;
    wire_in(w, ". 5 ack 9");
    wire_out(w, "R 9");
    wire_in(w, "R 5");
    wire_in(w, "F 5");
    wire_quiet(w);
    wire_in(w, "S. 0 ack 3");
    wire_out(w, "R 3");
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_tcp_listen), 4);
    ck_assert_uint_eq(utcp_connections(w->u), 0);
    wire_close(w);
}
END_TEST

/* ---- refusals of utcp_connect() ------------------------------------------------------------- */

START_TEST(connect_refuses_what_cannot_work)
{
    static const struct {
        const char *local, *remote;
        uint16_t port;
        int error;
    } cases[] = {
        {"192.0.2.11", WIRE_PEER, 25, UTCP_E_ADDRESS},
        {WIRE_OWN, WIRE_PEER, 0, UTCP_E_ROUTE},
        {WIRE_OWN, WIRE_OWN, 25, UTCP_E_ROUTE},
        {WIRE_OWN, "192.0.2.255", 25, UTCP_E_ROUTE},
        {WIRE_OWN, "192.0.2.0", 25, UTCP_E_ROUTE},
        {WIRE_OWN, "224.0.0.1", 25, UTCP_E_ROUTE},
        {WIRE_OWN, "255.255.255.255", 25, UTCP_E_ROUTE},
        {WIRE_OWN, "127.0.0.1", 25, UTCP_E_ROUTE},
        {WIRE_OWN, "0.0.0.0", 25, UTCP_E_ROUTE},
        {WIRE_OWN, "2001:db8::1", 25, UTCP_E_ROUTE},
    };

    wire_open(w, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct utcp_connect req = {.local = wire_addr(cases[i].local),
                                         .remote = wire_addr(cases[i].remote),
                                         .remote_port = cases[i].port};
        uint32_t conn = 4711;

        ck_assert_msg(utcp_connect(w->u, w->now_ns, &req, &conn) == cases[i].error, "%s",
                      cases[i].remote);
        ck_assert_uint_eq(conn, 4711);
    }
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(far_destinations_go_by_the_gateway_or_nowhere)
{
    struct utcp_config config = wire_config();
    struct utcp_connect req = {
        .local = wire_addr(WIRE_OWN), .remote = wire_addr("198.51.100.7"), .remote_port = 25};

    wire_open(w, NULL);
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_OK);
    wire_arp_out(w, ARP_REQUEST, WIRE_OWN, "192.0.2.254");
    wire_close(w);
    config.gateway4.family = 0;
    wire_open(w, &config);
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_E_ROUTE);
    wire_close(w);
}
END_TEST

/* ---- ARP ------------------------------------------------------------------------------------ */

START_TEST(an_address_is_announced_twice)
{
    const struct ip_addr second = wire_addr("192.0.2.11");

    wire_open(w, NULL);
    ck_assert_int_eq(utcp_address_add(w->u, w->now_ns, &second), UTCP_OK);
    wire_arp_out(w, ARP_REQUEST, "192.0.2.11", "192.0.2.11");
    wire_at(w, 1999);
    wire_quiet(w);
    wire_at(w, 2000);
    wire_arp_out(w, ARP_REQUEST, "192.0.2.11", "192.0.2.11");
    wire_at(w, 60000);
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(arp_requests_for_our_addresses_only_are_answered)
{
    const struct ip_addr second = wire_addr("192.0.2.11");

    wire_open(w, NULL);
    wire_arp_in(w, ARP_REQUEST, WIRE_PEER, WIRE_OWN);
    wire_arp_out(w, ARP_REPLY, WIRE_OWN, WIRE_PEER);
    wire_arp_in(w, ARP_REQUEST, WIRE_PEER, "192.0.2.11");
    wire_quiet(w);
    ck_assert_int_eq(utcp_address_add(w->u, w->now_ns, &second), UTCP_OK);
    wire_arp_out(w, ARP_REQUEST, "192.0.2.11", "192.0.2.11");
    wire_arp_in(w, ARP_REQUEST, WIRE_PEER, "192.0.2.11");
    wire_arp_out(w, ARP_REPLY, "192.0.2.11", WIRE_PEER);
    ck_assert_int_eq(utcp_address_remove(w->u, w->now_ns, &second), UTCP_OK);
    wire_arp_in(w, ARP_REQUEST, WIRE_PEER, "192.0.2.11");
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(an_address_is_defended_once_in_ten_seconds)
{
    wire_open(w, NULL);
    wire_at(w, 3000);
    wire_arp_in(w, ARP_REPLY, WIRE_OWN, WIRE_PEER); /* somebody else says that it is his */
    wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_OWN);
    wire_arp_in(w, ARP_REPLY, WIRE_OWN, WIRE_PEER);
    wire_at(w, 12999);
    wire_arp_in(w, ARP_REQUEST, WIRE_OWN, WIRE_PEER);
    wire_quiet(w);
    wire_at(w, 13000);
    wire_arp_in(w, ARP_REQUEST, WIRE_OWN, WIRE_PEER);
    wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_OWN);
    ck_assert_uint_eq(wire_count(w, UTCP_N_address_conflicts), 4);
    wire_close(w);
}
END_TEST

START_TEST(a_neighbour_that_does_not_answer_three_times_is_unreachable)
{
    const struct utcp_connect req = {
        .local = wire_addr(WIRE_OWN), .remote = wire_addr(WIRE_PEER), .remote_port = WIRE_PORT};

    wire_open(w, NULL);
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_OK);
    wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_PEER);
    wire_at(w, 1000);
    wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_PEER);
    wire_at(w, 2000);
    wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_PEER);
    wire_event(w, 0);
    wire_at(w, 3000);
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_UNREACHABLE);
    wire_quiet(w);
    /* and the next one asks anew */
    utcp_release(w->u, w->now_ns, w->conn);
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &w->conn), UTCP_OK);
    wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_PEER);
    wire_close(w);
}
END_TEST

START_TEST(an_old_neighbour_is_used_while_it_is_asked_again)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_at(w, 31000);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    wire_arp_out(w, ARP_REQUEST, WIRE_OWN, WIRE_PEER);
    ck_assert_mem_eq(w->bytes, w->peer_mac, 6); /* to itself, not to everybody */
    wire_arp_in(w, ARP_REPLY, WIRE_PEER, WIRE_OWN);
    wire_at(w, 31100);
    wire_in(w, ". 1 ack 101");
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(a_neighbour_that_moves_is_followed)
{
    wire_open(w, NULL);
    wire_establish(w);
    w->peer_mac[5] = 99;
    wire_arp_in(w, ARP_REQUEST, WIRE_PEER, WIRE_PEER); /* gratuitous */
    wire_quiet(w);
    wire_send(w, 10);
    wire_out(w, "P. 1+10");
    wire_close(w);
}
END_TEST

START_TEST(a_silent_neighbour_does_not_end_an_established_connection)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_at(w, 31000);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    for (uint64_t ms = 31000; ms < 45000; ms += 100) {
        wire_at(w, ms);
        while (wire_frame_out(w))
            ; /* questions, and the segment until the MAC is given up */
    }
    ck_assert_uint_ge(wire_count(w, UTCP_N_neighbour_failures), 1);
    wire_event(w, 0);
    wire_arp_in(w, ARP_REPLY, WIRE_PEER, WIRE_OWN);
    wire_at(w, 120000);
    while (wire_frame_out(w))
        if (be16_get(w->bytes + 12) == ETH_TYPE_ARP)
            wire_arp_in(w, ARP_REPLY, WIRE_PEER, WIRE_OWN);
    wire_in(w, ". 1 ack 101");
    ck_assert_uint_eq(wire_info(w).bytes_acked_total, 100);
    wire_close(w);
}
END_TEST

START_TEST(malformed_arp_is_dropped_at_each_cut)
{
    struct utcp_arp arp = {.op = ARP_REQUEST};
    uint8_t frame[ETH_LEN + ARP_LEN];

    wire_open(w, NULL);
    memcpy(arp.sender_mac, w->peer_mac, 6);
    memcpy(arp.sender_ip, w->peer.bytes, 4);
    memcpy(arp.target_ip, w->own.bytes, 4);
    (void)utcp_arp_put(frame, w->own_mac, w->own_mac, &arp);
    for (uint32_t cut = 0; cut < sizeof frame; cut++)
        wire_frame_in(w, frame, cut);
    for (uint32_t byte = ETH_LEN; byte < ETH_LEN + 6; byte++) {
        frame[byte] ^= 0x40;
        wire_frame_in(w, frame, sizeof frame);
        frame[byte] ^= 0x40;
    }
    frame[ETH_LEN + 8] |= 1; /* a group address as sender */
    wire_frame_in(w, frame, sizeof frame);
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_eth_short), ETH_LEN);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_arp_malformed), ARP_LEN + 6 + 1);
    wire_close(w);
}
END_TEST

/* ---- ICMP ----------------------------------------------------------------------------------- */

START_TEST(icmp_unreachable_ends_a_connect_only_when_it_quotes_the_syn)
{
    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_icmp_in(w, ICMP_UNREACHABLE, 1, 0, 77);
    wire_event(w, 0);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_icmp_sequence), 1);
    wire_icmp_in(w, ICMP_TIME_EXCEEDED, 0, 0, 0);
    wire_event(w, 0);
    wire_icmp_in(w, ICMP_UNREACHABLE, 1, 0, 0);
    ck_assert_int_eq(wire_event(w, UTCP_EV_CLOSED), UTCP_CLOSE_UNREACHABLE);
    wire_icmp_in(w, ICMP_UNREACHABLE, 1, 0, 0);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_icmp_no_connection), 1);
    wire_close(w);
}
END_TEST

START_TEST(icmp_unreachable_does_not_end_an_established_connection)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    wire_icmp_in(w, ICMP_UNREACHABLE, 3, 0, 1);
    wire_event(w, 0);
    ck_assert_int_eq(wire_state(w), UTCP_ESTABLISHED);
    ck_assert_uint_eq(wire_count(w, UTCP_N_icmp_unreachable_soft), 1);
    wire_close(w);
}
END_TEST

START_TEST(fragmentation_needed_cuts_what_is_in_flight_into_smaller_segments)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 2920);
    wire_out(w, ". 1+1460");
    wire_out(w, "P. 1461+1460");
    wire_icmp_in(w, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, 1000, 1);
    wire_out(w, ". 1+960");
    wire_out(w, ". 961+500");
    wire_out(w, ". 1461+960");
    wire_out(w, "P. 2421+500");
    wire_quiet(w);
    ck_assert_uint_eq(wire_info(w).mss_bytes, 960);
    wire_in(w, ". 1 ack 2921");
    wire_send(w, 1000);
    wire_out(w, ". 2921+960");
    wire_close(w);
}
END_TEST

START_TEST(fragmentation_needed_never_goes_below_576_nor_up)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 100);
    wire_out(w, "P. 1+100");
    wire_icmp_in(w, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, 68, 1);
    ck_assert_uint_eq(wire_info(w).mss_bytes, 536);
    wire_icmp_in(w, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, 1400, 1);
    ck_assert_uint_eq(wire_info(w).mss_bytes, 536);
    ck_assert_uint_eq(wire_count(w, UTCP_N_icmp_frag_needed), 1);
    wire_close(w);
}
END_TEST

START_TEST(an_echo_request_is_answered_with_its_bytes)
{
    uint8_t icmp[ICMP_LEN + 33] = {ICMP_ECHO, 0, 0, 0, 1, 2, 3, 4};
    struct utcp_ip ip;

    for (uint32_t i = ICMP_LEN; i < sizeof icmp; i++)
        icmp[i] = (uint8_t)i;
    be16_put(icmp + 2, utcp_checksum(icmp, sizeof icmp));
    wire_open(w, NULL);
    wire_ip_in(w, IP_PROTO_ICMP, icmp, sizeof icmp);
    ck_assert(wire_frame_out(w));
    ck_assert_int_eq(utcp_ipv4_parse(w->bytes + ETH_LEN, w->bytes_len - ETH_LEN, false, &ip),
                     UTCP_IP_OK);
    ck_assert_uint_eq(ip.len, sizeof icmp);
    ck_assert_uint_eq(ip.data[0], ICMP_ECHO_REPLY);
    ck_assert_uint_eq(utcp_checksum(ip.data, ip.len), 0);
    ck_assert_mem_eq(ip.data + 4, icmp + 4, sizeof icmp - 4);
    icmp[2] ^= 1;
    wire_ip_in(w, IP_PROTO_ICMP, icmp, sizeof icmp);
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(icmp_cut_at_each_byte_does_no_harm)
{
    uint8_t icmp[ICMP_LEN + IPV4_LEN + 8] = {ICMP_UNREACHABLE, 1};

    wire_open(w, NULL);
    wire_connect(w);
    wire_out(w, "S 0");
    wire_ip_put(icmp + ICMP_LEN, 4, w->own.bytes, w->peer.bytes, IP_PROTO_TCP, 20);
    be16_put(icmp + ICMP_LEN + IPV4_LEN, w->own_port);
    be16_put(icmp + ICMP_LEN + IPV4_LEN + 2, w->peer_port);
    be32_put(icmp + ICMP_LEN + IPV4_LEN + 4, w->own_iss);
    for (uint32_t cut = 0; cut < sizeof icmp; cut++) {
        if (cut >= 4) {
            be16_put(icmp + 2, 0);
            be16_put(icmp + 2, utcp_checksum(icmp, cut));
        }
        wire_ip_in(w, IP_PROTO_ICMP, icmp, cut);
        wire_event(w, 0);
    }
    be16_put(icmp + 2, 0);
    be16_put(icmp + 2, utcp_checksum(icmp, sizeof icmp));
    wire_ip_in(w, IP_PROTO_ICMP, icmp, sizeof icmp);
    wire_event(w, UTCP_EV_CLOSED);
    wire_close(w);
}
END_TEST

/* ---- frames that are not for us -------------------------------------------------------------- */

START_TEST(frames_and_packets_for_others_are_dropped_and_counted)
{
    uint8_t frame[64] = {0};
    const uint8_t foreign[4] = {192, 0, 2, 77}, loop[4] = {127, 0, 0, 1};

    wire_open(w, NULL);
    utcp_eth_put(frame, w->peer_mac, w->own_mac, ETH_TYPE_IPV4);
    wire_frame_in(w, frame, sizeof frame);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_eth_address), 1);
    utcp_eth_put(frame, w->own_mac, w->peer_mac, 0x8100);
    wire_frame_in(w, frame, sizeof frame);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_eth_type), 1);
    utcp_eth_put(frame, w->own_mac, w->peer_mac, ETH_TYPE_IPV4);
    wire_ip_put(frame + ETH_LEN, 4, w->peer.bytes, foreign, IP_PROTO_TCP, 20);
    wire_frame_in(w, frame, sizeof frame);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_ip_address), 1);
    wire_ip_put(frame + ETH_LEN, 4, loop, w->own.bytes, IP_PROTO_TCP, 20);
    wire_frame_in(w, frame, sizeof frame);
    wire_ip_put(frame + ETH_LEN, 4, w->own.bytes, w->own.bytes, IP_PROTO_TCP, 20);
    wire_frame_in(w, frame, sizeof frame);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_ip_source), 2);
    wire_ip_in(w, 17, frame, 20);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_ip_protocol), 1);
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(a_segment_with_a_wrong_checksum_is_dropped_unless_the_device_vouches_for_it)
{
    uint8_t tcp[TCP_LEN];
    uint8_t frame[ETH_LEN + IPV4_LEN + TCP_LEN];
    const struct utcp_tcp_header header = {.src_port = 1, .dst_port = 2, .flags = TCP_SYN};

    wire_open(w, NULL);
    utcp_tcp_put(tcp, &header);
    wire_ip_in(w, IP_PROTO_TCP, tcp, sizeof tcp);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_tcp_checksum), 1);
    wire_quiet(w);
    utcp_eth_put(frame, w->own_mac, w->peer_mac, ETH_TYPE_IPV4);
    wire_ip_put(frame + ETH_LEN, 4, w->peer.bytes, w->own.bytes, IP_PROTO_TCP, TCP_LEN);
    memcpy(frame + ETH_LEN + IPV4_LEN, tcp, TCP_LEN);
    utcp_input(w->u, w->now_ns, frame, sizeof frame, UTCP_RX_IP_CSUM_GOOD | UTCP_RX_L4_CSUM_GOOD);
    ck_assert(wire_frame_out(w));
    wire_close(w);
}
END_TEST

/* With offload the TCP field holds the folded pseudo-header sum, the IP field 0. */
START_TEST(checksum_offload_leaves_what_the_device_wants)
{
    struct utcp_config config = wire_config();
    const uint8_t *ip, *tcp;

    config.tx_checksum_offload = true;
    wire_open(w, &config);
    wire_connect(w);
    ck_assert(wire_frame_out(w));
    ip = w->bytes + ETH_LEN;
    tcp = ip + IPV4_LEN;
    ck_assert_uint_eq(be16_get(ip + 10), 0);
    ck_assert_uint_eq(
        be16_get(tcp + TCP_CHECKSUM_AT),
        utcp_sum_fold(utcp_sum_pseudo(4, ip + 12, ip + 16, IP_PROTO_TCP, w->bytes_len - 34)));
    wire_close(w);
}
END_TEST

/* ---- numbers that nobody can guess ----------------------------------------------------------- */

START_TEST(ports_and_sequence_numbers_depend_on_the_secret_and_the_destination)
{
    struct utcp_config config = wire_config();
    uint32_t iss[3];
    uint16_t port[3];

    for (unsigned i = 0; i < 3; i++) {
        config.secret[0] = (uint8_t)(i / 2);
        wire_open(w, &config);
        if (i == 1)
            w->peer = wire_addr("192.0.2.2");
        wire_connect(w);
        if (i == 1)
            wire_arp_in(w, ARP_REPLY, "192.0.2.2", WIRE_OWN);
        wire_out(w, "S 0");
        iss[i] = w->own_iss;
        port[i] = w->own_port;
        wire_close(w);
    }
    ck_assert(iss[0] != iss[1] && iss[1] != iss[2] && iss[0] != iss[2]);
    ck_assert(port[0] != port[1] && port[1] != port[2] && port[0] != port[2]);
}
END_TEST

START_TEST(a_handle_that_was_given_back_is_dead)
{
    struct utcp_info info;
    uint32_t old;

    wire_open(w, NULL);
    wire_establish(w);
    old = w->conn;
    utcp_abort(w->u, w->now_ns, old);
    wire_out(w, "R. 1 ack 1");
    wire_connect(w);
    ck_assert_uint_ne(w->conn, old);
    ck_assert(!utcp_info(w->u, w->now_ns, old, &info));
    ck_assert_int_eq(utcp_send_copy(w->u, w->now_ns, old, (const uint8_t *)"x", 1), UTCP_E_HANDLE);
    ck_assert_int_eq(utcp_shutdown(w->u, w->now_ns, old), UTCP_E_HANDLE);
    ck_assert_uint_eq(utcp_send_room(w->u, old), 0);
    utcp_abort(w->u, w->now_ns, old);
    utcp_release(w->u, w->now_ns, old);
    ck_assert_int_eq(wire_state(w), UTCP_SYN_SENT);
    wire_close(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tcp open");
    TCase *tcase = tcase_create("open");

    tcase_add_test(tcase, a_connect_asks_for_the_mac_then_sends_a_syn_with_all_options);
    tcase_add_test(tcase, a_peer_without_options_gets_none);
    tcase_add_test(tcase, the_window_of_a_syn_is_not_scaled_and_later_ones_are);
    tcase_add_test(tcase, a_syn_is_repeated_after_1_3_7_15_31_seconds_and_given_up_after_63);
    tcase_add_test(tcase, a_lost_syn_makes_the_first_window_one_segment);
    tcase_add_test(tcase, a_passive_open_is_shown_when_it_is_established);
    tcase_add_test(tcase, a_passive_open_answers_only_the_options_of_the_syn);
    tcase_add_test(tcase, a_syn_ack_is_repeated_when_the_syn_comes_again_or_time_is_up);
    tcase_add_test(tcase, a_syn_ack_without_an_answer_is_given_up_like_a_syn);
    tcase_add_test(tcase, an_address_that_is_removed_takes_its_half_open_entries_along);
    tcase_add_test(tcase, both_open_at_once);
    tcase_add_test(tcase, data_and_fin_on_the_syn_ack_are_taken);
    tcase_add_test(tcase, bytes_queued_before_the_syn_ack_go_out_with_the_ack);
    tcase_add_test(tcase, syn_sent_table);
    tcase_add_test(tcase, what_comes_for_no_connection_is_answered_by_rst);
    tcase_add_test(tcase, a_listener_takes_a_syn_and_nothing_else);
    tcase_add_test(tcase, connect_refuses_what_cannot_work);
    tcase_add_test(tcase, far_destinations_go_by_the_gateway_or_nowhere);
    tcase_add_test(tcase, an_address_is_announced_twice);
    tcase_add_test(tcase, arp_requests_for_our_addresses_only_are_answered);
    tcase_add_test(tcase, an_address_is_defended_once_in_ten_seconds);
    tcase_add_test(tcase, a_neighbour_that_does_not_answer_three_times_is_unreachable);
    tcase_add_test(tcase, an_old_neighbour_is_used_while_it_is_asked_again);
    tcase_add_test(tcase, a_neighbour_that_moves_is_followed);
    tcase_add_test(tcase, a_silent_neighbour_does_not_end_an_established_connection);
    tcase_add_test(tcase, malformed_arp_is_dropped_at_each_cut);
    tcase_add_test(tcase, icmp_unreachable_ends_a_connect_only_when_it_quotes_the_syn);
    tcase_add_test(tcase, icmp_unreachable_does_not_end_an_established_connection);
    tcase_add_test(tcase, fragmentation_needed_cuts_what_is_in_flight_into_smaller_segments);
    tcase_add_test(tcase, fragmentation_needed_never_goes_below_576_nor_up);
    tcase_add_test(tcase, an_echo_request_is_answered_with_its_bytes);
    tcase_add_test(tcase, icmp_cut_at_each_byte_does_no_harm);
    tcase_add_test(tcase, frames_and_packets_for_others_are_dropped_and_counted);
    tcase_add_test(tcase,
                   a_segment_with_a_wrong_checksum_is_dropped_unless_the_device_vouches_for_it);
    tcase_add_test(tcase, checksum_offload_leaves_what_the_device_wants);
    tcase_add_test(tcase, ports_and_sequence_numbers_depend_on_the_secret_and_the_destination);
    tcase_add_test(tcase, a_handle_that_was_given_back_is_dead);
    suite_add_tcase(suite, tcase);
    return wire_run(suite);
}
