/* explain.c - names, evidence in words, and the line of a decision. Integers only, no locale. */
#include "strategies/parts.h"

#include <inttypes.h>
#include <string.h>

const char *strategy_cause_name(enum strategy_cause cause)
{
    static const char *const names[] = {
#define X(name, text) #name,
        STRATEGY_CAUSE_MAP(X)
#undef X
    };
    return (unsigned)cause < STRATEGY_CAUSES ? names[cause] : "invalid";
}

const char *strategy_cause_text(enum strategy_cause cause)
{
    static const char *const texts[] = {
#define X(name, text) text,
        STRATEGY_CAUSE_MAP(X)
#undef X
    };
    return (unsigned)cause < STRATEGY_CAUSES ? texts[cause] : "invalid";
}

const char *strategy_signal_text(enum strategy_signal signal)
{
    static const char *const texts[] = {
#define X(name, text) text,
        STRATEGY_SIGNAL_MAP(X)
#undef X
    };
    return (unsigned)signal < STRATEGY_SIGNALS ? texts[signal] : "invalid";
}

/* ---- evidence ---- */

static const char *name_of(const struct strategy_engine *e, uint32_t endpoint)
{
    return endpoint < e->head.n_endpoints ? e->endpoints[endpoint].name : "it";
}

static int print_detector(const struct strategy_engine *e, const struct strategy_evidence *v,
                          const char *what, char *text, size_t n)
{
    bool has_path = v->endpoint != ST_NONE;

    return snprintf(text, n,
                    "%" PRIu32 " of %" PRIu32 " %s%s%s%s%s (CUSUM %" PRId64 ".%" PRId64
                    " >= %" PRId64 ".%" PRId64 ")",
                    v->observed, v->n, what, v->text[0] == '\0' ? "" : " ", v->text,
                    has_path ? " on " : "", has_path ? name_of(e, v->endpoint) : "",
                    v->statistic_milli / 1000, v->statistic_milli / 100 % 10,
                    v->threshold_milli / 1000, v->threshold_milli / 100 % 10);
}

static int print_rest(const struct strategy_engine *e, const struct strategy_evidence *v,
                      char *text, size_t n)
{
    const char *name = name_of(e, v->endpoint);

    switch (v->signal) {
    case STRATEGY_SIGNAL_DNSBL:
        return snprintf(text, n, "%s is on %s", name, v->text);
    case STRATEGY_SIGNAL_LIST_TEXT:
        return snprintf(text, n, "%" PRIu32 " replies %s ban %s", v->observed, v->text, name);
    case STRATEGY_SIGNAL_CAP:
        return snprintf(text, n,
                        "%" PRIu32 " now and %" PRIu32 " before today against %" PRId64 " a day",
                        v->n, v->observed, v->threshold_milli / 1000);
    case STRATEGY_SIGNAL_PLACEMENT:
        return snprintf(text, n,
                        "opens at %" PRId64 " %% of the usual on %s (%" PRIu32 " of %" PRIu32
                        " expected)",
                        v->statistic_milli / 10, name, v->observed, v->n);
    case STRATEGY_SIGNAL_RELAY:
        return snprintf(text, n, "%s: %s%s%" PRIu32 " of %" PRIu32, name, v->text,
                        v->text[0] == '\0' ? "" : ", ", v->observed, v->n);
    case STRATEGY_SIGNAL_CANARY:
        return snprintf(
            text, n, "%" PRIu32 " hard bounces among %" PRIu32 " that went first (4 %% stops it)",
            v->observed, v->n);
    case STRATEGY_SIGNAL_DOWN:
        return snprintf(text, n, "%s is out of order", name);
    case STRATEGY_SIGNAL_VOLUME:
        return snprintf(text, n, "%" PRIu32 " mails in 30 days, below %" PRId64, v->n,
                        v->threshold_milli / 1000);
    default:
        return snprintf(text, n, "by value");
    }
}

static const char *detector_noun(enum strategy_signal signal)
{
    switch (signal) {
    case STRATEGY_SIGNAL_DEFERRAL:
    case STRATEGY_SIGNAL_REPUTATION:
    case STRATEGY_SIGNAL_DOMAIN:
    case STRATEGY_SIGNAL_AUTH:
    case STRATEGY_SIGNAL_CONTENT:
        return "replies";
    case STRATEGY_SIGNAL_HARD_BOUNCE:
        return "mails bounced";
    case STRATEGY_SIGNAL_COMPLAINT:
        return "opened mails brought a complaint";
    case STRATEGY_SIGNAL_OUTAGE:
        return "tries failed:";
    default:
        return NULL;
    }
}

size_t strategy_evidence_text(const struct strategy_engine *e, enum strategy_cause cause,
                              const struct strategy_evidence *v, char *text, size_t n_bytes)
{
    const char *noun = detector_noun(v->signal);
    int n;

    if (cause == STRATEGY_C_H_NO_ROUTE)
        n = snprintf(text, n_bytes, "%s", strategy_cause_text(cause));
    else if (noun != NULL)
        n = print_detector(e, v, noun, text, n_bytes);
    else
        n = print_rest(e, v, text, n_bytes);
    return n < 0 ? 0 : (size_t)n < n_bytes ? (size_t)n : n_bytes - 1;
}

/* ---- the line ---- */

struct line {
    char *text;
    size_t n, n_max;
};

static void put(struct line *line, const char *text)
{
    size_t n = strlen(text);

    if (line->n + n >= line->n_max)
        n = line->n_max - line->n - 1;
    memcpy(line->text + line->n, text, n);
    line->n += n;
    line->text[line->n] = '\0';
}

static void put_time(struct line *line, uint64_t ms, bool seconds)
{
    char text[16];
    uint32_t s = (uint32_t)(ms / SECOND_MS % 86400);

    if (seconds)
        (void)snprintf(text, sizeof text, "%02u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(text, sizeof text, "%02u:%02u", s / 3600, s / 60 % 60);
    put(line, text);
}

static uint32_t route_weight(const struct st_sender *s, const uint8_t weight[SLOTS], uint32_t route)
{
    uint32_t sum = 0;

    for (uint32_t slot = 0; slot < s->n_slots; slot++)
        sum += s->slot_route[slot] == route ? weight[slot] : 0;
    return sum;
}

static const uint32_t routes[] = {STRATEGY_ROUTE_DED, STRATEGY_ROUTE_SHR, STRATEGY_ROUTE_SES,
                                  STRATEGY_ROUTE_CUS};
static const char *const route_names[] = {"dedicated", "shared", "ses", "custom"};

/* The routes that carry a twentieth or more; "held" when none does. */
static void put_routes(struct line *line, const struct st_sender *s, const uint8_t weight[SLOTS])
{
    bool first = true;

    for (unsigned i = 0; i < 4; i++) {
        if (route_weight(s, weight, routes[i]) < 5)
            continue;
        put(line, first ? "" : "+");
        put(line, route_names[i]);
        first = false;
    }
    if (first)
        put(line, "held");
}

static void put_percent(struct line *line, const struct st_sender *s,
                        const struct strategy_record *r)
{
    char text[16];
    uint32_t most = r->new_held;

    for (unsigned i = 0; i < 4; i++)
        most = fx_max32(most, route_weight(s, r->new_weight, routes[i]));
    (void)snprintf(text, sizeof text, " %" PRIu32 " %%", most);
    put(line, text);
}

size_t strategy_why_line(const struct strategy_engine *e, const struct strategy_key *key,
                         const struct strategy_record *r, char *text, size_t n_bytes)
{
    struct line line = {.text = text, .n_max = n_bytes};
    char evidence[160];
    uint32_t sender = st_name_ok(key->sender) ? st_find(e, NAME_SENDER, 0, key->sender) : ST_NONE;

    text[0] = '\0';
    if (sender == ST_NONE)
        return 0;
    const struct st_sender *s = &e->senders[sender];
    put_time(&line, r->at_ms, true);
    put(&line, " ");
    put(&line, key->provider);
    put(&line, ": ");
    put_routes(&line, s, r->old_weight);
    put(&line, "->");
    put_routes(&line, s, r->new_weight);
    put_percent(&line, s, r);
    put(&line, ", ");
    put(&line, strategy_cause_name(r->cause));
    put(&line, ": ");
    (void)strategy_evidence_text(e, r->cause, &r->evidence, evidence, sizeof evidence);
    put(&line, evidence);
    if (r->evidence.expires_ms != NEVER_MS) {
        put(&line, r->evidence.signal == STRATEGY_SIGNAL_CAP ? "; until " : "; probe at ");
        put_time(&line, r->evidence.expires_ms, false);
    }
    return line.n;
}
