/* storm.c - see storm.h. */
#include "tests/strategies/storm.h"

#include <inttypes.h>
#include <string.h>

#define START_MS (UINT64_C(19675) * DAY_MS)

enum weather { FINE, SLOW, BLOCKED, DOWN, RELAY_BROKEN, WEATHERS };
enum trouble { NONE, BAD_LIST, NO_AUTH, BAD_DOMAIN, SPAM, TROUBLES };

static const char *const providers[STORM_PROVIDERS] = {"gmail", "yahoo", "outlook", "example"};
static const char *const endpoints[STORM_ADDRESSES + STORM_RELAYS] = {
    "192.0.2.1",    "192.0.2.2",   "192.0.2.3", "198.51.100.1", "198.51.100.2",
    "2001:db8::25", "shared-main", "ses",       "their-smtp",   "also-shared"};
static const char *const streams[STORM_STREAMS] = {"transactional", "bulk", "bulk:a", "bulk:b"};
static const char *const kinds[] = {"auto", "dedicated", "shared", "custom"};
static const char *const fine[] = {"250 2.0.0 OK"};
static const char *const weather_replies[WEATHERS][3] = {
    {"250 2.0.0 OK", "250 OK id=1", "250 2.6.0 queued"},
    {"421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume",
     "421 4.7.28 unusual rate of unsolicited mail originating from your IP address",
     "421 too many connections"},
    {"550 5.7.1 part of their network is on our block list (S3140)",
     "554 5.7.1 Client host blocked using zen.spamhaus.org",
     "550 5.7.1 very low reputation of the sending IP"},
    {"timed out", "421 4.3.2 Service not available", "connection refused"},
    {"535 5.7.8 authentication failed", "454 Throttling failure: Daily message quota exceeded.",
     "454 Throttling failure: Maximum sending rate exceeded."}};
static const char *const trouble_replies[TROUBLES] = {
    "451 4.7.1 Greylisted", "550 5.1.1 no such user",
    "550 5.7.26 unauthenticated email from this domain is not accepted due to DMARC",
    "550 5.7.1 very low reputation of the sending domain", "554 Message looks like spam"};

static uint32_t below(struct storm *s, uint32_t n)
{
    uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 33) % n;
}

static bool broken(struct storm *s, const char *what)
{
    s->broken = s->broken == NULL ? what : s->broken;
    return false;
}

/* An engine that refuses an event of the storm is a defect as well. */
static void must(struct storm *s, enum strategy_error error)
{
    if (error != STRATEGY_OK)
        (void)broken(s, strategy_error_text(error));
}

static void begin_line(const struct storm *s)
{
    if (s->lines != NULL)
        (void)fprintf(s->lines, "{\"t\":%" PRIu64 ".%03u", s->now_ms / 1000,
                      (unsigned)(s->now_ms % 1000));
}

/* ---- configuration ---- */

static enum strategy_kind kind_of(uint32_t sender)
{
    return (enum strategy_kind)(sender % 4);
}

static const char *sender_name(uint32_t sender)
{
    static const char *const names[STORM_SENDERS] = {"auto-1",   "dedicated-1", "shared-1",
                                                     "custom-1", "auto-2",      "dedicated-2",
                                                     "shared-2", "custom-2"};

    return names[sender];
}

static bool has_fallback(uint32_t sender)
{
    return sender != 5;
}

static const char *pool_of(uint32_t sender)
{
    return sender < 4 ? "first" : "second";
}

static void put_addresses(struct storm *s)
{
    for (uint32_t i = 0; i < STORM_ADDRESSES; i++) {
        struct strategy_address_config c = {.ip = endpoints[i], .age_days = i == 0 ? 300 : 0};
        must(s, strategy_pool_address(s->engine, i < 3 ? "first" : "second", &c));
    }
    for (uint32_t p = 0; p < STORM_PROVIDERS; p++)
        must(s, strategy_address_daily(s->engine, endpoints[0], providers[p], 20000));
}

static void put_routes(struct storm *s)
{
    for (uint32_t i = STORM_ADDRESSES; i < STORM_ADDRESSES + STORM_RELAYS; i++) {
        bool is_ses = i == STORM_ADDRESSES + 1;
        must(s, strategy_route(s->engine,
                               &(struct strategy_route_config){.name = endpoints[i],
                                                               .is_ses = is_ses,
                                                               .n_max_24h = is_ses ? 50000 : 0,
                                                               .cost_ppm = -1}));
    }
}

/* Whatever its kind, a sender has everything configured, and "also-shared" stands in both lists. */
static void put_sender(struct storm *s, uint32_t i)
{
    static const char *const shared[] = {"shared-main", "ses", "also-shared"};
    static const char *const custom[] = {"their-smtp", "also-shared"};

    must(s,
         strategy_sender(s->engine, &(struct strategy_sender_config){.name = sender_name(i),
                                                                     .kind = kind_of(i),
                                                                     .pool = pool_of(i),
                                                                     .shared = shared,
                                                                     .n_shared = 3,
                                                                     .custom = custom,
                                                                     .n_custom = i < 4 ? 1 : 2,
                                                                     .v30_known = i != 4,
                                                                     .v30 = 600000,
                                                                     .fallback = has_fallback(i)}));
}

static void print_config(const struct storm *s)
{
    if (s->lines == NULL)
        return;
    begin_line(s);
    (void)fprintf(s->lines, ",\"config\":{\"pools\":{");
    for (uint32_t i = 0; i < STORM_ADDRESSES; i++) {
        if (i % 3 == 0)
            (void)fprintf(s->lines, "%s\"%s\":{\"addresses\":[", i == 0 ? "" : "]},",
                          i == 0 ? "first" : "second");
        (void)fprintf(s->lines, "%s{\"ip\":\"%s\",\"age_days\":%d", i % 3 == 0 ? "" : ",",
                      endpoints[i], i == 0 ? 300 : 0);
        for (uint32_t p = 0; i == 0 && p < STORM_PROVIDERS; p++)
            (void)fprintf(s->lines, "%s\"%s\":20000", p == 0 ? ",\"daily\":{" : ",", providers[p]);
        (void)fprintf(s->lines, i == 0 ? "}}" : "}");
    }
    (void)fprintf(s->lines, "]}},\"routes\":{\"shared-main\":{\"type\":\"smtp\"},\"ses\":{"
                            "\"type\":\"ses\",\"max_24h\":50000},\"their-smtp\":{},"
                            "\"also-shared\":{}},\"senders\":{");
    for (uint32_t i = 0; i < STORM_SENDERS; i++)
        (void)fprintf(s->lines,
                      "%s\"%s\":{\"strategy\":\"%s\",\"pool\":\"%s\",\"shared\":[\"shared-main\","
                      "\"ses\",\"also-shared\"],\"custom\":[\"their-smtp\"%s]%s,\"fallback\":%s}",
                      i == 0 ? "" : ",", sender_name(i), kinds[kind_of(i)], pool_of(i),
                      i < 4 ? "" : ",\"also-shared\"", i == 4 ? "" : ",\"v30\":600000",
                      has_fallback(i) ? "true" : "false");
    (void)fprintf(s->lines, "}}}\n");
}

static void configure(struct storm *s)
{
    print_config(s);
    put_addresses(s);
    put_routes(s);
    for (uint32_t i = 0; i < STORM_SENDERS; i++)
        put_sender(s, i);
}

void storm_begin(struct storm *s, struct strategy_engine *engine, uint64_t seed, FILE *lines)
{
    *s = (struct storm){.engine = engine, .lines = lines, .random = seed, .now_ms = START_MS};
    s->first_day = START_MS / DAY_MS;
    reply_index_init(&s->replies);
    must(s, strategy_tick(engine, s->now_ms));
    configure(s);
}

/* ---- invariants of a split ---- */

static uint32_t endpoint_of(const char *path)
{
    uint32_t i = 0;

    while (i < STORM_ADDRESSES + STORM_RELAYS && strcmp(endpoints[i], path) != 0)
        i++;
    return i;
}

static bool check_route(struct storm *s, uint32_t sender, uint32_t endpoint)
{
    bool own = endpoint < STORM_ADDRESSES, theirs = endpoint == STORM_ADDRESSES + 2;

    switch (kind_of(sender)) {
    case STRATEGY_CUSTOM:
        return own || theirs || broken(s, "I1: custom left by a shared route");
    case STRATEGY_SHARED:
        return (!own && !theirs) || broken(s, "I2: shared left by an own address");
    case STRATEGY_DEDICATED:
        return (own || has_fallback(sender)) || broken(s, "no fallback, and it fell back");
    case STRATEGY_AUTO:
    case STRATEGY_KINDS:
        break;
    }
    return !theirs || broken(s, "auto left by a custom route");
}

/* Cold: at most 100 on the first day, twice that of the day before on each further one. */
static bool check_ramp(struct storm *s, uint32_t endpoint, uint32_t provider, uint32_t n)
{
    uint64_t age = s->now_ms / DAY_MS - s->first_day;

    if (endpoint >= STORM_ADDRESSES)
        return true;
    s->sent_today[endpoint][provider] += n;
    uint64_t most = endpoint == 0 ? UINT64_C(40000) : 100;
    most = age > 40 ? UINT64_MAX : most << age;
    return s->sent_today[endpoint][provider] <= most || broken(s, "I5: above the warm-up cap");
}

static bool is_sender_cause(enum strategy_cause c)
{
    return c == STRATEGY_C_S_BAD_LIST || c == STRATEGY_C_S_COMPLAINTS || c == STRATEGY_C_S_CANARY ||
           c == STRATEGY_C_S_CONTENT;
}

static bool check_split(struct storm *s, const struct strategy_plan *plan, uint32_t sender,
                        uint32_t provider, const struct strategy_split *split)
{
    uint64_t sum = split->n_held;

    for (uint32_t i = 0; i < split->n_parts; i++) {
        uint32_t endpoint = endpoint_of(split->part[i].path);
        if (!check_route(s, sender, endpoint))
            return false;
        if (strategy_is_closed(s->engine, split->part[i].path, providers[provider]))
            return broken(s, "I3: mail for a closed path");
        if (!check_ramp(s, endpoint, provider, split->part[i].n))
            return false;
        sum += split->part[i].n;
    }
    if (sum != plan->n || (split->n_held > 0) != (split->retry_ms != NEVER_MS))
        return broken(s, "I4: mails were lost or made");
    if (split->n_held > 0 && split->retry_ms <= s->now_ms)
        return broken(s, "held until a time that is over");
    if (split->n_held > 0 && split->cause == STRATEGY_C_V_BEST)
        return broken(s, "I10: held although everything is fine");
    if (strcmp(plan->key.stream, "transactional") == 0 && is_sender_cause(split->cause))
        return broken(s, "I13: transactional mail held with a campaign");
    return (unsigned)split->cause < STRATEGY_CAUSES || broken(s, "I10: no reason");
}

static bool check_record(struct storm *s, const struct strategy_key *key)
{
    struct strategy_record r;
    char line[512];
    uint32_t sum;

    if (strategy_why(s->engine, key, &r) != STRATEGY_OK)
        return broken(s, "I10: a decision without a record");
    sum = r.new_held;
    for (uint32_t i = 0; i < STRATEGY_SLOTS_MAX; i++)
        sum += r.new_weight[i];
    if (sum != 100)
        return broken(s, "I4: weights do not sum to 1");
    size_t n = strategy_why_line(s->engine, key, &r, line, sizeof line);
    return (n > 10 && strstr(line, strategy_cause_name(r.cause)) != NULL) ||
           broken(s, "I10: a line without its reason");
}

/* ---- events ---- */

static void outcome(struct storm *s, const struct strategy_key *key, const char *path, uint32_t n,
                    const char *reply)
{
    struct strategy_outcome o = {.key = *key, .path = path, .n = n, .sent_ms = s->now_ms};

    if (s->lines != NULL) {
        begin_line(s);
        (void)fprintf(s->lines,
                      ",\"outcomes\":{\"sender\":\"%s\",\"stream\":\"%s\",\"provider\":\"%s\","
                      "\"path\":\"%s\",\"n\":%" PRIu32 ",\"sent_t\":%" PRIu64 ".%03u,"
                      "\"reply\":\"%s\"}}\n",
                      key->sender, key->stream, key->provider, path, n, s->now_ms / 1000,
                      (unsigned)(s->now_ms % 1000), reply);
    }
    reply_classify(&s->replies, reply, strlen(reply), &o.verdict);
    must(s, strategy_outcome(s->engine, s->now_ms, &o));
    s->n_events++;
}

static void answer(struct storm *s, const struct strategy_key *key, uint32_t sender,
                   uint32_t provider, const char *path, uint32_t n)
{
    enum weather w = (enum weather)s->weather[endpoint_of(path)][provider];
    enum trouble t = (enum trouble)s->sender_weather[sender];
    uint32_t bad = w == FINE ? 0 : (uint32_t)((uint64_t)n * (1 + below(s, 10)) / 10);
    uint32_t part = t == NONE ? below(s, 20) == 0 : (n - bad) / (2 + below(s, 6));

    part = part > n - bad ? n - bad : part;
    if (bad > 0)
        outcome(s, key, path, bad, weather_replies[w][below(s, 3)]);
    if (part > 0)
        outcome(s, key, path, part, trouble_replies[t]);
    if (n > bad + part)
        outcome(s, key, path, n - bad - part, fine[0]);
}

static void print_plan(const struct storm *s, const struct strategy_plan *p)
{
    if (s->lines == NULL)
        return;
    begin_line(s);
    (void)fprintf(s->lines,
                  ",\"plan\":{\"id\":%" PRIu64 ",\"sender\":\"%s\",\"stream\":\"%s\","
                  "\"provider\":\"%s\",\"n\":%" PRIu32 ",\"retries\":%" PRIu32
                  ",\"never_mailed\":0.%06" PRIu32 "}}\n",
                  s->n_decisions, p->key.sender, p->key.stream, p->key.provider, p->n, p->n_retries,
                  p->never_mailed_ppm);
}

/* Not sent after all. */
static void give_back(struct storm *s, const struct strategy_key *key, uint32_t provider,
                      const char *path, uint32_t n)
{
    uint32_t endpoint = endpoint_of(path);

    must(s, strategy_return(s->engine, s->now_ms, key, path, n));
    if (endpoint < STORM_ADDRESSES)
        s->sent_today[endpoint][provider] -= n;
}

static void plan(struct storm *s, bool calm)
{
    uint32_t sender = below(s, STORM_SENDERS), provider = below(s, STORM_PROVIDERS);
    struct strategy_plan p = {
        .key = {sender_name(sender), streams[below(s, STORM_STREAMS)], providers[provider]}};
    struct strategy_split split;

    p.n = below(s, 8) == 0 ? below(s, 20000) : 1 + below(s, 300);
    p.n_retries = below(s, 4) != 0 ? 0 : below(s, 2) == 0 ? p.n : below(s, p.n + 1);
    p.never_mailed_ppm = !calm && below(s, 30) == 0 ? 900000 : 10000;
    print_plan(s, &p);
    must(s, strategy_plan(s->engine, s->now_ms, &p, &split));
    s->n_decisions++;
    s->n_events++;
    if (s->broken != NULL || !check_split(s, &p, sender, provider, &split) ||
        !check_record(s, &p.key))
        return;
    s->n_cause[split.cause]++;
    for (uint32_t i = 0; i < split.n_parts; i++) {
        if (calm)
            outcome(s, &p.key, split.part[i].path, split.part[i].n, fine[0]);
        else if (s->lines == NULL && below(s, 50) == 0)
            give_back(s, &p.key, provider, split.part[i].path, split.part[i].n);
        else if (below(s, 60) != 0) /* or its outcome is never known */
            answer(s, &p.key, sender, provider, split.part[i].path, split.part[i].n);
    }
}

static void late(struct storm *s)
{
    static const char *const names[] = {"opens", "complaints", "hard_bounces"};
    enum strategy_late what = (enum strategy_late)below(s, 3);
    uint32_t sender = below(s, STORM_SENDERS);
    bool own = kind_of(sender) != STRATEGY_SHARED;
    uint32_t endpoint = own ? below(s, 3) + (sender < 4 ? 0 : 3) : STORM_ADDRESSES;
    uint64_t ago = below(s, 30) * HOUR_MS;
    struct strategy_outcome o = {
        .key = {sender_name(sender), streams[1 + below(s, 3)], providers[below(s, 4)]},
        .path = endpoints[endpoint],
        .n = what == STRATEGY_OPENS ? below(s, 200) : below(s, 3),
        .sent_ms = s->now_ms - ago};

    if (s->lines != NULL) {
        begin_line(s);
        (void)fprintf(s->lines,
                      ",\"%s\":{\"sender\":\"%s\",\"stream\":\"%s\",\"provider\":\"%s\","
                      "\"path\":\"%s\",\"n\":%" PRIu32 ",\"sent_t\":%" PRIu64 ".%03u}}\n",
                      names[what], o.key.sender, o.key.stream, o.key.provider, o.path, o.n,
                      o.sent_ms / 1000, (unsigned)(o.sent_ms % 1000));
    }
    must(s, strategy_late(s->engine, s->now_ms, what, &o));
    s->n_events++;
}

static void poll_list(struct storm *s)
{
    static const struct {
        uint8_t bytes[4];
        const char *text;
    } answers[] = {{{127, 0, 0, 2}, "127.0.0.2"},
                   {{127, 255, 255, 254}, "127.255.255.254"},
                   {{127, 0, 0, 10}, "127.0.0.10"}};
    const char *ip = endpoints[below(s, STORM_ADDRESSES)], *zone = "zen.spamhaus.org";
    uint32_t which = below(s, 40);
    enum strategy_listing listing =
        which < 3 ? strategy_listing(zone, answers[which].bytes) : STRATEGY_CLEAN;

    if (s->lines != NULL) {
        begin_line(s);
        (void)fprintf(s->lines, ",\"dnsbl\":{\"ip\":\"%s\",\"zone\":\"%s\",\"answer\":%s%s%s}}\n",
                      ip, zone, which < 3 ? "\"" : "", which < 3 ? answers[which].text : "null",
                      which < 3 ? "\"" : "");
    }
    must(s, strategy_dnsbl(s->engine, s->now_ms, ip, zone, listing));
    s->n_events++;
}

static void operate(struct storm *s)
{
    const char *ip = endpoints[below(s, STORM_ADDRESSES)];
    bool retired = below(s, 4) == 0;

    if (s->lines != NULL) {
        begin_line(s);
        (void)fprintf(s->lines, ",\"operator\":{\"ip\":\"%s\",\"retired\":%s}}\n", ip,
                      retired ? "true" : "false");
    }
    must(s, strategy_retire(s->engine, s->now_ms, ip, retired));
    s->n_events++;
}

static void turn_weather(struct storm *s)
{
    uint32_t endpoint = below(s, STORM_ADDRESSES + STORM_RELAYS);
    uint32_t provider = below(s, STORM_PROVIDERS);
    uint8_t w = below(s, 2) == 0 ? FINE : (uint8_t)below(s, WEATHERS);

    if (below(s, 12) == 0) { /* the whole provider */
        for (uint32_t i = 0; i < STORM_ADDRESSES + STORM_RELAYS; i++)
            s->weather[i][provider] = w;
    } else {
        s->weather[endpoint][provider] =
            w == RELAY_BROKEN && endpoint < STORM_ADDRESSES ? (uint8_t)DOWN : w;
    }
    s->sender_weather[below(s, STORM_SENDERS)] =
        below(s, 4) == 0 ? (uint8_t)below(s, TROUBLES) : (uint8_t)NONE;
}

/* Mostly seconds, now and then hours, rarely weeks. */
static void pass(struct storm *s)
{
    uint32_t dice = below(s, 10000);

    s->now_ms += dice < 9000   ? below(s, 3000)
                 : dice < 9950 ? below(s, 20 * 60 * 1000)
                 : dice < 9999 ? below(s, 6 * 3600 * 1000)
                               : below(s, 10) * DAY_MS;
    if (s->now_ms / DAY_MS != s->day) {
        s->day = (uint32_t)(s->now_ms / DAY_MS);
        memset(s->sent_today, 0, sizeof s->sent_today);
    }
}

bool storm_step(struct storm *s)
{
    uint32_t dice = below(s, 1000);

    pass(s);
    if (dice < 800)
        plan(s, false);
    else if (dice < 900)
        late(s);
    else if (dice < 940)
        poll_list(s);
    else if (dice < 945)
        operate(s);
    else if (dice < 946)
        configure(s);
    else
        turn_weather(s);
    return s->broken == NULL;
}

/* ---- after it ---- */

bool storm_calm(struct storm *s)
{
    uint32_t n_held = 0;

    for (uint32_t i = 0; i < STORM_ADDRESSES; i++)
        must(s, strategy_retire(s->engine, s->now_ms, endpoints[i], false));
    for (uint64_t end = s->now_ms + 60 * DAY_MS; s->now_ms < end; s->now_ms += 3 * MINUTE_MS) {
        s->day = 0; /* ramps are not asked about */
        memset(s->sent_today, 0, sizeof s->sent_today);
        plan(s, true);
        if (s->broken != NULL)
            return false;
    }
    for (uint32_t i = 0; i < STORM_SENDERS * STORM_STREAMS * STORM_PROVIDERS; i++) {
        struct strategy_plan p = {.key = {sender_name(i % STORM_SENDERS),
                                          streams[i / STORM_SENDERS % STORM_STREAMS],
                                          providers[i / STORM_SENDERS / STORM_STREAMS]},
                                  .n = 1};
        struct strategy_split split;
        must(s, strategy_plan(s->engine, s->now_ms, &p, &split));
        n_held += split.n_held > 0 && split.cause != STRATEGY_C_R_WARMUP_CAP &&
                  split.cause != STRATEGY_C_R_SPIKE;
    }
    return n_held == 0 || broken(s, "I12: somebody is still held after 60 days of peace");
}
