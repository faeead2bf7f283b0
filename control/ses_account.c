/* ses_account.c - GetAccount: quota, rate, and whether the account may send at all. See ses.h. */
#include "control/ses_private.h"

#define SPARE_MS 5000 /* beyond the next poll, which ends the pause */

static void tell_test(struct ses_route *ses, bool good, const char *text)
{
    relay_test_fn test = ses->test;
    ses->test = NULL;
    if (test) {
        test(ses->test_user, good, text, 0);
    }
}

/* Nine tenths of what the account may send a second, or what the configuration says. */
static void set_rate(struct ses_route *ses)
{
    struct relay_route *route = ses->route;
    uint64_t milli = (uint64_t)(ses->account.rate_per_s * 900);
    uint64_t own = route->config->max_per_s * UINT64_C(1000);
    milli = own > 0 && own < milli ? own : milli;
    relay_rate_limit(&route->rate, uv_now(route->relays->ctl->loop), milli > 0 ? milli : 1);
}

static void describe(const struct ses_account *a, char *text, size_t text_bytes)
{
    (void)snprintf(
        text, text_bytes, "%s, sending %s, %s; %.0f of %.0f recipients in 24 h, %.0f a second",
        a->production ? "production access" : "sandbox: verified recipients only",
        a->sending ? "enabled" : "PAUSED", a->enforcement, a->sent_24h, a->max_24h, a->rate_per_s);
}

static void judge(struct ses_route *ses)
{
    const struct ses_account *a = &ses->account;
    const char *why = !a->sending ? "the account may not send: paused or shut down"
                      : a->max_24h >= 0 && a->sent_24h >= a->max_24h
                          ? "the account's quota of 24 hours is used up"
                          : NULL;
    if (why) {
        relay_route_stop(ses->route, why, ses->config->account_poll_s * INT64_C(1000) + SPARE_MS);
    } else {
        relay_route_look_again(ses->route);
    }
}

static void take_account(struct ses_route *ses, const struct https_answer *answer)
{
    char text[256];
    bool first = !ses->account_known, was_in_sandbox = !first && !ses->account.production;
    if (!ses_account_read(answer->body, answer->bytes, &ses->account)) {
        tell_test(ses, false, "the answer to GetAccount is none");
        return;
    }
    ses->account_known = true;
    describe(&ses->account, text, sizeof text);
    if (!ses->account.production && !was_in_sandbox) {
        ctl_log(CTL_LOG_WARN, "SES takes mail for verified recipients only: the sandbox",
                "route=%s", ses->route->config->name);
    }
    set_rate(ses);
    judge(ses);
    tell_test(ses, ses->account.sending, text);
}

/* While the route is down, only mail that probes it makes that longer. */
static void failed(struct ses_route *ses, const char *why)
{
    if (ses->route->down_until_ms == 0) {
        relay_route_bad(ses->route, why);
    }
}

/* An access key that may send but not ask for the account does its work, at the rate that is known.
 */
static void refused(struct ses_route *ses, const struct https_answer *answer)
{
    struct ses_verdict verdict;
    char type[96], text[SMTP_TEXT_MAX];
    https_answer_header(answer, "x-amzn-ErrorType", type, sizeof type);
    ses_answer_read(answer->status, type, answer->body, answer->bytes, &verdict);
    (void)snprintf(text, sizeof text, "GetAccount: %.240s", verdict.text);
    if (verdict.act == SES_FAILED && strncmp(verdict.text, "AccessDenied", 12) != 0) {
        aws_source_refresh(ses->source);
        failed(ses, text);
    } else {
        ctl_log(CTL_LOG_WARN, "SES does not tell quota and rate", "route=%s reason=\"%s\"",
                ses->route->config->name, text);
    }
    tell_test(ses, false, text);
}

static void on_answer(void *user, const struct https_answer *answer)
{
    struct ses_route *ses = user;
    ses->account_asked = false;
    ses->account_tried = true;
    if (answer->result != HTTPS_OK) {
        char text[SMTP_TEXT_MAX];
        (void)snprintf(text, sizeof text, "GetAccount: %.240s", answer->text);
        failed(ses, text);
        tell_test(ses, false, text);
    } else if (answer->status == 200) {
        take_account(ses, answer);
    } else {
        refused(ses, answer);
    }
    relay_run(ses->route);
}

void ses_account_ask(struct ses_route *ses)
{
    struct ses_request request;
    const char *why;
    if (ses->account_asked || ses->closing) {
        return;
    }
    if (!ses_request_fill(ses, SES_ACCOUNT_PATH, NULL, &request, &why)) {
        tell_test(ses, false, why);
        return;
    }
    ses->account_asked = true;
    https_ask(ses->route->relays->ctl->https, &request.https, on_answer, ses);
}

void ses_test(struct ses_route *ses, const struct dns_answer *addresses, relay_test_fn done,
              void *user)
{
    if (ses->test) {
        done(user, false, "another test of the route is under way", 0);
        return;
    }
    ses->test = done;
    ses->test_user = user;
    ses_take_addresses(ses, addresses);
    ses_account_ask(ses);
}
