/*
 * fuzz_tcp_pair.c - two stacks talk to each other, and the input decides what happens to each
 * frame: it passes, is lost, comes twice, late, cut short or with a changed byte. Checksums are
 * declared good, so that changed frames are looked at. Time moves as the stacks' deadlines say.
 * After each step every invariant is checked, at the end all references must be back.
 */
#include "tcp/utcp.h"
#include "tcp/utcp_wire.h"

#define QUEUE     64u
#define FRAME_MAX 2048u
#define STEPS_MAX 3000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct flying {
    uint32_t len, to;
    uint8_t bytes[FRAME_MAX];
};

struct world {
    struct utcp *u[2];
    uint64_t now_ns;
    struct flying queue[QUEUE];
    uint32_t first, count;
    struct utcp_extent extent;
    const uint8_t *data;
    size_t left;
};

static uint8_t payload[60000];

static uint8_t take(struct world *w)
{
    if (w->left == 0)
        return 0;
    w->left--;
    return *w->data++;
}

static struct utcp *stack_new(unsigned host, uint8_t family)
{
    struct utcp_config config = {.mac = {0x02, 0, 0, 0, 0, (uint8_t)(1 + host)},
                                 .mtu = 1500,
                                 .prefix4_len = 24,
                                 .prefix6_len = 64,
                                 .rx_window_bytes = 20000,
                                 .limits = {.connections = 4,
                                            .segments = 64,
                                            .chunks = 64,
                                            .time_wait = 4,
                                            .addresses = 1,
                                            .neighbours = 2,
                                            .listeners = 1,
                                            .reassemblies = 2,
                                            .paths = 2}};
    struct utcp *u;
    int error;

    (void)ip_addr_parse("192.0.2.0", &config.prefix4);
    if (family == 6)
        (void)ip_addr_parse("2001:db8::", &config.prefix6);
    u = utcp_create(&config, &error);
    INVARIANT(u != NULL);
    return u;
}

static struct ip_addr address(unsigned host, uint8_t family)
{
    struct ip_addr addr = {0};
    char text[32];

    (void)snprintf(text, sizeof text, "%s%u", family == 6 ? "2001:db8::" : "192.0.2.", host + 1);
    INVARIANT(ip_addr_parse(text, &addr));
    return addr;
}

/* ---- the link ------------------------------------------------------------------------------- */

static void fly(struct world *w, uint32_t to, const uint8_t *bytes, uint32_t len)
{
    struct flying *f = &w->queue[(w->first + w->count) % QUEUE];

    if (w->count == QUEUE)
        return;
    w->count++;
    f->to = to;
    f->len = len;
    memcpy(f->bytes, bytes, len);
}

static void send_one(struct world *w, uint32_t from, const struct utcp_frame *frame)
{
    uint8_t bytes[FRAME_MAX];
    uint32_t len = frame->head_len;
    const uint8_t fate = take(w);

    memcpy(bytes, frame->head, len);
    for (uint32_t i = 0; i < frame->n_slices; i++) {
        memcpy(bytes + len, frame->slices[i].data, frame->slices[i].len);
        len += frame->slices[i].len;
    }
    INVARIANT(len <= ETH_LEN + 1500);
    if (fate == 1)
        return;
    if (fate == 2)
        fly(w, 1 - from, bytes, len);
    if (fate == 3)
        len -= take(w) % (len - ETH_LEN);
    if (fate == 4)
        bytes[(take(w) * 8u + take(w)) % len] ^= take(w);
    if (fate == 5) /* a field of TCP or of its options */
        bytes[(ETH_LEN + IPV4_LEN + take(w) % 60u) % len] = take(w);
    fly(w, 1 - from, bytes, len);
}

static void deliver(struct world *w)
{
    struct flying *f = &w->queue[w->first];
    uint8_t *copy;

    if (w->count == 0)
        return;
    if (take(w) == 6 && w->count > 1) { /* the next one overtakes it */
        const struct flying late = *f;

        *f = w->queue[(w->first + 1) % QUEUE];
        w->queue[(w->first + 1) % QUEUE] = late;
    }
    w->first = (w->first + 1) % QUEUE;
    w->count--;
    copy = malloc(f->len + 1); /* reading beyond the end is seen */
    INVARIANT(copy != NULL);
    memcpy(copy, f->bytes, f->len);
    utcp_input(w->u[f->to], w->now_ns, copy, f->len, UTCP_RX_IP_CSUM_GOOD | UTCP_RX_L4_CSUM_GOOD);
    free(copy);
}

/* ---- the applications ----------------------------------------------------------------------- */

static void on_event(struct world *w, unsigned host, const struct utcp_event *event)
{
    uint8_t buf[4096];

    if ((event->events & (UTCP_EV_CONNECTED | UTCP_EV_ACCEPTED)) != 0) {
        (void)utcp_send(w->u[host], w->now_ns, event->conn, &w->extent, 0, 15000);
        (void)utcp_send_copy(w->u[host], w->now_ns, event->conn, payload, 700);
        utcp_push(w->u[host], w->now_ns, event->conn);
        if (host == 0)
            (void)utcp_shutdown(w->u[host], w->now_ns, event->conn);
    }
    while (utcp_recv(w->u[host], w->now_ns, event->conn, buf, sizeof buf) > 0)
        ;
    if ((event->events & UTCP_EV_EOF) != 0)
        (void)utcp_shutdown(w->u[host], w->now_ns, event->conn);
    if ((event->events & UTCP_EV_CLOSED) != 0)
        utcp_release(w->u[host], w->now_ns, event->conn);
}

static void turn(struct world *w, unsigned host)
{
    uint8_t head[UTCP_HEAD_MAX];
    struct utcp_frame frame = {.head = head};
    struct utcp_event event;

    while (utcp_next_event(w->u[host], &event))
        on_event(w, host, &event);
    for (unsigned i = 0; utcp_output(w->u[host], w->now_ns, &frame); i++) {
        INVARIANT(i < 5000); /* no storm */
        send_one(w, host, &frame);
    }
    utcp_check(w->u[host]);
}

/* When nothing flies, time jumps to the next deadline; false when there is none. */
static bool advance(struct world *w)
{
    uint64_t next = TIME_NEVER_NS;

    for (unsigned h = 0; h < 2; h++)
        if (utcp_deadline_ns(w->u[h]) < next)
            next = utcp_deadline_ns(w->u[h]);
    if (next == TIME_NEVER_NS)
        return false;
    w->now_ns = next > w->now_ns ? next : w->now_ns + NS_PER_MS;
    for (unsigned h = 0; h < 2; h++)
        utcp_on_deadline(w->u[h], w->now_ns);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct world *w = &world;
    struct utcp_connect req = {.remote_port = 25};
    uint8_t family;
    uint32_t conn;

    memset(w, 0, sizeof *w);
    w->data = data;
    w->left = size;
    w->now_ns = NS_PER_S;
    w->extent = (struct utcp_extent){.data = payload, .len = sizeof payload, .refs = 1};
    family = take(w) % 2 == 0 ? 4 : 6;
    for (unsigned h = 0; h < 2; h++) {
        const struct ip_addr addr = address(h, family);

        w->u[h] = stack_new(h, family);
        INVARIANT(utcp_address_add(w->u[h], w->now_ns, &addr) == UTCP_OK);
        INVARIANT(utcp_listen(w->u[h], &addr, 25, NULL) == UTCP_OK);
    }
    req.local = address(0, family);
    req.remote = address(1, family);
    (void)utcp_connect(w->u[0], w->now_ns, &req, &conn);
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        turn(w, 0);
        turn(w, 1);
        if (w->count > 0)
            deliver(w);
        else if (!advance(w))
            break;
    }
    for (unsigned h = 0; h < 2; h++)
        utcp_destroy(w->u[h]);
    INVARIANT(w->extent.refs == 1);
    return 0;
}
