/*
 * stream.c - what the outcomes of a stream say about its list, its consent and its content, and
 * those of a sender at a provider about its domain and its authentication. These faults follow the
 * message: they never reroute (guard.c says what they do).
 */
#include "strategies/parts.h"

#define QUARANTINE_MS      DAY_MS
#define COMPLAINTS_HOLD_MS DAY_MS
#define CONTENT_MEMORY_MS  (6 * HOUR_MS)
#define DOMAIN_MS          DAY_MS
#define AUTH_MS            (6 * HOUR_MS)
#define REP_HALF           5000u

/* ---- the last 10,000 ---- */

static void rep_feed(struct st_stream *s, uint32_t n, uint32_t n_hard, uint32_t n_complaints)
{
    s->rep_n[1] = fx_add32(s->rep_n[1], n);
    s->rep_hard[1] = fx_add32(s->rep_hard[1], n_hard);
    s->rep_complaints[1] = fx_add32(s->rep_complaints[1], n_complaints);
    if (s->rep_n[1] < REP_HALF)
        return;
    s->rep_n[0] = s->rep_n[1];
    s->rep_hard[0] = s->rep_hard[1];
    s->rep_complaints[0] = s->rep_complaints[1];
    s->rep_n[1] = s->rep_hard[1] = s->rep_complaints[1] = 0;
}

uint32_t st_stream_hard_ppm(const struct st_stream *s)
{
    uint32_t n = fx_add32(s->rep_n[0], s->rep_n[1]);

    return n < 200 ? 0 : (uint32_t)((uint64_t)(s->rep_hard[0] + s->rep_hard[1]) * PPM / n);
}

uint32_t st_stream_complaints_ppm(const struct st_stream *s)
{
    uint32_t n = fx_add32(s->rep_n[0], s->rep_n[1]);

    return n < 2000 ? 0
                    : (uint32_t)((uint64_t)(s->rep_complaints[0] + s->rep_complaints[1]) * PPM / n);
}

/* ---- evidence ---- */

static struct strategy_evidence evidence_of(const struct cusum *c, const struct cusum_rule *rule,
                                            enum strategy_signal signal, uint64_t now_ms,
                                            uint64_t expires_ms)
{
    return (struct strategy_evidence){.signal = signal,
                                      .endpoint = ST_NONE,
                                      .n = c->n,
                                      .observed = c->n_bad,
                                      .statistic_milli = (int64_t)((uint64_t)c->s * 1000 >> 20),
                                      .threshold_milli =
                                          (int64_t)((uint64_t)rule->alarm * 1000 >> 20),
                                      .since_ms = now_ms,
                                      .expires_ms = expires_ms};
}

void st_stream_quarantine(struct st_stream *s, uint64_t now_ms, enum strategy_cause cause,
                          const struct strategy_evidence *evidence)
{
    uint8_t n = s->n_quarantines < 3 ? s->n_quarantines : 3;

    if (s->is_transactional) /* I13 */
        return;
    s->quarantine = QUAR_HOLD;
    s->quarantine_cause = (uint8_t)cause;
    s->quarantine_until_ms = now_ms + (QUARANTINE_MS << n);
    s->quarantine_evidence = *evidence;
    s->quarantine_evidence.since_ms = now_ms;
    s->quarantine_evidence.expires_ms = s->quarantine_until_ms;
    s->n_quarantines++;
    s->canary = CANARY_NO;
}

/* ---- hard bounces ---- */

void st_stream_hard(struct strategy_engine *e, uint32_t stream, uint64_t now_ms, uint32_t n_good,
                    uint32_t n_bad)
{
    struct st_stream *s = &e->streams[stream];

    rep_feed(s, n_good + n_bad, n_bad, 0);
    if (s->canary == CANARY_RUNNING) {
        s->canary_done = fx_add32(s->canary_done, n_good + n_bad);
        s->canary_hard = fx_add32(s->canary_hard, n_bad);
    }
    if (!cusum_feed(&s->hard, &CUSUM_HARD_BOUNCE, n_good, n_bad))
        return;
    struct strategy_evidence evidence =
        evidence_of(&s->hard, &CUSUM_HARD_BOUNCE, STRATEGY_SIGNAL_HARD_BOUNCE, now_ms, NEVER_MS);
    cusum_reset(&s->hard);
    if (s->quarantine != QUAR_HOLD)
        st_stream_quarantine(s, now_ms, STRATEGY_C_S_BAD_LIST, &evidence);
}

/* ---- complaints ---- */

/* Trials that the delay curve has released since the last look. Complaints follow opens: the curve
 * is the same. */
static uint32_t released(struct st_stream *s, uint64_t now_ms)
{
    uint64_t folded_q16 = 0;
    uint32_t ignored = 0;

    st_cohorts_roll(&s->accepted, now_ms, &folded_q16, &ignored);
    s->folded_q16 += folded_q16;
    uint64_t total = s->folded_q16 + st_cohorts_trials_q16(&s->accepted, now_ms, COHORTS);
    uint32_t more = fx_clamp32(fx_sub64(total, s->released_q16) >> 16);
    s->released_q16 += (uint64_t)more << 16;
    return more;
}

void st_stream_accepted(struct strategy_engine *e, uint32_t stream, uint64_t now_ms,
                        uint64_t sent_ms, uint32_t n)
{
    struct st_stream *s = &e->streams[stream];

    (void)cusum_feed(&s->complaint, &CUSUM_COMPLAINT, released(s, now_ms), 0);
    st_cohorts_sent(&s->accepted, now_ms, sent_ms, n);
}

/* Half speed; at 0.5 % hold. The rate over everything that was accepted must be high as well: then
 * complaints that come faster than the curve says raise no false alarm. */
static void complaints_start(struct st_stream *s, uint64_t now_ms,
                             const struct strategy_evidence *evidence)
{
    s->complaints_active = true;
    s->complaints_until_ms = now_ms + COMPLAINTS_HOLD_MS;
    s->complaints_evidence = *evidence;
    s->complaints_evidence.expires_ms = s->complaints_until_ms;
}

void st_stream_complaints(struct strategy_engine *e, uint32_t stream, uint64_t now_ms, uint32_t n)
{
    struct st_stream *s = &e->streams[stream];

    rep_feed(s, 0, 0, n);
    if (!cusum_feed(&s->complaint, &CUSUM_COMPLAINT, released(s, now_ms), n) ||
        st_stream_complaints_ppm(s) < 1000)
        return;
    struct strategy_evidence evidence =
        evidence_of(&s->complaint, &CUSUM_COMPLAINT, STRATEGY_SIGNAL_COMPLAINT, now_ms, NEVER_MS);
    cusum_reset(&s->complaint);
    complaints_start(s, now_ms, &evidence);
}

/* ---- content ---- */

static void content_seen(struct st_stream *s, uint32_t endpoint, uint64_t now_ms)
{
    if (s->content_endpoint == ST_NONE || now_ms - s->content_ms > CONTENT_MEMORY_MS) {
        s->content_endpoint = endpoint;
        s->content_twice = false;
    } else if (s->content_endpoint != endpoint) {
        s->content_twice = true;
    }
    s->content_ms = now_ms;
}

void st_stream_content(struct strategy_engine *e, uint32_t stream, uint32_t endpoint,
                       uint64_t now_ms, uint32_t n_good, uint32_t n_bad)
{
    struct st_stream *s = &e->streams[stream];

    if (n_bad > 0)
        content_seen(s, endpoint, now_ms);
    bool alarm = cusum_feed(&s->content, &CUSUM_REPUTATION, n_good, n_bad);
    if (!alarm || !s->content_twice)
        return;
    struct strategy_evidence evidence =
        evidence_of(&s->content, &CUSUM_REPUTATION, STRATEGY_SIGNAL_CONTENT, now_ms, NEVER_MS);
    evidence.endpoint = endpoint;
    cusum_reset(&s->content);
    if (s->quarantine != QUAR_HOLD)
        st_stream_quarantine(s, now_ms, STRATEGY_C_S_CONTENT, &evidence);
}

/* ---- domain and authentication of a sender at a provider ---- */

static void fault_raise(struct st_fault *f, enum strategy_signal signal, uint64_t now_ms,
                        const char *code)
{
    bool auth = signal == STRATEGY_SIGNAL_AUTH;
    uint64_t until_ms = now_ms + (auth ? AUTH_MS : DOMAIN_MS);

    f->evidence = evidence_of(&f->cusum, &CUSUM_REPUTATION, signal, now_ms, until_ms);
    (void)snprintf(f->evidence.text, sizeof f->evidence.text, "%s", code);
    cusum_reset(&f->cusum);
    f->level = auth || f->level >= 1 ? 2 : 1;
    f->since_ms = f->test_ms = now_ms;
    f->until_ms = until_ms;
    f->since = (struct window50){0};
}

/* Outcomes of mail sent before the fault was seen say nothing about whether it is over. */
void st_fault_feed(struct st_fault *f, enum strategy_signal signal, uint64_t now_ms,
                   uint64_t sent_ms, uint32_t n_good, uint32_t n_bad, const char *code)
{
    bool alarm = cusum_feed(&f->cusum, &CUSUM_REPUTATION, n_good, n_bad);

    if (f->level == 0) {
        if (alarm)
            fault_raise(f, signal, now_ms, code);
        return;
    }
    if (sent_ms <= f->since_ms)
        return;
    window50_feed(&f->since, n_good, n_bad);
    if (alarm && now_ms - f->since_ms >= HOUR_MS)
        fault_raise(f, signal, now_ms, code);
    else if (signal == STRATEGY_SIGNAL_AUTH && f->since.n >= 8 &&
             f->since.bad_q8 * 10u <= f->since.n * 256u)
        *f = (struct st_fault){0};
}

/* Ends by itself: a level a period (I12). */
void st_fault_poll(struct st_fault *f, uint64_t now_ms)
{
    while (f->level > 0 && now_ms >= f->until_ms) {
        f->level--;
        f->since_ms = f->until_ms;
        f->until_ms += DOMAIN_MS;
        f->evidence.expires_ms = f->until_ms;
        cusum_reset(&f->cusum);
    }
}
