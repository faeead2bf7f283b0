/* api_config.c - `config.get` and `config.check`. See API.md. */
#include "control/api_private.h"

/* RFC 6901: the value at the pointer; null: there is none. */
static json_t *at_pointer(json_t *root, const char *pointer)
{
    json_t *value = root;
    while (value && *pointer == '/') {
        char key[CONFIG_PATH_MAX];
        size_t n = 0;
        for (pointer++; *pointer && *pointer != '/' && n + 1 < sizeof key; pointer++) {
            char c = *pointer;
            if (c == '~' && (pointer[1] == '0' || pointer[1] == '1')) {
                c = *++pointer == '0' ? '~' : '/';
            }
            key[n++] = c;
        }
        key[n] = '\0';
        value = json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10))
                                     : json_object_get(value, key);
    }
    return *pointer ? NULL : value;
}

void api_config_get(struct rpc_request *request)
{
    const char *path;
    if (!api_param_text(request, "path", "", &path)) {
        return;
    }
    json_t *value = at_pointer(request->ctl->config.effective, path);
    if (!value) {
        rpc_error(request, RPC_E_PARAMS, NULL, "/path",
                  "there is nothing at \"%.256s\"; write a JSON pointer such as /delivery/retry_s",
                  path);
        return;
    }
    rpc_result(request, json_pack("{s:O}", "config", value));
}

static json_t *errors_json(const struct config_errors *errors)
{
    json_t *list = ctl_must(json_array());
    for (size_t i = 0; i < errors->count; i++) {
        (void)json_array_append_new(list, json_pack("{s:s, s:s}", "path", errors->list[i].path,
                                                    "message", errors->list[i].message));
    }
    return list;
}

void api_config_check(struct rpc_request *request)
{
    json_t *object = json_object_get(request->params, "config");
    struct config_errors errors = {0};
    const char *file;
    if (!api_param_text(request, "file", NULL, &file)) {
        return;
    }
    if ((object != NULL) == (file != NULL)) {
        rpc_error(request, RPC_E_PARAMS, NULL, "",
                  "either \"config\" (an object) or \"file\" (a path) is needed");
        return;
    }
    struct ctl_config *config = ctl_must(calloc(1, sizeof *config));
    bool ok =
        object ? ctl_config_parse(object, config, &errors) : ctl_config_load(file, config, &errors);
    rpc_result(request, json_pack("{s:b, s:o}", "ok", ok, "errors", errors_json(&errors)));
    ctl_config_free(config);
    free(config);
    config_errors_free(&errors);
}
