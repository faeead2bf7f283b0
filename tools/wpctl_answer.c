/* wpctl_answer.c - answers of the daemon, its errors, and calls that wait for one: see
 * wpctl_client.h. */
#include "tools/wpctl_client.h"

#include "tools/wpctl.h"
#include "tools/wpctl_json.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define CODE_PARAMS (-32602) /* JSON-RPC 2.0, 5.1: invalid params */

bool wpctl_answer_read(const json_t *line, struct wpctl_answer *ret_answer)
{
    const struct wpctl_answer answer = {.id = json_object_get(line, "id"),
                                        .result = json_object_get(line, "result"),
                                        .error = json_object_get(line, "error")};
    if (!answer.id || (answer.result != NULL) == (answer.error != NULL) ||
        (answer.error && !json_is_object(answer.error))) {
        return false;
    }
    *ret_answer = answer;
    return true;
}

bool wpctl_answer_is_for(const struct wpctl_answer *answer, json_int_t id)
{
    return (json_is_null(answer->id) && answer->error) ||
           (json_is_integer(answer->id) && json_integer_value(answer->id) == id);
}

int wpctl_error_status(const json_t *error)
{
    static const struct {
        const char *reason;
        int status;
    } table[] = {
        {"permission_denied", EX_NOPERM},  {"unknown_sender", EX_NOUSER},
        {"bad_address", EX_DATAERR},       {"bad_message", EX_DATAERR},
        {"message_too_large", EX_DATAERR}, {"too_many_recipients", EX_DATAERR},
        {"spool_full", EX_TEMPFAIL},       {"spool_error", EX_IOERR},
        {"not_possible", EX_UNAVAILABLE},  {"in_progress", EX_TEMPFAIL},
        {"key_reused", EX_DATAERR},        {"draining", EX_TEMPFAIL},
        {"too_many_clients", EX_TEMPFAIL}, {"not_found", EX_NOINPUT},
    };
    const char *reason = wpctl_text(json_object_get(error, "data"), "reason");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].reason, reason) == 0) {
            return table[i].status;
        }
    }
    return wpctl_number(error, "code") == CODE_PARAMS ? EX_USAGE : EX_PROTOCOL;
}

void wpctl_error_die(const json_t *error)
{
    const char *message = wpctl_text(error, "message");
    if (wpctl_options.json) {
        json_t *line = wpctl_must(json_pack("{s:O}", "error", error));
        wpctl_print_json(line);
        json_decref(line);
    }
    wpctl_die(wpctl_error_status(error), "%s", message[0] ? message : "refused without a word");
}

static void nonsense(const char *what)
{
    wpctl_die(EX_PROTOCOL, "%s: %s: this is not wirepostd, or not of this version",
              wpctl_options.socket, what);
}

json_t *wpctl_call(struct wpctl_client *client, const char *method, json_t *params)
{
    struct wpctl_answer answer;
    json_int_t id = wpctl_client_send(client, method, params, NULL, 0);
    json_t *line = id != 0 ? wpctl_client_receive(client) : NULL;
    if (!line) {
        wpctl_client_die(client);
    }
    if (!wpctl_answer_read(line, &answer) || !wpctl_answer_is_for(&answer, id)) {
        nonsense("an answer to nothing that was asked");
    }
    if (answer.error) {
        wpctl_error_die(answer.error);
    }
    if (!json_is_object(answer.result)) {
        nonsense("a result that is no object");
    }
    json_incref(answer.result);
    json_decref(line);
    return answer.result;
}

json_t *wpctl_call_once(const char *method, json_t *params)
{
    struct wpctl_client client;
    wpctl_client_open(&client);
    json_t *result = wpctl_call(&client, method, params);
    wpctl_client_close(&client);
    return result;
}

json_t *wpctl_call_for_people(const char *method, json_t *params)
{
    json_t *result = wpctl_call_once(method, params);
    if (!wpctl_options.json) {
        return result;
    }
    wpctl_print_json(result);
    json_decref(result);
    return NULL;
}
