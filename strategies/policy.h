/*
 * policy.h - wirepost-policy: lines of JSON in, lines of JSON out, around one engine. Reading and
 * writing are the caller's: policy_line is given a line and appends its answer to a buffer.
 *
 * A malformed line is answered with {"error":...,"line":N} and changes nothing.
 */
#ifndef WIREPOST_STRATEGIES_POLICY_H
#define WIREPOST_STRATEGIES_POLICY_H

#include "strategies/engine.h"
#include "strategies/pj.h"

/* Text that grows; n_bytes_max 0 at first. Out of memory ends the process. */
struct policy_text {
    char *at;
    size_t n_bytes, n_bytes_max;
};
void policy_put(struct policy_text *text, const char *bytes, size_t n_bytes);
void policy_put_text(struct policy_text *text, const char *string);
void policy_put_u64(struct policy_text *text, uint64_t value);
void policy_put_ms(struct policy_text *text, uint64_t ms);      /* as seconds: 600 or 600.25 */
void policy_put_milli(struct policy_text *text, int64_t milli); /* 12.1 */
void policy_put_string(struct policy_text *text, const char *string); /* quoted, escaped */

struct policy {
    struct strategy_limits limits;
    struct strategy_engine *engine;
    void *memory;
    size_t n_memory_bytes;
    struct pj doc;
    struct reply_index replies;
    uint64_t n_lines;
    const char *error; /* of the present line */
};

/* False: no memory. */
bool policy_open(struct policy *policy, const struct strategy_limits *limits);
void policy_close(struct policy *policy);
/* One line without its line feed. */
void policy_line(struct policy *policy, const char *line, size_t n_bytes, struct policy_text *out);

/* ---- between the files of the program ---- */

/* Seconds as milliseconds; false: no such number. */
bool policy_time(const struct pj_node *node, uint64_t *ret_ms);
/* A whole number from 0 to 2^32 - 1; absent: fallback. */
bool policy_count(const struct pj_node *node, uint32_t fallback, uint32_t *ret_n);
/* False with policy->error set; the engine is as it was before. */
bool policy_config(struct policy *policy, const struct pj_node *config, uint64_t now_ms);
bool policy_restore(struct policy *policy, const void *image, size_t n_bytes);
void policy_answer_plan(struct policy *policy, uint64_t now_ms, const struct pj_node *id,
                        const struct strategy_split *split, struct policy_text *out);
void policy_answer_why(struct policy *policy, uint64_t now_ms, const struct strategy_key *key,
                       const struct strategy_record *record, struct policy_text *out);
void policy_answer_why_not(uint64_t now_ms, const struct strategy_key *key, const char *path,
                           const char *reason, struct policy_text *out);

#endif
