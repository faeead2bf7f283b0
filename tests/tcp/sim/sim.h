/*
 * sim.h - deterministic simulation: two stacks, or a stack and an odd peer (sim_odd.c), a bad link
 * between them, random applications.
 *
 * One seed makes one world: the link's faults, the hosts' limits, who connects to whom and what the
 * applications do. Time is virtual, the only source of change is a heap of events in order of time
 * (and of birth, where times are equal), so a seed always tells the same story.
 *
 * What must hold (a breach ends the seed as failed):
 *   - bytes come out as they went in, in order, and no byte that was not sent;
 *   - EOF comes exactly behind the last byte, a connection ends NORMAL only with all acknowledged;
 *   - a connection that nobody disturbs does not end in any other way;
 *   - everything ends within SIM_END_NS, and then every pool is full and every reference back;
 *   - what is in flight grows only up to cwnd (and a few segments that RFCs allow beyond it);
 *   - the next deadline of a stack is never further away than its longest timer;
 *   - nothing that was SACKed is sent again (an invariant of the stack, on here);
 *   - the stacks' own invariants (utcp_check) after every step that a die picks.
 */
#ifndef WIREPOST_TESTS_SIM_H
#define WIREPOST_TESTS_SIM_H

#include "tcp/utcp.h"

#define SIM_HOSTS       2
#define SIM_ADDRESSES   3 /* of each host */
#define SIM_PAIRS_MAX   24
#define SIM_PORT        25
#define SIM_NOISE_BYTES (1u << 18)
#define SIM_END_NS      (3600 * NS_PER_S)
#define SIM_FRAME_MAX   1600u

/* ---- randomness ---------------------------------------------------------------------------- */

struct sim_rng {
    uint64_t state;
};
uint64_t sim_random(struct sim_rng *rng);
/* 0 .. n-1. */
uint64_t sim_below(struct sim_rng *rng, uint64_t n);
/* True in `per_million` of a million cases. */
bool sim_chance(struct sim_rng *rng, uint32_t per_million);
/* Between low and high, small values as likely as large ones in orders of magnitude. */
uint64_t sim_log_range(struct sim_rng *rng, uint64_t low, uint64_t high);

/* ---- link ---------------------------------------------------------------------------------- */

/* Faults of one direction. */
struct sim_link {
    uint64_t delay_ns, jitter_ns;
    uint64_t bytes_per_s;                       /* 0: no bottleneck */
    uint32_t queue_bytes;                       /* of the bottleneck, drop-tail */
    uint32_t loss, duplicate, corrupt, reorder; /* per million frames */
    uint64_t outage_every_ns, outage_ns;        /* on average; 0: none */
    uint64_t dead_from_ns;                      /* nothing passes from then on */
    uint32_t burst_begin, burst_loss; /* per million frames: a bad time begins; loss in it */
    uint64_t burst_until_ns;
    uint32_t thin_acks; /* per million pure ACKs: lost, but never two in a row */
    bool thinned;
    uint32_t mtu;  /* longer packets do not pass; 0: all do */
    bool mtu_told; /* ... and ICMP says so */
    uint32_t mark; /* per million ECT packets: marked CE */
    uint64_t outage_from_ns, outage_to_ns;
    uint64_t busy_until_ns;
};

struct sim_event {
    uint64_t at_ns, order;
    enum { SIM_FRAME, SIM_POLL, SIM_TICK, SIM_OPEN } kind;
    uint32_t host; /* or pair, for ticks and opens */
    uint32_t end;  /* of the pair */
    uint32_t len;
    uint8_t *frame; /* on the heap */
};

/* ---- applications -------------------------------------------------------------------------- */

/* One end of a connection. */
struct sim_end {
    uint32_t conn;
    uint32_t host;
    uint64_t to_send, queued, received;
    uint64_t key;         /* where in the noise the bytes that it sends begin */
    uint64_t tick_ns;     /* between looks of a slow reader; 0: reads at once */
    uint64_t abort_at_ns; /* TIME_NEVER_NS: never */
    uint64_t give_up_ns;
    uint32_t write_max;
    bool shuts_first; /* without waiting for the peer's EOF */
    bool releases_early;
    bool connected, refused_once, fin, eof, closed, gone, aborted;
    uint32_t in_flight, cwnd; /* when it was looked at last */
    enum utcp_close_reason reason;
};

/* What an odd peer knows of a connection. */
struct sim_odd_flow {
    uint32_t rcv_nxt, stretched;
    uint64_t received;
    bool fin_received, fin_sent;
};

struct sim_pair {
    struct sim_end end[2]; /* 0 has connected, 1 was connected to */
    struct ip_addr ip[2];
    uint16_t client_port;
    struct sim_odd_flow odd;
    bool started, accepted, disturbed;
    uint64_t start_ns;
    uint64_t done_ns;       /* when the last byte of end 0 had come, for scenarios */
    uint64_t at_first_done; /* bytes that had come when the first pair was done */
};

/* A world without dice, for the golden table: `flows` from host 0 to host 1 through one
 * bottleneck. */
struct sim_scenario {
    uint64_t seed; /* of the losses; from 1 on */
    uint64_t rtt_ns, bytes_per_s, bytes;
    uint32_t loss, queue_bytes, flows;
};

struct sim_host {
    struct utcp *u;
    struct ip_addr ip[SIM_ADDRESSES];
    uint64_t poll_every_ns; /* 0: looks at each frame at once */
    bool poll_pending;
    struct sim_event inbox[64];
    uint32_t inbox_count;
    uint64_t timer_ns; /* for which a poll is in the heap */
    uint64_t upsets;   /* timeouts and undone reactions: what was lost may count as out again */
};

struct sim {
    uint64_t seed, now_ns, order;
    struct sim_rng rng;
    struct sim_host host[SIM_HOSTS];
    struct sim_link link[SIM_HOSTS]; /* by the host that sends */
    struct sim_pair pair[SIM_PAIRS_MAX];
    uint32_t n_pairs;
    struct sim_event *heap;
    uint32_t heap_count, heap_cap;
    struct utcp_extent noise;
    const struct sim_scenario *scenario; /* null: the dice decide */
    uint8_t family;                      /* 4 or 6, of the whole world */
    uint32_t odd;                        /* 0: host 1 is a stack; else SIM_ODD and how it is odd */
    bool lossy, severed, trace, failed;
    char message[160];
    uint64_t counters[UTCP_N_COUNTERS]; /* of both hosts, at the end */
};

/* The first failure counts. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* sim_link.c */
void sim_link_choose(struct sim *sim);
void sim_link_of_scenario(struct sim *sim);
void sim_link_send(struct sim *sim, uint32_t from, const struct utcp_frame *frame);
void sim_trace_frame(const struct sim *sim, uint32_t from, const uint8_t *frame, uint32_t len,
                     const char *fate);

/* sim_app.c */
void sim_app_choose(struct sim *sim);
void sim_app_of_scenario(struct sim *sim);
void sim_app_open(struct sim *sim, struct sim_pair *pair);
/* The bytes that `sender` sends from position `pos` on. */
const uint8_t *sim_noise_at(const struct sim *sim, const struct sim_end *sender, uint64_t pos);
void sim_app_event(struct sim *sim, uint32_t host, const struct utcp_event *event);
void sim_app_tick(struct sim *sim, struct sim_pair *pair, uint32_t end);
/* After each turn of a host: windows and timers are within bounds. */
void sim_app_check_bounds(struct sim *sim, uint32_t host);
void sim_app_check_end(struct sim *sim);

/* sim_world.c */
void sim_schedule(struct sim *sim, struct sim_event event);
void sim_poll_soon(struct sim *sim, uint32_t host);
/* Runs one world; true when all held. The message stays in sim. */
bool sim_run(struct sim *sim, uint64_t seed, bool trace);
bool sim_run_scenario(struct sim *sim, const struct sim_scenario *scenario);

/* sim_odd.c */
#define SIM_ODD 0x80000000u
void sim_odd_choose(struct sim *sim);
void sim_odd_input(struct sim *sim, const uint8_t *frame, uint32_t len);

/* sim_golden.c */
bool sim_golden_write(struct sim *sim, FILE *out);

#endif
