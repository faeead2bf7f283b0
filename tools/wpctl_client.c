/* wpctl_client.c - the connection to the daemon: see wpctl.h. */
#include "tools/wpctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#define LINE_MAX_BYTES (256u << 20) /* of an answer; more is no answer of this daemon */

void wpctl_connect(struct wpctl_client *client)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = wpctl_options.socket;
    *client = (struct wpctl_client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (client->fd < 0) {
        wpctl_die(EX_OSERR, "socket: %s", strerror(errno));
    }
    if (strlen(path) >= sizeof address.sun_path) {
        wpctl_die(EX_USAGE, "%s: the path is too long for a socket", path);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (connect(client->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        wpctl_die(error == EACCES ? EX_NOPERM : EX_UNAVAILABLE, "%s: %s: %s", path, strerror(error),
                  error == EACCES
                      ? "use sudo, or become a member of control.group"
                      : "is wirepostd running, and is this its control.socket? (--socket PATH)");
    }
    if (wpctl_options.timeout_s > 0) {
        const struct timeval limit = {.tv_sec = wpctl_options.timeout_s};
        (void)setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        (void)setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    }
}

void wpctl_close(struct wpctl_client *client)
{
    (void)close(client->fd);
    free(client->in);
}

static void write_all(const struct wpctl_client *client, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(client->fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            wpctl_die(errno == EAGAIN ? EX_TEMPFAIL : EX_IOERR, "%s: %s", wpctl_options.socket,
                      errno == EAGAIN ? "the daemon does not take the request in time (--timeout)"
                                      : strerror(errno));
        }
        data += n;
        len -= (size_t)n;
    }
}

json_int_t wpctl_send(struct wpctl_client *client, const char *method, json_t *params,
                      const void *raw, size_t raw_len)
{
    json_int_t id = ++client->serial;
    json_t *request = json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", id, "method",
                                method, "params", params ? params : json_object());
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    if (!text) {
        wpctl_die(EX_DATAERR, "a parameter is not UTF-8");
    }
    write_all(client, text, strlen(text));
    write_all(client, "\n", 1);
    write_all(client, raw, raw_len);
    free(text);
    json_decref(request);
    return id;
}

/* Reads until a whole line is in the buffer; its length without LF. */
static size_t fill_line(struct wpctl_client *c)
{
    size_t searched = c->in_at;
    for (;;) {
        char *end = c->in ? memchr(c->in + searched, '\n', c->in_len - searched) : NULL;
        if (end) {
            return (size_t)(end - (c->in + c->in_at));
        }
        searched = c->in_len;
        if (c->in_at > 0) {
            memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
            c->in_len -= c->in_at;
            searched -= c->in_at;
            c->in_at = 0;
        }
        if (c->in_len == c->in_room) {
            c->in_room = c->in_room ? c->in_room * 2 : 65536;
            c->in = c->in_room > LINE_MAX_BYTES ? NULL : realloc(c->in, c->in_room);
            if (!c->in) {
                wpctl_die(EX_PROTOCOL, "%s: an answer over 256 MiB", wpctl_options.socket);
            }
        }
        ssize_t n = recv(c->fd, c->in + c->in_len, c->in_room - c->in_len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            wpctl_die(EX_TEMPFAIL, "%s: no answer within %d s (--timeout)", wpctl_options.socket,
                      wpctl_options.timeout_s);
        }
        if (n <= 0) {
            wpctl_die(EX_UNAVAILABLE, "%s: the daemon closed the connection; its log may say why",
                      wpctl_options.socket);
        }
        c->in_len += (size_t)n;
    }
}

json_t *wpctl_receive(struct wpctl_client *client)
{
    json_error_t error = {.text = ""};
    size_t len = fill_line(client);
    json_t *value = json_loadb(client->in + client->in_at, len, 0, &error);
    client->in_at += len + 1;
    if (!json_is_object(value)) {
        wpctl_die(EX_PROTOCOL, "%s: an answer that is no JSON object %s", wpctl_options.socket,
                  error.text);
    }
    return value;
}

int wpctl_status(const json_t *error)
{
    static const struct {
        const char *reason;
        int status;
    } table[] = {
        {"permission_denied", EX_NOPERM},  {"unknown_sender", EX_NOUSER},
        {"bad_address", EX_DATAERR},       {"bad_message", EX_DATAERR},
        {"message_too_large", EX_DATAERR}, {"too_many_recipients", EX_DATAERR},
        {"spool_full", EX_TEMPFAIL},       {"spool_error", EX_IOERR},
        {"draining", EX_TEMPFAIL},         {"not_found", EX_NOINPUT},
        {"too_many_clients", EX_TEMPFAIL},
    };
    const char *reason = wpctl_text(json_object_get(error, "data"), "reason");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].reason, reason) == 0) {
            return table[i].status;
        }
    }
    return wpctl_number(error, "code") == -32602 ? EX_USAGE : EX_PROTOCOL;
}

void wpctl_die_of(const json_t *error)
{
    char message[2048];
    int status = wpctl_status(error);
    if (wpctl_options.json) {
        wpctl_print_json(error);
    }
    wpctl_die(status, "%s", wpctl_visible(wpctl_text(error, "message"), message, sizeof message));
}

json_t *wpctl_call(struct wpctl_client *client, const char *method, json_t *params)
{
    json_int_t id = wpctl_send(client, method, params, NULL, 0);
    for (;;) {
        json_t *answer = wpctl_receive(client), *error = json_object_get(answer, "error");
        json_t *its_id = json_object_get(answer, "id");
        if (error && (json_is_null(its_id) || json_integer_value(its_id) == id)) {
            wpctl_die_of(error);
        }
        json_t *result = json_object_get(answer, "result");
        if (result && json_is_integer(its_id) && json_integer_value(its_id) == id) {
            json_incref(result);
            json_decref(answer);
            return result;
        }
        json_decref(answer);
    }
}
