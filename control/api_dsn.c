/* api_dsn.c - what `inject` may say of delivery reports (RFC 3461): see API.md, api_private.h. */
#include "control/api_private.h"

#include "dataplane/smtp_client.h"

static bool wrong(struct rpc_request *request, const char *path, const char *text)
{
    rpc_error(request, RPC_E_PARAMS, NULL, path, "%s", text);
    return false;
}

/* ---- notify ------------------------------------------------------------------------------ */

static uint32_t notify_bit(const char *word)
{
    static const struct {
        const char *word;
        uint32_t bit;
    } words[] = {{"never", SMTP_NOTIFY_NEVER},
                 {"success", SMTP_NOTIFY_SUCCESS},
                 {"failure", SMTP_NOTIFY_FAILURE},
                 {"delay", SMTP_NOTIFY_DELAY}};
    for (size_t i = 0; word && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i].word) == 0) {
            return words[i].bit;
        }
    }
    return 0;
}

static bool parse_notify(struct rpc_request *request, const char *path, const json_t *list,
                         uint8_t *ret_notify)
{
    uint32_t notify = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        uint32_t bit = notify_bit(json_string_value(json_array_get(list, i)));
        notify = bit ? notify | bit : UINT8_MAX;
    }
    bool contradicts = notify & SMTP_NOTIFY_NEVER && notify != SMTP_NOTIFY_NEVER;
    if (!json_is_array(list) || notify == 0 || notify == UINT8_MAX || contradicts) {
        return wrong(
            request, path,
            "must be a list of \"success\", \"failure\" and \"delay\", or of \"never\" alone");
    }
    *ret_notify = (uint8_t)notify;
    return true;
}

/* ---- envid, orcpt ------------------------------------------------------------------------ */

/* Printable ASCII that has room on the wire (a character becomes three bytes at most). */
static bool is_envid(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return len > 0 && len <= SMTP_ENVID_MAX / 3;
}

/* Whether the engine would say it: its grammar is the last word. */
static bool is_orcpt(const char *text)
{
    struct smtp_recipient recipient = {.address = "a@b.example", .orcpt = text};
    const struct smtp_transaction t = {
        .mail_from = "", .recipients = &recipient, .n_recipients = 1};
    return smtp_transaction_valid(&t);
}

/* ---- the calls --------------------------------------------------------------------------- */

static const char *const dsn_keys[] = {"ret", "envid", "notify"};
static const char *const rcpt_keys[] = {"address", "notify", "orcpt"};

static bool keys_known(struct rpc_request *request, const char *path, json_t *object,
                       const char *const keys[3])
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (strcmp(key, keys[0]) != 0 && strcmp(key, keys[1]) != 0 && strcmp(key, keys[2]) != 0) {
            rpc_error(request, RPC_E_PARAMS, NULL, path, "\"%.64s\" is not known here", key);
            return false;
        }
    }
    return true;
}

static bool parse_ret(struct rpc_request *request, const json_t *value, uint8_t *ret_ret)
{
    const char *text = json_string_value(value);
    if (!text || (strcmp(text, "full") != 0 && strcmp(text, "hdrs") != 0)) {
        return wrong(request, "/dsn/ret", "must be \"full\" or \"hdrs\"");
    }
    *ret_ret = text[0] == 'f' ? SMTP_RET_FULL : SMTP_RET_HDRS;
    return true;
}

bool api_dsn_parse(struct rpc_request *request, struct api_dsn *ret_dsn)
{
    json_t *dsn = json_object_get(request->params, "dsn");
    *ret_dsn = (struct api_dsn){.envid = ""};
    if (!dsn) {
        return true;
    }
    if (!json_is_object(dsn)) {
        return wrong(request, "/dsn", "must be an object with \"ret\", \"envid\", \"notify\"");
    }
    json_t *ret = json_object_get(dsn, "ret"), *envid = json_object_get(dsn, "envid"),
           *notify = json_object_get(dsn, "notify");
    if (!keys_known(request, "/dsn", dsn, dsn_keys) ||
        (ret && !parse_ret(request, ret, &ret_dsn->ret)) ||
        (notify && !parse_notify(request, "/dsn/notify", notify, &ret_dsn->notify))) {
        return false;
    }
    if (envid && (!json_is_string(envid) || !is_envid(json_string_value(envid)))) {
        return wrong(request, "/dsn/envid", "must be 1 to 33 printable ASCII characters");
    }
    ret_dsn->envid = envid ? json_string_value(envid) : "";
    return true;
}

const json_t *api_dsn_recipient(struct rpc_request *request, const char *path, json_t *item,
                                const struct api_dsn *dsn, struct api_dsn_rcpt *ret_rcpt)
{
    *ret_rcpt = (struct api_dsn_rcpt){.notify = dsn->notify, .orcpt = ""};
    if (!json_is_object(item)) {
        return item;
    }
    json_t *notify = json_object_get(item, "notify"), *orcpt = json_object_get(item, "orcpt");
    const json_t *address = json_object_get(item, "address");
    if (!keys_known(request, path, item, rcpt_keys) ||
        (notify && !parse_notify(request, path, notify, &ret_rcpt->notify))) {
        return NULL;
    }
    if (orcpt && (!json_is_string(orcpt) || !is_orcpt(json_string_value(orcpt)))) {
        (void)wrong(request, path,
                    "\"orcpt\" must be as \"rfc822;user@example.org\" (RFC 3461 4.2)");
        return NULL;
    }
    if (!address) {
        (void)wrong(request, path, "\"address\" is needed");
    }
    ret_rcpt->orcpt = orcpt ? json_string_value(orcpt) : "";
    return address;
}
