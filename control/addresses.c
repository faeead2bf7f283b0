/* addresses.c - from what is wanted to the lanes' tables: see addresses.h. */
#include "control/addresses_private.h"

#include "control/dispatch.h"
#include "control/events.h"
#include "control/lanes.h"

#define TICK_MS 50

static const char *const is_texts[] = {
#define X(name, text) text,
    CHAN_ADDRESS_MAP(X)
#undef X
};

/* ---- what there is ----------------------------------------------------------------------- */

uint32_t addresses_find(const struct addresses *a, const struct ip_addr *addr)
{
    uint32_t index = addr_map_get(&a->map, addr);
    return index != ADDR_MAP_NONE && !address_at(a, index)->removed ? index : UINT32_MAX;
}

uint32_t addresses_append(struct addresses *a, const struct ip_addr *addr, uint32_t lane,
                          uint32_t pool)
{
    struct dp_config *dp = &a->ctl->config.dp;
    uint32_t index = dp->n_addresses;
    if (!addr_map_put(&a->map, addr, index)) {
        return UINT32_MAX;
    }
    dp->n_addresses++;
    dp->addresses[index] = (struct dp_address){.addr = *addr, .lane = lane, .pool = pool};
    a->list[index] = (struct own_address){
        .config_lane = UINT32_MAX, .at_lane = UINT32_MAX, .at_entry = UINT32_MAX};
    return index;
}

bool addresses_is_added(const struct addresses *a, uint32_t index)
{
    return !a->list[index].configured;
}

static struct chan_control *table_of(const struct addresses *a, uint32_t index)
{
    return a->ctl->lanes->list[a->list[index].at_lane].chan;
}

static enum chan_address_is is_now(const struct addresses *a, uint32_t index)
{
    const struct own_address *own = &a->list[index];
    return own->at_lane == UINT32_MAX ? CHAN_ADDRESS_GONE
                                      : chan_address_is(table_of(a, index), own->at_entry);
}

static bool at_home(const struct addresses *a, uint32_t index)
{
    return a->list[index].at_lane == address_at(a, index)->lane && !address_at(a, index)->removed;
}

bool addresses_usable(const struct addresses *a, uint32_t index)
{
    if (!at_home(a, index) || a->list[index].drained) {
        return false;
    }
    enum chan_address_is is = is_now(a, index);
    return is == CHAN_ADDRESS_UP || is == CHAN_ADDRESS_TENTATIVE;
}

bool addresses_out_of_use(const struct addresses *a, uint32_t index)
{
    enum chan_address_is is = is_now(a, index);
    return address_at(a, index)->removed || a->list[index].drained ||
           is == CHAN_ADDRESS_DUPLICATE || is == CHAN_ADDRESS_REFUSED;
}

const char *addresses_state_text(const struct addresses *a, uint32_t index)
{
    if (at_home(a, index)) {
        return is_texts[is_now(a, index)];
    }
    return address_at(a, index)->removed          ? "leaving"
           : a->list[index].at_lane == UINT32_MAX ? "waiting"
                                                  : "moving";
}

uint32_t addresses_sessions(const struct addresses *a, uint32_t index)
{
    const struct own_address *own = &a->list[index];
    return own->at_lane == UINT32_MAX ? 0
                                      : chan_address_sessions(table_of(a, index), own->at_entry);
}

struct count {
    const struct addresses *a;
    uint32_t *n;
};

static void count_job(void *user, struct ctl_job *job)
{
    struct count *count = user;
    uint32_t index = addr_map_get(&count->a->map, &job->source);
    if (index != ADDR_MAP_NONE) {
        count->n[index]++;
    }
}

uint32_t *addresses_count_jobs(const struct addresses *a)
{
    struct count count = {
        a, ctl_must(calloc((size_t)a->ctl->config.dp.n_addresses + 1, sizeof(uint32_t)))};
    lanes_each_job(a->ctl->lanes, count_job, &count);
    return count.n;
}

/* ---- events ------------------------------------------------------------------------------ */

void addresses_event(const struct addresses *a, const char *action, uint32_t index)
{
    const struct dp_address *address = address_at(a, index);
    const struct dp_config *dp = &a->ctl->config.dp;
    char text[IP_ADDR_TEXT_MAX];
    json_t *event = event_new("address", ctl_time_ms());
    (void)json_object_set_new(event, "address", json_string(ip_addr_format(&address->addr, text)));
    (void)json_object_set_new(event, "action", json_string(action));
    (void)json_object_set_new(
        event, "pool",
        json_string(address->pool < dp->n_pools ? dp->pools[address->pool].name : ""));
    (void)json_object_set_new(event, "port",
                              json_string(dp->ports[dp->lanes[address->lane].port].name));
    (void)json_object_set_new(event, "queue", json_integer(dp->lanes[address->lane].queue));
    event_record(a->ctl, 0, event);
}

/* What people wait for, or have to know; not every step between. */
static void tell(struct addresses *a, uint32_t index)
{
    struct own_address *own = &a->list[index];
    uint8_t is = (uint8_t)is_now(a, index), before = own->told;
    if (is == before || !at_home(a, index)) {
        return;
    }
    own->told = is;
    if (is == CHAN_ADDRESS_DRAINED || is == CHAN_ADDRESS_DUPLICATE || is == CHAN_ADDRESS_REFUSED ||
        (is == CHAN_ADDRESS_UP && before == CHAN_ADDRESS_DUPLICATE)) {
        addresses_event(a, is_texts[is], index);
    }
    dispatch_wake(a->ctl);
}

/* ---- one step towards what is wanted ------------------------------------------------------- */

static bool has_table(const struct addresses *a, uint32_t lane)
{
    const struct lane *l = &a->ctl->lanes->list[lane];
    return l->chan && !l->retired && chan_addresses_max(l->chan) > 0;
}

/* It stands in a table where it is not to be. True: it is out of it. */
static bool step_out(struct addresses *a, uint32_t index, uint64_t *lanes)
{
    struct own_address *own = &a->list[index];
    struct chan_control *table = table_of(a, index);
    if (chan_address_want(table, own->at_entry) != CHAN_ADDRESS_NONE) {
        chan_address_set(table, own->at_entry, CHAN_ADDRESS_NONE);
        *lanes |= UINT64_C(1) << own->at_lane;
        return false;
    }
    if (chan_address_is(table, own->at_entry) != CHAN_ADDRESS_GONE) {
        return false;
    }
    own->at_lane = own->at_entry = UINT32_MAX;
    own->told = CHAN_ADDRESS_GONE;
    if (address_at(a, index)->removed) {
        addresses_event(a, "removed", index);
    }
    return true;
}

static bool step_in(struct addresses *a, uint32_t index, uint64_t *lanes)
{
    struct own_address *own = &a->list[index];
    const struct dp_address *address = address_at(a, index);
    enum chan_address_want want = own->drained ? CHAN_ADDRESS_DRAIN : CHAN_ADDRESS_USE;
    if (!has_table(a, address->lane) ||
        !chan_address_put(a->ctl->lanes->list[address->lane].chan, &address->addr, 0, want,
                          &own->at_entry)) {
        return false; /* the table is full of those that leave: later */
    }
    own->at_lane = address->lane;
    *lanes |= UINT64_C(1) << own->at_lane;
    return true;
}

/* True when nothing is left to be done or to be waited for. lanes: those to be told. */
static bool step(struct addresses *a, uint32_t index, uint64_t *lanes)
{
    struct own_address *own = &a->list[index];
    if (own->at_lane != UINT32_MAX && !at_home(a, index) && !step_out(a, index, lanes)) {
        return false;
    }
    if (address_at(a, index)->removed) {
        return true;
    }
    if (own->at_lane == UINT32_MAX && !step_in(a, index, lanes)) {
        return false;
    }
    enum chan_address_want want = own->drained ? CHAN_ADDRESS_DRAIN : CHAN_ADDRESS_USE;
    if (chan_address_want(table_of(a, index), own->at_entry) != want) {
        chan_address_set(table_of(a, index), own->at_entry, want);
        *lanes |= UINT64_C(1) << own->at_lane;
    }
    tell(a, index);
    enum chan_address_is is = is_now(a, index);
    return own->drained ? is == CHAN_ADDRESS_DRAINED
                        : is == CHAN_ADDRESS_UP || is == CHAN_ADDRESS_DUPLICATE ||
                              is == CHAN_ADDRESS_REFUSED;
}

static bool step_all(struct addresses *a)
{
    uint64_t lanes = 0;
    bool settled = true;
    for (uint32_t i = 0; i < a->ctl->config.dp.n_addresses; i++) {
        settled &= step(a, i, &lanes);
    }
    for (uint32_t lane = 0; lanes != 0; lane++, lanes >>= 1) {
        if (lanes & 1) {
            chan_addresses_end(a->ctl->lanes->list[lane].chan);
        }
    }
    return settled;
}

static_assert(DP_LANES_MAX <= 64, "mask of lanes");

/* ---- jobs that are to come back ------------------------------------------------------------ */

static void recall_job(void *user, struct ctl_job *job)
{
    const struct addresses *a = user;
    uint32_t index = addr_map_get(&a->map, &job->source);
    if (index != ADDR_MAP_NONE && job->lane != LANE_RELAY && !job->recalled &&
        (a->list[index].drained || !at_home(a, index))) {
        lanes_recall(a->ctl->lanes, job);
    }
}

/* ---- time -------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer)
{
    struct addresses *a = timer->data;
    if (step_all(a)) {
        (void)uv_timer_stop(timer);
        a->ticking = false;
    }
}

void addresses_wanted(struct addresses *a)
{
    bool settled = step_all(a);
    lanes_each_job(a->ctl->lanes, recall_job, a);
    lanes_recall_end(a->ctl->lanes);
    if (!settled && !a->ticking) {
        a->ticking = true;
        (void)uv_timer_start(&a->timer, on_tick, TICK_MS, TICK_MS);
        uv_unref((uv_handle_t *)&a->timer);
    }
    dispatch_wake(a->ctl);
}

/* ---- open and close ---------------------------------------------------------------------- */

/* What a table has is taken as it is; what nobody knows leaves like a removed address. */
static void follow_table(struct addresses *a, uint32_t lane)
{
    struct chan_control *table = a->ctl->lanes->list[lane].chan;
    for (uint32_t entry = 0; entry < chan_addresses_max(table); entry++) {
        struct ip_addr addr = chan_address_at(table, entry);
        if (addr.family == 0) {
            continue;
        }
        uint32_t index = addr_map_get(&a->map, &addr);
        if (index == ADDR_MAP_NONE) {
            index = addresses_append(a, &addr, lane, 0);
            if (index == UINT32_MAX) {
                chan_address_set(table, entry, CHAN_ADDRESS_NONE);
                continue;
            }
            address_at(a, index)->removed = true;
        }
        if (a->list[index].at_lane != UINT32_MAX) { /* twice: one of them goes */
            chan_address_set(table, entry, CHAN_ADDRESS_NONE);
            continue;
        }
        a->list[index].at_lane = lane;
        a->list[index].at_entry = entry;
    }
}

void addresses_follow_lanes(struct addresses *a)
{
    for (uint32_t i = 0; i < a->ctl->config.dp.n_addresses; i++) {
        a->list[i].at_lane = a->list[i].at_entry = UINT32_MAX;
        a->list[i].told = CHAN_ADDRESS_GONE;
    }
    for (uint32_t lane = 0; lane < a->ctl->config.dp.n_lanes; lane++) {
        if (has_table(a, lane)) {
            follow_table(a, lane);
        }
    }
    addresses_wanted(a);
}

static void take_configured(struct addresses *a)
{
    const struct dp_config *dp = &a->ctl->config.dp;
    for (uint32_t i = 0; i < dp->n_addresses; i++) {
        INVARIANT(addr_map_put(&a->map, &dp->addresses[i].addr, i));
        a->list[i] = (struct own_address){.configured = true,
                                          .config_lane = dp->addresses[i].lane,
                                          .at_lane = UINT32_MAX,
                                          .at_entry = UINT32_MAX};
    }
    for (uint32_t i = 0; i < a->ctl->config.n_senders; i++) {
        const struct ctl_sender *sender = &a->ctl->config.senders[i];
        a->configured_pool[i] = sender->has_pool ? sender->pool : UINT32_MAX;
    }
}

/* Memory for all that may ever come, once: nothing moves under its users. */
struct addresses *addresses_open(struct ctl *ctl)
{
    struct dp_config *dp = &ctl->config.dp;
    struct addresses *a = ctl_must(calloc(1, sizeof *a));
    a->ctl = ctl;
    a->list = ctl_must(calloc(DP_ADDRESSES_MAX, sizeof a->list[0]));
    a->configured_pool = ctl_must(calloc((size_t)ctl->config.n_senders + 1, sizeof(uint32_t)));
    (void)ctl_must(addr_map_init(&a->map, DP_ADDRESSES_MAX) ? a : NULL);
    dp->addresses = ctl_must(realloc(dp->addresses, DP_ADDRESSES_MAX * sizeof dp->addresses[0]));
    dp->pools =
        ctl_must(realloc(dp->pools, (dp->n_pools + ADDRESSES_POOLS_MORE) * sizeof dp->pools[0]));
    a->n_configured_pools = dp->n_pools;
    take_configured(a);
    addresses_read(a);
    a->timer.data = a;
    (void)uv_timer_init(ctl->loop, &a->timer);
    return a;
}

void addresses_close(struct addresses *a)
{
    if (a) {
        addr_map_fini(&a->map);
        free(a->configured_pool);
        free(a->list);
    }
    free(a);
}
