/* decisions_private.h - between decisions.c, decisions_config.c and decisions_file.c. */
#ifndef WIREPOST_DECISIONS_PRIVATE_H
#define WIREPOST_DECISIONS_PRIVATE_H

#include "control/decisions.h"
#include "control/pools.h"

#define REFUSED_SLOTS 1024u

struct decisions {
    struct ctl *ctl;
    struct strategy_limits limits;
    void *memory; /* of the engine */
    struct strategy_engine *engine;
    struct grants *grants;
    struct reply_index replies;
    uint64_t now_ms;
    uint64_t refused_ms[REFUSED_SLOTS]; /* by a hash of path and provider: see is_echo() */
    bool changed, saving; /* since the last save; a save is under way */
    uv_timer_t timer, look;
};

/* ---- decisions_config.c ---- */

/* Pools, routes and senders as configured. False with a sentence. */
bool decisions_configure(struct decisions *d, char *ret_error, size_t error_bytes);
/* The strategies that operators have set, from strategies.json. */
void decisions_read_overrides(struct decisions *d);

/* ---- decisions_file.c ---- */

/* Reads strategies.state into the fresh engine; leaves it fresh when there is none that fits. */
void decisions_load(struct decisions *d);
/* Writes it, off the loop; nothing while a write is under way. */
void decisions_save(struct decisions *d);
/* The same at once. */
void decisions_save_now(struct decisions *d);
/* Replaces a small file in spool.path so that a crash leaves the old or the new one. */
bool decisions_replace_file(const struct ctl *ctl, const char *name, const void *bytes,
                            size_t n_bytes);
bool decisions_read_file(const struct ctl *ctl, const char *name, void **ret_bytes,
                         size_t *ret_n_bytes);

#endif
