/*
 * bench_feed.h - the part of wirepostd: jobs go into a real channel, outcomes come out of it.
 *
 * Twice as many jobs are out as there are sessions, so that a session that has finished one finds
 * the next one waiting. Each slot has a message of its own in the arena, made at the start.
 */
#ifndef WIREPOST_BENCH_FEED_H
#define WIREPOST_BENCH_FEED_H

#include "dataplane/chan_control.h"
#include "dataplane/dp_config.h"
#include "tools/bench/bench_options.h"

struct bench_feed;

/* Makes the channel in run_dir and the messages; config as the lane has it. Null: it said why. */
struct bench_feed *bench_feed_create(const struct bench_options *options, const char *run_dir,
                                     const struct dp_config *config, const struct ip_addr *target);
void bench_feed_destroy(struct bench_feed *feed);
/* A descriptor of its own that the lane may write to and close when something is done; -1: none. */
int bench_feed_done_fd(const struct bench_feed *feed);

/* Collects outcomes and gives new jobs, unless stopped. How many outcomes. */
uint32_t bench_feed_run(struct bench_feed *feed);
void bench_feed_stop(struct bench_feed *feed);

uint64_t bench_feed_delivered(const struct bench_feed *feed);
uint64_t bench_feed_failed(const struct bench_feed *feed);
uint32_t bench_feed_out(const struct bench_feed *feed); /* jobs without an outcome yet */
/* What the last one that failed was told, or "". */
const char *bench_feed_failure(const struct bench_feed *feed);

#endif
