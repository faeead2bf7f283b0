/* bench_main.c - wirepost-bench: measures, compares, prints. See bench_options.c for its manual. */
#include "tools/bench/bench_kernel.h"
#include "tools/bench/bench_lane.h"

#include <jansson.h>
#include <sysexits.h>

#ifdef WIREPOST_INVARIANT_HOT
#define CHECKED true
#else
#define CHECKED false
#endif

/* What people ask for, computed once. */
struct result {
    double messages_per_s, gbit_per_s;
    double cycles, cycles_sink; /* per message */
    double cpu_us;              /* the sender's, per message */
    double frames;              /* in and out, per message */
    double best_messages_per_s, best_cycles;
};

static struct result compute(const struct bench_options *o, const struct bench_figures *f)
{
    double messages = f->messages > 0 ? (double)f->messages : 1;
    return (struct result){
        .messages_per_s = (double)f->messages / f->seconds,
        .gbit_per_s = (double)f->messages / f->seconds * o->size * 8 / 1e9,
        .cycles = f->busy_seconds_sender * (double)f->cycles_hz / messages,
        .cycles_sink = f->busy_seconds_sink * (double)f->cycles_hz / messages,
        .cpu_us = f->busy_seconds_sender * 1e6 / messages,
        .frames = (double)(f->frames_in + f->frames_out) / messages,
        .best_messages_per_s =
            f->best_messages > 0 ? (double)f->best_messages / f->best_seconds : 0,
        .best_cycles = f->best_messages > 0 ? f->best_busy_seconds_sender * (double)f->cycles_hz /
                                                  (double)f->best_messages
                                            : 0,
    };
}

static json_t *kernel_json(const struct bench_kernel *k, const struct result *r,
                           const struct bench_options *o, double hz)
{
    if (!k->ran) {
        return json_pack("{s:b,s:s}", "ran", 0, "why", k->why_not);
    }
    return json_pack("{s:b,s:s,s:I,s:f,s:f,s:f,s:f}", "ran", 1, "program",
                     o->new_connections ? "smtp-source" : "smtp-source -d", "messages",
                     (json_int_t)k->messages, "messages_per_s", k->messages_per_s,
                     "cpu_us_per_message", k->cpu_us_per_message, "cycles_per_message",
                     k->cpu_us_per_message * hz / 1e6, "ratio", k->cpu_us_per_message / r->cpu_us);
}

static int print_json(const struct bench_options *o, const struct bench_figures *f,
                      const struct bench_kernel *k, const struct result *r)
{
    json_t *root = json_pack(
        "{s:b,s:b,s:i,s:i,s:i,s:f,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,"
        "s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:o}",
        "new", o->new_connections, "tls", o->tls, "size", (int)o->size, "sessions",
        (int)o->sessions, "addresses", (int)o->addresses, "seconds", f->seconds, "messages",
        (json_int_t)f->messages, "failed", (json_int_t)f->failed, "wrong_digests",
        (json_int_t)f->wrong_digests, "connections", (json_int_t)f->connections, "messages_per_s",
        r->messages_per_s, "gbit_per_s", r->gbit_per_s, "cycles_per_message", r->cycles,
        "cycles_per_message_sink", r->cycles_sink, "cpu_us_per_message", r->cpu_us,
        "per_cpu_second", 1e6 / r->cpu_us, "frames_per_message", r->frames, "best_messages_per_s",
        r->best_messages_per_s, "best_cycles_per_message", r->best_cycles, "polls_sender",
        (json_int_t)f->polls_sender, "idle_polls_sender", (json_int_t)f->idle_polls_sender,
        "polls_sink", (json_int_t)f->polls_sink, "idle_polls_sink", (json_int_t)f->idle_polls_sink,
        "retransmissions", (json_int_t)f->retransmissions, "cycles_hz", (json_int_t)f->cycles_hz,
        "hot_invariants", CHECKED, "kernel", kernel_json(k, r, o, (double)f->cycles_hz));
    if (!root || json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0) {
        return EX_OSERR;
    }
    (void)putchar('\n');
    json_decref(root);
    return EX_OK;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static void print_text(const struct bench_options *o, const struct bench_figures *f,
                       const struct bench_kernel *k, const struct result *r)
{
    (void)printf("%s%s, %u bytes, %u sessions, %u addresses, %.1f s%s\n",
                 o->new_connections ? "a connection for each message" : "connections used again",
                 o->tls ? ", TLS 1.3" : "", o->size, o->sessions, o->addresses, f->seconds,
                 CHECKED ? " (with the checks of hot paths: not a build to measure with)" : "");
    (void)printf("%12.0f messages/s   %.2f Gbit/s\n", r->messages_per_s, r->gbit_per_s);
    (void)printf("%12.0f cycles/message of the sender (%.2f us), %.0f of the receiver\n", r->cycles,
                 r->cpu_us, r->cycles_sink);
    (void)printf("%12.0f messages for each second of CPU time\n", 1e6 / r->cpu_us);
    (void)printf("%12.0f messages/s and %.0f cycles/message in the best second\n",
                 r->best_messages_per_s, r->best_cycles);
    (void)printf("%12.1f frames/message, %llu retransmissions\n", r->frames,
                 (unsigned long long)f->retransmissions);
    (void)printf("%11.1f%% of the sender's polls were idle, %.1f%% of the receiver's\n",
                 percent(f->idle_polls_sender, f->polls_sender),
                 percent(f->idle_polls_sink, f->polls_sink));
    if (k->ran) {
        (void)printf("%12.2f us/message of %s over kernel sockets in clear: %.1f times ours\n",
                     k->cpu_us_per_message, o->new_connections ? "smtp-source" : "smtp-source -d",
                     k->cpu_us_per_message / r->cpu_us);
    } else {
        (void)printf("no comparison: %s\n", k->why_not);
    }
}

int main(int argc, char **argv)
{
    struct bench_options options;
    struct bench_figures figures;
    struct bench_kernel kernel;
    int status = bench_options_parse(argc, argv, &options);
    if (status != -1) {
        return status;
    }
    status = bench_lane_run(&options, &figures);
    if (status != EX_OK) {
        return status;
    }
    bench_kernel_run(&options, &kernel);
    const struct result result = compute(&options, &figures);
    if (options.json) {
        status = print_json(&options, &figures, &kernel, &result);
    } else {
        print_text(&options, &figures, &kernel, &result);
    }
    if (figures.failed > 0 || figures.wrong_digests > 0) {
        (void)fprintf(stderr, "wirepost-bench: %llu messages failed, %llu were damaged: %s\n",
                      (unsigned long long)figures.failed, (unsigned long long)figures.wrong_digests,
                      figures.failure);
        return 1;
    }
    return status;
}
