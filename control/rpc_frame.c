/*
 * rpc_frame.c - bytes of a client become requests: lines of JSON, and raw bytes that a request of
 * `inject` announces. See rpc.h.
 */
#include "control/rpc_private.h"

#include "control/api.h"

static struct rpc_request *request_new(struct rpc_client *client, json_t *id, json_t *params)
{
    struct rpc_request *request = ctl_must(calloc(1, sizeof *request));
    *request = (struct rpc_request){
        .client = client,
        .ctl = client->server->ctl,
        .id = id ? json_incref(id) : NULL,
        .params = params ? json_incref(params) : ctl_must(json_object()),
        .role = client->role,
        .next = client->requests,
    };
    client->requests = request;
    client->n_unanswered++;
    return request;
}

/* An error before there is a request: its id is null (JSON-RPC 2.0, 5). */
static void refuse_line(struct rpc_client *client, json_t *id, int code, const char *message)
{
    struct rpc_request *request = request_new(client, id ? id : json_null(), NULL);
    rpc_error(request, code, NULL, NULL, "%s", message);
}

static void begin_raw(struct rpc_client *client, struct rpc_request *request, size_t bytes,
                      bool keep)
{
    client->raw_request = request;
    client->raw_wanted = bytes;
    client->raw_got = 0;
    request->raw_len = bytes;
    request->raw = keep ? malloc(bytes + 1) : NULL;
    if (keep && !request->raw) {
        (void)snprintf(request->raw_error, sizeof request->raw_error,
                       "out of memory for a message of %zu bytes: try later", bytes);
        request->raw_code = RPC_E_OURS;
    }
}

static void call(struct rpc_client *client, const char *method, struct rpc_request *request)
{
    size_t bytes = 0;
    switch (api_raw_bytes(request, method, &bytes)) {
    case API_RAW_NONE:
        api_call(request, method);
        break;
    case API_RAW_KEEP:
        begin_raw(client, request, bytes, true);
        break;
    case API_RAW_SKIP:
        begin_raw(client, request, bytes, false);
        break;
    }
}

/* Raw bytes that a request announces although it is not a good one: they must not be taken for
 * requests. */
static bool skip_raw(struct rpc_client *client, json_t *root, struct rpc_request *request)
{
    size_t bytes = 0;
    json_t *method = json_object_get(root, "method");
    if (!json_is_string(method) || !json_is_object(json_object_get(root, "params")) ||
        api_raw_bytes(request, json_string_value(method), &bytes) == API_RAW_NONE) {
        return false;
    }
    begin_raw(client, request, bytes, false);
    return true;
}

/* Why this is no request; null: it is one. */
static const char *fault(const json_t *root)
{
    json_t *id = json_object_get(root, "id"), *params = json_object_get(root, "params");
    json_t *method = json_object_get(root, "method");
    const char *version = json_string_value(json_object_get(root, "jsonrpc"));
    if (id && !json_is_string(id) && !json_is_integer(id) && !json_is_null(id)) {
        return "\"id\" must be a text or a whole number";
    }
    if (!version || strcmp(version, "2.0") != 0 || !json_is_string(method) ||
        strlen(json_string_value(method)) != json_string_length(method)) {
        return "a request is one object with \"jsonrpc\": \"2.0\" and \"method\"; see "
               "control/API.md";
    }
    return params && !json_is_object(params) ? "\"params\" must be an object" : NULL;
}

static void take_object(struct rpc_client *client, json_t *root)
{
    json_t *id = json_object_get(root, "id"), *params = json_object_get(root, "params");
    const char *why = fault(root);
    if (!why) {
        call(client, json_string_value(json_object_get(root, "method")),
             request_new(client, id, params));
        return;
    }
    bool id_good = json_is_string(id) || json_is_integer(id);
    struct rpc_request *request =
        request_new(client, id_good ? id : json_null(), json_is_object(params) ? params : NULL);
    (void)snprintf(request->raw_error, sizeof request->raw_error, "%s", why);
    request->raw_code = params && !json_is_object(params) ? RPC_E_PARAMS : RPC_E_REQUEST;
    if (!skip_raw(client, root, request)) {
        api_call_raw(request);
    }
}

/* False: nobody can know whether raw bytes follow a line that is no JSON and names a size, so the
 * connection ends. */
static bool take_line(struct rpc_client *client, const char *line, size_t len)
{
    char message[JSON_ERROR_TEXT_LENGTH + 64];
    json_error_t error;
    json_t *root =
        json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!root) {
        (void)snprintf(message, sizeof message, "not JSON, at byte %d: %s", error.position,
                       error.text);
        refuse_line(client, NULL, RPC_E_PARSE, message);
        return memmem(line, len, "\"size\"", 6) == NULL;
    }
    take_object(client, root);
    json_decref(root);
    return true;
}

/* Keeps what is not a whole line yet. */
static bool keep_part(struct rpc_client *client, const char *data, size_t len)
{
    if (len > RPC_LINE_MAX - client->line_len) {
        refuse_line(client, NULL, RPC_E_REQUEST,
                    "the line is over 64 MiB: send messages with \"size\" and raw bytes");
        return false;
    }
    if (client->line_len + len > client->line_room) {
        size_t room = (client->line_len + len) * 2;
        client->line = ctl_must(realloc(client->line, room));
        client->line_room = room;
    }
    memcpy(client->line + client->line_len, data, len);
    client->line_len += len;
    return true;
}

static void line_done(struct rpc_client *client)
{
    client->line_len = 0;
    if (client->line_room > RPC_READ_BYTES) {
        free(client->line); /* one long line is not remembered for ever */
        client->line = NULL;
        client->line_room = 0;
    }
}

static size_t take_raw(struct rpc_client *client, const char *data, size_t len)
{
    struct rpc_request *request = client->raw_request;
    size_t rest = client->raw_wanted - client->raw_got, n = len < rest ? len : rest;
    if (request->raw) {
        memcpy(request->raw + client->raw_got, data, n);
    }
    client->raw_got += n;
    return n;
}

static void raw_done(struct rpc_client *client)
{
    struct rpc_request *request = client->raw_request;
    client->raw_request = NULL;
    api_call_raw(request);
}

bool rpc_frame_input(struct rpc_client *client, const char *data, size_t len)
{
    for (;;) {
        if (client->raw_request) {
            size_t n = take_raw(client, data, len);
            data += n;
            len -= n;
            if (client->raw_got < client->raw_wanted) {
                return true;
            }
            raw_done(client);
        }
        if (len == 0 || client->closing) {
            return !client->closing;
        }
        const char *end = memchr(data, '\n', len);
        size_t n = end ? (size_t)(end - data) : len;
        if (!end || client->line_len > 0) {
            if (!keep_part(client, data, n)) {
                return false;
            }
        }
        if (!end) {
            return true;
        }
        if (client->line_len > 0) {
            bool go_on = take_line(client, client->line, client->line_len);
            line_done(client);
            if (!go_on) {
                return false;
            }
        } else if (n > 0 && !take_line(client, data, n)) {
            return false;
        }
        data += n + 1;
        len -= n + 1;
    }
}
