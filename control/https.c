/*
 * https.c - libcurl's multi interface on libuv: see https.h.
 *
 * libcurl says by on_socket() which descriptors it waits for and by on_timer_wanted() for how long;
 * we tell it by curl_multi_socket_action(). Only https is spoken, whatever an URL says, but for
 * requests that say `clear`.
 */
#include "control/https.h"

#include "tcp/base.h"

#include <curl/curl.h>
#include <openssl/ssl.h>

#define CONNECT_TIMEOUT_S 30L

struct request {
    struct request *next, *prev;
    struct https *https;
    CURL *curl;
    struct curl_slist *headers, *resolve;
    https_fn done;
    https_body_fn make;
    void *user;
    uint32_t bytes_max;
    uint8_t tls;
    char *body;
    size_t bytes;
    bool too_large;
    char error[CURL_ERROR_SIZE];
};

struct https {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    char ca_file[1024];
    struct request *first;
    bool closed;
};

/* A descriptor that libcurl waits for. */
struct watch {
    uv_poll_t poll;
    struct https *https;
    curl_socket_t fd;
};

/* ---- one request ------------------------------------------------------------------------- */

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct request *r = user;
    size_t len = size * n;
    if (len > r->bytes_max - r->bytes) {
        r->too_large = true;
        return 0;
    }
    char *body = realloc(r->body, r->bytes + len + 1);
    if (!body) {
        return 0;
    }
    memcpy(body + r->bytes, data, len);
    r->body = body;
    r->bytes += len;
    body[r->bytes] = '\0';
    return len;
}

/* Which TLS it is; libcurl knows only while the connection is the request's. */
static size_t on_header(char *data, size_t size, size_t n, void *user)
{
    struct request *r = user;
    struct curl_tlssessioninfo *session = NULL;
    (void)data;
    if (r->tls == 0 && curl_easy_getinfo(r->curl, CURLINFO_TLS_SSL_PTR, &session) == CURLE_OK &&
        session && session->backend == CURLSSLBACKEND_OPENSSL && session->internals) {
        r->tls = SSL_version(session->internals) == TLS1_3_VERSION ? 3 : 2;
    }
    return size * n;
}

static size_t on_make(char *buf, size_t size, size_t n, void *user)
{
    struct request *r = user;
    return r->make(r->user, buf, size * n);
}

/* It would be sent a second time. */
static int on_rewind(void *user, curl_off_t offset, int origin)
{
    (void)user;
    (void)offset;
    (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

void https_answer_header(const struct https_answer *answer, const char *name, char *buf,
                         size_t buf_bytes)
{
    struct curl_header *header;
    bool found = curl_easy_header(answer->curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK;
    (void)snprintf(buf, buf_bytes, "%s", found ? header->value : "");
}

static enum https_result result_of(const struct request *r, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return HTTPS_OK;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return HTTPS_TLS;
    case CURLE_FILESIZE_EXCEEDED:
        return HTTPS_LARGE;
    default:
        return r->too_large ? HTTPS_LARGE : HTTPS_NETWORK;
    }
}

static void request_free(struct request *r)
{
    *(r->prev ? &r->prev->next : &r->https->first) = r->next;
    if (r->next) {
        r->next->prev = r->prev;
    }
    (void)curl_multi_remove_handle(r->https->multi, r->curl);
    curl_easy_cleanup(r->curl);
    curl_slist_free_all(r->headers);
    curl_slist_free_all(r->resolve);
    free(r->body);
    free(r);
}

static void tell(struct request *r, CURLcode code)
{
    struct https_answer answer = {
        .result = result_of(r, code),
        .body = r->body ? r->body : "",
        .bytes = r->bytes,
        .text = code == CURLE_OK ? ""
                : r->error[0]    ? r->error
                                 : curl_easy_strerror(code),
        .tls = r->tls,
        .curl = r->curl,
    };
    const char *type = NULL, *peer = NULL;
    (void)curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &answer.status);
    (void)curl_easy_getinfo(r->curl, CURLINFO_CONTENT_TYPE, &type);
    (void)snprintf(answer.content_type, sizeof answer.content_type, "%s", type ? type : "");
    (void)curl_easy_getinfo(r->curl, CURLINFO_PRIMARY_IP, &peer);
    (void)snprintf(answer.peer, sizeof answer.peer, "%s", peer ? peer : "");
    r->done(r->user, &answer);
}

static void settle(struct https *h)
{
    CURLMsg *message;
    int left;
    while (!h->closed && (message = curl_multi_info_read(h->multi, &left)) != NULL) {
        struct request *r;
        CURLcode code = message->data.result;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &r);
        tell(r, code);
        if (!h->closed) {
            request_free(r);
        }
    }
}

/* ---- libcurl and the loop ---------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct https *h = timer->data;
    int running;
    (void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    settle(h);
}

static int on_timer_wanted(CURLM *multi, long ms, void *user)
{
    struct https *h = user;
    (void)multi;
    if (ms < 0) {
        (void)uv_timer_stop(&h->timer);
    } else {
        (void)uv_timer_start(&h->timer, on_timer, (uint64_t)ms, 0);
    }
    return 0;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    struct https *h = w->https;
    int running, flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    (void)curl_multi_socket_action(h->multi, w->fd, flags, &running);
    settle(h);
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static struct watch *watch_new(struct https *h, curl_socket_t fd)
{
    struct watch *w = calloc(1, sizeof *w);
    INVARIANT(w != NULL);
    w->https = h;
    w->fd = fd;
    w->poll.data = w;
    (void)uv_poll_init_socket(h->loop, &w->poll, fd);
    (void)curl_multi_assign(h->multi, fd, w);
    return w;
}

static int on_socket(CURL *curl, curl_socket_t fd, int what, void *user, void *socket_user)
{
    struct https *h = user;
    struct watch *w = socket_user;
    (void)curl;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            (void)curl_multi_assign(h->multi, fd, NULL);
            uv_close((uv_handle_t *)&w->poll, on_watch_closed);
        }
        return 0;
    }
    w = w ? w : watch_new(h, fd);
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    (void)uv_poll_start(&w->poll, events, on_ready);
    return 0;
}

/* ---- asking ------------------------------------------------------------------------------ */

static void add_header(struct request *r, const char *name, const char *value)
{
    char line[256];
    if (value) {
        (void)snprintf(line, sizeof line, "%s: %s", name, value);
        r->headers = curl_slist_append(r->headers, line);
    }
}

/* The host's addresses are given, so nobody is asked for them. */
static void set_addresses(struct request *r, const struct https_request *request)
{
    char line[1024];
    const char *host = strstr(request->url, "://");
    if (!request->addresses || !host) {
        return;
    }
    host += 3;
    size_t host_bytes = strcspn(host, "/:");
    const char *port = host[host_bytes] == ':' ? host + host_bytes + 1 : "443";
    (void)snprintf(line, sizeof line, "%.*s:%.*s:%s", (int)host_bytes, host,
                   (int)strspn(port, "0123456789"), port, request->addresses);
    r->resolve = curl_slist_append(NULL, line);
    (void)curl_easy_setopt(r->curl, CURLOPT_RESOLVE, r->resolve);
}

static void set_post(struct request *r, const struct https_request *request)
{
    if (!request->post) {
        return;
    }
    (void)curl_easy_setopt(r->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->post_bytes);
    (void)curl_easy_setopt(r->curl, CURLOPT_COPYPOSTFIELDS, request->post);
    add_header(r, "Content-Type", request->content_type);
    add_header(r, "Content-Encoding", request->content_encoding);
    add_header(r, "Expect", ""); /* the body follows at once */
}

/* A body that is made while it is sent. Over HTTP/1.1, where a connection carries one request at a
 * time: its end says what became of it. */
static void set_body(struct request *r, const struct https_request *request)
{
    if (!request->body) {
        return;
    }
    r->make = request->body;
    (void)curl_easy_setopt(r->curl, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(r->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->post_bytes);
    (void)curl_easy_setopt(r->curl, CURLOPT_READFUNCTION, on_make);
    (void)curl_easy_setopt(r->curl, CURLOPT_READDATA, r);
    (void)curl_easy_setopt(r->curl, CURLOPT_SEEKFUNCTION, on_rewind);
    (void)curl_easy_setopt(r->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    add_header(r, "Content-Type", request->content_type);
}

static void set_signer(struct request *r, const struct https_signer *signer)
{
    char provider[128];
    if (!signer) {
        return;
    }
    (void)snprintf(provider, sizeof provider, "aws:amz:%s:%s", signer->region, signer->service);
    (void)curl_easy_setopt(r->curl, CURLOPT_AWS_SIGV4, provider);
    (void)curl_easy_setopt(r->curl, CURLOPT_USERNAME, signer->key);
    (void)curl_easy_setopt(r->curl, CURLOPT_PASSWORD, signer->secret);
}

static void set_headers(struct request *r, const struct https_request *request)
{
    for (size_t i = 0; request->headers && request->headers[i]; i++) {
        r->headers = curl_slist_append(r->headers, request->headers[i]);
    }
    (void)curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, r->headers);
    if (request->put) {
        (void)curl_easy_setopt(r->curl, CURLOPT_CUSTOMREQUEST, "PUT");
    }
}

static void set_up(struct request *r, const struct https_request *request)
{
    CURL *c = r->curl;
    const char *ca_file = r->https->ca_file;
    (void)curl_easy_setopt(c, CURLOPT_URL, request->url);
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, request->clear ? "http,https" : "https");
    (void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    if (ca_file[0]) {
        (void)curl_easy_setopt(c, CURLOPT_CAINFO, ca_file);
        (void)curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    }
    (void)curl_easy_setopt(c, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    (void)curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)request->timeout_s);
    (void)curl_easy_setopt(c, CURLOPT_MAXFILESIZE, (long)request->bytes_max);
    (void)curl_easy_setopt(c, CURLOPT_USERAGENT, "wirepost/" WIREPOST_VERSION);
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, r->error);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
    (void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
    (void)curl_easy_setopt(c, CURLOPT_PRIVATE, r);
}

void https_ask(struct https *h, const struct https_request *request, https_fn done, void *user)
{
    struct request *r = calloc(1, sizeof *r);
    INVARIANT(r != NULL);
    r->https = h;
    r->done = done;
    r->user = user;
    r->bytes_max = request->bytes_max;
    r->curl = curl_easy_init();
    INVARIANT(r->curl != NULL);
    set_up(r, request);
    set_addresses(r, request);
    set_post(r, request);
    set_body(r, request);
    set_signer(r, request->signer);
    set_headers(r, request);
    r->next = h->first;
    if (h->first) {
        h->first->prev = r;
    }
    h->first = r;
    (void)curl_multi_add_handle(h->multi,
                                r->curl); /* it asks for its timer, so nothing is done now */
}

/* ---- open and close ---------------------------------------------------------------------- */

struct https *https_open(uv_loop_t *loop, const char *ca_file)
{
    struct https *h = calloc(1, sizeof *h);
    if (!h || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        !(h->multi = curl_multi_init())) {
        free(h);
        return NULL;
    }
    h->loop = loop;
    (void)snprintf(h->ca_file, sizeof h->ca_file, "%s", ca_file ? ca_file : "");
    h->timer.data = h;
    (void)uv_timer_init(loop, &h->timer);
    (void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    (void)curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    (void)curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    return h;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void https_close(struct https *h)
{
    h->closed = true;
    while (h->first) {
        request_free(h->first);
    }
    (void)curl_multi_cleanup(h->multi);
    curl_global_cleanup();
    (void)uv_timer_stop(&h->timer);
    uv_close((uv_handle_t *)&h->timer, on_closed);
}
