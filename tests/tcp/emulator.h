/*
 * emulator.h - a bad link between two ports, in real time: loss, delay, reordering, a bottleneck
 * with a queue, a largest packet. This kernel has no netem. Frames are Ethernet; the dice are
 * seeded, but the kernel's timing is its own.
 */
#ifndef WIREPOST_TESTS_EMULATOR_H
#define WIREPOST_TESTS_EMULATOR_H

#include "tcp/base.h"

#define EMU_FRAME_MAX 2048u

struct emu_config {
    uint32_t loss, reorder; /* per million frames */
    uint64_t delay_ns;      /* one way */
    uint64_t bytes_per_s;   /* 0: no bottleneck */
    uint32_t queue_bytes;
    uint32_t mtu; /* longer packets vanish without a word; 0: none do */
};

struct emu_frame {
    uint64_t at_ns, order;
    uint32_t len;
    uint8_t to; /* port */
    uint8_t bytes[EMU_FRAME_MAX];
};

struct emu {
    struct emu_config config;
    uint64_t random, order, busy_until_ns[2];
    struct emu_frame **heap; /* by time */
    uint32_t count, cap;
};

void emu_start(struct emu *emu, const struct emu_config *config, uint64_t seed);
void emu_stop(struct emu *emu);
/* A frame comes in at port `from` (0 or 1) and leaves at the other one, or never. */
void emu_put(struct emu *emu, uint64_t now_ns, unsigned from, const uint8_t *bytes, uint32_t len);
/* The next frame that has arrived; null when there is none now. The caller frees it. */
struct emu_frame *emu_take(struct emu *emu, uint64_t now_ns);
uint64_t emu_deadline_ns(const struct emu *emu);

#endif
