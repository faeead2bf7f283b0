/*
 * https.h - HTTPS requests on the loop, by libcurl: GET, POST and PUT, certificates always
 * verified, no redirects, bounded in size and time. Requests that are not answered when it closes
 * are not answered any more.
 *
 * libcurl sends a request again by itself when a connection that it kept open ends without an
 * answer. A body that is made while it is sent (https_request.body) is never sent twice: what
 * became of it is then for the caller to judge, who knows how much of it was taken.
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

/* Makes the next bytes of a body, as many as fit: how many; 0 only at its end. */
typedef size_t (*https_body_fn)(void *user, char *buf, size_t room);

/* AWS Signature Version 4 (CURLOPT_AWS_SIGV4). Bugs of libcurl 7.88.1 to stay away from: a header
 * without a value ("Expect:") is signed but not sent; a body that is not in memory is taken for an
 * empty one unless X-Amz-Content-Sha256 says its hash; paths and queries are signed as they stand.
 */
struct https_signer {
    const char *region, *service;
    const char *key, *secret;
};

struct https_request {
    const char *url;       /* https:// */
    bool clear;            /* http:// is good too: a service of this very host */
    bool put;              /* PUT instead of GET, without a body */
    const char *addresses; /* "192.0.2.1,2001:db8::1": of its host; null: as the system says */
    const void *post;      /* null: GET */
    size_t post_bytes;
    const char *content_type; /* of post; null: none is said */
    const char *content_encoding;
    https_body_fn body; /* POST of post_bytes that it makes, with the request's user; or null */
    const char *const *headers;        /* "Name: value", null at the end; or null */
    const struct https_signer *signer; /* or null */
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
    char peer[64];    /* address that was talked to; "": none */
    uint8_t tls;      /* 2: TLS 1.2, 3: TLS 1.3, 0: not known */
    void *curl;
};

/* The value of a header field; "" when there is none. */
void https_answer_header(const struct https_answer *answer, const char *name, char *buf,
                         size_t buf_bytes);

typedef void (*https_fn)(void *user, const struct https_answer *answer);

/* ca_file: PEM; null: the system's authorities. Null: no memory. */
struct https *https_open(uv_loop_t *loop, const char *ca_file);
/* The loop must run once more before it is closed. */
void https_close(struct https *https);

/* Copies what is in the request. done is called from the loop, exactly once or never after
 * https_close(). */
void https_ask(struct https *https, const struct https_request *request, https_fn done, void *user);

#endif
