/* relay.c - routes: their lines of waiting jobs, their health, and the lane side of their channel.
 * See relay.h. */
#include "control/relay_private.h"

#include "control/dispatch.h"

#define TICK_MS   100
#define CLEAR_MS  600000
#define LINE_FULL 256u /* jobs of one route that wait or run; more stay in the queue */

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

/* ---- health ------------------------------------------------------------------------------ */

void relay_route_good(struct relay_route *route)
{
    if (route->down_until_ms != 0) {
        ctl_log(CTL_LOG_INFO, "a relay works again", "route=%s", route->config->name);
        dispatch_wake(route->relays->ctl);
    }
    route->failures = route->downs = 0;
    route->down_until_ms = 0;
    route->probing = false;
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
    while (relay_next(route, &slot)) {
        relay_fail(route, slot, OUTCOME_RETURNED, OUTCOME_STAGE_NONE, "the relay is down");
    }
}

void relay_route_bad(struct relay_route *route, const char *why)
{
    route->failed++;
    route->probing = false;
    (void)snprintf(route->last, sizeof route->last, "%s", why);
    if (++route->failures < RELAY_FAILURES && route->down_until_ms == 0) {
        return;
    }
    int64_t wait_ms = RELAY_DOWN_MS;
    for (uint32_t i = 0; i < route->downs && wait_ms < RELAY_DOWN_MS_MAX; i++) {
        wait_ms *= 2;
    }
    route->downs++;
    wait_ms = wait_ms < RELAY_DOWN_MS_MAX ? wait_ms : RELAY_DOWN_MS_MAX;
    route->down_until_ms = (int64_t)uv_now(route->relays->ctl->loop) + wait_ms;
    ctl_log(CTL_LOG_WARN, "a relay is down", "route=%s for_ms=%lld reason=\"%s\"",
            route->config->name, (long long)wait_ms, why);
    hand_back(route);
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

bool relay_has_room(const struct relays *relays, uint32_t route)
{
    const struct relay_route *r = &relays->routes[route];
    return r->n_line + r->n_sessions - r->n_idle < LINE_FULL;
}

void relays_hand_back(struct relays *relays)
{
    for (uint32_t i = 0; relays->ready && i < relays->n; i++) {
        hand_back(&relays->routes[i]);
    }
}

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
    relay_session_test(test.route, answer, test.done, test.user);
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

/* ---- the line ---------------------------------------------------------------------------- */

bool relay_next(struct relay_route *route, uint32_t *ret_slot)
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
        if (relay_next(route, &slot)) {
            relay_fail(route, slot, OUTCOME_DEFERRED, OUTCOME_STAGE_RESOLVE, answer->text);
        }
        relay_route_bad(route, answer->text);
        return;
    }
    relay_run(route);
}

void relay_run(struct relay_route *route)
{
    struct relays *r = route->relays;
    struct relay_session *idle;
    uint32_t slot;
    while (route->n_line > 0 && (idle = idle_session(route)) != NULL && relay_next(route, &slot)) {
        relay_session_reuse(idle, slot);
    }
    uint32_t limit = route->down_until_ms != 0 ? 1 : route->config->connections;
    while (route->n_line > 0 && route->n_sessions < limit && !route->resolving) {
        char name[260];
        host_name(route, name);
        const struct dns_answer *answer = dns_cached(r->ctl->dns, name);
        if (!answer) {
            route->resolving = true;
            dns_lookup(r->ctl->dns, name, on_resolved, route);
            return;
        }
        if (answer->status != DNS_OK) {
            on_resolved(route, name, answer);
            return;
        }
        if (relay_next(route, &slot)) {
            relay_session_open(route, answer, slot);
        }
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
        r->routes[i].relays = r;
        r->routes[i].config = &ctl->config.routes[i];
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
    }
}

void relays_close(struct relays *r)
{
    if (!r) {
        return;
    }
    for (uint32_t i = 0; i < r->n; i++) {
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

static const char *state_text(const struct relays *r, uint32_t route)
{
    static const char *const texts[] = {
        [RELAY_UP] = "up", [RELAY_PROBING] = "probing", [RELAY_DOWN] = "down"};
    return r->routes[route].paused ? "paused" : texts[relay_health(r, route)];
}

json_t *relays_json(const struct relays *r)
{
    json_t *list = ctl_must(json_array());
    for (uint32_t i = 0; i < r->n; i++) {
        const struct relay_route *route = &r->routes[i];
        char url[300];
        (void)snprintf(url, sizeof url, "%s://%s:%u",
                       route->config->tls == SMTP_TLS_IMPLICIT ? "smtps" : "smtp",
                       route->config->host, route->config->port);
        json_t *object = ctl_must(json_pack(
            "{s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I}", "name", route->config->name, "type",
            "smtp", "url", url, "state", state_text(r, i), "connections", (int)route->n_sessions,
            "waiting", (int)route->n_line, "sent", (json_int_t)route->sent, "failures",
            (json_int_t)route->failed, "tls_broken", (json_int_t)route->tls_broken));
        json_t *last = json_string(route->last);
        (void)json_object_set_new(object, "last", last ? last : json_string("(not UTF-8)"));
        (void)json_array_append_new(list, object);
    }
    return list;
}
