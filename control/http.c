/*
 * http.c - see http.h.
 *
 * libmicrohttpd has an epoll descriptor and a timeout of its own; the loop waits for both and calls
 * MHD_run(). A request whose handler has not answered is suspended until it does.
 */
#include "control/http.h"

#include "tcp/base.h"

#include <microhttpd.h>

#define RUN_AGAIN_MS 1000u /* at least, while connections are open */

struct http_request {
    struct http_request *next, *prev;
    struct http *http;
    struct MHD_Connection *connection;
    char *body;
    size_t bytes;
    bool too_large, given, suspended;
    struct MHD_Response *response; /* when it is answered */
    unsigned status;
};

struct path {
    const char *method, *path;
    http_fn handler;
    void *user;
};

struct http {
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    uint32_t handles;
    struct http_request *first;
    struct path paths[HTTP_PATHS_MAX];
    uint32_t n_paths;
};

/* ---- the loop ---------------------------------------------------------------------------- */

static void run(struct http *h);

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

static void run(struct http *h)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = RUN_AGAIN_MS;
    (void)MHD_run(h->daemon);
    bool bounded = MHD_get_timeout(h->daemon, &wait_ms) == MHD_YES;
    if (bounded || h->first) {
        wait_ms = wait_ms < RUN_AGAIN_MS ? wait_ms : RUN_AGAIN_MS;
        (void)uv_timer_start(&h->timer, on_timer, wait_ms, 0);
    } else {
        (void)uv_timer_stop(&h->timer);
    }
}

/* ---- answers ----------------------------------------------------------------------------- */

void http_answer(struct http_request *r, unsigned status, const char *content_type,
                 const char *text)
{
    INVARIANT(!r->response);
    r->response = MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
                                                  MHD_RESPMEM_MUST_COPY);
    INVARIANT(r->response != NULL);
    (void)MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    r->status = status;
    if (r->suspended) {
        r->suspended = false;
        MHD_resume_connection(r->connection);
        (void)uv_timer_start(&r->http->timer, on_timer, 0, 0);
    }
}

/* ---- requests ---------------------------------------------------------------------------- */

static struct http_request *request_new(struct http *h, struct MHD_Connection *connection)
{
    struct http_request *r = calloc(1, sizeof *r);
    INVARIANT(r != NULL);
    r->http = h;
    r->connection = connection;
    r->next = h->first;
    if (h->first) {
        h->first->prev = r;
    }
    h->first = r;
    return r;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode code)
{
    struct http_request *r = *request;
    (void)user;
    (void)connection;
    (void)code;
    if (!r) {
        return;
    }
    *(r->prev ? &r->prev->next : &r->http->first) = r->next;
    if (r->next) {
        r->next->prev = r->prev;
    }
    if (r->response) {
        MHD_destroy_response(r->response);
    }
    free(r->body);
    free(r);
}

static void add_body(struct http_request *r, const char *data, size_t bytes)
{
    if (r->too_large || bytes > HTTP_BODY_MAX - r->bytes) {
        r->too_large = true;
        return;
    }
    char *body = realloc(r->body, r->bytes + bytes + 1);
    INVARIANT(body != NULL);
    memcpy(body + r->bytes, data, bytes);
    r->body = body;
    r->bytes += bytes;
    body[r->bytes] = '\0';
}

static void dispatch(struct http_request *r, const char *method, const char *path)
{
    bool known = false;
    r->given = true;
    if (r->too_large) {
        http_answer(r, MHD_HTTP_CONTENT_TOO_LARGE, "text/plain", "too large\n");
        return;
    }
    for (uint32_t i = 0; i < r->http->n_paths; i++) {
        const struct path *p = &r->http->paths[i];
        if (strcmp(p->path, path) != 0) {
            continue;
        }
        known = true;
        if (strcmp(p->method, method) == 0) {
            p->handler(p->user, r, r->body ? r->body : "", r->bytes);
            return;
        }
    }
    http_answer(r, known ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND, "text/plain",
                known ? "not with this method\n" : "nothing is here\n");
}

/* Called with the head, with each piece of the body, at its end, and after an answer that came
 * later. */
static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *bytes, void **request)
{
    struct http_request *r = *request;
    (void)version;
    if (!r) {
        *request = request_new(user, connection);
        return MHD_YES;
    }
    if (*bytes > 0) {
        add_body(r, data, *bytes);
        *bytes = 0;
        return MHD_YES;
    }
    if (!r->given) {
        dispatch(r, method, url);
    }
    if (r->response) {
        return MHD_queue_response(connection, r->status, r->response);
    }
    r->suspended = true;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

/* ---- open and close ---------------------------------------------------------------------- */

void http_handle(struct http *h, const char *method, const char *path, http_fn handler, void *user)
{
    INVARIANT(h->n_paths < HTTP_PATHS_MAX);
    h->paths[h->n_paths++] = (struct path){method, path, handler, user};
}

struct http *http_open(uv_loop_t *loop, const struct sockaddr *address, char *ret_error,
                       size_t error_bytes)
{
    struct http *h = calloc(1, sizeof *h);
    INVARIANT(h != NULL);
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
                     (address->sa_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    h->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_SOCK_ADDR, address,
                                 MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
                                 MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS_MAX,
                                 MHD_OPTION_CONNECTION_TIMEOUT, HTTP_TIMEOUT_S,
                                 MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        (void)snprintf(ret_error, error_bytes, "http.listen: the address cannot be listened on: %s",
                       strerror(errno));
        free(h);
        return NULL;
    }
    h->poll.data = h->timer.data = h;
    h->handles = 2;
    (void)uv_poll_init(loop, &h->poll, info->epoll_fd);
    (void)uv_timer_init(loop, &h->timer);
    (void)uv_poll_start(&h->poll, UV_READABLE, on_poll);
    return h;
}

static void on_closed(uv_handle_t *handle)
{
    struct http *h = handle->data;
    if (--h->handles == 0) {
        free(h);
    }
}

void http_close(struct http *h)
{
    for (struct http_request *r = h->first; r; r = r->next) {
        if (r->suspended) {
            http_answer(r, MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain", "stopping\n");
        }
    }
    (void)uv_poll_stop(&h->poll);
    (void)MHD_run(h->daemon);
    MHD_stop_daemon(h->daemon);
    uv_close((uv_handle_t *)&h->poll, on_closed);
    uv_close((uv_handle_t *)&h->timer, on_closed);
}
