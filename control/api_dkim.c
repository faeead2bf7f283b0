/* api_dkim.c - `dkim.list`, `dkim.check`: keys, and what DNS has of them. See API.md. */
#include "control/api_private.h"

#include "control/dns.h"

#define RECORD_MAX 2048

static json_t *key_of(const struct ctl_sender *sender, const struct dkim_key *key)
{
    char name[2 * DKIM_NAME_MAX + 32], record[RECORD_MAX] = "";
    (void)snprintf(name, sizeof name, "%s._domainkey.%s", key->selector, key->domain);
    (void)dkim_record(key, record, sizeof record);
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:s}", "sender", sender->name, "domain",
                     key->domain, "selector", key->selector, "algorithm",
                     key->is_ed25519 ? "ed25519-sha256" : "rsa-sha256", "bits", (int)key->bits,
                     "name", name, "record", record);
}

void api_dkim_list(struct rpc_request *request)
{
    const struct ctl_config *config = &request->ctl->config;
    json_t *list = ctl_must(json_array());
    for (uint32_t i = 0; i < config->n_senders; i++) {
        for (uint32_t k = 0; k < config->senders[i].n_dkim; k++) {
            (void)json_array_append_new(list,
                                        key_of(&config->senders[i], &config->senders[i].dkim[k]));
        }
    }
    rpc_result(request, json_pack("{s:o}", "keys", list));
}

/* ---- check ------------------------------------------------------------------------------- */

struct check {
    struct rpc_request *request;
    json_t *list;
    uint32_t n_open;
};

struct question {
    struct check *check;
    const struct dkim_key *key;
    json_t *entry; /* the list's */
};

static const char *state_of(const struct dkim_key *key, const struct dns_txt *txt)
{
    if (!txt->found) {
        return "unknown";
    }
    for (uint32_t i = 0; i < txt->n; i++) {
        if (dkim_record_fits(key, txt->text[i])) {
            return "published";
        }
    }
    return txt->n == 0 ? "missing" : "different";
}

static void finish(struct check *check)
{
    if (check->n_open == 0) {
        rpc_result(check->request, json_pack("{s:o}", "keys", check->list));
        free(check);
    }
}

static void on_txt(void *user, const struct dns_txt *txt)
{
    struct question *question = user;
    struct check *check = question->check;
    (void)json_object_set_new(question->entry, "state", json_string(state_of(question->key, txt)));
    free(question);
    check->n_open--;
    finish(check);
}

static void ask(struct check *check, const struct ctl_sender *sender, const struct dkim_key *key)
{
    struct question *question = ctl_must(calloc(1, sizeof *question));
    *question = (struct question){check, key, ctl_must(key_of(sender, key))};
    (void)json_array_append_new(check->list, question->entry);
    check->n_open++;
    dns_txt(check->request->ctl->dns, json_string_value(json_object_get(question->entry, "name")),
            on_txt, question);
}

void api_dkim_check(struct rpc_request *request)
{
    const struct ctl_config *config = &request->ctl->config;
    const char *name;
    if (!api_param_text(request, "sender", "", &name)) {
        return;
    }
    uint32_t sender = ctl_config_sender(config, name);
    if (sender == UINT32_MAX) {
        rpc_error(request, RPC_E_OURS, "unknown_sender", "/sender",
                  "there is no sender \"%.64s\" in the configuration", name);
        return;
    }
    struct check *check = ctl_must(calloc(1, sizeof *check));
    *check = (struct check){.request = request, .list = ctl_must(json_array())};
    for (uint32_t k = 0; k < config->senders[sender].n_dkim; k++) {
        ask(check, &config->senders[sender], &config->senders[sender].dkim[k]);
    }
    finish(check);
}
