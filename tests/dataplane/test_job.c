/* test_job.c - dp_job_parse(): good jobs are taken over exactly, nonsense is refused with a word.
 */
#include "dataplane/dp_job.h"
#include "tests/dataplane/channel_file.h"
#include "tests/dataplane/tap.h"

static struct channel_file f;
static struct dp_job parsed;
static struct dp_sources sources;
static struct dp_job_limits limits;

static void setup(void)
{
    channel_file_make(&f, 8, 1 << 16);
    channel_file_attach(&f);
    static const char *const texts[] = {"192.0.2.9", "192.0.2.10", "192.0.2.12"};
    ck_assert(dp_sources_init(&sources, 3));
    for (uint32_t i = 0; i < 3; i++) {
        struct ip_addr addr;
        ck_assert(ip_addr_parse(texts[i], &addr) && dp_sources_add(&sources, i, &addr));
    }
    limits = (struct dp_job_limits){
        .arena = f.lane.map.arena,
        .arena_bytes = f.lane.map.arena_bytes,
        .sources = &sources,
    };
}

static void teardown(void)
{
    dp_sources_fini(&sources);
    channel_file_remove(&f);
}

static const char *parse(uint32_t slot)
{
    return dp_job_parse(chan_lane_slot(&f.lane, slot), slot, &limits, &parsed);
}

START_TEST(a_good_job_is_taken_over_exactly)
{
    const struct test_job job = {
        .targets = {"198.51.100.1", "198.51.100.2"},
        .recipients = {"a@x.example", "b@x.example"},
        .mail_from = "",
        .prefix = "DKIM-Signature: v=1\r\n",
        .body = ".dot\r\n\r\n..\r\nmiddle . dot\r\n",
        .connections_max = 3,
        .messages_max = 7,
        .idle_ms = 9,
    };
    uint32_t slot = channel_file_submit(&f, &job);
    chan_lane_slot(&f.lane, slot)->needs = CHAN_NEED_8BITMIME;
    const char *why = parse(slot);
    ck_assert_msg(why == NULL, "%s", why);
    ck_assert_uint_eq(parsed.slot, slot);
    ck_assert_uint_eq(parsed.n_targets, 2);
    ck_assert_uint_eq(parsed.targets[1].addr.bytes[3], 2);
    ck_assert_uint_eq(parsed.targets[1].port, 25);
    ck_assert_str_eq(parsed.targets[1].host, "mx.alpha.example");
    ck_assert_str_eq(parsed.ehlo, "out-1.acme.example");
    ck_assert_str_eq(parsed.transaction.mail_from, "");
    ck_assert_uint_eq(parsed.transaction.n_recipients, 2);
    ck_assert_str_eq(parsed.transaction.recipients[1].address, "b@x.example");
    ck_assert_uint_eq(parsed.transaction.needs, SMTP_NEED_8BITMIME);
    ck_assert_uint_eq(parsed.transaction.body.len, strlen(job.body));
    ck_assert_mem_eq(parsed.transaction.body.data, job.body, strlen(job.body));
    ck_assert_uint_eq(parsed.transaction.body.n_stuff, 2);
    ck_assert_uint_eq(parsed.transaction.body.stuff[1], 8);
    ck_assert_uint_eq(parsed.transaction.body.prefix_len, strlen(job.prefix));
    ck_assert_uint_eq(parsed.connections_max, 3);
    ck_assert_uint_eq(parsed.messages_per_connection_max, 7);
    ck_assert_uint_eq(parsed.idle_ms, 9);
    ck_assert_uint_eq(parsed.body.refs, 0);
    ck_assert_ptr_null(parsed.owner);
}
END_TEST

START_TEST(the_strings_are_copied_so_that_later_changes_do_not_matter)
{
    const struct test_job job = {0};
    uint32_t slot = channel_file_submit(&f, &job);
    ck_assert_ptr_null(parse(slot));
    struct chan_slot *s = chan_lane_slot(&f.lane, slot);
    memset(f.lane.map.arena + s->strings.offset, '\n', s->strings.len);
    ck_assert_str_eq(parsed.transaction.recipients[0].address, "to@alpha.example");
}
END_TEST

/* ---- nonsense ---------------------------------------------------------------------------- */

static char *string_of(struct chan_slot *s, uint32_t offset)
{
    return (char *)f.lane.map.arena + s->strings.offset + offset;
}

static void no_recipients(struct chan_slot *s)
{
    s->n_recipients = 0;
}
static void many_recipients(struct chan_slot *s)
{
    s->n_recipients = CHAN_RCPT_MAX + 1;
}
static void no_targets(struct chan_slot *s)
{
    s->n_targets = 0;
}
static void many_targets(struct chan_slot *s)
{
    s->n_targets = CHAN_TARGET_MAX + 1;
}
static void target_family(struct chan_slot *s)
{
    s->targets[0].addr.family = 0;
}
static void target_port(struct chan_slot *s)
{
    s->targets[0].port = 0;
}
static void target_host(struct chan_slot *s)
{
    s->targets[0].host = UINT32_MAX;
}
static void source(struct chan_slot *s)
{
    s->source.bytes[3] = 11;
}
static void no_connections(struct chan_slot *s)
{
    s->connections_max = 0;
}
static void no_messages(struct chan_slot *s)
{
    s->messages_per_connection_max = 0;
}
static void needs(struct chan_slot *s)
{
    s->needs = CHAN_NEED_REQUIRETLS << 1;
}
static void use(struct chan_slot *s)
{
    s->use = CHAN_USE_CHUNKING << 1;
}
static void ret(struct chan_slot *s)
{
    s->ret = SMTP_RET_HDRS + 1;
}
static void notify_contradicts(struct chan_slot *s)
{
    s->notify[0] = SMTP_NOTIFY_NEVER | SMTP_NOTIFY_DELAY;
}
static void notify_unknown(struct chan_slot *s)
{
    s->notify[0] = 16;
}
static void envid_offset(struct chan_slot *s)
{
    s->envid = (uint32_t)s->strings.len;
}
static void orcpt_offset(struct chan_slot *s)
{
    s->orcpt[0] = (uint32_t)s->strings.len;
}
static void orcpt_without_a_type(struct chan_slot *s)
{
    s->orcpt[0] = s->recipients[0];
}
static void tls(struct chan_slot *s)
{
    s->targets[0].tls = CHAN_N_TLS;
}
static void dane_without_records(struct chan_slot *s)
{
    s->targets[0].tls = CHAN_TLS_DANE;
}
static void dane_with_a_host_for_records(struct chan_slot *s)
{
    s->targets[0].tls = CHAN_TLS_DANE;
    s->targets[0].tlsa = s->targets[0].host;
}
static void tls_name_offset(struct chan_slot *s)
{
    s->targets[0].tls_name = (uint32_t)s->strings.len;
}
static void strings_offset(struct chan_slot *s)
{
    s->strings.offset = UINT64_MAX;
}
static void strings_past_the_end(struct chan_slot *s)
{
    s->strings.offset = f.lane.map.arena_bytes - 1;
}
static void strings_empty(struct chan_slot *s)
{
    s->strings.len = 0;
}
static void strings_huge(struct chan_slot *s)
{
    s->strings.len = DP_JOB_STRINGS_MAX + 1;
}
static void strings_open(struct chan_slot *s)
{
    s->strings.len--;
}
static void ehlo_offset(struct chan_slot *s)
{
    s->ehlo = (uint32_t)s->strings.len;
}
static void ehlo_empty(struct chan_slot *s)
{
    *string_of(s, s->ehlo) = '\0';
}
static void ehlo_space(struct chan_slot *s)
{
    *string_of(s, s->ehlo) = ' ';
}
static void from_crlf(struct chan_slot *s)
{
    *string_of(s, s->mail_from) = '\r';
}
static void from_bracket(struct chan_slot *s)
{
    *string_of(s, s->mail_from) = '>';
}
static void recipient_lf(struct chan_slot *s)
{
    *string_of(s, s->recipients[0]) = '\n';
}
static void recipient_del(struct chan_slot *s)
{
    *string_of(s, s->recipients[0]) = 0x7f;
}
static void recipient_space(struct chan_slot *s)
{
    *string_of(s, s->recipients[0]) = ' ';
}
static void recipient_empty(struct chan_slot *s)
{
    *string_of(s, s->recipients[0]) = '\0';
}
static void site_offset(struct chan_slot *s)
{
    s->site = 1 << 20;
}
static void body_offset(struct chan_slot *s)
{
    s->body.offset = f.lane.map.arena_bytes;
}
static void body_overflow(struct chan_slot *s)
{
    s->body.len = UINT64_MAX - s->body.offset + 1;
}
static void body_empty(struct chan_slot *s)
{
    s->body.len = 0;
}
static void body_without_crlf(struct chan_slot *s)
{
    s->body.len--;
}
static void prefix_outside(struct chan_slot *s)
{
    s->prefix = (struct chan_range){f.lane.map.arena_bytes - 1, 2};
}
static void prefix_without_crlf(struct chan_slot *s)
{
    s->prefix = (struct chan_range){s->body.offset, 3};
}
static void stuff_unaligned(struct chan_slot *s)
{
    s->stuff.offset += 2;
}
static void stuff_odd(struct chan_slot *s)
{
    s->stuff.len = 3;
}
static void stuff_outside(struct chan_slot *s)
{
    s->stuff = (struct chan_range){f.lane.map.arena_bytes - 4, 8};
}
static void stuff_huge(struct chan_slot *s)
{
    s->stuff = (struct chan_range){0, f.lane.map.arena_bytes};
}
static uint32_t *stuff_of(struct chan_slot *s)
{
    return (uint32_t *)(void *)(f.lane.map.arena + s->stuff.offset);
}
static void stuff_not_a_dot(struct chan_slot *s)
{
    stuff_of(s)[0] = 1;
}
static void stuff_not_at_a_line(struct chan_slot *s)
{
    stuff_of(s)[1] = 13; /* the dot in "b.c" */
}
static void stuff_past_the_body(struct chan_slot *s)
{
    stuff_of(s)[1] = UINT32_MAX;
}
static void stuff_twice(struct chan_slot *s)
{
    stuff_of(s)[1] = stuff_of(s)[0];
}

static const struct {
    void (*spoil)(struct chan_slot *);
    const char *word; /* that the refusal names */
} nonsense[] = {
    {no_recipients, "recipients"},
    {many_recipients, "recipients"},
    {no_targets, "targets"},
    {many_targets, "targets"},
    {target_family, "target"},
    {target_port, "target"},
    {target_host, "target"},
    {source, "source"},
    {no_connections, "limit"},
    {no_messages, "limit"},
    {needs, "needs"},
    {use, "needs"},
    {ret, "needs"},
    {notify_contradicts, "DSN"},
    {notify_unknown, "DSN"},
    {envid_offset, "ENVID"},
    {orcpt_offset, "ORCPT"},
    {orcpt_without_a_type, "DSN"},
    {tls, "TLS"},
    {dane_without_records, "TLS"},
    {dane_with_a_host_for_records, "TLS"},
    {tls_name_offset, "TLS"},
    {strings_offset, "strings"},
    {strings_past_the_end, "strings"},
    {strings_empty, "strings"},
    {strings_huge, "strings"},
    {strings_open, "terminated"},
    {ehlo_offset, "EHLO"},
    {ehlo_empty, "EHLO"},
    {ehlo_space, "EHLO"},
    {from_crlf, "return path"},
    {from_bracket, "return path"},
    {recipient_lf, "recipient"},
    {recipient_del, "recipient"},
    {recipient_space, "recipient"},
    {recipient_empty, "recipient"},
    {site_offset, "site"},
    {body_offset, "body"},
    {body_overflow, "body"},
    {body_empty, "body"},
    {body_without_crlf, "body"},
    {prefix_outside, "prefix"},
    {prefix_without_crlf, "prefix"},
    {stuff_unaligned, "stuff"},
    {stuff_odd, "stuff"},
    {stuff_outside, "stuff"},
    {stuff_huge, "stuff"},
    {stuff_not_a_dot, "stuff"},
    {stuff_not_at_a_line, "stuff"},
    {stuff_past_the_body, "stuff"},
    {stuff_twice, "stuff"},
};

START_TEST(nonsense_is_refused_with_a_word_about_it)
{
    const struct test_job job = {.body = ".a\r\n.b\r\nab.c.d\r\n"};
    uint32_t slot = channel_file_submit(&f, &job);
    ck_assert_ptr_null(parse(slot));
    nonsense[_i].spoil(chan_lane_slot(&f.lane, slot));
    const char *why = parse(slot);
    ck_assert_msg(why != NULL, "row %d was accepted", _i);
    ck_assert_msg(strstr(why, nonsense[_i].word) != NULL, "row %d: %s", _i, why);
}
END_TEST

/* Memory errors show under ASan: the arena is copied to an allocation of exactly its size. */
START_TEST(random_slots_and_arenas_never_lead_outside)
{
    const struct test_job job = {.body = ".a\r\n.b\r\n", .prefix = "X: y\r\n"};
    uint32_t slot = channel_file_submit(&f, &job), good = 0;
    size_t bytes = 4096; /* of the arena, all that the job uses */
    uint8_t *arena = malloc(bytes);
    struct chan_slot *copy = malloc(sizeof *copy);
    unsigned seed = (unsigned)_i + 1;
    for (int round = 0; round < 2000; round++) {
        memcpy(arena, f.lane.map.arena, bytes);
        memcpy(copy, chan_lane_slot(&f.lane, slot), sizeof *copy);
        for (int flips = rand_r(&seed) % 4; flips >= 0; flips--) {
            size_t at = (size_t)rand_r(&seed) % offsetof(struct chan_slot, started_ns);
            ((uint8_t *)copy)[at] = (uint8_t)rand_r(&seed);
            arena[(size_t)rand_r(&seed) % 512] = (uint8_t)rand_r(&seed);
        }
        limits.arena = arena;
        limits.arena_bytes = bytes;
        const char *why = dp_job_parse(copy, slot, &limits, &parsed);
        good += why == NULL;
        for (uint32_t i = 0; !why && i < parsed.transaction.n_recipients; i++) {
            ck_assert(strlen(parsed.recipients[i].address) < SMTP_PATH_MAX);
            ck_assert_ptr_null(strpbrk(parsed.recipients[i].address, "\r\n<>"));
        }
    }
    ck_assert(good > 0); /* it did not only refuse */
    free(arena);
    free(copy);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("job");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_good_job_is_taken_over_exactly);
    tcase_add_test(tc, the_strings_are_copied_so_that_later_changes_do_not_matter);
    tcase_add_loop_test(tc, nonsense_is_refused_with_a_word_about_it, 0,
                        (int)(sizeof nonsense / sizeof nonsense[0]));
    tcase_add_loop_test(tc, random_slots_and_arenas_never_lead_outside, 0, 10);
    return tap_run("job", tc);
}
