/* test_tls_ticket.c - sessions are resumed where all is the same, and nowhere else. */
#include "tests/dataplane/tap.h"
#include "tests/tls/peer.h"

#include <unistd.h>

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])
#define HOUR_NS (3600 * NS_PER_S)

static struct pki_cert ca, leaf, other;
static char ca_file[] = "/tmp/wp-tls-ca-XXXXXX";
static struct tls_context *context;
static struct tls_client client;
static struct peer peer;
static struct wire wire;
static struct pki_tlsa tlsa[2];
static uint64_t now_ns;

static void make_context(uint32_t tickets_max)
{
    const struct tls_config config = {.ca_file = ca_file, .limits.tickets_max = tickets_max};
    ck_assert_int_eq(tls_context_new(&config, &context), TLS_E_OK);
}

static void setup(void)
{
    now_ns = NS_PER_S;
    pki_make(&ca, &(struct pki_request){.common_name = "CA", .is_ca = true});
    pki_make(&leaf,
             &(struct pki_request){.common_name = "mx", .san = "DNS:mx.example", .issuer = &ca});
    pki_make(&other, &(struct pki_request){.common_name = "mx", .san = "DNS:other.example"});
    pki_tlsa(&tlsa[0], &leaf, 3, 1, 1);
    pki_tlsa(&tlsa[1], &leaf, 3, 1, 2);
    pki_write(&ca, ca_file);
    make_context(0);
}

static void teardown(void)
{
    tls_context_free(context);
    pki_free(&ca);
    pki_free(&leaf);
    pki_free(&other);
    ck_assert_int_eq(unlink(ca_file), 0);
}

static void listen_with(const struct pki_cert *cert, int version, bool no_tickets)
{
    const struct peer_options options = {
        .leaf = cert, .version_min = version, .version_max = version, .no_tickets = no_tickets};
    peer_init(&peer, &options);
}

static struct tls_request request_default(void)
{
    struct tls_request request = {
        .policy = TLS_POLICY_VERIFY,
        .server_name = "mx.example",
        .peer_port = 25,
        .wall_s = PKI_NOW_S,
    };
    ck_assert(ip_addr_parse("192.0.2.1", &request.source));
    ck_assert(ip_addr_parse("198.51.100.25", &request.peer));
    return request;
}

/* A connection to its end; says whether it was resumed. */
static bool talk(const struct tls_request *request)
{
    peer_accept(&peer);
    memset(&wire, 0, sizeof wire);
    wire.now_ns = now_ns;
    ck_assert_int_eq(tls_client_init(&client, context, now_ns, request), TLS_E_OK);
    wire_run(&wire, &client, &peer);
    bool resumed = tls_client_result(&client)->resumed;
    tls_client_free(&client);
    return resumed;
}

/* ---- the same ---------------------------------------------------------------------------- */

static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};

START_TEST(the_second_session_is_resumed_and_still_verified)
{
    const struct tls_request request = request_default();
    listen_with(&leaf, versions[_i], false);
    ck_assert(!talk(&request));
    for (int i = 0; i < 5; i++) {
        ck_assert(talk(&request));
        ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED);
        ck_assert(tls_client_result(&client)->verified);
    }
    ck_assert_uint_eq(tls_context_counters(context)->resumed, 5);
    ck_assert_uint_eq(tls_context_counters(context)->handshakes, 6);
    ck_assert_uint_eq(tls_context_counters(context)->established, 6);
    ck_assert_uint_eq(tls_context_counters(context)->verified, 6);
    peer_free(&peer);
}
END_TEST

START_TEST(a_tls_1_3_ticket_is_used_once)
{
    const struct tls_request request = request_default();
    struct tls_client clients[6];
    uint32_t resumed = 0;
    listen_with(&leaf, TLS1_3_VERSION, false);
    (void)talk(&request);                     /* two tickets */
    for (int i = 0; i < N_OF(clients); i++) { /* that stop before they get new ones */
        ck_assert_int_eq(tls_client_init(&clients[i], context, now_ns, &request), TLS_E_OK);
        resumed += SSL_SESSION_has_ticket(SSL_get0_session(clients[i].ssl)) == 1;
    }
    ck_assert_uint_eq(resumed, 2);
    for (int i = 0; i < N_OF(clients); i++) {
        tls_client_free(&clients[i]);
    }
    peer_free(&peer);
}
END_TEST

START_TEST(a_server_without_tickets_is_greeted_anew)
{
    const struct tls_request request = request_default();
    listen_with(&leaf, versions[_i], true);
    ck_assert(!talk(&request));
    ck_assert(!talk(&request));
    ck_assert_uint_eq(wire.events, TLS_EV_ESTABLISHED);
    peer_free(&peer);
}
END_TEST

START_TEST(a_server_that_forgot_its_keys_is_greeted_anew)
{
    const struct tls_request request = request_default();
    listen_with(&leaf, versions[_i], false);
    ck_assert(!talk(&request));
    peer_free(&peer);
    listen_with(&leaf, versions[_i], false);
    ck_assert(!talk(&request));
    ck_assert(tls_client_result(&client)->verified);
    ck_assert(talk(&request));
    peer_free(&peer);
}
END_TEST

START_TEST(two_hours_after_the_certificate_was_seen_it_must_be_shown_again)
{
    const struct tls_request request = request_default();
    listen_with(&leaf, versions[_i], false);
    ck_assert(!talk(&request));
    now_ns += HOUR_NS;
    ck_assert(talk(&request));
    now_ns += HOUR_NS - 1;
    ck_assert(talk(&request));
    now_ns += 1; /* though tickets have come since */
    ck_assert(!talk(&request));
    now_ns += HOUR_NS;
    ck_assert(talk(&request));
    peer_free(&peer);
}
END_TEST

START_TEST(a_ticket_is_not_used_for_longer_than_the_server_says)
{
    const struct tls_request request = request_default();
    const struct peer_options options = {.leaf = &leaf,
                                         .version_min = versions[_i],
                                         .version_max = versions[_i],
                                         .ticket_life_s = 600};
    peer_init(&peer, &options);
    ck_assert(!talk(&request));
    now_ns += 600 * NS_PER_S - 1;
    ck_assert(talk(&request));
    now_ns += 600 * NS_PER_S;
    ck_assert(!talk(&request));
    peer_free(&peer);
}
END_TEST

/* ---- not the same ------------------------------------------------------------------------ */

static const char *const one_name[] = {"mx.example"};
static struct tls_tlsa records[2];

static void change(struct tls_request *request, int what)
{
    switch (what) {
    case 0:
        ck_assert(ip_addr_parse("192.0.2.2", &request->source));
        break;
    case 1:
        ck_assert(ip_addr_parse("198.51.100.26", &request->peer));
        break;
    case 2:
        request->peer_port = 2525;
        break;
    case 3:
        request->policy = TLS_POLICY_MAY;
        break;
    case 4:
        request->policy = TLS_POLICY_ENCRYPT;
        break;
    case 5:
        request->testing = true;
        break;
    case 6:
        request->names = one_name;
        request->n_names = 1;
        break;
    case 7:
        request->policy = TLS_POLICY_DANE;
        request->n_tlsa = 1;
        break;
    default:
        request->policy = TLS_POLICY_DANE;
        request->n_tlsa = 2;
        break;
    }
}
#define N_CHANGES 9

START_TEST(a_ticket_is_used_only_where_addresses_and_policy_are_the_same)
{
    struct tls_request request = request_default(), changed;
    records[0] = tlsa[0].record;
    records[1] = tlsa[1].record;
    request.tlsa = records;
    changed = request;
    change(&changed, _i);
    listen_with(&leaf, TLS1_3_VERSION, false);
    ck_assert(!talk(&request));
    ck_assert(!talk(&changed));
    ck_assert(talk(&request));
    ck_assert(talk(&changed));
    peer_free(&peer);
}
END_TEST

/* Two records each, of which the first matches. */
START_TEST(another_tlsa_record_is_another_policy)
{
    struct pki_tlsa ours, others[3];
    struct tls_request request = request_default();
    request.policy = TLS_POLICY_DANE;
    request.tlsa = records;
    request.n_tlsa = 2;
    pki_tlsa(&ours, &leaf, 3, 1, 1);
    pki_tlsa(&others[0], &ca, 3, 1, 1);
    pki_tlsa(&others[1], &other, 3, 1, 1); /* other data */
    pki_tlsa(&others[2], &ca, 3, 0, 1);    /* another selector */
    listen_with(&leaf, TLS1_3_VERSION, false);
    for (int i = 0; i < N_OF(others); i++) {
        records[0] = ours.record;
        records[1] = others[i].record;
        ck_assert(!talk(&request));
        ck_assert(tls_client_result(&client)->verified);
        ck_assert(talk(&request));
    }
    peer_free(&peer);
}
END_TEST

START_TEST(another_name_is_another_policy)
{
    static const char *const names[][2] = {{"a.example", "b.example"}, {"a.example", "c.example"}};
    struct tls_request request = request_default();
    request.n_names = 2;
    listen_with(&leaf, TLS1_3_VERSION, false);
    for (int i = 0; i < N_OF(names); i++) {
        request.names = names[i];
        ck_assert(!talk(&request));
        ck_assert(talk(&request));
    }
    peer_free(&peer);
}
END_TEST

START_TEST(a_peer_that_was_refused_leaves_no_ticket)
{
    const struct tls_request request = request_default();
    listen_with(&other, versions[_i], false);
    for (int i = 0; i < 2; i++) {
        ck_assert(!talk(&request));
        ck_assert_uint_eq(wire.events, TLS_EV_FAILED);
    }
    ck_assert_uint_eq(tls_context_counters(context)->tickets_stored, 0);
    peer_free(&peer);
}
END_TEST

START_TEST(a_resumed_session_in_testing_still_notes_what_is_wrong)
{
    struct tls_request request = request_default();
    request.testing = true;
    listen_with(&other, versions[_i], false);
    ck_assert(!talk(&request));
    ck_assert(talk(&request));
    ck_assert(!tls_client_result(&client)->verified);
    ck_assert_int_ne(tls_client_result(&client)->failure, TLS_FAILURE_NONE);
    peer_free(&peer);
}
END_TEST

/* ---- the table --------------------------------------------------------------------------- */

START_TEST(a_full_table_drops_the_oldest)
{
    struct tls_request request = request_default();
    tls_context_free(context);
    make_context(1); /* one bucket: four places */
    listen_with(&leaf, TLS1_2_VERSION, false);
    for (uint16_t port = 1; port <= 6; port++) {
        request.peer_port = port;
        now_ns += NS_PER_S;
        ck_assert(!talk(&request));
    }
    ck_assert_uint_eq(tls_context_counters(context)->tickets_stored, 6);
    ck_assert_uint_eq(tls_context_counters(context)->tickets_dropped, 2);
    for (uint16_t port = 3; port <= 6; port++) {
        request.peer_port = port;
        ck_assert(talk(&request));
    }
    request.peer_port = 1;
    ck_assert(!talk(&request));
    peer_free(&peer);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ticket");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, the_second_session_is_resumed_and_still_verified, 0, 2);
    tcase_add_test(tc, a_tls_1_3_ticket_is_used_once);
    tcase_add_loop_test(tc, a_server_without_tickets_is_greeted_anew, 0, 2);
    tcase_add_loop_test(tc, a_server_that_forgot_its_keys_is_greeted_anew, 0, 2);
    tcase_add_loop_test(tc, two_hours_after_the_certificate_was_seen_it_must_be_shown_again, 0, 2);
    tcase_add_loop_test(tc, a_ticket_is_not_used_for_longer_than_the_server_says, 0, 2);
    tcase_add_loop_test(tc, a_ticket_is_used_only_where_addresses_and_policy_are_the_same, 0,
                        N_CHANGES);
    tcase_add_test(tc, another_tlsa_record_is_another_policy);
    tcase_add_test(tc, another_name_is_another_policy);
    tcase_add_loop_test(tc, a_peer_that_was_refused_leaves_no_ticket, 0, 2);
    tcase_add_loop_test(tc, a_resumed_session_in_testing_still_notes_what_is_wrong, 0, 2);
    tcase_add_test(tc, a_full_table_drops_the_oldest);
    return tap_run("tls ticket", tc);
}
