/* emulator.c - see emulator.h. */
#include "tests/tcp/emulator.h"

#include "tcp/utcp_wire.h"

static uint64_t draw(struct emu *emu) /* splitmix64 */
{
    uint64_t z = emu->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static bool chance(struct emu *emu, uint32_t per_million)
{
    return draw(emu) % 1000000 < per_million;
}

void emu_start(struct emu *emu, const struct emu_config *config, uint64_t seed)
{
    *emu = (struct emu){.config = *config, .random = seed};
}

void emu_stop(struct emu *emu)
{
    for (uint32_t i = 0; i < emu->count; i++)
        free(emu->heap[i]);
    free(emu->heap);
    *emu = (struct emu){0};
}

/* ---- heap ----------------------------------------------------------------------------------- */

static bool earlier(const struct emu_frame *a, const struct emu_frame *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_put(struct emu *emu, struct emu_frame *frame)
{
    uint32_t at = emu->count++;

    if (at == emu->cap) {
        emu->cap = emu->cap == 0 ? 256 : 2 * emu->cap;
        emu->heap = realloc(emu->heap, emu->cap * sizeof *emu->heap);
        INVARIANT(emu->heap != NULL);
    }
    for (; at > 0 && earlier(frame, emu->heap[(at - 1) / 2]); at = (at - 1) / 2)
        emu->heap[at] = emu->heap[(at - 1) / 2];
    emu->heap[at] = frame;
}

struct emu_frame *emu_take(struct emu *emu, uint64_t now_ns)
{
    struct emu_frame *top, *last;
    uint32_t at = 0;

    if (emu->count == 0 || emu->heap[0]->at_ns > now_ns)
        return NULL;
    top = emu->heap[0];
    last = emu->heap[--emu->count];
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= emu->count)
            break;
        if (child + 1 < emu->count && earlier(emu->heap[child + 1], emu->heap[child]))
            child++;
        if (!earlier(emu->heap[child], last))
            break;
        emu->heap[at] = emu->heap[child];
        at = child;
    }
    if (emu->count > 0)
        emu->heap[at] = last;
    return top;
}

uint64_t emu_deadline_ns(const struct emu *emu)
{
    return emu->count == 0 ? TIME_NEVER_NS : emu->heap[0]->at_ns;
}

/* ---- the link ------------------------------------------------------------------------------- */

/* Loss is for IP only: ARP and ND are asked for again after a second, which would be what a short
 * test measures. */
static bool is_spared(const uint8_t *bytes, uint32_t len)
{
    const uint16_t type = be16_get(bytes + 12);

    return type == ETH_TYPE_ARP ||
           (type == ETH_TYPE_IPV6 && len > ETH_LEN + 6 && bytes[ETH_LEN + 6] != IP_PROTO_TCP);
}

void emu_put(struct emu *emu, uint64_t now_ns, unsigned from, const uint8_t *bytes, uint32_t len)
{
    const struct emu_config *config = &emu->config;
    struct emu_frame *frame;
    uint64_t leave_ns = now_ns;

    if (len < ETH_LEN || len > EMU_FRAME_MAX || (config->mtu != 0 && len - ETH_LEN > config->mtu) ||
        (!is_spared(bytes, len) && chance(emu, config->loss)))
        return;
    if (config->bytes_per_s != 0) {
        if (emu->busy_until_ns[from] > now_ns) {
            leave_ns = emu->busy_until_ns[from];
            if ((leave_ns - now_ns) * config->bytes_per_s / NS_PER_S > config->queue_bytes)
                return;
        }
        leave_ns += len * NS_PER_S / config->bytes_per_s;
        emu->busy_until_ns[from] = leave_ns;
    }
    frame = malloc(sizeof *frame);
    INVARIANT(frame != NULL);
    frame->at_ns = leave_ns + config->delay_ns;
    if (chance(emu, config->reorder))
        frame->at_ns += config->delay_ns / 4 + NS_PER_MS;
    frame->order = emu->order++;
    frame->to = (uint8_t)(1 - from);
    frame->len = len;
    memcpy(frame->bytes, bytes, len);
    heap_put(emu, frame);
}
