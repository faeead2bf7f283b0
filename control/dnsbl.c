/* dnsbl.c - the poller: see dnsbl.h. One timer; each tick asks the next (address, zone). */
#include "control/dnsbl.h"

#include "control/decisions.h"
#include "control/dns.h"
#include "control/events.h"
#include "control/pools.h"

#define TICK_MIN_MS 20

enum dnsbl_state { DNSBL_UNKNOWN, DNSBL_CLEAN, DNSBL_LISTED, DNSBL_POLICY, DNSBL_ERROR };

static const char *const state_texts[] = {"unknown", "clean", "listed", "policy", "error"};

struct question { /* of one address in one zone */
    struct dnsbl *dnsbl;
    uint32_t address, zone;
    uint8_t state;
    bool drains, open;
    char answer[16];
    int64_t at_ms;
};

struct dnsbl {
    struct ctl *ctl;
    struct question *questions; /* address by address, a zone after the other */
    uint32_t n, n_zones, next;  /* n grows with the addresses: dnsbl_follow() */
    uint64_t tick_ms;
    uv_timer_t timer;
};

bool dnsbl_listed(const struct dnsbl *d, uint32_t address)
{
    for (uint32_t zone = 0; d && zone < d->n_zones; zone++) {
        if (d->questions[(size_t)address * d->n_zones + zone].drains) {
            return true;
        }
    }
    return false;
}

/* ---- what an answer means ---------------------------------------------------------------- */

/* The group that an address is in. */
static const struct pool_group *group_of(const struct ctl *ctl, uint32_t address)
{
    const struct pool_groups *pool = &ctl->pools[ctl->config.dp.addresses[address].pool];
    for (uint32_t i = 0; i < pool->n; i++) {
        const struct pool_group *group = &pool->group[i];
        for (uint32_t k = 0; k < group->n; k++) {
            if (group->members[k] == address) {
                return group;
            }
        }
    }
    return NULL;
}

static bool all_listed(const struct dnsbl *d, const struct pool_group *group)
{
    for (uint32_t k = 0; k < group->n; k++) {
        if (!dnsbl_listed(d, group->members[k])) {
            return false;
        }
    }
    return true;
}

static void tell_library(struct dnsbl *d, const struct question *q, enum strategy_listing listing)
{
    const struct pool_group *group = group_of(d->ctl, q->address);
    if (!group || (group->n > 1 && listing == STRATEGY_LISTED && !all_listed(d, group))) {
        return;
    }
    (void)strategy_dnsbl(decisions_engine(d->ctl->decisions), decisions_now_ms(d->ctl->decisions),
                         group->name, d->ctl->config.dnsbl.zone[q->zone], listing);
}

static void tell_people(const struct dnsbl *d, const struct question *q)
{
    char ip[IP_ADDR_TEXT_MAX];
    const char *zone = d->ctl->config.dnsbl.zone[q->zone];
    (void)ip_addr_format(&d->ctl->config.dp.addresses[q->address].addr, ip);
    ctl_log(q->state == DNSBL_CLEAN ? CTL_LOG_INFO : CTL_LOG_WARN,
            "a block list has changed its mind", "ip=%s zone=%s state=%s answer=%s", ip, zone,
            state_texts[q->state], q->answer);
    json_t *event = event_new("dnsbl", q->at_ms);
    (void)json_object_set_new(event, "ip", json_string(ip));
    (void)json_object_set_new(event, "zone", json_string(zone));
    (void)json_object_set_new(event, "state", json_string(state_texts[q->state]));
    (void)json_object_set_new(event, "answer", json_string(q->answer));
    event_record(d->ctl, 0, event);
}

static enum strategy_listing meaning(const char *zone, const struct dns_txt *txt,
                                     char ret_answer[16])
{
    struct ip_addr addr;
    ret_answer[0] = '\0';
    if (!txt->found) {
        return STRATEGY_QUERY_FAILED;
    }
    if (txt->n == 0) {
        return STRATEGY_CLEAN;
    }
    enum strategy_listing worst = STRATEGY_QUERY_FAILED;
    for (uint32_t i = 0; i < txt->n && worst != STRATEGY_LISTED; i++) {
        (void)snprintf(ret_answer, 16, "%.15s", txt->text[i]);
        if (ip_addr_parse(txt->text[i], &addr)) {
            worst = strategy_listing(zone, addr.bytes);
        }
    }
    return worst;
}

static enum dnsbl_state state_of(enum strategy_listing listing)
{
    switch (listing) {
    case STRATEGY_CLEAN:
        return DNSBL_CLEAN;
    case STRATEGY_LISTED:
    case STRATEGY_LISTED_OTHER:
        return DNSBL_LISTED;
    case STRATEGY_POLICY_RANGE:
        return DNSBL_POLICY;
    case STRATEGY_DOMAIN_LIST:
    case STRATEGY_QUERY_FAILED:
        break;
    }
    return DNSBL_ERROR;
}

/* An error says nothing: what was known before still holds. */
static void on_answer(void *user, const struct dns_txt *txt)
{
    struct question *q = user;
    struct dnsbl *d = q->dnsbl;
    uint8_t before = q->state;
    char answer[16];
    enum strategy_listing listing = meaning(d->ctl->config.dnsbl.zone[q->zone], txt, answer);
    q->open = false;
    q->at_ms = ctl_time_ms();
    q->state = (uint8_t)state_of(listing);
    memcpy(q->answer, answer, sizeof q->answer);
    if (q->state != DNSBL_ERROR) {
        q->drains = listing == STRATEGY_LISTED;
    }
    tell_library(d, q, listing);
    if (q->state != before && !(before == DNSBL_UNKNOWN && q->state == DNSBL_CLEAN)) {
        tell_people(d, q);
    }
}

/* ---- asking ------------------------------------------------------------------------------ */

static void on_tick(uv_timer_t *timer)
{
    struct dnsbl *d = timer->data;
    struct question *q = &d->questions[d->next];
    char name[256];
    d->next = (d->next + 1) % d->n;
    if (!q->open && !d->ctl->config.dp.addresses[q->address].removed &&
        dnsbl_name(&d->ctl->config.dp.addresses[q->address].addr,
                   d->ctl->config.dnsbl.zone[q->zone], name, sizeof name)) {
        q->open = true;
        dns_listing(d->ctl->dns, name, on_answer, q);
    }
}

void dnsbl_follow(struct dnsbl *d)
{
    uint32_t n = d->n_zones * d->ctl->config.dp.n_addresses;
    if (n == d->n) {
        return;
    }
    for (uint32_t i = d->n; i < n; i++) {
        d->questions[i] =
            (struct question){.dnsbl = d, .address = i / d->n_zones, .zone = i % d->n_zones};
    }
    d->n = n;
    uint64_t interval_ms = (uint64_t)d->ctl->config.dnsbl.interval_s * 1000;
    d->tick_ms = interval_ms / d->n > TICK_MIN_MS ? interval_ms / d->n : TICK_MIN_MS;
    (void)uv_timer_start(&d->timer, on_tick, TICK_MIN_MS, d->tick_ms);
    uv_unref((uv_handle_t *)&d->timer);
}

struct dnsbl *dnsbl_open(struct ctl *ctl)
{
    struct dnsbl *d = ctl_must(calloc(1, sizeof *d));
    d->ctl = ctl;
    d->n_zones = ctl->config.dnsbl.n_zones;
    if (d->n_zones > 0) { /* untouched memory costs nothing */
        d->questions =
            ctl_must(calloc((size_t)d->n_zones * DP_ADDRESSES_MAX, sizeof d->questions[0]));
        d->timer.data = d;
        (void)uv_timer_init(ctl->loop, &d->timer);
        dnsbl_follow(d);
    }
    return d;
}

void dnsbl_stop(struct dnsbl *d)
{
    if (d->n_zones > 0) {
        (void)uv_timer_stop(&d->timer);
    }
}

void dnsbl_close(struct dnsbl *d)
{
    if (d) {
        free(d->questions);
    }
    free(d);
}

json_t *dnsbl_json(const struct dnsbl *d)
{
    json_t *list = ctl_must(json_array());
    for (uint32_t i = 0; i < d->n; i++) {
        const struct question *q = &d->questions[i];
        char ip[IP_ADDR_TEXT_MAX], at[CTL_TIME_TEXT];
        (void)ip_addr_format(&d->ctl->config.dp.addresses[q->address].addr, ip);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:o}", "ip", ip, "zone",
                            d->ctl->config.dnsbl.zone[q->zone], "state", state_texts[q->state],
                            "answer", q->answer, "at",
                            q->at_ms ? json_string(ctl_time_text(q->at_ms, at)) : json_null()));
    }
    return list;
}
