/* rpc_answer.c - answers and what waits to be written: see rpc.h. */
#include "control/rpc_private.h"

#include <stdarg.h>

struct write {
    uv_write_t request;
    struct rpc_client *client;
    size_t len;
    char *line;
};

static void on_written(uv_write_t *request, int status)
{
    struct write *write = (struct write *)request;
    struct rpc_client *client = write->client;
    client->out_bytes -= write->len;
    free(write->line);
    free(write);
    if (client->closing) {
        return;
    }
    if (status != 0) {
        rpc_client_close(client);
        return;
    }
    rpc_follow_pump(client);
    rpc_flow(client);
}

void rpc_send(struct rpc_client *client, char *line, size_t len)
{
    if (client->closing) {
        free(line);
        return;
    }
    struct write *write = ctl_must(calloc(1, sizeof *write));
    *write = (struct write){.client = client, .len = len, .line = line};
    uv_buf_t buf = uv_buf_init(line, (unsigned)len);
    client->out_bytes += len;
    if (uv_write(&write->request, (uv_stream_t *)&client->pipe, &buf, 1, on_written) != 0) {
        client->out_bytes -= len;
        free(line);
        free(write);
        rpc_client_close(client);
    }
}

static void request_free(struct rpc_request *request)
{
    struct rpc_client *client = request->client;
    if (client) {
        struct rpc_request **at = &client->requests;
        while (*at != request) {
            at = &(*at)->next;
        }
        *at = request->next;
        client->n_unanswered--;
        rpc_flow(client);
    }
    json_decref(request->id);
    json_decref(request->params);
    free(request->raw);
    free(request);
}

/* {"jsonrpc":"2.0","id":...,key:value}; value is given up. */
static void answer(struct rpc_request *request, const char *key, json_t *value)
{
    if (request->client && request->id) {
        json_t *object =
            ctl_must(json_pack("{s:s, s:O, s:O}", "jsonrpc", "2.0", "id", request->id, key, value));
        size_t len = json_dumpb(object, NULL, 0, JSON_COMPACT);
        char *line = ctl_must(malloc(len + 1));
        (void)json_dumpb(object, line, len, JSON_COMPACT);
        line[len] = '\n';
        json_decref(object);
        rpc_send(request->client, line, len + 1);
    }
    json_decref(value);
    request_free(request);
}

void rpc_result(struct rpc_request *request, json_t *result)
{
    answer(request, "result", ctl_must(result));
}

void rpc_error(struct rpc_request *request, int code, const char *reason, const char *path,
               const char *format, ...)
{
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    json_t *text = json_string(message), *data = ctl_must(json_object());
    json_t *error = ctl_must(json_object());
    if (reason) {
        (void)json_object_set_new(data, "reason", json_string(reason));
    }
    if (path) {
        (void)json_object_set_new(data, "path", json_string(path));
    }
    (void)json_object_set_new(error, "code", json_integer(code));
    (void)json_object_set_new(error, "message", text ? text : json_string("bad request"));
    (void)json_object_set_new(error, "data", data);
    answer(request, "error", error);
}
