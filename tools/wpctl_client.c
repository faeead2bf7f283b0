/* wpctl_client.c - see wpctl_client.h. */
#include "tools/wpctl_client.h"

#include "tools/wpctl.h"
#include "tools/wpctl_json.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#define READ_BYTES 65536u

/* ---- connect ----------------------------------------------------------------------------- */

static void cannot_connect(const char *path, int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        wpctl_die(EX_NOPERM,
                  "%s: %s: use sudo, or become a member of the group that control.group names",
                  path, strerror(error));
    case EAGAIN:
        wpctl_die(EX_TEMPFAIL, "%s: the daemon does not accept connections in time (--timeout)",
                  path);
    case ENOENT:
    case ECONNREFUSED:
        wpctl_die(EX_UNAVAILABLE,
                  "%s: %s: start wirepostd, or name its control.socket with --socket PATH or "
                  "WIREPOST_SOCKET",
                  path, strerror(error));
    default:
        wpctl_die(EX_UNAVAILABLE,
                  "%s: %s: is this the control.socket of wirepostd? (--socket PATH)", path,
                  strerror(error));
    }
}

void wpctl_client_open(struct wpctl_client *client)
{
    const char *path = wpctl_options.socket;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval limit = {.tv_sec = wpctl_options.timeout_s}; /* 0: none */
    *client = (struct wpctl_client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                                    .timeout_s = wpctl_options.timeout_s,
                                    .in = wpctl_must(malloc(READ_BYTES)),
                                    .in_room = READ_BYTES};
    if (client->fd < 0) {
        wpctl_die(EX_OSERR, "socket: %s", strerror(errno));
    }
    if (strlen(path) >= sizeof address.sun_path) {
        wpctl_die(EX_USAGE, "%s: a path of a socket has at most %zu bytes", path,
                  sizeof address.sun_path - 1);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    (void)setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* connect too */
    if (connect(client->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        cannot_connect(path, errno);
    }
}

void wpctl_client_close(struct wpctl_client *client)
{
    (void)close(client->fd);
    free(client->in);
}

/* ---- failure ----------------------------------------------------------------------------- */

static void fail(struct wpctl_client *client, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct wpctl_client *client, int status, const char *format, ...)
{
    struct wpctl_failure *failure = &client->failure;
    va_list arguments;
    int used = snprintf(failure->text, sizeof failure->text, "%.200s: ", wpctl_options.socket);
    va_start(arguments, format);
    (void)vsnprintf(failure->text + used, sizeof failure->text - (size_t)used, format, arguments);
    va_end(arguments);
    failure->status = status;
}

void wpctl_client_die(const struct wpctl_client *client)
{
    wpctl_die(client->failure.status, "%s", client->failure.text);
}

/* ---- send -------------------------------------------------------------------------------- */

static bool send_all(struct wpctl_client *client, const char *data, size_t bytes)
{
    while (bytes > 0 && !client->hung_up) {
        ssize_t n = send(client->fd, data, bytes, MSG_NOSIGNAL);
        if (n >= 0) {
            data += n;
            bytes -= (size_t)n;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            client->hung_up = true;
        } else if (errno == EAGAIN) {
            fail(client, EX_TEMPFAIL, "the daemon did not take the request within %d s (--timeout)",
                 client->timeout_s);
            return false;
        } else if (errno != EINTR) {
            fail(client, EX_IOERR, "%s", strerror(errno));
            return false;
        }
    }
    return true;
}

json_int_t wpctl_client_send(struct wpctl_client *client, const char *method, json_t *params,
                             const void *raw, size_t raw_bytes)
{
    json_int_t id = ++client->serial;
    json_t *request =
        wpctl_must(json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", id, "method", method,
                             "params", params ? params : wpctl_must(json_object())));
    char *line = wpctl_must(json_dumps(request, JSON_COMPACT));
    size_t line_bytes = strlen(line);
    line[line_bytes] = '\n'; /* instead of NUL */
    bool sent = send_all(client, line, line_bytes + 1) && send_all(client, raw, raw_bytes);
    free(line);
    json_decref(request);
    return sent ? id : 0;
}

/* ---- receive ----------------------------------------------------------------------------- */

/* Waits until there is something to read, at most until `until` (INT64_MAX: for ever). */
static bool wait_readable(struct wpctl_client *client, int64_t until)
{
    for (;;) {
        struct pollfd fd = {.fd = client->fd, .events = POLLIN};
        int64_t left = until == INT64_MAX ? -1 : until - wpctl_now_ms();
        int n = until != INT64_MAX && left <= 0 ? 0 : poll(&fd, 1, (int)left);
        if (n > 0) {
            return true;
        }
        if (n == 0) {
            fail(client, EX_TEMPFAIL, "no answer within %d s (--timeout)", client->timeout_s);
            return false;
        }
        if (errno != EINTR) {
            fail(client, EX_OSERR, "poll: %s", strerror(errno));
            return false;
        }
    }
}

/* Makes room behind what is not taken yet. */
static bool make_room(struct wpctl_client *client)
{
    if (client->in_at > 0) {
        memmove(client->in, client->in + client->in_at, client->in_len - client->in_at);
        client->in_len -= client->in_at;
        client->in_at = 0;
    }
    if (client->in_len > WPCTL_LINE_MAX) {
        fail(client, EX_PROTOCOL, "an answer over 64 MiB: this is not wirepostd");
        return false;
    }
    if (client->in_len == client->in_room) {
        client->in_room *= 2;
        client->in = wpctl_must(realloc(client->in, client->in_room));
    }
    return true;
}

static bool read_more(struct wpctl_client *client, int64_t until)
{
    ssize_t n;
    if (!make_room(client)) {
        return false;
    }
    do {
        if (!wait_readable(client, until)) {
            return false;
        }
        n = recv(client->fd, client->in + client->in_len, client->in_room - client->in_len, 0);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n <= 0) {
        fail(client, EX_UNAVAILABLE, "the daemon closed the connection; its log may say why");
        return false;
    }
    client->in_len += (size_t)n;
    return true;
}

/* Reads until a whole line is in the buffer. */
static bool fill_line(struct wpctl_client *client, size_t *ret_bytes)
{
    int64_t until = client->timeout_s > 0 ? wpctl_now_ms() + client->timeout_s * 1000LL : INT64_MAX;
    size_t searched = 0; /* of what is not taken */
    for (;;) {
        size_t left = client->in_len - client->in_at;
        const char *line = client->in + client->in_at;
        const char *end = left > searched ? memchr(line + searched, '\n', left - searched) : NULL;
        if (end) {
            *ret_bytes = (size_t)(end - line);
            return true;
        }
        searched = left;
        if (!read_more(client, until)) {
            return false;
        }
    }
}

json_t *wpctl_client_receive(struct wpctl_client *client)
{
    json_error_t error = {.text = ""};
    size_t bytes;
    if (!fill_line(client, &bytes)) {
        return NULL;
    }
    json_t *line = json_loadb(client->in + client->in_at, bytes, JSON_REJECT_DUPLICATES, &error);
    client->in_at += bytes + 1;
    if (json_is_object(line)) {
        return line;
    }
    fail(client, EX_PROTOCOL, "an answer that is no JSON object%s%s: this is not wirepostd",
         error.text[0] ? ": " : "", error.text);
    json_decref(line);
    return NULL;
}
