/*
 * sim_model.c - what providers do with mail. Hidden for each (endpoint, provider): a capacity that
 * grows with use, a reputation that sending above capacity, bad lists and complaints wear down, the
 * share of mail that reaches the inbox. Replies are real texts: the classifier is in the loop.
 */
#include "strategies/sim/sim.h"

#include <math.h>

static const char *const text_rate[PROVIDERS] = {
    "421-4.7.28 [198.51.100.10] Our system has detected an unusual rate of 421-4.7.28 unsolicited "
    "mail originating from your IP address. 421 4.7.28 gsmtp",
    "421 4.7.0 [TSS04] Messages from 198.51.100.10 temporarily deferred due to unexpected volume "
    "or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
    "451 4.7.650 The mail server [198.51.100.10] has been temporarily rate limited due to IP "
    "reputation. (S775) [AM0.eop.protection.outlook.com]",
    "421 4.7.0 [HCM1] Message rejected due to local policy. Please visit "
    "https://support.apple.com/en-us/HT204137"};
static const char *const text_listed[PROVIDERS] = {
    "550-5.7.1 [198.51.100.10] The IP you're using to send mail is not authorized: very low "
    "reputation of the sending IP. 550 5.7.1 gsmtp",
    "553 5.7.1 [BL21] Connections will not be accepted from 198.51.100.10, because the ip is in "
    "Spamhaus's list; see http://postmaster.yahoo.com/550-bl23.html",
    "550 5.7.1 Service unavailable, Client host [198.51.100.10] blocked using Spamhaus. To request "
    "removal from this list see https://www.spamhaus.org/query/ip/198.51.100.10 (AS16012611)",
    "554 5.7.1 Service unavailable; Client host [198.51.100.10] blocked using zen.spamhaus.org"};
static const char *const text_bad[PROVIDERS] = {
    "550-5.1.1 The email account that you tried to reach does not exist. 550 5.1.1 gsmtp",
    "554 delivery error: dd This user doesn't have a yahoo.com account",
    "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302)",
    "550 5.1.1 <user@icloud.com>: user does not exist"};
static const char *const text_auth =
    "550-5.7.26 This mail has been blocked because the sender is unauthenticated. 550 5.7.26 gsmtp";

double route_cost(enum route r)
{
    static const double cost[ROUTES] = {0, 0.02, 0.03, 0.03};

    return cost[r];
}

/* ---- hidden state ---- */

static bool is_listed(const struct world *w, unsigned path)
{
    return w->scenario->fault == FAULT_LISTED && fault_active(w) && path == 0;
}

static bool relay_is_down(const struct world *w, unsigned path)
{
    return w->scenario->fault == FAULT_RELAY_DOWN && fault_active(w) && w->path_route[path] == CUS;
}

static bool relay_is_bad(const struct world *w, unsigned path, unsigned provider)
{
    return w->scenario->fault == FAULT_SHARED_BAD && fault_at(w, provider) &&
           w->path_route[path] == SHR;
}

static double inbox_share(const struct world *w, const struct flow *f, unsigned path)
{
    const struct hidden_path *h = &w->paths[path][f->provider];
    double inbox = h->inbox * (0.3 + 0.7 * h->reputation);

    if (w->path_route[path] == DED) /* little mail, little reputation */
        inbox *= 0.85 + 0.15 * fmin(1, h->volume / 400);

    if (w->scenario->fault == FAULT_FOLDERED && fault_at(w, f->provider) &&
        w->path_route[path] == DED)
        inbox *= 0.3;
    if (relay_is_bad(w, path, f->provider))
        inbox *= 0.8;
    return inbox;
}

static double hour_left(const struct world *w, unsigned path, unsigned provider)
{
    const struct hidden_path *h = &w->paths[path][provider];
    double day = h->capacity - h->used_day,
           hour = fmax(100, h->capacity / w->k.hour_room) - h->used_hour;

    return fmax(0, fmin(day, hour));
}

static double refusal(const struct world *w, const struct flow *f, unsigned path)
{
    const struct hidden_path *h = &w->paths[path][f->provider];
    double p = w->k.deferral_noise + 0.6 * fmax(0, 0.8 - h->reputation);

    return relay_is_bad(w, path, f->provider) ? 0.45 : p;
}

double true_room(const struct world *w, const struct flow *f, unsigned path)
{
    if (relay_is_down(w, path) || is_listed(w, path))
        return 0;
    if (w->path_route[path] == SES && w->scenario->ses_max_24h != 0) {
        double used = 0;
        for (unsigned i = 0; i < TICKS_DAY; i++)
            used += w->ses_used[i];
        return fmax(0, w->scenario->ses_max_24h - used);
    }
    return hour_left(w, path, f->provider);
}

double true_value(const struct world *w, const struct flow *f, unsigned path)
{
    double inbox = inbox_share(w, f, path);
    double per_path =
        w->scenario->per_day * w->k.share[f->provider] / fmax(1, w->scenario->n_addresses);

    if (w->path_route[path] == DED && per_path >= 400) /* it will have the volume: worth warming */
        inbox /= 0.85 + 0.15 * fmin(1, w->paths[path][f->provider].volume / 400);
    return inbox * (1 - refusal(w, f, path) * 0.02) - route_cost(w->path_route[path]) -
           0.005 * refusal(w, f, path);
}

void world_hour(struct world *w)
{
    for (unsigned i = 0; i < w->n_paths; i++) {
        for (unsigned p = 0; p < PROVIDERS; p++) {
            struct hidden_path *h = &w->paths[i][p];
            h->used_hour = 0;
            h->reputation = fmin(1, h->reputation + 0.004);
        }
    }
}

/* Capacity follows use: what was used half or more grows, what lies idle shrinks slowly. */
void world_day(struct world *w)
{
    for (unsigned i = 0; i < w->n_paths; i++) {
        for (unsigned p = 0; p < PROVIDERS; p++) {
            struct hidden_path *h = &w->paths[i][p];
            if (w->path_route[i] == DED) {
                if (h->used_day > 0.35 * h->capacity && h->reputation > 0.7)
                    h->capacity *= h->capacity < 20000 ? w->k.growth : 1.35;
                else if (h->used_day < 0.02 * h->capacity)
                    h->capacity = fmax(150, h->capacity * 0.97);
            }
            h->volume = 0.7 * h->volume + 0.3 * h->used_day;
            h->used_day = 0;
        }
    }
}

/* ---- one delivery ---- */

static void add(struct delivery *d, uint32_t n, const char *reply, bool ok)
{
    if (n > 0 && d->n < OUTCOMES_MAX)
        d->outcomes[d->n++] = (struct outcome){n, reply, ok};
}

static void again(struct flow *f, const struct parcel *parcel, uint32_t n, uint32_t due,
                  bool blocked)
{
    if (n == 0)
        return;
    for (unsigned i = 0; i < f->n_parcels; i++) {
        struct parcel *p = &f->parcels[i];
        if (p->created == parcel->created && p->due == due && p->tries > 0 &&
            p->blocked_once == blocked) {
            p->n += n;
            return;
        }
    }
    if (f->n_parcels < PARCELS_MAX)
        f->parcels[f->n_parcels++] =
            (struct parcel){n, parcel->created, due, parcel->tries + 1, blocked};
}

static void credit(struct world *w, const struct flow *f, double n, double utility)
{
    unsigned hour = w->tick / 6;

    if (is_faulty_stream(w, f))
        return;
    w->totals.n += n;
    w->totals.utility += utility;
    w->totals.hour_n[hour] += n;
    w->totals.hour_utility[hour] += utility;
}

/* Feedback is spread over the hours that the delay curve says. */
static void feedback(struct world *w, struct flow *f, unsigned path, uint32_t n_inbox, uint32_t n)
{
    const struct constants *k = &w->k;
    bool angry = w->scenario->fault == FAULT_COMPLAINTS && is_faulty_stream(w, f);
    uint32_t opens = rng_binomial(&w->rng, n_inbox, k->open_rate[f->provider]) +
                     rng_binomial(&w->rng, n, k->machine_opens);
    uint32_t complaints = rng_binomial(&w->rng, n_inbox, angry ? 0.006 : k->complaint_rate);
    uint32_t hour = w->tick / 6;
    double before = 0;

    for (unsigned h = 0; h < DELAY_HOURS - 1; h++) {
        double z = (log(h + 1.0) - log(k->delay_median_h)) / 1.87;
        double share = 0.5 * erfc(-z / sqrt(2));
        double p = (share - before) / (1 - before);
        uint32_t o = rng_binomial(&w->rng, opens, p), c = rng_binomial(&w->rng, complaints, p);
        f->opens[path][(hour + h + 1) % DELAY_HOURS][hour % DELAY_HOURS] += o;
        f->complaints[path][(hour + h + 1) % DELAY_HOURS][hour % DELAY_HOURS] += c;
        opens -= o;
        complaints -= c;
        before = share;
    }
    if (angry)
        w->paths[path][f->provider].reputation -= 0.00002 * n;
}

static void accept(struct world *w, struct flow *f, unsigned path, const struct parcel *parcel,
                   uint32_t n)
{
    uint32_t n_inbox = rng_binomial(&w->rng, n, inbox_share(w, f, path));
    double delay_h = (double)(w->tick - parcel->created) / 6;

    credit(w, f, n,
           n * inbox_share(w, f, path) - n * (route_cost(w->path_route[path]) + 0.01 * delay_h));
    if (!is_faulty_stream(w, f)) {
        w->totals.inbox += n_inbox;
        w->totals.spam += n - n_inbox;
        w->totals.delay_h += delay_h * n;
    }
    feedback(w, f, path, n_inbox, n);
}

static void blocked(struct world *w, struct flow *f, const struct parcel *parcel, uint32_t n,
                    bool endpoint_fault)
{
    if (endpoint_fault && !parcel->blocked_once) { /* once more through another endpoint */
        again(f, parcel, n, w->tick + 1, true);
        return;
    }
    credit(w, f, n, -0.3 * n);
    w->totals.blocked += is_faulty_stream(w, f) ? 0 : n;
}

static void defer(struct world *w, struct flow *f, const struct parcel *parcel, uint32_t n)
{
    uint32_t wait = parcel->tries == 0 ? 1 : parcel->tries < 3 ? 2 : 3;

    again(f, parcel, n, w->tick + wait, parcel->blocked_once);
}

static uint32_t count_use(struct world *w, unsigned path, unsigned provider, uint32_t n)
{
    struct hidden_path *h = &w->paths[path][provider];
    uint32_t left = (uint32_t)fmin(1e9, hour_left(w, path, provider));
    uint32_t over = n > left ? n - left : 0;

    h->used_day += n;
    h->used_hour += n;
    if (over > 0 && n > 0)
        h->reputation = fmax(0, h->reputation - w->k.over_penalty * over / n);
    w->ses_used[w->tick % TICKS_DAY] += w->path_route[path] == SES ? n : 0;
    return over;
}

static uint32_t quota_over(const struct world *w, unsigned path, const struct flow *f, uint32_t n)
{
    double room = true_room(w, f, path);

    if (w->path_route[path] != SES || w->scenario->ses_max_24h == 0)
        return 0;
    return n > room ? n - (uint32_t)room : 0;
}

/* True when nothing of the mail got as far as the provider's opinion of it. */
static bool fails_before(struct world *w, struct flow *f, unsigned path, struct parcel *parcel,
                         uint32_t n, struct delivery *ret)
{
    if (relay_is_down(w, path)) {
        add(ret, n, w->tick % 2 == 0 ? "connection refused" : "535 5.7.8 authentication failed",
            false);
    } else if (w->scenario->fault == FAULT_OUTAGE && fault_at(w, f->provider)) {
        add(ret, n, w->tick % 2 == 0 ? "timed out" : "421 4.3.2 Service not available, try later",
            false);
        if (w->path_route[path] != DED)
            ret->outcomes[ret->n - 1].reply = "421 4.4.1 connection to the provider timed out";
    } else {
        return false;
    }
    defer(w, f, parcel, n);
    return true;
}

void deliver(struct world *w, struct flow *f, unsigned path, struct parcel *parcel, uint32_t n,
             struct delivery *ret)
{
    bool bad_list = w->scenario->fault == FAULT_BAD_LIST && is_faulty_stream(w, f);

    if (n == 0 || fails_before(w, f, path, parcel, n, ret))
        return;
    uint32_t spent = quota_over(w, path, f, n);
    add(ret, spent, "454 Throttling failure: Daily message quota exceeded.", false);
    defer(w, f, parcel, spent);
    n -= spent;
    if (is_listed(w, path)) {
        uint32_t hit = rng_binomial(&w->rng, n, 0.85);
        add(ret, hit, text_listed[f->provider], false);
        blocked(w, f, parcel, hit, true);
        n -= hit;
    }
    if (w->scenario->fault == FAULT_AUTH && fault_at(w, f->provider)) {
        add(ret, n, text_auth, false);
        blocked(w, f, parcel, n, false);
        return;
    }
    uint32_t over = count_use(w, path, f->provider, n);
    uint32_t late = over + rng_binomial(&w->rng, n - over, refusal(w, f, path));
    add(ret, late, text_rate[f->provider], false);
    defer(w, f, parcel, late);
    n -= late;
    uint32_t grey = parcel->tries == 0 ? rng_binomial(&w->rng, n, w->k.grey_share) : 0;
    add(ret, grey, "451 4.7.1 Greylisted, please try again in 300 seconds", false);
    defer(w, f, parcel, grey);
    n -= grey;
    uint32_t dead =
        parcel->tries == 0 ? rng_binomial(&w->rng, n, bad_list ? 0.18 : w->k.bad_rate) : 0;
    add(ret, dead, text_bad[f->provider], false);
    credit(w, f, dead, -0.3 * dead);
    w->totals.bounced += is_faulty_stream(w, f) ? 0 : dead;
    n -= dead;
    if (bad_list)
        w->paths[path][f->provider].reputation -= 0.0002 * dead;
    if (is_faulty_stream(w, f) && (w->path_route[path] == SHR || w->path_route[path] == SES))
        w->totals.harm += n + dead;
    add(ret, n, "250 2.0.0 OK", true);
    accept(w, f, path, parcel, n);
}
