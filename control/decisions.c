/* decisions.c - the engine's place in the process: see decisions.h. What is kept on disk is
 * decisions_file.c's, what goes in from the configuration decisions_config.c's. */
#include "control/decisions_private.h"

#include "control/addresses.h"
#include "control/events.h"
#include "control/job.h"
#include "control/lanes.h"

#define FLOWS_GRANTED 16384u
#define TAIL_NAMES    256u

/* ---- time -------------------------------------------------------------------------------- */

uint64_t decisions_now_ms(struct decisions *d)
{
    uint64_t now_ms = (uint64_t)ctl_time_ms();
    d->now_ms = now_ms > d->now_ms ? now_ms : d->now_ms;
    return d->now_ms;
}

static void on_timer(uv_timer_t *timer)
{
    struct decisions *d = timer->data;
    (void)strategy_tick(d->engine, decisions_now_ms(d));
    if (d->changed) {
        decisions_save(d);
    }
}

static bool has_closed(const struct decisions *d, const struct ctl_job *job)
{
    return job->planned && job->flying && !job->recalled && !job->ending &&
           job->lane != JOB_NO_LANE && job->lane != LANE_RELAY &&
           strategy_is_closed(d->engine, job->endpoint, job->provider);
}

/* Nothing begins on a path that has closed, however long a lane's line for it is (I3). */
static void on_look(uv_timer_t *timer)
{
    struct decisions *d = timer->data;
    bool any = false;
    for (struct ctl_job *job = d->ctl->jobs; job; job = job->next) {
        if (has_closed(d, job)) {
            lanes_recall(d->ctl->lanes, job);
            any = true;
        }
    }
    if (any) {
        lanes_recall_end(d->ctl->lanes);
    }
}

/* ---- open and close ---------------------------------------------------------------------- */

/* Untouched memory costs nothing, so there is room for a long tail of providers. */
static struct strategy_limits limits_of(const struct ctl_config *config)
{
    struct strategy_limits l = strategy_limits_default();
    uint32_t endpoints = (config->dp.n_pools + 8) * POOL_GROUPS_MAX + config->n_routes;
    l.n_pools_max += config->dp.n_pools + ADDRESSES_POOLS_MORE;
    l.n_endpoints_max = l.n_endpoints_max > endpoints * 2 ? l.n_endpoints_max : endpoints * 2;
    l.pace_half_ms = 10 * SECOND_MS;
    l.retry_min_ms = SECOND_MS;
    l.outage_wait_ms = (uint64_t)config->delivery.backoff.step_s[0] * 1000;
    return l;
}

static bool make_engine(struct decisions *d)
{
    d->limits = limits_of(&d->ctl->config);
    d->memory = calloc(1, strategy_engine_bytes(&d->limits));
    if (!d->memory) {
        return false;
    }
    d->engine = strategy_engine_init(d->memory, &d->limits);
    d->grants = grants_new(d->engine, FLOWS_GRANTED);
    return d->grants != NULL;
}

struct decisions *decisions_open(struct ctl *ctl, char *ret_error, size_t error_bytes)
{
    struct decisions *d = ctl_must(calloc(1, sizeof *d));
    d->ctl = ctl;
    (void)ctl_must(make_engine(d) ? d : NULL);
    reply_index_init(&d->replies);
    decisions_load(d);
    (void)strategy_tick(d->engine, decisions_now_ms(d)); /* senders begin on this day */
    if (!decisions_configure(d, ret_error, error_bytes)) {
        decisions_close(d);
        return NULL;
    }
    d->timer.data = d;
    (void)uv_timer_init(ctl->loop, &d->timer);
    (void)uv_timer_start(&d->timer, on_timer, DECISIONS_SAVE_MS, DECISIONS_SAVE_MS);
    uv_unref((uv_handle_t *)&d->timer);
    d->look.data = d;
    (void)uv_timer_init(ctl->loop, &d->look);
    (void)uv_timer_start(&d->look, on_look, DECISIONS_LOOK_MS, DECISIONS_LOOK_MS);
    uv_unref((uv_handle_t *)&d->look);
    return d;
}

void decisions_stop(struct decisions *d)
{
    (void)uv_timer_stop(&d->timer);
    (void)uv_timer_stop(&d->look);
    decisions_save_now(d);
}

void decisions_close(struct decisions *d)
{
    if (!d) {
        return;
    }
    grants_free(d->grants);
    free(d->memory);
    free(d);
}

struct strategy_engine *decisions_engine(struct decisions *d)
{
    return d->engine;
}

struct strategy_engine *decisions_copy(const struct decisions *d, void **ret_memory)
{
    size_t n_bytes = strategy_save_bytes(d->engine);
    void *image = malloc(n_bytes), *memory = calloc(1, strategy_engine_bytes(&d->limits));
    struct strategy_engine *copy = NULL;
    if (image && memory) {
        strategy_save(d->engine, image);
        copy = strategy_engine_init(memory, &d->limits);
        copy = strategy_load(copy, image, n_bytes) == STRATEGY_OK ? copy : NULL;
    }
    free(image);
    if (!copy) {
        free(memory);
        return NULL;
    }
    *ret_memory = memory;
    return copy;
}

/* ---- grants ------------------------------------------------------------------------------ */

void decisions_provider(const struct decisions *d, const char *name, char *ret_provider)
{
    if (strategy_provider_fits(d->engine, name, TAIL_NAMES)) {
        (void)snprintf(ret_provider, STRATEGY_NAME_BYTES, "%s", name);
        return;
    }
    (void)snprintf(ret_provider, STRATEGY_NAME_BYTES, "tail:%02x",
                   (unsigned)(fx_hash(FX_HASH, name, strlen(name)) % TAIL_NAMES));
}

static void tell_change(struct decisions *d, const struct strategy_key *key)
{
    struct strategy_record record;
    char line[512];
    if (strategy_why(d->engine, key, &record) != STRATEGY_OK) {
        return;
    }
    (void)strategy_why_line(d->engine, key, &record, line, sizeof line);
    events_decision(d->ctl, key, &record, line);
}

bool decisions_ask(struct decisions *d, const struct grant_request *request,
                   struct grant *ret_grant)
{
    enum strategy_error error = grants_ask(d->grants, decisions_now_ms(d), request, ret_grant);
    d->changed = true;
    if (error != STRATEGY_OK) {
        ctl_log(CTL_LOG_ERROR, "no decision", "sender=%s provider=%s reason=\"%s\"",
                request->key.sender, request->key.provider, strategy_error_text(error));
        return false;
    }
    if (ret_grant->is_new) {
        tell_change(d, &request->key);
    }
    return true;
}

void decisions_return(struct decisions *d, const struct strategy_key *key, uint32_t slot,
                      uint32_t n)
{
    grants_return(d->grants, decisions_now_ms(d), key, slot, n);
}

/* ---- what comes back --------------------------------------------------------------------- */

void decisions_classify(const struct decisions *d, uint16_t code, const uint8_t enhanced[3],
                        const char *text, struct reply_verdict *ret_verdict)
{
    char reply[REPLY_BYTES_MAX];
    int n = 0;
    if (code != 0) {
        n = snprintf(reply, sizeof reply, "%u ", code);
    }
    if (enhanced[0] != 0) {
        n += snprintf(reply + n, sizeof reply - (size_t)n, "%u.%u.%u ", enhanced[0], enhanced[1],
                      enhanced[2]);
    }
    n += snprintf(reply + n, sizeof reply - (size_t)n, "%s", text);
    size_t len = (size_t)n < sizeof reply ? (size_t)n : sizeof reply - 1;
    reply_classify(&d->replies, reply, len, ret_verdict);
}

static uint64_t sent_at(int64_t sent_ms)
{
    return sent_ms > 0 ? (uint64_t)sent_ms : NEVER_MS;
}

/* Connections are opened several at a time, and a receiver that limits their number refuses all
 * but the first: within a second that is one signal and not one for each. */
static bool is_echo(struct decisions *d, const struct strategy_key *key, const char *path,
                    const struct reply_verdict *verdict, uint64_t now_ms)
{
    if (verdict->class != REPLY_RATE_CONN) {
        return false;
    }
    uint64_t hash = fx_hash(FX_HASH, path, strlen(path) + 1);
    hash = fx_hash(hash, key->provider, strlen(key->provider));
    uint64_t *last_ms = &d->refused_ms[fx_mix(hash) % REFUSED_SLOTS];
    bool echo = now_ms - *last_ms < SECOND_MS;
    *last_ms = echo ? *last_ms : now_ms;
    return echo;
}

void decisions_outcome(struct decisions *d, const struct strategy_key *key, const char *path,
                       const struct reply_verdict *verdict, int64_t sent_ms)
{
    const struct strategy_outcome outcome = {
        .key = *key,
        .path = path,
        .n = 1,
        .verdict = *verdict,
        .sent_ms = sent_at(sent_ms),
    };
    uint64_t now_ms = decisions_now_ms(d);
    if (!is_echo(d, key, path, verdict, now_ms)) {
        (void)strategy_outcome(d->engine, now_ms, &outcome);
        d->changed = true;
    }
}

bool decisions_late(struct decisions *d, enum strategy_late what, const struct strategy_key *key,
                    const char *path, int64_t sent_ms, const char **ret_error)
{
    const struct strategy_outcome late = {
        .key = *key, .path = path, .n = 1, .sent_ms = sent_at(sent_ms)};
    enum strategy_error error = strategy_late(d->engine, decisions_now_ms(d), what, &late);
    d->changed = true;
    *ret_error = strategy_error_text(error);
    return error == STRATEGY_OK;
}
