/*
 * test_queue_model.c - random operations against a naive model: one array of items, linear scans.
 *
 * The model does not repeat the queue's order of turns; it says what must hold of any answer:
 *
 *   - an item that is given was waiting, is due, is the first of its flow, its sender is not paused
 *     and its domain is below the limit; none is given only when no item is like that
 *   - while a sender could start something for certain, each other sender gets one turn at most;
 *     while a flow could for certain, each other flow of its sender gets one turn at most
 *   - the deadline is exact after an answer of "none", and never too late before
 */
#include "tests/dataplane/tap.h"
#include "tests/queue/queue_check.h"

#include <string.h>

#define STEPS   100000u
#define SENDERS 5u
#define DOMAINS 12u
#define ITEMS   160u

#define must(cond)                                                                                 \
    ((cond) ? (void)0 : ck_abort_msg("seed %u, step %u: %s", m->seed, m->step, #cond))

enum item_state { NONE, WAITS, FLIES };

struct item {
    enum item_state state;
    uint64_t id;
    uint32_t group, sender, domain;
    int64_t due_ms;
    struct queue_item handle;
};

struct model {
    struct queue *q;
    uint32_t seed, step, limit;
    uint64_t random, next_id;
    int64_t now_ms;
    struct item items[ITEMS];
    bool paused[SENDERS];
    /* Turns that `other` got while `mine` was certainly ready and got none: [mine][other]. */
    uint32_t sender_passed[SENDERS][SENDERS];
    uint32_t flow_passed[SENDERS][DOMAINS][DOMAINS];
    /* The scan of look(). */
    size_t n_waiting, n_flying;
    bool due[SENDERS][DOMAINS];
    uint32_t flying[DOMAINS];
    uint32_t n_given, n_none, n_blocked, n_over; /* that the test tests what it should */
};

static const char *const names[DOMAINS] = {
    "a.example", "b.example", "c.example", "d.example", "e.example", "f.example",
    "g.example", "h.example", "i.example", "j.example", "k.example", "l.example",
};

static uint32_t below(struct model *m, uint32_t n)
{
    m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((m->random >> 33) % n);
}

/* ---- what the model knows ---------------------------------------------------------------- */

static bool waits_due(const struct model *m, const struct item *item)
{
    return item->state == WAITS && item->due_ms <= m->now_ms;
}

/* One scan for what the questions below need. */
static void look(struct model *m)
{
    m->n_waiting = m->n_flying = 0;
    memset(m->due, 0, sizeof m->due);
    memset(m->flying, 0, sizeof m->flying);
    for (uint32_t i = 0; i < ITEMS; i++) {
        const struct item *item = &m->items[i];
        m->n_waiting += item->state == WAITS;
        m->n_flying += item->state == FLIES;
        m->flying[item->domain] += item->state == FLIES;
        m->due[item->sender][item->domain] |= waits_due(m, item);
    }
}

static bool startable(const struct model *m, const struct item *item)
{
    return waits_due(m, item) && !m->paused[item->sender] && m->flying[item->domain] < m->limit;
}

/* Whatever is promised to others, a place is left. */
static bool flow_certain(const struct model *m, uint32_t sender, uint32_t domain)
{
    uint32_t others = 0;
    for (uint32_t s = 0; s < SENDERS; s++) {
        others += s != sender && m->due[s][domain];
    }
    return m->due[sender][domain] && !m->paused[sender] && m->flying[domain] + others < m->limit;
}

static bool first_of_flow(const struct model *m, const struct item *item)
{
    for (uint32_t i = 0; i < ITEMS; i++) {
        const struct item *other = &m->items[i];
        if (other->state != WAITS || other->sender != item->sender ||
            other->domain != item->domain) {
            continue;
        }
        if (other->due_ms < item->due_ms ||
            (other->due_ms == item->due_ms && other->id < item->id)) {
            return false;
        }
    }
    return true;
}

static struct item *random_item(struct model *m, enum item_state state)
{
    uint32_t start = below(m, ITEMS);
    for (uint32_t i = 0; i < ITEMS; i++) {
        if (m->items[(start + i) % ITEMS].state == state) {
            return &m->items[(start + i) % ITEMS];
        }
    }
    return NULL;
}

/* ---- fairness ---------------------------------------------------------------------------- */

/* Who may be kept waiting from now on. */
static void forget_the_uncertain(struct model *m)
{
    for (uint32_t s = 0; s < SENDERS; s++) {
        bool any = false;
        for (uint32_t d = 0; d < DOMAINS; d++) {
            bool certain = flow_certain(m, s, d);
            any |= certain;
            if (!certain) {
                memset(m->flow_passed[s][d], 0, sizeof m->flow_passed[s][d]);
            }
        }
        if (!any) {
            memset(m->sender_passed[s], 0, sizeof m->sender_passed[s]);
        }
    }
}

static void count_turn(struct model *m, uint32_t sender, uint32_t domain)
{
    for (uint32_t s = 0; s < SENDERS; s++) {
        for (uint32_t d = 0; s != sender && d < DOMAINS; d++) {
            if (flow_certain(m, s, d)) {
                must(++m->sender_passed[s][sender] <= 1);
                break;
            }
        }
    }
    for (uint32_t d = 0; d < DOMAINS; d++) {
        if (d != domain && flow_certain(m, sender, d)) {
            must(++m->flow_passed[sender][d][domain] <= 1);
        }
    }
    memset(m->sender_passed[sender], 0, sizeof m->sender_passed[sender]);
    memset(m->flow_passed[sender][domain], 0, sizeof m->flow_passed[sender][domain]);
}

/* ---- operations -------------------------------------------------------------------------- */

static int64_t random_due(struct model *m)
{
    return below(m, 3) == 0 ? m->now_ms - below(m, 50) : m->now_ms + below(m, 200);
}

static struct item *new_item(struct model *m)
{
    struct item *item = random_item(m, NONE);
    if (item) {
        *item = (struct item){
            .id = (m->next_id + below(m, 100)) * ITEMS + (uint64_t)(item - m->items),
            .group = below(m, 3),
            .sender = below(m, 1 + below(m, SENDERS)), /* the first ones more often */
            .domain = below(m, 1 + below(m, DOMAINS)),
            .due_ms = random_due(m),
        };
        m->next_id++;
    }
    return item;
}

static void op_add(struct model *m)
{
    struct item *item = new_item(m);
    if (item) {
        item->state = WAITS;
        must(queue_add(m->q, item->sender, names[item->domain], item->id, item->group,
                       item->due_ms));
    }
}

static void op_adopt(struct model *m)
{
    struct item *item = new_item(m);
    if (item) {
        item->state = FLIES;
        item->due_ms = 0;
        must(queue_add_in_flight(m->q, item->sender, names[item->domain], item->id, item->group,
                                 &item->handle));
        must(item->handle.message_id == item->id && item->handle.group == item->group);
        must(item->handle.due_ms == 0);
        m->n_over += m->flying[item->domain] >= m->limit;
    }
}

static void check_given(struct model *m, const struct queue_item *got)
{
    struct item *item = &m->items[got->message_id % ITEMS];
    must(item->id == got->message_id && item->group == got->group && item->due_ms == got->due_ms);
    must(startable(m, item));
    must(first_of_flow(m, item));
    count_turn(m, item->sender, item->domain);
    item->state = FLIES;
    item->handle = *got;
    m->n_given++;
}

static void check_none(struct model *m)
{
    int64_t deadline_ms = INT64_MAX;
    for (uint32_t i = 0; i < ITEMS; i++) {
        const struct item *item = &m->items[i];
        must(!startable(m, item));
        m->n_blocked += waits_due(m, item) && !m->paused[item->sender];
        if (item->state == WAITS && !m->due[item->sender][item->domain]) {
            deadline_ms = item->due_ms < deadline_ms ? item->due_ms : deadline_ms;
        }
    }
    must(queue_deadline_ms(m->q) == deadline_ms);
    m->n_none++;
}

static void op_next(struct model *m)
{
    struct queue_item got, untouched = {.message_id = 1, .group = 2, .due_ms = 3};
    got = untouched;
    if (queue_next(m->q, m->now_ms, &got)) {
        check_given(m, &got);
    } else {
        must(memcmp(&got, &untouched, sizeof got) == 0);
        check_none(m);
    }
}

static void op_land(struct model *m)
{
    struct item *item = random_item(m, FLIES);
    if (!item) {
        return;
    }
    struct queue_item handle = item->handle;
    switch (below(m, 5)) {
    case 0:
    case 1:
        item->state = NONE;
        queue_finish(m->q, &handle);
        break;
    case 2:
    case 3:
        item->state = WAITS;
        item->due_ms = random_due(m);
        queue_again(m->q, &handle, item->due_ms);
        break;
    default:
        item->state = WAITS;
        m->paused[item->sender] = true;
        queue_put_back(m->q, &handle);
        break;
    }
}

static void op_resume(struct model *m)
{
    memset(m->paused, 0, sizeof m->paused);
    queue_resume(m->q);
}

/* ---- the run ----------------------------------------------------------------------------- */

static void check_after(struct model *m)
{
    int64_t first_ms = INT64_MAX;
    look(m);
    for (uint32_t i = 0; i < ITEMS; i++) {
        const struct item *item = &m->items[i];
        if (item->state == WAITS && !m->paused[item->sender] &&
            m->flying[item->domain] < m->limit) {
            first_ms = item->due_ms < first_ms ? item->due_ms : first_ms;
        }
        if (item->state == FLIES) {
            must(queue_sender(m->q, &item->handle) == item->sender);
            must(strcmp(queue_domain(m->q, &item->handle), names[item->domain]) == 0);
        }
    }
    must(queue_deadline_ms(m->q) <= (first_ms < m->now_ms ? m->now_ms : first_ms));
    must(queue_waiting(m->q) == m->n_waiting);
    must(queue_in_flight(m->q) == m->n_flying);
    queue_check(m->q);
    forget_the_uncertain(m);
}

/* Phases of growth and of decline, so that flows and domains come and go. */
static void step(struct model *m)
{
    bool growing = m->step / 512 % 2 == 0;
    uint32_t what = below(m, 100);
    if (what < (growing ? 30u : 10u)) {
        op_add(m);
    } else if (what < 70) {
        op_next(m);
    } else if (what < (growing ? 80u : 90u)) {
        op_land(m);
    } else if (what < 94) {
        op_resume(m);
    } else if (what < 95 && below(m, 4) == 0) {
        op_adopt(m);
    } else {
        m->now_ms += below(m, 40);
    }
    check_after(m);
}

/* All that is left is started and finished; then nothing is left of the queue. */
static void drain(struct model *m)
{
    m->now_ms += 1000;
    for (look(m); m->n_waiting + m->n_flying > 0; look(m)) {
        struct item *item = random_item(m, FLIES);
        op_resume(m);
        op_next(m);
        if (item) {
            item->state = NONE;
            queue_finish(m->q, &item->handle);
        }
        check_after(m);
    }
    must(queue_check_flows(m->q) == 0 && queue_check_domains(m->q) == 0);
}

START_TEST(any_sequence_of_operations_is_answered_as_the_model_says)
{
    struct model *m = calloc(1, sizeof *m);
    ck_assert_ptr_nonnull(m);
    m->seed = (uint32_t)_i;
    m->random = (uint64_t)_i * UINT64_C(0x9e3779b97f4a7c15) + 1;
    m->limit = 1 + (uint32_t)_i % 4;
    m->now_ms = 1000000;
    m->q = queue_new(m->limit);
    ck_assert_ptr_nonnull(m->q);
    for (m->step = 0; m->step < STEPS; m->step++) {
        step(m);
    }
    drain(m);
    ck_assert_uint_gt(m->n_given, STEPS / 20);
    ck_assert_uint_gt(m->n_none, STEPS / 100);
    ck_assert_uint_gt(m->n_blocked, 1000);
    ck_assert_uint_gt(m->n_over, 10);
    queue_free(m->q);
    free(m);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("queue model");
    tcase_add_loop_test(tc, any_sequence_of_operations_is_answered_as_the_model_says, 0, 6);
    return tap_run("queue model", tc);
}
