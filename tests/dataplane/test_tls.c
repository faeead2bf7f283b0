/* test_tls.c - TLS policies of jobs, from the session manager to scripted servers: see sim.h. */
#include "dataplane/tls_failure.h"
#include "tests/dataplane/sim.h"
#include "tests/dataplane/tap.h"

#include <unistd.h>

#define MINUTE 60000u
#define HOST   "mx.alpha.example"
#define EHLO   "250-sim\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 8BITMIME\r\n"

static struct sim s;
static struct pki_cert ca, good, wrong_name, expired, stranger;
static char ca_file[] = "/tmp/wirepost-ca-XXXXXX";
static char tlsa_good[256], tlsa_expired[256], tlsa_other[256], tlsa_unusable[256];

static void tlsa_of(char text[256], const struct pki_cert *cert, uint8_t usage)
{
    struct pki_tlsa tlsa;
    pki_tlsa(&tlsa, cert, usage, 1, 1);
    int len = snprintf(text, 256, "%u 1 1 ", usage);
    for (uint32_t i = 0; i < tlsa.record.len; i++) {
        len += snprintf(text + len, 256 - (size_t)len, "%02x", tlsa.record.data[i]);
    }
}

static void make_pki(void)
{
    pki_make(&ca, &(struct pki_request){.common_name = "Test CA", .is_ca = true});
    pki_make(&good,
             &(struct pki_request){.common_name = "good", .san = "DNS:" HOST, .issuer = &ca});
    pki_make(&wrong_name, &(struct pki_request){
                              .common_name = "wrong", .san = "DNS:other.example", .issuer = &ca});
    pki_make(&expired, &(struct pki_request){.common_name = "expired",
                                             .san = "DNS:" HOST,
                                             .issuer = &ca,
                                             .from_s = PKI_NOW_S - 2 * PKI_DAY_S,
                                             .to_s = PKI_NOW_S - PKI_DAY_S});
    pki_make(&stranger, &(struct pki_request){.common_name = "stranger", .san = "DNS:" HOST});
    pki_write(&ca, ca_file);
    tlsa_of(tlsa_good, &good, 3);
    tlsa_of(tlsa_expired, &expired, 3);
    tlsa_of(tlsa_other, &wrong_name, 3);
    tlsa_of(tlsa_unusable, &good, 1);
}

static void free_pki(void)
{
    struct pki_cert *all[] = {&ca, &good, &wrong_name, &expired, &stranger};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        pki_free(all[i]);
    }
    (void)unlink(ca_file);
}

static void setup(void)
{
    const struct sim_options options = {.ca_file = ca_file};
    sim_make(&s, &options);
    dp_sessions_set_realtime(s.sessions, PKI_NOW_S * (int64_t)NS_PER_S);
}

static void teardown(void)
{
    sim_end(&s);
}

static struct sim_result run(const struct test_job *job)
{
    return sim_wait(&s, channel_file_submit(&s.file, job), 10 * MINUTE);
}

/* ---- each policy with each server -------------------------------------------------------- */

enum server { IN_CLEAR, REFUSES, STALLS, OLD, GOOD, WRONG_NAME, EXPIRED, STRANGER };

static void be(struct sim_rules *r, enum server server)
{
    static const struct pki_cert *const certs[] = {
        [STALLS] = &good,           [OLD] = &good,        [GOOD] = &good,
        [WRONG_NAME] = &wrong_name, [EXPIRED] = &expired, [STRANGER] = &stranger};
    *r = (struct sim_rules){.ehlo = server == IN_CLEAR ? NULL : EHLO, .cert = certs[server]};
    r->starttls = server == REFUSES ? "454 4.7.0 not now\r\n" : NULL;
    r->tls_stalls = server == STALLS;
    r->tls_old = server == OLD;
}

#define CLEAR 0
#define TLS   3
#define NEVER 9 /* deferred with stage STARTTLS, and nothing of the envelope was said */

static const struct row {
    enum chan_tls policy;
    enum server server;
    const char *tlsa;
    int result;
    bool verified;
    enum tls_failure failure;
} rows[] = {
    {CHAN_TLS_NONE, GOOD, NULL, CLEAR, false, TLS_FAILURE_NONE},
    {CHAN_TLS_MAY, IN_CLEAR, NULL, CLEAR, false, TLS_FAILURE_NONE},
    {CHAN_TLS_MAY, REFUSES, NULL, CLEAR, false, TLS_FAILURE_NONE},
    {CHAN_TLS_MAY, STALLS, NULL, CLEAR, false, TLS_FAILURE_VALIDATION},
    {CHAN_TLS_MAY, OLD, NULL, CLEAR, false, TLS_FAILURE_VALIDATION},
    {CHAN_TLS_MAY, STRANGER, NULL, TLS, false, TLS_FAILURE_NONE},
    {CHAN_TLS_TEST, IN_CLEAR, NULL, CLEAR, false, TLS_FAILURE_NOT_SUPPORTED},
    {CHAN_TLS_TEST, OLD, NULL, CLEAR, false, TLS_FAILURE_VALIDATION},
    {CHAN_TLS_TEST, GOOD, NULL, TLS, true, TLS_FAILURE_NONE},
    {CHAN_TLS_TEST, WRONG_NAME, NULL, TLS, false, TLS_FAILURE_HOST_MISMATCH},
    {CHAN_TLS_TEST, STRANGER, NULL, TLS, false, TLS_FAILURE_NOT_TRUSTED},
    {CHAN_TLS_ENCRYPT, IN_CLEAR, NULL, NEVER, false, TLS_FAILURE_NOT_SUPPORTED},
    {CHAN_TLS_ENCRYPT, REFUSES, NULL, NEVER, false, TLS_FAILURE_NOT_SUPPORTED},
    {CHAN_TLS_ENCRYPT, STALLS, NULL, NEVER, false, TLS_FAILURE_VALIDATION},
    {CHAN_TLS_ENCRYPT, OLD, NULL, NEVER, false, TLS_FAILURE_VALIDATION},
    {CHAN_TLS_ENCRYPT, EXPIRED, NULL, TLS, false, TLS_FAILURE_NONE},
    {CHAN_TLS_VERIFY, GOOD, NULL, TLS, true, TLS_FAILURE_NONE},
    {CHAN_TLS_VERIFY, IN_CLEAR, NULL, NEVER, false, TLS_FAILURE_NOT_SUPPORTED},
    {CHAN_TLS_VERIFY, REFUSES, NULL, NEVER, false, TLS_FAILURE_NOT_SUPPORTED},
    {CHAN_TLS_VERIFY, STALLS, NULL, NEVER, false, TLS_FAILURE_VALIDATION},
    {CHAN_TLS_VERIFY, WRONG_NAME, NULL, NEVER, false, TLS_FAILURE_HOST_MISMATCH},
    {CHAN_TLS_VERIFY, EXPIRED, NULL, NEVER, false, TLS_FAILURE_EXPIRED},
    {CHAN_TLS_VERIFY, STRANGER, NULL, NEVER, false, TLS_FAILURE_NOT_TRUSTED},
    {CHAN_TLS_DANE, GOOD, tlsa_good, TLS, true, TLS_FAILURE_NONE},
    {CHAN_TLS_DANE, EXPIRED, tlsa_expired, TLS, true, TLS_FAILURE_NONE}, /* RFC 7672 3.1.1 */
    {CHAN_TLS_DANE, GOOD, tlsa_other, NEVER, false, TLS_FAILURE_NOT_TRUSTED},
    {CHAN_TLS_DANE, IN_CLEAR, tlsa_good, NEVER, false, TLS_FAILURE_NOT_SUPPORTED},
    {CHAN_TLS_DANE, OLD, tlsa_good, NEVER, false, TLS_FAILURE_VALIDATION},
    /* RFC 7672 2.2: no usable record: encrypted, not verified */
    {CHAN_TLS_DANE, STRANGER, tlsa_unusable, TLS, false, TLS_FAILURE_TLSA_INVALID},
    {CHAN_TLS_DANE, IN_CLEAR, tlsa_unusable, NEVER, false, TLS_FAILURE_NOT_SUPPORTED},
};

START_TEST(each_policy_has_its_outcome_with_each_server)
{
    const struct row *row = &rows[_i];
    const struct test_job job = {.tls = {row->policy}, .tlsa = row->tlsa};
    be(&s.rules[0], row->server);
    struct sim_result r = run(&job);
    const struct chan_tls_result *tls = &r.slot.tls_results[0];
    ck_assert_str_eq(tls_failure_text(tls->failure), tls_failure_text(row->failure));
    ck_assert_int_eq(tls->failure == TLS_FAILURE_NONE, r.slot.tls_reason[0] == '\0');
    ck_assert_uint_eq(tls->tried, 1);
    ck_assert_uint_eq(tls->verified, row->verified);
    ck_assert_uint_eq(r.slot.tls_verified, row->verified);
    if (row->result == NEVER) {
        ck_assert_uint_eq(r.slot.results[0].kind, OUTCOME_DEFERRED);
        ck_assert_uint_eq(r.slot.results[0].stage, OUTCOME_STAGE_STARTTLS);
        ck_assert_ptr_null(strstr(s.lines, "MAIL"));
        ck_assert_uint_eq(s.n_mails, 0);
        ck_assert_uint_eq(s.accepted, 1);
        return;
    }
    ck_assert_msg(r.slot.results[0].kind == OUTCOME_DELIVERED, "%s", r.slot.results[0].text);
    ck_assert_int_eq(r.slot.tls_version, row->result);
    bool again = row->result == CLEAR && (row->server == OLD || row->server == STALLS);
    ck_assert_uint_eq(s.accepted, again ? 2 : 1);
    ck_assert_uint_eq(s.counters.tls_broken, again);
}
END_TEST

START_TEST(plaintext_behind_the_reply_to_starttls_ends_the_session)
{
    const struct test_job job = {.tls = {(enum chan_tls)_i}, .tlsa = tlsa_good};
    be(&s.rules[0], GOOD);
    s.rules[0].starttls = "220 go\r\n250-sim\r\n250 AUTH PLAIN\r\n";
    struct sim_result r = run(&job);
    ck_assert_uint_eq(r.slot.results[0].kind, OUTCOME_DEFERRED);
    ck_assert_ptr_nonnull(strstr(r.slot.results[0].text, "plaintext"));
    ck_assert_ptr_null(strstr(s.lines, "MAIL"));
}
END_TEST

START_TEST(where_one_host_fails_its_policy_the_next_one_is_tried)
{
    const struct test_job job = {.targets = {"192.0.2.1", "192.0.2.2", "192.0.2.3"},
                                 .tls = {CHAN_TLS_VERIFY, CHAN_TLS_VERIFY, CHAN_TLS_VERIFY}};
    be(&s.rules[0], STRANGER);
    be(&s.rules[1], IN_CLEAR);
    be(&s.rules[2], GOOD);
    struct sim_result r = run(&job);
    ck_assert_uint_eq(r.slot.results[0].kind, OUTCOME_DELIVERED);
    ck_assert_uint_eq(r.slot.target_used, 2);
    ck_assert_uint_eq(r.slot.tls_results[0].failure, TLS_FAILURE_NOT_TRUSTED);
    ck_assert_uint_eq(r.slot.tls_results[1].failure, TLS_FAILURE_NOT_SUPPORTED);
    ck_assert_uint_eq(r.slot.tls_results[2].verified, 1);
}
END_TEST

START_TEST(a_broken_handshake_under_may_does_not_take_tls_off_a_host_that_must_have_it)
{
    const struct test_job job = {.targets = {"192.0.2.1", "192.0.2.2"},
                                 .tls = {CHAN_TLS_MAY, CHAN_TLS_VERIFY}};
    be(&s.rules[0], OLD);
    s.rules[0].mail = "451 4.3.0 later\r\n"; /* in clear it is not welcome either */
    be(&s.rules[1], GOOD);
    struct sim_result r = run(&job);
    ck_assert_uint_eq(r.slot.results[0].kind, OUTCOME_DELIVERED);
    ck_assert_uint_eq(r.slot.target_used, 1);
    ck_assert_uint_eq(r.slot.tls_verified, 1);
}
END_TEST

/* ---- sharing ----------------------------------------------------------------------------- */

START_TEST(a_session_is_shared_by_jobs_that_want_the_same_tls_only)
{
    static const struct test_job first = {
        .tls = {CHAN_TLS_VERIFY}, .tls_key = 7, .connections_max = 9};
    static const struct {
        struct test_job job;
        bool shared;
    } second[] = {
        {{.tls = {CHAN_TLS_VERIFY}, .tls_key = 7, .connections_max = 9}, true},
        {{.tls = {CHAN_TLS_VERIFY}, .tls_key = 8, .connections_max = 9}, false},
        {{.tls = {CHAN_TLS_MAY}, .tls_key = 7, .connections_max = 9}, false},
        {{.tls = {CHAN_TLS_NONE}, .tls_key = 7, .connections_max = 9}, false},
        {{.tls = {CHAN_TLS_VERIFY}, .tls_key = 7, .tls_hash = 1, .connections_max = 9}, false},
        {{.tls = {CHAN_TLS_VERIFY}, .tls_key = 7, .connections_max = 9, .source = "192.0.2.11"},
         false},
    };
    be(&s.rules[0], GOOD);
    ck_assert_uint_eq(run(&first).slot.results[0].kind, OUTCOME_DELIVERED);
    struct sim_result r = run(&second[_i].job);
    ck_assert_uint_eq(r.slot.results[0].kind, OUTCOME_DELIVERED);
    ck_assert_uint_eq(r.slot.reused, second[_i].shared);
    ck_assert_uint_eq(s.accepted, second[_i].shared ? 1 : 2);
}
END_TEST

START_TEST(the_next_connection_of_a_source_to_a_host_resumes_and_stays_verified)
{
    struct test_job job = {.tls = {CHAN_TLS_VERIFY}, .messages_max = 1};
    be(&s.rules[0], GOOD);
    (void)run(&job);
    sim_run(&s, 1000); /* tickets come behind the first replies */
    struct sim_result r = run(&job);
    ck_assert_uint_eq(s.tls_resumed, 1);
    ck_assert_uint_eq(r.slot.tls_verified, 1);
    ck_assert_str_eq(s.sni, HOST);
    job.source = "192.0.2.12"; /* receivers could link the two addresses otherwise */
    (void)run(&job);
    ck_assert_uint_eq(s.tls_resumed, 1);
    ck_assert_uint_eq(s.tls_full, 2);
}
END_TEST

START_TEST(the_name_to_verify_may_be_another_than_the_host)
{
    const struct test_job job = {.tls = {CHAN_TLS_VERIFY}, .tls_name = "other.example"};
    be(&s.rules[0], WRONG_NAME);
    struct sim_result r = run(&job);
    ck_assert_uint_eq(r.slot.tls_verified, 1);
    ck_assert_str_eq(s.sni, "other.example");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("tls");
    tcase_add_unchecked_fixture(tc, make_pki, free_pki);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, each_policy_has_its_outcome_with_each_server, 0,
                        sizeof rows / sizeof rows[0]);
    tcase_add_loop_test(tc, plaintext_behind_the_reply_to_starttls_ends_the_session, CHAN_TLS_MAY,
                        CHAN_N_TLS);
    tcase_add_test(tc, where_one_host_fails_its_policy_the_next_one_is_tried);
    tcase_add_test(tc, a_broken_handshake_under_may_does_not_take_tls_off_a_host_that_must_have_it);
    tcase_add_loop_test(tc, a_session_is_shared_by_jobs_that_want_the_same_tls_only, 0, 6);
    tcase_add_test(tc, the_next_connection_of_a_source_to_a_host_resumes_and_stays_verified);
    tcase_add_test(tc, the_name_to_verify_may_be_another_than_the_host);
    return tap_run("tls", tc);
}
