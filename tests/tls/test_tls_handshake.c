/* test_tls_handshake.c - handshakes with an OpenSSL server: versions, bytes in any pieces, bytes
 * that are wrong, and how it ends. */
#include "tests/dataplane/tap.h"
#include "tests/tls/peer.h"

#include <unistd.h>

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])

static struct pki_cert ca, leaf;
static char ca_file[] = "/tmp/wp-tls-ca-XXXXXX";
static struct tls_context *context;
static struct tls_client client;
static struct peer peer;
static struct wire wire;

static const struct tls_request verify_request = {
    .policy = TLS_POLICY_VERIFY,
    .server_name = "mx.example",
    .wall_s = PKI_NOW_S,
};

static void make_pki(void)
{
    pki_make(&ca, &(struct pki_request){.common_name = "CA", .is_ca = true});
    pki_make(&leaf,
             &(struct pki_request){.common_name = "mx", .san = "DNS:mx.example", .issuer = &ca});
    pki_write(&ca, ca_file);
    const struct tls_config config = {.ca_file = ca_file};
    ck_assert_int_eq(tls_context_new(&config, &context), TLS_E_OK);
    ck_assert_int_eq(unlink(ca_file), 0);
}

static void free_pki(void)
{
    tls_context_free(context);
    pki_free(&leaf);
    pki_free(&ca);
}

static void begin(int version)
{
    const struct peer_options options = {
        .leaf = &leaf, .version_min = version, .version_max = version};
    peer_init(&peer, &options);
    memset(&wire, 0, sizeof wire);
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, &verify_request), TLS_E_OK);
}

static void end(void)
{
    tls_client_free(&client);
    peer_free(&peer);
}

static void check_failed(enum tls_failure failure, const char *reason)
{
    const struct tls_result *result = tls_client_result(&client);
    ck_assert_uint_eq(wire.events & TLS_EV_FAILED, TLS_EV_FAILED);
    ck_assert_str_eq(tls_failure_text(result->failure), tls_failure_text(failure));
    ck_assert_msg(strstr(result->reason, reason) != NULL, "'%s' is not in '%s'", reason,
                  result->reason);
    ck_assert(!result->verified);
    ck_assert_uint_eq(tls_client_write(&client, NS_PER_S, (const uint8_t *)"x", 1), 0);
}

/* ---- it works ---------------------------------------------------------------------------- */

static const struct {
    int version;
    const char *text;
} versions[] = {{TLS1_3_VERSION, "TLSv1.3"}, {TLS1_2_VERSION, "TLSv1.2"}, {0, "TLSv1.3"}};

static void check_talk(const char *version)
{
    const struct tls_result *result = tls_client_result(&client);
    ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED);
    ck_assert(result->verified && !result->resumed);
    ck_assert_int_eq(result->failure, TLS_FAILURE_NONE);
    ck_assert_str_eq(result->version, version);
    ck_assert_ptr_nonnull(result->cipher);
    ck_assert_uint_eq(tls_client_write(&client, NS_PER_S, (const uint8_t *)"EHLO me\r\n", 9), 9);
    wire_run(&wire, &client, &peer);
    ck_assert_uint_eq(peer.seen_len, 9);
    ck_assert_mem_eq(peer.seen, "EHLO me\r\n", 9);
    peer_say(&peer, "250 mx\r\n");
    wire_run(&wire, &client, &peer);
    ck_assert_uint_eq(wire.plain_len, 8);
    ck_assert_mem_eq(wire.plain, "250 mx\r\n", 8);
}

START_TEST(a_handshake_is_followed_by_plaintext_in_both_directions)
{
    begin(versions[_i].version);
    wire_run(&wire, &client, &peer);
    check_talk(versions[_i].text);
    ck_assert_str_eq(peer.server_name, "mx.example");
    end();
}
END_TEST

START_TEST(bytes_may_come_one_by_one)
{
    begin(versions[_i].version);
    wire.piece = 1;
    wire_run(&wire, &client, &peer);
    check_talk(versions[_i].text);
    end();
}
END_TEST

START_TEST(the_handshake_may_be_cut_at_each_byte)
{
    uint32_t cut = 1, all = 2;
    for (; cut < all; cut++) {
        begin(versions[_i].version);
        wire.cut_at = cut;
        wire_run(&wire, &client, &peer);
        all = wire.carried;
        check_talk(versions[_i].text);
        end();
    }
    ck_assert_uint_gt(all, 400);
}
END_TEST

START_TEST(without_a_name_none_is_asked_for)
{
    struct tls_request request = verify_request;
    request.policy = TLS_POLICY_MAY;
    request.server_name = NULL;
    begin(0);
    tls_client_free(&client);
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, &request), TLS_E_OK);
    wire_run(&wire, &client, &peer);
    ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED);
    ck_assert_str_eq(peer.server_name, "");
    end();
}
END_TEST

START_TEST(nothing_is_written_or_read_before_the_handshake)
{
    uint8_t byte = 'x';
    begin(0);
    ck_assert_uint_eq(tls_client_write(&client, NS_PER_S, &byte, 1), 0);
    ck_assert_uint_eq(tls_client_read(&client, NS_PER_S, &byte, 1), 0);
    ck_assert_uint_eq(tls_client_next_event(&client), 0);
    ck_assert_ptr_null(tls_client_result(&client)->version);
    end();
}
END_TEST

/* ---- wrong bytes ------------------------------------------------------------------------- */

/* Each byte of the server is spoilt: the handshake fails, or waits for bytes that do not come, or
 * the byte did not matter (the version in a record's header); and it is never another peer. */
START_TEST(a_spoilt_handshake_never_ends_well)
{
    uint32_t at = 1, all = 2, failed = 0;
    for (; at <= all; at++) {
        begin(versions[_i].version);
        wire.flip_at = at;
        wire.flip_with = (uint8_t)(1u << at % 8);
        wire_run(&wire, &client, &peer);
        all = wire.carried > all ? wire.carried : all;
        if (!(wire.events & TLS_EV_ESTABLISHED)) {
            tls_client_eof(&client);
            ck_assert_uint_eq(tls_client_next_event(&client) | (wire.events & TLS_EV_FAILED),
                              TLS_EV_FAILED);
            ck_assert_int_ne(tls_client_result(&client)->failure, TLS_FAILURE_NONE);
            failed++;
        }
        end();
    }
    ck_assert_uint_gt(all, 400);
    ck_assert_uint_gt(failed, all / 3); /* the rest are tickets, which come after the handshake */
}
END_TEST

static const char *const garbage[] = {
    "250 mx\r\n",
    "220 ready\r\n250-mx\r\n250 ok\r\n",
    "\x16",
    "\x16\x03\x03\xff\xff",
    "\x16\x03\x03\x40\x01xxxx",
    "\x17\x03\x03\x01\x01x",
    "\x15\x03\x03\x01\x02\x02\x28",
    "\xff\xff\xff\xff\xff\xff\xff\xff",
    "HTTP/1.1 400 Bad Request\r\n\r\n",
};

START_TEST(what_is_not_tls_fails)
{
    begin(0);
    wire_inject(&wire, &client, garbage[_i], (uint32_t)strlen(garbage[_i]));
    tls_client_eof(&client);
    wire.events |= tls_client_next_event(&client);
    check_failed(TLS_FAILURE_VALIDATION, "");
    end();
}
END_TEST

START_TEST(plaintext_before_the_servers_part_fails)
{
    begin(0);
    wire_inject(&wire, &client, "250 mx\r\n", 8);
    wire_run(&wire, &client, &peer);
    check_failed(TLS_FAILURE_VALIDATION, "wrong version number");
    ck_assert_uint_eq(wire.plain_len, 0);
    end();
}
END_TEST

START_TEST(plaintext_within_the_session_fails)
{
    begin(0);
    wire_run(&wire, &client, &peer);
    wire_inject(&wire, &client, "250 mx\r\n", 8);
    ck_assert_uint_eq(wire.plain_len, 0);
    ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED | TLS_EV_FAILED);
    end();
}
END_TEST

START_TEST(random_bytes_fail)
{
    unsigned seed = 8446;
    uint8_t bytes[512];
    for (int i = 0; i < 300; i++) {
        begin(0);
        for (size_t at = 0; at < sizeof bytes; at++) {
            bytes[at] = (uint8_t)rand_r(&seed);
        }
        bytes[0] = (uint8_t)(i % 2 ? 0x16 : bytes[0]);
        wire_inject(&wire, &client, bytes, sizeof bytes);
        tls_client_eof(&client);
        wire.events |= tls_client_next_event(&client);
        ck_assert(wire.events & TLS_EV_FAILED);
        end();
    }
}
END_TEST

/* ---- servers that do not want -------------------------------------------------------------- */

START_TEST(an_old_version_fails)
{
    begin(TLS1_1_VERSION);
    wire_run(&wire, &client, &peer);
    check_failed(TLS_FAILURE_VALIDATION, "");
    end();
}
END_TEST

START_TEST(no_common_cipher_fails)
{
    const struct peer_options options = {
        .leaf = &leaf, .version_max = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-CAMELLIA128-SHA256"};
    begin(0);
    peer_free(&peer);
    peer_init(&peer, &options);
    wire_run(&wire, &client, &peer);
    check_failed(TLS_FAILURE_VALIDATION, "handshake failure");
    end();
}
END_TEST

/* Without a certificate there is nothing to verify, and without encryption nothing is kept. */
START_TEST(ciphers_without_certificate_or_encryption_are_not_taken)
{
    static const char *const ciphers[] = {"aNULL", "eNULL"};
    const struct peer_options options = {
        .leaf = &leaf, .version_max = TLS1_2_VERSION, .ciphers = ciphers[_i % 2]};
    struct tls_request request = verify_request;
    request.policy = _i < 2 ? TLS_POLICY_VERIFY : TLS_POLICY_MAY;
    begin(0);
    tls_client_free(&client);
    peer_free(&peer);
    peer_init(&peer, &options);
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, &request), TLS_E_OK);
    wire_run(&wire, &client, &peer);
    check_failed(TLS_FAILURE_VALIDATION, "handshake failure");
    end();
}
END_TEST

/* With TLS 1.3 the client is done before the server has looked at it: the refusal comes in the
 * place of the first reply. */
START_TEST(a_server_that_wants_our_certificate_refuses_us_at_the_first_read)
{
    const struct peer_options options = {
        .leaf = &leaf, .version_min = TLS1_3_VERSION, .wants_client_cert = true};
    begin(0);
    peer_free(&peer);
    peer_init(&peer, &options);
    wire_run(&wire, &client, &peer);
    ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED | TLS_EV_FAILED);
    ck_assert_str_eq(tls_failure_text(tls_client_result(&client)->failure), "validation-failure");
    ck_assert_ptr_nonnull(strstr(tls_client_result(&client)->reason, "certificate required"));
    end();
}
END_TEST

START_TEST(a_tls_1_2_server_that_wants_our_certificate_refuses_us_in_the_handshake)
{
    const struct peer_options options = {
        .leaf = &leaf, .version_max = TLS1_2_VERSION, .wants_client_cert = true};
    begin(0);
    peer_free(&peer);
    peer_init(&peer, &options);
    wire_run(&wire, &client, &peer);
    ck_assert_uint_eq(wire.events, TLS_EV_FAILED);
    check_failed(TLS_FAILURE_VALIDATION, "handshake failure");
    end();
}
END_TEST

START_TEST(a_connection_that_ends_in_the_handshake_fails)
{
    begin(0);
    tls_client_eof(&client);
    wire.events |= tls_client_next_event(&client);
    check_failed(TLS_FAILURE_VALIDATION, "closed the connection in the handshake");
    tls_client_eof(&client);
    ck_assert_uint_eq(tls_client_next_event(&client), 0);
    end();
}
END_TEST

START_TEST(after_a_failure_input_is_dropped)
{
    begin(0);
    wire_inject(&wire, &client, "nonsense", 8);
    ck_assert_uint_eq(wire.events, TLS_EV_FAILED);
    wire.events = 0;
    wire_run(&wire, &client, &peer);
    wire_inject(&wire, &client, "nonsense", 8);
    ck_assert_uint_eq(wire.events, 0);
    ck_assert_uint_eq(wire.plain_len, 0);
    end();
}
END_TEST

/* ---- ends -------------------------------------------------------------------------------- */

START_TEST(close_notify_of_the_server_is_told_after_its_last_bytes)
{
    begin(versions[_i].version);
    wire_run(&wire, &client, &peer);
    peer_say(&peer, "221 bye\r\n");
    peer_close(&peer);
    wire_run(&wire, &client, &peer);
    ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED | TLS_EV_CLOSED);
    ck_assert_mem_eq(wire.plain, "221 bye\r\n", 9);
    ck_assert_int_eq(tls_client_result(&client)->failure, TLS_FAILURE_NONE);
    wire_inject(&wire, &client, "more", 4);
    ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED | TLS_EV_CLOSED);
    end();
}
END_TEST

START_TEST(close_notify_of_the_client_reaches_the_server)
{
    begin(versions[_i].version);
    wire_run(&wire, &client, &peer);
    tls_client_close(&client);
    ck_assert_uint_gt(wire_client_to_peer(&client, &peer), 0);
    uint8_t byte;
    size_t n;
    int done = SSL_read_ex(peer.ssl, &byte, 1, &n);
    ck_assert_int_eq(SSL_get_error(peer.ssl, done), SSL_ERROR_ZERO_RETURN);
    end();
}
END_TEST

START_TEST(nothing_is_written_after_close_notify)
{
    begin(0);
    wire_run(&wire, &client, &peer);
    tls_client_close(&client);
    ck_assert_uint_eq(tls_client_write(&client, NS_PER_S, (const uint8_t *)"x", 1), 0);
    ck_assert_uint_eq(tls_client_next_event(&client), TLS_EV_FAILED);
    ck_assert_ptr_nonnull(strstr(tls_client_result(&client)->reason, "shutdown"));
    end();
}
END_TEST

START_TEST(an_end_without_close_notify_is_no_failure_of_tls)
{
    begin(0);
    wire_run(&wire, &client, &peer);
    tls_client_eof(&client);
    ck_assert_uint_eq(tls_client_next_event(&client), 0);
    end();
}
END_TEST

/* ---- names ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool good;
} names[] = {
    {"mx.example", true},    {"MX-1.example", true},
    {"_x.example", true},    {"a", true},
    {"192.0.2.1", false},    {"", false},
    {"mx.example.", false},  {"m x", false},
    {"mx\n.example", false}, {"*.example", false},
    {"2001:db8::1", false},  {"m\xc3\xbc", false},
};

START_TEST(only_host_names_can_be_asked_for)
{
    struct tls_request request = verify_request;
    enum tls_error expected = names[_i].good ? TLS_E_OK : TLS_E_NAME;
    request.server_name = names[_i].name;
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, &request), expected);
    tls_client_free(&client);
    request.server_name = "mx.example";
    request.names = &names[_i].name;
    request.n_names = 1;
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, &request), expected);
    tls_client_free(&client);
}
END_TEST

START_TEST(a_name_of_255_bytes_is_the_longest)
{
    char name[TLS_NAME_MAX + 1];
    struct tls_request request = verify_request;
    request.policy = TLS_POLICY_MAY;
    request.server_name = name;
    memset(name, 'a', sizeof name);
    name[TLS_NAME_MAX] = '\0';
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, &request), TLS_E_NAME);
    name[TLS_NAME_MAX - 1] = '\0';
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, &request), TLS_E_OK);
    tls_client_free(&client);
}
END_TEST

START_TEST(verification_needs_a_name)
{
    struct tls_request request = verify_request;
    request.server_name = NULL;
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, &request), TLS_E_NAME);
    request.policy = TLS_POLICY_DANE;
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, &request), TLS_E_NAME);
    ck_assert_str_eq(tls_error_text(TLS_E_NAME), "not a host name that can be asked for");
}
END_TEST

START_TEST(a_context_without_its_trust_file_is_not_made)
{
    struct tls_context *none = NULL;
    const struct tls_config config = {.ca_file = "/nonexistent/ca.pem"};
    ck_assert_int_eq(tls_context_new(&config, &none), TLS_E_TRUST);
    ck_assert_ptr_null(none);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("handshake");
    tcase_add_checked_fixture(tc, make_pki, free_pki);
    tcase_add_loop_test(tc, a_handshake_is_followed_by_plaintext_in_both_directions, 0,
                        N_OF(versions));
    tcase_add_loop_test(tc, bytes_may_come_one_by_one, 0, 2);
    tcase_add_loop_test(tc, the_handshake_may_be_cut_at_each_byte, 0, 2);
    tcase_add_test(tc, without_a_name_none_is_asked_for);
    tcase_add_test(tc, nothing_is_written_or_read_before_the_handshake);
    tcase_add_loop_test(tc, a_spoilt_handshake_never_ends_well, 0, 2);
    tcase_add_loop_test(tc, what_is_not_tls_fails, 0, N_OF(garbage));
    tcase_add_test(tc, plaintext_before_the_servers_part_fails);
    tcase_add_test(tc, plaintext_within_the_session_fails);
    tcase_add_test(tc, random_bytes_fail);
    tcase_add_test(tc, an_old_version_fails);
    tcase_add_test(tc, no_common_cipher_fails);
    tcase_add_loop_test(tc, ciphers_without_certificate_or_encryption_are_not_taken, 0, 4);
    tcase_add_test(tc, a_server_that_wants_our_certificate_refuses_us_at_the_first_read);
    tcase_add_test(tc, a_tls_1_2_server_that_wants_our_certificate_refuses_us_in_the_handshake);
    tcase_add_test(tc, a_connection_that_ends_in_the_handshake_fails);
    tcase_add_test(tc, after_a_failure_input_is_dropped);
    tcase_add_loop_test(tc, close_notify_of_the_server_is_told_after_its_last_bytes, 0, 2);
    tcase_add_loop_test(tc, close_notify_of_the_client_reaches_the_server, 0, 2);
    tcase_add_test(tc, nothing_is_written_after_close_notify);
    tcase_add_test(tc, an_end_without_close_notify_is_no_failure_of_tls);
    tcase_add_loop_test(tc, only_host_names_can_be_asked_for, 0, N_OF(names));
    tcase_add_test(tc, a_name_of_255_bytes_is_the_longest);
    tcase_add_test(tc, verification_needs_a_name);
    tcase_add_test(tc, a_context_without_its_trust_file_is_not_made);
    return tap_run("tls handshake", tc);
}
