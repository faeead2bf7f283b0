/* test_tls_policy.c - what each policy makes of each kind of certificate, and its word for TLS-RPT.
 */
#include "tests/dataplane/tap.h"
#include "tests/tls/peer.h"

#include <unistd.h>

#define N_OF(a) (int)(sizeof(a) / sizeof(a)[0])

enum cert {
    CA,
    OTHER_CA,
    GOOD,
    WRONG_HOST,
    EXPIRED,
    NOT_YET,
    WILDCARD,
    PARTIAL_WILDCARD,
    NAME_IN_SUBJECT,
    SELF_SIGNED,
    UNKNOWN_CA,
    WEAK_KEY,
    N_CERTS
};

static struct pki_cert certs[N_CERTS];
static struct tls_context *context;

static const struct {
    const char *common_name, *san;
    int issuer; /* -1: itself */
    int64_t from_days, to_days;
    bool is_ca;
    uint32_t rsa_bits;
} recipes[N_CERTS] = {
    [CA] = {.common_name = "CA", .issuer = -1, .from_days = -60, .to_days = 60, .is_ca = true},
    [OTHER_CA] = {.common_name = "Other", .issuer = -1, .is_ca = true},
    [GOOD] = {.common_name = "x", .san = "DNS:mx.example"},
    [WRONG_HOST] = {.common_name = "mx.example", .san = "DNS:other.example"},
    [EXPIRED] = {.common_name = "x", .san = "DNS:mx.example", .from_days = -30, .to_days = -1},
    [NOT_YET] = {.common_name = "x", .san = "DNS:mx.example", .from_days = 1, .to_days = 30},
    [WILDCARD] = {.common_name = "x", .san = "DNS:*.sub.example"},
    [PARTIAL_WILDCARD] = {.common_name = "x", .san = "DNS:m*.sub.example"},
    [NAME_IN_SUBJECT] = {.common_name = "mx.example"},
    [SELF_SIGNED] = {.common_name = "x", .san = "DNS:mx.example", .issuer = -1},
    [UNKNOWN_CA] = {.common_name = "x", .san = "DNS:mx.example", .issuer = OTHER_CA},
    [WEAK_KEY] = {.common_name = "x", .san = "DNS:mx.example", .rsa_bits = 768},
};

static int64_t days(int64_t n)
{
    return n == 0 ? 0 : PKI_NOW_S + n * PKI_DAY_S;
}

static void make_pki(void)
{
    char ca_file[] = "/tmp/wp-tls-ca-XXXXXX";
    for (int i = 0; i < N_CERTS; i++) {
        pki_make(&certs[i], &(struct pki_request){
                                .common_name = recipes[i].common_name,
                                .san = recipes[i].san,
                                .issuer = recipes[i].issuer < 0 ? NULL : &certs[recipes[i].issuer],
                                .is_ca = recipes[i].is_ca,
                                .from_s = days(recipes[i].from_days),
                                .to_s = days(recipes[i].to_days),
                                .rsa_bits = recipes[i].rsa_bits,
                            });
    }
    pki_write(&certs[CA], ca_file);
    const struct tls_config config = {.ca_file = ca_file};
    ck_assert_int_eq(tls_context_new(&config, &context), TLS_E_OK);
    ck_assert_int_eq(unlink(ca_file), 0);
}

static void free_pki(void)
{
    tls_context_free(context);
    for (int i = 0; i < N_CERTS; i++) {
        pki_free(&certs[i]);
    }
}

/* What came of it. */
struct verdict {
    bool established, verified;
    enum tls_failure failure;
};

static void check(const struct tls_request *request, enum cert leaf, int version,
                  struct verdict expected)
{
    static struct tls_client client;
    static struct peer peer;
    static struct wire wire;
    const struct peer_options options = {
        .leaf = &certs[leaf],
        .chain = recipes[leaf].issuer < 0 ? NULL : &certs[recipes[leaf].issuer],
        .version_min = version,
        .version_max = version};
    memset(&wire, 0, sizeof wire);
    peer_init(&peer, &options);
    ck_assert_int_eq(tls_client_init(&client, context, NS_PER_S, request), TLS_E_OK);
    wire_run(&wire, &client, &peer);
    const struct tls_result *result = tls_client_result(&client);
    ck_assert_str_eq(tls_failure_text(result->failure), tls_failure_text(expected.failure));
    ck_assert_uint_eq(wire.events, expected.established ? TLS_EV_ESTABLISHED : TLS_EV_FAILED);
    ck_assert_int_eq(result->verified, expected.verified);
    ck_assert_int_eq(result->reason[0] != '\0', expected.failure != TLS_FAILURE_NONE);
    ck_assert_int_eq(peer.established && !expected.established, false);
    tls_client_free(&client);
    peer_free(&peer);
}

#define GOOD_END                                                                                   \
    {                                                                                              \
        true, true, TLS_FAILURE_NONE                                                               \
    }
#define UNVERIFIED                                                                                 \
    {                                                                                              \
        true, false, TLS_FAILURE_NONE                                                              \
    }
#define REFUSED(why)                                                                               \
    {                                                                                              \
        false, false, TLS_FAILURE_##why                                                            \
    }
#define NOTED(why)                                                                                 \
    {                                                                                              \
        true, false, TLS_FAILURE_##why                                                             \
    }

/* ---- VERIFY (RFC 8461 4.1) ----------------------------------------------------------------- */

static const struct {
    enum cert leaf;
    const char *server_name, *other_name;
    struct verdict verdict;
} verify[] = {
    {GOOD, "mx.example", NULL, GOOD_END},
    {GOOD, "MX.EXAMPLE", NULL, GOOD_END},
    {GOOD, NULL, "mx.example", GOOD_END},
    {GOOD, "mx1.example", "mx.example", GOOD_END},
    {GOOD, "mx2.example", NULL, REFUSED(HOST_MISMATCH)},
    {GOOD, "a.mx.example", NULL, REFUSED(HOST_MISMATCH)},
    {GOOD, "example", NULL, REFUSED(HOST_MISMATCH)},
    {WRONG_HOST, "mx.example", NULL, REFUSED(HOST_MISMATCH)},
    {NAME_IN_SUBJECT, "mx.example", NULL, REFUSED(HOST_MISMATCH)},
    {WILDCARD, "mx.sub.example", NULL, GOOD_END},
    {WILDCARD, "a.mx.sub.example", NULL, REFUSED(HOST_MISMATCH)},
    {WILDCARD, "sub.example", NULL, REFUSED(HOST_MISMATCH)},
    {PARTIAL_WILDCARD, "mx.sub.example", NULL, REFUSED(HOST_MISMATCH)},
    {EXPIRED, "mx.example", NULL, REFUSED(EXPIRED)},
    {NOT_YET, "mx.example", NULL, REFUSED(NOT_TRUSTED)},
    {SELF_SIGNED, "mx.example", NULL, REFUSED(NOT_TRUSTED)},
    {UNKNOWN_CA, "mx.example", NULL, REFUSED(NOT_TRUSTED)},
    {WEAK_KEY, "mx.example", NULL, REFUSED(NOT_TRUSTED)},
};

static struct tls_request verify_request(int i)
{
    return (struct tls_request){
        .policy = TLS_POLICY_VERIFY,
        .server_name = verify[i].server_name,
        .names = &verify[i].other_name,
        .n_names = verify[i].other_name ? 1 : 0,
        .wall_s = PKI_NOW_S,
    };
}

START_TEST(verify_wants_a_trusted_certificate_with_the_name)
{
    struct tls_request request = verify_request(_i);
    check(&request, verify[_i].leaf, TLS1_3_VERSION, verify[_i].verdict);
    check(&request, verify[_i].leaf, TLS1_2_VERSION, verify[_i].verdict);
}
END_TEST

START_TEST(testing_notes_what_it_would_refuse)
{
    struct tls_request request = verify_request(_i);
    struct verdict verdict = verify[_i].verdict;
    verdict.established = true;
    request.testing = true;
    check(&request, verify[_i].leaf, TLS1_3_VERSION, verdict);
}
END_TEST

START_TEST(a_certificate_is_judged_by_the_time_that_the_caller_says)
{
    struct tls_request request = verify_request(0);
    request.wall_s = PKI_NOW_S - 10 * PKI_DAY_S;
    check(&request, EXPIRED, 0, (struct verdict)GOOD_END);
    request.wall_s = PKI_NOW_S + 10 * PKI_DAY_S;
    check(&request, NOT_YET, 0, (struct verdict)GOOD_END);
}
END_TEST

/* ---- MAY, ENCRYPT -------------------------------------------------------------------------- */

START_TEST(may_and_encrypt_take_any_certificate)
{
    static const enum tls_policy policies[] = {TLS_POLICY_MAY, TLS_POLICY_ENCRYPT};
    struct tls_request request = verify_request(0);
    for (int i = 0; i < N_OF(policies); i++) {
        request.policy = policies[i];
        check(&request, (enum cert)_i, 0, (struct verdict)UNVERIFIED);
    }
}
END_TEST

/* ---- DANE (RFC 7672) ----------------------------------------------------------------------- */

/* A record made of a certificate: as it is, with another byte in its data, or with one missing. */
enum damage { WHOLE, SPOILT, CUT };
struct tlsa_recipe {
    enum cert of;
    uint8_t usage, selector, matching_type;
    enum damage damage;
};

static const struct {
    enum cert leaf;
    uint32_t n;
    struct tlsa_recipe tlsa[3];
    const char *server_name, *other_name;
    struct verdict verdict;
} dane[] = {
    /* DANE-EE, in each form */
    {GOOD, 1, {{GOOD, 3, 0, 0, WHOLE}}, "mx.example", NULL, GOOD_END},
    {GOOD, 1, {{GOOD, 3, 0, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    {GOOD, 1, {{GOOD, 3, 0, 2, WHOLE}}, "mx.example", NULL, GOOD_END},
    {GOOD, 1, {{GOOD, 3, 1, 0, WHOLE}}, "mx.example", NULL, GOOD_END},
    {GOOD, 1, {{GOOD, 3, 1, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    {GOOD, 1, {{GOOD, 3, 1, 2, WHOLE}}, "mx.example", NULL, GOOD_END},
    /* ... whatever names, dates and chain say (3.1.1) */
    {SELF_SIGNED, 1, {{SELF_SIGNED, 3, 1, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    {WRONG_HOST, 1, {{WRONG_HOST, 3, 1, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    {EXPIRED, 1, {{EXPIRED, 3, 1, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    {UNKNOWN_CA, 1, {{UNKNOWN_CA, 3, 1, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    /* ... but not another certificate, however good */
    {GOOD, 1, {{WRONG_HOST, 3, 1, 1, WHOLE}}, "mx.example", NULL, REFUSED(NOT_TRUSTED)},
    {GOOD, 1, {{GOOD, 3, 1, 1, SPOILT}}, "mx.example", NULL, REFUSED(NOT_TRUSTED)},
    {GOOD, 1, {{CA, 3, 1, 1, WHOLE}}, "mx.example", NULL, REFUSED(NOT_TRUSTED)},
    /* one of several is enough: a key is being changed */
    {GOOD, 2, {{OTHER_CA, 3, 1, 1, WHOLE}, {GOOD, 3, 1, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    {GOOD, 2, {{OTHER_CA, 2, 1, 1, WHOLE}, {GOOD, 3, 1, 2, WHOLE}}, "mx.example", NULL, GOOD_END},
    /* DANE-TA: the chain and a name */
    {GOOD, 1, {{CA, 2, 1, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    {GOOD, 1, {{CA, 2, 0, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    {GOOD, 1, {{CA, 2, 0, 0, WHOLE}}, "mx.example", NULL, GOOD_END},
    {UNKNOWN_CA, 1, {{OTHER_CA, 2, 1, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    {GOOD, 1, {{CA, 2, 1, 1, WHOLE}}, "base.example", "mx.example", GOOD_END},
    {GOOD, 1, {{CA, 2, 1, 1, WHOLE}}, NULL, "mx.example", GOOD_END},
    {GOOD, 1, {{OTHER_CA, 2, 1, 1, WHOLE}}, "mx.example", NULL, REFUSED(NOT_TRUSTED)},
    {WRONG_HOST, 1, {{CA, 2, 1, 1, WHOLE}}, "mx.example", NULL, REFUSED(HOST_MISMATCH)},
    {EXPIRED, 1, {{CA, 2, 1, 1, WHOLE}}, "mx.example", NULL, REFUSED(EXPIRED)},
    /* unusable records (3.1.3, 2.2): encrypted, not verified */
    {GOOD, 0, {{CA, 0, 0, 0, WHOLE}}, "mx.example", NULL, NOTED(TLSA_INVALID)},
    {GOOD,
     2,
     {{CA, 0, 1, 1, WHOLE}, {GOOD, 1, 1, 1, WHOLE}},
     "mx.example",
     NULL,
     NOTED(TLSA_INVALID)},
    {SELF_SIGNED, 1, {{GOOD, 1, 1, 1, WHOLE}}, "mx.example", NULL, NOTED(TLSA_INVALID)},
    {GOOD, 1, {{GOOD, 3, 1, 1, CUT}}, "mx.example", NULL, NOTED(TLSA_INVALID)},
    {GOOD, 1, {{GOOD, 3, 0, 0, CUT}}, "mx.example", NULL, NOTED(TLSA_INVALID)},
    /* ... which do not spoil a good one, nor help a wrong one */
    {GOOD, 2, {{GOOD, 3, 1, 1, CUT}, {GOOD, 3, 1, 1, WHOLE}}, "mx.example", NULL, GOOD_END},
    {GOOD,
     2,
     {{GOOD, 1, 1, 1, WHOLE}, {CA, 3, 1, 1, WHOLE}},
     "mx.example",
     NULL,
     REFUSED(NOT_TRUSTED)},
};

static struct tls_request dane_request(int i)
{
    static struct pki_tlsa made[3];
    static struct tls_tlsa records[3];
    for (uint32_t r = 0; r < dane[i].n; r++) {
        const struct tlsa_recipe *recipe = &dane[i].tlsa[r];
        pki_tlsa(&made[r], &certs[recipe->of], recipe->usage, recipe->selector,
                 recipe->matching_type);
        made[r].data[5] ^= recipe->damage == SPOILT;
        records[r] = made[r].record;
        records[r].len -= recipe->damage == CUT;
    }
    return (struct tls_request){
        .policy = TLS_POLICY_DANE,
        .server_name = dane[i].server_name,
        .names = &dane[i].other_name,
        .n_names = dane[i].other_name ? 1 : 0,
        .tlsa = records,
        .n_tlsa = dane[i].n,
        .wall_s = PKI_NOW_S,
    };
}

START_TEST(dane_wants_a_record_that_matches)
{
    struct tls_request request = dane_request(_i);
    check(&request, dane[_i].leaf, TLS1_3_VERSION, dane[_i].verdict);
    check(&request, dane[_i].leaf, TLS1_2_VERSION, dane[_i].verdict);
}
END_TEST

START_TEST(dane_in_testing_notes_what_it_would_refuse)
{
    struct tls_request request = dane_request(_i);
    struct verdict verdict = dane[_i].verdict;
    verdict.established = true;
    request.testing = true;
    check(&request, dane[_i].leaf, TLS1_3_VERSION, verdict);
}
END_TEST

START_TEST(unknown_selectors_and_matching_types_are_unusable)
{
    static const uint8_t digest[32] = {1};
    struct tls_tlsa records[] = {
        {.usage = 3, .selector = 7, .matching_type = 1, .data = digest, .len = 32},
        {.usage = 3, .selector = 1, .matching_type = 9, .data = digest, .len = 32},
        {.usage = 255, .selector = 1, .matching_type = 1, .data = digest, .len = 32},
        {.usage = 3, .selector = 1, .matching_type = 1, .data = digest, .len = 0},
    };
    struct tls_request request = verify_request(0);
    request.policy = TLS_POLICY_DANE;
    request.tlsa = &records[_i];
    request.n_tlsa = 1;
    check(&request, GOOD, 0, (struct verdict)NOTED(TLSA_INVALID));
}
END_TEST

START_TEST(every_failure_has_its_word)
{
    ck_assert_str_eq(tls_failure_text(TLS_FAILURE_NOT_SUPPORTED), "starttls-not-supported");
    ck_assert_str_eq(tls_failure_text(TLS_FAILURE_HOST_MISMATCH), "certificate-host-mismatch");
    ck_assert_str_eq(tls_failure_text(TLS_FAILURE_STS_WEBPKI), "sts-webpki-invalid");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("policy");
    tcase_add_unchecked_fixture(tc, make_pki, free_pki);
    tcase_add_loop_test(tc, verify_wants_a_trusted_certificate_with_the_name, 0, N_OF(verify));
    tcase_add_loop_test(tc, testing_notes_what_it_would_refuse, 0, N_OF(verify));
    tcase_add_test(tc, a_certificate_is_judged_by_the_time_that_the_caller_says);
    tcase_add_loop_test(tc, may_and_encrypt_take_any_certificate, 0, N_CERTS);
    tcase_add_loop_test(tc, dane_wants_a_record_that_matches, 0, N_OF(dane));
    tcase_add_loop_test(tc, dane_in_testing_notes_what_it_would_refuse, 0, N_OF(dane));
    tcase_add_loop_test(tc, unknown_selectors_and_matching_types_are_unusable, 0, 4);
    tcase_add_test(tc, every_failure_has_its_word);
    return tap_run("tls policy", tc);
}
