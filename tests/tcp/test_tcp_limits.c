/* test_tcp_limits.c - each limit of the lane is reached, counted, refused, and recovered from. */
#include "tests/tcp/wire.h"

static struct wire wire;
static struct wire *const w = &wire;

static int try_connect(uint32_t *ret_conn)
{
    const struct utcp_connect req = {.local = w->own, .remote = w->peer, .remote_port = WIRE_PORT};

    return utcp_connect(w->u, w->now_ns, &req, ret_conn);
}

START_TEST(bad_configurations_are_refused)
{
    struct utcp_config good = wire_config();
    struct utcp_config bad[9];
    int error;

    for (size_t i = 0; i < 9; i++)
        bad[i] = good;
    bad[0].mtu = 575;
    bad[1].mtu = 9217;
    bad[2].prefix4_len = 33;
    bad[3].prefix4.family = 0;
    bad[4].mac[0] = 1;
    bad[5].limits.connections = 1u << 20;
    bad[6].port_first = 9;
    bad[6].port_last = 8;
    bad[7].gateway4.family = 6;
    bad[8].rx_window_bytes = (1u << 30) + 1;
    for (size_t i = 0; i < 9; i++) {
        error = UTCP_OK;
        ck_assert_ptr_null(utcp_create(&bad[i], &error));
        ck_assert_int_eq(error, UTCP_E_CONFIG);
    }
    error = UTCP_OK;
    utcp_destroy(NULL);
}
END_TEST

START_TEST(no_connection_is_free)
{
    struct utcp_config config = wire_config();
    uint32_t conn[3] = {0}, refused = 4711;

    config.limits.connections = 3;
    wire_open(w, &config);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(try_connect(&conn[i]), UTCP_OK);
    ck_assert_int_eq(try_connect(&refused), UTCP_E_LIMIT);
    ck_assert_uint_eq(refused, 4711);
    ck_assert_uint_eq(wire_count(w, UTCP_N_limit_connections), 1);
    utcp_abort(w->u, w->now_ns, conn[1]);
    ck_assert_int_eq(try_connect(&conn[1]), UTCP_OK);
    wire_close(w);
}
END_TEST

START_TEST(a_syn_that_finds_no_connection_is_dropped_and_counted)
{
    struct utcp_config config = wire_config();

    config.limits.connections = 1;
    wire_open(w, &config);
    wire_accept(w);
    w->peer_port = 40001;
    wire_in(w, "S 0 <mss 1460>");
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_drop_tcp_listen_limit), 1);
    wire_close(w);
}
END_TEST

/* SYNs that nobody follows up cost an entry of the half-open table each, and nothing else. */
START_TEST(half_open_is_a_limit_of_its_own_and_costs_nothing_else)
{
    struct utcp_config config = wire_config();

    config.limits.half_open = 8;
    wire_open(w, &config);
    ck_assert_int_eq(utcp_listen(w->u, &w->own, WIRE_PORT, NULL), UTCP_OK);
    w->own_port = WIRE_PORT;
    for (unsigned i = 0; i < 8; i++) {
        w->peer_port = (uint16_t)(40000 + i);
        wire_in(w, "S 0 <mss 1460>");
        wire_out(w, "S. 0 ack 1");
    }
    w->peer_port = 40008;
    wire_in(w, "S 0 <mss 1460>");
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_limit_half_open), 1);
    ck_assert_uint_eq(wire_usage(w).half_open, 8);
    ck_assert_uint_eq(wire_usage(w).connections, 0);
    ck_assert_uint_eq(wire_usage(w).segments, 0);
    ck_assert_uint_eq(wire_usage(w).neighbours, 0);
    w->peer_port = 40007; /* the last one's ACK comes: its place is free again */
    wire_in(w, ". 1 ack 1 win 65535");
    ck_assert(wire_frame_out(w) && wire_asks(w));
    wire_answer(w);
    (void)wire_event(w, UTCP_EV_ACCEPTED);
    ck_assert_uint_eq(wire_usage(w).half_open, 7);
    w->peer_port = 40008;
    wire_in(w, "S 0 <mss 1460>");
    wire_out(w, "S. 0 ack 1");
    wire_close(w);
}
END_TEST

START_TEST(ports_towards_one_destination_run_out_and_another_has_its_own)
{
    struct utcp_config config = wire_config();
    struct utcp_connect req = {
        .local = wire_addr(WIRE_OWN), .remote = wire_addr(WIRE_PEER), .remote_port = 25};
    uint32_t conn;

    config.limits.connections = 600;
    config.port_first = 60000;
    config.port_last = 60255;
    wire_open(w, &config);
    for (unsigned i = 0; i < 256; i++) {
        ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &conn), UTCP_OK);
        w->conn = conn;
        ck_assert_uint_ge(wire_info(w).local_port, 60000);
        ck_assert_uint_le(wire_info(w).local_port, 60255);
    }
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &conn), UTCP_E_PORTS);
    ck_assert_uint_eq(wire_count(w, UTCP_N_limit_ports), 1);
    req.remote_port = 26;
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &conn), UTCP_OK);
    req.remote_port = 25;
    utcp_abort(w->u, w->now_ns, w->conn);
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &conn), UTCP_OK);
    wire_close(w);
}
END_TEST

START_TEST(a_port_that_listens_is_not_used_to_connect)
{
    struct utcp_config config = wire_config();
    uint32_t conn;

    config.port_first = config.port_last = 7777;
    wire_open(w, &config);
    ck_assert_int_eq(utcp_listen(w->u, &w->own, 7777, NULL), UTCP_OK);
    ck_assert_int_eq(try_connect(&conn), UTCP_E_PORTS);
    wire_close(w);
}
END_TEST

START_TEST(the_queue_of_a_connection_is_full_and_sendable_comes_at_half)
{
    struct utcp_config config = wire_config();

    config.tx_queue_bytes = 10000;
    wire_open(w, &config);
    wire_establish(w);
    wire_send(w, 10000);
    ck_assert_uint_eq(utcp_send_room(w->u, w->conn), 0);
    ck_assert_int_eq(wire_try_send(w, 1), UTCP_E_LIMIT);
    ck_assert_uint_eq(wire_count(w, UTCP_N_limit_queue), 1);
    while (wire_frame_out(w))
        ;
    wire_in(w, ". 1 ack 4001");
    wire_event(w, 0);
    wire_in(w, ". 1 ack 5001");
    wire_event(w, UTCP_EV_SENDABLE);
    ck_assert_uint_eq(utcp_send_room(w->u, w->conn), 5000);
    wire_in(w, ". 1 ack 8001");
    wire_event(w, 0); /* told once */
    wire_close(w);
}
END_TEST

START_TEST(no_chunk_is_free_and_anybodys_ack_makes_room)
{
    struct utcp_config config = wire_config();
    uint32_t second;

    config.limits.chunks = 4;
    wire_open(w, &config);
    wire_establish(w);
    for (unsigned i = 0; i < 4; i++)
        wire_send(w, 100);
    ck_assert_int_eq(try_connect(&second), UTCP_OK);
    ck_assert_int_eq(utcp_send(w->u, w->now_ns, second, &w->stream, 0, 10), UTCP_E_LIMIT);
    ck_assert_int_eq(utcp_send_copy(w->u, w->now_ns, second, w->stream.data, 10), UTCP_E_LIMIT);
    ck_assert_uint_eq(wire_count(w, UTCP_N_limit_chunks), 2);
    ck_assert_uint_eq(w->stream.refs, 5);
    wire_out(w, "P. 1+400");
    wire_in(w, ". 1 ack 101");
    w->conn = second;
    wire_event(w, UTCP_EV_SENDABLE);
    ck_assert_int_eq(utcp_send(w->u, w->now_ns, second, &w->stream, 0, 10), UTCP_OK);
    wire_close(w);
}
END_TEST

START_TEST(a_connection_that_waits_for_a_chunk_can_go)
{
    struct utcp_config config = wire_config();
    uint32_t second;

    config.limits.chunks = 1;
    wire_open(w, &config);
    wire_establish(w);
    wire_send(w, 100);
    ck_assert_int_eq(try_connect(&second), UTCP_OK);
    ck_assert_int_eq(utcp_send(w->u, w->now_ns, second, &w->stream, 0, 10), UTCP_E_LIMIT);
    utcp_abort(w->u, w->now_ns, second);
    wire_out(w, "P. 1+100");
    wire_in(w, ". 1 ack 101");
    wire_event(w, 0);
    wire_close(w);
}
END_TEST

START_TEST(no_copy_block_is_free)
{
    struct utcp_config config = wire_config();

    config.limits.copy_blocks = 4;
    wire_open(w, &config);
    wire_establish(w);
    ck_assert_int_eq(utcp_send_copy(w->u, w->now_ns, w->conn, w->stream.data, 2048), UTCP_OK);
    ck_assert_int_eq(utcp_send_copy(w->u, w->now_ns, w->conn, w->stream.data, 1), UTCP_E_LIMIT);
    ck_assert_int_eq(utcp_send_copy(w->u, w->now_ns, w->conn, w->stream.data, 2049), UTCP_E_LIMIT);
    ck_assert_uint_eq(wire_usage(w).copy_blocks, 4);
    wire_close(w);
}
END_TEST

START_TEST(no_segment_is_free_and_sending_goes_on_when_one_is)
{
    struct utcp_config config = wire_config();

    config.limits.segments = 3;
    wire_open(w, &config);
    wire_establish(w);
    wire_send(w, 10000);
    wire_out(w, ". 1+1460");
    wire_out(w, ". 1461+1460");
    wire_out(w, ". 2921+1460");
    wire_quiet(w);
    ck_assert_uint_eq(wire_count(w, UTCP_N_limit_segments), 1);
    wire_in(w, ". 1 ack 2921");
    wire_out(w, ". 4381+1460");
    wire_out(w, ". 5841+1460");
    wire_quiet(w);
    wire_close(w);
}
END_TEST

START_TEST(an_ack_goes_out_even_when_no_segment_is_free)
{
    struct utcp_config config = wire_config();

    config.limits.segments = 1;
    wire_open(w, &config);
    wire_establish(w);
    wire_send(w, 3000);
    wire_out(w, ". 1+1460");
    wire_quiet(w);
    wire_in(w, ". 1+1460 ack 1");
    wire_in(w, ". 1461+1460 ack 1");
    wire_out(w, ". 1461 ack 2921");
    wire_close(w);
}
END_TEST

START_TEST(no_receive_block_is_free_for_early_data_but_for_data_in_order)
{
    struct utcp_config config = wire_config();

    config.limits.rx_blocks = 4;
    wire_open(w, &config);
    wire_establish(w);
    for (uint32_t i = 0; i < 6; i++) { /* with gaps: a block for each */
        char text[32];

        (void)snprintf(text, sizeof text, ". %u+100 ack 1", 1001 + i * 1000);
        wire_in(w, text);
    }
    ck_assert_uint_eq(wire_usage(w).rx_blocks, 3); /* a quarter is kept back */
    ck_assert_uint_eq(wire_count(w, UTCP_N_rx_ooo_dropped), 3);
    wire_in(w, ". 1+999 ack 1");
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 999);
    wire_close(w);
}
END_TEST

START_TEST(data_that_finds_no_block_is_not_acknowledged)
{
    struct utcp_config config = wire_config();

    config.limits.rx_blocks = 1;
    wire_open(w, &config);
    wire_establish(w);
    wire_in(w, ". 1+1400 ack 1");
    wire_in(w, "FP. 1401+1400 ack 1");
    wire_out(w, ". 1 ack 2049");
    ck_assert_uint_eq(wire_count(w, UTCP_N_rx_data_no_block), 1);
    wire_event(w, UTCP_EV_READABLE);
    wire_read(w, 2048);
    wire_in(w, "FP. 1401+1400 ack 1");
    wire_out(w, ". 1 ack 2802");
    wire_event(w, UTCP_EV_READABLE | UTCP_EV_EOF);
    wire_read(w, 752);
    wire_close(w);
}
END_TEST

START_TEST(out_of_order_blocks_of_one_connection_are_bounded)
{
    wire_open(w, NULL);
    wire_establish(w);
    for (uint32_t i = 0; i < 40; i++) {
        char text[32];

        (void)snprintf(text, sizeof text, ". %u+1 ack 1", 3 + i * 2);
        wire_in(w, text);
    }
    ck_assert_uint_eq(wire_usage(w).rx_blocks, 32);
    ck_assert_uint_eq(wire_count(w, UTCP_N_rx_ooo_dropped), 8);
    utcp_abort(w->u, w->now_ns, w->conn);
    ck_assert_uint_eq(wire_usage(w).rx_blocks, 0);
    wire_close(w);
}
END_TEST

START_TEST(neighbours_in_use_are_a_limit_and_idle_ones_make_place)
{
    struct utcp_config config = wire_config();
    struct utcp_connect req = {.local = wire_addr(WIRE_OWN), .remote_port = 25};
    uint32_t conn[3];

    config.limits.neighbours = 2;
    wire_open(w, &config);
    for (unsigned i = 0; i < 3; i++) {
        char text[16];

        (void)snprintf(text, sizeof text, "192.0.2.%u", 100 + i);
        req.remote = wire_addr(text);
        ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &conn[i]),
                         i < 2 ? UTCP_OK : UTCP_E_LIMIT);
    }
    ck_assert_uint_eq(wire_count(w, UTCP_N_neighbour_limit), 1);
    utcp_abort(w->u, w->now_ns, conn[0]);
    ck_assert_int_eq(utcp_connect(w->u, w->now_ns, &req, &conn[2]), UTCP_OK);
    wire_close(w);
}
END_TEST

START_TEST(addresses_and_listeners_are_limits)
{
    struct utcp_config config = wire_config();
    const struct ip_addr v6 = wire_addr("ff02::1"), group = wire_addr("224.0.0.1");

    config.limits.addresses = 2;
    config.limits.listeners = 1;
    wire_open(w, &config);
    for (unsigned i = 0; i < 2; i++) {
        char text[16];
        struct ip_addr addr;

        (void)snprintf(text, sizeof text, "192.0.2.%u", 20 + i);
        addr = wire_addr(text);
        ck_assert_int_eq(utcp_address_add(w->u, w->now_ns, &addr), i < 1 ? UTCP_OK : UTCP_E_LIMIT);
        ck_assert_int_eq(utcp_address_add(w->u, w->now_ns, &w->own), UTCP_E_EXISTS);
        ck_assert_int_eq(utcp_listen(w->u, &w->own, (uint16_t)(25 + i), NULL),
                         i < 1 ? UTCP_OK : UTCP_E_LIMIT);
    }
    ck_assert_int_eq(utcp_address_add(w->u, w->now_ns, &v6), UTCP_E_CONFIG);
    ck_assert_int_eq(utcp_address_add(w->u, w->now_ns, &group), UTCP_E_CONFIG);
    ck_assert_int_eq(utcp_listen(w->u, &v6, 25, NULL), UTCP_E_ADDRESS);
    ck_assert_uint_eq(wire_count(w, UTCP_N_limit_addresses), 1);
    ck_assert_uint_eq(wire_count(w, UTCP_N_limit_listeners), 1);
    wire_close(w);
}
END_TEST

START_TEST(a_full_time_wait_table_drops_its_oldest)
{
    struct utcp_config config = wire_config();

    config.limits.time_wait = 2;
    wire_open(w, &config);
    for (unsigned i = 0; i < 3; i++) {
        wire_connect(w);
        wire_out(w, "S 0");
        wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
        wire_out(w, ". 1 ack 1");
        (void)utcp_shutdown(w->u, w->now_ns, w->conn);
        wire_out(w, "F. 1 ack 1");
        wire_in(w, "F. 1 ack 2");
        wire_out(w, ". 2 ack 2");
        utcp_release(w->u, w->now_ns, w->conn);
    }
    ck_assert_uint_eq(wire_usage(w).time_wait, 2);
    ck_assert_uint_eq(wire_count(w, UTCP_N_time_wait_evicted), 1);
    wire_close(w);
}
END_TEST

START_TEST(a_flood_of_strays_fills_the_reply_queue_and_no_more)
{
    wire_open(w, NULL);
    w->own_port = 9;
    for (unsigned i = 0; i < 100; i++)
        wire_in(w, ". 1 ack 1");
    ck_assert_uint_eq(wire_count(w, UTCP_N_reply_limit), 36);
    for (unsigned i = 0; i < 64; i++)
        wire_out(w, "R 1");
    wire_quiet(w);
    wire_close(w);
}
END_TEST

static uint16_t port_of_next_frame(void)
{
    ck_assert(wire_frame_out(w));
    return be16_get(w->bytes + ETH_LEN + IPV4_LEN);
}

static void frames_from(uint16_t port, unsigned n)
{
    while (n-- > 0)
        ck_assert_uint_eq(port_of_next_frame(), port);
}

/* Eight frames in a row at most (utcp_output.c). */
START_TEST(connections_take_turns)
{
    uint16_t first, second;

    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 10 * 1460);
    wire_connect(w);
    first = port_of_next_frame();
    frames_from(first, 7);
    wire_out(w, "S 0");
    frames_from(first, 2);
    wire_in(w, "S. 0 ack 1 win 65535 <mss 1460>");
    w->sent = 0;
    wire_send(w, 10 * 1460);
    second = port_of_next_frame();
    ck_assert_uint_ne(second, first);
    frames_from(second, 7);
    wire_close(w);
}
END_TEST

/* ---- memory --------------------------------------------------------------------------------- */

/* The linker sends every allocation of the program through these (--wrap). */
static unsigned allocations;
static bool counting;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
    allocations += counting ? 1u : 0u;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations += counting ? 1u : 0u;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    allocations += counting ? 1u : 0u;
    return __real_realloc(p, size);
}

static void frames_between(struct utcp *from, struct utcp *to, uint64_t now_ns)
{
    uint8_t bytes[2048];
    struct utcp_frame frame = {.head = bytes};

    while (utcp_output(from, now_ns, &frame)) {
        uint32_t len = frame.head_len;

        for (uint32_t i = 0; i < frame.n_slices; i++) {
            memcpy(bytes + len, frame.slices[i].data, frame.slices[i].len);
            len += frame.slices[i].len;
        }
        utcp_input(to, now_ns, bytes, len, 0);
    }
}

START_TEST(a_session_allocates_nothing)
{
    struct utcp_config config = wire_config();
    const struct ip_addr other = wire_addr("192.0.2.20");
    struct utcp_connect req = {.remote = other, .remote_port = 25};
    struct utcp *b;
    uint8_t buf[4096];
    uint32_t conn, total = 0;
    int error;

    wire_open(w, &config);
    config.mac[5] = 9;
    b = utcp_create(&config, &error);
    ck_assert_ptr_nonnull(b);
    ck_assert_int_eq(utcp_address_add(b, w->now_ns, &other), UTCP_OK);
    ck_assert_int_eq(utcp_listen(b, &other, 25, NULL), UTCP_OK);
    req.local = w->own;
    counting = true;
    error = utcp_connect(w->u, w->now_ns, &req, &conn);
    (void)utcp_send(w->u, w->now_ns, conn, &w->stream, 0, 100000);
    (void)utcp_send_copy(w->u, w->now_ns, conn, w->stream.data, 1000);
    (void)utcp_shutdown(w->u, w->now_ns, conn);
    for (unsigned turn = 0; turn < 2000; turn++) {
        struct utcp_event event;

        w->now_ns += NS_PER_MS;
        frames_between(w->u, b, w->now_ns);
        frames_between(b, w->u, w->now_ns);
        utcp_on_deadline(w->u, w->now_ns);
        utcp_on_deadline(b, w->now_ns);
        while (utcp_next_event(b, &event)) {
            uint32_t n;

            while ((n = utcp_recv(b, w->now_ns, event.conn, buf, sizeof buf)) > 0)
                total += n;
            if ((event.events & UTCP_EV_EOF) != 0)
                utcp_release(b, w->now_ns, event.conn);
        }
        while (utcp_next_event(w->u, &event))
            if ((event.events & UTCP_EV_CLOSED) != 0)
                utcp_release(w->u, w->now_ns, event.conn);
    }
    counting = false;
    ck_assert_int_eq(error, UTCP_OK);
    ck_assert_uint_eq(total, 101000);
    ck_assert_uint_eq(allocations, 0);
    ck_assert_uint_eq(utcp_connections(w->u) + utcp_connections(b), 0);
    utcp_destroy(b);
    wire_close(w);
}
END_TEST

START_TEST(destroy_in_the_middle_of_everything_gives_all_references_back)
{
    wire_open(w, NULL);
    wire_establish(w);
    wire_send(w, 20000);
    wire_out(w, ". 1+1460");
    wire_in(w, ". 1+1000 ack 1");
    wire_in(w, ". 2001+1000 ack 1");
    wire_connect(w);
    wire_send(w, 100);
    utcp_abort(w->u, w->now_ns, w->conn);
    wire_close(w); /* checks references; the stack checks its pools */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tcp limits");
    TCase *tcase = tcase_create("limits");

    tcase_add_test(tcase, bad_configurations_are_refused);
    tcase_add_test(tcase, no_connection_is_free);
    tcase_add_test(tcase, a_syn_that_finds_no_connection_is_dropped_and_counted);
    tcase_add_test(tcase, half_open_is_a_limit_of_its_own_and_costs_nothing_else);
    tcase_add_test(tcase, ports_towards_one_destination_run_out_and_another_has_its_own);
    tcase_add_test(tcase, a_port_that_listens_is_not_used_to_connect);
    tcase_add_test(tcase, the_queue_of_a_connection_is_full_and_sendable_comes_at_half);
    tcase_add_test(tcase, no_chunk_is_free_and_anybodys_ack_makes_room);
    tcase_add_test(tcase, a_connection_that_waits_for_a_chunk_can_go);
    tcase_add_test(tcase, no_copy_block_is_free);
    tcase_add_test(tcase, no_segment_is_free_and_sending_goes_on_when_one_is);
    tcase_add_test(tcase, an_ack_goes_out_even_when_no_segment_is_free);
    tcase_add_test(tcase, no_receive_block_is_free_for_early_data_but_for_data_in_order);
    tcase_add_test(tcase, data_that_finds_no_block_is_not_acknowledged);
    tcase_add_test(tcase, out_of_order_blocks_of_one_connection_are_bounded);
    tcase_add_test(tcase, neighbours_in_use_are_a_limit_and_idle_ones_make_place);
    tcase_add_test(tcase, addresses_and_listeners_are_limits);
    tcase_add_test(tcase, a_full_time_wait_table_drops_its_oldest);
    tcase_add_test(tcase, a_flood_of_strays_fills_the_reply_queue_and_no_more);
    tcase_add_test(tcase, connections_take_turns);
    tcase_add_test(tcase, a_session_allocates_nothing);
    tcase_add_test(tcase, destroy_in_the_middle_of_everything_gives_all_references_back);
    suite_add_tcase(suite, tcase);
    return wire_run(suite);
}
