/*
 * spool.h - a store in a temporary folder, messages to put into it, and a way to wait for its
 * callbacks: poll() on store_wake_fd(), as the daemon's loop does.
 */
#ifndef WIREPOST_TESTS_CONTROL_LIB_SPOOL_H
#define WIREPOST_TESTS_CONTROL_LIB_SPOOL_H

#include "control/store.h"

#include <check.h>

#define SPOOL_EVENTS_MAX 65536u

struct spool {
    char dir[64];
    struct store_config config;
    struct store *store;
};

/* Makes the folder; the store is not open yet. Limits that hold nobody up. */
void spool_make(struct spool *spool);
/* The test fails when the store does not open. */
void spool_open(struct spool *spool);
/* The sentence with which opening is refused; the test fails when it opens. */
const char *spool_refused(struct spool *spool);
void spool_close(struct spool *spool);
void spool_remove(struct spool *spool);

/* How many callbacks came, and the status of each. */
struct outcome_list {
    uint32_t n;
    enum store_status status[4096];
    uint64_t order[4096]; /* number of the operation, as it was given */
};

/* Message `id`: `n` recipients r0@example.net ..., a body made from the id of about `body_bytes`.
 * The result is static; the body lives until spool_free_bodies(). */
const struct store_accept *spool_message(uint64_t id, uint32_t n, size_t body_bytes);
/* What spool_message() makes for the id, to compare with. */
void spool_body_make(uint64_t id, uint8_t *data, size_t bytes);
void spool_free_bodies(void);

/* Gives an accept; false when it is refused at once. */
bool spool_give(struct spool *spool, uint64_t id, uint32_t n, size_t body_bytes,
                struct outcome_list *list);
/* The recipient's new state, with an event; finished: it was the last. */
void spool_update(struct spool *spool, uint64_t id, uint32_t index, uint8_t state, bool finished,
                  struct outcome_list *list);
/* Runs callbacks until `n` of the list have come; the test fails after 20 s. */
void spool_wait(struct spool *spool, const struct outcome_list *list, uint32_t n);

/* Accepts and waits; the status, also of one refused at once. */
enum store_status spool_accept(struct spool *spool, uint64_t id, uint32_t n, size_t body_bytes);
/* The same for an outcome. */
enum store_status spool_finish(struct spool *spool, uint64_t id, uint32_t index, uint8_t state,
                               bool finished);

/* Queued messages, read from the store. */
uint32_t spool_count(struct spool *spool);
/* Entries of one of the databases (store_private.h); closes the store and opens it again. */
size_t spool_entries(struct spool *spool, const char *db);
/* The message is there whole: recipients, body and offsets as spool_message() made them. */
void spool_check_message(struct spool *spool, uint64_t id, uint32_t n, size_t body_bytes);

#endif
