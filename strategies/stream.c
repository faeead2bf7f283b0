/*
 * stream.c - what the outcomes of a stream say about its list, its consent and its content, and
 * those of a sender at a provider about its domain and its authentication. These faults follow the
 * message: they never reroute (guard.c says what they do).
 */
#include "strategies/parts.h"

#define QUARANTINE_MS       DAY_MS
#define COMPLAINTS_HOLD_MS  DAY_MS
#define COMPLAINTS_RETEST   5000u
#define COMPLAINTS_FINE_PPM 800u
#define CONTENT_MEMORY_MS   (6 * HOUR_MS)
#define DOMAIN_MS           DAY_MS
#define AUTH_MS             (6 * HOUR_MS)
#define REP_HALF            5000u

/* ---- the last 10,000 ---- */

/* part of n in the last 10,000 of n, as two halves. */
static void rep_feed(uint32_t n[2], uint32_t part[2], uint32_t n_more, uint32_t part_more)
{
    n[1] = fx_add32(n[1], n_more);
    part[1] = fx_add32(part[1], part_more);
    if (n[1] < REP_HALF)
        return;
    n[0] = n[1];
    part[0] = part[1];
    n[1] = part[1] = 0;
}

static uint32_t rep_ppm(const uint32_t n[2], const uint32_t part[2], uint32_t n_min)
{
    uint32_t sum = fx_add32(n[0], n[1]);

    return sum < n_min ? 0 : fx_clamp32(((uint64_t)part[0] + part[1]) * PPM / sum);
}

uint32_t st_stream_hard_ppm(const struct st_stream *s)
{
    return rep_ppm(s->rep_n, s->rep_hard, 200);
}

/* Of trials that the delay curve has released: complaints of a burst come after it. */
uint32_t st_stream_complaints_ppm(const struct st_stream *s)
{
    return rep_ppm(s->rep_trials, s->rep_complaints, 2000);
}

void st_stream_rep_reset(struct st_stream *s)
{
    for (unsigned i = 0; i < 2; i++)
        s->rep_n[i] = s->rep_hard[i] = s->rep_trials[i] = s->rep_complaints[i] = 0;
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

static void feed_hard(struct st_stream *s, uint64_t now_ms, uint32_t n_good, uint32_t n_bad)
{
    rep_feed(s->rep_n, s->rep_hard, n_good + n_bad, n_bad);
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
    rep_feed(s->rep_trials, s->rep_complaints, more, 0);
    s->after_trials = fx_add32(s->after_trials, more);
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
    s->after_trials = s->after_complaints = 0;
    s->complaints_until_ms = now_ms + COMPLAINTS_HOLD_MS;
    s->complaints_evidence = *evidence;
    s->complaints_evidence.expires_ms = s->complaints_until_ms;
}

void st_stream_complaints(struct strategy_engine *e, uint32_t stream, uint64_t now_ms,
                          uint64_t sent_ms, uint32_t n)
{
    struct st_stream *s = &e->streams[stream];

    if (now_ms - sent_ms > DAY_MS)
        return; /* the trials reach no further back */
    s->rep_complaints[1] = fx_add32(s->rep_complaints[1], n);
    s->after_complaints = fx_add32(s->after_complaints, n);
    if (!cusum_feed(&s->complaint, &CUSUM_COMPLAINT, released(s, now_ms), n) ||
        st_stream_complaints_ppm(s) < 1000)
        return;
    struct strategy_evidence evidence =
        evidence_of(&s->complaint, &CUSUM_COMPLAINT, STRATEGY_SIGNAL_COMPLAINT, now_ms, NEVER_MS);
    cusum_reset(&s->complaint);
    complaints_start(s, now_ms, &evidence);
}

/* One alarm in 10^6 mails is chance: it ends early when the next 5,000 trials are as good as ever.
 * At the 0.2 % that the detector looks for, ten of them would have complained. */
bool st_stream_complaints_over(const struct st_stream *s)
{
    return s->after_trials >= COMPLAINTS_RETEST &&
           (uint64_t)s->after_complaints * PPM < (uint64_t)s->after_trials * COMPLAINTS_FINE_PPM;
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

static void feed_content(struct st_stream *s, uint64_t now_ms, uint32_t n_good, uint32_t n_bad)
{
    bool alarm = cusum_feed(&s->content, &CUSUM_REPUTATION, n_good, n_bad);

    if (!alarm || !s->content_twice)
        return;
    struct strategy_evidence evidence =
        evidence_of(&s->content, &CUSUM_REPUTATION, STRATEGY_SIGNAL_CONTENT, now_ms, NEVER_MS);
    evidence.endpoint = s->content_endpoint;
    cusum_reset(&s->content);
    if (s->quarantine != QUAR_HOLD)
        st_stream_quarantine(s, now_ms, STRATEGY_C_S_CONTENT, &evidence);
}

/* ---- the batch of a second ---- */

void st_stream_flush(struct st_stream *s, uint64_t now_ms)
{
    uint32_t ok = s->batch_ok, hard = s->batch_hard, content = s->batch_content;

    s->batch_ok = s->batch_hard = s->batch_content = 0;
    if (ok + hard > 0)
        feed_hard(s, now_ms, ok, hard);
    if (ok + content > 0)
        feed_content(s, now_ms, ok, content);
}

static uint32_t add31(uint32_t a, uint32_t b)
{
    return fx_min32(fx_add32(a, b), UINT32_MAX / 4);
}

void st_stream_add(struct strategy_engine *e, uint32_t stream, uint64_t now_ms, uint32_t endpoint,
                   const struct st_stream_batch *batch)
{
    struct st_stream *s = &e->streams[stream];

    if (now_ms - s->batch_ms >= SECOND_MS) {
        st_stream_flush(s, s->batch_ms);
        s->batch_ms = now_ms;
    }
    if (batch->n_content > 0)
        content_seen(s, endpoint, now_ms);
    s->batch_ok = add31(s->batch_ok, batch->n_ok);
    s->batch_hard = add31(s->batch_hard, batch->n_hard);
    s->batch_content = add31(s->batch_content, batch->n_content);
}

/* ---- domain and authentication of a sender at a provider ---- */

static void fault_raise(struct st_fault *f, enum strategy_signal signal, uint64_t now_ms)
{
    bool auth = signal == STRATEGY_SIGNAL_AUTH;
    uint64_t until_ms = now_ms + (auth ? AUTH_MS : DOMAIN_MS);

    f->evidence = evidence_of(&f->cusum, &CUSUM_REPUTATION, signal, now_ms, until_ms);
    (void)snprintf(f->evidence.text, sizeof f->evidence.text, "%s", f->code);
    cusum_reset(&f->cusum);
    f->level = auth || f->level >= 1 ? 2 : 1;
    f->since_ms = f->test_ms = now_ms;
    f->until_ms = until_ms;
    f->since = (struct window50){0};
}

static bool test_passed(const struct st_fault *f, enum strategy_signal signal)
{
    return signal == STRATEGY_SIGNAL_AUTH && f->since.n >= 8 &&
           f->since.bad_q8 * 10u <= f->since.n * 256u;
}

/* Outcomes of mail sent before the fault was seen say nothing about whether it is over. */
static void fault_flush(struct st_fault *f, enum strategy_signal signal, uint64_t now_ms)
{
    uint32_t good = f->batch_good, bad = f->batch_bad;
    bool alarm = cusum_feed(&f->cusum, &CUSUM_REPUTATION, good, bad);

    f->batch_good = f->batch_bad = 0;
    window50_feed(&f->since, f->after_good, f->after_bad);
    f->after_good = f->after_bad = 0;
    if (f->level == 0 && !alarm)
        return;
    if (alarm && (f->level == 0 || now_ms - f->since_ms >= HOUR_MS))
        fault_raise(f, signal, now_ms);
    else if (test_passed(f, signal))
        *f = (struct st_fault){.batch_ms = f->batch_ms};
}

void st_fault_feed(struct st_fault *f, enum strategy_signal signal, uint64_t now_ms,
                   uint64_t sent_ms, uint32_t n_good, uint32_t n_bad, const char *code)
{
    bool after = f->level > 0 && sent_ms > f->since_ms;

    if (now_ms - f->batch_ms >= SECOND_MS) {
        fault_flush(f, signal, f->batch_ms);
        f->batch_ms = now_ms;
    }
    if (n_bad > 0)
        (void)snprintf(f->code, sizeof f->code, "%s", code);
    f->batch_good = add31(f->batch_good, n_good);
    f->batch_bad = add31(f->batch_bad, n_bad);
    f->after_good = add31(f->after_good, after ? n_good : 0);
    f->after_bad = add31(f->after_bad, after ? n_bad : 0);
}

/* Ends by itself: a level a period (I12). */
void st_fault_poll(struct st_fault *f, enum strategy_signal signal, uint64_t now_ms)
{
    fault_flush(f, signal, now_ms);
    while (f->level > 0 && now_ms >= f->until_ms) {
        f->level--;
        f->since_ms = f->until_ms;
        f->until_ms += DOMAIN_MS;
        f->evidence.expires_ms = f->until_ms;
        cusum_reset(&f->cusum);
    }
}
