/*
 * outcome.c - events in: whose fault an outcome is, and to whose account it goes. Time only moves
 * forward; an event that names something unknown changes nothing.
 */
#include "strategies/parts.h"

#include <string.h>

#define GREY_MS (6 * HOUR_MS)

struct target { /* of an event */
    uint32_t sender, stream, provider, flow, cell, endpoint, slot, path, arm;
    uint64_t now_ms, sent_ms;
};

static enum strategy_error time_pass(struct strategy_engine *e, uint64_t now_ms)
{
    if (now_ms < e->head.now_ms)
        return STRATEGY_E_TIME;
    e->head.now_ms = now_ms;
    return STRATEGY_OK;
}

static enum strategy_error find_known(const struct strategy_engine *e, uint64_t now_ms,
                                      const struct strategy_outcome *o, struct target *t)
{
    if (now_ms < e->head.now_ms)
        return STRATEGY_E_TIME;
    if (!st_name_ok(o->key.sender) || !st_name_ok(o->key.stream) || !st_name_ok(o->key.provider) ||
        !st_name_ok(o->path))
        return STRATEGY_E_NAME;
    t->sender = st_find(e, NAME_SENDER, 0, o->key.sender);
    if (t->sender == ST_NONE)
        return STRATEGY_E_UNKNOWN_SENDER;
    t->endpoint = st_find(e, NAME_ENDPOINT, 0, o->path);
    if (t->endpoint == ST_NONE)
        return STRATEGY_E_UNKNOWN_PATH;
    t->slot = st_slot_of(&e->senders[t->sender], t->endpoint);
    return t->slot == ST_NONE ? STRATEGY_E_UNKNOWN_PATH : STRATEGY_OK;
}

static enum strategy_error find_target(struct strategy_engine *e, uint64_t now_ms,
                                       const struct strategy_outcome *o, struct target *t)
{
    enum strategy_error error = find_known(e, now_ms, o, t);

    if (error != STRATEGY_OK)
        return error;
    e->head.now_ms = now_ms;
    t->now_ms = now_ms;
    t->sent_ms = o->sent_ms > now_ms ? now_ms : o->sent_ms;
    t->provider = st_provider_get(e, o->key.provider);
    if (t->provider == ST_NONE)
        return STRATEGY_E_LIMIT;
    t->stream = st_stream_get(e, t->sender, o->key.stream);
    t->flow = st_flow_get(e, t->stream, t->provider);
    if (t->flow == ST_NONE)
        return STRATEGY_E_LIMIT;
    t->cell = e->flows[t->flow].cell;
    t->arm = st_arm_get(e, t->cell, t->slot);
    if (t->arm == ST_NONE)
        return STRATEGY_E_LIMIT;
    t->path = e->arms[t->arm].path;
    return STRATEGY_OK;
}

/* ---- accounts ---- */

static void cohorts_roll(struct strategy_engine *e, const struct target *t)
{
    struct st_cell *c = &e->cells[t->cell];
    uint64_t n_q16 = 0;
    uint32_t seen = 0;

    st_cohorts_roll(&e->arms[t->arm].cohorts, t->now_ms, &n_q16, &seen);
    c->slow_n_q4 += n_q16 >> 12;
    c->slow_seen_q4 += (uint64_t)seen * 16;
}

static void accepted(struct strategy_engine *e, const struct target *t, uint32_t n)
{
    struct st_cell *c = &e->cells[t->cell];

    st_volume_accepted(&e->senders[t->sender], t->now_ms, n);
    st_cell_roll(c, t->now_ms, st_n_addresses(&e->senders[t->sender]));
    c->accepted[c->day % 7] = fx_add32(c->accepted[c->day % 7], n);
    st_stream_accepted(e, t->stream, t->now_ms, t->sent_ms, n);
    cohorts_roll(e, t);
    st_cohorts_sent(&e->arms[t->arm].cohorts, t->now_ms, t->sent_ms, n);
}

/* Domain and authentication faults are the sender's at this provider; its bulk cell keeps them. */
static void faults(struct strategy_engine *e, const struct target *t, uint32_t n,
                   const struct reply_verdict *v)
{
    bool bad_domain = v->class == REPLY_REP_DOM, bad_auth = v->class == REPLY_AUTH;
    uint32_t cell = bad_domain || bad_auth ? st_cell_get(e, t->sender, false, t->provider)
                                           : st_cell_find(e, t->sender, false, t->provider);

    if (cell == ST_NONE || (!bad_domain && !bad_auth && v->class != REPLY_OK))
        return;
    struct st_cell *c = &e->cells[cell];
    st_fault_feed(&c->domain, STRATEGY_SIGNAL_DOMAIN, t->now_ms, t->sent_ms, bad_domain ? 0 : n,
                  bad_domain ? n : 0, v->code);
    st_fault_feed(&c->auth, STRATEGY_SIGNAL_AUTH, t->now_ms, t->sent_ms, bad_auth ? 0 : n,
                  bad_auth ? n : 0, v->code);
}

static void path_batch(struct strategy_engine *e, const struct target *t, uint32_t n,
                       const struct reply_verdict *v)
{
    struct st_batch b = {0};

    switch (v->class) {
    case REPLY_OK:
    case REPLY_BAD_RCPT:
    case REPLY_INACTIVE:
    case REPLY_FULL:
        b.n_good = n;
        break;
    case REPLY_RATE_CONN:
    case REPLY_RATE_PERCONN:
        b.rate = true;
        b.n_deferred = n;
        break;
    case REPLY_REP_IP_TEMP:
        b.n_deferred = n;
        break;
    case REPLY_REP_IP_PERM:
        b.n_blocked = n;
        break;
    case REPLY_PROV_DOWN:
        b.n_down = n;
        break;
    case REPLY_RATE_RCPT:
    case REPLY_REP_DOM:
    case REPLY_CONTENT:
    case REPLY_AUTH:
    case REPLY_GREYLIST:
    case REPLY_RELAY_FAIL:
    case REPLY_PROTO:
    case REPLY_UNKNOWN:
    case REPLY_CLASSES:
        return;
    }
    struct st_path *path = &e->paths[t->path];
    if (b.n_good == 0) {
        memcpy(path->code, v->code[0] == '\0' ? "no answer" : v->code,
               v->code[0] == '\0' ? sizeof "no answer" : sizeof path->code);
        path->open_h_min = v->open_h > path->open_h_min ? v->open_h : path->open_h_min;
    }
    st_path_add(e, t->path, t->sender, t->now_ms, &b);
}

static void relay_outcome(struct strategy_engine *e, const struct target *t, uint32_t n,
                          const struct reply_verdict *v)
{
    struct st_endpoint *relay = &e->endpoints[t->endpoint];

    if (v->class != REPLY_RELAY_FAIL) {
        st_relay_result(relay, t->endpoint, t->now_ms, n, 0, v->code);
        return;
    }
    if (v->quota)
        st_relay_quota_spent(relay, t->now_ms);
    else if (v->rate)
        st_pace_cut(&e->paths[t->path].pace, t->now_ms, 50);
    else
        st_relay_result(relay, t->endpoint, t->now_ms, 0, n,
                        v->code[0] == '\0' ? "no answer" : v->code);
}

static void count_replies(struct strategy_engine *e, const struct target *t, uint32_t n,
                          enum reply_class class)
{
    struct st_provider *p = &e->providers[t->provider];

    p->n_replies = fx_add32(p->n_replies, n);
    if (class != REPLY_UNKNOWN)
        return;
    p->n_unknown = fx_add32(p->n_unknown, n);
    e->head.counters.n_unknown_replies += n;
}

static void apply(struct strategy_engine *e, const struct target *t, uint32_t n,
                  const struct reply_verdict *v)
{
    bool ok = v->class == REPLY_OK, hard = reply_blames_recipient(v->class);

    if (!e->endpoints[t->endpoint].is_address)
        relay_outcome(e, t, n, v);
    if (v->class == REPLY_RELAY_FAIL)
        return;
    if (ok) {
        accepted(e, t, n);
        st_outage_ok(&e->providers[t->provider], t->endpoint, t->now_ms);
    }
    struct st_stream_batch batch = {ok ? n : 0, hard ? n : 0, v->class == REPLY_CONTENT ? n : 0};
    if (ok || hard || v->class == REPLY_CONTENT)
        st_stream_add(e, t->stream, t->now_ms, t->endpoint, &batch);
    faults(e, t, n, v);
    if (v->class == REPLY_GREYLIST) {
        e->flows[t->flow].grey_slot = (uint8_t)(t->slot + 1);
        e->flows[t->flow].grey_until_ms = t->now_ms + GREY_MS;
    }
    path_batch(e, t, n, v);
    if (hard)
        e->paths[t->path].warmup.n_hard = fx_add32(e->paths[t->path].warmup.n_hard, n);
    if (v->list)
        st_path_list_text(e, t->path, t->sender, t->now_ms, n, v);
}

/* Numbers that no sum can overflow. */
static uint32_t bounded(uint32_t n)
{
    return fx_min32(n, UINT32_MAX / 16);
}

enum strategy_error strategy_outcome(struct strategy_engine *e, uint64_t now_ms,
                                     const struct strategy_outcome *outcome)
{
    struct target t;
    struct reply_verdict v = outcome->verdict;
    enum strategy_error error = find_target(e, now_ms, outcome, &t);

    if (error != STRATEGY_OK)
        return error;
    /* No reply at all from a relay is the relay's failure, not the provider's. */
    if (v.class == REPLY_PROV_DOWN && v.rule != 0 && v.code[0] == '\0' &&
        !e->endpoints[t.endpoint].is_address)
        v.class = REPLY_RELAY_FAIL;
    e->head.counters.n_outcomes++;
    if (outcome->n == 0)
        return STRATEGY_OK;
    count_replies(e, &t, bounded(outcome->n), v.class);
    apply(e, &t, bounded(outcome->n), &v);
    return STRATEGY_OK;
}

enum strategy_error strategy_late(struct strategy_engine *e, uint64_t now_ms,
                                  enum strategy_late what, const struct strategy_outcome *late)
{
    struct target t;
    enum strategy_error error = find_target(e, now_ms, late, &t);
    uint32_t n = bounded(late->n);

    if (error != STRATEGY_OK)
        return error;
    struct st_warmup *w = &e->paths[t.path].warmup;
    switch (what) {
    case STRATEGY_OPENS:
        cohorts_roll(e, &t);
        (void)st_cohorts_seen(&e->arms[t.arm].cohorts, now_ms, t.sent_ms, n);
        break;
    case STRATEGY_COMPLAINTS:
        w->n_complaints = fx_add32(w->n_complaints, n);
        st_stream_complaints(e, t.stream, now_ms, t.sent_ms, n);
        break;
    case STRATEGY_HARD_BOUNCES:
        w->n_hard = fx_add32(w->n_hard, n);
        st_stream_add(e, t.stream, now_ms, t.endpoint, &(struct st_stream_batch){.n_hard = n});
        break;
    }
    return STRATEGY_OK;
}

enum strategy_error strategy_dnsbl(struct strategy_engine *e, uint64_t now_ms, const char *ip,
                                   const char *zone, enum strategy_listing listing)
{
    uint32_t id = st_name_ok(ip) ? st_find(e, NAME_ENDPOINT, 0, ip) : ST_NONE;

    if (id == ST_NONE || !e->endpoints[id].is_address)
        return STRATEGY_E_UNKNOWN_PATH;
    if (time_pass(e, now_ms) != STRATEGY_OK)
        return STRATEGY_E_TIME;
    struct st_endpoint *address = &e->endpoints[id];
    st_drain_poll(address, now_ms);
    switch (listing) {
    case STRATEGY_CLEAN:
        st_drain_clean(address, now_ms, zone);
        break;
    case STRATEGY_LISTED:
        st_drain_start(address, id, now_ms, zone);
        break;
    case STRATEGY_POLICY_RANGE:
        e->head.counters.n_policy_range_alarms++;
        break;
    case STRATEGY_QUERY_FAILED:
        e->head.counters.n_dnsbl_errors++;
        break;
    case STRATEGY_LISTED_OTHER:
    case STRATEGY_DOMAIN_LIST:
        break;
    }
    return STRATEGY_OK;
}

enum strategy_error strategy_retire(struct strategy_engine *e, uint64_t now_ms, const char *ip,
                                    bool retired)
{
    uint32_t id = st_name_ok(ip) ? st_find(e, NAME_ENDPOINT, 0, ip) : ST_NONE;

    if (id == ST_NONE || !e->endpoints[id].is_address)
        return STRATEGY_E_UNKNOWN_PATH;
    if (time_pass(e, now_ms) != STRATEGY_OK)
        return STRATEGY_E_TIME;
    st_drain_retire(&e->endpoints[id], id, now_ms, retired);
    return STRATEGY_OK;
}

enum strategy_error strategy_tick(struct strategy_engine *e, uint64_t now_ms)
{
    return time_pass(e, now_ms);
}

void strategy_counters(const struct strategy_engine *e, struct strategy_counters *ret)
{
    *ret = e->head.counters;
}
