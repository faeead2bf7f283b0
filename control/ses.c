/* ses.c - a route by SES: see ses.h. */
#include "control/ses_private.h"

#define RATE_UNKNOWN_MILLI 14000u /* until GetAccount says: what new accounts in production have   \
                                   */

/* ---- requests ---------------------------------------------------------------------------- */

bool ses_request_fill(struct ses_route *ses, const char *path, const char *hash,
                      struct ses_request *ret, const char **ret_why)
{
    const struct aws_credentials *credentials;
    uint32_t n = 0;
    if (aws_source_get(ses->source, ctl_time_ms(), &credentials, ret_why) != AWS_SOURCE_READY) {
        return false;
    }
    (void)snprintf(ret->url, sizeof ret->url, "%s%s", ses->config->endpoint, path);
    if (hash) {
        (void)snprintf(ret->hash, sizeof ret->hash, "X-Amz-Content-Sha256: %s", hash);
        ret->headers[n++] = ret->hash;
    }
    if (credentials->token[0]) {
        (void)snprintf(ret->token, sizeof ret->token, "X-Amz-Security-Token: %s",
                       credentials->token);
        ret->headers[n++] = ret->token;
    }
    ret->headers[n] = NULL;
    ret->signer =
        (struct https_signer){ses->config->region, "ses", credentials->key, credentials->secret};
    ret->https = (struct https_request){
        .url = ret->url,
        .addresses = ses->addresses,
        .headers = ret->headers,
        .signer = &ret->signer,
        .bytes_max = 65536,
        .timeout_s = ses->config->timeout_s,
    };
    return true;
}

/* ---- running ----------------------------------------------------------------------------- */

void ses_take_addresses(struct ses_route *ses, const struct dns_answer *answer)
{
    size_t len = 0;
    ses->addresses[0] = '\0';
    for (uint32_t i = 0;
         i < answer->n_targets && len + IP_ADDR_TEXT_MAX + 1 < sizeof ses->addresses; i++) {
        char text[IP_ADDR_TEXT_MAX];
        (void)ip_addr_format(&answer->targets[i].addr, text);
        len += (size_t)snprintf(ses->addresses + len, sizeof ses->addresses - len, "%s%s",
                                i > 0 ? "," : "", text);
    }
}

/* Without credentials the first job in line says so, as one would without a connection. */
static void no_credentials(struct ses_route *ses, const char *why)
{
    uint32_t slot;
    char text[SMTP_TEXT_MAX];
    (void)snprintf(text, sizeof text, "no credentials: %.200s", why);
    if (relay_next(ses->route, &slot)) {
        relay_fail(ses->route, slot, OUTCOME_DEFERRED, OUTCOME_STAGE_AUTH, text);
    }
    relay_route_bad(ses->route, text);
}

/* Credentials, addresses and the account are known, or known not to come. */
static bool is_ready(struct ses_route *ses)
{
    const struct aws_credentials *credentials;
    const char *why;
    const struct dns_answer *answer = relay_resolved(ses->route);
    if (!answer) {
        return false;
    }
    ses_take_addresses(ses, answer);
    switch (aws_source_get(ses->source, ctl_time_ms(), &credentials, &why)) {
    case AWS_SOURCE_WAIT:
        return false;
    case AWS_SOURCE_FAILED:
        no_credentials(ses, why);
        return false;
    case AWS_SOURCE_READY:
        break;
    }
    if (!ses->account_tried) {
        ses_account_ask(ses);
    }
    return ses->account_tried;
}

void ses_run(struct ses_route *ses)
{
    struct relay_route *route = ses->route;
    uint32_t slot;
    while (route->n_line > 0 && !ses->closing) {
        uint32_t limit = route->down_until_ms != 0 ? 1 : route->config->connections;
        if (route->n_sessions >= limit || !is_ready(ses) || !relay_next(route, &slot)) {
            return;
        }
        ses_send_begin(ses, slot);
    }
}

static void on_credentials(void *user)
{
    struct ses_route *ses = user;
    if (ses->source && !ses->closing) {
        relay_run(ses->route);
    }
}

/* ---- what is told ------------------------------------------------------------------------ */

bool ses_capacity(const struct ses_route *ses, struct relay_capacity *ret)
{
    double left = ses->account.max_24h - ses->account.sent_24h;
    if (!ses->account_known) {
        return false;
    }
    *ret = (struct relay_capacity){
        .max_24h = ses->account.max_24h < 0 ? -1 : (int64_t)ses->account.max_24h,
        .left_24h = ses->account.max_24h < 0 ? -1
                    : left > 0               ? (int64_t)left
                                             : 0,
        .rate_per_s = ses->account.rate_per_s,
    };
    return true;
}

json_t *ses_json(const struct ses_route *ses)
{
    json_t *object = ctl_must(json_pack("{s:s, s:I}", "region", ses->config->region, "throttled",
                                        (json_int_t)ses->throttled));
    if (ses->account_known) {
        const struct ses_account *a = &ses->account;
        json_t *account =
            ctl_must(json_pack("{s:b, s:b, s:s, s:f, s:f, s:f}", "production", a->production,
                               "sending", a->sending, "enforcement", a->enforcement, "max_24h",
                               a->max_24h, "sent_24h", a->sent_24h, "rate_per_s", a->rate_per_s));
        (void)json_object_update(object, account);
        json_decref(account);
    }
    return object;
}

/* ---- open and close ---------------------------------------------------------------------- */

static void on_poll(uv_timer_t *timer)
{
    struct ses_route *ses = timer->data;
    const struct dns_answer *answer = relay_resolved(ses->route);
    if (answer) {
        ses_take_addresses(ses, answer);
        ses_account_ask(ses);
    }
}

struct ses_route *ses_open(struct relay_route *route)
{
    struct ctl *ctl = route->relays->ctl;
    struct ses_route *ses = ctl_must(calloc(1, sizeof *ses));
    ses->route = route;
    ses->config = &route->config->ses;
    relay_rate_limit(&route->rate, uv_now(ctl->loop),
                     route->config->max_per_s > 0 ? route->config->max_per_s * UINT64_C(1000)
                                                  : RATE_UNKNOWN_MILLI);
    ses->poll.data = ses;
    (void)uv_timer_init(ctl->loop, &ses->poll);
    (void)uv_timer_start(&ses->poll, on_poll, 0, ses->config->account_poll_s * UINT64_C(1000));
    ses->source = ctl_must(aws_source_open(ctl->loop, ctl->https, ses->config->from,
                                           ses->config->credentials_file, on_credentials, ses));
    return ses;
}

void ses_stop(struct ses_route *ses)
{
    ses->closing = true;
    uv_close((uv_handle_t *)&ses->poll, NULL);
    aws_source_close(ses->source);
    ses->source = NULL;
}

void ses_close(struct ses_route *ses)
{
    ses_sends_free(ses);
    free(ses);
}
