/* wpctl_queue.c - `queue`, `why`, `config`, `drain` and `version`: see wpctl.h. */
#include "tools/wpctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

/* Calls, prints as JSON when that is wanted. Null then. */
static json_t *call_or_json(const char *method, json_t *params)
{
    struct wpctl_client client;
    wpctl_connect(&client);
    json_t *result = wpctl_call(&client, method, params);
    wpctl_close(&client);
    if (wpctl_options.json) {
        wpctl_print_json(result);
        json_decref(result);
        return NULL;
    }
    return result;
}

static const char *until(const json_t *object, const char *key, char buf[16])
{
    const char *text = wpctl_text(object, key);
    if (!text[0]) {
        return "-";
    }
    int64_t seconds = wpctl_time(text) - (int64_t)time(NULL);
    return seconds <= 0 ? "now" : wpctl_span(seconds, buf);
}

/* ---- queue list -------------------------------------------------------------------------- */

static void message_row(struct wpctl_table *table, const json_t *message)
{
    char bytes[16], age[16], next[16];
    const json_t *n = json_object_get(message, "recipients");
    wpctl_cell(table, "%s", wpctl_text(message, "id"));
    wpctl_cell(table, "%s", wpctl_text(message, "sender"));
    wpctl_cell(table, "<%s>", wpctl_text(message, "mail_from"));
    wpctl_cell(table, "%s", wpctl_bytes((uint64_t)wpctl_number(message, "bytes"), bytes));
    wpctl_cell(
        table, "%s",
        wpctl_span((int64_t)time(NULL) - wpctl_time(wpctl_text(message, "accepted_at")), age));
    wpctl_cell(table, "%lld", (long long)wpctl_number(n, "queued"));
    wpctl_cell(table, "%lld", (long long)wpctl_number(n, "in_flight"));
    wpctl_cell(table, "%lld", (long long)wpctl_number(n, "delivered"));
    wpctl_cell(table, "%lld", (long long)wpctl_number(n, "bounced"));
    wpctl_cell(table, "%s", until(message, "next_try_at", next));
    wpctl_cell(table, "%.80s", wpctl_text(message, "last"));
}

static json_t *list_params(int argc, char **argv)
{
    static const struct option options[] = {
        {"sender", 1, NULL, 's'}, {"domain", 1, NULL, 'd'}, {"state", 1, NULL, 'S'},
        {"limit", 1, NULL, 'l'},  {"after", 1, NULL, 'a'},  {NULL, 0, NULL, 0},
    };
    json_t *params = json_object();
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (option == '?') {
            json_decref(params);
            return NULL;
        }
        json_t *value =
            option == 'l' ? json_integer(strtoll(optarg, NULL, 10)) : json_string(optarg);
        (void)json_object_set_new(params, options[index].name, value);
    }
    if (optind < argc) {
        json_decref(params);
        return NULL;
    }
    return params;
}

static int list(int argc, char **argv)
{
    json_t *params = list_params(argc, argv);
    if (!params) {
        return wpctl_usage("queue");
    }
    json_t *result = call_or_json("queue.list", params), *message;
    if (!result) {
        return EX_OK;
    }
    size_t i;
    struct wpctl_table *table = wpctl_table_new(
        "ID|SENDER|RETURN PATH|>SIZE|>AGE|>QUEUED|>FLYING|>DELIVERED|>BOUNCED|>NEXT|LAST");
    json_array_foreach(json_object_get(result, "messages"), i, message)
    {
        message_row(table, message);
    }
    wpctl_table_print(table, "no such message is queued");
    (void)printf("%zu shown; %lld messages are queued\n",
                 json_array_size(json_object_get(result, "messages")),
                 (long long)wpctl_number(result, "total"));
    if (wpctl_text(result, "next")[0]) {
        (void)printf("more: --after %s\n", wpctl_text(result, "next"));
    }
    json_decref(result);
    return EX_OK;
}

/* ---- queue show -------------------------------------------------------------------------- */

static void show_line(const char *name, const char *text)
{
    char shown[1024];
    (void)printf("%-12s %s\n", name, wpctl_visible(text, shown, sizeof shown));
}

static int show(const char *id)
{
    json_t *message = call_or_json("queue.show", json_pack("{s:s}", "id", id)), *rcpt;
    size_t i;
    char bytes[16];
    if (!message) {
        return EX_OK;
    }
    show_line("id", wpctl_text(message, "id"));
    show_line("sender", wpctl_text(message, "sender"));
    show_line("stream", wpctl_text(message, "stream"));
    show_line("return path",
              wpctl_text(message, "mail_from")[0] ? wpctl_text(message, "mail_from") : "<>");
    show_line("size", wpctl_bytes((uint64_t)wpctl_number(message, "bytes"), bytes));
    show_line("accepted", wpctl_text(message, "accepted_at"));
    show_line("expires", wpctl_text(message, "expires_at"));
    (void)puts("");
    struct wpctl_table *table =
        wpctl_table_new("RECIPIENT|STATE|>ATTEMPTS|>NEXT|STAGE|>CODE|SOURCE|TEXT");
    json_array_foreach(json_object_get(message, "recipients_detail"), i, rcpt)
    {
        char next[16];
        const json_t *last = json_object_get(rcpt, "last");
        wpctl_cell(table, "%s", wpctl_text(rcpt, "address"));
        wpctl_cell(table, "%s", wpctl_text(rcpt, "state"));
        wpctl_cell(table, "%lld", (long long)wpctl_number(rcpt, "attempts"));
        wpctl_cell(table, "%s", until(rcpt, "next_try_at", next));
        wpctl_cell(table, "%s", wpctl_text(last, "stage"));
        wpctl_cell(table, "%lld", (long long)wpctl_number(last, "code"));
        wpctl_cell(table, "%s", wpctl_text(last, "source"));
        wpctl_cell(table, "%s", wpctl_text(last, "text"));
    }
    wpctl_table_print(table, "no recipient");
    json_decref(message);
    return EX_OK;
}

int wpctl_queue(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "list") == 0) {
        return list(argc - 1, argv + 1);
    }
    if (argc == 3 && strcmp(argv[1], "show") == 0) {
        return show(argv[2]);
    }
    return wpctl_usage("queue");
}

/* ---- why --------------------------------------------------------------------------------- */

int wpctl_why(int argc, char **argv)
{
    if (argc != 2) {
        return wpctl_usage("why");
    }
    json_t *result = call_or_json("message.why", json_pack("{s:s}", "id", argv[1])), *line;
    size_t i;
    json_array_foreach(json_object_get(result, "lines"), i, line)
    {
        char shown[8192];
        (void)puts(wpctl_visible(json_string_value(line), shown, sizeof shown));
    }
    json_decref(result);
    return EX_OK;
}

/* ---- config ------------------------------------------------------------------------------ */

static int config_get(const char *pointer)
{
    json_t *result = call_or_json("config.get", json_pack("{s:s}", "path", pointer));
    if (result) {
        (void)json_dumpf(json_object_get(result, "config"), stdout,
                         JSON_INDENT(2) | JSON_ENCODE_ANY);
        (void)puts("");
        json_decref(result);
    }
    return EX_OK;
}

static int config_check(const char *file)
{
    char *path = realpath(file, NULL);
    struct wpctl_client client;
    if (!path) {
        wpctl_die(EX_NOINPUT, "%s: no such file", file);
    }
    wpctl_connect(&client);
    json_t *result = wpctl_call(&client, "config.check", json_pack("{s:s}", "file", path)), *error;
    bool ok = json_is_true(json_object_get(result, "ok"));
    size_t i;
    wpctl_close(&client);
    if (wpctl_options.json) {
        wpctl_print_json(result);
    } else {
        json_array_foreach(json_object_get(result, "errors"), i, error)
        {
            char at[1024], text[2048];
            (void)printf("%s: %s\n", wpctl_visible(wpctl_text(error, "path"), at, sizeof at),
                         wpctl_visible(wpctl_text(error, "message"), text, sizeof text));
        }
        (void)printf("%s: %s\n", file, ok ? "no error" : "the errors above must be put right");
    }
    json_decref(result);
    free(path);
    return ok ? EX_OK : EX_CONFIG;
}

int wpctl_config(int argc, char **argv)
{
    if ((argc == 2 || argc == 3) && strcmp(argv[1], "get") == 0) {
        return config_get(argc == 3 ? argv[2] : "");
    }
    if (argc == 3 && strcmp(argv[1], "check") == 0) {
        return config_check(argv[2]);
    }
    return wpctl_usage("config");
}

/* ---- drain, version ---------------------------------------------------------------------- */

int wpctl_drain(int argc, char **argv)
{
    bool on = true, wait = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--off") == 0) {
            on = false;
        } else if (strcmp(argv[i], "--wait") == 0) {
            wait = true;
        } else {
            return wpctl_usage("drain");
        }
    }
    json_t *result = call_or_json("drain", json_pack("{s:b, s:b}", "on", on, "wait", wait));
    if (result) {
        (void)printf("%s; %lld recipients in flight\n",
                     json_is_true(json_object_get(result, "draining")) ? "draining"
                                                                       : "not draining",
                     (long long)wpctl_number(result, "in_flight"));
        json_decref(result);
    }
    return EX_OK;
}

int wpctl_version(int argc, char **argv)
{
    (void)argv;
    if (argc != 1) {
        return wpctl_usage("version");
    }
    json_t *result = call_or_json("version", NULL);
    if (result) {
        char up[16];
        (void)printf(
            "wirepostctl %s\nwirepostd %s (protocol %lld) on %s, pid %lld, up %s\n",
            WIREPOST_VERSION, wpctl_text(result, "version"),
            (long long)wpctl_number(result, "protocol"), wpctl_text(result, "hostname"),
            (long long)wpctl_number(result, "pid"),
            wpctl_span((int64_t)json_number_value(json_object_get(result, "uptime_s")), up));
        json_decref(result);
    }
    return EX_OK;
}
