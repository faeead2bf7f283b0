/* relay_health.c - what a route is fit for, and what is told of it: see relay.h. */
#include "control/dispatch.h"
#include "control/relay_private.h"
#include "control/ses.h"
#include "control/ses_api.h"

#define CLEAR_MS 600000
#define LINE_MIN                                                                                   \
    256u /* jobs of one route that wait or run, or two for each connection; more stay in the queue \
          */

void relay_route_good(struct relay_route *route)
{
    if (route->down_until_ms != 0) {
        ctl_log(CTL_LOG_INFO, "a relay works again", "route=%s", route->config->name);
        dispatch_wake(route->relays->ctl);
    }
    route->failures = route->downs = 0;
    route->down_until_ms = 0;
    route->probing = route->stopped = false;
}

void relay_route_clear(struct relay_route *route, const char *why)
{
    route->tls_broken++;
    route->clear_until_ms = (int64_t)uv_now(route->relays->ctl->loop) + CLEAR_MS;
    ctl_log(CTL_LOG_WARN,
            "TLS with a relay is broken; its policy lets mail go in clear for a while",
            "route=%s reason=\"%s\"", route->config->name, why);
}

enum smtp_tls relay_route_tls(const struct relay_route *route)
{
    bool clear = (int64_t)uv_now(route->relays->ctl->loop) < route->clear_until_ms;
    return clear && route->config->tls == SMTP_TLS_MAY ? SMTP_TLS_NONE : route->config->tls;
}

/* Jobs that wait go back to the queue, where the strategy may choose another route. */
static void hand_back(struct relay_route *route)
{
    uint32_t slot;
    while (relay_pop(route, &slot)) {
        relay_fail(route, slot, OUTCOME_RETURNED, OUTCOME_STAGE_NONE, "the relay is down");
    }
    route->probing = false; /* a job that was to probe it may be among them */
}

/* Out of use from now on; what waits is planned again. */
static void take_down(struct relay_route *route, int64_t for_ms)
{
    route->down_until_ms = (int64_t)uv_now(route->relays->ctl->loop) + for_ms;
    hand_back(route);
}

static void log_down(const struct relay_route *route, int64_t for_ms)
{
    ctl_log(CTL_LOG_WARN, "a relay is down", "route=%s for_ms=%lld reason=\"%s\"",
            route->config->name, (long long)for_ms, route->last);
}

void relay_route_stop(struct relay_route *route, const char *why, int64_t for_ms)
{
    bool known = route->stopped && strcmp(route->last, why) == 0;
    (void)snprintf(route->last, sizeof route->last, "%s", why);
    if (!known) {
        route->failed++;
        log_down(route, for_ms);
    }
    route->stopped = true;
    take_down(route, for_ms);
}

void relay_route_look_again(struct relay_route *route)
{
    int64_t now_ms = (int64_t)uv_now(route->relays->ctl->loop);
    route->stopped = false;
    if (route->down_until_ms > now_ms) {
        route->down_until_ms = now_ms;
        dispatch_wake(route->relays->ctl);
    }
}

void relay_route_bad(struct relay_route *route, const char *why)
{
    route->failed++;
    route->probing = false;
    (void)snprintf(route->last, sizeof route->last, "%s", why);
    bool is_down = (int64_t)uv_now(route->relays->ctl->loop) < route->down_until_ms;
    if (is_down || (++route->failures < RELAY_FAILURES && route->down_until_ms == 0)) {
        return; /* what was under way when it went down says nothing new */
    }
    int64_t wait_ms = RELAY_DOWN_MS;
    for (uint32_t i = 0; i < route->downs && wait_ms < RELAY_DOWN_MS_MAX; i++) {
        wait_ms *= 2;
    }
    route->downs++;
    wait_ms = wait_ms < RELAY_DOWN_MS_MAX ? wait_ms : RELAY_DOWN_MS_MAX;
    log_down(route, wait_ms);
    take_down(route, wait_ms);
}

enum relay_health relay_health(const struct relays *relays, uint32_t route)
{
    const struct relay_route *r = &relays->routes[route];
    if (r->paused || !relays->ready) {
        return RELAY_DOWN;
    }
    if (r->down_until_ms == 0) {
        return RELAY_UP;
    }
    bool over = (int64_t)uv_now(relays->ctl->loop) >= r->down_until_ms;
    return over && !r->probing ? RELAY_PROBING : RELAY_DOWN;
}

/* No more than two seconds of mail wait for a route that is paced, so that the rest may take
 * another. */
static uint32_t line_max(const struct relay_route *route)
{
    uint32_t connections = route->config->connections;
    uint32_t full = 2 * connections > LINE_MIN ? 2 * connections : LINE_MIN;
    uint64_t paced = connections + 2 * route->rate.rate_milli / 1000 + 1;
    return route->rate.limit_milli > 0 && paced < full ? (uint32_t)paced : full;
}

bool relay_has_room(const struct relays *relays, uint32_t route)
{
    const struct relay_route *r = &relays->routes[route];
    return r->n_line + r->n_sessions - r->n_idle < line_max(r);
}

bool relay_carries(const struct relays *relays, uint32_t route, uint64_t message_bytes,
                   uint32_t needs, char *ret_why, size_t why_bytes)
{
    uint64_t base64_bytes = ses_base64_bytes(message_bytes);
    const char *name = relays->routes[route].config->name;
    if (!relays->routes[route].ses) {
        return true;
    }
    if (base64_bytes > SES_BASE64_MAX) {
        (void)snprintf(ret_why, why_bytes,
                       "route %s: the message has %llu bytes in base64, SES takes %llu", name,
                       (unsigned long long)base64_bytes, (unsigned long long)SES_BASE64_MAX);
        return false;
    }
    if ((needs & CHAN_NEED_SMTPUTF8) != 0) {
        (void)snprintf(ret_why, why_bytes,
                       "route %s: SES takes no addresses that are not ASCII (SMTPUTF8)", name);
        return false;
    }
    return true;
}

bool relay_capacity(const struct relays *relays, uint32_t route, struct relay_capacity *ret)
{
    const struct relay_route *r = &relays->routes[route];
    return r->ses && ses_capacity(r->ses, ret);
}

void relays_hand_back(struct relays *relays)
{
    for (uint32_t i = 0; relays->ready && i < relays->n; i++) {
        hand_back(&relays->routes[i]);
    }
}

bool relay_pause(struct relays *relays, const char *name, bool paused)
{
    uint32_t route = ctl_config_route(&relays->ctl->config, name);
    if (route == UINT32_MAX) {
        return false;
    }
    relays->routes[route].paused = paused;
    if (paused) {
        hand_back(&relays->routes[route]);
    }
    dispatch_wake(relays->ctl);
    return true;
}

/* ---- told ---------------------------------------------------------------------------------- */

static const char *state_text(const struct relays *r, uint32_t route)
{
    static const char *const texts[] = {
        [RELAY_UP] = "up", [RELAY_PROBING] = "probing", [RELAY_DOWN] = "down"};
    return r->routes[route].paused ? "paused" : texts[relay_health(r, route)];
}

static void url_text(const struct ctl_route *config, char *url, size_t url_bytes)
{
    if (config->type == CTL_ROUTE_SES) {
        (void)snprintf(url, url_bytes, "%s", config->ses.endpoint);
    } else {
        (void)snprintf(url, url_bytes, "%s://%s:%u",
                       config->tls == SMTP_TLS_IMPLICIT ? "smtps" : "smtp", config->host,
                       config->port);
    }
}

json_t *relays_json(const struct relays *r)
{
    json_t *list = ctl_must(json_array());
    for (uint32_t i = 0; i < r->n; i++) {
        const struct relay_route *route = &r->routes[i];
        bool is_ses = route->config->type == CTL_ROUTE_SES;
        char url[400];
        url_text(route->config, url, sizeof url);
        json_t *object = ctl_must(json_pack(
            "{s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I}", "name", route->config->name, "type",
            is_ses ? "ses" : "smtp", "url", url, "state", state_text(r, i), "connections",
            (int)route->n_sessions, "waiting", (int)route->n_line, "sent", (json_int_t)route->sent,
            "failures", (json_int_t)route->failed, "tls_broken", (json_int_t)route->tls_broken));
        json_t *last = json_string(route->last);
        (void)json_object_set_new(object, "last", last ? last : json_string("(not UTF-8)"));
        if (route->ses) {
            (void)json_object_set_new(object, "ses", ses_json(route->ses));
        }
        (void)json_array_append_new(list, object);
    }
    return list;
}
