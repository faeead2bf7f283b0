/*
 * https.h - HTTPS requests on the loop, by libcurl: GET and POST, certificates always verified, no
 * redirects, bounded in size and time. Requests that are not answered when it closes are not
 * answered any more.
 */
#ifndef WIREPOST_HTTPS_H
#define WIREPOST_HTTPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct https;

enum https_result {
    HTTPS_OK,      /* an answer with some status */
    HTTPS_NETWORK, /* no answer: no connection, cut off, too slow */
    HTTPS_TLS,     /* nobody to be trusted */
    HTTPS_LARGE,   /* an answer of more than bytes_max */
};

struct https_request {
    const char *url;       /* https:// */
    const char *addresses; /* "192.0.2.1,2001:db8::1": of its host; null: as the system says */
    const void *post;      /* null: GET */
    size_t post_bytes;
    const char *content_type; /* of post; null: none is said */
    const char *content_encoding;
    uint32_t bytes_max, timeout_s;
};

/* Holds during the callback. */
struct https_answer {
    enum https_result result;
    long status;
    char content_type[128];
    const char *body; /* with a NUL behind it */
    size_t bytes;
    const char *text; /* what went wrong, or "" */
};

typedef void (*https_fn)(void *user, const struct https_answer *answer);

/* ca_file: PEM; null: the system's authorities. Null: no memory. */
struct https *https_open(uv_loop_t *loop, const char *ca_file);
/* The loop must run once more before it is closed. */
void https_close(struct https *https);

/* Copies what is in the request. done is called from the loop, exactly once or never after
 * https_close(). */
void https_ask(struct https *https, const struct https_request *request, https_fn done, void *user);

#endif
