/*
 * channel_file.h - a real channel in a temporary folder, with both of its sides, and jobs to put
 * in.
 */
#ifndef WIREPOST_TESTS_DATAPLANE_CHANNEL_FILE_H
#define WIREPOST_TESTS_DATAPLANE_CHANNEL_FILE_H

#include "dataplane/chan_control.h"
#include "dataplane/chan_lane.h"

struct channel_file {
    char dir[64];
    struct chan_geometry geometry;
    enum chan_found found;
    struct chan_control *control;
    struct chan_lane lane;
};

/* Makes the folder and opens control's side. */
void channel_file_make(struct channel_file *f, uint32_t n_slots, uint64_t arena_bytes);
/* Opens the lane's side. */
void channel_file_attach(struct channel_file *f);
/* As after kill -9: what was mapped is gone, the file stays. */
void channel_file_kill_control(struct channel_file *f);
void channel_file_kill_lane(struct channel_file *f);
/* Opens control's side again; f->found says what was there. */
void channel_file_reopen_control(struct channel_file *f);
void channel_file_remove(struct channel_file *f);

/* What a test wants of a job; zero takes the value in brackets. */
struct test_job {
    const char *source;                    /* [192.0.2.10] */
    const char *targets[CHAN_TARGET_MAX];  /* [192.0.2.1] */
    uint16_t port;                         /* [25] */
    const char *mail_from;                 /* [from@acme.example] */
    const char *recipients[CHAN_RCPT_MAX]; /* [to@alpha.example] */
    const char *body;                      /* [a small message] */
    uint64_t body_len;                     /* [strlen(body)] */
    const char *prefix;                    /* [none] */
    uint32_t site_hash;                    /* [1] */
    enum chan_tls tls[CHAN_TARGET_MAX];    /* [none] */
    const char *tlsa;                      /* of all targets; [none] */
    const char *tls_name;                  /* [the host's] */
    uint32_t tls_key, tls_hash;
    uint32_t needs, use;
    uint32_t connections_max; /* [1] */
    uint32_t messages_max;    /* [100] */
    uint32_t idle_ms;         /* [1000] */
};

/* Takes a slot and fills it; true when there was one. */
bool channel_file_fill(struct channel_file *f, const struct test_job *job, uint32_t *ret_slot);
/* The same, and submits it. The test fails when there is no slot. */
uint32_t channel_file_submit(struct channel_file *f, const struct test_job *job);
/* Frees the slot and its ranges. */
void channel_file_free(struct channel_file *f, uint32_t slot);

#endif
