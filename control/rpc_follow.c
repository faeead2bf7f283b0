/*
 * rpc_follow.c - the stream of events: history from the store as fast as the client takes it, then
 * what becomes durable. See rpc.h. An event is sent as the store has it, with its sequence number
 * put in front; nothing is parsed.
 */
#include "control/rpc_private.h"

#include "control/events.h"

#define CHUNK_BYTES (256u << 10)

struct lines {
    struct rpc_follow *follow;
    char *text;
    size_t len, room;
};

static bool wanted(const struct rpc_follow *follow, const char *json, size_t len)
{
    for (uint32_t i = 0; i < follow->n_types; i++) {
        if (event_type_is(json, len, follow->types[i])) {
            return true;
        }
    }
    return follow->n_types == 0;
}

/* {"jsonrpc":"2.0","method":"event","params":{"seq":N,<the object without its first brace>}} */
static void add_line(struct lines *lines, uint64_t seq, const char *json, size_t len)
{
    char head[96];
    int head_len = snprintf(head, sizeof head,
                            "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"seq\":%llu,",
                            (unsigned long long)seq);
    size_t needed = lines->len + (size_t)head_len + len + 2;
    if (needed > lines->room) {
        lines->room = needed * 2;
        lines->text = ctl_must(realloc(lines->text, lines->room));
    }
    memcpy(lines->text + lines->len, head, (size_t)head_len);
    lines->len += (size_t)head_len;
    memcpy(lines->text + lines->len, json + 1, len - 1);
    lines->len += len - 1;
    memcpy(lines->text + lines->len, "}\n", 2);
    lines->len += 2;
}

static bool on_history(void *user, uint64_t seq, uint64_t message_id, const char *json, size_t len)
{
    struct lines *lines = user;
    (void)message_id;
    if (!lines->follow->forever && seq > lines->follow->until) {
        return false;
    }
    lines->follow->after = seq;
    if (wanted(lines->follow, json, len)) {
        add_line(lines, seq, json, len);
    }
    return lines->len < CHUNK_BYTES;
}

static void history_through(struct rpc_client *client)
{
    struct rpc_follow *follow = &client->follow;
    struct rpc_request *request = follow->request;
    follow->live = follow->forever;
    follow->active = follow->forever;
    if (request) {
        follow->request = NULL;
        rpc_result(request, json_pack("{s:I}", "cursor", (json_int_t)follow->after));
    }
}

void rpc_follow_pump(struct rpc_client *client)
{
    struct rpc_follow *follow = &client->follow;
    while (follow->active && !follow->live && !client->closing &&
           client->out_bytes < RPC_OUT_HIGH) {
        struct lines lines = {.follow = follow};
        uint64_t before = follow->after;
        (void)store_each_event(client->server->ctl->store, follow->after, 0, on_history, &lines);
        if (lines.len > 0) {
            rpc_send(client, lines.text, lines.len);
        } else {
            free(lines.text);
        }
        if (follow->after == before || lines.len < CHUNK_BYTES) {
            history_through(client);
        }
    }
}

void rpc_event(struct rpc_server *server, uint64_t seq, const char *json, size_t len)
{
    for (struct rpc_client *client = server->clients, *next; client; client = next) {
        struct rpc_follow *follow = &client->follow;
        next = client->next;
        if (!follow->live || seq <= follow->after || !wanted(follow, json, len)) {
            continue;
        }
        struct lines lines = {.follow = follow};
        add_line(&lines, seq, json, len);
        follow->after = seq;
        rpc_send(client, lines.text, lines.len);
        if (client->out_bytes > RPC_OUT_MAX) {
            ctl_log(CTL_LOG_WARN,
                    "a client that does not read its events is closed; it may go on from its "
                    "last sequence number",
                    "uid=%u", (unsigned)client->uid);
            rpc_client_close(client);
        }
    }
}
