/* relay.c - routes: their lines of waiting jobs, and the lane side of their channel. See relay.h.
 */
#include "control/relay_private.h"

#include "control/dispatch.h"
#include "control/ses.h"

#define TICK_MS 100

struct chan_slot *relay_slot(struct relay_route *route, uint32_t slot)
{
    return chan_lane_slot(&route->relays->lane, slot);
}

/* What the resolver is asked for: the host's addresses. */
static void host_name(const struct relay_route *route, char name[260])
{
    (void)snprintf(name, 260, "%s%s", route->config->host[0] == '[' ? "" : "=",
                   route->config->host);
}

/* ---- outcomes ---------------------------------------------------------------------------- */

void relay_finish(struct relay_route *route, uint32_t slot)
{
    struct relays *r = route->relays;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    relay_slot(route, slot)->done_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
    chan_lane_finish(&r->lane, slot);
    lanes_collect(&r->ctl->lanes->list[LANE_RELAY]);
}

void relay_fail(struct relay_route *route, uint32_t slot, enum outcome_kind kind,
                enum outcome_stage stage, const char *text)
{
    struct chan_slot *s = relay_slot(route, slot);
    for (uint32_t i = 0; i < s->n_recipients; i++) {
        s->results[i] = (struct chan_result){.kind = (uint8_t)kind, .stage = (uint8_t)stage};
        (void)snprintf(s->results[i].text, sizeof s->results[i].text, "%s", text);
    }
    relay_finish(route, slot);
}

/* ---- testing ------------------------------------------------------------------------------ */

struct test {
    struct relay_route *route;
    relay_test_fn done;
    void *user;
};

static void on_test_resolved(void *user, const char *domain, const struct dns_answer *answer)
{
    struct test test = *(struct test *)user;
    (void)domain;
    free(user);
    if (answer->status != DNS_OK) {
        test.done(test.user, false, answer->text, 0);
        return;
    }
    if (test.route->ses) {
        ses_test(test.route->ses, answer, test.done, test.user);
    } else {
        relay_session_test(test.route, answer, test.done, test.user);
    }
}

void relay_test(struct relays *relays, uint32_t route, relay_test_fn done, void *user)
{
    struct test *test = ctl_must(calloc(1, sizeof *test));
    char name[260];
    *test = (struct test){&relays->routes[route], done, user};
    host_name(test->route, name);
    const struct dns_answer *answer = dns_cached(relays->ctl->dns, name);
    if (answer) {
        on_test_resolved(test, name, answer);
        return;
    }
    dns_lookup(relays->ctl->dns, name, on_test_resolved, test);
}

/* ---- the line ---------------------------------------------------------------------------- */

bool relay_pop(struct relay_route *route, uint32_t *ret_slot)
{
    uint32_t size = route->relays->lane.map.n_slots;
    if (route->n_line == 0) {
        return false;
    }
    *ret_slot = route->line[route->line_head];
    route->line_head = (route->line_head + 1) % size;
    route->n_line--;
    return true;
}

static void on_pace(uv_timer_t *timer)
{
    relay_run(timer->data);
}

bool relay_next(struct relay_route *route, uint32_t *ret_slot)
{
    uint64_t now_ms = uv_now(route->relays->ctl->loop), wait_ms;
    if (route->n_line == 0) {
        return false;
    }
    if ((wait_ms = relay_rate_wait_ms(&route->rate, now_ms)) > 0) {
        (void)uv_timer_start(&route->pace, on_pace, wait_ms, 0);
        return false;
    }
    (void)relay_pop(route, ret_slot);
    relay_rate_take(&route->rate, now_ms, relay_slot(route, *ret_slot)->n_recipients);
    return true;
}

static void line_add(struct relay_route *route, uint32_t slot)
{
    uint32_t size = route->relays->lane.map.n_slots;
    INVARIANT(route->n_line < size);
    route->line[(route->line_head + route->n_line++) % size] = slot;
}

void relay_unread(struct relay_route *route, uint32_t slot)
{
    uint32_t size = route->relays->lane.map.n_slots;
    INVARIANT(route->n_line < size);
    route->line_head = (route->line_head + size - 1) % size;
    route->line[route->line_head] = slot;
    route->n_line++;
}

static struct relay_session *idle_session(struct relay_route *route)
{
    struct relay_session *s = route->sessions;
    while (s && s->state != RELAY_IDLE) {
        s = s->next;
    }
    return s;
}

static void on_resolved(void *user, const char *domain, const struct dns_answer *answer)
{
    struct relay_route *route = user;
    uint32_t slot;
    (void)domain;
    route->resolving = false;
    if (answer->status != DNS_OK) {
        if (relay_pop(route, &slot)) {
            relay_fail(route, slot, OUTCOME_DEFERRED, OUTCOME_STAGE_RESOLVE, answer->text);
        }
        relay_route_bad(route, answer->text);
        return;
    }
    relay_run(route);
}

const struct dns_answer *relay_resolved(struct relay_route *route)
{
    struct dns_resolver *dns = route->relays->ctl->dns;
    char name[260];
    if (route->resolving) {
        return NULL;
    }
    host_name(route, name);
    const struct dns_answer *answer = dns_cached(dns, name);
    if (answer && answer->status == DNS_OK) {
        return answer;
    }
    if (answer) {
        on_resolved(route, name, answer);
        return NULL;
    }
    route->resolving = true;
    dns_lookup(dns, name, on_resolved, route);
    return NULL;
}

/* Connections take what waits: those that are idle first, then new ones. */
static void run_sessions(struct relay_route *route)
{
    const struct dns_answer *answer;
    struct relay_session *idle;
    uint32_t slot, limit = route->down_until_ms != 0 ? 1 : route->config->connections;
    while (route->n_line > 0 && (idle = idle_session(route)) != NULL && relay_next(route, &slot)) {
        relay_session_reuse(idle, slot);
    }
    while (route->n_line > 0 && route->n_sessions < limit &&
           (answer = relay_resolved(route)) != NULL && relay_next(route, &slot)) {
        relay_session_open(route, answer, slot);
    }
}

void relay_run(struct relay_route *route)
{
    if (route->ses) {
        ses_run(route->ses);
    } else {
        run_sessions(route);
    }
}

static uint32_t route_of(struct relays *r, uint32_t slot)
{
    const struct chan_slot *s = chan_lane_slot(&r->lane, slot);
    const char *strings = (const char *)r->lane.map.arena + s->strings.offset;
    return ctl_config_route(&r->ctl->config, strings + s->route);
}

void relays_take(struct relays *r)
{
    uint32_t slot;
    while (chan_lane_next_job(&r->lane, &slot)) {
        struct relay_route *route = &r->routes[route_of(r, slot)];
        route->probing = route->down_until_ms != 0;
        line_add(route, slot);
    }
    for (uint32_t i = 0; i < r->n; i++) {
        relay_run(&r->routes[i]);
    }
}

/* ---- open and close ---------------------------------------------------------------------- */

/* What an earlier process left is safe: the channel begins anew. */
static bool become_ready(struct relays *r)
{
    struct lane *lane = &r->ctl->lanes->list[LANE_RELAY];
    char folder[CTL_PATH_MAX + 16];
    if (lane->n_jobs > 0 || !lanes_reset_relay(r->ctl->lanes)) {
        return false;
    }
    const struct chan_geometry geometry = {.n_slots = chan_control_n_slots(lane->chan),
                                           .arena_bytes = r->ctl->config.dp.arena_bytes};
    (void)snprintf(folder, sizeof folder, "%s/relays", r->ctl->config.run_dir);
    if (chan_lane_open(&r->lane, folder, &geometry) != CHAN_OK) {
        ctl_log(CTL_LOG_ERROR, "the relays' channel cannot be opened", "folder=%s", folder);
        return false;
    }
    for (uint32_t i = 0; i < r->n; i++) {
        r->routes[i].line = ctl_must(calloc(geometry.n_slots, sizeof(uint32_t)));
    }
    r->ready = true;
    dispatch_wake(r->ctl);
    return true;
}

/* A route whose time is over is looked at again by the dispatcher. */
static void on_tick(uv_timer_t *timer)
{
    struct relays *r = timer->data;
    if (!r->ready && !become_ready(r)) {
        return;
    }
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->routes[i].down_until_ms != 0 && relay_health(r, i) == RELAY_PROBING) {
            dispatch_wake(r->ctl);
        }
    }
}

/* Trust and memory for TLS, when a route wants it. */
static bool open_tls(struct relays *r, char *ret_error, size_t error_bytes)
{
    const struct ctl_config *config = &r->ctl->config;
    const struct tls_config tls = {.ca_file = config->tls_ca_file[0] ? config->tls_ca_file : NULL};
    bool wanted = false;
    for (uint32_t i = 0; i < r->n; i++) {
        wanted |= config->routes[i].tls != SMTP_TLS_NONE;
    }
    enum tls_error error = wanted ? tls_context_new(&tls, &r->tls) : TLS_E_OK;
    if (error != TLS_E_OK) {
        (void)snprintf(ret_error, error_bytes, "TLS for routes: %s%s%s (tls.ca_file)",
                       tls.ca_file ? tls.ca_file : "", tls.ca_file ? ": " : "",
                       tls_error_text(error));
    }
    return error == TLS_E_OK;
}

static void route_init(struct relays *r, struct relay_route *route, const struct ctl_route *config)
{
    route->relays = r;
    route->config = config;
    route->pace.data = route;
    (void)uv_timer_init(r->ctl->loop, &route->pace);
    if (config->type == CTL_ROUTE_SES) {
        route->ses = ses_open(route);
    } else {
        relay_rate_limit(&route->rate, uv_now(r->ctl->loop), config->max_per_s * UINT64_C(1000));
    }
}

struct relays *relays_open(struct ctl *ctl, char *ret_error, size_t error_bytes)
{
    struct relays *r = calloc(1, sizeof *r);
    if (!r || !(r->routes = calloc(ctl->config.n_routes + 1, sizeof r->routes[0]))) {
        free(r);
        (void)snprintf(ret_error, error_bytes, "out of memory for the relays");
        return NULL;
    }
    r->ctl = ctl;
    r->n = ctl->config.n_routes;
    for (uint32_t i = 0; i < r->n; i++) {
        route_init(r, &r->routes[i], &ctl->config.routes[i]);
    }
    if (!open_tls(r, ret_error, error_bytes)) {
        free(r->routes);
        free(r);
        return NULL;
    }
    r->tick.data = r;
    (void)uv_timer_init(ctl->loop, &r->tick);
    if (ctl->lanes->list[LANE_RELAY].chan) {
        lanes_salvage_relay(ctl->lanes);
        (void)uv_timer_start(&r->tick, on_tick, 0, TICK_MS);
    }
    return r;
}

void relays_stop(struct relays *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        for (struct relay_session *s = r->routes[i].sessions; s; s = s->next) {
            relay_session_close(s);
        }
        if (r->routes[i].ses) {
            ses_stop(r->routes[i].ses);
        }
    }
}

void relays_close(struct relays *r)
{
    if (!r) {
        return;
    }
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->routes[i].ses) {
            ses_close(r->routes[i].ses);
        }
        free(r->routes[i].line);
    }
    if (r->ready) {
        chan_lane_close(&r->lane);
    }
    if (r->tls) {
        tls_context_free(r->tls);
    }
    free(r->routes);
    free(r);
}

/* ---- telling ----------------------------------------------------------------------------- */
