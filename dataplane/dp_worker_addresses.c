/*
 * dp_worker_addresses.c - a lane's source addresses follow the table that control shares with it
 * (chan_address.h says what the words mean). See dp_worker.h.
 *
 * The whole table is looked at when control says that it has changed; nothing of it costs the
 * frames anything. What the lane has made of it is written back ten times a second, a slice at a
 * time, and at once where a drain is waited for.
 */
#include "dataplane/dp_worker.h"

#define LEAVE_NS   (500 * NS_PER_MS) /* for the FINs of connections that have just ended */
#define SLICE_SIZE 1024u             /* entries told about in one turn of publishing */

static struct chan_address *entry_at(const struct dp_worker *lane, uint32_t number)
{
    return &lane->channel.map.addresses[number];
}

static void tell(const struct dp_worker *lane, uint32_t number, enum chan_address_is is)
{
    atomic_store_explicit(&entry_at(lane, number)->is, is, memory_order_release);
}

uint32_t dp_worker_addresses_used(const struct dp_worker *lane)
{
    const struct chan_map *map = &lane->channel.map;
    uint32_t used = atomic_load_explicit(&map->header->addresses_used, memory_order_acquire);
    return used < map->n_addresses ? used : map->n_addresses;
}

bool dp_worker_address_owned(const struct dp_worker *lane, uint32_t number,
                             struct ip_addr *ret_addr)
{
    const struct chan_address *entry = entry_at(lane, number);
    bool wanted = atomic_load_explicit(&entry->want, memory_order_acquire) != CHAN_ADDRESS_NONE;
    *ret_addr = entry->addr;
    return wanted || atomic_load_explicit(&entry->is, memory_order_acquire) != CHAN_ADDRESS_GONE;
}

/* ---- following --------------------------------------------------------------------------- */

static void bind_address(struct dp_worker *lane, uint64_t now_ns, uint32_t number)
{
    const struct ip_addr addr = entry_at(lane, number)->addr;
    if (utcp_address_add(lane->tcp, now_ns, &addr) != UTCP_OK) {
        tell(lane, number, CHAN_ADDRESS_REFUSED);
        return;
    }
    if (!dp_sources_add(&lane->sources, number, &addr)) { /* twice in the table: nonsense */
        (void)utcp_address_remove(lane->tcp, now_ns, &addr);
        tell(lane, number, CHAN_ADDRESS_REFUSED);
    }
}

static enum chan_address_is state_of(const struct dp_worker *lane, const struct dp_source *source)
{
    if (source->draining) {
        return source->sessions > 0 ? CHAN_ADDRESS_DRAINING : CHAN_ADDRESS_DRAINED;
    }
    switch (utcp_address_state(lane->tcp, &source->addr)) {
    case UTCP_ADDRESS_TENTATIVE:
        return CHAN_ADDRESS_TENTATIVE;
    case UTCP_ADDRESS_USABLE:
        return CHAN_ADDRESS_UP;
    case UTCP_ADDRESS_DUPLICATE:
        return CHAN_ADDRESS_DUPLICATE;
    case UTCP_ADDRESS_NONE:
        break;
    }
    return CHAN_ADDRESS_REFUSED;
}

static void report(struct dp_worker *lane, uint32_t number)
{
    const struct dp_source *source = &lane->sources.list[number];
    if (source->addr.family != 0) {
        atomic_store_explicit(&entry_at(lane, number)->sessions, source->sessions,
                              memory_order_relaxed);
        tell(lane, number, source->leaving ? CHAN_ADDRESS_DRAINING : state_of(lane, source));
    }
}

/* True when the source drains from now on. */
static bool follow(struct dp_worker *lane, uint64_t now_ns, uint32_t number)
{
    struct dp_source *source = &lane->sources.list[number];
    uint32_t want = atomic_load_explicit(&entry_at(lane, number)->want, memory_order_acquire);
    bool drained = source->draining;
    if (source->addr.family == 0) {
        if (want == CHAN_ADDRESS_NONE) {
            tell(lane, number, CHAN_ADDRESS_GONE);
            return false;
        }
        bind_address(lane, now_ns, number);
        if (source->addr.family == 0) {
            return false;
        }
    }
    source->draining = want != CHAN_ADDRESS_USE;
    source->leaving = want == CHAN_ADDRESS_NONE;
    report(lane, number);
    return source->draining && !drained;
}

void dp_worker_addresses_follow(struct dp_worker *lane, uint64_t now_ns)
{
    uint32_t changed =
        atomic_load_explicit(&lane->channel.map.header->addresses_changed, memory_order_acquire);
    if (changed == lane->addresses_changed) {
        return;
    }
    lane->addresses_changed = changed;
    bool drains = false;
    for (uint32_t i = 0, n = dp_worker_addresses_used(lane); i < n; i++) {
        drains |= follow(lane, now_ns, i);
    }
    if (drains) {
        dp_sessions_drain_sources(lane->sessions, now_ns);
    }
    lane->addresses_draining = true; /* dp_worker_addresses_publish() looks whether it is so */
}

/* ---- telling ----------------------------------------------------------------------------- */

/* False: it is not over yet. */
static bool leave(struct dp_worker *lane, uint64_t now_ns, uint32_t number)
{
    struct dp_source *source = &lane->sources.list[number];
    if (source->sessions > 0) {
        source->empty_ns = TIME_NEVER_NS;
        return false;
    }
    if (source->empty_ns == TIME_NEVER_NS) {
        source->empty_ns = now_ns;
    }
    if (now_ns - source->empty_ns < LEAVE_NS) {
        return false;
    }
    (void)utcp_address_remove(lane->tcp, now_ns, &source->addr);
    dp_sources_remove(&lane->sources, number);
    tell(lane, number, CHAN_ADDRESS_GONE);
    return true;
}

void dp_worker_addresses_publish(struct dp_worker *lane, uint64_t now_ns)
{
    uint32_t n = dp_worker_addresses_used(lane);
    bool draining = false;
    for (uint32_t i = 0; lane->addresses_draining && i < n; i++) {
        if (lane->sources.list[i].draining &&
            !(lane->sources.list[i].leaving && leave(lane, now_ns, i))) {
            draining = true;
            report(lane, i);
        }
    }
    lane->addresses_draining = draining;
    for (uint32_t i = 0; i < SLICE_SIZE && i < n; i++) {
        lane->addresses_next = lane->addresses_next < n ? lane->addresses_next : 0;
        report(lane, lane->addresses_next++);
    }
}
