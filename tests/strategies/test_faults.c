/*
 * test_faults.c - "fault before route": each row of the attribution table as a story, told by
 * replies as providers write them. What the fault may move, what it must not, and its reason.
 */
#include "tests/strategies/lab.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define A1 "192.0.2.1"
#define A2 "192.0.2.2"

static const char SLOW_DOWN[] =
    "421-4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your "
    "IP address. To protect our users from spam, mail sent from your IP address has been "
    "temporarily rate limited. 421 4.7.28 gsmtp";
static const char BLOCKED[] = "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. "
                              "part of their network is on our block list (S3140).";
static const char NO_SUCH_USER[] =
    "550-5.1.1 The email account that you tried to reach does not exist. 550 5.1.1 gsmtp";

static struct lab lab;
static const struct lab_flow NEWS = {"acme", "bulk:news", "gmail"},
                             NEWS_YAHOO = {"acme", "bulk:news", "yahoo"},
                             OTHER = {"acme", "bulk:other", "gmail"},
                             MAIL = {"acme", "transactional", "gmail"};

static void open_lab(void)
{
    lab_open(&lab);
}

static void close_lab(void)
{
    lab_close(&lab);
}

/* Two addresses used to 24,000 a day at each provider, and a day of peace behind them. */
static void warm(enum strategy_kind kind)
{
    lab_addresses(&lab, 2, 24000);
    lab_routes(&lab, 0);
    lab_sender(&lab, "acme", kind, 1000000);
    for (unsigned i = 0; i < 24 * 6; i++) {
        const struct lab_flow *flows[] = {&NEWS, &NEWS_YAHOO, &OTHER, &MAIL};
        for (unsigned f = 0; f < 4; f++) {
            (void)lab_plan(&lab, flows[f], f == 3 ? 20 : 60);
            lab_accept(&lab, flows[f]);
        }
        lab_pass(&lab, 10 * MINUTE_MS);
    }
}

static void expect(const struct lab_flow *flow, uint32_t n, enum strategy_cause cause)
{
    (void)lab_plan(&lab, flow, n);
    ck_assert_str_eq(strategy_cause_name(lab.split.cause), strategy_cause_name(cause));
}

/* ---- endpoints ---- */

START_TEST(blocks_on_one_path_open_it_at_that_provider_only)
{
    warm(STRATEGY_AUTO);
    lab_reply(&lab, &NEWS, A1, 30, SLOW_DOWN);
    lab_pass(&lab, SECOND_MS);
    expect(&NEWS, 60, STRATEGY_C_R_BOUNCE_SURGE);
    ck_assert_uint_eq(lab_share(&lab, A1), 0);
    ck_assert_uint_eq(lab_share(&lab, A2), 60);
    ck_assert(strategy_is_closed(lab.engine, A1, "gmail"));
    ck_assert(!strategy_is_closed(lab.engine, A1, "yahoo"));
    expect(&NEWS_YAHOO, 60, STRATEGY_C_V_BEST);
    ck_assert_uint_eq(lab_share(&lab, A1), 30);
}
END_TEST

START_TEST(a_few_deferrals_slow_a_path_down_and_do_not_close_it)
{
    warm(STRATEGY_AUTO);
    for (unsigned i = 0; i < 12; i++) { /* one in three */
        lab_reply(&lab, &NEWS, A1, 20, "250 2.0.0 OK");
        lab_reply(&lab, &NEWS, A1, 10, SLOW_DOWN);
        lab_pass(&lab, 2 * SECOND_MS);
    }
    expect(&NEWS, 600, STRATEGY_C_R_BOUNCE_SURGE);
    ck_assert(!strategy_is_closed(lab.engine, A1, "gmail"));
    ck_assert_uint_lt(lab_share(&lab, A1), lab_share(&lab, A2));
}
END_TEST

START_TEST(blocks_on_every_address_are_a_block_of_the_pool_and_shared_relays_take_over)
{
    warm(STRATEGY_AUTO);
    lab_reply(&lab, &NEWS, A1, 30, SLOW_DOWN);
    lab_reply(&lab, &NEWS, A2, 30, SLOW_DOWN);
    lab_pass(&lab, SECOND_MS);
    expect(&NEWS, 60, STRATEGY_C_R_POOL_BLOCK);
    ck_assert_uint_eq(lab_share(&lab, "shared-main"), 60);
    expect(&NEWS_YAHOO, 60, STRATEGY_C_V_BEST);
}
END_TEST

START_TEST(one_text_that_bans_the_address_is_not_enough_and_two_within_ten_minutes_are)
{
    warm(STRATEGY_AUTO);
    lab_reply(&lab, &NEWS, A1, 1, BLOCKED);
    lab_pass(&lab, SECOND_MS);
    ck_assert(!strategy_is_closed(lab.engine, A1, "gmail"));
    lab_pass(&lab, 9 * MINUTE_MS);
    lab_reply(&lab, &NEWS, A1, 1, BLOCKED);
    ck_assert(strategy_is_closed(lab.engine, A1, "gmail"));
    lab_pass(&lab, 3 * HOUR_MS + 59 * MINUTE_MS); /* S3140: 4 h */
    (void)lab_plan(&lab, &NEWS, 60);
    ck_assert(strategy_is_closed(lab.engine, A1, "gmail"));
    lab_pass(&lab, 2 * MINUTE_MS);
    (void)lab_plan(&lab, &NEWS, 60);
    ck_assert(!strategy_is_closed(lab.engine, A1, "gmail"));
}
END_TEST

START_TEST(a_listing_drains_the_address_everywhere_and_two_clean_polls_a_day_apart_end_it)
{
    warm(STRATEGY_AUTO);
    lab_dnsbl(&lab, A1, "zen.spamhaus.org", "127.0.0.3");
    expect(&NEWS, 60, STRATEGY_C_R_DNSBL);
    ck_assert_uint_eq(lab_share(&lab, A1), 0);
    expect(&NEWS_YAHOO, 60, STRATEGY_C_R_DNSBL);
    ck_assert_uint_eq(lab_share(&lab, A1), 0);
    lab_pass(&lab, HOUR_MS);
    lab_dnsbl(&lab, A1, "zen.spamhaus.org", NULL);
    lab_pass(&lab, 23 * HOUR_MS);
    lab_dnsbl(&lab, A1, "zen.spamhaus.org", NULL);
    ck_assert(strategy_is_closed(lab.engine, A1, "gmail"));
    lab_pass(&lab, 2 * HOUR_MS);
    lab_dnsbl(&lab, A1, "zen.spamhaus.org", NULL);
    ck_assert(!strategy_is_closed(lab.engine, A1, "gmail"));
    (void)lab_plan(&lab, &NEWS, 600); /* half open: probes */
    ck_assert_uint_ge(lab_share(&lab, A1), 1);
    ck_assert_uint_le(lab_share(&lab, A1), 20);
}
END_TEST

START_TEST(answers_that_are_no_listing_move_nothing)
{
    static const struct {
        const char *zone, *answer;
        enum strategy_listing listing;
    } answers[] = {{"zen.spamhaus.org", "127.0.0.2", STRATEGY_LISTED},
                   {"zen.spamhaus.org", "127.0.0.4", STRATEGY_LISTED},
                   {"zen.spamhaus.org", "127.0.0.9", STRATEGY_LISTED},
                   {"zen.spamhaus.org", "127.0.0.10", STRATEGY_POLICY_RANGE},
                   {"zen.spamhaus.org", "127.0.0.11", STRATEGY_POLICY_RANGE},
                   {"zen.spamhaus.org", "127.255.255.252", STRATEGY_QUERY_FAILED},
                   {"zen.spamhaus.org", "127.255.255.254", STRATEGY_QUERY_FAILED},
                   {"zen.spamhaus.org", "192.0.2.99", STRATEGY_QUERY_FAILED},
                   {"dbl.spamhaus.org", "127.0.1.2", STRATEGY_DOMAIN_LIST},
                   {"bl.example.org", "127.0.0.2", STRATEGY_LISTED_OTHER}};

    warm(STRATEGY_AUTO);
    for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        unsigned b[4];
        ck_assert_int_eq(sscanf(answers[i].answer, "%u.%u.%u.%u", &b[0], &b[1], &b[2], &b[3]), 4);
        const uint8_t bytes[4] = {(uint8_t)b[0], (uint8_t)b[1], (uint8_t)b[2], (uint8_t)b[3]};
        ck_assert_msg(strategy_listing(answers[i].zone, bytes) == answers[i].listing, "%s",
                      answers[i].answer);
        if (answers[i].listing != STRATEGY_LISTED)
            lab_dnsbl(&lab, A1, answers[i].zone, answers[i].answer);
    }
    expect(&NEWS, 60, STRATEGY_C_V_BEST);
    ck_assert_uint_eq(lab_share(&lab, A1), 30);
}
END_TEST

START_TEST(a_list_that_two_providers_name_within_the_hour_drains_the_address)
{
    const char *named = "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using "
                        "zen.spamhaus.org";

    warm(STRATEGY_AUTO);
    lab_reply(&lab, &NEWS, A1, 1, named);
    lab_pass(&lab, 30 * MINUTE_MS);
    ck_assert(!strategy_is_closed(lab.engine, A1, "outlook"));
    lab_reply(&lab, &NEWS_YAHOO, A1, 1, named);
    lab_pass(&lab, SECOND_MS);
    expect(&NEWS, 60, STRATEGY_C_R_DNSBL);
    ck_assert_uint_eq(lab_share(&lab, A1), 0);
}
END_TEST

START_TEST(the_third_drain_in_thirty_days_retires_the_address_until_an_operator_speaks)
{
    warm(STRATEGY_AUTO);
    for (unsigned i = 0; i < 3; i++) {
        lab_dnsbl(&lab, A1, "zen.spamhaus.org", "127.0.0.3");
        lab_dnsbl(&lab, A1, "zen.spamhaus.org", NULL);
        lab_pass(&lab, DAY_MS + HOUR_MS);
        lab_dnsbl(&lab, A1, "zen.spamhaus.org", NULL);
    }
    lab_pass(&lab, 40 * DAY_MS);
    (void)lab_plan(&lab, &NEWS, 60);
    ck_assert(strategy_is_closed(lab.engine, A1, "gmail"));
    ck_assert_int_eq(strategy_retire(lab.engine, lab.now_ms, A1, false), STRATEGY_OK);
    ck_assert(!strategy_is_closed(lab.engine, A1, "gmail"));
}
END_TEST

START_TEST(opens_that_fall_at_one_provider_move_five_points_in_ten_minutes_and_a_tenth_stays)
{
    uint32_t least = 600, before = 600;

    warm(STRATEGY_AUTO);
    for (unsigned i = 0; i < 6 * 24 * 5; i++) {
        const struct lab_flow *flows[] = {&NEWS, &NEWS_YAHOO};
        for (unsigned f = 0; f < 2; f++) {
            (void)lab_plan(&lab, flows[f], 600);
            if (f == 0 && i > 6 * 24 * 3) {
                uint32_t own = lab_share(&lab, A1) + lab_share(&lab, A2);
                least = own < least ? own : least;
                ck_assert_uint_le(before, own + 600 * 6 / 100);
                before = own;
            }
            lab_accept(&lab, flows[f]);
            bool foldered = f == 0 && i > 6 * 24 * 3;
            for (uint32_t part = 0; part < lab.split.n_parts; part++) {
                bool own = lab.split.part[part].path[0] == '1';
                uint32_t opens = lab.split.part[part].n / (foldered && own ? 30 : 6);
                lab_late(&lab, flows[f], STRATEGY_OPENS, lab.split.part[part].path, opens,
                         lab.now_ms);
            }
        }
        lab_pass(&lab, 10 * MINUTE_MS);
    }
    ck_assert_uint_ge(least, 600 / 10 - 2);
    ck_assert_uint_le(least, 600 / 10 + 60);
    expect(&NEWS, 600, STRATEGY_C_R_PLACEMENT);
    expect(&NEWS_YAHOO, 600, STRATEGY_C_V_BEST);
}
END_TEST

/* ---- pace ---- */

START_TEST(more_than_the_warm_up_allows_overflows_and_is_no_spike)
{
    lab_addresses(&lab, 2, 0);
    lab_routes(&lab, 0);
    lab_sender(&lab, "acme", STRATEGY_AUTO, 1000000);
    expect(&NEWS, 5000, STRATEGY_C_R_WARMUP_CAP);
    ck_assert_uint_eq(lab_share(&lab, A1), 100);
    ck_assert_uint_eq(lab_share(&lab, "shared-main"), 4800);
}
END_TEST

START_TEST(more_than_twice_the_peak_of_warm_addresses_is_a_spike)
{
    warm(STRATEGY_AUTO);
    expect(&NEWS, 100000, STRATEGY_C_R_SPIKE);
    ck_assert_uint_gt(lab_share(&lab, "shared-main"), 50000);
}
END_TEST

START_TEST(a_busy_mailbox_a_full_one_and_greylisting_are_nobodys_fault)
{
    static const char *const replies[] = {
        "450 4.2.1 The user you are trying to contact is receiving mail too quickly.",
        "452 4.2.2 The email account that you tried to reach is over quota.",
        "451 4.7.1 Greylisting in action, please come back later"};

    warm(STRATEGY_AUTO);
    for (unsigned i = 0; i < 3; i++) {
        lab_reply(&lab, &NEWS, A1, 200, replies[i]);
        lab_pass(&lab, SECOND_MS);
    }
    expect(&NEWS, 60, STRATEGY_C_V_BEST);
    ck_assert_uint_eq(lab_share(&lab, A1), 30);
}
END_TEST

START_TEST(greylisted_mail_goes_back_to_the_address_that_was_greylisted)
{
    struct strategy_plan retry = {
        .key = {NEWS.sender, NEWS.stream, NEWS.provider}, .n = 40, .n_retries = 40};

    warm(STRATEGY_AUTO);
    lab_reply(&lab, &NEWS, A2, 40, "451 4.7.1 Greylisted, please try again in 300 seconds");
    lab_pass(&lab, 6 * MINUTE_MS);
    ck_assert_int_eq(strategy_plan(lab.engine, lab.now_ms, &retry, &lab.split), STRATEGY_OK);
    ck_assert_uint_eq(lab_share(&lab, A2), 40);
    ck_assert_int_eq(lab.split.cause, STRATEGY_C_N_GREY);
}
END_TEST

/* ---- the sender ---- */

/* n mails of it are held or go out at home; nothing is moved to a shared relay. */
static void expect_no_reroute(const struct lab_flow *flow, uint32_t n, enum strategy_cause cause)
{
    expect(flow, n, cause);
    ck_assert_uint_eq(lab_share(&lab, "shared-main") + lab_share(&lab, "ses"), 0);
}

START_TEST(a_bad_domain_halves_bulk_and_leaves_transactional_mail_at_home)
{
    warm(STRATEGY_AUTO);
    lab_reply(&lab, &NEWS, A1, 40,
              "550-5.7.1 Our system has detected that this message is likely suspicious due to the "
              "very low reputation of the sending domain. 550 5.7.1 gsmtp");
    lab_pass(&lab, SECOND_MS);
    expect_no_reroute(&NEWS, 6000, STRATEGY_C_S_DOMAIN);
    ck_assert_uint_gt(lab.split.n_held, 5000);
    expect_no_reroute(&MAIL, 60, STRATEGY_C_S_DOMAIN);
    ck_assert_uint_eq(lab.split.n_held, 0);
    ck_assert(!strategy_is_closed(lab.engine, A1, "gmail"));
}
END_TEST

START_TEST(broken_authentication_holds_bulk_and_a_few_test_it_every_half_hour)
{
    const char *refused = "550-5.7.26 This mail has been blocked because the sender is "
                          "unauthenticated. 550 5.7.26 gsmtp";

    warm(STRATEGY_AUTO);
    lab_reply(&lab, &NEWS, A1, 40, refused);
    lab_pass(&lab, SECOND_MS);
    expect_no_reroute(&NEWS, 600, STRATEGY_C_S_AUTH);
    ck_assert_uint_eq(lab.split.n_held, 600);
    expect(&NEWS_YAHOO, 60, STRATEGY_C_V_BEST);
    lab_pass(&lab, 30 * MINUTE_MS);
    expect_no_reroute(&NEWS, 600, STRATEGY_C_S_AUTH);
    ck_assert_uint_eq(lab.split.n_held, 590);
    lab_accept(&lab, &NEWS);
    lab_pass(&lab, SECOND_MS);
    expect(&NEWS, 60, STRATEGY_C_V_BEST);
}
END_TEST

START_TEST(hard_bounces_quarantine_their_campaign_alone)
{
    warm(STRATEGY_AUTO);
    lab_reply(&lab, &NEWS, A1, 60, NO_SUCH_USER);
    lab_pass(&lab, SECOND_MS);
    expect_no_reroute(&NEWS, 600, STRATEGY_C_S_BAD_LIST);
    ck_assert_uint_eq(lab.split.n_held, 600);
    expect_no_reroute(&NEWS_YAHOO, 600, STRATEGY_C_S_BAD_LIST); /* the stream, not the provider */
    expect(&OTHER, 60, STRATEGY_C_V_BEST);
    ck_assert_uint_eq(lab.split.n_held, 0);
    expect(&MAIL, 60, STRATEGY_C_V_BEST);
    ck_assert_uint_eq(lab_share(&lab, A1), 30); /* "no such user" is no fault of the address */
}
END_TEST

START_TEST(transactional_mail_is_never_quarantined)
{
    warm(STRATEGY_AUTO);
    lab_reply(&lab, &MAIL, A1, 200, NO_SUCH_USER);
    lab_pass(&lab, SECOND_MS);
    (void)lab_plan(&lab, &MAIL, 60);
    ck_assert_uint_eq(lab.split.n_held, 0);
}
END_TEST

START_TEST(complaints_halve_bulk_and_at_half_a_percent_hold_it)
{
    uint64_t sent;

    warm(STRATEGY_AUTO);
    sent = lab.now_ms - 12 * HOUR_MS;
    lab_late(&lab, &NEWS, STRATEGY_COMPLAINTS, A1, 12, sent);
    expect_no_reroute(&NEWS, 6000, STRATEGY_C_S_COMPLAINTS);
    ck_assert_uint_gt(lab.split.n_held, 0);
    ck_assert_uint_lt(lab.split.n_held, 6000);
    lab_late(&lab, &NEWS, STRATEGY_COMPLAINTS, A1, 120, sent);
    expect_no_reroute(&NEWS, 6000, STRATEGY_C_S_COMPLAINTS);
    ck_assert_uint_eq(lab.split.n_held, 6000);
    expect(&MAIL, 60, STRATEGY_C_V_BEST);
}
END_TEST

START_TEST(an_unknown_list_sends_a_canary_first_and_goes_on_when_it_sings)
{
    const struct lab_flow bought = {"acme", "bulk:bought", "gmail"};

    warm(STRATEGY_AUTO);
    (void)lab_plan_new(&lab, &bought, 50000, 900000);
    ck_assert_int_eq(lab.split.cause, STRATEGY_C_S_CANARY);
    ck_assert_uint_eq(lab.split.n_held, 49000); /* 2 % of 50,000 */
    ck_assert_uint_eq(lab_share(&lab, "shared-main") + lab_share(&lab, "ses"), 0);
    lab_accept(&lab, &bought);
    lab_pass(&lab, 29 * MINUTE_MS);
    (void)lab_plan_new(&lab, &bought, 49000, 900000);
    ck_assert_uint_eq(lab.split.n_held, 49000);
    lab_pass(&lab, MINUTE_MS);
    (void)lab_plan_new(&lab, &bought, 49000, 900000);
    ck_assert_uint_lt(lab.split.n_held, 49000);
    ck_assert_int_ne(lab.split.cause, STRATEGY_C_S_CANARY);
}
END_TEST

START_TEST(a_canary_that_bounces_at_four_percent_ends_the_campaign)
{
    const struct lab_flow bought = {"acme", "bulk:bought", "gmail"};

    warm(STRATEGY_AUTO);
    (void)lab_plan_new(&lab, &bought, 5000, 900000);
    ck_assert_uint_eq(lab.split.n_held, 4800); /* at least 200 */
    lab_reply(&lab, &bought, A1, 192, "250 2.0.0 OK");
    lab_reply(&lab, &bought, A1, 8, NO_SUCH_USER);
    lab_pass(&lab, 31 * MINUTE_MS);
    (void)lab_plan_new(&lab, &bought, 4800, 900000);
    ck_assert_int_eq(lab.split.cause, STRATEGY_C_S_BAD_LIST);
    ck_assert_uint_eq(lab.split.n_held, 4800);
}
END_TEST

START_TEST(content_that_two_routes_refuse_stops_the_message_and_closes_nothing)
{
    const char *spam = "550-5.7.1 Our system has detected that this message is likely unsolicited "
                       "mail. 550 5.7.1 gsmtp";

    warm(STRATEGY_AUTO);
    lab_reply(&lab, &NEWS, A1, 30, spam);
    lab_pass(&lab, SECOND_MS);
    expect(&NEWS, 60, STRATEGY_C_V_BEST);
    lab_reply(&lab, &NEWS, A2, 30, spam);
    lab_pass(&lab, SECOND_MS);
    expect_no_reroute(&NEWS, 60, STRATEGY_C_S_CONTENT);
    ck_assert_uint_eq(lab.split.n_held, 60);
    ck_assert(!strategy_is_closed(lab.engine, A1, "gmail"));
    expect(&OTHER, 60, STRATEGY_C_V_BEST);
}
END_TEST

START_TEST(a_stream_that_bounces_at_four_percent_keeps_off_what_is_shared)
{
    warm(STRATEGY_AUTO);
    for (unsigned i = 0; i < 50; i++) { /* slowly: below what raises the alarm at once */
        lab_reply(&lab, &NEWS, A1, 114, "250 2.0.0 OK");
        lab_reply(&lab, &NEWS, A1, 6, NO_SUCH_USER);
        lab_pass(&lab, 2 * SECOND_MS);
    }
    lab_reply(&lab, &NEWS, A1, 30, SLOW_DOWN);
    lab_reply(&lab, &NEWS, A2, 30, SLOW_DOWN);
    lab_pass(&lab, SECOND_MS);
    expect_no_reroute(&NEWS, 600, STRATEGY_C_S_BAD_LIST);
    ck_assert_uint_eq(lab.split.n_held, 600);
}
END_TEST

/* ---- the provider ---- */

START_TEST(failures_on_every_route_are_an_outage_and_change_nobodys_reputation)
{
    static const uint64_t waits_min[] = {5, 10, 20, 40, 60, 60};

    warm(STRATEGY_AUTO);
    lab_reply(&lab, &NEWS, A1, 20, "timed out");
    lab_reply(&lab, &NEWS, A2, 20, "421 4.3.2 Service not available, try later");
    lab_pass(&lab, SECOND_MS);
    for (unsigned i = 0; i < sizeof waits_min / sizeof waits_min[0]; i++) {
        expect(&NEWS, 600, STRATEGY_C_P_OUTAGE);
        ck_assert_uint_eq(lab.split.n_held, 600);
        lab_pass(&lab, lab.split.retry_ms - lab.now_ms);
        expect(&NEWS, 600, STRATEGY_C_P_OUTAGE);
        ck_assert_uint_eq(lab.split.n_held, 580); /* twenty try */
        for (uint32_t part = 0; part < lab.split.n_parts; part++)
            lab_reply(&lab, &NEWS, lab.split.part[part].path, lab.split.part[part].n, "timed out");
        uint64_t failed = lab.now_ms;
        lab_pass(&lab, SECOND_MS);
        expect(&NEWS, 600, STRATEGY_C_P_OUTAGE);
        if (i + 1 < sizeof waits_min / sizeof waits_min[0])
            ck_assert_uint_eq((lab.split.retry_ms - failed) / MINUTE_MS, waits_min[i + 1]);
    }
    expect(&NEWS_YAHOO, 60, STRATEGY_C_V_BEST);
    lab_pass(&lab, HOUR_MS);
    expect(&NEWS, 600, STRATEGY_C_P_OUTAGE);
    lab_accept(&lab, &NEWS);
    lab_pass(&lab, SECOND_MS);
    expect(&NEWS, 60, STRATEGY_C_V_BEST);
    ck_assert_uint_eq(lab_share(&lab, A1), 30);
}
END_TEST

/* ---- relays ---- */

START_TEST(five_failures_of_a_relay_in_a_row_close_it_and_the_next_one_takes_over)
{
    warm(STRATEGY_SHARED);
    (void)lab_plan(&lab, &NEWS, 60);
    ck_assert_uint_eq(lab_share(&lab, "shared-main"), 60);
    lab_reply(&lab, &NEWS, "shared-main", 4, "connection refused");
    lab_pass(&lab, SECOND_MS);
    expect(&NEWS, 60, STRATEGY_C_V_BEST);
    lab_reply(&lab, &NEWS, "shared-main", 1, "535 5.7.8 authentication failed");
    lab_pass(&lab, SECOND_MS);
    expect(&NEWS, 60, STRATEGY_C_R_RELAY_DOWN);
    ck_assert_uint_eq(lab_share(&lab, "ses"), 60);
    expect(&NEWS_YAHOO, 60, STRATEGY_C_R_RELAY_DOWN); /* the relay, not a path of it */
}
END_TEST

START_TEST(a_relay_takes_nine_tenths_of_its_quota_and_the_last_of_that_is_for_transactional_mail)
{
    uint32_t sent = 0;

    lab_routes(&lab, 1000);
    lab_addresses(&lab, 1, 0);
    lab_sender(&lab, "acme", STRATEGY_SHARED, 10000);
    for (unsigned i = 0; i < 5; i++)
        lab_reply(&lab, &NEWS, "shared-main", 1, "connection refused");
    lab_pass(&lab, SECOND_MS);
    for (unsigned i = 0; i < 20; i++) {
        (void)lab_plan(&lab, &NEWS, 100);
        sent += lab_share(&lab, "ses");
    }
    ck_assert_uint_eq(sent, 1000 * 9 / 10 * 85 / 100);
    ck_assert_uint_eq(lab.split.n_held, 100);
    for (unsigned i = 0; i < 20; i++) {
        (void)lab_plan(&lab, &MAIL, 100);
        sent += lab_share(&lab, "ses");
    }
    ck_assert_uint_eq(sent, 900);
}
END_TEST

START_TEST(a_relay_that_says_its_quota_is_spent_is_left_alone_for_an_hour)
{
    warm(STRATEGY_SHARED);
    lab_reply(&lab, &NEWS, "shared-main", 1,
              "454 Throttling failure: Daily message quota exceeded.");
    expect(&MAIL, 60, STRATEGY_C_R_RELAY_QUOTA);
    ck_assert_uint_eq(lab_share(&lab, "ses"), 60);
    lab_pass(&lab, HOUR_MS);
    expect(&MAIL, 60, STRATEGY_C_V_BEST);
    ck_assert_uint_eq(lab_share(&lab, "shared-main"), 60);
}
END_TEST

/* ---- eligibility: when the first is unusable, when nothing is left ---- */

static const struct fallback {
    enum strategy_kind kind;
    const char *first, *second, *third; /* null: held */
} fallbacks[] = {{STRATEGY_AUTO, A1, "shared-main", "ses"},
                 {STRATEGY_DEDICATED, A1, "shared-main", "ses"},
                 {STRATEGY_SHARED, "shared-main", "ses", NULL},
                 {STRATEGY_CUSTOM, A1, "their-smtp", NULL}};

static void break_path(const char *path)
{
    if (path[0] == '1') {
        lab_dnsbl(&lab, A1, "zen.spamhaus.org", "127.0.0.2");
        lab_dnsbl(&lab, A2, "zen.spamhaus.org", "127.0.0.2");
    } else {
        lab_reply(&lab, &MAIL, path, 5, "connection refused");
    }
    lab_pass(&lab, SECOND_MS);
}

START_TEST(each_strategy_falls_back_in_its_order_and_holds_rather_than_leak)
{
    const struct fallback *f = &fallbacks[_i];
    const char *order[] = {f->first, f->second, f->third};

    warm(f->kind);
    for (unsigned i = 0; i < 3 && order[i] != NULL; i++) {
        (void)lab_plan(&lab, &MAIL, 60);
        ck_assert_uint_ge(lab_share(&lab, order[i]), 28);
        break_path(order[i]);
    }
    (void)lab_plan(&lab, &MAIL, 60);
    ck_assert_uint_eq(lab.split.n_held, 60);
    ck_assert_uint_gt(lab.split.retry_ms, lab.now_ms);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("faults");
    TCase *tests = tcase_create("faults");
    SRunner *runner = srunner_create(suite);

    tcase_add_checked_fixture(tests, open_lab, close_lab);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, blocks_on_one_path_open_it_at_that_provider_only);
    tcase_add_test(tests, a_few_deferrals_slow_a_path_down_and_do_not_close_it);
    tcase_add_test(tests,
                   blocks_on_every_address_are_a_block_of_the_pool_and_shared_relays_take_over);
    tcase_add_test(tests,
                   one_text_that_bans_the_address_is_not_enough_and_two_within_ten_minutes_are);
    tcase_add_test(tests,
                   a_listing_drains_the_address_everywhere_and_two_clean_polls_a_day_apart_end_it);
    tcase_add_test(tests, answers_that_are_no_listing_move_nothing);
    tcase_add_test(tests, a_list_that_two_providers_name_within_the_hour_drains_the_address);
    tcase_add_test(tests,
                   the_third_drain_in_thirty_days_retires_the_address_until_an_operator_speaks);
    tcase_add_test(
        tests, opens_that_fall_at_one_provider_move_five_points_in_ten_minutes_and_a_tenth_stays);
    tcase_add_test(tests, more_than_the_warm_up_allows_overflows_and_is_no_spike);
    tcase_add_test(tests, more_than_twice_the_peak_of_warm_addresses_is_a_spike);
    tcase_add_test(tests, a_busy_mailbox_a_full_one_and_greylisting_are_nobodys_fault);
    tcase_add_test(tests, greylisted_mail_goes_back_to_the_address_that_was_greylisted);
    tcase_add_test(tests, a_bad_domain_halves_bulk_and_leaves_transactional_mail_at_home);
    tcase_add_test(tests, broken_authentication_holds_bulk_and_a_few_test_it_every_half_hour);
    tcase_add_test(tests, hard_bounces_quarantine_their_campaign_alone);
    tcase_add_test(tests, transactional_mail_is_never_quarantined);
    tcase_add_test(tests, complaints_halve_bulk_and_at_half_a_percent_hold_it);
    tcase_add_test(tests, an_unknown_list_sends_a_canary_first_and_goes_on_when_it_sings);
    tcase_add_test(tests, a_canary_that_bounces_at_four_percent_ends_the_campaign);
    tcase_add_test(tests, content_that_two_routes_refuse_stops_the_message_and_closes_nothing);
    tcase_add_test(tests, a_stream_that_bounces_at_four_percent_keeps_off_what_is_shared);
    tcase_add_test(tests, failures_on_every_route_are_an_outage_and_change_nobodys_reputation);
    tcase_add_test(tests, five_failures_of_a_relay_in_a_row_close_it_and_the_next_one_takes_over);
    tcase_add_test(
        tests,
        a_relay_takes_nine_tenths_of_its_quota_and_the_last_of_that_is_for_transactional_mail);
    tcase_add_test(tests, a_relay_that_says_its_quota_is_spent_is_left_alone_for_an_hour);
    tcase_add_loop_test(tests, each_strategy_falls_back_in_its_order_and_holds_rather_than_leak, 0,
                        (int)(sizeof fallbacks / sizeof fallbacks[0]));
    suite_add_tcase(suite, tests);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
