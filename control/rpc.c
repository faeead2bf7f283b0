/* rpc.c - connections of the control socket: see rpc.h. */
#include "control/rpc_private.h"

#include <errno.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- who is it --------------------------------------------------------------------------- */

static bool in_group(int fd, const struct ucred *peer, gid_t group)
{
    gid_t groups[1024];
    socklen_t len = sizeof groups;
    if (peer->gid == group) {
        return true;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0) {
        return false;
    }
    for (size_t i = 0; i < len / sizeof groups[0]; i++) {
        if (groups[i] == group) {
            return true;
        }
    }
    return false;
}

/* By the kernel's word alone. */
static bool identify(const struct rpc_server *server, struct rpc_client *client)
{
    uv_os_fd_t fd;
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (uv_fileno((const uv_handle_t *)&client->pipe, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
        return false;
    }
    client->uid = peer.uid;
    if (peer.uid == 0 || peer.uid == geteuid()) {
        client->role = RPC_ADMIN;
        return true;
    }
    client->role = RPC_READER;
    return server->has_group && in_group(fd, &peer, server->group);
}

static bool too_many(const struct rpc_server *server, const struct rpc_client *client)
{
    uint32_t of_user = 0;
    for (const struct rpc_client *c = server->clients; c; c = c->next) {
        of_user += c->uid == client->uid;
    }
    return server->n_clients >= server->ctl->config.control.clients ||
           of_user >= server->ctl->config.control.clients_per_uid;
}

/* ---- connections ------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct rpc_client *client = handle->data;
    free(client->line);
    free(client);
}

void rpc_client_close(struct rpc_client *client)
{
    if (client->closing) {
        return;
    }
    client->closing = true;
    for (struct rpc_client **at = &client->server->clients; *at; at = &(*at)->next) {
        if (*at == client) {
            *at = client->next;
            client->server->n_clients--;
            break;
        }
    }
    for (struct rpc_request *r = client->requests; r; r = r->next) {
        r->client = NULL; /* answered into nothing */
    }
    if (client->raw_request) {
        rpc_error(client->raw_request, RPC_E_REQUEST, NULL, NULL, "the connection has ended");
        client->raw_request = NULL;
    }
    if (client->follow.request) {
        rpc_error(client->follow.request, RPC_E_REQUEST, NULL, NULL, "the connection has ended");
        client->follow.request = NULL;
    }
    uv_close((uv_handle_t *)&client->pipe, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct rpc_client *client = handle->data;
    (void)suggested;
    *buf = uv_buf_init(client->chunk, sizeof client->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct rpc_client *client = stream->data;
    if (n < 0 || (n > 0 && !rpc_frame_input(client, buf->base, (size_t)n))) {
        rpc_client_close(client);
        return;
    }
    rpc_flow(client);
}

void rpc_flow(struct rpc_client *client)
{
    bool want = !client->closing && client->n_unanswered < RPC_UNANSWERED_MAX &&
                client->out_bytes < RPC_OUT_HIGH;
    if (want && !client->reading) {
        client->reading = uv_read_start((uv_stream_t *)&client->pipe, on_alloc, on_read) == 0;
    } else if (!want && client->reading) {
        (void)uv_read_stop((uv_stream_t *)&client->pipe);
        client->reading = false;
    }
}

static void turn_away(struct rpc_client *client, const char *reason, const char *message)
{
    json_t *answer =
        ctl_must(json_pack("{s:s, s:n, s:{s:i, s:s, s:{s:s}}}", "jsonrpc", "2.0", "id", "error",
                           "code", RPC_E_OURS, "message", message, "data", "reason", reason));
    char *text = ctl_must(json_dumps(answer, JSON_COMPACT));
    uv_buf_t lines[] = {uv_buf_init(text, (unsigned)strlen(text)), uv_buf_init((char[]){"\n"}, 1)};
    (void)uv_try_write((uv_stream_t *)&client->pipe, lines, 2);
    free(text);
    json_decref(answer);
    client->closing = true; /* never was in the list */
    uv_close((uv_handle_t *)&client->pipe, on_closed);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct rpc_server *server = listener->data;
    if (status != 0) {
        return;
    }
    struct rpc_client *client = ctl_must(calloc(1, sizeof *client));
    client->server = server;
    client->pipe.data = client;
    (void)uv_pipe_init(server->ctl->loop, &client->pipe, 0);
    if (uv_accept(listener, (uv_stream_t *)&client->pipe) != 0) {
        client->closing = true;
        uv_close((uv_handle_t *)&client->pipe, on_closed);
    } else if (!identify(server, client)) {
        turn_away(client, "permission_denied",
                  "only root, the daemon's own user and members of control.group may connect");
    } else if (too_many(server, client)) {
        turn_away(client, "too_many_clients",
                  "too many connections: close some, or raise control.clients");
    } else {
        client->next = server->clients;
        server->clients = client;
        server->n_clients++;
        rpc_flow(client);
    }
}

/* ---- the socket -------------------------------------------------------------------------- */

static bool find_group(struct rpc_server *server, char *ret_error, size_t error_bytes)
{
    const char *name = server->ctl->config.control.group;
    if (!name[0]) {
        return true;
    }
    const struct group *group = getgrnam(name);
    if (!group) {
        (void)snprintf(ret_error, error_bytes, "control.group: there is no group \"%s\"", name);
        return false;
    }
    server->group = group->gr_gid;
    server->has_group = true;
    return true;
}

/* Whether a daemon answers there; a socket file that nobody listens on is left over and is
 * replaced. */
static bool somebody_listens(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    bool listens = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    (void)close(fd);
    return listens;
}

static int bind_socket(struct rpc_server *server, const char *path)
{
    mode_t mask = umask(0177); /* never open to others, not even for a moment */
    int result = uv_pipe_bind(&server->pipe, path);
    (void)umask(mask);
    if (result == 0 && server->has_group) {
        result = chown(path, (uid_t)-1, server->group) == 0 && chmod(path, 0660) == 0
                     ? 0
                     : uv_translate_sys_error(errno);
    }
    return result ? result : uv_listen((uv_stream_t *)&server->pipe, 128, on_connection);
}

struct rpc_server *rpc_open(struct ctl *ctl, char *ret_error, size_t error_bytes)
{
    const char *path = ctl->config.control.socket;
    struct rpc_server *server = ctl_must(calloc(1, sizeof *server));
    server->ctl = ctl;
    server->pipe.data = server;
    if (!find_group(server, ret_error, error_bytes)) {
        free(server);
        return NULL;
    }
    if (somebody_listens(path)) {
        (void)snprintf(ret_error, error_bytes, "%s: another daemon answers there", path);
        free(server);
        return NULL;
    }
    (void)unlink(path);
    (void)uv_pipe_init(ctl->loop, &server->pipe, 0);
    int result = bind_socket(server, path);
    if (result != 0) {
        (void)snprintf(ret_error, error_bytes, "%s: %s", path, uv_strerror(result));
        uv_close((uv_handle_t *)&server->pipe, NULL);
        (void)uv_run(ctl->loop, UV_RUN_NOWAIT);
        free(server);
        return NULL;
    }
    return server;
}

void rpc_close(struct rpc_server *server)
{
    (void)unlink(server->ctl->config.control.socket);
    while (server->clients) {
        rpc_client_close(server->clients);
    }
    uv_close((uv_handle_t *)&server->pipe, NULL);
}
