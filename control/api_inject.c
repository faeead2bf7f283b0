/*
 * api_inject.c - `inject`: a message is checked, made wire form, made durable, and only then
 * answered with yes. See API.md. Nothing of a refused message is kept.
 */
#include "control/api_private.h"

#include "control/address.h"
#include "control/dispatch.h"
#include "control/events.h"
#include "control/idempotency.h"
#include "control/job.h"
#include "control/needs.h"
#include "control/signing.h"
#include "control/unsubscribe.h"

#include <openssl/evp.h>

#define STREAM_MAX 63u

/* From the request until the store has answered. */
struct injection {
    struct ctl *ctl;
    struct rpc_request *request;
    uint32_t sender;
    const char *stream;
    struct address mail_from; /* text "" is the null path */
    struct address *recipients;
    struct api_dsn dsn;
    struct api_dsn_rcpt *dsn_rcpts; /* beside recipients */
    uint32_t n_recipients;
    bool utf8, require_tls;
    struct wire_message wire;
    uint64_t id;
    int64_t now_ms;
    struct idempotency key; /* key.key null: none */
    struct signing *signing;
    struct store_prefix prefix[STORE_PREFIXES];
    struct store_rcpt *rcpts;
    struct store_accept accept;
    char *event;
};

static void injection_free(struct injection *in)
{
    idempotency_end(in->ctl, &in->key);
    free(in->recipients);
    free(in->dsn_rcpts);
    free(in->rcpts);
    free(in->event);
    wire_message_free(&in->wire);
    signing_free(in->signing);
    free(in);
}

/* ---- the envelope ------------------------------------------------------------------------ */

static bool bad_address(struct rpc_request *request, const char *path, const char *error)
{
    rpc_error(request, RPC_E_OURS, "bad_address", path, "%s", error);
    return false;
}

static bool parse_address(struct rpc_request *request, const char *path, const json_t *value,
                          struct address *ret_address)
{
    char error[512];
    if (!json_is_string(value)) {
        rpc_error(request, RPC_E_PARAMS, NULL, path, "an address must be a text");
        return false;
    }
    return address_parse(json_string_value(value), json_string_length(value), ret_address, error,
                         sizeof error) ||
           bad_address(request, path, error);
}

static bool parse_mail_from(struct injection *in)
{
    json_t *value = json_object_get(in->request->params, "mail_from");
    if (!value) {
        rpc_error(in->request, RPC_E_PARAMS, NULL, "/mail_from",
                  "\"mail_from\" is needed: the return path, or \"\" for the null path");
        return false;
    }
    if (json_is_string(value) && json_string_length(value) == 0) {
        return true;
    }
    if (!parse_address(in->request, "/mail_from", value, &in->mail_from)) {
        return false;
    }
    in->utf8 |= in->mail_from.utf8;
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp((*(struct address *const *)a)->text, (*(struct address *const *)b)->text);
}

/* The same address twice gets one copy. Keeps the order of the first ones. */
static bool drop_duplicates(struct injection *in)
{
    struct address **order = calloc(in->n_recipients, sizeof(struct address *));
    uint32_t kept = 0;
    if (!order) {
        return false;
    }
    for (uint32_t i = 0; i < in->n_recipients; i++) {
        order[i] = &in->recipients[i];
    }
    qsort(order, in->n_recipients, sizeof(struct address *), by_text);
    for (uint32_t i = 1; i < in->n_recipients; i++) {
        if (strcmp(order[i - 1]->text, order[i]->text) == 0) {
            struct address *later = order[i] > order[i - 1] ? order[i] : order[i - 1];
            struct address *first = later == order[i] ? order[i - 1] : order[i];
            order[i] = first;
            later->domain[0] = '\0'; /* marks it */
        }
    }
    for (uint32_t i = 0; i < in->n_recipients; i++) {
        if (in->recipients[i].domain[0] != '\0') {
            in->dsn_rcpts[kept] = in->dsn_rcpts[i];
            in->recipients[kept++] = in->recipients[i];
        }
    }
    in->n_recipients = kept;
    free(order);
    return true;
}

static bool parse_recipients(struct injection *in)
{
    struct rpc_request *request = in->request;
    json_t *list = json_object_get(request->params, "rcpt_to");
    size_t n = json_array_size(list), limit = request->ctl->config.limits.recipients;
    if (!json_is_array(list) || n == 0) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/rcpt_to",
                  "\"rcpt_to\" must be a list of at least one address");
        return false;
    }
    if (n > limit) {
        rpc_error(request, RPC_E_OURS, "too_many_recipients", "/rcpt_to",
                  "%zu recipients are over limits.recipients (%zu): send several messages", n,
                  limit);
        return false;
    }
    in->recipients = ctl_must(calloc(n, sizeof in->recipients[0]));
    in->dsn_rcpts = ctl_must(calloc(n, sizeof in->dsn_rcpts[0]));
    for (size_t i = 0; i < n; i++) {
        char path[CONFIG_PATH_MAX];
        config_path_item(path, "/rcpt_to", i);
        const json_t *address =
            api_dsn_recipient(request, path, json_array_get(list, i), &in->dsn, &in->dsn_rcpts[i]);
        if (!address || !parse_address(request, path, address, &in->recipients[i])) {
            return false;
        }
        in->utf8 |= in->recipients[i].utf8;
    }
    in->n_recipients = (uint32_t)n;
    (void)ctl_must(drop_duplicates(in) ? in : NULL);
    return true;
}

static bool parse_sender(struct injection *in)
{
    const struct ctl_config *config = &in->request->ctl->config;
    const char *name;
    if (!api_param_text(in->request, "sender", NULL, &name)) {
        return false;
    }
    in->sender = name ? ctl_config_sender(config, name)
                      : ctl_config_sender_of_domain(config, in->mail_from.domain);
    if (in->sender != UINT32_MAX) {
        return true;
    }
    if (name) {
        rpc_error(in->request, RPC_E_OURS, "unknown_sender", "/sender",
                  "there is no sender \"%.64s\" in the configuration", name);
    } else {
        rpc_error(in->request, RPC_E_OURS, "unknown_sender", "/sender",
                  "no sender has the domain of the return path, \"%.255s\": name one in \"sender\"",
                  in->mail_from.domain);
    }
    return false;
}

/* The two kinds of mail that strategies tell apart, and campaigns of the second. */
static bool stream_valid(const char *stream)
{
    if (strncmp(stream, "bulk:", 5) == 0) {
        return config_name_valid(stream + 5) && strlen(stream) <= STREAM_MAX;
    }
    return strcmp(stream, "transactional") == 0 || strcmp(stream, "bulk") == 0;
}

static bool parse_stream(struct injection *in)
{
    if (!api_param_text(in->request, "stream", "transactional", &in->stream)) {
        return false;
    }
    if (!stream_valid(in->stream)) {
        rpc_error(in->request, RPC_E_PARAMS, NULL, "/stream",
                  "\"stream\" must be \"transactional\", \"bulk\", or \"bulk:\" and the name of a "
                  "campaign "
                  "(letters, digits, '-', '_', '.'), %u bytes at most",
                  STREAM_MAX);
        return false;
    }
    return true;
}

/* RFC 8689: the message is not to be sent where TLS is not certain. */
static bool parse_require_tls(struct injection *in)
{
    json_t *value = json_object_get(in->request->params, "require_tls");
    if (value && !json_is_boolean(value)) {
        rpc_error(in->request, RPC_E_PARAMS, NULL, "/require_tls", "must be true or false");
        return false;
    }
    in->require_tls = json_is_true(value);
    return true;
}

static bool parse_envelope(struct injection *in)
{
    return api_dsn_parse(in->request, &in->dsn) && parse_require_tls(in) && parse_mail_from(in) &&
           parse_recipients(in) && parse_sender(in) && parse_stream(in);
}

/* ---- the message ------------------------------------------------------------------------- */

static const char *where(const struct rpc_request *request)
{
    return json_object_get(request->params, "size") ? "/size" : "/message";
}

static bool too_large(struct rpc_request *request, uint64_t bytes)
{
    rpc_error(request, RPC_E_OURS, "message_too_large", where(request),
              "%llu bytes are over limits.message_bytes (%u)", (unsigned long long)bytes,
              request->ctl->config.limits.message_bytes);
    return false;
}

static bool decode(struct rpc_request *request, const json_t *message)
{
    size_t len = json_string_length(message), limit = request->ctl->config.limits.message_bytes;
    if (len / 4 * 3 > limit + 3) {
        return too_large(request, len / 4 * 3);
    }
    request->raw = ctl_must(malloc(len / 4 * 3 + 4));
    int n =
        len % 4 == 0 && len <= INT32_MAX
            ? EVP_DecodeBlock(request->raw, (const uint8_t *)json_string_value(message), (int)len)
            : -1;
    if (n < 0) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/message",
                  "\"message\" must be base64 (RFC 4648 4)");
        return false;
    }
    const char *text = json_string_value(message);
    size_t padding = len > 1 && text[len - 1] == '=' ? 1u + (text[len - 2] == '=') : 0;
    request->raw_len = (size_t)n - padding; /* the decoder counts padding as bytes */
    return true;
}

static bool get_bytes(struct rpc_request *request)
{
    json_t *message = json_object_get(request->params, "message");
    json_t *size = json_object_get(request->params, "size");
    if ((message != NULL) == (size != NULL)) {
        rpc_error(
            request, RPC_E_PARAMS, NULL, "",
            "either \"message\" (base64) or \"size\" with raw bytes after the line is needed");
        return false;
    }
    if (size) {
        json_int_t bytes = json_integer_value(size);
        if (!json_is_integer(size) || bytes <= 0) {
            rpc_error(request, RPC_E_PARAMS, NULL, "/size",
                      "\"size\" must be a whole number of bytes, 1 or more");
            return false;
        }
        return request->raw != NULL || too_large(request, (uint64_t)bytes);
    }
    if (!json_is_string(message)) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/message", "\"message\" must be a text of base64");
        return false;
    }
    return decode(request, message) &&
           (request->raw_len <= request->ctl->config.limits.message_bytes ||
            too_large(request, request->raw_len));
}

/* A lane must be able to hold it: its list of dots may be larger than itself. */
static bool fits_a_lane(struct injection *in)
{
    uint64_t needed = in->wire.len + in->wire.n_stuff * sizeof in->wire.stuff[0] + JOB_STRINGS_MAX +
                      SIGNING_BYTES_MAX;
    if (needed <= in->request->ctl->config.dp.arena_bytes) {
        return true;
    }
    rpc_error(
        in->request, RPC_E_OURS, "message_too_large", where(in->request),
        "it needs %llu bytes in a lane, over dataplane.arena_mb: make that larger, or the message "
        "smaller",
        (unsigned long long)needed);
    return false;
}

/* Fields that the injector asks for go in front, before the message is signed. */
static bool add_unsubscribe(struct injection *in)
{
    struct rpc_request *request = in->request;
    json_t *asked = json_object_get(request->params, "list_unsubscribe");
    char fields[UNSUBSCRIBE_FIELDS_MAX], error[256];
    if (!asked) {
        return true;
    }
    json_t *url = json_object_get(asked, "url"), *mailto = json_object_get(asked, "mailto");
    size_t n = (url ? 1u : 0u) + (mailto ? 1u : 0u);
    if (!json_is_object(asked) || json_object_size(asked) != n || (url && !json_is_string(url)) ||
        (mailto && !json_is_string(mailto))) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/list_unsubscribe",
                  "must be an object with the texts \"url\", \"mailto\", or both");
        return false;
    }
    if (!unsubscribe_fields(json_string_value(url), json_string_value(mailto), fields, error,
                            sizeof error)) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/list_unsubscribe", "%s", error);
        return false;
    }
    if (unsubscribe_is_there(in->wire.data, in->wire.len)) {
        rpc_error(request, RPC_E_OURS, "bad_message", where(request),
                  "it has a List-Unsubscribe field of its own: leave that, or the parameter, out");
        return false;
    }
    (void)ctl_must(wire_message_prepend(&in->wire, fields, strlen(fields)) ? in : NULL);
    return true;
}

static bool make_wire(struct injection *in, uint64_t id, int64_t now_ms)
{
    struct rpc_request *request = in->request;
    const struct wire_defaults defaults = {request->ctl->config.hostname, id, now_ms / 1000};
    char error[512];
    if (!wire_message_make(request->raw, request->raw_len, &defaults, &in->wire, error,
                           sizeof error)) {
        rpc_error(request, RPC_E_OURS, "bad_message", where(request), "%s", error);
        return false;
    }
    free(request->raw);
    request->raw = NULL;
    return add_unsubscribe(in) && fits_a_lane(in);
}

/* ---- the key ----------------------------------------------------------------------------- */

static void answer_again(struct injection *in, json_t *answer)
{
    (void)json_object_set_new(answer, "durability", json_string("durable"));
    (void)json_object_set_new(answer, "duplicate", json_true());
    rpc_result(in->request, answer);
}

/* False: the request is answered, because of its key. */
static bool check_key(struct injection *in)
{
    struct rpc_request *request = in->request;
    json_t *answer;
    if (!json_object_get(request->params, "idempotency_key")) {
        return true;
    }
    if (!api_param_text(request, "idempotency_key", "", &in->key.key)) {
        return false;
    }
    if (!idempotency_key_valid(in->key.key)) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/idempotency_key",
                  "must have 1 to %u printable ASCII characters", IDEMPOTENCY_KEY_MAX);
        return false;
    }
    in->key.sender = in->ctl->config.senders[in->sender].name;
    idempotency_digest(in->mail_from.text, json_object_get(request->params, "rcpt_to"), in->stream,
                       request->raw, request->raw_len, in->key.digest);
    switch (idempotency_begin(in->ctl, &in->key, in->now_ms, &answer)) {
    case IDEMPOTENCY_NEW:
        return true;
    case IDEMPOTENCY_SAME:
        answer_again(in, answer);
        break;
    case IDEMPOTENCY_DIFFERENT:
        rpc_error(request, RPC_E_OURS, "key_reused", "/idempotency_key",
                  "this key was given to another message, recipients or return path: take a new "
                  "one");
        break;
    case IDEMPOTENCY_UNDER_WAY:
        rpc_error(request, RPC_E_OURS, "in_progress", "/idempotency_key",
                  "an injection with this key is not finished yet: try again");
        break;
    }
    return false;
}

/* ---- the store --------------------------------------------------------------------------- */

static void refuse_store(struct rpc_request *request, enum store_status status)
{
    switch (status) {
    case STORE_OK:
    case STORE_E_IO:
        rpc_error(
            request, RPC_E_OURS, "spool_error", NULL,
            "the spool could not be written: nothing was accepted, try later; the log says more");
        break;
    case STORE_E_FULL:
        rpc_error(request, RPC_E_OURS, "spool_full", NULL,
                  "the spool is full (free space is below its watermark, or spool.max_mb is "
                  "reached): try later");
        break;
    case STORE_E_CLOSED:
        rpc_error(request, RPC_E_OURS, "draining", NULL, "the daemon is shutting down: try later");
        break;
    }
}

static void on_durable(void *user, enum store_status status)
{
    struct injection *in = user;
    struct ctl *ctl = in->request->ctl;
    char id[EVENT_ID_TEXT];
    if (status != STORE_OK) {
        refuse_store(in->request, status);
        injection_free(in);
        return;
    }
    ctl->counts.accepted++;
    dispatch_add_message(ctl, in->accept.message.id, in->sender, in->rcpts, in->n_recipients,
                         in->accept.message.accepted_ms);
    rpc_result(in->request,
               json_pack("{s:s, s:i, s:I, s:s}", "id", event_id_text(in->accept.message.id, id),
                         "recipients", (int)in->n_recipients, "bytes", (json_int_t)in->wire.len,
                         "durability", "durable"));
    injection_free(in);
}

static char *accepted_event(const struct injection *in, uint64_t id, int64_t now_ms)
{
    char text[EVENT_ID_TEXT];
    json_t *event = event_new("accepted", now_ms);
    (void)json_object_set_new(event, "id", json_string(event_id_text(id, text)));
    (void)json_object_set_new(event, "sender",
                              json_string(in->request->ctl->config.senders[in->sender].name));
    (void)json_object_set_new(event, "stream", json_string(in->stream));
    (void)json_object_set_new(event, "mail_from", json_string(in->mail_from.text));
    (void)json_object_set_new(event, "recipients", json_integer(in->n_recipients));
    (void)json_object_set_new(event, "bytes", json_integer((json_int_t)in->wire.len));
    return event_text(event);
}

static void give_to_store(struct injection *in)
{
    struct ctl *ctl = in->request->ctl;
    uint64_t id = in->id;
    int64_t now_ms = in->now_ms;
    enum store_status status = STORE_OK;
    in->rcpts = ctl_must(calloc(in->n_recipients, sizeof in->rcpts[0]));
    for (uint32_t i = 0; i < in->n_recipients; i++) {
        in->rcpts[i] = (struct store_rcpt){
            .address = in->recipients[i].text,
            .domain = in->recipients[i].domain,
            .last = "",
            .orcpt = in->dsn_rcpts[i].orcpt,
            .notify = in->dsn_rcpts[i].notify,
        };
    }
    in->event = accepted_event(in, id, now_ms);
    if (in->key.key) {
        idempotency_note(&in->key, now_ms, id, in->n_recipients, in->wire.len);
    }
    in->accept = (struct store_accept){
        .message =
            {
                .id = id,
                .accepted_ms = now_ms,
                .expires_ms = now_ms + (int64_t)ctl->config.delivery.expire_s * 1000,
                .sender = ctl->config.senders[in->sender].name,
                .stream = in->stream,
                .mail_from = in->mail_from.text,
                .needs = message_needs(&in->wire, in->utf8) |
                         (in->require_tls ? CHAN_NEED_REQUIRETLS : 0),
                .ret = in->dsn.ret,
                .envid = in->dsn.envid,
                .n_recipients = in->n_recipients,
                .body_bytes = in->wire.len,
                .dsn_for = "",
            },
        .recipients = in->rcpts,
        .body = in->wire.data,
        .stuff = in->wire.stuff,
        .n_stuff = in->wire.n_stuff,
        .prefix = {in->prefix[0], in->prefix[1]},
        .event_json = in->event,
        .note_name = in->key.key ? in->key.name : NULL,
        .note_text = in->key.key ? in->key.text : NULL,
        .done = on_durable,
        .user = in,
    };
    if (!store_accept(ctl->store, &in->accept, &status)) {
        refuse_store(in->request, status);
        injection_free(in);
    }
}

/* ---- DKIM -------------------------------------------------------------------------------- */

static void on_signed(void *user, const struct signing_result *result)
{
    struct injection *in = user;
    if (in->request->ctl->stopping) {
        refuse_store(in->request, STORE_E_CLOSED);
        injection_free(in);
    } else if (!result->good) {
        rpc_error(in->request, RPC_E_OURS, "not_possible", NULL,
                  "it could not be signed: OpenSSL refused, or there is no memory");
        injection_free(in);
    } else {
        memcpy(in->prefix, result->fields, sizeof in->prefix);
        give_to_store(in);
    }
}

static void sign_and_store(struct injection *in)
{
    char error[512];
    switch (signing_begin(in->request->ctl, in->sender, &in->wire, in->now_ms / 1000, on_signed, in,
                          &in->signing, error, sizeof error)) {
    case SIGNING_NOT_WANTED:
        give_to_store(in);
        break;
    case SIGNING_BEGUN:
        break;
    case SIGNING_REFUSED:
        rpc_error(in->request, RPC_E_OURS, "cannot_sign", where(in->request), "%s", error);
        injection_free(in);
        break;
    }
}

void api_inject(struct rpc_request *request)
{
    if (request->ctl->stopping) {
        rpc_error(request, RPC_E_OURS, "draining", NULL, "the daemon is shutting down: try later");
        return;
    }
    struct injection *in = ctl_must(calloc(1, sizeof *in));
    in->ctl = request->ctl;
    in->request = request;
    in->id = store_next_id(request->ctl->store);
    in->now_ms = ctl_time_ms();
    if (!parse_envelope(in) || !get_bytes(request) || !check_key(in) ||
        !make_wire(in, in->id, in->now_ms)) {
        injection_free(in); /* and the request is answered */
        return;
    }
    sign_and_store(in);
}
