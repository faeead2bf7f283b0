/*
 * http.h - a small HTTP/1.1 server on the loop (libmicrohttpd): a few fixed paths, one function for
 * each, which answers at once or later. Off unless "http.listen" is configured. No TLS: it stands
 * behind a proxy that ends it, or on an address that only machines of one's own reach.
 *
 * Requests are bounded in size, number and time. On the loop's thread.
 */
#ifndef WIREPOST_HTTP_H
#define WIREPOST_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#define HTTP_BODY_MAX        (512u << 10)
#define HTTP_CONNECTIONS_MAX 256u
#define HTTP_TIMEOUT_S       30u
#define HTTP_PATHS_MAX       8u

struct http;
struct http_request;

/* Must call http_answer() once, now or later, unless http_close() comes first. The body has a NUL
 * behind it and holds until then. */
typedef void (*http_fn)(void *user, struct http_request *request, const char *body, size_t bytes);

/* Null with a sentence in ret_error: the address cannot be listened on. */
struct http *http_open(uv_loop_t *loop, const struct sockaddr *address, char *ret_error,
                       size_t error_bytes);
/* Requests that wait for an answer get 503. The loop must run once more. */
void http_close(struct http *http);

/* method: "GET" or "POST". */
void http_handle(struct http *http, const char *method, const char *path, http_fn handler,
                 void *user);

/* text is copied. */
void http_answer(struct http_request *request, unsigned status, const char *content_type,
                 const char *text);

#endif
