/* test_tls_bytes.c - plaintext in and out, blocks that are held, and what happens without blocks.
 */
#include "tests/dataplane/tap.h"
#include "tests/tls/peer.h"

#include <signal.h>
#include <unistd.h>

#define N_OF(a)  (int)(sizeof(a) / sizeof(a)[0])
#define DATA_MAX 200000u

static struct pki_cert leaf;
static struct tls_context *context;
static struct tls_client client;
static struct peer peer;
static struct wire wire;
static uint8_t data[DATA_MAX];

static const struct tls_request request = {
    .policy = TLS_POLICY_ENCRYPT, .server_name = "mx.example", .wall_s = PKI_NOW_S};
static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};

static void make_context(uint32_t blocks)
{
    char ca_file[] = "/tmp/wp-tls-ca-XXXXXX";
    pki_write(&leaf, ca_file);
    const struct tls_config config = {.ca_file = ca_file, .limits.blocks = blocks};
    ck_assert_int_eq(tls_context_new(&config, &context), TLS_E_OK);
    ck_assert_int_eq(unlink(ca_file), 0);
}

static void setup(void)
{
    unsigned seed = 9000;
    pki_make(&leaf, &(struct pki_request){.common_name = "mx", .is_ca = true});
    for (uint32_t i = 0; i < DATA_MAX; i++) {
        data[i] = (uint8_t)rand_r(&seed);
    }
    make_context(0);
}

static void teardown(void)
{
    tls_context_free(context);
    pki_free(&leaf);
}

static void open_session(int version)
{
    const struct peer_options options = {
        .leaf = &leaf, .version_min = version, .version_max = version};
    peer_init(&peer, &options);
    memset(&wire, 0, sizeof wire);
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, &request), TLS_E_OK);
    wire_run(&wire, &client, &peer);
    ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED);
}

static void close_session(void)
{
    tls_client_free(&client);
    peer_free(&peer);
}

static uint32_t write_some(const uint8_t *bytes, uint32_t len)
{
    return tls_client_write(&client, NS_PER_S, bytes, len);
}

/* ---- out --------------------------------------------------------------------------------- */

START_TEST(all_that_is_written_arrives)
{
    static const uint32_t sizes[] = {1, 17, 500, 4032, 16384, 16385, DATA_MAX};
    for (int i = 0; i < N_OF(sizes); i++) {
        open_session(versions[_i]);
        uint32_t sent = 0;
        while (sent < sizes[i]) {
            uint32_t n = write_some(data + sent, sizes[i] - sent);
            ck_assert_uint_gt(n, 0);
            sent += n;
            wire_run(&wire, &client, &peer);
        }
        ck_assert_uint_eq(peer.seen_len, sizes[i]);
        ck_assert_mem_eq(peer.seen, data, sizes[i]);
        close_session();
    }
}
END_TEST

START_TEST(nothing_to_write_is_nothing)
{
    open_session(0);
    ck_assert_uint_eq(write_some(data, 0), 0);
    ck_assert_ptr_null(tls_client_output(&client));
    close_session();
}
END_TEST

START_TEST(a_record_stands_in_few_blocks)
{
    struct tls_block *block;
    uint32_t blocks = 0, bytes = 0;
    open_session(0);
    ck_assert_uint_eq(write_some(data, 16384), 16384);
    while ((block = tls_client_output(&client)) != NULL) {
        blocks++;
        bytes += block->len;
        ck_assert(block->len == TLS_BLOCK_BYTES || blocks == 5);
        tls_block_release(block);
    }
    ck_assert_uint_eq(blocks, 5);
    ck_assert_uint_eq(bytes, 16384 + 22); /* header, content type, tag */
    close_session();
}
END_TEST

START_TEST(small_writes_share_a_block_until_it_is_handed_out)
{
    struct tls_block *first, *second;
    open_session(0);
    ck_assert_uint_eq(write_some(data, 10), 10);
    ck_assert_uint_eq(write_some(data, 10), 10);
    first = tls_client_output(&client);
    ck_assert_uint_eq(first->len, 2 * (10 + 22));
    ck_assert_ptr_null(tls_client_output(&client));
    ck_assert_uint_eq(write_some(data, 10), 10);
    second = tls_client_output(&client);
    ck_assert_ptr_ne(first, second);
    ck_assert_uint_eq(first->len, 2 * (10 + 22));
    tls_block_release(first);
    tls_block_release(second);
    close_session();
}
END_TEST

/* TCP sends a block again from the same bytes: nothing may touch it before it is released. */
START_TEST(blocks_stay_as_they_are_until_they_are_released)
{
    static uint8_t copies[8][TLS_BLOCK_BYTES];
    struct tls_block *held[8];
    uint32_t n = 0;
    open_session(0);
    ck_assert_uint_gt(write_some(data, 16384), 0);
    while (n < 4) {
        held[n] = tls_client_output(&client);
        memset(held[n]->owner, 0x5a, sizeof held[n]->owner);
        memcpy(copies[n], held[n]->bytes, held[n]->len);
        n++;
    }
    for (int i = 0; i < 20; i++) {
        (void)write_some(data + 20000, 16384);
        (void)wire_client_to_peer(&client, &peer);
    }
    tls_client_free(&client);
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_mem_eq(copies[i], held[i]->bytes, held[i]->len);
        ck_assert_uint_eq(held[i]->owner[0], UINT64_C(0x5a5a5a5a5a5a5a5a));
        tls_block_release(held[i]);
    }
    peer_free(&peer);
}
END_TEST

/* ---- in ---------------------------------------------------------------------------------- */

START_TEST(all_that_the_server_says_arrives_in_pieces_of_any_size)
{
    static const uint32_t pieces[] = {0, 1, 5, 6, 1448, 16384};
    for (int i = 0; i < N_OF(pieces); i++) {
        open_session(versions[_i]);
        wire.piece = pieces[i];
        peer_say_bytes(&peer, data, 40000);
        wire_run(&wire, &client, &peer);
        ck_assert_uint_eq(wire.plain_len, 40000);
        ck_assert_mem_eq(wire.plain, data, 40000);
        close_session();
    }
}
END_TEST

START_TEST(plaintext_may_be_read_byte_by_byte)
{
    uint8_t bytes[1024], plain[64];
    open_session(0);
    peer_say(&peer, "250-mx\r\n250 ok\r\n");
    int len = BIO_read(peer.out, bytes, sizeof bytes);
    tls_client_input(&client, NS_PER_S, bytes, (uint32_t)len);
    for (uint32_t i = 0; i < 16; i++) {
        ck_assert_uint_eq(tls_client_read(&client, NS_PER_S, plain + i, 1), 1);
    }
    ck_assert_uint_eq(tls_client_read(&client, NS_PER_S, plain, 1), 0);
    ck_assert_mem_eq(plain, "250-mx\r\n250 ok\r\n", 16);
    close_session();
}
END_TEST

START_TEST(input_before_the_last_was_read_is_our_own_bug)
{
    uint8_t bytes[1024];
    open_session(0);
    peer_say(&peer, "250 ok\r\n");
    int len = BIO_read(peer.out, bytes, sizeof bytes);
    tls_client_input(&client, NS_PER_S, bytes, (uint32_t)len);
    tls_client_input(&client, NS_PER_S, bytes, (uint32_t)len);
}
END_TEST

START_TEST(a_spoilt_record_ends_the_session)
{
    open_session(versions[_i]);
    wire.events = 0;
    peer_say(&peer, "250 ok\r\n");
    wire.flip_at = wire.carried + 8;
    wire.flip_with = 1;
    wire_run(&wire, &client, &peer);
    ck_assert_uint_eq(wire.events, TLS_EV_FAILED);
    ck_assert_uint_eq(wire.plain_len, 0);
    ck_assert_str_eq(tls_failure_text(tls_client_result(&client)->failure), "validation-failure");
    close_session();
}
END_TEST

/* ---- new keys ---------------------------------------------------------------------------- */

START_TEST(new_keys_are_made_when_the_server_asks)
{
    open_session(TLS1_3_VERSION);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        peer_say(&peer, "250 ok\r\n");
        wire_run(&wire, &client, &peer);
        ck_assert_uint_eq(write_some(data, 100), 100);
        wire_run(&wire, &client, &peer);
    }
    ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED);
    ck_assert_uint_eq(wire.plain_len, 800);
    ck_assert_uint_eq(peer.seen_len, 10000);
    close_session();
}
END_TEST

/* ---- without blocks ---------------------------------------------------------------------- */

START_TEST(writing_stops_before_the_reserve_and_goes_on_when_blocks_come_back)
{
    struct tls_block *held[64];
    uint32_t n = 0, sent = 0, part;
    tls_context_free(context);
    make_context(32);
    open_session(0);
    do { /* TCP holds all of it */
        part = write_some(data + sent, DATA_MAX - sent);
        sent += part;
        while ((held[n] = tls_client_output(&client)) != NULL) {
            n++;
        }
    } while (part > 0);
    ck_assert_uint_le(tls_context_blocks_free(context), 4 + 1);
    ck_assert_uint_ge(tls_context_blocks_free(context), 4);
    struct tls_client refused;
    for (uint32_t i = 0; i < 2; i++) {
        tls_block_release(held[--n]);
    }
    ck_assert_uint_gt(write_some(data, 1), 0);
    tls_block_release(tls_client_output(&client));
    while (n > 0) {
        tls_block_release(held[--n]);
    }
    ck_assert_int_eq(tls_client_init(&refused, context, NS_PER_S, &request), TLS_E_OK);
    tls_client_free(&refused);
    close_session();
}
END_TEST

START_TEST(no_session_begins_on_the_reserve)
{
    struct tls_client clients[32];
    uint32_t n = 0;
    tls_context_free(context);
    make_context(32);
    while (tls_client_init(&clients[n], context, NS_PER_S, &request) == TLS_E_OK) {
        n++;
    }
    ck_assert_uint_eq(n, 28);
    ck_assert_uint_eq(tls_context_blocks_free(context), 4);
    ck_assert_uint_eq(tls_context_counters(context)->blocks_short, 1);
    while (n > 0) {
        tls_client_free(&clients[--n]);
    }
    ck_assert_uint_eq(tls_context_blocks_free(context), 32);
}
END_TEST

/* The ClientHello goes to the server, and TCP holds its block. */
static uint32_t begin_held(struct tls_client *c, struct peer *p, struct tls_block **held)
{
    uint32_t n = 0;
    if (tls_client_init(c, context, NS_PER_S, &request) != TLS_E_OK) {
        return 0;
    }
    while ((held[n] = tls_client_output(c)) != NULL) {
        if (BIO_pending(p->in) == 0) { /* the first client's */
            ck_assert_int_gt(BIO_write(p->in, held[n]->bytes, (int)held[n]->len), 0);
        }
        n++;
    }
    return n;
}

#define N_PEERS 5

/* All blocks are taken: those before the reserve for ClientHellos, which TCP holds, and the reserve
 * for the second part of four handshakes. */
static struct {
    struct peer peers[N_PEERS];
    struct tls_client clients[32];
    struct tls_block *held[40];
    uint32_t n_clients, n_held;
} rest;

/* What the server says to a ClientHello. */
static void answer_hello(uint32_t i)
{
    uint8_t bytes[8192];
    (void)SSL_do_handshake(rest.peers[i].ssl);
    int len = BIO_read(rest.peers[i].out, bytes, sizeof bytes);
    wire.events = 0;
    wire_inject(&wire, &rest.clients[i], bytes, (uint32_t)len);
}

static void take_all_blocks(void)
{
    const struct peer_options options = {.leaf = &leaf};
    memset(&rest, 0, sizeof rest);
    for (uint32_t i = 0; i < N_PEERS; i++) {
        peer_init(&rest.peers[i], &options);
    }
    for (uint32_t part = 1; part > 0; rest.n_held += part) {
        part = begin_held(&rest.clients[rest.n_clients], &rest.peers[rest.n_clients % N_PEERS],
                          rest.held + rest.n_held);
        rest.n_clients += part > 0;
    }
    ck_assert_uint_eq(tls_context_blocks_free(context), 4);
    for (uint32_t i = 0; i < 4; i++) {
        answer_hello(i);
        ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED);
    }
    ck_assert_uint_eq(tls_context_blocks_free(context), 0);
}

static void give_all_back(void)
{
    while (rest.n_held > 0) {
        tls_block_release(rest.held[--rest.n_held]);
    }
    while (rest.n_clients > 0) {
        tls_client_free(&rest.clients[--rest.n_clients]);
    }
    for (uint32_t i = 0; i < N_PEERS; i++) {
        peer_free(&rest.peers[i]);
    }
    ck_assert_uint_eq(tls_context_blocks_free(context), 32);
}

START_TEST(a_handshake_that_finds_no_block_fails)
{
    tls_context_free(context);
    make_context(32);
    take_all_blocks();
    answer_hello(4);
    ck_assert_uint_eq(wire.events, TLS_EV_FAILED);
    ck_assert_str_eq(tls_client_result(&rest.clients[4])->reason, "no memory for output");
    ck_assert_uint_eq(tls_context_counters(context)->blocks_short, 2); /* and the last to begin */
    ck_assert_uint_eq(tls_context_counters(context)->failed, 1);
    give_all_back();
}
END_TEST

/* TLS 1.2: the server asks for a handshake, and the answer is an alert. */
static void ask_for_renegotiation(void)
{
    uint8_t bytes[256];
    (void)SSL_renegotiate(peer.ssl);
    (void)SSL_do_handshake(peer.ssl);
    int len = BIO_read(peer.out, bytes, sizeof bytes);
    ck_assert_int_gt(len, 0);
    wire.events = 0;
    wire_inject(&wire, &client, bytes, (uint32_t)len);
}

START_TEST(a_request_for_renegotiation_is_declined)
{
    open_session(TLS1_2_VERSION);
    ask_for_renegotiation();
    ck_assert_uint_eq(wire.events, 0);
    ck_assert_uint_gt(wire_client_to_peer(&client, &peer), 0);
    ck_assert_uint_eq(write_some(data, 10), 10);
    close_session();
}
END_TEST

START_TEST(a_session_that_must_answer_and_finds_no_block_fails)
{
    tls_context_free(context);
    make_context(32);
    open_session(TLS1_2_VERSION);
    take_all_blocks();
    ask_for_renegotiation();
    ck_assert_uint_eq(wire.events, TLS_EV_FAILED);
    ck_assert_str_eq(tls_client_result(&client)->reason, "no memory for output");
    give_all_back();
    close_session();
}
END_TEST

START_TEST(the_queue_of_a_session_is_bounded)
{
    uint32_t sent = 0, part;
    open_session(0);
    do { /* nobody takes the output */
        part = write_some(data, 16384);
        sent += part;
    } while (part > 0);
    ck_assert_uint_le(sent, 16 * TLS_BLOCK_BYTES);
    ck_assert_uint_ge(sent, 12 * TLS_BLOCK_BYTES);
    ck_assert_uint_eq(tls_client_next_event(&client), 0);
    (void)wire_client_to_peer(&client, &peer);
    ck_assert_uint_gt(write_some(data, 100), 0);
    close_session();
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("bytes");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, all_that_is_written_arrives, 0, 2);
    tcase_add_test(tc, nothing_to_write_is_nothing);
    tcase_add_test(tc, a_record_stands_in_few_blocks);
    tcase_add_test(tc, small_writes_share_a_block_until_it_is_handed_out);
    tcase_add_test(tc, blocks_stay_as_they_are_until_they_are_released);
    tcase_add_loop_test(tc, all_that_the_server_says_arrives_in_pieces_of_any_size, 0, 2);
    tcase_add_test(tc, plaintext_may_be_read_byte_by_byte);
    tcase_add_test_raise_signal(tc, input_before_the_last_was_read_is_our_own_bug, SIGABRT);
    tcase_add_loop_test(tc, a_spoilt_record_ends_the_session, 0, 2);
    tcase_add_test(tc, new_keys_are_made_when_the_server_asks);
    tcase_add_test(tc, a_request_for_renegotiation_is_declined);
    tcase_add_test(tc, a_session_that_must_answer_and_finds_no_block_fails);
    tcase_add_test(tc, writing_stops_before_the_reserve_and_goes_on_when_blocks_come_back);
    tcase_add_test(tc, no_session_begins_on_the_reserve);
    tcase_add_test(tc, a_handshake_that_finds_no_block_fails);
    tcase_add_test(tc, the_queue_of_a_session_is_bounded);
    return tap_run("tls bytes", tc);
}
